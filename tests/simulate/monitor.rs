//! The monitor in memory, which dies and fails wherever it likes, and lets others act in between.

use model_rollout::digest::Digest;
use model_rollout::error::{Error, Result};
use model_rollout::formats::announcement::{Announcement, Bytes, Numbers};
use model_rollout::formats::held::Hold;
use model_rollout::names::{Address, ModelName};
use model_rollout::retention::Keep;
use model_rollout::rollout::advance::{Fleet, Member};
use model_rollout::rollout::history::Told;
use model_rollout::rollout::reconcile::{Seen, Status, Success};
use model_rollout::rollout::state::{Announced, Sight, State};
use model_rollout::rollout::tick::{Copied, List, Monitor, Target};
use model_rollout::rollout::verdict::{Hindrance, Live, MemberFacts, Verdict, has_failed, verdict};
use model_rollout::time::Seconds;
use model_rollout::version::Version;

use crate::simulate::action::{self, Action};
use crate::simulate::check::{self, Cause, Snapshot};
use crate::simulate::world::{
    AnnouncementFile, Daemon, HALF, ListFile, Placed, Plant, Quality, StatusFile, SuccessFile, World,
    conf_with, digest, model,
};

/// What goes wrong in a run of a binary.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// It dies at this call, before or after it had its effect.
    pub dies_at: Option<(u16, bool)>,
    /// This call fails.
    pub fails_at: Option<u16>,
    /// Somebody else acts before this call.
    pub meanwhile: Option<(u16, Box<Action>)>,
}

pub struct SimMonitor<'a> {
    pub world: &'a mut World,
    pub cause: Cause,
    faults: Faults,
    calls: u16,
    pub is_dead: bool,
    has_lock: bool,
    /// What the members were like when they were asked last.
    snapshot: Option<Snapshot>,
}

impl<'a> SimMonitor<'a> {
    pub fn new(world: &'a mut World, cause: Cause, faults: Faults) -> SimMonitor<'a> {
        SimMonitor { world, cause, faults, calls: 0, is_dead: false, has_lock: false, snapshot: None }
    }

    /// The process is gone: the kernel takes its locks.
    pub fn end(self) {
        if self.has_lock {
            self.world.is_locked = false;
        }
    }

    /// Others act, and the call fails, or the process dies before it. Returns whether it dies after
    /// it.
    fn enter(&mut self) -> Result<bool> {
        let dead = || Err(Error::failed("this process is dead"));
        if self.is_dead {
            return dead();
        }
        self.others_act();
        match self.faults.dies_at {
            Some((at, false)) if at == self.calls => {
                self.is_dead = true;
                return dead();
            }
            _ => {}
        }
        if self.faults.fails_at == Some(self.calls) {
            return Err(Error::failed("no space left on device"));
        }
        Ok(self.faults.dies_at == Some((self.calls, true)))
    }

    fn others_act(&mut self) {
        self.calls += 1;
        if let Some((at, action)) = &self.faults.meanwhile
            && *at == self.calls
        {
            let action = action.clone();
            self.faults.meanwhile = None;
            action::act(self.world, &action);
        }
    }

    fn done<T>(&mut self, dies: bool, value: T) -> Result<T> {
        self.is_dead |= dies;
        if dies { Err(Error::failed("this process is dead")) } else { Ok(value) }
    }

    fn facts(&self, host: usize, announced: &Announced, is_probed: bool) -> MemberFacts {
        let World { files, hosts, now_s, .. } = &*self.world;
        let address = &hosts[host].address;
        let age = |at_s: i64| Seconds(now_s - at_s);
        let told = files.states.get(address).filter(|(state, _)| state.attempt >= announced.attempt);
        let is_held = self.world.is_held(host);
        let hold = || {
            Hindrance::Hold(Hold {
                member: address.clone(),
                until: None,
                by: "ann@m1".to_owned(),
                reason: "x".to_owned(),
            })
        };
        let answers =
            |content: u32| self.world.contents.get((content & !HALF) as usize) != Some(&Quality::Lies);
        MemberFacts {
            live: match (is_probed, &hosts[host].serves) {
                (false, _) => Live::NotAsked,
                (true, Some((version, content))) if answers(*content) => {
                    Live::Serves(version.as_str().as_bytes().to_vec())
                }
                (true, _) => Live::Silent,
            },
            report: files
                .reports
                .get(address)
                .map(|(version, at_s)| (version.as_str().as_bytes().to_vec(), age(*at_s))),
            told: told.map(|(state, at_s)| (state.clone(), age(*at_s))),
            saw: None,
            has_binary: true,
            is_waiting: !announced.admission.admits(address),
            hindrance: is_held.then(hold),
        }
    }

    fn success(&self) -> Option<Success> {
        let success = self.world.files.success.as_ref()?;
        Some(Success {
            announces: Version::announced_in(&success.content),
            content: success.content.clone(),
            identity: success.identity.clone(),
            arrived_s: success.arrived_s,
        })
    }
}

impl Monitor for SimMonitor<'_> {
    fn now_s(&self) -> i64 {
        self.world.now_s
    }

    fn version_of_now(&self) -> Option<Version> {
        Some(self.world.version_of_now())
    }

    fn by(&self) -> String {
        "ann@m1".to_owned()
    }

    fn lock(&mut self) -> Result<()> {
        self.enter()?;
        if self.world.is_locked {
            return Err(Error::locked("locked"));
        }
        self.world.is_locked = true;
        self.has_lock = true;
        Ok(())
    }

    fn unlock(&mut self) {
        if self.has_lock {
            self.world.is_locked = false;
            self.has_lock = false;
        }
    }

    fn load(&mut self) -> Result<Option<State>> {
        self.enter()?;
        Ok(self.world.files.state.clone())
    }

    fn save(&mut self, state: &State) -> Result<()> {
        let dies = self.enter()?;
        if !self.has_lock {
            self.world.violate("the state is saved without its lock");
        }
        let mut state = state.clone();
        if self.calls % 64 == 7 {
            match State::parse(&state.render(), &model()) {
                Ok(read) if read == state => {}
                Ok(_) => self.world.violate("a state is read back as another"),
                Err(refusal) => self.world.violate(format!("a state that was written is refused: {refusal}")),
            }
        }
        check::plant_into(self.world, &mut state);
        let is_half = self.world.plant == Some(Plant::HalfACommand)
            && self.faults.dies_at.is_some()
            && !matches!(self.cause, Cause::Tick { .. });
        let dies = dies || is_half;
        if is_half && let Some(old) = &self.world.files.state {
            // As if a command were saved in two steps.
            state.ledger.clone_from(&old.ledger);
            state.pin.clone_from(&old.pin);
        }
        let old = self.world.files.state.replace(state);
        check::transition(self.world, old.as_ref(), &self.cause, self.snapshot.as_ref());
        self.done(dies, ())
    }

    fn seen(&mut self) -> Result<Seen> {
        self.enter()?;
        let files = &self.world.files;
        Ok(Seen {
            status: files
                .status
                .as_ref()
                .map(|status| Status { version: status.version.clone(), written_s: status.written_s }),
            success: self.success(),
            confs: files.confs.clone(),
        })
    }

    fn write_announcement(&mut self, announcement: &Announcement) -> Result<()> {
        let dies = self.enter()?;
        let mut announcement = announcement.clone();
        if self.world.plant == Some(Plant::AnnouncesToAll) {
            announcement.admitted = model_rollout::formats::announcement::Admission::Everybody;
        }
        self.world.files.announcement = AnnouncementFile::Said(Box::new(announcement));
        self.done(dies, ())
    }

    fn announcing(&self, name: &str, conf: &[u8], target: &Target, version: &Version) -> Result<Vec<u8>> {
        conf_with(conf, target, version).ok_or_else(|| Error::usage(format!("{name}: a key is missing")))
    }

    fn write_conf(&mut self, name: &str, before: &[u8], after: &[u8]) -> Result<()> {
        let dies = self.enter()?;
        match self.world.files.confs.get_mut(name) {
            Some(conf) if conf.0 == before => *conf = Bytes(after.to_vec()),
            _ => return Err(Error::failed(format!("{name}/service.conf was changed while it was edited"))),
        }
        self.done(dies, ())
    }

    fn create_status(&mut self, version: &Version) -> Result<bool> {
        let dies = self.enter()?;
        if self.world.files.status.is_some() {
            return Ok(false);
        }
        if self.world.plant != Some(Plant::ForgetsStatus) {
            let written_s = self.world.now_s;
            self.world.files.status = Some(StatusFile { version: Some(version.clone()), written_s });
        }
        self.done(dies, true)
    }

    fn write_status(&mut self, version: &Version) -> Result<()> {
        let dies = self.enter()?;
        let written_s = self.world.now_s;
        self.world.files.status = Some(StatusFile { version: Some(version.clone()), written_s });
        self.done(dies, ())
    }

    fn remove_status(&mut self) -> Result<()> {
        let dies = self.enter()?;
        self.world.files.status = None;
        self.done(dies, ())
    }

    fn remove_success(&mut self, success: &Success) -> Result<()> {
        let dies = self.enter()?;
        if let Some(there) = self.world.files.success.clone()
            && there.identity == success.identity
        {
            check::success_removed(self.world, &there);
            self.world.files.success = None;
        }
        self.done(dies, ())
    }

    fn restore_success(&mut self, content: &[u8]) -> Result<Option<String>> {
        let dies = self.enter()?;
        if self.world.files.success.is_some() {
            return Ok(None);
        }
        let identity = self.world.identity();
        let success = SuccessFile {
            content: content.to_vec(),
            identity: identity.clone(),
            arrived_s: self.world.now_s,
            push: self.world.pushes.len().saturating_sub(1),
        };
        self.world.files.success = Some(success);
        self.done(dies, Some(identity))
    }

    fn tell(&mut self, lines: &[Told]) -> Result<()> {
        let dies = self.enter()?;
        for line in lines {
            let is_new = self.world.files.history.ids.insert(line.id.clone());
            if is_new && self.world.plant == Some(Plant::ForgetsHistory) && line.event == "announced" {
                continue;
            }
            if is_new || self.world.plant == Some(Plant::TellsTwice) {
                check::told(self.world, line);
            } else if !self.world.files.history.lines.contains(line) {
                self.world.violate(format!("I6: two facts have the id {}: {line:?}", line.id));
            }
        }
        self.done(dies, ())
    }

    fn list(&mut self) -> List {
        self.others_act();
        if self.world.holds_are_unreadable {
            return List::Unknown(Error::usage("m: the holds cannot be read; correct them"));
        }
        match self.world.list.clone() {
            ListFile::Known(list) => {
                let address = |host: &usize| self.world.hosts[*host].address.clone();
                List::Known {
                    members: list.members.iter().map(address).collect(),
                    held: list
                        .members
                        .iter()
                        .filter(|host| self.world.is_held(**host))
                        .map(address)
                        .collect(),
                    policy: list.policy,
                }
            }
            ListFile::Absent => List::Absent { held: Vec::new() },
            ListFile::Unreadable => List::Unknown(Error::usage("m.env.sh:4: this is never closed; close it")),
            ListFile::Empty => List::Unknown(Error::usage("m.env.sh names no members; name them")),
        }
    }

    fn fleet(&mut self, _state: &State, announced: &Announced) -> Fleet {
        self.others_act();
        self.snapshot = Some(Snapshot::unknown());
        if self.world.holds_are_unreadable {
            return Fleet::Unknown(Error::usage("m: the holds cannot be read; correct them"));
        }
        let list = match self.world.list.clone() {
            ListFile::Known(list) => list,
            ListFile::Absent => return Fleet::NoList,
            ListFile::Unreadable => {
                return Fleet::Unknown(Error::usage("m.env.sh:4: this is never closed; close it"));
            }
            ListFile::Empty => return Fleet::Unknown(Error::usage("m.env.sh names no members; name them")),
        };
        let member = |host: &usize| {
            let facts = self.facts(*host, announced, list.is_probed);
            let address = self.world.hosts[*host].address.clone();
            let mut verdict = verdict(&facts, announced.version());
            if self.world.plant == Some(Plant::HoldsForEver) && Some(host) == list.members.last() {
                verdict = Verdict::Held;
            }
            Member {
                verdict,
                failure: facts.failure(announced.version()).unwrap_or_default(),
                answer: facts.answer().map_or_else(
                    || "no answer".to_owned(),
                    |version| format!("serves {}", String::from_utf8_lossy(version)),
                ),
                saw: self.world.files.states.get(&address).and_then(|(state, _)| state.seen),
                address,
            }
        };
        let members: Vec<Member> = list.members.iter().map(member).collect();
        let admits = |member: &&Member| announced.admission.admits(&member.address);
        self.snapshot = Some(Snapshot {
            is_known: true,
            current: members.iter().filter(|member| member.verdict == Verdict::Current).count(),
            failed: members.iter().filter(admits).filter(|member| has_failed(member.verdict)).count(),
            max_fail: list.policy.max_fail.map(|max_fail| max_fail + announced.tolerated),
        });
        Fleet::Known { members, policy: list.policy }
    }

    fn seen_by_members(&mut self) -> Result<Vec<(Address, Numbers)>> {
        self.enter()?;
        let states = self.world.files.states.iter();
        Ok(states.filter_map(|(address, (state, _))| Some((address.clone(), state.seen?))).collect())
    }

    fn sight(&mut self) -> Result<Sight> {
        self.enter()?;
        match self.world.daemon {
            Daemon::Shows => Ok(Sight::Seen),
            Daemon::IsDeaf => Ok(Sight::Blind),
            Daemon::Hides => Err(Error::failed("m: the daemon hides .rollout; take `exclude = .*` out")),
        }
    }

    fn present(&mut self) -> Result<Vec<Version>> {
        self.enter()?;
        Ok(self.world.files.plugin.keys().cloned().collect())
    }

    fn seal(&mut self, version: &Version) -> Result<Option<Digest>> {
        let dies = self.enter()?;
        let placed = self.world.files.plugin.get(version);
        let sealed = placed.map(|placed| digest(placed.content | if placed.is_whole { 0 } else { HALF }));
        self.done(dies, sealed)
    }

    fn script_is_dead(&mut self, begun: Option<&Version>) -> Result<bool> {
        self.enter()?;
        let files = &self.world.files;
        let written = begun.and_then(|version| files.plugin.get(version)).map(|placed| placed.written_s);
        let begun = files.status.as_ref().map(|status| status.written_s);
        let last = written.max(begun).unwrap_or(0);
        Ok(self.world.now_s - last > 600 || last > self.world.now_s + 600)
    }

    fn upload_is(&mut self, version: &Version) -> Result<bool> {
        self.enter()?;
        let World { files, .. } = &*self.world;
        let content = files.upload.content | if files.upload.is_half { HALF } else { 0 };
        Ok(files.plugin.get(version).is_some_and(|placed| placed.is_whole && placed.content == content))
    }

    fn upload_is_untouched(&mut self, identity: &str) -> Result<bool> {
        self.enter()?;
        let _ = identity;
        Ok(!self.world.files.upload.is_half)
    }

    fn bad_content(&mut self, state: &State, version: &Version) -> Result<Option<Version>> {
        self.enter()?;
        let uploaded = digest(self.world.files.upload.content);
        let mut bad = state.bad().filter(|release| release.version != *version);
        Ok(bad.find(|release| release.manifest == Some(uploaded)).map(|release| release.version.clone()))
    }

    fn check_upload(&mut self, _: &Target, version: &Version, _: &Success, is_begun: bool) -> Result<()> {
        self.enter()?;
        let files = &self.world.files;
        if files.upload.is_half {
            return Err(Error::failed("m: another push is under way; wait for its success"));
        }
        match files.plugin.get(version) {
            Some(placed) if placed.is_whole && placed.content == files.upload.content => Ok(()),
            Some(placed) if is_begun && !placed.is_whole => Ok(()),
            Some(_) => Err(Error::failed(format!("m: {version} is there with other content; push another"))),
            None => Ok(()),
        }
    }

    fn copy(&mut self, version: &Version, success: &Success, _: bool) -> Result<Copied> {
        let dies = self.enter()?;
        if self.world.files.success.is_none() {
            return Ok(Copied::SuccessIsGone);
        }
        let content = self.world.files.upload.content;
        self.world.files.staging.insert(version.clone(), content);
        self.others_act();
        let files = &self.world.files;
        let is_same = files.success.as_ref().is_none_or(|there| there.identity == success.identity);
        if files.upload.is_half || files.upload.content != content || !is_same {
            return Err(Error::failed("m: the upload was changed while it was copied; it is tried again"));
        }
        self.done(dies, Copied::Whole)
    }

    fn place(&mut self, version: &Version) -> Result<Option<Digest>> {
        let dies = self.enter()?;
        let written_s = self.world.now_s;
        let files = &mut self.world.files;
        if let Some(content) = files.staging.remove(version) {
            let placed = files.plugin.get(version);
            if placed.is_some_and(|placed| placed.is_whole && placed.content != content) {
                return Err(Error::failed(format!("m: {version} is there with other content")));
            }
            files.plugin.insert(version.clone(), Placed { content, is_whole: true, written_s });
            for push in &mut self.world.pushes {
                let is_of_it = push.version.as_ref().is_none_or(|named| named == version);
                push.is_published |= push.content == content && is_of_it;
            }
        }
        let Some(placed) = self.world.files.plugin.get(version) else {
            return Err(Error::failed(format!("m: {version} was not copied")));
        };
        let sealed = digest(placed.content);
        self.done(dies, Some(sealed))
    }

    fn discard_copy(&mut self, version: &Version) -> Result<()> {
        let dies = self.enter()?;
        self.world.files.staging.remove(version);
        self.done(dies, ())
    }

    fn on_failure(&mut self, _: &Version, _: &str) {}

    fn first_whole(&mut self, _: &Target, versions: &[Version]) -> Result<Version> {
        self.enter()?;
        let is_whole =
            |version: &&Version| self.world.files.plugin.get(*version).is_some_and(|placed| placed.is_whole);
        let whole = versions.iter().find(is_whole).cloned();
        whole.ok_or_else(|| Error::failed("m: none of them is whole; push one that works"))
    }

    fn reported(&mut self) -> Result<Vec<Version>> {
        self.enter()?;
        Ok(self.world.files.reports.values().map(|(version, _)| version.clone()).collect())
    }

    fn delete(&mut self, versions: &[Version]) -> Result<()> {
        let dies = self.enter()?;
        let mut goes = versions.to_vec();
        if self.world.plant == Some(Plant::DeletesWhatWorks) && !goes.is_empty() {
            goes.extend(self.world.files.plugin.keys().cloned());
        }
        check::deletes(self.world, &goes);
        for version in &goes {
            self.world.files.plugin.remove(version);
        }
        self.done(dies, ())
    }

    fn keep(&mut self) -> Option<Keep> {
        match &self.world.list {
            ListFile::Known(list) => Keep::parse(list.keep?).ok(),
            ListFile::Absent | ListFile::Unreadable | ListFile::Empty => None,
        }
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.enter()?;
        self.world.said.push(line.to_owned());
        Ok(())
    }
}

/// A name that says which model a command is about.
pub fn name() -> ModelName {
    model()
}
