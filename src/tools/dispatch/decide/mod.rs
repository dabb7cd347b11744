//! What the two functions of dispatch.sh do, as pure functions of what was observed: every branch lives here.

use std::path::PathBuf;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::formats::admitted::Admitted;
use crate::formats::manifest::Manifest;
use crate::formats::mark::Mark;
use crate::formats::rollout::{Rollout, Standing};
use crate::formats::service_conf;
use crate::identity::Identity;
use crate::names::Address;
use crate::retention::Keep;
use crate::time::{LocalTime, Seconds};
use crate::tools::dispatch::fleet::Fleet;
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::tools::dispatch::policy::Policy;
use crate::version::Version;

pub mod batches;
pub mod check;
pub mod dry_run;
pub mod forecast;
pub mod retention;
pub mod rollback;
pub mod status;
pub mod steer;
pub mod update;
pub mod verdict;

/// A script that began an upgrade and wrote nothing for this long is dead: two ticks. A script at work writes all the
/// time.
const SCRIPT_IS_DEAD_AFTER: Seconds = Seconds(120);

/// `datamining_service/MODEL/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How long ago it was written.
    pub age: Seconds,
    /// The version in it; original scripts may write none.
    pub version: Option<Version>,
}

/// `datamining_plugin/MODEL/success`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// Which upload of it this is.
    pub identity: Identity,
    /// How long ago it was written.
    pub age: Seconds,
    /// The version that it announces, if it holds one.
    pub announces: Option<Version>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// One instance's service.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What stands in `plugin/` under the version in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Nothing.
    Absent,
    /// Exactly what the upload holds.
    SameAsUpload,
    /// Something else.
    Other,
}

/// What the upload holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFacts {
    /// The bytes of its files.
    pub bytes: u64,
    /// Whether `lib/SONAME` is there.
    pub has_library: bool,
    /// A path that must not be published: a device, a fifo, a link that leaves the upload.
    pub unpublishable: Option<PathBuf>,
    /// A path that was written after this `success` arrived: it belongs to another push.
    pub of_another_push: Option<PathBuf>,
    /// Bytes free where versions are kept.
    pub free_bytes: u64,
}

/// The upload's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadManifest {
    /// There is none: a script pushed.
    Absent,
    /// There is one that cannot be read.
    Unreadable(Error),
    /// What `rsync-push` says that it sent.
    Present(Rc<Manifest>),
}

/// What fUpdateVersion looks at.
#[derive(Debug)]
pub struct UpdateFacts {
    /// Local time.
    pub now: LocalTime,
    /// The upgrade in flight.
    pub status: Option<Status>,
    /// The announced upload.
    pub success: Option<Success>,
    /// What an earlier run of this toolkit left.
    pub journal: Option<Journal>,
    /// Every `config_*/service.conf`, by name.
    pub configurations: Vec<Configuration>,
    /// For an upgrade that a script began: how long ago it last wrote below the version's directory; `None` where that is
    /// missing.
    pub script_quiet_for: Option<Seconds>,
    /// What is published under the version that [`update::candidate`] names.
    pub published: Published,
    /// Whether the manifest of that version is there already.
    pub is_sealed: bool,
    /// The upload, where there is a candidate.
    pub upload: Option<UploadFacts>,
    /// Its manifest, where there is a candidate.
    pub manifest: UploadManifest,
    /// Where `success` is gone: whether the upload still is the one whose publication the journal began.
    pub upload_is_as_journalled: bool,
    /// The member list, where [`update::may_announce`].
    pub list: MemberList,
    /// Whether an earlier rollout in batches left `.admitted`.
    pub has_admitted: bool,
    /// Whether an earlier rollout left a note of what became of it.
    pub has_note: bool,
    /// The version that is kept whatever is pushed, where there is a candidate.
    pub pin: Option<Mark>,
    /// The version marked bad that the candidate is: by its name, or by what the upload holds.
    pub bad: Option<Mark>,
    /// Whether a bad version is published all the same.
    pub is_forced: bool,
}

impl UpdateFacts {
    /// Nothing is there. The first four facts say how much else has to be looked at.
    pub fn at(now: LocalTime) -> UpdateFacts {
        UpdateFacts {
            now,
            status: None,
            success: None,
            journal: None,
            configurations: Vec::new(),
            script_quiet_for: None,
            published: Published::Absent,
            is_sealed: false,
            upload: None,
            manifest: UploadManifest::Absent,
            upload_is_as_journalled: false,
            list: MemberList::Absent,
            has_admitted: false,
            has_note: false,
            pin: None,
            bad: None,
            is_forced: false,
        }
    }
}

/// The member list.
#[derive(Debug)]
pub enum MemberList {
    /// There is none.
    Absent,
    /// It was read.
    Known(Fleet),
    /// There is one that cannot be read.
    Unreadable {
        /// Why not.
        error: Error,
        /// Whether it may ask for batches: then the version must not go to all members at once.
        may_have_batches: bool,
    },
}

/// Who the members are.
#[derive(Debug)]
pub enum Members {
    /// Each with the version that it answered; `None` where it did not answer.
    Known(Vec<(Address, Option<Vec<u8>>)>),
    /// There is no member list.
    Unknown,
    /// There is one that cannot be read.
    Unreadable(Error),
}

/// What fCheckVersion looks at.
#[derive(Debug)]
pub struct CheckFacts {
    /// The upgrade in flight.
    pub status: Option<Status>,
    /// The announced upload.
    pub success: Option<Success>,
    /// What an earlier run of this toolkit left.
    pub journal: Option<Journal>,
    /// What the first service.conf announces.
    pub announced: Option<Vec<u8>>,
    /// For an upgrade that a script began: how long ago it last wrote below the version's directory.
    pub script_quiet_for: Option<Seconds>,
    /// The members; unknown unless [`check::asks_members`].
    pub members: Members,
    /// What is known of the published versions, where old ones are to be deleted.
    pub retention: Option<Result<RetentionFacts>>,
    /// How far the rollout is.
    pub rollout: RolloutFacts,
    /// Now, in seconds since 1970.
    pub now_s: i64,
}

impl CheckFacts {
    /// For how long an upgrade has been in flight; `None` where there is none.
    pub fn in_flight_for(&self) -> Option<Seconds> {
        let (status, now_s) = (self.status.as_ref()?, self.now_s);
        let since_s = in_flight_since_s(status, self.journal.as_ref(), self.rollout.note.as_ref(), now_s);
        Some(Seconds(now_s.saturating_sub(since_s).max(0)))
    }
}

/// How far a rollout is.
#[derive(Debug, Default)]
pub struct RolloutFacts {
    /// How it is to go.
    pub policy: Policy,
    /// Who was let in to which version.
    pub admitted: Option<Admitted>,
    /// The batch that was confirmed last, and how long ago.
    pub confirmed: Option<(ConfirmedBatch, Seconds)>,
    /// What became of it, or of an earlier one.
    pub note: Option<Rollout>,
    /// The members that could not take the version up, and why.
    pub failed: Vec<(Address, String)>,
    /// How long ago a member confirmed last, or a batch was let in.
    pub quiet_for: Seconds,
}

impl RolloutFacts {
    /// The note, if it is about this version.
    pub fn note_about(&self, version: &[u8]) -> Option<&Rollout> {
        self.note.as_ref().filter(|note| note.version.as_str().as_bytes() == version)
    }

    /// Who was let in to this version; `None` where everybody may take it.
    pub fn admitted_to(&self, version: &[u8]) -> Option<&Admitted> {
        self.admitted.as_ref().filter(|admitted| admitted.version.as_str().as_bytes() == version)
    }
}

/// A batch: the version, and how many members were let in with it and before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedBatch {
    /// The version.
    pub version: Version,
    /// How many members.
    pub admitted: usize,
}

impl ConfirmedBatch {
    /// Reads the note of a batch; `None` where it is not one.
    pub fn parse(bytes: &[u8]) -> Option<ConfirmedBatch> {
        let (version, admitted) = std::str::from_utf8(bytes).ok()?.trim_end().split_once(' ')?;
        let version = Version::of_directory(version.as_bytes()).ok()?;
        Some(ConfirmedBatch { version, admitted: admitted.parse().ok()? })
    }

    /// The note's one line.
    pub fn render(&self) -> String {
        format!("{} {}\n", self.version, self.admitted)
    }
}

/// What is known of the published versions.
#[derive(Debug)]
pub struct RetentionFacts {
    /// How many are kept.
    pub keep: Keep,
    /// Every version in `plugin/`.
    pub present: Vec<Version>,
    /// What every service.conf announces.
    pub announced: Vec<Version>,
    /// What every report names, also those of hosts that are no members any more.
    pub reported: Vec<Version>,
    /// Those that were marked bad.
    pub bad: Vec<Version>,
    /// The one that is pinned.
    pub pinned: Option<Version>,
    /// Those that are pushed, being published or rolled out.
    pub in_flight: Vec<Version>,
}

/// An edit of a service.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Where it is.
    pub path: PathBuf,
    /// What it was made from.
    pub before: Vec<u8>,
    /// What it becomes.
    pub after: Vec<u8>,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the journal.
    Record(Journal),
    /// Create `status`, unless a script was quicker: then nothing of the plan is done.
    MarkInFlight(Version),
    /// Write `status` of an upgrade that an earlier run began.
    MarkInFlightAgain(Version),
    /// Move a half-copied version out of the way and delete it.
    DiscardPublished(Version),
    /// Copy the upload to its staging directory, see that it did not change meanwhile and that it is what the manifest of its
    /// push says, and write the version's own manifest. If a script's check has removed `success` before it was copied,
    /// `status` is removed and nothing more of the plan is done: by the journal, the next tick puts `success` back.
    Stage(Version, Option<Rc<Manifest>>),
    /// Check a version that is in its place already, and write its manifest.
    Seal(Version, Option<Rc<Manifest>>),
    /// Delete a staging directory, and the manifest of a version that never came to be.
    DiscardStaged(Version),
    /// Rename the staging directory to the version's name.
    Publish(Version),
    /// See that `status` is not another upgrade's by now: then nothing more of the plan is done.
    StillInFlight(Version),
    /// Replace a service.conf, if it still is what the edit was made from.
    ReplaceConfiguration(Replacement),
    /// Write down who may take the version: before any service.conf names it.
    Admit(Admitted),
    /// Remove that note: everybody may take what service.conf names.
    AdmitEverybody,
    /// Write down which batch is confirmed now.
    NoteConfirmedBatch(ConfirmedBatch),
    /// Remove that note.
    ForgetConfirmedBatch,
    /// Let the site's own program look at a version that is staged.
    PrePublish(Version),
    /// Remember who was let in and does not have a version when its time is up.
    NoteLate(Version, Vec<Address>),
    /// Tell the site's own program that a version's rollout failed, and why.
    OnFailure(Version, String),
    /// Write down what becomes of the rollout.
    NoteRollout(Rollout),
    /// Remove that note: the rollout takes its ordinary course.
    ForgetRollout,
    /// Create `status` again if a script's check has removed it.
    KeepInFlight(Version),
    /// Remove exactly this upload of `success`; a newer one stays.
    RemoveSuccess(Identity),
    /// Remove `status`, unless it is that of another version by now.
    RemoveStatus(Option<Version>),
    /// Remove `status` and journal of a publication that failed. If a script's check has removed `status` and `success`
    /// meanwhile, the journal stays, so that the next tick can put `success` back.
    TakeBack(Version),
    /// Put back a `success` that a script's check has removed, unless another one is there.
    RestoreSuccess(Vec<u8>),
    /// Remove the journal.
    RemoveJournal,
    /// Write down that a version is bad.
    MarkBad(Mark),
    /// Remove that note.
    ForgetBad(Version),
    /// Write down which version is kept.
    Pin(Mark),
    /// Remove that note.
    Unpin,
    /// Delete versions that nobody needs any more, and their manifests.
    DeleteVersions(Vec<Version>),
    /// A line for the log.
    Say(String),
    /// The run has failed; what follows from it was done before.
    Fail(Error),
}

/// Actions in three parts, so that a failure leaves the tree as it was or as the next tick can finish it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nothing that a member can see. When one of these fails, `undo` is done.
    pub prepare: Vec<Action>,
    /// Takes the preparation back.
    pub undo: Vec<Action>,
    /// What members see. When one of these fails, the next tick resumes.
    pub commit: Vec<Action>,
    /// Why the version is to be rolled back instead, if that can be done.
    pub roll_back: Option<String>,
}

/// The first of some items, and how many more there are.
fn listed<T>(items: &[&T], shown: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 20;
    let mut text = items.iter().take(SHOWN).map(|item| shown(item)).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

/// What the first service.conf announces, which is what members fetch.
pub fn first_announced(configurations: &[Configuration]) -> Option<&[u8]> {
    service_conf::value(&configurations.first()?.bytes, "moduleversion")
}

/// The versions that service.conf files announce.
pub fn announced(configurations: &[Configuration]) -> Vec<Version> {
    let named = |c: &Configuration| {
        service_conf::value(&c.bytes, "moduleversion").and_then(|value| Version::of_directory(value).ok())
    };
    let mut versions: Vec<Version> = configurations.iter().filter_map(named).collect();
    versions.sort();
    versions.dedup();
    versions
}

/// Since when an upgrade has been in flight, in seconds since 1970. Whoever goes on with it after a pause, or passes late members
/// over, writes `status` again, for its deadline; so that is the begin only of one that a script began, or that an earlier build
/// wrote down. One that was resumed after it had ended began then.
pub fn in_flight_since_s(
    status: &Status,
    journal: Option<&Journal>,
    note: Option<&Rollout>,
    now_s: i64,
) -> i64 {
    let begun_s =
        journal.filter(|journal| is_about(journal, Some(status))).and_then(|journal| journal.begun_s);
    let is_about_it = |note: &&Rollout| status.version.as_ref() == Some(&note.version);
    let was_resumed = |note: &&Rollout| matches!(note.standing, Standing::Resumed(_));
    let resumed_s = note.filter(is_about_it).filter(was_resumed).map(|note| note.at);
    begun_s.or(resumed_s).unwrap_or(now_s.saturating_sub(status.age.0))
}

/// Whether a journal belongs to the upgrade that `status` marks; otherwise it is left from an earlier one. A rollback takes
/// over from the upgrade before it, whose `status` may still be there.
pub(super) fn is_about(journal: &Journal, status: Option<&Status>) -> bool {
    match status {
        Some(Status { version, .. }) if journal.phase == Phase::RollingBack => version
            .as_ref()
            .is_none_or(|version| journal.version == *version || journal.before.contains(version)),
        Some(Status { version: Some(version), .. }) => journal.version == *version,
        Some(Status { version: None, .. }) => false,
        None => journal.phase != Phase::Announced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_began_when_its_journal_or_its_resumption_says_and_otherwise_with_its_status() {
        let version = |text: &[u8]| Version::parse(text).unwrap();
        let status = Status { age: Seconds(5), version: Some(version(b"20180413192258")) };
        let journal = |begun_s| Journal {
            phase: Phase::Announced,
            version: version(b"20180413192258"),
            success: Identity::NONE,
            begun_s,
            before: Vec::new(),
            content: Vec::new(),
        };
        let note = |standing| Rollout {
            standing,
            version: version(b"20180413192258"),
            at: 400,
            by: "ann@m1".to_owned(),
            why: String::new(),
        };
        let since = |journal: Option<Journal>, note: Option<Rollout>| {
            in_flight_since_s(&status, journal.as_ref(), note.as_ref(), 1000)
        };
        assert_eq!(since(None, None), 995);
        assert_eq!(since(Some(journal(None)), None), 995);
        assert_eq!(since(Some(journal(Some(100))), None), 100);
        assert_eq!(since(Some(journal(Some(100))), Some(note(Standing::Paused))), 100);
        assert_eq!(since(None, Some(note(Standing::Resumed(1)))), 400);
        assert_eq!(since(None, Some(note(Standing::Paused))), 995);
        let of_another = version(b"20180414000000");
        assert_eq!(since(Some(Journal { version: of_another.clone(), ..journal(Some(100)) }), None), 995);
        assert_eq!(since(None, Some(Rollout { version: of_another, ..note(Standing::Resumed(1)) })), 995);
    }
}
