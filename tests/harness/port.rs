//! A port on which nobody listens yet, and which nobody else gets meanwhile.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};

/// A port of every address of this host, bound.
pub struct Reserved {
    socket: OwnedFd,
    /// Its number.
    pub port: u16,
}

impl Reserved {
    /// A free port.
    pub fn new() -> Reserved {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, quiet_port()));
        bind(socket.as_raw_fd(), &any).expect("a free port");
        let bound: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
        Reserved { socket, port: bound.port() }
    }

    /// From now on connections are accepted.
    pub fn listen(self) -> TcpListener {
        listen(&self.socket, Backlog::MAXCONN).unwrap();
        TcpListener::from(self.socket)
    }
}

/// A port that nobody listens on, below those that the kernel gives to connections and to whoever asks for any; given once.
pub fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16 % 1000 * 10;
    loop {
        let port = 21_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
