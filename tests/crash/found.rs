//! What the experiments have found, each tried again at its own place.

use crate::crash::cases::{self, Case};
use crate::crash::errors::wrong_end;
use crate::crash::need_tracing;
use crate::crash::strace::Call;
use crate::crash::trial::{Bench, Disturbance};

/// Disturbs a case at its first call of this name that names this path and did something; by an error, or by its death.
fn disturbed(case: &Case, name: &str, path: &str, error: Option<&str>) {
    let is_it = |call: &Call| {
        call.name == name && call.succeeded() && call.arguments.iter().any(|argument| argument.contains(path))
    };
    // Where rsync is slow, the run looks at it, and places are known up to there only: then once more.
    let found = (0..30).find_map(|_| {
        let bench = Bench::new(case);
        let point = bench.reference.points.iter().find(|point| is_it(&point.call)).cloned();
        point.map(|point| (bench, point))
    });
    let (bench, point) = found.unwrap_or_else(|| panic!("{}: no {name} of {path}", case.name));
    let disturbance = error.map_or(Disturbance::Kill(&point), |error| Disturbance::Fail(&point, error));
    let trial = bench.disturb(disturbance);
    assert!(trial.reached, "{disturbance}");
    let wrong = error.and_then(|error| wrong_end(case, &point.call, error, &trial));
    let problems: Vec<String> = wrong.into_iter().chain(trial.problems).collect();
    assert!(problems.is_empty(), "{}: {disturbance}\n{}", case.name, problems.join("\n"));
}

#[test]
fn half_a_version_that_was_about_to_be_deleted_does_not_stay() {
    need_tracing!();
    disturbed(&cases::DISPATCH_AFTER_A_SCRIPT, "unlinkat", ".discarded", None);
    disturbed(&cases::POLL_AFTER_A_SCRIPT, "rename", "/.staging-", None);
}

/// Otherwise the half version stands there without a `status`, and every tick refuses to publish over it.
#[test]
fn a_resumption_that_fails_leaves_the_upgrade_in_flight() {
    need_tracing!();
    disturbed(&cases::DISPATCH_AFTER_A_SCRIPT, "openat", "/.status.new\"", Some("EIO"));
}

/// A crontab that only root may read was readable by everybody then.
#[test]
fn a_file_whose_mode_cannot_be_read_is_not_replaced() {
    need_tracing!();
    disturbed(&cases::PAUSE, "statx", "/crontab\"", Some("EACCES"));
    disturbed(&cases::ADD, "statx", "/dispatchserver.sh\"", Some("EIO"));
}

#[test]
fn a_status_that_cannot_be_finished_leaves_nothing_beside_it() {
    need_tracing!();
    disturbed(&cases::DISPATCH, "unlink", "/.status.new\"", Some("EIO"));
}

#[test]
fn half_a_backup_has_no_name() {
    need_tracing!();
    disturbed(&cases::PUSH, "read", "/online/data/feature.conf>", None);
}

/// Both runs are likely to be of one second.
#[test]
fn a_push_after_one_that_died_does_not_want_its_backup_s_name() {
    need_tracing!();
    disturbed(&cases::PUSH_FROM_THE_NEWER_LAYOUT, "read", "/deploy/data/feature.conf>", None);
}

#[test]
fn an_interrupted_call_is_made_again() {
    need_tracing!();
    disturbed(&cases::DISPATCH, "flock", "/mblog_yellow.tick", Some("EINTR"));
    disturbed(&cases::DISPATCH, "flock", "/mblog_yellow.state", Some("EINTR"));
    disturbed(&cases::DISPATCH, "syncfs", "/.staging-", Some("EINTR"));
}

/// What was pushed before was deleted then without a backup.
#[test]
fn a_directory_that_cannot_be_looked_at_does_not_count_as_missing() {
    need_tracing!();
    disturbed(&cases::PUSH_FROM_THE_NEWER_LAYOUT, "statx", "/online/lib\"", Some("EACCES"));
}
