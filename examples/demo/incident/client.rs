//! The fleet's client: asks every service what it serves, all the time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::record::{Look, Mark, Record};
use crate::{Result, ask, processes};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(100);
/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// A look that takes longer (this machine was busy) says nothing about one moment, and is not recorded: a member may have
/// come up since it was asked, and another one gone down. A rollout needs longer from one batch to the next.
const MOMENT: Duration = Duration::from_millis(300);
/// How many threads ask, so that a slow answer does not hold up the others.
const THREADS: usize = 4;

/// Asks until it is dropped.
pub struct Client {
    state: Arc<Mutex<State>>,
    asking: Option<JoinHandle<()>>,
}

struct State {
    begin: Instant,
    record: Record,
    /// What was seen last, at one moment or not.
    latest: Option<Look>,
    is_over: bool,
}

impl Client {
    /// Begins to ask.
    pub fn start(services: Vec<SocketAddr>) -> Client {
        let state = State { begin: Instant::now(), record: Record::default(), latest: None, is_over: false };
        let state = Arc::new(Mutex::new(state));
        let asking = thread::spawn({
            let state = Arc::clone(&state);
            move || ask_on(&services, &state)
        });
        Client { state, asking: Some(asking) }
    }

    /// Forgets what was seen until now.
    pub fn begin_again(&self, release: &'static str) {
        let mut state = lock(&self.state);
        state.begin = Instant::now();
        state.record = Record { pushes: vec![(0.0, release)], ..Record::default() };
        state.latest = None;
    }

    /// Notes that something was done.
    pub fn mark(&self, what: &str) {
        let mut state = lock(&self.state);
        let seconds = state.begin.elapsed().as_secs_f64();
        state.record.marks.push(Mark { seconds, what: what.to_owned() });
    }

    /// Notes that a release is pushed now.
    pub fn pushes(&self, release: &'static str) {
        let mut state = lock(&self.state);
        let seconds = state.begin.elapsed().as_secs_f64();
        state.record.pushes.push((seconds, release));
    }

    /// Waits until a look shows this.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Look) -> bool) -> Result<()> {
        processes::wait_until(what, || Ok(lock(&self.state).latest.as_ref().is_some_and(&is_so)))
    }

    /// Stops asking; what was seen.
    pub fn end(mut self) -> Record {
        self.stop();
        std::mem::take(&mut lock(&self.state).record)
    }

    fn stop(&mut self) {
        lock(&self.state).is_over = true;
        if let Some(asking) = self.asking.take() {
            let _ = asking.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask_on(services: &[SocketAddr], state: &Mutex<State>) {
    loop {
        let begin = Instant::now();
        let serving = ask_all(services);
        let took = begin.elapsed();
        let mut state = lock(state);
        if state.is_over {
            return;
        }
        // One that began before the record did is of another time.
        if let Some(seconds) = begin.checked_duration_since(state.begin).map(|at| at.as_secs_f64()) {
            let look = Look { seconds, serving };
            state.latest = Some(look.clone());
            if took > MOMENT {
                state.record.blurred += 1;
            } else {
                state.record.looks.push(look);
            }
        }
        drop(state);
        thread::sleep(EVERY.saturating_sub(took));
    }
}

/// What each serves; a thread asks a part of them, one after the other.
fn ask_all(services: &[SocketAddr]) -> Vec<Option<String>> {
    let ask = |service: &SocketAddr| ask::version(*service, PATIENCE).ok().map(|answer| answer.release);
    let parts = services.chunks(services.len().div_ceil(THREADS).max(1));
    thread::scope(|scope| {
        let asking: Vec<_> =
            parts.map(|part| (part.len(), scope.spawn(move || part.iter().map(ask).collect()))).collect();
        asking
            .into_iter()
            .flat_map(|(services, part)| part.join().unwrap_or_else(|_| vec![None; services]))
            .collect()
    })
}
