//! A user's crontab as lines: the poller's job is paused by a mark in front of it and resumed by removing the mark; every
//! other byte stays, blank lines, carriage returns and a missing final line end included.

use std::ops::Range;

pub mod command;
pub mod schedule;

use schedule::Schedule;

/// What pauses a job: cron takes the line for a remark. The job follows byte for byte.
pub const PAUSED: &[u8] = b"#autoupdate-toggle paused# ";

/// A crontab. Reading one never fails.
#[derive(Debug, Clone)]
pub struct Crontab {
    source: Vec<u8>,
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
}

/// Whether cron runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Running,
    /// The mark stands in front of it.
    Paused,
}

/// Why there is not one job of the poller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No line runs it; these lines name it without running it.
    NoJob(Vec<Mention>),
    /// These lines run it, paused ones included.
    SeveralJobs(Vec<usize>),
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
    pub fn parse(source: &[u8]) -> Crontab {
        Crontab { source: source.to_vec() }
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
            let (state, job) = match text.strip_prefix(PAUSED) {
                Some(job) => (State::Paused, job),
                None => (State::Running, text),
            };
            let line = index + 1;
            match read(job) {
                Line::Job { words, schedule, command } if command::runs_poller(command) => {
                    let fields = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
                    jobs.push(Job { line, state, fields, schedule, start: span.start });
                }
                Line::Comment(comment) if is_poller(comment) => mentions.push(Mention::CommentedOut(line)),
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

    /// Puts the mark in front of a running job.
    pub fn pause(&mut self, job: &Job) {
        if job.state == State::Running {
            self.source.splice(job.start..job.start, PAUSED.iter().copied());
        }
    }

    /// Takes the mark from a paused job.
    pub fn resume(&mut self, job: &Job) {
        if job.state == State::Paused {
            self.source.drain(job.start..job.start + PAUSED.len());
        }
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

/// Whether a remark is a job of the poller behind `#` signs.
fn is_poller(comment: &[u8]) -> bool {
    let signs = comment.iter().take_while(|b| matches!(b, b'#' | b' ' | b'\t')).count();
    matches!(read(&comment[signs..]), Line::Job { command, .. } if command::runs_poller(command))
}

fn read(line: &[u8]) -> Line<'_> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = &text[text.iter().take_while(|b| is_blank(**b)).count()..];
    match text {
        [] | b"\r" => Line::Blank,
        [b'#', ..] => Line::Comment(text),
        _ if is_variable(text) => Line::Variable,
        _ => job(text).unwrap_or(Line::Unreadable(text)),
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

fn job(text: &[u8]) -> Option<Line<'_>> {
    let count = if text.starts_with(b"@") { 1 } else { 5 };
    let mut words = Vec::with_capacity(count);
    let mut rest = text;
    for _ in 0..count {
        let end = rest.iter().position(|b| is_blank(*b))?;
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = &behind[behind.iter().take_while(|b| is_blank(**b)).count()..];
    }
    let schedule = Schedule::parse(&words)?;
    Some(Line::Job { words, schedule, command: rest })
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
            let mut crontab = Crontab::parse(before.as_bytes());
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
    fn without_exactly_one_job_the_lines_are_named() {
        let problem = |source: &str| Crontab::parse(source.as_bytes()).poller().unwrap_err();
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
        let kind = |text: &str| match read(text.as_bytes()) {
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
