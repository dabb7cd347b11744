//! The one error type: what a tired operator reads at two in the morning, and the exit code.

use std::fmt;
use std::io;
use std::path::Path;

/// How a run ends when it fails (contract section 4, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Another run holds the lock: 75 (`EX_TEMPFAIL`).
    Locked,
    /// Wrong usage, or an input file that cannot be read as what it should be: 2.
    Usage,
    /// The work failed: 1.
    Failed,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Locked => 75,
        }
    }
}

/// One line for standard error: what was tried, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The exit code it stands for.
    pub exit: Exit,
    message: String,
}

/// The result of everything that can fail in front of an operator.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with the exit code of another, for a summary of several.
    pub fn with_exit(exit: Exit, message: impl Into<String>) -> Error {
        Error { exit, message: message.into() }
    }

    /// The work failed (exit 1).
    pub fn failed(message: impl Into<String>) -> Error {
        Error { exit: Exit::Failed, message: message.into() }
    }

    /// Wrong usage or a bad input file (exit 2).
    pub fn usage(message: impl Into<String>) -> Error {
        Error { exit: Exit::Usage, message: message.into() }
    }

    /// Another run holds the lock (exit 75).
    pub fn locked(message: impl Into<String>) -> Error {
        Error { exit: Exit::Locked, message: message.into() }
    }

    /// A failed system call on a path, with the remedy for the errors operators really meet (exit 1).
    pub fn io(tried: &str, path: &Path, error: &io::Error) -> Error {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "; check the path, and that the disk is mounted",
            io::ErrorKind::PermissionDenied => "; run as the owner of that tree, or correct its permissions",
            io::ErrorKind::StorageFull => "; free some space on that file system",
            io::ErrorKind::ReadOnlyFilesystem => "; mount that file system read-write",
            _ => "",
        };
        Error::failed(format!("cannot {tried} {}: {}{remedy}", path.display(), io_cause(error)))
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Error {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// The system's words for an error, without Rust's "(os error 13)".
pub(crate) fn io_cause(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// More than this, in characters, nobody reads: the middle is left out. The manual's list of a hundred addresses has 1500.
const LONGEST: usize = 8000;
/// How much of the end is kept, where it is said what to do.
const END: usize = 1000;

/// A text as one line of a log or a terminal: control characters are shown escaped, and the middle of a hostile name is left out.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    let show = |c: char, line: &mut String| match c.is_control() {
        true => line.extend(c.escape_default()),
        false => line.push(c),
    };
    match text.chars().count() {
        length if length > LONGEST => {
            text.chars().take(LONGEST - END).for_each(|c| show(c, &mut line));
            line.push_str(" \u{2026} ");
            text.chars().skip(length - END).for_each(|c| show(c, &mut line));
        }
        _ => text.chars().for_each(|c| show(c, &mut line)),
    }
    line
}

impl fmt::Display for Error {
    /// Always one line: names that hold control characters are shown escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        assert_eq!(Error::failed("no model a\nb").to_string(), "no model a\\nb");
    }

    #[test]
    fn of_a_line_that_fills_the_screen_the_begin_and_the_end_are_shown() {
        let line = Error::failed(format!("f:1: {}; remove it", "x".repeat(1 << 20))).to_string();
        assert!(line.starts_with("f:1: xxx") && line.ends_with("x; remove it") && line.len() < 10_000);
    }

    #[test]
    fn a_failed_call_names_the_path_and_the_remedy() {
        let error = io::Error::from_raw_os_error(28);
        let line = Error::io("write", Path::new("/data1/x"), &error).to_string();
        assert_eq!(
            line,
            "cannot write /data1/x: no space left on device; free some space on that file system"
        );
    }
}
