//! A member's service, as far as its port is concerned.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::machine::clock;
use crate::names::{Address, Port};

/// How long one attempt may take, and how long to wait between two.
const ATTEMPT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// Whether somebody accepts connections on a port within a time limit: asked again until then.
pub fn answers_within(host: &Address, port: Port, limit: Duration) -> bool {
    let asked = Instant::now();
    loop {
        let left = limit.saturating_sub(asked.elapsed());
        if addresses(host, port).iter().any(|address| accepts(address, left.min(ATTEMPT))) {
            return true;
        }
        if asked.elapsed() + PAUSE >= limit {
            return false;
        }
        clock::pause(PAUSE);
    }
}

/// Whether somebody accepts connections on a port now.
pub fn answers(host: &Address, port: Port) -> bool {
    addresses(host, port).iter().any(|address| accepts(address, ATTEMPT))
}

/// Whether nobody accepts connections on a port any more within a time limit: asked again until then.
pub fn falls_silent_within(host: &Address, port: Port, limit: Duration) -> bool {
    let asked = Instant::now();
    while answers(host, port) {
        if asked.elapsed() + PAUSE >= limit {
            return false;
        }
        clock::pause(PAUSE);
    }
    true
}

fn addresses(host: &Address, port: Port) -> Vec<SocketAddr> {
    (host.as_str(), port.number()).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

fn accepts(address: &SocketAddr, limit: Duration) -> bool {
    !limit.is_zero() && TcpStream::connect_timeout(address, limit).is_ok()
}
