//! compat/: what operators type and what cron runs reaches the binaries, and finds its way back to the scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::batches::fleet;
use crate::harness::outcome::shown;
use crate::harness::parts::{legacy_scripts, need, project};
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, write_program};

/// A wrapper and the binary that it runs.
const WRAPPERS: [(&str, &str); 5] = [
    ("rsync.sh", "rsync-push"),
    ("dispatch.sh", "dispatch"),
    ("add_dispatch_docker.sh", "add_dispatch_docker"),
    ("service_polling.sh", "service_polling"),
    ("dockerrun.sh", "dockerrun"),
];

/// Puts a wrapper into the place of its script, and the script beside it.
fn install(world: &World, name: &str, dir: &str) {
    world.write(format!("{dir}/{name}"), std::fs::read(project().join("compat").join(name)).unwrap());
    world.write(format!("{dir}/{name}.legacy"), std::fs::read(legacy_scripts().join(name)).unwrap());
}

fn executable(path: &Path, text: &str) {
    write_program(path, text.as_bytes(), 0o755);
}

/// The directory of the binaries under test.
fn binaries() -> PathBuf {
    Tool::Push.binary().parent().unwrap().to_path_buf()
}

/// Runs a command line as an operator or cron would, in the environment of a tool.
fn typed(world: &World, tool: Tool, line: &str, environment: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    world.prepare(&mut command, tool, Side::SCRIPT);
    command.env("MODEL_ROLLOUT_BIN", binaries()).envs(environment.iter().copied());
    world.finish(&mut command)
}

#[test]
fn arguments_reach_the_binary_untouched() {
    need!("rsync", "dash", "bash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.directory("stand-ins");
    for (name, binary) in WRAPPERS {
        install(&world, name, "scripts");
        executable(
            &world.path(format!("stand-ins/{binary}")),
            "#!/bin/sh\nprintf '<%s>' \"$0\" \"$@\"; exit 7\n",
        );
        for shell in ["dash", "bash"] {
            let mut command = Command::new(shell);
            command.arg(world.path(format!("scripts/{name}"))).args(["a b", "", "*", "-x", "$HOME", "\\"]);
            world.prepare(&mut command, Tool::Add, Side::SCRIPT);
            let outcome = world.finish(command.env("MODEL_ROLLOUT_BIN", world.path("stand-ins")));
            let program = world.path(format!("stand-ins/{binary}"));
            assert_eq!(outcome.stdout, format!("<{}><a b><><*><-x><$HOME><\\>", program.display()), "{name}");
            assert_eq!(outcome.status, 7, "{name}: the exit code is the binary's");
        }
    }
}

#[test]
fn it_falls_back_to_the_script_when_told_to_or_when_the_binary_is_missing() {
    need!("rsync", "dash", "bash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    for (name, _) in WRAPPERS {
        install(&world, name, "scripts");
        world.write(format!("scripts/{name}.legacy"), "printf '<%s>' legacy \"$@\"; exit 5\n");
        for shell in ["dash", "bash"] {
            let run = |environment: &[(&str, &str)]| {
                let mut command = Command::new(shell);
                command.arg(world.path(format!("scripts/{name}"))).args(["a b", ""]);
                world.prepare(&mut command, Tool::Add, Side::SCRIPT);
                world.finish(command.env("MODEL_ROLLOUT_BIN", binaries()).envs(environment.iter().copied()))
            };
            let nowhere = world.path("nowhere").display().to_string();
            for environment in [[("MODEL_ROLLOUT_LEGACY", "1")], [("MODEL_ROLLOUT_BIN", nowhere.as_str())]] {
                let outcome = run(&environment);
                assert_eq!(
                    (outcome.stdout.as_str(), outcome.status),
                    ("<legacy><a b><>", 5),
                    "{name} {shell}"
                );
            }
        }
    }
}

#[test]
fn with_neither_binary_nor_script_it_says_so_in_one_line() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    for (name, binary) in WRAPPERS {
        world.write(format!("scripts/{name}"), std::fs::read(project().join("compat").join(name)).unwrap());
        let line = format!("sh scripts/{name} x");
        let outcome = typed(&world, Tool::Add, &line, &[("MODEL_ROLLOUT_BIN", "/nowhere")]);
        assert_eq!(outcome.status, 1);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(
            outcome.stderr.starts_with(&format!("{name}: neither /nowhere/{binary} nor ")),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn what_operators_type_and_what_cron_runs_reach_the_binaries() {
    need!("rsync", "dash", "bash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    install(&world, "add_dispatch_docker.sh", "monitor/scripts");
    install(&world, "dispatch.sh", "monitor/scripts/dispatch/bin");
    install(&world, "rsync.sh", "deploy");
    install(&world, "service_polling.sh", "member-127.0.0.11/watch");
    world.deploy();
    world.member("127.0.0.11");

    let add = format!("cd {}/scripts && sh add_dispatch_docker.sh model {MODEL} {MODEL}", "$MONITOR_ROOT");
    let added = typed(&world, Tool::Add, &add, &[]);
    assert_eq!(added.status, 0, "{}", added.stderr);
    assert!(added.stdout.starts_with("registered mblog_yellow"), "{}", added.stdout);
    world.service_conf("config_1", SERVICE_CONF);
    world.member_list("127.0.0.11");

    let pushed = typed(&world, Tool::Push, "sh rsync.sh update", &[]);
    assert_eq!(pushed.status, 0, "{}", pushed.stderr);
    assert!(world.upload(".env.sh").is_file(), "only the binary uploads it");

    // The contract's crontab lines, unchanged but for the roots.
    let monitor = "cd $MONITOR_ROOT/scripts/dispatch/bin && sh dispatchserver.sh > /dev/null 2>&1";
    assert_eq!(typed(&world, Tool::Registry, monitor, &[]).status, 0);
    assert!(world.service(".rollout/state.json").is_file(), "only the binary keeps a state");

    let member =
        "/bin/bash   $WATCH_ROOT/service_polling.sh  >>$WATCH_ROOT/log/polling-$(date +\"%Y%m%d\").log 2>&1";
    let polled = typed(&world, Tool::Poll, member, &[]);
    assert_eq!((polled.status, polled.journal.len()), (0, 2));
    assert!(
        world.path("member-127.0.0.11/workspace/bin/etc/.rollout/lock").is_file(),
        "only the binary has a lock"
    );
    let version = String::from_utf8(world.read(world.service("version/127.0.0.11"))).unwrap();
    let library = format!("member-127.0.0.11/workspace/plugin/{MODEL}/{}/lib/{LIBRARY}", version.trim());
    assert_eq!(world.read(library), b"library 1\n");

    assert_eq!(typed(&world, Tool::Registry, monitor, &[]).status, 0);
    assert!(!world.service("status").exists(), "confirmed");
    assert!(!world.upload("success").exists(), "confirmed");
}

/// Otherwise the binary's members would wait ten polls until they follow a monitor that is back on
/// scripts.
#[test]
fn a_monitor_that_is_sent_back_to_the_script_tells_its_members_to_follow_service_conf() {
    need!("rsync", "dash", "bash");
    let sandbox = Sandbox::new();
    let (first, second, third) = ("20180413192258", "20180501000000", "20180601000000");
    let bin = "monitor/scripts/dispatch/bin";
    for shell in ["dash", "bash"] {
        let world = sandbox.world();
        install(&world, "dispatch.sh", bin);
        fleet(&world, 1, "");
        let tick = |environment: &[(&str, &str)]| {
            let line =
                format!("{shell} $MONITOR_ROOT/scripts/dispatch/bin/dispatch.sh {MODEL} {PREFIX} {LIBRARY}");
            let outcome = typed(&world, Tool::Dispatch, &line, environment);
            assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{shell}: {}", shown(&outcome));
        };
        let polled = |expected: &str| {
            let outcome = world.poll(Side::BINARY, "127.0.0.11");
            assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{shell}: {}", shown(&outcome));
            let report = world.read(world.service("version/127.0.0.11"));
            assert_eq!(report, format!("{expected}\n").into_bytes(), "{shell}");
        };
        let legacy = [("MODEL_ROLLOUT_LEGACY", "1")];
        let announcement = || String::from_utf8(world.read(world.service(".rollout/announcement"))).unwrap();
        for _ in 0..2 {
            tick(&[]);
            polled(first);
        }
        assert!(announcement().contains("\"target\""), "{shell}");

        world.uploaded(&format!("{second}\n"));
        tick(&legacy);
        assert_eq!(announcement(), "{\"schema\":1,\"follow\":\"service.conf\"}\n", "{shell}");
        polled(second);
        tick(&legacy);
        assert!(!world.service("status").exists(), "{shell}: the script ended it");

        // The binary announces what the script published, and goes on.
        tick(&[]);
        assert!(announcement().contains("\"target\"") && announcement().contains(second), "{shell}");
        assert_eq!(world.worth(second), "confirmed", "{shell}");
        world.uploaded(&format!("{third}\n"));
        tick(&[]);
        polled(third);

        // Sent back with nothing new: the next tick of the binary announces again all the same.
        tick(&[]);
        tick(&legacy);
        polled(third);
        tick(&[]);
        assert!(announcement().contains("\"target\"") && announcement().contains(third), "{shell}");
        polled(third);
        let left = std::fs::read_dir(world.service(".rollout")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.as_encoded_bytes().starts_with(b".")), "{left:?}");
    }
}

/// A monitor on scripts whose operators hold members with the binary: there is a directory, and no
/// state.
#[test]
fn the_first_tick_of_the_binary_goes_on_from_what_the_wrapper_left() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    install(&world, "dispatch.sh", "monitor/scripts/dispatch/bin");
    fleet(&world, 1, "");
    world.write(world.service(".rollout/held"), "# nobody\n");
    let line = format!("sh $MONITOR_ROOT/scripts/dispatch/bin/dispatch.sh {MODEL} {PREFIX} {LIBRARY}");
    for environment in [&[("MODEL_ROLLOUT_LEGACY", "1")][..], &[]] {
        let outcome = typed(&world, Tool::Dispatch, &line, environment);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
        let announcement = world.read(world.service(".rollout/announcement"));
        let follows = announcement.starts_with(b"{\"schema\":1,\"follow\":");
        assert_eq!(follows, !environment.is_empty());
        assert_eq!(world.poll(Side::BINARY, "127.0.0.11").status, 0);
        let report = world.read(world.service("version/127.0.0.11"));
        assert_eq!(report, b"20180413192258\n");
    }
}

#[test]
fn the_script_is_told_of_only_where_the_binary_has_announced_something() {
    need!("dash", "bash");
    let sandbox = Sandbox::new();
    for shell in ["dash", "bash"] {
        let world = sandbox.world();
        install(&world, "dispatch.sh", "scripts");
        world.write("scripts/dispatch.sh.legacy", "printf '<%s>' \"$root\" \"$@\"; exit 5\n");
        world.registered();
        // A name that leads elsewhere, and one below which a directory would be found.
        world.directory(world.service("plugin/.rollout"));
        let outside = "monitor/rsync_service_data/.rollout";
        world.directory(outside);
        for model in [MODEL, "..", "../..", "mblog_yellow/plugin", "-x", "", "a b", "*"] {
            let mut command = Command::new(shell);
            command.arg(world.path("scripts/dispatch.sh")).args([model, "a b", ""]);
            world.prepare(&mut command, Tool::Dispatch, Side::SCRIPT);
            command.env("MODEL_ROLLOUT_BIN", binaries()).env("MODEL_ROLLOUT_LEGACY", "1").env("root", "/r");
            let outcome = world.finish(&mut command);
            let expected = format!("</r><{model}><a b><>");
            assert_eq!(
                (outcome.stdout, outcome.stderr.as_str(), outcome.status),
                (expected, "", 5),
                "{shell}"
            );
        }
        assert!(!world.service(".rollout").exists(), "{shell}");
        for place in [world.service("plugin/.rollout/announcement"), world.path(outside).join("announcement")]
        {
            assert!(!place.exists(), "{shell}: {}", place.display());
        }
    }
}
