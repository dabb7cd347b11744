//! The laws of the table of ports on generated files.

use model_rollout::formats::port_table::PortTable;
use model_rollout::names::Port;
use proptest::prelude::*;
use proptest::sample::select;

use crate::shells::cases;

const OTHERS: [&str; 8] = [
    "",
    "# 端口",
    "text with a | in it",
    "| a | b |\n|---|---|\n| 17000 | x |\n",
    "```\n| port | service id |\n|---|---|\n```",
    "~~~~\n```\n~~~~",
    "> | port | service id |",
    "- item",
];

/// A cell of a row, as it is written.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z_]{0,6}",
        1 => select(vec!["a\\|b", "黄色", "\\", "`x`", "**y**", "C:\\\\", "#", "17019"]).prop_map(str::to_owned),
    ]
}

/// A file with one table of ports, and the number of its rows.
fn file() -> impl Strategy<Value = (String, usize)> {
    let rows = prop::collection::vec((1..u16::MAX, cell(), cell(), any::<bool>()), 0..8);
    let parts = (prop::collection::vec(select(OTHERS.to_vec()), 0..4), rows, any::<bool>());
    let style =
        (select(vec!["\n", "\r\n"]), any::<bool>(), prop::collection::vec(select(OTHERS.to_vec()), 0..4));
    (parts, style).prop_map(|((before, mut rows, sorted), (newline, is_ended, after))| {
        if sorted {
            rows.sort();
            rows.dedup_by_key(|row| row.0);
        }
        let mut lines: Vec<String> = before.iter().map(|text| format!("{text}\n")).collect();
        lines.push("\n| 模型 | Port | service id |\n|:---|---:|---|".to_owned());
        lines.extend(rows.iter().map(|(port, model, id, bare)| match bare {
            true => format!("m{model} | {port} | {id} |"),
            false => format!("|{model} |{port}| {id}  |"),
        }));
        lines.extend(after.iter().map(|text| format!("\n{text}")));
        let mut text = lines.join("\n");
        if is_ended {
            text.push('\n');
        }
        (text.replace('\n', newline), rows.len())
    })
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_bytes_come_back_or_are_refused_with_their_line(source in prop::collection::vec(any::<u8>(), 0..200)) {
        match PortTable::parse(&source) {
            Ok(table) => prop_assert_eq!(table.render(), &source[..]),
            Err(finding) => prop_assert!(finding.line <= source.split(|b| *b == b'\n').count()),
        }
    }

    #[test]
    fn a_row_that_is_added_is_read_back_and_nothing_else_changes(
        (text, count) in file(),
        port in 1..u16::MAX,
        model in select(vec!["m", "a|b", "\\|", "|", "\\", "", "# x", "黄 色", "---"]),
    ) {
        let table = PortTable::parse(text.as_bytes()).map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
        prop_assert_eq!(table.render(), text.as_bytes());
        prop_assert_eq!(table.rows().len(), count, "{}", text);
        let mut longer = table.clone();
        let asked = [model.to_owned(), port.to_string(), "new-id".to_owned()];
        longer.insert(Port::parse(port.to_string().as_bytes()).unwrap(), &asked).unwrap();

        let new = longer.rows().iter().position(|row| row.service_id() == b"new-id").unwrap();
        prop_assert_eq!(&longer.rows()[new].cells, &asked.map(String::into_bytes), "{}", text);
        let cells = |table: &PortTable| table.rows().iter().map(|row| row.cells.clone()).collect::<Vec<_>>();
        let mut others = cells(&longer);
        others.remove(new);
        prop_assert_eq!(others, cells(&table));
        // The text is what the longer one begins with, and what it ends with.
        let (before, after) = (text.as_bytes(), longer.render());
        let begin = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        prop_assert!(after.ends_with(&before[begin..]), "{} became {}", text, String::from_utf8_lossy(after));
        let ports = |table: &PortTable| table.rows().iter().filter_map(|row| row.port()).map(Port::number).collect::<Vec<_>>();
        if ports(&table).is_sorted_by(|a, b| a < b) {
            prop_assert!(ports(&longer).is_sorted(), "{}", text);
        }
    }

    #[test]
    fn what_is_taken_twice_is_found_in_the_later_line((text, _) in file()) {
        let table = PortTable::parse(text.as_bytes()).unwrap();
        let found = table.findings();
        for (index, row) in table.rows().iter().enumerate() {
            let before = &table.rows()[..index];
            let is_found = |words: &str| found.iter().any(|f| f.line == row.line && f.what.contains(words));
            let port_is_taken = before.iter().any(|other| other.port() == row.port());
            let id_is_taken = !row.service_id().is_empty() && before.iter().any(|o| o.service_id() == row.service_id());
            prop_assert_eq!(is_found("already, for"), port_is_taken && row.port().is_some());
            prop_assert_eq!(is_found("service id \u{201c}"), id_is_taken);
        }
        prop_assert!(found.is_sorted_by_key(|finding| finding.line));
    }
}
