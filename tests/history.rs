//! What happened to a model, and who did it.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::batches::{address, fleet, killed_before_renaming};
use crate::crash::strace::is_permitted;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World};
use crate::rollback::{done, pushed};
use crate::status::{BAD, NEXT, rolled_back};

const V: &str = "20180413192258";
pub const FILE: &str = "monitor/scripts/dispatch/log/.history-mblog_yellow.jsonl";

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
        one("pushed", &[]),
        one("published", &[]),
        one("announced", &[]),
        one("admitted", &[1]),
        one("paused", &[]),
        one("resumed", &[]),
        one("confirmed", &[1]),
        one("admitted", &[1, 2]),
        one("confirmed", &[2]),
        one("ended", &[]),
    ];
    let seen = events(&world);
    assert_eq!(seen, expected);

    let shown = done(&world, &["--history", MODEL]);
    assert_eq!(shown.lines().count(), expected.len());
    assert!(
        shown.contains("  a test\n") && shown.contains(&format!("  1 member: {}", address(2))),
        "{shown}"
    );
    assert!(shown.contains(&format!("  2 members: {}, ", address(1))), "{shown}");
    let json = done(&world, &["--history", MODEL, "--json"]);
    assert_eq!(json.as_bytes(), world.read(FILE));
}

/// The events since so many, with why.
fn reasons(world: &World, since: usize) -> Vec<(String, String, String)> {
    let text = String::from_utf8(world.read(FILE)).unwrap();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        (text("event"), text("version"), text("why"))
    };
    text.lines().skip(since).map(event).collect()
}

#[test]
fn a_push_is_told_once_and_each_reason_why_it_is_refused_once() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    rolled_back(&world);
    let before = events(&world).len();
    let refused = |why: &str, times: usize| {
        for _ in 0..times {
            let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
            assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
            assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
        }
    };
    let told = || -> Vec<String> {
        let words = |(event, version, why): (String, String, String)| format!("{event} {version} {why}");
        reasons(&world, before).into_iter().map(words).collect()
    };
    let same = format!("library of {BAD}\n");
    pushed(&world, NEXT, &same);
    refused("which was marked bad", 3);
    let marked = format!(
        "refused {NEXT} {MODEL}: {NEXT} holds the same lib/ and data/ as {BAD}, which was marked bad by "
    );
    let seen = told();
    assert_eq!((seen.len(), seen[0].trim_end()), (2, &*format!("pushed {NEXT}")), "{seen:?}");
    assert!(seen[1].starts_with(&marked) && seen[1].contains("wrong scores"), "{seen:?}");

    // Another reason, which says another number each time, and the first one again.
    world.write_with_mode(world.upload(&format!("lib/{LIBRARY}")), "another\n", 0o755);
    world.age(world.upload(&format!("lib/{LIBRARY}")), 3600);
    world.age(world.upload("success"), 60);
    let hook = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}/pre-publish");
    for code in [3, 4] {
        world.write_with_mode(&hook, format!("#!/bin/sh\nexit {code}\n"), 0o755);
        refused(&format!("exit code {code}"), 2);
    }
    assert_eq!(told().len(), 4, "{:?}", told());
    assert!(told()[2].starts_with("pushed ") && told()[3].contains("ended with exit code 3"), "{:?}", told());
    std::fs::remove_file(world.path(&hook)).unwrap();
    done(&world, &[MODEL, PREFIX, LIBRARY]);
    let seen = told();
    assert!(seen[4].starts_with(&format!("published {NEXT} ")), "{seen:?}");

    // One that comes while the upgrade is in flight is seen, and waits.
    let later = "20180601000000";
    pushed(&world, later, "one more\n");
    (0..2).for_each(|_| tick(&world));
    let seen = told();
    assert_eq!(seen.iter().filter(|line| line.contains(later)).count(), 1, "{seen:?}");
    assert_eq!(seen.last().unwrap().trim_end(), format!("pushed {later}"));
    // What it is about, once it can be published, is told as ever.
    world.reported("127.0.0.11", NEXT);
    (0..2).for_each(|_| tick(&world));
    let events: Vec<String> =
        reasons(&world, before).into_iter().filter(|e| e.1 == later).map(|e| e.0).collect();
    assert_eq!(events, ["pushed", "published", "announced"]);
}

#[test]
fn who_was_late_when_the_time_was_up_is_told_whatever_is_done_then() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for (settings, expected, status) in [
        ("max_fail=2\n", ["confirmed", "late", "stopped", "ended"], 1),
        ("batches=2,100%\non_timeout=continue\n", ["admitted", "confirmed", "late", "admitted"], 0),
        ("on_timeout=rollback\n", ["late", "stopped", "ended", "rolled back"], 1),
    ] {
        let world = sandbox.world();
        fleet(&world, 3, settings);
        confirmed_before(&world, 3);
        tick(&world);
        assert_eq!(world.poll(Side::BINARY, &address(1)).status, 0);
        match status {
            0 => assert_eq!(world.poll(Side::BINARY, &address(3)).status, 0),
            _ => world.failed(&address(3), V, "rolled-back"),
        }
        tick(&world);
        world.rollout_ages(1300);
        let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
        assert_eq!(outcome.status, status, "{settings}: {}", shown(&outcome));
        let seen = events(&world);
        let names: Vec<&str> = seen.iter().map(|(event, ..)| event.as_str()).collect();
        let more: &[&str] = if settings.contains("rollback") { &["announced"] } else { &[] };
        assert!(names.ends_with(&[&expected[..], more].concat()), "{settings}: {names:?}");
        let late: Vec<_> = seen.iter().filter(|(event, ..)| event == "late").collect();
        assert_eq!(late, [&("late".to_owned(), V.to_owned(), vec![address(2)])], "{settings}");
    }
}

/// The version of before is published, announced, and reported by all.
fn confirmed_before(world: &World, members: usize) {
    let old = "20170101000000";
    world.published(old);
    (1..=members).for_each(|n| world.reported(&address(n), old));
    let success = world.read(world.upload("success"));
    std::fs::remove_file(world.upload("success")).unwrap();
    // A command takes note of what is announced.
    done(world, &["--unpin", MODEL]);
    assert_eq!(world.worth(old), "confirmed");
    world.write(world.upload("success"), success);
}

/// Runs `dispatch`, which is killed when it gives a temporary file of the model its name for so
/// many times.
fn killed_at(world: &World, temporary: &str, time: usize, arguments: &[&str]) {
    let command = world.command(Tool::Dispatch, Side::BINARY, arguments);
    let mut killed = Command::new("strace");
    let inject = format!("inject=rename:signal=KILL:when={time}");
    killed.args(["-D", "-o", "/dev/null", "-e", &inject, "-P"]);
    killed.arg(world.service(temporary)).arg(command.get_program()).args(command.get_args());
    world.prepare(&mut killed, Tool::Dispatch, Side::BINARY);
    assert_eq!(killed.status().unwrap().signal(), Some(9), "{temporary} {time}: {arguments:?}");
}

/// It dies behind its state, before it, behind the history, or over the site's own program.
#[test]
fn a_rollout_that_a_tick_stopped_and_died_over_is_told_by_the_next() {
    type Case<'a> = (&'a str, &'a dyn Fn(&World), Option<(&'a str, usize)>, &'a str, &'a [&'a str]);
    need!("rsync", "dash", "strace");
    if !is_permitted() {
        return;
    }
    let has_failed = |world: &World| world.failed(&address(1), V, "rolled-back");
    let is_late = |world: &World| world.rollout_ages(4000);
    let fails_and_is_late = |world: &World| {
        world.failed(&address(3), V, "rolled-back");
        (1..=3).for_each(|n| world.reported(&address(n), "20160101000000"));
        world.rollout_ages(4000);
    };
    let batches = "batches=1,100%\n";
    let (state, announcement) = (".rollout/.state.json.new", ".rollout/.announcement.new");
    let (stopped, late) = (&["stopped", "ended"], &["late", "stopped", "ended"]);
    let cases: [Case; 8] = [
        (batches, &has_failed, Some((state, 1)), "stopped the rollout of", stopped),
        (batches, &has_failed, Some((announcement, 1)), "", stopped),
        // The history has it, and the state does not know that.
        (batches, &has_failed, Some((state, 2)), "", stopped),
        (batches, &has_failed, None, "stopped the rollout of", stopped),
        (batches, &is_late, Some((state, 1)), "gave up waiting for", late),
        (batches, &is_late, None, "gave up waiting for", late),
        ("", &is_late, None, "gave up waiting for", late),
        (
            "on_timeout=rollback\n",
            &fails_and_is_late,
            None,
            "rolled back: it timed out",
            &["late", "stopped", "ended", "rolled back", "announced"],
        ),
    ];
    let sandbox = Sandbox::new();
    for (settings, fails, dies_before, says, expected) in cases {
        let world = sandbox.world();
        fleet(&world, 3, settings);
        confirmed_before(&world, 3);
        tick(&world);
        fails(&world);
        let before = events(&world).len();
        let root = world.root.display();
        let hook = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}/on-failure");
        let dies = if dies_before.is_some() { "" } else { "mkdir $dir/once 2> /dev/null && kill -9 $PPID" };
        let text = format!("#!/bin/sh\ndir={root}\necho \"$ROLLOUT_ERROR\" >> $dir/told\n{dies}\nexit 0\n");
        world.write_with_mode(hook, text, 0o755);
        let ended = |status: i32| {
            let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
            assert_eq!(outcome.status, status, "{settings}: {}", shown(&outcome));
            outcome.stderr
        };
        match dies_before {
            Some((temporary, time)) => killed_at(&world, temporary, time, &[MODEL, PREFIX, LIBRARY]),
            None => assert_eq!(ended(-1), ""),
        }
        // Whatever the state has is only finished.
        let (status, lines) = if says.is_empty() { (0, 0) } else { (1, 1) };
        let said = ended(status);
        assert!(said.contains(says) && said.lines().count() == lines, "{settings}: {said}");
        let told = String::from_utf8(world.read("told")).unwrap();
        assert_eq!(told.lines().count(), 1 + lines, "rather twice than never: {settings}: {told}");
        let seen = || events(&world).into_iter().skip(before).map(|event| event.0).collect::<Vec<_>>();
        assert_eq!(seen(), expected, "{settings}");
        ended(0);
        assert_eq!(seen(), expected, "{settings}: once");
    }
}

#[test]
fn what_a_run_that_died_has_told_is_not_told_again_when_it_is_finished() {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);
    need!("rsync", "strace");
    if !is_permitted() {
        return;
    }
    let old = "20170101000000";
    let push = &["pushed", "published", "announced", "admitted"];
    let cases: [Case; 3] = [
        ("", &["--rollback", MODEL], &["rolled back", "announced"]),
        ("", &["--pin", old, MODEL], &["pinned", "announced"]),
        ("batches=1,100%\n", &[MODEL, PREFIX, LIBRARY], push),
    ];
    // Behind the state, behind the announcement, and behind the history.
    let places = [
        (".rollout/.announcement.new", 1),
        ("config_1/.service.conf.new", 1),
        (".rollout/.state.json.new", 2),
    ];
    let sandbox = Sandbox::new();
    for ((settings, arguments, expected), (temporary, time)) in
        cases.into_iter().flat_map(|case| places.map(|place| (case, place)))
    {
        let world = sandbox.world();
        fleet(&world, 2, settings);
        confirmed_before(&world, 2);
        if settings.is_empty() {
            tick(&world);
            (1..=2).for_each(|n| world.reported(&address(n), V));
        }
        world.write(FILE, std::fs::read(world.path(FILE)).unwrap_or_default());
        let before = events(&world).len();
        killed_at(&world, temporary, time, arguments);
        let seen =
            || -> Vec<String> { events(&world).into_iter().skip(before).map(|event| event.0).collect() };
        assert!(expected.starts_with(&seen().iter().map(String::as_str).collect::<Vec<_>>()), "{:?}", seen());
        tick(&world);
        assert_eq!(seen(), expected, "{arguments:?}, {temporary}");
        // What is not pinned is not unpinned.
        (0..2).for_each(|_| drop(done(&world, &["--unpin", MODEL])));
        let unpinned = events(&world).iter().filter(|(event, ..)| event == "unpinned").count();
        assert_eq!(unpinned, usize::from(arguments[0] == "--pin"), "{arguments:?}");
    }
}

/// A script's check removes `success` while a run of ours has died over the publication.
#[test]
fn a_push_whose_success_is_put_back_is_pushed_once_and_ends_nothing() {
    need!("rsync", "strace");
    if !is_permitted() {
        return;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    killed_before_renaming(&world, &format!("plugin/.staging-{V}"), &[MODEL, PREFIX, LIBRARY]);
    std::fs::remove_file(world.upload("success")).unwrap();
    for dir in ["", "lib", "data", "data/fast_lr"] {
        let then = SystemTime::now() - Duration::from_secs(4000);
        std::fs::File::open(world.upload(dir)).unwrap().set_modified(then).unwrap();
    }
    assert!(world.service("status").exists());
    let said = done(&world, &[MODEL, PREFIX, LIBRARY]);
    assert!(said.contains(&format!("put success of {V} back")), "{said}");
    (0..2).for_each(|_| tick(&world));
    let names = ["pushed", "restored", "published", "announced"];
    let expected = names.map(|name| (name.to_owned(), V.to_owned(), Vec::new()));
    assert_eq!(events(&world), expected);
}

#[test]
fn a_push_is_told_and_why_it_is_refused_where_what_stands_beside_it_cannot_be_read() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    world.write(world.service(".rollout/held"), "../x\n");
    for _ in 0..2 {
        let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{}", shown(&outcome));
    }
    let seen = reasons(&world, 0);
    let names: Vec<_> = seen.iter().map(|(event, version, _)| (event.as_str(), version.as_str())).collect();
    assert_eq!(names, [("pushed", V), ("refused", V)], "{seen:?}");
    assert!(seen[1].2.contains(".rollout/held:1:1: "), "{seen:?}");
    std::fs::remove_file(world.service(".rollout/held")).unwrap();
    tick(&world);
    assert_eq!(reasons(&world, 2)[0].0, "published");
    // Nor is it refused once it is announced, whatever cannot be read then.
    world.write(world.service(".rollout/held"), "../x\n");
    assert_eq!(world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]).status, 2);
    assert_eq!(events(&world).len(), 4);
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
    assert_eq!(events(&world).len(), 3);
    let lines = done(&world, &["--history", MODEL]).lines().count();
    assert_eq!(lines, old.lines().count() + 3);
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
