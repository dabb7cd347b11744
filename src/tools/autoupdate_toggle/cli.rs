//! Arguments of `autoupdate-toggle` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Error, Result};
use crate::ip_range::IpRange;
use crate::layout::{POLLER_CRONTAB, RSYNCD_CONF, SERVICE_MODULE};

/// Turns automatic updates off for some members, and on again: on the monitor by the addresses that its rsync daemon
/// denies (--method rsyncd), or on a member by its poller's crontab line (--method crontab).
#[derive(Debug, Parser)]
#[command(name = "autoupdate-toggle", version)]
pub struct Cli {
    /// Turn updates off, turn them on again, or say how it is
    #[arg(value_enum)]
    action: Verb,
    /// By the daemon's configuration, or by a member's crontab
    #[arg(long, value_enum)]
    method: Method,
    /// rsyncd: the daemon's configuration [default: /etc/rsyncd.conf]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// rsyncd: the module that members fetch from [default: datamining_service]
    #[arg(long, value_name = "NAME")]
    module: Option<OsString>,
    /// rsyncd: the members' addresses, or ranges of them such as 10.85.136.0/24; `status` lists all without it
    #[arg(long, value_name = "A,B,...")]
    ip: Vec<OsString>,
    /// crontab: the crontab with the poller's line [default: /var/spool/cron/root]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verb {
    /// Turn updates off
    Disable,
    /// Turn updates on again
    Enable,
    /// Say how it is; nothing is written
    Status,
}

/// The manual's two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// `hosts deny` of the daemon's configuration, on the monitor
    Rsyncd,
    /// The poller's line, on a member
    Crontab,
}

/// Where to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// By the daemon's configuration.
    Rsyncd {
        /// The configuration.
        config: PathBuf,
        /// The module.
        module: Vec<u8>,
        /// Whom it is about; none is everybody, for [`Verb::Status`] only.
        ranges: Vec<IpRange>,
    },
    /// By a crontab.
    Crontab {
        /// The crontab.
        file: PathBuf,
    },
}

impl Cli {
    /// Validates the arguments. Fails (exit 2) before any file is touched.
    pub fn request(self) -> Result<(Verb, Request)> {
        let request = match self.method {
            Method::Rsyncd => {
                refuse("--file", "crontab", self.file.as_ref())?;
                let ranges = ranges(&self.ip)?;
                if ranges.is_empty() && (self.action != Verb::Status || !self.ip.is_empty()) {
                    return Err(Error::usage("--ip names no address; write at least one"));
                }
                Request::Rsyncd {
                    config: self.config.unwrap_or_else(|| RSYNCD_CONF.into()),
                    module: self.module.map_or_else(|| SERVICE_MODULE.into(), OsString::into_vec),
                    ranges,
                }
            }
            Method::Crontab => {
                refuse("--config", "rsyncd", self.config.as_ref())?;
                refuse("--module", "rsyncd", self.module.as_ref())?;
                refuse("--ip", "rsyncd", self.ip.first())?;
                Request::Crontab { file: self.file.unwrap_or_else(|| POLLER_CRONTAB.into()) }
            }
        };
        Ok((self.action, request))
    }
}

/// Refuses an option that was given and belongs to the other method.
fn refuse<T>(option: &str, method: &str, given: Option<T>) -> Result<()> {
    match given {
        Some(_) => Err(Error::usage(format!("{option} belongs to --method {method}; leave it out"))),
        None => Ok(()),
    }
}

fn ranges(texts: &[OsString]) -> Result<Vec<IpRange>> {
    let mut ranges = Vec::new();
    for text in texts {
        let words = text.as_bytes().split(|b| *b == b',' || b.is_ascii_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let range = IpRange::parse(word)?;
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Option<(Verb, Request)> {
        Cli::try_parse_from(line.split(' ')).ok()?.request().ok()
    }

    #[test]
    fn the_manuals_files_and_module_are_the_defaults() {
        let ranges = vec![IpRange::parse(b"10.85.136.181").unwrap(), IpRange::parse(b"10.0.0.0/8").unwrap()];
        let rsyncd = |ranges| Request::Rsyncd {
            config: "/etc/rsyncd.conf".into(),
            module: b"datamining_service".to_vec(),
            ranges,
        };
        let typed = "t disable --method rsyncd --ip 10.85.136.181,10.0.0.0/8,10.85.136.181";
        assert_eq!(request(typed), Some((Verb::Disable, rsyncd(ranges))));
        assert_eq!(request("t status --method rsyncd"), Some((Verb::Status, rsyncd(vec![]))));
        let crontab = Request::Crontab { file: "/var/spool/cron/root".into() };
        assert_eq!(request("t enable --method crontab"), Some((Verb::Enable, crontab)));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for wrong in [
            "t",
            "t disable",
            "t pause --method crontab",
            "t disable --method cron",
            "t disable --method rsyncd",
            "t disable --method rsyncd --ip ,",
            "t status --method rsyncd --ip ,",
            "t disable --method rsyncd --ip host",
            "t disable --method rsyncd --ip 10.0.0.1 --file x",
            "t disable --method crontab --ip 10.0.0.1",
            "t disable --method crontab --config x",
            "t disable --method crontab --module m",
        ] {
            assert_eq!(request(wrong), None, "{wrong}");
        }
    }
}
