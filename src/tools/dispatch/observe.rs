//! Reads what the decisions need: machine -> facts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::Result;
use crate::formats::env_file::EnvFile;
use crate::formats::manifest::Manifest;
use crate::formats::rollout::Rollout;
use crate::formats::shell::Context;
use crate::identity::Identity;
use crate::layout::{Monitor, SUCCESS, Service, Upload};
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::trees::{self, Survey};
use crate::machine::{clock, configurations, environment, versions};
use crate::names::{Address, ModelName};
use crate::retention::Keep;
use crate::time::Seconds;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::forecast::InFlight;
use crate::tools::dispatch::decide::verdict::{Hindrance, MemberFacts};
use crate::tools::dispatch::decide::{
    self, Action, CheckFacts, Configuration, ConfirmedBatch, MemberList, Members, Published, RetentionFacts,
    RolloutFacts, Status, Success, UpdateFacts, UploadFacts, UploadManifest, check, update,
};
use crate::tools::dispatch::fleet::{self, Fleet};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::tools::dispatch::members::{self, Denials, Hindrances};
use crate::tools::dispatch::policy::Deadline;
use crate::tools::member_list;
use crate::version::Version;

/// The largest `success` or `status` that is read, in bytes: each holds one word.
const MARKER_LIMIT: u64 = 64 << 10;

/// The largest journal: a line, and the content of a `success`.
const JOURNAL_LIMIT: u64 = MARKER_LIMIT + 1024;

/// Where a model's files are on the monitor.
#[derive(Debug)]
pub struct Site<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// The monitor.
    pub monitor: &'a Monitor,
    /// The model's upload.
    pub upload: Upload,
    /// What its members fetch.
    pub service: Service,
}

impl<'a> Site<'a> {
    /// The places of a model.
    pub fn new(monitor: &'a Monitor, model: &'a ModelName) -> Site<'a> {
        let (upload, service) = (monitor.upload(model), monitor.service(model));
        Site { model, monitor, upload, service }
    }

    /// The versions whose deletion was interrupted.
    pub fn half_deleted(&self) -> Result<Vec<Version>> {
        versions::half_deleted(&self.service.versions())
    }

    /// Fails where a link leads out of the model's directories, or these out of those of all models: an unprivileged daemon
    /// writes to them, and what it may not read or write itself must not be reached through it.
    pub fn check_within(&self) -> Result<()> {
        files::check_within(&self.monitor.uploads(), &self.upload.dir)?;
        files::check_within(&self.monitor.services(), &self.service.dir)?;
        let own =
            [self.service.versions(), self.service.discarded(), self.service.manifests(), self.service.bad()];
        for dir in own {
            files::check_within(&self.service.dir, &dir)?;
        }
        Ok(())
    }

    /// The upgrade in flight.
    pub fn status(&self) -> Result<Option<Status>> {
        let path = self.service.status();
        let Some(facts) = files::facts(&path)? else { return Ok(None) };
        let content = files::read_without_following(&path, MARKER_LIMIT)?.unwrap_or_default();
        Ok(Some(Status { age: clock::age_of(facts.modified), version: Version::announced_in(&content) }))
    }

    /// The announced upload.
    pub fn success(&self) -> Result<Option<Success>> {
        let path = self.upload.success();
        let Some(facts) = files::facts(&path)? else { return Ok(None) };
        let content = files::read_without_following(&path, MARKER_LIMIT)?.unwrap_or_default();
        let announces = Version::announced_in(&content);
        Ok(Some(Success { identity: facts.identity, age: clock::age_of(facts.modified), announces, content }))
    }

    /// What an earlier run left; `None` where there is nothing readable.
    pub fn journal(&self) -> Result<Option<Journal>> {
        let content = files::read_without_following(&self.service.journal(), JOURNAL_LIMIT)?;
        Ok(content.and_then(|bytes| Journal::parse(&bytes)))
    }

    /// Every `config_*/service.conf`.
    pub fn configurations(&self) -> Result<Vec<Configuration>> {
        let read = configurations::of(&self.service)?.into_iter();
        Ok(read.map(|(path, bytes)| Configuration { path, bytes }).collect())
    }

    /// The facts of fUpdateVersion, and what the upload holds, for the copy.
    pub fn update_facts(&self, target: &Target, is_forced: bool) -> Result<(UpdateFacts, Survey)> {
        let mut facts = UpdateFacts { is_forced, ..UpdateFacts::at(clock::now()) };
        let uploaded = self.complete(&mut facts, target)?;
        Ok((facts, uploaded))
    }

    /// Fills these facts in, and returns what the upload holds. Where something cannot be read, those are there that were read before.
    pub fn complete(&self, facts: &mut UpdateFacts, target: &Target) -> Result<Survey> {
        // `status` first: of a script that ends its upgrade in between, `success` without `status` would look like another push.
        facts.status = self.status()?;
        facts.success = self.success()?;
        facts.journal = self.journal()?;
        let Some(version) = update::candidate(facts) else {
            facts.upload_is_as_journalled = self.is_as_journalled(facts)?;
            return Ok(Survey::default());
        };
        facts.configurations = self.configurations()?;
        if let Some(begun) = update::begun_by_script(facts, &version) {
            facts.script_quiet_for = trees::last_written(&self.service.version(&begun))?.map(clock::age_of);
        }
        if update::unfinished(facts).is_none() {
            facts.pin = self.pin()?;
        }
        if update::may_announce(facts, target, &version) {
            facts.list = self.list_without_held()?;
            facts.has_admitted = files::facts(&self.service.admitted())?.is_some();
            facts.has_note = files::facts(&self.service.rollout())?.is_some();
        }
        if !update::may_publish(facts, target, &version) {
            return Ok(Survey::default());
        }
        let uploaded = trees::survey(&self.upload.dir)?;
        facts.published = self.published(&version)?;
        facts.is_sealed = files::facts(&self.service.manifest(&version))?.is_some();
        facts.manifest = self.upload_manifest()?;
        facts.bad = self.bad_version_of(&version, &uploaded, &facts.manifest)?;
        let success = facts.success.as_ref().map(|success| success.identity);
        let in_upload = |path: &[u8]| self.upload.dir.join(OsStr::from_bytes(path));
        facts.upload = Some(UploadFacts {
            of_another_push: of_another_push(&uploaded, success).map(in_upload),
            bytes: trees::total_bytes(&uploaded),
            has_library: has_library(&uploaded, target),
            unpublishable: trees::first_unpublishable(&uploaded).map(in_upload),
            free_bytes: self.free_bytes()?,
        });
        Ok(uploaded)
    }

    /// What the versions may still take. Their directory may be a disk of its own; before the first version it may be missing.
    fn free_bytes(&self) -> Result<u64> {
        let versions = self.service.versions();
        let is_there = files::facts(&versions)?.is_some();
        files::free_bytes(if is_there { &versions } else { &self.service.dir })
    }

    fn upload_manifest(&self) -> Result<UploadManifest> {
        let path = self.upload.manifest();
        Ok(match files::read_without_following(&path, MANIFEST_LIMIT)?.map(|bytes| Manifest::parse(&bytes)) {
            None => UploadManifest::Absent,
            Some(Ok(manifest)) => UploadManifest::Present(Rc::new(manifest)),
            Some(Err(refusal)) => UploadManifest::Unreadable(refusal.in_file(&path)),
        })
    }

    /// Whether nothing was written to the upload since the journal's `success` was.
    fn is_as_journalled(&self, facts: &UpdateFacts) -> Result<bool> {
        let publishing = facts.journal.as_ref().filter(|journal| journal.phase == Phase::Publishing);
        let Some(journal) = publishing else { return Ok(false) };
        let uploaded = trees::survey(&self.upload.dir)?;
        Ok(!uploaded.is_empty()
            && trees::first_written_after(&uploaded, journal.success.modified_ns).is_none())
    }

    fn published(&self, version: &Version) -> Result<Published> {
        let dir = self.service.version(version);
        match files::facts(&dir)?.map(|facts| facts.kind) {
            None => return Ok(Published::Absent),
            Some(Kind::Directory) => {}
            Some(_) => return Ok(Published::Other),
        }
        if trees::same_content(&self.upload.dir, &dir)? {
            return Ok(Published::SameAsUpload);
        }
        Ok(Published::Other)
    }

    /// The facts of fCheckVersion.
    pub fn check_facts(&self, keep: Option<Keep>) -> Result<CheckFacts> {
        self.check_facts_after(&[], keep)
    }

    /// The same as if these actions had been done just now.
    pub fn check_facts_after(&self, done: &[Action], keep: Option<Keep>) -> Result<CheckFacts> {
        self.facts_of_members(done, keep, check::asks_members)
    }

    /// The same for an operator's command: the members are asked whether or not an upgrade is in flight.
    pub fn steering_facts(&self) -> Result<CheckFacts> {
        self.facts_of_members(&[], None, |_, _| true)
    }

    fn facts_of_members(
        &self,
        done: &[Action],
        keep: Option<Keep>,
        asks: fn(Option<&Status>, Option<&Journal>) -> bool,
    ) -> Result<CheckFacts> {
        let in_flight = InFlight {
            status: self.status()?,
            success: self.success()?,
            journal: self.journal()?,
            configurations: self.configurations()?,
        };
        let InFlight { status, success, journal, configurations } = in_flight.after(done);
        let announced = decide::first_announced(&configurations).map(<[u8]>::to_vec);
        let (mut members, mut retention, mut rollout) = (Members::Unknown, None, RolloutFacts::default());
        if asks(status.as_ref(), journal.as_ref()) {
            rollout = self.rollout_facts()?.after(done);
            match self.list() {
                MemberList::Known(fleet) if !fleet.members.is_empty() => {
                    (members, rollout.failed) = self.members(&fleet, announced.as_deref());
                    retention = keep.or(fleet.keep).map(|keep| self.retention(keep));
                    rollout.quiet_for = self.quiet_for(&fleet, status.as_ref())?;
                    rollout.policy = fleet.policy;
                }
                MemberList::Known(_) | MemberList::Absent => {}
                MemberList::Unreadable { error, .. } => members = Members::Unreadable(error),
            }
        }
        let begun = status.as_ref().and_then(|status| status.version.as_ref());
        let script_quiet_for = match begun {
            Some(version) if journal.as_ref().is_none_or(|journal| journal.version != *version) => {
                trees::last_written(&self.service.version(version))?.map(clock::age_of)
            }
            _ => None,
        };
        let now_s = clock::now().instant.timestamp();
        Ok(CheckFacts {
            status,
            success,
            journal,
            announced,
            script_quiet_for,
            members,
            retention,
            rollout,
            now_s,
        })
    }

    /// What the members answer, those that are held left out, and who could not take the announced version up, and why.
    fn members(&self, fleet: &Fleet, announced: Option<&[u8]>) -> (Members, Vec<(Address, String)>) {
        let announced = announced.and_then(|version| Version::of_directory(version).ok());
        let known = match members::members(&self.service, fleet, announced.as_ref(), &Denials::read()) {
            Ok(known) => known,
            Err(error) => return (Members::Unreadable(error), Vec::new()),
        };
        let known = || known.iter().filter(|(_, facts)| facts.hindrance.is_none());
        let answer =
            |(member, facts): &(Address, MemberFacts)| (member.clone(), facts.answer().map(<[u8]>::to_vec));
        let failed = |(member, facts): &(Address, MemberFacts)| {
            let why = facts.failure(announced.as_ref()?)?;
            Some((member.clone(), why))
        };
        (Members::Known(known().map(answer).collect()), known().filter_map(failed).collect())
    }

    /// How long ago a member reported last, or a batch was let in; since the begin, where neither has happened.
    fn quiet_for(&self, fleet: &Fleet, status: Option<&Status>) -> Result<Seconds> {
        let begun = status.map_or(Seconds(0), |status| status.age);
        if matches!(fleet.policy.deadline, Deadline::SinceBegin(_)) {
            return Ok(begun);
        }
        let reports = fleet.members.iter().map(|member| self.service.report(member));
        let mut quiet_for = begun;
        for path in reports.chain([self.service.admitted()]) {
            let age = files::facts(&path)?.map(|facts| clock::age_of(facts.modified));
            quiet_for = age.map_or(quiet_for, |age| age.min(quiet_for));
        }
        Ok(quiet_for)
    }

    /// Who may take the announced version, and what became of its rollout.
    fn rollout_facts(&self) -> Result<RolloutFacts> {
        let admitted = members::admitted(&self.service)?;
        let path = self.service.confirmed_batch();
        let batch = files::read_without_following(&path, MARKER_LIMIT)?
            .and_then(|bytes| ConfirmedBatch::parse(&bytes));
        let confirmed =
            batch.zip(files::facts(&path)?).map(|(batch, facts)| (batch, clock::age_of(facts.modified)));
        Ok(RolloutFacts { admitted, confirmed, note: self.rollout_note()?, ..RolloutFacts::default() })
    }

    /// What became of a rollout, of whatever version.
    pub fn rollout_note(&self) -> Result<Option<Rollout>> {
        let path = self.service.rollout();
        let note = files::read_without_following(&path, MARKER_LIMIT)?.map(|bytes| Rollout::parse(&bytes));
        note.transpose().map_err(|refusal| refusal.in_file(&path))
    }

    /// What is known of the published versions.
    ///
    /// Fails where a version could be taken for one that nobody needs because something cannot be read.
    pub fn retention(&self, keep: Keep) -> Result<RetentionFacts> {
        let mut reported = Vec::new();
        let dir = self.service.reports();
        files::check_within(&self.service.dir, &dir)?;
        for name in if files::is_directory(&dir) { files::names_in(&dir)? } else { Vec::new() } {
            // What members tell beside their reports is about versions that they do not serve.
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let report = files::read_without_following(&dir.join(name), MARKER_LIMIT)?.unwrap_or_default();
            reported.extend(Version::of_directory(report.trim_ascii()).ok());
        }
        let pushed = self.success()?.and_then(|success| success.announces);
        let begun = self.status()?.and_then(|status| status.version);
        Ok(RetentionFacts {
            keep,
            present: versions::in_directory(&self.service.versions())?,
            announced: decide::announced(&self.configurations()?),
            reported,
            bad: self.bad_versions()?.into_iter().map(|mark| mark.version).collect(),
            pinned: self.pin()?.map(|mark| mark.version),
            in_flight: pushed.into_iter().chain(begun).collect(),
        })
    }

    /// Where the member list is, or would be.
    pub fn list_path(&self) -> PathBuf {
        member_list::path(self.monitor, self.model)
    }

    /// The member list without those that are to keep what they serve: nobody waits for them, and no batch counts them.
    fn list_without_held(&self) -> Result<MemberList> {
        self.list_and_held().map(|(list, _)| list)
    }

    /// The same, and those that are left out of it, with the reason.
    pub fn list_and_held(&self) -> Result<(MemberList, Vec<(Address, Hindrance)>)> {
        let (mut list, mut held) = (self.list(), Vec::new());
        if let MemberList::Known(fleet) = &mut list {
            let denials = Denials::read();
            let hindrances = Hindrances::read(&self.service, &denials)?;
            fleet.members.retain(|member| {
                let hindrance = hindrances.of(member);
                let is_free = hindrance.is_none();
                held.extend(hindrance.map(|hindrance| (member.clone(), hindrance)));
                is_free
            });
        }
        Ok((list, held))
    }

    /// The member list.
    pub fn list(&self) -> MemberList {
        let (path, origin, content) = match member_list::read(self.monitor, self.model) {
            Ok(Some(found)) => found,
            Ok(None) => return MemberList::Absent,
            Err(error) => return MemberList::Unreadable { error, may_have_batches: true },
        };
        let now = clock::now();
        let context = Context { environment: &environment::variable, now: &now };
        let fleet = EnvFile::parse(&path, &content, &context).and_then(|list| Fleet::parse(&list, origin));
        match fleet {
            Ok(fleet) => MemberList::Known(fleet),
            Err(error) => {
                MemberList::Unreadable { error, may_have_batches: fleet::may_have_batches(&content) }
            }
        }
    }
}

/// A path that another push than that of this `success` has written: it is newer, or `success` is another one by now.
fn of_another_push(uploaded: &Survey, success: Option<Identity>) -> Option<&[u8]> {
    let name = SUCCESS.as_bytes();
    match uploaded.get(name).filter(|entry| Some(entry.identity) == success) {
        // Its arrival is the change of its inode: rsync may have given it the modification time that it has at its source.
        Some(entry) => trees::first_written_after(uploaded, entry.changed_ns),
        None => Some(name),
    }
}

fn has_library(uploaded: &Survey, target: &Target) -> bool {
    let library = Path::new("lib").join(&target.so_name);
    uploaded.get(library.as_os_str().as_bytes()).is_some_and(|entry| entry.kind == Kind::File)
}
