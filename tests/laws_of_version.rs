//! The version that `success` announces is the one that the script's pipeline finds; and dates are those of `date`.

use std::fs;
use std::path::Path;
use std::process::Command;

use model_rollout::version::Version;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::shells::{self, INSTANTS, Surroundings, ZONES, shown};

const BATCH: usize = 50;

/// `head ... | awk ... | grep ...` as dispatch.sh has it.
fn pipeline() -> String {
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("legacy-scripts/dispatch.sh"))
        .expect("the script is here");
    let line =
        script.lines().find(|line| line.contains("version=$(head -n 1")).expect("the pipeline is there");
    line.trim().trim_start_matches("version=$(").trim_end_matches(')').to_owned()
}

/// What the pipeline prints for each content.
fn announced_by_script(contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let dir = TempDir::new().expect("a temporary directory");
    for (index, content) in contents.iter().enumerate() {
        fs::create_dir(dir.path().join(index.to_string())).expect("a free name");
        fs::write(dir.path().join(format!("{index}/success")), content).expect("a writable directory");
    }
    let script =
        format!("for upload in $(seq 0 {}); do {}; printf '\\0'; done", contents.len() - 1, pipeline());
    let output =
        Command::new("/bin/sh").args(["-c", &script]).current_dir(dir.path()).env("LC_ALL", "C").output();
    let output = output.expect("sh is installed").stdout;
    let found = output.split(|b| *b == 0).take(contents.len());
    // Command substitution loses the newline.
    found.map(|version| version.strip_suffix(b"\n").unwrap_or(version).to_vec()).collect()
}

fn success() -> impl Strategy<Value = Vec<u8>> {
    let digits = prop_oneof![Just(14), 7..16usize].prop_map(|n| b"20180413192258123"[..n].to_vec());
    let suffix = select(vec![
        &b""[..],
        b"",
        b"",
        b".rc1",
        b"_a",
        b"-9",
        b".",
        b"-a-b",
        b"/..",
        b".\xe9",
        b"x",
        b"\xff",
    ]);
    let blank = || select(vec![&b""[..], b"", b"", b" ", b"\t", b"  ", b"\n", b"\x0b", b"\x0c", b"\xc2\xa0"]);
    let end = select(vec![
        &b""[..],
        b"\n",
        b"\n",
        b"\r\n",
        b" by yuxiang8\n",
        b"\tx",
        b"\nx\n",
        b"\r",
        b"\x0c\n",
        b"\x0b",
        b",x",
    ]);
    let noise = proptest::collection::vec(select(&b"0189 \t\n\r\x0b\x0c._-ab\xff"[..]), 0..24);
    prop_oneof![
        6 => (blank(), digits, suffix, end).prop_map(|(blank, digits, suffix, end)| [blank, &digits, suffix, end].concat()),
        1 => noise,
        1 => Just(Vec::new()),
        1 => Just(b"mblog_yellow\n".to_vec()),
    ]
}

#[test]
fn success_announces_the_version_that_the_script_finds() {
    let config = shells::cases(500);
    let config = Config { cases: (config.cases / BATCH as u32).max(1), max_shrink_iters: 0, ..config };
    let result = TestRunner::new(config).run(&proptest::collection::vec(success(), BATCH), |contents| {
        for (content, script) in contents.iter().zip(announced_by_script(&contents)) {
            let ours = Version::announced_in(content).map(|version| version.to_string()).unwrap_or_default();
            prop_assert_eq!(
                shown(ours.as_bytes()),
                shown(&script),
                "ours (left), the script's (right): {}",
                shown(content)
            );
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}", shells::reason(&failure)));
}

/// Every conversion with every flag that could be known: `%Y`, `%-d`, `%:z`, `%Ey`.
fn conversions() -> Vec<Vec<u8>> {
    let flags = ["", "-", "_", "0", ":", "^", "#", "+", "E", "O"];
    let letters = (0x21..=0x7eu8).filter(|byte| *byte != b'\'');
    letters.flat_map(|letter| flags.map(|flag| [b"%", flag.as_bytes(), &[letter]].concat())).collect()
}

#[test]
fn every_conversion_that_is_taken_prints_what_date_prints() {
    let mut compared = 0;
    for zone in
        ZONES.into_iter().chain(["Asia/Kathmandu", "America/St_Johns", "America/Sao_Paulo", "XYZ3:30"])
    {
        for instant in INSTANTS {
            let now = Surroundings::at(instant, zone).local_time();
            let known: Vec<_> =
                conversions().into_iter().filter_map(|c| Some((now.format(&c).ok()?, c))).collect();
            let format = known.iter().map(|(_, conversion)| &conversion[..]).collect::<Vec<_>>().join(&b'|');
            let format = format!("+{}", String::from_utf8_lossy(&format));
            let at = format!("@{instant}");
            let output = output_of(Command::new("/bin/date").args(["-d", &at, &format]), zone);
            let ours = known.iter().map(|(text, _)| &text[..]).collect::<Vec<_>>().join(&b'|');
            if output != ours {
                let theirs = output.split(|b| *b == b'|');
                for ((ours, conversion), theirs) in known.iter().zip(theirs) {
                    assert_eq!(shown(ours), shown(theirs), "{} in {zone} at {instant}", shown(conversion));
                }
                assert_eq!(shown(&ours), shown(&output), "in {zone} at {instant}");
            }
            compared += known.len();
            let plain = output_of(Command::new("/bin/date").args(["-d", &at]), zone);
            let words: Vec<_> = plain.split(|b| *b == b' ').filter(|word| !word.is_empty()).collect();
            assert_eq!(now.date_words().as_bytes(), words.join(&b' '), "{zone} {instant}");
        }
    }
    println!("compared {compared} dates");
    assert!(compared > 5000);
}

/// What `date` prints, without its newline.
fn output_of(date: &mut Command, zone: &str) -> Vec<u8> {
    let mut output = date.env("TZ", zone).env("LC_ALL", "C").output().expect("date is installed").stdout;
    output.pop();
    output
}
