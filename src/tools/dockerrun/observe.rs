//! Reads what a start and a check need: machine -> facts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::formats::container_engine::Container;
use crate::formats::env_file::EnvFile;
use crate::formats::port_table::PortTable;
use crate::formats::service_conf;
use crate::formats::shell::Context;
use crate::layout::{ContainerHost, Monitor};
use crate::machine::clock::Deadline;
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, environment, proc};
use crate::names::{Address, ImageName};
use crate::time::Seconds;
use crate::tools::control;
use crate::tools::dockerrun::command::{Given, ImagePrefix, Mount, Settings, Start};
use crate::tools::dockerrun::decide::{Before, Running, Service};
use crate::tools::dockerrun::engine;

/// How long a service may take to say its version.
const ANSWER: Duration = Duration::from_secs(5);

/// What SERVICE_ROOT/env.sh says; nothing where it is not there.
pub fn given(host: &ContainerHost) -> Result<Given> {
    let path = host.env_sh();
    let Some(source) = files::read_if_exists(&path, CONFIGURATION_LIMIT)? else {
        return Ok(Given::default());
    };
    let now = clock::now();
    let env_sh = EnvFile::parse(&path, &source, &Context { environment: &environment::variable, now: &now })?;
    Ok(Given {
        image_prefix: env_sh.optional("image_prefix", ImagePrefix::parse)?,
        mounts: env_sh.list("mounts", Mount::parse)?,
        timeout: env_sh.optional("service_timeout", Seconds::parse)?,
    })
}

/// Looks at the table of ports, the containers and the port.
pub fn before_start(start: &Start) -> Result<Before> {
    let listener = proc::listeners_on(start.port)?.pop();
    Ok(Before {
        table: port_table()?,
        containers: engine::containers()?,
        listener: listener.map(|at| (at, proc::listening_on(at))),
    })
}

/// The table that `PORT_REGISTRY` names, which must be there; otherwise that of the monitor's tree, if this host has one.
fn port_table() -> Result<Option<(PathBuf, PortTable)>> {
    let (file, source) = match environment::port_registry() {
        Some(file) => {
            let source = files::read(&file, CONFIGURATION_LIMIT).map_err(|e| e.context("PORT_REGISTRY"))?;
            (file, Some(source))
        }
        None => {
            let Ok(root) = environment::monitor_root() else { return Ok(None) };
            let file = Monitor { root }.port_table();
            let source = files::read_if_exists(&file, CONFIGURATION_LIMIT)?;
            (file, source)
        }
    };
    let Some(source) = source else { return Ok(None) };
    let table = PortTable::parse(&source).map_err(|finding| finding.in_file(&file))?;
    Ok(Some((file, table)))
}

/// Looks at the images of a name, at their containers, and asks their services.
pub fn running(host: &ContainerHost, settings: &Settings, name: &ImageName) -> Result<Running> {
    let image = settings.image(name);
    let images = engine::images(&image)?;
    let mut containers = Vec::new();
    for container in engine::containers()? {
        if container.tag_of(&image).is_some() {
            let service = service(host, &container)?;
            containers.push((container, service));
        }
    }
    Ok(Running { image, name: name.clone(), images, containers })
}

fn service(host: &ContainerHost, container: &Container) -> Result<Service> {
    if !container.is_up() {
        return Ok(Service::NotUp);
    }
    let Some(port) = container.port() else { return Ok(Service::NoPort) };
    let Some(at) = proc::listeners_on(port)?.pop() else { return Ok(Service::Silent(port)) };
    let host_name = Address::parse(reachable(at.ip()).to_string().as_bytes())?;
    let asked = control::question()
        .and_then(|question| control::version_served(&host_name, port, &question, Deadline::after(ANSWER)));
    match asked {
        Ok(version) if !version.is_empty() => Ok(Service::Says(port, version)),
        other => {
            log::debug!("{host_name}:{port} does not say its version: {other:?}");
            let path = host.service_conf(port);
            let conf = files::read_if_exists(&path, CONFIGURATION_LIMIT)?.unwrap_or_default();
            let version = service_conf::value(&conf, "moduleversion").map(<[u8]>::to_vec);
            Ok(Service::Announced(port, version, path))
        }
    }
}

/// Where to connect to for somebody who listens on an address.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
