//! `rsync-push update`: replaces rsync.sh (contract section 3).
//!
//! Run in a model's deploy directory on the test host. Reads env.sh and online/ (or release/ and data/); writes backup/,
//! online/success, online/.manifest and a lock; sends lib/, data/, the manifest, env.sh (as `.env.sh`) and last `success`. Exit codes: 0
//! pushed, 1 failed or another first argument than `update`, 2 wrong usage or bad input file, 75 another push runs here.

use crate::error::Result;
use crate::layout::Deploy;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{environment, terminal};

mod apply;
mod cli;
mod decide;
mod observe;

use cli::Cli;

const PROGRAM: &str = "rsync-push";

/// Runs `rsync-push` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let request = cli.request()?;
    let dir = match request.dir {
        Some(dir) => dir,
        None => environment::working_directory()?,
    };
    let deploy = Deploy { dir };
    let settings = observe::settings(&deploy)?;
    let _lock = Lock::take(&deploy.lock(), request.wait.or(Wait::No))?;
    let observed = observe::observe(&deploy)?;
    let actions = decide::decide(&observed, &settings, request.source, request.extraneous)?;
    let sent = apply::apply(&actions, &deploy, &settings)?;
    let version = actions.iter().find_map(|action| match action {
        decide::Action::WriteSuccess(version) => Some(version),
        _ => None,
    });
    if let Some(version) = version {
        let (model, monitor) = (&settings.model, &settings.monitor);
        terminal::say(format!(
            "pushed {model} {version} to {monitor}; files changed: {}, bytes sent: {}",
            sent.files, sent.sent_bytes
        ));
    }
    Ok(())
}
