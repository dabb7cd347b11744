//! The files of the system as documents: bytes in, document out, and the same bytes back.
//!
//! Two laws hold for every format that is edited: `render(parse(x)) == x` for every byte string that parses, and an
//! edit changes no byte outside the lines it is about. Nothing here does I/O or panics.

use std::fmt;
use std::path::Path;

use crate::error::Error;

pub mod crontab;
pub mod dispatchserver_sh;
pub mod env_file;
pub mod env_sh;
pub mod manifest;
pub mod rsyncd_conf;
pub mod service_conf;

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
}

impl Refusal {
    /// A refusal at a byte offset of a file.
    pub fn at(source: &[u8], offset: usize, what: impl Into<String>, instead: impl Into<String>) -> Refusal {
        let before = &source[..offset.min(source.len())];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        Refusal {
            line: line_number(source, offset),
            column: 1 + before[line_start..].iter().filter(|b| **b & 0xC0 != 0x80).count(),
            what: what.into(),
            instead: instead.into(),
        }
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

/// The line (from 1) on which a byte offset lies.
pub fn line_number(source: &[u8], offset: usize) -> usize {
    1 + source[..offset.min(source.len())].iter().filter(|b| **b == b'\n').count()
}
