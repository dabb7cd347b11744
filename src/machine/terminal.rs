//! What people and log files see.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::error::Exit;

/// Prints a line to standard output. A reader that has gone away is not an error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints one line to standard error, after the program's name.
pub fn complain(program: &str, problem: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{program}: {problem}");
}

/// Starts the diagnostics of `RUST_LOG`; nothing when it is not set.
pub fn start_diagnostics() {
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
}

/// The exit code of a run that ended with the given failure, if any.
pub fn exit_code(failure: Option<Exit>) -> ExitCode {
    failure.map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit.code()))
}
