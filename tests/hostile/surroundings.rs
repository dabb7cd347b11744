//! What a run is started with: zones, locales, descriptors, limits, roots; and what is called rsync.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Case, Expect, Program, anything, case, check, is_published};
use crate::harness::World;
use crate::harness::parts::is_root;
use crate::harness::world::MODEL;

/// Surroundings that change nothing.
const HARMLESS: &[&str] = &[
    "TZ=nonsense",
    "TZ=:/dev/zero",
    "TZ=/dev/zero",
    "TZ=/",
    "TZ=../../../../etc/passwd",
    "TZ=UTC-999999999",
    "TZ=$(printf '\\377')",
    "TZ=$(head -c 100000 /dev/zero | tr '\\0' x)",
    "LC_ALL=nonsense",
    "LC_ALL=$(printf '\\377') LANG=zh_CN.GBK",
    "HOME= USER= LOGNAME=",
    "HOME=/nowhere",
    "COLUMNS=0 TERM=nonsense",
    "COLUMNS=99999999999999999999",
    "RUST_BACKTRACE=full",
    "NONSENSE=$(printf '\\377\\n')",
    "IFS=/ ENV=/nowhere BASH_ENV=/nowhere CDPATH=/",
    "LD_PRELOAD=",
    "umask 077;",
    "umask 000;",
    "umask 777;",
    "unset HOME PATH;",
    "unset LC_ALL TZ;",
    "ulimit -n 32;",
    SMALL_STACK,
    "ulimit -c 0; ulimit -t 60;",
    "trap '' PIPE HUP INT TERM;",
];

/// A small stack. A frame of a program that is not optimized has room for every temporary of its
/// function.
const SMALL_STACK: &str = if cfg!(debug_assertions) { "ulimit -s 512;" } else { "ulimit -s 256;" };

/// By so many KiB a program that is not optimized is larger; what it maps counts as memory.
const UNOPTIMIZED_KIB: u32 = if cfg!(debug_assertions) { 8_000 } else { 0 };

/// What the standard streams may be.
const STREAMS: &[&str] = &[
    "exec \"$@\" <&-",
    "exec \"$@\" >&-",
    "exec \"$@\" 2>&-",
    "exec \"$@\" <&- >&- 2>&-",
    "exec \"$@\" > /dev/full",
    "exec \"$@\" > /dev/full 2> /dev/full",
    "exec \"$@\" < /dev/zero",
    "exec \"$@\" < /",
    "{ \"$@\"; echo $? > status-of-run; } | true; exit $(cat status-of-run; rm status-of-run)",
    "RUST_LOG=debug exec \"$@\" 2>&-",
    "RUST_LOG=debug exec \"$@\" 2> /dev/full",
    "RUST_LOG='%$#=nonsense,,' exec \"$@\" 2> /dev/null",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in HARMLESS {
        let starts = format!("{line} exec \"$@\"");
        // Without PATH, a push finds no rsync.
        let push = if line.contains("PATH;") { Expect::Either } else { Expect::Done(anything) };
        cases
            .push(case(Program::Dispatch, *line, |_| {}, Expect::Done(is_published)).through(starts.clone()));
        cases.push(case(Program::Push, *line, |_| {}, push).through(starts));
    }
    for line in STREAMS {
        cases.push(case(Program::Dispatch, *line, |_| {}, Expect::Done(is_published)).through(*line));
        cases.push(case(Program::Poll, *line, |_| {}, Expect::Done(anything)).through(*line));
        // What goes wrong is said to nobody: the exit status tells.
        let spoil = |world: &World| fs::remove_file(world.path("deploy/env.sh")).unwrap();
        cases.push(case(Program::Push, format!("a failure, {line}"), spoil, Expect::Either).through(*line));
    }
    cases.extend(limits());
    cases.extend(roots());
    cases.extend(nobody());
    cases
}

fn limits() -> Vec<Case> {
    let mut cases = Vec::new();
    for files in [4, 5, 6, 7, 8, 10, 12] {
        for program in [Program::Dispatch, Program::Push, Program::Poll, Program::Add] {
            let line = format!("ulimit -n {files}; exec \"$@\"");
            cases.push(
                case(program, format!("{program:?}: {files} open files"), |_| {}, Expect::Either)
                    .through(line),
            );
        }
    }
    for program in [Program::Dispatch, Program::Poll, Program::Add, Program::ToggleCrontab] {
        let line = "ulimit -f 0; exec \"$@\"";
        cases.push(
            case(program, format!("{program:?}: no file may have a byte"), |_| {}, Expect::Either)
                .through(line),
        );
    }
    for kib in [4_000, 6_000, 8_000, 12_000, 20_000] {
        let line = format!("ulimit -v {}; exec \"$@\"", kib + UNOPTIMIZED_KIB);
        let spoil = |world: &World| world.write(world.upload("data/x"), vec![b'x'; 1 << 20]);
        let what = format!("{kib} KiB of memory");
        if kib >= 12_000 {
            cases.push(case(Program::Dispatch, what, spoil, Expect::Done(is_published)).through(line));
        }
    }
    cases
}

/// Runs by a user who may read everything but what is taken from him, and write where he is let.
fn nobody() -> Vec<Case> {
    if !is_root() {
        return Vec::new();
    }
    // The binary may lie where nobody else can go: it is copied beside the world.
    let line = "here=$PWD; while [ ! -e rsyncd.conf ]; do cd ..; done; chmod 755 ..; \
        cp \"$1\" ../binary; binary=$PWD/../binary; shift; cd \"$here\"; \
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$binary\" \"$@\"";
    let service = format!("monitor/rsync_service_data/datamining_service/{MODEL}");
    let upload = format!("monitor/rsync_service_data/datamining_plugin/{MODEL}");
    let member = "member-127.0.0.11/workspace";
    let mut cases = Vec::new();
    for (program, place, mode) in [
        (Program::Dispatch, service.clone(), 0o555),
        (Program::Dispatch, service.clone(), 0o000),
        (Program::Dispatch, format!("{service}/plugin"), 0o555),
        (Program::Dispatch, format!("{service}/config_1"), 0o555),
        (Program::Dispatch, format!("{service}/config_1"), 0o000),
        (Program::Dispatch, format!("{service}/config_1/service.conf"), 0o000),
        (Program::Dispatch, upload.clone(), 0o000),
        (Program::Dispatch, format!("{upload}/data"), 0o000),
        (Program::Dispatch, format!("{upload}/data/feature.conf"), 0o000),
        (Program::Dispatch, format!("{upload}/success"), 0o000),
        (Program::Add, "monitor/rsync_service_data/datamining_service".to_owned(), 0o555),
        (Program::Add, "monitor/scripts/dispatch/bin".to_owned(), 0o555),
        (Program::Push, "deploy/online".to_owned(), 0o555),
        (Program::Push, "deploy/online/data".to_owned(), 0o000),
        (Program::Push, "deploy".to_owned(), 0o555),
        (Program::Poll, member.to_owned(), 0o555),
        (Program::Poll, "member-127.0.0.11/watch".to_owned(), 0o555),
        (Program::Poll, format!("{member}/bin/etc"), 0o555),
        (Program::ToggleCrontab, "crontab".to_owned(), 0o000),
    ] {
        let what = format!("{program:?} by nobody: {place} with mode {mode:o}");
        let spoil = move |world: &World| {
            let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(&world.root).status().unwrap();
            assert!(opened.success());
            fs::set_permissions(world.path(&place), fs::Permissions::from_mode(mode)).unwrap();
        };
        cases.push(case(program, what, spoil, Expect::Either).through(line));
    }
    cases
}

/// Roots that are written in odd ways.
fn roots() -> Vec<Case> {
    let moved = |name: &'static str, spelled: &'static str| {
        let line = format!(
            "mv monitor real; mv -- real \"{name}\"; MONITOR_ROOT=\"{spelled}\" \"$@\"; s=$?; \
             mv -- \"{name}\" real; mv real monitor; exit $s"
        );
        case(Program::Dispatch, format!("MONITOR_ROOT={spelled}"), |_| {}, Expect::Done(is_published))
            .through(line)
    };
    let wrong = |value: &'static str| {
        let line = format!("MONITOR_ROOT={value} exec \"$@\"");
        case(Program::Dispatch, format!("MONITOR_ROOT={value}"), |_| {}, Expect::Refused("")).through(line)
    };
    vec![
        moved("monitor", "monitor"),
        moved("monitor", "./monitor/../monitor//"),
        moved("a b", "a b"),
        moved("a 'quoted' one", "a 'quoted' one"),
        moved("two\nlines", "two\nlines"),
        moved("-x", "-x"),
        moved("$(printf '\\377')", "$(printf '\\377')"),
        moved("host::module", "host::module"),
        wrong("/nowhere"),
        wrong("/dev/null"),
        wrong("/dev/zero"),
        wrong("."),
        wrong("/"),
        wrong("$(printf '/\\377\\n')"),
        wrong("$(head -c 5000 /dev/zero | tr '\\0' /)x"),
        case(Program::Push, "--dir of a file", |_| {}, Expect::Refused(""))
            .with(&[b"update", b"--dir", b"env.sh"]),
        case(
            Program::Push,
            "--dir with a colon",
            |world| fs::rename(world.path("deploy"), world.path("host::deploy")).unwrap(),
            Expect::Done(anything),
        )
        .with(&[b"update", b"--dir", b"host::deploy"])
        .in_world(),
        case(Program::Push, "an option of 100 KiB", |_| {}, Expect::Refused("")).with(&[
            b"update",
            b"--source",
            &[b'x'; 100_000],
        ]),
        case(Program::Push, "an argument of 100 KiB", |_| {}, Expect::Refused("")).with(&[&[b'x'; 100_000]]),
        case(Program::Push, "an argument that is no text", |_| {}, Expect::Refused(""))
            .with(&[b"update", b"\xff\n"]),
        case(Program::Dispatch, "--wait of a huge number", |_| {}, Expect::Refused("")).with(&[
            b"m",
            b"/w",
            b"m.so",
            b"--wait",
            b"99999999999999999999",
        ]),
        case(Program::All, "--all of a directory", |_| {}, Expect::Either).with(&[b"--all", b"."]),
        case(Program::All, "--all of a device", |_| {}, Expect::Either).with(&[b"--all", b"/dev/zero"]),
    ]
}

impl Case {
    /// Started in the world's directory: that of the push is elsewhere.
    fn in_world(mut self) -> Case {
        self.starts_in_world = true;
        self
    }
}

/// An rsync that leaves something else where a service.conf was asked for.
macro_rules! leaves {
    ($what:literal) => {
        concat!(
            "for l; do :; done; mkdir -p \"$l/config_1\"; ",
            $what,
            " \"$l/config_1/service.conf\"; exit 0"
        )
    };
}

/// Programs that are called rsync: what each does, and how a poll that calls it ends.
pub fn programs() -> Vec<Case> {
    let poll =
        |what: &str, script: &'static str, expect: Expect| stand_in(Program::Poll, what, script, expect);
    let push =
        |what: &str, script: &'static str, expect: Expect| stand_in(Program::Push, what, script, expect);
    let refused = Expect::Refused;
    vec![
        poll(
            "prints garbage",
            "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2; exit 23",
            refused("rsync exit 23"),
        ),
        poll("prints 100 MB", "head -c 100000000 /dev/zero; exit 11", refused("rsync exit 11")),
        poll(
            "complains for 100 MB in one line",
            "head -c 100000000 /dev/zero >&2; exit 11",
            refused("rsync exit 11"),
        ),
        poll("ends with 99", "exit 99", refused("rsync exit 99, unknown exit code")),
        poll("ends with 255", "exit 255", refused("rsync exit 255")),
        poll("is killed", "kill -9 $$", refused("rsync exit 20")),
        poll("does nothing and is content", "exit 0", refused("has no file config_1/service.conf")),
        poll(
            "says that it did what it did not",
            "echo 'Number of regular files transferred: 18446744073709551616'; exit 0",
            refused("has no file"),
        ),
        poll("leaves a link", leaves!("ln -s /etc/passwd"), refused("has no file config_1/service.conf")),
        poll("leaves a fifo", leaves!("mkfifo"), refused("has no file config_1/service.conf")),
        poll("leaves a directory", leaves!("mkdir"), refused("has no file config_1/service.conf")),
        // Exit 23 without a reason: none of the files that were asked for is there.
        poll(
            "leaves a process that holds its output",
            "sleep 30 & exit 23",
            refused("has no file config_1/"),
        ),
        poll(
            "closes its output and goes on for a while",
            "exec >&- 2>&-; sleep 1; exit 23",
            refused("has no file config_1/"),
        ),
        push(
            "prints garbage",
            "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2; exit 23",
            refused("rsync exit 23"),
        ),
        push("reads nothing", "exec <&-; case $* in *files-from*) exit 23;; esac; exit 0", Expect::Either),
        push("complains in a million lines", "yes complaint | head -n 1000000 >&2; exit 12", Expect::Either),
        case(
            Program::Poll,
            "an rsync that may not be run",
            |world| world.write("stand-ins/rsync", "x"),
            refused("cannot start rsync"),
        )
        .through("PATH=$PWD/stand-ins exec \"$@\""),
        case(
            Program::Poll,
            "an rsync that is a directory",
            |world| world.directory("stand-ins/rsync"),
            refused("cannot start rsync"),
        )
        .through("PATH=$PWD/stand-ins exec \"$@\""),
        case(
            Program::Poll,
            "an rsync that is no program",
            |world| world.write_with_mode("stand-ins/rsync", "\0\0\0", 0o755),
            // A shell tries it.
            Expect::Either,
        )
        .through("PATH=$PWD/stand-ins exec \"$@\""),
        case(
            Program::Poll,
            "no rsync",
            |_| {},
            refused("cannot start rsync: no such file or directory; install it"),
        )
        .through("PATH=/nowhere exec \"$@\""),
        case(Program::Push, "no rsync at all", |_| {}, refused("cannot start rsync"))
            .through("PATH= exec \"$@\""),
    ]
}

fn stand_in(program: Program, what: &str, script: &'static str, expect: Expect) -> Case {
    let spoil = move |world: &World| {
        world.write_with_mode("stand-ins/rsync", format!("#!/bin/sh\n{script}\n"), 0o755);
    };
    let path = if program == Program::Push { "../stand-ins" } else { "stand-ins" };
    case(program, format!("{program:?}: an rsync that {what}"), spoil, expect)
        .through(format!("PATH=$PWD/{path}:$PATH exec \"$@\""))
}

#[test]
fn an_rsync_that_never_ends_is_ended() {
    crate::harness::parts::need!("rsync");
    let sandbox = crate::harness::Sandbox::new();
    let world = sandbox.world();
    crate::bad_input::in_order(&world);
    let settings = "member-127.0.0.11/watch/env.sh";
    world.write(settings, [world.read(settings), b"\nrsync_timeout=2\n".to_vec()].concat());
    world.write_with_mode("stand-ins/rsync", "#!/bin/sh\nexec yes garbage\n", 0o755);
    let path = format!("{}:{}", world.path("stand-ins").display(), std::env::var("PATH").unwrap());
    let mut poll = world.command(crate::harness::Tool::Poll, crate::harness::Side::BINARY, &[]);
    let outcome = world.finish(poll.env("PATH", path));
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no byte moved for 2 s"), "{}", outcome.stderr);
}

#[test]
fn surroundings_change_nothing() {
    check("surroundings", cases());
}

#[test]
fn whatever_is_called_rsync_is_survived() {
    check("programs called rsync", programs());
}
