//! The table, and the document that holds it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::measure::Runs;

/// A row: something of ours beside something else.
pub struct Row {
    what: String,
    beside: String,
    ours: Runs,
    theirs: Option<Runs>,
    bytes: Option<Bytes>,
    goals: Vec<Goal>,
    if_missed: String,
}

/// Something that is not to be exceeded.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// The ratio of the medians of the times, ours to the other's.
    Ratio(f64),
    /// Our time, seconds.
    Seconds(f64),
    /// The ratio of the bytes.
    Bytes(f64),
    /// Our memory, MiB.
    Memory(f64),
}

/// Bytes that were written, or that went over the wire.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// Ours.
    pub ours: u64,
    /// The other's.
    pub theirs: u64,
}

impl Row {
    /// What was done by us, and what it was measured beside.
    pub fn new(what: impl Into<String>, ours: Runs, beside: impl Into<String>) -> Row {
        let (what, beside) = (what.into(), beside.into());
        Row { what, beside, ours, theirs: None, bytes: None, goals: Vec::new(), if_missed: String::new() }
    }

    /// The other's times.
    pub fn theirs(self, theirs: Runs) -> Row {
        Row { theirs: Some(theirs), ..self }
    }

    /// The bytes of both.
    pub fn bytes(self, ours: u64, theirs: u64) -> Row {
        Row { bytes: Some(Bytes { ours, theirs }), ..self }
    }

    /// What is not to be exceeded.
    pub fn goals(self, goals: &[Goal]) -> Row {
        Row { goals: goals.to_vec(), ..self }
    }

    /// Why a goal may be missed, and what it would take.
    pub fn if_missed(self, why: impl Into<String>) -> Row {
        Row { if_missed: why.into(), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.ours.median() / self.theirs.as_ref()?.median())
    }

    /// What a goal is about, as it was measured; infinite where it was not.
    fn figure(&self, goal: Goal) -> f64 {
        match goal {
            Goal::Ratio(_) => self.ratio().unwrap_or(f64::INFINITY),
            Goal::Seconds(_) => self.ours.median(),
            Goal::Bytes(_) => self.bytes.as_ref().map_or(f64::INFINITY, Bytes::ratio),
            Goal::Memory(_) => mebibytes(self.ours.peak()),
        }
    }

    fn missed(&self) -> Vec<Goal> {
        self.goals.iter().copied().filter(|goal| self.figure(*goal) > goal.limit()).collect()
    }
}

impl Bytes {
    #[allow(clippy::cast_precision_loss)]
    fn ratio(&self) -> f64 {
        self.ours as f64 / self.theirs.max(1) as f64
    }
}

impl Goal {
    fn limit(self) -> f64 {
        let (Goal::Ratio(limit) | Goal::Seconds(limit) | Goal::Bytes(limit) | Goal::Memory(limit)) = self;
        limit
    }

    fn text(self) -> String {
        match self {
            Goal::Ratio(limit) => format!("time ≤ {limit}"),
            Goal::Seconds(limit) => format!("≤ {limit} s"),
            Goal::Bytes(limit) => format!("bytes ≤ {limit}"),
            Goal::Memory(limit) => format!("memory ≤ {limit} MiB"),
        }
    }
}

/// The table, in Markdown, and below it why goals were missed.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | beside | ours | the other | ratio | bytes, ours : the other's, ratio | our memory | goal | met |\n\
         |---|---|---:|---:|---:|---:|---:|---|---|\n",
    );
    for row in rows {
        let missed = row.missed();
        let met = match (row.goals.len(), missed.len()) {
            (0, _) => String::new(),
            (_, 0) => "yes".to_owned(),
            (all, missed) if all == missed => "**no**".to_owned(),
            _ => format!("**no**: {}", goals(&missed)),
        };
        let bytes = row.bytes.as_ref().map_or_else(String::new, |bytes| {
            format!("{:.1} : {:.1} MiB, {:.3}", mebibytes(bytes.ours), mebibytes(bytes.theirs), bytes.ratio())
        });
        let memory = match row.ours.peak() {
            0 => String::new(),
            peak => format!("{:.1} MiB", mebibytes(peak)),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {bytes} | {memory} | {} | {met} |",
            row.what,
            row.beside,
            times(&row.ours),
            row.theirs.as_ref().map_or_else(String::new, times),
            row.ratio().map_or_else(String::new, ratio),
            goals(&row.goals),
        );
    }
    let all = rows.iter().filter(|row| !row.goals.is_empty()).count();
    let missing: Vec<&Row> = rows.iter().filter(|row| !row.missed().is_empty()).collect();
    let _ = writeln!(text, "\n{} of {all} rows with a goal meet it.", all - missing.len());
    for (n, row) in missing.iter().enumerate() {
        let why = if row.if_missed.is_empty() { "not looked into yet" } else { &row.if_missed };
        let begin = if n == 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{begin}- *{}* beside *{}*: {}: {why}.",
            row.what,
            row.beside,
            goals(&row.missed())
        );
    }
    text
}

fn goals(goals: &[Goal]) -> String {
    goals.iter().map(|goal| goal.text()).collect::<Vec<_>>().join(", ")
}

/// With as many digits as say something.
fn ratio(ratio: f64) -> String {
    if ratio < 0.01 { format!("{ratio:.5}") } else { format!("{ratio:.2}") }
}

/// Median, and in parentheses the range.
fn times(runs: &Runs) -> String {
    let (least, most) = runs.range();
    format!("{} ({} to {})", shown(runs.median()), shown(least), shown(most))
}

fn shown(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[allow(clippy::cast_precision_loss)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->";

/// Puts the table between the marks of docs/benchmarks.md.
pub fn write(docs: &Path, table: &str, work: &Path) -> Result<()> {
    let path = docs.join("benchmarks.md");
    let failed = |what: &str| format!("{}: {what}", path.display());
    let document = std::fs::read_to_string(&path).map_err(|e| failed(&e.to_string()))?;
    let (before, rest) = document.split_once(BEGIN).ok_or_else(|| failed("the marks are gone"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| failed("the marks are gone"))?;
    let text = format!("{before}{BEGIN}{table}\n{}\n{END}{after}", machine(work));
    std::fs::write(&path, text).map_err(|e| failed(&e.to_string()))
}

/// The machine, by what matters.
fn machine(work: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let file_system = said("stat", &["-f", "-c", "%T", &work.display().to_string()]);
    format!(
        "{}, {cores} processors, {file_system}, Linux {}.",
        said("date", &["+%Y-%m-%d"]),
        said("uname", &["-r"])
    )
}
