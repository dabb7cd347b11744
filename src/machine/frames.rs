//! A message and its answer over TCP, each in a frame: its length in four bytes, then its bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use crate::error::{Error, Result};
use crate::machine::clock::Deadline;
use crate::names::{Address, Port};

/// The longest frame that is read, in bytes: an answer has about 100.
pub const FRAME_LIMIT: usize = 64 << 10;

/// Sends one frame to a port and receives one, all within a time limit (a name that resolves slowly may take longer).
///
/// Fails when nobody accepts the connection, or no whole frame of at most [`FRAME_LIMIT`] bytes arrives in time.
pub fn exchange(host: &Address, port: Port, message: &[u8], deadline: Deadline) -> Result<Vec<u8>> {
    let failed = |what: &str, e: &io::Error| Error::failed(format!("{host}:{port} {what}: {e}"));
    let stream = connect(host, port, deadline).map_err(|e| failed("does not accept a connection", &e))?;
    let mut timed = Timed { stream: &stream, deadline };
    send_frame(&mut timed, message)
        .and_then(|()| receive_frame(&mut timed))
        .map_err(|e| failed("does not answer", &e))
}

fn connect(host: &Address, port: Port, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host.as_str(), port.number()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, deadline.left()?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection of which every read and write ends at the deadline, also where the other side sends a byte now and then.
struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Deadline,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        let mut stream = self.stream;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a frame: its length in four bytes, the highest first, and the message.
pub fn send_frame(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(ErrorKind::InvalidInput, "the message is too long for a frame");
    let length = u32::try_from(message.len()).map_err(too_long)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat())
}

/// Reads a frame. Nothing is allocated for one that says it is longer than [`FRAME_LIMIT`]: that is an error.
pub fn receive_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if length <= FRAME_LIMIT => {
            let mut message = vec![0; length];
            stream.read_exact(&mut message)?;
            Ok(message)
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, "that is no frame, or a longer one than is read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_one_that_is_cut_or_too_long_is_an_error() {
        let mut bytes = Vec::new();
        send_frame(&mut bytes, b"hello").unwrap();
        assert_eq!(bytes, b"\0\0\0\x05hello");
        assert_eq!(receive_frame(&mut &bytes[..]).unwrap(), b"hello");
        assert!(receive_frame(&mut &bytes[..8]).is_err());
        assert!(receive_frame(&mut &b"HTTP/1.1 400 Bad Request"[..]).is_err());
        let largest = [&[0, 1, 0, 0][..], &[7; FRAME_LIMIT]].concat();
        assert_eq!(receive_frame(&mut &largest[..]).unwrap().len(), FRAME_LIMIT);
        assert!(receive_frame(&mut &[&[0, 1, 0, 1][..], &[7; FRAME_LIMIT + 1]].concat()[..]).is_err());
    }
}
