//! A model's files on the monitor, as the rollout works on them.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Error, Result, one_line};
use crate::formats::announcement::{self, Announcement, FIRST_INSTANCE, Numbers};
use crate::formats::env_file::EnvFile;
use crate::formats::member_state::{self, MemberState};
use crate::formats::shell::Context;
use crate::layout::STATE;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::rsync::Daemon;
use crate::machine::trees;
use crate::machine::{clock, environment, terminal, versions};
use crate::names::{Address, Port};
use crate::retention::{self, Keep};
use crate::rollout::advance;
use crate::rollout::history::Told;
use crate::rollout::reconcile::{Seen, Success};
use crate::rollout::state::{Announced, Sight, State};
use crate::rollout::tick::{self, Copied, List, Monitor, Target};
use crate::time::Seconds;
use crate::tools::hooks::{self, Hook, Told as ToldToHook};
use crate::tools::shared::members::{self, Denials, Hindrance, Hindrances};
use crate::tools::shared::places::{Checked, MARKER_LIMIT, Places, Published, announced_in};
use crate::tools::shared::publish::{self, Staged};
use crate::tools::shared::{bad, sight, success};
use crate::tools::{history, rsyncd_files};
use crate::version::Version;

/// A script that began an upgrade and wrote nothing for this long is dead: two ticks. A script at
/// work writes all the time.
const SCRIPT_IS_DEAD_AFTER: Seconds = Seconds(120);

/// How long a run waits for the lock of the state, which is held for milliseconds.
const STATE_LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(10));

/// Where the lines for the log go.
pub type Say<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Says a line to the operator.
pub fn aloud(line: &str) -> Result<()> {
    terminal::say(line);
    Ok(())
}

/// A model on the real monitor.
pub struct Site<'a> {
    /// Where its files are.
    pub places: Places<'a>,
    say: Say<'a>,
    lock: Option<Lock>,
    denials: OnceCell<Denials>,
    /// The upload that was checked last, for the copy.
    checked: Option<Checked>,
}

impl<'a> Site<'a> {
    /// A model, and where the lines for the log go.
    pub fn new(places: Places<'a>, say: Say<'a>) -> Site<'a> {
        Site { places, say, lock: None, denials: OnceCell::new(), checked: None }
    }

    fn denials(&self) -> &Denials {
        self.denials.get_or_init(Denials::read)
    }

    /// Why members keep what they serve.
    fn hindrances(&self) -> Result<Hindrances<'_>> {
        Hindrances::read(&self.places.service, self.denials())
    }

    /// The members of a list that keep what they serve, and why.
    pub fn held_of(&self, members: &[Address]) -> Result<Vec<(Address, Hindrance)>> {
        let hindrances = self.hindrances()?;
        Ok(members.iter().filter_map(|member| Some((member.clone(), hindrances.of(member)?))).collect())
    }

    fn run_hook(&self, hook: Hook, version: &Version, error: &str, directory: PathBuf) -> Result<()> {
        let Places { model, monitor, .. } = self.places;
        hooks::run(&monitor.hooks(model), hook, &ToldToHook { model, version, directory, error })
    }

    /// This monitor's own daemon, as a member of this host would reach it: on the port that the
    /// member list names, or the env.sh that pushes come with, or rsyncd.conf.
    fn daemon(&self) -> Daemon {
        let conf = rsyncd_files::read(&environment::rsyncd_conf()).ok();
        let of_conf = |name: &str| conf.as_ref()?.at_start(name).ok()?.map(|(value, _)| value);
        let list = self.places.monitor.member_list(self.places.model);
        let uploaded = self.places.upload.env_sh();
        let port = port_in(&list).or_else(|| port_in(&uploaded));
        let port = port.or_else(|| Port::parse(&of_conf("port")?).ok());
        let host = of_conf("address").and_then(|address| Address::parse(&address).ok());
        Daemon {
            host: host.unwrap_or_else(Address::loopback),
            port: port.unwrap_or(Port::RSYNC),
            timeout: None,
        }
    }
}

/// The port of the rsync daemon that an env.sh names.
fn port_in(path: &Path) -> Option<Port> {
    let content = files::read_without_following(path, CONFIGURATION_LIMIT).ok()??;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    EnvFile::parse(path, &content, &context).ok()?.optional("rsyncport", Port::parse).ok()?
}

impl Monitor for Site<'_> {
    fn now_s(&self) -> i64 {
        clock::unix_now().0
    }

    fn version_of_now(&self) -> Option<Version> {
        clock::now().version()
    }

    fn by(&self) -> String {
        environment::operator()
    }

    fn editor(&mut self) -> Option<String> {
        let user = files::owner(&self.places.conf(FIRST_INSTANCE)).ok()?;
        let by = environment::operator();
        let (_, host) = by.split_once('@').unwrap_or(("", ""));
        Some(format!("{user}@{host}"))
    }

    fn lock(&mut self) -> Result<()> {
        let path = self.places.monitor.state_lock(self.places.model);
        files::create_private_directory(&self.places.monitor.locks())?;
        self.lock = Some(Lock::take(&path, STATE_LOCK_WAIT)?);
        Ok(())
    }

    fn unlock(&mut self) {
        self.lock = None;
    }

    fn load(&mut self) -> Result<Option<State>> {
        self.places.state()
    }

    fn save(&mut self, state: &State) -> Result<()> {
        let Places { model, monitor, service, .. } = &self.places;
        let path = monitor.state_lock(model);
        if let Some(lock) = &self.lock
            && !lock.is_at(&path)?
        {
            let path = path.display();
            return Err(Error::locked(format!(
                "{model}: {path} was replaced while this run held it; nothing was changed: leave the files there alone, and \
                 try again"
            )));
        }
        files::create_directories(&service.rollout())?;
        self.places.check_within()?;
        // The daemon reads what lies here as another user, whatever umask this run has.
        files::set_mode(&service.rollout(), 0o755)?;
        files::replace_with_mode(&service.state(), &state.render(), 0o644)
    }

    fn seen(&mut self) -> Result<Seen> {
        self.places.seen()
    }

    fn write_announcement(&mut self, announcement: &Announcement) -> Result<()> {
        let path = self.places.service.announcement();
        let bytes = announcement.render();
        let is_written = files::read_without_following(&path, announcement::LIMIT)
            .is_ok_and(|known| known.as_deref() == Some(&*bytes));
        if is_written { Ok(()) } else { files::replace_with_mode(&path, &bytes, 0o644) }
    }

    fn announcing(&self, name: &str, conf: &[u8], target: &Target, version: &Version) -> Result<Vec<u8>> {
        announced_in(&self.places.conf(name), conf, target, version)
    }

    /// A service.conf that somebody has edited since it was read is not overwritten.
    fn write_conf(&mut self, name: &str, before: &[u8], after: &[u8]) -> Result<()> {
        let path = self.places.conf(name);
        files::check_within(&self.places.service.dir, &path)?;
        if files::read(&path, CONFIGURATION_LIMIT)? != *before {
            let path = path.display();
            return Err(Error::failed(format!(
                "{path} was changed while it was edited; the next tick tries again"
            )));
        }
        files::replace_atomically(&path, after)
    }

    fn create_status(&mut self, version: &Version) -> Result<bool> {
        files::create_exclusively(&self.places.service.status(), format!("{version}\n").as_bytes())
    }

    fn write_status(&mut self, version: &Version) -> Result<()> {
        files::replace_atomically(&self.places.service.status(), format!("{version}\n").as_bytes())
    }

    fn remove_status(&mut self) -> Result<()> {
        files::remove_if_exists(&self.places.service.status())
    }

    fn remove_success(&mut self, success: &Success) -> Result<()> {
        success::remove(&success.identity, &self.places.upload)
    }

    fn restore_success(&mut self, content: &[u8]) -> Result<Option<String>> {
        let path = self.places.upload.success();
        if !files::create_exclusively(&path, content)? {
            return Ok(None);
        }
        Ok(files::facts(&path)?.map(|facts| success::word(facts.identity)))
    }

    fn tell(&mut self, lines: &[Told]) -> Result<()> {
        let told = history::tell_once(lines, self.places.monitor, self.places.model);
        told.inspect_err(|error| terminal::complain(tick::DISPATCH, error))
    }

    fn list(&mut self) -> List {
        let known = self.places.list().and_then(|list| {
            let hindrances = self.hindrances()?;
            let mut held = hindrances.holds();
            Ok(match list {
                Some(fleet) if !fleet.members.is_empty() => {
                    for member in &fleet.members {
                        if hindrances.of(member).is_some() && !held.contains(member) {
                            held.push(member.clone());
                        }
                    }
                    List::Known { members: fleet.members, held, policy: fleet.policy }
                }
                Some(_) | None => List::Absent { held },
            })
        });
        known.unwrap_or_else(List::Unknown)
    }

    fn fleet(&mut self, state: &State, announced: &Announced) -> advance::Fleet {
        let fleet = match self.places.list() {
            Ok(Some(fleet)) if !fleet.members.is_empty() => fleet,
            Ok(_) => return advance::Fleet::NoList,
            Err(error) => return advance::Fleet::Unknown(error),
        };
        let rollout = members::Rollout::of(state, announced);
        match members::members(&self.places.service, &fleet, Some(&rollout), self.denials()) {
            Ok(members) => advance::Fleet::Known {
                members: members::as_advance(members, announced.version()),
                policy: fleet.policy,
            },
            Err(error) => advance::Fleet::Unknown(error),
        }
    }

    fn seen_by_members(&mut self) -> Result<Vec<(Address, Numbers)>> {
        let mut seen = Vec::new();
        let Places { service, .. } = &self.places;
        if let Err(error) = files::check_within(&service.dir, &service.reports()) {
            // A report through a link that leads elsewhere is none.
            log::debug!("{error}");
            return Ok(seen);
        }
        for path in self.places.reports()? {
            let name = path.file_name().map_or(b"".as_slice(), OsStr::as_bytes);
            let Some(member) = name.strip_prefix(STATE.as_bytes()) else { continue };
            let Ok(member) = Address::parse(member) else { continue };
            let read = files::read_without_following(&path, member_state::LIMIT).unwrap_or_default();
            let state = read.and_then(|bytes| MemberState::parse(&bytes));
            seen.extend(state.and_then(|state| state.seen).map(|numbers| (member, numbers)));
        }
        Ok(seen)
    }

    fn sight(&mut self) -> Result<Sight> {
        let Places { model, monitor, .. } = self.places;
        sight::sight(&self.daemon(), model, &monitor.locks().join(format!("{model}.sight")))
    }

    fn present(&mut self) -> Result<Vec<Version>> {
        versions::in_directory(&self.places.service.versions())
    }

    fn seal(&mut self, version: &Version) -> Result<Option<Digest>> {
        if let Some(digest) = self.places.manifest_digest(version)? {
            return Ok(Some(digest));
        }
        publish::seal_in_place(version, None, &self.places)?;
        self.places.manifest_digest(version)
    }

    fn script_is_dead(&mut self, begun: Option<&Version>) -> Result<bool> {
        let Some((_, age)) = self.places.status()? else { return Ok(false) };
        let success = self.places.success()?.and_then(|success| success.announces);
        let version = begun.cloned().or(success);
        let written = match version {
            Some(version) => trees::last_written(&self.places.service.version(&version))?,
            None => None,
        };
        let quiet_for = written.map(clock::age_of).map_or(age, |quiet_for| quiet_for.min(age));
        Ok(quiet_for > SCRIPT_IS_DEAD_AFTER)
    }

    fn upload_is(&mut self, version: &Version) -> Result<bool> {
        Ok(self.places.published(version)? == Published::SameAsUpload)
    }

    fn upload_is_untouched(&mut self, identity: &str) -> Result<bool> {
        let Some(modified_ns) = success::modified_ns(identity) else { return Ok(false) };
        let uploaded = trees::survey(&self.places.upload.dir)?;
        Ok(!uploaded.is_empty() && trees::first_written_after(&uploaded, modified_ns).is_none())
    }

    fn bad_content(&mut self, state: &State, version: &Version) -> Result<Option<Version>> {
        let uploaded = trees::survey(&self.places.upload.dir)?;
        // One that cannot be read is complained of when the upload is checked.
        let manifest = self.places.upload_manifest().unwrap_or_default();
        bad::same_content(&self.places, state, version, &uploaded, manifest.as_deref())
    }

    fn check_upload(
        &mut self,
        target: &Target,
        version: &Version,
        success: &Success,
        is_begun: bool,
    ) -> Result<()> {
        self.checked = Some(self.places.check_upload(target, version, success, is_begun)?);
        Ok(())
    }

    fn copy(&mut self, version: &Version, _success: &Success, is_begun: bool) -> Result<Copied> {
        let Some(checked) = self.checked.take() else {
            return Err(Error::failed(format!("{}: the upload was not checked", self.places.model)));
        };
        let expected = checked.expected.as_deref();
        let is_sealed = files::facts(&self.places.service.manifest(version))?.is_some();
        let is_announced = || Ok::<bool, Error>(self.places.seen()?.named().as_ref() == Some(version));
        match checked.published {
            Published::SameAsUpload => {
                // Half a copy of a run that died while a script published the version.
                publish::remove_staged(version, &self.places)?;
                if !is_sealed {
                    publish::seal_in_place(version, expected, &self.places)?;
                }
                return Ok(Copied::Whole);
            }
            // Members may be fetching it: it is whole, and the upload has changed since.
            Published::Other if is_begun && is_announced()? => {
                publish::remove_staged(version, &self.places)?;
                if !is_sealed {
                    publish::seal_in_place(version, None, &self.places)?;
                }
                return Ok(Copied::Whole);
            }
            Published::Other => publish::discard_published(version, &self.places)?,
            Published::Absent => {}
        }
        if publish::stage(version, expected, &self.places, &checked.uploaded)? == Staged::SuccessIsGone {
            return Ok(Copied::SuccessIsGone);
        }
        self.run_hook(Hook::PrePublish, version, "", self.places.service.staging(version))?;
        Ok(Copied::Whole)
    }

    fn place(&mut self, version: &Version) -> Result<Option<Digest>> {
        let service = &self.places.service;
        let staging = service.staging(version);
        if files::facts(&staging)?.is_some() {
            files::rename(&staging, &service.version(version))?;
        }
        self.places.manifest_digest(version)
    }

    fn discard_copy(&mut self, version: &Version) -> Result<()> {
        publish::discard_staged(version, &self.places)
    }

    fn on_failure(&mut self, version: &Version, why: &str) {
        let directory = self.places.service.version(version);
        if let Err(error) = self.run_hook(Hook::OnFailure, version, why, directory) {
            let line = one_line(&format!("{}: {error}", self.places.model));
            if let Err(error) = (self.say)(&line) {
                log::debug!("{error}");
            }
        }
    }

    fn first_whole(&mut self, target: &Target, versions: &[Version]) -> Result<Version> {
        let model = self.places.model;
        let mut problems = Vec::new();
        for version in versions {
            match self.places.is_not_whole(version, target)? {
                None => {
                    for problem in &problems {
                        self.say(&format!("{model}: left out {problem}"))?;
                    }
                    return Ok(version.clone());
                }
                Some(problem) => problems.push(format!("{version}: {problem}")),
            }
        }
        Err(Error::failed(format!(
            "{model}: nothing was announced: {}; name another version, or push one that works",
            problems.join("; ")
        )))
    }

    fn reported(&mut self) -> Result<Vec<Version>> {
        let mut reported = Vec::new();
        for path in self.places.reports()? {
            // What members report beside is about versions that they do not serve.
            if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".")) {
                continue;
            }
            let report = files::read_without_following(&path, MARKER_LIMIT)?.unwrap_or_default();
            reported.extend(Version::of_directory(report.trim_ascii()).ok());
        }
        Ok(reported)
    }

    fn delete(&mut self, versions: &[Version]) -> Result<()> {
        self.places.check_within()?;
        let bytes = versions::discard(&self.places.service.versions(), versions)?;
        publish::finish_deletions(versions, &self.places)?;
        self.say(&format!("{}: {}", self.places.model, retention::deleted(versions, bytes)))
    }

    fn keep(&mut self) -> Option<Keep> {
        self.places.list().ok().flatten().and_then(|fleet| fleet.keep)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        line.lines().try_for_each(|line| (self.say)(&one_line(line)))
    }
}
