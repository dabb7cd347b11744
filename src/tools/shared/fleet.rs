//! The member list: who the members are, and how their rollout goes (contract section 2, "The member list on the monitor").

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::env_file::EnvFile;
use crate::names::{Address, Port, shown};
use crate::retention::Keep;
use crate::rollout::policy::Policy;
use crate::time::Seconds;
use crate::tools::member_list::Origin;

/// How long a member may take to answer, where `probe_timeout` is not set, and at most: a tick is to end within its minute.
const PROBE_TIMEOUT: Seconds = Seconds(2);
const LONGEST_PROBE_TIMEOUT: Seconds = Seconds(60);

/// A member list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Every member, in the order of the list.
    pub members: Vec<Address>,
    /// How a member is asked for its version.
    pub probe: Probe,
    /// How many old versions are kept; `None` deletes nothing.
    pub keep: Option<Keep>,
    /// How their rollout goes.
    pub policy: Policy,
}

/// How a member is asked for its version (`probe=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `report`, the default: its poller left the version in `datamining_service/MODEL/version/ADDRESS`.
    Report,
    /// `rpc`: its service is asked on `moduleport`.
    Rpc(Port, Limit),
    /// `command`: `probe_command` is run with the member's address and `moduleport`.
    Command(PathBuf, Port, Limit),
}

/// How long one member may take to answer (`probe_timeout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Seconds);

impl Fleet {
    /// Reads a member list. Fails (exit 2) on a value that is not one, naming file, line and key.
    pub fn parse(list: &EnvFile, origin: Origin) -> Result<Fleet> {
        let members = list.list("members", Address::parse)?;
        let policy = Policy::parse(list, members.len())?;
        let (probe, keep) = (probe(list, origin)?, list.optional("keep", Keep::parse)?);
        Ok(Fleet { members, probe, keep, policy })
    }
}

fn probe(list: &EnvFile, origin: Origin) -> Result<Probe> {
    match list.optional("probe", Way::parse)? {
        None | Some(Way::Report) => Ok(Probe::Report),
        Some(Way::Rpc) => Ok(Probe::Rpc(list.needed("moduleport", Port::parse)?, limit(list)?)),
        // Otherwise whoever can upload a file to the monitor could have any program run there.
        Some(Way::Command) if origin == Origin::Upload => Err(list.refused(
            "probe",
            "a program is run only where the monitor's own list names it; write scripts/dispatch/conf/MODEL.env.sh there",
        )),
        Some(Way::Command) => {
            let program = list.needed("probe_command", program)?;
            Ok(Probe::Command(program, list.needed("moduleport", Port::parse)?, limit(list)?))
        }
    }
}

enum Way {
    Report,
    Rpc,
    Command,
}

impl Way {
    fn parse(bytes: &[u8]) -> Result<Way> {
        match bytes {
            b"report" => Ok(Way::Report),
            b"rpc" => Ok(Way::Rpc),
            b"command" => Ok(Way::Command),
            other => Err(Error::usage(format!(
                "{} is not a way to ask members; write report, rpc or command",
                shown(other)
            ))),
        }
    }
}

fn limit(list: &EnvFile) -> Result<Limit> {
    let parse = |bytes: &[u8]| match Seconds::parse(bytes)? {
        seconds if (Seconds(1)..=LONGEST_PROBE_TIMEOUT).contains(&seconds) => Ok(seconds),
        _ => Err(Error::usage(format!("use a number from 1 to {}", LONGEST_PROBE_TIMEOUT.0))),
    };
    Ok(Limit(list.optional("probe_timeout", parse)?.unwrap_or(PROBE_TIMEOUT)))
}

fn program(bytes: &[u8]) -> Result<PathBuf> {
    match std::str::from_utf8(bytes) {
        Ok(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(Error::usage(format!(
            "{} is not the path of a program; write an absolute path, without arguments",
            shown(bytes)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::formats::shell::Context;
    use crate::time::LocalTime;

    fn read_from(list: &str, origin: Origin) -> Result<Fleet> {
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let context = Context { environment: &|_| None, now: &now };
        EnvFile::parse(Path::new("m.env.sh"), list.as_bytes(), &context)
            .and_then(|file| Fleet::parse(&file, origin))
    }

    fn read(list: &str) -> Result<Fleet> {
        read_from(&format!("members=10.0.0.1,10.0.0.2\nmoduleport=17019\n{list}\n"), Origin::Monitor)
    }

    fn refused(list: &str) -> String {
        read(list).unwrap_err().to_string()
    }

    #[test]
    fn members_are_asked_by_their_reports_unless_the_list_says_otherwise() {
        let port = Port::parse(b"17019").unwrap();
        let probe = |list: &str| read(list).unwrap().probe;
        assert_eq!(probe(""), Probe::Report);
        assert_eq!(probe("probe=report"), Probe::Report);
        assert_eq!(probe("probe=rpc"), Probe::Rpc(port, Limit(Seconds(2))));
        let command = Probe::Command("/x/ask".into(), port, Limit(Seconds(9)));
        assert_eq!(probe("probe=command probe_command=/x/ask probe_timeout=9"), command);
        assert_eq!(read("").unwrap().members.len(), 2);
    }

    #[test]
    fn what_is_no_way_to_ask_names_file_line_and_key() {
        assert!(refused("probe=ping").starts_with("m.env.sh:3: probe: \u{201c}ping\u{201d} is not a way"));
        assert!(refused("probe=rpc\nprobe_timeout=0").starts_with("m.env.sh:4: probe_timeout: use a number"));
        assert!(refused("probe=rpc\nprobe_timeout=61").contains("from 1 to 60"));
        assert!(refused("probe=command").contains("probe_command is not set"));
        assert!(refused("probe=command\nprobe_command='ask -v'").contains("absolute path"));
        let without_port = read_from("members=10.0.0.1\nprobe=rpc\n", Origin::Monitor);
        assert!(without_port.unwrap_err().to_string().contains("moduleport is not set"));
    }

    #[test]
    fn a_list_may_say_how_many_versions_are_kept() {
        assert_eq!(read("").unwrap().keep, None);
        assert_eq!(read("keep=3").unwrap().keep, Keep::parse(b"3").ok());
        assert!(refused("keep=0").starts_with("m.env.sh:3: keep: \u{201c}0\u{201d} is not a number"));
    }

    #[test]
    fn batches_without_members_are_refused() {
        let nobody = read_from("members=\nbatches=1,100%\n", Origin::Monitor).unwrap_err();
        assert!(nobody.to_string().contains("there are no members to admit"));
    }

    #[test]
    fn who_can_upload_a_file_cannot_have_a_program_run() {
        let list = "members=10.0.0.1\nmoduleport=1\nprobe=command\nprobe_command=/x/ask\n";
        assert!(read_from(list, Origin::Monitor).is_ok());
        let said = read_from(list, Origin::Upload).unwrap_err().to_string();
        assert!(said.starts_with("m.env.sh:3: probe: a program is run only where"), "{said}");
        assert!(read_from("members=10.0.0.1\nmoduleport=1\nprobe=rpc\n", Origin::Upload).is_ok());
    }
}
