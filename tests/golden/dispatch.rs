//! dispatch.sh and `dispatch APPNAME PREFIXPATH SONAME`.

use super::{Expected, Scenario, scenarios};
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Tool, World};

const V: &str = "20180413192258";
const SERVICE: &str = "monitor/rsync_service_data/datamining_service/mblog_yellow";
const UPLOAD: &str = "monitor/rsync_service_data/datamining_plugin/mblog_yellow";

fn dispatch(given: fn(&World), expected: Expected) -> Scenario {
    Scenario { tool: Tool::Dispatch, arguments: &[MODEL, PREFIX, LIBRARY], given, expected }
}

/// A push waits for its first dispatch; two members are known.
fn pushed(world: &World) {
    world.registered();
    world.uploaded(&format!("{V}\n"));
    world.member_list("127.0.0.11,127.0.0.12");
}

/// The push was published and announced; its upgrade is in flight since a minute.
fn in_flight(world: &World) {
    pushed(world);
    world.upload_is_published(V);
    world.write(world.service("status"), format!("{V}\n"));
    world.age(world.service("status"), 60);
}

fn published(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(outcome.tree.text(&format!("{SERVICE}/plugin/{V}/lib/{LIBRARY}")), "library 2\n");
    assert_eq!(outcome.tree.text(&format!("{SERVICE}/status")), format!("{V}\n"));
    assert!(outcome.tree.has(&format!("{UPLOAD}/success")), "it goes when the members confirmed");
    let conf = outcome.tree.text(&format!("{SERVICE}/config_1/service.conf"));
    assert!(conf.contains(&format!("{PREFIX}/{V}/lib/{LIBRARY}")), "{conf}");
}

fn ended(outcome: &Outcome) {
    assert!(!outcome.tree.has(&format!("{SERVICE}/status")));
    assert!(!outcome.tree.has(&format!("{UPLOAD}/success")));
}

fn still_in_flight(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.tree.has(&format!("{SERVICE}/status")));
    assert!(outcome.tree.has(&format!("{UPLOAD}/success")));
}

/// Publishes with a service.conf of this content.
macro_rules! with_conf {
    ($content:expr) => {
        dispatch(
            |world| {
                pushed(world);
                world.service_conf("config_1", $content);
            },
            Expected::Agree(published),
        )
    };
}

scenarios! {
    a_push_is_published: dispatch(pushed, Expected::Agree(published));

    a_success_without_a_newline_is_read: dispatch(
        |world| { pushed(world); world.write(world.upload("success"), V); },
        Expected::Agree(published),
    );

    a_success_with_more_behind_the_version_is_read: dispatch(
        |world| { pushed(world); world.write(world.upload("success"), format!("{V} by yuxiang8\nmore\n")); },
        Expected::Agree(published),
    );

    a_success_with_a_suffix_is_read: dispatch(
        |world| { pushed(world); world.write(world.upload("success"), "20180413.rc1\n"); },
        Expected::Agree(|outcome| assert!(outcome.tree.has(&format!("{SERVICE}/plugin/20180413.rc1")))),
    );

    a_success_that_holds_a_name_is_published_as_local_time: dispatch(
        |world| { pushed(world); world.write(world.upload("success"), "mblog_yellow\n"); },
        Expected::Agree(|outcome| assert!(outcome.tree.has(&format!("{SERVICE}/plugin/<VERSION>/lib/{LIBRARY}")))),
    );

    an_empty_success_is_published_as_local_time: dispatch(
        |world| { pushed(world); world.write(world.upload("success"), ""); },
        Expected::Agree(|outcome| assert!(outcome.tree.has(&format!("{SERVICE}/plugin/<VERSION>")))),
    );

    nothing_pushed_nothing_done: dispatch(
        |world| { world.registered(); world.member_list("127.0.0.11"); },
        Expected::Agree(|outcome| {
            assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "", ""));
        }),
    );

    tabs_and_remarks_stay: with_conf!(
        "[module]\n\tmodulepath=/old/m.so\t\t# the library\nmoduleconfig=/old/data # modulepath=/x\nmoduleversion=1\n"
    );

    utf8_remarks_stay: with_conf!(SERVICE_CONF.replace("type=so", "type=so # 模块的类型，不要改\u{3000}modulepath=/旧/路径"));

    gbk_remarks_stay: with_conf!(
        [SERVICE_CONF.as_bytes(), b"# \xC4\xA3\xBF\xE9 modulepath=/\xC4\xA3\xBF\xE9/x.so\xA1\xA1y\n"].concat()
    );

    windows_line_ends_stay: with_conf!(SERVICE_CONF.replace('\n', "\r\n"));

    a_missing_final_newline_stays_missing: with_conf!(
        "[module]\nmodulepath=/old/m.so\nmoduleconfig=/old/data\nmoduleversion=1"
    );

    a_key_in_a_remark_and_in_a_longer_key_changes_too: with_conf!(format!(
        "{SERVICE_CONF}# modulepath=/was/this.so once\nold_modulepath=/a moduleversion=2\nmodulepathx=/b\n"
    ));

    empty_values_are_filled: with_conf!("[module]\nmodulepath=\nmoduleconfig= # none yet\nmoduleversion=\n");

    a_key_that_stands_twice_changes_twice: with_conf!(format!("{SERVICE_CONF}modulepath=/second.so\n"));

    every_instance_is_edited: dispatch(
        |world| {
            pushed(world);
            world.service_conf("config_2", SERVICE_CONF.replace("17019", "17020"));
            world.service_conf("config_10", "[module]\nmodulepath=a\nmoduleconfig=b\nmoduleversion=c\n");
            world.service_conf("other_1", SERVICE_CONF);
        },
        Expected::Agree(|outcome| {
            published(outcome);
            assert!(outcome.tree.text(&format!("{SERVICE}/config_2/service.conf")).contains(V));
            assert!(!outcome.tree.text(&format!("{SERVICE}/other_1/service.conf")).contains(V));
        }),
    );

    service_conf_keeps_its_mode: dispatch(
        |world| {
            pushed(world);
            world.write_with_mode(world.service("config_1/service.conf"), SERVICE_CONF, 0o664);
        },
        Expected::Agree(published),
    );

    a_service_conf_that_is_a_link_becomes_a_file: dispatch(
        |world| {
            pushed(world);
            world.write_with_mode(world.service("shared.conf"), SERVICE_CONF, 0o640);
            std::fs::remove_file(world.service("config_1/service.conf")).unwrap();
            world.link(world.service("config_1/service.conf"), "../shared.conf");
        },
        Expected::Agree(|outcome| {
            published(outcome);
            assert_eq!(outcome.tree.text(&format!("{SERVICE}/shared.conf")), SERVICE_CONF);
        }),
    );

    the_upload_is_copied_as_cp_copies_it: dispatch(
        |world| {
            pushed(world);
            world.write_with_mode(world.upload("data/secret"), "s", 0o600);
            world.write_with_mode(world.upload("data/read_only/x"), "x", 0o444);
            world.write_with_mode(world.upload("lib/set_id"), "x", 0o4755);
            world.write(world.upload("data/.nested_dot/x"), "goes along");
            world.write(world.upload(".top_dot"), "stays behind");
            world.write(world.upload("extra/file"), "goes along");
            world.directory(world.upload("data/empty"));
            world.link(world.upload("lib/latest.so"), LIBRARY);
            world.write(world.upload("success"), format!("{V}\n"));
        },
        Expected::Agree(|outcome| {
            published(outcome);
            let version = format!("{SERVICE}/plugin/{V}");
            assert!(outcome.tree.has(&format!("{version}/data/.nested_dot/x")));
            assert!(outcome.tree.has(&format!("{version}/success")));
            assert!(!outcome.tree.has(&format!("{version}/.top_dot")));
        }),
    );

    an_upgrade_in_flight_is_left_alone: dispatch(in_flight, Expected::Agree(still_in_flight));

    it_waits_for_the_last_member: dispatch(
        |world| { in_flight(world); world.reported("127.0.0.11", V); },
        Expected::Agree(still_in_flight),
    );

    a_member_with_another_version_is_waited_for: dispatch(
        |world| {
            in_flight(world);
            world.reported("127.0.0.11", V);
            world.reported("127.0.0.12", "20170101000000");
        },
        Expected::Agree(still_in_flight),
    );

    it_ends_when_every_member_confirmed: dispatch(
        |world| {
            in_flight(world);
            world.reported("127.0.0.11", V);
            world.reported("127.0.0.12", V);
        },
        Expected::Agree(|outcome| { assert_eq!(outcome.status, 0); ended(outcome); }),
    );

    members_may_be_separated_by_blanks_and_newlines: dispatch(
        |world| {
            in_flight(world);
            world.member_list("127.0.0.11,\n 127.0.0.12\t127.0.0.13\n");
            for member in ["127.0.0.11", "127.0.0.12", "127.0.0.13"] {
                world.reported(member, V);
            }
        },
        Expected::Agree(ended),
    );

    a_push_that_every_member_has_already_ends_in_one_tick: dispatch(
        |world| {
            pushed(world);
            world.reported("127.0.0.11", V);
            world.reported("127.0.0.12", V);
        },
        Expected::Agree(|outcome| {
            assert_eq!(outcome.status, 0);
            ended(outcome);
            assert!(outcome.tree.has(&format!("{SERVICE}/plugin/{V}/success")));
        }),
    );

    without_a_member_list_it_stays_in_flight: dispatch(
        |world| {
            in_flight(world);
            std::fs::remove_dir_all(world.path("monitor/scripts/dispatch/conf")).unwrap();
        },
        Expected::Agree(still_in_flight),
    );

    it_waits_for_twenty_minutes: dispatch(
        |world| { in_flight(world); world.age(world.service("status"), 1190); },
        Expected::Agree(still_in_flight),
    );

    twenty_minutes_over_it_is_given_up_and_said: dispatch(
        |world| { in_flight(world); world.age(world.service("status"), 1210); },
        Expected::Differ {
            entry: "Giving up is reported",
            script: |outcome| {
                ended(outcome);
                assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
            },
            binary: |outcome| {
                ended(outcome);
                assert_eq!(outcome.status, 1);
                assert!(outcome.stderr.contains("late: 127.0.0.11 (no answer), 127.0.0.12 (no answer) (2 of 2)"), "{}", outcome.stderr);
            },
        },
    );

    key_value_between_blanks_is_edited: dispatch(
        |world| {
            pushed(world);
            let spaced = SERVICE_CONF.replace("modulepath=", "modulepath = ").replace("moduleconfig=", "moduleconfig\t=\t");
            world.service_conf("config_1", spaced);
        },
        Expected::Differ {
            entry: "key = value is edited and read",
            script: |outcome| {
                let conf = outcome.tree.text(&format!("{SERVICE}/config_1/service.conf"));
                assert!(conf.contains("modulepath = /old/20170101000000/lib"), "{conf}");
            },
            binary: |outcome| {
                published(outcome);
                let conf = outcome.tree.text(&format!("{SERVICE}/config_1/service.conf"));
                assert!(conf.contains(&format!("modulepath = {PREFIX}/{V}/lib/{LIBRARY}\n")), "{conf}");
                assert!(conf.contains(&format!("moduleconfig\t=\t{PREFIX}/{V}/data\n")), "{conf}");
            },
        },
    );

    a_service_conf_without_a_key_is_an_error: dispatch(
        |world| { pushed(world); world.service_conf("config_1", "[module]\nmoduleversion=1\nmoduleconfig=/x\n# modulepath=/x\n"); },
        Expected::Differ {
            entry: "A service.conf that cannot be edited is an error",
            script: |outcome| assert_eq!(outcome.status, 0),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("there is no line modulepath="), "{}", outcome.stderr);
                assert!(!outcome.tree.has(&format!("{SERVICE}/status")));
                assert!(!outcome.tree.has(&format!("{SERVICE}/plugin/{V}")));
            },
        },
    );

    a_version_that_is_published_already_does_not_change: dispatch(
        |world| { pushed(world); world.published(V); },
        Expected::Differ {
            entry: "A published version never changes",
            script: |outcome| {
                let version = format!("{SERVICE}/plugin/{V}");
                assert_eq!(outcome.tree.text(&format!("{version}/lib/{LIBRARY}")), "library 2\n");
                assert!(outcome.tree.has(&format!("{version}/data/.hidden/x")), "half old, half new");
            },
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(outcome.stderr.contains("published already with other content"), "{}", outcome.stderr);
                assert_eq!(outcome.tree.text(&format!("{SERVICE}/plugin/{V}/lib/{LIBRARY}")), "library 1\n");
            },
        },
    );

    an_upload_without_the_library_is_not_published: dispatch(
        |world| { pushed(world); std::fs::remove_file(world.upload(&format!("lib/{LIBRARY}"))).unwrap(); },
        Expected::Differ {
            entry: "No version without its library",
            script: |outcome| assert!(outcome.tree.has(&format!("{SERVICE}/plugin/{V}/data"))),
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(!outcome.tree.has(&format!("{SERVICE}/plugin/{V}")));
                assert!(!outcome.tree.has(&format!("{SERVICE}/status")));
            },
        },
    );

    a_link_that_leaves_the_upload_is_not_published: dispatch(
        |world| { pushed(world); world.link(world.upload("data/passwd"), "/etc/passwd"); },
        Expected::Differ {
            entry: "Devices, fifos and links that leave the upload are refused",
            script: |outcome| assert!(outcome.tree.has(&format!("{SERVICE}/plugin/{V}/data/passwd"))),
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(outcome.stderr.contains("data/passwd"), "{}", outcome.stderr);
                assert!(!outcome.tree.has(&format!("{SERVICE}/plugin/{V}")));
            },
        },
    );

    a_push_that_arrived_during_the_upgrade_is_not_lost: dispatch(
        |world| {
            in_flight(world);
            world.uploaded("20180501000000\n");
            world.reported("127.0.0.11", V);
            world.reported("127.0.0.12", V);
        },
        Expected::Differ {
            entry: "A push that arrives during an upgrade is kept",
            script: ended,
            binary: |outcome| {
                assert_eq!(outcome.status, 0, "{}", outcome.stderr);
                assert!(!outcome.tree.has(&format!("{SERVICE}/status")));
                assert_eq!(outcome.tree.text(&format!("{UPLOAD}/success")), "20180501000000\n");
            },
        },
    );

    an_upgrade_whose_script_died_before_service_conf_is_resumed: dispatch(
        |world| {
            pushed(world);
            world.write(world.service("status"), format!("{V}\n"));
            world.age(world.service("status"), 300);
        },
        Expected::Differ {
            entry: "An upgrade that died is resumed",
            script: |outcome| assert!(!outcome.tree.has(&format!("{SERVICE}/plugin/{V}"))),
            binary: published,
        },
    );

    a_monitor_tree_that_is_not_mounted_is_an_error: dispatch(
        |world| std::fs::remove_dir_all(world.path("monitor/rsync_service_data")).unwrap(),
        Expected::Differ {
            entry: "A tree that is not there is an error",
            script: |outcome| assert_eq!(outcome.status, 0),
            binary: |outcome| {
                assert_eq!(outcome.status, 1);
                assert!(outcome.stderr.contains("mount it"), "{}", outcome.stderr);
            },
        },
    );

    a_name_with_a_slash_is_refused: Scenario {
        tool: Tool::Dispatch,
        arguments: &["../datamining_plugin/mblog_yellow", PREFIX, LIBRARY],
        given: pushed,
        expected: Expected::Differ {
            entry: "Names are validated",
            script: |outcome| assert_eq!(outcome.status, 0),
            binary: |outcome| {
                assert_eq!(outcome.status, 2);
                assert!(outcome.stderr.contains("is not a model name"), "{}", outcome.stderr);
            },
        },
    };

    a_library_name_with_a_special_sign_of_sed_is_refused: Scenario {
        tool: Tool::Dispatch,
        arguments: &[MODEL, PREFIX, "a&b.so"],
        given: pushed,
        expected: Expected::Differ {
            entry: "Names are validated",
            // The & stands for what was matched.
            script: |outcome| {
                let conf = outcome.tree.text(&format!("{SERVICE}/config_1/service.conf"));
                assert!(conf.contains("lib/amodulepath=/old"), "{conf}");
            },
            binary: |outcome| assert_eq!(outcome.status, 2),
        },
    };

    the_samples_of_the_real_system_are_edited_alike: dispatch(
        |world| {
            pushed(world);
            for (instance, sample) in (2..).zip(samples()) {
                world.service_conf(&format!("config_{instance}"), sample);
            }
            world.service_conf("config_9", announced(SERVICE_CONF, "demo_version"));
        },
        Expected::Agree(published),
    );
}

/// The real service.conf files beside a development checkout, where they are written `key=value`; read in place, since
/// they are not ours to copy. A clone elsewhere has none of them.
fn samples() -> Vec<Vec<u8>> {
    let dir = crate::harness::parts::project().join("../shared/samples");
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    let contents = paths.into_iter().map(|path| std::fs::read(path).unwrap());
    contents.filter(|content| content.windows(11).any(|window| window == b"modulepath=")).collect()
}
