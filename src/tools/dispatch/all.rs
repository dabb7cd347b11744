//! `dispatch --all`: every stanza of the registry in one process, the registry read as data and never executed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result};
use crate::formats::Source;
use crate::formats::dispatchserver_sh::{Step, Steps};
use crate::formats::shell::Context;
use crate::layout::{self, Monitor};
use crate::machine::files::{self, Appender};
use crate::machine::locks::Lock;
use crate::machine::{clock, environment, terminal};
use crate::tools::dispatch::cli::{Manner, Target};

/// The largest registry that is read, in bytes: a stanza has about 400.
const REGISTRY_LIMIT: u64 = 64 << 20;

/// How many lines that cannot be read are named; the others are counted.
const NAMED: usize = 20;

/// Does every stanza. What cannot be read or fails is reported, and the others go on; the gravest failure is the run's.
pub fn run(monitor: &Monitor, registry: Option<PathBuf>, manner: Manner) -> Result<()> {
    super::check_mounted(monitor)?;
    let path = registry.unwrap_or_else(|| monitor.registry());
    let source = files::read(&path, REGISTRY_LIMIT)?;
    let _lock = Lock::take(&layout::tick_lock_of(&path), super::wait(manner))?;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let source = Source::new(&source);
    let mut tick = Tick {
        monitor,
        path: &path,
        manner,
        log: Steps::new(&source, &context).find_map(|step| log_of(&step).map(<[u8]>::to_vec)),
        logs: Logs::beside(&path),
        problems: Vec::new(),
        unreadable: 0,
        left_out: 0,
    };
    for step in Steps::new(&source, &context) {
        tick.step(&step);
    }
    tick.summary()
}

/// The log file that a step writes to.
fn log_of(step: &Step) -> Option<&[u8]> {
    match step {
        Step::Log { file, .. } => Some(file),
        Step::Dispatch { log, .. } => log.as_deref(),
        Step::Unreadable(_) => None,
    }
}

/// One run over the registry.
struct Tick<'a> {
    monitor: &'a Monitor,
    path: &'a Path,
    manner: Manner,
    /// Where the registry's own problems are written: the first log file that it names.
    log: Option<Vec<u8>>,
    logs: Logs,
    problems: Vec<Exit>,
    /// How many lines could not be read.
    unreadable: usize,
    /// How many lines were left out because of those.
    left_out: usize,
}

impl Tick<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Log { text, file, .. } => {
                let line = text.render(&clock::now());
                if let Err(error) = self.logs.append(file, &line) {
                    self.report(None, error);
                }
            }
            Step::Unreadable(refusal) if refusal.follows => {
                self.left_out += 1;
                self.problems.push(Exit::Usage);
            }
            Step::Unreadable(refusal) => {
                self.unreadable += 1;
                match self.unreadable <= NAMED {
                    true => self.report(self.log.clone().as_deref(), refusal.in_file(self.path)),
                    false => self.problems.push(Exit::Usage),
                }
            }
            Step::Dispatch { line, model, prefix, so_name, log } => {
                let place = || format!("{}:{line}", self.path.display());
                match Target::parse(model, prefix, so_name) {
                    Ok(target) => self.dispatch(&target, log.as_deref()),
                    Err(error) => {
                        let error = error.context(place());
                        self.report(log.as_deref(), error);
                    }
                }
            }
        }
    }

    fn dispatch(&mut self, target: &Target, log: Option<&[u8]>) {
        let logs = &mut self.logs;
        let mut say = |line: &str| match log {
            Some(file) => logs.append(file, format!("{line}\n").as_bytes()),
            None => {
                terminal::say(line);
                Ok(())
            }
        };
        if let Err(error) = super::tick(self.monitor, target, self.manner, &mut say) {
            self.report(log, error);
        }
    }

    /// A problem goes to standard error, and to the model's log: under cron standard error is often thrown away.
    fn report(&mut self, log: Option<&[u8]>, error: Error) {
        terminal::complain(super::PROGRAM, &error);
        if let Some(file) = log {
            let line = format!("{}: {error}\n", super::PROGRAM);
            if let Err(error) = self.logs.append(file, line.as_bytes()) {
                terminal::complain(super::PROGRAM, &error);
            }
        }
        self.problems.push(error.exit);
    }

    /// Every problem was reported already: what remains is the exit code, and what was not done because of it.
    fn summary(&self) -> Result<()> {
        let Some(&exit) = self.problems.iter().max() else { return Ok(()) };
        let count = match self.problems.len() - self.left_out {
            1 => "1 problem, see above".to_owned(),
            many => format!("{many} problems, see above"),
        };
        let unnamed = match self.unreadable.checked_sub(NAMED) {
            Some(more @ 1..) => format!("; {more} more lines cannot be read"),
            _ => String::new(),
        };
        let left_out = match self.left_out {
            0 => String::new(),
            lines => format!("; {lines} lines that depend on them were left out"),
        };
        Err(Error::with_exit(exit, format!("{count}{unnamed}{left_out}; the other models are done")))
    }
}

/// The log files that the registry names, each opened once. A relative name is relative to the registry's directory,
/// where cron's line changes to before it runs the script.
struct Logs {
    base: PathBuf,
    open: BTreeMap<Vec<u8>, Appender>,
}

impl Logs {
    fn beside(registry: &Path) -> Logs {
        let base = registry.parent().unwrap_or(Path::new("")).to_path_buf();
        Logs { base, open: BTreeMap::new() }
    }

    fn append(&mut self, file: &[u8], bytes: &[u8]) -> Result<()> {
        if !self.open.contains_key(file) {
            let appender = Appender::open(&self.base.join(OsStr::from_bytes(file)))?;
            self.open.insert(file.to_vec(), appender);
        }
        self.open.get_mut(file).map_or(Ok(()), |appender| appender.append(bytes))
    }
}
