//! Starts programs, and stops starting them after an interrupt.
//!
//! The signal handler only raises a flag: every program is started by the main thread, which looks at the flag before
//! and while it waits. So once the main thread cleans up, nothing new can be on its way.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Problem, Result};

/// The environment variable that marks every process of a demo, with the demo's directory as its value.
pub const MARK: &str = "MODEL_ROLLOUT_DEMO";

/// No command of the demo takes longer on a healthy machine.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, SIGTERM and SIGHUP are noticed by [`go_on`], and orphans of our processes become our children,
/// so that they can be found and waited for.
pub fn watch_signals() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst))
        .map_err(|e| format!("cannot handle signals: {e}"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("cannot adopt orphans: {e}"))?;
    Ok(())
}

/// Fails after an interrupt.
pub fn go_on() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Problem::Interrupted) } else { Ok(()) }
}

/// Waits until something is so. Fails after an interrupt, and when it takes too long.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        go_on()?;
        if start.elapsed() > LIMIT {
            return Err(Problem::Failed(format!("{what}: not after {} s", LIMIT.as_secs())));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Starts a program of the demo in `dir`: marked, with its own process group (Ctrl-C in a terminal reaches the demo
/// alone, which then stops everything in order), its temporary files below `dir`, and its output appended to a file.
pub fn start(dir: &Path, command: &mut Command, output: &Path) -> Result<Child> {
    go_on()?;
    let failed = |e: std::io::Error| format!("{}: {e}", output.display());
    let output = File::options().create(true).append(true).open(output).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.env(MARK, dir).env("TMPDIR", dir.join("tmp"));
    // What an operator may have set for hosts of his own must not reach the demo's.
    for name in ["MODEL_ROLLOUT_LEGACY", "ENV_SERVICE_NAME", "ENV_SERVICE_PORT", "RSYNC_PROXY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|e| Problem::Failed(format!("cannot start {program}: {e}")))
}

/// A program that ended.
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub text: String,
}

/// Runs a program to its end; what it prints is also appended to a file. (Not read from a pipe: a service that the
/// program leaves behind would hold the pipe open.)
pub fn run(dir: &Path, command: &mut Command, log: &Path) -> Result<Finished> {
    let before = fs::metadata(log).map_or(0, |facts| facts.len());
    let mut child = start(dir, command, log)?;
    let mut ended = None;
    wait_until(&command.get_program().to_string_lossy(), || {
        ended = child.try_wait().map_err(|e| format!("cannot wait: {e}"))?;
        Ok(ended.is_some())
    })?;
    let status = ended.unwrap_or_default();
    let printed = fs::read(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let new = printed.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    Ok(Finished { status, text: String::from_utf8_lossy(new).trim_end().to_owned() })
}
