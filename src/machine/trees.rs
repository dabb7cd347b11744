//! Directory trees: listing, comparing and copying them as `cp -r DIR/*` does.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::by_path::ByPath;
use crate::digest::{Digest, FileFacts, Files};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::machine::directory::{self, Directory};
use crate::machine::files::{self, Kind};

/// How much is read at once, bytes.
const CHUNK: usize = 1 << 17;

/// After so many bytes of a copy the kernel is told to begin to write them to the disk, so that little is left when all of it has to be there.
const WRITTEN_AHEAD: u64 = 8 << 20;

/// What a tree holds, by the paths from its root.
pub type Survey = ByPath<Entry>;

/// What is at one path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Which upload of the path it is.
    pub identity: Identity,
    /// Last change of the inode, nanoseconds since 1970: also moves when only the mode changed.
    pub changed_ns: i128,
    /// Where a symbolic link points.
    pub target: Option<Box<Path>>,
}

/// Lists a tree: the top-level names that do not begin with a dot, as the glob `*` takes them, and everything below those.
pub fn survey(root: &Path) -> Result<Survey> {
    let mut found = Survey::default();
    walk(root, &mut |path, entry| found.insert(path, entry))?;
    Ok(found)
}

/// Lists some names of a tree, and everything below those.
pub fn survey_names(root: &Path, names: &[OsString]) -> Result<Survey> {
    let root = Directory::open(root)?;
    let mut stops = Vec::new();
    for name in names {
        let entry = entry_of(&root, name.as_bytes())?;
        add_stops(&mut stops, name.as_bytes(), entry.kind == Kind::Directory);
    }
    stops.sort_unstable();
    let mut found = Survey::default();
    walk_through(&root, &mut Vec::new(), stops, &mut |path, entry| found.insert(path, entry))?;
    Ok(found)
}

/// Whether a tree holds what it held when it was surveyed; one path may be gone.
pub fn is_unchanged(root: &Path, surveyed: &Survey, may_be_gone: &[u8]) -> Result<bool> {
    let mut expected = surveyed.iter().peekable();
    let mut is_unchanged = true;
    walk(root, &mut |path, entry| {
        if path != may_be_gone {
            expected.next_if(|(path, _)| *path == may_be_gone);
        }
        is_unchanged &= expected.next() == Some((path, &entry));
    })?;
    expected.next_if(|(path, _)| *path == may_be_gone);
    Ok(is_unchanged && expected.next().is_none())
}

/// Shows what [`survey`] lists, in the order of the paths' bytes.
fn walk(root: &Path, show: &mut dyn FnMut(&[u8], Entry)) -> Result<()> {
    let mut stops = stops_in(root)?;
    stops.retain(|name| !name.starts_with(b"."));
    walk_through(&Directory::open(root)?, &mut Vec::new(), stops, show)
}

fn walk_through(
    root: &Directory,
    path: &mut Vec<u8>,
    stops: Vec<Vec<u8>>,
    show: &mut dyn FnMut(&[u8], Entry),
) -> Result<()> {
    let length = path.len();
    for stop in stops {
        path.extend_from_slice(&stop);
        if stop.ends_with(b"/") {
            walk_through(root, path, stops_in(&root.path_of(path))?, show)?;
        } else {
            show(path, entry_of(root, path)?);
        }
        path.truncate(length);
    }
    Ok(())
}

/// Where a walk through a directory stops: at each name, and at `NAME/` for what is below a directory, so that all paths come in
/// the order of their bytes. `a` stands before `a-b`, and that before `a/c`.
fn stops_in(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let failed = |e: std::io::Error| Error::io("list", dir, &e);
    let mut stops = Vec::new();
    for found in fs::read_dir(dir).map_err(failed)? {
        let found = found.map_err(failed)?;
        let is_directory = found.file_type().map_err(failed)?.is_dir();
        add_stops(&mut stops, found.file_name().as_bytes(), is_directory);
    }
    stops.sort_unstable();
    Ok(stops)
}

fn add_stops(stops: &mut Vec<Vec<u8>>, name: &[u8], is_directory: bool) {
    stops.push(name.to_vec());
    if is_directory {
        stops.push([name, b"/"].concat());
    }
}

fn entry_of(root: &Directory, path: &[u8]) -> Result<Entry> {
    let found = root.look_at(path).map_err(|e| Error::io("look at", &root.path_of(path), &e))?;
    let kind = directory::kind_of(&found);
    let target = match kind {
        Kind::Link => {
            let read = root.read_link(path);
            let target = read.map_err(|e| Error::io("read the link", &root.path_of(path), &e))?;
            Some(PathBuf::from(target).into_boxed_path())
        }
        _ => None,
    };
    let mut identity = directory::identity_of(&found);
    if kind == Kind::Directory {
        // A directory's size says nothing about its content.
        identity.size = 0;
    }
    Ok(Entry {
        kind,
        mode: found.st_mode & 0o7777,
        identity,
        changed_ns: directory::changed_ns(&found),
        target,
    })
}

/// The bytes of a tree's regular files.
pub fn total_bytes(survey: &Survey) -> u64 {
    let files = survey.iter().filter(|(_, entry)| entry.kind == Kind::File);
    // Sparse files may claim more than there is in the world.
    files.map(|(_, entry)| entry.identity.size).fold(0, u64::saturating_add)
}

/// The first path that must not be published: a device, fifo or socket, or a symbolic link that leaves the tree.
pub fn first_unpublishable(survey: &Survey) -> Option<&[u8]> {
    let found = survey.iter().find(|(path, entry)| match (entry.kind, &entry.target) {
        (Kind::Special, _) => true,
        (Kind::Link, Some(target)) => leaves_the_tree(Path::new(OsStr::from_bytes(path)), target),
        _ => false,
    });
    found.map(|(path, _)| path)
}

/// A path that was written after an instant (nanoseconds since 1970); a directory only where no file tells more.
pub fn first_written_after(survey: &Survey, instant_ns: i128) -> Option<&[u8]> {
    let written = || survey.iter().filter(|(_, entry)| entry.identity.modified_ns > instant_ns);
    let found = written().find(|(_, entry)| entry.kind != Kind::Directory).or_else(|| written().next());
    found.map(|(path, _)| path)
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

/// What puts a regular file in its place in another way than by copying it, and returns what it read of the source; `None` where
/// it cannot.
pub type Share<'a> = &'a dyn Fn(&Directory, &[u8], &Entry, &Directory) -> Option<FileFacts>;

/// Copies what was surveyed into an existing directory as `cp -r` does: the modes that the umask leaves, no set-id bits,
/// no times, links as links; one path before all others. Then makes all of it durable. Returns the regular files, with the
/// digests of what was read. Before a regular file is copied, `share` may put it in its place.
///
/// Fails at the first path that cannot be copied; the caller discards what was copied.
pub fn copy(source: &Path, survey: &Survey, first: &[u8], destination: &Path, share: Share) -> Result<Files> {
    let files = fill(source, survey, first, destination, share)?;
    make_durable(destination)?;
    Ok(files)
}

fn fill(source: &Path, survey: &Survey, first: &[u8], destination: &Path, share: Share) -> Result<Files> {
    let (from, to) = (Directory::open(source)?, Directory::open(destination)?);
    let is_first = |path: &[u8]| path == first;
    let in_order = survey.iter().filter(|(path, _)| is_first(path));
    let in_order = in_order.chain(survey.iter().filter(|(path, _)| !is_first(path)));
    let mut files = Files::with_capacity(survey.len());
    for (path, entry) in in_order {
        if !to.reaches(path) {
            // Below its directory there is room for it; whoever names it from the root could not read it.
            let too_long = std::io::Error::from_raw_os_error(nix::libc::ENAMETOOLONG);
            return Err(Error::io("copy to", &to.path_of(path), &too_long));
        }
        let shared = if entry.kind == Kind::File { share(&from, path, entry, &to) } else { None };
        let copied = if shared.is_some() { shared } else { copy_entry(&from, path, entry, &to)? };
        if let Some(facts) = copied {
            files.insert(path, facts);
        }
    }
    // A directory that its owner may not write to gets that mode once it is filled.
    for (path, entry) in survey.iter().rev().filter(|(_, entry)| entry.kind == Kind::Directory) {
        restrict(&to.path_of(path), entry.mode)?;
    }
    Ok(files)
}

/// The mode with which a directory is made that is to be filled.
fn open_to_its_owner(mode: u32) -> u32 {
    (mode & 0o777) | 0o700
}

/// Takes from a directory's owner what its mode does not give.
fn restrict(dir: &Path, mode: u32) -> Result<()> {
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    let made = fs::metadata(dir).map_err(|e| Error::io("look at", dir, &e))?.mode();
    let wanted = fs::Permissions::from_mode(made & (mode | 0o077) & 0o777);
    fs::set_permissions(dir, wanted).map_err(|e| Error::io("set the mode of", dir, &e))
}

fn copy_entry(from: &Directory, path: &[u8], entry: &Entry, to: &Directory) -> Result<Option<FileFacts>> {
    let failed = |e: std::io::Error| Error::io("copy to", &to.path_of(path), &e);
    match (entry.kind, &entry.target) {
        (Kind::Directory, _) => {
            to.create_directory(path, open_to_its_owner(entry.mode)).map_err(failed)?;
            Ok(None)
        }
        (Kind::Link, Some(target)) => {
            to.create_link(path, target).map_err(failed)?;
            Ok(None)
        }
        (Kind::File, _) => {
            let mode = entry.mode & 0o777;
            let opened = from.open_file(path)?;
            let made = to.create_file(path, mode).map_err(failed)?;
            let mut ahead = WrittenAhead { file: &made, written: 0, begun: 0 };
            let (digest, size) = read_through(opened, from, path, entry.identity.size, |chunk| {
                (&made).write_all(chunk).map_err(failed)?;
                ahead.go_on(chunk.len());
                Ok(())
            })?;
            Ok(Some(FileFacts { digest, mode, size }))
        }
        (Kind::Link | Kind::Special, _) => {
            let path = from.path_of(path);
            Err(Error::failed(format!("{} is not a regular file, directory or link", path.display())))
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
    root: &Directory,
    path: &[u8],
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
            Err(e) => return Err(Error::io("read", &root.path_of(path), &e)),
        };
        hasher.update(&chunk[..length]);
        if hasher.count() > surveyed {
            let path = root.path_of(path);
            return Err(Error::failed(format!(
                "{} grows while it is read; let its writer end, then try again",
                path.display()
            )));
        }
        hand_on(&chunk[..length])?;
        // All that it had, and there was room for more.
        if hasher.count() == surveyed && length < chunk.len() {
            break;
        }
    }
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

/// The regular files of what was surveyed: each is read and digested, unless it is `known`.
pub(super) fn digest_unless(
    root: &Path,
    survey: &Survey,
    known: impl Fn(&[u8], &Entry) -> Option<FileFacts>,
) -> Result<Files> {
    let root = Directory::open(root)?;
    let mut files = Files::with_capacity(survey.len());
    for (path, entry) in survey.iter().filter(|(_, entry)| entry.kind == Kind::File) {
        let facts = match known(path, entry) {
            Some(facts) => facts,
            None => {
                let (digest, size) = digest_of(&root, path, entry.identity.size)?;
                FileFacts { digest, mode: entry.mode & 0o777, size }
            }
        };
        files.insert(path, facts);
    }
    Ok(files)
}

/// The regular files of what was surveyed, each read and digested.
pub fn digest(root: &Path, survey: &Survey) -> Result<Files> {
    digest_unless(root, survey, |_, _| None)
}

/// A regular file's digest, and its size in bytes, which must not be more than it was surveyed with.
pub(super) fn digest_of(root: &Directory, path: &[u8], surveyed: u64) -> Result<(Digest, u64)> {
    read_through(root.open_file(path)?, root, path, surveyed, |_| Ok(()))
}

/// Makes a tree durable, whoever wrote it: everything written to its file system, in one call where a tree of thousands
/// of files would need thousands.
pub fn make_durable(path: &Path) -> Result<()> {
    let dir = File::open(path).map_err(|e| Error::io("sync", path, &e))?;
    directory::again(|| nix::unistd::syncfs(&dir)).map_err(|e| Error::io("sync", path, &e))
}

/// When something below a directory was last written, the directory itself included; `None` where it is missing.
pub fn last_written(dir: &Path) -> Result<Option<SystemTime>> {
    let Some(own) = files::facts(dir)? else { return Ok(None) };
    if own.kind != Kind::Directory {
        // A link may lead to the root of all files.
        return Ok(Some(own.modified));
    }
    let mut newest_ns = own.identity.modified_ns.max(0);
    walk(dir, &mut |_, entry| newest_ns = newest_ns.max(entry.identity.modified_ns))?;
    let newest = Duration::from_nanos(u64::try_from(newest_ns).unwrap_or(u64::MAX));
    Ok(Some(SystemTime::UNIX_EPOCH + newest))
}

/// Whether two trees hold the same names, kinds, link targets and bytes. Modes and times do not count: a version that a
/// script copied earlier under another umask is the same version.
pub fn same_content(a: &Path, b: &Path) -> Result<bool> {
    let (left, right) = (survey(a)?, survey(b)?);
    let has_shape_of = |a: (&[u8], &Entry), b: (&[u8], &Entry)| {
        let ((a_path, a), (b_path, b)) = (a, b);
        (a_path, a.kind, &a.target, a.identity.size) == (b_path, b.kind, &b.target, b.identity.size)
    };
    if left.len() != right.len() || !left.iter().zip(right.iter()).all(|(a, b)| has_shape_of(a, b)) {
        return Ok(false);
    }
    for (path, _) in left.iter().filter(|(_, entry)| entry.kind == Kind::File) {
        let path = OsStr::from_bytes(path);
        if !same_bytes(&a.join(path), &b.join(path))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let opened = |path: &Path| files::open_without_following(path).map_err(|e| Error::io("read", path, &e));
    let (mut left, mut right) = (opened(a)?, opened(b)?);
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

/// Copies a directory as `cp -r FROM TO` does where TO does not exist: everything in it, dot files too; of a link that leads to
/// one, the link. It is put together beside its place, as `.copying`, and gets its name when it is complete and durable.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let staging = to.with_file_name(".copying");
    // What an earlier run left behind when it died.
    files::remove_tree(&staging)?;
    let copied = copy_whole(from, &staging).and_then(|()| files::rename(&staging, to));
    if copied.is_err() {
        let _ = files::remove_tree(&staging);
    }
    copied
}

fn copy_whole(from: &Path, to: &Path) -> Result<()> {
    let found = fs::symlink_metadata(from).map_err(|e| Error::io("look at", from, &e))?;
    let failed = |e: std::io::Error| Error::io("copy to", to, &e);
    if found.is_symlink() {
        let target = fs::read_link(from).map_err(|e| Error::io("read the link", from, &e))?;
        return std::os::unix::fs::symlink(target, to).map_err(failed);
    }
    fs::DirBuilder::new().mode(open_to_its_owner(found.mode())).create(to).map_err(failed)?;
    fill(from, &survey_names(from, &files::names_in(from)?)?, b"", to, &|_, _, _, _| None)?;
    restrict(to, found.mode())?;
    make_durable(to)
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

    /// `-` and `.` stand before `/`, digits behind it.
    #[test]
    fn a_tree_is_listed_in_the_order_of_its_paths_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        for path in ["a", "a-b", "a.c/d", "a/b", "a/b-c/d", "a/b/c", "a0/x", ".hidden/x"] {
            let place = dir.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            if !["a", "a/b"].contains(&path) {
                fs::write(place, path).unwrap();
            }
        }
        for path in ["a", "a-b", "a.c", "a.c/d", "a/b", "a/b-c", "a/b-c/d", "a/b/c", "a0", "a0/x"] {
            expected.push(path.as_bytes().to_vec());
        }
        let mut shown = Vec::new();
        walk(dir.path(), &mut |path, _| shown.push(path.to_vec())).unwrap();
        assert_eq!(shown, expected);
    }

    #[test]
    fn whatever_changes_in_a_tree_is_seen_but_that_one_path_goes() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("nothing", |_| {}),
            ("gone: the one that may", |dir| fs::remove_file(dir.join("may-go")).unwrap()),
            ("gone: another", |dir| fs::remove_file(dir.join("data/a")).unwrap()),
            ("new", |dir| fs::write(dir.join("zz"), "").unwrap()),
            ("new, before all", |dir| fs::write(dir.join("a"), "").unwrap()),
            ("written", |dir| fs::write(dir.join("may-go"), "other").unwrap()),
            ("another mode", |dir| {
                fs::set_permissions(dir.join("data/a"), fs::Permissions::from_mode(0o600)).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("data")).unwrap();
            for name in ["data/a", "data/b", "may-go", "z"] {
                fs::write(dir.path().join(name), name).unwrap();
                fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
            }
            let surveyed = survey(dir.path()).unwrap();
            change(dir.path());
            let is_unchanged = is_unchanged(dir.path(), &surveyed, b"may-go").unwrap();
            assert_eq!(is_unchanged, ["nothing", "gone: the one that may"].contains(&what), "{what}");
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
        let copied = copy(&source, &entries, b"", &destination, &|_, _, _, _| None).unwrap();
        assert!(same_content(&source, &destination).unwrap());
        assert_eq!(copied, digest(&source, &entries).unwrap());
        assert_eq!(copied.len(), 31);

        fs::remove_dir_all(&destination).unwrap();
        fs::create_dir(&destination).unwrap();
        fs::remove_file(source.join("data/3/10")).unwrap();
        let failed = copy(&source, &entries, b"", &destination, &|_, _, _, _| None).unwrap_err().to_string();
        assert!(failed.contains("data/3/10"), "{failed}");
    }
}
