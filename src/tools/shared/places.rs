//! A model's files on the monitor: where they are, what is in them, and whether an upload is fit to
//! be published.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::formats::announcement::{self, Bytes, Said, ServiceConfs};
use crate::formats::env_file::EnvFile;
use crate::formats::manifest::{Manifest, More};
use crate::formats::service_conf;
use crate::formats::shell::Context;
use crate::identity::Identity;
use crate::layout::{Monitor as Tree, SUCCESS, Service, Upload};
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::trees::{self, Survey};
use crate::machine::{clock, configurations, environment, versions};
use crate::names::ModelName;
use crate::rollout::reconcile::{Seen, Status, Success};
use crate::rollout::state::{self, State};
use crate::rollout::tick::Target;
use crate::time::Seconds;
use crate::tools::member_list;
use crate::tools::shared::fleet::Fleet;
use crate::tools::shared::success;
use crate::version::Version;

/// The largest `success` or `status` that is read, in bytes: each holds one word.
pub const MARKER_LIMIT: u64 = 64 << 10;

/// Where a model's files are on the monitor.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// The monitor.
    pub monitor: &'a Tree,
    /// The model's upload.
    pub upload: Upload,
    /// What its members fetch.
    pub service: Service,
}

impl<'a> Places<'a> {
    /// The places of a model.
    pub fn new(monitor: &'a Tree, model: &'a ModelName) -> Places<'a> {
        let (upload, service) = (monitor.upload(model), monitor.service(model));
        Places { model, monitor, upload, service }
    }

    /// The places of a model that is registered. Fails where this monitor has no such model.
    pub fn known(monitor: &'a Tree, model: &'a ModelName) -> Result<Places<'a>> {
        let places = Places::new(monitor, model);
        if !files::is_directory(&places.service.dir) {
            let dir = places.service.dir.display();
            return Err(Error::failed(format!(
                "{model} is no model of this monitor: {dir} is not there; check the name"
            )));
        }
        places.check_within()?;
        Ok(places)
    }

    /// Fails where a link leads out of the model's directories, or these out of those of all
    /// models: an unprivileged daemon writes to them, and what it may not read or write itself must
    /// not be reached through it.
    pub fn check_within(&self) -> Result<()> {
        files::check_within(&self.monitor.uploads(), &self.upload.dir)?;
        files::check_within(&self.monitor.services(), &self.service.dir)?;
        let own = [
            self.service.versions(),
            self.service.discarded(),
            self.service.rollout(),
            self.service.manifests(),
        ];
        own.iter().try_for_each(|dir| files::check_within(&self.service.dir, dir))
    }

    /// The saved state. Fails where it is damaged, or gone although there is an announcement that
    /// was made from it.
    pub fn state(&self) -> Result<Option<State>> {
        let path = self.service.state();
        match files::read_without_following(&path, state::LIMIT)? {
            Some(source) => {
                State::parse(&source, self.model).map(Some).map_err(|refusal| refusal.in_file(&path))
            }
            None if self.was_announced()? => {
                let (path, model) = (path.display(), self.model);
                Err(Error::usage(format!(
                    "{path} is gone, though {model} was announced by it; put a copy of it back, or make it anew with \
                     dispatch --rebuild {model}"
                )))
            }
            None => Ok(None),
        }
    }

    /// Whether there is an announcement that was made from a state. What dispatch.sh's wrapper
    /// leaves was made from none.
    fn was_announced(&self) -> Result<bool> {
        let path = self.service.announcement();
        if files::facts(&path)?.is_none() {
            return Ok(false);
        }
        let source = files::read_without_following(&path, announcement::LIMIT)?.unwrap_or_default();
        Ok(Said::parse(&source, self.model) != Ok(Said::FollowServiceConf))
    }

    /// `status`, and how long ago it was written.
    pub fn status(&self) -> Result<Option<(Status, Seconds)>> {
        let path = self.service.status();
        let Some(facts) = files::facts(&path)? else { return Ok(None) };
        let content = files::read_without_following(&path, MARKER_LIMIT)?.unwrap_or_default();
        let age = clock::age_of(facts.modified);
        let written_s = clock::unix_now().0 - age.0;
        Ok(Some((Status { version: Version::announced_in(&content), written_s }, age)))
    }

    /// `success`.
    pub fn success(&self) -> Result<Option<Success>> {
        let path = self.upload.success();
        let Some(facts) = files::facts(&path)? else { return Ok(None) };
        let content = files::read_without_following(&path, MARKER_LIMIT)?.unwrap_or_default();
        Ok(Some(Success {
            announces: Version::announced_in(&content),
            content,
            identity: success::word(facts.identity),
            arrived_s: clock::unix_now().0 - clock::age_of(facts.modified).0,
        }))
    }

    /// Every service.conf, by the name of its instance's directory.
    pub fn confs(&self) -> Result<ServiceConfs> {
        let name = |path: &Path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned());
        let read = configurations::of(&self.service)?.into_iter();
        Ok(read.filter_map(|(path, bytes)| Some((name(&path)?, Bytes(bytes)))).collect())
    }

    /// What is there.
    pub fn seen(&self) -> Result<Seen> {
        // `status` first: of a script that ends its upgrade in between, `success` without `status`
        // would look like another push.
        let status = self.status()?.map(|(status, _)| status);
        Ok(Seen { status, success: self.success()?, confs: self.confs()? })
    }

    /// Where a service.conf is.
    pub fn conf(&self, name: &str) -> PathBuf {
        self.service.dir.join(name).join("service.conf")
    }

    /// Where the member list is, or would be.
    pub fn list_path(&self) -> PathBuf {
        member_list::path(self.monitor, self.model)
    }

    /// The member list; `None` where there is none.
    pub fn list(&self) -> Result<Option<Fleet>> {
        let Some((path, origin, content)) = member_list::read(self.monitor, self.model)? else {
            return Ok(None);
        };
        let now = clock::now();
        let context = Context { environment: &environment::variable, now: &now };
        EnvFile::parse(&path, &content, &context).and_then(|list| Fleet::parse(&list, origin)).map(Some)
    }

    /// The upload's manifest. Fails where it cannot be read.
    pub fn upload_manifest(&self) -> Result<Option<Rc<Manifest>>> {
        let path = self.upload.manifest();
        let source = files::read_without_following(&path, MANIFEST_LIMIT)?;
        let manifest = source.map(|bytes| Manifest::parse(&bytes)).transpose();
        manifest.map(|manifest| manifest.map(Rc::new)).map_err(|refusal| refusal.in_file(&path))
    }

    /// The digest of a published version's manifest; `None` where it has none.
    pub fn manifest_digest(&self, version: &Version) -> Result<Option<Digest>> {
        let source = files::read_without_following(&self.service.manifest(version), MANIFEST_LIMIT)?;
        Ok(source.map(|bytes| Digest::of(&bytes)))
    }

    /// What the versions may still take. Their directory may be a disk of its own; before the first
    /// version it may be missing.
    fn free_bytes(&self) -> Result<u64> {
        let versions = self.service.versions();
        let is_there = files::facts(&versions)?.is_some();
        files::free_bytes(if is_there { &versions } else { &self.service.dir })
    }

    /// What a version is, compared with the upload.
    pub fn published(&self, version: &Version) -> Result<Published> {
        let dir = self.service.version(version);
        Ok(match files::facts(&dir)?.map(|facts| facts.kind) {
            None => Published::Absent,
            Some(Kind::Directory) if trees::same_content(&self.upload.dir, &dir)? => Published::SameAsUpload,
            Some(_) => Published::Other,
        })
    }

    /// Fails where the upload is not fit to be published as this version; otherwise what it holds,
    /// and what it must be.
    pub fn check_upload(
        &self,
        target: &Target,
        version: &Version,
        success: &Success,
        is_begun: bool,
    ) -> Result<Checked> {
        let model = self.model;
        let uploaded = trees::survey(&self.upload.dir)?;
        let in_upload = |path: &[u8]| self.upload.dir.join(OsStr::from_bytes(path));
        if let Some(path) = trees::first_unpublishable(&uploaded).map(in_upload) {
            return Err(Error::failed(format!(
                "{model}: {} is a device, a fifo or a link that leaves the upload; remove it and push again",
                path.display()
            )));
        }
        let so_name = &target.so_name;
        if !has_library(&uploaded, target) {
            return Err(Error::failed(format!(
                "{model}: the upload has no lib/{so_name}, so no member could start; push it, or correct the registry's \
                 plugin name"
            )));
        }
        let published = self.published(version)?;
        let (needed, free) = (trees::total_bytes(&uploaded), self.free_bytes()?);
        if published == Published::Absent && needed > free {
            return Err(Error::failed(format!(
                "{model}: the version needs {needed} bytes and the disk has {free} free; remove old versions from plugin/"
            )));
        }
        let another = of_another_push(&uploaded, &success.identity).map(in_upload);
        if let Some(path) = another {
            return Err(Error::failed(format!(
                "{model}: {} was written after success arrived, by a push that is not complete; it is published when its \
                 own success arrives (if a person changed that file: touch success)",
                path.display()
            )));
        }
        if published == Published::Other && !is_begun {
            return Err(Error::failed(format!(
                "{model}: version {version} is published already with other content; push again to get a new version"
            )));
        }
        let expected = self.expected(version, success)?;
        Ok(Checked { uploaded, expected, published, free_bytes: free })
    }

    /// What the upload must be: the manifest of the push that announced it. A manifest of an
    /// earlier version is left over, since a script pushed after it; a `success` without a version
    /// is a script's, too.
    ///
    /// Fails when the manifest is that of a later push: it has begun to replace the files and has
    /// not announced them.
    fn expected(&self, version: &Version, success: &Success) -> Result<Option<Rc<Manifest>>> {
        if success.announces.is_none() {
            return Ok(None);
        }
        let Some(manifest) = self.upload_manifest()? else { return Ok(None) };
        match manifest.version.cmp(version) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => Ok(Some(manifest)),
            std::cmp::Ordering::Greater => Err(Error::failed(format!(
                "{}: the push of {} has replaced files of {version} and was not completed, so nothing is published; \
                 let it end, or push again with rsync-push (a script's push from a host with a slow clock looks like this, \
                 too)",
                self.model, manifest.version
            ))),
        }
    }

    /// Why a published version cannot be announced; `None` where it can.
    pub fn is_not_whole(&self, version: &Version, target: &Target) -> Result<Option<String>> {
        let dir = self.service.version(version);
        let library = Path::new("lib").join(&target.so_name);
        if files::facts(&dir.join(&library))?.is_none_or(|facts| facts.kind != Kind::File) {
            return Ok(Some(format!("it has no {}", library.display())));
        }
        let path = self.service.manifest(version);
        let Some(source) = files::read_without_following(&path, MANIFEST_LIMIT)? else { return Ok(None) };
        Ok(match Manifest::parse(&source) {
            Err(refusal) => Some(refusal.in_file(&path).to_string()),
            Ok(manifest) => {
                let found = trees::digest(&dir, &trees::survey(&dir)?)?;
                manifest
                    .first_mismatch(&found, More::Refused)
                    .map(|mismatch| format!("it is not what its manifest says: {}", mismatch.text()))
            }
        })
    }

    /// The versions whose deletion was interrupted.
    pub fn half_deleted(&self) -> Result<Vec<Version>> {
        versions::half_deleted(&self.service.versions())
    }

    /// The push whose `success` a run may have taken out of the way when it died.
    pub fn settled_push(&self) -> Result<Option<String>> {
        let state = self.state()?;
        Ok(state.filter(State::push_is_over).and_then(|state| state.push).map(|push| push.identity))
    }

    /// The files in which members report.
    pub fn reports(&self) -> Result<Vec<PathBuf>> {
        let dir = self.service.reports();
        files::check_within(&self.service.dir, &dir)?;
        let names = if files::is_directory(&dir) { files::names_in(&dir)? } else { Vec::new() };
        Ok(names.into_iter().map(|name| dir.join(name)).collect())
    }
}

/// What stands in `plugin/` under the version in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Nothing.
    Absent,
    /// Exactly what the upload holds.
    SameAsUpload,
    /// Something else.
    Other,
}

/// An upload that is fit to be published.
#[derive(Debug)]
pub struct Checked {
    /// What it holds.
    pub uploaded: Survey,
    /// What it must be.
    pub expected: Option<Rc<Manifest>>,
    /// What is published under its version.
    pub published: Published,
    /// Bytes free where versions are kept.
    pub free_bytes: u64,
}

/// A path that another push than that of this `success` has written: it is newer, or `success` is
/// another one by now.
fn of_another_push<'a>(uploaded: &'a Survey, success: &str) -> Option<&'a [u8]> {
    let name = SUCCESS.as_bytes();
    let word_of = |identity: Identity| success::word(identity);
    match uploaded.get(name).filter(|entry| word_of(entry.identity) == success) {
        // Its arrival is the change of its inode: rsync may have given it the modification time
        // that it has at its source.
        Some(entry) => trees::first_written_after(uploaded, entry.changed_ns),
        None => Some(name),
    }
}

fn has_library(uploaded: &Survey, target: &Target) -> bool {
    let library = Path::new("lib").join(&target.so_name);
    uploaded.get(library.as_os_str().as_bytes()).is_some_and(|entry| entry.kind == Kind::File)
}

/// What a service.conf becomes when it announces a version. legacy: dispatch.sh, (3) to (5)
///
/// Fails (exit 2) where one of the three keys is missing, or the file would be too large.
pub fn announced_in(path: &Path, conf: &[u8], target: &Target, version: &Version) -> Result<Vec<u8>> {
    let Target { prefix, so_name, .. } = target;
    let announcement = service_conf::Announcement {
        version: version.to_string(),
        path: format!("{prefix}/{version}/lib/{so_name}"),
        config: format!("{prefix}/{version}/data"),
    };
    let path = path.display();
    let after = service_conf::announce(conf, &announcement).map_err(|missing| {
        let key = missing.0;
        Error::usage(format!(
            "{path}: there is no line {key}=; add it to [module], then {version} is published"
        ))
    })?;
    if after.len() > service_conf::LARGEST {
        let size = after.len();
        return Err(Error::usage(format!(
            "{path}: with {version} it would have {size} bytes, more than such a file may have; its keys stand there too \
             often"
        )));
    }
    Ok(after)
}
