//! Old versions go when that is asked for, never one that is still needed (contract section 5, row 10): on the monitor and on
//! a member, through a real upgrade.

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::health::{self, BAD};

pub const NEW: &str = "20180413192258";
pub const BEFORE: &str = "20170101000000";
pub const OLD: [&str; 6] = [
    "20160101000000",
    "20160201000000",
    "20160301000000",
    "20160401000000",
    "20160501000000",
    "20160601000000",
];

/// A monitor with years of versions, a push that waits, and two members.
pub fn with_history(world: &World) {
    world.registered();
    for (n, version) in OLD.iter().chain([&BEFORE]).enumerate() {
        world.write(world.service(&format!("plugin/{version}/lib/{LIBRARY}")), "0123456789");
        world.write(world.service(&format!(".rollout/manifests/{version}")), "manifest\n");
        // The oldest by name was touched last.
        world.age(world.service(&format!("plugin/{version}/lib/{LIBRARY}")), n as u64);
    }
    for left_alone in
        ["plugin/rollback.keep/x", "plugin/.hidden/x", "plugin/2016/x", "plugin/notes-20160101000000"]
    {
        world.write(world.service(left_alone), "x");
    }
    world.write("elsewhere/x", "x");
    world.link(world.service("plugin/20150101000000"), "../../../../elsewhere");
    world.service_conf("config_1", announced(SERVICE_CONF, BEFORE));
    world.service_conf("config_2", announced(SERVICE_CONF, OLD[0]));
    world.member_list("127.0.0.11,127.0.0.12");
    ["127.0.0.11", "127.0.0.12"].iter().for_each(|member| world.reported(member, BEFORE));
    // Hosts that are no members any more.
    world.reported("127.0.0.97", OLD[0]);
    world.reported("127.0.0.99", OLD[1]);
    world.uploaded(&format!("{NEW}\n"));
}

fn dispatched(world: &World, options: &[&str]) -> Outcome {
    world.run(Tool::Dispatch, Side::BINARY, &[&[MODEL, PREFIX, LIBRARY], options].concat())
}

pub fn confirmed(world: &World) {
    for member in ["127.0.0.11", "127.0.0.12"] {
        world.reported(member, NEW);
    }
}

/// The names in a directory of the model on the monitor.
fn names(world: &World, dir: &str) -> Vec<String> {
    names_in(&world.service(dir))
}

fn names_in(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const OTHERS: [&str; 5] = [".hidden", "20150101000000", "2016", "notes-20160101000000", "rollback.keep"];

fn expected(versions: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = OTHERS.iter().chain(versions).map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

#[test]
fn old_versions_go_when_every_member_confirmed_and_only_those_that_nobody_needs() {
    need!("rsync");
    let sandbox = Sandbox::new();
    for (options, list) in [(&["--keep", "2"][..], ""), (&[], "keep=2\n"), (&["--keep=2"], "keep=1\n")] {
        let world = sandbox.world();
        with_history(&world);
        world.member_list_says(list);
        assert_eq!(dispatched(&world, options).status, 0);
        assert_eq!(names(&world, "plugin"), expected(&[&OLD[..], &[BEFORE, NEW]].concat()), "in flight");
        confirmed(&world);
        let outcome = dispatched(&world, options);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
        // OLD[0] and OLD[1]: reported; OLD[4] and OLD[5]: the newest two; BEFORE: confirmed, and
        // announced before.
        let kept = [OLD[0], OLD[1], OLD[4], OLD[5], BEFORE, NEW];
        assert_eq!(names(&world, "plugin"), expected(&kept), "{options:?}, {list}");
        assert_eq!(names(&world, ".rollout/manifests"), kept);
        let said = format!("{MODEL}: deleted 2 old versions ({} to {}), 20 bytes\n", OLD[2], OLD[3]);
        assert!(outcome.stdout.ends_with(&said), "{}", outcome.stdout);
        assert_eq!(world.read("elsewhere/x"), b"x");
        assert_eq!(dispatched(&world, options).stdout, "", "a quiet tick");
    }
}

#[test]
fn nothing_goes_unless_it_is_asked_for_nor_when_an_upgrade_is_given_up() {
    need!("rsync");
    let sandbox = Sandbox::new();
    for (options, age, status) in [(&[][..], 60, 0), (&["--keep=1"], 1260, 1)] {
        let world = sandbox.world();
        with_history(&world);
        assert_eq!(dispatched(&world, options).status, 0);
        let before = names(&world, "plugin");
        if status == 0 {
            confirmed(&world);
        }
        world.rollout_ages(age);
        let outcome = dispatched(&world, options);
        assert_eq!(outcome.status, status, "{}", shown(&outcome));
        assert!(!world.service("status").exists());
        assert_eq!(names(&world, "plugin"), before);
    }
}

/// Three bad releases in a row do not push the good ones out, and their content is known after they are gone.
#[test]
fn bad_versions_go_first_and_count_for_nothing() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_history(&world);
    let bad = ["20170201000000", "20170301000000"];
    for version in bad {
        world.write(world.service(&format!("plugin/{version}/lib/{LIBRARY}")), "0123456789");
        world.write(world.service(&format!(".rollout/manifests/{version}")), "manifest\n");
        let marked = world.run(Tool::Dispatch, Side::BINARY, &["--mark", MODEL, version, "bad"]);
        assert_eq!(marked.status, 0, "{}", shown(&marked));
    }
    world.reported("127.0.0.98", bad[1]);
    assert_eq!(dispatched(&world, &["--keep=2"]).status, 0);
    confirmed(&world);
    assert_eq!(dispatched(&world, &["--keep=2"]).status, 0);
    let kept = [OLD[0], OLD[1], OLD[4], OLD[5], BEFORE, bad[1], NEW];
    assert_eq!(names(&world, "plugin"), expected(&kept));
    let with_manifest = [&kept[..5], &bad, &kept[6..]].concat();
    assert_eq!(names(&world, ".rollout/manifests"), with_manifest, "the same content is refused by it");
}

#[test]
fn what_would_be_deleted_is_said_and_then_deleted_now() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_history(&world);
    std::fs::remove_file(world.upload("success")).unwrap();
    let prune =
        |arguments: &[&str]| world.run(Tool::Dispatch, Side::BINARY, &[&["--prune"], arguments].concat());
    let refused = prune(&[MODEL]);
    assert_eq!((refused.status, refused.stderr.lines().count()), (2, 1), "{}", shown(&refused));
    assert!(
        refused.stderr.contains("add --keep N, or keep=N to scripts/dispatch/conf"),
        "{}",
        refused.stderr
    );
    assert_eq!((prune(&[]).status, prune(&[]).stdout.as_str()), (0, ""), "nobody asks for it");
    // config_1 announces BEFORE, config_2 OLD[0]; OLD[1] is reported; OLD[5] is the newest of the
    // others.
    let before = names(&world, "plugin");
    let said = prune(&[MODEL, "--keep", "1", "--dry-run"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{}", shown(&said));
    let each = |version: &str| format!("{MODEL}: would delete {version}, 10 bytes\n");
    let all = format!("{MODEL}: would delete 3 old versions ({} to {}), 30 bytes\n", OLD[2], OLD[4]);
    assert_eq!(said.stdout, each(OLD[2]) + &each(OLD[3]) + &each(OLD[4]) + &all);
    assert_eq!(names(&world, "plugin"), before);
    assert!(!world.service(".rollout/state.json").exists(), "nothing was changed");
    // Neither what is pinned goes, nor what a person marked good before what nobody knows.
    assert_eq!(world.run(Tool::Dispatch, Side::BINARY, &["--unpin", MODEL]).status, 0);
    world.change_state(|state| {
        state["pin"] = serde_json::json!({ "version": OLD[3], "mark": { "by": "a@b", "at_s": 1 } });
    });
    let marked = world.run(Tool::Dispatch, Side::BINARY, &["--mark", MODEL, OLD[4], "good"]);
    assert_eq!(marked.status, 0, "{}", shown(&marked));
    let said = prune(&[MODEL, "--keep", "2", "--dry-run"]);
    let only = each(OLD[2]) + &format!("{MODEL}: would delete 1 old version ({}), 10 bytes\n", OLD[2]);
    assert_eq!((said.stdout, names(&world, "plugin")), (only, before.clone()));
    // While a script publishes, nobody knows what it is about.
    world.write(world.service("status"), format!("{NEW}\n"));
    let failed = prune(&[MODEL, "--keep=1"]);
    assert_eq!((failed.status, failed.stderr.lines().count()), (75, 1), "{}", shown(&failed));
    assert_eq!(names(&world, "plugin"), before);
    std::fs::remove_file(world.service("status")).unwrap();
    world.member_list_says("keep=2\n");
    let done = prune(&[]);
    assert_eq!(done.stdout, format!("{MODEL}: deleted 1 old version ({}), 10 bytes\n", OLD[2]));
    let kept = [OLD[0], OLD[1], OLD[3], OLD[4], OLD[5], BEFORE];
    assert_eq!(
        (names(&world, "plugin"), names(&world, ".rollout/manifests")),
        (expected(&kept), kept.map(str::to_owned).to_vec())
    );
    assert_eq!(prune(&[MODEL]).stdout, format!("{MODEL}: there is nothing to delete\n"));
    // Where something cannot be read, nothing is taken for what nobody needs; the others go on.
    world.write(world.service(".rollout/state.json"), "x");
    let failed = prune(&["--keep=1"]);
    assert_eq!((failed.status, failed.stderr.lines().count()), (2, 2), "{}", shown(&failed));
    assert!(failed.stderr.ends_with("dispatch: 1 model was left as it is, see above\n"), "{}", failed.stderr);
    assert_eq!(names(&world, "plugin"), expected(&kept));
}

/// The only version that works may be any of them.
#[test]
fn nothing_goes_while_no_version_was_confirmed_and_that_is_said() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_history(&world);
    std::fs::remove_dir_all(world.service("version")).unwrap();
    std::fs::remove_file(world.upload("success")).unwrap();
    let before = names(&world, "plugin");
    let prune = || world.run(Tool::Dispatch, Side::BINARY, &["--prune", MODEL, "--keep=1"]);
    let said = prune();
    assert_eq!(said.status, 0, "{}", shown(&said));
    assert!(said.stdout.contains("no old version is deleted, though 7 are there: none was ever confirmed"));
    assert!(said.stdout.contains(&format!("dispatch --mark {MODEL} VERSION good says which is")));
    assert_eq!(names(&world, "plugin"), before);
    let marked = world.run(Tool::Dispatch, Side::BINARY, &["--mark", MODEL, OLD[2], "good"]);
    assert_eq!(marked.status, 0, "{}", shown(&marked));
    // config_2 announces OLD[0].
    let pruned = prune();
    assert!(pruned.stdout.contains("deleted 4 old versions"), "{}", shown(&pruned));
    assert_eq!(names(&world, "plugin"), expected(&[OLD[0], OLD[2], BEFORE]));
}

#[test]
fn an_interrupted_deletion_is_finished_by_the_next_tick_whether_or_not_it_is_asked_for() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_history(&world);
    std::fs::remove_file(world.upload("success")).unwrap();
    world.directory(world.service("plugin/.discarded"));
    let aside = format!("plugin/.discarded/{}", OLD[0]);
    std::fs::rename(world.service(&format!("plugin/{}", OLD[0])), world.service(&aside)).unwrap();
    // Another one is there again.
    world.write(world.service(&format!("plugin/.discarded/{}/x", OLD[1])), "x");
    let outcome = dispatched(&world, &[]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{}", shown(&outcome));
    assert!(!world.service(&aside).exists());
    assert!(!world.service("plugin/.discarded").exists());
    let kept = [&OLD[1..], &[BEFORE]].concat();
    assert_eq!(names(&world, "plugin"), expected(&kept));
    assert_eq!(names(&world, ".rollout/manifests"), kept);
}

#[test]
fn a_report_that_cannot_be_read_lets_every_version_be() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_history(&world);
    assert_eq!(dispatched(&world, &["--keep=1"]).status, 0);
    confirmed(&world);
    world.directory(world.service("version/127.0.0.77"));
    let before = names(&world, "plugin");
    let outcome = dispatched(&world, &["--keep=1"]);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(outcome.stderr.contains("no old version was deleted: "), "{}", outcome.stderr);
    assert!(!world.service("status").exists(), "the upgrade has ended all the same");
    assert_eq!(names(&world, "plugin"), before);
}

#[test]
fn a_member_deletes_its_own_old_versions_but_for_those_it_could_go_back_to() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for keep in ["", "keep=2\n"] {
        let world = sandbox.world();
        world.registered();
        world.published(NEW);
        world.member("127.0.0.11");
        let env = "member-127.0.0.11/watch/env.sh";
        world.write(env, [world.read(env), keep.as_bytes().to_vec()].concat());
        let versions = format!("member-127.0.0.11/workspace/plugin/{MODEL}");
        for name in OLD.iter().chain([&BEFORE, &"by-hand", &".discarded/20150101000000"]) {
            world.write(format!("{versions}/{name}/lib/{LIBRARY}"), "0123456789");
        }
        let etc = "member-127.0.0.11/workspace/bin/etc";
        world.write(format!("{etc}/service.conf"), announced(SERVICE_CONF, BEFORE));
        let failed = serde_json::json!({ "conf": announced(SERVICE_CONF, OLD[0]) });
        let state = serde_json::json!({ "schema": 1, "failed": failed });
        world.write(format!("{etc}/.rollout/state.json"), state.to_string());
        let outcome = world.poll(Side::BINARY, "127.0.0.11");
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
        let dir = world.path(&versions);
        if keep.is_empty() {
            assert_eq!(names_in(&dir).len(), OLD.len() + 3);
            continue;
        }
        assert_eq!(names_in(&dir), [OLD[0], OLD[4], OLD[5], BEFORE, NEW, "by-hand"]);
        let said = format!("{MODEL}: deleted 3 old versions ({} to {}), 30 bytes\n", OLD[1], OLD[3]);
        assert!(outcome.stdout.ends_with(&said), "{}", outcome.stdout);
    }
}

/// Two bad releases in a row, and the good version that is kept is there still.
#[test]
fn versions_that_do_not_come_up_push_no_good_one_out_on_a_member() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = health::Member::new(&sandbox);
    let world = &member.world;
    let env = "member-127.0.0.11/watch/env.sh";
    world.write(env, [world.read(env), b"keep=1\n".to_vec()].concat());
    let start = String::from_utf8(world.read("start")).unwrap();
    let worse = "20180414000000";
    world.write("start", start.replace(&format!("grep -q {BAD}"), &format!("grep -qE '{BAD}|{worse}'")));
    let versions = world.path(format!("member-127.0.0.11/workspace/plugin/{MODEL}"));
    let [kept, before, last] = ["20180301000000", "20180302000000", "20180501000000"];
    for (version, status, there) in [
        (kept, 0, &[kept][..]),
        (before, 0, &[kept, before]),
        (BAD, 1, &[kept, before, BAD]),
        (worse, 1, &[kept, before, worse]),
        (last, 0, &[kept, before, worse, last]),
    ] {
        world.published(version);
        let outcome = member.polled(Side::BINARY);
        assert_eq!(outcome.status, status, "{version}: {}", shown(&outcome));
        assert_eq!(names_in(&versions), there, "{version}");
        let said = format!("{MODEL}: deleted 1 old version ({BAD}), ");
        assert_eq!(outcome.stdout.contains(&said), version == worse, "{}", outcome.stdout);
    }
    assert!(member.is_up());
}
