//! The real components that tests are made of. On a person's machine a missing one skips the test, loudly and counted;
//! in CI it is a failure. Only what a bare machine cannot be asked for, a running container engine, is optional: without it
//! a test is skipped in CI, too, as loudly, and counted as well.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a program is, by PATH; a part that is no program is named by its path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Whether all programs are there; otherwise says so as a skip of the running test.
pub fn are_there(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() {
        skip(&format!("{} is not installed", missing.join(", ")));
    }
    missing.is_empty()
}

/// Skips the running test for want of a component that every machine can have: in CI that is a failure.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {}: {reason}", running());
    tell_skip(reason);
}

/// Skips the running test for want of an optional component: see the top of this file.
pub fn skip_optional(reason: &str) {
    tell_skip(&format!("{reason} (optional, in CI too)"));
}

/// Prints `SKIP name: reason` past the test runner's capture, and counts it in the file that `MODEL_ROLLOUT_SKIPS` names.
fn tell_skip(reason: &str) {
    let line = format!("SKIP {}: {reason}\n", running());
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("MODEL_ROLLOUT_SKIPS") {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(file);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("the skips can be counted");
    }
}

/// The name of the running test.
fn running() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Whether a container engine answers; otherwise says so as a skip of the running test.
pub fn has_container_engine() -> bool {
    // Not `docker info`, which ends well without an engine, too, where it has a format.
    let asked = std::process::Command::new("docker").args(["ps", "--quiet"]).output();
    let reason = match asked {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "),
        Err(e) => format!("docker: {e}"),
    };
    skip_optional(&format!("no container engine answers: {reason}"));
    false
}

/// Ends the test as skipped when a program is missing.
macro_rules! need {
    ($($program:expr),+) => {
        if !$crate::harness::parts::are_there(&[$($program),+]) {
            return;
        }
    };
}
pub(crate) use need;

/// The directory of the legacy scripts: the reconstruction, or the site's own that `LEGACY` names.
pub fn legacy_scripts() -> PathBuf {
    match std::env::var_os("LEGACY") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => project().join("legacy-scripts"),
    }
}

/// The project's root.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the tests run as root, to whom no mode is a hindrance.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
