//! What this toolkit remembers about an upgrade, in `datamining_service/MODEL/.dispatch`: `status` alone cannot tell a
//! run that died from one that is at work, nor the `success` that was dispatched from the next one.

use std::fmt;

use crate::identity::Identity;
use crate::version::Version;

/// How far an upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From before `status` exists until every service.conf names the version. A run that holds the lock and finds this
    /// finds a run that died: it resumes (defect 3).
    Publishing,
    /// Every service.conf names the version; the members are expected to follow.
    Announced,
}

/// One line: phase, version, and the identity of the `success` that was dispatched (defect 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// How far the upgrade is.
    pub phase: Phase,
    /// The version.
    pub version: Version,
    /// The `success` that announced it.
    pub success: Identity,
}

impl Journal {
    /// Reads a journal; `None` where it is not one (it is then as good as missing).
    pub fn parse(bytes: &[u8]) -> Option<Journal> {
        let text = std::str::from_utf8(bytes).ok()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [phase, version, device, inode, modified_ns, size] = words[..] else { return None };
        let phase = match phase {
            "publishing" => Phase::Publishing,
            "announced" => Phase::Announced,
            _ => return None,
        };
        let success = Identity {
            device: device.parse().ok()?,
            inode: inode.parse().ok()?,
            modified_ns: modified_ns.parse().ok()?,
            size: size.parse().ok()?,
        };
        Some(Journal { phase, version: Version::parse(version.as_bytes()).ok()?, success })
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Publishing => "publishing",
            Phase::Announced => "announced",
        };
        let Identity { device, inode, modified_ns, size } = self.success;
        writeln!(f, "{phase} {} {device} {inode} {modified_ns} {size}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_back_as_written_and_garbage_is_none() {
        let journal = Journal {
            phase: Phase::Announced,
            version: Version::parse(b"20180413192258").unwrap(),
            success: Identity { device: 1, inode: 2, modified_ns: -3, size: 15 },
        };
        assert_eq!(Journal::parse(journal.to_string().as_bytes()), Some(journal));
        for garbage in ["", "announced", "announced x 1 2 3 4", "done 20180413192258 1 2 3 4", "\u{0}"] {
            assert_eq!(Journal::parse(garbage.as_bytes()), None);
        }
    }
}
