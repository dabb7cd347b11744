//! A version that is rolled out in batches (contract section 5, row 15): a real fleet through the real rsync daemon.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::crash::strace::is_permitted;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
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
    fleet(&world, 8, "batches=1,25%,100%\n");
    // The fifth member runs the script, which knows nothing of batches.
    let legacy = 5;
    for (minute, inside) in [1, 2, 8].into_iter().enumerate() {
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
            let expected = &first(inside) | &BTreeSet::from([address(legacy)]);
            assert!(restarted(&world).is_subset(&expected), "minute {minute}: {:?}", world.journal_lines());
        }
        let expected = &first(inside) | &BTreeSet::from([address(legacy)]);
        assert_eq!(restarted(&world), expected, "minute {minute}");
        assert!(world.service("status").exists(), "in flight until the next tick");
    }
    let told = ticked(&world).stdout;
    assert!(told.contains(&format!("all 8 members have {V}")), "{told}");
    assert!((1..=8).all(|n| version_of(&world, n) == V));
    for gone in ["status", ".admitted", ".batch-confirmed", ".dispatch"] {
        assert!(!world.service(gone).exists(), "{gone}");
    }
    // A member that joins afterwards takes the version as it finds it.
    world.member(&address(9));
    poll(&world, 9);
    assert_eq!(restarted(&world), first(9));
}

/// A rollback announces another version and then lets everybody in. A poll that has the announcement of before, and sees
/// that everybody is let in, must not take what is being taken back.
#[test]
fn a_poll_that_a_rollback_overtakes_does_not_take_what_is_taken_back() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\n");
    for n in 1..=2 {
        ticked(&world);
        poll(&world, n);
    }
    ticked(&world);
    world.uploaded(&format!("{NEXT}\n"));
    assert!(ticked(&world).stdout.contains(&format!("1 of 2 members may take {NEXT} now")));

    let dispatch = &Side::BINARY.command_line(Tool::Dispatch)[0];
    let script = format!(
        "case $* in *'/.admitted'*) MONITOR_ROOT='{}' '{}' --rollback {MODEL} > /dev/null && echo overtaken >> \"$JOURNAL\" ;; esac\n\
         exec {} \"$@\"",
        world.path("monitor").display(),
        dispatch.display(),
        crate::harness::parts::find("rsync").unwrap().display(),
    );
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    command
        .env("PATH", stand_in_for_rsync(&world, &script))
        .env("WATCH_ROOT", world.path(format!("member-{}/watch", address(2))))
        .env("WORKSPACE_ROOT", world.path(format!("member-{}/workspace", address(2))));
    let outcome = world.finish(&mut command);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    assert!(world.journal_lines().contains(&"overtaken".to_owned()), "{:?}", world.journal_lines());
    assert_eq!(version_of(&world, 2), V);
    poll(&world, 2);
    assert_eq!(restarted(&world), first(2), "once each, for the version before");
}

#[test]
fn without_batches_everybody_takes_the_version_at_once_and_no_file_says_so() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for settings in ["", "batches=100%\n", "batches=3\n"] {
        let world = sandbox.world();
        fleet(&world, 3, settings);
        ticked(&world);
        assert!(!world.service(".admitted").exists());
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
        told.contains("the 1 of 2 members that were let in have it; the next batch follows in 300 s"),
        "{told}"
    );
    poll(&world, 2);
    assert_eq!(restarted(&world), first(1));
    world.age(world.service(".batch-confirmed"), 290);
    assert!(ticked(&world).stdout.contains("follows in "));
    world.age(world.service(".batch-confirmed"), 301);
    assert!(ticked(&world).stdout.contains("2 of 2 members may take"));
    poll(&world, 2);
    assert_eq!(restarted(&world), first(2));
    ticked(&world);
    assert!(!world.service("status").exists() && !world.service(".batch-confirmed").exists());
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
        for absent in ["status", ".admitted", &format!("plugin/{V}")] {
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
    world.age(world.service("status"), 1260);
    let outcome = tick(&world);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    let late = format!("late: {} (no answer) (1 of 3); 2 were not let in and stay as they are", address(1));
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
    assert!(!world.service("status").exists() && !world.service(".admitted").exists());
}

#[test]
fn an_operator_lets_everybody_in_by_removing_the_file() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    std::fs::remove_file(world.service(".admitted")).unwrap();
    (1..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(3));
    assert!(ticked(&world).stdout.contains("all 3 members have"));
}

#[test]
fn a_run_that_died_while_it_announced_a_version_is_resumed_with_its_first_batch() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    // As a run leaves it that dies right behind `.admitted`, and as one does that dies behind service.conf.
    let withdrawn = format!("withdrawn {OLD}\n");
    for (conf, withdrawn) in [(SERVICE_CONF.to_owned(), withdrawn.as_str()), (announced(SERVICE_CONF, V), "")]
    {
        let journal = String::from_utf8(world.read(world.service(".dispatch"))).unwrap();
        world.write(world.service(".dispatch"), journal.replace("announced", "publishing"));
        world.service_conf("config_1", conf);
        poll(&world, 3);
        assert_eq!(restarted(&world), first(0));
        ticked(&world);
        let expected = format!("{V}\n{}\n{withdrawn}", address(1));
        assert_eq!(world.read(world.service(".admitted")), expected.into_bytes());
    }
    (1..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(1));
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

/// `.admitted` is about the next version a moment before service.conf names that: the stopped one is nobody's in between.
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
    assert!(text(".admitted").starts_with(NEXT));

    (2..=3).for_each(|n| poll(&world, n));
    assert_eq!(restarted(&world), first(1), "only the one that had it");
    ticked(&world);
    poll(&world, 1);
    assert_eq!(version_of(&world, 1), NEXT);
    assert_eq!([version_of(&world, 2), version_of(&world, 3)], [OLD, OLD]);
}

#[test]
fn a_file_about_another_version_or_an_edit_by_hand_is_nobodys_hindrance() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    world.published(V);
    world.write(world.service(".admitted"), format!("{OLD}\n"));
    poll(&world, 1);
    assert_eq!(version_of(&world, 1), V);
    // The version is the installed one: a line that an operator edits is for everybody.
    world.write(world.service(".admitted"), format!("{V}\n"));
    world.service_conf("config_1", announced(SERVICE_CONF, V).replace("worker_count=128", "worker_count=64"));
    poll(&world, 1);
    let conf = world.read(format!("member-{}/workspace/bin/etc/service.conf", address(1)));
    assert!(String::from_utf8(conf).unwrap().contains("worker_count=64"));
    // What cannot be read is said, and nothing is taken up.
    world.write(world.service(".admitted"), "\n");
    world.published(NEXT);
    let outcome = world.poll(Side::BINARY, &address(1));
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{}", shown(&outcome));
    assert!(
        outcome.stderr.contains(".admitted:1:1: this is not a version; remove the file"),
        "{}",
        outcome.stderr
    );
    assert_eq!(version_of(&world, 1), V);
}
