//! Where every file of the system is (contract section 1): pure path arithmetic, no look-ups.
//!
//! Dot files are this toolkit's own; the legacy globs and rsync commands never pick them up (contract section 4).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::names::{Address, ModelName, Port, TypeName};
use crate::version::Version;

/// The rsync module that takes uploads; a directory of `rsync_service_data` too.
pub const PLUGIN_MODULE: &str = "datamining_plugin";
/// The rsync module that members fetch from; a directory of `rsync_service_data` too.
pub const SERVICE_MODULE: &str = "datamining_service";
/// The manifest of an upload.
pub const MANIFEST: &str = ".manifest";
/// The file that announces a complete upload.
pub const SUCCESS: &str = "success";
/// Where `success` waits while it is checked before it is removed.
pub const SUCCESS_BEING_REMOVED: &str = ".success.removing";
/// The file that marks an upgrade in flight.
pub const STATUS: &str = "status";
/// The directory of what this toolkit keeps about a model, below `datamining_service/MODEL`.
pub const ROLLOUT: &str = ".rollout";
/// Members that keep what they serve, in that directory.
pub const HELD: &str = "held";
/// The announcement that members fetch, beside `config_1/`.
pub const ANNOUNCEMENT: &str = ".rollout/announcement";
/// What a model has gone through, beside that; on a member, what its poller remembers.
pub const STATE_DOCUMENT: &str = ".rollout/state.json";
/// The service.conf that members install, below `datamining_service/MODEL` (contract section 3).
pub const FIRST_SERVICE_CONF: &str = "config_1/service.conf";
/// The directory of a model's published versions.
pub const VERSIONS: &str = "plugin";
/// The manifests of the published versions, beside `plugin/`.
pub const MANIFESTS: &str = ".rollout/manifests";
/// What the name begins with under which a member's poller leaves, beside its report, how far it is.
pub const STATE: &str = ".state-";
/// Where versions are moved before they are deleted, in their directory of versions.
pub const DISCARDED: &str = ".discarded";
/// The workspace inside every container, which service.conf's paths name.
pub const WORKSPACE: &str = "/data1/work/datasys/framework/service/workspace";
/// The configuration of the monitor's rsync daemon.
pub const RSYNCD_CONF: &str = "/etc/rsyncd.conf";
/// Whose crontab runs a member's poller.
pub const POLLER_USER: &str = "root";
/// The directories of the users' crontabs: Debian's, and Red Hat's, which is the manual's.
pub const CRONTABS: [&str; 2] = ["/var/spool/cron/crontabs", "/var/spool/cron"];

/// The directories of a container host's services.
pub const SERVICE_ROOT: &str = "/data1/service";

/// Where a version is moved, in its directory of versions, before it is deleted.
pub fn discarded(versions: &Path, version: &Version) -> PathBuf {
    versions.join(DISCARDED).join(version)
}

/// The lock of whoever edits a file: a dot file beside it.
pub fn lock_of(file: &Path) -> PathBuf {
    beside(file, "lock")
}

/// The lock of a run over a registry. Another one than that of an edit: registering a model need not wait until a large
/// one is published.
pub fn tick_lock_of(registry: &Path) -> PathBuf {
    beside(registry, "tick.lock")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    file.with_file_name(name)
}

/// The monitor's tree.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// `MONITOR_ROOT`.
    pub root: PathBuf,
}

impl Monitor {
    /// The registry, `scripts/dispatch/bin/dispatchserver.sh`.
    pub fn registry(&self) -> PathBuf {
        self.root.join("scripts/dispatch/bin/dispatchserver.sh")
    }

    /// The directory of the logs, `scripts/dispatch/log`.
    pub fn logs(&self) -> PathBuf {
        self.root.join("scripts/dispatch/log")
    }

    /// The directory of the locks, `scripts/dispatch/lock`: where no rsync daemon lets anybody
    /// write.
    pub fn locks(&self) -> PathBuf {
        self.root.join("scripts/dispatch/lock")
    }

    /// The lock of a model's tick: one at a time.
    pub fn tick_lock(&self, model: &ModelName) -> PathBuf {
        self.locks().join(format!("{model}.tick"))
    }

    /// The lock of a model's state, held for milliseconds.
    pub fn state_lock(&self, model: &ModelName) -> PathBuf {
        self.locks().join(format!("{model}.state"))
    }

    /// The directory of the member lists, `scripts/dispatch/conf`.
    pub fn member_lists(&self) -> PathBuf {
        self.root.join("scripts/dispatch/conf")
    }

    /// A model's member list, `scripts/dispatch/conf/MODEL.env.sh`.
    pub fn member_list(&self, model: &ModelName) -> PathBuf {
        self.member_lists().join(format!("{model}.env.sh"))
    }

    /// The site's own programs for a model, `scripts/dispatch/conf/hooks/MODEL`: where no rsync daemon lets anybody write.
    pub fn hooks(&self, model: &ModelName) -> PathBuf {
        self.member_lists().join("hooks").join(model)
    }

    /// The table of ports and service ids, unless it is named otherwise.
    pub fn port_table(&self) -> PathBuf {
        self.member_lists().join("ports.md")
    }

    /// The directory of the site's own templates of service.conf, `scripts/dispatch/conf/templates`.
    pub fn templates(&self) -> PathBuf {
        self.member_lists().join("templates")
    }

    /// The site's template of a TYPE, `TYPE.conf`.
    pub fn template(&self, name: &TypeName) -> PathBuf {
        self.templates().join(format!("{name}.conf"))
    }

    /// The directory of all uploads.
    pub fn uploads(&self) -> PathBuf {
        self.root.join("rsync_service_data").join(PLUGIN_MODULE)
    }

    /// The directory of all services.
    pub fn services(&self) -> PathBuf {
        self.root.join("rsync_service_data").join(SERVICE_MODULE)
    }

    /// A model's upload.
    pub fn upload(&self, model: &ModelName) -> Upload {
        Upload { dir: self.uploads().join(model) }
    }

    /// What a model's members fetch.
    pub fn service(&self, model: &ModelName) -> Service {
        Service { dir: self.services().join(model) }
    }
}

/// `datamining_plugin/MODEL`: what the test host pushes.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The directory itself.
    pub dir: PathBuf,
}

impl Upload {
    /// The file that announces a complete upload.
    pub fn success(&self) -> PathBuf {
        self.dir.join(SUCCESS)
    }

    /// Where `success` waits while it is checked before it is removed.
    pub fn success_being_removed(&self) -> PathBuf {
        self.dir.join(SUCCESS_BEING_REMOVED)
    }

    /// What the upload holds, uploaded by `rsync-push` just before `success`.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    /// The env.sh of the deploy directory, uploaded by `rsync-push`.
    pub fn env_sh(&self) -> PathBuf {
        self.dir.join(".env.sh")
    }
}

/// `datamining_service/MODEL`: what the members fetch.
#[derive(Debug, Clone)]
pub struct Service {
    /// The directory itself.
    pub dir: PathBuf,
}

impl Service {
    /// The file that marks an upgrade in flight.
    pub fn status(&self) -> PathBuf {
        self.dir.join(STATUS)
    }

    /// What this toolkit keeps about the model.
    pub fn rollout(&self) -> PathBuf {
        self.dir.join(ROLLOUT)
    }

    /// What the model has gone through.
    pub fn state(&self) -> PathBuf {
        self.dir.join(STATE_DOCUMENT)
    }

    /// The announcement that members fetch.
    pub fn announcement(&self) -> PathBuf {
        self.dir.join(ANNOUNCEMENT)
    }

    /// Members that keep what they serve; people may edit it.
    pub fn held(&self) -> PathBuf {
        self.rollout().join(HELD)
    }

    /// The published versions.
    pub fn versions(&self) -> PathBuf {
        self.dir.join(VERSIONS)
    }

    /// One published version.
    pub fn version(&self, version: &Version) -> PathBuf {
        self.versions().join(version)
    }

    /// Where a version is put together before it is renamed to its name.
    pub fn staging(&self, version: &Version) -> PathBuf {
        self.versions().join(format!(".staging-{version}"))
    }

    /// The versions that are being deleted. It is there only while there are some: one look tells whether a deletion is to be
    /// finished.
    pub fn discarded(&self) -> PathBuf {
        self.versions().join(DISCARDED)
    }

    /// The manifests of the published versions.
    pub fn manifests(&self) -> PathBuf {
        self.dir.join(MANIFESTS)
    }

    /// What a published version holds; members check against it what they fetched.
    pub fn manifest(&self, version: &Version) -> PathBuf {
        self.manifests().join(version)
    }

    /// What members reported to serve, a file each.
    pub fn reports(&self) -> PathBuf {
        self.dir.join("version")
    }

    /// What a member reported to serve.
    pub fn report(&self, member: &Address) -> PathBuf {
        self.reports().join(member)
    }

    /// What a member's poller reports beside that.
    pub fn member_state(&self, member: &Address) -> PathBuf {
        self.reports().join(format!("{STATE}{member}"))
    }
}

/// A test host's deploy directory.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// The directory that holds env.sh.
    pub dir: PathBuf,
}

impl Deploy {
    /// The settings of the model.
    pub fn env_sh(&self) -> PathBuf {
        self.dir.join("env.sh")
    }

    /// The lock of a push.
    pub fn lock(&self) -> PathBuf {
        self.dir.join(".rsync-push.lock")
    }

    /// The last pushed version.
    pub fn success(&self) -> PathBuf {
        self.dir.join("online/success")
    }

    /// What the push that is under way sends.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("online").join(MANIFEST)
    }

    /// `backup/KIND/bak-VERSION`; the kinds are `lib` and `data`.
    pub fn backup(&self, kind: &str, version: &Version) -> PathBuf {
        self.dir.join("backup").join(kind).join(format!("bak-{version}"))
    }
}

/// A member's two trees.
#[derive(Debug, Clone)]
pub struct Member {
    /// `WATCH_ROOT`.
    pub watch: PathBuf,
    /// `WORKSPACE_ROOT`.
    pub workspace: PathBuf,
}

impl Member {
    /// The poller's settings.
    pub fn env_sh(&self) -> PathBuf {
        self.watch.join("env.sh")
    }

    /// The site's own programs for this member.
    pub fn hooks(&self) -> PathBuf {
        self.watch.join("hooks")
    }

    /// What the poller keeps, beside the installed service.conf: in a container that is the host's,
    /// and survives its image.
    pub fn rollout(&self) -> PathBuf {
        self.workspace.join("bin/etc").join(ROLLOUT)
    }

    /// The poller's lock; two pollers over one workspace share it.
    pub fn lock(&self) -> PathBuf {
        self.rollout().join("lock")
    }

    /// What the poller has to remember.
    pub fn state(&self) -> PathBuf {
        self.workspace.join("bin/etc").join(STATE_DOCUMENT)
    }

    /// The installed service.conf.
    pub fn service_conf(&self) -> PathBuf {
        self.workspace.join("bin/etc/service.conf")
    }

    /// Where fetched files wait until they are checked.
    pub fn incoming(&self) -> PathBuf {
        self.rollout().join("incoming")
    }

    /// What the script works in. The poller leaves the directory, too.
    pub fn temp(&self) -> PathBuf {
        self.workspace.join("temp")
    }

    /// The versions of a model on this member.
    pub fn versions(&self, model: &ModelName) -> PathBuf {
        self.workspace.join("plugin").join(model)
    }
}

/// A host of containers: a directory for each service, by its port. A container sees most of it as its workspace.
#[derive(Debug, Clone)]
pub struct ContainerHost {
    /// `SERVICE_ROOT`.
    pub root: PathBuf,
}

impl ContainerHost {
    /// The settings of `dockerrun`.
    pub fn env_sh(&self) -> PathBuf {
        self.root.join("env.sh")
    }

    /// The directory of a service.
    pub fn service(&self, port: Port) -> PathBuf {
        self.root.join(port.to_string())
    }

    /// The service.conf that a container's poller installed.
    pub fn service_conf(&self, port: Port) -> PathBuf {
        self.service(port).join("bin/etc/service.conf")
    }
}
