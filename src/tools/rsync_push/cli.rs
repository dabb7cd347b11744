//! Arguments of `rsync-push` -> a typed request.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Error, Result};

/// Pushes a model's .so files and data to the monitor, and announces them last. Replaces rsync.sh.
#[derive(Debug, Parser)]
#[command(name = "rsync-push", version)]
pub struct Cli {
    /// What to do; there is one thing
    #[arg(value_name = "update")]
    action: Option<OsString>,
    /// The model's deploy directory [default: the working directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Which layout to push where both are present
    #[arg(long, value_enum)]
    source: Option<Source>,
}

/// Where the files to push are, below the deploy directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// online/release and online/data
    Online,
    /// release and data beside env.sh, copied to online/lib and online/data first
    Deploy,
}

/// What is to be pushed.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The deploy directory; `None` is the working directory.
    pub dir: Option<PathBuf>,
    /// The layout, if it was named.
    pub source: Option<Source>,
}

impl Cli {
    /// The request. Any first argument but `update` is answered by a usage line and exit code 1 (contract section 3).
    pub fn request(self) -> Result<Request> {
        match self.action {
            Some(action) if action == "update" => Ok(Request { dir: self.dir, source: self.source }),
            _ => Err(Error::failed("usage: rsync-push update [--dir DIR] [--source online|deploy]")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn update_is_the_only_action_and_another_exits_with_1() {
        let request = |arguments: &[&str]| {
            Cli::try_parse_from(["rsync-push"].iter().chain(arguments))
                .unwrap()
                .request()
                .map_err(|e| e.exit.code())
        };
        assert_eq!(request(&["update"]), Ok(Request { dir: None, source: None }));
        let named = Request { dir: Some("/d".into()), source: Some(Source::Deploy) };
        assert_eq!(request(&["update", "--dir", "/d", "--source", "deploy"]), Ok(named));
        assert_eq!(request(&[]), Err(1));
        assert_eq!(request(&["upload"]), Err(1));
    }
}
