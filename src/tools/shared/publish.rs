//! From an upload to a version in its place: copied, checked, sealed with its manifest, or thrown away again.

use std::path::Path;

use crate::digest::Files;
use crate::error::{Error, Result};
use crate::formats::manifest::{Manifest, More};
use crate::layout::{self, SUCCESS};
use crate::machine::files::{self, MANIFEST_LIMIT};
use crate::machine::links::Earlier;
use crate::machine::trees::{self, Share, Survey};
use crate::machine::versions;
use crate::rollout::state::Worth;
use crate::tools::shared::places::Places;
use crate::version::Version;

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// It is whole.
    Whole,
    /// `success` was removed before it was copied, and nothing else was: a script's check takes every `success` for the one
    /// whose upgrade has ended.
    SuccessIsGone,
}

/// Copies the surveyed upload, then looks again: an upload that changed meanwhile would be half old, half new (defect 5).
pub fn stage(
    version: &Version,
    expected: Option<&Manifest>,
    site: &Places,
    uploaded: &Survey,
) -> Result<Staged> {
    let staging = site.service.staging(version);
    files::remove_tree(&staging)?;
    files::create_directories(&site.service.versions())?;
    files::create_new_directory(&staging)?;
    // `success` first: a script's check may remove it at any moment. Once it is copied, what it announced is published.
    let copy = |share: Share| trees::copy(&site.upload.dir, uploaded, SUCCESS.as_bytes(), &staging, share);
    let earlier = expected.and_then(|manifest| earlier(version, manifest, site));
    let copied = match earlier.and_then(|earlier| earlier.sharing(&staging)) {
        Some(share) => copy(&share),
        None => copy(&|_, _, _, _| None),
    };
    let is_missing = |path: &Path| Ok(files::facts(path)?.is_none());
    if copied.is_err() && is_missing(&site.upload.success())? && is_missing(&staging.join(SUCCESS))? {
        return Ok(Staged::SuccessIsGone);
    }
    let copied = copied?;
    if !trees::is_unchanged(&site.upload.dir, uploaded, SUCCESS.as_bytes())? {
        return Err(Error::failed(format!(
            "{} changed while it was copied, so nothing was published; the next tick tries again",
            site.upload.dir.display()
        )));
    }
    seal(version, copied, expected, site)?;
    Ok(Staged::Whole)
}

/// The newest of the other versions, and which of its files are in this one, too, by the manifests of both. A file is never
/// shared with the upload, which the next push writes to.
pub fn earlier(version: &Version, expected: &Manifest, site: &Places) -> Option<Earlier> {
    let present = versions::in_directory(&site.service.versions()).ok()?;
    let newest = present.into_iter().filter(|other| other != version).max()?;
    let published = files::read_without_following(&site.service.manifest(&newest), MANIFEST_LIMIT).ok()??;
    let mut files = Manifest::parse(&published).ok()?.files;
    files.retain(|path, facts| expected.files.get(path).is_some_and(|wanted| wanted.same_bytes(facts)));
    Some(Earlier { dir: site.service.version(&newest), files })
}

/// Checks a version that is in its place already, and writes its manifest.
pub fn seal_in_place(version: &Version, expected: Option<&Manifest>, site: &Places) -> Result<()> {
    let dir = site.service.version(version);
    let files = trees::digest(&dir, &trees::survey(&dir)?)?;
    seal(version, files, expected, site)
}

/// Checks what a version holds, and writes that down for the members.
fn seal(version: &Version, files: Files, expected: Option<&Manifest>, site: &Places) -> Result<()> {
    check_pushed(&files, expected, site)?;
    let path = site.service.manifest(version);
    files::create_directories(&site.service.manifests())?;
    site.check_within()?;
    // The daemon reads it as another user, whatever umask this run has.
    files::set_mode(&site.service.manifests(), 0o755)?;
    let manifest = Manifest { version: version.clone(), files };
    files::write_with_mode(&path, 0o644, &|out| manifest.write_to(out))
}

/// Fails where files are not what the manifest of their push says.
pub fn check_pushed(files: &Files, expected: Option<&Manifest>, site: &Places) -> Result<()> {
    let mismatch = expected.and_then(|manifest| manifest.first_mismatch(files, More::Allowed));
    let Some(mismatch) = mismatch else { return Ok(()) };
    Err(Error::failed(format!(
        "{}: {}, so nothing was published; let the push end, or push again",
        site.upload.manifest().display(),
        mismatch.text()
    )))
}

/// Deletes a staged copy, and the manifest of a version that never came to be.
pub fn discard_staged(version: &Version, site: &Places) -> Result<()> {
    remove_staged(version, site)?;
    forget_manifest(version, site)
}

/// Deletes a staged copy.
pub fn remove_staged(version: &Version, site: &Places) -> Result<()> {
    files::remove_tree(&site.service.staging(version))
}

/// Deletes the manifest of a version that is not there; that of a bad one stays, since the same content is refused by it.
pub fn forget_manifest(version: &Version, site: &Places) -> Result<()> {
    let is_bad = || Ok(site.state()?.and_then(|state| state.worth(version)) == Some(Worth::Bad));
    if files::facts(&site.service.version(version))?.is_some() || is_bad()? {
        return Ok(());
    }
    files::remove_if_exists(&site.service.manifest(version))
}

/// Takes half a version out of its place, and deletes it.
pub fn discard_published(version: &Version, site: &Places) -> Result<()> {
    let dir = site.service.versions();
    versions::set_aside(&dir, version)?;
    files::remove_tree(&layout::discarded(&dir, version))
}

/// Deletes versions that were taken out of sight, also for a run that died there. Nobody can fetch
/// such a version any more, so its manifest goes first; one that is there again under the same name
/// keeps its own.
pub fn finish_deletions(versions: &[Version], places: &Places) -> Result<()> {
    versions.iter().try_for_each(|version| forget_manifest(version, places))?;
    versions::delete_discarded(&places.service.versions())
}
