//! `control`, the call by which a service says which version it serves: Thrift, binary protocol (contract section 3, "How
//! a member's version is asked").
//!
//! ```text
//! struct ServiceControlParam { 1: string cmd, 11: map<string, string> valueDict }
//! struct ServiceResult { 1: i32 status, 11: i32 valueType, 12: string value, 13: list<list<string>> valueMatrix,
//!                        14: map<string, string> valueDict }
//! service ServiceInterface { ServiceResult control(1: ServiceControlParam param) }
//! ```
//!
//! Messages here are whole and without their frame: bytes in, bytes out. Fields that are not used are skipped, so that
//! services with a larger interface can be asked, too.

use std::collections::BTreeMap;

use thrift::protocol::{
    TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TMapIdentifier, TMessageIdentifier,
    TMessageType, TOutputProtocol, TStructIdentifier, TType,
};
use thrift::{ApplicationError, ApplicationErrorKind, Error, Result};

mod input;

use input::Input;

/// The method.
pub const CONTROL: &str = "control";
/// The command that asks for the version.
pub const MODULE_VERSION: &str = "ControlModuleVersion";

/// A command to a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceControlParam {
    /// 1: what is asked.
    pub cmd: String,
    /// 11: its arguments.
    pub value_dict: BTreeMap<String, String>,
}

/// What a service answers; its fields 11 and 13 are not used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceResult {
    /// 1: 0 is success.
    pub status: i32,
    /// 12: the version.
    pub value: String,
    /// 14: whatever else a service has to say.
    pub value_dict: BTreeMap<String, String>,
}

/// A call as a service receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: String,
    /// What the reply has to repeat.
    pub sequence_number: i32,
    /// The argument, where the method is [`CONTROL`].
    pub param: ServiceControlParam,
}

/// The message that asks for the version.
pub fn question() -> Result<Vec<u8>> {
    let command = MODULE_VERSION.to_owned();
    let param = ServiceControlParam { cmd: command.clone(), value_dict: [(command.clone(), command)].into() };
    message(CONTROL, TMessageType::Call, 1, |output| {
        write_field(output, 1, TType::Struct, |output| write_param(output, &param))?;
        output.write_field_stop()
    })
}

/// Reads what a service replied. Fails when that is no result, above all when the service refused the call.
pub fn read_reply(message: &[u8]) -> Result<ServiceResult> {
    let input = &mut Input::new(message);
    let reply = input.read_message_begin()?;
    if reply.message_type == TMessageType::Exception {
        return Err(Error::Application(Error::read_application_error_from_in_protocol(input)?));
    }
    let mut result = None;
    read_fields(input, |input, id, kind| {
        match (id, kind) {
            (0, TType::Struct) => result = Some(read_result(input)?),
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    result.ok_or_else(|| Error::from("the reply holds no result"))
}

/// What an error of this module says, with what the service said where it refused the call: thrift shows the error's kind alone.
pub fn words(error: &Error) -> String {
    let message = match error {
        Error::Application(error) => error.message.as_str(),
        Error::Protocol(error) => error.message.as_str(),
        Error::Transport(error) => error.message.as_str(),
        Error::User(_) => "",
    };
    if message.is_empty() { error.to_string() } else { format!("{error}: {message}") }
}

/// Reads a call.
pub fn read_call(message: &[u8]) -> Result<Call> {
    let input = &mut Input::new(message);
    let begin = input.read_message_begin()?;
    let mut param = ServiceControlParam::default();
    read_fields(input, |input, id, kind| {
        match (begin.name.as_str(), id, kind) {
            (CONTROL, 1, TType::Struct) => param = read_param(input)?,
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(Call { method: begin.name, sequence_number: begin.sequence_number, param })
}

/// The reply to a call: a struct whose field 0 is the result.
pub fn reply(call: &Call, result: &ServiceResult) -> Result<Vec<u8>> {
    message(&call.method, TMessageType::Reply, call.sequence_number, |output| {
        write_field(output, 0, TType::Struct, |output| write_result(output, result))?;
        output.write_field_stop()
    })
}

/// The reply to a call of a method that there is not.
pub fn refusal(call: &Call) -> Result<Vec<u8>> {
    let what = format!("no method {}", call.method);
    message(&call.method, TMessageType::Exception, call.sequence_number, |output| {
        let unknown = ApplicationError::new(ApplicationErrorKind::UnknownMethod, what);
        Error::write_application_error_to_out_protocol(&unknown, output)
    })
}

fn message(
    name: &str,
    kind: TMessageType,
    sequence_number: i32,
    write: impl FnOnce(&mut dyn TOutputProtocol) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut output = TBinaryOutputProtocol::new(&mut bytes, true);
    output.write_message_begin(&TMessageIdentifier::new(name, kind, sequence_number))?;
    write(&mut output)?;
    output.write_message_end()?;
    Ok(bytes)
}

fn read_param(input: &mut dyn TInputProtocol) -> Result<ServiceControlParam> {
    let mut param = ServiceControlParam::default();
    read_fields(input, |input, id, kind| {
        match (id, kind) {
            (1, TType::String) => param.cmd = input.read_string()?,
            (11, TType::Map) => param.value_dict = read_dict(input)?,
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(param)
}

fn write_param(output: &mut dyn TOutputProtocol, param: &ServiceControlParam) -> Result<()> {
    output.write_struct_begin(&TStructIdentifier::new("ServiceControlParam"))?;
    write_field(output, 1, TType::String, |o| o.write_string(&param.cmd))?;
    write_field(output, 11, TType::Map, |o| write_dict(o, &param.value_dict))?;
    output.write_field_stop()?;
    output.write_struct_end()
}

fn read_result(input: &mut dyn TInputProtocol) -> Result<ServiceResult> {
    let mut result = ServiceResult::default();
    read_fields(input, |input, id, kind| {
        match (id, kind) {
            (1, TType::I32) => result.status = input.read_i32()?,
            (12, TType::String) => result.value = input.read_string()?,
            (14, TType::Map) => result.value_dict = read_dict(input)?,
            _ => input.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(result)
}

fn write_result(output: &mut dyn TOutputProtocol, result: &ServiceResult) -> Result<()> {
    output.write_struct_begin(&TStructIdentifier::new("ServiceResult"))?;
    write_field(output, 1, TType::I32, |o| o.write_i32(result.status))?;
    write_field(output, 12, TType::String, |o| o.write_string(&result.value))?;
    write_field(output, 14, TType::Map, |o| write_dict(o, &result.value_dict))?;
    output.write_field_stop()?;
    output.write_struct_end()
}

/// Reads the fields of a struct. `read` takes exactly one value off the wire, or skips it.
fn read_fields(
    input: &mut dyn TInputProtocol,
    mut read: impl FnMut(&mut dyn TInputProtocol, i16, TType) -> Result<()>,
) -> Result<()> {
    input.read_struct_begin()?;
    loop {
        let field = input.read_field_begin()?;
        if field.field_type == TType::Stop {
            return input.read_struct_end();
        }
        read(input, field.id.unwrap_or_default(), field.field_type)?;
        input.read_field_end()?;
    }
}

fn write_field(
    output: &mut dyn TOutputProtocol,
    id: i16,
    kind: TType,
    write: impl FnOnce(&mut dyn TOutputProtocol) -> Result<()>,
) -> Result<()> {
    output.write_field_begin(&TFieldIdentifier::new("", kind, id))?;
    write(output)?;
    output.write_field_end()
}

fn read_dict(input: &mut dyn TInputProtocol) -> Result<BTreeMap<String, String>> {
    let size = input.read_map_begin()?.size;
    let mut dict = BTreeMap::new();
    for _ in 0..size {
        let key = input.read_string()?;
        dict.insert(key, input.read_string()?);
    }
    input.read_map_end()?;
    Ok(dict)
}

fn write_dict(output: &mut dyn TOutputProtocol, dict: &BTreeMap<String, String>) -> Result<()> {
    let size = i32::try_from(dict.len()).unwrap_or(i32::MAX);
    output.write_map_begin(&TMapIdentifier::new(TType::String, TType::String, size))?;
    for (key, value) in dict {
        output.write_string(key)?;
        output.write_string(value)?;
    }
    output.write_map_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "20180413192258";

    fn text(value: &str) -> Vec<u8> {
        [&u32::try_from(value.len()).unwrap().to_be_bytes()[..], value.as_bytes()].concat()
    }

    /// A reply's header in the strict form.
    fn header(kind: u8) -> Vec<u8> {
        [&[0x80, 1, 0, kind][..], &text("control"), &[0, 0, 0, 1]].concat()
    }

    /// A reply with every field of the interface, written down from service_control.thrift.
    fn full_reply(value: &[u8]) -> Vec<u8> {
        let value = [&u32::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat();
        let matrix = [&[15, 0, 0, 0, 1, 11, 0, 0, 0, 2][..], &text("a"), &text("b")].concat();
        let dict = [&[11, 11, 0, 0, 0, 1][..], &text("release"), &text("r1")].concat();
        [
            &header(2)[..],
            &[12, 0, 0],
            &[8, 0, 1, 0, 0, 0, 0],
            &[8, 0, 11, 0, 0, 0, 9],
            &[11, 0, 12],
            &value,
            &[15, 0, 13],
            &matrix,
            &[13, 0, 14],
            &dict,
            &[0, 0],
        ]
        .concat()
    }

    #[test]
    fn the_question_is_byte_for_byte_what_the_interface_says() {
        let expected = [
            &[0x80, 1, 0, 1][..],
            &text("control"),
            &[0, 0, 0, 1],
            &[12, 0, 1],
            &[11, 0, 1],
            &text(MODULE_VERSION),
            &[13, 0, 11, 11, 11, 0, 0, 0, 1],
            &text(MODULE_VERSION),
            &text(MODULE_VERSION),
            &[0, 0],
        ]
        .concat();
        assert_eq!(question().unwrap(), expected);
        let call = read_call(&expected).unwrap();
        assert_eq!((call.method.as_str(), call.param.cmd.as_str()), (CONTROL, MODULE_VERSION));
    }

    #[test]
    fn a_reply_with_every_field_of_the_interface_is_read() {
        let result = read_reply(&full_reply(VERSION.as_bytes())).unwrap();
        assert_eq!((result.status, result.value.as_str()), (0, VERSION));
        assert_eq!(result.value_dict["release"], "r1");
        assert_eq!(read_reply(&full_reply(&[0xB0, 0xE6])).unwrap().value, "\u{FFFD}\u{FFFD}", "GBK");
    }

    #[test]
    fn what_a_service_writes_is_read_back_and_a_refusal_is_an_error() {
        let call = read_call(&question().unwrap()).unwrap();
        let result = ServiceResult { value: VERSION.to_owned(), ..ServiceResult::default() };
        assert_eq!(read_reply(&reply(&call, &result).unwrap()).unwrap(), result);
        let refused = read_reply(&refusal(&call).unwrap()).unwrap_err();
        assert_eq!(words(&refused), "unknown service method: no method control");
        assert_eq!(words(&read_reply(b"").unwrap_err()), "end of file: failed to fill whole buffer");
    }

    #[test]
    fn no_message_that_is_cut_or_lies_about_a_length_is_more_than_an_error() {
        let whole = full_reply(VERSION.as_bytes());
        for length in 0..whole.len() {
            assert!(read_reply(&whole[..length]).is_err(), "{length}");
        }
        // Each four bytes in turn as a length of 2 GiB, and as a negative one.
        for at in 0..whole.len() - 4 {
            for length in [[0x7F, 0xFF, 0xFF, 0xFF], [0xFF; 4], [0x80, 0, 0, 0]] {
                let mut lying = whole.clone();
                lying[at..at + 4].copy_from_slice(&length);
                let _ = read_reply(&lying);
                let _ = read_call(&lying);
            }
        }
        // Members are asked by threads with small stacks.
        let deep = [&header(2)[..], &[12, 0, 0], &[12, 0, 9].repeat(10_000)].concat();
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        assert!(thread.spawn(move || read_reply(&deep).is_err()).unwrap().join().unwrap());
        assert!(read_reply(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }
}
