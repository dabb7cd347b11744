//! Why something was done, as a person says it.

use crate::error::{Error, Result};
use crate::names::shown;

/// The longest reason, in bytes.
const LONGEST: usize = 1000;

/// Why something was done, as a person says it on one line; empty where nobody said it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Reads a reason. Fails (exit 2) where it is not one line of text, or longer than 1000 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Reason> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= LONGEST && !text.contains(char::is_control) => {
                Ok(Reason(text.trim().to_owned()))
            }
            _ => Err(Error::usage(format!(
                "{} is not a reason; write one line of at most {LONGEST} bytes of UTF-8",
                shown(bytes)
            ))),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
