//! A port on which nobody listens yet, and which nobody else gets meanwhile.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

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
        let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
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
