//! How the rollout of the announced version goes on: who is admitted next, when it ends, and how.
//!
//! Unknown is not nobody: where it is not known who the members are, or who of them is held,
//! nothing is completed, admitted wider, rolled back or deleted, and its time does not run. The
//! last policy that could be read stands.
//!
//! The member list, its batches and the holds may be edited during a rollout. Each tick goes by
//! what they say then: a member that is admitted stays admitted, and the next batch is made of the
//! members that are free and not admitted, in the order of the list, up to the figure of `batches`
//! that comes after the number of those that are admitted.

use crate::error::Error;
use crate::formats::announcement::{Admission, Numbers};
use crate::names::Address;
use crate::rollout::event::{Ending, Event};
use crate::rollout::policy::{Deadline, OnTimeout, Policy};
use crate::rollout::state::{Announced, Phase, State, Worth};
use crate::rollout::verdict::{Verdict, has_failed};

/// What is known of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its address.
    pub address: Address,
    /// What it does about the announced version.
    pub verdict: Verdict,
    /// Why it failed; empty where it has not.
    pub failure: String,
    /// What it answered, for people: `serves 20180401120000`, `no answer`.
    pub answer: String,
    /// The announcement that its last report names.
    pub saw: Option<Numbers>,
}

/// What is known of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fleet {
    /// The list, and how its rollout is meant to go.
    Known {
        /// Every member, in the order of the list; at least one.
        members: Vec<Member>,
        /// How it is meant to go.
        policy: Policy,
    },
    /// There is no list, and never was one.
    NoList,
    /// Who the members are, or who of them is held, is not known.
    Unknown(Error),
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What happens, in this order.
    pub events: Vec<Event>,
    /// Lines for the log.
    pub lines: Vec<String>,
    /// Why the tick fails, although all that was done.
    pub failure: Option<Error>,
    /// Why the site's `on-failure` runs first.
    pub on_failure: Option<String>,
    /// Why the version before is announced instead, if there is one.
    pub roll_back: Option<String>,
    /// Whether every member has the version.
    pub is_complete: bool,
}

impl Outcome {
    fn line(line: String) -> Outcome {
        Outcome { lines: vec![line], ..Outcome::default() }
    }
}

/// The members, by what they do about the announced version.
#[derive(Debug)]
pub struct Round<'a> {
    announced: &'a Announced,
    /// All that are not held.
    free: Vec<&'a Member>,
    /// How many are held.
    held: usize,
    /// Free, and not admitted.
    pub waiting: Vec<&'a Member>,
    /// Admitted, without the version, and not failed.
    late: Vec<&'a Member>,
    /// Admitted, and failed.
    pub failed: Vec<&'a Member>,
}

impl<'a> Round<'a> {
    /// Sorts the members.
    pub fn of(announced: &'a Announced, members: &'a [Member]) -> Round<'a> {
        let free: Vec<&Member> = members.iter().filter(|member| member.verdict != Verdict::Held).collect();
        let lacks: Vec<&Member> =
            free.iter().copied().filter(|member| member.verdict != Verdict::Current).collect();
        let is_in = |member: &&Member| announced.admission.admits(&member.address);
        let has_failed = |member: &&Member| has_failed(member.verdict);
        let (inside, waiting): (Vec<&Member>, Vec<&Member>) = lacks.into_iter().partition(is_in);
        let (failed, late) = inside.into_iter().partition(has_failed);
        Round { announced, held: members.len() - free.len(), free, waiting, late, failed }
    }

    fn current(&self) -> Vec<Address> {
        let current = self.free.iter().filter(|member| member.verdict == Verdict::Current);
        current.map(|member| member.address.clone()).collect()
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.free.len() + self.held
    }

    /// Those that are admitted and have not failed, the current ones included: who stays admitted
    /// when nobody else must be.
    pub fn touched(&self) -> Admission {
        Admission::Members(self.current())
    }

    /// `2 of 3 members have 20180413192258`
    pub fn count(&self) -> String {
        let (current, free) = (self.current().len(), self.free.len());
        format!("{current} of {free} members have {}", self.announced.version())
    }

    fn failures(&self) -> Option<String> {
        let who = || listed(&self.failed, |member| format!("{} ({})", member.address, member.failure));
        (!self.failed.is_empty()).then(|| format!("{} failed: {}", self.failed.len(), who()))
    }

    fn who_is_late(&self) -> String {
        let of = self.free.len();
        let late = match self.late.len() {
            0 => None,
            count => {
                let who = listed(&self.late, |member| format!("{} ({})", member.address, member.answer));
                Some(format!("late: {who} ({count} of {of})"))
            }
        };
        let said: Vec<String> = late.into_iter().chain(self.failures()).collect();
        if said.is_empty() { "nobody who was admitted is late".to_owned() } else { said.join("; ") }
    }

    fn ending(&self, phase: Phase, admission: Admission) -> Ending {
        let addresses =
            |members: &[&Member]| members.iter().map(|member| member.address.clone()).collect::<Vec<_>>();
        Ending {
            phase,
            admission,
            members: self.members(),
            reported: self.current(),
            failed: addresses(&self.failed),
            late: if phase == Phase::TimedOut { addresses(&self.late) } else { Vec::new() },
        }
    }

    /// How many members there are that are not held.
    pub fn size(&self) -> usize {
        self.free.len()
    }

    /// How a rollout ends that an operator aborts.
    pub fn aborted(&self) -> Ending {
        self.ending(Phase::Aborted, self.touched())
    }

    /// How a rollout ended that somebody else ended.
    pub fn by_others(&self) -> Ending {
        let all_have_it = !self.free.is_empty() && self.current().len() == self.free.len();
        let phase = if all_have_it { Phase::Done } else { Phase::TimedOut };
        let admission = match &self.announced.admission {
            Admission::Members(_) if all_have_it && self.held == 0 => Admission::Everybody,
            admission => admission.clone(),
        };
        let ending = self.ending(phase, admission);
        // Those that are held follow, where they are not admitted, or where it is not confirmed
        // without them.
        let trails = self.held > 0 && (ending.admission != Admission::Everybody || !ending.confirms());
        if all_have_it && trails { Ending { phase: Phase::Trailing, ..ending } } else { ending }
    }

    /// Who is admitted after the next batch, and who with it.
    pub fn next_batch(&self, policy: &Policy) -> (Admission, Vec<Address>) {
        let inside = self.free.len() - self.waiting.len();
        let next = policy.batches.after(inside, self.free.len());
        let newly = self.waiting.iter().take(next.saturating_sub(inside));
        let newly: Vec<Address> = newly.map(|member| member.address.clone()).collect();
        let admitted = match &self.announced.admission {
            Admission::Everybody => Admission::Everybody,
            Admission::Members(members) => {
                let current = self.current();
                let all = members.iter().chain(&current).chain(&newly);
                let mut admitted: Vec<Address> = Vec::new();
                for member in all {
                    if !admitted.contains(member) {
                        admitted.push(member.clone());
                    }
                }
                Admission::Members(admitted)
            }
        };
        (admitted, newly)
    }

    /// The line that says who is admitted.
    pub fn admits(&self, model: &str, newly: &[Address]) -> String {
        let inside = self.free.len() - self.waiting.len() + newly.len();
        let (of, version) = (self.free.len(), self.announced.version());
        let who = listed(&newly.iter().collect::<Vec<_>>(), |member| member.to_string());
        format!("{model}: {inside} of {of} members may take {version} now; admitted: {who}")
    }
}

/// What this tick does about the announced version. Nothing, where its rollout has ended.
pub fn advance(state: &State, fleet: &Fleet, now_s: i64) -> Outcome {
    let Some(announced) = &state.announced else { return Outcome::default() };
    match announced.phase {
        Phase::Running | Phase::Paused | Phase::Trailing => {}
        Phase::Done | Phase::Stopped | Phase::TimedOut | Phase::Aborted => return Outcome::default(),
    }
    Tick { state, announced, now_s }.of(fleet)
}

/// That members have seen later announcements than this monitor has made, and what to do; `None`
/// where none has.
pub fn restored(state: &State) -> Option<String> {
    if state.ahead.is_empty() {
        return None;
    }
    let model = &state.model;
    let who = listed(&state.ahead.iter().collect::<Vec<_>>(), |member| member.to_string());
    Some(format!(
        "{model}: members have seen later announcements than this monitor has made ({who}): it was restored from a \
         backup; dispatch --adopt {model} makes them follow it"
    ))
}

struct Tick<'a> {
    state: &'a State,
    announced: &'a Announced,
    now_s: i64,
}

impl Tick<'_> {
    fn of(&self, fleet: &Fleet) -> Outcome {
        let model = &self.state.model;
        let version = self.announced.version();
        if let Some(reason) = restored(self.state) {
            // They follow nothing of it, and what they report is about what it has forgotten.
            return Outcome { failure: Some(Error::failed(reason.clone())), ..self.stalled(&reason) };
        }
        match fleet {
            Fleet::Unknown(error) => {
                let failure = format!("{error}; the rollout of {version} waits for that");
                Outcome {
                    failure: Some(Error::with_exit(error.exit, failure)),
                    ..self.stalled(&error.to_string())
                }
            }
            Fleet::NoList if !self.state.members.is_empty() => {
                let reason = format!(
                    "{model}: its member list is gone; put scripts/dispatch/conf/{model}.env.sh back"
                );
                Outcome {
                    failure: Some(Error::failed(format!(
                        "{reason}; the rollout of {version} waits for that"
                    ))),
                    ..self.stalled(&reason)
                }
            }
            Fleet::NoList
                if self.has_expired(&Policy::default()) && self.announced.phase == Phase::Running =>
            {
                let reason = "who is late is unknown without a member list".to_owned();
                let ending = Ending {
                    phase: Phase::TimedOut,
                    admission: self.announced.admission.clone(),
                    members: 0,
                    reported: Vec::new(),
                    failed: Vec::new(),
                    late: Vec::new(),
                };
                Outcome {
                    events: vec![Event::Ended(ending)],
                    failure: Some(Error::failed(format!(
                        "{model}: gave up waiting for {version} after 20 minutes, {reason}"
                    ))),
                    on_failure: Some(format!("it timed out, {reason}")),
                    ..Outcome::default()
                }
            }
            Fleet::NoList => Outcome::line(format!(
                "{model}: members unknown: scripts/dispatch/conf/{model}.env.sh is missing or names none; write \
                 members=\"A,B,...\" and moduleport=... into it"
            )),
            Fleet::Known { members, policy } => self.with(&Round::of(self.announced, members), policy),
        }
    }

    fn stalled(&self, reason: &str) -> Outcome {
        let is_known = self.announced.stall.as_ref().is_some_and(|stall| stall.reason == reason);
        let event = Event::Stalled { reason: reason.to_owned() };
        Outcome { events: if is_known { Vec::new() } else { vec![event] }, ..Outcome::default() }
    }

    /// The members are known.
    fn with(&self, round: &Round, policy: &Policy) -> Outcome {
        let model = &self.state.model;
        if round.free.is_empty() {
            let reason = match round.held {
                1 => "the only member is held".to_owned(),
                held => format!("all {held} members are held"),
            };
            let line =
                format!("{model}: {reason}; the rollout of {} waits for them", self.announced.version());
            return Outcome { lines: vec![line], ..self.stalled(&reason) };
        }
        let mut events: Vec<Event> = self.announced.stall.iter().map(|_| Event::Unstalled).collect();
        if self.now_s < self.latest_s() && self.announced.stall.is_none() {
            // The clock was set back: otherwise it would expire, or end its pause, too late.
            events.push(Event::TimeBeginsAnew { late: Vec::new() });
        }
        let mut news = round.current();
        news.retain(|member| !self.announced.reported.contains(member));
        if !news.is_empty() {
            events.push(Event::Reported(news));
        }
        let is_out_of_time = events.is_empty() && self.has_expired(policy);
        let mut outcome = self.decide(round, policy, is_out_of_time);
        events.append(&mut outcome.events);
        Outcome { events, ..outcome }
    }

    fn decide(&self, round: &Round, policy: &Policy, is_out_of_time: bool) -> Outcome {
        let Tick { state, announced, .. } = self;
        if let Some(bad) = state.release(announced.version()).filter(|release| release.worth == Worth::Bad) {
            return self.stop(round, format!("it was marked bad {}", bad.mark));
        }
        if round.free.len() == round.current().len() {
            return self.complete(round, policy);
        }
        match announced.phase {
            Phase::Paused => {
                let (model, mark, count) = (&self.state.model, &announced.mark, round.count());
                return Outcome::line(format!("{model}: paused {mark}; {count}"));
            }
            Phase::Running | Phase::Trailing => {}
            Phase::Done | Phase::Stopped | Phase::TimedOut | Phase::Aborted => return Outcome::default(),
        }
        let limit = policy.max_fail.map(|max_fail| max_fail + announced.tolerated);
        if limit.is_some_and(|limit| round.failed.len() >= limit) {
            let failures = round.failures().unwrap_or_default();
            return self
                .stop(round, format!("{failures} (max_fail={})", policy.max_fail.unwrap_or_default()));
        }
        if announced.phase == Phase::Trailing {
            let is_over = round.waiting.is_empty() && round.late.is_empty() && round.held == 0;
            if is_over {
                // It has no deadline: otherwise it would trail for ever.
                let failures = round.failures().unwrap_or_default();
                return self.stop(round, format!("{failures}; nobody is left who could take it"));
            }
            return self.go_on(round, policy);
        }
        let is_final = |member: &&Member| member.verdict == Verdict::RolledBack;
        if round.waiting.is_empty() && round.late.is_empty() && round.failed.iter().all(is_final) {
            let failures = round.failures().unwrap_or_default();
            return self.stop(round, format!("{failures}; nobody is left who could take it"));
        }
        if is_out_of_time {
            return self.expire(round, policy);
        }
        self.go_on(round, policy)
    }

    /// Every member that is free has it.
    fn complete(&self, round: &Round, policy: &Policy) -> Outcome {
        let Tick { state, announced, .. } = self;
        let is_in_batches = policy.batches.targets(round.members()).len() > 1;
        let done = round.ending(Phase::Done, Admission::Everybody);
        let trails = round.held > 0 && (is_in_batches || !done.confirms());
        let admission = match &announced.admission {
            Admission::Members(_) if is_in_batches => round.touched(),
            _ => Admission::Everybody,
        };
        let ending = if trails { round.ending(Phase::Trailing, admission) } else { done };
        if announced.phase == Phase::Trailing && trails && (announced.is_confirmed || !ending.confirms()) {
            return Outcome::default();
        }
        let (model, version, count) = (&state.model, announced.version(), round.free.len());
        let held = match (trails, round.held) {
            (false, _) => String::new(),
            (true, 1) => "; 1 is held and follows".to_owned(),
            (true, held) => format!("; {held} are held and follow"),
        };
        Outcome {
            events: vec![Event::Ended(ending)],
            lines: vec![format!("{model}: all {count} members have {version}{held}")],
            is_complete: true,
            ..Outcome::default()
        }
    }

    /// Members failed: nobody else is admitted.
    fn stop(&self, round: &Round, why: String) -> Outcome {
        let Tick { state, announced, .. } = self;
        let ending = round.ending(Phase::Stopped, round.touched());
        let (model, version) = (&state.model, announced.version());
        let (of, failed) = (round.free.len(), round.failed.len());
        let kept = of - round.current().len() - failed;
        Outcome {
            events: vec![Event::Ended(ending)],
            failure: Some(Error::failed(format!(
                "{model}: stopped the rollout of {version}: {why}; the other {kept} of {of} stay as they are; push a \
                 version that works, or dispatch --resume {model}"
            ))),
            on_failure: Some(why),
            ..Outcome::default()
        }
    }

    fn expire(&self, round: &Round, policy: &Policy) -> Outcome {
        let Tick { state, announced, .. } = self;
        let (model, version) = (&state.model, announced.version());
        let may_go_on = !round.waiting.is_empty() && !self.is_unseen(round);
        if policy.on_timeout == OnTimeout::Continue && may_go_on {
            return self.skip(round, policy);
        }
        let who = round.who_is_late();
        let admission = match &announced.admission {
            Admission::Everybody if round.failed.is_empty() => Admission::Everybody,
            Admission::Everybody => {
                let has_not_failed = |member: &&&Member| !has_failed(member.verdict);
                let stays = round.free.iter().filter(has_not_failed).map(|member| member.address.clone());
                Admission::Members(stays.collect())
            }
            Admission::Members(members) => {
                let is_failed =
                    |member: &&Address| round.failed.iter().any(|failed| failed.address == **member);
                Admission::Members(members.iter().filter(|member| !is_failed(member)).cloned().collect())
            }
        };
        let ending = round.ending(Phase::TimedOut, admission);
        let since = match policy.deadline {
            Deadline::SinceBegin(limit) => format!("after {} minutes", limit.0 / 60),
            Deadline::SinceProgress(limit) => format!("after {} minutes without progress", limit.0 / 60),
        };
        let advice = match round.waiting.len() {
            0 => String::new(),
            1 => format!("; 1 was not admitted and stays as it is: push again, or dispatch --resume {model}"),
            count => format!(
                "; {count} were not admitted and stay as they are: push again, or dispatch --resume {model}"
            ),
        };
        let rolls_back = policy.on_timeout == OnTimeout::Rollback
            && !round.failed.is_empty()
            && state.worth(version) == Some(Worth::RollingOut);
        Outcome {
            events: vec![Event::Ended(ending)],
            failure: Some(Error::failed(format!(
                "{model}: gave up waiting for {version} {since}, {who}{advice}; look at those members' polling logs"
            ))),
            on_failure: Some(format!("it timed out, {who}")),
            roll_back: rolls_back.then(|| format!("it timed out, {who}")),
            ..Outcome::default()
        }
    }

    /// Late members are skipped: the next batch is admitted, and its time begins anew.
    fn skip(&self, round: &Round, policy: &Policy) -> Outcome {
        let model = self.state.model.as_str();
        let nobody_is_late = round.late.is_empty() && round.failed.is_empty();
        let skipped = if nobody_is_late { "" } else { "; they are skipped" };
        let (admission, newly) = round.next_batch(policy);
        let late = round.late.iter().map(|member| member.address.clone()).collect();
        Outcome {
            lines: vec![
                format!("{model}: timed out, {}{skipped}", round.who_is_late()),
                round.admits(model, &newly),
            ],
            events: vec![Event::TimeBeginsAnew { late }, Event::Admitted { admission, newly }],
            ..Outcome::default()
        }
    }

    /// Waits for the admitted members, and admits the next batch.
    fn go_on(&self, round: &Round, policy: &Policy) -> Outcome {
        let Tick { state, announced, now_s } = self;
        let model = state.model.as_str();
        let mut outcome = Outcome::default();
        if !round.late.is_empty() || !round.failed.is_empty() {
            let waiting_for = match &round.late[..] {
                [] => String::new(),
                late => format!("; waiting for {}", listed(late, |member| member.address.to_string())),
            };
            let not_yet = match round.waiting.len() {
                0 => String::new(),
                1 => "; 1 is not admitted yet".to_owned(),
                count => format!("; {count} are not admitted yet"),
            };
            let failed = round.failures().map_or_else(String::new, |failed| format!("; {failed}"));
            outcome.lines.push(format!("{model}: {}{waiting_for}{failed}{not_yet}", round.count()));
        }
        if !round.late.is_empty() {
            // A batch that was confirmed and is not any more: its pause begins anew.
            outcome.events.extend(announced.batch_confirmed_s.map(|_| Event::BatchUnconfirmed));
            return outcome;
        }
        if round.waiting.is_empty() {
            return outcome;
        }
        let inside = round.free.len() - round.waiting.len();
        if inside > 0 && policy.pause.0 > 0 {
            let confirmed_for = announced.batch_confirmed_s.map(|since_s| (now_s - since_s).max(0));
            let left_s = policy.pause.0 - confirmed_for.unwrap_or(0);
            if left_s > 0 {
                outcome.events.extend(confirmed_for.is_none().then_some(Event::BatchConfirmed));
                outcome.lines.push(format!(
                    "{model}: the {inside} of {} members that were admitted have it; the next batch follows in {left_s} s",
                    round.free.len()
                ));
                return outcome;
            }
        }
        if self.is_unseen(round) {
            outcome.lines.push(format!(
                "{model}: nobody is admitted until a report names announcement {} or a later one: this monitor's own \
                 daemon could not be asked whether members can fetch it",
                announced.sequence
            ));
            return outcome;
        }
        let (admission, newly) = round.next_batch(policy);
        outcome.lines.push(round.admits(model, &newly));
        outcome.events.push(Event::Admitted { admission, newly });
        outcome
    }

    /// Whether the first batch is out, and it is not known that members can fetch the announcement.
    fn is_unseen(&self, round: &Round) -> bool {
        let is_first = matches!(&self.announced.admission, Admission::Members(members) if members.is_empty());
        // Or a later one of this rollout: each change of the announcement has a number of its own.
        let first = Numbers { epoch: self.state.epoch, sequence: self.announced.sequence };
        let is_seen = round.free.iter().any(|member| member.saw.is_some_and(|saw| saw >= first));
        self.announced.is_blind() && !is_first && !is_seen
    }

    /// The latest of its times.
    fn latest_s(&self) -> i64 {
        let Announced { began_s, progress_s, batch_confirmed_s, .. } = self.announced;
        (*began_s).max(*progress_s).max(batch_confirmed_s.unwrap_or(i64::MIN))
    }

    fn has_expired(&self, policy: &Policy) -> bool {
        let since = |since_s: i64| self.now_s.saturating_sub(since_s);
        match policy.deadline {
            Deadline::SinceBegin(limit) => since(self.announced.began_s) > limit.0,
            Deadline::SinceProgress(limit) => since(self.announced.progress_s) > limit.0,
        }
    }
}

/// Who may install a version that is announced now. Where its rollout goes in batches there is
/// always an admission, also of nobody.
pub fn first_batch(free: &[Address], members: usize, policy: &Policy) -> Admission {
    let is_in_batches = policy.batches.targets(members).len() > 1;
    if !is_in_batches {
        return Admission::Everybody;
    }
    let first = if free.is_empty() { 0 } else { policy.batches.after(0, free.len()) };
    Admission::Members(free.iter().take(first).cloned().collect())
}

/// The first of some items, and how many more there are.
pub fn listed<T>(items: &[&T], shown: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 20;
    let mut text = items.iter().take(SHOWN).map(|item| shown(item)).collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Verdict::{
        Current, Held, NotInstalled, NotPolled, RolledBack, Unreachable, Updating, Waiting,
    };
    use super::*;
    use crate::rollout::fixtures::*;
    use crate::rollout::state::{Sight, Stall};
    use crate::time::Seconds;

    /// The script's time, and the second after it.
    const EXPIRED: i64 = BEGIN + 20 * 60 + 1;

    /// Version 1 is confirmed, and 2 is rolled out to everybody.
    fn to_all() -> State {
        rolling(confirmed(&[1]), 2, Admission::Everybody)
    }

    /// The same, to these members.
    fn to(numbers: &[u8]) -> State {
        rolling(confirmed(&[1]), 2, only(numbers))
    }

    fn with(mut state: State, change: impl FnOnce(&mut Announced)) -> State {
        change(state.announced.as_mut().unwrap());
        state
    }

    fn in_phase(state: State, phase: Phase) -> State {
        with(state, |announced| announced.phase = phase)
    }

    fn one_then_all() -> Policy {
        in_batches("1,100%")
    }

    fn then(on_timeout: OnTimeout) -> Policy {
        Policy { on_timeout, ..one_then_all() }
    }

    fn a_minute_later(state: &State, verdicts: &[Verdict], policy: &Policy) -> Outcome {
        advance(state, &fleet(verdicts, policy), BEGIN + 60)
    }

    /// The one end of the rollout among the events.
    fn end(outcome: &Outcome) -> Option<&Ending> {
        outcome.events.iter().find_map(|event| match event {
            Event::Ended(ending) => Some(ending),
            _ => None,
        })
    }

    /// Who is admitted from now on, and who of them was not before.
    fn admitted(outcome: &Outcome) -> Option<(Admission, Vec<Address>)> {
        outcome.events.iter().find_map(|event| match event {
            Event::Admitted { admission, newly } => Some((admission.clone(), newly.clone())),
            _ => None,
        })
    }

    /// Nothing is completed, admitted wider, rolled back or deleted.
    fn stands_still(outcome: &Outcome) -> bool {
        end(outcome).is_none()
            && admitted(outcome).is_none()
            && outcome.roll_back.is_none()
            && !outcome.is_complete
    }

    fn failure(outcome: &Outcome) -> String {
        outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    // How it ends well.

    #[test]
    fn a_rollout_is_complete_when_every_free_member_has_the_version() {
        let outcome = a_minute_later(&to_all(), &[Current, Current], &Policy::default());
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.admission), (Phase::Done, &Admission::Everybody));
        assert_eq!((ending.members, &ending.reported), (2, &members(&[1, 2])));
        assert!(outcome.is_complete && outcome.failure.is_none());
        assert_eq!(outcome.lines, [format!("m: all 2 members have {}", v(2))]);
        assert_eq!(outcome.events[0], Event::Reported(members(&[1, 2])), "they are reported first");
    }

    #[test]
    fn a_rollout_in_batches_admits_everybody_when_all_have_it() {
        let outcome = a_minute_later(&to(&[1, 2]), &[Current, Current], &one_then_all());
        assert_eq!(end(&outcome).unwrap().admission, Admission::Everybody);
    }

    #[test]
    fn a_paused_rollout_is_complete_when_all_have_it() {
        let outcome =
            a_minute_later(&in_phase(to(&[1]), Phase::Paused), &[Current, Current], &one_then_all());
        assert_eq!(end(&outcome).unwrap().phase, Phase::Done);
    }

    #[test]
    fn a_rollout_in_batches_trails_while_members_are_held_and_admits_only_those_that_have_it() {
        let outcome = a_minute_later(&to(&[1, 2]), &[Current, Current, Held], &one_then_all());
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.admission), (Phase::Trailing, &only(&[1, 2])));
        assert!(ending.confirms() && outcome.is_complete);
        assert_eq!(outcome.lines, [format!("m: all 2 members have {}; 1 is held and follows", v(2))]);
    }

    #[test]
    fn a_rollout_to_all_at_once_is_done_although_some_are_held_if_half_have_it() {
        let outcome = a_minute_later(&to_all(), &[Current, Held], &Policy::default());
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.admission), (Phase::Done, &Admission::Everybody));
    }

    #[test]
    fn a_rollout_to_all_at_once_trails_while_more_than_half_are_held() {
        let outcome = a_minute_later(&to_all(), &[Current, Held, Held], &Policy::default());
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.admission), (Phase::Trailing, &Admission::Everybody));
        assert!(!ending.confirms());
        assert_eq!(outcome.lines, [format!("m: all 1 members have {}; 2 are held and follow", v(2))]);
    }

    #[test]
    fn a_trailing_rollout_says_nothing_while_nothing_changes() {
        let trailing =
            with(in_phase(to(&[1]), Phase::Trailing), |announced| announced.reported = members(&[1]));
        let outcome = a_minute_later(&trailing, &[Current, Held, Held], &one_then_all());
        assert_eq!(outcome, Outcome::default());
    }

    #[test]
    fn a_trailing_rollout_confirms_the_version_once_half_have_it() {
        let trailing = in_phase(to(&[1, 2]), Phase::Trailing);
        let outcome = a_minute_later(&trailing, &[Current, Current, Held, Held], &one_then_all());
        assert_eq!(
            end(&outcome).map(|ending| (ending.phase, ending.confirms())),
            Some((Phase::Trailing, true))
        );
    }

    #[test]
    fn a_hold_that_ends_while_it_trails_is_a_batch_of_its_own() {
        let trailing = in_phase(to(&[1]), Phase::Trailing);
        let outcome = a_minute_later(&trailing, &[Current, NotPolled, Held], &one_then_all());
        assert_eq!(admitted(&outcome), Some((only(&[1, 2]), members(&[2]))));
    }

    #[test]
    fn a_trailing_rollout_does_not_expire() {
        let trailing = in_phase(to(&[1, 2]), Phase::Trailing);
        let outcome = advance(&trailing, &fleet(&[Current, NotPolled, Held], &one_then_all()), EXPIRED);
        assert_eq!(end(&outcome), None);
    }

    #[test]
    fn a_trailing_rollout_stops_when_a_member_fails_whose_hold_has_ended() {
        let trailing = in_phase(to(&[1, 2]), Phase::Trailing);
        let outcome = a_minute_later(&trailing, &[Current, RolledBack, Held], &one_then_all());
        assert_eq!(end(&outcome).unwrap().phase, Phase::Stopped);
    }

    #[test]
    fn a_trailing_rollout_is_done_when_the_last_hold_has_ended() {
        let trailing = in_phase(to(&[1, 2]), Phase::Trailing);
        let outcome = a_minute_later(&trailing, &[Current, Current], &one_then_all());
        assert_eq!(end(&outcome).unwrap().phase, Phase::Done);
    }

    #[test]
    fn nothing_is_done_where_nothing_is_announced_or_its_rollout_has_ended() {
        let known = fleet(&[Current], &Policy::default());
        assert_eq!(advance(&empty(), &known, EXPIRED), Outcome::default());
        for phase in [Phase::Done, Phase::Stopped, Phase::TimedOut, Phase::Aborted] {
            assert_eq!(advance(&in_phase(to_all(), phase), &known, EXPIRED), Outcome::default());
        }
    }

    // Batches.

    #[test]
    fn the_first_batch_is_made_of_the_free_members_in_the_order_of_the_list() {
        let policy = in_batches("1,25%,100%");
        assert_eq!(first_batch(&members(&[3, 1, 2]), 3, &policy), only(&[3]));
        assert_eq!(first_batch(&members(&[2]), 3, &policy), only(&[2]));
        assert_eq!(first_batch(&members(&[1, 2]), 2, &Policy::default()), Admission::Everybody);
    }

    #[test]
    fn where_the_policy_has_batches_there_is_an_admission_also_of_nobody() {
        assert_eq!(first_batch(&[], 3, &one_then_all()), only(&[]));
    }

    #[test]
    fn the_next_batch_is_admitted_when_the_one_before_has_the_version() {
        let outcome = a_minute_later(&to(&[1]), &[Current, Waiting, Waiting], &one_then_all());
        assert_eq!(admitted(&outcome), Some((only(&[1, 2, 3]), members(&[2, 3]))));
        let line = format!("m: 3 of 3 members may take {} now; admitted: 10.0.0.2, 10.0.0.3", v(2));
        assert_eq!(outcome.lines, [line]);
    }

    #[test]
    fn nobody_else_is_admitted_while_a_member_of_the_batch_is_late() {
        for verdict in [NotPolled, Updating, Unreachable] {
            let outcome = a_minute_later(&to(&[1]), &[verdict, Waiting], &one_then_all());
            assert!(stands_still(&outcome) && outcome.failure.is_none());
            let line =
                format!("m: 0 of 2 members have {}; waiting for 10.0.0.1; 1 is not admitted yet", v(2));
            assert_eq!(outcome.lines, [line]);
        }
    }

    #[test]
    fn the_pause_begins_when_the_batch_is_confirmed_and_ends_after_its_time() {
        let policy = Policy { pause: Seconds(300), ..one_then_all() };
        let outcome = a_minute_later(&to(&[1]), &[Current, Waiting], &policy);
        assert_eq!(outcome.events, [Event::Reported(members(&[1])), Event::BatchConfirmed]);
        assert!(outcome.lines[0].ends_with("the next batch follows in 300 s"), "{:?}", outcome.lines);
        let pausing = with(to(&[1]), |announced| {
            announced.batch_confirmed_s = Some(BEGIN + 60);
            announced.reported = members(&[1]);
        });
        let after = |seconds| advance(&pausing, &fleet(&[Current, Waiting], &policy), BEGIN + 60 + seconds);
        assert_eq!(after(299).events, []);
        assert_eq!(admitted(&after(300)), Some((only(&[1, 2]), members(&[2]))));
    }

    #[test]
    fn the_pause_begins_anew_when_a_member_of_the_batch_has_the_version_no_more() {
        let policy = Policy { pause: Seconds(300), ..one_then_all() };
        let pausing = with(to(&[1]), |announced| announced.batch_confirmed_s = Some(BEGIN + 60));
        let outcome = advance(&pausing, &fleet(&[Updating, Waiting], &policy), BEGIN + 400);
        assert_eq!(outcome.events, [Event::BatchUnconfirmed]);
    }

    #[test]
    fn a_paused_rollout_admits_nobody_and_does_not_expire() {
        let paused = in_phase(to(&[1]), Phase::Paused);
        let outcome = advance(&paused, &fleet(&[Current, Waiting], &one_then_all()), EXPIRED);
        assert!(stands_still(&outcome) && outcome.failure.is_none());
        assert_eq!(outcome.lines, [format!("m: paused by dispatch; 1 of 2 members have {}", v(2))]);
    }

    #[test]
    fn a_member_that_joins_the_list_comes_in_as_its_own_batch() {
        let outcome = a_minute_later(&to(&[1, 2]), &[Current, Current, Waiting], &one_then_all());
        assert_eq!(admitted(&outcome), Some((only(&[1, 2, 3]), members(&[3]))));
    }

    #[test]
    fn an_admitted_member_stays_admitted_when_the_batches_are_edited() {
        let outcome =
            a_minute_later(&to(&[1, 2]), &[Current, Current, Waiting, Waiting], &in_batches("1,3,100%"));
        assert_eq!(admitted(&outcome), Some((only(&[1, 2, 3]), members(&[3]))));
        let smaller = a_minute_later(&to(&[1, 2]), &[Current, NotPolled, Waiting], &in_batches("1,100%"));
        assert!(stands_still(&smaller), "2 is waited for, although the first batch is 1 now");
    }

    #[test]
    fn an_admission_of_nobody_admits_the_first_that_is_free() {
        let outcome = a_minute_later(&to(&[]), &[Held, Waiting, Waiting], &one_then_all());
        assert_eq!(admitted(&outcome), Some((only(&[2]), members(&[2]))));
    }

    #[test]
    fn a_held_member_is_waited_for_by_nobody_and_never_counts_as_failed() {
        let outcome = a_minute_later(&to(&[1, 2]), &[Current, Held, Waiting], &one_then_all());
        assert_eq!(admitted(&outcome).map(|(_, newly)| newly), Some(members(&[3])));
    }

    // Failures.

    #[test]
    fn a_rollout_stops_at_max_fail_and_keeps_only_those_admitted_that_have_it() {
        let policy = Policy { max_fail: Some(2), ..in_batches("3,100%") };
        let outcome = a_minute_later(&to(&[1, 2, 3]), &[Current, RolledBack, NotInstalled, Waiting], &policy);
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.admission), (Phase::Stopped, &only(&[1])));
        assert_eq!((&ending.failed, ending.members), (&members(&[2, 3]), 4));
        let why = "2 failed: 10.0.0.2 (rolled back), 10.0.0.3 (failed verification) (max_fail=2)";
        assert_eq!(outcome.on_failure.as_deref(), Some(why));
        assert!(failure(&outcome).ends_with("push a version that works, or dispatch --resume m"));
        assert_eq!(outcome.roll_back, None);
    }

    #[test]
    fn one_failure_less_is_tolerated_and_the_next_batch_follows() {
        let policy = Policy { max_fail: Some(2), ..in_batches("2,100%") };
        let outcome = a_minute_later(&to(&[1, 2]), &[Current, RolledBack, Waiting], &policy);
        assert_eq!(admitted(&outcome).map(|(_, newly)| newly), Some(members(&[3])));
        assert!(outcome.lines[0].contains("1 failed: 10.0.0.2 (rolled back)"), "{:?}", outcome.lines);
    }

    #[test]
    fn those_that_had_failed_when_it_was_resumed_are_tolerated_beyond_max_fail() {
        let tolerant = |tolerated| with(to(&[1, 2]), |announced| announced.tolerated = tolerated);
        let verdicts = [Current, RolledBack, Waiting];
        assert!(admitted(&a_minute_later(&tolerant(1), &verdicts, &one_then_all())).is_some());
        assert!(end(&a_minute_later(&tolerant(0), &verdicts, &one_then_all())).is_some());
    }

    #[test]
    fn a_rollout_stops_when_nobody_is_left_who_could_take_the_version() {
        let outcome = a_minute_later(&to_all(), &[Current, RolledBack], &Policy::default());
        assert_eq!(end(&outcome).unwrap().phase, Phase::Stopped);
        assert!(outcome.on_failure.unwrap().ends_with("; nobody is left who could take it"));
    }

    #[test]
    fn a_failure_that_the_next_poll_may_mend_is_waited_for() {
        let outcome = a_minute_later(&to_all(), &[Current, NotInstalled], &Policy::default());
        assert!(stands_still(&outcome) && outcome.failure.is_none());
    }

    #[test]
    fn a_version_that_is_marked_bad_is_admitted_to_nobody_else() {
        let bad = |state: State| {
            let mark = Event::Marked { version: v(2), worth: Worth::Bad };
            state.after(&mark, &ann(BEGIN))
        };
        for phase in [Phase::Running, Phase::Paused, Phase::Trailing] {
            let state = bad(in_phase(to(&[1]), phase));
            let outcome = a_minute_later(&state, &[Current, Waiting], &one_then_all());
            let ending = end(&outcome).unwrap();
            assert_eq!((ending.phase, &ending.admission), (Phase::Stopped, &only(&[1])));
            assert_eq!(outcome.on_failure.as_deref(), Some("it was marked bad by ann@m1: it is slow"));
        }
        let everywhere = a_minute_later(&bad(to_all()), &[Current], &Policy::default());
        assert_eq!(end(&everywhere).unwrap().phase, Phase::Stopped);
    }

    // Its time.

    #[test]
    fn a_rollout_expires_after_its_time_and_not_at_it() {
        let late = fleet(&[NotPolled], &Policy::default());
        let reported = with(to_all(), |announced| announced.reported = Vec::new());
        assert!(stands_still(&advance(&reported, &late, EXPIRED - 1)));
        let outcome = advance(&reported, &late, EXPIRED);
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, &ending.late), (Phase::TimedOut, &members(&[1])));
        assert_eq!(ending.admission, Admission::Everybody, "as the script leaves it");
        let said = failure(&outcome);
        assert!(said.contains("gave up waiting for") && said.contains("late: 10.0.0.1 (no answer) (1 of 1)"));
        assert_eq!(outcome.on_failure.unwrap(), "it timed out, late: 10.0.0.1 (no answer) (1 of 1)");
    }

    #[test]
    fn a_deadline_since_progress_is_counted_from_the_last_report_or_batch() {
        let deadline = Deadline::SinceProgress(Seconds(300));
        let policy = Policy { deadline, ..Policy::default() };
        let state = with(to_all(), |announced| announced.progress_s = BEGIN + 900);
        let after = |now_s| end(&advance(&state, &fleet(&[NotPolled], &policy), now_s)).is_some();
        assert!(!after(BEGIN + 1200) && after(BEGIN + 1201));
    }

    #[test]
    fn a_report_of_this_tick_comes_before_the_end_of_its_time() {
        let outcome = advance(&to_all(), &fleet(&[Current, NotPolled], &Policy::default()), EXPIRED);
        assert_eq!(outcome.events, [Event::Reported(members(&[1]))]);
    }

    #[test]
    fn a_rollout_that_expires_with_failures_takes_those_that_failed_out_of_the_admission() {
        let policy = Policy { max_fail: None, ..Policy::default() };
        let state = with(to_all(), |announced| announced.reported = members(&[1]));
        let verdicts = [Current, NotInstalled, NotPolled];
        let outcome = advance(&state, &fleet(&verdicts, &policy), EXPIRED);
        assert_eq!(end(&outcome).unwrap().admission, only(&[1, 3]));
        let batches = Policy { max_fail: None, ..in_batches("2,100%") };
        let state = with(to(&[1, 2]), |announced| announced.reported = members(&[1]));
        let outcome = advance(&state, &fleet(&[Current, NotInstalled, Waiting], &batches), EXPIRED);
        assert_eq!(end(&outcome).unwrap().admission, only(&[1]));
    }

    #[test]
    fn on_timeout_stop_ends_it_and_admits_nobody_else() {
        let outcome = advance(&to(&[1]), &fleet(&[NotPolled, Waiting], &then(OnTimeout::Stop)), EXPIRED);
        assert_eq!(end(&outcome).unwrap().admission, only(&[1]));
        assert_eq!(outcome.roll_back, None);
        assert!(failure(&outcome).contains("; 1 was not admitted and stays as it is"));
    }

    #[test]
    fn on_timeout_continue_skips_the_late_admits_the_next_batch_and_begins_its_time_anew() {
        let policy = then(OnTimeout::Continue);
        let outcome = advance(&to(&[1]), &fleet(&[NotPolled, Waiting, Waiting], &policy), EXPIRED);
        let late = Event::TimeBeginsAnew { late: members(&[1]) };
        let batch = Event::Admitted { admission: only(&[1, 2, 3]), newly: members(&[2, 3]) };
        assert_eq!(outcome.events, [late, batch]);
        assert!(outcome.failure.is_none() && outcome.lines[0].ends_with("; they are skipped"));
    }

    #[test]
    fn on_timeout_continue_ends_it_where_nobody_is_left_to_admit() {
        let policy = then(OnTimeout::Continue);
        let outcome = advance(&to(&[1, 2]), &fleet(&[NotPolled, NotPolled], &policy), EXPIRED);
        assert_eq!(end(&outcome).unwrap().phase, Phase::TimedOut);
    }

    #[test]
    fn on_timeout_rollback_goes_back_where_members_failed() {
        let policy = Policy { max_fail: None, ..then(OnTimeout::Rollback) };
        let outcome = advance(&to(&[1, 2]), &fleet(&[NotPolled, NotInstalled], &policy), EXPIRED);
        let why =
            "it timed out, late: 10.0.0.1 (no answer) (1 of 2); 1 failed: 10.0.0.2 (failed verification)";
        assert_eq!(outcome.roll_back.as_deref(), Some(why));
        assert_eq!(end(&outcome).unwrap().phase, Phase::TimedOut, "where there is nothing to go back to");
    }

    #[test]
    fn on_timeout_rollback_stops_and_marks_nothing_where_nobody_failed() {
        let policy = then(OnTimeout::Rollback);
        let outcome = advance(&to(&[1]), &fleet(&[NotPolled, Waiting], &policy), EXPIRED);
        assert_eq!((end(&outcome).unwrap().phase, outcome.roll_back), (Phase::TimedOut, None));
    }

    #[test]
    fn on_timeout_rollback_never_leaves_a_confirmed_version() {
        let state = rolling(confirmed(&[1, 2]), 2, only(&[1]));
        assert_eq!(state.worth(&v(2)), Some(Worth::Confirmed));
        let policy = Policy { max_fail: None, ..then(OnTimeout::Rollback) };
        let outcome = advance(&state, &fleet(&[NotInstalled, Waiting], &policy), EXPIRED);
        assert_eq!(outcome.roll_back, None);
    }

    #[test]
    fn a_clock_that_was_set_back_begins_its_time_anew() {
        let late = fleet(&[NotPolled], &Policy::default());
        let anew = [Event::TimeBeginsAnew { late: Vec::new() }];
        assert_eq!(advance(&to_all(), &late, BEGIN - 1).events, anew);
        let progress = with(to_all(), |announced| announced.progress_s = BEGIN + 500);
        assert_eq!(advance(&progress, &late, BEGIN + 400).events, anew);
        let pausing = with(to(&[1]), |announced| {
            announced.reported = members(&[1]);
            announced.batch_confirmed_s = Some(BEGIN + 500);
        });
        let policy = Policy { pause: Seconds(60), ..one_then_all() };
        assert_eq!(advance(&pausing, &fleet(&[Current, Waiting], &policy), BEGIN + 400).events, anew);
    }

    // Unknown is not nobody.

    #[test]
    fn an_unreadable_list_stalls_the_rollout_however_much_time_passes() {
        let unknown = Fleet::Unknown(Error::usage("m.env.sh:1: members: this is no address"));
        for state in
            [to(&[1]), to_all(), in_phase(to(&[1]), Phase::Paused), in_phase(to(&[1]), Phase::Trailing)]
        {
            let outcome = advance(&state, &unknown, EXPIRED);
            assert!(stands_still(&outcome));
            let reason = "m.env.sh:1: members: this is no address".to_owned();
            assert_eq!(outcome.events, [Event::Stalled { reason }]);
            assert!(failure(&outcome).ends_with("waits for that"));
            assert_eq!(outcome.failure.unwrap().exit, crate::error::Exit::Usage);
        }
    }

    #[test]
    fn a_list_that_is_gone_stalls_the_rollout() {
        let state = State { members: members(&[1, 2]), ..to(&[1]) };
        let outcome = advance(&state, &Fleet::NoList, EXPIRED);
        assert!(stands_still(&outcome));
        assert!(failure(&outcome).contains("put scripts/dispatch/conf/m.env.sh back"));
        assert!(matches!(&outcome.events[..], [Event::Stalled { .. }]));
    }

    #[test]
    fn a_fleet_that_is_held_altogether_stalls_the_rollout() {
        for state in [to(&[]), to_all()] {
            let outcome = advance(&state, &fleet(&[Held, Held], &one_then_all()), EXPIRED);
            assert!(stands_still(&outcome) && outcome.failure.is_none());
            assert_eq!(outcome.events, [Event::Stalled { reason: "all 2 members are held".to_owned() }]);
        }
    }

    #[test]
    fn a_stall_is_an_event_once_for_each_reason() {
        let stall = Stall { since_s: BEGIN, reason: "all 2 members are held".to_owned() };
        let stalled = with(to(&[]), |announced| announced.stall = Some(stall));
        assert_eq!(advance(&stalled, &fleet(&[Held, Held], &one_then_all()), EXPIRED).events, []);
        let fewer = advance(&stalled, &fleet(&[Held], &one_then_all()), EXPIRED);
        assert_eq!(fewer.events, [Event::Stalled { reason: "the only member is held".to_owned() }]);
    }

    #[test]
    fn a_stall_that_is_over_does_not_count_against_its_time() {
        let stall = Stall { since_s: BEGIN + 60, reason: "no list".to_owned() };
        let stalled = with(to(&[1]), |announced| announced.stall = Some(stall));
        let outcome = advance(&stalled, &fleet(&[NotPolled, Waiting], &one_then_all()), EXPIRED);
        assert_eq!(outcome.events, [Event::Unstalled]);
    }

    #[test]
    fn without_a_list_from_the_beginning_it_is_given_up_after_the_scripts_time_and_confirms_nothing() {
        let outcome = advance(&to_all(), &Fleet::NoList, EXPIRED - 1);
        assert!(stands_still(&outcome) && outcome.events.is_empty());
        assert!(outcome.lines[0].contains("members unknown"));
        let outcome = advance(&to_all(), &Fleet::NoList, EXPIRED);
        let ending = end(&outcome).unwrap();
        assert_eq!((ending.phase, ending.confirms()), (Phase::TimedOut, false));
        assert_eq!((&ending.admission, outcome.is_complete), (&Admission::Everybody, false));
        let paused = in_phase(to_all(), Phase::Paused);
        assert!(stands_still(&advance(&paused, &Fleet::NoList, EXPIRED)));
    }

    // What members can see.

    fn blind(numbers: &[u8]) -> State {
        with(to(numbers), |announced| announced.sight = Sight::Blind)
    }

    #[test]
    fn a_blind_rollout_admits_the_first_batch_and_no_other() {
        let policy = one_then_all();
        let first = a_minute_later(&blind(&[]), &[Waiting, Waiting], &policy);
        assert_eq!(admitted(&first).map(|(_, newly)| newly), Some(members(&[1])));
        let next = a_minute_later(&blind(&[1]), &[Current, Waiting], &policy);
        assert!(stands_still(&next));
        assert!(next.lines[0].contains("nobody is admitted until a report names announcement"));
    }

    #[test]
    fn a_blind_rollout_goes_on_when_a_report_names_its_announcement() {
        let state = blind(&[1]);
        let saw = |sequence| {
            let numbers = Numbers { epoch: BEGIN, sequence };
            let members = vec![Member { saw: Some(numbers), ..member(1, Current) }, member(2, Waiting)];
            advance(&state, &Fleet::Known { members, policy: one_then_all() }, BEGIN + 60)
        };
        assert!(stands_still(&saw(of(&state).sequence - 1)), "an earlier one");
        assert_eq!(admitted(&saw(of(&state).sequence)).map(|(_, newly)| newly), Some(members(&[2])));
    }

    #[test]
    fn a_blind_rollout_goes_on_when_a_report_names_a_later_announcement_of_it() {
        let widened = Event::Admitted { admission: only(&[1, 2]), newly: members(&[2]) };
        let state = blind(&[1]).after(&widened, &at(BEGIN + 60));
        let latest = of(&state).latest;
        assert!(latest > of(&state).sequence);
        let saw = |epoch, sequence| {
            let second = Member { saw: Some(Numbers { epoch, sequence }), ..member(2, Current) };
            let members = vec![member(1, Current), second, member(3, Waiting)];
            advance(&state, &Fleet::Known { members, policy: in_batches("1,2,100%") }, BEGIN + 120)
        };
        assert_eq!(admitted(&saw(BEGIN, latest)).map(|(_, newly)| newly), Some(members(&[3])));
        assert!(stands_still(&saw(BEGIN - 1, latest)), "of numbers that were given up");
    }

    #[test]
    fn a_blind_rollout_admits_nobody_either_when_its_time_is_up_or_its_first_batch_is_held() {
        let policy = then(OnTimeout::Continue);
        let late = advance(&blind(&[1]), &fleet(&[NotPolled, Waiting], &policy), EXPIRED);
        assert_eq!((admitted(&late), end(&late).unwrap().phase), (None, Phase::TimedOut));
        assert!(stands_still(&a_minute_later(&blind(&[1]), &[Held, Waiting], &policy)));
    }

    #[test]
    fn of_many_members_the_first_twenty_are_listed() {
        let numbers: Vec<u8> = (1..=22).collect();
        let text = listed(&numbers.iter().collect::<Vec<_>>(), ToString::to_string);
        assert!(text.starts_with("1, 2, ") && text.ends_with("20 and 2 more"), "{text}");
    }
}
