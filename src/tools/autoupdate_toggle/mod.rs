//! `autoupdate-toggle disable|enable|status`: turns automatic updates off and on (contract section 3).
//!
//! `--method rsyncd`, on the monitor: reads and writes the `hosts deny` of one module in
//! /etc/rsyncd.conf, or in the file which that includes and where the module stands, under the
//! locks of both. The daemon reads them for every connection, so nothing is restarted.
//! `--method hold`, there: edits `datamining_service/MODEL/.rollout/held` under a lock in
//! `scripts/dispatch/lock`, and announces at once who is held, which pollers go by; the model's
//! history tells it. Members that never left a `version/.state-ADDRESS` may have a legacy poller,
//! and are denied in /etc/rsyncd.conf, too; the member list says who is a member, and in which
//! group. `--method crontab`, on a member: pauses and resumes the poller's one job in root's
//! crontab, or another one. `status` writes nothing. With `--until` or `--for` the end is written
//! into the file, too: a tick of `dispatch` carries it out, and on a member cron itself. After an
//! edit the daemon is asked, as each of the members whose address is this host's own, and an answer
//! that is not the file's is a failure. With `--dry-run` the edit is shown, and nobody is asked.
//!
//! `autoupdate-toggle daemon status|start|stop|restart`: the rsync daemon of a configuration. Reads its pid file and /proc,
//! speaks to its port, signals no process that is not known to be that daemon, and removes a stale pid file.
//!
//! Exit codes: 0 done or nothing to do (`daemon status`: it runs), 1 failed (`daemon status`: it does not), 2 wrong usage or
//! bad input file, 75 another run edits the file.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::layout;
use crate::machine::clock;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::tools::edit::{self, Mode};

mod cli;
mod daemon;
mod decide;
mod end;
mod hold;
mod observe;
mod rsyncd;

use cli::{Cli, DaemonVerb, HoldRequest, Request, Task, Verb, Whose};
use decide::Observed;
use end::End;

const PROGRAM: &str = "autoupdate-toggle";

/// How long another run is waited for without --wait: an edit takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(2));

/// Runs `autoupdate-toggle` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
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
    let until = end.map(|end| end.resolve(&clock::now(), clock::at_wall_clock)).transpose()?;
    let wait = (verb != Verb::Status && mode == Mode::Write).then_some(wait);
    match request {
        Request::Crontab(whose) => by_crontab(verb, until, whose, wait, mode),
        Request::Hold(HoldRequest::Status(model)) => hold::status(model.as_ref()),
        Request::Hold(HoldRequest::Edit(edit)) => hold::edit(edit, until, wait, mode),
        Request::Rsyncd(denials, whom) => {
            let ranges = observe::ranges(whom)?;
            // Nobody else is to change what the daemon is asked about.
            let _locks = rsyncd::edit(denials, verb, &ranges, until, wait, mode)?;
            if wait.is_some() { rsyncd::tell_effect(denials, verb, &ranges) } else { Ok(()) }
        }
    }
}

/// Without `wait`, as everywhere in this tool, nothing is written, and no lock is taken.
fn by_crontab(
    verb: Verb,
    until: Option<DateTime<FixedOffset>>,
    whose: &Whose,
    wait: Option<Wait>,
    mode: Mode,
) -> Result<()> {
    let file = &observe::crontab(whose)?;
    let _lock = wait.map(|wait| lock(file, wait)).transpose()?;
    let observed = Observed { file, source: files::read(file, CONFIGURATION_LIMIT)?, now: clock::now() };
    edit::apply(&decide::by_crontab(&observed, verb, until)?, file, mode)
}

/// Takes the file's lock; no lock is left beside a file that is not there.
fn lock(file: &Path, wait: Wait) -> Result<Lock> {
    files::read(file, CONFIGURATION_LIMIT)?;
    Lock::take(&layout::lock_of(file), wait)
}
