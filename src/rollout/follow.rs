//! What a member does about what its monitor says: the announcement, and service.conf, which
//! scripts follow.
//!
//! The announcement decides. service.conf must fit it: where it does not, or where there is no
//! announcement any more, somebody else writes on the monitor, and the member waits until a tick
//! has settled that. After [`PATIENCE`] polls nobody announces there any more; then the member does
//! what the script does, but never takes a version whose announcement did not admit it, never takes
//! one again that it had before, and stays held if it was.

use serde::{Deserialize, Serialize};

use crate::formats::announcement::{Announcement, Numbers, Offer, Said};
use crate::formats::service_conf;
use crate::names::Address;
use crate::version::Version;

/// The number of polls in a row without an announcement that fits, after which a member follows
/// service.conf.
pub const PATIENCE: u32 = 10;

/// How many versions a member remembers that it had, or was not admitted to.
const REMEMBERED: usize = 50;

/// What a member remembers of its monitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The monitor's address; another one begins anew.
    #[serde(default)]
    pub monitor: String,
    /// The highest numbers that it announced; `None`: it never announced anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Numbers>,
    /// How many polls in a row found no announcement that fits.
    #[serde(default)]
    pub misfits: u32,
    /// Whether it held this member when it last announced.
    #[serde(default)]
    pub is_held: bool,
    /// The versions that this member was not admitted to when they were announced last.
    #[serde(default)]
    pub not_admitted: Vec<Version>,
    /// The versions that were installed here and left.
    #[serde(default)]
    pub had: Vec<Version>,
}

/// What the monitor has of its announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It has none.
    Nothing,
    /// It has one that cannot be read.
    Unreadable,
    /// This.
    Said(Said),
}

/// What is installed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Installed<'a> {
    /// The installed service.conf; `None` where nothing is installed, or what is installed never
    /// came up.
    pub conf: Option<&'a [u8]>,
    /// Whether it came up.
    pub works: bool,
}

/// What the member does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: what is installed is what is to be, or nothing is for this member.
    Stay,
    /// Installs this offer, unless it is installed.
    Take {
        /// What.
        offer: Offer,
        /// A service.conf that failed is tried again when this grew.
        attempt: u32,
    },
    /// Installs the monitor's service.conf as a script does, unless it is installed.
    AsScript,
    /// Waits, for this reason.
    Wait(Reason),
}

/// Why a member waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// service.conf names what the announcement does not.
    Misfit,
    /// There was an announcement, and there is none any more.
    Gone,
    /// It cannot be read.
    Unreadable,
    /// It has a lower number than one that was seen: the monitor was restored from a backup.
    Behind,
    /// The monitor is held back by scripts, and by the rules above this version is not for this
    /// member.
    NotForThisMember,
}

impl Memory {
    /// What the member does, and what it remembers from now on.
    pub fn follow(
        mut self,
        monitor: &str,
        heard: &Heard,
        service_conf: &[u8],
        installed: Installed,
        member: &Address,
    ) -> (Step, Memory) {
        if self.monitor != monitor {
            // What it had was another monitor's, too.
            self = Memory { monitor: monitor.to_owned(), ..Memory::default() };
        }
        let step = match heard {
            Heard::Said(Said::Announcement(announcement)) => {
                self.follow_announcement(announcement, service_conf, installed, member)
            }
            Heard::Said(Said::FollowServiceConf) => self.as_script(service_conf, installed),
            Heard::Nothing if self.seen.is_none() => Step::AsScript,
            Heard::Nothing => self.misfit(Reason::Gone, service_conf, installed),
            Heard::Unreadable if self.seen.is_none() => Step::Wait(Reason::Unreadable),
            Heard::Unreadable => self.misfit(Reason::Unreadable, service_conf, installed),
        };
        (step, self)
    }

    fn follow_announcement(
        &mut self,
        announcement: &Announcement,
        service_conf: &[u8],
        installed: Installed,
        member: &Address,
    ) -> Step {
        let numbers = Numbers { epoch: announcement.epoch, sequence: announcement.sequence };
        if self.seen.is_some_and(|seen| numbers < seen) {
            return Step::Wait(Reason::Behind);
        }
        self.seen = Some(numbers);
        self.is_held = announcement.held.contains(member);
        let is_admitted = announcement.admitted.admits(member);
        if let Some(target) = &announcement.target {
            self.not_admitted.retain(|version| *version != target.version);
            if !is_admitted {
                remember(&mut self.not_admitted, &target.version);
            }
        }
        let Some(target) = &announcement.target else {
            // Before the first version: whatever stands in service.conf, nobody has announced it.
            self.misfits = 0;
            return Step::Stay;
        };
        if target.conf() != Some(service_conf) {
            return self.misfit(Reason::Misfit, service_conf, installed);
        }
        self.misfits = 0;
        if self.is_held {
            return Step::Stay;
        }
        // An edit of the version that it has reaches also a member that would not be admitted to it
        // now.
        let has_it = installed.works && installed.conf.and_then(version_in).as_ref() == Some(&target.version);
        let offer = match (is_admitted || has_it, &announcement.before) {
            (true, _) => target,
            // A member that serves something goes on with it; a restart for nothing is one too
            // many.
            (false, Some(before)) if !(installed.works && installed.conf.is_some()) => before,
            (false, _) => return Step::Stay,
        };
        Step::Take { offer: offer.clone(), attempt: announcement.attempt }
    }

    fn misfit(&mut self, reason: Reason, service_conf: &[u8], installed: Installed) -> Step {
        self.misfits = self.misfits.saturating_add(1);
        if self.misfits <= PATIENCE { Step::Wait(reason) } else { self.as_script(service_conf, installed) }
    }

    fn as_script(&mut self, service_conf: &[u8], installed: Installed) -> Step {
        if installed.conf == Some(service_conf) {
            return Step::AsScript;
        }
        let named = version_in(service_conf);
        let is_installed = named.is_some() && installed.conf.and_then(version_in) == named;
        let is_kept_out = named.as_ref().is_some_and(|version| {
            self.not_admitted.contains(version) || !is_installed && self.had.contains(version)
        });
        if self.is_held || is_kept_out { Step::Wait(Reason::NotForThisMember) } else { Step::AsScript }
    }

    /// A version is installed in place of another.
    pub fn leave(&mut self, left: Option<&Version>, taken: &Version) {
        self.had.retain(|version| version != taken);
        if let Some(left) = left.filter(|left| *left != taken) {
            remember(&mut self.had, left);
        }
    }
}

fn remember(versions: &mut Vec<Version>, version: &Version) {
    versions.retain(|known| known != version);
    versions.push(version.clone());
    let surplus = versions.len().saturating_sub(REMEMBERED);
    versions.drain(..surplus);
}

fn version_in(conf: &[u8]) -> Option<Version> {
    Version::of_directory(service_conf::value(conf, "moduleversion")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::Admission;
    use crate::rollout::fixtures::*;
    use crate::rollout::state::State;

    const MONITOR: &str = "10.0.0.9";

    /// A member, what it has installed, and what it remembers.
    struct Member {
        memory: Memory,
        installed: Option<Vec<u8>>,
        works: bool,
    }

    impl Member {
        /// One that has a version, which it was told of by this monitor's first announcement.
        fn with(number: u8) -> Member {
            let mut member = Member { installed: Some(conf(&v(number))), ..Member::new() };
            member.hears(&confirmed(&[number]));
            member
        }

        /// One that has nothing and remembers nothing.
        fn new() -> Member {
            Member { memory: Memory::default(), installed: None, works: true }
        }

        /// A poll of member 1.
        fn polls(&mut self, heard: &Heard, service_conf: &[u8]) -> Step {
            let installed = Installed { conf: self.installed.as_deref(), works: self.works };
            let (step, memory) = self.memory.clone().follow(MONITOR, heard, service_conf, installed, &a(1));
            self.memory = memory;
            step
        }

        /// A poll of a monitor whose files say what its state says.
        fn hears(&mut self, state: &State) -> Step {
            let target = state.announced.as_ref().map(|announced| announced.version().clone());
            self.polls(&said(state), &target.map(|version| conf(&version)).unwrap_or_default())
        }

        /// The last of so many polls without an announcement.
        fn polls_without(&mut self, times: u32, service_conf: &[u8]) -> Step {
            (1..times).for_each(|_| drop(self.polls(&Heard::Nothing, service_conf)));
            self.polls(&Heard::Nothing, service_conf)
        }

        /// It installs a version.
        fn installs(&mut self, number: u8) {
            let left = self.installed.as_deref().and_then(version_in);
            self.memory.leave(left.as_ref(), &v(number));
            self.installed = Some(conf(&v(number)));
        }
    }

    fn said(state: &State) -> Heard {
        Heard::Said(Said::Announcement(Box::new(state.announcement())))
    }

    /// It installs a version, in an attempt: each announcement raises it.
    fn take(number: u8, attempt: u32) -> Step {
        Step::Take { offer: offer(number), attempt }
    }

    /// Version 1 is confirmed, and 2 is rolled out to these members.
    fn to(numbers: &[u8]) -> State {
        rolling(confirmed(&[1]), 2, only(numbers))
    }

    fn to_all() -> State {
        rolling(confirmed(&[1]), 2, Admission::Everybody)
    }

    fn edited(number: u8) -> Vec<u8> {
        [conf(&v(number)), b"param=2\n".to_vec()].concat()
    }

    // An announcement that service.conf fits.

    #[test]
    fn an_admitted_member_takes_the_target() {
        assert_eq!(Member::with(1).hears(&to(&[1])), take(2, 1));
        assert_eq!(Member::with(1).hears(&to_all()), take(2, 1));
    }

    #[test]
    fn a_member_that_has_the_target_is_offered_it_again_which_changes_nothing() {
        assert_eq!(Member::with(2).hears(&to(&[1])), take(2, 1));
    }

    #[test]
    fn a_member_that_is_not_admitted_stays_and_remembers_that() {
        let mut member = Member::with(1);
        assert_eq!(member.hears(&to(&[2])), Step::Stay);
        assert_eq!(member.memory.not_admitted, [v(2)]);
    }

    #[test]
    fn a_member_that_is_admitted_later_forgets_that_it_was_not() {
        let mut member = Member::with(1);
        member.hears(&to(&[2]));
        assert_eq!(member.hears(&to(&[2, 1])), take(2, 1));
        assert!(member.memory.not_admitted.is_empty());
    }

    #[test]
    fn a_member_that_comes_back_empty_and_is_not_admitted_gets_the_version_before() {
        assert_eq!(Member::new().hears(&to(&[2])), take(1, 1));
        let mut failed = Member { works: false, ..Member::with(2) };
        assert_eq!(failed.hears(&to(&[2])), take(1, 1), "also one whose version never came up");
    }

    #[test]
    fn an_empty_member_stays_empty_where_there_is_no_version_before() {
        let first = rolling(empty(), 1, only(&[2]));
        assert_eq!(Member::new().hears(&first), Step::Stay);
    }

    #[test]
    fn a_held_member_stays_even_if_it_is_admitted_or_empty() {
        let held = |state: State| State { held: members(&[1]), ..state };
        assert_eq!(Member::with(1).hears(&held(to_all())), Step::Stay);
        assert_eq!(Member::new().hears(&held(to_all())), Step::Stay);
        let mut member = Member::with(1);
        member.hears(&held(to_all()));
        assert_eq!(member.hears(&to_all()), take(2, 1), "until its hold ends");
    }

    #[test]
    fn an_edit_reaches_whoever_has_the_version_and_nobody_else() {
        let mut state = to(&[2]);
        let confs = [("config_1".to_owned(), crate::formats::announcement::Bytes(edited(2)))].into();
        state = after(state, &[crate::rollout::event::Event::Edited(confs)]);
        let poll = |mut member: Member| member.polls(&said(&state), &edited(2));
        let Step::Take { offer, .. } = poll(Member::with(2)) else { panic!("it was not taken") };
        assert_eq!(offer.conf(), Some(edited(2).as_slice()));
        assert_eq!(poll(Member::with(1)), Step::Stay);
    }

    #[test]
    fn the_attempt_goes_with_the_offer() {
        let retried = after(to_all(), &[crate::rollout::event::Event::Retried]);
        assert_eq!(Member::with(1).hears(&retried), take(2, 2));
    }

    #[test]
    fn before_the_first_version_a_member_stays_whatever_service_conf_says() {
        assert_eq!(Member::with(1).polls(&said(&State { epoch: BEGIN + 1, ..empty() }), b"x"), Step::Stay);
    }

    // Numbers.

    #[test]
    fn a_lower_number_moves_nothing_and_is_not_remembered() {
        let mut member = Member::with(1);
        let later = to_all();
        member.hears(&later);
        let seen = member.memory.seen;
        let restored = State { held: members(&[1]), ..confirmed(&[1]) };
        for _ in 0..PATIENCE + 5 {
            assert_eq!(member.hears(&restored), Step::Wait(Reason::Behind));
        }
        assert_eq!((member.memory.seen, member.memory.is_held), (seen, false));
        let adopted = State { epoch: BEGIN + 1, ..confirmed(&[1]) };
        assert_eq!(member.hears(&adopted), take(1, 0), "an adopted monitor is followed");
    }

    #[test]
    fn an_earlier_announcement_of_the_same_rollout_moves_nothing() {
        let mut member = Member::with(1);
        let admits_it = to(&[1]);
        let pause = crate::rollout::event::Event::Paused { admission: only(&[]) };
        let paused = after(admits_it.clone(), &[pause]);
        assert_eq!(member.hears(&paused), Step::Stay);
        assert_eq!(member.hears(&admits_it), Step::Wait(Reason::Behind), "it was admitted once");
        assert_eq!(member.memory.not_admitted, [v(2)]);
    }

    #[test]
    fn a_member_that_failed_hears_of_another_attempt_when_the_version_is_announced_again() {
        let mut member = Member::with(1);
        assert_eq!(member.hears(&to_all()), take(2, 1));
        let back = after(to_all(), &[announced(announcing(1))]);
        assert_eq!(member.hears(&back), take(1, 2));
        let again = after(back, &[announced(announcing(2))]);
        assert_eq!(member.hears(&again), take(2, 3));
    }

    #[test]
    fn a_member_of_another_monitor_begins_anew() {
        let mut member = Member::with(1);
        member.hears(&State { held: members(&[1]), ..to_all() });
        let installed = Installed { conf: member.installed.as_deref(), works: true };
        let earlier = State { epoch: BEGIN - 99, ..to_all() };
        let (step, memory) =
            member.memory.clone().follow("10.0.0.8", &said(&earlier), &conf(&v(2)), installed, &a(1));
        assert_eq!((step, memory.monitor.as_str()), (take(2, 1), "10.0.0.8"));
        assert_eq!(memory.seen.map(|seen| seen.epoch), Some(BEGIN - 99));
    }

    // Where others write, too.

    #[test]
    fn without_any_announcement_ever_a_member_does_what_the_script_does() {
        assert_eq!(Member::new().polls(&Heard::Nothing, &conf(&v(1))), Step::AsScript);
    }

    #[test]
    fn an_announcement_that_cannot_be_read_is_not_taken_for_none() {
        let mut new = Member::new();
        for _ in 0..PATIENCE + 5 {
            assert_eq!(new.polls(&Heard::Unreadable, &conf(&v(1))), Step::Wait(Reason::Unreadable));
        }
        assert_eq!(Member::with(1).polls(&Heard::Unreadable, &conf(&v(2))), Step::Wait(Reason::Unreadable));
    }

    #[test]
    fn a_service_conf_that_does_not_fit_is_waited_for_ten_polls_and_then_followed() {
        let mut member = Member::with(1);
        for _ in 0..PATIENCE {
            assert_eq!(member.polls(&said(&confirmed(&[1])), &conf(&v(7))), Step::Wait(Reason::Misfit));
        }
        assert_eq!(member.polls(&said(&confirmed(&[1])), &conf(&v(7))), Step::AsScript);
    }

    #[test]
    fn an_announcement_that_is_gone_is_waited_for_ten_polls() {
        let mut member = Member::with(1);
        assert_eq!(member.polls_without(PATIENCE, &conf(&v(7))), Step::Wait(Reason::Gone));
        assert_eq!(member.polls_without(1, &conf(&v(7))), Step::AsScript);
    }

    #[test]
    fn one_that_fits_in_between_makes_the_count_begin_anew() {
        let mut member = Member::with(1);
        member.polls_without(PATIENCE, &conf(&v(7)));
        member.hears(&confirmed(&[1]));
        assert_eq!(member.polls_without(PATIENCE, &conf(&v(7))), Step::Wait(Reason::Gone));
    }

    #[test]
    fn follow_service_conf_is_followed_at_once() {
        let follow = Heard::Said(Said::FollowServiceConf);
        assert_eq!(Member::with(1).polls(&follow, &conf(&v(7))), Step::AsScript);
        let held = &mut Member::with(1);
        held.hears(&State { held: members(&[1]), ..confirmed(&[1]) });
        assert_eq!(held.polls(&follow, &conf(&v(7))), Step::Wait(Reason::NotForThisMember));
    }

    #[test]
    fn by_that_road_it_never_takes_a_version_whose_announcement_did_not_admit_it() {
        let mut member = Member::with(1);
        member.hears(&to(&[2]));
        assert_eq!(member.polls_without(99, &conf(&v(2))), Step::Wait(Reason::NotForThisMember));
        assert_eq!(
            member.polls_without(1, &conf(&v(3))),
            Step::AsScript,
            "a later one that a script published"
        );
    }

    #[test]
    fn by_that_road_it_never_goes_back_to_a_version_that_it_had() {
        let mut member = Member::with(1);
        member.hears(&to_all());
        member.installs(2);
        assert_eq!(member.polls_without(99, &conf(&v(1))), Step::Wait(Reason::NotForThisMember));
    }

    #[test]
    fn by_that_road_it_stays_held_if_it_was() {
        let mut member = Member::with(1);
        member.hears(&State { held: members(&[1]), ..confirmed(&[1]) });
        assert_eq!(member.polls_without(99, &conf(&v(7))), Step::Wait(Reason::NotForThisMember));
    }

    #[test]
    fn by_that_road_it_takes_an_edit_of_the_version_that_it_has() {
        let mut member = Member::with(1);
        assert_eq!(member.polls_without(99, &edited(1)), Step::AsScript);
    }

    #[test]
    fn a_monitor_that_announces_again_may_send_it_back() {
        let mut member = Member::with(1);
        member.hears(&to_all());
        member.installs(2);
        let back = after(to_all(), &[announced(announcing(1))]);
        assert_eq!(member.hears(&back), take(1, 2));
    }

    #[test]
    fn a_version_that_is_installed_is_no_more_one_that_it_had() {
        let mut memory = Memory::default();
        memory.leave(None, &v(1));
        assert!(memory.had.is_empty());
        memory.leave(Some(&v(1)), &v(2));
        memory.leave(Some(&v(2)), &v(1));
        assert_eq!(memory.had, [v(2)]);
        memory.leave(Some(&v(1)), &v(1));
        assert_eq!(memory.had, [v(2)], "installed once more");
    }

    #[test]
    fn it_remembers_the_last_fifty_versions() {
        let mut memory = Memory::default();
        (1..=60).for_each(|number| memory.leave(Some(&v(number)), &v(number + 1)));
        assert_eq!((memory.had.len(), &memory.had[0], &memory.had[49]), (50, &v(11), &v(60)));
    }

    #[test]
    fn a_memory_is_read_back_as_written_and_one_without_fields_is_new() {
        let mut member = Member::with(1);
        member.hears(&to(&[2]));
        let text = serde_json::to_string(&member.memory).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), member.memory);
        assert_eq!(serde_json::from_str::<Memory>("{\"colour\": \"red\"}").unwrap(), Memory::default());
    }
}
