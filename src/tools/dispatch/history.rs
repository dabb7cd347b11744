//! What `dispatch` remembers of what it does, and `--history`.

use std::collections::BTreeSet;

use crate::error::{Error, Result, one_line};
use crate::formats::admitted::Admitted;
use crate::formats::mark;
use crate::formats::rollout::Standing;
use crate::identity::Identity;
use crate::layout::Monitor;
use crate::machine::{clock, files, terminal};
use crate::names::ModelName;
use crate::time::Seconds;
use crate::tools::dispatch::cli::Shape;
use crate::tools::dispatch::decide::check::confirms;
use crate::tools::dispatch::decide::{Action, CheckFacts, Members, Success, UpdateFacts, announced, update};
use crate::tools::dispatch::journal::Phase;
use crate::tools::dispatch::members;
use crate::tools::dispatch::observe::Site;
use crate::tools::history::{self, Event, names};
use crate::version::Version;

/// A push that a tick saw.
const PUSHED: &str = "pushed";
/// A push whose `success` was put back: the same push, but another file.
const RESTORED: &str = "restored";
/// A push that was not published.
const REFUSED: &str = "refused";

/// An event of a version.
fn event(what: &str, version: &Version) -> Event {
    Event { version: version.to_string(), ..Event::new(what) }
}

/// What is to be remembered of a step that was done.
fn of(action: &Action, site: &Site) -> Option<Event> {
    Some(match action {
        Action::Record(journal) => match journal.phase {
            Phase::Published => {
                let pushed_s = journal.success.modified_ns / 1_000_000_000;
                let took_s = i128::from(clock::unix_now().0) - pushed_s;
                Event { duration_s: i64::try_from(took_s).ok(), ..event("published", &journal.version) }
            }
            Phase::Announced => event("announced", &journal.version),
            // A push that is refused is tried every minute.
            Phase::Publishing | Phase::RollingBack => return None,
        },
        Action::Admit(admitted) => {
            Event { members: names(&admitted.members), ..event("admitted", &admitted.version) }
        }
        Action::NoteLate(version, members) => Event { members: names(members), ..event("late", version) },
        // Of a publication that was given up nobody has heard that it began.
        Action::RemoveStatus(Some(version)) if is_announced(version, site) => event("ended", version),
        Action::RestoreSuccess(_) => of_push(RESTORED, &site.success().ok().flatten()?),
        Action::OnFailure(version, why) => Event { why: why.clone(), ..event("stopped", version) },
        Action::NoteRollout(note) if note.standing != Standing::Stopped => {
            Event { why: note.why.clone(), ..event(note.standing.word(), &note.version) }
        }
        Action::MarkBad(mark) => {
            Event { why: mark.why.as_str().to_owned(), ..event("rolled back", &mark.version) }
        }
        Action::Pin(mark) => Event { why: mark.why.as_str().to_owned(), ..event("pinned", &mark.version) },
        Action::Unpin => Event::new("unpinned"),
        _ => return None,
    })
}

/// Whether a service.conf names a version.
fn is_announced(version: &Version, site: &Site) -> bool {
    site.configurations().map_or(true, |configurations| announced(&configurations).contains(version))
}

/// Whether a step that is about to be done leaves anything else than what is there. A run that finishes what another one began does
/// some of its steps once more: those were told when they were done first.
pub fn is_news(action: &Action, site: &Site) -> bool {
    let service = &site.service;
    let (path, bytes) = match action {
        Action::MarkBad(mark) => (service.bad_version(&mark.version), mark.render()),
        Action::Pin(mark) => (service.pin(), mark.render()),
        // Which version is withdrawn beside it is not told.
        Action::Admit(Admitted { version, members, .. }) => {
            let is_same = |known: Admitted| (&known.version, &known.members) == (version, members);
            return !members::admitted(service).is_ok_and(|known| known.is_some_and(is_same));
        }
        Action::Unpin => return !files::facts(&service.pin()).is_ok_and(|pin| pin.is_none()),
        // One that is there already is another push.
        Action::RestoreSuccess(_) => return site.success().is_ok_and(|success| success.is_none()),
        _ => return true,
    };
    !files::read_without_following(&path, mark::LARGEST).is_ok_and(|found| found == Some(bytes))
}

/// Remembers a step that was done. A history that cannot be written holds nothing up.
pub fn remember(action: &Action, site: &Site) {
    if let Some(event) = of(action, site) {
        tell(event, site);
    }
}

/// Remembers a push when a tick sees it first. Its `success` stays until its upgrade has ended, or for as long as it is refused.
pub fn remember_push(facts: &UpdateFacts, site: &Site) {
    let is_known = |told: &Event| [PUSHED, RESTORED].contains(&told.event.as_str());
    if let Some(success) = &facts.success
        && !told_of(success, site).iter().any(is_known)
    {
        tell(of_push(PUSHED, success), site);
    }
}

/// Remembers why a push was not published: each reason once, though it is looked at every minute. Of the facts those are missing that
/// could not be read.
pub fn remember_refusal(facts: &UpdateFacts, error: &Error, site: &Site) {
    // Otherwise the error is about a version that is published already, whatever was pushed since.
    let Some(success) = facts.success.as_ref().filter(|_| update::unfinished(facts).is_none()) else {
        return;
    };
    let journal = site.journal().ok().flatten();
    if journal
        .is_some_and(|journal| journal.success == success.identity && journal.phase != Phase::Publishing)
    {
        return;
    }
    let why = error.to_string();
    // How many bytes are free is another number every minute.
    let words = |why: &str| why.replace(|c: char| c.is_ascii_digit(), "");
    let is_known = |told: &Event| told.event == REFUSED && words(&told.why) == words(&why);
    if !told_of(success, site).iter().any(is_known) {
        tell(Event { why, ..of_push(REFUSED, success) }, site);
    }
}

fn of_push(what: &str, success: &Success) -> Event {
    // One that announces no version gets its own when it is published.
    let version = success.announces.as_ref().map(Version::to_string).unwrap_or_default();
    Event { version, push: identity_of(success), ..Event::new(what) }
}

fn identity_of(success: &Success) -> String {
    let Identity { device, inode, modified_ns, size } = success.identity;
    format!("{device}-{inode}-{modified_ns}-{size}")
}

/// What was told about a push.
fn told_of(success: &Success, site: &Site) -> Vec<Event> {
    let push = identity_of(success);
    let read = history::read(site.monitor, site.model).unwrap_or_default();
    // Only lines that may be about it are worth more than a look: there may be thousands.
    let events =
        read.lines().filter(|line| line.contains(&push)).filter_map(|line| serde_json::from_str(line).ok());
    events.filter(|event: &Event| event.push == push).collect()
}

/// Remembers the members that have confirmed since the tick before.
pub fn remember_confirmed(facts: &CheckFacts, site: &Site) {
    let (Members::Known(members), Some(status)) = (&facts.members, &facts.status) else { return };
    let announced = facts.announced.as_deref().and_then(|version| Version::of_directory(version).ok());
    let Some(version) = announced.filter(|version| status.version.as_ref().is_none_or(|v| v == version))
    else {
        return;
    };
    let known = confirmed(&version, site);
    let has_it = |answer: &Option<Vec<u8>>| confirms(answer.as_deref(), version.as_str().as_bytes());
    let new = members.iter().filter(|(_, answer)| has_it(answer)).map(|(member, _)| member.to_string());
    let new: Vec<String> = new.filter(|member| !known.contains(member)).collect();
    if !new.is_empty() {
        let duration_s = facts.in_flight_for().map(|Seconds(seconds)| seconds);
        tell(Event { members: new, duration_s, ..event("confirmed", &version) }, site);
    }
}

/// The members that are known to have confirmed a version.
fn confirmed(version: &Version, site: &Site) -> BTreeSet<String> {
    let read = history::read(site.monitor, site.model).unwrap_or_default();
    let mut known = BTreeSet::new();
    for event in read.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        // A version that is published or announced again is confirmed again.
        match (event.version == version.as_str(), event.event.as_str()) {
            (true, "confirmed") => known.extend(event.members),
            (true, "announced") => known.clear(),
            _ => {}
        }
    }
    known
}

/// Tells an event; the model's lock is held.
fn tell(event: Event, site: &Site) {
    let Site { monitor, model, .. } = site;
    if let Err(error) = history::rotate(monitor, model).and_then(|()| history::tell(event, monitor, model)) {
        terminal::complain(super::PROGRAM, error);
    }
}

/// `--history MODEL`: a line for each event; as it is written, or for people.
///
/// Fails (exit 1) where nothing was ever remembered.
pub fn show(monitor: &Monitor, model: &ModelName, shape: Shape) -> Result<()> {
    let lines = history::read(monitor, model)?;
    if lines.is_empty() {
        let [now, _] = history::places(monitor, model);
        return Err(Error::failed(format!(
            "{model}: nothing happened yet, or by scripts alone: {} is not there; check the name",
            now.display()
        )));
    }
    for line in lines.lines() {
        match serde_json::from_str::<Event>(line) {
            Ok(event) if shape == Shape::Table => terminal::say(one_line(&for_people(&event))),
            _ => terminal::say(one_line(line)),
        }
    }
    Ok(())
}

fn for_people(event: &Event) -> String {
    let Event { time, event, version, host, user, members, duration_s, until, why, .. } = event;
    let mut line = format!("{time}  {event:<11}  {version:<14}  {user}@{host}");
    if !members.is_empty() {
        let noun = if members.len() == 1 { "member" } else { "members" };
        line.push_str(&format!("  {} {noun}: {}", members.len(), members.join(", ")));
    }
    if let Some(seconds) = duration_s {
        line.push_str(&format!("  after {seconds} s"));
    }
    if !until.is_empty() {
        line.push_str(&format!("  until {until}"));
    }
    if !why.is_empty() {
        line.push_str(&format!("  {why}"));
    }
    line
}
