//! A fleet of 31 behind a real rsync daemon: 30 are denied by one command, one upgrades alone, the rest follow when they are
//! admitted again. The daemon is started once.

use std::process::{Output, Stdio};
use std::sync::Mutex;

use crate::harness::parts::{find, need};
use crate::harness::rsyncd::{Ran, runs, toggle};
use crate::harness::{Sandbox, Side, Tool, World, write_program};

const VERSION: &str = "20180413192258";

/// How many members poll at the same moment.
const AT_ONCE: usize = 6;

fn members() -> Vec<String> {
    (11..=41).map(|last| format!("127.0.0.{last}")).collect()
}

/// Puts an rsync into the members' PATH that connects from the member's own address, as on a host of its own.
pub fn connect_from_own_addresses(sandbox: &Sandbox) {
    let wrapper = sandbox.path().join("bin/rsync");
    let rsync = find("rsync").unwrap();
    let line = format!("#!/bin/sh\nexec {} --address=\"$MEMBER\" \"$@\"\n", rsync.display());
    write_program(&wrapper, line.as_bytes(), 0o755);
}

pub fn poll(world: &World, side: Side, member: &str) -> Output {
    let mut command = world.command(Tool::Poll, side, &[]);
    command
        .env("MEMBER", member)
        .env("WATCH_ROOT", world.path(format!("member-{member}/watch")))
        .env("WORKSPACE_ROOT", world.path(format!("member-{member}/workspace")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.output().unwrap()
}

/// Every member polls twice, as cron has it do until it has reported; each one's last poll, in their order.
fn the_fleet_polls(world: &World) -> Vec<Output> {
    let fleet = members();
    let left = Mutex::new(fleet.iter().enumerate().collect::<Vec<_>>());
    let polled = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((index, member)) = { left.lock().unwrap().pop() } {
                    poll(world, Side::BINARY, member);
                    let last = poll(world, Side::BINARY, member);
                    polled.lock().unwrap().push((index, last));
                }
            });
        }
    });
    let mut polled = polled.into_inner().unwrap();
    polled.sort_by_key(|(index, _)| *index);
    polled.into_iter().map(|(_, output)| output).collect()
}

/// Who was restarted with the version, and who reported it to the monitor: they must be the same.
fn upgraded(world: &World) -> Vec<String> {
    let reports = |member: &String| {
        std::fs::read_to_string(world.service(&format!("version/{member}")))
            .is_ok_and(|version| version.trim() == VERSION)
    };
    let reported: Vec<String> = members().into_iter().filter(reports).collect();
    let journal = world.journal_lines();
    let started = members().into_iter().filter(|member| journal.contains(&format!("start {member}")));
    assert_eq!(started.collect::<Vec<_>>(), reported);
    reported
}

/// The daemon that the command saw doing this to all 30.
fn pid_seen(ran: &Ran, word: &str, whom: &str) -> i32 {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let seen = ran.stdout.lines().find(|line| line.starts_with("seen at the daemon (pid ")).unwrap();
    assert!(seen.ends_with(&format!(": {word}: {}", whom.replace(',', ", "))), "{seen}");
    seen.split([' ', ',']).find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn of_31_members_the_one_that_is_not_denied_upgrades_alone_and_the_others_once_they_are_admitted() {
    need!("rsync", "sh");
    let sandbox = Sandbox::new();
    connect_from_own_addresses(&sandbox);
    let world = sandbox.world();
    world.registered();
    world.published(VERSION);
    members().iter().for_each(|member| world.member(member));
    let conf = sandbox.path().join("rsyncd.conf");
    let before = std::fs::read(&conf).unwrap();

    let denied = members()[1..].join(",");
    let port = sandbox.daemon().port;
    let options = format!("--method rsyncd --port {port} --ip {denied}");
    let pid = pid_seen(&toggle(&conf, &format!("disable {options}")), "denied", &denied);
    let polls = the_fleet_polls(&world);
    assert_eq!(upgraded(&world), members()[..1]);
    for (member, output) in members().iter().zip(&polls) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let code = if *member == members()[0] { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{member}: {stderr}");
        assert_eq!(code == 1, stderr.contains("access denied to datamining_service"), "{member}: {stderr}");
    }

    assert_eq!(pid_seen(&toggle(&conf, &format!("enable {options}")), "admitted", &denied), pid);
    assert_eq!(std::fs::read(&conf).unwrap(), before);
    for (member, output) in members().iter().zip(the_fleet_polls(&world)) {
        assert!(output.status.success(), "{member}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(upgraded(&world), members());
    assert!(runs(pid), "the daemon that was there from the beginning");
}
