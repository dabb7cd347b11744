//! Which old versions go when an upgrade has ended (defect 10).

use crate::retention::expendable;
use crate::tools::dispatch::decide::{Action, CheckFacts};
use crate::tools::dispatch::journal::Journal;
use crate::version::Version;

/// What is deleted once every member confirmed. Nothing after an upgrade that was given up, so that several bad pushes do not
/// push the good versions out; and nothing where it is not known which version came before, as of one that a script began.
pub fn prune(facts: &CheckFacts, ours: Option<&Journal>) -> Option<Action> {
    let journal = ours.filter(|journal| !journal.before.is_empty())?;
    let retention = match facts.retention.as_ref()? {
        Ok(retention) => retention,
        Err(error) => return Some(Action::Fail(error.clone().context("no old version was deleted"))),
    };
    let in_flight = facts.success.as_ref().and_then(|success| success.announces.clone());
    let protected: Vec<Version> = [&journal.version]
        .into_iter()
        .chain(&journal.before)
        .chain(&retention.announced)
        .chain(&retention.reported)
        .chain(&in_flight)
        .cloned()
        .collect();
    let versions = expendable(retention.present.clone(), &protected, retention.keep);
    (!versions.is_empty()).then_some(Action::DeleteVersions(versions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::identity::Identity;
    use crate::retention::Keep;
    use crate::tools::dispatch::decide::{Members, RetentionFacts, RolloutFacts, Success};
    use crate::tools::dispatch::journal::Phase;

    fn versions(names: &[&str]) -> Vec<Version> {
        names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
    }

    fn journal() -> Journal {
        let success = Identity { device: 1, inode: 7, modified_ns: 0, size: 15 };
        let [version, before] = ["20180109", "20180105"].map(|name| Version::parse(name.as_bytes()).unwrap());
        Journal { phase: Phase::Announced, version, success, before: vec![before], content: Vec::new() }
    }

    fn facts(announced: &[&str], reported: &[&str]) -> CheckFacts {
        let names: Vec<String> = (1..=9).map(|n| format!("2018010{n}")).collect();
        CheckFacts {
            status: None,
            success: None,
            journal: Some(journal()),
            announced: None,
            script_quiet_for: None,
            members: Members::Unknown,
            retention: Some(Ok(RetentionFacts {
                keep: Keep::parse(b"1").unwrap(),
                present: versions(&names.iter().map(String::as_str).collect::<Vec<_>>()),
                announced: versions(announced),
                reported: versions(reported),
            })),
            rollout: RolloutFacts::default(),
            now_s: 0,
        }
    }

    #[test]
    fn what_is_announced_was_before_is_reported_or_pushed_already_never_goes() {
        let mut facts = facts(&["20180109", "20180102"], &["20180109", "20180103"]);
        facts.success = Some(Success {
            identity: journal().success,
            age: crate::time::Seconds(1),
            announces: Version::announced_in(b"20180101"),
            content: b"20180101".to_vec(),
        });
        let pruned = prune(&facts, Some(&journal()));
        assert_eq!(pruned, Some(Action::DeleteVersions(versions(&["20180104", "20180106", "20180107"]))));
    }

    #[test]
    fn nothing_goes_unless_it_is_asked_for_and_known_what_came_before() {
        let mut facts = facts(&["20180109"], &["20180109"]);
        assert!(prune(&facts, Some(&journal())).is_some());
        assert_eq!(prune(&facts, None), None);
        assert_eq!(prune(&facts, Some(&Journal { before: vec![], ..journal() })), None);
        facts.retention = None;
        assert_eq!(prune(&facts, Some(&journal())), None);
        facts.retention = Some(Err(Error::failed("a report cannot be read")));
        assert!(matches!(prune(&facts, Some(&journal())), Some(Action::Fail(_))));
    }
}
