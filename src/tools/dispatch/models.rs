//! All models of a monitor, and which of them have something to be done: a tick asks that of each, and most have nothing.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::layout::{self, Monitor};
use crate::machine::directory::Directory;
use crate::names::ModelName;
use crate::tools::dispatch::journal::Phase;
use crate::tools::dispatch::not_registered;
use crate::tools::dispatch::observe::Site;

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

    /// Whether a model has nothing to be done. Fails where it is not registered.
    pub fn is_at_rest(&self, model: &ModelName) -> Result<bool> {
        if self.has_work(model)? {
            return Ok(false);
        }
        match self.services.has_directory(model.as_str()) {
            true => Ok(true),
            false => Err(not_registered(&Site::new(self.monitor, model))),
        }
    }

    /// Whether there is anything to do: an upload that is announced, an upgrade in flight, one that was broken off, or a
    /// deletion to be finished.
    fn has_work(&self, model: &ModelName) -> Result<bool> {
        // One for all looks: a thousand models at rest are six thousand.
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
        let is_broken_off = || -> Result<bool> {
            let journal = Site::new(self.monitor, model).journal()?;
            Ok(journal.is_some_and(|journal| journal.phase != Phase::Announced))
        };
        Ok(is_there(&self.services, &[layout::STATUS])?
            || is_there(&self.uploads, &[layout::SUCCESS])?
            || is_there(&self.uploads, &[layout::SUCCESS_BEING_REMOVED])?
            // A look that finds nothing costs less than an attempt to open it.
            || (is_there(&self.services, &[layout::JOURNAL])? && is_broken_off()?)
            || is_there(&self.services, &[layout::VERSIONS, layout::DISCARDED])?)
    }
}
