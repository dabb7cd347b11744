//! The part of the POSIX shell language that env.sh files and the registry use, read without running anything.
//!
//! What is read has exactly the value that `dash` gives it (contract section 2, "env.sh"); everything else is a
//! [`Refusal`](crate::formats::Refusal) with the construct's name and what to write instead. Where dash is odd, or dash
//! and bash differ, the construct is refused rather than imitated.
//!
//! [`words`] reads one word, [`syntax`] commands made of words; [`values`] gives words their values;
//! [`blocks`] finds the end of what is not read.

use crate::time::LocalTime;

pub mod blocks;
pub mod syntax;
pub mod values;
pub mod words;

/// What a word's value depends on, besides the file itself.
pub struct Context<'a> {
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    /// The local time that `date +FORMAT` shows.
    pub now: &'a LocalTime,
}
