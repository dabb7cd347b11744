//! What the table and the monitor say, as pure functions of what was read.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::Finding;
use crate::formats::port_table::{PortTable, Row};
use crate::names::{ModelName, Port, shown};
use crate::tools::Found;
use crate::tools::edit::Action;
use crate::tools::port_registry::cli::NewRow;

/// A service.conf of the monitor that names a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The service.conf.
    pub file: PathBuf,
    /// The line of its port.
    pub line: usize,
    /// Whose it is.
    pub model: ModelName,
    /// The port.
    pub port: Port,
    /// Its service id, if it registers itself.
    pub service_id: Option<Vec<u8>>,
}

/// A column is made as wide as this for its texts, and no wider: a longer one pushes the rest of its row aside.
const WIDEST: usize = 60;

/// The table for people: its columns aligned.
pub fn listing(table: &PortTable) -> Vec<String> {
    let text = |cells: &[Vec<u8>]| -> Vec<String> {
        cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
    };
    let lines: Vec<Vec<String>> = std::iter::once(text(table.header()))
        .chain(table.rows().iter().map(|row| text(&row.cells)))
        .collect();
    let mut widths = vec![0; lines.iter().map(Vec::len).max().unwrap_or(0)];
    for line in &lines {
        for (widest, cell) in widths.iter_mut().zip(line) {
            *widest = width(cell).min(WIDEST).max(*widest);
        }
    }
    let aligned = |line: &Vec<String>| {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, widest)| format!("{cell}{}", " ".repeat(widest.saturating_sub(width(cell)))));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(aligned).collect()
}

/// How many columns of a terminal a text takes: a Chinese character takes two.
fn width(text: &str) -> usize {
    let is_wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// What is wrong with the table, and then each service.conf that it does not agree with.
pub fn check(file: &Path, table: &PortTable, uses: &[Use]) -> Vec<Found> {
    let of_table = table.findings().into_iter().map(|finding| (file.to_path_buf(), finding));
    let of_uses = uses.iter().filter_map(|used| stray(file, table, used));
    of_table.chain(of_uses).collect()
}

/// A port that is used and not in the table, or there for another service.
fn stray(file: &Path, table: &PortTable, used: &Use) -> Option<Found> {
    let (port, file) = (used.port, file.display());
    let owners = table.rows_of(port);
    if owners.iter().any(|row| row.is_of(&used.model, used.service_id.as_deref())) {
        return None;
    }
    let (what, instead) = match owners.first() {
        Some(row) => (
            format!("port {port} is that of {} ({file}:{})", shown(row.service_id()), row.line),
            format!("write the port of {}, or correct the table", used.model),
        ),
        None => {
            (format!("port {port} is not in {file}"), format!("port-registry add {port} {}", name_of(used)))
        }
    };
    Some((used.file.clone(), Finding::new(used.line, what, instead)))
}

fn name_of(used: &Use) -> String {
    match &used.service_id {
        Some(id) => String::from_utf8_lossy(id).into_owned(),
        None => used.model.to_string(),
    }
}

/// The steps of adding a row. Fails, and nothing is to be done, when its port or service id is taken, in the table or by a
/// service.conf of the monitor, and when the table has no such columns.
pub fn add(file: &Path, table: &PortTable, new: &NewRow, uses: &[Use]) -> Result<Vec<Action>> {
    let (port, id) = (new.port, &new.service_id);
    let has_id = |row: &Row| row.service_id() == id.as_str().as_bytes();
    let taken = table.rows().iter().find(|row| row.port() == Some(port) || has_id(row));
    if let Some(row) = taken {
        let place = format!("{}:{}", file.display(), row.line);
        if row.port() == Some(port) && has_id(row) {
            return Ok(vec![Action::Say(format!(
                "{place}: {port} {id} is there already; nothing was changed"
            ))]);
        }
        return Err(Error::failed(match row.port() == Some(port) {
            true => {
                format!("{place}: port {port} is that of {}; choose another port", shown(row.service_id()))
            }
            false => {
                format!("{place}: service id {id} has another port; choose another id, or correct that row")
            }
        }));
    }
    let mut longer = table.clone();
    longer.insert(port, &cells(file, table, new)?).map_err(|finding| finding.in_file(file))?;
    let line = longer.rows().iter().find(|row| row.port() == Some(port)).map_or(0, |row| row.line);
    let clash =
        uses.iter().filter(|used| used.port == port).find(|used| stray(file, &longer, used).is_some());
    if let Some(used) = clash {
        return Err(Error::failed(format!(
            "{}:{}: {} listens on port {port}; choose another port, or correct that service.conf",
            used.file.display(),
            used.line,
            name_of(used)
        )));
    }
    let said = format!("{}:{line}: added {port} {id}", file.display());
    Ok(vec![Action::Replace(longer.render().to_vec()), Action::Say(said)])
}

/// The new row's cells, one for each column.
fn cells(file: &Path, table: &PortTable, new: &NewRow) -> Result<Vec<String>> {
    let columns = table.columns();
    let place = format!("{}:{}", file.display(), table.header_line());
    let titles: Vec<String> =
        table.header().iter().map(|title| String::from_utf8_lossy(title).into_owned()).collect();
    let mut cells = vec![String::new(); titles.len()];
    cells[columns.port] = new.port.to_string();
    cells[columns.service_id] = new.service_id.to_string();
    match (columns.model, &new.model) {
        (Some(column), model) => {
            cells[column] = model.as_ref().map_or(new.service_id.to_string(), ModelName::to_string)
        }
        (None, None) => {}
        (None, Some(_)) => {
            return Err(Error::usage(format!(
                "{place}: no column of the table is the model; leave --model out"
            )));
        }
    }
    for (title, text) in &new.others {
        match titles.iter().position(|known| known == title) {
            Some(column) if cells[column].is_empty() => cells[column] = text.clone(),
            Some(_) => {
                return Err(Error::usage(format!("{title} is given twice; leave one --set {title}= out")));
            }
            None => {
                let known = titles.join(", ");
                return Err(Error::usage(format!("{place}: there is no column {title}; there are: {known}")));
            }
        }
    }
    Ok(cells)
}
