//! Interleavings: pushes, ticks, polls and toggles, by scripts and by binaries, at once; stopped, continued and killed at
//! any moment. What must hold is in [`plan::Demand`], for which mixture of scripts and binaries in [`plan::MIXTURES`].
//!
//! An interleaving follows from its seed, as far as the kernel's scheduler lets it; those whose signals meet an exact system
//! call are the most repeatable. A violation prints the seed; `MODEL_ROLLOUT_SEED=N make races` runs that one again.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::harness::parts::need;
use crate::harness::{Sandbox, figures};
use plan::Plan;

mod fleet;
mod found;
mod history;
mod plan;
mod run;

/// How many worlds at once: more than the processors of a small machine would only wait for each other.
const WORLDS: usize = 2;

/// Names the one seed that is to be run.
const ONE_SEED: &str = "MODEL_ROLLOUT_SEED";

/// What was run.
#[derive(Default)]
struct Tally {
    by_mixture: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

/// Runs the interleavings of seeds; returns how many of which mixture, and what did not hold.
fn explore(seeds: std::ops::Range<u64>, most_failures: usize) -> Tally {
    let (next, tally) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                let sandbox = Sandbox::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || tally.lock().unwrap().failures.len() >= most_failures {
                        return;
                    }
                    let plan = Plan::of(seed);
                    let failure = failure_of(&plan, &sandbox);
                    let mut tally = tally.lock().unwrap();
                    *tally.by_mixture.entry(plan.mixture.name).or_default() += 1;
                    tally.failures.extend(failure);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn failure_of(plan: &Plan, sandbox: &Sandbox) -> Option<String> {
    let history = run::run(plan, sandbox);
    let violations = history::violations(&history, plan.mixture.demands);
    (!violations.is_empty()).then(|| {
        let (seed, name) = (plan.seed, plan.mixture.name);
        let details = match number_in_environment(ONE_SEED) {
            Some(_) => format!("\nplan: {:#?}\nhistory: {history:#?}", plan.steps),
            None => format!("\n{ONE_SEED}={seed} make races shows all of it"),
        };
        format!("seed {seed} ({name}):\n  {}{details}", violations.join("\n  "))
    })
}

fn report(tally: &Tally, begun: Instant) {
    let total: u64 = tally.by_mixture.values().sum();
    let seconds = begun.elapsed().as_secs();
    let mut text =
        format!("{total} interleavings in {seconds} s, {} with a violation\n", tally.failures.len());
    for (name, count) in &tally.by_mixture {
        text.push_str(&format!("{count:>7} {name}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn number_in_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
}

#[test]
fn a_seed_says_all_of_a_plan() {
    for seed in 0..1000 {
        assert_eq!(Plan::of(seed).steps, Plan::of(seed).steps);
    }
}

#[test]
fn nothing_is_lost_or_torn_in_some_hundred_interleavings() {
    need!("rsync", "dash", "sed", "strace");
    let begun = Instant::now();
    let tally = explore(0..150, 1);
    report(&tally, begun);
    figures::record("interleavings", usize::try_from(tally.by_mixture.values().sum::<u64>()).unwrap());
    figures::record("losses", tally.failures.len());
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

/// `make races`; `MODEL_ROLLOUT_RACES` is how many, `MODEL_ROLLOUT_SEED` the one to run again.
#[test]
#[ignore = "takes minutes: make races"]
fn nothing_is_lost_or_torn_in_ten_thousand_interleavings() {
    need!("rsync", "dash", "sed", "strace");
    let seeds = match number_in_environment(ONE_SEED) {
        Some(seed) => seed..seed + 1,
        None => 1000..1000 + number_in_environment("MODEL_ROLLOUT_RACES").unwrap_or(12_000),
    };
    let begun = Instant::now();
    let tally = explore(seeds, 20);
    report(&tally, begun);
    figures::record("interleavings", usize::try_from(tally.by_mixture.values().sum::<u64>()).unwrap());
    figures::record("losses", tally.failures.len());
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}
