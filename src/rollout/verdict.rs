//! One verdict for each member: what it does about the announced version, from all that is known of it.
//!
//! Where the facts disagree:
//! 1. A hold, or a denial in rsyncd.conf, comes first: whatever the member serves, nobody waits for it.
//! 2. What the service itself answers decides what is served. It is asked only where the list says so (`probe=rpc`, `command`).
//! 3. Otherwise its report, and the state that its poller reported, whichever arrived later; the
//!    state, where they arrived together. So a legacy poller that reports after a new one is
//!    believed, and a failure that follows a report is seen.
//! 4. A state that is about another version than the announced says nothing.
//! 5. A service that does not answer is unreachable, unless its poller reported that this very
//!    version took it down, or that it is restarting it (believed for `RESTARTS_WITHIN`).
//!    Unreachable comes before waiting: a member that is dead now will not come.
//!
//! A legacy poller reports no state. Asked by its report alone, its member is current, waiting or
//! not polled yet; where the service answers, also unreachable, or restarted with the old version
//! (it reports the new one and serves another). That it could not install a version cannot be seen
//! from the monitor.

use chrono::{DateTime, FixedOffset};

use crate::formats::announcement::Numbers;
use crate::formats::held::Hold;
use crate::formats::member_state::{MemberState, Word};
use crate::rollout::policy::GIVEN_UP_AFTER;
use crate::time::Seconds;
use crate::version::Version;

/// How long a service that does not answer may be restarting: the time of a rollout.
const RESTARTS_WITHIN: Seconds = GIVEN_UP_AFTER;

/// What a member does about the announced version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It serves it.
    Current,
    /// Its poll is fetching or installing it, or restarting the service.
    Updating,
    /// Nothing is known to have begun.
    NotPolled,
    /// It is not admitted yet.
    Waiting,
    /// It is not admitted yet, and its poller is a script, which takes whatever service.conf names.
    TakesEverything,
    /// It is installed, and the service does not run with it; nothing was put back.
    NotRestarted,
    /// The poller restarted the service with it, and the service serves another.
    OldAgain,
    /// It could not be fetched, verified or installed.
    NotInstalled,
    /// The service did not come up with it; the version before was put back.
    RolledBack,
    /// The service does not answer.
    Unreachable,
    /// It must keep what it serves.
    Held,
}

impl Verdict {
    /// Every verdict there is.
    pub const ALL: [Verdict; 11] = [
        Verdict::Current,
        Verdict::Updating,
        Verdict::NotPolled,
        Verdict::Waiting,
        Verdict::TakesEverything,
        Verdict::NotRestarted,
        Verdict::OldAgain,
        Verdict::NotInstalled,
        Verdict::RolledBack,
        Verdict::Unreachable,
        Verdict::Held,
    ];

    /// The verdict for people.
    pub const fn words(self) -> &'static str {
        match self {
            Verdict::Current => "current",
            Verdict::Updating => "updating",
            Verdict::NotPolled => "not polled yet",
            Verdict::Waiting => "waiting",
            Verdict::TakesEverything => "takes everything (script)",
            Verdict::NotRestarted => "pulled but not restarted",
            Verdict::OldAgain => "restarted with the old version",
            Verdict::NotInstalled => "failed verification",
            Verdict::RolledBack => "rolled back",
            Verdict::Unreachable => "unreachable",
            Verdict::Held => "held",
        }
    }
}

/// Whether a member counts against `max_fail`: the version was tried there and did not take. Unreachable is for the caller, who
/// knows the deadline; a held one never counts.
pub fn has_failed(verdict: Verdict) -> bool {
    use Verdict::{NotInstalled, NotRestarted, OldAgain, RolledBack};
    matches!(verdict, RolledBack | NotInstalled | OldAgain | NotRestarted)
}

/// What a service said when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// It is not asked: the list says `probe=report`.
    NotAsked,
    /// It did not answer.
    Silent,
    /// It answered this.
    Serves(Vec<u8>),
}

/// Why a member keeps what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// The model's list of holds.
    Hold(Hold),
    /// The daemon denies it: the place in its configuration, `file:line`.
    Denied {
        /// The place.
        place: String,
        /// When it ends by itself.
        until: Option<DateTime<FixedOffset>>,
    },
}

/// All that is known of a member.
#[derive(Debug, Clone)]
pub struct MemberFacts {
    /// What its service answered.
    pub live: Live,
    /// Its report, without the end of the line, and how long ago it arrived.
    pub report: Option<(Vec<u8>, Seconds)>,
    /// The state that its poller reported last, and how long ago that arrived.
    pub told: Option<(MemberState, Seconds)>,
    /// The announcement that its poller has seen last.
    pub saw: Option<Numbers>,
    /// Whether its poller ever left a state: a script's does not.
    pub has_binary: bool,
    /// Whether the version is rolled out in batches, and this member is not admitted yet.
    pub is_waiting: bool,
    /// Why it keeps what it serves.
    pub hindrance: Option<Hindrance>,
}

impl MemberFacts {
    /// Which version it has, as far as is known: its service's answer, where that is asked,
    /// otherwise its report.
    pub fn answer(&self) -> Option<&[u8]> {
        match &self.live {
            Live::NotAsked => self.report.as_ref().map(|(version, _)| version.as_slice()),
            Live::Silent => None,
            Live::Serves(version) => Some(version),
        }
    }

    /// Why it failed with a version; `None` where it has not.
    pub fn failure(&self, announced: &Version) -> Option<String> {
        let verdict = Some(verdict(self, announced)).filter(|verdict| has_failed(*verdict))?;
        let told = self.told.as_ref().filter(|(state, _)| state.version == *announced);
        let message = told.map_or("", |(state, _)| state.message());
        let separator = if message.is_empty() { "" } else { ": " };
        Some(format!("{}{separator}{message}", verdict.words()))
    }

    /// What the poller reported about a version, unless a report arrived later: one of another
    /// version, or a legacy poller's.
    fn told_about(&self, version: &Version) -> Option<(Word, Seconds)> {
        let (state, age) = self.told.as_ref().filter(|(state, _)| state.version == *version)?;
        let is_latest = self.report.as_ref().is_none_or(|(_, report)| age <= report);
        is_latest.then_some((state.word, *age))
    }

    /// Whether the report names a version.
    fn reports(&self, version: &Version) -> bool {
        self.report.as_ref().is_some_and(|(report, _)| report == version.as_str().as_bytes())
    }
}

/// The verdict on a member.
pub fn verdict(facts: &MemberFacts, announced: &Version) -> Verdict {
    if facts.hindrance.is_some() {
        return Verdict::Held;
    }
    let told = facts.told_about(announced);
    match &facts.live {
        Live::Serves(version) if version == announced.as_str().as_bytes() => Verdict::Current,
        Live::Serves(_) => of_a_service_with_another(facts, announced, told.map(|(word, _)| word)),
        Live::Silent => match told {
            Some((Word::NotRestarted, _)) => Verdict::NotRestarted,
            Some((Word::RolledBack, _)) => Verdict::RolledBack,
            Some((Word::Updating, age)) if age <= RESTARTS_WITHIN => Verdict::Updating,
            _ => Verdict::Unreachable,
        },
        Live::NotAsked => match told {
            Some((word, _)) => of_word(word),
            None if facts.reports(announced) => Verdict::Current,
            None => of_one_that_has_not_begun(facts),
        },
    }
}

fn of_a_service_with_another(facts: &MemberFacts, announced: &Version, told: Option<Word>) -> Verdict {
    match told {
        Some(Word::Current) => Verdict::OldAgain,
        Some(word) => of_word(word),
        None if facts.reports(announced) => Verdict::OldAgain,
        None => of_one_that_has_not_begun(facts),
    }
}

fn of_word(word: Word) -> Verdict {
    match word {
        Word::Updating => Verdict::Updating,
        Word::NotInstalled => Verdict::NotInstalled,
        Word::NotRestarted => Verdict::NotRestarted,
        Word::RolledBack => Verdict::RolledBack,
        Word::Current => Verdict::Current,
    }
}

fn of_one_that_has_not_begun(facts: &MemberFacts) -> Verdict {
    match facts.is_waiting {
        true if facts.report.is_some() && !facts.has_binary => Verdict::TakesEverything,
        true => Verdict::Waiting,
        false => Verdict::NotPolled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Address;

    const V: &str = "20180413192258";
    const OLD: &str = "20170101000000";

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    /// `live`: `-` not asked, empty silent. `report` and `told`: `VERSION@AGE`, `WORD VERSION@AGE`, or empty.
    fn facts(live: &str, report: &str, told: &str) -> MemberFacts {
        let aged = |text: &str| {
            let (text, age) = text.split_once('@').unwrap();
            (text.to_owned(), Seconds(age.parse().unwrap()))
        };
        let live = match live {
            "-" => Live::NotAsked,
            "" => Live::Silent,
            version => Live::Serves(version.into()),
        };
        let report = (!report.is_empty()).then(|| aged(report));
        let told = (!told.is_empty()).then(|| aged(told)).map(|(text, age)| {
            let (word, version) = text.split_once(' ').unwrap();
            let state = format!(
                "{{\"word\":\"{word}\",\"version\":\"{version}\",\"at_unix_s\":1,\"message\":\"x\"}}"
            );
            (MemberState::parse(state.as_bytes()).unwrap(), age)
        });
        let report = report.map(|(version, age)| (version.into_bytes(), age));
        MemberFacts { live, report, told, saw: None, has_binary: true, is_waiting: false, hindrance: None }
    }

    #[test]
    fn every_verdict_from_its_facts() {
        use Verdict::*;
        let v = |text: &str| text.replace("NEW", V).replace("OLD", OLD);
        for (live, report, told, expected) in [
            // A legacy poller, asked by its report.
            ("-", "", "", NotPolled),
            ("-", "OLD@9000", "", NotPolled),
            ("-", "NEW@9000", "", Current),
            ("-", "", "current OLD@5", NotPolled),
            // A legacy poller whose service is asked.
            ("NEW", "", "", Current),
            ("NEW", "OLD@5", "", Current),
            ("OLD", "OLD@5", "", NotPolled),
            ("OLD", "NEW@5", "", OldAgain),
            ("", "NEW@5", "", Unreachable),
            ("", "", "", Unreachable),
            ("not a version", "", "", NotPolled),
            // A new poller, asked by its report.
            ("-", "OLD@900", "updating NEW@5", Updating),
            ("-", "", "updating NEW@90000", Updating),
            ("-", "OLD@900", "not-installed NEW@5", NotInstalled),
            ("-", "OLD@900", "not-restarted NEW@5", NotRestarted),
            ("-", "OLD@900", "rolled-back NEW@5", RolledBack),
            ("-", "NEW@5", "current NEW@5", Current),
            ("-", "OLD@900", "rolled-back OLD@5", NotPolled),
            // What came later counts; the state, where they came together.
            ("-", "NEW@4", "rolled-back NEW@5", Current),
            ("-", "NEW@5", "rolled-back NEW@5", RolledBack),
            ("-", "OLD@4", "current NEW@5", NotPolled),
            ("OLD", "NEW@4", "rolled-back NEW@5", OldAgain),
            // A new poller whose service is asked.
            ("NEW", "OLD@900", "updating NEW@5", Current),
            ("NEW", "OLD@900", "rolled-back NEW@5", Current),
            ("OLD", "OLD@99000", "updating NEW@90000", Updating),
            ("OLD", "OLD@900", "not-installed NEW@5", NotInstalled),
            ("OLD", "OLD@900", "not-restarted NEW@5", NotRestarted),
            ("OLD", "OLD@900", "rolled-back NEW@5", RolledBack),
            ("OLD", "NEW@5", "current NEW@5", OldAgain),
            ("OLD", "OLD@900", "current OLD@900", NotPolled),
            // Silence.
            ("", "OLD@9000", "updating NEW@1200", Updating),
            ("", "OLD@9000", "updating NEW@1201", Unreachable),
            ("", "OLD@900", "not-installed NEW@5", Unreachable),
            ("", "OLD@900", "not-restarted NEW@5", NotRestarted),
            ("", "OLD@900", "rolled-back NEW@5", RolledBack),
            ("", "NEW@5", "current NEW@5", Unreachable),
            ("", "OLD@900", "rolled-back OLD@5", Unreachable),
        ] {
            let known = facts(&v(live), &v(report), &v(told));
            let context = format!("live {live:?}, report {report:?}, told {told:?}");
            assert_eq!(verdict(&known, &version(V)), expected, "{context}");
            // Who is admitted makes a difference only where nothing has begun.
            let waiting = MemberFacts { is_waiting: true, ..known };
            let expected = if expected == NotPolled { Waiting } else { expected };
            assert_eq!(verdict(&waiting, &version(V)), expected, "waiting, {context}");
        }
        let of_a_script =
            |report: &str| MemberFacts { is_waiting: true, has_binary: false, ..facts("-", &v(report), "") };
        assert_eq!(verdict(&of_a_script("OLD@900"), &version(V)), TakesEverything);
        assert_eq!(verdict(&of_a_script("NEW@5"), &version(V)), Current);
        assert_eq!(verdict(&of_a_script(""), &version(V)), Waiting, "nothing is known of its poller");
    }

    #[test]
    fn a_held_member_is_held_whatever_it_does() {
        let hold = Hold {
            member: Address::parse(b"10.0.0.1").unwrap(),
            until: None,
            by: "ann@m1".to_owned(),
            reason: "disk".to_owned(),
        };
        let denied = Hindrance::Denied { place: "/etc/rsyncd.conf:7".to_owned(), until: None };
        for hindrance in [Hindrance::Hold(hold), denied] {
            for known in [facts(V, "", ""), facts("", "", ""), facts("-", "", &format!("rolled-back {V}@5"))]
            {
                let held = MemberFacts { hindrance: Some(hindrance.clone()), ..known };
                assert_eq!(verdict(&held, &version(V)), Verdict::Held);
            }
        }
    }

    #[test]
    fn only_a_version_that_was_tried_and_did_not_take_has_failed() {
        use Verdict::*;
        let all = [
            (Current, false),
            (Updating, false),
            (NotPolled, false),
            (Waiting, false),
            (NotRestarted, true),
            (OldAgain, true),
            (NotInstalled, true),
            (RolledBack, true),
            (Unreachable, false),
            (Held, false),
        ];
        assert!(all.iter().all(|(verdict, failed)| has_failed(*verdict) == *failed));
    }
}
