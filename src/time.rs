//! Local time as the scripts print it, and spans of time with their unit in the type.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

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
    fn an_unknown_conversion_is_named() {
        let time = at("2018-04-04T09:05:00+08:00", "CST");
        assert_eq!(time.format(b"a-%Y%m%d-%Z.log").unwrap(), b"a-20180404-CST.log");
        assert_eq!(time.format(b"%Y%Q"), Err(UnknownConversion(b"%Q".to_vec())));
        assert_eq!(time.format(b"%"), Err(UnknownConversion(b"%".to_vec())));
    }
}
