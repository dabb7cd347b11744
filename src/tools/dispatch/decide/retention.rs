//! Which old versions go when an upgrade has ended (defect 10).

use crate::retention::expendable;
use crate::tools::dispatch::decide::{Action, CheckFacts, RetentionFacts};
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
    let versions = dispensable(retention, &journal.before);
    (!versions.is_empty()).then_some(Action::DeleteVersions(versions))
}

/// The versions that may go now: none that anybody serves, is announced, pinned or in flight, and none to go back to. Those are
/// the ones before the announced one, as far as that is known, and the newest good one before it by name.
pub fn dispensable(facts: &RetentionFacts, before: &[Version]) -> Vec<Version> {
    let is_good = |version: &&Version| !facts.bad.contains(version);
    let newest = facts.announced.iter().max();
    let older = facts.present.iter().filter(|version| Some(*version) < newest);
    // What came before may have been a bad version, which a rollback left.
    let previous =
        if before.iter().any(|version| is_good(&version)) { None } else { older.filter(is_good).max() };
    let protected: Vec<Version> = [before, &facts.announced, &facts.reported, &facts.in_flight]
        .into_iter()
        .flatten()
        .chain(&facts.pinned)
        .chain(previous)
        .cloned()
        .collect();
    expendable(facts.present.clone(), &protected, &facts.bad, facts.keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::identity::Identity;
    use crate::retention::Keep;
    use crate::tools::dispatch::decide::{Members, RetentionFacts, RolloutFacts};
    use crate::tools::dispatch::journal::Phase;

    fn versions(names: &[&str]) -> Vec<Version> {
        names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
    }

    fn version(name: &str) -> Version {
        Version::parse(name.as_bytes()).unwrap()
    }

    fn journal() -> Journal {
        let success = Identity { device: 1, inode: 7, modified_ns: 0, size: 15 };
        let [version, before] = ["20180109", "20180105"].map(|name| Version::parse(name.as_bytes()).unwrap());
        Journal {
            phase: Phase::Announced,
            version,
            success,
            begun_s: None,
            before: vec![before],
            content: Vec::new(),
        }
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
                bad: Vec::new(),
                pinned: None,
                in_flight: versions(&["20180101"]),
            })),
            rollout: RolloutFacts::default(),
            now_s: 0,
        }
    }

    #[test]
    fn what_is_announced_was_before_is_reported_or_pushed_already_never_goes() {
        let facts = facts(&["20180109", "20180102"], &["20180109", "20180103"]);
        let pruned = prune(&facts, Some(&journal()));
        assert_eq!(pruned, Some(Action::DeleteVersions(versions(&["20180104", "20180106", "20180107"]))));
    }

    #[test]
    fn bad_versions_go_and_the_previous_good_one_and_the_pinned_one_stay() {
        let Some(Ok(mut facts)) = facts(&["20180105"], &[]).retention else { unreachable!() };
        facts.bad = versions(&["20180104", "20180106", "20180107", "20180108", "20180109"]);
        facts.pinned = versions(&["20180102"]).pop();
        // Before the announced one there was a bad one, which a rollback left.
        for before in [&[][..], &versions(&["20180109"])] {
            let kept = ["20180101", "20180102", "20180103", "20180105"];
            let goes = dispensable(&facts, before);
            assert!(kept.iter().all(|kept| !goes.contains(&version(kept))), "{goes:?}");
            assert_eq!(goes.len(), 5 - before.len());
        }
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
