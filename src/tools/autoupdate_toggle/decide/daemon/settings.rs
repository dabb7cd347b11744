//! What a configuration and the command line say about a daemon.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::rsyncd_conf::{Place, RsyncdConf};
use crate::names::{Address, Port};
use crate::tools::autoupdate_toggle::cli::DaemonRequest;

/// The pid file of the manual, for a configuration that names none.
const PID_FILE: &str = "/tmp/rsyncd.pid";

/// What a configuration and the command line say about a daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration, from the root.
    pub config: PathBuf,
    /// Its pid file.
    pub pid_file: PathBuf,
    /// Who says so.
    pub pid_file_by: By,
    /// Its port.
    pub port: Port,
    /// Who says so.
    pub port_by: By,
    /// The one address that it listens on; every address of the host where there is none.
    pub address: Option<Address>,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The command line.
    Option,
    /// The configuration.
    Configuration,
    /// Nobody: the manual's own.
    Manual,
}

impl Settings {
    /// Reads what the daemon reads when it starts. Fails (exit 2) on a file that cannot be read as the daemon reads it.
    ///
    /// The request's paths are from the root.
    pub fn read(request: &DaemonRequest, conf: &RsyncdConf) -> Result<Settings> {
        let value = |key: &str| conf.at_start(key).map_err(|problem| problem.of_module(b""));
        let in_file = |e: Error, key: &str, place: &Place| e.context(format!("{place}: {key}"));
        let (pid_file, pid_file_by) = match (&request.pid_file, value("pid file")?) {
            (Some(path), _) => (path.clone(), By::Option),
            (None, Some((path, _))) => (OsStr::from_bytes(&path).into(), By::Configuration),
            (None, None) => (PID_FILE.into(), By::Manual),
        };
        let (port, port_by) = match (request.port, value("port")?) {
            (Some(port), _) => (port, By::Option),
            (None, Some((text, place))) => {
                (Port::parse(&text).map_err(|e| in_file(e, "port", &place))?, By::Configuration)
            }
            (None, None) => (Port::RSYNC, By::Manual),
        };
        let address = match value("address")? {
            Some((text, place)) => Some(Address::parse(&text).map_err(|e| in_file(e, "address", &place))?),
            None => None,
        };
        Ok(Settings { config: request.config.clone(), pid_file, pid_file_by, port, port_by, address })
    }

    /// What rsync is started with.
    pub fn start_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--daemon".into(), with_value("--config=", &self.config)];
        if self.port_by == By::Option {
            arguments.push(format!("--port={}", self.port).into());
        }
        if self.pid_file_by == By::Option {
            arguments.push(with_value("--dparam=pidfile=", &self.pid_file));
        }
        arguments
    }
}

fn with_value(option: &str, value: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(value);
    argument
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::rsyncd_conf::include::Found;

    #[test]
    fn the_settings_are_the_command_lines_then_the_configurations_then_the_manuals() {
        let mut request = DaemonRequest { config: "/c".into(), pid_file: None, port: None };
        let read = |request: &DaemonRequest, source: &[u8]| {
            let look = &mut |path: &Path| match path.to_str() {
                Some("/g") => Found::File(b"\npid file=/p\nport=x\n".to_vec()),
                _ => Found::Nothing("no such file".to_owned()),
            };
            let conf = RsyncdConf::read(&request.config, source, look);
            let settings = Settings::read(request, &conf)?;
            Ok((
                settings.pid_file.display().to_string(),
                settings.port.number(),
                settings.start_arguments().len(),
            ))
        };
        assert_eq!(read(&request, b"[m]\npid file=/p\n"), Ok(("/tmp/rsyncd.pid".to_owned(), 873, 2)));
        assert_eq!(read(&request, b"pid file=/p\nport=1873\n"), Ok(("/p".to_owned(), 1873, 2)));
        assert_eq!(read(&request, b"&include /g\nport=1\n"), Ok(("/p".to_owned(), 1, 2)));
        for (wrong, said) in [
            (&b"a=b\nport=0\n"[..], "/c:2: port: "),
            (b"address=a b\n", "/c:1: address: "),
            (b"&include /d\n", "/c:1:1: &include: no such file; "),
            (b"&include /g\n[m]\n", "/g:3: port: "),
        ] {
            let error: Result<_> = read(&request, wrong);
            assert!(error.unwrap_err().to_string().starts_with(said), "{said}");
        }
        request.pid_file = Some("/q".into());
        request.port = Some(Port::RSYNC);
        assert_eq!(read(&request, b"pid file=/p\nport=1873\n"), Ok(("/q".to_owned(), 873, 4)));
    }
}
