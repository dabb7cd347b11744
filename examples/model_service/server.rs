//! The service's side of `control`.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use model_rollout::formats::service_control::{
    self, CONTROL, Call, MODULE_VERSION, ServiceControlParam, ServiceResult,
};
use model_rollout::machine::frames::{receive_frame, send_frame};

use crate::model::Model;

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
fn answer_calls(mut stream: TcpStream, served: &Served) {
    while let Ok(message) = receive_frame(&mut stream) {
        let Ok(reply) = service_control::read_call(&message).and_then(|call| answer(&call, served)) else {
            return;
        };
        if send_frame(&mut stream, &reply).is_err() {
            return;
        }
    }
}

fn answer(call: &Call, served: &Served) -> thrift::Result<Vec<u8>> {
    match call.method.as_str() {
        CONTROL => service_control::reply(call, &control(&call.param, served)),
        _ => service_control::refusal(call),
    }
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
