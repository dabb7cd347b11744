//! service.conf: edited in place, never re-written; every byte outside the three announced values stays.
//!
//! The edit does what the three `sed -i -r "s/KEY=\S*+/KEY=VALUE/g"` of dispatch.sh do under `LC_ALL=C`, in every
//! locale: unanchored, on every line, also in a remark or at the end of a longer key, up to white space (contract
//! section 3). Beyond that it edits `key = value`, which a Python ConfigParser writes and sed never matches (defect 6),
//! and afterwards checks that the keys really hold the announced values.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{NoExpand, Regex};

pub mod lint;

/// The keys in the order in which dispatch.sh edits them.
const KEYS: [&str; 3] = ["moduleversion", "modulepath", "moduleconfig"];

/// The largest service.conf, in bytes, that is worth announcing anything in: they have some kilobytes.
pub const LARGEST: usize = 1 << 20;

/// What a published version writes into service.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The value of `moduleversion`.
    pub version: String,
    /// The value of `modulepath`: the `.so` as members see it.
    pub path: String,
    /// The value of `moduleconfig`: the data directory as members see it.
    pub config: String,
}

impl Announcement {
    fn value(&self, key: &str) -> &[u8] {
        match key {
            "moduleversion" => self.version.as_bytes(),
            "modulepath" => self.path.as_bytes(),
            _ => self.config.as_bytes(),
        }
    }
}

/// Why a service.conf cannot announce a version: this key is nowhere in it (a remark does not count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingKey(pub &'static str);

/// The file's bytes with the three values replaced. Announcing what is announced already changes nothing.
///
/// Fails when one of the three keys is missing.
pub fn announce(source: &[u8], announcement: &Announcement) -> Result<Vec<u8>, MissingKey> {
    let mut text = source.to_vec();
    for key in KEYS {
        text = replace_value(&text, key, announcement.value(key));
        if key_lines(&text, key).is_empty() {
            return Err(MissingKey(key));
        }
    }
    Ok(text)
}

/// What a service.conf announces, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced<'a> {
    /// The value of `moduleversion`.
    pub version: &'a [u8],
    /// Where members keep the versions.
    pub prefix: &'a [u8],
    /// The library's file name.
    pub so_name: &'a [u8],
}

/// What a service.conf announces, where its `modulepath` is `PREFIX/VERSION/lib/SONAME`, as a publication writes it.
pub fn announced(source: &[u8]) -> Option<Announced<'_>> {
    let version = value(source, "moduleversion")?;
    let path = value(source, "modulepath")?;
    let so_name = path.rsplit(|b| *b == b'/').next()?;
    let prefix =
        path.strip_suffix(so_name)?.strip_suffix(b"/lib/")?.strip_suffix(version)?.strip_suffix(b"/")?;
    Some(Announced { version, prefix, so_name })
}

/// Whether a service.conf announces this already.
pub fn announces(source: &[u8], announcement: &Announcement) -> bool {
    announce(source, announcement).is_ok_and(|announced| announced == source)
}

/// The value of a key: the first of the lines that count for it.
pub fn value<'a>(source: &'a [u8], key: &str) -> Option<&'a [u8]> {
    key_lines(source, key).first().map(|line| &source[line.value.clone()])
}

/// A key's value in a section, for example `zk_addr` in `[monitor]`, up to white space or a remark, and its line from 1. The
/// first that is not empty counts.
pub fn value_in<'a>(source: &'a [u8], section: &str, key: &str) -> Option<(&'a [u8], usize)> {
    let header = format!("[{section}]");
    let mut is_inside = false;
    for (line, range) in (1..).zip(lines(source)) {
        let text = &source[range];
        if text.trim_ascii().starts_with(b"[") {
            is_inside = text.trim_ascii().starts_with(header.as_bytes());
        } else if is_inside && let Some((value, _)) = value_of(text, key) {
            let value = text[value].split(|b| *b == b'#').next().unwrap_or_default();
            if !value.is_empty() {
                return Some((value, line));
            }
        }
    }
    None
}

/// A line `key = value`, by byte offsets.
struct KeyLine {
    /// Where the line begins.
    start: usize,
    /// The value: not blank, up to white space; empty where none is written.
    value: Range<usize>,
    /// Whether blanks stand around the `=`, so that the unanchored pattern does not match the value.
    spaced: bool,
    /// Whether the line stands in `[module]`.
    in_module: bool,
}

/// The lines that set a key: those of `[module]`, or, where that section has none, those of the whole file.
fn key_lines(source: &[u8], key: &str) -> Vec<KeyLine> {
    let mut found = Vec::new();
    let mut in_module = false;
    for line in lines(source) {
        let text = &source[line.clone()];
        let trimmed = text.trim_ascii();
        if trimmed.starts_with(b"[") {
            in_module = trimmed.starts_with(b"[module]");
        } else if let Some((value, spaced)) = value_of(text, key) {
            let value = line.start + value.start..line.start + value.end;
            found.push(KeyLine { start: line.start, value, spaced, in_module });
        }
    }
    if found.iter().any(|line| line.in_module) {
        found.retain(|line| line.in_module);
    }
    found
}

/// The lines of a text, each with its line end.
fn lines(source: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    source.split_inclusive(|b| *b == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        range
    })
}

/// Where the value of `key` lies in a line that sets it, and whether blanks stand around the `=`.
fn value_of(line: &[u8], key: &str) -> Option<(Range<usize>, bool)> {
    let indent = line.iter().take_while(|b| is_space(**b)).count();
    let after_key = line[indent..].strip_prefix(key.as_bytes())?;
    let before_equals = after_key.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let after_equals = after_key[before_equals..].strip_prefix(b"=")?;
    let equals_end = line.len() - after_equals.len();
    let blanks = after_equals.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let written = &after_equals[blanks..];
    let has_value = written.first().is_some_and(|b| !is_space(*b) && *b != b'#');
    let length = if has_value { written.iter().take_while(|b| !is_space(**b)).count() } else { 0 };
    // "key=  # remark" has no value; the pattern inserts one right behind the "=".
    let start = if has_value || before_equals > 0 { equals_end + blanks } else { equals_end };
    Some((start..start + length, before_equals > 0 || (has_value && blanks > 0)))
}

/// The white space at which `\S` stops in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

/// One of the three edits: the spaced lines by their value's place, everything else by the script's pattern.
fn replace_value(source: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(source.len() + value.len());
    let mut done = 0;
    for line in key_lines(source, key).iter().filter(|line| line.spaced) {
        out.extend(replace_by_pattern(&source[done..line.start], key, value));
        out.extend_from_slice(&source[line.start..line.value.start]);
        out.extend_from_slice(value);
        if source.get(line.value.end) == Some(&b'#') {
            out.push(b' ');
        }
        done = line.value.end;
    }
    out.extend(replace_by_pattern(&source[done..], key, value));
    out
}

/// `KEY=\S*+` of GNU sed under `LC_ALL=C`, for each of [`KEYS`]; compiled once, however many lines a file has.
/// The keys are letters only, so every one of them compiles.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let pattern = |key: &&str| Regex::new(&format!(r"(?-u:{key}=[^ \t\n\x0B\x0C\r]*)")).ok();
    KEYS.iter().filter_map(pattern).collect()
});

/// `s/KEY=\S*+/KEY=VALUE/g` of GNU sed under `LC_ALL=C`; the value is taken literally (defect 7).
fn replace_by_pattern(text: &[u8], key: &str, value: &[u8]) -> Vec<u8> {
    let replacement = [key.as_bytes(), b"=", value].concat();
    // legacy: dispatch.sh, (3) to (5)
    match KEYS.iter().position(|known| *known == key).and_then(|index| PATTERNS.get(index)) {
        Some(pattern) => pattern.replace_all(text, NoExpand(&replacement)).into_owned(),
        None => text.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            version: "V".to_owned(),
            path: "/p/V/lib/m.so".to_owned(),
            config: "/p/V/data".to_owned(),
        }
    }

    fn announced_text(source: &str) -> String {
        String::from_utf8(announce(source.as_bytes(), &announcement()).unwrap()).unwrap()
    }

    const REST: &str = "moduleversion=0\nmoduleconfig=0\n";
    const REST_ANNOUNCED: &str = "moduleversion=V\nmoduleconfig=/p/V/data\n";

    #[test]
    fn values_are_replaced_wherever_the_scripts_patterns_match() {
        for (before, after) in [
            ("modulepath=/old/m.so", "modulepath=/p/V/lib/m.so"),
            ("modulepath=", "modulepath=/p/V/lib/m.so"),
            ("  modulepath=/old  # remark", "  modulepath=/p/V/lib/m.so  # remark"),
            ("modulepath=/old#glued", "modulepath=/p/V/lib/m.so"),
            ("modulepath=\t# remark", "modulepath=/p/V/lib/m.so\t# remark"),
            ("modulepath=/old\r", "modulepath=/p/V/lib/m.so\r"),
            (
                "modulepath=a\n# modulepath=b c\nold_modulepath=d",
                "modulepath=/p/V/lib/m.so\n# modulepath=/p/V/lib/m.so c\nold_modulepath=/p/V/lib/m.so",
            ),
        ] {
            assert_eq!(announced_text(&format!("{REST}{before}")), format!("{REST_ANNOUNCED}{after}"));
        }
    }

    #[test]
    fn values_between_blanks_are_replaced_too() {
        for (before, after) in [
            ("modulepath = /old/m.so", "modulepath = /p/V/lib/m.so"),
            ("modulepath =/old", "modulepath =/p/V/lib/m.so"),
            ("modulepath= /old x", "modulepath= /p/V/lib/m.so x"),
            ("modulepath\t=\t/old\r", "modulepath\t=\t/p/V/lib/m.so\r"),
            ("modulepath = ", "modulepath = /p/V/lib/m.so"),
            ("modulepath = # remark", "modulepath = /p/V/lib/m.so # remark"),
            (
                "modulepath = a # was modulepath=b",
                "modulepath = /p/V/lib/m.so # was modulepath=/p/V/lib/m.so",
            ),
        ] {
            assert_eq!(announced_text(&format!("{REST}{before}")), format!("{REST_ANNOUNCED}{after}"));
        }
    }

    #[test]
    fn a_spaced_key_of_another_section_is_left_alone() {
        let source = "[other]\nmodulepath = a\n[module]\nmodulepath = b\n[more]\nmodulepath = c\n";
        let expected =
            "[other]\nmodulepath = a\n[module]\nmodulepath = /p/V/lib/m.so\n[more]\nmodulepath = c\n";
        assert_eq!(announced_text(&format!("{source}{REST}")), format!("{expected}{REST_ANNOUNCED}"));
    }

    #[test]
    fn a_key_of_a_section_has_a_value_and_a_line() {
        let source = b"[common]\nzk_addr=other\n[monitor] # zk\n#zk_addr=old\nzk_addr =\n\tzk_addr = zk://a:1# \xd6\xd0\n[x]\nzk_id=1\n";
        assert_eq!(value_in(source, "monitor", "zk_addr"), Some((&b"zk://a:1"[..], 6)));
        assert_eq!(value_in(source, "monitor", "zk_id"), None);
        assert_eq!(value_in(b"", "monitor", "zk_addr"), None);
    }

    #[test]
    fn a_key_that_stands_only_in_a_remark_or_in_a_longer_key_is_missing() {
        for source in ["", "# modulepath=x", "old_modulepath=x", "modulepaths=x", "modulepath x"] {
            let source = format!("{REST}{source}\n");
            assert_eq!(
                announce(source.as_bytes(), &announcement()),
                Err(MissingKey("modulepath")),
                "{source}"
            );
        }
    }

    #[test]
    fn what_is_announced_is_taken_apart_where_a_publication_wrote_it() {
        let source = announced_text("moduleversion=\nmodulepath = x # y\nmoduleconfig=\n");
        let expected = Announced { version: b"V", prefix: b"/p", so_name: b"m.so" };
        assert_eq!(super::announced(source.as_bytes()), Some(expected));
        for other in ["V/lib/m.so", "/p/W/lib/m.so", "/p/V/m.so", "/p/xV/lib/m.so", ""] {
            let source = source.replace("/p/V/lib/m.so", other);
            assert_eq!(super::announced(source.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_announced_version_is_read_back_and_announcing_it_again_changes_nothing() {
        for source in [
            "moduleversion = 1\nmodulepath=2\nmoduleconfig =\n",
            "moduleversion=\nmodulepath= x # y\nmoduleconfig=\n",
        ] {
            let once = announced_text(source);
            assert_eq!(value(once.as_bytes(), "moduleversion"), Some(&b"V"[..]));
            assert_eq!(value(once.as_bytes(), "modulepath"), Some(&b"/p/V/lib/m.so"[..]));
            assert_eq!(announced_text(&once), once);
        }
    }
}
