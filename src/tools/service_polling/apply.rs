//! Carries the steps of a poll out, in order; the first failure ends it, and the journal says where the next one goes on.

use std::ffi::OsStr;
use std::time::Duration;

use crate::error::Result;
use crate::layout::{Member, SERVICE_MODULE};
use crate::machine::rsync::{self, Limits, Remote, Transfer};
use crate::machine::{files, processes, terminal, trees};
use crate::tools::service_polling::decide::Action;
use crate::tools::service_polling::observe::Settings;
use crate::version::Version;

/// How long `service_stop` and `service_start` may take, each.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Carries the steps out.
pub fn apply(actions: &[Action], member: &Member, settings: &Settings) -> Result<()> {
    for action in actions {
        log::debug!("{action:?}");
        act(action, member, settings)?;
    }
    Ok(())
}

fn act(action: &Action, member: &Member, settings: &Settings) -> Result<()> {
    match action {
        Action::FetchVersion(version) => fetch(version, member, settings),
        Action::Record(journal) => {
            if let Some(dir) = member.journal().parent() {
                files::create_directories(dir)?;
            }
            files::replace_atomically(&member.journal(), journal.render().as_bytes())
        }
        // legacy: service_polling.sh, `cat "$fetched" > "$installed"` writes through a link
        Action::Install(bytes) => files::replace_atomically(&files::followed(&member.service_conf()), bytes),
        Action::Stop => {
            // A service that was not running cannot be stopped: that is not this poll's failure.
            if let Err(error) = command("service_stop", &settings.stop) {
                terminal::complain(super::PROGRAM, format!("{error}; starting the service all the same"));
            }
            Ok(())
        }
        Action::Start => command("service_start", &settings.start)
            .map_err(|e| e.context("the service was not started, the next poll tries again")),
        Action::Report(version) => report(version, member, settings),
        Action::Done => files::remove_if_exists(&member.journal()),
        Action::Say(line) => {
            terminal::say(format!("{}: {line}", settings.model));
            Ok(())
        }
    }
}

fn command(name: &str, line: &OsStr) -> Result<()> {
    if line.is_empty() {
        return Ok(());
    }
    processes::run_command_line(line, COMMAND_LIMIT).map_err(|e| e.context(name))
}

/// Fetches a version beside its place, and renames it there when it is complete (defects 11, 23, 26). A directory of that
/// name that holds something else is half a version which a script left: it is exchanged as a whole, so that no file that
/// a running service has mapped is written to.
fn fetch(version: &Version, member: &Member, settings: &Settings) -> Result<()> {
    let versions = member.versions(&settings.model);
    let (place, staging) = (versions.join(version), versions.join(format!(".staging-{version}")));
    files::create_directories(&staging)?;
    let from = Remote { module: SERVICE_MODULE, path: format!("{}/plugin/{version}/", settings.model) };
    rsync::run(&settings.daemon, &Transfer::FetchDirectory { from, to: staging.clone() }, Limits::MODEL)?;
    if files::facts(&place)?.is_none() {
        trees::make_durable(&staging)?;
        return files::rename(&staging, &place);
    }
    if trees::same_content(&staging, &place)? {
        return files::remove_tree(&staging);
    }
    trees::make_durable(&staging)?;
    let aside = versions.join(format!(".discarded-{version}"));
    files::remove_tree(&aside)?;
    files::rename(&place, &aside)?;
    files::rename(&staging, &place)?;
    files::remove_tree(&aside)
}

/// Leaves the version in `datamining_service/MODEL/version/ADDRESS` on the monitor.
fn report(version: &Version, member: &Member, settings: &Settings) -> Result<()> {
    let from = member.incoming().join(&settings.address);
    files::overwrite(&from, format!("{version}\n").as_bytes())?;
    let to = Remote { module: SERVICE_MODULE, path: format!("{}/version/", settings.model) };
    rsync::run(&settings.daemon, &Transfer::SendFile { from, to }, Limits::SMALL)
        .map(drop)
        .map_err(|e| e.context("the service runs, but the monitor was not told; the next poll tells it"))
}
