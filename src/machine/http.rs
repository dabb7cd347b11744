//! One HTTP call, within limits of time and memory: no proxy, no redirect that is followed, no TLS.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::Agent;

use crate::discovery::{Again, Answer, Fault, Tried};
use crate::error::io_cause;

/// The longest body that is read, in bytes: more than 10 000 instances.
pub const BODY_LIMIT: u64 = 1 << 20;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the last byte of the answer is there.
    pub total: Duration,
}

/// Asks for a URL.
pub fn get(url: &str, limits: Limits) -> Tried<Answer> {
    read(agent(limits).get(url).call())
}

/// Sends a form, already encoded.
pub fn post_form(url: &str, form: &str, limits: Limits) -> Tried<Answer> {
    read(agent(limits).post(url).content_type("application/x-www-form-urlencoded").send(form))
}

fn agent(limits: Limits) -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(limits.connect))
        .timeout_global(Some(limits.total))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("model-rollout/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Tried<Answer> {
    let mut response = response.map_err(|e| fault(&e))?;
    let location = response.headers().get("location");
    let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = response.body_mut().with_config().limit(BODY_LIMIT).read_to_vec().map_err(|e| fault(&e))?;
    Ok(Answer { status: response.status().as_u16(), location, body })
}

fn fault(error: &ureq::Error) -> Fault {
    use ureq::{Error, Timeout};
    let (what, again) = match error {
        Error::HostNotFound => ("the name of its host is not known".to_owned(), Again::Always),
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            ("no connection in time".to_owned(), Again::Always)
        }
        Error::Timeout(_) => ("no whole answer in time".to_owned(), Again::IfReading),
        Error::Io(e) => match e.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => (io_cause(e), Again::Always),
            ErrorKind::UnexpectedEof => ("the answer is cut off".to_owned(), Again::IfReading),
            _ => (io_cause(e), Again::IfReading),
        },
        Error::BodyExceedsLimit(limit) => {
            (format!("the answer has more than {} KiB", limit >> 10), Again::Never)
        }
        other => (format!("that is no HTTP answer ({other})"), Again::Never),
    };
    Fault { what: format!("{what}; check --url, and that the service discovery is up"), again }
}
