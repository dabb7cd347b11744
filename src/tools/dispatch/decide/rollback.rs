//! `--rollback` and `--pin`: a version that is whole in its place is announced again, at once and to all.
//!
//! What is to be done is in the journal before anything is done: from then on the next tick finishes it, whatever becomes of
//! this run.

use crate::error::{Error, Result};
use crate::formats::mark::Mark;
use crate::identity::Identity;
use crate::time::Seconds;
use crate::tools::dispatch::cli::{Aim, Rollback, Target};
use crate::tools::dispatch::decide::check::was_dispatched;
use crate::tools::dispatch::decide::{
    Action, Configuration, Plan, SCRIPT_IS_DEAD_AFTER, Status, Success, announced, first_announced, is_about,
    update,
};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::version::Version;

/// What a rollback looks at.
#[derive(Debug)]
pub struct RollbackFacts {
    /// The upgrade in flight.
    pub status: Option<Status>,
    /// The announced upload.
    pub success: Option<Success>,
    /// What an earlier run of this toolkit left.
    pub journal: Option<Journal>,
    /// Every `config_*/service.conf`, by name.
    pub configurations: Vec<Configuration>,
    /// For an upgrade in flight: how long ago something was last written below the version's directory.
    pub quiet_for: Option<Seconds>,
    /// Whether a rollout in batches left `.admitted`.
    pub has_admitted: bool,
    /// Every version in `plugin/`.
    pub present: Vec<Version>,
    /// The versions that were marked bad.
    pub bad: Vec<Mark>,
    /// The version that is pinned.
    pub pin: Option<Mark>,
    /// Now, in seconds since 1970.
    pub now_s: i64,
}

/// What is noted of a rollback besides the version that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The version that is left is bad.
    Bad(Mark),
    /// The version that is announced stays, whatever is pushed.
    Pinned(Mark),
    /// Nothing.
    None,
}

impl Note {
    /// Reads a note from a journal; what is none is [`Note::None`].
    pub fn parse(bytes: &[u8]) -> Note {
        let mark = |bytes: &[u8]| Mark::parse(bytes, "").ok();
        let bad = bytes.strip_prefix(b"bad\n").and_then(mark).map(Note::Bad);
        let pinned = || bytes.strip_prefix(b"pinned\n").and_then(mark).map(Note::Pinned);
        bad.or_else(pinned).unwrap_or(Note::None)
    }

    /// The note's bytes.
    pub fn render(&self) -> Vec<u8> {
        match self {
            Note::Bad(mark) => [b"bad\n", &mark.render()[..]].concat(),
            Note::Pinned(mark) => [b"pinned\n", &mark.render()[..]].concat(),
            Note::None => Vec::new(),
        }
    }

    fn action(&self) -> Option<Action> {
        match self {
            Note::Bad(mark) => Some(Action::MarkBad(mark.clone())),
            Note::Pinned(mark) => Some(Action::Pin(mark.clone())),
            Note::None => None,
        }
    }
}

/// The upgrade that was announced, or is just being announced, by this toolkit.
fn in_flight(facts: &RollbackFacts) -> Option<&Journal> {
    let journal = facts.journal.as_ref().filter(|journal| is_about(journal, facts.status.as_ref()))?;
    (journal.phase != Phase::Publishing).then_some(journal)
}

/// The version that is left: the one in flight, otherwise what the first service.conf announces.
pub fn left(facts: &RollbackFacts) -> Option<Version> {
    let announced = || Version::of_directory(first_announced(&facts.configurations)?).ok();
    in_flight(facts).map(|journal| journal.version.clone()).or_else(announced)
}

/// The versions to go to, the best first; whoever asked for one gets that or none.
///
/// Fails where there is none, where it is bad or not there, and where something else stands in the way.
pub fn candidates(facts: &RollbackFacts, request: &Rollback) -> Result<Vec<Version>> {
    check_script(facts, request)?;
    let model = &request.model;
    if let (Some(pin), Aim::Back | Aim::BackTo(_)) = (&facts.pin, &request.aim) {
        let version = &pin.version;
        return Err(Error::failed(format!(
            "{model}: {version} was pinned {pin}; let it go first, with dispatch --unpin {model}"
        )));
    }
    match &request.aim {
        Aim::BackTo(version) | Aim::Pin(version) => {
            asked_for(facts, request, version).map(|()| vec![version.clone()])
        }
        Aim::Back => {
            let candidates = previous(facts);
            let left = left(facts).map_or_else(|| "nothing".to_owned(), |left| left.to_string());
            match candidates.is_empty() {
                true => Err(Error::failed(format!(
                    "{model}: there is nothing to go back to: {left} is announced, and plugin/ has no good version before it; \
                     push one that works"
                ))),
                false => Ok(candidates),
            }
        }
    }
}

/// The good versions before the announced one, the best first: what was announced before it, then by name.
pub fn previous(facts: &RollbackFacts) -> Vec<Version> {
    let Some(left) = left(facts) else { return Vec::new() };
    let is_good = |version: &&Version| {
        **version < left
            && facts.present.contains(version)
            && !facts.bad.iter().any(|bad| bad.version == **version)
    };
    let newest_first = |versions: &[Version]| {
        let mut versions: Vec<Version> = versions.iter().filter(is_good).cloned().collect();
        versions.sort();
        versions.reverse();
        versions
    };
    let mut candidates = newest_first(in_flight(facts).map_or(&[], |journal| &journal.before));
    let by_name = newest_first(&facts.present);
    let further: Vec<Version> = by_name.into_iter().filter(|version| !candidates.contains(version)).collect();
    candidates.extend(further);
    candidates
}

fn asked_for(facts: &RollbackFacts, request: &Rollback, version: &Version) -> Result<()> {
    let model = &request.model;
    if !facts.present.contains(version) {
        let newest =
            facts.present.iter().rev().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let there =
            if newest.is_empty() { "it is empty".to_owned() } else { format!("the newest are {newest}") };
        return Err(Error::failed(format!("{model}: there is no version {version} in plugin/; {there}")));
    }
    match facts.bad.iter().find(|bad| bad.version == *version) {
        Some(bad) if !request.is_forced => Err(Error::failed(format!(
            "{model}: {version} was marked bad {bad}; name another version, or add --force"
        ))),
        _ => Ok(()),
    }
}

/// A script that copies a version, or is about to announce one, would undo what is done beside it.
fn check_script(facts: &RollbackFacts, request: &Rollback) -> Result<()> {
    let is_ours = facts.journal.as_ref().is_some_and(|journal| is_about(journal, facts.status.as_ref()));
    let Some(status) = facts.status.as_ref().filter(|_| !is_ours) else { return Ok(()) };
    let is_announced =
        status.version.as_ref().is_some_and(|begun| announced(&facts.configurations) == [begun.clone()]);
    let quiet_for = facts.quiet_for.map_or(status.age, |quiet_for| quiet_for.min(status.age));
    if is_announced || quiet_for > SCRIPT_IS_DEAD_AFTER {
        return Ok(());
    }
    Err(Error::locked(format!(
        "{}: a script began an upgrade {} ago and may be at work on it; try again in a minute",
        request.model, status.age
    )))
}

/// Whether a version is all that is announced, and no other is in flight.
fn is_announced_already(facts: &RollbackFacts, to: &Version) -> bool {
    let in_flight = facts.status.as_ref().map(|status| status.version.as_ref());
    announced(&facts.configurations) == [to.clone()] && in_flight.is_none_or(|version| version == Some(to))
}

/// Announces a version again.
///
/// Fails, and nothing is to be done, when a service.conf cannot name it.
pub fn plan(
    facts: &RollbackFacts,
    request: &Rollback,
    target: &Target,
    to: &Version,
    mark: impl Fn(&Version) -> Mark,
) -> Result<Plan> {
    let model = &request.model;
    // Whoever goes on to a later version has not said that the earlier one is bad.
    let left = left(facts).filter(|left| left > to);
    let note = match (&request.aim, &left) {
        (Aim::Pin(version), _) => Note::Pinned(mark(version)),
        (_, Some(left)) => Note::Bad(mark(left)),
        (_, None) => Note::None,
    };
    if is_announced_already(facts, to) {
        let mut commit: Vec<Action> = match note {
            Note::Pinned(_) => note.action().into_iter().collect(),
            Note::Bad(_) | Note::None => Vec::new(),
        };
        commit.push(Action::Say(match request.aim {
            Aim::Pin(_) => format!("{model}: pinned {to}, which is announced already"),
            Aim::Back | Aim::BackTo(_) => format!("{model}: {to} is announced already"),
        }));
        return Ok(Plan { commit, ..Plan::default() });
    }
    let mut before = announced(&facts.configurations);
    before.extend(in_flight(facts).map(|journal| journal.version.clone()));
    before.retain(|version| version != to);
    before.sort();
    before.dedup();
    let journal = Journal {
        phase: Phase::RollingBack,
        version: to.clone(),
        // A pinned model's push is held, not forgotten.
        success: if let Note::Bad(_) = note { consumed(facts) } else { Identity::NONE },
        begun_s: Some(facts.now_s),
        before,
        content: note.render(),
    };
    let status = facts.status.as_ref();
    let announcing = announce_again(&facts.configurations, status, facts.has_admitted, target, &journal)?;
    let half_copied = facts.journal.as_ref().filter(|journal| journal.phase == Phase::Publishing);
    let mut commit: Vec<Action> =
        half_copied.map(|journal| Action::DiscardStaged(journal.version.clone())).into_iter().collect();
    commit.push(Action::Record(journal));
    commit.extend(announcing);
    Ok(Plan { commit, ..Plan::default() })
}

/// The `success` of the version that is left: it must not be published again.
fn consumed(facts: &RollbackFacts) -> Identity {
    let ours = facts.journal.as_ref().filter(|journal| is_about(journal, facts.status.as_ref()));
    if ours.is_some_and(|journal| journal.phase == Phase::Publishing) {
        return Identity::NONE;
    }
    let announced = left(facts).map(|left| left.to_string().into_bytes());
    let success = facts.success.as_ref();
    let dispatched =
        success.filter(|success| was_dispatched(success, facts.status.as_ref(), ours, announced.as_deref()));
    dispatched.map_or(Identity::NONE, |success| success.identity)
}

/// What a rollback does once the journal says so: again, where an earlier run died over it.
///
/// Fails when a service.conf cannot name the version.
pub fn announce_again(
    configurations: &[Configuration],
    status: Option<&Status>,
    has_admitted: bool,
    target: &Target,
    journal: &Journal,
) -> Result<Vec<Action>> {
    let (model, version) = (&target.model, &journal.version);
    let replacements = update::announce(configurations, target, version)?;
    let note = Note::parse(&journal.content);
    let mut actions = vec![match status {
        None => Action::MarkInFlight(version.clone()),
        Some(_) => Action::MarkInFlightAgain(version.clone()),
    }];
    actions.extend(note.action());
    // Marked bad it can only be where whoever asked for it knew that.
    actions.push(Action::ForgetBad(version.clone()));
    actions.extend(replacements.into_iter().map(Action::ReplaceConfiguration));
    if has_admitted {
        // Afterwards, so that those who were kept out of the version before never take that one.
        actions.push(Action::AdmitEverybody);
    }
    actions.push(Action::ForgetRollout);
    if journal.success != Identity::NONE {
        actions.push(Action::RemoveSuccess(journal.success));
    }
    actions.extend([
        Action::KeepInFlight(version.clone()),
        Action::Record(Journal { phase: Phase::Announced, ..journal.clone() }),
        Action::Say(match note {
            Note::Bad(mark) => {
                format!("{model}: rolled back to {version}; {} is marked bad {mark}", mark.version)
            }
            Note::Pinned(_) => {
                format!("{model}: pinned {version}; what is pushed is held until dispatch --unpin {model}")
            }
            Note::None => format!("{model}: announced {version} again"),
        }),
    ]);
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::formats::mark::Reason;
    use crate::names::ModelName;

    const V: [&str; 4] = ["20180101000000", "20180102000000", "20180103000000", "20180104000000"];

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn mark(version: &Version) -> Mark {
        let at = chrono::DateTime::parse_from_rfc3339("2018-04-13T19:40:05+08:00").unwrap();
        let why = Reason::parse(b"w").unwrap();
        Mark { version: version.clone(), by: "ann@monitor".to_owned(), at, why }
    }

    fn request(aim: Aim) -> Rollback {
        let model = ModelName::parse(b"m").unwrap();
        Rollback { model, aim, why: Reason::default(), is_forced: false }
    }

    fn target() -> Target {
        Target::parse(b"m", b"/w", b"m.so").unwrap()
    }

    fn success(inode: u64, text: &str) -> Success {
        let identity = Identity { device: 1, inode, modified_ns: 0, size: 15 };
        let content = text.as_bytes().to_vec();
        Success { identity, age: Seconds(90), announces: Version::announced_in(&content), content }
    }

    /// The last of four versions is announced; `status` says so, too, where it is in flight.
    fn facts(in_flight: Option<Phase>) -> RollbackFacts {
        let conf = format!(
            "[module]\nmodulepath=/w/{0}/lib/m.so\nmoduleconfig=/w/{0}/data\nmoduleversion={0}\n",
            V[3]
        );
        let journal = in_flight.map(|phase| Journal {
            phase,
            version: version(V[3]),
            success: success(7, V[3]).identity,
            begun_s: Some(400),
            before: vec![version(V[1])],
            content: Vec::new(),
        });
        RollbackFacts {
            status: in_flight.map(|_| Status { age: Seconds(60), version: Some(version(V[3])) }),
            success: None,
            journal,
            configurations: vec![Configuration { path: "config_1".into(), bytes: conf.into_bytes() }],
            quiet_for: None,
            has_admitted: false,
            present: V.map(version).to_vec(),
            bad: Vec::new(),
            pin: None,
            now_s: 1000,
        }
    }

    fn names(facts: &RollbackFacts, aim: Aim) -> Vec<String> {
        candidates(facts, &request(aim)).unwrap().iter().map(ToString::to_string).collect()
    }

    fn refused(facts: &RollbackFacts, aim: Aim) -> Error {
        candidates(facts, &request(aim)).unwrap_err()
    }

    fn planned(facts: &RollbackFacts, aim: Aim, to: &str) -> Vec<Action> {
        plan(facts, &request(aim), &target(), &version(to), mark).unwrap().commit
    }

    #[test]
    fn the_one_before_comes_first_then_the_newest_good_one_and_never_a_bad_or_later_one() {
        let mut facts = facts(None);
        assert_eq!(names(&facts, Aim::Back), [V[2], V[1], V[0]]);
        facts.bad.push(mark(&version(V[2])));
        facts.present.push(version("20190101000000"));
        assert_eq!(names(&facts, Aim::Back), [V[1], V[0]]);
        facts.bad.extend([mark(&version(V[1])), mark(&version(V[0]))]);
        assert!(refused(&facts, Aim::Back).to_string().contains("there is nothing to go back to: 20180104"));
        let facts = super::tests::facts(Some(Phase::Announced));
        assert_eq!(names(&facts, Aim::Back), [V[1], V[2], V[0]], "V[2] was never announced");
    }

    #[test]
    fn what_is_bad_missing_or_pinned_is_refused_and_force_overrides_the_first() {
        let mut facts = facts(None);
        facts.bad.push(mark(&version(V[2])));
        let said = refused(&facts, Aim::BackTo(version(V[2]))).to_string();
        assert!(said.starts_with("m: 20180103000000 was marked bad by ann@monitor on 2018-04-13"), "{said}");
        let mut forced = request(Aim::BackTo(version(V[2])));
        forced.is_forced = true;
        assert!(candidates(&facts, &forced).is_ok());
        let said = refused(&facts, Aim::Pin(version("20170101"))).to_string();
        assert!(said.contains("no version 20170101 in plugin/; the newest are 20180104000000, "), "{said}");
        facts.pin = Some(mark(&version(V[1])));
        assert!(refused(&facts, Aim::Back).to_string().contains("dispatch --unpin m"));
        assert_eq!(names(&facts, Aim::Pin(version(V[0]))), [V[0]]);
    }

    #[test]
    fn beside_a_script_at_work_nothing_is_done() {
        let mut facts = facts(None);
        facts.status = Some(Status { age: Seconds(500), version: Some(version("20190101000000")) });
        facts.quiet_for = Some(Seconds(3));
        assert_eq!(refused(&facts, Aim::Back).exit, Exit::Locked);
        facts.quiet_for = Some(Seconds(121));
        assert_eq!(names(&facts, Aim::Back)[0], V[2]);
        facts.status = Some(Status { age: Seconds(5), version: Some(version(V[3])) });
        assert_eq!(names(&facts, Aim::Back)[0], V[2], "it has announced it");
        facts.status = Some(Status { age: Seconds(5), version: None });
        assert_eq!(refused(&facts, Aim::Back).exit, Exit::Locked);
    }

    #[test]
    fn the_journal_says_all_of_it_before_anything_is_done() {
        let mut facts = facts(Some(Phase::Announced));
        facts.success = Some(success(7, V[3]));
        facts.has_admitted = true;
        let actions = planned(&facts, Aim::Back, V[1]);
        let [
            Action::Record(journal),
            Action::MarkInFlightAgain(_),
            Action::MarkBad(bad),
            Action::ForgetBad(_),
            Action::ReplaceConfiguration(_),
            Action::AdmitEverybody,
            Action::ForgetRollout,
            Action::RemoveSuccess(identity),
            Action::KeepInFlight(_),
            Action::Record(Journal { phase: Phase::Announced, .. }),
            Action::Say(_),
        ] = &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((journal.phase, journal.before.clone()), (Phase::RollingBack, vec![version(V[3])]));
        assert_eq!(journal.begun_s, Some(1000), "it is an upgrade of its own");
        assert_eq!((Note::parse(&journal.content), bad.version.as_str()), (Note::Bad(bad.clone()), V[3]));
        assert_eq!(*identity, success(7, "").identity);
        // Whoever finishes it does the same.
        let again =
            announce_again(&facts.configurations, facts.status.as_ref(), true, &target(), journal).unwrap();
        assert_eq!(again, actions[1..]);
    }

    #[test]
    fn another_push_stays_and_so_does_every_push_when_a_version_is_pinned() {
        let mut facts = facts(Some(Phase::Announced));
        let removes = |facts: &RollbackFacts, aim: Aim| {
            planned(facts, aim, V[1]).iter().any(|action| matches!(action, Action::RemoveSuccess(_)))
        };
        facts.success = Some(success(8, "20190101000000"));
        assert!(!removes(&facts, Aim::Back));
        facts.success = Some(success(7, V[3]));
        assert!(removes(&facts, Aim::Back));
        assert!(!removes(&facts, Aim::Pin(version(V[1]))));
        facts.journal = None;
        assert!(removes(&facts, Aim::Back), "a script's upgrade");
    }

    #[test]
    fn nothing_is_announced_twice_and_who_goes_on_to_a_later_version_marks_none_bad() {
        let facts = facts(None);
        let actions = planned(&facts, Aim::BackTo(version(V[3])), V[3]);
        assert_eq!(actions, [Action::Say(format!("m: {} is announced already", V[3]))]);
        let actions = planned(&facts, Aim::Pin(version(V[3])), V[3]);
        assert!(matches!(actions[..], [Action::Pin(_), Action::Say(_)]));
        let actions = planned(&facts, Aim::BackTo(version("20190101")), "20190101");
        assert!(!actions.iter().any(|action| matches!(action, Action::MarkBad(_))), "{actions:?}");
    }

    #[test]
    fn half_a_copy_goes_and_its_push_stays() {
        let mut facts = facts(Some(Phase::Publishing));
        facts.status.as_mut().unwrap().version = Some(version("20190101"));
        let journal = facts.journal.as_mut().unwrap();
        journal.version = version("20190101");
        facts.success = Some(success(7, "20190101"));
        let actions = planned(&facts, Aim::Back, V[2]);
        assert_eq!(actions[0], Action::DiscardStaged(version("20190101")));
        assert!(!actions.iter().any(|action| matches!(action, Action::RemoveSuccess(_))));
        assert!(
            actions
                .iter()
                .any(|action| matches!(action, Action::MarkBad(bad) if bad.version == version(V[3])))
        );
    }
}
