//! `dispatch`: replaces dispatch.sh and, with `--all`, dispatchserver.sh (contract section 3).
//!
//! Reads `datamining_plugin/MODEL/` (the upload), `datamining_service/MODEL/` and the member list;
//! writes `plugin/VERSION/`, `config_*/service.conf`, `status` and, below `.rollout/`, its state
//! and what it announces; removes `success` and `status` when a rollout has ended, and old versions
//! where that is asked for. Takes denials whose end has come (`autoupdate-toggle disable --until`)
//! out of rsyncd.conf. `--status`, `--explain` and `--dry-run` only read. What happens to a model
//! is decided in [`rollout`](crate::rollout). Exit codes: 0 done or nothing to do, 1 failed, 2
//! wrong usage or bad input file, 75 another tick is at work on it.

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{environment, files, terminal};
use crate::names::ModelName;
use crate::rollout::tick::{self, Target};
use crate::tools::edit::Mode;
use crate::tools::lift;
use crate::tools::shared::places::Places;
use crate::tools::shared::site::{Say, Site, aloud};
use crate::tools::shared::{publish, success};

mod all;
mod amounts;
mod cli;
mod dry_run;
mod history;
mod jobs;
mod models;
mod preview;
mod prune;
mod status;

use cli::{Cli, Extent, Manner, Request};
use models::Models;

const PROGRAM: &str = "dispatch";

/// Runs `dispatch` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (request, manner) = cli.request()?;
    let monitor = Monitor { root: environment::monitor_root()? };
    match request {
        Request::Status(request) => {
            Models::open(&monitor)?;
            status::run(&monitor, &request)
        }
        Request::History(model, shape) => history::show(&monitor, &model, shape),
        Request::Explain(model, member) => {
            Models::open(&monitor)?;
            status::explain(&monitor, &model, &member)
        }
        Request::One(target, Extent::Said) => dry_run::one(&monitor, &target, manner),
        Request::All(registry, Extent::Said) => dry_run::all(&monitor, registry, manner),
        Request::One(target, Extent::Done) => {
            let models = Models::open(&monitor)?;
            let lifted = lift::due_denials(Mode::Write);
            let ticked = tick(&models, &target, manner, &mut aloud).and(lifted);
            // dispatchserver.sh sends the output to its log, and cron throws standard error away.
            if let Err(error) = &ticked
                && terminal::output_is_a_log_of_its_own()
            {
                terminal::say(format!("{PROGRAM}: {error}"));
            }
            ticked
        }
        Request::All(registry, Extent::Done) => {
            let lifted = lift::due_denials(Mode::Write);
            all::run(&monitor, registry, manner).and(lifted)
        }
        Request::Prune(model, extent) => prune::run(&monitor, model.as_ref(), extent, manner),
        Request::Rollback(model, request) => {
            tick::roll_back(&mut site(&monitor, &model, &mut aloud)?, &model, &request)
        }
        Request::Unpin(model, reason) => {
            tick::unpin(&mut site(&monitor, &model, &mut aloud)?, &model, &reason)
        }
        Request::Steer(model, verb, reason) => {
            tick::steer(&mut site(&monitor, &model, &mut aloud)?, &model, verb, &reason)
        }
        Request::Mark(model, version, worth, reason) => {
            tick::mark(&mut site(&monitor, &model, &mut aloud)?, &model, &version, worth, &reason)
        }
        Request::Adopt(model, reason) => {
            tick::adopt(&mut site(&monitor, &model, &mut aloud)?, &model, &reason)
        }
        Request::Rebuild(model) => tick::rebuild(&mut site(&monitor, &model, &mut aloud)?, &model),
    }
}

/// A model, for an operator's command.
fn site<'a>(monitor: &'a Monitor, model: &'a ModelName, say: Say<'a>) -> Result<Site<'a>> {
    Models::open(monitor)?;
    let places = Places::known(monitor, model)?;
    settle_removal(&places)?;
    Ok(Site::new(places, say))
}

/// One model's tick: fUpdateVersion, then fCheckVersion, as dispatch.sh runs them.
fn tick(models: &Models, target: &Target, manner: Manner, say: Say) -> Result<()> {
    if models.is_at_rest(&target.model)? {
        return Ok(());
    }
    let places = Places::new(models.monitor, &target.model);
    places.check_within()?;
    files::create_private_directory(&models.monitor.locks())?;
    let _lock = Lock::take(&models.monitor.tick_lock(&target.model), wait(manner))?;
    settle_removal(&places)?;
    let mut site = Site::new(places.clone(), say);
    let ticked = tick::tick(&mut site, target, manner.of_tick());
    // Last, so that a deletion that does not succeed holds nothing up.
    let deleted = places.half_deleted().and_then(|versions| publish::finish_deletions(&versions, &places));
    ticked.and(deleted)
}

/// Finishes the removal of a `success` over which a run died. A state that cannot be read leaves it
/// where it is.
fn settle_removal(places: &Places) -> Result<()> {
    if files::facts(&places.upload.success_being_removed())?.is_none() {
        return Ok(());
    }
    success::settle_removal(places.settled_push()?.as_deref(), &places.upload)
}

fn wait(manner: Manner) -> Wait {
    manner.wait.or(Wait::No)
}

fn not_registered(places: &Places) -> Error {
    let (model, dir) = (places.model, places.service.dir.display());
    Error::failed(format!("{model}: {dir} is not there; run add_dispatch_docker, or comment its stanza out"))
}
