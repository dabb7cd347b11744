//! `--dry-run`: the diff is what the run would do, and the run does nothing.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use model_rollout::diff::unified;
use model_rollout::machine::locks::{Lock, Wait};
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::outcome::Tree;
use crate::harness::parts::need;
use crate::harness::side::under_test;
use crate::harness::{Sandbox, Side, Tool, World};
use crate::shells::cases;

/// What a diff makes of a text, by its one hunk.
pub fn patched(old: &[u8], diff: &[Vec<u8>]) -> Vec<u8> {
    let [_, _, place, hunk @ ..] = diff else { return old.to_vec() };
    let place = String::from_utf8(place.clone()).unwrap();
    let numbers: Vec<usize> = place.split([' ', ',', '-', '+', '@']).filter_map(|n| n.parse().ok()).collect();
    let [from, removed, _, added] = numbers[..] else { panic!("{place}") };
    let before: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let first = if removed == 0 { from } else { from - 1 };
    let (mut kept, mut new) = (Vec::new(), vec![before[..first].concat()]);
    let mut last = b' ';
    for line in hunk {
        let is_note = line[0] == b'\\';
        let text = [&line[1..], b"\n"].concat();
        let sign = if is_note { last } else { line[0] };
        for (side, other) in [(&mut kept, b'+'), (&mut new, b'-')] {
            match (sign != other, is_note) {
                (true, false) => side.push(text.clone()),
                (true, true) => assert_eq!(side.last_mut().and_then(Vec::pop), Some(b'\n')),
                (false, _) => {}
            }
        }
        last = sign;
    }
    assert_eq!((kept.len(), new.len() - 1), (removed, added), "{place}");
    assert_eq!(kept.concat(), before[first..first + removed].concat(), "{place}");
    new.push(before[first + removed..].concat());
    new.concat()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec![&b"a\n"[..], b"a\n", b"b\n", b"\n", b"-x\r\n", b"+\xff\n", b"@@\n", b" c\n"]);
    let end = select(vec![&b""[..], b"", b"end", b"a"]);
    (prop::collection::vec(line, 0..9), end).prop_map(|(lines, end)| [lines.concat(), end.to_vec()].concat())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_diff_makes_the_new_text_of_the_old(old in text(), new in text()) {
        let lines: Vec<Vec<u8>> = unified("f", Some(&old), &new).into_iter().map(|line| line.text).collect();
        prop_assert_eq!(lines.is_empty(), old == new);
        prop_assert_eq!(patched(&old, &lines), new);
    }
}

const TABLE: &str = "| port | service id |\n|---|---|\n| 17018 | a |\n| 17020 | b |\n";
const CRONTAB: &str = "MAILTO=root\n* * * * * /watch/service_polling.sh\n";
const RSYNCD: &str = "port = PORT\n[datamining_service]\npath = /x\n";
const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";

/// The edits of files, each with the file that it is about.
fn edits(world: &World) -> Vec<(Command, &'static str)> {
    let binary = |path: &str, arguments: &str| {
        let mut command = Command::new(under_test(path));
        world.prepare(&mut command, Tool::Add, Side::BINARY);
        command.args(arguments.split(' '));
        command
    };
    let toggle = |arguments| binary(env!("CARGO_BIN_EXE_autoupdate-toggle"), arguments);
    world.write("ports.md", TABLE);
    world.write("crontab", CRONTAB);
    world.write("paused", CRONTAB.replace("* * * * *", "#autoupdate-toggle paused# * * * * *"));
    let closed = crate::harness::port::quiet_port().to_string();
    world.write("rsyncd.conf", RSYNCD.replace("PORT", &closed));
    world.write("denying.conf", RSYNCD.replace("PORT", &closed) + "hosts deny = 10.0.0.1\n");
    let register = "model m m --port 17019 --members 10.0.0.1";
    vec![
        (binary(env!("CARGO_BIN_EXE_port-registry"), "add 17019 new --file ports.md"), "ports.md"),
        (toggle("disable --method crontab --file crontab"), "crontab"),
        (toggle("enable --method crontab --file paused"), "paused"),
        (toggle("disable --method rsyncd --ip 10.0.0.1 --config rsyncd.conf"), "rsyncd.conf"),
        (toggle("enable --method rsyncd --ip 10.0.0.1 --config denying.conf"), "denying.conf"),
        (binary(env!("CARGO_BIN_EXE_add_dispatch_docker"), register), REGISTRY),
    ]
}

/// The diffs of an output by the file they are about, as far as it exists already, in the world.
fn diffs(output: &[u8], world: &World) -> BTreeMap<String, Vec<Vec<u8>>> {
    let lines: Vec<&[u8]> =
        output.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"would create")).collect();
    let is_begin = |line: &&[u8]| line.starts_with(b"--- ");
    let mut diffs = BTreeMap::new();
    let begins: Vec<usize> =
        (0..lines.len()).filter(|at| is_begin(&lines[*at])).chain([lines.len()]).collect();
    for piece in begins.windows(2).map(|pair| &lines[pair[0]..pair[1]]) {
        let name = String::from_utf8(piece[1][4..].to_vec()).unwrap();
        let name = name.trim_start_matches(&format!("{}/", world.root.display())).to_owned();
        diffs.insert(name, piece.iter().filter(|line| !line.is_empty()).map(|line| line.to_vec()).collect());
    }
    diffs
}

#[test]
fn the_diff_is_what_the_run_then_does_and_nothing_is_written_before() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let tree = || Tree::read(&world.root, &model_rollout::machine::clock::now());
    for (mut command, file) in edits(&world) {
        let (before, old) = (tree(), world.read(file));
        let shown = command.arg("--dry-run").output().unwrap();
        assert_eq!((shown.status.code(), &shown.stderr[..]), (Some(0), &b""[..]), "{command:?}");
        assert!(tree() == before, "{command:?}");
        assert!(!shown.stdout.contains(&0x1b), "no colour in a pipe");

        let arguments: Vec<_> =
            command.get_args().filter(|a| *a != "--dry-run").map(|a| a.to_owned()).collect();
        let mut real = Command::new(command.get_program());
        world.prepare(&mut real, Tool::Add, Side::BINARY);
        let real = real.args(arguments).stdout(Stdio::null()).status().unwrap();
        assert_eq!(real.code(), Some(0), "{command:?}");
        let diffs = diffs(&shown.stdout, &world);
        assert!(world.read(file) != old, "{file}");
        assert_eq!(patched(&old, &diffs[file]), world.read(file), "{file}");
        for (created, diff) in diffs.iter().filter(|(name, _)| *name != file) {
            assert_eq!(diff[0], b"--- /dev/null", "{created}");
            assert_eq!(patched(b"", diff), world.read(created), "{created}");
        }
        if file == REGISTRY {
            assert_eq!(diffs.len(), 3, "service.conf and the member list, too: {:?}", diffs.keys());
            assert!(String::from_utf8_lossy(&shown.stdout).contains("datamining_plugin/m/lib/\n"));
        }
        // Now there is nothing to do, and that is said.
        let again = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(again.contains("nothing was changed") || again.contains("already"), "{again}");
    }
}

#[test]
fn a_dry_run_waits_for_nobody() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    for (mut command, file) in edits(&world) {
        let _lock = Lock::take(&model_rollout::layout::lock_of(&world.path(file)), Wait::No).unwrap();
        assert_eq!(
            command.args(["--dry-run", "--wait", "0"]).output().unwrap().status.code(),
            Some(0),
            "{command:?}"
        );
    }
}

#[test]
fn a_terminal_sees_colours_unless_it_wants_none() {
    need!("script");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write("ports.md", TABLE.replace("| b |", "| b\u{7}\x1b[2J |"));
    let shown = |no_color: &str| {
        let mut command = Command::new("script");
        world.prepare(&mut command, Tool::Add, Side::BINARY);
        let binary = under_test(env!("CARGO_BIN_EXE_port-registry"));
        let line = format!("{} add 17019 new --file ports.md --dry-run", binary.display());
        let output =
            command.args(["-q", "-e", "-c", &line, "/dev/null"]).env("NO_COLOR", no_color).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = shown("");
    assert!(coloured.contains("\x1b[32m+| 17019 | new |\x1b[0m\r\n"), "{coloured:?}");
    assert!(coloured.contains(" | 17020 | b\\u{7}\\u{1b}[2J |\r\n"), "{coloured:?}");
    let plain = shown("1");
    assert!(plain.contains("\n+| 17019 | new |\r\n") && !plain.contains('\x1b'), "{plain:?}");
}
