//! A monitor's rsync daemon as an operator has it: a configuration with a pid file, a daemon that detaches itself.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::port::quiet_port;
use super::wait_until;

/// A configuration in a directory of its own. Dropping it ends the daemons that were started with a configuration there.
pub struct Rsyncd {
    /// The directory.
    pub dir: tempfile::TempDir,
    /// The port that the configuration names.
    pub port: u16,
}

/// What a run of `autoupdate-toggle` left.
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Rsyncd {
    /// A configuration on a port of its own; nothing runs.
    pub fn new() -> Rsyncd {
        let rsyncd = Rsyncd { dir: tempfile::tempdir().unwrap(), port: quiet_port() };
        rsyncd.configure("");
        rsyncd
    }

    /// Writes the configuration with lines for its one module, `m`, at the end.
    pub fn configure(&self, module: &str) {
        let (dir, port) = (self.dir.path().display(), self.port);
        let text = format!(
            "pid file = {dir}/rsyncd.pid\nport = {port}\naddress = 127.0.0.1\nlog file = {dir}/log\nuse chroot = no\n\
             reverse lookup = no\nmax verbosity = 0\n[m]\npath = {dir}\n{module}"
        );
        std::fs::write(self.conf(), text).unwrap();
    }

    /// The configuration.
    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("rsyncd.conf")
    }

    /// The pid file.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.path().join("rsyncd.pid")
    }

    /// Writes the pid file.
    pub fn write_pid_file(&self, content: impl AsRef<[u8]>) {
        std::fs::write(self.pid_file(), content).unwrap();
    }

    /// What the pid file names.
    pub fn pid(&self) -> i32 {
        std::fs::read_to_string(self.pid_file()).unwrap().trim().parse().unwrap()
    }

    /// Starts the daemon as the manual does; returns its number.
    pub fn start_by_hand(&self) -> i32 {
        let status =
            Command::new("rsync").arg("--daemon").arg(format!("--config={}", self.conf().display())).status();
        assert!(status.unwrap().success());
        wait_until("the daemon answers", || answers(self.port));
        self.pid()
    }

    /// Runs `autoupdate-toggle` with arguments and this configuration.
    pub fn toggle(&self, arguments: &str) -> Ran {
        toggle(&self.conf(), arguments)
    }

    /// The running processes that were started with a configuration of this directory.
    pub fn processes(&self) -> Vec<i32> {
        let dir = self.dir.path().display().to_string();
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"rsync\0--daemon\0")
                && String::from_utf8_lossy(&line).contains(&dir)
                && runs(*pid)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }

    /// Waits until this one is the only one: a daemon has a child for a moment for whoever has connected, if only to see whether it
    /// answers.
    pub fn is_alone(&self, pid: i32) {
        wait_until(&format!("only {pid} runs"), || self.processes() == [pid]);
    }
}

impl Drop for Rsyncd {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Runs `autoupdate-toggle` with arguments and a configuration.
pub fn toggle(conf: &Path, arguments: &str) -> Ran {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_autoupdate-toggle"))
        .args(arguments.split(' '))
        .arg("--config")
        .arg(conf)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    assert!(ran.stderr.lines().count() <= 1, "an error is one line: {}", ran.stderr);
    assert_eq!(ran.code == Some(0), ran.stderr.is_empty(), "{arguments}: {}", ran.stderr);
    ran
}

/// Whether a process runs (one that nobody has waited for does not).
pub fn runs(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// Whether an rsync daemon answers on a port. Reads its whole line: the daemon's log would hold an error otherwise.
pub fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok_and(|_| line.starts_with("@RSYNCD:"))
}
