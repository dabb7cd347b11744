//! `autoupdate-toggle --method hold`: members that keep what they serve while the others upgrade; a real fleet through the real
//! rsync daemon, with new pollers and legacy ones.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::batches::{address, fleet};
use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::side::under_test;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};
use crate::history;
use crate::toggle_fleet::{connect_from_own_addresses, poll};

const V: &str = "20180413192258";
const NEXT: &str = "20180501000000";
const OLD: &str = "20170101000000";

/// A fleet behind the real daemon, whose configuration the commands edit.
struct Fleet<'a> {
    sandbox: &'a Sandbox,
    world: World<'a>,
}

impl Fleet<'_> {
    fn new<'a>(sandbox: &'a Sandbox, members: usize, settings: &str) -> Fleet<'a> {
        connect_from_own_addresses(sandbox);
        let world = sandbox.world();
        fleet(&world, members, settings);
        Fleet { sandbox, world }
    }

    fn conf(&self) -> Vec<u8> {
        std::fs::read(self.sandbox.path().join("rsyncd.conf")).unwrap()
    }

    /// Runs `autoupdate-toggle` with words, of which `~` stands for a blank within one.
    fn toggle(&self, line: &str) -> Outcome {
        let mut command = Command::new(under_test(env!("CARGO_BIN_EXE_autoupdate-toggle")));
        command.args(line.split(' ').map(|word| word.replace('~', " ")));
        if !line.starts_with("status") && !line.contains("--config") {
            command.arg("--config").arg(self.sandbox.path().join("rsyncd.conf"));
            command.arg(format!("--port={}", self.sandbox.daemon().port));
        }
        command.env("MONITOR_ROOT", self.world.path("monitor")).env("TZ", "CST-8").env("SUDO_USER", "ann");
        self.world.finish(&mut command)
    }

    fn done(&self, line: &str) -> String {
        let outcome = self.toggle(line);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{line}: {}", shown(&outcome));
        outcome.stdout
    }

    fn tick(&self) -> String {
        let mut command = self.world.command(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
        command.env("RSYNCD_CONF", self.sandbox.path().join("rsyncd.conf"));
        let outcome = self.world.finish(&mut command);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", shown(&outcome));
        outcome.stdout
    }

    /// A poll that has nothing to say.
    fn polls(&self, n: usize) {
        let output = poll(&self.world, Side::BINARY, &address(n));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    }

    fn serves(&self, n: usize) -> String {
        let conf = self.world.read(format!("member-{}/workspace/bin/etc/service.conf", address(n)));
        let conf = String::from_utf8(conf).unwrap();
        conf.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap().to_owned()
    }

    /// Whom the announcement holds.
    fn announced_held(&self) -> Vec<String> {
        let announcement = self.world.read(self.world.service(".rollout/announcement"));
        let announcement: Value = serde_json::from_slice(&announcement).unwrap();
        let held = announcement["held"].as_array().cloned().unwrap_or_default();
        held.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
    }

    fn held(&self) -> String {
        String::from_utf8(self.world.read(self.world.service(".rollout/held"))).unwrap()
    }
}

#[test]
fn a_held_member_stays_while_the_others_upgrade_and_follows_once_it_is_free() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox, 3, "group_canary=\"127.0.0.12\"\n");
    let world = &fleet.world;
    fleet.tick();
    (1..=3).for_each(|n| fleet.polls(n));
    assert!(fleet.tick().contains("all 3 members have"));
    world.uploaded(&format!("{NEXT}\n"));
    // What it replaces may be unreadable for the daemon, and stay so.
    world.write_with_mode(
        world.service(".rollout/held"),
        "# who is held\n127.0.0.13 - bob@m1 until 2010",
        0o600,
    );
    let before = fleet.conf();

    let said = fleet.done(&format!(
        "disable --method hold --model {MODEL} --group canary --reason disk~is~full --for 2h"
    ));
    assert!(said.contains(".rollout/held: held until ") && said.ends_with(": 127.0.0.12\n"), "{said}");
    let expected = "# who is held\n127.0.0.13 - bob@m1 until 2010\n127.0.0.12 ";
    assert!(fleet.held().starts_with(expected) && fleet.held().contains("+08:00 ann@"), "{}", fleet.held());
    let mode = std::fs::metadata(world.service(".rollout/held")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(fleet.conf(), before, "its poller reads the file itself");
    let status = fleet.done("status --method hold");
    assert!(status.starts_with(&format!(
        "{MODEL}: 127.0.0.13 held by bob@m1: until 2010\n{MODEL}: 127.0.0.12 held by ann@"
    )));
    assert!(status.ends_with(" local time: disk is full\n"), "{status}");

    fleet.tick();
    (1..=3).for_each(|n| fleet.polls(n));
    assert_eq!([1, 2, 3].map(|n| fleet.serves(n)), [NEXT, V, V]);
    assert!(fleet.tick().contains(&format!("all 1 members have {NEXT}")), "the rollout ends without them");
    fleet.polls(2);
    assert_eq!(fleet.serves(2), V);

    let said = fleet.done(&format!("enable --method hold --model {MODEL} --ip 127.0.0.12,127.0.0.11"));
    assert!(said.ends_with(".rollout/held: not held any more: 127.0.0.12; not held: 127.0.0.11\n"), "{said}");
    assert_eq!(fleet.held(), "# who is held\n127.0.0.13 - bob@m1 until 2010\n");
    fleet.polls(2);
    fleet.polls(3);
    assert_eq!([1, 2, 3].map(|n| fleet.serves(n)), [NEXT, NEXT, V]);

    // Who was held and let go again stands among what else happened to the model.
    fleet.done(&format!("enable --method hold --model {MODEL} --ip 127.0.0.12"));
    let text = String::from_utf8(world.read(history::FILE)).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let place = |name: &str| names.iter().position(|event| *event == name).unwrap();
    let (held, released) = (&events[place("held")], &events[place("released")]);
    assert!(place("ended") < place("held") && names.ends_with(&["ended", "released"]), "{names:?}");
    for event in [held, released] {
        assert_eq!((&event["members"], &event["user"]), (&json!(["127.0.0.12"]), &json!("ann")), "{event}");
    }
    let until = chrono::DateTime::parse_from_rfc3339(held["until"].as_str().unwrap()).unwrap();
    assert!(until > model_rollout::machine::clock::now().instant && held["why"] == "disk is full", "{held}");
    let shown = world.run(Tool::Dispatch, Side::BINARY, &["--history", MODEL]).stdout;
    let line = shown.lines().find(|line| line.contains("  held ")).unwrap();
    assert!(
        line.ends_with(&format!(
            "  1 member: 127.0.0.12  until {}  disk is full",
            held["until"].as_str().unwrap()
        )),
        "{line}"
    );
}

#[test]
fn a_member_with_a_legacy_poller_is_denied_until_it_is_free() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox, 2, "group_racks=\"127.0.0.11 127.0.0.12\"\n");
    let world = &fleet.world;
    world.write(world.service("version/.state-127.0.0.11"), format!("current {OLD} 1\n\n"));
    let before = fleet.conf();
    let legacy = || poll(world, Side::SCRIPT, "127.0.0.12");
    let hold = |verb: &str| format!("{verb} --method hold --model {MODEL} --group racks");

    let said = fleet.done(&format!("{} --reason x --dry-run", hold("disable")));
    assert!(said.contains("+hosts deny = 127.0.0.12") && said.contains("+127.0.0.12 - ann@"), "{said}");
    assert!(fleet.conf() == before && !world.service(".rollout/held").exists());
    assert!(!world.path(history::FILE).exists(), "nothing happened");

    let said = fleet.done(&format!("{} --reason the~rack~moves --until 2098-01-01T00:00", hold("disable")));
    let note = "held until 2098-01-01 00:00 local time: 127.0.0.11, 127.0.0.12; 127.0.0.12 may have a legacy poller, which \
                does not read this: denied by the rsync daemon, too\n";
    assert!(said.contains(note) && said.contains("): denied: 127.0.0.12\n"), "{said}");
    let conf = String::from_utf8(fleet.conf()).unwrap();
    assert!(conf.contains("# autoupdate-toggle: until 2098-01-01T00:00:00+08:00: 127.0.0.12\n"), "{conf}");

    // Everybody is held: it is published, and waits for them.
    let told = fleet.tick();
    assert!(told.contains("all 2 members are held"), "{told}");
    legacy();
    fleet.polls(1);
    assert_eq!([1, 2].map(|n| fleet.serves(n)), [OLD, OLD]);
    // Another model of the same host is held, too: what denies both stays as long as one needs it.
    let other = "monitor/rsync_service_data/datamining_service/other/.rollout/held";
    world.write(other, "127.0.0.12 - bob@m1 the same rack\n");
    let said = fleet.done(&hold("enable"));
    assert!(
        said.contains("other still holds 127.0.0.12: what the rsync daemon denies stays denied\n"),
        "{said}"
    );
    assert!((fleet.held().as_str(), fleet.conf() == before) == ("", false));
    std::fs::remove_file(world.path(other)).unwrap();
    let said = fleet.done(&hold("enable"));
    assert!(said.contains("allowed again") && said.contains("nothing was changed\n"), "{said}");
    assert_eq!(fleet.conf(), before);
    legacy();
    fleet.polls(1);
    assert_eq!([1, 2].map(|n| fleet.serves(n)), [V, V]);

    let said = fleet.done(&format!("{} --reason x --no-deny", hold("disable")));
    assert!(
        said.contains(
            "127.0.0.12 may have a legacy poller, which does not read this and updates all the same"
        ),
        "{said}"
    );
    assert_eq!(fleet.conf(), before);
}

/// A hold ends by the monitor's clock: with the tick that takes it out of the announcement.
#[test]
fn a_hold_ends_by_itself_and_one_that_cannot_be_read_lets_nothing_through() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox, 1, "");
    let world = &fleet.world;
    let hold = |until: &str| {
        world.write(world.service(".rollout/held"), format!("127.0.0.11 {until} ann@m1 disk\n# x\n"))
    };
    hold("2098-01-01T00:00:00+08:00");
    fleet.tick();
    assert_eq!(fleet.announced_held(), ["127.0.0.11"]);
    fleet.polls(1);
    assert_eq!(fleet.serves(1), OLD);
    hold("tomorrow");
    let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
    let said = format!("{MODEL}/.rollout/held:1:1: this hold has no time; write ADDRESS UNTIL");
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (2, 1), "{}", shown(&outcome));
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert_eq!(fleet.announced_held(), ["127.0.0.11"], "the last that could be read stand");
    fleet.polls(1);
    assert_eq!(fleet.serves(1), OLD);
    hold("2018-01-01T00:00:00+08:00");
    fleet.polls(1);
    assert_eq!(fleet.serves(1), OLD, "no member goes by its own clock");
    fleet.tick();
    fleet.polls(1);
    assert_eq!(fleet.serves(1), V);
    let status = fleet.done(&format!("status --method hold --model {MODEL}"));
    assert!(status.contains(" until 2018-01-01 00:00 local time, which is over"), "{status}");
    fleet.done(&format!("enable --method hold --model {MODEL} --ip 127.0.0.11"));
    assert_eq!(fleet.held(), "# x\n");
    assert_eq!(fleet.done("status --method hold"), "nobody is held\n");
}

/// The next tick may be a minute away, and the members poll before it.
#[test]
fn a_hold_is_announced_when_the_command_ends_and_so_is_its_end() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox, 2, "");
    let world = &fleet.world;
    fleet.tick();
    (1..=2).for_each(|n| fleet.polls(n));
    fleet.tick();
    world.uploaded(&format!("{NEXT}\n"));
    fleet.tick();
    assert_eq!(fleet.announced_held(), [""; 0]);
    fleet.done(&format!("disable --method hold --model {MODEL} --ip 127.0.0.12 --reason disk"));
    assert_eq!(fleet.announced_held(), ["127.0.0.12"]);
    (1..=2).for_each(|n| fleet.polls(n));
    assert_eq!([1, 2].map(|n| fleet.serves(n)), [NEXT, V]);
    fleet.done(&format!("enable --method hold --model {MODEL} --ip 127.0.0.12"));
    assert_eq!(fleet.announced_held(), [""; 0]);
    fleet.polls(2);
    assert_eq!(fleet.serves(2), NEXT);
}

#[test]
fn what_cannot_be_held_is_one_line_and_changes_nothing() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let fleet = Fleet::new(&sandbox, 1, "group_east=127.0.0.11\ngroup_lost=127.0.0.99\ngroup_names=h1\n");
    let world = &fleet.world;
    let before = fleet.conf();
    let refused = |code: i32, said: &str, line: &str| {
        let outcome = fleet.toggle(line);
        assert_eq!(
            (outcome.status, outcome.stderr.lines().count()),
            (code, 1),
            "{line}: {}",
            shown(&outcome)
        );
        assert!(outcome.stderr.contains(said), "{line}: {}", outcome.stderr);
        assert!(fleet.conf() == before, "{line}");
    };
    let hold = format!("disable --method hold --model {MODEL} --reason x");
    refused(
        2,
        "127.0.0.99 is no member of mblog_yellow; see members there",
        &format!("{hold} --ip 127.0.0.11,127.0.0.99"),
    );
    refused(2, "127.0.0.99 is no member", &format!("{hold} --group lost"));
    refused(
        2,
        "west is no group with members; there are: east, lost, names",
        &format!("{hold} --group west"),
    );
    refused(2, "2018-04-13T19:22 is over already", &format!("{hold} --group east --until 2018-04-13T19:22"));
    refused(1, "run add_dispatch_docker first", "enable --method hold --model nobody --ip 127.0.0.11");
    let elsewhere = format!("{hold} --ip 127.0.0.11 --config /nowhere/rsyncd.conf");
    refused(
        1,
        "nothing was done (--no-deny leaves the rsync daemon alone): cannot read /nowhere",
        &elsewhere,
    );
    assert!(!world.service(".rollout/held").exists());
    refused(2, "there are: east", &format!("disable --method rsyncd --model {MODEL} --group west"));
    refused(2, "is not an IP address", &format!("disable --method rsyncd --model {MODEL} --group names"));
    let said = fleet.done(&format!("disable --method rsyncd --model {MODEL} --group east"));
    assert!(said.contains(": denied in module") && said.contains("): denied: 127.0.0.11\n"), "{said}");
    fleet.done(&format!("enable --method rsyncd --model {MODEL} --group east"));

    let broken = "127.0.0.11 - ann@m1 disk\nx\n";
    world.write(world.service(".rollout/held"), broken);
    refused(2, ".rollout/held:2:1: this hold has no time", &format!("{hold} --group east"));
    refused(2, ".rollout/held:2:1: this hold has no time", "status --method hold");
    assert_eq!(fleet.held(), broken);
    std::fs::remove_file(world.path(format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh"))).unwrap();
    refused(2, "has no member list; write members=", &format!("{hold} --ip 127.0.0.11"));
}
