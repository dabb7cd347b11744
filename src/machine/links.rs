//! Files that two versions have in common: the later version gets a second name of the earlier one's file, so that nothing
//! is moved or written for it. That is safe because nobody writes into a version that is in its place: whoever exchanges a
//! file of it gives the name to a new one.

use std::io::Read;
use std::path::{Path, PathBuf};

use nix::sys::stat::{self, FileStat};

use crate::by_path::ByPath;
use crate::digest::{FileFacts, Files};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::machine::directory::{self, Directory};
use crate::machine::files::{self, Kind};
use crate::machine::trees::{self, Entry, Survey};

/// What a file would be like if it were made anew.
#[derive(Debug, Clone, Copy)]
struct Made {
    umask: u32,
    uid: u32,
    gid: u32,
}

impl Made {
    /// As a directory that this process has just made tells.
    fn below(dir: &Directory) -> Option<Made> {
        let found = dir.itself().ok()?;
        Some(Made { umask: !found.st_mode & 0o777, uid: found.st_uid, gid: found.st_gid })
    }

    /// Whether what is there is what would be made with this mode.
    fn is_like(self, found: &FileStat, mode: u32) -> bool {
        (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (self.uid, self.gid, mode & !self.umask)
    }
}

/// The files that [`take_over`] gave a second name, by their paths.
pub type Taken = ByPath<(Identity, FileFacts)>;

/// Gives files of earlier versions a second name in a directory that is to become a version: those whose bytes, read now,
/// are what is wanted, and whose mode and owner are what they would be if they were made anew. Whatever cannot be taken over
/// is left out.
pub fn take_over(wanted: &Files, earlier: &[PathBuf], destination: &Path) -> Taken {
    let mut taken = Taken::default();
    let Ok(destination) = Directory::open(destination) else { return taken };
    let Some(made) = Made::below(&destination) else { return taken };
    let earlier: Vec<Directory> =
        earlier.iter().filter_map(|version| Directory::open(version).ok()).collect();
    for (path, facts) in wanted.iter() {
        let found = earlier.iter().find_map(|version| {
            take(version, path, facts, made, &destination).unwrap_or_else(|error| {
                log::debug!("not taken over: {error}");
                None
            })
        });
        if let Some(identity) = found {
            taken.insert(path, (identity, *facts));
        }
    }
    taken
}

fn take(
    version: &Directory,
    path: &[u8],
    wanted: &FileFacts,
    made: Made,
    destination: &Directory,
) -> Result<Option<Identity>> {
    let Ok(found) = version.look_at(path) else { return Ok(None) };
    let identity = directory::identity_of(&found);
    if !is_shareable(&found, wanted.size, wanted.mode, made) {
        return Ok(None);
    }
    if trees::digest_of(version, path, wanted.size)? != (wanted.digest, wanted.size) {
        return Ok(None);
    }
    if !mirror_directories(version, path, made, destination)? {
        return Ok(None);
    }
    Ok(link(version, path, identity, destination)?.then_some(identity))
}

/// Whether a file would be like this if it were made anew.
fn is_shareable(found: &FileStat, size: u64, mode: u32, made: Made) -> bool {
    directory::kind_of(found) == Kind::File
        && directory::identity_of(found).size == size
        && made.is_like(found, mode)
}

/// Gives a file a second name, if it still is the one that was read; returns whether it was given.
fn link(version: &Directory, path: &[u8], identity: Identity, destination: &Directory) -> Result<bool> {
    let failed = |e: std::io::Error| Error::io("link to", &version.path_of(path), &e);
    version.link_into(destination, path).map_err(failed)?;
    if directory::identity_of(&destination.look_at(path).map_err(failed)?) == identity {
        return Ok(true);
    }
    files::remove_if_exists(&destination.path_of(path)).map(|()| false)
}

/// Makes the directories above a path, each like that of the earlier version; returns whether they are there.
fn mirror_directories(version: &Directory, path: &[u8], made: Made, destination: &Directory) -> Result<bool> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for dir in ends.map(|(end, _)| &path[..end]) {
        if destination.look_at(dir).is_ok_and(|there| directory::kind_of(&there) == Kind::Directory) {
            continue;
        }
        let failed = |e: std::io::Error| Error::io("create", &destination.path_of(dir), &e);
        let found = version.look_at(dir).map_err(failed)?;
        let mode = found.st_mode & 0o7777;
        // What does not let its owner write could not be filled.
        if directory::kind_of(&found) != Kind::Directory
            || !made.is_like(&found, mode)
            || mode & 0o700 != 0o700
        {
            return Ok(false);
        }
        destination.create_directory(dir, mode).map_err(failed)?;
    }
    Ok(true)
}

/// The regular files of what was surveyed with their digests: of those that were taken over, and still are what they were, what is
/// known; the others are read.
pub fn digest(root: &Path, survey: &Survey, taken: &Taken) -> Result<Files> {
    trees::digest_unless(root, survey, |path, entry| {
        let (identity, facts) = taken.get(path)?;
        (*identity == entry.identity).then_some(*facts)
    })
}

/// A version that is in its place, and the files of it that the next one holds, too, as far as is known.
#[derive(Debug)]
pub struct Earlier {
    /// Its directory.
    pub dir: PathBuf,
    /// Those files.
    pub files: Files,
}

impl Earlier {
    /// What [`trees::copy`] shares: a file gets a second name in the copy instead of being copied, if it would be like a copy, and
    /// has the bytes that the source is read to have. A file that rotted on the disk is not handed on. `None` where nothing can
    /// be shared.
    pub fn sharing(
        self,
        copy: &Path,
    ) -> Option<impl Fn(&Directory, &[u8], &Entry, &Directory) -> Option<FileFacts>> {
        let made = Made::below(&Directory::open(copy).ok()?)?;
        let version = Directory::open(&self.dir).ok()?;
        Some(move |source: &Directory, path: &[u8], entry: &Entry, destination: &Directory| {
            self.files.get(path)?;
            share(&version, source, path, entry, made, destination).unwrap_or_else(|error| {
                log::debug!("copied instead: {error}");
                None
            })
        })
    }
}

fn share(
    version: &Directory,
    source: &Directory,
    path: &[u8],
    entry: &Entry,
    made: Made,
    destination: &Directory,
) -> Result<Option<FileFacts>> {
    let (mode, failed) = (entry.mode & 0o777, |e| Error::io("read", &version.path_of(path), &e));
    let mut beside = version.open_file(path)?;
    let found = stat::fstat(&beside).map_err(|e| failed(e.into()))?;
    if !is_shareable(&found, entry.identity.size, mode, made) {
        return Ok(None);
    }
    let mut there = Vec::new();
    let opened = source.open_file(path)?;
    let (digest, size) = trees::read_through(opened, source, path, entry.identity.size, |chunk| {
        there.resize(chunk.len(), 0);
        beside.read_exact(&mut there).map_err(failed)?;
        let is_same = there == chunk;
        is_same
            .then_some(())
            .ok_or_else(|| Error::failed(format!("{} has other bytes", version.path_of(path).display())))
    })?;
    if size != entry.identity.size {
        return Ok(None);
    }
    let is_linked = link(version, path, directory::identity_of(&found), destination)?;
    Ok(is_linked.then_some(FileFacts { digest, mode, size }))
}
