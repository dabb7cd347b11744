//! service_polling.sh and `service_polling`.

use super::{Expected, Scenario, scenarios};
use crate::harness::world::{LIBRARY, SERVICE_CONF, announced};
use crate::harness::{Outcome, Tool, World};

const OLD: &str = "20170101000000";
const NEW: &str = "20180413192258";
const MEMBER: &str = "member-127.0.0.11";
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

fn poll(given: fn(&World), expected: Expected) -> Scenario {
    Scenario { tool: Tool::Poll, arguments: &[], given, expected }
}

/// The monitor announces a version that the member has not.
fn behind(world: &World) {
    world.registered();
    world.published(NEW);
    world.member("127.0.0.11");
    world.write(INSTALLED, SERVICE_CONF);
    world.write(format!("{MEMBER}/workspace/plugin/mblog_yellow/{OLD}/lib/{LIBRARY}"), "library 0\n");
}

fn upgraded(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(outcome.journal, ["stop 127.0.0.11", "start 127.0.0.11"]);
    assert!(outcome.tree.text(INSTALLED).contains(&format!("moduleversion={NEW}")));
    assert!(outcome.tree.has(&format!("{MEMBER}/workspace/plugin/mblog_yellow/{NEW}/data/.hidden/x")));
    let report = "monitor/rsync_service_data/datamining_service/mblog_yellow/version/127.0.0.11";
    assert_eq!(outcome.tree.text(report), format!("{NEW}\n"));
}

fn nothing_done(outcome: &Outcome) {
    assert_eq!(outcome.journal, [""; 0]);
    assert!(!outcome.tree.text(INSTALLED).contains(NEW));
}

scenarios! {
    a_poll_with_a_change_upgrades: poll(behind, Expected::Agree(upgraded));

    a_poll_without_a_change_does_nothing: poll(
        |world| { behind(world); world.write(INSTALLED, announced(SERVICE_CONF, NEW)); },
        Expected::Agree(|outcome| {
            assert_eq!((outcome.status, outcome.journal.len()), (0, 0));
            assert_eq!(outcome.stderr, "");
        }),
    );

    the_first_poll_of_a_new_member_installs: poll(
        |world| { behind(world); std::fs::remove_dir_all(world.path(format!("{MEMBER}/workspace/bin"))).unwrap(); },
        Expected::Agree(upgraded),
    );

    an_installed_service_conf_keeps_its_mode: poll(
        |world| { behind(world); world.write_with_mode(INSTALLED, SERVICE_CONF, 0o640); },
        Expected::Agree(upgraded),
    );

    an_installed_service_conf_that_is_a_link_stays_one: poll(
        |world| {
            behind(world);
            world.write_with_mode(format!("{MEMBER}/workspace/real.conf"), SERVICE_CONF, 0o600);
            std::fs::remove_file(world.path(INSTALLED)).unwrap();
            world.link(INSTALLED, "../../real.conf");
        },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
            assert!(outcome.tree.text(&format!("{MEMBER}/workspace/real.conf")).contains(NEW));
        }),
    );

    an_edit_by_hand_on_the_monitor_restarts_too: poll(
        |world| {
            behind(world);
            world.write(INSTALLED, announced(SERVICE_CONF, NEW));
            world.service_conf("config_1", announced(SERVICE_CONF, NEW).replace("worker_count=128", "worker_count=64"));
            // Half of the version is there: a script that died has left it.
            let library = format!("{MEMBER}/workspace/plugin/mblog_yellow/{NEW}/lib/{LIBRARY}");
            world.write_with_mode(library, "library 1\n", 0o755);
        },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.journal, ["stop 127.0.0.11", "start 127.0.0.11"]);
            assert!(outcome.tree.text(INSTALLED).contains("worker_count=64"));
        }),
    );

    the_model_may_come_from_the_container: poll(
        |world| {
            behind(world);
            let env = format!("{MEMBER}/watch/env.sh");
            let text = String::from_utf8(world.read(&env)).unwrap();
            world.write(&env, text.replace("modulename=mblog_yellow", "modulename=$MODEL_OF_THE_TEST"));
        },
        Expected::Differ {
            entry: "A poll without a model is an error",
            // The script asks the daemon for "/config_1/service.conf".
            script: |outcome| assert_eq!(outcome.status, 1),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("modulename is not set"), "{}", outcome.stderr);
                nothing_done(outcome);
            },
        },
    );

    a_version_with_another_name_is_fetched_too: poll(
        |world| {
            behind(world);
            world.write(world.service(&format!("plugin/by_hand.1/lib/{LIBRARY}")), "by hand\n");
            world.service_conf("config_1", announced(SERVICE_CONF, "by_hand.1"));
        },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
            assert!(outcome.tree.has(&format!("{MEMBER}/workspace/plugin/mblog_yellow/by_hand.1/lib/{LIBRARY}")));
        }),
    );

    a_key_between_blanks_is_read: poll(
        |world| {
            behind(world);
            world.service_conf("config_1", announced(SERVICE_CONF, NEW).replace("moduleversion=", "moduleversion = "));
        },
        Expected::Differ {
            entry: "key = value is edited and read",
            // It fetches the whole of plugin/, restarts, and reports an empty version.
            script: |outcome| {
                let report = "monitor/rsync_service_data/datamining_service/mblog_yellow/version/127.0.0.11";
                assert_eq!((outcome.status, outcome.tree.text(report).as_str()), (0, "\n"));
            },
            binary: |outcome| {
                assert_eq!(outcome.status, 0, "{}", outcome.stderr);
                assert!(outcome.tree.has(&format!("{MEMBER}/workspace/plugin/mblog_yellow/{NEW}/lib/{LIBRARY}")));
            },
        },
    );

    a_version_that_is_not_on_the_monitor_is_not_installed: poll(
        |world| { behind(world); std::fs::remove_dir_all(world.service(&format!("plugin/{NEW}"))).unwrap(); },
        Expected::Differ {
            entry: "service.conf is installed after its version arrived",
            script: |outcome| assert_eq!(outcome.journal.len(), 2, "it restarts a service whose model is not there"),
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                nothing_done(outcome);
            },
        },
    );

    a_service_that_does_not_start_is_not_reported: poll(
        |world| {
            behind(world);
            let env = format!("{MEMBER}/watch/env.sh");
            world.write(&env, [world.read(&env), b"service_start='exit 3'\n".to_vec()].concat());
        },
        Expected::Differ {
            entry: "A service that did not start is not reported",
            script: |outcome| {
                assert_eq!(outcome.status, 0);
                assert!(outcome.tree.has("monitor/rsync_service_data/datamining_service/mblog_yellow/version"));
            },
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(outcome.stderr.contains("service_start"), "{}", outcome.stderr);
                assert!(!outcome.tree.has("monitor/rsync_service_data/datamining_service/mblog_yellow/version/127.0.0.11"));
            },
        },
    );

    a_monitor_without_the_model_changes_nothing_here: poll(
        |world| { behind(world); std::fs::remove_dir_all(world.service("config_1")).unwrap(); },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 1);
            nothing_done(outcome);
        }),
    );
}
