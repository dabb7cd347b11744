//! A real rsync daemon on 127.0.0.1, on a port of its own, with the two modules of the monitor.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::port::quiet_port;

static VERSION: Once = Once::new();

/// A running daemon; dropping it stops it.
pub struct Daemon {
    /// Its port.
    pub port: u16,
    child: Child,
}

impl Daemon {
    /// Starts a daemon that exports the two directories of a monitor's tree. Its files lie in `dir`.
    pub fn start(dir: &Path, monitor_root: &Path) -> Daemon {
        Self::start_with_limit(dir, monitor_root, 0)
    }

    /// The same, with so many `max connections` for each module; 0 is no limit.
    pub fn start_with_limit(dir: &Path, monitor_root: &Path, max_connections: u32) -> Daemon {
        // Half of a transfer's time on loopback would be spent waiting for the next packet to be worth sending.
        let mut config = String::from("use chroot = no\nreverse lookup = no\nsocket options = TCP_NODELAY\n");
        let lock = dir.join("rsyncd.lock");
        config.push_str(&format!("max connections = {max_connections}\nlock file = {}\n", lock.display()));
        if super::parts::is_root() {
            config.push_str("uid = root\ngid = root\n");
        }
        for module in ["datamining_plugin", "datamining_service"] {
            let path = monitor_root.join("rsync_service_data").join(module);
            config.push_str(&format!("[{module}]\npath = {}\nread only = no\n", path.display()));
        }
        Self::start_with(dir, &config)
    }

    /// Starts a daemon with a configuration.
    pub fn start_with(dir: &Path, config: &str) -> Daemon {
        tell_version();
        let path = dir.join("rsyncd.conf");
        std::fs::write(&path, config).unwrap();
        // Another test may take the free port before the daemon does: then once more with another one.
        for _ in 0..20 {
            let port = quiet_port();
            let child = Command::new("rsync")
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", path.display()))
                .arg(format!("--log-file={}", dir.join("rsyncd.log").display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("rsync starts");
            let mut daemon = Daemon { port, child };
            if daemon.answers() {
                return daemon;
            }
        }
        panic!("no rsync daemon could be started; see {}", dir.join("rsyncd.log").display());
    }

    /// Sends a signal to its processes.
    pub fn signal(&self, whom: Whom, signal: Signal) {
        let daemon = i32::try_from(self.child.id()).unwrap();
        let mut pids = descendants(daemon);
        if whom == Whom::All {
            pids.insert(0, daemon);
        }
        for pid in pids {
            // One may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits until it serves nobody: one that lost its client may still be at work on what it got.
    pub fn wait_until_idle(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        super::wait_until("the daemon serves nobody", || {
            std::fs::read_to_string(&children).unwrap_or_default().trim().is_empty()
        });
    }

    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if greeting(self.port).is_some_and(|text| text.starts_with("@RSYNCD:")) {
                return self.child.try_wait().unwrap().is_none();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that a test stopped would stay for ever.
        self.signal(Whom::Serving, Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which of a daemon's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Those that serve a connection.
    Serving,
    /// The one that accepts connections, too.
    All,
}

fn descendants(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_ascii_whitespace().map(|pid| pid.parse().unwrap());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

fn greeting(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut text = [0; 8];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text.to_vec()).ok()
}

/// Which rsync the tests ran against belongs into their log, once.
pub fn tell_version() {
    VERSION.call_once(print_version);
}

fn print_version() {
    use std::io::Write;
    let output = Command::new("rsync").arg("--version").output().expect("rsync starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = format!("tested against the real {}\n", text.lines().next().unwrap_or("rsync"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
