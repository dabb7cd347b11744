//! Arguments of `rsync-push` -> a typed request.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Error, Result};
use crate::tools::WaitOption;

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
    /// Delete from the monitor's upload what is not pushed any more; without it files of earlier pushes stay there
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    wait: WaitOption,
}

/// What happens to files that the monitor has and this push has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extraneous {
    /// They stay, as with rsync.sh: a version is the union of all pushes.
    Stay,
    /// They are deleted: a version is what was pushed (defect 17).
    AreDeleted,
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
    /// What happens to files of earlier pushes.
    pub extraneous: Extraneous,
    /// How long to wait for another push.
    pub wait: WaitOption,
}

impl Cli {
    /// The request. Any first argument but `update` is answered by a usage line and exit code 1 (contract section 3).
    pub fn request(self) -> Result<Request> {
        match self.action {
            Some(action) if action == "update" => {
                let extraneous = if self.delete { Extraneous::AreDeleted } else { Extraneous::Stay };
                Ok(Request { dir: self.dir, source: self.source, extraneous, wait: self.wait })
            }
            _ => Err(Error::failed(
                "usage: rsync-push update [--dir DIR] [--source online|deploy] [--delete] [--wait SECONDS]",
            )),
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
        let wait = WaitOption::default();
        let plain = Request { dir: None, source: None, extraneous: Extraneous::Stay, wait };
        assert_eq!(request(&["update"]), Ok(plain));
        let named = Request {
            dir: Some("/d".into()),
            source: Some(Source::Deploy),
            extraneous: Extraneous::AreDeleted,
            wait,
        };
        assert_eq!(request(&["update", "--dir", "/d", "--source", "deploy", "--delete"]), Ok(named));
        assert_eq!(request(&[]), Err(1));
        assert_eq!(request(&["upload"]), Err(1));
    }
}
