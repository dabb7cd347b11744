//! A directory that is looked into many times.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{AccessFlags, faccessat};

use crate::error::{Error, Result};

/// A directory that stays open: what lies in it is found from there, where a whole path is walked from the root for every look.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    opened: File,
}

impl Directory {
    /// Opens a directory, also one that may only be searched; `None` where there is none.
    pub fn open(path: &Path) -> Option<Directory> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        Some(Directory { path: path.to_path_buf(), opened })
    }

    /// Whether something is there, by its path from this directory. A symbolic link is not followed.
    pub fn has(&self, path: &str) -> Result<bool> {
        // No facts are asked for, which costs a tenth less; as the effective user, as for whoever opens it.
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EACCESS;
        match faccessat(&self.opened, path, AccessFlags::F_OK, flags) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(Error::io("look at", &self.path.join(path), &io::Error::from(errno))),
        }
    }

    /// Whether a path from this directory is a directory (a symbolic link to one counts).
    pub fn has_directory(&self, path: &str) -> bool {
        fstatat(&self.opened, path, AtFlags::empty())
            .is_ok_and(|facts| SFlag::from_bits_truncate(facts.st_mode & libc::S_IFMT) == SFlag::S_IFDIR)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::machine::files;

    #[test]
    fn a_look_from_a_directory_sees_what_one_from_the_root_sees() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("model")).unwrap();
        fs::write(path("model/status"), "").unwrap();
        symlink("nowhere", path("model/success")).unwrap();
        symlink("model", path("link")).unwrap();
        symlink("loop", path("loop")).unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        for (name, is_there, is_directory) in [
            ("model", true, true),
            ("model/status", true, false),
            ("model/success", true, false),
            ("model/.dispatch", false, false),
            ("model/status/below", false, false),
            ("link", true, true),
            ("link/status", true, false),
            ("other/status", false, false),
        ] {
            assert_eq!(directory.has(name).unwrap(), is_there, "{name}");
            assert_eq!(files::facts(&path(name)).unwrap().is_some(), is_there, "{name}");
            assert_eq!(directory.has_directory(name), is_directory, "{name}");
        }
        for name in ["loop/status", &"a".repeat(300)] {
            let [ours, whole] =
                [directory.has(name).map(drop), files::facts(&path(name)).map(drop)].map(Result::unwrap_err);
            assert_eq!(ours.to_string(), whole.to_string());
        }
        assert!(Directory::open(&path("model/status")).is_none());
        assert!(Directory::open(&path("other")).is_none());
    }
}
