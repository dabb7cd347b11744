//! What an operator never sees, tried at every place where it can happen: the release binaries, without any hook in them,
//! are killed before each of their file-system calls, each such call fails in every way it can, and each name that they
//! publish is followed back to the fsync that makes it outlive a power cut.
//!
//! - [`strace`]: a command under strace, and its trace as a list of calls.
//! - [`cases`]: the runs that are disturbed: files before, a command, what must hold at every instant and in the end.
//! - [`trial`]: one disturbed run, what others see right after it, and the undisturbed runs that follow.
//! - [`kill`], [`errors`], [`power`]: the three experiments. Each has a short form, which takes a sample of the places and
//!   runs with every test, and a long one, which takes all of them: `make crash`.
//! - [`durability`]: what a trace says about a power cut, as a pure function.
//! - [`found`]: what was found, at its own place.
//! - [`instrument`]: the scripts and planted runs, in which the experiments have to find what is broken.
//!
//! A call is addressed as strace counts it: by its name and its number among the calls of that name of one process. The
//! dynamic loader and the start of the language's runtime come first; they do nothing to the world, so the places begin
//! with the first call that names a path of it. Only the main thread is counted. Others of the binaries touch
//! files with `--jobs`, which tests/jobs.rs kills at many moments, and where a poll tells that it is updating while it takes files over: nothing depends on that. Where rsync is at work, its own calls are the places, and it dies together with the binary that called it.

mod cases;
mod durability;
mod errors;
mod found;
mod instrument;
mod kill;
mod power;
pub mod strace;
mod trial;

use crate::harness::figures;
use cases::Case;

/// How many of the places are tried.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// All of them: `make crash`.
    All,
    /// Each n-th.
    Sample(usize),
}

impl Extent {
    /// The places to be tried.
    pub fn of<T>(self, places: Vec<T>) -> Vec<T> {
        match self {
            Extent::All => places,
            Extent::Sample(nth) => places.into_iter().skip(nth / 2).step_by(nth).collect(),
        }
    }
}

/// Tries an experiment on cases, all at once, since most of a trial is waiting. Fails with what was wrong.
fn check(cases: &[Case], experiment: impl Fn(&Case) -> Vec<String> + Sync) {
    let problems_of = |case: &Case| -> Vec<String> {
        experiment(case).into_iter().map(|problem| format!("{}: {problem}", case.name)).collect()
    };
    let problems: Vec<String> = std::thread::scope(|scope| {
        let at_work: Vec<_> = cases.iter().map(|case| scope.spawn(|| problems_of(case))).collect();
        at_work.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

/// A line of figures: past the test runner's capture where somebody asked for them.
pub fn tell(extent: Extent, line: &str) {
    use std::io::Write;
    match extent {
        Extent::All => drop(std::io::stderr().write_all(format!("{line}\n").as_bytes())),
        Extent::Sample(_) => println!("{line}"),
    }
}

/// Keeps how many places were tried, where all of them were.
pub fn count(extent: Extent, what: &str, places: usize, losses: usize) {
    if let Extent::All = extent {
        figures::record(what, places);
        figures::record("losses", losses);
    }
}

/// Ends the test as skipped where processes cannot be traced.
macro_rules! need_tracing {
    () => {
        $crate::harness::parts::need!("rsync", "strace", "dash", "setsid");
        if !$crate::crash::strace::is_permitted() {
            return;
        }
    };
}
pub(crate) use need_tracing;
