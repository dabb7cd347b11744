//! Everything there is: the monitor's files, the members, the clock, and what is known of the
//! truth.

use std::collections::{BTreeMap, BTreeSet};

use model_rollout::digest::Digest;
use model_rollout::formats::announcement::{Announcement, Bytes, ServiceConfs};
use model_rollout::formats::member_state::MemberState;
use model_rollout::formats::service_conf;
use model_rollout::names::{Address, ModelName, SoName};
use model_rollout::rollout::batches::Batches;
use model_rollout::rollout::history::Told;
use model_rollout::rollout::policy::{Deadline, OnTimeout, Policy};
use model_rollout::rollout::state::{State, Worth};
use model_rollout::rollout::tick::Target;
use model_rollout::time::Seconds;
use model_rollout::version::Version;

use crate::harness::random::Random;
use crate::simulate::member::Host;

pub const PREFIX: &str = "/w/plugin/m";
/// When a run begins.
pub const BEGIN_S: i64 = 1_700_000_000;
/// Added to the number of a content that was copied while it was half uploaded.
pub const HALF: u32 = 1 << 31;

pub fn model() -> ModelName {
    ModelName::parse(b"m").unwrap()
}

pub fn target() -> Target {
    Target { model: model(), prefix: PREFIX.to_owned(), so_name: SoName::parse(b"m.so").unwrap() }
}

pub fn address(index: usize) -> Address {
    Address::parse(format!("10.0.0.{}", index + 1).as_bytes()).unwrap()
}

pub fn digest(content: u32) -> Digest {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&content.to_le_bytes());
    Digest(bytes)
}

/// What a service.conf becomes when it announces a version.
pub fn conf_with(conf: &[u8], target: &Target, version: &Version) -> Option<Vec<u8>> {
    let announcement = service_conf::Announcement {
        version: version.to_string(),
        path: format!("{}/{version}/lib/{}", target.prefix, target.so_name),
        config: format!("{}/{version}/data", target.prefix),
    };
    service_conf::announce(conf, &announcement).ok()
}

pub fn version_in(conf: &[u8]) -> Option<Version> {
    Version::of_directory(service_conf::value(conf, "moduleversion")?).ok()
}

/// How a service does with a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    Good,
    BadEverywhere,
    /// Bad on the members of this mask.
    BadOn(u32),
    /// It comes up every other time.
    Flaps,
    /// It comes up, and answers nothing.
    Lies,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFile {
    pub version: Option<Version>,
    pub written_s: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessFile {
    pub content: Vec<u8>,
    pub identity: String,
    pub arrived_s: i64,
    /// Which push brought it.
    pub push: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    pub content: u32,
    /// Another push is under way.
    pub is_half: bool,
    /// Whether anything was ever uploaded.
    pub is_there: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub content: u32,
    pub is_whole: bool,
    pub written_s: i64,
}

/// What a member list says.
#[derive(Debug, Clone)]
pub struct Listed {
    pub members: Vec<usize>,
    pub policy: Policy,
    pub keep: Option<&'static [u8]>,
    /// Whether services are asked themselves.
    pub is_probed: bool,
}

#[derive(Debug, Clone)]
pub enum ListFile {
    Known(Listed),
    Absent,
    Unreadable,
    Empty,
}

/// The announcement's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnouncementFile {
    Nothing,
    Damaged,
    FollowServiceConf,
    Said(Box<Announcement>),
}

/// The monitor's tree. A backup is a copy of it.
#[derive(Debug, Clone)]
pub struct Files {
    pub state: Option<State>,
    pub announcement: AnnouncementFile,
    pub confs: ServiceConfs,
    pub status: Option<StatusFile>,
    pub success: Option<SuccessFile>,
    pub upload: Upload,
    pub plugin: BTreeMap<Version, Placed>,
    pub staging: BTreeMap<Version, u32>,
    pub reports: BTreeMap<Address, (Version, i64)>,
    pub states: BTreeMap<Address, (MemberState, i64)>,
    pub history: History,
    /// What is known of the truth about this tree.
    pub truth: Truth,
}

/// The history, and how far it fits.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub lines: Vec<Told>,
    pub ids: BTreeSet<String>,
    /// Lines of a saved state that must be told.
    pub owed: BTreeSet<String>,
    /// The version whose rollout was begun and has not ended.
    pub open: Option<String>,
    pub pushes: BTreeSet<String>,
    pub announced_due: u64,
    pub announced_told: u64,
}

/// What the simulator knows beside the state.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub worth: BTreeMap<Version, Worth>,
    /// Announced by a script or a hand since the last run of a binary.
    pub by_others: BTreeSet<Version>,
    /// Versions that were published by force.
    pub forced: BTreeSet<Version>,
    /// Who was ever admitted to a version.
    pub admitted: BTreeMap<Version, BTreeSet<Address>>,
    /// Whether others wrote since a binary's last run ended well.
    pub is_disturbed: bool,
}

#[derive(Debug, Clone)]
pub struct Push {
    pub content: u32,
    pub version: Option<Version>,
    pub is_published: bool,
}

/// What ticks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks {
    Binaries,
    /// Either, drawn each time.
    Mixed,
    /// Binaries, but for spans in which the monitor is on scripts.
    Spans,
}

/// What the own daemon shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    Shows,
    Hides,
    IsDeaf,
}

/// A fault planted into the monitor, to see that the simulator finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    AdmitsAfterAStop,
    LosesAPush,
    HoldsForEver,
    AnnouncesToAll,
    ForgetsStatus,
    ForgetsHistory,
    TellsTwice,
    HalfACommand,
    DeletesWhatWorks,
}

#[derive(Debug, Clone)]
pub struct World {
    pub files: Files,
    pub list: ListFile,
    pub last_list: Listed,
    /// Held members, and until when.
    pub holds: Vec<(usize, Option<i64>)>,
    pub holds_are_unreadable: bool,
    pub hosts: Vec<Host>,
    pub now_s: i64,
    /// Added to the clock for local time.
    pub zone_s: i64,
    pub contents: Vec<Quality>,
    pub pushes: Vec<Push>,
    pub serial: u64,
    pub is_locked: bool,
    /// Whether the clock was ever set back: which of two files came later is not known then.
    pub was_set_back: bool,
    pub is_on_scripts: bool,
    pub daemon: Daemon,
    pub backup: Option<Box<Files>>,
    pub ticks: Ticks,
    pub plant: Option<Plant>,
    pub violation: Option<String>,
    /// What the last tick said, and how it failed.
    pub said: Vec<String>,
    pub failure: Option<String>,
    pub names: u32,
}

impl World {
    pub fn new(rng: &mut Random) -> World {
        let ticks = [Ticks::Binaries, Ticks::Binaries, Ticks::Mixed, Ticks::Spans][rng.index(4)];
        let count = 1 + rng.index(5);
        let scripts = [0, 0, 0, 300, 1000][rng.index(5)];
        let hosts = (0..count + 2).map(|index| Host::new(index, rng.permille(scripts))).collect();
        let list = Listed {
            members: (0..count).collect(),
            policy: policy(rng, count),
            keep: [None, Some(&b"1"[..]), Some(b"2"), Some(b"2")][rng.index(4)],
            is_probed: rng.permille(250),
        };
        let mut confs = ServiceConfs::new();
        for instance in 0..1 + rng.index(2) {
            let conf =
                "[common]\n[module]\nname=m\nthreads=4\nmodulepath=/x\nmoduleversion=0\nmoduleconfig=/x\n";
            confs.insert(format!("config_{}", instance + 1), Bytes(conf.as_bytes().to_vec()));
        }
        World {
            files: Files {
                state: None,
                announcement: AnnouncementFile::Nothing,
                confs,
                status: None,
                success: None,
                upload: Upload::default(),
                plugin: BTreeMap::new(),
                staging: BTreeMap::new(),
                reports: BTreeMap::new(),
                states: BTreeMap::new(),
                history: History::default(),
                truth: Truth::default(),
            },
            list: if rng.permille(60) { ListFile::Absent } else { ListFile::Known(list.clone()) },
            last_list: list,
            holds: Vec::new(),
            holds_are_unreadable: false,
            hosts,
            now_s: BEGIN_S,
            zone_s: 0,
            contents: vec![Quality::Good],
            pushes: Vec::new(),
            serial: 0,
            is_locked: false,
            was_set_back: false,
            is_on_scripts: ticks != Ticks::Binaries && rng.permille(500),
            daemon: [Daemon::Shows, Daemon::Shows, Daemon::Shows, Daemon::IsDeaf, Daemon::Hides]
                [rng.index(5)],
            backup: None,
            ticks,
            plant: None,
            violation: None,
            said: Vec::new(),
            failure: None,
            names: 0,
        }
    }

    pub fn violate(&mut self, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(what.into());
        }
    }

    pub fn identity(&mut self) -> String {
        self.serial += 1;
        format!("1:{}", self.serial)
    }

    /// Whether a member is held now.
    pub fn is_held(&self, host: usize) -> bool {
        self.holds.iter().any(|(held, until)| *held == host && until.is_none_or(|until| self.now_s < until))
    }

    pub fn version_of_now(&self) -> Version {
        let local = 20_000_000_000_000_i64 + self.now_s + self.zone_s;
        let free = (local..).map(|number| Version::parse(number.to_string().as_bytes()).unwrap());
        free.into_iter().find(|version| !self.files.plugin.contains_key(version)).unwrap()
    }

    /// Whether a script ticks here at times.
    pub fn has_scripts(&self) -> bool {
        self.ticks != Ticks::Binaries
    }

    /// Whether a service comes up.
    pub fn comes_up(&self, host: usize, content: u32, rng: &mut Random) -> bool {
        if content & HALF != 0 {
            return false;
        }
        match self.contents.get(content as usize).copied().unwrap_or(Quality::Good) {
            Quality::Good | Quality::Lies => true,
            Quality::BadEverywhere => false,
            Quality::BadOn(mask) => mask & (1 << host) == 0,
            Quality::Flaps => rng.permille(500),
        }
    }

    pub fn worth(&self, version: &Version) -> Option<Worth> {
        self.files.truth.worth.get(version).copied()
    }
}

/// How a rollout goes, at random.
pub fn policy(rng: &mut Random, members: usize) -> Policy {
    let batches: [&[u8]; 5] = [b"100%", b"1,50%,100%", b"1,100%", b"50%,100%", b"1,2,3,100%"];
    let batches = Batches::parse(batches[rng.index(5)]).unwrap();
    let is_in_batches = batches.targets(members).len() > 1;
    let limit = Seconds([300, 1200, 1200, 3600][rng.index(4)]);
    Policy {
        max_fail: match (is_in_batches, rng.index(3)) {
            (true, 0) => Some(2),
            (true, _) => Some(1),
            (false, 0) => Some(1),
            (false, _) => None,
        },
        batches,
        pause: Seconds([0, 0, 60, 120][rng.index(4)]),
        deadline: match rng.index(3) {
            0 => Deadline::SinceProgress(limit),
            _ => Deadline::SinceBegin(limit),
        },
        on_timeout: [OnTimeout::Stop, OnTimeout::Stop, OnTimeout::Continue, OnTimeout::Rollback]
            [rng.index(4)],
    }
}
