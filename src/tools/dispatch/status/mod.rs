//! `--status` and `--explain`: what every member really does about the announced version. Takes no model's lock and writes nothing
//! but the file of `--metrics`, so anyone who can read the monitor's tree may look.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::clock::{self, Deadline};
use crate::machine::terminal;
use crate::names::{Address, ModelName};
use crate::tools::dispatch::cli::{Shape, StatusRequest, Watch};
use crate::tools::shared::members::Denials;

pub mod decide;
mod metrics;
mod observe;
mod view;

use decide as status;
use decide::ModelStatus;

/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// `--status`. Fails (exit 1) unless everything that must have converged did.
pub fn run(monitor: &Monitor, request: &StatusRequest) -> Result<()> {
    if let Some(file) = &request.metrics {
        return measure(monitor, request, file);
    }
    let deadline = match request.watch {
        Watch::Once => return conclude(&look(monitor, request, None)?),
        Watch::UntilConverged(limit) => limit.map(|limit| Deadline::after(limit.duration())),
    };
    let mut shown = None;
    loop {
        let models = look(monitor, request, shown.take())?;
        let concluded = conclude(&models);
        let left = deadline.map(Deadline::left);
        if concluded.is_ok() || matches!(left, Some(Err(_))) {
            return concluded;
        }
        let left = left.and_then(std::result::Result::ok).unwrap_or(INTERVAL);
        clock::pause(INTERVAL.min(left));
        shown = Some(models);
    }
}

/// `--metrics`: writes what is known, also that nothing can be said of a model: then an alert names it, instead of a series that is
/// missed by nobody.
fn measure(monitor: &Monitor, request: &StatusRequest, file: &Path) -> Result<()> {
    let (models, concluded) = match (statuses(monitor, request), &request.model) {
        (Ok(models), _) => {
            let concluded = conclude(&models);
            (models, concluded)
        }
        (Err(error), Some(model)) => (vec![status::unknown(model, &error.to_string())], Err(error)),
        (Err(error), None) => return Err(error),
    };
    metrics::write(file, &models, clock::unix_now())?;
    concluded
}

/// Observes and shows, unless the same was shown before and nobody needs it redrawn.
fn look(
    monitor: &Monitor,
    request: &StatusRequest,
    shown: Option<Vec<ModelStatus>>,
) -> Result<Vec<ModelStatus>> {
    let models = statuses(monitor, request)?;
    let is_redrawn = request.watch != Watch::Once && request.shape == Shape::Table && terminal::is_terminal();
    let ageless = |models: &[ModelStatus]| models.iter().map(ModelStatus::without_ages).collect::<Vec<_>>();
    let is_new = shown.is_none_or(|shown| ageless(&shown) != ageless(&models));
    if is_redrawn || is_new {
        let text = match request.shape {
            Shape::Json => view::json(&models)?,
            Shape::Table if request.model.is_some() => view::table(&models, terminal::has_colour()),
            Shape::Table => view::overview(&models, terminal::has_colour()),
        };
        if is_redrawn {
            terminal::redraw(text);
        } else {
            terminal::say(text);
        }
    }
    Ok(models)
}

fn statuses(monitor: &Monitor, request: &StatusRequest) -> Result<Vec<ModelStatus>> {
    let denials = Denials::read();
    if let Some(model) = &request.model {
        return Ok(vec![status::status(&observe::model(monitor, model, &denials)?)]);
    }
    let models = observe::models_with_lists(monitor)?;
    if models.is_empty() {
        let dir = monitor.member_lists();
        return Err(Error::failed(format!(
            "no model has a member list; write {}/MODEL.env.sh with members and moduleport",
            dir.display()
        )));
    }
    // One list that cannot be read must not hide the other models.
    let status = |model: &ModelName| match observe::model(monitor, model, &denials) {
        Ok(facts) => status::status(&facts),
        Err(error) => status::unknown(model, &error.to_string()),
    };
    Ok(models.iter().map(status).collect())
}

fn conclude(models: &[ModelStatus]) -> Result<()> {
    let late: Vec<String> = models.iter().filter_map(ModelStatus::not_converged).collect();
    match &late[..] {
        [] => Ok(()),
        [one] => Err(Error::failed(one)),
        several => Err(Error::failed(format!("{} models: {}", several.len(), several.join("; ")))),
    }
}

/// `--explain`. Fails (exit 1) unless the member is current, and (exit 2) where it is no member.
pub fn explain(monitor: &Monitor, model: &ModelName, member: &Address) -> Result<()> {
    let facts = observe::model(monitor, model, &Denials::read())?;
    if facts.announced.is_none() {
        return conclude(&[status::status(&facts)]);
    }
    let Some((verdict, lines)) = status::explain(&facts, member) else {
        return Err(Error::usage(format!(
            "{member} is no member of {model}; {} lists {} others",
            facts.list,
            facts.members.len()
        )));
    };
    lines.iter().for_each(terminal::say);
    match verdict {
        status::CURRENT => Ok(()),
        verdict => Err(Error::failed(format!("{model}: {member} is not current: {verdict}"))),
    }
}
