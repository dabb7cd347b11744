//! compat/differences.md is held against the tests that it names, both ways.

use std::collections::BTreeSet;

use crate::golden::{Expected, every_scenario};
use crate::harness::parts::project;

const LEDGER: &str = include_str!("../compat/differences.md");

/// The heading and the text of every entry.
fn entries() -> Vec<(&'static str, &'static str)> {
    let entries = LEDGER.split("\n### ").skip(1);
    entries.map(|entry| entry.split_once('\n').expect("an entry has a text")).collect()
}

#[test]
fn every_difference_that_a_scenario_shows_is_listed_with_its_test() {
    let entries = entries();
    for (name, scenario) in every_scenario() {
        if let Expected::Differ { entry, .. } = scenario.expected {
            let text = entries.iter().find(|(heading, _)| *heading == entry).map(|(_, text)| *text);
            let text = text
                .unwrap_or_else(|| panic!("{name}: \u{201c}{entry}\u{201d} is not in compat/differences.md"));
            assert!(
                text.contains(&format!("`golden::{name}`")),
                "\u{201c}{entry}\u{201d} does not name {name}"
            );
        }
    }
}

#[test]
fn every_entry_names_a_test_that_is_there() {
    for (heading, text) in entries() {
        let (_, named) =
            text.split_once("Shown by:").unwrap_or_else(|| panic!("{heading}: no test is named"));
        let named: BTreeSet<&str> =
            named.split("\n## ").next().unwrap_or_default().split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{heading}");
        for test in named {
            let (module, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{heading}: {test}"));
            let path = project().join("tests").join(module.replace("::", "/"));
            let file = if path.is_dir() { path.join("mod.rs") } else { path.with_extension("rs") };
            let source =
                std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{test}: {}: {e}", file.display()));
            let is_there =
                [format!("fn {name}("), format!(" {name}: ")].iter().any(|form| source.contains(form));
            assert!(is_there, "{heading}: there is no {test}");
        }
    }
}
