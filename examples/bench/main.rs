//! `make bench`: what the binaries cost beside what they replace, each pair in one run, in turns.
//!
//! Every row is a ratio of medians; nothing is judged by a clock alone, since machines are shared and noisy. The release
//! binaries beside this example are measured as they are: with every check, lock and fsync. Exit codes: 0 measured,
//! 1 something could not be run, 2 wrong usage.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod asking;
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
    match run(Cli::parse()) {
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
    let mut rows = start::rows(&bench)?;
    let ticks = tick::Ticks::measured(&bench)?;
    rows.extend(ticks.rows());
    rows.extend(publish::rows(&bench)?);
    rows.extend(wire::rows(&bench)?);
    rows.extend(asking::rows(&bench)?);
    let text = report::table(&rows);
    print!("{text}");
    if let Some(docs) = cli.docs {
        report::write(&docs, &text, &bench.work)?;
        let path = docs.join("tick.svg");
        std::fs::write(&path, picture::of(&ticks)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
