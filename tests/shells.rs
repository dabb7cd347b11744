//! The real shells, as the reference of what a script means: dash is `sh`, bash is what some hosts call `sh`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::write_program;
use chrono::{DateTime, FixedOffset};
use model_rollout::time::LocalTime;
use proptest::test_runner::{Config, TestError};
use tempfile::TempDir;

/// A shell and the arguments that choose its mode.
pub type Shell = &'static [&'static str];

pub const DASH: Shell = &["/bin/dash"];
pub const BASH: Shell = &["/bin/bash", "--norc"];
pub const BASH_POSIX: Shell = &["/bin/bash", "--norc", "--posix"];
/// dash first: it is the reference.
pub const ALL: [Shell; 3] = [DASH, BASH, BASH_POSIX];

/// Time zones as `TZ` names them: with and without daylight saving time, and a rule instead of a name.
pub const ZONES: [&str; 4] = ["UTC", "Asia/Shanghai", "America/New_York", "CST-8"];

/// Instants at which dates are easily wrong, in seconds since 1970.
pub const INSTANTS: [i64; 16] = [
    0,
    946_684_800,   // 2000-01-01 00:00:00 UTC
    946_684_799,   // the second before
    1_522_803_909, // 2018-04-04 01:05:09 UTC: one-digit month, day, hour
    1_523_618_578, // 2018-04-13 19:22:58 in Shanghai
    1_520_751_599, // 2018-03-11 06:59:59 UTC: the last second of winter time in New York
    1_520_751_600, // and the next one
    1_541_309_400, // 2018-11-04 05:30:00 UTC: 01:30 in New York, for the first time
    1_541_313_000, // and for the second time
    1_546_214_400, // 2018-12-31 00:00:00 UTC: ISO week 1 of 2019
    1_609_459_200, // 2021-01-01 00:00:00 UTC: ISO week 53 of 2020
    1_582_977_600, // 2020-02-29 12:00:00 UTC: noon
    1_582_948_800, // 2020-02-29 04:00:00 UTC: noon in Shanghai
    1_582_905_600, // 2020-02-28 16:00:00 UTC: midnight in Shanghai
    4_102_444_799, // 2099-12-31 23:59:59 UTC
    -86_401,       // 1969-12-30 23:59:59 UTC
];

/// What the shells see besides the script: the variables, and the instant that a stand-in for `date` shows.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub variables: Vec<(&'static str, Vec<u8>)>,
    pub zone: &'static str,
    pub instant: i64,
}

impl Surroundings {
    /// Nothing but a time.
    pub fn at(instant: i64, zone: &'static str) -> Surroundings {
        Surroundings { variables: Vec::new(), zone, instant }
    }

    /// The value of a variable, as `Context` asks for it.
    pub fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.variables.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, value)| value.clone())
    }

    /// The time, with the zone's offset as the C library's rules give it.
    pub fn local_time(&self) -> LocalTime {
        let zone = tz::TimeZone::from_posix_tz(self.zone).expect("tzdata is installed");
        let kind = zone.find_local_time_type(self.instant).expect("the zone covers the instant");
        let utc = DateTime::from_timestamp(self.instant, 0).expect("the instant is a date");
        LocalTime {
            instant: utc.with_timezone(&FixedOffset::east_opt(kind.ut_offset()).expect("a small offset")),
            zone: kind.time_zone_designation().to_owned(),
        }
    }
}

/// A directory that a script runs in: it finds `sh`, `bash` and the stand-in for `date` there, and no other program.
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub fn new() -> Scratch {
        let dir = TempDir::new().expect("a temporary directory");
        fs::create_dir(dir.path().join("bin")).expect("an empty directory");
        for shell in ["sh", "bash"] {
            let found = Path::new("/bin").join(shell);
            std::os::unix::fs::symlink(found, dir.path().join("bin").join(shell)).expect("a free name");
        }
        Scratch { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).expect("a writable temporary directory");
    }

    /// Runs a script file of the directory, in a clean environment.
    pub fn run(&self, shell: Shell, script: &str, surroundings: &Surroundings) -> Output {
        let date = self.path().join("bin/date");
        // The real date's formats, at an instant that does not move.
        let stand_in = format!("#!/bin/sh\nexec /bin/date -d @{} \"$@\"\n", surroundings.instant);
        if fs::read(&date).ok().is_none_or(|there| there != stand_in.as_bytes()) {
            write_program(&date, stand_in.as_bytes(), 0o755);
        }
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(script).current_dir(self.path()).stdin(Stdio::null()).env_clear();
        for (name, value) in &surroundings.variables {
            command.env(name, std::os::unix::ffi::OsStrExt::from_bytes(&value[..]) as &std::ffi::OsStr);
        }
        command.env("PATH", self.path().join("bin")).env("TZ", surroundings.zone).env("LC_ALL", "C");
        command.output().unwrap_or_else(|e| panic!("{} cannot be run: {e}; install it", shell[0]))
    }
}

/// A property's configuration: so many cases, or as many as `PROPTEST_CASES` says. What it finds belongs into a table of
/// regressions, not into a file of seeds.
pub fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() }
}

/// A failure without its input: that is a batch of texts, the reason names the one.
pub fn reason<T: std::fmt::Debug>(failure: &TestError<T>) -> String {
    match failure {
        TestError::Fail(reason, _) | TestError::Abort(reason) => reason.to_string(),
    }
}

/// Bytes for a failure's message: one line, so that it can be copied into a table of regressions.
pub fn shown(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}
