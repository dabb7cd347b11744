//! Which versions are bad, and which one is pinned: machine -> facts. A bad version is known by its content, too: the same
//! bytes under a new version are as bad.

use std::os::unix::ffi::OsStrExt;

use crate::digest::{Digest, FileFacts, Files};
use crate::error::Result;
use crate::formats::manifest::Manifest;
use crate::formats::mark::{LARGEST, Mark};
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::trees::{self, Entry, Survey};
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
        upload: &Survey,
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
        let mut digested: Option<Files> = None;
        for mark in bad.into_iter().rev() {
            let Some(of_bad) = self.manifest_of(&mark.version)? else { continue };
            if !agree(&of_bad.files, upload) {
                continue;
            }
            let known = pushed.filter(|pushed| paths(pushed).eq(paths(&of_bad.files)));
            let files = match (known, &mut digested) {
                (Some(pushed), _) => pushed,
                (None, Some(files)) => files,
                (None, digested @ None) => {
                    let mut entries = upload.clone();
                    entries.retain(is_payload_entry);
                    digested.insert(trees::digest(&self.upload.dir, &entries)?)
                }
            };
            if digests(files).eq(digests(&of_bad.files)) {
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

/// What makes a version: the files of `lib/` and `data/`, not `success`, which names it.
fn payload(files: &Files) -> impl Iterator<Item = (&[u8], &FileFacts)> {
    files.iter().filter(|(path, _)| is_payload(path))
}

fn paths(files: &Files) -> impl Iterator<Item = &[u8]> {
    payload(files).map(|(path, _)| path)
}

fn digests(files: &Files) -> impl Iterator<Item = (&[u8], Digest)> {
    payload(files).map(|(path, facts)| (path, facts.digest))
}

fn is_payload(path: &[u8]) -> bool {
    path.starts_with(b"lib/") || path.starts_with(b"data/")
}

fn is_payload_entry(path: &[u8], entry: &Entry) -> bool {
    entry.kind == Kind::File && is_payload(path)
}

/// Whether an upload has the names, sizes and modes of a bad version's files.
fn agree(of_bad: &Files, upload: &Survey) -> bool {
    let entries = upload.iter().filter(|(path, entry)| is_payload_entry(path, entry));
    let of_upload = entries.map(|(path, entry)| (path, entry.identity.size, entry.mode & 0o777));
    payload(of_bad).map(|(path, facts)| (path, facts.size, facts.mode)).eq(of_upload)
}
