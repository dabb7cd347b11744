//! What a run left behind, and how two runs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use model_rollout::machine::clock;
use model_rollout::time::LocalTime;
use regex::bytes::{Captures, Regex};

/// What a run left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run.
    pub command: String,
    /// Its exit status; -1 for a signal.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Calls to the outside, in order.
    pub journal: Vec<String>,
    /// Every path of the world.
    pub tree: Tree,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is: a file with its bytes, a link with its target, a directory, ...
    pub kind: Kind,
    /// Permission bits, set-id bits included.
    pub mode: u32,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
    Special,
}

/// Every path of a world, with what differs from run to run by itself made equal: versions that are the time of the run,
/// dates, the day in a log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// Reads a tree. Versions between `begun` and now become `<VERSION>`, or `<VERSION 1>`, `<VERSION 2>`, ... in the order
    /// of time where there are several.
    pub fn read(root: &Path, begun: &LocalTime) -> Tree {
        let mut raw = Vec::new();
        read_below(root, Path::new(""), &mut raw);
        let leveller = Leveller::new(begun, &raw);
        let level = |(path, node): (PathBuf, Node)| {
            let shown = leveller.level(path.as_os_str().as_bytes()).escape_ascii().to_string();
            let kind = match node.kind {
                Kind::File(bytes) => Kind::File(leveller.level(&bytes)),
                other => other,
            };
            (shown, Node { kind, ..node })
        };
        Tree(raw.into_iter().map(level).collect())
    }

    /// A file's bytes as text; panics with the tree's paths when there is no such file.
    pub fn text(&self, path: &str) -> String {
        match self.0.get(path).map(|node| &node.kind) {
            Some(Kind::File(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{path} is no file but {other:?}; there are {:#?}", self.0.keys()),
        }
    }

    /// Whether a path is there.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

fn read_below(root: &Path, relative: &Path, nodes: &mut Vec<(PathBuf, Node)>) {
    let Some(entries) = if_there(std::fs::read_dir(root.join(relative))) else { return };
    for entry in entries {
        let path = relative.join(entry.unwrap().file_name());
        if let Some(node) = read(root, &path, nodes) {
            nodes.push((path, node));
        }
    }
}

/// What is at a path, after what is below it.
fn read(root: &Path, path: &Path, nodes: &mut Vec<(PathBuf, Node)>) -> Option<Node> {
    let full = root.join(path);
    let metadata = if_there(std::fs::symlink_metadata(&full))?;
    let file_type = metadata.file_type();
    let kind = if file_type.is_file() {
        Kind::File(if_there(std::fs::read(&full))?)
    } else if file_type.is_dir() {
        read_below(root, path, nodes);
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Link(if_there(std::fs::read_link(&full))?.as_os_str().as_bytes().to_vec())
    } else {
        Kind::Special
    };
    Some(Node { kind, mode: metadata.mode() & 0o7777 })
}

/// A child of a daemon whose connection failed takes its temporary file away when it gets to it, if only after it was listed.
fn if_there<T>(found: std::io::Result<T>) -> Option<T> {
    match found {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        found => Some(found.unwrap()),
    }
}

static FOURTEEN_DIGITS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u:\b[0-9]{14}\b)").unwrap());
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?-u)(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z][a-z] [ 0-9]?[0-9] [0-9:]{8} [A-Z0-9+-]+ [0-9]{4}",
    )
    .unwrap()
});
static LOG_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u)dispatchserver-[0-9]{8}\.log").unwrap());

/// Makes equal what differs by itself.
struct Leveller {
    versions: Vec<Vec<u8>>,
}

impl Leveller {
    /// Finds the versions of the run that began at `begun`.
    fn new(begun: &LocalTime, nodes: &[(PathBuf, Node)]) -> Leveller {
        let version = |time: &LocalTime| time.version().expect("a version of the clock").to_string();
        // A push may have waited for its own second.
        let later =
            LocalTime { instant: clock::now().instant + chrono::TimeDelta::seconds(1), ..clock::now() };
        let of_this_run = version(begun).into_bytes()..=version(&later).into_bytes();
        let mut versions = BTreeSet::new();
        for (path, node) in nodes {
            let content: &[u8] = if let Kind::File(bytes) = &node.kind { bytes } else { b"" };
            for text in [path.as_os_str().as_bytes(), content] {
                versions.extend(FOURTEEN_DIGITS.find_iter(text).map(|found| found.as_bytes().to_vec()));
            }
        }
        versions.retain(|version| of_this_run.contains(version));
        Leveller { versions: versions.into_iter().collect() }
    }

    fn level(&self, bytes: &[u8]) -> Vec<u8> {
        let bytes = FOURTEEN_DIGITS.replace_all(bytes, |found: &Captures| {
            match self.versions.iter().position(|version| *version == found[0]) {
                Some(_) if self.versions.len() == 1 => b"<VERSION>".to_vec(),
                Some(index) => format!("<VERSION {}>", index + 1).into_bytes(),
                None => found[0].to_vec(),
            }
        });
        let bytes = DATE.replace_all(&bytes, &b"<DATE>"[..]);
        LOG_NAME.replace_all(&bytes, &b"dispatchserver-<DAY>.log"[..]).into_owned()
    }
}

/// The dot files that only a binary leaves: exactly these, nowhere else (contract section 4).
static ADDITIONS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)^(
            monitor/scripts/dispatch/bin/\.dispatchserver\.sh\.(lock|tick\.lock)
          | monitor/scripts/dispatch/log/\.history-[^/]+\.jsonl
          | monitor/rsync_service_data/datamining_plugin/[^/]+/\.(env\.sh|manifest)
          | monitor/scripts/dispatch/lock(/[^/]+\.(tick|state|held))?
          | monitor/rsync_service_data/datamining_service/[^/]+/\.rollout(/(state\.json|announcement|held|manifests(/[^/]+)?))?
          # Of a poll that reports nothing, what it tells may be the first there; reports are compared.
          | monitor/rsync_service_data/datamining_service/[^/]+/version(/\.state-[^/]+)?
          | deploy/\.rsync-push\.lock
          | deploy/online/\.manifest
          | member-[^/]+/workspace/bin/etc/\.rollout(/(lock|state\.json))?
        )$",
    )
    .unwrap()
});

/// Where two runs differ: empty when they left the same behind. What the binary adds by design does not count, nor do
/// lines of a log other than the begin and end lines.
pub fn differences(reference: &Outcome, other: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    if reference.status != other.status {
        found.push(format!("exit status {} became {}", reference.status, other.status));
    }
    if reference.journal != other.journal {
        found.push(format!("the calls {:?} became {:?}", reference.journal, other.journal));
    }
    for (path, node) in compared(&reference.tree) {
        match other.tree.0.get(path) {
            None => found.push(format!("{path} is missing")),
            Some(their) => found.extend(node_differences(path, node, their)),
        }
    }
    for (path, _) in compared(&other.tree) {
        if !reference.tree.0.contains_key(path) {
            found.push(format!("{path} is there, too"));
        }
    }
    found
}

/// The paths that count.
fn compared(tree: &Tree) -> impl Iterator<Item = (&String, &Node)> {
    tree.0.iter().filter(|(path, _)| !ADDITIONS.is_match(path.as_bytes()))
}

fn node_differences(path: &str, node: &Node, other: &Node) -> Vec<String> {
    let mut found = Vec::new();
    if node.mode != other.mode {
        found.push(format!("{path}: mode {:o} became {:o}", node.mode, other.mode));
    }
    match (&node.kind, &other.kind) {
        (Kind::File(left), Kind::File(right))
            if path.ends_with(".log") && begin_and_end_lines(left) == begin_and_end_lines(right) => {}
        (Kind::File(left), Kind::File(right)) if path.ends_with(".log") => {
            found.push(format!("{path}: other begin and end lines: {}", shown_change(left, right)));
        }
        // The journal is compared as a list of calls.
        (Kind::File(_), Kind::File(_)) if path == "journal" => {}
        (Kind::File(left), Kind::File(right)) if left != right => {
            found.push(format!("{path}: {}", shown_change(left, right)));
        }
        (left, right) if left != right => found.push(format!("{path}: {left:?} became {right:?}")),
        _ => {}
    }
    found
}

fn begin_and_end_lines(log: &[u8]) -> Vec<&[u8]> {
    log.split(|b| *b == b'\n').filter(|line| line.starts_with(b"=====")).collect()
}

/// The first line in which two texts differ.
fn shown_change(left: &[u8], right: &[u8]) -> String {
    let (mut ours, mut theirs) = (left.split(|b| *b == b'\n'), right.split(|b| *b == b'\n'));
    let mut line = 0;
    loop {
        line += 1;
        match (ours.next(), theirs.next()) {
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return "no line differs".to_owned(),
            (a, b) => {
                let text = |bytes: Option<&[u8]>| match bytes {
                    Some(bytes) => {
                        format!("\u{201c}{}\u{201d}", String::from_utf8_lossy(bytes).escape_debug())
                    }
                    None => "no line".to_owned(),
                };
                return format!("line {line}: {} became {}", text(a), text(b));
            }
        }
    }
}

/// A run as a failing test shows it.
pub fn shown(outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "$ {}\nexit status {}", outcome.command, outcome.status);
    for (name, stream) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        if !stream.is_empty() {
            let _ = writeln!(text, "--- {name}\n{}", stream.trim_end());
        }
    }
    let _ = writeln!(text, "--- journal {:?}", outcome.journal);
    for (path, node) in &outcome.tree.0 {
        let _ = writeln!(text, "{:4o} {path}", node.mode);
    }
    text
}
