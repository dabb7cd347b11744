//! One command, measured; and several, in turns.
//!
//! A command is started by a process that does nothing else: the kernel counts as a process's most memory also what whoever started it
//! had in use then, and the bench itself holds large files.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use crate::Result;

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory that it had in use, or one of the processes that it started, bytes.
    pub peak: u64,
    /// What it gave the kernel to be written to a disk, bytes.
    pub written: u64,
}

/// Several runs of one thing.
#[derive(Debug, Clone)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Those that were measured elsewhere, by their time alone; there has to be one.
    pub fn of_seconds(seconds: &[f64]) -> Result<Runs> {
        let run = |seconds: &f64| Duration::try_from_secs_f64(*seconds).map_err(|e| e.to_string());
        let runs: Vec<Run> = seconds
            .iter()
            .map(|seconds| Ok(Run { wall: run(seconds)?, peak: 0, written: 0 }))
            .collect::<Result<_>>()?;
        if runs.is_empty() { Err("nothing was measured".to_owned()) } else { Ok(Runs(runs)) }
    }

    /// The median of the times, seconds.
    pub fn median(&self) -> f64 {
        let times = self.sorted();
        times[times.len() / 2]
    }

    /// The shortest and the longest time, seconds.
    pub fn range(&self) -> (f64, f64) {
        let times = self.sorted();
        (times[0], times[times.len() - 1])
    }

    /// The most memory of all runs, bytes.
    pub fn peak(&self) -> u64 {
        self.0.iter().map(|run| run.peak).max().unwrap_or(0)
    }

    /// The median of what was written, bytes.
    pub fn written(&self) -> u64 {
        let mut written: Vec<u64> = self.0.iter().map(|run| run.written).collect();
        written.sort_unstable();
        written[written.len() / 2]
    }

    fn sorted(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self.0.iter().map(|run| run.wall.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// Something that can be done again and again.
pub struct Subject<'a> {
    /// Puts everything back, unmeasured.
    pub before: &'a dyn Fn() -> Result<()>,
    /// The command.
    pub command: &'a dyn Fn() -> Command,
}

/// Whether the first round counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum First {
    /// It finds caches cold, and does not.
    IsForTheCaches,
    /// It does: where a run takes so long that caches are no matter.
    Counts,
}

/// Runs all subjects in turns, so that what else the machine does meets them alike; the first round, which finds caches
/// cold, does not count.
pub fn in_turns(rounds: usize, subjects: &[Subject]) -> Result<Vec<Runs>> {
    in_turns_from(First::IsForTheCaches, rounds, subjects)
}

/// Like [`in_turns`].
pub fn in_turns_from(first: First, rounds: usize, subjects: &[Subject]) -> Result<Vec<Runs>> {
    let mut runs: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
    let uncounted = usize::from(first == First::IsForTheCaches);
    for round in 0..uncounted + rounds {
        for (subject, runs) in subjects.iter().zip(&mut runs) {
            (subject.before)()?;
            let run = run(&mut (subject.command)())?;
            if round >= uncounted {
                runs.push(run);
            }
        }
    }
    Ok(runs.into_iter().map(Runs).collect())
}

/// The first argument of this program as a stopwatch; what follows is the command.
pub const STOPWATCH: &str = "--stopwatch";

/// Runs a command to its end; it has to succeed.
pub fn run(command: &mut Command) -> Result<Run> {
    let failed = |what: String| format!("{command:?}: {what}");
    let own = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let mut stopwatch = Command::new(own);
    stopwatch.arg(STOPWATCH).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => stopwatch.env(name, value),
            None => stopwatch.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        stopwatch.current_dir(dir);
    }
    let output = stopwatch.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [nanoseconds, peak, written] if output.status.success() => {
            Ok(Run { wall: Duration::from_nanos(nanoseconds), peak, written })
        }
        _ => Err(failed("did not succeed, see above".to_owned())),
    }
}

/// Runs a command to its end, and prints what [`run`] wants to know.
#[allow(unsafe_code)]
pub fn stopwatch(mut words: impl Iterator<Item = OsString>) -> Result<()> {
    let program = words.next().ok_or("no command")?;
    let shown = program.display().to_string();
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let begun = Instant::now();
    let child = command.spawn().map_err(|e| format!("{shown}: {e}"))?;
    let pid = i32::try_from(child.id()).map_err(|e| e.to_string())?;
    let mut status = 0;
    // SAFETY: plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours, and the child is waited for once, here.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let wall = begun.elapsed();
    if ended != pid || status != 0 {
        return Err(format!("{shown}: wait status {status}"));
    }
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
    let written = u64::try_from(usage.ru_oublock).unwrap_or(0) * 512;
    println!("{} {peak} {written}", wall.as_nanos());
    Ok(())
}

/// Nothing to put back.
pub fn nothing() -> Result<()> {
    Ok(())
}
