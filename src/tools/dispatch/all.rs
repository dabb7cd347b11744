//! `dispatch --all`: every stanza of the registry in one process, the registry read as data and never executed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::error::{Error, Exit, Result};
use crate::formats::dispatchserver_sh::{Step, Steps};
use crate::formats::shell::Context;
use crate::formats::{Refusal, Source};
use crate::layout::{self, Monitor};
use crate::machine::files::{self, Appender};
use crate::machine::locks::Lock;
use crate::machine::{clock, environment, terminal};
use crate::rollout::tick::Target;
use crate::time::{Dates, LocalTime};
use crate::tools::dispatch::cli::Manner;
use crate::tools::dispatch::jobs::{Done, Jobs, Line, Stanza};
use crate::tools::dispatch::models::Models;

/// The largest registry that is read, in bytes: a stanza has about 400.
pub const REGISTRY_LIMIT: u64 = 64 << 20;

/// How many lines that cannot be read are named; the others are counted.
const NAMED: usize = 20;

/// Does every stanza. What cannot be read or fails is reported, and the others go on; the gravest failure is the run's.
pub fn run(monitor: &Monitor, registry: Option<PathBuf>, manner: Manner) -> Result<()> {
    let models = Models::open(monitor)?;
    let path = registry.unwrap_or_else(|| monitor.registry());
    let source = files::read(&path, REGISTRY_LIMIT)?;
    let lock = Lock::take(&layout::tick_lock_of(&path), super::wait(manner))?;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let source = Source::new(&source);
    let mut tick = Tick {
        models: &models,
        path: &path,
        manner,
        log: Steps::new(&source, &context).find_map(log_of),
        logs: Logs::beside(&path),
        dates: Dates::default(),
        problems: Vec::new(),
        unreadable: 0,
        left_out: 0,
    };
    thread::scope(|scope| {
        let mut jobs = Jobs::new(scope, &models, manner);
        tick.steps(Steps::new(&source, &context), &mut jobs);
        while let Some(done) = jobs.next_queued() {
            tick.done(done);
        }
        // Those that are still at work have locks of their own; the next tick need not wait for them.
        drop(lock);
        while let Some(done) = jobs.next() {
            tick.done(done);
        }
    });
    tick.flush();
    tick.summary()
}

/// The log file that a step writes to.
fn log_of(step: Step) -> Option<Cow<[u8]>> {
    match step {
        Step::Log { file, .. } => Some(file),
        Step::Dispatch { log, .. } => log,
        Step::Unreadable(_) => None,
    }
}

/// One run over the registry.
struct Tick<'a> {
    models: &'a Models<'a>,
    path: &'a Path,
    manner: Manner,
    /// Where the registry's own problems are written: the first log file that it names.
    log: Option<Cow<'a, [u8]>>,
    logs: Logs,
    dates: Dates,
    problems: Vec<Exit>,
    /// How many lines could not be read.
    unreadable: usize,
    /// How many lines were left out because of those.
    left_out: usize,
}

impl<'a> Tick<'a> {
    fn steps(&mut self, steps: Steps<'a>, jobs: &mut Jobs<'_, 'a>) {
        let mut steps = steps.peekable();
        // The line that a stanza begins with.
        let mut before = Vec::new();
        while let Some(step) = steps.next() {
            match step {
                Step::Log { text, file, .. } => before.push(Line { text, file }),
                Step::Unreadable(refusal) => {
                    self.write(&std::mem::take(&mut before));
                    self.unreadable(&refusal);
                }
                Step::Dispatch { line, model, prefix, so_name, log } => {
                    let after = match steps.next_if(|next| matches!(next, Step::Log { .. })) {
                        Some(Step::Log { text, file, .. }) => Some(Line { text, file }),
                        _ => None,
                    };
                    let stanza = Stanza { before: std::mem::take(&mut before), log, after };
                    match Target::parse(&model, &prefix, &so_name) {
                        Ok(target) => self.stanza(target, stanza, jobs),
                        Err(error) => {
                            let error = error.context(format!("{}:{line}", self.path.display()));
                            self.write(&stanza.before);
                            self.report(stanza.log.as_deref(), error);
                            self.write(stanza.after.as_slice());
                        }
                    }
                }
            }
        }
        self.write(&before);
    }

    fn unreadable(&mut self, refusal: &Refusal) {
        if refusal.follows {
            self.left_out += 1;
            self.problems.push(Exit::Usage);
            return;
        }
        self.unreadable += 1;
        match self.unreadable <= NAMED {
            true => self.report(self.log.clone().as_deref(), refusal.in_file(self.path)),
            false => self.problems.push(Exit::Usage),
        }
    }

    fn stanza(&mut self, target: Target, stanza: Stanza<'a>, jobs: &mut Jobs<'_, 'a>) {
        match self.models.is_at_rest(&target.model) {
            Ok(false) if self.manner.jobs > 1 => {
                jobs.start(target, stanza);
                while let Some(done) = jobs.next_ended() {
                    self.done(done);
                }
            }
            Ok(false) => {
                self.write(&stanza.before);
                // Before what may take long.
                self.flush();
                self.dispatch(&target, stanza.log.as_deref());
                self.write(stanza.after.as_slice());
            }
            at_rest => {
                let now = clock::now();
                self.write_as_of(&stanza.before, &now);
                if let Err(error) = at_rest {
                    self.report(stanza.log.as_deref(), error);
                }
                self.write_as_of(stanza.after.as_slice(), &now);
            }
        }
    }

    fn dispatch(&mut self, target: &Target, log: Option<&[u8]>) {
        let logs = &mut self.logs;
        let mut say = |line: &str| match log {
            Some(file) => logs.append(file, format!("{line}\n").as_bytes()).and_then(|()| logs.flush()),
            None => {
                terminal::say(line);
                Ok(())
            }
        };
        if let Err(error) = super::tick(self.models, target, self.manner, &mut say) {
            self.report(log, error);
        }
    }

    /// What a model that was worked on beside others has to say, in one piece.
    fn done(&mut self, Done { stanza, began, said, problem }: Done) {
        let log = stanza.log.as_deref();
        self.write_as_of(&stanza.before, &began);
        for line in said {
            let written = match log {
                Some(file) => self.logs.append(file, format!("{line}\n").as_bytes()),
                None => {
                    terminal::say(line);
                    Ok(())
                }
            };
            if let Err(error) = written {
                self.report(None, error);
            }
        }
        if let Some(error) = problem {
            self.report(log, error);
        }
        self.write(stanza.after.as_slice());
        self.flush();
    }

    fn write(&mut self, lines: &[Line]) {
        if !lines.is_empty() {
            self.write_as_of(lines, &clock::now());
        }
    }

    fn write_as_of(&mut self, lines: &[Line], now: &LocalTime) {
        for Line { text, file } in lines {
            let dates = &mut self.dates;
            if let Err(error) = self.logs.append_with(file, |waiting| text.render(now, dates, waiting)) {
                self.report(None, error);
            }
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.logs.flush() {
            self.report(None, error);
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
        let count = see_above(self.problems.len() - self.left_out);
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

/// What remains to be said where so many problems were reported already.
pub fn see_above(problems: usize) -> String {
    match problems {
        1 => "1 problem, see above".to_owned(),
        many => format!("{many} problems, see above"),
    }
}

/// How many bytes for a log wait until they are written: a model at rest has two lines of some 100 bytes.
const WAITING: usize = 32 << 10;

/// The log files that the registry names, each opened once. A relative name is relative to the registry's directory,
/// where cron's line changes to before it runs the script. What is appended is written with what comes after it.
struct Logs {
    base: PathBuf,
    open: BTreeMap<Vec<u8>, Log>,
}

struct Log {
    appender: Appender,
    waiting: Vec<u8>,
}

impl Log {
    fn flush(&mut self) -> Result<()> {
        let written = if self.waiting.is_empty() { Ok(()) } else { self.appender.append(&self.waiting) };
        self.waiting.clear();
        written
    }
}

impl Logs {
    fn beside(registry: &Path) -> Logs {
        let base = registry.parent().unwrap_or(Path::new("")).to_path_buf();
        Logs { base, open: BTreeMap::new() }
    }

    fn append(&mut self, file: &[u8], bytes: &[u8]) -> Result<()> {
        self.append_with(file, |waiting| waiting.extend_from_slice(bytes))
    }

    fn append_with(&mut self, file: &[u8], put: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        if !self.open.contains_key(file) {
            let appender = Appender::open(&self.base.join(OsStr::from_bytes(file)))?;
            self.open.insert(file.to_vec(), Log { appender, waiting: Vec::new() });
        }
        let Some(log) = self.open.get_mut(file) else { return Ok(()) };
        put(&mut log.waiting);
        if log.waiting.len() < WAITING { Ok(()) } else { log.flush() }
    }

    /// Writes what waits, to every log; the first failure is returned.
    fn flush(&mut self) -> Result<()> {
        self.open.values_mut().map(Log::flush).fold(Ok(()), Result::and)
    }
}
