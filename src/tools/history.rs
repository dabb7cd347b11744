//! `.history-MODEL.jsonl` beside the monitor's logs: what happened to a model, a line of JSON for each event, the oldest first. `dispatch`
//! and `autoupdate-toggle` write it, `dispatch --history` shows it, and so may whatever collects logs. It is told after the event,
//! where there is a directory of logs; nothing depends on it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::files::{self, Appender};
use crate::machine::{clock, environment};
use crate::names::{Address, ModelName};

/// A file that has grown to this many bytes becomes the one before, whose lines go.
const ROTATED_AT: u64 = 1 << 20;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 4 << 20;

/// An event (docs/fleet.md, "History").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
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
    let (user, host) = by.split_once('@').unwrap_or((&by, ""));
    let event = Event {
        time: clock::now().instant.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        model: model.to_string(),
        host: host.to_owned(),
        user: user.to_owned(),
        ..event
    };
    let line = serde_json::to_string(&event)
        .map_err(|e| Error::failed(format!("{model}: its history cannot be written: {e}")))?;
    let [now, _] = places(monitor, model);
    Appender::open(&now)?.append(format!("{line}\n").as_bytes())
}

/// Makes a full file the one before. Only for whoever holds the model's lock: two at once would lose one of the files.
pub fn rotate(monitor: &Monitor, model: &ModelName) -> Result<()> {
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
