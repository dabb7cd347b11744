//! The instrument is suspected first: each thing that a comparison must see is planted, and must be seen.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::golden::{Expected, Scenario, judge};
use crate::harness::outcome::differences;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

const V: &str = "20180413192258";

/// The world of the plants: the script published a version, and a member's poll took it up.
fn rolled_out(world: &World) -> Outcome {
    world.registered();
    world.uploaded(&format!("{V}\n"));
    world.link(world.upload("lib/latest.so"), LIBRARY);
    world.directory(world.upload("data/empty"));
    world.write("monitor/scripts/dispatch/log/x.log", "=====begin start run m=====x\nother\n");
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    world.run(Tool::Dispatch, Side::SCRIPT, &[MODEL, PREFIX, LIBRARY]);
    world.poll(Side::SCRIPT, "127.0.0.11")
}

/// What is seen when something is planted in one of two equal worlds.
fn seen(plant: impl Fn(&World, &mut Outcome)) -> Vec<String> {
    let sandbox = Sandbox::new();
    let reference = rolled_out(&sandbox.world());
    let world = sandbox.world();
    let mut outcome = rolled_out(&world);
    plant(&world, &mut outcome);
    let outcome = Outcome { status: outcome.status, ..world.outcome_now(outcome) };
    differences(&reference, &outcome)
}

fn version(world: &World, path: &str) -> std::path::PathBuf {
    world.service(&format!("plugin/{V}/{path}"))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn two_equal_runs_show_no_difference() {
    need!("rsync", "dash");
    assert_eq!(seen(|_, _| {}), [""; 0]);
}

/// A name, what is planted, and the difference that must be seen.
type Plant = (&'static str, fn(&World, &mut Outcome), &'static str);

const PLANTS: &[Plant] = &[
    (
        "one wrong byte",
        |w, _| w.write_with_mode(version(w, &format!("lib/{LIBRARY}")), "library 3\n", 0o755),
        "library 2",
    ),
    ("a missing final newline", |w, _| w.write(version(w, "success"), V), "success"),
    (
        "a byte of a remark",
        |w, _| {
            let conf = String::from_utf8(w.read(w.service("config_1/service.conf"))).unwrap();
            w.service_conf("config_1", conf.replacen("监听", "监听 ", 1));
        },
        "config_1/service.conf: line 2",
    ),
    ("a mode", |w, _| set_mode(&version(w, "data/feature.conf"), 0o640), "mode 644 became 640"),
    (
        "a set-uid bit",
        |w, _| set_mode(&version(w, &format!("lib/{LIBRARY}")), 0o4755),
        "mode 755 became 4755",
    ),
    ("a directory's mode", |w, _| set_mode(&version(w, "data"), 0o700), "mode 755 became 700"),
    (
        "a link's target",
        |w, _| {
            std::fs::remove_file(version(w, "lib/latest.so")).unwrap();
            symlink("other.so", version(w, "lib/latest.so")).unwrap();
        },
        "lib/latest.so",
    ),
    (
        "a file in place of a link",
        |w, _| {
            std::fs::remove_file(version(w, "lib/latest.so")).unwrap();
            w.write(version(w, "lib/latest.so"), "library 2\n");
        },
        "lib/latest.so",
    ),
    ("an extra file", |w, _| w.write(version(w, "data/extra"), ""), "data/extra is there, too"),
    ("a dot file that is on no list", |w, _| w.write(w.service(".extra"), ""), ".extra is there, too"),
    (
        "a listed dot file in another place",
        |w, _| w.write(version(w, ".dispatch"), ""),
        ".dispatch is there, too",
    ),
    ("a missing file", |w, _| std::fs::remove_file(version(w, "success")).unwrap(), "success is missing"),
    (
        "a missing empty directory",
        |w, _| std::fs::remove_dir(version(w, "data/empty")).unwrap(),
        "data/empty is missing",
    ),
    (
        "a name",
        |w, _| std::fs::rename(version(w, "data/feature.conf"), version(w, "data/feature.cnf")).unwrap(),
        "feature.conf is missing",
    ),
    ("reordered calls", |w, _| w.write("journal", "start 127.0.0.11\nstop 127.0.0.11\n"), "the calls"),
    (
        "a call too many",
        |w, _| w.write("journal", "stop 127.0.0.11\nstart 127.0.0.11\nstart 127.0.0.11\n"),
        "the calls",
    ),
    (
        "a begin line",
        |w, _| w.write("monitor/scripts/dispatch/log/x.log", "other\n"),
        "other begin and end lines",
    ),
    ("an exit code", |_, outcome| outcome.status = 3, "exit status 0 became 3"),
];

#[test]
fn whatever_is_planted_is_seen_and_alone() {
    need!("rsync", "dash");
    for (name, plant, expected) in PLANTS {
        let found = seen(plant);
        assert!(found.iter().any(|line| line.contains(expected)), "{name}: {found:?}");
        // A name is missing and another one is there; a link has another mode than a file, too.
        let twofold = ["a name", "a file in place of a link"].contains(name);
        assert_eq!(found.len(), if twofold { 2 } else { 1 }, "{name}: {found:?}");
    }
}

/// A run that left nothing behind.
fn outcome(status: i32) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let begun = model_rollout::machine::clock::now();
    Outcome {
        command: String::new(),
        status,
        stdout: String::new(),
        stderr: String::new(),
        journal: Vec::new(),
        tree: crate::harness::outcome::Tree::read(dir.path(), &begun),
    }
}

fn judged(expected: Expected, script: i32, binary: i32) -> Result<(), String> {
    let scenario = Scenario { tool: Tool::Poll, arguments: &[], given: |_| {}, expected };
    judge(&scenario, &[(Side::SCRIPT, outcome(script)), (Side::BINARY, outcome(binary))])
}

#[test]
fn a_verdict_turns_red_when_either_half_stops_holding() {
    assert_eq!(judged(Expected::Agree(|o| assert_eq!(o.status, 0)), 0, 0), Ok(()));
    assert!(judged(Expected::Agree(|_| {}), 0, 1).is_err(), "they do not agree");
    assert!(judged(Expected::Agree(|o| assert_eq!(o.status, 1)), 0, 0).is_err(), "it does not hold of both");
    let differ = |script, binary| {
        let expected = Expected::Differ {
            entry: "an entry",
            script: |o| assert_eq!(o.status, 0),
            binary: |o| assert_eq!(o.status, 1),
        };
        judged(expected, script, binary)
    };
    assert_eq!(differ(0, 1), Ok(()));
    assert!(differ(1, 1).unwrap_err().contains("nothing differs any more"));
    assert!(differ(2, 1).unwrap_err().contains("of the script"));
    assert!(differ(0, 2).unwrap_err().contains("of the binary"));
}
