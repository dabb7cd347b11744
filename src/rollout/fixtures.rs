//! What the tests of this folder are made of: version 1 is `20260101000001`, member 1 is
//! `10.0.0.1`.

use crate::digest::Digest;
use crate::formats::announcement::{Admission, Bytes, FIRST_INSTANCE, Offer, ServiceConfs};
use crate::names::{Address, ModelName};
use crate::rollout::advance::{Fleet, Member};
use crate::rollout::batches::Batches;
use crate::rollout::event::{Actor, Announcing, Ending, Event};
use crate::rollout::policy::Policy;
use crate::rollout::reconcile::Success;
use crate::rollout::state::{Announced, Fate, Origin, Phase, Push, Sight, State, Worth};
use crate::rollout::verdict::{Verdict, has_failed};
use crate::version::Version;

/// When everything begins, in seconds since 1970.
pub const BEGIN: i64 = 1_000_000;

/// The model.
pub fn model() -> ModelName {
    ModelName::parse(b"m").unwrap()
}

/// A version by its number.
pub fn v(number: u8) -> Version {
    Version::parse(format!("202601010000{number:02}").as_bytes()).unwrap()
}

/// A member by its number.
pub fn a(number: u8) -> Address {
    Address::parse(format!("10.0.0.{number}").as_bytes()).unwrap()
}

/// Members by their numbers.
pub fn members(numbers: &[u8]) -> Vec<Address> {
    numbers.iter().map(|number| a(*number)).collect()
}

/// An admission of members.
pub fn only(numbers: &[u8]) -> Admission {
    Admission::Members(members(numbers))
}

/// The service.conf that announces a version.
pub fn conf(version: &Version) -> Vec<u8> {
    format!("modulepath=/p/{version}/lib/m.so\nmoduleversion={version}\nmoduleconfig=/p/{version}/data\n")
        .into()
}

/// Every service.conf that announces a version.
pub fn confs(version: &Version) -> ServiceConfs {
    [(FIRST_INSTANCE.to_owned(), Bytes(conf(version)))].into()
}

/// A version to install.
pub fn offer(number: u8) -> Offer {
    let version = v(number);
    Offer { manifest: Some(Digest([number; 32])), service_conf: confs(&version), version }
}

/// A tick, at a second.
pub fn at(now_s: i64) -> Actor {
    Actor { by: "dispatch".to_owned(), now_s, reason: String::new() }
}

/// A person, at a second, who says why.
pub fn ann(now_s: i64) -> Actor {
    Actor { by: "ann@m1".to_owned(), now_s, reason: "it is slow".to_owned() }
}

/// A version that was pushed, for everybody.
pub fn announcing(number: u8) -> Announcing {
    Announcing {
        offer: offer(number),
        prefix: "/p".to_owned(),
        so_name: "m.so".to_owned(),
        origin: Origin::Push,
        before: None,
        admission: Admission::Everybody,
        phase: Phase::Running,
        began_s: None,
        leaves: None,
        is_pinned: false,
        sight: Sight::NotNeeded,
    }
}

/// The event of it.
pub fn announced(announcing: Announcing) -> Event {
    Event::Announced(Box::new(announcing))
}

/// A version that is whole in its place.
pub fn published(number: u8) -> Event {
    Event::Published { version: v(number), manifest: Some(Digest([number; 32])), is_push: false }
}

/// `success` of a version.
pub fn success(number: u8) -> Success {
    Success {
        announces: Some(v(number)),
        content: format!("{}\n", v(number)).into(),
        identity: format!("1-{number}-1000-15"),
        arrived_s: BEGIN,
    }
}

/// Its push.
pub fn push(number: u8) -> Push {
    success(number).push(Fate::Waits)
}

/// How a rollout ends of which members reported the version, and others failed.
pub fn ending(phase: Phase, of: usize, reported: &[u8], failed: &[u8]) -> Ending {
    Ending {
        phase,
        admission: Admission::Everybody,
        members: of,
        reported: members(reported),
        failed: members(failed),
        late: Vec::new(),
    }
}

/// The state before the first version.
pub fn empty() -> State {
    State::new(model(), BEGIN)
}

/// The state after events of a tick, which were told.
pub fn after(state: State, events: &[Event]) -> State {
    let mut state = events.iter().fold(state, |state, event| state.after(event, &at(BEGIN)));
    state.untold.clear();
    state
}

/// A state in which these versions were rolled out one after the other, and confirmed by members 1
/// and 2.
pub fn confirmed(numbers: &[u8]) -> State {
    numbers.iter().fold(empty(), |state, number| {
        let done = Event::Ended(ending(Phase::Done, 2, &[1, 2], &[]));
        after(state, &[published(*number), announced(announcing(*number)), done])
    })
}

/// The same, and then this version is rolled out to these members.
pub fn rolling(state: State, number: u8, admission: Admission) -> State {
    let before = state.announced.as_ref().map(|announced| announced.offer.clone());
    let announcing = Announcing { admission, before, ..announcing(number) };
    after(state, &[published(number), announced(announcing)])
}

/// A state in which these versions were published and have these worths.
pub fn ledger(worths: &[(u8, Worth)]) -> State {
    let mut state = empty();
    for (number, worth) in worths {
        state = after(state, &[published(*number), Event::Marked { version: v(*number), worth: *worth }]);
    }
    state
}

/// What is announced.
pub fn of(state: &State) -> &Announced {
    state.announced.as_ref().unwrap()
}

/// A member of which this is known.
pub fn member(number: u8, verdict: Verdict) -> Member {
    Member {
        address: a(number),
        verdict,
        failure: if has_failed(verdict) { verdict.words().to_owned() } else { String::new() },
        answer: "no answer".to_owned(),
        saw: None,
    }
}

/// Members 1, 2, ... of which this is known, and how their rollout goes.
pub fn fleet(verdicts: &[Verdict], policy: &Policy) -> Fleet {
    let members = (1..).zip(verdicts).map(|(number, verdict)| member(number, *verdict)).collect();
    Fleet::Known { members, policy: policy.clone() }
}

/// In batches, stopped by the first member that fails.
pub fn in_batches(batches: &str) -> Policy {
    Policy { batches: Batches::parse(batches.as_bytes()).unwrap(), max_fail: Some(1), ..Policy::default() }
}

/// What the history was not told yet: `admitted v02 10.0.0.1 (why)`.
pub fn told(state: &State) -> Vec<String> {
    let line = |told: &crate::rollout::history::Told| {
        let version = told.version.replace("202601010000", "v");
        let why = if told.why.is_empty() { String::new() } else { format!("({})", told.why) };
        let words = [told.event.clone(), version, told.members.join(","), why];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    state.untold.iter().map(line).collect()
}
