//! The files of a configuration, read as the daemon reads them (observed on rsync 3.5.0).
//!
//! `&include PATH` reads a file with the globals apart: they begin as they are, what it sets ends with it, and behind it is the
//! global part, also when the directive stands in a module. `&merge PATH` reads as if the text stood there. A directory is its
//! `*.conf` for `&include` and its `*.inc` for `&merge`, dot files too, by the order of their bytes; one without any changes
//! nothing, not even the section. A path is everything up to the end of its line; a relative one begins where the daemon was
//! started. A path that leads nowhere, or in a circle, stops the daemon.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use super::Problem;
use super::syntax::{self, Directive, End, Entry, Kind};
use crate::formats::Refusal;

/// How many files are read, the main one not counted.
const FILES: usize = 1000;

/// How many files deep directives lead.
const DEPTH: usize = 32;

/// How many bytes they have in all, each as often as it is read: what one file may have.
const BYTES: usize = 1 << 20;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file's bytes.
    File(Vec<u8>),
    /// The names in a directory.
    Directory(Vec<OsString>),
    /// Nothing that can be read: why, and what to do about it (`why; what`).
    Nothing(String),
}

/// What every path led to.
pub type Files = BTreeMap<Rc<Path>, Found>;

/// The entries of a configuration in the order in which the daemon reads them. What its directives lead to is added to `files`,
/// looked at once each.
pub fn entries(
    main: &Rc<Path>,
    files: &mut Files,
    look: &mut dyn FnMut(&Path) -> Found,
) -> Result<Vec<Entry>, Problem> {
    let mut reader = Reader { files, look, open: Vec::new(), entries: Vec::new(), count: 0, bytes: 0 };
    reader.file(main)?;
    Ok(reader.entries)
}

struct Reader<'a> {
    files: &'a mut Files,
    look: &'a mut dyn FnMut(&Path) -> Found,
    /// The files that are being read, each because of the one before it.
    open: Vec<Rc<Path>>,
    entries: Vec<Entry>,
    /// How many files were read because of directives, and their bytes.
    count: usize,
    bytes: usize,
}

/// Why a directive cannot be followed, and what to do instead.
struct Fault(String, String);

impl Reader<'_> {
    /// Reads a file with all that it leads to; what is no file has no entries.
    fn file(&mut self, path: &Rc<Path>) -> Result<(), Problem> {
        let Some(Found::File(source)) = self.files.get(path) else { return Ok(()) };
        let entries = syntax::entries(path, source).map_err(|r| Problem::Unreadable(path.clone(), r))?;
        self.open.push(path.clone());
        for entry in entries {
            let Kind::Directive(directive, target) = &entry.kind else {
                self.entries.push(entry);
                continue;
            };
            let (directive, targets) = (*directive, self.targets(*directive, target));
            let targets = targets.map_err(|fault| self.refused(&entry, fault))?;
            self.entries.push(entry);
            for target in targets {
                self.mark(&target, Kind::Enter(directive));
                self.file(&target)?;
                self.mark(&target, Kind::Leave(directive));
            }
        }
        self.open.pop();
        Ok(())
    }

    fn mark(&mut self, file: &Rc<Path>, kind: Kind) {
        self.entries.push(Entry { file: file.clone(), span: 0..0, kind, end: End::Line });
    }

    fn refused(&self, entry: &Entry, Fault(what, instead): Fault) -> Problem {
        let source = match self.files.get(&entry.file) {
            Some(Found::File(source)) => source.as_slice(),
            _ => b"",
        };
        Problem::Unreadable(entry.file.clone(), Refusal::at(source, entry.span.start, what, instead))
    }

    /// The files that a directive leads to.
    fn targets(&mut self, directive: Directive, path: &[u8]) -> Result<Vec<Rc<Path>>, Fault> {
        let (key, path) = (directive.key(), Path::new(OsStr::from_bytes(path)));
        let fault = |what: &str, instead: &str| Err(Fault(format!("{key}: {what}"), instead.to_owned()));
        let missing = |why: &str| {
            let (what, remedy) =
                why.split_once("; ").unwrap_or((why, "the daemon does not answer without it"));
            fault(what, remedy)
        };
        let too_much = || {
            let what = format!("more than {FILES} files, {DEPTH} deep, or {BYTES} bytes in all");
            fault(&what, "no more is read here; include less")
        };
        if !path.has_root() {
            let what = format!("{} does not begin at the root", path.display());
            return fault(&what, "write it from the root: otherwise it begins where the daemon was started");
        }
        let path: Rc<Path> = path.into();
        let targets: Vec<Rc<Path>> = match self.found(&path) {
            Found::File(_) => vec![path.clone()],
            Found::Directory(names) => {
                let is_read = |name: &&OsString| name.as_bytes().ends_with(directive.suffix());
                let mut names: Vec<&OsString> = names.iter().filter(is_read).collect();
                names.sort();
                names.into_iter().map(|name| path.join(name).into()).collect()
            }
            Found::Nothing(why) => return missing(why),
        };
        self.count += targets.len();
        if self.count > FILES || self.open.len() > DEPTH {
            return too_much();
        }
        for target in &targets {
            if self.open.contains(target) {
                let what = format!("{} would include itself", target.display());
                return fault(&what, "take this line out: the daemon does not answer with it");
            }
            match self.found(target) {
                Found::File(source) => self.bytes += source.len(),
                Found::Directory(_) => {}
                Found::Nothing(why) => return missing(why),
            }
            if self.bytes > BYTES {
                return too_much();
            }
        }
        Ok(targets)
    }

    fn found(&mut self, path: &Rc<Path>) -> &Found {
        let look = &mut self.look;
        self.files.entry(path.clone()).or_insert_with(|| look(path))
    }
}
