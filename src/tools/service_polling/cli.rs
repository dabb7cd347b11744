//! Arguments of `service_polling` -> a typed request.

use clap::Parser;

use crate::time::Seconds;

/// Fetches service.conf from the monitor; on a change fetches the version that it names, installs both and restarts the
/// service. Replaces service_polling.sh; its settings are in WATCH_ROOT/env.sh.
#[derive(Debug, Parser)]
#[command(name = "service_polling", version)]
pub struct Cli {
    /// Wait that long for another poll to end, instead of ending with exit code 75
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
}

impl Cli {
    /// How long to wait for the lock; `None` is not at all.
    pub fn wait(&self) -> Option<Seconds> {
        self.wait.map(|seconds| Seconds(i64::from(seconds)))
    }
}
