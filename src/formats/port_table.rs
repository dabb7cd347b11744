//! The table of ports and service ids (manual, step 4.7): one Markdown table, kept by hand. A row is inserted; every other
//! byte stays.
//!
//! Which table of a file it is: the one whose header names a port (`port`, `端口`) and whose file has no other such one. Its
//! other columns are found by their headers, too: the service id (`service id`, `服务id`), and, where there is one, the model
//! (`model`, `module`, `plugin`, `模型`, `模块`, `插件`). Rows are read as GitLab reads them: up to a blank line, a heading, a
//! quotation or a code block; `\|` is no end of a cell; what is in a code block is no table.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::formats::Finding;
use crate::names::{ModelName, Port, shown};

/// What a file without a table needs.
const EXAMPLE: &str =
    "write | port | service id | model |, below it |---|---|---|, and a row for each service";

/// A file with its table.
#[derive(Debug, Clone)]
pub struct PortTable {
    source: Vec<u8>,
    header: Vec<Vec<u8>>,
    columns: Columns,
    /// The header's line, and that of the dashes.
    head: [Line; 2],
    rows: Vec<Row>,
}

/// Which column holds what, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// The port.
    pub port: usize,
    /// The service id.
    pub service_id: usize,
    /// The model.
    pub model: Option<usize>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line, from 1.
    pub line: usize,
    /// Its cells, without the blanks around them and with `|` for `\|`.
    pub cells: Vec<Vec<u8>>,
    columns: Columns,
    text: Range<usize>,
}

impl Row {
    /// Its port; `None` where the cell holds something else.
    pub fn port(&self) -> Option<Port> {
        Port::parse(self.plain(self.columns.port)).ok()
    }

    /// Its service id; empty where there is none.
    pub fn service_id(&self) -> &[u8] {
        self.plain(self.columns.service_id)
    }

    /// Its model; empty where there is none.
    pub fn model(&self) -> &[u8] {
        self.columns.model.map_or(b"", |model| self.plain(model))
    }

    /// Whether it is that of a service: by its service id, or by its model where one of the two names none.
    pub fn is_of(&self, model: &ModelName, service_id: Option<&[u8]>) -> bool {
        let model = model.as_str().as_bytes();
        match service_id {
            Some(id) if !self.service_id().is_empty() => self.service_id() == id,
            _ => self.model() == model || self.service_id() == model,
        }
    }

    /// A cell without marks of code and of bold type.
    fn plain(&self, column: usize) -> &[u8] {
        let is_mark = |b: &u8| matches!(b, b'`' | b'*');
        let cell = self.cells.get(column).map(Vec::as_slice).unwrap_or_default();
        let start = cell.iter().take_while(|b| is_mark(b)).count();
        let end = cell.len() - cell[start..].iter().rev().take_while(|b| is_mark(b)).count();
        &cell[start..end]
    }
}

/// A line: its number, and its text without the line end.
#[derive(Debug, Clone)]
struct Line {
    number: usize,
    text: Range<usize>,
}

impl PortTable {
    /// Finds the table of a file. Fails where there is none, or more than one, or one without service ids.
    pub fn parse(source: &[u8]) -> Result<PortTable, Finding> {
        let lines = lines_outside_code(source);
        let mut heads = lines.windows(2).enumerate().filter_map(|(at, pair)| {
            let header = header(source, pair)?;
            header.iter().any(|cell| names_port(cell)).then_some((at, header))
        });
        let Some((at, header)) = heads.next() else { return Err(no_table(source)) };
        let head = [lines[at].clone(), lines[at + 1].clone()];
        let line = head[0].number;
        if let Some((other, _)) = heads.next() {
            let what = format!("there is another table with ports in line {line}");
            return Err(Finding::new(lines[other].number, what, "leave one table of ports in this file"));
        }
        let Some(columns) = Columns::of(&header) else {
            return Err(Finding::new(
                line,
                "no column of the table is the service id",
                "name one: service id",
            ));
        };
        let rows = lines[at + 2..].iter().zip(head[1].number + 1..);
        let rows = rows.take_while(|(line, number)| {
            // A code block, which is left out, ends the table.
            line.number == *number && !ends_table(&source[line.text.clone()])
        });
        let row = |(line, _): (&Line, usize)| Row {
            line: line.number,
            cells: cells(&source[line.text.clone()]),
            columns,
            text: line.text.clone(),
        };
        let rows = rows.map(row).collect();
        Ok(PortTable { source: source.to_vec(), header, columns, head, rows })
    }

    /// The file's bytes.
    pub fn render(&self) -> &[u8] {
        &self.source
    }

    /// The titles of the columns.
    pub fn header(&self) -> &[Vec<u8>] {
        &self.header
    }

    /// The line of the titles, from 1.
    pub fn header_line(&self) -> usize {
        self.head[0].number
    }

    /// Which column holds what.
    pub fn columns(&self) -> Columns {
        self.columns
    }

    /// The rows in the order of the file.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The rows that give a port away.
    pub fn rows_of(&self, port: Port) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.port() == Some(port)).collect()
    }

    /// What is wrong with the rows, by line: no port, no service id, too few or too many cells; or one that is taken.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (mut ports, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for row in &self.rows {
            let problem = self.problem(row);
            findings.extend(problem.map(|(what, instead)| Finding::new(row.line, what, instead)));
            if let Some(port) = row.port() {
                let first: &Row = ports.entry(port.number()).or_insert(row);
                if first.line != row.line {
                    let what = format!(
                        "port {port} is in line {} already, for {}",
                        first.line,
                        shown(first.service_id())
                    );
                    findings.push(Finding::new(row.line, what, "give one of the two another port"));
                }
            }
            let id = row.service_id();
            let first = *ids.entry(id).or_insert(row.line);
            if first != row.line && !id.is_empty() {
                let what = format!("service id {} is in line {first} already", shown(id));
                findings.push(Finding::new(row.line, what, "give one of the two another service id"));
            }
        }
        findings
    }

    fn problem(&self, row: &Row) -> Option<(String, &'static str)> {
        if std::str::from_utf8(&self.source[row.text.clone()]).is_err() {
            return Some(("the row is not UTF-8".to_owned(), "write it in UTF-8 (iconv -f GBK -t UTF-8)"));
        }
        let (count, expected) = (row.cells.len(), self.header.len());
        if count != expected {
            let what = format!("the row has {count} cells and the table {expected} columns");
            return Some((what, "write a cell for each column, and a | within a text as \\|"));
        }
        let port = row.plain(self.columns.port);
        if row.port().is_none() {
            let what = if port.is_empty() {
                "there is no port".to_owned()
            } else {
                format!("port is {}", shown(port))
            };
            return Some((what, "write a number from 1 to 65535"));
        }
        row.service_id()
            .is_empty()
            .then(|| ("there is no service id".to_owned(), "write it, or remove the row"))
    }

    /// Inserts a row with these cells: where the ports ascend before the first greater one, otherwise behind the last row.
    /// The caller has seen that there is a cell for each column, and no line end in any.
    pub fn insert(&mut self, port: Port, cells: &[String]) -> Result<(), Finding> {
        let ports: Option<Vec<u16>> = self.rows.iter().map(|row| row.port().map(Port::number)).collect();
        let ascending = ports.filter(|ports| ports.is_sorted_by(|a, b| a < b));
        let place = ascending
            .and_then(|ports| ports.iter().position(|other| *other > port.number()))
            .unwrap_or(self.rows.len());
        let before = match place.checked_sub(1).and_then(|last| self.rows.get(last)) {
            Some(row) => &row.text,
            None => &self.head[1].text,
        };
        let at = before.end;
        let has_returns = self.source[self.head[0].text.end..].starts_with(b"\r");
        let mut inserted = if has_returns { b"\r\n|".to_vec() } else { b"\n|".to_vec() };
        for cell in cells {
            inserted.extend(format!(" {} |", cell.trim().replace('|', "\\|")).into_bytes());
        }
        let mut source = self.source.clone();
        source.splice(at..at, inserted);
        *self = PortTable::parse(&source)?;
        Ok(())
    }
}

impl Columns {
    fn of(header: &[Vec<u8>]) -> Option<Columns> {
        let port = header.iter().position(|cell| names_port(cell))?;
        let find = |names: &[&str], taken: &[usize]| {
            let holds = |cell: &[u8]| names.iter().any(|name| squeezed(cell).contains(name));
            header.iter().enumerate().position(|(at, cell)| !taken.contains(&at) && holds(cell))
        };
        let service_id = find(&["serviceid", "服务id"], &[port])?;
        let model = find(&["model", "module", "plugin", "模型", "模块", "插件"], &[port, service_id]);
        Some(Columns { port, service_id, model })
    }
}

fn no_table(source: &[u8]) -> Finding {
    match std::str::from_utf8(source) {
        Ok(_) => Finding::new(1, "no table of this file names a port in its header", EXAMPLE),
        Err(error) => {
            let line = 1 + source[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            let what = "no table of this file names a port in its header, and it is not UTF-8";
            Finding::new(line, what, "write it in UTF-8 (iconv -f GBK -t UTF-8)")
        }
    }
}

/// The lines, but for code blocks and what is in them.
fn lines_outside_code(source: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut fence: Option<&[u8]> = None;
    let mut start = 0;
    for (index, line) in source.split_inclusive(|b| *b == b'\n').enumerate() {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match (fence, fence_of(text)) {
            (None, Some(opening)) => fence = Some(opening),
            (Some(opening), Some(closing)) if closing.starts_with(opening) => fence = None,
            (Some(_), _) => {}
            (None, None) => lines.push(Line { number: index + 1, text: start..start + text.len() }),
        }
        start += line.len();
    }
    lines
}

/// The signs with which a line opens or closes a code block.
fn fence_of(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    let sign = text.first().filter(|b| matches!(b, b'`' | b'~'))?;
    let length = text.iter().take_while(|b| *b == sign).count();
    (length >= 3).then_some(&text[..length])
}

/// The titles of a table that begins with these two lines.
fn header(source: &[u8], lines: &[Line]) -> Option<Vec<Vec<u8>>> {
    let [head, dashes] = lines else { return None };
    let (text, below) = (&source[head.text.clone()], &source[dashes.text.clone()]);
    if dashes.number != head.number + 1 || !text.contains(&b'|') || ends_table(text) {
        return None;
    }
    let (header, dashes) = (cells(text), cells(below));
    let is_dashes = |cell: &Vec<u8>| {
        let cell = cell.strip_prefix(b":").unwrap_or(cell);
        let cell = cell.strip_suffix(b":").unwrap_or(cell);
        !cell.is_empty() && cell.iter().all(|b| *b == b'-')
    };
    (header.len() == dashes.len() && dashes.iter().all(is_dashes)).then_some(header)
}

/// Whether a line cannot be a row: a blank one, a heading, a quotation.
fn ends_table(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let signs = text.iter().take_while(|b| **b == b'#').count();
    let is_heading = (1..=6).contains(&signs) && text.get(signs).is_none_or(|b| matches!(b, b' ' | b'\t'));
    text.is_empty() || is_heading || text.starts_with(b">")
}

/// The cells of a row. The `|` at its begin and end may be left out; one behind a `\` belongs to the text.
fn cells(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"|").unwrap_or(text);
    let mut cells = Vec::new();
    let mut start = 0;
    for at in 0..text.len() {
        if text[at] == b'|' && (at == 0 || text[at - 1] != b'\\') {
            cells.push(unescaped(&text[start..at]));
            start = at + 1;
        }
    }
    if start < text.len() || cells.is_empty() {
        cells.push(unescaped(&text[start..]));
    }
    cells
}

fn unescaped(cell: &[u8]) -> Vec<u8> {
    let cell = cell.trim_ascii();
    let is_escape = |at: usize| cell[at] == b'\\' && cell.get(at + 1) == Some(&b'|');
    (0..cell.len()).filter(|at| !is_escape(*at)).map(|at| cell[at]).collect()
}

/// Whether a title is that of the ports: a word of its own, not a part of `report`.
fn names_port(title: &[u8]) -> bool {
    let title = String::from_utf8_lossy(title).to_lowercase();
    let mut words = title.split(|c: char| !c.is_ascii_alphanumeric());
    title.contains("端口") || words.any(|word| matches!(word, "port" | "ports" | "moduleport"))
}

/// A title in small letters, without blanks and signs.
fn squeezed(title: &[u8]) -> String {
    let title = String::from_utf8_lossy(title).to_lowercase();
    title.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// A text that a cell can hold: no line end, nothing that a terminal obeys.
pub fn is_cell(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
