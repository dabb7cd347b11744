//! What identifies a file's content, and what a manifest says of a file.

use serde::{Deserialize, Serialize};

use crate::by_path::ByPath;

/// The BLAKE3 digest of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Digest, &'static str> {
        Digest::parse(text.as_bytes()).ok_or("a digest has 64 hexadecimal digits")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.hexadecimal().map(char::from).iter().collect()
    }
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Digest> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(bytes))
    }

    /// The digits, as [`Digest::parse`] reads them.
    pub fn hexadecimal(&self) -> [u8; 64] {
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

/// What a manifest says of one regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Its content.
    pub digest: Digest,
    /// Permission bits. Noted for people: rsync leaves a file that is there already its mode, so modes are not compared.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
}

impl FileFacts {
    /// Whether a file has the bytes of another.
    pub fn same_bytes(&self, other: &FileFacts) -> bool {
        (self.digest, self.size) == (other.digest, other.size)
    }
}

/// Regular files by their paths from the root of their tree.
pub type Files = ByPath<FileFacts>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_back_as_written_and_nothing_else_is_one() {
        let digest = Digest(std::array::from_fn(|n| (n * 37) as u8));
        assert_eq!(Digest::parse(&digest.hexadecimal()), Some(digest));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"G".repeat(64), &"A".repeat(64)] {
            assert_eq!(Digest::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
