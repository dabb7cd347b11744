//! The files of the system as documents: bytes in, document out, and the same bytes back.
//!
//! Two laws hold for every format that is edited: `render(parse(x)) == x` for every byte string that parses, and an
//! edit changes no byte outside the lines it is about. Nothing here does I/O or panics.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::path::Path;

use memchr::{memchr_iter, memrchr};

use crate::error::Error;

pub mod announcement;
pub mod container_engine;
pub mod crontab;
pub mod discovery_answer;
pub mod dispatchserver_sh;
pub mod env_file;
pub mod env_sh;
pub mod held;
pub mod manifest;
pub mod member_state;
pub mod port_table;
pub mod rsyncd_conf;
pub mod service_conf;
pub mod service_control;

pub mod shell;

/// A place in a file that cannot be read: shown as `LINE:COLUMN: what; instead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What stands there, by its name.
    pub what: String,
    /// What to write instead.
    pub instead: String,
    /// Whether it only follows from an earlier one: a name that is uncertain, a block that is open.
    pub follows: bool,
}

impl Refusal {
    /// The same, as one that follows from an earlier one.
    #[must_use]
    pub fn that_follows(self) -> Refusal {
        Refusal { follows: true, ..self }
    }

    /// A refusal at a byte offset of a file.
    pub fn at(source: &[u8], offset: usize, what: impl Into<String>, instead: impl Into<String>) -> Refusal {
        Source::new(source).refusal(offset, what, instead)
    }

    /// The refusal as the error of a run that needed the file: `file:line:column: what; instead` (exit 2).
    pub fn in_file(&self, file: &Path) -> Error {
        Error::usage(format!("{}:{self}", file.display()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.line, self.column, self.what, self.instead)
    }
}

/// What is wrong with a line of a file that could be read all the same: shown as `LINE: what; instead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Finding {
    /// A finding about a line.
    pub fn new(line: usize, what: impl Into<String>, instead: impl Into<String>) -> Finding {
        Finding { line, what: what.into(), instead: instead.into() }
    }

    /// The finding as the error of a run that needed the file: `file:line: what; instead` (exit 2).
    pub fn in_file(&self, file: &Path) -> Error {
        Error::usage(format!("{}:{self}", file.display()))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.line, self.what, self.instead)
    }
}

/// A file's bytes, and the place that was asked for last: the next line is counted from there. A registry may have a million
/// lines, and a complaint about each.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    /// An offset and its line.
    last: Cell<(usize, usize)>,
}

impl Deref for Source<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl<'a> Source<'a> {
    /// The beginning of a file.
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source { bytes, last: Cell::new((0, 1)) }
    }

    /// The line (from 1) on which a byte offset lies.
    pub fn line_of(&self, offset: usize) -> usize {
        let offset = offset.min(self.bytes.len());
        let (last, line) = self.last.get();
        let newlines = |bytes: &[u8]| memchr_iter(b'\n', bytes).count();
        let line = if offset >= last {
            line + newlines(&self.bytes[last..offset])
        } else {
            line - newlines(&self.bytes[offset..last])
        };
        self.last.set((offset, line));
        line
    }

    /// A refusal at a byte offset.
    pub fn refusal(&self, offset: usize, what: impl Into<String>, instead: impl Into<String>) -> Refusal {
        let before = &self.bytes[..offset.min(self.bytes.len())];
        let line_start = memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        Refusal {
            line: self.line_of(offset),
            column: 1 + before[line_start..].iter().filter(|b| **b & 0xC0 != 0x80).count(),
            what: what.into(),
            instead: instead.into(),
            follows: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_same_whichever_was_asked_for_before() {
        let bytes = b"a\n\nbc\n";
        let source = Source::new(bytes);
        for offset in [0, 5, 2, 1, 6, 3, 0, 99] {
            assert_eq!(source.line_of(offset), Source::new(bytes).line_of(offset), "{offset}");
        }
        assert_eq!([0, 1, 2, 3, 6, 99].map(|offset| source.line_of(offset)), [1, 1, 2, 3, 4, 4]);
    }
}
