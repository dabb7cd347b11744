//! What registering a model does, as a pure function of what was observed.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::dispatchserver_sh::{Registry, StanzaState};
use crate::formats::env_sh::EnvSh;
use crate::formats::shell::Context;
use crate::layout::{FIRST_SERVICE_CONF, Monitor};
use crate::time::LocalTime;
use crate::tools::add_dispatch_docker::cli::{Request, Service};

pub mod template;

use template::Template;

/// What a registry begins with where there is none yet; the script would append to nothing, and its stanzas would not
/// know their log file.
const HEADER: &[u8] = b"#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n";

/// What registering looks at.
#[derive(Debug)]
pub struct Observed {
    /// Local time.
    pub now: LocalTime,
    /// Who runs the command.
    pub user: String,
    /// The registry; `None` where it is missing.
    pub registry: Option<Vec<u8>>,
    /// Which of the model's directories are missing.
    pub missing_directories: Vec<PathBuf>,
    /// What a service.conf is made from.
    pub template: Template,
    /// Whether config_1/service.conf is missing.
    pub service_conf_is_missing: bool,
    /// The member list; `None` where it is missing.
    pub member_list: Option<Vec<u8>>,
}

/// One step. `apply` carries them out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create a directory and its parents.
    CreateDirectory(PathBuf),
    /// Write a file whole.
    Write(PathBuf, Vec<u8>),
    /// A line for the operator.
    Say(String),
}

/// The directories of a model, none of them empty at the top (contract section 3).
pub fn directories(monitor: &Monitor, request: &Request) -> Vec<PathBuf> {
    let (upload, service) = (monitor.upload(&request.model), monitor.service(&request.model));
    vec![upload.dir.join("lib"), upload.dir.join("data"), service.dir.join("config_1"), service.versions()]
}

/// The steps: directories, service.conf, member list, and the stanza last, so that no tick sees half a model. What is
/// there already stays as it is.
///
/// Fails, and nothing is to be done, when the stanza is commented out or the member list cannot be read.
pub fn decide(observed: &Observed, request: &Request, monitor: &Monitor) -> Result<Vec<Action>> {
    let registry_path = monitor.registry();
    let source = observed.registry.as_deref().unwrap_or(HEADER);
    let context = Context { environment: &|_| None, now: &observed.now };
    let mut registry = Registry::parse_calls(source, &context);
    let model = &request.model;
    let registered = match registry.stanza_of(model) {
        Some(StanzaState::CommentedOut { line }) => {
            let path = registry_path.display();
            return Err(Error::failed(format!(
                "{path}:{line}: the stanza of {model} is there but commented out; remove its # signs to enable it"
            )));
        }
        Some(StanzaState::Active { line }) => Some(line),
        None => None,
    };

    let mut actions: Vec<Action> =
        observed.missing_directories.iter().cloned().map(Action::CreateDirectory).collect();
    let service_conf = monitor.service(model).dir.join(FIRST_SERVICE_CONF);
    if observed.service_conf_is_missing {
        let conf = template::service_conf(&observed.template, request)?;
        actions.push(Action::Write(service_conf.clone(), conf));
    }
    actions.extend(member_list(observed, monitor, request)?);
    if registered.is_none() {
        registry.append_stanza(model, &request.plugin, &observed.user);
        actions.push(Action::Write(registry_path.clone(), registry.render().to_vec()));
    }
    let nothing_was_done = actions.is_empty();
    actions.push(Action::Say(match registered {
        Some(line) if nothing_was_done => {
            format!("{model} is registered already ({}:{line}); nothing was changed", registry_path.display())
        }
        Some(line) => {
            format!(
                "{model} is registered already ({}:{line}); what was missing, or was given by option, was written",
                registry_path.display()
            )
        }
        None => format!("registered {model}"),
    }));
    actions
        .extend(about_service_conf(observed, request, &service_conf.display().to_string()).map(Action::Say));
    Ok(actions)
}

/// What is to be done about service.conf now.
fn about_service_conf(observed: &Observed, request: &Request, path: &str) -> Option<String> {
    let model = &request.model;
    match (&request.service, observed.service_conf_is_missing) {
        (Some(Service { port, zk_group_id, zk_service_id, zk_type_id, .. }), true) => Some(format!(
            "{path}: port {port}, zk_group_id {zk_group_id}, zk_service_id {zk_service_id}, zk_type_id {zk_type_id}"
        )),
        (Some(_), false) => Some(format!(
            "{path} was there and is not changed; see what is wrong with it: add_dispatch_docker --check {model}"
        )),
        (None, true) => Some(format!(
            "now correct port, name, zk_group_id and zk_service_id in {path} (manual, step 5), then: add_dispatch_docker \
             --check {model}"
        )),
        (None, false) => None,
    }
}

/// The member list with `members` and `moduleport` set; every other line of an existing one stays.
fn member_list(observed: &Observed, monitor: &Monitor, request: &Request) -> Result<Option<Action>> {
    let (Some(members), Some(service)) = (&request.members, &request.service) else { return Ok(None) };
    let path = monitor.member_list(&request.model);
    let source = observed.member_list.as_deref().unwrap_or_default();
    let context = Context { environment: &|_| None, now: &observed.now };
    let mut env = EnvSh::parse(source, &context).map_err(|refusal| refusal.in_file(&path))?;
    let members = members.iter().map(|address| address.as_str()).collect::<Vec<_>>().join(",");
    for (key, value) in [("members", members), ("moduleport", service.port.to_string())] {
        if env.get(key) != Some(value.as_bytes()) {
            env.set(key, value.as_bytes());
        }
    }
    let changed = observed.member_list.as_deref() != Some(env.render());
    Ok(changed.then(|| Action::Write(path, env.render().to_vec())))
}
