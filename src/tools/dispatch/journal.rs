//! What this toolkit remembers about an upgrade, in `datamining_service/MODEL/.dispatch`: `status` alone cannot tell a
//! run that died from one that is at work, nor the `success` that was dispatched from the next one.

use crate::identity::Identity;
use crate::version::Version;

/// How far an upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From before `status` exists until `plugin/VERSION` is whole. A run that holds the lock and finds this, or the next,
    /// finds a run that died: it resumes (defect 3).
    Publishing,
    /// From then on until every service.conf names the version. It is finished from `plugin/VERSION`, whatever has become
    /// of the upload.
    Published,
    /// A version that was published before is announced again, until every service.conf names it. It is finished from what
    /// this journal says.
    RollingBack,
    /// Every service.conf names the version; the members are expected to follow.
    Announced,
}

/// A line: phase, version, the identity of the `success` that was dispatched (defect 4), `@` and when the upgrade began, and what
/// was announced before; then what that `success` held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// How far the upgrade is.
    pub phase: Phase,
    /// The version.
    pub version: Version,
    /// The `success` that announced it.
    pub success: Identity,
    /// When the upgrade began, in seconds since 1970: `status` is written again while it goes on. `None` where an earlier build
    /// wrote the journal.
    pub begun_s: Option<i64>,
    /// What the service.conf files announced before it, to go back to.
    pub before: Vec<Version>,
    /// The bytes of that `success`: a script's check may remove it before it is dispatched. Of a rollback, what is noted
    /// about it.
    pub content: Vec<u8>,
}

impl Journal {
    /// Reads a journal; `None` where it is not one (it is then as good as missing).
    pub fn parse(bytes: &[u8]) -> Option<Journal> {
        let line = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        let text = std::str::from_utf8(&bytes[..line]).ok()?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [phase, version, device, inode, modified_ns, size, further @ ..] = &words[..] else {
            return None;
        };
        let phase = match *phase {
            "publishing" => Phase::Publishing,
            "published" => Phase::Published,
            "rolling-back" => Phase::RollingBack,
            "announced" => Phase::Announced,
            _ => return None,
        };
        let success = Identity {
            device: device.parse().ok()?,
            inode: inode.parse().ok()?,
            modified_ns: modified_ns.parse().ok()?,
            size: size.parse().ok()?,
        };
        // No version begins with it.
        let (begun_s, before) = match further {
            [first, before @ ..] if first.starts_with('@') => (Some(first.get(1..)?.parse().ok()?), before),
            before => (None, before),
        };
        let before = before.iter().map(|word| Version::of_directory(word.as_bytes()).ok());
        let before = before.collect::<Option<Vec<Version>>>()?;
        let version = Version::parse(version.as_bytes()).ok()?;
        let content = bytes.get(line + 1..).unwrap_or_default().to_vec();
        Some(Journal { phase, version, success, begun_s, before, content })
    }

    /// The journal's bytes.
    pub fn render(&self) -> Vec<u8> {
        let phase = match self.phase {
            Phase::Publishing => "publishing",
            Phase::Published => "published",
            Phase::RollingBack => "rolling-back",
            Phase::Announced => "announced",
        };
        let Identity { device, inode, modified_ns, size } = self.success;
        let mut line = format!("{phase} {} {device} {inode} {modified_ns} {size}", self.version);
        self.begun_s.iter().for_each(|begun_s| line.push_str(&format!(" @{begun_s}")));
        self.before.iter().for_each(|version| line.push_str(&format!(" {version}")));
        [line.as_bytes(), b"\n", &self.content].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_back_as_written_and_garbage_is_none() {
        let version = |text: &str| Version::of_directory(text.as_bytes()).unwrap();
        for (phase, begun_s, before) in [
            (Phase::Announced, None, vec![]),
            (Phase::Announced, Some(1_523_619_605), vec![]),
            (Phase::RollingBack, Some(-1), vec![version("demo_version")]),
            (Phase::Published, None, vec![version("20180412"), version("20180411")]),
        ] {
            let journal = Journal {
                phase,
                version: version("20180413192258"),
                success: Identity { device: 1, inode: 2, modified_ns: -3, size: 15 },
                begun_s,
                before,
                content: b"20180413192258 by \xff\nmore\n".to_vec(),
            };
            assert_eq!(Journal::parse(&journal.render()), Some(journal));
        }
        for garbage in [
            "",
            "announced",
            "announced x 1 2 3 4",
            "done 20180413192258 1 2 3 4",
            "announced 20180413192258 1 2 3 4 ../x",
            "announced 20180413192258 1 2 3 4 @",
            "announced 20180413192258 1 2 3 4 @x 20180412",
            "announced 20180413192258 1 2 3 4 20180412 @7",
            "\u{0}",
        ] {
            assert_eq!(Journal::parse(garbage.as_bytes()), None);
        }
    }
}
