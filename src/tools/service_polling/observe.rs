//! Reads what a poll needs: machine -> facts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::admitted::Admitted;
use crate::formats::env_file::EnvFile;
use crate::formats::held::Held;
use crate::formats::shell::Context;
use crate::layout::{ADMITTED, HELD, MANIFESTS, Member, SERVICE_MODULE};
use crate::machine::files::{self, CONFIGURATION_LIMIT, Kind};
use crate::machine::rsync::{self, Daemon, Limits, Remote, Transfer};
use crate::machine::{clock, environment, versions};
use crate::names::{Address, ModelName, Port};
use crate::retention::Keep;
use crate::time::Seconds;
use crate::tools::service_polling::decide::{self, Journal, KnownManifest, Observed, Retention};
use crate::tools::service_polling::spread::Spread;
use crate::version::Version;

/// The poller's settings, validated.
#[derive(Debug)]
pub struct Settings {
    /// The monitor's rsync daemon.
    pub daemon: Daemon,
    /// The model that this member serves.
    pub model: ModelName,
    /// What this member is called in `members`.
    pub address: Address,
    /// How it is seen that the service came up; `None` where `service_timeout` is not set: only the site knows how long its
    /// models take to load.
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

/// Reads what is on this member; nothing is fetched yet.
pub fn installed(member: &Member, settings: &Settings) -> Result<Observed> {
    let read = |path: &Path| files::read_if_exists(path, CONFIGURATION_LIMIT);
    let journal = read(&member.journal())?;
    let retention = match settings.keep {
        Some(keep) => {
            Some(Retention { keep, present: versions::in_directory(&member.versions(&settings.model))? })
        }
        None => None,
    };
    Ok(Observed {
        fetched: Vec::new(),
        installed: read(&member.service_conf())?,
        previous: read(&member.previous_service_conf())?,
        failed: read(&member.failed_service_conf())?,
        journal: journal.and_then(|bytes| Journal::parse(&bytes)),
        retention,
        is_held_back: false,
        manifest: KnownManifest::default(),
    })
}

/// What the monitor announces.
#[derive(Debug)]
pub struct Announced {
    /// Its service.conf.
    pub service_conf: Vec<u8>,
    /// Whether that is not for this member yet: it waits for its batch, or is held.
    pub is_held_back: bool,
    /// What is known of the manifest of the version that is taken up.
    pub manifest: KnownManifest,
}

/// Asks the monitor what is for this member, on which all this is installed.
pub fn announced(member: &Member, settings: &Settings, installed: &Observed) -> Result<Announced> {
    let service_conf = fetched(member, settings)?;
    let Some(version) = decide::takes_up(&service_conf, installed) else {
        return Ok(Announced { service_conf, is_held_back: false, manifest: KnownManifest::NotAskedFor });
    };
    let look = Look::at(&version, member, settings)?;
    // A rollback announces another version and then lets everybody in: whoever asked for service.conf before it and for
    // the members that were let in after it would take the version that is being taken back. The next poll sees further.
    let is_held_back = look.makes_wait(&version, settings)?
        || look.holds(settings)?
        || look.service_conf()?.ok_or_else(|| no_service_conf(settings))? != service_conf;
    Ok(Announced { service_conf, is_held_back, manifest: look.manifest(&version)? })
}

/// The monitor's service.conf, below the model's directory.
const SERVICE_CONF: &str = "config_1/service.conf";

/// A second look at the monitor once its service.conf has named a new version: in one connection `.admitted`, `.held`, the manifest
/// and service.conf again, which the monitor's rsync opens one after the other, service.conf last.
struct Look<'a> {
    dir: PathBuf,
    model: &'a ModelName,
}

/// What the monitor has of a name.
enum Found {
    Nothing,
    /// It was fetched.
    File(PathBuf),
    /// It is larger than [`CONFIGURATION_LIMIT`], or no plain file.
    Other,
}

impl Look<'_> {
    fn at<'a>(version: &Version, member: &Member, settings: &'a Settings) -> Result<Look<'a>> {
        let dir = member.incoming().join("look");
        let fetch = Transfer::FetchTogether {
            from: Remote { module: SERVICE_MODULE, path: format!("{}/", settings.model) },
            names: [ADMITTED, HELD, &format!("{MANIFESTS}/{version}"), SERVICE_CONF]
                .map(str::to_owned)
                .into(),
            to: dir.clone(),
            // A member that waits for its batch looks each minute: a large manifest is fetched when its turn has come.
            limit: CONFIGURATION_LIMIT,
        };
        rsync::run(&settings.daemon, &fetch, Limits::SMALL)?;
        Ok(Look { dir, model: &settings.model })
    }

    fn find(&self, name: &str) -> Result<Found> {
        let path = self.dir.join(name);
        Ok(match files::facts(&path)?.map(|facts| facts.kind) {
            None => Found::Nothing,
            Some(Kind::File) => Found::File(path),
            Some(_) => Found::Other,
        })
    }

    /// The monitor's service.conf, if it was fetched.
    fn service_conf(&self) -> Result<Option<Vec<u8>>> {
        match self.find(SERVICE_CONF)? {
            Found::File(path) => files::read_if_exists(&path, CONFIGURATION_LIMIT),
            Found::Nothing | Found::Other => Ok(None),
        }
    }

    /// A dot file of the model, and its name for messages; `None` where the monitor has none. One that was not fetched is an
    /// error: it might keep this member from a version. `without` is what follows when it is removed.
    fn dot_file(&self, name: &str, without: &str) -> Result<Option<(Vec<u8>, PathBuf)>> {
        let remote = format!("{}/{name}", self.model);
        match self.find(name)? {
            Found::Nothing => Ok(None),
            Found::File(path) => {
                Ok(files::read_if_exists(&path, CONFIGURATION_LIMIT)?.map(|source| (source, remote.into())))
            }
            Found::Other => Err(Error::failed(format!(
                "the monitor's {remote} is no file of at most {CONFIGURATION_LIMIT} bytes; remove it there, and {without}"
            ))),
        }
    }

    /// Whether the monitor lets this member wait. It says so before its service.conf names the version, so it is asked
    /// afterwards; a monitor that rolls out to all at once, a script above all, says nothing.
    fn makes_wait(&self, version: &Version, settings: &Settings) -> Result<bool> {
        let Some((source, remote)) = self.dot_file(ADMITTED, "every member is let in")? else {
            return Ok(false);
        };
        let admitted = Admitted::parse(&source).map_err(|refusal| refusal.in_file(&remote))?;
        let waits = admitted.holds_back(version, &settings.address);
        if waits {
            log::debug!("{version} is not for {} yet", settings.address);
        }
        Ok(waits)
    }

    /// Whether this member is to keep what it serves, by its own clock.
    fn holds(&self, settings: &Settings) -> Result<bool> {
        let Some((source, remote)) = self.dot_file(HELD, "nobody is held")? else { return Ok(false) };
        let held = Held::parse(&source).map_err(|refusal| refusal.in_file(&remote))?;
        let hold = held.hold_of(&settings.address, clock::now().instant);
        if let Some(hold) = hold {
            log::debug!("{} is held by {}: {}", settings.address, hold.by, hold.reason);
        }
        Ok(hold.is_some())
    }

    fn manifest(&self, version: &Version) -> Result<KnownManifest> {
        Ok(match self.find(&format!("{MANIFESTS}/{version}"))? {
            Found::Nothing => KnownManifest::Missing,
            Found::File(path) => KnownManifest::Fetched(path),
            Found::Other => KnownManifest::NotAskedFor,
        })
    }
}

/// Fetches the monitor's service.conf.
fn fetched(member: &Member, settings: &Settings) -> Result<Vec<u8>> {
    let incoming = member.incoming();
    // What a poll that died left there would be taken for what this one fetches.
    files::remove_tree(&incoming)?;
    incoming.parent().map_or(Ok(()), files::create_directories)?;
    files::create_new_directory(&incoming)?;
    let to = incoming.join("service.conf");
    let from = Remote { module: SERVICE_MODULE, path: format!("{}/{SERVICE_CONF}", settings.model) };
    let transfer = Transfer::FetchFile { from, to: to.clone(), limit: CONFIGURATION_LIMIT };
    rsync::run(&settings.daemon, &transfer, Limits::SMALL)?;
    files::read_if_exists(&to, CONFIGURATION_LIMIT)?.ok_or_else(|| no_service_conf(settings))
}

fn no_service_conf(settings: &Settings) -> Error {
    Error::failed(format!(
        "{} has no file {SERVICE_CONF} of at most {CONFIGURATION_LIMIT} bytes on the monitor; look at it there",
        settings.model
    ))
}
