//! Other programs: started without a shell unless the site's own command line asks for one, and never for ever.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::error::{Error, Result, io_cause};
use crate::machine::clock::{Deadline, Stopwatch};
use crate::machine::proc;

/// How much of a program's output is kept.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// How long the end of the output is waited for once a program has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(5);

/// How often it is looked at whether a program still reads.
const LOOK_AT_READING: Duration = Duration::from_millis(500);

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A finished program.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output (the first mebibyte).
    pub stdout: Vec<u8>,
    /// What it wrote to standard error (the first mebibyte).
    pub stderr: Vec<u8>,
}

/// How long a program may take.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// From its start to its end.
    pub total: Duration,
    /// How long neither the program nor a process that it started may read a byte, from a file or the network. `None`, and a
    /// kernel that does not count the bytes, is no limit.
    pub silence: Option<Duration>,
}

/// How a program's run came to its end.
#[derive(Debug)]
pub enum Outcome {
    /// By itself.
    Finished(Finished),
    /// It was killed.
    GivenUp(GivenUp),
}

/// Why a program was killed with its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// Nothing was read for so long.
    Silent(Duration),
    /// It was still running after so long.
    TooLate(Duration),
}

impl GivenUp {
    /// The failure of a run that needed this program.
    pub fn error(self, program: &str) -> Error {
        Error::failed(match self {
            GivenUp::Silent(limit) => {
                format!("{program} had read nothing for {} s and was killed", limit.as_secs())
            }
            GivenUp::TooLate(limit) => {
                format!("{program} was still running after {} s and was killed", limit.as_secs())
            }
        })
    }
}

/// Runs a program to its end and keeps its output. The kernel ends it when this process dies, so that it never works on
/// beside the run that comes after.
///
/// Fails when it cannot be started. One that exceeds a limit is killed with its process group.
pub fn run(program: &str, arguments: &[OsString], input: &[u8], limits: TimeLimits) -> Result<Outcome> {
    log::debug!("run {program} {arguments:?}");
    let mut command = Command::new(program);
    die_with_us(&mut command);
    let mut child = command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| cannot_start(program, &e))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that ends early closes its end; its exit status tells why.
        in_background(move || drop(stdin.write_all(&input)))?;
    }
    let stdout = child.stdout.take().map(collect).transpose()?;
    let stderr = child.stderr.take().map(collect).transpose()?;
    Ok(match wait(child, limits)? {
        Ok(status) => {
            Outcome::Finished(Finished { status, stdout: collected(stdout), stderr: collected(stderr) })
        }
        Err(given_up) => Outcome::GivenUp(given_up),
    })
}

/// Runs one of the site's own command lines to its end: see [`CommandLine::start`].
///
/// Fails when it ends with another status than 0, or is still running after `limit`: then its group is killed.
pub fn run_command_line(line: &OsStr, environment: &[(OsString, OsString)], limit: Duration) -> Result<()> {
    CommandLine::start(line, environment)?.wait(limit)
}

/// Runs one of the site's own programs to its end, without a shell, as [`run_command_line`] runs a command line.
pub fn run_site_program(program: &Path, environment: &[(OsString, OsString)], limit: Duration) -> Result<()> {
    let shown = program.display().to_string();
    CommandLine::spawn(Command::new(program), shown, environment)?.wait(limit)
}

/// One of the site's own command lines while it runs.
#[derive(Debug)]
pub struct CommandLine {
    child: Child,
    shown: String,
}

impl CommandLine {
    /// Starts `sh -c LINE`, its output going where ours goes, in a process group of its own and without any of our open
    /// files: a service that it leaves behind, or that it is, holds nothing of this program's (defect 22).
    pub fn start(line: &OsStr, environment: &[(OsString, OsString)]) -> Result<CommandLine> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(line);
        CommandLine::spawn(command, line.to_string_lossy().into_owned(), environment)
    }

    fn spawn(
        mut command: Command,
        shown: String,
        environment: &[(OsString, OsString)],
    ) -> Result<CommandLine> {
        log::debug!("run {command:?}");
        close_inherited_files_on_exec();
        with_default_size_limit(&mut command);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| cannot_start(&program, &e))?;
        Ok(CommandLine { child, shown })
    }

    /// Whether it has ended. Fails when it ended with another status than 0.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) => command_line_ended(&self.shown, status).map(|()| true),
            Err(e) => Err(Error::failed(format!("cannot wait for {}: {}", self.shown, io_cause(&e)))),
        }
    }

    fn wait(self, limit: Duration) -> Result<()> {
        match wait(self.child, TimeLimits { total: limit, silence: None })? {
            Ok(status) => command_line_ended(&self.shown, status),
            Err(given_up) => Err(given_up.error(&self.shown)),
        }
    }

    /// Kills its process group.
    pub fn kill(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn command_line_ended(shown: &str, status: ExitStatus) -> Result<()> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Error::failed(format!("\u{201c}{shown}\u{201d} ended with exit code {code}"))),
        (None, signal) => Err(Error::failed(format!(
            "\u{201c}{shown}\u{201d} was killed by signal {}",
            signal.unwrap_or(0)
        ))),
    }
}

/// Runs a program that goes on in the background by itself, as a daemon does, without any of our open files (defect 22).
///
/// Fails with the first line of its complaint when it ends with another status than 0, or when it stays for longer than
/// `limit`.
pub fn run_to_background(program: &str, arguments: &[OsString], limit: Duration) -> Result<()> {
    close_inherited_files_on_exec();
    let limits = TimeLimits { total: limit, silence: None };
    let finished = match run(program, arguments, b"", limits)? {
        Outcome::Finished(finished) => finished,
        Outcome::GivenUp(given_up) => return Err(given_up.error(program)),
    };
    if finished.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(Error::failed(format!("{program} did not start: {said} ({})", finished.status)))
}

/// The longest line that is read of a site's own program, in bytes.
const LINE_LIMIT: usize = 64 << 10;

/// Runs one of the site's own programs, without a shell, and returns the first line that it prints, without its end. What it
/// writes to standard error is dropped. The program runs in a process group of its own, so that at the deadline whatever
/// it started is killed with it. May be called by any thread that stays until it returns.
///
/// Fails when it cannot be started, ends with another status than 0, or has not ended at the deadline.
pub fn first_line(program: &Path, arguments: &[OsString], deadline: Deadline) -> Result<Vec<u8>> {
    let shown = program.display();
    let mut command = Command::new(program);
    die_with_us(&mut command);
    with_default_size_limit(&mut command);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| cannot_start(&shown.to_string(), &e))?;
    let output = read_until_end(&mut child, deadline);
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let group = Pid::from_raw(-i32::try_from(child.id()).unwrap_or(i32::MAX));
        let _ = kill(group, Signal::SIGKILL);
        let _ = child.wait();
    }
    let (status, output) = output.map_err(|e| Error::failed(format!("{shown}: {}", io_cause(&e))))?;
    if !status.success() {
        return Err(Error::failed(format!("{shown} ended with {status}")));
    }
    let line = output.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.to_vec())
}

/// How a program ended, and the beginning of what it printed until then: a process that it leaves behind, its output open, is
/// not waited for.
fn read_until_end(child: &mut Child, deadline: Deadline) -> io::Result<(ExitStatus, Vec<u8>)> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let mut stdout = child.stdout.take();
    if let Some(stream) = &stdout {
        fcntl(stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut kept = Vec::new();
    loop {
        let ended = child.try_wait()?;
        if let Some(stream) = &mut stdout
            && read_what_is_there(stream, &mut kept)? == Stream::Closed
        {
            stdout = None;
        }
        if let Some(status) = ended {
            return Ok((status, kept));
        }
        let pause = deadline.left()?.min(LOOK_AGAIN);
        match &stdout {
            None => thread::sleep(pause.min(Duration::from_millis(1))),
            Some(stream) => {
                let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
                poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], timeout)?;
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Stream {
    Open,
    Closed,
}

/// Reads without waiting; what is too much is dropped, so that a full pipe does not stop the program.
fn read_what_is_there(stream: &mut impl Read, kept: &mut Vec<u8>) -> io::Result<Stream> {
    let mut chunk = [0; 4096];
    // At most so much at once: a program that prints for ever must not keep us from looking at the time.
    for _ in 0..64 {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(Stream::Closed),
            Ok(length) => {
                let room = LINE_LIMIT.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..length.min(room)]);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Stream::Open)
}

/// Asks the kernel to end a program when the thread that starts it dies; every thread here that starts one waits for it. By
/// SIGTERM, on which rsync ends the process that it forks for the other half of its work; one that is killed leaves it.
#[allow(unsafe_code)]
fn die_with_us(command: &mut Command) {
    // SAFETY: prctl takes integers, allocates nothing and locks nothing, as is needed between fork and exec.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(std::io::Error::from));
    }
}

/// Takes a write beyond the user's limit of file sizes (`ulimit -f`), or to a pipe that nobody reads, for an error like others, to be
/// reported, and not for the end of this process.
#[allow(unsafe_code)]
pub fn report_failed_writes() {
    for ignored in [Signal::SIGXFSZ, Signal::SIGPIPE] {
        // SAFETY: no handler is installed that could run.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
}

/// Gives a program back what [`report_failed_writes`] changed; for pipes the standard library does it.
#[allow(unsafe_code)]
fn with_default_size_limit(command: &mut Command) {
    // SAFETY: the call takes integers, allocates nothing and locks nothing, as is needed between fork and exec.
    unsafe {
        command
            .pre_exec(|| signal(Signal::SIGXFSZ, SigHandler::SigDfl).map(drop).map_err(std::io::Error::from));
    }
}

/// Marks every file above standard error to be closed in started programs, also those that we were started with.
#[allow(unsafe_code)]
fn close_inherited_files_on_exec() {
    // SAFETY: the call takes three integers and only sets the close-on-exec flag of open descriptors.
    unsafe {
        nix::libc::syscall(nix::libc::SYS_close_range, 3u32, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
    }
}

fn cannot_start(program: &str, error: &std::io::Error) -> Error {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => "; install it, or add its directory to PATH",
        _ => "",
    };
    Error::failed(format!("cannot start {program}: {}{remedy}", io_cause(error)))
}

/// Keeps what a program writes, until it is asked for.
fn collect(mut stream: impl Read + Send + 'static) -> Result<mpsc::Receiver<Vec<u8>>> {
    let (ended, end) = mpsc::channel();
    in_background(move || {
        let mut kept = Vec::new();
        let _ = (&mut stream).take(OUTPUT_LIMIT).read_to_end(&mut kept);
        // The rest is read and dropped, so that the program is not stopped by a full pipe.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        drop(ended.send(kept));
    })?;
    Ok(end)
}

/// What a program that has ended wrote; nothing where a process that it left behind holds its output open.
fn collected(output: Option<mpsc::Receiver<Vec<u8>>>) -> Vec<u8> {
    output.and_then(|output| output.recv_timeout(OUTPUT_GRACE).ok()).unwrap_or_default()
}

fn in_background(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().spawn(work);
    started.map(drop).map_err(|e| Error::failed(format!("cannot start a thread: {}", io_cause(&e))))
}

/// Does something beside something else, on a thread of its own; both have ended when it returns. Where there is no thread to be
/// had, one after the other.
pub fn meanwhile<T>(beside: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        if thread::Builder::new().spawn_scoped(scope, &beside).is_err() {
            beside();
        }
        work()
    })
}

/// Waits for a child that leads a process group.
fn wait(mut child: Child, limits: TimeLimits) -> Result<std::result::Result<ExitStatus, GivenUp>> {
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let (ended, end) = mpsc::channel();
    in_background(move || drop(ended.send(child.wait())))?;
    let begun = Stopwatch::start();
    let mut reading = limits.silence.map(|limit| Reading { limit, bytes: None, since: Stopwatch::start() });
    loop {
        let left = limits.total.saturating_sub(begun.elapsed());
        let pause = if reading.is_some() { left.min(LOOK_AT_READING) } else { left };
        if let Ok(status) = end.recv_timeout(pause) {
            let status = status.map_err(|e| Error::failed(format!("cannot wait for a program: {e}")))?;
            return Ok(Ok(status));
        }
        if let Some(limit) = reading.as_mut().and_then(|reading| reading.has_stopped(pid)) {
            // On SIGTERM rsync would take its leave of a daemon that does not listen, for ten seconds.
            kill_group(pid, &end);
            return Ok(Err(GivenUp::Silent(limit)));
        }
        if begun.elapsed() >= limits.total {
            let _ = kill(Pid::from_raw(-pid), Signal::SIGTERM);
            if end.recv_timeout(PATIENCE).is_err() {
                kill_group(pid, &end);
            }
            return Ok(Err(GivenUp::TooLate(limits.total)));
        }
    }
}

/// What a program and the processes that it started have read.
struct Reading {
    limit: Duration,
    bytes: Option<u64>,
    since: Stopwatch,
}

impl Reading {
    /// The limit, if nothing was read for so long.
    fn has_stopped(&mut self, pid: i32) -> Option<Duration> {
        let bytes = proc::bytes_read(pid);
        if bytes.is_none() || bytes != self.bytes {
            self.bytes = bytes;
            self.since = Stopwatch::start();
        }
        (self.since.elapsed() >= self.limit).then_some(self.limit)
    }
}

fn kill_group(leader: i32, end: &mpsc::Receiver<io::Result<ExitStatus>>) {
    let _ = kill(Pid::from_raw(-leader), Signal::SIGKILL);
    let _ = end.recv();
}
