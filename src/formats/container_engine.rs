//! What the `docker` program answers: containers, the last line of a log, why something failed.

use serde::Deserialize;

use crate::names::Port;

/// The `--format` of `docker container inspect` whose answer [`containers`] reads: a line for each container.
pub const CONTAINER: &str = concat!(
    r#"{"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},"env":{{json .Config.Env}},"#,
    r#""status":{{json .State.Status}},"exit_code":{{json .State.ExitCode}}}"#
);

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Which one; the engine's own name for it.
    pub id: String,
    name: String,
    /// The image that it was started from, as it was written then.
    pub image: String,
    env: Option<Vec<String>>,
    /// `created`, `running`, `paused`, `restarting`, `exited`, ...
    pub status: String,
    /// How its program ended, where it has.
    pub exit_code: i64,
}

impl Container {
    /// What people call it.
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// The port that its service was given as `ENV_SERVICE_PORT`.
    pub fn port(&self) -> Option<Port> {
        let variables = self.env.iter().flatten();
        let given = variables.rev().find_map(|variable| variable.strip_prefix("ENV_SERVICE_PORT="))?;
        Port::parse(given.as_bytes()).ok()
    }

    /// Whether its program runs, or will again by itself or when it is told to: its port is not free.
    pub fn holds_its_port(&self) -> bool {
        matches!(self.status.as_str(), "running" | "paused" | "restarting")
    }

    /// Whether its program runs now.
    pub fn is_up(&self) -> bool {
        self.status == "running"
    }

    /// Whether its program has come to its end.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "exited" | "dead" | "removing" | "stopped")
    }

    /// The version of the image, if it was started from one of this name (registry included).
    pub fn tag_of(&self, image: &str) -> Option<&str> {
        match self.image.strip_prefix(image)? {
            "" => Some("latest"),
            rest => rest.strip_prefix([':', '@']),
        }
    }
}

/// Reads what `docker container inspect --format` [`CONTAINER`] prints. The error says what is wrong with it.
pub fn containers(output: &[u8]) -> Result<Vec<Container>, String> {
    let lines = output.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|e| e.to_string())).collect()
}

/// The last line that says something, of what `docker logs --timestamps` prints: the service's standard output comes to
/// standard output and its standard error to standard error, each line behind its instant.
pub fn last_line(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let lines = [stdout, stderr].into_iter().flat_map(|text| text.split(|b| *b == b'\n'));
    let stamped = lines.filter_map(|line| {
        let blank = line.iter().position(|b| *b == b' ')?;
        let (instant, text) = line.split_at(blank);
        let text = text.trim_ascii();
        (!text.is_empty()).then_some((instant, text))
    });
    let (_, text) = stamped.max_by_key(|(instant, _)| *instant)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Why a call failed, of what it wrote to standard error: the last line but the hint at `--help`, and what to do about it.
pub fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let says = |line: &&str| !line.is_empty() && !line.starts_with("See '") && !line.starts_with("Run '");
    let said = text.lines().map(str::trim).rfind(says);
    let said = said.unwrap_or("no reason given");
    let said = said.strip_prefix("docker: ").unwrap_or(said);
    let said = said.strip_prefix("Error response from daemon: ").unwrap_or(said).trim_end_matches('.');
    let remedy = if said.contains("permission denied") && said.contains("connect") {
        "run it as root, or as a member of the group docker"
    } else if said.contains("Cannot connect to the") {
        "start the engine (systemctl start docker)"
    } else if text.contains("Unable to find image") {
        "the image is not on this host and could not be fetched: build it here (docker build), or correct VERSION or DOCKER_NAME"
    } else if said.contains("invalid reference format") {
        "correct VERSION, DOCKER_NAME or the prefix"
    } else {
        "see the log of the container engine"
    };
    format!("{said}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_image_and_its_port() {
        let line = r#"{"id":"7b08","name":"/happy_gates","image":"r/p/mblog:v1","env":["A=\nENV_SERVICE_PORT=1","ENV_SERVICE_PORT=17019"],"status":"running","exit_code":0}"#;
        let found = containers(format!("{line}\n{}\n", line.replace("happy", "sad")).as_bytes()).unwrap();
        let [container, other] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((container.name(), other.name()), ("happy_gates", "sad_gates"));
        assert_eq!(container.port().map(Port::number), Some(17019));
        assert_eq!(["r/p/mblog", "r/p/mb", "p/mblog"].map(|i| container.tag_of(i)), [Some("v1"), None, None]);
        assert!(containers(br#"{"id":"7b08","name":null}"#).is_err());
        let bare = containers(
            line.replace(r#"["A=\nENV_SERVICE_PORT=1","ENV_SERVICE_PORT=17019"]"#, "null").as_bytes(),
        );
        assert_eq!(bare.unwrap()[0].port(), None);
    }

    #[test]
    fn the_last_line_of_a_log_is_the_latest_that_says_something() {
        let (out, err) = (
            b"2026-01-01T00:00:02Z out\n2026-01-01T00:00:04Z \n".as_slice(),
            b"2026-01-01T00:00:03Z no such\tmodel\n".as_slice(),
        );
        assert_eq!(last_line(out, err).as_deref(), Some("no such\tmodel"));
        assert_eq!(last_line(out, b"").as_deref(), Some("out"));
        assert_eq!(last_line(b"\n", b""), None);
    }

    #[test]
    fn a_complaint_is_the_engines_word_and_what_to_do() {
        let said = |stderr: &str| complaint(stderr.as_bytes());
        let pull = "Unable to find image 'r/x:v1' locally\ndocker: Error response from daemon: no such host.\nSee 'docker run --help'.\n";
        assert!(said(pull).starts_with("no such host; the image is not on this host"), "{}", said(pull));
        let dead = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n";
        assert!(
            said(dead).ends_with("running?; start the engine (systemctl start docker)"),
            "{}",
            said(dead)
        );
        assert!(said("").starts_with("no reason given; "));
    }
}
