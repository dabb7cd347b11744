//! `.history-MODEL.jsonl` beside the logs: what happened to a model, a line of JSON for each event, the oldest first. For
//! `--history`, and for whatever collects logs. It is told after the event, where there is a directory of logs; nothing depends on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, one_line};
use crate::formats::rollout::Standing;
use crate::layout::Monitor;
use crate::machine::files::{self, Appender};
use crate::machine::{clock, environment, terminal};
use crate::names::{Address, ModelName};
use crate::tools::dispatch::cli::Shape;
use crate::tools::dispatch::decide::check::confirms;
use crate::tools::dispatch::decide::{Action, CheckFacts, Members};
use crate::tools::dispatch::journal::Phase;
use crate::tools::dispatch::observe::Site;
use crate::version::Version;

/// A file that has grown to this many bytes becomes the one before, whose lines go.
const ROTATED_AT: u64 = 1 << 20;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    /// When, in local time with its offset.
    time: String,
    /// `published`, `announced`, `admitted`, `confirmed`, `ended`, `stopped`, `paused`, `aborted`, `resumed`, `rolled back`,
    /// `pinned`, `unpinned`.
    event: String,
    model: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    /// The monitor.
    host: String,
    /// Who ran the program: under cron, its user.
    user: String,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    /// Of `published`: how long after the push arrived; of `confirmed`: how long after the upgrade began. In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_s: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

/// An event of a version.
fn event(what: &str, version: &Version) -> Event {
    Event { event: what.to_owned(), version: version.to_string(), ..Event::default() }
}

fn names(members: &[Address]) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}

/// What is to be remembered of a step that was done.
fn of(action: &Action) -> Option<Event> {
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
        Action::RemoveStatus(Some(version)) => event("ended", version),
        Action::OnFailure(version, why) => Event { why: why.clone(), ..event("stopped", version) },
        Action::NoteRollout(note) if note.standing != Standing::Stopped => {
            Event { why: note.why.clone(), ..event(note.standing.word(), &note.version) }
        }
        Action::MarkBad(mark) => {
            Event { why: mark.why.as_str().to_owned(), ..event("rolled back", &mark.version) }
        }
        Action::Pin(mark) => Event { why: mark.why.as_str().to_owned(), ..event("pinned", &mark.version) },
        Action::Unpin => Event { event: "unpinned".to_owned(), ..Event::default() },
        _ => return None,
    })
}

/// Remembers a step that was done. A history that cannot be written holds nothing up.
pub fn remember(action: &Action, site: &Site) {
    if let Some(event) = of(action) {
        tell(event, site);
    }
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
        let duration_s = Some(status.age.0);
        tell(Event { members: new, duration_s, ..event("confirmed", &version) }, site);
    }
}

/// The members that are known to have confirmed a version.
fn confirmed(version: &Version, site: &Site) -> BTreeSet<String> {
    let read = read(site.monitor, site.model).unwrap_or_default();
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

fn tell(event: Event, site: &Site) {
    if let Err(error) = append(event, site) {
        terminal::complain(super::PROGRAM, error);
    }
}

fn append(event: Event, site: &Site) -> Result<()> {
    if !files::is_directory(&site.monitor.logs()) {
        return Ok(());
    }
    let by = environment::operator();
    let (user, host) = by.split_once('@').unwrap_or((&by, ""));
    let event = Event {
        time: clock::now().instant.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        model: site.model.to_string(),
        host: host.to_owned(),
        user: user.to_owned(),
        ..event
    };
    let line = serde_json::to_string(&event)
        .map_err(|e| Error::failed(format!("{}: its history cannot be written: {e}", site.model)))?;
    let [now, before] = places(site.monitor, site.model);
    if files::facts(&now)?.is_some_and(|facts| facts.identity.size >= ROTATED_AT) {
        files::rename(&now, &before)?;
    }
    Appender::open(&now)?.append(format!("{line}\n").as_bytes())
}

/// The file, and the one before it.
fn places(monitor: &Monitor, model: &ModelName) -> [PathBuf; 2] {
    let file = |suffix: &str| monitor.logs().join(format!(".history-{model}.jsonl{suffix}"));
    [file(""), file(".1")]
}

/// The lines of both files, the oldest first.
fn read(monitor: &Monitor, model: &ModelName) -> Result<String> {
    let [now, before] = places(monitor, model);
    let text = |path: &Path| -> Result<String> {
        let bytes = files::read_if_exists(path, LIMIT)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(text(&before)? + &text(&now)?)
}

/// `--history MODEL`: a line for each event; as it is written, or for people.
///
/// Fails (exit 1) where nothing was ever remembered.
pub fn show(monitor: &Monitor, model: &ModelName, shape: Shape) -> Result<()> {
    let lines = read(monitor, model)?;
    if lines.is_empty() {
        let [now, _] = places(monitor, model);
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
    let Event { time, event, version, host, user, members, duration_s, why, .. } = event;
    let mut line = format!("{time}  {event:<11}  {version:<14}  {user}@{host}");
    if !members.is_empty() {
        line.push_str(&format!("  {} members: {}", members.len(), members.join(", ")));
    }
    if let Some(seconds) = duration_s {
        line.push_str(&format!("  after {seconds} s"));
    }
    if !why.is_empty() {
        line.push_str(&format!("  {why}"));
    }
    line
}
