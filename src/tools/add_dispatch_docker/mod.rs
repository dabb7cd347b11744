//! `add_dispatch_docker TYPE MODULE PLUGIN`: replaces add_dispatch_docker.sh (contract section 3).
//!
//! Run once per model on the monitor. Creates `datamining_plugin/MODULE/{lib,data}` and
//! `datamining_service/MODULE/{config_1/service.conf,plugin}`, and appends the model's stanza to dispatchserver.sh; with
//! `--members` and `--port` also writes the member list. A second run changes nothing and says so. Exit codes: 0 done or
//! nothing to do, 1 failed, 2 wrong usage or bad input file, 75 another edit holds the registry's lock.

use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Error, Result, one_line};
use crate::layout::{self, Monitor};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment, terminal};

mod cli;
mod decide;

use cli::{Cli, Request};
use decide::{Action, Observed};

const PROGRAM: &str = "add_dispatch_docker";

/// The largest registry that is edited, in bytes: a stanza has about 400.
const REGISTRY_LIMIT: u64 = 64 << 20;

/// How long another edit is waited for without --wait: it takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(10));

/// Runs `add_dispatch_docker` with the process's arguments.
pub fn main() -> ExitCode {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let request = cli.request()?;
    let monitor = Monitor { root: environment::monitor_root()? };
    check_mounted(&monitor)?;
    let _lock = Lock::take(&layout::lock_of(&monitor.registry()), request.wait.or(LOCK_WAIT))?;
    let observed = observe(&monitor, &request)?;
    for action in decide::decide(&observed, &request, &monitor)? {
        log::debug!("{action:?}");
        apply(&action)?;
    }
    Ok(())
}

/// A tree that is not mounted must not be created on the disk below its mount point (defect 24).
fn check_mounted(monitor: &Monitor) -> Result<()> {
    let bin = monitor.registry().parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    for dir in [monitor.uploads(), monitor.services(), bin] {
        if !files::is_directory(&dir) {
            let dir = dir.display();
            return Err(Error::failed(format!(
                "{dir} is not a directory; mount it, or correct MONITOR_ROOT"
            )));
        }
    }
    Ok(())
}

fn observe(monitor: &Monitor, request: &Request) -> Result<Observed> {
    check_within(monitor, request)?;
    let mut missing_directories = decide::directories(monitor, request);
    missing_directories.retain(|dir| !files::is_directory(dir));
    let service_conf = monitor.service(&request.model).dir.join("config_1/service.conf");
    Ok(Observed {
        now: clock::now(),
        user: environment::user_name(),
        registry: files::read_if_exists(&monitor.registry(), REGISTRY_LIMIT)?,
        missing_directories,
        service_conf_is_missing: files::facts(&service_conf)?.is_none(),
        member_list: files::read_if_exists(&monitor.member_list(&request.model), CONFIGURATION_LIMIT)?,
    })
}

/// Whoever may write to the directories of all models must not choose where those of this one are created.
fn check_within(monitor: &Monitor, request: &Request) -> Result<()> {
    let (upload, service) = (monitor.upload(&request.model), monitor.service(&request.model));
    for dir in ["lib", "data"] {
        files::check_within(&monitor.uploads(), &upload.dir.join(dir))?;
    }
    for path in ["config_1/service.conf", "plugin"] {
        files::check_within(&monitor.services(), &service.dir.join(path))?;
    }
    Ok(())
}

fn apply(action: &Action) -> Result<()> {
    match action {
        Action::CreateDirectory(path) => files::create_directories(path),
        Action::Write(path, bytes) => {
            if let Some(dir) = path.parent() {
                files::create_directories(dir)?;
            }
            // legacy: add_dispatch_docker.sh, `cat >> "$registry"` writes through a link
            files::replace_atomically(&files::followed(path), bytes)
        }
        Action::Say(line) => {
            terminal::say(one_line(line));
            Ok(())
        }
    }
}
