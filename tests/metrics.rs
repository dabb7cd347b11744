//! `dispatch --status --metrics FILE`: what the real node_exporter reads of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::batches::fleet;
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF};
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};
use crate::rollback::{done, pushed};
use crate::status::rolled_back;

const OLD: &str = "20180101000000";
const NEXT: &str = "20180501000000";
const V: &str = "20180413192258";

/// node_exporter with the textfile collector alone; dropping it stops it.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn start(directory: &Path) -> Exporter {
        // Another test may take the free port before it does: then once more with another one.
        for _ in 0..20 {
            let port = quiet_port();
            let child = Command::new("prometheus-node-exporter")
                .args([
                    "--collector.disable-defaults",
                    "--collector.textfile",
                    "--web.disable-exporter-metrics",
                ])
                .arg(format!("--collector.textfile.directory={}", directory.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus-node-exporter starts");
            let exporter = RefCell::new(Exporter { child, port });
            let has_ended = || exporter.borrow_mut().child.try_wait().unwrap().is_some();
            wait_until("node_exporter answers, or has ended", || {
                has_ended() || TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if !has_ended() {
                return exporter.into_inner();
            }
        }
        panic!("no node_exporter could be started");
    }

    /// Every sample, by name and labels; these are in the order of their names.
    fn scrape(&self) -> BTreeMap<String, f64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        body.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measured(world: &World, arguments: &[&str], file: &Path) -> Outcome {
    let file = file.to_str().unwrap();
    world.run(Tool::Dispatch, Side::BINARY, &[&["--status"], arguments, &["--metrics", file]].concat())
}

/// What is known of a model, as it is on the page of the exporter; one whose status cannot be had, with no members.
fn expected(model: &str, known: &[(&str, u8)]) -> BTreeMap<String, f64> {
    let of = format!("model=\"{model}\"");
    let series = |(name, value): &(&str, u8)| {
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        // The labels in the order of their names: member, model, standing, verdict, version.
        let labels = labels.trim_end_matches('}');
        let labels = match labels {
            "" => of.clone(),
            labels if labels.starts_with("member=") => {
                let (member, rest) = labels.split_once(',').unwrap();
                format!("{member},{of},{rest}")
            }
            labels => format!("{of},{labels}"),
        };
        (format!("model_rollout_{name}{{{labels}}}"), f64::from(*value))
    };
    known.iter().map(series).collect()
}

fn without_time(samples: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let counts = |name: &str| name.starts_with("model_rollout_") && !name.contains("_timestamp_");
    samples.iter().filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), *value)).collect()
}

#[test]
fn node_exporter_reads_what_is_known_of_each_model_and_that_nothing_is_known_of_one() {
    need!("rsync", "prometheus-node-exporter");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    rolled_back(&world);
    done(&world, &["--pin", OLD, MODEL]);
    pushed(&world, NEXT, "library\n");
    world.member_list("127.0.0.11,127.0.0.12");
    world.write(world.service(".rollout/held"), "127.0.0.12 - ann@m1 \"disk\\\n");
    let other = "monitor/rsync_service_data/datamining_service/other";
    world.write(format!("{other}/config_1/service.conf"), SERVICE_CONF);
    world.write("monitor/scripts/dispatch/conf/other.env.sh", "members=$(cat hosts)\n");
    let directory = world.path("textfile");
    world.directory(&directory);
    let exporter = Exporter::start(&directory);
    assert_eq!(exporter.scrape()["node_textfile_scrape_error"], 0.0);

    let began = model_rollout::machine::clock::unix_now().0;
    let outcome = measured(&world, &[], &directory.join("model_rollout.prom"));
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (1, ""),
        "as --status, and quiet: {}",
        shown(&outcome)
    );
    assert!(
        outcome.stderr.contains("2 models: ") && outcome.stderr.contains("command substitution"),
        "{}",
        outcome.stderr
    );
    let mut both = expected(
        MODEL,
        &[
            ("status_success", 1),
            ("converged", 0),
            ("version_info{version=\"20180101000000\"}", 1),
            ("push_pending", 1),
            ("standing{standing=\"paused\"}", 0),
            ("standing{standing=\"stopped\"}", 0),
            ("standing{standing=\"aborted\"}", 0),
            ("standing{standing=\"resumed\"}", 0),
            ("standing{standing=\"timed-out\"}", 0),
            ("standing{standing=\"trailing\"}", 0),
            ("pinned", 1),
            ("bad_versions", 1),
            ("members_let_in", 2),
            ("members{verdict=\"current\"}", 1),
            ("members{verdict=\"updating\"}", 0),
            ("members{verdict=\"not polled yet\"}", 0),
            ("members{verdict=\"waiting\"}", 0),
            ("members{verdict=\"pulled but not restarted\"}", 0),
            ("members{verdict=\"restarted with the old version\"}", 0),
            ("members{verdict=\"takes everything (script)\"}", 0),
            ("members{verdict=\"failed verification\"}", 0),
            ("members{verdict=\"rolled back\"}", 0),
            ("members{verdict=\"unreachable\"}", 0),
            ("members{verdict=\"held\"}", 1),
            ("member_verdict{member=\"127.0.0.11\",verdict=\"current\"}", 1),
            ("member_verdict{member=\"127.0.0.12\",verdict=\"held\"}", 1),
        ],
    );
    both.extend(expected("other", &[("status_success", 0), ("converged", 0)]));
    let samples = exporter.scrape();
    assert_eq!(samples["node_textfile_scrape_error"], 0.0);
    assert_eq!(without_time(&samples), both);
    for model in [MODEL, "other"] {
        let at = samples[&format!("model_rollout_status_timestamp_seconds{{model=\"{model}\"}}")];
        assert!(at >= began as f64 && at <= model_rollout::machine::clock::unix_now().0 as f64, "{at}");
    }

    // A file for each model says the same; that of a model of which nothing can be said keeps the error's exit code.
    std::fs::remove_file(directory.join("model_rollout.prom")).unwrap();
    for (model, status) in [(MODEL, 1), ("other", 2)] {
        let outcome = measured(&world, &[model], &directory.join(format!("{model}.prom")));
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (status, 1), "{}", shown(&outcome));
    }
    let samples = exporter.scrape();
    assert_eq!((samples["node_textfile_scrape_error"], without_time(&samples)), (0.0, both));
    // And it does complain of what it cannot read.
    world.write(directory.join("broken.prom"), "model_rollout_x{a=\"b\" 1\n");
    assert_eq!(exporter.scrape()["node_textfile_scrape_error"], 1.0);
}

#[test]
fn the_file_is_replaced_as_a_whole_or_not_at_all() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    rolled_back(&world);
    let directory = world.path("textfile");
    world.directory(&directory);
    let file = directory.join("x.prom");
    // The collector runs as another user.
    let mut command = Command::new("sh");
    let dispatch = &Side::BINARY.command_line(Tool::Dispatch)[0];
    command
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(dispatch)
        .args(["--status", "--metrics"])
        .arg(&file);
    world.prepare(&mut command, Tool::Dispatch, Side::BINARY);
    let outcome = world.finish(&mut command);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (0, "", ""),
        "{}",
        shown(&outcome)
    );
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o644);
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(measured(&world, &[], &file).status, 0);
    assert_eq!(mode(), 0o644, "whatever it was");
    let text = String::from_utf8(world.read(&file)).unwrap();
    assert!(
        text.contains(&format!("model_rollout_version_info{{model=\"{MODEL}\",version=\"{OLD}\"}} 1\n")),
        "{text}"
    );
    let names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let prom = names.iter().filter(|name| name.to_str().unwrap().ends_with(".prom")).count();
    assert_eq!((names.len(), prom), (2, 1), "{names:?}");

    let refused = |status: i32, says: &str, file: &Path| {
        let outcome = measured(&world, &[], file);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (status, 1), "{}", shown(&outcome));
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    };
    refused(1, "check the path", &world.path("nowhere/x.prom"));
    refused(2, "reads only *.prom", &directory.join("x.txt"));
    // Where the temporary file cannot be written, the old one stays; what was not converged is not what is said then.
    pushed(&world, NEXT, "library\n");
    world.directory(directory.join(".x.prom.new"));
    refused(1, ".x.prom.new", &file);
    assert_eq!(world.read(&file), text.as_bytes());
    std::fs::remove_dir(directory.join(".x.prom.new")).unwrap();
    refused(1, "what was pushed is not announced yet", &file);
    done(&world, &[MODEL, PREFIX, LIBRARY]);
    let in_flight = String::from_utf8(world.read(&file)).unwrap();
    assert!(
        in_flight.contains(&format!("model_rollout_push_pending{{model=\"{MODEL}\"}} 1\n")),
        "{in_flight}"
    );
    let begin = "model_rollout_in_flight_start_timestamp_seconds";
    assert!(!in_flight.contains(begin), "there is none yet, and so no begin: {in_flight}");
    // Another run writes it.
    let lock = std::fs::File::open(directory.join(".x.prom.lock")).unwrap();
    let held = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    refused(75, ".x.prom.lock", &file);
    drop(held);
    assert_eq!(world.read(&file), in_flight.as_bytes());
    refused(1, "not converged", &file);
    assert!(String::from_utf8(world.read(&file)).unwrap().contains(begin));
}

/// Since when the upgrade is in flight.
fn in_flight_since(world: &World) -> i64 {
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &["--status", MODEL, "--json"]);
    let status: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let model = &status["models"][0];
    let since = model["in_flight_since_unix_s"].as_i64().unwrap();
    let age = model_rollout::machine::clock::unix_now().0 - since;
    let told = model["in_flight_for_s"].as_i64().unwrap();
    assert!((0..=age).contains(&told), "{told} of {age}");
    since
}

#[test]
fn an_upgrade_began_when_it_began_whatever_was_written_since() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fleet(&world, 4, "batches=1,2,3,4\non_timeout=continue\n");
    world.directory("monitor/scripts/dispatch/log");
    let tick = || done(&world, &[MODEL, PREFIX, LIBRARY]);
    tick();
    let began = in_flight_since(&world);
    // It has been in flight for longer than a batch may take.
    world.rollout_ages(4000);
    assert!(tick().contains("they are skipped"));
    assert_eq!(in_flight_since(&world), began - 4000, "late members were skipped");
    let file = world.path("since.prom");
    measured(&world, &[MODEL], &file);
    let text = String::from_utf8(world.read(&file)).unwrap();
    let line = format!("in_flight_start_timestamp_seconds{{model=\"{MODEL}\"}} {}\n", began - 4000);
    assert!(text.contains(&line), "{line} in\n{text}");
    done(&world, &["--pause", MODEL]);
    done(&world, &["--resume", MODEL]);
    assert_eq!(in_flight_since(&world), began - 4000, "it was paused");
    world.reported("127.0.0.11", V);
    tick();
    let history =
        String::from_utf8(world.read(format!("monitor/scripts/dispatch/log/.history-{MODEL}.jsonl")));
    let history = history.unwrap();
    let confirmed = history.lines().find(|line| line.contains("\"confirmed\"")).unwrap();
    let confirmed: serde_json::Value = serde_json::from_str(confirmed).unwrap();
    assert!(confirmed["duration_s"].as_i64().unwrap() >= 4000, "{confirmed}");

    // One that had ended begins when it is resumed, and that stays so, too.
    done(&world, &["--abort", MODEL]);
    done(&world, &["--resume", MODEL]);
    let resumed = in_flight_since(&world);
    assert!(resumed >= began);
    world.rollout_ages(5000);
    assert!(tick().contains("timed out"));
    assert_eq!(in_flight_since(&world), resumed - 5000);

    // Where a script began it, and no tick has seen it yet, status is all there is.
    std::fs::remove_dir_all(world.service(".rollout")).unwrap();
    world.age(world.service("status"), 700);
    let age = model_rollout::machine::clock::unix_now().0 - in_flight_since(&world);
    assert!((700..4000).contains(&age), "{age}");
}
