//! Whom the daemon admits: `hosts allow` first, then `hosts deny`, pattern by pattern, observed on rsync 3.5.0.
//!
//! A host name cannot be judged without asking a resolver as the daemon does, so it is said to be not judged. (The
//! daemon refuses everybody while a name in `hosts deny` cannot be resolved.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::Place;
use crate::ip_range::IpRange;

/// One pattern of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it is written.
    pub text: Vec<u8>,
    /// Where it begins.
    pub place: Place,
    /// Which of the two lists it stands in.
    pub list: List,
    /// Whose assignment it stands in.
    pub origin: Origin,
    /// Its bytes.
    pub(super) span: Range<usize>,
    /// Whom it matches.
    pub meaning: Meaning,
}

/// The two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `hosts allow`
    Allow,
    /// `hosts deny`
    Deny,
}

impl List {
    /// The key, as it is best written.
    pub fn key(self) -> &'static str {
        match self {
            List::Allow => "hosts allow",
            List::Deny => "hosts deny",
        }
    }
}

/// Where a module has a list from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An assignment of its own.
    Module,
    /// The global part.
    Global,
}

/// Whom a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Every host: `*`.
    Everyone,
    /// The addresses of a range.
    Range(IpRange),
    /// No host: an address or mask that the daemon cannot read.
    Nobody,
    /// The hosts of a name, a wildcard of names or a netgroup: not judged.
    Name,
}

/// A list that is set, even if only to separators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostList {
    /// Where the assignment stands.
    pub place: Place,
    /// The patterns.
    pub patterns: Vec<Pattern>,
}

/// The lists in force for a module; one that is missing or empty is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `hosts allow`
    pub allow: Option<HostList>,
    /// `hosts deny`
    pub deny: Option<HostList>,
}

/// What the daemon does with the addresses of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It admits them: no pattern denies them.
    Admitted,
    /// It admits them because `hosts allow` matches, whatever `hosts deny` says.
    AdmittedBy(&'a Pattern),
    /// It denies them.
    DeniedBy(&'a Pattern),
    /// It denies them: the `hosts allow` of this place does not match, and there is no `hosts deny`.
    NotAllowed(&'a Place),
    /// It admits some and denies others, because of this pattern.
    Partly(&'a Pattern),
    /// It depends on this pattern, which is not judged.
    NotJudged(&'a Pattern),
}

enum Found<'a> {
    All(&'a Pattern),
    Some(&'a Pattern),
    Perhaps(&'a Pattern),
    No,
}

impl Access {
    /// What the daemon does with the addresses of a range.
    pub fn verdict(&self, range: &IpRange) -> Verdict<'_> {
        let allowed = self.allow.as_ref().map_or(Found::No, |list| list.find(range));
        let rest = match (&self.allow, &self.deny) {
            // Without hosts deny, hosts allow denies whom it does not match.
            (Some(allow), None) => Verdict::NotAllowed(&allow.place),
            (None, None) => Verdict::Admitted,
            (_, Some(deny)) => match deny.find(range) {
                Found::All(pattern) => Verdict::DeniedBy(pattern),
                Found::Some(pattern) => Verdict::Partly(pattern),
                Found::Perhaps(pattern) => Verdict::NotJudged(pattern),
                Found::No => Verdict::Admitted,
            },
        };
        match (allowed, rest) {
            (Found::All(pattern), _) => Verdict::AdmittedBy(pattern),
            (_, Verdict::Admitted) => Verdict::Admitted,
            (Found::Some(pattern), _) => Verdict::Partly(pattern),
            (Found::Perhaps(pattern), _) => Verdict::NotJudged(pattern),
            (Found::No, rest) => rest,
        }
    }
}

impl HostList {
    fn find(&self, range: &IpRange) -> Found<'_> {
        let ranges = |pattern: &Pattern, test: &dyn Fn(&IpRange) -> bool| match &pattern.meaning {
            Meaning::Everyone => true,
            Meaning::Range(listed) => test(listed),
            Meaning::Nobody | Meaning::Name => false,
        };
        let find = |test: &dyn Fn(&IpRange) -> bool| self.patterns.iter().find(|p| ranges(p, test));
        if let Some(pattern) = find(&|listed| listed.covers(range)) {
            return Found::All(pattern);
        }
        if let Some(pattern) = find(&|listed| listed.overlaps(range)) {
            return Found::Some(pattern);
        }
        let name = self.patterns.iter().find(|pattern| pattern.meaning == Meaning::Name);
        name.map_or(Found::No, Found::Perhaps)
    }
}

/// Whether a byte separates the patterns of a list.
pub fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'\t')
}

/// Whom a pattern matches.
pub fn meaning(pattern: &[u8]) -> Meaning {
    if pattern.iter().all(|b| *b == b'*') {
        return Meaning::Everyone;
    }
    let text = String::from_utf8_lossy(pattern);
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (&*text, None),
    };
    let numeric = address.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if (!numeric && !address.contains(':')) || text.contains('%') {
        return Meaning::Name;
    }
    let address = if numeric { ipv4(address).map(IpAddr::V4) } else { ipv6(address).map(IpAddr::V6) };
    let range = address.and_then(|address| match mask {
        None => Some(IpRange::single(address)),
        Some(mask) => match mask.parse() {
            Ok(mask) => IpRange::with_mask(address, mask),
            Err(_) => mask.parse().ok().and_then(|bits| IpRange::with_prefix(address, bits)),
        },
    });
    range.map_or(Meaning::Nobody, Meaning::Range)
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok()
}

/// An IPv4 address as the C library's numeric lookup reads it: one to four numbers, the last of which fills the bytes
/// that are left; a leading 0 makes a number octal. `127.2` is 127.0.0.2.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
    let numbers = numbers.filter(|numbers| numbers.len() <= 4)?;
    let (last, bytes) = numbers.split_last()?;
    let mut address: u32 = 0;
    for (place, byte) in bytes.iter().enumerate() {
        let byte = u8::try_from(*byte).ok()?;
        address |= u32::from(byte) << (24 - 8 * place);
    }
    let room = u32::MAX.checked_shr(u32::try_from(8 * bytes.len()).ok()?)?;
    (*last <= room).then(|| Ipv4Addr::from_bits(address | *last))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix('0') {
        Some("") => Some(0),
        Some(octal) => u32::from_str_radix(octal, 8).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Meaning {
        Meaning::Range(IpRange::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn patterns_mean_what_the_daemon_takes_them_for() {
        for (pattern, expected) in [
            ("*", Meaning::Everyone),
            ("127.0.0.2", range("127.0.0.2")),
            ("127.2", range("127.0.0.2")),
            ("0177.0.0.02", range("127.0.0.2")),
            ("2130706434", range("127.0.0.2")),
            ("127.0.0.2/31", range("127.0.0.2/31")),
            ("127.0.0.2/8", range("127.0.0.0/8")),
            ("1.2.3.4/0", range("0.0.0.0/0")),
            ("10.0.0.0/255.0.0.0", range("10.0.0.0/8")),
            ("::1", range("::1")),
            ("fe80::/ffff:ffff:ffff:ffff::", range("fe80::/64")),
            ("127.0.0.2.", Meaning::Nobody),
            ("127.0.0.256", Meaning::Nobody),
            ("1.2.3.4.5", Meaning::Nobody),
            ("127.0.0.0/33", Meaning::Nobody),
            ("127.0.0.0/", Meaning::Nobody),
            ("[::1]", Meaning::Nobody),
            ("localhost", Meaning::Name),
            ("127.0.0.*", Meaning::Name),
            ("@ng", Meaning::Name),
            ("0x7f.0.0.2", Meaning::Name),
            ("fe80::1%lo", Meaning::Name),
            ("#", Meaning::Name),
        ] {
            assert_eq!(meaning(pattern.as_bytes()), expected, "{pattern}");
        }
    }

    fn list(list: List, patterns: &str) -> Option<HostList> {
        let place = Place { file: std::path::Path::new("f").into(), line: 1 };
        let pattern = |text: &str| Pattern {
            text: text.as_bytes().to_vec(),
            place: place.clone(),
            list,
            origin: Origin::Module,
            span: 0..0,
            meaning: meaning(text.as_bytes()),
        };
        let patterns: Vec<Pattern> = patterns.split_whitespace().map(pattern).collect();
        (!patterns.is_empty()).then_some(HostList { place: place.clone(), patterns })
    }

    #[test]
    fn hosts_allow_is_looked_at_first_and_alone_denies_the_others() {
        for (allow, deny, asked, expected) in [
            ("", "", "10.0.0.1", "Admitted"),
            ("", "10.0.0.1", "10.0.0.1", "DeniedBy"),
            ("", "10.0.0.0/8", "10.0.0.1", "DeniedBy"),
            ("", "10.0.0.1", "10.0.0.0/24", "Partly"),
            ("", "10.0.0.2", "10.0.0.1", "Admitted"),
            ("", "host", "10.0.0.1", "NotJudged"),
            ("", "host *", "10.0.0.1", "DeniedBy"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", "AdmittedBy"),
            ("*", "*", "10.0.0.1", "AdmittedBy"),
            ("10.0.0.2", "", "10.0.0.1", "NotAllowed"),
            ("host", "", "10.0.0.1", "NotJudged"),
            ("host", "10.0.0.1", "10.0.0.1", "NotJudged"),
            ("host", "10.0.0.2", "10.0.0.1", "Admitted"),
            ("10.0.0.2", "10.0.0.3", "10.0.0.1", "Admitted"),
            ("10.0.0.2", "10.0.0.0/8", "10.0.0.0/24", "Partly"),
            ("10.0.0.2", "11.0.0.0/8", "10.0.0.0/24", "Admitted"),
        ] {
            let access = Access { allow: list(List::Allow, allow), deny: list(List::Deny, deny) };
            let verdict = format!("{:?}", access.verdict(&IpRange::parse(asked.as_bytes()).unwrap()));
            let name = verdict.split(['(', ' ']).next().unwrap();
            assert_eq!(name, expected, "allow {allow}, deny {deny}, {asked}");
        }
    }
}
