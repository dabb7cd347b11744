//! Carries the call out, with as many tries as are sensible.

use std::time::Duration;

use crate::discovery::{ClusterId, NodePath, Tried};
use crate::error::Result;
use crate::formats::discovery_answer::Instance;
use crate::machine::http::{self, Limits};
use crate::machine::{clock, zookeeper};
use crate::tools::service_discovery::cli::Patience;
use crate::tools::service_discovery::decide::{self, Effect};

/// The pause before the second try; the next ones are as many times as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Registers.
pub fn register(url: &str, form: &str, patience: Patience) -> Result<()> {
    tried(url, Effect::Writes, patience, |limits| decide::registered(&http::post_form(url, form, limits)?))
}

/// Asks the HTTP service.
pub fn ask(url: &str, query: &str, patience: Patience) -> Result<Vec<Instance>> {
    tried(url, Effect::Reads, patience, |limits| {
        decide::listed(&http::get(&format!("{url}?{query}"), limits)?)
    })
}

/// Asks the ensemble.
pub fn ask_zookeeper(cluster: &ClusterId, node: &NodePath, patience: Patience) -> Result<Vec<Instance>> {
    let servers = cluster.servers();
    tried(cluster.as_str(), Effect::Reads, patience, |limits| {
        decide::found(&zookeeper::children(&servers, node, limits)?)
    })
}

fn tried<T>(peer: &str, effect: Effect, patience: Patience, once: impl Fn(Limits) -> Tried<T>) -> Result<T> {
    let limits = Limits { connect: patience.connect, total: patience.total };
    let mut tries = 1;
    loop {
        match once(limits) {
            Ok(answer) => return Ok(answer),
            Err(fault) if tries < patience.tries && decide::tries_again(effect, fault.again) => {
                log::debug!("try {tries}: {}", fault.what);
                clock::pause(PAUSE * tries);
                tries += 1;
            }
            Err(fault) => return Err(decide::given_up(peer, effect, &fault, tries)),
        }
    }
}
