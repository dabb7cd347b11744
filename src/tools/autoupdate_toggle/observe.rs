//! Finds a user's crontab, and reads what there is to know about the rsync daemon of a configuration: machine -> facts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon_answer::Greeting;
use crate::error::{Error, Result};
use crate::ip_range::IpRange;
use crate::layout::{CRONTABS, Monitor, RSYNCD_CONF};
use crate::machine::files::{self, Kind};
use crate::machine::{environment, net, proc};
use crate::process::Process;
use crate::tools::autoupdate_toggle::cli::{DaemonRequest, Whom, Whose};
use crate::tools::autoupdate_toggle::decide::daemon::Facts;
use crate::tools::autoupdate_toggle::decide::daemon::host::{self, Config, Content, Daemon, Found, Host};
use crate::tools::autoupdate_toggle::decide::daemon::settings::{By, Settings};
use crate::tools::autoupdate_toggle::decide::effect::Seen;
use crate::tools::{member_list, rsyncd_files};

/// A conversation with a daemon on this host takes milliseconds, unless it asks a name server who we are.
const PATIENCE: Duration = Duration::from_secs(8);

/// The largest pid file that is looked at, bytes.
const PID_FILE_LIMIT: u64 = 4096;

/// Whom a request by the daemon's configuration is about; the members of a group are addresses.
pub fn ranges(whom: &Whom) -> Result<Vec<IpRange>> {
    match whom {
        Whom::Ranges(ranges) => Ok(ranges.clone()),
        Whom::Group(model, group) => {
            let monitor = Monitor { root: environment::monitor_root()? };
            let members = member_list::group(&monitor, model, group)?;
            members.iter().map(|member| IpRange::parse(member.as_str().as_bytes())).collect()
        }
    }
}

/// The crontab that is meant. Fails when a user has none, or one in each of the places.
pub fn crontab(whose: &Whose) -> Result<PathBuf> {
    let user = match whose {
        Whose::File(file) => return Ok(file.clone()),
        Whose::User(user) => user,
    };
    let mut there = Vec::new();
    for path in CRONTABS.map(|dir| Path::new(dir).join(user)) {
        if files::facts(&path)?.is_some_and(|facts| facts.kind != Kind::Directory) {
            there.push(path);
        }
    }
    let shown = user.display();
    match &there[..] {
        [] => Err(Error::failed(format!(
            "{shown} has no crontab in {}; name it with --user or --file",
            CRONTABS.join(" or ")
        ))),
        [file] => Ok(file.clone()),
        [..] => Err(Error::failed(format!(
            "{shown} has a crontab in {}; name the one that cron reads with --file",
            CRONTABS.join(" and in ")
        ))),
    }
}

/// Reads the settings of a configuration's daemon. Fails when the configuration is missing or cannot be read.
pub fn settings(request: &DaemonRequest) -> Result<Settings> {
    let config = environment::from_root(&request.config)?;
    let pid_file = request.pid_file.as_deref().map(environment::from_root).transpose()?;
    let request = DaemonRequest { config, pid_file, port: request.port };
    let mut settings = Settings::read(&request, &rsyncd_files::read(&request.config)?)?;
    settings.pid_file = environment::from_root(&settings.pid_file)?;
    Ok(settings)
}

/// Looks at the processes and at the port.
pub fn facts(settings: &Settings) -> Result<Facts> {
    let host = look(settings)?;
    let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), settings.port.number());
    let at = reachable(endpoints(&host, settings).first().copied().unwrap_or(everywhere));
    let greeting = net::greeting(at, PATIENCE);
    let holder = match greeting {
        Greeting::Nothing(_) => None,
        _ => proc::listening_on(at),
    };
    Ok(Facts { settings: settings.clone(), host, at, greeting, holder })
}

/// Asks the daemon, once for each address of this host, for a module.
pub fn seen(settings: &Settings, module: &[u8], ranges: &[IpRange]) -> Result<Seen> {
    let facts = facts(settings)?;
    let endpoints = endpoints(&facts.host, settings);
    let mut answers = Vec::new();
    if facts.greeting == Greeting::Rsync {
        for range in ranges {
            let Some(from) = range.single_address() else { continue };
            let of_family = |at: &&SocketAddr| at.is_ipv4() == from.is_ipv4();
            let Some(at) = endpoints.iter().find(of_family) else { continue };
            // To a daemon that listens everywhere the surest way is the address itself.
            let at = if at.ip().is_unspecified() { SocketAddr::new(from, at.port()) } else { *at };
            answers.extend(net::ask(from, at, module, PATIENCE).map(|answer| (*range, answer)));
        }
    }
    let daemon = match (&facts.holder, facts.host.find(settings)) {
        (Some(holder), _) => facts.host.daemons.iter().find(|daemon| daemon.process.id == holder.id),
        // Whose port it is could not be seen; then it is most likely that one's.
        (None, Found::One(daemon)) => Some(daemon),
        (None, _) => None,
    };
    Ok(Seen { at: facts.at, greeting: facts.greeting, daemon: daemon.cloned(), answers })
}

/// Where the daemon accepts connections: where it was seen to, otherwise where it should.
fn endpoints(host: &Host, settings: &Settings) -> Vec<SocketAddr> {
    let mut seen = match host.find(settings) {
        Found::One(daemon) => daemon.listening.clone().unwrap_or_default(),
        Found::None | Found::Several(..) => Vec::new(),
    };
    if settings.port_by == By::Option {
        seen.retain(|address| address.port() == settings.port.number());
    }
    if !seen.is_empty() {
        return seen;
    }
    let port = settings.port.number();
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let address = settings.address.as_ref().and_then(|address| net::resolve(address.as_str(), PATIENCE));
    match address {
        Some(address) => vec![SocketAddr::new(address, port)],
        None => everywhere.map(|address| SocketAddr::new(address, port)).to_vec(),
    }
}

/// An address at which what listens on `at` can be reached from this host.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(ip, at.port())
}

fn look(settings: &Settings) -> Result<Host> {
    let bytes = files::read_if_exists(&settings.pid_file, PID_FILE_LIMIT)?;
    let pid_file = bytes.as_deref().map_or(Content::Missing, Content::read);
    let daemon = |process: Process| host::is_daemon(&process).then(|| described(process, &settings.config));
    Ok(Host {
        named: pid_file.pid().and_then(proc::process),
        pid_file,
        pid_file_bytes: bytes.unwrap_or_default(),
        lock_holder: proc::lock_holder(&settings.pid_file)?,
        daemons: proc::of_program(b"rsync").into_iter().filter_map(daemon).collect(),
    })
}

fn described(process: Process, config: &Path) -> Daemon {
    let pid = process.id.pid;
    let is_ours =
        |path: &Path| proc::names_the_same_file(pid, path, config).unwrap_or_else(|| path == config);
    let config = match host::config_named(&process.arguments) {
        Some(path) if is_ours(&path) => Config::This,
        Some(path) => Config::Other(path),
        None if is_ours(Path::new(RSYNCD_CONF)) => Config::This,
        None => Config::NotNamed,
    };
    Daemon { process, config, listening: proc::listening(pid) }
}
