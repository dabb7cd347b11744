//! fCheckVersion: ends an upgrade that every member confirmed, that too many could not take up, or that takes too long.

use crate::error::Error;
use crate::formats::admitted::Admitted;
use crate::formats::rollout::{Rollout, Standing};
use crate::names::Address;
use crate::tools::dispatch::cli::Target;
use crate::tools::dispatch::decide::batches::{self, Progress};
use crate::tools::dispatch::decide::{
    Action, CheckFacts, Members, Plan, SCRIPT_IS_DEAD_AFTER, Status, Success, is_about, listed, retention,
};
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::tools::dispatch::policy::{Deadline, OnTimeout};
use crate::version::Version;

/// Who is named in the note of a rollout that a tick stopped.
const DISPATCH: &str = "dispatch";

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
    let upgrade = Upgrade { facts, target, status, ours, round: Round::of(facts, &announced) };
    Plan { commit: upgrade.next(), roll_back: upgrade.roll_back(), ..Plan::default() }
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
pub fn confirms(answer: Option<&[u8]>, announced: &[u8]) -> bool {
    answer.map(text_of) == Some(announced)
}

/// An answer or a report without the ends of its line, as `$(cat ...)` reads it.
pub fn text_of(answer: &[u8]) -> &[u8] {
    let end = answer.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    &answer[..end]
}

/// What the members answered.
pub(super) struct Round<'a> {
    /// What is announced.
    pub announced: &'a [u8],
    members: &'a [Answered],
    /// Those that do not have it.
    late: Vec<&'a Answered>,
    /// Those that are not let in, in the order of the list.
    pub waiting: Vec<&'a Address>,
    /// Those that are let in, do not have it and may still take it up.
    late_inside: Vec<&'a Answered>,
    /// Those that are let in and could not take it up, and why.
    pub failed: Vec<&'a (Address, String)>,
}

impl<'a> Round<'a> {
    pub fn of(facts: &'a CheckFacts, announced: &'a [u8]) -> Round<'a> {
        let members: &[Answered] = if let Members::Known(members) = &facts.members { members } else { &[] };
        let waiting = batches::waiting(&facts.rollout, announced, members.iter().map(|(address, _)| address));
        let late: Vec<&Answered> =
            members.iter().filter(|(_, answer)| !confirms(answer.as_deref(), announced)).collect();
        let inside: Vec<&Answered> =
            late.iter().filter(|(address, _)| !waiting.contains(&address)).copied().collect();
        let is_inside = |address: &Address| inside.iter().any(|(known, _)| known == address);
        let failed: Vec<_> = facts.rollout.failed.iter().filter(|(address, _)| is_inside(address)).collect();
        let has_failed = |address: &Address| failed.iter().any(|(known, _)| known == address);
        let late_inside = inside.into_iter().filter(|(address, _)| !has_failed(address)).collect();
        Round { announced, members, late, waiting, late_inside, failed }
    }

    /// The members that have the version, or tried and failed: whoever else is kept out goes on as it is.
    pub fn touched(&self) -> Vec<Address> {
        let has_failed = |address: &Address| self.failed.iter().any(|(known, _)| known == address);
        let touched = |(address, answer): &&Answered| {
            confirms(answer.as_deref(), self.announced) || has_failed(address)
        };
        self.members.iter().filter(touched).map(|(address, _)| address.clone()).collect()
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// How far the rollout is, where so many of those who are in are waited for.
    pub fn progress(&self, late: usize) -> Progress<'a> {
        Progress { members: self.size(), waiting: self.waiting.clone(), late }
    }

    /// `2 of 3 members have 20180413192258`
    pub fn count(&self) -> String {
        let (all, late) = (self.members.len(), self.late.len());
        format!("{} of {all} members have {}", all - late, String::from_utf8_lossy(self.announced))
    }
}

/// Whether members are still waiting to be let in when an upgrade ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nobody,
    /// They go on waiting: a version with which the first batch did not come through must not go to all others at once.
    Some,
}

/// The upgrade in flight.
struct Upgrade<'a> {
    facts: &'a CheckFacts,
    target: &'a Target,
    status: &'a Status,
    /// What this toolkit remembers of it; `None` where a script began it.
    ours: Option<&'a Journal>,
    round: Round<'a>,
}

/// How an upgrade in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Situation<'a> {
    /// Every member has the version.
    Complete,
    /// An operator paused it.
    Paused(&'a Rollout),
    /// A tick stopped it, and died before it had ended it.
    Stopped(&'a Rollout),
    /// An operator aborted it, and their command died before it had ended it.
    Aborted(&'a Rollout),
    /// Too many members failed.
    TooManyFailed,
    /// It takes too long.
    Expired,
    /// Members are waited for, or who they are is not known.
    UnderWay,
}

impl Upgrade<'_> {
    fn situation(&self) -> Situation<'_> {
        let Upgrade { facts, round, .. } = self;
        let is_known = matches!(facts.members, Members::Known(_));
        if is_known && round.late.is_empty() {
            return Situation::Complete;
        }
        match facts.rollout.note_about(round.announced).map(|note| (note, note.standing)) {
            Some((note, Standing::Paused)) => Situation::Paused(note),
            Some((note, Standing::Stopped)) => Situation::Stopped(note),
            Some((note, Standing::Aborted)) => Situation::Aborted(note),
            Some((_, Standing::Resumed(_))) | None if is_known && self.too_many_failed() => {
                Situation::TooManyFailed
            }
            Some((_, Standing::Resumed(_))) | None if self.has_expired() => Situation::Expired,
            Some((_, Standing::Resumed(_))) | None => Situation::UnderWay,
        }
    }

    /// What this tick does.
    fn next(&self) -> Vec<Action> {
        let Upgrade { facts, round, target: Target { model, .. }, .. } = self;
        match self.situation() {
            Situation::Complete => self.complete(),
            Situation::Paused(note) => {
                vec![Action::Say(format!("{model}: {}; {}", note.text(), round.count()))]
            }
            Situation::Stopped(note) => self.end_stopped(&note.why),
            Situation::Aborted(note) => {
                let mut actions = end_and_keep_out(facts, round);
                actions.push(Action::Say(format!("{model}: {}", note.text())));
                actions
            }
            Situation::TooManyFailed => self.stop(),
            Situation::Expired => self.expire(),
            Situation::UnderWay => match &facts.members {
                Members::Unreadable(error) => vec![Action::Fail(error.clone())],
                Members::Unknown => vec![Action::Say(format!(
                    "{model}: members unknown: scripts/dispatch/conf/{model}.env.sh is missing or names none; write members=\"A,B,...\" and \
                     moduleport=... into it"
                ))],
                Members::Known(_) => self.go_on(),
            },
        }
    }

    /// Every member has it.
    fn complete(&self) -> Vec<Action> {
        let mut actions = self.end(Waiting::Nobody);
        let version = String::from_utf8_lossy(self.round.announced);
        let (model, count) = (&self.target.model, self.round.size());
        actions.push(Action::Say(format!("{model}: all {count} members have {version}")));
        actions.extend(retention::prune(self.facts, self.ours));
        actions
    }

    /// Why it is to be rolled back, where it took too long and the list asks for that.
    fn roll_back(&self) -> Option<String> {
        let is_asked_for = self.facts.rollout.policy.on_timeout == OnTimeout::Rollback;
        (is_asked_for && self.situation() == Situation::Expired)
            .then(|| format!("it took too long, {}", self.who_is_late()))
    }

    fn too_many_failed(&self) -> bool {
        let note = self.facts.rollout.note_about(self.round.announced);
        let put_up_with = match note.map(|note| note.standing) {
            Some(Standing::Resumed(failed)) => failed,
            _ => 0,
        };
        let max_fail = self.facts.rollout.policy.max_fail;
        max_fail.is_some_and(|max_fail| self.round.failed.len() >= max_fail + put_up_with)
    }

    fn has_expired(&self) -> bool {
        match self.facts.rollout.policy.deadline {
            Deadline::SinceBegin(limit) => self.status.age > limit,
            Deadline::SinceProgress(limit) => self.facts.rollout.quiet_for > limit,
        }
    }

    /// Waits for whoever is in, and lets the next batch in.
    fn go_on(&self) -> Vec<Action> {
        let Upgrade { facts, round, target, .. } = self;
        let mut actions = Vec::new();
        if !round.late_inside.is_empty() || !round.failed.is_empty() {
            let waiting_for = match &round.late_inside[..] {
                [] => String::new(),
                late => format!("; waiting for {}", listed(late, |(address, _)| address.to_string())),
            };
            let not_yet = match round.waiting.len() {
                0 => String::new(),
                count => format!("; {count} are not let in yet"),
            };
            let failed = self.failed().map_or_else(String::new, |failed| format!("; {failed}"));
            let line = format!("{}: {}{waiting_for}{failed}{not_yet}", target.model, round.count());
            actions.push(Action::Say(line));
        }
        let progress = round.progress(round.late_inside.len());
        actions.extend(batches::advance(&facts.rollout, round.announced, &progress, target));
        actions
    }

    /// Too many could not take the version up: nobody else gets it.
    fn stop(&self) -> Vec<Action> {
        let failed = self.failed().unwrap_or_default();
        let limit = self.facts.rollout.policy.max_fail.unwrap_or_default();
        let why = format!("{failed} (max_fail={limit})");
        let mut actions: Vec<Action> = self.note(Standing::Stopped, &why).into_iter().collect();
        actions.extend(self.end_stopped(&why));
        actions
    }

    /// Ends a rollout whose note says that it was stopped. It is ended last: whoever dies over it leaves an upgrade in flight, by
    /// which the next tick finds it, and tells it once more rather than never.
    fn end_stopped(&self, why: &str) -> Vec<Action> {
        let Upgrade { round, target: Target { model, .. }, .. } = self;
        let kept_out = round.size() - round.touched().len();
        let mut actions = keep_out(round);
        actions.extend(self.tell(why));
        actions.extend(self.end(Waiting::Some));
        actions.push(Action::Fail(Error::failed(format!(
            "{model}: stopped the rollout of {}: {why}; the other {kept_out} of {} stay as they are; push a version that works, or \
             dispatch --resume {model}",
            String::from_utf8_lossy(round.announced),
            round.size()
        ))));
        actions
    }

    /// It took too long.
    fn expire(&self) -> Vec<Action> {
        let Upgrade { facts, round, target, .. } = self;
        if facts.rollout.policy.on_timeout == OnTimeout::Continue && !round.waiting.is_empty() {
            return self.pass_over();
        }
        let who = self.who_is_late();
        let why = format!("it took too long, {who}");
        let remain = if round.waiting.is_empty() { Waiting::Nobody } else { Waiting::Some };
        // In this order, so that nothing is lost of a tick that dies: once the note says that it was stopped nobody asks any more
        // who is late, and once it is ended there is nothing for the next tick to finish.
        let mut actions: Vec<Action> = self.note_late().into_iter().collect();
        if remain == Waiting::Some {
            actions.extend(self.note(Standing::Stopped, &why));
        }
        actions.extend(self.tell(&why));
        actions.extend(self.end(remain));
        let since = match facts.rollout.policy.deadline {
            Deadline::SinceBegin(limit) => format!("after {} minutes", limit.0 / 60),
            Deadline::SinceProgress(limit) => format!("after {} minutes without progress", limit.0 / 60),
        };
        let advice = match remain {
            Waiting::Nobody => String::new(),
            Waiting::Some => format!(
                "; {} were not let in and stay as they are: push again, or dispatch --resume {}",
                round.waiting.len(),
                target.model
            ),
        };
        actions.push(Action::Fail(Error::failed(format!(
            "{}: gave up waiting for {} {since}, {who}{advice}; look at those members' polling logs",
            target.model,
            String::from_utf8_lossy(round.announced)
        ))));
        actions
    }

    /// Whoever is late is passed over: the next batch is let in, and its time begins anew.
    fn pass_over(&self) -> Vec<Action> {
        let Upgrade { facts, round, target, .. } = self;
        let version = Version::of_directory(round.announced).ok();
        let mut actions: Vec<Action> = version.into_iter().map(Action::MarkInFlightAgain).collect();
        let nobody_is_late = round.late_inside.is_empty() && round.failed.is_empty();
        let passed_over = if nobody_is_late { "" } else { "; they are passed over" };
        let line = format!("{}: took too long, {}{passed_over}", target.model, self.who_is_late());
        actions.push(Action::Say(line));
        actions.extend(self.note_late());
        let progress = round.progress(0);
        actions.extend(batches::let_next_in(&facts.rollout, round.announced, &progress, &target.model));
        actions
    }

    fn note_late(&self) -> Option<Action> {
        let version = Version::of_directory(self.round.announced).ok()?;
        let late: Vec<Address> = self.round.late_inside.iter().map(|(address, _)| address.clone()).collect();
        (!late.is_empty()).then_some(Action::NoteLate(version, late))
    }

    /// Tells the site's own program.
    fn tell(&self, why: &str) -> Option<Action> {
        let version = Version::of_directory(self.round.announced).ok()?;
        Some(Action::OnFailure(version, why.to_owned()))
    }

    fn note(&self, standing: Standing, why: &str) -> Option<Action> {
        let version = Version::of_directory(self.round.announced).ok()?;
        let by = DISPATCH.to_owned();
        let why = why.to_owned();
        Some(Action::NoteRollout(Rollout { standing, version, at: self.facts.now_s, by, why }))
    }

    fn end(&self, waiting: Waiting) -> Vec<Action> {
        end(self.facts, self.status, self.ours, waiting)
    }

    /// `1 failed: 10.0.0.3 (rolled back: ...)`
    fn failed(&self) -> Option<String> {
        let failed = &self.round.failed;
        let who = || listed(failed, |(address, why)| format!("{address} ({why})"));
        (!failed.is_empty()).then(|| format!("{} failed: {}", failed.len(), who()))
    }

    fn who_is_late(&self) -> String {
        let Members::Known(all) = &self.facts.members else {
            return "who is late is unknown without a member list".to_owned();
        };
        let late = &self.round.late_inside;
        let late = match late.len() {
            0 => None,
            count => Some(format!("late: {} ({count} of {})", listed(late, with_its_answer), all.len())),
        };
        let said: Vec<String> = late.into_iter().chain(self.failed()).collect();
        if said.is_empty() { "nobody who was let in is late".to_owned() } else { said.join("; ") }
    }
}

/// Whoever has not taken the version up is kept out of it; legacy pollers take no notice.
pub(super) fn keep_out(round: &Round) -> Vec<Action> {
    let version = Version::of_directory(round.announced).ok();
    let kept_out = |version| Admitted { version, members: round.touched(), withdrawn: None };
    version.into_iter().map(|version| Action::Admit(kept_out(version))).collect()
}

/// Ends an upgrade whoever has it, and keeps the others out.
pub(super) fn end_and_keep_out(facts: &CheckFacts, round: &Round) -> Vec<Action> {
    let mut actions = keep_out(round);
    if let Some(status) = &facts.status {
        let ours = facts.journal.as_ref().filter(|journal| is_about(journal, Some(status)));
        actions.extend(end(facts, status, ours, Waiting::Some));
    }
    actions
}

/// Ends an upgrade: `success` first, so that a run killed in between leaves an upgrade that ends at the next tick.
fn end(facts: &CheckFacts, status: &Status, ours: Option<&Journal>, waiting: Waiting) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(success) =
        facts.success.as_ref().filter(|s| was_dispatched(s, Some(status), ours, facts.announced.as_deref()))
    {
        actions.push(Action::RemoveSuccess(success.identity));
    }
    let rollout = &facts.rollout;
    if rollout.admitted.is_some() && waiting == Waiting::Nobody {
        actions.push(Action::AdmitEverybody);
    }
    if rollout.note.is_some() && waiting == Waiting::Nobody {
        actions.push(Action::ForgetRollout);
    }
    if rollout.confirmed.is_some() {
        actions.push(Action::ForgetConfirmedBatch);
    }
    actions.extend([Action::RemoveStatus(status.version.clone()), Action::RemoveJournal]);
    actions
}

/// Whether a `success` is the one whose upload this upgrade published; a later one stays (defect 4).
pub fn was_dispatched(
    success: &Success,
    status: Option<&Status>,
    ours: Option<&Journal>,
    announced: Option<&[u8]>,
) -> bool {
    match (ours, &success.announces) {
        (Some(journal), _) => journal.success == success.identity,
        // A script's upgrade: it wrote no identity down.
        (None, Some(version)) => announced == Some(version.as_str().as_bytes()),
        (None, None) => status.is_some_and(|status| success.age >= status.age),
    }
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
    use crate::identity::Identity;
    use crate::time::Seconds;
    use crate::tools::dispatch::batches::Batches;
    use crate::tools::dispatch::decide::RolloutFacts;
    use crate::tools::dispatch::policy::Policy;

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
                begun_s: None,
                before: vec![],
                content: V.as_bytes().to_vec(),
            }),
            announced: Some(V.as_bytes().to_vec()),
            script_quiet_for: None,
            members: members(reports),
            retention: None,
            rollout: RolloutFacts::default(),
            now_s: 0,
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
        let late = ["10.0.0.2", "10.0.0.3"].map(|text| Address::parse(text.as_bytes()).unwrap()).to_vec();
        assert_eq!(actions[0], Action::NoteLate(Version::parse(V.as_bytes()).unwrap(), late));
        assert!(matches!(actions[1], Action::OnFailure(..)), "whatever dies over the end was told before");
        assert_eq!(actions[2], Action::RemoveSuccess(identity(7)));
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
        facts.rollout = RolloutFacts {
            policy: Policy { batches: Batches::parse(b"1,2,3").unwrap(), ..Policy::default() },
            admitted: Some(Admitted { version, members, withdrawn: None }),
            ..RolloutFacts::default()
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
            text.contains(
                "late: 10.0.0.1 (no answer) (1 of 3); 2 were not let in and stay as they are: push"
            ),
            "{text}"
        );
        facts.members = members(&[Some(V), None, None]);
        assert!(ends(&facts).1.contains("nobody who was let in is late; 2 were not let in"));
        let everyone = (1..=3).map(|n| Address::parse(format!("10.0.0.{n}").as_bytes()).unwrap()).collect();
        facts.rollout.admitted.as_mut().unwrap().members = everyone;
        assert!(ends(&facts).0, "nobody is held back");
    }

    /// Three members, all let in; the second could not take the version up.
    fn one_failed(max_fail: usize) -> CheckFacts {
        let mut facts = facts(&[Some(V), Some("20170101000000"), None]);
        facts.rollout.policy.max_fail = Some(max_fail);
        facts.rollout.failed = vec![(Address::parse(b"10.0.0.2").unwrap(), "rolled back".to_owned())];
        facts
    }

    fn noted(standing: Standing) -> Rollout {
        let version = Version::parse(V.as_bytes()).unwrap();
        Rollout { standing, version, at: 0, by: "root@m".to_owned(), why: "a test".to_owned() }
    }

    #[test]
    fn when_as_many_have_failed_as_max_fail_says_nobody_else_gets_the_version() {
        let actions = checked(&one_failed(1));
        let Action::NoteRollout(note) = &actions[0] else { panic!("{actions:?}") };
        assert_eq!(note.text(), "stopped by dispatch: 1 failed: 10.0.0.2 (rolled back) (max_fail=1)");
        let Action::Admit(admitted) = &actions[1] else { panic!("{actions:?}") };
        let touched = ["10.0.0.1", "10.0.0.2"].map(|text| Address::parse(text.as_bytes()).unwrap());
        assert_eq!(admitted.members, touched);
        assert!(actions.contains(&remove_status()));
        assert!(said(&actions).contains("the other 1 of 3 stay as they are"), "{}", said(&actions));
    }

    #[test]
    fn fewer_failures_are_put_up_with_and_the_next_batch_is_let_in() {
        let waits =
            "m: 1 of 3 members have 20180413192258; waiting for 10.0.0.3; 1 failed: 10.0.0.2 (rolled back)";
        assert_eq!(said(&checked(&one_failed(2))), waits);
        let mut facts = one_failed(2);
        facts.rollout = RolloutFacts { failed: facts.rollout.failed, ..in_batches(&[]).rollout };
        facts.rollout.policy.max_fail = Some(2);
        let second = Address::parse(b"10.0.0.2").unwrap();
        facts.rollout.admitted.as_mut().unwrap().members.push(second);
        let actions = checked(&facts);
        assert!(matches!(&actions[1], Action::Admit(admitted) if admitted.members.len() == 3), "{actions:?}");
        // A member that is not let in cannot fail: what it said is about another version.
        facts.rollout.policy.max_fail = Some(1);
        facts.rollout.admitted.as_mut().unwrap().members.pop();
        assert!(matches!(checked(&facts)[0], Action::Admit(_)));
    }

    #[test]
    fn a_rollout_that_was_resumed_puts_up_with_those_that_had_failed() {
        let mut facts = one_failed(1);
        facts.rollout.note = Some(noted(Standing::Resumed(1)));
        assert!(said(&checked(&facts)).contains("waiting for 10.0.0.3"));
        // None had failed when it was resumed.
        facts.rollout.note = Some(noted(Standing::Resumed(0)));
        assert!(said(&checked(&facts)).contains("stopped"));
        let version = Version::parse(b"20190101000000").unwrap();
        facts.rollout.note = Some(Rollout { version, ..noted(Standing::Resumed(1)) });
        assert!(said(&checked(&facts)).contains("stopped"), "that was another version");
    }

    #[test]
    fn while_it_is_paused_nobody_is_let_in_and_no_time_passes() {
        let mut facts = in_batches(&[Some(V), None, None]);
        facts.rollout.note = Some(noted(Standing::Paused));
        facts.status.as_mut().unwrap().age = Seconds(90_000);
        let expected = "m: paused by root@m: a test; 1 of 3 members have 20180413192258";
        assert_eq!((checked(&facts).len(), said(&checked(&facts)).as_str()), (1, expected));
        facts.members = members(&[Some(V); 3]);
        assert!(checked(&facts).contains(&remove_status()), "everybody has it");
        assert!(checked(&facts).contains(&Action::ForgetRollout));
    }

    #[test]
    fn a_run_that_died_while_it_ended_a_rollout_is_finished_and_one_that_was_stopped_is_told() {
        let version = Version::parse(V.as_bytes()).unwrap();
        let told = Action::OnFailure(version, "a test".to_owned());
        for (standing, is_told) in [(Standing::Stopped, true), (Standing::Aborted, false)] {
            let mut facts = in_batches(&[Some(V), None, None]);
            facts.rollout.note = Some(noted(standing));
            let actions = checked(&facts);
            assert!(matches!(&actions[0], Action::Admit(admitted) if admitted.members.len() == 1));
            let place = |wanted: &Action| actions.iter().position(|action| action == wanted);
            assert!(place(&remove_status()).is_some() && place(&Action::ForgetRollout).is_none());
            assert_eq!(place(&told).is_some(), is_told);
            assert!(place(&told) < place(&remove_status()));
            assert_eq!(matches!(actions.last(), Some(Action::Fail(_))), is_told, "{}", said(&actions));
        }
    }

    #[test]
    fn the_deadline_is_the_member_lists() {
        let mut facts = in_batches(&[None; 3]);
        facts.rollout.policy.deadline = Deadline::SinceBegin(Seconds(60));
        facts.status.as_mut().unwrap().age = Seconds(61);
        assert!(
            said(&checked(&facts))
                .contains("gave up waiting for 20180413192258 after 1 minutes, late: 10.0.0.1")
        );
        facts.rollout.policy.deadline = Deadline::SinceProgress(Seconds(60));
        facts.rollout.quiet_for = Seconds(60);
        assert!(said(&checked(&facts)).contains("waiting for 10.0.0.1"));
        facts.rollout.quiet_for = Seconds(61);
        assert!(said(&checked(&facts)).contains("after 1 minutes without progress"));
        facts.rollout.policy.on_timeout = OnTimeout::Continue;
        let actions = checked(&facts);
        assert!(matches!(&actions[2], Action::NoteLate(_, late) if late.len() == 1), "{actions:?}");
        assert!(matches!(&actions[3], Action::Admit(admitted) if admitted.members.len() == 2), "{actions:?}");
        assert!(!actions.contains(&remove_status()));
        let passed_over = |actions: &[Action]| match &actions[1] {
            Action::Say(line) => line.clone(),
            other => panic!("{other:?}"),
        };
        let late = "m: took too long, late: 10.0.0.1 (no answer) (1 of 3); they are passed over";
        assert_eq!(passed_over(&actions), late);
        // Its batch has the version, and the pause behind it lasts.
        facts.members = members(&[Some(V), None, None]);
        let nobody = "m: took too long, nobody who was let in is late";
        assert_eq!(passed_over(&checked(&facts)), nobody);
    }

    #[test]
    fn it_is_rolled_back_only_where_the_list_asks_for_that_and_it_took_too_long() {
        let rolled_back =
            |facts: &CheckFacts| check(facts, &Target::parse(b"m", b"/w", b"m.so").unwrap()).roll_back;
        let mut facts = in_batches(&[None; 3]);
        facts.rollout.policy.on_timeout = OnTimeout::Rollback;
        assert_eq!(rolled_back(&facts), None);
        facts.status.as_mut().unwrap().age = Seconds(1201);
        assert_eq!(
            rolled_back(&facts).as_deref(),
            Some("it took too long, late: 10.0.0.1 (no answer) (1 of 3)")
        );
        assert!(checked(&facts).contains(&remove_status()), "where it cannot be rolled back, it is ended");
        facts.rollout.note = Some(noted(Standing::Paused));
        assert_eq!(rolled_back(&facts), None);
        facts.rollout.note = None;
        facts.members = members(&[Some(V); 3]);
        assert_eq!(rolled_back(&facts), None);
    }
}
