//! One command, measured; and several, in turns.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use crate::Result;

/// One run of a command.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory that it had in use, bytes.
    pub peak: u64,
    /// What it gave the kernel to be written to a disk, bytes.
    pub written: u64,
}

/// Several runs of one thing.
#[derive(Debug, Clone)]
pub struct Runs(Vec<Run>);

impl Runs {
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

/// Runs all subjects in turns, so that what else the machine does meets them alike; the first round, which finds caches
/// cold, does not count.
pub fn in_turns(rounds: usize, subjects: &[Subject]) -> Result<Vec<Runs>> {
    let mut runs: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (subject, runs) in subjects.iter().zip(&mut runs) {
            (subject.before)()?;
            let run = run(&mut (subject.command)())?;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    Ok(runs.into_iter().map(Runs).collect())
}

/// Runs a command to its end; it has to succeed.
#[allow(unsafe_code)]
pub fn run(command: &mut Command) -> Result<Run> {
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let child = child.map_err(|e| format!("{command:?}: {e}"))?;
    let pid = i32::try_from(child.id()).map_err(|e| e.to_string())?;
    let mut status = 0;
    // SAFETY: plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours, and the child is waited for once, here.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let wall = begun.elapsed();
    if ended != pid || status != 0 {
        return Err(format!("{command:?} did not succeed (wait status {status})"));
    }
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
    let written = u64::try_from(usage.ru_oublock).unwrap_or(0) * 512;
    Ok(Run { wall, peak, written })
}

/// Nothing to put back.
pub fn nothing() -> Result<()> {
    Ok(())
}
