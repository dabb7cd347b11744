//! dispatchserver.sh and `dispatch --all`: every stanza, and the lines of its log.

use super::{Expected, Scenario, scenarios};
use crate::harness::parts::legacy_scripts;
use crate::harness::world::{LIBRARY, MODEL, SERVICE_CONF};
use crate::harness::{Outcome, Side, Tool, World};

const LOG: &str = "monitor/scripts/dispatch/log/dispatchserver-<DAY>.log";
const V: &str = "20180413192258";
const OTHER: &str = "monitor/rsync_service_data/datamining_service/other";
const OTHER_UPLOAD: &str = "monitor/rsync_service_data/datamining_plugin/other";

fn tick(given: fn(&World), expected: Expected) -> Scenario {
    Scenario { tool: Tool::Registry, arguments: &[], given, expected }
}

/// Two registered models, of which the first has a push; the reference's registry and dispatch.sh are in place.
fn two_models(world: &World) {
    let bin = "monitor/scripts/dispatch/bin";
    for script in ["dispatchserver.sh", "dispatch.sh"] {
        world.write(
            format!("{bin}/{script}"),
            std::fs::read(legacy_scripts().join(script)).unwrap_or_default(),
        );
    }
    for model in [MODEL, "other"] {
        let added = world.run(Tool::Add, Side::SCRIPT, &["model", model, model]);
        assert_eq!(added.status, 0, "{}", added.stderr);
    }
    world.registered();
    world.uploaded(&format!("{V}\n"));
    world.write(format!("{OTHER}/config_1/service.conf"), SERVICE_CONF);
}

fn lines(outcome: &Outcome) -> Vec<String> {
    let log = outcome.tree.text(LOG);
    log.lines().filter(|line| line.starts_with("====")).map(|line| line.replace('=', "")).collect()
}

fn published(outcome: &Outcome) {
    let version = format!("monitor/rsync_service_data/datamining_service/{MODEL}/plugin/{V}/lib/{LIBRARY}");
    assert!(outcome.tree.has(&version));
}

const FOUR_LINES: [&str; 4] = [
    "begin start run mblog_yellow<DATE>",
    "end run mblog_yellow<DATE>",
    "begin start run other<DATE>",
    "end run other<DATE>",
];

fn edit(world: &World, from: &str, to: &str) {
    let registry = String::from_utf8(world.read(world.registry())).unwrap();
    assert!(registry.contains(from), "{registry}");
    world.write(world.registry(), registry.replacen(from, to, 1));
}

scenarios! {
    every_stanza_is_done_between_its_lines: tick(
        two_models,
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
            assert_eq!(lines(outcome), FOUR_LINES);
            published(outcome);
            assert_eq!(outcome.stderr, "");
        }),
    );

    both_models_are_published_in_one_tick: tick(
        |world| {
            two_models(world);
            world.write(format!("{OTHER_UPLOAD}/lib/other.so"), "other");
            world.write(format!("{OTHER_UPLOAD}/data/x"), "x");
            world.write(format!("{OTHER_UPLOAD}/success"), "20180413192259\n");
        },
        Expected::Agree(|outcome| {
            published(outcome);
            assert!(outcome.tree.has(&format!("{OTHER}/plugin/20180413192259/lib/other.so")));
        }),
    );

    a_stanza_commented_out_by_hand_is_not_done: tick(
        |world| {
            two_models(world);
            let registry = String::from_utf8(world.read(world.registry())).unwrap();
            let (before, stanza) = registry.split_once("# other\n").unwrap();
            let commented: String = stanza.lines().map(|line| format!("#{line}\n")).collect();
            world.write(world.registry(), format!("{before}# other\n{commented}"));
        },
        Expected::Agree(|outcome| assert_eq!(lines(outcome), FOUR_LINES[..2])),
    );

    a_registry_with_nothing_to_do_writes_its_lines_only: tick(
        |world| {
            two_models(world);
            std::fs::remove_file(world.upload("success")).unwrap();
        },
        Expected::Agree(|outcome| {
            assert_eq!(lines(outcome), FOUR_LINES);
            assert_eq!(outcome.tree.text(LOG).lines().count(), 4);
        }),
    );

    a_log_file_named_in_another_way_is_used: tick(
        |world| {
            two_models(world);
            let registry = String::from_utf8(world.read(world.registry())).unwrap();
            let header = registry.lines().find(|line| line.starts_with("logFile=")).unwrap().to_owned();
            edit(world, &header, "logDir=../log ; logFile=\"${logDir}/tick.log\"");
        },
        Expected::Agree(|outcome| {
            let log = outcome.tree.text("monitor/scripts/dispatch/log/tick.log");
            assert!(log.starts_with("==================begin start run mblog_yellow"), "{log}");
        }),
    );

    a_stanza_of_another_prefix_and_plugin_is_done_as_it_says: tick(
        |world| {
            two_models(world);
            edit(world, "plugin=\"mblog_yellow\"", "plugin='renamed'");
            world.write(world.upload("lib/renamed.so"), "renamed");
            world.write(world.upload("success"), "20180413192258\n");
        },
        Expected::Agree(|outcome| {
            let conf = format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf");
            assert!(outcome.tree.text(&conf).contains("/lib/renamed.so\n"));
        }),
    );

    a_line_that_cannot_be_read_is_named_and_the_others_go_on: tick(
        |world| {
            two_models(world);
            edit(world, "# other\n", "if true; then :; fi\n# other\n");
        },
        Expected::Differ {
            entry: "The registry is read, not executed",
            script: |outcome| assert_eq!((outcome.status, lines(outcome).len()), (0, 4)),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("dispatchserver.sh:16:1: "), "{}", outcome.stderr);
                assert_eq!(lines(outcome), FOUR_LINES);
                published(outcome);
            },
        },
    );

    what_an_unfinished_if_may_switch_off_is_not_done: tick(
        |world| {
            two_models(world);
            edit(world, "# other\n", "if false; then\n# other\n");
        },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 2);
            assert_eq!(lines(outcome), FOUR_LINES[..2]);
            published(outcome);
        }),
    );

    a_command_in_the_registry_is_not_run: tick(
        |world| {
            two_models(world);
            edit(world, "# other\n", "touch ../log/executed\n# other\n");
        },
        Expected::Differ {
            entry: "The registry is read, not executed",
            script: |outcome| assert!(outcome.tree.has("monitor/scripts/dispatch/log/executed")),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("dispatchserver.sh:"), "{}", outcome.stderr);
                assert!(!outcome.tree.has("monitor/scripts/dispatch/log/executed"));
                assert_eq!(lines(outcome), FOUR_LINES);
            },
        },
    );

    one_broken_model_does_not_stop_the_others: tick(
        |world| {
            two_models(world);
            world.write(format!("{OTHER}/config_1/service.conf"), "[module]\n");
            world.write(format!("{OTHER_UPLOAD}/lib/other.so"), "other");
            world.write(format!("{OTHER_UPLOAD}/success"), "20180413192259\n");
            // The broken one comes first.
            let registry = String::from_utf8(world.read(world.registry())).unwrap();
            let (before, other) = registry.split_once("# other\n").unwrap();
            let (header, yellow) = before.split_once("# mblog_yellow\n").unwrap();
            world.write(world.registry(), format!("{header}# other\n{other}# mblog_yellow\n{yellow}"));
        },
        Expected::Differ {
            entry: "A service.conf that cannot be edited is an error",
            script: |outcome| assert_eq!(outcome.status, 0),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                published(outcome);
                assert!(outcome.tree.text(LOG).contains("there is no line moduleversion="), "the log says why");
            },
        },
    );
}
