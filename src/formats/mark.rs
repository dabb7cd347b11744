//! Who did something to a version, when and why: one that was marked bad (`.bad/VERSION`), one that is pinned (`.pinned`).
//! Written and read by `dispatch`, and by people:
//!
//! ```text
//! 20180413192258
//! by ann@monitor
//! at 2018-04-13T19:40:05+08:00
//! why it answers nothing
//! ```

use std::fmt;

use chrono::{DateTime, FixedOffset, SecondsFormat, SubsecRound};

use crate::error::{Error, Result};
use crate::formats::Refusal;
use crate::names::shown;
use crate::version::Version;

/// The largest such file that is read, in bytes.
pub const LARGEST: u64 = 4096;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 1000;

/// Why something was done, as a person says it on one line; empty where nobody said it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Reads a reason. Fails (exit 2) where it is not one line of text, or longer than 1000 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Reason> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= LONGEST_REASON && !text.contains(char::is_control) => {
                Ok(Reason(text.trim().to_owned()))
            }
            _ => Err(Error::usage(format!(
                "{} is not a reason; write one line of at most {LONGEST_REASON} bytes of UTF-8",
                shown(bytes)
            ))),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who did it, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The version that it is about.
    pub version: Version,
    /// The person, as `user@host`: one word.
    pub by: String,
    /// When, to the second.
    pub at: DateTime<FixedOffset>,
    /// Why.
    pub why: Reason,
}

impl Mark {
    /// Reads a mark. Fails at the first line that is not what it should be; `remedy` says what to do then.
    pub fn parse(source: &[u8], remedy: &str) -> std::result::Result<Mark, Refusal> {
        let mut offset = 0;
        let mut line = |prefix: &str, what: &str| {
            let refused = Refusal::at(source, offset, what, remedy);
            let rest = source.get(offset..).unwrap_or_default();
            let Some(length) = rest.iter().position(|b| *b == b'\n') else { return Err(refused) };
            offset += length + 1;
            let text = rest[..length].strip_prefix(prefix.as_bytes()).map(std::str::from_utf8);
            match text {
                Some(Ok(text)) => Ok((text, refused)),
                _ => Err(refused),
            }
        };
        let (version, refused) = line("", "this is not a version")?;
        let version = Version::of_directory(version.as_bytes()).map_err(|_| refused)?;
        let (by, refused) = line("by ", "this does not say by whom")?;
        if by.is_empty() || by.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refused);
        }
        let (at, refused) = line("at ", "this does not say when")?;
        let at = DateTime::parse_from_rfc3339(at).map_err(|_| refused)?.trunc_subsecs(0);
        let (why, refused) = line("why ", "this does not say why")?;
        let why = Reason::parse(why.as_bytes()).map_err(|_| refused)?;
        if offset < source.len() {
            return Err(Refusal::at(source, offset, "nothing comes behind the reason", remedy));
        }
        Ok(Mark { version, by: by.to_owned(), at, why })
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        let Mark { version, by, at, why } = self;
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, false);
        format!("{version}\nby {by}\nat {at}\nwhy {}\n", why.as_str()).into_bytes()
    }
}

impl fmt::Display for Mark {
    /// `by ann@monitor on 2018-04-13 19:40:05: it answers nothing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} on {}", self.by, self.at.format("%Y-%m-%d %H:%M:%S"))?;
        match self.why.as_str() {
            "" => f.write_str(", who gave no reason"),
            why => write!(f, ": {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(why: &str) -> Mark {
        Mark {
            version: Version::parse(b"20180413192258").unwrap(),
            by: "ann@monitor".to_owned(),
            at: DateTime::parse_from_rfc3339("2018-04-13T19:40:05+08:00").unwrap(),
            why: Reason::parse(why.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn a_mark_is_read_back_as_written_and_anything_else_is_refused_with_its_line() {
        for why in ["", "it answers nothing", "黄 -- why\u{201c}"] {
            assert_eq!(Mark::parse(&mark(why).render(), "x"), Ok(mark(why)));
        }
        let good = String::from_utf8(mark("w").render()).unwrap();
        let finer = good.replace("05+08", "05.75+08");
        assert_eq!(Mark::parse(finer.as_bytes(), "x"), Ok(mark("w")), "to the second");
        let line = |text: &str| Mark::parse(text.as_bytes(), "remove it").unwrap_err().line;
        assert_eq!(line(""), 1);
        assert_eq!(line(&good.replace("2018041", "../18041")), 1);
        assert_eq!(line(&good.replace("ann@", "ann @")), 2);
        assert_eq!(line(&good.replace("at 2018", "at x")), 3);
        assert_eq!(line(&good[..good.len() - 1]), 4);
        assert_eq!(line(&good.replace("why w", "w")), 4);
        assert_eq!(line(&format!("{good}x")), 5);
    }

    #[test]
    fn a_reason_is_one_line_of_text() {
        for bad in [&b"a\nb"[..], b"\xff", b"\x1b[2J", &[b'a'; 1001]] {
            assert!(Reason::parse(bad).is_err());
        }
        assert_eq!(mark("w").to_string(), "by ann@monitor on 2018-04-13 19:40:05: w");
        assert_eq!(mark(" ").to_string(), "by ann@monitor on 2018-04-13 19:40:05, who gave no reason");
    }
}
