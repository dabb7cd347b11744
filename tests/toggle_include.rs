//! An rsyncd.conf that includes other files: read as the real daemon reads it, and edited where the module stands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model_rollout::formats::rsyncd_conf::access::Verdict;
use model_rollout::formats::rsyncd_conf::include::Found;
use model_rollout::formats::rsyncd_conf::{Problem, RsyncdConf};
use model_rollout::ip_range::IpRange;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::parts::need;
use crate::harness::rsyncd::Rsyncd;
use crate::harness::{Sandbox, Side, Tool, wait_until};
use crate::toggle::Daemon;

const DENY: &str = "disable --method rsyncd --module m --ip 127.0.0.2";
const ADMIT: &str = "enable --method rsyncd --module m --ip 127.0.0.2";

/// Files by their names below a directory, whose path stands for `DIR` in them, and in which `PATH` is a module's.
fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let path = format!("path = {}", dir.display());
        fs::write(file, text.replace("PATH", &path).replace("DIR", &dir.display().to_string())).unwrap();
    }
}

/// Every file below a directory but dot files and the daemon's log, with its bytes.
fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if !name.starts_with('.') && !["log", "rsyncd.pid"].contains(&name) {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A monitor whose module `m` stands in rsyncd.d/m.conf, or in rsyncd.d/m.inc.
fn monitor(directive: &str, name: &str) -> (Rsyncd, PathBuf) {
    let rsyncd = Rsyncd::new();
    let dir = rsyncd.dir.path();
    let main = fs::read_to_string(rsyncd.conf()).unwrap();
    let head = main.split("[m]").next().unwrap();
    let main = format!("{head}{directive} {}/rsyncd.d\n[n]\npath = {}\n", dir.display(), dir.display());
    fs::write(rsyncd.conf(), main).unwrap();
    let file = format!("rsyncd.d/{name}");
    write(dir, &[(&file, "# the fleet's\n[m]\nPATH\n"), ("rsyncd.d/other", "hosts deny = *\n")]);
    let file = dir.join(file);
    (rsyncd, file)
}

#[test]
fn a_module_of_an_included_file_is_denied_and_admitted_where_it_stands() {
    need!("rsync");
    for (directive, name) in [("&include", "m.conf"), ("&merge", "m.inc")] {
        let (rsyncd, file) = monitor(directive, name);
        let pid = rsyncd.start_by_hand();
        let before = files_below(rsyncd.dir.path());
        let shown = rsyncd.toggle(&format!("{DENY} --dry-run"));
        assert!(shown.stdout.contains(&format!("+++ {}", file.display())), "{}", shown.stdout);
        assert!(shown.stdout.ends_with("+hosts deny = 127.0.0.2\n"), "{}", shown.stdout);
        assert_eq!(files_below(rsyncd.dir.path()), before);

        let ran = rsyncd.toggle(DENY);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let said = format!(
            "{}: denied in module \u{201c}m\u{201d}: 127.0.0.2; the daemon needs no restart\n\
             seen at the daemon (pid {pid}, port {}): denied: 127.0.0.2\n",
            file.display(),
            rsyncd.port
        );
        assert_eq!(ran.stdout, said);
        let mut expected = before.clone();
        expected.get_mut(&file).unwrap().extend(b"hosts deny = 127.0.0.2\n");
        assert_eq!(files_below(rsyncd.dir.path()), expected);
        let status = rsyncd.toggle("status --method rsyncd --module m").stdout;
        assert_eq!(status, format!("denied: 127.0.0.2 ({}:4)\n", file.display()));
        let status = rsyncd.toggle("daemon status");
        assert_eq!(status.code, Some(0), "{}", status.stderr);

        let ran = rsyncd.toggle(ADMIT);
        assert!(ran.stdout.contains("): admitted: 127.0.0.2\n"), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(files_below(rsyncd.dir.path()), before);
    }
}

#[test]
fn a_tick_ends_a_denial_that_stands_in_an_included_file() {
    need!("rsync");
    let (rsyncd, file) = monitor("&include", "m.conf");
    rsyncd.start_by_hand();
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let tick = || {
        let mut command = world.command(Tool::Registry, Side::BINARY, &[]);
        let outcome = world.finish(command.env("RSYNCD_CONF", rsyncd.conf()));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        outcome.stdout
    };
    let before = fs::read(&file).unwrap();
    assert_eq!(tick(), "");
    let ran = rsyncd.toggle(&format!("{DENY} --until 2098-01-01T00:00"));
    assert!(ran.stdout.contains("): denied: 127.0.0.2\n"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(tick(), "", "nothing is due");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("until 2098", "until 2001")).unwrap();

    let lock = fs::File::create(file.with_file_name(".m.conf.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(tick(), "", "one that is edited is left for the next tick");
    let ran = rsyncd.toggle(ADMIT);
    assert_eq!(ran.code, Some(75), "{}", ran.stderr);
    lock.unlock().unwrap();

    let said = tick();
    let expected = "m.conf: admitted again in module \u{201c}m\u{201d}, as it was to be: 127.0.0.2\n";
    assert!(said.ends_with(expected), "{said}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let ran = rsyncd.toggle(ADMIT);
    assert!(ran.stdout.contains("): admitted: 127.0.0.2\n"), "{}{}", ran.stdout, ran.stderr);

    // A configuration that cannot be read is complained about only where a denial may have to end.
    fs::write(rsyncd.conf(), "&include /nowhere\n").unwrap();
    assert_eq!(tick(), "");
}

/// Two configurations may include one file: what was decided before its lock was held is decided anew.
#[test]
fn an_edit_that_came_between_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("main", "&include DIR/m.conf\n"), ("m.conf", "[m]\n")]);
    let (file, lock_file) = (dir.path().join("m.conf"), dir.path().join(".m.conf.lock"));
    let lock = fs::File::create(&lock_file).unwrap();
    lock.lock().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_autoupdate-toggle"))
        .args("disable --method rsyncd --module m --ip 10.0.0.1 --wait 60 --port 9 --config".split(' '))
        .arg(dir.path().join("main"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it waits for the lock", || {
        let open = fs::read_dir(format!("/proc/{}/fd", run.id())).unwrap();
        open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).any(|path| path == lock_file)
    });
    fs::write(&file, "[m]\nhosts deny = 10.0.0.2\n").unwrap();
    lock.unlock().unwrap();
    assert!(run.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "[m]\nhosts deny = 10.0.0.2,10.0.0.1\n");
}

#[test]
fn what_the_daemon_would_not_read_either_is_refused_where_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let shared = ("twice", "hosts deny = 10.0.0.9\n");
    for (files, place, what) in [
        (&[("main", "&include DIR/main\n")][..], "main:1:1: ", "main would include itself; "),
        (
            &[("main", "&merge DIR/a\n"), ("a", "\n&include DIR/main\n")],
            "a:2:1: ",
            "main would include itself; ",
        ),
        (&[("main", "&include DIR/none\n")], "main:1:1: ", "none: no such file or directory; check the path"),
        (&[("main", "&include rsyncd.d\n")], "main:1:1: ", "&include: rsyncd.d does not begin at the root; "),
        (&[("main", "&include DIR/a\n"), ("a", "[m]\n= x\n")], "a:2:1: ", "a value without a key; "),
        (
            &[("main", "[m]\n&merge DIR/twice\n[n]\n&merge DIR/twice\n"), shared],
            "twice:1:22: ",
            "more than once",
        ),
    ] {
        write(dir.path(), files);
        let before = files_below(dir.path());
        let ran = crate::harness::rsyncd::toggle(&dir.path().join("main"), DENY);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        let place = format!("autoupdate-toggle: {}/{place}", dir.path().display());
        assert!(ran.stderr.starts_with(&place) && ran.stderr.contains(what), "{}", ran.stderr);
        assert_eq!(files_below(dir.path()), before);
    }
}

const LINES: [&str; 9] = [
    "[m]\nPATH",
    "[n]\nPATH",
    "[global]",
    "hosts deny = 127.0.0.2",
    "hosts deny = 127.0.0.3",
    "hosts deny =",
    "hosts allow = 127.0.0.2",
    "list = yes",
    "# remark",
];

/// The text of a file that leads to some of the others, of which the first ones lead to the later ones only.
fn text_leading_to(directives: &'static [&'static str], lines: usize) -> impl Strategy<Value = String> {
    let line = prop_oneof![3 => select(LINES.to_vec()), 2 => select(directives.to_vec())];
    (vec(line, 0..lines), any::<bool>()).prop_map(|(lines, is_ended)| {
        let text = lines.join("\n");
        if is_ended { text + "\n" } else { text }
    })
}

/// A nest of files, each with its name.
fn nests() -> impl Strategy<Value = [(&'static str, String); 8]> {
    const FROM_MAIN: [&str; 9] = [
        "&include DIR/d",
        "&merge DIR/d",
        "&merge DIR/d",
        "&include DIR/e",
        "&MERGE DIR/e/",
        "&include = DIR/f",
        " &merge\tDIR/f ",
        "&include DIR/g",
        "&include DIR/empty",
    ];
    (
        text_leading_to(&FROM_MAIN, 10),
        text_leading_to(&["&include DIR/e", "&merge DIR/f"], 5),
        text_leading_to(&["&merge DIR/e", "&include DIR/f"], 4),
        text_leading_to(&["&merge DIR/f", "&include DIR/g"], 4),
        text_leading_to(&["&merge DIR/f", "&merge DIR/g"], 4),
        text_leading_to(&["&merge DIR/g"], 4),
        text_leading_to(&["# none"], 4),
    )
        .prop_map(|(main, b, inc, dot, z, f, g)| {
            [
                ("rsyncd.conf", main),
                ("d/b.conf", b),
                ("d/a.inc", inc.clone()),
                ("e/.x.conf", dot),
                ("e/z.inc", z),
                ("f", f),
                ("g", g),
                ("empty/x.CONF", inc),
            ]
        })
}

fn look(path: &Path) -> Found {
    if path.is_dir() {
        Found::Directory(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect())
    } else {
        fs::read(path).map_or_else(|e| Found::Nothing(e.to_string()), Found::File)
    }
}

/// What the daemon should answer: as it does, `None` where there is no such module.
fn judged(conf: &RsyncdConf, address: &str) -> Option<bool> {
    match conf.access(b"m") {
        Ok(access) => match access.verdict(&IpRange::parse(address.as_bytes()).unwrap()) {
            Verdict::Admitted | Verdict::AdmittedBy(_) => Some(true),
            Verdict::DeniedBy(_) | Verdict::NotAllowed(_) => Some(false),
            other => panic!("{other:?}"),
        },
        Err(Problem::NoSuchModule(..)) => None,
        Err(problem) => panic!("{problem:?}"),
    }
}

/// In each nest, too: what was edited is what the daemon then does, other modules' answers stay, and so do the bytes in the end.
#[test]
fn random_nests_of_files_are_read_and_edited_as_the_daemon_reads_them() {
    need!("rsync");
    let daemon = Daemon::start();
    let conf = daemon.conf();
    let dir = conf.parent().unwrap();
    let read = || RsyncdConf::read(&conf, &fs::read(&conf).unwrap(), &mut look);
    let (asked, range) = ("127.0.0.3", [IpRange::parse(b"127.0.0.3").unwrap()]);
    let edited = std::cell::Cell::new(0);
    let mut config = ProptestConfig::with_cases(60);
    config.failure_persistence = None;
    let ran = proptest::test_runner::TestRunner::new(config).run(&nests(), |files| {
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        write(dir, &files[1..]);
        daemon.configure(&files[0].1.replace("DIR", &dir.display().to_string()));
        let before = read();
        for address in ["127.0.0.2", asked] {
            prop_assert_eq!(judged(&before, address), daemon.answer(address, "m"), "{} {:?}", address, files);
        }
        let other = daemon.answer(asked, "n");
        let mut denied = read();
        if judged(&before, asked) != Some(true) || denied.deny(b"m", &range).is_err() {
            return Ok(());
        }
        edited.set(edited.get() + 1);
        let changed = denied.changed_since(&before);
        prop_assert_eq!(changed.len(), 1);
        fs::write(changed[0].0, changed[0].1).unwrap();
        prop_assert_eq!(judged(&read(), asked), judged(&denied, asked));
        prop_assert_eq!(daemon.answer(asked, "m"), judged(&denied, asked), "{:?}", files);
        prop_assert_eq!(daemon.answer(asked, "n"), other, "{:?}", files);
        denied.allow_again(b"m", &range).unwrap();
        prop_assert!(denied.changed_since(&before).is_empty(), "{:?}", files);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(edited.get() > 5, "{} nests were edited", edited.get());
}
