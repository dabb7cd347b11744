//! `<workspace>/bin/etc/.rollout/state.json`: what a poller has to remember. One JSON document that
//! one rename replaces, so that every [`Change`] is there as a whole or not at all, wherever a poll
//! dies. Unknown keys are ignored: a later release may add some.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::formats::announcement::Bytes;
use crate::formats::member_state::MemberState;
use crate::rollout::follow::Memory;
use crate::version::Version;

/// The form of the document; it grows only when a key changes its meaning.
pub const SCHEMA: u32 = 1;

/// The largest document that is read, in bytes: two service.conf of the largest size, as lists of
/// numbers, and the rest.
pub const LIMIT: u64 = 16 << 20;

/// What remains to be done after a service.conf was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Todo {
    /// The service was not restarted yet, or could not be started.
    Restart,
    /// It was started and has not answered yet. It is not started again: it may be loading its
    /// model.
    Await,
    /// It came up, and that was not reported yet.
    Report,
    /// The service did not come up; the service.conf before is to be put back.
    Rollback,
    /// It is back, the service was started with it and has not answered yet.
    AwaitRollback,
}

/// What an earlier poll left to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What.
    pub todo: Todo,
    /// The version that was installed.
    pub version: Version,
    /// Which attempt of the announcement that was.
    #[serde(default)]
    pub attempt: u32,
}

/// A service.conf with which the service did not come up here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its bytes.
    pub conf: Bytes,
    /// In which attempt. A later one tries it again.
    #[serde(default)]
    pub attempt: u32,
}

/// The last report to the monitor, whether or not it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// What was reported.
    pub state: MemberState,
    /// Whether the daemon refused it: it may take no dot files.
    #[serde(default)]
    pub is_refused: bool,
    /// How often it was repeated since the monitor last had it.
    #[serde(default)]
    pub repeats: u32,
    /// When it was repeated last, in seconds since 1970.
    #[serde(default)]
    pub repeated_at_unix_s: i64,
}

impl Reported {
    /// A report that is about to be sent for the first time.
    pub fn new(state: MemberState) -> Reported {
        Reported { state, is_refused: false, repeats: 0, repeated_at_unix_s: 0 }
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is left to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The service.conf that was installed before the present one, and worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Bytes>,
    /// The last one that did not come up here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// The last version that came up here and was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Version>,
    /// The last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// The failure for which the site's `on-failure` ran last, until the service is up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<MemberState>,
    /// What is remembered of the monitor's announcements.
    #[serde(default)]
    pub memory: Memory,
}

impl Default for State {
    fn default() -> State {
        State {
            schema: SCHEMA,
            pending: None,
            previous: None,
            failed: None,
            served: None,
            reported: None,
            on_failure: None,
            memory: Memory::default(),
        }
    }
}

/// One step of a poll, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A service.conf is about to be installed.
    Installing {
        /// What remains to be done then.
        pending: Pending,
        /// The installed one, if it is one to go back to; otherwise the one before stays.
        previous: Option<Vec<u8>>,
        /// The version that is left.
        left: Option<Version>,
    },
    /// The installed one is a step further.
    Next(Pending),
    /// The service did not come up with it: another is about to be put back.
    Failed {
        /// What remains to be done now.
        pending: Pending,
        /// The service.conf that is not tried again.
        conf: Vec<u8>,
        /// The version that is put back.
        back: Option<Version>,
    },
    /// Nothing remains to be done; this service.conf works.
    Works(Vec<u8>),
    /// Nothing remains to be done: the one before was put back.
    PutBack,
}

impl State {
    /// Reads the document; `path` is for the error. Fails (exit 2) where it is damaged or a later
    /// release's: what was left to be done, and what did not come up here, would not be known.
    pub fn parse(path: &Path, source: &[u8]) -> Result<State> {
        let refused = |line: usize, column: usize, what: &str| {
            let path = path.display();
            Error::usage(format!("{path}:{line}:{column}: {what}; remove it, and the next poll begins anew"))
        };
        let state: State = serde_json::from_slice(source).map_err(|error| {
            let what = format!("this is not the state of service_polling: {error}");
            refused(error.line().max(1), error.column().max(1), &what)
        })?;
        if state.schema > SCHEMA {
            let what = format!("this state has schema {}: a newer service_polling wrote it", state.schema);
            return Err(refused(1, 1, &what));
        }
        Ok(state)
    }

    /// The document's bytes: lines that a person can read.
    pub fn render(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: nothing that could not be written.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether what is installed came up, as far as is known.
    pub fn works(&self) -> bool {
        match self.pending.as_ref().map(|pending| pending.todo) {
            Some(Todo::Restart | Todo::Await) => false,
            // After a rollback that is what was there before, and that worked.
            None | Some(Todo::Report | Todo::Rollback | Todo::AwaitRollback) => true,
        }
    }

    /// Makes a change.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Installing { pending, previous, left } => {
                self.memory.leave(left.as_ref(), &pending.version);
                if let Some(previous) = previous {
                    self.previous = Some(Bytes(previous.clone()));
                }
                self.pending = Some(pending.clone());
            }
            Change::Next(pending) => self.pending = Some(pending.clone()),
            Change::Failed { pending, conf, back } => {
                if let Some(back) = back {
                    self.memory.leave(Some(&pending.version), back);
                }
                self.failed = Some(Failed { conf: Bytes(conf.clone()), attempt: pending.attempt });
                self.pending = Some(pending.clone());
            }
            Change::Works(conf) => {
                self.pending = None;
                // What did not come up here is not tried again, also when others have worked since:
                // it may be announced again. Only if it is the one that works now, it has not
                // failed after all.
                self.failed = self.failed.take().filter(|failed| failed.conf.0 != *conf);
            }
            Change::PutBack => self.pending = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::Numbers;
    use crate::formats::member_state::Word;

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn pending(todo: Todo) -> Pending {
        Pending { todo, version: version("20180413192258"), attempt: 1 }
    }

    fn full() -> State {
        let state = MemberState::new(Word::RolledBack, version("20180413192258"), 1_523_618_578, "why");
        let mut memory = Memory { monitor: "10.0.0.1/m".to_owned(), ..Memory::default() };
        memory.seen = Some(Numbers { epoch: 1_500_000_000, sequence: 3 });
        State {
            pending: Some(pending(Todo::AwaitRollback)),
            previous: Some(Bytes(b"moduleversion=20180101000000\n".to_vec())),
            failed: Some(Failed { conf: Bytes(b"# \xbb\xc6\n".to_vec()), attempt: 1 }),
            served: Some(version("20180101000000")),
            reported: Some(Reported::new(state.clone())),
            on_failure: Some(state),
            memory,
            ..State::default()
        }
    }

    #[test]
    fn it_is_read_back_as_written_and_unknown_keys_are_ignored() {
        for state in [State::default(), full()] {
            let bytes = state.render();
            assert_eq!(State::parse(Path::new("s"), &bytes), Ok(state.clone()));
            let more = String::from_utf8(bytes).unwrap().replacen('{', "{\"colour\": \"red\",", 1);
            assert_eq!(State::parse(Path::new("s"), more.as_bytes()), Ok(state));
        }
    }

    #[test]
    fn what_is_damaged_or_a_later_releases_is_refused_with_the_remedy() {
        let bytes = full().render();
        for cut in 0..bytes.len() - 2 {
            let error = State::parse(Path::new("f"), &bytes[..cut]).unwrap_err();
            assert_eq!(error.exit.code(), 2);
            assert!(error.to_string().ends_with("; remove it, and the next poll begins anew"), "{error}");
        }
        let newer = String::from_utf8(bytes).unwrap().replace("\"schema\": 1", "\"schema\": 2");
        let error = State::parse(Path::new("f"), newer.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("f:1:1: this state has schema 2"), "{error}");
    }

    #[test]
    fn every_change_is_one_whole() {
        let mut state = State::default();
        let old = version("20180101000000");
        let conf = b"moduleversion=20180413192258\n".to_vec();
        let previous = Some(b"old".to_vec());
        let installing =
            Change::Installing { pending: pending(Todo::Restart), previous, left: Some(old.clone()) };
        state.change(&installing);
        assert_eq!((state.works(), &state.previous), (false, &Some(Bytes(b"old".to_vec()))));
        assert_eq!(state.memory.had, std::slice::from_ref(&old));
        state.change(&Change::Next(pending(Todo::Await)));
        assert!(!state.works());
        let rollback = pending(Todo::Rollback);
        state.change(&Change::Failed { pending: rollback, conf: conf.clone(), back: Some(old) });
        assert!(state.works());
        assert_eq!(state.failed, Some(Failed { conf: Bytes(conf.clone()), attempt: 1 }));
        assert_eq!(state.memory.had, [version("20180413192258")]);
        state.change(&Change::PutBack);
        assert_eq!(state.pending, None);
        // Without one that works, the one before stays.
        state.change(&Change::Installing { pending: pending(Todo::Restart), previous: None, left: None });
        assert_eq!(state.previous, Some(Bytes(b"old".to_vec())));
        state.change(&Change::Works(b"another".to_vec()));
        assert!(state.failed.is_some(), "it may be announced once more");
        state.change(&Change::Works(conf));
        assert_eq!((state.failed, state.pending), (None, None));
    }
}
