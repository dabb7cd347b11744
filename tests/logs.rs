//! What stands in a log file: under cron nobody else says when.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use chrono::{NaiveDateTime, TimeDelta, Utc};

use crate::harness::parts::need;
use crate::harness::world::MODEL;
use crate::harness::{Sandbox, Side, Tool, World};

const VERSION: &str = "20180413192258";

/// Runs a poll as its crontab line does, `>> LOG 2>&1`, eight hours east of Greenwich; the lines that it added.
fn logged(world: &World) -> Vec<String> {
    let path: PathBuf = world.path("member-127.0.0.11/watch/log/polling.log");
    let open = || -> File { OpenOptions::new().create(true).append(true).open(&path).unwrap() };
    let before = std::fs::read(&path).unwrap_or_default().len();
    let mut poll = world.command(Tool::Poll, Side::BINARY, &[]);
    poll.env("TZ", "CST-8").stdout(open()).stderr(open()).spawn().unwrap().wait().unwrap();
    let text = String::from_utf8(std::fs::read(&path).unwrap().split_off(before)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A line without the time that it begins with, which is that of eight hours east.
fn without_time(line: &str) -> &str {
    let (time, rest) =
        line.split_at_checked("2018-04-04 09:05:00 ".len()).unwrap_or_else(|| panic!("{line}"));
    let time =
        NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S ").unwrap_or_else(|e| panic!("{line}: {e}"));
    let away = Utc::now().naive_utc() + TimeDelta::hours(8) - time;
    assert!(away.abs() < TimeDelta::minutes(30), "{line}");
    rest
}

#[test]
fn a_line_in_a_log_says_when_and_one_that_somebody_reads_does_not() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.published(VERSION);
    world.member("127.0.0.11");

    let installed = logged(&world);
    assert_eq!(installed.len(), 1, "{installed:?}");
    assert_eq!(without_time(&installed[0]), format!("{MODEL}: installed {VERSION}"));
    assert_eq!(logged(&world), [""; 0], "nothing new");

    std::fs::remove_file(world.service("config_1/service.conf")).unwrap();
    let failed = logged(&world);
    assert_eq!(failed.len(), 1, "{failed:?}");
    let gone = format!("service_polling: {MODEL} has no file config_1/service.conf on the monitor; ");
    assert!(without_time(&failed[0]).starts_with(&gone), "{failed:?}");

    let seen = world.run(Tool::Poll, Side::BINARY, &[]);
    assert!(seen.stderr.starts_with(&gone), "{}", seen.stderr);
}
