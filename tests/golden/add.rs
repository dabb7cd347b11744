//! add_dispatch_docker.sh and `add_dispatch_docker`.

use super::{Expected, Scenario, scenarios};
use crate::harness::world::MODEL;
use crate::harness::{Outcome, Tool, World};

const ARGUMENTS: &[&str] = &["model", MODEL, MODEL];
const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";

fn add(given: fn(&World), expected: Expected) -> Scenario {
    Scenario { tool: Tool::Add, arguments: ARGUMENTS, given, expected }
}

fn stanzas(outcome: &Outcome) -> usize {
    outcome.tree.text(REGISTRY).matches("\nmymodel=\"mblog_yellow\"\n").count()
}

fn registered_once(outcome: &Outcome) {
    assert_eq!(outcome.status, 0);
    assert_eq!(stanzas(outcome), 1);
    for root in
        ["datamining_plugin/mblog_yellow/lib", "datamining_service/mblog_yellow/config_1/service.conf"]
    {
        assert!(outcome.tree.has(&format!("monitor/rsync_service_data/{root}")), "{root}");
    }
}

scenarios! {
    the_first_add_registers_the_model: add(|_| {}, Expected::Agree(registered_once));

    an_add_beside_other_models_appends_its_stanza: add(
        |world| world.write(REGISTRY, "logFile=../log/x.log\n# other\nmymodel=\"other\"\nplugin=\"other\"\n\
            echo \"begin $mymodel\"`date`  >> ${logFile}\nsh dispatch.sh $mymodel /w/$mymodel $plugin.so >> ${logFile}\n"),
        Expected::Agree(registered_once),
    );

    an_add_over_a_half_made_model_keeps_what_is_there: add(
        |world| {
            world.write(world.upload("lib/old.so"), "old");
            world.service_conf("config_1", "[module]\nport=1\n");
        },
        Expected::Agree(|outcome| {
            registered_once(outcome);
            let conf = "monitor/rsync_service_data/datamining_service/mblog_yellow/config_1/service.conf";
            assert_eq!(outcome.tree.text(conf), "[module]\nport=1\n");
        }),
    );

    an_executable_registry_keeps_its_mode: add(
        |world| world.write_with_mode(REGISTRY, "#!/bin/sh\nlogFile=../log/x.log\n", 0o775),
        Expected::Agree(registered_once),
    );

    a_second_add_makes_no_second_stanza: add(
        |world| {
            let first = world.run(Tool::Add, crate::harness::Side::SCRIPT, ARGUMENTS);
            assert_eq!(first.status, 0);
        },
        Expected::Differ {
            entry: "A second add changes nothing",
            script: |outcome| assert_eq!((outcome.status, stanzas(outcome)), (0, 2)),
            binary: |outcome| {
                assert_eq!((outcome.status, stanzas(outcome)), (0, 1));
                assert!(outcome.stdout.contains("registered already"), "{}", outcome.stdout);
            },
        },
    );

    a_stanza_that_is_commented_out_is_not_doubled: add(
        |world| world.write(REGISTRY, "logFile=../log/x.log\n# mblog_yellow\n#mymodel=\"mblog_yellow\"\n#plugin=\"x\"\n"),
        Expected::Differ {
            entry: "A second add changes nothing",
            script: registered_once,
            binary: |outcome| {
                assert_eq!((outcome.status, stanzas(outcome)), (1, 0));
                assert!(outcome.stderr.contains("dispatchserver.sh:3: the stanza of mblog_yellow"), "{}", outcome.stderr);
                assert!(!outcome.tree.has("monitor/rsync_service_data/datamining_plugin/mblog_yellow"));
            },
        },
    );

    a_registry_without_a_final_newline_gets_one: add(
        |world| world.write(REGISTRY, "logFile=../log/x.log"),
        Expected::Differ {
            entry: "A registry that does not end in a newline gets one",
            script: |outcome| assert!(outcome.tree.text(REGISTRY).starts_with("logFile=../log/x.log# mblog_yellow\n")),
            binary: |outcome| assert!(outcome.tree.text(REGISTRY).starts_with("logFile=../log/x.log\n# mblog_yellow\n")),
        },
    );

    an_unknown_type_is_wrong_usage: Scenario {
        tool: Tool::Add,
        arguments: &["modle", MODEL, MODEL],
        given: |_| {},
        expected: Expected::Differ {
            entry: "Wrong usage exits with 2",
            script: |outcome| assert_eq!(outcome.status, 1),
            binary: |outcome| assert_eq!(outcome.status, 2),
        },
    };

    a_name_that_leaves_its_directory_is_refused: Scenario {
        tool: Tool::Add,
        arguments: &["model", "../outside", "x"],
        given: |_| {},
        expected: Expected::Differ {
            entry: "Names are validated",
            script: |outcome| assert!(outcome.tree.has("monitor/rsync_service_data/outside/lib")),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(!outcome.tree.has("monitor/rsync_service_data/outside"));
            },
        },
    };
}
