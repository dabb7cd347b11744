//! fCheckVersion: ends an upgrade that every member confirmed, or that takes too long.

use crate::error::Error;
use crate::names::Address;
use crate::time::Seconds;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::batches::{self, Progress};
use crate::tools::dispatch::decide::{
    Action, CheckFacts, Members, Plan, SCRIPT_IS_DEAD_AFTER, Status, Success, is_about, listed, retention,
};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::version::Version;

/// An upgrade older than this is given up (contract section 3, fCheckVersion).
pub const GIVEN_UP_AFTER: Seconds = Seconds(20 * 60);

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
    let members: &[Answered] = if let Members::Known(members) = &facts.members { members } else { &[] };
    let late: Vec<&Answered> =
        members.iter().filter(|(_, answer)| !confirms(answer.as_deref(), &announced)).collect();
    let waiting = batches::waiting(&facts.batch, &announced, members.iter().map(|(address, _)| address));
    let late_inside: Vec<&Answered> =
        late.iter().filter(|(address, _)| !waiting.contains(&address)).copied().collect();
    let commit = match &facts.members {
        Members::Known(_) if late.is_empty() => {
            let mut actions = end(facts, status, ours, Waiting::Nobody);
            actions.push(Action::Say(format!("{model}: all {} members have {version}", members.len())));
            actions.extend(retention::prune(facts, ours));
            actions
        }
        _ if status.age > GIVEN_UP_AFTER => {
            let remain = if waiting.is_empty() { Waiting::Nobody } else { Waiting::Some };
            let mut actions = end(facts, status, ours, remain);
            let who = who_is_late(&facts.members, &late_inside, waiting.len());
            actions.push(Action::Fail(given_up(target, &version, &who)));
            actions
        }
        Members::Unreadable(error) => vec![Action::Fail(error.clone())],
        Members::Unknown => vec![Action::Say(format!(
            "{model}: members unknown: scripts/dispatch/conf/{model}.env.sh is missing or names none; write members=\"A,B,...\" and \
             moduleport=... into it"
        ))],
        Members::Known(_) => {
            let mut actions = Vec::new();
            if !late_inside.is_empty() {
                let not_yet = match waiting.len() {
                    0 => String::new(),
                    count => format!("; {count} are not let in yet"),
                };
                actions.push(Action::Say(format!(
                    "{model}: {} of {} members have {version}; waiting for {}{not_yet}",
                    members.len() - late.len(),
                    members.len(),
                    listed(&late_inside, |(address, _)| address.to_string())
                )));
            }
            let progress = Progress { members: members.len(), waiting, late: late_inside.len() };
            actions.extend(batches::advance(&facts.batch, &announced, &progress, target));
            actions
        }
    };
    Plan { commit, ..Plan::default() }
}

/// Whether a script began an upgrade, has not announced it, and still writes.
fn script_is_publishing(facts: &CheckFacts, status: &Status, announced: &[u8]) -> bool {
    let is_announced = |version: &Version| version.as_str().as_bytes() == announced;
    let quiet_for = facts.script_quiet_for.map_or(status.age, |quiet_for| quiet_for.min(status.age));
    status.version.as_ref().is_some_and(|version| !is_announced(version)) && quiet_for <= SCRIPT_IS_DEAD_AFTER
}

/// A member, and what it answered.
type Answered = (Address, Option<Vec<u8>>);

/// legacy: dispatch.sh, fCheckVersion: the text of the report, as `$(cat ...)` reads it, equals the version.
fn confirms(answer: Option<&[u8]>, announced: &[u8]) -> bool {
    answer.map(text_of) == Some(announced)
}

fn text_of(answer: &[u8]) -> &[u8] {
    let end = answer.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    &answer[..end]
}

/// Whether members are still waiting to be let in when an upgrade ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nobody,
    /// They go on waiting: a version with which the first batch did not come through must not go to all others at once.
    Some,
}

/// Ends an upgrade: `success` first, so that a run killed in between leaves an upgrade that ends at the next tick.
fn end(facts: &CheckFacts, status: &Status, ours: Option<&Journal>, waiting: Waiting) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(success) = facts.success.as_ref().filter(|s| was_dispatched(s, status, ours, facts)) {
        actions.push(Action::RemoveSuccess(success.identity));
    }
    if facts.batch.admitted.is_some() && waiting == Waiting::Nobody {
        actions.push(Action::AdmitEverybody);
    }
    if facts.batch.confirmed.is_some() {
        actions.push(Action::ForgetConfirmedBatch);
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

fn given_up(target: &Target, version: &str, who: &str) -> Error {
    let minutes = GIVEN_UP_AFTER.0 / 60;
    Error::failed(format!(
        "{}: gave up waiting for {version} after {minutes} minutes, {who}; look at those members' polling logs",
        target.model
    ))
}

fn who_is_late(members: &Members, late: &[&Answered], waiting: usize) -> String {
    let Members::Known(all) = members else {
        return "who is late is unknown without a member list".to_owned();
    };
    let mut who = match late.len() {
        0 => "nobody who was let in is late".to_owned(),
        count => format!("late: {} ({count} of {})", listed(late, with_its_answer), all.len()),
    };
    if waiting > 0 {
        who.push_str(&format!(
            "; {waiting} were not let in and stay as they are: push again, or remove .admitted to let them in"
        ));
    }
    who
}

/// A late member, and why it is late.
fn with_its_answer((address, answer): &Answered) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::admitted::Admitted;
    use crate::identity::Identity;
    use crate::tools::dispatch::batches::Batches;
    use crate::tools::dispatch::decide::BatchFacts;

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
            batch: BatchFacts::default(),
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

    /// Three members in batches of one, the first of which is let in.
    fn in_batches(reports: &[Option<&str>]) -> CheckFacts {
        let mut facts = facts(reports);
        let members = vec![Address::parse(b"10.0.0.1").unwrap()];
        let version = Version::parse(V.as_bytes()).unwrap();
        facts.batch = BatchFacts {
            batches: Batches::parse(b"1,2,3").unwrap(),
            admitted: Some(Admitted { version, members }),
            ..BatchFacts::default()
        };
        facts
    }

    #[test]
    fn the_next_batch_waits_for_those_that_are_let_in_and_for_nobody_else() {
        let actions = checked(&in_batches(&[None, None, None]));
        let expected = "m: 0 of 3 members have 20180413192258; waiting for 10.0.0.1; 2 are not let in yet";
        assert_eq!((actions.len(), said(&actions).as_str()), (1, expected));
        let actions = checked(&in_batches(&[Some(V), None, None]));
        assert!(matches!(&actions[0], Action::Admit(admitted) if admitted.members.len() == 2));
        // A legacy poller took it at once.
        let actions = checked(&in_batches(&[None, None, Some(V)]));
        assert_eq!(actions.len(), 1, "{actions:?}");
    }

    #[test]
    fn at_the_end_everybody_is_let_in_and_when_it_is_given_up_the_others_stay_out() {
        let ends = |facts: &CheckFacts| {
            let actions = checked(facts);
            assert!(actions.contains(&remove_status()));
            (actions.contains(&Action::AdmitEverybody), said(&actions))
        };
        assert!(ends(&in_batches(&[Some(V); 3])).0);
        let mut facts = in_batches(&[None; 3]);
        facts.status.as_mut().unwrap().age = Seconds(1201);
        let (everybody, text) = ends(&facts);
        assert!(!everybody);
        assert!(
            text.contains("late: 10.0.0.1 (no answer) (1 of 3); 2 were not let in and stay as they are"),
            "{text}"
        );
        facts.members = members(&[Some(V), None, None]);
        assert!(ends(&facts).1.contains("nobody who was let in is late; 2 were not let in"));
        let everyone = (1..=3).map(|n| Address::parse(format!("10.0.0.{n}").as_bytes()).unwrap()).collect();
        facts.batch.admitted.as_mut().unwrap().members = everyone;
        assert!(ends(&facts).0, "nobody is held back");
    }
}
