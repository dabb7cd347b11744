//! `autoupdate-toggle disable|enable|status`: turns automatic updates off and on (contract section 3).
//!
//! `--method rsyncd`, on the monitor: reads and writes the `hosts deny` of one module in /etc/rsyncd.conf. The daemon reads
//! that file for every connection, so nothing is restarted. `--method crontab`, on a member: pauses and resumes the
//! poller's one job in root's crontab, or another one. `status` writes nothing. With `--until` or `--for` the end is written
//! into the file, too: a tick of `dispatch` carries it out, and on a member cron itself. After an edit the daemon is asked, as
//! each of the members whose address is this host's own, and an answer that is not the file's is a failure. With `--dry-run`
//! the edit is shown, and nobody is asked.
//!
//! `autoupdate-toggle daemon status|start|stop|restart`: the rsync daemon of a configuration. Reads its pid file and /proc,
//! speaks to its port, signals no process that is not known to be that daemon, and removes a stale pid file.
//!
//! Exit codes: 0 done or nothing to do (`daemon status`: it runs), 1 failed (`daemon status`: it does not), 2 wrong usage or
//! bad input file, 75 another run edits the file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::Result;
use crate::layout;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, terminal};
use crate::tools::edit::{self, Mode};

mod cli;
mod daemon;
mod decide;
mod end;
mod observe;

use cli::{Cli, DaemonRequest, DaemonVerb, Request, Task, Verb};
use decide::Observed;
use end::End;

const PROGRAM: &str = "autoupdate-toggle";

/// How long another run is waited for without --wait: an edit takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(2));

/// Runs `autoupdate-toggle` with the process's arguments.
pub fn main() -> ExitCode {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (task, wait) = cli.request()?;
    let wait = wait.or(LOCK_WAIT);
    match task {
        Task::Updates(verb, end, request, mode) => updates(verb, end, &request, wait, mode),
        Task::Daemon(verb, request) => {
            let _lock = match verb {
                DaemonVerb::Status => None,
                DaemonVerb::Start | DaemonVerb::Stop | DaemonVerb::Restart => {
                    Some(lock(&request.config, wait)?)
                }
            };
            daemon::run(verb, &request)
        }
    }
}

fn updates(verb: Verb, end: Option<End>, request: &Request, wait: Wait, mode: Mode) -> Result<()> {
    let file = &match request {
        Request::Rsyncd { config, .. } => config.clone(),
        Request::Crontab(whose) => observe::crontab(whose)?,
    };
    let until = end.map(|end| end.resolve(&clock::now(), clock::at_wall_clock)).transpose()?;
    let _lock = match (verb, mode) {
        (Verb::Status, _) | (_, Mode::Show) => None,
        (Verb::Disable | Verb::Enable, Mode::Write) => Some(lock(file, wait)?),
    };
    let mut observed = Observed { file, source: files::read(file, CONFIGURATION_LIMIT)?, now: clock::now() };
    edit::apply(&decide::decide(&observed, verb, until, request)?, file, mode)?;
    if mode == Mode::Show {
        return Ok(());
    }
    if let (Verb::Disable | Verb::Enable, Request::Rsyncd { config, module, ranges, port }) = (verb, request)
    {
        let asked = DaemonRequest { config: config.clone(), pid_file: None, port: *port };
        let seen = observe::seen(&observe::settings(&asked)?, module, ranges)?;
        observed.source = files::read(file, CONFIGURATION_LIMIT)?;
        for line in decide::effect(&observed, verb, module, ranges, &seen)? {
            terminal::say(line);
        }
    }
    Ok(())
}

/// Takes the file's lock; no lock is left beside a file that is not there.
fn lock(file: &Path, wait: Wait) -> Result<Lock> {
    files::read(file, CONFIGURATION_LIMIT)?;
    Lock::take(&layout::lock_of(file), wait)
}
