//! `port-registry` on tables as people keep them, beside the service.conf files of a monitor.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use model_rollout::machine::locks::{Lock, Wait};

use crate::harness::side::under_test;
use crate::harness::{Sandbox, Side, Tool, World};

const TABLE: &str = "monitor/scripts/dispatch/conf/ports.md";

const PORTS: &str = "# 端口占用\n\n| 模型 | host |\n|---|---|\n| a | b |\n\n\
    | 模型 | 端口 | serviceid | 负责人 |\n|:--|--:|---|---|\n\
    | fast_lr | 17018 | fast_lr | a \\| b |\n| 黄色微博 | `17020` | mblog_yellow |  |\n\nremarks | 17019\n";

fn port_registry(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(under_test(env!("CARGO_BIN_EXE_port-registry")));
    world.prepare(&mut command, Tool::Add, Side::BINARY);
    command.args(arguments).output().unwrap()
}

/// Exit code, standard output, standard error.
fn ran(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let output = port_registry(world, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", world.root.display()), "");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn said(world: &World, arguments: &[&str], code: i32) -> String {
    let (status, stdout, stderr) = ran(world, arguments);
    assert_eq!((status, stderr.lines().count()), (code, usize::from(code != 0)), "{stdout}{stderr}");
    stdout + &stderr
}

fn table(world: &World) -> String {
    String::from_utf8(world.read(TABLE)).unwrap()
}

/// A model's service.conf that listens on a port.
fn serving(world: &World, model: &str, port: &str, service_id: &str) {
    let path = format!("monitor/rsync_service_data/datamining_service/{model}/config_1/service.conf");
    world.write(path, format!("[common]\nport = {port}\n[monitor]\nzk_service_id={service_id}\n"));
}

#[test]
fn list_aligns_what_the_table_holds() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write(TABLE, PORTS);
    let expected = "模型      端口     serviceid     负责人\nfast_lr   17018    fast_lr       a | b\n\
        黄色微博  `17020`  mblog_yellow\n";
    assert_eq!(said(&world, &["list"], 0), expected);
    world.write("elsewhere.md", PORTS);
    fs::remove_file(world.path(TABLE)).unwrap();
    assert_eq!(said(&world, &["list", "--file", "elsewhere.md"], 0), expected);
    assert!(
        said(&world, &["list"], 2)
            .contains("conf/ports.md is not there; put the table there, or name it with")
    );
}

#[test]
fn check_finds_what_is_taken_twice_or_cannot_be_read() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write(TABLE, PORTS);
    assert_eq!(said(&world, &["check"], 0), "");
    let rows = "| x | 17018 | x | |\n| y | 17021 | mblog_yellow | |\n| z | 65536 | z | |\n| z | 17022 | | |\n| 17023 | q |\n";
    world.write(TABLE, PORTS.replace("\n\nremarks", &format!("\n{rows}\nremarks")));
    let (code, stdout, stderr) = ran(&world, &["check"]);
    let expected = [
        "11: port 17018 is in line 9 already, for \u{201c}fast_lr\u{201d}; give one of the two another port",
        "12: service id \u{201c}mblog_yellow\u{201d} is in line 10 already; give one of the two another service id",
        "13: port is \u{201c}65536\u{201d}; write a number from 1 to 65535",
        "14: there is no service id; write it, or remove the row",
        "15: the row has 2 cells and the table 4 columns; write a cell for each column, and a | within a text as \\|",
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected.map(|line| format!("{TABLE}:{line}")));
    assert_eq!(
        (code, stderr.as_str()),
        (1, "port-registry: 5 findings about ports and service ids; correct them, and check again\n")
    );
}

#[test]
fn check_holds_the_table_against_every_service_conf() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write(TABLE, PORTS);
    serving(&world, "mblog_yellow", "17020#glued", "mblog_yellow");
    serving(&world, "fast", "17018", "fast_lr");
    serving(&world, "new", "maxport", "svc_name");
    world.directory("monitor/rsync_service_data/datamining_service/.git");
    world.write("monitor/rsync_service_data/datamining_service/lost+found/config_1/service.conf", "port=1\n");
    assert_eq!(said(&world, &["check"], 0), "");
    serving(&world, "thief", "17018", "thief");
    serving(&world, "stranger", "17777", "str_id");
    let (code, stdout, _) = ran(&world, &["check"]);
    let place =
        |model| format!("monitor/rsync_service_data/datamining_service/{model}/config_1/service.conf:2: ");
    let expected = [
        place("stranger") + "port 17777 is not in " + TABLE + "; port-registry add 17777 str_id",
        place("thief")
            + "port 17018 is that of \u{201c}fast_lr\u{201d} ("
            + TABLE
            + ":9); write the port of thief, or correct the table",
    ];
    assert_eq!(
        (code, stdout.lines().collect::<Vec<_>>()),
        (1, expected.each_ref().map(String::as_str).to_vec())
    );
}

#[test]
fn add_puts_the_row_where_it_belongs_and_leaves_every_other_byte() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write_with_mode(TABLE, PORTS, 0o664);
    let path = world.path(TABLE);
    if crate::harness::parts::is_root() {
        std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    assert_eq!(
        said(&world, &["add", "17019", "s", "--model", "m", "--set", "负责人=x|y"], 0),
        format!("{TABLE}:10: added 17019 s\n")
    );
    let between = PORTS.replace("| 黄", "| m | 17019 | s | x\\|y |\n| 黄");
    assert_eq!(table(&world), between);
    said(&world, &["add", "17021", "last"], 0);
    assert_eq!(table(&world), between.replace("\n\nremarks", "\n| last | 17021 | last |  |\n\nremarks"));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(after.permissions().mode() & 0o777, 0o664);
    assert!(said(&world, &["list"], 0).contains("x|y"));
    assert_eq!(said(&world, &["check"], 0), "");
}

#[test]
fn rows_in_no_order_and_windows_line_ends_stay_so() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let text = "port|service id\r\n-|-\r\n2|b\r\n1|a";
    world.write(TABLE, text);
    said(&world, &["add", "3", "c"], 0);
    assert_eq!(table(&world), format!("{text}\r\n| 3 | c |"));
    world.write(TABLE, "```\n| port | service id |\n|---|---|\n```\n| Port | Service-ID |\n|---|---|\n");
    said(&world, &["add", "3", "c"], 0);
    assert!(
        table(&world).ends_with("```\n| Port | Service-ID |\n|---|---|\n| 3 | c |\n"),
        "{}",
        table(&world)
    );
}

#[test]
fn add_refuses_what_is_taken_and_says_where() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write(TABLE, PORTS);
    serving(&world, "other", "17777", "other");
    for (arguments, code, what) in [
        (
            &["add", "17018", "x"][..],
            1,
            "ports.md:9: port 17018 is that of \u{201c}fast_lr\u{201d}; choose another port",
        ),
        (
            &["add", "17019", "fast_lr"],
            1,
            "ports.md:9: service id fast_lr has another port; choose another id, or",
        ),
        (
            &["add", "17020", "mblog_yellow"],
            0,
            "ports.md:10: 17020 mblog_yellow is there already; nothing was changed",
        ),
        (
            &["add", "17777", "x"],
            1,
            "other/config_1/service.conf:2: other listens on port 17777; choose another port",
        ),
        (
            &["add", "17019", "x", "--set", "owner=y"],
            2,
            "ports.md:7: there is no column owner; there are: 模型, 端口, serviceid, 负责人",
        ),
        (&["add", "17019", "x", "--set", "端口=1"], 2, "端口 is given twice"),
        (&["add", "70000", "x"], 2, "is not a port"),
    ] {
        let line = said(&world, arguments, code);
        assert!(line.contains(what), "{line}");
        assert_eq!(table(&world), PORTS, "{arguments:?}");
    }
    said(&world, &["add", "17777", "other"], 0);
}

#[test]
fn a_file_whose_table_is_not_certain_is_not_edited() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    for (text, what) in [
        (
            "",
            "ports.md:1: no table of this file names a port in its header; write | port | service id | model |",
        ),
        ("| report | service id |\n|---|---|\n", "ports.md:1: no table"),
        (
            "| port | owner |\n|---|---|\n",
            "ports.md:1: no column of the table is the service id; name one: service id",
        ),
        (
            &format!("{PORTS}\n{}", &PORTS[PORTS.find("| 模型 | 端").unwrap()..]),
            "ports.md:14: there is another table with ports in line 7",
        ),
    ] {
        world.write(TABLE, text);
        for arguments in [&["add", "17019", "x"][..], &["check"], &["list"]] {
            let line = said(&world, arguments, 2);
            assert!(line.contains(what), "{line}");
        }
        assert_eq!(table(&world), text);
    }
    world.write(TABLE, b"| \xb6\xcb\xbf\xda | service id |\n|---|---|\n");
    assert!(said(&world, &["list"], 2).contains("and it is not UTF-8; write it in UTF-8"));
}

#[test]
fn one_edit_at_a_time_through_a_link_to_the_file_itself() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write("checkout/ports.md", PORTS);
    world.directory("monitor/scripts/dispatch/conf");
    symlink(world.path("checkout/ports.md"), world.path(TABLE)).unwrap();
    let held = Lock::take(&world.path("checkout/.ports.md.lock"), Wait::No).unwrap();
    assert!(
        said(&world, &["add", "17019", "x", "--wait", "0"], 75).contains(".ports.md.lock is held by pid")
    );
    said(&world, &["list"], 0);
    drop(held);
    said(&world, &["add", "17019", "x"], 0);
    assert!(fs::symlink_metadata(world.path(TABLE)).unwrap().is_symlink());
    assert!(String::from_utf8(world.read("checkout/ports.md")).unwrap().contains("| x | 17019 | x |  |\n"));
    let conf: Vec<PathBuf> = fs::read_dir(world.path("monitor/scripts/dispatch/conf"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(conf, [world.path(TABLE)], "nothing lies beside the link");
}

#[test]
fn a_table_that_is_kept_elsewhere_needs_no_monitor_but_to_be_checked_against_it() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    fs::remove_dir_all(world.path("monitor")).unwrap();
    world.write("ports.md", PORTS);
    said(&world, &["add", "17019", "x", "--file", "ports.md"], 0);
    assert!(said(&world, &["check", "--file", "ports.md"], 2).contains("monitor is not a directory"));
    let mut command = Command::new(under_test(env!("CARGO_BIN_EXE_port-registry")));
    world.prepare(&mut command, Tool::Add, Side::BINARY);
    let listed = command.arg("list").env("PORT_REGISTRY", world.path("ports.md")).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 4);
}
