//! Local time as the scripts print it, and spans of time with their unit in the type.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, Timelike};

use crate::error::{Error, Result};
use crate::names::{number, shown};
use crate::version::Version;

/// A span of time in whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
        let mut out = Vec::with_capacity(format.len() + 8);
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
            self.convert(conversion, &mut out)?;
        }
        Ok(out)
    }

    fn convert(&self, conversion: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), UnknownConversion> {
        if self.convert_often(conversion, out) {
            return Ok(());
        }
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

impl LocalTime {
    /// Those that every line of a log has, without the detour through a format of chrono's: a tick over a thousand models writes two
    /// thousand dates. Returns whether it was one.
    fn convert_often(&self, conversion: &[u8], out: &mut Vec<u8>) -> bool {
        const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
        const MONTHS: [&[u8]; 12] =
            [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
        let at = &self.instant;
        let name = |names: &[&'static [u8]], index: u32| {
            usize::try_from(index).ok().and_then(|n| names.get(n).copied())
        };
        let named = match conversion {
            b"a" => name(&DAYS, at.weekday().num_days_from_monday()),
            b"b" => name(&MONTHS, at.month0()),
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
            b"d" => two(at.day(), b'0'),
            b"e" => two(at.day(), b' '),
            b"m" => two(at.month(), b'0'),
            b"H" => two(at.hour(), b'0'),
            b"M" => two(at.minute(), b'0'),
            b"S" => two(at.second(), b'0'),
            b"Y" => match u32::try_from(at.year()) {
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
    fn an_unknown_conversion_is_named() {
        let time = at("2018-04-04T09:05:00+08:00", "CST");
        assert_eq!(time.format(b"a-%Y%m%d-%Z.log").unwrap(), b"a-20180404-CST.log");
        assert_eq!(time.format(b"%Y%Q"), Err(UnknownConversion(b"%Q".to_vec())));
        assert_eq!(time.format(b"%"), Err(UnknownConversion(b"%".to_vec())));
    }
}
