//! What the tests stand on: real programs, a world of files to run them in, and a comparison of what they left behind.
//!
//! - [`parts`]: the real components; a missing one is a printed skip, and in CI a failure.
//! - [`daemon`]: a real rsync daemon on a loopback port of its own.
//! - [`figures`]: what long experiments counted, for a later report.
//! - [`port`]: a port on which nobody listens yet.
//! - [`random`]: random numbers that a seed repeats.
//! - [`rsyncd`]: a daemon as an operator has it, with a configuration, a pid file and `autoupdate-toggle`.
//! - [`world`]: one monitor, one deploy directory, members; built anew for every run, always at the same path.
//! - [`side`]: who does a step: a script under a shell, or a binary in a locale.
//! - [`zookeeper`]: a real ZooKeeper on a loopback port of its own.
//! - [`outcome`]: what a run left: exit status, tree, journal; and how two of them differ.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub mod daemon;
pub mod figures;
pub mod outcome;
pub mod parts;
pub mod port;
pub mod random;
pub mod rsyncd;
pub mod side;
pub mod world;
pub mod zookeeper;

pub use outcome::Outcome;
pub use side::{Side, Tool};
pub use world::{Sandbox, World};

/// Writes a program that is run at once. A child does it: a file that is open for writing cannot be run, and a child that another
/// test has just forked would have it open as well.
pub fn write_program(path: &Path, content: &[u8], mode: u32) {
    let mut copy = Command::new("cp");
    let mut child = copy.arg("/dev/stdin").arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Waits until something is so; fails when it takes longer than a minute.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
