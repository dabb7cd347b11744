//! Errors everywhere: a run in which one call fails, whichever and however, succeeds all the same, or says so in one line and
//! publishes nothing half; nothing is lost, and the next runs end where a run ends that nobody disturbed.
//!
//! Only calls on files of the world are made to fail, not those that read the system's own files (the time zone, the
//! names of users), and no pipe or socket: those errors are rsync's to report, and the tests of bad input look at them.

use std::collections::{BTreeMap, BTreeSet};

use crate::crash::cases::{self, Case};
use crate::crash::strace::Call;
use crate::crash::trial::{Bench, Disturbance, Trial};
use crate::crash::{Extent, check, count, need_tracing, tell};

/// The errors that a call can end with, beyond those which say that a path is or is not there.
fn errors_of(call: &Call, of_directory: bool) -> &'static [&'static str] {
    let creates = call.arguments.iter().any(|argument| argument.contains("O_CREAT"));
    match call.name.as_str() {
        // No file system has anything to say when a directory is closed, nor waits when it is opened.
        "close" if of_directory => &[],
        "openat" | "open" if of_directory => &["EIO", "EACCES"],
        "openat" | "open" | "creat" if creates => &["ENOSPC", "EIO", "EACCES", "EINTR"],
        "openat" | "open" => &["EIO", "EACCES", "EINTR"],
        "read" | "pread64" | "readv" | "ftruncate" | "truncate" | "close" | "flock" => &["EIO", "EINTR"],
        "write" | "pwrite64" | "writev" => &["ENOSPC", "EIO", "EINTR"],
        // From file to file neither waits for anything that a signal could interrupt.
        "copy_file_range" | "sendfile" => &["ENOSPC", "EIO"],
        "fsync" | "fdatasync" | "syncfs" => &["ENOSPC", "EIO", "EINTR"],
        "rename" | "renameat" | "renameat2" | "link" | "linkat" | "mkdir" | "mkdirat" | "symlink"
        | "symlinkat" => &["ENOSPC", "EIO", "EACCES"],
        "getdents64" => &["EIO"],
        "getcwd" | "fcntl" => &[],
        // Looking at a path, removing one, setting its mode or owner.
        _ => &["EIO", "EACCES"],
    }
}

/// Whether a run must not succeed when this call has failed: what it was to write is not there, or not durable.
fn must_not_be_ignored(call: &Call, error: &str) -> bool {
    let writes = [
        "write",
        "pwrite64",
        "writev",
        "copy_file_range",
        "sendfile",
        "fsync",
        "fdatasync",
        "syncfs",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "mkdir",
        "mkdirat",
        "symlink",
        "symlinkat",
        "fchmod",
        "fchown",
    ];
    // The note of who holds a lock is for people. What a poller tells beside its report may be
    // lost.
    let notes = [".lock", "/.rollout/lock", "/scripts/dispatch/lock/", "/.state-"];
    let may_be_lost = notes.iter().any(|name| call.concerns(name));
    writes.contains(&call.name.as_str()) && error != "EINTR" && !may_be_lost
}

/// What is wrong with how a run ended in which a call failed.
pub fn wrong_end(case: &Case, call: &Call, error: &str, trial: &Trial) -> Option<String> {
    let Trial { ended, stderr, .. } = trial;
    let lines: Vec<&str> = stderr.lines().collect();
    let is_ours = |line: &&str| line.starts_with(&format!("{}: ", case.program()));
    match ended {
        // A history that cannot be written holds nothing up, but that is said.
        0 if call.concerns("/.history-") && lines.len() == 1 && lines.iter().all(is_ours) => None,
        0 if must_not_be_ignored(call, error) => Some("it succeeded, as if nothing had failed".to_owned()),
        0 => None,
        1 | 2 if error == "EINTR" => Some(format!("an interrupted call has to be made again: {stderr}")),
        1 | 2 if !case.lines_of_a_failure().contains(&lines.len()) || !lines.iter().all(is_ours) => {
            Some(format!("it did not say so in one line: {stderr:?}"))
        }
        1 | 2 => None,
        other => Some(format!("it ended with {other}: {stderr}")),
    }
}

/// Lets each call of a case fail; returns what was wrong.
pub fn failed_everywhere(case: &Case, extent: Extent) -> Vec<String> {
    let begun = std::time::Instant::now();
    let bench = Bench::new(case);
    let root = crate::crash::trial::sandbox_of(&bench).join("world").display().to_string();
    let mut directories: BTreeSet<String> = BTreeSet::new();
    let mut places = Vec::new();
    for point in &bench.reference.points {
        let call = &point.call;
        // 3</a/b> is the result of an open and the argument of its close.
        let file = if call.name == "close" { &call.arguments[0] } else { &call.result };
        if call.arguments.iter().any(|argument| argument.contains("O_DIRECTORY")) {
            directories.insert(file.clone());
        } else if call.name == "openat" {
            directories.remove(file);
        }
        let errors = if call.concerns(&root) { errors_of(call, directories.contains(file)) } else { &[] };
        places.extend(errors.iter().map(|error| (point.clone(), *error)));
    }
    let all = places.len();
    let places = extent.of(places);
    let (mut problems, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    let mut failed = 0;
    for (point, error) in &places {
        let disturbance = Disturbance::Fail(point, error);
        let trial = bench.disturb(disturbance);
        *counts.entry(error).or_default() += 1;
        failed += usize::from(trial.ended != 0);
        let not_reached = (!trial.reached).then(|| "the place was not reached".to_owned());
        let wrong = not_reached.into_iter().chain(wrong_end(case, &point.call, error, &trial));
        problems.extend(wrong.chain(trial.problems).map(|problem| format!("{disturbance}\n  {problem}")));
    }
    tell(
        extent,
        &format!(
            "failed: {}: {} of {all} errors ({counts:?}); {failed} runs failed, and said so; {} s",
            case.name,
            places.len(),
            begun.elapsed().as_secs()
        ),
    );
    count(extent, "errors injected", places.len(), problems.len());
    problems
}

#[test]
fn a_call_that_fails_is_said_in_one_line_and_loses_nothing() {
    need_tracing!();
    let sample = |case: &Case| Extent::Sample(if case.rsyncs == 0 { 41 } else { 149 });
    check(&cases::all().collect::<Vec<_>>(), |case| failed_everywhere(case, sample(case)));
}

macro_rules! at_every_call {
    ($($name:ident: $index:literal;)*) => {
        $(
            #[test]
            #[ignore = "make crash runs it"]
            fn $name() {
                need_tracing!();
                check(cases::ALL[$index], |case| failed_everywhere(case, Extent::All));
            }
        )*
    };
}

at_every_call! {
    every_call_of_dispatch_fails: 0;
    every_call_of_dispatch_all_fails: 1;
    every_call_of_rsync_push_fails: 2;
    every_call_of_add_dispatch_docker_fails: 3;
    every_call_of_service_polling_fails: 4;
    every_call_of_autoupdate_toggle_fails: 5;
}
