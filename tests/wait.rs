//! `--wait SECONDS`, which every binary has that takes a lock.

use std::process::Command;
use std::time::Duration;

use model_rollout::machine::locks::{Lock, Wait};

use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Sandbox, Side, Tool, World};

/// Each tool with arguments that make it take its lock, and that lock.
fn runs(world: &World) -> Vec<(Command, &'static str)> {
    let tool = |tool, arguments: &[&str]| world.command(tool, Side::BINARY, arguments);
    let mut toggle = Command::new(env!("CARGO_BIN_EXE_autoupdate-toggle"));
    toggle.args(["disable", "--method", "crontab", "--file"]).arg(world.path("crontab"));
    let mut ports = Command::new(env!("CARGO_BIN_EXE_port-registry"));
    world.prepare(&mut ports, Tool::Add, Side::BINARY);
    ports.args(["add", "17020", "other", "--file"]).arg(world.path("ports.md"));
    vec![
        (
            tool(Tool::Add, &["model", "other", "other"]),
            "monitor/scripts/dispatch/bin/.dispatchserver.sh.lock",
        ),
        (tool(Tool::Push, &["update"]), "deploy/.rsync-push.lock"),
        (tool(Tool::Dispatch, &[MODEL, PREFIX, LIBRARY]), "monitor/scripts/dispatch/lock/mblog_yellow.tick"),
        (tool(Tool::Poll, &[]), "member-127.0.0.11/workspace/bin/etc/.rollout/lock"),
        (toggle, ".crontab.lock"),
        (ports, ".ports.md.lock"),
    ]
}

#[test]
fn every_binary_waits_for_its_lock_as_long_as_it_is_told() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.deploy();
    world.registered();
    world.uploaded("20180413192258\n");
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    for dir in ["monitor/scripts/dispatch/lock", "member-127.0.0.11/workspace/bin/etc/.rollout"] {
        world.directory(dir);
    }
    world.write("crontab", "* * * * * /watch/service_polling.sh\n");
    world.write("ports.md", "| port | service id |\n|---|---|\n");
    for (mut command, lock) in runs(&world) {
        let held = Lock::take(&world.path(lock), Wait::No).unwrap();
        let refused = command.args(["--wait", "0"]).output().unwrap();
        assert_eq!(refused.status.code(), Some(75), "{command:?}");
        drop(held);
    }
    for (mut command, lock) in runs(&world) {
        let held = Lock::take(&world.path(lock), Wait::No).unwrap();
        let mut waiting = command.args(["--wait", "60"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(waiting.try_wait().unwrap().is_none(), "it did not wait: {command:?}");
        drop(held);
        assert!(waiting.wait().unwrap().success(), "{command:?}");
    }
}
