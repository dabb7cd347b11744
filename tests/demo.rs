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
    let whole: &[&str] = &[];
    for (arguments, milliseconds, signal) in [
        (whole, 0, Signal::SIGINT),
        (whole, 50, Signal::SIGTERM),
        (whole, 300, Signal::SIGINT),
        (whole, 1000, Signal::SIGINT),
        (whole, 2000, Signal::SIGHUP),
        (whole, 3500, Signal::SIGINT),
        (&["--fleet", "--members", "5"], 4000, Signal::SIGTERM),
    ] {
        let tmp = tempfile::tempdir().unwrap();
        let after = format!("{arguments:?} after {signal} at {milliseconds} ms");
        let status = interrupted(arguments, tmp.path(), Duration::from_millis(milliseconds), signal);
        // A fast machine may be done before the signal; one that has not begun dies of it.
        assert!(status.code().is_none_or(|code| code == 0 || code == 130), "{after}: {status}");
        assert_nothing_is_left(tmp.path(), &after);
    }
}

fn interrupted(arguments: &[&str], tmp: &Path, moment: Duration, signal: Signal) -> ExitStatus {
    let mut child = start(arguments, tmp);
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

/// `make demo-fleet` with fewer members. That nobody is down but the batch in turn is checked by the demo itself, at every
/// look of its client.
#[test]
fn a_release_that_cannot_be_loaded_stops_at_one_member_and_with_the_scripts_takes_all_down() {
    need!("rsync", "cc", "dash");
    let (tmp, record) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = record.path().to_str().unwrap();
    let output =
        run(&["--fleet", "--members", "7", "--legacy-members", "5", "--record", written], tmp.path());
    let (shown, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{complaint}");
    for part in [
        "stopped the rollout of",
        "0 of 7 admitted so far; stopped by dispatch: 1 failed: 127.0.0.11",
        "rolled back to",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(
        shown.split_whitespace().collect::<Vec<_>>().join(" ").contains("nothing is published"),
        "{shown}"
    );

    let csv = fs::read_to_string(record.path().join("fleet.csv")).unwrap();
    let rows: Vec<(&str, [usize; 3])> = csv.lines().skip(1).map(row_of_record).collect();
    let of =
        |fleet: &str| rows.iter().filter(|(of, _)| *of == fleet).map(|(_, row)| *row).collect::<Vec<_>>();
    let (binaries, scripts) = (of("binaries"), of("scripts"));
    let in_the_incident = || binaries.iter().take_while(|[_, third, _]| *third == 0);
    assert!(in_the_incident().all(|[_, _, down]| *down <= 1), "{csv}");
    assert!(in_the_incident().any(|[_, _, down]| *down == 1), "{csv}");
    assert_eq!((binaries.first(), binaries.last()), (Some(&[7, 0, 0]), Some(&[0, 7, 0])), "{csv}");
    assert!(scripts.contains(&[0, 0, 5]), "{csv}");
    assert_eq!((scripts.first(), scripts.last()), (Some(&[5, 0, 0]), Some(&[5, 0, 0])), "{csv}");
    let svg = fs::read_to_string(record.path().join("fleet.svg")).unwrap();
    assert!(svg.contains("7 members with the binaries") && svg.ends_with("</svg>\n"), "{svg}");
    assert_nothing_is_left(tmp.path(), "after a whole demo");
}

/// The fleet of a row, and how many of it serve the first release, the third, and nothing.
fn row_of_record(row: &str) -> (&str, [usize; 3]) {
    let cells: Vec<&str> = row.split(',').collect();
    (cells[0], [2, 3, 4].map(|n| cells[n].parse().unwrap()))
}
