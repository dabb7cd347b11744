//! `.history-MODEL.jsonl` beside the monitor's logs: what happened to a model, a line of JSON for each event, the oldest first. `dispatch`
//! and `autoupdate-toggle` write it, `dispatch --history` shows it, and so may whatever collects logs. It is told after the event,
//! where there is a directory of logs; nothing depends on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::files::{self, Appender};
use crate::machine::{clock, environment};
use crate::names::{Address, ModelName};
use crate::rollout::history::Told;

/// A file that has grown to this many bytes becomes the one before, whose lines go.
const ROTATED_AT: u64 = 1 << 20;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// An event (docs/fleet.md, "History").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which one it is, so that a run that died is not repeated; empty of those that nobody
    /// repeats.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// When, in local time with its offset.
    pub time: String,
    /// What happened: `pushed`, `published`, `held`, ...
    pub event: String,
    /// The model.
    pub model: String,
    /// The version that it is about; empty where it is about none, or that is not known yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The monitor.
    pub host: String,
    /// Who ran the program: under cron, its user.
    pub user: String,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Of `published`: how long after the push arrived; of `confirmed`: how long after the upgrade began. In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<i64>,
    /// Of `held`: when it ends by itself, in local time with its offset.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub until: String,
    /// Of `pushed`, `restored` and `refused`: which push, the identity of its `success`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub push: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Event {
    /// An event; who, when and where are filled in when it is told.
    pub fn new(what: &str) -> Event {
        Event { event: what.to_owned(), ..Event::default() }
    }
}

/// Members, as an event names them.
pub fn names(members: &[Address]) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}

/// Adds an event at the end, in one write.
pub fn tell(event: Event, monitor: &Monitor, model: &ModelName) -> Result<()> {
    if !files::is_directory(&monitor.logs()) {
        return Ok(());
    }
    let by = environment::operator();
    let event = finished(event, &by, clock::now().instant, model);
    append(&[event], &read(monitor, model)?, monitor, model)
}

/// Adds the lines that are missing, in one write: a run that died may have written them, and not
/// noted that. Only for a run that holds the lock of the model's state.
pub fn tell_once(lines: &[Told], monitor: &Monitor, model: &ModelName) -> Result<()> {
    if lines.is_empty() || !files::is_directory(&monitor.logs()) {
        return Ok(());
    }
    rotate(monitor, model)?;
    let known = read(monitor, model)?;
    let ids = ids(&known);
    let news = lines.iter().filter(|line| !ids.contains(&line.id));
    let event = |line: &Told| {
        let Told { id, event, version, members, duration_s, push, why, .. } = line.clone();
        let event = Event { id, event, version, members, duration_s, push, why, ..Event::default() };
        finished(event, &line.by, clock::at_unix(line.at_s), model)
    };
    append(&news.map(event).collect::<Vec<_>>(), &known, monitor, model)
}

fn ids(history: &str) -> BTreeSet<String> {
    /// A run tells a few events: whatever it may tell again is among the last.
    const LAST: usize = 100;
    let lines = history.lines().rev().take(LAST);
    lines.filter_map(|line| serde_json::from_str::<Event>(line).ok()).map(|event| event.id).collect()
}

fn finished(event: Event, by: &str, at: DateTime<FixedOffset>, model: &ModelName) -> Event {
    let here = environment::operator();
    let (_, this_host) = here.split_once('@').unwrap_or(("", ""));
    let (user, host) = by.split_once('@').unwrap_or((by, this_host));
    Event {
        time: at.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        model: model.to_string(),
        host: host.to_owned(),
        user: user.to_owned(),
        ..event
    }
}

/// Adds events to a history that says this.
fn append(events: &[Event], known: &str, monitor: &Monitor, model: &ModelName) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    // What a full disk or a power cut has left of a line must not spoil the next one.
    let is_torn = !known.is_empty() && !known.ends_with('\n');
    let mut lines = if is_torn { "\n".to_owned() } else { String::new() };
    for event in events {
        let line = serde_json::to_string(event)
            .map_err(|e| Error::failed(format!("{model}: its history cannot be written: {e}")))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    let [now, _] = places(monitor, model);
    Appender::open(&now)?.append(lines.as_bytes())
}

/// Makes a full file the one before. Two at once would lose one of the files.
fn rotate(monitor: &Monitor, model: &ModelName) -> Result<()> {
    let [now, before] = places(monitor, model);
    match files::facts(&now)? {
        Some(facts) if facts.identity.size >= ROTATED_AT => files::rename(&now, &before),
        _ => Ok(()),
    }
}

/// The file, and the one before it.
pub fn places(monitor: &Monitor, model: &ModelName) -> [PathBuf; 2] {
    let file = |suffix: &str| monitor.logs().join(format!(".history-{model}.jsonl{suffix}"));
    [file(""), file(".1")]
}

/// The lines of both files, the oldest first.
pub fn read(monitor: &Monitor, model: &ModelName) -> Result<String> {
    let [now, before] = places(monitor, model);
    let text = |path: &Path| -> Result<String> {
        let bytes = files::read_if_exists(path, LIMIT)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(text(&before)? + &text(&now)?)
}
