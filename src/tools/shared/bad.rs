//! A bad version is known by its content, too: the same bytes under a new version are as bad.

use crate::digest::{Digest, FileFacts, Files};
use crate::error::Result;
use crate::formats::manifest::Manifest;
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::trees::{self, Entry, Survey};
use crate::rollout::state::State;
use crate::tools::shared::places::Places;
use crate::version::Version;

/// The bad version that holds the same `lib/` and `data/` as the upload. Files are read only where
/// names, sizes and modes agree, and the upload's own manifest does not tell.
pub fn same_content(
    places: &Places,
    state: &State,
    version: &Version,
    upload: &Survey,
    manifest: Option<&Manifest>,
) -> Result<Option<Version>> {
    let pushed = manifest.filter(|pushed| pushed.version == *version).map(|pushed| &pushed.files);
    let mut digested: Option<Files> = None;
    let bad: Vec<&Version> = state.bad().map(|release| &release.version).collect();
    for bad in bad.into_iter().rev() {
        let Some(of_bad) = manifest_of(places, bad)? else { continue };
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
                digested.insert(trees::digest(&places.upload.dir, &entries)?)
            }
        };
        if digests(files).eq(digests(&of_bad.files)) {
            return Ok(Some(bad.clone()));
        }
    }
    Ok(None)
}

/// The manifest of a published version; `None` where there is none, or it is not one.
fn manifest_of(places: &Places, version: &Version) -> Result<Option<Manifest>> {
    let source = files::read_without_following(&places.service.manifest(version), MANIFEST_LIMIT)?;
    Ok(source.and_then(|source| Manifest::parse(&source).ok()))
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
