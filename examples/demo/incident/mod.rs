//! `make demo-fleet`: a release that cannot be loaded reaches a fleet, once through the binaries and once through the
//! scripts, while a client asks every service ten times a second what it serves.
//!
//! Fails unless the binaries stop it at the first member, go back with one command and refuse it from then on, with nobody
//! down but the batch in turn; and unless the scripts take the whole fleet down.

use std::path::{Path, PathBuf};

use crate::fleet::{Fleet, MODEL, Member};
use crate::ground::Ground;
use crate::rollout::{Release, Rollout};
use crate::timeline::{Timeline, say};
use crate::{Result, processes};

mod binaries;
mod client;
pub mod clockwork;
mod picture;
mod record;
mod scripts;

use client::Client;
use clockwork::Side;
use record::Record;
pub use scripts::prepare as prepare_scripts;

/// A model takes its time to load: so long a member is down when it is restarted.
const LOAD_SECONDS: u8 = 1;

/// What is served when the record begins.
const FIRST: Release =
    Release { name: "first", bias: "0.5", weight: "2", score: "20.5", load_seconds: LOAD_SECONDS };
/// Its data holds no figure, so that no service can load it.
const BAD: Release =
    Release { name: "bad", bias: "0.25", weight: "lost", score: "-", load_seconds: LOAD_SECONDS };
/// The one that puts it right.
const THIRD: Release =
    Release { name: "third", bias: "0.25", weight: "3", score: "30.25", load_seconds: LOAD_SECONDS };

/// How large the fleets are, and where the record goes.
pub struct Incident {
    /// Members that run the binaries.
    pub members: u8,
    /// Members that run the scripts.
    pub legacy_members: u8,
    /// The directory that fleet.csv and fleet.svg are written to.
    pub record: Option<PathBuf>,
}

/// Shows both runs, and writes them down.
pub fn show(incident: &Incident) -> Result<()> {
    let with_binaries = on_ground(|dir| run(dir, incident.members, Side::Binaries))?;
    let with_scripts = on_ground(|dir| run(dir, incident.legacy_members, Side::Scripts))?;
    say("");
    summary("binaries", &with_binaries);
    summary("scripts", &with_scripts);
    if let Some(dir) = &incident.record {
        write(dir, &with_binaries, &with_scripts)?;
    }
    // Only now: a record of what went wrong is of use, too.
    binaries::check(&with_binaries, usize::from(incident.members))?;
    scripts::check(&with_scripts, usize::from(incident.legacy_members))
}

/// Everything of a run is gone when it is over, however it ends.
pub fn on_ground<T>(act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let ground = Ground::new()?;
    // A signal may also show as a failure of what it hit.
    let done = act(ground.dir()).or_else(|problem| processes::go_on().and(Err(problem)));
    ground.clear()?;
    done
}

fn run(dir: &Path, members: u8, side: Side) -> Result<Record> {
    let timeline = Timeline::start(dir);
    timeline.heading(&format!("{members} members with the {}. DIR is {}", name(side), dir.display()));
    let fleet = Fleet::set_up(dir, members, &timeline)?;
    let rollout = Rollout { fleet: &fleet, timeline: &timeline };
    let client = Client::start(fleet.members.iter().map(|member| fleet.service_of(member)).collect());
    let story = Story { fleet: &fleet, rollout: &rollout, timeline: &timeline, client: &client };
    rollout.register()?;
    match side {
        Side::Binaries => binaries::prepare(&fleet)?,
        Side::Scripts => scripts::prepare(&fleet)?,
    }
    story.begin(side)?;
    match side {
        Side::Binaries => binaries::tell(&story)?,
        Side::Scripts => scripts::tell(&story)?,
    }
    Ok(client.end())
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Binaries => "binaries",
        Side::Scripts => "scripts",
    }
}

/// A run while it goes on.
struct Story<'a> {
    fleet: &'a Fleet,
    rollout: &'a Rollout<'a>,
    timeline: &'a Timeline,
    client: &'a Client,
}

impl Story<'_> {
    /// The jobs begin, the first release reaches everybody, and the record begins.
    fn begin(&self, side: Side) -> Result<()> {
        self.timeline.heading("The first release");
        self.push(FIRST)?;
        clockwork::tick(self.fleet, side)?;
        for member in &self.fleet.members {
            clockwork::poll(self.fleet, member, side)?;
        }
        self.until_all_serve(FIRST)?;
        self.client.begin_again(FIRST.name);
        self.linger(1)
    }

    /// Builds a release and pushes it.
    fn push(&self, release: Release) -> Result<()> {
        self.rollout.build(release)?;
        self.client.pushes(release.name);
        self.rollout.push()
    }

    fn until_all_serve(&self, release: Release) -> Result<()> {
        let all = self.fleet.members.len();
        let what = format!("all {all} members serve the {} release", release.name);
        self.client.wait_until(&what, |look| look.serve(release.name) == all)?;
        self.timeline.outcome(&what);
        Ok(())
    }

    /// Lets so many seconds pass.
    fn linger(&self, seconds: u64) -> Result<()> {
        let begin = std::time::Instant::now();
        processes::wait_until("time passes", || Ok(begin.elapsed().as_secs() >= seconds))
    }

    /// The members that fetched a version.
    fn touched_by(&self, version: &str) -> Vec<String> {
        let has_it =
            |member: &&Member| member.trees.workspace.join(format!("plugin/{MODEL}/{version}")).exists();
        self.fleet.members.iter().filter(has_it).map(|member| member.address.to_string()).collect()
    }

    /// Waits until a tick says this; the line.
    fn until_a_tick_says(&self, words: &str) -> Result<String> {
        let log = self.rollout.log(clockwork::TICKS);
        let mut found = None;
        processes::wait_until(&format!("a tick says \u{201c}{words}\u{201d}"), || {
            let said = self.rollout.dispatch_log() + &std::fs::read_to_string(&log).unwrap_or_default();
            found = said.lines().find(|line| line.contains(words)).map(str::to_owned);
            Ok(found.is_some())
        })?;
        let line = found.unwrap_or_default();
        self.timeline.outcome(&line);
        Ok(line)
    }
}

fn summary(fleet: &str, record: &Record) {
    let seconds = record.looks.last().map_or(0.0, |look| look.seconds);
    say(format_args!(
        "{fleet}: the client looked {} times in {seconds:.0} s ({} more took too long to be one moment); at most {} down",
        record.looks.len(),
        record.blurred,
        record.most_down(),
    ));
}

/// The releases that are served, in the order in which they are stacked.
const RELEASES: [&str; 2] = [FIRST.name, THIRD.name];

fn write(dir: &Path, with_binaries: &Record, with_scripts: &Record) -> Result<()> {
    let csv = format!(
        "fleet,seconds,{},down\n{}{}",
        RELEASES.join(","),
        record::csv("binaries", with_binaries, &RELEASES),
        record::csv("scripts", with_scripts, &RELEASES),
    );
    let svg = picture::of(&[("with the binaries", with_binaries), ("with the scripts", with_scripts)]);
    for (name, text) in [("fleet.csv", csv), ("fleet.svg", svg)] {
        crate::fleet::file(&dir.join(name), &text)?;
        say(format_args!("wrote {}", dir.join(name).display()));
    }
    Ok(())
}

/// The member list of the monitor.
fn member_list(fleet: &Fleet) -> PathBuf {
    fleet.monitor.member_lists().join(format!("{MODEL}.env.sh"))
}

/// What service.conf on the monitor announces.
pub fn announced(fleet: &Fleet) -> Result<String> {
    let path = fleet.monitor.services().join(MODEL).join("config_1/service.conf");
    let conf = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let version = model_rollout::formats::service_conf::value(&conf, "moduleversion").unwrap_or_default();
    Ok(String::from_utf8_lossy(version).into_owned())
}
