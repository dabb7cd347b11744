//! What a start costs: cron makes one every minute on every host.

use std::process::Command;

use crate::measure::{Subject, in_turns, nothing};
use crate::report::Row;
use crate::{Bench, Result, tick};

const BINARIES: [&str; 5] =
    ["add_dispatch_docker", "rsync-push", "dispatch", "service_polling", "autoupdate-toggle"];

/// `--help` of each binary, and a tick over one idle model, beside a shell that does nothing.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let rounds = if bench.quick { 30 } else { 200 };
    let shell = || {
        let mut command = Command::new("dash");
        command.args(["-c", ":"]);
        command
    };
    let tree = tick::Tree::with_models(bench, 1)?;
    let mut rows = Vec::new();
    for name in BINARIES {
        let help = || {
            let mut command = Command::new(bench.binaries.join(name));
            command.arg("--help");
            command
        };
        rows.push(beside_a_shell(&format!("{name} --help"), &help, &shell, rounds)?);
    }
    rows.push(beside_a_shell("dispatch A P S, idle", &|| tree.one_model(), &shell, rounds)?);
    Ok(rows)
}

fn beside_a_shell(
    what: &str,
    command: &dyn Fn() -> Command,
    shell: &dyn Fn() -> Command,
    rounds: usize,
) -> Result<Row> {
    let subjects = [command, shell].map(|command| Subject { before: &nothing, command });
    let [ours, theirs] = <[_; 2]>::try_from(in_turns(rounds, &subjects)?).map_err(|_| "two subjects")?;
    let beside = "dash -c :".to_owned();
    Ok(Row {
        what: what.to_owned(),
        beside,
        ours,
        theirs: Some(theirs),
        goal: Some(1.3),
        bytes: None,
        memory_goal: None,
    })
}
