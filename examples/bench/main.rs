//! `make bench`: what the binaries cost beside what they replace, each pair in one run, in turns.
//!
//! Every row is a ratio of medians; nothing is judged by a clock alone, since machines are shared and noisy. The release
//! binaries beside this example are measured as they are: with every check, lock and fsync. A goal that is missed stays in the
//! table, with the reason; it is no failure. Exit codes: 0 measured, 1 something could not be run, 2 wrong usage.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};

mod asking;
mod daemon;
mod fleet;
mod floor;
mod measure;
mod picture;
mod publish;
mod report;
mod start;
mod tick;
mod wire;

/// Measures the binaries beside the scripts, `cp`, and the shell itself.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    /// Where the trees are built; on the kind of file system that is to be measured
    #[arg(long, value_name = "DIR")]
    work: PathBuf,
    /// The legacy scripts
    #[arg(long, value_name = "DIR")]
    scripts: PathBuf,
    /// Writes the document and its picture there
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Smaller trees, fewer rounds: under two minutes
    #[arg(long)]
    quick: bool,
    /// Only these, into no document
    #[arg(long, value_name = "PART", value_delimiter = ',', conflicts_with = "docs")]
    only: Vec<Part>,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// What a start costs
    Starts,
    /// Ticks over models at rest
    Ticks,
    /// Publications
    Publish,
    /// Pulls and pushes
    Wire,
    /// Asking members
    Asking,
    /// A fleet's rollout
    Fleet,
}

/// What is measured, and with what.
pub struct Bench {
    /// The directory of the binaries.
    pub binaries: PathBuf,
    /// The legacy scripts.
    pub scripts: PathBuf,
    /// A directory of this run's own.
    pub work: PathBuf,
    /// Smaller and fewer.
    pub quick: bool,
}

/// What went wrong, as one line.
pub type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().unwrap_or_default();
    let done = if first == measure::STOPWATCH {
        measure::stopwatch(arguments)
    } else if first == floor::FLOOR {
        let [root, looks] = [arguments.next(), arguments.next()].map(Option::unwrap_or_default);
        floor::tick(Path::new(&root), &looks.to_string_lossy())
    } else {
        run(Cli::parse())
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("bench: {what}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let own = std::env::current_exe().map_err(|e| format!("cannot tell where the binaries are: {e}"))?;
    // target/release/examples/bench
    let binaries = own.ancestors().nth(2).ok_or("cannot tell where the binaries are")?.to_path_buf();
    std::fs::create_dir_all(&cli.work).map_err(|e| format!("{}: {e}", cli.work.display()))?;
    let work = tempfile::tempdir_in(&cli.work).map_err(|e| format!("{}: {e}", cli.work.display()))?;
    let absolute = |path: PathBuf| path.canonicalize().map_err(|e| format!("{}: {e}", path.display()));
    let bench = Bench {
        binaries,
        scripts: absolute(cli.scripts)?,
        work: absolute(work.path().to_path_buf())?,
        quick: cli.quick,
    };
    let begun = Instant::now();
    let parts: &[Part] = if cli.only.is_empty() { Part::value_variants() } else { &cli.only };
    let mut rows = Vec::new();
    let mut ticks = None;
    for part in parts {
        eprintln!("bench: {:3} s, {part:?}", begun.elapsed().as_secs());
        match part {
            Part::Starts => rows.extend(start::rows(&bench)?),
            Part::Ticks => rows.extend(ticks.insert(tick::Ticks::measured(&bench)?).rows()),
            Part::Publish => rows.extend(publish::rows(&bench)?),
            Part::Wire => rows.extend(wire::rows(&bench)?),
            Part::Asking => rows.extend(asking::rows(&bench)?),
            Part::Fleet => rows.extend(fleet::rows(&bench)?),
        }
    }
    eprintln!("bench: {:3} s, done", begun.elapsed().as_secs());
    let text = report::table(&rows);
    print!("{text}");
    if let (Some(docs), Some(ticks)) = (cli.docs, ticks) {
        report::write(&docs, &text, &bench.work)?;
        let path = docs.join("tick.svg");
        std::fs::write(&path, picture::of(&ticks)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
