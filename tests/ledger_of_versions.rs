//! What a version is worth, and what follows from that: on a real monitor, by ticks, reports and
//! operators' commands. Each of these once ended badly: a version that had failed was announced or
//! admitted, or none was left that works.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, announced as announcing};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use crate::history::FILE as HISTORY;
use crate::rollback::{announced, dispatch, done, pushed, refused};

const V1: &str = "20260101000001";
const V2: &str = "20260101000002";
const V3: &str = "20260101000003";
const V4: &str = "20260101000004";
const V5: &str = "20260101000005";
const CANARY: &str = "127.0.0.11";
const MEMBERS: [&str; 4] = [CANARY, "127.0.0.12", "127.0.0.13", "127.0.0.14"];
const BATCHES: &str = "batches=1,50%,100%\n";
const TICK: [&str; 3] = [MODEL, PREFIX, LIBRARY];

fn tick(world: &World) -> Outcome {
    dispatch(world, &TICK)
}

fn ticked(world: &World) -> String {
    done(world, &TICK)
}

/// A registered model of four members that poll with the binary.
fn model(world: &World, settings: &str) {
    world.registered();
    world.member_list(&MEMBERS.join(","));
    world.member_list_says(settings);
    MEMBERS.iter().for_each(|member| world.member(member));
}

fn push(world: &World, version: &str) {
    pushed(world, version, &format!("library of {version}\n"));
}

/// Pushes a version, which every member takes and reports.
fn released(world: &World, version: &str) {
    push(world, version);
    for _ in 0..MEMBERS.len() {
        ticked(world);
        MEMBERS.iter().for_each(|member| world.reported(member, version));
    }
    assert!(!world.service("status").exists());
    assert_eq!(world.worth(version), "confirmed");
}

/// Pushes a version, which the canary fails with: its rollout stops.
fn stopped(world: &World, version: &str) {
    push(world, version);
    ticked(world);
    assert_eq!(world.admitted(), Some(vec![CANARY.to_owned()]));
    world.failed(CANARY, version, "rolled-back");
    let outcome = tick(world);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    assert_eq!((world.worth(version).as_str(), world.phase().as_str()), ("stopped", "stopped"));
}

fn polled(world: &World, member: &str) {
    let outcome = world.poll(Side::BINARY, member);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
}

fn serves(world: &World, member: &str) -> String {
    let conf = world.read(format!("member-{member}/workspace/bin/etc/service.conf"));
    let conf = String::from_utf8(conf).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap().to_owned()
}

fn announcement(world: &World) -> Value {
    serde_json::from_slice(&world.read(world.service(".rollout/announcement"))).unwrap()
}

fn worths(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ledger = world.state()["ledger"].as_array().unwrap().clone();
    ledger.iter().map(|release| (text(&release["version"]), text(&release["worth"]))).collect()
}

fn names_in(dir: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The events of the history, each with its version.
fn history(world: &World) -> Vec<(String, String)> {
    let told = String::from_utf8(world.read(HISTORY)).unwrap();
    let event = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        (text("event"), text("version"))
    };
    told.lines().map(event).collect()
}

/// A1: the operator who edits the list because the canary failed makes a mistake in it.
#[test]
fn a_list_that_cannot_be_read_while_a_canary_is_out_admits_nobody() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let list = format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh");
    for (spoilt, says) in [
        (Some("members=\"127.0.0.12,127.0.0.13\n"), "this \" is never closed"),
        (Some(""), "its member list is gone"),
        (None, "its member list is gone"),
    ] {
        let world = sandbox.world();
        model(&world, BATCHES);
        released(&world, V1);
        MEMBERS.iter().for_each(|member| polled(&world, member));
        push(&world, V2);
        ticked(&world);
        world.failed(CANARY, V2, "rolled-back");
        let known = world.read(&list);
        match spoilt {
            Some(content) => world.write(&list, content),
            None => std::fs::remove_file(world.path(&list)).unwrap(),
        }
        for seconds in [0, 1300, 1300] {
            world.rollout_ages(seconds);
            let outcome = tick(&world);
            assert!([1, 2].contains(&outcome.status), "{}", shown(&outcome));
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", shown(&outcome));
            assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
            assert!(outcome.stderr.contains(&format!("the rollout of {V2} waits for that")));
            assert_eq!(world.admitted(), Some(vec![CANARY.to_owned()]));
            assert_eq!((world.worth(V2).as_str(), world.phase().as_str()), ("rolling-out", "running"));
        }
        MEMBERS[1..].iter().for_each(|member| polled(&world, member));
        assert!(MEMBERS[1..].iter().all(|member| serves(&world, member) == V1));
        // The list is mended, and the rollout is judged by it.
        world.write(&list, known);
        let outcomes = [tick(&world), tick(&world)];
        let stops = outcomes.iter().any(|outcome| outcome.stderr.contains("stopped the rollout of"));
        assert!(stops, "{} {}", shown(&outcomes[0]), shown(&outcomes[1]));
        assert_eq!(world.admitted(), Some(Vec::new()), "nor is the canary, which failed");
        MEMBERS[1..].iter().for_each(|member| polled(&world, member));
        assert!(MEMBERS[1..].iter().all(|member| serves(&world, member) == V1));
    }
}

/// A2: a push in a change freeze is not complete, and does not go to all at once when the freeze
/// ends.
#[test]
fn a_push_while_everybody_is_held_waits_and_goes_out_in_batches() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    let held: String = MEMBERS.iter().map(|member| format!("{member} - ann@m1 freeze\n")).collect();
    world.write(world.service(".rollout/held"), held);
    push(&world, V2);
    for seconds in [0, 1300, 1300] {
        let said = ticked(&world);
        assert!(!said.contains("all 0 members") && !said.contains("members have"), "{said}");
        assert!(
            said.contains(&format!("all 4 members are held; the rollout of {V2} waits for them")),
            "{said}"
        );
        assert_eq!((world.admitted(), world.phase().as_str()), (Some(Vec::new()), "running"));
        world.rollout_ages(seconds);
        let status = dispatch(&world, &["--status", MODEL]);
        assert_eq!(status.status, 1, "{}", shown(&status));
        assert!(!status.stdout.contains(": converged"), "{}", status.stdout);
    }
    std::fs::remove_file(world.service(".rollout/held")).unwrap();
    ticked(&world);
    ticked(&world);
    assert_eq!(world.admitted(), Some(vec![CANARY.to_owned()]), "one member tries it first");
    assert_eq!(world.worth(V2), "rolling-out");
}

/// A3, first way: the version before was stopped.
#[test]
fn a_rollback_does_not_go_to_a_version_that_was_stopped() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    stopped(&world, V2);
    released(&world, V3);
    let said = done(&world, &["--rollback", MODEL, "--why", "wrong scores"]);
    assert!(said.starts_with(&format!("{MODEL}: rolled back to {V1}; {V3} is marked bad by ")), "{said}");
    assert_eq!(announced(&world), V1);
    let worth = |version: &str| world.worth(version);
    assert_eq!([worth(V1), worth(V2), worth(V3)], ["confirmed", "stopped", "bad"]);
    // An operator who means it names it, and says so.
    let said = refused(&world, &["--rollback", MODEL, "--to", V2], 1);
    assert!(
        said.contains(&format!("{V2} was never confirmed (stopped); name another version, or add --force"))
    );
    done(&world, &["--rollback", MODEL, "--to", V2, "--force"]);
    assert_eq!(announced(&world), V2);
}

/// A3, second way: the version before was left by a pin.
#[test]
fn a_rollback_does_not_go_to_a_version_that_a_pin_left() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    released(&world, V2);
    done(&world, &["--pin", V1, MODEL, "--why", "two gives wrong scores"]);
    MEMBERS.iter().for_each(|member| world.reported(member, V1));
    ticked(&world);
    assert_eq!(world.worth(V2), "left");
    done(&world, &["--unpin", MODEL]);
    released(&world, V3);
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V1);
}

/// A3, third way: versions that failed push the only one out that ever worked.
#[test]
fn the_only_version_that_worked_is_kept_and_gone_back_to() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, &format!("{BATCHES}keep=2\n"));
    released(&world, V1);
    [V2, V3, V4].iter().for_each(|version| stopped(&world, version));
    // What the canary reported last is about none of them.
    released(&world, V5);
    assert_eq!(names_in(world.service("plugin")), [V1, V5], "the failed ones go first");
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V1);
    assert_eq!(world.worth(V5), "bad");
}

/// A11: a clock that was set back gives a later version an earlier name.
#[test]
fn versions_are_ordered_by_their_publication_and_not_by_their_names() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, "");
    let [oldest, before_the_hour, after_it] = ["20261031120000", "20261101015000", "20261101011000"];
    [oldest, before_the_hour, after_it].iter().for_each(|version| released(&world, version));
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), before_the_hour);
    let bad: Vec<_> = worths(&world).into_iter().filter(|(_, worth)| worth == "bad").collect();
    assert_eq!(bad, [(after_it.to_owned(), "bad".to_owned())]);
    // And its content is refused from now on, also under the name of a year ago.
    MEMBERS.iter().for_each(|member| world.reported(member, before_the_hour));
    ticked(&world);
    pushed(&world, "20251101011000", &format!("library of {after_it}\n"));
    let refused = tick(&world);
    assert!(refused.stderr.contains(&format!("as {after_it}, which was marked bad")), "{}", shown(&refused));
}

/// A18: the next tick writes the lines that a killed one did not, and none twice.
#[test]
fn the_history_is_told_of_every_step_of_a_tick_that_was_killed_once() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, "");
    push(&world, V1);
    ticked(&world);
    let told = String::from_utf8(world.read(HISTORY)).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let untold: Vec<Value> = lines
        .iter()
        .rev()
        .take(2)
        .rev()
        .map(|line| {
            let told: Value = serde_json::from_str(line).unwrap();
            let [id, event, version] = ["id", "event", "version"].map(|key| told[key].clone());
            serde_json::json!({ "id": id, "at_s": 1, "by": "a@b", "event": event, "version": version })
        })
        .collect();
    let expected = history(&world);
    assert!(
        expected
            .ends_with(&[("published".to_owned(), V1.to_owned()), ("announced".to_owned(), V1.to_owned())])
    );
    // It died before it told anything, after one line, in the middle of the other, and after both.
    let half = lines[lines.len() - 1].len() / 2;
    for kept in [lines.len() - 2, lines.len() - 1, lines.len()] {
        for torn in [0, half] {
            let whole: String = lines[..kept].iter().map(|line| format!("{line}\n")).collect();
            let rest = lines.get(kept).map_or("", |line| &line[..torn.min(line.len())]);
            world.write(HISTORY, whole + rest);
            world.change_state(|state| {
                state["settled"] = false.into();
                state["untold"] = untold.clone().into();
            });
            ticked(&world);
            let text = String::from_utf8(world.read(HISTORY)).unwrap();
            let read = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let events: Vec<(String, String)> = read
                .map(|told| {
                    let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
                    (text("event"), text("version"))
                })
                .collect();
            assert_eq!(events, expected, "{kept} lines and {torn} bytes: {text}");
            assert_eq!(world.state()["untold"], Value::Array(Vec::new()));
        }
    }
}

/// Another tree in its place: other inodes, and other times.
fn copied(world: &World) {
    let copy = Command::new("cp").args(["-r", "monitor", "copy"]).current_dir(&world.root).status();
    assert!(copy.unwrap().success());
    std::fs::remove_dir_all(world.path("monitor")).unwrap();
    std::fs::rename(world.path("copy"), world.path("monitor")).unwrap();
}

#[test]
fn a_tree_that_is_copied_goes_on_without_publishing_or_losing_anything() {
    need!("rsync", "dash", "cp");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    // At rest.
    let (before, told) = (announcement(&world), history(&world));
    copied(&world);
    assert_eq!(ticked(&world), "");
    assert_eq!((announcement(&world), history(&world)), (before, told));
    // In a rollout, of which one batch is out.
    push(&world, V2);
    ticked(&world);
    world.reported(CANARY, V2);
    ticked(&world);
    let (before, told, admitted) = (announcement(&world), history(&world), world.admitted());
    assert_eq!(admitted.clone().map(|members| members.len()), Some(2));
    for _ in 0..2 {
        copied(&world);
        let said = ticked(&world);
        assert!(said.contains(&format!("1 of 4 members have {V2}; waiting for {}", MEMBERS[1])), "{said}");
        assert!(!said.contains("update"), "{said}");
        assert_eq!((announcement(&world), history(&world)), (before.clone(), told.clone()));
    }
    assert!(world.upload("success").exists() && world.service("status").exists());
    // One that waits is not lost.
    push(&world, V3);
    ticked(&world);
    copied(&world);
    for _ in 0..3 {
        MEMBERS.iter().for_each(|member| world.reported(member, V2));
        ticked(&world);
    }
    assert_eq!((world.worth(V2).as_str(), announced(&world).as_str()), ("confirmed", V3));
    let mut pushes: Vec<_> = history(&world).into_iter().filter(|(event, _)| event == "pushed").collect();
    // One that was not published yet cannot be told from another one of the same words.
    pushes.dedup();
    assert_eq!(pushes.iter().map(|(_, version)| version.as_str()).collect::<Vec<_>>(), [V1, V2, V3]);
}

/// A9: an operator is not turned away while the next version is copied, and the command is about
/// the version that was announced.
#[test]
fn a_rollback_while_the_next_version_is_copied_is_carried_out_at_once() {
    need!("rsync", "dash", "sleep");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, "");
    released(&world, V1);
    released(&world, V2);
    push(&world, V3);
    let root = world.root.display();
    let hook = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}/pre-publish");
    let slow = format!("#!/bin/sh\n: > {root}/copies\nuntil [ -e {root}/go ]; do sleep 0.05; done\n");
    world.write_with_mode(&hook, slow, 0o755);
    let mut copying = world.command(Tool::Dispatch, Side::BINARY, &TICK);
    let copying = copying.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the next version is copied", || world.path("copies").exists());

    let said = done(&world, &["--rollback", MODEL, "--why", "two gives wrong scores"]);
    assert!(said.starts_with(&format!("{MODEL}: rolled back to {V1}; {V2} is marked bad by ")), "{said}");
    assert_eq!(announced(&world), V1);
    world.write("go", "");
    let copied = copying.wait_with_output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(announced(&world), V1, "nothing overtakes the operator");
    assert_eq!((world.worth(V2).as_str(), world.worth(V3).as_str()), ("bad", "published"));

    // It is announced once members have confirmed what the operator said.
    MEMBERS.iter().for_each(|member| world.reported(member, V1));
    ticked(&world);
    ticked(&world);
    assert_eq!((announced(&world).as_str(), world.worth(V3).as_str()), (V3, "rolling-out"));
    MEMBERS.iter().for_each(|member| world.reported(member, V3));
    ticked(&world);
    let worth = |version: &str| world.worth(version);
    assert_eq!([worth(V1), worth(V2), worth(V3)], ["confirmed", "bad", "confirmed"]);
}

#[test]
fn a_second_rollback_at_once_marks_nothing() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, "");
    [V1, V2, V3].iter().for_each(|version| released(&world, version));
    done(&world, &["--rollback", MODEL]);
    let known = worths(&world);
    let said = refused(&world, &["--rollback", MODEL], 1);
    assert!(said.contains(&format!("the rollback to {V2} is not confirmed by its members yet")), "{said}");
    assert!(said.contains(&format!("to go further: dispatch --rollback {MODEL} --to {V1}")), "{said}");
    assert_eq!((worths(&world), announced(&world).as_str()), (known, V2));
    // Once it is confirmed the next one is meant.
    MEMBERS.iter().for_each(|member| world.reported(member, V2));
    ticked(&world);
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V1);
}

#[test]
fn a_state_that_is_lost_stops_everything_until_it_is_made_anew() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for damage in [Some(&b""[..]), Some(b"\0\0\0\0"), Some(b"{\"schema\":1}"), None] {
        let world = sandbox.world();
        model(&world, "");
        released(&world, V1);
        released(&world, V2);
        MEMBERS.iter().for_each(|member| polled(&world, member));
        let epoch = announcement(&world)["epoch"].as_i64().unwrap();
        let path = world.service(".rollout/state.json");
        match damage {
            Some(bytes) => world.write(&path, bytes),
            None => std::fs::remove_file(&path).unwrap(),
        }
        push(&world, V3);
        for arguments in
            [&TICK[..], &["--rollback", MODEL], &["--pause", MODEL], &["--mark", MODEL, V1, "bad"]]
        {
            let said = refused(&world, arguments, 2);
            assert!(said.contains(&format!("dispatch --rebuild {MODEL}")), "{arguments:?}: {said}");
        }
        assert!(!world.service(&format!("plugin/{V3}")).exists() && world.upload("success").exists());

        let said = done(&world, &["--rebuild", MODEL]);
        assert!(
            said.starts_with(&format!("{MODEL}: made anew from 2 versions; {V2} is announced; ")),
            "{said}"
        );
        assert!(announcement(&world)["epoch"].as_i64().unwrap() > epoch, "members follow it");
        // A member that reports a version has confirmed it; the other one is unknown.
        assert_eq!((world.worth(V1).as_str(), world.worth(V2).as_str()), ("published", "confirmed"));
        let said = refused(&world, &["--rollback", MODEL], 1);
        assert!(said.contains("there is nothing to go back to"), "{said}");
        assert!(said.contains(&format!("{V1} (published)")), "{said}");
        done(&world, &["--mark", MODEL, V1, "good", "--why", "it was served for a month"]);
        done(&world, &["--rollback", MODEL]);
        MEMBERS.iter().for_each(|member| polled(&world, member));
        assert!(MEMBERS.iter().all(|member| serves(&world, member) == V1));
        let told = history(&world);
        for event in [("marked good", V1), ("rolled back", V2)] {
            assert!(told.contains(&(event.0.to_owned(), event.1.to_owned())), "{told:?}");
        }
        // The push that waited is published then.
        (0..2).for_each(|_| drop(ticked(&world)));
        assert_eq!(announced(&world), V3);
    }
}

#[test]
fn a_person_says_what_a_version_is_worth() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    stopped(&world, V2);
    released(&world, V3);
    // A version that was stopped for another reason.
    let said = done(&world, &["--mark", MODEL, V2, "good", "--why", "the disk was full"]);
    assert!(said.starts_with(&format!("{MODEL}: {V2} is good by ")), "{said}");
    assert!(said.ends_with(": the disk was full\n"), "{said}");
    done(&world, &["--mark", MODEL, V1, "bad", "--why", "it leaks"]);
    let worth = |version: &str| world.worth(version);
    assert_eq!([worth(V1), worth(V2), worth(V3)], ["bad", "good", "confirmed"]);
    assert_eq!(announced(&world), V3, "nothing is announced by that");
    assert!(
        history(&world).ends_with(&[
            ("marked good".to_owned(), V2.to_owned()),
            ("marked bad".to_owned(), V1.to_owned())
        ])
    );
    for (arguments, status, says) in [
        (&["--mark", MODEL, V5, "good"][..], 1, "there is no version"),
        (&["--mark", MODEL, V1, "splendid"], 2, "good"),
        (&["--mark", MODEL, "../x", "good"], 2, "is not the name of a version"),
        (&["--mark", "nobody", V1, "good"], 1, "is no model of this monitor"),
    ] {
        let said = refused(&world, arguments, status);
        assert!(said.contains(says), "{said}");
    }
    // What is marked bad is refused under another name, and nobody goes back to it.
    pushed(&world, V4, &format!("library of {V1}\n"));
    let refused_push = tick(&world);
    assert!(
        refused_push.stderr.contains(&format!("as {V1}, which was marked bad")),
        "{}",
        shown(&refused_push)
    );
    std::fs::remove_file(world.upload("success")).unwrap();
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V2);
}

/// Step 5 of the manual, or a parameter.
#[test]
fn an_edit_by_hand_of_the_announced_version_reaches_those_who_have_it() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    MEMBERS.iter().for_each(|member| polled(&world, member));
    let before = announcement(&world);
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    let edited = conf.replace("worker_count=128", "worker_count=64");
    assert_ne!(edited, conf);
    world.service_conf("config_1", &edited);
    assert_eq!(ticked(&world), "");
    let after = announcement(&world);
    assert_eq!(after["target"]["service_conf"]["config_1"], edited.as_str());
    assert!(after["sequence"].as_u64() > before["sequence"].as_u64());
    assert_eq!(after["target"]["version"], V1);
    assert!(!world.service("status").exists(), "no new rollout");
    assert_eq!((world.worth(V1).as_str(), world.phase().as_str()), ("confirmed", "done"));
    assert_eq!(history(&world).last(), Some(&("edited".to_owned(), V1.to_owned())));
    for member in MEMBERS {
        polled(&world, member);
        let installed = format!("member-{member}/workspace/bin/etc/service.conf");
        assert_eq!(world.read(installed), edited.as_bytes());
    }
    assert_eq!(ticked(&world), "", "once");
    assert_eq!(announcement(&world), after);
}

/// A person's way back without a command.
#[test]
fn an_edit_by_hand_to_another_version_is_noted_as_that() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    released(&world, V2);
    MEMBERS.iter().for_each(|member| polled(&world, member));
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    world.service_conf("config_1", conf.replace(V2, V1));
    ticked(&world);
    let state = world.state();
    assert_eq!((state["announced"]["origin"].as_str(), world.admitted()), (Some("hand"), None));
    assert_eq!(announcement(&world)["target"]["version"], V1);
    assert_eq!((world.worth(V1).as_str(), world.worth(V2).as_str()), ("confirmed", "left"));
    let release =
        state["ledger"].as_array().unwrap().iter().find(|release| release["version"] == V2).unwrap();
    assert!(release["mark"]["by"].as_str().unwrap().contains('@'), "{release}");
    assert_eq!(release["mark"]["reason"], "service.conf was edited by hand");
    MEMBERS.iter().for_each(|member| polled(&world, member));
    assert!(MEMBERS.iter().all(|member| serves(&world, member) == V1));
    // And nobody goes back to the one that was left.
    released(&world, V3);
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V1);
}

#[test]
fn a_version_that_a_script_published_gets_the_next_number_and_a_manifest() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, BATCHES);
    released(&world, V1);
    push(&world, V2);
    let script = || {
        let outcome = world.run(Tool::Dispatch, Side::SCRIPT, &TICK);
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    };
    script();
    assert_eq!(announced(&world), V2);
    let said = ticked(&world);
    assert!(!said.contains("update"), "it is published already: {said}");
    let state = world.state();
    assert_eq!((state["announced"]["origin"].as_str(), world.admitted()), (Some("script"), None));
    let ledger = state["ledger"].as_array().unwrap();
    let sequence = |version: &str| {
        let release = ledger.iter().find(|release| release["version"] == version).unwrap();
        assert!(release["manifest"].is_string(), "{release}");
        release["sequence"].as_u64().unwrap()
    };
    assert!(sequence(V2) > sequence(V1));
    assert!(world.service(&format!(".rollout/manifests/{V2}")).is_file());
    assert_eq!((world.worth(V2).as_str(), world.phase().as_str()), ("rolling-out", "running"));
    MEMBERS.iter().for_each(|member| polled(&world, member));
    script();
    assert!(!world.service("status").exists(), "the script ended it");
    ticked(&world);
    assert_eq!((world.worth(V2).as_str(), world.phase().as_str()), ("confirmed", "done"));
    // The same without a trace of the script but service.conf and plugin/.
    world.write(world.service(&format!("plugin/{V3}/lib/{LIBRARY}")), "library 3\n");
    world.directory(world.service(&format!("plugin/{V3}/data")));
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    world.service_conf("config_1", conf.replace(V2, V3));
    ticked(&world);
    assert_eq!((announcement(&world)["target"]["version"].as_str(), world.admitted()), (Some(V3), None));
    assert!(!world.service("status").exists());
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), V2);
}

/// What cannot be there is said, and nothing is announced by it.
#[test]
fn an_edit_by_hand_to_a_version_that_is_not_there_is_refused() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    model(&world, "");
    released(&world, V1);
    let before = announcement(&world);
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    world.service_conf("config_1", conf.replace(V1, V5));
    let said = refused(&world, &TICK, 1);
    assert!(said.contains(&format!("service.conf names {V5}, which is not in plugin/")), "{said}");
    assert_eq!(announcement(&world), before);
    world.service_conf("config_1", announcing(crate::harness::world::SERVICE_CONF, V1));
    assert_eq!(ticked(&world), "");
}
