//! All models of a monitor, and which of them have something to be done: a tick asks that of each, and most have nothing.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::announcement;
use crate::layout::{self, Monitor};
use crate::machine::directory::Directory;
use crate::machine::files;
use crate::names::ModelName;
use crate::rollout::state::{Phase, State};
use crate::tools::dispatch::not_registered;
use crate::tools::shared::places::Places;

/// The two trees that hold the models.
pub struct Models<'a> {
    /// Whose they are.
    pub monitor: &'a Monitor,
    uploads: Directory,
    services: Directory,
}

impl<'a> Models<'a> {
    /// Opens the trees. A tree that is not mounted must not look like "no models" (defect 24).
    pub fn open(monitor: &'a Monitor) -> Result<Models<'a>> {
        let open = |path: PathBuf| {
            Directory::open(&path).map_err(|_| {
                let path = path.display();
                Error::failed(format!("{path} is not a directory; mount it, or correct MONITOR_ROOT"))
            })
        };
        Ok(Models { monitor, uploads: open(monitor.uploads())?, services: open(monitor.services())? })
    }

    /// Whether a model has nothing to be done. Fails where it is not registered, or what is known
    /// of it cannot be read.
    pub fn is_at_rest(&self, model: &ModelName) -> Result<bool> {
        if self.has_work(model)? {
            return Ok(false);
        }
        let places = Places::new(self.monitor, model);
        if !self.services.has_directory(model.as_str()) {
            return Err(not_registered(&places));
        }
        match places.state()? {
            // Nothing was ever published here by this toolkit.
            None => Ok(true),
            Some(state) => is_settled(&state, &places),
        }
    }

    /// Whether there is anything to do by what is there: an upload that is announced, an upgrade in
    /// flight, members that are held, or a deletion to be finished.
    fn has_work(&self, model: &ModelName) -> Result<bool> {
        // One for all looks: a thousand models at rest are five thousand.
        let mut path = String::with_capacity(256);
        let mut is_there = |tree: &Directory, names: &[&str]| {
            path.clear();
            path.push_str(model.as_str());
            for name in names {
                path.push('/');
                path.push_str(name);
            }
            tree.has(&path)
        };
        Ok(is_there(&self.services, &[layout::STATUS])?
            || is_there(&self.uploads, &[layout::SUCCESS])?
            || is_there(&self.uploads, &[layout::SUCCESS_BEING_REMOVED])?
            || is_there(&self.services, &[layout::ROLLOUT, layout::HELD])?
            || is_there(&self.services, &[layout::VERSIONS, layout::DISCARDED])?)
    }
}

/// Whether a model's rollout has come to its end, and nobody else has written to its files since.
fn is_settled(state: &State, places: &Places) -> Result<bool> {
    let is_over = state
        .announced
        .as_ref()
        .is_none_or(|announced| !announced.phase.is_in_flight() && announced.phase != Phase::Trailing);
    if !state.settled || !state.untold.is_empty() || state.publishing.is_some() || !is_over {
        return Ok(false);
    }
    // Their holds have ended, and the announcement does not say so yet.
    if !state.held.is_empty() {
        return Ok(false);
    }
    let Some(announced) = &state.announced else { return Ok(true) };
    if places.confs()? != announced.offer.service_conf {
        return Ok(false);
    }
    let announcement = files::read_without_following(&places.service.announcement(), announcement::LIMIT)?;
    Ok(announcement == Some(state.announcement().render()))
}
