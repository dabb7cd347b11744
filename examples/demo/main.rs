//! `make demo`: a real fleet on loopback, two releases rolled out to it, and what every member serves after each.
//!
//! A monitor with its rsync daemon, a test host's deploy directory and three members, all in one temporary directory;
//! each member runs the example `model_service`, which opens the library that its service.conf names. The rollout
//! itself is done by the binaries beside this example. Nothing is left behind, whatever ends the demo, but with
//! `--keep`. Exit codes: 0 every member serves what was pushed, 1 not so, 2 wrong usage, 130 interrupted.
//!
//! `make demo-fleet`, which is `--fleet`: see [`incident`]. `--measure`, a part of `make bench`: see [`measured`].
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

mod ask;
mod fleet;
mod ground;
mod incident;
mod keep;
mod measured;
mod processes;
mod rollout;
mod sweep;
mod table;
mod timeline;

use fleet::Fleet;
use ground::Ground;
use incident::Incident;
use incident::clockwork::Side;
use measured::Extent;
use rollout::{RELEASES, Rollout};
use timeline::{Timeline, say};

/// Shows a rollout to a fleet on loopback, for real.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Cli {
    /// Leave the fleet up, and print how to look at it
    #[arg(long)]
    keep: bool,
    /// Stop a fleet that --keep left up, and remove its directory
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    stop: Option<PathBuf>,
    /// Print the version that a service says it serves
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["keep", "stop"])]
    ask: Option<SocketAddr>,
    /// Push a release that cannot be loaded to a fleet with the binaries and to one with the scripts
    #[arg(long, conflicts_with_all = ["keep", "stop", "ask"])]
    fleet: bool,
    /// With --fleet: how many members have the binaries; with --measure: how many there are
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u8).range(2..))]
    members: u8,
    /// With --fleet: how many members have the scripts
    #[arg(long, value_name = "N", default_value_t = 31, value_parser = clap::value_parser!(u8).range(1..), requires = "fleet")]
    legacy_members: u8,
    /// With --fleet: write fleet.csv and fleet.svg, what was served when, to this directory
    #[arg(long, value_name = "DIR", requires = "fleet")]
    record: Option<PathBuf>,
    /// Print what releases to a fleet take, for `make bench`
    #[arg(long, value_name = "SIDE", conflicts_with_all = ["keep", "stop", "ask", "fleet"])]
    measure: Option<Side>,
    /// With --measure: how many releases after the first one
    #[arg(long, value_name = "N", default_value_t = 3, requires = "measure")]
    rounds: u8,
    /// With --measure: how many files of 1 MiB the model has, one of a hundred of which changes with each release
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(100..), requires = "measure")]
    files: u64,
}

/// Why the demo did not come to its end.
#[derive(Debug)]
enum Problem {
    /// Ctrl-C, or another signal that asks to end.
    Interrupted,
    /// Something did not go as it must.
    Failed(String),
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem::Failed(what)
    }
}

type Result<T> = std::result::Result<T, Problem>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (&cli.stop, cli.ask) {
        (Some(dir), _) => ground::stop(dir).map_err(Problem::from),
        (None, Some(service)) => ask(service),
        (None, None) if cli.measure.is_some() => measure(&cli),
        (None, None) if cli.fleet => show_fleet(cli),
        (None, None) => show(cli.keep),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Interrupted) => {
            eprintln!("demo: interrupted; everything is stopped and removed");
            ExitCode::from(130)
        }
        Err(Problem::Failed(what)) => {
            eprintln!("demo: {what}");
            ExitCode::FAILURE
        }
    }
}

fn ask(service: SocketAddr) -> Result<()> {
    let answer = ask::version(service, ask::LIMIT)?;
    say(format_args!("{} ({}, score {})", answer.version, answer.release, answer.score));
    Ok(())
}

fn show(keep: bool) -> Result<()> {
    // Before anything exists that a signal could leave behind.
    processes::watch_signals()?;
    let ground = Ground::new()?;
    // A signal may also show as a failure of what it hit.
    let shown = roll_out(ground.dir()).or_else(|problem| processes::go_on().and(Err(problem)));
    match shown {
        // Also after a failure: it is what one wants to look at. An interrupt means that nobody does.
        Ok(()) | Err(Problem::Failed(_)) if keep && ground.has_fleet() => ground.keep(),
        _ => ground.clear()?,
    }
    shown
}

fn show_fleet(cli: Cli) -> Result<()> {
    let Cli { members, legacy_members, record, .. } = cli;
    processes::watch_signals()?;
    incident::show(&Incident { members, legacy_members, record })
}

fn measure(cli: &Cli) -> Result<()> {
    let Some(side) = cli.measure else { return Ok(()) };
    let extent = Extent { members: cli.members, rounds: cli.rounds, files: cli.files };
    processes::watch_signals()?;
    incident::on_ground(|dir| measured::run(dir, side, &extent))
}

fn roll_out(dir: &Path) -> Result<()> {
    let timeline = Timeline::start(dir);
    say(format_args!("A fleet on loopback. DIR is {}", dir.display()));
    let fleet = Fleet::set_up(dir, 3, &timeline)?;
    keep::write_commands(&fleet)?;
    let rollout = Rollout { fleet: &fleet, timeline: &timeline };
    rollout.register()?;
    for release in RELEASES {
        rollout.release(release)?;
    }
    Ok(())
}
