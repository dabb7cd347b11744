//! Rows about what a poll does on a member.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs2::FileExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::world::SERVICE_CONF;
use crate::harness::{Sandbox, Side, Tool, World, parts, wait_until};
use crate::health::{BAD, Member, OLD};
use crate::processes::stand_in_for_rsync;

const MEMBER: &str = "member-127.0.0.11";
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

/// A member that is one version behind; `lines` are added to its env.sh.
fn behind(world: &World, lines: &str) {
    world.registered();
    world.published(BAD);
    world.member("127.0.0.11");
    world.write(INSTALLED, SERVICE_CONF);
    let env = format!("{MEMBER}/watch/env.sh");
    world.write(&env, [world.read(&env), lines.as_bytes().to_vec()].concat());
}

/// The second poll begins while the first one fetches the version, and both go on when the second one fetches, too, or has
/// ended.
pub fn two_polls_at_once(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world, "");
    let rsync = parts::find("rsync").unwrap();
    let held = format!(
        "case $* in */plugin/*) echo fetch >> \"$JOURNAL.fetches\"; until [ -e \"$JOURNAL.go\" ]; do sleep 0.02; done;; esac\n\
         exec {} \"$@\"",
        rsync.display()
    );
    let path = stand_in_for_rsync(&world, &held);
    let poll = || {
        let mut command = world.command(Tool::Poll, side, &[]);
        world.finish(command.env("PATH", &path))
    };
    let fetches =
        || std::fs::read_to_string(world.path("journal.fetches")).unwrap_or_default().lines().count();
    let second = std::thread::scope(|scope| {
        let first = scope.spawn(poll);
        wait_until("the first poll fetches the version", || fetches() == 1);
        let second = scope.spawn(poll);
        wait_until("the second one has begun", || fetches() == 2 || second.is_finished());
        world.write("journal.go", "");
        assert_eq!(first.join().unwrap().status, 0);
        second.join().unwrap()
    });
    let starts = world.journal_lines().iter().filter(|line| line.starts_with("start")).count();
    let says = if second.stderr.contains("is held by pid ") { ", says who runs" } else { "" };
    Some(format!("fetches: {}, restarts: {starts}, second poll: exit {}{says}", fetches(), second.status))
}

pub fn a_service_that_does_not_come_up(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    member.world.published(BAD);
    let polled = member.polled(side);
    let up = if member.is_up() { "serves" } else { "is down" };
    let last = polled.journal.last().map(String::as_str).unwrap_or_default();
    let before = if last == format!("start {OLD}") { " the version before" } else { "" };
    let reported = if member.has_reported(BAD) { "reported as upgraded" } else { "not reported" };
    Some(format!("it {up}{before}, {reported}, exit {}", polled.status))
}

/// Whoever started the poll holds a lock (`flock` in a crontab line), which the poll inherits.
pub fn a_lock_that_a_poll_inherits(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(
        &world,
        "service_stop=''\nservice_start='sleep 60 > /dev/null 2>&1 & echo $! > \"$JOURNAL.pid\"'\n",
    );
    world.write("held.lock", "");
    let open = || File::options().read(true).write(true).open(world.path("held.lock")).unwrap();
    let lock = open();
    lock.lock_exclusive().unwrap();
    // A shell passes its standard input on as number 9.
    let poll = world.command(Tool::Poll, side, &[]);
    let mut command = Command::new("dash");
    command
        .args(["-c", "exec \"$@\" 9<&0 < /dev/null", "dash"])
        .arg(poll.get_program())
        .args(poll.get_args());
    world.prepare(&mut command, Tool::Poll, side);
    let polled = command.stdin(Stdio::from(lock)).stdout(Stdio::null()).status().unwrap();
    assert!(polled.success());
    drop(command);
    let pid: i32 = String::from_utf8(world.read("journal.pid")).unwrap().trim().parse().unwrap();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the service runs");
    let links = files.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    let inherited = links.filter(|file| file.starts_with(&world.root)).count();
    // A child that another test has just forked may have it for a moment; the service has it for a minute.
    let is_locked = |_| open().try_lock_exclusive().is_err();
    let locked = (0..40).inspect(|_| std::thread::sleep(Duration::from_millis(25))).all(is_locked);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let lock = if locked { "still held" } else { "free" };
    Some(format!("open in the service: {inherited}; the poll has ended, its lock is {lock}"))
}

/// What member 127.0.0.12 waits with a spread of one second.
const PHASE: Duration = Duration::from_millis(609);

/// The monitor's daemon serves one at a time, and somebody else is being served; he ends when the poll was refused once.
pub fn a_poll_that_is_refused(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    behind(&world, "address=127.0.0.12 spread=1\n");
    let conf = sandbox.path().join("rsyncd.conf");
    let before = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, before.replace("max connections = 0", "max connections = 1")).unwrap();
    let served = occupied(sandbox.daemon().port);
    let mut poll = world.command(Tool::Poll, side, &[]);
    let log = sandbox.path().join("rsyncd.log");
    let refused = || std::fs::read_to_string(&log).unwrap().contains("max connections (1) reached");
    let polled = std::thread::scope(|scope| {
        let poll = scope.spawn(|| world.finish(&mut poll));
        wait_until("the poll is refused", || refused() || poll.is_finished());
        drop(served);
        poll.join().unwrap()
    });
    assert!(refused());
    let upgraded = if polled.tree.text(INSTALLED).contains(BAD) { "upgraded" } else { "nothing done" };
    // The quickest of some: a machine that has other things to do may keep one waiting.
    let idle_poll = || {
        let begun = Instant::now();
        assert_eq!(world.run(Tool::Poll, side, &[]).status, 0);
        begun.elapsed()
    };
    std::fs::write(&conf, before).unwrap();
    world.run(Tool::Poll, side, &[]);
    let at_once = (0..8).any(|_| idle_poll() < PHASE);
    let begins = if at_once { "at second 0" } else { "at its own phase" };
    Some(format!("begins {begins}; refused once: {upgraded}, exit {}", polled.status))
}

/// A connection that the daemon serves: it counts until it is dropped.
fn occupied(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"@RSYNCD: 31.0\ndatamining_service\n").unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "@RSYNCD: OK"), "it is served");
    stream
}
