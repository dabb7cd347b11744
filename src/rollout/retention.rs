//! Which old versions may be deleted (defect 10).
//!
//! Bad, stopped and aborted ones go first, and count nothing. Of the others this number stays,
//! confirmed ones before those that are not, then the latest by sequence. Never deleted is what is
//! announced, what a member reports or last reported, the trusted version before the announced one,
//! what is pinned, pushed or being published; nothing at all while no version is trusted.

use crate::retention::Keep;
use crate::rollout::state::{State, Worth};
use crate::version::Version;

/// What is known of the versions.
#[derive(Debug, Clone)]
pub struct Versions<'a> {
    /// Every version in `plugin/`.
    pub present: &'a [Version],
    /// What every service.conf names.
    pub named: &'a [Version],
    /// What every report names, also those of hosts that are no members any more.
    pub reported: &'a [Version],
    /// What `success` and `status` name.
    pub pushed: &'a [Version],
}

/// Which versions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These; maybe none.
    Go(Vec<Version>),
    /// None, since none was ever confirmed: the only one that works may be any of them.
    NoneIsTrusted,
}

/// The versions that may go now, the earliest first.
pub fn expendable(state: &State, versions: &Versions, keep: Keep) -> Verdict {
    let is_trusted = |version: &Version| state.worth(version).is_some_and(Worth::is_trusted);
    if !versions.present.iter().any(is_trusted) {
        return Verdict::NoneIsTrusted;
    }
    let announced = state.announced.as_ref();
    let offers = announced.iter().flat_map(|announced| [Some(&announced.offer), announced.before.as_ref()]);
    let before = announced.and_then(|announced| {
        let mut trusted = state.trusted_before(announced.version());
        trusted.find(|release| versions.present.contains(&release.version)).map(|release| &release.version)
    });
    let protected: Vec<&Version> = [versions.named, versions.reported, versions.pushed]
        .into_iter()
        .flatten()
        .chain(offers.flatten().map(|offer| &offer.version))
        .chain(before)
        .chain(state.pin.as_ref().map(|pin| &pin.version))
        .chain(state.publishing.as_ref().map(|publishing| &publishing.version))
        .collect();
    let mut left: Vec<&Version> =
        versions.present.iter().filter(|version| !protected.contains(version)).collect();
    // Those that the ledger does not know were there before it.
    let place = |version: &Version| state.release(version).map_or(0, |release| release.sequence);
    let counts = |version: &Version| {
        !matches!(state.worth(version), Some(Worth::Bad | Worth::Stopped | Worth::Aborted))
    };
    let (mut counted, mut goes): (Vec<&Version>, Vec<&Version>) =
        std::mem::take(&mut left).into_iter().partition(|version| counts(version));
    counted.sort_by(|a, b| (is_trusted(b), place(b), *b).cmp(&(is_trusted(a), place(a), *a)));
    goes.extend(counted.into_iter().skip(keep.count()));
    goes.sort_by(|a, b| (place(a), *a).cmp(&(place(b), *b)));
    Verdict::Go(goes.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::Admission;
    use crate::rollout::event::Event;
    use crate::rollout::fixtures::*;
    use crate::rollout::state::{Pin, Publishing};

    fn numbered(numbers: &[u8]) -> Vec<Version> {
        numbers.iter().map(|number| v(*number)).collect()
    }

    fn keep(count: &str) -> Keep {
        Keep::parse(count.as_bytes()).unwrap()
    }

    /// Which of these versions go, where this number is kept; besides what is announced, members
    /// report these.
    fn goes(state: &State, present: &[u8], reported: &[u8], count: &str) -> Verdict {
        let (present, reported) = (numbered(present), numbered(reported));
        let versions = Versions { present: &present, named: &[], reported: &reported, pushed: &[] };
        expendable(state, &versions, keep(count))
    }

    fn go(numbers: &[u8]) -> Verdict {
        Verdict::Go(numbered(numbers))
    }

    #[test]
    fn bad_stopped_and_aborted_versions_go_first_and_count_nothing() {
        let worths = [
            (1, Worth::Confirmed),
            (2, Worth::Bad),
            (3, Worth::Stopped),
            (4, Worth::Aborted),
            (5, Worth::Confirmed),
        ];
        assert_eq!(goes(&ledger(&worths), &[1, 2, 3, 4, 5], &[], "2"), go(&[2, 3, 4]));
    }

    #[test]
    fn confirmed_versions_are_kept_before_those_that_are_not() {
        let worths = [
            (1, Worth::Confirmed),
            (2, Worth::TimedOut),
            (3, Worth::Left),
            (4, Worth::Published),
            (5, Worth::RollingOut),
        ];
        assert_eq!(goes(&ledger(&worths), &[1, 2, 3, 4, 5], &[], "1"), go(&[2, 3, 4, 5]));
        assert_eq!(goes(&ledger(&worths), &[1, 2, 3, 4, 5], &[], "3"), go(&[2, 3]));
    }

    #[test]
    fn the_latest_by_sequence_are_kept_whatever_they_are_called() {
        let worths = [(9, Worth::Confirmed), (1, Worth::Confirmed), (5, Worth::Good)];
        assert_eq!(goes(&ledger(&worths), &[1, 5, 9], &[], "1"), go(&[9, 1]));
    }

    #[test]
    fn versions_that_the_ledger_does_not_know_go_before_those_that_it_knows() {
        assert_eq!(goes(&ledger(&[(1, Worth::Confirmed)]), &[1, 7, 8], &[], "2"), go(&[7]));
    }

    #[test]
    fn nothing_goes_while_no_version_that_is_there_is_trusted() {
        let state = ledger(&[(1, Worth::Confirmed), (2, Worth::Bad), (3, Worth::TimedOut)]);
        assert_eq!(goes(&state, &[2, 3], &[], "1"), Verdict::NoneIsTrusted);
        assert_eq!(goes(&empty(), &[], &[], "1"), Verdict::NoneIsTrusted);
    }

    #[test]
    fn the_only_version_that_ever_worked_stays_beside_any_number_that_failed() {
        let worths = [
            (1, Worth::Confirmed),
            (2, Worth::Stopped),
            (3, Worth::TimedOut),
            (4, Worth::TimedOut),
            (5, Worth::TimedOut),
        ];
        assert_eq!(goes(&ledger(&worths), &[1, 2, 3, 4, 5], &[], "2"), go(&[2, 3, 4]));
    }

    #[test]
    fn what_is_announced_and_the_trusted_version_before_it_stay() {
        let state = confirmed(&[1, 2, 3, 4, 5]);
        assert_eq!(goes(&state, &[1, 2, 3, 4, 5], &[], "1"), go(&[1, 2]), "5 and 4 do not count");
    }

    #[test]
    fn what_the_announcement_offers_to_members_that_are_not_admitted_stays() {
        let mut state = rolling(confirmed(&[1, 2, 3]), 4, only(&[1]));
        state.announced.as_mut().unwrap().before = Some(offer(1));
        assert_eq!(goes(&state, &[1, 2, 3, 4], &[], "1"), go(&[]));
        state.announced.as_mut().unwrap().before = None;
        assert_eq!(goes(&state, &[1, 2, 3, 4], &[], "1"), go(&[1]));
    }

    #[test]
    fn what_a_member_reports_stays_even_if_it_is_bad() {
        let state = confirmed(&[1, 2, 3, 4]);
        let state = after(state, &[Event::Marked { version: v(1), worth: Worth::Bad }]);
        assert_eq!(goes(&state, &[1, 2, 3, 4], &[1], "1"), go(&[]));
        assert_eq!(goes(&state, &[1, 2, 3, 4], &[], "1"), go(&[1]));
    }

    #[test]
    fn what_service_conf_names_or_is_pushed_pinned_or_being_published_stays() {
        let mut state = confirmed(&[1, 2, 3, 4, 5, 6, 7, 8]);
        state.pin = Some(Pin { version: v(1), mark: at(BEGIN).mark() });
        state.publishing = Some(Publishing { version: v(2), began_s: BEGIN });
        let (present, named, pushed) = (numbered(&[1, 2, 3, 4, 5, 6, 7, 8]), [v(3)], [v(4)]);
        let versions = Versions { present: &present, named: &named, reported: &[], pushed: &pushed };
        assert_eq!(expendable(&state, &versions, keep("1")), go(&[5]), "8 and 7 are announced and before");
    }

    #[test]
    fn after_a_rollback_the_version_that_works_stays() {
        let state = rolling(confirmed(&[1]), 2, Admission::Everybody);
        let mut back = announcing(1);
        back.leaves = Some(Worth::Bad);
        let state = after(state, &[announced(back)]);
        assert_eq!(goes(&state, &[1, 2], &[], "1"), go(&[2]));
    }
}
