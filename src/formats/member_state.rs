//! `version/.state-ADDRESS`: what a member's poller last reported to the monitor, beside its
//! report. One JSON object. Legacy pollers leave none.
//!
//! - `word`: a report only says which version came up. That one is on its way, was refused, or was
//!   taken back, nobody else knows.
//! - `version`: a state about another one than the announced says nothing about the announced.
//! - `seen`: the highest announcement that the member has seen, and `attempt` which try of it this
//!   is about.
//! - `at_unix_s`: compared with the file's arrival it shows a member whose clock is wrong. Ages are
//!   counted from the arrival, since only the monitor's clock can be compared with the announcement
//!   and with a report.
//! - `message`: why; it is the error of the member's log, which an operator would otherwise have to
//!   look up there.

use serde::{Deserialize, Serialize};

use crate::error::one_line;
use crate::formats::announcement::Numbers;
use crate::version::Version;

/// The longest text that is sent, in characters; an error keeps what it says first.
const LONGEST_MESSAGE: usize = 400;

/// The largest file that is read, in bytes: the longest text in UTF-8, escaped, and the other
/// fields.
pub const LIMIT: u64 = 8 << 10;

/// How far a member is with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// What a member reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// How far it is.
    pub word: Word,
    /// With which version.
    pub version: Version,
    /// The highest announcement that it has seen; `None` where it follows service.conf, as a script
    /// does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Numbers>,
    /// Which attempt of that announcement this is about.
    #[serde(default)]
    pub attempt: u32,
    /// When, in Unix seconds by its clock.
    pub at_unix_s: i64,
    /// Why, in one line; may be empty.
    #[serde(default)]
    message: String,
}

impl MemberState {
    /// What is to be reported. The message becomes one line, and is cut where nobody would read on.
    pub fn new(word: Word, version: Version, at_unix_s: i64, message: &str) -> MemberState {
        MemberState { word, version, seen: None, attempt: 0, at_unix_s, message: short(message) }
    }

    /// The same, by a member that has seen this announcement.
    #[must_use]
    pub fn of(self, seen: Option<Numbers>, attempt: u32) -> MemberState {
        MemberState { seen, attempt, ..self }
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
        let state: MemberState = serde_json::from_slice(bytes).ok()?;
        Some(MemberState { message: short(&state.message), ..state })
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        // Strings and numbers: nothing that could not be written.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether this is worth sending after what was reported last. A poll that fails every minute
    /// reports it once, and that the version is tried again takes no failure back, unless an
    /// operator asked for it.
    pub fn is_news_after(&self, last: Option<&MemberState>) -> bool {
        let Some(last) = last.filter(|last| last.version == self.version && last.attempt == self.attempt)
        else {
            return true;
        };
        match self.word {
            Word::Updating => matches!(last.word, Word::RolledBack | Word::Current),
            Word::RolledBack => last.word != Word::RolledBack,
            Word::NotInstalled | Word::NotRestarted => {
                (last.word, &last.message) != (self.word, &self.message)
            }
            Word::Current => true,
        }
    }
}

fn short(message: &str) -> String {
    let message: String = one_line(message.trim()).chars().take(LONGEST_MESSAGE).collect();
    message.trim_end().to_owned()
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
    fn it_is_one_line_of_json() {
        let told = state(Word::NotInstalled, V, "no space left\n on the disk\x1b[2J");
        let text = "{\"word\":\"not-installed\",\"version\":\"20180413192258\",\"attempt\":0,\"at_unix_s\":1523618578,\
                    \"message\":\"no space left\\\\n on the disk\\\\u{1b}[2J\"}\n";
        assert_eq!(String::from_utf8(told.render()).unwrap(), text);
        assert_eq!(MemberState::parse(&told.render()), Some(told));
    }

    #[test]
    fn what_is_no_state_is_none() {
        let with = |version: &str, at: &str| {
            format!("{{\"word\":\"current\",\"version\":{version},\"at_unix_s\":{at}}}\n").into_bytes()
        };
        assert!(MemberState::parse(&with("\"20180413192258\"", "1")).is_some());
        for bad in [with("\"../x\"", "1"), with("1", "1"), with("\"20180413192258\"", "\"x\""), Vec::new()] {
            assert_eq!(MemberState::parse(&bad), None, "{}", String::from_utf8_lossy(&bad));
        }
        let large = [&with("\"20180413192258\"", "1")[..], &b" ".repeat(9000)].concat();
        assert_eq!(MemberState::parse(&large), None);
    }

    #[test]
    fn the_longest_text_still_fits() {
        for filler in ["\u{9ec4}", "\"", "\\"] {
            let told = state(Word::RolledBack, V, &filler.repeat(1000));
            assert!(told.render().len() as u64 <= LIMIT);
            assert_eq!(MemberState::parse(&told.render()), Some(told));
        }
    }

    #[test]
    fn a_failure_is_reported_once_and_not_taken_back_by_a_new_try() {
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
        let again = state(Word::NotInstalled, V, "a").of(None, 1);
        assert!(again.is_news_after(Some(&failed)), "an operator asked for another attempt");
    }

    proptest! {
        #[test]
        fn what_is_reported_is_read_back(
            word in proptest::sample::select(&WORDS[..]), at in any::<i64>(), message in "\\PC*|[\\x00-\\x7f]*"
        ) {
            let told = MemberState::new(word.0, Version::parse(V.as_bytes()).unwrap(), at, &message);
            prop_assert_eq!(MemberState::parse(&told.render()), Some(told));
        }
    }
}
