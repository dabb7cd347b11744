//! The temporary directory that the demo happens in, and its removal.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::fleet::RSYNCD_CONF;
use crate::timeline::say;
use crate::{Problem, Result, keep, sweep};

/// The file that tells a demo's directory from any other.
const MARKER: &str = ".model-rollout-demo";

/// The directory. Dropped, it takes every process of the demo and itself away.
pub struct Ground {
    dir: PathBuf,
    gone: bool,
}

impl Ground {
    /// Makes the directory, below TMPDIR.
    pub fn new() -> Result<Ground> {
        let failed = |e: std::io::Error| format!("cannot make a temporary directory: {e}");
        let dir = tempfile::Builder::new().prefix("model-rollout-demo-").tempdir().map_err(failed)?;
        let mut ground = Ground { dir: dir.keep(), gone: false };
        // As the processes' mark it must have one spelling.
        ground.dir = fs::canonicalize(&ground.dir).map_err(failed)?;
        fs::write(ground.dir.join(MARKER), "a demo of model-rollout; demo --stop removes it\n")
            .map_err(failed)?;
        fs::create_dir(ground.dir.join("tmp")).map_err(failed)?;
        Ok(ground)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is anything to look at.
    pub fn has_fleet(&self) -> bool {
        self.dir.join(RSYNCD_CONF).is_file() && self.dir.join(keep::COMMANDS).is_file()
    }

    /// Leaves everything as it is, and says how to look at it.
    pub fn keep(mut self) {
        self.gone = true;
        sweep::reap();
        keep::explain(&self.dir);
    }

    /// Stops everything and removes the directory.
    pub fn clear(mut self) -> Result<()> {
        self.gone = true;
        clear(&self.dir).map_err(Problem::from)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !self.gone
            && let Err(error) = clear(&self.dir)
        {
            eprintln!("demo: {error}");
        }
    }
}

/// `--stop DIR`.
pub fn stop(dir: &Path) -> std::result::Result<(), String> {
    let dir = fs::canonicalize(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    if !dir.join(MARKER).is_file() {
        return Err(format!("{} is no directory of a demo; nothing was touched", dir.display()));
    }
    clear(&dir)?;
    say(format_args!("stopped, and removed {}", dir.display()));
    Ok(())
}

/// No process may be left that could write into the directory while it is removed.
fn clear(dir: &Path) -> std::result::Result<(), String> {
    sweep::stop_all(dir)?;
    let mut tries = 0;
    while let Err(error) = fs::remove_dir_all(dir) {
        tries += 1;
        if error.kind() == std::io::ErrorKind::NotFound || tries == 3 {
            return Err(format!("cannot remove {}: {error}", dir.display()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
