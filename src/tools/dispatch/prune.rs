//! `dispatch --prune`: deletes the old versions now that a tick deletes when an upgrade has ended.

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::locks::Lock;
use crate::machine::{configurations, terminal, versions};
use crate::names::ModelName;
use crate::retention::{Keep, would_be_deleted};
use crate::tools::dispatch::cli::{Extent, Manner};
use crate::tools::dispatch::decide::{Action, MemberList, retention};
use crate::tools::dispatch::models::Models;
use crate::tools::dispatch::observe::Site;
use crate::tools::dispatch::{apply, rollback};

/// Prunes one model, or every model whose member list says how many versions are kept. Of several, each failure is reported, the
/// others go on, and the gravest is the run's.
pub fn run(monitor: &Monitor, model: Option<&ModelName>, extent: Extent, manner: Manner) -> Result<()> {
    if let Some(model) = model {
        let pruned = prune(&rollback::known(monitor, model)?, extent, manner)?;
        return if pruned { Ok(()) } else { Err(no_limit(model)) };
    }
    Models::open(monitor)?;
    let mut problems = Vec::new();
    for model in configurations::models(monitor)? {
        let pruned = rollback::known(monitor, &model).and_then(|site| prune(&site, extent, manner));
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
fn prune(site: &Site, extent: Extent, manner: Manner) -> Result<bool> {
    let Some(keep) = keep(site, manner)? else { return Ok(false) };
    let _lock = match extent {
        Extent::Said => None,
        Extent::Done => Some(Lock::take(&site.service.lock(), manner.wait.or(super::OPERATOR_WAITS))?),
    };
    let journal = site.journal()?;
    if site.status()?.is_some_and(|status| status.version.is_none()) {
        return Err(Error::failed(format!(
            "{}: an upgrade is in flight, and its status does not say of which version; prune when it has ended",
            site.model
        )));
    }
    let mut facts = site.retention(keep)?;
    facts.in_flight.extend(journal.iter().map(|journal| journal.version.clone()));
    let before = journal.map_or_else(Vec::new, |journal| journal.before);
    let goes = retention::dispensable(&facts, &before);
    if let Extent::Said = extent {
        let dir = site.service.versions();
        for version in &goes {
            let bytes = versions::bytes(&dir, std::slice::from_ref(version))?;
            let bad = if facts.bad.contains(version) { ", marked bad" } else { "" };
            terminal::say(format!("{}: would delete {version}, {bytes} bytes{bad}", site.model));
        }
        let bytes = versions::bytes(&dir, &goes)?;
        terminal::say(format!("{}: {}", site.model, would_be_deleted(&goes, bytes)));
        return Ok(true);
    }
    let said = Action::Say(format!("{}: there is nothing to delete", site.model));
    apply::by_command(vec![if goes.is_empty() { said } else { Action::DeleteVersions(goes) }], site)?;
    // What an earlier run took out of sight, and did not delete.
    apply::finish_deletions(&site.half_deleted()?, site)?;
    Ok(true)
}

fn keep(site: &Site, manner: Manner) -> Result<Option<Keep>> {
    if manner.keep.is_some() {
        return Ok(manner.keep);
    }
    match site.list() {
        MemberList::Known(fleet) => Ok(fleet.keep),
        MemberList::Absent => Ok(None),
        MemberList::Unreadable { error, .. } => Err(error),
    }
}
