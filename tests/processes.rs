//! What a run started ends with it.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::parts::need;
use crate::harness::world::SERVICE_CONF;
use crate::harness::{Sandbox, Side, Tool, wait_until};

/// Otherwise it would go on writing into the directory that the next run, which finds the lock free, is writing to.
#[test]
fn an_rsync_dies_with_the_poll_that_started_it() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    world.directory("stand-ins");
    let slow = world.path("stand-ins/rsync");
    std::fs::write(
        &slow,
        "#!/bin/sh\necho $$ > \"$JOURNAL.new\" && mv \"$JOURNAL.new\" \"$JOURNAL\"\nexec sleep 60\n",
    )
    .unwrap();
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", world.path("stand-ins").display(), std::env::var("PATH").unwrap());
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
