//! Arguments of `add_dispatch_docker` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use crate::error::{Error, Result};
use crate::formats::service_conf::lint::ZK_SCHEME;
use crate::names::{Address, ModelName, PluginName, Port, TypeName, shown};
use crate::tools::WaitOption;
use crate::tools::edit::{DryRunOption, Mode};

/// Registers a model on the monitor: creates its two directories and its stanza in dispatchserver.sh. Replaces
/// add_dispatch_docker.sh. With --port its service.conf is complete; --check looks at the one that is there.
#[derive(Debug, Parser)]
#[command(name = "add_dispatch_docker", version)]
pub struct Cli {
    /// Which template service.conf is made from: model, or that of scripts/dispatch/conf/templates/TYPE.conf
    #[arg(value_name = "TYPE", required_unless_present = "check")]
    kind: Option<OsString>,
    /// The model's directory below datamining_plugin and datamining_service
    #[arg(value_name = "MODULE", required_unless_present = "check")]
    model: Option<OsString>,
    /// The library's name without .so
    #[arg(value_name = "PLUGIN", required_unless_present = "check")]
    plugin: Option<OsString>,
    /// Look at every config_*/service.conf of a model: one line for each finding on standard output; nothing is written
    #[arg(long, value_name = "MODULE", exclusive = true)]
    check: Option<OsString>,
    /// The port that the model's service listens on: service.conf is written with it, and with MODULE and PLUGIN in place
    /// of what the script leaves to be corrected
    #[arg(long, value_name = "PORT")]
    port: Option<OsString>,
    /// Addresses of the model's online hosts, separated by commas: written to scripts/dispatch/conf/MODULE.env.sh, in
    /// place of those that stand there
    #[arg(long, value_name = "A,B,...", requires = "port")]
    members: Option<OsString>,
    /// zk_addr of service.conf [default: the manual's cluster]
    #[arg(long, value_name = "zk://HOST:PORT,...", requires = "port")]
    zk_addr: Option<OsString>,
    /// zk_group_id of service.conf [default: model_service]
    #[arg(long, value_name = "GROUP", requires = "port")]
    zk_group_id: Option<OsString>,
    /// zk_service_id of service.conf [default: MODULE]
    #[arg(long, value_name = "ID", requires = "port")]
    zk_service_id: Option<OsString>,
    /// zk_type_id of service.conf [default: online]
    #[arg(long, value_name = "ID", requires = "port")]
    zk_type_id: Option<OsString>,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    dry_run: DryRunOption,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Register a model.
    Register(Request),
    /// Look at a model's service.conf.
    Check(ModelName),
}

/// What is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which template.
    pub kind: TypeName,
    /// The model.
    pub model: ModelName,
    /// Its plugin.
    pub plugin: PluginName,
    /// Its service, if that was given.
    pub service: Option<Service>,
    /// Its members, if they were given; then its service was, too.
    pub members: Option<Vec<Address>>,
    /// How long to wait for another edit of the registry.
    pub wait: WaitOption,
    /// Whether anything is written.
    pub mode: Mode,
}

/// What a service.conf needs to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `port`.
    pub port: Port,
    /// `zk_addr`.
    pub zk_addr: String,
    /// `zk_group_id`.
    pub zk_group_id: String,
    /// `zk_service_id`.
    pub zk_service_id: String,
    /// `zk_type_id`.
    pub zk_type_id: String,
}

/// The cluster that is "usually not changed" (manual, step 1).
pub const ZK_ADDR: &str =
    "zk://10.39.11.60:2181,10.39.11.61:2181,10.39.11.62:2181,10.39.11.63:2181,10.39.11.64:2181";
/// The group of the script's template.
pub const ZK_GROUP_ID: &str = "model_service";
/// The type of the script's template.
pub const ZK_TYPE_ID: &str = "online";

impl Cli {
    /// Validates the arguments. Fails (exit 2) before any file is touched.
    pub fn task(self) -> Result<Task> {
        if let Some(model) = &self.check {
            return Ok(Task::Check(ModelName::parse(model.as_bytes())?));
        }
        let typed = |argument: &Option<OsString>| argument.clone().unwrap_or_default();
        let (kind, model, plugin) = (typed(&self.kind), typed(&self.model), typed(&self.plugin));
        let kind = TypeName::parse(kind.as_bytes())?;
        let plugin_name = PluginName::parse(plugin.as_bytes())?;
        if plugin_name.so_name().ends_with(".so.so") {
            let plugin = shown(plugin.as_bytes());
            return Err(Error::usage(format!("{plugin} ends in .so; write PLUGIN without it")));
        }
        let model = ModelName::parse(model.as_bytes())?;
        let service = self.port.as_ref().map(|port| self.service(port, &model)).transpose()?;
        let members = self.members.as_ref().map(addresses).transpose()?;
        let (wait, mode) = (self.wait, self.dry_run.mode());
        Ok(Task::Register(Request { kind, model, plugin: plugin_name, service, members, wait, mode }))
    }

    fn service(&self, port: &OsString, model: &ModelName) -> Result<Service> {
        let zk_addr = value("--zk-addr", &self.zk_addr, ZK_ADDR)?;
        if !zk_addr.starts_with(ZK_SCHEME) {
            return Err(Error::usage(format!("--zk-addr {zk_addr}; write zk://HOST:PORT,HOST:PORT,...")));
        }
        Ok(Service {
            port: Port::parse(port.as_bytes())?,
            zk_addr,
            zk_group_id: value("--zk-group-id", &self.zk_group_id, ZK_GROUP_ID)?,
            zk_service_id: value("--zk-service-id", &self.zk_service_id, model.as_str())?,
            zk_type_id: value("--zk-type-id", &self.zk_type_id, ZK_TYPE_ID)?,
        })
    }
}

/// A value that fits into a line of service.conf: one word, and no begin of a remark.
fn value(option: &str, typed: &Option<OsString>, default: &str) -> Result<String> {
    let Some(typed) = typed else { return Ok(default.to_owned()) };
    let is_good = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '#');
    match std::str::from_utf8(typed.as_bytes()).ok().filter(is_good) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::usage(format!(
            "{option} {} does not fit into service.conf; write one word without #",
            shown(typed.as_bytes())
        ))),
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

    fn task(arguments: &str) -> Option<Task> {
        Cli::try_parse_from(format!("add_dispatch_docker {arguments}").split(' ')).ok()?.task().ok()
    }

    fn request(arguments: &str) -> Request {
        match task(arguments) {
            Some(Task::Register(request)) => request,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn the_three_arguments_of_the_script_are_enough() {
        let request = request("model mblog_yellow mblog_yellow");
        assert_eq!(request.plugin.so_name(), "mblog_yellow.so");
        assert_eq!((request.service, request.members), (None, None));
    }

    #[test]
    fn what_is_not_said_about_the_service_discovery_is_the_models_own() {
        let service = request("model m p --port 17019 --zk-group-id media_service").service.unwrap();
        assert_eq!((service.port.number(), service.zk_addr.as_str()), (17019, ZK_ADDR));
        assert_eq!((service.zk_group_id.as_str(), service.zk_service_id.as_str()), ("media_service", "m"));
        let members = request("model m m --members 10.0.0.1,10.0.0.2 --port 17019").members;
        assert_eq!(members.map(|members| members.len()), Some(2));
        assert_eq!(task("--check m"), Some(Task::Check(ModelName::parse(b"m").unwrap())));
    }

    #[test]
    fn what_would_spoil_a_file_or_is_half_said_is_refused() {
        for wrong in [
            "model m m --members 10.0.0.1",
            "model m m --members , --port 1",
            "model m m --members 10.0.0.1;ls --port 1",
            "model m m --port 65536",
            "model m m --zk-group-id g",
            "model m m --port 1 --zk-group-id a#b",
            "model m m --port 1 --zk-service-id ",
            "model m m --port 1 --zk-type-id a\nb",
            "model m m --port 1 --zk-addr 10.0.0.1:2181",
            "../model m m",
            "model m m.so",
            "model ../m m",
            "model m",
            "model m m --check m",
            "--check ../m",
            "--check",
            "",
        ] {
            assert_eq!(task(wrong), None, "{wrong:?}");
        }
    }
}
