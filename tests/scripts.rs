//! The reconstructed scripts by themselves: what a reader relies on.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::parts::{need, project};

/// Every script cites the contract, and the defects of contract section 5 are all there, each by its number; 12 to 14 are
/// the manual's commands.
#[test]
fn the_scripts_cite_the_contract_and_every_defect() {
    let mut cited = BTreeSet::new();
    for entry in std::fs::read_dir(project().join("legacy-scripts")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("contract section "), "{}", path.display());
        // "(section 3; defects 4, 18)", also over the end of a comment line.
        let text = text.replace("\n#", " ");
        for list in
            text.split("(").filter_map(|text| text.split(')').next()).filter(|text| text.contains("defect"))
        {
            let numbers =
                list.split("defect").skip(1).flat_map(|text| text.split(|c: char| !c.is_ascii_digit()));
            cited.extend(numbers.filter_map(|number| number.parse::<u32>().ok()));
        }
    }
    let expected: BTreeSet<u32> = (1..=26).filter(|number| !(12..=14).contains(number)).collect();
    assert_eq!(cited, expected);
}

/// Without `address` in env.sh a member calls itself by the first address of its host, as the script does.
#[test]
fn a_member_without_a_name_calls_itself_by_its_first_address() {
    need!("hostname");
    let output = Command::new("hostname").arg("-I").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ours = model_rollout::machine::environment::first_address().map(|ip| ip.to_string());
    assert_eq!(ours.as_deref(), text.split_whitespace().next());
}
