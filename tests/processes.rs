//! What a run started ends with it.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use model_rollout::machine::processes::{Outcome, TimeLimits, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::parts::need;
use crate::harness::world::{MODEL, SERVICE_CONF};
use crate::harness::{Sandbox, Side, Tool, World, wait_until};

/// A stand-in for rsync, and a PATH in which it comes first.
pub fn stand_in_for_rsync(world: &World, script: &str) -> String {
    world.write_with_mode("stand-ins/rsync", format!("#!/bin/sh\n{script}\n"), 0o755);
    format!("{}:{}", world.path("stand-ins").display(), std::env::var("PATH").unwrap())
}

/// Otherwise it would go on writing into the directory that the next run, which finds the lock free, is writing to.
#[test]
fn an_rsync_dies_with_the_poll_that_started_it() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    let note = "echo $$ > \"$JOURNAL.new\" && mv \"$JOURNAL.new\" \"$JOURNAL\"";
    let path = stand_in_for_rsync(&world, &format!("{note}\nexec sleep 60"));
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    let mut poll = command.env("PATH", path).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the poll starts rsync", || !world.journal_lines().is_empty());
    let rsync = Pid::from_raw(world.journal_lines()[0].parse().unwrap());
    assert_eq!(kill(rsync, None), Ok(()), "it runs");
    kill(Pid::from_raw(i32::try_from(poll.id()).unwrap()), Signal::SIGKILL).unwrap();
    poll.wait().unwrap();
    wait_until("rsync ends, too", || {
        let state = std::fs::read_to_string(format!("/proc/{rsync}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

/// An rsync that fetches is two processes. The kernel kills the one that was started; the other one writes on, until it
/// has something to tell the first.
#[test]
fn what_a_part_of_rsync_writes_after_its_poll_died_is_in_no_version() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.published("20180413192258");
    world.member("127.0.0.11");
    let rsync = crate::harness::parts::find("rsync").unwrap();
    // The directory to fetch to is the last argument. The other process is in it.
    let script = format!(
        "for to; do :; done\ncase $to in */.staging-*/) ;; *) exec {} \"$@\" ;; esac\ncd \"$to\" || exit 1\n\
         (echo begun > \"$JOURNAL\"; until [ -e \"$JOURNAL.go\" ]; do sleep 0.05; done\n\
         echo late > late; echo ended > \"$JOURNAL\") > /dev/null 2>&1 &\nexec sleep 60",
        rsync.display()
    );
    let path = stand_in_for_rsync(&world, &script);
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    let mut poll = command.env("PATH", path).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the version is being fetched", || !world.journal_lines().is_empty());
    kill(Pid::from_raw(i32::try_from(poll.id()).unwrap()), Signal::SIGKILL).unwrap();
    poll.wait().unwrap();
    assert_eq!(world.run(Tool::Poll, Side::BINARY, &[]).status, 0, "the next poll");
    world.write("journal.go", "");
    wait_until("the other process writes", || world.journal_lines().contains(&"ended".to_owned()));
    let version = world.path(format!("member-127.0.0.11/workspace/plugin/{MODEL}/20180413192258"));
    assert!(version.join("success").is_file(), "it is complete");
    assert!(!version.join("late").exists());
}

#[test]
fn a_program_that_reads_for_ever_is_ended_when_its_time_is_up() {
    let reads_for_ever = ["if=/dev/zero", "of=/dev/null"].map(OsString::from);
    let limits = TimeLimits { total: Duration::from_secs(2), silence: Some(Duration::from_secs(1)) };
    let Outcome::GivenUp(given_up) = run("dd", &reads_for_ever, b"", limits).unwrap() else {
        panic!("it has ended by itself");
    };
    assert_eq!(given_up.error("dd").to_string(), "dd was still running after 2 s and was killed");
}
