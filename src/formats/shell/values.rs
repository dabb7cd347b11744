//! Words -> values.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::formats::shell::Context;
use crate::formats::shell::syntax::Word;
use crate::formats::shell::words::Part;
use crate::formats::{Refusal, Source};

/// Names that a shell sets itself, or that mean something to bash or to dash only: neither read nor assigned.
const SHELL_NAMES: [&[u8]; 34] = [
    b"BASH",
    b"BASHOPTS",
    b"BASHPID",
    b"COMP_WORDBREAKS",
    b"DIRSTACK",
    b"EPOCHREALTIME",
    b"EPOCHSECONDS",
    b"EUID",
    b"FUNCNAME",
    b"GROUPS",
    b"HISTCMD",
    b"HOSTNAME",
    b"HOSTTYPE",
    b"IFS",
    b"LINENO",
    b"MACHTYPE",
    b"OLDPWD",
    b"OPTARG",
    b"OPTERR",
    b"OPTIND",
    b"OSTYPE",
    b"PIPESTATUS",
    b"POSIXLY_CORRECT",
    b"PPID",
    b"PS1",
    b"PS2",
    b"PS4",
    b"PWD",
    b"RANDOM",
    b"SECONDS",
    b"SHELLOPTS",
    b"SHLVL",
    b"SRANDOM",
    b"UID",
];

/// Names that a shell sets only where the environment does not.
const SHELL_DEFAULTS: [&[u8]; 4] = [b"HOME", b"PATH", b"SHELL", b"TERM"];

fn is_shell_name(name: &[u8]) -> bool {
    name == b"_" || name.starts_with(b"BASH_") || SHELL_NAMES.contains(&name)
}

/// Whether what `date` prints depends on a variable.
fn changes_date(name: &[u8]) -> bool {
    matches!(name, b"PATH" | b"TZ" | b"TZDIR" | b"LANG" | b"LANGUAGE") || name.starts_with(b"LC_")
}

/// What a name is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Assigned above.
    Value(Vec<u8>),
    /// Uncertain since a line that could not be read.
    LostAt {
        /// That line, from 1.
        line: usize,
    },
}

/// The names assigned so far, over the environment.
pub struct Scope<'a> {
    source: &'a Source<'a>,
    context: &'a Context<'a>,
    names: BTreeMap<Vec<u8>, Known>,
    /// The line since which a name that was never assigned is uncertain, too.
    lost_at: Option<usize>,
    /// How many bytes the values of names may still put into other values.
    left: Cell<usize>,
    /// The format of the last date, and what it prints: in a registry the same one stands in every stanza.
    last_date: RefCell<Option<(Vec<u8>, Vec<u8>)>>,
}

/// How many bytes the values of names may put into others, beyond the file's own size: doubled in every line, a value would
/// fill the memory of any host after some forty lines.
const EXPANDED: usize = 1 << 20;

impl<'a> Scope<'a> {
    /// Nothing is assigned yet.
    pub fn new(source: &'a Source<'a>, context: &'a Context<'a>) -> Scope<'a> {
        Scope {
            source,
            context,
            names: BTreeMap::new(),
            lost_at: None,
            left: Cell::new(EXPANDED + source.len()),
            last_date: RefCell::new(None),
        }
    }

    /// Assigns a name. Fails for a name that belongs to the shell.
    pub fn assign(&mut self, name: &[u8], value: Vec<u8>, offset: usize) -> Result<(), Refusal> {
        if is_shell_name(name) {
            return Err(self.shell_name(name, offset));
        }
        self.names.insert(name.to_vec(), Known::Value(value));
        Ok(())
    }

    /// Forgets every name but one: a line that could not be read may have assigned them.
    pub fn lose_all_but(&mut self, kept: &[u8], line: usize) {
        self.lost_at = Some(line);
        // A name that is not there is uncertain, too. What date depends on has to be remembered.
        self.names.retain(|name, known| match &name[..] {
            name if name == kept => true,
            name if changes_date(name) => {
                *known = Known::LostAt { line };
                true
            }
            _ => false,
        });
    }

    /// Forgets one name.
    pub fn lose(&mut self, name: &[u8], line: usize) {
        self.names.insert(name.to_vec(), Known::LostAt { line });
    }

    fn shell_name(&self, name: &[u8], offset: usize) -> Refusal {
        let name = String::from_utf8_lossy(name);
        self.source.refusal(offset, format!("{name} belongs to the shell"), "use another name")
    }

    fn lost(&self, name: &[u8], line: usize, offset: usize) -> Refusal {
        let what = format!("the value of {} is uncertain since line {line}", String::from_utf8_lossy(name));
        self.source.refusal(offset, what, format!("correct line {line}")).that_follows()
    }

    fn lookup(&self, name: &[u8], offset: usize) -> Result<Vec<u8>, Refusal> {
        match self.names.get(name) {
            Some(Known::Value(value)) => Ok(value.clone()),
            Some(Known::LostAt { line }) => Err(self.lost(name, *line, offset)),
            None if is_shell_name(name) => Err(self.shell_name(name, offset)),
            None if self.lost_at.is_some() => Err(self.lost(name, self.lost_at.unwrap_or(1), offset)),
            None => match (self.context.environment)(name) {
                None if SHELL_DEFAULTS.contains(&name) => Err(self.shell_name(name, offset)),
                value => Ok(value.unwrap_or_default()),
            },
        }
    }

    /// A word's value where a shell does not split it: in an assignment.
    pub fn value(&self, word: &Word) -> Result<Vec<u8>, Refusal> {
        self.value_of_parts(&word.parts)
    }

    /// A word's value where some shells split what others do not: an argument of `export`, or behind `>>`.
    pub fn unsplit(&self, word: &Word) -> Result<Vec<u8>, Refusal> {
        for part in &word.parts {
            let (Part::Variable { quoted: false, offset, .. } | Part::Date { quoted: false, offset, .. }) =
                part
            else {
                continue;
            };
            let value = self.value_of_parts(std::slice::from_ref(part))?;
            if !value.is_empty() && !is_one_word(&value) {
                let what = "some shells split or expand this value, others do not";
                return Err(self.source.refusal(*offset, what, "put it in double quotes"));
            }
        }
        self.value(word)
    }

    fn value_of_parts(&self, parts: &[Part]) -> Result<Vec<u8>, Refusal> {
        let mut value = Vec::new();
        for part in parts {
            match part {
                Part::Literal(bytes) => value.extend_from_slice(bytes),
                Part::Variable { name, default, offset, .. } => {
                    value.extend(self.variable(name, default.as_deref(), *offset)?);
                }
                Part::Date { format, offset, .. } => value.extend(self.date(format.as_deref(), *offset)?),
            }
        }
        Ok(value)
    }

    fn variable(&self, name: &[u8], default: Option<&[Part]>, offset: usize) -> Result<Vec<u8>, Refusal> {
        let value = self.lookup(name, offset)?;
        let Some(left) = self.left.get().checked_sub(value.len()) else {
            let what = "the values of names have become too large";
            return Err(self.source.refusal(offset, what, "write the value itself"));
        };
        self.left.set(left);
        match default {
            Some(parts) if value.is_empty() => self.value_of_parts(parts),
            _ => Ok(value),
        }
    }

    fn date(&self, format: Option<&[u8]>, offset: usize) -> Result<Vec<u8>, Refusal> {
        if let Some(name) = self.names.keys().find(|name| changes_date(name)) {
            let what = format!("date depends on {}, which is set above", String::from_utf8_lossy(name));
            return Err(self.source.refusal(offset, what, "write the value itself"));
        }
        let format = format.unwrap_or(DATE);
        if let Some((of, text)) = &*self.last_date.borrow()
            && of == format
        {
            return Ok(text.clone());
        }
        let mut text = self.context.now.format(format).map_err(|unknown| {
            let what = format!("date's {} is not known here", String::from_utf8_lossy(&unknown.0));
            self.source.refusal(offset, what, "use another conversion")
        })?;
        // A command substitution loses the newlines at its end.
        while text.last() == Some(&b'\n') {
            text.pop();
        }
        *self.last_date.borrow_mut() = Some((format.to_vec(), text.clone()));
        Ok(text)
    }

    /// A word as an argument that is one word whatever its variables hold; its `date`s stay, to be shown later.
    pub fn argument(&self, word: &Word) -> Result<Vec<Part>, Refusal> {
        let mut parts = Vec::new();
        for part in &word.parts {
            parts.push(match part {
                Part::Variable { name, default, quoted, offset } => {
                    let value = self.variable(name, default.as_deref(), *offset)?;
                    if !quoted && !is_one_word(&value) {
                        let name = String::from_utf8_lossy(name);
                        let what =
                            format!("the value of {name} is empty, or a shell would split or expand it");
                        return Err(self.source.refusal(*offset, what, format!("write \"${name}\"")));
                    }
                    Part::Literal(value)
                }
                Part::Date { format, offset, quoted } => {
                    let text = self.date(format.as_deref(), *offset)?;
                    if !quoted && text.iter().any(|b| b"*?[".contains(b)) {
                        let what = "a shell would expand what this date prints";
                        return Err(self.source.refusal(*offset, what, "put it in double quotes"));
                    }
                    part.clone()
                }
                Part::Literal(_) => part.clone(),
            });
        }
        Ok(parts)
    }
}

/// What `date` prints without a format, in the C locale.
pub const DATE: &[u8] = b"%a %b %e %H:%M:%S %Z %Y";

/// Whether an unquoted value is exactly one word.
fn is_one_word(value: &[u8]) -> bool {
    !value.is_empty() && !value.iter().any(|b| b" \t\n*?[".contains(b))
}
