//! The words of `control`, the call by which a model service says which version it serves (service_control.thrift).
//!
//! Written by hand against the interface's field numbers, because it is small. Fields that are not known here are
//! skipped, so that services with a larger interface can be asked too.

use std::collections::BTreeMap;
use std::net::TcpStream;

use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier,
    TMapIdentifier, TOutputProtocol, TSerializable, TStructIdentifier, TType,
};
use thrift::transport::{TFramedReadTransport, TFramedWriteTransport};

/// The method.
pub const CONTROL: &str = "control";
/// The command that asks for the version.
pub const MODULE_VERSION: &str = "ControlModuleVersion";

/// The two directions of a connection: binary protocol, framed transport.
pub type Input = TBinaryInputProtocol<TFramedReadTransport<TcpStream>>;
/// See [`Input`].
pub type Output = TBinaryOutputProtocol<TFramedWriteTransport<TcpStream>>;

/// Speaks the services' protocol on a connection. What comes in may be of the old or the strict binary form.
pub fn protocols(stream: TcpStream) -> std::io::Result<(Input, Output)> {
    let input = TBinaryInputProtocol::new(TFramedReadTransport::new(stream.try_clone()?), false);
    Ok((input, TBinaryOutputProtocol::new(TFramedWriteTransport::new(stream), true)))
}

/// A command to a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServiceControlParam {
    /// 1: what is asked.
    pub cmd: String,
    /// 11: its arguments.
    pub value_dict: BTreeMap<String, String>,
}

/// What a service answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServiceResult {
    /// 1: 0 is success.
    pub status: i32,
    /// 11: not used here.
    pub value_type: i32,
    /// 12: the version.
    pub value: String,
    /// 13: not used here.
    pub value_matrix: Vec<Vec<String>>,
    /// 14: the demo's service adds what its library answered.
    pub value_dict: BTreeMap<String, String>,
}

impl TSerializable for ServiceControlParam {
    fn read_from_in_protocol(input: &mut dyn TInputProtocol) -> thrift::Result<Self> {
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

    fn write_to_out_protocol(&self, output: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        output.write_struct_begin(&TStructIdentifier::new("ServiceControlParam"))?;
        write_field(output, 1, TType::String, |o| o.write_string(&self.cmd))?;
        write_field(output, 11, TType::Map, |o| write_dict(o, &self.value_dict))?;
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

impl TSerializable for ServiceResult {
    fn read_from_in_protocol(input: &mut dyn TInputProtocol) -> thrift::Result<Self> {
        let mut result = ServiceResult::default();
        read_fields(input, |input, id, kind| {
            match (id, kind) {
                (1, TType::I32) => result.status = input.read_i32()?,
                (11, TType::I32) => result.value_type = input.read_i32()?,
                (12, TType::String) => result.value = input.read_string()?,
                (13, TType::List) => {
                    result.value_matrix = read_list(input, |row| read_list(row, read_string))?
                }
                (14, TType::Map) => result.value_dict = read_dict(input)?,
                _ => input.skip(kind)?,
            }
            Ok(())
        })?;
        Ok(result)
    }

    fn write_to_out_protocol(&self, output: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        output.write_struct_begin(&TStructIdentifier::new("ServiceResult"))?;
        write_field(output, 1, TType::I32, |o| o.write_i32(self.status))?;
        write_field(output, 11, TType::I32, |o| o.write_i32(self.value_type))?;
        write_field(output, 12, TType::String, |o| o.write_string(&self.value))?;
        write_field(output, 13, TType::List, |o| {
            write_list(o, TType::List, &self.value_matrix, |o, row| {
                write_list(o, TType::String, row, |o, text| o.write_string(text))
            })
        })?;
        write_field(output, 14, TType::Map, |o| write_dict(o, &self.value_dict))?;
        output.write_field_stop()?;
        output.write_struct_end()
    }
}

/// Reads the fields of a struct. `read` takes exactly one value off the wire, or skips it.
pub fn read_fields(
    input: &mut dyn TInputProtocol,
    mut read: impl FnMut(&mut dyn TInputProtocol, i16, TType) -> thrift::Result<()>,
) -> thrift::Result<()> {
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

/// Writes one field of a struct.
pub fn write_field(
    output: &mut dyn TOutputProtocol,
    id: i16,
    kind: TType,
    write: impl FnOnce(&mut dyn TOutputProtocol) -> thrift::Result<()>,
) -> thrift::Result<()> {
    output.write_field_begin(&TFieldIdentifier::new("", kind, id))?;
    write(output)?;
    output.write_field_end()
}

fn read_string(input: &mut dyn TInputProtocol) -> thrift::Result<String> {
    input.read_string()
}

fn read_list<T>(
    input: &mut dyn TInputProtocol,
    read: impl Fn(&mut dyn TInputProtocol) -> thrift::Result<T>,
) -> thrift::Result<Vec<T>> {
    let size = input.read_list_begin()?.size;
    let values = (0..size).map(|_| read(input)).collect::<thrift::Result<_>>()?;
    input.read_list_end()?;
    Ok(values)
}

fn write_list<T>(
    output: &mut dyn TOutputProtocol,
    kind: TType,
    values: &[T],
    write: impl Fn(&mut dyn TOutputProtocol, &T) -> thrift::Result<()>,
) -> thrift::Result<()> {
    output.write_list_begin(&TListIdentifier::new(kind, size_of(values.len())))?;
    for value in values {
        write(output, value)?;
    }
    output.write_list_end()
}

fn read_dict(input: &mut dyn TInputProtocol) -> thrift::Result<BTreeMap<String, String>> {
    let size = input.read_map_begin()?.size;
    let mut dict = BTreeMap::new();
    for _ in 0..size {
        let key = input.read_string()?;
        dict.insert(key, input.read_string()?);
    }
    input.read_map_end()?;
    Ok(dict)
}

fn write_dict(output: &mut dyn TOutputProtocol, dict: &BTreeMap<String, String>) -> thrift::Result<()> {
    output.write_map_begin(&TMapIdentifier::new(TType::String, TType::String, size_of(dict.len())))?;
    for (key, value) in dict {
        output.write_string(key)?;
        output.write_string(value)?;
    }
    output.write_map_end()
}

/// A frame is smaller than 16 MB: no count comes near the limit.
fn size_of(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
