//! Bytes -> commands: `NAME=word ... word ... >> word`.

use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::formats::shell::words::{Part, Words, blanks, name_length};
use crate::formats::{Refusal, Source};

/// A word: what stands between blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// Its pieces.
    pub parts: Vec<Part<'a>>,
    /// Where it is.
    pub span: Range<usize>,
}

impl<'a> Word<'a> {
    /// The word's text, if it is all literal.
    pub fn literal(&self) -> Option<&[u8]> {
        match &self.parts[..] {
            [] => Some(b""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The names whose values it is made from.
    pub fn names(&self) -> Vec<&'a [u8]> {
        let mut names = Vec::new();
        collect_names(&self.parts, &mut names);
        names
    }
}

fn collect_names<'a>(parts: &[Part<'a>], names: &mut Vec<&'a [u8]>) {
    for part in parts {
        if let Part::Variable { name, default, .. } = part {
            names.push(name);
            collect_names(default.as_deref().unwrap_or_default(), names);
        }
    }
}

/// `NAME=word`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value; its span begins behind the `=`.
    pub value: Word<'a>,
    /// Where the name begins.
    pub offset: usize,
}

/// One simple command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command<'a> {
    /// Assignments before the first word, and those among the words of `export`.
    pub assignments: Vec<Assignment<'a>>,
    /// The words, the program's name first.
    pub words: Vec<Word<'a>>,
    /// `>> word`.
    pub append_to: Option<Word<'a>>,
    /// Where it begins.
    pub offset: usize,
}

impl Command<'_> {
    /// The first word, if it is literal.
    pub fn program(&self) -> Option<&[u8]> {
        self.words.first().and_then(Word::literal)
    }
}

/// What cannot be in a file that this reader takes, wherever it stands: Windows line ends and NUL bytes.
pub fn first_unreadable_byte(source: &[u8]) -> Option<Refusal> {
    if source.starts_with(b"\xEF\xBB\xBF") {
        let what = "the file begins with an invisible byte order mark, as some editors write it";
        return Some(Refusal::at(source, 0, what, "save it as UTF-8 without one"));
    }
    // A registry of thousands of stanzas has neither, as a rule.
    memchr2(b'\r', 0, source)?;
    let carriage_return =
        |(at, byte): (usize, &u8)| *byte == b'\r' && matches!(source.get(at + 1), Some(b'\n') | None);
    if let Some(at) = source.iter().enumerate().position(carriage_return) {
        let instead = "convert the file with: sed -i 's/\\r$//' FILE";
        return Some(Refusal::at(source, at, "the line ends in CR LF, as Windows writes it", instead));
    }
    let nul = source.iter().position(|byte| *byte == 0)?;
    Some(Refusal::at(source, nul, "a NUL byte is not text", "remove it"))
}

/// bash marks quoted text with these two bytes, and loses some that a file holds.
fn first_control(text: &[u8]) -> Option<usize> {
    memchr2(0x01, 0x7F, text)
}

/// Reads the commands of a file one after the other.
#[derive(Debug)]
pub struct Commands<'a> {
    source: &'a Source<'a>,
    at: usize,
    begun: usize,
    /// Whether any byte of the file is one of the two that [`Commands::word`] refuses.
    has_control: bool,
    /// Memory for the next command, and for the parts of its words.
    spare: Command<'a>,
    spare_parts: Vec<Vec<Part<'a>>>,
}

impl<'a> Commands<'a> {
    /// Starts at the beginning of a file.
    pub fn new(source: &'a Source<'a>) -> Commands<'a> {
        Commands {
            source,
            at: 0,
            begun: 0,
            has_control: first_control(source).is_some(),
            spare: Command::default(),
            spare_parts: Vec::new(),
        }
    }

    /// The next command; `None` at the end of the file. After a refusal the reader stands where it could not go on.
    pub fn next_command(&mut self) -> Result<Option<Command<'a>>, Refusal> {
        self.skip_blank_lines();
        self.begun = self.at;
        if self.at == self.source.len() {
            return Ok(None);
        }
        let mut command = Command { offset: self.at, ..std::mem::take(&mut self.spare) };
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n') => break,
                Some(b'#') => {
                    self.skip_comment();
                    break;
                }
                Some(b';') => {
                    self.separator(&command)?;
                    break;
                }
                Some(b'>') => self.redirection(&mut command)?,
                Some(b'<' | b'|' | b'&' | b'(' | b')') => return Err(self.operator()),
                Some(_) => self.word_or_assignment(&mut command)?,
            }
        }
        Ok(Some(command))
    }

    /// Takes back the memory of a command that is done with: a registry has five commands a stanza.
    pub fn recycle(&mut self, command: Command<'a>) {
        let Command { mut assignments, mut words, append_to, .. } = command;
        let values = assignments.drain(..).map(|assignment| assignment.value);
        for Word { mut parts, .. } in words.drain(..).chain(values).chain(append_to) {
            parts.clear();
            self.spare_parts.push(parts);
        }
        self.spare = Command { assignments, words, ..Command::default() };
    }

    /// Whether nothing is left to be read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.source.len()
    }

    /// Where the command begins that was read last, or could not be read.
    pub fn command_offset(&self) -> usize {
        self.begun
    }

    /// Goes on elsewhere in the file, behind what could not be read.
    pub fn go_on_at(&mut self, offset: usize) {
        self.at = offset.min(self.source.len());
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.source[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at += blanks(self.rest());
    }

    fn skip_comment(&mut self) {
        self.at += memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
    }

    fn skip_blank_lines(&mut self) {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn separator(&mut self, command: &Command) -> Result<(), Refusal> {
        let is_empty =
            command.words.is_empty() && command.assignments.is_empty() && command.append_to.is_none();
        if is_empty || self.rest().starts_with(b";;") {
            return Err(self.source.refusal(self.at, "there is no command before this ;", "remove it"));
        }
        self.at += 1;
        Ok(())
    }

    fn operator(&self) -> Refusal {
        let (what, instead) = match self.rest() {
            [b'<', b'<', ..] => ("a here-document is not read", "write a quoted value of several lines"),
            [b'<', ..] => ("a redirection is not read", "remove it"),
            [b'|', ..] => ("a pipe or || is not read", "write the value itself"),
            [b'&', ..] => ("a background command or && is not read", "write one assignment a line"),
            [b'(', ..] => ("a subshell, function or array is not read", "write plain NAME=value lines"),
            _ => ("an unquoted ) is not read", "quote the value"),
        };
        self.source.refusal(self.at, what, instead)
    }

    /// `>> word`; every other redirection is refused.
    fn redirection(&mut self, command: &mut Command<'a>) -> Result<(), Refusal> {
        let offset = self.at;
        let refused = |what: &str| Err(self.source.refusal(offset, what, "append with >> FILE, once"));
        if !self.rest().starts_with(b">>") {
            return refused("this redirection is not read");
        }
        if command.append_to.is_some() {
            return refused("a second redirection is not read");
        }
        self.at += 2;
        self.skip_blanks();
        let word = self.word()?;
        if word.span.is_empty() {
            return Err(self.source.refusal(offset, "the file name of >> is missing", "write it"));
        }
        command.append_to = Some(word);
        Ok(())
    }

    fn word_or_assignment(&mut self, command: &mut Command<'a>) -> Result<(), Refusal> {
        // `2>&1` changes nothing in what is read here.
        if let [b'2', b'>', b'&', b'1', rest @ ..] = self.rest()
            && matches!(rest, [] | [b' ' | b'\t' | b'\n' | b';', ..])
        {
            self.at += 4;
            return Ok(());
        }
        let exports = command.program() == Some(b"export");
        if (command.words.is_empty() || exports)
            && let Some(name_length) = self.assigned_name()?
        {
            let offset = self.at;
            let name = &self.rest()[..name_length];
            self.at += name_length + 1;
            let value = self.word()?;
            command.assignments.push(Assignment { name, value, offset });
            return Ok(());
        }
        let word = self.word()?;
        self.check_no_descriptor(&word)?;
        command.words.push(word);
        Ok(())
    }

    /// Refuses digits in front of a redirection: they are no word but a file descriptor, of one digit in sh and of any
    /// number in bash.
    fn check_no_descriptor(&self, word: &Word) -> Result<(), Refusal> {
        let is_redirected = matches!(self.peek(), Some(b'<' | b'>'));
        let is_number = word.literal().is_some_and(|text| text.iter().all(u8::is_ascii_digit));
        if is_redirected && is_number {
            let what = "a redirection of a file descriptor is not read";
            return Err(self.source.refusal(word.span.start, what, "append with >> FILE, once"));
        }
        Ok(())
    }

    /// The length of `NAME` if `NAME=` stands here.
    fn assigned_name(&self) -> Result<Option<usize>, Refusal> {
        let rest = self.rest();
        let length = name_length(rest);
        if length == 0 {
            return Ok(None);
        }
        let refused = |what, instead| Err(self.source.refusal(self.at, what, instead));
        match &rest[length..] {
            [b'=', b'(', ..] => refused("an array is not read", "write one quoted value: NAME=\"a b c\""),
            [b'=', ..] => Ok(Some(length)),
            [b'+', b'=', ..] => {
                refused("+= is not read (sh takes it for a command)", "write the whole value")
            }
            [b'[', ..] => refused("an array element is not read", "write plain NAME=value lines"),
            _ => Ok(None),
        }
    }

    fn word(&mut self) -> Result<Word<'a>, Refusal> {
        let start = self.at;
        let mut words = Words::new(self.source, start, self.spare_parts.pop().unwrap_or_default());
        let read = words.word();
        self.at = words.offset();
        let word = Word { parts: read?, span: start..self.at };
        let control = if self.has_control { first_control(&self.source[word.span.clone()]) } else { None };
        match control {
            Some(at) => {
                let what = "a control byte (01 or 7F) is read differently by bash and sh";
                Err(self.source.refusal(start + at, what, "remove it"))
            }
            None => Ok(word),
        }
    }
}

/// Whether a text is a name, and nothing else.
pub fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && name_length(text) == text.len()
}
