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
    check_done(world);
}

/// The rollout has come to a good end, and everybody may take the version.
fn check_done(world: &World) {
    assert!(!world.service("status").exists());
    assert_eq!((world.phase().as_str(), world.worth(V).as_str()), ("done", "confirmed"));
    assert_eq!(world.admitted(), None);
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
    world.rollout_ages(4000);
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
    check_done(&world);
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
    check_done(&world);
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
    assert_eq!((world.phase(), world.worth(V)), ("aborted".to_owned(), "aborted".to_owned()));
    resumed_to_its_end(&world);
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

    // Who failed is not admitted any more: nobody tries it again by itself, also when it is put
    // right.
    assert_eq!((world.phase(), world.admitted()), ("stopped".to_owned(), Some(Vec::new())));
    world.write(published_file(&world), whole);
    assert_eq!(polled(&world, 3), 0);

    // Resumed: who failed tries again, and the rollout goes on.
    done(&world, &["--resume", MODEL]);
    assert_eq!(world.admitted(), Some(vec![address(1)]));
    assert_eq!(polled(&world, 3), 1);
    assert!(ticked(&world).contains("3 of 3 members may take"));
    assert_eq!(polled(&world, 3), 3);
    assert!(ticked(&world).contains("all 3 members have"));
    check_done(&world);
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
    world.write(world.service(".rollout/held"), format!("{} - ann@m1 disk is being replaced\n", address(1)));
    assert!(ticked(&world).contains(&format!("1 of 2 members may take {V} now; admitted: {}", address(2))));
    assert_eq!(world.poll(Side::BINARY, &address(2)).status, 0);
    assert!(ticked(&world).contains("2 of 2 members may take"));
    assert_eq!(world.poll(Side::BINARY, &address(3)).status, 0);
    assert!(ticked(&world).contains(&format!("all 2 members have {V}")));
    assert!(!world.service("status").exists());
    // It is over but for the held member, which is a batch of its own once it is free.
    assert_eq!((world.phase().as_str(), world.worth(V).as_str()), ("trailing", "confirmed"));
    assert_eq!(world.poll(Side::BINARY, &address(1)).status, 0);
    assert_eq!(restarted(&world).len(), 2);
    world.write(world.service(".rollout/held"), "# nobody\n");
    ticked(&world);
    assert_eq!(world.poll(Side::BINARY, &address(1)).status, 0);
    assert_eq!(restarted(&world).len(), 3);
    ticked(&world);
    check_done(&world);
}

#[test]
fn where_there_is_nothing_to_steer_one_line_says_so_and_nothing_changes() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 2, "batches=1,100%\n");
    for verb in ["--pause", "--resume", "--promote", "--abort"] {
        let said = refused(&world, &[verb, MODEL]);
        assert!(said.contains("its service.conf announces no version; push the model first"), "{said}");
    }
    assert!(refused(&world, &["--pause", "nobody"]).contains("nobody is no model of this monitor"));
    assert!(!world.service(".rollout/announcement").exists());
    ticked(&world);
    resumable_by_nobody(&world);
    for _ in 1..=2 {
        polled(&world, 2);
        ticked(&world);
    }
    check_done(&world);
    for verb in ["--pause", "--promote", "--abort"] {
        assert!(refused(&world, &[verb, MODEL]).contains("no rollout is in flight"), "{verb}");
    }
    resumable_by_nobody(&world);
    check_done(&world);

    let announcement = world.read(world.service(".rollout/announcement"));
    world.write(world.service(".rollout/state.json"), "paused\n");
    for verb in ["--pause", "--resume", "--promote", "--abort"] {
        let outcome = dispatch(&world, &[verb, MODEL]);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{verb}: {}", shown(&outcome));
        assert!(outcome.stderr.contains(".rollout/state.json:1:1: "), "{}", outcome.stderr);
    }
    assert_eq!(world.read(world.service(".rollout/state.json")), b"paused\n");
    assert_eq!(world.read(world.service(".rollout/announcement")), announcement);
}

fn resumable_by_nobody(world: &World) {
    assert!(refused(world, &["--resume", MODEL]).contains("nothing to resume"));
}
