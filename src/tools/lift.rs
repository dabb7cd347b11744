//! Denials of `autoupdate-toggle disable --method rsyncd --until TIME` whose time has come, ended by whatever runs often.

use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result, one_line};
use crate::formats::rsyncd_conf::until::{self, Lifted};
use crate::layout;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment, terminal};
use crate::names::shown;
use crate::tools::edit::{self, Action, Mode};
use crate::tools::rsyncd_files;

/// What is due, and the files without it.
#[derive(Default)]
struct Due {
    lifted: Vec<Lifted>,
    edited: Vec<(PathBuf, Vec<u8>)>,
}

/// Admits again whose denial is over; what was done is said. Nothing is written, and no lock is taken, while nothing is due, or
/// where it is only shown.
///
/// Fails when the configuration cannot be judged or written, and where a denial has to stay.
pub fn due_denials(mode: Mode) -> Result<()> {
    let file = environment::rsyncd_conf();
    let seen = due(&file)?;
    if seen.lifted.is_empty() {
        return Ok(());
    }
    if mode == Mode::Show {
        seen.edited.iter().try_for_each(|(path, bytes)| edit::show(path, bytes))?;
        let stays =
            seen.lifted.into_iter().filter(|lifted| lifted.stays).map(|lifted| said(lifted).map(drop));
        return stays.fold(Ok(()), Result::and);
    }
    let others = seen.edited.iter().map(|(path, _)| path).filter(|path| **path != file);
    let mut locks = Vec::new();
    for path in [&file].into_iter().chain(others) {
        match Lock::take(&layout::lock_of(path), Wait::No) {
            // Somebody edits the file: then at the next tick.
            Err(error) if error.exit == Exit::Locked => return Ok(()),
            lock => locks.push(lock?),
        }
    }
    let Due { lifted, edited } = due(&file)?;
    if edited.iter().any(|(path, _)| *path != file && seen.edited.iter().all(|(locked, _)| locked != path)) {
        // It is due in a file that was not locked: then at the next tick, too.
        return Ok(());
    }
    for (path, bytes) in edited {
        edit::apply(&[Action::Replace(bytes)], &path, Mode::Write)?;
    }
    let mut problem = None;
    for lifted in lifted {
        match said(lifted) {
            Ok(line) => terminal::say(one_line(&line)),
            Err(error) => problem = Some(error),
        }
    }
    problem.map_or(Ok(()), Err)
}

/// What was done about a denial, or why it has to stay.
fn said(Lifted { module, ranges, file, stays }: Lifted) -> Result<String> {
    let (file, module) = (file.display(), shown(&module));
    let ranges = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if stays {
        return Err(Error::failed(format!(
            "{file}: the denial of {ranges} in module {module} is over, but without it hosts allow would admit nobody \
             else; edit hosts allow, then enable them"
        )));
    }
    Ok(format!("{file}: admitted again in module {module}, as it was to be: {ranges}"))
}

/// A configuration that is not there, or not this user's to read, denies nobody until a time that is ours to end.
fn due(file: &Path) -> Result<Due> {
    let source = files::read_if_exists(file, CONFIGURATION_LIMIT).unwrap_or_else(|error| {
        log::debug!("{error}");
        None
    });
    let Some(source) = source.filter(|source| until::may_be_mentioned(source)) else {
        return Ok(Due::default());
    };
    let before = rsyncd_files::with_included(file, &source);
    if !before.mentions_an_end() {
        return Ok(Due::default());
    }
    let mut conf = before.clone();
    let lifted = conf.lift(clock::now().instant).map_err(|problem| problem.of_module(b""))?;
    let edited = conf.changed_since(&before).into_iter();
    Ok(Due { lifted, edited: edited.map(|(path, bytes)| (path.to_path_buf(), bytes.to_vec())).collect() })
}
