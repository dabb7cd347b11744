//! The network: what answers on a port, and what an rsync daemon says to one of this host's addresses.
//!
//! No rsync program is needed: the opening of its protocol is a few lines of text. Every conversation has a time limit.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
    sockopt::SendTimeout,
};
use nix::sys::time::TimeVal;

use crate::daemon_answer::{Answer, Greeting};

/// How much of a conversation is read: a greeting that the site wrote may have some kilobytes.
const LONGEST_CONVERSATION: usize = 64 << 10;

/// What answers on a port, within a time limit.
pub fn greeting(at: SocketAddr, limit: Duration) -> Greeting {
    let ends = Instant::now() + limit;
    match connected(None, at, limit) {
        Ok(stream) => {
            Conversation { stream, ends, read: 0 }.line().map_or(Greeting::NotRsync, |l| Greeting::read(&l))
        }
        Err(error) => Greeting::Nothing(words(error)),
    }
}

/// Connects from an address to a daemon and asks for a module. Reads nothing of the module, and changes nothing.
/// `None` when the address is not one of this host's.
pub fn ask(from: IpAddr, at: SocketAddr, module: &[u8], limit: Duration) -> Option<Answer> {
    let ends = Instant::now() + limit;
    let stream = match connected(Some(from), at, limit) {
        Ok(stream) => stream,
        Err(Errno::EADDRNOTAVAIL) => return None,
        Err(error) => return Some(Answer::Unclear(words(error))),
    };
    let mut conversation = Conversation { stream, ends, read: 0 };
    let answer = conversation.ask(module);
    Some(answer.unwrap_or_else(|| Answer::Unclear("it did not answer as an rsync daemon does".to_owned())))
}

/// The first address of a host name, within a time limit.
pub fn resolve(host: &str, limit: Duration) -> Option<IpAddr> {
    if let Ok(address) = host.parse() {
        return Some(address);
    }
    let host = (host.to_owned(), 0);
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        let first = host.to_socket_addrs().ok().and_then(|mut all| all.next());
        let _ = found.send(first.map(|address| address.ip()));
    });
    address.recv_timeout(limit).ok().flatten()
}

struct Conversation {
    stream: TcpStream,
    ends: Instant,
    read: usize,
}

impl Conversation {
    /// The opening of protocol 29, the last one in which a client's part is the same whatever the daemon answers.
    fn ask(&mut self, module: &[u8]) -> Option<Answer> {
        if Greeting::read(&self.line()?) != Greeting::Rsync {
            return None;
        }
        self.send(&[b"@RSYNCD: 29.0\n", module, b"\n"].concat())?;
        let mut line = self.line()?;
        let answer = loop {
            if let Some(answer) = Answer::read(&line) {
                break answer;
            }
            line = self.line()?;
        };
        if line.starts_with(b"@RSYNCD: OK") {
            // Asks for the module's directory without its content, to the end: no filter rules, three phases and the
            // good-bye. A connection that is only closed would be an error in the daemon's log.
            let _ = self.send(&[b"--server\n--sender\n.\n", module, b"/\n\n"].concat());
            let _ = self.send(&[[0; 4], [0xff; 4], [0xff; 4], [0xff; 4], [0xff; 4]].concat());
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.bytes(&mut [0; 512]).is_some() {}
        Some(answer)
    }

    fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.set_write_timeout(Some(self.remaining()?)).ok()?;
        self.stream.write_all(bytes).ok()
    }

    /// The next line with its end; `None` when there is none in time.
    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            self.bytes(&mut byte)?;
            line.push(byte[0]);
        }
        Some(line)
    }

    /// Reads some bytes; `None` at the end of the conversation, of the time or of the patience.
    fn bytes(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.remaining()?)).ok()?;
            match self.stream.read(buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    self.read += count;
                    return (self.read <= LONGEST_CONVERSATION).then_some(count);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    fn remaining(&self) -> Option<Duration> {
        self.ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// A connection, from a given address if it is given.
fn connected(from: Option<IpAddr>, at: SocketAddr, limit: Duration) -> Result<TcpStream, Errno> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(from) = from {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    }
    // The time limit of a connect, too.
    let milliseconds = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let limit = TimeVal::new(milliseconds / 1000, milliseconds % 1000 * 1000);
    setsockopt(&socket, SendTimeout, &limit)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    Ok(TcpStream::from(socket))
}

fn words(error: Errno) -> String {
    match error {
        // What a connect with a time limit ends with.
        Errno::EINPROGRESS => "no connection in time".to_owned(),
        error => error.desc().to_lowercase(),
    }
}
