//! A member whose service restarts in turns: it answers at one look, and is dead at the next. Real services, which are asked, and
//! real pollers; the first member is the first batch, and flaps.

use serde_json::Value;

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side};
use crate::status::{Fleet, OLD, V};

const MEMBERS: [&str; 3] = ["127.0.0.41", "127.0.0.42", "127.0.0.43"];
const FLAPPING: &str = MEMBERS[0];

/// Three members, the first of which was admitted and has taken the version up. Nobody has to
/// answer sooner than a busy machine lets it.
fn begun<'a>(sandbox: &'a Sandbox, settings: &str) -> Fleet<'a> {
    let settings = format!("probe_timeout=20\nbatches=1,100%\n{settings}");
    let fleet = Fleet::of(sandbox, MEMBERS.to_vec(), &settings);
    assert!(ticked(&fleet).contains(&format!("1 of 3 members may take {V} now")));
    fleet.poll(Side::BINARY, FLAPPING, 0);
    fleet
}

/// A tick that has nothing to complain about; what it said.
fn ticked(fleet: &Fleet) -> String {
    let outcome = fleet.dispatch(&[MODEL, PREFIX, LIBRARY]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
    outcome.stdout
}

/// The status: what is said of the flapping member, while the others wait and serve what they served.
fn check_status(fleet: &Fleet, verdict: &str, version: &str, current: u64) {
    let (verdicts, document) = fleet.verdicts();
    let others = MEMBERS[1..].iter().map(|member| (*member, "waiting", OLD));
    for (member, verdict, version) in [(FLAPPING, verdict, version)].into_iter().chain(others) {
        assert_eq!(verdicts[member], (verdict.to_owned(), version.to_owned()), "{member}");
    }
    let model = &document["models"][0];
    let counts = ["members_total", "members_let_in", "members_current", "members_held"];
    assert_eq!(counts.map(|count| model[count].as_u64().unwrap()), [3, 1, current, 0]);
    assert_eq!((&model["converged"], &model["rollout"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(model["members"][0]["has_failed"], Value::Bool(false), "an unreachable member has not failed");
}

#[test]
fn a_member_that_flaps_keeps_its_batch_from_being_confirmed_and_the_rollout_ends_with_its_time() {
    need!("rsync", "dash", "cc");
    let sandbox = Sandbox::new();
    for (settings, answers_at_last, ends) in [
        ("", true, "after 20 minutes, nobody who was admitted is late; 2 were not admitted"),
        ("", false, "after 20 minutes, late: 127.0.0.41 (no answer) (1 of 3); 2 were not admitted"),
        // That it answers again is no progress.
        (
            "progress_deadline_minutes=10\n",
            true,
            "after 10 minutes without progress, nobody who was admitted",
        ),
    ] {
        let fleet = begun(&sandbox, &format!("pause=300\n{settings}"));
        let world = &fleet.world;
        let is_confirmed = || !world.state()["announced"]["batch_confirmed_s"].is_null();
        for turn in 0..3 {
            let told = ticked(&fleet);
            let pausing = "the 1 of 3 members that were admitted have it; the next batch follows in 300 s";
            assert!(told.contains(pausing), "the pause begins anew, turn {turn}: {told}");
            check_status(&fleet, "current", V, 1);
            // Only the pause goes by.
            assert!(is_confirmed(), "turn {turn}");
            world.change_state(|state| {
                let confirmed = &mut state["announced"]["batch_confirmed_s"];
                *confirmed = (confirmed.as_i64().unwrap() - 299).into();
            });

            fleet.kill(FLAPPING);
            let told = ticked(&fleet);
            let waiting = format!("0 of 3 members have {V}; waiting for {FLAPPING}; 2 are not admitted yet");
            assert!(told.contains(&waiting), "turn {turn}: {told}");
            assert!(!is_confirmed(), "turn {turn}");
            check_status(&fleet, "unreachable", "-", 0);

            MEMBERS[1..].iter().for_each(|member| drop(fleet.poll(Side::BINARY, member, 0)));
            fleet.start(FLAPPING);
        }
        if !answers_at_last {
            fleet.kill(FLAPPING);
        }
        world.rollout_ages(1260);
        let ended = fleet.dispatch(&[MODEL, PREFIX, LIBRARY]);
        assert_eq!((ended.status, ended.stderr.lines().count()), (1, 1), "{}", shown(&ended));
        assert!(ended.stderr.contains(ends), "{}", ended.stderr);
        assert!(!world.service("status").exists() && !is_confirmed());
        assert_eq!(world.phase(), "timed-out");
        MEMBERS[1..].iter().for_each(|member| drop(fleet.poll(Side::BINARY, member, 0)));
        let verdicts = fleet.verdicts().0;
        assert!(
            MEMBERS[1..].iter().all(|member| verdicts[*member] == ("waiting".to_owned(), OLD.to_owned()))
        );
    }
}

/// Without a pause a batch is confirmed by one look. The end is one look, too: at which all answer.
#[test]
fn an_upgrade_ends_only_at_a_look_at_which_all_answer() {
    need!("rsync", "dash", "cc");
    let sandbox = Sandbox::new();
    let fleet = begun(&sandbox, "");
    fleet.kill(FLAPPING);
    assert!(ticked(&fleet).contains(&format!("waiting for {FLAPPING}; 2 are not admitted yet")));
    fleet.start(FLAPPING);
    assert!(ticked(&fleet).contains(&format!("3 of 3 members may take {V} now")));
    for member in &MEMBERS[1..] {
        fleet.poll(Side::BINARY, member, 0);
    }
    for member in MEMBERS {
        fleet.kill(member);
        let told = ticked(&fleet);
        assert!(told.contains(&format!("2 of 3 members have {V}; waiting for {member}\n")), "{told}");
        assert!(fleet.world.service("status").exists());
        fleet.start(member);
    }
    assert!(ticked(&fleet).contains(&format!("all 3 members have {V}")));
    assert!(!fleet.world.service("status").exists());
    // Afterwards it is not an upgrade's matter any more, and the status says it.
    fleet.kill(FLAPPING);
    assert_eq!(ticked(&fleet), "");
    let (verdicts, document) = fleet.verdicts();
    assert_eq!(verdicts[FLAPPING], ("unreachable".to_owned(), "-".to_owned()));
    assert_eq!(document["models"][0]["members_current"].as_u64(), Some(2));
}
