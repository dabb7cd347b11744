//! What turning updates off or on does, as pure functions of what was read.

use std::path::Path;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::time::LocalTime;
use crate::tools::autoupdate_toggle::cli::Verb;
use crate::tools::edit::Action;

mod crontab;
pub mod daemon;
pub mod effect;
pub mod hold;
mod rsyncd;

pub use rsyncd::{Edit, Site};

/// A crontab, or a list of held members, that is looked at.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The file, as messages name it.
    pub file: &'a Path,
    /// Its bytes.
    pub source: Vec<u8>,
    /// Local time.
    pub now: LocalTime,
}

impl Observed<'_> {
    fn shown(&self, time: DateTime<FixedOffset>) -> String {
        shown(time, &self.now)
    }
}

/// A time as the operator's clock shows it.
fn shown(time: DateTime<FixedOffset>, now: &LocalTime) -> String {
    time.with_timezone(now.instant.offset()).format("%F %R").to_string()
}

/// The steps; on an error nothing is to be done. `until` is when updates that are turned off come on again.
pub fn by_crontab(
    observed: &Observed,
    verb: Verb,
    until: Option<DateTime<FixedOffset>>,
) -> Result<Vec<Action>> {
    match verb {
        Verb::Disable => crontab::disable(observed, until),
        Verb::Enable => crontab::enable(observed),
        Verb::Status => crontab::status(observed),
    }
}

/// As [`by_crontab`], and the one file of the configuration that the steps are about.
pub fn by_rsyncd(site: &Site, verb: Verb, until: Option<DateTime<FixedOffset>>) -> Result<Edit> {
    match verb {
        Verb::Disable => site.disable(until),
        Verb::Enable => site.enable(),
        Verb::Status => site.status(),
    }
}
