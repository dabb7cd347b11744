//! The rollout of a release, by the commands that operators type and cron runs.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::{Fleet, MODEL, Member, file, quoted};
use crate::processes;
use crate::table::{self, Expected};
use crate::timeline::Timeline;
use crate::{Problem, Result};

/// What one release differs in from another.
#[derive(Clone, Copy)]
pub struct Release {
    /// Its name, compiled into the library.
    pub name: &'static str,
    /// The constant of its code.
    pub bias: &'static str,
    /// The figure in its data.
    pub weight: &'static str,
    /// What code and data make of the number 10.
    pub score: &'static str,
    /// How long it takes to load its data.
    pub load_seconds: u8,
}

/// The two releases of the demo.
pub const RELEASES: [Release; 2] = [
    Release { name: "first", bias: "0.5", weight: "2", score: "20.5", load_seconds: 0 },
    Release { name: "second", bias: "0.25", weight: "3", score: "30.25", load_seconds: 0 },
];

const TEST_HOST: &str = "test host";
/// What the monitor is called in the timeline.
pub const MONITOR: &str = "monitor";

/// Rolls out.
pub struct Rollout<'a> {
    /// To whom.
    pub fleet: &'a Fleet,
    /// Where it is told.
    pub timeline: &'a Timeline,
}

impl Rollout<'_> {
    /// The manual's first part: registers the model, and sees that its service.conf needs no correction.
    pub fn register(&self) -> Result<()> {
        let (members, port) = (self.fleet.addresses(), self.fleet.model_port.to_string());
        self.add_dispatch_docker(&["model", MODEL, MODEL, "--members", &members, "--port", &port])?;
        self.add_dispatch_docker(&["--check", MODEL])
    }

    fn add_dispatch_docker(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.binary("add_dispatch_docker");
        command.args(arguments).env("MONITOR_ROOT", &self.fleet.monitor.root);
        let shown = format!("add_dispatch_docker {}", arguments.join(" "));
        let said = self.run(MONITOR, &shown, command, &self.log("monitor.log"))?;
        self.timeline.outcome(&said);
        Ok(())
    }

    /// The manual's second part: build, push, dispatch, poll on each member, dispatch again. Fails unless every member
    /// then serves what was pushed.
    pub fn release(&self, release: Release) -> Result<()> {
        self.timeline.heading(&format!("The {} release", release.name));
        self.build(release)?;
        self.push()?;
        self.tick()?;
        self.expect_in_flight(true)?;
        for member in &self.fleet.members {
            self.poll(member)?;
        }
        self.tick()?;
        let ended = self.expect_in_flight(false);
        let pushed = fs::read_to_string(self.fleet.deploy.success()).unwrap_or_default();
        let expected = Expected { version: pushed.trim_end(), release: release.name, score: release.score };
        table::show(self.fleet, &expected).and(ended)
    }

    /// New code and new data in the deploy directory.
    pub fn build(&self, release: Release) -> Result<()> {
        let deploy = &self.fleet.deploy.dir;
        file(&deploy.join("online/data/weight.txt"), &format!("{}\n", release.weight))?;
        let library = format!("online/release/{MODEL}.so");
        let (name, bias) = (format!("-DRELEASE=\"{}\"", release.name), format!("-DBIAS={}", release.bias));
        let load = format!("-DLOAD_SECONDS={}", release.load_seconds);
        let arguments = ["-shared", "-fPIC", &name, &bias, &load, "-o", &library, "model.c"];
        let mut command = Command::new("cc");
        command.args(arguments).current_dir(deploy);
        let words = ["cc"].iter().chain(&arguments).map(|word| quoted(word));
        self.run(TEST_HOST, &words.collect::<Vec<_>>().join(" "), command, &self.log("cc.log"))?;
        self.timeline.outcome(&format!("{library}; online/data/weight.txt: {}", release.weight));
        Ok(())
    }

    /// Sends what is in the deploy directory as a new version.
    pub fn push(&self) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["rsync.sh", "update"]).current_dir(&self.fleet.deploy.dir);
        command.env("MODEL_ROLLOUT_BIN", &self.fleet.binaries);
        let said = self.run(TEST_HOST, "sh rsync.sh update", command, &self.log("test-host.log"))?;
        self.timeline.outcome(&said);
        Ok(())
    }

    /// What the monitor's cron runs every minute. It tells its story in the log that the registry names.
    fn tick(&self) -> Result<()> {
        let before = self.dispatch_log().len();
        let mut command = self.binary("dispatch");
        command.arg("--all").env("MONITOR_ROOT", &self.fleet.monitor.root);
        let said = self.run(MONITOR, "dispatch --all", command, &self.log("monitor.log"))?;
        let log = self.dispatch_log();
        let new = log.get(before..).unwrap_or_default();
        let told = new.lines().filter(|line| !line.starts_with("===="));
        self.timeline.outcome(&told.chain(said.lines()).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    /// What the ticks have told so far in the log that the registry names.
    pub fn dispatch_log(&self) -> String {
        let dir = self.fleet.monitor.root.join("scripts/dispatch/log");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        // The history has a file of its own there.
        let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
        let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_log).collect();
        // One file a day: a demo at midnight has two.
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
    }

    /// Between the first tick and the last, `status` and `success` are there; afterwards they are not.
    fn expect_in_flight(&self, expected: bool) -> Result<()> {
        let in_upload = self.fleet.monitor.uploads().join(MODEL).join("success");
        let in_service = self.fleet.monitor.services().join(MODEL).join("status");
        match (in_service.exists(), in_upload.exists()) {
            (true, true) if expected => self.timeline.outcome("status and success are there: in flight"),
            (false, false) if !expected => self.timeline.outcome("status and success are gone: ended"),
            (status, success) => {
                let must = if expected { "be in flight" } else { "have ended" };
                return Err(Problem::Failed(format!(
                    "the upgrade must {must}, but status is there: {status}, success is there: {success}"
                )));
            }
        }
        Ok(())
    }

    /// What a member's cron runs every minute, with its output in the log of cron's line.
    fn poll(&self, member: &Member) -> Result<()> {
        let mut command = self.binary("service_polling");
        command.env("WATCH_ROOT", &member.trees.watch).env("WORKSPACE_ROOT", &member.trees.workspace);
        let log = member.trees.watch.join("log/polling.log");
        let said = self.run(member.address, "service_polling", command, &log)?;
        self.timeline.outcome(&said);
        Ok(())
    }

    /// One of the rollout binaries.
    pub fn binary(&self, name: &str) -> Command {
        Command::new(self.fleet.binaries.join(name))
    }

    /// A log of the demo's own.
    pub fn log(&self, name: &str) -> PathBuf {
        self.fleet.dir.join("log").join(name)
    }

    /// Runs a command line of a host. Fails when it does, with what it said.
    pub fn run(&self, host: impl Display, shown: &str, mut command: Command, log: &Path) -> Result<String> {
        self.timeline.command(&host, shown);
        let finished = processes::run(&self.fleet.dir, &mut command, log)?;
        if finished.status.success() {
            return Ok(finished.text);
        }
        self.timeline.outcome(&finished.text);
        Err(Problem::Failed(format!("{host}: {shown}: {}", finished.status)))
    }
}
