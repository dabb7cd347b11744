//! What members do about an announcement that is missing, behind, or about others; and what two
//! runs do about one lock. Real ticks and polls through the real rsync daemon.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use model_rollout::machine::locks::{Lock, Wait};
use nix::sys::stat::Mode;

use crate::batches::{address, fleet};
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use crate::processes::stand_in_for_rsync;
use crate::rollback::{dispatch, done};

const OLD: &str = "20170101000000";
const V: &str = "20180413192258";
const NEXT: &str = "20180501000000";
const THIRD: &str = "20180601000000";

/// The number of polls without an announcement that fits, after which a member follows
/// service.conf.
const PATIENCE: usize = 10;

fn ticked(world: &World) -> String {
    done(world, &[MODEL, PREFIX, LIBRARY])
}

/// A member's poll that ends well; what it said.
fn polled(world: &World, n: usize) -> String {
    let outcome = world.poll(Side::BINARY, &address(n));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    outcome.stdout
}

fn serves(world: &World, n: usize) -> String {
    let conf = world.read(format!("member-{}/workspace/bin/etc/service.conf", address(n)));
    let conf = String::from_utf8(conf).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap().to_owned()
}

/// This number of members that serve V, which is confirmed.
fn serving(world: &World, members: usize, settings: &str) {
    fleet(world, members, settings);
    // At most one batch each.
    for _ in 0..=members {
        if ticked(world).contains(&format!("all {members} members have {V}")) {
            break;
        }
        (1..=members).for_each(|n| drop(polled(world, n)));
    }
    assert_eq!((world.phase().as_str(), world.worth(V).as_str()), ("done", "confirmed"));
}

/// The monitor is back on scripts, and what the binary left there is gone.
fn without_binaries(world: &World) {
    fs::remove_dir_all(world.path(world.service(".rollout"))).unwrap();
    let _ = fs::remove_file(world.path(world.service("status")));
    let _ = fs::remove_file(world.path(world.upload("success")));
}

/// A script publishes a version; its tick.
fn published_by_script(world: &World, version: &str) {
    world.uploaded(&format!("{version}\n"));
    let outcome = world.run(Tool::Dispatch, Side::SCRIPT, &[MODEL, PREFIX, LIBRARY]);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(world.service("status").exists());
}

#[test]
fn after_ten_polls_without_an_announcement_a_member_does_what_the_script_does() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    serving(&world, 1, "");
    without_binaries(&world);
    published_by_script(&world, NEXT);
    for n in 1..=PATIENCE {
        assert_eq!((polled(&world, 1).as_str(), serves(&world, 1).as_str()), ("", V), "poll {n}");
    }
    polled(&world, 1);
    assert_eq!(serves(&world, 1), NEXT);
    let report = String::from_utf8(world.read(world.service("version/.state-127.0.0.11"))).unwrap();
    assert!(report.contains("the monitor announces nothing any more"), "{report}");

    // A tick of the binary announces again: the member follows that at once.
    world.uploaded(&format!("{NEXT}\n"));
    ticked(&world);
    polled(&world, 1);
    ticked(&world);
    assert!(!world.service("status").exists());
    world.uploaded(&format!("{THIRD}\n"));
    ticked(&world);
    polled(&world, 1);
    assert_eq!(serves(&world, 1), THIRD);
}

/// What it would not have taken with an announcement it does not take without one.
#[test]
fn without_an_announcement_nobody_takes_what_it_was_not_admitted_to_nor_goes_back() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    world.write(world.service(".rollout/held"), format!("{} - ann@m1 disk\n", address(3)));
    ticked(&world);
    (1..=3).for_each(|n| drop(polled(&world, n)));
    assert_eq!([1, 2, 3].map(|n| serves(&world, n)), [V, OLD, OLD]);
    without_binaries(&world);
    for _ in 0..PATIENCE + 2 {
        (1..=3).for_each(|n| drop(polled(&world, n)));
    }
    assert_eq!([1, 2, 3].map(|n| serves(&world, n)), [V, OLD, OLD], "2 was not admitted to {V}, 3 is held");

    published_by_script(&world, NEXT);
    (1..=3).for_each(|n| drop(polled(&world, n)));
    assert_eq!(
        [1, 2, 3].map(|n| serves(&world, n)),
        [NEXT, NEXT, OLD],
        "3 is held as long as nobody says else"
    );
    world.service_conf("config_1", announced(SERVICE_CONF, V));
    (1..=3).for_each(|n| drop(polled(&world, n)));
    assert_eq!([1, 2, 3].map(|n| serves(&world, n)), [NEXT, NEXT, OLD], "nobody goes back");
}

/// A member whose disk was replaced has nothing to serve; the canary's version is not for it.
#[test]
fn a_member_that_comes_back_empty_and_is_not_admitted_gets_the_version_before() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    serving(&world, 3, "batches=1,100%\n");
    world.uploaded(&format!("{NEXT}\n"));
    ticked(&world);
    assert_eq!(world.admitted(), Some(vec![address(1)]));
    for n in [1, 2] {
        let workspace = world.path(format!("member-{}/workspace", address(n)));
        fs::remove_dir_all(&workspace).unwrap();
        fs::create_dir(&workspace).unwrap();
        polled(&world, n);
    }
    polled(&world, 3);
    assert_eq!([1, 2, 3].map(|n| serves(&world, n)), [NEXT, V, V]);
    assert_eq!(world.read(world.service(&format!("version/{}", address(2)))), format!("{V}\n").into_bytes());
    assert_eq!(polled(&world, 2), "", "and that is all");
    ticked(&world);
    (2..=3).for_each(|n| drop(polled(&world, n)));
    assert!(ticked(&world).contains(&format!("all 3 members have {NEXT}")));
}

fn copied(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    assert!(copy.arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Last night's backup announces what was announced last night. No member takes that again by
/// itself.
#[test]
fn a_monitor_that_was_restored_from_a_backup_moves_nobody_until_it_is_adopted() {
    need!("rsync", "dash", "cp");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    serving(&world, 2, "");
    copied(&world.path("monitor"), &world.path("backup"));
    world.uploaded(&format!("{NEXT}\n"));
    ticked(&world);
    (1..=2).for_each(|n| drop(polled(&world, n)));
    assert!(ticked(&world).contains(&format!("all 2 members have {NEXT}")));
    let journal = world.journal_lines();

    fs::remove_dir_all(world.path("monitor")).unwrap();
    copied(&world.path("backup"), &world.path("monitor"));
    for n in 1..=2 {
        let said = polled(&world, n);
        assert!(said.contains("it was restored from a backup; dispatch --adopt"), "{said}");
        // It is said once; then what the backup does not have of the reports is sent again.
        let said = polled(&world, n);
        assert_eq!(said, format!("{MODEL}: the monitor had no report of {NEXT}; reported it again\n"));
        assert_eq!(polled(&world, n), "");
    }
    for _ in 0..PATIENCE + 2 {
        (1..=2).for_each(|n| drop(polled(&world, n)));
    }
    assert_eq!([1, 2].map(|n| serves(&world, n)), [NEXT, NEXT]);
    assert_eq!(world.journal_lines(), journal, "nobody restarted");

    // A push is not published by a monitor to which nobody listens.
    world.uploaded(&format!("{THIRD}\n"));
    let outcome = dispatch(&world, &[MODEL, PREFIX, LIBRARY]);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    assert!(outcome.stderr.contains(&format!("dispatch --adopt {MODEL}")), "{}", outcome.stderr);
    assert!(!world.service(&format!("plugin/{THIRD}")).exists());

    let said = done(&world, &["--adopt", MODEL]);
    assert!(said.contains(&format!("adopted; members follow {V} again")), "{said}");
    (1..=2).for_each(|n| drop(polled(&world, n)));
    assert_eq!([1, 2].map(|n| serves(&world, n)), [V, V]);
    ticked(&world);
    (1..=2).for_each(|n| drop(polled(&world, n)));
    assert!(ticked(&world).contains(&format!("all 2 members have {THIRD}")));
}

/// Two containers may have one workspace mounted, each with a /watch of its own.
#[test]
fn two_pollers_over_one_workspace_share_a_lock() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    ticked(&world);
    copied(&world.path("member-127.0.0.11/watch"), &world.path("other-watch"));
    let fifo = world.path("go-on");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let script = format!(
        "[ -e \"$JOURNAL.once\" ] || {{ > \"$JOURNAL.once\"; read line < '{}'; }}; exec {} \"$@\"",
        fifo.display(),
        crate::harness::parts::find("rsync").unwrap().display()
    );
    let mut first = world.command(Tool::Poll, Side::BINARY, &[]);
    first.env("PATH", stand_in_for_rsync(&world, &script));
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the first poll fetches", || world.path("journal.once").exists());

    let second = || -> Outcome {
        let mut second = world.command(Tool::Poll, Side::BINARY, &[]);
        world.finish(second.env("WATCH_ROOT", world.path("other-watch")))
    };
    let refused = second();
    assert_eq!((refused.status, refused.stderr.lines().count()), (75, 1), "{}", shown(&refused));
    assert!(refused.stderr.contains("workspace/bin/etc/.rollout/lock"), "{}", refused.stderr);

    // Its rsync waits for a line.
    fs::write(&fifo, "\n").unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(serves(&world, 1), V);
    let outcome = second();
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{}", shown(&outcome));
}

/// Somebody tidies up, or puts a copy of the tree there: whoever waited has the lock of a file that
/// is nobody's any more.
#[test]
fn a_lock_file_that_was_replaced_is_noticed() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    let path = world.tick_lock();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let first = Lock::take(&path, Wait::No).unwrap();
    let mut waiting = world.command(Tool::Dispatch, Side::BINARY, &["--wait", "60", MODEL, PREFIX, LIBRARY]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let open_files = format!("/proc/{}/fd", waiting.id());
    wait_until("the tick has opened the lock", || {
        let files = fs::read_dir(&open_files).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == path)
    });
    fs::remove_file(&path).unwrap();
    let second = Lock::take(&path, Wait::No).unwrap();
    drop(first);
    drop(second);
    assert!(waiting.wait().unwrap().success());
    let owner = String::from_utf8(fs::read(&path).unwrap()).unwrap();
    assert!(
        owner.starts_with(&format!("pid {} since ", waiting.id())),
        "it locked a file that is gone: {owner}"
    );
    assert!(world.service("status").exists());
}
