//! `--keep`: how to look at a fleet that stays up.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::fleet::{Fleet, MODEL, file, quoted};
use crate::timeline::say;

/// The file of the commands, to be sourced by a shell.
pub const COMMANDS: &str = "commands.sh";

/// Writes the commands that make the demo's hosts handy in a shell.
pub fn write_commands(fleet: &Fleet) -> Result<()> {
    let shown = |path: &Path| quoted(&path.display().to_string());
    let text = format!(
        r#"# The demo's hosts, as commands of the shell that sources this file.
demo_dir={dir}
demo_binaries={binaries}
push() {{ (cd {deploy} && MODEL_ROLLOUT_BIN=$demo_binaries sh rsync.sh update); }}
tick() {{ MONITOR_ROOT={monitor} "$demo_binaries/dispatch" --all; }}
poll() {{
    for member in "$demo_dir"/members/*; do
        WATCH_ROOT=$member/watch WORKSPACE_ROOT=$member/workspace "$demo_binaries/service_polling"
    done
}}
ask() {{
    for member in "$demo_dir"/members/*; do
        echo "${{member##*/}} serves $("$demo_binaries/examples/demo" --ask "${{member##*/}}:{port}")"
    done
}}
"#,
        dir = shown(&fleet.dir),
        binaries = shown(&fleet.binaries),
        deploy = shown(&fleet.deploy.dir),
        monitor = shown(&fleet.monitor.root),
        port = fleet.model_port,
    );
    file(&fleet.dir.join(COMMANDS), &text)
}

/// Says how to look.
pub fn explain(dir: &Path) {
    let shown = quoted(&dir.display().to_string());
    let program = std::env::current_exe().unwrap_or_default();
    let addresses = fs::read_dir(dir.join("members")).into_iter().flatten().flatten();
    let mut addresses: Vec<_> = addresses.map(|entry| entry.file_name()).collect();
    addresses.sort();
    let member = addresses.first().map_or("ADDRESS".to_owned(), |name| name.to_string_lossy().into_owned());
    say(format_args!(
        "
The fleet stays up. To look at it:

  cd {shown}
  . ./{COMMANDS}  # four commands for this shell:
    ask    which version every member serves
    push   sends test-host/{MODEL}/online as a new version
    tick   what cron runs on the monitor (dispatch --all)
    poll   what cron runs on the members (service_polling)

Change something in online/data, then: push; tick; poll; tick; ask

  monitor/                  the monitor's tree; its log is in scripts/dispatch/log
  test-host/{MODEL}/   the deploy directory
  members/{member}/       watch/env.sh, workspace/bin/etc/service.conf, workspace/log
  log/                      what the demo's commands and the rsync daemon said

To stop it:

  make demo-stop DIR={shown}
or
  {} --stop {shown}",
        quoted(&program.display().to_string())
    ));
}
