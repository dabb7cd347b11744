//! rsyncd.conf with the files that it includes.

use std::path::Path;

use crate::error::Result;
use crate::formats::rsyncd_conf::RsyncdConf;
use crate::formats::rsyncd_conf::include::Found;
use crate::machine::files::{self, CONFIGURATION_LIMIT};

/// Reads a configuration. Fails when its main file is missing or cannot be read.
pub fn read(file: &Path) -> Result<RsyncdConf> {
    Ok(with_included(file, &files::read(file, CONFIGURATION_LIMIT)?))
}

/// A configuration whose main file was read already.
pub fn with_included(file: &Path, source: &[u8]) -> RsyncdConf {
    RsyncdConf::read(file, source, &mut look)
}

fn look(path: &Path) -> Found {
    let found = if files::is_directory(path) {
        files::names_in(path).map(Found::Directory)
    } else {
        files::read(path, CONFIGURATION_LIMIT).map(Found::File)
    };
    found.unwrap_or_else(|error| Found::Nothing(error.to_string()))
}
