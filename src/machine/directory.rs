//! A directory that is opened once, and what is below it: found from there, since the way from the root of all files is a
//! sixth of all that copying tens of thousands of small files costs, and a quarter of what looking at thousands of models costs.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::libc;
use nix::sys::stat::{self, FileStat, Mode};
use nix::unistd;

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::machine::files::Kind;

/// A directory. Paths are those below it; a link at a path's end is not followed, but by [`Directory::has_directory`].
#[derive(Debug)]
pub struct Directory {
    opened: File,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory, also one that may only be searched. Fails where there is none.
    pub fn open(path: &Path) -> Result<Directory> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let opened = opened.map_err(|e| Error::io("open", path, &e))?;
        Ok(Directory { opened, path: path.to_path_buf() })
    }

    /// A path as messages name it.
    pub fn path_of(&self, below: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(below))
    }

    /// Whether a path is short enough to be named from the root, too.
    pub fn reaches(&self, below: &[u8]) -> bool {
        let longest = usize::try_from(libc::PATH_MAX).unwrap_or(usize::MAX);
        self.path.as_os_str().len() + 1 + below.len() < longest
    }

    /// What is there.
    pub fn look_at(&self, below: &[u8]) -> io::Result<FileStat> {
        again(|| stat::fstatat(&self.opened, below, AtFlags::AT_SYMLINK_NOFOLLOW))
    }

    /// Whether something is there, a symbolic link too.
    pub fn has(&self, below: &str) -> Result<bool> {
        match self.look_at(below.as_bytes()) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(e) => Err(Error::io("look at", &self.path.join(below), &e)),
        }
    }

    /// Whether a directory is there (a symbolic link to one counts).
    pub fn has_directory(&self, below: &str) -> bool {
        again(|| stat::fstatat(&self.opened, below, AtFlags::empty()))
            .is_ok_and(|found| kind_of(&found) == Kind::Directory)
    }

    /// What the directory itself is.
    pub fn itself(&self) -> io::Result<FileStat> {
        again(|| stat::fstat(&self.opened))
    }

    /// Opens a file for reading. A fifo does not wait for a writer.
    pub fn open_file(&self, below: &[u8]) -> Result<File> {
        let opened = self.opened(below, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0);
        opened.map_err(|e| Error::io("read", &self.path_of(below), &e))
    }

    /// Creates a file for writing, where nothing is yet.
    pub fn create_file(&self, below: &[u8], mode: u32) -> io::Result<File> {
        self.opened(below, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, mode)
    }

    fn opened(&self, below: &[u8], flags: OFlag, mode: u32) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE;
        again(|| fcntl::openat(&self.opened, below, flags, Mode::from_bits_truncate(mode))).map(File::from)
    }

    /// Makes a directory, where nothing is yet.
    pub fn create_directory(&self, below: &[u8], mode: u32) -> io::Result<()> {
        again(|| stat::mkdirat(&self.opened, below, Mode::from_bits_truncate(mode)))
    }

    /// Makes a symbolic link, where nothing is yet.
    pub fn create_link(&self, below: &[u8], target: &Path) -> io::Result<()> {
        again(|| unistd::symlinkat(target, &self.opened, below))
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, below: &[u8]) -> io::Result<OsString> {
        again(|| fcntl::readlinkat(&self.opened, below))
    }

    /// Gives a file of this directory the same path in another.
    pub fn link_into(&self, other: &Directory, below: &[u8]) -> io::Result<()> {
        again(|| unistd::linkat(&self.opened, below, &other.opened, below, AtFlags::empty()))
    }
}

/// A call, made again where a signal interrupts it.
pub(super) fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

pub(super) fn kind_of(found: &FileStat) -> Kind {
    match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Link,
        _ => Kind::Special,
    }
}

pub(super) fn identity_of(found: &FileStat) -> Identity {
    Identity {
        device: found.st_dev,
        inode: found.st_ino,
        modified_ns: nanoseconds(found.st_mtime, found.st_mtime_nsec),
        size: u64::try_from(found.st_size).unwrap_or(0),
    }
}

/// When its inode was changed last, nanoseconds since 1970.
pub(super) fn changed_ns(found: &FileStat) -> i128 {
    nanoseconds(found.st_ctime, found.st_ctime_nsec)
}

fn nanoseconds(seconds: i64, more: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(more)
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
            let facts = files::facts(&path(name)).unwrap();
            assert_eq!(facts.is_some(), is_there, "{name}");
            let identity = directory.look_at(name.as_bytes()).ok().map(|found| identity_of(&found));
            assert_eq!(identity, facts.map(|facts| facts.identity), "{name}");
            assert_eq!(directory.has_directory(name), is_directory, "{name}");
        }
        for name in ["loop/status", &"a".repeat(300)] {
            let [ours, whole] =
                [directory.has(name).map(drop), files::facts(&path(name)).map(drop)].map(Result::unwrap_err);
            assert_eq!(ours.to_string(), whole.to_string());
        }
        assert!(Directory::open(&path("model/status")).is_err());
        assert!(Directory::open(&path("other")).is_err());
    }
}
