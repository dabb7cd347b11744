//! The service's side of `control`.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use thrift::protocol::{
    TInputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol, TSerializable, TType,
};
use thrift::{ApplicationError, ApplicationErrorKind};

use crate::model::Model;
use crate::service_control::{
    CONTROL, Input, MODULE_VERSION, Output, ServiceControlParam, ServiceResult, protocols, read_fields,
    write_field,
};

/// What the score of the demo's table is asked for.
const QUESTION: f64 = 10.0;

/// What was loaded at the start.
pub struct Served {
    /// `moduleversion` as it was then.
    pub version: String,
    /// The code.
    pub model: Model,
}

/// Answers every client, each in a thread of its own.
pub fn run(listener: &TcpListener, served: Arc<Served>) -> Result<(), String> {
    for stream in listener.incoming() {
        let stream = stream.map_err(|e| format!("cannot accept a connection: {e}"))?;
        let served = Arc::clone(&served);
        thread::spawn(move || answer_calls(stream, &served));
    }
    Ok(())
}

/// A client that hangs up, or speaks another protocol, ends its connection and nothing else.
fn answer_calls(stream: TcpStream, served: &Served) {
    let Ok((mut input, mut output)) = protocols(stream) else { return };
    while answer_call(&mut input, &mut output, served).is_ok() {}
}

fn answer_call(input: &mut Input, output: &mut Output, served: &Served) -> thrift::Result<()> {
    let call = input.read_message_begin()?;
    let mut param = ServiceControlParam::default();
    read_fields(input, |input, id, kind| {
        match (call.name.as_str(), id, kind) {
            (CONTROL, 1, TType::Struct) => param = ServiceControlParam::read_from_in_protocol(input)?,
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    input.read_message_end()?;
    let kind = if call.name == CONTROL { TMessageType::Reply } else { TMessageType::Exception };
    output.write_message_begin(&TMessageIdentifier::new(&call.name, kind, call.sequence_number))?;
    if call.name == CONTROL {
        reply(output, &control(&param, served))?;
    } else {
        let unknown =
            ApplicationError::new(ApplicationErrorKind::UnknownMethod, format!("no method {}", call.name));
        thrift::Error::write_application_error_to_out_protocol(&unknown, output)?;
    }
    output.write_message_end()?;
    output.flush()
}

/// A reply is a struct whose field 0 is the result.
fn reply(output: &mut dyn TOutputProtocol, result: &ServiceResult) -> thrift::Result<()> {
    write_field(output, 0, TType::Struct, |output| result.write_to_out_protocol(output))?;
    output.write_field_stop()
}

fn control(param: &ServiceControlParam, served: &Served) -> ServiceResult {
    if param.cmd != MODULE_VERSION {
        let value = format!("no command {}", param.cmd);
        return ServiceResult { status: 1, value, ..ServiceResult::default() };
    }
    let said = [
        ("release".to_owned(), served.model.release().to_owned()),
        ("score".to_owned(), served.model.score(QUESTION).to_string()),
    ];
    ServiceResult {
        value: served.version.clone(),
        value_dict: BTreeMap::from(said),
        ..ServiceResult::default()
    }
}
