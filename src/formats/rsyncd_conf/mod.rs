//! rsyncd.conf: read as the daemon reads it, with the files that it includes, and edited in the `hosts deny` of one module, in
//! the file where that stands; every other byte stays.
//!
//! What is in force for a module (observed on rsync 3.5.0): the last assignment in its own sections, of whatever file;
//! otherwise the global one above its first section; otherwise, and not as the daemon's manual says, the last global one of the
//! configuration, in which those of an `&include`d file do not count. An assignment of its own replaces the global one whole,
//! also an empty one.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

use crate::error::Error;
use crate::formats::{Refusal, Source};
use crate::names::shown;

pub mod access;
mod edit;
pub mod include;
mod syntax;
pub mod until;

use access::{Access, HostList, List, Origin, Pattern};
use include::{Files, Found};
use syntax::{Char, Directive, Entry, Kind};

/// The folded name of the global part.
const GLOBAL: &[u8] = b"global";

/// A configuration. Reading one never fails; asking for a module does, where a file of it cannot be judged.
#[derive(Debug, Clone)]
pub struct RsyncdConf {
    main: Rc<Path>,
    /// The main file, and what directives lead to.
    files: Files,
    entries: Result<Vec<Entry>, Problem>,
}

/// Where something stands: shown as `FILE:LINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Rc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a module cannot be read or edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// This file stops the daemon, or says something that cannot be judged or edited here.
    Unreadable(Rc<Path>, Refusal),
    /// There is no such module in the configuration of this file; these there are.
    NoSuchModule(Rc<Path>, Vec<Vec<u8>>),
}

impl Problem {
    /// The problem as the error of a run that asked for a module.
    pub fn of_module(&self, module: &[u8]) -> Error {
        match self {
            Problem::Unreadable(file, refusal) => refusal.in_file(file),
            Problem::NoSuchModule(file, there) => {
                let there: Vec<String> = there.iter().map(|name| shown(name)).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                let (file, module) = (file.display(), shown(module));
                Error::failed(format!(
                    "{file}: there is no module {module}; name one with --module; there are: {there}"
                ))
            }
        }
    }
}

/// An assignment that is in force.
#[derive(Clone)]
struct InForce<'a> {
    origin: Origin,
    entry: &'a Entry,
    value: &'a [Char],
}

impl RsyncdConf {
    /// Reads the bytes of a file, and whatever its directives lead to, at which `look` is to look.
    pub fn read(file: &Path, source: &[u8], look: &mut dyn FnMut(&Path) -> Found) -> RsyncdConf {
        let main: Rc<Path> = file.into();
        let mut files = Files::from([(main.clone(), Found::File(source.to_vec()))]);
        let entries = include::entries(&main, &mut files, look);
        RsyncdConf { main, files, entries }
    }

    /// Reads the bytes of a file that includes no other one.
    pub fn parse(source: &[u8]) -> RsyncdConf {
        RsyncdConf::read(Path::new("rsyncd.conf"), source, &mut nothing)
    }

    /// The main file.
    pub fn file(&self) -> &Path {
        &self.main
    }

    /// The main file's bytes.
    pub fn render(&self) -> &[u8] {
        self.source(&self.main)
    }

    /// The files and their bytes, whether or not they could be understood.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().filter_map(|(path, found)| match found {
            Found::File(source) => Some((&**path, source.as_slice())),
            Found::Directory(_) | Found::Nothing(_) => None,
        })
    }

    /// The files whose bytes are others than `before`, of the same configuration.
    pub fn changed_since(&self, before: &RsyncdConf) -> Vec<(&Path, &[u8])> {
        self.files().filter(|(path, source)| before.source(path) != *source).collect()
    }

    /// The value of a parameter that the daemon reads when it starts, such as `pid file`, and its line: the last
    /// assignment above the first header, in whatever file: then an `&include`d one sets what it sets for all. What stands
    /// further down, in a second `[global]` too, it does not read then (observed on rsync 3.5.0). `None` where it is not set or
    /// empty.
    pub fn at_start(&self, key: &str) -> Result<Option<(Vec<u8>, Place)>, Problem> {
        let entries = self.entries.as_ref().map_err(Clone::clone)?;
        let key = syntax::folded(key.as_bytes());
        let mut found = None;
        for entry in entries {
            match &entry.kind {
                Kind::Header(_) => break,
                Kind::Assignment(assigned, value) if *assigned == key => {
                    found = value.first().map(|c| (self.place(entry, c.at), value))
                }
                _ => {}
            }
        }
        Ok(found.map(|(place, value)| (value.iter().map(|c| c.byte).collect(), place)))
    }

    /// The lists in force for a module.
    pub fn access(&self, module: &[u8]) -> Result<Access, Problem> {
        self.check(module)?;
        let list = |list| self.in_force(module, list).and_then(|in_force| self.host_list(&in_force, list));
        Ok(Access { allow: list(List::Allow), deny: list(List::Deny) })
    }

    /// Whether the daemon calls the module unknown to whom it denies: `list` is off (observed on rsync 3.5.0).
    pub fn hides(&self, module: &[u8]) -> bool {
        let (own, inherited) = self.assignments(module, b"list");
        let value = own
            .or(inherited)
            .map(|f| f.value.iter().map(|c| c.byte.to_ascii_lowercase()).collect::<Vec<u8>>());
        value.is_some_and(|value| [&b"no"[..], b"false", b"0"].contains(&value.as_slice()))
    }

    fn check(&self, module: &[u8]) -> Result<(), Problem> {
        let entries = self.entries.as_ref().map_err(Clone::clone)?;
        let mut there: Vec<Vec<u8>> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries {
            let Kind::Header(name) = &entry.kind else { continue };
            let folded = syntax::folded(name);
            if folded == syntax::folded(module) && folded != GLOBAL {
                return Ok(());
            }
            if folded != GLOBAL && seen.insert(name) {
                there.push(name.clone());
            }
        }
        Err(Problem::NoSuchModule(self.main.clone(), there))
    }

    fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }

    fn source(&self, file: &Path) -> &[u8] {
        match self.files.get(file) {
            Some(Found::File(source)) => source,
            _ => b"",
        }
    }

    fn text(&self, entry: &Entry) -> &[u8] {
        &self.source(&entry.file)[entry.span.clone()]
    }

    fn place(&self, entry: &Entry, at: usize) -> Place {
        let line = Source::new(self.source(&entry.file)).line_of(at);
        Place { file: entry.file.clone(), line }
    }

    /// The entries, each with the folded name of its section.
    fn with_sections(&self) -> impl Iterator<Item = (Rc<[u8]>, &Entry)> {
        let mut section: Rc<[u8]> = GLOBAL.into();
        self.entries().iter().map(move |entry| {
            match &entry.kind {
                Kind::Header(name) => section = syntax::folded(name).into(),
                Kind::Enter(Directive::Include) | Kind::Leave(Directive::Include) => section = GLOBAL.into(),
                _ => {}
            }
            (section.clone(), entry)
        })
    }

    fn in_force(&self, module: &[u8], list: List) -> Option<InForce<'_>> {
        let (own, inherited) = self.assignments(module, list.key().as_bytes());
        own.or(inherited)
    }

    /// The module's own assignment of a parameter, and the one that it would inherit.
    fn assignments(&self, module: &[u8], key: &[u8]) -> (Option<InForce<'_>>, Option<InForce<'_>>) {
        let (module, key) = (syntax::folded(module), syntax::folded(key));
        let (mut own, mut above, mut global) = (None, None, None);
        let mut is_above = true;
        // The globals as they were in front of the files that are being included.
        let mut outside = Vec::new();
        for (section, entry) in self.with_sections() {
            is_above &= *section != module;
            match &entry.kind {
                Kind::Enter(Directive::Include) => outside.push(global.clone()),
                Kind::Leave(Directive::Include) => global = outside.pop().flatten(),
                Kind::Assignment(assigned, value) if *assigned == key => {
                    let in_force = |origin| Some(InForce { origin, entry, value });
                    if *section == module {
                        own = in_force(Origin::Module);
                    } else if *section == *GLOBAL {
                        global = in_force(Origin::Global);
                    }
                }
                _ => {}
            }
            if is_above {
                above = global.clone();
            }
        }
        (own, above.or(global))
    }

    fn host_list(&self, in_force: &InForce, list: List) -> Option<HostList> {
        let first = in_force.value.first()?;
        let place = self.place(in_force.entry, first.at);
        Some(HostList { place, patterns: self.patterns(in_force, list) })
    }

    fn patterns(&self, in_force: &InForce, list: List) -> Vec<Pattern> {
        let file = &in_force.entry.file;
        let source = Source::new(self.source(file));
        let words = in_force.value.split(|c| access::is_separator(c.byte));
        let pattern = |word: &[Char]| {
            let (first, last) = (word.first()?, word.last()?);
            let text: Vec<u8> = word.iter().map(|c| c.byte).collect();
            Some(Pattern {
                place: Place { file: file.clone(), line: source.line_of(first.at) },
                list,
                origin: in_force.origin,
                span: first.at..last.at + 1,
                meaning: access::meaning(&text),
                text,
            })
        };
        words.filter_map(pattern).collect()
    }
}

/// Where nothing is to be looked at.
fn nothing(_: &Path) -> Found {
    Found::Nothing("it is not read here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_reads_when_it_starts_stands_above_the_first_header() {
        let pid_file = |source: &str| {
            let found = RsyncdConf::parse(source.as_bytes()).at_start("pid file").unwrap();
            found.map(|(value, place)| (String::from_utf8(value).unwrap(), place.line))
        };
        assert_eq!(
            pid_file("a=b\nPID  File =  /run/a b.pid \r\n[m]\n"),
            Some(("/run/a b.pid".to_owned(), 2))
        );
        assert_eq!(pid_file("pid file=a\npid file=b\n[m]\npid file=c\n"), Some(("b".to_owned(), 2)));
        for none in ["", "[global]\npid file=a\n", "[m]\n[global]\npid file=a\n", "pid file=a\npid file=\n"] {
            assert_eq!(pid_file(none), None, "{none}");
        }
    }

    #[test]
    fn a_module_is_hidden_by_the_list_parameter_that_is_in_force() {
        let hides = |source: &str| RsyncdConf::parse(source.as_bytes()).hides(b"m");
        assert!(hides("[m]\nlist = No\n") && hides("list=0\n[m]\n") && hides("[m]\nlist=yes\nlist=false\n"));
        assert!(!hides("[m]\n") && !hides("[m]\n[n]\nlist=no\n") && !hides("list=no\n[m]\nlist=yes\n"));
    }

    fn deny_in_force(source: &str) -> Vec<String> {
        let access = RsyncdConf::parse(source.as_bytes()).access(b"m").unwrap();
        let patterns = access.deny.map(|list| list.patterns).unwrap_or_default();
        patterns.iter().map(|p| String::from_utf8_lossy(&p.text).into_owned()).collect()
    }

    #[test]
    fn the_list_in_force_is_found_as_the_daemon_finds_it() {
        for (source, expected) in [
            ("hosts deny=a\n[m]\n", "a"),
            ("hosts deny=a\n[m]\nhosts deny=b\n", "b"),
            ("hosts deny=a\n[m]\nhosts deny=\n", ""),
            ("[m]\n[global]\nhosts deny=a\n", "a"),
            ("hosts deny=a\n[m]\n[GLO bal]\nhosts deny=b\n", "a"),
            ("hosts deny=\n[m]\n[global]\nhosts deny=b\n", ""),
            ("[m]\nhosts deny=a\nhosts deny=b\n[n]\nhosts deny=c\n[m]\nx=y\n", "b"),
        ] {
            assert_eq!(deny_in_force(source).join(","), expected, "{source}");
        }
    }
}
