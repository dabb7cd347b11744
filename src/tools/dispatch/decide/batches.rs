//! Who is let in when, where a version is rolled out in batches (defect 15).

use std::collections::BTreeSet;

use crate::error::Result;
use crate::formats::admitted::Admitted;
use crate::names::{Address, ModelName};
use crate::time::Seconds;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::{Action, ConfirmedBatch, MemberList, RolloutFacts};
use crate::version::Version;

/// The first batch of a version; `None` where everybody may take it at once.
///
/// Fails, and then nothing may be published, when the member list cannot be read and may ask for batches.
pub fn first(list: &MemberList, version: &Version) -> Result<Option<Admitted>> {
    let fleet = match list {
        MemberList::Unreadable { error, may_have_batches: true } => return Err(error.clone()),
        MemberList::Unreadable { .. } | MemberList::Absent => return Ok(None),
        MemberList::Known(fleet) => fleet,
    };
    let target = fleet.policy.batches.after(0, fleet.members.len());
    let members = fleet.members.iter().take(target).cloned().collect();
    Ok((target < fleet.members.len()).then(|| Admitted {
        version: version.clone(),
        members,
        withdrawn: None,
    }))
}

/// The members that are not let in yet, in the order of the list.
pub fn waiting<'a>(
    facts: &RolloutFacts,
    announced: &[u8],
    members: impl Iterator<Item = &'a Address>,
) -> Vec<&'a Address> {
    let Some(admitted) = facts.admitted_to(announced) else { return Vec::new() };
    let inside: BTreeSet<&Address> = admitted.members.iter().collect();
    members.filter(|member| !inside.contains(member)).collect()
}

/// How far a rollout in batches is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How many members there are.
    pub members: usize,
    /// Those that are not let in yet.
    pub waiting: Vec<&'a Address>,
    /// How many of those that are let in have not confirmed.
    pub late: usize,
}

/// What is done while members wait: the next batch is let in when everybody who is in has confirmed, and the pause is over.
pub fn advance(facts: &RolloutFacts, announced: &[u8], progress: &Progress, target: &Target) -> Vec<Action> {
    let Some(admitted) = facts.admitted_to(announced) else { return Vec::new() };
    let inside = progress.members - progress.waiting.len();
    if progress.late > 0 {
        // A batch that was confirmed and is not any more: its pause begins anew.
        return facts.confirmed.iter().map(|_| Action::ForgetConfirmedBatch).collect();
    }
    let batch = ConfirmedBatch { version: admitted.version.clone(), admitted: inside };
    let confirmed_for = facts.confirmed.as_ref().filter(|(known, _)| *known == batch).map(|(_, age)| *age);
    let left = facts.policy.pause.0 - confirmed_for.unwrap_or(Seconds(0)).0;
    if left > 0 {
        let noted = confirmed_for.is_none().then_some(Action::NoteConfirmedBatch(batch));
        return noted.into_iter().chain([Action::Say(pausing(target, inside, progress, left))]).collect();
    }
    let_next_in(facts, announced, progress, &target.model)
}

/// Lets the next batch in.
pub fn let_next_in(
    facts: &RolloutFacts,
    announced: &[u8],
    progress: &Progress,
    model: &ModelName,
) -> Vec<Action> {
    let Some(admitted) = facts.admitted_to(announced) else { return Vec::new() };
    let (next, newly) = next(facts, progress);
    vec![
        Action::Admit(with(admitted, &newly)),
        Action::Say(let_in(model, &admitted.version, &newly, next, progress.members)),
    ]
}

/// How many are in after the next batch, and who comes in with it.
fn next<'a>(facts: &RolloutFacts, progress: &Progress<'a>) -> (usize, Vec<&'a Address>) {
    let inside = progress.members - progress.waiting.len();
    let next = facts.policy.batches.after(inside, progress.members);
    (next, progress.waiting.iter().take(next - inside).copied().collect())
}

fn with(admitted: &Admitted, newly: &[&Address]) -> Admitted {
    let members = admitted.members.iter().chain(newly.iter().copied()).cloned().collect();
    Admitted { members, ..admitted.clone() }
}

fn pausing(target: &Target, inside: usize, progress: &Progress, left: i64) -> String {
    let (model, members) = (&target.model, progress.members);
    format!(
        "{model}: the {inside} of {members} members that were let in have it; the next batch follows in {left} s"
    )
}

/// The line that says who was let in.
pub fn let_in(model: &ModelName, version: &Version, newly: &[&Address], inside: usize, of: usize) -> String {
    let who = super::listed(newly, |member| member.to_string());
    format!("{model}: {inside} of {of} members may take {version} now; let in: {who}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::tools::dispatch::batches::Batches;
    use crate::tools::dispatch::fleet::{Fleet, Probe};
    use crate::tools::dispatch::policy::Policy;

    const V: &str = "20180413192258";

    fn version() -> Version {
        Version::parse(V.as_bytes()).unwrap()
    }

    fn addresses(numbers: std::ops::RangeInclusive<u8>) -> Vec<Address> {
        numbers.map(|n| Address::parse(format!("10.0.0.{n}").as_bytes()).unwrap()).collect()
    }

    fn fleet(batches: &str) -> MemberList {
        MemberList::Known(Fleet {
            members: addresses(1..=8),
            probe: Probe::Report,
            keep: None,
            policy: Policy { batches: Batches::parse(batches.as_bytes()).unwrap(), ..Policy::default() },
        })
    }

    fn admitted(members: Vec<Address>) -> Admitted {
        Admitted { version: version(), members, withdrawn: None }
    }

    /// Of eight members so many are let in.
    fn facts(inside: u8, pause: i64) -> RolloutFacts {
        RolloutFacts {
            policy: Policy {
                batches: Batches::parse(b"1,25%,100%").unwrap(),
                pause: Seconds(pause),
                ..Policy::default()
            },
            admitted: Some(admitted(addresses(1..=inside))),
            ..RolloutFacts::default()
        }
    }

    fn advanced(facts: &RolloutFacts, late: usize) -> Vec<Action> {
        let all = addresses(1..=8);
        let waiting = waiting(facts, V.as_bytes(), all.iter());
        let target = Target::parse(b"m", b"/w", b"m.so").unwrap();
        advance(facts, V.as_bytes(), &Progress { members: 8, waiting, late }, &target)
    }

    #[test]
    fn the_first_batch_is_the_first_of_the_list_and_one_of_all_needs_no_file() {
        let first = |batches: &str| first(&fleet(batches), &version()).unwrap().map(|first| first.members);
        assert_eq!(first("1,25%,100%"), Some(addresses(1..=1)));
        assert_eq!(first("50%,100%"), Some(addresses(1..=4)));
        assert_eq!(first("100%"), None);
        assert_eq!(first("8"), None);
    }

    #[test]
    fn a_list_that_cannot_be_read_and_may_ask_for_batches_stops_the_publication() {
        let list = |may_have_batches| MemberList::Unreadable { error: Error::usage("x"), may_have_batches };
        assert!(first(&list(true), &version()).is_err());
        assert_eq!(first(&list(false), &version()), Ok(None));
        assert_eq!(first(&MemberList::Absent, &version()), Ok(None));
    }

    #[test]
    fn the_next_batch_is_let_in_when_everybody_who_is_in_has_confirmed() {
        assert_eq!(advanced(&facts(1, 0), 1), []);
        for (inside, next) in [(1, 2), (2, 8)] {
            let actions = advanced(&facts(inside, 0), 0);
            let members = addresses(1..=next);
            assert_eq!(actions[0], Action::Admit(admitted(members)));
        }
    }

    #[test]
    fn a_pause_begins_when_a_batch_is_confirmed_and_anew_when_it_is_not_any_more() {
        let batch = ConfirmedBatch { version: version(), admitted: 1 };
        let mut facts = facts(1, 120);
        assert_eq!(advanced(&facts, 0)[0], Action::NoteConfirmedBatch(batch.clone()));
        facts.confirmed = Some((batch.clone(), Seconds(119)));
        assert!(matches!(&advanced(&facts, 0)[..], [Action::Say(line)] if line.ends_with("follows in 1 s")));
        assert_eq!(advanced(&facts, 1), [Action::ForgetConfirmedBatch]);
        facts.confirmed = Some((batch.clone(), Seconds(120)));
        assert!(matches!(advanced(&facts, 0)[..], [Action::Admit(_), Action::Say(_)]));
        facts.confirmed = Some((ConfirmedBatch { admitted: 2, ..batch }, Seconds(500)));
        assert!(matches!(advanced(&facts, 0)[0], Action::NoteConfirmedBatch(_)), "that was another batch");
    }

    #[test]
    fn nobody_waits_where_the_file_is_about_another_version() {
        let all = addresses(1..=8);
        assert_eq!(waiting(&facts(1, 0), V.as_bytes(), all.iter()).len(), 7);
        assert_eq!(waiting(&facts(1, 0), b"20190101000000", all.iter()).len(), 0);
        assert_eq!(waiting(&RolloutFacts::default(), V.as_bytes(), all.iter()).len(), 0);
    }

    #[test]
    fn a_list_that_changed_meanwhile_goes_on_in_its_new_order() {
        let mut facts = facts(2, 0);
        // 10.0.0.1 is gone, and 10.0.0.9 stands first now.
        let mut all = addresses(9..=9);
        all.extend(addresses(2..=8));
        let waiting = waiting(&facts, V.as_bytes(), all.iter());
        facts.policy.batches = Batches::parse(b"1,2,100%").unwrap();
        let target = Target::parse(b"m", b"/w", b"m.so").unwrap();
        let actions = advance(&facts, V.as_bytes(), &Progress { members: 8, waiting, late: 0 }, &target);
        let Action::Admit(admitted) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(admitted.members, [addresses(1..=2), addresses(9..=9)].concat());
    }
}
