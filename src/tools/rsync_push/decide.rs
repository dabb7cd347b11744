//! What a push does, as a pure function of what was observed.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::manifest::Manifest;
use crate::names::{Address, ModelName, Port};
use crate::time::{LocalTime, Seconds};
use crate::tools::rsync_push::cli::{Extraneous, Source};
use crate::version::Version;

/// env.sh, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The monitor's address.
    pub monitor: Address,
    /// Its rsync daemon's port.
    pub port: Port,
    /// How long that daemon may be silent, if the site says so.
    pub timeout: Option<Seconds>,
    /// The model.
    pub model: ModelName,
}

/// One directory that may be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Relative to the deploy directory, as messages name it.
    pub name: &'static str,
    /// The names in it that do not begin with a dot, as the glob `*` takes them; `None` where it is missing.
    pub entries: Option<Vec<Item>>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The name.
    pub name: OsString,
    /// What it is.
    pub kind: ItemKind,
}

/// What rsync does with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// Sent.
    File,
    /// Sent with `-r`, otherwise skipped.
    Directory,
    /// The same, but no file is below it.
    EmptyDirectory,
    /// Skipped always: links and special files.
    Skipped,
}

/// What a push looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Local time.
    pub now: LocalTime,
    /// The version of the previous push, from online/success; `Some(None)` where that holds none.
    pub previous: Option<Option<Version>>,
    /// online/release.
    pub online_release: Directory,
    /// online/data.
    pub online_data: Directory,
    /// release.
    pub deploy_release: Directory,
    /// data.
    pub deploy_data: Directory,
    /// Whether online/lib is there.
    pub has_online_lib: bool,
    /// The names in backup/lib and backup/data.
    pub backups: Vec<OsString>,
}

/// A part of what is pushed: names of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The local directory, relative to the deploy directory.
    pub from: PathBuf,
    /// The names in it.
    pub names: Vec<OsString>,
    /// Whether directories are descended into.
    pub recursive: bool,
    /// `lib` or `data`, below the model's upload.
    pub to: &'static str,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Wait for the next second: the clock still shows the previous push's version.
    WaitForNextSecond,
    /// See that the monitor answers and knows the model, before anything is changed here.
    CheckMonitor,
    /// Copy a directory to the backup. Both names are relative to the deploy directory.
    CopyTo(PathBuf, PathBuf),
    /// Move a directory to the backup.
    MoveTo(PathBuf, PathBuf),
    /// Remove a directory.
    Remove(PathBuf),
    /// Write the version to online/success.
    WriteSuccess(Version),
    /// Write down what is about to be sent: size, mode and digest of every file.
    WriteManifest {
        /// The version that it is about.
        version: Version,
        /// What is sent.
        parts: [Part; 2],
    },
    /// Send a part.
    Send(Part),
    /// Delete from the monitor what is not in a part.
    DeleteExtraneous(Part),
    /// Send the manifest.
    SendManifest,
    /// Send env.sh as the dot file that the monitor reads the members from.
    SendEnvSh,
    /// Announce the upload: send online/success.
    SendSuccess,
    /// A line for the operator.
    Warn(String),
}

/// The steps of `rsync-push update`, in the order of rsync.sh.
///
/// Fails, and nothing is to be done, when what is to be pushed is incomplete.
pub fn decide(
    observed: &Observed,
    settings: &Settings,
    named: Option<Source>,
    extraneous: Extraneous,
) -> Result<Vec<Action>> {
    let source = source(observed, named)?;
    let (release, data) = match source {
        Source::Online => (&observed.online_release, &observed.online_data),
        Source::Deploy => (&observed.deploy_release, &observed.deploy_data),
    };
    let libraries = libraries(release, settings)?;
    let data_names = data_names(data)?;
    let (version, wait_or_warning) = version(observed)?;

    let mut actions = vec![Action::CheckMonitor];
    actions.extend(wait_or_warning);
    actions.extend(backups(observed, source, &version));
    if source == Source::Deploy {
        for (from, to) in [("release", "online/lib"), ("data", "online/data")] {
            actions.extend([Action::Remove(to.into()), Action::CopyTo(from.into(), to.into())]);
        }
    }
    for directory in [release, data] {
        actions.extend(skipped(directory).map(Action::Warn));
    }
    let lib = match source {
        Source::Online => "online/release",
        Source::Deploy => "online/lib",
    };
    let parts = [
        Part { from: lib.into(), names: libraries, recursive: false, to: "lib" },
        Part { from: "online/data".into(), names: data_names, recursive: true, to: "data" },
    ];
    actions.push(Action::WriteSuccess(version.clone()));
    actions.push(Action::WriteManifest { version, parts: parts.clone() });
    actions.extend(parts.iter().cloned().map(Action::Send));
    if extraneous == Extraneous::AreDeleted {
        actions.extend(parts.map(Action::DeleteExtraneous));
    }
    actions.extend([Action::SendManifest, Action::SendEnvSh, Action::SendSuccess]);
    Ok(actions)
}

/// Whether no file of a part is what the push before sent, by the manifests of both.
pub fn is_all_new(part: &Part, before: &Manifest, now: &Manifest) -> bool {
    let dir = format!("{}/", part.to);
    let mut files = now.files.iter().filter(|(path, _)| path.starts_with(dir.as_bytes()));
    files.all(|(path, facts)| before.files.get(path).is_none_or(|sent| !sent.same_bytes(facts)))
}

/// Which layout is pushed (contract section 3): the newer one is used when online/release does not exist.
fn source(observed: &Observed, named: Option<Source>) -> Result<Source> {
    let online = observed.online_release.entries.is_some();
    let deploy = observed.deploy_release.entries.is_some();
    match (named, online, deploy) {
        (Some(source), ..) => Ok(source),
        (None, true, true) => Err(Error::usage(
            "both online/release and release are here; say which one to push with --source online or --source deploy",
        )),
        (None, true, false) => Ok(Source::Online),
        (None, false, true) => Ok(Source::Deploy),
        (None, false, false) => Err(Error::failed(
            "there is neither online/release nor release here; run in the model's deploy directory, or name it with --dir",
        )),
    }
}

/// The names that `release/*` sends without `-r`: regular files. `<modulename>.so` must be one of them.
fn libraries(release: &Directory, settings: &Settings) -> Result<Vec<OsString>> {
    let needed = format!("{}.so", settings.model);
    let items = release.entries.as_deref().unwrap_or_default();
    let library = items.iter().find(|item| item.name.to_str() == Some(needed.as_str()));
    let dir = release.name;
    match library.map(|item| item.kind) {
        Some(ItemKind::File) => {}
        Some(_) => {
            return Err(Error::failed(format!(
                "{dir}/{needed} is not a regular file, and rsync would skip it; put the library itself there"
            )));
        }
        None => {
            return Err(Error::failed(format!(
                "there is no {dir}/{needed}; put it there, or correct modulename in env.sh (it is {})",
                settings.model
            )));
        }
    }
    Ok(items.iter().filter(|item| item.kind == ItemKind::File).map(|item| item.name.clone()).collect())
}

/// The names that `data/*` sends with `-r`. No success without data (defect 18).
fn data_names(data: &Directory) -> Result<Vec<OsString>> {
    let Some(items) = &data.entries else {
        return Err(Error::failed(format!("there is no {}; put the model's parameters there", data.name)));
    };
    let names: Vec<OsString> =
        items.iter().filter(|item| item.kind != ItemKind::Skipped).map(|item| item.name.clone()).collect();
    if !items.iter().any(|item| matches!(item.kind, ItemKind::File | ItemKind::Directory)) {
        let name = data.name;
        return Err(Error::failed(format!(
            "{name} holds no file; put the model's parameters there (an empty file, if it has none)"
        )));
    }
    Ok(names)
}

fn skipped(directory: &Directory) -> impl Iterator<Item = String> {
    let items = directory.entries.as_deref().unwrap_or_default();
    items.iter().filter(|item| item.kind == ItemKind::Skipped).map(|item| {
        let name = item.name.to_string_lossy();
        format!("{}/{name} is a link or a special file; rsync does not send it", directory.name)
    })
}

/// Local time; one second later when the previous push was made within this second, or began and died in it and left a
/// backup, so that no version is used twice. A clock that went back is worth a warning; as with the script, the push is made.
fn version(observed: &Observed) -> Result<(Version, Option<Action>)> {
    let clock = |time: &LocalTime| {
        time.version().ok_or_else(|| Error::failed("the clock shows no year of four digits; set it"))
    };
    let now = clock(&observed.now)?;
    let previous = observed.previous.as_ref().and_then(Option::as_ref);
    if previous == Some(&now) || observed.backups.contains(&format!("bak-{now}").into()) {
        let later = LocalTime {
            instant: observed.now.instant + chrono::TimeDelta::seconds(1),
            zone: observed.now.zone.clone(),
        };
        return Ok((clock(&later)?, Some(Action::WaitForNextSecond)));
    }
    let later = previous.filter(|previous| previous.as_str().len() == 14 && **previous > now);
    let warning = later.map(|previous| {
        Action::Warn(format!(
            "the clock shows {now}, earlier than the previous push {previous}; pushed all the same, look at the clock"
        ))
    });
    Ok((now, warning))
}

/// legacy: rsync.sh, 2. The first push has nothing to back up.
fn backups(observed: &Observed, source: Source, version: &Version) -> Vec<Action> {
    if observed.previous.is_none() {
        return Vec::new();
    }
    let to = |kind: &str| PathBuf::from(format!("backup/{kind}/bak-{version}"));
    match source {
        Source::Online => vec![
            Action::CopyTo("online/data".into(), to("data")),
            Action::CopyTo("online/release".into(), to("lib")),
        ],
        Source::Deploy => {
            let mut actions = Vec::new();
            if observed.online_data.entries.is_some() {
                actions.push(Action::MoveTo("online/data".into(), to("data")));
            }
            if observed.has_online_lib {
                actions.push(Action::MoveTo("online/lib".into(), to("lib")));
            }
            actions
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digest, FileFacts};

    fn files(names: &[&str]) -> Option<Vec<Item>> {
        Some(names.iter().map(|name| Item { name: name.into(), kind: ItemKind::File }).collect())
    }

    fn observed() -> Observed {
        let instant = chrono::DateTime::parse_from_rfc3339("2018-04-13T19:22:58+08:00").unwrap();
        Observed {
            now: LocalTime { instant, zone: "CST".to_owned() },
            previous: None,
            online_release: Directory { name: "online/release", entries: files(&["m.so"]) },
            online_data: Directory { name: "online/data", entries: files(&["a"]) },
            deploy_release: Directory { name: "release", entries: None },
            deploy_data: Directory { name: "data", entries: None },
            has_online_lib: false,
            backups: Vec::new(),
        }
    }

    fn settings() -> Settings {
        Settings {
            monitor: Address::parse(b"10.77.136.198").unwrap(),
            port: Port::RSYNC,
            timeout: None,
            model: ModelName::parse(b"m").unwrap(),
        }
    }

    fn version_written(actions: &[Action]) -> String {
        let written = actions.iter().find_map(|action| match action {
            Action::WriteSuccess(version) => Some(version.to_string()),
            _ => None,
        });
        written.unwrap()
    }

    #[test]
    fn success_is_announced_last_and_after_everything_else() {
        let actions = decide(&observed(), &settings(), None, Extraneous::Stay).unwrap();
        assert_eq!(actions.first(), Some(&Action::CheckMonitor));
        assert_eq!(actions.last(), Some(&Action::SendSuccess));
        let manifest = actions.iter().position(|action| *action == Action::SendManifest).unwrap();
        let sent = actions.iter().rposition(|action| matches!(action, Action::Send(_))).unwrap();
        assert!(sent < manifest, "the manifest follows what it is about");
    }

    #[test]
    fn files_of_earlier_pushes_are_deleted_only_when_asked_and_before_the_manifest() {
        let deletions = |extraneous| {
            let actions = decide(&observed(), &settings(), None, extraneous).unwrap();
            let manifest = actions.iter().position(|action| *action == Action::SendManifest).unwrap();
            actions[..manifest].iter().filter(|a| matches!(a, Action::DeleteExtraneous(_))).count()
        };
        assert_eq!((deletions(Extraneous::Stay), deletions(Extraneous::AreDeleted)), (0, 2));
    }

    #[test]
    fn a_part_is_all_new_where_the_push_before_sent_none_of_its_files() {
        let manifest = |files: &[(&str, u8)]| Manifest {
            version: Version::parse(b"20180413192258").unwrap(),
            files: files
                .iter()
                .map(|(path, byte)| (path, FileFacts { digest: Digest([*byte; 32]), mode: 0o644, size: 1 }))
                .collect(),
        };
        let part = |to| Part { from: "online/data".into(), names: Vec::new(), recursive: true, to };
        let before = manifest(&[("data/a", 1), ("data/b", 1), ("lib/m.so", 1)]);
        let now = manifest(&[("data/a", 2), ("data/c", 1), ("lib/m.so", 1)]);
        assert!(is_all_new(&part("data"), &before, &now));
        assert!(!is_all_new(&part("lib"), &before, &now));
        let one_stays = manifest(&[("data/a", 2), ("data/b", 1), ("lib/m.so", 2)]);
        assert!(!is_all_new(&part("data"), &before, &one_stays));
        assert!(is_all_new(&part("lib"), &before, &one_stays));
    }

    #[test]
    fn two_pushes_of_one_second_get_two_versions() {
        let mut observed = observed();
        observed.previous = Some(Version::announced_in(b"20180413192258"));
        let actions = decide(&observed, &settings(), None, Extraneous::Stay).unwrap();
        assert!(actions.contains(&Action::WaitForNextSecond));
        assert_eq!(version_written(&actions), "20180413192259");
    }

    #[test]
    fn a_push_that_died_after_its_backup_gets_no_successor_of_its_second() {
        let mut observed = observed();
        observed.previous = Some(None);
        observed.backups = vec!["bak-20170101000000".into(), "bak-20180413192258".into()];
        let actions = decide(&observed, &settings(), None, Extraneous::Stay).unwrap();
        assert!(actions.contains(&Action::WaitForNextSecond));
        assert_eq!(version_written(&actions), "20180413192259");
    }

    #[test]
    fn a_clock_that_went_back_is_said_and_the_push_is_made() {
        let mut observed = observed();
        observed.previous = Some(Version::announced_in(b"20180413202258"));
        let actions = decide(&observed, &settings(), None, Extraneous::Stay).unwrap();
        assert_eq!(version_written(&actions), "20180413192258");
        let warned =
            |action: &Action| matches!(action, Action::Warn(line) if line.contains("look at the clock"));
        assert!(actions.iter().any(warned));
    }

    #[test]
    fn the_first_push_backs_nothing_up() {
        let actions = decide(&observed(), &settings(), None, Extraneous::Stay).unwrap();
        assert!(!actions.iter().any(|a| matches!(a, Action::CopyTo(..) | Action::MoveTo(..))));
    }

    #[test]
    fn what_cannot_make_a_model_is_refused_before_anything_is_done() {
        let refused = |change: fn(&mut Observed)| {
            let mut observed = observed();
            change(&mut observed);
            decide(&observed, &settings(), None, Extraneous::Stay).unwrap_err().to_string()
        };
        assert!(
            refused(|o| o.online_release.entries = files(&["other.so"])).contains("no online/release/m.so")
        );
        assert!(refused(|o| o.online_release.entries = None).contains("neither online/release nor release"));
        assert!(refused(|o| o.online_data.entries = None).contains("there is no online/data"));
        assert!(refused(|o| o.online_data.entries = files(&[])).contains("online/data holds no file"));
        assert!(refused(|o| o.deploy_release.entries = files(&["m.so"])).contains("--source"));
    }
}
