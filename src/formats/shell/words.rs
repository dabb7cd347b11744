//! One word: quotes, escapes and expansions -> parts.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use crate::formats::{Refusal, Source};

/// A piece of a word. Two literals never stand beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes that stand for themselves.
    Literal(Cow<'a, [u8]>),
    /// `$name`, `${name}` or `${name:-word}`.
    Variable {
        /// The name.
        name: &'a [u8],
        /// The word after `:-`.
        default: Option<Vec<Part<'a>>>,
        /// Whether it stands in double quotes: otherwise blanks in its value separate words.
        quoted: bool,
        /// Where it begins.
        offset: usize,
    },
    /// `` `date` `` or `` `date +FORMAT` ``.
    Date {
        /// What follows the `+`; `None` for the default format.
        format: Option<Cow<'a, [u8]>>,
        /// Whether it stands in double quotes.
        quoted: bool,
        /// Where it begins.
        offset: usize,
    },
}

/// Reads one word, beginning at an offset.
#[derive(Debug)]
pub struct Words<'a> {
    source: &'a Source<'a>,
    at: usize,
    /// Where what is read ends: the file, or the command that is substituted.
    end: usize,
    parts: Vec<Part<'a>>,
    /// How many `${name:-word}` and `$(...)` are open here.
    depth: usize,
}

/// More levels of `${name:-${name:-...}}` than anybody writes, and few enough for every stack.
const DEEPEST: usize = 16;

/// A set of bytes.
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    pub(super) const fn of(bytes: &[u8]) -> ByteSet {
        let mut set = [false; 256];
        let mut at = 0;
        while at < bytes.len() {
            set[bytes[at] as usize] = true;
            at += 1;
        }
        ByteSet(set)
    }

    /// Where the first of them stands.
    pub(super) fn first_in(&self, text: &[u8]) -> Option<usize> {
        text.iter().position(|byte| self.0[usize::from(*byte)])
    }
}

/// Those that may mean something out of quotes.
static UNQUOTED: ByteSet = ByteSet::of(b" \t\n;<>|&()\\'\"$`~*?[{}");

/// Those that may mean something in double quotes, or in the word of a `${name:-word}` there.
static DOUBLE_QUOTED: ByteSet = ByteSet::of(b"\"$`\\}'(");

/// What a byte means where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Double,
}

impl<'a> Words<'a> {
    /// The parts go into `parts`, which is empty.
    pub(super) fn new(source: &'a Source<'a>, at: usize, parts: Vec<Part<'a>>) -> Words<'a> {
        Words { source, at, end: source.len(), parts, depth: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The parts of the word that begins here; none where a blank or an operator stands.
    pub(super) fn word(&mut self) -> Result<Vec<Part<'a>>, Refusal> {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'<' | b'>' | b'|' | b'&' | b'(' | b')' => break,
                _ => self.unquoted(byte)?,
            }
        }
        Ok(std::mem::take(&mut self.parts))
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.source[self.at..self.end]
    }

    fn refused<T>(&self, at: usize, what: &str, instead: &str) -> Result<T, Refusal> {
        Err(self.source.refusal(at, what, instead))
    }

    /// Refuses what would reach to the end of the file, and stands there: a shell reads nothing behind it either.
    fn never_closed<T>(&mut self, at: usize, what: &str, instead: &str) -> Result<T, Refusal> {
        self.at = self.end;
        self.refused(at, what, instead)
    }

    /// Bytes that stand for themselves. Quotes make a word even where nothing stands between them.
    fn push(&mut self, bytes: &'a [u8]) {
        match self.parts.last_mut() {
            Some(Part::Literal(text)) if text.is_empty() => *text = Cow::Borrowed(bytes),
            Some(Part::Literal(text)) => text.to_mut().extend_from_slice(bytes),
            _ => self.parts.push(Part::Literal(Cow::Borrowed(bytes))),
        }
    }

    /// The byte behind a `\`.
    fn push_escaped(&mut self) {
        self.push(&self.rest()[1..2]);
        self.at += 2;
    }

    /// A byte that stands for itself, and those behind it that do so, too: up to the next that may not.
    fn push_run(&mut self, special: &ByteSet) {
        let rest = self.rest();
        let length = special.first_in(&rest[1..]).map_or(rest.len(), |at| at + 1);
        self.push(&rest[..length]);
        self.at += length;
    }

    fn unquoted(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b'\\' => match self.rest().get(1) {
                Some(b'\n') => self.at += 2,
                Some(_) => self.push_escaped(),
                None => return self.refused(self.at, "a \\ ends the file", "remove it, or quote the value"),
            },
            b'\'' => self.single_quoted()?,
            b'"' => self.double_quoted()?,
            b'$' => self.dollar(Quotes::None)?,
            b'`' => self.backquoted(Quotes::None)?,
            b'~' if self.expands_tilde() => {
                return self.refused(
                    self.at,
                    "~ is expanded by a shell here",
                    "write the directory itself, or quote the value",
                );
            }
            b'*' | b'?' | b'[' => {
                return self.refused(
                    self.at,
                    "an unquoted *, ? or [ is a file name pattern",
                    "quote the value",
                );
            }
            b'{' => {
                return self.refused(
                    self.at,
                    "an unquoted { is read differently by bash and sh",
                    "quote the value",
                );
            }
            _ => self.push_run(&UNQUOTED),
        }
        Ok(())
    }

    /// Whether a shell reads a `~` here as a directory: at the beginning of a word, and behind a `:` or `=` (which of
    /// them depends on the shell, so every one counts, quoted or not).
    fn expands_tilde(&self) -> bool {
        match self.parts.last() {
            None => true,
            Some(Part::Literal(text)) => matches!(text.last(), Some(b':' | b'=')),
            Some(_) => false,
        }
    }

    fn single_quoted(&mut self) -> Result<(), Refusal> {
        let text = &self.rest()[1..];
        let Some(length) = memchr(b'\'', text) else {
            return self.never_closed(self.at, "this ' is never closed", "close it");
        };
        self.push(&text[..length]);
        self.at += length + 2;
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), Refusal> {
        let opened = self.at;
        self.push(b"");
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.refused(opened, "this \" is never closed", "close it"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                // dash drops the \ of ${x:-"\}"}, bash keeps it.
                Some(b'\\') if self.depth > 0 && self.rest().get(1) == Some(&b'}') => {
                    return self.refused(
                        self.at,
                        "\\} within ${...} is read differently by bash and sh",
                        "use '}'",
                    );
                }
                Some(byte) => self.in_double_quotes(byte, b"$`\"\\")?,
            }
        }
    }

    /// One byte in double quotes; a backslash escapes the given bytes only.
    fn in_double_quotes(&mut self, byte: u8, escapable: &[u8]) -> Result<(), Refusal> {
        match (byte, self.rest().get(1)) {
            (b'\\', Some(b'\n')) => self.at += 2,
            (b'\\', Some(next)) if escapable.contains(next) => self.push_escaped(),
            (b'$', _) => self.dollar(Quotes::Double)?,
            (b'`', _) => self.backquoted(Quotes::Double)?,
            _ => self.push_run(&DOUBLE_QUOTED),
        }
        Ok(())
    }

    fn dollar(&mut self, quotes: Quotes) -> Result<(), Refusal> {
        let offset = self.at;
        match self.rest().get(1) {
            Some(b'{') => self.braced(quotes),
            Some(b'(') => self.substitution(quotes),
            Some(b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => self.refused(
                offset,
                "a positional or special parameter has no value here",
                "write the value itself",
            ),
            Some(b'\'' | b'"') if quotes == Quotes::None => self.refused(
                offset,
                "$'...' and $\"...\" are read differently by bash and sh",
                "use plain quotes",
            ),
            Some(b'\\') => self.refused(offset, "a $ before a \\ is unclear", "quote the $ with '...'"),
            Some(b'[') => {
                self.refused(offset, "$[...] is read differently by bash and sh", "write the value itself")
            }
            _ => {
                let length = name_length(&self.rest()[1..]);
                if length == 0 {
                    // A lone $ stands for itself.
                    self.push(&self.rest()[..1]);
                    self.at += 1;
                    return Ok(());
                }
                let name = &self.rest()[1..=length];
                self.at += 1 + length;
                if self.rest().starts_with(b"\\\n") {
                    return self.refused(self.at, "the line is continued within a name", "write ${NAME}");
                }
                let quoted = quotes == Quotes::Double;
                self.parts.push(Part::Variable { name, default: None, quoted, offset });
                Ok(())
            }
        }
    }

    /// `${name}` and `${name:-word}`.
    fn braced(&mut self, quotes: Quotes) -> Result<(), Refusal> {
        let offset = self.at;
        let length = name_length(&self.rest()[2..]);
        let name = &self.rest()[2..2 + length];
        self.at += 2 + length;
        let quoted = quotes == Quotes::Double;
        let default = match self.rest() {
            _ if length == 0 => None,
            [b'}', ..] => {
                self.at += 1;
                self.parts.push(Part::Variable { name, default: None, quoted, offset });
                return Ok(());
            }
            [b':', b'-', ..] => {
                self.at += 2;
                Some(self.default_word(quotes, offset)?)
            }
            _ => None,
        };
        if default.is_none() {
            let instead = "use $NAME, ${NAME} or ${NAME:-word}";
            return self.refused(offset, "this form of ${...} is not read", instead);
        }
        self.parts.push(Part::Variable { name, default, quoted, offset });
        Ok(())
    }

    /// The word between `:-` and `}`, in the quotes that surround it.
    fn default_word(&mut self, quotes: Quotes, opened: usize) -> Result<Vec<Part<'a>>, Refusal> {
        if self.depth == DEEPEST {
            return self.refused(opened, "${...} is nested too deeply", "use fewer levels");
        }
        self.depth += 1;
        let outer = std::mem::take(&mut self.parts);
        loop {
            match (self.peek(), quotes) {
                (None, _) => return self.refused(opened, "this ${ is never closed", "close it with }"),
                (Some(b'}'), _) => break,
                (Some(b'"'), Quotes::Double) => {
                    return self.refused(
                        self.at,
                        "a \" within \"${...}\" is unclear",
                        "leave the inner quotes out",
                    );
                }
                (Some(b'\'' | b'('), Quotes::Double) => {
                    return self.refused(
                        self.at,
                        "a ' or ( within \"${...}\" is read differently by bash and sh",
                        "set the name on a line of its own first",
                    );
                }
                (Some(byte), Quotes::Double) => self.in_double_quotes(byte, b"$`\"\\}")?,
                (
                    Some(b' ' | b'\t' | b'\n' | b';' | b'<' | b'>' | b'|' | b'&' | b'(' | b')'),
                    Quotes::None,
                ) => {
                    return self.refused(
                        self.at,
                        "a blank or operator in an unquoted ${...}",
                        "quote the whole value",
                    );
                }
                (Some(byte), Quotes::None) => self.unquoted(byte)?,
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(std::mem::replace(&mut self.parts, outer))
    }

    fn backquoted(&mut self, quotes: Quotes) -> Result<(), Refusal> {
        let text = &self.rest()[1..];
        match memchr(b'`', text) {
            Some(length) if !text[..length].contains(&b'\\') => self.date(1, length, 1, quotes),
            Some(_) => self.refused(self.at, "a \\ within `...` is unclear", "use $(...)"),
            None => self.never_closed(self.at, "this ` is never closed", "close it"),
        }
    }

    fn substitution(&mut self, quotes: Quotes) -> Result<(), Refusal> {
        let text = &self.rest()[2..];
        if text.first() == Some(&b'(') {
            return self.refused(self.at, "arithmetic is not read", "write the value itself");
        }
        match closing_parenthesis(text) {
            Some(length) => self.date(2, length, 1, quotes),
            None if text.len() > LONGEST_DATE => {
                self.refused(self.at, "command substitution is not read", "write the value itself")
            }
            None => self.never_closed(self.at, "this $( is never closed", "close it with )"),
        }
    }

    /// A command substitution: `date` and `date +FORMAT` only.
    fn date(&mut self, opening: usize, length: usize, closing: usize, quotes: Quotes) -> Result<(), Refusal> {
        let offset = self.at;
        let inner = &self.rest()[opening..opening + length];
        // Within "`...`" the shells disagree about inner double quotes.
        let unclear = quotes == Quotes::Double && opening == 1 && inner.contains(&b'"');
        let command = offset + opening..offset + opening + length;
        self.at = command.end + closing;
        let format = if unclear || self.depth == DEEPEST { None } else { date_format(self.source, command) };
        let Some(format) = format else {
            return self.refused(offset, "command substitution is not read", "write the value itself");
        };
        self.parts.push(Part::Date { format, quoted: quotes == Quotes::Double, offset });
        Ok(())
    }
}

/// Longer than any `date +FORMAT`. Not looked further, since a registry may open one on every line and close none.
const LONGEST_DATE: usize = 500;

/// Where the `)` stands that closes a substitution.
fn closing_parenthesis(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.iter().take(LONGEST_DATE).enumerate() {
        match (quote, byte) {
            (None, b')') => return Some(at),
            (None, b'\'' | b'"') => quote = Some(*byte),
            (Some(open), _) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

/// `Some(None)` for `date`, `Some(Some(FORMAT))` for `date +FORMAT`, `None` for every other command.
fn date_format<'a>(source: &'a Source<'a>, command: Range<usize>) -> Option<Option<Cow<'a, [u8]>>> {
    // As it stands in every stanza.
    if source[command.clone()] == *b"date" {
        return Some(None);
    }
    // As deep as allowed: within it, no expansion is read.
    let mut words =
        Words { end: command.end, depth: DEEPEST, ..Words::new(source, command.start, Vec::new()) };
    let mut next = || {
        words.at += blanks(words.rest());
        let mut parts = words.word().ok()?;
        match parts.pop() {
            None if words.peek().is_none() => Some(None),
            Some(Part::Literal(text)) if parts.is_empty() => Some(Some(text)),
            // An operator, or a variable.
            _ => None,
        }
    };
    if next()?? != &b"date"[..] {
        return None;
    }
    let Some(format) = next()? else { return Some(None) };
    match (format, next()?) {
        (Cow::Borrowed([b'+', format @ ..]), None) => Some(Some(Cow::Borrowed(format))),
        (Cow::Owned(format), None) => Some(Some(Cow::Owned(format.strip_prefix(b"+")?.to_vec()))),
        _ => None,
    }
}

/// The length of the blanks and continued lines that stand at the beginning.
pub(super) fn blanks(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        match &text[length..] {
            [b' ' | b'\t', ..] => length += 1,
            [b'\\', b'\n', ..] => length += 2,
            _ => return length,
        }
    }
}

/// The length of the name that stands at the beginning.
pub(super) fn name_length(text: &[u8]) -> usize {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    match text.first() {
        Some(first) if !first.is_ascii_digit() => text.iter().take_while(|b| is_name(b)).count(),
        _ => 0,
    }
}
