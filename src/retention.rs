//! Which published versions are kept: a rule that monitor and members share (defect 10).

use std::num::NonZeroU32;

use crate::error::{Error, Result};
use crate::names::{number, shown};
use crate::version::Version;

/// How many versions are kept besides those that are protected: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(NonZeroU32);

impl Keep {
    /// The number.
    pub fn count(self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(usize::MAX)
    }

    /// Parses a number of versions, 1 to 999999. Fails (exit 2) on anything else.
    pub fn parse(bytes: &[u8]) -> Result<Keep> {
        number::<NonZeroU32>(bytes, 6).map(Keep).ok_or_else(|| {
            Error::usage(format!("{} is not a number of versions to keep; use 1 or more", shown(bytes)))
        })
    }
}

/// The versions that may go, the oldest first: those that are neither protected nor among the newest `keep` of the others. Bad
/// ones do not count among these: a few bad releases must not push the good ones out.
/// Versions are ordered by their names and never by a time of modification, which a copy or a touch changes.
pub fn expendable(
    mut present: Vec<Version>,
    protected: &[Version],
    bad: &[Version],
    Keep(keep): Keep,
) -> Vec<Version> {
    present.retain(|version| !protected.contains(version));
    present.sort();
    let is_bad = |version: &Version| bad.contains(version);
    let good = present.iter().filter(|version| !is_bad(version)).count();
    let mut left = good.saturating_sub(usize::try_from(keep.get()).unwrap_or(usize::MAX));
    let mut goes = |version: &Version| {
        let goes = is_bad(version) || left > 0;
        left -= usize::from(!is_bad(version) && left > 0);
        goes
    };
    present.retain(|version| goes(version));
    present
}

/// What was deleted, as the log says it.
pub fn deleted(versions: &[Version], bytes: u64) -> String {
    format!("deleted {}", summary(versions, bytes))
}

/// What would be deleted.
pub fn would_be_deleted(versions: &[Version], bytes: u64) -> String {
    format!("would delete {}", summary(versions, bytes))
}

fn summary(versions: &[Version], bytes: u64) -> String {
    match versions {
        [only] => format!("1 old version ({only}), {bytes} bytes"),
        [oldest, .., newest] => {
            format!("{} old versions ({oldest} to {newest}), {bytes} bytes", versions.len())
        }
        [] => "no old version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(names: &[&str]) -> Vec<Version> {
        names.iter().map(|name| Version::parse(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn the_newest_by_name_are_kept_besides_the_protected() {
        let present = || versions(&["20180103", "20180105", "20180101", "20180104", "20180102"]);
        let keep = |n: &str| Keep::parse(n.as_bytes()).unwrap();
        let protected = versions(&["20180105", "20180101"]);
        assert_eq!(expendable(present(), &protected, &[], keep("1")), versions(&["20180102", "20180103"]));
        assert_eq!(expendable(present(), &protected, &[], keep("2")), versions(&["20180102"]));
        assert_eq!(expendable(present(), &protected, &[], keep("3")), []);
        assert_eq!(expendable(present(), &protected, &[], keep("999999")), []);
        assert_eq!(expendable(Vec::new(), &protected, &[], keep("1")), []);
    }

    #[test]
    fn bad_ones_go_and_do_not_count() {
        let present = versions(&["20180101", "20180102", "20180103", "20180104", "20180105"]);
        let bad = versions(&["20180103", "20180104", "20180105"]);
        let keep = |n: &str, protected: &[&str]| {
            let keep = Keep::parse(n.as_bytes()).unwrap();
            expendable(present.clone(), &versions(protected), &bad, keep)
        };
        assert_eq!(keep("2", &[]), bad);
        assert_eq!(keep("1", &["20180104"]), versions(&["20180101", "20180103", "20180105"]));
    }

    #[test]
    fn to_keep_none_is_refused() {
        for bad in ["0", "", "-1", "all", "1000000", "1.5", "+1"] {
            assert!(Keep::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
