//! The demo, run for real: what it shows, and that it leaves nothing behind, whenever it is interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::parts::need;

/// The example beside this test's own directory; `cargo test` builds it, `cargo test --test suite` does not.
fn demo() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let demo = own.parent().unwrap().parent().unwrap().join("examples/demo");
    assert!(demo.is_file(), "{} is not there; run cargo build --examples", demo.display());
    demo
}

fn start(arguments: &[&str], tmp: &Path) -> Child {
    let mut command = Command::new(demo());
    command.args(arguments).env("TMPDIR", tmp);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(arguments: &[&str], tmp: &Path) -> Output {
    start(arguments, tmp).wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every living process that has something to do with a directory, by its environment or its command line.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = fs::canonicalize(dir).unwrap().display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let shown = entries.filter_map(|entry| {
        let read =
            |file: &str| fs::read(entry.path().join(file)).map(|bytes| text(&bytes)).unwrap_or_default();
        let (environment, command_line) = (read("environ"), read("cmdline"));
        let ours = environment.contains(&dir) || command_line.contains(&dir);
        ours.then(|| format!("{:?}: {}", entry.file_name(), command_line.replace('\0', " ")))
    });
    shown.collect()
}

fn assert_nothing_is_left(tmp: &Path, after: &str) {
    assert_eq!(processes_of(tmp), Vec::<String>::new(), "{after}");
    let names: Vec<_> = fs::read_dir(tmp).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.is_empty(), "{after}: {names:?}");
}

#[test]
fn every_member_really_serves_the_second_release_and_nothing_is_left() {
    need!("rsync", "cc");
    let tmp = tempfile::tempdir().unwrap();
    let output = run(&[], tmp.path());
    let (shown, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{complaint}");
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() == 6 && row[0].starts_with("127.0.0."))
        .collect();
    assert_eq!(rows.len(), 6, "{shown}");
    for (n, row) in rows.iter().enumerate() {
        let expected = if n < 3 { ["first", "20.5", "ok"] } else { ["second", "30.25", "ok"] };
        assert_eq!(row[3..], expected, "{shown}");
        assert_eq!(row[1], row[2], "{shown}");
    }
    assert!(rows[0][1] < rows[3][1], "{shown}");
    assert_eq!(shown.lines().find(|line| line.chars().count() > 100), None);
    assert_eq!(complaint, "");
    assert_nothing_is_left(tmp.path(), "after a whole demo");
}

#[test]
fn an_interrupt_at_any_moment_leaves_nothing_behind() {
    need!("rsync", "cc");
    for (milliseconds, signal) in [
        (0, Signal::SIGINT),
        (50, Signal::SIGTERM),
        (300, Signal::SIGINT),
        (1000, Signal::SIGINT),
        (2000, Signal::SIGHUP),
        (3500, Signal::SIGINT),
    ] {
        let tmp = tempfile::tempdir().unwrap();
        let after = format!("after {signal} at {milliseconds} ms");
        let status = interrupted(tmp.path(), Duration::from_millis(milliseconds), signal);
        // A fast machine may be done before the signal; one that has not begun dies of it.
        assert!(status.code().is_none_or(|code| code == 0 || code == 130), "{after}: {status}");
        assert_nothing_is_left(tmp.path(), &after);
    }
}

fn interrupted(tmp: &Path, moment: Duration, signal: Signal) -> ExitStatus {
    let mut child = start(&[], tmp);
    thread::sleep(moment);
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
    child.wait().unwrap()
}

#[test]
fn a_kept_fleet_answers_until_it_is_stopped() {
    need!("rsync", "cc");
    let tmp = tempfile::tempdir().unwrap();
    let output = run(&["--keep"], tmp.path());
    let shown = text(&output.stdout);
    let name = fs::read_dir(tmp.path()).unwrap().flatten().next().map(|entry| entry.path());
    let dir = name.unwrap_or_else(|| panic!("{shown}{}", text(&output.stderr)));
    let dir = dir.to_str().unwrap();
    let service = |line: &str| {
        let (_, address) = line.split_once("serves on ")?;
        Some(address.to_owned())
    };
    let log = Path::new(dir).join("members/127.0.0.12/workspace/log/service.log");
    let address = fs::read_to_string(log).unwrap().lines().find_map(service).unwrap();
    let answer = run(&["--ask", &address], tmp.path());

    // Whatever the above found, the fleet must go before anything is asserted.
    let elsewhere = run(&["--stop", tmp.path().to_str().unwrap()], tmp.path());
    let stopped = run(&["--stop", dir], tmp.path());
    assert!(output.status.success(), "{shown}");
    assert!(text(&answer.stdout).contains("(second, score 30.25)"), "{answer:?}");
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    assert!(stopped.status.success(), "{stopped:?}");
    assert_nothing_is_left(tmp.path(), "after --stop");
}
