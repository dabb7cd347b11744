//! Asks a service over its RPC interface which version it serves.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thrift::protocol::{
    TInputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol, TSerializable, TType,
};

use crate::service_control::{
    CONTROL, MODULE_VERSION, ServiceControlParam, ServiceResult, protocols, read_fields, write_field,
};

/// A service on loopback answers at once, or not at all.
const LIMIT: Duration = Duration::from_secs(2);

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
pub fn version(service: SocketAddr) -> Result<Answer, String> {
    let stream = TcpStream::connect_timeout(&service, LIMIT)
        .map_err(|e| format!("{service} does not answer: {e}; see that its service runs"))?;
    let result = call(stream).map_err(|e| format!("{service} does not say its version: {e}"))?;
    if result.status != 0 {
        return Err(format!("{service} answers status {}: {}", result.status, result.value));
    }
    let said = |key: &str| result.value_dict.get(key).cloned().unwrap_or("-".to_owned());
    Ok(Answer { release: said("release"), score: said("score"), version: result.value })
}

fn call(stream: TcpStream) -> thrift::Result<ServiceResult> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let (mut input, mut output) = protocols(stream)?;

    let command = MODULE_VERSION.to_owned();
    let param = ServiceControlParam { cmd: command.clone(), value_dict: [(command.clone(), command)].into() };
    output.write_message_begin(&TMessageIdentifier::new(CONTROL, TMessageType::Call, 1))?;
    write_field(&mut output, 1, TType::Struct, |output| param.write_to_out_protocol(output))?;
    output.write_field_stop()?;
    output.write_message_end()?;
    output.flush()?;

    let reply = input.read_message_begin()?;
    if reply.message_type == TMessageType::Exception {
        let error = thrift::Error::read_application_error_from_in_protocol(&mut input)?;
        return Err(thrift::Error::Application(error));
    }
    let mut result = None;
    read_fields(&mut input, |input, id, kind| {
        match (id, kind) {
            (0, TType::Struct) => result = Some(ServiceResult::read_from_in_protocol(input)?),
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    input.read_message_end()?;
    result.ok_or_else(|| thrift::Error::from("the reply holds no result"))
}
