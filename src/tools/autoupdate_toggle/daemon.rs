//! `autoupdate-toggle daemon status|start|stop|restart`: observe, decide, apply, and see that it came about.

use std::time::Duration;

use crate::daemon_answer::Greeting;
use crate::error::{Error, Result};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, net, proc, processes, terminal};
use crate::tools::autoupdate_toggle::cli::{DaemonRequest, DaemonVerb};
use crate::tools::autoupdate_toggle::decide::daemon::Step;
use crate::tools::autoupdate_toggle::decide::daemon::settings::Settings;
use crate::tools::autoupdate_toggle::observe;

/// How long a daemon may take to end, and to answer after its start.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at a process or port.
const PAUSE: Duration = Duration::from_millis(50);

/// Does what is asked for.
pub fn run(verb: DaemonVerb, request: &DaemonRequest) -> Result<()> {
    let settings = observe::settings(request)?;
    if matches!(verb, DaemonVerb::Stop | DaemonVerb::Restart) {
        apply(&observe::facts(&settings)?.stop()?, &settings)?;
    }
    if matches!(verb, DaemonVerb::Start | DaemonVerb::Restart) {
        apply(&observe::facts(&settings)?.start()?, &settings)?;
    }
    if verb == DaemonVerb::Status {
        apply(&observe::facts(&settings)?.status()?, &settings)?;
    }
    Ok(())
}

fn apply(steps: &[Step], settings: &Settings) -> Result<()> {
    for step in steps {
        log::debug!("{step:?}");
        match step {
            Step::Terminate(id) => proc::terminate(*id)?,
            Step::AwaitEnd(id, at) => {
                await_or(|| match proc::is_running(*id) {
                    true => Err(Error::failed(format!(
                        "pid {} was asked to end and still runs after {} s; see its log; nothing else was done",
                        id.pid,
                        LIMIT.as_secs()
                    ))),
                    false => Ok(()),
                })?;
                await_or(|| match net::greeting(*at, LIMIT) {
                    Greeting::Nothing(_) => Ok(()),
                    _ => Err(Error::failed(format!(
                        "pid {} has ended, but port {} is open; something started another program there",
                        id.pid,
                        at.port()
                    ))),
                })?;
            }
            Step::RemovePidFile(path, bytes) => {
                let unchanged = files::read_if_exists(path, CONFIGURATION_LIMIT)?.as_ref() == Some(bytes);
                if unchanged && proc::lock_holder(path)?.is_none() {
                    files::remove_if_exists(path)?;
                }
            }
            Step::Start(arguments) => {
                processes::run_to_background("rsync", arguments, LIMIT)?;
                terminal::say(await_or(|| observe::facts(settings)?.started())?);
            }
            Step::Say(line) => terminal::say(line),
        }
    }
    Ok(())
}

/// Looks until it succeeds, or the time is up: then its last error counts.
fn await_or<T>(look: impl Fn() -> Result<T>) -> Result<T> {
    let begun = clock::Stopwatch::start();
    loop {
        match look() {
            Err(_) if begun.elapsed() < LIMIT => clock::pause(PAUSE),
            result => return result,
        }
    }
}
