//! Any of push, dispatch and poll may be a script or a binary: in all eight combinations, through a real rsync daemon, two
//! releases end in the same state.

use crate::harness::outcome::{differences, shown};
use crate::harness::parts::{legacy_scripts, need};
use crate::harness::world::{LIBRARY, MODEL, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

const MEMBERS: [&str; 2] = ["127.0.0.11", "127.0.0.12"];

/// Who pushes, who dispatches, who polls.
type Sides = [Side; 3];

fn every_combination() -> Vec<Sides> {
    let sides = [Side::SCRIPT, Side::BINARY];
    let pairs = sides.into_iter().flat_map(|push| sides.map(|dispatch| (push, dispatch)));
    pairs.flat_map(|(push, dispatch)| sides.map(|poll| [push, dispatch, poll])).collect()
}

/// A registered model, two members, a deploy directory: what an operator sets up once.
fn set_up(world: &World) {
    for script in ["dispatchserver.sh", "dispatch.sh"] {
        let content = std::fs::read(legacy_scripts().join(script)).expect("the script is there");
        world.write(format!("monitor/scripts/dispatch/bin/{script}"), content);
    }
    let added = world.run(Tool::Add, Side::SCRIPT, &["model", MODEL, MODEL]);
    assert_eq!(added.status, 0, "{}", added.stderr);
    world.service_conf("config_1", SERVICE_CONF);
    world.member_list(&MEMBERS.join(","));
    world.deploy();
    for member in MEMBERS {
        world.member(member);
    }
}

/// One release, from the push to the last confirmation.
fn release(world: &World, number: u32, [push, dispatch, poll]: Sides) -> Outcome {
    world.write_with_mode(format!("deploy/online/release/{LIBRARY}"), format!("library {number}\n"), 0o755);
    world.write("deploy/online/data/feature.conf", format!("feature {number}\n"));
    let step = |outcome: Outcome| {
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
        outcome
    };
    step(world.run(Tool::Push, push, &["update"]));
    let tick = step(world.run(Tool::Registry, dispatch, &[]));
    assert!(tick.tree.has("monitor/rsync_service_data/datamining_service/mblog_yellow/status"), "in flight");
    for member in MEMBERS {
        step(world.poll(poll, member));
        step(world.poll(poll, member));
    }
    step(world.run(Tool::Registry, dispatch, &[]))
}

/// Two releases; what is left at the end.
fn rolled_out(sandbox: &Sandbox, sides: Sides) -> Outcome {
    let begun = model_rollout::machine::clock::now();
    let world = sandbox.world();
    set_up(&world);
    release(&world, 1, sides);
    // Two pushes by the script within one second would have one version.
    model_rollout::machine::clock::pause_until_next_second();
    // Nor does it send a file of the same size and second (defect 21), and the kernel's clock for files is some milliseconds behind.
    model_rollout::machine::clock::pause(std::time::Duration::from_millis(20));
    let last = release(&world, 2, sides);
    Outcome {
        command: format!("push, dispatch, poll by {sides:?}"),
        tree: crate::harness::outcome::Tree::read(&world.root, &begun),
        ..last
    }
}

fn check(outcome: &Outcome) {
    let stop_start = |member: &str| [format!("stop {member}"), format!("start {member}")];
    let once: Vec<String> = MEMBERS.into_iter().flat_map(stop_start).collect();
    assert_eq!(outcome.journal, [once.clone(), once].concat(), "each member restarts once a release");
    let service = "monitor/rsync_service_data/datamining_service/mblog_yellow";
    assert!(!outcome.tree.has(&format!("{service}/status")), "ended");
    assert!(!outcome.tree.has("monitor/rsync_service_data/datamining_plugin/mblog_yellow/success"), "ended");
    for member in MEMBERS {
        let workspace = format!("member-{member}/workspace");
        for (version, library) in [("<VERSION 1>", "library 1\n"), ("<VERSION 2>", "library 2\n")] {
            let path = format!("{workspace}/plugin/{MODEL}/{version}/lib/{LIBRARY}");
            assert_eq!(outcome.tree.text(&path), library);
        }
        let conf = outcome.tree.text(&format!("{workspace}/bin/etc/service.conf"));
        assert!(conf.contains("moduleversion=<VERSION 2>\n"), "{conf}");
        assert_eq!(outcome.tree.text(&format!("{service}/version/{member}")), "<VERSION 2>\n");
    }
}

#[test]
fn every_mixture_of_scripts_and_binaries_ends_in_the_same_state() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let mut reference: Option<Outcome> = None;
    for sides in every_combination() {
        let outcome = rolled_out(&sandbox, sides);
        check(&outcome);
        let of_scripts = reference.get_or_insert_with(|| outcome.clone());
        assert_eq!(differences(of_scripts, &outcome), [""; 0], "{sides:?}");
    }
}
