//! Cron, at a second for a minute: each host's job in a loop of its own, until the demo's end sweeps it away.

use std::path::Path;
use std::process::{Child, Command};

use crate::fleet::{Fleet, Member};
use crate::{Result, processes};

/// Not every second but a second after it ended, so that a job on a busy machine does not meet itself.
const LOOP: &str = r#"while :; do "$@"; sleep 1; done"#;

/// Who runs on the hosts.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Side {
    /// The scripts in legacy-scripts/.
    Scripts,
    /// What replaces them.
    Binaries,
}

/// The file that the ticks' complaints go to.
pub const TICKS: &str = "ticks.log";

/// The monitor's tick, again and again; the process that waits for each.
pub fn tick(fleet: &Fleet, side: Side) -> Result<Child> {
    let bin = fleet.monitor.root.join("scripts/dispatch/bin");
    let mut command = match side {
        Side::Scripts => repeated(Path::new("sh"), &["dispatchserver.sh"]),
        Side::Binaries => repeated(&fleet.binaries.join("dispatch"), &["--all"]),
    };
    command.current_dir(bin).env("MONITOR_ROOT", &fleet.monitor.root);
    processes::start(&fleet.dir, &mut command, &fleet.dir.join("log").join(TICKS))
}

/// A member's poll, again and again.
pub fn poll(fleet: &Fleet, member: &Member, side: Side) -> Result<()> {
    let watch = &member.trees.watch;
    let mut command = match side {
        Side::Scripts => repeated(Path::new("sh"), &["service_polling.sh"]),
        Side::Binaries => repeated(&fleet.binaries.join("service_polling"), &[]),
    };
    command.current_dir(watch).env("WATCH_ROOT", watch).env("WORKSPACE_ROOT", &member.trees.workspace);
    processes::start(&fleet.dir, &mut command, &watch.join("log/polling.log")).map(drop)
}

fn repeated(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", LOOP, "cron"]).arg(program).args(arguments);
    command
}
