//! A range of IP addresses: what `--ip` takes, and what an address pattern of rsyncd.conf means.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};
use crate::names::shown;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

/// The addresses that agree with one address in the bits of a mask. Two ranges are equal when they hold the same
/// addresses, however they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    family: Family,
    /// The bits outside the mask are 0.
    address: u128,
    mask: u128,
}

impl IpRange {
    /// Parses an address, or an address and the length of its prefix: `10.85.136.0/24`.
    ///
    /// Fails (exit 2) on anything else. A range is also refused when its address has bits behind the prefix, which is a
    /// slip of the pen more often than not, and an IPv4 address when it is written as IPv6: the daemon sees IPv4 then.
    pub fn parse(bytes: &[u8]) -> Result<IpRange> {
        let wrong = |what: &str| Error::usage(format!("{} {what}", shown(bytes)));
        let not_an_address = || wrong("is not an IP address; write 10.85.136.181, 10.85.136.0/24, or IPv6");
        let text = std::str::from_utf8(bytes).map_err(|_| not_an_address())?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| not_an_address())?;
        if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
            return Err(wrong("is an IPv4 address written as IPv6; write it as IPv4"));
        }
        let Some(prefix) = prefix else { return Ok(IpRange::single(address)) };
        let digits = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        let bits = prefix.parse().ok().filter(|_| digits);
        let range = bits.and_then(|bits| IpRange::with_prefix(address, bits)).ok_or_else(not_an_address)?;
        if range.address != bits_of(address) {
            return Err(wrong(&format!("has bits behind its prefix; write {range}, or the one address")));
        }
        Ok(range)
    }

    /// One address.
    pub fn single(address: IpAddr) -> IpRange {
        let family = family_of(address);
        IpRange { family, address: bits_of(address), mask: family.all() }
    }

    /// An address and how many of its bits count; `None` where it has not that many.
    pub fn with_prefix(address: IpAddr, bits: u32) -> Option<IpRange> {
        let family = family_of(address);
        let width = family.width();
        let hidden = width.checked_sub(bits)?;
        let mask = family.all() & u128::MAX.checked_shl(hidden).unwrap_or(0);
        Some(IpRange { family, address: bits_of(address) & mask, mask })
    }

    /// An address and the mask of the bits that count; `None` where one is IPv4 and the other IPv6.
    pub fn with_mask(address: IpAddr, mask: IpAddr) -> Option<IpRange> {
        let family = family_of(address);
        let bits = bits_of(mask);
        (family == family_of(mask)).then(|| IpRange { family, address: bits_of(address) & bits, mask: bits })
    }

    /// The address, where the range holds only one.
    pub fn single_address(&self) -> Option<IpAddr> {
        (self.mask == self.family.all()).then(|| self.family.shown(self.address))
    }

    /// Whether every address of another range is in this one.
    pub fn covers(&self, other: &IpRange) -> bool {
        self.mask & !other.mask == 0 && self.overlaps(other)
    }

    /// Whether an address is in both.
    pub fn overlaps(&self, other: &IpRange) -> bool {
        self.family == other.family && (self.address ^ other.address) & self.mask & other.mask == 0
    }
}

impl Family {
    fn width(self) -> u32 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    fn all(self) -> u128 {
        u128::MAX >> (128 - self.width())
    }

    fn shown(self, bits: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            Family::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.family.shown(self.address))?;
        let hidden = self.mask.trailing_zeros().min(self.family.width());
        let is_prefix = self.mask == self.family.all() & u128::MAX.checked_shl(hidden).unwrap_or(0);
        match hidden {
            0 if is_prefix => Ok(()),
            _ if is_prefix => write!(f, "/{}", self.family.width() - hidden),
            _ => write!(f, "/{}", self.family.shown(self.mask)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpRange {
        IpRange::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn addresses_and_ranges_are_shown_as_they_are_best_written() {
        for (typed, shown) in [
            ("10.85.136.181", "10.85.136.181"),
            ("10.85.136.181/32", "10.85.136.181"),
            ("10.85.136.0/24", "10.85.136.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("0:0::1", "::1"),
            ("fe80::/64", "fe80::/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(range(typed).to_string(), shown);
        }
        let [address, mask] = ["127.0.0.2", "255.0.255.255"].map(|text| text.parse().unwrap());
        assert_eq!(IpRange::with_mask(address, mask).unwrap().to_string(), "127.0.0.2/255.0.255.255");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "10.85.136",
            "10.85.136.256",
            "010.0.0.1",
            "h107710069",
            "10.0.0.1/33",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "10.0.0.0/255.0.0.0",
            "10.85.136.181/24",
            "::ffff:10.0.0.1",
            "fe80::1%eth0",
            "10.0.0.1 ",
            "10.0.0.1;ls",
        ] {
            assert_eq!(IpRange::parse(wrong.as_bytes()).map_err(|e| e.exit.code()), Err(2), "{wrong:?}");
        }
    }

    #[test]
    fn a_single_address_is_one_however_it_was_written() {
        assert_eq!(range("10.0.0.1/32").single_address(), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(range("::1").single_address(), Some("::1".parse().unwrap()));
        assert_eq!(range("10.0.0.0/31").single_address(), None);
    }

    #[test]
    fn ranges_cover_and_overlap_within_their_family() {
        assert!(range("10.0.0.0/8").covers(&range("10.85.0.0/16")));
        assert!(!range("10.85.0.0/16").covers(&range("10.0.0.0/8")));
        assert!(range("10.85.0.0/16").overlaps(&range("10.0.0.0/8")));
        assert!(!range("10.85.0.0/16").overlaps(&range("10.86.0.0/16")));
        assert!(range("0.0.0.0/0").covers(&range("1.2.3.4")));
        assert!(!range("::/0").overlaps(&range("1.2.3.4")));
    }
}
