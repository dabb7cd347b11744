//! Which reports the monitor lacks, as a pure function of what it has and what was reported last.

use crate::formats::announcement::{Numbers, Said};
use crate::formats::member_state::{MemberState, Word};
use crate::rollout::follow::{Heard, Memory, PATIENCE, Reason, Step};
use crate::tools::service_polling::state::State;
use crate::version::Version;

/// So often a report that the monitor does not have is repeated by one poll after the other; then
/// once in [`PAUSE_S`]. Something on the monitor may take it away each time: two members that have
/// one address, say.
const AT_ONCE: u32 = 3;

/// The seconds between later repetitions.
const PAUSE_S: i64 = 3600;

/// What the monitor has of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// It has none.
    Missing,
    /// These bytes.
    Bytes(Vec<u8>),
    /// It has one that was not fetched.
    Unknown,
}

/// What the monitor has of this member's reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// `version/ADDRESS`.
    pub report: Copy,
    /// `version/.state-ADDRESS`.
    pub state: Copy,
}

/// What is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing: the monitor has all of it.
    Nothing,
    /// Nothing now: it was repeated too often.
    TooOften,
    /// The state.
    State,
    /// The report, and the state with it.
    Report,
}

/// What the monitor has lost of the reports of a member on which this version is installed. Nothing
/// is lost that this poller did not report: a script may have installed and reported something
/// else.
pub fn lost(state: &State, copies: &Copies, installed: Option<&Version>, now_s: i64) -> Lost {
    let Some(reported) = &state.reported else { return Lost::Nothing };
    let last = &reported.state;
    let served = state.served.as_ref().filter(|served| Some(*served) == installed);
    let lacks_report = served.is_some_and(|served| match &copies.report {
        Copy::Missing => true,
        Copy::Bytes(bytes) => bytes.trim_ascii() != served.as_str().as_bytes(),
        Copy::Unknown => false,
    });
    let is_about_another = last.word == Word::Current && Some(&last.version) != installed;
    let lacks_state = !reported.is_refused
        && !is_about_another
        && match &copies.state {
            Copy::Missing => true,
            Copy::Bytes(bytes) => MemberState::parse(bytes).as_ref() != Some(last),
            Copy::Unknown => false,
        };
    let lost = match (lacks_report, lacks_state) {
        (true, _) => Lost::Report,
        (false, true) => Lost::State,
        (false, false) => return Lost::Nothing,
    };
    let since_s = now_s.saturating_sub(reported.repeated_at_unix_s);
    let is_due = reported.repeats < AT_ONCE || !(0..PAUSE_S).contains(&since_s);
    if is_due { lost } else { Lost::TooOften }
}

/// What a report of a version that serves says besides, for the people on the monitor; mostly
/// nothing.
pub fn remark(step: &Step, heard: &Heard, memory: &Memory) -> String {
    match (step, heard, memory.seen) {
        (Step::Wait(Reason::Behind), Heard::Said(Said::Announcement(said)), Some(seen)) => {
            let said_now = Numbers { epoch: said.epoch, sequence: said.sequence };
            let shown = |numbers: Numbers| format!("{} of epoch {}", numbers.sequence, numbers.epoch);
            format!(
                "the monitor announces {}, and {} was seen here: it was restored from a backup; dispatch --adopt {}",
                shown(said_now),
                shown(seen),
                said.model
            )
        }
        (Step::AsScript, ..) if memory.misfits > PATIENCE => {
            "follows service.conf: the monitor announces nothing any more".to_owned()
        }
        _ => String::new(),
    }
}

/// The last report, where it has to say something else now although nothing was installed: that the
/// monitor is behind, that it announces nothing any more, or that this has passed.
pub fn refreshed(
    state: &State,
    step: &Step,
    remark: &str,
    seen: Option<Numbers>,
    installed: Option<&Version>,
    now_s: i64,
) -> Option<MemberState> {
    let is_behind = *step == Step::Wait(Reason::Behind);
    let new = |word, version: &Version, message: &str, attempt| {
        MemberState::new(word, version.clone(), now_s, message).of(seen, attempt)
    };
    let Some(last) = state.reported.as_ref().map(|reported| &reported.state) else {
        return installed.filter(|_| is_behind).map(|version| new(Word::Current, version, remark, 0));
    };
    match last.word {
        Word::Current if Some(&last.version) == installed => {
            let new = new(Word::Current, &last.version, remark, last.attempt);
            // A monitor that cannot be read now, or does not fit for a moment, takes nothing back.
            let is_settled = !matches!(step, Step::Wait(reason) if *reason != Reason::Behind);
            (is_settled && new.message() != last.message()).then_some(new)
        }
        // What failed stays to be seen; only the numbers are news.
        word => {
            (is_behind && last.seen != seen).then(|| new(word, &last.version, last.message(), last.attempt))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::{Admission, Announcement, SCHEMA};
    use crate::names::ModelName;
    use crate::tools::service_polling::state::Reported;

    const V: &str = "20180413192258";
    const OLD: &str = "20180101000000";

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn reported(word: Word, about: &str) -> State {
        let last = MemberState::new(word, version(about), 1_523_618_578, "");
        State { served: Some(version(V)), reported: Some(Reported::new(last)), ..State::default() }
    }

    fn copies(state: &State, report: &str) -> Copies {
        let last = &state.reported.as_ref().unwrap().state;
        Copies { report: Copy::Bytes(report.into()), state: Copy::Bytes(last.render()) }
    }

    #[test]
    fn what_the_monitor_has_lost_is_sent_again() {
        let state = reported(Word::Current, V);
        let has = copies(&state, &format!("{V}\n"));
        let lost = |copies: &Copies| lost(&state, copies, Some(&version(V)), 0);
        assert_eq!(lost(&has), Lost::Nothing);
        assert_eq!(lost(&Copies { report: Copy::Missing, ..has.clone() }), Lost::Report);
        assert_eq!(lost(&copies(&state, OLD)), Lost::Report);
        for copy in [Copy::Missing, Copy::Bytes(b"x".to_vec())] {
            assert_eq!(lost(&Copies { state: copy, ..has.clone() }), Lost::State);
        }
        assert_eq!(lost(&Copies { report: Copy::Missing, state: Copy::Missing }), Lost::Report);
        assert_eq!(lost(&Copies { report: Copy::Unknown, state: Copy::Unknown }), Lost::Nothing);
    }

    #[test]
    fn what_this_poller_did_not_report_is_not_lost() {
        let nothing = Copies { report: Copy::Missing, state: Copy::Missing };
        assert_eq!(lost(&State::default(), &nothing, Some(&version(V)), 0), Lost::Nothing);
        // A script installed and reported another version since.
        let state = reported(Word::Current, V);
        assert_eq!(lost(&state, &nothing, Some(&version("20190101000000")), 0), Lost::Nothing);
        assert_eq!(lost(&state, &nothing, None, 0), Lost::Nothing);
    }

    #[test]
    fn a_failure_that_did_not_arrive_is_sent_again_and_with_it_what_serves() {
        let state = reported(Word::RolledBack, "20180501000000");
        let has = copies(&state, V);
        let lost = |copies: &Copies| lost(&state, copies, Some(&version(V)), 0);
        assert_eq!(lost(&has), Lost::Nothing);
        assert_eq!(lost(&Copies { state: Copy::Missing, ..has.clone() }), Lost::State);
        assert_eq!(lost(&Copies { report: Copy::Missing, ..has }), Lost::Report);
    }

    #[test]
    fn nothing_is_repeated_each_minute_for_ever() {
        let nothing = Copies { report: Copy::Missing, state: Copy::Missing };
        let mut state = reported(Word::Current, V);
        let at = |state: &State, now_s| lost(state, &nothing, Some(&version(V)), now_s);
        let reported = state.reported.as_mut().unwrap();
        (reported.repeats, reported.repeated_at_unix_s) = (2, 1000);
        assert_eq!(at(&state, 1001), Lost::Report);
        state.reported.as_mut().unwrap().repeats = 3;
        assert_eq!(at(&state, 1001), Lost::TooOften);
        assert_eq!(at(&state, 1000 + PAUSE_S), Lost::Report);
        assert_eq!(at(&state, 900), Lost::Report, "the clock was set back");
        let reported = state.reported.as_mut().unwrap();
        (reported.repeats, reported.is_refused) = (0, true);
        let has_report = Copies { report: Copy::Bytes(V.into()), state: Copy::Missing };
        assert_eq!(lost(&state, &has_report, Some(&version(V)), 0), Lost::Nothing);
    }

    fn announcement(sequence: u64) -> Heard {
        Heard::Said(Said::Announcement(Box::new(Announcement {
            schema: SCHEMA,
            must: Vec::new(),
            model: ModelName::parse(b"m").unwrap(),
            epoch: 100,
            sequence,
            attempt: 0,
            target: None,
            before: None,
            admitted: Admission::Everybody,
            held: Vec::new(),
        })))
    }

    #[test]
    fn a_monitor_that_is_behind_is_reported_once_and_when_it_has_passed() {
        let seen = Some(Numbers { epoch: 100, sequence: 7 });
        let memory = Memory { seen, ..Memory::default() };
        let behind = Step::Wait(Reason::Behind);
        let text = remark(&behind, &announcement(3), &memory);
        assert_eq!(
            text,
            "the monitor announces 3 of epoch 100, and 7 of epoch 100 was seen here: it was restored from a backup; \
             dispatch --adopt m"
        );
        let installed = version(V);
        let at =
            |state: &State, step: &Step, text: &str| refreshed(state, step, text, seen, Some(&installed), 5);
        let mut state = reported(Word::Current, V);
        let new = at(&state, &behind, &text).unwrap();
        assert_eq!((new.word, new.seen, new.message()), (Word::Current, seen, text.as_str()));
        state.reported = Some(Reported::new(new.clone()));
        assert_eq!(at(&state, &behind, &text), None, "once");
        assert_eq!(at(&state, &Step::Wait(Reason::Misfit), ""), None, "that settles nothing");
        assert_eq!(at(&state, &Step::Stay, "").unwrap().message(), "");
        // One that never reported.
        assert_eq!(at(&State::default(), &behind, &text), Some(new));
        assert_eq!(at(&State::default(), &Step::Stay, ""), None);
        // A failure keeps its reason.
        let failed = MemberState::new(Word::NotInstalled, version("20180501000000"), 1, "disk");
        let mut state = State { reported: Some(Reported::new(failed)), ..State::default() };
        let new = at(&state, &behind, &text).unwrap();
        assert_eq!((new.word, new.seen, new.message()), (Word::NotInstalled, seen, "disk"));
        state.reported = Some(Reported::new(new));
        assert_eq!(at(&state, &behind, &text), None);
    }

    #[test]
    fn a_member_that_follows_service_conf_again_says_so() {
        let memory = Memory { misfits: PATIENCE + 1, ..Memory::default() };
        assert!(remark(&Step::AsScript, &Heard::Nothing, &memory).starts_with("follows service.conf"));
        assert_eq!(remark(&Step::AsScript, &Heard::Nothing, &Memory::default()), "");
        assert_eq!(remark(&Step::Stay, &announcement(3), &memory), "");
        let state = reported(Word::Current, V);
        let new = refreshed(&state, &Step::AsScript, "follows", None, Some(&version(V)), 5).unwrap();
        assert_eq!((new.message(), new.seen), ("follows", None));
    }
}
