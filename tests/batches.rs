//! A version that is rolled out in batches (contract section 5, row 15): a real fleet through the real rsync daemon.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::Value;

use crate::crash::strace::is_permitted;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::processes::stand_in_for_rsync;

const OLD: &str = "20170101000000";
const V: &str = "20180413192258";
const NEXT: &str = "20180501000000";

pub fn address(n: usize) -> String {
    format!("127.0.0.{}", 10 + n)
}

/// So many members that serve the version before, a list that says `settings`, and a push that waits.
pub fn fleet(world: &World, members: usize, settings: &str) {
    world.registered();
    let list: Vec<String> = (1..=members).map(address).collect();
    for member in &list {
        world.member(member);
        world.write(format!("member-{member}/workspace/bin/etc/service.conf"), SERVICE_CONF);
    }
    world.member_list(&list.join(","));
    world.member_list_says(settings);
    world.uploaded(&format!("{V}\n"));
}

fn tick(world: &World) -> Outcome {
    world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY])
}

fn ticked(world: &World) -> Outcome {
    let outcome = tick(world);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    outcome
}

/// Polls a member, as its cron does; a poll that has to wait is as quiet as one that finds nothing new.
fn poll(world: &World, n: usize) {
    let outcome = world.poll(Side::BINARY, &address(n));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
}

/// The members that were restarted so far.
pub fn restarted(world: &World) -> BTreeSet<String> {
    let journal = world.journal_lines();
    let starts: Vec<String> =
        journal.iter().filter_map(|line| line.strip_prefix("start ")).map(str::to_owned).collect();
    let members: BTreeSet<String> = starts.iter().cloned().collect();
    assert_eq!(members.len(), starts.len(), "nobody restarts twice: {starts:?}");
    members
}

fn first(members: usize) -> BTreeSet<String> {
    (1..=members).map(address).collect()
}

fn version_of(world: &World, n: usize) -> String {
    let conf = world.read(format!("member-{}/workspace/bin/etc/service.conf", address(n)));
    let conf = String::from_utf8(conf).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap().to_owned()
}

#[test]
fn no_more_than_the_admitted_batch_restarts_and_all_end_on_the_version() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 8, "batches=1,50%,100%\n");
    // The fifth member runs the script, which knows nothing of batches. It has the version, so it
    // counts among those who are in.
    let legacy = 5;
    for (minute, (inside, admitted)) in [(1, 1), (4, 3), (8, 8)].into_iter().enumerate() {
        let told = ticked(&world).stdout;
        assert!(told.contains(&format!("{inside} of 8 members may take {V} now")), "{told}");
        assert_eq!(ticked(&world).stdout.matches("may take").count(), 0, "nobody confirmed yet");
        // Backwards, so that those who have to wait come first.
        for n in (1..=8).rev() {
            if n == legacy {
                assert_eq!(world.poll(Side::SCRIPT, &address(n)).status, 0);
            } else {
                poll(&world, n);
            }
            let expected = &first(admitted) | &BTreeSet::from([address(legacy)]);
            assert!(restarted(&world).is_subset(&expected), "minute {minute}: {:?}", world.journal_lines());
        }
        let expected = &first(admitted) | &BTreeSet::from([address(legacy)]);
        assert_eq!(restarted(&world), expected, "minute {minute}");
        assert!(world.service("status").exists(), "in flight until the next tick");
    }
    let told = ticked(&world).stdout;
    assert!(told.contains(&format!("all 8 members have {V}")), "{told}");
    assert!((1..=8).all(|n| version_of(&world, n) == V));
    assert!(!world.service("status").exists());
    assert_eq!((world.phase().as_str(), world.worth(V).as_str()), ("done", "confirmed"));
    assert_eq!(world.admitted(), None);
    // A member that joins afterwards takes the version as it finds it.
    world.member(&address(9));
    poll(&world, 9);
    assert_eq!(restarted(&world), first(9));
}

/// A rollback that is done while a member polls. What a poll fetches of the announcement is one
/// file: it has the one of before, or the one of after. Where service.conf is of after and the
/// announcement is of before, it waits.
#[test]
fn a_poll_that_a_rollback_overtakes_does_not_take_what_is_taken_back() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let dispatch = &Side::BINARY.command_line(Tool::Dispatch)[0];
    let rsync = crate::harness::parts::find("rsync").unwrap();
    for (n, moment) in [(1, "before"), (2, "before"), (1, "between"), (2, "between"), (2, "after")] {
        let world = sandbox.world();
        fleet(&world, 2, "batches=1,100%\n");
        for n in 1..=2 {
            ticked(&world);
            poll(&world, n);
        }
        ticked(&world);
        world.uploaded(&format!("{NEXT}\n"));
        assert!(ticked(&world).stdout.contains(&format!("1 of 2 members may take {NEXT} now")));
        std::fs::remove_file(world.path("journal")).unwrap();

        let roll_back = format!(
            "MONITOR_ROOT='{}' '{}' --rollback {MODEL} > /dev/null && echo overtaken >> \"$JOURNAL\"",
            world.path("monitor").display(),
            dispatch.display(),
        );
        // The daemon opens service.conf after the announcement.
        let conf = world.service("config_1/service.conf");
        let script = format!(
            "case $* in *'/.rollout/announcement '*) ;; *) exec {rsync} \"$@\" ;; esac\n\
             [ {moment} != before ] || {{ {roll_back}; }}\n\
             {rsync} \"$@\" || exit\n\
             [ {moment} != between ] || {{ {roll_back}; for to; do :; done; \
             cat '{conf}' > \"$to/config_1/service.conf\"; }}\n\
             [ {moment} != after ] || {{ {roll_back}; }}\nexit 0",
            rsync = rsync.display(),
            conf = world.path(conf).display(),
        );
        let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
        command
            .env("PATH", stand_in_for_rsync(&world, &script))
            .env("WATCH_ROOT", world.path(format!("member-{}/watch", address(n))))
            .env("WORKSPACE_ROOT", world.path(format!("member-{}/workspace", address(n))));
        let outcome = world.finish(&mut command);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{n} {moment}: {}", shown(&outcome));
        assert_eq!(world.journal_lines(), ["overtaken"], "{n} {moment}");
        assert_eq!(version_of(&world, n), V, "{n} {moment}");
        (1..=2).for_each(|n| poll(&world, n));
        assert_eq!(world.journal_lines(), ["overtaken"], "{n} {moment}: nobody left the version before");
    }
}

#[test]
fn without_batches_everybody_takes_the_version_at_once() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for settings in ["", "batches=100%\n", "batches=3\n"] {
        let world = sandbox.world();
        fleet(&world, 3, settings);
        ticked(&world);
        assert_eq!(world.admitted(), None);
        (1..=3).for_each(|n| poll(&world, n));
        assert_eq!(restarted(&world), first(3));
        ticked(&world);
        assert!(!world.service("status").exists());
    }
}

#[test]
fn the_next_batch_waits_until_the_pause_is_over() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\npause=300\n");
    ticked(&world);
    poll(&world, 1);
    let told = ticked(&world).stdout;
    assert!(
        told.contains("the 1 of 2 members that were admitted have it; the next batch follows in 300 s"),
        "{told}"
    );
    poll(&world, 2);
    assert_eq!(restarted(&world), first(1));
    world.rollout_ages(290);
    assert!(ticked(&world).stdout.contains("follows in "));
    world.rollout_ages(11);
    assert!(ticked(&world).stdout.contains("2 of 2 members may take"));
    poll(&world, 2);
    assert_eq!(restarted(&world), first(2));
    ticked(&world);
    assert!(!world.service("status").exists());
    assert_eq!((world.phase().as_str(), world.admitted()), ("done", None));
}

#[test]
fn batches_that_cannot_be_read_publish_nothing_and_say_where() {
    need!("rsync");
    let sandbox = Sandbox::new();
    for (settings, complaint) in [
        ("batches=1,2x\n", ".env.sh:3: batches: \u{201c}2x\u{201d} is neither a number of members nor"),
        ("batches=0,100%\n", ".env.sh:3: batches: \u{201c}0\u{201d} is neither"),
        (
            "batches=1,50%\n",
            ".env.sh:3: batches: the last batch ends with 2 of the 3 members; let it end with 100%",
        ),
        ("batches=50%,10%,100%\n", ".env.sh:3: batches: the figures shrink"),
        ("pause=10m batches=1,100%\n", ".env.sh:3: pause: \u{201c}10m\u{201d} is not a number of seconds"),
        ("batches=1,100%\nmembers=$(cat hosts)\n", ".env.sh:4:9: command substitution"),
    ] {
        let world = sandbox.world();
        fleet(&world, 3, settings);
        let outcome = tick(&world);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{}", shown(&outcome));
        assert!(outcome.stderr.contains(complaint), "{}", outcome.stderr);
        for absent in ["status", ".rollout/announcement", &format!("plugin/{V}")] {
            assert!(!world.service(absent).exists(), "{settings}: {absent}");
        }
        assert_eq!(world.read(world.service("config_1/service.conf")), SERVICE_CONF.as_bytes());
    }
}

#[test]
fn when_it_is_given_up_those_who_were_not_let_in_stay_as_they_are_until_the_next_push() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    world.rollout_ages(1260);
    let outcome = tick(&world);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    let late = format!("late: {} (no answer) (1 of 3); 2 were not admitted and stay as they are", address(1));
    assert!(outcome.stderr.contains(&late), "{}", outcome.stderr);
    (1..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(1));
    ticked(&world);
    poll(&world, 2);
    assert_eq!(version_of(&world, 2), OLD);

    // The next push begins with its own first batch.
    std::fs::remove_file(world.path("journal")).unwrap();
    world.uploaded(&format!("{NEXT}\n"));
    ticked(&world);
    (1..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(1));
    ticked(&world);
    (1..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(3));
    ticked(&world);
    assert!((1..=3).all(|n| version_of(&world, n) == NEXT));
    assert!(!world.service("status").exists());
    assert_eq!((world.phase().as_str(), world.admitted()), ("done", None));
}

#[test]
fn a_run_that_died_while_it_announced_a_version_is_resumed_with_its_first_batch() {
    need!("rsync", "dash", "strace");
    if !is_permitted() {
        return;
    }
    let sandbox = Sandbox::new();
    for before in [".rollout/.announcement.new", "config_1/.service.conf.new"] {
        let world = sandbox.world();
        fleet(&world, 3, "batches=1,100%\n");
        killed_before_renaming(&world, before, &[MODEL, PREFIX, LIBRARY]);
        (1..=3).for_each(|n| poll(&world, n));
        assert_eq!(restarted(&world), first(0), "{before}");
        ticked(&world);
        assert_eq!(world.admitted(), Some(vec![address(1)]), "{before}");
        (1..=3).for_each(|n| poll(&world, n));
        assert_eq!(restarted(&world), first(1), "{before}");
    }
}

/// Runs `dispatch`, which is killed when it would give a temporary file or directory of the model its name.
pub fn killed_before_renaming(world: &World, temporary: &str, arguments: &[&str]) {
    let command = world.command(Tool::Dispatch, Side::BINARY, arguments);
    let mut killed = Command::new("strace");
    killed.args(["-D", "-o", "/dev/null", "-e", "inject=rename:signal=KILL", "-P"]);
    killed.arg(world.service(temporary)).arg(command.get_program()).args(command.get_args());
    world.prepare(&mut killed, Tool::Dispatch, Side::BINARY);
    assert_eq!(killed.status().unwrap().signal(), Some(9), "{temporary}: {arguments:?}");
}

/// The announcement is about the next version a moment before service.conf names that: the stopped
/// one is nobody's in between.
#[test]
fn a_version_that_was_aborted_is_taken_by_nobody_while_the_next_one_is_announced() {
    need!("rsync", "strace");
    if !is_permitted() {
        return;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    poll(&world, 1);
    let aborted = world.run(Tool::Dispatch, Side::BINARY, &["--abort", MODEL]);
    assert_eq!((aborted.status, aborted.stderr.as_str()), (0, ""), "{}", shown(&aborted));
    world.uploaded(&format!("{NEXT}\n"));

    killed_before_renaming(&world, "config_1/.service.conf.new", &[MODEL, PREFIX, LIBRARY]);
    let text = |path| String::from_utf8(world.read(world.service(path))).unwrap();
    assert!(text("config_1/service.conf").contains(&format!("moduleversion={V}\n")));
    let announcement: Value = serde_json::from_str(text(".rollout/announcement").trim_end()).unwrap();
    assert_eq!(announcement["target"]["version"], NEXT);
    assert_eq!(world.admitted(), Some(vec![address(1)]));
    assert_eq!(world.worth(V), "aborted");

    (2..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(1), "only the one that had it");
    ticked(&world);
    poll(&world, 1);
    assert_eq!(version_of(&world, 1), NEXT);
    assert_eq!([version_of(&world, 2), version_of(&world, 3)], [OLD, OLD]);
}

/// A parameter that an operator edits in service.conf is for everybody who has the version, and for
/// nobody else. No member takes it before a tick has announced it.
#[test]
fn an_edit_by_hand_reaches_those_who_have_the_version_and_nobody_else() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\n");
    ticked(&world);
    poll(&world, 1);
    let conf = world.read(world.service("config_1/service.conf"));
    let conf = String::from_utf8(conf).unwrap().replace("worker_count=128", "worker_count=64");
    world.service_conf("config_1", &conf);
    let has_edit = |n: usize| {
        let conf = world.read(format!("member-{}/workspace/bin/etc/service.conf", address(n)));
        String::from_utf8(conf).unwrap().contains("worker_count=64")
    };
    (1..=2).for_each(|n| poll(&world, n));
    assert_eq!([1, 2].map(has_edit), [false, false]);
    let aborted = world.run(Tool::Dispatch, Side::BINARY, &["--abort", MODEL]);
    assert_eq!((aborted.status, aborted.stderr.as_str()), (0, ""), "{}", shown(&aborted));
    (1..=2).for_each(|n| poll(&world, n));
    assert_eq!([1, 2].map(has_edit), [true, false]);
    assert_eq!([1, 2].map(|n| version_of(&world, n)), [V, OLD]);
}
