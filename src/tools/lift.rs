//! Denials of `autoupdate-toggle disable --method rsyncd --until TIME` whose time has come, ended by whatever runs often.

use std::path::Path;

use crate::error::{Error, Exit, Result};
use crate::formats::rsyncd_conf::RsyncdConf;
use crate::formats::rsyncd_conf::until::{self, Lifted};
use crate::layout;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment};
use crate::names::shown;
use crate::tools::edit::{self, Action, Mode};

/// Admits again whose denial is over; what was done is said. Nothing is written, and no lock is taken, while nothing is due.
///
/// Fails when the file cannot be judged or written, and where a denial has to stay.
pub fn due_denials() -> Result<()> {
    let file = environment::rsyncd_conf();
    if lift(&file, &read(&file))?.is_none() {
        return Ok(());
    }
    let _lock = match Lock::take(&layout::lock_of(&file), Wait::No) {
        // Somebody edits the file: then at the next tick.
        Err(error) if error.exit == Exit::Locked => return Ok(()),
        lock => lock?,
    };
    let Some((lifted, edited)) = lift(&file, &read(&file))? else { return Ok(()) };
    let mut actions = vec![Action::Replace(edited)];
    let mut problem = None;
    for Lifted { module, ranges, stays } in lifted {
        let (file, module) = (file.display(), shown(&module));
        let ranges = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if stays {
            problem = Some(Error::failed(format!(
                "{file}: the denial of {ranges} in module {module} is over, but without it hosts allow would admit nobody \
                 else; edit hosts allow, then enable them"
            )));
        } else {
            actions.push(Action::Say(format!(
                "{file}: admitted again in module {module}, as it was to be: {ranges}"
            )));
        }
    }
    if actions.len() > 1 {
        edit::apply(&actions, &file, Mode::Write)?;
    }
    problem.map_or(Ok(()), Err)
}

/// A file that is not there, or not this user's to read, denies nobody until a time that is ours to end.
fn read(file: &Path) -> Vec<u8> {
    match files::read_if_exists(file, CONFIGURATION_LIMIT) {
        Ok(source) => source.unwrap_or_default(),
        Err(error) => {
            log::debug!("{error}");
            Vec::new()
        }
    }
}

/// What is due, and the file without it.
fn lift(file: &Path, source: &[u8]) -> Result<Option<(Vec<Lifted>, Vec<u8>)>> {
    if !until::is_mentioned(source) {
        return Ok(None);
    }
    let mut conf = RsyncdConf::parse(source);
    let lifted = conf.lift(clock::now().instant).map_err(|problem| problem.in_file(file, b""))?;
    Ok((!lifted.is_empty()).then(|| (lifted, conf.render().to_vec())))
}
