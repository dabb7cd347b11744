//! A model on which nothing is changed: what a run would do is shown, and what it would find
//! afterwards is remembered, so that a dry run decides as the tick decides.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::digest::Digest;
use crate::error::{Error, Result, one_line};
use crate::formats::announcement::{Announcement, Bytes, Numbers};
use crate::machine::files::Kind;
use crate::machine::terminal;
use crate::machine::trees::{self, Entry};
use crate::names::{Address, ModelName};
use crate::retention::{Keep, would_be_deleted};
use crate::rollout::advance::Fleet;
use crate::rollout::history::Told;
use crate::rollout::reconcile::{Seen, Status, Success};
use crate::rollout::state::{Announced, Origin, Sight, State};
use crate::rollout::tick::{Copied, List, Monitor, Target};
use crate::tools::dispatch::amounts::{self, Amount, Copying};
use crate::tools::hooks::{self, Hook};
use crate::tools::shared::places::{Checked, Published};
use crate::tools::shared::publish;
use crate::tools::shared::site::Site;
use crate::version::Version;

/// A model, and what would have become of it.
pub struct Preview<'a> {
    site: Site<'a>,
    state: Option<State>,
    seen: Option<Seen>,
    checked: Option<Checked>,
    /// Versions that would be in `plugin/`.
    placed: Vec<Version>,
    /// The announcement whose batches were shown.
    shown: Option<u64>,
    /// Whether anything was shown.
    pub has_said: bool,
}

impl<'a> Preview<'a> {
    /// Nothing would have been done yet.
    pub fn new(site: Site<'a>) -> Preview<'a> {
        Preview {
            site,
            state: None,
            seen: None,
            checked: None,
            placed: Vec::new(),
            shown: None,
            has_said: false,
        }
    }

    fn model(&self) -> &'a ModelName {
        self.site.places.model
    }

    /// Shows a line.
    pub fn show(&mut self, line: &str) {
        terminal::say(one_line(line));
        self.has_said = true;
    }

    fn would(&mut self, what: &str) {
        let line = format!("{}: would {what}", self.model());
        self.show(&line);
    }

    fn change(&mut self, change: impl FnOnce(&mut Seen)) -> Result<()> {
        let mut seen = self.seen()?;
        change(&mut seen);
        self.seen = Some(seen);
        Ok(())
    }

    fn show_hook(&mut self, hook: Hook, failing: &str) {
        let program = hooks::program(&self.site.places.monitor.hooks(self.model()), hook);
        if let Ok(Some(program)) = program {
            let program = program.display().to_string();
            self.would(&format!("run {program}{failing}"));
        }
    }

    /// What carrying a publication out would find: an upload, or a version in its place, that is
    /// not what was pushed.
    fn check_content(&self, version: &Version, checked: &Checked) -> Result<()> {
        let expected = checked.expected.as_deref();
        if expected.is_none() {
            return Ok(());
        }
        let files = match checked.published {
            Published::SameAsUpload => {
                let dir = self.site.places.service.version(version);
                trees::digest(&dir, &trees::survey(&dir)?)?
            }
            Published::Absent | Published::Other => {
                trees::digest(&self.site.places.upload.dir, &checked.uploaded)?
            }
        };
        publish::check_pushed(&files, expected, &self.site.places)
    }

    fn copying(&self, version: &Version, checked: &Checked) -> Copying {
        let files = || checked.uploaded.iter().filter(|(_, entry)| entry.kind == Kind::File);
        let size = |(_, entry): (&[u8], &Entry)| entry.identity.size;
        let earlier = checked
            .expected
            .as_deref()
            .and_then(|manifest| publish::earlier(version, manifest, &self.site.places));
        let linked = earlier.and_then(|earlier| {
            let from = Version::of_directory(earlier.dir.file_name().map_or(b"", OsStr::as_bytes)).ok()?;
            let same = files().filter(|(path, _)| earlier.files.get(path).is_some());
            Some((from, Amount::of(same.map(size))))
        });
        Copying { all: Amount::of(files().map(size)), linked, free_bytes: checked.free_bytes }
    }

    /// Who gets the version that would be announced, and when.
    fn show_members(&mut self) -> Result<()> {
        let List::Known { members, policy, .. } = self.site.list() else { return Ok(()) };
        let held = self.site.held_of(&members)?;
        let is_held = |member: &&Address| held.iter().any(|(address, _)| address == *member);
        let free: Vec<Address> = members.iter().filter(|member| !is_held(member)).cloned().collect();
        for line in amounts::batches(&free, &policy, self.model()) {
            self.show(&line);
        }
        for (member, hindrance) in &held {
            let line = amounts::left_out(self.model(), member, hindrance);
            self.show(&line);
        }
        Ok(())
    }
}

impl Monitor for Preview<'_> {
    fn now_s(&self) -> i64 {
        self.site.now_s()
    }

    fn version_of_now(&self) -> Option<Version> {
        self.site.version_of_now()
    }

    fn by(&self) -> String {
        self.site.by()
    }

    fn lock(&mut self) -> Result<()> {
        Ok(())
    }

    fn unlock(&mut self) {}

    fn load(&mut self) -> Result<Option<State>> {
        match &self.state {
            Some(state) => Ok(Some(state.clone())),
            None => self.site.load(),
        }
    }

    fn save(&mut self, state: &State) -> Result<()> {
        let before = match &self.state {
            Some(state) => state.announced.as_ref().map(|announced| announced.sequence),
            None => self.site.load()?.and_then(|state| state.announced).map(|announced| announced.sequence),
        };
        self.state = Some(state.clone());
        let pushed = state.announced.as_ref().filter(|announced| announced.origin == Origin::Push);
        let sequence = pushed.map(|announced| announced.sequence);
        if sequence.is_some() && sequence != before {
            self.shown = sequence;
        }
        if state.settled && self.shown.take().is_some() {
            self.show_members()?;
        }
        Ok(())
    }

    fn seen(&mut self) -> Result<Seen> {
        match &self.seen {
            Some(seen) => Ok(seen.clone()),
            None => self.site.seen(),
        }
    }

    fn write_announcement(&mut self, _announcement: &Announcement) -> Result<()> {
        Ok(())
    }

    fn announcing(&self, name: &str, conf: &[u8], target: &Target, version: &Version) -> Result<Vec<u8>> {
        self.site.announcing(name, conf, target, version)
    }

    fn write_conf(&mut self, name: &str, before: &[u8], after: &[u8]) -> Result<()> {
        let path = self.site.places.conf(name).display().to_string();
        terminal::show_diff(&path, Some(before), after);
        self.has_said = true;
        self.change(|seen| {
            seen.confs.insert(name.to_owned(), Bytes(after.to_vec()));
        })
    }

    fn create_status(&mut self, version: &Version) -> Result<bool> {
        if self.seen()?.status.is_some() {
            return Ok(false);
        }
        self.write_status(version).map(|()| true)
    }

    fn write_status(&mut self, version: &Version) -> Result<()> {
        let written_s = self.now_s();
        self.change(|seen| seen.status = Some(Status { version: Some(version.clone()), written_s }))
    }

    fn remove_status(&mut self) -> Result<()> {
        let version = self.seen()?.status.and_then(|status| status.version);
        match version {
            Some(version) => self.would(&format!("end the upgrade to {version}")),
            None => self.would("end the upgrade in flight"),
        }
        self.change(|seen| seen.status = None)
    }

    fn remove_success(&mut self, _success: &Success) -> Result<()> {
        self.change(|seen| seen.success = None)
    }

    fn restore_success(&mut self, _content: &[u8]) -> Result<Option<String>> {
        Ok(None)
    }

    fn tell(&mut self, _lines: &[Told]) -> Result<()> {
        Ok(())
    }

    fn list(&mut self) -> List {
        self.site.list()
    }

    fn fleet(&mut self, state: &State, announced: &Announced) -> Fleet {
        self.site.fleet(state, announced)
    }

    fn seen_by_members(&mut self) -> Result<Vec<(Address, Numbers)>> {
        self.site.seen_by_members()
    }

    /// Members are not asked what they could fetch: that would write a file.
    fn sight(&mut self) -> Result<Sight> {
        Ok(Sight::Seen)
    }

    fn present(&mut self) -> Result<Vec<Version>> {
        let mut present = self.site.present()?;
        present.extend(self.placed.iter().cloned());
        Ok(present)
    }

    fn seal(&mut self, version: &Version) -> Result<Option<Digest>> {
        let digest = self.site.places.manifest_digest(version)?;
        if digest.is_none() {
            self.would(&format!("take {version} as it is in plugin/ already, and write its manifest"));
        }
        Ok(digest)
    }

    fn script_is_dead(&mut self, begun: Option<&Version>) -> Result<bool> {
        self.site.script_is_dead(begun)
    }

    fn upload_is(&mut self, version: &Version) -> Result<bool> {
        self.site.upload_is(version)
    }

    fn upload_is_untouched(&mut self, identity: &str) -> Result<bool> {
        self.site.upload_is_untouched(identity)
    }

    fn bad_content(&mut self, state: &State, version: &Version) -> Result<Option<Version>> {
        self.site.bad_content(state, version)
    }

    fn check_upload(
        &mut self,
        target: &Target,
        version: &Version,
        success: &Success,
        is_begun: bool,
    ) -> Result<()> {
        let checked = self.site.places.check_upload(target, version, success, is_begun)?;
        self.check_content(version, &checked)?;
        self.checked = Some(checked);
        Ok(())
    }

    fn copy(&mut self, version: &Version, _success: &Success, _is_begun: bool) -> Result<Copied> {
        let Some(checked) = self.checked.take() else {
            return Err(Error::failed(format!("{}: the upload was not checked", self.model())));
        };
        match checked.published {
            Published::SameAsUpload => {
                if self.site.places.manifest_digest(version)?.is_none() {
                    self.would(&format!(
                        "take {version} as it is in plugin/ already, and write its manifest"
                    ));
                }
                return Ok(Copied::Whole);
            }
            Published::Other => {
                self.would(&format!(
                    "delete what is in plugin/{version}, which is not whole, and copy it anew"
                ));
            }
            Published::Absent => {}
        }
        let words = self.copying(version, &checked).words();
        self.would(&format!("publish {version}: {words}"));
        self.show_hook(Hook::PrePublish, "; if it fails, nothing is published");
        self.placed.push(version.clone());
        Ok(Copied::Whole)
    }

    fn place(&mut self, version: &Version) -> Result<Option<Digest>> {
        self.site.places.manifest_digest(version)
    }

    fn discard_copy(&mut self, _version: &Version) -> Result<()> {
        Ok(())
    }

    fn on_failure(&mut self, _version: &Version, _why: &str) {
        self.show_hook(Hook::OnFailure, "");
    }

    fn first_whole(&mut self, target: &Target, versions: &[Version]) -> Result<Version> {
        self.site.first_whole(target, versions)
    }

    fn reported(&mut self) -> Result<Vec<Version>> {
        self.site.reported()
    }

    fn delete(&mut self, versions: &[Version]) -> Result<()> {
        let bytes = crate::machine::versions::bytes(&self.site.places.service.versions(), versions)?;
        let line = format!("{}: {}", self.model(), would_be_deleted(versions, bytes));
        self.show(&line);
        Ok(())
    }

    fn keep(&mut self) -> Option<Keep> {
        self.site.keep()
    }

    fn say(&mut self, line: &str) -> Result<()> {
        for line in line.lines() {
            self.show(&format!("would say: {line}"));
        }
        Ok(())
    }
}
