//! The edit of one file: carried out, or only shown.

use std::path::Path;

use crate::error::{Error, Result, one_line};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::terminal;

/// The largest file whose edit is shown, in bytes: as large as the largest that is edited, a registry.
const SHOWN_LIMIT: u64 = 64 << 20;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Replace the file.
    Replace(Vec<u8>),
    /// A line for the operator.
    Say(String),
}

/// Whether anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Write,
    /// What would be written is shown.
    Show,
}

/// `--dry-run`, as every edit of a file has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct DryRunOption {
    /// Show what would be written, as a diff; nothing is written, and no lock is taken
    #[arg(long)]
    pub dry_run: bool,
}

impl DryRunOption {
    /// What was asked for.
    pub fn mode(self) -> Mode {
        if self.dry_run { Mode::Show } else { Mode::Write }
    }
}

/// Carries the steps out in order. When they are only shown, what would be said afterwards is left out.
pub fn apply(actions: &[Action], file: &Path, mode: Mode) -> Result<()> {
    let changes = actions.iter().any(|action| matches!(action, Action::Replace(_)));
    for action in actions {
        log::debug!("{action:?}");
        match (action, mode) {
            (Action::Replace(bytes), _) if bytes.len() as u64 > CONFIGURATION_LIMIT => {
                let (file, size) = (file.display(), bytes.len());
                return Err(Error::failed(format!(
                    "{file}: it would have {size} bytes, more than is read here; edit it by hand"
                )));
            }
            (Action::Replace(bytes), Mode::Write) => files::replace_atomically(file, bytes)?,
            (Action::Replace(bytes), Mode::Show) => show(file, bytes)?,
            (Action::Say(_), Mode::Show) if changes => {}
            (Action::Say(line), _) => terminal::say(one_line(line)),
        }
    }
    Ok(())
}

/// Shows what a file is and what it would be.
pub fn show(file: &Path, bytes: &[u8]) -> Result<()> {
    let old = files::read_if_exists(file, SHOWN_LIMIT)?;
    terminal::show_diff(&file.display().to_string(), old.as_deref(), bytes);
    Ok(())
}
