//! service.conf is edited as the three `sed` lines of dispatch.sh edit it, and where those never match, beyond them.

use std::fs;
use std::path::Path;
use std::process::Command;

use model_rollout::formats::service_conf::lint::{About, lint};
use model_rollout::formats::service_conf::{Announcement, announce, announces, value};
use model_rollout::names::ModelName;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::shells::{self, shown};

type Bytes = Vec<u8>;

const BATCH: usize = 40;
const KEYS: [&str; 3] = ["moduleversion", "modulepath", "moduleconfig"];
const PREFIX: &str = "/data1/work/datasys/framework/service/workspace/plugin/mblog_yellow";
const VERSION: &str = "20180614070809";

fn announcement() -> Announcement {
    Announcement {
        version: VERSION.to_owned(),
        path: format!("{PREFIX}/{VERSION}/lib/mblog_yellow.so"),
        config: format!("{PREFIX}/{VERSION}/data"),
    }
}

fn announced_value(key: &str) -> String {
    let announcement = announcement();
    match key {
        "moduleversion" => announcement.version,
        "modulepath" => announcement.path,
        _ => announcement.config,
    }
}

/// The lines of dispatch.sh that edit every instance's service.conf, taken from the script itself.
fn legacy_edit() -> String {
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("legacy-scripts/dispatch.sh"))
        .expect("the script is here");
    let lines = script.lines().skip_while(|line| !line.contains("replaceprefixPath=$("));
    let mut edit: Vec<&str> = lines.take_while(|line| line.trim() != "done").collect();
    assert!(edit.iter().filter(|line| line.trim().starts_with("sed -i -r ")).count() == 3);
    edit.push("done");
    edit.join("\n")
}

/// What the script makes of files.
fn edited_by_sed(files: &[Bytes]) -> Vec<Bytes> {
    let service = TempDir::new().expect("a temporary directory");
    let conf = |index: usize| service.path().join(format!("config_{index}/service.conf"));
    for (index, file) in files.iter().enumerate() {
        fs::create_dir(conf(index).parent().expect("it has one")).expect("a free name");
        fs::write(conf(index), file).expect("a writable temporary directory");
    }
    let setting = "service=$1 prefixPath=$2 version=$3 soName=$4\n";
    let output = Command::new("/bin/sh")
        .args(["-e", "-c", &format!("{setting}{}", legacy_edit()), "sh"])
        .arg(service.path())
        .args([PREFIX, VERSION, "mblog_yellow.so"])
        .env("LC_ALL", "C")
        .output()
        .expect("sh is installed");
    assert!(output.status.success(), "{}", shown(&output.stderr));
    (0..files.len()).map(|index| fs::read(conf(index)).expect("sed keeps the file")).collect()
}

fn one_of(texts: &'static [&'static [u8]]) -> impl Strategy<Value = Bytes> {
    select(texts).prop_map(<[u8]>::to_vec)
}

fn joined(
    piece: impl Strategy<Value = Bytes>,
    count: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(piece, count).prop_map(|pieces| pieces.concat())
}

fn key() -> impl Strategy<Value = Bytes> {
    select(&KEYS[..]).prop_map(|key| key.as_bytes().to_vec())
}

/// `KEY=` as sed finds it: alone, glued, in a remark or at the end of a longer key; and what is nearly that.
fn pattern() -> impl Strategy<Value = Bytes> {
    let before = one_of(&[
        b"",
        b"",
        b"",
        b"old_",
        b"#",
        b"# ",
        b"x",
        b" ",
        b"\t",
        b"\xe3\x80\x80",
        b"\x0c",
        b"[module]",
    ]);
    let equals = one_of(&[b"=", b"=", b"=", b"==", b"s=", b""]);
    (before, key(), equals).prop_map(|(before, key, equals)| [before, key, equals].concat())
}

fn text() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => one_of(&[b"/data1/x.so", b"demo_version", b"&", b"\\1", b"x", b"#remark", b"=", b"/", b"[", b"]", b"[module]"]),
        3 => one_of(&[b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"  # ", b"\0"]),
        2 => one_of(&[b"\xe6\xa8\xa1\xe5\x9e\x8b", b"\xc4\xa3\xd0\xcd", b"\xff\xfe", b"\xe3\x80\x80", b"\xc2\xa0", b"\x85", b"\xa0"]),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
        1 => Just(vec![b'y'; 3000]),
    ]
}

/// Whether a line sets a key with blanks around the `=`, which sed does not match: `key = value` or `key= value`.
fn is_spaced(line: &[u8]) -> bool {
    let indent = line.iter().take_while(|b| matches!(b, b' ' | 9..=13)).count();
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    KEYS.iter().filter_map(|key| line[indent..].strip_prefix(key.as_bytes())).any(|rest| {
        let before = rest.iter().take_while(|b| is_blank(Some(b))).count();
        rest.get(before) == Some(&b'=') && (before > 0 || is_blank(rest.get(1)))
    })
}

/// A file in which every key is written `key=value`, so that sed misses none.
fn glued_file() -> impl Strategy<Value = Bytes> {
    let line = prop_oneof![
        5 => joined(prop_oneof![2 => pattern(), 3 => text()], 0..6),
        2 => (key(), text()).prop_map(|(key, text)| [&key[..], b"=", &text].concat()),
        1 => one_of(&[b"[common]", b"[module]", b"[monitor]", b"port=17019", b"", b"# remark"]),
    ];
    let set = KEYS.map(|key| format!("{key}=demo").into_bytes());
    let lines = (proptest::collection::vec(line, 0..8), 0..8usize, 0..10usize).prop_map(
        move |(mut lines, place, all)| {
            lines.retain(|line| !line.split(|b| *b == b'\n').any(is_spaced));
            // Most files hold all three keys.
            if all > 1 {
                let place = place.min(lines.len());
                lines.splice(place..place, set.clone());
            }
            lines
        },
    );
    (lines, select(vec![&b"\n"[..], b"\n", b"\r\n"]), any::<bool>()).prop_map(|(lines, end, with_end)| {
        let mut file = lines.join(end);
        if with_end && !file.is_empty() {
            file.extend_from_slice(end);
        }
        file
    })
}

/// A batch is not made smaller by proptest: the failure names the one file.
fn batches(default_files: u32) -> Config {
    let config = shells::cases(default_files);
    Config { cases: (config.cases / BATCH as u32).max(1), max_shrink_iters: 0, ..config }
}

#[test]
fn keys_written_without_blanks_become_what_sed_makes_of_them() {
    let mut compared = 0;
    let strategy = proptest::collection::vec(glued_file(), BATCH);
    let result = TestRunner::new(batches(240)).run(&strategy, |files| {
        for (file, by_sed) in files.iter().zip(edited_by_sed(&files)) {
            if let Ok(ours) = announce(file, &announcement()) {
                prop_assert_eq!(
                    shown(&ours),
                    shown(&by_sed),
                    "ours (left) and sed's (right) of {}",
                    shown(file)
                );
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}", shells::reason(&failure)));
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let file = glued_file().new_tree(&mut runner).expect("a file").current();
        compared += u32::from(announce(&file, &announcement()).is_ok());
    }
    println!("{} % of the generated files hold all three keys", compared / 2);
    assert!(compared > 100);
}

/// A line `key = value`, in its pieces: what stands before the value, the value, and what follows.
type Spaced = (Bytes, Bytes, Bytes);

fn spaced_line(key: &'static str) -> impl Strategy<Value = Spaced> {
    let indent = one_of(&[b"", b"", b" ", b"\t"]);
    let equals = one_of(&[b" = ", b" =", b"= ", b"\t=\t", b"  =  "]);
    let value =
        one_of(&[b"/old/x.so", b"demo", b"modulepath=x", b"a#b", b"\xff", b"\xe6\xa8\xa1", b"&", b"="]);
    let rest = one_of(&[b"", b" ", b"\t# remark", b" # modulepath=/x y", b" moduleversion=", b"\x0c", b" x"]);
    (indent, equals, value, rest).prop_map(move |(indent, equals, value, rest)| {
        ([&indent, key.as_bytes(), &equals].concat(), value, rest)
    })
}

#[test]
fn beyond_sed_nothing_changes_but_the_values_between_blanks() {
    let lines = (spaced_line(KEYS[0]), spaced_line(KEYS[1]), spaced_line(KEYS[2]));
    let strategy = proptest::collection::vec((glued_lines(), lines, glued_lines()), BATCH);
    let result = TestRunner::new(batches(120)).run(&strategy, |files| {
        // sed sees the same file with a mark instead of each value; afterwards the mark is the announcement.
        let mark = b"\x01VALUE\x01".to_vec();
        let build = |values: &dyn Fn(usize, &Bytes) -> Bytes| -> Vec<Bytes> {
            let file = |(before, lines, after): &(Bytes, _, Bytes)| {
                let (a, b, c): &(Spaced, Spaced, Spaced) = lines;
                let mut file = [before, &b"\n[module]\n"[..]].concat();
                for (index, (start, value, rest)) in [a, b, c].into_iter().enumerate() {
                    file.extend([start, &values(index, value)[..], rest, b"\n"].concat());
                }
                [file, after.clone()].concat()
            };
            files.iter().map(file).collect()
        };
        let sources = build(&|_, value| value.clone());
        // `key= value`: sed writes the value in front of the blank, ours replaces the one behind it. So the keys of these
        // lines are hidden from sed.
        let hidden = build(&|_, _| mark.clone());
        let hidden: Vec<Bytes> = hidden.iter().map(|file| hide(file, &mark)).collect();
        for (source, by_sed) in sources.iter().zip(edited_by_sed(&hidden)) {
            let ours = announce(source, &announcement());
            prop_assert!(ours.is_ok(), "{}", shown(source));
            let expected = reveal(&by_sed, &mark);
            prop_assert_eq!(
                shown(&ours.unwrap_or_default()),
                shown(&expected),
                "ours (left) of {}",
                shown(source)
            );
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}", shells::reason(&failure)));
}

/// Lines without a key of `[module]`: remarks, longer keys, other settings.
fn glued_lines() -> impl Strategy<Value = Bytes> {
    let line = prop_oneof![
        3 => joined(text(), 0..4).prop_map(|text| [b"# ", &text[..]].concat()),
        2 => (key(), text()).prop_map(|(key, text)| [b"# was ", &key[..], b"=", &text].concat()),
        2 => (key(), text()).prop_map(|(key, text)| [b"old_", &key[..], b"=", &text].concat()),
        1 => one_of(&[b"[common]", b"port = 17019", b"name=x", b""]),
    ];
    proptest::collection::vec(line, 0..4).prop_map(|lines| lines.join(&b'\n'))
}

/// Breaks the key of a marked line, so that sed leaves it alone.
fn hide(file: &[u8], mark: &[u8]) -> Bytes {
    let lines = file.split(|b| *b == b'\n').map(|line| {
        let marked = line.windows(mark.len()).position(|w| w == mark);
        let indent = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
        match marked {
            Some(_) => [&line[..=indent], b"\x02", &line[indent + 1..]].concat(),
            None => line.to_vec(),
        }
    });
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// Undoes `hide`, with the announcement in place of the mark.
fn reveal(file: &[u8], mark: &[u8]) -> Bytes {
    let lines = file.split(|b| *b == b'\n').map(|line| {
        let Some(at) = line.windows(mark.len()).position(|w| w == mark) else { return line.to_vec() };
        let broken = line.iter().position(|b| *b == 2).expect("hide put it there");
        let start = [&line[..broken], &line[broken + 1..at]].concat();
        let key = KEYS.iter().find(|key| start.trim_ascii().starts_with(key.as_bytes())).expect("a key");
        [&start, announced_value(key).as_bytes(), &line[at + mark.len()..]].concat()
    });
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// Any file: glued, with blanks, damaged.
fn any_file() -> impl Strategy<Value = Bytes> {
    let lines = (spaced_line(KEYS[0]), spaced_line(KEYS[1]), spaced_line(KEYS[2]));
    let spaced = (glued_file(), lines, glued_lines()).prop_map(|(before, (a, b, c), after)| {
        let line = |(start, value, rest): Spaced| [start, value, rest].concat();
        [before, line(a), line(b), line(c), after].join(&b'\n')
    });
    let empty_values = one_of(&[
        b"moduleversion =\nmodulepath = # x\nmoduleconfig\t=\r\n",
        b"[module]\nmoduleversion=\nmodulepath=\nmoduleconfig=",
        b"moduleversion = \x0b\nmodulepath =#\nmoduleconfig=#",
    ]);
    let file = prop_oneof![3 => glued_file(), 4 => spaced, 1 => empty_values];
    (
        file,
        proptest::collection::vec(
            (any::<proptest::sample::Index>(), select(&b" \t\n\r=#[]\x0b\x0c\0"[..])),
            0..3,
        ),
    )
        .prop_map(|(mut file, damage)| {
            for (place, byte) in damage {
                file.insert(place.index(file.len() + 1), byte);
            }
            file
        })
}

proptest! {
    #![proptest_config(shells::cases(300))]

    #[test]
    fn announcing_twice_changes_nothing_and_what_was_announced_is_read_back(file in any_file()) {
        let announcement = announcement();
        let Ok(once) = announce(&file, &announcement) else { return Ok(()) };
        prop_assert!(announces(&once, &announcement));
        prop_assert_eq!(announce(&once, &announcement).map(|twice| shown(&twice)), Ok(shown(&once)));
        for key in KEYS {
            let read = value(&once, key).map(shown);
            prop_assert_eq!(read, Some(shown(announced_value(key).as_bytes())), "{} in {}", key, shown(&once));
        }
    }

    #[test]
    fn every_finding_has_its_line_and_says_what_to_write(file in any_file()) {
        let model = ModelName::parse(b"mblog_yellow").unwrap();
        for versions in [vec![], vec![VERSION.as_bytes().to_vec()]] {
            let findings = lint(&file, &About { model: &model, versions: &versions });
            let lines = file.split(|b| *b == b'\n').count();
            for finding in &findings {
                prop_assert!((1..=lines).contains(&finding.line), "{} of {}", finding, shown(&file));
                prop_assert!(!finding.what.is_empty() && !finding.instead.is_empty());
            }
            prop_assert!(findings.is_sorted_by_key(|finding| finding.line));
            prop_assert!(!findings.is_empty(), "no port, no [monitor]: {}", shown(&file));
        }
    }

    #[test]
    fn bytes_outside_the_values_stay(file in any_file()) {
        let Ok(once) = announce(&file, &announcement()) else { return Ok(()) };
        // In another section than [module], sed writes in front of the value of a `key= value`, and so do we.
        if KEYS.iter().any(|key| {
            let start = format!("{key}=");
            let mut places = file.windows(start.len() + 1).filter(|w| w.starts_with(start.as_bytes()));
            places.any(|w| matches!(w.last(), Some(b' ' | b'\t')))
        }) {
            return Ok(());
        }
        // Without every value, glued or between blanks, the file before and after is the same.
        prop_assert_eq!(shown(&without_values(&once)), shown(&without_values(&file)));
    }
}

/// A file without what stands behind each `KEY=`, up to the next white space; blanks behind a `KEY =` are left out too.
fn without_values(file: &[u8]) -> Bytes {
    let mut out = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let rest = &file[at..];
        let Some(key) = KEYS.iter().find(|key| rest.starts_with(key.as_bytes())) else {
            out.push(file[at]);
            at += 1;
            continue;
        };
        out.extend_from_slice(key.as_bytes());
        at += key.len();
        let blanks = |at: usize| file[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let before = blanks(at);
        if file.get(at + before) != Some(&b'=') {
            continue;
        }
        out.push(b'=');
        at += before + 1;
        let between = before + blanks(at);
        at += blanks(at);
        if between == 0 || file.get(at) != Some(&b'#') {
            at += file[at..].iter().take_while(|b| !matches!(b, b' ' | b'\t' | b'\n' | 11..=13)).count();
            at += blanks(at);
        }
    }
    out
}

#[test]
fn the_samples_of_production_are_edited_as_sed_edits_them() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples");
    let Ok(entries) = fs::read_dir(&samples) else {
        println!("the samples are not at {}: nothing compared", samples.display());
        return;
    };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    let sources: Vec<Bytes> = files.iter().map(|path| fs::read(path).expect("a readable file")).collect();
    for ((path, source), by_sed) in files.iter().zip(&sources).zip(edited_by_sed(&sources)) {
        let ours =
            announce(source, &announcement()).unwrap_or_else(|missing| panic!("{path:?}: {missing:?}"));
        for key in KEYS {
            assert_eq!(value(&ours, key), Some(announced_value(key).as_bytes()), "{path:?}");
        }
        if source.split(|b| *b == b'\n').any(is_spaced) {
            // Written by a ConfigParser: sed changes nothing, ours the values that are not announced already.
            let others =
                KEYS.iter().filter(|key| value(source, key) != Some(announced_value(key).as_bytes()));
            assert_eq!(shown(&by_sed), shown(source), "{path:?}");
            let changed =
                source.split(|b| *b == b'\n').zip(ours.split(|b| *b == b'\n')).filter(|(a, b)| a != b);
            assert_eq!(changed.count(), others.count(), "{path:?}");
        } else {
            assert_eq!(shown(&ours), shown(&by_sed), "{path:?}");
        }
    }
    println!("compared {} samples", files.len());
}
