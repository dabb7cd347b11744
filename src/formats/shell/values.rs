//! Words -> values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::formats::shell::Context;
use crate::formats::shell::syntax::Word;
use crate::formats::shell::words::{ByteSet, Part};
use crate::formats::{Refusal, Source};
use crate::time::Dates;

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
pub enum Known<'a> {
    /// Assigned above.
    Value(Cow<'a, [u8]>),
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
    names: BTreeMap<&'a [u8], Known<'a>>,
    /// The line since which a name that was never assigned is uncertain, too.
    lost_at: Option<usize>,
    /// How many bytes the values of names may still put into other values.
    left: Cell<usize>,
    dates: RefCell<Dates>,
}

/// A piece of an argument: its variables have their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text.
    Text(Cow<'a, [u8]>),
    /// `` `date` `` or `` `date +FORMAT` ``.
    Date {
        /// What follows the `+`; `None` for the default format.
        format: Option<Cow<'a, [u8]>>,
        /// Whether it stands in double quotes.
        quoted: bool,
    },
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
            dates: RefCell::default(),
        }
    }

    /// Assigns a name. Fails for a name that belongs to the shell.
    pub fn assign(&mut self, name: &'a [u8], value: Cow<'a, [u8]>, offset: usize) -> Result<(), Refusal> {
        if is_shell_name(name) {
            return Err(self.shell_name(name, offset));
        }
        self.names.insert(name, Known::Value(value));
        Ok(())
    }

    /// Forgets every name but one: a line that could not be read may have assigned them.
    pub fn lose_all_but(&mut self, kept: &[u8], line: usize) {
        self.lost_at = Some(line);
        // A name that is not there is uncertain, too. What date depends on has to be remembered.
        self.names.retain(|name, known| match *name {
            name if name == kept => true,
            name if changes_date(name) => {
                *known = Known::LostAt { line };
                true
            }
            _ => false,
        });
    }

    /// Forgets one name.
    pub fn lose(&mut self, name: &'a [u8], line: usize) {
        self.names.insert(name, Known::LostAt { line });
    }

    fn shell_name(&self, name: &[u8], offset: usize) -> Refusal {
        let name = String::from_utf8_lossy(name);
        self.source.refusal(offset, format!("{name} belongs to the shell"), "use another name")
    }

    fn lost(&self, name: &[u8], line: usize, offset: usize) -> Refusal {
        let what = format!("the value of {} is uncertain since line {line}", String::from_utf8_lossy(name));
        self.source.refusal(offset, what, format!("correct line {line}")).that_follows()
    }

    fn lookup(&self, name: &[u8], offset: usize) -> Result<Cow<'a, [u8]>, Refusal> {
        match self.names.get(name) {
            Some(Known::Value(value)) => Ok(value.clone()),
            Some(Known::LostAt { line }) => Err(self.lost(name, *line, offset)),
            None if is_shell_name(name) => Err(self.shell_name(name, offset)),
            None if self.lost_at.is_some() => Err(self.lost(name, self.lost_at.unwrap_or(1), offset)),
            None => match (self.context.environment)(name) {
                None if SHELL_DEFAULTS.contains(&name) => Err(self.shell_name(name, offset)),
                value => Ok(value.unwrap_or_default().into()),
            },
        }
    }

    /// A word's value where a shell does not split it: in an assignment.
    pub fn value(&self, word: &Word<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        self.value_of_parts(&word.parts)
    }

    /// The value of an argument that is one word for every shell.
    pub fn fixed(&self, word: &Word<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        let mut has_date = false;
        let text = joined(&word.parts, |part| match self.piece(part)? {
            Piece::Text(text) => Ok(text),
            Piece::Date { .. } => {
                has_date = true;
                Ok(Cow::Borrowed(b""))
            }
        })?;
        if has_date { self.unsplit(word) } else { Ok(text) }
    }

    /// A word's value where some shells split what others do not: an argument of `export`, or behind `>>`.
    pub fn unsplit(&self, word: &Word<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        if let [part] = &word.parts[..] {
            return self.unsplit_value(part);
        }
        // What is wrong with an unquoted part is said before what is with a quoted one.
        for part in &word.parts {
            if let Part::Variable { quoted: false, .. } | Part::Date { quoted: false, .. } = part {
                self.unsplit_value(part)?;
            }
        }
        self.value(word)
    }

    fn unsplit_value(&self, part: &Part<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        let value = self.value_of(part)?;
        match part {
            Part::Variable { quoted: false, offset, .. } | Part::Date { quoted: false, offset, .. }
                if !value.is_empty() && !is_one_word(&value) =>
            {
                let what = "some shells split or expand this value, others do not";
                Err(self.source.refusal(*offset, what, "put it in double quotes"))
            }
            _ => Ok(value),
        }
    }

    fn value_of_parts(&self, parts: &[Part<'a>]) -> Result<Cow<'a, [u8]>, Refusal> {
        joined(parts, |part| self.value_of(part))
    }

    fn value_of(&self, part: &Part<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        match part {
            Part::Literal(text) => Ok(text.clone()),
            Part::Variable { name, default, offset, .. } => self.variable(name, default.as_deref(), *offset),
            Part::Date { format, offset, .. } => Ok(self.date(format.as_deref(), *offset)?.to_vec().into()),
        }
    }

    fn variable(
        &self,
        name: &[u8],
        default: Option<&[Part<'a>]>,
        offset: usize,
    ) -> Result<Cow<'a, [u8]>, Refusal> {
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

    fn date(&self, format: Option<&[u8]>, offset: usize) -> Result<Rc<[u8]>, Refusal> {
        if let Some(name) = self.names.keys().find(|name| changes_date(name)) {
            let what = format!("date depends on {}, which is set above", String::from_utf8_lossy(name));
            return Err(self.source.refusal(offset, what, "write the value itself"));
        }
        let date = self.dates.borrow_mut().text(self.context.now, format.unwrap_or(DATE));
        date.map_err(|unknown| {
            let what = format!("date's {} is not known here", String::from_utf8_lossy(&unknown.0));
            self.source.refusal(offset, what, "use another conversion")
        })
    }

    /// A word as an argument that is one word whatever its variables hold; its `date`s stay, to be shown later.
    pub fn argument(&self, word: &Word<'a>) -> Result<Vec<Piece<'a>>, Refusal> {
        let mut pieces = Vec::with_capacity(word.parts.len());
        for part in &word.parts {
            pieces.push(self.piece(part)?);
        }
        Ok(pieces)
    }

    fn piece(&self, part: &Part<'a>) -> Result<Piece<'a>, Refusal> {
        match part {
            Part::Literal(text) => Ok(Piece::Text(text.clone())),
            Part::Variable { name, default, quoted, offset } => {
                let value = self.variable(name, default.as_deref(), *offset)?;
                if !quoted && !is_one_word(&value) {
                    let name = String::from_utf8_lossy(name);
                    let what = format!("the value of {name} is empty, or a shell would split or expand it");
                    return Err(self.source.refusal(*offset, what, format!("write \"${name}\"")));
                }
                Ok(Piece::Text(value))
            }
            Part::Date { format, offset, quoted } => {
                let text = self.date(format.as_deref(), *offset)?;
                if !quoted && PATTERN.first_in(&text).is_some() {
                    let what = "a shell would expand what this date prints";
                    return Err(self.source.refusal(*offset, what, "put it in double quotes"));
                }
                Ok(Piece::Date { format: format.clone(), quoted: *quoted })
            }
        }
    }
}

/// What the parts of a word come to, in one piece: of a single one its own bytes.
fn joined<'a>(
    parts: &[Part<'a>],
    mut value: impl FnMut(&Part<'a>) -> Result<Cow<'a, [u8]>, Refusal>,
) -> Result<Cow<'a, [u8]>, Refusal> {
    let Some((first, others)) = parts.split_first() else { return Ok(Cow::Borrowed(b"")) };
    let mut whole = value(first)?;
    for part in others {
        whole.to_mut().extend_from_slice(&value(part)?);
    }
    Ok(whole)
}

/// What `date` prints without a format, in the C locale.
pub const DATE: &[u8] = b"%a %b %e %H:%M:%S %Z %Y";

/// What a shell splits an unquoted value at, and what makes it a file name pattern.
static SPLIT_OR_EXPANDED: ByteSet = ByteSet::of(b" \t\n*?[");

/// What makes an unquoted value a file name pattern.
static PATTERN: ByteSet = ByteSet::of(b"*?[");

/// Whether an unquoted value is exactly one word.
fn is_one_word(value: &[u8]) -> bool {
    !value.is_empty() && SPLIT_OR_EXPANDED.first_in(value).is_none()
}
