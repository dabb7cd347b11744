//! What people and log files see.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, IntoRawFd};

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;

use crate::diff::{self, Kind, Line};
use crate::error::one_line;
use crate::machine::clock;

/// Opens /dev/null in place of each standard stream that is closed: otherwise the next file that is opened would become one of them, and what is
/// printed would be written into it. Ends the process where that cannot be done.
#[allow(unsafe_code)]
pub fn open_closed_streams() {
    for stream in 0..=2 {
        // SAFETY: the call takes two integers and changes nothing.
        let is_closed = unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1;
        // Not to be closed in started programs. The lowest number that is free is taken, and that is this one.
        let opened = || open("/dev/null", OFlag::O_RDWR, Mode::empty()).map(IntoRawFd::into_raw_fd);
        if is_closed && opened() != Ok(stream) {
            std::process::abort();
        }
    }
}

/// Writes out what was printed to standard output and does not end a line.
pub fn flush() {
    let _ = std::io::stdout().flush();
}

/// Prints a line to standard output. A reader that has gone away is not an error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line about what a job did to standard output, after the time where that is a file.
pub fn report(line: impl Display) {
    say(format_args!("{}{line}", time_in_a_log(&std::io::stdout())));
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard output is a terminal on which colours are wanted (not with `NO_COLOR`, see no-color.org).
pub fn has_colour() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a text in place of what a terminal shows.
pub fn redraw(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "\x1b[H\x1b[2J{text}");
}

/// Prints what would become of a file to standard output, so that `patch` can read it: byte for byte, unless that is a
/// terminal, where it may be coloured and control characters are shown escaped.
pub fn show_diff(name: &str, old: Option<&[u8]>, new: &[u8]) {
    let (is_terminal, has_colour) = (is_terminal(), has_colour());
    let mut output = std::io::stdout().lock();
    for Line { kind, mut text } in diff::unified(name, old, new) {
        if is_terminal {
            text = one_line(&String::from_utf8_lossy(&text).replace('\t', "    ")).into_bytes();
        }
        let colour = match kind {
            Kind::File => Some("1"),
            Kind::Place => Some("36"),
            Kind::Removed => Some("31"),
            Kind::Added => Some("32"),
            Kind::Kept => None,
        };
        if let Some(colour) = colour.filter(|_| has_colour) {
            text = [format!("\x1b[{colour}m").as_bytes(), &text, b"\x1b[0m"].concat();
        }
        text.push(b'\n');
        let _ = output.write_all(&text);
    }
}

/// Prints one line to standard error, after the program's name, and after the time where that is a file. In one write: other runs
/// append to the same log.
pub fn complain(program: &str, problem: impl Display) {
    let mut output = std::io::stderr().lock();
    let line = format!("{}{program}: {problem}\n", time_in_a_log(&output));
    let _ = output.write_all(line.as_bytes());
}

/// The local time, before a line that goes to a file, as cron's lines have it: `2018-04-04 09:05:00 `. Who looks at a terminal, or
/// reads a pipe, knows when.
fn time_in_a_log(stream: &impl AsFd) -> String {
    match file_of(stream) {
        Some(_) => clock::now().instant.format("%Y-%m-%d %H:%M:%S ").to_string(),
        None => String::new(),
    }
}

/// Whether standard output goes to a file that standard error does not go to: a log, of which cron throws the errors away.
pub fn output_is_a_log_of_its_own() -> bool {
    let output = file_of(&std::io::stdout());
    output.is_some() && output != file_of(&std::io::stderr())
}

/// The device and the inode of the file that a stream goes to; `None` where it is no file.
fn file_of(stream: &impl AsFd) -> Option<(u64, u64)> {
    let facts = nix::sys::stat::fstat(stream.as_fd()).ok()?;
    let is_file = facts.st_mode & libc::S_IFMT == libc::S_IFREG;
    is_file.then_some((facts.st_dev, facts.st_ino))
}

/// Starts the diagnostics of `RUST_LOG`; nothing when it is not set.
pub fn start_diagnostics() {
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
}
