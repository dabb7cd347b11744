//! The run with the scripts: the whole fleet goes down, is reported as a success, and stays so until somebody pushes again.

use super::record::Record;
use super::{BAD, FIRST, Story, announced};
use crate::fleet::{Fleet, file};
use crate::{Problem, Result};

/// The scripts on every host.
pub fn prepare(fleet: &Fleet) -> Result<()> {
    file(&fleet.deploy.dir.join("rsync.sh"), include_str!("../../../legacy-scripts/rsync.sh"))?;
    let dispatch = fleet.monitor.root.join("scripts/dispatch/bin/dispatch.sh");
    file(&dispatch, include_str!("../../../legacy-scripts/dispatch.sh"))?;
    let poller = include_str!("../../../legacy-scripts/service_polling.sh");
    fleet.members.iter().try_for_each(|member| file(&member.trees.watch.join("service_polling.sh"), poller))
}

/// From the bad release to the first again.
pub fn tell(story: &Story) -> Result<()> {
    let all = story.fleet.members.len();
    story.timeline.heading("The same release that cannot be loaded");
    story.client.mark("bad release pushed");
    story.push(BAD)?;
    let what = format!("all {all} members are down");
    story.client.wait_until(&what, |look| look.down() == all)?;
    story.client.mark("all down");
    story.timeline.outcome(&what);
    // Which is what the monitor knows of it.
    story.until_a_tick_says(&format!("all members have {}", announced(story.fleet)?))?;
    story.linger(4)?;

    story.timeline.heading("Back, by a push of the first release");
    story.client.mark("first release pushed again");
    story.push(FIRST)?;
    story.until_all_serve(FIRST)?;
    story.client.mark("all serve it");
    story.linger(1)
}

/// What the client saw.
pub fn check(record: &Record, members: usize) -> Result<()> {
    match record.most_down() {
        down if down == members => Ok(()),
        down => Err(Problem::Failed(format!("only {down} of {members} members went down with the scripts"))),
    }
}
