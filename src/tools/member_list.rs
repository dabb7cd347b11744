//! A model's member list: which file it is, and the groups in it (contract section 2, "The member list on the monitor").

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::env_file::EnvFile;
use crate::formats::shell::Context;
use crate::layout::Monitor;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, environment};
use crate::names::{Address, GroupName, ModelName};

/// What a key begins with that names a group.
const GROUP: &str = "group_";

/// Where a member list comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `scripts/dispatch/conf/MODEL.env.sh`, which only the monitor's operators can write.
    Monitor,
    /// The env.sh of the deploy directory, which anyone can upload who can push.
    Upload,
}

/// Reads a file that may be missing.
type ReadFile = fn(&Path, u64) -> Result<Option<Vec<u8>>>;

fn places(monitor: &Monitor, model: &ModelName) -> [(PathBuf, Origin, ReadFile); 2] {
    [
        (monitor.member_list(model), Origin::Monitor, files::read_if_exists),
        (monitor.upload(model).env_sh(), Origin::Upload, files::read_without_following),
    ]
}

/// Where the list is, or would be: conf/MODEL.env.sh, otherwise the uploaded env.sh.
pub fn path(monitor: &Monitor, model: &ModelName) -> PathBuf {
    let [(own, ..), (uploaded, ..)] = places(monitor, model);
    if files::facts(&own).is_ok_and(|facts| facts.is_none()) { uploaded } else { own }
}

/// The list's bytes; `None` where the model has none.
pub fn read(monitor: &Monitor, model: &ModelName) -> Result<Option<(PathBuf, Origin, Vec<u8>)>> {
    for (path, origin, read) in places(monitor, model) {
        if let Some(content) = read(&path, CONFIGURATION_LIMIT)? {
            return Ok(Some((path, origin, content)));
        }
    }
    Ok(None)
}

/// The members of a group, which must be there.
pub fn group(monitor: &Monitor, model: &ModelName, name: &GroupName) -> Result<Vec<Address>> {
    with_list(monitor, model, |path, list| group_in(path, list, name))
}

/// Fails (exit 2) at the first of these that is no member.
pub fn check_are_members(monitor: &Monitor, model: &ModelName, addresses: &[Address]) -> Result<()> {
    with_list(monitor, model, |path, list| {
        let members = list.list("members", Address::parse)?;
        match addresses.iter().find(|address| !members.contains(address)) {
            None => Ok(()),
            Some(unknown) => Err(Error::usage(format!(
                "{}: {unknown} is no member of {model}; see members there",
                path.display()
            ))),
        }
    })
}

fn with_list<T>(
    monitor: &Monitor,
    model: &ModelName,
    look: impl FnOnce(&Path, &EnvFile) -> Result<T>,
) -> Result<T> {
    let Some((path, _, content)) = read(monitor, model)? else {
        let list = monitor.member_list(model);
        return Err(Error::usage(format!(
            "{model} has no member list; write members=\"A,B,...\" into {}",
            list.display()
        )));
    };
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    look(&path, &EnvFile::parse(&path, &content, &context)?)
}

fn group_in(path: &Path, list: &EnvFile, name: &GroupName) -> Result<Vec<Address>> {
    let members = list.list(&format!("{GROUP}{name}"), Address::parse)?;
    if !members.is_empty() {
        return Ok(members);
    }
    let path = path.display();
    Err(Error::usage(match &list.keys_behind(GROUP)[..] {
        [] => format!("{path}: there is no group; write {GROUP}{name}=\"A,B,...\" into it"),
        groups => format!("{path}: {name} is no group with members; there are: {}", groups.join(", ")),
    }))
}
