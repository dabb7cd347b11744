//! Asking a service which version it serves, by the call that samples show (contract section 3).

use crate::error::{Error, Result};
use crate::formats::service_control;
use crate::machine::clock::Deadline;
use crate::machine::frames;
use crate::names::{Address, Port};

/// The question, ready to be sent to any number of services.
pub fn question() -> Result<Vec<u8>> {
    service_control::question()
        .map_err(|e| Error::failed(format!("the question for members cannot be written: {e}")))
}

/// What a service says that it serves. Fails when nobody answers until the deadline, and when a service refuses to say.
pub fn version_served(host: &Address, port: Port, question: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
    let reply = frames::exchange(host, port, question, deadline)?;
    let result = service_control::read_reply(&reply).map_err(|e| {
        Error::failed(format!("{host}:{port} does not say its version: {}", service_control::words(&e)))
    })?;
    match result.status {
        0 => Ok(result.value.into_bytes()),
        status => Err(Error::failed(format!("{host}:{port} answers status {status}"))),
    }
}
