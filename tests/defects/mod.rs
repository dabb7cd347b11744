//! The 26 defects of the scripts (contract section 5), each shown twice by one experiment: once with the script, or with the
//! command that the manual has operators type, and once with the binary. What is printed was observed, and a row holds when
//! both observations are the expected ones: it turns red when the script no longer shows its defect, and when the binary no
//! longer does its part.
//!
//! `make defects` prints the table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::parts::are_there;
use crate::harness::{Side, figures};

mod member;
mod monitor;
mod push;
mod scenarios;
mod toggles;

/// One row of the contract's table.
struct Row {
    /// The name of its test.
    name: &'static str,
    number: usize,
    /// The defect, in a few words.
    defect: &'static str,
    /// Puts a side into the situation and says what was observed; `None`, as a printed skip, where that cannot be done here.
    experiment: fn(Side) -> Option<String>,
    /// What is observed of the script.
    script: &'static str,
    /// What is observed of the binary.
    binary: &'static str,
}

/// Declares the rows as tests, and lists them for the report.
macro_rules! rows {
    ($($name:ident: $number:literal, $defect:literal, $experiment:expr, $script:literal, $binary:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let rows = rows();
                let row = rows.iter().find(|row| row.number == $number).expect("a row");
                if are_there(&NEEDED) {
                    let tried = row.tried();
                    assert!(tried.problems.is_empty(), "{}", tried.problems.join("\n"));
                }
            }
        )*

        fn rows() -> Vec<Row> {
            vec![$(Row {
                name: concat!("defects::", stringify!($name)),
                number: $number,
                defect: $defect,
                experiment: $experiment,
                script: $script,
                binary: $binary,
            }),*]
        }
    };
}

/// The programs that every row needs.
const NEEDED: [&str; 8] = ["rsync", "dash", "sed", "strace", "mount", "xargs", "cat", "id"];

rows! {
    d01_overlapping_ticks: 1, "overlapping cron ticks run at once", member::two_polls_at_once,
        "fetches: 2, restarts: 2, second poll: exit 0",
        "fetches: 1, restarts: 1, second poll: exit 75, says who runs";
    d02_half_edited_service_conf: 2, "three sed -i runs: service.conf can be fetched half edited", monitor::every_state_of_service_conf,
        "a poll fetches it half edited",
        "a poll fetches it as before or as after";
    d03_killed_behind_status: 3, "killed behind status: the push is lost", monitor::killed_behind_status,
        "stuck for 20 minutes, then the push is lost",
        "the next tick publishes and announces it";
    d04_a_push_during_an_upgrade: 4, "a push that arrives during an upgrade is deleted", monitor::a_push_during_an_upgrade,
        "the upgrade ends, the newer push is lost",
        "the upgrade ends, the newer push is published next";
    d05_an_upload_in_progress: 5, "an upload in progress is copied half old, half new", push::published_while_a_push_is_under_way,
        "published: second library with feature 1",
        "nothing published, exit 1; the push that follows: published";
    d06_key_value_between_blanks: 6, "`modulepath = x` is never changed, silently", scenarios::a_key_between_blanks,
        "as before, exit 0; without the key: exit 0",
        "edited, exit 0; without the key: exit 2";
    d07_special_signs_of_sed: 7, "& in a name corrupts the sed", scenarios::a_library_called_a_and_b,
        "exit 0, service.conf names lib/amodulepath=/old/20170101000000",
        "exit 2, service.conf names lib/mblog_yellow.so";
    d08_env_sh_is_run: 8, "env.sh runs whatever it contains", scenarios::a_command_in_env_sh,
        "touch ran, exit 0, said nothing",
        "touch did not run, exit 2, env.sh:6:1: the command touch is not run";
    d09_added_twice: 9, "add_dispatch_docker.sh run twice: two stanzas", scenarios::added_twice,
        "stanzas: 2; said nothing",
        "stanzas: 1; registered already";
    d10_versions_pile_up: 10, "versions pile up (here with keep=2)", monitor::versions_left_by_an_upgrade_that_keeps_two,
        "6 of 6 old versions stay, all in use among them",
        "4 of 6 old versions stay, all in use among them";
    d11_disk_full: 11, "disk full: a half copy is published", monitor::published_on_a_full_disk,
        "half a library published, announced, exit 0",
        "nothing published, not announced, exit 1, says what is free";
    d12_hosts_deny_in_the_wrong_place: 12, "hosts deny: wrong module, or hosts allow wins", toggles::a_denied_member,
        "another module is last: still served; hosts allow: still served",
        "another module is last: denied; hosts allow: exit 1, names its line";
    d13_the_crontab_edit: 13, "the crontab edit deletes other lines", toggles::a_paused_crontab,
        "the job is paused, 1 of 4 other lines stay",
        "the job is paused, 4 of 4 other lines stay; enable puts back every byte";
    d14_kill_9_of_the_pid_file: 14, "kill -9 of whatever pid the file names", toggles::a_stale_pid_file,
        "another program is killed; the pid file goes",
        "another program lives, and is named as no rsync daemon; the pid file goes";
    d15_the_whole_fleet_at_once: 15, "the whole fleet restarts at once (here batches=1,50%,100%)", monitor::restarts_minute_by_minute,
        "restarted by minute 1, 2, 3: 4, 4, 4 of 4",
        "restarted by minute 1, 2, 3: 1, 2, 4 of 4";
    d16_a_service_that_stays_down: 16, "a service that does not come up stays down", member::a_service_that_does_not_come_up,
        "it is down, reported as upgraded, exit 0",
        "it serves the version before, not reported, exit 1";
    d17_a_version_is_a_union: 17, "deleted files stay: each version is a union", push::a_file_that_was_deleted_from_the_model,
        "update: stays, update --delete: stays",
        "update: stays, update --delete: goes";
    d18_success_without_data: 18, "success is uploaded though the data upload failed", scenarios::a_push_without_data,
        "no data arrives: success is uploaded, exit 0",
        "no data arrives: success is not uploaded, exit 1";
    d19_given_up_without_a_word: 19, "20 minutes over: both files go without a word", scenarios::twenty_minutes_over,
        "deleted, exit 0, said nothing",
        "deleted, exit 1, late: 127.0.0.11 (no answer), 127.0.0.12 (no answer) (2 of 2)";
    d20_one_slow_member: 20, "one slow member delays all checks", monitor::asked_while_one_is_silent,
        "the check hangs, and 0 of the 3 behind a silent one are asked",
        "the check ends in its time, and 3 of the 3 behind a silent one are asked";
    d21_same_size_and_second: 21, "same size and second: an edit is not seen (here a push)", scenarios::a_file_of_the_same_size_and_second,
        "\u{201c}feature 1\u{201d} pushed over \u{201c}feature 0\u{201d}: there is \u{201c}feature 0\u{201d}",
        "\u{201c}feature 1\u{201d} pushed over \u{201c}feature 0\u{201d}: there is \u{201c}feature 1\u{201d}";
    d22_inherited_files: 22, "the service inherits open files and locks", member::a_lock_that_a_poll_inherits,
        "open in the service: 1; the poll has ended, its lock is still held",
        "open in the service: 0; the poll has ended, its lock is free";
    d23_mapped_files_are_overwritten: 23, "pushed again: written over what is mapped", monitor::a_mapped_library,
        "exit 0; who has it mapped dies of SIGBUS",
        "exit 1, says why; who has it mapped goes on (exit status: 0)";
    d24_a_root_that_is_not_mounted: 24, "a root that is not mounted looks like no models", scenarios::a_tree_that_is_not_there,
        "exit 0, said nothing",
        "exit 1, says to mount it";
    d25_all_pollers_at_second_0: 25, "pollers start at second 0, a refused one fails (here spread=1)", member::a_poll_that_is_refused,
        "begins at second 0; refused once: nothing done, exit 1",
        "begins at its own phase; refused once: upgraded, exit 0";
    d26_rsync_23_is_taken_for_success: 26, "rsync exit 23 is taken for success", scenarios::a_file_that_the_monitor_cannot_take,
        "rsync ends with 23: the push is announced, exit 0",
        "rsync ends with 23: the push is not announced, exit 1";
}

/// What came of a row.
struct Tried {
    script: Option<String>,
    binary: Option<String>,
    /// What was expected and not observed; empty when the row holds, or could not be tried.
    problems: Vec<String>,
}

impl Tried {
    fn is_complete(&self) -> bool {
        self.script.is_some() && self.binary.is_some()
    }
}

impl Row {
    fn tried(&self) -> Tried {
        let script = self.observed(Side::SCRIPT);
        let binary = self.observed(Side::BINARY);
        let mut problems = Vec::new();
        for (who, seen, expected) in [("script", &script, self.script), ("binary", &binary, self.binary)] {
            if let Some(seen) = seen.as_deref().filter(|seen| *seen != expected) {
                problems.push(format!("{who}: \u{201c}{seen}\u{201d} instead of \u{201c}{expected}\u{201d}"));
            }
        }
        Tried { script, binary, problems }
    }

    /// An experiment that cannot even end is an observation, too.
    fn observed(&self, side: Side) -> Option<String> {
        catch_unwind(AssertUnwindSafe(|| (self.experiment)(side))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("the experiment broke off: {}", text.unwrap_or_default()))
        })
    }
}

/// The table of `make defects`.
#[test]
#[ignore = "make defects runs it"]
fn report() {
    assert!(are_there(&NEEDED), "a real component is missing");
    std::panic::set_hook(Box::new(|_| {}));
    let rows = rows();
    let tried = try_all(&rows);
    let mut table = vec![["", "defect", "script", "binary"].map(str::to_owned)];
    table.extend(rows.iter().zip(&tried).map(|(row, tried)| {
        let seen = |seen: &Option<String>| short(seen.as_deref().unwrap_or("not tried here"));
        [row.number.to_string(), row.defect.to_owned(), seen(&tried.script), seen(&tried.binary)]
    }));
    let lines = in_columns(&table);
    println!("{}", lines[0]);
    for (line, tried) in lines[1..].iter().zip(&tried) {
        println!("{line}");
        tried.problems.iter().for_each(|problem| println!("     NOT AS EXPECTED: {problem}"));
    }
    let held = tried.iter().filter(|tried| tried.is_complete() && tried.problems.is_empty()).count();
    let failed = tried.iter().filter(|tried| !tried.problems.is_empty()).count();
    println!("{}", summary(rows.len(), held, failed));
    figures::record("defects of the scripts, shown and closed", held);
    figures::record("losses", failed);
    assert_eq!(failed, 0, "rows that are not as expected, see above");
}

fn summary(rows: usize, held: usize, failed: usize) -> String {
    let others = [(failed, "not as expected"), (rows - held - failed, "not tried here")];
    let others =
        others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{rows} rows: {held} hold{}", others.collect::<String>())
}

/// Two at a time: most of a row's time is somebody's pause.
fn try_all(rows: &[Row]) -> Vec<Tried> {
    let (next, tried) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = row.tried();
                    tried.lock().expect("nobody panics with it").push((row.number, result));
                }
            });
        }
    });
    let mut tried = tried.into_inner().expect("nobody panicked with it");
    tried.sort_by_key(|(number, _)| *number);
    tried.into_iter().map(|(_, tried)| tried).collect()
}

/// What is as expected is short.
fn short(seen: &str) -> String {
    let line = seen.lines().next().unwrap_or_default();
    if line.chars().count() > 100 {
        line.chars().take(97).chain("...".chars()).collect()
    } else {
        line.to_owned()
    }
}

fn in_columns(table: &[[String; 4]]) -> Vec<String> {
    let width =
        |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let [number, defect, script] = [0, 1, 2].map(width);
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:>number$} | {b:defect$} | {c:script$} | {d}");
    table.iter().map(line).collect()
}

/// The rows are the contract's, each once and in its order.
#[test]
fn there_are_26_rows_in_order() {
    let numbers: Vec<usize> = rows().iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=26).collect::<Vec<_>>());
    assert!(rows().iter().all(|row| row.name.contains(&format!("::d{:02}_", row.number))));
}
