//! `--history`: what happened to a model.

use crate::error::{Error, Result, one_line};
use crate::layout::Monitor;
use crate::machine::terminal;
use crate::names::ModelName;
use crate::tools::dispatch::cli::Shape;
use crate::tools::history::{self, Event};

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
