//! Starts a container, and waits for its service.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::machine::clock::{self, Stopwatch};
use crate::machine::{proc, terminal};
use crate::names::{Port, shown};
use crate::time::Seconds;
use crate::tools::dockerrun::command::{Settings, Start};
use crate::tools::dockerrun::decide::{self, Progress};
use crate::tools::dockerrun::engine;

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Starts a container, prints its id, and waits until its service accepts connections.
pub fn start(start: &Start, settings: &Settings) -> Result<()> {
    let id = engine::run(&settings.docker_run(start))?;
    if !id.is_empty() {
        terminal::say(&id);
    }
    match settings.timeout {
        Seconds(0) => Ok(()),
        limit => await_service(&id, start.port, limit),
    }
}

fn await_service(id: &str, port: Port, limit: Seconds) -> Result<()> {
    let asked = Stopwatch::start();
    loop {
        let container = engine::container(id)?;
        let is_listened_on = !proc::listeners_on(port)?.is_empty();
        let elapsed = Seconds(i64::try_from(asked.elapsed().as_secs()).unwrap_or(i64::MAX));
        match decide::progress(container.as_ref(), port, is_listened_on, elapsed, limit) {
            Progress::Up => return Ok(()),
            Progress::NotYet => clock::pause(PAUSE),
            Progress::Failed { why, remedy } => {
                let wrote = container.map(|container| match engine::last_line(&container.id) {
                    Some(line) => format!(" (its last line: {})", shown(line.as_bytes())),
                    None => " (its log is empty)".to_owned(),
                });
                return Err(Error::failed(format!("{why}{}; {remedy}", wrote.unwrap_or_default())));
            }
        }
    }
}
