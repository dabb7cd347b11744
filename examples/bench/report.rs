//! The table, and the document that holds it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::measure::Runs;

/// A row: something of ours beside something else.
pub struct Row {
    /// What is done.
    pub what: String,
    /// What it is measured beside.
    pub beside: String,
    /// Ours.
    pub ours: Runs,
    /// The other; `None` where the goal is a time.
    pub theirs: Option<Runs>,
    /// The ratio of the medians, ours to theirs, that is not to be exceeded; seconds where there is no other.
    pub goal: Option<f64>,
    /// Bytes that were written, or that went over the wire.
    pub bytes: Option<Bytes>,
    /// The memory that is not to be exceeded, bytes.
    pub memory_goal: Option<u64>,
}

/// How many bytes, and how many it may be.
pub struct Bytes {
    /// Ours.
    pub ours: u64,
    /// The other's.
    pub theirs: u64,
    /// The ratio that is not to be exceeded.
    pub goal: f64,
}

impl Bytes {
    #[allow(clippy::cast_precision_loss)]
    fn ratio(&self) -> f64 {
        self.ours as f64 / self.theirs.max(1) as f64
    }
}

impl Row {
    /// What the goal is about.
    fn figure(&self) -> f64 {
        self.ours.median() / self.theirs.as_ref().map_or(1.0, Runs::median)
    }

    fn is_reached(&self) -> bool {
        self.goal.is_none_or(|goal| self.figure() <= goal)
            && self.bytes.as_ref().is_none_or(|bytes| bytes.ratio() <= bytes.goal)
            && self.memory_goal.is_none_or(|goal| self.ours.peak() <= goal)
    }
}

/// The table, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | beside | ours | the other | ratio | bytes, ours to the other's | goal | our memory |\n\
         |---|---|---:|---:|---:|---:|---|---:|\n",
    );
    for row in rows {
        let goals = [
            row.goal.map(|goal| match row.theirs {
                Some(_) => format!("≤ {goal}"),
                None => format!("≤ {goal} s"),
            }),
            row.bytes.as_ref().map(|bytes| format!("bytes ≤ {}", bytes.goal)),
        ];
        let goals = goals.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let goal = match (goals.as_str(), row.is_reached()) {
            ("", _) => String::new(),
            (_, true) => format!("{goals}, reached"),
            (_, false) => format!("{goals}, **not reached**"),
        };
        let bytes = row.bytes.as_ref().map_or_else(String::new, |bytes| {
            format!("{:.1} : {:.1} MiB, {:.3}", mebibytes(bytes.ours), mebibytes(bytes.theirs), bytes.ratio())
        });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {bytes} | {goal} | {:.1} MiB |",
            row.what,
            row.beside,
            times(&row.ours),
            row.theirs.as_ref().map_or_else(String::new, times),
            row.theirs.as_ref().map_or_else(String::new, |_| format!("{:.3}", row.figure())),
            mebibytes(row.ours.peak()),
        );
    }
    text
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
