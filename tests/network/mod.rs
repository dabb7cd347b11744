//! A network as it is on bad days: cut at any byte, held, refused; a daemon that is killed or stopped. What must hold is the
//! same each time: a push is announced when all of it arrived, a member serves a whole version or the one before, an error is
//! one line within the time limit, and the next run succeeds.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::harness::daemon::{Daemon, Whom};
use crate::harness::figures;
use crate::harness::outcome::{differences, shown};
use crate::harness::parts::need;
use crate::harness::world::{MODEL, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use line::{Fault, Line};
use nix::sys::signal::Signal;
use regex::bytes::Regex;

pub mod line;

/// Seconds without a byte after which the tools give up where that is what is waited for; and where it is not, however busy
/// this machine is.
const SILENCE: u64 = 1;
const PATIENCE: u64 = 120;

/// What is done over the line.
#[derive(Debug, Clone, Copy)]
enum Work {
    Push,
    Poll,
}

impl Work {
    const BOTH: [Work; 2] = [Work::Push, Work::Poll];

    fn tool(self) -> Tool {
        match self {
            Work::Push => Tool::Push,
            Work::Poll => Tool::Poll,
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Work::Push => &["update"],
            Work::Poll => &[],
        }
    }

    /// A world in which there is something to do, over a line to this port, which may be silent for so many seconds.
    fn world(self, sandbox: &Sandbox, port: u16, silence: u64) -> World<'_> {
        let world = sandbox.world();
        world.registered();
        match self {
            Work::Push => {
                world.deploy();
                world.write("deploy/online/data/embedding.bin", large());
            }
            Work::Poll => {
                world.published("20180413192258");
                world.write(world.service("plugin/20180413192258/data/embedding.bin"), large());
                world.member("127.0.0.11");
                world.write(INSTALLED, SERVICE_CONF);
            }
        }
        self.goes_over(&world, port, silence);
        world
    }

    /// From now on the work is done over a line to this port.
    fn goes_over(self, world: &World, port: u16, silence: u64) {
        let env_sh = match self {
            Work::Push => "deploy/env.sh",
            Work::Poll => "member-127.0.0.11/watch/env.sh",
        };
        let line = format!("rsyncport={port}\nrsync_timeout={silence}\n").into_bytes();
        world.write(env_sh, [world.read(env_sh), line].concat());
    }

    /// What is there for others when the work is done: what the monitor would publish, or what the member serves.
    fn result(self, outcome: &Outcome) -> Outcome {
        let below = match self {
            Work::Push => format!("monitor/rsync_service_data/datamining_plugin/{MODEL}"),
            Work::Poll => "member-127.0.0.11/workspace".to_owned(),
        };
        let mut result = outcome.clone();
        result.tree.0.retain(|path, _| {
            path.starts_with(&below) && !path.ends_with("/.env.sh") && !TEMPORARY.is_match(path.as_bytes())
        });
        result
    }

    fn assert_done(self, outcome: &Outcome, expected: &Outcome) {
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(outcome));
        assert_eq!(differences(expected, &self.result(outcome)), [""; 0], "{}", shown(outcome));
    }

    /// What must hold after a run that did not reach its end: nothing is announced, installed or restarted; or all of it,
    /// when the line failed at the very last bytes.
    fn assert_whole_or_nothing(self, outcome: &Outcome, expected: &Outcome) {
        assert_failed(outcome);
        if self.is_announced(outcome) {
            let whole = Outcome { status: expected.status, ..self.result(outcome) };
            assert_eq!(differences(expected, &whole), [""; 0], "{}", shown(outcome));
        } else {
            self.assert_nothing_announced(outcome);
        }
    }

    /// Whether others see the new version.
    fn is_announced(self, outcome: &Outcome) -> bool {
        match self {
            Work::Push => {
                outcome.tree.has(&format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/success"))
            }
            Work::Poll => outcome.tree.text(INSTALLED) != SERVICE_CONF,
        }
    }

    /// Nothing is announced, installed or restarted, and the run says so in one line.
    fn assert_nothing_announced(self, outcome: &Outcome) {
        assert_failed(outcome);
        assert!(!self.is_announced(outcome), "{}", shown(outcome));
        if let Work::Poll = self {
            assert!(outcome.journal.is_empty(), "the service was restarted: {}", shown(outcome));
            let place = format!("member-127.0.0.11/workspace/plugin/{MODEL}/20180413192258");
            assert!(!outcome.tree.has(&place), "{}", shown(outcome));
            let staged = |path: &String| path.contains("/.staging-");
            assert!(!outcome.tree.0.keys().any(staged), "half a version stays: {}", shown(outcome));
        }
    }
}

/// The run says in one line that it failed.
fn assert_failed(outcome: &Outcome) {
    let failed = outcome.status == 1 && outcome.stderr.lines().count() == 1;
    assert!(failed, "one line: {}", shown(outcome));
}

/// The service.conf of the member here.
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

/// The size of the one file that is not small, bytes.
const LARGE: usize = 48 << 10;

/// What a daemon's rsync keeps a file in until all of it is there. One that was killed leaves it behind; so does one that
/// still waits for a line on which nothing comes.
static TEMPORARY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"/\.[^/]+\.[A-Za-z0-9]{6}$").unwrap());

/// Bytes that neither compress nor repeat.
fn large() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..LARGE / 8).flat_map(|_| next()).collect()
}

/// An undisturbed run, and how many bytes it moves.
fn undisturbed(work: Work, sandbox: &Sandbox) -> (Outcome, u64) {
    let line = Line::to(sandbox.daemon().port, Fault::None, Duration::ZERO);
    let world = work.world(sandbox, line.port, PATIENCE);
    let outcome = world.run(work.tool(), Side::BINARY, work.arguments());
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    (work.result(&outcome), line.bytes())
}

/// Does each in a thread of its own: most of the time is spent in pauses.
fn at_once<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for item in items {
            let work = &work;
            scope.spawn(move || work(item));
        }
    });
}

/// What is demanded of a run over a bad line, in a world whose daemon is at a port.
type Check = fn(Work, &World, u16, &Outcome, &Outcome);

/// Tries a fault after each of so many numbers of bytes, from the first byte to the last one but one; returns how many.
fn at_each_of(points: u64, work: Work, fault: fn(u64) -> Fault, check: Check) -> u64 {
    let sandbox = Sandbox::new();
    let (expected, bytes) = undisturbed(work, &sandbox);
    let places: Vec<u64> = (0..points).map(|n| n * bytes / points).collect();
    at_once(places.chunks(places.len().div_ceil(6)), |places| {
        let sandbox = Sandbox::new();
        for place in places {
            println!("{work:?}: {:?}", fault(*place));
            let line = Line::to(sandbox.daemon().port, fault(*place), Duration::ZERO);
            let silence = if let Fault::HeldAfter(_) = fault(*place) { SILENCE } else { PATIENCE };
            let world = work.world(&sandbox, line.port, silence);
            let outcome = world.run(work.tool(), Side::BINARY, work.arguments());
            check(work, &world, sandbox.daemon().port, &outcome, &expected);
        }
    });
    points
}

/// The next run, over a sound line to a daemon.
fn assert_next_run_succeeds(work: Work, world: &World, port: u16, expected: &Outcome) {
    work.goes_over(world, port, PATIENCE);
    let outcome = world.run(work.tool(), Side::BINARY, work.arguments());
    work.assert_done(&outcome, expected);
}

fn cut_once(points: u64) -> u64 {
    let check: Check = |work, _, _, outcome, expected| {
        work.assert_done(outcome, expected);
    };
    Work::BOTH.map(|work| at_each_of(points, work, Fault::CutOnceAfter, check)).iter().sum()
}

fn held(points: u64) -> u64 {
    Work::BOTH.map(|work| at_each_of(points, work, Fault::HeldAfter, given_up)).iter().sum()
}

fn cut_always(points: u64) -> u64 {
    Work::BOTH.map(|work| at_each_of(points, work, Fault::CutAlwaysAfter, given_up)).iter().sum()
}

fn given_up(work: Work, world: &World, port: u16, outcome: &Outcome, expected: &Outcome) {
    work.assert_whole_or_nothing(outcome, expected);
    assert_next_run_succeeds(work, world, port, expected);
}

#[test]
fn a_connection_that_is_cut_is_made_again_and_nothing_shows() {
    need!("rsync");
    cut_once(8);
}

#[test]
fn a_line_on_which_nothing_comes_any_more_is_given_up_in_time() {
    need!("rsync");
    held(6);
}

#[test]
fn a_line_that_is_cut_again_and_again_is_given_up_and_nothing_is_announced() {
    need!("rsync");
    cut_always(6);
}

/// `make network`.
#[test]
#[ignore = "takes minutes: make network"]
fn whatever_byte_the_line_fails_at_nothing_is_lost() {
    need!("rsync");
    let tried = cut_once(60) + held(60) + cut_always(60);
    eprintln!("{tried} failures of the network");
    figures::record("failures of the network", usize::try_from(tried).unwrap());
}

#[test]
fn the_pauses_between_tries_grow() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let line = Line::to(sandbox.daemon().port, Fault::CutAlwaysAfter(0), Duration::ZERO);
    let world = Work::Poll.world(&sandbox, line.port, PATIENCE);
    let outcome = world.run(Tool::Poll, Side::BINARY, &[]);
    Work::Poll.assert_nothing_announced(&outcome);
    let connected = line.connected();
    let pauses: Vec<Duration> = connected.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 2, "{pauses:?}");
    assert!(pauses[0] >= Duration::from_secs(1) && pauses[1] >= Duration::from_secs(2), "{pauses:?}");
}

/// What was fetched before the cut is not fetched again.
#[test]
fn a_poll_goes_on_within_the_file_that_it_was_cut_in() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let (expected, whole) = undisturbed(Work::Poll, &sandbox);
    let line = Line::to(sandbox.daemon().port, Fault::CutOnceAfter(whole * 3 / 4), Duration::ZERO);
    let world = Work::Poll.world(&sandbox, line.port, PATIENCE);
    let outcome = world.run(Tool::Poll, Side::BINARY, &[]);
    Work::Poll.assert_done(&outcome, &expected);
    let again = line.bytes() - whole * 3 / 4;
    assert!(again < whole * 2 / 3, "{again} bytes after the cut, of {whole}");
}

/// A run over a slow line; on the way something happens to the processes that serve it, or to the daemon too.
fn disturbed_on_the_way(
    work: Work,
    sandbox: &Sandbox,
    silence: u64,
    disturb: impl FnOnce(),
) -> (World<'_>, Outcome, Outcome) {
    let (expected, whole) = undisturbed(work, sandbox);
    let line = Line::to(sandbox.daemon().port, Fault::None, Duration::from_millis(30));
    let world = work.world(sandbox, line.port, silence);
    let mut command = world.command(work.tool(), Side::BINARY, work.arguments());
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| world.finish(&mut command));
        wait_until("half of it is there", || line.bytes() > whole / 2);
        disturb();
        run.join().unwrap()
    });
    (world, outcome, expected)
}

#[test]
fn a_daemon_whose_process_is_killed_serves_the_rest_with_another_one() {
    need!("rsync");
    at_once(Work::BOTH, |work| {
        let sandbox = Sandbox::new();
        let kill_it = || sandbox.daemon().signal(Whom::Serving, Signal::SIGKILL);
        let (_, outcome, expected) = disturbed_on_the_way(work, &sandbox, PATIENCE, kill_it);
        work.assert_done(&outcome, &expected);
    });
}

#[test]
fn a_daemon_that_is_stopped_is_given_up_in_time_and_loses_nothing() {
    need!("rsync");
    at_once(Work::BOTH, |work| {
        let sandbox = Sandbox::new();
        let stop = || sandbox.daemon().signal(Whom::All, Signal::SIGSTOP);
        let (world, outcome, expected) = disturbed_on_the_way(work, &sandbox, 3 * SILENCE, stop);
        work.assert_nothing_announced(&outcome);
        assert!(outcome.stderr.contains("(rsync exit 30, timeout"), "{}", outcome.stderr);
        // Not even a connection gets a word from it.
        let begun = Instant::now();
        let again = world.run(work.tool(), Side::BINARY, work.arguments());
        work.assert_nothing_announced(&again);
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
        sandbox.daemon().signal(Whom::All, Signal::SIGCONT);
        assert_next_run_succeeds(work, &world, sandbox.daemon().port, &expected);
    });
}

/// rsync's own time limit never comes: it counts the keep-alive messages that it sends itself.
#[test]
fn a_daemon_to_which_only_our_own_rsync_sends_is_given_up_too() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let (_, whole) = undisturbed(Work::Poll, &sandbox);
    let line = Line::to(sandbox.daemon().port, Fault::HeldAfter(whole / 2), Duration::ZERO);
    let world = Work::Poll.world(&sandbox, line.port, PATIENCE);
    Work::Poll.goes_over(&world, line.port, 4);
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    let run = RefCell::new(KilledInTheEnd(command.stderr(Stdio::piped()).spawn().unwrap()));
    wait_until("the poll gives up", || run.borrow_mut().0.try_wait().unwrap().is_some());
    let mut said = String::new();
    run.borrow_mut().0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("no byte moved for 4 s"), "{said}");
}

struct KilledInTheEnd(Child);

impl Drop for KilledInTheEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_that_is_killed_and_started_again_loses_nothing() {
    need!("rsync");
    at_once(Work::BOTH, |work| {
        let sandbox = Sandbox::new();
        let kill_it = || sandbox.daemon().signal(Whom::All, Signal::SIGKILL);
        let (world, outcome, expected) = disturbed_on_the_way(work, &sandbox, PATIENCE, kill_it);
        work.assert_nothing_announced(&outcome);
        let restarted = Daemon::start(sandbox.path(), &world.path("monitor"));
        assert_next_run_succeeds(work, &world, restarted.port, &expected);
    });
}

/// Until one of its `max connections` is free.
#[test]
fn a_daemon_that_is_busy_is_asked_again() {
    need!("rsync");
    at_once(Work::BOTH, |work| {
        let sandbox = Sandbox::new();
        let (expected, _) = undisturbed(work, &sandbox);
        let busy = tempfile::tempdir().unwrap();
        let monitor = sandbox.path().join("world/monitor");
        let daemon = Daemon::start_with_limit(busy.path(), &monitor, 1);
        let refused = || {
            std::fs::read_to_string(busy.path().join("rsyncd.log")).unwrap().contains("max connections (1)")
        };
        let line = Line::to(daemon.port, Fault::None, Duration::ZERO);
        let world = work.world(&sandbox, line.port, PATIENCE);
        let occupying = occupied(daemon.port, work);
        let mut command = world.command(work.tool(), Side::BINARY, work.arguments());
        let outcome = std::thread::scope(|scope| {
            let run = scope.spawn(|| world.finish(&mut command));
            wait_until("it is refused", refused);
            drop(occupying);
            run.join().unwrap()
        });
        work.assert_done(&outcome, &expected);

        let occupying = occupied(daemon.port, work);
        let outcome = world.run(work.tool(), Side::BINARY, work.arguments());
        let says = "max connections (1) reached";
        assert!(outcome.status == 1 && outcome.stderr.contains(says), "{}", shown(&outcome));
        drop(occupying);
    });
}

/// A connection that has the module's one place, and says nothing more. A child of the daemon that served one before may have it
/// for a moment.
fn occupied(port: u16, work: Work) -> TcpStream {
    let module = match work {
        Work::Push => "datamining_plugin",
        Work::Poll => "datamining_service",
    };
    let occupy = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut said = BufReader::new(stream.try_clone().unwrap());
        let mut next = || {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            line
        };
        assert!(next().starts_with("@RSYNCD: "));
        stream.write_all(format!("@RSYNCD: 30.0\n{module}\n").as_bytes()).unwrap();
        match next().as_str() {
            "@RSYNCD: OK\n" => Some(stream),
            other => {
                assert!(other.starts_with("@ERROR: max connections"), "{other:?}");
                None
            }
        }
    };
    let occupied = RefCell::new(None);
    wait_until("the module's place is free", || {
        *occupied.borrow_mut() = occupy();
        occupied.borrow().is_some()
    });
    occupied.into_inner().unwrap()
}
