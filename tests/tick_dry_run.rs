//! `dispatch ... --dry-run`: it says what the tick after it does, fails where that fails, in the same words, and changes nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use model_rollout::layout::tick_lock_of;
use model_rollout::machine::locks::{Lock, Wait};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use regex::Regex;
use serde_json::Value;

use crate::batches::{address, fleet};
use crate::crash::strace::is_permitted;
use crate::dry_run::patched;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use crate::rollback::{dispatch, done, pushed};

const OLD: &str = "20180101000000";
const V: &str = "20180413192258";
const NEXT: &str = "20180501000000";
const TICK: [&str; 3] = [MODEL, PREFIX, LIBRARY];

/// All that a file system knows of a path, but for when it was read; and what is in it, since clocks are coarse.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    size: u64,
    times: [(i64, i64); 2],
    content: Vec<u8>,
}

fn stamps(dir: &Path, stamps: &mut BTreeMap<PathBuf, Stamp>) {
    let metadata = std::fs::symlink_metadata(dir).unwrap();
    let content = if metadata.is_file() { std::fs::read(dir).unwrap() } else { Vec::new() };
    let times = [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())];
    let (inode, mode, size) = (metadata.ino(), metadata.mode(), metadata.len());
    stamps.insert(dir.to_path_buf(), Stamp { inode, mode, size, times, content });
    if metadata.is_dir() {
        std::fs::read_dir(dir).unwrap().for_each(|entry| self::stamps(&entry.unwrap().path(), stamps));
    }
}

/// A dry run, which changes nothing.
fn dry(world: &World, arguments: &[&str]) -> Outcome {
    let all = || {
        let mut found = BTreeMap::new();
        stamps(&world.root, &mut found);
        found
    };
    let before = all();
    let outcome = dispatch(world, &[arguments, &["--dry-run"]].concat());
    assert!(all() == before, "something was changed: {}", shown(&outcome));
    outcome
}

/// The diffs among other lines, each as long as its hunk says, by the file that they are about.
fn diffs(output: &str) -> BTreeMap<PathBuf, Vec<Vec<u8>>> {
    let mut diffs = BTreeMap::new();
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("--- ") else { continue };
        let mut diff = vec![line, lines.next().unwrap(), lines.next().unwrap()];
        let numbers: Vec<usize> =
            diff[2].split([' ', ',', '-', '+', '@']).filter_map(|n| n.parse().ok()).collect();
        let [_, mut old, _, mut new] = numbers[..] else { panic!("{}", diff[2]) };
        while old > 0 || new > 0 || lines.peek().is_some_and(|line| line.starts_with('\\')) {
            let line = lines.next().unwrap();
            old -= usize::from(line.starts_with([' ', '-']));
            new -= usize::from(line.starts_with([' ', '+']));
            diff.push(line);
        }
        diffs.insert(name.into(), diff.into_iter().map(|line| line.as_bytes().to_vec()).collect());
    }
    diffs
}

fn configurations(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = ["config_1", "config_2"].map(|name| world.service(&format!("{name}/service.conf")));
    paths.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
}

/// A dry run and the tick after it: the same status, error and edits, and what the tick says was said before.
fn agree(world: &World, options: &[&str]) -> (Outcome, Outcome) {
    let arguments = [&TICK, options].concat();
    let before = configurations(world);
    let foretold = dry(world, &arguments);
    let real = dispatch(world, &arguments);
    let both = format!("{}\n{}", shown(&foretold), shown(&real));
    assert_eq!((foretold.status, &foretold.stderr), (real.status, &real.stderr), "{both}");
    // A rollback says when it was: the real one may be of the next second.
    let second = Regex::new(" on [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}: ").unwrap();
    let timeless = |line| second.replace(line, " on DATE: ").into_owned();
    let foretold_lines = foretold.stdout.lines().filter_map(|line| line.strip_prefix("would say: "));
    let said: Vec<String> = foretold_lines.map(timeless).collect();
    assert_eq!(said, real.stdout.lines().map(timeless).collect::<Vec<_>>(), "{both}");
    let diffs = diffs(&foretold.stdout);
    let expected = before.into_iter().map(|(path, old)| {
        let new = diffs.get(&path).map_or_else(|| old.clone(), |diff| patched(&old, diff));
        (path, new)
    });
    assert_eq!(expected.collect::<BTreeMap<_, _>>(), configurations(world), "{both}");
    (foretold, real)
}

fn ticked(world: &World) {
    done(world, &TICK);
}

/// OLD is what all four members have, and V is pushed.
fn second_release(world: &World, settings: &str) {
    fleet(world, 4, settings);
    pushed(world, OLD, "library of old\n");
    // One batch after the other.
    for _ in 0..3 {
        ticked(world);
        (1..=4).for_each(|n| world.reported(&address(n), OLD));
    }
    assert!(!world.service("status").exists());
    pushed(world, V, "library of new\n");
}

/// V is announced, and nobody has it.
fn in_flight(world: &World, settings: &str) {
    second_release(world, settings);
    ticked(world);
}

fn publishes(world: &World) {
    fleet(world, 4, "batches=1,50%,100%\n");
    world.service_conf("config_2", SERVICE_CONF.replace("modulepath=", "modulepath = "));
    world.write(world.service(".rollout/held"), format!("{} - ann@m1 disk is being replaced\n", address(2)));
}

fn is_told_what_the_site_runs(world: &World) {
    publishes(world);
    let hook = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}/pre-publish");
    world.write_with_mode(hook, format!("#!/bin/sh\ntouch {}/ran\n", world.root.display()), 0o755);
}

fn resumes(world: &World) {
    second_release(world, "batches=1,100%\n");
    let before = world.state();
    let files = ["config_1/service.conf", ".rollout/announcement"].map(|path| world.service(path));
    let announced = files.clone().map(|path| world.read(path));
    ticked(world);
    // As a run leaves it that dies before it announces.
    world.change_state(|state| {
        let push = state["push"].clone();
        *state = before;
        begun(state, push);
    });
    files.iter().zip(announced).for_each(|(path, content)| world.write(path, content));
}

/// The publication of V was begun.
fn begun(state: &mut Value, mut push: Value) {
    push["fate"] = "waits".into();
    state["push"] = push;
    state["publishing"] = serde_json::json!({ "version": V, "began_s": 1 });
    state["marked"] = V.into();
}

fn is_later_than_success(world: &World) {
    fleet(world, 1, "");
    let late = std::fs::File::options().write(true).open(world.upload("data/feature.conf")).unwrap();
    late.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
}

fn is_bad(world: &World) {
    in_flight(world, "");
    done(world, &["--rollback", MODEL, "--why", "wrong scores"]);
    (1..=4).for_each(|n| world.reported(&address(n), OLD));
    ticked(world);
    pushed(world, NEXT, "library of new\n");
}

fn has_failed(world: &World) {
    in_flight(world, "batches=1,100%\n");
    world.failed(&address(1), V, "rolled-back");
}

fn takes_too_long(world: &World, settings: &str) {
    in_flight(world, settings);
    world.rollout_ages(4000);
    let hook = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}/on-failure");
    world.write_with_mode(hook, "#!/bin/sh\n", 0o755);
}

/// The state of a run that died while it published V.
fn died_publishing(world: &World) {
    fleet(world, 1, "");
    ticked(world);
    world.change_state(|state| {
        let push = state["push"].clone();
        begun(state, push);
        state["announced"] = Value::Null;
        state["ledger"] = Vec::<Value>::new().into();
    });
    for file in ["status", ".rollout/announcement", &format!(".rollout/manifests/{V}")] {
        std::fs::remove_file(world.service(file)).unwrap();
    }
    std::fs::remove_dir_all(world.service(&format!("plugin/{V}"))).unwrap();
    world.service_conf("config_1", SERVICE_CONF);
    std::fs::remove_file(world.upload("success")).unwrap();
    // The directory is newer than success was.
    for dir in ["", "lib", "data", "data/fast_lr"] {
        aged(&world.upload(dir), 4000);
    }
}

fn aged(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

/// A script died while it copied V.
fn script_died(world: &World) {
    fleet(world, 1, "");
    world.write(world.service(&format!("plugin/{V}/lib/half")), "x");
    world.write(world.service("status"), "");
    for path in
        [&format!("plugin/{V}/lib/half"), &format!("plugin/{V}/lib"), &format!("plugin/{V}"), "status"]
    {
        aged(&world.service(path), 600);
    }
}

/// What a monitor can find, the options of the tick, its status, and what a dry run says on either stream.
type Case = (fn(&World), &'static [&'static str], i32, &'static [&'static str]);

const CASES: &[Case] = &[
    (|world| world.registered(), &[], 0, &["mblog_yellow: there is nothing to do\n"]),
    (|_| {}, &[], 1, &["is not there; run add_dispatch_docker"]),
    (
        publishes,
        &[],
        0,
        &[
            "mblog_yellow: would publish 20180413192258: 4 files, 43 bytes; copied: 4 files, 43 bytes; free: ",
            "mblog_yellow: batch 1 of 3: 127.0.0.11\nmblog_yellow: batch 2 of 3: 127.0.0.13\n\
             mblog_yellow: batch 3 of 3: 127.0.0.14\n\
             mblog_yellow: left out: 127.0.0.12: held by ann@m1: disk is being replaced\n",
            "would say: mblog_yellow: 1 of 3 members may take 20180413192258 now; admitted: 127.0.0.11\n",
        ],
    ),
    (
        |world| fleet(world, 2, ""),
        &[],
        0,
        &[
            "mblog_yellow: all at once: 127.0.0.11, 127.0.0.12\n",
            "would say: mblog_yellow: 0 of 2 members have",
        ],
    ),
    (is_told_what_the_site_runs, &[], 0, &["/pre-publish; if it fails, nothing is published\n"]),
    (resumes, &[], 0, &["mblog_yellow: batch 1 of 2: 127.0.0.11\n", "would say: update mblog_yellow to"]),
    (
        |world| {
            second_release(world, "");
            done(world, &["--pin", OLD, MODEL, "--why", "a test"]);
        },
        &[],
        0,
        &["would say: mblog_yellow: 20180413192258 waits: 20180101000000 was pinned by "],
    ),
    (is_bad, &[], 1, &["holds the same lib/ and data/ as 20180413192258, which was marked bad"]),
    (is_bad, &["--force"], 0, &["would publish 20180501000000"]),
    (is_later_than_success, &[], 1, &["data/feature.conf was written after success arrived"]),
    (
        |world| {
            fleet(world, 1, "");
            std::fs::remove_file(world.upload(&format!("lib/{LIBRARY}"))).unwrap();
        },
        &[],
        1,
        &["the upload has no lib/mblog_yellow.so"],
    ),
    (
        |world| {
            fleet(world, 1, "");
            world.service_conf("config_2", "[module]\nmodulepath=x\n");
        },
        &[],
        2,
        &["config_2/service.conf: there is no line module"],
    ),
    (|world| fleet(world, 1, "batches=0\n"), &[], 2, &[".env.sh:3: batches: "]),
    (
        |world| {
            in_flight(world, "");
            (1..=4).for_each(|n| world.reported(&address(n), V));
        },
        &[],
        0,
        &[
            "mblog_yellow: would end the upgrade to 20180413192258\n",
            "would say: mblog_yellow: all 4 members have",
        ],
    ),
    (
        |world| {
            in_flight(world, "");
            pushed(world, NEXT, "library of next\n");
        },
        &[],
        0,
        &[
            "mblog_yellow: 20180501000000 waits until the upgrade to 20180413192258 has ended\n",
            "would say: mblog_yellow: 0 of 4 members have 20180413192258; waiting for 127.0.0.11",
        ],
    ),
    (
        |world| {
            in_flight(world, "batches=1,100%\n");
            world.reported(&address(1), V);
        },
        &[],
        0,
        &["would say: mblog_yellow: 4 of 4 members may take 20180413192258 now"],
    ),
    (has_failed, &[], 1, &["stopped the rollout of 20180413192258: 1 failed: 127.0.0.11 (rolled back: no)"]),
    (
        |world| takes_too_long(world, ""),
        &[],
        1,
        &["gave up waiting for 20180413192258", "/on-failure\n", "would end the upgrade"],
    ),
    (
        |world| {
            takes_too_long(world, "on_timeout=rollback\n");
            world.failed(&address(1), V, "rolled-back");
        },
        &[],
        1,
        &["rolled back: it timed out", "1 failed: 127.0.0.11 (rolled back: no)", "/on-failure\n"],
    ),
    (
        // Nobody failed.
        |world| takes_too_long(world, "on_timeout=rollback\n"),
        &[],
        1,
        &["gave up waiting for 20180413192258", "/on-failure\n", "would end the upgrade"],
    ),
    (
        |world| {
            fleet(world, 2, "on_timeout=rollback\n");
            ticked(world);
            world.failed(&address(1), V, "rolled-back");
            world.rollout_ages(4000);
        },
        &[],
        1,
        &[
            "would end the upgrade to 20180413192258\n",
            "nor could it be rolled back: mblog_yellow: there is nothing",
        ],
    ),
    (died_publishing, &[], 0, &["would say: put success of 20180413192258 back"]),
    (
        |world| {
            died_publishing(world);
            world.write(world.service("status"), V);
        },
        &[],
        0,
        &[
            "mblog_yellow: would end the upgrade to 20180413192258\nwould say: put success of 20180413192258 back",
        ],
    ),
    (
        |world| {
            died_publishing(world);
            world.write(world.service("status"), V);
            world.write(world.upload("data/feature.conf"), "of the next push");
        },
        &[],
        0,
        &[
            "mblog_yellow: would end the upgrade to 20180413192258\n",
            "would say: gave up publishing 20180413192258",
        ],
    ),
    (
        script_died,
        &[],
        0,
        &["would delete what is in plugin/20180413192258, which is not whole", "would publish"],
    ),
    (
        |world| {
            fleet(world, 1, "");
            world.write(world.service(&format!("plugin/{V}/lib/other")), "x");
        },
        &[],
        1,
        &["version 20180413192258 is published already with other content"],
    ),
    (
        |world| {
            fleet(world, 1, "");
            world.write(world.service("status"), "20170601000000\n");
        },
        &[],
        0,
        &["20180413192258 waits until the upgrade to 20170601000000 has ended\n"],
    ),
    (
        // A script copies it.
        |world| {
            fleet(world, 1, "");
            world.write(world.service(&format!("plugin/{V}/lib/half")), "x");
            world.write(world.service("status"), format!("{V}\n"));
        },
        &[],
        0,
        &["mblog_yellow: the upgrade to 20180413192258 goes on, begun "],
    ),
    (
        |world| {
            world.registered();
            world.write(world.service("plugin/.discarded/20170101000000/lib/x"), "x");
        },
        &[],
        0,
        &["mblog_yellow: would finish the deletion of 20170101000000\n"],
    ),
];

#[test]
fn a_tick_does_what_the_dry_run_before_it_says_and_fails_as_it_fails() {
    need!("rsync");
    let sandbox = Sandbox::new();
    for (furnish, options, status, says) in CASES {
        let world = sandbox.world();
        furnish(&world);
        let (foretold, _) = agree(&world, options);
        assert_eq!(foretold.status, *status, "{}", shown(&foretold));
        let said = foretold.stdout.clone() + &foretold.stderr;
        for words in *says {
            assert!(said.contains(words), "{words} in\n{}", shown(&foretold));
        }
        assert!(!foretold.stdout.contains('\x1b'), "no colour in a pipe");
    }
}

fn push(world: &World) {
    let outcome = world.run(Tool::Push, Side::BINARY, &["update"]);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
}

/// The version that is announced.
fn announced(world: &World) -> String {
    crate::rollback::announced(world)
}

#[test]
fn what_would_be_linked_and_copied_is_and_so_is_who_would_be_let_in() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.member_list("127.0.0.11,127.0.0.12,127.0.0.13");
    world.member_list_says("batches=1,100%\n");
    world.deploy();
    push(&world);
    let (first, _) = agree(&world, &[]);
    assert!(first.stdout.contains(": 4 files, ") && !first.stdout.contains("linked"), "{}", first.stdout);
    let before = announced(&world);
    ["127.0.0.11", "127.0.0.12", "127.0.0.13"].iter().for_each(|member| world.reported(member, &before));
    ticked(&world);
    assert!(!world.service("status").exists());

    world.write("deploy/online/data/feature.conf", "feature 2, and more\n");
    push(&world);
    let (foretold, _) = agree(&world, &[]);
    let after = announced(&world);
    assert!(after > before, "{after}");
    let mut sizes = [(0, 0); 2];
    let mut found = BTreeMap::new();
    let published = world.service(&format!("plugin/{after}"));
    stamps(&published, &mut found);
    for (path, stamp) in found.iter().filter(|(path, _)| path.is_file()) {
        let old = world.service(&format!("plugin/{before}")).join(path.strip_prefix(&published).unwrap());
        let is_linked = std::fs::metadata(old).is_ok_and(|old| old.ino() == stamp.inode);
        let sum = &mut sizes[usize::from(is_linked)];
        *sum = (sum.0 + 1, sum.1 + stamp.size);
    }
    let [copied, linked] = sizes;
    assert_eq!((linked.0, copied.0), (2, 2), "what was changed, and success");
    let words = format!(
        "would publish {after}: 4 files, {} bytes; linked from {before}: 2 files, {} bytes; copied: 2 files, {} bytes; free: ",
        copied.1 + linked.1,
        linked.1,
        copied.1
    );
    assert!(foretold.stdout.contains(&words), "{words} in\n{}", foretold.stdout);
    assert!(foretold.stdout.contains(&format!("{MODEL}: batch 1 of 2: 127.0.0.11\n")), "{}", foretold.stdout);
    assert_eq!(world.admitted(), Some(vec!["127.0.0.11".to_owned()]));
}

#[test]
fn a_torn_upload_is_seen_before_it_is_copied() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.deploy();
    push(&world);
    world.write(world.upload("data/feature.conf"), "feature x\n");
    // Not because it is newer than success.
    world.age(world.upload("data/feature.conf"), 60);
    let (foretold, _) = agree(&world, &[]);
    assert_eq!((foretold.status, foretold.stdout.as_str()), (1, ""), "{}", shown(&foretold));
    let words = "data/feature.conf has other bytes, so nothing was published";
    assert!(foretold.stderr.contains(words), "{}", foretold.stderr);
}

#[test]
fn a_success_that_a_run_took_out_of_the_way_is_settled_by_a_tick_first() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    std::fs::rename(world.upload("success"), world.upload(".success.removing")).unwrap();
    let foretold = dry(&world, &TICK);
    assert_eq!((foretold.status, foretold.stderr.as_str()), (0, ""), "as the tick: {}", shown(&foretold));
    assert!(foretold.stdout.contains("/.success.removing success again"), "{}", foretold.stdout);
    ticked(&world);
    assert_eq!(announced(&world), V);
    assert_eq!(agree(&world, &[]).0.status, 0);
}

#[test]
fn a_denial_whose_end_has_come_is_shown_as_the_tick_would_edit_it() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    let head = "[datamining_service]\npath = /x\n";
    let denial =
        "# autoupdate-toggle: until 2026-01-01T20:00:00+08:00: 127.0.0.11\nhosts deny = 127.0.0.11\n";
    world.write("rsyncd.conf", [head, denial].concat());
    let run = |options: &[&str]| {
        let mut command = world.command(Tool::Dispatch, Side::BINARY, &[&TICK, options].concat());
        world.finish(command.env("RSYNCD_CONF", world.path("rsyncd.conf")))
    };
    let old = world.read("rsyncd.conf");
    let foretold = run(&["--dry-run"]);
    assert_eq!((foretold.status, foretold.stderr.as_str()), (0, ""), "{}", shown(&foretold));
    assert_eq!(world.read("rsyncd.conf"), old);
    assert!(!world.path(".rsyncd.conf.lock").exists());
    assert_eq!(run(&[]).status, 0);
    let new = world.read("rsyncd.conf");
    assert!(new != old);
    assert_eq!(patched(&old, &diffs(&foretold.stdout)[&world.path("rsyncd.conf")]), new);
}

#[test]
fn a_run_that_holds_the_lock_is_named_and_none_is_taken() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    let place = world.tick_lock();
    assert!(!place.exists(), "and a dry run creates none: its tree is compared");
    assert_eq!(dry(&world, &TICK).status, 0);
    world.directory(place.parent().unwrap());
    let lock = Lock::take(&place, Wait::No).unwrap();
    let (foretold, _) = agree(&world, &[]);
    assert_eq!(foretold.status, 75, "{}", shown(&foretold));
    let held = format!("{} is held by pid {}", place.display(), std::process::id());
    assert!(foretold.stderr.contains(&held), "{}", foretold.stderr);
    drop(lock);
    assert_eq!(dry(&world, &TICK).status, 0);
    assert!(Lock::take(&place, Wait::No).is_ok(), "a dry run leaves the lock free");
}

#[test]
fn a_dry_run_that_is_stopped_anywhere_turns_no_tick_away() {
    need!("rsync", "strace");
    let sandbox = Sandbox::new();
    if !is_permitted() {
        return;
    }
    let world = sandbox.world();
    in_flight(&world, "");
    let registry = format!("sh dispatch.sh {MODEL} {PREFIX} {LIBRARY}\n");
    world.write(world.registry(), registry);
    done(&world, &["--all"]);
    let log = world.path("trace");
    for (arguments, lock) in
        [(&TICK[..], world.tick_lock()), (&["--all"][..], tick_lock_of(&world.registry()))]
    {
        let dry = world.command(Tool::Dispatch, Side::BINARY, &[arguments, &["--dry-run"]].concat());
        let mut stopped = Command::new("strace");
        // Behind every call that touches the lock.
        stopped.args(["-D", "-e", "inject=%file,%desc:signal=STOP", "-o"]).arg(&log).arg("-P").arg(lock);
        stopped.arg(dry.get_program()).args(dry.get_args());
        world.prepare(&mut stopped, Tool::Dispatch, Side::BINARY);
        let child = RefCell::new(stopped.stdout(Stdio::null()).spawn().unwrap());
        let pid = Pid::from_raw(child.borrow().id().try_into().unwrap());
        let has_ended = || child.borrow_mut().try_wait().unwrap();
        let mut ticks = Vec::new();
        loop {
            wait_until("the dry run is stopped, or has ended", || {
                let trace = std::fs::read_to_string(&log).unwrap_or_default();
                has_ended().is_some() || trace.matches("--- stopped by SIGSTOP ---").count() > ticks.len()
            });
            if let Some(status) = has_ended() {
                assert!(status.success(), "{status}");
                break;
            }
            ticks.push(dispatch(&world, arguments));
            signal::kill(pid, Signal::SIGCONT).unwrap();
        }
        assert!(!ticks.is_empty(), "it looked at no lock");
        for tick in ticks {
            assert_eq!((tick.status, tick.stderr.as_str()), (0, ""), "{}", shown(&tick));
        }
        std::fs::remove_file(&log).unwrap();
    }
}

#[test]
fn a_dry_run_of_all_tells_of_those_that_have_something_to_do_and_counts_the_others() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let stanza = |model: &str| {
        format!(
            "mymodel=\"{model}\"\necho \"begin $mymodel\" >> ${{logFile}}\n\
             sh dispatch.sh $mymodel {PREFIX} {LIBRARY} >> ${{logFile}}\n"
        )
    };
    let registry = |models: &[&str]| {
        let stanzas: String = models.iter().map(|model| stanza(model)).collect();
        world.write(world.registry(), format!("logFile=../log/tick.log\n{stanzas}"));
    };
    let services = "monitor/rsync_service_data/datamining_service";
    world.directory(format!("{services}/at_rest"));
    world.directory(format!("{services}/quiet"));
    fleet(&world, 1, "");
    registry(&["at_rest", MODEL, "quiet"]);
    let foretold = dry(&world, &["--all"]);
    assert_eq!((foretold.status, foretold.stderr.as_str()), (0, ""), "{}", shown(&foretold));
    assert!(foretold.stdout.contains(&format!("{MODEL}: would publish {V}: ")), "{}", foretold.stdout);
    assert!(
        !foretold.stdout.contains("at_rest") && !foretold.stdout.contains("quiet"),
        "{}",
        foretold.stdout
    );
    let counts = "\n1 with something to do, 0 that would fail, 2 at rest\n";
    assert!(foretold.stdout.ends_with(counts), "{}", foretold.stdout);

    registry(&["at_rest", "missing", MODEL, "../x"]);
    let foretold = dry(&world, &["--all"]);
    assert_eq!((foretold.status, foretold.stderr.lines().count()), (1, 3), "{}", shown(&foretold));
    assert!(foretold.stdout.ends_with("\n1 with something to do, 2 that would fail, 1 at rest\n"));
    let real = dispatch(&world, &["--all"]);
    assert_eq!(real.status, foretold.status, "{}", shown(&real));
    let problems = |outcome: &Outcome| outcome.stderr.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(problems(&real), problems(&foretold));

    registry(&[MODEL]);
    let lock = Lock::take(&world.tick_lock(), Wait::No).unwrap();
    assert_eq!(dry(&world, &["--all"]).status, 75);
    let beside = dry(&world, &["--all", "--jobs", "2"]);
    assert_eq!(beside.status, 0, "a tick leaves it to the tick before: {}", shown(&beside));
    assert!(beside.stdout.contains("lock/mblog_yellow.tick is held by pid "), "{}", beside.stdout);
    drop(lock);
    let _lock = Lock::take(&tick_lock_of(&world.registry()), Wait::No).unwrap();
    assert_eq!(dry(&world, &["--all"]).status, 75);
}
