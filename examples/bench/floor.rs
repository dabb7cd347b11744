//! The least that a tick over models at rest has to do, as a process of its own: it takes a lock, reads the registry, looks for `status` and
//! `success` of every model, as the script does, and writes two lines for each into the log. It keeps none of the promises beside that.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::Result;

/// The first argument of this program as that process; the monitor's tree follows.
pub const FLOOR: &str = "--floor";

/// As much as `dispatch` lets wait before it writes it to the log, bytes.
const WAITING: usize = 32 << 10;

/// Does it; with the looks that the promises of `dispatch` need, too, where they are asked for.
pub fn tick(root: &Path, looks: &str) -> Result<()> {
    least(root, looks == PROMISED).map_err(|e| format!("{}: {e}", root.display()))
}

/// With this second argument it also looks for what a run that was killed has left, for holds, for
/// the model's state and its directory.
pub const PROMISED: &str = "promised";

fn least(root: &Path, is_promised: bool) -> std::io::Result<()> {
    let scripts = root.join("scripts/dispatch");
    let lock = File::create(scripts.join("bin/.floor.lock"))?;
    fs2::FileExt::lock_exclusive(&lock)?;
    let registry = fs::read_to_string(scripts.join("bin/dispatchserver.sh"))?;
    let mut log = OpenOptions::new().append(true).create(true).open(scripts.join("log/floor.log"))?;
    let mut waiting = Vec::with_capacity(WAITING + 256);
    let data = root.join("rsync_service_data");
    let [uploads, services] = ["datamining_plugin", "datamining_service"].map(|name| data.join(name));
    let models = registry.lines().filter_map(|line| line.strip_prefix("mymodel=\"")?.strip_suffix('"'));
    for model in models {
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        if is_there(&services.join(model).join("status")) || is_there(&uploads.join(model).join("success")) {
            return Err(std::io::Error::other(format!("{model} is not at rest")));
        }
        if is_promised {
            let service = services.join(model);
            let left = [
                uploads.join(model).join(".success.removing"),
                service.join(".rollout/held"),
                service.join(".rollout/state.json"),
                service.join("plugin/.discarded"),
            ];
            if left.iter().any(|path| is_there(path)) || !is_there(&service) {
                return Err(std::io::Error::other(format!("{model} is not at rest")));
            }
        }
        for what in ["start", "end"] {
            writeln!(
                waiting,
                "==================begin {what} run {model}================================Fri Nov 27 03:42:41 UTC 2026"
            )?;
        }
        if waiting.len() >= WAITING {
            log.write_all(&waiting)?;
            waiting.clear();
        }
    }
    log.write_all(&waiting)
}
