//! Arguments of `dispatch` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Parser;

use crate::error::{Error, Result};
use crate::names::{ModelName, SoName, shown};
use crate::tools::WaitOption;

/// Publishes a complete upload as a version, announces it in service.conf, and ends an upgrade that every member
/// confirmed. Replaces dispatch.sh and dispatchserver.sh.
#[derive(Debug, Parser)]
#[command(name = "dispatch", version)]
pub struct Cli {
    /// The model's directory below datamining_plugin and datamining_service
    #[arg(required_unless_present = "all", value_name = "APPNAME")]
    model: Option<OsString>,
    /// Where the members keep the model's versions
    #[arg(required_unless_present = "all", value_name = "PREFIXPATH")]
    prefix: Option<OsString>,
    /// The library's file name
    #[arg(required_unless_present = "all", value_name = "SONAME")]
    so_name: Option<OsString>,
    /// Do every stanza of the registry in one process [default: MONITOR_ROOT/scripts/dispatch/bin/dispatchserver.sh]
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with_all = ["model", "prefix", "so_name"])]
    all: Option<Option<PathBuf>>,
    #[command(flatten)]
    wait: WaitOption,
}

/// One model as a registry line or the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model.
    pub model: ModelName,
    /// Where members keep its versions.
    pub prefix: String,
    /// The library's file name.
    pub so_name: SoName,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// One model.
    One(Target),
    /// Every model of a registry; `None` is the monitor's own.
    All(Option<PathBuf>),
}

impl Target {
    /// Validates the three arguments of dispatch.sh.
    ///
    /// Fails (exit 2) on a name that is not one, and on a prefix path with white space or control characters: written
    /// into service.conf it could not be found again by the next edit.
    pub fn parse(model: &[u8], prefix: &[u8], so_name: &[u8]) -> Result<Target> {
        let model = ModelName::parse(model)?;
        let so_name = SoName::parse(so_name)?;
        match std::str::from_utf8(prefix) {
            Ok(path)
                if path.starts_with('/') && !path.chars().any(|c| c.is_whitespace() || c.is_control()) =>
            {
                Ok(Target { model, prefix: path.trim_end_matches('/').to_owned(), so_name })
            }
            _ => Err(Error::usage(format!(
                "{} is not a prefix path; write an absolute path without blanks",
                shown(prefix)
            ))),
        }
    }
}

impl Cli {
    /// What is to be done, and how long to wait for a lock.
    pub fn request(self) -> Result<(Request, WaitOption)> {
        let request = match (self.all, self.model, self.prefix, self.so_name) {
            (Some(file), ..) => Request::All(file),
            (None, Some(model), Some(prefix), Some(so_name)) => {
                Request::One(Target::parse(model.as_bytes(), prefix.as_bytes(), so_name.as_bytes())?)
            }
            _ => return Err(Error::usage("APPNAME, PREFIXPATH and SONAME are needed; see dispatch --help")),
        };
        Ok((request, self.wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(arguments: &[&str]) -> Option<Request> {
        Cli::try_parse_from(["dispatch"].iter().chain(arguments))
            .ok()?
            .request()
            .ok()
            .map(|(request, _)| request)
    }

    #[test]
    fn the_three_arguments_of_the_script_are_one_target() {
        let target = Target::parse(b"m", b"/w/plugin/m", b"m.so").unwrap();
        assert_eq!(request(&["m", "/w/plugin/m", "m.so"]), Some(Request::One(target)));
        assert_eq!(request(&["--all"]), Some(Request::All(None)));
        assert_eq!(request(&["--all", "r.sh"]), Some(Request::All(Some("r.sh".into()))));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for wrong in [
            &[][..],
            &["m"],
            &["m", "/w"],
            &["m", "/w", "m.so", "x"],
            &["../m", "/w", "m.so"],
            &["m", "/w w", "m.so"],
            &["m", "w", "m.so"],
            &["m", "/w", "lib/m.so"],
            &["m", "/w", "m.so", "--wait", "-1"],
        ] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }
}
