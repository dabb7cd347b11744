//! `.rollout`: that a version's rollout was paused, stopped or aborted, or goes on in spite of members that failed; by whom, since
//! when and why. Written by `dispatch` beside `.admitted`, which is what holds the members back; without this file a
//! rollout takes its ordinary course.
//!
//! One line: the word, the version, the instant in seconds since 1970, how many failed members are put up with, who, and why.

use crate::error::one_line;
use crate::formats::Refusal;
use crate::version::Version;

/// What became of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// An operator keeps everybody out who is not in yet; the upgrade stays in flight, and its deadline does not run.
    Paused,
    /// `dispatch` ended it: too many members failed, or it took too long.
    Stopped,
    /// An operator ended it.
    Aborted,
    /// An operator let it go on after it was paused, stopped or aborted, and puts up with so many failed members.
    Resumed(usize),
}

/// The word of each standing.
pub const WORDS: [&str; 4] = ["paused", "stopped", "aborted", "resumed"];

impl Standing {
    /// The word, as the file and the messages have it.
    pub fn word(self) -> &'static str {
        let [paused, stopped, aborted, resumed] = WORDS;
        match self {
            Standing::Paused => paused,
            Standing::Stopped => stopped,
            Standing::Aborted => aborted,
            Standing::Resumed(_) => resumed,
        }
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// What became of the rollout.
    pub standing: Standing,
    /// The version that was rolled out. Of any other one this file says nothing.
    pub version: Version,
    /// Since when, in seconds since 1970.
    pub at: i64,
    /// Who: `USER@HOST`.
    pub by: String,
    /// Why, in one line; empty where nobody said it.
    pub why: String,
}

impl Rollout {
    /// Reads the file. Fails where it is not what it should be.
    pub fn parse(source: &[u8]) -> Result<Rollout, Refusal> {
        let read = || {
            let text = std::str::from_utf8(source).ok()?.trim_end_matches('\n');
            let mut words = text.splitn(6, ' ');
            let (word, version, at, failed, by) =
                (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
            let standing = match (word, failed.parse().ok()?) {
                ("paused", 0) => Standing::Paused,
                ("stopped", 0) => Standing::Stopped,
                ("aborted", 0) => Standing::Aborted,
                ("resumed", failed) => Standing::Resumed(failed),
                _ => return None,
            };
            let why = words.next().unwrap_or_default().trim_end().to_owned();
            let is_word = !by.is_empty() && !by.contains(char::is_whitespace);
            let is_line = is_word && !text.chars().any(char::is_control);
            is_line.then_some(())?;
            let version = Version::of_directory(version.as_bytes()).ok()?;
            Some(Rollout { standing, version, at: at.parse().ok()?, by: by.to_owned(), why })
        };
        read().ok_or_else(|| {
            let instead = "remove the file, and the rollout takes its ordinary course";
            Refusal::at(source, 0, "this does not say how a rollout stands", instead)
        })
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        let Rollout { standing, version, at, by, why } = self;
        let failed = if let Standing::Resumed(failed) = standing { *failed } else { 0 };
        let by = by.replace(char::is_whitespace, "_");
        let line = format!("{} {version} {at} {failed} {by} {why}", standing.word());
        format!("{}\n", one_line(line.trim_end())).into_bytes()
    }

    /// What stands in the way, for a message: `paused by root@monitor: a test is running`.
    pub fn text(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("{} by {}{why}", self.standing.word(), self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(standing: Standing, why: &str) -> Rollout {
        let version = Version::parse(b"20180413192258").unwrap();
        Rollout { standing, version, at: -3, by: "root@monitor".to_owned(), why: why.to_owned() }
    }

    #[test]
    fn it_is_read_back_as_written() {
        for standing in [Standing::Paused, Standing::Stopped, Standing::Aborted, Standing::Resumed(3)] {
            for why in ["", "a test is running", "\u{6682}\u{505c}  twice"] {
                let rollout = rollout(standing, why);
                assert_eq!(Rollout::parse(&rollout.render()), Ok(rollout));
            }
        }
        let by_hand = b"paused 20180413192258 -3 0 root@monitor a test is running  \n\n";
        assert_eq!(Rollout::parse(by_hand), Ok(rollout(Standing::Paused, "a test is running")));
    }

    #[test]
    fn whatever_is_written_is_one_line_that_is_read() {
        let mut odd = rollout(Standing::Paused, "two\nlines\u{1b}[31m");
        odd.by = "a b\n@c".to_owned();
        let read = Rollout::parse(&odd.render()).unwrap();
        assert_eq!((read.by.as_str(), read.why.as_str()), ("a_b_@c", "two\\nlines\\u{1b}[31m"));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "paused",
            "paused 20180413192258 0 1 r",
            "paused ../x 0 0 r",
            "gone 20180413192258 0 0 r",
            "resumed 20180413192258 0 -1 r",
            "paused 20180413192258 x 0 r",
            "paused 20180413192258 0 0",
            "paused 20180413192258 0 0  why",
            "paused 20180413192258 0 0 r\u{3000}r why",
            "paused 20180413192258 0 0 r a\nb",
        ] {
            assert!(Rollout::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
