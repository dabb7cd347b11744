//! The clock: local time, ages and pauses.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta};
use tz::timezone::{TimeZone, TimeZoneSettings};

use crate::machine::files;
use crate::time::{LocalTime, Seconds};

/// The largest description of a time zone that is read, in bytes: they have some kilobytes.
const ZONE_LIMIT: u64 = 1 << 20;

/// The local time now, by `TZ` or /etc/localtime as the C library reads them; UTC if neither can be read.
pub fn now() -> LocalTime {
    local_time(SystemTime::now())
}

/// The local time some time ago.
pub fn ago(age: Duration) -> LocalTime {
    local_time(SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH))
}

/// When the wall clock here shows a time. Of an hour that it shows twice, one of the two; of one that it leaves out, an
/// instant beside it.
pub fn at_wall_clock(wall: NaiveDateTime) -> DateTime<FixedOffset> {
    let offset_at =
        |unix_seconds| local_zone(unix_seconds).map_or(0, |(offset_seconds, _)| i64::from(offset_seconds));
    let as_utc = wall.and_utc().timestamp();
    let offset = offset_at(as_utc - offset_at(as_utc));
    let utc = wall.and_utc() - TimeDelta::seconds(offset);
    let zone = i32::try_from(offset).ok().and_then(FixedOffset::east_opt);
    zone.map_or_else(|| utc.fixed_offset(), |zone| utc.with_timezone(&zone))
}

fn local_time(instant: SystemTime) -> LocalTime {
    let since_epoch = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    let (offset_seconds, zone) = local_zone(seconds).unwrap_or((0, "UTC".to_owned()));
    let utc = DateTime::from_timestamp(seconds, since_epoch.subsec_nanos()).unwrap_or_default();
    let instant = match FixedOffset::east_opt(offset_seconds) {
        Some(offset) => utc.with_timezone(&offset),
        None => utc.fixed_offset(),
    };
    LocalTime { instant, zone }
}

/// The offset east of UTC in seconds, and the zone's abbreviation.
fn local_zone(unix_seconds: i64) -> Option<(i32, String)> {
    // Read once: a tick over a thousand models writes two thousand dates.
    static ZONE: OnceLock<Option<TimeZone>> = OnceLock::new();
    let kind = ZONE.get_or_init(read_zone).as_ref()?.find_local_time_type(unix_seconds).ok()?;
    Some((kind.ut_offset(), kind.time_zone_designation().to_owned()))
}

fn read_zone() -> Option<TimeZone> {
    // TZ may name any file, one that never ends too.
    let read = |path: &str| Ok(files::read(Path::new(path), ZONE_LIMIT)?);
    let settings = TimeZoneSettings::new(TimeZoneSettings::DEFAULT_DIRECTORIES, read);
    match std::env::var("TZ") {
        Ok(name) if name.is_empty() => None,
        Ok(name) => settings.parse_posix_tz(&name).ok(),
        Err(_) => settings.parse_local().ok(),
    }
}

/// How long ago an instant was; negative when it lies in the future. In whole seconds, as `date +%s` minus
/// `stat -c %Y` is.
pub fn age_of(modified: SystemTime) -> Seconds {
    Seconds(unix_seconds(SystemTime::now()).saturating_sub(unix_seconds(modified)))
}

/// An instant in local time. One that no calendar has is the beginning of 1970.
pub fn at_unix(seconds: i64) -> DateTime<FixedOffset> {
    let since_1970 = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    local_time(UNIX_EPOCH.checked_add(since_1970).unwrap_or(UNIX_EPOCH)).instant
}

/// Seconds since 1970, by this host's clock.
pub fn unix_now() -> Seconds {
    Seconds(unix_seconds(SystemTime::now()))
}

fn unix_seconds(instant: SystemTime) -> i64 {
    match instant.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// The instant at which something must have come to its end.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So much from now.
    pub fn after(limit: Duration) -> Deadline {
        Deadline(Instant::now() + limit)
    }

    /// The time that is left, never nothing: at the deadline that is an error.
    pub fn left(self) -> io::Result<Duration> {
        match self.0.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "the time is up")),
            left => Ok(left),
        }
    }
}

/// Waits.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Measures how long something takes.
#[derive(Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits until the clock shows the next second, so that two pushes of one second get two versions.
pub fn pause_until_next_second() {
    let into_second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    pause(Duration::from_nanos(u64::from(1_000_000_000 - into_second.min(999_999_999))));
}
