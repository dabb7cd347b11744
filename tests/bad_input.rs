//! The errors a tired person makes, and a broken machine: one line on standard error (program, what, where, what to do), the
//! exit code of contract section 4, and nothing changed.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::outcome::{Tree, differences, shown};
use crate::harness::parts::{is_root, need, skip};
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, write_program};

const V: &str = "20180413192258\n";
const ONE: &[&str] = &[MODEL, PREFIX, LIBRARY];

/// Tool, arguments, what is wrong, exit code, what the line says.
type Case = (Tool, &'static [&'static str], fn(&World), i32, &'static str);

/// Everything in order: a registered model with an announced upload, a deploy directory, a member.
pub fn in_order(world: &World) {
    world.registered();
    world.uploaded(V);
    world.member_list("127.0.0.11");
    world.deploy();
    world.member("127.0.0.11");
    world.write("member-127.0.0.11/workspace/bin/etc/service.conf", "old\n");
    world.published("20170101000000");
    world.service_conf("config_1", SERVICE_CONF);
}

fn env_sh(world: &World, from: &str, to: &str) {
    for file in ["deploy/env.sh", "member-127.0.0.11/watch/env.sh"] {
        let text = String::from_utf8(world.read(file)).unwrap();
        world.write(file, text.replacen(from, to, 1));
    }
}

fn remove(world: &World, path: &str) {
    let path = world.path(path);
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
}

/// Points every env.sh at a port on which nobody listens.
fn unreachable(world: &World) {
    env_sh(world, "rsyncport=", &format!("rsyncport={}\nold_port=", quiet_port()));
}

fn fifo(world: &World, path: &str) {
    let _ = std::fs::remove_file(world.path(path));
    nix::unistd::mkfifo(&world.path(path), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
}

const RUN: &[&str] = &["v1.0", "image", "17019", MODEL];

const CASES: &[Case] = &[
    // Arguments.
    (Tool::DockerRun, &["v1.0", "image", "17019"], |_| {}, 2, "SERVICE_NAME"),
    (Tool::DockerRun, &["v1.0", "a/b", "17019", MODEL], |_| {}, 2, "is not a name of an image"),
    (Tool::DockerRun, &["v1.0", "a b", "17019", MODEL], |_| {}, 2, "is not a name of an image"),
    (Tool::DockerRun, &["v1.0", "-a", "17019", MODEL], |_| {}, 2, "-a"),
    (Tool::DockerRun, &["v 1", "image", "17019", MODEL], |_| {}, 2, "is not a version of an image"),
    (Tool::DockerRun, &["v1.0", "image", "0", MODEL], |_| {}, 2, "is not a port"),
    (Tool::DockerRun, &["v1.0", "image", "65536", MODEL], |_| {}, 2, "is not a port"),
    (Tool::DockerRun, &["v1.0", "image", "17019", "../x"], |_| {}, 2, "is not a model name"),
    (
        Tool::DockerRun,
        RUN,
        |w| w.write("monitor/scripts/dispatch/conf/ports.md", "no table\n"),
        2,
        "conf/ports.md:1: ",
    ),
    (Tool::Add, &["model", "a b", "x"], |_| {}, 2, "\u{201c}a b\u{201d} is not a model name"),
    (Tool::Add, &["model", "a\nb", "x"], |_| {}, 2, "is not a model name"),
    (Tool::Add, &["model", "", "x"], |_| {}, 2, "is not a model name"),
    (Tool::Add, &["model", ".x", "x"], |_| {}, 2, "is not a model name"),
    (Tool::Add, &["model", "--x", "x"], |_| {}, 2, "--x"),
    (Tool::Add, &["model", "m", "lib/x"], |_| {}, 2, "is not a plugin name"),
    (Tool::Add, &["modle", "m", "m"], |_| {}, 2, "is not a known TYPE; the one there is: model"),
    (Tool::Add, &["model", "m"], |_| {}, 2, "PLUGIN"),
    (Tool::Add, &["model", "m", "m", "m"], |_| {}, 2, "unexpected argument"),
    (
        Tool::Add,
        &["model", "m", "m", "--members", "1.2.3.4;ls", "--port", "1"],
        |_| {},
        2,
        "is not an address",
    ),
    (Tool::Add, &["model", "m", "m", "--members", "1.2.3.4", "--port", "65536"], |_| {}, 2, "is not a port"),
    (Tool::Push, &["update", "--source", "here"], |_| {}, 2, "online, deploy"),
    (Tool::Push, &["update", "--dir", "nowhere"], |_| {}, 2, "nowhere/env.sh is not there"),
    (Tool::Push, &["upgrade"], |_| {}, 1, "usage: rsync-push update"),
    (Tool::Dispatch, &[MODEL, PREFIX], |_| {}, 2, "SONAME"),
    (Tool::Dispatch, &[MODEL, "w/plugin", LIBRARY], |_| {}, 2, "is not a prefix path"),
    (Tool::Dispatch, &[MODEL, PREFIX, "../x.so"], |_| {}, 2, "is not a name of a .so file"),
    (
        Tool::Dispatch,
        &["unknown", PREFIX, LIBRARY],
        |_| {},
        1,
        "datamining_service/unknown is not there; run add_dispatch_docker",
    ),
    (Tool::Registry, &["nowhere.sh"], |_| {}, 1, "cannot read nowhere.sh: no such file or directory"),
    (Tool::Poll, &["now"], |_| {}, 2, "unexpected argument"),
    (Tool::Poll, &["--spread", "60"], |_| {}, 2, "--spread: \u{201c}60\u{201d} is not a spread"),
    (Tool::Poll, &["--spread=-1"], |_| {}, 2, "is not a spread"),
    // env.sh.
    (
        Tool::Push,
        &["update"],
        |w| remove(w, "deploy/env.sh"),
        2,
        "env.sh is not there; run in the model's deploy directory",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "monitor=", "monitors="),
        2,
        "deploy/env.sh: monitor is not set; add a line monitor=...",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "modulename=", "module="),
        2,
        "deploy/env.sh: modulename is not set",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "modulename=mblog", "modulename=mblog/"),
        2,
        "deploy/env.sh:3: modulename: \u{201c}mblog/_yellow\u{201d} is not a model name",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "\"127.0.0.1\"", "\"127.0.0.1\"  --monitor机器"),
        2,
        "deploy/env.sh:1:22: a shell takes --monitor机器 for a command, which leaves monitor unset",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "members=", "members=`cat hosts` #"),
        2,
        "deploy/env.sh:2:9: command substitution is not read; write the value itself",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "members=\"", "members="),
        2,
        "deploy/env.sh:2:30: this \" is never closed",
    ),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "members=", "members = "),
        2,
        "deploy/env.sh:2:1: members = ... is a command to a shell",
    ),
    (Tool::Push, &["update"], |w| env_sh(w, "\n", "\r\n"), 2, "deploy/env.sh:1:20: the line ends in CR LF"),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "rsyncport=", "rsyncport=x"),
        2,
        "is not a port; use a number from 1 to 65535",
    ),
    (Tool::Push, &["update"], |w| fifo(w, "deploy/env.sh"), 1, "deploy/env.sh is not a regular file"),
    (
        Tool::Push,
        &["update"],
        |w| {
            remove(w, "deploy/env.sh");
            w.directory("deploy/env.sh");
        },
        1,
        "deploy/env.sh is not a regular file",
    ),
    (
        Tool::Poll,
        &[],
        |w| remove(w, "member-127.0.0.11/watch/env.sh"),
        2,
        "watch/env.sh is not there; write monitor, modulename,",
    ),
    (Tool::Poll, &[], |w| env_sh(w, "monitor=", "monitors="), 2, "watch/env.sh: monitor is not set"),
    (Tool::Poll, &[], |w| env_sh(w, "service_start=", "start="), 2, "watch/env.sh: service_start is not set"),
    (
        Tool::Poll,
        &[],
        |w| env_sh(w, "address=127.0.0.11", "address=../x"),
        2,
        "watch/env.sh:5: address: \u{201c}../x\u{201d} is not an address",
    ),
    // What is to be pushed, published, fetched.
    (
        Tool::Push,
        &["update"],
        |w| remove(w, &format!("deploy/online/release/{LIBRARY}")),
        1,
        "there is no online/release/mblog_yellow.so",
    ),
    (
        Tool::Push,
        &["update"],
        |w| {
            remove(w, "deploy/online/data");
            w.directory("deploy/online/data");
        },
        1,
        "online/data holds no file",
    ),
    (Tool::Push, &["update"], unreachable, 1, "check that the daemon runs there"),
    (
        Tool::Push,
        &["update"],
        |w| env_sh(w, "modulename=mblog_yellow", "modulename=other"),
        1,
        "there is no online/release/other.so",
    ),
    (
        Tool::Dispatch,
        ONE,
        |w| w.service_conf("config_1", ""),
        2,
        "config_1/service.conf: there is no line moduleversion=",
    ),
    (Tool::Dispatch, ONE, |w| w.service_conf("config_1", [0; 4096]), 2, "there is no line moduleversion="),
    (
        Tool::Dispatch,
        ONE,
        |w| {
            remove(w, &format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf"))
        },
        1,
        "there is no config_*/service.conf",
    ),
    (
        Tool::Dispatch,
        ONE,
        |w| fifo(w, &format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf")),
        1,
        "config_1/service.conf is not a regular file",
    ),
    (
        Tool::Dispatch,
        ONE,
        |w| fifo(w, &format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/success")),
        1,
        "success is not a regular file",
    ),
    (
        Tool::Dispatch,
        ONE,
        |w| fifo(w, &format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/data/fifo")),
        1,
        "data/fifo is a device, a fifo or a link that leaves the upload",
    ),
    (Tool::Poll, &[], unreachable, 1, "check that the daemon runs there"),
    (
        Tool::Poll,
        &[],
        |w| env_sh(w, "modulename=mblog_yellow", "modulename=other"),
        1,
        "datamining_service/other/ (port ",
    ),
    (
        Tool::Poll,
        &[],
        |w| w.service_conf("config_1", "[module]\nmoduleversion=../../x\n"),
        1,
        "names no version",
    ),
    (
        Tool::Poll,
        &[],
        |w| remove(w, "member-127.0.0.11/workspace"),
        1,
        "workspace is not a directory; mount it, or set WORKSPACE_ROOT",
    ),
    // Trees that are not there.
    (
        Tool::Add,
        &["model", "m", "m"],
        |w| remove(w, "monitor"),
        1,
        "monitor is not a directory; mount it, or set MONITOR_ROOT",
    ),
    (
        Tool::Add,
        &["model", "m", "m"],
        |w| remove(w, "monitor/scripts"),
        1,
        "scripts/dispatch/bin is not a directory",
    ),
    (
        Tool::Dispatch,
        ONE,
        |w| remove(w, "monitor/rsync_service_data/datamining_plugin"),
        1,
        "datamining_plugin is not a directory",
    ),
    (
        Tool::Registry,
        &[],
        |w| remove(w, "monitor/scripts/dispatch/bin/dispatchserver.sh"),
        1,
        "dispatchserver.sh",
    ),
];

/// The programs' names, as their complaints begin.
fn program(tool: Tool) -> &'static str {
    match tool {
        Tool::Add => "add_dispatch_docker",
        Tool::Push => "rsync-push",
        Tool::Dispatch | Tool::Registry => "dispatch",
        Tool::Poll => "service_polling",
        Tool::DockerRun => "dockerrun",
    }
}

/// One line, the exit code, and nothing changed: what is wrong with that.
fn problem(
    world: &World,
    before: &Outcome,
    tool: Tool,
    outcome: &Outcome,
    exit: i32,
    says: &str,
) -> Option<String> {
    let after = world.outcome_now(before.clone());
    // A poll makes the directory that it fetches to; an empty directory is nothing.
    let temp = "member-127.0.0.11/workspace/temp is there, too";
    let changed = differences(before, &after).into_iter().find(|line| line != temp);
    let line = &outcome.stderr;
    let problem = match changed {
        Some(change) => format!("it changed something: {change}"),
        None if outcome.status != exit => format!("exit status {exit} was expected"),
        None if line.lines().count() != 1 => "one line was expected".to_owned(),
        None if !line.starts_with(&format!("{}: ", program(tool))) => {
            "its name was expected first".to_owned()
        }
        None if !line.contains(says) => format!("expected \u{201c}{says}\u{201d}"),
        None => return None,
    };
    Some(format!("{problem}\n$ {}\nexit status {}\n{line}", outcome.command, outcome.status))
}

fn check(world: &World, before: &Outcome, tool: Tool, outcome: &Outcome, exit: i32, says: &str) {
    if let Some(problem) = problem(world, before, tool, outcome, exit, says) {
        panic!("{problem}");
    }
}

fn before(world: &World) -> Outcome {
    let begun = model_rollout::machine::clock::now();
    Outcome {
        command: String::new(),
        status: 0,
        stdout: String::new(),
        stderr: String::new(),
        journal: Vec::new(),
        tree: Tree::read(&world.root, &begun),
    }
}

#[test]
fn every_bad_input_gets_one_line_and_changes_nothing() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let mut problems = Vec::new();
    for (tool, arguments, spoil, exit, says) in CASES {
        let world = sandbox.world();
        in_order(&world);
        spoil(&world);
        let before = before(&world);
        let mut command = match tool {
            // The monitor's directory itself may be what is missing.
            Tool::Registry => {
                let mut command = Command::new(Tool::Registry.binary());
                command.arg("--all");
                world.prepare(&mut command, Tool::Add, Side::BINARY);
                command
            }
            _ => world.command(*tool, Side::BINARY, &[]),
        };
        let outcome = world.finish(command.args(*arguments));
        problems.extend(problem(&world, &before, *tool, &outcome, *exit, says));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A file that may not be read, met by a user whom modes hinder.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    need!("rsync", "setpriv");
    let sandbox = Sandbox::new();
    let cases: [(Tool, &[&str], String); 3] = [
        (Tool::Push, &["update"], "deploy/env.sh".to_owned()),
        (
            Tool::Dispatch,
            ONE,
            format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf"),
        ),
        (Tool::Poll, &[], "member-127.0.0.11/watch/env.sh".to_owned()),
    ];
    for (tool, arguments, file) in cases {
        let world = sandbox.world();
        in_order(&world);
        let unreadable = |path: &str| {
            std::fs::set_permissions(world.path(path), std::fs::Permissions::from_mode(0o000)).unwrap();
        };
        unreadable(&file);
        // Wherever the project lies: somebody else has to reach the binary and the world.
        let binary = sandbox.path().join("binary");
        write_program(&binary, &std::fs::read(tool.binary()).unwrap(), 0o755);
        std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = if is_root() {
            open_to_everybody(&world, &file);
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
            command
        } else {
            Command::new(&binary)
        };
        world.prepare(&mut command, tool, Side::BINARY);
        let before = before(&world);
        let outcome = world.finish(command.args(arguments));
        check(&world, &before, tool, &outcome, 1, "permission denied; run as the owner of that tree");
        assert!(outcome.stderr.contains(&format!("{file}: permission denied")), "{}", outcome.stderr);
    }
}

/// Lets every user write everywhere in the world, but for one file.
fn open_to_everybody(world: &World, except: &str) {
    let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(&world.root).status().unwrap();
    assert!(opened.success());
    std::fs::set_permissions(world.path(except), std::fs::Permissions::from_mode(0o000)).unwrap();
}

/// A small file system of its own, unmounted at the end.
pub struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    /// Mounts one over a directory of the world; `None`, as a skip, where that is not permitted.
    pub fn over(path: std::path::PathBuf, size: &str) -> Option<Tmpfs> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size},mode=755"))
            .arg("tmpfs")
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Tmpfs(path)),
            other => {
                skip(&format!("a tmpfs cannot be mounted here: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_publishes_nothing_and_says_so() {
    need!("rsync", "mount", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let services = world.path("monitor/rsync_service_data/datamining_service");
    let Some(_disk) = Tmpfs::over(services, "256k") else { return };
    in_order(&world);
    // More than is free.
    world.write(world.upload("data/large"), vec![7; 400 << 10]);
    let untouched = before(&world);
    let outcome = world.run(Tool::Dispatch, Side::BINARY, ONE);
    check(&world, &untouched, Tool::Dispatch, &outcome, 1, "bytes and the disk has");
    // Less than is free by the count of bytes, more by that of blocks: it fails half-way.
    std::fs::remove_file(world.upload("data/large")).unwrap();
    for number in 0..60 {
        world.write(world.upload(&format!("data/{number}")), "x");
    }
    world.write(world.upload("success"), "20180413192258\n");
    let untouched = before(&world);
    let outcome = world.run(Tool::Dispatch, Side::BINARY, ONE);
    check(&world, &untouched, Tool::Dispatch, &outcome, 1, "no space left on device; free some space");
    // The script publishes what fitted, and takes it for an update.
    let outcome = world.run(Tool::Dispatch, Side::SCRIPT, ONE);
    assert_eq!(outcome.status, 0);
    assert!(outcome.stdout.starts_with("update mblog_yellow to 20180413192258\n"), "{}", shown(&outcome));
    let version = "monitor/rsync_service_data/datamining_service/mblog_yellow/plugin/20180413192258";
    assert_eq!(outcome.tree.text(&format!("{version}/lib/{LIBRARY}")), "", "half a version");
}
