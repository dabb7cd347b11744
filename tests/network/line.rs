//! A line to a daemon that can be cut, held, or slow: a relay of bytes on loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What happens to the bytes of a line, counted in both directions together, over all of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection in use is cut after so many bytes; those that are made later are sound.
    CutOnceAfter(u64),
    /// After so many bytes every connection is cut, again and again, as soon as it is made.
    CutAlwaysAfter(u64),
    /// After so many bytes no byte passes any more, and no connection ends.
    HeldAfter(u64),
}

/// A line; dropping it cuts it.
pub struct Line {
    /// Where it is entered.
    pub port: u16,
    state: Arc<State>,
}

struct State {
    daemon: u16,
    fault: Fault,
    /// How long each chunk takes.
    delay: Duration,
    passed: Mutex<Passed>,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Passed {
    bytes: u64,
    has_been_cut: bool,
    connected: Vec<Instant>,
}

/// What comes after a chunk.
enum Then {
    GoOn,
    Cut,
    Hold,
}

/// A chunk's size, bytes.
const CHUNK: usize = 4096;

impl Line {
    /// A line to a daemon's port. Each chunk of 4 KiB takes `delay`.
    pub fn to(daemon: u16, fault: Fault, delay: Duration) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            daemon,
            fault,
            delay,
            passed: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                accepting.passed.lock().unwrap().connected.push(Instant::now());
                let state = Arc::clone(&accepting);
                thread::spawn(move || state.connect(&client.unwrap()));
            }
        });
        Line { port, state }
    }

    /// How many bytes have passed.
    pub fn bytes(&self) -> u64 {
        self.state.passed.lock().unwrap().bytes
    }

    /// When each connection was made.
    pub fn connected(&self) -> Vec<Instant> {
        self.state.passed.lock().unwrap().connected.clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
        // The thread that accepts looks at it with the next connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: &TcpStream) {
        // A daemon that is not there ends the connection without a byte.
        let Ok(daemon) = TcpStream::connect(("127.0.0.1", self.daemon)) else { return };
        client.set_nodelay(true).unwrap();
        daemon.set_nodelay(true).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| self.relay(client, &daemon));
            scope.spawn(|| self.relay(&daemon, client));
        });
    }

    fn relay(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut chunk = [0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            thread::sleep(self.delay);
            let (allowed, then) = self.pass(length);
            if to.write_all(&chunk[..allowed]).is_err() {
                break;
            }
            match then {
                Then::GoOn => {}
                Then::Cut => break,
                Then::Hold => {
                    while !self.is_closed.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        }
        // A connection that ends in one direction is over: rsync never half-closes one.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// How much of a chunk passes, and what comes then.
    fn pass(&self, wanted: usize) -> (usize, Then) {
        let mut passed = self.passed.lock().unwrap();
        let until = |limit: u64| wanted.min(usize::try_from(limit.saturating_sub(passed.bytes)).unwrap());
        let (allowed, then) = match self.fault {
            Fault::CutOnceAfter(limit) if !passed.has_been_cut => (until(limit), Then::Cut),
            Fault::CutAlwaysAfter(limit) => (until(limit), Then::Cut),
            Fault::HeldAfter(limit) => (until(limit), Then::Hold),
            Fault::None | Fault::CutOnceAfter(_) => (wanted, Then::GoOn),
        };
        passed.bytes += allowed as u64;
        if allowed == wanted {
            return (allowed, Then::GoOn);
        }
        passed.has_been_cut = true;
        (allowed, then)
    }
}
