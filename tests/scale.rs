//! docs/scale.md shows what the simulation prints.

use std::process::Command;

#[test]
fn the_tables_of_the_document_are_those_of_the_simulation() {
    let own = std::env::current_exe().unwrap();
    let scale = own.parent().unwrap().parent().unwrap().join("examples/scale");
    assert!(scale.is_file(), "{} is not there; run cargo build --examples", scale.display());
    let output = Command::new(scale).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.md")).unwrap();
    let tables: Vec<&str> = printed.split("\n\n").map(str::trim).collect();
    assert_eq!(tables.len(), 2, "{printed}");
    for table in tables {
        assert!(document.contains(table), "make scale prints another table:\n{table}");
    }
}
