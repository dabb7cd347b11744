//! How the daemon cuts rsyncd.conf into lines, observed on rsync 3.5.0: a backslash at a line's end continues a module
//! name, a parameter or a directive but never a remark, a carriage return is a blank, and a line without `=` is skipped.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::formats::Refusal;

/// One byte of a value and where it stands in the file.
#[derive(Debug, Clone, Copy)]
pub struct Char {
    /// The byte.
    pub byte: u8,
    /// Its offset.
    pub at: usize,
}

/// A line with those that continue it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file that it stands in.
    pub file: Rc<Path>,
    /// The bytes, with the line end.
    pub span: Range<usize>,
    /// What it says.
    pub kind: Kind,
    /// What comes behind it.
    pub end: End,
}

/// What an entry says.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `[NAME]`
    Header(Vec<u8>),
    /// `KEY = VALUE`; the key in lower case and without blanks, the value without those around it.
    Assignment(Vec<u8>, Vec<Char>),
    /// `&include PATH` or `&merge PATH`; what the path leads to follows, between `Enter` and `Leave`.
    Directive(Directive, Vec<u8>),
    /// Here a file begins that a directive leads to; no text of its own.
    Enter(Directive),
    /// Here it ends.
    Leave(Directive),
    /// Blank, or a remark.
    Remark,
    /// Skipped by the daemon, with a complaint in its log.
    Skipped,
}

/// How another file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// With globals that begin as they are and end with it; in front of its first header, and behind it, is the global part.
    Include,
    /// As if its text stood in place of the directive.
    Merge,
}

impl Directive {
    /// As it is written.
    pub fn key(self) -> &'static str {
        match self {
            Directive::Include => "&include",
            Directive::Merge => "&merge",
        }
    }

    /// How the names end that it reads of a directory.
    pub fn suffix(self) -> &'static [u8] {
        match self {
            Directive::Include => b".conf",
            Directive::Merge => b".inc",
        }
    }
}

/// What comes behind an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The next line.
    Line,
    /// The end of the file, without a line end.
    File,
    /// The end of the file, where a further line would be taken for a continuation.
    Dangling,
}

/// White space as the C library's `isspace`.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A name as the daemon compares it: in lower case, without blanks.
pub fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|b| !is_space(**b)).map(u8::to_ascii_lowercase).collect()
}

/// Whether a file may have a directive; quick.
pub fn may_direct(source: &[u8]) -> bool {
    let begin = |line: &[u8]| line.iter().copied().find(|b| !is_space(*b) && *b != b'\\');
    source.split(|b| *b == b'\n').any(|line| begin(line) == Some(b'&'))
}

/// The entries of a file; the first thing for which the daemon would not start, or that this program cannot judge,
/// is a refusal.
pub fn entries(file: &Rc<Path>, source: &[u8]) -> Result<Vec<Entry>, Refusal> {
    if let Some(at) = source.iter().position(|b| *b == 0) {
        let instead = "remove it: the daemon reads no further";
        return Err(Refusal::at(source, at, "a zero byte", instead));
    }
    let mut reader = Reader { source, at: 0 };
    let mut entries = Vec::new();
    while reader.at < source.len() {
        let start = reader.at;
        let (kind, end) = reader.entry()?;
        entries.push(Entry { file: file.clone(), span: start..reader.at, kind, end });
    }
    Ok(entries)
}

struct Reader<'a> {
    source: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn skip_while(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        self.skip_while(|b| is_space(b) && b != b'\n');
    }

    /// Goes behind the line's end.
    fn skip_line(&mut self) -> End {
        self.skip_while(|b| b != b'\n');
        match self.peek() {
            Some(_) => {
                self.at += 1;
                End::Line
            }
            None => self.end_of_file(None),
        }
    }

    fn refusal(&self, at: usize, what: &str, instead: &str) -> Refusal {
        Refusal::at(self.source, at, what, instead)
    }

    fn entry(&mut self) -> Result<(Kind, End), Refusal> {
        // A backslash that begins a line is skipped.
        self.skip_while(|b| (is_space(b) && b != b'\n') || b == b'\\');
        match self.peek() {
            None | Some(b'\n' | b'#' | b';') => Ok((Kind::Remark, self.skip_line())),
            Some(b'&') => self.directive(),
            Some(b'[') => self.header(),
            Some(_) => self.parameter(),
        }
    }

    fn header(&mut self) -> Result<(Kind, End), Refusal> {
        let start = self.at;
        let unusable = |reader: &Self, what| Err(reader.refusal(start, what, "write [NAME] on one line"));
        self.at += 1;
        let mut name = Vec::new();
        loop {
            match self.peek() {
                None => return unusable(self, "a module name without ]"),
                Some(b']') => break,
                Some(b'\n') => match continuation(name.iter().copied()) {
                    Some(backslash) => name.truncate(backslash),
                    None => return unusable(self, "a module name without ]"),
                },
                Some(blank) if is_space(blank) => {
                    if name.last().is_some_and(|last| *last != b' ') {
                        name.push(b' ');
                    }
                }
                Some(byte) => name.push(byte),
            }
            self.at += 1;
        }
        let name = name.trim_ascii().to_vec();
        if name.is_empty() {
            return unusable(self, "a module without a name");
        }
        // What stands behind the ] is a remark.
        Ok((Kind::Header(name), self.skip_line()))
    }

    fn parameter(&mut self) -> Result<(Kind, End), Refusal> {
        let start = self.at;
        let mut key = Vec::new();
        loop {
            match self.peek() {
                None => return Ok((Kind::Skipped, self.end_of_file(continuation(key.iter().copied())))),
                Some(b'=') => break,
                Some(b'\n') => match continuation(key.iter().copied()) {
                    Some(backslash) => key.truncate(backslash),
                    None => return Ok((Kind::Skipped, self.skip_line())),
                },
                Some(byte) => key.push(byte),
            }
            self.at += 1;
        }
        let key = folded(&key);
        if key.is_empty() {
            let instead = "write KEY = VALUE: the daemon does not start with it";
            return Err(self.refusal(start, "a value without a key", instead));
        }
        self.at += 1;
        self.skip_blanks();
        let (value, end) = self.value();
        Ok((Kind::Assignment(key, value), end))
    }

    /// The name ends at the first blank; one `=` may follow.
    fn directive(&mut self) -> Result<(Kind, End), Refusal> {
        let start = self.at;
        let mut name = Vec::new();
        loop {
            match self.peek() {
                None => return Ok((Kind::Skipped, self.end_of_file(continuation(name.iter().copied())))),
                Some(b' ' | b'\t' | b'=') => break,
                Some(b'\n') => match continuation(name.iter().copied()) {
                    Some(backslash) => name.truncate(backslash),
                    None => return Ok((Kind::Skipped, self.skip_line())),
                },
                Some(byte) => name.push(byte),
            }
            self.at += 1;
        }
        let known = [Directive::Include, Directive::Merge];
        let Some(directive) = known.into_iter().find(|d| name.eq_ignore_ascii_case(d.key().as_bytes()))
        else {
            let instead = "write &include PATH or &merge PATH: the daemon does not start with it";
            return Err(self.refusal(start, "an unknown directive", instead));
        };
        self.skip_blanks();
        if self.peek() == Some(b'=') {
            self.at += 1;
            self.skip_blanks();
        }
        let (path, end) = self.value();
        Ok((Kind::Directive(directive, path.iter().map(|c| c.byte).collect()), end))
    }

    fn value(&mut self) -> (Vec<Char>, End) {
        let mut value: Vec<Char> = Vec::new();
        let end = loop {
            match self.peek() {
                None => break self.end_of_file(continuation(value.iter().map(|c| c.byte))),
                Some(b'\n') => match continuation(value.iter().map(|c| c.byte)) {
                    Some(backslash) => value.truncate(backslash),
                    None => break self.skip_line(),
                },
                Some(b'\r') => {}
                Some(byte) => value.push(Char { byte, at: self.at }),
            }
            self.at += 1;
        };
        while value.last().is_some_and(|last| is_space(last.byte)) {
            value.pop();
        }
        (value, end)
    }

    /// The end of an entry that the file's end cuts off, and where the backslash stands that would continue it.
    fn end_of_file(&self, backslash: Option<usize>) -> End {
        let open = matches!(self.source.last(), Some(b'\n' | b'\r')) || backslash.is_some();
        if open { End::Dangling } else { End::File }
    }
}

/// Where the backslash stands that continues a text on the next line: blanks may follow it.
fn continuation(text: impl DoubleEndedIterator<Item = u8> + ExactSizeIterator) -> Option<usize> {
    let (last, byte) = text.enumerate().rev().find(|(_, byte)| !is_space(*byte))?;
    (byte == b'\\').then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(source: &[u8]) -> Result<Vec<Entry>, Refusal> {
        super::entries(&Path::new("f").into(), source)
    }

    fn read(source: &[u8]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = entries(source).unwrap();
        assert_eq!(entries.iter().map(|e| e.span.len()).sum::<usize>(), source.len());
        let shown = entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Header(name) => Some(format!("[{}]", text(name))),
            Kind::Assignment(key, value) => {
                let value: Vec<u8> = value.iter().map(|c| c.byte).collect();
                Some(format!("{}={}", text(key), text(&value)))
            }
            Kind::Directive(directive, path) => Some(format!("{directive:?} {}", text(path))),
            Kind::Remark | Kind::Enter(_) | Kind::Leave(_) => None,
            Kind::Skipped => Some("skipped".to_owned()),
        });
        shown.collect()
    }

    #[test]
    fn keys_are_compared_without_case_and_blanks_and_values_keep_theirs() {
        assert_eq!(read(b"  HOSTS\tDeny =  a  b \r\n"), ["hostsdeny=a  b"]);
        assert_eq!(read(b"a==b"), ["a==b"]);
    }

    #[test]
    fn module_names_are_trimmed_and_what_follows_them_is_a_remark() {
        assert_eq!(read(b" [  a \t b ] hosts deny = x\nc=d"), ["[a b]", "c=d"]);
        assert_eq!(read(b"[m\\\nx]\n"), ["[mx]"]);
    }

    #[test]
    fn a_backslash_continues_a_parameter_but_not_a_remark() {
        assert_eq!(read(b"hosts \\\ndeny = a,\\  \r\n b\n"), ["hostsdeny=a, b"]);
        assert_eq!(read(b"# a \\\n; b \\\nc=d\n"), ["c=d"]);
        assert_eq!(read(b"\\\n\\c=d\n"), ["c=d"]);
        // Two backslashes continue twice: the second is left at the end of the text so far.
        assert_eq!(read(b"a=x\\\\\n\nb=c\n"), ["a=xb=c"]);
    }

    #[test]
    fn a_directive_takes_the_rest_of_its_line_for_the_path() {
        for written in [
            "&include /d/a b=c",
            "  &INCLUDE \t /d/a b=c \r",
            "&include=/d/a b=c",
            "&include = /d/a b=c",
            "\\&incl\\\nude\\\n /d/a\\\n b=c",
        ] {
            assert!(may_direct(written.as_bytes()));
            assert_eq!(read(written.as_bytes()), ["Include /d/a b=c"], "{written}");
        }
        assert_eq!(read(b"&merge \"x\" # y\na=b"), ["Merge \"x\" # y", "a=b"]);
        assert_eq!(read(b"&merge\na=b\n&include"), ["skipped", "a=b", "skipped"]);
        assert!(!may_direct(b"# &include x\n[m] &include x\na=&b"));
    }

    #[test]
    fn a_line_without_an_equals_sign_is_skipped() {
        assert_eq!(read(b"junk\na=b\nc"), ["skipped", "a=b", "skipped"]);
        assert_eq!(read(b"junk\\\na=b\n"), ["junka=b"]);
    }

    #[test]
    fn the_end_of_a_file_tells_whether_a_line_can_follow() {
        let end = |source: &[u8]| entries(source).unwrap().last().map(|entry| entry.end);
        assert_eq!(end(b"a=b\n"), Some(End::Line));
        assert_eq!(end(b"a=b"), Some(End::File));
        for dangling in [&b"a=b\\"[..], b"a=b\\\n", b"a\\", b"a\\\n", b"a=b\r", b"[m]\r"] {
            assert_eq!(end(dangling), Some(End::Dangling), "{dangling:?}");
        }
    }

    #[test]
    fn what_stops_the_daemon_or_cannot_be_judged_is_refused_with_its_place() {
        for (source, place) in [
            (&b"a=b\n &includes /etc/rsyncd.d\n"[..], "2:2: an unknown directive"),
            (b"& include /etc/rsyncd.d\n", "1:1: an unknown directive"),
            (b"[m", "1:1: a module name without ]"),
            (b"[m\n]", "1:1: a module name without ]"),
            (b"[ ]", "1:1: a module without a name"),
            (b"a=b\n= x", "2:1: a value without a key"),
            (b"# \0", "1:3: a zero byte"),
        ] {
            let refusal = entries(source).map(|_| ()).unwrap_err().to_string();
            assert!(refusal.starts_with(place), "{refusal}");
        }
    }
}
