//! A site's own programs at four points of a rollout: executables named `pre-publish` and `on-failure` for a model on the monitor,
//! `pre-restart`, `post-restart` and `on-failure` on a member. One that is not there costs a look at its place.
//!
//! A hook may run more than once for one version: a run that died, or a hook that failed, is tried again by the next tick or
//! poll. What it prints goes where the tool's own output goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::machine::{files, processes};
use crate::names::ModelName;
use crate::version::Version;

/// How long a hook may take; then it is killed with whatever it started, and has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A point of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// On the monitor, when a version is copied and checked and no member can see it. When it fails, it is not published.
    PrePublish,
    /// On a member, when a version is fetched and checked and the service still serves the one before. When it fails, nothing is
    /// restarted.
    PreRestart,
    /// On a member, when the service has come up with the version. When it fails, that is only said.
    PostRestart,
    /// On the monitor, when a rollout is stopped or given up, before it is ended or rolled back; on a member, when the service did
    /// not come up: the version before was put back, or could not be, or there is none, and the service is down. When it fails,
    /// that is only said.
    OnFailure,
}

impl Hook {
    /// The file's name.
    fn name(self) -> &'static str {
        match self {
            Hook::PrePublish => "pre-publish",
            Hook::PreRestart => "pre-restart",
            Hook::PostRestart => "post-restart",
            Hook::OnFailure => "on-failure",
        }
    }
}

/// What a hook is told, in its environment.
#[derive(Debug)]
pub struct Told<'a> {
    /// `ROLLOUT_MODEL`
    pub model: &'a ModelName,
    /// `ROLLOUT_VERSION`: the version that it is about.
    pub version: &'a Version,
    /// `ROLLOUT_DIRECTORY`: where that version is on this host, with its `lib` and `data`.
    pub directory: PathBuf,
    /// `ROLLOUT_ERROR`: what failed; empty where nothing did.
    pub error: &'a str,
}

/// The program of a hook; `None` where the site has none.
pub fn program(directory: &Path, hook: Hook) -> Result<Option<PathBuf>> {
    let program = directory.join(hook.name());
    Ok(files::facts(&program)?.map(|_| program))
}

/// Runs a hook of a directory, if it is there.
///
/// Fails when it is no executable file, ends with another status than 0, or is still running after 30 s.
pub fn run(directory: &Path, hook: Hook, told: &Told) -> Result<()> {
    let Some(program) = program(directory, hook)? else { return Ok(()) };
    let environment: [(OsString, OsString); 4] = [
        ("ROLLOUT_MODEL".into(), told.model.to_string().into()),
        ("ROLLOUT_VERSION".into(), told.version.to_string().into()),
        ("ROLLOUT_DIRECTORY".into(), told.directory.clone().into()),
        ("ROLLOUT_ERROR".into(), told.error.into()),
    ];
    processes::run_site_program(&program, &environment, LIMIT)
        .map_err(|error| error.context(format!("hook {}", hook.name())))
}
