//! `add_dispatch_docker TYPE MODULE PLUGIN`: replaces add_dispatch_docker.sh (contract section 3).
//!
//! Run once per model on the monitor. Creates `datamining_plugin/MODULE/{lib,data}` and
//! `datamining_service/MODULE/{config_1/service.conf,plugin}`, and appends the model's stanza to dispatchserver.sh. With
//! `--port` the service.conf is one that needs no correction, made from the template of TYPE (built in, or the site's
//! `scripts/dispatch/conf/templates/TYPE.conf`); with `--members` the member list is written, too. A second run changes
//! nothing and says so. Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage or bad input file, 75 another edit
//! holds the registry's lock.
//!
//! `add_dispatch_docker --check MODULE` reads every `config_*/service.conf` of a model and writes nothing. The findings are
//! the answer that was asked for, so they go to standard output, as those of grep or a compiler's lint do; standard error
//! has the one line of a run that failed. Exit codes: 0 no finding, 1 findings, 2 a file cannot be read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, one_line};
use crate::formats::service_conf::lint::{self, About};
use crate::layout::{self, FIRST_SERVICE_CONF, Monitor, VERSIONS};
use crate::machine::configurations;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment, terminal};
use crate::names::{ModelName, TypeName};
use crate::tools::edit::{self, Mode};

mod cli;
mod decide;

use cli::{Cli, Request, Task};
use decide::template::{self, Template};
use decide::{Action, Observed};

const PROGRAM: &str = "add_dispatch_docker";

/// The largest registry that is edited, in bytes: a stanza has about 400.
const REGISTRY_LIMIT: u64 = 64 << 20;

/// How long another edit is waited for without --wait: it takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(10));

/// Runs `add_dispatch_docker` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    match cli.task()? {
        Task::Register(request) => register(&request),
        Task::Check(model) => check(&model),
    }
}

fn register(request: &Request) -> Result<()> {
    let monitor = Monitor { root: environment::monitor_root()? };
    check_mounted(&monitor)?;
    let template = find_template(&monitor, &request.kind)?;
    let _lock = match request.mode {
        Mode::Write => Some(Lock::take(&layout::lock_of(&monitor.registry()), request.wait.or(LOCK_WAIT))?),
        Mode::Show => None,
    };
    let observed = observe(&monitor, request, template)?;
    let actions = decide::decide(&observed, request, &monitor)?;
    match request.mode {
        Mode::Write => actions.iter().try_for_each(apply),
        Mode::Show => show(&actions),
    }
}

/// Prints what is wrong with each service.conf of a model. Nothing is printed when one of them cannot be read.
fn check(model: &ModelName) -> Result<()> {
    let (found, files) = findings(model).map_err(super::unreadable)?;
    super::report(&found, &format!("in the service.conf of {model} ({files} looked at)"))
}

/// The findings, each with its file, and how many files there are.
fn findings(model: &ModelName) -> Result<(Vec<super::Found>, usize)> {
    let monitor = Monitor { root: environment::monitor_root()? };
    let service = monitor.service(model);
    files::check_within(&monitor.services(), &service.dir)?;
    let is_there = files::finds_directory(&service.dir)?;
    let configurations = if is_there { configurations::of(&service)? } else { Vec::new() };
    if configurations.is_empty() {
        let dir = service.dir.display();
        return Err(Error::usage(format!(
            "there is no {dir}/config_*/service.conf; correct MODULE, or run add_dispatch_docker TYPE {model} PLUGIN"
        )));
    }
    let mut versions = Vec::new();
    for name in names_if_there(&service.versions())? {
        if files::is_directory(&service.versions().join(&name)) && !name.as_encoded_bytes().starts_with(b".")
        {
            versions.push(name.into_vec());
        }
    }
    let about = About { model, versions: &versions };
    let of_file = |(path, bytes): &(PathBuf, Vec<u8>)| {
        let found = lint::lint(bytes, &about).into_iter();
        found.map(|finding| (path.clone(), finding)).collect::<Vec<_>>()
    };
    Ok((configurations.iter().flat_map(of_file).collect(), configurations.len()))
}

fn names_if_there(dir: &Path) -> Result<Vec<OsString>> {
    if files::is_directory(dir) { files::names_in(dir) } else { Ok(Vec::new()) }
}

fn find_template(monitor: &Monitor, kind: &TypeName) -> Result<Template> {
    let path = monitor.template(kind);
    let site = files::read_if_exists(&path, CONFIGURATION_LIMIT)?.map(|text| (path, text));
    let others = names_if_there(&monitor.templates())?;
    template::choose(kind, site, &others.into_iter().map(OsString::into_vec).collect::<Vec<_>>())
}

/// A tree that is not mounted must not be created on the disk below its mount point (defect 24).
fn check_mounted(monitor: &Monitor) -> Result<()> {
    let bin = monitor.registry().parent().map(Path::to_path_buf).unwrap_or_default();
    for dir in [monitor.uploads(), monitor.services(), bin] {
        if !files::is_directory(&dir) {
            let dir = dir.display();
            return Err(Error::failed(format!(
                "{dir} is not a directory; mount it, or correct MONITOR_ROOT"
            )));
        }
    }
    Ok(())
}

fn observe(monitor: &Monitor, request: &Request, template: Template) -> Result<Observed> {
    check_within(monitor, request)?;
    let mut missing_directories = decide::directories(monitor, request);
    missing_directories.retain(|dir| !files::is_directory(dir));
    let service_conf = monitor.service(&request.model).dir.join(FIRST_SERVICE_CONF);
    Ok(Observed {
        now: clock::now(),
        user: environment::user_name(),
        registry: files::read_if_exists(&monitor.registry(), REGISTRY_LIMIT)?,
        missing_directories,
        template,
        service_conf_is_missing: files::facts(&service_conf)?.is_none(),
        member_list: files::read_if_exists(&monitor.member_list(&request.model), CONFIGURATION_LIMIT)?,
    })
}

/// Whoever may write to the directories of all models must not choose where those of this one are created.
fn check_within(monitor: &Monitor, request: &Request) -> Result<()> {
    let (upload, service) = (monitor.upload(&request.model), monitor.service(&request.model));
    for dir in ["lib", "data"] {
        files::check_within(&monitor.uploads(), &upload.dir.join(dir))?;
    }
    for path in [FIRST_SERVICE_CONF, VERSIONS] {
        files::check_within(&monitor.services(), &service.dir.join(path))?;
    }
    Ok(())
}

/// Shows what would be done; what would be said afterwards only where nothing would be done.
fn show(actions: &[Action]) -> Result<()> {
    let changes = actions.iter().any(|action| !matches!(action, Action::Say(_)));
    for action in actions {
        match action {
            Action::CreateDirectory(path) => {
                terminal::say(one_line(&format!("would create {}/", path.display())))
            }
            Action::Write(path, bytes) => edit::show(&files::followed(path), bytes)?,
            Action::Say(_) if changes => {}
            Action::Say(line) => terminal::say(one_line(line)),
        }
    }
    Ok(())
}

fn apply(action: &Action) -> Result<()> {
    log::debug!("{action:?}");
    match action {
        Action::CreateDirectory(path) => files::create_directories(path),
        Action::Write(path, bytes) => {
            if let Some(dir) = path.parent() {
                files::create_directories(dir)?;
            }
            // legacy: add_dispatch_docker.sh, `cat >> "$registry"` writes through a link
            files::replace_atomically(&files::followed(path), bytes)
        }
        Action::Say(line) => {
            terminal::say(one_line(line));
            Ok(())
        }
    }
}
