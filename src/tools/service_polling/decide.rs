//! What a poll does, as a pure function of what was observed.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::member_state::Word;
use crate::formats::service_conf;
use crate::names::shown;
use crate::retention::{Keep, expendable};
use crate::version::Version;

/// What an earlier poll left to be done after it installed a service.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// The service was not restarted yet, or could not be started.
    Restart,
    /// It was started and has not answered yet. It is not started once more: it may be loading its model.
    Await,
    /// The monitor was not told yet.
    Report,
    /// The service did not come up; the service.conf before is to be put back.
    RollBack,
    /// It is back, the service was started with it and has not answered yet.
    AwaitRollBack,
}

/// `<workspace>/bin/etc/.service_polling`: what is pending, for which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// What remains to be done.
    pub pending: Pending,
    /// The version that was installed.
    pub version: Version,
}

/// The journal's word for each state.
const WORDS: [(Pending, &str); 5] = [
    (Pending::Restart, "restart"),
    (Pending::Await, "await"),
    (Pending::Report, "report"),
    (Pending::RollBack, "rollback"),
    (Pending::AwaitRollBack, "await-rollback"),
];

impl Journal {
    /// Reads a journal; `None` where it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Journal> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (word, version) = text.trim_end().split_once(' ')?;
        let (pending, _) = WORDS.into_iter().find(|(_, known)| *known == word)?;
        Some(Journal { pending, version: Version::of_directory(version.as_bytes()).ok()? })
    }

    /// The journal's one line.
    pub fn render(&self) -> String {
        let word = WORDS.iter().find(|(pending, _)| *pending == self.pending).map_or("", |(_, word)| word);
        format!("{word} {}\n", self.version)
    }
}

/// What a poll looks at.
#[derive(Debug, Default)]
pub struct Observed {
    /// The monitor's service.conf.
    pub fetched: Vec<u8>,
    /// The installed one.
    pub installed: Option<Vec<u8>>,
    /// The one that was installed before.
    pub previous: Option<Vec<u8>>,
    /// One with which the service did not come up here.
    pub failed: Option<Vec<u8>>,
    /// What an earlier poll left to be done.
    pub journal: Option<Journal>,
    /// Whether the version that [`takes_up`] names is not for this member yet: its batch's turn has not come, or it is held.
    pub is_held_back: bool,
    /// What is known of the manifest of that version.
    pub manifest: KnownManifest,
    /// The versions of this member, where old ones are to be deleted.
    pub retention: Option<Retention>,
}

/// What is known of the monitor's manifest of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownManifest {
    /// Nothing; it is fetched when it is needed.
    #[default]
    NotAskedFor,
    /// The monitor has none: a script published the version.
    Missing,
    /// It lies here.
    Fetched(PathBuf),
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
    /// Fetch a version, whole, check it against its manifest, and put it in its place. The other versions may be here already,
    /// and may hold much of it. Meanwhile the monitor is told that this member is updating.
    FetchVersion {
        /// Which.
        version: Version,
        /// Where much of it may be.
        similar: Vec<Version>,
        /// What it is checked against.
        manifest: KnownManifest,
    },
    /// Let the site's own program look at a version that is fetched.
    PreRestart(Version),
    /// Tell the site's own program that the service came up with a version.
    PostRestart(Version),
    /// Tell the site's own program that the service did not come up with a version, and that the one before was put back.
    OnFailure(Version),
    /// Write down what remains to be done.
    Record(Journal),
    /// Keep the service.conf that is about to be replaced.
    KeepPrevious(Vec<u8>),
    /// Keep the service.conf that is not to be tried again.
    KeepFailed(Vec<u8>),
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
    /// Nothing remains to be done; this service.conf is the one that works.
    Done,
    /// Nothing remains to be done but to push a version that works.
    RolledBack,
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
    /// What is done when the service did not start or did not come up (defect 16); nothing, where there is nothing to go
    /// back to: then the next poll tries again.
    pub roll_back: Vec<Action>,
    /// What is done when that has succeeded; a failure is only said.
    pub tidy: Vec<Action>,
    /// The announced version that all this is about; `None` where there is nothing to do.
    pub about: Option<Version>,
}

impl Plan {
    /// What the monitor is told when the step of this number fails, and nothing was put back. Nothing where the version serves
    /// already: then only the report failed, or cleaning up.
    pub fn word_of_failure(&self, step: usize) -> Option<Word> {
        let (done, left) = self.steps.split_at_checked(step)?;
        let serves = |action: &Action| matches!(action, Action::Report(_) | Action::RolledBack);
        if !left.iter().any(serves) {
            return None;
        }
        match (left.first()?, done.iter().any(|action| matches!(action, Action::Install(_)))) {
            (Action::Report(_) | Action::RolledBack, _) => None,
            (_, false) if self.steps.iter().any(|action| matches!(action, Action::FetchVersion { .. })) => {
                Some(Word::NotInstalled)
            }
            _ => Some(Word::NotRestarted),
        }
    }
}

/// A version that is announced and did not come up here: what the monitor has been told, unless that did not arrive.
pub fn known_to_fail(observed: &Observed) -> Option<Version> {
    let has_failed = !observed.is_held_back && observed.failed.as_deref() == Some(&*observed.fetched);
    if has_failed { named_in(&observed.fetched).ok() } else { None }
}

/// The new version that the poll takes up where the monitor has this service.conf, unless the member has to wait.
/// A service.conf that was edited for the installed version is none.
pub fn takes_up(fetched: &[u8], installed: &Observed) -> Option<Version> {
    let is_known =
        [&installed.installed, &installed.failed].iter().any(|conf| conf.as_deref() == Some(fetched));
    if is_known {
        return None;
    }
    let named = service_conf::value(fetched, "moduleversion");
    let serves = installed.installed.as_deref().and_then(|conf| service_conf::value(conf, "moduleversion"));
    named.filter(|named| serves != Some(named)).and_then(|named| Version::of_directory(named).ok())
}

/// The steps of a poll; none when the monitor's service.conf is the installed one, or not for this member yet, and nothing is
/// pending.
///
/// Fails when the fetched service.conf names no version that could be fetched, or one that did not come up here.
pub fn decide(observed: &Observed) -> Result<Plan> {
    if !observed.is_held_back {
        return decide_about(&observed.fetched, observed);
    }
    // What is announced is not for this member yet: only what an earlier poll left to be done counts.
    pending_one(observed).map_or_else(|| Ok(Plan::default()), |conf| decide_about(conf, observed))
}

fn decide_about(fetched: &[u8], observed: &Observed) -> Result<Plan> {
    let is_installed = observed.installed.as_deref() == Some(fetched);
    let has_failed = observed.failed.as_deref() == Some(fetched);
    if let (Some(journal), Some(previous)) = (&observed.journal, &observed.previous)
        && (is_installed || has_failed)
        && matches!(journal.pending, Pending::RollBack | Pending::AwaitRollBack)
    {
        let mut steps = match journal.pending {
            Pending::AwaitRollBack => came_back(previous, &journal.version),
            _ => put_back(previous, &journal.version),
        };
        let about = journal.version.clone();
        steps.push(Action::Tell(Word::RolledBack, about.clone()));
        return Ok(Plan { steps, about: Some(about), ..Plan::default() });
    }
    if is_installed {
        // Of a poll that died before it installed another service.conf, only what it left to be done counts.
        let Some(Journal { pending, .. }) = observed.journal else { return Ok(Plan::default()) };
        let version = named_in(fetched)?;
        let other = observed.previous.as_deref().filter(|previous| *previous != fetched);
        let (mut steps, previous) = match pending {
            Pending::Restart | Pending::RollBack | Pending::AwaitRollBack => (restart(&version), other),
            Pending::Await => (came_up(&version), None),
            Pending::Report => (report(&version), None),
        };
        steps.push(Action::Say(format!("finished what an earlier poll began: {version}")));
        steps.extend(prune(observed, fetched, observed.previous.as_deref()));
        let (roll_back, tidy) = roll_back(observed, fetched, previous, &version);
        return Ok(Plan { steps, roll_back, tidy, about: Some(version) });
    }
    let version = named_in(fetched)?;
    let before = observed.installed.as_deref().map(version_of);
    if has_failed {
        return Err(Error::failed(format!(
            "the service did not come up with {version} and serves {} again; push a version that works, or remove \
             bin/etc/.service.conf.failed to have this one tried again",
            before.unwrap_or_default()
        )));
    }
    let mut steps = vec![
        Action::FetchVersion {
            version: version.clone(),
            similar: similar(&version, observed),
            manifest: match takes_up(fetched, observed) {
                Some(asked_for) if asked_for == version => observed.manifest.clone(),
                _ => KnownManifest::NotAskedFor,
            },
        },
        Action::PreRestart(version.clone()),
    ];
    // One with which the service did not come up is nothing to go back to.
    let works = observed.installed.as_ref().filter(|installed| observed.failed.as_ref() != Some(*installed));
    steps.extend(works.cloned().map(Action::KeepPrevious));
    steps.push(Action::Record(Journal { pending: Pending::Restart, version: version.clone() }));
    steps.push(Action::Install(fetched.to_vec()));
    steps.extend(restart(&version));
    steps.push(Action::Say(match before {
        Some(before) if before == version.as_str() => format!("installed another service.conf for {version}"),
        Some(before) => format!("upgraded from {before} to {version}"),
        None => format!("installed {version}"),
    }));
    let previous = works.or(observed.previous.as_ref()).map(Vec::as_slice);
    steps.extend(prune(observed, fetched, previous));
    let (roll_back, tidy) = roll_back(observed, fetched, previous, &version);
    Ok(Plan { steps, roll_back, tidy, about: Some(version) })
}

/// The versions that may be much like another: itself, which a script may have fetched in part, the installed one, and the one
/// before.
fn similar(version: &Version, observed: &Observed) -> Vec<Version> {
    let mut similar = vec![version.clone()];
    for conf in [&observed.installed, &observed.previous].into_iter().flatten() {
        let named = service_conf::value(conf, "moduleversion").and_then(|v| Version::of_directory(v).ok());
        similar.extend(named.filter(|named| !similar.contains(named)));
    }
    similar
}

/// What can be finished while the monitor does not answer: what an earlier poll left to be done with the service, as if the
/// monitor still announced what that poll was about. `None` where there is nothing.
pub fn without_monitor(installed: Observed) -> Option<Observed> {
    if installed.journal.as_ref()?.pending == Pending::Report {
        return None;
    }
    let fetched = pending_one(&installed)?.clone();
    Some(Observed { fetched, ..installed })
}

/// The service.conf that the monitor announced when an earlier poll left something to be done.
fn pending_one(observed: &Observed) -> Option<&Vec<u8>> {
    match observed.journal.as_ref()?.pending {
        Pending::Restart | Pending::Await | Pending::Report => observed.installed.as_ref(),
        Pending::RollBack | Pending::AwaitRollBack => {
            observed.failed.as_ref().or(observed.installed.as_ref())
        }
    }
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

/// legacy: service_polling.sh, "install and restart: a cold start"
fn restart(version: &Version) -> Vec<Action> {
    let journal = Journal { pending: Pending::Await, version: version.clone() };
    let mut steps = vec![Action::Stop, Action::Start, Action::Record(journal)];
    steps.extend(came_up(version));
    steps
}

fn came_up(version: &Version) -> Vec<Action> {
    let journal = Journal { pending: Pending::Report, version: version.clone() };
    let mut steps = vec![Action::AwaitService, Action::PostRestart(version.clone()), Action::Record(journal)];
    steps.extend(report(version));
    steps
}

fn report(version: &Version) -> Vec<Action> {
    vec![Action::Report(version.clone()), Action::Done]
}

/// Back to the service.conf before, and what is tidied up then. The failed one is noted first, so that it is not tried again
/// whenever this run dies.
fn roll_back(
    observed: &Observed,
    failed: &[u8],
    previous: Option<&[u8]>,
    version: &Version,
) -> (Vec<Action>, Vec<Action>) {
    let Some(previous) = previous else { return (Vec::new(), Vec::new()) };
    let mut steps = vec![
        Action::KeepFailed(failed.to_vec()),
        Action::Record(Journal { pending: Pending::RollBack, version: version.clone() }),
    ];
    steps.extend(put_back(previous, version));
    (steps, forget_failed(observed, failed, previous).into_iter().collect())
}

/// Where old versions are deleted, only the last one stays of those that did not come up here: nothing else remembers of the
/// others that they did not, and a few bad releases would push the good ones out.
fn forget_failed(observed: &Observed, failed: &[u8], previous: &[u8]) -> Option<Action> {
    let named = |conf: &[u8]| Version::of_directory(service_conf::value(conf, "moduleversion")?).ok();
    let earlier = named(observed.failed.as_deref()?)?;
    let is_needed = [failed, previous].into_iter().any(|conf| named(conf).as_ref() == Some(&earlier));
    let is_there = observed.retention.as_ref()?.present.contains(&earlier);
    (is_there && !is_needed).then(|| Action::DeleteVersions(vec![earlier]))
}

/// The old versions that go when a service.conf is installed and works (defect 10): never those that it, the one before it, or
/// one that did not come up here names.
fn prune(observed: &Observed, installed: &[u8], previous: Option<&[u8]>) -> Vec<Action> {
    let Some(Retention { keep, present }) = &observed.retention else { return Vec::new() };
    let named = [Some(installed), previous, observed.failed.as_deref()];
    let named = named.into_iter().flatten().filter_map(|conf| service_conf::value(conf, "moduleversion"));
    let protected: Vec<Version> = named.filter_map(|value| Version::of_directory(value).ok()).collect();
    let versions = expendable(present.clone(), &protected, &[], *keep);
    if versions.is_empty() { Vec::new() } else { vec![Action::DeleteVersions(versions)] }
}

fn put_back(previous: &[u8], version: &Version) -> Vec<Action> {
    let journal = Journal { pending: Pending::AwaitRollBack, version: version.clone() };
    let mut steps =
        vec![Action::Install(previous.to_vec()), Action::Stop, Action::Start, Action::Record(journal)];
    steps.extend(came_back(previous, version));
    steps
}

fn came_back(previous: &[u8], failed: &Version) -> Vec<Action> {
    let line = format!("put {} back", version_of(previous));
    vec![Action::AwaitService, Action::OnFailure(failed.clone()), Action::RolledBack, Action::Say(line)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(version: &str) -> Vec<u8> {
        format!("[module]\nmoduleversion={version}\n").into_bytes()
    }

    const OLD: &str = "20180101000000";
    const NEW: &str = "20180413192258";

    fn observed(fetched: &str, installed: Option<&str>, journal: Option<&str>) -> Observed {
        let journal = journal.and_then(|text| Journal::parse(text.as_bytes()));
        Observed { fetched: conf(fetched), installed: installed.map(conf), journal, ..Observed::default() }
    }

    fn decided(fetched: &str, installed: Option<&str>, journal: Option<&str>) -> Plan {
        decide(&observed(fetched, installed, journal)).unwrap()
    }

    #[test]
    fn an_unchanged_service_conf_means_nothing_to_do() {
        assert_eq!(decided(NEW, Some(NEW), None), Plan::default());
    }

    #[test]
    fn a_poll_that_died_before_the_restart_is_finished_by_the_next() {
        let plan = decided(NEW, Some(NEW), Some("restart 20180413192258\n"));
        assert_eq!(plan.steps[..2], [Action::Stop, Action::Start]);
        assert!(plan.steps.contains(&Action::Done));
    }

    #[test]
    fn a_version_that_was_not_installed_is_not_reported() {
        let steps = decided(OLD, Some(OLD), Some("restart 20180413192258\n")).steps;
        assert!(steps.contains(&Action::Report(Version::parse(OLD.as_bytes()).unwrap())), "{steps:?}");
    }

    #[test]
    fn a_report_that_did_not_arrive_is_sent_again_without_a_restart() {
        let plan = decided(NEW, Some(NEW), Some("report 20180413192258\n"));
        assert!(matches!(plan.steps[..], [Action::Report(_), Action::Done, Action::Say(_)]));
    }

    #[test]
    fn a_version_is_complete_before_service_conf_names_it_and_the_restart_comes_after() {
        let steps = decided(NEW, Some(OLD), None).steps;
        let place = |wanted: fn(&Action) -> bool| steps.iter().position(wanted).unwrap();
        let fetch = place(|a| matches!(a, Action::FetchVersion { .. }));
        let keep = place(|a| matches!(a, Action::KeepPrevious(_)));
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
        assert_eq!(told(&taken_up, |a| matches!(a, Action::Done)), None, "it serves");
        let resumed = decided(NEW, Some(NEW), Some("await 20180413192258\n"));
        assert_eq!(told(&resumed, |a| matches!(a, Action::AwaitService)), Some(NotRestarted));
        assert!(!resumed.steps.iter().any(|a| matches!(a, Action::Tell(..))), "that was told");
        assert_eq!(decided(NEW, Some(NEW), None).word_of_failure(0), None);
    }

    #[test]
    fn a_rollback_that_a_later_poll_finishes_is_told_about_the_version_that_failed() {
        let failed = Version::parse(NEW.as_bytes()).unwrap();
        for pending in ["rollback", "await-rollback"] {
            let mut observed = observed(NEW, Some(OLD), Some(&format!("{pending} {NEW}\n")));
            observed.previous = Some(conf(OLD));
            observed.failed = Some(conf(NEW));
            let plan = decide(&observed).unwrap();
            assert_eq!(plan.steps.last(), Some(&Action::Tell(Word::RolledBack, failed.clone())));
            assert_eq!(
                (plan.about.as_ref(), plan.word_of_failure(0)),
                (Some(&failed), Some(Word::NotRestarted))
            );
            assert_eq!(known_to_fail(&observed), Some(failed.clone()));
        }
        assert_eq!(known_to_fail(&observed(NEW, Some(OLD), None)), None);
    }

    #[test]
    fn a_service_that_does_not_come_up_gets_the_service_conf_before() {
        let roll_back = decided(NEW, Some(OLD), None).roll_back;
        assert_eq!(roll_back[0], Action::KeepFailed(conf(NEW)));
        assert!(roll_back.contains(&Action::Install(conf(OLD))));
        assert!(!roll_back.iter().any(|action| matches!(action, Action::Report(_))), "it is not confirmed");
        assert_eq!(decided(NEW, None, None).roll_back, [], "a first version has none before it");
    }

    #[test]
    fn a_rollback_that_died_is_finished_by_the_next_poll() {
        let mut observed = observed(NEW, Some(NEW), Some("rollback 20180413192258\n"));
        observed.previous = Some(conf(OLD));
        let plan = decide(&observed).unwrap();
        assert_eq!(plan.steps[0], Action::Install(conf(OLD)));
        assert_eq!(plan.roll_back, []);
    }

    #[test]
    fn a_service_that_loads_slowly_is_started_once() {
        for (journal, installed) in
            [("await 20180413192258\n", NEW), ("await-rollback 20180413192258\n", OLD)]
        {
            let mut observed = observed(NEW, Some(installed), Some(journal));
            observed.previous = Some(conf(OLD));
            observed.failed = (installed == OLD).then(|| conf(NEW));
            let steps = decide(&observed).unwrap().steps;
            assert_eq!(steps[0], Action::AwaitService, "{journal}");
            assert!(!steps.contains(&Action::Start));
        }
    }

    #[test]
    fn a_later_version_ends_a_rollback_that_does_not_come_up() {
        let mut observed = observed("20180501000000", Some(NEW), Some("rollback 20180413192258\n"));
        observed.previous = Some(conf(OLD));
        observed.failed = Some(conf(NEW));
        let plan = decide(&observed).unwrap();
        assert!(matches!(plan.steps[0], Action::FetchVersion { .. }));
        assert!(!plan.steps.iter().any(|action| matches!(action, Action::KeepPrevious(_))));
        assert!(plan.roll_back.contains(&Action::Install(conf(OLD))));
    }

    #[test]
    fn what_did_not_come_up_is_not_tried_again_until_it_changes() {
        let mut observed = observed(NEW, Some(OLD), None);
        observed.failed = Some(conf(NEW));
        assert!(decide(&observed).unwrap_err().to_string().contains("serves 20180101000000 again"));
        observed.fetched = conf("20180501000000");
        assert!(!decide(&observed).unwrap().steps.is_empty());
    }

    #[test]
    fn old_versions_go_last_and_never_the_installed_the_previous_or_the_failed_one() {
        let names = ["20170101", "20170102", "20170103", "20170104", "20170105", OLD, NEW];
        let versions = |names: &[&str]| -> Vec<Version> {
            names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
        };
        let retention = || Some(Retention { keep: Keep::parse(b"1").unwrap(), present: versions(&names) });
        let expected = Action::DeleteVersions(versions(&["20170101", "20170103", "20170104"]));

        let mut upgrade = observed(NEW, Some(OLD), None);
        upgrade.failed = Some(conf("20170102"));
        upgrade.retention = retention();
        let plan = decide(&upgrade).unwrap();
        assert_eq!(plan.steps.last(), Some(&expected));
        assert!(!plan.roll_back.iter().any(|action| matches!(action, Action::DeleteVersions(_))));

        for journal in ["restart", "await", "report"] {
            let mut resumed = observed(NEW, Some(NEW), Some(&format!("{journal} {NEW}\n")));
            resumed.previous = Some(conf(OLD));
            resumed.failed = Some(conf("20170102"));
            resumed.retention = retention();
            assert_eq!(decide(&resumed).unwrap().steps.last(), Some(&expected), "{journal}");
        }
        // A rollback that did not come up, ended by a later version: the one before is still what can be gone back to.
        let mut later = observed("20180501000000", Some(NEW), Some(&format!("rollback {NEW}\n")));
        later.previous = Some(conf("20170102"));
        later.failed = Some(conf(NEW));
        later.retention = retention();
        let left = Action::DeleteVersions(versions(&["20170101", "20170103", "20170104", "20170105"]));
        assert_eq!(decide(&later).unwrap().steps.last(), Some(&left));
        let mut idle = observed(NEW, Some(NEW), None);
        idle.retention = retention();
        assert_eq!(decide(&idle).unwrap(), Plan::default());
    }

    #[test]
    fn of_the_versions_that_did_not_come_up_here_only_the_last_one_stays() {
        let earlier = "20180301000000";
        let versions = |names: &[&str]| -> Vec<Version> {
            names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
        };
        let mut upgrade = observed(NEW, Some(OLD), None);
        upgrade.failed = Some(conf(earlier));
        assert_eq!(decide(&upgrade).unwrap().tidy, [], "nothing is deleted unless that is asked for");
        let present = versions(&[OLD, earlier]);
        upgrade.retention = Some(Retention { keep: Keep::parse(b"9").unwrap(), present });
        let expected = [Action::DeleteVersions(versions(&[earlier]))];
        assert_eq!(decide(&upgrade).unwrap().tidy, expected);
        let mut resumed = observed(NEW, Some(NEW), Some(&format!("await {NEW}\n")));
        resumed.previous = Some(conf(OLD));
        resumed.failed = upgrade.failed.clone();
        resumed.retention = upgrade.retention.take();
        assert_eq!(decide(&resumed).unwrap().tidy, [], "an answer that is late ends nothing");
        resumed.journal = Journal::parse(format!("restart {NEW}\n").as_bytes());
        assert_eq!(decide(&resumed).unwrap().tidy, expected);
        // The same version with another service.conf, and one that is gone already.
        for failed in [NEW, OLD, "20170101000000"] {
            resumed.failed = Some([b"# remark\n".to_vec(), conf(failed)].concat());
            assert_eq!(decide(&resumed).unwrap().tidy, [], "{failed}");
        }
    }

    #[test]
    fn a_member_whose_turn_has_not_come_does_nothing_but_finish_what_is_pending() {
        let mut waiting = observed(NEW, Some(OLD), None);
        waiting.is_held_back = true;
        assert_eq!(decide(&waiting).unwrap(), Plan::default());
        waiting.journal = Journal::parse(format!("restart {OLD}\n").as_bytes());
        waiting.previous = Some(conf("20170101000000"));
        let plan = decide(&waiting).unwrap();
        assert_eq!(plan.steps[..2], [Action::Stop, Action::Start]);
        assert_eq!(plan.roll_back[0], Action::KeepFailed(conf(OLD)));
        waiting.journal = Journal::parse(format!("report {OLD}\n").as_bytes());
        assert_eq!(decide(&waiting).unwrap().steps[..2], report(&Version::parse(OLD.as_bytes()).unwrap()));
        let mut rolling_back = observed("20180501000000", Some(NEW), Some(&format!("rollback {NEW}\n")));
        rolling_back.is_held_back = true;
        rolling_back.previous = Some(conf(OLD));
        rolling_back.failed = Some(conf(NEW));
        assert_eq!(decide(&rolling_back).unwrap().steps[0], Action::Install(conf(OLD)));
        rolling_back.installed = Some(conf(OLD));
        rolling_back.journal = Journal::parse(format!("await-rollback {NEW}\n").as_bytes());
        assert_eq!(decide(&rolling_back).unwrap().steps[0], Action::AwaitService);
        let mut empty = observed(NEW, None, None);
        empty.is_held_back = true;
        assert_eq!(decide(&empty).unwrap(), Plan::default());
    }

    #[test]
    fn only_a_new_version_that_would_be_installed_is_worth_asking_for() {
        let takes_up =
            |observed: &Observed| takes_up(&observed.fetched, observed).map(|version| version.to_string());
        let mut new = observed(NEW, Some(OLD), None);
        assert_eq!(takes_up(&new).as_deref(), Some(NEW));
        assert_eq!(takes_up(&observed(NEW, None, None)).as_deref(), Some(NEW));
        assert_eq!(takes_up(&observed(NEW, Some(NEW), None)), None);
        assert_eq!(takes_up(&observed("../x", Some(OLD), None)), None);
        new.failed = Some(conf(NEW));
        assert_eq!(takes_up(&new), None, "it did not come up here");
        let mut edited = observed(NEW, None, None);
        edited.installed = Some([b"# remark\n".to_vec(), conf(NEW)].concat());
        assert_eq!(takes_up(&edited), None, "an edit by hand is for everybody");
        let mut rolling_back = observed(NEW, Some(OLD), Some(&format!("rollback {NEW}\n")));
        rolling_back.previous = Some(conf(OLD));
        rolling_back.failed = Some(conf(NEW));
        assert_eq!(takes_up(&rolling_back), None);
        rolling_back.fetched = conf("20180501000000");
        assert_eq!(takes_up(&rolling_back).as_deref(), Some("20180501000000"), "it ends the rollback");
    }

    #[test]
    fn a_service_conf_that_names_no_version_is_not_installed() {
        for named in ["", "../x", "a/b", "-x", "# remark"] {
            let said = decide(&observed(named, None, None)).unwrap_err().to_string();
            assert!(said.contains("names no version"), "{named}");
        }
    }
}
