//! What a poll asks the monitor for once its service.conf names a new version: what of it, in how many connections, and in which
//! order the monitor's rsync reads it.

use std::path::Path;

use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::version::Version;
use nix::sys::stat::Mode;

use crate::crash::strace::{self, Call, is_permitted};
use crate::harness::daemon::Daemon;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{MODEL, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::processes::stand_in_for_rsync;

const V: &str = "20180413192258";
const MEMBER: &str = "127.0.0.11";
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

/// A member for which there is a new version, with its manifest.
fn behind(world: &World) {
    world.registered();
    world.published(V);
    manifest(world);
    world.member(MEMBER);
    world.write(INSTALLED, SERVICE_CONF);
}

/// The manifest of the version as it is now.
fn manifest(world: &World) {
    let dir = world.service(&format!("plugin/{V}"));
    let files = trees::digest(&dir, &trees::survey(&dir).unwrap()).unwrap();
    let manifest = Manifest { version: Version::parse(V.as_bytes()).unwrap(), files };
    world.write(world.service(&format!(".manifests/{V}")), manifest.render());
}

fn poll(world: &World) -> Outcome {
    world.poll(Side::BINARY, MEMBER)
}

/// A poll with a script in place of rsync.
fn poll_through(world: &World, script: &str) -> Outcome {
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    world.finish(command.env("PATH", stand_in_for_rsync(world, script)))
}

fn serves_new(world: &World) -> bool {
    String::from_utf8(world.read(INSTALLED)).unwrap().contains(V)
}

/// How many connections a poll makes that succeeds, one at a time: a daemon may allow no more.
fn connections(world: &World) -> usize {
    let rsync = crate::harness::parts::find("rsync").unwrap();
    let script = format!(
        "echo begun >> \"$JOURNAL\"\n{} \"$@\"\nstatus=$?\necho ended >> \"$JOURNAL\"\nexit $status",
        rsync.display()
    );
    let before = world.journal_lines().len();
    let outcome = poll_through(world, &script);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    let lines = world.journal_lines().split_off(before);
    let noted: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| ["begun", "ended"].contains(line)).collect();
    assert!(noted.chunks(2).all(|one| one == ["begun", "ended"]), "{lines:?}");
    noted.len() / 2
}

#[test]
fn a_poll_makes_one_connection_where_nothing_is_new_two_where_it_waits_and_five_where_it_pulls() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    world.write(world.service(".admitted"), format!("{V}\n127.0.0.12\n"));
    assert_eq!((connections(&world), serves_new(&world)), (2, false), "it waits");
    std::fs::remove_file(world.service(".admitted")).unwrap();
    world.write(world.service(".held"), format!("{MEMBER} - ann@m1 disk\n"));
    assert_eq!((connections(&world), serves_new(&world)), (2, false), "it is held");
    std::fs::remove_file(world.service(".held")).unwrap();
    // service.conf, the second look, that it is updating, the version, the report.
    assert_eq!((connections(&world), serves_new(&world)), (5, true));
    assert_eq!(connections(&world), 1, "nothing is new");
}

/// A rollback announces another version, and only then lets everybody in. So nobody takes what is being taken back if who is let in
/// is read after service.conf was fetched, and service.conf once more after that.
#[test]
fn who_is_let_in_is_read_after_service_conf_and_before_it_is_read_again() {
    need!("rsync", "strace");
    if !is_permitted() {
        return;
    }
    let sandbox = Sandbox::new();
    for is_there in [true, false] {
        let world = sandbox.world();
        behind(&world);
        if is_there {
            world.write(world.service(".admitted"), format!("{V}\n{MEMBER}\n"));
            world.write(world.service(".held"), "# nobody\n");
        } else {
            std::fs::remove_dir_all(world.service(".manifests")).unwrap();
        }
        let read = read_by_the_daemon(&sandbox, &world);
        let [first, second] = [0, 1].map(|n| read.get(n).map(Vec::as_slice).unwrap_or_default());
        assert_eq!(first, ["service.conf"]);
        // The directory is not listed: while a file of it is replaced, a list may lack it (btrfs).
        let manifest = format!(".manifests/{V}");
        let opened = [".admitted", ".held", &manifest];
        let expected = [if is_there { &opened[..] } else { &[] }, &["service.conf"]].concat();
        assert_eq!(second, expected);
        assert!(serves_new(&world));
    }
}

/// What the daemon's process of each connection of a poll reads of the model's directory, in order, the versions left out. The daemon is
/// started by the client, under strace, as inetd would start it.
fn read_by_the_daemon(sandbox: &Sandbox, world: &World) -> Vec<Vec<String>> {
    let log = world.path("trace");
    let daemon = format!(
        "strace -f -y -A -o {} -e trace=?open,openat,?openat2,getdents64 rsync --daemon --config={}",
        log.display(),
        sandbox.path().join("rsyncd.conf").display()
    );
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    let outcome = world.finish(command.env("RSYNC_CONNECT_PROG", daemon));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    let calls = strace::parse(&std::fs::read_to_string(&log).unwrap());
    let mut connections: Vec<(u32, Vec<String>)> = Vec::new();
    for call in calls.iter().filter(|call| call.succeeded()) {
        let Some(what) = what_is_read(call, &world.service("")) else { continue };
        match connections.last_mut().filter(|(pid, _)| *pid == call.pid) {
            Some((_, read)) => read.extend((read.last() != Some(&what)).then_some(what)),
            None => connections.push((call.pid, vec![what])),
        }
    }
    connections.into_iter().map(|(_, read)| read).collect()
}

/// A file of the model that a call opened, or that it listed the model's directory.
fn what_is_read(call: &Call, model: &Path) -> Option<String> {
    let model = model.to_str()?.trim_end_matches('/');
    if call.name == "getdents64" {
        return call.arguments[0].ends_with(&format!("<{model}>")).then(|| "the names".to_owned());
    }
    let is_directory = call.arguments.iter().any(|argument| argument.contains("O_DIRECTORY"));
    let path = call.result.split_once('<')?.1.trim_end_matches('>').strip_prefix(model)?.strip_prefix('/')?;
    let is_read = !is_directory && !path.starts_with("plugin") && !path.starts_with("version");
    is_read.then(|| path.strip_prefix("config_1/").unwrap_or(path).to_owned())
}

/// It might keep this member from the version.
#[test]
fn what_might_make_a_member_wait_and_cannot_be_fetched_lets_nothing_through() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let kinds: [fn(&World, &Path); 4] = [
        |world, path| world.link(path, "/dev/null"),
        |world, path| world.directory(path),
        |_, path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap(),
        |world, path| world.write(path, vec![b'#'; 2 << 20]),
    ];
    for (n, put) in kinds.into_iter().enumerate() {
        for (name, remedy) in [(".admitted", "every member is let in"), (".held", "nobody is held")] {
            let world = sandbox.world();
            behind(&world);
            put(&world, &world.service(name));
            let outcome = poll(&world);
            let said = format!(
                "service_polling: the monitor's {MODEL}/{name} is no file of at most 1048576 bytes; remove it there, and {remedy}\n"
            );
            assert_eq!((outcome.status, &outcome.stderr), (1, &said), "kind {n}");
            assert!(!serves_new(&world), "kind {n}");
        }
    }
}

/// What a try fetched that was cut off, or that found a file gone which it had listed, is nothing to go by.
#[test]
fn a_second_look_that_is_tried_again_begins_anew() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let admitted = world.service(".admitted");
    world.write(&admitted, format!("{V}\n{MEMBER}\n"));
    let script = format!(
        "case $* in *'/.admitted'*) [ -e \"$JOURNAL.tried\" ] || {{ {rsync} \"$@\"; ln -sf /dev/null '{admitted}'; > \"$JOURNAL.tried\"; \
         echo 'file has vanished' >&2; exit 24; }} ;; esac\nexec {rsync} \"$@\"",
        rsync = crate::harness::parts::find("rsync").unwrap().display(),
        admitted = admitted.display(),
    );
    let outcome = poll_through(&world, &script);
    assert!(world.path("journal.tried").exists());
    assert!(outcome.status == 1 && outcome.stderr.contains("/.admitted is no file"), "{}", shown(&outcome));
    assert!(!serves_new(&world));
}

#[test]
fn a_service_conf_that_is_gone_when_it_is_read_again_is_said() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let script = format!(
        "case $* in *'/.admitted'*) rm '{}' ;; esac\nexec {} \"$@\"",
        world.service("config_1/service.conf").display(),
        crate::harness::parts::find("rsync").unwrap().display(),
    );
    let outcome = poll_through(&world, &script);
    let said = format!(
        "service_polling: {MODEL} has no file config_1/service.conf of at most 1048576 bytes on the monitor; look at it there\n"
    );
    assert_eq!((outcome.status, outcome.stderr), (1, said));
    assert!(!serves_new(&world));
}

/// It is fetched when the member's turn has come, by itself.
#[test]
fn a_manifest_that_is_too_large_for_a_look_is_used_all_the_same() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let long = "x".repeat(200);
    (0..5000).for_each(|n| world.write(world.service(&format!("plugin/{V}/data/{long}{n}")), ""));
    manifest(&world);
    assert!(std::fs::metadata(world.service(&format!(".manifests/{V}"))).unwrap().len() > 1 << 20);
    world.write(world.service(".admitted"), format!("{V}\n127.0.0.12\n"));
    assert_eq!(connections(&world), 2, "it waits");
    world.write(world.service(".admitted"), format!("{V}\n{MEMBER}\n"));
    let file = world.service(&format!("plugin/{V}/data/feature.conf"));
    let good = world.read(&file);
    world.write(&file, "feature x\n");
    let outcome = poll(&world);
    assert!(outcome.stderr.contains("data/feature.conf has other bytes"), "{}", shown(&outcome));
    world.write(&file, good);
    assert_eq!((connections(&world), serves_new(&world)), (5, true), "it told before that it is updating");
}

#[test]
fn where_manifests_are_is_a_directory_wherever_it_lies_or_the_version_is_refused() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let [place, elsewhere] = [".manifests", "elsewhere"].map(|name| world.service(name));
    std::fs::rename(&place, &elsewhere).unwrap();
    world.write(&place, "a file\n");
    let outcome = poll(&world);
    assert!(outcome.status == 1 && outcome.stderr.contains("Not a directory"), "{}", shown(&outcome));
    std::fs::remove_file(&place).unwrap();
    world.link(&place, "elsewhere");
    let file = world.service(&format!("plugin/{V}/data/feature.conf"));
    let good = world.read(&file);
    world.write(&file, "feature x\n");
    let outcome = poll(&world);
    assert!(outcome.stderr.contains("data/feature.conf has other bytes"), "{}", shown(&outcome));
    world.write(&file, good);
    assert_eq!((poll(&world).status, serves_new(&world)), (0, true));
}

/// A link to nowhere is no directory of manifests, and a daemon that keeps dot files to itself has none.
#[test]
fn where_the_monitor_shows_no_dot_files_nobody_waits_and_nothing_is_checked() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    world.write(world.service(".admitted"), format!("{V}\n127.0.0.12\n"));
    let dir = tempfile::tempdir().unwrap();
    let conf = String::from_utf8(std::fs::read(sandbox.path().join("rsyncd.conf")).unwrap()).unwrap();
    let daemon = Daemon::start_with(dir.path(), &format!("exclude = .*\n{conf}"));
    let env_sh = format!("member-{MEMBER}/watch/env.sh");
    let line = format!("rsyncport={}\n", daemon.port).into_bytes();
    world.write(&env_sh, [world.read(&env_sh), line].concat());
    world.write(world.service(&format!("plugin/{V}/data/extra")), "not in the manifest");
    let outcome = poll(&world);
    assert_eq!((outcome.status, serves_new(&world)), (0, true), "{}", shown(&outcome));

    let world = sandbox.world();
    behind(&world);
    std::fs::remove_dir_all(world.service(".manifests")).unwrap();
    world.link(world.service(".manifests"), "nowhere");
    let outcome = poll(&world);
    assert_eq!((outcome.status, serves_new(&world)), (0, true), "{}", shown(&outcome));
}
