//! A service.conf that needs no correction, and `add_dispatch_docker --check` on those that do.

use std::fs;

use model_rollout::formats::Finding;
use model_rollout::formats::service_conf::lint::{self, About};
use model_rollout::names::ModelName;

use crate::harness::outcome::Tree;
use crate::harness::parts::project;
use crate::harness::world::MODEL;
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

const REGISTER: &[&str] = &["model", MODEL, MODEL];
const CHECK: &[&str] = &["--check", MODEL];

/// As operators leave it when all is well: remarks in GBK and UTF-8, blanks around some `=`, a key of the service's own.
const GOOD: &[u8] =
    b"[common]\n#\xb6\xcb\xbf\xda[\nport = 17019\t# the port\nworker_count=8\ndaemonize=0\t#0: no\n\
    alert_emails=\t#a@b;c@d\nfeature_dim = 12 x\n\n[module]\nname=mblog_yellow\n\
    modulepath=/w/plugin/mblog_yellow/20180413192258/lib/mblog_yellow.so\n\
    moduleconfig = /w/plugin/mblog_yellow/20180413192258/data\ntype=so\nmoduleversion=20180413192258\n\n\
    [cache_service]\nprot=1\nport=1\n[monitor]\nzk_addr=zk://10.0.0.1:2181\nzk_group_id=media_service\n\
    zk_service_id=mblog_yellow # \xe9\xbb\x84\nzk_type_id=online\n";

fn lint(source: &[u8]) -> Vec<Finding> {
    let model = ModelName::parse(MODEL.as_bytes()).unwrap();
    let versions = ["20170101000000", "20180413192258"].map(|version| version.as_bytes().to_vec());
    lint::lint(source, &About { model: &model, versions: &versions })
}

/// The good one with one text in place of another.
fn spoilt(from: &str, to: &str) -> Vec<u8> {
    let at = GOOD.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
    [&GOOD[..at], to.as_bytes(), &GOOD[at + from.len()..]].concat()
}

#[test]
fn a_good_service_conf_has_no_finding() {
    assert_eq!(lint(GOOD), []);
    let with_carriage_returns = GOOD.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    assert_eq!(lint(&with_carriage_returns), []);
    let without_discovery = spoilt("worker_count=8", "is_monitor=0");
    let end = without_discovery.windows(9).position(|w| w == b"[monitor]").unwrap();
    assert_eq!(lint(&without_discovery[..end]), []);
}

#[test]
fn each_fault_is_found_in_its_line() {
    for (from, to, line, what) in [
        (
            "port = 17019",
            "port = maxport",
            3,
            "port is still the template's maxport; write the service's port",
        ),
        ("port = 17019", "port = 0", 3, "port is \u{201c}0\u{201d}; write a number from 1 to 65535"),
        ("port = 17019\t# the port", "port =", 3, "port has no value; write the port that"),
        ("port = 17019\t# the port\n", "", 1, "[common] has no port; write port=... in [common]"),
        ("17019\t# the port", "17019#the port", 3, "a remark is glued to the value of \u{201c}port\u{201d}"),
        ("17019\t# the port", "17019 --the port", 3, "\u{201c}--the port\u{201d} follows the value of"),
        ("worker_count", "worker_cuont", 4, "not a key that is known; write worker_count, if that is meant"),
        ("worker_count", "zk_addr", 4, "zk_addr is in section \u{201c}common\u{201d}; move it to [monitor]"),
        ("worker_count=8", "worker_count 8", 4, "is neither KEY=VALUE nor a remark; write a # before it"),
        ("worker_count=8", "daemonize=0", 5, "\u{201c}daemonize\u{201d} is set in line 4 already; keep one"),
        ("[common]", "[comon]", 1, "not a section that is known; write [common], if that is meant"),
        ("[common]", "[common", 1, "has no ]; write [NAME]"),
        ("[common]\n", "", 2, "\u{201c}port\u{201d} is in no section; move it below [common]"),
        ("name=mblog_yellow", "name=mblog_black", 10, "not the model's; write name=mblog_yellow"),
        ("/w/plugin/mblog_yellow", "/w/plugin/other", 11, "modulepath is no library of mblog_yellow"),
        ("/lib/mblog_yellow.so", "/mblog_yellow.so", 11, "modulepath is no library of mblog_yellow; write /"),
        (
            "= /w/plugin/mblog_yellow/",
            "= w/",
            12,
            "moduleconfig is no data directory of mblog_yellow; write /",
        ),
        ("201804131922", "201704131922", 11, "modulepath names version \u{201c}20170413192258\u{201d}, and"),
        (
            "version=20180413192258",
            "version=20180413192259",
            14,
            "for example \u{201c}20180413192258\u{201d}",
        ),
        ("version=20180413192258", "version=demo_version", 14, "is not published in plugin/"),
        ("zk_addr=zk://", "zk_addr=", 20, "write zk://HOST:PORT,HOST:PORT,..."),
        ("zk_service_id=mblog_yellow", "zk_service_id=svc_name", 22, "still the template's svc_name"),
        ("zk_group_id=media_service\n", "", 19, "[monitor] has no zk_group_id"),
        ("[monitor]", "[monitoring]", 23, "and no section [monitor]"),
    ] {
        let findings = lint(&spoilt(from, to));
        let is_found = |finding: &Finding| finding.line == line && finding.to_string().contains(what);
        assert!(findings.iter().any(is_found), "{from} -> {to}: {findings:#?}");
    }
}

#[test]
fn one_fault_is_one_finding() {
    for (from, to) in [
        ("port = 17019", "port = maxport"),
        ("17019\t# the port", "17019#the port"),
        ("worker_count", "worker_cuont"),
        ("name=mblog_yellow", "name=svc_name"),
        ("/w/plugin/mblog_yellow", "/w/plugin/other"),
        ("zk_group_id=", "zk_grup_id = g # x\nzk_group_id="),
        ("zk_type_id=online\n", ""),
    ] {
        assert_eq!(lint(&spoilt(from, to)).len(), 1, "{from} -> {to}: {:?}", lint(&spoilt(from, to)));
    }
}

#[test]
fn a_key_that_is_the_services_own_is_no_finding() {
    for own in ["feature_file=/x", "p=1", "cache_conn_pool=3", "[cache]\nname=x\nprot=y", "Model=x"] {
        assert_eq!(lint(&spoilt("[module]", &format!("{own}\n[module]"))), [], "{own}");
    }
}

/// A service.conf in `config_N`, beside the two versions of [`lint`].
fn with_conf(world: &World, instance: &str, conf: &[u8]) {
    world.write(world.service(instance).join("service.conf"), conf);
    world.directory(world.service("plugin/20170101000000"));
    world.directory(world.service("plugin/20180413192258"));
}

fn conf(world: &World) -> String {
    String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap()
}

fn line_count(text: &str) -> usize {
    text.lines().count()
}

#[test]
fn what_a_registration_with_a_port_writes_needs_no_correction() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let told = ["--port", "17019", "--zk-group-id", "media_service", "--zk-service-id", "yellow"];
    let added = world.run(Tool::Add, Side::BINARY, &[REGISTER, &told].concat());
    assert_eq!(added.status, 0, "{}", added.stderr);
    assert!(
        added.stdout.contains("port 17019, zk_group_id media_service, zk_service_id yellow"),
        "{}",
        added.stdout
    );
    let checked = world.run(Tool::Add, Side::BINARY, CHECK);
    assert_eq!((checked.status, checked.stdout.as_str(), checked.stderr.as_str()), (0, "", ""));
    for line in ["port=17019", "name=mblog_yellow", "zk_group_id=media_service", "zk_service_id=yellow"] {
        assert!(conf(&world).lines().any(|l| l == line), "{line} in {}", conf(&world));
    }
    assert!(!world.path("monitor/scripts/dispatch/conf").exists(), "nobody named a member");
}

#[test]
fn what_the_script_writes_is_found_and_not_written_over() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    assert_eq!(world.run(Tool::Add, Side::SCRIPT, REGISTER).status, 0);
    let before = conf(&world);
    let checked = world.run(Tool::Add, Side::BINARY, CHECK);
    assert_eq!((checked.status, line_count(&checked.stdout), line_count(&checked.stderr)), (1, 5, 1));
    let path = world.service("config_1/service.conf");
    let first = format!("{}:3: port is still the template's maxport", path.display());
    assert!(checked.stdout.starts_with(&first), "{}", checked.stdout);
    let added = world.run(Tool::Add, Side::BINARY, &[REGISTER, &["--port", "17019"]].concat());
    assert!(added.stdout.contains("was there and is not changed"), "{}", added.stdout);
    assert_eq!(conf(&world), before);
}

#[test]
fn every_instance_is_looked_at_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    with_conf(&world, "config_1", GOOD);
    with_conf(&world, "config_2", &spoilt("port = 17019", "port = maxport"));
    let before = Tree::read(&world.root, &model_rollout::machine::clock::now());
    let checked = world.run(Tool::Add, Side::BINARY, CHECK);
    assert_eq!((checked.status, line_count(&checked.stdout)), (1, 1));
    assert!(checked.stdout.contains("config_2/service.conf:3: "), "{}", checked.stdout);
    assert!(checked.stderr.contains("1 finding in the service.conf of mblog_yellow (2 looked at)"));
    assert!(checked.tree == before, "{:?}", checked.tree);
}

fn cannot_look(outcome: &Outcome, what: &str) {
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""), "{what}");
    assert!(outcome.stderr.contains(what) && line_count(&outcome.stderr) == 1, "{}", outcome.stderr);
}

#[test]
fn what_cannot_be_read_is_told_apart_from_findings() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let check = || world.run(Tool::Add, Side::BINARY, CHECK);
    cannot_look(&check(), "there is no ");
    with_conf(&world, "config_1", b"");
    let empty = check();
    assert_eq!(empty.status, 1);
    assert!(empty.stdout.contains("config_1/service.conf:1: there is no port, and no section [common]"));
    world.directory(world.service("config_2/service.conf"));
    cannot_look(&check(), "config_2/service.conf is not a regular file");
    fs::remove_dir_all(world.path("monitor")).unwrap();
    cannot_look(&check(), "monitor is not a directory");
}

#[test]
fn a_site_has_templates_of_its_own() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let templates = "monitor/scripts/dispatch/conf/templates";
    let built_in = fs::read(project().join("src/tools/add_dispatch_docker/templates/model.conf")).unwrap();
    let own = [&b"#\xc4\xa3\xb0\xe5 $x\n"[..], &built_in].concat();
    world.write(format!("{templates}/ctr.conf"), &own);
    let unknown = world.run(Tool::Add, Side::BINARY, &["cvr", MODEL, MODEL, "--port", "17019"]);
    assert!(unknown.stderr.contains("not a known TYPE; those there are: ctr, model"), "{}", unknown.stderr);
    let untold = world.run(Tool::Add, Side::BINARY, &["ctr", MODEL, MODEL]);
    assert!(
        untold.stderr.contains("ctr.conf needs to be told the port; add --port PORT"),
        "{}",
        untold.stderr
    );
    assert_eq!((unknown.status, untold.status), (2, 2));
    assert!(!world.service("").exists(), "nothing was made");

    let added = world.run(Tool::Add, Side::BINARY, &["ctr", MODEL, MODEL, "--port", "17019"]);
    assert_eq!(added.status, 0, "{}", added.stderr);
    let made = world.read(world.service("config_1/service.conf"));
    assert!(made.starts_with(b"#\xc4\xa3\xb0\xe5 $x\n[common]\n"), "every other byte stays");
    assert_eq!(world.run(Tool::Add, Side::BINARY, CHECK).status, 0);

    world.write(format!("{templates}/bad.conf"), "[common]\nport=${port}\n");
    let bad = world.run(Tool::Add, Side::BINARY, &["bad", "other", "other", "--port", "17020"]);
    assert_eq!(bad.status, 2);
    assert!(bad.stderr.contains("templates/bad.conf:2: there is no name"), "{}", bad.stderr);
}
