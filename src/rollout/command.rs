//! What operators want of a model: as events, or refused with the reason. A command is about the
//! version that was announced when the operator spoke; a tick may have announced another since.

use crate::formats::announcement::Admission;
use crate::names::ModelName;
use crate::rollout::advance::{Fleet, Outcome, Round};
use crate::rollout::event::{Ending, Event};
use crate::rollout::policy::Policy;
use crate::rollout::state::{Announced, Origin, Phase, Release, State, Worth};
use crate::version::Version;

/// An operator's hand in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Nobody else is admitted until it is resumed; the rollout stays in flight, and its time does
    /// not run.
    Pause,
    /// A rollout that was paused, stopped or aborted, or timed out, goes on.
    Resume,
    /// The next batch is admitted now, whatever the one before it does.
    Promote,
    /// The rollout ends; nobody else is admitted.
    Abort,
    /// Members that failed try again.
    Retry,
}

/// A refusal: one line that says what to do.
pub type Refused = String;

/// The steps of a hand in a rollout.
pub fn steer(state: &State, fleet: &Fleet, verb: Steer) -> Result<Outcome, Refused> {
    let model = &state.model;
    let Some(announced) = &state.announced else {
        return Err(format!("{model}: its service.conf announces no version; push the model first"));
    };
    let (members, policy) = match fleet {
        Fleet::Known { members, policy } => (members.as_slice(), policy.clone()),
        // To admit nobody else, or to try again where it failed, needs no list.
        Fleet::NoList | Fleet::Unknown(_) if matches!(verb, Steer::Pause | Steer::Abort | Steer::Retry) => {
            (&[][..], state.policy.clone())
        }
        Fleet::NoList if !state.members.is_empty() => {
            return Err(format!(
                "{model}: its member list is gone, so who would be admitted is unknown; put \
                 scripts/dispatch/conf/{model}.env.sh back"
            ));
        }
        Fleet::NoList => (&[][..], Policy::default()),
        Fleet::Unknown(error) => return Err(error.to_string()),
    };
    let is_known = matches!(fleet, Fleet::Known { .. });
    let round = Round::of(announced, members);
    let wheel = Wheel { state, model, announced, round, policy, is_known };
    match verb {
        Steer::Pause => wheel.pause(),
        Steer::Resume => wheel.resume(),
        Steer::Promote => wheel.promote(),
        Steer::Abort => wheel.abort(),
        Steer::Retry => wheel.retry(),
    }
}

struct Wheel<'a> {
    state: &'a State,
    model: &'a ModelName,
    announced: &'a Announced,
    round: Round<'a>,
    policy: Policy,
    is_known: bool,
}

impl Wheel<'_> {
    fn pause(&self) -> Result<Outcome, Refused> {
        self.check_in_flight("pause")?;
        let model = self.model;
        let said = format!("paused; {}; dispatch --resume {model} lets it go on", self.round.count());
        Ok(self.outcome(vec![Event::Paused { admission: self.stays() }], said))
    }

    fn resume(&self) -> Result<Outcome, Refused> {
        let Wheel { model, announced, round, policy, .. } = self;
        if announced.phase != Phase::Paused && !announced.phase.was_broken_off() {
            return Err(format!(
                "{model}: the rollout of {} is neither paused nor stopped, so there is nothing to resume; see dispatch \
                 --status {model}",
                announced.version()
            ));
        }
        self.check_not_bad()?;
        // Held ones count: they follow in batches of their own.
        let is_in_batches = policy.is_in_batches(round.members());
        let admission = match &announced.admission {
            // A rollout to all at once has no next batch that would admit them.
            _ if !is_in_batches => Admission::Everybody,
            // Those that failed try again.
            Admission::Members(members) => {
                let failed = announced.failed.iter().filter(|failed| !members.contains(failed));
                Admission::Members(members.iter().chain(failed).cloned().collect())
            }
            Admission::Everybody => Admission::Everybody,
        };
        let tolerated = announced.failed.len().max(round.failed.len()).max(announced.tolerated);
        let event = Event::Resumed { admission, tolerated };
        Ok(self.outcome(vec![event], format!("resumed; {}", round.count())))
    }

    fn promote(&self) -> Result<Outcome, Refused> {
        self.check_in_flight("promote")?;
        self.check_not_bad()?;
        if self.round.waiting.is_empty() {
            return Err(format!(
                "{}: every member is admitted to {} already; there is no next batch",
                self.model,
                self.announced.version()
            ));
        }
        let (admission, newly) = self.round.next_batch(&self.policy);
        let line = self.round.admits(self.model.as_str(), &newly);
        let events = vec![Event::Admitted { admission, newly }];
        Ok(Outcome { events, lines: vec![line], ..Outcome::default() })
    }

    fn abort(&self) -> Result<Outcome, Refused> {
        self.check_in_flight("abort")?;
        let ending = Ending { admission: self.stays(), ..self.round.aborted() };
        let kept_out = self.round.size() - ending.reported.len();
        let said = format!(
            "aborted; {}; the other {kept_out} stay as they are until the next push, or dispatch --resume {}",
            self.round.count(),
            self.model
        );
        Ok(self.outcome(vec![Event::Ended(ending)], said))
    }

    fn retry(&self) -> Result<Outcome, Refused> {
        let (model, version) = (self.model, self.announced.version());
        if self.announced.phase.was_broken_off() {
            return Err(format!(
                "{model}: the rollout of {version} is {}; dispatch --resume {model} makes members try again",
                self.announced.phase.words()
            ));
        }
        let said = format!("members that failed try {version} again");
        Ok(self.outcome(vec![Event::Retried], said))
    }

    /// Who stays admitted when nobody else must be: those that have it. Where who they are is not
    /// known, those that were.
    fn stays(&self) -> Admission {
        match (&self.announced.admission, self.is_known) {
            (_, true) => self.round.touched(),
            (Admission::Members(members), false) => Admission::Members(members.clone()),
            (Admission::Everybody, false) => Admission::Members(self.announced.reported.clone()),
        }
    }

    /// A version that a person marked bad is admitted to nobody else until a person says otherwise.
    fn check_not_bad(&self) -> Result<(), Refused> {
        let announced = self.state.release(self.announced.version());
        match announced.filter(|release| release.worth == Worth::Bad) {
            None => Ok(()),
            Some(bad) => Err(format!(
                "{0}: {1} was marked bad {2}; dispatch --mark {0} {1} good says otherwise",
                self.model, bad.version, bad.mark
            )),
        }
    }

    fn check_in_flight(&self, verb: &str) -> Result<(), Refused> {
        // Held members may still follow.
        let trails = self.announced.phase == Phase::Trailing && verb != "pause";
        match self.announced.phase.is_in_flight() || trails {
            true => Ok(()),
            false => Err(format!(
                "{0}: no rollout is in flight, so there is nothing to {verb}; see dispatch --status {0}",
                self.model
            )),
        }
    }

    fn outcome(&self, events: Vec<Event>, said: String) -> Outcome {
        Outcome { events, lines: vec![format!("{}: {said}", self.model)], ..Outcome::default() }
    }
}

/// Where a rollback, or a pin, goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// To the confirmed or good version before.
    Back,
    /// To this one.
    BackTo(Version),
    /// To this one, which is pinned.
    Pin(Version),
}

/// A version that is announced again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback<'a> {
    /// Where it goes.
    pub aim: Aim,
    /// Whether it may be a version that is neither confirmed nor good.
    pub is_forced: bool,
    /// The version that was announced when the operator spoke.
    pub spoken_of: Option<Version>,
    /// The versions in `plugin/`.
    pub present: &'a [Version],
}

/// The versions to go to, the best first. A request that names one gets that or none.
pub fn candidates(state: &State, request: &Rollback) -> Result<Vec<Version>, Refused> {
    let model = &state.model;
    if let (Some(pin), Aim::Back | Aim::BackTo(_)) = (&state.pin, &request.aim) {
        return Err(format!(
            "{model}: {} was pinned {}; unpin it first, with dispatch --unpin {model}",
            pin.version, pin.mark
        ));
    }
    match &request.aim {
        Aim::BackTo(version) | Aim::Pin(version) => asked_for(state, request, version),
        Aim::Back => back(state, request),
    }
}

fn back(state: &State, request: &Rollback) -> Result<Vec<Version>, Refused> {
    let model = &state.model;
    let Some(left) = left(state, request) else {
        return Err(format!(
            "{model}: nothing is announced, so there is nothing to go back from; push the model"
        ));
    };
    let trusted: Vec<Version> = state
        .trusted_before(&left)
        .filter(|release| request.present.contains(&release.version))
        .map(|release| release.version.clone())
        .collect();
    if let Some(announced) = &state.announced
        && announced.origin == Origin::Rollback
        && !announced.is_confirmed
    {
        let further = match trusted.first() {
            Some(version) => format!("to go further: dispatch --rollback {model} --to {version}"),
            None => "there is no confirmed version before it".to_owned(),
        };
        return Err(format!(
            "{model}: the rollback to {} is not confirmed by its members yet; see dispatch --status {model}; {further}",
            announced.version()
        ));
    }
    if trusted.is_empty() {
        return Err(nothing_to_go_back_to(state, request, &left));
    }
    Ok(trusted)
}

fn nothing_to_go_back_to(state: &State, request: &Rollback, left: &Version) -> Refused {
    let model = &state.model;
    let mut others: Vec<&Version> = request.present.iter().filter(|version| *version != left).collect();
    others.sort_by_key(|version| {
        std::cmp::Reverse(state.release(version).map_or(0, |release| release.sequence))
    });
    let named = |version: &&Version| format!("{version} ({})", worth_words(state, version));
    let others: Vec<String> = others.iter().take(5).map(named).collect();
    let advice = match others.is_empty() {
        true => "push one that works".to_owned(),
        false => format!(
            "to go to one that was not confirmed: dispatch --rollback {model} --to VERSION --force; there are {}",
            others.join(", ")
        ),
    };
    format!(
        "{model}: there is nothing to go back to: {left} is announced, and no version before it was confirmed; {advice}"
    )
}

fn asked_for(state: &State, request: &Rollback, version: &Version) -> Result<Vec<Version>, Refused> {
    let model = &state.model;
    if !request.present.contains(version) {
        let newest: Vec<String> = request.present.iter().rev().take(5).map(ToString::to_string).collect();
        let there = match newest.is_empty() {
            true => "it is empty".to_owned(),
            false => format!("the newest are {}", newest.join(", ")),
        };
        return Err(format!("{model}: there is no version {version} in plugin/; {there}"));
    }
    let is_announced = state.announced.as_ref().is_some_and(|announced| announced.version() == version);
    let is_trusted = state.worth(version).is_some_and(Worth::is_trusted);
    if is_trusted || request.is_forced || is_announced {
        return Ok(vec![version.clone()]);
    }
    Err(match state.release(version).filter(|release| release.worth == Worth::Bad) {
        Some(bad) => {
            format!("{model}: {version} was marked bad {}; name another version, or add --force", bad.mark)
        }
        None => format!(
            "{model}: {version} was never confirmed ({}); name another version, or add --force",
            worth_words(state, version)
        ),
    })
}

/// What a version is worth, in words.
pub fn worth_words(state: &State, version: &Version) -> &'static str {
    state.worth(version).map_or("not published by this monitor", Worth::words)
}

/// The version that is left: the one that was announced when the operator spoke.
pub fn left(state: &State, request: &Rollback) -> Option<Version> {
    let announced = state.announced.as_ref().map(|announced| announced.version().clone());
    request.spoken_of.clone().or(announced)
}

/// What becomes of the version that is announced, and of the one that was spoken of, when another
/// is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// What the announced one is worth from now on.
    pub announced: Option<Worth>,
    /// One that was announced before it, and is bad.
    pub bad: Option<Version>,
}

/// What is left how. To go on to a later version does not mean that the earlier one is bad.
pub fn leaving(state: &State, request: &Rollback, to: &Version) -> Leaving {
    let Some(announced) = state.announced.as_ref().map(|announced| announced.version()) else {
        return Leaving { announced: None, bad: None };
    };
    let spoken_of = left(state, request).unwrap_or_else(|| announced.clone());
    let place = |version: &Version| state.release(version).map_or(0, |release: &Release| release.sequence);
    let goes_back = place(to) < place(&spoken_of);
    match (&request.aim, spoken_of == *announced) {
        (Aim::Pin(_), _) => Leaving { announced: Some(Worth::Left), bad: None },
        (Aim::Back | Aim::BackTo(_), true) => {
            Leaving { announced: goes_back.then_some(Worth::Bad), bad: None }
        }
        // Announced a moment ago: nobody has said anything about it.
        (Aim::Back | Aim::BackTo(_), false) => {
            let is_new = state.worth(announced) == Some(Worth::RollingOut);
            Leaving { announced: is_new.then_some(Worth::Published), bad: goes_back.then_some(spoken_of) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::rollout::fixtures::*;
    use crate::rollout::verdict::Verdict::{self, Current, Held, NotPolled, RolledBack, Waiting};

    const PHASES: [Phase; 7] = [
        Phase::Running,
        Phase::Paused,
        Phase::Trailing,
        Phase::Done,
        Phase::Stopped,
        Phase::TimedOut,
        Phase::Aborted,
    ];
    const VERBS: [Steer; 5] = [Steer::Pause, Steer::Resume, Steer::Promote, Steer::Abort, Steer::Retry];

    /// Version 1 is confirmed, and 2 is rolled out to everybody.
    fn to_all() -> State {
        rolling(confirmed(&[1]), 2, Admission::Everybody)
    }

    /// The same, to these members.
    fn to(numbers: &[u8]) -> State {
        rolling(confirmed(&[1]), 2, only(numbers))
    }

    fn in_phase(mut state: State, phase: Phase) -> State {
        state.announced.as_mut().unwrap().phase = phase;
        state
    }

    /// To member 1, where it failed.
    fn stopped() -> State {
        let failed = Event::Ended(Ending { admission: only(&[]), ..ending(Phase::Stopped, 3, &[], &[1]) });
        after(to(&[1]), &[failed])
    }

    fn known(verdicts: &[Verdict]) -> Fleet {
        fleet(verdicts, &in_batches("1,100%"))
    }

    /// What is not known of a fleet whose list was read once.
    fn unknown() -> [Fleet; 2] {
        [Fleet::NoList, Fleet::Unknown(Error::failed("m.env.sh cannot be read"))]
    }

    fn listed_once(state: State) -> State {
        State { members: members(&[1, 2, 3]), policy: in_batches("1,100%"), ..state }
    }

    fn event(state: &State, fleet: &Fleet, verb: Steer) -> Event {
        steer(state, fleet, verb).unwrap().events.remove(0)
    }

    fn refused(state: &State, fleet: &Fleet, verb: Steer) -> String {
        steer(state, fleet, verb).unwrap_err()
    }

    // A hand in a rollout.

    #[test]
    fn every_verb_fits_the_phases_that_docs_state_draws() {
        let fits = |verb: Steer| -> Vec<Phase> {
            let is_taken =
                |phase: &Phase| steer(&in_phase(to(&[1]), *phase), &known(&[Current, Waiting]), verb).is_ok();
            PHASES.into_iter().filter(is_taken).collect()
        };
        assert_eq!(fits(Steer::Pause), [Phase::Running, Phase::Paused]);
        let also_trailing = [Phase::Running, Phase::Paused, Phase::Trailing];
        assert_eq!(fits(Steer::Promote), also_trailing);
        assert_eq!(fits(Steer::Abort), also_trailing);
        let broken_off = [Phase::Stopped, Phase::TimedOut, Phase::Aborted];
        assert_eq!(fits(Steer::Resume), [&[Phase::Paused][..], &broken_off].concat());
        let others = [Phase::Running, Phase::Paused, Phase::Trailing, Phase::Done];
        assert_eq!(fits(Steer::Retry), others);
    }

    #[test]
    fn no_verb_fits_where_nothing_is_announced() {
        for verb in VERBS {
            assert!(refused(&empty(), &known(&[Current]), verb).contains("push the model first"));
        }
    }

    #[test]
    fn a_pause_keeps_only_those_admitted_that_have_the_version() {
        let pause = event(&to(&[1, 2]), &known(&[Current, NotPolled, Waiting]), Steer::Pause);
        assert_eq!(pause, Event::Paused { admission: only(&[1]) });
        let pause = event(&to_all(), &known(&[Current, NotPolled]), Steer::Pause);
        assert_eq!(pause, Event::Paused { admission: only(&[1]) });
    }

    #[test]
    fn a_pause_and_an_abort_need_no_list() {
        for fleet in unknown() {
            let canary = listed_once(to(&[1]));
            assert_eq!(event(&canary, &fleet, Steer::Pause), Event::Paused { admission: only(&[1]) });
            let Event::Ended(ending) = event(&canary, &fleet, Steer::Abort) else { panic!("no end") };
            assert_eq!((ending.phase, ending.admission), (Phase::Aborted, only(&[1])));
            let mut to_all = listed_once(to_all());
            to_all.announced.as_mut().unwrap().reported = members(&[3]);
            assert_eq!(event(&to_all, &fleet, Steer::Pause), Event::Paused { admission: only(&[3]) });
        }
    }

    #[test]
    fn an_abort_ends_the_rollout_for_those_that_do_not_have_the_version() {
        let outcome = steer(&to(&[1, 2]), &known(&[Current, NotPolled, Waiting]), Steer::Abort).unwrap();
        let Event::Ended(ending) = &outcome.events[0] else { panic!("no end") };
        assert_eq!((ending.phase, &ending.admission), (Phase::Aborted, &only(&[1])));
        assert_eq!((ending.members, &ending.reported), (3, &members(&[1])));
        assert!(outcome.lines[0].contains("aborted; 1 of 3 members have"), "{:?}", outcome.lines);
        assert!(outcome.lines[0].contains("the other 2 stay as they are"), "{:?}", outcome.lines);
    }

    #[test]
    fn a_promotion_admits_the_next_batch_whatever_the_one_before_does() {
        let event = event(&to(&[1]), &known(&[RolledBack, Waiting, Waiting]), Steer::Promote);
        assert_eq!(event, Event::Admitted { admission: only(&[1, 2, 3]), newly: members(&[2, 3]) });
    }

    #[test]
    fn a_promotion_of_a_rollout_that_trails_admits_those_whose_hold_has_ended() {
        let trailing = in_phase(to(&[1]), Phase::Trailing);
        let event = event(&trailing, &known(&[Current, Waiting, Held]), Steer::Promote);
        assert_eq!(event, Event::Admitted { admission: only(&[1, 2]), newly: members(&[2]) });
    }

    #[test]
    fn an_abort_of_a_rollout_that_trails_keeps_those_out_that_were_held() {
        let trailing = in_phase(to(&[1]), Phase::Trailing);
        let event = event(&trailing, &known(&[Current, Waiting, Held]), Steer::Abort);
        let Event::Ended(ending) = event else { panic!("no end") };
        assert_eq!((ending.phase, ending.admission), (Phase::Aborted, only(&[1])));
    }

    #[test]
    fn a_pause_of_a_rollout_that_trails_is_refused() {
        let said = refused(&in_phase(to(&[1]), Phase::Trailing), &known(&[Current, Held]), Steer::Pause);
        assert!(said.contains("there is nothing to pause"), "{said}");
    }

    #[test]
    fn a_promotion_is_refused_where_everybody_is_admitted() {
        let said = refused(&to_all(), &known(&[NotPolled, NotPolled]), Steer::Promote);
        assert!(said.ends_with("there is no next batch"), "{said}");
    }

    #[test]
    fn a_resume_after_a_pause_lets_those_go_on_that_were_admitted() {
        let paused = in_phase(to(&[1]), Phase::Paused);
        let event = event(&paused, &known(&[Current, Waiting]), Steer::Resume);
        assert_eq!(event, Event::Resumed { admission: only(&[1]), tolerated: 0 });
    }

    #[test]
    fn a_resume_after_a_stop_admits_those_that_failed_again_and_tolerates_them() {
        let event = event(&stopped(), &known(&[RolledBack, Waiting, Waiting]), Steer::Resume);
        assert_eq!(event, Event::Resumed { admission: only(&[1]), tolerated: 1 });
    }

    #[test]
    fn a_resume_of_a_rollout_to_all_at_once_admits_everybody() {
        let paused = in_phase(to(&[1]), Phase::Paused);
        let at_once = fleet(&[Current, Waiting], &Policy::default());
        let event = event(&paused, &at_once, Steer::Resume);
        assert_eq!(event, Event::Resumed { admission: Admission::Everybody, tolerated: 0 });
    }

    #[test]
    fn a_resume_in_batches_admits_nobody_else_while_members_are_held() {
        for verdicts in [&[Held, Held, Held][..], &[Current, Held, Held], &[Held, Waiting, Held]] {
            let event = event(&in_phase(to(&[1]), Phase::Paused), &known(verdicts), Steer::Resume);
            assert_eq!(event, Event::Resumed { admission: only(&[1]), tolerated: 0 });
        }
    }

    #[test]
    fn a_resume_or_a_promotion_is_refused_while_the_members_are_unknown() {
        for (fleet, reason) in unknown().into_iter().zip(["its member list is gone", "cannot be read"]) {
            let paused = listed_once(in_phase(to(&[1]), Phase::Paused));
            for verb in [Steer::Resume, Steer::Promote] {
                let said = refused(&paused, &fleet, verb);
                assert!(said.contains(reason), "{said}");
            }
        }
    }

    #[test]
    fn a_retry_needs_no_list() {
        for fleet in unknown() {
            assert_eq!(event(&listed_once(to(&[1])), &fleet, Steer::Retry), Event::Retried);
        }
    }

    #[test]
    fn a_retry_of_a_rollout_that_was_broken_off_names_the_command_that_is_meant() {
        let said = refused(&stopped(), &known(&[RolledBack]), Steer::Retry);
        assert!(said.contains("is stopped; dispatch --resume m"), "{said}");
    }

    #[test]
    fn a_version_that_is_marked_bad_is_neither_resumed_nor_promoted() {
        let bad =
            |state: State| state.after(&Event::Marked { version: v(2), worth: Worth::Bad }, &ann(BEGIN));
        for (state, verb) in [(stopped(), Steer::Resume), (to(&[1]), Steer::Promote)] {
            let said = refused(&bad(state), &known(&[RolledBack, Waiting]), verb);
            let expected = format!("marked bad by ann@m1: it is slow; dispatch --mark m {} good", v(2));
            assert!(said.contains(&expected), "{said}");
        }
        assert!(steer(&bad(to(&[1])), &known(&[Current]), Steer::Abort).is_ok());
    }

    // Where a rollback goes.

    /// Every version up to 9 is there.
    fn present() -> Vec<Version> {
        (1..=9).map(v).collect()
    }

    fn request(aim: Aim, present: &[Version]) -> Rollback<'_> {
        Rollback { aim, is_forced: false, spoken_of: None, present }
    }

    fn goes(state: &State, aim: Aim) -> Result<Vec<Version>, Refused> {
        candidates(state, &request(aim, &present()))
    }

    /// Versions of these worths, and then this one is rolled out.
    fn after_these(worths: &[(u8, Worth)], number: u8) -> State {
        after(ledger(worths), &[published(number), announced(announcing(number))])
    }

    fn by_rollback(state: State, to: u8) -> State {
        let back = crate::rollout::event::Announcing { origin: Origin::Rollback, ..announcing(to) };
        after(state, &[announced(back)])
    }

    #[test]
    fn a_rollback_goes_to_the_trusted_versions_before_by_sequence_and_never_by_name() {
        let worths = [
            (8, Worth::Confirmed),
            (3, Worth::Good),
            (9, Worth::Confirmed),
            (5, Worth::Stopped),
            (6, Worth::Aborted),
            (7, Worth::Left),
            (4, Worth::Bad),
            (2, Worth::TimedOut),
        ];
        assert_eq!(goes(&after_these(&worths, 1), Aim::Back), Ok(vec![v(9), v(3), v(8)]));
    }

    #[test]
    fn a_rollback_goes_only_to_versions_that_are_there() {
        let state = confirmed(&[1, 2, 3]);
        let there = [v(1), v(3)];
        assert_eq!(candidates(&state, &request(Aim::Back, &there)), Ok(vec![v(1)]));
    }

    #[test]
    fn a_rollback_with_nothing_to_go_back_to_names_what_could_be_forced() {
        let state = after_these(&[(1, Worth::Stopped), (2, Worth::Aborted)], 3);
        let there = [v(1), v(2), v(3)];
        let said = candidates(&state, &request(Aim::Back, &there)).unwrap_err();
        let expected = format!("--to VERSION --force; there are {} (aborted), {} (stopped)", v(2), v(1));
        assert!(said.ends_with(&expected), "{said}");
        let said = candidates(&state, &request(Aim::Back, &[v(3)])).unwrap_err();
        assert!(said.ends_with("push one that works"), "{said}");
    }

    #[test]
    fn a_rollback_where_nothing_is_announced_is_refused() {
        assert!(goes(&empty(), Aim::Back).unwrap_err().contains("nothing is announced"));
    }

    #[test]
    fn a_second_rollback_is_refused_while_the_first_is_not_confirmed_and_says_how_to_go_further() {
        let state = by_rollback(rolling(confirmed(&[1, 2]), 3, Admission::Everybody), 2);
        let said = goes(&state, Aim::Back).unwrap_err();
        assert!(said.contains("is not confirmed by its members yet"), "{said}");
        assert!(said.ends_with(&format!("to go further: dispatch --rollback m --to {}", v(1))), "{said}");
        let last = by_rollback(rolling(confirmed(&[1]), 3, Admission::Everybody), 1);
        assert!(goes(&last, Aim::Back).unwrap_err().ends_with("there is no confirmed version before it"));
    }

    #[test]
    fn a_second_rollback_goes_further_once_the_first_is_confirmed() {
        let state = by_rollback(rolling(confirmed(&[1, 2]), 3, Admission::Everybody), 2);
        let state = after(state, &[Event::Ended(ending(Phase::Done, 2, &[1, 2], &[]))]);
        assert_eq!(goes(&state, Aim::Back), Ok(vec![v(1)]));
    }

    #[test]
    fn a_rollback_to_a_version_needs_force_unless_it_is_confirmed_or_good() {
        use Worth::{Aborted, Bad, Confirmed, Good, Left, Published, RollingOut, Stopped, TimedOut};
        for worth in [Published, RollingOut, Stopped, TimedOut, Aborted, Left, Bad] {
            let state = after_these(&[(1, worth)], 2);
            let said = goes(&state, Aim::BackTo(v(1))).unwrap_err();
            assert!(said.ends_with("name another version, or add --force"), "{said}");
            let there = present();
            let forced = Rollback { is_forced: true, ..request(Aim::BackTo(v(1)), &there) };
            assert_eq!(candidates(&state, &forced), Ok(vec![v(1)]));
        }
        for worth in [Confirmed, Good] {
            assert_eq!(goes(&after_these(&[(1, worth)], 2), Aim::BackTo(v(1))), Ok(vec![v(1)]));
        }
    }

    #[test]
    fn a_version_that_this_monitor_has_not_published_needs_force() {
        let said = goes(&confirmed(&[1]), Aim::BackTo(v(7))).unwrap_err();
        assert!(said.contains("was never confirmed (not published by this monitor)"), "{said}");
    }

    #[test]
    fn a_version_that_is_not_there_cannot_be_forced() {
        let there = [v(1), v(2)];
        let forced = Rollback { is_forced: true, ..request(Aim::BackTo(v(7)), &there) };
        let said = candidates(&confirmed(&[1, 2]), &forced).unwrap_err();
        assert!(said.ends_with(&format!("the newest are {}, {}", v(2), v(1))), "{said}");
        let nothing = Rollback { is_forced: true, ..request(Aim::BackTo(v(7)), &[]) };
        assert!(candidates(&confirmed(&[1]), &nothing).unwrap_err().ends_with("it is empty"));
    }

    #[test]
    fn the_announced_version_may_be_named_whatever_it_is_worth() {
        let state = after_these(&[], 2);
        assert_eq!(goes(&state, Aim::BackTo(v(2))), Ok(vec![v(2)]));
        assert_eq!(goes(&state, Aim::Pin(v(2))), Ok(vec![v(2)]));
    }

    #[test]
    fn a_pin_blocks_a_rollback_and_not_another_pin() {
        let pinned = after(confirmed(&[1, 2]), &[Event::Pinned]);
        for aim in [Aim::Back, Aim::BackTo(v(1))] {
            assert!(goes(&pinned, aim).unwrap_err().ends_with("with dispatch --unpin m"));
        }
        assert_eq!(goes(&pinned, Aim::Pin(v(1))), Ok(vec![v(1)]));
    }

    // What is left how.

    fn leaves(state: &State, aim: Aim, spoken_of: Option<u8>, to: u8) -> Leaving {
        let there = present();
        leaving(state, &Rollback { spoken_of: spoken_of.map(v), ..request(aim, &there) }, &v(to))
    }

    #[test]
    fn a_rollback_marks_the_version_that_it_leaves_bad_also_a_confirmed_one() {
        let bad = Leaving { announced: Some(Worth::Bad), bad: None };
        assert_eq!(leaves(&to_all(), Aim::Back, None, 1), bad);
        assert_eq!(leaves(&confirmed(&[1, 2]), Aim::Back, Some(2), 1), bad);
        assert_eq!(leaves(&confirmed(&[1, 2]), Aim::BackTo(v(1)), None, 1), bad);
    }

    #[test]
    fn back_is_by_sequence_and_never_by_name() {
        let bad = Leaving { announced: Some(Worth::Bad), bad: None };
        assert_eq!(leaves(&confirmed(&[5, 2]), Aim::Back, None, 5), bad, "5 was published before 2");
    }

    #[test]
    fn to_go_on_to_a_later_version_says_nothing_about_the_earlier_one() {
        let state = after(confirmed(&[1, 2]), &[announced(announcing(1))]);
        assert_eq!(leaves(&state, Aim::BackTo(v(2)), None, 2), Leaving { announced: None, bad: None });
    }

    #[test]
    fn a_pin_leaves_the_announced_version_left() {
        let left = Leaving { announced: Some(Worth::Left), bad: None };
        assert_eq!(leaves(&to_all(), Aim::Pin(v(1)), None, 1), left);
    }

    #[test]
    fn a_version_that_was_announced_a_moment_ago_is_not_marked_bad() {
        let state = rolling(confirmed(&[1, 2]), 3, Admission::Everybody);
        let expected = Leaving { announced: Some(Worth::Published), bad: Some(v(2)) };
        assert_eq!(leaves(&state, Aim::Back, Some(2), 1), expected);
        // One that is confirmed again meanwhile stays so.
        let again = after(confirmed(&[1, 2, 3]), &[announced(announcing(2))]);
        let expected = Leaving { announced: None, bad: Some(v(3)) };
        assert_eq!(leaves(&again, Aim::BackTo(v(1)), Some(3), 1), expected);
    }

    #[test]
    fn a_rollback_goes_back_from_the_version_that_was_announced_when_the_operator_spoke() {
        let state = rolling(confirmed(&[1, 2]), 3, Admission::Everybody);
        let there = present();
        let spoken = Rollback { spoken_of: Some(v(2)), ..request(Aim::Back, &there) };
        assert_eq!(candidates(&state, &spoken), Ok(vec![v(1)]));
    }

    #[test]
    fn where_nothing_is_announced_nothing_is_left() {
        assert_eq!(leaves(&empty(), Aim::BackTo(v(1)), None, 1), Leaving { announced: None, bad: None });
    }
}
