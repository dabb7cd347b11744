//! What happens in one interleaving, as a pure function of its seed: who starts when, and whom a signal meets.

use crate::harness::random::Random;

/// A script, or its binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Script,
    Binary,
}

/// How a push reaches the monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pusher {
    /// By the test itself, in rsync's manner: each file under another name first, then renamed; `success` last.
    ByHand,
    /// By rsync.sh or rsync-push, through the real rsync.
    Program(Who),
}

/// How a member follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poller {
    /// By the test itself: service.conf is read, then the version that it names, then that is reported.
    ByHand,
    /// By service_polling.sh or service_polling, through the real rsync.
    Program(Who),
}

/// What must hold at the end, or at every instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Every push whose success was uploaded is published, or a later push was begun.
    Published,
    /// Every published version holds one push's files, at every instant at which its name can be seen.
    Whole,
    /// The same, but only at the end: a script copies in place.
    WholeAtTheEnd,
    /// The announced version never goes back.
    NeverBack,
    /// service.conf is whole at every instant.
    ConfWhole,
    /// service.conf is never empty, cut off, or changed outside its three values. A script edits them one by one.
    ConfNeverBroken,
    /// At quiescence the last push is announced, and every member has all of it.
    LastEverywhere,
    /// At quiescence every member has exactly what the monitor announces, unless scripts have left a half-edited
    /// service.conf there.
    MembersAgree,
    /// At quiescence neither `status` nor `success` is left.
    Ended,
    /// No half-copied or discarded version is left lying about.
    Tidy,
}

use Demand::{
    ConfNeverBroken, ConfWhole, Ended, LastEverywhere, MembersAgree, NeverBack, Published, Tidy, Whole,
    WholeAtTheEnd,
};

const ALL: &[Demand] = &[Published, Whole, NeverBack, ConfWhole, LastEverywhere, Ended, Tidy];

/// Who takes part, and what is demanded of them. That locks are released, that a run which was not killed ends with a known
/// exit code and at most one line on standard error, is demanded always.
#[derive(Debug)]
pub struct Mixture {
    pub name: &'static str,
    /// How often it is chosen, in a thousand.
    pub weight: u64,
    pub pushers: &'static [Pusher],
    pub tickers: &'static [Who],
    pub pollers: &'static [Poller],
    pub toggles: bool,
    pub at_calls: bool,
    /// The most pushes after the first one.
    pub pushes: u64,
    /// When the last actor starts, in microseconds.
    pub horizon_us: u64,
    pub demands: &'static [Demand],
}

const BY_HAND: &[Pusher] = &[Pusher::ByHand];
const SCRIPT: &[Who] = &[Who::Script];
const BINARY: &[Who] = &[Who::Binary];
const BOTH: &[Who] = &[Who::Script, Who::Binary];

/// Every mixture.
pub const MIXTURES: &[Mixture] = &[
    Mixture {
        name: "binary ticks, signals at any time",
        weight: 400,
        pushers: BY_HAND,
        tickers: BINARY,
        pollers: &[Poller::ByHand],
        toggles: false,
        at_calls: false,
        pushes: 3,
        horizon_us: 25_000,
        demands: ALL,
    },
    Mixture {
        name: "binary ticks, signals at an exact system call",
        weight: 250,
        pushers: BY_HAND,
        tickers: BINARY,
        pollers: &[Poller::ByHand],
        toggles: false,
        at_calls: true,
        pushes: 3,
        horizon_us: 60_000,
        demands: ALL,
    },
    Mixture {
        // A script's tick deletes every success that is there when an upgrade ends (defect 4). With one push there is
        // only the one that is being published, and that must not be lost.
        name: "script ticks beside binary ticks, one push",
        weight: 120,
        pushers: BY_HAND,
        tickers: BOTH,
        pollers: &[Poller::ByHand],
        toggles: false,
        at_calls: true,
        pushes: 1,
        horizon_us: 60_000,
        demands: &[Published, WholeAtTheEnd, NeverBack, ConfNeverBroken, LastEverywhere, Ended, Tidy],
    },
    Mixture {
        // Here the scripts may lose and tear pushes by themselves (defects 4, 5).
        name: "script ticks beside binary ticks, several pushes",
        weight: 50,
        pushers: BY_HAND,
        tickers: BOTH,
        pollers: &[Poller::ByHand],
        toggles: false,
        at_calls: false,
        pushes: 3,
        horizon_us: 120_000,
        demands: &[ConfNeverBroken, MembersAgree],
    },
    Mixture {
        name: "binary ticks and polls",
        weight: 60,
        pushers: BY_HAND,
        tickers: BINARY,
        pollers: &[Poller::Program(Who::Binary)],
        toggles: false,
        at_calls: false,
        pushes: 2,
        horizon_us: 200_000,
        demands: ALL,
    },
    Mixture {
        name: "binary ticks, script polls beside binary polls",
        weight: 50,
        pushers: BY_HAND,
        tickers: BINARY,
        pollers: &[Poller::Program(Who::Binary), Poller::Program(Who::Script)],
        toggles: false,
        at_calls: false,
        pushes: 2,
        horizon_us: 200_000,
        demands: ALL,
    },
    Mixture {
        name: "script ticks, binary polls",
        weight: 20,
        pushers: BY_HAND,
        tickers: SCRIPT,
        pollers: &[Poller::Program(Who::Binary)],
        toggles: false,
        at_calls: false,
        pushes: 2,
        horizon_us: 200_000,
        demands: &[ConfNeverBroken, MembersAgree],
    },
    Mixture {
        name: "binary ticks and polls, toggles",
        weight: 20,
        pushers: BY_HAND,
        tickers: BINARY,
        pollers: &[Poller::Program(Who::Binary)],
        toggles: true,
        at_calls: false,
        pushes: 2,
        horizon_us: 200_000,
        demands: ALL,
    },
    Mixture {
        name: "binary push, ticks and polls",
        weight: 15,
        pushers: &[Pusher::Program(Who::Binary)],
        tickers: BINARY,
        pollers: &[Poller::Program(Who::Binary)],
        toggles: false,
        at_calls: false,
        pushes: 2,
        horizon_us: 900_000,
        demands: ALL,
    },
    Mixture {
        name: "script push, binary ticks and polls",
        weight: 15,
        pushers: &[Pusher::Program(Who::Script)],
        tickers: BINARY,
        pollers: &[Poller::Program(Who::Binary)],
        toggles: false,
        at_calls: false,
        pushes: 2,
        horizon_us: 900_000,
        demands: ALL,
    },
];

/// Who starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A push; it begins when the one before is over.
    Push {
        by: Pusher,
        /// Between two steps of a push by hand.
        gap_us: u64,
        /// A push by hand dies after that many steps.
        cut_after: Option<usize>,
    },
    /// One tick of dispatch on the monitor.
    Tick(Who),
    /// One poll of a member.
    Poll(Poller, usize),
    /// Updates are turned off, or on.
    Toggle(Who, bool),
}

/// What meets a program that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    None,
    /// SIGSTOP, later SIGCONT.
    Stop {
        after_us: u64,
        for_us: u64,
    },
    /// SIGKILL.
    Kill {
        after_us: u64,
    },
    /// SIGSTOP at that call of the file system; SIGCONT when all others have ended.
    StopAtCall(u64),
    /// SIGKILL at that call of the file system.
    KillAtCall(u64),
}

/// One actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at_us: u64,
    pub actor: Actor,
    pub signal: Signal,
}

/// One interleaving.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub mixture: &'static Mixture,
    pub steps: Vec<Step>,
}

/// The members of every interleaving.
pub const MEMBERS: usize = 2;

/// How many calls of the file system a tick makes, at most.
const CALLS: u64 = 110;

impl Plan {
    /// The interleaving of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let mixture = mixture(&mut random);
        let mut steps = Vec::new();
        let pushes = 1 + random.below(mixture.pushes);
        for number in 0..pushes {
            // The first push comes early, so that there is something to race for.
            let latest = if number == 0 { mixture.horizon_us / 4 } else { mixture.horizon_us };
            steps.push(push(&mut random, mixture, latest));
        }
        for _ in 0..2 + random.below(4) {
            steps.push(tick(&mut random, mixture));
        }
        for _ in 0..1 + random.below(3) {
            steps.push(poll(&mut random, mixture));
        }
        if mixture.toggles {
            let by = random.pick(BOTH);
            let at_us = random.below(mixture.horizon_us);
            steps.push(Step { at_us, actor: Actor::Toggle(by, false), signal: Signal::None });
            let at_us = at_us + random.below(mixture.horizon_us);
            steps.push(Step { at_us, actor: Actor::Toggle(by, true), signal: Signal::None });
        }
        if mixture.at_calls {
            stop_one_at_a_call(&mut random, &mut steps);
        }
        steps.sort_by_key(|step| step.at_us);
        Plan { seed, mixture, steps }
    }
}

fn mixture(random: &mut Random) -> &'static Mixture {
    let mut at = random.below(MIXTURES.iter().map(|mixture| mixture.weight).sum());
    for mixture in MIXTURES {
        if at < mixture.weight {
            return mixture;
        }
        at -= mixture.weight;
    }
    unreachable!("the weights are summed up")
}

fn push(random: &mut Random, mixture: &Mixture, latest_us: u64) -> Step {
    let by = random.pick(mixture.pushers);
    let gap_us = random.below(3) * random.below(1500);
    // Eight steps: four files, each written, then renamed.
    let cut_after = random.percent(15).then(|| usize::try_from(random.below(8)).unwrap());
    let signal = match by {
        Pusher::Program(_) if random.percent(20) => Signal::Kill { after_us: random.below(600_000) },
        _ => Signal::None,
    };
    Step { at_us: random.below(latest_us), actor: Actor::Push { by, gap_us, cut_after }, signal }
}

fn tick(random: &mut Random, mixture: &Mixture) -> Step {
    let by = random.pick(mixture.tickers);
    let at_us = random.below(mixture.horizon_us);
    // Scripts are never killed: what they lose then is their own (defect 3). Nor are binaries whose work scripts share.
    let signal = match by {
        Who::Binary if !mixture.at_calls => signal(random, 6_000),
        Who::Binary | Who::Script => Signal::None,
    };
    Step { at_us, actor: Actor::Tick(by), signal }
}

fn poll(random: &mut Random, mixture: &Mixture) -> Step {
    let by = random.pick(mixture.pollers);
    let member = usize::try_from(random.below(MEMBERS as u64)).unwrap();
    let at_us = random.below(mixture.horizon_us);
    let signal = match by {
        Poller::Program(_) => signal(random, 120_000),
        Poller::ByHand => Signal::None,
    };
    Step { at_us, actor: Actor::Poll(by, member), signal }
}

fn signal(random: &mut Random, within_us: u64) -> Signal {
    let after_us = random.below(within_us);
    match random.below(100) {
        0..30 => Signal::Stop { after_us, for_us: random.below(5 * within_us) },
        30..50 => Signal::Kill { after_us },
        _ => Signal::None,
    }
}

/// One of the binary's ticks meets a signal at an exact call.
fn stop_one_at_a_call(random: &mut Random, steps: &mut [Step]) {
    let call = 1 + random.below(CALLS);
    let kill = random.percent(40);
    let ticks = steps.iter_mut().filter(|step| step.actor == Actor::Tick(Who::Binary));
    if let Some(step) = ticks.min_by_key(|step| step.at_us) {
        step.signal = if kill { Signal::KillAtCall(call) } else { Signal::StopAtCall(call) };
    }
}
