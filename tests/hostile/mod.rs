//! Hostile input: whatever stands in the files, the trees, the environment or behind the daemon, a run ends soon, in little
//! memory, with one clear line or having done its work, and touches nothing that it is not about.
//!
//! Every case starts from a world in which everything is in order, beside a directory that is none of anybody's business;
//! spoils something; and runs one binary with 256 MiB of memory to spare.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::harness::parts::need;
use crate::harness::side::under_test;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World, figures};

mod content;
mod kinds;
mod links;
mod names;
mod served;
mod surroundings;
mod trees;

/// The version that every world's upload announces.
const VERSION: &str = "20180413192258";

/// The address space of a run, KiB: a binary needs about 20 MiB, with rsync beside it.
const MEMORY_KIB: u32 = (256 + 44) << 10;

/// How long a run may take, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in the files outside.
const SECRET: &str = "a secret of somebody else";

/// A run that meets something hostile.
struct Case {
    what: String,
    program: Program,
    arguments: Vec<OsString>,
    /// The shell line that starts the program, `"$@"`.
    through: String,
    spoil: Box<dyn Fn(&World)>,
    expect: Expect,
    /// Whether a push, too, is started in the world's directory.
    starts_in_world: bool,
    patience: Duration,
}

/// A binary, run as it usually is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Add,
    Push,
    Dispatch,
    All,
    Poll,
    ToggleRsyncd,
    ToggleCrontab,
}

enum Expect {
    /// One line that holds this, and nothing changed.
    Refused(&'static str),
    /// Nothing on standard error; and this holds then.
    Done(fn(&World)),
    /// Either, or a part of it: what matters is what was not done outside.
    Either,
}

fn case(program: Program, what: impl Into<String>, spoil: impl Fn(&World) + 'static, expect: Expect) -> Case {
    let strings = |words: &[&str]| words.iter().map(OsString::from).collect();
    let arguments = match program {
        Program::Add => strings(&["model", "another", "another"]),
        Program::Push => strings(&["update"]),
        Program::Dispatch => strings(&[MODEL, PREFIX, LIBRARY]),
        Program::All => strings(&["--all"]),
        Program::Poll => Vec::new(),
        Program::ToggleRsyncd => {
            strings(&["disable", "--method", "rsyncd", "--ip", "10.0.0.1", "--config", "rsyncd.conf"])
        }
        Program::ToggleCrontab => strings(&["disable", "--method", "crontab", "--file", "crontab"]),
    };
    let through = "exec \"$@\"".to_owned();
    Case {
        what: what.into(),
        program,
        arguments,
        through,
        spoil: Box::new(spoil),
        expect,
        starts_in_world: false,
        patience: PATIENCE,
    }
}

impl Case {
    fn with(mut self, arguments: &[&[u8]]) -> Case {
        let text = |bytes: &&[u8]| std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec());
        self.arguments = arguments.iter().map(text).collect();
        self
    }

    /// A file of 50 MB takes longer, above all where the binaries are not optimized.
    fn patient(mut self) -> Case {
        self.patience = 6 * PATIENCE;
        self
    }

    fn through(mut self, line: impl Into<String>) -> Case {
        self.through = line.into();
        self
    }

    /// Runs the case in a new world: what is wrong with it, if anything is.
    fn problem(&self, sandbox: &Sandbox) -> Option<String> {
        let world = sandbox.world();
        crate::bad_input::in_order(&world);
        world.write("rsyncd.conf", "[datamining_service]\npath = /data1\n");
        world.write("crontab", "* * * * * /watch/service_polling.sh\n");
        let outside = outside(sandbox);
        (self.spoil)(&world);
        announce_again(&world);
        let before = (snapshot(&world.root), snapshot(&outside));
        let ran = self.run(&world);
        let after = (snapshot(&world.root), snapshot(&outside));
        let shown = || format!("{}: {:?} {:?}\n{}", self.what, ran.status, ran.took, cut(&ran.stderr));
        let problem = self
            .judge(&world, &ran, &changes(&before.0, &after.0))
            .or_else(|| {
                changes(&before.1, &after.1).first().map(|change| format!("outside the world: {change}"))
            })
            .or_else(|| leaked(&world.root).map(|file| format!("{} came from outside", file.display())));
        problem.map(|problem| format!("{problem}\n{}", shown()))
    }

    fn judge(&self, world: &World, ran: &Ran, changes: &[String]) -> Option<String> {
        let lines = ran.stderr.lines().count();
        // `dispatch --all` names the problem and sums up.
        let expected = if self.program == Program::All { 2 } else { 1 };
        let is_failure = matches!(ran.status.code(), Some(1 | 2 | 75));
        if ran.took > self.patience {
            Some(format!("it ran for more than {:?}", self.patience))
        } else if ran.status.signal().is_some() || !(ran.status.success() || is_failure) {
            Some("it crashed".to_owned())
        } else if ran.stderr.contains("panicked") || ran.stderr.len() > 200 * 1024 {
            Some("it says too much".to_owned())
        } else if is_failure && matches!(self.expect, Expect::Refused(_)) && !changes.is_empty() {
            Some(format!("it failed and changed something: {changes:?}"))
        } else {
            match &self.expect {
                Expect::Refused(_) if !is_failure => Some("it was not refused".to_owned()),
                Expect::Refused(_) if lines != expected => Some(format!("{expected} line(s) were expected")),
                Expect::Refused(says) if !ran.stderr.contains(says) => Some(format!("expected “{says}”")),
                Expect::Done(_) if is_failure || lines > 0 => Some("it was not done quietly".to_owned()),
                Expect::Done(holds) => {
                    holds(world);
                    None
                }
                Expect::Refused(_) | Expect::Either => None,
            }
        }
    }

    fn run(&self, world: &World) -> Ran {
        let (tool, binary) = match self.program {
            Program::Add => (Tool::Add, Tool::Add.binary()),
            Program::Push => (Tool::Push, Tool::Push.binary()),
            Program::Dispatch => (Tool::Dispatch, Tool::Dispatch.binary()),
            Program::All => (Tool::Registry, Tool::Registry.binary()),
            Program::Poll => (Tool::Poll, Tool::Poll.binary()),
            Program::ToggleRsyncd | Program::ToggleCrontab => {
                (Tool::Add, under_test(env!("CARGO_BIN_EXE_autoupdate-toggle")))
            }
        };
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("ulimit -v {MEMORY_KIB}; {}", self.through)).arg("sh");
        command.arg(binary).args(&self.arguments);
        world.prepare(&mut command, tool, Side::BINARY);
        if self.starts_in_world {
            command.current_dir(&world.root);
        }
        // Files, so that a process left behind does not hold a pipe open.
        let said = world.root.with_file_name("stderr");
        command.stdout(File::create(world.root.with_file_name("stdout")).unwrap());
        command.stderr(File::create(&said).unwrap()).process_group(0);
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > self.patience {
                let group = nix::unistd::Pid::from_raw(-i32::try_from(child.id()).unwrap());
                nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stderr = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        Ran { status, took: begun.elapsed(), stderr }
    }
}

struct Ran {
    status: ExitStatus,
    took: Duration,
    stderr: String,
}

/// Lets `success` arrive after everything that was spoilt, as it does in a push.
fn announce_again(world: &World) {
    let success = world.upload("success");
    if let Ok(metadata) = success.symlink_metadata().map(|m| m.is_file().then_some(m)) {
        let set_again = metadata.map(|m| fs::set_permissions(&success, m.permissions()));
        set_again.transpose().unwrap();
    }
}

/// A directory that no run is about.
fn outside(sandbox: &Sandbox) -> PathBuf {
    let outside = sandbox.path().join("outside");
    let _ = fs::remove_dir_all(&outside);
    for dir in ["directory", VERSION, "lib", "data"] {
        fs::create_dir_all(outside.join(dir)).unwrap();
    }
    let conf = format!("# {SECRET}\nmoduleversion={VERSION}\nmodulepath=x\nmoduleconfig=y\n");
    for (file, content) in [
        ("service.conf", conf.as_str()),
        ("success", VERSION),
        ("file", SECRET),
        (&format!("lib/{LIBRARY}"), SECRET),
        ("data/file", SECRET),
        ("directory/file", SECRET),
        (&format!("{VERSION}/file"), SECRET),
    ] {
        fs::write(outside.join(file), content).unwrap();
    }
    symlink("outside/file", sandbox.path().join("link-to-file")).ok();
    symlink("outside", sandbox.path().join("link-to-directory")).ok();
    outside
}

/// Every path with what must not change. Of a directory, its time may: a lock may be left in it.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut paths = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, Ok(m)) = (entry.path(), entry.path().symlink_metadata()) else { continue };
            let what = match m.is_dir() {
                true => format!("directory {:o} {}", m.mode(), m.uid()),
                false => format!(
                    "{:o} {} {} {}.{} {}",
                    m.mode(),
                    m.uid(),
                    m.size(),
                    m.mtime(),
                    m.mtime_nsec(),
                    m.ino()
                ),
            };
            if m.is_dir() {
                open.push(path.clone());
            }
            paths.insert(path, what);
        }
    }
    paths
}

/// What changed, but for locks, what a monitor remembers of a push that it refuses, what waits
/// beside its place until it is complete, and what a poller tells of its failure, or the history of
/// a refusal.
fn changes(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let is_ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_staged =
            |part: std::path::Component| part.as_os_str().as_encoded_bytes().starts_with(b".staging-");
        (name.starts_with('.') && name.ends_with(".lock"))
            // What a poller remembers of the announcement, and of its failure.
            || path.components().any(|part| part.as_os_str() == ".rollout")
                && path.components().any(|part| part.as_os_str() == "workspace")
            || path.ends_with(".rollout") || path.ends_with(".rollout/state.json")
            || path.ends_with("scripts/dispatch/lock")
            || path.parent().is_some_and(|dir| dir.ends_with("scripts/dispatch/lock"))
            || path.ends_with("workspace/bin")
            || path.ends_with("workspace/bin/etc")
            || name.starts_with(".state-")
            || name.starts_with(".history-")
            || path.ends_with(format!("datamining_service/{MODEL}/version"))
            || ["workspace/temp", "workspace/plugin", &format!("workspace/plugin/{MODEL}")]
                .iter()
                .any(|dir| path.ends_with(dir))
            || path.components().any(is_staged)
    };
    let both = before.keys().chain(after.keys()).filter(|path| !is_ours(path));
    let change = |path: &PathBuf| match (before.get(path), after.get(path)) {
        (Some(old), Some(new)) if old == new => None,
        // What was announced before there was a state.
        (None, Some(_)) if path.ends_with(".rollout/announcement") => None,
        (old, new) => Some(format!("{}: {old:?} became {new:?}", path.display())),
    };
    both.filter_map(change).take(2).collect()
}

/// A file of the world that holds what only files outside hold.
fn leaked(root: &Path) -> Option<PathBuf> {
    let files = snapshot(root)
        .into_keys()
        .filter(|path| path.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() < 1 << 16));
    let holds = |path: &PathBuf| {
        let content = fs::read(path).unwrap_or_default();
        content.windows(SECRET.len()).any(|w| w == SECRET.as_bytes())
    };
    files.into_iter().find(holds)
}

fn cut(text: &str) -> String {
    text.chars().take(600).collect()
}

/// Whether the upload was published, whole.
fn is_published(world: &World) {
    let version = world.service("plugin").join(VERSION);
    assert_eq!(fs::read(version.join("lib").join(LIBRARY)).unwrap(), b"library 2\n");
    assert!(version.symlink_metadata().unwrap().is_dir());
    let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
    assert!(conf.contains(&format!("moduleversion={VERSION}\n")), "{conf}");
}

fn anything(_: &World) {}

/// Runs cases, each in a world of its own; fails with all that are wrong.
fn check(about: &str, cases: Vec<Case>) {
    need!("rsync");
    let sandbox = Sandbox::new();
    let mut slowest = (Duration::ZERO, String::new());
    let mut problems = Vec::new();
    let count = cases.len();
    for case in cases {
        let begun = Instant::now();
        problems.extend(case.problem(&sandbox));
        slowest = slowest.max((begun.elapsed(), case.what));
    }
    println!("{count} hostile cases of {about}; the slowest took {:?}: {}", slowest.0, slowest.1);
    figures::record("hostile inputs", count);
    figures::record("losses", problems.len());
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n\n"));
}

#[test]
fn there_are_some_hundred_hostile_cases() {
    let lists = [
        names::cases(),
        links::cases(),
        kinds::special(),
        kinds::large(),
        content::cases(),
        content::registries(),
        trees::cases(),
        surroundings::cases(),
        surroundings::programs(),
        served::cases(),
    ];
    let count: usize = lists.iter().map(Vec::len).sum();
    println!("{count} hostile cases");
    assert!(count >= 300, "{count}");
}
