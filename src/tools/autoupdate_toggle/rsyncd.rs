//! Edits the `hosts deny` of one module under the locks of its files, and asks the daemon afterwards.

use chrono::{DateTime, FixedOffset};

use crate::error::{Error, Result};
use crate::formats::rsyncd_conf::RsyncdConf;
use crate::ip_range::IpRange;
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, terminal};
use crate::tools::autoupdate_toggle::cli::{DaemonRequest, Denials, Verb};
use crate::tools::autoupdate_toggle::decide::{self, Edit, Site};
use crate::tools::autoupdate_toggle::{lock, observe};
use crate::tools::edit::{self, Mode};
use crate::tools::rsyncd_files;

/// Denies addresses, admits them again or says how it is. Returns the locks that it took.
pub fn edit(
    denials: &Denials,
    verb: Verb,
    ranges: &[IpRange],
    until: Option<DateTime<FixedOffset>>,
    wait: Option<Wait>,
    mode: Mode,
) -> Result<[Option<Lock>; 2]> {
    let config = denials.config.as_path();
    let decide = |conf: &RsyncdConf| -> Result<Edit> {
        let site = Site { conf, now: &clock::now(), module: &denials.module, ranges };
        decide::by_rsyncd(&site, verb, until)
    };
    let main = wait.map(|wait| lock(config, wait)).transpose()?;
    let mut edit = decide(&rsyncd_files::read(config)?)?;
    // An included file may be edited by way of another configuration, too. What was decided before it was locked counts no more.
    let other = match wait {
        Some(wait) if edit.file != config => {
            let locked = edit.file;
            let lock = lock(&locked, wait)?;
            edit = decide(&rsyncd_files::read(config)?)?;
            if edit.file != locked && edit.file != config {
                return Err(Error::locked(format!("{}: somebody edits it; try again", config.display())));
            }
            Some(lock)
        }
        _ => None,
    };
    edit::apply(&edit.actions, &edit.file, mode)?;
    Ok([main, other])
}

/// Asks the daemon whether it does what was edited, and says what it answers. Fails where it does not.
pub fn tell_effect(denials: &Denials, verb: Verb, ranges: &[IpRange]) -> Result<()> {
    let Denials { config, module, port } = denials;
    let asked = DaemonRequest { config: config.clone(), pid_file: None, port: *port };
    let seen = observe::seen(&observe::settings(&asked)?, module, ranges)?;
    let site = Site { conf: &rsyncd_files::read(config)?, now: &clock::now(), module, ranges };
    decide::effect::effect(&site, verb, &seen)?.into_iter().for_each(terminal::say);
    Ok(())
}
