//! An operator's hand in a rollout: pause, resume, promote, abort; a real fleet through the real rsync daemon.

use std::path::PathBuf;

use crate::batches::{address, fleet, restarted};
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, World};
use crate::rollback::{dispatch, done};

const V: &str = "20180413192258";

/// A tick that has nothing to complain about; what it said.
fn ticked(world: &World) -> String {
    done(world, &[MODEL, PREFIX, LIBRARY])
}

/// What a command that fails says, in its one line.
fn refused(world: &World, arguments: &[&str]) -> String {
    let outcome = dispatch(world, arguments);
    assert_eq!(
        (outcome.status, outcome.stderr.lines().count()),
        (1, 1),
        "{arguments:?}: {}",
        shown(&outcome)
    );
    outcome.stderr
}

/// Every member polls, the last first; how many were restarted so far.
fn polled(world: &World, members: usize) -> usize {
    for n in (1..=members).rev() {
        assert_eq!(world.poll(Side::BINARY, &address(n)).status, 0);
    }
    restarted(world).len()
}

/// A rollout of three members that was ended goes on, and comes to its end.
fn resumed_to_its_end(world: &World) {
    done(world, &["--resume", MODEL]);
    assert!(ticked(world).contains("3 of 3 members may take"));
    assert_eq!(polled(world, 3), 3);
    assert!(ticked(world).contains("all 3 members have"));
}

#[test]
fn a_paused_rollout_lets_nobody_in_until_it_is_resumed() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    assert_eq!(polled(&world, 3), 1);
    let told = done(&world, &["--pause", MODEL, "--why", "the graphs look odd"]);
    assert!(told.contains(&format!("{MODEL}: paused; 1 of 3 members have {V}; dispatch --resume")), "{told}");
    // Longer than an upgrade may take: the time of a pause does not count.
    world.age(world.service("status"), 4000);
    let told = ticked(&world);
    assert!(told.contains("paused by ") && told.contains(": the graphs look odd; 1 of 3 members"), "{told}");
    assert_eq!(polled(&world, 3), 1);
    let why = "the graphs are as ever";
    assert!(done(&world, &["--resume", MODEL, "--why", why]).contains("resumed; 1 of 3 members have"));
    let status = dispatch(&world, &["--status", MODEL, "--json"]).stdout;
    assert!(status.contains("\"standing\":\"resumed\"") && status.contains(why), "{status}");
    assert!(ticked(&world).contains("3 of 3 members may take"));
    assert_eq!(polled(&world, 3), 3);
    assert!(ticked(&world).contains("all 3 members have"));
    for gone in ["status", ".admitted", ".rollout", ".batch-confirmed", ".dispatch"] {
        assert!(!world.service(gone).exists(), "{gone}");
    }
}

#[test]
fn a_rollout_to_all_at_once_can_be_paused_too() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "");
    ticked(&world);
    assert_eq!(world.poll(Side::BINARY, &address(2)).status, 0);
    done(&world, &["--pause", MODEL]);
    assert_eq!(polled(&world, 3), 1);
    done(&world, &["--resume", MODEL]);
    assert_eq!(polled(&world, 3), 3);
    ticked(&world);
    assert!(!world.service("status").exists() && !world.service(".rollout").exists());
}

#[test]
fn the_next_batch_is_let_in_by_hand() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,2,100%\npause=500\n");
    ticked(&world);
    for inside in 2..=3 {
        let told = done(&world, &["--promote", MODEL]);
        assert!(told.contains(&format!("{inside} of 3 members may take {V} now")), "{told}");
        assert_eq!(polled(&world, 3), inside);
    }
    assert!(refused(&world, &["--promote", MODEL]).contains("there is no next batch"));
    assert!(ticked(&world).contains("all 3 members have"));
}

#[test]
fn an_aborted_upgrade_is_over_and_may_be_taken_up_again() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    assert_eq!(polled(&world, 3), 1);
    let told = done(&world, &["--abort", MODEL, "--why", "wrong model"]);
    assert!(told.contains("aborted; 1 of 3 members have") && told.contains("the other 2 stay"), "{told}");
    assert!(!world.service("status").exists() && !world.upload("success").exists());
    assert_eq!(ticked(&world), "");
    assert_eq!(polled(&world, 3), 1);
    resumed_to_its_end(&world);
    assert!(!world.service(".rollout").exists() && !world.service(".admitted").exists());
}

/// Lets a published file differ from its manifest, so that no member can install the version; what it held before.
fn damage(world: &World) -> Vec<u8> {
    let before = world.read(published_file(world));
    world.write(published_file(world), "feature X\n");
    before
}

fn published_file(world: &World) -> PathBuf {
    world.service(&format!("plugin/{V}/data/feature.conf"))
}

#[test]
fn a_member_that_fails_stops_the_rollout_and_nobody_else_is_touched() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    ticked(&world);
    let whole = damage(&world);
    assert_eq!(world.poll(Side::BINARY, &address(1)).status, 1);
    let said = refused(&world, &[MODEL, PREFIX, LIBRARY]);
    let expected = format!("stopped the rollout of {V}: 1 failed: {} (failed verification: ", address(1));
    assert!(said.contains(&expected) && said.contains("the other 2 of 3 stay as they are"), "{said}");
    assert!(!world.service("status").exists() && !world.upload("success").exists());
    for n in [2, 3] {
        assert_eq!(world.poll(Side::BINARY, &address(n)).status, 0);
    }
    assert_eq!(restarted(&world).len(), 0);
    let status = dispatch(&world, &["--status", MODEL]);
    assert_eq!(status.status, 1, "{}", shown(&status));
    assert!(status.stdout.contains("; stopped by dispatch: 1 failed: "), "{}", status.stdout);

    // Put right and resumed: the failure so far is put up with, and the rollout goes on.
    world.write(published_file(&world), whole);
    resumed_to_its_end(&world);
}

#[test]
fn fewer_failures_than_max_fail_are_put_up_with() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\nmax_fail=2\n");
    ticked(&world);
    damage(&world);
    assert_eq!(world.poll(Side::BINARY, &address(1)).status, 1);
    let told = ticked(&world);
    assert!(told.contains("1 failed: ") && told.contains("3 of 3 members may take"), "{told}");
    assert_eq!(world.poll(Side::BINARY, &address(2)).status, 1);
    assert!(refused(&world, &[MODEL, PREFIX, LIBRARY]).contains("2 failed: "));
    assert_eq!(world.poll(Side::BINARY, &address(3)).status, 0);
    assert_eq!(restarted(&world).len(), 0);
}

#[test]
fn a_held_member_is_counted_nowhere() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 3, "batches=1,100%\n");
    world.write(world.service(".held"), format!("{} - ann@m1 disk is being replaced\n", address(1)));
    assert!(ticked(&world).contains(&format!("1 of 2 members may take {V} now; let in: {}", address(2))));
    assert_eq!(world.poll(Side::BINARY, &address(2)).status, 0);
    assert!(ticked(&world).contains("2 of 2 members may take"));
    assert_eq!(world.poll(Side::BINARY, &address(3)).status, 0);
    assert!(ticked(&world).contains(&format!("all 2 members have {V}")));
    assert!(!world.service("status").exists());
}

#[test]
fn where_there_is_nothing_to_steer_one_line_says_so_and_nothing_changes() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\n");
    for verb in ["--pause", "--promote", "--abort"] {
        assert!(refused(&world, &[verb, MODEL]).contains("no upgrade is in flight"), "{verb}");
    }
    assert!(refused(&world, &["--resume", MODEL]).contains("nothing to resume"));
    assert!(refused(&world, &["--pause", "nobody"]).contains("run add_dispatch_docker"));
    assert!(!world.service(".rollout").exists());
    ticked(&world);
    world.write(world.service(".rollout"), "paused\n");
    let outcome = dispatch(&world, &["--pause", MODEL]);
    assert_eq!(outcome.status, 2, "{}", shown(&outcome));
    assert!(outcome.stderr.contains(".rollout:1:1: this does not say how a rollout stands; remove the file"));
}
