//! The real components that tests are made of. On a person's machine a missing one skips the test, loudly and counted;
//! in CI it is a failure.

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

/// Prints `SKIP name: reason` past the test runner's capture, and counts it in the file that `MODEL_ROLLOUT_SKIPS` names.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIP {name}: {reason}\n");
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {line}");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("MODEL_ROLLOUT_SKIPS") {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(file);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("the skips can be counted");
    }
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
