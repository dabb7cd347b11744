//! Files that two versions have in common: the later version gets a second name of the earlier one's file, so that nothing
//! is moved or written for it. That is safe because nobody writes into a version that is in its place: whoever exchanges a
//! file of it gives the name to a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::digest::FileFacts;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::machine::files;
use crate::machine::trees::{self, Entry, Files};

/// What a file would be like if it were made anew.
#[derive(Debug, Clone, Copy)]
struct Made {
    umask: u32,
    uid: u32,
    gid: u32,
}

impl Made {
    /// As a directory that this process has just made tells.
    fn below(dir: &Path) -> Option<Made> {
        let metadata = fs::symlink_metadata(dir).ok()?;
        Some(Made { umask: !metadata.mode() & 0o777, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Whether what is there is what would be made with this mode.
    fn is_like(self, metadata: &Metadata, mode: u32) -> bool {
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777) == (self.uid, self.gid, mode & !self.umask)
    }
}

/// The files that [`take_over`] gave a second name, by their paths.
pub type Taken = BTreeMap<Vec<u8>, (Identity, FileFacts)>;

/// Gives files of earlier versions a second name in a directory that is to become a version: those whose bytes, read now,
/// are what is wanted, and whose mode and owner are what they would be if they were made anew. Whatever cannot be taken over
/// is left out.
pub fn take_over(wanted: &Files, earlier: &[PathBuf], destination: &Path) -> Taken {
    let mut taken = Taken::new();
    let Some(made) = Made::below(destination) else { return taken };
    for (path, facts) in wanted {
        let below = Path::new(OsStr::from_bytes(path));
        let found = earlier.iter().find_map(|version| {
            take(version, below, facts, made, destination).unwrap_or_else(|error| {
                log::debug!("not taken over: {error}");
                None
            })
        });
        taken.extend(found.map(|identity| (path.clone(), (identity, *facts))));
    }
    taken
}

fn take(
    version: &Path,
    below: &Path,
    wanted: &FileFacts,
    made: Made,
    destination: &Path,
) -> Result<Option<Identity>> {
    let (from, to) = (version.join(below), destination.join(below));
    let Ok(metadata) = fs::symlink_metadata(&from) else { return Ok(None) };
    if !metadata.is_file() || metadata.len() != wanted.size || !made.is_like(&metadata, wanted.mode) {
        return Ok(None);
    }
    let identity = files::identity_of(&metadata);
    if trees::digest_of(&from, wanted.size)? != (wanted.digest, wanted.size) {
        return Ok(None);
    }
    if !mirror_directories(version, below, made, destination)? {
        return Ok(None);
    }
    Ok(link(&from, identity, &to)?.then_some(identity))
}

/// Gives a file a second name, if it still is the one that was read; returns whether it was given.
fn link(from: &Path, identity: Identity, to: &Path) -> Result<bool> {
    let failed = |e: std::io::Error| Error::io("link to", from, &e);
    fs::hard_link(from, to).map_err(failed)?;
    if files::identity_of(&fs::symlink_metadata(to).map_err(failed)?) == identity {
        return Ok(true);
    }
    files::remove_if_exists(to).map(|()| false)
}

/// Makes the directories above a path, each like that of the earlier version; returns whether they are there.
fn mirror_directories(version: &Path, below: &Path, made: Made, destination: &Path) -> Result<bool> {
    let above: Vec<&Path> = below.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    for dir in above.into_iter().rev() {
        let (from, to) = (version.join(dir), destination.join(dir));
        if fs::symlink_metadata(&to).is_ok_and(|there| there.is_dir()) {
            continue;
        }
        let failed = |e: std::io::Error| Error::io("create", &to, &e);
        let metadata = fs::symlink_metadata(&from).map_err(failed)?;
        let mode = metadata.mode() & 0o7777;
        // What does not let its owner write could not be filled.
        if !metadata.is_dir() || !made.is_like(&metadata, mode) || mode & 0o700 != 0o700 {
            return Ok(false);
        }
        DirBuilder::new().mode(mode).create(&to).map_err(failed)?;
    }
    Ok(true)
}

/// The regular files among surveyed entries with their digests: of those that were taken over, and still are what they were,
/// what is known; the others are read.
pub fn digest(root: &Path, entries: &[Entry], taken: &Taken) -> Result<Files> {
    let known = |entry: &Entry| {
        let (identity, facts) = taken.get(entry.path.as_os_str().as_bytes())?;
        (*identity == entry.identity).then_some(*facts)
    };
    let unknown: Vec<Entry> = entries.iter().filter(|entry| known(entry).is_none()).cloned().collect();
    let mut found = trees::digest(root, &unknown)?;
    let path = |entry: &Entry| entry.path.as_os_str().as_bytes().to_vec();
    found.extend(entries.iter().filter_map(|entry| Some((path(entry), known(entry)?))));
    Ok(found)
}

/// A version that is in its place, and the files of it that the next one holds, too, as far as is known.
#[derive(Debug)]
pub struct Earlier {
    /// Its directory.
    pub dir: PathBuf,
    /// The paths of those files.
    pub same: BTreeSet<Vec<u8>>,
}

impl Earlier {
    /// What [`trees::copy`] shares: a file gets a second name in `destination` instead of a copy, if it would be like a copy, and
    /// has the bytes that the source is read to have. A file that rotted on the disk is not handed on.
    pub fn sharing(self, destination: &Path) -> impl Fn(&Path, &Entry, &Path) -> Option<FileFacts> {
        let made = Made::below(destination);
        move |source, entry, place| {
            let made = made.filter(|_| self.same.contains(entry.path.as_os_str().as_bytes()))?;
            let from = self.dir.join(&entry.path);
            share(&from, source, entry, made, place).unwrap_or_else(|error| {
                log::debug!("copied instead: {error}");
                None
            })
        }
    }
}

fn share(from: &Path, source: &Path, entry: &Entry, made: Made, place: &Path) -> Result<Option<FileFacts>> {
    let mode = entry.mode & 0o777;
    let metadata = fs::symlink_metadata(from).map_err(|e| Error::io("link to", from, &e))?;
    if !metadata.is_file() || metadata.len() != entry.identity.size || !made.is_like(&metadata, mode) {
        return Ok(None);
    }
    let mut beside = trees::open_without_following(from)?;
    let mut there = Vec::new();
    let opened = trees::open_without_following(source)?;
    let (digest, size) = trees::read_through(opened, source, entry.identity.size, |chunk| {
        there.resize(chunk.len(), 0);
        beside.read_exact(&mut there).map_err(|e| Error::io("read", from, &e))?;
        let is_same = there == chunk;
        is_same.then_some(()).ok_or_else(|| Error::failed(format!("{} has other bytes", from.display())))
    })?;
    if size != metadata.len() {
        return Ok(None);
    }
    let is_linked = link(from, files::identity_of(&metadata), place)?;
    Ok(is_linked.then_some(FileFacts { digest, mode, size }))
}
