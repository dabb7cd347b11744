//! Which of the host's processes is the rsync daemon of a configuration.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::names::shown;
use crate::process::Process;
use crate::tools::autoupdate_toggle::decide::daemon::settings::{By, Settings};

/// Which configuration a daemon reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// The one that is asked about.
    This,
    /// Another one, which its command line names.
    Other(PathBuf),
    /// The one that it was built with: its command line names none, and that one is not asked about.
    NotNamed,
}

/// A running `rsync --daemon`: a daemon, or what serves one of its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// The process.
    pub process: Process,
    /// What it reads.
    pub config: Config,
    /// Where it accepts connections; `None` when that could not be seen.
    pub listening: Option<Vec<SocketAddr>>,
}

/// What a pid file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// There is no such file.
    Missing,
    /// Nothing.
    Empty,
    /// A number, and the process's if it can be one.
    Number(String, Option<i32>),
    /// Something that no rsync daemon wrote.
    Foreign,
}

impl Content {
    /// Reads a pid file's bytes.
    pub fn read(bytes: &[u8]) -> Content {
        let text = bytes.trim_ascii();
        if text.is_empty() {
            return Content::Empty;
        }
        match std::str::from_utf8(text) {
            Ok(number) if number.len() <= 20 && number.bytes().all(|b| b.is_ascii_digit()) => {
                Content::Number(number.to_owned(), number.parse().ok().filter(|pid| *pid > 0))
            }
            _ => Content::Foreign,
        }
    }

    /// The number of a process, if there can be one.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Content::Number(_, pid) => *pid,
            _ => None,
        }
    }
}

/// What was seen on the host.
#[derive(Debug, Clone)]
pub struct Host {
    /// What the pid file holds.
    pub pid_file: Content,
    /// Its bytes.
    pub pid_file_bytes: Vec<u8>,
    /// Who holds its lock, as the daemon does while it runs (rsync 3.2 and newer); not positive where it cannot be named.
    pub lock_holder: Option<i32>,
    /// The process that it names, whatever that is.
    pub named: Option<Process>,
    /// All that run as `rsync --daemon`.
    pub daemons: Vec<Daemon>,
}

/// Whether a process runs as `rsync --daemon`; with `--server` it serves one connection of a remote shell.
pub fn is_daemon(process: &Process) -> bool {
    let has = |option: &[u8]| process.arguments.iter().any(|argument| argument == option);
    process.program == b"rsync" && has(b"--daemon") && !has(b"--server")
}

/// The configuration that a daemon's command line names; the last one counts.
pub fn config_named(arguments: &[Vec<u8>]) -> Option<PathBuf> {
    let mut named: Option<&[u8]> = None;
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        if let Some(path) = argument.strip_prefix(b"--config=") {
            named = Some(path);
        } else if argument == b"--config" {
            named = arguments.next().map(Vec::as_slice);
        }
    }
    named.map(|path| PathBuf::from(OsStr::from_bytes(path)))
}

/// The daemon of a configuration.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// It runs.
    One(&'a Daemon),
    /// It does not run.
    None,
    /// Several run, and the pid file names none of them.
    Several(&'a Daemon, &'a Daemon),
}

impl Host {
    /// Which of the daemons is the one of the configuration.
    ///
    /// It reads that configuration: its command line names it, or names none and it is the one that rsync reads then. Where
    /// the command line says nothing, the pid file decides, if it is the configuration's own and not only the manual's.
    pub fn find(&self, settings: &Settings) -> Found<'_> {
        // The lock cannot be left behind, a number can.
        let named = [self.lock_holder, self.pid_file.pid()];
        let is_named = |daemon: &Daemon| named.contains(&Some(daemon.process.id.pid));
        let is_it = |daemon: &&Daemon| {
            self.accepts_connections(daemon)
                && match daemon.config {
                    Config::This => true,
                    Config::NotNamed => settings.pid_file_by != By::Manual && is_named(daemon),
                    Config::Other(_) => false,
                }
        };
        let mut candidates: Vec<&Daemon> = self.daemons.iter().filter(is_it).collect();
        let of_pid = |pid: i32| candidates.iter().find(|daemon| daemon.process.id.pid == pid).copied();
        if let Some(one) = named.into_iter().flatten().find_map(of_pid) {
            candidates = vec![one];
        }
        match candidates[..] {
            [] => Found::None,
            [one] => Found::One(one),
            [first, second, ..] => Found::Several(first, second),
        }
    }

    /// A daemon, and not what serves a connection of one, perhaps of one that has ended.
    fn accepts_connections(&self, daemon: &Daemon) -> bool {
        let id = daemon.process.id;
        let parent_is_one = || self.daemons.iter().any(|other| other.process.id.pid == daemon.process.parent);
        match &daemon.listening {
            _ if self.lock_holder == Some(id.pid) => true,
            Some(addresses) => !addresses.is_empty(),
            None => !parent_is_one(),
        }
    }
}

/// What a message calls a daemon that reads another configuration than `ours`.
pub fn reads(daemon: &Daemon, ours: &Path) -> String {
    let process = daemon.process.shown();
    match &daemon.config {
        Config::This => process,
        // A container that was given the file still has the one from before it was replaced.
        Config::Other(path) if path == ours => {
            format!("{process} reads the {} of a file system of its own, as in a container", path.display())
        }
        Config::Other(path) => format!("{process} reads {}", shown(path.as_os_str().as_bytes())),
        Config::NotNamed => {
            format!(
                "{process} names no configuration on its command line and reads the one that rsync was built with"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessId;
    use crate::time::LocalTime;

    fn process(pid: i32, line: &str) -> Process {
        let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let since = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let id = ProcessId { pid, started_ticks: 7 };
        Process { id, parent: 1, program: arguments[0].clone(), arguments, since }
    }

    #[test]
    fn the_configuration_is_read_off_the_command_line_as_rsync_reads_it() {
        for (line, expected) in [
            ("rsync --daemon", None),
            ("rsync --daemon --config=/a", Some("/a")),
            ("rsync --config /a --daemon --config /b", Some("/b")),
            ("rsync --daemon --config", None),
            ("--config=/a --daemon", None),
        ] {
            let named = config_named(&process(1, line).arguments);
            assert_eq!(named, expected.map(PathBuf::from), "{line}");
        }
        for (line, expected) in [
            ("rsync --daemon --no-detach", true),
            ("rsync --server --daemon .", false),
            ("rsync -a x y", false),
            ("sleep --daemon", false),
        ] {
            assert_eq!(is_daemon(&process(1, line)), expected, "{line}");
        }
    }
}
