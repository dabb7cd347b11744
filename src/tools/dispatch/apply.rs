//! Carries the actions out, in order.

use std::path::PathBuf;

use crate::error::{Error, Result, one_line};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::trees::Survey;
use crate::machine::{terminal, versions};
use crate::retention;
use crate::tools::dispatch::decide::{Action, Plan, Replacement};
use crate::tools::dispatch::observe::Site;
use crate::tools::dispatch::publish::{self, Staged};
use crate::tools::dispatch::{history, success};
use crate::tools::hooks::{self, Hook, Told};
use crate::version::Version;

/// Where the lines for the log go.
pub type Say<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Says a line to whoever waits for it.
pub fn aloud(line: &str) -> Result<()> {
    terminal::say(line);
    Ok(())
}

/// Whether the plan goes on after an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It does.
    GoOn,
    /// A script began an upgrade meanwhile: it is its upgrade now. Or it has ended this one before it was published.
    Yield,
}

/// Carries a plan out. A failure in its first part is taken back; one in its second is left for the next tick. Returns whether
/// all of it was done.
pub fn apply(plan: &Plan, site: &Site, uploaded: &Survey, say: Say) -> Result<Next> {
    for action in &plan.prepare {
        match act(action, site, uploaded, say) {
            Ok(Next::GoOn) => {}
            Ok(Next::Yield) => return Ok(Next::Yield),
            Err(error) => {
                for action in &plan.undo {
                    // The first error is the one to show; what is left over is found by the next tick.
                    if let Err(error) = act(action, site, uploaded, say) {
                        log::debug!("{error}");
                    }
                }
                return Err(error);
            }
        }
    }
    for action in &plan.commit {
        if act(action, site, uploaded, say)? == Next::Yield {
            return Ok(Next::Yield);
        }
    }
    Ok(Next::GoOn)
}

/// Carries out what an operator asked for, and says it to them.
pub fn by_command(commit: Vec<Action>, site: &Site) -> Result<()> {
    apply(&Plan { commit, ..Plan::default() }, site, &Survey::default(), &mut aloud).map(drop)
}

fn act(action: &Action, site: &Site, uploaded: &Survey, say: Say) -> Result<Next> {
    let is_news = history::is_news(action, site);
    let next = carry_out(action, site, uploaded, say)?;
    if next == Next::GoOn && is_news {
        history::remember(action, site);
    }
    Ok(next)
}

fn carry_out(action: &Action, site: &Site, uploaded: &Survey, say: Say) -> Result<Next> {
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
        Action::DiscardPublished(version) => publish::discard_published(version, site)?,
        Action::Stage(version, expected) => {
            if publish::stage(version, expected.as_deref(), site, uploaded)? == Staged::SuccessIsGone {
                remove_status(Some(version), site)?;
                return Ok(Next::Yield);
            }
        }
        Action::Seal(version, expected) => publish::seal_in_place(version, expected.as_deref(), site)?,
        Action::DiscardStaged(version) => publish::discard_staged(version, site)?,
        Action::Publish(version) => files::rename(&service.staging(version), &service.version(version))?,
        Action::ReplaceConfiguration(replacement) => replace_configuration(replacement, site)?,
        Action::Admit(admitted) => {
            // The daemon reads it as another user, as a manifest.
            files::replace_with_mode(&service.admitted(), &admitted.render(), 0o644)?;
            files::remove_if_exists(&service.confirmed_batch())?;
        }
        Action::AdmitEverybody => files::remove_if_exists(&service.admitted())?,
        Action::NoteConfirmedBatch(batch) => {
            files::replace_atomically(&service.confirmed_batch(), batch.render().as_bytes())?;
        }
        Action::ForgetConfirmedBatch => files::remove_if_exists(&service.confirmed_batch())?,
        Action::PrePublish(version) => {
            run_hook(Hook::PrePublish, version, "", site, service.staging(version))?;
        }
        Action::OnFailure(version, error) => {
            let failed = run_hook(Hook::OnFailure, version, error, site, service.version(version));
            if let Err(error) = failed {
                say(&one_line(&format!("{}: {error}", site.model)))?;
            }
        }
        // The history tells it.
        Action::NoteLate(..) => {}
        Action::NoteRollout(note) => files::replace_atomically(&service.rollout(), &note.render())?,
        Action::ForgetRollout => files::remove_if_exists(&service.rollout())?,
        Action::RemoveSuccess(identity) => success::remove(*identity, site)?,
        Action::RemoveStatus(version) => remove_status(version.as_ref(), site)?,
        Action::TakeBack(version) => take_back(version, site)?,
        Action::RestoreSuccess(content) => success::restore(content, site)?,
        Action::RemoveJournal => files::remove_if_exists(&service.journal())?,
        Action::MarkBad(mark) => {
            files::create_directories(&service.bad())?;
            files::replace_atomically(&service.bad_version(&mark.version), &mark.render())?;
        }
        Action::ForgetBad(version) => files::remove_if_exists(&service.bad_version(version))?,
        Action::Pin(mark) => files::replace_atomically(&service.pin(), &mark.render())?,
        Action::Unpin => files::remove_if_exists(&service.pin())?,
        Action::DeleteVersions(versions) => delete_versions(versions, site, say)?,
        Action::Say(line) => say(&one_line(line))?,
        Action::Fail(error) => return Err(error.clone()),
    }
    Ok(Next::GoOn)
}

fn run_hook(hook: Hook, version: &Version, error: &str, site: &Site, directory: PathBuf) -> Result<()> {
    let told = Told { model: site.model, version, directory, error };
    hooks::run(&site.monitor.hooks(site.model), hook, &told)
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
    versions.iter().try_for_each(|version| publish::forget_manifest(version, site))?;
    versions::delete_discarded(&site.service.versions())
}
