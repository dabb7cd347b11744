//! A site's own programs at the points of a rollout.

use crate::batches::fleet;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::health::{BAD, Member, OLD};

const V: &str = "20180413192258";
const GOOD: &str = "20180501000000";

/// A hook that writes down what it is told, and ends with a status.
fn hook(world: &World, directory: &str, name: &str, status: u8) {
    let told = world.path("told");
    let text = format!(
        "#!/bin/sh\necho \"{name} $ROLLOUT_MODEL $ROLLOUT_VERSION $(ls \"$ROLLOUT_DIRECTORY\" | tr '\\n' ' ')\
         ${{ROLLOUT_ERROR:+: $ROLLOUT_ERROR}}\" >> {}\nexit {status}\n",
        told.display()
    );
    world.write_with_mode(format!("{directory}/{name}"), text, 0o755);
}

/// What the hooks were told so far.
fn told(world: &World) -> String {
    std::fs::read_to_string(world.path("told")).unwrap_or_default()
}

fn tick(world: &World) -> Outcome {
    world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY])
}

#[test]
fn a_version_that_the_sites_own_program_refuses_is_not_published() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    let hooks = format!("monitor/scripts/dispatch/conf/hooks/{MODEL}");
    hook(&world, &hooks, "pre-publish", 3);
    let outcome = tick(&world);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    assert!(outcome.stderr.contains("hook pre-publish: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("/pre-publish\u{201d} ended with exit code 3"), "{}", outcome.stderr);
    assert_eq!(told(&world), format!("pre-publish {MODEL} {V} data lib success \n"));
    assert!(!world.service(&format!("plugin/{V}")).exists() && !world.service("status").exists());
    assert!(world.upload("success").exists());
    assert_eq!(world.read(world.service("config_1/service.conf")), SERVICE_CONF.as_bytes());
    // A hook that cannot be run stops the publication, too: the site wants it to be run.
    world.write(format!("{hooks}/pre-publish"), "#!/bin/sh\n");
    assert!(tick(&world).stderr.contains("pre-publish"));
    assert!(!world.service(&format!("plugin/{V}")).exists());
    hook(&world, &hooks, "pre-publish", 0);
    let outcome = tick(&world);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    assert!(world.service(&format!("plugin/{V}/lib/{LIBRARY}")).exists());
}

#[test]
fn the_monitors_program_is_told_that_a_rollout_was_given_up_and_why() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 1, "");
    hook(&world, &format!("monitor/scripts/dispatch/conf/hooks/{MODEL}"), "on-failure", 0);
    assert_eq!(tick(&world).status, 0);
    world.rollout_ages(1300);
    assert_eq!(tick(&world).status, 1);
    let expected = format!(
        "on-failure {MODEL} {V} data lib success : it timed out, late: 127.0.0.11 (no answer) (1 of 1)\n"
    );
    assert_eq!(told(&world), expected);
}

#[test]
fn a_members_program_is_told_once_that_a_service_is_down_with_nothing_to_go_back_to() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    let world = &member.world;
    hook(world, "member-127.0.0.11/watch/hooks", "on-failure", 1);
    let polled = |says: &str| {
        let outcome = member.polled(Side::BINARY);
        assert_eq!(outcome.status, 1, "{}", shown(&outcome));
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
        outcome.stderr.lines().count()
    };
    // A first version.
    std::fs::remove_file(world.path("member-127.0.0.11/workspace/bin/etc/service.conf")).unwrap();
    world.published(BAD);
    assert_eq!(polled("hook on-failure: "), 2, "its own failure is only said");
    let first =
        format!("on-failure {MODEL} {BAD} data lib success : the service does not answer on 127.0.0.11:");
    assert!(told(world).starts_with(&first) && told(world).lines().count() == 1, "{}", told(world));
    for _ in 0..2 {
        assert_eq!(polled("the service does not answer"), 1);
    }
    assert_eq!(told(world).lines().count(), 1, "{}", told(world));

    // One that works; then another that does not, nor does the one before any more.
    world.published(GOOD);
    assert_eq!(member.polled(Side::BINARY).status, 0);
    world.write("start", "exit 0\n");
    world.published("20180601000000");
    polled("nor could the version before be put back");
    let last = told(world).lines().last().unwrap().to_owned();
    let expected =
        format!("on-failure {MODEL} 20180601000000 data lib success : the service does not answer");
    assert!(
        last.starts_with(&expected) && last.contains("nor could the version before be put back"),
        "{last}"
    );
}

#[test]
fn a_members_program_is_told_once_that_a_service_is_down_whether_or_not_the_monitor_can_be_told() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    let world = &member.world;
    let start = world.read("start");
    let is_remembered = || {
        let state = std::fs::read_to_string(world.member_state("127.0.0.11")).unwrap();
        state.contains("\"on_failure\"")
    };
    let env = "member-127.0.0.11/watch/env.sh";
    let elsewhere = format!("rsyncport={}\nservice_timeout=1\n", quiet_port());
    world.write(env, [world.read(env), elsewhere.into_bytes()].concat());
    let fails = || {
        world.write("start", "exit 0\n");
        world.left_to_be_done("127.0.0.11", "restart", OLD);
        for _ in 0..2 {
            let outcome = member.polled(Side::BINARY);
            assert!(outcome.stderr.contains("the service does not answer"), "{}", shown(&outcome));
        }
    };
    fails();
    assert!(!is_remembered(), "where there is no program nobody was told");
    hook(world, "member-127.0.0.11/watch/hooks", "on-failure", 0);
    fails();
    let told_once = format!("on-failure {MODEL} {OLD} : the service does not answer on 127.0.0.11:");
    assert!(told(world).contains(&told_once) && told(world).lines().count() == 1, "{}", told(world));
    assert!(is_remembered());

    // It comes up, and is down once more: that is another failure.
    world.write("start", &start);
    world.write(env, [world.read(env), b"service_timeout=30\n".to_vec()].concat());
    world.left_to_be_done("127.0.0.11", "restart", OLD);
    member.polled(Side::BINARY);
    assert!(member.is_up() && !is_remembered());
    world.write(env, [world.read(env), b"service_timeout=1\n".to_vec()].concat());
    fails();
    assert_eq!(told(world).lines().count(), 2, "{}", told(world));
}

#[test]
fn a_members_programs_are_run_around_the_restart_and_a_refusal_comes_before_it() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    let world = &member.world;
    let hooks = "member-127.0.0.11/watch/hooks";
    hook(world, hooks, "pre-restart", 1);
    hook(world, hooks, "post-restart", 1);
    hook(world, hooks, "on-failure", 1);
    world.published(GOOD);
    let installed = "member-127.0.0.11/workspace/bin/etc/service.conf";

    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(outcome.stderr.contains("hook pre-restart: "), "{}", outcome.stderr);
    assert_eq!(world.read(installed), SERVICE_CONF.as_bytes(), "nothing was restarted");
    assert!(world.journal_lines().is_empty());

    hook(world, hooks, "pre-restart", 0);
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(outcome.stderr.contains("hook post-restart: "), "{}", outcome.stderr);
    assert!(member.is_up() && member.has_reported(GOOD));

    world.published(BAD);
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(member.is_up());
    assert_eq!(world.read(installed), announced(SERVICE_CONF, GOOD).into_bytes(), "{OLD}");
    let names: Vec<String> =
        told(world).lines().map(|line| line.split(" data").next().unwrap().to_owned()).collect();
    let expected = [
        ("pre-restart", GOOD),
        ("pre-restart", GOOD),
        ("post-restart", GOOD),
        ("pre-restart", BAD),
        ("on-failure", BAD),
    ];
    assert_eq!(names, expected.map(|(name, version)| format!("{name} {MODEL} {version}")));
}
