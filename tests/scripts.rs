//! The reconstructed scripts by themselves: what has no binary yet, and what a reader relies on.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::parts::{legacy_scripts, need, project};
use crate::harness::world::MODEL;
use crate::harness::{Sandbox, Side, Tool};

/// dockerrun.sh has no binary yet: its command line is recorded, under both shells.
#[test]
fn dockerrun_starts_the_container_of_the_contract() {
    need!("rsync", "dash", "bash");
    let sandbox = Sandbox::new();
    for shell in ["dash", "bash"] {
        let world = sandbox.world();
        let mut command = Command::new(shell);
        command.arg(legacy_scripts().join("dockerrun.sh")).args(["v1.0", "image", "17019", MODEL]);
        world.prepare(&mut command, Tool::Add, Side::SCRIPT);
        let outcome = world.finish(&mut command);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let (host, workspace) = ("/data1/service/17019", "/data1/work/datasys/framework/service/workspace");
        let volume = |below: &str, inside: &str| ["-v".to_owned(), format!("{host}/{below}:{inside}")];
        let mut expected = vec!["docker".to_owned()];
        let mut words = vec!["run".to_owned(), "-d".to_owned(), "--net=host".to_owned()];
        words.extend(volume(&format!("plugin/{MODEL}"), &format!("{workspace}/plugin/{MODEL}")));
        for dir in ["log", "temp", "bin/etc"] {
            words.extend(volume(dir, &format!("{workspace}/{dir}")));
        }
        words.extend(volume("watch/log", "/watch/log"));
        words.extend(
            ["-e", "ENV_SERVICE_NAME=mblog_yellow", "-e", "ENV_SERVICE_PORT=17019"].map(str::to_owned),
        );
        words.push("registry.intra.weibo.com/weibo_rd_algorithmplatform/image:v1.0".to_owned());
        expected.extend(words.iter().map(|word| format!("  {word}")));
        assert_eq!(outcome.journal, expected, "{shell}");
    }
}

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
