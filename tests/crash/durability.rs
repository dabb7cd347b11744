//! What a trace says about a power cut, as a pure function. A power cut may undo whatever was not made durable, in any
//! order; so
//!
//! 1. a name that others read is given only to what is durable already: bytes, mode, and the names below it;
//! 2. that name, and those of the directories above it, are durable before the next step that relies on them: before
//!    another published name is given or taken away, before another program is started, before the end;
//! 3. what has such a name is never written to.

use std::collections::{BTreeMap, BTreeSet};

use crate::crash::strace::{Call, parse};

/// What a call means to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// Bytes, length, mode or owner changed.
    Written(String),
    /// A new name: of a file, a directory, a link.
    Named(String),
    /// A name became another.
    Moved(String, String),
    /// A second name.
    Linked(String, String),
    /// A name is gone.
    Removed(String),
    /// A file's bytes, or a directory's names, are durable.
    Synced(String),
    /// The whole file system is durable.
    AllSynced,
    /// Another program is started.
    Started(String),
}

/// What would be wrong after a power cut. `published` says which paths others read; `cwd` is where the trace begins.
pub fn violations(calls: &[Call], cwd: &str, published: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut disk = Disk { published, dirty: BTreeSet::new(), loose: BTreeSet::new(), found: Vec::new() };
    for event in events(calls, cwd) {
        disk.happens(event);
    }
    disk.step("the end", &[]);
    let dirty: Vec<String> = disk.dirty.iter().filter(|path| published(path)).cloned().collect();
    disk.found.extend(dirty.into_iter().map(|path| format!("{path} was not durable at the end")));
    disk.found
}

struct Disk<'a> {
    published: &'a dyn Fn(&str) -> bool,
    /// Files and directories whose own bytes or mode are not durable.
    dirty: BTreeSet<String>,
    /// Names that are not durable in their directory.
    loose: BTreeSet<String>,
    found: Vec<String>,
}

impl Disk<'_> {
    fn happens(&mut self, event: Event) {
        match event {
            Event::Written(path) => {
                if (self.published)(&path) {
                    self.found.push(format!("{path} was written to under the name that others read"));
                }
                self.dirty.insert(path);
            }
            Event::Named(path) => drop(self.loose.insert(path)),
            Event::Moved(from, to) => {
                self.becomes_visible(&from, &to);
                self.rename(&from, &to);
                self.loose.insert(to);
            }
            Event::Linked(from, to) => {
                self.becomes_visible(&from, &to);
                if self.dirty.contains(&from) {
                    self.dirty.insert(to.clone());
                }
                self.loose.insert(to);
            }
            Event::Removed(path) => {
                if (self.published)(&path) {
                    self.step(&format!("the removal of {path}"), &[&path]);
                }
                self.dirty.retain(|other| !is_at_or_below(other, &path));
                self.loose.retain(|other| !is_at_or_below(other, &path));
            }
            Event::Synced(path) => {
                self.dirty.remove(&path);
                self.loose.retain(|name| parent(name) != path);
            }
            Event::AllSynced => {
                self.dirty.clear();
                self.loose.clear();
            }
            Event::Started(program) => self.step(&format!("the start of {program}"), &[]),
        }
    }

    /// Rule 1, and rule 2 for what came before.
    fn becomes_visible(&mut self, from: &str, to: &str) {
        if (self.published)(to) || (self.published)(from) {
            self.step(&format!("the name {to}"), &[from, to]);
        }
        if (self.published)(to) {
            let dirty = self.dirty.iter().filter(|path| is_at_or_below(path, from));
            let loose = self.loose.iter().filter(|path| is_at_or_below(path, from) && *path != from);
            let early: Vec<String> = dirty.chain(loose).cloned().collect();
            self.found
                .extend(early.into_iter().map(|path| format!("{path} was not durable when it became {to}")));
        }
    }

    /// Rule 2: every published name is durable before the next step, but for those that the step is about.
    fn step(&mut self, what: &str, about: &[&str]) {
        let late: Vec<&String> = self
            .loose
            .iter()
            .filter(|name| (self.published)(name) && !about.iter().any(|path| is_at_or_below(name, path)))
            .collect();
        self.found
            .extend(late.into_iter().map(|name| format!("the name {name} was not durable before {what}")));
    }

    fn rename(&mut self, from: &str, to: &str) {
        for set in [&mut self.dirty, &mut self.loose] {
            set.retain(|path| !is_at_or_below(path, to));
            let moved: Vec<String> = set.iter().filter(|path| is_at_or_below(path, from)).cloned().collect();
            for path in moved {
                set.remove(&path);
                set.insert(format!("{to}{}", &path[from.len()..]));
            }
        }
    }
}

fn is_at_or_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The events of a trace. Every process has a working directory of its own; a new one has that of the process which
/// started it.
fn events(calls: &[Call], cwd: &str) -> Vec<Event> {
    let mut directories: BTreeMap<u32, String> = BTreeMap::new();
    let mut events = Vec::new();
    for call in calls.iter().filter(|call| call.succeeded()) {
        let here = directories.get(&call.pid).cloned().unwrap_or_else(|| cwd.to_owned());
        match call.name.as_str() {
            "chdir" => drop(directories.insert(call.pid, joined(&here, &text(&call.arguments[0])))),
            "fchdir" => drop(directories.insert(call.pid, file(&call.arguments[0]))),
            "clone" | "clone3" | "fork" | "vfork" => {
                let child = call.result.split(' ').next().and_then(|pid| pid.parse().ok());
                directories.extend(child.map(|pid: u32| (pid, here.clone())));
            }
            _ => events.extend(event(call, &here)),
        }
    }
    events
}

fn event(call: &Call, cwd: &str) -> Vec<Event> {
    let argument = |n: usize| call.arguments.get(n).map_or("", String::as_str);
    // A path by itself, and one beside the open directory that it is relative to.
    let path = |n: usize| joined(cwd, &text(argument(n)));
    let path_at = |n: usize| {
        let dir = if argument(n).contains('<') { file(argument(n)) } else { cwd.to_owned() };
        joined(&dir, &text(argument(n + 1)))
    };
    let opened = |path: String, flags: &str| {
        let mut events = Vec::new();
        if flags.contains("O_CREAT") {
            events.push(Event::Named(path.clone()));
        }
        if flags.contains("O_CREAT") || flags.contains("O_TRUNC") {
            events.push(Event::Written(path));
        }
        events
    };
    match call.name.as_str() {
        "openat" => opened(path_at(0), argument(2)),
        "open" => opened(path(0), argument(1)),
        "creat" => opened(path(0), "O_CREAT"),
        "write" | "pwrite64" | "writev" | "ftruncate" | "fallocate" | "fchmod" | "fchown" => {
            on_disk(file(argument(0))).map(Event::Written).into_iter().collect()
        }
        "copy_file_range" => vec![Event::Written(file(argument(2)))],
        "sendfile" => on_disk(file(argument(0))).map(Event::Written).into_iter().collect(),
        "truncate" | "chmod" | "chown" | "lchown" => vec![Event::Written(path(0))],
        "fchmodat" | "fchownat" => vec![Event::Written(path_at(0))],
        "mkdir" => vec![Event::Named(path(0))],
        "mkdirat" => vec![Event::Named(path_at(0))],
        "symlink" => vec![Event::Named(path(1))],
        "symlinkat" => vec![Event::Named(path_at(1))],
        "rename" => vec![Event::Moved(path(0), path(1))],
        "renameat" | "renameat2" => vec![Event::Moved(path_at(0), path_at(2))],
        "link" => vec![Event::Linked(path(0), path(1))],
        "linkat" => vec![Event::Linked(path_at(0), path_at(2))],
        "unlink" | "rmdir" => vec![Event::Removed(path(0))],
        "unlinkat" => vec![Event::Removed(path_at(0))],
        "fsync" | "fdatasync" => vec![Event::Synced(file(argument(0)))],
        "syncfs" | "sync" => vec![Event::AllSynced],
        "execve" => vec![Event::Started(text(argument(0)))],
        _ => Vec::new(),
    }
}

/// The path of an open file: `3</a/b>`.
fn file(argument: &str) -> String {
    let inside = argument.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
    inside.map_or_else(String::new, |(path, _)| path.to_owned())
}

/// Pipes and sockets are no files.
fn on_disk(path: String) -> Option<String> {
    path.starts_with('/').then_some(path)
}

/// The text of a quoted argument; the names here need no escapes.
fn text(argument: &str) -> String {
    argument.trim_matches('"').to_owned()
}

fn joined(dir: &str, path: &str) -> String {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| path + "/" + part)
}

/// The complaints about a trace in which /w is read by others, but for its dot files.
fn complaints(trace: &str) -> Vec<String> {
    violations(&parse(trace), "/w", &|path| path.starts_with("/w/") && !path.contains("/."))
}

const WRITTEN: &str = "openat(AT_FDCWD</w>, \"/w/.a.new\", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</w/.a.new>\n\
    write(3</w/.a.new>, \"x\", 1) = 1\n";
const SYNCED: &str = "fsync(3</w/.a.new>) = 0\n";
const RENAMED: &str = "rename(\"/w/.a.new\", \"/w/a\") = 0\n";
const NAME_SYNCED: &str = "fsync(4</w>) = 0\n";

#[test]
fn a_file_that_is_written_synced_renamed_and_whose_directory_is_synced_is_durable() {
    assert_eq!(complaints(&[WRITTEN, SYNCED, RENAMED, NAME_SYNCED].concat()), [""; 0]);
    let exclusive = "linkat(AT_FDCWD</w>, \".a.new\", AT_FDCWD</w>, \"a\", 0) = 0\nunlink(\".a.new\") = 0\n";
    assert_eq!(complaints(&[WRITTEN, SYNCED, exclusive, NAME_SYNCED].concat()), [""; 0]);
}

#[test]
fn whatever_is_left_out_or_comes_too_late_is_seen() {
    let planted = [
        (
            "no fsync of the file",
            vec![WRITTEN, RENAMED, NAME_SYNCED],
            "/w/.a.new was not durable when it became /w/a",
        ),
        (
            "the fsync fails",
            vec![WRITTEN, "fsync(3</w/.a.new>) = -1 EIO (x)\n", RENAMED, NAME_SYNCED],
            "became /w/a",
        ),
        (
            "it is written to after the fsync",
            vec![WRITTEN, SYNCED, "write(3</w/.a.new>, \"y\", 1) = 1\n", RENAMED, NAME_SYNCED],
            "/w/.a.new was not durable when it became /w/a",
        ),
        (
            "its mode is set after the fsync",
            vec![WRITTEN, SYNCED, "fchmod(3</w/.a.new>, 0600) = 0\n", RENAMED, NAME_SYNCED],
            "/w/.a.new was not durable when it became /w/a",
        ),
        (
            "no fsync of the directory",
            vec![WRITTEN, SYNCED, RENAMED],
            "the name /w/a was not durable before the end",
        ),
        (
            "the fsync of another directory",
            vec![WRITTEN, SYNCED, RENAMED, "fsync(4</v>) = 0\n"],
            "the name /w/a was not durable before the end",
        ),
        (
            "the next name comes before the fsync of the directory",
            vec![WRITTEN, SYNCED, RENAMED, "rename(\"/w/b\", \"/w/.b.removing\") = 0\n", NAME_SYNCED],
            "the name /w/a was not durable before the name /w/.b.removing",
        ),
        (
            "a removal comes before the fsync of the directory",
            vec![WRITTEN, SYNCED, RENAMED, "unlink(\"/w/success\") = 0\n", NAME_SYNCED],
            "the name /w/a was not durable before the removal of /w/success",
        ),
        (
            "a program is started before the fsync of the directory",
            vec![
                WRITTEN,
                SYNCED,
                RENAMED,
                "execve(\"/bin/sh\", [\"sh\"], 0x1 /* 9 vars */) = 0\n",
                NAME_SYNCED,
            ],
            "the name /w/a was not durable before the start of /bin/sh",
        ),
        (
            "it is written to in place",
            vec!["openat(AT_FDCWD</w>, \"a\", O_WRONLY|O_TRUNC) = 3</w/a>\n"],
            "/w/a was written to under the name that others read",
        ),
        (
            "a directory above it is new",
            vec![
                "mkdir(\"/w/d\", 0777) = 0\n",
                WRITTEN,
                SYNCED,
                "rename(\"/w/.a.new\", \"/w/d/a\") = 0\nfsync(4</w/d>) = 0\n",
            ],
            "the name /w/d was not durable before the name /w/d/a",
        ),
    ];
    for (name, trace, expected) in planted {
        let found = complaints(&trace.concat());
        assert!(found.iter().any(|line| line.contains(expected)), "{name}: {found:?}");
    }
}

#[test]
fn a_directory_is_durable_when_all_below_it_is() {
    let filled = "mkdir(\"/w/.s\", 0777) = 0\n\
        7 chdir(\"/w/.s\") = 0\n\
        7 openat(AT_FDCWD</w/.s>, \".x.1\", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</w/.s/.x.1>\n\
        7 write(3</w/.s/.x.1>, \"x\", 1) = 1\n\
        7 rename(\".x.1\", \"x\") = 0\n\
        mkdir(\"/w/.s/d\", 0777) = 0\n";
    let all = "syncfs(3</w/.s>) = 0\n";
    let published = "rename(\"/w/.s\", \"/w/v\") = 0\nfsync(4</w>) = 0\n";
    assert_eq!(complaints(&[filled, all, published].concat()), [""; 0]);
    let found = complaints(&[filled, published].concat());
    for path in ["/w/.s/x was not durable", "/w/.s/d was not durable"] {
        assert!(found.iter().any(|line| line.starts_with(path)), "{found:?}");
    }
    let copied = "copy_file_range(4</u/y>, NULL, 3</w/.s/x>, NULL, 9, 0) = 9\n";
    let found = complaints(&[filled, all, copied, published].concat());
    assert_eq!(found, ["/w/.s/x was not durable when it became /w/v", "/w/v/x was not durable at the end"]);
}
