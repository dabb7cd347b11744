//! How far one monitor reaches: polls at rest and a release to 10,000 members, simulated. Prints the tables of docs/scale.md.
//!
//! The monitor is two resources, its processors and its line, each shared evenly by the members that fetch at that moment; a fetch has
//! ended when it has had its share of both. Members poll once a minute, each at a phase of its own, and come again a minute later where the
//! monitor has as many connections as it takes. What is measured, not assumed, are the costs below; nothing else is random but the phases.
#![allow(clippy::disallowed_macros)]

use std::collections::VecDeque;

/// A connection for a small file: seconds of the monitor's processor.
const CONNECTION: f64 = 0.0046;
/// Connections of a poll that fetches a large version: the look, the manifest, that it is updating,
/// the version, the report.
const CONNECTIONS_OF_A_FETCH: f64 = 5.0;
/// Connections of a poll that has to wait for its batch. It makes one by now; the tables of
/// docs/scale.md are those of two.
const CONNECTIONS_OF_A_WAIT: f64 = 2.0;
/// Seconds of processor for each GiB that is sent whole.
const SENT_WHOLE: f64 = 0.75;
/// Seconds of processor for each GiB of a file that is read to find differences.
const COMPARED: f64 = 1.05;
/// From a batch's last fetch to its last report: the restart of a service, seconds.
const RESTART: f64 = 30.0;
/// `max connections`: more would take more memory than a monitor has.
const AT_ONCE: usize = 400;
/// Between two polls of a member, and between two ticks, seconds.
const MINUTE: f64 = 60.0;
/// What 1 GbE carries, and so what a member takes at most: bytes a second.
const GIGABIT: f64 = 117e6;
const GIB: f64 = 1_073_741_824.0;

const MEMBERS: usize = 10_000;

/// A host that members fetch from.
#[derive(Clone, Copy)]
struct Host {
    name: &'static str,
    processors: f64,
    /// Bytes a second.
    line: f64,
}

const HOSTS: [Host; 3] = [
    Host { name: "1 GbE, 2 cores", processors: 2.0, line: GIGABIT },
    Host { name: "10 GbE, 2 cores", processors: 2.0, line: 10.0 * GIGABIT },
    Host { name: "10 GbE, 16 cores", processors: 16.0, line: 10.0 * GIGABIT },
];

/// What one member fetches.
#[derive(Clone, Copy)]
struct Fetch {
    name: &'static str,
    /// Seconds of the monitor's processor, without connections.
    processor: f64,
    bytes: f64,
}

const WHOLE: Fetch =
    Fetch { name: "everything, or: the script's poll, whatever changed", processor: SENT_WHOLE, bytes: GIB };
const FETCHES: [Fetch; 3] = [
    WHOLE,
    Fetch { name: "1 % of each file", processor: COMPARED, bytes: 0.015 * GIB },
    // And the manifest's line for each file that stays.
    Fetch { name: "1 % of the files", processor: 0.01 * SENT_WHOLE, bytes: 0.011 * GIB },
];

fn main() {
    println!(
        "| members | connections a second | most in one second | of one core | all at second 0: the last one is served, 2 cores |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for members in [100, 1000, 10_000, 13_000] {
        at_rest(members);
    }
    println!();
    let hosts: Vec<&str> = HOSTS.iter().map(|host| host.name).collect();
    println!("| what changed | how | {} |", hosts.join(" | "));
    println!("|---|---|---:|---:|---:|");
    for fetch in FETCHES {
        let ways: [(&str, Way); 4] = [
            ("all at once", |host, fetch| release(host, fetch, &[1.0])),
            ("`batches=1,25%,100%`", |host, fetch| release(host, fetch, &[0.0, 0.25, 1.0])),
            ("4 mirrors, all at once", |host, fetch| with_mirrors(host, fetch, 4)),
            ("16 mirrors, all at once", |host, fetch| with_mirrors(host, fetch, 16)),
        ];
        for (way, last) in ways {
            let times: Vec<String> = HOSTS.iter().map(|host| shown(last(*host, fetch))).collect();
            println!("| {} | {way} | {} |", fetch.name, times.join(" | "));
        }
    }
}

/// How a release reaches the members: the seconds until the last one has it.
type Way = fn(Host, Fetch) -> f64;

/// A row of polls that find nothing new.
fn at_rest(members: usize) {
    let phases = phases(members);
    let mut seconds = [0_u32; 60];
    for phase in &phases {
        // A phase is less than a minute, and not negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let second = *phase as usize;
        seconds[second] += 1;
    }
    let most = seconds.iter().max().copied().unwrap_or(0);
    let mean = count(members) / MINUTE;
    println!(
        "| {members} | {mean:.1} | {most} | {:.0} % | {} |",
        mean * CONNECTION * 100.0,
        shown(count(members) * CONNECTION / 2.0)
    );
}

/// The time until the last of all members has the version, which is announced at second 0 to one batch after the other. A share of 0 is one member.
fn release(host: Host, fetch: Fetch, shares: &[f64]) -> f64 {
    let phases = phases(MEMBERS);
    let (mut begun, mut let_in, mut last) = (0.0, 0, 0.0);
    for share in shares {
        // A share of all members is a number of members.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let target = ((count(MEMBERS) * share).ceil() as usize).max(1);
        let outside = MEMBERS - target;
        last = fetched(host, fetch, &phases[let_in..target], begun, [let_in, outside]);
        let_in = target;
        // The next tick after the last report lets the next batch in.
        begun = ((last + RESTART) / MINUTE).ceil() * MINUTE;
    }
    last
}

/// The same, where so many mirrors take the version first, whole, and each serves a part of the members.
fn with_mirrors(host: Host, fetch: Fetch, mirrors: usize) -> f64 {
    let phases = phases(MEMBERS);
    let parts = phases.chunks(MEMBERS.div_ceil(mirrors));
    // Their crontabs have no spread; the first one has it when the last one has it, as near as makes no difference.
    let begun = fetched(host, WHOLE, &vec![0.0; mirrors], 0.0, [0, 0]);
    parts.map(|part| fetched(host, fetch, part, begun, [0, 0])).fold(0.0, f64::max)
}

/// The instant at which the last of some members, of these phases, has fetched what is announced to them from an instant on; meanwhile others poll
/// who have it, and others who have to wait.
fn fetched(host: Host, fetch: Fetch, phases: &[f64], announced: f64, [having, outside]: [usize; 2]) -> f64 {
    let connections = CONNECTIONS_OF_A_FETCH * CONNECTION;
    let polls = (count(having) + count(outside) * CONNECTIONS_OF_A_WAIT) * CONNECTION / MINUTE;
    let mut processors = Shared::new(fetch.processor + connections, 1.0);
    let mut line = Shared::new(fetch.bytes, GIGABIT);
    let mut now = announced;
    let mut minute = (announced / MINUTE).floor() * MINUTE;
    let mut waiting: Vec<f64> = phases.to_vec();
    waiting.sort_by(f64::total_cmp);
    while !waiting.is_empty() || processors.ended.min(line.ended) < phases.len() {
        let mut refused = Vec::new();
        let next_minute = minute + MINUTE;
        for phase in waiting.drain(..) {
            let arrives = minute + phase;
            if arrives < announced {
                refused.push(phase);
                continue;
            }
            run(&mut now, arrives, host, polls, phases.len(), &mut processors, &mut line);
            if processors.begun - processors.ended.min(line.ended) < AT_ONCE {
                processors.begin();
                line.begin();
            } else {
                refused.push(phase);
            }
        }
        run(&mut now, next_minute, host, polls, phases.len(), &mut processors, &mut line);
        (waiting, minute) = (refused, next_minute);
    }
    processors.last.max(line.last)
}

/// Lets the time go on to an instant.
fn run(
    now: &mut f64,
    until: f64,
    host: Host,
    polls: f64,
    members: usize,
    processors: &mut Shared,
    line: &mut Shared,
) {
    while *now < until {
        // Those of these members that have it poll, too.
        let idle = count(processors.ended.min(members)) * CONNECTION / MINUTE;
        // A monitor that does nothing but answer polls would never get anything across.
        let free = (host.processors - polls - idle).max(0.05 * host.processors);
        let step = [processors.next_end(free), line.next_end(host.line)]
            .into_iter()
            .flatten()
            .fold(until - *now, f64::min)
            .max(1e-9);
        *now += step;
        processors.go_on(free, step, *now);
        line.go_on(host.line, step, *now);
    }
}

/// A resource that those who use it share evenly. All want the same of it, so whoever begins first ends first.
struct Shared {
    /// What each wants.
    wanted: f64,
    /// What one alone gets of it at most, in a second.
    at_most: f64,
    /// What somebody who was there from the beginning would have got.
    given: f64,
    /// How much that will be when each of those who use it has had enough.
    ends: VecDeque<f64>,
    begun: usize,
    ended: usize,
    /// When the last one ended.
    last: f64,
}

impl Shared {
    fn new(wanted: f64, at_most: f64) -> Shared {
        Shared { wanted, at_most, given: 0.0, ends: VecDeque::new(), begun: 0, ended: 0, last: 0.0 }
    }

    fn begin(&mut self) {
        self.ends.push_back(self.given + self.wanted);
        self.begun += 1;
    }

    fn rate(&self, capacity: f64) -> f64 {
        (capacity / count(self.ends.len()).max(1.0)).min(self.at_most)
    }

    /// The seconds until somebody has had enough.
    fn next_end(&self, capacity: f64) -> Option<f64> {
        self.ends.front().map(|end| (end - self.given).max(0.0) / self.rate(capacity))
    }

    fn go_on(&mut self, capacity: f64, seconds: f64, now: f64) {
        self.given += self.rate(capacity) * seconds;
        let tolerance = self.wanted * 1e-9;
        while self.ends.front().is_some_and(|end| *end <= self.given + tolerance) {
            self.ends.pop_front();
            self.ended += 1;
            self.last = now;
        }
    }
}

/// `spread=59`: each member's phase, seconds, always the same ones.
fn phases(members: usize) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The upper half, as a fraction.
        f64::from(u32::try_from(state >> 32).unwrap_or(0)) / 4_294_967_296.0
    };
    (0..members).map(|_| next() * 59.0).collect()
}

fn count(members: usize) -> f64 {
    f64::from(u32::try_from(members).unwrap_or(u32::MAX))
}

fn shown(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
