//! Arguments of `service-discovery` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::names::{ModelName, shown};

/// Registers a service with service discovery, or shows what is registered for it. Replaces the two HTTP calls of the
/// manual.
#[derive(Debug, Parser)]
#[command(name = "service-discovery", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Register a service: group, service and who answers for it
    Register(Register),
    /// Show the registered instances of a service
    Status(Status),
}

#[derive(Debug, Args)]
struct Register {
    /// Who answers for the service
    #[arg(long, value_name = "NAME")]
    mail: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Status {
    /// The type of the instances
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<OsString>,
    /// Ask the ZooKeeper ensemble itself, not the HTTP service
    #[arg(long)]
    zk: bool,
    /// With --zk: the node that holds an instance each [default: /GROUP/SERVICE/TYPE, or /GROUP/SERVICE without a type]
    #[arg(long, value_name = "PATH", requires = "zk")]
    zk_path: Option<OsString>,
    /// Compare with the members of env.sh or of the monitor's list; exit code 1 when they differ
    #[arg(long)]
    expect_members: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Where service discovery is, http://HOST
    #[arg(long, value_name = "URL")]
    url: Option<OsString>,
    /// The source (application key) that asks
    #[arg(long, value_name = "SOURCE")]
    source: Option<OsString>,
    /// The ZooKeeper ensemble, zk://HOST:2181,HOST:2181,...
    #[arg(long, value_name = "ZK")]
    cluster_id: Option<OsString>,
    /// The service's group
    #[arg(long, value_name = "GROUP")]
    group_id: Option<OsString>,
    /// The service
    #[arg(long, value_name = "SERVICE")]
    service_id: Option<OsString>,
    /// On the monitor: take the model's member list and its config_1/service.conf
    #[arg(long, value_name = "MODEL")]
    model: Option<OsString>,
    /// An env.sh with what no option says [default: the member list with --model, otherwise env.sh here if it is there]
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// A service.conf whose [monitor] says the rest
    #[arg(long, value_name = "FILE")]
    service_conf: Option<PathBuf>,
    /// Seconds until the connection stands, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    connect_timeout: OsString,
    /// Seconds that one try may take in all, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    timeout: OsString,
    /// How often to try again, 0 to 10
    #[arg(long, value_name = "N", default_value = "2")]
    retries: OsString,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The call.
    pub verb: Asked,
    /// What the options say.
    pub options: Options,
    /// Which files say the rest.
    pub places: Places,
    /// How patient to be.
    pub patience: Patience,
}

/// The call, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Register.
    Register,
    /// Show what is registered.
    Status {
        /// Who is asked.
        whom: Whom,
        /// Whether the members are compared with it.
        compare: Compare,
        /// How it is shown.
        show: Show,
    },
}

/// Who is asked for the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The HTTP service.
    Service,
    /// The ZooKeeper ensemble.
    ZooKeeper,
}

/// What the instances are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Nothing.
    No,
    /// The member list.
    Members,
}

/// How the instances are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A line each.
    Table,
    /// One JSON object.
    Json,
}

/// What the options say; not yet parsed, since files may say it instead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--url`
    pub url: Option<OsString>,
    /// `--source`
    pub source: Option<OsString>,
    /// `--cluster-id`
    pub cluster_id: Option<OsString>,
    /// `--group-id`
    pub group_id: Option<OsString>,
    /// `--service-id`
    pub service_id: Option<OsString>,
    /// `--type`
    pub kind: Option<OsString>,
    /// `--mail`
    pub mail: Option<OsString>,
    /// `--zk-path`
    pub zk_path: Option<OsString>,
}

/// Which files say the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// `--model`
    pub model: Option<ModelName>,
    /// `--env`
    pub env: Option<PathBuf>,
    /// `--service-conf`
    pub service_conf: Option<PathBuf>,
}

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// For one try in all.
    pub total: Duration,
    /// How many tries there are, from 1.
    pub tries: u32,
}

impl Cli {
    /// Validates what does not depend on a file.
    pub fn request(self) -> Result<Request> {
        let (verb, common, mail, kind, zk_path) = match self.verb {
            Verb::Register(register) => (Asked::Register, register.common, register.mail, None, None),
            Verb::Status(status) => (status.asked(), status.common, None, status.kind, status.zk_path),
        };
        let model = common.model.map(|model| ModelName::parse(model.as_bytes())).transpose()?;
        Ok(Request {
            verb,
            patience: Patience {
                connect: seconds("--connect-timeout", &common.connect_timeout)?,
                total: seconds("--timeout", &common.timeout)?,
                tries: 1 + number("--retries", &common.retries, 0, 10)?,
            },
            options: Options {
                url: common.url,
                source: common.source,
                cluster_id: common.cluster_id,
                group_id: common.group_id,
                service_id: common.service_id,
                kind,
                mail,
                zk_path,
            },
            places: Places { model, env: common.env, service_conf: common.service_conf },
        })
    }
}

impl Status {
    fn asked(&self) -> Asked {
        Asked::Status {
            whom: if self.zk { Whom::ZooKeeper } else { Whom::Service },
            compare: if self.expect_members { Compare::Members } else { Compare::No },
            show: if self.json { Show::Json } else { Show::Table },
        }
    }
}

fn seconds(option: &str, value: &OsString) -> Result<Duration> {
    Ok(Duration::from_secs(number(option, value, 1, 60)?.into()))
}

fn number(option: &str, value: &OsString, least: u32, most: u32) -> Result<u32> {
    let number = value.to_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let value = shown(value.as_bytes());
            Err(Error::usage(format!("{option}: {value} is no such number; use one from {least} to {most}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &str) -> Option<Request> {
        let arguments = ["service-discovery"].into_iter().chain(arguments.split_whitespace());
        Cli::try_parse_from(arguments).ok()?.request().ok()
    }

    #[test]
    fn a_status_may_be_compared_and_asked_elsewhere() {
        let status = |whom, compare, show| Some(Asked::Status { whom, compare, show });
        let asked = |arguments| request(arguments).map(|request| request.verb);
        assert_eq!(asked("status"), status(Whom::Service, Compare::No, Show::Table));
        assert_eq!(
            asked("status --zk --zk-path /a --expect-members --json"),
            status(Whom::ZooKeeper, Compare::Members, Show::Json)
        );
        assert_eq!(asked("register --mail a"), Some(Asked::Register));
    }

    #[test]
    fn patience_has_defaults_and_ends() {
        let patience = |connect, total, tries| Patience {
            connect: Duration::from_secs(connect),
            total: Duration::from_secs(total),
            tries,
        };
        let read = |arguments| request(arguments).map(|request| request.patience);
        assert_eq!(read("status"), Some(patience(2, 5, 3)));
        assert_eq!(read("register --connect-timeout 1 --timeout 60 --retries 0"), Some(patience(1, 60, 1)));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for wrong in [
            "",
            "look",
            "register --type x",
            "register --zk",
            "status --mail a",
            "status --zk-path /a",
            "status --timeout 0",
            "status --timeout 61",
            "status --connect-timeout +1",
            "status --retries 11",
            "status --model ../m",
            "status m",
        ] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }
}
