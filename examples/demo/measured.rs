//! `--measure SIDE`, for `make bench`: how long a release takes from its push until the last member has confirmed it, what it costs the
//! monitor's processor, and what goes over the line. One side's jobs run on all hosts, each once a second.
//!
//! Prints a line `measured SECONDS PROCESSOR-SECONDS BYTES` for each release after the first one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, MODEL, directory};
use crate::incident::clockwork::{self, Side};
use crate::incident::{announced, prepare_scripts};
use crate::rollout::{RELEASES, Rollout};
use crate::timeline::{Timeline, say};
use crate::{Result, processes};

/// Bytes of each of the model's files.
const FILE_SIZE: u64 = 1 << 20;
/// Of so many files one changes with each release.
const CHANGES: u64 = 100;
/// A fleet may have gigabytes to write.
const LIMIT: Duration = Duration::from_secs(600);
/// In which /proc counts processor time, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is measured.
pub struct Extent {
    /// Members of the fleet.
    pub members: u8,
    /// Releases after the first one.
    pub rounds: u8,
    /// Files of the model's data.
    pub files: u64,
}

/// Measures the releases.
pub fn run(dir: &Path, side: Side, extent: &Extent) -> Result<()> {
    let timeline = Timeline::start(dir);
    let fleet = Fleet::set_up(dir, extent.members, &timeline)?;
    let rollout = Rollout { fleet: &fleet, timeline: &timeline };
    rollout.register()?;
    if side == Side::Scripts {
        prepare_scripts(&fleet)?;
    }
    rollout.build(RELEASES[0])?;
    for number in 0..extent.files {
        write_part(&fleet, number, 1)?;
    }
    let ticks = clockwork::tick(&fleet, side)?;
    for member in &fleet.members {
        clockwork::poll(&fleet, member, side)?;
    }
    let monitor = [daemon(&fleet)?, ticks.id()];
    let round = Round { fleet: &fleet, rollout: &rollout, monitor };
    round.release()?;
    for release in 2..2 + u64::from(extent.rounds) {
        for number in (release % CHANGES..extent.files).step_by(100) {
            write_part(&fleet, number, release)?;
        }
        if side == Side::Scripts {
            forget_older(&fleet)?;
        }
        // What the release before still has to write would be counted here.
        Command::new("sync").arg("-f").arg(dir).status().map_err(|e| format!("cannot start sync: {e}"))?;
        let (before, bytes) = (round.processor_seconds()?, over_loopback()?);
        let took = round.release()?;
        let (processor, moved) = (round.processor_seconds()? - before, over_loopback()? - bytes);
        say(format_args!("measured {:.3} {processor:.3} {moved}", took.as_secs_f64()));
    }
    Ok(())
}

/// A file of the model's data, as of a release: bytes that neither compress nor repeat.
fn write_part(fleet: &Fleet, number: u64, release: u64) -> Result<()> {
    let mut state = (number + 1 + (release << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let bytes: Vec<u8> = (0..FILE_SIZE / 8).flat_map(|_| next()).collect();
    let path = fleet.deploy.dir.join(format!("online/data/{number}"));
    fs::write(&path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()).into())
}

/// The scripts never delete a version: here each would be another gigabyte or three.
fn forget_older(fleet: &Fleet) -> Result<()> {
    let announced = announced(fleet)?;
    let on_members = fleet.members.iter().map(|member| member.trees.workspace.join("plugin").join(MODEL));
    for dir in on_members.chain([fleet.monitor.services().join(MODEL).join("plugin")]) {
        directory(&dir)?;
        let failed = |e: std::io::Error| format!("cannot remove versions in {}: {e}", dir.display());
        for entry in fs::read_dir(&dir).map_err(failed)?.flatten() {
            if entry.file_name() != announced.as_str() {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// The rsync daemon's process.
fn daemon(fleet: &Fleet) -> Result<u32> {
    let path = fleet.dir.join("rsyncd.pid");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.trim().parse().map_err(|e| format!("{}: {e}", path.display()).into())
}

struct Round<'a> {
    fleet: &'a Fleet,
    rollout: &'a Rollout<'a>,
    /// The monitor's processes, which wait for those that they start.
    monitor: [u32; 2],
}

impl Round<'_> {
    /// Pushes what is in the deploy directory, and waits until the upgrade has ended.
    fn release(&self) -> Result<Duration> {
        let before = announced(self.fleet)?;
        let begun = Instant::now();
        self.rollout.push()?;
        let in_upload = self.fleet.monitor.uploads().join(MODEL).join("success");
        let in_service = self.fleet.monitor.services().join(MODEL).join("status");
        while in_service.exists() || in_upload.exists() || announced(self.fleet)? == before {
            processes::go_on()?;
            if begun.elapsed() > LIMIT {
                return Err(format!("not every member confirmed within {} s", LIMIT.as_secs()).into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(begun.elapsed())
    }

    /// What the monitor's processes have used so far, and those that they started and that have ended.
    fn processor_seconds(&self) -> Result<f64> {
        let mut ticks = 0;
        for pid in self.monitor {
            let path = format!("/proc/{pid}/stat");
            let stat = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            // "pid (name) state ...", and a name may hold anything; utime, stime, cutime and cstime are the 14th to the 17th.
            let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ')).into_iter().flatten();
            ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u32>().ok()).sum::<u32>();
        }
        Ok(f64::from(ticks) / TICKS_PER_SECOND)
    }
}

/// The bytes that went over loopback until now, headers included.
fn over_loopback() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/dev").map_err(|e| format!("/proc/net/dev: {e}"))?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_ascii_whitespace().next());
    let bytes = bytes.and_then(|bytes| bytes.parse().ok());
    bytes.ok_or_else(|| "/proc/net/dev has no loopback".to_owned().into())
}
