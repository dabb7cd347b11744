//! `--until TIME` and `--for DURATION`: when updates come on again.

use chrono::{DateTime, FixedOffset, NaiveDateTime, NaiveTime, TimeDelta};

use crate::error::{Error, Result};
use crate::names::shown;
use crate::time::LocalTime;

/// An end as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At this time of the wall clock.
    At(NaiveDateTime),
    /// The next time that the wall clock shows this.
    Next(NaiveTime),
    /// After so long.
    After(TimeDelta),
}

impl End {
    /// Parses `20:00`, `2026-11-26T20:00` or `2026-11-26T20:00:30`. Fails (exit 2) on anything else.
    pub fn until(bytes: &[u8]) -> Result<End> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let at = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let next = || NaiveTime::parse_from_str(text, "%H:%M").ok();
        at.map(End::At).or_else(|| next().map(End::Next)).ok_or_else(|| {
            let given = shown(bytes);
            Error::usage(format!("--until {given} is no time; write 20:00 or 2026-11-26T20:00"))
        })
    }

    /// Parses `30m`, `2h` or `1d`. Fails (exit 2) on anything else, and on nothing at all such as `0m`.
    pub fn after(bytes: &[u8]) -> Result<End> {
        let duration = match bytes.split_last() {
            Some((unit, digits))
                if (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) =>
            {
                let number: i64 = std::str::from_utf8(digits).unwrap_or_default().parse().unwrap_or(0);
                match unit {
                    b'm' => TimeDelta::try_minutes(number),
                    b'h' => TimeDelta::try_hours(number),
                    b'd' => TimeDelta::try_days(number),
                    _ => None,
                }
            }
            _ => None,
        };
        let duration = duration.filter(|duration| *duration > TimeDelta::zero());
        duration.map(End::After).ok_or_else(|| {
            let given = shown(bytes);
            Error::usage(format!("--for {given} is no duration; write 30m, 2h or 1d"))
        })
    }

    /// The instant that is meant, in whole seconds; `at_wall_clock` tells when the wall clock shows a time.
    ///
    /// Fails (exit 2) when it is over.
    pub fn resolve(
        self,
        now: &LocalTime,
        at_wall_clock: impl Fn(NaiveDateTime) -> DateTime<FixedOffset>,
    ) -> Result<DateTime<FixedOffset>> {
        let wall = now.instant.naive_local();
        let end = match self {
            End::At(time) => at_wall_clock(time),
            End::Next(time) => match at_wall_clock(wall.date().and_time(time)) {
                today if today > now.instant => today,
                _ => at_wall_clock((wall.date() + TimeDelta::days(1)).and_time(time)),
            },
            End::After(duration) => now.instant + duration,
        };
        if end <= now.instant {
            let end = end.format("%FT%R");
            return Err(Error::usage(format!("--until {end} is over already; name a time that is to come")));
        }
        Ok(end - TimeDelta::nanoseconds(i64::from(end.timestamp_subsec_nanos())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(end: Result<End>) -> Result<String> {
        let instant = DateTime::parse_from_rfc3339("2026-11-26T19:22:58.5+08:00").unwrap();
        let now = LocalTime { instant, zone: "CST".to_owned() };
        let in_zone = |wall: NaiveDateTime| wall.and_local_timezone(*instant.offset()).unwrap();
        end?.resolve(&now, in_zone).map(|end| end.to_rfc3339())
    }

    #[test]
    fn a_time_is_the_next_one_of_the_wall_clock() {
        for (text, expected) in [
            ("20:00", "2026-11-26T20:00:00+08:00"),
            ("19:22", "2026-11-27T19:22:00+08:00"),
            ("7:05", "2026-11-27T07:05:00+08:00"),
            ("2026-12-31T23:59", "2026-12-31T23:59:00+08:00"),
            ("2026-11-26T19:22:59", "2026-11-26T19:22:59+08:00"),
        ] {
            assert_eq!(resolved(End::until(text.as_bytes())).unwrap(), expected);
        }
        for (text, expected) in
            [("30m", "2026-11-26T19:52:58"), ("2h", "2026-11-26T21:22:58"), ("1d", "2026-11-27T19:22:58")]
        {
            assert_eq!(resolved(End::after(text.as_bytes())).unwrap(), format!("{expected}+08:00"));
        }
    }

    #[test]
    fn what_is_over_or_no_time_is_refused() {
        for text in ["", "24:00", "20", "tomorrow", "2026-11-26", "2026-11-26 20:00", "20:00x"] {
            assert!(End::until(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["", "m", "0m", "2", "-1h", "2H", "1h30m", "100000d", "90s"] {
            assert!(End::after(text.as_bytes()).is_err(), "{text}");
        }
        let over = resolved(End::until(b"2026-11-26T19:22:58")).unwrap_err();
        let said = "--until 2026-11-26T19:22 is over already; name a time that is to come";
        assert_eq!((over.exit.code(), over.to_string().as_str()), (2, said));
    }
}
