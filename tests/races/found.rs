//! What the interleavings have found, each tried again at its exact calls.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fleet;
use super::history::{Conf, Content, End, History, Push, Ran, violations};
use super::plan::{Demand, MEMBERS, Who};
use super::run::side;
use crate::crash::need_tracing;
use crate::crash::strace::under_strace;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Tool, World, wait_until};

/// What is published, and served by every member, before the push.
const BEFORE: u32 = 1;
/// The push.
const PUSH: u32 = 2;

const UNLINK: &str = "?unlink,?unlinkat";
const STAT: &str = "?stat,?newfstatat,?statx";
/// A copy begins with its directory.
const MKDIR: &str = "?mkdir,?mkdirat";

fn pushed(sandbox: &Sandbox) -> World<'_> {
    let world = sandbox.world();
    fleet::set_up(&world, MEMBERS);
    for step in 0..fleet::PUSH_STEPS {
        fleet::push_step(&world, PUSH, step);
    }
    world
}

/// A tick that a signal meets at its first of these calls that names a path.
fn start(world: &World, by: Who, calls: &str, path: &Path, signal: &str) -> Child {
    let tick = world.command(Tool::Dispatch, side(by), &[MODEL, PREFIX, LIBRARY]);
    let (path, trace) = (path.to_str().unwrap(), format!("trace={calls}"));
    let inject = format!("inject={calls}:signal={signal}:when=1");
    // -D: the tick itself is our child, strace its child.
    let options = ["-D", "-f", "-P", path, "-e", &trace, "-e", &inject];
    let mut traced = under_strace(&tick, &options, &world.path("trace"));
    traced.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    traced.spawn().unwrap()
}

fn killed_at(world: &World, by: Who, calls: &str, path: &Path) {
    let output = start(world, by, calls, path, "KILL").wait_with_output().unwrap();
    assert_eq!(output.status.code(), None, "it was not killed: {output:?}");
}

/// A tick that stands still behind a call.
struct Stopped(Child);

impl Stopped {
    fn at(world: &World, by: Who, calls: &str, path: &Path) -> Stopped {
        let _ = std::fs::remove_file(world.path("trace"));
        let child = start(world, by, calls, path, "STOP");
        wait_until("a tick stops", || {
            let trace = std::fs::read(world.path("trace")).unwrap_or_default();
            String::from_utf8_lossy(&trace).contains("stopped by SIGSTOP")
        });
        Stopped(child)
    }

    fn goes_on(self) -> Output {
        kill(Pid::from_raw(-i32::try_from(self.0.id()).unwrap()), Signal::SIGCONT).unwrap();
        self.0.wait_with_output().unwrap()
    }
}

/// A tick that copies has copied `data/` then, and the binary's `success`, too; a script copies that last.
fn stopped_while_it_copies(world: &World, by: Who) -> Stopped {
    Stopped::at(world, by, "openat", &library_named_by(world, by))
}

/// The upload's library as a call names it that opens it for the copy: the binary's begins at the upload's directory.
fn library_named_by(world: &World, by: Who) -> PathBuf {
    let library = format!("lib/{LIBRARY}");
    match by {
        Who::Binary => library.into(),
        Who::Script => world.upload(&library),
    }
}

/// Where the push is copied to.
fn staging(world: &World) -> PathBuf {
    world.service(&format!("plugin/.staging-{}", fleet::version_of(PUSH)))
}

fn ticks(world: &World, by: Who) -> Output {
    world.command(Tool::Dispatch, side(by), &[MODEL, PREFIX, LIBRARY]).output().unwrap()
}

/// What the monitor announces after some more ticks, and whether that is not all there.
fn in_the_end(world: &World) -> (Conf, Vec<String>) {
    for _ in 0..3 {
        ticks(world, Who::Binary);
    }
    (fleet::conf(world), violations(&seen(world), &[Demand::Whole, Demand::LastEverywhere]))
}

/// The pushes, and the versions in their places.
fn seen(world: &World) -> History {
    let push = |number| Push { number, version: Some(fleet::version_of(number)), end: End::Complete };
    let plugin = world.service("plugin");
    let content = |version: String| {
        let content = fleet::content("monitor", &plugin.join(&version), &version);
        Content { at_the_end: true, ..content }
    };
    let contents = fleet::versions_in(&plugin).into_iter().map(content).collect();
    History {
        pushes: vec![push(BEFORE), push(PUSH)],
        contents,
        announced: vec![fleet::conf(world)],
        ..History::default()
    }
}

fn ran(output: &Output, at_us: std::ops::RangeInclusive<u64>) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code();
    Ran { what: "a tick".to_owned(), code, was_killed: false, is_binary: false, stdout, stderr, at_us }
}

/// What the demands find in it, without and with what the ticks said that ran at the same time.
fn judged(world: &World, ticks: &[&Output], demands: &[Demand]) -> [usize; 2] {
    let mut history = seen(world);
    let unheard = violations(&history, demands).len();
    history.runs = ticks.iter().map(|output| ran(output, 0..=9)).collect();
    [unheard, violations(&history, demands).len()]
}

/// Without any binary: the instrument knows that by what the scripts say.
#[test]
fn two_ticks_of_the_script_leave_a_version_without_its_success() {
    need_tracing!();
    let sandbox = Sandbox::new();
    let world = pushed(&sandbox);
    let copies = stopped_while_it_copies(&world, Who::Script);
    let checks = ticks(&world, Who::Script);
    let copies = copies.goes_on();
    let demands = [Demand::WholeAtTheEnd, Demand::LastEverywhere];
    assert_eq!(judged(&world, &[&copies, &checks], &demands), [1, 0], "{:?}", seen(&world));
}

/// One copies, one has removed `status` and goes on to `success`, which the third has seen by then, and not read.
#[test]
fn three_ticks_of_the_script_publish_a_push_under_local_time() {
    need_tracing!();
    let sandbox = Sandbox::new();
    let world = pushed(&sandbox);
    let copies = stopped_while_it_copies(&world, Who::Script);
    let checks = Stopped::at(&world, Who::Script, UNLINK, &world.service("status"));
    let begins = Stopped::at(&world, Who::Script, STAT, &world.upload("success"));
    let checks = checks.goes_on();
    let copies = copies.goes_on();
    let begins = begins.goes_on();
    let ticks = [&copies, &checks, &begins];
    assert_eq!(judged(&world, &ticks, &[Demand::WholeAtTheEnd]), [2, 0], "{:?}", seen(&world));
    assert_eq!(judged(&world, &ticks, &[Demand::LastEverywhere]), [1, 0], "{:?}", seen(&world));
}

#[test]
fn one_tick_of_the_binary_beside_one_of_the_script_publishes_all_of_it() {
    need_tracing!();
    let sandbox = Sandbox::new();
    for (copies, checks) in [(Who::Script, Who::Binary), (Who::Binary, Who::Script)] {
        let world = pushed(&sandbox);
        let stopped = stopped_while_it_copies(&world, copies);
        ticks(&world, checks);
        // Only the script takes the upgrade for one that has ended.
        assert_eq!(world.service("status").exists(), checks == Who::Binary);
        stopped.goes_on();
        let (conf, violations) = in_the_end(&world);
        assert_eq!(violations, [""; 0], "{copies:?} copies, {checks:?} checks: {conf:?}");
    }
}

/// The members still have the version before, so a script's check takes the `status` of the run that died for that of an
/// upgrade that has ended.
#[test]
fn a_push_is_not_lost_where_a_script_s_check_meets_its_resumption() {
    need_tracing!();
    let sandbox = Sandbox::new();
    let world = pushed(&sandbox);
    killed_at(&world, Who::Binary, "openat", &library_named_by(&world, Who::Binary));
    let resumes = Stopped::at(&world, Who::Binary, MKDIR, &staging(&world));
    ticks(&world, Who::Script);
    resumes.goes_on();
    let (conf, violations) = in_the_end(&world);
    assert_eq!(violations, [""; 0], "{conf:?}");
}

/// A script removes `status`, then `success`: a tick of the binary that begins in between has to know it.
#[test]
fn a_push_is_not_lost_where_it_begins_in_the_middle_of_a_script_s_check() {
    need_tracing!();
    let sandbox = Sandbox::new();
    for before_success_is_copied in [true, false] {
        let world = pushed(&sandbox);
        killed_at(&world, Who::Binary, "openat", &library_named_by(&world, Who::Binary));
        let checks = Stopped::at(&world, Who::Script, UNLINK, &world.service("status"));
        let publishes = if before_success_is_copied {
            Stopped::at(&world, Who::Binary, MKDIR, &staging(&world))
        } else {
            stopped_while_it_copies(&world, Who::Binary)
        };
        checks.goes_on();
        publishes.goes_on();
        let (conf, violations) = in_the_end(&world);
        assert_eq!(violations, [""; 0], "{before_success_is_copied}: {conf:?}");
    }
}

/// A run that dies before the script gets on to `success` leaves a `status` without it.
#[test]
fn a_push_is_not_lost_where_its_resumption_dies_in_the_middle_of_a_script_s_check() {
    need_tracing!();
    let sandbox = Sandbox::new();
    let world = pushed(&sandbox);
    let copying = library_named_by(&world, Who::Binary);
    killed_at(&world, Who::Binary, "openat", &copying);
    let checks = Stopped::at(&world, Who::Script, UNLINK, &world.service("status"));
    killed_at(&world, Who::Binary, "openat", &copying);
    checks.goes_on();
    assert!(world.service("status").exists() && !world.upload("success").exists());
    let (conf, violations) = in_the_end(&world);
    assert_eq!(violations, [""; 0], "{conf:?}");
}
