//! What happened to a model, and who did it.

use crate::batches::{address, fleet};
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World};
use crate::rollback::done;

const V: &str = "20180413192258";
const FILE: &str = "monitor/scripts/dispatch/log/.history-mblog_yellow.jsonl";

fn tick(world: &World) {
    done(world, &[MODEL, PREFIX, LIBRARY]);
}

/// The events, and whom or what each is about.
fn events(world: &World) -> Vec<(String, String, Vec<String>)> {
    let text = String::from_utf8(world.read(FILE)).unwrap();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["model"], MODEL);
        assert!(chrono::DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).is_ok(), "{line}");
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let members = event["members"].as_array().cloned().unwrap_or_default();
        let members = members.iter().map(|member| member.as_str().unwrap().to_owned()).collect();
        (text("event"), text("version"), members)
    };
    text.lines().map(event).collect()
}

#[test]
fn every_step_of_a_rollout_is_remembered_once_and_shown() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\n");
    tick(&world);
    tick(&world);
    assert_eq!(world.poll(Side::BINARY, &address(1)).status, 0);
    done(&world, &["--pause", MODEL, "--why", "a test"]);
    done(&world, &["--resume", MODEL]);
    tick(&world);
    tick(&world);
    assert_eq!(world.poll(Side::BINARY, &address(2)).status, 0);
    tick(&world);
    tick(&world);
    let one = |event: &str, members: &[usize]| {
        (event.to_owned(), V.to_owned(), members.iter().map(|n| address(*n)).collect::<Vec<_>>())
    };
    let expected = [
        one("published", &[]),
        one("admitted", &[1]),
        one("announced", &[]),
        one("admitted", &[1]),
        one("paused", &[]),
        one("confirmed", &[1]),
        one("admitted", &[1, 2]),
        one("confirmed", &[2]),
        one("ended", &[]),
    ];
    let seen = events(&world);
    assert_eq!(seen, expected);

    let shown = done(&world, &["--history", MODEL]);
    assert_eq!(shown.lines().count(), expected.len());
    assert!(shown.contains("  a test\n") && shown.contains(&format!("1 members: {}", address(2))), "{shown}");
    let json = done(&world, &["--history", MODEL, "--json"]);
    assert_eq!(json.as_bytes(), world.read(FILE));
}

#[test]
fn a_full_file_becomes_the_one_before_and_both_are_shown() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    let old = "not an event\n".repeat((1 << 20) / 13 + 1);
    world.write(FILE, &old);
    tick(&world);
    assert_eq!(world.read(format!("{FILE}.1")), old.as_bytes());
    assert_eq!(events(&world).len(), 2);
    let lines = done(&world, &["--history", MODEL]).lines().count();
    assert_eq!(lines, old.lines().count() + 2);
}

#[test]
fn without_a_directory_of_logs_nothing_is_remembered_and_nothing_fails() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    std::fs::remove_dir_all(world.path("monitor/scripts/dispatch/log")).unwrap();
    tick(&world);
    assert!(!world.path("monitor/scripts/dispatch/log").exists());
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &["--history", MODEL]);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
}
