//! fUpdateVersion: publishes an announced upload as a version.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::formats::admitted::Admitted;
use crate::formats::manifest::Manifest;
use crate::formats::service_conf::{self, Announcement};
use crate::names::Address;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::{
    Action, Configuration, MemberList, Plan, Published, Replacement, SCRIPT_IS_DEAD_AFTER, Status, Success,
    UpdateFacts, UploadManifest, announced, batches, first_announced, is_about, rollback,
};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::version::Version;

/// The version that this tick would publish, if it publishes. legacy: dispatch.sh, "the version that success announces"
pub fn candidate(facts: &UpdateFacts) -> Option<Version> {
    if let Some(journal) = unfinished(facts) {
        return Some(journal.version.clone());
    }
    let success = facts.success.as_ref()?;
    let announced = || success.announces.clone().or_else(|| facts.now.version());
    match (ours(facts), &facts.status) {
        (Some(journal), _) if journal.phase == Phase::Publishing && journal.success == success.identity => {
            Some(journal.version.clone())
        }
        // A script's upgrade: its own version, where success holds none.
        (None, Some(status)) => {
            success.announces.clone().or_else(|| status.version.clone()).or_else(announced)
        }
        _ => announced(),
    }
}

/// Whether the upload has to be looked at: if not, [`update`] does not publish, whatever it holds.
pub fn may_publish(facts: &UpdateFacts, target: &Target, version: &Version) -> bool {
    begin(facts, target, version).is_some()
}

/// Whether this tick may announce the version: then the member list matters, which may ask for batches.
pub fn may_announce(facts: &UpdateFacts, target: &Target, version: &Version) -> bool {
    unfinished(facts).is_some() || may_publish(facts, target, version)
}

/// fUpdateVersion.
///
/// Fails, and nothing is to be done, when the upload or a service.conf is not fit to be published.
pub fn update(facts: &UpdateFacts, target: &Target) -> Result<Plan> {
    if let Some(journal) = unfinished(facts) {
        return finish(facts, target, journal);
    }
    let publishing = ours(facts).filter(|journal| journal.phase == Phase::Publishing);
    let (Some(success), Some(version)) = (&facts.success, candidate(facts)) else {
        return Ok(publishing.map_or_else(Plan::default, |journal| abandon(facts, journal)));
    };
    let Some(begin) = begin(facts, target, &version) else { return Ok(held(facts, target, &version)) };
    check_bad(facts, target, &version)?;
    let mut plan = publish(facts, target, &version, success, begin)?;
    if let Some(superseded) = publishing.filter(|journal| journal.version != version) {
        plan.prepare.insert(0, Action::DiscardStaged(superseded.version.clone()));
    }
    Ok(plan)
}

/// A version that is whole in its place, but not announced: the run died in between.
pub fn unfinished(facts: &UpdateFacts) -> Option<&Journal> {
    ours(facts).filter(|journal| matches!(journal.phase, Phase::Published | Phase::RollingBack))
}

/// What is said of a push that has to wait because a version is pinned.
fn held(facts: &UpdateFacts, target: &Target, version: &Version) -> Plan {
    let Some(pin) = facts.pin.as_ref().filter(|_| facts.status.is_none()) else { return Plan::default() };
    let (model, pinned) = (&target.model, &pin.version);
    let line = format!(
        "{model}: {version} is held: {pinned} was pinned {pin}; dispatch --unpin {model} lets it go on"
    );
    Plan { commit: vec![Action::Say(line)], ..Plan::default() }
}

/// A version that was marked bad is not published again, under whatever name it is pushed. One that a run began to publish
/// was allowed then.
fn check_bad(facts: &UpdateFacts, target: &Target, version: &Version) -> Result<()> {
    let was_begun = ours(facts).is_some_and(|journal| journal.version == *version);
    let Some(bad) = facts.bad.as_ref().filter(|_| !facts.is_forced && !was_begun) else { return Ok(()) };
    let Target { model, prefix, so_name } = target;
    let what = if bad.version == *version {
        format!("{version} was marked bad")
    } else {
        format!("{version} holds the same lib/ and data/ as {}, which was marked bad", bad.version)
    };
    Err(Error::failed(format!(
        "{model}: {what} {bad}; nothing is published: push another one, or publish it all the same with dispatch --force \
         {model} {prefix} {so_name}"
    )))
}

/// Announces a version that is whole in its place, unless a later one is announced already: a script has removed this
/// one's `status`, and published the next push. A rollback is finished over what was announced when it began.
fn finish(facts: &UpdateFacts, target: &Target, journal: &Journal) -> Result<Plan> {
    let version = &journal.version;
    let is_later = |bytes: &[u8]| {
        let announced = service_conf::value(bytes, "moduleversion").and_then(Version::announced_in);
        announced.is_some_and(|announced| announced > *version && !journal.before.contains(&announced))
    };
    let commit = if facts.status.is_none() && facts.configurations.iter().any(|c| is_later(&c.bytes)) {
        let (model, journal) = (&target.model, Action::RemoveJournal);
        vec![journal, Action::Say(format!("{model}: a later version than {version} is announced already"))]
    } else if journal.phase == Phase::RollingBack {
        rollback::announce_again(
            &facts.configurations,
            facts.status.as_ref(),
            facts.has_admitted,
            target,
            journal,
        )?
    } else {
        commit(facts, target, journal)?
    };
    Ok(Plan { commit, ..Plan::default() })
}

/// The journal, if it belongs to the upgrade at hand.
fn ours(facts: &UpdateFacts) -> Option<&Journal> {
    facts.journal.as_ref().filter(|journal| is_about(journal, facts.status.as_ref()))
}

/// How `status` comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// There is none: created, if no script is quicker.
    Exclusively,
    /// A run that died has left it.
    Again,
}

/// How the version is to be begun; `None` while an upgrade is in flight, or a version pinned.
fn begin(facts: &UpdateFacts, target: &Target, version: &Version) -> Option<Begin> {
    if facts.pin.is_some() || unfinished(facts).is_some() {
        return None;
    }
    match (&facts.status, ours(facts)) {
        (None, _) => Some(Begin::Exclusively),
        (Some(_), Some(journal)) => (journal.phase == Phase::Publishing).then_some(Begin::Again),
        (Some(status), None) => script_is_dead(facts, status, target, version).then_some(Begin::Again),
    }
}

/// A run died while it published, and the upload's `success` is gone since. A script's check removes it, which takes every
/// `success` for the one whose upgrade has ended: then it is put back, and published by the next tick. A person who removes it
/// meanwhile cannot be told from that; what was pushed must not be lost, so they are told, and remove it once more. Where the
/// upload has changed since, a push is under way that will bring its own.
fn abandon(facts: &UpdateFacts, journal: &Journal) -> Plan {
    let version = &journal.version;
    let restored = facts.upload_is_as_journalled.then(|| Action::RestoreSuccess(journal.content.clone()));
    let line = match restored {
        Some(_) => format!("put success of {version} back: it was removed before the version was published"),
        None => format!("gave up publishing {version}: its success was removed, and the upload has changed"),
    };
    let mut commit = vec![Action::DiscardStaged(version.clone())];
    commit.extend(facts.status.is_some().then(|| Action::RemoveStatus(Some(version.clone()))));
    commit.extend(restored);
    commit.extend([Action::RemoveJournal, Action::Say(line)]);
    Plan { commit, ..Plan::default() }
}

/// The version of the upgrade that a script began: `status` holds it, where the site's script writes it there.
pub fn begun_by_script(facts: &UpdateFacts, candidate: &Version) -> Option<Version> {
    let status = facts.status.as_ref().filter(|_| ours(facts).is_none())?;
    Some(status.version.clone().unwrap_or_else(|| candidate.clone()))
}

/// Whether the script that wrote `status` died before every service.conf named its version. One that announced it is done
/// with its part, however long the members take.
fn script_is_dead(facts: &UpdateFacts, status: &Status, target: &Target, candidate: &Version) -> bool {
    let Some(begun) = begun_by_script(facts, candidate) else { return false };
    let announcement = announcement(target, &begun);
    let announced = facts.configurations.iter().all(|c| service_conf::announces(&c.bytes, &announcement));
    let quiet_for = facts.script_quiet_for.map_or(status.age, |quiet_for| quiet_for.min(status.age));
    !announced && quiet_for > SCRIPT_IS_DEAD_AFTER
}

fn publish(
    facts: &UpdateFacts,
    target: &Target,
    version: &Version,
    success: &Success,
    begin: Begin,
) -> Result<Plan> {
    let journal = Journal {
        phase: Phase::Publishing,
        version: version.clone(),
        success: success.identity,
        begun_s: Some(begun_s(facts, version)),
        before: before(facts, version),
        content: success.content.clone(),
    };
    let mut commit = commit(facts, target, &journal)?;
    commit.insert(0, Action::Record(Journal { phase: Phase::Published, ..journal.clone() }));
    check_upload(facts, target)?;
    let expected = expected(facts, target, version, success)?;
    let mut prepare = vec![Action::Record(journal)];
    prepare.push(match begin {
        Begin::Exclusively => Action::MarkInFlight(version.clone()),
        Begin::Again => Action::MarkInFlightAgain(version.clone()),
    });
    if facts.bad.as_ref().is_some_and(|bad| bad.version == *version) {
        prepare.push(Action::ForgetBad(version.clone()));
    }
    // Half a copy of a run that died while a script published the version; a copy that is made anew begins by removing it.
    let discard_staged = Action::DiscardStaged(version.clone());
    match (facts.published, begin) {
        (Published::SameAsUpload, _) => {
            prepare.push(discard_staged);
            prepare.extend((!facts.is_sealed).then(|| Action::Seal(version.clone(), expected)));
        }
        (Published::Other, Begin::Exclusively) => {
            return Err(Error::failed(format!(
                "{}: version {version} is published already with other content; push again to get a new version",
                target.model
            )));
        }
        // Members may be fetching it: it is whole, and the upload has changed since.
        (Published::Other, Begin::Again) if is_announced(facts, version) => {
            prepare.push(discard_staged);
            prepare.extend((!facts.is_sealed).then(|| Action::Seal(version.clone(), None)));
        }
        (Published::Other, Begin::Again) => {
            prepare.push(Action::DiscardPublished(version.clone()));
            prepare.extend(stage_and_publish(version, expected));
        }
        (Published::Absent, _) => {
            prepare.extend(stage_and_publish(version, expected));
        }
    }
    let mut undo = vec![Action::DiscardStaged(version.clone())];
    if begin == Begin::Exclusively {
        // What was there before this run stays: without it the next one could not tell half a version from a whole one.
        undo.push(Action::TakeBack(version.clone()));
    }
    Ok(Plan { prepare, undo, commit, ..Plan::default() })
}

fn stage_and_publish(version: &Version, expected: Option<Rc<Manifest>>) -> [Action; 3] {
    let version = || version.clone();
    [Action::Stage(version(), expected), Action::PrePublish(version()), Action::Publish(version())]
}

/// Whether a service.conf names a version already.
fn is_announced(facts: &UpdateFacts, version: &Version) -> bool {
    let names =
        |bytes: &[u8]| service_conf::value(bytes, "moduleversion") == Some(version.as_str().as_bytes());
    facts.configurations.iter().any(|c| names(&c.bytes))
}

/// What members see of a version that is whole in its place.
///
/// Fails when a service.conf cannot name it, or the member list cannot be read and may ask for batches.
fn commit(facts: &UpdateFacts, target: &Target, journal: &Journal) -> Result<Vec<Action>> {
    let version = &journal.version;
    let configurations = announce(&facts.configurations, target, version)?;
    let first_batch = batches::first(&facts.list, version)?.map(|first| Admitted {
        // Else it would be free for all between the two writes below, since `.admitted` is about another one then.
        withdrawn: never_rolled_out(facts, version),
        ..first
    });
    let mut actions = vec![Action::StillInFlight(version.clone())];
    // Before a service.conf names the version, so that no member can take it that has to wait.
    actions.extend(first_batch.iter().cloned().map(Action::Admit));
    actions.extend(configurations.into_iter().map(Action::ReplaceConfiguration));
    if first_batch.is_none() && facts.has_admitted {
        // Afterwards, so that those who were kept out of the version before never take that one.
        actions.push(Action::AdmitEverybody);
    }
    actions.extend(facts.has_note.then_some(Action::ForgetRollout));
    actions.extend([
        Action::KeepInFlight(version.clone()),
        Action::Record(Journal { phase: Phase::Announced, ..journal.clone() }),
        Action::Say(format!("update {} to {version}", target.model)),
    ]);
    if let (Some(first), MemberList::Known(fleet)) = (&first_batch, &facts.list) {
        let members: Vec<&Address> = first.members.iter().collect();
        let line = batches::let_in(&target.model, version, &members, members.len(), fleet.members.len());
        actions.push(Action::Say(line));
    }
    Ok(actions)
}

/// The version that is announced still and was never let in to all: its rollout was stopped, aborted, or took too long. Where a
/// run died behind its `.admitted` it may be one that was: nobody misses that, since service.conf names the next one at once.
fn never_rolled_out(facts: &UpdateFacts, version: &Version) -> Option<Version> {
    let announced = first_announced(&facts.configurations).filter(|_| facts.has_admitted)?;
    Version::of_directory(announced).ok().filter(|announced| announced != version)
}

/// When the upgrade to a version began. Whoever goes on with one whose run died goes on with its instant, too.
fn begun_s(facts: &UpdateFacts, version: &Version) -> i64 {
    let ours = ours(facts).filter(|journal| journal.version == *version);
    let is_of_it = |status: &&Status| status.version.as_ref().is_none_or(|begun| begun == version);
    let age_s = facts.status.as_ref().filter(is_of_it).map_or(0, |status| status.age.0);
    let by_status = facts.now.instant.timestamp().saturating_sub(age_s);
    ours.and_then(|journal| journal.begun_s).unwrap_or(by_status)
}

/// What was announced before this version. A run that died may have announced the version already: what it noted counts.
fn before(facts: &UpdateFacts, version: &Version) -> Vec<Version> {
    match ours(facts) {
        Some(journal) if journal.phase == Phase::Publishing => journal.before.clone(),
        _ => {
            let mut before = announced(&facts.configurations);
            before.retain(|announced| announced != version);
            before
        }
    }
}

/// What the upload must be: the manifest of the push that announced it. A manifest of an earlier version is left over, since a
/// script pushed after it; a `success` without a version is a script's, too.
///
/// Fails when the manifest is that of a later push: it has begun to replace the files and has not announced them.
fn expected(
    facts: &UpdateFacts,
    target: &Target,
    version: &Version,
    success: &Success,
) -> Result<Option<Rc<Manifest>>> {
    let manifest = match &facts.manifest {
        _ if success.announces.is_none() => return Ok(None),
        UploadManifest::Absent => return Ok(None),
        UploadManifest::Unreadable(error) => return Err(error.clone()),
        UploadManifest::Present(manifest) => manifest,
    };
    match manifest.version.cmp(version) {
        Ordering::Less => Ok(None),
        Ordering::Equal => Ok(Some(manifest.clone())),
        Ordering::Greater => Err(Error::failed(format!(
            "{}: the push of {} has replaced files of {version} and was not completed, so nothing is published; \
             let it end, or push again with rsync-push (a script's push from a host with a slow clock looks like this, too)",
            target.model, manifest.version
        ))),
    }
}

fn announcement(target: &Target, version: &Version) -> Announcement {
    let Target { prefix, so_name, .. } = target;
    Announcement {
        version: version.to_string(),
        path: format!("{prefix}/{version}/lib/{so_name}"),
        config: format!("{prefix}/{version}/data"),
    }
}

/// The edits of the service.conf files; those that need no change are left out.
///
/// Fails when there is none, or one has not the three keys.
pub fn announce(
    configurations: &[Configuration],
    target: &Target,
    version: &Version,
) -> Result<Vec<Replacement>> {
    if configurations.is_empty() {
        return Err(Error::failed(format!(
            "{}: there is no config_*/service.conf to announce {version} in; run add_dispatch_docker, or put the file there",
            target.model
        )));
    }
    let announcement = announcement(target, version);
    let mut changed = Vec::new();
    for configuration in configurations {
        let path = &configuration.path;
        let before = &configuration.bytes;
        let after = service_conf::announce(before, &announcement).map_err(|missing| {
            let (path, key) = (path.display(), missing.0);
            Error::usage(format!(
                "{path}: there is no line {key}=; add it to [module], then {version} is published"
            ))
        })?;
        if after.len() > service_conf::LARGEST {
            let (path, size) = (path.display(), after.len());
            return Err(Error::usage(format!(
                "{path}: with {version} it would have {size} bytes, more than such a file may have; its keys stand there too often"
            )));
        }
        if after != *before {
            changed.push(Replacement { path: path.clone(), before: before.clone(), after });
        }
    }
    Ok(changed)
}

fn check_upload(facts: &UpdateFacts, target: &Target) -> Result<()> {
    let Some(upload) = &facts.upload else { return Ok(()) };
    let Target { model, so_name, .. } = target;
    if let Some(path) = &upload.unpublishable {
        return Err(Error::failed(format!(
            "{model}: {} is a device, a fifo or a link that leaves the upload; remove it and push again",
            path.display()
        )));
    }
    if !upload.has_library {
        return Err(Error::failed(format!(
            "{model}: the upload has no lib/{so_name}, so no member could start; push it, or correct the registry's plugin name"
        )));
    }
    if facts.published == Published::Absent && upload.bytes > upload.free_bytes {
        let (needed, free) = (upload.bytes, upload.free_bytes);
        return Err(Error::failed(format!(
            "{model}: the version needs {needed} bytes and the disk has {free} free; remove old versions from plugin/"
        )));
    }
    if let Some(path) = &upload.of_another_push {
        return Err(Error::failed(format!(
            "{model}: {} was written after success arrived, by a push that is not complete; it is published when its own \
             success arrives (if a person changed that file: touch success)",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::identity::Identity;
    use crate::time::{LocalTime, Seconds};
    use crate::tools::dispatch::batches::Batches;
    use crate::tools::dispatch::decide::UploadFacts;
    use crate::tools::dispatch::fleet::{Fleet, Probe};
    use crate::tools::dispatch::policy::Policy;

    const V1: &str = "20180413192258";
    const V2: &str = "20180413192259";

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn target() -> Target {
        Target::parse(b"m", b"/w/plugin/m", b"m.so").unwrap()
    }

    fn success(inode: u64, announces: &str) -> Option<Success> {
        let identity = Identity { device: 1, inode, modified_ns: 0, size: 15 };
        let content = announces.as_bytes().to_vec();
        Some(Success { identity, age: Seconds(30), announces: Version::announced_in(&content), content })
    }

    fn status(age: i64, text: &str) -> Option<Status> {
        Some(Status { age: Seconds(age), version: Version::announced_in(text.as_bytes()) })
    }

    fn journal(phase: Phase, text: &str, inode: u64) -> Option<Journal> {
        let success = Identity { device: 1, inode, modified_ns: 0, size: 15 };
        let (version, content) = (version(text), text.as_bytes().to_vec());
        let before = vec![self::version("20180101")];
        Some(Journal { phase, version, success, begun_s: Some(400), before, content })
    }

    /// An upload that was announced as V1, and a service.conf that announces an older version.
    fn facts() -> UpdateFacts {
        let conf = b"[module]\nmodulepath=/old\nmoduleconfig=/old\nmoduleversion=old\n";
        let instant = chrono::DateTime::parse_from_rfc3339("2026-11-24T10:15:00+08:00").unwrap();
        let path = "config_1/service.conf".into();
        UpdateFacts {
            success: success(7, V1),
            configurations: vec![Configuration { path, bytes: conf.to_vec() }],
            upload: Some(UploadFacts {
                bytes: 10,
                has_library: true,
                unpublishable: None,
                of_another_push: None,
                free_bytes: 100,
            }),
            ..UpdateFacts::at(LocalTime { instant, zone: "CST".to_owned() })
        }
    }

    fn planned(facts: &UpdateFacts) -> Plan {
        update(facts, &target()).unwrap()
    }

    fn announced_version(plan: &Plan) -> Option<String> {
        plan.commit.iter().find_map(|action| match action {
            Action::Record(journal) => Some(journal.version.to_string()),
            _ => None,
        })
    }

    #[test]
    fn a_version_is_whole_before_any_member_can_see_it() {
        let plan = planned(&facts());
        assert!(matches!(
            plan.prepare[..],
            [
                Action::Record(_),
                Action::MarkInFlight(_),
                Action::Stage(..),
                Action::PrePublish(_),
                Action::Publish(_)
            ]
        ));
        assert!(matches!(
            plan.commit[..],
            [
                Action::Record(Journal { phase: Phase::Published, .. }),
                Action::StillInFlight(_),
                Action::ReplaceConfiguration(_),
                Action::KeepInFlight(_),
                Action::Record(Journal { phase: Phase::Announced, .. }),
                Action::Say(_)
            ]
        ));
        assert!(plan.undo.contains(&Action::TakeBack(version(V1))));
    }

    #[test]
    fn an_upgrade_that_is_taken_up_again_began_when_the_run_before_began_it() {
        let begun_s = |facts: &UpdateFacts| match &planned(facts).prepare[..] {
            [Action::Record(journal), ..] | [_, Action::Record(journal), ..] => journal.begun_s,
            other => panic!("{other:?}"),
        };
        let mut facts = facts();
        let now_s = facts.now.instant.timestamp();
        assert_eq!(begun_s(&facts), Some(now_s));
        facts.journal = journal(Phase::Publishing, V1, 7);
        facts.status = status(30, V1);
        assert_eq!(begun_s(&facts), Some(400));
        // As an earlier build wrote it.
        facts.journal.as_mut().unwrap().begun_s = None;
        assert_eq!(begun_s(&facts), Some(now_s - 30));
        facts.journal = journal(Phase::Publishing, "20180102", 6);
        facts.status = status(30, "20180102");
        assert_eq!(begun_s(&facts), Some(now_s), "that was another one");
        // A script died over it.
        (facts.journal, facts.status) = (None, status(500, V1));
        assert_eq!(begun_s(&facts), Some(now_s - 500));
    }

    fn fleet_of_two() -> MemberList {
        let members =
            [&b"10.0.0.1"[..], b"10.0.0.2"].map(|address| Address::parse(address).unwrap()).to_vec();
        let batches = Batches::parse(b"1,100%").unwrap();
        MemberList::Known(Fleet {
            members,
            probe: Probe::Report,
            keep: None,
            policy: Policy { batches, ..Policy::default() },
        })
    }

    #[test]
    fn who_may_take_the_version_is_written_down_before_service_conf_names_it() {
        let mut facts = facts();
        facts.list = fleet_of_two();
        let plan = planned(&facts);
        let [
            Action::Record(_),
            Action::StillInFlight(_),
            Action::Admit(first),
            Action::ReplaceConfiguration(_),
            Action::KeepInFlight(_),
            Action::Record(_),
            Action::Say(_),
            Action::Say(line),
        ] = &plan.commit[..]
        else {
            panic!("{:?}", plan.commit)
        };
        assert_eq!(first.render(), format!("{V1}\n10.0.0.1\n").into_bytes());
        assert_eq!(*line, format!("m: 1 of 2 members may take {V1} now; let in: 10.0.0.1"));
        // Nobody may take what did not come to be.
        assert!(!plan.prepare.iter().any(|action| matches!(action, Action::Admit(_))));
        // A run that died before the version was announced: the next one lets in the same.
        facts.status = status(1, V1);
        facts.journal = journal(Phase::Published, V1, 7);
        assert_eq!(planned(&facts).commit[1], Action::Admit(first.clone()));
    }

    #[test]
    fn what_an_earlier_rollout_in_batches_left_goes_after_service_conf_names_the_next_version() {
        let mut facts = facts();
        facts.has_admitted = true;
        assert!(matches!(
            planned(&facts).commit[..],
            [
                Action::Record(_),
                Action::StillInFlight(_),
                Action::ReplaceConfiguration(_),
                Action::AdmitEverybody,
                Action::KeepInFlight(_),
                Action::Record(_),
                Action::Say(_)
            ]
        ));
        facts.list = fleet_of_two();
        let plan = planned(&facts);
        assert!(!plan.commit.contains(&Action::AdmitEverybody));
        // Until service.conf names the next version, the one before may be one that was stopped.
        let Action::Admit(first) = &plan.commit[2] else { panic!("{:?}", plan.commit) };
        assert_eq!(first.withdrawn.as_ref().map(Version::as_str), Some("old"));
    }

    #[test]
    fn nothing_is_published_where_the_list_cannot_be_read_and_may_ask_for_batches() {
        let mut facts = facts();
        let error = Error::usage("m.env.sh:3: batches: x");
        facts.list = MemberList::Unreadable { error: error.clone(), may_have_batches: true };
        assert_eq!(update(&facts, &target()), Err(error.clone()));
        facts.list = MemberList::Unreadable { error, may_have_batches: false };
        assert!(update(&facts, &target()).is_ok(), "as it always was");
    }

    #[test]
    fn nothing_is_done_while_an_upgrade_is_in_flight_or_nothing_is_announced() {
        let mut in_flight = facts();
        in_flight.status = status(300, V1);
        in_flight.journal = journal(Phase::Announced, V1, 7);
        assert_eq!(planned(&in_flight), Plan::default());
        let mut idle = facts();
        idle.success = None;
        assert_eq!(planned(&idle), Plan::default());
    }

    #[test]
    fn a_success_without_a_version_is_published_as_local_time() {
        let mut facts = facts();
        facts.success = success(7, "mblog_yellow");
        assert_eq!(announced_version(&planned(&facts)).as_deref(), Some("20261124101500"));
    }

    #[test]
    fn a_run_that_died_while_publishing_is_resumed_at_once_under_the_same_version() {
        let mut facts = facts();
        facts.success = success(7, "mblog_yellow");
        facts.status = status(1, V1);
        facts.journal = journal(Phase::Publishing, V1, 7);
        facts.published = Published::SameAsUpload;
        let plan = planned(&facts);
        assert_eq!(announced_version(&plan).as_deref(), Some(V1));
        assert!(
            !plan.prepare.iter().any(|action| matches!(action, Action::Stage(..))),
            "it is copied already"
        );
        assert_eq!(plan.undo, [Action::DiscardStaged(version(V1))], "status was there before");
    }

    #[test]
    fn what_was_announced_before_is_noted_and_a_resumed_run_keeps_it() {
        let noted = |facts: &UpdateFacts| match &planned(facts).prepare[0] {
            Action::Record(journal) => journal.before.iter().map(Version::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let mut facts = facts();
        assert_eq!(noted(&facts), ["old"]);
        facts.status = status(1, V1);
        facts.journal = journal(Phase::Publishing, V1, 7);
        assert_eq!(noted(&facts), ["20180101"]);
    }

    #[test]
    fn a_run_that_died_is_superseded_by_a_push_that_came_since() {
        let mut facts = facts();
        facts.success = success(8, V2);
        facts.status = status(1, V1);
        facts.journal = journal(Phase::Publishing, V1, 7);
        let plan = planned(&facts);
        assert_eq!(announced_version(&plan).as_deref(), Some(V2));
        assert_eq!(plan.prepare[0], Action::DiscardStaged(version(V1)));
    }

    #[test]
    fn a_version_that_is_whole_in_its_place_is_announced_whatever_became_of_its_success() {
        let mut facts = facts();
        facts.journal = journal(Phase::Published, V1, 7);
        for (status, success) in [
            (status(1, V1), success(7, V1)),
            (None, None),
            (status(1, V1), success(8, V2)),
            (None, success(8, V2)),
        ] {
            (facts.status, facts.success) = (status, success);
            assert!(!may_publish(&facts, &target(), &version(V1)), "the upload does not matter");
            let plan = planned(&facts);
            assert_eq!((announced_version(&plan).as_deref(), plan.prepare.len()), (Some(V1), 0));
        }
        // A script has published the next push meanwhile.
        facts.configurations[0].bytes =
            format!("modulepath=/x\nmoduleconfig=/x\nmoduleversion={V2}\n").into_bytes();
        (facts.status, facts.success) = (None, None);
        assert_eq!(planned(&facts).commit[0], Action::RemoveJournal);
    }

    #[test]
    fn a_success_that_a_script_removed_before_it_was_published_is_put_back() {
        let mut facts = facts();
        facts.success = None;
        facts.journal = journal(Phase::Publishing, V1, 7);
        facts.upload_is_as_journalled = true;
        let restore = Action::RestoreSuccess(V1.as_bytes().to_vec());
        assert!(planned(&facts).commit.contains(&restore));
        // A run that resumed died, too, and left its status.
        facts.status = status(1, V1);
        let plan = planned(&facts);
        assert_eq!(plan.commit[1..3], [Action::RemoveStatus(Some(version(V1))), restore.clone()]);
        // A push that was begun since will bring its own.
        facts.upload_is_as_journalled = false;
        let plan = planned(&facts);
        assert!(plan.commit.contains(&Action::RemoveJournal) && !plan.commit.contains(&restore));
    }

    #[test]
    fn a_script_at_work_is_left_alone_and_a_dead_one_is_resumed() {
        let mut facts = facts();
        facts.status = status(300, V1);
        facts.published = Published::Other;
        facts.script_quiet_for = Some(Seconds(10));
        assert_eq!(planned(&facts), Plan::default());
        facts.script_quiet_for = Some(Seconds(200));
        let plan = planned(&facts);
        assert!(plan.prepare.contains(&Action::DiscardPublished(version(V1))));
        assert_eq!(announced_version(&plan).as_deref(), Some(V1));
    }

    #[test]
    fn a_version_that_a_service_conf_names_is_never_discarded() {
        let mut facts = facts();
        facts.status = status(300, V1);
        facts.published = Published::Other;
        facts.script_quiet_for = Some(Seconds(200));
        let half_edited = format!("moduleversion={V1}\nmodulepath=/old\nmoduleconfig=/old\n");
        facts.configurations[0].bytes = half_edited.into_bytes();
        let plan = planned(&facts);
        assert!(!plan.prepare.iter().any(|a| matches!(a, Action::DiscardPublished(_) | Action::Stage(..))));
        assert_eq!(announced_version(&plan).as_deref(), Some(V1));
    }

    #[test]
    fn an_upgrade_that_a_script_announced_is_not_superseded_by_a_later_push() {
        let mut facts = facts();
        facts.status = status(300, V1);
        let announced = announce(&facts.configurations, &target(), &version(V1)).unwrap();
        facts.configurations[0].bytes.clone_from(&announced[0].after);
        facts.success = success(8, V2);
        assert_eq!(planned(&facts), Plan::default());
        // Nor is one that is still being copied.
        facts.configurations[0].bytes = b"modulepath=/old\nmoduleconfig=/old\nmoduleversion=old\n".to_vec();
        facts.script_quiet_for = Some(Seconds(3));
        assert_eq!(planned(&facts), Plan::default());
    }

    #[test]
    fn an_upload_is_held_against_the_manifest_of_its_own_push_only() {
        let staged = |of: &str, announces: &str| {
            let manifest = Manifest { version: version(of), files: crate::digest::Files::default() };
            let mut facts = facts();
            facts.success = success(7, announces);
            facts.manifest = UploadManifest::Present(Rc::new(manifest));
            update(&facts, &target())
                .map(|plan| plan.prepare.iter().any(|action| matches!(action, Action::Stage(_, Some(_)))))
        };
        assert_eq!(staged(V1, V1), Ok(true));
        assert_eq!(staged(V1, V2), Ok(false), "a script pushed after rsync-push");
        assert_eq!(staged(V1, "mblog_yellow"), Ok(false));
        assert!(staged(V2, V1).unwrap_err().to_string().contains("was not completed"));
    }

    #[test]
    fn a_version_that_is_in_its_place_gets_its_manifest_once() {
        let mut facts = facts();
        facts.published = Published::SameAsUpload;
        let seals = |facts: &UpdateFacts| {
            planned(facts).prepare.iter().filter(|action| matches!(action, Action::Seal(..))).count()
        };
        assert_eq!(seals(&facts), 1);
        facts.is_sealed = true;
        assert_eq!(seals(&facts), 0);
    }

    #[test]
    fn a_published_version_never_changes() {
        let mut facts = facts();
        facts.published = Published::Other;
        let error = update(&facts, &target()).unwrap_err().to_string();
        assert!(error.contains("published already with other content"), "{error}");
    }

    #[test]
    fn what_no_member_could_start_from_is_not_published() {
        let refused = |change: fn(&mut UpdateFacts)| {
            let mut facts = facts();
            change(&mut facts);
            update(&facts, &target()).unwrap_err().to_string()
        };
        assert!(refused(|f| f.configurations.clear()).contains("no config_*/service.conf"));
        assert!(
            refused(|f| f.configurations[0].bytes = b"moduleversion=1\n".to_vec())
                .contains("no line modulepath=")
        );
        assert!(refused(|f| f.upload.as_mut().unwrap().has_library = false).contains("no lib/m.so"));
        assert!(
            refused(|f| f.upload.as_mut().unwrap().unpublishable = Some("x".into())).contains("remove it")
        );
        assert!(refused(|f| f.upload.as_mut().unwrap().free_bytes = 9).contains("needs 10 bytes"));
        assert!(
            refused(|f| f.upload.as_mut().unwrap().of_another_push = Some("x".into()))
                .contains("written after success arrived")
        );
    }
}
