//! Finds and stops every process of a demo, and no other.
//!
//! A process belongs to a demo when its environment holds the demo's mark, when it is the rsync daemon of that
//! directory, or when it descends from such a process or from the demo itself. Services are started by the poller in
//! groups of their own and outlive it, so neither parents nor groups alone would do; and a process has no environment
//! to read for an instant while it becomes another program, so marks alone would not either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::fleet::RSYNCD_CONF;
use crate::processes::MARK;

/// After this a process that was asked to end is killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// After this the demo gives up.
const LIMIT: Duration = Duration::from_secs(10);
/// How often in a row nothing must be found.
const QUIET_SCANS: u32 = 3;

/// Stops every process of the demo in `dir`, and those that they start meanwhile.
pub fn stop_all(dir: &Path) -> Result<(), String> {
    let start = Instant::now();
    let mut quiet = 0;
    while quiet < QUIET_SCANS {
        reap();
        let found = processes_of(dir);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if start.elapsed() > LIMIT {
            return Err(format!("processes {found:?} do not end; {} stays", dir.display()));
        }
        let signal = if start.elapsed() < PATIENCE { Signal::SIGTERM } else { Signal::SIGKILL };
        for pid in found {
            let _ = kill(Pid::from_raw(pid), signal);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Takes note of ended children, so that they vanish from the list of processes.
pub fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// The living processes of a demo.
fn processes_of(dir: &Path) -> BTreeSet<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let parents = parents();
    let mut found: BTreeSet<i32> =
        parents.keys().copied().filter(|pid| is_marked(*pid, dir) || is_daemon(*pid, dir)).collect();
    found.insert(own);
    loop {
        let children = parents.iter().filter(|(pid, parent)| found.contains(parent) && !found.contains(pid));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&own);
    found
}

/// Every living process and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // "pid (name) state parent ...", and a name may hold anything.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
            (state != "Z" && state != "X").then_some((pid, parent))
        })
        .collect()
}

fn is_marked(pid: i32, dir: &Path) -> bool {
    let mark = [MARK.as_bytes(), b"=", dir.as_os_str().as_bytes()].concat();
    holds(pid, "environ", &mark)
}

/// rsync's daemon may overwrite its environment with its title; its command line names the directory too.
fn is_daemon(pid: i32, dir: &Path) -> bool {
    let option = [b"--config=", dir.join(RSYNCD_CONF).as_os_str().as_bytes()].concat();
    holds(pid, "cmdline", &option)
}

/// Whether one of the strings in a file of /proc is this one.
fn holds(pid: i32, file: &str, wanted: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| bytes.split(|b| *b == 0).any(|s| s == wanted))
}
