//! Members are asked all at once, each within its own time limit (contract section 5, row 20): services on real sockets, and
//! a site's own program.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use model_rollout::formats::service_control::{self, ServiceResult};
use model_rollout::machine::frames::{receive_frame, send_frame};

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::rollback::done;

const V: &str = "20180413192258";
const OLD: &str = "20170101000000";

/// What a member's service does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    Serves(&'static str),
    /// Accepts the connection, and never says a word.
    Silent,
    /// A byte of its answer now and then.
    Dribbles,
    /// Speaks another protocol.
    Http,
    /// Answers with an error.
    Refuses,
    /// Announces a frame of 3 GiB.
    Boasts,
}

/// The addresses of a fleet on loopback.
pub fn addresses(count: usize) -> Vec<Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::new(127, 1, (n / 250) as u8, (n % 250 + 1) as u8)).collect()
}

/// A fleet of services, all on one port; a member of the list that is not among them refuses the connection.
pub fn fleet(members: Vec<(Ipv4Addr, Manner)>) -> u16 {
    let port = quiet_port();
    for (address, manner) in members {
        let listener = TcpListener::bind((address, port)).unwrap_or_else(|e| panic!("{address}:{port}: {e}"));
        let serve = move || serve(&listener, manner);
        thread::Builder::new().stack_size(128 << 10).spawn(serve).unwrap();
    }
    port
}

/// Serves whoever connects, for ever.
pub fn serve(listener: &TcpListener, manner: Manner) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::Builder::new().stack_size(128 << 10).spawn(move || answer(stream, manner)).unwrap();
    }
}

/// Serves one client.
pub fn answer(mut stream: TcpStream, manner: Manner) {
    use std::io::Write;
    let Ok(question) = receive_frame(&mut stream) else { return };
    let call = service_control::read_call(&question).expect("dispatch asks what can be read");
    let reply = |result: &ServiceResult| service_control::reply(&call, result).unwrap();
    let _ = match manner {
        Manner::Serves(version) => {
            let result = ServiceResult { value: version.to_owned(), ..ServiceResult::default() };
            send_frame(&mut stream, &reply(&result))
        }
        Manner::Refuses => send_frame(&mut stream, &service_control::refusal(&call).unwrap()),
        Manner::Http => stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        Manner::Boasts => stream.write_all(&[0xC0, 0, 0, 0, 1, 2, 3]),
        Manner::Silent => wait_for_its_end(&mut stream),
        Manner::Dribbles => {
            let mut frame = Vec::new();
            send_frame(&mut frame, &reply(&ServiceResult::default())).unwrap();
            frame.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(400));
                stream.write_all(&[*byte])
            })
        }
    };
}

fn wait_for_its_end(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0]).map(drop)
}

/// An upgrade to V that was announced; the members are asked as `settings` say.
pub fn in_flight(world: &World, members: &[Ipv4Addr], settings: &str) {
    world.registered();
    world.uploaded(&format!("{V}\n"));
    world.upload_is_published(V);
    world.write(world.service("status"), format!("{V}\n"));
    world.age(world.service("status"), 60);
    let list: Vec<String> = members.iter().map(Ipv4Addr::to_string).collect();
    world.member_list(&list.join(","));
    world.member_list_says(settings);
}

fn dispatched(world: &World) -> (Outcome, Duration) {
    let begun = Instant::now();
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
    (outcome, begun.elapsed())
}

#[test]
fn an_upgrade_ends_when_every_service_says_its_version() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = addresses(3);
    let port = fleet(members.iter().map(|address| (*address, Manner::Serves(V))).collect());
    in_flight(&world, &members, &format!("probe=rpc\nmoduleport={port}\n"));
    let (outcome, _) = dispatched(&world);
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(outcome.stdout.contains(&format!("{MODEL}: all 3 members have {V}")), "{}", outcome.stdout);
    assert!(!world.service("status").exists() && !world.upload("success").exists());
}

#[test]
fn after_twenty_minutes_the_late_are_named_each_with_what_it_answers() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = addresses(7);
    let manners = [
        Manner::Serves(V),
        Manner::Serves(OLD),
        Manner::Silent,
        Manner::Dribbles,
        Manner::Http,
        Manner::Refuses,
        Manner::Boasts,
    ];
    let port = fleet(members.iter().copied().zip(manners).collect());
    in_flight(&world, &members, &format!("probe=rpc probe_timeout=1\nmoduleport={port}\n"));
    let current = vec!["127.1.0.1"];
    // What members report in this tick would be progress.
    done(&world, &["--unpin", MODEL]);
    world.change_state(|state| state["announced"]["reported"] = current.into());
    world.rollout_ages(1260);
    let (outcome, took) = dispatched(&world);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(&outcome));
    let silent: Vec<String> = (3..=7).map(|n| format!("127.1.0.{n} (no answer)")).collect();
    let late = format!("late: 127.1.0.2 (serves {OLD}), {} (6 of 7)", silent.join(", "));
    assert!(outcome.stderr.contains(&late), "{}", outcome.stderr);
    assert!(took < Duration::from_secs(5), "one that sends a byte now and then took {took:?}");
}

/// Two hundred members, every twentieth of which accepts and never answers: all are asked within the limit and a second;
/// three more are allowed for a machine that has other things to do.
#[test]
fn two_hundred_members_are_asked_within_the_time_limit_of_one() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = addresses(200);
    let manner = |n: usize| if n % 20 == 7 { Manner::Silent } else { Manner::Serves(V) };
    let port = fleet(members.iter().enumerate().map(|(n, address)| (*address, manner(n))).collect());
    in_flight(&world, &members, &format!("probe=rpc\nmoduleport={port}\n"));
    let (outcome, took) = dispatched(&world);
    println!("200 members, 10 of them silent, asked in {took:?}");
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(outcome.stdout.contains("190 of 200 members have"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("waiting for 127.1.0.8, 127.1.0.28, "), "{}", outcome.stdout);
    assert!(took >= Duration::from_secs(2), "the silent ones had their time");
    assert!(took < Duration::from_secs(2 + 1 + 3), "{took:?}");
}

#[test]
fn a_thousand_silent_members_need_no_more_open_files_than_a_process_has_by_default() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = addresses(1000);
    // Nobody accepts: the kernel completes what its queue holds and lets the others wait.
    let listener = TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    in_flight(&world, &members, &format!("probe=rpc probe_timeout=1\nmoduleport={port}\n"));
    let line = "ulimit -n 1024 && exec \"$@\"";
    let binary = Tool::Dispatch.binary();
    let mut command = std::process::Command::new("dash");
    command.args(["-c", line, "dash"]).arg(binary).args([MODEL, PREFIX, LIBRARY]);
    world.prepare(&mut command, Tool::Dispatch, Side::BINARY);
    command.env("RUST_LOG", "debug");
    let begun = Instant::now();
    let outcome = world.finish(&mut command);
    println!("1000 silent members asked in {:?}", begun.elapsed());
    assert_eq!(outcome.status, 0, "{}", shown(&outcome));
    assert!(outcome.stdout.contains("0 of 1000 members have"), "{}", outcome.stdout);
    let reasons: BTreeSet<&str> = outcome
        .stderr
        .lines()
        .filter_map(|line| line.split_once("127.1.").and_then(|(_, rest)| rest.split_once(": ")))
        .map(|(_, reason)| reason)
        .collect();
    assert!(
        !outcome.stderr.contains("open files") && !outcome.stderr.contains("threads could be"),
        "{reasons:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(120),
        "one after the other they take 1000 s: {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_sites_own_program_is_asked_and_one_that_hangs_is_killed_with_what_it_started() {
    need!("rsync", "dash", "sleep");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let members = addresses(5);
    let program = world.path("ask");
    world.write_with_mode(
        "ask",
        format!(
            "#!/bin/sh\n[ $# = 2 ] && [ \"$2\" = 17019 ] || exit 9\ncase $1 in\n\
             *.1) echo '{V} '; echo more;;\n\
             *.2) echo {V}; exit 1;;\n\
             *.3) echo $$ > {root}/hangs; sleep 600; echo {V};;\n\
             *.4) sleep 600 & echo $! > {root}/left; echo {V};;\n\
             *.5) while :; do echo {OLD}; done;;\nesac\n",
            root = world.root.display()
        ),
        0o755,
    );
    let settings = format!("probe=command probe_command={} probe_timeout=1\n", program.display());
    in_flight(&world, &members, &settings);
    let current = vec!["127.1.0.1", "127.1.0.4"];
    // What members report in this tick would be progress.
    done(&world, &["--unpin", MODEL]);
    world.change_state(|state| state["announced"]["reported"] = current.into());
    world.rollout_ages(1260);
    let (outcome, took) = dispatched(&world);
    let left = std::fs::read_to_string(world.path("left")).unwrap();
    let _ = std::process::Command::new("kill").arg(left.trim()).status();
    assert_eq!(outcome.status, 1, "{}", shown(&outcome));
    let silent = ["127.1.0.2", "127.1.0.3", "127.1.0.5"].map(|member| format!("{member} (no answer)"));
    assert!(outcome.stderr.contains(&format!("late: {} (3 of 5)", silent.join(", "))), "{}", outcome.stderr);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let group = std::fs::read_to_string(world.path("hangs")).unwrap();
    let group = nix::unistd::Pid::from_raw(group.trim().parse().unwrap());
    crate::harness::wait_until("the group is gone", || nix::sys::signal::killpg(group, None).is_err());
}

#[test]
fn nobody_is_asked_before_the_version_is_announced() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    in_flight(&world, &addresses(1), "");
    let called = world.path("called");
    world.write_with_mode("ask", format!("#!/bin/sh\necho {V}; : > {}\n", called.display()), 0o755);
    world.member_list_says(&format!("probe=command probe_command={}\n", world.path("ask").display()));
    // An upgrade that cannot be announced yet: its service.conf lacks a key.
    std::fs::remove_file(world.service("status")).unwrap();
    std::fs::remove_dir_all(world.service(&format!("plugin/{V}"))).unwrap();
    world.service_conf("config_1", "[module]\n");
    assert_eq!(dispatched(&world).0.status, 2);
    assert!(!called.exists());
    world.service_conf("config_1", SERVICE_CONF);
    assert_eq!(dispatched(&world).0.status, 0);
    assert!(called.exists());
}
