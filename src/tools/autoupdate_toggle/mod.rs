//! `autoupdate-toggle disable|enable|status`: turns automatic updates off and on (contract section 3).
//!
//! `--method rsyncd`, on the monitor: reads and writes the `hosts deny` of one module in /etc/rsyncd.conf. The daemon reads
//! that file for every connection, so nothing is restarted. `--method crontab`, on a member: pauses and resumes the
//! poller's one job in /var/spool/cron/root. `status` writes nothing. Exit codes: 0 done or nothing to do, 1 failed, 2
//! wrong usage or bad input file, 75 another run edits the file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::Result;
use crate::layout;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, terminal};

mod cli;
mod decide;

use cli::{Cli, Request, Verb};
use decide::{Action, Observed};

const PROGRAM: &str = "autoupdate-toggle";

/// An edit takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(2));

/// Runs `autoupdate-toggle` with the process's arguments.
pub fn main() -> ExitCode {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (verb, request) = cli.request()?;
    let file = match &request {
        Request::Rsyncd { config, .. } => config,
        Request::Crontab { file } => file,
    };
    let _lock = match verb {
        Verb::Status => None,
        Verb::Disable | Verb::Enable => Some(lock(file)?),
    };
    let observed = Observed { file, source: files::read(file, CONFIGURATION_LIMIT)?, now: clock::now() };
    for action in decide::decide(&observed, verb, &request)? {
        log::debug!("{action:?}");
        apply(&action, file)?;
    }
    Ok(())
}

/// Takes the file's lock; no lock is left beside a file that is not there.
fn lock(file: &Path) -> Result<Lock> {
    files::read(file, CONFIGURATION_LIMIT)?;
    Lock::take(&layout::lock_of(file), LOCK_WAIT)
}

fn apply(action: &Action, file: &Path) -> Result<()> {
    match action {
        Action::Replace(bytes) => files::replace_atomically(file, bytes),
        Action::Say(line) => {
            terminal::say(line);
            Ok(())
        }
    }
}
