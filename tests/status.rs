//! `dispatch --status` and `--explain`: a real fleet, whose members do what members do at two in the morning. Real services that
//! open the model's library and are asked over RPC, the real rsync daemon, new pollers and a legacy one.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::asking;
use crate::batches;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use crate::rollback::{done, pushed};

pub const OLD: &str = "20180101000000";
pub const V: &str = "20180413192258";
pub const BAD: &str = "20180201000000";
pub const NEXT: &str = "20180501000000";

/// What becomes of each member, and what it serves then (`-`: nobody knows).
const FATES: [(&str, &str, &str); 11] = [
    ("127.0.0.21", "current", V),
    ("127.0.0.22", "current", V),
    ("127.0.0.23", "failed verification", OLD),
    ("127.0.0.24", "rolled back", OLD),
    ("127.0.0.25", "unreachable", "-"),
    ("127.0.0.26", "unreachable", "-"),
    ("127.0.0.27", "held", OLD),
    ("127.0.0.28", "held", OLD),
    ("127.0.0.29", "not polled yet", OLD),
    ("127.0.0.30", "pulled but not restarted", "-"),
    ("127.0.0.31", "restarted with the old version", OLD),
];
const LEGACY: &str = FATES[1].0;
const UNVERIFIED: &str = FATES[2].0;
const ROLLED_BACK: &str = FATES[3].0;
const DEAD: &str = FATES[4].0;
const HUNG: &str = FATES[5].0;
const HELD: &str = FATES[6].0;
const DENIED: &str = FATES[7].0;
const NOT_STARTED: &str = FATES[9].0;
const OLD_AGAIN: &str = FATES[10].0;

/// A fleet of real services, which are asked; dropping it ends them.
pub struct Fleet<'a> {
    pub world: World<'a>,
    port: u16,
    members: Vec<&'static str>,
}

impl Fleet<'_> {
    /// Everybody serves OLD, but for one that is new.
    fn new(sandbox: &Sandbox) -> Fleet<'_> {
        Fleet::of(sandbox, FATES.map(|(member, ..)| member).to_vec(), "probe_timeout=1\n")
    }

    /// Members that serve OLD, a list that says `settings`, and a push of V that waits.
    pub fn of<'a>(sandbox: &'a Sandbox, members: Vec<&'static str>, settings: &str) -> Fleet<'a> {
        let fleet = Fleet { world: sandbox.world(), port: quiet_port(), members };
        let world = &fleet.world;
        world.registered();
        world.service_conf("config_1", fleet.conf(OLD));
        world.member_list(&fleet.members.join(","));
        world.member_list_says(&format!("probe=rpc\nmoduleport={}\n{settings}", fleet.port));
        world.write("rsyncd.conf", format!("[datamining_service]\npath = /x\nhosts deny = {DENIED}\n"));
        world.uploaded(&format!("{V}\n"));
        fleet.pushed();
        world.write(world.upload("success"), format!("{V}\n"));
        fleet.members.iter().for_each(|member| fleet.member(member));
        fleet
    }

    fn conf(&self, version: &str) -> String {
        announced(SERVICE_CONF, version).replace("port=17019", &format!("port={}", self.port))
    }

    /// The model of the demo, as it was pushed.
    fn pushed(&self) {
        compile(&self.world.path(self.world.upload(&format!("lib/{LIBRARY}"))));
        self.world.write(self.world.upload("data/weight.txt"), "2\n");
        for file in [format!("lib/{LIBRARY}"), "data/weight.txt".to_owned()] {
            self.world.age(self.world.upload(&file), 3600);
        }
    }

    fn member(&self, member: &str) {
        let world = &self.world;
        world.member(member);
        let workspace = world.path(format!("member-{member}/workspace"));
        let (home, service) = (workspace.display(), workspace.join("bin/service.sh"));
        world.write(&service, include_str!("../examples/demo/service.sh"));
        for dir in ["log", "temp"] {
            world.directory(workspace.join(dir));
        }
        let own_conf =
            if member == OLD_AGAIN { format!("conf={home}/bin/old.conf\n") } else { String::new() };
        let program = model_service();
        world.write(
            workspace.join("bin/service.env"),
            format!("address={member}\nprogram={}\n{own_conf}", program.display()),
        );
        world.write(workspace.join("bin/old.conf"), self.conf(OLD));
        let start = match member {
            ROLLED_BACK => {
                format!("grep -q {V} {home}/bin/etc/service.conf || sh {} start", service.display())
            }
            NOT_STARTED => "exit 3".to_owned(),
            _ => format!("sh {} start", service.display()),
        };
        let env_sh = format!("member-{member}/watch/env.sh");
        // Only this one is waited for in vain.
        let limit = if member == ROLLED_BACK { 5 } else { 60 };
        let settings = format!(
            "moduleport={}\nservice_timeout={limit}\nservice_start='{start}'\nservice_stop='sh {} stop'\n",
            self.port,
            service.display()
        );
        world.write(&env_sh, [world.read(&env_sh), settings.into_bytes()].concat());
        if member == NOT_STARTED {
            return;
        }
        let versions = workspace.join("plugin").join(MODEL).join(OLD);
        for file in [format!("lib/{LIBRARY}"), "data/weight.txt".to_owned()] {
            world.write(versions.join(&file), world.read(world.upload(&file)));
        }
        world.write(workspace.join("bin/etc/service.conf"), self.conf(OLD));
        if member != DEAD {
            self.start(member);
        }
    }

    /// Starts a member's service with the installed service.conf, and waits until it answers.
    pub fn start(&self, member: &str) {
        let service = self.world.path(format!("member-{member}/workspace/bin/service.sh"));
        let started = Command::new("sh").arg(&service).arg("start").stdin(Stdio::null()).status();
        assert!(started.unwrap().success(), "{member}");
    }

    /// Kills a member's service, and waits until nobody can connect to it any more.
    pub fn kill(&self, member: &str) {
        self.signal(member, Signal::SIGKILL);
        wait_until("the service is gone", || TcpStream::connect((member, self.port)).is_err());
    }

    fn signal(&self, member: &str, signal: Signal) {
        let pid = self.world.path(format!("member-{member}/workspace/temp/service.pid"));
        if let Ok(Ok(pid)) = std::fs::read_to_string(pid).map(|text| text.trim().parse()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    pub fn poll(&self, side: Side, member: &str, expected_status: i32) -> Outcome {
        let outcome = self.world.poll(side, member);
        assert_eq!(outcome.status, expected_status, "{member}: {}", shown(&outcome));
        outcome
    }

    pub fn dispatch(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.world.command(Tool::Dispatch, Side::BINARY, arguments);
        self.world.finish(command.env("RSYNCD_CONF", self.world.path("rsyncd.conf")))
    }

    /// Each member's verdict and version, by the JSON document.
    pub fn verdicts(&self) -> (BTreeMap<String, (String, String)>, Value) {
        let outcome = self.dispatch(&["--status", MODEL, "--json"]);
        assert_eq!(outcome.stdout.lines().count(), 1, "{}", shown(&outcome));
        let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let members = document["models"][0]["members"].as_array().unwrap();
        let verdict = |m: &Value| (text(&m["member"]), (text(&m["verdict"]), text(&m["version"])));
        let verdicts = members.iter().map(verdict).collect();
        assert_eq!(outcome.status == 0, document["converged"].as_bool().unwrap());
        (verdicts, document)
    }

    fn explained(&self, member: &str) -> String {
        let outcome = self.dispatch(&["--explain", MODEL, member]);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
        outcome.stdout
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        self.members.iter().for_each(|member| self.signal(member, Signal::SIGKILL));
    }
}

/// Compiles the model of the demo.
pub fn compile(library: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/model.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-DRELEASE=\"2\"", "-DBIAS=0", "-o"]).arg(library).arg(source);
    assert!(cc.status().expect("cc starts").success());
}

/// The example beside this test's own directory; `cargo test` builds it, `cargo test --test suite` does not.
pub fn model_service() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join("examples/model_service");
    assert!(program.is_file(), "{} is not there; run cargo build --examples", program.display());
    program
}

/// One release of which nearly everything goes wrong that can.
fn released(fleet: &Fleet) {
    let world = &fleet.world;
    let ticked = fleet.dispatch(&[MODEL, PREFIX, LIBRARY]);
    assert_eq!((ticked.status, ticked.stderr.as_str()), (0, ""), "{}", shown(&ticked));
    world.write(world.service(".rollout/held"), format!("{HELD} - ann@m1 disk is being replaced\n"));
    fleet.signal(HUNG, Signal::SIGSTOP);
    let weight = world.service(&format!("plugin/{V}/data/weight.txt"));
    world.write(&weight, "3\n");
    // What a member has already it does not fetch.
    world.write(format!("member-{UNVERIFIED}/workspace/plugin/{MODEL}/{OLD}/data/weight.txt"), "4\n");
    let unverified = fleet.poll(Side::BINARY, UNVERIFIED, 1);
    assert!(unverified.stderr.contains("is not what its manifest says"), "{}", unverified.stderr);
    world.write(&weight, "2\n");
    fleet.poll(Side::BINARY, FATES[0].0, 0);
    fleet.poll(Side::SCRIPT, LEGACY, 0);
    fleet.poll(Side::BINARY, ROLLED_BACK, 1);
    fleet.poll(Side::BINARY, NOT_STARTED, 1);
    fleet.poll(Side::BINARY, OLD_AGAIN, 0);
}

#[test]
fn every_member_has_the_verdict_that_it_deserves() {
    need!("rsync", "dash", "sed", "cc");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox);
    released(&fleet);
    let expected: BTreeMap<String, (String, String)> = FATES
        .iter()
        .map(|(member, verdict, version)| (member.to_string(), (verdict.to_string(), version.to_string())))
        .collect();
    let (verdicts, document) = fleet.verdicts();
    assert_eq!(verdicts, expected);
    let model = &document["models"][0];
    assert_eq!((model["announced_version"].as_str(), model["members_total"].as_u64()), (Some(V), Some(11)));
    assert_eq!((model["members_current"].as_u64(), model["members_held"].as_u64()), (Some(2), Some(2)));
    assert!(model["in_flight_for_s"].is_i64() && model["converged"] == false);
    let member = |n: usize| &model["members"][n];
    assert_eq!(
        (member(0)["version_from"].as_str(), member(0)["version_age_s"].as_i64()),
        (Some("rpc"), Some(0))
    );
    assert_eq!(member(1)["told"], Value::Null, "a legacy poller tells nothing");
    assert_eq!(
        (member(2)["told"]["word"].as_str(), &member(2)["has_failed"]),
        (Some("not-installed"), &Value::Bool(true))
    );
    assert_eq!(member(6)["held"]["by"].as_str(), Some("ann@m1"));
    assert!(member(7)["held"]["place"].as_str().unwrap().ends_with("rsyncd.conf:3"));

    // The table says the same, and who has not converged on standard error.
    let table = fleet.dispatch(&["--status", MODEL]);
    assert_eq!((table.status, table.stderr.lines().count()), (1, 1), "{}", shown(&table));
    assert!(
        table
            .stdout
            .starts_with(&format!("{MODEL}: {V}, 2 of 9 members have it, 2 held; upgrade in flight for"))
    );
    assert!(table.stdout.contains("is not what its manifest says"), "{}", table.stdout);
    for (member, verdict, version) in FATES {
        let line = table.stdout.lines().find(|line| line.starts_with(member)).unwrap();
        assert!(line.contains(verdict) && line.contains(version), "{line}");
    }
    assert!(table.stderr.contains(&format!("not converged: 7 of 9: {UNVERIFIED} (failed verification), ")));
    assert!(!table.stderr.contains(HELD) && !table.stdout.contains('\x1b'));

    let current = fleet.dispatch(&["--explain", MODEL, LEGACY]);
    assert_eq!((current.status, current.stderr.as_str()), (0, ""), "{}", shown(&current));
    for (member, says) in [
        (UNVERIFIED, "told: not-installed 20180413192258, "),
        (DEAD, "serves: not known: its service does not answer (probe=rpc)"),
        (DENIED, "rsyncd.conf:3"),
    ] {
        let explained = fleet.explained(member);
        assert!(explained.contains(says), "{explained}");
        let verdict = FATES.iter().find(|fate| fate.0 == member).unwrap().1;
        assert!(explained.lines().last().unwrap().starts_with(&format!("{verdict}: ")), "{explained}");
    }
    let stranger = fleet.dispatch(&["--explain", MODEL, "10.9.9.9"]);
    assert_eq!((stranger.status, stranger.stdout.as_str()), (2, ""), "{}", shown(&stranger));

    // A failure that stays is told once; one that is over is taken back.
    let told = || -> Value {
        let state = fleet.world.service(&format!("version/.state-{UNVERIFIED}"));
        serde_json::from_slice(&fleet.world.read(state)).unwrap()
    };
    assert_eq!((told()["word"].as_str(), told()["version"].as_str()), (Some("not-installed"), Some(V)));
    fleet.poll(Side::BINARY, UNVERIFIED, 0);
    assert_eq!((told()["word"].as_str(), told()["version"].as_str()), (Some("current"), Some(V)));
    assert_eq!(fleet.verdicts().0[UNVERIFIED], ("current".to_owned(), V.to_owned()));
}

/// The service is down while it loads, and its poll waits for it. Neither a status nor a tick takes that for a failure.
#[test]
fn a_member_whose_service_loads_slowly_is_updating_until_it_answers() {
    need!("rsync", "dash", "cc");
    let sandbox = Sandbox::new();
    let member = "127.0.0.41";
    let fleet = Fleet::of(&sandbox, vec![member], "max_fail=1\n");
    let (world, tick) = (&fleet.world, || {
        let ticked = fleet.dispatch(&[MODEL, PREFIX, LIBRARY]);
        assert_eq!((ticked.status, ticked.stderr.as_str()), (0, ""), "{}", shown(&ticked));
        ticked.stdout
    });
    tick();
    let env_sh = format!("member-{member}/watch/env.sh");
    let (loaded, service) =
        (world.path("loaded"), world.path(format!("member-{member}/workspace/bin/service.sh")));
    let slow = format!(
        "service_start='until [ -e {} ]; do sleep 0.05; done; sh {} start'\n",
        loaded.display(),
        service.display()
    );
    world.write(&env_sh, [world.read(&env_sh), slow.into_bytes()].concat());
    let mut poll = world.command(Tool::Poll, Side::BINARY, &[]);
    poll.env("WATCH_ROOT", world.path(format!("member-{member}/watch")));
    poll.env("WORKSPACE_ROOT", world.path(format!("member-{member}/workspace")));
    let mut poll = poll.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the service is stopped", || TcpStream::connect((member, fleet.port)).is_err());
    // A start that is over in a second is not worth a connection.
    let told = world.service(&format!("version/.state-{member}"));
    wait_until("the monitor is told", || told.exists());
    let (verdicts, document) = fleet.verdicts();
    assert_eq!(verdicts[member], ("updating".to_owned(), "-".to_owned()));
    let why = document["models"][0]["members"][0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("its poll took it up ") && why.ends_with("its service does not answer now"),
        "{why}"
    );
    assert!(tick().contains(&format!("0 of 1 members have {V}; waiting for {member}\n")));
    world.write("loaded", "");
    assert!(poll.wait().unwrap().success());
    assert_eq!(fleet.verdicts().0[member], ("current".to_owned(), V.to_owned()));
    assert!(tick().contains(&format!("all 1 members have {V}")));
}

/// As in tests/asking.rs: two hundred, every twentieth of which accepts and never answers; three seconds are for a busy machine.
#[test]
fn the_status_of_two_hundred_members_takes_no_longer_than_the_time_limit_of_one() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = asking::addresses(200);
    let manner = |n: usize| if n % 20 == 7 { asking::Manner::Silent } else { asking::Manner::Serves(V) };
    let port = asking::fleet(members.iter().enumerate().map(|(n, address)| (*address, manner(n))).collect());
    asking::in_flight(&world, &members, &format!("probe=rpc\nmoduleport={port}\n"));
    let begun = std::time::Instant::now();
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &["--status", MODEL]);
    println!("the status of 200 members, 10 of them silent, in {:?}", begun.elapsed());
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    assert!(outcome.stdout.contains("190 of 200 members have it"), "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("unreachable").count(), 10);
    // One after the other, the silent ones alone would take 20 s.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_status_needs_no_lock_and_changes_nothing() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    batches::fleet(&world, 2, "");
    let dispatch = |arguments: &[&str]| world.run(Tool::Dispatch, Side::BINARY, arguments);
    // A push that no tick has seen is no convergence on the version before.
    world.reported(&batches::address(1), "20170101000000");
    world.reported(&batches::address(2), "20170101000000");
    let pushed = dispatch(&["--status", MODEL]);
    assert_eq!(pushed.status, 1, "{}", shown(&pushed));
    assert!(pushed.stderr.contains("what was pushed is not announced yet"), "{}", pushed.stderr);
    dispatch(&[MODEL, PREFIX, LIBRARY]);
    let before = world.outcome_now(dispatch(&["--status"]));
    let lock = std::fs::File::open(world.tick_lock()).unwrap();
    let _held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    for arguments in [&["--status"][..], &["--status", MODEL, "--json"], &["--explain", MODEL, "127.0.0.11"]]
    {
        let outcome = dispatch(arguments);
        assert_eq!(outcome.status, 1, "{}", shown(&outcome));
        assert_eq!(crate::harness::outcome::differences(&before, &outcome), [""; 0], "{arguments:?}");
    }
}

/// A model of one member that went back from BAD to OLD.
pub fn rolled_back(world: &World) {
    world.registered();
    world.member_list("127.0.0.11");
    let confirmed = |version: &str| {
        done(world, &[MODEL, PREFIX, LIBRARY]);
        world.reported("127.0.0.11", version);
        assert!(done(world, &[MODEL, PREFIX, LIBRARY]).contains("all 1 members have"));
    };
    for version in [OLD, BAD] {
        pushed(world, version, &format!("library of {version}\n"));
        confirmed(version);
    }
    done(world, &["--rollback", MODEL, "--why", "wrong scores"]);
    confirmed(OLD);
}

#[test]
fn a_pin_with_the_push_that_it_holds_and_bad_versions_are_shown() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    rolled_back(&world);
    let bad = format!("\nbad: {BAD}, marked by ");
    let shown = done(&world, &["--status", MODEL]);
    assert!(
        shown.starts_with(&format!("{MODEL}: {OLD}, 1 of 1 members have it; 1 bad version: converged\n")),
        "{shown}"
    );
    assert!(shown.contains(&bad) && shown.ends_with(": wrong scores\n"), "{shown}");
    assert!(!done(&world, &["--status"]).contains("wrong scores"), "the overview counts them");

    done(&world, &["--pin", OLD, MODEL, "--why", "the fair"]);
    pushed(&world, NEXT, "library\n");
    done(&world, &[MODEL, PREFIX, LIBRARY]);
    let held = world.run(Tool::Dispatch, Side::BINARY, &["--status"]);
    assert_eq!(
        (held.status, held.stdout.lines().count()),
        (1, 1),
        "{}",
        crate::harness::outcome::shown(&held)
    );
    assert!(held.stdout.contains(&format!("; pinned to {OLD} by ")), "{}", held.stdout);
    let end = format!(": the fair; {NEXT} was pushed and is held; 1 bad version: not converged\n");
    assert!(held.stdout.ends_with(&end), "{}", held.stdout);
    let why =
        format!("what was pushed is held, since {OLD} is pinned; dispatch --unpin {MODEL} lets it go on\n");
    assert!(held.stderr.ends_with(&why), "{}", held.stderr);
    let json = world.run(Tool::Dispatch, Side::BINARY, &["--status", MODEL, "--json"]);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    let model = &document["models"][0];
    assert_eq!(document["schema"], 1);
    for (mark, version, why) in
        [(&model["pinned"], OLD, "the fair"), (&model["bad_versions"][0], BAD, "wrong scores")]
    {
        assert_eq!((mark["version"].as_str(), mark["why"].as_str()), (Some(version), Some(why)));
        assert!(
            mark["by"].as_str().unwrap().contains('@') && mark["at_unix_s"].as_i64().unwrap() > 1_700_000_000
        );
        assert_eq!(mark.as_object().unwrap().len(), 4);
    }
    assert_eq!(model["bad_versions"].as_array().unwrap().len(), 1);

    // One that cannot be read may not be taken for none.
    world.write(world.service(".rollout/state.json"), "x\n");
    let broken = world.run(Tool::Dispatch, Side::BINARY, &["--status", MODEL]);
    assert_eq!(
        (broken.status, broken.stdout.as_str()),
        (2, ""),
        "{}",
        crate::harness::outcome::shown(&broken)
    );
    assert!(broken.stderr.contains(".rollout/state.json:1:1: this is not a state: "), "{}", broken.stderr);
    assert!(broken.stderr.contains(&format!("dispatch --rebuild {MODEL}")), "{}", broken.stderr);
}

#[test]
fn watching_ends_when_all_have_converged_or_the_time_is_up() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    batches::fleet(&world, 2, "batches=1,100%\n");
    let dispatch = |arguments: &[&str]| world.run(Tool::Dispatch, Side::BINARY, arguments);
    let tick = || assert_eq!(dispatch(&[MODEL, PREFIX, LIBRARY]).status, 0);
    tick();
    let overdue = dispatch(&["--status", MODEL, "--watch", "--timeout", "1"]);
    assert_eq!((overdue.status, overdue.stderr.lines().count()), (1, 1), "{}", shown(&overdue));
    assert!(
        overdue.stderr.contains("127.0.0.11 (not polled yet), 127.0.0.12 (waiting)"),
        "{}",
        overdue.stderr
    );
    assert!(overdue.stdout.contains("1 of 2 admitted so far"), "{}", overdue.stdout);
    assert_eq!(overdue.stdout.matches("MEMBER").count(), 1, "nothing changed: {}", overdue.stdout);
    let mut watching =
        world.command(Tool::Dispatch, Side::BINARY, &["--status", "--watch", "--timeout", "60"]);
    let watching = watching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for n in [1, 2] {
        assert_eq!(world.poll(Side::BINARY, &batches::address(n)).status, 0);
        tick();
    }
    let watched = watching.wait_with_output().unwrap();
    assert!(watched.status.success(), "{watched:?}");
    let last = String::from_utf8(watched.stdout).unwrap().lines().last().unwrap().to_owned();
    // Whether the upgrade was over depends on the moment of the last look.
    let begins = last.starts_with(&format!("{MODEL}: {V}, 2 of 2 members have it"));
    assert!(begins && last.ends_with(": converged"), "{last}");
}

#[test]
fn what_cannot_be_judged_is_said_in_one_line() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let failed = |status: i32, says: &str, arguments: &[&str]| {
        let outcome = world.run(Tool::Dispatch, Side::BINARY, arguments);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (status, 1), "{}", shown(&outcome));
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    };
    failed(1, "no model has a member list", &["--status"]);
    failed(1, "is not there", &["--status", MODEL]);
    world.registered();
    failed(1, "members unknown", &["--status", MODEL]);
    world.member_list("127.0.0.11");
    world.write(world.service(".rollout/held"), "127.0.0.11 tomorrow ann@m1 disk\n");
    failed(2, ".rollout/held:1:1: this hold has no time", &["--status", MODEL]);
    failed(1, "this hold has no time", &["--status"]);
    std::fs::remove_file(world.service(".rollout/held")).unwrap();
    world.member_list_says("batches=1\nmembers=a,b\n");
    failed(2, "batches", &["--status", MODEL]);
}

/// A monitor that takes no dot files, and one that takes nothing: what is told is nobody's hindrance.
#[test]
fn a_daemon_that_refuses_what_is_told_gets_its_report_all_the_same() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    batches::fleet(&world, 1, "");
    world.published(V);
    let module = |more: &str| {
        let path = world.path("monitor/rsync_service_data/datamining_service");
        let ids = if crate::harness::parts::is_root() { "uid = root\ngid = root\n" } else { "" };
        format!("use chroot = no\n{ids}[datamining_service]\npath = {}\n{more}", path.display())
    };
    for (more, status) in [("read only = no\nexclude = .state-*\n", 0), ("read only = yes\n", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = crate::harness::daemon::Daemon::start_with(dir.path(), &module(more));
        let env_sh = world.path("member-127.0.0.11/watch/env.sh");
        let port = format!("rsyncport={}\n", daemon.port);
        world.write(&env_sh, [world.read(&env_sh), port.into_bytes()].concat());
        world.write("member-127.0.0.11/workspace/bin/etc/service.conf", SERVICE_CONF);
        let _ = std::fs::remove_file(world.service("version/127.0.0.11"));
        let outcome = world.poll(Side::BINARY, "127.0.0.11");
        assert_eq!(outcome.status, status, "{more}: {}", shown(&outcome));
        assert_eq!(world.service("version/127.0.0.11").exists(), status == 0, "{more}");
        assert!(!world.service("version/.state-127.0.0.11").exists(), "{more}");
        assert!(outcome.journal.ends_with(&["stop 127.0.0.11".to_owned(), "start 127.0.0.11".to_owned()]));
    }
}
