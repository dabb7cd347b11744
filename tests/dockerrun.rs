//! `dockerrun` before and behind `docker run`: who has the port, whether the service comes up, what a check says. Against a
//! stand-in for `docker` that answers what a case wrote down, as a real engine was seen to; and, where one runs, against a real engine.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::asking::{Manner, fleet};
use crate::harness::outcome::shown;
use crate::harness::parts::{find, has_container_engine, need};
use crate::harness::port::Reserved;
use crate::harness::port::quiet_port;
use crate::harness::world::MODEL;
use crate::harness::{Outcome, Sandbox, Side, Tool, World, wait_until};

const ID: &str = "7b083cb176238732fa74f3810a125bbf1db5b5838a5c34f8011cd29e473d4a05";

/// A `docker` that writes its arguments down and answers by its first one: `engine/WORD` and `engine/WORD.err`, with the
/// status of `engine/WORD.status`.
fn stand_in(world: &World) {
    let script = "#!/bin/sh\nword=$ENGINE/$1\n{ printf '<%s>' \"$@\"; echo; } >> \"$JOURNAL\"\n\
        [ ! -f \"$word.err\" ] || cat \"$word.err\" >&2\n[ ! -f \"$word\" ] || cat \"$word\"\n\
        [ ! -f \"$word.status\" ] || exit \"$(cat \"$word.status\")\"\n";
    world.write_with_mode("stand-in/docker", script, 0o755);
    world.write("engine/run", format!("{ID}\n"));
}

/// The one container that there is, as `docker container inspect` describes it.
fn container(world: &World, port: u16, status: &str, exit_code: i32) {
    world.write("engine/ps", format!("{ID}\n"));
    world.write("engine/container", described("image", port, status, exit_code));
}

/// A container as `docker container inspect` describes it in the format that it is asked for.
pub fn described(image: &str, port: u16, status: &str, exit_code: i32) -> String {
    let image = format!("registry.intra.weibo.com/weibo_rd_algorithmplatform/{image}:v1.0");
    format!(
        r#"{{"id":"{ID}","name":"/happy_gates","image":"{image}","env":["ENV_SERVICE_PORT={port}"],"status":"{status}","exit_code":{exit_code}}}"#
    ) + "\n"
}

fn prepared(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(Tool::DockerRun.binary());
    world.prepare(&mut command, Tool::DockerRun, Side::BINARY);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", world.path("stand-in").display()));
    command.env("ENGINE", world.path("engine")).env("SERVICE_ROOT", world.path("service")).args(arguments);
    command
}

fn ran(world: &World, arguments: &[&str]) -> Outcome {
    world.finish(&mut prepared(world, arguments))
}

/// It failed, with one line that holds this; returns what was asked of the engine.
fn failed(outcome: &Outcome, says: &str) -> Vec<String> {
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", shown(outcome));
    assert!(outcome.stderr.starts_with("dockerrun: ") && outcome.stderr.contains(says), "{}", outcome.stderr);
    let word = |line: &String| line.split('>').next().unwrap_or_default()[1..].to_owned();
    outcome.journal.iter().map(word).collect()
}

fn start(port: u16) -> [String; 4] {
    ["v1.0", "image", &port.to_string(), MODEL].map(str::to_owned)
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn it_ends_when_somebody_listens_on_the_port_and_prints_the_id() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    let reserved = Reserved::new();
    let port = reserved.port;
    container(&world, port, "running", 0);
    // It is there when it is waited for, and was not before.
    std::fs::remove_file(world.path("engine/ps")).unwrap();
    let mut child = prepared(&world, &words(&start(port))).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("it looks for the second time", || {
        world.journal_lines().join("").matches("<container>").count() > 1
    });
    assert!(child.try_wait().unwrap().is_none(), "nobody listens yet");
    let _service = reserved.listen();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{ID}\n"));
}

#[test]
fn a_container_that_ends_is_reported_with_its_last_line() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    let reserved = Reserved::new();
    let port = reserved.port;
    container(&world, port, "exited", 3);
    world.write("engine/logs", "2026-11-26T19:19:35.467545809Z loading\n");
    world.write("engine/logs.err", "2026-11-26T19:19:35.470545809Z no \u{1b}[31mmodel\n");
    let outcome = ran(&world, &words(&start(port)));
    let asked = failed(
        &outcome,
        "container happy_gates ended with exit code 3 (its last line: \u{201c}no \\u{1b}[31mmodel\u{201d}); see docker logs happy_gates",
    );
    assert_eq!(asked, ["ps", "container", "run", "container", "logs"]);
    assert_eq!(outcome.stdout, format!("{ID}\n"));
}

#[test]
fn a_service_that_is_late_is_left_and_named() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    let reserved = Reserved::new();
    let port = reserved.port;
    container(&world, port + 1, "running", 0);
    world.write("service/env.sh", "service_timeout=1\n");
    let outcome = ran(&world, &words(&start(port)));
    let says = format!(
        "is running, but nobody listens on port {port} after 1 s (its log is empty); it was left as it is"
    );
    failed(&outcome, &says);
    let arguments = start(port);
    let unattended = [&words(&arguments)[..], &["--timeout", "0"]].concat();
    assert_eq!(ran(&world, &unattended).status, 0, "nobody looks");
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    let port = sandbox.service_port();
    let asked = failed(
        &ran(&world, &words(&start(port))),
        &format!("port {port} is in use: pid {} (", std::process::id()),
    );
    assert_eq!(asked, ["ps"], "nothing is started");

    let world = sandbox.world();
    stand_in(&world);
    container(&world, 17019, "restarting", 0);
    let outcome = ran(&world, &words(&start(17019)));
    let asked = failed(&outcome, "port 17019 is that of container happy_gates (registry.intra.weibo.com/");
    assert_eq!(asked, ["ps", "container"]);

    let world = sandbox.world();
    stand_in(&world);
    world.write("ports.md", "| port | service id |\n|---|---|\n| 17019 | yellow |\n");
    let run = |options: &[&str]| {
        let mut command = prepared(&world, &[&words(&start(17019)), options].concat());
        world.finish(command.env("PORT_REGISTRY", "ports.md"))
    };
    failed(
        &run(&[]),
        "ports.md:3: port 17019 is that of \u{201c}yellow\u{201d}; choose another port, or give --service-id",
    );
    assert_eq!(run(&["--service-id", "yellow", "--timeout", "0"]).status, 0);
    std::fs::remove_file(world.path("ports.md")).unwrap();
    failed(&run(&[]), "PORT_REGISTRY: cannot read ports.md");
}

#[test]
fn what_the_engine_complains_of_is_one_line_with_a_remedy() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    world.write("engine/run.err", "Unable to find image 'r/x:v1' locally\ndocker: Error response from daemon: no such host.\nSee 'docker run --help'.\n");
    world.write("engine/run.status", "125");
    failed(
        &ran(&world, &words(&start(17019))),
        "the container engine: no such host; the image is not on this host",
    );

    world.write(
        "engine/ps.err",
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n",
    );
    world.write("engine/ps.status", "1");
    let asked = failed(&ran(&world, &words(&start(17019))), "start the engine (systemctl start docker)");
    assert_eq!(asked.last().map(String::as_str), Some("ps"), "nothing is started");

    let mut command = prepared(&world, &words(&start(17019)));
    let outcome = world.finish(command.env("PATH", world.path("nowhere")));
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert!(
        outcome.stderr.contains("cannot start docker: no such file or directory; install it"),
        "{}",
        outcome.stderr
    );
}

/// Pasted into either shell, it starts what `dockerrun` itself would start; printing it starts nothing.
#[test]
fn what_print_shows_is_the_command_for_a_shell() {
    need!("dash", "bash");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    world.write(
        "service/env.sh",
        "image_prefix=example.org:5000/team\nservice_timeout=0\nmounts='plugin/${service} /var/it'\"'\"'s;$HOME:/x:ro'\n",
    );
    let printed = ran(&world, &[&words(&start(17019))[..], &["--print"]].concat());
    assert_eq!((printed.status, printed.journal.len()), (0, 0), "{}", shown(&printed));
    assert!(printed.stdout.contains(r"'/var/it'\''s;$HOME:/x:ro'"), "{}", printed.stdout);
    let started = ran(&world, &words(&start(17019)));
    let run = started.journal.last().expect("it was started").clone();
    assert!(run.contains(&format!("<{}/17019/plugin/{MODEL}:", world.path("service").display())), "{run}");
    assert!(run.ends_with("<example.org:5000/team/image:v1.0>"), "{run}");
    for shell in ["dash", "bash"] {
        let mut command = prepared(&world, &[]);
        let mut pasted = Command::new(shell);
        pasted.args(["-c", &printed.stdout]).current_dir(&world.root);
        pasted
            .envs(command.env("HOME", "/wrong").get_envs().filter_map(|(name, value)| Some((name, value?))));
        assert_eq!(world.finish(&mut pasted).journal.last(), Some(&run), "{shell}");
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    for (text, says) in [
        (
            "\nimage_prefix=https://r/p\n",
            "service/env.sh:2: image_prefix: \u{201c}https://r/p\u{201d} is not the beginning",
        ),
        ("mounts='log a:b:c:d'\n", "service/env.sh:1: mounts: \u{201c}a:b:c:d\u{201d} is not a mount"),
        ("service_timeout=long\n", "service/env.sh:1: service_timeout: "),
        ("mounts=$(ls)\n", "service/env.sh:1:8: "),
    ] {
        world.write("service/env.sh", text);
        let outcome = ran(&world, &words(&start(17019)));
        assert_eq!(
            (outcome.status, outcome.stderr.lines().count(), outcome.journal.len()),
            (2, 1, 0),
            "{}",
            shown(&outcome)
        );
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    }
}

#[test]
fn a_check_says_what_is_there_and_where_the_version_is_from() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    stand_in(&world);
    let check = || ran(&world, &["--check", "image"]);
    failed(
        &check(),
        "there is no image registry.intra.weibo.com/weibo_rd_algorithmplatform/image on this host",
    );
    world.write("engine/images", "r/p/image:v1.0  067de1d0b900  12 days ago  1.86GB\n");
    failed(&check(), "is up; start one: dockerrun VERSION image PORT SERVICE_NAME");

    let reserved = Reserved::new();
    let silent = reserved.port;
    container(&world, silent, "running", 0);
    failed(&check(), &format!("container happy_gates is up, but nobody listens on port {silent}"));

    // The service is asked where it listens.
    let says = fleet(vec![("127.0.0.1".parse().unwrap(), Manner::Serves("20180413192258"))]);
    container(&world, says, "running", 0);
    let outcome = check();
    let expected = format!(
        "image r/p/image:v1.0  067de1d0b900  12 days ago  1.86GB\n\
         container happy_gates (image v1.0): running; serves 20180413192258 (the service says so, on port {says})\n"
    );
    assert_eq!((outcome.status, outcome.stdout), (0, expected));

    let other = fleet(vec![("127.0.0.1".parse().unwrap(), Manner::Http)]);
    container(&world, other, "running", 0);
    world
        .write(format!("service/{other}/bin/etc/service.conf"), "[module]\nmoduleversion = 20170101000000\n");
    let outcome = check();
    let conf = world.path(format!("service/{other}/bin/etc/service.conf"));
    let said =
        format!("port {other} answers, 20170101000000 (by {}; the service does not say)\n", conf.display());
    assert!(outcome.status == 0 && outcome.stdout.ends_with(&said), "{}", shown(&outcome));
}

/// What a test left in the engine, removed at its end.
struct Image(String);

impl Image {
    /// An image without files: it runs the host's programs, which are mounted. Made here, so that nothing is fetched.
    fn that_runs(world: &World, name: &str, command: &str) -> Image {
        world.write("empty.tar", [0; 10240]);
        let image = Image(format!("model-rollout-{}.invalid/{name}:v1", std::process::id()));
        let change = format!("CMD [\"/bin/sh\", \"-c\", \"{command}\"]");
        let tar = world.path("empty.tar");
        let made =
            Command::new("docker").args(["import", "--change", &change]).arg(tar).arg(&image.0).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        image
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let ids =
            Command::new("docker").args(["ps", "-aq", "--filter", &format!("ancestor={}", self.0)]).output();
        let ids = ids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let _ = Command::new("docker").args(["rm", "-f"]).args(ids.split_whitespace()).output();
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

#[test]
fn a_real_engine_starts_checks_and_reports() {
    need!("rsync");
    if !has_container_engine() {
        return;
    }
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let daemon = format!(
        "exec {} --daemon --no-detach --address=127.0.0.1 --port=$ENV_SERVICE_PORT --config=/dev/null",
        find("rsync").unwrap().display()
    );
    let lives = Image::that_runs(&world, "lives", &daemon);
    let _dies = Image::that_runs(&world, "dies", "echo loading; sleep 0.1; echo no model >&2; exit 3");
    let prefix = lives.0.split('/').next().unwrap();
    let programs =
        ["/bin", "/usr", "/lib", "/lib64"].into_iter().filter(|dir| std::path::Path::new(dir).is_dir());
    let mounts: Vec<&str> = ["log", "watch/log:/watch/log"].into_iter().chain(programs).collect();
    world.write(
        "service/env.sh",
        format!("image_prefix={prefix}\nmounts='{}'\nservice_timeout=60\n", mounts.join(" ")),
    );
    let run = |arguments: &[&str]| {
        let mut command = prepared(&world, arguments);
        world.finish(command.env("PATH", std::env::var_os("PATH").unwrap()))
    };
    let port = quiet_port().to_string();

    let died = run(&["v1", "dies", &port, MODEL]);
    failed(&died, "ended with exit code 3 (its last line: \u{201c}no model\u{201d})");
    failed(&run(&["--check", "dies"]), "is up; start one");

    let started = run(&["v1", "lives", &port, MODEL]);
    assert_eq!((started.status, started.stderr.as_str()), (0, ""), "{}", shown(&started));
    assert_eq!(started.stdout.trim().len(), 64, "the container's id");
    let log = world.path(format!("service/{port}/watch/log"));
    assert!(log.metadata().unwrap().permissions().mode() & 0o777 == 0o755, "the engine makes what it mounts");
    failed(&run(&["v1", "lives", &port, MODEL]), &format!("port {port} is that of container "));

    world.write(format!("service/{port}/bin/etc/service.conf"), "[module]\nmoduleversion=20180413192258\n");
    let checked = run(&["--check", "lives"]);
    assert_eq!(checked.status, 0, "{}", shown(&checked));
    assert!(checked.stdout.starts_with(&format!("image {}  ", lives.0)), "{}", checked.stdout);
    assert!(
        checked.stdout.contains(&format!("running; port {port} answers, 20180413192258 (by ")),
        "{}",
        checked.stdout
    );

    failed(&run(&["v2", "lives", &quiet_port().to_string(), MODEL]), "the image is not on this host");
}
