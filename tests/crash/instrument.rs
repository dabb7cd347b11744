//! The experiments are suspected first: over the scripts, and over planted programs, they have to find what is broken.

use crate::crash::cases::{self, Case, Run};
use crate::crash::errors::{failed_everywhere, wrong_end};
use crate::crash::kill::killed_everywhere;
use crate::crash::strace::parse;
use crate::crash::trial::Trial;
use crate::crash::{Extent, need_tracing};

/// A program that edits the file of a case in place.
const IN_PLACE: Case = Case {
    name: "a planted edit in place",
    run: Run::Planted(
        "text=$(cat monitor/crontab); [ -e done ] || : > monitor/crontab; [ -e done ] || printf '%s\\n#\\n' \"$text\" > monitor/crontab; : > done",
    ),
    ..cases::PAUSE
};

/// A program that edits the file as a whole, and never tells whether that worked.
const SILENT: Case = Case {
    name: "a planted edit that ignores errors",
    run: Run::Planted(
        "[ -e done ] || printf 'new\\n' > .crontab.new; mv -f .crontab.new monitor/crontab 2> /dev/null; : > done; exit 0",
    ),
    ..cases::PAUSE
};

fn any(problems: &[String], what: &str) -> bool {
    problems.iter().any(|problem| problem.contains(what))
}

#[test]
fn a_file_that_is_edited_in_place_is_seen_half_edited() {
    need_tracing!();
    let problems = killed_everywhere(&IN_PLACE, Extent::Sample(1));
    assert!(any(&problems, "monitor/crontab is neither as before nor as after"), "{problems:?}");
}

/// Contract section 5, 3: killed after `status`, a push is lost.
#[test]
fn dispatch_sh_is_seen_to_begin_what_it_never_ends() {
    need_tracing!();
    let problems = killed_everywhere(&cases::by_script(cases::DISPATCH), Extent::Sample(1));
    assert!(any(&problems, "status is neither as before nor as after"), "{problems:?}");
    assert!(
        any(&problems, "in the end monitor/rsync_service_data/datamining_service/mblog_yellow/plugin"),
        "{problems:?}"
    );
}

/// What is written to a full disk is not there, and the program says that all is well.
#[test]
fn an_error_that_a_program_ignores_is_seen() {
    need_tracing!();
    let problems = failed_everywhere(&SILENT, Extent::Sample(1));
    assert!(any(&problems, "ENOSPC from write"), "{problems:?}");
    assert!(any(&problems, "it succeeded, as if nothing had failed"), "{problems:?}");
    assert!(any(&problems, "in the end monitor/crontab"), "{problems:?}");
}

#[test]
fn a_run_that_panics_or_says_too_much_or_nothing_is_seen() {
    let read = &parse("read(3</w/a>, \"x\", 9) = 1\n")[0];
    let write = &parse("write(3</w/a>, \"x\", 1) = 1\n")[0];
    let judged = |call, error, ended, stderr: &str| {
        let trial = Trial { ended, stderr: stderr.to_owned(), reached: true, problems: Vec::new() };
        wrong_end(&cases::PAUSE, call, error, &trial).is_some()
    };
    let line = "autoupdate-toggle: cannot read /w/a: input/output error\n";
    assert!(!judged(read, "EIO", 1, line));
    assert!(!judged(read, "EIO", 0, ""));
    assert!(judged(read, "EIO", -6, "thread panicked\n"), "an abort");
    assert!(judged(read, "EIO", 101, line), "a panic");
    assert!(judged(read, "EIO", 1, ""), "nothing said");
    assert!(judged(read, "EIO", 1, &line.repeat(2)), "two lines");
    assert!(judged(read, "EIO", 1, "Error: input/output error\n"), "not its name");
    assert!(judged(read, "EINTR", 1, line), "an interrupted call is made again");
    assert!(judged(write, "EIO", 0, ""), "an error that was ignored");
}
