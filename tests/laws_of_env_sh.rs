//! env.sh is read as the shells read it, or refused; and an edit changes nothing else.
//!
//! The generator writes what such files hold and more, and then damages some of it. A text is shown to a shell only if
//! our reader takes it, so nothing that it generates runs a command, unless the reader is wrong: then the shell finds
//! no program but a stand-in for `date`, and says so on standard error, which is a failure.

use std::collections::BTreeSet;

use model_rollout::formats::Refusal;
use model_rollout::formats::env_sh::EnvSh;
use model_rollout::formats::shell::Context;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::shells::{self, INSTANTS, Scratch, Shell, Surroundings, ZONES, shown};

type Bytes = Vec<u8>;

/// How many texts one shell reads.
const BATCH: usize = 50;

fn batches(default_texts: u32) -> Config {
    let config = shells::cases(default_texts);
    // The failing text is made small here: a batch would take proptest minutes.
    Config { cases: (config.cases / BATCH as u32).max(1), max_shrink_iters: 0, ..config }
}

fn parse(text: &[u8], surroundings: &Surroundings) -> Result<EnvSh, Refusal> {
    let now = surroundings.local_time();
    EnvSh::parse(text, &Context { environment: &|name| surroundings.variable(name), now: &now })
}

fn refusal(text: &[u8]) -> Option<Refusal> {
    parse(text, &Surroundings::at(0, "UTC")).err()
}

// ---------------------------------------------------------------------------------------------- the generator

/// Names that texts assign and read. `outer`, `odd` and `empty` come from the environment; `unset` is never set there.
const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "monitor",
    "members",
    "modulename",
    "moduleport",
    "_x1",
    "outer",
    "odd",
    "empty",
    "unset",
];

fn surroundings() -> impl Strategy<Value = Surroundings> {
    (select(&INSTANTS[..]), select(&ZONES[..])).prop_map(|(instant, zone)| Surroundings {
        variables: vec![
            ("outer", b"from outside".to_vec()),
            ("odd", b" *\\\t\x81\x88\xff'\"$a `\n~".to_vec()),
            ("empty", Vec::new()),
        ],
        zone,
        instant,
    })
}

fn name() -> impl Strategy<Value = Bytes> {
    select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec())
}

/// Pieces, one after the other.
fn joined(
    piece: impl Strategy<Value = Bytes>,
    count: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(piece, count).prop_map(|pieces| pieces.concat())
}

fn one_of(texts: &'static [&'static [u8]]) -> impl Strategy<Value = Bytes> {
    select(texts).prop_map(<[u8]>::to_vec)
}

fn around(
    before: &'static [u8],
    inner: impl Strategy<Value = Bytes>,
    after: &'static [u8],
) -> impl Strategy<Value = Bytes> {
    inner.prop_map(move |inner| [before, &inner, after].concat())
}

/// Bytes that are not ASCII: UTF-8, GBK, and those that dash uses internally (0x81 to 0x88).
fn high_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just("机器".as_bytes().to_vec()),
        Just(b"\xbb\xfa\xc6\xf7".to_vec()),
        proptest::collection::vec(0x80..=0xffu8, 1..3),
        proptest::collection::vec(0x80..=0x89u8, 1..3),
    ]
}

fn plain() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => one_of(&[b"x", b"10.77.96.239", b"/data1/x", b"17019", b",", b"mblog_yellow", b"-", b".", b":", b"%", b"@"]),
        2 => one_of(&[b"#", b"=", b"]", b"}", b"!", b"^", b"+", b"\r", b"\x0b", b"\x0c", b"\x01", b"\x7f", b"-n", b"a=b#c"]),
        1 => high_bytes(),
    ]
}

/// What stands between single quotes.
fn single_quoted() -> impl Strategy<Value = Bytes> {
    let inner = prop_oneof![
        3 => plain(),
        2 => one_of(&[b" ", b"\n", b"\t", b"\\", b"\"", b"$a", b"${", b"`", b"*", b";", b"#", b"$(", b"\\\n", b"&|<>"]),
    ];
    around(b"'", joined(inner, 0..4), b"'")
}

fn escaped() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        one_of(&[
            b"\\\\", b"\\$", b"\\\"", b"\\'", b"\\`", b"\\ ", b"\\\n", b"\\#", b"\\;", b"\\*", b"\\n",
            b"\\&", b"\\~", b"\\}", b"\\{", b"\\\t", b"\\!", b"\\=", b"\\\x81",
        ]),
        (1..=255u8).prop_filter("not NUL", |b| *b != b'\r').prop_map(|b| vec![b'\\', b]),
    ]
}

/// `$name`, `${name}`, `${name:-word}`, the word being what may stand there.
fn variable(word: impl Strategy<Value = Bytes> + 'static) -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => name().prop_map(|name| [b"$", &name[..]].concat()),
        3 => name().prop_map(|name| [b"${", &name[..], b"}"].concat()),
        3 => (name(), word).prop_map(|(name, word)| [b"${", &name[..], b":-", &word, b"}"].concat()),
    ]
}

const LONE_DOLLARS: &[&[u8]] =
    &[b"$", b"$%", b"$/", b"$:", b"$,", b"$=", b"$]", b"$^", b"$+", b"$}", b"$.", b"$\xff"];

/// `date +FORMAT` in backquotes or `$(...)`.
fn date() -> impl Strategy<Value = Bytes> {
    let conversions = one_of(&[
        b"%Y", b"%m", b"%d", b"%H", b"%M", b"%S", b"%y", b"%e", b"%k", b"%l", b"%j", b"%a", b"%b", b"%F",
        b"%T", b"%Z", b"%z", b"%s", b"%N", b"%n", b"%t", b"%%", b"%-d", b"%_H", b"%-j", b"%:z", b"%V", b"%U",
        b"-", b"_", b".", b"x", b"%I", b"%p", b"%Q", b"%",
    ]);
    let format = joined(conversions, 0..5).prop_map(|format| [b"+", &format[..]].concat());
    let quotes = select(vec![("", ""), ("\"", "\""), ("'", "'"), ("+\"", "\"")]);
    let command = (format, quotes).prop_map(|(format, (open, close))| {
        let format = if open.starts_with('+') { &format[1..] } else { &format[..] };
        [b"date ", open.as_bytes(), format, close.as_bytes()].concat()
    });
    let command = prop_oneof![5 => command, 1 => one_of(&[b"date", b" date ", b"date  +%Y\\\n", b"date '+%H %M'", b"date x"])];
    (command, any::<bool>()).prop_map(|(command, backquotes)| {
        let (open, close): (&[u8], &[u8]) = if backquotes { (b"`", b"`") } else { (b"$(", b")") };
        [open, &command, close].concat()
    })
}

/// What stands between double quotes, nested to a depth.
fn in_double_quotes(depth: u32) -> BoxedStrategy<Bytes> {
    let blanks =
        one_of(&[b" ", b"\n", b"\t", b"'", b"*", b";", b"#", b"{", b"}", b"~", b"&|<>()", b"[x]", b"?"]);
    let flat = prop_oneof![
        4 => plain(),
        2 => blanks,
        2 => escaped(),
        1 => one_of(LONE_DOLLARS),
        1 => date(),
    ];
    if depth == 0 {
        return joined(flat, 0..4).boxed();
    }
    let word = prop_oneof![
        6 => in_double_quotes(depth - 1),
        1 => around(b"\"", in_double_quotes(depth - 1), b"\""),
    ];
    joined(prop_oneof![3 => flat, 2 => variable(word)], 0..5).boxed()
}

/// An unquoted word's pieces, nested to a depth.
fn unquoted(depth: u32) -> BoxedStrategy<Bytes> {
    let odd =
        one_of(&[b"~", b":~", b"*", b"{x,y}", b"$'x'", b"$\"x\"", b"$(x)", b"$((1))", b"$1", b"${x#y}"]);
    let flat = prop_oneof![
        40 => plain(),
        15 => single_quoted(),
        10 => escaped(),
        5 => one_of(LONE_DOLLARS),
        8 => date(),
        1 => odd,
    ];
    let quoted = around(b"\"", in_double_quotes(depth), b"\"");
    if depth == 0 {
        return joined(prop_oneof![4 => flat, 1 => quoted], 0..4).boxed();
    }
    joined(prop_oneof![5 => flat, 2 => quoted, 2 => variable(unquoted(depth - 1))], 0..4).boxed()
}

fn assignment() -> impl Strategy<Value = Bytes> {
    (name(), unquoted(2)).prop_map(|(name, value)| [&name, &b"="[..], &value].concat())
}

fn statement() -> impl Strategy<Value = Bytes> {
    let blank = || one_of(&[b" ", b"  ", b"\t", b" \\\n", b"\\\n "]);
    let assignments = || (assignment(), proptest::collection::vec((blank(), assignment()), 0..3));
    let several = |(first, more): (Bytes, Vec<(Bytes, Bytes)>)| {
        more.into_iter().fold(first, |text, (blank, next)| [text, blank, next].concat())
    };
    let comment = joined(prop_oneof![plain(), single_quoted(), escaped(), Just(b" \\".to_vec())], 0..4);
    let comment = comment.prop_map(|text| text.into_iter().filter(|b| *b != b'\n').collect::<Bytes>());
    prop_oneof![
        20 => assignments().prop_map(several),
        5 => assignments().prop_map(several).prop_map(|text| [b"export ", &text[..]].concat()),
        1 => (assignments().prop_map(several), name()).prop_map(|(text, name)| [b"export ", &name[..], b" ", &text].concat()),
        3 => around(b"#", comment, b""),
        1 => one_of(&[b"", b" ", b"export a", b"a=1 2>&1", b"a=1 b", b"a = 1", b"\\export a=b", b"export a=~"]),
    ]
}

/// A whole file.
fn grammar() -> impl Strategy<Value = Bytes> {
    let end = || {
        prop_oneof![
            8 => one_of(&[b"\n"]),
            3 => one_of(&[b";", b" ; ", b" # remark\n", b"\n\n", b"\n\t", b" \n", b";#x\n", b"\\\n\n"]),
            1 => one_of(&[b"\r\n", b" # \\\n", b" \\\n"]),
        ]
    };
    let lines = proptest::collection::vec((statement(), end()), 0..5);
    (lines, statement(), any::<bool>()).prop_map(|(lines, last, with_end)| {
        let mut text: Bytes = lines.into_iter().flat_map(|(line, end)| [line, end].concat()).collect();
        text.extend(last);
        if with_end {
            text.push(b'\n');
        }
        text
    })
}

/// Bytes that mean something to a shell, and letters that spell no command.
const DAMAGE: &[u8] = b" \t\n\\'\"$`{}():-#;=aZ_1+~*?[]!%,.\r>&2|<\x81\x88\xff\x0b";

fn damaged() -> impl Strategy<Value = Bytes> {
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), select(DAMAGE), 0..3u8), 1..4);
    (grammar(), edits).prop_map(|(mut text, edits)| {
        for (place, byte, kind) in edits {
            let at = place.index(text.len() + 1);
            match kind {
                0 => text.insert(at, byte),
                1 if at < text.len() => text[at] = byte,
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        text
    })
}

fn text() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        6 => grammar(),
        4 => damaged(),
        1 => proptest::collection::vec(select(DAMAGE), 0..12).prop_map(|noise| [b"a=", &noise[..]].concat()),
    ]
}

/// The value of an edit: anything that is text, but no Windows line end.
fn value() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        plain(),
        one_of(&[
            b" ", b"\n", b"\t", b"\\", b"\"", b"'", b"$a", b"${b}", b"`", b"*", b";", b"#", b"!", b"~",
            b"\\\n"
        ]),
    ];
    joined(piece, 0..6).prop_map(|value| {
        let mut value = value;
        value.retain(|b| !matches!(b, b'\r' | 0x01 | 0x7f));
        value
    })
}

// ------------------------------------------------------------------------------------------------ the reference

/// Every name that a text could assign: what stands before a `=`.
fn candidates(text: &[u8]) -> BTreeSet<String> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut names: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    for equals in text.iter().enumerate().filter(|(_, b)| **b == b'=').map(|(at, _)| at) {
        let start = text[..equals].iter().rposition(|b| !is_name(b)).map_or(0, |at| at + 1);
        let name = String::from_utf8_lossy(&text[start..equals]).into_owned();
        // `_` is the shell's own.
        if !name.is_empty() && name != "_" && !name.starts_with(|c: char| c.is_ascii_digit()) {
            names.insert(name);
        }
    }
    names
}

const UNSET: &str = "(unset)";

/// What a shell has to print for a text: every name's value, and that all went well.
fn expected(env: &EnvSh, names: &BTreeSet<String>, surroundings: &Surroundings) -> Bytes {
    let mut out = Vec::new();
    for name in names {
        let outside = || surroundings.variable(name.as_bytes()).unwrap_or(UNSET.as_bytes().to_vec());
        out.extend(env.get(name).map_or_else(outside, <[u8]>::to_vec));
        out.push(0);
    }
    out.extend_from_slice(b"\n== exit 0\n");
    out
}

/// What a shell prints for texts, each with the names to print; standard error among it.
fn printed(shell: Shell, texts: &[(&[u8], &BTreeSet<String>)], surroundings: &Surroundings) -> Bytes {
    let scratch = Scratch::new();
    let mut script = String::new();
    for (index, (text, names)) in texts.iter().enumerate() {
        scratch.write(&format!("{index}.env.sh"), text);
        script.push_str(&format!("(\n. ./{index}.env.sh\nprintf '%s\\0'"));
        for name in *names {
            script.push_str(&format!(" \"${{{name}-{UNSET}}}\""));
        }
        script.push_str("\n) 2>&1\nprintf '\\n== exit %s\\n' $?\n");
    }
    scratch.write("script", script.as_bytes());
    let mut output = scratch.run(shell, "script", surroundings);
    output.stdout.append(&mut output.stderr);
    output.stdout
}

/// How a shell and our reader differ about one text; `None` where they agree or ours refuses it.
fn difference(shell: Shell, text: &[u8], surroundings: &Surroundings) -> Option<String> {
    let env = parse(text, surroundings).ok()?;
    let names = candidates(text);
    let printed = printed(shell, &[(text, &names)], surroundings);
    let expected = expected(&env, &names, surroundings);
    let said = || format!("{shell:?} says {}, our reader {}", shown(&printed), shown(&expected));
    (printed != expected).then(said)
}

/// A text without the bytes that a failure does not need.
fn minimised(text: &[u8], fails: impl Fn(&[u8]) -> bool) -> Bytes {
    let mut small = text.to_vec();
    let mut length = small.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at + length <= small.len() {
            let without = [&small[..at], &small[at + length..]].concat();
            if fails(&without) { small = without } else { at += 1 }
        }
        length /= 2;
    }
    small
}

/// Checks texts that our reader takes against every shell.
fn check(texts: &[Bytes], surroundings: &Surroundings) -> Result<(), TestCaseError> {
    let read: Vec<_> = texts
        .iter()
        .filter_map(|text| Some((text, parse(text, surroundings).ok()?, candidates(text))))
        .map(|(text, env, names)| {
            let expected = expected(&env, &names, surroundings);
            (text, names, expected)
        })
        .collect();
    let all: Vec<_> = read.iter().map(|(text, names, _)| (&text[..], names)).collect();
    let all_expected: Bytes = read.iter().flat_map(|(_, _, expected)| expected.clone()).collect();
    for shell in shells::ALL {
        if printed(shell, &all, surroundings) == all_expected {
            continue;
        }
        let differs = read
            .iter()
            .map(|(text, ..)| &text[..])
            .find(|text| difference(shell, text, surroundings).is_some());
        let Some(text) = differs else {
            return Err(TestCaseError::fail(format!(
                "{shell:?} differs about texts together, about none alone"
            )));
        };
        let small = minimised(text, |text| difference(shell, text, surroundings).is_some());
        let difference = difference(shell, &small, surroundings).unwrap_or_default();
        let (zone, instant) = (surroundings.zone, surroundings.instant);
        return Err(TestCaseError::fail(format!("{} in {zone} at {instant}: {difference}", shown(&small))));
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------ the laws

#[test]
fn every_value_is_what_dash_and_bash_give() {
    let strategy = (proptest::collection::vec(text(), BATCH), surroundings());
    TestRunner::new(batches(1000))
        .run(&strategy, |(texts, surroundings)| check(&texts, &surroundings))
        .unwrap_or_else(|failure| panic!("{}", shells::reason(&failure)));
}

#[test]
fn a_healthy_share_of_the_generated_texts_is_read() {
    let mut runner = TestRunner::deterministic();
    let mut share = |strategy: BoxedStrategy<Bytes>| {
        let texts: Vec<Bytes> =
            (0..600).map(|_| strategy.new_tree(&mut runner).expect("a text").current()).collect();
        let read: Vec<Bytes> = texts.into_iter().filter(|text| refusal(text).is_none()).collect();
        (read.len() * 100 / 600, read.concat())
    };
    let (of_grammar, text_of_grammar) = share(grammar().boxed());
    let (of_damaged, text_of_damaged) = share(damaged().boxed());
    println!("read: {of_grammar} % of the grammar's texts, {of_damaged} % of the damaged ones");
    assert!(of_grammar > 30 && of_damaged > 10);
    for construct in [
        "export ", "'", "\"", "\\\n", "#", "$a", "${a}", "${a:-", "`date", "$(date", ";", "\t", "\\\\",
        "2>&1", ":-${",
    ] {
        let occurs = |text: &[u8]| text.windows(construct.len()).any(|w| w == construct.as_bytes());
        assert!(occurs(&text_of_grammar) || occurs(&text_of_damaged), "{construct:?} does not occur");
    }
}

proptest! {
    #![proptest_config(shells::cases(1000))]

    #[test]
    fn what_is_read_is_rendered_byte_for_byte(text in prop_oneof![text(), proptest::collection::vec(any::<u8>(), 0..40)]) {
        if let Ok(env) = parse(&text, &Surroundings::at(0, "UTC")) {
            prop_assert_eq!(env.render(), &text[..]);
        }
    }

    #[test]
    fn an_edit_changes_no_other_key(
        text in text(), surroundings in surroundings(), name in select(&NAMES[..]), value in value(),
    ) {
        let Ok(before) = parse(&text, &surroundings) else { return Ok(()) };
        let mut edited = before.clone();
        edited.set(name, &value);
        let rendered = edited.render().to_vec();
        let again = parse(&rendered, &surroundings);
        prop_assert_eq!(again.as_ref(), Ok(&edited), "{} became {}", shown(&text), shown(&rendered));
        prop_assert_eq!(edited.get(name), Some(&value[..]));
        for other in candidates(&text).iter().filter(|other| *other != name) {
            prop_assert_eq!(edited.get(other), before.get(other), "{} in {}", other, shown(&rendered));
        }
        if before.get(name).is_none() {
            prop_assert!(rendered.starts_with(&text), "what was there stays");
        }
    }

    #[test]
    fn an_edit_replaces_the_last_value_where_it_stands(
        before in grammar(), old in unquoted(1), after in grammar(), value in value(),
    ) {
        // A name that the generated texts neither assign nor read.
        let whole = [&before, &b"\nrsyncport="[..], &old, b"\n", &after].concat();
        let Ok(mut env) = parse(&whole, &Surroundings::at(0, "UTC")) else { return Ok(()) };
        let alone = parse(&before, &Surroundings::at(0, "UTC")).is_ok() && parse(&after, &Surroundings::at(0, "UTC")).is_ok();
        if !alone || env.get("rsyncport").is_none() || before.ends_with(b"\\") { return Ok(()) }
        env.set("rsyncport", &value);
        let rendered = env.render();
        let prefix = [&before, &b"\nrsyncport="[..]].concat();
        let suffix = [b"\n", &after[..]].concat();
        prop_assert!(rendered.starts_with(&prefix) && rendered.ends_with(&suffix), "{}", shown(rendered));
        let written = &rendered[prefix.len()..rendered.len() - suffix.len()];
        prop_assert!(written.starts_with(b"\"") && written.ends_with(b"\""), "{}", shown(written));
    }
}

#[test]
fn an_edited_file_is_read_equally_by_the_shells() {
    let edits = (text(), select(&NAMES[..]), value());
    let strategy = (proptest::collection::vec(edits, BATCH), surroundings());
    TestRunner::new(batches(400))
        .run(&strategy, |(edits, surroundings)| {
            let edited = edits.into_iter().filter_map(|(text, name, value)| {
                let mut env = parse(&text, &surroundings).ok()?;
                env.set(name, &value);
                Some(env.render().to_vec())
            });
            check(&edited.collect::<Vec<_>>(), &surroundings)
        })
        .unwrap_or_else(|failure| panic!("{}", shells::reason(&failure)));
}

// ------------------------------------------------------------------------------------------------- what was found

/// Texts that the laws once failed on and that are read: the name and its value.
const READ: &[(&[u8], &str, &[u8])] = &[
    // All arguments of export are made before the first is set.
    (b"a=old\nexport a=new b=$a", "b", b"old"),
    (b"a='x y'\nexport b=\"$a\"", "b", b"x y"),
    (b"a=\\$x\nb=a=b#c", "b", b"a=b#c"),
    (b"a=x:'~'", "a", b"x:~"),
    (b"a=\\\\", "a", b"\\"),
    (b"a=$\nb=\"$\"", "b", b"$"),
    (b"a=b\\\nc", "a", b"bc"),
    (b"a=\"${x:-\\}}\"", "a", b"}"),
    (b"a=`date +%Y-%m-%d` # today", "a", b"1970-01-01"),
    (b"a=1 2>&1", "a", b"1"),
];

#[test]
fn odd_values_are_read_as_the_shells_read_them() {
    let surroundings = Surroundings::at(0, "UTC");
    for (text, name, value) in READ {
        let env = parse(text, &surroundings).unwrap_or_else(|refusal| panic!("{}: {refusal}", shown(text)));
        assert_eq!(env.get(name).map(shown), Some(shown(value)), "{}", shown(text));
    }
    let texts: Vec<Bytes> = READ.iter().map(|(text, ..)| text.to_vec()).collect();
    check(&texts, &surroundings).unwrap_or_else(|failure| panic!("{failure}"));
}

/// Texts that are refused: where, and by which name.
const REFUSED: &[(&[u8], &str, &str)] = &[
    (b"a=1\nb=$(hostname)", "2:3", "command substitution"),
    (b"b=`hostname`", "1:3", "command substitution"),
    (b"b=\"x $(cat f)\"", "1:6", "command substitution"),
    (b"b=$(date -u)", "1:3", "command substitution"),
    (b"b=$(date +%Q)", "1:3", "date's %Q"),
    (b"b=$((1+1))", "1:3", "arithmetic"),
    (b"b=$[1+1]", "1:3", "$[...]"),
    (b"b=*.so", "1:3", "file name pattern"),
    (b"b=x?", "1:4", "file name pattern"),
    (b"b=[ab]", "1:3", "file name pattern"),
    (b"f() { b=1; }", "1:2", "function"),
    (b"function f {", "1:12", "{"),
    (b"if true; then", "1:1", "keyword if"),
    (b"for x in 1 2; do", "1:1", "keyword for"),
    (b"while true", "1:1", "keyword while"),
    (b"case x in", "1:1", "keyword case"),
    (b"! x", "1:1", "keyword !"),
    (b"a=1\n. ./other.sh", "2:1", "another file"),
    (b"source other.sh", "1:1", "another file"),
    (b"cat <<EOF\nEOF", "1:5", "here-document"),
    (b"a=1 | b=2", "1:5", "pipe"),
    (b"a=1 || b=2", "1:5", "||"),
    (b"a=1 &", "1:5", "background"),
    (b"a=1 && b=2", "1:5", "&&"),
    (b"members=(a b)", "1:1", "array"),
    (b"members[0]=a", "1:1", "array"),
    (b"a+=b", "1:1", "+="),
    (b"a=1 > f", "1:5", "redirection"),
    (b"a=1 >> f", "1:8", "redirection"),
    (b"a=1 < f", "1:5", "redirection"),
    (b"echo hello", "1:1", "the command echo"),
    (b"unset a", "1:1", "the command unset"),
    ("monitor=\"10.77.136.198\"  --monitor机器".as_bytes(), "1:26", "leaves monitor unset"),
    ("# 机器\n机=1".as_bytes(), "2:1", "the command"),
    (b"a=1\r\nb=2\r\n", "1:4", "CR LF"),
    (b"modulename = x", "1:1", "modulename = ..."),
    (b"a= b", "1:4", "leaves a unset"),
    (b"a='x\ny", "1:3", "never closed"),
    (b"a=\"x\ny", "1:3", "never closed"),
    (b"a=`date", "1:3", "never closed"),
    (b"a=$(date", "1:3", "never closed"),
    (b"a=${x:-y", "1:3", "never closed"),
    (b"a=x\0y", "1:4", "NUL"),
    (b"a=x\\", "1:4", "\\ ends the file"),
    (b"a=$1", "1:3", "positional"),
    (b"a=${x#y}", "1:3", "${...}"),
    (b"a=$'x'", "1:3", "$'...'"),
    (b"export", "1:1", "export alone"),
    (b"export -p", "1:8", "no NAME"),
    (b"IFS=,", "1:1", "IFS belongs to the shell"),
    // What the laws, and suspicion, found.
    (b"a='x y'\nexport b=$a", "2:10", "some shells split"),
    (b"a=1 2>&1b=2", "1:5", "file descriptor"),
    (b"a=~", "1:3", "~"),
    (b"a=b:\\\n~", "2:1", "~"),
    (b"a=\"${x:-'}\"", "1:9", "' or ("),
    (b"a=\"${x:->(}\"", "1:10", "' or ("),
    (b"a=${x:-\"\\}\"}", "1:9", "\\}"),
    (b"a=\"$x\\\x7f\"", "1:7", "control byte"),
    (b"TZ=UTC\na=$(date +%H)", "2:3", "date depends on TZ"),
    (b"export PATH=/x\na=`date`", "2:3", "date depends on PATH"),
    (b"a=$EPOCHSECONDS", "1:3", "belongs to the shell"),
    (b"a=$PATH", "1:3", "belongs to the shell"),
    (b"SHELLOPTS=x", "1:1", "belongs to the shell"),
];

#[test]
fn what_is_not_read_is_refused_with_its_place_its_name_and_what_to_write() {
    for (text, place, name) in REFUSED {
        let refusal = refusal(text).unwrap_or_else(|| panic!("{} is read", shown(text)));
        let line = refusal.to_string();
        assert!(line.starts_with(&format!("{place}: ")), "{}: {line}, not {place}", shown(text));
        assert!(refusal.what.contains(name), "{}: {line}, not {name}", shown(text));
        assert!(!refusal.instead.is_empty(), "{}: {line}", shown(text));
    }
}

#[test]
fn deep_nesting_is_refused_and_exhausts_no_stack() {
    for (open, close) in [("${a:-", "}"), ("\"${a:-", "}\""), ("$(date \"", "\")"), ("`date \"", "\"`")] {
        let text = format!("x={}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(refusal(text.as_bytes()).is_some(), "{open}");
    }
}

#[test]
fn no_name_that_a_shell_sets_itself_is_taken_for_unset() {
    let nothing = Surroundings::at(0, "UTC");
    for (shell, list) in
        [(shells::DASH, "set"), (shells::BASH, "compgen -v"), (shells::BASH_POSIX, "compgen -v")]
    {
        let scratch = Scratch::new();
        scratch.write("script", list.as_bytes());
        let output = scratch.run(shell, "script", &nothing).stdout;
        let names =
            output.split(|b| *b == b'\n').map(|line| line.split(|b| *b == b'=').next().unwrap_or_default());
        let names: Vec<&[u8]> = names
            .filter(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_'))
            .collect();
        assert!(names.len() > 5, "{shell:?} lists its names");
        for name in names.into_iter().filter(|name| ![&b"TZ"[..], b"LC_ALL"].contains(name)) {
            assert!(refusal(&[b"a=$", name].concat()).is_some(), "{shell:?} sets {}", shown(name));
        }
    }
}

#[test]
fn an_edit_keeps_what_is_made_from_the_old_value_and_what_a_last_line_continues() {
    let surroundings = Surroundings::at(0, "UTC");
    for (text, edited) in [
        (&b"a=1\nb=$a\n"[..], &b"a=1\nb=$a\na=\"2\"\n"[..]),
        (b"a=1\nb=${c:-$a}", b"a=1\nb=${c:-$a}\na=\"2\"\n"),
        (b"b=1\\\n", b"b=1\\\n\na=\"2\"\n"),
        (b"a=0\na='x' # remark\nb=3", b"a=0\na=\"2\" # remark\nb=3"),
        (b"", b"a=\"2\"\n"),
    ] {
        let mut env = parse(text, &surroundings).expect("it is read");
        env.set("a", b"2");
        assert_eq!(shown(env.render()), shown(edited));
    }
}
