//! Reads what a poll needs: machine -> facts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::announcement::{self, Said};
use crate::formats::env_file::EnvFile;
use crate::formats::shell::Context;
use crate::layout::{ANNOUNCEMENT, FIRST_SERVICE_CONF, Member, SERVICE_MODULE, STATE};
use crate::machine::files::{self, CONFIGURATION_LIMIT, Kind};
use crate::machine::rsync::{self, Daemon, Limits, Remote, Transfer};
use crate::machine::{clock, environment, versions};
use crate::names::{Address, ModelName, Port};
use crate::retention::Keep;
use crate::rollout::follow::Heard;
use crate::time::Seconds;
use crate::tools::service_polling::decide::{Observed, Retention};
use crate::tools::service_polling::reports::{Copies, Copy};
use crate::tools::service_polling::spread::Spread;

/// The poller's settings, validated.
#[derive(Debug)]
pub struct Settings {
    /// The monitor's rsync daemon.
    pub daemon: Daemon,
    /// The model that this member serves.
    pub model: ModelName,
    /// What this member is called in `members`.
    pub address: Address,
    /// How it is seen that the service came up; `None` where `service_timeout` is not set: only the
    /// site knows how long its models take to load.
    pub health: Option<Health>,
    /// What env.sh exports, for both command lines.
    pub exported: Vec<(OsString, OsString)>,
    /// Command line that starts the service.
    pub start: OsString,
    /// Command line that stops it.
    pub stop: OsString,
    /// `spread`, if it is set.
    pub spread: Option<Spread>,
    /// How many old versions are kept; `None` deletes nothing.
    pub keep: Option<Keep>,
}

/// How it is seen that the service came up: it accepts connections on its port within a time limit.
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// `moduleport`, or `ENV_SERVICE_PORT`.
    pub port: Port,
    /// `service_timeout`.
    pub limit: Seconds,
}

/// Reads env.sh; the model's name may come from the container's environment (contract section 3).
pub fn settings(member: &Member) -> Result<Settings> {
    let path = member.env_sh();
    let Some(source) = files::read_if_exists(&path, CONFIGURATION_LIMIT)? else {
        return Err(Error::usage(format!(
            "{} is not there; write monitor, modulename, service_start and service_stop into it, or set WATCH_ROOT",
            path.display()
        )));
    };
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let env_sh = EnvFile::parse(&path, &source, &context)?;
    let model = match env_sh.optional("modulename", ModelName::parse)? {
        Some(model) => model,
        None => {
            let name = environment::variable(b"ENV_SERVICE_NAME").unwrap_or_default();
            if name.is_empty() {
                return Err(env_sh.missing("modulename"));
            }
            ModelName::parse(&name).map_err(|e| e.context("ENV_SERVICE_NAME"))?
        }
    };
    let address = match env_sh.optional("address", Address::parse)? {
        Some(address) => address,
        None => own_address(&path)?,
    };
    // Set, but empty, means that there is nothing to run.
    let command_line = |key: &str| match env_sh.raw(key) {
        Some(line) => Ok(OsString::from_vec(line.to_vec())),
        None => Err(env_sh.missing(key)),
    };
    Ok(Settings {
        daemon: Daemon {
            host: env_sh.needed("monitor", Address::parse)?,
            port: env_sh.optional("rsyncport", Port::parse)?.unwrap_or(Port::RSYNC),
            timeout: env_sh.optional("rsync_timeout", Seconds::parse)?,
        },
        model,
        address,
        health: health(&env_sh)?,
        exported: env_sh
            .exported(&context)
            .into_iter()
            .map(|(name, value)| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
            .collect(),
        start: command_line("service_start")?,
        stop: command_line("service_stop")?,
        spread: env_sh.optional("spread", Spread::parse)?,
        keep: env_sh.optional("keep", Keep::parse)?,
    })
}

fn health(env_sh: &EnvFile) -> Result<Option<Health>> {
    let port = match env_sh.optional("moduleport", Port::parse)? {
        Some(port) => Some(port),
        None => match environment::variable(b"ENV_SERVICE_PORT").filter(|port| !port.is_empty()) {
            Some(port) => Some(Port::parse(&port).map_err(|e| e.context("ENV_SERVICE_PORT"))?),
            None => None,
        },
    };
    match env_sh.optional("service_timeout", Seconds::parse)? {
        None | Some(Seconds(0)) => Ok(None),
        Some(limit) => match port {
            Some(port) => Ok(Some(Health { port, limit })),
            None => Err(env_sh.missing("moduleport")),
        },
    }
}

fn own_address(path: &Path) -> Result<Address> {
    match environment::first_address() {
        Some(ip) => Address::parse(ip.to_string().as_bytes()),
        None => Err(Error::failed(format!(
            "this host has no address but loopback; set address= in {}",
            path.display()
        ))),
    }
}

/// Reads what is on this member; nothing is fetched yet, and nothing wanted.
pub fn installed(member: &Member, settings: &Settings) -> Result<Observed> {
    let retention = match settings.keep {
        Some(keep) => {
            Some(Retention { keep, present: versions::in_directory(&member.versions(&settings.model))? })
        }
        None => None,
    };
    Ok(Observed {
        model: settings.model.clone(),
        wanted: None,
        installed: files::read_if_exists(&member.service_conf(), CONFIGURATION_LIMIT)?,
        retention,
    })
}

/// What one look at the monitor finds.
#[derive(Debug)]
pub struct Look {
    /// Its service.conf.
    pub service_conf: Vec<u8>,
    /// What it announces.
    pub heard: Heard,
    /// Why that cannot be read, where it cannot.
    pub refusal: Option<Error>,
    /// What it has of this member's reports.
    pub copies: Copies,
}

/// Looks at the monitor, in one connection. Its rsync opens the files one after the other, the
/// announcement before service.conf.
pub fn look(member: &Member, settings: &Settings) -> Result<Look> {
    let incoming = member.incoming();
    // What a poll that died left there would be taken for what this one fetches.
    files::remove_tree(&incoming)?;
    files::create_new_directory(&incoming)?;
    // legacy: service_polling.sh, `mkdir -p "$workspace/temp"`
    files::create_directories(&member.workspace.join("temp"))?;
    let found = Fetched { dir: incoming.join("look") };
    let Settings { model, address, .. } = settings;
    let (report, state) = (format!("version/{address}"), format!("version/{STATE}{address}"));
    let fetch = Transfer::FetchTogether {
        from: Remote { module: SERVICE_MODULE, path: format!("{model}/") },
        names: [ANNOUNCEMENT, FIRST_SERVICE_CONF, &report, &state].map(str::to_owned).into(),
        to: found.dir.clone(),
        limit: announcement::LIMIT,
    };
    rsync::run(&settings.daemon, &fetch, Limits::SMALL)?;
    let (heard, refusal) = heard(found.find(ANNOUNCEMENT, announcement::LIMIT)?, model);
    Ok(Look {
        service_conf: service_conf(found.find(FIRST_SERVICE_CONF, CONFIGURATION_LIMIT)?, model)?,
        heard,
        refusal,
        copies: Copies {
            report: found.find(&report, CONFIGURATION_LIMIT)?,
            state: found.find(&state, CONFIGURATION_LIMIT)?,
        },
    })
}

/// Files that were fetched together.
struct Fetched {
    dir: PathBuf,
}

impl Fetched {
    /// What the monitor has of a name. What is larger than `limit`, or no plain file, or may not be
    /// read there, is unknown.
    fn find(&self, name: &str, limit: u64) -> Result<Copy> {
        let path = self.dir.join(name);
        match files::facts(&path)? {
            None => Ok(Copy::Missing),
            Some(facts) if facts.kind == Kind::File && facts.identity.size <= limit => {
                Ok(files::read_if_exists(&path, limit)?.map_or(Copy::Unknown, Copy::Bytes))
            }
            Some(_) => Ok(Copy::Unknown),
        }
    }
}

fn heard(announcement: Copy, model: &ModelName) -> (Heard, Option<Error>) {
    let remote = format!("{model}/{ANNOUNCEMENT}");
    match announcement {
        Copy::Missing => (Heard::Nothing, None),
        Copy::Bytes(source) => match Said::parse(&source, model) {
            Ok(said) => (Heard::Said(said), None),
            Err(refusal) => {
                let refusal = refusal.in_file(Path::new(&remote));
                (Heard::Unreadable, Some(Error::failed(format!("the monitor's {refusal}"))))
            }
        },
        Copy::Unknown => {
            let limit = announcement::LIMIT;
            let refusal = format!(
                "the monitor's {remote} is no file of at most {limit} bytes that may be read; remove it there: the next \
                 tick writes it again"
            );
            (Heard::Unreadable, Some(Error::failed(refusal)))
        }
    }
}

fn service_conf(fetched: Copy, model: &ModelName) -> Result<Vec<u8>> {
    match fetched {
        Copy::Bytes(bytes) => Ok(bytes),
        Copy::Missing => Err(Error::failed(format!(
            "{model} has no file {FIRST_SERVICE_CONF} on the monitor; check that the model is registered there \
             (add_dispatch_docker)"
        ))),
        Copy::Unknown => Err(Error::failed(format!(
            "{model} has no file {FIRST_SERVICE_CONF} of at most {CONFIGURATION_LIMIT} bytes on the monitor; look at it there"
        ))),
    }
}
