//! Which versions are bad, and which one is pinned: machine -> facts. A bad version is known by its content, too: the same
//! bytes under a new version are as bad.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use crate::digest::FileFacts;
use crate::error::Result;
use crate::formats::manifest::Manifest;
use crate::formats::mark::{LARGEST, Mark};
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::trees::{self, Entry, Files};
use crate::tools::dispatch::decide::UploadManifest;
use crate::tools::dispatch::observe::Site;
use crate::version::Version;

impl Site<'_> {
    /// The versions that were marked bad, by name.
    ///
    /// Fails (exit 2) on a mark that cannot be read: it may not be taken for none.
    pub fn bad_versions(&self) -> Result<Vec<Mark>> {
        let dir = self.service.bad();
        let mut marks = Vec::new();
        for name in if files::is_directory(&dir) { files::names_in(&dir)? } else { Vec::new() } {
            let Ok(version) = Version::of_directory(name.as_bytes()) else { continue };
            let path = dir.join(&name);
            let Some(source) = files::read_without_following(&path, LARGEST)? else { continue };
            let mark = Mark::parse(&source, "remove the file if that version is good")
                .map_err(|refusal| refusal.in_file(&path))?;
            marks.push(Mark { version, ..mark });
        }
        Ok(marks)
    }

    /// The version that is pinned. Fails (exit 2) where the note cannot be read.
    pub fn pin(&self) -> Result<Option<Mark>> {
        let path = self.service.pin();
        let source = files::read_without_following(&path, LARGEST)?;
        let remedy = format!("let what is pushed go on with dispatch --unpin {}", self.model);
        let pin = source.map(|source| Mark::parse(&source, &remedy));
        pin.transpose().map_err(|refusal| refusal.in_file(&path))
    }

    /// The bad version that a version is: by its name, or because the upload holds the same `lib/` and `data/`. Files are read
    /// only where names, sizes and modes agree, and the upload's own manifest does not tell.
    pub fn bad_version_of(
        &self,
        version: &Version,
        upload: &[Entry],
        manifest: &UploadManifest,
    ) -> Result<Option<Mark>> {
        let mut bad = self.bad_versions()?;
        if let Some(index) = bad.iter().position(|mark| mark.version == *version) {
            return Ok(Some(bad.swap_remove(index)));
        }
        let pushed = match manifest {
            UploadManifest::Present(pushed) if pushed.version == *version => Some(&pushed.files),
            _ => None,
        };
        let entries: Vec<Entry> = upload.iter().filter(|entry| is_payload_entry(entry)).cloned().collect();
        let mut digested: Option<Files> = None;
        for mark in bad.into_iter().rev() {
            let Some(of_bad) = self.manifest_of(&mark.version)? else { continue };
            let of_bad = payload(&of_bad.files);
            if !agree(&of_bad, &entries) {
                continue;
            }
            let known = pushed.map(payload).filter(|pushed| pushed.keys().eq(of_bad.keys()));
            let is_same = match (&known, &digested) {
                (Some(pushed), _) => same_bytes(pushed, &of_bad),
                (None, Some(files)) => same_bytes(&payload(files), &of_bad),
                (None, None) => {
                    let files = digested.insert(trees::digest(&self.upload.dir, &entries)?);
                    same_bytes(&payload(files), &of_bad)
                }
            };
            if is_same {
                return Ok(Some(mark));
            }
        }
        Ok(None)
    }

    /// The manifest of a published version; `None` where there is none, or it is not one.
    fn manifest_of(&self, version: &Version) -> Result<Option<Manifest>> {
        let source = files::read_without_following(&self.service.manifest(version), MANIFEST_LIMIT)?;
        Ok(source.and_then(|source| Manifest::parse(&source).ok()))
    }
}

type Payload<'a> = BTreeMap<&'a [u8], &'a FileFacts>;

/// What makes a version: the files of `lib/` and `data/`, not `success`, which names it.
fn payload(files: &Files) -> Payload<'_> {
    files.iter().filter(|(path, _)| is_payload(path)).map(|(path, facts)| (path.as_slice(), facts)).collect()
}

fn is_payload(path: &[u8]) -> bool {
    path.starts_with(b"lib/") || path.starts_with(b"data/")
}

fn is_payload_entry(entry: &Entry) -> bool {
    entry.kind == Kind::File && is_payload(entry.path.as_os_str().as_bytes())
}

/// Whether files have the names, sizes and modes of a bad version's.
fn agree(of_bad: &Payload, entries: &[Entry]) -> bool {
    let has = |entry: &Entry| {
        of_bad
            .get(entry.path.as_os_str().as_bytes())
            .is_some_and(|facts| (facts.size, facts.mode) == (entry.identity.size, entry.mode & 0o777))
    };
    of_bad.len() == entries.len() && entries.iter().all(has)
}

fn same_bytes(files: &Payload, of_bad: &Payload) -> bool {
    files.len() == of_bad.len()
        && files.iter().all(|(path, facts)| of_bad.get(path).is_some_and(|bad| bad.digest == facts.digest))
}
