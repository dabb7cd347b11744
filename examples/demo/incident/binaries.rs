//! The run with the binaries: stopped at the first member, taken back with one command, refused from then on.

use super::record::Record;
use super::{BAD, FIRST, MODEL, Story, THIRD, announced, member_list};
use crate::fleet::{Fleet, quoted};
use crate::rollout::MONITOR;
use crate::{Problem, Result, processes};

/// What the member list says about a rollout.
const POLICY: &str = "probe=rpc\nbatches=1,25%,100%\nmax_fail=1\n";
/// What `max_fail` allows.
const MAX_FAIL: usize = 1;

/// How many members each of those batches ends with.
fn targets(members: usize) -> [usize; 3] {
    [1, members.div_ceil(4), members]
}

/// Rollouts are in batches, and the services are asked.
pub fn prepare(fleet: &Fleet) -> Result<()> {
    let path = member_list(fleet);
    let list = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    crate::fleet::file(&path, &(list + POLICY))
}

/// From the bad release to the third.
pub fn tell(story: &Story) -> Result<()> {
    let before = announced(story.fleet)?;
    story.timeline.heading("A release that cannot be loaded");
    story.client.mark("bad release pushed");
    story.push(BAD)?;
    story.until_a_tick_says("stopped the rollout")?;
    story.client.mark("stopped");
    let bad = announced(story.fleet)?;
    dispatch(story, &["--status", MODEL], 1)?;
    check_touched(story, &bad)?;
    story.linger(1)?;

    story.timeline.heading("Back, with one command");
    story.client.mark("rollback");
    // The ticks take the same lock, and there is one every second.
    dispatch(story, &["--rollback", MODEL, "--why", "the model does not load", "--wait", "20"], 0)?;
    let after = announced(story.fleet)?;
    if after != before {
        return Err(Problem::Failed(format!("{before} was served before, and now {after} is announced")));
    }
    dispatch(story, &["--status", MODEL, "--watch", "--timeout", "30"], 0)?;

    story.timeline.heading("The same bytes once more");
    story.client.mark("the same bytes again: refused");
    story.rollout.push()?;
    story.until_a_tick_says("nothing is published")?;
    story.linger(1)?;
    check_touched(story, &bad)?;

    story.timeline.heading("A release that works");
    story.client.mark("third release pushed");
    story.push(THIRD)?;
    story.until_all_serve(THIRD)?;
    story.client.mark("all serve it");
    dispatch(story, &["--status", MODEL, "--watch", "--timeout", "30"], 0)?;
    story.linger(1)
}

/// Fails when more members than may fail have even fetched a version.
fn check_touched(story: &Story, version: &str) -> Result<()> {
    let touched = story.touched_by(version);
    match touched.len() {
        ..=MAX_FAIL => Ok(()),
        _ => Err(Problem::Failed(format!(
            "max_fail={MAX_FAIL}, and these were touched: {}",
            touched.join(", ")
        ))),
    }
}

/// What the client saw.
pub fn check(record: &Record, members: usize) -> Result<()> {
    record.check_batches(&targets(members))?;
    let push = record.pushes.iter().find(|(_, release)| *release == THIRD.name);
    let (third, _) = push.copied().unwrap_or((f64::INFINITY, ""));
    let in_the_incident = || record.looks.iter().filter(|look| look.seconds < third);
    let others = in_the_incident().map(|look| look.serve(FIRST.name)).min().unwrap_or(0);
    if others + MAX_FAIL < members {
        return Err(Problem::Failed(format!(
            "only {others} of {members} members went on to serve the first release beside the bad one"
        )));
    }
    if in_the_incident().all(|look| look.down() == 0) {
        return Err(Problem::Failed("the client saw nobody go down: it did not look".to_owned()));
    }
    Ok(())
}

/// A command of the operator. Fails unless it ends with that exit code.
fn dispatch(story: &Story, arguments: &[&str], exit: i32) -> Result<()> {
    let shown: Vec<String> = ["dispatch"].iter().chain(arguments).map(|word| quoted(word)).collect();
    let shown = shown.join(" ");
    story.timeline.command(MONITOR, &shown);
    let mut command = story.rollout.binary("dispatch");
    command.args(arguments).env("MONITOR_ROOT", &story.fleet.monitor.root);
    let finished = processes::run(&story.fleet.dir, &mut command, &story.rollout.log("operator.log"))?;
    story.timeline.table(&finished.text);
    match finished.status.code() {
        Some(code) if code == exit => Ok(()),
        _ => Err(Problem::Failed(format!("{shown}: {}, not {exit}", finished.status))),
    }
}
