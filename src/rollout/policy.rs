//! How a model's rollout goes (the member list's `batches`, `pause`, `max_fail`, `timeout_minutes`, `progress_deadline_minutes`
//! and `on_timeout`). Without any of them it goes as the script's: to all at once, given up after 20 minutes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::formats::env_file::EnvFile;
use crate::names::{number, shown};
use crate::rollout::batches::Batches;
use crate::time::Seconds;

/// A rollout older than this times out (contract section 3, fCheckVersion), unless
/// `timeout_minutes` says otherwise.
pub const GIVEN_UP_AFTER: Seconds = Seconds(20 * 60);

/// The longest time that a rollout may be given, in minutes: a week.
const LONGEST_MINUTES: i64 = 7 * 24 * 60;

/// How a rollout goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How many members take a new version at a time.
    pub batches: Batches,
    /// How long the next batch waits after one was confirmed.
    pub pause: Seconds,
    /// The rollout is stopped as soon as this number of members has failed. They are counted over
    /// all batches, among the members that are admitted; held ones never count. `None` never stops
    /// it.
    pub max_fail: Option<usize>,
    /// When it times out.
    pub deadline: Deadline,
    /// What is done then.
    pub on_timeout: OnTimeout,
}

/// How long a rollout may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// Since it began, as the script counts it.
    SinceBegin(Seconds),
    /// Since a member reported the version last, or a batch was admitted.
    SinceProgress(Seconds),
}

/// What is done when a rollout times out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// It ends, as the script ends it: nobody else is admitted.
    #[default]
    Stop,
    /// The late members are skipped: the next batch is admitted, and its time begins anew.
    Continue,
    /// Where members failed, the version before is announced again, to all, and this one is marked
    /// bad.
    Rollback,
}

impl Default for Policy {
    /// The script's.
    fn default() -> Policy {
        Policy {
            batches: Batches::default(),
            pause: Seconds(0),
            max_fail: None,
            deadline: Deadline::SinceBegin(GIVEN_UP_AFTER),
            on_timeout: OnTimeout::Stop,
        }
    }
}

impl Policy {
    /// Whether a fleet of this size takes a version in more than one batch.
    pub fn is_in_batches(&self, members: usize) -> bool {
        self.batches.targets(members).len() > 1
    }

    /// Reads a list of that number of members. Fails (exit 2) on a value that is not one, naming
    /// file, line and key.
    pub fn parse(list: &EnvFile, members: usize) -> Result<Policy> {
        let batches = batches(list, members)?;
        let deadline = deadline(list)?;
        let pause = pause(list, &batches, members, deadline)?;
        let is_in_batches = batches.targets(members).len() > 1;
        let max_fail = list.optional("max_fail", max_fail)?.or(is_in_batches.then_some(1));
        Ok(Policy {
            batches,
            pause,
            max_fail,
            deadline,
            on_timeout: list.optional("on_timeout", OnTimeout::parse)?.unwrap_or_default(),
        })
    }
}

fn batches(list: &EnvFile, members: usize) -> Result<Batches> {
    let Some(batches) = list.optional("batches", Batches::parse)? else { return Ok(Batches::default()) };
    match batches.targets(members).last() {
        Some(last) if *last == members => Ok(batches),
        Some(last) => Err(list.refused(
            "batches",
            format!("the last batch ends with {last} of the {members} members; let it end with 100%"),
        )),
        None => Err(list.refused("batches", "there are no members to admit; set members")),
    }
}

/// A pause that does not fit into the time of a rollout would only be noticed when that times out.
fn pause(list: &EnvFile, batches: &Batches, members: usize, deadline: Deadline) -> Result<Seconds> {
    let pause = list.optional("pause", Seconds::parse)?.unwrap_or(Seconds(0));
    let count = i64::try_from(batches.targets(members).len().saturating_sub(1)).unwrap_or(i64::MAX);
    let (pauses, limit) = match deadline {
        Deadline::SinceBegin(limit) => (count, limit),
        Deadline::SinceProgress(limit) => (count.min(1), limit),
    };
    let total = pause.0.saturating_mul(pauses);
    if total < limit.0 {
        return Ok(pause);
    }
    let limit = limit.0 / 60;
    Err(list.refused(
        "pause",
        format!("the pauses take {total} s together, and a rollout times out after {limit} minutes; shorten them, or set timeout_minutes"),
    ))
}

fn deadline(list: &EnvFile) -> Result<Deadline> {
    let timeout = list.optional("timeout_minutes", minutes)?;
    Ok(match list.optional("progress_deadline_minutes", minutes)? {
        Some(limit) => Deadline::SinceProgress(limit),
        None => Deadline::SinceBegin(timeout.unwrap_or(GIVEN_UP_AFTER)),
    })
}

fn minutes(bytes: &[u8]) -> Result<Seconds> {
    match number(bytes, 5) {
        Some(minutes @ 1..=LONGEST_MINUTES) => Ok(Seconds(minutes * 60)),
        _ => Err(Error::usage(format!(
            "{} is not a number of minutes; use 1 to {LONGEST_MINUTES}",
            shown(bytes)
        ))),
    }
}

fn max_fail(bytes: &[u8]) -> Result<usize> {
    match number(bytes, 6) {
        Some(count @ 1..) => Ok(count),
        _ => Err(Error::usage(format!(
            "{} is not a number of members; the rollout stops when that number has failed, so use 1 or more",
            shown(bytes)
        ))),
    }
}

impl OnTimeout {
    fn parse(bytes: &[u8]) -> Result<OnTimeout> {
        match bytes {
            b"stop" => Ok(OnTimeout::Stop),
            b"continue" => Ok(OnTimeout::Continue),
            b"rollback" => Ok(OnTimeout::Rollback),
            other => Err(Error::usage(format!(
                "{} is nothing that can be done then; write stop, rollback or continue",
                shown(other)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::formats::shell::Context;
    use crate::time::LocalTime;

    fn read(list: &str) -> Result<Policy> {
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let context = Context { environment: &|_| None, now: &now };
        EnvFile::parse(Path::new("m.env.sh"), list.as_bytes(), &context)
            .and_then(|file| Policy::parse(&file, 2))
    }

    fn refused(list: &str) -> String {
        read(list).unwrap_err().to_string()
    }

    #[test]
    fn a_list_that_says_nothing_gets_the_scripts_rollout() {
        assert_eq!(read(""), Ok(Policy::default()));
    }

    #[test]
    fn a_rollout_in_batches_is_stopped_by_the_first_member_that_fails_unless_the_list_says_otherwise() {
        let max_fail = |list: &str| read(list).unwrap().max_fail;
        assert_eq!(max_fail("batches=1,100%"), Some(1));
        assert_eq!(max_fail("batches=1,100% max_fail=3"), Some(3));
        assert_eq!(max_fail("batches=100%"), None);
        assert_eq!(max_fail("max_fail=2"), Some(2));
        assert!(refused("max_fail=0").starts_with("m.env.sh:1: max_fail: \u{201c}0\u{201d} is not a number"));
    }

    #[test]
    fn the_time_of_a_rollout_is_counted_from_its_begin_or_from_its_last_progress() {
        let deadline = |list: &str| read(list).unwrap().deadline;
        assert_eq!(deadline("timeout_minutes=30"), Deadline::SinceBegin(Seconds(1800)));
        assert_eq!(
            deadline("timeout_minutes=30\nprogress_deadline_minutes=5"),
            Deadline::SinceProgress(Seconds(300))
        );
        for wrong in ["0", "-1", "20m", "10081", "1.5"] {
            let said = refused(&format!("\ntimeout_minutes={wrong}"));
            assert!(said.starts_with("m.env.sh:2: timeout_minutes: "), "{said}");
        }
        assert_eq!(read("on_timeout=continue").unwrap().on_timeout, OnTimeout::Continue);
        assert!(refused("on_timeout=explode").contains("write stop, rollback or continue"));
    }

    #[test]
    fn batches_that_never_reach_all_members_or_pause_too_long_are_refused_with_their_line() {
        let policy = read("batches=1,100%\npause=600").unwrap();
        assert_eq!((policy.batches.targets(2), policy.pause), (vec![1, 2], Seconds(600)));
        assert!(
            refused("\nbatches=1").starts_with("m.env.sh:2: batches: the last batch ends with 1 of the 2")
        );
        assert!(refused("batches=0,100%").starts_with("m.env.sh:1: batches: \u{201c}0\u{201d} is neither"));
        assert!(refused("batches=10%,20%").contains("the last batch ends with 1 of the 2 members"));
        let too_long = "batches=1,100%\npause=1200";
        assert!(refused(too_long).starts_with("m.env.sh:2: pause: the pauses take 1200 s"));
        assert!(read(&format!("{too_long}\ntimeout_minutes=21")).is_ok());
        assert!(read("pause=1200").is_ok(), "there is no pause in one batch of all");
    }
}
