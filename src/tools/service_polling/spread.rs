//! When in its minute a member polls (contract section 5, 25): cron starts every poller at second
//! 0, and a daemon with `max connections` refuses some of them.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::names::{Address, number, shown};

/// Over how many seconds the pollers of a fleet spread themselves, 0 to 59; 0 is not at all.
///
/// Less than a minute, so that a poll has begun before cron starts the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread(u32);

impl Spread {
    /// Parses a number of seconds. Fails (exit 2) on anything but 0 to 59.
    pub fn parse(bytes: &[u8]) -> Result<Spread> {
        match number(bytes, 2) {
            Some(seconds @ 0..60) => Ok(Spread(seconds)),
            _ => Err(Error::usage(format!(
                "{} is not a spread; use a number of seconds from 0 to 59: polls are a minute apart",
                shown(bytes)
            ))),
        }
    }

    /// How long a member waits before each poll: always the same for one address, less than the
    /// spread, in milliseconds.
    pub fn phase(self, member: &Address) -> Duration {
        let range_ms = u128::from(self.0) * 1000;
        // The upper bits of the product are the hash as a fraction of the range.
        let phase_ms = (u128::from(hash(member.as_str().as_bytes())) * range_ms) >> 64;
        Duration::from_millis(u64::try_from(phase_ms).unwrap_or(0))
    }
}

/// FNV-1a in 64 bits, then the finalizer of MurmurHash3, because neighbouring addresses differ in
/// one digit only. It must never change: a member keeps its phase over upgrades of this program.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase_ms(seconds: &str, address: &str) -> u128 {
        let spread = Spread::parse(seconds.as_bytes()).unwrap();
        spread.phase(&Address::parse(address.as_bytes()).unwrap()).as_millis()
    }

    #[test]
    fn a_member_keeps_its_phase_for_ever() {
        assert_eq!(
            ["10.85.136.181", "10.85.136.182", "::1", "h107710069"].map(|member| phase_ms("59", member)),
            [18_577, 16_663, 55_743, 30_450]
        );
    }

    #[test]
    fn no_spread_is_no_wait_and_none_reaches_the_next_minute() {
        for last in 0..=255 {
            let member = format!("10.85.136.{last}");
            assert_eq!(phase_ms("0", &member), 0);
            assert!(phase_ms("1", &member) < 1_000);
            assert!(phase_ms("59", &member) < 59_000);
        }
    }

    #[test]
    fn the_members_of_a_network_are_spread_evenly() {
        for (seconds, parts) in [("20", 10), ("59", 10), ("30", 6)] {
            let range_ms = seconds.parse::<u128>().unwrap() * 1000;
            let mut counts = vec![0; parts as usize];
            for last in 0..=255 {
                let part = phase_ms(seconds, &format!("10.85.136.{last}")) * parts / range_ms;
                counts[usize::try_from(part).unwrap()] += 1;
            }
            let even = 256 / i32::try_from(parts).unwrap();
            assert!(
                counts.iter().all(|count| (even / 2..=even * 2).contains(count)),
                "{seconds}: {counts:?}"
            );
        }
    }

    #[test]
    fn what_is_no_number_of_seconds_below_a_minute_is_refused() {
        for wrong in ["", "60", "-1", "+5", "5s", "1.5", "005", "\u{665}"] {
            assert_eq!(Spread::parse(wrong.as_bytes()).map_err(|e| e.exit.code()), Err(2), "{wrong}");
        }
    }
}
