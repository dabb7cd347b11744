//! What `disable` and `enable` say is what the running daemon does (contract section 5, 12).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use crate::harness::parts::need;
use crate::harness::rsyncd::{Rsyncd, answers, runs, toggle};
use crate::harness::wait_until;

const MEMBERS: &str = "--method rsyncd --module m --ip 127.0.0.2,127.0.0.0/30,10.85.136.181";

#[test]
fn an_address_of_this_host_is_seen_at_the_daemon_and_another_is_judged_by_the_rules() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    let place = format!("(pid {pid}, port {})", rsyncd.port);
    for (action, word) in [("disable", "denied"), ("enable", "admitted")] {
        let ran = rsyncd.toggle(&format!("{action} {MEMBERS}"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let seen = format!("seen at the daemon {place}: {word}: 127.0.0.2");
        let judged = format!("by the rules: {word}: 127.0.0.0/30, 10.85.136.181");
        assert_eq!(lines[1..], [seen.as_str(), judged.as_str()]);
        let again = rsyncd.toggle(&format!("{action} {MEMBERS}"));
        assert!(again.stdout.contains("nothing was changed\n"), "{}", again.stdout);
        assert!(again.stdout.contains(&seen), "it is seen again: {}", again.stdout);
    }
    let log = std::fs::read_to_string(rsyncd.dir.path().join("log")).unwrap();
    assert!(
        log.contains("rsync denied on module m") && log.contains("rsync allowed access on module m"),
        "{log}"
    );
    assert!(!log.contains("error"), "the daemon's log holds no error of ours: {log}");
}

#[test]
fn without_a_daemon_the_rules_are_all_there_is() {
    let rsyncd = Rsyncd::new();
    let ran = rsyncd.toggle(&format!("disable {MEMBERS}"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let note = format!("by the rules only: no rsync daemon answers on port {} (", rsyncd.port);
    assert!(ran.stdout.lines().nth(1).is_some_and(|line| line.starts_with(&note)), "{}", ran.stdout);
}

/// The manual's incident, by another cause: the file that was edited is not the daemon's.
#[test]
fn a_daemon_that_reads_another_file_is_an_error_that_names_it() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    rsyncd.start_by_hand();
    let edited = rsyncd.dir.path().join("edited.conf");
    std::fs::copy(rsyncd.conf(), &edited).unwrap();
    let ran = toggle(&edited, &format!("disable {MEMBERS}"));
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let said = format!("reads \u{201c}{}\u{201d}; name that file with --config", rsyncd.conf().display());
    assert!(
        ran.stderr.contains("does not read this file: pid ") && ran.stderr.contains(&said),
        "{}",
        ran.stderr
    );
    // A link to the file is the file.
    let link = rsyncd.dir.path().join("link.conf");
    std::os::unix::fs::symlink(rsyncd.conf(), &link).unwrap();
    assert_eq!(toggle(&link, "status --method rsyncd --module m").code, Some(0));
    assert_eq!(toggle(&link, "daemon status").code, Some(0));
}

/// A daemon that was started by a relative name sees the file of its own working directory.
#[test]
fn the_working_directory_of_the_daemon_counts() {
    need!("rsync");
    let (one, other) = (Rsyncd::new(), Rsyncd::new());
    let started = Command::new("rsync")
        .args(["--daemon", "--config", "rsyncd.conf"])
        .current_dir(one.dir.path())
        .status();
    assert!(started.unwrap().success());
    wait_until("it answers", || answers(one.port));
    let pid = one.pid();
    assert_eq!(other.toggle("daemon stop").code, Some(0));
    assert!(runs(pid));
    assert_eq!(one.toggle("daemon status").code, Some(0));
    let ran = one.toggle("disable --method rsyncd --module m --ip 127.0.0.2");
    assert!(ran.stdout.contains("seen at the daemon (pid "), "{}", ran.stdout);
    assert_eq!(one.toggle("daemon stop").code, Some(0));
    assert!(!runs(pid));
}

/// Whose command line cannot be read is told by what it does. The stand-in admits everybody to everything.
#[test]
fn a_daemon_that_still_admits_what_the_file_denies_is_an_error() {
    let rsyncd = Rsyncd::new();
    let listener = TcpListener::bind(("127.0.0.1", rsyncd.port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"@RSYNCD: 31.0\n");
            let mut lines = BufReader::new(stream.try_clone().unwrap()).split(b'\n');
            if lines.by_ref().take(2).count() == 2 {
                let _ = stream.write_all(b"@RSYNCD: OK\n");
            }
            lines.for_each(drop);
        }
    });
    let ran = rsyncd.toggle(&format!("disable {MEMBERS}"));
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let said = format!(
        "127.0.0.2 is still allowed by the daemon on port {}, whatever this file says: ",
        rsyncd.port
    );
    assert!(
        ran.stderr.contains(&said) && ran.stderr.contains("reads another configuration"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains(": denied in module "), "the edit is said: {}", ran.stdout);
    let ran = rsyncd.toggle(&format!("enable {MEMBERS}"));
    assert_eq!(ran.code, Some(0), "what it does is what is wanted: {}", ran.stderr);
}

/// A host name is not judged by the rules; the daemon, which resolves it, knows.
#[test]
fn a_host_name_that_still_admits_the_address_is_found_at_the_daemon() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    rsyncd.configure("hosts allow = localhost\nhosts deny = 127.0.0.9\n");
    rsyncd.start_by_hand();
    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip 127.0.0.1");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("127.0.0.1 is still allowed by the daemon on port "), "{}", ran.stderr);
    assert!(ran.stderr.contains("because of localhost in the hosts allow of "), "{}", ran.stderr);
    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip 127.0.0.2");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("denied: 127.0.0.2\n"), "{}", ran.stdout);
}

#[test]
fn greetings_log_ins_and_other_refusals_of_a_module_do_not_hide_the_answer() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    rsyncd.start_by_hand();
    let motd = rsyncd.dir.path().join("motd");
    std::fs::write(&motd, "Welcome\n@ the monitor\n\n").unwrap();
    std::fs::write(rsyncd.dir.path().join("secrets"), "x:y\n").unwrap();
    for module in [
        "auth users = x\nsecrets file = /nowhere\n",
        "max connections = -1\n",
        "write only = yes\nread only = no\n",
        "read only = no\n",
        "path = /nowhere\n",
        "list = no\n",
        "dont compress = *\n",
    ] {
        rsyncd.configure(module);
        let text = std::fs::read_to_string(rsyncd.conf()).unwrap();
        std::fs::write(rsyncd.conf(), format!("motd file = {}\n{text}", motd.display())).unwrap();
        for (action, word) in [("disable", "denied"), ("enable", "admitted")] {
            let ran = rsyncd.toggle(&format!("{action} --method rsyncd --module m --ip 127.0.0.2"));
            assert_eq!(ran.code, Some(0), "{module}{}", ran.stderr);
            assert!(ran.stdout.ends_with(&format!("): {word}: 127.0.0.2\n")), "{module}{}", ran.stdout);
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(rsyncd.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "nothing was written into the module: {left:?}");
}

/// A daemon that listens on both families is asked by each address in its own.
#[test]
fn addresses_of_both_families_are_asked() {
    need!("rsync");
    if TcpListener::bind("[::1]:0").is_err() {
        return crate::harness::parts::skip("this host has no IPv6");
    }
    let rsyncd = Rsyncd::new();
    let text = std::fs::read_to_string(rsyncd.conf()).unwrap();
    std::fs::write(rsyncd.conf(), text.replace("address = 127.0.0.1\n", "")).unwrap();
    rsyncd.start_by_hand();
    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip ::1,127.0.0.2,fd00::1");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("): denied: ::1, 127.0.0.2\nby the rules: denied: fd00::1\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_program_that_does_not_greet_is_no_daemon_and_keeps_nobody_waiting_for_long() {
    let rsyncd = Rsyncd::new();
    // Connections are accepted by the kernel, and nobody answers.
    let _silent = TcpListener::bind(("127.0.0.1", rsyncd.port)).unwrap();
    let begun = std::time::Instant::now();
    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip 127.0.0.2");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("by the rules only: what listens on port "), "{}", ran.stdout);
    assert!(begun.elapsed().as_secs() < 120);
}
