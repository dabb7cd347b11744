//! One word: quotes, escapes and expansions -> parts.

use crate::formats::{Refusal, Source};

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Bytes that stand for themselves.
    Literal(Vec<u8>),
    /// `$name`, `${name}` or `${name:-word}`.
    Variable {
        /// The name.
        name: Vec<u8>,
        /// The word after `:-`.
        default: Option<Vec<Part>>,
        /// Whether it stands in double quotes: otherwise blanks in its value separate words.
        quoted: bool,
        /// Where it begins.
        offset: usize,
    },
    /// `` `date` `` or `` `date +FORMAT` ``.
    Date {
        /// What follows the `+`; `None` for the default format.
        format: Option<Vec<u8>>,
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
    parts: Vec<Part>,
    /// How many `${name:-word}` and `$(...)` are open here.
    depth: usize,
}

/// More levels of `${name:-${name:-...}}` than anybody writes, and few enough for every stack.
const DEEPEST: usize = 16;

/// What a byte means where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Double,
}

impl<'a> Words<'a> {
    pub(super) fn new(source: &'a Source<'a>, at: usize) -> Words<'a> {
        Words { source, at, parts: Vec::new(), depth: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The parts of the word that begins here; none where a blank or an operator stands.
    pub(super) fn word(&mut self) -> Result<Vec<Part>, Refusal> {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'<' | b'>' | b'|' | b'&' | b'(' | b')' => break,
                _ => self.unquoted(byte)?,
            }
        }
        Ok(std::mem::take(&mut self.parts))
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.source[self.at..]
    }

    /// Goes on behind blanks and continued lines.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            match self.rest() {
                [b' ' | b'\t', ..] => self.at += 1,
                [b'\\', b'\n', ..] => self.at += 2,
                _ => return,
            }
        }
    }

    fn refused<T>(&self, at: usize, what: &str, instead: &str) -> Result<T, Refusal> {
        Err(self.source.refusal(at, what, instead))
    }

    /// Refuses what would reach to the end of the file, and stands there: a shell reads nothing behind it either.
    fn never_closed<T>(&mut self, at: usize, what: &str, instead: &str) -> Result<T, Refusal> {
        self.at = self.source.len();
        self.refused(at, what, instead)
    }

    fn push(&mut self, byte: u8) {
        match self.parts.last_mut() {
            Some(Part::Literal(bytes)) => bytes.push(byte),
            _ => {
                // As much as most words need, at once.
                let mut bytes = Vec::with_capacity(32);
                bytes.push(byte);
                self.parts.push(Part::Literal(bytes));
            }
        }
        self.at += 1;
    }

    /// A byte that stands for itself, and those behind it that do so everywhere, in quotes and out of them.
    fn push_plain(&mut self, byte: u8) {
        self.push(byte);
        let rest = self.rest();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./=:,+@%".contains(byte);
        let length = rest.iter().take_while(|byte| is_plain(byte)).count();
        if let Some(Part::Literal(bytes)) = self.parts.last_mut() {
            bytes.extend_from_slice(&rest[..length]);
            self.at += length;
        }
    }

    /// Quotes make a word even where nothing stands between them.
    fn push_empty(&mut self) {
        if !matches!(self.parts.last(), Some(Part::Literal(_))) {
            self.parts.push(Part::Literal(Vec::new()));
        }
    }

    fn unquoted(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b'\\' => match self.rest().get(1) {
                Some(b'\n') => self.at += 2,
                Some(escaped) => {
                    self.at += 1;
                    self.push(*escaped);
                }
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
            _ => self.push_plain(byte),
        }
        Ok(())
    }

    /// Whether a shell reads a `~` here as a directory: at the beginning of a word, and behind a `:` or `=` (which of
    /// them depends on the shell, so every one counts, quoted or not).
    fn expands_tilde(&self) -> bool {
        match self.parts.last() {
            None => true,
            Some(Part::Literal(bytes)) => matches!(bytes.last(), Some(b':' | b'=')),
            Some(_) => false,
        }
    }

    fn single_quoted(&mut self) -> Result<(), Refusal> {
        let text = &self.rest()[1..];
        let Some(length) = text.iter().position(|b| *b == b'\'') else {
            return self.never_closed(self.at, "this ' is never closed", "close it");
        };
        self.push_empty();
        self.at += 1;
        for byte in &text[..length] {
            self.push(*byte);
        }
        self.at += 1;
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), Refusal> {
        let opened = self.at;
        self.push_empty();
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
            (b'\\', Some(next)) if escapable.contains(next) => {
                self.at += 1;
                self.push(*next);
            }
            (b'$', _) => self.dollar(Quotes::Double)?,
            (b'`', _) => self.backquoted(Quotes::Double)?,
            _ => self.push_plain(byte),
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
                    self.push(b'$');
                    return Ok(());
                }
                let name = self.rest()[1..=length].to_vec();
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
        let name = self.rest()[2..2 + length].to_vec();
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
    fn default_word(&mut self, quotes: Quotes, opened: usize) -> Result<Vec<Part>, Refusal> {
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
        match text.iter().position(|b| *b == b'`') {
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
        self.at += opening + length + closing;
        let format = if unclear || self.depth == DEEPEST { None } else { date_format(inner) };
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
fn date_format(command: &[u8]) -> Option<Option<Vec<u8>>> {
    // As deep as allowed: within it, no expansion is read.
    let source = Source::new(command);
    let mut words = Words { depth: DEEPEST, ..Words::new(&source, 0) };
    let mut read = Vec::new();
    loop {
        words.skip_blanks();
        let parts = words.word().ok()?;
        match &parts[..] {
            [] if words.peek().is_none() => break,
            [Part::Literal(text)] => read.push(text.clone()),
            // An operator, or a variable.
            _ => return None,
        }
    }
    match &read[..] {
        [program] if program == b"date" => Some(None),
        [program, format] if program == b"date" => Some(Some(format.strip_prefix(b"+")?.to_vec())),
        _ => None,
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
