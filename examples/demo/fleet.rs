//! The fleet: a monitor with its rsync daemon, a test host's deploy directory, three members. All on loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use model_rollout::layout::{self, Deploy, Monitor};

use crate::processes;
use crate::timeline::Timeline;
use crate::{Problem, Result};

/// The model that is rolled out.
pub const MODEL: &str = "mblog_yellow";
/// The daemon's configuration, below the demo's directory.
pub const RSYNCD_CONF: &str = "rsyncd.conf";
/// Where the monitor is.
pub const MONITOR: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The first member's address; the others' follow.
const FIRST_MEMBER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// A host that serves the model.
pub struct Member {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its two trees.
    pub trees: layout::Member,
}

/// Everything that there is.
pub struct Fleet {
    /// The demo's directory.
    pub dir: PathBuf,
    /// The directory of the rollout binaries.
    pub binaries: PathBuf,
    /// The directory of this example and the model service.
    pub examples: PathBuf,
    /// The monitor's tree.
    pub monitor: Monitor,
    /// The rsync daemon's port.
    pub rsync_port: u16,
    /// The test host's deploy directory.
    pub deploy: Deploy,
    /// The port that every member serves on.
    pub model_port: u16,
    /// The members.
    pub members: Vec<Member>,
}

impl Fleet {
    /// Makes the trees of so many members, and starts the monitor's daemon.
    pub fn set_up(dir: &Path, members: u8, timeline: &Timeline) -> Result<Fleet> {
        let (binaries, examples) = programs()?;
        // Of every demo its own, below the kernel's own choices, so that two demos at once do not meet.
        let own = u16::try_from(std::process::id() % 8000).unwrap_or(0);
        let first = u32::from(FIRST_MEMBER);
        let addresses: Vec<Ipv4Addr> = (first..first + u32::from(members)).map(Ipv4Addr::from).collect();
        let member = |address: &Ipv4Addr| {
            let home = dir.join("members").join(address.to_string());
            let trees = layout::Member { watch: home.join("watch"), workspace: home.join("workspace") };
            Member { address: *address, trees }
        };
        let fleet = Fleet {
            dir: dir.to_path_buf(),
            binaries,
            examples,
            monitor: Monitor { root: dir.join("monitor") },
            rsync_port: free_port(8730 + own, &[MONITOR])?,
            deploy: Deploy { dir: dir.join("test-host").join(MODEL) },
            model_port: free_port(17019 + own, &addresses)?,
            members: addresses.iter().map(member).collect(),
        };
        directory(&dir.join("log"))?;
        fleet.make_monitor()?;
        fleet.make_deploy_directory()?;
        for member in &fleet.members {
            fleet.make_member(member)?;
        }
        fleet.start_daemon(timeline)?;
        Ok(fleet)
    }

    /// The members' addresses, as options and env.sh name them.
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.members.iter().map(|member| member.address.to_string()).collect();
        addresses.join(",")
    }

    /// The service of a member.
    pub fn service_of(&self, member: &Member) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(member.address, self.model_port))
    }

    fn make_monitor(&self) -> Result<()> {
        directory(&self.monitor.uploads())?;
        directory(&self.monitor.services())?;
        directory(&self.monitor.root.join("scripts/dispatch/log"))?;
        let header = "#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n";
        file(&self.monitor.registry(), header)?;
        // A daemon that was started by root serves files as nobody, unless it is told otherwise.
        let owner = if nix::unistd::geteuid().is_root() { "uid = root\ngid = root\n" } else { "" };
        let in_dir = |name: &str| self.dir.join(name).display().to_string();
        let module =
            |name: &str, path: PathBuf| format!("\n[{name}]\npath = {}\nread only = no\n", path.display());
        let conf = format!(
            "address = {MONITOR}\nport = {}\nuse chroot = no\npid file = {}\nlog file = {}\n{owner}{}{}",
            self.rsync_port,
            in_dir("rsyncd.pid"),
            in_dir("log/rsyncd.log"),
            module(layout::PLUGIN_MODULE, self.monitor.uploads()),
            module(layout::SERVICE_MODULE, self.monitor.services()),
        );
        file(&self.dir.join(RSYNCD_CONF), &conf)
    }

    fn make_deploy_directory(&self) -> Result<()> {
        let env_sh = format!(
            "monitor={MONITOR}\nrsyncport={}\nmembers={}\nmodulename={MODEL}\nmoduleport={}\n",
            self.rsync_port,
            self.addresses(),
            self.model_port
        );
        file(&self.deploy.env_sh(), &env_sh)?;
        file(&self.deploy.dir.join("rsync.sh"), include_str!("../../compat/rsync.sh"))?;
        file(&self.deploy.dir.join("model.c"), include_str!("model.c"))?;
        directory(&self.deploy.dir.join("online/release"))?;
        directory(&self.deploy.dir.join("online/data"))
    }

    fn make_member(&self, member: &Member) -> Result<()> {
        let workspace = &member.trees.workspace;
        for name in ["bin/etc", "plugin", "log", "temp"] {
            directory(&workspace.join(name))?;
        }
        let service_sh = workspace.join("bin/service.sh");
        file(&service_sh, include_str!("service.sh"))?;
        let service_env = format!(
            "address={}\nprogram={}\nexport {}={}\n",
            member.address,
            quoted(&self.examples.join("model_service").display().to_string()),
            processes::MARK,
            quoted(&self.dir.display().to_string()),
        );
        file(&workspace.join("bin/service.env"), &service_env)?;
        let command =
            |what: &str| quoted(&format!("sh {} {what}", quoted(&service_sh.display().to_string())));
        let env_sh = format!(
            "monitor={MONITOR}\nrsyncport={}\nmodulename={MODEL}\nmoduleport={}\naddress={}\n\
             service_start={}\nservice_stop={}\nservice_timeout=10\n",
            self.rsync_port,
            self.model_port,
            member.address,
            command("start"),
            command("stop"),
        );
        directory(&member.trees.watch.join("log"))?;
        file(&member.trees.env_sh(), &env_sh)
    }

    /// The daemon stays in the foreground of a group of its own: what it says about a bad start is seen.
    fn start_daemon(&self, timeline: &Timeline) -> Result<()> {
        let conf = format!("--config={}", self.dir.join(RSYNCD_CONF).display());
        let log = self.dir.join("log/rsync-daemon.log");
        timeline.command("monitor", &format!("rsync --daemon {conf}"));
        let mut command = Command::new("rsync");
        let mut daemon = processes::start(&self.dir, command.args(["--daemon", "--no-detach", &conf]), &log)?;
        processes::wait_until("the rsync daemon answers", || {
            let ended = daemon.try_wait().map_err(|e| format!("cannot wait for rsync: {e}"))?;
            if let Some(status) = ended {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(Problem::Failed(format!(
                    "the rsync daemon ended, {status}: {}",
                    said.trim_end()
                )));
            }
            Ok(TcpStream::connect((MONITOR, self.rsync_port)).is_ok())
        })?;
        timeline.outcome(&format!("listens on {MONITOR}:{}", self.rsync_port));
        Ok(())
    }
}

/// The directories of the rollout binaries and of the examples: target/release and target/release/examples.
fn programs() -> Result<(PathBuf, PathBuf)> {
    let own = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let examples = own.parent().unwrap_or(Path::new("/")).to_path_buf();
    let binaries = examples.parent().unwrap_or(Path::new("/")).to_path_buf();
    let needed =
        ["add_dispatch_docker", "rsync-push", "dispatch", "service_polling"].map(|name| binaries.join(name));
    for program in needed.iter().chain([&examples.join("model_service")]) {
        if !program.is_file() {
            return Err(Problem::Failed(format!("{} is not there; run make demo", program.display())));
        }
    }
    Ok((binaries, examples))
}

/// The first port from `start` on that is free on all these addresses.
fn free_port(start: u16, addresses: &[Ipv4Addr]) -> Result<u16> {
    let is_free = |port: &u16| addresses.iter().all(|address| TcpListener::bind((*address, *port)).is_ok());
    let port = (start..start.saturating_add(100)).find(is_free);
    port.ok_or_else(|| Problem::Failed(format!("no free port from {start} on, on {addresses:?}")))
}

/// A word for the shell and for env.sh; quoted only where that is needed.
pub fn quoted(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:,+@%=".contains(c)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Makes a directory and its parents.
pub fn directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Problem::Failed(format!("cannot make {}: {e}", path.display())))
}

/// Writes a file, and makes its directory.
pub fn file(path: &Path, text: &str) -> Result<()> {
    directory(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(path, text).map_err(|e| Problem::Failed(format!("cannot write {}: {e}", path.display())))
}
