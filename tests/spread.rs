//! Contract section 5, 25: pollers that do not all start at second 0.

use std::time::{Duration, Instant};

use crate::harness::parts::need;
use crate::harness::world::SERVICE_CONF;
use crate::harness::{Sandbox, Side, Tool, World};

/// What member 127.0.0.12 waits with a spread of 3 s.
const PHASE: Duration = Duration::from_millis(1827);

/// A member that has nothing to do.
fn idle_member<'a>(sandbox: &'a Sandbox) -> World<'a> {
    let world = sandbox.world();
    world.registered();
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    let env = "member-127.0.0.11/watch/env.sh";
    world.write(env, [world.read(env), b"address=127.0.0.12\n".to_vec()].concat());
    world
}

#[test]
fn a_poll_waits_for_its_phase_and_keeps_no_other_poll_out_meanwhile() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = idle_member(&sandbox);
    let begun = Instant::now();
    let mut spread = world.command(Tool::Poll, Side::BINARY, &["--spread", "3"]).spawn().unwrap();
    let at_once = world.run(Tool::Poll, Side::BINARY, &[]);
    assert_eq!(at_once.status, 0, "{}", at_once.stderr);
    assert!(spread.try_wait().unwrap().is_none() || begun.elapsed() > PHASE, "it did not wait");
    assert_eq!(spread.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() >= PHASE);
}

#[test]
fn the_spread_of_env_sh_counts_unless_the_option_says_otherwise() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = idle_member(&sandbox);
    let env = "member-127.0.0.11/watch/env.sh";
    let without = world.read(env);
    world.write(env, [&without[..], b"spread=3\n"].concat());
    let begun = Instant::now();
    assert_eq!(world.run(Tool::Poll, Side::BINARY, &[]).status, 0);
    assert!(begun.elapsed() >= PHASE);

    world.write(env, [&without[..], b"spread=59\n"].concat());
    let begun = Instant::now();
    assert_eq!(world.run(Tool::Poll, Side::BINARY, &["--spread", "0"]).status, 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "59 would wait for 35 s");

    world.write(env, [&without[..], b"spread=60\n"].concat());
    let refused = world.run(Tool::Poll, Side::BINARY, &[]);
    let place = format!("watch/env.sh:{}: spread: \u{201c}60\u{201d} is not a spread", 1 + lines(&without));
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains(&place), "{}", refused.stderr);
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|b| **b == b'\n').count()
}
