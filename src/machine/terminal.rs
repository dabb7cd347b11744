//! What people and log files see.

use std::fmt::Display;
use std::io::Write;
use std::os::fd::AsFd;
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

/// Whether standard output goes to a file that standard error does not go to: a log, of which cron throws the errors away.
pub fn output_is_a_log_of_its_own() -> bool {
    let identity = |stream: &dyn AsFd| {
        let facts = nix::sys::stat::fstat(stream.as_fd()).ok()?;
        let is_file = facts.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG;
        is_file.then_some((facts.st_dev, facts.st_ino))
    };
    let output = identity(&std::io::stdout());
    output.is_some() && output != identity(&std::io::stderr())
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
