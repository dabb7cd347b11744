//! What is there once actions are done: so a dry run goes on where a tick goes on, with the same decisions.

use crate::time::Seconds;
use crate::tools::dispatch::decide::{Action, Configuration, RolloutFacts, Status, Success};
use crate::tools::dispatch::journal::Journal;
use crate::version::Version;

/// What says which upgrade is in flight, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// The upgrade in flight.
    pub status: Option<Status>,
    /// The announced upload.
    pub success: Option<Success>,
    /// What an earlier run of this toolkit left.
    pub journal: Option<Journal>,
    /// Every `config_*/service.conf`, by name.
    pub configurations: Vec<Configuration>,
}

impl InFlight {
    /// The same once these actions are done, which is now: nobody else has done anything meanwhile.
    pub fn after(mut self, done: &[Action]) -> InFlight {
        for action in done {
            match action {
                Action::MarkInFlight(version) | Action::KeepInFlight(version) if self.status.is_none() => {
                    self.status = Some(begun(version));
                }
                Action::MarkInFlightAgain(version) => self.status = Some(begun(version)),
                Action::RemoveStatus(version) => self.end(version.as_ref()),
                Action::TakeBack(version) => {
                    self.end(Some(version));
                    self.journal = None;
                }
                Action::Record(journal) => self.journal = Some(journal.clone()),
                Action::RemoveJournal => self.journal = None,
                Action::RemoveSuccess(identity) => {
                    self.success = self.success.filter(|success| success.identity != *identity);
                }
                Action::ReplaceConfiguration(replacement) => {
                    let edited = self.configurations.iter_mut().filter(|c| c.path == replacement.path);
                    edited.for_each(|c| c.bytes.clone_from(&replacement.after));
                }
                _ => {}
            }
        }
        self
    }

    fn end(&mut self, version: Option<&Version>) {
        let of_another = |status: &Status| {
            version.is_some() && status.version.is_some() && status.version.as_ref() != version
        };
        self.status = self.status.take().filter(of_another);
    }
}

fn begun(version: &Version) -> Status {
    Status { age: Seconds(0), version: Some(version.clone()) }
}

impl RolloutFacts {
    /// The same once these actions are done.
    pub fn after(mut self, done: &[Action]) -> RolloutFacts {
        for action in done {
            match action {
                Action::Admit(admitted) => {
                    self.admitted = Some(admitted.clone());
                    self.confirmed = None;
                }
                Action::AdmitEverybody => self.admitted = None,
                Action::NoteRollout(note) => self.note = Some(note.clone()),
                Action::ForgetRollout => self.note = None,
                _ => {}
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::admitted::Admitted;
    use crate::identity::Identity;
    use crate::tools::dispatch::decide::{ConfirmedBatch, Replacement};
    use crate::tools::dispatch::journal::Phase;

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn journal(phase: Phase) -> Journal {
        let success = Identity { device: 1, inode: 7, modified_ns: 0, size: 15 };
        let (version, before, content) = (version("20180109"), Vec::new(), Vec::new());
        Journal { phase, version, success, begun_s: Some(9), before, content }
    }

    /// Nothing is in flight.
    fn at_rest() -> InFlight {
        let configuration =
            |n: u8| Configuration { path: format!("config_{n}/service.conf").into(), bytes: b"old".to_vec() };
        let content = b"20180109\n".to_vec();
        let success = Success {
            identity: journal(Phase::Publishing).success,
            age: Seconds(9),
            announces: Some(version("20180109")),
            content,
        };
        let configurations = vec![configuration(1), configuration(2)];
        InFlight { status: None, success: Some(success), journal: None, configurations }
    }

    #[test]
    fn a_publication_leaves_an_upgrade_that_has_just_begun() {
        let replaced = Replacement {
            path: "config_2/service.conf".into(),
            before: b"old".to_vec(),
            after: b"new".to_vec(),
        };
        let done = [
            Action::Record(journal(Phase::Publishing)),
            Action::MarkInFlight(version("20180109")),
            Action::ReplaceConfiguration(replaced),
            Action::KeepInFlight(version("20180110")),
            Action::Record(journal(Phase::Announced)),
        ];
        let after = at_rest().after(&done);
        assert_eq!(after.status, Some(begun(&version("20180109"))));
        assert_eq!(after.journal, Some(journal(Phase::Announced)));
        let bytes: Vec<&[u8]> = after.configurations.iter().map(|c| &c.bytes[..]).collect();
        assert_eq!(bytes, [b"old", b"new"]);
        assert_eq!(after.success, at_rest().success);
    }

    #[test]
    fn one_that_fails_leaves_what_was_there() {
        let done = [
            Action::Record(journal(Phase::Publishing)),
            Action::MarkInFlight(version("20180109")),
            Action::DiscardStaged(version("20180109")),
            Action::TakeBack(version("20180109")),
        ];
        assert_eq!(at_rest().after(&done), at_rest());
    }

    #[test]
    fn what_is_ended_is_this_upgrade_and_this_success() {
        let in_flight = at_rest().after(&[Action::MarkInFlight(version("20180109"))]);
        let ended = |by: Option<&str>| {
            in_flight.clone().after(&[Action::RemoveStatus(by.map(version))]).status.is_none()
        };
        assert_eq!([ended(None), ended(Some("20180109")), ended(Some("20180110"))], [true, true, false]);
        let removed = |identity| at_rest().after(&[Action::RemoveSuccess(identity)]).success.is_none();
        assert!(removed(journal(Phase::Announced).success));
        assert!(!removed(Identity::NONE));
    }

    #[test]
    fn who_is_let_in_is_as_the_actions_say() {
        let admitted = Admitted { version: version("20180109"), members: Vec::new(), withdrawn: None };
        let confirmed = (ConfirmedBatch { version: version("20180109"), admitted: 1 }, Seconds(3));
        let before = RolloutFacts { confirmed: Some(confirmed), ..RolloutFacts::default() };
        let after = before.after(&[Action::Admit(admitted.clone())]);
        assert_eq!((after.admitted.clone(), after.confirmed.clone()), (Some(admitted), None));
        assert_eq!(after.after(&[Action::AdmitEverybody]).admitted, None);
    }
}
