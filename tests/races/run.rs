//! Carries a plan out: real programs, started and signalled when the plan says, while the monitor's files are watched.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal as UnixSignal, kill};
use nix::unistd::Pid;

use super::fleet;
use super::history::{Conf, End, History, MemberEnd, Push, Ran};
use super::plan::{Actor, MEMBERS, Plan, Poller, Pusher, Signal, Step, Who};
use crate::harness::side::under_test;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World};

/// An interleaving takes milliseconds; after this it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// From the end of one push to the begin of the next: file times have a grain of some milliseconds, and no operator is
/// quicker.
const BETWEEN_PUSHES_US: u64 = 15_000;

/// rsync.sh takes a file of the same size and second for the same file (defect 21).
const BETWEEN_PUSHES_BY_PROGRAM_US: u64 = 2_100_000;

/// What happens next.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Start(usize),
    PushStep { push: usize, step: usize, gap_us: u64, cut_after: Option<usize> },
    NextPush,
    Signal { child: usize, signal: i32 },
    Read { member: usize },
    Report { member: usize, version: String },
}

/// A program that was started.
struct Running {
    child: Child,
    what: String,
    is_binary: bool,
    /// Everything that it starts is signalled with it.
    has_group: bool,
    was_killed: bool,
    started_us: u64,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: bool,
    /// It was stopped at a call, or will be.
    stops_at_call: bool,
    push: Option<usize>,
}

/// An interleaving at work.
struct Run<'a> {
    world: &'a World<'a>,
    sandbox: &'a Sandbox,
    plan: &'a Plan,
    begun: Instant,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    scheduled: usize,
    children: Vec<Running>,
    waiting_pushes: VecDeque<usize>,
    push_at_work: bool,
    next_push_at_us: u64,
    next_number: u32,
    history: History,
    seen: BTreeSet<String>,
}

/// Runs a plan in a new world, then lets everything come to rest.
pub fn run(plan: &Plan, sandbox: &Sandbox) -> History {
    let world = sandbox.world();
    fleet::set_up(&world, MEMBERS);
    let mut run = Run {
        world: &world,
        sandbox,
        plan,
        begun: Instant::now(),
        events: BinaryHeap::new(),
        scheduled: 0,
        children: Vec::new(),
        waiting_pushes: VecDeque::new(),
        push_at_work: false,
        next_push_at_us: 0,
        next_number: 2,
        history: History::default(),
        seen: BTreeSet::new(),
    };
    run.history.pushes.push(Push { number: 1, version: Some(fleet::version_of(1)), end: End::Complete });
    for (index, step) in plan.steps.iter().enumerate() {
        run.schedule(step.at_us, Event::Start(index));
    }
    run.until_quiet();
    run.come_to_rest();
    run.look_at_the_end();
    run.history
}

impl Run<'_> {
    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at_us, self.scheduled, event)));
    }

    /// Works until no event is left and no program runs.
    fn until_quiet(&mut self) {
        let begun = Instant::now();
        loop {
            self.look();
            self.reap();
            let now = self.now_us();
            while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                self.happen(event);
            }
            let running = self.children.iter().filter(|child| !child.ended);
            let (stopped, busy): (Vec<_>, Vec<_>) = running.partition(|child| child.stops_at_call);
            if self.events.is_empty() && busy.is_empty() && !self.push_at_work {
                if stopped.is_empty() {
                    return;
                }
                self.continue_the_stopped();
            }
            assert!(begun.elapsed() < HANGS_AFTER, "it hangs: {:#?}", self.plan);
            let next =
                self.events.peek().map_or(u64::MAX, |Reverse((at, ..))| at.saturating_sub(self.now_us()));
            std::thread::sleep(Duration::from_micros(next.min(200)));
        }
    }

    /// All others have ended: those that were stopped at a call go on. Whoever has not come to that call yet is not hurt.
    fn continue_the_stopped(&mut self) {
        for child in self.children.iter().filter(|child| !child.ended && child.stops_at_call) {
            let _ = kill(Pid::from_raw(i32::try_from(child.child.id()).unwrap()), UnixSignal::SIGCONT);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(index) => self.start(index),
            Event::NextPush => self.next_push(),
            Event::PushStep { push, step, gap_us, cut_after } => {
                self.push_by_hand(push, step, gap_us, cut_after);
            }
            Event::Signal { child, signal } => self.signal(child, signal),
            Event::Read { member } => self.member_reads(member),
            Event::Report { member, version } => {
                fleet::report(self.world, &fleet::member(member), &version);
            }
        }
    }

    fn start(&mut self, index: usize) {
        let step = &self.plan.steps[index];
        match &step.actor {
            Actor::Push { .. } => {
                self.waiting_pushes.push_back(index);
                self.begin_a_waiting_push();
            }
            Actor::Tick(by) => self.tick(*by, step.signal),
            Actor::Poll(Poller::Program(by), member) => self.poll(*by, *member, step.signal),
            Actor::Poll(Poller::ByHand, member) => self.schedule(0, Event::Read { member: *member }),
            Actor::Toggle(by, on) => self.toggle(*by, *on),
        }
    }

    fn tick(&mut self, by: Who, signal: Signal) {
        let mut command = self.world.command(Tool::Dispatch, side(by), &[MODEL, PREFIX, LIBRARY]);
        if let Signal::StopAtCall(call) | Signal::KillAtCall(call) = signal {
            command = self.at_call(&command, call, matches!(signal, Signal::KillAtCall(_)));
        }
        self.spawn(command, by, signal, format!("a tick ({by:?})"), None);
    }

    /// The same command, but a signal meets it at a call of the file system.
    fn at_call(&self, command: &Command, call: u64, kill: bool) -> Command {
        let signal = if kill { "KILL" } else { "STOP" };
        let mut traced = Command::new("strace");
        // -D: the program itself is our child, strace its child.
        traced.args(["-D", "-o", "/dev/null", "-e", "trace=%file,fsync,syncfs,flock,write", "-e"]);
        traced.arg(format!("inject=%file,fsync,syncfs,flock,write:signal={signal}:when={call}"));
        traced.arg(command.get_program()).args(command.get_args());
        self.world.prepare(&mut traced, Tool::Dispatch, Side::BINARY);
        traced
    }

    fn poll(&mut self, by: Who, member: usize, signal: Signal) {
        let mut command = self.world.command(Tool::Poll, side(by), &[]);
        let dir = format!("member-{}", fleet::member(member));
        command
            .env("WATCH_ROOT", self.world.path(format!("{dir}/watch")))
            .env("WORKSPACE_ROOT", self.world.path(format!("{dir}/workspace")));
        self.spawn(command, by, signal, format!("a poll of member {member} ({by:?})"), None);
    }

    fn daemon_conf(&self) -> PathBuf {
        self.sandbox.path().join("rsyncd.conf")
    }

    fn toggle(&mut self, by: Who, on: bool) {
        let conf = self.daemon_conf();
        let command = match (by, on) {
            (Who::Binary, _) => {
                let mut command = Command::new(under_test(env!("CARGO_BIN_EXE_autoupdate-toggle")));
                let verb = if on { "enable" } else { "disable" };
                command.args([verb, "--method=rsyncd", "--ip=127.0.0.1", "--config"]).arg(conf);
                command
            }
            // What the manual has operators do by hand.
            (Who::Script, on) => {
                let line = if on { "sed -i '/hosts deny/d' " } else { "echo 'hosts deny = 127.0.0.1' >> " };
                let mut command = Command::new("dash");
                command.arg("-c").arg(format!("{line}{}", conf.display()));
                command
            }
        };
        self.spawn(command, by, Signal::None, format!("a toggle ({by:?}, {on})"), None);
    }

    fn spawn(&mut self, mut command: Command, by: Who, signal: Signal, what: String, push: Option<usize>) {
        let index = self.children.len();
        let [stdout, stderr] = self.output_of(index);
        let is_binary = by == Who::Binary;
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        if !is_binary {
            command.process_group(0);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        let now = self.now_us();
        match signal {
            Signal::Stop { after_us, for_us } => {
                let stop = UnixSignal::SIGSTOP as i32;
                self.schedule(now + after_us, Event::Signal { child: index, signal: stop });
                let go_on = UnixSignal::SIGCONT as i32;
                self.schedule(now + after_us + for_us, Event::Signal { child: index, signal: go_on });
            }
            Signal::Kill { after_us } => {
                let signal = UnixSignal::SIGKILL as i32;
                self.schedule(now + after_us, Event::Signal { child: index, signal });
            }
            Signal::None | Signal::StopAtCall(_) | Signal::KillAtCall(_) => {}
        }
        self.children.push(Running {
            child,
            what,
            is_binary,
            has_group: !is_binary,
            was_killed: matches!(signal, Signal::KillAtCall(_)),
            started_us: now,
            stdout,
            stderr,
            ended: false,
            stops_at_call: matches!(signal, Signal::StopAtCall(_)),
            push,
        });
    }

    fn output_of(&self, child: usize) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|stream| self.sandbox.path().join(format!("{stream}-{child}")))
    }

    fn signal(&mut self, child: usize, signal: i32) {
        let child = &mut self.children[child];
        if child.ended {
            return;
        }
        let signal = UnixSignal::try_from(signal).unwrap();
        let pid = i32::try_from(child.child.id()).unwrap();
        let whom = if child.has_group { -pid } else { pid };
        if kill(Pid::from_raw(whom), signal).is_ok() && signal == UnixSignal::SIGKILL {
            child.was_killed = true;
        }
    }

    fn reap(&mut self) {
        let mut pushed = Vec::new();
        let now = self.now_us();
        for child in self.children.iter_mut().filter(|child| !child.ended) {
            let Some(status) = child.child.try_wait().unwrap() else { continue };
            child.ended = true;
            let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
            self.history.runs.push(Ran {
                what: child.what.clone(),
                code: status.code(),
                was_killed: child.was_killed || status.signal().is_some_and(|_| child.was_killed),
                is_binary: child.is_binary,
                stdout: text(&child.stdout),
                stderr: text(&child.stderr),
                at_us: child.started_us..=now,
            });
            if let Some(push) = child.push {
                pushed.push((push, status.success()));
            }
        }
        for (push, succeeded) in pushed {
            let announced = fs::read(self.world.path("deploy/online/success")).unwrap_or_default();
            let version = String::from_utf8_lossy(&announced).trim().to_owned();
            let is_known = self.history.pushes.iter().any(|p| p.version.as_ref() == Some(&version));
            let push = &mut self.history.pushes[push];
            push.version = (!is_known && !version.is_empty()).then_some(version);
            push.end = if succeeded { End::Complete } else { End::Unknown };
            self.push_is_over(BETWEEN_PUSHES_BY_PROGRAM_US);
        }
    }

    fn push_is_over(&mut self, pause_us: u64) {
        self.next_push_at_us = self.now_us() + pause_us;
        self.push_at_work = false;
        self.begin_a_waiting_push();
    }

    fn begin_a_waiting_push(&mut self) {
        if !self.push_at_work && !self.waiting_pushes.is_empty() {
            self.push_at_work = true;
            self.schedule(self.next_push_at_us, Event::NextPush);
        }
    }

    fn next_push(&mut self) {
        let index = self.waiting_pushes.pop_front().expect("it waits");
        let Step { actor, signal, .. } = self.plan.steps[index].clone();
        let Actor::Push { by, gap_us, cut_after } = actor else { unreachable!("only pushes wait") };
        self.push(by, gap_us, cut_after, signal);
    }

    fn push(&mut self, by: Pusher, gap_us: u64, cut_after: Option<usize>, signal: Signal) {
        self.push_at_work = true;
        let (number, push) = (self.next_number, self.history.pushes.len());
        self.next_number += 1;
        self.history.pushes.push(Push { number, version: None, end: End::Cut });
        match by {
            Pusher::ByHand => {
                self.history.pushes[push].version = Some(fleet::version_of(number));
                self.schedule(0, Event::PushStep { push, step: 0, gap_us, cut_after });
            }
            Pusher::Program(by) => {
                fleet::fill_deploy(self.world, number);
                let command = self.world.command(Tool::Push, side(by), &["update"]);
                self.spawn(command, by, signal, format!("push {number} ({by:?})"), Some(push));
            }
        }
    }

    fn push_by_hand(&mut self, push: usize, step: usize, gap_us: u64, cut_after: Option<usize>) {
        if cut_after == Some(step) {
            return self.push_is_over(BETWEEN_PUSHES_US);
        }
        fleet::push_step(self.world, self.history.pushes[push].number, step);
        if step + 1 == fleet::PUSH_STEPS {
            self.history.pushes[push].end = End::Complete;
            return self.push_is_over(BETWEEN_PUSHES_US);
        }
        let next = Event::PushStep { push, step: step + 1, gap_us, cut_after };
        self.schedule(self.now_us() + gap_us, next);
    }

    /// A member by hand: it fetches what service.conf names at this instant, and reports it a little later.
    fn member_reads(&mut self, member: usize) {
        let conf = fs::read(self.world.service("config_1/service.conf")).unwrap_or_default();
        let Some(version) = fleet::named_in(&conf) else { return };
        let dir = self.world.service(&format!("plugin/{version}"));
        self.history.contents.push(fleet::content("monitor", &dir, &version));
        self.schedule(self.now_us() + 2_000, Event::Report { member, version });
    }

    /// Looks at what the monitor shows at this instant.
    fn look(&mut self) {
        let conf = fleet::conf(self.world);
        if self.history.announced.last() != Some(&conf) {
            self.history.announced.push(conf);
        }
        let plugin = self.world.service("plugin");
        for version in fleet::versions_in(&plugin) {
            if !self.seen.contains(&version) {
                self.history.contents.push(fleet::content("monitor", &plugin.join(&version), &version));
                self.seen.insert(version);
            }
        }
        if self.plan.mixture.toggles {
            let conf = fs::read_to_string(self.daemon_conf()).unwrap_or_default();
            let whole =
                ["[datamining_plugin]", "[datamining_service]"].iter().all(|part| conf.contains(part));
            if !whole {
                self.history.broken_daemon_conf.push(format!("rsyncd.conf was seen as {conf:?}"));
            }
        }
    }

    /// Nothing disturbs any more: a push that was cut off is made again, updates are turned on, then ticks and polls until
    /// nothing changes.
    fn come_to_rest(&mut self) {
        if self.plan.mixture.toggles {
            self.toggle(Who::Script, true);
            self.until_quiet();
            self.toggle(Who::Binary, true);
            self.until_quiet();
        }
        if self.history.pushes.last().is_some_and(|push| push.end != End::Complete) {
            let by = self.plan.mixture.pushers[0];
            std::thread::sleep(Duration::from_micros(match by {
                Pusher::ByHand => BETWEEN_PUSHES_US,
                Pusher::Program(_) => BETWEEN_PUSHES_BY_PROGRAM_US,
            }));
            self.push(by, 0, None, Signal::None);
            self.until_quiet();
        }
        self.tick_and_poll_until_it_ends();
        let with_scripts = self.plan.mixture.pollers.contains(&Poller::Program(Who::Script));
        if with_scripts && self.world.service("status").exists() {
            // A script's poll that was killed never reports, and a late one reports what is not so any more. Such an
            // upgrade ends after twenty minutes.
            self.world.age(self.world.service("status"), 21 * 60);
            self.tick_and_poll_until_it_ends();
        }
    }

    fn tick_and_poll_until_it_ends(&mut self) {
        let ticker = *self.plan.mixture.tickers.last().unwrap();
        let poller = self.plan.mixture.pollers[0];
        for _ in 0..4 {
            self.tick(ticker, Signal::None);
            self.until_quiet();
            for member in 0..MEMBERS {
                match poller {
                    Poller::ByHand => self.schedule(0, Event::Read { member }),
                    Poller::Program(by) => self.poll(by, member, Signal::None),
                }
            }
            self.until_quiet();
            self.tick(ticker, Signal::None);
            self.until_quiet();
            let last = self.history.pushes.last().and_then(|push| push.version.clone());
            let is_announced = last.is_some_and(|version| fleet::conf(self.world) == Conf::Whole(version));
            if is_announced && fleet::in_flight(self.world).is_empty() {
                return;
            }
        }
    }

    fn look_at_the_end(&mut self) {
        let plugin = self.world.service("plugin");
        for version in fleet::versions_in(&plugin) {
            let mut content = fleet::content("monitor", &plugin.join(&version), &version);
            content.at_the_end = true;
            self.history.contents.push(content);
        }
        if self.plan.mixture.pollers[0] != Poller::ByHand {
            for member in 0..MEMBERS {
                self.look_at_member(member);
            }
        }
        self.history.in_flight = fleet::in_flight(self.world);
        self.history.locks_held = fleet::locks_held(self.world, MEMBERS);
        self.history.leftovers = fleet::leftovers(self.world, MEMBERS);
        for file in (0..self.children.len()).flat_map(|index| self.output_of(index)) {
            let _ = fs::remove_file(file);
        }
    }

    fn look_at_member(&mut self, member: usize) {
        let name = fleet::member(member);
        let conf = self.world.path(format!("member-{name}/workspace/bin/etc/service.conf"));
        let installed = fs::read(conf).ok().and_then(|bytes| fleet::named_in(&bytes));
        let content = installed.as_ref().map(|version| {
            let dir = fleet::member_versions(self.world, &name).join(version);
            fleet::content(&name, &dir, version)
        });
        self.history.members.push(MemberEnd { name, installed, content });
    }
}

pub fn side(who: Who) -> Side {
    match who {
        Who::Script => Side::SCRIPT,
        Who::Binary => Side::BINARY,
    }
}
