//! What can stand in a file of the right kind and a permitted size.

use std::fmt::Write;
use std::fs;

use super::{Case, Expect, Program, VERSION, anything, case, check, is_published};
use crate::harness::World;
use crate::harness::world::{LIBRARY, MODEL, SERVICE_CONF};

const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";

/// Nearly all that may still be read; an edit may add something.
const LARGEST: usize = (1 << 20) - 1000;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(env_sh());
    cases.extend(service_conf());
    cases.extend(success());
    cases.extend(manifest());
    cases.extend(members());
    cases.extend(rsyncd_conf());
    cases.extend(crontab());
    cases.extend(journals());
    cases
}

/// A file of the largest size: a text over and over, and something at the end.
fn filled(text: &str, end: &str) -> Vec<u8> {
    let mut filled = text.repeat((LARGEST - end.len()) / text.len());
    filled.push_str(end);
    filled.into_bytes()
}

/// A file of the largest size: a text over and over behind a beginning.
fn behind(begin: &str, text: &str) -> Vec<u8> {
    let repeated = text.repeat((LARGEST - begin.len()) / text.len());
    [begin.as_bytes(), repeated.as_bytes()].concat()
}

/// A run that finds a file with this content.
fn file(program: Program, file: &str, what: &str, content: Vec<u8>, expect: Expect) -> Case {
    let path = file.to_owned();
    case(program, format!("{file}: {what}"), move |world| world.write(&path, &content), expect)
}

fn env_sh() -> Vec<Case> {
    let push = |what: &str, content: Vec<u8>, says: &'static str| {
        file(Program::Push, "deploy/env.sh", what, content, Expect::Refused(says))
    };
    let doubled = format!("a=x{}\nmonitor=$a\n", "\na=$a$a".repeat(64));
    let copied = format!("a='{}'\n{}", "y".repeat(1 << 18), "b=$a\nc=$a$b\n".repeat(50_000));
    vec![
        push("nothing", Vec::new(), "monitor is not set"),
        push("zero bytes", vec![0; 4096], "a NUL byte"),
        push("one line of a megabyte", filled("x", ""), "the command x"),
        push("a value of a megabyte", behind("a=", "x"), ""),
        push("a megabyte of quotes", filled("'", ""), "is not"),
        push("a megabyte of open braces", filled("${", ""), "this form of ${"),
        push("defaults in defaults", filled("a=${b:-", ""), "nested too deeply"),
        push("substitutions in substitutions", filled("a=$(", ""), "command substitution is not read"),
        push("a value that doubles 64 times", doubled.into_bytes(), "have become too large"),
        push("a large value copied 100000 times", copied.into_bytes(), "have become too large"),
        push("a megabyte of assignments", filled("a=1\n", ""), "monitor is not set"),
        push("a megabyte of semicolons", filled(";", ""), "no command before this ;"),
        push("a megabyte of continued lines", filled("\\\n", ""), "monitor is not set"),
        push("UTF-16", "monitor=x\n".encode_utf16().flat_map(u16::to_le_bytes).collect(), "a NUL byte"),
        push("a byte order mark", b"\xef\xbb\xbfmonitor=127.0.0.1\nmodulename=m\n".to_vec(), ""),
        push("a command", b"monitor=$(touch ../executed)\n".to_vec(), "command substitution is not read"),
        push(
            "a command in a name",
            b"monitor=127.0.0.1\nmodulename='$(touch ../executed)'\n".to_vec(),
            "is not a model name",
        ),
        push(
            "an address that is an option",
            b"monitor=-e/bin/sh\nmodulename=m\n".to_vec(),
            "is not an address",
        ),
        push(
            "an address with a module",
            b"monitor=127.0.0.1::m/../..\nmodulename=m\n".to_vec(),
            "is not an address",
        ),
        push(
            "an address with a user",
            b"monitor=root@127.0.0.1\nmodulename=m\n".to_vec(),
            "is not an address",
        ),
        push(
            "a port of 100 digits",
            format!("monitor=127.0.0.1\nmodulename=m\nrsyncport={}\n", "1".repeat(100)).into_bytes(),
            "is not a port",
        ),
        push("escape sequences", b"monitor='\x1b]0;owned\x07'\n".to_vec(), "is not an address"),
    ]
}

fn service_conf() -> Vec<Case> {
    let place = format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf");
    let dispatch =
        |what: &str, content: Vec<u8>, expect| file(Program::Dispatch, &place, what, content, expect);
    let poll = |what: &str, content: Vec<u8>, says: &'static str| {
        file(Program::Poll, &place, what, content, Expect::Refused(says))
    };
    let missing = || Expect::Refused("there is no line module");
    let too_often = || Expect::Refused("its keys stand there too often");
    let keys = "moduleversion=1\nmodulepath=1\nmoduleconfig=1\n";
    let spaced = "moduleversion = 1\nmodulepath = 1\nmoduleconfig = 1\n";
    vec![
        dispatch("nothing", Vec::new(), missing()),
        dispatch("zero bytes", vec![0; 4096], missing()),
        dispatch(
            "zero bytes between the lines",
            keys.replace('\n', "\n\0\n").into_bytes(),
            Expect::Done(announced),
        ),
        dispatch("UTF-16", SERVICE_CONF.encode_utf16().flat_map(u16::to_le_bytes).collect(), missing()),
        dispatch("no newline at the end", SERVICE_CONF.trim_end().into(), Expect::Done(is_published)),
        dispatch("a line of a megabyte", filled("x", &format!("\n{keys}")), Expect::Done(announced)),
        dispatch("a value of a megabyte", behind(keys.trim_end(), "x"), Expect::Either),
        dispatch("keys 2000 times", keys.repeat(2000).into_bytes(), Expect::Done(announced)),
        dispatch("keys between blanks 2000 times", spaced.repeat(2000).into_bytes(), Expect::Done(announced)),
        dispatch("a megabyte of keys", filled(keys, keys), too_often()),
        dispatch("a megabyte of keys between blanks", filled(spaced, spaced), too_often()),
        dispatch("keys on one line", filled("moduleversion=modulepath=moduleconfig=", ""), missing()),
        dispatch("a megabyte of newlines", filled("\n", keys), Expect::Done(announced)),
        dispatch("a megabyte of brackets", filled("[module]", &format!("\n{keys}")), Expect::Done(announced)),
        dispatch("a megabyte of blanks", filled(" ", keys), Expect::Done(announced)),
        poll("nothing", Vec::new(), "names no version"),
        poll("zero bytes", vec![0; 100], "names no version"),
        poll("a version of a megabyte", filled("moduleversion=", "x"), "names no version"),
        poll("a version that is a path", b"moduleversion=../../../../etc\n".to_vec(), "names no version"),
        poll("a version that is an option", b"moduleversion=--delete\n".to_vec(), "names no version"),
        poll("a version of dots", b"moduleversion=..\n".to_vec(), "names no version"),
        poll(
            "a staging directory as the version",
            b"moduleversion=.staging-20180413192258\n".to_vec(),
            "names no version",
        ),
        poll("escape sequences", b"moduleversion=\x1b[2J\n".to_vec(), "names no version"),
        poll(
            "a version that is not there",
            b"moduleversion=20990101000000\n".to_vec(),
            "the monitor has no version",
        ),
    ]
}

/// Whether the upload is announced, in whatever there was.
fn announced(world: &World) {
    let conf = world.read(world.service("config_1/service.conf"));
    let line =
        format!("moduleversion{}{VERSION}", if conf.windows(3).any(|w| w == b" = ") { " = " } else { "=" });
    assert!(conf.windows(line.len()).any(|w| w == line.as_bytes()));
}

fn success() -> Vec<Case> {
    let place = format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/success");
    let as_local_time = |what: &str, content: &[u8]| {
        // As good as no version (contract section 2): it is published as local time.
        file(Program::Dispatch, &place, what, content.to_vec(), Expect::Done(one_version))
    };
    vec![
        as_local_time("nothing", b""),
        as_local_time("zero bytes", &[0; 4096]),
        as_local_time("a path", b"../../x\n"),
        as_local_time("an absolute path", b"/etc/passwd\n"),
        as_local_time("a version and a path", b"20180413192258/../../x\n"),
        as_local_time("an option", b"--delete\n"),
        as_local_time("a version of 65 signs", &[b"20180413.".as_slice(), &[b'a'; 65]].concat()),
        as_local_time("a line of 64 KiB", &vec![b'1'; 64 << 10]),
        as_local_time("no text", b"\xff\xfe2\x000\x00"),
        as_local_time("escape sequences", b"\x1b[2J\n"),
        as_local_time("a command", b"$(touch executed)\n"),
        file(
            Program::Dispatch,
            &place,
            "more than 64 KiB",
            vec![b' '; (64 << 10) + 1],
            Expect::Refused("such a file may have"),
        ),
        file(
            Program::Dispatch,
            &place,
            "a version of the year 9999",
            b"99991231235959\n".to_vec(),
            Expect::Done(one_version),
        ),
        file(
            Program::Push,
            "deploy/online/success",
            "a version of the year 9999",
            b"99991231235959\n".to_vec(),
            Expect::Either,
        ),
        file(Program::Push, "deploy/online/success", "zero bytes", vec![0; 64], Expect::Either),
    ]
}

/// Whether there is one version more, with the upload's library, and nothing outside `plugin/`.
fn one_version(world: &World) {
    let names = fs::read_dir(world.service("plugin")).unwrap().map(|entry| entry.unwrap().file_name());
    let new: Vec<_> = names.filter(|name| name != "20170101000000").collect();
    assert_eq!(new.len(), 1, "{new:?}");
    let library = world.service("plugin").join(&new[0]).join("lib").join(LIBRARY);
    assert_eq!(fs::read(library).unwrap(), b"library 2\n");
    assert!(!world.path("executed").exists());
}

fn manifest() -> Vec<Case> {
    let place = format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/.manifest");
    let title = format!("model-rollout manifest 1 {VERSION}\n");
    let digest = "a".repeat(64);
    let line = |path: &str| format!("{digest} 644 1 {path}\n");
    let refused = |what: &str, content: String, says: &'static str| {
        file(Program::Dispatch, &place, what, content.into_bytes(), Expect::Refused(says))
    };
    let mut many = title.clone();
    (0..300_000).for_each(|number| writeln!(many, "{digest} 644 1 data/{number:06}").unwrap());
    many.push_str("end 300000\n");
    vec![
        refused("nothing", String::new(), "the manifest ends here"),
        refused(
            "an absolute path",
            format!("{title}{}end 1\n", line("/etc/passwd")),
            "leaves the version's directory",
        ),
        refused(
            "a path upwards",
            format!("{title}{}end 1\n", line("data/../../x")),
            "leaves the version's directory",
        ),
        refused("a path of dots", format!("{title}{}end 1\n", line("..")), "leaves the version's directory"),
        refused("an empty path", format!("{title}{}end 1\n", line("")), "leaves the version's directory"),
        refused(
            "a path with a zero byte",
            format!("{title}{}end 1\n", line("data/\0")),
            "leaves the version's directory",
        ),
        refused("a path twice", format!("{title}{0}{0}end 2\n", line("data/x")), "not in order"),
        refused("a wrong count", format!("{title}{}end 2\n", line("data/x")), "count of files is wrong"),
        refused(
            "a count of 100 digits",
            format!("{title}end {}\n", "9".repeat(100)),
            "count of files is wrong",
        ),
        refused(
            "a size of 2^64",
            format!("{title}{digest} 644 18446744073709551616 data/x\nend 1\n"),
            "is not DIGEST",
        ),
        refused(
            "a mode of 100 digits",
            format!("{title}{digest} {} 1 data/x\nend 1\n", "7".repeat(100)),
            "is not DIGEST",
        ),
        refused(
            "another version of the format",
            title.replace("manifest 1", "manifest 2"),
            "is not the first line",
        ),
        refused(
            "a version that is a path",
            "model-rollout manifest 1 ../../x\nend 0\n".to_owned(),
            "is not the first line",
        ),
        refused("half a line", format!("{title}{digest} 644"), "the manifest ends here"),
        refused("lines of Windows", format!("{title}{}end 1\n", line("data/x")).replace('\n', "\r\n"), ""),
        refused("no text", "\u{fffd}".repeat(1000), "the manifest ends here"),
        refused("a line of 10 MB", format!("{title}{}\nend 1\n", "x".repeat(10 << 20)), "is not DIGEST"),
        refused("a path of 10 MB", format!("{title}{}end 1\n", line(&"x".repeat(10 << 20))), "is missing"),
        refused("300000 files that are not there", many.clone(), "is missing"),
        refused("a million files", many.repeat(4), "such a file may have"),
        refused(
            "the push of a later version",
            title.replace(VERSION, "20990101000000") + "end 0\n",
            "was not completed",
        ),
    ]
}

fn members() -> Vec<Case> {
    let place = format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh");
    let list = |what: &str, members: String, expect: Expect| {
        let content = format!("members='{members}'\nmoduleport=17019\n");
        let place = place.clone();
        let spoil = move |world: &World| {
            fs::remove_file(world.upload("success")).unwrap();
            world.write(world.service("status"), VERSION);
            world.published(VERSION);
            // A command takes note of what a script has published.
            let noted =
                world.run(crate::harness::Tool::Dispatch, crate::harness::Side::BINARY, &["--unpin", MODEL]);
            assert_eq!(noted.status, 0);
            world.write(&place, &content);
        };
        case(Program::Dispatch, format!("members: {what}"), spoil, expect)
    };
    let many: Vec<String> =
        (0..60_000).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
    vec![
        list("60000 of them", many.join(","), Expect::Done(anything)),
        list("one of them 60000 times", "10.0.0.1 ".repeat(60_000), Expect::Done(anything)),
        list("a path", "../../../../etc/passwd".to_owned(), Expect::Refused("is not an address")),
        list("a name of 254 signs", "a".repeat(254), Expect::Refused("is not an address")),
        list("a name of a megabyte", "a".repeat(1_000_000), Expect::Refused("is not an address")),
        list("nothing but commas", ",".repeat(1_000_000), Expect::Done(anything)),
    ]
}

fn rsyncd_conf() -> Vec<Case> {
    let module = "[datamining_service]\n";
    let toggle = |what: &str, content: Vec<u8>, expect| {
        file(Program::ToggleRsyncd, "rsyncd.conf", what, content, expect)
    };
    let denied = || Expect::Done(anything);
    let refused = Expect::Refused;
    vec![
        toggle("nothing", Vec::new(), refused("there is no module")),
        toggle("zero bytes", vec![0; 4096], refused("a zero byte")),
        toggle("a zero byte at the end", format!("{module}\0").into_bytes(), refused("a zero byte")),
        toggle(
            "a megabyte of modules",
            (0..80_000).map(|n| format!("[{n}]\n")).collect::<String>().into_bytes(),
            refused("there is no module"),
        ),
        toggle("one module over and over", filled(module, module), denied()),
        toggle(
            "a name of half a megabyte with short lines",
            format!("{module}[{}]\n{}", "x".repeat(LARGEST / 2), "a=b\n".repeat(100_000)).into_bytes(),
            denied(),
        ),
        toggle("a list of a megabyte", behind(&format!("{module}hosts deny="), "10.0.0.2,"), denied()),
        toggle(
            "a list over 100000 lines",
            behind(&format!("{module}hosts deny="), "10.0.0.2,\\\n"),
            Expect::Either,
        ),
        toggle("a hundred thousand lists", behind(module, "hosts deny=10.0.0.2\n"), denied()),
        toggle("nothing but backslashes", filled("\\", ""), refused("there is no module")),
        toggle("nothing but continued lines", filled("\\\n", ""), refused("there is no module")),
        toggle("a line that continues for ever", behind(module, "x\\\n"), Expect::Either),
        toggle("a module name without an end", filled("[", ""), refused("a module name without ]")),
        toggle(
            "a value without a key",
            format!("{module}=x\n").into_bytes(),
            refused("a value without a key"),
        ),
        toggle(
            "includes",
            format!("{module}&include /nowhere/rsyncd.d\n").into_bytes(),
            refused("&include: cannot read /nowhere/rsyncd.d: no such file"),
        ),
        toggle("more than a megabyte", vec![b'#'; LARGEST + 1001], refused("such a file may have")),
    ]
}

fn crontab() -> Vec<Case> {
    let job = "* * * * * /watch/service_polling.sh\n";
    let toggle =
        |what: &str, content: Vec<u8>, expect| file(Program::ToggleCrontab, "crontab", what, content, expect);
    let done = || Expect::Done(anything);
    let refused = Expect::Refused;
    vec![
        toggle("nothing", Vec::new(), refused("no job runs service_polling")),
        toggle("zero bytes", vec![0; 4096], refused("no job runs service_polling")),
        toggle("zero bytes before the job", [&[0; 4096][..], b"\n", job.as_bytes()].concat(), done()),
        toggle("one job over and over", filled(job, job), refused("more than one job")),
        toggle(
            "a job commented out over and over",
            filled(&format!("#{job}"), ""),
            refused("commented out by hand"),
        ),
        toggle("a line of a megabyte", filled("x", &format!("\n{job}")), done()),
        toggle("a command of a megabyte", behind(job.trim_end(), " x"), Expect::Either),
        toggle("a minute of a megabyte", filled("1,", &format!("1 {}", &job[2..])), done()),
        toggle(
            "a minute of huge numbers",
            format!("{} {}", "9".repeat(1000), &job[2..]).into_bytes(),
            refused("cron cannot read line 1"),
        ),
        toggle("a step of 2^32", format!("*/4294967296 {}", &job[2..]).into_bytes(), Expect::Either),
        toggle("a day that never comes", format!("0 0 31 2 * {}", &job[10..]).into_bytes(), done()),
        toggle("nothing but backslashes", filled("\\", job), Expect::Either),
        toggle("nothing but marks", filled("#autoupdate-toggle paused# ", job), Expect::Either),
        toggle("an open quote", filled("'", &format!("\n{job}")), done()),
        toggle("more than a megabyte", vec![b'#'; LARGEST + 1001], refused("such a file may have")),
    ]
}

/// What the binaries keep, in directories that others can write to.
fn journals() -> Vec<Case> {
    let rollout = format!("monitor/rsync_service_data/datamining_service/{MODEL}/.rollout");
    let poll = "member-127.0.0.11/workspace/bin/etc/.rollout/state.json";
    let state = |what: &str, content: String| {
        let place = format!("{rollout}/state.json");
        file(Program::Dispatch, &place, what, content.into(), Expect::Refused("dispatch --rebuild"))
    };
    let document = |fields: &str| {
        format!(
            r#"{{"schema":1,"model":"{MODEL}","epoch":1,"sequence":1,"events":1,"settled":false,"ledger":[]{fields}}}"#
        )
    };
    let publishing = |version: &str| {
        document(&format!(r#","publishing":{{"version":"{version}","began_s":1}},"marked":"{version}""#))
    };
    let good = |what: &str, content: String| {
        let place = format!("{rollout}/state.json");
        file(Program::Dispatch, &place, what, content.into(), Expect::Done(is_published))
    };
    vec![
        good("nothing but a model", document("")),
        good("unknown fields", document(r#","x":{"y":[1,null]}"#)),
        state("no byte", String::new()),
        state("zero bytes", "\0".repeat(1000)),
        state("a version that is a path", publishing("../../x")),
        state("huge numbers", document("").replace(":1,", &format!(":{},", "9".repeat(60)))),
        state("another model's", document("").replace(MODEL, "other")),
        state("a list", "[]".to_owned()),
        state("brackets a million deep", "[".repeat(1_000_000)),
        file(
            Program::Dispatch,
            &format!("{rollout}/state.json"),
            "of a later release",
            document("").replace("\"schema\":1", "\"schema\":2").into(),
            Expect::Refused("install the release that wrote it"),
        ),
        file(
            Program::Dispatch,
            &format!("{rollout}/announcement"),
            "one without a state",
            b"x".to_vec(),
            Expect::Refused("dispatch --rebuild"),
        ),
        file(
            Program::Poll,
            poll,
            "a version that is a path",
            br#"{"schema":1,"pending":{"todo":"restart","version":"../../x"}}"#.to_vec(),
            Expect::Refused("remove it, and the next poll begins anew"),
        ),
        file(
            Program::Poll,
            poll,
            "zero bytes",
            vec![0; 4096],
            Expect::Refused("remove it, and the next poll begins anew"),
        ),
    ]
}

/// A registry: a header, and lines over and over.
fn registry(what: &str, lines: &'static str, repeated: usize, expect: Expect) -> Case {
    let spoil = move |world: &World| world.write(REGISTRY, HEADER.to_owned() + &lines.repeat(repeated));
    case(Program::All, format!("registry: {what}"), spoil, expect).patient()
}

const HEADER: &str = "#!/bin/sh\nlogFile=../log/log\n";
const REMARK: &str = "# a remark that is as long as a line of a stanza often is\n";
const UNKNOWN: &str = "command-that-nobody-knows with some arguments as well\n";

pub fn registries() -> Vec<Case> {
    // A hundred lines are named, and the last one sums up.
    let many = |what: &str, lines: &'static str, repeated| registry(what, lines, repeated, Expect::Either);
    vec![
        registry("a million remarks", REMARK, 1_000_000, Expect::Done(anything)),
        registry(
            "a million lines",
            "mymodel=\"mblog_yellow\" # and then some more of it.\n",
            1_000_000,
            Expect::Done(anything),
        ),
        many("a million lines that cannot be read", UNKNOWN, 1_000_000),
        registry(
            "lines of log",
            "echo \"====begin start run mblog==\" >> log\n",
            100_000,
            Expect::Done(logged),
        ),
        many("keywords", "if this is not a line then which is not, and what for\n", 100_000),
        many("names that are lost", "a=1; b=2; c=3; unknown; echo $a $b $c >> $logFile\n", 50_000),
        many("open substitutions", "a=$(x\n", 200_000),
        many("open quotes", "a='\n", 200_001),
        many("open double quotes", "a=\"${x:-\n", 200_000),
        many("open backquotes", "a=`\n", 200_001),
        many("here-documents", "cat <<E\n", 200_000),
        many("here-documents on one line", "cat <<E;", 200_000),
        many("subshells", "(\n", 200_000),
        many("one line of 10 MB", "x", 10 << 20),
        many("one assignment of 10 MB", "a=xxxxxxxxxxxxxxxx", 600_000),
        many("ten million blank lines", "\n", 10_000_000),
        many("more than 64 MiB", REMARK, 1_200_000),
        registered("a million lines", REMARK, 1_000_000),
        registered("100000 lines that cannot be read", UNKNOWN, 100_000),
    ]
}

/// A model that is registered behind many lines.
fn registered(what: &str, lines: &'static str, repeated: usize) -> Case {
    let spoil = move |world: &World| world.write(REGISTRY, lines.repeat(repeated));
    case(Program::Add, format!("registered behind {what}"), spoil, Expect::Done(anything)).patient()
}

fn logged(world: &World) {
    let log = fs::metadata(world.path("monitor/scripts/dispatch/bin/log")).unwrap();
    assert_eq!(log.len(), 100_000 * 28);
}

#[test]
fn whatever_a_file_holds_is_read_or_refused() {
    check("contents", cases());
}

#[test]
fn a_registry_of_a_million_lines_is_done() {
    check("large registries", registries());
}
