//! `dispatch ... --dry-run`: a tick on a model on which nothing is changed. Takes no lock, not even
//! for an instant, writes no file, runs no hook. An upload that has a manifest is read, as a tick
//! reads it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result};
use crate::formats::Source;
use crate::formats::dispatchserver_sh::{Step, Steps};
use crate::formats::shell::Context;
use crate::layout::{self, Monitor};
use crate::machine::{clock, environment, files, locks, terminal};
use crate::rollout::state::{Announced, Fate, Push, State};
use crate::rollout::tick::{self, Target};
use crate::time::Seconds;
use crate::tools::dispatch::PROGRAM;
use crate::tools::dispatch::all::{REGISTRY_LIMIT, see_above};
use crate::tools::dispatch::amounts;
use crate::tools::dispatch::cli::Manner;
use crate::tools::dispatch::models::Models;
use crate::tools::dispatch::preview::Preview;
use crate::tools::dispatch::status::decide::duration;
use crate::tools::edit::Mode;
use crate::tools::lift;
use crate::tools::shared::places::Places;
use crate::tools::shared::site::{Site, aloud};
use crate::tools::shared::success;
use crate::version::Version;

/// What a tick finds of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing to do.
    AtRest,
    /// Something, if only an upgrade that goes on.
    Work,
}

/// One model's tick. Fails as the tick would fail, with its words and its exit code.
pub fn one(monitor: &Monitor, target: &Target, manner: Manner) -> Result<()> {
    let models = Models::open(monitor)?;
    let lifted = lift::due_denials(Mode::Show);
    let found = tick(&models, target, manner);
    if matches!(found, Ok(Found::AtRest)) {
        terminal::say(amounts::nothing(&target.model));
    }
    found.map(drop).and(lifted)
}

/// That of every stanza; of a model at rest nothing is said. Each failure is reported, the others go on, and the gravest is the
/// run's.
pub fn all(monitor: &Monitor, registry: Option<PathBuf>, manner: Manner) -> Result<()> {
    let models = Models::open(monitor)?;
    let lifted = lift::due_denials(Mode::Show);
    let path = registry.unwrap_or_else(|| monitor.registry());
    let source = files::read(&path, REGISTRY_LIMIT)?;
    locks::check_free(&layout::tick_lock_of(&path))?;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let (mut at_rest, mut work, mut problems) = (0, 0, Vec::new());
    for step in Steps::new(&Source::new(&source), &context) {
        match of_step(step, &path, &models, manner) {
            None => {}
            Some(Ok(Found::AtRest)) => at_rest += 1,
            Some(Ok(Found::Work)) => work += 1,
            Some(Err(error)) => {
                terminal::complain(PROGRAM, &error);
                problems.push(error.exit);
            }
        }
    }
    let failing = problems.len();
    terminal::say(format!("{work} with something to do, {failing} that would fail, {at_rest} at rest"));
    let failed = problems.into_iter().max().map(|exit| Error::with_exit(exit, see_above(failing)));
    failed.map_or(Ok(()), Err).and(lifted)
}

/// What a line of the registry comes to; `None` of one that dispatches nothing.
fn of_step(step: Step, registry: &Path, models: &Models, manner: Manner) -> Option<Result<Found>> {
    match step {
        Step::Log { .. } => None,
        // Those that follow from one that cannot be read are as many as the registry has.
        Step::Unreadable(refusal) if refusal.follows => None,
        Step::Unreadable(refusal) => Some(Err(refusal.in_file(registry))),
        Step::Dispatch { line, model, prefix, so_name, .. } => {
            let place = |error: Error| error.context(format!("{}:{line}", registry.display()));
            let target = Target::parse(&model, &prefix, &so_name).map_err(place);
            Some(target.and_then(|target| beside_others(tick(models, &target, manner), manner)))
        }
    }
}

/// With `--jobs` a tick leaves a model alone that the tick before is still at work on.
fn beside_others(found: Result<Found>, manner: Manner) -> Result<Found> {
    match found {
        Err(error) if error.exit == Exit::Locked && manner.jobs > 1 => {
            terminal::say(error);
            Ok(Found::Work)
        }
        found => found,
    }
}

fn tick(models: &Models, target: &Target, manner: Manner) -> Result<Found> {
    if models.is_at_rest(&target.model)? {
        return Ok(Found::AtRest);
    }
    let places = Places::new(models.monitor, &target.model);
    places.check_within()?;
    locks::check_free(&models.monitor.tick_lock(&target.model))?;
    if let Some(aside) = success::to_be_put_back(places.settled_push()?.as_deref(), &places.upload)? {
        terminal::say(crate::error::one_line(&amounts::put_back(&target.model, &aside)));
        return Ok(Found::Work);
    }
    let mut say = aloud;
    let mut run = Preview::new(Site::new(places.clone(), &mut say));
    if let Some(line) = waits_for_rollout(&places)? {
        run.show(&line);
    }
    let ticked = tick::tick(&mut run, target, manner.of_tick());
    for version in &places.half_deleted()? {
        run.show(&format!("{}: would finish the deletion of {version}", target.model));
    }
    ticked?;
    if !run.has_said {
        run.show(&goes_on(&places)?);
    }
    Ok(Found::Work)
}

/// What is said of a push that waits for the end of a rollout.
fn waits_for_rollout(places: &Places) -> Result<Option<String>> {
    let state = places.state()?;
    let announced = state.as_ref().and_then(|state| state.announced.as_ref());
    let Some(rollout) = announced.filter(|announced| announced.phase.is_in_flight()) else { return Ok(None) };
    let (model, version) = (places.model, rollout.version());
    let pushed = waits(places, state.as_ref(), Some(version))?;
    Ok(pushed.map(|pushed| format!("{model}: {pushed} waits until the upgrade to {version} has ended")))
}

/// What is said where a tick does nothing: of a push that waits, of a rollout that goes on, or that
/// there is nothing to do.
fn goes_on(places: &Places) -> Result<String> {
    let model = places.model;
    let state = places.state()?;
    let rollout = state
        .as_ref()
        .and_then(|state| state.announced.as_ref().filter(|announced| announced.phase.is_in_flight()));
    let begun = places.status()?;
    if rollout.is_none() && begun.is_none() {
        return Ok(amounts::nothing(model));
    }
    let version = rollout.map(Announced::version).cloned();
    let version = version.or_else(|| begun.as_ref().and_then(|(status, _)| status.version.clone()));
    let upgrade = version
        .as_ref()
        .map_or_else(|| "the upgrade in flight".to_owned(), |version| format!("the upgrade to {version}"));
    if let Some(pushed) = waits(places, state.as_ref(), version.as_ref())? {
        return Ok(format!("{model}: {pushed} waits until {upgrade} has ended"));
    }
    let age = begun.map_or(0, |(_, age)| age.0);
    let age = rollout.map_or(age, |announced| clock::unix_now().0 - announced.started_s);
    Ok(format!("{model}: {upgrade} goes on, begun {} ago", duration(Seconds(age))))
}

/// A push that is not the one that is rolled out.
fn waits(places: &Places, state: Option<&State>, version: Option<&Version>) -> Result<Option<String>> {
    let Some(success) = places.success()? else { return Ok(None) };
    let became = |push: &&Push| matches!(&push.fate, Fate::Became(became) if Some(became) == version);
    let is_known = |push: &Push| push.content.0 == success.content;
    let is_it = state.and_then(|state| state.push.as_ref()).filter(became).is_some_and(is_known);
    if is_it || success.announces.is_some() && success.announces.as_ref() == version {
        return Ok(None);
    }
    Ok(Some(success.announces.map_or_else(|| "what was pushed".to_owned(), |version| version.to_string())))
}
