//! A version: what names a published model, on the monitor, on the members and in service.conf.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::{ModelName, shown, text_of_json};

/// A version: 14 digits of local time when this toolkit makes it (contract section 1); of others, 8 to 14 digits
/// with an optional `.`, `_` or `-` and letters or digits (contract section 2, "success, status").
///
/// Ordered as text, which is the order in time for versions of one length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

text_of_json!(Version, Version::of_directory);

impl Version {
    /// Parses a version that stands alone. Fails (exit 2) when it is not one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::recognise(bytes).ok_or_else(|| {
            Error::usage(format!(
                "{} is not a version; a version is 8 to 14 digits of local time",
                shown(bytes)
            ))
        })
    }

    /// Parses the name of a version's directory as service.conf gives it. An operator may have put one there by hand, so
    /// any name will do that could be a model's, too. Fails (exit 2) on anything else.
    pub fn of_directory(bytes: &[u8]) -> Result<Self> {
        match ModelName::parse(bytes) {
            Ok(name) => Ok(Self(name.to_string())),
            Err(_) => Err(Error::usage(format!("{} is not the name of a version", shown(bytes)))),
        }
    }

    /// The version that `success` or a report announces: the first word of its first line, if that is one.
    pub fn announced_in(content: &[u8]) -> Option<Self> {
        let line = content.split(|b| *b == b'\n').next()?;
        // legacy: dispatch.sh, awk's words, which blanks and tabs separate and a carriage return does not.
        let word = line.split(|b| matches!(b, b' ' | b'\t')).find(|word| !word.is_empty())?;
        Self::recognise(word)
    }

    fn recognise(bytes: &[u8]) -> Option<Self> {
        let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        let suffix_is_good = match &bytes[digits..] {
            [] => true,
            [b'.' | b'_' | b'-', suffix @ ..] => {
                !suffix.is_empty() && suffix.len() <= 64 && suffix.iter().all(u8::is_ascii_alphanumeric)
            }
            _ => false,
        };
        let text = std::str::from_utf8(bytes).ok()?;
        ((8..=14).contains(&digits) && suffix_is_good).then(|| Self(text.to_owned()))
    }

    /// The version's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for Version {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(content: &str) -> Option<String> {
        Version::announced_in(content.as_bytes()).map(|v| v.to_string())
    }

    #[test]
    fn success_announces_its_first_word() {
        assert_eq!(announced("20180413192258\n").as_deref(), Some("20180413192258"));
        assert_eq!(announced("20180413192258").as_deref(), Some("20180413192258"));
        assert_eq!(announced("  20180413 by yuxiang8\nx").as_deref(), Some("20180413"));
        assert_eq!(announced("20180413.rc1").as_deref(), Some("20180413.rc1"));
    }

    #[test]
    fn anything_else_announces_no_version() {
        for content in [
            "",
            "\n20180413192258",
            "mblog_yellow",
            "2018041",
            "201804131922580",
            "20180413/..",
            "20180413.",
            "20180413192258\r\n",
        ] {
            assert_eq!(announced(content), None, "{content:?}");
        }
    }
}
