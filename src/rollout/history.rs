//! What the history tells of an event. It is put into the state by the same rename as the event
//! itself, and taken out when the history has it: so each fact has exactly one line, whatever dies
//! in between.

use serde::{Deserialize, Serialize};

/// One line of the history (docs/fleet.md, "History"), without the model and the host, which do not
/// change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which one this is: the number of its event, its place among those of that event, and when.
    pub id: String,
    /// When, in seconds since 1970.
    pub at_s: i64,
    /// Who.
    pub by: String,
    /// What happened: `pushed`, `published`, `held`, ...
    pub event: String,
    /// The version that it is about; empty where it is about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The members that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Of `published`: how long after the push arrived; of `confirmed`: how long after the rollout
    /// began. In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<i64>,
    /// Of `pushed`, `restored` and `refused`: which push.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub push: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}
