//! A world of files: one monitor, one deploy directory, members. It is built anew for every run at the same path, so that
//! two runs can be compared byte for byte.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::daemon::Daemon;
use super::outcome::{Outcome, Tree};
use super::parts;
use super::side::{Side, Tool};
use super::write_program;

/// The model of every test.
pub const MODEL: &str = "mblog_yellow";
/// Its library.
pub const LIBRARY: &str = "mblog_yellow.so";
/// Where members keep it.
pub const PREFIX: &str = "/data1/work/datasys/framework/service/workspace/plugin/mblog_yellow";

/// A temporary directory with a daemon, in which worlds come and go.
pub struct Sandbox {
    dir: tempfile::TempDir,
    daemon: Daemon,
    /// What a member's service listens on; the scripts' world needs none that really serves.
    service: TcpListener,
}

impl Sandbox {
    /// An empty sandbox; its daemon runs.
    pub fn new() -> Sandbox {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // `sh` inside the scripts (dispatchserver.sh calls `sh dispatch.sh`) is the shell under test.
        for shell in ["dash", "bash"] {
            let as_sh = dir.path().join(shell);
            std::fs::create_dir(&as_sh).unwrap();
            if let Some(program) = parts::find(shell) {
                symlink(program, as_sh.join("sh")).unwrap();
            }
        }
        // What only asks changes nothing: there is no container, and no line in the journal.
        let docker = "#!/bin/sh\n[ \"$1\" = run ] || exit 0\n{ echo docker; for a; do echo \"  $a\"; done; } >> \"$JOURNAL\"\n";
        write_with_mode(&bin.join("docker"), docker.as_bytes(), 0o755);
        let daemon = Daemon::start(dir.path(), &dir.path().join("world/monitor"));
        let service = TcpListener::bind("0.0.0.0:0").expect("a free port");
        Sandbox { dir, daemon, service }
    }

    /// The port on which every member's service answers.
    pub fn service_port(&self) -> u16 {
        self.service.local_addr().expect("the listener has an address").port()
    }

    /// A new world in place of the old one.
    pub fn world(&self) -> World<'_> {
        let root = self.dir.path().join("world");
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("the old world can be removed");
        }
        let world = World { root, sandbox: self };
        world.directory("monitor/rsync_service_data/datamining_plugin");
        world.directory("monitor/rsync_service_data/datamining_service");
        world.directory("monitor/scripts/dispatch/bin");
        world.directory("monitor/scripts/dispatch/log");
        world.write("monitor/scripts/dispatch/bin/dispatchserver.sh", REGISTRY_HEADER);
        world
    }

    /// The daemon, as whoever disturbs it has to know it.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The sandbox's directory, outside the worlds.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

const REGISTRY_HEADER: &str = "#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n";

/// One world.
pub struct World<'a> {
    /// Its directory.
    pub root: PathBuf,
    sandbox: &'a Sandbox,
}

impl World<'_> {
    /// A path in the world.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path below `datamining_plugin/MODEL`.
    pub fn upload(&self, relative: &str) -> PathBuf {
        self.path("monitor/rsync_service_data/datamining_plugin").join(MODEL).join(relative)
    }

    /// A path below `datamining_service/MODEL`.
    pub fn service(&self, relative: &str) -> PathBuf {
        self.path("monitor/rsync_service_data/datamining_service").join(MODEL).join(relative)
    }

    /// The registry.
    pub fn registry(&self) -> PathBuf {
        self.path("monitor/scripts/dispatch/bin/dispatchserver.sh")
    }

    /// Creates a directory.
    pub fn directory(&self, relative: impl AsRef<Path>) {
        std::fs::create_dir_all(self.path(relative)).expect("a directory in the world");
    }

    /// Writes a file, creating its directory; mode 644.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        write_with_mode(&self.path(relative), content.as_ref(), 0o644);
    }

    /// Writes a file with a mode.
    pub fn write_with_mode(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) {
        write_with_mode(&self.path(relative), content.as_ref(), mode);
    }

    /// Creates a symbolic link.
    pub fn link(&self, relative: impl AsRef<Path>, target: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Gives a file an age in seconds.
    pub fn age(&self, relative: impl AsRef<Path>, seconds: u64) {
        let file = std::fs::File::options().write(true).open(self.path(relative)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    /// A file's bytes.
    pub fn read(&self, relative: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(relative);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// What env.sh of a deploy directory says here.
    pub fn deploy_env_sh(&self) -> String {
        let port = self.sandbox.daemon.port;
        format!(
            "monitor=\"127.0.0.1\"\nmembers=\"127.0.0.11,127.0.0.12\"\nmodulename={MODEL}\nmoduleport=17019\nrsyncport={port}\n"
        )
    }

    /// The deploy directory of the manual: env.sh, one library, two files of data.
    pub fn deploy(&self) {
        self.write("deploy/env.sh", self.deploy_env_sh());
        self.write_with_mode(format!("deploy/online/release/{LIBRARY}"), "library 1\n", 0o755);
        self.write("deploy/online/data/feature.conf", "feature 1\n");
        self.write("deploy/online/data/fast_lr/predict.model", [0, 159, 146, 150]);
    }

    /// The same in the newer layout: release and data beside env.sh.
    pub fn newer_deploy(&self) {
        self.deploy();
        std::fs::rename(self.path("deploy/online/release"), self.path("deploy/release")).unwrap();
        std::fs::rename(self.path("deploy/online/data"), self.path("deploy/data")).unwrap();
        std::fs::remove_dir(self.path("deploy/online")).unwrap();
    }

    /// The directories of a registered model, with a service.conf that was corrected by hand.
    pub fn registered(&self) {
        for dir in ["lib", "data"] {
            self.directory(self.upload(dir));
        }
        self.directory(self.service("plugin"));
        self.service_conf("config_1", SERVICE_CONF);
    }

    /// Writes an instance's service.conf.
    pub fn service_conf(&self, instance: &str, content: impl AsRef<[u8]>) {
        self.write(self.service(&format!("{instance}/service.conf")), content);
    }

    /// A complete upload, announced.
    pub fn uploaded(&self, success: &str) {
        self.write_with_mode(self.upload(&format!("lib/{LIBRARY}")), "library 2\n", 0o755);
        self.write(self.upload("data/feature.conf"), "feature 2\n");
        self.write(self.upload("data/fast_lr/predict.model"), "model 2\n");
        self.write(self.upload("success"), success);
        // rsync takes a file of the same size and second for the same file, and a world is built within a second.
        for file in [&format!("lib/{LIBRARY}"), "data/feature.conf", "data/fast_lr/predict.model", "success"]
        {
            self.age(self.upload(file), 3600);
        }
    }

    /// The monitor's member list.
    pub fn member_list(&self, members: &str) {
        self.write(
            format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh"),
            format!("members=\"{members}\"\nmoduleport=17019 rsyncport={}\n", self.sandbox.daemon.port),
        );
    }

    /// The lock of the model's tick.
    pub fn tick_lock(&self) -> PathBuf {
        self.path(format!("monitor/scripts/dispatch/lock/{MODEL}.tick"))
    }

    /// The lock of the model's state.
    pub fn state_lock(&self) -> PathBuf {
        self.path(format!("monitor/scripts/dispatch/lock/{MODEL}.state"))
    }

    /// What the model has gone through, as the monitor keeps it.
    pub fn state(&self) -> Value {
        serde_json::from_slice(&self.read(self.service(".rollout/state.json"))).unwrap()
    }

    /// Changes what the monitor keeps.
    pub fn change_state(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        self.write(self.service(".rollout/state.json"), serde_json::to_vec_pretty(&state).unwrap());
    }

    /// This number of seconds goes by, as far as the rollout in flight can tell.
    pub fn rollout_ages(&self, seconds: i64) {
        self.change_state(|state| {
            for time in ["started_s", "began_s", "progress_s", "batch_confirmed_s"] {
                if let Some(at) = state["announced"][time].as_i64() {
                    state["announced"][time] = (at - seconds).into();
                }
            }
            for time in ["/announced/mark/at_s", "/announced/stall/since_s"] {
                if let Some(place) = state.pointer_mut(time)
                    && let Some(at) = place.as_i64()
                {
                    *place = (at - seconds).into();
                }
            }
        });
        if self.service("status").exists() {
            self.age(self.service("status"), u64::try_from(seconds).unwrap());
        }
    }

    /// How the rollout of the announced version stands: `running`, `paused`, ...
    pub fn phase(&self) -> String {
        self.state()["announced"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// What a version is worth; empty where the monitor does not know it.
    pub fn worth(&self, version: &str) -> String {
        let state = self.state();
        let releases = state["ledger"].as_array().unwrap();
        let release = releases.iter().find(|release| release["version"] == version);
        release.map_or(String::new(), |release| release["worth"].as_str().unwrap().to_owned())
    }

    /// Who may take the announced version; `None` where everybody may.
    pub fn admitted(&self) -> Option<Vec<String>> {
        let announcement = self.read(self.service(".rollout/announcement"));
        let announcement: Value = serde_json::from_slice(&announcement).unwrap();
        let members = announcement["admitted"]["members"].as_array()?;
        Some(members.iter().map(|member| member.as_str().unwrap().to_owned()).collect())
    }

    /// Adds lines to the monitor's member list.
    pub fn member_list_says(&self, lines: &str) {
        let path = format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh");
        self.write(&path, [self.read(&path), lines.as_bytes().to_vec()].concat());
    }

    /// A member's report.
    pub fn reported(&self, member: &str, version: &str) {
        self.write(self.service(&format!("version/{member}")), format!("{version}\n"));
    }

    /// A member's poller tells that it failed with a version: `rolled-back`, `not-installed`, ...
    pub fn failed(&self, member: &str, version: &str, word: &str) {
        let at_s = model_rollout::machine::clock::unix_now().0;
        let announcement = self.read(self.service(".rollout/announcement"));
        let announcement: Value = serde_json::from_slice(&announcement).unwrap();
        let [epoch, sequence, attempt] = ["epoch", "sequence", "attempt"].map(|key| &announcement[key]);
        let told = serde_json::json!({
            "word": word, "version": version, "seen": { "epoch": epoch, "sequence": sequence },
            "attempt": attempt, "at_unix_s": at_s, "message": "no",
        });
        self.write(self.service(&format!("version/.state-{member}")), format!("{told}\n"));
    }

    /// A published version, announced by service.conf.
    pub fn published(&self, version: &str) {
        self.write_with_mode(self.service(&format!("plugin/{version}/lib/{LIBRARY}")), "library 1\n", 0o755);
        self.write(self.service(&format!("plugin/{version}/data/feature.conf")), "feature 1\n");
        self.write(self.service(&format!("plugin/{version}/data/.hidden/x")), "x");
        self.write(self.service(&format!("plugin/{version}/success")), format!("{version}\n"));
        self.service_conf("config_1", announced(SERVICE_CONF, version));
    }

    /// The upload, published as this version, and announced by service.conf: what a script leaves
    /// that has done its part.
    pub fn upload_is_published(&self, version: &str) {
        self.service_conf("config_1", announced(SERVICE_CONF, version));
        let (upload, place) = (self.upload(""), self.service(&format!("plugin/{version}")));
        std::fs::create_dir_all(&place).unwrap();
        let copy = "for name in *; do cp -r \"$name\" \"$1/\"; done";
        let copied =
            Command::new("sh").args(["-c", copy, "sh"]).arg(place).current_dir(upload).status().unwrap();
        assert!(copied.success());
    }

    /// A member, called by an address of loopback.
    pub fn member(&self, address: &str) {
        let dir = format!("member-{address}");
        let journal = self.journal();
        self.write(
            format!("{dir}/watch/env.sh"),
            format!(
                "monitor=127.0.0.1\nrsyncport={}\nmodulename={MODEL}\nmoduleport={}\naddress={address}\n\
                 service_stop='echo stop {address} >> {journal}'\nservice_start='echo start {address} >> {journal}'\n",
                self.sandbox.daemon.port,
                self.sandbox.service_port(),
                journal = journal.display()
            ),
        );
        self.directory(format!("{dir}/watch/log"));
        self.directory(format!("{dir}/workspace"));
    }

    /// What a member's poller keeps.
    pub fn member_state(&self, address: &str) -> PathBuf {
        self.path(format!("member-{address}/workspace/bin/etc/.rollout/state.json"))
    }

    /// An earlier poll of a member left this to be done.
    pub fn left_to_be_done(&self, address: &str, todo: &str, version: &str) {
        let path = self.member_state(address);
        let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut state = known.unwrap_or_else(|| serde_json::json!({ "schema": 1 }));
        state["pending"] = serde_json::json!({ "todo": todo, "version": version });
        self.write(path, state.to_string());
    }

    fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    /// The command that a side runs for a tool, ready to be started. Polls are those of member 127.0.0.11.
    pub fn command(&self, tool: Tool, side: Side, arguments: &[&str]) -> Command {
        let line = side.command_line(tool);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(arguments);
        self.prepare(&mut command, tool, side);
        command
    }

    /// Gives a command the directory and the environment that a tool is run in.
    pub fn prepare(&self, command: &mut Command, tool: Tool, side: Side) {
        let shell = if side == Side::Script("bash") { "bash" } else { "dash" };
        let sandbox = self.sandbox.path();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(match tool {
                Tool::Push => self.path("deploy"),
                Tool::Registry => self.path("monitor/scripts/dispatch/bin"),
                Tool::Add | Tool::Dispatch | Tool::Poll | Tool::DockerRun => self.root.clone(),
            })
            .env("PATH", format!("{0}/{shell}:{0}/bin:{path}", sandbox.display()))
            .env("LC_ALL", side.locale())
            .env("MONITOR_ROOT", self.path("monitor"))
            .env("WATCH_ROOT", self.path("member-127.0.0.11/watch"))
            .env("WORKSPACE_ROOT", self.path("member-127.0.0.11/workspace"))
            .env("JOURNAL", self.journal())
            .stdin(Stdio::null());
        for name in [
            "SERVICE_ROOT",
            "PORT_REGISTRY",
            "ENV_SERVICE_NAME",
            "ENV_SERVICE_PORT",
            "RUST_LOG",
            "monitor",
            "members",
            "modulename",
        ] {
            command.env_remove(name);
        }
    }

    /// Runs a tool and keeps what it left behind.
    pub fn run(&self, tool: Tool, side: Side, arguments: &[&str]) -> Outcome {
        self.finish(&mut self.command(tool, side, arguments))
    }

    /// Runs a member's poll.
    pub fn poll(&self, side: Side, address: &str) -> Outcome {
        let mut command = self.command(Tool::Poll, side, &[]);
        command
            .env("WATCH_ROOT", self.path(format!("member-{address}/watch")))
            .env("WORKSPACE_ROOT", self.path(format!("member-{address}/workspace")));
        self.finish(&mut command)
    }

    /// Runs a command and keeps what it left behind.
    pub fn finish(&self, command: &mut Command) -> Outcome {
        let begun = model_rollout::machine::clock::now();
        let Output { status, stdout, stderr } = command.output().expect("the command starts");
        Outcome {
            command: format!("{command:?}"),
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            journal: self.journal_lines(),
            tree: Tree::read(&self.root, &begun),
        }
    }

    /// What is left now of a run that was finished before: the tree and the journal are read again.
    pub fn outcome_now(&self, outcome: Outcome) -> Outcome {
        let begun = model_rollout::machine::clock::now();
        Outcome { journal: self.journal_lines(), tree: Tree::read(&self.root, &begun), ..outcome }
    }

    /// What the stand-ins wrote down, in the order in which they were called.
    pub fn journal_lines(&self) -> Vec<String> {
        let journal = std::fs::read(self.journal()).unwrap_or_default();
        String::from_utf8_lossy(&journal).lines().map(str::to_owned).collect()
    }
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) {
    std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("its directory");
    if content.starts_with(b"#!") {
        return write_program(path, content, mode);
    }
    std::fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A service.conf as operators keep it: remarks, tabs, blank lines, a spaced key that nobody edits.
pub const SERVICE_CONF: &str = "[common]\n# 监听的端口\nport=17019\n\nworker_count=128\n\
    daemonize=0\t\t\t# 0: false; 1: true\nis_rpc_statistics = 1\n\n[module]\n# 模块的名字\nname=mblog_yellow\n\
    modulepath=/old/20170101000000/lib/mblog_yellow.so\nmoduleconfig=/old/20170101000000/data\ntype=so\n\n\
    moduleversion=20170101000000\n[monitor]\nzk_addr=zk://10.0.0.1:2181\nzk_group_id=media_service\n";

/// A service.conf that announces a version.
pub fn announced(conf: &str, version: &str) -> String {
    conf.replace("moduleversion=20170101000000", &format!("moduleversion={version}"))
        .replace("/old/20170101000000", &format!("{PREFIX}/{version}"))
}
