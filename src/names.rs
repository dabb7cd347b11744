//! Names that become path components, addresses and ports: validated once, at the edge.
//!
//! Contract section 1: a model or plugin name matches `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`; anything else
//! is refused before any file is touched.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest name, in bytes.
const LONGEST: usize = 128;

fn is_name(bytes: &[u8]) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    match bytes {
        [first, rest @ ..] => {
            bytes.len() <= LONGEST && word(first) && rest.iter().all(|b| word(b) || *b == b'.' || *b == b'-')
        }
        [] => false,
    }
}

/// Bytes as a person can read them on one line, cut where a hostile name would fill the screen.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("\u{201c}{}\u{2026}\u{201d}", &text[..cut]),
        None => format!("\u{201c}{text}\u{201d}"),
    }
}

/// A validated text is a string in JSON, and validated again when it is read.
macro_rules! text_of_json {
    ($name:ident, $parse:expr) => {
        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                $parse(text.as_bytes())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
pub(crate) use text_of_json;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        text_of_json!($name, $name::parse);

        impl $name {
            /// Parses a name. Fails (exit 2) when it does not match the pattern of contract section 1.
            pub fn parse(bytes: &[u8]) -> Result<Self> {
                match std::str::from_utf8(bytes) {
                    Ok(text) if is_name(bytes) => Ok(Self(text.to_owned())),
                    _ => Err(Error::usage(format!(
                        "{} is not a {}; use letters, digits, '_', '.' and '-' (first a letter, digit or '_'; at most {LONGEST})",
                        shown(bytes), $what
                    ))),
                }
            }

            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }
    };
}

name! {
    /// A model: the directory below `datamining_plugin` and `datamining_service`, `modulename` in env.sh.
    ModelName, "model name"
}

name! {
    /// A plugin: the name of the `.so` without `.so`.
    PluginName, "plugin name"
}

name! {
    /// A TYPE: which template a service.conf is made from.
    TypeName, "TYPE"
}

name! {
    /// A group of members: `group_NAME` in the member list.
    GroupName, "name of a group"
}

name! {
    /// What a service is called in the service discovery.
    ServiceId, "service id"
}

name! {
    /// An image without its registry and its version: the last part of its name.
    ImageName, "name of an image"
}

name! {
    /// The version of an image, which the engine calls its tag; not that of a model.
    ImageTag, "version of an image"
}

name! {
    /// The file name of a shared library below `lib/`, for example `mblog_yellow.so`.
    SoName, "name of a .so file"
}

name! {
    /// A name in service discovery: its group, its service, its type, and the source that asks.
    DiscoveryName, "name in service discovery"
}

impl PluginName {
    /// The library's file name.
    pub fn so_name(&self) -> String {
        format!("{}.so", self.0)
    }
}

/// A host as `members`, `monitor` and `address` name it: an IP address or a host name.
///
/// It becomes a file name (`datamining_service/MODEL/version/ADDRESS`) and an argument of rsync, so it holds
/// nothing but letters, digits, `.`, `:`, `_` and `-`, and begins with none of the last three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

text_of_json!(Address, Address::parse);

impl Address {
    /// Parses an address. Fails (exit 2) on any other byte, an empty text or more than 253 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let good = |b: &u8| b.is_ascii_alphanumeric() || b".:_-".contains(b);
        match (std::str::from_utf8(bytes), bytes.first()) {
            (Ok(text), Some(first))
                if bytes.iter().all(good)
                    && bytes.len() <= 253
                    && (first.is_ascii_alphanumeric() || text.parse::<IpAddr>().is_ok())
                    && (!looks_like_ipv4(bytes) || text.parse::<IpAddr>().is_ok()) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Error::usage(format!(
                "{} is not an address; write an IP address or a host name",
                shown(bytes)
            ))),
        }
    }

    /// The address's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This host, as every host calls itself.
    pub fn loopback() -> Self {
        Self("127.0.0.1".to_owned())
    }

    /// The address as rsync wants it before `::module`: an IPv6 address in brackets.
    pub fn in_url(&self) -> String {
        if self.0.contains(':') { format!("[{}]", self.0) } else { self.0.clone() }
    }
}

/// A decimal number of at most so many digits, and nothing else: no sign, no blank.
pub fn number<T: FromStr>(bytes: &[u8], most_digits: usize) -> Option<T> {
    let is_number = (1..=most_digits).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(bytes).ok().filter(|_| is_number)?.parse().ok()
}

/// Digits and dots only: then it is an IPv4 address or a slip of the finger.
fn looks_like_ipv4(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| b.is_ascii_digit() || *b == b'.')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for Address {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(u16);

impl Port {
    /// The rsync daemon's port when `rsyncport` is not set.
    pub const RSYNC: Port = Port(873);

    /// Parses a decimal port. Fails (exit 2) on anything but 1 to 65535.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match number(bytes, 5) {
            Some(port @ 1..) => Ok(Port(port)),
            _ => Err(Error::usage(format!("{} is not a port; use a number from 1 to 65535", shown(bytes)))),
        }
    }

    /// The port as a number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_manual_are_names() {
        for name in ["mblog_yellow", "fast_lr", "_x", "0", "a.b-c", &"a".repeat(128)] {
            assert_eq!(ModelName::parse(name.as_bytes()).map(|n| n.to_string()), Ok(name.to_string()));
        }
    }

    #[test]
    fn names_that_could_leave_their_directory_or_be_taken_for_an_option_are_refused() {
        for name in ["", ".", "..", "-a", ".a", "a/b", "a b", "a\nb", "a\0", "黄", "a&b", &"a".repeat(129)] {
            assert!(ModelName::parse(name.as_bytes()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn addresses_are_host_names_or_ip_addresses() {
        for good in ["10.77.96.239", "h107710069", "::1", "fe80::1", "a-b.c"] {
            assert!(Address::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "-h", ".h", "../h", "a b", "a/b", "a\n", ":evil", "10.0.0.300", "10.0.0", "10.0.0.1."]
        {
            assert!(Address::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_numbers_from_1_to_65535() {
        assert_eq!(Port::parse(b"17019").map(Port::number), Ok(17019));
        for bad in ["", "0", "65536", "+80", "8o", "999999999999"] {
            assert!(Port::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
