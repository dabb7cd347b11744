//! Arguments of `service_polling` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use crate::error::Result;
use crate::tools::WaitOption;
use crate::tools::service_polling::spread::Spread;

/// Fetches service.conf from the monitor; on a change fetches the version that it names, installs
/// both and restarts the service. Replaces service_polling.sh; its settings are in
/// WATCH_ROOT/env.sh.
#[derive(Debug, Parser)]
#[command(name = "service_polling", version)]
pub struct Cli {
    /// Poll at an instant of this member's own within the first SECONDS (0 to 59) of the minute,
    /// not at second 0 [default: spread in env.sh, otherwise 0]
    #[arg(long, value_name = "SECONDS")]
    spread: Option<OsString>,
    /// How long to wait for the lock.
    #[command(flatten)]
    pub wait: WaitOption,
}

impl Cli {
    /// The spread that was asked for. Fails (exit 2) on anything but 0 to 59.
    pub fn spread(&self) -> Result<Option<Spread>> {
        let spread = self.spread.as_ref().map(|text| Spread::parse(text.as_bytes()));
        spread.transpose().map_err(|e| e.context("--spread"))
    }
}
