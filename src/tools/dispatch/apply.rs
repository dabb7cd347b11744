//! Carries the actions out, in order.

use std::path::Path;

use crate::error::{Error, Result, one_line};
use crate::formats::manifest::{Manifest, More};
use crate::identity::Identity;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::trees::{self, Entry, Files};
use crate::machine::versions;
use crate::retention;
use crate::tools::dispatch::decide::{Action, Plan, Replacement};
use crate::tools::dispatch::observe::Site;
use crate::version::Version;

/// Where the lines for the log go.
pub type Say<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Whether the plan goes on after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    /// A script began an upgrade meanwhile: it is its upgrade now.
    Yield,
}

/// Carries a plan out. A failure in its first part is taken back; one in its second is left for the next tick.
pub fn apply(plan: &Plan, site: &Site, entries: &[Entry], say: Say) -> Result<()> {
    for action in &plan.prepare {
        match act(action, site, entries, say) {
            Ok(Next::GoOn) => {}
            Ok(Next::Yield) => return Ok(()),
            Err(error) => {
                for action in &plan.undo {
                    // The first error is the one to show; what is left over is found by the next tick.
                    if let Err(error) = act(action, site, entries, say) {
                        log::debug!("{error}");
                    }
                }
                return Err(error);
            }
        }
    }
    for action in &plan.commit {
        if act(action, site, entries, say)? == Next::Yield {
            break;
        }
    }
    Ok(())
}

fn act(action: &Action, site: &Site, entries: &[Entry], say: Say) -> Result<Next> {
    log::debug!("{action:?}");
    let service = &site.service;
    match action {
        Action::Record(journal) => {
            files::replace_atomically(&service.journal(), &journal.render())?;
        }
        Action::MarkInFlight(version) => {
            if !create_status(version, site)? {
                files::remove_if_exists(&service.journal())?;
                return Ok(Next::Yield);
            }
        }
        Action::StillInFlight(version) => {
            if !status_is_of(Some(version), site)? {
                files::remove_if_exists(&service.journal())?;
                return Ok(Next::Yield);
            }
        }
        Action::KeepInFlight(version) => {
            if files::facts(&service.status())?.is_none() {
                create_status(version, site)?;
            }
        }
        Action::MarkInFlightAgain(version) => {
            files::replace_atomically(&service.status(), format!("{version}\n").as_bytes())?;
        }
        Action::DiscardPublished(version) => {
            let aside = service.discarded(version);
            files::remove_tree(&aside)?;
            files::rename(&service.version(version), &aside)?;
            files::remove_tree(&aside)?;
        }
        Action::Stage(version, expected) => stage(version, expected.as_ref(), site, entries)?,
        Action::Seal(version, expected) => {
            let dir = service.version(version);
            let files = trees::digest(&dir, &trees::survey(&dir)?)?;
            seal(version, files, expected.as_ref(), site)?;
        }
        Action::DiscardStaged(version) => {
            discard_unfinished(version, site)?;
            if files::facts(&service.version(version))?.is_none() {
                files::remove_if_exists(&service.manifest(version))?;
            }
        }
        Action::Publish(version) => files::rename(&service.staging(version), &service.version(version))?,
        Action::ReplaceConfiguration(replacement) => replace_configuration(replacement, site)?,
        Action::Admit(admitted) => {
            files::replace_atomically(&service.admitted(), &admitted.render())?;
            // The daemon reads it as another user, as a manifest.
            files::set_mode(&service.admitted(), 0o644)?;
            files::remove_if_exists(&service.confirmed_batch())?;
        }
        Action::AdmitEverybody => files::remove_if_exists(&service.admitted())?,
        Action::NoteConfirmedBatch(batch) => {
            files::replace_atomically(&service.confirmed_batch(), batch.render().as_bytes())?;
        }
        Action::ForgetConfirmedBatch => files::remove_if_exists(&service.confirmed_batch())?,
        Action::RemoveSuccess(identity) => remove_success(*identity, site)?,
        Action::RemoveStatus(version) => remove_status(version.as_ref(), site)?,
        Action::TakeBack(version) => take_back(version, site)?,
        Action::RestoreSuccess(content) => drop(files::create_exclusively(&site.upload.success(), content)?),
        Action::RemoveJournal => files::remove_if_exists(&service.journal())?,
        Action::DeleteVersions(versions) => delete_versions(versions, site, say)?,
        Action::Say(line) => say(&one_line(line))?,
        Action::Fail(error) => return Err(error.clone()),
    }
    Ok(Next::GoOn)
}

/// Copies the surveyed upload, then looks again: an upload that changed meanwhile would be half old, half new (defect 5).
fn stage(version: &Version, expected: Option<&Manifest>, site: &Site, entries: &[Entry]) -> Result<()> {
    let staging = site.service.staging(version);
    discard_unfinished(version, site)?;
    files::create_directories(&site.service.versions())?;
    files::create_new_directory(&staging)?;
    // `success` first: a script's check may remove it at any moment.
    let (success, others): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_success);
    let copied = trees::copy(&site.upload.dir, &[success, others.clone()].concat(), &staging)?;
    let now = trees::survey(&site.upload.dir)?;
    if now != entries && !(now == others && files::facts(&site.service.status())?.is_none()) {
        return Err(Error::failed(format!(
            "{} changed while it was copied, so nothing was published; the next tick tries again",
            site.upload.dir.display()
        )));
    }
    seal(version, copied, expected, site)
}

/// Checks what a version holds, and writes that down for the members.
fn seal(version: &Version, files: Files, expected: Option<&Manifest>, site: &Site) -> Result<()> {
    if let Some(mismatch) = expected.and_then(|manifest| manifest.first_mismatch(&files, More::Allowed)) {
        return Err(Error::failed(format!(
            "{}: {}, so nothing was published; let the push end, or push again",
            site.upload.manifest().display(),
            mismatch.text()
        )));
    }
    let path = site.service.manifest(version);
    files::create_directories(&site.service.manifests())?;
    site.check_within()?;
    // The daemon reads it as another user, whatever umask this run has.
    files::set_mode(&site.service.manifests(), 0o755)?;
    let manifest = Manifest { version: version.clone(), files };
    files::replace_atomically(&path, &manifest.render())?;
    files::set_mode(&path, 0o644)
}

fn is_success(entry: &Entry) -> bool {
    entry.path == Path::new("success")
}

fn create_status(version: &Version, site: &Site) -> Result<bool> {
    files::create_exclusively(&site.service.status(), format!("{version}\n").as_bytes())
}

/// Whether `status` is missing, or of a version; where it names none, or none is asked for, it is taken for that.
fn status_is_of(version: Option<&Version>, site: &Site) -> Result<bool> {
    let status = site.status()?.and_then(|status| status.version);
    Ok(status.is_none() || version.is_none() || status.as_ref() == version)
}

fn remove_status(version: Option<&Version>, site: &Site) -> Result<()> {
    if status_is_of(version, site)? { files::remove_if_exists(&site.service.status()) } else { Ok(()) }
}

/// Ends a publication that failed.
fn take_back(version: &Version, site: &Site) -> Result<()> {
    let [status, success] = [site.service.status(), site.upload.success()];
    let a_script_ended_it = files::facts(&status)?.is_none() && files::facts(&success)?.is_none();
    remove_status(Some(version), site)?;
    if a_script_ended_it { Ok(()) } else { files::remove_if_exists(&site.service.journal()) }
}

/// A service.conf that somebody has edited since it was read is not overwritten.
fn replace_configuration(Replacement { path, before, after }: &Replacement, site: &Site) -> Result<()> {
    files::check_within(&site.service.dir, path)?;
    if files::read(path, CONFIGURATION_LIMIT)? != *before {
        let path = path.display();
        return Err(Error::failed(format!(
            "{path} was changed while it was edited; the next tick tries again"
        )));
    }
    files::replace_atomically(path, after)
}

/// Removes what a run that died left of a version: half a copy, and what it was about to delete.
fn discard_unfinished(version: &Version, site: &Site) -> Result<()> {
    files::remove_tree(&site.service.staging(version))?;
    files::remove_tree(&site.service.discarded(version))
}

fn delete_versions(versions: &[Version], site: &Site, say: Say) -> Result<()> {
    site.check_within()?;
    let dir = site.service.versions();
    let bytes = versions::discard(&dir, versions)?;
    finish_deletions(versions, site)?;
    say(&one_line(&format!("{}: {}", site.model, retention::deleted(versions, bytes))))
}

/// Deletes versions that were taken out of sight, also for a run that died there. Nobody can fetch such a version any more, so
/// its manifest goes first; one that is there again under the same name keeps its own.
pub fn finish_deletions(versions: &[Version], site: &Site) -> Result<()> {
    for version in versions {
        if files::facts(&site.service.version(version))?.is_none() {
            files::remove_if_exists(&site.service.manifest(version))?;
        }
    }
    versions::delete_discarded(&site.service.versions(), versions)
}

/// Removes `success` if it still is the upload that was dispatched. It is taken out of the way first and looked at then,
/// so that a push that replaces it at this very instant is not lost (defect 4).
fn remove_success(dispatched: Identity, site: &Site) -> Result<()> {
    let aside = site.upload.success_being_removed();
    if files::facts(&site.upload.success())?.is_none() {
        return Ok(());
    }
    files::rename(&site.upload.success(), &aside)?;
    settle_removal(Some(dispatched), site)
}

/// Finishes the removal of a `success` that was taken out of the way, also for a run that died there: the one that was
/// dispatched goes, any other is put back unless a newer one has arrived.
pub fn settle_removal(dispatched: Option<Identity>, site: &Site) -> Result<()> {
    let aside = site.upload.success_being_removed();
    let Some(facts) = files::facts(&aside)? else { return Ok(()) };
    if dispatched != Some(facts.identity) {
        files::link_unless_exists(&aside, &site.upload.success())?;
    }
    files::remove_if_exists(&aside)
}
