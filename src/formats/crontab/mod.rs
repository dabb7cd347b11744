//! A crontab as lines: the poller's job is paused by a mark in front of it, or until a time by a guard in front of its
//! command, and resumed by removing them; every other byte stays, blank lines, carriage returns and a missing final line
//! end included.

use std::ops::Range;
use std::path::Path;

use chrono::{DateTime, FixedOffset};

pub mod command;
pub mod guard;
pub mod schedule;

use schedule::Schedule;

/// What pauses a job: cron takes the line for a remark. The job follows byte for byte.
pub const PAUSED: &[u8] = b"#autoupdate-toggle paused# ";

/// The longest command that every cron takes, bytes: 3.0pl1 rejects a longer one, and the whole crontab with it.
const COMMAND_LIMIT: usize = 998;

/// Whose a crontab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One user's.
    User,
    /// The system's: behind the times stands the user.
    System,
}

impl Kind {
    /// That of a path: /etc/crontab and the files of /etc/cron.d, below any root, are the system's.
    pub fn of(path: &Path) -> Kind {
        let in_cron_d = path.parent().is_some_and(|dir| dir.ends_with("etc/cron.d"));
        if in_cron_d || path.ends_with("etc/crontab") { Kind::System } else { Kind::User }
    }
}

/// A crontab. Reading one never fails.
#[derive(Debug, Clone)]
pub struct Crontab {
    source: Vec<u8>,
    kind: Kind,
}

/// The poller's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its line, from 1.
    pub line: usize,
    /// Whether cron runs it.
    pub state: State,
    /// Its fields as they are written, one blank between them.
    pub fields: String,
    /// What they mean.
    pub schedule: Schedule,
    start: usize,
    /// What cron gives to the shell, the guard included.
    command: Range<usize>,
    guard: Option<DateTime<FixedOffset>>,
}

/// Whether cron runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Running,
    /// The mark stands in front of it.
    Paused,
    /// Not before this time: the guard stands in front of its command.
    Until(DateTime<FixedOffset>),
}

/// Why there is not one job of the poller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No line runs it; these lines name it without running it.
    NoJob(Vec<Mention>),
    /// These lines run it, paused ones included.
    SeveralJobs(Vec<usize>),
}

/// Why a job cannot be paused until a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoGuard {
    /// The shell that this line sets does not read the guard.
    Shell(usize),
    /// The command would have so many bytes.
    TooLong(usize),
}

/// A line that names the poller but is no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mention {
    /// A job behind a `#` that somebody put there by hand.
    CommentedOut(usize),
    /// A line that cron cannot read.
    Unreadable(usize),
}

enum Line<'a> {
    Blank,
    Comment(&'a [u8]),
    Variable,
    Job { words: Vec<&'a [u8]>, schedule: Schedule, command: &'a [u8] },
    Unreadable(&'a [u8]),
}

impl Crontab {
    /// Reads a file's bytes.
    pub fn parse(source: &[u8], kind: Kind) -> Crontab {
        Crontab { source: source.to_vec(), kind }
    }

    /// The file's bytes.
    pub fn render(&self) -> &[u8] {
        &self.source
    }

    /// The one line that runs the poller, paused or not.
    pub fn poller(&self) -> Result<Job, Problem> {
        let mut jobs = Vec::new();
        let mut mentions = Vec::new();
        for (index, span) in self.lines().enumerate() {
            let text = &self.source[span.clone()];
            let (mark, job) = match text.strip_prefix(PAUSED) {
                Some(job) => (Some(State::Paused), job),
                None => (None, text),
            };
            let line = index + 1;
            match read(job, self.kind) {
                Line::Job { words, schedule, command } if command::runs_poller(guard::behind(command)) => {
                    let fields = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
                    let guard = guard::time(command);
                    let state = mark.or(guard.map(State::Until)).unwrap_or(State::Running);
                    let end = span.end - job.iter().rev().take_while(|b| **b == b'\n').count();
                    let command = end - command.len()..end;
                    jobs.push(Job { line, state, fields, schedule, start: span.start, command, guard });
                }
                Line::Comment(comment) if self.is_poller(comment) => {
                    mentions.push(Mention::CommentedOut(line));
                }
                Line::Unreadable(text) if command::runs_poller(text) => {
                    mentions.push(Mention::Unreadable(line));
                }
                _ => {}
            }
        }
        match jobs.pop() {
            None => Err(Problem::NoJob(mentions)),
            Some(job) if jobs.is_empty() => Ok(job),
            Some(last) => {
                let lines = jobs.iter().chain([&last]).map(|job| job.line);
                Err(Problem::SeveralJobs(lines.collect()))
            }
        }
    }

    /// Puts the mark in front of a job, which was resumed if it was paused until a time.
    pub fn pause(&mut self, job: &Job) {
        if job.state != State::Paused {
            self.resume(job);
            self.source.splice(job.start..job.start, PAUSED.iter().copied());
        }
    }

    /// Puts the guard in front of a job's command, in place of another one. A job that the mark pauses stays as it is.
    pub fn pause_until(&mut self, job: &Job, until: DateTime<FixedOffset>) -> Result<(), NoGuard> {
        if job.state == State::Paused {
            return Ok(());
        }
        if let Some(line) = self.other_shell(job) {
            return Err(NoGuard::Shell(line));
        }
        let guard = guard::text(until);
        let length = guard.len() + guard::behind(&self.source[job.command.clone()]).len();
        if length > COMMAND_LIMIT {
            return Err(NoGuard::TooLong(length));
        }
        self.resume(job);
        self.source.splice(job.command.start..job.command.start, guard);
        Ok(())
    }

    /// Takes the mark and the guard from a job.
    pub fn resume(&mut self, job: &Job) {
        if job.guard.is_some() {
            let command = &self.source[job.command.clone()];
            let length = command.len() - guard::behind(command).len();
            self.source.drain(job.command.start..job.command.start + length);
        }
        if job.state == State::Paused {
            self.source.drain(job.start..job.start + PAUSED.len());
        }
    }

    /// The line that gives the job another shell than those that read the guard: the last one above it counts.
    fn other_shell(&self, job: &Job) -> Option<usize> {
        let above = self.lines().enumerate().take(job.line - 1);
        let shells = above.filter_map(|(index, span)| {
            let text = self.source[span].trim_ascii();
            let name_end = text.iter().position(|b| *b == b'=')?;
            (text[..name_end].trim_ascii() == b"SHELL").then(|| (index + 1, &text[name_end + 1..]))
        });
        let (line, shell) = shells.last()?;
        let is_quote = |b: &u8| matches!(b, b'"' | b'\'') || b.is_ascii_whitespace();
        let shell: Vec<u8> = shell.iter().copied().filter(|b| !is_quote(b)).collect();
        let name = shell.rsplit(|b| *b == b'/').next().unwrap_or_default();
        (![&b"sh"[..], b"dash", b"bash", b"ksh", b"mksh", b"zsh", b"ash"].contains(&name)).then_some(line)
    }

    /// Whether a remark is a job of the poller behind `#` signs.
    fn is_poller(&self, comment: &[u8]) -> bool {
        let signs = comment.iter().take_while(|b| matches!(b, b'#' | b' ' | b'\t')).count();
        let job = read(&comment[signs..], self.kind);
        matches!(job, Line::Job { command, .. } if command::runs_poller(command))
    }

    fn lines(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        self.source.split_inclusive(|b| *b == b'\n').map(move |line| {
            let range = start..start + line.len();
            start = range.end;
            range
        })
    }
}

fn read(line: &[u8], kind: Kind) -> Line<'_> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = &text[text.iter().take_while(|b| is_blank(**b)).count()..];
    match text {
        [] | b"\r" => Line::Blank,
        [b'#', ..] => Line::Comment(text),
        _ if is_variable(text) => Line::Variable,
        _ => job(text, kind).unwrap_or(Line::Unreadable(text)),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `NAME = value`, the name possibly in quotes.
fn is_variable(text: &[u8]) -> bool {
    let name = match text {
        [quote @ (b'"' | b'\''), rest @ ..] => rest.iter().position(|b| b == quote).map(|end| end + 2),
        _ => text.iter().position(|b| is_blank(*b) || *b == b'='),
    };
    let after = name.and_then(|end| text.get(end..)).unwrap_or_default();
    after.iter().find(|b| !is_blank(**b)) == Some(&b'=')
}

fn job(text: &[u8], kind: Kind) -> Option<Line<'_>> {
    let count = if text.starts_with(b"@") { 1 } else { 5 };
    let mut words = Vec::with_capacity(count);
    let mut rest = text;
    for _ in 0..count {
        let (word, behind) = word(rest)?;
        words.push(word);
        rest = behind;
    }
    let command = match kind {
        Kind::User => rest,
        Kind::System => word(rest)?.1,
    };
    let schedule = Schedule::parse(&words)?;
    Some(Line::Job { words, schedule, command })
}

/// The first word, and what stands behind it and the blanks that follow.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, behind) = text.split_at(text.iter().position(|b| is_blank(*b))?);
    Some((word, &behind[behind.iter().take_while(|b| is_blank(**b)).count()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"* * * * * /bin/bash   /watch/service_polling.sh  >>/watch/log/polling-$(date +"\%Y\%m\%d").log 2>&1"#;

    /// A crontab as operators have them: around the job everything that must stay.
    fn around(job: &str) -> String {
        format!(
            "MAILTO=\"\"\r\n\n# service_polling.sh polls\n{job}\r\n\t0 4 * * * /root/notservice_polling.sh.bak\n\n\
             junk service\n@daily /bin/backup"
        )
    }

    #[test]
    fn the_job_is_paused_and_resumed_and_every_other_byte_stays() {
        for job in [JOB, "  @hourly  service_polling", "*/5\t*\t*\t*\t*\tcd /watch && ./service_polling.sh"] {
            let before = around(job);
            let mut crontab = Crontab::parse(before.as_bytes(), Kind::User);
            let running = crontab.poller().unwrap();
            assert_eq!((running.line, running.state), (4, State::Running));
            crontab.pause(&running);
            let mark = String::from_utf8(PAUSED.to_vec()).unwrap();
            assert_eq!(crontab.render(), around(&format!("{mark}{job}")).as_bytes());
            let paused = crontab.poller().unwrap();
            assert_eq!((paused.line, paused.state, &paused.fields), (4, State::Paused, &running.fields));
            crontab.pause(&paused);
            crontab.resume(&paused);
            assert_eq!(crontab.render(), before.as_bytes());
        }
    }

    #[test]
    fn a_guard_stands_in_front_of_the_command_and_of_nothing_else() {
        let until = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let (evening, night) = (until("2026-11-26T20:00:00+08:00"), until("2026-11-27T02:00:00+08:00"));
        for (kind, job, command) in [
            (Kind::User, "  @hourly  service_polling", "service_polling"),
            (
                Kind::System,
                "* * * * *\troot cd /watch;./service_polling.sh%x",
                "cd /watch;./service_polling.sh%x",
            ),
        ] {
            let before = around(job);
            let guarded = |time| {
                let guard = String::from_utf8(guard::text(time)).unwrap();
                around(&job.replace(command, &format!("{guard}{command}")))
            };
            let mut crontab = Crontab::parse(before.as_bytes(), kind);
            crontab.pause_until(&crontab.poller().unwrap(), night).unwrap();
            assert_eq!(crontab.render(), guarded(night).as_bytes());
            crontab.pause_until(&crontab.poller().unwrap(), evening).unwrap();
            assert_eq!(crontab.render(), guarded(evening).as_bytes());
            let paused = crontab.poller().unwrap();
            assert_eq!(paused.state, State::Until(evening));
            let mut other = crontab.clone();
            other.pause(&paused);
            let mark = String::from_utf8(PAUSED.to_vec()).unwrap();
            assert_eq!(other.render(), around(&format!("{mark}{job}")).as_bytes());
            crontab.resume(&paused);
            assert_eq!(crontab.render(), before.as_bytes());
        }
    }

    #[test]
    fn a_guard_that_would_not_work_is_not_put_there() {
        let until = DateTime::parse_from_rfc3339("2026-11-26T20:00:00+08:00").unwrap();
        for (source, expected) in [
            (format!("SHELL=/bin/bash\n SHELL = \"/usr/bin/fish\"\n{JOB}\nSHELL=sh\n"), NoGuard::Shell(2)),
            (format!("{JOB} {}\n", "x".repeat(900)), NoGuard::TooLong(1095)),
        ] {
            let mut crontab = Crontab::parse(source.as_bytes(), Kind::User);
            let job = crontab.poller().unwrap();
            assert_eq!(crontab.pause_until(&job, until), Err(expected));
            assert_eq!(crontab.render(), source.as_bytes());
        }
    }

    #[test]
    fn the_systems_crontabs_have_a_user_behind_the_times() {
        for path in ["/etc/crontab", "/etc/cron.d/poller", "x/etc/cron.d/poller"] {
            assert_eq!(Kind::of(Path::new(path)), Kind::System, "{path}");
        }
        for path in ["/var/spool/cron/crontabs/root", "/root/crontab", "/etc/cron.d", "/etc/cron.daily/x"] {
            assert_eq!(Kind::of(Path::new(path)), Kind::User, "{path}");
        }
        let jobs = |source: &str| Crontab::parse(source.as_bytes(), Kind::System).poller().is_ok();
        assert!(jobs("*/5 * * * * root /watch/service_polling.sh\n") && jobs("@daily root service_polling"));
        assert!(!jobs("* * * * * /watch/service_polling.sh\n") && !jobs("* * * * * service_polling x\n"));
    }

    #[test]
    fn without_exactly_one_job_the_lines_are_named() {
        let problem = |source: &str| Crontab::parse(source.as_bytes(), Kind::User).poller().unwrap_err();
        assert_eq!(problem(""), Problem::NoJob(vec![]));
        assert_eq!(problem("# service_polling.sh\nX=/watch/service_polling.sh\n"), Problem::NoJob(vec![]));
        assert_eq!(
            problem(&format!("# {JOB}\n* * * * /watch/service_polling.sh\n")),
            Problem::NoJob(vec![Mention::CommentedOut(1), Mention::Unreadable(2)])
        );
        let mark = String::from_utf8(PAUSED.to_vec()).unwrap();
        assert_eq!(problem(&format!("{mark}{JOB}\n\n{JOB}")), Problem::SeveralJobs(vec![1, 3]));
        assert_eq!(problem(&format!("{mark}{mark}{JOB}\n")), Problem::NoJob(vec![]));
    }

    #[test]
    fn lines_are_told_apart_as_cron_does() {
        let kind = |text: &str| match read(text.as_bytes(), Kind::User) {
            Line::Blank => "blank",
            Line::Comment(_) => "comment",
            Line::Variable => "variable",
            Line::Job { .. } => "job",
            Line::Unreadable(_) => "unreadable",
        };
        for (line, expected) in [
            (" \t\n", "blank"),
            ("\r\n", "blank"),
            ("  # x\n", "comment"),
            ("A=b\n", "variable"),
            ("A = b\n", "variable"),
            ("\"A B\" = c\n", "variable"),
            ("A B=c\n", "unreadable"),
            ("* * * * * x\n", "job"),
            ("\t*\t*\t*\t*  * x", "job"),
            ("@daily x\n", "job"),
            (" @reboot x\n", "job"),
            ("@dailyx y\n", "unreadable"),
            ("* * * * /bin/sh x\n", "unreadable"),
            ("* * * * *\n", "unreadable"),
        ] {
            assert_eq!(kind(line), expected, "{line:?}");
        }
    }
}
