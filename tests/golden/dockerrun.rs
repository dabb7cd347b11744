//! dockerrun.sh and `dockerrun`: the words that reach `docker`.

use super::{Expected, Scenario, scenarios};
use crate::harness::world::MODEL;
use crate::harness::{Outcome, Tool};

fn start(arguments: &'static [&'static str], expected: Expected) -> Scenario {
    Scenario { tool: Tool::DockerRun, arguments, given: |_| {}, expected }
}

/// The contract's container: image, directories, network, variables.
fn started(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let (host, workspace) = ("/data1/service/17019", "/data1/work/datasys/framework/service/workspace");
    let words = &outcome.journal;
    assert_eq!(words[..4], ["docker", "  run", "  -d", "  --net=host"]);
    let volumes = words.iter().filter(|word| word.starts_with("  /data1/service/"));
    let expected = [
        format!("  {host}/plugin/{MODEL}:{workspace}/plugin/{MODEL}"),
        format!("  {host}/log:{workspace}/log"),
        format!("  {host}/temp:{workspace}/temp"),
        format!("  {host}/bin/etc:{workspace}/bin/etc"),
        format!("  {host}/watch/log:/watch/log"),
    ];
    assert!(volumes.eq(expected.iter()), "{words:#?}");
    for variable in [format!("  ENV_SERVICE_NAME={MODEL}"), "  ENV_SERVICE_PORT=17019".to_owned()] {
        assert!(words.contains(&variable), "{words:#?}");
    }
    let image = words.last().map(String::as_str);
    assert_eq!(image, Some("  registry.intra.weibo.com/weibo_rd_algorithmplatform/image:v1.0"));
}

scenarios! {
    the_container_of_the_contract_is_started: start(&["v1.0", "image", "17019", MODEL], Expected::Agree(started));

    names_with_every_sign_that_a_name_may_have: start(
        &["1.0-rc_2", "a.b-c__d", "1", "_m.1-x"],
        Expected::Agree(|outcome| {
            assert_eq!(outcome.journal.last().unwrap().rsplit('/').next(), Some("a.b-c__d:1.0-rc_2"));
        }),
    );

    three_arguments_are_wrong_usage: start(
        &["v1.0", "image", "17019"],
        Expected::Differ {
            entry: "Wrong usage exits with 2",
            script: |outcome| assert_eq!((outcome.status, outcome.journal.len()), (1, 0)),
            binary: |outcome| assert_eq!((outcome.status, outcome.journal.len()), (2, 0)),
        },
    );

    an_image_with_a_slash_or_a_blank_is_refused: start(
        &["v1.0", "../image v2", "17019", MODEL],
        Expected::Differ {
            entry: "Names are validated",
            script: |outcome| assert!(outcome.journal.last().unwrap().ends_with("/../image v2:v1.0")),
            binary: |outcome| {
                assert_eq!((outcome.status, outcome.journal.len()), (2, 0));
                assert!(outcome.stderr.contains("is not a name of an image"), "{}", outcome.stderr);
            },
        },
    );

    a_port_that_is_none_is_refused: start(
        &["v1.0", "image", "70000", MODEL],
        Expected::Differ {
            entry: "Names are validated",
            script: |outcome| assert!(outcome.journal.contains(&"  ENV_SERVICE_PORT=70000".to_owned())),
            binary: |outcome| assert_eq!((outcome.status, outcome.journal.len()), (2, 0)),
        },
    );

    a_port_of_another_service_is_refused: Scenario {
        tool: Tool::DockerRun,
        arguments: &["v1.0", "image", "17019", MODEL],
        given: |world| {
            world.write(
                "monitor/scripts/dispatch/conf/ports.md",
                "| port | service id |\n|---|---|\n| 17019 | fast_lr |\n",
            );
        },
        expected: Expected::Differ {
            entry: "A port that is taken is refused",
            script: started,
            binary: |outcome| {
                assert_eq!((outcome.status, outcome.journal.len()), (1, 0));
                let said = "conf/ports.md:3: port 17019 is that of \u{201c}fast_lr\u{201d}";
                assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
            },
        },
    };
}
