//! Others write here, too: scripts, and people with an editor. Before a tick plans, what it finds
//! is compared with the state; each difference has a name.

use crate::formats::announcement::{FIRST_INSTANCE, ServiceConfs};
use crate::formats::service_conf;
use crate::rollout::advance::{Fleet, Round};
use crate::rollout::event::Ending;
use crate::rollout::state::{Fate, Phase, Push, State};
use crate::version::Version;

/// `datamining_service/MODEL/status`, as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The version in it; original scripts may write none.
    pub version: Option<Version>,
    /// When it was written, in seconds since 1970.
    pub written_s: i64,
}

/// `datamining_plugin/MODEL/success`, as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// The version that it announces, if it holds one.
    pub announces: Option<Version>,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Device, inode, modification time and size.
    pub identity: String,
    /// When it was written, in seconds since 1970.
    pub arrived_s: i64,
}

impl Success {
    /// The push of this file.
    pub fn push(&self, fate: Fate) -> Push {
        Push {
            content: crate::formats::announcement::Bytes(self.content.clone()),
            announces: self.announces.clone(),
            identity: self.identity.clone(),
            arrived_s: self.arrived_s,
            fate,
            refusals: Vec::new(),
        }
    }
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// `status`.
    pub status: Option<Status>,
    /// `success`.
    pub success: Option<Success>,
    /// Every service.conf.
    pub confs: ServiceConfs,
}

impl Seen {
    /// The version that the first service.conf names, which is what scripts follow.
    pub fn named(&self) -> Option<Version> {
        let conf = self.confs.get(FIRST_INSTANCE).or_else(|| self.confs.values().next())?;
        Version::of_directory(service_conf::value(&conf.0, "moduleversion")?).ok()
    }

    /// Whether every service.conf names this version, in all three keys.
    pub fn all_name(&self, version: &Version) -> bool {
        let names = |source: &[u8]| {
            service_conf::announced(source).is_some_and(|named| named.version == version.as_str().as_bytes())
        };
        !self.confs.is_empty() && self.confs.values().all(|conf| names(&conf.0))
    }
}

/// What others did since the state was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Situation {
    /// Nothing.
    AsKnown,
    /// Other bytes for the version that is announced: a parameter, by hand.
    Edited(ServiceConfs),
    /// service.conf names another version that the ledger has: a person's command.
    ByHand(Version),
    /// It names one that the ledger does not have: a script published it, and its upgrade is in
    /// flight where `status` is there.
    ByScript(Version),
    /// `status` is there, and not by this toolkit; what it is about is not announced yet. The
    /// version that it names.
    ScriptAtWork(Option<Version>),
    /// `status` of the rollout in flight is gone, or another upgrade's: a script ended it.
    EndedByScript,
    /// A script's upgrade began before this toolkit's publication did.
    ScriptWasQuicker,
}

/// What others did. The state must be settled, but for a publication.
pub fn situation(state: &State, seen: &Seen) -> Situation {
    let publishing = state.publishing.as_ref();
    match &seen.status {
        None if state.is_in_flight() => return Situation::EndedByScript,
        None => {}
        Some(status) => {
            let is_of = |version: &Version| status.version.as_ref() == Some(version);
            let is_ours = state.status().is_some_and(is_of)
                || publishing.is_some_and(|publishing| is_of(&publishing.version));
            match (is_ours, state.is_in_flight(), publishing.is_some()) {
                (true, _, _) => {}
                (false, true, _) => return Situation::EndedByScript,
                (false, false, true) => return Situation::ScriptWasQuicker,
                (false, false, false) => return begun_by_script(seen, status),
            }
        }
    }
    edited(state, seen)
}

/// A script that announced its version is done with its part, however long the members take.
fn begun_by_script(seen: &Seen, status: &Status) -> Situation {
    match seen.named() {
        Some(named)
            if seen.all_name(&named) && status.version.as_ref().is_none_or(|version| *version == named) =>
        {
            Situation::ByScript(named)
        }
        _ => Situation::ScriptAtWork(status.version.clone()),
    }
}

fn edited(state: &State, seen: &Seen) -> Situation {
    let Some(named) = seen.named() else { return Situation::AsKnown };
    match &state.announced {
        // A script died over service.conf, too: its publication is done again.
        _ if state.half.as_ref() == Some(&named) => Situation::AsKnown,
        Some(announced) if *announced.version() == named => {
            if announced.offer.service_conf == seen.confs {
                Situation::AsKnown
            } else {
                Situation::Edited(seen.confs.clone())
            }
        }
        _ if state.release(&named).is_some() => Situation::ByHand(named),
        // Where nothing is announced yet this may be a template's; `plugin/VERSION` decides that.
        _ => Situation::ByScript(named),
    }
}

/// How a rollout ended that a script ended: well, where all that are known have it.
pub fn ended_by_script(state: &State, fleet: &Fleet) -> Option<Ending> {
    let announced = state.announced.as_ref()?;
    let nobody = Ending {
        phase: Phase::TimedOut,
        admission: announced.admission.clone(),
        members: state.members.len(),
        reported: Vec::new(),
        failed: Vec::new(),
        late: Vec::new(),
    };
    let Fleet::Known { members, .. } = fleet else { return Some(nobody) };
    let round = Round::of(announced, members);
    Some(round.by_others())
}

/// Whether `success` is the push that the state knows. `None` where its content is the same and its
/// place is not: then it is the same if the upload still holds what was published.
pub fn is_known(push: &Push, success: &Success) -> Option<bool> {
    match push.content.0 == success.content {
        false => Some(false),
        true if push.identity == success.identity => Some(true),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::formats::announcement::{Admission, Bytes};
    use crate::rollout::event::Event;
    use crate::rollout::fixtures::*;
    use crate::rollout::policy::Policy;
    use crate::rollout::state::{Publishing, Worth};
    use crate::rollout::verdict::Verdict;

    fn status(version: Option<Version>) -> Option<Status> {
        Some(Status { version, written_s: 0 })
    }

    /// service.conf names a version, and `status` is there or not.
    fn seen(named: u8, status: Option<Status>) -> Seen {
        Seen { status, success: None, confs: confs(&v(named)) }
    }

    /// Version 1 is confirmed, and 2 is rolled out to everybody.
    fn in_flight() -> State {
        rolling(confirmed(&[1]), 2, Admission::Everybody)
    }

    fn publishing(state: State, number: u8) -> State {
        after(state, &[Event::Began(Publishing { version: v(number), began_s: BEGIN })])
    }

    #[test]
    fn a_rollout_in_flight_with_its_status_is_as_known() {
        assert_eq!(situation(&in_flight(), &seen(2, status(Some(v(2))))), Situation::AsKnown);
    }

    #[test]
    fn a_rollout_that_has_ended_and_no_status_is_as_known() {
        assert_eq!(situation(&confirmed(&[1]), &seen(1, None)), Situation::AsKnown);
    }

    #[test]
    fn a_model_without_a_service_conf_is_as_known() {
        assert_eq!(situation(&confirmed(&[1]), &Seen::default()), Situation::AsKnown);
    }

    #[test]
    fn other_bytes_for_the_announced_version_are_an_edit() {
        let mut edited = seen(1, None);
        edited.confs.values_mut().for_each(|Bytes(bytes)| bytes.extend(b"param=2\n"));
        assert_eq!(situation(&confirmed(&[1]), &edited), Situation::Edited(edited.confs.clone()));
        let mut in_flight_edited = seen(2, status(Some(v(2))));
        in_flight_edited.confs.values_mut().for_each(|Bytes(bytes)| bytes.extend(b"param=2\n"));
        let confs = in_flight_edited.confs.clone();
        assert_eq!(situation(&in_flight(), &in_flight_edited), Situation::Edited(confs));
    }

    #[test]
    fn another_version_that_the_ledger_has_is_a_persons_command() {
        assert_eq!(situation(&confirmed(&[1, 2]), &seen(1, None)), Situation::ByHand(v(1)));
        let during = seen(1, status(Some(v(2))));
        assert_eq!(situation(&in_flight(), &during), Situation::ByHand(v(1)));
    }

    #[test]
    fn a_version_that_the_ledger_does_not_have_was_published_by_a_script() {
        assert_eq!(situation(&confirmed(&[1]), &seen(7, None)), Situation::ByScript(v(7)));
        assert_eq!(situation(&empty(), &seen(7, None)), Situation::ByScript(v(7)), "or by a template");
    }

    #[test]
    fn a_script_that_has_announced_its_version_is_done_however_long_the_members_take() {
        let known = confirmed(&[1]);
        assert_eq!(situation(&known, &seen(7, status(Some(v(7))))), Situation::ByScript(v(7)));
        assert_eq!(situation(&known, &seen(7, status(None))), Situation::ByScript(v(7)));
    }

    #[test]
    fn a_script_that_has_not_announced_its_version_is_at_work() {
        let known = confirmed(&[1]);
        assert_eq!(situation(&known, &seen(1, status(Some(v(7))))), Situation::ScriptAtWork(Some(v(7))));
        let mut half = seen(7, status(Some(v(7))));
        half.confs.insert("config_2".to_owned(), Bytes(conf(&v(1))));
        assert_eq!(situation(&known, &half), Situation::ScriptAtWork(Some(v(7))), "config_2 is not edited");
        let mut third = seen(7, status(None));
        third.confs.values_mut().for_each(|Bytes(bytes)| {
            *bytes = format!("modulepath=/p/{0}/lib/m.so\nmoduleversion={1}\n", v(1), v(7)).into();
        });
        assert_eq!(situation(&known, &third), Situation::ScriptAtWork(None), "modulepath is not edited");
    }

    #[test]
    fn a_rollout_in_flight_without_status_was_ended_by_a_script() {
        assert_eq!(situation(&in_flight(), &seen(2, None)), Situation::EndedByScript);
    }

    #[test]
    fn a_rollout_in_flight_with_another_status_was_ended_by_a_script_that_began_the_next() {
        assert_eq!(situation(&in_flight(), &seen(2, status(Some(v(7))))), Situation::EndedByScript);
        assert_eq!(situation(&in_flight(), &seen(2, status(None))), Situation::EndedByScript);
    }

    #[test]
    fn a_status_of_a_script_beside_a_publication_shows_that_the_script_was_quicker() {
        let state = publishing(confirmed(&[1]), 2);
        assert_eq!(situation(&state, &seen(1, status(Some(v(7))))), Situation::ScriptWasQuicker);
        assert_eq!(situation(&state, &seen(1, status(Some(v(2))))), Situation::AsKnown);
    }

    #[test]
    fn a_publication_that_lost_its_status_goes_on() {
        assert_eq!(situation(&publishing(confirmed(&[1]), 2), &seen(1, None)), Situation::AsKnown);
    }

    #[test]
    fn scripts_follow_the_first_service_conf() {
        let mut both = seen(1, None);
        both.confs.insert("config_2".to_owned(), Bytes(conf(&v(2))));
        assert_eq!(both.named(), Some(v(1)));
        assert!(!both.all_name(&v(1)));
        both.confs.remove("config_1");
        assert_eq!(both.named(), Some(v(2)));
        assert_eq!(Seen::default().named(), None);
        assert!(!Seen::default().all_name(&v(1)));
    }

    #[test]
    fn a_rollout_that_a_script_ended_ended_well_where_all_free_members_have_it() {
        let ended = |verdicts: &[Verdict]| {
            ended_by_script(&in_flight(), &fleet(verdicts, &Policy::default())).unwrap()
        };
        let well = ended(&[Verdict::Current, Verdict::Current, Verdict::Held]);
        assert_eq!((well.phase, well.reported.len(), well.members), (Phase::Done, 2, 3));
        let late = ended(&[Verdict::Current, Verdict::NotPolled]);
        assert_eq!((late.phase, late.late.len()), (Phase::TimedOut, 1));
        assert_eq!(ended(&[Verdict::Held]).phase, Phase::TimedOut, "nobody has it");
    }

    #[test]
    fn a_rollout_that_a_script_ended_while_the_members_are_unknown_confirms_nothing() {
        let state = State { members: members(&[1, 2]), ..in_flight() };
        for unknown in [Fleet::NoList, Fleet::Unknown(Error::failed("x"))] {
            let ending = ended_by_script(&state, &unknown).unwrap();
            assert_eq!((ending.phase, ending.members, ending.confirms()), (Phase::TimedOut, 2, false));
        }
        assert_eq!(ended_by_script(&empty(), &Fleet::NoList), None);
    }

    #[test]
    fn a_script_that_ends_a_canary_admits_nobody_else() {
        let state = rolling(confirmed(&[1]), 2, only(&[1]));
        let of = |verdicts: &[Verdict]| {
            ended_by_script(&state, &fleet(verdicts, &in_batches("1,100%"))).unwrap().admission
        };
        assert_eq!(of(&[Verdict::Current, Verdict::Waiting]), only(&[1]));
        assert_eq!(of(&[Verdict::Current, Verdict::Held]), only(&[1]));
        assert_eq!(of(&[Verdict::Current, Verdict::Current]), Admission::Everybody);
    }

    #[test]
    fn success_is_known_by_its_content_and_its_place() {
        let known = push(2);
        assert_eq!(is_known(&known, &success(2)), Some(true));
        assert_eq!(is_known(&known, &success(3)), Some(false));
        let copied = Success { identity: "2-9-9-15".to_owned(), ..success(2) };
        assert_eq!(is_known(&known, &copied), None, "a copy of the tree, or the same version once more");
        assert_eq!(confirmed(&[1]).worth(&v(1)), Some(Worth::Confirmed));
    }
}
