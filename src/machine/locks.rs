//! Advisory locks (flock): one run at a time, released by the kernel however the run ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use fs2::FileExt;

use crate::error::{Error, Result};
use crate::machine::{clock, files, proc};

/// How long to wait for a lock that another run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most that long.
    AtMost(Duration),
}

/// A held lock. Dropping it releases it; so does the kernel when the process dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file would not do where another thread has just forked a child, which has it open until it becomes its program.
    fn drop(&mut self) {
        if let Err(error) = FileExt::unlock(&self.file) {
            log::debug!("cannot unlock: {error}");
        }
    }
}

impl Lock {
    /// Takes the lock on a file, which is created where it is missing and never removed. One that
    /// was replaced or removed by somebody else is noticed: then it is the new file that counts.
    /// Its content says who holds it and since when. The descriptor is close-on-exec, so that no
    /// started service keeps the lock (defect 22).
    ///
    /// Fails with exit 75 when another run still holds it at the end of the wait; and when the path is a link or no regular
    /// file: whoever may write to the directory must not choose the file into which the owner is noted.
    pub fn take(path: &Path, wait: Wait) -> Result<Lock> {
        let asked = Instant::now();
        loop {
            let lock = Lock::take_opened(path, wait, asked)?;
            // Somebody may have put another file there since it was opened: then another run locks
            // that one.
            if lock.is_at(path)? {
                return Ok(lock);
            }
        }
    }

    /// Whether the path still leads to the file that is locked: otherwise another run may hold the
    /// lock, too.
    pub fn is_at(&self, path: &Path) -> Result<bool> {
        let known = self.file.metadata().map_err(|e| Error::io("look at the lock", path, &e))?;
        match std::fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (known.dev(), known.ino())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("look at the lock", path, &e)),
        }
    }

    fn take_opened(path: &Path, wait: Wait, asked: Instant) -> Result<Lock> {
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut to_note = OpenOptions::new();
        to_note.read(true).write(true).create(true).truncate(false).mode(0o666).custom_flags(flags);
        let mut file = match to_note.open(path) {
            // Another user's lock can be taken, only the owner cannot be noted in it.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                OpenOptions::new().read(true).custom_flags(flags).open(path)
            }
            opened => opened,
        }
        .map_err(|e| files::not_followed("open the lock", path, &e))?;
        let metadata = file.metadata().map_err(|e| Error::io("open the lock", path, &e))?;
        if !metadata.is_file() {
            return Err(files::not_regular(path));
        }
        loop {
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) => break,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => {
                    return Err(Error::io("lock", path, &e));
                }
                Err(_) => {}
            }
            match wait {
                Wait::AtMost(limit) if asked.elapsed() < limit => clock::pause(Duration::from_millis(50)),
                _ => return Err(Error::locked(held_by(&mut file, path))),
            }
        }
        let owner = format!("pid {} since {}\n", std::process::id(), clock::now().date_words());
        // The owner's note is for people; a full disk must not stop the run that may be about to free it.
        // Nor is it written to a file that has another name elsewhere.
        let noted = match metadata.nlink() {
            1 => file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner.as_bytes())),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            log::debug!("cannot note the owner in {}: {error}", path.display());
        }
        Ok(Lock { file })
    }
}

/// Fails as [`Lock::take`] does without a wait (exit 75 while another run holds the lock), and changes nothing: the file is
/// neither created nor written, nor is the lock tried, since a run that begins at that instant would be turned away. By the
/// kernel's table of locks: where that does not show who holds it, it is not known to be held.
pub fn check_free(path: &Path) -> Result<()> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|e| files::not_followed("open the lock", path, &e))?,
    };
    if !file.metadata().map_err(|e| Error::io("open the lock", path, &e))?.is_file() {
        return Err(files::not_regular(path));
    }
    match proc::is_flocked(&file) {
        true => Err(Error::locked(held_by(&mut file, path))),
        false => Ok(()),
    }
}

fn held_by(file: &mut File, path: &Path) -> String {
    let mut owner = String::new();
    let _ = file.take(200).read_to_string(&mut owner);
    let owner = match owner.trim() {
        "" => "another run",
        known => known,
    };
    format!("{} is held by {owner}; wait for it to end", path.display())
}
