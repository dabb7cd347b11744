//! Monitor and members in one process, over the pure code: what can happen is drawn at random, and
//! after every step the invariants are checked. One number decides a run; `SEED=n` replays it.
//! docs/reliability.md says what it found.
//!
//! - (I1) A version that is bad, stopped, timed out, aborted or left is never announced or admitted
//!   wider by itself.
//! - (I2) Every push is published, superseded, refused with a reason, or blocked by a pin.
//! - (I3) When faults end, the fleet converges, or the state names the command that is needed.
//! - (I4) Never more members are down with a version than are admitted to it.
//! - (I5) The files say what the state says, and a rollout is never done with nobody.
//! - (I6) The history tells each fact once.
//! - (I7) A command is carried out or not, never half.
//! - (I8) The only version that ever worked is never deleted.
//!
//! What scripts and hands break is excused where it is checked.

mod action;
mod check;
mod found;
mod member;
mod monitor;
mod script;
mod world;

use std::time::Instant;

use crate::harness::random::Random;
use action::{Action, Kind};
use member::Cut;
use monitor::Faults;
use world::{AnnouncementFile, Daemon, ListFile, Plant, Quality, World};

/// Where the numbers of a seed begin, in this simulator: what it has found is kept by its seeds.
fn generator(seed: u64) -> Random {
    let mut random = Random::new(seed ^ 0x5851_F42D_4C95_7F2D);
    random.next();
    random
}

/// How many actions a run has.
const LENGTH: usize = 200;

/// How many minutes a fleet has to converge, once faults have ended.
const PATIENCE: usize = 400;

/// What came of a run.
struct Ran {
    steps: usize,
    violation: Option<String>,
    world: World,
}

fn actions(seed: u64) -> Vec<Action> {
    let mut rng = generator(seed);
    rng.next();
    (0..LENGTH).map(|_| action::draw(&mut rng, true)).collect()
}

fn run(seed: u64, actions: &[Action], plant: Option<Plant>) -> Ran {
    let mut world = World::new(&mut generator(seed));
    world.plant = plant;
    let mut steps = 0;
    for action in actions {
        steps += 1;
        action::step(&mut world, action);
        if world.violation.is_some() {
            return Ran { steps, violation: world.violation.clone(), world };
        }
    }
    steps += converge(&mut world, seed);
    Ran { steps, violation: world.violation.clone(), world }
}

/// Faults end, and minutes go by.
fn converge(world: &mut World, seed: u64) -> usize {
    world.list = ListFile::Known(world.last_list.clone());
    world.last_list.is_probed = false;
    world.holds.clear();
    world.holds_are_unreadable = false;
    world.daemon = Daemon::Shows;
    world.is_on_scripts = false;
    world.files.upload.is_half = false;
    world.is_locked = false;
    for quality in &mut world.contents {
        if *quality == Quality::Flaps || *quality == Quality::Lies {
            *quality = Quality::Good;
        }
    }
    for host in &mut world.hosts {
        host.is_connected = true;
        host.is_full = false;
    }
    let mut rng = generator(seed);
    let tick = Action { kind: Kind::Tick, seed: 1, faults: Faults::default(), cut: Cut::default() };
    let mut steps = 0;
    let mut quiet = 0;
    for _ in 0..PATIENCE {
        world.now_s += 60;
        action::tick(world, &tick, false);
        for host in 0..world.hosts.len() {
            member::poll(world, host, Cut::default(), &mut rng);
        }
        check::after(world);
        steps += 1;
        if world.violation.is_some() {
            return steps;
        }
        // Script pollers and mistaken guesses take a tick or two more.
        let is_over = check::unconverged(world).is_none();
        quiet = if is_over { quiet + 1 } else { 0 };
        if quiet > 3 {
            return steps;
        }
    }
    if let Some(why) = check::unconverged(world) {
        world.violate(why);
    }
    let is_lost = matches!(world.files.announcement, AnnouncementFile::Nothing | AnnouncementFile::Damaged);
    if is_lost && world.files.state.as_ref().is_some_and(|state| state.announced.is_some()) {
        world.violate("I5: the announcement is not written again");
    }
    steps
}

/// Leaves out what is not needed to fail in the same way.
fn shrunk(seed: u64, mut actions: Vec<Action>, violation: &str, plant: Option<Plant>) -> Vec<Action> {
    let kind = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(24).collect::<String>();
    let fails = |actions: &[Action]| {
        run(seed, actions, plant).violation.is_some_and(|found| kind(&found) == kind(violation))
    };
    let mut size = actions.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < actions.len() {
            let end = (start + size).min(actions.len());
            let fewer: Vec<Action> = [&actions[..start], &actions[end..]].concat();
            if fails(&fewer) {
                actions = fewer;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    for index in 0..actions.len() {
        for simpler in [
            |action: &mut Action| action.faults = Faults::default(),
            |action: &mut Action| action.faults.meanwhile = None,
            |action: &mut Action| action.faults.dies_at = None,
            |action: &mut Action| action.faults.fails_at = None,
            |action: &mut Action| action.cut = Cut::default(),
        ] {
            let mut simple = actions.clone();
            simpler(&mut simple[index]);
            if fails(&simple) {
                actions = simple;
            }
        }
    }
    actions
}

/// A run that must hold; where it does not, the seed, its shortest form and the state.
fn check_seed(seed: u64) -> usize {
    let all = actions(seed);
    let ran = run(seed, &all, None);
    let Some(violation) = ran.violation else { return ran.steps };
    let short = shrunk(seed, all, &violation, None);
    panic!("{}", story(seed, &short));
}

fn story(seed: u64, actions: &[Action]) -> String {
    use std::fmt::Write;
    let mut world = World::new(&mut generator(seed));
    let mut text = format!("SEED={seed}\n");
    let hosts = world.hosts.iter().filter(|host| host.is_script).count();
    let _ = writeln!(text, "{:?}, {hosts} script pollers, {:?}", world.ticks, world.list);
    for action in actions {
        if world.violation.is_some() {
            break;
        }
        action::step(&mut world, action);
        let _ = write!(text, "{:?}", action.kind);
        if action.faults.dies_at.is_some() || action.faults.fails_at.is_some() {
            let _ = write!(text, " dies {:?} fails {:?}", action.faults.dies_at, action.faults.fails_at);
        }
        if let Some((at, meanwhile)) = &action.faults.meanwhile {
            let _ = write!(text, " meanwhile at {at}: {:?} {:?}", meanwhile.kind, meanwhile.faults);
        }
        if action.cut.dies_at.is_some() || action.cut.is_cut_at.is_some() {
            let _ = write!(text, " {:?}", action.cut);
        }
        let _ = writeln!(text, "\n    {}", summary(&world));
    }
    if world.violation.is_none() {
        converge(&mut world, seed);
    }
    let _ = writeln!(text, "=> {}", summary(&world));
    let _ = writeln!(text, "said: {:?}\nfailure: {:?}", world.said, world.failure);
    if std::env::var_os("STATE").is_some() {
        let state = world.files.state.as_ref().map(|state| String::from_utf8(state.render()).unwrap());
        let _ = writeln!(text, "{}", state.unwrap_or_default());
    }
    let _ = writeln!(text, "VIOLATED: {}", world.violation.unwrap_or_default());
    text
}

/// Where everything stands, in one line.
fn summary(world: &World) -> String {
    let Some(state) = &world.files.state else { return "no state".to_owned() };
    let announced = state.announced.as_ref().map(|announced| {
        let who: String = match &announced.admission {
            model_rollout::formats::announcement::Admission::Everybody => "all".to_owned(),
            model_rollout::formats::announcement::Admission::Members(members) => {
                members.iter().map(|member| member.as_str().rsplit('.').next().unwrap_or("")).collect()
            }
        };
        let (epoch, sequence) = (state.epoch - world::BEGIN_S, announced.sequence);
        format!(
            "{} {:?} {:?} admitted {who} {epoch}/{sequence} attempt {}",
            announced.version(),
            announced.origin,
            announced.phase,
            announced.attempt
        )
    });
    let worths: Vec<String> =
        state.ledger.iter().map(|release| format!("{}={}", release.version, release.worth.words())).collect();
    let serves: Vec<String> = world
        .hosts
        .iter()
        .map(|host| {
            let serves = host.serves.as_ref().map_or("-", |(version, _)| version.as_str());
            let word = host.state.as_ref().map_or("", |state| state.word.as_str());
            format!("{serves} {word}")
        })
        .collect();
    let push = state.push.as_ref().map(|push| (&push.identity, &push.fate, &push.refusals));
    format!(
        "t={} {} | {} | success {:?} status {:?} push {push:?} pin {} settled {} | {}",
        world.now_s - world::BEGIN_S,
        announced.unwrap_or_default(),
        worths.join(" "),
        world.files.success.as_ref().map(|success| &success.identity),
        world.files.status.as_ref().and_then(|status| status.version.as_ref().map(ToString::to_string)),
        state.pin.is_some(),
        state.settled,
        serves.join(", "),
    )
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn short() {
    if let Some(seed) = variable("SEED") {
        check_seed(seed);
        return;
    }
    for seed in 0..200 {
        check_seed(seed);
    }
}

/// As many steps as `SIMULATE_STEPS` says.
#[test]
#[ignore = "make simulate"]
fn long() {
    let steps = variable("SIMULATE_STEPS").unwrap_or(10_000_000) as usize;
    let first = variable("SEED").unwrap_or(1_000_000);
    let (began, mut done, mut seed) = (Instant::now(), 0, first);
    while done < steps {
        done += check_seed(seed);
        seed += 1;
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{done} steps of {} runs (seeds {first} to {}) in {took:.1} s: {:.0} a minute; no violation",
        seed - first,
        seed - 1,
        done as f64 / took * 60.0
    );
}

/// How often each kind of violation is found: for developers.
#[test]
#[ignore = "a survey"]
fn survey() {
    let first = variable("SEED").unwrap_or(0);
    let count = variable("SEEDS").unwrap_or(2000);
    let mut found: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
    let (began, mut steps) = (Instant::now(), 0);
    let mut coverage: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for seed in first..first + count {
        let ran = run(seed, &actions(seed), None);
        steps += ran.steps;
        for line in &ran.world.files.history.lines {
            *coverage.entry(line.event.clone()).or_default() += 1;
        }
        let state = ran.world.files.state.as_ref();
        let end = match state.and_then(|state| state.announced.as_ref()) {
            Some(announced) => format!("at the end: {}", announced.phase.words()),
            None => "at the end: nothing announced".to_owned(),
        };
        *coverage.entry(end).or_default() += 1;
        if state.is_some_and(|state| !state.ahead.is_empty()) {
            *coverage.entry("at the end: ahead".to_owned()).or_default() += 1;
        }
        if let Some(violation) = ran.violation {
            let kind: String = violation.chars().filter(|c| !c.is_ascii_digit()).take(70).collect();
            found.entry(kind).or_default().push(seed);
        }
    }
    println!("{steps} steps in {:.1} s", began.elapsed().as_secs_f64());
    println!("{coverage:?}");
    for (kind, seeds) in found {
        println!("{:5} {kind} {:?}", seeds.len(), &seeds[..seeds.len().min(4)]);
    }
}

/// A fault of this kind is found within some hundred runs.
fn is_found(plant: Plant, invariant: &str) {
    let found = (0..2000).find_map(|seed| {
        let violation = run(seed, &actions(seed), Some(plant)).violation?;
        violation.contains(invariant).then_some(())
    });
    assert!(found.is_some(), "{plant:?} is not found as {invariant}");
}

#[test]
fn whoever_is_admitted_after_a_stop_is_found() {
    is_found(Plant::AdmitsAfterAStop, "I1");
}

#[test]
fn a_push_that_is_lost_is_found() {
    is_found(Plant::LosesAPush, "I2");
}

#[test]
fn a_rollout_that_goes_on_for_ever_is_found() {
    is_found(Plant::HoldsForEver, "I3");
}

#[test]
fn an_announcement_that_admits_everybody_is_found() {
    is_found(Plant::AnnouncesToAll, "I4");
}

#[test]
fn a_status_that_is_not_written_is_found() {
    is_found(Plant::ForgetsStatus, "I5");
}

#[test]
fn a_history_that_forgets_or_tells_twice_is_found() {
    is_found(Plant::ForgetsHistory, "I6");
    is_found(Plant::TellsTwice, "I6");
}

#[test]
fn half_a_command_is_found() {
    is_found(Plant::HalfACommand, "I7");
}

#[test]
fn deleting_what_works_is_found() {
    is_found(Plant::DeletesWhatWorks, "I8");
}
