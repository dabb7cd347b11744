//! What starting and stopping the rsync daemon of a configuration takes, as pure functions of what was observed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::daemon_answer::Greeting;
use crate::error::{Error, Result};
use crate::process::{Process, ProcessId};

pub mod host;
pub mod settings;

use host::{Content, Daemon, Found, Host, is_daemon};
use settings::{By, Settings};

/// What was seen of the daemon of a configuration.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it should be like.
    pub settings: Settings,
    /// The host's processes.
    pub host: Host,
    /// Where it was spoken to.
    pub at: SocketAddr,
    /// What answers there.
    pub greeting: Greeting,
    /// Whose port that is, as far as that could be seen.
    pub holder: Option<Process>,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask a process to end.
    Terminate(ProcessId),
    /// Wait until it is gone and its port is closed.
    AwaitEnd(ProcessId, SocketAddr),
    /// Remove the pid file, if it still holds these bytes and nobody has locked it.
    RemovePidFile(PathBuf, Vec<u8>),
    /// Run rsync with these arguments.
    Start(Vec<OsString>),
    /// A line for the operator.
    Say(String),
}

impl Facts {
    /// Says that the daemon runs; that it does not, or does not answer, is an error (exit 1).
    pub fn status(&self) -> Result<Vec<Step>> {
        let config = self.config();
        match self.host.find(&self.settings) {
            Found::One(daemon) => {
                let mut parts =
                    vec![format!("{config}: the rsync daemon is running: {}", self.serving(daemon)?)];
                parts.extend(self.wrong_pid_file(daemon));
                Ok(vec![Step::Say(parts.join("; "))])
            }
            Found::None => {
                let mut parts = vec![format!("{config}: the rsync daemon is not running"), self.port_state()];
                parts.extend(self.stale().map(|what| format!("the pid file {what}")));
                Err(Error::failed(parts.join("; ")))
            }
            Found::Several(first, second) => Err(self.several(first, second)),
        }
    }

    /// Starts the daemon unless it runs.
    pub fn start(&self) -> Result<Vec<Step>> {
        let config = self.config();
        match (self.host.find(&self.settings), &self.greeting) {
            (Found::One(daemon), _) => {
                let serving = self.serving(daemon)?;
                let said =
                    format!("{config}: the rsync daemon is running already: {serving}; nothing was done");
                Ok(vec![Step::Say(said)])
            }
            (Found::Several(first, second), _) => Err(self.several(first, second)),
            (Found::None, Greeting::Rsync | Greeting::NotRsync) => Err(Error::failed(format!(
                "{config}: not started: {}; stop that program, or give this daemon another port",
                self.port_state()
            ))),
            (Found::None, Greeting::Nothing(_)) => {
                let mut steps = self.without_stale_pid_file()?;
                steps.push(Step::Start(self.settings.start_arguments()));
                Ok(steps)
            }
        }
    }

    /// What to say once the daemon that was started answers; until then, what is the matter.
    pub fn started(&self) -> std::result::Result<String, Error> {
        let config = self.config();
        match (self.host.find(&self.settings), &self.greeting) {
            (Found::One(daemon), Greeting::Rsync) => {
                Ok(format!("{config}: started the rsync daemon: {}", self.serving(daemon)?))
            }
            (found, _) => {
                let process = match found {
                    Found::One(daemon) => format!("{} runs, but ", daemon.process.shown()),
                    _ => "no process of it is left, and ".to_owned(),
                };
                Err(Error::failed(format!(
                    "{config}: the rsync daemon did not start: {process}{}; see the log file that it names, or the system log",
                    self.port_state()
                )))
            }
        }
    }

    /// Stops the daemon if it runs; nothing else is ever signalled.
    pub fn stop(&self) -> Result<Vec<Step>> {
        let config = self.config();
        match self.host.find(&self.settings) {
            Found::One(daemon) => {
                let id = daemon.process.id;
                let mut steps = vec![Step::Terminate(id), Step::AwaitEnd(id, self.at)];
                // A daemon removes its pid file itself; an old one, or one that was in trouble, may leave it.
                if !matches!(self.host.pid_file, Content::Missing | Content::Foreign) {
                    steps.push(self.remove_pid_file());
                }
                let mut said = format!(
                    "{config}: stopped the rsync daemon: pid {} has ended, port {} is closed",
                    id.pid,
                    self.at.port()
                );
                let connections = self.connections(daemon);
                if connections > 0 {
                    said.push_str(&format!("; connections that it served before may go on: {connections}"));
                }
                steps.push(Step::Say(said));
                Ok(steps)
            }
            Found::None => {
                if self.greeting == Greeting::Rsync && self.holder.is_none() {
                    return Err(Error::failed(format!(
                        "{config}: no process is known to be its rsync daemon, but one answers on port {}; nothing was \
                         signalled; find that process (ss -ltnp), and stop it by hand",
                        self.at.port()
                    )));
                }
                let mut steps = self.without_stale_pid_file()?;
                let mut said = format!("{config}: the rsync daemon is not running; nothing was signalled");
                if !matches!(self.greeting, Greeting::Nothing(_)) {
                    said.push_str(&format!("; {}", self.port_state()));
                }
                steps.push(Step::Say(said));
                Ok(steps)
            }
            Found::Several(first, second) => Err(self.several(first, second)),
        }
    }

    /// The steps that remove a pid file of which no daemon is left; none where there is no file. Fails where it is not
    /// certain that the file is one, or that nobody uses it.
    fn without_stale_pid_file(&self) -> Result<Vec<Step>> {
        let (Some(what), config) = (self.stale(), self.config()) else { return Ok(Vec::new()) };
        if let Some(holder) = self.host.lock_holder {
            let holder = match self.host.daemons.iter().find(|daemon| daemon.process.id.pid == holder) {
                Some(daemon) => daemon.process.shown(),
                None => format!("pid {holder}"),
            };
            return Err(Error::failed(format!(
                "{config}: the pid file {what}, but {holder} holds its lock; give each daemon a pid file of its own"
            )));
        }
        if self.host.pid_file == Content::Foreign {
            return Err(Error::failed(format!(
                "{config}: the pid file {what}; look at it, and remove it by hand or name another one"
            )));
        }
        Ok(vec![self.remove_pid_file(), Step::Say(format!("{config}: removed a stale pid file: {what}"))])
    }

    fn remove_pid_file(&self) -> Step {
        Step::RemovePidFile(self.settings.pid_file.clone(), self.host.pid_file_bytes.clone())
    }

    /// Why the pid file names no daemon of the configuration; `None` where there is no file.
    fn stale(&self) -> Option<String> {
        let path = self.settings.pid_file.display();
        let content = match (&self.host.pid_file, &self.host.named) {
            (Content::Missing, _) => return None,
            (Content::Empty, _) => "is empty".to_owned(),
            (Content::Foreign, _) => "holds something else than the number of a process".to_owned(),
            (Content::Number(_, _), Some(process)) if is_daemon(process) => {
                format!("names {}, which is the daemon of another configuration", process.shown())
            }
            (Content::Number(_, _), Some(process)) => {
                format!("names {}, which is no rsync daemon", process.shown())
            }
            (Content::Number(number, _), None) => format!("names {number}, and there is no such process"),
        };
        Some(format!("{path} {content}"))
    }

    /// What is to be said about the pid file of a daemon that runs.
    fn wrong_pid_file(&self, daemon: &Daemon) -> Option<String> {
        let path = self.settings.pid_file.display();
        match &self.host.pid_file {
            content if content.pid() == Some(daemon.process.id.pid) => None,
            Content::Missing if self.settings.pid_file_by == By::Manual => None,
            Content::Missing => Some(format!("its pid file {path} is missing")),
            _ if self.settings.pid_file_by == By::Manual => None,
            _ => self.stale().map(|what| format!("its pid file is wrong: {what}")),
        }
    }

    fn serving(&self, daemon: &Daemon) -> Result<String> {
        let (pid, since) = (daemon.process.id.pid, daemon.process.since.date_words());
        match self.greeting {
            Greeting::Rsync => Ok(format!("pid {pid} since {since}, port {} answers", self.at.port())),
            _ => Err(Error::failed(format!(
                "{}: the rsync daemon runs (pid {pid} since {since}), but {}; see its log, or restart it",
                self.config(),
                self.port_state()
            ))),
        }
    }

    fn port_state(&self) -> String {
        let port = self.at.port();
        match (&self.greeting, &self.holder) {
            (Greeting::Nothing(reason), _) => format!("port {port} does not answer ({reason})"),
            (Greeting::Rsync, Some(holder)) => {
                format!("port {port} is answered by another rsync daemon, {}", holder.shown())
            }
            (Greeting::Rsync, None) => format!("port {port} is answered by another rsync daemon"),
            (Greeting::NotRsync, Some(holder)) if is_daemon(holder) => {
                format!("port {port} accepts connections, but {} does not greet", holder.shown())
            }
            (Greeting::NotRsync, Some(holder)) => {
                format!("port {port} is used by another program, {}", holder.shown())
            }
            (Greeting::NotRsync, None) => format!("port {port} is used by another program"),
        }
    }

    fn connections(&self, daemon: &Daemon) -> usize {
        let pid = daemon.process.id.pid;
        self.host.daemons.iter().filter(|other| other.process.parent == pid).count()
    }

    fn several(&self, first: &Daemon, second: &Daemon) -> Error {
        let (first, second) = (first.process.shown(), second.process.shown());
        Error::failed(format!(
            "{}: more than one rsync daemon reads it, and the pid file {} names none of them: {first} and {second}; stop \
             one of them by hand, or name its pid file with --pid-file",
            self.config(),
            self.settings.pid_file.display()
        ))
    }

    fn config(&self) -> std::path::Display<'_> {
        Path::display(&self.settings.config)
    }
}

#[cfg(test)]
mod tests {
    use super::host::Config;
    use super::*;
    use crate::formats::rsyncd_conf::RsyncdConf;
    use crate::time::LocalTime;
    use crate::tools::autoupdate_toggle::cli::DaemonRequest;

    fn process(pid: i32, line: &str) -> Process {
        let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let since = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let id = ProcessId { pid, started_ticks: 7 };
        Process { id, parent: 1, program: arguments[0].clone(), arguments, since }
    }

    fn daemon(pid: i32, config: Config) -> Daemon {
        let listening = Some(vec!["0.0.0.0:873".parse().unwrap()]);
        Daemon { process: process(pid, "rsync --daemon"), config, listening }
    }

    fn facts(pid_file: &[u8], daemons: Vec<Daemon>) -> Facts {
        let request = DaemonRequest { config: "/c".into(), pid_file: None, port: None };
        let content = Content::read(pid_file);
        let named = content.pid().and_then(|pid| daemons.iter().find(|d| d.process.id.pid == pid));
        Facts {
            settings: Settings::read(&request, &RsyncdConf::parse(b"pid file = /p\n[m]\n")).unwrap(),
            host: Host {
                named: named.map(|daemon| daemon.process.clone()),
                pid_file: content,
                pid_file_bytes: pid_file.to_vec(),
                lock_holder: None,
                daemons,
            },
            at: "127.0.0.1:873".parse().unwrap(),
            greeting: Greeting::Nothing("refused".to_owned()),
            holder: None,
        }
    }

    /// The number of the daemon that would be signalled.
    fn signalled(facts: &Facts) -> Option<i32> {
        facts.stop().ok()?.into_iter().find_map(|step| match step {
            Step::Terminate(id) => Some(id.pid),
            _ => None,
        })
    }

    #[test]
    fn only_a_daemon_of_the_configuration_is_signalled() {
        let this = || daemon(5, Config::This);
        let other = || daemon(6, Config::Other("/d".into()));
        let silent = || daemon(7, Config::NotNamed);
        for (pid_file, daemons, expected) in [
            (&b"5\n"[..], vec![this()], Some(5)),
            (b"", vec![this()], Some(5)),
            (b"6\n", vec![this(), other()], Some(5)),
            (b"6\n", vec![other()], None),
            (b"7\n", vec![silent()], Some(7)),
            (b"", vec![silent()], None),
            (b"8\n", vec![silent()], None),
            (b"9\n", vec![this(), daemon(9, Config::This)], Some(9)),
            (b"", vec![this(), daemon(9, Config::This)], None),
            (b"5\n", vec![], None),
        ] {
            assert_eq!(signalled(&facts(pid_file, daemons)), expected, "{pid_file:?}");
        }
    }

    #[test]
    fn a_pid_file_that_is_only_the_manuals_does_not_make_a_daemon_ours() {
        let mut facts = facts(b"7\n", vec![daemon(7, Config::NotNamed)]);
        facts.settings.pid_file_by = By::Manual;
        facts.host.lock_holder = Some(7);
        assert_eq!(signalled(&facts), None);
        assert!(facts.stop().is_err(), "and the file stays");
    }

    #[test]
    fn what_serves_a_connection_is_no_daemon() {
        let mut connection = daemon(8, Config::This);
        connection.listening = Some(vec![]);
        assert_eq!(signalled(&facts(b"", vec![connection.clone()])), None, "its daemon has ended");
        // Where the sockets cannot be seen, the parent tells.
        connection.listening = None;
        connection.process.parent = 5;
        assert_eq!(signalled(&facts(b"", vec![daemon(5, Config::This), connection])), Some(5));
    }

    #[test]
    fn a_daemon_that_cannot_be_identified_keeps_its_pid_file() {
        let mut facts = facts(b"4242\n", vec![]);
        facts.greeting = Greeting::Rsync;
        assert!(facts.stop().unwrap_err().to_string().contains("nothing was signalled"));
    }
}
