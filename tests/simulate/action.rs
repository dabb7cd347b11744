//! What happens, drawn beforehand: so that actions can be left out, and the rest happens as before.

use std::collections::BTreeSet;

use model_rollout::error::Result;
use model_rollout::formats::announcement::Bytes;
use model_rollout::retention::Keep;
use model_rollout::rollout::command::Aim;
use model_rollout::rollout::command::Steer;
use model_rollout::rollout::history::Told;
use model_rollout::rollout::state::{Phase, State, Worth};
use model_rollout::rollout::tick::{self, Manner, Monitor, Request};
use model_rollout::version::Version;

use crate::harness::random::Random;
use crate::simulate::check::{self, Cause};
use crate::simulate::generator;
use crate::simulate::member::{self, Cut, Host};
use crate::simulate::monitor::{Faults, SimMonitor, name};
use crate::simulate::script;
use crate::simulate::world::{
    AnnouncementFile, Daemon, History, ListFile, Push, Quality, SuccessFile, Ticks, World, conf_with, policy,
    target,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Minutes(u8),
    ClockStep(i32),
    Zone(i32),
    /// A push, whole: content and name are drawn.
    Push,
    /// A push is under way.
    UploadBegins,
    UploadEnds,
    Tick,
    ForcedTick,
    ScriptTick,
    SwitchTicks,
    Poll(u8),
    PollAll,
    Steer(u8),
    RollBack,
    RollBackTo(u8),
    Pin(u8),
    Unpin,
    Mark(u8),
    Adopt,
    Prune,
    Hold(u8),
    HoldAll,
    Unhold(u8),
    HoldsUnreadable,
    HoldsReadable,
    ListPolicy,
    ListMembers,
    ListBroken(u8),
    ListBack,
    EditByHand,
    VersionByHand(u8),
    Backup,
    Restore,
    CopyTree,
    Rebuild(u8),
    LoseImage(u8),
    LoseReport(u8),
    LoseState(u8),
    Connect(u8, bool),
    Disk(u8, bool),
    Daemon(u8),
    SwitchPoller(u8),
    Announcement(u8),
}

#[derive(Debug, Clone)]
pub struct Action {
    pub kind: Kind,
    pub seed: u64,
    pub faults: Faults,
    pub cut: Cut,
}

/// Draws an action.
pub fn draw(rng: &mut Random, may_nest: bool) -> Action {
    let index = rng.below(8) as u8;
    let kind = match rng.below(1000) {
        0..230 => Kind::Tick,
        230..430 => Kind::Poll(index),
        430..520 => Kind::PollAll,
        520..600 => Kind::Minutes([1, 1, 1, 2, 5, 10, 25][rng.index(7)]),
        600..670 => Kind::Push,
        670..675 => Kind::UploadBegins,
        675..685 => Kind::UploadEnds,
        685..693 => Kind::ForcedTick,
        693..713 => Kind::ScriptTick,
        713..716 => Kind::SwitchTicks,
        716..780 => Kind::Steer(rng.below(5) as u8),
        780..790 => Kind::RollBack,
        790..805 => Kind::RollBackTo(index),
        805..815 => Kind::Pin(index),
        815..828 => Kind::Unpin,
        828..838 => Kind::Mark(index),
        838..844 => Kind::Adopt,
        844..852 => Kind::Prune,
        852..868 => Kind::Hold(index),
        868..872 => Kind::HoldAll,
        872..888 => Kind::Unhold(index),
        888..890 => Kind::HoldsUnreadable,
        890..894 => Kind::HoldsReadable,
        894..904 => Kind::ListPolicy,
        904..912 => Kind::ListMembers,
        912..918 => Kind::ListBroken(index),
        918..928 => Kind::ListBack,
        928..934 => Kind::EditByHand,
        934..938 => Kind::VersionByHand(index),
        938..941 => Kind::Backup,
        941..943 => Kind::Restore,
        943..945 => Kind::CopyTree,
        945..950 => Kind::Rebuild(index),
        950..953 => Kind::LoseImage(index),
        953..957 => Kind::LoseReport(index),
        957..961 => Kind::LoseState(index),
        961..966 => Kind::Connect(index, false),
        966..974 => Kind::Connect(index, true),
        974..978 => Kind::Disk(index, true),
        978..985 => Kind::Disk(index, false),
        985..988 => Kind::Daemon(index),
        988..990 => Kind::SwitchPoller(index),
        990..992 => Kind::Announcement(index),
        992..996 => Kind::ClockStep([-7200, -3600, -90, 90, 3600, 7200][rng.index(6)]),
        _ => Kind::Zone([-3600, 3600][rng.index(2)]),
    };
    let mut faults = Faults::default();
    if rng.permille(80) {
        faults.dies_at = Some((1 + rng.below(40) as u16, rng.permille(500)));
    }
    if rng.permille(20) {
        faults.fails_at = Some(1 + rng.below(40) as u16);
    }
    if may_nest && rng.permille(60) {
        faults.meanwhile = Some((1 + rng.below(30) as u16, Box::new(draw(rng, false))));
    }
    let cut = Cut {
        dies_at: rng.permille(40).then(|| rng.below(6) as u8),
        is_cut_at: rng.permille(40).then(|| rng.below(6) as u8),
    };
    Action { kind, seed: rng.next(), faults, cut }
}

/// One step.
pub fn act(world: &mut World, action: &Action) {
    let mut rng = generator(action.seed);
    let rng = &mut rng;
    match action.kind {
        Kind::Minutes(minutes) => world.now_s += i64::from(minutes) * 60,
        Kind::ClockStep(seconds) => {
            world.now_s += i64::from(seconds);
            world.was_set_back |= seconds < 0;
        }
        Kind::Zone(seconds) => world.zone_s = if world.zone_s == 0 { i64::from(seconds) } else { 0 },
        Kind::Push => push(world, rng),
        Kind::UploadBegins => {
            world.files.upload.is_half = true;
            world.files.upload.is_there = true;
        }
        Kind::UploadEnds => {
            if world.files.upload.is_half {
                push(world, rng);
            }
        }
        Kind::Tick => match (world.ticks, world.is_on_scripts) {
            (Ticks::Spans, true) => script::tick(world, action.cut.dies_at),
            (Ticks::Mixed, _) if rng.permille(500) => script::tick(world, action.cut.dies_at),
            _ => tick(world, action, false),
        },
        Kind::ForcedTick => tick(world, action, true),
        Kind::ScriptTick => {
            if world.ticks == Ticks::Mixed || world.is_on_scripts {
                script::tick(world, action.cut.dies_at);
            }
        }
        Kind::SwitchTicks => world.is_on_scripts = world.ticks == Ticks::Spans && !world.is_on_scripts,
        Kind::Poll(host) => {
            let host = usize::from(host) % world.hosts.len();
            member::poll(world, host, action.cut, rng);
        }
        Kind::PollAll => {
            for host in 0..world.hosts.len() {
                member::poll(world, host, Cut::default(), rng);
            }
        }
        Kind::Steer(verb) => {
            let verb = [Steer::Pause, Steer::Resume, Steer::Promote, Steer::Abort, Steer::Retry]
                [usize::from(verb) % 5];
            let cause = match verb {
                Steer::Resume => Cause::Resume,
                Steer::Promote => Cause::Promote,
                Steer::Pause | Steer::Abort | Steer::Retry => Cause::Other,
            };
            command(world, action, cause, &|monitor| tick::steer(monitor, &name(), verb, "why"));
        }
        Kind::RollBack => again(world, action, Aim::Back, false),
        Kind::RollBackTo(index) => {
            if let Some(version) = version(world, index) {
                again(world, action, Aim::BackTo(version), rng.permille(600));
            }
        }
        Kind::Pin(index) => {
            if let Some(version) = version(world, index) {
                again(world, action, Aim::Pin(version), rng.permille(600));
            }
        }
        Kind::Unpin => command(world, action, Cause::Other, &|monitor| tick::unpin(monitor, &name(), "why")),
        Kind::Mark(index) => {
            if let Some(version) = version(world, index) {
                let worth = if rng.permille(500) { Worth::Good } else { Worth::Bad };
                let cause = Cause::Mark(version.clone());
                command(world, action, cause, &|monitor| {
                    tick::mark(monitor, &name(), &version, worth, "why")
                });
            }
        }
        Kind::Adopt => command(world, action, Cause::Other, &|monitor| tick::adopt(monitor, &name(), "why")),
        Kind::Prune => {
            let keep = Keep::parse(b"1").unwrap();
            command(world, action, Cause::Other, &|monitor| tick::prune(monitor, &name(), keep));
        }
        Kind::Hold(host) => {
            let until = rng.permille(500).then(|| world.now_s + 3600);
            world.holds.push((usize::from(host) % world.hosts.len(), until));
            command(world, action, Cause::Other, &|monitor| tick::hold(monitor, &name()));
        }
        Kind::HoldAll => {
            let until = rng.permille(500).then(|| world.now_s + 1800);
            world.holds.extend((0..world.hosts.len()).map(|host| (host, until)));
            command(world, action, Cause::Other, &|monitor| tick::hold(monitor, &name()));
        }
        Kind::Unhold(host) => {
            let host = usize::from(host) % world.hosts.len();
            world.holds.retain(|(held, _)| *held != host || rng.permille(300));
            command(world, action, Cause::Other, &|monitor| tick::hold(monitor, &name()));
        }
        Kind::HoldsUnreadable => world.holds_are_unreadable = true,
        Kind::HoldsReadable => world.holds_are_unreadable = false,
        Kind::ListPolicy => {
            world.last_list.policy = policy(rng, world.last_list.members.len());
            world.list = ListFile::Known(world.last_list.clone());
        }
        Kind::ListMembers => {
            let all = world.hosts.len();
            let mut members: Vec<usize> = (0..all).filter(|_| rng.permille(700)).collect();
            if members.is_empty() {
                members.push(0);
            }
            if rng.permille(300) {
                members.reverse();
            }
            world.last_list.members = members;
            world.list = ListFile::Known(world.last_list.clone());
        }
        Kind::ListBroken(how) => {
            world.list = match how % 3 {
                0 => ListFile::Absent,
                1 => ListFile::Unreadable,
                _ => ListFile::Empty,
            };
        }
        Kind::ListBack => world.list = ListFile::Known(world.last_list.clone()),
        Kind::EditByHand => {
            world.files.truth.is_disturbed = true;
            for Bytes(conf) in world.files.confs.values_mut() {
                let text = String::from_utf8(conf.clone()).unwrap();
                let threads = format!("threads={}", rng.below(9));
                let lines: Vec<&str> = text
                    .lines()
                    .map(|line| if line.starts_with("threads=") { threads.as_str() } else { line })
                    .collect();
                *conf = (lines.join("\n") + "\n").into_bytes();
            }
        }
        Kind::VersionByHand(index) => {
            if let Some(version) = version(world, index) {
                world.files.truth.is_disturbed = true;
                world.files.truth.by_others.insert(version.clone());
                for Bytes(conf) in world.files.confs.values_mut() {
                    if let Some(edited) = conf_with(conf, &target(), &version) {
                        *conf = edited;
                    }
                }
            }
        }
        Kind::Backup => world.backup = Some(Box::new(world.files.clone())),
        Kind::Restore => {
            if let Some(backup) = world.backup.clone()
                && !world.is_locked
            {
                let admitted = std::mem::take(&mut world.files.truth.admitted);
                let history = world.files.history.clone();
                world.files = *backup;
                // It takes a while.
                world.now_s += 61;
                if rng.permille(500) {
                    keep_history(world, history);
                }
                world.files.truth.admitted.extend(admitted);
                world.files.truth.is_disturbed = true;
                renew_identities(world, rng);
            }
        }
        Kind::CopyTree => {
            if !world.is_locked {
                renew_identities(world, rng);
            }
        }
        Kind::Rebuild(host) => {
            let index = usize::from(host) % world.hosts.len();
            let is_script = world.hosts[index].is_script;
            world.hosts[index] = Host::new(index, is_script);
        }
        Kind::LoseImage(host) => {
            let index = usize::from(host) % world.hosts.len();
            let host = &mut world.hosts[index];
            host.conf = None;
            host.came_up = false;
            host.serves = None;
            host.is_unfinished = false;
            host.previous = None;
            host.is_down_with = None;
        }
        Kind::LoseReport(host) => {
            let address = world.hosts[usize::from(host) % world.hosts.len()].address.clone();
            world.files.reports.remove(&address);
        }
        Kind::LoseState(host) => {
            let address = world.hosts[usize::from(host) % world.hosts.len()].address.clone();
            world.files.states.remove(&address);
        }
        Kind::Connect(host, is_connected) => {
            let host = usize::from(host) % world.hosts.len();
            world.hosts[host].is_connected = is_connected;
        }
        Kind::Disk(host, is_full) => {
            let host = usize::from(host) % world.hosts.len();
            world.hosts[host].is_full = is_full;
        }
        Kind::Daemon(how) => {
            world.daemon = [Daemon::Shows, Daemon::IsDeaf, Daemon::Hides][usize::from(how) % 3];
        }
        Kind::SwitchPoller(host) => {
            let host = usize::from(host) % world.hosts.len();
            world.hosts[host].is_script = !world.hosts[host].is_script;
        }
        Kind::Announcement(how) => {
            if matches!(world.files.announcement, AnnouncementFile::Said(_)) {
                world.files.truth.is_disturbed = true;
                world.files.announcement = match how % 3 {
                    0 => AnnouncementFile::Nothing,
                    1 => AnnouncementFile::Damaged,
                    _ => AnnouncementFile::FollowServiceConf,
                };
            }
        }
    }
}

/// The history lies elsewhere, and was not restored.
fn keep_history(world: &mut World, history: History) {
    let state = world.files.state.as_ref();
    let announced = state.and_then(|state| state.announced.as_ref());
    let open = announced.filter(|announced| announced.phase.is_in_flight());
    let is_due = |told: &&Told| told.event == "announced" && !history.ids.contains(&told.id);
    let due = state.map_or(0, |state| state.untold.iter().filter(is_due).count() as u64);
    world.files.history = History {
        open: open.map(|announced| announced.version().to_string()),
        owed: BTreeSet::new(),
        announced_due: history.announced_told + due,
        ..history
    };
}

/// Inodes and times are others; the content is the same.
fn renew_identities(world: &mut World, rng: &mut Random) {
    let identity = world.identity();
    let now_s = world.now_s;
    let keeps_times = rng.permille(500);
    if let Some(success) = &mut world.files.success {
        success.identity = identity;
        if !keeps_times {
            success.arrived_s = now_s;
        }
    }
    if let Some(status) = &mut world.files.status
        && !keeps_times
    {
        status.written_s = now_s;
    }
}

fn push(world: &mut World, rng: &mut Random) {
    let is_same = rng.permille(120) && world.files.upload.is_there;
    let content = if is_same {
        world.files.upload.content
    } else if rng.permille(60) && world.contents.len() > 1 {
        // Bytes of an earlier push.
        rng.index(world.contents.len()) as u32
    } else {
        let quality = match rng.index(10) {
            0 | 1 => Quality::BadEverywhere,
            2 | 3 => Quality::BadOn(rng.below(64) as u32),
            4 => [Quality::Flaps, Quality::Lies][rng.index(2)],
            _ => Quality::Good,
        };
        world.contents.push(quality);
        world.contents.len() as u32 - 1
    };
    let version = match rng.index(10) {
        0 => None,
        1 => version(world, rng.below(8) as u8),
        _ => {
            world.names += 1;
            // Names go backwards at times.
            let number = 20_180_101_000_000_u64 + u64::from(world.names) * 10 + rng.below(40);
            Version::parse(number.to_string().as_bytes()).ok()
        }
    };
    let named = version.as_ref().map_or_else(|| "by ann".to_owned(), ToString::to_string);
    world.pushes.push(Push { content, version, is_published: false });
    world.files.upload.content = content;
    world.files.upload.is_half = false;
    world.files.upload.is_there = true;
    let success = SuccessFile {
        content: format!("{named}\n").into_bytes(),
        identity: world.identity(),
        arrived_s: world.now_s,
        push: world.pushes.len() - 1,
    };
    world.files.success = Some(success);
}

/// A version, of those that there are.
fn version(world: &World, index: u8) -> Option<Version> {
    let count = world.files.plugin.len();
    world.files.plugin.keys().nth(usize::from(index) % count.max(1)).cloned()
}

pub fn tick(world: &mut World, action: &Action, is_forced: bool) {
    world.said.clear();
    let cause = Cause::Tick { is_forced };
    let mut monitor = SimMonitor::new(world, cause, action.faults.clone());
    let done = tick::tick(&mut monitor, &target(), Manner { is_forced, keep: None });
    let is_dead = monitor.is_dead;
    monitor.end();
    if !is_dead {
        world.failure = done.as_ref().err().map(ToString::to_string);
    }
    if done.is_ok() && !is_dead && action.faults.meanwhile.is_none() && action.faults.fails_at.is_none() {
        ended_well(world);
    }
}

/// A binary's tick has gone through: from now on what differs is its own mistake.
fn ended_well(world: &mut World) {
    let is_explained = match &world.files.state {
        None => true,
        Some(state) => {
            let status = world.files.status.as_ref().and_then(|status| status.version.as_ref());
            let confs = state.announced.as_ref().map(|announced| &announced.offer.service_conf);
            let is_as_announced = confs.is_none_or(|confs| *confs == world.files.confs);
            state.settled && status == state.status() && is_as_announced
        }
    };
    // A script at work is waited for.
    if is_explained || !world.has_scripts() {
        let is_empty = world.files.state.as_ref().is_none_or(|state| state.announced.is_none());
        if !is_empty && (!world.has_scripts() || is_explained) {
            world.files.truth.is_disturbed = false;
            world.files.truth.by_others.clear();
        }
    }
}

fn again(world: &mut World, action: &Action, aim: Aim, is_forced: bool) {
    let request = Request { aim, is_forced, reason: "why".to_owned() };
    let cause = Cause::Again(request.clone());
    command(world, action, cause, &|monitor| tick::roll_back(monitor, &name(), &request));
}

/// An operator's command. One that dies leaves all of it, or nothing (I7).
fn command(world: &mut World, action: &Action, cause: Cause, run: &dyn Fn(&mut dyn Monitor) -> Result<()>) {
    let faults = &action.faults;
    let is_checked = faults.dies_at.is_some() && faults.meanwhile.is_none() && faults.fails_at.is_none();
    let before = is_checked.then(|| world.clone());
    let mut monitor = SimMonitor::new(world, cause.clone(), faults.clone());
    let _ = run(&mut monitor);
    let is_dead = monitor.is_dead;
    monitor.end();
    let Some(before) = before.filter(|_| is_dead) else { return };
    let (mut nothing, mut all, mut after) = (before.clone(), before, world.clone());
    settle(&mut nothing, Cause::Other);
    let mut monitor = SimMonitor::new(&mut all, cause.clone(), Faults::default());
    let _ = run(&mut monitor);
    monitor.end();
    settle(&mut after, cause);
    settle(&mut all, Cause::Other);
    let found = essence(&after);
    if found != essence(&nothing) && found != essence(&all) && !world.has_scripts() {
        let text =
            format!("I7: half a command:\n{found}\nnothing: {}\nall: {}", essence(&nothing), essence(&all));
        world.violate(text);
    }
    if let Some(found) = after.violation {
        world.violate(format!("after a command that died: {found}"));
    }
}

/// The next run goes on from what was saved, and takes note of what others did; it has nothing to
/// do itself.
fn settle(world: &mut World, cause: Cause) {
    let mut monitor = SimMonitor::new(world, cause, Faults::default());
    let keeps_all = Keep::parse(b"999999").expect("a number");
    let _ = tick::prune(&mut monitor, &name(), keeps_all);
    // A command notes who is held before it does anything: that stays true without it.
    let _ = tick::hold(&mut monitor, &name());
    monitor.end();
}

/// What a command is about.
fn essence(world: &World) -> String {
    let Some(State { announced, ledger, pin, epoch, held, .. }) = &world.files.state else {
        return String::new();
    };
    let announced = announced.as_ref().map(|announced| {
        let phase: Phase = announced.phase;
        (announced.version().clone(), phase, announced.admission.clone(), announced.attempt, announced.latest)
    });
    let worths: Vec<_> = ledger.iter().map(|release| (&release.version, release.worth)).collect();
    let pin = pin.as_ref().map(|pin| &pin.version);
    let status = world.files.status.as_ref().map(|status| &status.version);
    format!(
        "{announced:?} {worths:?} {pin:?} {epoch} {held:?} {status:?} {:?}",
        world.files.confs.values().next()
    )
}

/// After an action.
pub fn step(world: &mut World, action: &Action) {
    act(world, action);
    check::after(world);
}
