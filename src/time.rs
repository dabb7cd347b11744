//! Local time as the scripts print it, and spans of time with their unit in the type.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Timelike};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::{number, shown};
use crate::version::Version;

/// A span of time in whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seconds(pub i64);

impl Seconds {
    /// Parses a whole number of seconds, 0 to 999999. Fails (exit 2) on anything else.
    pub fn parse(bytes: &[u8]) -> Result<Seconds> {
        let seconds = number(bytes, 6).map(Seconds);
        seconds.ok_or_else(|| Error::usage(format!("{} is not a number of seconds", shown(bytes))))
    }
}

impl Seconds {
    /// The span as the standard library has it; a negative one is its length.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.unsigned_abs())
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// An instant with the local zone's offset and abbreviation at that instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTime {
    /// The instant, in the local offset.
    pub instant: DateTime<FixedOffset>,
    /// What `date` prints for `%Z`, for example `CST`.
    pub zone: String,
}

impl LocalTime {
    /// The version of a push made at this instant: `%Y%m%d%H%M%S` (contract section 1).
    pub fn version(&self) -> Option<Version> {
        Version::announced_in(self.instant.format("%Y%m%d%H%M%S").to_string().as_bytes())
    }

    /// What `date` prints in the C locale, with runs of blanks made one, as an unquoted `` `date` `` leaves it:
    /// `Wed Apr 4 09:05:00 CST 2018`.
    pub fn date_words(&self) -> String {
        format!("{} {} {}", self.instant.format("%a %b %-d %H:%M:%S"), self.zone, self.instant.format("%Y"))
    }

    /// What `date +FORMAT` prints in the C locale, or the conversion that is not known here.
    pub fn format(&self, format: &[u8]) -> std::result::Result<Vec<u8>, UnknownConversion> {
        let wall = self.instant.naive_local();
        let mut out = Vec::with_capacity(2 * format.len());
        let mut rest = format;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let conversion_end = match rest {
                [b'-' | b'_' | b'0' | b':', _, ..] => 2,
                [_, ..] => 1,
                [] => return Err(UnknownConversion(b"%".to_vec())),
            };
            let (conversion, tail) = rest.split_at(conversion_end);
            rest = tail;
            if !convert_often(&wall, conversion, &mut out) {
                self.convert(conversion, &mut out)?;
            }
        }
        Ok(out)
    }

    fn convert(&self, conversion: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), UnknownConversion> {
        // Those for which chrono and GNU date agree; the padding flags only where both know them.
        let known = match conversion {
            [letter] => b"%aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYz".contains(letter),
            [b'-' | b'_' | b'0', letter] => b"dHIjmMSy".contains(letter),
            [b':', letter] => *letter == b'z',
            _ => false,
        };
        match conversion {
            b"Z" => out.extend_from_slice(self.zone.as_bytes()),
            b"N" => out.extend_from_slice(self.instant.format("%f").to_string().as_bytes()),
            _ if known => {
                let format = format!("%{}", String::from_utf8_lossy(conversion));
                out.extend_from_slice(self.instant.format(&format).to_string().as_bytes());
            }
            _ => return Err(UnknownConversion([b"%", conversion].concat())),
        }
        Ok(())
    }
}

/// Those that every line of a log has, without the detour through a format of chrono's: a tick over a thousand models writes two
/// thousand dates. Returns whether it was one.
fn convert_often(wall: &NaiveDateTime, conversion: &[u8], out: &mut Vec<u8>) -> bool {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let name =
        |names: &[&'static [u8]], index: u32| usize::try_from(index).ok().and_then(|n| names.get(n).copied());
    let named = match conversion {
        b"a" => name(&DAYS, wall.weekday().num_days_from_monday()),
        b"b" => name(&MONTHS, wall.month0()),
        _ => None,
    };
    if let Some(named) = named {
        out.extend_from_slice(named);
        return true;
    }
    let two = |number: u32, filler: u8| match u8::try_from(number) {
        Ok(number @ 0..10) => [filler, b'0' + number],
        Ok(number) => [b'0' + number / 10, b'0' + number % 10],
        Err(_) => [b'?'; 2],
    };
    let digits = match conversion {
        b"d" => two(wall.day(), b'0'),
        b"e" => two(wall.day(), b' '),
        b"m" => two(wall.month(), b'0'),
        b"H" => two(wall.hour(), b'0'),
        b"M" => two(wall.minute(), b'0'),
        b"S" => two(wall.second(), b'0'),
        b"Y" => match u32::try_from(wall.year()) {
            Ok(year @ 1000..=9999) => {
                out.extend_from_slice(&two(year / 100, b'0'));
                two(year % 100, b'0')
            }
            _ => return false,
        },
        _ => return false,
    };
    out.extend_from_slice(&digits);
    true
}

/// What a shell puts in place of `` `date +FORMAT` ``: its output without the newlines at the end. The last one is kept: in a registry the
/// same date stands in every stanza, and the lines of a log that are written within a second have the same one.
#[derive(Debug, Default)]
pub struct Dates {
    unix_second: i64,
    format: Vec<u8>,
    text: Rc<[u8]>,
}

impl Dates {
    /// The date at an instant. Fails at a conversion that is not known here.
    pub fn text(
        &mut self,
        now: &LocalTime,
        format: &[u8],
    ) -> std::result::Result<Rc<[u8]>, UnknownConversion> {
        let unix_second = now.instant.timestamp();
        // Nanoseconds differ within the second.
        if unix_second != self.unix_second || format != self.format || format.contains(&b'N') {
            let text = now.format(format)?;
            let end = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
            *self = Dates { unix_second, format: format.to_vec(), text: text[..end].into() };
        }
        Ok(Rc::clone(&self.text))
    }
}

/// A conversion of `date +FORMAT` that is not computed here, for example `%q`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownConversion(pub Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rfc3339: &str, zone: &str) -> LocalTime {
        LocalTime { instant: DateTime::parse_from_rfc3339(rfc3339).unwrap(), zone: zone.to_owned() }
    }

    #[test]
    fn a_version_is_fourteen_digits_of_local_time() {
        let version = at("2018-04-13T19:22:58+08:00", "CST").version().unwrap();
        assert_eq!(version.as_str(), "20180413192258");
    }

    #[test]
    fn the_date_of_the_log_lines_has_single_blanks() {
        assert_eq!(at("2018-04-04T09:05:00+08:00", "CST").date_words(), "Wed Apr 4 09:05:00 CST 2018");
    }

    #[test]
    fn the_usual_conversions_are_those_of_chrono() {
        for time in ["2018-04-04T09:05:00+08:00", "1999-12-31T23:59:59-05:00", "0999-10-10T10:10:10+00:00"] {
            let time = at(time, "CST");
            for conversion in ["%a", "%b", "%d", "%e", "%m", "%H", "%M", "%S", "%Y"] {
                let expected = time.instant.format(conversion).to_string();
                assert_eq!(time.format(conversion.as_bytes()).unwrap(), expected.as_bytes(), "{conversion}");
            }
        }
    }

    #[test]
    fn a_date_is_that_of_its_instant_and_format() {
        let mut dates = Dates::default();
        let [nine, later, next] = ["09:05:00.1", "09:05:00.2", "09:05:01.1"]
            .map(|time| at(&format!("2018-04-04T{time}+08:00"), "CST"));
        for (now, format, expected) in [
            (&nine, "%H:%M:%S", "09:05:00"),
            (&later, "%H:%M:%S", "09:05:00"),
            (&later, "%S%n%n", "00"),
            (&next, "%S%n%n", "01"),
            (&nine, "%n", ""),
            (&nine, "%N", "100000000"),
            (&later, "%N", "200000000"),
        ] {
            assert_eq!(*dates.text(now, format.as_bytes()).unwrap(), *expected.as_bytes(), "{format}");
        }
        assert_eq!(dates.text(&nine, b"%Q"), Err(UnknownConversion(b"%Q".to_vec())));
    }

    #[test]
    fn an_unknown_conversion_is_named() {
        let time = at("2018-04-04T09:05:00+08:00", "CST");
        assert_eq!(time.format(b"a-%Y%m%d-%Z.log").unwrap(), b"a-20180404-CST.log");
        assert_eq!(time.format(b"%Y%Q"), Err(UnknownConversion(b"%Q".to_vec())));
        assert_eq!(time.format(b"%"), Err(UnknownConversion(b"%".to_vec())));
    }
}
