//! What a line that is not read opens and closes: enough to know where it ends, and whether the lines behind it run.
//!
//! The registry goes on behind a line that it cannot read. Behind an `if`, a `{` or a here-document, what follows may be
//! switched off, as operators do it by hand, until the block is closed again.

/// The blocks that are open, by the word that closes each.
#[derive(Debug, Default)]
pub struct Blocks {
    open: Vec<&'static [u8]>,
    ended: bool,
}

impl Blocks {
    /// Whether a shell may pass by the commands that stand here.
    pub fn are_open(&self) -> bool {
        self.ended || !self.open.is_empty()
    }

    /// Reads what could not be read as a command, from the beginning of that command. Returns where the next one begins:
    /// behind the line, its continuation lines and its here-documents.
    pub fn read(&mut self, source: &[u8], from: usize) -> usize {
        let mut skim = Skim {
            source,
            at: from,
            blocks: self,
            here: Vec::new(),
            starts: true,
            joins: false,
            plain: true,
        };
        skim.line();
        skim.skip_here_documents();
        skim.at
    }

    fn word(&mut self, word: &[u8]) -> After {
        let closing: &[u8] = match word {
            b"if" => b"fi",
            b"case" => b"esac",
            b"for" | b"while" | b"until" | b"select" => b"done",
            b"{" => b"}",
            b"fi" | b"esac" | b"done" | b"}" => {
                if self.open.last() == Some(&word) {
                    self.open.pop();
                }
                return After::Arguments;
            }
            b"then" | b"do" | b"else" | b"elif" | b"!" | b"time" => return After::Command,
            _ => return After::Arguments,
        };
        self.open.push(closing);
        if word == b"{" || closing == b"fi" || matches!(word, b"while" | b"until") {
            After::Command
        } else {
            After::Arguments
        }
    }
}

/// What can stand behind a word.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Command,
    Arguments,
}

struct Skim<'a> {
    source: &'a [u8],
    at: usize,
    blocks: &'a mut Blocks,
    /// The here-documents of the line: how each ends, and whether tabs may stand before that.
    here: Vec<(Vec<u8>, bool)>,
    /// Whether the next word is a command's first.
    starts: bool,
    /// Whether the line ends in `&&`, `||` or `|`, and so goes on.
    joins: bool,
    /// Whether nothing but this command decides that it runs.
    plain: bool,
}

impl Skim<'_> {
    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn line(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' if self.joins => self.at += 1,
                b'\n' => {
                    self.at += 1;
                    return;
                }
                b' ' | b'\t' => self.at += 1,
                b'\\' if self.source.get(self.at + 1) == Some(&b'\n') => self.at += 2,
                b'#' => self.at += self.rest().iter().position(|b| *b == b'\n').unwrap_or(self.rest().len()),
                b'<' | b'>' => self.redirection(),
                b';' | b'&' | b'|' | b'(' | b')' => self.operator(byte),
                _ => self.word(),
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.source[self.at..]
    }

    fn operator(&mut self, byte: u8) {
        self.joins = byte == b'|' || self.rest().starts_with(b"&&");
        self.plain &= byte == b';';
        self.starts = true;
        match byte {
            b'(' => self.blocks.open.push(b")"),
            b')' if self.blocks.open.last() == Some(&&b")"[..]) => drop(self.blocks.open.pop()),
            _ => {}
        }
        self.at += if self.rest().starts_with(b"&&") || self.rest().starts_with(b"||") { 2 } else { 1 };
    }

    fn redirection(&mut self) {
        let is_here_document = self.rest().starts_with(b"<<") && !self.rest().starts_with(b"<<<");
        self.at += self.rest().iter().take_while(|b| matches!(b, b'<' | b'>' | b'&')).count();
        if !is_here_document {
            return;
        }
        let tabs = self.peek() == Some(b'-');
        self.at += usize::from(tabs);
        self.at += self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let start = self.at;
        self.pass_word();
        let delimiter = self.source[start..self.at].iter().filter(|b| !matches!(b, b'\'' | b'"' | b'\\'));
        self.here.push((delimiter.copied().collect(), tabs));
    }

    fn word(&mut self) {
        let start = self.at;
        self.pass_word();
        let word = &self.source[start..self.at];
        self.joins = false;
        if !self.starts {
            return;
        }
        if matches!(word, b"exit" | b"return") && self.plain && self.blocks.open.is_empty() {
            self.blocks.ended = true;
        }
        self.starts = self.blocks.word(word) == After::Command;
    }

    /// Goes on behind a word; behind everything, where a quote in it is never closed.
    fn pass_word(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => return,
                b'\\' => self.at += 2,
                b'\'' | b'"' | b'`' => self.quoted(byte),
                _ => self.at += 1,
            }
        }
        self.at = self.source.len();
    }

    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' && quote != b'\'' { 2 } else { 1 };
            if byte == quote {
                return;
            }
        }
        self.at = self.source.len();
    }

    fn skip_here_documents(&mut self) {
        for (delimiter, tabs) in std::mem::take(&mut self.here) {
            while self.at < self.source.len() {
                let length = self.rest().iter().position(|b| *b == b'\n').unwrap_or(self.rest().len());
                let mut line = &self.source[self.at..self.at + length];
                while let ([b'\t', rest @ ..], true) = (line, tabs) {
                    line = rest;
                }
                let ends = line == delimiter;
                self.at = (self.at + length + 1).min(self.source.len());
                if ends {
                    break;
                }
            }
        }
    }
}
