//! One run at a time: the lock of every binary, taken by a real run that is held up.

use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Sandbox, Side, Tool, World, wait_until};

/// A member whose service takes two seconds to stop.
fn slow_member(world: &World) {
    world.registered();
    world.published("20180413192258");
    world.member("127.0.0.11");
    let env = "member-127.0.0.11/watch/env.sh";
    let slow = b"service_stop='echo stop >> \"$JOURNAL\"; sleep 2'\n".to_vec();
    world.write(env, [world.read(env), slow].concat());
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
}

#[test]
fn a_run_may_wait_for_the_one_before() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    slow_member(&world);
    let mut first = world.command(Tool::Poll, Side::BINARY, &[]).spawn().unwrap();
    wait_until("the service is being stopped", || !world.journal_lines().is_empty());
    let second = world.run(Tool::Poll, Side::BINARY, &["--wait", "20"]);
    assert_eq!((first.wait().unwrap().code(), second.status), (Some(0), 0), "{}", second.stderr);
    assert_eq!(world.journal_lines().iter().filter(|line| *line == "stop").count(), 1);
}

#[test]
fn a_service_that_a_poll_started_holds_no_lock() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    slow_member(&world);
    let env = "member-127.0.0.11/watch/env.sh";
    // A service that stays: its standard streams are the poller's, as cron's line redirects them.
    let stays =
        b"service_stop=''\nservice_start='sleep 30 > /dev/null 2>&1 & echo $! > \"$JOURNAL.pid\"'\n".to_vec();
    world.write(env, [world.read(env), stays].concat());
    assert_eq!(world.run(Tool::Poll, Side::BINARY, &[]).status, 0);
    let pid: i32 = String::from_utf8(world.read("journal.pid")).unwrap().trim().parse().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the service runs");
    let files: Vec<_> = open.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap()).collect();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(files.iter().all(|file| !file.starts_with(&world.root)), "{files:?}");
    assert_eq!(world.run(Tool::Poll, Side::BINARY, &[]).status, 0, "the next poll is not locked out");
}

#[test]
fn a_model_that_is_being_published_does_not_keep_another_from_being_registered() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    let registry = world.path("monitor/scripts/dispatch/bin/.dispatchserver.sh.tick.lock");
    let tick = model_rollout::machine::locks::Lock::take(&registry, model_rollout::machine::locks::Wait::No)
        .unwrap();
    assert_eq!(world.run(Tool::Registry, Side::BINARY, &[]).status, 75, "another tick");
    assert_eq!(world.run(Tool::Add, Side::BINARY, &["model", "other", "other"]).status, 0, "not an edit");
    drop(tick);
    let model = world.tick_lock();
    world.directory(model.parent().unwrap());
    let run =
        model_rollout::machine::locks::Lock::take(&model, model_rollout::machine::locks::Wait::No).unwrap();
    world.uploaded("20180413192258\n");
    assert_eq!(
        world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]).status,
        75,
        "the model's lock"
    );
    drop(run);
}
