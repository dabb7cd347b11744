//! Names that leave their directory, look like options, or are no text.

use super::{Case, Expect, Program, VERSION, case, check};
use crate::harness::World;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};

const NAMES: &[&[u8]] = &[
    b"..",
    b".",
    b"../x",
    b"../../../etc/cron.d/x",
    b"/etc/x",
    b"a/b",
    b"a/",
    b"a\nb",
    b"a\r",
    b"-x",
    b"--delete",
    b"a b",
    b"a\tb",
    b".hidden",
    b"\x1b[31mred",
    b"a\x7f",
    b"\xff\xfe",
    "\u{9ec4}".as_bytes(),
    b"a;reboot",
    b"$(reboot)",
    b"a&b",
    b"a*",
    b"",
];

pub fn cases() -> Vec<Case> {
    let long = [b'a'; 129];
    let longest: Vec<u8> = vec![b'a'; 100_000];
    let names = NAMES.iter().copied().chain([&long[..], &longest]);
    names.flat_map(|name| everywhere(name.to_vec())).collect()
}

/// A name wherever one can stand.
fn everywhere(name: Vec<u8>) -> Vec<Case> {
    let shown = name[..name.len().min(20)].escape_ascii().to_string();
    let what = |place: &str| format!("{place} {shown}");
    let quoted = |key: &str| [key.as_bytes(), b"='", &name, b"'\n"].concat();
    let appended = |file: &'static str, line: Vec<u8>| {
        move |world: &World| world.write(file, [world.read(file), line.clone()].concat())
    };
    let refused = Expect::Refused;
    let registry = [&quoted("mymodel")[..], b"sh dispatch.sh \"$mymodel\" /w/p p.so\n"].concat();
    let member_list = [&quoted("members")[..], b"moduleport=1\n"].concat();
    let service_conf = SERVICE_CONF.as_bytes().to_vec();
    let announced = [&b"[module]\nmoduleversion="[..], &name, b"\n"].concat();
    let mut cases = vec![
        case(Program::Add, what("a model"), |_| {}, refused("")).with(&[b"model", &name, b"p"]),
        case(Program::Add, what("a plugin"), |_| {}, refused("")).with(&[b"model", b"m", &name]),
        case(Program::Add, what("a type"), |_| {}, refused("")).with(&[&name, b"m", b"m"]),
        case(Program::Dispatch, what("an appname"), |_| {}, refused("")).with(&[
            &name,
            PREFIX.as_bytes(),
            LIBRARY.as_bytes(),
        ]),
        case(Program::Dispatch, what("a soname"), |_| {}, refused("")).with(&[
            MODEL.as_bytes(),
            PREFIX.as_bytes(),
            &name,
        ]),
        // The name itself may be refused, and then the call that uses it.
        case(Program::All, what("a stanza's model"), appended(REGISTRY, registry), Expect::Either),
        case(
            Program::Dispatch,
            what("a member"),
            move |world| {
                std::fs::remove_file(world.upload("success")).unwrap();
                world.write(world.service("status"), VERSION);
                world.write(format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh"), &member_list);
            },
            // Commas and blanks separate members; without one they are unknown.
            Expect::Either,
        ),
        case(
            Program::Poll,
            what("an announced version"),
            move |world| world.service_conf("config_1", [&announced[..], &service_conf].concat()),
            refused(""),
        ),
    ];
    if !name.is_empty() {
        // An empty value is no value, which is well.
        // A host's name may be longer than that of a model.
        if name.len() != 129 {
            cases.push(case(
                Program::Poll,
                what("an address"),
                appended(WATCH, quoted("address")),
                refused(""),
            ));
        }
        cases.push(case(
            Program::Push,
            what("a modulename"),
            appended(DEPLOY, quoted("modulename")),
            refused(""),
        ));
        cases.push(case(Program::Poll, what("a model"), appended(WATCH, quoted("modulename")), refused("")));
    }
    cases
}

const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";
const WATCH: &str = "member-127.0.0.11/watch/env.sh";
const DEPLOY: &str = "deploy/env.sh";

#[test]
fn a_name_that_is_none_is_refused_wherever_it_stands() {
    check("names", cases());
}
