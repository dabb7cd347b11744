//! A directory of versions: which there are, and how they are deleted so that an interrupted deletion is finished later.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::Result;
use crate::layout;
use crate::machine::files::{self, Kind};
use crate::machine::trees;
use crate::version::Version;

/// The versions in a directory: real directories that have the name of one. Whatever else is there is somebody's own, and so
/// is a directory that is missing.
pub fn in_directory(dir: &Path) -> Result<Vec<Version>> {
    names(dir, |name| Version::parse(name).ok())
}

/// The versions whose deletion was interrupted.
pub fn half_deleted(dir: &Path) -> Result<Vec<Version>> {
    names(&dir.join(layout::DISCARDED), |name| Version::of_directory(name).ok())
}

fn names(dir: &Path, version_of: impl Fn(&[u8]) -> Option<Version>) -> Result<Vec<Version>> {
    if !files::is_directory(dir) {
        return Ok(Vec::new());
    }
    let mut versions = Vec::new();
    for name in files::names_in(dir)? {
        let Some(version) = version_of(name.as_bytes()) else { continue };
        if files::facts(&dir.join(&name))?.is_some_and(|facts| facts.kind == Kind::Directory) {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// The bytes of the files of some versions.
pub fn bytes(dir: &Path, versions: &[Version]) -> Result<u64> {
    let of_one =
        |version: &Version| trees::survey(&dir.join(version)).map(|entries| trees::total_bytes(&entries));
    versions.iter().map(of_one).try_fold(0, |sum: u64, bytes| Ok(sum.saturating_add(bytes?)))
}

/// Takes versions out of sight, all of them before anything is deleted: the rest can be done later. Returns the bytes of their
/// files.
pub fn discard(dir: &Path, versions: &[Version]) -> Result<u64> {
    let bytes = bytes(dir, versions)?;
    for version in versions {
        set_aside(dir, version)?;
    }
    Ok(bytes)
}

/// Takes a version out of sight.
pub fn set_aside(dir: &Path, version: &Version) -> Result<()> {
    let aside = layout::discarded(dir, version);
    files::create_directories(&dir.join(layout::DISCARDED))?;
    // What an earlier deletion under this name left.
    files::remove_tree(&aside)?;
    files::rename(&dir.join(version), &aside)?;
    files::sync(dir)
}

/// Deletes what was taken out of sight, whatever it is, and the directory that it was in.
pub fn delete_discarded(dir: &Path) -> Result<()> {
    files::remove_tree(&dir.join(layout::DISCARDED))
}
