//! thrift's reader over a message that is whole in memory, made safe against what a stranger on the port may send: it would
//! allocate what a length says before it looks whether as many bytes follow, and end the process where a length is negative.

use thrift::protocol::{
    TBinaryInputProtocol, TFieldIdentifier, TInputProtocol, TListIdentifier, TMapIdentifier,
    TMessageIdentifier, TSetIdentifier, TStructIdentifier, TType,
};
use thrift::{Error, ProtocolError, ProtocolErrorKind, Result};

/// How deep a field that is skipped may be nested; thrift's own 64 need more stack than a thread that asks has.
const DEPTH: i8 = 16;

/// Reads one message. Of the old or the strict binary form; text that is not UTF-8 is no reason not to read on.
pub struct Input<'a>(TBinaryInputProtocol<&'a [u8]>);

impl<'a> Input<'a> {
    /// A message without its frame.
    pub fn new(message: &'a [u8]) -> Input<'a> {
        Input(TBinaryInputProtocol::new(message, false))
    }

    /// Holds the length that stands `at` bytes ahead against what follows it. A length that is cut is left to the reader.
    fn check_length(&self, at: usize) -> Result<()> {
        let Some((length, rest)) = self.0.transport.get(at..).and_then(|rest| rest.split_first_chunk())
        else {
            return Ok(());
        };
        if usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| length <= rest.len()) {
            return Ok(());
        }
        let message = "a length is larger than the message";
        Err(Error::Protocol(ProtocolError::new(ProtocolErrorKind::SizeLimit, message)))
    }
}

/// Hands calls on as they are.
macro_rules! handed_on {
    ($($name:ident -> $of:ty),+ $(,)?) => {
        $(fn $name(&mut self) -> Result<$of> {
            self.0.$name()
        })+
    };
}

impl TInputProtocol for Input<'_> {
    fn read_message_begin(&mut self) -> Result<TMessageIdentifier> {
        // The strict form has its version first, and a version has the highest bit.
        let is_strict = self.0.transport.first().is_some_and(|byte| byte & 0x80 != 0);
        self.check_length(if is_strict { 4 } else { 0 })?;
        self.0.read_message_begin()
    }

    fn read_bytes(&mut self) -> Result<Vec<u8>> {
        self.check_length(0)?;
        self.0.read_bytes()
    }

    fn read_string(&mut self) -> Result<String> {
        self.read_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn skip(&mut self, kind: TType) -> Result<()> {
        self.skip_till_depth(kind, DEPTH)
    }

    handed_on! {
        read_message_end -> (),
        read_struct_begin -> Option<TStructIdentifier>,
        read_struct_end -> (),
        read_field_begin -> TFieldIdentifier,
        read_field_end -> (),
        read_bool -> bool,
        read_i8 -> i8,
        read_i16 -> i16,
        read_i32 -> i32,
        read_i64 -> i64,
        read_double -> f64,
        read_list_begin -> TListIdentifier,
        read_list_end -> (),
        read_set_begin -> TSetIdentifier,
        read_set_end -> (),
        read_map_begin -> TMapIdentifier,
        read_map_end -> (),
        read_byte -> u8,
    }
}
