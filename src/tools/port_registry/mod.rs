//! `port-registry list|check|add`: the table of ports and service ids, which is kept by hand (manual, step 4.7; contract
//! section 3, "the port registry").
//!
//! The table is that of `--file`, otherwise of the environment variable `PORT_REGISTRY`, otherwise of
//! `scripts/dispatch/conf/ports.md` below `MONITOR_ROOT`. `check` also reads every `config_*/service.conf` of the monitor.
//! `add` replaces the file, through a link if it is one; beside it lies its lock, `.NAME.lock`.
//!
//! Exit codes: 0 done, nothing to do or no finding, 1 findings or taken, 2 wrong usage or a file that cannot be read, 75
//! another run edits the file.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, one_line};
use crate::formats::port_table::PortTable;
use crate::formats::service_conf::lint;
use crate::layout::{self, Monitor};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{configurations, environment, terminal};
use crate::names::ModelName;
use crate::tools::edit::{self, Mode};

mod cli;
mod decide;

use cli::{Cli, NewRow, Task};
use decide::Use;

const PROGRAM: &str = "port-registry";

/// How long another run is waited for without --wait: an edit takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(2));

/// Runs `port-registry` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (task, file) = cli.task()?;
    let file = match file.or_else(environment::port_registry) {
        Some(file) => file,
        None => monitor()?.port_table(),
    };
    match task {
        Task::List => {
            decide::listing(&table(&file)?).iter().for_each(|line| terminal::say(one_line(line)));
            Ok(())
        }
        Task::Check => {
            let looked_at = table(&file).and_then(|table| Ok((table, uses(&monitor()?)?)));
            let (table, uses) = looked_at.map_err(super::unreadable)?;
            super::report(&decide::check(&file, &table, &uses), "about ports and service ids")
        }
        Task::Add(row, wait, mode) => add(&file, &row, wait.or(LOCK_WAIT), mode),
    }
}

fn add(file: &Path, row: &NewRow, wait: Wait, mode: Mode) -> Result<()> {
    // No lock is left beside a file that is not there.
    table(file)?;
    let place = files::followed(file);
    let _lock = match mode {
        Mode::Write => Some(Lock::take(&layout::lock_of(&place), wait)?),
        Mode::Show => None,
    };
    // A table that is kept elsewhere can be added to where there is no monitor.
    let uses = match monitor() {
        Ok(monitor) => uses(&monitor)?,
        Err(_) => Vec::new(),
    };
    edit::apply(&decide::add(file, &table(file)?, row, &uses)?, &place, mode)
}

fn monitor() -> Result<Monitor> {
    Ok(Monitor { root: environment::monitor_root()? })
}

fn table(file: &Path) -> Result<PortTable> {
    let Some(source) = files::read_if_exists(file, CONFIGURATION_LIMIT)? else {
        let file = file.display();
        return Err(Error::usage(format!(
            "{file} is not there; put the table there, or name it with --file or PORT_REGISTRY"
        )));
    };
    PortTable::parse(&source).map_err(|finding| finding.in_file(file))
}

/// The ports that the service.conf files of the monitor name.
fn uses(monitor: &Monitor) -> Result<Vec<Use>> {
    let mut uses = Vec::new();
    for name in files::names_in(&monitor.services())? {
        // A directory that no model can have is somebody's own.
        let Ok(model) = ModelName::parse(name.as_bytes()) else { continue };
        let service = monitor.service(&model);
        if !files::finds_directory(&service.dir)? {
            continue;
        }
        files::check_within(&monitor.services(), &service.dir)?;
        let of_conf = |(file, bytes): &(PathBuf, Vec<u8>)| {
            let (line, port, id) = lint::claims(bytes)?;
            let service_id = id.map(<[u8]>::to_vec);
            Some(Use { file: file.clone(), line, model: model.clone(), port, service_id })
        };
        uses.extend(configurations::of(&service)?.iter().filter_map(of_conf));
    }
    Ok(uses)
}
