//! Asks a service over its RPC interface which version it serves.

use std::net::SocketAddr;
use std::time::Duration;

use model_rollout::formats::service_control;
use model_rollout::machine::clock::Deadline;
use model_rollout::machine::frames;
use model_rollout::names::{Address, Port};

/// A service on loopback answers at once, or not at all.
pub const LIMIT: Duration = Duration::from_secs(2);

/// What a service says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The version that it loaded when it started.
    pub version: String,
    /// What its library says which release it is.
    pub release: String,
    /// What its library makes of the number 10.
    pub score: String,
}

/// Asks. A service of another make has no release and no score to tell: "-".
pub fn version(service: SocketAddr, limit: Duration) -> Result<Answer, String> {
    let host = Address::parse(service.ip().to_string().as_bytes()).map_err(|e| e.to_string())?;
    let port = Port::parse(service.port().to_string().as_bytes()).map_err(|e| e.to_string())?;
    let unclear = |e| format!("{service} does not say its version: {e}");
    let question = service_control::question().map_err(unclear)?;
    let reply = frames::exchange(&host, port, &question, Deadline::after(limit))
        .map_err(|e| format!("{e}; see that its service runs"))?;
    let result = service_control::read_reply(&reply).map_err(unclear)?;
    if result.status != 0 {
        return Err(format!("{service} answers status {}: {}", result.status, result.value));
    }
    let said = |key: &str| result.value_dict.get(key).cloned().unwrap_or("-".to_owned());
    Ok(Answer { release: said("release"), score: said("score"), version: result.value })
}
