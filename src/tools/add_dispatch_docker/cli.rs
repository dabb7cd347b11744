//! Arguments of `add_dispatch_docker` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use crate::error::{Error, Result};
use crate::names::{Address, ModelName, PluginName, Port, shown};
use crate::tools::WaitOption;

/// Registers a model on the monitor: creates its two directories and its stanza in dispatchserver.sh. Replaces
/// add_dispatch_docker.sh.
#[derive(Debug, Parser)]
#[command(name = "add_dispatch_docker", version)]
pub struct Cli {
    /// Which template service.conf is made from: model
    #[arg(value_name = "TYPE")]
    kind: OsString,
    /// The model's directory below datamining_plugin and datamining_service
    #[arg(value_name = "MODULE")]
    model: OsString,
    /// The library's name without .so
    #[arg(value_name = "PLUGIN")]
    plugin: OsString,
    /// Addresses of the model's online hosts, separated by commas: written to scripts/dispatch/conf/MODULE.env.sh, in
    /// place of those that stand there (needs --port)
    #[arg(long, value_name = "A,B,...", requires = "port")]
    members: Option<OsString>,
    /// The port that the model's service listens on (needs --members)
    #[arg(long, value_name = "PORT", requires = "members")]
    port: Option<OsString>,
    #[command(flatten)]
    wait: WaitOption,
}

/// The template of service.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// `model`
    Model,
}

/// The member list that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberList {
    /// The members.
    pub members: Vec<Address>,
    /// Their service's port.
    pub port: Port,
}

/// What is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The template.
    pub template: Template,
    /// The model.
    pub model: ModelName,
    /// Its plugin.
    pub plugin: PluginName,
    /// Its members, if they were given.
    pub member_list: Option<MemberList>,
    /// How long to wait for another edit of the registry.
    pub wait: WaitOption,
}

impl Cli {
    /// Validates the arguments. Fails (exit 2) before any file is touched.
    pub fn request(self) -> Result<Request> {
        let template = match self.kind.as_bytes() {
            b"model" => Template::Model,
            other => {
                return Err(Error::usage(format!(
                    "{} is not a known TYPE; the one there is: model",
                    shown(other)
                )));
            }
        };
        let member_list = match (self.members, self.port) {
            (Some(members), Some(port)) => {
                Some(MemberList { members: addresses(&members)?, port: Port::parse(port.as_bytes())? })
            }
            _ => None,
        };
        let plugin = PluginName::parse(self.plugin.as_bytes())?;
        if plugin.so_name().ends_with(".so.so") {
            return Err(Error::usage(format!(
                "{} ends in .so; write PLUGIN without it",
                shown(self.plugin.as_bytes())
            )));
        }
        Ok(Request {
            template,
            model: ModelName::parse(self.model.as_bytes())?,
            plugin,
            member_list,
            wait: self.wait,
        })
    }
}

fn addresses(text: &OsString) -> Result<Vec<Address>> {
    let words = text.as_bytes().split(|b| *b == b',' || b.is_ascii_whitespace());
    let addresses: Result<Vec<Address>> = words.filter(|word| !word.is_empty()).map(Address::parse).collect();
    match addresses {
        Ok(none) if none.is_empty() => {
            Err(Error::usage("--members names no host; write at least one address"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Option<Request> {
        let arguments = ["add_dispatch_docker"].iter().chain(arguments);
        Cli::try_parse_from(arguments).ok()?.request().ok()
    }

    #[test]
    fn the_three_arguments_of_the_script_are_enough() {
        let request = request(&["model", "mblog_yellow", "mblog_yellow"]).unwrap();
        assert_eq!(request.plugin.so_name(), "mblog_yellow.so");
        assert_eq!(request.member_list, None);
    }

    #[test]
    fn a_member_list_is_given_whole_or_not_at_all() {
        let list = request(&["model", "m", "m", "--members", "10.0.0.1,10.0.0.2", "--port", "17019"]);
        assert_eq!(list.and_then(|r| r.member_list).map(|l| l.members.len()), Some(2));
        for wrong in [
            &["model", "m", "m", "--members", "10.0.0.1"][..],
            &["model", "m", "m", "--port", "1"],
            &["model", "m", "m", "--members", ",", "--port", "1"],
            &["model", "m", "m", "--members", "10.0.0.1;ls", "--port", "1"],
            &["modle", "m", "m"],
            &["model", "m", "m.so"],
            &["model", "../m", "m"],
            &["model", "m"],
        ] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }
}
