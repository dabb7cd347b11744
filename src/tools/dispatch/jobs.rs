//! `dispatch --all --jobs N`: models that have something to be done are worked on beside each other, so that a large one
//! delays no other. What each has to say is kept until it ends.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Scope;

use crate::error::{Error, Exit};
use crate::formats::dispatchserver_sh::LogLine;
use crate::machine::clock;
use crate::rollout::tick::Target;
use crate::time::LocalTime;
use crate::tools::dispatch::cli::Manner;
use crate::tools::dispatch::models::Models;

/// A line that the registry writes to a log.
pub struct Line<'a> {
    /// What is written.
    pub text: LogLine<'a>,
    /// To which file.
    pub file: Cow<'a, [u8]>,
}

/// What surrounds a model's tick in the registry.
pub struct Stanza<'a> {
    /// The lines that come before it.
    pub before: Vec<Line<'a>>,
    /// Where its output goes; standard output where it names no file.
    pub log: Option<Cow<'a, [u8]>>,
    /// The line that comes after it.
    pub after: Option<Line<'a>>,
}

/// A model's tick that has ended.
pub struct Done<'a> {
    /// What surrounds it.
    pub stanza: Stanza<'a>,
    /// When it began.
    pub began: LocalTime,
    /// Its lines.
    pub said: Vec<String>,
    /// Why it failed.
    pub problem: Option<Error>,
}

/// The ticks that are at work, and those that wait for one of them to end.
pub struct Jobs<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    models: &'env Models<'env>,
    manner: Manner,
    queue: VecDeque<(Target, Stanza<'env>)>,
    running: usize,
    ended: Sender<Done<'env>>,
    inbox: Receiver<Done<'env>>,
}

impl<'scope, 'env> Jobs<'scope, 'env> {
    /// Nothing is at work yet.
    pub fn new(
        scope: &'scope Scope<'scope, 'env>,
        models: &'env Models<'env>,
        manner: Manner,
    ) -> Jobs<'scope, 'env> {
        let (ended, inbox) = mpsc::channel();
        Jobs { scope, models, manner, queue: VecDeque::new(), running: 0, ended, inbox }
    }

    /// Starts a model's tick, as soon as there are fewer at work than there may be.
    pub fn start(&mut self, target: Target, stanza: Stanza<'env>) {
        self.queue.push_back((target, stanza));
        self.start_queued();
    }

    fn start_queued(&mut self) {
        while self.running < self.manner.jobs
            && let Some((target, stanza)) = self.queue.pop_front()
        {
            self.running += 1;
            let (models, manner, ended) = (self.models, self.manner, self.ended.clone());
            self.scope.spawn(move || {
                // The other end is there until everything has ended.
                let _ = ended.send(tick(models, &target, manner, stanza));
            });
        }
    }

    /// One that has ended already.
    pub fn next_ended(&mut self) -> Option<Done<'env>> {
        let done = self.inbox.try_recv().ok()?;
        self.has_ended(done)
    }

    /// Waits for the next one to end while others wait for it.
    pub fn next_queued(&mut self) -> Option<Done<'env>> {
        if self.queue.is_empty() { None } else { self.next() }
    }

    /// Waits for the next one to end; `None` when nothing is at work.
    pub fn next(&mut self) -> Option<Done<'env>> {
        if self.running == 0 {
            return None;
        }
        let done = self.inbox.recv().ok()?;
        self.has_ended(done)
    }

    fn has_ended(&mut self, done: Done<'env>) -> Option<Done<'env>> {
        self.running -= 1;
        self.start_queued();
        Some(done)
    }
}

fn tick<'a>(models: &Models, target: &Target, manner: Manner, stanza: Stanza<'a>) -> Done<'a> {
    let began = clock::now();
    let mut said = Vec::new();
    let ticked = super::tick(models, target, manner, &mut |line| {
        said.push(line.to_owned());
        Ok(())
    });
    // The tick before is still at work on it: that is what `--jobs` is for.
    let problem = ticked.err().filter(|error| error.exit != Exit::Locked);
    Done { stanza, began, said, problem }
}
