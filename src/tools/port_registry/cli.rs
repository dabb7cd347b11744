//! Arguments of `port-registry` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::formats::port_table::is_cell;
use crate::names::{ModelName, Port, ServiceId, shown};
use crate::tools::WaitOption;
use crate::tools::edit::{DryRunOption, Mode};

/// The table of ports and service ids (manual, step 4.7): one Markdown table, kept by hand.
#[derive(Debug, Parser)]
#[command(name = "port-registry", version)]
pub struct Cli {
    #[command(subcommand)]
    action: Typed,
}

#[derive(Debug, Subcommand)]
enum Typed {
    /// Print the table, its columns aligned
    List(FileOption),
    /// Find ports and service ids that are taken twice, rows that cannot be read, and every service.conf of the monitor
    /// that the table does not agree with: one line for each on standard output; nothing is written
    Check(FileOption),
    /// Add a row, unless its port or service id is taken
    Add(Added),
}

#[derive(Debug, Args)]
struct FileOption {
    /// The file with the table [default: $PORT_REGISTRY, otherwise scripts/dispatch/conf/ports.md of the monitor]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Added {
    /// The port that the service listens on
    #[arg(value_name = "PORT")]
    port: OsString,
    /// What the service is called in the service discovery
    #[arg(value_name = "SERVICE_ID")]
    service_id: OsString,
    /// The model, if the table has a column for it [default: SERVICE_ID]
    #[arg(long, value_name = "MODEL")]
    model: Option<OsString>,
    /// What is written into another column, by its title; may be given several times
    #[arg(long, value_name = "COLUMN=TEXT")]
    set: Vec<OsString>,
    #[command(flatten)]
    file: FileOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    dry_run: DryRunOption,
}

/// What to do with the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Print it.
    List,
    /// Look for clashes.
    Check,
    /// Add a row.
    Add(NewRow, WaitOption, Mode),
}

/// A row that is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The port.
    pub port: Port,
    /// The service id.
    pub service_id: ServiceId,
    /// The model, if it was named.
    pub model: Option<ModelName>,
    /// Titles of other columns, and what goes into them.
    pub others: Vec<(String, String)>,
}

impl Cli {
    /// Validates the arguments. Fails (exit 2) before any file is touched. Returns the file, too, if it was named.
    pub fn task(self) -> Result<(Task, Option<PathBuf>)> {
        match self.action {
            Typed::List(option) => Ok((Task::List, option.file)),
            Typed::Check(option) => Ok((Task::Check, option.file)),
            Typed::Add(added) => {
                let model = added.model.as_ref().map(|model| ModelName::parse(model.as_bytes()));
                let row = NewRow {
                    port: Port::parse(added.port.as_bytes())?,
                    service_id: ServiceId::parse(added.service_id.as_bytes())?,
                    model: model.transpose()?,
                    others: added.set.iter().map(column).collect::<Result<_>>()?,
                };
                Ok((Task::Add(row, added.wait, added.dry_run.mode()), added.file.file))
            }
        }
    }
}

fn column(typed: &OsString) -> Result<(String, String)> {
    let pair = typed.to_str().and_then(|text| text.split_once('='));
    match pair.filter(|(title, text)| !title.trim().is_empty() && is_cell(text)) {
        Some((title, text)) => Ok((title.trim().to_owned(), text.trim().to_owned())),
        None => Err(Error::usage(format!(
            "--set {} cannot be written into a row; write COLUMN=TEXT, one line of UTF-8",
            shown(typed.as_bytes())
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(arguments: &[&str]) -> Option<(Task, Option<PathBuf>)> {
        Cli::try_parse_from(["port-registry"].iter().chain(arguments)).ok()?.task().ok()
    }

    #[test]
    fn a_row_is_a_port_a_service_id_and_what_else_the_table_asks_for() {
        let typed = ["add", "17019", "mblog_yellow", "--set", "负责人= a | b=c ", "--file", "t.md"];
        let (Task::Add(row, ..), file) = task(&typed).unwrap() else { panic!() };
        assert_eq!((row.port.number(), row.service_id.as_str(), row.model), (17019, "mblog_yellow", None));
        assert_eq!(row.others, [("负责人".to_owned(), "a | b=c".to_owned())]);
        assert_eq!(file, Some("t.md".into()));
        assert_eq!(task(&["check"]), Some((Task::Check, None)));
    }

    #[test]
    fn what_would_break_the_table_is_refused() {
        for wrong in [
            &["add", "0", "m"][..],
            &["add", "17019", "a b"],
            &["add", "17019", "`m`"],
            &["add", "17019"],
            &["add", "17019", "m", "--model", "../m"],
            &["add", "17019", "m", "--set", "owner"],
            &["add", "17019", "m", "--set", "=x"],
            &["add", "17019", "m", "--set", "owner=a\nb"],
            &["add", "17019", "m", "--set", "owner=\u{1b}[2J"],
            &["list", "--wait", "1"],
            &["remove", "17019"],
            &[],
        ] {
            assert_eq!(task(wrong), None, "{wrong:?}");
        }
    }
}
