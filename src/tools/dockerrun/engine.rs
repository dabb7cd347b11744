//! The container engine, by its `docker` program.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::formats::container_engine::{self, CONTAINER, Container, complaint};
use crate::machine::processes::{self, Finished, Outcome, TimeLimits};

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(20);

/// How long `docker run` may take: it fetches an image of some gigabytes where it is not there.
const RUN: Duration = Duration::from_secs(1800);

/// What to do about one that takes too long.
const NO_ANSWER: &str = "see its log, or restart it";

/// How much of a log is looked at for its last line.
const TAIL: &str = "20";

/// Every container of this host, stopped ones, too.
pub fn containers() -> Result<Vec<Container>> {
    let ids = succeeded(call(&["ps", "--all", "--quiet", "--no-trunc"], QUESTION)?)?;
    let ids = String::from_utf8_lossy(&ids.stdout);
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if ids.is_empty() { Ok(Vec::new()) } else { inspected(&ids) }
}

/// One container; `None` when it is not there any more.
pub fn container(id: &str) -> Result<Option<Container>> {
    Ok(inspected(&[id])?.pop())
}

/// Those of the containers that are still there.
fn inspected(ids: &[&str]) -> Result<Vec<Container>> {
    let finished = call(&[&["container", "inspect", "--format", CONTAINER], ids].concat(), QUESTION)?;
    // The others are described all the same.
    let is_gone = String::from_utf8_lossy(&finished.stderr).to_lowercase().contains("no such container");
    let finished = if is_gone { finished } else { succeeded(finished)? };
    container_engine::containers(&finished.stdout)
        .map_err(|e| Error::failed(format!("docker container inspect answers what is not understood: {e}")))
}

/// The images of a name, a line for each as a person reads it.
pub fn images(name: &str) -> Result<Vec<String>> {
    let columns = "{{.Repository}}:{{.Tag}}  {{.ID}}  {{.CreatedSince}}  {{.Size}}";
    let finished = succeeded(call(&["images", "--format", columns, name], QUESTION)?)?;
    Ok(String::from_utf8_lossy(&finished.stdout).lines().map(str::to_owned).collect())
}

/// The last line that a container's program wrote. `None` where there is none, or its log cannot be read.
pub fn last_line(id: &str) -> Option<String> {
    let finished = call(&["logs", "--timestamps", "--tail", TAIL, id], QUESTION).and_then(succeeded);
    let Finished { stdout, stderr, .. } = finished.map_err(|error| log::debug!("{error}")).ok()?;
    container_engine::last_line(&stdout, &stderr)
}

/// Runs `docker run`, as its whole command line says; returns what it prints, the container's id.
pub fn run(command_line: &[String]) -> Result<String> {
    let words: Vec<&str> = command_line.iter().skip(1).map(String::as_str).collect();
    let finished = succeeded(call(&words, RUN)?)?;
    Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
}

fn call(arguments: &[&str], limit: Duration) -> Result<Finished> {
    let words: Vec<_> = arguments.iter().map(Into::into).collect();
    let limits = TimeLimits { total: limit, silence: None };
    let outcome =
        processes::run("docker", &words, b"", limits).map_err(|e| e.context("the container engine"))?;
    match outcome {
        Outcome::Finished(finished) => Ok(finished),
        Outcome::GivenUp(given_up) => {
            let error = given_up.error("docker");
            Err(Error::failed(format!("the container engine: {error}; {NO_ANSWER}")))
        }
    }
}

/// Fails with the engine's complaint where a call did.
fn succeeded(finished: Finished) -> Result<Finished> {
    if finished.status.success() {
        return Ok(finished);
    }
    Err(Error::failed(format!("the container engine: {}", complaint(&finished.stderr))))
}
