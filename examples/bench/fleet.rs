//! A fleet's rollout, from the push until the last member has confirmed: with the binaries, and with the scripts. The fleet is the demo's,
//! which prints what it measured.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::Runs;
use crate::report::{Goal, Row};
use crate::{Bench, Result};

/// What a fleet of one side did.
struct Measured {
    wall: Runs,
    processor: Runs,
    /// The median, bytes.
    moved: u64,
}

/// Time, the monitor's processor time, and bytes.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (members, files) = extent(bench)?;
    let ours = measured(bench, members, files, "binaries")?;
    let theirs = measured(bench, members, files, "scripts")?;
    let what = format!(
        "a release to {members} members, 1 % of {files} files of 1 MiB changed, everybody's cron once a second"
    );
    Ok(vec![
        Row::new(what, ours.wall, "the scripts")
            .theirs(theirs.wall)
            .bytes(ours.moved, theirs.moved)
            .goals(&[Goal::Ratio(0.5), Goal::Bytes(0.1)])
            .if_missed(WALL_MISSED),
        Row::new(
            format!("the monitor's processor time for it, {members} members"),
            ours.processor,
            "the scripts",
        )
        .theirs(theirs.processor)
        .goals(&[Goal::Ratio(0.5)])
        .if_missed(PROCESSOR_MISSED),
    ])
}

const WALL_MISSED: &str = "waiting for three crons, some two seconds, is the same on both sides, and so is the restart; a member makes four connections where the \
    script makes three, five for a large version, each with two processes of the monitor and the member, which here share the same processors. The larger the model, the less that weighs";
const PROCESSOR_MISSED: &str = "four connections of a member, or five for a large version, not three, each a process of the daemon: what is sent weighs more, the larger the model";

/// How many members, and how many files: where a fleet of scripts, which keeps two versions on every member, would fill the disk, a smaller model.
fn extent(bench: &Bench) -> Result<(u64, u64)> {
    if bench.quick {
        return Ok((5, 100));
    }
    let (members, files) = (31, 300);
    let free = model_rollout::machine::files::free_bytes(&bench.work).map_err(|e| e.to_string())?;
    let needed = (2 * members + 6) * (files << 20);
    Ok((members, if free > needed + needed / 2 { files } else { 100 }))
}

fn measured(bench: &Bench, members: u64, files: u64, side: &str) -> Result<Measured> {
    let rounds = if bench.quick { "1" } else { "3" };
    let demo = bench.binaries.join("examples/demo");
    let mut command = Command::new(&demo);
    command.args(["--measure", side, "--rounds", rounds]);
    command.args(["--members", &members.to_string(), "--files", &files.to_string()]);
    // On the file system that is to be measured.
    command.env("TMPDIR", &bench.work).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|e| format!("{}: {e}", demo.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{} --measure {side} did not succeed:\n{text}", demo.display()));
    }
    read(&text, &demo)
}

/// The lines `measured SECONDS PROCESSOR-SECONDS BYTES` among what the demo prints.
fn read(text: &str, demo: &Path) -> Result<Measured> {
    let unclear = || format!("{} does not say what it measured", demo.display());
    let mut figures: Vec<[f64; 3]> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("measured ")) {
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        figures.push(<[f64; 3]>::try_from(numbers).map_err(|_| unclear())?);
    }
    let column = |n: usize| figures.iter().map(|row| row[n]).collect::<Vec<f64>>();
    let moved = Runs::of_seconds(&column(2)).map_err(|_| unclear())?.median();
    // A count of bytes that a fleet moved in a minute has no fraction, and fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let moved = moved as u64;
    Ok(Measured { wall: Runs::of_seconds(&column(0))?, processor: Runs::of_seconds(&column(1))?, moved })
}
