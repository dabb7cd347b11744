//! `dispatch --pause|--resume|--promote|--abort MODEL`: an operator's hand in a rollout.

use crate::error::{Error, Result};
use crate::formats::rollout::{Rollout, Standing};
use crate::names::ModelName;
use crate::tools::dispatch::decide::check::{Round, end_and_keep_out, keep_out};
use crate::tools::dispatch::decide::{Action, CheckFacts, Members, batches};
use crate::version::Version;

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Nobody else gets the version until it is resumed; the upgrade stays in flight, and its deadline does not run.
    Pause,
    /// A rollout that was paused, stopped or aborted goes on.
    Resume,
    /// The next batch is let in now, whatever the one before it does.
    Promote,
    /// The upgrade is ended; nobody else gets the version.
    Abort,
}

/// Who steers, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// `USER@HOST`.
    pub by: String,
    /// One line; empty where nothing was said.
    pub why: String,
}

/// The steps. Fails, and nothing is changed, when there is nothing to steer.
pub fn steer(
    facts: &CheckFacts,
    model: &ModelName,
    steer: Steer,
    operator: &Operator,
) -> Result<Vec<Action>> {
    let announced = facts.announced.clone().unwrap_or_default();
    let Ok(version) = Version::of_directory(&announced) else {
        return Err(Error::failed(format!(
            "{model}: its service.conf announces no version; push the model first"
        )));
    };
    if let Members::Unreadable(error) = &facts.members {
        return Err(error.clone());
    }
    let round = Round::of(facts, &announced);
    let wheel = Wheel { facts, model, version, round, operator };
    match steer {
        Steer::Pause => wheel.pause(),
        Steer::Resume => wheel.resume(),
        Steer::Promote => wheel.promote(),
        Steer::Abort => wheel.abort(),
    }
}

struct Wheel<'a> {
    facts: &'a CheckFacts,
    model: &'a ModelName,
    /// What is announced.
    version: Version,
    round: Round<'a>,
    operator: &'a Operator,
}

impl Wheel<'_> {
    fn pause(&self) -> Result<Vec<Action>> {
        self.check_in_flight("pause")?;
        let mut actions = keep_out(&self.round);
        actions.push(self.note(Standing::Paused));
        actions.push(self.say(format!(
            "paused; {}; dispatch --resume {} lets it go on",
            self.round.count(),
            self.model
        )));
        Ok(actions)
    }

    fn resume(&self) -> Result<Vec<Action>> {
        let (model, version) = (self.model, &self.version);
        let standing = self.facts.rollout.note_about(version.as_str().as_bytes()).map(|note| note.standing);
        let in_flight_again = match standing {
            // Its time begins anew.
            Some(Standing::Paused) if self.facts.status.is_some() => {
                Action::MarkInFlightAgain(version.clone())
            }
            Some(Standing::Paused | Standing::Stopped | Standing::Aborted) => {
                if self.facts.status.is_some() {
                    return Err(Error::failed(format!(
                        "{model}: the tick is about to end it; try again in a minute"
                    )));
                }
                Action::MarkInFlight(version.clone())
            }
            Some(Standing::Resumed(_)) | None => {
                let what = "is neither paused nor stopped, so there is nothing to resume";
                return Err(Error::failed(format!(
                    "{model}: the rollout of {version} {what}; see dispatch --status {model}"
                )));
            }
        };
        // The note first, so that no tick stops it once more for the same members.
        let mut actions = vec![self.note(Standing::Resumed(self.round.failed.len())), in_flight_again];
        // A rollout to all at once has no next batch that would let them in.
        if self.facts.rollout.policy.batches.targets(self.round.size()).len() <= 1 {
            actions.push(Action::AdmitEverybody);
        }
        actions.push(self.say(format!("resumed; {}", self.round.count())));
        Ok(actions)
    }

    fn promote(&self) -> Result<Vec<Action>> {
        self.check_in_flight("promote")?;
        let (model, version) = (self.model, &self.version);
        if self.round.waiting.is_empty() {
            return Err(Error::failed(format!(
                "{model}: every member may take {version} already; there is no next batch"
            )));
        }
        let (rollout, announced) = (&self.facts.rollout, self.round.announced);
        Ok(batches::let_next_in(rollout, announced, &self.round.progress(0), model))
    }

    fn abort(&self) -> Result<Vec<Action>> {
        self.check_in_flight("abort")?;
        let kept_out = self.round.size() - self.round.touched().len();
        let mut actions = vec![self.note(Standing::Aborted)];
        actions.extend(end_and_keep_out(self.facts, &self.round));
        actions.push(self.say(format!(
            "aborted; {}; the other {kept_out} stay as they are until the next push, or dispatch --resume {}",
            self.round.count(),
            self.model
        )));
        Ok(actions)
    }

    fn check_in_flight(&self, verb: &str) -> Result<()> {
        let Wheel { facts, model, version, .. } = self;
        match &facts.status {
            Some(status) if status.version.as_ref().is_none_or(|begun| begun == version) => Ok(()),
            Some(_) => Err(Error::failed(format!(
                "{model}: a version is being published, so there is nothing to {verb} yet; try again in a minute"
            ))),
            None => Err(Error::failed(format!(
                "{model}: no upgrade is in flight, so there is nothing to {verb}; see dispatch --status {model}"
            ))),
        }
    }

    fn note(&self, standing: Standing) -> Action {
        let Operator { by, why } = self.operator.clone();
        Action::NoteRollout(Rollout {
            standing,
            version: self.version.clone(),
            at: self.facts.now_s,
            by,
            why,
        })
    }

    fn say(&self, what: String) -> Action {
        Action::Say(format!("{}: {what}", self.model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::admitted::Admitted;
    use crate::names::Address;
    use crate::time::Seconds;
    use crate::tools::dispatch::batches::Batches;
    use crate::tools::dispatch::decide::{RolloutFacts, Status};
    use crate::tools::dispatch::policy::Policy;

    const V: &str = "20180413192258";

    fn version() -> Version {
        Version::parse(V.as_bytes()).unwrap()
    }

    fn address(n: u8) -> Address {
        Address::parse(format!("10.0.0.{n}").as_bytes()).unwrap()
    }

    /// Four members: the first has the version, the second failed, the fourth is not let in.
    fn facts(batches: &str) -> CheckFacts {
        let members = (1..=4).map(|n| (address(n), (n == 1).then(|| V.as_bytes().to_vec()))).collect();
        let admitted =
            Admitted { version: version(), members: (1..=3).map(address).collect(), withdrawn: None };
        let policy = Policy { batches: Batches::parse(batches.as_bytes()).unwrap(), ..Policy::default() };
        CheckFacts {
            status: Some(Status { age: Seconds(60), version: Some(version()) }),
            success: None,
            journal: None,
            announced: Some(V.as_bytes().to_vec()),
            script_quiet_for: None,
            members: Members::Known(members),
            retention: None,
            rollout: RolloutFacts {
                policy,
                admitted: Some(admitted),
                failed: vec![(address(2), "rolled back".to_owned())],
                ..RolloutFacts::default()
            },
            now_s: 7,
        }
    }

    fn steered(facts: &CheckFacts, verb: Steer) -> Result<Vec<Action>> {
        let operator = Operator { by: "u@h".to_owned(), why: "w".to_owned() };
        steer(facts, &ModelName::parse(b"m").unwrap(), verb, &operator)
    }

    fn note(standing: Standing) -> Rollout {
        Rollout { standing, version: version(), at: 7, by: "u@h".to_owned(), why: "w".to_owned() }
    }

    fn touched() -> Action {
        Action::Admit(Admitted { version: version(), members: vec![address(1), address(2)], withdrawn: None })
    }

    #[test]
    fn a_pause_keeps_everybody_out_who_has_not_begun() {
        let actions = steered(&facts("3,4"), Steer::Pause).unwrap();
        assert_eq!(actions[..2], [touched(), Action::NoteRollout(note(Standing::Paused))]);
        let Action::Say(line) = &actions[2] else { panic!("{actions:?}") };
        assert_eq!(line, "m: paused; 1 of 4 members have 20180413192258; dispatch --resume m lets it go on");
    }

    #[test]
    fn what_was_paused_goes_on_with_the_failures_so_far_and_its_time_begins_anew() {
        let mut facts = facts("3,4");
        facts.rollout.note = Some(note(Standing::Paused));
        let actions = steered(&facts, Steer::Resume).unwrap();
        let noted = Action::NoteRollout(note(Standing::Resumed(1)));
        assert_eq!(actions[..2], [noted, Action::MarkInFlightAgain(version())]);
        assert!(!actions.contains(&Action::AdmitEverybody));
        facts.rollout.policy.batches = Batches::default();
        assert!(steered(&facts, Steer::Resume).unwrap().contains(&Action::AdmitEverybody));
    }

    #[test]
    fn what_was_ended_is_in_flight_again_and_the_failures_so_far_are_put_up_with() {
        let mut facts = facts("3,4");
        facts.rollout.note = Some(note(Standing::Stopped));
        assert!(steered(&facts, Steer::Resume).is_err(), "the tick is at work");
        facts.status = None;
        let actions = steered(&facts, Steer::Resume).unwrap();
        assert_eq!(
            actions[..2],
            [Action::NoteRollout(note(Standing::Resumed(1))), Action::MarkInFlight(version())]
        );
    }

    #[test]
    fn the_next_batch_is_let_in_whatever_the_one_before_does() {
        let actions = steered(&facts("3,4"), Steer::Promote).unwrap();
        let Action::Admit(admitted) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(admitted.members, (1..=4).map(address).collect::<Vec<_>>());
        let mut facts = facts("3,4");
        facts.rollout.admitted = None;
        assert!(steered(&facts, Steer::Promote).unwrap_err().to_string().contains("there is no next batch"));
    }

    #[test]
    fn an_upgrade_that_is_aborted_is_over_and_nobody_else_gets_it() {
        let actions = steered(&facts("3,4"), Steer::Abort).unwrap();
        assert_eq!(actions[..2], [Action::NoteRollout(note(Standing::Aborted)), touched()]);
        assert!(actions.contains(&Action::RemoveStatus(Some(version()))));
        assert!(!actions.contains(&Action::AdmitEverybody));
    }

    #[test]
    fn where_there_is_nothing_to_steer_nothing_is_changed() {
        let mut facts = facts("3,4");
        assert!(steered(&facts, Steer::Resume).unwrap_err().to_string().contains("nothing to resume"));
        facts.status.as_mut().unwrap().version = Version::parse(b"20190101000000").ok();
        assert!(steered(&facts, Steer::Pause).unwrap_err().to_string().contains("is being published"));
        facts.status = None;
        for (verb, word) in [(Steer::Pause, "pause"), (Steer::Promote, "promote"), (Steer::Abort, "abort")] {
            let said = steered(&facts, verb).unwrap_err().to_string();
            assert!(
                said.contains(&format!("no upgrade is in flight, so there is nothing to {word}")),
                "{said}"
            );
        }
        facts.announced = None;
        assert!(steered(&facts, Steer::Pause).unwrap_err().to_string().contains("announces no version"));
    }
}
