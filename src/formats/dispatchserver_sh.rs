//! dispatchserver.sh, the registry: a shell script of one stanza a model, read as data and never executed (contract
//! section 2).

use std::borrow::Cow;

use crate::formats::shell::Context;
use crate::formats::shell::blocks::Blocks;
use crate::formats::shell::syntax::{Command, Commands, Word, first_unreadable_byte};
use crate::formats::shell::values::{DATE, Piece, Scope};
use crate::formats::{Refusal, Source};
use crate::names::{ModelName, PluginName};
use crate::time::{Dates, LocalTime};

/// The one name that stays known behind a line that cannot be read: the header sets it, once.
const LOG_FILE: &[u8] = b"logFile";

/// What a line of the registry does, in the registry's own bytes where it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// `echo WORDS >> FILE`: a begin or end line.
    Log {
        /// The registry's line, from 1.
        line: usize,
        /// What is written.
        text: LogLine<'a>,
        /// To which file.
        file: Cow<'a, [u8]>,
    },
    /// `sh dispatch.sh APPNAME PREFIXPATH SONAME [>> FILE]`.
    Dispatch {
        /// The registry's line, from 1.
        line: usize,
        /// APPNAME.
        model: Cow<'a, [u8]>,
        /// PREFIXPATH.
        prefix: Cow<'a, [u8]>,
        /// SONAME.
        so_name: Cow<'a, [u8]>,
        /// FILE.
        log: Option<Cow<'a, [u8]>>,
    },
    /// A line that cannot be read; the others go on.
    Unreadable(Refusal),
}

impl Step<'_> {
    /// The same, apart from the registry that it was read from.
    fn into_owned(self) -> Step<'static> {
        let owned = |bytes: Cow<[u8]>| Cow::Owned(bytes.into_owned());
        match self {
            Step::Log { line, text, file } => Step::Log { line, text: text.into_owned(), file: owned(file) },
            Step::Dispatch { line, model, prefix, so_name, log } => Step::Dispatch {
                line,
                model: owned(model),
                prefix: owned(prefix),
                so_name: owned(so_name),
                log: log.map(owned),
            },
            Step::Unreadable(refusal) => Step::Unreadable(refusal),
        }
    }
}

/// The words of an `echo`; its dates are those of the instant at which it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a>(Vec<Vec<Piece<'a>>>);

impl LogLine<'_> {
    /// Appends the line at an instant, with its newline.
    pub fn render(&self, now: &LocalTime, dates: &mut Dates, out: &mut Vec<u8>) {
        // What stands before the next field; none while one goes on.
        let mut before: Option<&[u8]> = Some(b"");
        // Its conversions were known when the registry was read.
        let mut date = |format: Option<&[u8]>| dates.text(now, format.unwrap_or(DATE)).unwrap_or_default();
        for word in &self.0 {
            for piece in word {
                match piece {
                    Piece::Text(text) => {
                        out.extend_from_slice(before.take().unwrap_or_default());
                        out.extend_from_slice(text);
                    }
                    Piece::Date { format, quoted: true } => {
                        out.extend_from_slice(before.take().unwrap_or_default());
                        out.extend_from_slice(&date(format.as_deref()));
                    }
                    // Its blanks separate fields: it may become several, or none.
                    Piece::Date { format, quoted: false } => {
                        let date = date(format.as_deref());
                        for (index, field) in date.split(|b| matches!(b, b' ' | b'\t' | b'\n')).enumerate() {
                            if index > 0 {
                                before = before.or(Some(b" "));
                            }
                            if !field.is_empty() {
                                out.extend_from_slice(before.take().unwrap_or_default());
                                out.extend_from_slice(field);
                            }
                        }
                    }
                }
            }
            before = before.or(Some(b" "));
        }
        out.push(b'\n');
    }

    fn into_owned(self) -> LogLine<'static> {
        let owned = |piece: Piece| match piece {
            Piece::Text(text) => Piece::Text(text.into_owned().into()),
            Piece::Date { format, quoted } => {
                Piece::Date { format: format.map(|format| format.into_owned().into()), quoted }
            }
        };
        LogLine(self.0.into_iter().map(|word| word.into_iter().map(owned).collect()).collect())
    }
}

/// Whether a model has a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StanzaState {
    /// It has one, which `dispatch --all` does.
    Active {
        /// The line that dispatches it, from 1.
        line: usize,
    },
    /// It has one that somebody commented out by hand, whole or only the line that dispatches.
    CommentedOut {
        /// Its `mymodel=` line, from 1.
        line: usize,
    },
}

/// A registry. Reading one never fails: what cannot be read becomes a step that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    source: Vec<u8>,
    steps: Vec<Step<'static>>,
}

impl Registry {
    /// Reads a registry.
    pub fn parse(source: &[u8], context: &Context) -> Registry {
        let steps = Steps::new(&Source::new(source), context).map(Step::into_owned).collect();
        Registry { source: source.to_vec(), steps }
    }

    /// Reads a registry for its calls of dispatch.sh alone: of a large one, all steps would be several times as large.
    pub fn parse_calls(source: &[u8], context: &Context) -> Registry {
        let is_call = |step: &Step| matches!(step, Step::Dispatch { .. });
        let steps = Steps::new(&Source::new(source), context).filter(is_call).map(Step::into_owned).collect();
        Registry { source: source.to_vec(), steps }
    }

    /// What the lines do, in order.
    pub fn steps(&self) -> &[Step<'static>] {
        &self.steps
    }

    /// Whether, and where, a model has a stanza.
    pub fn stanza_of(&self, wanted: &ModelName) -> Option<StanzaState> {
        let active = self.steps.iter().find_map(|step| match step {
            Step::Dispatch { line, model, .. } if **model == *wanted.as_str().as_bytes() => Some(*line),
            _ => None,
        });
        match active {
            Some(line) => Some(StanzaState::Active { line }),
            None => self.commented_out(wanted).map(|line| StanzaState::CommentedOut { line }),
        }
    }

    /// The line of a `mymodel="MODEL"` that no command uses: commented out itself, or left over where somebody commented
    /// out or changed the line that dispatches it.
    fn commented_out(&self, wanted: &ModelName) -> Option<usize> {
        let assignments =
            [format!("mymodel=\"{wanted}\""), format!("mymodel={wanted}"), format!("mymodel='{wanted}'")];
        let mut lines = self.source.split(|b| *b == b'\n');
        let found = lines.position(|line| {
            let marks = line.iter().take_while(|b| matches!(b, b'#' | b' ' | b'\t')).count();
            let rest = assignments.iter().find_map(|text| line[marks..].strip_prefix(text.as_bytes()));
            rest.is_some_and(|rest| matches!(rest, [] | [b' ' | b'\t' | b'\r' | b';' | b'#', ..]))
        });
        found.map(|index| index + 1)
    }

    /// Appends a model's stanza, byte for byte the contract's. A last line without a newline gets one first: the script
    /// glues its stanza to it.
    pub fn append_stanza(&mut self, model: &ModelName, plugin: &PluginName, user: &str) {
        if self.source.last().is_some_and(|last| *last != b'\n') {
            self.source.push(b'\n');
        }
        // legacy: add_dispatch_docker.sh, "the stanza"
        let stanza = format!(
            "# {model}\n\
             # add by {user}\n\
             mymodel=\"{model}\"\n\
             plugin=\"{plugin}\"\n\
             echo \"==================begin start run $mymodel=================================\"`date`  >> ${{logFile}}\n\
             sh dispatch.sh $mymodel {}/plugin/$mymodel $plugin.so >> ${{logFile}}\n\
             echo \"==================end run $mymodel=========================================\"`date`  >> ${{logFile}}\n",
            crate::layout::WORKSPACE
        );
        self.source.extend_from_slice(stanza.as_bytes());
    }

    /// The file, byte for byte.
    pub fn render(&self) -> &[u8] {
        &self.source
    }
}

/// What the lines of a registry do, in order, each read when it is asked for.
pub struct Steps<'a> {
    source: &'a Source<'a>,
    /// What makes the whole file unreadable.
    unreadable: Option<Refusal>,
    scope: Scope<'a>,
    commands: Commands<'a>,
    blocks: Blocks,
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if let Some(refusal) = self.unreadable.take() {
            self.commands.go_on_at(self.source.len());
            return Some(Step::Unreadable(refusal));
        }
        loop {
            match self.read() {
                Ok(Read::End) => return None,
                Ok(Read::Nothing) => {}
                Ok(Read::Step(step)) => return Some(step),
                Err(refusal) => {
                    // It may have assigned anything: no name that it could have changed may choose a model.
                    if !refusal.follows {
                        self.scope.lose_all_but(LOG_FILE, refusal.line);
                    }
                    return Some(Step::Unreadable(refusal));
                }
            }
        }
    }
}

/// What a command is.
enum Read<'a> {
    Step(Step<'a>),
    /// An assignment.
    Nothing,
    End,
}

impl<'a> Steps<'a> {
    /// Starts at the beginning of a registry.
    pub fn new(source: &'a Source<'a>, context: &'a Context<'a>) -> Steps<'a> {
        Steps {
            source,
            unreadable: first_unreadable_byte(source),
            scope: Scope::new(source, context),
            commands: Commands::new(source),
            blocks: Blocks::default(),
        }
    }

    fn read(&mut self) -> Result<Read<'a>, Refusal> {
        let command = match self.commands.next_command() {
            Ok(None) => return Ok(Read::End),
            Ok(Some(command)) => command,
            Err(refusal) => {
                // Where a quote is never closed the reader stands at the end, and a shell reads nothing behind it.
                if !self.commands.is_at_end() {
                    self.pass(self.commands.command_offset());
                }
                return Err(refusal);
            }
        };
        let step = self.step(&command);
        if step.is_err() {
            self.pass(command.offset);
        }
        self.commands.recycle(command);
        Ok(step?.map_or(Read::Nothing, Read::Step))
    }

    /// Goes on behind the line of a command that cannot be read, and remembers what it opens and closes.
    fn pass(&mut self, offset: usize) {
        let next = self.blocks.read(self.source, offset);
        self.commands.go_on_at(next);
    }

    fn step(&mut self, command: &Command<'a>) -> Result<Option<Step<'a>>, Refusal> {
        if self.blocks.are_open() {
            let what = "an if, loop, block or exit above may switch this line off";
            return Err(self.refused(command, what).that_follows());
        }
        let program = command.program().unwrap_or_default();
        if command.words.is_empty() && command.append_to.is_none() {
            for assignment in &command.assignments {
                match self.scope.value(&assignment.value) {
                    Ok(value) => self.scope.assign(assignment.name, value, assignment.offset)?,
                    // Its value is as uncertain as what it is made of; that is said where it is used.
                    Err(refusal) if refusal.follows => self.scope.lose(assignment.name, refusal.line),
                    Err(refusal) => return Err(refusal),
                }
            }
            return Ok(None);
        }
        if !command.assignments.is_empty() {
            return Err(self.refused(command, "an assignment before a command is not read"));
        }
        let line = self.source.line_of(command.offset);
        match program {
            b"echo" => self.log(command, line).map(Some),
            b"sh" | b"bash" | b"dash" | b"/bin/sh" | b"/bin/bash" | b"/bin/dash" | b"/usr/bin/bash" => {
                self.dispatch(command, line).map(Some)
            }
            _ if command.words.get(1).and_then(Word::literal).is_some_and(|word| word.starts_with(b"=")) => {
                Err(self.refused(command, "blanks around = make this a command"))
            }
            _ => Err(self.refused(command, "this command is not run")),
        }
    }

    fn refused(&self, command: &Command, what: &str) -> Refusal {
        let instead = "a registry holds NAME=value, echo ... >> ${logFile} and sh dispatch.sh lines";
        self.source.refusal(command.offset, what, instead)
    }

    fn log(&self, command: &Command<'a>, line: usize) -> Result<Step<'a>, Refusal> {
        let mut words: Vec<Vec<Piece>> = Vec::with_capacity(command.words.len() - 1);
        for word in &command.words[1..] {
            let argument = self.scope.argument(word)?;
            let mut written = argument.iter().map(|piece| match piece {
                Piece::Text(text) => &**text,
                Piece::Date { format, .. } => format.as_deref().unwrap_or_default(),
            });
            // What a shell's own echo makes of these differs between sh and bash. Behind a first word that an empty date
            // may drop, the next one is the first.
            let has_escape = written.clone().any(|text| text.contains(&b'\\'));
            let begins = written.find_map(|text| text.iter().find(|byte| !byte.is_ascii_whitespace()));
            let is_option = begins == Some(&b'-') && words.iter().all(|word| is_dates(word));
            if is_option || has_escape {
                let what = "an option or a \\ of echo is read differently by bash and sh";
                return Err(self.source.refusal(word.span.start, what, "leave it out"));
            }
            words.push(argument);
        }
        match &command.append_to {
            Some(file) => Ok(Step::Log { line, text: LogLine(words), file: self.file(file)? }),
            None => Err(self.refused(command, "this echo names no file")),
        }
    }

    fn dispatch(&self, command: &Command<'a>, line: usize) -> Result<Step<'a>, Refusal> {
        let [_, script, model, prefix, so_name] = &command.words[..] else {
            return Err(self.refused(command, "dispatch.sh takes three arguments"));
        };
        let script = script.literal().unwrap_or_default();
        if script != b"dispatch.sh" && !script.ends_with(b"/dispatch.sh") {
            return Err(self.refused(command, "this script is not run"));
        }
        Ok(Step::Dispatch {
            line,
            model: self.scope.fixed(model)?,
            prefix: self.scope.fixed(prefix)?,
            so_name: self.scope.fixed(so_name)?,
            log: command.append_to.as_ref().map(|file| self.file(file)).transpose()?,
        })
    }

    fn file(&self, word: &Word<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        let file = self.scope.unsplit(word)?;
        if file.is_empty() {
            let what = "the log file's name is empty";
            return Err(self.source.refusal(word.span.start, what, "set logFile in the first lines"));
        }
        Ok(file)
    }
}

/// Whether a word is nothing but dates.
fn is_dates(word: &[Piece]) -> bool {
    word.iter().all(|piece| matches!(piece, Piece::Date { .. }))
}
