//! The invariants.

use model_rollout::formats::announcement::{Admission, FIRST_INSTANCE};
use model_rollout::rollout::command::Aim;
use model_rollout::rollout::history::Told;
use model_rollout::rollout::state::{Announced, Origin, Phase, State, Worth};
use model_rollout::rollout::tick::Request;
use model_rollout::version::Version;

use crate::simulate::world::{AnnouncementFile, ListFile, Plant, SuccessFile, World, version_in};

/// What a run is for.
#[derive(Debug, Clone)]
pub enum Cause {
    Tick {
        is_forced: bool,
    },
    Resume,
    Promote,
    /// Pause, abort, retry, unpin, adopt, hold, prune.
    Other,
    Again(Request),
    Mark(Version),
}

/// What the members were like when they were asked.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub is_known: bool,
    pub current: usize,
    pub failed: usize,
    pub max_fail: Option<usize>,
}

impl Snapshot {
    pub fn unknown() -> Snapshot {
        Snapshot { is_known: false, current: 0, failed: 0, max_fail: None }
    }
}

/// Whether a second admission has anybody whom the first has not, and who has not reported the
/// version.
fn is_wider(world: &World, version: &Version, before: &Admission, after: &Admission) -> bool {
    match (before, after) {
        (Admission::Everybody, _) => false,
        (Admission::Members(_), Admission::Everybody) => true,
        (Admission::Members(before), Admission::Members(after)) => after.iter().any(|member| {
            let report = world.files.reports.get(member);
            let host = world.hosts.iter().find(|host| host.address == *member);
            let serves = host.and_then(|host| host.serves.as_ref());
            !before.contains(member)
                && report.is_none_or(|(reported, _)| reported != version)
                && serves.is_none_or(|(served, _)| served != version)
                && world.files.states.get(member).is_none_or(|(state, _)| state.version != *version)
        }),
    }
}

/// Whether this is another announcement than that, and not an edit of it.
fn is_another(old: Option<&Announced>, new: &Announced) -> bool {
    old.is_none_or(|old| {
        old.sequence != new.sequence
            && (old.version() != new.version()
                || old.origin != new.origin
                || old.began_s != new.began_s
                || old.phase != new.phase
                || old.admission != new.admission
                || old.mark != new.mark)
    })
}

/// After a state was saved.
pub fn transition(world: &mut World, old: Option<&State>, cause: &Cause, snapshot: Option<&Snapshot>) {
    let Some(new) = world.files.state.take() else { return };
    let found = found_in(world, old, &new, cause, snapshot);
    if let Some(new_announced) = &new.announced {
        let old_announced = old.and_then(|old| old.announced.as_ref());
        if is_another(old_announced, new_announced) && new_announced.origin != Origin::Import {
            world.files.history.announced_due += 1;
        }
    }
    if let (Cause::Tick { is_forced: true }, Some(publishing)) = (cause, &new.publishing) {
        world.files.truth.forced.insert(publishing.version.clone());
    }
    if let Some(announced) = &new.announced {
        let admitted = world.files.truth.admitted.entry(announced.version().clone()).or_default();
        match &announced.admission {
            Admission::Members(members) => admitted.extend(members.iter().cloned()),
            Admission::Everybody => admitted.extend(world.hosts.iter().map(|host| host.address.clone())),
        }
    }
    world.files.history.owed.extend(new.untold.iter().map(|told| told.id.clone()));
    if new.settled && new.untold.is_empty() {
        let history = &mut world.files.history;
        let missing = history.owed.iter().find(|id| !history.ids.contains(*id)).cloned();
        history.owed.clear();
        let (due, told) = (history.announced_due, history.announced_told);
        if let Some(id) = missing {
            world.violate(format!("I6: the history was never told {id}"));
        }
        if due != told {
            world.violate(format!("I6: {told} announcements were told, and {due} made"));
        }
    }
    if new.ledger.len() != world.files.truth.worth.len() || old.is_none_or(|old| old.ledger != new.ledger) {
        world.files.truth.worth =
            new.ledger.iter().map(|release| (release.version.clone(), release.worth)).collect();
    }
    world.files.state = Some(new);
    if let Some(found) = found {
        world.violate(found);
    }
}

fn found_in(
    world: &World,
    old: Option<&State>,
    new: &State,
    cause: &Cause,
    snapshot: Option<&Snapshot>,
) -> Option<String> {
    let announced = new.announced.as_ref()?;
    let version = announced.version();
    let before = old.and_then(|old| old.announced.as_ref());
    if new.ledger.windows(2).any(|two| two[0].sequence >= two[1].sequence) {
        return Some("I5: the ledger is not in the order of its sequences".to_owned());
    }
    if let Some(old) = old {
        if (new.epoch, new.sequence) < (old.epoch, old.sequence) || new.events < old.events {
            return Some("I5: a number went back".to_owned());
        }
        if let Some(found) = worths(old, new, cause) {
            return Some(found);
        }
    }
    let by_others = matches!(announced.origin, Origin::Hand | Origin::Script | Origin::Import);
    if is_another(before, announced) {
        let worth = world.worth(version);
        let is_named = match cause {
            Cause::Again(Request { aim: Aim::BackTo(named) | Aim::Pin(named), is_forced, .. }) => {
                // A command may announce again what is announced.
                named == version && (*is_forced || before.is_some_and(|before| before.version() == version))
            }
            Cause::Tick { is_forced } => *is_forced && announced.origin == Origin::Push,
            _ => false,
        };
        let is_named = is_named || world.files.truth.forced.contains(version);
        if worth.is_some_and(Worth::is_spent) && !is_named && !by_others {
            return Some(format!("I1: {version} is announced, which is {}", worth.map_or("", Worth::words)));
        }
        if announced.origin == Origin::Rollback
            && !worth.is_some_and(Worth::is_trusted)
            && !matches!(cause, Cause::Again(Request { aim: Aim::BackTo(_), .. }))
        {
            return Some(format!("I1: rolled back to {version}, which was never trusted"));
        }
        return None;
    }
    let before = before?;
    let widens = is_wider(world, version, &before.admission, &announced.admission);
    let is_spoken = matches!(cause, Cause::Resume | Cause::Promote);
    if widens && before.phase.was_broken_off() && !matches!(cause, Cause::Resume) {
        return Some(format!("I1: {version} is {}, and admitted wider", before.phase.words()));
    }
    // Where all have it, nobody is left to be kept out.
    let is_over = matches!(announced.phase, Phase::Done | Phase::Trailing);
    if widens && before.phase == Phase::Paused && !is_spoken && !is_over {
        return Some(format!("I1: {version} is paused, and admitted wider"));
    }
    if !before.phase.is_in_flight() && announced.phase.is_in_flight() && !matches!(cause, Cause::Resume) {
        return Some(format!("I1: the rollout of {version} goes on by itself"));
    }
    if widens && !is_spoken {
        let snapshot = snapshot?;
        // A script that ended it is believed only where all have it.
        if !snapshot.is_known {
            return Some(format!("I1: {version} is admitted wider, and who the members are is not known"));
        }
        if snapshot.max_fail.is_some_and(|limit| snapshot.failed >= limit) && announced.phase != Phase::Done {
            return Some(format!("I1: {version} is admitted wider, and {} failed", snapshot.failed));
        }
    }
    let ends = before.phase != announced.phase && matches!(announced.phase, Phase::Done | Phase::Trailing);
    if ends && snapshot.is_none_or(|snapshot| snapshot.current == 0) {
        return Some(format!("I5: the rollout of {version} is done, and nobody has it"));
    }
    None
}

/// What versions became worth.
fn worths(old: &State, new: &State, cause: &Cause) -> Option<String> {
    if old.ledger == new.ledger {
        return None;
    }
    let is_marked = |version: &Version| matches!(cause, Cause::Mark(marked) if marked == version);
    for release in &new.ledger {
        let version = &release.version;
        let Some(before) = old.worth(version).filter(|before| *before != release.worth) else { continue };
        let is_again = matches!(cause, Cause::Again(_));
        if before.is_trusted() && release.worth == Worth::Bad && !is_marked(version) && !is_again {
            return Some(format!("I1: {version} was {}, and is bad by itself", before.words()));
        }
        if before.is_trusted() && !release.worth.is_trusted() && !is_marked(version) && !is_again {
            let is_left = release.worth == Worth::Left;
            if !is_left {
                return Some(format!(
                    "I8: {version} was {}, and is {}",
                    before.words(),
                    release.worth.words()
                ));
            }
        }
        let is_announced = new.announced.as_ref().is_some_and(|announced| announced.version() == version);
        if before.is_spent() && !release.worth.is_spent() && !is_marked(version) && !is_announced {
            return Some(format!("I1: {version} was {}, and is {}", before.words(), release.worth.words()));
        }
        if before.is_spent() && release.worth == Worth::Confirmed {
            return Some(format!("I1: {version} was {}, and is confirmed", before.words()));
        }
    }
    None
}

/// A line of the history.
pub fn told(world: &mut World, line: &Told) {
    let history = &mut world.files.history;
    let mut found = None;
    match line.event.as_str() {
        "announced" => {
            history.announced_told += 1;
            history.open = Some(line.version.clone());
        }
        "resumed" => history.open = Some(line.version.clone()),
        "ended" => {
            if history.open.as_ref() != Some(&line.version) {
                found = Some(format!("I6: {} ended, which was not announced", line.version));
            }
            history.open = None;
        }
        "pushed" if !history.pushes.insert(line.push.clone()) => {
            found = Some(format!("I6: the push {} was told twice", line.push));
        }
        _ => {}
    }
    history.lines.push(line.clone());
    if let Some(found) = found {
        world.violate(found);
    }
}

/// A binary removes `success`.
pub fn success_removed(world: &mut World, success: &SuccessFile) {
    let push = &world.pushes[success.push];
    let named = push.version.as_ref();
    let mut placed = world.files.plugin.iter().filter(|(_, placed)| placed.is_whole);
    let is_there = placed.any(|(version, placed)| {
        placed.content == push.content && named.is_none_or(|named| named == version)
    });
    if !push.is_published && !is_there && !world.has_scripts() {
        world.violate(format!("I2: the push {} is lost: its success was removed", success.identity));
    }
}

/// Versions are deleted.
pub fn deletes(world: &mut World, versions: &[Version]) {
    let is_trusted =
        |version: &&Version| world.files.truth.worth.get(*version).is_some_and(|worth| worth.is_trusted());
    let present: Vec<&Version> = world.files.plugin.keys().collect();
    let goes: Vec<&Version> = present.iter().copied().filter(|version| versions.contains(version)).collect();
    if goes.is_empty() {
        return;
    }
    let stays = present.iter().copied().filter(|version| !versions.contains(version)).filter(is_trusted);
    if stays.count() == 0 {
        return world.violate("I8: versions are deleted, and none is left that ever worked");
    }
    let named: Vec<Version> = world.files.confs.values().filter_map(|conf| version_in(&conf.0)).collect();
    if let Some(gone) = goes.iter().find(|version| named.contains(version)) {
        let gone = (*gone).clone();
        world.violate(format!("I8: {gone} is deleted, and announced"));
    }
}

/// Faults that are planted into what is saved.
pub fn plant_into(world: &mut World, state: &mut State) {
    let Some(announced) = &mut state.announced else { return };
    match world.plant {
        Some(Plant::AdmitsAfterAStop) if announced.phase.was_broken_off() => {
            announced.admission = Admission::Everybody;
        }
        _ => {}
    }
}

/// After each step.
pub fn after(world: &mut World) {
    if world.violation.is_some() {
        return;
    }
    if world.plant == Some(Plant::LosesAPush) && world.serial % 7 == 3 {
        world.plant = None;
        if let Some(success) = world.files.success.take() {
            success_removed(world, &success);
        }
    }
    let found = down(world).or_else(|| agrees(world));
    if let Some(found) = found {
        world.violate(found);
    }
}

/// I4: a member is down with a version to which it was never admitted.
fn down(world: &World) -> Option<String> {
    let state = world.files.state.as_ref().filter(|state| state.settled)?;
    let version = state.announced.as_ref()?.version();
    if world.files.truth.is_disturbed || world.has_scripts() {
        return None;
    }
    let admitted = world.files.truth.admitted.get(version)?;
    let is_down = |host: &&crate::simulate::member::Host| {
        !host.is_script && host.is_down_with.as_ref() == Some(version) && !admitted.contains(&host.address)
    };
    let host = world.hosts.iter().find(is_down)?;
    Some(format!("I4: {} is down with {version}, to which it was not admitted", host.address))
}

/// I5: the files say what the state says.
fn agrees(world: &World) -> Option<String> {
    let state = world.files.state.as_ref()?;
    if !state.settled || world.files.truth.is_disturbed || world.is_locked {
        return None;
    }
    let status = world.files.status.as_ref().and_then(|status| status.version.as_ref());
    // A publication that is given up loses its status first.
    let is_given_up = status.is_none() && state.publishing.is_some() && !state.is_in_flight();
    if status != state.status() && !is_given_up {
        return Some(format!("I5: settled, and status is {status:?} instead of {:?}", state.status()));
    }
    let announced = state.announced.as_ref()?;
    match &world.files.announcement {
        AnnouncementFile::Said(said) if **said == state.announcement() => {}
        other => return Some(format!("I5: settled, and announced is {other:?}")),
    }
    (world.files.confs != announced.offer.service_conf)
        .then(|| "I5: settled, and service.conf differs".to_owned())
}

/// I3: why the fleet does not converge, or nothing where it has, or its state names the command.
pub fn unconverged(world: &World) -> Option<String> {
    let Some(state) = &world.files.state else {
        return world.files.success.is_some().then(|| "there is no state".to_owned());
    };
    let failure = world.failure.clone().unwrap_or_default();
    if !state.ahead.is_empty() {
        return None;
    }
    if let Some(success) = &world.files.success {
        let push = state.push.as_ref().filter(|push| push.identity == success.identity);
        let is_shown = push.is_some_and(|push| !push.refusals.is_empty()) || state.pin.is_some();
        let is_paused = state.announced.as_ref().is_some_and(|announced| announced.phase == Phase::Paused);
        if !is_shown && !is_paused {
            return Some(format!("I2: success waits, and nothing says why ({failure})"));
        }
    }
    let announced = match &state.announced {
        Some(announced) => announced,
        None => return None,
    };
    if !state.settled {
        return Some(format!("I3: it is never settled ({failure})"));
    }
    // A conf that names a version which is gone is corrected by hand; each tick says so.
    if failure.contains("correct") {
        return None;
    }
    match announced.phase {
        Phase::Stopped | Phase::TimedOut | Phase::Aborted | Phase::Paused => return None,
        Phase::Running | Phase::Trailing => {
            let no_list = matches!(world.list, ListFile::Absent);
            if no_list {
                return None;
            }
            // It says each time what it waits for. A script never repeats a report that was lost.
            let waits = |line: &String| {
                let is_script = |host: &crate::simulate::member::Host| {
                    host.is_script && line.contains(&format!("waiting for {}", host.address))
                };
                let is_after_a_step = world.was_set_back && line.contains("waiting for");
                line.contains("could not be asked") || is_after_a_step || world.hosts.iter().any(is_script)
            };
            if world.said.iter().any(waits) {
                return None;
            }
            let stall = announced.stall.as_ref().map(|stall| stall.reason.clone());
            return Some(format!("I3: the rollout of {} goes on for ever ({stall:?})", announced.version()));
        }
        Phase::Done => {}
    }
    let conf = world.files.confs.get(FIRST_INSTANCE)?;
    for host in &world.last_list.members {
        let host = &world.hosts[*host];
        let has_it = host.serves.as_ref().is_some_and(|(version, _)| version == announced.version());
        // It waits for --adopt, and has nothing to report yet: only its own log says so.
        let is_ahead = host
            .memory
            .seen
            .is_some_and(|seen| (seen.epoch, seen.sequence) > (state.epoch, announced.latest));
        if is_ahead && host.state.is_none() {
            continue;
        }
        let has_conf = host.conf.as_ref() == Some(&conf.0);
        let told = world.files.states.get(&host.address);
        let has_failed = told.is_some_and(|(state, _)| {
            state.version == *announced.version()
                && !matches!(
                    state.word,
                    model_rollout::formats::member_state::Word::Current
                        | model_rollout::formats::member_state::Word::Updating
                )
        });
        if (!has_it || !has_conf) && !has_failed && !host.is_script {
            let serves = host.serves.as_ref().map(|(version, _)| version.to_string());
            return Some(format!(
                "I3: {} is done, and {} serves {serves:?} ({told:?}, {:?})",
                announced.version(),
                host.address,
                host.memory
            ));
        }
    }
    None
}
