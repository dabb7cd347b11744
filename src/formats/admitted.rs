//! `.admitted`: which members may take a version that is rolled out in batches (contract section 5, row 15). First the version,
//! then the members that were let in so far, a line each. Written by `dispatch` before service.conf names the version, read by
//! `service_polling`; legacy pollers know nothing of it.

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
}

impl Admitted {
    /// Reads the file. Fails at the first line that is not what it should be.
    pub fn parse(source: &[u8]) -> Result<Admitted, Refusal> {
        let (mut version, mut members, mut offset) = (None, Vec::new(), 0);
        for line in source.split_inclusive(|byte| *byte == b'\n') {
            let refused =
                |what: &str| Refusal::at(source, offset, what, "remove the file, and every member is let in");
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if version.is_none() {
                version = Some(Version::of_directory(text).map_err(|_| refused("this is not a version"))?);
            } else {
                members.push(Address::parse(text).map_err(|_| refused("this is not an address"))?);
            }
            offset += line.len();
        }
        match version {
            Some(version) => Ok(Admitted { version, members }),
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
        text.into_bytes()
    }

    /// Whether a member has to wait with a version. Of any other version this file says nothing.
    pub fn holds_back(&self, version: &Version, member: &Address) -> bool {
        self.version == *version && !self.members.contains(member)
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
            let admitted = Admitted { version: version.clone(), members };
            assert_eq!(Admitted::parse(&admitted.render()), Ok(admitted));
        }
        let line = |source: &str| Admitted::parse(source.as_bytes()).unwrap_err().line;
        assert_eq!(line(""), 1);
        assert_eq!(line("../x\n"), 1);
        assert_eq!(line("20180413192258\n10.0.0.1\n\n"), 3);
        assert_eq!(line("20180413192258\r\n10.0.0.1"), 1);
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
}
