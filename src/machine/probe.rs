//! Asking many at once, each within its own time limit: one that is slow or dead delays nobody else (defect 20).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use crate::machine::clock::Deadline;

/// The stack of a thread that asks, in bytes; the C library's resolver of names needs the most.
const STACK: usize = 256 << 10;

/// How many threads ask in this process, for whichever question: each has an open file or two.
static ASKING: AtomicUsize = AtomicUsize::new(0);

/// How many may be started where others ask already: nobody waits for them.
const LEAST: usize = 8;

/// How much longer than their limits all rounds together may take; only a name that resolves slowly needs more than its limit.
const GRACE: Duration = Duration::from_millis(500);

/// Asks every question in threads, at most `at_once` at a time, those that other calls have at work included. `ask` has to return at its deadline, which is `limit` after
/// it was called. The answers are in the order of the questions; a question whose `ask` did not return in time has none.
pub fn ask_all<Q, A>(
    questions: Vec<Q>,
    at_once: usize,
    limit: Duration,
    ask: impl Fn(&Q, Deadline) -> A + Send + Sync + 'static,
) -> Vec<Option<A>>
where
    Q: Send + Sync + 'static,
    A: Send + 'static,
{
    let count = questions.len();
    let mut answers: Vec<Option<A>> = questions.iter().map(|_| None).collect();
    let round = Arc::new(Round { questions, next: AtomicUsize::new(0), limit, ask });
    let (answered, inbox) = mpsc::channel();
    let free = at_once.saturating_sub(ASKING.load(Ordering::Relaxed)).max(LEAST);
    let wanted = at_once.min(free).min(count);
    let started = (0..wanted).take_while(|_| start(&round, &answered)).count();
    if started < wanted {
        log::debug!("only {started} threads could be started");
    }
    if started == 0 {
        round.ask_one_after_the_other(&answered);
    }
    drop(answered);
    let rounds = u32::try_from(count.div_ceil(started.max(1))).unwrap_or(u32::MAX);
    let end = Deadline::after(limit.saturating_mul(rounds).saturating_add(GRACE));
    while let Ok(left) = end.left()
        && let Ok((index, answer)) = inbox.recv_timeout(left)
    {
        if let Some(place) = answers.get_mut(index) {
            *place = Some(answer);
        }
    }
    answers
}

/// What the threads share.
struct Round<Q, F> {
    questions: Vec<Q>,
    next: AtomicUsize,
    limit: Duration,
    ask: F,
}

fn start<Q, A, F>(round: &Arc<Round<Q, F>>, answered: &Sender<(usize, A)>) -> bool
where
    Q: Send + Sync + 'static,
    A: Send + 'static,
    F: Fn(&Q, Deadline) -> A + Send + Sync + 'static,
{
    let (round, answered) = (Arc::clone(round), answered.clone());
    let work = move || {
        round.ask_one_after_the_other(&answered);
        ASKING.fetch_sub(1, Ordering::Relaxed);
    };
    ASKING.fetch_add(1, Ordering::Relaxed);
    let is_started = thread::Builder::new().stack_size(STACK).spawn(work).is_ok();
    if !is_started {
        ASKING.fetch_sub(1, Ordering::Relaxed);
    }
    is_started
}

impl<Q, F> Round<Q, F> {
    fn ask_one_after_the_other<A>(&self, answered: &Sender<(usize, A)>)
    where
        F: Fn(&Q, Deadline) -> A,
    {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(question) = self.questions.get(index) else { return };
            let answer = (self.ask)(question, Deadline::after(self.limit));
            // Nobody waits any more where the time of all is up.
            if answered.send((index, answer)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_and_all_are_asked() {
        let asked: Vec<usize> = (0..100).collect();
        let answers = ask_all(asked, 7, Duration::from_secs(5), |n, _| n * 2);
        assert!(answers.iter().enumerate().all(|(n, answer)| *answer == Some(n * 2)));
        assert_eq!(ask_all(Vec::<u8>::new(), 7, Duration::from_secs(5), |n, _| *n), []);
    }

    #[test]
    fn one_that_does_not_even_keep_its_deadline_has_no_answer_and_delays_nobody() {
        let begun = Instant::now();
        let limit = Duration::from_millis(100);
        let answers = ask_all(vec![0, 60], 2, limit, |seconds, _| {
            thread::sleep(Duration::from_secs(*seconds));
            *seconds
        });
        assert_eq!(answers, [Some(0), None]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
