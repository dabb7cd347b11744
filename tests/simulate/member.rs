//! A member: its poll, by the binary or by the script, over what the monitor shows.

use std::collections::BTreeMap;

use model_rollout::formats::announcement::{FIRST_INSTANCE, Said};
use model_rollout::formats::member_state::{MemberState, Word};
use model_rollout::names::Address;
use model_rollout::rollout::follow::{Heard, Installed, Memory, Step};
use model_rollout::version::Version;

use crate::harness::random::Random;
use crate::simulate::world::{AnnouncementFile, HALF, World, address, digest, version_in};

#[derive(Debug, Clone)]
pub struct Host {
    pub address: Address,
    pub is_script: bool,
    /// Whether the monitor can be reached.
    pub is_connected: bool,
    pub is_full: bool,
    /// The installed service.conf.
    pub conf: Option<Vec<u8>>,
    /// Whether the service came up with it.
    pub came_up: bool,
    /// The version and content that are served.
    pub serves: Option<(Version, u32)>,
    /// A poll died between the installation and the restart.
    pub is_unfinished: bool,
    pub previous: Option<Vec<u8>>,
    /// The service.conf that failed, and at which attempt of which epoch: after a restored backup
    /// that was adopted, attempts are numbered once more.
    pub failed: Option<(Vec<u8>, u32, i64)>,
    pub memory: Memory,
    pub present: BTreeMap<Version, u32>,
    /// What it reported last, whether or not it arrived.
    pub state: Option<MemberState>,
    /// The version that it installed by an announcement, and is down with.
    pub is_down_with: Option<Version>,
}

impl Host {
    pub fn new(index: usize, is_script: bool) -> Host {
        Host {
            address: address(index),
            is_script,
            is_connected: true,
            is_full: false,
            conf: None,
            came_up: false,
            serves: None,
            is_unfinished: false,
            previous: None,
            failed: None,
            memory: Memory::default(),
            present: BTreeMap::new(),
            state: None,
            is_down_with: None,
        }
    }

    pub fn version(&self) -> Option<Version> {
        self.conf.as_deref().and_then(version_in)
    }
}

/// Where a poll is cut: by a crash before this step of it, and by the network from that step on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    pub dies_at: Option<u8>,
    pub is_cut_at: Option<u8>,
}

/// One poll.
pub fn poll(world: &mut World, index: usize, cut: Cut, rng: &mut Random) {
    if world.hosts[index].is_script {
        poll_as_script(world, index, cut, rng);
    } else {
        Poll { world, index, cut, rng, step: 0 }.run();
    }
}

/// legacy: service_polling.sh
fn poll_as_script(world: &mut World, index: usize, cut: Cut, rng: &mut Random) {
    if !world.hosts[index].is_connected || cut.is_cut_at == Some(0) {
        return;
    }
    let Some(conf) = world.files.confs.get(FIRST_INSTANCE).map(|conf| conf.0.clone()) else { return };
    if world.hosts[index].conf.as_ref() == Some(&conf) {
        return;
    }
    let Some(version) = version_in(&conf) else { return };
    let placed = world.files.plugin.get(&version);
    let content = placed.map_or(HALF, |placed| placed.content | if placed.is_whole { 0 } else { HALF });
    if cut.dies_at == Some(1) {
        return;
    }
    let comes_up = world.comes_up(index, content, rng);
    let host = &mut world.hosts[index];
    host.present.insert(version.clone(), content);
    host.memory = Memory::default();
    host.conf = Some(conf);
    host.came_up = comes_up;
    host.is_unfinished = false;
    host.is_down_with = None;
    host.serves = comes_up.then(|| (version.clone(), content));
    let address = host.address.clone();
    if cut.is_cut_at.is_none() && cut.dies_at.is_none() {
        world.files.reports.insert(address, (version, world.now_s));
    }
}

struct Poll<'a> {
    world: &'a mut World,
    index: usize,
    cut: Cut,
    rng: &'a mut Random,
    step: u8,
}

impl Poll<'_> {
    fn host(&mut self) -> &mut Host {
        &mut self.world.hosts[self.index]
    }

    /// Whether the poll is dead from here on.
    fn dies(&mut self) -> bool {
        self.step += 1;
        self.cut.dies_at.is_some_and(|at| at <= self.step)
    }

    fn is_online(&self) -> bool {
        self.world.hosts[self.index].is_connected && self.cut.is_cut_at.is_none_or(|at| self.step < at)
    }

    fn run(&mut self) {
        self.finish();
        if !self.is_online() {
            return;
        }
        let said = self.world.files.announcement.clone();
        let heard = match said {
            AnnouncementFile::Nothing => Heard::Nothing,
            AnnouncementFile::Damaged => Heard::Unreadable,
            AnnouncementFile::FollowServiceConf => Heard::Said(Said::FollowServiceConf),
            AnnouncementFile::Said(said) => Heard::Said(Said::Announcement(said)),
        };
        let Some(conf) = self.world.files.confs.get(FIRST_INSTANCE).map(|conf| conf.0.clone()) else {
            return;
        };
        let host = &mut self.world.hosts[self.index];
        let installed =
            Installed { conf: host.conf.as_deref().filter(|_| host.came_up), works: host.came_up };
        let memory = std::mem::take(&mut host.memory);
        let (step, memory) = memory.follow("m1", &heard, &conf, installed, &host.address);
        host.memory = memory;
        if self.dies() {
            return;
        }
        match step {
            Step::Stay | Step::Wait(_) => self.idle(None),
            Step::Take { offer, attempt } => {
                let conf = offer.conf().map(<[u8]>::to_vec).unwrap_or_default();
                let manifest = offer.manifest;
                self.check_admission(&heard, &offer.version);
                self.take(conf, offer.version, attempt, true, |content| {
                    manifest.is_none_or(|manifest| manifest == digest(content))
                });
            }
            Step::AsScript => {
                let Some(version) = version_in(&conf) else { return };
                let attempt = self.host().failed.as_ref().map_or(0, |failed| failed.1);
                self.take(conf, version, attempt, false, |_| true);
            }
        }
    }

    /// I4: nobody takes a version who is not admitted to it.
    fn check_admission(&mut self, heard: &Heard, version: &Version) {
        let Heard::Said(Said::Announcement(_)) = heard else { return };
        let Some(state) = &self.world.files.state else { return };
        let Some(announced) = &state.announced else { return };
        let host = &self.world.hosts[self.index];
        let is_before = announced.before.as_ref().is_some_and(|before| before.version == *version);
        if is_before {
            let admitted = self.world.files.truth.admitted.entry(version.clone()).or_default();
            admitted.insert(host.address.clone());
        }
        let has_it = host.came_up && host.version().as_ref() == Some(version);
        let numbers = Some((state.epoch, announced.latest));
        let is_same = host.memory.seen.map(|seen| (seen.epoch, seen.sequence)) == numbers;
        if is_same
            && state.settled
            && announced.version() == version
            && !announced.admission.admits(&host.address)
            && !is_before
            && !has_it
        {
            let who = host.address.clone();
            self.world.violate(format!("I4: {who} takes {version}, to which it is not admitted"));
        }
    }

    /// What an earlier poll began: installed, and not restarted.
    fn finish(&mut self) {
        if self.host().is_unfinished {
            self.restart();
        }
    }

    fn take(
        &mut self,
        conf: Vec<u8>,
        version: Version,
        attempt: u32,
        is_announced: bool,
        is_it: impl Fn(u32) -> bool,
    ) {
        let host = self.host();
        if host.conf.as_ref() == Some(&conf) && host.came_up {
            return self.idle(Some((version, attempt)));
        }
        let epoch = host.memory.seen.map_or(0, |seen| seen.epoch);
        if host.failed.as_ref() == Some(&(conf.clone(), attempt, epoch)) {
            return self.idle(None);
        }
        self.report(Word::Updating, &version, attempt);
        if self.dies() || !self.is_online() {
            return;
        }
        let placed = self.world.files.plugin.get(&version).filter(|placed| placed.is_whole);
        let content = placed.map(|placed| placed.content).filter(|content| is_it(*content));
        let here = self.world.hosts[self.index].present.get(&version).copied().filter(|here| is_it(*here));
        let Some(content) = here.or(content) else {
            self.report(Word::NotInstalled, &version, attempt);
            return self.idle(None);
        };
        if self.host().is_full {
            self.report(Word::NotInstalled, &version, attempt);
            return self.idle(None);
        }
        let host = self.host();
        host.present.insert(version.clone(), content);
        let left = host.version();
        if host.came_up {
            host.previous.clone_from(&host.conf);
        }
        host.memory.leave(left.as_ref(), &version);
        host.conf = Some(conf);
        host.came_up = false;
        host.is_unfinished = true;
        host.serves = None;
        host.is_down_with = is_announced.then(|| version.clone());
        host.state = Some(MemberState::new(Word::Updating, version, 0, "").of(host.memory.seen, attempt));
        if self.dies() {
            return;
        }
        self.restart();
    }

    fn restart(&mut self) {
        let index = self.index;
        let Some(version) = self.host().version() else { return };
        let attempt = self.host().state.as_ref().map_or(0, |state| state.attempt);
        let content = self.host().present.get(&version).copied().unwrap_or(HALF);
        let comes_up = self.world.comes_up(index, content, self.rng);
        let host = self.host();
        host.is_unfinished = false;
        if comes_up {
            host.came_up = true;
            host.serves = Some((version.clone(), content));
            host.is_down_with = None;
            host.previous = None;
            host.failed = None;
            if self.dies() {
                return self.note(Word::Current, &version, attempt);
            }
            return self.report(Word::Current, &version, attempt);
        }
        let Some(previous) = host.previous.clone().filter(|previous| Some(previous) != host.conf.as_ref())
        else {
            return self.report(Word::NotRestarted, &version, attempt);
        };
        let epoch = host.memory.seen.map_or(0, |seen| seen.epoch);
        host.failed = host.conf.clone().map(|conf| (conf, attempt, epoch));
        let before = version_in(&previous);
        host.conf = Some(previous);
        let content = before.as_ref().and_then(|before| host.present.get(before)).copied().unwrap_or(HALF);
        host.serves = before.clone().map(|before| (before, content));
        host.came_up = true;
        host.is_down_with = None;
        host.previous = None;
        if let Some(before) = &before {
            host.memory.leave(Some(&version), before);
        }
        if self.dies() {
            return self.note(Word::RolledBack, &version, attempt);
        }
        self.report(Word::RolledBack, &version, attempt);
    }

    /// What came of it is written down before it is reported: an idle poll says it, if this one
    /// dies.
    fn note(&mut self, word: Word, version: &Version, attempt: u32) {
        let host = self.host();
        host.state = Some(MemberState::new(word, version.clone(), 0, "").of(host.memory.seen, attempt));
    }

    /// Repeats what the monitor has lost.
    fn idle(&mut self, has: Option<(Version, u32)>) {
        let seen = self.host().memory.seen;
        if let Some((version, attempt)) = has {
            let state = MemberState::new(Word::Current, version, 0, "").of(seen, attempt);
            self.host().state = Some(state);
        } else if let Some(state) = self.host().state.take() {
            let attempt = state.attempt;
            self.host().state = Some(state.of(seen, attempt));
        }
        if !self.is_online() {
            return;
        }
        let host = &self.world.hosts[self.index];
        let address = host.address.clone();
        if let Some(state) = host.state.clone()
            && self.world.files.states.get(&address).map(|(there, _)| there) != Some(&state)
        {
            self.world.files.states.insert(address.clone(), (state, self.world.now_s));
        }
        if let Some(version) =
            self.world.hosts[self.index].version().filter(|_| self.world.hosts[self.index].came_up)
            && self.world.files.reports.get(&address).map(|(there, _)| there) != Some(&version)
        {
            self.world.files.reports.insert(address, (version, self.world.now_s));
        }
    }

    fn report(&mut self, word: Word, version: &Version, attempt: u32) {
        let host = self.host();
        let state = MemberState::new(word, version.clone(), 0, "").of(host.memory.seen, attempt);
        let address = host.address.clone();
        if !state.is_news_after(host.state.as_ref()) && word != Word::Current {
            return;
        }
        host.state = Some(state.clone());
        self.step += 1;
        if !self.is_online() {
            return;
        }
        if word == Word::Current {
            self.world.files.reports.insert(address.clone(), (version.clone(), self.world.now_s));
        }
        self.world.files.states.insert(address, (state, self.world.now_s));
    }
}
