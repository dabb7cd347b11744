//! What the interleavings have found, each tried again at its exact calls.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fleet;
use super::history::{Conf, End, History, Push, violations};
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

const RENAME: &str = "?rename,?renameat,?renameat2";
const UNLINK: &str = "?unlink,?unlinkat";
/// strace finds a rename by its first path.
const JOURNAL_S_NEW: &str = "..dispatch.new";

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
    Stopped::at(world, by, "openat", &world.upload(&format!("lib/{LIBRARY}")))
}

fn ticks(world: &World, by: Who) -> Output {
    world.command(Tool::Dispatch, side(by), &[MODEL, PREFIX, LIBRARY]).output().unwrap()
}

/// What the monitor announces after some more ticks, and whether that is not all there.
fn in_the_end(world: &World) -> (Conf, Vec<String>) {
    for _ in 0..3 {
        ticks(world, Who::Binary);
    }
    let mut history = seen(world);
    let conf = fleet::conf(world);
    history.announced.push(conf.clone());
    (conf, violations(&history, &[Demand::Whole, Demand::LastEverywhere]))
}

/// The pushes, and the version in its place.
fn seen(world: &World) -> History {
    let push = |number| Push { number, version: Some(fleet::version_of(number)), end: End::Complete };
    let version = fleet::version_of(PUSH);
    let mut content = fleet::content("monitor", &world.service(&format!("plugin/{version}")), &version);
    content.at_the_end = true;
    History { pushes: vec![push(BEFORE), push(PUSH)], contents: vec![content], ..History::default() }
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
    killed_at(&world, Who::Binary, "openat", &world.upload(&format!("lib/{LIBRARY}")));
    let resumes = Stopped::at(&world, Who::Binary, RENAME, &world.service(JOURNAL_S_NEW));
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
        killed_at(&world, Who::Binary, "openat", &world.upload(&format!("lib/{LIBRARY}")));
        let checks = Stopped::at(&world, Who::Script, UNLINK, &world.service("status"));
        let publishes = if before_success_is_copied {
            Stopped::at(&world, Who::Binary, RENAME, &world.service(JOURNAL_S_NEW))
        } else {
            stopped_while_it_copies(&world, Who::Binary)
        };
        checks.goes_on();
        publishes.goes_on();
        let (conf, violations) = in_the_end(&world);
        assert_eq!(violations, [""; 0], "{before_success_is_copied}: {conf:?}");
    }
}
