//! fCheckVersion: ends an upgrade that every member confirmed, or that takes too long.

use crate::error::Error;
use crate::names::Address;
use crate::time::Seconds;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::{
    Action, CheckFacts, Members, Plan, SCRIPT_IS_DEAD_AFTER, Status, Success, is_about, retention,
};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::version::Version;

/// An upgrade older than this is given up (contract section 3, fCheckVersion).
const GIVEN_UP_AFTER: Seconds = Seconds(20 * 60);

/// Whether the members have to be asked: only while an upgrade is in flight and announced. One that is not announced yet is
/// resumed by the next tick, however long that takes (defect 3).
pub fn asks_members(status: Option<&Status>, journal: Option<&Journal>) -> bool {
    let is_announced = |journal: &Journal| journal.phase == Phase::Announced;
    status.is_some() && !journal.is_some_and(|journal| is_about(journal, status) && !is_announced(journal))
}

/// fCheckVersion.
pub fn check(facts: &CheckFacts, target: &Target) -> Plan {
    let asks = asks_members(facts.status.as_ref(), facts.journal.as_ref());
    let Some(status) = facts.status.as_ref().filter(|_| asks) else { return Plan::default() };
    let ours = facts.journal.as_ref().filter(|journal| is_about(journal, Some(status)));
    let announced = facts.announced.clone().unwrap_or_default();
    if ours.is_none() && script_is_publishing(facts, status, &announced) {
        // That the members have the version before says nothing about the one that is being published.
        return Plan::default();
    }
    let version = String::from_utf8_lossy(&announced).into_owned();
    let model = &target.model;
    let late: Vec<&(Address, Option<Vec<u8>>)> = match &facts.members {
        Members::Known(members) => {
            members.iter().filter(|(_, answer)| !confirms(answer.as_deref(), &announced)).collect()
        }
        Members::Unknown | Members::Unreadable(_) => Vec::new(),
    };
    let commit = match &facts.members {
        Members::Known(members) if late.is_empty() => {
            let mut actions = end(facts, status, ours);
            actions.push(Action::Say(format!("{model}: all {} members have {version}", members.len())));
            actions.extend(retention::prune(facts, ours));
            actions
        }
        _ if status.age > GIVEN_UP_AFTER => {
            let mut actions = end(facts, status, ours);
            actions.push(Action::Fail(given_up(target, &version, &facts.members, &late)));
            actions
        }
        Members::Unreadable(error) => vec![Action::Fail(error.clone())],
        Members::Unknown => vec![Action::Say(format!(
            "{model}: members unknown: scripts/dispatch/conf/{model}.env.sh is missing or names none; write members=\"A,B,...\" and \
             moduleport=... into it"
        ))],
        Members::Known(members) => vec![Action::Say(format!(
            "{model}: {} of {} members have {version}; waiting for {}",
            members.len() - late.len(),
            members.len(),
            listed(&late, |(address, _)| address.to_string())
        ))],
    };
    Plan { commit, ..Plan::default() }
}

/// Whether a script began an upgrade, has not announced it, and still writes.
fn script_is_publishing(facts: &CheckFacts, status: &Status, announced: &[u8]) -> bool {
    let is_announced = |version: &Version| version.as_str().as_bytes() == announced;
    let quiet_for = facts.script_quiet_for.map_or(status.age, |quiet_for| quiet_for.min(status.age));
    status.version.as_ref().is_some_and(|version| !is_announced(version)) && quiet_for <= SCRIPT_IS_DEAD_AFTER
}

/// legacy: dispatch.sh, fCheckVersion: the text of the report, as `$(cat ...)` reads it, equals the version.
fn confirms(answer: Option<&[u8]>, announced: &[u8]) -> bool {
    answer.map(text_of) == Some(announced)
}

fn text_of(answer: &[u8]) -> &[u8] {
    let end = answer.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    &answer[..end]
}

/// Ends an upgrade: `success` first, so that a run killed in between leaves an upgrade that ends at the next tick.
fn end(facts: &CheckFacts, status: &Status, ours: Option<&Journal>) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(success) = facts.success.as_ref().filter(|s| was_dispatched(s, status, ours, facts)) {
        actions.push(Action::RemoveSuccess(success.identity));
    }
    actions.extend([Action::RemoveStatus(status.version.clone()), Action::RemoveJournal]);
    actions
}

/// Whether a `success` is the one whose upload this upgrade published; a later one stays (defect 4).
fn was_dispatched(success: &Success, status: &Status, ours: Option<&Journal>, facts: &CheckFacts) -> bool {
    match (ours, &success.announces) {
        (Some(journal), _) => journal.success == success.identity,
        // A script's upgrade: it wrote no identity down.
        (None, Some(version)) => facts.announced.as_deref() == Some(version.as_str().as_bytes()),
        (None, None) => success.age >= status.age,
    }
}

fn given_up(
    target: &Target,
    version: &str,
    members: &Members,
    late: &[&(Address, Option<Vec<u8>>)],
) -> Error {
    let minutes = GIVEN_UP_AFTER.0 / 60;
    let who = match members {
        Members::Known(all) => {
            let (count, of) = (late.len(), all.len());
            format!("late: {} ({count} of {of})", listed(late, with_its_answer))
        }
        Members::Unknown | Members::Unreadable(_) => {
            "who is late is unknown without a member list".to_owned()
        }
    };
    Error::failed(format!(
        "{}: gave up waiting for {version} after {minutes} minutes, {who}; look at those members' polling logs",
        target.model
    ))
}

/// A late member, and why it is late.
fn with_its_answer((address, answer): &(Address, Option<Vec<u8>>)) -> String {
    /// A version has at most 79 characters; an answer may be anything.
    const SHOWN: usize = 80;
    match answer {
        None => format!("{address} (no answer)"),
        Some(answer) => {
            let text = String::from_utf8_lossy(text_of(answer));
            format!("{address} (serves {})", text.chars().take(SHOWN).collect::<String>())
        }
    }
}

/// The first of them, and how many more there are.
fn listed<T>(items: &[&T], shown: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 20;
    let mut text = items.iter().take(SHOWN).map(|item| shown(item)).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    const V: &str = "20180413192258";

    fn identity(inode: u64) -> Identity {
        Identity { device: 1, inode, modified_ns: 0, size: 15 }
    }

    fn members(reports: &[Option<&str>]) -> Members {
        let address = |n: usize| Address::parse(format!("10.0.{}.{}", n / 256, n % 256).as_bytes()).unwrap();
        let reports = reports.iter().enumerate();
        Members::Known(
            reports.map(|(n, r)| (address(n + 1), r.map(|text| text.as_bytes().to_vec()))).collect(),
        )
    }

    /// An upgrade to V that this toolkit announced a minute ago.
    fn facts(reports: &[Option<&str>]) -> CheckFacts {
        let version = Version::parse(V.as_bytes()).unwrap();
        CheckFacts {
            status: Some(Status { age: Seconds(60), version: Some(version.clone()) }),
            success: Some(Success {
                identity: identity(7),
                age: Seconds(90),
                announces: Some(version.clone()),
                content: V.as_bytes().to_vec(),
            }),
            journal: Some(Journal {
                phase: Phase::Announced,
                version,
                success: identity(7),
                before: vec![],
                content: V.as_bytes().to_vec(),
            }),
            announced: Some(V.as_bytes().to_vec()),
            script_quiet_for: None,
            members: members(reports),
            retention: None,
        }
    }

    fn checked(facts: &CheckFacts) -> Vec<Action> {
        check(facts, &Target::parse(b"m", b"/w", b"m.so").unwrap()).commit
    }

    fn remove_status() -> Action {
        Action::RemoveStatus(Some(Version::parse(V.as_bytes()).unwrap()))
    }

    fn said(actions: &[Action]) -> String {
        match actions.last() {
            Some(Action::Say(line)) => line.clone(),
            Some(Action::Fail(error)) => error.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn an_upgrade_ends_when_every_member_confirmed() {
        let actions = checked(&facts(&[Some("20180413192258\n"), Some(V)]));
        assert_eq!(
            actions[..3],
            [Action::RemoveSuccess(identity(7)), remove_status(), Action::RemoveJournal]
        );
        assert_eq!(said(&actions), "m: all 2 members have 20180413192258");
    }

    #[test]
    fn it_waits_for_a_member_that_differs_or_never_reported() {
        for late in [None, Some("20170101000000\n"), Some("")] {
            let actions = checked(&facts(&[Some(V), late]));
            assert_eq!(said(&actions), "m: 1 of 2 members have 20180413192258; waiting for 10.0.0.2");
            assert_eq!(actions.len(), 1);
        }
    }

    #[test]
    fn a_push_that_arrived_during_the_upgrade_stays() {
        let mut facts = facts(&[Some(V)]);
        facts.success.as_mut().unwrap().identity = identity(8);
        assert_eq!(checked(&facts)[..2], [remove_status(), Action::RemoveJournal]);
    }

    #[test]
    fn after_twenty_minutes_it_is_given_up_and_the_late_members_are_named() {
        let mut facts = facts(&[Some(V), None, Some("20170101000000\n")]);
        facts.status.as_mut().unwrap().age = Seconds(1200);
        assert!(said(&checked(&facts)).contains("waiting for"));
        facts.status.as_mut().unwrap().age = Seconds(1201);
        let actions = checked(&facts);
        assert_eq!(actions[0], Action::RemoveSuccess(identity(7)));
        let who = "late: 10.0.0.2 (no answer), 10.0.0.3 (serves 20170101000000) (2 of 3)";
        let expected = format!("gave up waiting for 20180413192258 after 20 minutes, {who}");
        assert!(said(&actions).contains(&expected), "{}", said(&actions));
    }

    #[test]
    fn an_error_stays_short_however_many_members_are_late_and_whatever_they_answer() {
        let noise = "x".repeat(60_000);
        let mut facts = facts(&vec![Some(noise.as_str()); 1000]);
        facts.status.as_mut().unwrap().age = Seconds(1201);
        let said = said(&checked(&facts));
        assert!(said.contains("and 980 more (1000 of 1000)") && said.len() < 3000, "{} bytes", said.len());
    }

    #[test]
    fn members_are_asked_only_while_an_announced_upgrade_is_in_flight() {
        let mut facts = facts(&[]);
        let asks = |facts: &CheckFacts| asks_members(facts.status.as_ref(), facts.journal.as_ref());
        assert!(asks(&facts));
        facts.journal.as_mut().unwrap().phase = Phase::Publishing;
        assert!(!asks(&facts));
        facts.journal = None;
        assert!(asks(&facts), "a script's upgrade");
        facts.status = None;
        assert!(!asks(&facts));
    }

    #[test]
    fn without_a_member_list_it_stays_in_flight_until_its_time_is_up() {
        let mut facts = facts(&[]);
        facts.members = Members::Unknown;
        assert!(said(&checked(&facts)).contains("members unknown"));
        facts.status.as_mut().unwrap().age = Seconds(1201);
        assert!(checked(&facts).contains(&remove_status()));
    }

    #[test]
    fn an_upgrade_that_was_never_announced_is_not_given_up() {
        let mut facts = facts(&[None]);
        facts.status.as_mut().unwrap().age = Seconds(5000);
        for phase in [Phase::Publishing, Phase::Published] {
            facts.journal.as_mut().unwrap().phase = phase;
            assert_eq!(checked(&facts), []);
        }
    }

    #[test]
    fn of_an_upgrade_that_a_script_began_only_its_own_success_is_removed() {
        let mut facts = facts(&[Some(V)]);
        facts.journal = None;
        assert_eq!(checked(&facts)[0], Action::RemoveSuccess(identity(7)));
        facts.success.as_mut().unwrap().announces = Version::announced_in(b"20190101000000");
        assert_eq!(checked(&facts)[0], remove_status());
    }

    #[test]
    fn an_upgrade_that_a_script_is_publishing_is_not_taken_for_ended() {
        let mut facts = facts(&[Some("20170101000000")]);
        facts.journal = None;
        facts.announced = Some(b"20170101000000".to_vec());
        assert_eq!(checked(&facts), []);
        facts.status.as_mut().unwrap().age = Seconds(900);
        facts.script_quiet_for = Some(Seconds(3));
        assert_eq!(checked(&facts), []);
        facts.script_quiet_for = Some(Seconds(121));
        assert_eq!(checked(&facts)[0], remove_status());
    }
}
