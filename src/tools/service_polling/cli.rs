//! Arguments of `service_polling` -> a typed request.

use clap::Parser;

use crate::tools::WaitOption;

/// Fetches service.conf from the monitor; on a change fetches the version that it names, installs both and restarts the
/// service. Replaces service_polling.sh; its settings are in WATCH_ROOT/env.sh.
#[derive(Debug, Parser)]
#[command(name = "service_polling", version)]
pub struct Cli {
    #[command(flatten)]
    pub wait: WaitOption,
}
