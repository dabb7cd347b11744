//! Reads the files that say what no option says, and the addresses of members that are named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::layout::{FIRST_SERVICE_CONF, Monitor};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::probe::ask_all;
use crate::machine::{environment, net};
use crate::names::{Address, ModelName};
use crate::tools::service_discovery::cli::Places;
use crate::tools::service_discovery::decide::Member;
use crate::tools::service_discovery::settings::{File, Files};

/// How many names are looked up at once.
const AT_ONCE: usize = 32;

/// Reads the files. One that was named has to be there.
pub fn files(places: &Places) -> Result<Files> {
    let mut found = match &places.model {
        Some(model) => of_model(&Monitor { root: environment::monitor_root()? }, model)?,
        None if places.env.is_none() => {
            Files { env: if_exists(PathBuf::from("env.sh"))?, service_conf: None }
        }
        None => Files::default(),
    };
    if let Some(path) = &places.env {
        found.env = Some(named(path.clone())?);
    }
    if let Some(path) = &places.service_conf {
        found.service_conf = Some(named(path.clone())?);
    }
    Ok(found)
}

/// What the monitor knows of a model: its member list, as `dispatch` finds it, and its first service.conf. Links that lead
/// out of the directories to which others may write are not followed.
fn of_model(monitor: &Monitor, model: &ModelName) -> Result<Files> {
    let list = monitor.member_list(model);
    let conf = monitor.service(model).dir.join(FIRST_SERVICE_CONF);
    let env = match if_exists(list.clone())? {
        Some(list) => Some(list),
        None => if_exists_within(&monitor.uploads(), monitor.upload(model).env_sh())?,
    };
    let service_conf = if_exists_within(&monitor.services(), conf.clone())?;
    if env.is_none() && service_conf.is_none() {
        let (list, conf) = (list.display(), conf.display());
        return Err(Error::failed(format!(
            "neither {list} nor {conf} is there; check --model and MONITOR_ROOT"
        )));
    }
    Ok(Files { env, service_conf })
}

fn if_exists_within(dir: &Path, path: PathBuf) -> Result<Option<File>> {
    if files::facts(&path)?.is_none() {
        return Ok(None);
    }
    files::check_within(dir, &path)?;
    if_exists(path)
}

fn if_exists(path: PathBuf) -> Result<Option<File>> {
    Ok(files::read_if_exists(&path, CONFIGURATION_LIMIT)?.map(|bytes| File { path, bytes }))
}

fn named(path: PathBuf) -> Result<File> {
    Ok(File { bytes: files::read(&path, CONFIGURATION_LIMIT)?, path })
}

/// The addresses of members, all looked up at once, each within a time limit.
pub fn members(names: &[Address], limit: Duration) -> Vec<Member> {
    let ips = ask_all(names.to_vec(), AT_ONCE, limit, move |name, _| net::resolve(name.as_str(), limit));
    names.iter().zip(ips).map(|(name, ip)| Member { name: name.clone(), ip: ip.flatten() }).collect()
}
