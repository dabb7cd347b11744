//! What the demo prints: when, on which host, which command line, and what came of it.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// The columns of a line.
const WIDTH: usize = 100;
/// Where commands and outcomes begin: behind the seconds and the host.
const INDENT: usize = 22;

/// Prints a line. A reader that has gone away does not end the demo: it still has to clean up.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// The lines that are printed while the demo goes on.
pub struct Timeline {
    start: Instant,
    dir: String,
}

impl Timeline {
    /// Starts the clock; `dir` is shown as DIR.
    pub fn start(dir: &Path) -> Timeline {
        Timeline { start: Instant::now(), dir: dir.display().to_string() }
    }

    /// A new part of the story.
    pub fn heading(&self, text: &str) {
        say(format_args!("\n{text}\n"));
    }

    /// A command line, before it runs.
    pub fn command(&self, host: impl Display, line: &str) {
        let line = line.replace(&self.dir, "DIR");
        let wrapped = wrap(&line, WIDTH - INDENT - 2);
        let seconds = self.start.elapsed().as_secs_f64();
        for (n, part) in wrapped.iter().enumerate() {
            match n {
                0 => say(format_args!("{seconds:6.2} s  {:<10}  {part}", host.to_string())),
                _ => say(format_args!("{:INDENT$}  {part}", "")),
            }
        }
    }

    /// A table, as it is.
    pub fn table(&self, text: &str) {
        for line in text.replace(&self.dir, "DIR").lines() {
            say(format_args!("  {line}"));
        }
    }

    /// What came of it.
    pub fn outcome(&self, text: &str) {
        for line in text.replace(&self.dir, "DIR").lines() {
            for (n, part) in wrap(line, WIDTH - INDENT - 4).iter().enumerate() {
                let sign = if n == 0 { "->" } else { "  " };
                say(format_args!("{:INDENT$}{sign} {part}", ""));
            }
        }
    }
}

/// Breaks a line at blanks, and a path that is too long for a line at a slash.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace().flat_map(|word| pieces(word, width)) {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn pieces(word: &str, width: usize) -> Vec<&str> {
    let slash = word.match_indices('/').map(|(at, _)| at + 1).take_while(|at| *at <= width).last();
    match slash {
        Some(at) if word.len() > width && at < word.len() => {
            let (piece, rest) = word.split_at(at);
            [vec![piece], pieces(rest, width)].concat()
        }
        _ => vec![word],
    }
}
