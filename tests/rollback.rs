//! `dispatch --rollback`, `--pin` and `--unpin`: over a small fleet through the real rsync daemon, some of whose members still
//! run the script.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::harness::outcome::{Tree, shown};
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::history::FILE as HISTORY;

pub const GOOD: &str = "20180101000000";
pub const BETTER: &str = "20180201000000";
pub const BAD: &str = "20180301000000";
const NEXT: &str = "20180401000000";

/// Members 1 and 2 run the binary, member 3 the script.
const MEMBERS: [(&str, Side); 3] =
    [("127.0.0.11", Side::BINARY), ("127.0.0.12", Side::BINARY), ("127.0.0.13", Side::SCRIPT)];

/// A push of a script: the library holds `content`.
pub fn pushed(world: &World, version: &str, content: &str) {
    world.uploaded(&format!("{version}\n"));
    world.write_with_mode(world.upload(&format!("lib/{LIBRARY}")), content, 0o755);
    world.age(world.upload(&format!("lib/{LIBRARY}")), 3600);
}

/// A fleet that went from GOOD to BETTER.
fn fleet(world: &World) {
    world.registered();
    world.member_list("127.0.0.11,127.0.0.12,127.0.0.13");
    for version in [GOOD, BETTER] {
        pushed(world, version, &format!("library of {version}\n"));
        ticked(world);
        MEMBERS.iter().for_each(|(address, _)| world.reported(address, version));
        assert!(ticked(world).stdout.contains(&format!("all 3 members have {version}")));
    }
    for (address, _) in MEMBERS {
        world.member(address);
        let conf = world.read(world.service("config_1/service.conf"));
        world.write(format!("member-{address}/workspace/bin/etc/service.conf"), conf);
    }
}

/// Pushes, publishes, polls and confirms.
fn released(world: &World, version: &str) {
    pushed(world, version, &format!("library of {version}\n"));
    ticked(world);
    all_poll(world);
    assert!(ticked(world).stdout.contains(&format!("all 3 members have {version}")));
}

fn all_poll(world: &World) {
    for (address, side) in MEMBERS {
        let report = world.service(&format!("version/{address}"));
        if report.exists() {
            // An old poller's next one may be of the same second and size, which rsync takes for the same file.
            world.age(&report, 60);
        }
        let outcome = world.poll(side, address);
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    }
}

pub fn dispatch(world: &World, arguments: &[&str]) -> Outcome {
    world.run(Tool::Dispatch, Side::BINARY, arguments)
}

fn tick(world: &World) -> Outcome {
    dispatch(world, &[MODEL, PREFIX, LIBRARY])
}

fn ticked(world: &World) -> Outcome {
    let outcome = tick(world);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    outcome
}

pub fn done(world: &World, arguments: &[&str]) -> String {
    let outcome = dispatch(world, arguments);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    outcome.stdout
}

/// What is refused with one line, and changes nothing but locks.
pub fn refused(world: &World, arguments: &[&str], status: i32) -> String {
    let tree = || {
        let mut tree = Tree::read(&world.root, &model_rollout::machine::clock::now());
        tree.0.retain(|path, _| !path.contains("scripts/dispatch/lock"));
        tree
    };
    let before: Tree = tree();
    let outcome = dispatch(world, arguments);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (status, 1), "{}", shown(&outcome));
    let after = tree();
    let changed = |path: &&String| before.0.get(*path) != after.0.get(*path);
    let changed: Vec<&String> = before.0.keys().chain(after.0.keys()).filter(changed).collect();
    assert!(changed.is_empty(), "{changed:?}: {}", shown(&outcome));
    outcome.stderr
}

pub fn announced(world: &World) -> String {
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    conf.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap().to_owned()
}

fn serves(world: &World) -> Vec<String> {
    let conf = |address| {
        String::from_utf8(world.read(format!("member-{address}/workspace/bin/etc/service.conf"))).unwrap()
    };
    let version =
        |conf: String| conf.lines().find_map(|line| line.strip_prefix("moduleversion=").map(str::to_owned));
    MEMBERS.iter().map(|(address, _)| version(conf(address)).unwrap()).collect()
}

#[test]
fn a_bad_release_is_taken_back_on_new_and_old_pollers_and_never_comes_again() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    // It reaches a member with each kind of poller, and is not confirmed yet.
    pushed(&world, BAD, "broken\n");
    ticked(&world);
    for (address, side) in [MEMBERS[0], MEMBERS[2]] {
        assert_eq!(world.poll(side, address).status, 0);
    }
    assert_eq!(serves(&world), [BAD, BETTER, BAD]);
    let _ = std::fs::remove_file(world.path("journal"));

    let said = done(&world, &["--rollback", MODEL, "--why", "it answers nothing"]);
    assert!(
        said.starts_with(&format!("{MODEL}: rolled back to {BETTER}; {BAD} is marked bad by ")),
        "{said}"
    );
    assert_eq!(announced(&world), BETTER);
    assert!(!world.upload("success").exists(), "its push is done with");
    assert!(world.service("status").exists(), "the next ticks follow it");
    ticked(&world);
    all_poll(&world);
    assert_eq!(serves(&world), [BETTER; 3]);
    let restarted: Vec<String> =
        world.journal_lines().into_iter().filter(|line| line.starts_with("start")).collect();
    assert_eq!(restarted, ["start 127.0.0.11", "start 127.0.0.13"], "the other one had it all the time");
    let ended = ticked(&world);
    assert!(ended.stdout.contains(&format!("all 3 members have {BETTER}")), "{}", shown(&ended));
    assert!(!world.service("status").exists());
    assert_eq!((world.worth(BETTER).as_str(), world.worth(BAD).as_str()), ("confirmed", "bad"));
    assert_eq!(ticked(&world).stdout, "", "a quiet tick");

    // The same bytes again, by a script and under another name.
    pushed(&world, NEXT, "broken\n");
    for _ in 0..2 {
        let outcome = tick(&world);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
        let same = format!("{NEXT} holds the same lib/ and data/ as {BAD}, which was marked bad by ");
        assert!(
            outcome.stderr.contains(&same) && outcome.stderr.contains("it answers nothing"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(&format!("dispatch --force {MODEL} {PREFIX} {LIBRARY}")));
    }
    assert!(world.upload("success").exists() && !world.service(&format!("plugin/{NEXT}")).exists());
    assert_eq!(announced(&world), BETTER);
    // Another mode may be the remedy, and other bytes of the same size are another release.
    world.write(world.upload(&format!("lib/{LIBRARY}")), "better\n");
    world.age(world.upload(&format!("lib/{LIBRARY}")), 3600);
    ticked(&world);
    assert_eq!(announced(&world), NEXT);
}

#[test]
fn forced_the_same_content_is_published_and_the_bad_version_itself_is_good_again() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    for (version, is_good_again) in [(NEXT, false), (BAD, true)] {
        let world = sandbox.world();
        fleet(&world);
        released(&world, BAD);
        done(&world, &["--rollback", MODEL]);
        all_poll(&world);
        ticked(&world);
        pushed(&world, version, &format!("library of {BAD}\n"));
        assert_eq!(tick(&world).status, 1);
        done(&world, &["--force", MODEL, PREFIX, LIBRARY]);
        assert_eq!(announced(&world), version);
        assert_eq!(world.worth(BAD) == "rolling-out", is_good_again, "{}", world.worth(BAD));
        all_poll(&world);
        assert!(ticked(&world).stdout.contains(&format!("all 3 members have {version}")));
        assert_eq!(world.worth(version), "confirmed");
        assert_eq!(world.worth(BAD) == "bad", !is_good_again);
    }
}

#[test]
fn a_second_rollback_never_lands_on_the_first_bad_one() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    released(&world, BAD);
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), BETTER);
    // Published over it, and bad, too: not back to BAD, which is the newest before it.
    all_poll(&world);
    ticked(&world);
    released(&world, NEXT);
    done(&world, &["--rollback", MODEL]);
    assert_eq!(announced(&world), BETTER);
    // At once again, while members are on their way: an operator who means that says where to.
    let said = refused(&world, &["--rollback", MODEL], 1);
    let further = format!(
        "the rollback to {BETTER} is not confirmed by its members yet; see dispatch --status {MODEL}; to go further: \
         dispatch --rollback {MODEL} --to {GOOD}"
    );
    assert!(said.contains(&further), "{said}");
    assert_eq!((announced(&world).as_str(), world.worth(BETTER).as_str()), (BETTER, "confirmed"));
    done(&world, &["--rollback", MODEL, "--to", GOOD]);
    assert_eq!(announced(&world), GOOD);
    all_poll(&world);
    assert_eq!(serves(&world), [GOOD; 3]);
    ticked(&world);
    let said = refused(&world, &["--rollback", MODEL], 1);
    assert!(said.contains(&format!("nothing to go back to: {GOOD} is announced")), "{said}");
    let others = format!("there are {NEXT} (bad), {BAD} (bad), {BETTER} (bad)");
    assert!(said.contains("--to VERSION --force; ") && said.contains(&others), "{said}");
    let said = refused(&world, &["--rollback", MODEL, "--to", BETTER], 1);
    assert!(said.contains(&format!("{BETTER} was marked bad by ")) && said.contains("--force"), "{said}");
    done(&world, &["--rollback", MODEL, "--to", BETTER, "--force"]);
    assert_eq!(announced(&world), BETTER);
    assert_eq!(world.worth(BETTER), "rolling-out");
    assert_eq!(world.worth(GOOD), "confirmed", "who goes on says nothing of what he left");
}

#[test]
fn a_version_that_is_not_what_was_published_is_left_out() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    released(&world, BAD);
    world.write(world.service(&format!("plugin/{BETTER}/data/feature.conf")), "edited by hand\n");
    let said = refused(&world, &["--rollback", MODEL, "--to", BETTER], 1);
    assert!(said.contains("not what its manifest says: data/feature.conf has other bytes"), "{said}");
    let said = done(&world, &["--rollback", MODEL]);
    assert!(said.contains(&format!("left out {BETTER}: it is not what its manifest says")), "{said}");
    assert_eq!(announced(&world), GOOD);
}

#[test]
fn members_that_wait_for_their_batch_stay_and_the_others_go_back_at_once() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    world.member_list_says("batches=1,100%\n");
    pushed(&world, BAD, "broken\n");
    ticked(&world);
    all_poll(&world);
    assert_eq!(serves(&world), [BAD, BETTER, BAD], "the script knows no batches");
    assert_eq!(world.admitted(), Some(vec![MEMBERS[0].0.to_owned()]));
    done(&world, &["--rollback", MODEL]);
    assert_eq!(world.admitted(), None);
    all_poll(&world);
    assert_eq!(serves(&world), [BETTER; 3]);
    assert!(ticked(&world).stdout.contains(&format!("all 3 members have {BETTER}")));
}

#[test]
fn a_script_beside_it_ends_it_and_does_not_undo_it() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    // The script's own upgrade, of which the state knows nothing.
    pushed(&world, BAD, "broken\n");
    let script = |world: &World| {
        let outcome = world.run(Tool::Dispatch, Side::SCRIPT, &[MODEL, PREFIX, LIBRARY]);
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    };
    script(&world);
    assert_eq!(announced(&world), BAD);
    all_poll(&world);
    done(&world, &["--rollback", MODEL]);
    assert_eq!((world.worth(BAD).as_str(), world.worth(BETTER).as_str()), ("bad", "confirmed"));
    script(&world);
    assert_eq!(announced(&world), BETTER);
    all_poll(&world);
    script(&world);
    assert_eq!((serves(&world), announced(&world).as_str()), (vec![BETTER.to_owned(); 3], BETTER));
    assert!(!world.service("status").exists());
    ticked(&world);
    // It had no manifest; the rollback wrote one, so its content is known.
    pushed(&world, NEXT, "broken\n");
    assert!(tick(&world).stderr.contains(&format!("as {BAD}, which was marked bad")));
}

#[test]
fn a_pin_blocks_pushes_until_it_is_taken_away() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    // In flight: the pin ends it, and an operator who pins another has left it.
    pushed(&world, BAD, "perhaps\n");
    ticked(&world);
    done(&world, &["--pin", GOOD, MODEL, "--why", "the fair"]);
    assert_eq!(announced(&world), GOOD);
    assert_eq!((world.worth(BAD).as_str(), world.worth(BETTER).as_str()), ("left", "confirmed"));
    assert!(!world.upload("success").exists(), "it is not announced again by itself");
    all_poll(&world);
    assert!(ticked(&world).stdout.contains(&format!("all 3 members have {GOOD}")));
    pushed(&world, NEXT, "library of the next\n");
    for _ in 0..2 {
        let said = ticked(&world).stdout;
        let waits = format!("{MODEL}: {NEXT} waits: {GOOD} was pinned by ");
        assert!(said.starts_with(&waits) && said.contains("the fair"), "{said}");
    }
    assert!(world.upload("success").exists() && !world.service(&format!("plugin/{NEXT}")).exists());
    let said = refused(&world, &["--rollback", MODEL], 1);
    assert!(said.contains(&format!("{GOOD} was pinned by ")) && said.contains("--unpin"), "{said}");
    done(&world, &["--unpin", MODEL]);
    ticked(&world);
    all_poll(&world);
    assert!(ticked(&world).stdout.contains(&format!("all 3 members have {NEXT}")));
    assert_eq!(done(&world, &["--unpin", MODEL]), format!("{MODEL} is not pinned\n"));
    assert_eq!(world.worth(BAD), "left");
    // What is announced already only stays.
    done(&world, &["--pin", NEXT, MODEL]);
    assert!(!world.service("status").exists());
    assert_eq!(world.state()["pin"]["version"], NEXT);
    assert_eq!(world.worth(NEXT), "confirmed");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_and_changes_nothing() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.published(GOOD);
    // A command takes note of what is announced.
    done(&world, &["--unpin", MODEL]);
    for (arguments, status, complaint) in [
        (&["--rollback", MODEL][..], 1, "there is nothing to go back to: 20180101000000 is announced"),
        (
            &["--rollback", MODEL, "--to", BAD],
            1,
            "there is no version 20180301000000 in plugin/; the newest are",
        ),
        (&["--pin", BAD, MODEL], 1, "there is no version 20180301000000"),
        (&["--rollback", "nobody"], 1, "nobody is no model of this monitor"),
        (&["--unpin", "nobody"], 1, "nobody is no model of this monitor"),
        (&["--rollback", MODEL, "--to", "../x"], 2, "is not the name of a version"),
        (&["--rollback", MODEL, PREFIX, LIBRARY], 2, "cannot be used with"),
    ] {
        let said = refused(&world, arguments, status);
        assert!(said.starts_with("dispatch: ") && said.contains(complaint), "{said}");
    }
    world.write(world.service(&format!("plugin/{BETTER}/lib/other.so")), "x");
    let said = refused(&world, &["--rollback", MODEL, "--to", BETTER], 1);
    assert!(
        said.contains(&format!("{BETTER} was never confirmed (not published by this monitor)")),
        "{said}"
    );
    let said = refused(&world, &["--rollback", MODEL, "--to", BETTER, "--force"], 1);
    assert!(said.contains(&format!("{BETTER}: it has no lib/{LIBRARY}")), "{said}");
    // A state that is not one.
    let state = world.service(".rollout/state.json");
    let known = world.read(&state);
    let of_another = String::from_utf8(known.clone()).unwrap().replace(MODEL, "other");
    for damaged in [&b""[..], b"{", &known[..known.len() / 2], of_another.as_bytes()] {
        world.write(&state, damaged);
        let said = refused(&world, &["--rollback", MODEL], 2);
        assert!(said.contains("state.json") && said.contains(&format!("--rebuild {MODEL}")), "{said}");
    }
    std::fs::remove_file(&state).unwrap();
    let said = refused(&world, &["--rollback", MODEL], 2);
    assert!(said.contains("state.json is gone") && said.contains(&format!("--rebuild {MODEL}")), "{said}");
    world.write(&state, &known);
    // A script copies, right now.
    world.write(world.service("status"), format!("{NEXT}\n"));
    let said = refused(&world, &["--rollback", MODEL], 75);
    assert!(said.contains("a script is publishing a version; try again in a minute"), "{said}");
    std::fs::remove_file(world.service("status")).unwrap();
    // A tick that copies turns nobody away; a run that changes the state does, for an instant.
    let tick = std::fs::File::create(world.tick_lock()).unwrap();
    fs2::FileExt::lock_exclusive(&tick).unwrap();
    let said = refused(&world, &["--rollback", MODEL, "--wait", "0"], 1);
    assert!(said.contains("there is nothing to go back to"), "{said}");
    let lock = std::fs::File::create(world.state_lock()).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let said = refused(&world, &["--rollback", MODEL, "--wait", "0"], 75);
    assert!(said.contains(&format!("{MODEL}.state is held by")), "{said}");
}

/// As a run leaves it that died behind its state, behind the announcement, behind `status`, or
/// behind one of two service.conf.
#[test]
fn a_rollback_whose_run_died_is_finished_by_the_next_tick_or_command_once() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let commands: [(&[&str], i32, &str); 3] = [
        (&[MODEL, PREFIX, LIBRARY], 0, "0 of 3 members have"),
        (&["--rollback", MODEL], 1, "is not confirmed by its members yet"),
        (&["--rollback", MODEL, "--to", BETTER], 0, "is announced already"),
    ];
    for (died_behind, (command, exit, says)) in
        (0..4).flat_map(|died| commands.map(|command| (died, command)))
    {
        let world = sandbox.world();
        fleet(&world);
        world.service_conf("config_2", world.read(world.service("config_1/service.conf")));
        pushed(&world, BAD, "broken\n");
        ticked(&world);
        all_poll(&world);
        let files = ["config_2/service.conf", "config_1/service.conf", ".rollout/announcement", "status"];
        let before = files.map(|path| world.read(world.service(path)));
        let success = world.read(world.upload("success"));
        done(&world, &["--rollback", MODEL, "--why", "w"]);
        for (path, content) in files.iter().zip(&before).take(4 - died_behind) {
            world.write(world.service(path), content);
        }
        let history = world.read(HISTORY);
        let told = String::from_utf8(history.clone()).unwrap();
        let untold: Vec<Value> = told.lines().rev().take(2).map(untold).collect();
        world.change_state(|state| {
            state["settled"] = false.into();
            state["untold"] = untold.into();
            state["marked"] = BAD.into();
        });
        assert_eq!(success, format!("{BAD}\n").into_bytes());
        world.write(world.upload("success"), success);
        world.change_state(|state| state["push"]["identity"] = identity(&world.upload("success")).into());

        let outcome = dispatch(&world, command);
        assert_eq!(outcome.status, exit, "{}", shown(&outcome));
        assert!((outcome.stdout.clone() + &outcome.stderr).contains(says), "{}", shown(&outcome));
        assert_eq!(announced(&world), BETTER);
        assert_eq!(world.read(world.service(files[0])), world.read(world.service(files[1])));
        assert_eq!(world.read(world.service("status")), format!("{BETTER}\n").into_bytes());
        assert!(!world.upload("success").exists(), "its push is done with");
        assert_eq!((world.worth(BAD).as_str(), world.worth(BETTER).as_str()), ("bad", "confirmed"), "once");
        assert_eq!(world.read(HISTORY), history, "told once");
        all_poll(&world);
        ticked(&world);
        assert!(!world.service("status").exists());
        assert_eq!(serves(&world), [BETTER; 3]);
    }
}

/// A line of the history, as the state keeps it until it is written.
fn untold(line: &str) -> Value {
    let told: Value = serde_json::from_str(line).unwrap();
    let [id, event, version] = ["id", "event", "version"].map(|key| told[key].clone());
    serde_json::json!({ "id": id, "at_s": 1, "by": "a@b", "event": event, "version": version })
}

/// Device, inode, modification time and size, as the state tells one `success` from another.
fn identity(path: &Path) -> String {
    let facts = std::fs::metadata(path).unwrap();
    let modified_ns = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
    format!("{}-{}-{modified_ns}-{}", facts.dev(), facts.ino(), facts.len())
}

#[test]
fn an_upgrade_that_takes_too_long_is_rolled_back_where_the_list_says_so() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    world.member_list_says("on_timeout=rollback\n");
    pushed(&world, BAD, "library of a bad release\n");
    ticked(&world);
    assert_eq!(announced(&world), BAD);
    let [failed, late, other] = MEMBERS.map(|(address, _)| address);
    world.failed(failed, BAD, "rolled-back");
    world.rollout_ages(1260);
    let outcome = tick(&world);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    let why = format!(
        "rolled back: it timed out, late: {late} (serves {BETTER}), {other} (serves {BETTER}) (2 of 3); 1 failed: {failed} \
         (rolled back"
    );
    assert!(outcome.stderr.contains(&why), "{}", outcome.stderr);
    assert_eq!(announced(&world), BETTER);
    assert_eq!((world.worth(BAD).as_str(), world.worth(BETTER).as_str()), ("bad", "confirmed"));
    all_poll(&world);
    assert!(ticked(&world).stdout.contains(&format!("all 3 members have {BETTER}")));
    // Its content does not come again.
    pushed(&world, NEXT, "library of a bad release\n");
    assert!(tick(&world).stderr.contains(BAD));
    assert_eq!(announced(&world), BETTER);
}

/// Members that poll late say nothing about the version.
#[test]
fn an_upgrade_in_which_nobody_failed_is_stopped_by_its_time_and_nothing_is_marked() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world);
    world.member_list_says("on_timeout=rollback\n");
    pushed(&world, BAD, "library of a slow release\n");
    ticked(&world);
    world.rollout_ages(1260);
    let outcome = tick(&world);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    let says = format!("gave up waiting for {BAD} after 20 minutes, late: {} (serves", MEMBERS[0].0);
    assert!(outcome.stderr.contains(&says), "{}", outcome.stderr);
    assert_eq!(announced(&world), BAD);
    assert_eq!((world.worth(BAD).as_str(), world.phase().as_str()), ("timed-out", "timed-out"));
    assert_eq!(ticked(&world).stdout, "", "it has ended");
}
