//! A version is what was pushed: manifests from the push to the member.

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

fn pushed(world: &World, side: Side) {
    world.registered();
    world.deploy();
    push(world, side, &["update"]);
}

fn push(world: &World, side: Side, arguments: &[&str]) -> String {
    let outcome = world.run(Tool::Push, side, arguments);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    String::from_utf8(world.read("deploy/online/success")).unwrap().trim().to_owned()
}

fn dispatch(world: &World, side: Side) -> Outcome {
    world.run(Tool::Dispatch, side, &[MODEL, PREFIX, LIBRARY])
}

fn is_published(world: &World, version: &str) -> bool {
    world.service(&format!("plugin/{version}/lib/{LIBRARY}")).is_file()
}

/// The script publishes it; the binary refuses, says why, and leaves everything as it was.
fn assert_refused(world: &World, version: &str, says: &str) {
    let outcome = dispatch(world, Side::BINARY);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    assert!(!world.service("plugin").join(version).exists() && !world.service("status").exists());
    assert!(!world.service(&format!(".rollout/manifests/{version}")).exists());
    assert!(world.upload("success").is_file(), "the push is not lost");
    assert_eq!(dispatch(world, Side::SCRIPT).status, 0);
    assert!(is_published(world, version), "the script publishes it all the same");
}

#[test]
fn an_upload_that_is_not_what_was_pushed_is_not_published() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    let version = String::from_utf8(world.read(world.upload("success"))).unwrap().trim().to_owned();
    world.write(world.upload("data/feature.conf"), "feature x\n");
    // Not because it is newer than success.
    world.age(world.upload("data/feature.conf"), 60);
    assert_refused(&world, &version, "data/feature.conf has other bytes, so nothing was published");
}

#[test]
fn an_upload_with_a_file_missing_is_not_published() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    let version = String::from_utf8(world.read(world.upload("success"))).unwrap().trim().to_owned();
    std::fs::remove_file(world.upload("data/fast_lr/predict.model")).unwrap();
    // Not because the directory is newer than success.
    let announced = world.read(world.upload("success"));
    world.write(world.upload("success"), announced);
    assert_refused(&world, &version, "data/fast_lr/predict.model is missing");
}

/// The next push has begun: its files come while the `success` of the one before is still there.
#[test]
fn a_push_under_way_is_waited_for() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    let announced = world.read(world.upload("success"));
    world.write("deploy/online/data/feature.conf", "feature 2\n");
    let second = push(&world, Side::BINARY, &["update"]);
    let newer = world.read(world.upload("success"));
    // The instant before the second announcement.
    world.write(world.upload("success"), &announced);
    let outcome = dispatch(&world, Side::BINARY);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains(&format!("the push of {second} has replaced files")),
        "{}",
        outcome.stderr
    );
    assert!(!world.service("status").exists());
    // And when it came.
    world.write(world.upload("success"), newer);
    assert_eq!(dispatch(&world, Side::BINARY).status, 0);
    assert!(is_published(&world, &second));
}

#[test]
fn a_script_may_push_after_the_binary() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    model_rollout::machine::clock::pause_until_next_second();
    world.write("deploy/online/data/feature.conf", "feature 22\n");
    let second = push(&world, Side::SCRIPT, &["update"]);
    let outcome = dispatch(&world, Side::BINARY);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(world.read(world.service(&format!("plugin/{second}/data/feature.conf"))), b"feature 22\n");
}

#[test]
fn a_manifest_that_cannot_be_read_is_named_with_its_line() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    let good = String::from_utf8(world.read(world.upload(".manifest"))).unwrap();
    for (bad, says) in [
        (String::new(), ".manifest:1:1: the manifest ends here"),
        (
            good.replace(" data/feature.conf", " /etc/passwd"),
            "/.manifest:3:1: this path leaves the version's directory",
        ),
        (
            good.replace(" data/feature.conf", " data/../../x"),
            "/.manifest:3:1: this path leaves the version's directory",
        ),
        (good.replace("end 3", "end 2"), ".manifest:5:1: the count of files is wrong"),
    ] {
        world.write(world.upload(".manifest"), &bad);
        let outcome = dispatch(&world, Side::BINARY);
        assert_eq!(outcome.status, 2, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
        assert!(!world.service("status").exists());
    }
}

#[test]
fn with_delete_a_version_is_what_was_pushed_and_without_it_the_union() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for (side, arguments, stays) in [
        (Side::SCRIPT, &["update"][..], true),
        (Side::BINARY, &["update"], true),
        (Side::BINARY, &["update", "--delete"], false),
    ] {
        let world = sandbox.world();
        world.registered();
        world.deploy();
        for old in
            ["lib/gone.so", "lib/gone/x", "data/gone", "data/fast_lr/gone", "data/gone_dir/x", "data/.gone"]
        {
            world.write(world.upload(old), "of an earlier push");
        }
        world.write(world.upload(".top_dot"), "not part of an upload");
        let version = push(&world, side, arguments);
        assert_eq!(dispatch(&world, Side::BINARY).status, 0);
        for old in
            ["lib/gone.so", "lib/gone/x", "data/gone", "data/fast_lr/gone", "data/gone_dir/x", "data/.gone"]
        {
            assert_eq!(world.upload(old).exists(), stays, "{side} {arguments:?} {old}");
            assert_eq!(world.service(&format!("plugin/{version}/{old}")).exists(), stays, "{side} {old}");
        }
        assert!(world.upload(".top_dot").exists() && world.upload("data/fast_lr/predict.model").exists());
    }
}

/// The monitor's disk, or somebody's hand, changed a published version.
#[test]
fn a_version_that_changed_on_the_monitor_is_not_installed() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world, Side::BINARY);
    assert_eq!(dispatch(&world, Side::BINARY).status, 0);
    let version = String::from_utf8(world.read(world.upload("success"))).unwrap().trim().to_owned();
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
    let file = format!("plugin/{version}/data/feature.conf");
    let good = world.read(world.service(&file));
    for (bad, says) in [(Some("feature x\n"), "has other bytes"), (None, "is missing")] {
        match bad {
            Some(content) => world.write(world.service(&file), content),
            None => std::fs::remove_file(world.service(&file)).unwrap(),
        }
        let outcome = world.run(Tool::Poll, Side::BINARY, &[]);
        assert_eq!((outcome.status, outcome.journal.len()), (1, 0), "{}", shown(&outcome));
        assert!(outcome.stderr.contains(&format!("data/feature.conf {says}")), "{}", outcome.stderr);
        assert_eq!(outcome.tree.text("member-127.0.0.11/workspace/bin/etc/service.conf"), SERVICE_CONF);
    }
    world.write(world.service(&format!("plugin/{version}/data/extra")), "x");
    world.write(world.service(&file), &good);
    let outcome = world.run(Tool::Poll, Side::BINARY, &[]);
    assert!(outcome.stderr.contains("data/extra is not in it"), "{}", outcome.stderr);
    std::fs::remove_file(world.service(&format!("plugin/{version}/data/extra"))).unwrap();
    let outcome = world.run(Tool::Poll, Side::BINARY, &[]);
    assert_eq!((outcome.status, outcome.journal.len()), (0, 2), "{}", shown(&outcome));
}
