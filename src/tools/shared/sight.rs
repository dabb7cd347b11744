//! Whether members can fetch what this monitor announces: it asks its own rsync daemon, as a member
//! would.

use std::path::Path;

use crate::error::{Error, Result};
use crate::layout::{FIRST_SERVICE_CONF, ROLLOUT, SERVICE_MODULE, STATE_DOCUMENT};
use crate::machine::files;
use crate::machine::rsync::{self, Daemon, Limits, Remote, Transfer};
use crate::names::ModelName;
use crate::rollout::state::Sight;

/// Asks for service.conf and for a file beside the announcement, in one connection. Neither is
/// transferred: it is only seen that the daemon has them. `dir` is a directory of this run's own,
/// which is removed again.
///
/// Fails where the daemon has the one and hides the other: then a rollout in batches would go to
/// nobody, and holds not be seen.
pub fn sight(daemon: &Daemon, model: &ModelName, dir: &Path) -> Result<Sight> {
    let fetch = Transfer::FetchTogether {
        from: Remote { module: SERVICE_MODULE, path: format!("{model}/") },
        names: [STATE_DOCUMENT, FIRST_SERVICE_CONF].map(str::to_owned).into(),
        to: dir.to_path_buf(),
        // Larger than that is every file: it is left out, and known to be there.
        limit: 1,
    };
    let asked = rsync::run(daemon, &fetch, Limits::BRIEF);
    let is_there = |name: &str| files::facts(&dir.join(name)).map(|facts| facts.is_some());
    let found = asked.and_then(|_| Ok((is_there(FIRST_SERVICE_CONF)?, is_there(STATE_DOCUMENT)?)));
    files::remove_tree(dir)?;
    match found {
        Ok((true, true)) => Ok(Sight::Seen),
        Ok((true, false)) => Err(Error::failed(format!(
            "{model}: the rsync daemon hides {model}/{ROLLOUT}/ of {SERVICE_MODULE} (exclude or filter in rsyncd.conf), so no \
             member could see who is admitted or held; nothing is announced: let the daemon show it"
        ))),
        Ok((false, _)) => Ok(Sight::Blind),
        Err(error) => {
            log::debug!("{error}");
            Ok(Sight::Blind)
        }
    }
}
