//! `version/.state-ADDRESS`: what a member's poller last told the monitor, beside its report. Two lines: a word, the version that
//! it is about and when, in Unix seconds by the member's clock; then a text for people. Legacy pollers leave none.
//!
//! - The word: a report only says which version came up. That one is on its way, was refused, or was taken back, nobody else knows.
//! - The version: a state about another one than the announced says nothing about the announced.
//! - When: compared with the file's arrival it shows a member whose clock is wrong. Ages are counted from the arrival, since only
//!   the monitor's clock can be compared with the announcement and with a report.
//! - The text: why; it is the error of the member's log, which an operator would otherwise have to look up there.

use crate::error::one_line;
use crate::version::Version;

/// The longest text that is sent, in characters; an error keeps what it says first.
const LONGEST_MESSAGE: usize = 400;

/// The largest file that is read, in bytes: the longest text in UTF-8, and the first line.
pub const LIMIT: u64 = 4 << 10;

/// How far a member is with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Its poll takes the version up: fetches, installs, restarts.
    Updating,
    /// It could not be fetched, verified or installed. What was served before is served still.
    NotInstalled,
    /// It is installed, but the service was not started with it, or did not come up; nothing was put back.
    NotRestarted,
    /// The service did not come up with it; the version before was put back.
    RolledBack,
    /// It is installed, and the service was restarted with it.
    Current,
}

/// The file's word for each.
const WORDS: [(Word, &str); 5] = [
    (Word::Updating, "updating"),
    (Word::NotInstalled, "not-installed"),
    (Word::NotRestarted, "not-restarted"),
    (Word::RolledBack, "rolled-back"),
    (Word::Current, "current"),
];

impl Word {
    /// The word as it is written.
    pub fn as_str(self) -> &'static str {
        WORDS.iter().find(|(word, _)| *word == self).map_or("", |(_, text)| text)
    }
}

/// What a member told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// How far it is.
    pub word: Word,
    /// With which version.
    pub version: Version,
    /// When, in Unix seconds by its clock.
    pub at_unix_s: i64,
    /// Why, in one line; may be empty.
    message: String,
}

impl MemberState {
    /// What is to be told. The message becomes one line, and is cut where nobody would read on.
    pub fn new(word: Word, version: Version, at_unix_s: i64, message: &str) -> MemberState {
        let message: String = one_line(message.trim()).chars().take(LONGEST_MESSAGE).collect();
        MemberState { word, version, at_unix_s, message: message.trim_end().to_owned() }
    }

    /// Why, in one line without control characters; may be empty.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Reads the file; `None` where it is not one. Anyone may have left it there.
    pub fn parse(bytes: &[u8]) -> Option<MemberState> {
        if bytes.len() as u64 > LIMIT {
            return None;
        }
        let (line, message) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let mut fields = line.split(' ');
        let (word, version, at) = (fields.next()?, fields.next()?, fields.next()?);
        let (word, _) = WORDS.into_iter().find(|(_, known)| *known == word)?;
        if fields.next().is_some() {
            return None;
        }
        let version = Version::of_directory(version.as_bytes()).ok()?;
        Some(MemberState::new(word, version, at.parse().ok()?, message))
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        let MemberState { word, version, at_unix_s, message } = self;
        format!("{} {version} {at_unix_s}\n{message}\n", word.as_str()).into_bytes()
    }

    /// Whether this is worth sending after what was told last. A poll that fails every minute tells it once, and that the version
    /// is tried again takes no failure back.
    pub fn is_news_after(&self, told: Option<&MemberState>) -> bool {
        let Some(told) = told.filter(|told| told.version == self.version) else { return true };
        match self.word {
            Word::Updating => matches!(told.word, Word::RolledBack | Word::Current),
            Word::RolledBack => told.word != Word::RolledBack,
            Word::NotInstalled | Word::NotRestarted => {
                (told.word, &told.message) != (self.word, &self.message)
            }
            Word::Current => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(word: Word, version: &str, message: &str) -> MemberState {
        MemberState::new(word, Version::parse(version.as_bytes()).unwrap(), 1_523_618_578, message)
    }

    const V: &str = "20180413192258";

    #[test]
    fn it_has_a_line_of_facts_and_a_line_of_text() {
        let told = state(Word::NotInstalled, V, "no space left\n on the disk\x1b[2J");
        let text = "not-installed 20180413192258 1523618578\nno space left\\n on the disk\\u{1b}[2J\n";
        assert_eq!(String::from_utf8(told.render()).unwrap(), text);
        assert_eq!(MemberState::parse(&told.render()), Some(told));
    }

    #[test]
    fn what_is_no_state_is_none() {
        for bad in [
            "",
            "current 20180413192258 1",
            "Current 20180413192258 1\n\n",
            "current ../x 1\n\n",
            "current 20180413192258\n\n",
            "current 20180413192258 x\n\n",
            "current 20180413192258 1 2\n\n",
            "current  20180413192258 1\n\n",
            "current 20180413192258 99999999999999999999\n\n",
        ] {
            assert_eq!(MemberState::parse(bad.as_bytes()), None, "{bad:?}");
        }
        let large = format!("current {V} 1\n{}", "x".repeat(5000));
        assert_eq!(MemberState::parse(large.as_bytes()), None);
        assert_eq!(MemberState::parse(b"current 20180413192258 1\n\xff\n"), None);
    }

    #[test]
    fn the_longest_text_still_fits() {
        let told = state(Word::RolledBack, V, &"\u{9ec4}".repeat(1000));
        assert!(told.render().len() as u64 <= LIMIT);
        assert_eq!(MemberState::parse(&told.render()), Some(told));
    }

    #[test]
    fn a_failure_is_told_once_and_not_taken_back_by_a_new_try() {
        let news = |word, message, told: &MemberState| state(word, V, message).is_news_after(Some(told));
        let failed = state(Word::NotInstalled, V, "a");
        assert!(failed.is_news_after(None));
        assert!(!news(Word::NotInstalled, "a", &failed));
        assert!(news(Word::NotInstalled, "b", &failed));
        assert!(!news(Word::Updating, "", &failed));
        assert!(!news(Word::Updating, "", &state(Word::Updating, V, "")));
        assert!(news(Word::Updating, "", &state(Word::Current, V, "")));
        assert!(!news(Word::RolledBack, "b", &state(Word::RolledBack, V, "a")));
        assert!(news(Word::Current, "", &failed));
        assert!(news(Word::Updating, "", &state(Word::NotInstalled, "20170101", "a")));
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_back(
            word in proptest::sample::select(&WORDS[..]), at in any::<i64>(), message in "\\PC*|[\\x00-\\x7f]*"
        ) {
            let told = MemberState::new(word.0, Version::parse(V.as_bytes()).unwrap(), at, &message);
            prop_assert_eq!(MemberState::parse(&told.render()), Some(told));
        }

        #[test]
        fn no_bytes_become_more_than_a_line_of_text(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for begin in [&b""[..], b"current 20180413192258 1\n"] {
                if let Some(told) = MemberState::parse(&[begin, &bytes].concat()) {
                    prop_assert!(!told.message().chars().any(char::is_control));
                    prop_assert_eq!(MemberState::parse(&told.render()), Some(told));
                }
            }
        }
    }
}
