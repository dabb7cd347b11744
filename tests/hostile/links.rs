//! Symbolic links that lead out of what a run is about: to a file, to a directory, by a relative path, by way of another
//! link, to nothing. The daemon lets everybody who reaches it make them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::{Case, Expect, Program, VERSION, anything, case, check, is_published};
use crate::harness::World;
use crate::harness::world::{LIBRARY, MODEL, SERVICE_CONF};

/// Where a link may lead, from a place that lies some directories below the sandbox.
const TARGETS: [(&str, &str); 6] = [
    ("a file", "outside/file"),
    ("a directory", "outside"),
    ("a directory by another link", "link-to-directory"),
    ("a service.conf", "outside/service.conf"),
    ("a success", "outside/success"),
    ("nothing", "outside/nothing"),
];

/// The locks of the model's tick, and of its state.
const TICK_LOCK: &str = "monitor/scripts/dispatch/lock/mblog_yellow.tick";
const STATE_LOCK: &str = "monitor/scripts/dispatch/lock/mblog_yellow.state";

/// Puts a link in the place of whatever is there.
fn replaced(world: &World, place: &str, target: &str) {
    let path = world.path(place);
    let _ = fs::remove_dir_all(&path);
    let _ = fs::remove_file(&path);
    world.link(place, target);
}

fn links(program: Program, place: String, expect: fn(&str) -> Expect) -> Vec<Case> {
    links_after(program, place, |_| {}, expect)
}

/// A case for each target and each way to write it.
fn links_after(program: Program, place: String, before: fn(&World), expect: fn(&str) -> Expect) -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (what, target)) in TARGETS.into_iter().enumerate() {
        // One way here, the other way at the next place.
        let absolute = (index + place.len()).is_multiple_of(2);
        let way = if absolute { "absolute" } else { "relative" };
        let name = format!("{way} link to {what} as {place}");
        let place = place.clone();
        let spoil = move |world: &World| {
            before(world);
            let sandbox = world.root.parent().unwrap().display().to_string();
            // From the link's directory up to the sandbox: the world's own directory is one more.
            let up = "../".repeat(place.split('/').count());
            let target = if absolute { format!("{sandbox}/{target}") } else { format!("{up}{target}") };
            replaced(world, &place, &target);
        };
        cases.push(case(program, name, spoil, expect(what)));
    }
    cases
}

pub fn cases() -> Vec<Case> {
    let upload = |path: &str| format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/{path}");
    let service = |path: &str| format!("monitor/rsync_service_data/datamining_service/{MODEL}/{path}");
    let refused: fn(&str) -> Expect = |_| Expect::Refused("");
    let published: fn(&str) -> Expect = |_| Expect::Done(is_published);
    let either: fn(&str) -> Expect = |_| Expect::Either;
    let mut cases = Vec::new();
    for place in ["lib", "data", "success", "data/x", "data/fast_lr/predict.model", ".manifest"] {
        cases.extend(links(Program::Dispatch, upload(place), refused));
    }
    for place in [
        "config_1/service.conf",
        "config_1",
        "config_2",
        "config_2/service.conf",
        "plugin",
        "status",
        ".rollout/state.json",
        ".rollout/announcement",
        ".rollout",
        ".rollout/manifests",
    ] {
        cases.extend(links(Program::Dispatch, service(place), refused));
    }
    cases.extend(links(Program::Dispatch, service(&format!("plugin/{VERSION}")), refused));
    cases.extend(links(Program::Dispatch, service("plugin/.staging-20180413192258"), published));
    cases.extend(links(Program::Dispatch, service("plugin/.discarded"), refused));
    for place in ["version", "version/127.0.0.11"] {
        cases.extend(links(Program::Dispatch, service(place), published));
    }
    // Beside what is being replaced.
    for place in [
        ".rollout/.state.json.new",
        ".rollout/.announcement.new",
        ".status.new",
        "config_1/.service.conf.new",
    ] {
        cases.extend(links(Program::Dispatch, service(place), published));
    }
    for model in ["datamining_plugin", "datamining_service"] {
        let place = format!("monitor/rsync_service_data/{model}/{MODEL}");
        cases.extend(links(Program::Dispatch, place, either));
        let place = format!("monitor/rsync_service_data/{model}/another");
        cases.extend(links(Program::Add, place, refused));
    }
    for place in [
        "datamining_service/another/config_1",
        "datamining_service/another/plugin",
        "datamining_plugin/another/lib",
    ] {
        cases.extend(links(Program::Add, format!("monitor/rsync_service_data/{place}"), refused));
    }
    cases.extend(links_after(
        Program::Dispatch,
        upload(".env.sh"),
        // Read where the monitor has no member list.
        |world| fs::remove_file(world.path(format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh"))).unwrap(),
        either,
    ));
    for (program, lock) in [
        (Program::Add, "monitor/scripts/dispatch/bin/.dispatchserver.sh.lock"),
        (Program::All, "monitor/scripts/dispatch/bin/.dispatchserver.sh.tick.lock"),
        (Program::Push, "deploy/.rsync-push.lock"),
        (Program::Dispatch, TICK_LOCK),
        (Program::Dispatch, STATE_LOCK),
        (Program::Poll, "member-127.0.0.11/workspace/bin/etc/.rollout/lock"),
        (Program::ToggleRsyncd, ".rsyncd.conf.lock"),
        (Program::ToggleCrontab, ".crontab.lock"),
    ] {
        // A failure of `--all` itself is one line.
        let expect = if program == Program::All { either } else { refused };
        cases.extend(links(program, lock.to_owned(), expect));
    }
    cases.extend(links_after(
        Program::Poll,
        "member-127.0.0.11/workspace/bin/etc/.rollout/incoming".to_owned(),
        |world| world.service_conf("config_1", SERVICE_CONF),
        |_| Expect::Done(anything),
    ));
    cases.extend(chains());
    cases
}

/// Links each of which stays in the upload, as its text reads, and that together leave it.
fn chains() -> Vec<Case> {
    let chain = |what: &str, links: &'static [(&'static str, &'static str)]| {
        let spoil = move |world: &World| {
            world.directory(world.upload("data/a/b"));
            links.iter().for_each(|(path, target)| world.link(world.upload(path), target));
        };
        case(Program::Dispatch, what, spoil, Expect::Refused("leaves the upload"))
    };
    vec![
        chain(
            "a link up by way of a link up",
            &[("data/a/b/up", "../.."), ("data/a/b/out", "up/../../../x")],
        ),
        chain("the same in two steps", &[("data/u", ".."), ("data/v", "u/../x")]),
        chain("a link to a directory that is a link", &[("data/l", "a/b"), ("data/m", "l/../../../../../x")]),
        chain("a link to itself and out", &[("data/s", "s"), ("data/t", "s/../../../x")]),
        case(
            Program::Dispatch,
            "links in a circle",
            |world| {
                world.link(world.upload("data/one"), "two");
                world.link(world.upload("data/two"), "one");
            },
            Expect::Done(is_published),
        ),
        case(
            Program::Dispatch,
            "a library that is a link within the upload",
            |world| {
                fs::rename(world.upload(&format!("lib/{LIBRARY}")), world.upload("lib/real.so")).unwrap();
                world.link(world.upload(&format!("lib/{LIBRARY}")), "real.so");
            },
            Expect::Refused("so no member could start"),
        ),
    ]
}

#[test]
fn a_link_that_leads_elsewhere_is_not_followed() {
    check("links", cases());
}

/// Between a look at a path and the change of its mode somebody may exchange it.
#[test]
fn a_mode_is_set_on_what_is_there_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("shadow"), dir.path().join("manifest"));
    fs::write(&target, "secret").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&target, &link).unwrap();
    let refused = model_rollout::machine::files::set_mode(&link, 0o644).unwrap_err().to_string();
    assert!(refused.starts_with("cannot set the mode of "), "{refused}");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
    model_rollout::machine::files::set_mode(&target, 0o640).unwrap();
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
}
