//! `dispatch`: replaces dispatch.sh and, with `--all`, dispatchserver.sh (contract section 3).
//!
//! Reads `datamining_plugin/MODEL/` (the upload), `datamining_service/MODEL/` and the member list; writes
//! `plugin/VERSION/`, `config_*/service.conf`, `status` and, as dot files, its lock and journal; removes `success` and
//! `status` when every member confirmed, or after 20 minutes, and old versions where that is asked for. Takes denials whose end
//! has come (`autoupdate-toggle disable --until`) out of rsyncd.conf. `--rollback` and `--pin` announce an older version again;
//! what they write down beside it holds the next ticks. `--status`, `--explain` and `--dry-run` only read. Exit codes: 0 done or nothing to do, 1 failed, 2 wrong
//! usage or bad input file, 75 another run holds the lock.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::locks::{Lock, Wait};
use crate::machine::trees::Survey;
use crate::machine::{clock, environment, files, terminal};
use crate::names::ModelName;
use crate::tools::edit::Mode;
use crate::tools::lift;

mod all;
mod apply;
mod ask;
mod batches;
mod cli;
mod decide;
mod dry_run;
mod fleet;
mod history;
mod jobs;
mod journal;
mod marks;
mod members;
mod models;
mod observe;
mod policy;
mod prune;
mod publish;
mod rollback;
mod status;
mod success;

use apply::Say;
use cli::{Cli, Extent, Manner, Request, Target};
use decide::steer::{self, Operator, Steer};
use decide::{Action, Plan, UpdateFacts, check, update};
use models::Models;
use observe::Site;

const PROGRAM: &str = "dispatch";

/// How long an operator's command waits for a tick to end, without --wait.
const OPERATOR_WAITS: Wait = Wait::AtMost(Duration::from_secs(10));

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
            let ticked = tick(&models, &target, manner, &mut apply::aloud).and(lifted);
            // dispatchserver.sh sends the output to its log, and cron throws standard error away.
            if let Err(error) = &ticked
                && terminal::output_is_a_log_of_its_own()
            {
                terminal::say(format!("{PROGRAM}: {error}"));
            }
            ticked
        }
        Request::Rollback(request) => rollback::run(&monitor, &request, manner),
        Request::Prune(model, extent) => prune::run(&monitor, model.as_ref(), extent, manner),
        Request::Unpin(model) => rollback::unpin(&monitor, &model, manner),
        Request::All(registry, Extent::Done) => {
            let lifted = lift::due_denials(Mode::Write);
            all::run(&monitor, registry, manner).and(lifted)
        }
        Request::Steer(model, verb, why) => steered(&monitor, &model, verb, why, manner),
    }
}

/// One model's tick: fUpdateVersion, then fCheckVersion, as dispatch.sh runs them. The second runs even if the first
/// failed; the first error is returned.
fn tick(models: &Models, target: &Target, manner: Manner, say: Say) -> Result<()> {
    if models.is_at_rest(&target.model)? {
        return Ok(());
    }
    let site = Site::new(models.monitor, &target.model);
    site.check_within()?;
    let _lock = Lock::take(&site.service.lock(), wait(manner))?;
    let dispatched = site.journal()?.map(|journal| journal.success);
    success::settle_removal(dispatched, &site)?;
    let updated = update_version(&site, target, manner, say);
    let checked = check_version(&site, target, manner, say);
    // Last, so that a deletion that does not succeed holds nothing up.
    let deleted = site.half_deleted().and_then(|versions| apply::finish_deletions(&versions, &site));
    updated.and(checked).and(deleted)
}

/// An operator's command: under the model's lock, for which it waits a little, since a tick may hold it.
fn steered(monitor: &Monitor, model: &ModelName, verb: Steer, why: String, manner: Manner) -> Result<()> {
    Models::open(monitor)?;
    let site = Site::new(monitor, model);
    check_registered(&site)?;
    site.check_within()?;
    let _lock = Lock::take(&site.service.lock(), manner.wait.or(OPERATOR_WAITS))?;
    let operator = Operator { by: environment::operator(), why };
    apply::by_command(steer::steer(&site.steering_facts()?, model, verb, &operator)?, &site)
}

fn wait(manner: Manner) -> Wait {
    manner.wait.or(Wait::No)
}

fn update_version(site: &Site, target: &Target, manner: Manner, say: Say) -> Result<()> {
    let mut facts = UpdateFacts { is_forced: manner.is_forced, ..UpdateFacts::at(clock::now()) };
    let observed = site.complete(&mut facts, target);
    // Also where something beside it could not be read: that may be why it is refused.
    history::remember_push(&facts, site);
    let updated = observed.and_then(|entries| {
        let plan = update::update(&facts, target)?;
        apply::apply(&plan, site, &entries, say).map(drop)
    });
    updated.inspect_err(|error| history::remember_refusal(&facts, error, site))
}

fn check_version(site: &Site, target: &Target, manner: Manner, say: Say) -> Result<()> {
    let facts = site.check_facts(manner.keep)?;
    history::remember_confirmed(&facts, site);
    let plan = check::check(&facts, target);
    match &plan.roll_back {
        None => apply::apply(&plan, site, &Survey::default(), say).map(drop),
        Some(why) => roll_back(why, &plan, site, say),
    }
}

/// Goes back, as `on_timeout=rollback` says; where that cannot be done, the upgrade is ended as ever. A failure in any case. It is
/// told before: a tick that finishes this one, should it die, does not know any more why it went back.
fn roll_back(why: &str, plan: &Plan, site: &Site, say: Say) -> Result<()> {
    let is_told = |action: &Action| matches!(action, Action::NoteLate(..) | Action::OnFailure(..));
    let (told, ends): (Vec<Action>, Vec<Action>) = plan.commit.iter().cloned().partition(is_told);
    apply::apply(&Plan { commit: told, ..Plan::default() }, site, &Survey::default(), say)?;
    let Err(problem) = rollback::because(why, site, say) else {
        return Err(rolled_back(why, site));
    };
    let ended = apply::apply(&Plan { commit: ends, ..Plan::default() }, site, &Survey::default(), say);
    ended.map(drop).map_err(|error| not_rolled_back(&error, &problem))
}

fn rolled_back(why: &str, site: &Site) -> Error {
    Error::failed(format!("{}: rolled back: {why}", site.model))
}

fn not_rolled_back(error: &Error, problem: &Error) -> Error {
    Error::with_exit(error.exit, format!("{error}; nor could it be rolled back: {problem}"))
}

fn check_registered(site: &Site) -> Result<()> {
    if files::is_directory(&site.service.dir) { Ok(()) } else { Err(not_registered(site)) }
}

fn not_registered(site: &Site) -> Error {
    let (model, dir) = (site.model, site.service.dir.display());
    Error::failed(format!("{model}: {dir} is not there; run add_dispatch_docker, or comment its stanza out"))
}
