//! Reading from a ZooKeeper ensemble, within limits of time and memory.
//!
//! The client reads on a thread of its own, so that the limits hold whatever a server sends.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use spawns_core::{Spawn, Task};
use zookeeper_client::{Client, Error};

use crate::discovery::{Again, Fault, Node, NodePath, Tried};
use crate::machine::clock::Deadline;
use crate::machine::files;
use crate::machine::http::Limits;

/// The memory, in KiB, from which on an answer is too large. The client keeps what a server sends, however much it is;
/// a server's own limit is 1 MiB for each answer.
const MEMORY_LIMIT_KIB: u64 = 64 << 10;

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The nodes below a path, from the first server that answers; `limits.connect` is for each server, `limits.total` for
/// everything. The servers are `HOST:PORT`.
pub fn children(servers: &[String], path: &NodePath, limits: Limits) -> Tried<Vec<Node>> {
    let (answer, inbox) = mpsc::channel();
    let (ensemble, node) = (servers.join(","), path.to_string());
    // A dead server must not take the time of the others.
    let each = limits.connect.min(limits.total / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1));
    let read = move || {
        let _scope = spawns_core::enter(&Threads);
        let _ = answer.send(async_io::block_on(read(&ensemble, &node, each, limits.total)));
    };
    let started = thread::Builder::new().spawn(read);
    started.map_err(|e| temporary(&format!("cannot start a thread: {e}")))?;
    let end = Deadline::after(limits.total);
    while let Ok(left) = end.left() {
        match inbox.recv_timeout(left.min(LOOK)) {
            Ok(nodes) => return nodes.map_err(|e| fault(&e, path)),
            Err(RecvTimeoutError::Timeout) if is_too_large() => {
                let what = "it sends more than is read; check cluster_id and --zk-path".to_owned();
                return Err(Fault { what, again: Again::Never });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Err(temporary("no whole answer in time"))
}

async fn read(ensemble: &str, path: &str, each: Duration, session: Duration) -> Result<Vec<Node>, Error> {
    let connector = Client::connector().with_connection_timeout(each).with_session_timeout(session);
    let client = connector.with_readonly(true).with_fail_eagerly().connect(ensemble).await?;
    let names = client.list_children(path).await?;
    // All are asked before the first answer is awaited.
    let asked: Vec<_> =
        names.into_iter().map(|name| (client.get_data(&format!("{path}/{name}")), name)).collect();
    let mut nodes = Vec::with_capacity(asked.len());
    for (content, name) in asked {
        match content.await {
            Ok((content, _)) => nodes.push(Node { name, content }),
            // Its service has gone away since.
            Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(nodes)
}

/// Runs the client's tasks, a thread each: there is one.
struct Threads;

impl Spawn for Threads {
    fn spawn(&self, task: Task) {
        let run = move || {
            let _scope = spawns_core::enter(&Threads);
            async_io::block_on(Box::into_pin(task.future));
        };
        if let Err(error) = thread::Builder::new().spawn(run) {
            log::debug!("cannot start a thread: {error}");
        }
    }
}

/// Not by `getrusage`: its maximum is inherited from the program that started this one.
fn is_too_large() -> bool {
    let status = files::read(Path::new("/proc/self/status"), files::CONFIGURATION_LIMIT).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.is_some_and(|kib| kib > MEMORY_LIMIT_KIB)
}

fn temporary(what: &str) -> Fault {
    let what = format!("{what}; check cluster_id, and that the ensemble is up");
    Fault { what, again: Again::Always }
}

fn fault(error: &Error, path: &NodePath) -> Fault {
    let never = |what: String| Fault { what, again: Again::Never };
    match error {
        Error::NoNode => never(format!(
            "there is no node {path}: nobody has registered; check group_id, service_id and type, or name the node with --zk-path"
        )),
        Error::NoAuth => never(format!("{path} may not be read without a password; ask without --zk")),
        Error::NoHosts => temporary("no server answers as a ZooKeeper does"),
        Error::Timeout => temporary("no whole answer in time"),
        other => temporary(&other.to_string()),
    }
}
