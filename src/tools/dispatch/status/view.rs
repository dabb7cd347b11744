//! A status as people and programs read it.

use serde::Serialize;

use crate::error::{Error, Result, one_line};
use crate::time::Seconds;
use crate::tools::dispatch::status::decide::{self as status, MemberStatus, ModelStatus, duration};

/// Which document this is; a number that grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    converged: bool,
    models: &'a [ModelStatus],
}

/// One line of JSON (docs/fleet.md).
pub fn json(models: &[ModelStatus]) -> Result<String> {
    let converged = models.iter().all(|model| model.converged);
    let document = Document { schema: SCHEMA, converged, models };
    serde_json::to_string(&document).map_err(|e| Error::failed(format!("the status cannot be written: {e}")))
}

/// A line for each model.
pub fn overview(models: &[ModelStatus], has_colour: bool) -> String {
    let line = |model: &ModelStatus| coloured(&one_line(&model.headline()), colour_of(model), has_colour);
    models.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A headline, a line for each member, and one for each bad version.
pub fn table(models: &[ModelStatus], has_colour: bool) -> String {
    let mut lines = vec![overview(models, has_colour)];
    for model in models.iter().filter(|model| !model.members.is_empty()) {
        let rows: Vec<[String; 5]> = model.members.iter().map(row).collect();
        let header = ["MEMBER", "VERDICT", "VERSION", "AGE", "WHY"].map(str::to_owned);
        let widths: Vec<usize> = (0..4).map(|column| width(&header, &rows, column)).collect();
        lines.push(padded(&header, &widths));
        for (row, member) in rows.iter().zip(&model.members) {
            lines.push(coloured(&padded(row, &widths), colour_of_member(member), has_colour));
        }
        lines.extend(model.bad_lines().map(|line| one_line(&line)));
    }
    lines.join("\n")
}

fn row(member: &MemberStatus) -> [String; 5] {
    let age = match (member.version_from, member.version_age_s) {
        (Some("report"), Some(age)) => duration(Seconds(age)),
        (Some(_), _) => "live".to_owned(),
        (None, _) => "-".to_owned(),
    };
    let version = member.version.clone().unwrap_or_else(|| "-".to_owned());
    [member.member.clone(), member.verdict.to_owned(), version, age, one_line(&member.why)]
}

fn width(header: &[String; 5], rows: &[[String; 5]], column: usize) -> usize {
    let cells = rows.iter().chain([header]).filter_map(|row| row.get(column));
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn padded(row: &[String; 5], widths: &[usize]) -> String {
    let cells = row.iter().enumerate().map(|(column, cell)| match widths.get(column) {
        Some(&width) => format!("{cell:width$}  "),
        None => cell.clone(),
    });
    cells.collect::<String>().trim_end().to_owned()
}

fn colour_of(model: &ModelStatus) -> &'static str {
    let has_failed = model.problem.is_some() || model.members.iter().any(|member| member.has_failed);
    match (model.converged, has_failed) {
        (true, _) => GREEN,
        (false, true) => RED,
        (false, false) => YELLOW,
    }
}

fn colour_of_member(member: &MemberStatus) -> &'static str {
    match member.verdict {
        status::CURRENT => GREEN,
        status::HELD => CYAN,
        status::UNREACHABLE => RED,
        _ if member.has_failed => RED,
        _ => YELLOW,
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

fn coloured(text: &str, colour: &str, has_colour: bool) -> String {
    if has_colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}
