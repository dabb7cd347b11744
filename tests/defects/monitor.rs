//! Rows about what happens on the monitor.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::asking;
use crate::bad_input::Tmpfs;
use crate::batches;
use crate::crash::strace::{is_permitted, under_strace};
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, parts, wait_until};
use crate::retention;

const V: &str = "20180413192258";
const ONE: &[&str] = &[MODEL, PREFIX, LIBRARY];

fn tick(world: &World, side: Side) -> Outcome {
    world.run(Tool::Dispatch, side, ONE)
}

/// A push waits for its first tick.
fn pushed(world: &World) {
    world.registered();
    world.uploaded(&format!("{V}\n"));
    world.member_list("127.0.0.11,127.0.0.12");
}

/// How many of its three values name the version.
fn values_of_v(conf: &[u8]) -> usize {
    let conf = String::from_utf8_lossy(conf);
    conf.lines().filter(|line| line.starts_with("module") && line.contains(V)).count()
}

/// Every rename is followed by a pause, in which a poller would find whatever there is to find.
pub fn every_state_of_service_conf(side: Side) -> Option<String> {
    if !is_permitted() {
        return None;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world);
    let renames = "rename,renameat,renameat2";
    let options =
        ["-f", "-e", &format!("trace={renames}"), "-e", &format!("inject={renames}:delay_exit=150000")];
    let command = world.command(Tool::Dispatch, side, ONE);
    let mut ticking =
        under_strace(&command, &options, Path::new("/dev/null")).stdout(Stdio::null()).spawn().unwrap();
    let state = || values_of_v(&world.read(world.service("config_1/service.conf")));
    let mut states = BTreeSet::from([state()]);
    while ticking.try_wait().unwrap().is_none() {
        states.insert(state());
        std::thread::sleep(Duration::from_millis(5));
    }
    states.insert(state());
    assert!(states.contains(&0) && states.contains(&3), "it was edited: {states:?}");
    let half = states.iter().any(|values| [1, 2].contains(values));
    let fetched = if half { "it half edited" } else { "it as before or as after" };
    Some(format!("a poll fetches {fetched}"))
}

/// Killed with all that it started when `status` is there and the version's directory is about to be made.
pub fn killed_behind_status(side: Side) -> Option<String> {
    if !is_permitted() {
        return None;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world);
    let mut options =
        vec!["-f", "-e", "trace=mkdir,mkdirat", "-e", "inject=mkdir,mkdirat:delay_enter=30000000"];
    let staging = world.service(&format!("plugin/.staging-{V}")).display().to_string();
    if side == Side::BINARY {
        // It has made directories of its own by then.
        options.extend(["-P", &staging]);
    }
    let command = world.command(Tool::Dispatch, side, ONE);
    let mut traced = under_strace(&command, &options, Path::new("/dev/null"));
    let mut killed = traced.process_group(0).spawn().unwrap();
    wait_until("status is there", || world.service("status").exists());
    let group = Pid::from_raw(i32::try_from(killed.id()).unwrap());
    killpg(group, Signal::SIGKILL).unwrap();
    killed.wait().unwrap();
    wait_until("all of it is gone", || killpg(group, None).is_err());
    assert!(!world.service(&format!("plugin/{V}")).exists(), "it was killed in time");
    let announced = || values_of_v(&world.read(world.service("config_1/service.conf"))) == 3;
    tick(&world, side);
    if announced() {
        return Some("the next tick publishes and announces it".to_owned());
    }
    world.age(world.service("status"), 1260);
    tick(&world, side);
    tick(&world, side);
    let lost = !announced() && !world.upload("success").exists();
    Some(format!("stuck for 20 minutes, then the push is {}", if lost { "lost" } else { "published" }))
}

/// A newer push arrives when the members are still taking the version before.
pub fn a_push_during_an_upgrade(side: Side) -> Option<String> {
    const NEWER: &str = "20180501000000";
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world);
    assert_eq!(tick(&world, side).status, 0);
    // rsync replaces a file by another one.
    std::fs::remove_file(world.upload("success")).unwrap();
    world.uploaded(&format!("{NEWER}\n"));
    ["127.0.0.11", "127.0.0.12"].iter().for_each(|member| world.reported(member, V));
    assert_eq!(tick(&world, side).status, 0);
    let ended = if world.service("status").exists() { "goes on" } else { "ends" };
    assert_eq!(tick(&world, side).status, 0);
    let is_published = world.service(&format!("plugin/{NEWER}/lib/{LIBRARY}")).exists();
    let newer = if is_published { "published next" } else { "lost" };
    Some(format!("the upgrade {ended}, the newer push is {newer}"))
}

/// Seven versions were there and one is pushed; `keep=2` stands in the member list, which the script sources.
pub fn versions_left_by_an_upgrade_that_keeps_two(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    retention::with_history(&world);
    world.member_list_says("keep=2\n");
    assert_eq!(tick(&world, side).status, 0);
    retention::confirmed(&world);
    assert_eq!(tick(&world, side).status, 0);
    assert!(!world.service("status").exists(), "the upgrade has ended");
    let there = |version: &str| world.service(&format!("plugin/{version}/lib/{LIBRARY}")).is_file();
    let left = retention::OLD.iter().filter(|version| there(version)).count();
    let live = [retention::OLD[0], retention::OLD[1], retention::BEFORE, retention::NEW];
    let live = if live.into_iter().all(there) { "all in use among them" } else { "one in use is gone" };
    Some(format!("{left} of 6 old versions stay, {live}"))
}

/// The versions have a disk of their own, on which the upload does not fit.
pub fn published_on_a_full_disk(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world);
    let _disk = Tmpfs::over(world.service("plugin"), "256k")?;
    world.write(world.upload(&format!("lib/{LIBRARY}")), vec![7; 400 << 10]);
    world.age(world.upload(&format!("lib/{LIBRARY}")), 3600);
    let ticked = tick(&world, side);
    let announced = values_of_v(&world.read(world.service("config_1/service.conf"))) > 0;
    let library = std::fs::metadata(world.service(&format!("plugin/{V}/lib/{LIBRARY}")));
    let whole = library.as_ref().is_ok_and(|library| library.len() == 400 << 10);
    let says = if ticked.stderr.contains("bytes and the disk has") { ", says what is free" } else { "" };
    let published = match (library.is_ok(), whole) {
        (false, _) => "nothing",
        (true, false) => "half a library",
        (true, true) => "all",
    };
    let announced = if announced { "announced" } else { "not announced" };
    Some(format!("{published} published, {announced}, exit {}{says}", ticked.status))
}

/// Four members; `batches=1,50%,100%` stands in the member list, which the script sources. Every minute each member polls.
pub fn restarts_minute_by_minute(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    batches::fleet(&world, 4, "batches=1,50%,100%\n");
    let minutes = (0..3).map(|_| {
        assert_eq!(tick(&world, side).status, 0);
        (1..=4).for_each(|n| assert_eq!(world.poll(side, &batches::address(n)).status, 0));
        batches::restarted(&world).len().to_string()
    });
    let minutes: Vec<String> = minutes.collect();
    Some(format!("restarted by minute 1, 2, 3: {} of 4", minutes.join(", ")))
}

/// What the binary allows a member for its answer here.
const LIMIT: Duration = Duration::from_secs(1);

/// The first of four members does not answer, the others do. A script waits for its report, which does not come (a fifo that
/// nobody writes to); the binary asks by RPC here, and its service accepts the connection and says nothing.
pub fn asked_while_one_is_silent(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = asking::addresses(4);
    let (others, ended) = match side {
        Side::Script(_) => {
            asking::in_flight(&world, &members, "");
            others_asked_by_the_script(&world, side, &members)
        }
        Side::Binary(_) => {
            let serves = asking::Manner::Serves(V);
            let manners = [asking::Manner::Silent, serves, serves, serves];
            let port = asking::fleet(members.iter().copied().zip(manners).collect());
            let settings = format!("probe=rpc probe_timeout={}\nmoduleport={port}\n", LIMIT.as_secs());
            asking::in_flight(&world, &members, &settings);
            let said = tick(&world, side).stdout;
            let (_, said) = said.split_once(&format!("{MODEL}: ")).expect("it says who has it");
            (said.split(' ').next().expect("a number").parse().expect("a number"), true)
        }
    };
    let end = if ended { "ends in its time" } else { "hangs" };
    Some(format!("the check {end}, and {others} of the 3 behind a silent one are asked"))
}

/// How many were asked behind the one that is silent, and whether the tick ended though it was.
fn others_asked_by_the_script(world: &World, side: Side, members: &[Ipv4Addr]) -> (usize, bool) {
    for member in &members[1..] {
        world.reported(&member.to_string(), V);
    }
    let silent = world.service(&format!("version/{}", members[0]));
    nix::unistd::mkfifo(&silent, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cat = parts::find("cat").unwrap();
    let note = format!("#!/bin/sh\necho \"$1\" >> \"$JOURNAL\"\nexec {} \"$@\"\n", cat.display());
    world.write_with_mode("stand-ins/cat", note, 0o755);
    let mut command = world.command(Tool::Dispatch, side, ONE);
    let path = format!("{}:{}", world.path("stand-ins").display(), std::env::var("PATH").unwrap());
    let mut ticking = command.env("PATH", path).stdout(Stdio::null()).spawn().unwrap();
    // Whoever opens a fifo for writing without waiting learns whether somebody reads it.
    let open = || OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&silent);
    let mut writer = None;
    let begun = Instant::now();
    while writer.is_none() && ticking.try_wait().unwrap().is_none() && begun.elapsed() < LIMIT * 20 {
        writer = open().ok();
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(LIMIT * 3 / 2);
    let ended = ticking.try_wait().unwrap().is_some();
    drop(writer);
    ticking.wait().unwrap();
    (world.journal_lines().len() - 1, ended)
}

/// A library that a process has mapped is pushed again under the same version, and is smaller now. The library is one that
/// every compiler has; `cat` has it by LD_PRELOAD and runs its last lines when it ends.
pub fn a_mapped_library(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    pushed(&world);
    world.published(V);
    let library = world.service(&format!("plugin/{V}/lib/{LIBRARY}"));
    let answer = Command::new("cc").arg("-print-file-name=libgcc_s.so.1").output().unwrap();
    let any = PathBuf::from(String::from_utf8(answer.stdout).unwrap().trim());
    if !any.is_absolute() {
        parts::skip("cc has no libgcc_s.so.1, of which a copy could be mapped");
        return None;
    }
    std::fs::copy(any, &library).unwrap();
    let mut service = Command::new("cat");
    service.env("LD_PRELOAD", &library).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut service = service.spawn().unwrap();
    let mut stdin = service.stdin.take().unwrap();
    stdin.write_all(b"ready\n").unwrap();
    let mut line = String::new();
    BufReader::new(service.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ticked = tick(&world, side);
    drop(stdin);
    let ended = service.wait().unwrap();
    let fate = match ended.signal() {
        Some(signal) if signal == Signal::SIGBUS as i32 => "dies of SIGBUS".to_owned(),
        _ => format!("goes on ({ended})"),
    };
    let said = if ticked.stderr.contains("published already with other content") { ", says why" } else { "" };
    Some(format!("exit {}{said}; who has it mapped {fate}", ticked.status))
}
