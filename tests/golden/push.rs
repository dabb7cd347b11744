//! rsync.sh and `rsync-push`.

use super::{Expected, Scenario, scenarios};
use crate::harness::world::{LIBRARY, MODEL};
use crate::harness::{Outcome, Tool, World};

fn push(given: fn(&World), expected: Expected) -> Scenario {
    Scenario { tool: Tool::Push, arguments: &["update"], given, expected }
}

const UPLOAD: &str = "monitor/rsync_service_data/datamining_plugin/mblog_yellow";

/// The monitor has a directory for the model, and the deploy directory is ready.
fn ready(world: &World) {
    world.registered();
    world.deploy();
}

/// A push was made before.
fn pushed_before(world: &World) {
    world.write("deploy/online/success", "20180413192258\n");
    world.uploaded("20180413192258\n");
}

fn pushed(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(outcome.tree.text(&format!("{UPLOAD}/success")), "<VERSION>\n");
    assert_eq!(outcome.tree.text(&format!("{UPLOAD}/lib/{LIBRARY}")), "library 1\n");
    assert_eq!(outcome.tree.text(&format!("{UPLOAD}/data/feature.conf")), "feature 1\n");
    assert_eq!(outcome.tree.text("deploy/online/success"), "<VERSION>\n");
}

/// The script announced something, the binary refused and changed nothing.
fn refused(outcome: &Outcome) {
    assert_ne!(outcome.status, 0);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(!outcome.tree.has(&format!("{UPLOAD}/success")));
    assert!(!outcome.tree.has("deploy/online/success"));
}

scenarios! {
    a_first_push: push(ready, Expected::Agree(|outcome| {
        pushed(outcome);
        assert!(!outcome.tree.has("deploy/backup"));
    }));

    a_later_push_backs_the_previous_one_up: push(
        |world| { ready(world); pushed_before(world); },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(outcome.tree.has("deploy/backup/data/bak-<VERSION>/feature.conf"));
            assert!(outcome.tree.has(&format!("deploy/backup/lib/bak-<VERSION>/{LIBRARY}")));
        }),
    );

    a_first_push_of_the_newer_layout: push(
        |world| { world.registered(); world.newer_deploy(); },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(outcome.tree.has(&format!("deploy/online/lib/{LIBRARY}")));
        }),
    );

    a_later_push_of_the_newer_layout_moves_the_previous_one_to_the_backup: push(
        |world| {
            world.registered();
            world.newer_deploy();
            pushed_before(world);
            world.write("deploy/online/lib/old.so", "old");
            world.write("deploy/online/data/old", "old");
        },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(outcome.tree.has("deploy/backup/lib/bak-<VERSION>/old.so"));
            assert!(!outcome.tree.has("deploy/online/lib/old.so"));
        }),
    );

    what_was_pushed_before_stays_on_the_monitor: push(
        |world| {
            ready(world);
            pushed_before(world);
            world.write(world.upload("lib/gone.so"), "of an earlier model");
            world.write(world.upload("data/gone/x"), "of an earlier model");
        },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(outcome.tree.has(&format!("{UPLOAD}/lib/gone.so")));
        }),
    );

    modes_arrive_as_rsync_sends_them: push(
        |world| {
            ready(world);
            pushed_before(world);
            world.write_with_mode("deploy/online/data/secret", "s", 0o600);
            world.write_with_mode("deploy/online/data/group", "g", 0o664);
            world.write_with_mode("deploy/online/release/tool.sh", "t", 0o750);
            // The monitor has it with another mode already.
            world.write_with_mode(world.upload("data/feature.conf"), "feature 0\n", 0o640);
            world.age(world.upload("data/feature.conf"), 3600);
        },
        Expected::Agree(pushed),
    );

    odd_names_and_nested_dot_files_arrive: push(
        |world| {
            ready(world);
            for name in ["a b", "黄", "nested/.hidden/x", "nested/a b", "#x", ";x", "--delete", "-r", "host:x", "[x]", "a\\b"] {
                world.write(format!("deploy/online/data/{name}"), name);
            }
            world.directory("deploy/online/data/empty directory");
            world.write("deploy/online/data/.dot", "stays behind: the glob does not take it");
            world.write("deploy/online/release/.dot.so", "stays behind");
        },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(outcome.tree.has(&format!("{UPLOAD}/data/nested/.hidden/x")));
            assert!(!outcome.tree.has(&format!("{UPLOAD}/data/.dot")));
        }),
    );

    links_and_subdirectories_of_release_are_skipped: push(
        |world| {
            ready(world);
            world.link("deploy/online/release/latest.so", LIBRARY);
            world.write("deploy/online/release/sub/x.so", "not sent: not recursive");
            world.link("deploy/online/data/link", "feature.conf");
            world.link("deploy/online/data/nested/link", "../feature.conf");
        },
        Expected::Agree(|outcome| {
            pushed(outcome);
            assert!(!outcome.tree.has(&format!("{UPLOAD}/lib/latest.so")));
            assert!(!outcome.tree.has(&format!("{UPLOAD}/lib/sub")));
            assert!(!outcome.tree.has(&format!("{UPLOAD}/data/link")));
        }),
    );

    an_env_sh_of_many_forms_is_read_alike: push(
        |world| {
            ready(world);
            let port = world.deploy_env_sh();
            let port = port.lines().last().unwrap();
            world.write("deploy/env.sh", format!(
                "#!/bin/sh\n# the monitor\nhost='127.0.0.1'; export monitor=\"$host\"  # remark\n\
                 members=\"10.77.96.239,\n10.77.96.240 \\\n10.77.96.241\"\nbase=mblog\n\nmodulename=${{base}}_yellow\n\
                 moduleport=${{port:-17019}}\n{port}"
            ));
        },
        Expected::Agree(pushed),
    );

    a_value_from_the_environment_names_the_model: push(
        |world| {
            ready(world);
            world.write("deploy/env.sh", world.deploy_env_sh().replace(MODEL, "${MODEL_OF_THE_TEST:-mblog_yellow}"));
        },
        Expected::Agree(pushed),
    );

    another_first_argument_prints_the_usage: Scenario {
        tool: Tool::Push,
        arguments: &["upload"],
        given: ready,
        expected: Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 1);
            assert!(!outcome.tree.has(&format!("{UPLOAD}/success")));
        }),
    };

    no_argument_prints_the_usage: Scenario {
        tool: Tool::Push,
        arguments: &[],
        given: ready,
        expected: Expected::Agree(|outcome| assert_eq!(outcome.status, 1)),
    };

    both_layouts_at_once_are_an_error: push(
        |world| {
            ready(world);
            world.write(format!("deploy/release/{LIBRARY}"), "which?");
        },
        Expected::Differ {
            entry: "Wrong usage exits with 2",
            script: |outcome| assert_eq!((outcome.status, outcome.tree.has("deploy/online/success")), (1, false)),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("--source"), "{}", outcome.stderr);
                refused(outcome);
            },
        },
    );

    a_push_without_data_is_not_announced: push(
        |world| { ready(world); std::fs::remove_dir_all(world.path("deploy/online/data")).unwrap(); },
        Expected::Differ {
            entry: "No success without library and data",
            script: |outcome| assert!(outcome.tree.has(&format!("{UPLOAD}/success"))),
            binary: refused,
        },
    );

    a_push_without_the_library_is_not_announced: push(
        |world| {
            ready(world);
            std::fs::remove_file(world.path(format!("deploy/online/release/{LIBRARY}"))).unwrap();
            world.write("deploy/online/release/other.so", "other");
        },
        Expected::Differ {
            entry: "No success without library and data",
            script: |outcome| assert!(outcome.tree.has(&format!("{UPLOAD}/success"))),
            binary: refused,
        },
    );

    a_model_that_is_not_registered_is_not_announced: push(
        |world| world.deploy(),
        Expected::Differ {
            entry: "Nothing changes here before the monitor answered",
            script: |outcome| {
                assert!(outcome.tree.has(&format!("{UPLOAD}/success")), "announced");
                assert!(!outcome.tree.has(&format!("{UPLOAD}/lib")), "though nothing is there");
            },
            binary: |outcome| {
                refused(outcome);
                assert!(outcome.stderr.contains("add_dispatch_docker"), "{}", outcome.stderr);
            },
        },
    );

    a_file_of_the_same_size_and_second_is_sent: push(
        |world| {
            ready(world);
            world.write(world.upload("data/feature.conf"), "feature 0\n");
            for file in [world.path("deploy/online/data/feature.conf"), world.upload("data/feature.conf")] {
                world.age(file, 3600);
            }
        },
        Expected::Differ {
            entry: "Files are compared by content",
            script: |outcome| assert_eq!(outcome.tree.text(&format!("{UPLOAD}/data/feature.conf")), "feature 0\n"),
            binary: pushed,
        },
    );

    a_data_file_that_the_monitor_cannot_take_stops_the_announcement: push(
        |world| {
            ready(world);
            // A directory where a file has to go: rsync ends with 23.
            world.write(world.upload("data/feature.conf/x"), "in the way");
        },
        Expected::Differ {
            entry: "No success without library and data",
            script: |outcome| assert!(outcome.tree.has(&format!("{UPLOAD}/success"))),
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(!outcome.tree.has(&format!("{UPLOAD}/success")));
            },
        },
    );

    env_sh_is_not_executed: push(
        |world| {
            ready(world);
            world.write("deploy/env.sh", format!("{}touch executed\n", world.deploy_env_sh()));
        },
        Expected::Differ {
            entry: "env.sh is read, not executed",
            script: |outcome| assert!(outcome.tree.has("deploy/executed")),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("env.sh:6:1: the command touch is not run"), "{}", outcome.stderr);
                refused(outcome);
                assert!(!outcome.tree.has("deploy/executed"));
            },
        },
    );

    remarks_as_the_manual_writes_them_are_explained: push(
        |world| {
            ready(world);
            world.write("deploy/env.sh", world.deploy_env_sh().replacen("\"127.0.0.1\"", "\"127.0.0.1\"  --monitor机器", 1));
        },
        Expected::Differ {
            entry: "env.sh is read, not executed",
            script: |outcome| assert!(outcome.stderr.contains("not found"), "{}", outcome.stderr),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("env.sh:1:22: a shell takes --monitor机器 for a command"), "{}", outcome.stderr);
            },
        },
    );
}
