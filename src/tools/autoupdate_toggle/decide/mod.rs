//! What turning updates off or on does, as pure functions of the file that was read.

use std::path::Path;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::ip_range::IpRange;
use crate::time::LocalTime;
use crate::tools::autoupdate_toggle::cli::{Request, Verb};
use crate::tools::edit::Action;

mod crontab;
pub mod daemon;
pub mod effect;
mod rsyncd;

/// What is looked at.
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
    /// A time as the operator's clock shows it.
    fn shown(&self, time: DateTime<FixedOffset>) -> String {
        time.with_timezone(self.now.instant.offset()).format("%F %R").to_string()
    }
}

/// The steps; on an error nothing is to be done. `until` is when updates that are turned off come on again.
pub fn decide(
    observed: &Observed,
    verb: Verb,
    until: Option<DateTime<FixedOffset>>,
    request: &Request,
) -> Result<Vec<Action>> {
    match request {
        Request::Rsyncd { module, ranges, .. } => {
            let site = rsyncd::Site { observed, module, ranges };
            match verb {
                Verb::Disable => site.disable(until),
                Verb::Enable => site.enable(),
                Verb::Status => site.status(),
            }
        }
        Request::Crontab(_) => match verb {
            Verb::Disable => crontab::disable(observed, until),
            Verb::Enable => crontab::enable(observed),
            Verb::Status => crontab::status(observed),
        },
    }
}

/// What to say about the effect of an edit, once `observed` is what was written; see [`effect::effect`].
pub fn effect(
    observed: &Observed,
    verb: Verb,
    module: &[u8],
    ranges: &[IpRange],
    seen: &effect::Seen,
) -> Result<Vec<String>> {
    effect::effect(&rsyncd::Site { observed, module, ranges }, verb, seen)
}
