//! Files, each write saying what it promises.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::identity::Identity;

/// The largest configuration file that is read, in bytes: a service.conf or env.sh has a few kilobytes, and what is made of it
/// in memory is up to a hundred times as large.
pub const CONFIGURATION_LIMIT: u64 = 1 << 20;

/// The largest manifest that is read, in bytes: about 100 a file.
pub const MANIFEST_LIMIT: u64 = 32 << 20;

/// Reads a regular file of at most `limit` bytes.
/// Fails when it is missing, larger, or no regular file (a fifo would block for ever).
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_if_exists(path, limit)?
        .ok_or_else(|| Error::io("read", path, &std::io::Error::from_raw_os_error(nix::libc::ENOENT)))
}

/// Like [`read`], but a missing file is `None`.
pub fn read_if_exists(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    read_opened(path, limit, 0)
}

/// Like [`read_if_exists`], but a symbolic link is an error: for files in directories to which others may write, who must
/// not choose what is read.
pub fn read_without_following(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    read_opened(path, limit, nix::libc::O_NOFOLLOW)
}

fn read_opened(path: &Path, limit: u64, flags: i32) -> Result<Option<Vec<u8>>> {
    // O_NONBLOCK: opening a fifo for reading must not wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | flags).open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        // A socket.
        Err(e) if e.raw_os_error() == Some(nix::libc::ENXIO) => return Err(not_regular(path)),
        Err(e) => return Err(not_followed("read", path, &e)),
    };
    let metadata = file.metadata().map_err(|e| Error::io("read", path, &e))?;
    if !metadata.is_file() {
        return Err(not_regular(path));
    }
    let too_large = |size: u64| {
        let path = path.display();
        Err(Error::failed(format!(
            "{path} has {size} bytes, more than the {limit} such a file may have; check it"
        )))
    };
    if metadata.len() > limit {
        return too_large(metadata.len());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, &e))?;
    match bytes.len() as u64 {
        // It has grown since.
        size if size > limit => too_large(size),
        _ => Ok(Some(bytes)),
    }
}

/// A fifo, socket, device or directory where a file is expected.
pub(super) fn not_regular(path: &Path) -> Error {
    Error::failed(format!("{} is not a regular file; move it away", path.display()))
}

/// The error of a file that could not be opened, perhaps because it is a link and none is followed.
pub(super) fn not_followed(tried: &str, path: &Path, error: &std::io::Error) -> Error {
    if error.raw_os_error() == Some(nix::libc::ELOOP) {
        let path = path.display();
        return Error::failed(format!(
            "{path} is a symbolic link, and none is followed here; put the file itself there"
        ));
    }
    Error::io(tried, path, error)
}

/// Fails when a path leads out of a directory through symbolic links: whoever may write below the directory must not
/// choose what is read or written elsewhere. A path that is not there yet is judged by the nearest one above that is.
pub fn check_within(dir: &Path, path: &Path) -> Result<()> {
    let base = fs::canonicalize(dir).map_err(|e| Error::io("look at", dir, &e))?;
    for place in path.ancestors().take_while(|place| place.starts_with(dir)) {
        match fs::symlink_metadata(place) {
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(e) => return Err(Error::io("look at", place, &e)),
        }
        return match fs::canonicalize(place) {
            Ok(real) if real.starts_with(&base) => Ok(()),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Error::io("look at", place, &e)),
            _ => Err(Error::failed(format!(
                "{} leads out of {} through a symbolic link, or nowhere; put the file or directory itself there",
                place.display(),
                dir.display()
            ))),
        };
    }
    Ok(())
}

/// The identity of what a path's metadata describes.
pub(super) fn identity_of(metadata: &fs::Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: metadata.len(),
    }
}

/// What is at a path (a symbolic link is not followed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A fifo, socket or device.
    Special,
}

/// Facts of one path, read at once.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Which upload it is.
    pub identity: Identity,
    /// When it was last written.
    pub modified: SystemTime,
}

/// The facts of a path, or `None` when nothing is there. A symbolic link is not followed.
pub fn facts(path: &Path) -> Result<Option<Facts>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Facts {
            kind: kind_of(metadata.file_type()),
            identity: identity_of(&metadata),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })),
        Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => Ok(None),
        Err(e) => Err(Error::io("look at", path, &e)),
    }
}

pub(super) fn kind_of(file_type: fs::FileType) -> Kind {
    if file_type.is_file() {
        Kind::File
    } else if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Link
    } else {
        Kind::Special
    }
}

/// Whether a path is a directory (a symbolic link to one counts).
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// Like [`is_directory`], for when it matters what is not there: fails when that cannot be told.
pub fn finds_directory(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(e) => Err(Error::io("look at", path, &e)),
    }
}

/// The names in a directory, sorted by their bytes as a glob in the C locale sorts them.
pub fn names_in(dir: &Path) -> Result<Vec<OsString>> {
    let failed = |e: std::io::Error| Error::io("list", dir, &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Creates a directory and its missing parents, and makes their names durable: what is put into it later would be lost
/// with them. One that is there already is not an error.
pub fn create_directories(path: &Path) -> Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
    fs::create_dir_all(path).map_err(|e| Error::io("create", path, &e))?;
    missing.into_iter().rev().try_for_each(sync_directory_of)
}

/// Creates a directory that nobody but this user can look into. One that is there already keeps its
/// mode.
pub fn create_private_directory(path: &Path) -> Result<()> {
    if finds_directory(path)? {
        return Ok(());
    }
    create_directories(path)?;
    set_mode(path, 0o700)
}

/// Creates a directory that must not be there yet, not even as a link to one.
pub fn create_new_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|e| Error::io("create", path, &e))
}

/// Replaces a file's content so that a reader sees either the old bytes or the new ones, also after a power cut:
/// temporary file in the same directory, fsync, rename, fsync of the directory. Mode (but for set-id bits) and owner are kept; a new file
/// gets the mode that the umask leaves of 0666. A symbolic link becomes a file, as with `sed -i`.
pub fn replace_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, &|out| out.write_all(bytes), None)
}

/// Like [`replace_atomically`], but with a mode of its own, whatever the umask: nobody sees it with another one.
pub fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_with_mode(path, mode, &|out| out.write_all(bytes))
}

/// Like [`replace_with_mode`], for what need not be in memory as a whole.
pub fn write_with_mode(path: &Path, mode: u32, content: Content) -> Result<()> {
    replace(path, content, Some(mode))
}

/// Writes what a file is to hold.
pub type Content<'a> = &'a dyn Fn(&mut dyn Write) -> std::io::Result<()>;

fn replace(path: &Path, content: Content, mode: Option<u32>) -> Result<()> {
    let temporary = beside(path, ".new");
    let written = write_like(&temporary, path, content, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| Error::io("replace", path, &e)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory_of(path)
}

/// Where a path leads: a symbolic link is followed, so that its target can be replaced as a shell's `>` writes through it.
/// Anything else, also a link to nothing, is the path itself.
pub fn followed(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Creates a file with the given content, complete from the first instant at which it can be seen.
/// Returns `false`, changing nothing, when the path exists already.
pub fn create_exclusively(path: &Path, bytes: &[u8]) -> Result<bool> {
    let temporary = beside(path, ".new");
    let linked = write_like(&temporary, path, &|out| out.write_all(bytes), None)
        .map(|()| fs::hard_link(&temporary, path));
    // Nobody comes by again to take it away: it is tried twice.
    let removed = remove_if_exists(&temporary).or_else(|_| remove_if_exists(&temporary));
    match linked? {
        Ok(()) => removed.and_then(|()| sync_directory_of(path)).map(|()| true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io("create", path, &e)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

/// Gives a file the owner and group of another as far as that is permitted, as `sed -i` does.
fn keep_owner(file: &File, original: &fs::Metadata) -> std::io::Result<()> {
    let mut given = fchown(file, Some(original.uid()), Some(original.gid()));
    if given.as_ref().is_err_and(|e| e.kind() == ErrorKind::PermissionDenied) {
        given = fchown(file, None, Some(original.gid()));
    }
    match given {
        Err(e) if e.kind() != ErrorKind::PermissionDenied => Err(e),
        _ => Ok(()),
    }
}

/// Who owns a path: the user's name, or the number where nobody has it.
pub fn owner(path: &Path) -> Result<String> {
    let metadata = fs::symlink_metadata(path).map_err(|e| Error::io("look at", path, &e))?;
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(metadata.uid())).ok().flatten();
    Ok(user.map_or_else(|| metadata.uid().to_string(), |user| user.name))
}

/// A path's permission bits.
pub fn mode(path: &Path) -> Result<u32> {
    let metadata = fs::symlink_metadata(path).map_err(|e| Error::io("look at", path, &e))?;
    Ok(metadata.mode() & 0o7777)
}

/// Gives a path a mode, whatever the umask. A link that somebody has put in its place is not followed: that is an error.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    open_without_following(path)
        .and_then(|file| file.set_permissions(fs::Permissions::from_mode(mode)))
        .map_err(|e| Error::io("set the mode of", path, &e))
}

/// Opens what is there itself, for reading: a link is an error, and a fifo does not wait for a writer.
pub(super) fn open_without_following(path: &Path) -> std::io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Writes and syncs a new file that has the owner of `model`, if that exists, and its mode, or one of its own.
fn write_like(path: &Path, model: &Path, content: Content, mode: Option<u32>) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write", path, &e);
    // What an earlier run left behind when it died.
    remove_if_exists(path)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(path).map_err(failed)?;
    let original = match fs::metadata(model) {
        Ok(original) => Some(original),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        // Without its mode a crontab would become readable by everybody.
        Err(e) => return Err(Error::io("look at", model, &e)),
    };
    if let Some(original) = original {
        let ours = file.metadata().map_err(failed)?;
        if (ours.uid(), ours.gid()) != (original.uid(), original.gid()) {
            keep_owner(&file, &original).map_err(failed)?;
        }
        let mode = fs::Permissions::from_mode(original.mode() & 0o777);
        file.set_permissions(mode).map_err(failed)?;
    }
    if let Some(mode) = mode {
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, &file);
    content(&mut out).and_then(|()| out.flush()).and_then(|()| file.sync_all()).map_err(failed)
}

/// A log file that lines are appended to.
#[derive(Debug)]
pub struct Appender {
    path: PathBuf,
    file: File,
}

impl Appender {
    /// Opens a log file, creating it (mode 0666 less the umask) and its directory where they are missing.
    pub fn open(path: &Path) -> Result<Appender> {
        // O_NONBLOCK: a fifo must not wait for a reader.
        let flags = nix::libc::O_NONBLOCK;
        let open = || OpenOptions::new().append(true).create(true).mode(0o666).custom_flags(flags).open(path);
        let file = match open() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    create_directories(parent)?;
                }
                open()
            }
            other => other,
        };
        let file = file.map_err(|e| Error::io("append to", path, &e))?;
        Ok(Appender { path: path.to_path_buf(), file })
    }

    /// Appends bytes in one write.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io("append to", &self.path, &e))
    }
}

/// Overwrites a file in place, as a shell's `>` does: for files of the test host that no one polls.
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    // O_NONBLOCK: a fifo must not wait for a reader.
    options.write(true).create(true).truncate(true).mode(0o666).custom_flags(nix::libc::O_NONBLOCK);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|e| Error::io("write", path, &e))
}

/// Renames a file or directory and makes that durable.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .map_err(|e| Error::io("rename", from, &e).context(format!("to {}", to.display())))?;
    sync_directory_of(to)
}

/// Gives a file a second name, unless that name is taken; returns whether it was given.
pub fn link_unless_exists(from: &Path, to: &Path) -> Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io("create", to, &e)),
    }
}

/// Removes a file; one that is missing is not an error.
pub fn remove_if_exists(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Removes a directory and what is below it; one that is missing is not an error.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Makes the names in a path's directory durable.
pub fn sync_directory_of(path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync(dir)
}

/// Makes a file's content, or a directory's names, durable.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", path, &e))
}

/// The bytes that an unprivileged process may still write to the file system of a path.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let statistics = nix::sys::statvfs::statvfs(path).map_err(|e| Error::io("look at", path, &e.into()))?;
    Ok(statistics.blocks_available().saturating_mul(statistics.fragment_size()))
}

/// The size of the file system of a path, in bytes.
pub fn size_of_file_system(path: &Path) -> Result<u64> {
    let statistics = nix::sys::statvfs::statvfs(path).map_err(|e| Error::io("look at", path, &e.into()))?;
    Ok(statistics.blocks().saturating_mul(statistics.fragment_size()))
}
