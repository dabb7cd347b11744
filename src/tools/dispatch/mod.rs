//! `dispatch`: replaces dispatch.sh and, with `--all`, dispatchserver.sh (contract section 3).
//!
//! Reads `datamining_plugin/MODEL/` (the upload), `datamining_service/MODEL/` and the member list; writes
//! `plugin/VERSION/`, `config_*/service.conf`, `status` and, as dot files, its lock and journal; removes `success` and
//! `status` when every member confirmed, or after 20 minutes, and old versions where that is asked for. Takes denials whose end
//! has come (`autoupdate-toggle disable --until`) out of rsyncd.conf. Exit codes: 0 done or nothing to do, 1 failed, 2 wrong
//! usage or bad input file, 75 another run holds the lock.

use std::process::ExitCode;

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{environment, files, terminal};
use crate::tools::lift;

mod all;
mod apply;
mod ask;
mod batches;
mod cli;
mod decide;
mod fleet;
mod journal;
mod observe;
mod publish;
mod success;

use apply::Say;
use cli::{Cli, Manner, Request, Target};
use decide::{check, update};
use observe::Site;

const PROGRAM: &str = "dispatch";

/// Runs `dispatch` with the process's arguments.
pub fn main() -> ExitCode {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (request, manner) = cli.request()?;
    let monitor = Monitor { root: environment::monitor_root()? };
    match request {
        Request::One(target) => {
            check_mounted(&monitor)?;
            let lifted = lift::due_denials();
            let ticked = tick(&monitor, &target, manner, &mut |line| {
                terminal::say(line);
                Ok(())
            });
            let ticked = ticked.and(lifted);
            // dispatchserver.sh sends the output to its log, and cron throws standard error away.
            if let Err(error) = &ticked
                && terminal::output_is_a_log_of_its_own()
            {
                terminal::say(format!("{PROGRAM}: {error}"));
            }
            ticked
        }
        Request::All(registry) => {
            let lifted = lift::due_denials();
            all::run(&monitor, registry, manner).and(lifted)
        }
    }
}

/// A tree that is not mounted must not look like "no models" (defect 24).
fn check_mounted(monitor: &Monitor) -> Result<()> {
    for dir in [monitor.uploads(), monitor.services()] {
        if !files::is_directory(&dir) {
            let dir = dir.display();
            return Err(Error::failed(format!(
                "{dir} is not a directory; mount it, or correct MONITOR_ROOT"
            )));
        }
    }
    Ok(())
}

/// One model's tick: fUpdateVersion, then fCheckVersion, as dispatch.sh runs them. The second runs even if the first
/// failed; the first error is returned.
fn tick(monitor: &Monitor, target: &Target, manner: Manner, say: Say) -> Result<()> {
    let site = Site::new(monitor, target);
    if !site.has_work()? {
        return check_registered(&site, target);
    }
    site.check_within()?;
    let _lock = Lock::take(&site.service.lock(), wait(manner))?;
    let dispatched = site.journal()?.map(|journal| journal.success);
    success::settle_removal(dispatched, &site)?;
    let updated = update_version(&site, target, say);
    let checked = check_version(&site, target, manner, say);
    // Last, so that a deletion that does not succeed holds nothing up.
    let deleted = site.half_deleted().and_then(|versions| apply::finish_deletions(&versions, &site));
    updated.and(checked).and(deleted)
}

fn wait(manner: Manner) -> Wait {
    manner.wait.or(Wait::No)
}

fn update_version(site: &Site, target: &Target, say: Say) -> Result<()> {
    let (facts, entries) = site.update_facts(target)?;
    let plan = update::update(&facts, target)?;
    apply::apply(&plan, site, &entries, say)
}

fn check_version(site: &Site, target: &Target, manner: Manner, say: Say) -> Result<()> {
    let plan = check::check(&site.check_facts(manner.keep)?, target);
    apply::apply(&plan, site, &[], say)
}

fn check_registered(site: &Site, target: &Target) -> Result<()> {
    if files::is_directory(&site.service.dir) {
        return Ok(());
    }
    let (model, dir) = (&target.model, site.service.dir.display());
    Err(Error::failed(format!(
        "{model}: {dir} is not there; run add_dispatch_docker, or comment its stanza out"
    )))
}
