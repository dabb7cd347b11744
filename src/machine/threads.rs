//! The same work on many things, by several threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// As many threads as there are processors here, but no more than `most`.
pub fn at_most(most: usize) -> usize {
    thread::available_parallelism().map_or(1, usize::from).clamp(1, most)
}

/// Does something with each item, by so many threads; one of them is the caller's. Returns the results, in any order. Nothing is begun after a
/// failure; the failure of the first item that failed is returned.
pub fn each<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    act: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            match act(item) {
                Ok(result) => done.push(result),
                Err(error) => {
                    has_failed.store(true, Ordering::Relaxed);
                    return Err((index, error));
                }
            }
        }
        Ok(done)
    };
    let parts: Vec<std::result::Result<Vec<R>, (usize, Error)>> = thread::scope(|scope| {
        // Where no thread can be started, the caller's does it alone.
        let others: Vec<_> =
            (1..threads).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        let ended = others.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| {
                Err((usize::MAX, Error::failed("a thread ended before its time".to_owned())))
            })
        });
        [own].into_iter().chain(ended).collect()
    });
    let mut results = Vec::with_capacity(items.len());
    let mut first_failure: Option<(usize, Error)> = None;
    for part in parts {
        match part {
            Ok(done) => results.extend(done),
            Err(failure) if first_failure.as_ref().is_none_or(|(index, _)| failure.0 < *index) => {
                first_failure = Some(failure);
            }
            Err(_) => {}
        }
    }
    match first_failure {
        Some((_, error)) => Err(error),
        None => Ok(results),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_whatever_the_number_of_threads() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [1, 2, 7] {
            let mut done = each(threads, &items, |item| Ok(*item)).unwrap();
            done.sort_unstable();
            assert_eq!(done, items, "{threads} threads");
        }
    }

    #[test]
    fn the_first_failure_is_returned_and_nothing_is_begun_after_it() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..100_000).collect();
        let done = each(1, &items, |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item >= 10 { Err(Error::failed(format!("{item}"))) } else { Ok(()) }
        });
        assert_eq!(done.unwrap_err().to_string(), "10");
        assert_eq!(begun.load(Ordering::Relaxed), 11);
        let done =
            each(4, &items, |item| if *item >= 10 { Err(Error::failed(format!("{item}"))) } else { Ok(()) });
        assert_eq!(done.unwrap_err().to_string(), "10");
    }
}
