//! What a start costs: cron makes one every minute on every host.

use std::path::Path;
use std::process::Command;

use crate::daemon::Daemon;
use crate::measure::{Subject, in_turns, nothing};
use crate::report::{Goal, Row};
use crate::{Bench, Result, tick};

const BINARIES: [&str; 8] = [
    "add_dispatch_docker",
    "rsync-push",
    "dispatch",
    "service_polling",
    "autoupdate-toggle",
    "port-registry",
    "dockerrun",
    "service-discovery",
];

const MODEL: &str = "model_0";

/// `--help` of each binary, a tick over one idle model, and a poll with nothing new, beside a shell that does nothing.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let rounds = if bench.quick { 30 } else { 200 };
    let shell = || shell(&["-c", ":"]);
    let beside_a_shell = |what: &str, command: &dyn Fn() -> Command, if_missed: &str| {
        pair(what, command, "dash -c :", &shell, rounds)
            .map(|row| row.goals(&[Goal::Ratio(1.3)]).if_missed(if_missed))
    };
    let mut rows = Vec::new();
    for name in BINARIES {
        let program = bench.binaries.join(name);
        let size = std::fs::metadata(&program).map_err(|e| format!("{}: {e}", program.display()))?.len();
        let what = format!("{name} --help ({} KiB)", size / 1024);
        let help = || {
            let mut command = Command::new(&program);
            command.arg("--help");
            command
        };
        rows.push(beside_a_shell(&what, &help, HELP_MISSED)?);
    }
    let tree = tick::Tree::with_models(bench, 1)?;
    rows.push(beside_a_shell("dispatch A P S, idle", &|| tree.one_model(), IDLE_MISSED)?);
    tree.remove()?;

    // A tenth of a second each.
    let rounds = rounds / 5;
    let member = Member::set_up(bench)?;
    let row = pair("service_polling, nothing new", &|| member.binary(), "dash -c :", &shell, rounds)?;
    rows.push(row.goals(&[Goal::Ratio(1.3)]).if_missed(POLL_MISSED));
    let rsync = "rsync of service.conf, and nothing else";
    let row = pair("service_polling, nothing new", &|| member.binary(), rsync, &|| member.rsync(), rounds)?;
    rows.push(row.goals(&[Goal::Ratio(1.3)]).if_missed(RSYNC_MISSED));
    let script = "service_polling.sh";
    rows.push(pair(
        "service_polling, nothing new",
        &|| member.binary(),
        script,
        &|| member.script(),
        rounds,
    )?);
    member.remove()?;
    Ok(rows)
}

const HELP_MISSED: &str = "the kernel and the loader take nine tenths of what the shell takes, whatever the program; over that come some 20 page faults for code and \
    for relocated constants, and clap, which describes the options anew at each start (up to 0.1 ms, for `dispatch`)";
const IDLE_MISSED: &str =
    "as for `--help`, with twelve looks, at rsyncd.conf and for something to be done, in place of the help";
const RSYNC_MISSED: &str = "a start of ours and the lock come on top of that connection";
const POLL_MISSED: &str = "nearly all of it is the `rsync` program and the daemon's answer (see the next row): a poll has to ask the monitor. A client of ours \
    for the daemon's protocol would save the start of a program; it would be some thousand lines that have to follow rsync's versions";

fn pair(
    what: &str,
    ours: &dyn Fn() -> Command,
    beside: &str,
    theirs: &dyn Fn() -> Command,
    rounds: usize,
) -> Result<Row> {
    let subjects = [ours, theirs].map(|command| Subject { before: &nothing, command });
    let [ours, theirs] = <[_; 2]>::try_from(in_turns(rounds, &subjects)?).map_err(|_| "two subjects")?;
    Ok(Row::new(what, ours, beside).theirs(theirs))
}

fn shell(arguments: &[&str]) -> Command {
    let mut command = Command::new("dash");
    command.args(arguments);
    command
}

/// A member that serves what its monitor announces.
struct Member<'a> {
    bench: &'a Bench,
    root: std::path::PathBuf,
    daemon: Daemon,
}

impl Member<'_> {
    fn set_up(bench: &Bench) -> Result<Member<'_>> {
        let root = bench.work.join("poll");
        let failed = |e: std::io::Error| format!("{}: {e}", root.display());
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text))
        };
        let conf = "[module]\nmodulepath=/x/20180413192258/lib/x.so\nmoduleversion=20180413192258\n";
        let announced =
            format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf");
        write(&announced, conf).map_err(failed)?;
        write("workspace/bin/etc/service.conf", conf).map_err(failed)?;
        let daemon = Daemon::start(&root, &[])?;
        let env_sh = format!(
            "monitor=127.0.0.1\nrsyncport={}\nmodulename={MODEL}\naddress=127.0.0.1\nservice_stop=true\nservice_start=true\n",
            daemon.port
        );
        write("watch/env.sh", &env_sh).map_err(failed)?;
        Ok(Member { bench, root, daemon })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("WATCH_ROOT", self.root.join("watch")).env("WORKSPACE_ROOT", self.root.join("workspace"));
        command
    }

    fn binary(&self) -> Command {
        self.command(&self.bench.binaries.join("service_polling"))
    }

    fn script(&self) -> Command {
        let mut command = self.command(Path::new("dash"));
        command.arg(self.bench.scripts.join("service_polling.sh"));
        command
    }

    fn rsync(&self) -> Command {
        let mut command = Command::new("rsync");
        command.arg(format!("--port={}", self.daemon.port));
        command.arg(format!("127.0.0.1::datamining_service/{MODEL}/config_1/service.conf"));
        command.arg(self.root.join("fetched"));
        command
    }

    fn remove(self) -> Result<()> {
        drop(self.daemon);
        std::fs::remove_dir_all(&self.root).map_err(|e| format!("{}: {e}", self.root.display()))
    }
}
