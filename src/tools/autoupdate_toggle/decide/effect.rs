//! Whether the daemon does what the file says (contract section 5, 12), as a pure function of what it answered.

use std::net::SocketAddr;

use crate::daemon_answer::{Answer, Greeting};
use crate::error::{Error, Result};
use crate::formats::rsyncd_conf::access::Verdict;
use crate::ip_range::IpRange;
use crate::names::shown;
use crate::tools::autoupdate_toggle::cli::Verb;
use crate::tools::autoupdate_toggle::decide::daemon::host::{Config, Daemon, reads};
use crate::tools::autoupdate_toggle::decide::rsyncd::Site;

/// What was seen after the edit.
#[derive(Debug)]
pub struct Seen {
    /// Where the daemon was spoken to.
    pub at: SocketAddr,
    /// What answers there.
    pub greeting: Greeting,
    /// The daemon that accepts connections there, as far as that could be seen.
    pub daemon: Option<Daemon>,
    /// What it said to each address of this host; the other addresses cannot be asked from here.
    pub answers: Vec<(IpRange, Answer)>,
}

/// The lines for the operator; the site's configuration is as it was read after the edit.
///
/// Fails when the daemon does something else than the file says, or reads another file.
pub fn effect(site: &Site, verb: Verb, seen: &Seen) -> Result<Vec<String>> {
    let (word, wanted) = match verb {
        Verb::Disable => ("denied", Answer::Denied),
        Verb::Enable | Verb::Status => ("admitted", Answer::Admitted),
    };
    let port = seen.at.port();
    match &seen.greeting {
        Greeting::Rsync => {}
        Greeting::NotRsync => {
            return Ok(vec![format!("by the rules only: what listens on port {port} is no rsync daemon")]);
        }
        Greeting::Nothing(reason) => {
            return Ok(vec![format!("by the rules only: no rsync daemon answers on port {port} ({reason})")]);
        }
    }
    if let Some(daemon) = seen.daemon.as_ref().filter(|daemon| matches!(daemon.config, Config::Other(_))) {
        return Err(Error::failed(format!(
            "{}: the daemon on port {port} does not read this file: {}; name that file with --config, or start the daemon \
             with this one",
            site.file(),
            reads(daemon, site.conf.file())
        )));
    }
    let hides = site.conf.hides(site.module);
    let mut lines = Vec::new();
    let mut at_the_daemon = Vec::new();
    let mut by_the_rules = Vec::new();
    for range in site.ranges {
        let answer = seen.answers.iter().find(|(asked, _)| asked == range).map(|(_, answer)| match answer {
            Answer::UnknownModule if hides => &Answer::Denied,
            answer => answer,
        });
        match answer {
            Some(answer) if *answer == wanted => at_the_daemon.push(range.to_string()),
            Some(Answer::Unclear(why)) => {
                lines.push(format!("{range} could not be seen at the daemon: {why}"));
                by_the_rules.push(range.to_string());
            }
            Some(answer) => return Err(contradiction(site, seen, range, answer)),
            None => by_the_rules.push(range.to_string()),
        }
    }
    let whose =
        seen.daemon.as_ref().map(|daemon| format!("pid {}, ", daemon.process.id.pid)).unwrap_or_default();
    if !at_the_daemon.is_empty() {
        lines.push(format!("seen at the daemon ({whose}port {port}): {word}: {}", at_the_daemon.join(", ")));
    }
    if !by_the_rules.is_empty() {
        let note = match &seen.daemon {
            Some(daemon) if daemon.config == Config::NotNamed => {
                format!("; {}", reads(daemon, site.conf.file()))
            }
            _ => String::new(),
        };
        lines.push(format!("by the rules: {word}: {}{note}", by_the_rules.join(", ")));
    }
    Ok(lines)
}

/// The daemon says something else than was asked for: because of a rule that is not judged here, or of another file.
fn contradiction(site: &Site, seen: &Seen, range: &IpRange, answer: &Answer) -> Error {
    let (file, port) = (site.file(), seen.at.port());
    let said = match answer {
        Answer::Admitted => "is still allowed",
        Answer::UnknownModule => {
            let module = shown(site.module);
            return Error::failed(format!(
                "{file}: the daemon on port {port} knows no module {module}: {}",
                cause(site, seen)
            ));
        }
        Answer::Denied | Answer::Unclear(_) => "is still denied",
    };
    let access = site.conf.access(site.module).ok();
    let rule = access.as_ref().map(|access| access.verdict(range));
    if let Some(Verdict::NotJudged(pattern)) = rule {
        return Error::failed(format!(
            "{file}: {range} {said} by the daemon on port {port} because of {}, which it takes for the name of that host; \
             edit that line",
            site.by(pattern)
        ));
    }
    Error::failed(format!(
        "{file}: {range} {said} by the daemon on port {port}, whatever this file says: {}",
        cause(site, seen)
    ))
}

fn cause(site: &Site, seen: &Seen) -> String {
    match &seen.daemon {
        Some(daemon) if daemon.config == Config::This => format!(
            "{} was started with this file, but sees another one now; restart it (autoupdate-toggle daemon restart --config {})",
            daemon.process.shown(),
            site.file()
        ),
        Some(daemon) => format!("{}; name that file with --config", reads(daemon, site.conf.file())),
        None => "it reads another configuration; see the command line of that process (ss -ltnp)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::formats::rsyncd_conf::RsyncdConf;
    use crate::formats::rsyncd_conf::include::Found;
    use crate::process::{Process, ProcessId};
    use crate::time::LocalTime;

    fn daemon(config: Config) -> Option<Daemon> {
        let process = Process {
            id: ProcessId { pid: 5, started_ticks: 7 },
            parent: 1,
            program: b"rsync".to_vec(),
            arguments: vec![b"rsync".to_vec(), b"--daemon".to_vec()],
            since: LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() },
        };
        Some(Daemon { process, config, listening: None })
    }

    fn said(
        source: &str,
        daemon: Option<Daemon>,
        answers: &[Answer],
    ) -> std::result::Result<Vec<String>, String> {
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let look = &mut |_: &Path| Found::Nothing(String::new());
        let conf = RsyncdConf::read(Path::new("f"), source.as_bytes(), look);
        let ranges = ["10.0.0.1", "10.0.0.2"].map(|text| IpRange::parse(text.as_bytes()).unwrap());
        let seen = Seen {
            at: "127.0.0.1:873".parse().unwrap(),
            greeting: Greeting::Rsync,
            daemon,
            answers: ranges.into_iter().zip(answers.iter().cloned()).collect(),
        };
        let site = Site { conf: &conf, now: &now, module: b"m", ranges: &ranges };
        effect(&site, Verb::Disable, &seen).map_err(|e| e.to_string())
    }

    const DENIED: &str = "[m]\nhosts deny=10.0.0.1,10.0.0.2\n";

    #[test]
    fn what_was_seen_and_what_was_judged_are_told_apart() {
        assert_eq!(
            said(DENIED, daemon(Config::This), &[Answer::Denied]).unwrap(),
            ["seen at the daemon (pid 5, port 873): denied: 10.0.0.1", "by the rules: denied: 10.0.0.2"]
        );
        assert_eq!(
            said(DENIED, None, &[Answer::Denied, Answer::Unclear("it slept".to_owned())]).unwrap(),
            [
                "10.0.0.2 could not be seen at the daemon: it slept",
                "seen at the daemon (port 873): denied: 10.0.0.1",
                "by the rules: denied: 10.0.0.2"
            ]
        );
        let lines = said(DENIED, daemon(Config::NotNamed), &[]).unwrap();
        assert!(lines[0].ends_with(
            "names no configuration on its command line and reads the one that rsync was built with"
        ));
    }

    #[test]
    fn an_answer_that_is_not_the_files_names_its_likely_cause() {
        for (config, answer, expected) in [
            (Config::Other("/d".into()), Answer::Denied, "does not read this file: pid 5"),
            (Config::Other("f".into()), Answer::Denied, "reads the f of a file system of its own"),
            (Config::This, Answer::Admitted, "was started with this file, but sees another one now"),
            (Config::NotNamed, Answer::Admitted, "names no configuration on its command line"),
            (Config::This, Answer::UnknownModule, "knows no module \u{201c}m\u{201d}"),
        ] {
            let error = said(DENIED, daemon(config), &[answer]).unwrap_err();
            assert!(error.starts_with("f: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_hidden_module_is_unknown_to_whom_it_denies() {
        let hidden = format!("{DENIED}list=no\n");
        let lines = said(&hidden, None, &[Answer::UnknownModule]).unwrap();
        assert_eq!(lines[0], "seen at the daemon (port 873): denied: 10.0.0.1");
    }
}
