//! A service that does not come up again does not stay down (contract section 5, row 16; the script's half is in
//! tests/defects). The service is a real program with a port: an rsync daemon of its own.

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

pub const OLD: &str = "20170101000000";
pub const BAD: &str = "20180413192258";
const GOOD: &str = "20180501000000";
const DIR: &str = "member-127.0.0.11";
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

/// A member whose service comes up with every version but BAD, and is stopped when this is dropped.
pub struct Member<'a> {
    pub world: World<'a>,
    port: u16,
}

impl Member<'_> {
    pub fn new(sandbox: &Sandbox) -> Member<'_> {
        let (world, port) = (sandbox.world(), quiet_port());
        world.registered();
        world.member("127.0.0.11");
        world.write(INSTALLED, SERVICE_CONF);
        let env = format!("{DIR}/watch/env.sh");
        let root = world.root.display();
        let own = format!(
            "moduleport={port}\nservice_timeout=5\nservice_stop='sh {root}/stop'\nservice_start='exec sh {root}/start > /dev/null 2>&1'\n"
        );
        world.write(&env, [world.read(&env), own.into_bytes()].concat());
        world.write(
            "stop",
            "echo stop >> \"$JOURNAL\"; kill $(cat service.pid 2> /dev/null) 2> /dev/null; rm -f service.pid\n",
        );
        world.write(
            "start",
            format!(
                "echo start $(sed -n 's/^moduleversion=//p' {INSTALLED}) >> \"$JOURNAL\"\n\
                 grep -q {BAD} {INSTALLED} && exit 0\n\
                 rsync --daemon --no-detach --address=127.0.0.11 --port={port} --config=/dev/null \
                 --log-file={root}/service.log > /dev/null 2>&1 &\n\
                 echo $! > service.pid\n"
            ),
        );
        Member { world, port }
    }

    pub fn polled(&self, side: Side) -> Outcome {
        let _ = std::fs::remove_file(self.world.path("journal"));
        self.world.run(Tool::Poll, side, &[])
    }

    pub fn is_up(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.11", self.port)).is_ok()
    }

    /// Lets the service answer at last, whatever version it has.
    fn comes_up(&self) {
        let start = String::from_utf8(self.world.read("start")).unwrap();
        let only_start: Vec<&str> = start.lines().filter(|line| !line.contains("exit 0")).collect();
        self.world.write("start", only_start.join("\n"));
        let mut shell = std::process::Command::new("sh");
        self.world.prepare(&mut shell, Tool::Poll, Side::BINARY);
        assert!(
            shell
                .arg(self.world.path("start"))
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        crate::harness::wait_until("the service answers", || self.is_up());
    }

    pub fn has_reported(&self, version: &str) -> bool {
        let report = self.world.service("version/127.0.0.11");
        std::fs::read_to_string(report).is_ok_and(|text| text.trim() == version)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.world.path("service.pid")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

#[test]
fn a_service_that_does_not_come_up_gets_the_version_before_back() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    member.world.published(BAD);
    let outcome = member.polled(Side::BINARY);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    assert!(outcome.stderr.contains("the service does not answer on 127.0.0.11:"));
    assert!(outcome.stderr.contains("; the version before was put back"), "{}", outcome.stderr);
    let calls = ["stop".to_owned(), format!("start {BAD}"), "stop".to_owned(), format!("start {OLD}")];
    assert_eq!(outcome.journal, calls);
    assert!(member.is_up() && !member.has_reported(BAD));
    assert_eq!(member.world.read(INSTALLED), SERVICE_CONF.as_bytes());

    // Nothing is tried again every minute.
    let outcome = member.polled(Side::BINARY);
    assert_eq!((outcome.status, outcome.journal.len()), (1, 0), "{}", shown(&outcome));
    assert!(outcome.stderr.contains(&format!("did not come up with {BAD} and serves {OLD} again")));

    // A version that works ends it.
    member.world.published(GOOD);
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(member.is_up() && member.has_reported(GOOD));
    assert_eq!(member.world.read(INSTALLED), announced(SERVICE_CONF, GOOD).as_bytes());
    assert_eq!(member.polled(Side::BINARY).status, 0);
}

/// Nobody tries it again by itself: neither after a rollback, nor after another version that
/// worked. When an operator announces it again, by its name, it is tried once.
#[test]
fn a_version_that_did_not_come_up_here_is_tried_once_when_it_is_announced_again() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    let world = &member.world;
    let (better, announce) = ("20180301000000", |arguments: &[&str]| {
        let outcome = world.run(Tool::Dispatch, Side::BINARY, arguments);
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    });
    let polled = |expected: (i32, usize)| {
        let outcome = member.polled(Side::BINARY);
        assert_eq!((outcome.status, outcome.journal.len()), expected, "{}", shown(&outcome));
    };
    world.published(better);
    polled((0, 2));
    world.published(BAD);
    polled((1, 4));
    polled((1, 0));
    announce(&["--rollback", MODEL, "--to", better, "--force"]);
    polled((0, 0));
    announce(&["--rollback", MODEL, "--to", BAD, "--force"]);
    polled((1, 4));
    polled((1, 0));
    world.published(GOOD);
    polled((0, 0));
    announce(&[MODEL, PREFIX, LIBRARY]);
    polled((0, 2));
    announce(&["--rollback", MODEL, "--to", BAD, "--force"]);
    polled((1, 4));
    polled((1, 0));
    assert!(member.is_up() && member.has_reported(GOOD));
}

#[test]
fn a_service_that_loads_slowly_is_started_once() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    std::fs::remove_file(member.world.path(INSTALLED)).unwrap();
    member.world.published(BAD);
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert_eq!(outcome.journal, ["stop".to_owned(), format!("start {BAD}")]);
    // It may be loading: it is waited for, and not stopped and started once more every minute.
    let outcome = member.polled(Side::BINARY);
    assert_eq!((outcome.status, outcome.journal.len()), (1, 0), "{}", shown(&outcome));
    assert!(!member.has_reported(BAD));
    member.comes_up();
    let outcome = member.polled(Side::BINARY);
    assert_eq!((outcome.status, outcome.journal.len()), (0, 0), "{}", shown(&outcome));
    assert!(member.has_reported(BAD));
}

/// The service itself: the script waits for it as long as it lives, and so do the next minute's scripts.
#[test]
fn a_service_that_stays_in_the_foreground_is_not_waited_for() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    member.world.published(GOOD);
    let start = String::from_utf8(member.world.read("start")).unwrap();
    let foreground = start.replace(" > /dev/null 2>&1 &\necho $! > service.pid\n", " > /dev/null 2>&1\n");
    member
        .world
        .write("start", foreground.replace("rsync --daemon", "echo $$ > service.pid\nexec rsync --daemon"));
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(member.is_up() && member.has_reported(GOOD));
    assert_eq!(member.polled(Side::BINARY).status, 0, "nobody holds the lock");
    assert!(member.is_up(), "and it goes on");
}

#[test]
fn a_foreground_service_that_never_answers_is_ended() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    member.world.published(BAD);
    let start = String::from_utf8(member.world.read("start")).unwrap();
    member.world.write("start", start.replace("&& exit 0", "&& { echo $$ > hung.pid; exec sleep 300; }"));
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(
        outcome.stderr.contains("still running after 5 s, and the service did not answer"),
        "{}",
        outcome.stderr
    );
    assert!(member.is_up() && !member.has_reported(BAD), "the version before is back");
    let hung = String::from_utf8(member.world.read("hung.pid")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}/fd/0", hung.trim())).exists(), "it was ended");
}

/// It was stopped by a poll that died, and the monitor is down.
#[test]
fn a_stopped_service_does_not_wait_for_the_monitor() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    member.world.left_to_be_done("127.0.0.11", "restart", OLD);
    let env = format!("{DIR}/watch/env.sh");
    let elsewhere = format!("rsyncport={}\n", quiet_port());
    member.world.write(&env, [member.world.read(&env), elsewhere.into_bytes()].concat());
    let outcome = member.polled(Side::BINARY);
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(member.is_up(), "{}", shown(&outcome));
}

/// What env.sh exports reaches the service, as from a shell that sourced it.
#[test]
fn what_env_sh_exports_reaches_the_service() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    for side in [Side::SCRIPT, Side::BINARY] {
        let world = sandbox.world();
        world.registered();
        world.published(GOOD);
        world.member("127.0.0.11");
        let env = format!("{DIR}/watch/env.sh");
        let own = "export LD_LIBRARY_PATH=/opt/lib OTHER\nOTHER=o\nPATH=$PATH:/opt/bin\nLOCAL=l\n\
            service_start='echo \"$LD_LIBRARY_PATH $OTHER $LOCAL ${PATH##*:}\" >> \"$JOURNAL\"'\n";
        world.write(&env, [world.read(&env), own.into()].concat());
        let outcome = world.run(Tool::Poll, side, &[]);
        assert_eq!(outcome.status, 0, "{}", shown(&outcome));
        assert_eq!(outcome.journal.last().map(String::as_str), Some("/opt/lib o  /opt/bin"), "{side}");
    }
}

#[test]
fn without_a_time_limit_nobody_waits() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    let env = format!("{DIR}/watch/env.sh");
    member.world.write(&env, [member.world.read(&env), b"service_timeout=0\n".to_vec()].concat());
    member.world.published(BAD);
    assert_eq!(member.polled(Side::BINARY).status, 0);
    assert!(member.has_reported(BAD));
}
