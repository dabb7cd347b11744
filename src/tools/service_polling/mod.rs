//! `service_polling`: replaces service_polling.sh (contract section 3).
//!
//! Run every minute on a member. Reads WATCH_ROOT/env.sh; fetches `config_1/service.conf` from the monitor and, when it
//! differs from `<workspace>/bin/etc/service.conf`, the version that it names; installs both, restarts the service, waits
//! until it accepts connections on its port and reports the version. A service that does not come up gets the service.conf
//! before back. Exit codes: 0 done or nothing to do, 1 failed, 2 bad input file, 75 another poll is at work.

use crate::error::Result;
use crate::formats::member_state::Word;
use crate::layout::Member;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, environment, files, versions};

mod apply;
mod cli;
mod decide;
mod observe;
mod spread;
mod tell;

use cli::Cli;
use decide::Observed;
use observe::{Announced, Settings};

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
        // Before the lock is taken: nobody is sent away with 75 by a poll that does nothing yet, neither an operator who
        // polls by hand nor the next minute's poll. That one waits as long, so the two keep their distance of a minute.
        clock::pause(spread.phase(&settings.address));
    }
    let _lock = Lock::take(&member.lock(), cli.wait.or(Wait::No))?;
    let polled = poll(&member, &settings);
    let cleaned = files::remove_tree(&member.incoming());
    // Also those versions whose deletion was interrupted.
    polled.and(cleaned).and(versions::delete_discarded(&member.versions(&settings.model)))
}

fn poll(member: &Member, settings: &Settings) -> Result<()> {
    let installed = observe::installed(member, settings)?;
    match observe::announced(member, settings, &installed) {
        Ok(Announced { service_conf, is_held_back, manifest }) => {
            let observed = Observed { fetched: service_conf, is_held_back, manifest, ..installed };
            carry_out(&observed, member, settings)
        }
        Err(error) => {
            // A service that a poll stopped and did not start again must not wait for the monitor.
            if let Some(observed) = decide::without_monitor(installed) {
                carry_out(&observed, member, settings)?;
            }
            Err(error)
        }
    }
}

fn carry_out(observed: &Observed, member: &Member, settings: &Settings) -> Result<()> {
    match decide::decide(observed) {
        Ok(plan) => apply::apply(&plan, member, settings),
        Err(error) => {
            if let Some(version) = decide::known_to_fail(observed) {
                tell::tell(Word::RolledBack, &version, &error.to_string(), member, settings);
            }
            Err(error)
        }
    }
}
