//! The manifest of an upload or of a published version: every file with its size, mode and digest, bound to one version.
//!
//! It closes the gap that `success` alone leaves open: `success` says that an upload was complete once, the manifest says of
//! what. One line a file, in the order of the paths; the last line counts them, so that half a manifest is not one:
//!
//! ```text
//! model-rollout manifest 1 20180413192258
//! DIGEST 755 15872 lib/mblog_yellow.so
//! end 1
//! ```

use std::borrow::Cow;
use std::io::{self, Write};

use crate::by_path::ByPath;
use crate::digest::{Digest, FileFacts, Files};
use crate::formats::Refusal;
use crate::version::Version;

/// What a manifest begins with.
const TITLE: &[u8] = b"model-rollout manifest 1 ";

/// No line of a file has fewer bytes.
const SHORTEST_LINE: usize = 70;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The version that it is about.
    pub version: Version,
    /// Every regular file, by its path from the version's directory.
    pub files: Files,
}

/// How a tree differs from a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// This path is not there.
    Missing(Vec<u8>),
    /// This path has other bytes.
    Changed(Vec<u8>),
    /// This path is not in the manifest.
    Extra(Vec<u8>),
}

impl Mismatch {
    /// What is wrong, as a person reads it.
    pub fn text(&self) -> String {
        let (path, what) = match self {
            Mismatch::Missing(path) => (path, "is missing"),
            Mismatch::Changed(path) => (path, "has other bytes"),
            Mismatch::Extra(path) => (path, "is not in it"),
        };
        format!("{} {what}", String::from_utf8_lossy(path))
    }
}

impl Manifest {
    /// Reads a manifest. Only what [`Manifest::render`] writes is one: anything else, a path that leaves the version's
    /// directory above all, is refused.
    pub fn parse(source: &[u8]) -> Result<Manifest, Refusal> {
        let mut lines = Lines { source, offset: 0, next: 0 };
        let title = lines.next()?;
        let version = title.strip_prefix(TITLE).and_then(|text| Version::of_directory(text).ok());
        let Some(version) = version else { return lines.refused("this is not the first line of a manifest") };
        let mut files = ByPath::with_capacity(source.len() / SHORTEST_LINE);
        loop {
            let line = lines.next()?;
            if let Some(count) = line.strip_prefix(b"end ") {
                if count != files.len().to_string().as_bytes() {
                    return lines.refused("the count of files is wrong");
                }
                break;
            }
            let Some((path, facts)) = file_line(line) else {
                return lines.refused("this is not DIGEST MODE SIZE PATH");
            };
            if !is_below(&path) {
                return lines.refused("this path leaves the version's directory");
            }
            if files.last_path().is_some_and(|before| before >= &*path) {
                return lines.refused("the paths are not in order");
            }
            files.insert(&path, facts);
        }
        if lines.next < source.len() {
            lines.offset = lines.next;
            return lines.refused("nothing comes behind the last line");
        }
        Ok(Manifest { version, files })
    }

    /// The manifest's bytes.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Nothing that is written to memory fails.
        let _ = self.write_to(&mut out);
        out
    }

    /// Writes the manifest's bytes. Fails as `out` fails.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(TITLE)?;
        writeln!(out, "{}", self.version)?;
        for (path, FileFacts { digest, mode, size }) in self.files.iter() {
            out.write_all(&digest.hexadecimal())?;
            write!(out, " {mode:o} {size} ")?;
            out.write_all(&escaped(path))?;
            out.write_all(b"\n")?;
        }
        writeln!(out, "end {}", self.files.len())
    }

    /// The first way in which files differ from this manifest. An upload may hold more than its manifest names, since
    /// nothing is deleted on the monitor (contract section 3); a published version may not.
    pub fn first_mismatch(&self, files: &Files, more: More) -> Option<Mismatch> {
        let of_manifest = self.files.iter().find_map(|(path, expected)| match files.get(path) {
            None => Some(Mismatch::Missing(path.to_vec())),
            Some(found) if !found.same_bytes(expected) => Some(Mismatch::Changed(path.to_vec())),
            Some(_) => None,
        });
        let extra = || match more {
            More::Allowed => None,
            More::Refused => files.iter().find(|(path, _)| self.files.get(path).is_none()),
        };
        of_manifest.or_else(|| extra().map(|(path, _)| Mismatch::Extra(path.to_vec())))
    }
}

/// Whether there may be files that a manifest does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Yes.
    Allowed,
    /// No.
    Refused,
}

/// Lines that must each end in a newline.
struct Lines<'a> {
    source: &'a [u8],
    /// Where the line read last begins.
    offset: usize,
    next: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8], Refusal> {
        self.offset = self.next;
        let rest = &self.source[self.next..];
        let Some(length) = rest.iter().position(|b| *b == b'\n') else {
            return self.refused("the manifest ends here, in the middle");
        };
        self.next += length + 1;
        Ok(&rest[..length])
    }

    fn refused<T>(&self, what: &str) -> Result<T, Refusal> {
        Err(Refusal::at(self.source, self.offset, what, "push again with rsync-push"))
    }
}

/// `DIGEST MODE SIZE PATH`
fn file_line(line: &[u8]) -> Option<(Cow<'_, [u8]>, FileFacts)> {
    let mut words = line.splitn(4, |b| *b == b' ');
    let (digest, mode, size, path) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let mode = u32::from_str_radix(text(mode)?, 8).ok().filter(|m| format!("{m:o}").as_bytes() == mode)?;
    let size = text(size)?.parse::<u64>().ok().filter(|s| s.to_string().as_bytes() == size)?;
    Some((unescaped(path)?, FileFacts { digest: Digest::parse(digest)?, mode, size }))
}

/// Whether a path stays below the directory that it starts from.
fn is_below(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b"..")) && !path.contains(&0)
}

/// A newline would end the line: it is written `\n`, and a backslash `\\`.
fn escaped(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.iter().any(|byte| matches!(byte, b'\n' | b'\\')) {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            other => out.push(*other),
        }
    }
    Cow::Owned(out)
}

fn unescaped(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'\\' => b'\\',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(Cow::Owned(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(byte: u8) -> FileFacts {
        FileFacts { digest: Digest([byte; 32]), mode: 0o644, size: u64::from(byte) }
    }

    fn manifest(paths: &[&str]) -> Manifest {
        let files = paths.iter().zip(1..).map(|(path, n)| (path, facts(n))).collect();
        Manifest { version: Version::parse(b"20180413192258").unwrap(), files }
    }

    #[test]
    fn a_manifest_is_read_back_as_written() {
        for paths in [&[][..], &["lib/m.so"], &["data/a b", "data/new\nline", "data/\\n", "lib/黄.so"]] {
            let written = manifest(paths);
            assert_eq!(Manifest::parse(&written.render()), Ok(written));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_line() {
        let good = String::from_utf8(manifest(&["data/a", "lib/m.so"]).render()).unwrap();
        let said = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(said("").starts_with("1:1: the manifest ends here"));
        assert!(said(&good[..good.len() - 1]).starts_with("4:1: the manifest ends here"));
        assert!(said(&good.replace("end 2", "end 3")).starts_with("4:1: the count"));
        assert!(said(&format!("{good}x")).starts_with("5:1: nothing comes behind"));
        assert!(said(&good.replace("manifest 1", "manifest 2")).starts_with("1:1: this is not the first"));
        assert!(said(&good.replace(" 644 1 ", " 0644 1 ")).starts_with("2:1: this is not DIGEST"));
        assert!(said(&good.replace("data/a", "data/\\a")).starts_with("2:1: this is not DIGEST"));
        assert!(said(&good.replace("data/a", "x/a")).starts_with("3:1: the paths are not in order"));
        for leaves in ["/etc/passwd", "../x", "data/../../x", "data//x", "data/./x", ""] {
            assert!(said(&good.replace("data/a", leaves)).starts_with("2:1: this path leaves"), "{leaves}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let expected = manifest(&["data/a", "lib/m.so"]);
        let found = |paths: &[&str]| manifest(paths).files;
        assert_eq!(expected.first_mismatch(&found(&["data/a", "lib/m.so"]), More::Refused), None);
        let missing = Mismatch::Missing(b"lib/m.so".to_vec());
        assert_eq!(expected.first_mismatch(&found(&["data/a"]), More::Allowed), Some(missing));
        let mut changed = found(&["data/a", "lib/m.so"]);
        changed.insert(b"data/a", facts(9));
        let mismatch = expected.first_mismatch(&changed, More::Allowed);
        assert_eq!(mismatch, Some(Mismatch::Changed(b"data/a".to_vec())));
        let more = found(&["data/a", "lib/m.so", "lib/old.so"]);
        assert_eq!(expected.first_mismatch(&more, More::Allowed), None);
        let extra = Mismatch::Extra(b"lib/old.so".to_vec());
        assert_eq!(expected.first_mismatch(&more, More::Refused), Some(extra));
    }
}
