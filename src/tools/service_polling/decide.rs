//! What a poll does, as a pure function of what was observed.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::formats::announcement::Bytes;
use crate::formats::member_state::Word;
use crate::formats::service_conf;
use crate::names::{ModelName, shown};
use crate::retention::{Keep, expendable};
use crate::rollout::follow::Step;
use crate::tools::service_polling::state::{Change, Pending, State, Todo};
use crate::version::Version;

/// What is to be installed, unless it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The service.conf; it names the version.
    pub conf: Vec<u8>,
    /// Which attempt of the announcement this is; `None` where service.conf is followed, as a
    /// script does.
    pub attempt: Option<u32>,
    /// The digest of the version's manifest; `None` where the announcement names none.
    pub manifest: Option<Digest>,
}

/// What a poll looks at.
#[derive(Debug)]
pub struct Observed {
    /// The model.
    pub model: ModelName,
    /// What is to be installed; `None` where nothing is for this member now.
    pub wanted: Option<Wanted>,
    /// The installed service.conf.
    pub installed: Option<Vec<u8>>,
    /// The versions of this member, where old ones are to be deleted.
    pub retention: Option<Retention>,
}

/// The versions of a member.
#[derive(Debug)]
pub struct Retention {
    /// How many are kept.
    pub keep: Keep,
    /// Every version in `<workspace>/plugin/MODEL/`.
    pub present: Vec<Version>,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch a version, whole, check it against its manifest, and put it in its place. The other
    /// versions may be here already, and may hold much of it. Where that may take long, the monitor
    /// is told that this member is updating.
    FetchVersion {
        /// Which.
        version: Version,
        /// Where much of it may be.
        similar: Vec<Version>,
        /// The digest of its manifest, where the announcement names it.
        manifest: Option<Digest>,
    },
    /// Let the site's own program look at a version that is fetched.
    PreRestart(Version),
    /// Tell the site's own program that the service came up with a version.
    PostRestart(Version),
    /// Tell the site's own program that the service did not come up with a version, and that the
    /// one before was put back.
    OnFailure(Version),
    /// Remember how far this is.
    Save(Change),
    /// Replace the installed service.conf.
    Install(Vec<u8>),
    /// Run `service_stop`.
    Stop,
    /// Run `service_start`.
    Start,
    /// Wait until the service accepts connections on its port.
    AwaitService,
    /// Tell the monitor how far this member is with a version. Best effort.
    Tell(Word, Version),
    /// Tell the monitor which version this member has.
    Report(Version),
    /// Delete versions that nobody needs any more.
    DeleteVersions(Vec<Version>),
    /// A line for the log.
    Say(String),
}

/// The steps of a poll.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; a failure ends them.
    pub steps: Vec<Action>,
    /// What is done when the service did not start or did not come up (defect 16); nothing, where
    /// there is nothing to go back to: then the next poll tries again.
    pub roll_back: Vec<Action>,
    /// What is done when that has succeeded; a failure is only said.
    pub tidy: Vec<Action>,
    /// The announced version that all this is about; `None` where there is nothing to do.
    pub about: Option<Version>,
    /// Which attempt it is.
    pub attempt: u32,
}

impl Plan {
    /// What the monitor is told when the step of this number fails, and nothing was put back.
    /// Nothing where the version serves already: then only the report failed, or cleaning up.
    pub fn word_of_failure(&self, step: usize) -> Option<Word> {
        let (done, left) = self.steps.split_at_checked(step)?;
        let serves = |action: &Action| matches!(action, Action::Report(_) | Action::Save(Change::PutBack));
        if !left.iter().any(serves) {
            return None;
        }
        match (left.first()?, done.iter().any(|action| matches!(action, Action::Install(_)))) {
            (Action::Report(_) | Action::Save(Change::PutBack), _) => None,
            (_, false) if self.steps.iter().any(|action| matches!(action, Action::FetchVersion { .. })) => {
                Some(Word::NotInstalled)
            }
            _ => Some(Word::NotRestarted),
        }
    }

    /// The version with which the service is about to come up, or to fail; `None` where an earlier
    /// one is put back.
    pub fn brings_up(&self) -> Option<&Version> {
        self.steps.iter().find_map(|action| match action {
            Action::Report(version) => Some(version),
            Action::FetchVersion { .. }
            | Action::PreRestart(_)
            | Action::PostRestart(_)
            | Action::OnFailure(_)
            | Action::Save(_)
            | Action::Install(_)
            | Action::Stop
            | Action::Start
            | Action::AwaitService
            | Action::Tell(..)
            | Action::DeleteVersions(_)
            | Action::Say(_) => None,
        })
    }
}

/// What a step of [`Memory::follow`](crate::rollout::follow::Memory::follow) makes this member
/// install, where the monitor has this service.conf. Fails where an offer has none.
pub fn wanted(step: &Step, service_conf: &[u8]) -> Result<Option<Wanted>> {
    match step {
        Step::Stay | Step::Wait(_) => Ok(None),
        Step::AsScript => Ok(Some(Wanted { conf: service_conf.to_vec(), ..Wanted::default() })),
        Step::Take { offer, attempt } => match offer.conf() {
            Some(conf) => {
                Ok(Some(Wanted { conf: conf.to_vec(), attempt: Some(*attempt), manifest: offer.manifest }))
            }
            None => Err(Error::failed(format!(
                "the monitor's announcement has no config_1/service.conf for {}; see dispatch --status there",
                offer.version
            ))),
        },
    }
}

/// A version that is announced and did not come up here, and in which attempt: what was reported,
/// unless that did not arrive.
pub fn known_to_fail(observed: &Observed, state: &State) -> Option<(Version, u32)> {
    let wanted = observed.wanted.as_ref().filter(|wanted| has_failed(wanted, state))?;
    Some((named_in(&wanted.conf).ok()?, state.failed.as_ref()?.attempt))
}

/// Whether the service did not come up here with what is wanted, and nobody asked for another
/// attempt since.
fn has_failed(wanted: &Wanted, state: &State) -> bool {
    state.failed.as_ref().is_some_and(|failed| {
        failed.conf.0 == wanted.conf && wanted.attempt.is_none_or(|attempt| attempt == failed.attempt)
    })
}

/// The steps of a poll; none when what is wanted is installed, or nothing is for this member now,
/// and nothing is pending.
///
/// Fails when the wanted service.conf names no version that could be fetched, or one that did not
/// come up here.
pub fn decide(observed: &Observed, state: &State) -> Result<Plan> {
    match observed.wanted.as_ref().cloned().or_else(|| pending_one(observed, state)) {
        Some(wanted) => decide_about(&wanted, observed, state),
        None => Ok(Plan::default()),
    }
}

fn decide_about(wanted: &Wanted, observed: &Observed, state: &State) -> Result<Plan> {
    let conf = &wanted.conf;
    let previous = state.previous.as_ref().map(|Bytes(bytes)| bytes.as_slice());
    let is_installed = observed.installed.as_ref() == Some(conf);
    let has_failed = has_failed(wanted, state);
    if let (Some(pending), Some(previous)) = (&state.pending, previous)
        && (is_installed || has_failed)
        && let Todo::Rollback | Todo::AwaitRollback = pending.todo
    {
        let mut steps = match pending.todo {
            Todo::AwaitRollback => came_back(previous, &pending.version),
            Todo::Restart | Todo::Await | Todo::Report | Todo::Rollback => put_back(previous, pending),
        };
        let about = pending.version.clone();
        steps.push(Action::Tell(Word::RolledBack, about.clone()));
        return Ok(Plan { steps, about: Some(about), attempt: pending.attempt, ..Plan::default() });
    }
    if is_installed {
        // Of a poll that died before it installed another service.conf, only what it left to be
        // done counts.
        let Some(pending) = &state.pending else { return Ok(Plan::default()) };
        let version = named_in(conf)?;
        let attempt = wanted.attempt.unwrap_or(pending.attempt);
        let this = Pending { todo: pending.todo, version: version.clone(), attempt };
        let other = previous.filter(|previous| previous != conf);
        let (mut steps, back_to) = match pending.todo {
            Todo::Restart | Todo::Rollback | Todo::AwaitRollback => (restart(conf, &this), other),
            Todo::Await => (came_up(conf, &this), None),
            Todo::Report => (report(conf, &this), None),
        };
        steps.push(Action::Say(format!("finished what an earlier poll began: {version}")));
        steps.extend(prune(observed, state, conf, previous));
        let (roll_back, tidy) = roll_back(observed, state, conf, back_to, &this);
        return Ok(Plan { steps, roll_back, tidy, about: Some(version), attempt });
    }
    let version = named_in(conf)?;
    let before = observed.installed.as_deref().map(version_of);
    if has_failed {
        let model = &observed.model;
        let again = match wanted.attempt {
            Some(_) => format!(
                "dispatch --resume {model} or dispatch --retry {model} on the monitor makes this member try it again"
            ),
            None => "remove bin/etc/.rollout/state.json to have this one tried again".to_owned(),
        };
        return Err(Error::failed(format!(
            "the service did not come up with {version} and serves {} again; push a version that works, or {again}",
            before.unwrap_or_default()
        )));
    }
    // One with which the service did not come up is nothing to go back to.
    let is_failed = |conf: &Vec<u8>| state.failed.as_ref().is_some_and(|failed| failed.conf.0 == *conf);
    let works = observed.installed.as_ref().filter(|installed| !is_failed(installed));
    let attempt = wanted.attempt.unwrap_or_default();
    let this = Pending { todo: Todo::Restart, version: version.clone(), attempt };
    let mut steps = vec![
        Action::FetchVersion {
            version: version.clone(),
            similar: similar(&version, observed, state),
            manifest: wanted.manifest,
        },
        Action::PreRestart(version.clone()),
        Action::Save(Change::Installing {
            pending: this.clone(),
            previous: works.cloned(),
            left: observed.installed.as_deref().and_then(names),
        }),
        Action::Install(conf.clone()),
    ];
    steps.extend(restart(conf, &this));
    steps.push(Action::Say(match before {
        Some(before) if before == version.as_str() => format!("installed another service.conf for {version}"),
        Some(before) => format!("upgraded from {before} to {version}"),
        None => format!("installed {version}"),
    }));
    let back_to = works.map(Vec::as_slice).or(previous);
    steps.extend(prune(observed, state, conf, back_to));
    let (roll_back, tidy) = roll_back(observed, state, conf, back_to, &this);
    Ok(Plan { steps, roll_back, tidy, about: Some(version), attempt })
}

/// The versions that may be much like another: itself, which a script may have fetched in part, the
/// installed one, and the one before.
fn similar(version: &Version, observed: &Observed, state: &State) -> Vec<Version> {
    let mut similar = vec![version.clone()];
    let previous = state.previous.as_ref().map(|Bytes(bytes)| bytes);
    for conf in [observed.installed.as_ref(), previous].into_iter().flatten() {
        similar.extend(names(conf).filter(|named| !similar.contains(named)));
    }
    similar
}

/// Whether something can be finished while the monitor does not answer: what an earlier poll left
/// to be done with the service.
pub fn is_finished_without_monitor(state: &State) -> bool {
    match state.pending.as_ref().map(|pending| pending.todo) {
        None | Some(Todo::Report) => false,
        Some(Todo::Restart | Todo::Await | Todo::Rollback | Todo::AwaitRollback) => true,
    }
}

/// What was wanted when an earlier poll left something to be done.
fn pending_one(observed: &Observed, state: &State) -> Option<Wanted> {
    let pending = state.pending.as_ref()?;
    let failed = state.failed.as_ref().map(|failed| &failed.conf.0);
    let conf = match pending.todo {
        Todo::Restart | Todo::Await | Todo::Report => observed.installed.as_ref(),
        Todo::Rollback | Todo::AwaitRollback => failed.or(observed.installed.as_ref()),
    };
    Some(Wanted { conf: conf?.clone(), attempt: Some(pending.attempt), manifest: None })
}

/// The version that a service.conf names, if it names one.
pub fn names(service_conf: &[u8]) -> Option<Version> {
    Version::of_directory(service_conf::value(service_conf, "moduleversion")?).ok()
}

/// The version that a service.conf of the monitor names.
fn named_in(service_conf: &[u8]) -> Result<Version> {
    let named = service_conf::value(service_conf, "moduleversion").unwrap_or_default();
    Version::of_directory(named).map_err(|_| {
        Error::failed(format!(
            "the monitor's service.conf has moduleversion={}, which names no version; push the model, or correct that line",
            shown(named)
        ))
    })
}

fn version_of(service_conf: &[u8]) -> String {
    let version = service_conf::value(service_conf, "moduleversion").unwrap_or(b"no version");
    String::from_utf8_lossy(version).into_owned()
}

/// The same, a step further.
fn next(this: &Pending, todo: Todo) -> Action {
    Action::Save(Change::Next(Pending { todo, ..this.clone() }))
}

/// legacy: service_polling.sh, "install and restart: a cold start"
fn restart(conf: &[u8], this: &Pending) -> Vec<Action> {
    let mut steps = vec![Action::Stop, Action::Start, next(this, Todo::Await)];
    steps.extend(came_up(conf, this));
    steps
}

fn came_up(conf: &[u8], this: &Pending) -> Vec<Action> {
    let hook = Action::PostRestart(this.version.clone());
    let mut steps = vec![Action::AwaitService, hook, next(this, Todo::Report)];
    steps.extend(report(conf, this));
    steps
}

fn report(conf: &[u8], this: &Pending) -> Vec<Action> {
    vec![Action::Report(this.version.clone()), Action::Save(Change::Works(conf.to_vec()))]
}

/// Back to the service.conf before, and what is tidied up then. The failed one is noted first, so
/// that it is not tried again whenever this run dies.
fn roll_back(
    observed: &Observed,
    state: &State,
    failed: &[u8],
    previous: Option<&[u8]>,
    this: &Pending,
) -> (Vec<Action>, Vec<Action>) {
    let Some(previous) = previous else { return (Vec::new(), Vec::new()) };
    let mut steps = vec![Action::Save(Change::Failed {
        pending: Pending { todo: Todo::Rollback, ..this.clone() },
        conf: failed.to_vec(),
        back: names(previous),
    })];
    steps.extend(put_back(previous, this));
    (steps, forget_failed(observed, state, failed, previous).into_iter().collect())
}

/// Where old versions are deleted, only the last one stays of those that did not come up here:
/// nothing else remembers of the others that they did not, and a few bad releases would push the
/// good ones out.
fn forget_failed(observed: &Observed, state: &State, failed: &[u8], previous: &[u8]) -> Option<Action> {
    let earlier = names(&state.failed.as_ref()?.conf.0)?;
    let is_needed = [failed, previous].into_iter().any(|conf| names(conf).as_ref() == Some(&earlier));
    let is_there = observed.retention.as_ref()?.present.contains(&earlier);
    (is_there && !is_needed).then(|| Action::DeleteVersions(vec![earlier]))
}

/// The old versions that go when a service.conf is installed and works (defect 10): never those
/// that it, the one before it, or one that did not come up here names.
fn prune(observed: &Observed, state: &State, installed: &[u8], previous: Option<&[u8]>) -> Vec<Action> {
    let Some(Retention { keep, present }) = &observed.retention else { return Vec::new() };
    let failed = state.failed.as_ref().map(|failed| failed.conf.0.as_slice());
    let protected: Vec<Version> =
        [Some(installed), previous, failed].into_iter().flatten().filter_map(names).collect();
    let versions = expendable(present.clone(), &protected, &[], *keep);
    if versions.is_empty() { Vec::new() } else { vec![Action::DeleteVersions(versions)] }
}

fn put_back(previous: &[u8], this: &Pending) -> Vec<Action> {
    let install = Action::Install(previous.to_vec());
    let mut steps = vec![install, Action::Stop, Action::Start, next(this, Todo::AwaitRollback)];
    steps.extend(came_back(previous, &this.version));
    steps
}

fn came_back(previous: &[u8], failed: &Version) -> Vec<Action> {
    let line = format!("put {} back", version_of(previous));
    let back = Action::Save(Change::PutBack);
    vec![Action::AwaitService, Action::OnFailure(failed.clone()), back, Action::Say(line)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::{FIRST_INSTANCE, Offer};
    use crate::rollout::follow::Reason;
    use crate::tools::service_polling::state::Failed;

    fn conf(version: &str) -> Vec<u8> {
        format!("[module]\nmoduleversion={version}\n").into_bytes()
    }

    const OLD: &str = "20180101000000";
    const NEW: &str = "20180413192258";

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    /// `TODO VERSION`
    fn pending(text: &str) -> Pending {
        let (todo, about) = text.split_once(' ').unwrap();
        let todo = serde_json::from_value(todo.into()).unwrap();
        Pending { todo, version: version(about), attempt: 0 }
    }

    fn failed(conf: Vec<u8>) -> Option<Failed> {
        Some(Failed { conf: Bytes(conf), attempt: 0 })
    }

    /// What is observed, and what is remembered.
    struct Case {
        observed: Observed,
        state: State,
    }

    impl Case {
        fn plan(&self) -> Result<Plan> {
            decide(&self.observed, &self.state)
        }

        fn wants(&mut self, conf: Vec<u8>) {
            self.observed.wanted = Some(Wanted { conf, attempt: Some(0), manifest: None });
        }
    }

    fn case(fetched: &str, installed: Option<&str>, journal: Option<&str>) -> Case {
        let observed = Observed {
            model: ModelName::parse(b"m").unwrap(),
            wanted: Some(Wanted { conf: conf(fetched), attempt: Some(0), manifest: None }),
            installed: installed.map(conf),
            retention: None,
        };
        Case { observed, state: State { pending: journal.map(pending), ..State::default() } }
    }

    fn decided(fetched: &str, installed: Option<&str>, journal: Option<&str>) -> Plan {
        case(fetched, installed, journal).plan().unwrap()
    }

    #[test]
    fn an_unchanged_service_conf_means_nothing_to_do() {
        assert_eq!(decided(NEW, Some(NEW), None), Plan::default());
    }

    #[test]
    fn a_poll_that_died_before_the_restart_is_finished_by_the_next() {
        let plan = decided(NEW, Some(NEW), Some("restart 20180413192258"));
        assert_eq!(plan.steps[..2], [Action::Stop, Action::Start]);
        assert!(plan.steps.contains(&Action::Save(Change::Works(conf(NEW)))));
    }

    #[test]
    fn a_version_that_was_not_installed_is_not_reported() {
        let steps = decided(OLD, Some(OLD), Some("restart 20180413192258")).steps;
        assert!(steps.contains(&Action::Report(Version::parse(OLD.as_bytes()).unwrap())), "{steps:?}");
    }

    #[test]
    fn a_report_that_did_not_arrive_is_sent_again_without_a_restart() {
        let plan = decided(NEW, Some(NEW), Some("report 20180413192258"));
        assert!(matches!(
            plan.steps[..],
            [Action::Report(_), Action::Save(Change::Works(_)), Action::Say(_)]
        ));
    }

    #[test]
    fn a_version_is_complete_before_service_conf_names_it_and_the_restart_comes_after() {
        let steps = decided(NEW, Some(OLD), None).steps;
        let place = |wanted: fn(&Action) -> bool| steps.iter().position(wanted).unwrap();
        let fetch = place(|a| matches!(a, Action::FetchVersion { .. }));
        let keep = place(|a| matches!(a, Action::Save(Change::Installing { previous: Some(_), .. })));
        let install = place(|a| matches!(a, Action::Install(_)));
        let start = place(|a| matches!(a, Action::Start));
        let report = place(|a| matches!(a, Action::Report(_)));
        assert!(fetch < keep && keep < install && install < start && start < report);
    }

    #[test]
    fn what_the_monitor_is_told_of_a_failure_depends_on_how_far_the_poll_came() {
        use Word::{NotInstalled, NotRestarted};
        let told = |plan: &Plan, wanted: fn(&Action) -> bool| {
            plan.word_of_failure(plan.steps.iter().position(wanted).unwrap())
        };
        let taken_up = decided(NEW, None, None);
        assert_eq!(told(&taken_up, |a| matches!(a, Action::FetchVersion { .. })), Some(NotInstalled));
        assert_eq!(told(&taken_up, |a| matches!(a, Action::Install(_))), Some(NotInstalled));
        assert_eq!(told(&taken_up, |a| matches!(a, Action::Start)), Some(NotRestarted));
        assert_eq!(told(&taken_up, |a| matches!(a, Action::Report(_))), None, "it serves");
        assert_eq!(told(&taken_up, |a| matches!(a, Action::Save(Change::Works(_)))), None, "it serves");
        let resumed = decided(NEW, Some(NEW), Some("await 20180413192258"));
        assert_eq!(told(&resumed, |a| matches!(a, Action::AwaitService)), Some(NotRestarted));
        assert!(!resumed.steps.iter().any(|a| matches!(a, Action::Tell(..))), "that was told");
        assert_eq!(decided(NEW, Some(NEW), None).word_of_failure(0), None);
    }

    #[test]
    fn a_rollback_that_a_later_poll_finishes_is_told_about_the_version_that_failed() {
        let new = version(NEW);
        for pending in ["rollback", "await-rollback"] {
            let mut case = case(NEW, Some(OLD), Some(&format!("{pending} {NEW}")));
            case.state.previous = Some(Bytes(conf(OLD)));
            case.state.failed = failed(conf(NEW));
            let plan = case.plan().unwrap();
            assert_eq!(plan.steps.last(), Some(&Action::Tell(Word::RolledBack, new.clone())));
            assert_eq!(
                (plan.about.as_ref(), plan.word_of_failure(0)),
                (Some(&new), Some(Word::NotRestarted))
            );
            assert_eq!(plan.brings_up(), None);
            assert_eq!(known_to_fail(&case.observed, &case.state), Some((new.clone(), 0)));
        }
        let unknown = case(NEW, Some(OLD), None);
        assert_eq!(known_to_fail(&unknown.observed, &unknown.state), None);
    }

    #[test]
    fn a_service_that_does_not_come_up_gets_the_service_conf_before() {
        let roll_back = decided(NEW, Some(OLD), None).roll_back;
        let pending = pending(&format!("rollback {NEW}"));
        let noted = Change::Failed { pending, conf: conf(NEW), back: Some(version(OLD)) };
        assert_eq!(roll_back[0], Action::Save(noted));
        assert!(roll_back.contains(&Action::Install(conf(OLD))));
        assert!(!roll_back.iter().any(|action| matches!(action, Action::Report(_))), "it is not confirmed");
        assert_eq!(decided(NEW, None, None).roll_back, [], "a first version has none before it");
    }

    #[test]
    fn a_rollback_that_died_is_finished_by_the_next_poll() {
        let mut case = case(NEW, Some(NEW), Some("rollback 20180413192258"));
        case.state.previous = Some(Bytes(conf(OLD)));
        let plan = case.plan().unwrap();
        assert_eq!(plan.steps[0], Action::Install(conf(OLD)));
        assert_eq!(plan.roll_back, []);
    }

    #[test]
    fn a_service_that_loads_slowly_is_started_once() {
        for (journal, installed) in [("await 20180413192258", NEW), ("await-rollback 20180413192258", OLD)] {
            let mut case = case(NEW, Some(installed), Some(journal));
            case.state.previous = Some(Bytes(conf(OLD)));
            case.state.failed = (installed == OLD).then(|| conf(NEW)).and_then(failed);
            let steps = case.plan().unwrap().steps;
            assert_eq!(steps[0], Action::AwaitService, "{journal}");
            assert!(!steps.contains(&Action::Start));
        }
    }

    #[test]
    fn a_later_version_ends_a_rollback_that_does_not_come_up() {
        let mut case = case("20180501000000", Some(NEW), Some("rollback 20180413192258"));
        case.state.previous = Some(Bytes(conf(OLD)));
        case.state.failed = failed(conf(NEW));
        let plan = case.plan().unwrap();
        assert!(matches!(plan.steps[0], Action::FetchVersion { .. }));
        let keeps = |a: &Action| matches!(a, Action::Save(Change::Installing { previous: Some(_), .. }));
        assert!(!plan.steps.iter().any(keeps));
        assert!(plan.roll_back.contains(&Action::Install(conf(OLD))));
    }

    #[test]
    fn what_did_not_come_up_is_not_tried_again_until_it_changes() {
        let mut case = case(NEW, Some(OLD), None);
        case.state.failed = failed(conf(NEW));
        assert!(case.plan().unwrap_err().to_string().contains("serves 20180101000000 again"));
        case.wants(conf("20180501000000"));
        assert!(!case.plan().unwrap().steps.is_empty());
    }

    #[test]
    fn old_versions_go_last_and_never_the_installed_the_previous_or_the_failed_one() {
        let names = ["20170101", "20170102", "20170103", "20170104", "20170105", OLD, NEW];
        let versions = |names: &[&str]| -> Vec<Version> {
            names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
        };
        let retention = || Some(Retention { keep: Keep::parse(b"1").unwrap(), present: versions(&names) });
        let expected = Action::DeleteVersions(versions(&["20170101", "20170103", "20170104"]));

        let mut upgrade = case(NEW, Some(OLD), None);
        upgrade.state.failed = failed(conf("20170102"));
        upgrade.observed.retention = retention();
        let plan = upgrade.plan().unwrap();
        assert_eq!(plan.steps.last(), Some(&expected));
        assert!(!plan.roll_back.iter().any(|action| matches!(action, Action::DeleteVersions(_))));

        for journal in ["restart", "await", "report"] {
            let mut resumed = case(NEW, Some(NEW), Some(&format!("{journal} {NEW}")));
            resumed.state.previous = Some(Bytes(conf(OLD)));
            resumed.state.failed = failed(conf("20170102"));
            resumed.observed.retention = retention();
            assert_eq!(resumed.plan().unwrap().steps.last(), Some(&expected), "{journal}");
        }
        // A rollback that did not come up, ended by a later version: the one before is still what
        // can be gone back to.
        let mut later = case("20180501000000", Some(NEW), Some(&format!("rollback {NEW}")));
        later.state.previous = Some(Bytes(conf("20170102")));
        later.state.failed = failed(conf(NEW));
        later.observed.retention = retention();
        let left = Action::DeleteVersions(versions(&["20170101", "20170103", "20170104", "20170105"]));
        assert_eq!(later.plan().unwrap().steps.last(), Some(&left));
        let mut idle = case(NEW, Some(NEW), None);
        idle.observed.retention = retention();
        assert_eq!(idle.plan().unwrap(), Plan::default());
    }

    #[test]
    fn of_the_versions_that_did_not_come_up_here_only_the_last_one_stays() {
        let earlier = "20180301000000";
        let versions = |names: &[&str]| -> Vec<Version> {
            names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
        };
        let mut upgrade = case(NEW, Some(OLD), None);
        upgrade.state.failed = failed(conf(earlier));
        assert_eq!(upgrade.plan().unwrap().tidy, [], "nothing is deleted unless that is asked for");
        let present = versions(&[OLD, earlier]);
        upgrade.observed.retention = Some(Retention { keep: Keep::parse(b"9").unwrap(), present });
        let expected = [Action::DeleteVersions(versions(&[earlier]))];
        assert_eq!(upgrade.plan().unwrap().tidy, expected);
        let mut resumed = case(NEW, Some(NEW), Some(&format!("await {NEW}")));
        resumed.state.previous = Some(Bytes(conf(OLD)));
        resumed.state.failed = upgrade.state.failed.clone();
        resumed.observed.retention = upgrade.observed.retention.take();
        assert_eq!(resumed.plan().unwrap().tidy, [], "an answer that is late ends nothing");
        resumed.state.pending = Some(pending(&format!("restart {NEW}")));
        assert_eq!(resumed.plan().unwrap().tidy, expected);
        // The same version with another service.conf, and one that is gone already.
        for named in [NEW, OLD, "20170101000000"] {
            resumed.state.failed = failed([b"# remark\n".to_vec(), conf(named)].concat());
            assert_eq!(resumed.plan().unwrap().tidy, [], "{named}");
        }
    }

    #[test]
    fn a_member_whose_turn_has_not_come_does_nothing_but_finish_what_is_pending() {
        let mut waiting = case(NEW, Some(OLD), None);
        waiting.observed.wanted = None;
        assert_eq!(waiting.plan().unwrap(), Plan::default());
        waiting.state.pending = Some(pending(&format!("restart {OLD}")));
        waiting.state.previous = Some(Bytes(conf("20170101000000")));
        let plan = waiting.plan().unwrap();
        assert_eq!(plan.steps[..2], [Action::Stop, Action::Start]);
        let failed_one = |action: &Action| match action {
            Action::Save(Change::Failed { conf, .. }) => Some(conf.clone()),
            _ => None,
        };
        assert_eq!(failed_one(&plan.roll_back[0]), Some(conf(OLD)));
        waiting.state.pending = Some(pending(&format!("report {OLD}")));
        let reported = report(&conf(OLD), &pending(&format!("report {OLD}")));
        assert_eq!(waiting.plan().unwrap().steps[..2], reported);
        let mut rolling_back = case("20180501000000", Some(NEW), Some(&format!("rollback {NEW}")));
        rolling_back.observed.wanted = None;
        rolling_back.state.previous = Some(Bytes(conf(OLD)));
        rolling_back.state.failed = failed(conf(NEW));
        assert_eq!(rolling_back.plan().unwrap().steps[0], Action::Install(conf(OLD)));
        rolling_back.observed.installed = Some(conf(OLD));
        rolling_back.state.pending = Some(pending(&format!("await-rollback {NEW}")));
        assert_eq!(rolling_back.plan().unwrap().steps[0], Action::AwaitService);
        let mut empty = case(NEW, None, None);
        empty.observed.wanted = None;
        assert_eq!(empty.plan().unwrap(), Plan::default());
    }

    #[test]
    fn another_attempt_tries_what_failed_again_and_notes_that_attempt() {
        let mut case = case(NEW, Some(OLD), None);
        case.state.previous = Some(Bytes(conf(OLD)));
        case.state.failed = failed(conf(NEW));
        let said = case.plan().unwrap_err().to_string();
        assert!(said.ends_with("dispatch --retry m on the monitor makes this member try it again"), "{said}");
        case.observed.wanted = Some(Wanted { conf: conf(NEW), attempt: Some(1), manifest: None });
        let plan = case.plan().unwrap();
        assert!(matches!(plan.steps[0], Action::FetchVersion { .. }));
        assert_eq!((plan.attempt, plan.brings_up()), (1, Some(&version(NEW))));
        let Action::Save(Change::Failed { pending, .. }) = &plan.roll_back[0] else { panic!() };
        assert_eq!((pending.todo, pending.attempt), (Todo::Rollback, 1));
        assert_eq!(known_to_fail(&case.observed, &case.state), None);
        // A script knows no attempts.
        case.state.failed = Some(Failed { conf: Bytes(conf(NEW)), attempt: 1 });
        case.observed.wanted = Some(Wanted { conf: conf(NEW), attempt: None, manifest: None });
        let said = case.plan().unwrap_err().to_string();
        assert!(said.contains("remove bin/etc/.rollout/state.json"), "{said}");
    }

    #[test]
    fn another_attempt_waits_for_the_end_of_a_rollback_of_what_is_installed() {
        let mut case = case(NEW, Some(NEW), Some(&format!("rollback {NEW}")));
        case.state.previous = Some(Bytes(conf(OLD)));
        case.state.failed = failed(conf(NEW));
        case.observed.wanted = Some(Wanted { conf: conf(NEW), attempt: Some(1), manifest: None });
        assert_eq!(case.plan().unwrap().steps[0], Action::Install(conf(OLD)));
    }

    #[test]
    fn what_is_left_and_what_is_kept_are_noted_at_once() {
        let plan = decided(NEW, Some(OLD), None);
        let pending = pending(&format!("restart {NEW}"));
        let noted = Change::Installing { pending, previous: Some(conf(OLD)), left: Some(version(OLD)) };
        assert!(plan.steps.contains(&Action::Save(noted)));
    }

    #[test]
    fn a_step_says_what_is_wanted_and_whose_manifest() {
        let offer = |name: &str| Offer {
            version: version(NEW),
            manifest: Some(Digest([7; 32])),
            service_conf: [(name.to_owned(), Bytes(conf(NEW)))].into(),
        };
        let take = |name| Step::Take { offer: offer(name), attempt: 2 };
        let taken = Wanted { conf: conf(NEW), attempt: Some(2), manifest: Some(Digest([7; 32])) };
        assert_eq!(wanted(&take(FIRST_INSTANCE), b"other"), Ok(Some(taken)));
        assert!(wanted(&take("config_2"), b"other").is_err());
        let as_script = Wanted { conf: conf(OLD), attempt: None, manifest: None };
        assert_eq!(wanted(&Step::AsScript, &conf(OLD)), Ok(Some(as_script)));
        for nothing in [Step::Stay, Step::Wait(Reason::Gone)] {
            assert_eq!(wanted(&nothing, &conf(OLD)), Ok(None));
        }
    }

    #[test]
    fn only_the_service_is_brought_up_without_the_monitor() {
        for (todo, expected) in [
            ("restart", true),
            ("await", true),
            ("report", false),
            ("rollback", true),
            ("await-rollback", true),
        ] {
            let state = State { pending: Some(pending(&format!("{todo} {NEW}"))), ..State::default() };
            assert_eq!(is_finished_without_monitor(&state), expected, "{todo}");
        }
        assert!(!is_finished_without_monitor(&State::default()));
    }

    #[test]
    fn a_service_conf_that_names_no_version_is_not_installed() {
        for named in ["", "../x", "a/b", "-x", "# remark"] {
            let said = case(named, None, None).plan().unwrap_err().to_string();
            assert!(said.contains("names no version"), "{named}");
        }
    }
}
