//! Directory trees: listing, comparing and copying them as `cp -r DIR/*` does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::digest::{Digest, FileFacts};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::machine::files::{self, Kind};

/// How much is read at once, bytes.
const CHUNK: usize = 1 << 17;

/// After so many bytes of a copy the kernel is told to begin to write them to the disk, so that little is left when all of it has to be there.
const WRITTEN_AHEAD: u64 = 8 << 20;

/// Regular files by their path from the root of their tree.
pub type Files = BTreeMap<Vec<u8>, FileFacts>;

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the tree's root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Which upload of the path it is.
    pub identity: Identity,
    /// Last change of the inode, nanoseconds since 1970: also moves when only the mode changed.
    pub changed_ns: i128,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
}

/// Lists a tree in the order of its bytes: the top-level names that do not begin with a dot, as the glob `*` takes
/// them, and everything below those.
pub fn survey(root: &Path) -> Result<Vec<Entry>> {
    let mut names = files::names_in(root)?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    survey_names(root, &names)
}

/// Lists some names of a tree, and everything below those.
pub fn survey_names(root: &Path, names: &[OsString]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for name in names {
        survey_below(root, PathBuf::from(name), &mut entries)?;
    }
    Ok(entries)
}

fn survey_below(root: &Path, path: PathBuf, entries: &mut Vec<Entry>) -> Result<()> {
    let full = root.join(&path);
    let metadata = fs::symlink_metadata(&full).map_err(|e| Error::io("look at", &full, &e))?;
    let kind = files::kind_of(metadata.file_type());
    let target = match kind {
        Kind::Link => Some(fs::read_link(&full).map_err(|e| Error::io("read the link", &full, &e))?),
        _ => None,
    };
    let mut identity = files::identity_of(&metadata);
    if kind == Kind::Directory {
        // A directory's size says nothing about its content.
        identity.size = 0;
    }
    entries.push(Entry {
        path: path.clone(),
        kind,
        mode: metadata.mode() & 0o7777,
        identity,
        changed_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
        target,
    });
    if kind == Kind::Directory {
        for name in files::names_in(&full)? {
            survey_below(root, path.join(name), entries)?;
        }
    }
    Ok(())
}

/// The bytes of a tree's regular files.
pub fn total_bytes(entries: &[Entry]) -> u64 {
    let sizes = entries.iter().filter(|e| e.kind == Kind::File).map(|e| e.identity.size);
    // Sparse files may claim more than there is in the world.
    sizes.fold(0, u64::saturating_add)
}

/// The first entry that must not be published: a device, fifo or socket, or a symbolic link that leaves the tree.
pub fn first_unpublishable(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().find(|entry| match (&entry.kind, &entry.target) {
        (Kind::Special, _) => true,
        (Kind::Link, Some(target)) => leaves_the_tree(&entry.path, target),
        _ => false,
    })
}

/// An entry that was written after an instant (nanoseconds since 1970); a directory only where no file tells more.
pub fn first_written_after(entries: &[Entry], instant_ns: i128) -> Option<&Entry> {
    let written = || entries.iter().filter(|entry| entry.identity.modified_ns > instant_ns);
    written().find(|entry| entry.kind != Kind::Directory).or_else(|| written().next())
}

/// Whether a link at `path`, relative to the tree's root, may lead outside the tree. It goes up from a real directory, at
/// most to the root, and then only down: behind a name, which may be a link to a directory further up, a `..` is not
/// taken. So no chain of such links leaves the tree.
fn leaves_the_tree(path: &Path, target: &Path) -> bool {
    let mut up = path.components().count() - 1;
    let mut goes_down = false;
    for component in target.components() {
        match component {
            Component::Normal(_) => goes_down = true,
            Component::CurDir => {}
            Component::ParentDir if up > 0 && !goes_down => up -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// Copies surveyed entries into an existing directory as `cp -r` does: the modes that the umask leaves, no set-id bits,
/// no times, links as links. Then makes all of it durable. Returns the regular files, with the digests of what was read.
/// Before a regular file is copied, `share` may put it in its place in another way, and return what it read of the source.
///
/// Fails at the first entry that cannot be copied; the caller discards what was copied.
pub fn copy(
    root: &Path,
    entries: &[Entry],
    destination: &Path,
    share: &dyn Fn(&Path, &Entry, &Path) -> Option<FileFacts>,
) -> Result<Files> {
    let mut files = Files::new();
    for entry in entries {
        let (source, place) = (at(root, &entry.path), at(destination, &entry.path));
        let shared = if entry.kind == Kind::File { share(&source, entry, &place) } else { None };
        let copied = if shared.is_some() { shared } else { copy_entry(&source, entry, &place)? };
        files.extend(copied.map(|facts| (entry.path.as_os_str().as_bytes().to_vec(), facts)));
    }
    // A directory that its owner may not write to gets that mode once it is filled.
    for entry in entries.iter().rev() {
        if entry.kind == Kind::Directory && entry.mode & 0o700 != 0o700 {
            let path = destination.join(&entry.path);
            let made = fs::metadata(&path).map_err(|e| Error::io("look at", &path, &e))?.mode();
            let wanted = fs::Permissions::from_mode(made & (entry.mode | 0o077) & 0o777);
            fs::set_permissions(&path, wanted).map_err(|e| Error::io("set the mode of", &path, &e))?;
        }
    }
    make_durable(destination)?;
    Ok(files)
}

/// A path below a root; the root itself, without a trailing slash, where there is none.
fn at(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_path_buf() } else { root.join(path) }
}

fn copy_entry(source: &Path, entry: &Entry, destination: &Path) -> Result<Option<FileFacts>> {
    let failed = |e: std::io::Error| Error::io("copy to", destination, &e);
    match (entry.kind, &entry.target) {
        (Kind::Directory, _) => {
            fs::DirBuilder::new().mode((entry.mode & 0o777) | 0o700).create(destination).map_err(failed)?;
            Ok(None)
        }
        (Kind::Link, Some(target)) => {
            std::os::unix::fs::symlink(target, destination).map_err(failed)?;
            Ok(None)
        }
        (Kind::File, _) => {
            let from = open_without_following(source)?;
            let to = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(entry.mode & 0o777)
                .open(destination)
                .map_err(failed)?;
            let mut ahead = WrittenAhead { file: &to, written: 0, begun: 0 };
            let (digest, size) = read_through(from, source, entry.identity.size, |chunk| {
                (&to).write_all(chunk).map_err(failed)?;
                ahead.go_on(chunk.len());
                Ok(())
            })?;
            Ok(Some(FileFacts { digest, mode: entry.mode & 0o777, size }))
        }
        (Kind::Link | Kind::Special, _) => {
            Err(Error::failed(format!("{} is not a regular file, directory or link", source.display())))
        }
    }
}

/// A file that is being written, and how far the kernel has been told to write it to the disk.
struct WrittenAhead<'a> {
    file: &'a File,
    written: u64,
    begun: u64,
}

impl WrittenAhead<'_> {
    fn go_on(&mut self, length: usize) {
        self.written += length as u64;
        let waiting = self.written - self.begun;
        if waiting < WRITTEN_AHEAD {
            return;
        }
        // Of bytes that are not on the disk yet this is no more than a beginning: they stay in memory, too. It is advice; what makes the
        // copy durable is syncfs.
        if let (Ok(offset), Ok(length)) = (i64::try_from(self.begun), i64::try_from(waiting)) {
            let _ = posix_fadvise(self.file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        self.begun = self.written;
    }
}

/// Reads a file to its end, handing every chunk on. Returns its digest and its size in bytes.
///
/// Fails when it has more bytes than it had when it was surveyed: it may grow as fast as it is read.
pub(super) fn read_through(
    mut file: File,
    path: &Path,
    surveyed: u64,
    mut hand_on: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    // One byte more than it has, to see that it grew; thousands of small files need no large chunk each.
    let most = usize::try_from(surveyed).unwrap_or(usize::MAX).saturating_add(1);
    let mut chunk = vec![0; CHUNK.min(most)];
    loop {
        let length = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", path, &e)),
        };
        hasher.update(&chunk[..length]);
        if hasher.count() > surveyed {
            let path = path.display();
            return Err(Error::failed(format!(
                "{path} grows while it is read; let its writer end, then try again"
            )));
        }
        hand_on(&chunk[..length])?;
    }
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

/// The regular files among surveyed entries, each read and digested.
pub fn digest(root: &Path, entries: &[Entry]) -> Result<Files> {
    let mut files = Files::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::File) {
        let (digest, size) = digest_of(&root.join(&entry.path), entry.identity.size)?;
        let facts = FileFacts { digest, mode: entry.mode & 0o777, size };
        files.insert(entry.path.as_os_str().as_bytes().to_vec(), facts);
    }
    Ok(files)
}

/// A regular file's digest, and its size in bytes, which must not be more than it was surveyed with.
pub(super) fn digest_of(path: &Path, surveyed: u64) -> Result<(Digest, u64)> {
    read_through(open_without_following(path)?, path, surveyed, |_| Ok(()))
}

pub(super) fn open_without_following(path: &Path) -> Result<File> {
    files::open_without_following(path).map_err(|e| Error::io("read", path, &e))
}

/// Makes a tree durable, whoever wrote it: everything written to its file system, in one call where a tree of thousands
/// of files would need thousands.
pub fn make_durable(path: &Path) -> Result<()> {
    let dir = File::open(path).map_err(|e| Error::io("sync", path, &e))?;
    loop {
        match nix::unistd::syncfs(&dir) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return other.map_err(|e| Error::io("sync", path, &e.into())),
        }
    }
}

/// When something below a directory was last written, the directory itself included; `None` where it is missing.
pub fn last_written(dir: &Path) -> Result<Option<SystemTime>> {
    let Some(own) = files::facts(dir)? else { return Ok(None) };
    if own.kind != Kind::Directory {
        // A link may lead to the root of all files.
        return Ok(Some(own.modified));
    }
    let below = survey(dir)?.iter().map(|entry| entry.identity.modified_ns).max().unwrap_or(i128::MIN);
    let newest_ns = below.max(own.identity.modified_ns).max(0);
    let newest = Duration::from_nanos(u64::try_from(newest_ns).unwrap_or(u64::MAX));
    Ok(Some(SystemTime::UNIX_EPOCH + newest))
}

/// Whether two trees hold the same names, kinds, link targets and bytes. Modes and times do not count: a version that a
/// script copied earlier under another umask is the same version.
pub fn same_content(a: &Path, b: &Path) -> Result<bool> {
    let (left, right) = (survey(a)?, survey(b)?);
    let shape = |e: &Entry| (e.path.clone(), e.kind, e.target.clone(), e.identity.size);
    if left.iter().map(shape).ne(right.iter().map(shape)) {
        return Ok(false);
    }
    for entry in left.iter().filter(|e| e.kind == Kind::File) {
        if !same_bytes(&a.join(&entry.path), &b.join(&entry.path))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let (mut left, mut right) = (open_without_following(a)?, open_without_following(b)?);
    let (mut here, mut there) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    loop {
        here.clear();
        there.clear();
        (&mut left).take(CHUNK as u64).read_to_end(&mut here).map_err(|e| Error::io("read", a, &e))?;
        (&mut right).take(CHUNK as u64).read_to_end(&mut there).map_err(|e| Error::io("read", b, &e))?;
        if here != there {
            return Ok(false);
        }
        if here.is_empty() {
            return Ok(true);
        }
    }
}

/// Moves a directory as `mv FROM TO` does where TO does not exist: to another file system by copying.
pub fn move_directory(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Ok(()) => files::sync_directory_of(to),
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            copy_directory(from, to)?;
            files::remove_tree(from)
        }
        Err(e) => Err(Error::io("move", from, &e)),
    }
}

/// Copies a directory as `cp -r FROM TO` does where TO does not exist: everything in it, dot files too. It is put together
/// beside its place, as `.copying`, and gets its name when it is complete and durable.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let (parent, name) = match (from.parent(), from.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => (Path::new("."), OsStr::new(".")),
    };
    let mut entries = Vec::new();
    survey_below(parent, PathBuf::from(name), &mut entries)?;
    for entry in &mut entries {
        let below = entry.path.strip_prefix(name).unwrap_or(&entry.path).to_path_buf();
        entry.path = below;
    }
    let staging = to.with_file_name(".copying");
    // What an earlier run left behind when it died.
    files::remove_tree(&staging)?;
    let copied = copy(from, &entries, &staging, &|_, _, _| None).and_then(|_| files::rename(&staging, to));
    if copied.is_err() {
        let _ = files::remove_tree(&staging);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_may_point_anywhere_inside_its_tree_and_nowhere_else() {
        for (path, target, leaves) in [
            ("lib/a.so", "a.so.1", false),
            ("lib/a.so", "./../data/x", false),
            ("lib/a.so", "../../x", true),
            ("lib/a.so", "/etc/passwd", true),
            ("a", "..", true),
            ("a", "b/../../c", true),
            // Where lib/b is a link to lib/.., this is ../x.
            ("lib/a/c", "../b/../x", true),
            ("lib/a/c", ".././../x/./y", false),
        ] {
            assert_eq!(leaves_the_tree(Path::new(path), Path::new(target)), leaves, "{path} -> {target}");
        }
    }

    /// One of its files is written to the disk while it is copied.
    #[test]
    fn a_large_file_is_copied_as_a_small_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let (source, destination) = (dir.path().join("source"), dir.path().join("destination"));
        let content = |number: usize| number.to_string().repeat(100 + number);
        for number in 0..30 {
            let below = source.join(format!("data/{}", number % 7));
            fs::create_dir_all(&below).unwrap();
            fs::write(below.join(number.to_string()), content(number)).unwrap();
        }
        let large: Vec<u8> =
            (0..20_000_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(source.join("data/large"), large).unwrap();
        std::os::unix::fs::symlink("large", source.join("data/link")).unwrap();
        fs::create_dir(&destination).unwrap();
        let entries = survey(&source).unwrap();
        let copied = copy(&source, &entries, &destination, &|_, _, _| None).unwrap();
        assert!(same_content(&source, &destination).unwrap());
        assert_eq!(copied, digest(&source, &entries).unwrap());
        assert_eq!(copied.len(), 31);

        fs::remove_dir_all(&destination).unwrap();
        fs::create_dir(&destination).unwrap();
        fs::remove_file(source.join("data/3/10")).unwrap();
        let failed = copy(&source, &entries, &destination, &|_, _, _| None).unwrap_err().to_string();
        assert!(failed.contains("data/3/10"), "{failed}");
    }
}
