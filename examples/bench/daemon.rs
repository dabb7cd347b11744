//! A monitor's rsync daemon, and what goes over the line to it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A monitor's rsync daemon.
pub struct Daemon {
    /// Where it listens.
    pub port: u16,
    child: Child,
}

impl Daemon {
    /// Starts one over the tree in `root`/monitor; `options` are further ones of its command line.
    pub fn start(root: &Path, options: &[&str]) -> Result<Daemon> {
        let failed = |e: std::io::Error| format!("rsync --daemon: {e}");
        let mut config = "use chroot = no\nreverse lookup = no\nuid = root\ngid = root\n".to_owned();
        for module in ["datamining_plugin", "datamining_service"] {
            let path = root.join("monitor/rsync_service_data").join(module);
            config.push_str(&format!("[{module}]\npath = {}\nread only = no\n", path.display()));
        }
        let (file, log) = (root.join("rsyncd.conf"), root.join("rsyncd.log"));
        std::fs::write(&file, config).map_err(failed)?;
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(failed)?.port();
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .args(options)
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", file.display()))
            .arg(format!("--log-file={}", log.display()))
            .stdin(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let daemon = Daemon { port, child };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("rsync --daemon does not answer on port {port}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes that went over this thread's loopback until now, headers included: a daemon that sends does not log how many they were.
pub fn over_loopback() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")
        .map_err(|e| format!("/proc/thread-self/net/dev: {e}"))?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_ascii_whitespace().next());
    bytes
        .and_then(|bytes| bytes.parse().ok())
        .ok_or_else(|| "/proc/thread-self/net/dev has no loopback".to_owned())
}

/// 100 Mbit/s, as tc names it.
const RATE: &str = "100mbit";
/// The same in the unit of rsync's --bwlimit, KiB/s; what it counts has no headers.
const BANDWIDTH: &str = "--bwlimit=12207";

/// How a line of 100 Mbit/s was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slow {
    /// A loopback of the thread's own, which sends no faster.
    Loopback,
    /// The daemon sends no faster: nobody here may have a loopback of his own.
    Daemon,
}

impl Slow {
    /// Gives this thread, and whatever it starts, a loopback of 100 Mbit/s with packets of an Ethernet's size, where that is permitted.
    #[allow(unsafe_code)]
    pub fn line() -> Slow {
        // SAFETY: no pointer, and nothing of this process but the calling thread's network.
        let is_alone = unsafe { nix::libc::unshare(nix::libc::CLONE_NEWNET) } == 0;
        let did = |program: &str, arguments: &str| {
            Command::new(program).args(arguments.split(' ')).status().is_ok_and(|status| status.success())
        };
        if !is_alone {
            return Slow::Daemon;
        }
        let is_slow = did("ip", "link set lo mtu 1500 up")
            && did("tc", &format!("qdisc add dev lo root tbf rate {RATE} burst 64kb latency 200ms"));
        if is_slow {
            return Slow::Loopback;
        }
        // A network of its own without a rate: the daemon's limit holds there, too, once it is up.
        let _ = did("ip", "link set lo up");
        Slow::Daemon
    }

    /// What the daemon's command line needs beside.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Slow::Loopback => &[],
            Slow::Daemon => &[BANDWIDTH],
        }
    }

    /// How the line was made, for the table.
    pub fn how(self) -> &'static str {
        match self {
            Slow::Loopback => "at 100 Mbit/s (tc)",
            Slow::Daemon => "at 100 Mbit/s (--bwlimit of the daemon)",
        }
    }
}
