//! Whether a container may be started, whether it came up, and what a check says: pure functions of what was read.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::formats::container_engine::Container;
use crate::formats::port_table::PortTable;
use crate::names::{ImageName, Port, shown};
use crate::process::Process;
use crate::time::Seconds;
use crate::tools::dockerrun::command::Start;

/// What may speak against a start.
#[derive(Debug)]
pub struct Before {
    /// The table of ports and its file; `None` where this host has none.
    pub table: Option<(PathBuf, PortTable)>,
    /// Every container of this host.
    pub containers: Vec<Container>,
    /// Who accepts connections on the port, and where; the process is `None` where it may not be looked at.
    pub listener: Option<(SocketAddr, Option<Process>)>,
}

/// What there is of an image.
#[derive(Debug)]
pub struct Running {
    /// Its name, registry included.
    pub image: String,
    /// DOCKER_NAME.
    pub name: ImageName,
    /// The engine's images of that name.
    pub images: Vec<String>,
    /// Its containers, each with what its service does.
    pub containers: Vec<(Container, Service)>,
}

/// What the service of a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// It is not looked at: the container is not up.
    NotUp,
    /// The container was not given a port.
    NoPort,
    /// Nobody accepts connections on this port.
    Silent(Port),
    /// Somebody does; the version is what it says itself.
    Says(Port, Vec<u8>),
    /// Somebody does, but does not say a version; it is what this service.conf announces, where that could be read.
    Announced(Port, Option<Vec<u8>>, PathBuf),
}

/// Fails when the port is somebody else's: by the table of ports, by a container that was started for it, by a process that
/// listens on it.
pub fn may_start(start: &Start, before: &Before) -> Result<()> {
    let port = start.port;
    if let Some((file, table)) = &before.table {
        let id = start.service_id.as_ref().map(|id| id.as_str().as_bytes());
        let rows = table.rows_of(port);
        if let Some(row) = rows.first().filter(|_| !rows.iter().any(|row| row.is_of(&start.service, id))) {
            return Err(Error::failed(format!(
                "{}:{}: port {port} is that of {}; choose another port, or give --service-id if that is what {} is called there",
                file.display(),
                row.line,
                shown(row.service_id()),
                start.service
            )));
        }
    }
    let holder = before.containers.iter().find(|c| c.holds_its_port() && c.port() == Some(port));
    if let Some(holder) = holder {
        let (name, image) = (holder.name(), &holder.image);
        return Err(Error::failed(format!(
            "port {port} is that of container {name} ({image}, {}); end it first (docker stop {name}), or choose another port",
            holder.status
        )));
    }
    if let Some((at, process)) = &before.listener {
        let by =
            process.as_ref().map_or_else(|| "a process of this host".to_owned(), |process| process.shown());
        return Err(Error::failed(format!(
            "port {port} is in use: {by} listens on {at}; end it first, or choose another port"
        )));
    }
    Ok(())
}

/// Whether a container's service came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Somebody accepts connections on its port.
    Up,
    /// Not yet.
    NotYet,
    /// It will not, or not in time; why, and what to do.
    Failed {
        /// What happened.
        why: String,
        /// What to do.
        remedy: String,
    },
}

/// What is to be made of a container, `None` when it is not there any more, so long after its start.
pub fn progress(
    container: Option<&Container>,
    port: Port,
    is_listened_on: bool,
    elapsed: Seconds,
    limit: Seconds,
) -> Progress {
    let failed = |why: String, remedy: &str| Progress::Failed { why, remedy: remedy.to_owned() };
    match container {
        None => failed("the container was removed while it was waited for".to_owned(), "start it again"),
        Some(ended) if ended.has_ended() => failed(
            format!("container {} ended with exit code {}", ended.name(), ended.exit_code),
            &format!("see docker logs {0}; docker rm {0} removes it", ended.name()),
        ),
        Some(_) if is_listened_on => Progress::Up,
        Some(late) if elapsed >= limit => failed(
            format!(
                "container {} is {}, but nobody listens on port {port} after {limit}",
                late.name(),
                late.status
            ),
            &format!("it was left as it is: see docker logs {}, or give it longer (--timeout)", late.name()),
        ),
        Some(_) => Progress::NotYet,
    }
}

/// The lines of a check, and what is wrong first of all, if anything is.
pub fn check(running: &Running) -> (Vec<String>, Option<Error>) {
    let Running { image, name, .. } = running;
    let mut lines: Vec<String> = running.images.iter().map(|line| format!("image {line}")).collect();
    lines.extend(running.containers.iter().map(|(container, service)| described(image, container, service)));
    let silent = running.containers.iter().find_map(|(container, service)| match service {
        Service::Silent(port) => Some((container.name(), port)),
        _ => None,
    });
    let problem = if running.images.is_empty() && running.containers.is_empty() {
        Some(format!("there is no image {image} on this host; build it (docker build), or docker pull it"))
    } else if !running.containers.iter().any(|(container, _)| container.is_up()) {
        Some(format!("no container of {image} is up; start one: dockerrun VERSION {name} PORT SERVICE_NAME"))
    } else {
        silent.map(|(name, port)| {
            format!("container {name} is up, but nobody listens on port {port}; see docker logs {name}")
        })
    };
    (lines, problem.map(Error::failed))
}

/// A container, and where what is said about its version is from.
fn described(image: &str, container: &Container, service: &Service) -> String {
    let tag = container.tag_of(image).unwrap_or_default();
    let serves = match service {
        Service::NotUp if container.has_ended() => format!("exit code {}", container.exit_code),
        Service::NotUp => "not up".to_owned(),
        Service::NoPort => "it has no ENV_SERVICE_PORT: only its image tells its version".to_owned(),
        Service::Silent(port) => format!("nobody listens on port {port}"),
        Service::Says(port, version) => {
            format!("serves {} (the service says so, on port {port})", text(version))
        }
        Service::Announced(port, Some(version), path) => {
            let path = path.display();
            format!("port {port} answers, {} (by {path}; the service does not say)", text(version))
        }
        Service::Announced(port, None, path) => {
            let path = path.display();
            format!("port {port} answers; neither the service nor {path} tells its version")
        }
    };
    format!("container {} (image {tag}): {}; {serves}", container.name(), container.status)
}

fn text(version: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::container_engine::containers;
    use crate::names::{ImageTag, ModelName, ServiceId};

    fn container(status: &str) -> Container {
        let line = format!(
            r#"{{"id":"7b08","name":"/happy","image":"r/p/image:v1","env":["ENV_SERVICE_PORT=17019"],"status":"{status}","exit_code":3}}"#
        );
        containers(line.as_bytes()).unwrap().remove(0)
    }

    fn refused(row: &str, id: Option<&str>, found: Vec<Container>, listener: Option<&str>) -> String {
        let start = Start {
            tag: ImageTag::parse(b"v1").unwrap(),
            image: ImageName::parse(b"image").unwrap(),
            port: Port::parse(b"17019").unwrap(),
            service: ModelName::parse(b"yellow").unwrap(),
            service_id: id.map(|id| ServiceId::parse(id.as_bytes()).unwrap()),
        };
        let table = format!("| port | service id |\n|---|---|\n{row}\n");
        let before = Before {
            table: Some(("t.md".into(), PortTable::parse(table.as_bytes()).unwrap())),
            containers: found,
            listener: listener.map(|at| (at.parse().unwrap(), None)),
        };
        may_start(&start, &before).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_port_that_is_somebody_elses_is_refused() {
        let row = "| 17019 | sid |";
        assert!(
            refused(row, None, vec![], None)
                .starts_with("t.md:3: port 17019 is that of \u{201c}sid\u{201d};")
        );
        assert_eq!(refused(row, Some("sid"), vec![], None), "");
        assert_eq!(refused("| 17019 | yellow |", None, vec![], None), "");
        assert_eq!(refused("| 17020 | sid |", None, vec![container("exited")], None), "");
        let said = refused("", None, vec![container("paused")], None);
        assert!(said.starts_with("port 17019 is that of container happy (r/p/image:v1, paused);"), "{said}");
        let said = refused("", None, vec![], Some("0.0.0.0:17019"));
        assert!(
            said.starts_with("port 17019 is in use: a process of this host listens on 0.0.0.0:17019;"),
            "{said}"
        );
    }

    #[test]
    fn one_that_ended_is_not_waited_for_and_one_that_is_late_is_left() {
        let port = Port::parse(b"17019").unwrap();
        let after = |status: Option<&str>, listens, elapsed| {
            let container = status.map(container);
            match progress(container.as_ref(), port, listens, Seconds(elapsed), Seconds(300)) {
                Progress::Failed { why, .. } => why,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(after(Some("running"), false, 299), "NotYet");
        assert_eq!(after(Some("created"), false, 0), "NotYet");
        assert_eq!(after(Some("running"), true, 300), "Up");
        assert_eq!(
            after(Some("exited"), true, 0),
            "container happy ended with exit code 3",
            "another has the port"
        );
        assert_eq!(
            after(Some("running"), false, 300),
            "container happy is running, but nobody listens on port 17019 after 300 s"
        );
        assert!(after(None, true, 0).starts_with("the container was removed"));
    }

    #[test]
    fn a_check_says_where_a_version_is_from() {
        let port = Port::parse(b"17019").unwrap();
        let said = |status: &str, service: Service| {
            let running = Running {
                image: "r/p/image".to_owned(),
                name: ImageName::parse(b"image").unwrap(),
                images: vec![],
                containers: vec![(container(status), service)],
            };
            let (lines, problem) = check(&running);
            (lines.join("\n"), problem.map(|error| error.to_string()).unwrap_or_default())
        };
        let (line, problem) = said("running", Service::Says(port, b"20180413192258".to_vec()));
        assert_eq!(
            line,
            "container happy (image v1): running; serves 20180413192258 (the service says so, on port 17019)"
        );
        assert_eq!(problem, "");
        let (line, problem) =
            said("running", Service::Announced(port, Some(b"2018".to_vec()), "/s.conf".into()));
        assert!(
            line.ends_with("; port 17019 answers, 2018 (by /s.conf; the service does not say)"),
            "{line}"
        );
        assert_eq!(problem, "");
        assert!(
            said("running", Service::Silent(port))
                .1
                .contains("happy is up, but nobody listens on port 17019")
        );
        let (line, problem) = said("exited", Service::NotUp);
        assert_eq!(line, "container happy (image v1): exited; exit code 3");
        assert!(problem.contains("start one: dockerrun VERSION image PORT"), "{problem}");
    }
}
