//! One disturbed run, what others see right after it, and the undisturbed runs that follow.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use model_rollout::machine::clock;
use regex::bytes::Regex;
use serde_json::Value;

use crate::crash::cases::Case;
use crate::crash::strace::{self, Call, Point};
use crate::harness::outcome::{Kind, Node, Tree, differences};
use crate::harness::{Outcome, Sandbox, World, parts, write_program};

/// What a case does when nobody disturbs it.
pub struct Reference {
    /// The world before.
    pub before: Tree,
    /// The world after the run.
    pub after: Tree,
    /// What is left after the runs that follow.
    pub settled: Outcome,
    /// The places in the run of the binary.
    pub points: Vec<Point>,
    /// The places in each call of rsync that it makes.
    pub rsync_points: Vec<Vec<Point>>,
}

/// How a run is disturbed.
#[derive(Debug, Clone, Copy)]
pub enum Disturbance<'a> {
    /// It is killed before this call.
    Kill(&'a Point),
    /// Its n-th rsync, from 0, is killed before this call, and the run with it.
    KillWithRsync(usize, &'a Point),
    /// This call fails, and is not made.
    Fail(&'a Point, &'a str),
}

impl std::fmt::Display for Disturbance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Disturbance::Kill(point) => write!(f, "killed before {point}"),
            Disturbance::KillWithRsync(call, point) => {
                write!(f, "killed while rsync {} was before {point}", call + 1)
            }
            Disturbance::Fail(point, error) => write!(f, "{error} from {point}"),
        }
    }
}

/// How a disturbed run went.
pub struct Trial {
    /// How the run ended: its exit code, or minus the signal.
    pub ended: i32,
    /// What it said.
    pub stderr: String,
    /// Whether the place was reached. Not every one of rsync's is: how much it reads at once is a matter of time.
    pub reached: bool,
    /// What is wrong with what others saw, or with the end.
    pub problems: Vec<String>,
}

/// A case in a sandbox of its own.
pub struct Bench<'a> {
    /// The case.
    pub case: &'a Case,
    /// What it does when nobody disturbs it.
    pub reference: Reference,
    sandbox: Sandbox,
}

impl<'a> Bench<'a> {
    /// Runs the case undisturbed, and finds its places.
    pub fn new(case: &'a Case) -> Bench<'a> {
        let sandbox = Sandbox::new();
        put_rsync_aside(&sandbox);
        let begun = clock::now();
        let world = sandbox.world();
        (case.given)(&world);
        let read = |world: &World| levelled(Tree::read(&world.root, &begun));
        let before = read(&world);
        let log = sandbox.path().join("trace");
        let mut traced = strace::under_strace(&case.command(&world), &["-e", &strace::trace_option()], &log);
        let ran = traced.env("RSYNC_TRACES", sandbox.path()).output().expect("strace starts");
        assert!(ran.status.success(), "{}: {ran:?}", case.name);
        sandbox.daemon().wait_until_idle();
        let after = read(&world);
        let settled =
            settle(case, &world, &begun).unwrap_or_else(|problem| panic!("{}: {problem}", case.name));
        let root = world.root.display().to_string();
        let points = strace::points(&calls(&log), |call| call.concerns(&root));
        assert!(points.len() > 10, "{}: these are the places: {points:?}", case.name);
        let rsync_points: Vec<_> =
            (1..=case.rsyncs).map(|n| rsync_points(&sandbox.path().join(format!("rsync-{n}")))).collect();
        Bench { case, reference: Reference { before, after, settled, points, rsync_points }, sandbox }
    }

    /// Disturbs a run, looks at what others see, and lets undisturbed runs follow.
    pub fn disturb(&self, disturbance: Disturbance) -> Trial {
        let case = self.case;
        let world = self.sandbox.world();
        let begun = clock::now();
        (case.given)(&world);
        let log = self.sandbox.path().join("trace");
        let command = case.command(&world);
        let inject = |point: &Point, what: &str| {
            let inject = format!("inject={}:{what}:when={}", point.name, point.number);
            strace::under_strace(&command, &["-e", &format!("trace={}", point.name), "-e", &inject], &log)
        };
        let mut disturbed = match disturbance {
            Disturbance::Kill(point) => inject(point, "signal=KILL"),
            Disturbance::Fail(point, error) => inject(point, &format!("error={error}")),
            Disturbance::KillWithRsync(call, point) => {
                let mut command = case.command(&world);
                for file in ["rsync-calls".to_owned(), format!("rsync-{}.killed", call + 1)] {
                    let _ = std::fs::remove_file(self.sandbox.path().join(file));
                }
                command
                    .env("RSYNC_KILLED", (call + 1).to_string())
                    .env("RSYNC_TRACES", self.sandbox.path())
                    .env("RSYNC_TRACED", format!("trace={}", point.name))
                    .env(
                        "RSYNC_INJECTED",
                        format!("inject={}:signal=KILL:when={}", point.name, point.number),
                    );
                command
            }
        };
        let ran = disturbed.output().expect("the command starts");
        self.sandbox.daemon().wait_until_idle();
        let ended = ran.status.code().unwrap_or_else(|| -ran.status.signal().unwrap_or_default());
        let reached = match disturbance {
            Disturbance::Kill(_) | Disturbance::KillWithRsync(..) => ended == -9,
            Disturbance::Fail(..) => std::fs::read_to_string(&log).unwrap_or_default().contains("(INJECTED)"),
        };
        let now = levelled(Tree::read(&world.root, &begun));
        let mut problems = seen_by_others(case, &self.reference, &now);
        match settle(case, &world, &begun) {
            Ok(settled) => problems.extend(end(case, &self.reference, &settled)),
            Err(problem) => problems.push(problem),
        }
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        Trial { ended, stderr, reached, problems }
    }
}

fn calls(log: &std::path::Path) -> Vec<Call> {
    strace::parse(&String::from_utf8_lossy(&std::fs::read(log).expect("a trace")))
}

/// The places of an rsync, which is several processes: each counts its own calls. Those that only look or listen are left
/// out: to be killed before one is to be killed before the next that does something.
fn rsync_points(log: &std::path::Path) -> Vec<Point> {
    let mut of_processes: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for call in calls(log) {
        of_processes.entry(call.pid).or_default().push(call);
    }
    let mut places: BTreeMap<(String, usize), Point> = BTreeMap::new();
    for calls in of_processes.values() {
        for point in strace::points(calls, |_| true).into_iter().filter(|point| point.call.does_something()) {
            places.entry((point.name.clone(), point.number)).or_insert(point);
        }
    }
    places.into_values().collect()
}

/// Puts a stand-in before rsync, which lets it be traced, or killed together with whoever called it. All of its processes
/// die at once: they are a group of their own.
fn put_rsync_aside(sandbox: &Sandbox) {
    let rsync = parts::find("rsync").expect("rsync is there");
    let stand_in = format!(
        "#!/bin/sh\n\
         [ -n \"$RSYNC_TRACES\" ] || exec {rsync} \"$@\"\n\
         counter=$RSYNC_TRACES/rsync-calls\n\
         calls=$(($(cat \"$counter\" 2> /dev/null || echo 0) + 1))\n\
         echo $calls > \"$counter\"\n\
         log=$RSYNC_TRACES/rsync-$calls\n\
         [ -n \"$RSYNC_KILLED\" ] || exec strace -f -y -o \"$log\" -e '{trace}' -- {rsync} \"$@\"\n\
         [ \"$RSYNC_KILLED\" = $calls ] || exec {rsync} \"$@\"\n\
         exec 3<&0\n\
         setsid strace -f -o \"$log.killed\" -e \"$RSYNC_TRACED\" -e \"$RSYNC_INJECTED\" -- {rsync} \"$@\" <&3 &\n\
         is_killed() {{ grep -q 'killed by SIGKILL' \"$log.killed\" 2> /dev/null; }}\n\
         while kill -0 $! 2> /dev/null && ! is_killed; do sleep 0.01; done\n\
         if is_killed; then kill -9 -$! $PPID; fi\n\
         wait $!\n",
        rsync = rsync.display(),
        trace = strace::trace_option(),
    );
    let path = sandbox.path().join("bin/rsync");
    write_program(&path, stand_in.as_bytes(), 0o755);
}

/// Lets undisturbed runs follow, each of which must succeed, and reads what is left.
fn settle(case: &Case, world: &World, begun: &model_rollout::time::LocalTime) -> Result<Outcome, String> {
    let mut command = String::new();
    for _ in 0..case.finishes {
        let run = || case.command(world).output().expect("the command starts");
        let mut ran = run();
        // A program that was just forked when its parent was killed holds the lock until it begins or is told to end.
        for _ in 0..20 {
            if ran.status.code() != Some(75) {
                break;
            }
            clock::pause(std::time::Duration::from_millis(100));
            ran = run();
        }
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            return Err(format!("the next run ended with {}: {said}", ran.status));
        }
        command = format!("{:?}", case.command(world));
    }
    Ok(Outcome {
        command,
        status: 0,
        stdout: String::new(),
        stderr: String::new(),
        journal: world.journal_lines(),
        tree: levelled(Tree::read(&world.root, begun)),
    })
}

static NUMBERED: LazyLock<Regex> = LazyLock::new(|| Regex::new("<VERSION [0-9]+>").unwrap());

/// Whether a file is about the runs: a log, a lock.
fn is_of_runs(path: &str) -> bool {
    let lock = path.contains("/scripts/dispatch/lock/") || path.ends_with("/.rollout/lock");
    path.ends_with(".log") || path.ends_with(".lock") || lock
}

/// What a monitor, or a member, keeps, without what depends on when it ran, and how often.
fn without_runs(bytes: &[u8]) -> Vec<u8> {
    const OF_RUNS: [&str; 10] = [
        "epoch",
        "sequence",
        "latest",
        "events",
        "at_s",
        "at_unix_s",
        "began_s",
        "progress_s",
        "identity",
        "arrived_s",
    ];
    fn level(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !OF_RUNS.contains(&name.as_str()));
                fields.values_mut().for_each(level);
            }
            Value::Array(values) => values.iter_mut().for_each(level),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    match serde_json::from_slice(bytes) {
        Ok(mut value) => {
            level(&mut value);
            value.to_string().into_bytes()
        }
        Err(_) => bytes.to_vec(),
    }
}

/// A disturbed push and the one that follows have two versions, and what is left of the first has to be like the second.
/// What is in a log depends on how many runs there were, what is in a lock on who was the last.
fn levelled(tree: Tree) -> Tree {
    let one_version = |bytes: &[u8]| NUMBERED.replace_all(bytes, &b"<VERSION>"[..]).into_owned();
    let level = |(path, node): (String, Node)| {
        let path = if path.starts_with("deploy/backup/") {
            path
        } else {
            String::from_utf8_lossy(&one_version(path.as_bytes())).into_owned()
        };
        let kind = match node.kind {
            Kind::File(bytes) if path.ends_with("/.rollout/state.json") => Kind::File(without_runs(&bytes)),
            Kind::File(bytes) if path.ends_with("/.rollout/announcement") => Kind::File(without_runs(&bytes)),
            Kind::File(_) if is_of_runs(&path) => Kind::File(Vec::new()),
            Kind::File(bytes) => Kind::File(one_version(&bytes)),
            other => other,
        };
        (path, Node { kind, ..node })
    };
    Tree(tree.0.into_iter().map(level).collect())
}

/// The nodes at a path and below it, by what follows the path.
fn below<'t>(tree: &'t Tree, path: &str) -> Vec<(&'t str, &'t Node)> {
    let inside = tree.0.iter().filter_map(|(full, node)| {
        let rest = full.strip_prefix(path)?;
        (rest.is_empty() || rest.starts_with('/')).then_some((rest, node))
    });
    inside.collect()
}

/// What members, pollers, daemons and cron see at one instant: what is wrong with that.
pub fn seen_by_others(case: &Case, reference: &Reference, now: &Tree) -> Vec<String> {
    let Reference { before, after, .. } = reference;
    let mut problems = Vec::new();
    for path in case.files.iter().chain(case.directories) {
        let (was, is, becomes) = (below(before, path), below(now, path), below(after, path));
        if is != was && is != becomes {
            problems.push(format!("{path} is neither as before nor as after: {is:?}"));
        }
    }
    for (first, others) in case.announces {
        let (was, is, becomes) = (below(before, first), below(now, first), below(after, first));
        if is == was || is != becomes {
            continue;
        }
        for path in *others {
            if below(now, path) != below(after, path) {
                problems.push(format!("{first} is as after, and {path} is not: {:?}", below(now, path)));
            }
        }
    }
    problems.extend(lost(case, reference, now));
    problems
}

/// What has to be kept, and is neither where it was nor in the place for it.
fn lost(case: &Case, reference: &Reference, now: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, keeper) in case.keeps {
        let content = below(&reference.before, path);
        let copies = now.0.keys().filter(|full| {
            full.strip_prefix(keeper).is_some_and(|rest| rest.starts_with('/') && !rest[1..].contains('/'))
        });
        let kept = copies.map(String::as_str).chain([*path]).any(|copy| below(now, copy) == content);
        if !kept {
            problems.push(format!("what was in {path} is neither there nor in {keeper}"));
        }
    }
    problems
}

/// What is wrong with the end: it has to be that of a run which nobody disturbed.
fn end(case: &Case, reference: &Reference, settled: &Outcome) -> Vec<String> {
    // A second push has a backup more.
    let compared = |outcome: &Outcome| {
        let nodes = outcome.tree.0.iter().filter(|(path, _)| !path.starts_with("deploy/backup/"));
        let tree = Tree(nodes.map(|(path, node)| (path.clone(), node.clone())).collect());
        Outcome { tree, journal: Vec::new(), command: String::new(), ..outcome.clone() }
    };
    let mut problems: Vec<String> = differences(&compared(&reference.settled), &compared(settled))
        .into_iter()
        .map(|difference| format!("in the end {difference}"))
        .collect();
    problems.extend(lost(case, reference, &settled.tree));
    let leftovers = settled.tree.0.keys().filter(|path| path.rsplit('/').next().is_some_and(is_leftover));
    problems.extend(leftovers.map(|path| format!("in the end {path} is left over")));
    let restarted = matches!(&settled.journal[..], [.., stop, start] if stop.starts_with("stop") && start.starts_with("start"));
    if case.restarts && !restarted {
        problems.push(format!("in the end the service was not restarted: {:?}", settled.journal));
    }
    problems
}

static LEFTOVER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\.(staging-.*|discarded|.*\.new|success\.removing|service_polling|copying)$").unwrap()
});

fn is_leftover(name: &str) -> bool {
    LEFTOVER.is_match(name.as_bytes())
}

/// Where everything is: for a failing test.
pub fn sandbox_of(bench: &Bench) -> PathBuf {
    bench.sandbox.path().to_path_buf()
}

/// A command that is not one of a case, in the sandbox of a bench.
pub fn traced_run(case: &Case, options: &[&str]) -> (Vec<Call>, String) {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    (case.given)(&world);
    let log = sandbox.path().join("trace");
    let mut traced: Command = strace::under_strace(&case.command(&world), options, &log);
    let ran = traced.output().expect("strace starts");
    assert!(ran.status.success(), "{}: {ran:?}", case.name);
    (calls(&log), world.root.display().to_string())
}
