//! env.sh: the settings of a deploy directory, a member or a member list. Read, never executed (defect 8).

use std::collections::BTreeSet;
use std::ops::Range;

use crate::formats::shell::Context;
use crate::formats::shell::syntax::{Command, Commands, Word, first_unreadable_byte};
use crate::formats::shell::values::Scope;
use crate::formats::{Refusal, Source};

/// One assignment, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: Vec<u8>,
    value: Vec<u8>,
    /// Where the value is written.
    span: Range<usize>,
    /// The names that the value is made from.
    reads: Vec<Vec<u8>>,
}

/// An env.sh that a shell reads the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvSh {
    source: Vec<u8>,
    settings: Vec<Setting>,
    /// The names that stand behind `export`.
    exports: BTreeSet<Vec<u8>>,
}

impl EnvSh {
    /// Reads a file. Fails at the first thing that is not read here (contract section 2, "env.sh").
    pub fn parse(source: &[u8], context: &Context) -> Result<EnvSh, Refusal> {
        if let Some(refusal) = first_unreadable_byte(source) {
            return Err(refusal);
        }
        let source = &Source::new(source);
        let mut scope = Scope::new(source, context);
        let mut settings = Vec::new();
        let mut exports = BTreeSet::new();
        let mut commands = Commands::new(source);
        while let Some(command) = commands.next_command()? {
            check_assigns_only(source, &command)?;
            // A shell has all arguments of export before it sets the first: `export a=1 b=$a` takes the old a.
            let exports_names = !command.words.is_empty();
            let mut exported = Vec::new();
            if exports_names {
                exports.extend(command.words[1..].iter().filter_map(Word::literal).map(<[u8]>::to_vec));
            }
            for assignment in &command.assignments {
                let value = if exports_names {
                    scope.unsplit(&assignment.value)?
                } else {
                    let value = scope.value(&assignment.value)?;
                    scope.assign(assignment.name, value.clone(), assignment.offset)?;
                    value
                };
                if exports_names {
                    exported.push((assignment, value.clone()));
                }
                let span = assignment.value.span.clone();
                let reads = assignment.value.names().into_iter().map(<[u8]>::to_vec).collect();
                if exports_names {
                    exports.insert(assignment.name.to_vec());
                }
                settings.push(Setting {
                    name: assignment.name.to_vec(),
                    value: value.into_owned(),
                    span,
                    reads,
                });
            }
            for (assignment, value) in exported {
                scope.assign(assignment.name, value, assignment.offset)?;
            }
        }
        Ok(EnvSh { source: source.to_vec(), settings, exports })
    }

    fn last(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| setting.name == name.as_bytes())
    }

    /// The value that a name has after the whole file; `None` where the file does not assign it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.last(name).map(|setting| &setting.value[..])
    }

    /// The names that the file assigns.
    pub fn names(&self) -> BTreeSet<&[u8]> {
        self.settings.iter().map(|setting| &setting.name[..]).collect()
    }

    /// The names and values that a shell which sourced this file hands on to the programs that it starts: what it exports,
    /// and what comes from the environment with its new value.
    pub fn exported(&self, context: &Context) -> Vec<(&[u8], &[u8])> {
        let is_exported = |name: &[u8]| self.exports.contains(name) || (context.environment)(name).is_some();
        let value = |name: &[u8]| self.settings.iter().rev().find(|setting| setting.name == name);
        let exported = self.names().into_iter().filter(|name| is_exported(name));
        exported.filter_map(|name| Some((name, &value(name)?.value[..]))).collect()
    }

    /// The line, from 1, on which a name gets its value.
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.last(name).map(|setting| Source::new(&self.source).line_of(setting.span.start))
    }

    /// The words of a value that is a list, as `members` is: separated by commas, blanks or newlines.
    pub fn words(&self, name: &str) -> Vec<&[u8]> {
        let value = self.get(name).unwrap_or_default();
        value.split(|b| *b == b',' || b.is_ascii_whitespace()).filter(|word| !word.is_empty()).collect()
    }

    /// Gives a name a value: in place of its last value, otherwise on a line at the end. It goes to the end, too, where
    /// a value below is made from the old one and would change with it. Every other byte stays.
    ///
    /// The value is text: without control bytes and Windows line ends, which no env.sh can hold.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let written = quoted(value);
        let place = self.settings.iter().rposition(|setting| setting.name == name.as_bytes());
        let is_read_below = |place: usize| {
            let mut below = self.settings[place + 1..].iter();
            below.any(|setting| setting.reads.iter().any(|read| read == name.as_bytes()))
        };
        let Some(place) = place.filter(|place| !is_read_below(*place)) else {
            self.append(name, value, &written);
            return;
        };
        let span = self.settings[place].span.clone();
        let after = self.source.split_off(span.end);
        self.source.truncate(span.start);
        self.source.extend_from_slice(&written);
        self.source.extend_from_slice(&after);
        let new_end = span.start + written.len();
        self.settings[place].value = value.to_vec();
        self.settings[place].span.end = new_end;
        self.settings[place].reads.clear();
        for later in &mut self.settings[place + 1..] {
            later.span = later.span.start - span.end + new_end..later.span.end - span.end + new_end;
        }
    }

    fn append(&mut self, name: &str, value: &[u8], written: &[u8]) {
        // Behind a \ the new line would continue the last one.
        if self.source.last().is_some_and(|last| *last != b'\n') || self.source.ends_with(b"\\\n") {
            self.source.push(b'\n');
        }
        self.source.extend_from_slice(name.as_bytes());
        self.source.push(b'=');
        let start = self.source.len();
        self.source.extend_from_slice(written);
        let span = start..self.source.len();
        self.source.push(b'\n');
        self.settings.push(Setting {
            name: name.as_bytes().to_vec(),
            value: value.to_vec(),
            span,
            reads: Vec::new(),
        });
    }

    /// The file, byte for byte.
    pub fn render(&self) -> &[u8] {
        &self.source
    }
}

/// A value in double quotes.
fn quoted(value: &[u8]) -> Vec<u8> {
    let mut written = vec![b'"'];
    for byte in value {
        if b"$`\"\\".contains(byte) {
            written.push(b'\\');
        }
        written.push(*byte);
    }
    written.push(b'"');
    written
}

/// Refuses a command that is anything but assignments.
fn check_assigns_only(source: &Source, command: &Command) -> Result<(), Refusal> {
    let refused = |at: usize, what: String, instead: &str| Err(source.refusal(at, what, instead));
    if let Some(file) = &command.append_to {
        return refused(file.span.start, "a redirection is not read".to_owned(), "remove it");
    }
    let Some(first) = command.words.first() else { return Ok(()) };
    let text = |word: &Word| String::from_utf8_lossy(&source[word.span.clone()]).into_owned();
    if source[first.span.clone()] == *b"export"
        && command.assignments.iter().all(|a| a.offset > first.span.start)
    {
        return check_export(source, command);
    }
    if let Some(assignment) = command.assignments.first() {
        let (word, name) = (text(first), String::from_utf8_lossy(assignment.name));
        let what = format!("a shell takes {word} for a command, which leaves {name} unset");
        return refused(first.span.start, what, "put a remark behind #, or quote a value with blanks");
    }
    if command.words.get(1).is_some_and(|word| text(word).starts_with('=')) {
        return refused(
            first.span.start,
            format!("{} = ... is a command to a shell", text(first)),
            "write NAME=value without blanks",
        );
    }
    let word = text(first);
    let what = match word.as_str() {
        "." | "source" => "reading another file is not done here".to_owned(),
        "if" | "for" | "while" | "until" | "case" | "{" | "}" | "!" | "then" | "else" | "elif" | "fi"
        | "do" | "done" | "esac" | "function" => format!("the shell keyword {word} is not read"),
        _ => format!("the command {word} is not run"),
    };
    refused(first.span.start, what, "write plain NAME=value lines")
}

/// `export NAME=value NAME ...`
fn check_export(source: &Source, command: &Command) -> Result<(), Refusal> {
    let is_name = |word: &Word| {
        word.literal().is_some_and(|text| {
            source[word.span.clone()] == *text
                && !text.is_empty()
                && crate::formats::shell::syntax::is_name(text)
        })
    };
    let odd = command.words[1..].iter().find(|word| !is_name(word));
    match odd {
        Some(word) => Err(Refusal::at(
            source,
            word.span.start,
            "this word of export is no NAME",
            "write export NAME=value",
        )),
        None if command.words.len() == 1 && command.assignments.is_empty() => {
            Err(source.refusal(command.offset, "export alone prints the environment", "remove it"))
        }
        None => Ok(()),
    }
}
