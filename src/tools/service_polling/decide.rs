//! What a poll does, as a pure function of what was observed.

use crate::error::{Error, Result};
use crate::formats::service_conf;
use crate::version::Version;

/// What an earlier poll left to be done after it installed a service.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// The service was not restarted yet, or did not start.
    Restart,
    /// The monitor was not told yet.
    Report,
}

/// `<workspace>/bin/etc/.service_polling`: what is pending, for which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// What remains to be done.
    pub pending: Pending,
    /// The version that was installed.
    pub version: Version,
}

impl Journal {
    /// Reads a journal; `None` where it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Journal> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (pending, version) = text.trim_end().split_once(' ')?;
        let pending = match pending {
            "restart" => Pending::Restart,
            "report" => Pending::Report,
            _ => return None,
        };
        Some(Journal { pending, version: Version::of_directory(version.as_bytes()).ok()? })
    }

    /// The journal's one line.
    pub fn render(&self) -> String {
        let pending = match self.pending {
            Pending::Restart => "restart",
            Pending::Report => "report",
        };
        format!("{pending} {}\n", self.version)
    }
}

/// What a poll looks at.
#[derive(Debug)]
pub struct Observed {
    /// The monitor's service.conf.
    pub fetched: Vec<u8>,
    /// The installed one.
    pub installed: Option<Vec<u8>>,
    /// What an earlier poll left to be done.
    pub journal: Option<Journal>,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch a version, whole, and put it in its place.
    FetchVersion(Version),
    /// Write down what remains to be done.
    Record(Journal),
    /// Replace the installed service.conf.
    Install(Vec<u8>),
    /// Run `service_stop`.
    Stop,
    /// Run `service_start`.
    Start,
    /// Tell the monitor which version this member has.
    Report(Version),
    /// Nothing remains to be done.
    Done,
    /// A line for the log.
    Say(String),
}

/// The steps of a poll; none when the monitor's service.conf is the installed one and nothing is pending.
///
/// Fails when the fetched service.conf names no version that could be fetched.
pub fn decide(observed: &Observed) -> Result<Vec<Action>> {
    if observed.installed.as_deref() == Some(&observed.fetched[..]) {
        return Ok(match &observed.journal {
            Some(Journal { pending: Pending::Restart, version }) => restart(version),
            Some(Journal { pending: Pending::Report, version }) => report(version),
            None => Vec::new(),
        });
    }
    let named = service_conf::value(&observed.fetched, "moduleversion").unwrap_or_default();
    let Ok(version) = Version::of_directory(named) else {
        return Err(Error::failed(format!(
            "the monitor's service.conf has moduleversion={}, which names no version; push the model, or correct that line",
            String::from_utf8_lossy(named)
        )));
    };
    let before = observed.installed.as_deref().and_then(|conf| service_conf::value(conf, "moduleversion"));
    let mut actions = vec![
        Action::FetchVersion(version.clone()),
        Action::Record(Journal { pending: Pending::Restart, version: version.clone() }),
        Action::Install(observed.fetched.clone()),
    ];
    actions.extend(restart(&version));
    actions.push(Action::Say(match before {
        Some(before) => format!("upgraded from {} to {version}", String::from_utf8_lossy(before)),
        None => format!("installed {version}"),
    }));
    Ok(actions)
}

/// legacy: service_polling.sh, "install and restart: a cold start"
fn restart(version: &Version) -> Vec<Action> {
    let mut actions = vec![
        Action::Stop,
        Action::Start,
        Action::Record(Journal { pending: Pending::Report, version: version.clone() }),
    ];
    actions.extend(report(version));
    actions
}

fn report(version: &Version) -> Vec<Action> {
    vec![Action::Report(version.clone()), Action::Done]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(version: &str) -> Vec<u8> {
        format!("[module]\nmoduleversion={version}\n").into_bytes()
    }

    fn decided(fetched: &str, installed: Option<&str>, journal: Option<&str>) -> Vec<Action> {
        let journal = journal.and_then(|text| Journal::parse(text.as_bytes()));
        decide(&Observed { fetched: conf(fetched), installed: installed.map(conf), journal }).unwrap()
    }

    #[test]
    fn an_unchanged_service_conf_means_nothing_to_do() {
        assert_eq!(decided("20180413192258", Some("20180413192258"), None), []);
    }

    #[test]
    fn a_poll_that_died_before_the_restart_is_finished_by_the_next() {
        let actions = decided("20180413192258", Some("20180413192258"), Some("restart 20180413192258\n"));
        assert_eq!(actions[..2], [Action::Stop, Action::Start]);
        assert_eq!(actions.last(), Some(&Action::Done));
    }

    #[test]
    fn a_report_that_did_not_arrive_is_sent_again_without_a_restart() {
        let actions = decided("20180413192258", Some("20180413192258"), Some("report 20180413192258\n"));
        assert!(matches!(actions[..], [Action::Report(_), Action::Done]));
    }

    #[test]
    fn a_version_is_complete_before_service_conf_names_it_and_the_restart_comes_after() {
        let actions = decided("20180413192258", Some("20180101000000"), None);
        let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted).unwrap();
        let fetch = place(|a| matches!(a, Action::FetchVersion(_)));
        let install = place(|a| matches!(a, Action::Install(_)));
        let start = place(|a| matches!(a, Action::Start));
        let report = place(|a| matches!(a, Action::Report(_)));
        assert!(fetch < install && install < start && start < report);
    }

    #[test]
    fn a_service_conf_that_names_no_version_is_not_installed() {
        for named in ["", "../x", "a/b", "-x", "# remark"] {
            let observed = Observed { fetched: conf(named), installed: None, journal: None };
            assert!(decide(&observed).unwrap_err().to_string().contains("names no version"), "{named}");
        }
    }
}
