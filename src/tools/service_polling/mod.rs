//! `service_polling`: replaces service_polling.sh (contract section 3).
//!
//! Run every minute on a member. Reads WATCH_ROOT/env.sh; fetches from the monitor what it
//! announces, and `config_1/service.conf`; when what is for this member differs from
//! `<workspace>/bin/etc/service.conf`, fetches the version that it names, installs both, restarts
//! the service, waits until it accepts connections on its port and reports the version. A service
//! that does not come up gets the service.conf before back. Exit codes: 0 done or nothing to do, 1
//! failed, 2 bad input file, 75 another poll is at work.

use crate::error::{Error, Result};
use crate::formats::member_state::Word;
use crate::layout::Member;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment, files, terminal, versions};
use crate::rollout::follow::{Installed, Reason, Step};

mod apply;
mod cli;
mod decide;
mod observe;
mod reports;
mod session;
mod spread;
mod state;
mod tell;

use cli::Cli;
use decide::Observed;
use observe::{Look, Settings};
use session::Session;

const PROGRAM: &str = "service_polling";

/// Runs `service_polling` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let asked = cli.spread()?;
    let member = Member { watch: environment::watch_root()?, workspace: environment::workspace_root()? };
    let settings = observe::settings(&member)?;
    if let Some(spread) = asked.or(settings.spread) {
        // Before the lock is taken: nobody is sent away with 75 by a poll that does nothing yet,
        // neither an operator who polls by hand nor the next minute's poll. That one waits as long,
        // so the two keep their distance of a minute.
        clock::pause(spread.phase(&settings.address));
    }
    prepare(&member)?;
    let _lock = Lock::take(&member.lock(), cli.wait.or(Wait::No))?;
    let polled = poll(&member, &settings);
    let cleaned = files::remove_tree(&member.incoming());
    // Also those versions whose deletion was interrupted.
    polled.and(cleaned).and(versions::delete_discarded(&member.versions(&settings.model)))
}

/// Makes the directory of what the poller keeps, for its owner alone, and the one that the script
/// leaves.
fn prepare(member: &Member) -> Result<()> {
    // legacy: service_polling.sh, `mkdir -p "$workspace/temp"`
    files::create_directories(&member.temp())?;
    files::create_private_directory(&member.rollout())
}

fn poll(member: &Member, settings: &Settings) -> Result<()> {
    let mut session = Session::begin(member, settings)?;
    let mut observed = observe::installed(member, settings)?;
    let look = match observe::look(member, settings) {
        Ok(look) => look,
        Err(error) => {
            // A service that a poll stopped and did not start again must not wait for the monitor.
            if decide::is_finished_without_monitor(&session.state) {
                apply::apply(&decide::decide(&observed, &session.state)?, &mut session)?;
            }
            return Err(error);
        }
    };
    let step = follow(&look, &observed, &mut session)?;
    observed.wanted = decide::wanted(&step, &look.service_conf)?;
    match decide::decide(&observed, &session.state) {
        Ok(plan) if plan.steps.is_empty() => keep_reported(&step, &look, &observed, &mut session),
        Ok(plan) => apply::apply(&plan, &mut session)?,
        Err(error) => {
            if !tell_of_known_failure(&error, &observed, &mut session) {
                keep_reported(&step, &look, &observed, &mut session);
            }
            return Err(error);
        }
    }
    match (step, look.refusal) {
        (Step::Wait(Reason::Unreadable), Some(refusal)) => Err(refusal),
        _ => Ok(()),
    }
}

/// What the monitor wants of this member.
fn follow(look: &Look, observed: &Observed, session: &mut Session) -> Result<Step> {
    let Settings { daemon, model, address, .. } = session.settings;
    let conf = observed.installed.as_deref();
    let installed = Installed { conf, works: conf.is_some() && session.state.works() };
    // Another model's numbers say nothing about this one's.
    let monitor = format!("{}/{model}", daemon.host);
    let memory = session.state.memory.clone();
    let (step, memory) = memory.follow(&monitor, &look.heard, &look.service_conf, installed, address);
    session.remark = reports::remark(&step, &look.heard, &memory);
    session.seen = match step {
        Step::AsScript => None,
        Step::Stay | Step::Take { .. } | Step::Wait(_) => memory.seen,
    };
    if let Step::Wait(reason) = step {
        log::debug!("waits: {reason:?}");
    }
    session.remember(memory)?;
    Ok(step)
}

/// Reports again that the version that is announced does not come up here, unless that is the
/// last report; returns whether it was news.
fn tell_of_known_failure(error: &Error, observed: &Observed, session: &mut Session) -> bool {
    let Some((version, attempt)) = decide::known_to_fail(observed, &session.state) else { return false };
    session.attempt = attempt;
    tell::tell(Word::RolledBack, &version, &error.to_string(), session)
}

/// Nothing is to be done here: what the monitor has lost of the reports is sent again, and what has
/// to be said of the monitor itself.
fn keep_reported(step: &Step, look: &Look, observed: &Observed, session: &mut Session) {
    let installed = observed.installed.as_deref().and_then(decide::names);
    let (installed, now_s) = (installed.as_ref(), clock::unix_now().0);
    let Session { state, remark, seen, .. } = &*session;
    if let Some(new) = reports::refreshed(state, step, remark, *seen, installed, now_s) {
        if *step == Step::Wait(Reason::Behind) {
            terminal::report(format!("{}: waits: {remark}", session.settings.model));
        }
        tell::refresh(new, session);
        return;
    }
    let lost = reports::lost(state, &look.copies, installed, now_s);
    tell::repeat(lost, session);
}
