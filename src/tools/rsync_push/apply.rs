//! Carries the steps of a push out, in order; the first failure ends it, so that nothing incomplete is announced.

use std::path::Path;

use crate::digest::Files;
use crate::error::{Result, one_line};
use crate::formats::manifest::Manifest;
use crate::layout::{Deploy, MANIFEST, PLUGIN_MODULE};
use crate::machine::files::MANIFEST_LIMIT;
use crate::machine::rsync::{self, Daemon, Limits, Remote, Statistics, Transfer};
use crate::machine::{clock, files, terminal, trees};
use crate::tools::rsync_push::decide::{self, Action, Part, Settings};
use crate::version::Version;

/// Carries the steps out; returns what was sent.
pub fn apply(actions: &[Action], deploy: &Deploy, settings: &Settings) -> Result<Statistics> {
    let mut sent = Statistics::default();
    let mut all_new = Vec::new();
    for action in actions {
        log::debug!("{action:?}");
        let statistics = act(action, deploy, settings, &mut all_new)?;
        sent.files += statistics.files;
        sent.total_bytes += statistics.total_bytes;
        sent.sent_bytes += statistics.sent_bytes;
        sent.received_bytes += statistics.received_bytes;
    }
    Ok(sent)
}

/// `all_new`: the parts of which every file is another one than in the push before.
fn act(
    action: &Action,
    deploy: &Deploy,
    settings: &Settings,
    all_new: &mut Vec<&'static str>,
) -> Result<Statistics> {
    let in_deploy = |path: &Path| deploy.dir.join(path);
    match action {
        Action::WaitForNextSecond => clock::pause_until_next_second(),
        Action::CheckMonitor => {
            return transfer(settings, Limits::SMALL, &|remote| Transfer::List(remote), "");
        }
        Action::CopyTo(from, to) => {
            create_parent(&in_deploy(to))?;
            trees::copy_directory(&in_deploy(from), &in_deploy(to))?;
        }
        Action::MoveTo(from, to) => {
            create_parent(&in_deploy(to))?;
            trees::move_directory(&in_deploy(from), &in_deploy(to))?;
        }
        Action::Remove(path) => files::remove_tree(&in_deploy(path))?,
        Action::WriteSuccess(version) => {
            create_parent(&deploy.success())?;
            files::overwrite(&deploy.success(), format!("{version}\n").as_bytes())?;
        }
        Action::WriteManifest { version, parts } => *all_new = write_manifest(version, parts, deploy)?,
        Action::Send(Part { from, names, recursive, to: remote }) => {
            let send = |to: Remote| Transfer::Send {
                from: in_deploy(from),
                names: names.clone(),
                recursive: *recursive,
                all_new: all_new.contains(remote),
                to,
            };
            return transfer(settings, Limits::MODEL, &send, &format!("{remote}/"));
        }
        Action::DeleteExtraneous(Part { from, recursive, to, .. }) => {
            let delete =
                |to: Remote| Transfer::DeleteExtraneous { from: in_deploy(from), recursive: *recursive, to };
            return transfer(settings, Limits::MODEL, &delete, &format!("{to}/"));
        }
        Action::SendManifest => {
            let send = |to: Remote| Transfer::SendFile { from: deploy.manifest(), to };
            transfer(settings, Limits::SMALL, &send, MANIFEST)?;
        }
        Action::SendEnvSh => {
            let send = |to: Remote| Transfer::SendFile { from: deploy.env_sh(), to };
            transfer(settings, Limits::SMALL, &send, ".env.sh")?;
        }
        Action::SendSuccess => {
            let send = |to: Remote| Transfer::SendFile { from: deploy.success(), to };
            transfer(settings, Limits::SMALL, &send, "success")?;
        }
        Action::Warn(line) => terminal::complain(super::PROGRAM, one_line(line)),
    }
    Ok(Statistics::default())
}

/// Digests what is about to be sent. A file that changes while it is sent then differs from the manifest on the monitor, and
/// is not published. Returns the parts that are all new.
fn write_manifest(version: &Version, parts: &[Part], deploy: &Deploy) -> Result<Vec<&'static str>> {
    let mut in_order: Vec<&Part> = parts.iter().collect();
    in_order.sort_by_key(|part| part.to);
    let mut files = Files::default();
    for part in in_order {
        let from = deploy.dir.join(&part.from);
        let digested = trees::digest(&from, &trees::survey_names(&from, &part.names)?)?;
        for (path, facts) in digested.iter() {
            files.insert(&[part.to.as_bytes(), b"/", path].concat(), *facts);
        }
    }
    let manifest = Manifest { version: version.clone(), files };
    // Where there is none, or it cannot be read, nothing is known of what the monitor has.
    let before = files::read_if_exists(&deploy.manifest(), MANIFEST_LIMIT).ok().flatten();
    let before = before.and_then(|source| Manifest::parse(&source).ok());
    files::overwrite(&deploy.manifest(), &manifest.render())?;
    let is_all_new =
        |part: &&Part| before.as_ref().is_some_and(|before| decide::is_all_new(part, before, &manifest));
    Ok(parts.iter().filter(is_all_new).map(|part| part.to).collect())
}

fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), files::create_directories)
}

/// A transfer to a path below the model's upload.
fn transfer(
    settings: &Settings,
    limits: Limits,
    make: &dyn Fn(Remote) -> Transfer,
    below: &str,
) -> Result<Statistics> {
    let daemon = Daemon { host: settings.monitor.clone(), port: settings.port, timeout: settings.timeout };
    let remote = Remote { module: PLUGIN_MODULE, path: format!("{}/{below}", settings.model) };
    rsync::run(&daemon, &make(remote), limits)
}
