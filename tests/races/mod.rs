//! Interleavings: pushes, ticks, polls and toggles, by scripts and by binaries, at once; stopped, continued and killed at
//! any moment. What must hold is in [`plan::Demand`], for which mixture of scripts and binaries in [`plan::MIXTURES`].
//!
//! An interleaving follows from its seed, as far as the kernel's scheduler lets it; those whose signals meet an exact system
//! call are the most repeatable. A violation prints the seed; `MODEL_ROLLOUT_SEED=N make races` runs that one again.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZero;
use std::sync::Mutex;
use std::time::Instant;

use crate::harness::parts::need;
use crate::harness::{Sandbox, figures};
use plan::Plan;

mod fleet;
mod found;
mod history;
mod plan;
mod run;

/// How many worlds at once, for each processor: a world mostly waits, for rsync's greeting or for the next push.
const WORLDS_PER_PROCESSOR: usize = 8;

/// Names the one seed that is to be run.
const ONE_SEED: &str = "MODEL_ROLLOUT_SEED";
/// Only mixtures whose name contains this.
const ONE_MIXTURE: &str = "MODEL_ROLLOUT_MIXTURE";

/// The long run says how far it is whenever it has run so many.
const SAYS_EVERY: u64 = 1000;

/// What was run.
#[derive(Default)]
struct Tally {
    by_mixture: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

impl Tally {
    fn runs(&self) -> u64 {
        self.by_mixture.values().sum()
    }
}

/// Runs interleavings; returns how many of which mixture, and what did not hold.
fn explore(plans: impl Iterator<Item = Plan> + Send, most_failures: usize) -> Tally {
    let worlds = WORLDS_PER_PROCESSOR * std::thread::available_parallelism().map_or(1, NonZero::get);
    let (plans, tally) = (Mutex::new(plans), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..worlds {
            scope.spawn(|| {
                let sandbox = Sandbox::new();
                while tally.lock().unwrap().failures.len() < most_failures {
                    let Some(plan) = plans.lock().unwrap().next() else { return };
                    let failure = failure_of(&plan, &sandbox);
                    let mut tally = tally.lock().unwrap();
                    *tally.by_mixture.entry(plan.mixture.name).or_default() += 1;
                    tally.failures.extend(failure);
                    if tally.runs().is_multiple_of(SAYS_EVERY) {
                        say(&format!("{} so far, {} with a violation\n", tally.runs(), tally.failures.len()));
                    }
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

/// Reports a run, and fails if anything did not hold.
fn judge(tally: &Tally, begun: Instant) {
    let (total, seconds) = (tally.runs(), begun.elapsed().as_secs());
    let mut text =
        format!("{total} interleavings in {seconds} s, {} with a violation\n", tally.failures.len());
    for (name, count) in &tally.by_mixture {
        text.push_str(&format!("{count:>7} {name}\n"));
    }
    say(&text);
    figures::record("interleavings", usize::try_from(total).unwrap());
    figures::record("losses", tally.failures.len());
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

fn say(text: &str) {
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
    judge(&explore((0..150).map(Plan::of), 1), begun);
}

/// `make races`; `MODEL_ROLLOUT_RACES` is how many, `MODEL_ROLLOUT_SEED` the one to run again, `MODEL_ROLLOUT_MIXTURE` a part
/// of the names of those mixtures that are to be run.
#[test]
#[ignore = "takes minutes: make races"]
fn nothing_is_lost_or_torn_in_ten_thousand_interleavings() {
    need!("rsync", "dash", "sed", "strace");
    let (first, most) = match number_in_environment(ONE_SEED) {
        Some(seed) => (seed, 1),
        None => (1000, number_in_environment("MODEL_ROLLOUT_RACES").unwrap_or(12_000)),
    };
    let mixture = std::env::var(ONE_MIXTURE).unwrap_or_default();
    assert!(
        plan::MIXTURES.iter().any(|m| m.name.contains(&mixture)),
        "{ONE_MIXTURE}={mixture}: there is none"
    );
    let plans = (first..).map(Plan::of).filter(|plan| plan.mixture.name.contains(&mixture));
    let begun = Instant::now();
    judge(&explore(plans.take(usize::try_from(most).unwrap()), 20), begun);
}
