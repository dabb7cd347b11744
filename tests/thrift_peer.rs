//! `probe=rpc` beside another implementation of Thrift, Apache's own for Python (tests/thrift_peer/peer.py): its services
//! understand what `dispatch` asks and are understood, and its client understands the model service.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::asking::in_flight;
use crate::harness::outcome::shown;
use crate::harness::parts::{need, project};
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Sandbox, Side, Tool, World, wait_until};
use crate::status::{compile, model_service};

const V: &str = "20180413192258";
const CONTROL: &str = "control=ControlModuleVersion";

/// The manners of services that can be understood: the strict and the old form of the protocol; a field of every kind besides
/// those that are known; an answer after 1.5 s; one of which every byte is sent by itself.
const UNDERSTOOD: [&str; 5] = ["strict", "old", "larger", "slow", "pieces"];

/// Where `make test` puts Python with the library (.ci/thrift-peer.sh).
fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("thrift-peer")
}

/// The file that says that it is whole.
fn whole() -> String {
    environment().join("thrift-0.25.0").display().to_string()
}

fn peer(arguments: &[String]) -> Command {
    let mut command = Command::new(environment().join("bin/python3"));
    command.arg(project().join("tests/thrift_peer/peer.py")).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Services in Python, one for each manner; dropping this ends them.
struct Services {
    members: Vec<Ipv4Addr>,
    port: u16,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Services {
    fn start(manners: &[&str]) -> Services {
        let (port, members) = (quiet_port(), (1..).map(|n| Ipv4Addr::new(127, 2, 0, n)));
        let members: Vec<Ipv4Addr> = members.take(manners.len()).collect();
        let mut arguments = vec!["serve".to_owned(), port.to_string()];
        arguments.extend(members.iter().zip(manners).map(|(member, manner)| format!("{member}={manner}")));
        let mut process = peer(&arguments).spawn().expect("python3 starts");
        let stdin = process.stdin.take();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Services { members, port, process, stdin, stdout }
    }

    /// Ends the services; the calls that they understood, by the member that was asked.
    fn calls(mut self) -> BTreeMap<String, Vec<Value>> {
        drop(self.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let mut calls: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for call in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            calls.entry(call["address"].as_str().unwrap().to_owned()).or_default().push(call);
        }
        calls
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An upgrade to V is in flight, and its members are those services. None has to answer sooner than a busy machine lets it.
fn world_of<'a>(sandbox: &'a Sandbox, services: &Services) -> World<'a> {
    let world = sandbox.world();
    in_flight(
        &world,
        &services.members,
        &format!("probe=rpc probe_timeout=30\nmoduleport={}\n", services.port),
    );
    world
}

#[test]
fn services_on_another_implementation_are_asked_and_understood() {
    need!("rsync", &whole());
    let manners = [&UNDERSTOOD[..], &["odd", "empty", "failing", "unknown"]].concat();
    let services = Services::start(&manners);
    let sandbox = Sandbox::new();
    let world = world_of(&sandbox, &services);
    let mut command = world.command(Tool::Dispatch, Side::BINARY, &["--status", MODEL, "--json"]);
    let outcome = world.finish(command.env("RUST_LOG", "debug"));
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for (manner, member) in manners.iter().zip(document["models"][0]["members"].as_array().unwrap()) {
        let (verdict, version) = match *manner {
            "odd" => ("not polled yet", json!(format!("{V}-\u{fffd}\u{fffd}\\n\\u{{1b}}[2J\\u{{0}}"))),
            "empty" | "failing" | "unknown" => ("unreachable", Value::Null),
            _ => ("current", json!(V)),
        };
        assert_eq!((&member["verdict"], &member["version"]), (&json!(verdict), &version), "{manner}");
    }
    for said in [
        "the reply holds no result",
        "answers status 7",
        "unknown service method: no such method\\n\\u{1b}[2J",
    ] {
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
    let table = world.run(Tool::Dispatch, Side::BINARY, &["--status", MODEL]);
    let is_text = |c: char| c == '\n' || !c.is_control();
    assert!(table.stdout.chars().chain(table.stderr.chars()).all(is_text), "{}", shown(&table));
    assert!(table.stdout.contains("5 of 9 members have it"), "{}", table.stdout);

    // What the services understood: the one call, strict (all but the second insist), of each member for each status.
    let members: Vec<String> = services.members.iter().map(Ipv4Addr::to_string).collect();
    let calls = services.calls();
    assert_eq!(calls.keys().collect::<Vec<_>>(), members.iter().collect::<Vec<_>>());
    for (member, calls) in calls {
        let (asks, dict) = ("ControlModuleVersion", json!({"ControlModuleVersion": "ControlModuleVersion"}));
        let one = json!({"address": member, "method": "control", "kind": 1, "number": 1, "cmd": asks, "dict": dict});
        assert_eq!(calls, [one.clone(), one]);
    }
}

#[test]
fn an_upgrade_ends_when_all_services_on_another_implementation_say_its_version() {
    need!("rsync", &whole());
    let services = Services::start(&UNDERSTOOD);
    let sandbox = Sandbox::new();
    let world = world_of(&sandbox, &services);
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(outcome.stdout.contains(&format!("{MODEL}: all 5 members have {V}")), "{}", outcome.stdout);
    assert!(!world.service("status").exists());
    assert_eq!(services.calls().len(), 5);
}

/// The model service of the demo and of these tests, which answers with this project's own code.
#[test]
fn a_client_on_another_implementation_understands_the_model_service() {
    need!("cc", &whole());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let version = path("plugin").join(MODEL).join(V);
    for below in ["lib", "data"] {
        std::fs::create_dir_all(version.join(below)).unwrap();
    }
    compile(&version.join("lib").join(LIBRARY));
    std::fs::write(version.join("data/weight.txt"), "2\n").unwrap();
    let port = quiet_port();
    let conf = announced(SERVICE_CONF, V).replace("port=17019", &format!("port={port}"));
    std::fs::write(path("service.conf"), conf).unwrap();
    let mut service = Command::new(model_service());
    service.arg(path("service.conf")).args(["--address", "127.2.1.1", "--workspace"]).arg(dir.path());
    service.arg("--pid-file").arg(path("pid")).stdout(Stdio::null());
    let mut service = service.spawn().unwrap();
    wait_until("the service listens", || path("pid").exists());
    let asked = ["strict", "old"].map(|form| {
        let words =
            ["ask", "127.2.1.1", &port.to_string(), form, CONTROL, "reload=now", "control=Stop", CONTROL];
        peer(&words.map(str::to_owned)).output().unwrap()
    });
    let _ = service.kill();
    let _ = service.wait();
    for answers in asked {
        assert!(answers.status.success(), "{answers:?}");
        let lines = String::from_utf8(answers.stdout).unwrap();
        let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let result = |status: i32, value: &str, dict: Value| json!({"method": "control", "repeats_number": true, "status": status, "value": value, "dict": dict});
        let current = result(0, V, json!({"release": "2", "score": "20"}));
        let refused = json!({"method": "reload", "repeats_number": true, "exception": 1, "message": "no method reload"});
        assert_eq!(answers, [current.clone(), refused, result(1, "no command Stop", json!({})), current]);
    }
}
