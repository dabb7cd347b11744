//! A service that does not come up again does not stay down (contract section 5, row 16). The service is a real program with
//! a port: an rsync daemon of its own.

use crate::harness::daemon::free_port;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

const OLD: &str = "20170101000000";
const BAD: &str = "20180413192258";
const GOOD: &str = "20180501000000";
const DIR: &str = "member-127.0.0.11";
const INSTALLED: &str = "member-127.0.0.11/workspace/bin/etc/service.conf";

/// A member whose service comes up with every version but BAD, and is stopped when this is dropped.
struct Member<'a> {
    world: World<'a>,
    port: u16,
}

impl Member<'_> {
    fn new(sandbox: &Sandbox) -> Member<'_> {
        let (world, port) = (sandbox.world(), free_port());
        world.registered();
        world.member("127.0.0.11");
        world.write(INSTALLED, SERVICE_CONF);
        let env = format!("{DIR}/watch/env.sh");
        let root = world.root.display();
        let own = format!(
            "moduleport={port}\nservice_timeout=2\nservice_stop='sh {root}/stop'\nservice_start='sh {root}/start'\n"
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

    fn polled(&self, side: Side) -> Outcome {
        let _ = std::fs::remove_file(self.world.path("journal"));
        self.world.run(Tool::Poll, side, &[])
    }

    fn is_up(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.11", self.port)).is_ok()
    }

    fn has_reported(&self, version: &str) -> bool {
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
    let outcome = member.polled(Side::SCRIPT);
    assert_eq!((outcome.status, member.is_up()), (0, false), "the script leaves it down, and reports it");
    assert!(member.has_reported(BAD));
    drop(member);

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

#[test]
fn a_first_version_that_does_not_come_up_is_tried_again() {
    need!("rsync", "dash", "sed");
    let sandbox = Sandbox::new();
    let member = Member::new(&sandbox);
    std::fs::remove_file(member.world.path(INSTALLED)).unwrap();
    member.world.published(BAD);
    for _ in 0..2 {
        let outcome = member.polled(Side::BINARY);
        assert_eq!(outcome.status, 1, "{}", shown(&outcome));
        assert_eq!(outcome.journal, ["stop".to_owned(), format!("start {BAD}")]);
    }
    assert!(!member.has_reported(BAD));
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
