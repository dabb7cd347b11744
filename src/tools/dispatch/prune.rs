//! `dispatch --prune`: deletes the old versions now that a tick deletes when a rollout has ended.

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::{configurations, terminal, versions};
use crate::names::ModelName;
use crate::retention::{Keep, would_be_deleted};
use crate::rollout::retention::Verdict;
use crate::rollout::state::Worth;
use crate::rollout::tick;
use crate::tools::dispatch::cli::{Extent, Manner};
use crate::tools::dispatch::models::Models;
use crate::tools::dispatch::preview::Preview;
use crate::tools::dispatch::settle_removal;
use crate::tools::shared::places::Places;
use crate::tools::shared::publish;
use crate::tools::shared::site::{Site, aloud};

/// Prunes one model, or every model whose member list says how many versions are kept. Of several, each failure is reported, the
/// others go on, and the gravest is the run's.
pub fn run(monitor: &Monitor, model: Option<&ModelName>, extent: Extent, manner: Manner) -> Result<()> {
    Models::open(monitor)?;
    if let Some(model) = model {
        let pruned = prune(&Places::known(monitor, model)?, extent, manner)?;
        return if pruned { Ok(()) } else { Err(no_limit(model)) };
    }
    let mut problems = Vec::new();
    for model in configurations::models(monitor)? {
        let pruned = Places::known(monitor, &model).and_then(|places| prune(&places, extent, manner));
        if let Err(error) = pruned {
            terminal::complain(super::PROGRAM, &error);
            problems.push(error.exit);
        }
    }
    let Some(exit) = problems.iter().max() else { return Ok(()) };
    let count = match problems.len() {
        1 => "1 model was left as it is".to_owned(),
        count => format!("{count} models were left as they are"),
    };
    Err(Error::with_exit(*exit, format!("{count}, see above")))
}

fn no_limit(model: &ModelName) -> Error {
    Error::usage(format!(
        "{model}: how many versions are to be kept is not known; add --keep N, or keep=N to scripts/dispatch/conf/{model}.env.sh"
    ))
}

/// Returns whether it was known how many versions are kept.
fn prune(places: &Places, extent: Extent, manner: Manner) -> Result<bool> {
    let Some(keep) = keep(places, manner)? else { return Ok(false) };
    let model = places.model;
    if places.status()?.is_some_and(|(status, _)| status.version.is_none()) {
        return Err(Error::failed(format!(
            "{model}: an upgrade is in flight, and its status does not say of which version; prune when it has ended"
        )));
    }
    let mut say = aloud;
    let mut site = Site::new(places.clone(), &mut say);
    if let Extent::Done = extent {
        settle_removal(places)?;
        tick::prune(&mut site, model, keep)?;
        // What an earlier run took out of sight, and did not delete.
        publish::finish_deletions(&places.half_deleted()?, places)?;
        return Ok(true);
    }
    let goes = match tick::would_prune(&mut Preview::new(site), model, keep)? {
        Verdict::Go(versions) => versions,
        Verdict::NoneIsTrusted => Vec::new(),
    };
    let state = places.state()?;
    let dir = places.service.versions();
    for version in &goes {
        let bytes = versions::bytes(&dir, std::slice::from_ref(version))?;
        let worth = state.as_ref().and_then(|state| state.worth(version));
        let bad = if worth == Some(Worth::Bad) { ", marked bad" } else { "" };
        terminal::say(format!("{model}: would delete {version}, {bytes} bytes{bad}"));
    }
    let bytes = versions::bytes(&dir, &goes)?;
    terminal::say(format!("{model}: {}", would_be_deleted(&goes, bytes)));
    Ok(true)
}

fn keep(places: &Places, manner: Manner) -> Result<Option<Keep>> {
    if manner.keep.is_some() {
        return Ok(manner.keep);
    }
    Ok(places.list()?.and_then(|fleet| fleet.keep))
}
