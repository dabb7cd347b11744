//! Figures of long experiments, for a report that is written from them later.

use std::io::Write;
use std::path::PathBuf;

/// Appends what was counted as a line `WHAT<TAB>COUNT` to `figures.tsv` in the directory that `MODEL_ROLLOUT_FIGURES` names;
/// without that variable nobody wants to know.
pub fn record(what: &str, count: usize) {
    let Some(dir) = std::env::var_os("MODEL_ROLLOUT_FIGURES").filter(|dir| !dir.is_empty()) else { return };
    let file = PathBuf::from(dir).join("figures.tsv");
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(&file);
    opened
        .and_then(|mut figures| figures.write_all(format!("{what}\t{count}\n").as_bytes()))
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
