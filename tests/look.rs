//! What a poll asks the monitor for: what of it, in how many connections, and in which order the
//! monitor's rsync reads it.

use std::path::Path;

use model_rollout::digest::Digest;
use model_rollout::formats::announcement::{Admission, Announcement, Bytes, Offer, SCHEMA};
use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::names::{Address, ModelName};
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
    world.write(world.service(&format!(".rollout/manifests/{V}")), manifest.render());
}

/// The monitor announces the version as it is now.
fn announce(world: &World, change: impl FnOnce(&mut Announcement)) {
    let manifest = world.read(world.service(&format!(".rollout/manifests/{V}")));
    let conf = world.read(world.service("config_1/service.conf"));
    let mut announcement = Announcement {
        schema: SCHEMA,
        must: Vec::new(),
        model: ModelName::parse(MODEL.as_bytes()).unwrap(),
        epoch: 1_500_000_000,
        sequence: 1,
        attempt: 0,
        target: Some(Offer {
            version: Version::parse(V.as_bytes()).unwrap(),
            manifest: Some(Digest(*blake3::hash(&manifest).as_bytes())),
            service_conf: [("config_1".to_owned(), Bytes(conf))].into(),
        }),
        before: None,
        admitted: Admission::Everybody,
        held: Vec::new(),
    };
    change(&mut announcement);
    world.write(world.service(".rollout/announcement"), announcement.render());
}

fn address(text: &str) -> Address {
    Address::parse(text.as_bytes()).unwrap()
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
fn a_poll_makes_one_connection_unless_it_installs_and_then_four() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |said| said.admitted = Admission::Members(vec![address("127.0.0.12")]));
    assert_eq!((connections(&world), serves_new(&world)), (1, false), "it waits");
    announce(&world, |said| said.held = vec![address(MEMBER)]);
    assert_eq!((connections(&world), serves_new(&world)), (1, false), "it is held");
    announce(&world, |_| {});
    // What is announced, the manifest, the version, the report.
    assert_eq!((connections(&world), serves_new(&world)), (4, true));
    assert_eq!(connections(&world), 1, "nothing is new");
}

/// The announcement says who may install what is in service.conf: it is read first, so that a later
/// service.conf does not fit it, and the member waits.
#[test]
fn the_announcement_is_read_before_service_conf_and_the_manifest_is_fetched_by_its_name() {
    need!("rsync", "strace");
    if !is_permitted() {
        return;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |_| {});
    let read = read_by_the_daemon(&sandbox, &world);
    let [first, second] = [0, 1].map(|n| read.get(n).map(Vec::as_slice).unwrap_or_default());
    // The directory is not listed: while a file of it is replaced, a list may lack it (btrfs).
    assert_eq!(first, [".rollout/announcement", "service.conf"]);
    assert_eq!(second, [format!(".rollout/manifests/{V}")]);
    assert!(serves_new(&world));
}

/// What the daemon's process of each connection of a poll reads of the model's directory, in order,
/// the versions left out. The daemon is started by the client, under strace, as inetd would start
/// it.
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
fn an_announcement_that_cannot_be_fetched_lets_nothing_through() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let kinds: [fn(&World, &Path); 4] = [
        |world, path| world.link(path, "/dev/null"),
        |world, path| world.directory(path),
        |_, path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap(),
        |world, path| world.write(path, vec![b'#'; 5 << 20]),
    ];
    for (n, put) in kinds.into_iter().enumerate() {
        let world = sandbox.world();
        behind(&world);
        put(&world, &world.service(".rollout/announcement"));
        let outcome = poll(&world);
        let said = format!(
            "service_polling: the monitor's {MODEL}/.rollout/announcement is no file of at most 4194304 \
             bytes that may be read; remove it there: the next tick writes it again\n"
        );
        assert_eq!((outcome.status, &outcome.stderr), (1, &said), "kind {n}");
        assert!(!serves_new(&world), "kind {n}");
    }
}

/// What becomes of an announcement.
type Damage = fn(Vec<u8>) -> Vec<u8>;

#[test]
fn an_announcement_that_is_damaged_or_for_others_lets_nothing_through() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let place = |world: &World| world.service(".rollout/announcement");
    let damages: [(&str, Damage); 5] = [
        ("this announcement is cut off", |_| Vec::new()),
        ("this announcement is cut off", |bytes| bytes[..100].to_vec()),
        ("this is not an announcement: ", |bytes| [b"x", &bytes[..]].concat()),
        ("this announcement has schema 2", |bytes| edited(&bytes, "\"schema\":1", "\"schema\":2")),
        ("without colour", |bytes| edited(&bytes, "{", "{\"must\":[\"colour\"],")),
    ];
    let world = sandbox.world();
    behind(&world);
    let refused = |what: &str| {
        let outcome = poll(&world);
        let said = format!("service_polling: the monitor's {MODEL}/.rollout/announcement:1:1: ");
        assert!(outcome.status == 1 && outcome.stderr.starts_with(&said), "{}", shown(&outcome));
        let is_one_line = outcome.stderr.lines().count() == 1;
        assert!(is_one_line && outcome.stderr.contains(what), "{what}: {}", outcome.stderr);
        assert!(!serves_new(&world), "{what}");
    };
    for (what, damage) in damages {
        announce(&world, |_| {});
        world.write(place(&world), damage(world.read(place(&world))));
        refused(what);
    }
    announce(&world, |said| said.model = ModelName::parse(b"other").unwrap());
    refused("this is the announcement of other");
    announce(&world, |_| {});
    assert_eq!((poll(&world).status, serves_new(&world)), (0, true));
}

fn edited(bytes: &[u8], before: &str, after: &str) -> Vec<u8> {
    String::from_utf8(bytes.to_vec()).unwrap().replacen(before, after, 1).into_bytes()
}

/// Somebody writes on the monitor. The next tick settles it, and until then nobody moves.
#[test]
fn a_service_conf_that_does_not_fit_the_announcement_is_waited_out_quietly() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |_| {});
    let conf = world.read(world.service("config_1/service.conf"));
    for other in [
        SERVICE_CONF.as_bytes().to_vec(),
        edited(&conf, "worker_count=128", "worker_count=64"),
        [&conf[..], b"\n"].concat(),
    ] {
        world.service_conf("config_1", other);
        assert_eq!((connections(&world), serves_new(&world)), (1, false));
    }
    world.service_conf("config_1", conf);
    assert_eq!((poll(&world).status, serves_new(&world)), (0, true));
}

/// What a try fetched that was cut off, or that found a file gone which it had listed, is nothing
/// to go by.
#[test]
fn a_look_that_is_tried_again_begins_anew() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |_| {});
    let announcement = world.service(".rollout/announcement");
    let script = format!(
        "case $* in *'/announcement'*) [ -e \"$JOURNAL.tried\" ] || {{ {rsync} \"$@\"; \
         ln -sf /dev/null '{announcement}'; > \"$JOURNAL.tried\"; \
         echo 'file has vanished' >&2; exit 24; }} ;; esac\nexec {rsync} \"$@\"",
        rsync = crate::harness::parts::find("rsync").unwrap().display(),
        announcement = announcement.display(),
    );
    let outcome = poll_through(&world, &script);
    assert!(world.path("journal.tried").exists());
    let is_said = outcome.stderr.contains("/.rollout/announcement is no file");
    assert!(outcome.status == 1 && is_said, "{}", shown(&outcome));
    assert!(!serves_new(&world));
}

#[test]
fn a_service_conf_that_is_gone_or_larger_than_one_is_said() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let conf = world.service("config_1/service.conf");
    world.write(&conf, vec![b'#'; 2 << 20]);
    let limit = " of at most 1048576 bytes on the monitor; look at it there\n";
    let gone = " on the monitor; check that the model is registered there (add_dispatch_docker)\n";
    for remedy in [limit, gone] {
        let outcome = poll(&world);
        let said = format!("service_polling: {MODEL} has no file config_1/service.conf{remedy}");
        assert_eq!((outcome.status, outcome.stderr), (1, said));
        assert!(!serves_new(&world));
        let _ = std::fs::remove_file(&conf);
    }
}

#[test]
fn a_manifest_that_is_not_the_one_announced_is_refused() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |_| {});
    let place = world.service(&format!(".rollout/manifests/{V}"));
    let good = world.read(&place);
    world.write(&place, [&good[..], b" "].concat());
    let outcome = poll(&world);
    assert!(outcome.stderr.contains("is not the one that its announcement names"), "{}", shown(&outcome));
    std::fs::remove_file(&place).unwrap();
    let outcome = poll(&world);
    let said = format!("the monitor has no {MODEL}/.rollout/manifests/{V}, which its announcement names");
    assert!(outcome.stderr.contains(&said) && !serves_new(&world), "{}", shown(&outcome));
    world.write(&place, good);
    assert_eq!((poll(&world).status, serves_new(&world)), (0, true));
}

/// The monitor was restored without its reports, or somebody removed them.
#[test]
fn reports_that_the_monitor_has_lost_are_sent_again_but_not_for_ever() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |_| {});
    assert_eq!(poll(&world).status, 0);
    let names = [MEMBER.to_owned(), format!(".state-{MEMBER}")];
    let places = names.map(|name| world.service(&format!("version/{name}")));
    let reported = places.each_ref().map(|place| world.read(place));
    for place in &places {
        std::fs::remove_file(place).unwrap();
        assert_eq!(poll(&world).status, 0);
        assert_eq!(places.each_ref().map(|place| world.read(place)), reported, "{}", place.display());
        assert_eq!(connections(&world), 1);
    }
    for n in 0..5 {
        std::fs::remove_file(&places[0]).unwrap();
        assert_eq!(poll(&world).status, 0);
        assert_eq!(places[0].exists(), n < 3, "time {n}");
        world.write(&places[0], "another\n");
    }
}

#[test]
fn where_manifests_are_is_a_directory_wherever_it_lies_or_the_version_is_refused() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    let [place, elsewhere] = [".rollout/manifests", "elsewhere"].map(|name| world.service(name));
    std::fs::rename(&place, &elsewhere).unwrap();
    world.write(&place, "a file\n");
    let outcome = poll(&world);
    assert!(outcome.status == 1 && outcome.stderr.contains("Not a directory"), "{}", shown(&outcome));
    std::fs::remove_file(&place).unwrap();
    world.link(&place, "../elsewhere");
    let file = world.service(&format!("plugin/{V}/data/feature.conf"));
    let good = world.read(&file);
    world.write(&file, "feature x\n");
    let outcome = poll(&world);
    assert!(outcome.stderr.contains("data/feature.conf has other bytes"), "{}", shown(&outcome));
    world.write(&file, good);
    assert_eq!((poll(&world).status, serves_new(&world)), (0, true));
}

/// A link to nowhere is no directory of manifests, and a daemon that keeps dot files to itself has
/// none.
#[test]
fn where_the_monitor_shows_no_dot_files_nobody_waits_and_nothing_is_checked() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world);
    announce(&world, |said| said.admitted = Admission::Members(Vec::new()));
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
    std::fs::remove_dir_all(world.service(".rollout/manifests")).unwrap();
    world.link(world.service(".rollout/manifests"), "nowhere");
    let outcome = poll(&world);
    assert_eq!((outcome.status, serves_new(&world)), (0, true), "{}", shown(&outcome));
}
