//! `autoupdate-toggle daemon` on real rsync daemons; the manual's `kill -9` beside it is row 14 of tests/defects.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::rsyncd::{Rsyncd, answers, runs};
use crate::harness::wait_until;
use crate::harness::write_program;

/// A process that has nothing to do with rsync.
pub struct Foreign(Child);

impl Foreign {
    pub fn start() -> Foreign {
        Foreign(Command::new("sleep").arg("600").spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    pub fn survives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The manual's way to stop the daemon; returns whether it succeeded.
pub fn manual_stop(rsyncd: &Rsyncd) -> bool {
    let line = "cat rsyncd.pid | xargs kill -9 && rm -rf rsyncd.pid";
    let shell =
        Command::new("sh").args(["-c", line]).current_dir(rsyncd.dir.path()).stderr(Stdio::null()).status();
    shell.unwrap().success()
}

#[test]
fn a_daemon_is_started_once_found_and_stopped() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let ran = rsyncd.toggle("daemon status");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(": the rsync daemon is not running; port "), "{}", ran.stderr);

    let ran = rsyncd.toggle("daemon start");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let pid = rsyncd.pid();
    assert!(ran.stdout.contains(&format!(": started the rsync daemon: pid {pid} since ")), "{}", ran.stdout);
    assert!(answers(rsyncd.port));

    let ran = rsyncd.toggle("daemon status");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains(&format!("is running: pid {pid} since ")), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(&format!("port {} answers\n", rsyncd.port)), "{}", ran.stdout);

    let ran = rsyncd.toggle("daemon start");
    assert!(ran.stdout.contains("is running already: pid "), "{}", ran.stdout);
    rsyncd.is_alone(pid);

    let ran = rsyncd.toggle("daemon stop");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.contains(&format!("pid {pid} has ended, port {} is closed", rsyncd.port)),
        "{}",
        ran.stdout
    );
    assert!(
        !runs(pid) && !rsyncd.pid_file().exists() && TcpStream::connect(("127.0.0.1", rsyncd.port)).is_err()
    );

    let ran = rsyncd.toggle("daemon stop");
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout.ends_with(": the rsync daemon is not running; nothing was signalled\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_daemon_of_the_manuals_command_is_stopped_and_restarted() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let by_hand = rsyncd.start_by_hand();
    let ran = rsyncd.toggle("daemon restart");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ours = rsyncd.pid();
    assert!(ours != by_hand && !runs(by_hand));
    rsyncd.is_alone(ours);
    assert_eq!(rsyncd.toggle("daemon stop").code, Some(0));
    let ran = rsyncd.toggle("daemon restart");
    assert!(ran.stdout.contains("is not running") && ran.stdout.contains("started"), "{}", ran.stdout);
    assert_eq!(rsyncd.toggle("daemon status").code, Some(0));
}

#[test]
fn a_foreign_process_survives_while_the_daemon_that_the_pid_file_forgot_is_stopped() {
    need!("rsync", "xargs");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    let mut foreign = Foreign::start();
    rsyncd.write_pid_file(format!("{}\n", foreign.pid()));
    let ran = rsyncd.toggle("daemon status");
    assert!(ran.stdout.contains("; its pid file is wrong: "), "{}", ran.stdout);
    let ran = rsyncd.toggle("daemon stop");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(foreign.survives() && !runs(pid) && !rsyncd.pid_file().exists());
}

/// The manual's own incident: "the pid was not found; without a restart hosts deny did not take effect".
#[test]
fn a_daemon_whose_pid_file_is_gone_is_found_by_its_command_line() {
    need!("rsync", "xargs");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    std::fs::remove_file(rsyncd.pid_file()).unwrap();
    assert!(!manual_stop(&rsyncd));
    assert!(runs(pid), "legacy: it goes on");
    let ran = rsyncd.toggle("daemon status");
    assert!(ran.stdout.contains(&format!("pid {pid} since ")), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("; its pid file ") && ran.stdout.ends_with(" is missing\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(rsyncd.toggle("daemon stop").code, Some(0));
    assert!(!runs(pid));
}

#[test]
fn nothing_in_a_pid_file_leads_to_a_signal() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    // What is a number, or nothing, may go; what nobody can have meant as one stays for a person to look at.
    for (content, code, said) in [
        (&b""[..], 0, "is empty"),
        (b"\n", 0, "is empty"),
        (b"0\n", 0, "names 0, and there is no such process"),
        (b"1\n", 0, "names pid 1 ("),
        (b"4194304\n", 0, "names 4194304, and there is no such process"),
        (b"99999999999999999999", 0, "names 99999999999999999999, and there is no such process"),
        (b"999999999999999999999", 1, "holds something else than the number of a process"),
        (b"-1\n", 1, "holds something else"),
        (b"-1234\n", 1, "holds something else"),
        (b"12 34\n", 1, "holds something else"),
        (b"root:x:0:0::/root:/bin/sh\n", 1, "holds something else"),
        (b"\xff\0\n", 1, "holds something else"),
    ] {
        rsyncd.write_pid_file(content);
        let ran = rsyncd.toggle("daemon stop");
        assert_eq!(ran.code, Some(code), "{content:?}: {}", ran.stderr);
        assert!((ran.stdout.clone() + &ran.stderr).contains(said), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(rsyncd.pid_file().exists(), code == 1, "{content:?}");
        if code == 1 {
            assert_eq!(std::fs::read(rsyncd.pid_file()).unwrap(), content);
            assert_eq!(rsyncd.toggle("daemon start").code, Some(1), "rsync would overwrite it");
            assert_eq!(std::fs::read(rsyncd.pid_file()).unwrap(), content);
        }
    }
    std::fs::remove_file(rsyncd.pid_file()).unwrap();
    std::fs::create_dir(rsyncd.pid_file()).unwrap();
    let ran = rsyncd.toggle("daemon stop");
    assert!(ran.code == Some(1) && ran.stderr.contains("is not a regular file"), "{}", ran.stderr);
}

#[test]
fn a_daemon_that_was_killed_leaves_a_pid_file_that_is_stale() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_until("it is gone", || !runs(pid));
    let ran = rsyncd.toggle("daemon status");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("names {pid}, and there is no such process")), "{}", ran.stderr);
    let ran = rsyncd.toggle("daemon start");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("removed a stale pid file"), "{}", ran.stdout);
    rsyncd.is_alone(rsyncd.pid());
}

#[test]
fn of_two_daemons_only_the_one_of_the_configuration_is_stopped() {
    need!("rsync");
    let (one, other) = (Rsyncd::new(), Rsyncd::new());
    let (pid, of_other) = (one.start_by_hand(), other.start_by_hand());
    // Even where the pid file names the other one.
    one.write_pid_file(format!("{of_other}\n"));
    assert_eq!(one.toggle("daemon stop").code, Some(0));
    assert!(!runs(pid) && runs(of_other));
    one.write_pid_file(format!("{of_other}\n"));
    let ran = one.toggle("daemon stop");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("which is the daemon of another configuration"), "{}", ran.stdout);
    assert!(runs(of_other) && answers(other.port));
    // A pid file that both name is locked by the one that runs.
    let text = std::fs::read_to_string(one.conf()).unwrap();
    let shared = other.pid_file().display().to_string();
    std::fs::write(one.conf(), text.replace(&one.pid_file().display().to_string(), &shared)).unwrap();
    for action in ["stop", "start"] {
        let ran = one.toggle(&format!("daemon {action}"));
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(
            ran.stderr.contains("holds its lock; give each daemon a pid file of its own"),
            "{}",
            ran.stderr
        );
    }
    assert!(runs(of_other) && other.pid() == of_other);
}

#[test]
fn two_daemons_of_one_configuration_are_told_apart_by_the_pid_file_or_not_at_all() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let first = rsyncd.start_by_hand();
    let port = quiet_port();
    let second_pid_file = rsyncd.dir.path().join("second.pid");
    let status = Command::new("rsync")
        .args(["--daemon", &format!("--config={}", rsyncd.conf().display()), &format!("--port={port}")])
        .arg(format!("--dparam=pidfile={}", second_pid_file.display()))
        .status();
    assert!(status.unwrap().success());
    wait_until("the second one answers", || answers(port));
    std::fs::rename(rsyncd.pid_file(), rsyncd.dir.path().join("moved")).unwrap();
    let ran = rsyncd.toggle("daemon stop");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("more than one rsync daemon reads it"), "{}", ran.stderr);
    assert_eq!(rsyncd.processes().len(), 2);
    let ran = rsyncd.toggle(&format!("daemon stop --port {port} --pid-file {}", second_pid_file.display()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    rsyncd.is_alone(first);
}

#[test]
fn the_port_and_the_pid_file_of_the_command_line_reach_the_daemon() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let port = quiet_port();
    let pid_file = rsyncd.dir.path().join("other.pid");
    let options = format!("--port {port} --pid-file {}", pid_file.display());
    let ran = rsyncd.toggle(&format!("daemon start {options}"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(answers(port) && pid_file.exists() && !rsyncd.pid_file().exists());
    assert_eq!(rsyncd.toggle(&format!("daemon stop {options}")).code, Some(0));
    assert!(!answers(port) && rsyncd.processes().is_empty());
}

#[test]
fn a_port_that_another_program_uses_is_said() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let listener = TcpListener::bind(("127.0.0.1", rsyncd.port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"220 mail ESMTP\r\n");
        }
    });
    let ran = rsyncd.toggle("daemon start");
    assert_eq!(ran.code, Some(1));
    let said = format!("not started: port {} is used by another program, pid ", rsyncd.port);
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    // Not by its pid: a child that another test has forked, and that is not its program yet, has the port as well.
    let own = std::env::current_exe().unwrap();
    assert!(ran.stderr.contains(&format!("(\u{201c}{}", own.display())), "{}", ran.stderr);
    assert!(rsyncd.processes().is_empty() && !rsyncd.pid_file().exists());
}

#[test]
fn a_configuration_that_no_daemon_starts_with_is_said() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let before = std::fs::read_to_string(rsyncd.conf()).unwrap();
    for (text, said) in
        [("port = 99999\n[m]\n", "rsyncd.conf:1: port: "), ("[m\n", "rsyncd.conf:1:1: a module name")]
    {
        std::fs::write(rsyncd.conf(), text).unwrap();
        let ran = rsyncd.toggle("daemon start");
        assert!(ran.code == Some(2) && ran.stderr.contains(said), "{}", ran.stderr);
    }
    // rsync finds this out after it has said that all is well.
    std::fs::write(rsyncd.conf(), before.replace("rsyncd.pid", "nowhere/rsyncd.pid")).unwrap();
    let ran = rsyncd.toggle("daemon start");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("the rsync daemon did not start: no process of it is left"),
        "{}",
        ran.stderr
    );
    std::fs::remove_file(rsyncd.conf()).unwrap();
    assert_eq!(rsyncd.toggle("daemon start").code, Some(1));
}

#[test]
fn what_rsync_complains_of_is_said_in_its_words() {
    let rsyncd = Rsyncd::new();
    let stand_in = rsyncd.dir.path().join("rsync");
    write_program(&stand_in, b"#!/bin/sh\necho 'rsync: no daemon today' >&2\nexit 4\n", 0o755);
    let path = format!("{}:{}", rsyncd.dir.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_autoupdate-toggle"))
        .args(["daemon", "start", "--config"])
        .arg(rsyncd.conf())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said, "autoupdate-toggle: rsync did not start: rsync: no daemon today (exit status: 4)\n");
}

/// A daemon that does not end is left alone: SIGKILL is for a person to decide.
#[test]
fn a_daemon_that_does_not_end_in_time_is_reported_and_not_killed() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    let ran = rsyncd.toggle("daemon stop");
    assert!(begun.elapsed().as_secs() < 120, "there are time limits");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(&format!("pid {pid} was asked to end and still runs after 10 s")),
        "{}",
        ran.stderr
    );
    assert!(runs(pid) && rsyncd.pid_file().exists());
    kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    wait_until("it ends by the signal that it was sent", || !runs(pid));
}

/// Between the look and the signal the number could be given to another process.
#[test]
fn the_process_that_was_looked_at_is_the_one_that_is_signalled() {
    need!("rsync", "strace");
    let rsyncd = Rsyncd::new();
    let pid = rsyncd.start_by_hand();
    let trace = rsyncd.dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=pidfd_open,pidfd_send_signal,kill,tgkill,openat", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_autoupdate-toggle"), "daemon", "stop", "--config"])
        .arg(rsyncd.conf())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let trace = std::fs::read_to_string(trace).unwrap();
    let place = |what: &str| trace.find(what).unwrap_or_else(|| panic!("no {what} in {trace}"));
    let (held, sent) = (place(&format!("pidfd_open({pid}, 0)")), place("pidfd_send_signal("));
    let looked = trace[held..sent].contains(&format!("\"/proc/{pid}/stat\""));
    assert!(looked, "held, looked at, signalled: {trace}");
    assert!(trace[sent..].starts_with("pidfd_send_signal(") && trace[sent..].contains("SIGTERM"), "{trace}");
    assert!(!trace.contains(" kill(") && !trace.contains("SIGKILL"), "{trace}");
}

#[test]
fn a_daemon_that_was_started_holds_none_of_our_files() {
    need!("rsync");
    let rsyncd = Rsyncd::new();
    // A file that we were started with, as cron's log is.
    let line = format!("exec \"$0\" daemon start --config {} 9> inherited", rsyncd.conf().display());
    let status = Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_autoupdate-toggle")])
        .current_dir(rsyncd.dir.path())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let open = std::fs::read_dir(format!("/proc/{}/fd", rsyncd.pid())).unwrap();
    let files: Vec<_> = open.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap()).collect();
    let is_ours =
        |file: &std::path::PathBuf| file.ends_with("inherited") || file.ends_with(".rsyncd.conf.lock");
    assert!(!files.iter().any(is_ours), "{files:?}");
}
