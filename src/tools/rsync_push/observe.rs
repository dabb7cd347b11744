//! Reads what a push needs: machine -> facts.

use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::env_file::EnvFile;
use crate::formats::shell::Context;
use crate::layout::Deploy;
use crate::machine::files::{self, CONFIGURATION_LIMIT, Kind};
use crate::machine::{clock, environment, trees};
use crate::names::{Address, ModelName, Port};
use crate::time::Seconds;
use crate::tools::rsync_push::decide::{Directory, Item, ItemKind, Observed, Settings};
use crate::version::Version;

/// Reads and validates env.sh.
pub fn settings(deploy: &Deploy) -> Result<Settings> {
    let path = deploy.env_sh();
    let Some(source) = files::read_if_exists(&path, CONFIGURATION_LIMIT)? else {
        let path = path.display();
        return Err(Error::usage(format!(
            "{path} is not there; run in the model's deploy directory, or name it with --dir"
        )));
    };
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let env_sh = EnvFile::parse(&path, &source, &context)?;
    Ok(Settings {
        monitor: env_sh.needed("monitor", Address::parse)?,
        model: env_sh.needed("modulename", ModelName::parse)?,
        port: env_sh.optional("rsyncport", Port::parse)?.unwrap_or(Port::RSYNC),
        timeout: env_sh.optional("rsync_timeout", Seconds::parse)?,
    })
}

/// Looks at the deploy directory.
pub fn observe(deploy: &Deploy) -> Result<Observed> {
    let directory = |name: &'static str| -> Result<Directory> {
        let path = deploy.dir.join(name);
        let entries = if files::finds_directory(&path)? { Some(items(&path)?) } else { None };
        Ok(Directory { name, entries })
    };
    let success = files::read_if_exists(&deploy.success(), CONFIGURATION_LIMIT)?;
    let mut backups = Vec::new();
    for kind in ["lib", "data"] {
        let dir = deploy.dir.join("backup").join(kind);
        if files::finds_directory(&dir)? {
            backups.extend(files::names_in(&dir)?);
        }
    }
    Ok(Observed {
        now: clock::now(),
        previous: success.map(|content| Version::announced_in(&content)),
        online_release: directory("online/release")?,
        online_data: directory("online/data")?,
        deploy_release: directory("release")?,
        deploy_data: directory("data")?,
        has_online_lib: files::finds_directory(&deploy.dir.join("online/lib"))?,
        backups,
    })
}

fn items(dir: &Path) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for name in files::names_in(dir)? {
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = match files::facts(&dir.join(&name))?.map(|facts| facts.kind) {
            Some(Kind::File) => ItemKind::File,
            Some(Kind::Directory) => {
                let below = trees::survey_names(dir, std::slice::from_ref(&name))?;
                match below.iter().any(|(_, entry)| entry.kind == Kind::File) {
                    true => ItemKind::Directory,
                    false => ItemKind::EmptyDirectory,
                }
            }
            Some(Kind::Link | Kind::Special) => ItemKind::Skipped,
            None => continue,
        };
        items.push(Item { name, kind });
    }
    Ok(items)
}
