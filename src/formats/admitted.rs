//! `.admitted`: which members may take a version that is rolled out in batches (contract section 5, row 15). First the version,
//! then the members that were let in so far, a line each, and where the version before was never rolled out to all, a line
//! `withdrawn VERSION` for that. Written by `dispatch` before service.conf names the version, read by `service_polling` after
//! it has read service.conf; legacy pollers know nothing of it.

use crate::formats::Refusal;
use crate::names::Address;
use crate::version::Version;

/// Who may take a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The version.
    pub version: Version,
    /// The members that were let in.
    pub members: Vec<Address>,
    /// A version that nobody takes any more: service.conf may name it still, and this file says nothing else of it.
    pub withdrawn: Option<Version>,
}

/// What the line begins with that names such a version; no address has a blank.
const WITHDRAWN: &[u8] = b"withdrawn ";

impl Admitted {
    /// Reads the file. Fails at the first line that is not what it should be.
    pub fn parse(source: &[u8]) -> Result<Admitted, Refusal> {
        let (mut version, mut members, mut withdrawn, mut offset) = (None, Vec::new(), None, 0);
        for line in source.split_inclusive(|byte| *byte == b'\n') {
            let refused =
                |what: &str| Refusal::at(source, offset, what, "remove the file, and every member is let in");
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if version.is_none() {
                version = Some(Version::of_directory(text).map_err(|_| refused("this is not a version"))?);
            } else if let Some(text) = text.strip_prefix(WITHDRAWN)
                && withdrawn.is_none()
            {
                let named = Version::of_directory(text).map_err(|_| refused("this is not a version"))?;
                if version.as_ref() == Some(&named) {
                    return Err(refused("the version that is let in cannot be withdrawn"));
                }
                withdrawn = Some(named);
            } else {
                members.push(Address::parse(text).map_err(|_| refused("this is not an address"))?);
            }
            offset += line.len();
        }
        match version {
            Some(version) => Ok(Admitted { version, members, withdrawn }),
            None => Err(Refusal::at(source, 0, "the file is empty", "remove it, and every member is let in")),
        }
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        let mut text = format!("{}\n", self.version);
        self.members.iter().for_each(|member| {
            text.push_str(member.as_str());
            text.push('\n');
        });
        let mut text = text.into_bytes();
        if let Some(withdrawn) = &self.withdrawn {
            text.extend([WITHDRAWN, withdrawn.as_str().as_bytes(), b"\n"].concat());
        }
        text
    }

    /// Whether a member has to wait with a version. Of any other version this file says nothing.
    pub fn holds_back(&self, version: &Version, member: &Address) -> bool {
        let is_late = self.version == *version && !self.members.contains(member);
        is_late || self.withdrawn.as_ref() == Some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_as_written_and_anything_else_is_refused_with_its_line() {
        let address = |text: &str| Address::parse(text.as_bytes()).unwrap();
        let version = Version::parse(b"20180413192258").unwrap();
        for members in [vec![], vec![address("10.0.0.1"), address("h2")]] {
            for withdrawn in [None, Some(Version::parse(b"20180401120000").unwrap())] {
                let admitted = Admitted { version: version.clone(), members: members.clone(), withdrawn };
                assert_eq!(Admitted::parse(&admitted.render()), Ok(admitted));
            }
        }
        let line = |source: &str| Admitted::parse(source.as_bytes()).unwrap_err().line;
        assert_eq!(line(""), 1);
        assert_eq!(line("../x\n"), 1);
        assert_eq!(line("20180413192258\n10.0.0.1\n\n"), 3);
        assert_eq!(line("20180413192258\r\n10.0.0.1"), 1);
        assert_eq!(line("20180413192258\nwithdrawn ../x\n"), 2);
        assert_eq!(line("20180413192258\nwithdrawn 2\nwithdrawn 3\n"), 3);
        assert_eq!(line("20180413192258\nh2\nwithdrawn 20180413192258\n"), 3);
    }

    #[test]
    fn it_holds_back_whom_it_does_not_name_and_of_its_own_version_only() {
        let admitted = Admitted::parse(b"20180413192258\n10.0.0.1\n").unwrap();
        let holds_back = |version: &str, member: &str| {
            let version = Version::parse(version.as_bytes()).unwrap();
            admitted.holds_back(&version, &Address::parse(member.as_bytes()).unwrap())
        };
        assert!(!holds_back("20180413192258", "10.0.0.1"));
        assert!(holds_back("20180413192258", "10.0.0.11"));
        assert!(!holds_back("20180413192259", "10.0.0.11"));
    }

    #[test]
    fn nobody_takes_what_was_withdrawn() {
        let admitted = Admitted::parse(b"20180413192258\n10.0.0.1\nwithdrawn 20180401120000\n").unwrap();
        for (version, member, holds_back) in [
            ("20180401120000", "10.0.0.1", true),
            ("20180401120000", "10.0.0.2", true),
            ("20180413192258", "10.0.0.1", false),
            ("20180301120000", "10.0.0.2", false),
        ] {
            let (version, member) = (Version::parse(version.as_bytes()), Address::parse(member.as_bytes()));
            assert_eq!(admitted.holds_back(&version.unwrap(), &member.unwrap()), holds_back);
        }
    }
}
