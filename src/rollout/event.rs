//! Everything that can happen to a model, and what each makes of its state. Total: an event that
//! does not fit changes nothing but the count of events. Who decides that an event happens:
//! [`reconcile`](crate::rollout::reconcile) what others did, [`advance`](crate::rollout::advance)
//! how a rollout goes, [`command`](crate::rollout::command) what operators want.

use crate::digest::Digest;
use crate::formats::announcement::{Admission, Offer, ServiceConfs};
use crate::names::Address;
use crate::rollout::history::Told;
use crate::rollout::policy::Policy;
use crate::rollout::state::{
    Announced, Fate, Mark, Origin, Phase, Pin, Publishing, Push, Release, Sight, Stall, State, Worth,
};
use crate::version::Version;

/// A version that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcing {
    /// The version, its manifest, every service.conf.
    pub offer: Offer,
    /// PREFIXPATH.
    pub prefix: String,
    /// SONAME.
    pub so_name: String,
    /// How it comes to be announced.
    pub origin: Origin,
    /// What a member installs that is not admitted and has nothing that works.
    pub before: Option<Offer>,
    /// Who may install it.
    pub admission: Admission,
    /// Whether its rollout is in flight from now on.
    pub phase: Phase,
    /// When its rollout began, in seconds since 1970, if that was before now: a script's began when
    /// it wrote `status`.
    pub began_s: Option<i64>,
    /// What the version that was announced is worth from now on; `None` leaves that to how its
    /// rollout ended.
    pub leaves: Option<Worth>,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// Whether members can fetch the announcement.
    pub sight: Sight,
}

/// How a rollout ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How it stands from now on: not in flight.
    pub phase: Phase,
    /// Who may install the version from now on.
    pub admission: Admission,
    /// How many members are listed.
    pub members: usize,
    /// Those that have it.
    pub reported: Vec<Address>,
    /// Those that failed.
    pub failed: Vec<Address>,
    /// Those that were admitted, do not have it and have not failed.
    pub late: Vec<Address>,
}

impl Ending {
    /// Whether this confirms the version: nobody failed, and at least half of the members, at least
    /// one, reported it.
    pub fn confirms(&self) -> bool {
        self.failed.is_empty() && !self.reported.is_empty() && 2 * self.reported.len() >= self.members
    }

    fn worth(&self) -> Worth {
        match self.phase {
            Phase::Stopped => Worth::Stopped,
            Phase::Aborted => Worth::Aborted,
            Phase::Done | Phase::TimedOut | Phase::Trailing if self.confirms() => Worth::Confirmed,
            Phase::TimedOut | Phase::Done => Worth::TimedOut,
            Phase::Trailing | Phase::Running | Phase::Paused => Worth::RollingOut,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A `success` was seen that is another push's.
    Pushed(Push),
    /// The same `success` was seen at another place: the tree was copied, or a tick put it back.
    Seen {
        /// Its device, inode, modification time and size.
        identity: String,
    },
    /// A script's check had removed `success` before it was published; it is put back.
    Restored,
    /// The push is not published.
    Refused {
        /// Why.
        reason: String,
    },
    /// `success` is gone: nothing waits any more.
    PushGone,
    /// The publication of a version begins.
    Began(Publishing),
    /// It ends with nothing published.
    GaveUp,
    /// A script began to publish a version, and died over it.
    ScriptDied {
        /// The version, if it is known.
        version: Option<Version>,
    },
    /// A version is whole in `plugin/`.
    Published {
        /// The version.
        version: Version,
        /// The digest of its manifest's bytes.
        manifest: Option<Digest>,
        /// Whether it is the push's, and not a script's.
        is_push: bool,
    },
    /// A version is announced.
    Announced(Box<Announcing>),
    /// A person edited service.conf for the version that is announced, or what stands beside the
    /// three values.
    Edited(ServiceConfs),
    /// Members may install the version.
    Admitted {
        /// All that may, from now on.
        admission: Admission,
        /// Those who could not before.
        newly: Vec<Address>,
    },
    /// Everybody who is admitted has it: the pause before the next batch begins.
    BatchConfirmed,
    /// Somebody of them has it no more.
    BatchUnconfirmed,
    /// The rollout can neither go on nor end.
    Stalled {
        /// What is missing.
        reason: String,
    },
    /// It can again.
    Unstalled,
    /// Its time begins anew: the late members are skipped, or the clock was set back.
    TimeBeginsAnew {
        /// Those that are skipped.
        late: Vec<Address>,
    },
    /// Members reported the version.
    Reported(Vec<Address>),
    /// The rollout ends.
    Ended(Ending),
    /// An operator pauses it.
    Paused {
        /// Who stays admitted.
        admission: Admission,
    },
    /// An operator lets it go on.
    Resumed {
        /// Who is admitted from now on.
        admission: Admission,
        /// How many failed members are tolerated from now on.
        tolerated: usize,
    },
    /// Members that failed try again.
    Retried,
    /// A person says what a version is worth.
    Marked {
        /// The version.
        version: Version,
        /// What it is worth: good or bad.
        worth: Worth,
    },
    /// The announced version stays, whatever is pushed.
    Pinned,
    /// What is pushed goes on.
    Unpinned,
    /// Versions were deleted.
    Deleted(Vec<Version>),
    /// The announcement holds these members from now on.
    Held(Vec<Address>),
    /// A member list was read.
    ListRead {
        /// Its policy.
        policy: Policy,
        /// Its members.
        members: Vec<Address>,
    },
    /// It is known by now whether members can fetch the announcement.
    Sighted(Sight),
    /// These members have seen a higher number than this monitor's.
    Ahead(Vec<Address>),
    /// The monitor's numbers begin anew, above all that members have seen.
    Adopted {
        /// When they begin.
        epoch: i64,
    },
}

/// Who makes an event happen, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `USER@HOST`.
    pub by: String,
    /// In seconds since 1970.
    pub now_s: i64,
    /// Why; empty where nobody said it.
    pub reason: String,
}

impl Actor {
    /// The mark of this actor.
    pub fn mark(&self) -> Mark {
        Mark { by: self.by.clone(), at_s: self.now_s, reason: self.reason.clone() }
    }
}

impl State {
    /// The state after an event.
    #[must_use]
    pub fn after(mut self, event: &Event, actor: &Actor) -> State {
        self.take(event, actor);
        self
    }

    /// Makes an event happen.
    pub fn take(&mut self, event: &Event, actor: &Actor) {
        self.events += 1;
        self.tell(event, actor);
        let now_s = actor.now_s;
        match event {
            Event::Pushed(push) => self.push = Some(push.clone()),
            Event::Seen { identity } => {
                if let Some(push) = &mut self.push {
                    push.identity.clone_from(identity);
                }
            }
            Event::Restored => {}
            Event::Refused { reason } => {
                if let Some(push) = &mut self.push {
                    push.refusals.push(without_digits(reason));
                }
            }
            Event::PushGone => self.push = None,
            Event::Began(publishing) => {
                self.publishing = Some(publishing.clone());
                self.settled = false;
            }
            Event::GaveUp => {
                self.publishing = None;
                self.settled = false;
            }
            Event::ScriptDied { version } => self.half.clone_from(version),
            Event::Published { version, manifest, is_push } => {
                self.half = self.half.take().filter(|half| half != version);
                self.publish(version, *manifest, actor);
                if *is_push {
                    self.publishing = None;
                    self.settled = false;
                    if let Some(push) = &mut self.push {
                        push.fate = Fate::Became(version.clone());
                    }
                }
            }
            Event::Announced(announcing) => self.announce(announcing, actor),
            Event::Edited(confs) => {
                self.with(|announced| announced.offer.service_conf.clone_from(confs));
                if let Some(announced) = &mut self.announced {
                    announced.sequence = announced.latest;
                }
            }
            Event::Admitted { admission, .. } => {
                self.with(|announced| {
                    announced.admission = admission.clone();
                    announced.batch_confirmed_s = None;
                    announced.progress_s = now_s;
                });
            }
            Event::BatchConfirmed => {
                if let Some(announced) = &mut self.announced {
                    announced.batch_confirmed_s = Some(now_s);
                }
            }
            Event::BatchUnconfirmed => {
                if let Some(announced) = &mut self.announced {
                    announced.batch_confirmed_s = None;
                }
            }
            Event::Stalled { reason } => {
                if let Some(announced) = &mut self.announced {
                    let since_s = announced.stall.as_ref().map_or(now_s, |stall| stall.since_s);
                    announced.stall = Some(Stall { since_s, reason: reason.clone() });
                }
            }
            Event::Unstalled => {
                if let Some(announced) = &mut self.announced
                    && let Some(stall) = announced.stall.take()
                {
                    // Of a pause, which waits too, the end is when it is resumed.
                    let until_s = match announced.phase {
                        Phase::Paused => announced.mark.at_s,
                        _ => now_s,
                    };
                    announced.wait_for(until_s - stall.since_s);
                }
            }
            Event::TimeBeginsAnew { .. } => {
                if let Some(announced) = &mut self.announced {
                    announced.began_s = now_s;
                    announced.progress_s = now_s;
                    announced.batch_confirmed_s = announced.batch_confirmed_s.map(|_| now_s);
                }
            }
            Event::Reported(members) => {
                if let Some(announced) = &mut self.announced {
                    announced.reported.extend(members.iter().cloned());
                    announced.progress_s = now_s;
                }
            }
            Event::Ended(ending) => self.end(ending, actor),
            Event::Paused { admission } => {
                self.with(|announced| {
                    announced.admission = admission.clone();
                    announced.phase = Phase::Paused;
                    announced.mark = actor.mark();
                });
            }
            Event::Resumed { admission, tolerated } => self.resume(admission, *tolerated, actor),
            Event::Retried => self.with(|announced| announced.attempt += 1),
            Event::Marked { version, worth } => self.set_worth(version, *worth, actor.mark()),
            Event::Pinned => {
                let version = self.announced.as_ref().map(|announced| announced.version().clone());
                self.pin = version.map(|version| Pin { version, mark: actor.mark() });
            }
            Event::Unpinned => self.pin = None,
            Event::Deleted(versions) => {
                // A bad version is known by its content after it is gone, and every spent one by
                // its name.
                let stays =
                    |release: &Release| !versions.contains(&release.version) || release.worth.is_spent();
                self.ledger.retain(stays);
            }
            Event::Held(members) => {
                self.held.clone_from(members);
                self.announce_anew();
            }
            Event::ListRead { policy, members } => {
                self.policy = policy.clone();
                self.members.clone_from(members);
            }
            Event::Sighted(sight) => {
                if let Some(announced) = &mut self.announced {
                    announced.sight = *sight;
                }
            }
            Event::Ahead(members) => self.ahead.clone_from(members),
            Event::Adopted { epoch } => {
                self.epoch = self.epoch.max(*epoch);
                self.ahead.clear();
                self.settled = false;
            }
        }
    }

    /// Changes what the announcement says.
    fn with(&mut self, change: impl FnOnce(&mut Announced)) {
        if let Some(announced) = &mut self.announced {
            change(announced);
            self.announce_anew();
        }
    }

    /// The announcement says something else from now on: under a number of its own, so that an
    /// earlier one is known as such.
    pub(super) fn announce_anew(&mut self) {
        self.sequence += 1;
        self.settled = false;
        if let Some(announced) = &mut self.announced {
            announced.latest = self.sequence;
        }
    }

    fn publish(&mut self, version: &Version, manifest: Option<Digest>, actor: &Actor) {
        match self.ledger.iter_mut().find(|release| release.version == *version) {
            Some(release) => release.manifest = manifest.or(release.manifest),
            None => {
                self.sequence += 1;
                self.ledger.push(Release {
                    version: version.clone(),
                    sequence: self.sequence,
                    worth: Worth::Published,
                    reported: 0,
                    members: 0,
                    mark: actor.mark(),
                    manifest,
                });
            }
        }
    }

    fn set_worth(&mut self, version: &Version, worth: Worth, mark: Mark) {
        if let Some(release) = self.ledger.iter_mut().find(|release| release.version == *version) {
            release.worth = worth;
            release.mark = mark;
        }
    }

    fn announce(&mut self, announcing: &Announcing, actor: &Actor) {
        let Announcing { offer, origin, phase, .. } = announcing;
        let version = &offer.version;
        self.publish(version, offer.manifest, actor);
        if self.publishing.as_ref().is_some_and(|publishing| publishing.version == *version) {
            // Somebody announced it before its publication had ended: that must not announce it
            // again.
            self.publishing = None;
            if let Some(push) = &mut self.push {
                push.fate = Fate::Became(version.clone());
            }
        }
        // A member that has failed with it before tries again, and what was reported then says
        // nothing now.
        let attempt = self.announced.as_ref().map_or(0, |announced| announced.attempt.saturating_add(1));
        if let Some(left) = self.announced.take().map(|announced| announced.offer.version)
            && left != *version
        {
            match (announcing.leaves, self.worth(&left)) {
                // Another one was announced between an operator's look and the command: it was
                // tried by nobody.
                (Some(worth), Some(_)) => self.set_worth(&left, worth, actor.mark()),
                (None, Some(Worth::RollingOut)) => {
                    let reason = format!("{version} was announced before its rollout had confirmed it");
                    self.set_worth(&left, Worth::TimedOut, Mark { reason, ..actor.mark() });
                }
                (_, _) => {}
            }
        }
        match self.worth(version) {
            Some(worth) if !worth.is_trusted() => {
                self.set_worth(version, Worth::RollingOut, actor.mark());
            }
            _ => {}
        }
        if announcing.is_pinned {
            self.pin = Some(Pin { version: version.clone(), mark: actor.mark() });
        }
        self.sequence += 1;
        self.announced = Some(Announced {
            offer: offer.clone(),
            sequence: self.sequence,
            latest: self.sequence,
            prefix: announcing.prefix.clone(),
            so_name: announcing.so_name.clone(),
            origin: *origin,
            before: announcing.before.clone().filter(|before| before.version != *version),
            admission: announcing.admission.clone(),
            attempt,
            is_resumed: false,
            phase: *phase,
            mark: actor.mark(),
            started_s: announcing.began_s.unwrap_or(actor.now_s),
            began_s: announcing.began_s.unwrap_or(actor.now_s),
            progress_s: announcing.began_s.unwrap_or(actor.now_s),
            batch_confirmed_s: None,
            stall: None,
            tolerated: 0,
            is_confirmed: false,
            reported: Vec::new(),
            failed: Vec::new(),
            sight: announcing.sight,
        });
        self.settled = false;
    }

    fn end(&mut self, ending: &Ending, actor: &Actor) {
        let Some(announced) = &mut self.announced else { return };
        announced.phase = ending.phase;
        announced.admission = ending.admission.clone();
        announced.failed.clone_from(&ending.failed);
        announced.is_confirmed |= ending.confirms();
        announced.stall = None;
        announced.batch_confirmed_s = None;
        announced.mark = actor.mark();
        let version = announced.offer.version.clone();
        self.announce_anew();
        let worth = ending.worth();
        let known = self.ledger.iter_mut().find(|release| release.version == version);
        if let Some(release) = known.filter(|release| release.worth == Worth::RollingOut) {
            release.worth = worth;
            release.mark = actor.mark();
            release.reported = ending.reported.len();
            release.members = ending.members;
        }
    }

    fn resume(&mut self, admission: &Admission, tolerated: usize, actor: &Actor) {
        let Some(announced) = &mut self.announced else { return };
        match announced.phase {
            Phase::Paused => {
                let stalled_s = announced.stall.as_ref().map_or(i64::MAX, |stall| stall.since_s);
                announced.wait_for(actor.now_s - announced.mark.at_s.min(stalled_s));
                if let Some(stall) = &mut announced.stall {
                    stall.since_s = actor.now_s;
                }
            }
            _ => {
                announced.started_s = actor.now_s;
                announced.began_s = actor.now_s;
                announced.progress_s = actor.now_s;
            }
        }
        announced.phase = Phase::Running;
        announced.admission = admission.clone();
        announced.tolerated = tolerated;
        announced.attempt += 1;
        announced.is_resumed = true;
        announced.failed.clear();
        announced.mark = actor.mark();
        let version = announced.offer.version.clone();
        self.announce_anew();
        if self.worth(&version).is_some_and(Worth::is_spent) {
            self.set_worth(&version, Worth::RollingOut, actor.mark());
        }
    }

    /// The lines of the history about an event.
    fn tell(&mut self, event: &Event, actor: &Actor) {
        let lines = self.told_of(event, actor);
        for (place, line) in lines.into_iter().enumerate() {
            // With the instant: after a restored backup the numbers of events are given again.
            let id = format!("{}.{place}.{}", self.events, actor.now_s);
            let by = if line.by.is_empty() { actor.by.clone() } else { line.by.clone() };
            self.untold.push(Told { id, at_s: actor.now_s, by, ..line });
        }
    }

    fn told_of(&self, event: &Event, actor: &Actor) -> Vec<Told> {
        let line = |event: &str, version: &str| Told {
            event: event.to_owned(),
            version: version.to_owned(),
            ..Told::default()
        };
        let announced = self.announced.as_ref();
        let current = announced.map_or("", |announced| announced.version().as_str());
        let of_push = |what: &str, push: &Push| Told {
            push: push.identity.clone(),
            ..line(what, push.announces.as_ref().map_or("", Version::as_str))
        };
        let because = |told: Told| Told { why: actor.reason.clone(), ..told };
        match event {
            Event::Pushed(push) => vec![of_push("pushed", push)],
            Event::Restored => self.push.iter().map(|push| of_push("restored", push)).collect(),
            Event::Refused { reason } => {
                let refused = |push: &Push| Told { why: reason.clone(), ..of_push("refused", push) };
                self.push.iter().map(refused).collect()
            }
            Event::Published { version, .. } => {
                let took_s = self.push.as_ref().map(|push| (actor.now_s - push.arrived_s).max(0));
                vec![Told { duration_s: took_s, ..line("published", version.as_str()) }]
            }
            Event::Announced(announcing) if announcing.origin == Origin::Import => Vec::new(),
            Event::Announced(announcing) => {
                let version = announcing.offer.version.as_str();
                let mut lines = Vec::new();
                match (announcing.leaves, announcing.is_pinned) {
                    (_, true) => lines.push(because(line("pinned", version))),
                    (Some(_), false) => lines.push(because(line("rolled back", current))),
                    (None, false) => {}
                }
                lines.push(line("announced", version));
                if let Admission::Members(members) = &announcing.admission {
                    lines.push(Told { members: names(members), ..line("admitted", version) });
                }
                lines
            }
            Event::Edited(_) => vec![line("edited", current)],
            Event::Admitted { admission, newly } => {
                let members = match admission {
                    Admission::Members(members) => names(members),
                    Admission::Everybody => names(newly),
                };
                vec![Told { members, ..line("admitted", current) }]
            }
            Event::Reported(members) => {
                let duration_s = announced.map(|announced| (actor.now_s - announced.started_s).max(0));
                vec![Told { members: names(members), duration_s, ..line("confirmed", current) }]
            }
            Event::TimeBeginsAnew { late } if !late.is_empty() => {
                vec![Told { members: names(late), ..line("late", current) }]
            }
            Event::Ended(ending) => {
                let mut lines = Vec::new();
                if !ending.late.is_empty() {
                    lines.push(Told { members: names(&ending.late), ..line("late", current) });
                }
                match ending.phase {
                    Phase::Stopped | Phase::TimedOut => lines.push(because(line("stopped", current))),
                    Phase::Aborted => lines.push(because(line("aborted", current))),
                    Phase::Done | Phase::Trailing | Phase::Running | Phase::Paused => {}
                }
                // One that trails has its line from when it began to trail.
                if announced.is_some_and(|announced| announced.phase.is_in_flight()) {
                    lines.push(line("ended", current));
                }
                lines
            }
            Event::Paused { .. } => vec![because(line("paused", current))],
            Event::Resumed { .. } => vec![because(line("resumed", current))],
            Event::Retried => vec![because(line("retried", current))],
            Event::Marked { version, worth } => {
                vec![because(line(&format!("marked {}", worth.words()), version.as_str()))]
            }
            Event::Pinned => vec![because(line("pinned", current))],
            Event::Unpinned => vec![because(line("unpinned", ""))],
            Event::Adopted { .. } => vec![because(line("adopted", current))],
            Event::Seen { .. }
            | Event::PushGone
            | Event::Began(_)
            | Event::GaveUp
            | Event::ScriptDied { .. }
            | Event::BatchConfirmed
            | Event::BatchUnconfirmed
            | Event::Stalled { .. }
            | Event::Unstalled
            | Event::TimeBeginsAnew { .. }
            | Event::Deleted(_)
            | Event::Held(_)
            | Event::ListRead { .. }
            | Event::Sighted(_)
            | Event::Ahead(_) => Vec::new(),
        }
    }
}

impl Announced {
    /// Its times move on by a span that does not count.
    fn wait_for(&mut self, seconds: i64) {
        let seconds = seconds.max(0);
        self.began_s = self.began_s.saturating_add(seconds);
        self.progress_s = self.progress_s.saturating_add(seconds);
        self.batch_confirmed_s = self.batch_confirmed_s.map(|since| since.saturating_add(seconds));
    }
}

impl Push {
    /// Whether the history has a refusal for this reason already. Numbers in it, such as the bytes
    /// that are free, do not make another.
    pub fn was_refused(&self, reason: &str) -> bool {
        self.refusals.contains(&without_digits(reason))
    }
}

fn without_digits(reason: &str) -> String {
    reason.replace(|c: char| c.is_ascii_digit(), "")
}

/// Members as the history names them.
pub fn names(members: &[Address]) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::*;

    const NOW: i64 = BEGIN + 60;

    /// The state after an event of a person, and the lines of the history about it.
    fn by_ann(state: State, event: &Event) -> (State, Vec<String>) {
        let state = state.after(event, &ann(NOW));
        let told = told(&state);
        (state, told)
    }

    /// Version 1 is confirmed, and 2 is rolled out to everybody.
    fn in_flight() -> State {
        rolling(confirmed(&[1]), 2, Admission::Everybody)
    }

    /// The same, to member 1 first.
    fn canary() -> State {
        rolling(confirmed(&[1]), 2, only(&[1]))
    }

    /// The announced version's rollout is paused by ann.
    fn paused() -> State {
        canary().after(&Event::Paused { admission: only(&[1]) }, &ann(NOW))
    }

    /// What an event changes besides the count of events and the lines of the history.
    fn changes(state: &State, event: &Event) -> State {
        let after = state.clone().after(event, &at(NOW));
        assert_eq!(after.events, state.events + 1);
        State { events: state.events, untold: state.untold.clone(), ..after }
    }

    #[test]
    fn pushed_notes_the_push_and_tells_which_one_it_was() {
        let (state, told) = by_ann(confirmed(&[1]), &Event::Pushed(push(2)));
        assert_eq!(state.push, Some(push(2)));
        assert_eq!(told, ["pushed v02"]);
        assert_eq!((state.untold[0].push.as_str(), state.untold[0].by.as_str()), ("1-2-1000-15", "ann@m1"));
    }

    #[test]
    fn seen_notes_the_other_place_of_the_same_push_and_tells_nothing() {
        let pushed = State { push: Some(push(2)), ..confirmed(&[1]) };
        let (state, told) = by_ann(pushed, &Event::Seen { identity: "2-2-2-2".to_owned() });
        assert_eq!(state.push, Some(Push { identity: "2-2-2-2".to_owned(), ..push(2) }));
        assert!(told.is_empty());
    }

    #[test]
    fn restored_changes_nothing_and_is_told() {
        let pushed = State { push: Some(push(2)), ..confirmed(&[1]) };
        assert_eq!(changes(&pushed, &Event::Restored), pushed);
        assert_eq!(by_ann(pushed, &Event::Restored).1, ["restored v02"]);
    }

    #[test]
    fn refused_notes_the_reason_without_its_numbers_so_that_it_is_told_once() {
        let pushed = State { push: Some(push(2)), ..confirmed(&[1]) };
        let reason = "the disk has 512 bytes free".to_owned();
        let (state, told) = by_ann(pushed, &Event::Refused { reason: reason.clone() });
        assert_eq!(told, ["refused v02 (the disk has 512 bytes free)"]);
        let push = state.push.unwrap();
        assert!(push.was_refused(&reason) && push.was_refused("the disk has 77 bytes free"));
        assert!(!push.was_refused("it has no library"));
        assert_eq!(push.fate, Fate::Waits);
    }

    #[test]
    fn push_gone_forgets_the_push() {
        let pushed = State { push: Some(push(2)), ..confirmed(&[1]) };
        assert_eq!(changes(&pushed, &Event::PushGone), State { push: None, ..pushed });
    }

    #[test]
    fn began_notes_the_publication_which_status_names() {
        let publishing = Publishing { version: v(2), began_s: NOW };
        let (state, told) = by_ann(confirmed(&[1]), &Event::Began(publishing.clone()));
        assert_eq!((state.publishing.as_ref(), state.status()), (Some(&publishing), Some(&v(2))));
        assert!(!state.settled && told.is_empty());
    }

    #[test]
    fn a_script_that_died_leaves_a_half_version_until_it_is_published() {
        let half = changes(&State::new(model(), 1), &Event::ScriptDied { version: Some(v(1)) });
        assert_eq!((half.half.clone(), half.settled), (Some(v(1)), true));
        assert_eq!(changes(&half, &published(2)).half, Some(v(1)), "another one");
        assert_eq!(changes(&half, &published(1)).half, None);
        assert_eq!(changes(&half, &Event::ScriptDied { version: None }).half, None);
    }

    #[test]
    fn gave_up_forgets_the_publication_and_keeps_the_push() {
        let publishing = Some(Publishing { version: v(2), began_s: NOW });
        let begun = State { publishing, push: Some(push(2)), ..confirmed(&[1]) };
        let state = changes(&begun, &Event::GaveUp);
        assert_eq!(state, State { publishing: None, settled: false, ..begun });
    }

    #[test]
    fn published_gives_the_version_the_next_sequence_and_tells_how_long_it_took() {
        let publishing = Some(Publishing { version: v(2), began_s: NOW });
        let begun = State { publishing, push: Some(push(2)), ..confirmed(&[1]) };
        let manifest = Some(Digest([2; 32]));
        let event = Event::Published { version: v(2), manifest, is_push: true };
        let (state, told) = by_ann(begun.clone(), &event);
        let release = state.release(&v(2)).unwrap();
        assert_eq!((release.sequence, release.worth), (begun.sequence + 1, Worth::Published));
        assert_eq!((release.manifest, state.publishing.is_none(), state.settled), (manifest, true, false));
        assert_eq!(state.push.unwrap().fate, Fate::Became(v(2)));
        assert_eq!((told, state.untold[0].duration_s), (vec!["published v02".to_owned()], Some(60)));
    }

    #[test]
    fn published_by_a_script_leaves_the_push_alone() {
        let pushed = State { push: Some(push(3)), ..confirmed(&[1]) };
        let state = changes(&pushed, &published(2));
        assert_eq!(state.push, pushed.push);
        assert_eq!(state.worth(&v(2)), Some(Worth::Published));
    }

    #[test]
    fn published_again_keeps_its_place_and_its_worth() {
        let state = confirmed(&[1, 2]);
        let again = Event::Published { version: v(1), manifest: None, is_push: false };
        assert_eq!(changes(&state, &again), state);
    }

    #[test]
    fn announced_makes_a_version_roll_out_under_the_next_number_and_in_the_next_attempt() {
        let state = after(confirmed(&[1]), &[published(2)]);
        let sequence = state.sequence;
        let (state, told) = by_ann(state, &announced(Announcing { before: Some(offer(1)), ..announcing(2) }));
        assert_eq!((state.sequence, of(&state).sequence), (sequence + 1, sequence + 1));
        assert_eq!((of(&state).latest, state.announcement().sequence), (sequence + 1, sequence + 1));
        assert_eq!(state.worth(&v(2)), Some(Worth::RollingOut));
        assert_eq!((of(&state).began_s, of(&state).progress_s, state.settled), (NOW, NOW, false));
        assert_eq!(of(&state).before, Some(offer(1)));
        assert!(of(&state).reported.is_empty() && !of(&state).is_confirmed && !of(&state).is_resumed);
        assert_eq!((of(&confirmed(&[1])).attempt, of(&state).attempt), (0, 1));
        assert_eq!(told, ["announced v02"]);
    }

    #[test]
    fn announced_after_a_resume_is_not_resumed_and_raises_the_attempt_of_that() {
        let resumed = Event::Resumed { admission: Admission::Everybody, tolerated: 1 };
        let state = paused().after(&resumed, &ann(NOW));
        assert_eq!((of(&state).attempt, of(&state).is_resumed), (2, true));
        let state = state.after(&announced(announcing(3)), &at(NOW));
        assert_eq!((of(&state).attempt, of(&state).is_resumed, of(&state).tolerated), (3, false, 0));
    }

    #[test]
    fn announced_by_a_script_began_when_the_script_wrote_status() {
        let by_script = Announcing { origin: Origin::Script, began_s: Some(BEGIN - 300), ..announcing(2) };
        let state = confirmed(&[1]).after(&announced(by_script), &at(NOW));
        assert_eq!((of(&state).began_s, of(&state).progress_s), (BEGIN - 300, BEGIN - 300));
        assert_eq!((of(&state).mark.at_s, state.release(&v(2)).unwrap().mark.at_s), (NOW, NOW));
    }

    #[test]
    fn announced_in_batches_tells_who_is_admitted_first() {
        let (_, told) =
            by_ann(confirmed(&[1]), &announced(Announcing { admission: only(&[1]), ..announcing(2) }));
        assert_eq!(told, ["announced v02", "admitted v02 10.0.0.1"]);
    }

    #[test]
    fn announced_keeps_a_confirmed_or_good_version_what_it_is() {
        let state = confirmed(&[1, 2]).after(&announced(announcing(1)), &at(NOW));
        assert_eq!(state.worth(&v(1)), Some(Worth::Confirmed));
        let good = ledger(&[(1, Worth::Good)]).after(&announced(announcing(1)), &at(NOW));
        assert_eq!(good.worth(&v(1)), Some(Worth::Good));
    }

    #[test]
    fn announced_by_a_command_that_names_it_a_spent_version_rolls_out_again() {
        for worth in [Worth::Stopped, Worth::TimedOut, Worth::Aborted, Worth::Left, Worth::Bad] {
            let state = ledger(&[(1, worth)]).after(&announced(announcing(1)), &ann(NOW));
            assert_eq!(state.worth(&v(1)), Some(Worth::RollingOut));
        }
    }

    #[test]
    fn announced_before_the_rollout_of_another_was_confirmed_leaves_that_one_timed_out() {
        let state = in_flight().after(&announced(announcing(3)), &at(NOW));
        assert_eq!(state.worth(&v(2)), Some(Worth::TimedOut));
        let reason = &state.release(&v(2)).unwrap().mark.reason;
        assert_eq!(*reason, format!("{} was announced before its rollout had confirmed it", v(3)));
    }

    #[test]
    fn announced_after_another_was_stopped_leaves_that_one_stopped() {
        let stopped = Event::Ended(ending(Phase::Stopped, 2, &[], &[1]));
        let state = after(in_flight(), &[stopped, announced(announcing(3))]);
        assert_eq!(state.worth(&v(2)), Some(Worth::Stopped));
    }

    #[test]
    fn announced_by_a_rollback_marks_the_version_that_is_left_and_tells_why() {
        let back = Announcing { origin: Origin::Rollback, leaves: Some(Worth::Bad), ..announcing(1) };
        let (state, told) = by_ann(in_flight(), &announced(back));
        assert_eq!((state.worth(&v(1)), state.worth(&v(2))), (Some(Worth::Confirmed), Some(Worth::Bad)));
        assert_eq!(state.release(&v(2)).unwrap().mark, ann(NOW).mark());
        assert_eq!(told, ["rolled back v02 (it is slow)", "announced v01"]);
    }

    #[test]
    fn announced_by_a_pin_keeps_the_version_until_it_is_unpinned() {
        let pin =
            Announcing { origin: Origin::Pin, leaves: Some(Worth::Left), is_pinned: true, ..announcing(1) };
        let (state, told) = by_ann(in_flight(), &announced(pin));
        assert_eq!(state.pin, Some(Pin { version: v(1), mark: ann(NOW).mark() }));
        assert_eq!(state.worth(&v(2)), Some(Worth::Left));
        assert_eq!(told, ["pinned v01 (it is slow)", "announced v01"]);
    }

    #[test]
    fn announced_by_a_script_or_by_hand_leaves_the_pin_where_it_is() {
        let pinned = after(confirmed(&[1]), &[Event::Pinned]);
        for origin in [Origin::Script, Origin::Hand] {
            let state = pinned.clone().after(&announced(Announcing { origin, ..announcing(2) }), &at(NOW));
            assert_eq!((&state.pin, of(&state).version()), (&pinned.pin, &v(2)));
        }
    }

    #[test]
    fn announced_by_another_pin_replaces_the_pin() {
        let pinned = after(confirmed(&[1, 2]), &[Event::Pinned]);
        let other = Announcing { origin: Origin::Pin, is_pinned: true, ..announcing(1) };
        let state = pinned.after(&announced(other), &ann(NOW));
        assert_eq!(state.pin, Some(Pin { version: v(1), mark: ann(NOW).mark() }));
    }

    #[test]
    fn announced_before_there_was_a_state_is_not_told() {
        let import = Announcing { origin: Origin::Import, phase: Phase::Done, ..announcing(1) };
        let (state, told) = by_ann(empty(), &announced(import));
        assert_eq!((state.worth(&v(1)), told.len()), (Some(Worth::RollingOut), 0));
        assert!(!state.is_in_flight());
    }

    #[test]
    fn announced_offers_no_version_before_that_is_the_same() {
        let same = Announcing { before: Some(offer(1)), ..announcing(1) };
        assert_eq!(of(&empty().after(&announced(same), &at(NOW))).before, None);
    }

    #[test]
    fn announced_again_what_is_announced_leaves_nothing() {
        let again = Announcing { leaves: Some(Worth::Bad), ..announcing(2) };
        let state = in_flight().after(&announced(again), &ann(NOW));
        assert_eq!(state.worth(&v(2)), Some(Worth::RollingOut));
    }

    #[test]
    fn edited_announces_the_same_version_under_the_next_number_and_admits_nobody_else() {
        let (state, told) = by_ann(canary(), &Event::Edited(confs(&v(9))));
        assert_eq!(of(&state).offer, Offer { service_conf: confs(&v(9)), ..offer(2) });
        let number = canary().sequence + 1;
        assert_eq!((of(&state).sequence, of(&state).latest, state.sequence), (number, number, number));
        assert_eq!((&of(&state).admission, of(&state).phase), (&only(&[1]), Phase::Running));
        assert_eq!((told, state.settled), (vec!["edited v02".to_owned()], false));
    }

    #[test]
    fn admitted_widens_the_admission_and_is_progress() {
        let mut state = canary();
        state.announced.as_mut().unwrap().batch_confirmed_s = Some(BEGIN);
        let (state, told) =
            by_ann(state, &Event::Admitted { admission: only(&[1, 2]), newly: members(&[2]) });
        assert_eq!((&of(&state).admission, of(&state).progress_s), (&only(&[1, 2]), NOW));
        assert_eq!((of(&state).began_s, of(&state).batch_confirmed_s), (BEGIN, None));
        assert_eq!((told, state.settled), (vec!["admitted v02 10.0.0.1,10.0.0.2".to_owned()], false));
    }

    #[test]
    fn batch_confirmed_begins_the_pause_and_batch_unconfirmed_ends_it() {
        let state = changes(&canary(), &Event::BatchConfirmed);
        assert_eq!(of(&state).batch_confirmed_s, Some(NOW));
        assert_eq!(changes(&state, &Event::BatchUnconfirmed), canary());
    }

    #[test]
    fn stalled_keeps_the_time_since_when_it_stalls_whatever_else_is_missing() {
        let first = Event::Stalled { reason: "no list".to_owned() };
        let state = canary().after(&first, &at(BEGIN + 10));
        let state = changes(&state, &Event::Stalled { reason: "all are held".to_owned() });
        assert_eq!(of(&state).stall, Some(Stall { since_s: BEGIN + 10, reason: "all are held".to_owned() }));
    }

    #[test]
    fn unstalled_moves_its_times_on_by_the_span_that_does_not_count() {
        let state = canary().after(&Event::BatchConfirmed, &at(BEGIN + 5));
        let state = state.after(&Event::Stalled { reason: "no list".to_owned() }, &at(BEGIN + 10));
        let state = changes(&state, &Event::Unstalled);
        let announced = of(&state);
        assert_eq!((announced.began_s, announced.progress_s), (BEGIN + 50, BEGIN + 50));
        assert_eq!((announced.batch_confirmed_s, &announced.stall), (Some(BEGIN + 55), &None));
    }

    #[test]
    fn unstalled_by_a_clock_that_was_set_back_moves_nothing() {
        let state = canary().after(&Event::Stalled { reason: "no list".to_owned() }, &at(NOW + 999));
        assert_eq!(of(&changes(&state, &Event::Unstalled)).began_s, BEGIN);
    }

    #[test]
    fn time_begins_anew_for_what_it_is_counted_from_and_tells_who_is_late() {
        let state = canary().after(&Event::BatchConfirmed, &at(NOW + 999));
        let (state, told) = by_ann(state, &Event::TimeBeginsAnew { late: members(&[1]) });
        assert_eq!((of(&state).began_s, of(&state).progress_s), (NOW, NOW));
        assert_eq!(of(&state).batch_confirmed_s, Some(NOW));
        assert_eq!(told, ["late v02 10.0.0.1"]);
        assert!(by_ann(canary(), &Event::TimeBeginsAnew { late: Vec::new() }).1.is_empty());
    }

    #[test]
    fn reported_notes_the_members_in_their_order_and_is_progress() {
        let state = in_flight().after(&Event::Reported(members(&[2])), &at(BEGIN + 1));
        let (state, told) = by_ann(state, &Event::Reported(members(&[1, 3])));
        assert_eq!((&of(&state).reported, of(&state).progress_s), (&members(&[2, 1, 3]), NOW));
        assert_eq!(told[1], "confirmed v02 10.0.0.1,10.0.0.3");
        assert_eq!((state.untold[1].duration_s, of(&state).began_s), (Some(60), BEGIN));
    }

    #[test]
    fn ended_makes_the_version_worth_what_its_members_made_of_it() {
        use Phase::{Aborted, Done, Stopped, TimedOut, Trailing};
        for (phase, of, reported, failed, worth) in [
            (Done, 2, &[1, 2][..], &[][..], Worth::Confirmed),
            (Done, 4, &[1, 2], &[], Worth::Confirmed),
            (Done, 3, &[1], &[], Worth::TimedOut),
            (Done, 0, &[], &[], Worth::TimedOut),
            (Trailing, 4, &[1, 2], &[], Worth::Confirmed),
            (Trailing, 5, &[1, 2], &[], Worth::RollingOut),
            (TimedOut, 4, &[1, 2], &[], Worth::Confirmed),
            (TimedOut, 4, &[1], &[], Worth::TimedOut),
            (TimedOut, 4, &[1, 2, 3], &[4], Worth::TimedOut),
            (TimedOut, 0, &[], &[], Worth::TimedOut),
            (Stopped, 4, &[1, 2, 3], &[4], Worth::Stopped),
            (Aborted, 4, &[1, 2, 3], &[], Worth::Aborted),
        ] {
            let ending = ending(phase, of, reported, failed);
            let state = changes(&in_flight(), &Event::Ended(ending.clone()));
            let release = state.release(&v(2)).unwrap();
            assert_eq!(release.worth, worth, "{ending:?}");
            assert_eq!((release.reported, release.members), (reported.len(), of));
            assert!(!state.is_in_flight() && !state.settled);
        }
    }

    #[test]
    fn ended_keeps_a_confirmed_version_what_it_is_however_its_rollout_went() {
        for phase in [Phase::Stopped, Phase::Aborted, Phase::TimedOut] {
            let again = confirmed(&[1, 2]).after(&announced(announcing(1)), &at(NOW));
            let state = again.after(&Event::Ended(ending(phase, 2, &[], &[1])), &at(NOW));
            assert_eq!((state.worth(&v(1)), of(&state).phase), (Some(Worth::Confirmed), phase));
            assert!(!of(&state).is_confirmed);
        }
    }

    #[test]
    fn ended_notes_who_failed_and_who_stays_admitted() {
        let ending = Ending { admission: only(&[2]), ..ending(Phase::Stopped, 2, &[2], &[1]) };
        let mut state = in_flight();
        state.announced.as_mut().unwrap().stall = Some(Stall { since_s: BEGIN, reason: "x".to_owned() });
        let state = changes(&state, &Event::Ended(ending));
        assert_eq!((&of(&state).failed, &of(&state).admission), (&members(&[1]), &only(&[2])));
        assert_eq!(of(&state).stall, None);
    }

    #[test]
    fn ended_is_told_with_those_who_are_late_and_why() {
        let late = Ending { late: members(&[1]), ..ending(Phase::TimedOut, 2, &[], &[]) };
        let (_, told) = by_ann(in_flight(), &Event::Ended(late));
        assert_eq!(told, ["late v02 10.0.0.1", "stopped v02 (it is slow)", "ended v02"]);
        let (_, told) = by_ann(in_flight(), &Event::Ended(ending(Phase::Stopped, 2, &[], &[1])));
        assert_eq!(told, ["stopped v02 (it is slow)", "ended v02"]);
        let (_, told) = by_ann(in_flight(), &Event::Ended(ending(Phase::Aborted, 2, &[], &[])));
        assert_eq!(told, ["aborted v02 (it is slow)", "ended v02"]);
        let (_, told) = by_ann(in_flight(), &Event::Ended(ending(Phase::Done, 2, &[1, 2], &[])));
        assert_eq!(told, ["ended v02"]);
    }

    #[test]
    fn ended_is_told_once_of_a_rollout_that_trailed() {
        let (state, told) = by_ann(in_flight(), &Event::Ended(ending(Phase::Trailing, 2, &[1], &[])));
        assert_eq!(told, ["ended v02"]);
        let (_, told) = by_ann(state, &Event::Ended(ending(Phase::Done, 2, &[1, 2], &[])));
        assert_eq!(told, ["ended v02"], "not once more");
    }

    #[test]
    fn paused_keeps_the_rollout_in_flight_and_admits_nobody_else() {
        let (state, told) = by_ann(in_flight(), &Event::Paused { admission: only(&[1]) });
        assert_eq!((of(&state).phase, &of(&state).admission), (Phase::Paused, &only(&[1])));
        assert!(state.is_in_flight() && !state.settled);
        assert_eq!(
            (told, of(&state).mark.clone()),
            (vec!["paused v02 (it is slow)".into()], ann(NOW).mark())
        );
    }

    #[test]
    fn resumed_after_a_pause_moves_its_times_on_by_it() {
        let resumed = Event::Resumed { admission: only(&[1]), tolerated: 0 };
        let state = paused().after(&resumed, &ann(NOW + 100));
        assert_eq!((of(&state).phase, of(&state).began_s), (Phase::Running, BEGIN + 100));
        assert_eq!((of(&state).attempt, told(&state)[1].as_str()), (2, "resumed v02 (it is slow)"));
        assert!(of(&state).is_resumed);
    }

    #[test]
    fn resumed_counts_a_span_that_was_paused_and_stalled_once() {
        let (stalled, unstalled) = (Event::Stalled { reason: "no list".to_owned() }, Event::Unstalled);
        let resumed = Event::Resumed { admission: only(&[1]), tolerated: 0 };
        let pause = Event::Paused { admission: only(&[1]) };
        // Each is paused or stalled from second 10 to 110.
        for steps in [
            [(10, &pause), (20, &stalled), (100, &unstalled), (110, &resumed)],
            [(10, &stalled), (20, &pause), (100, &unstalled), (110, &resumed)],
            [(10, &pause), (20, &stalled), (100, &resumed), (110, &unstalled)],
            [(10, &stalled), (20, &pause), (100, &resumed), (110, &unstalled)],
        ] {
            let step =
                |state: State, (second, event): &(i64, &Event)| state.after(event, &at(BEGIN + second));
            let state = steps.iter().fold(canary(), step);
            assert_eq!(of(&state).began_s, BEGIN + 100, "{steps:?}");
            assert_eq!(of(&state).stall, None);
        }
    }

    #[test]
    fn resumed_after_it_was_broken_off_begins_its_time_anew_and_tolerates_those_that_failed() {
        for phase in [Phase::Stopped, Phase::TimedOut, Phase::Aborted] {
            let broken_off = canary().after(&Event::Ended(ending(phase, 2, &[], &[1])), &at(BEGIN));
            let resumed = Event::Resumed { admission: only(&[1, 2]), tolerated: 1 };
            let state = changes(&broken_off, &resumed);
            let announced = of(&state);
            assert_eq!((announced.phase, announced.began_s), (Phase::Running, NOW));
            assert_eq!((announced.tolerated, announced.attempt, announced.failed.len()), (1, 2, 0));
            assert_eq!(announced.admission, only(&[1, 2]));
            assert_eq!(state.worth(&v(2)), Some(Worth::RollingOut));
        }
    }

    #[test]
    fn retried_raises_the_attempt_and_admits_nobody_else() {
        let (state, told) = by_ann(canary(), &Event::Retried);
        assert_eq!(of(&state).attempt, of(&canary()).attempt + 1);
        assert_eq!((&of(&state).admission, state.settled), (&only(&[1]), false));
        assert_eq!(told, ["retried v02 (it is slow)"]);
    }

    #[test]
    fn marked_says_what_a_version_is_worth_who_said_it_and_why() {
        for (worth, word) in [(Worth::Good, "marked good"), (Worth::Bad, "marked bad")] {
            let (state, told) = by_ann(confirmed(&[1, 2]), &Event::Marked { version: v(1), worth });
            let release = state.release(&v(1)).unwrap();
            assert_eq!((release.worth, &release.mark), (worth, &ann(NOW).mark()));
            assert_eq!(told, [format!("{word} v01 (it is slow)")]);
        }
    }

    #[test]
    fn pinned_keeps_what_is_announced_and_unpinned_lets_go() {
        let (state, told) = by_ann(confirmed(&[1]), &Event::Pinned);
        assert_eq!(state.pin, Some(Pin { version: v(1), mark: ann(NOW).mark() }));
        assert_eq!(told, ["pinned v01 (it is slow)"]);
        let (state, told) = by_ann(state, &Event::Unpinned);
        assert_eq!((state.pin, told[1].as_str()), (None, "unpinned (it is slow)"));
    }

    #[test]
    fn deleted_takes_versions_out_of_the_ledger_but_for_spent_ones() {
        let worths = [
            (1, Worth::Bad),
            (2, Worth::Stopped),
            (3, Worth::TimedOut),
            (4, Worth::Aborted),
            (5, Worth::Left),
            (6, Worth::Confirmed),
            (7, Worth::Good),
            (8, Worth::Published),
            (9, Worth::RollingOut),
        ];
        let deleted = worths.map(|(number, _)| v(number)).to_vec();
        let state = changes(&ledger(&worths), &Event::Deleted(deleted));
        let left: Vec<&Version> = state.ledger.iter().map(|release| &release.version).collect();
        assert_eq!(left, [&v(1), &v(2), &v(3), &v(4), &v(5)]);
        assert_eq!(state.worth(&v(5)), Some(Worth::Left), "a push under its name is refused");
        let sequence = state.sequence + 1;
        assert_eq!(state.after(&published(10), &at(NOW)).release(&v(10)).unwrap().sequence, sequence);
    }

    #[test]
    fn held_is_announced_at_once_under_a_number_of_its_own() {
        let (state, told) = by_ann(confirmed(&[1]), &Event::Held(members(&[2])));
        assert_eq!((state.announcement().held, state.settled), (members(&[2]), false));
        assert_eq!((state.sequence, told.len()), (confirmed(&[1]).sequence + 1, 0));
        assert_eq!(of(&state).latest, state.sequence);
    }

    #[test]
    fn sighted_notes_that_members_can_fetch_the_announcement_and_tells_nothing() {
        let mut state = canary();
        state.announced.as_mut().unwrap().sight = Sight::Blind;
        let (seen, told) = by_ann(state.clone(), &Event::Sighted(Sight::Seen));
        assert_eq!((of(&state).is_blind(), of(&seen).is_blind()), (true, false));
        assert_eq!((told.len(), seen.announcement()), (0, state.announcement()));
    }

    /// Events, and whether each changes what is announced.
    fn events_of_a_canary() -> Vec<(Event, bool)> {
        vec![
            (Event::Pushed(push(3)), false),
            (published(3), false),
            (announced(announcing(3)), true),
            (Event::Edited(confs(&v(9))), true),
            (Event::Admitted { admission: only(&[1, 2]), newly: members(&[2]) }, true),
            (Event::BatchConfirmed, false),
            (Event::Stalled { reason: "no list".to_owned() }, false),
            (Event::TimeBeginsAnew { late: members(&[1]) }, false),
            (Event::Reported(members(&[1])), false),
            (Event::Ended(ending(Phase::Done, 1, &[1], &[])), true),
            (Event::Paused { admission: only(&[]) }, true),
            (Event::Resumed { admission: only(&[1]), tolerated: 0 }, true),
            (Event::Retried, true),
            (Event::Marked { version: v(2), worth: Worth::Bad }, false),
            (Event::Pinned, false),
            (Event::Held(members(&[2])), true),
            (Event::ListRead { policy: in_batches("1,100%"), members: members(&[1]) }, false),
            (Event::Sighted(Sight::Seen), false),
            (Event::Ahead(members(&[1])), false),
        ]
    }

    #[test]
    fn every_change_of_what_is_announced_has_a_number_of_its_own() {
        for (event, is_announced) in events_of_a_canary() {
            let (before, after) = (canary(), changes(&canary(), &event));
            let (was, is) = (before.announcement(), after.announcement());
            assert_eq!(was != is, is_announced, "{event:?}");
            assert_eq!(was.sequence < is.sequence, is_announced, "{event:?}");
            assert_eq!(is.sequence, of(&after).latest);
            // What members reported before still counts, but for another version or other bytes.
            let is_another = matches!(event, Event::Announced(_) | Event::Edited(_));
            let first = if is_another { of(&after).latest } else { of(&before).sequence };
            assert_eq!(of(&after).sequence, first, "{event:?}");
            assert!(after.sequence >= is.sequence && !(is_announced && after.settled));
        }
    }

    #[test]
    fn list_read_keeps_the_last_policy_and_members_that_could_be_read() {
        let event = Event::ListRead { policy: in_batches("1,100%"), members: members(&[1, 2]) };
        let expected = State { policy: in_batches("1,100%"), members: members(&[1, 2]), ..canary() };
        assert_eq!(changes(&canary(), &event), expected);
    }

    #[test]
    fn ahead_notes_who_has_seen_a_higher_number_and_adopted_begins_above_them() {
        let state = changes(&confirmed(&[1]), &Event::Ahead(members(&[1])));
        assert_eq!(state.ahead, members(&[1]));
        let (adopted, told) = by_ann(state, &Event::Adopted { epoch: NOW });
        assert_eq!((adopted.epoch, adopted.ahead.len(), adopted.settled), (NOW, 0, false));
        assert_eq!(told, ["adopted v01 (it is slow)"]);
    }

    #[test]
    fn adopted_never_lowers_the_epoch() {
        assert_eq!(empty().after(&Event::Adopted { epoch: 7 }, &at(NOW)).epoch, BEGIN);
    }

    #[test]
    fn an_event_that_does_not_fit_changes_nothing_but_the_count_of_events() {
        for event in [
            Event::Seen { identity: "x".to_owned() },
            Event::Restored,
            Event::Refused { reason: "x".to_owned() },
            Event::PushGone,
            Event::Edited(confs(&v(1))),
            Event::Admitted { admission: only(&[1]), newly: members(&[1]) },
            Event::BatchConfirmed,
            Event::BatchUnconfirmed,
            Event::Stalled { reason: "x".to_owned() },
            Event::Unstalled,
            Event::TimeBeginsAnew { late: Vec::new() },
            Event::Reported(members(&[1])),
            Event::Ended(ending(Phase::Done, 1, &[1], &[])),
            Event::Paused { admission: only(&[1]) },
            Event::Resumed { admission: only(&[1]), tolerated: 0 },
            Event::Retried,
            Event::Marked { version: v(1), worth: Worth::Good },
            Event::Pinned,
            Event::Unpinned,
            Event::Deleted(vec![v(1)]),
            Event::Sighted(Sight::Seen),
        ] {
            assert_eq!(changes(&empty(), &event), empty(), "{event:?}");
        }
        assert_eq!(changes(&canary(), &Event::Unstalled), canary(), "it is not stalled");
        assert_eq!(changes(&canary(), &Event::BatchUnconfirmed), canary());
    }

    /// The names of all events, out of this file.
    fn names_of_events() -> Vec<&'static str> {
        let source = include_str!("event.rs");
        let (_, events) = source.split_once("pub enum Event {\n").unwrap();
        let (events, _) = events.split_once("\n}\n").unwrap();
        let lines = events.lines().filter_map(|line| line.strip_prefix("    "));
        let name = |line: &'static str| line.split(|c: char| !c.is_ascii_alphanumeric()).next();
        lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).filter_map(name).collect()
    }

    #[test]
    fn every_event_has_a_test_and_a_line_in_docs_state() {
        let names = names_of_events();
        assert_eq!((names.len(), names.first(), names.last()), (31, Some(&"Pushed"), Some(&"Adopted")));
        let (_, tests) = include_str!("event.rs").split_once("mod tests {").unwrap();
        for name in names {
            let is_tested = tests.contains(&format!("Event::{name}"))
                || tests.contains(&format!("{}(", name.to_lowercase()));
            assert!(is_tested, "no test of {name}");
            for docs in [include_str!("../../docs/state.md"), include_str!("../../docs/state.zh-CN.md")] {
                assert!(docs.contains(&format!("\n| `{name}` |")), "docs/state: no line for {name}");
            }
        }
    }

    #[test]
    fn every_line_of_the_history_has_a_number_of_its_own_also_after_a_backup_was_restored() {
        let back = Announcing { leaves: Some(Worth::Bad), admission: only(&[1]), ..announcing(1) };
        let state = in_flight().after(&announced(back), &ann(NOW)).after(&Event::Retried, &ann(NOW));
        let ids: Vec<&str> = state.untold.iter().map(|told| told.id.as_str()).collect();
        let event = state.events - 1;
        let number = |event: u64, place: usize, at_s: i64| format!("{event}.{place}.{at_s}");
        let of_rollback = [0, 1, 2].map(|place| number(event, place, NOW));
        assert_eq!(ids, [&of_rollback[..], &[number(event + 1, 0, NOW)]].concat());
        // The same event, a second later.
        let restored = in_flight().after(&Event::Retried, &ann(NOW + 1));
        assert_eq!(restored.untold[0].id, number(event, 0, NOW + 1));
    }
}
