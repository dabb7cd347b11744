//! Fifos, sockets, devices and directories where files are expected, and files of a gibibyte.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::{Case, Expect, Program, VERSION, case, check, is_published};
use crate::harness::World;
use crate::harness::parts::is_root;
use crate::harness::world::MODEL;

/// A place, who meets it, and how that ends.
type Place = (Program, String, fn() -> Expect);

fn refused() -> Expect {
    Expect::Refused("")
}

fn either() -> Expect {
    Expect::Either
}

fn published() -> Expect {
    Expect::Done(is_published)
}

/// The files that are read, by whom.
fn places() -> Vec<Place> {
    let upload = |path: &str| format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/{path}");
    let service = |path: &str| format!("monitor/rsync_service_data/datamining_service/{MODEL}/{path}");
    vec![
        (Program::Dispatch, upload("success"), refused),
        (Program::Dispatch, upload(".manifest"), refused),
        (Program::Dispatch, service("status"), refused),
        (Program::Dispatch, service(".rollout/state.json"), refused),
        // Where there is no state, whatever stands here was made from one that is lost.
        (Program::Dispatch, service(".rollout/announcement"), refused),
        (Program::Dispatch, service("config_1/service.conf"), refused),
        (Program::Dispatch, service("config_2/service.conf"), refused),
        // Whoever reports such a thing has not reported.
        (Program::Dispatch, service("version/127.0.0.11"), published),
        // The version is published; then the list cannot be read.
        (Program::Dispatch, format!("monitor/scripts/dispatch/conf/{MODEL}.env.sh"), either),
        (Program::All, "monitor/scripts/dispatch/bin/dispatchserver.sh".to_owned(), either),
        (Program::Add, "monitor/scripts/dispatch/bin/dispatchserver.sh".to_owned(), refused),
        (Program::Push, "deploy/env.sh".to_owned(), refused),
        (Program::Push, "deploy/online/success".to_owned(), refused),
        (Program::Poll, "member-127.0.0.11/watch/env.sh".to_owned(), refused),
        (Program::Poll, "member-127.0.0.11/workspace/bin/etc/service.conf".to_owned(), refused),
        (Program::Poll, "member-127.0.0.11/workspace/bin/etc/.rollout/state.json".to_owned(), refused),
        (Program::Poll, service("config_1/service.conf"), refused),
        (Program::ToggleRsyncd, "rsyncd.conf".to_owned(), refused),
        (Program::ToggleCrontab, "crontab".to_owned(), refused),
    ]
}

/// What may lie where something else is expected.
fn put(world: &World, place: &str, kind: &str) {
    let path = world.path(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_dir_all(&path);
    let _ = fs::remove_file(&path);
    match kind {
        "fifo" => nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o644)).unwrap(),
        "socket" => socket(&path),
        "directory" => fs::create_dir(&path).unwrap(),
        "file" => fs::write(&path, "x").unwrap(),
        // /dev/zero never ends, /dev/full takes nothing.
        "device without an end" => device(&path, 5),
        _ => device(&path, 7),
    }
}

fn device(path: &Path, minor: u64) {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor)).unwrap();
}

fn socket(path: &Path) {
    // A socket's name must be short.
    let short = path.ancestors().find(|dir| dir.ends_with("world")).unwrap().with_file_name("s");
    drop(UnixListener::bind(&short).unwrap());
    fs::rename(short, path).unwrap();
}

pub fn special() -> Vec<Case> {
    let mut kinds = vec!["fifo", "socket", "directory"];
    if is_root() {
        kinds.extend(["device without an end", "full device"]);
    }
    let mut more = places();
    let upload = |path: &str| format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/{path}");
    let service = |path: &str| format!("monitor/rsync_service_data/datamining_service/{MODEL}/{path}");
    let locks = "monitor/scripts/dispatch/lock";
    more.extend([
        (Program::Dispatch, format!("{locks}/{MODEL}.tick"), refused as fn() -> Expect),
        (Program::Dispatch, format!("{locks}/{MODEL}.state"), refused),
        (Program::Push, "deploy/.rsync-push.lock".to_owned(), refused),
        (Program::Poll, "member-127.0.0.11/workspace/bin/etc/.rollout/lock".to_owned(), refused),
        (Program::ToggleCrontab, ".crontab.lock".to_owned(), refused),
    ]);
    let mut cases = Vec::new();
    for kind in kinds {
        for (program, place, expect) in &more {
            cases.push(at(*program, place.clone(), kind, expect()));
        }
        if kind != "directory" {
            cases.push(at(
                Program::Dispatch,
                upload("data/x"),
                kind,
                Expect::Refused("is a device, a fifo or a link"),
            ));
            cases.push(at(
                Program::Dispatch,
                upload("lib"),
                kind,
                Expect::Refused("is a device, a fifo or a link"),
            ));
            cases.push(at(Program::Dispatch, service("plugin"), kind, refused()));
            cases.push(at(Program::Dispatch, service(".rollout/manifests"), kind, refused()));
            cases.push(at(Program::Dispatch, service("config_2"), kind, published()));
            cases.push(at(Program::Poll, service("plugin/20170101000000"), kind, refused()));
            cases.push(at(Program::Push, "deploy/online/.manifest".to_owned(), kind, either()));
            cases.push(at(Program::Push, "deploy/online/data/x".to_owned(), kind, either()));
        }
        cases.push(at(Program::Dispatch, service(&format!("plugin/{VERSION}")), kind, refused()));
    }
    // And the reverse: a file where a directory is expected.
    for (program, place, expect) in [
        (Program::Dispatch, upload("lib"), refused()),
        (Program::Dispatch, upload("data"), published()),
        (Program::Dispatch, service("plugin"), refused()),
        (Program::Dispatch, service(".rollout/manifests"), refused()),
        (Program::Dispatch, service("version"), published()),
        (Program::Dispatch, service("config_1"), refused()),
        (Program::Dispatch, service("config_2"), published()),
        (Program::Push, "deploy/online/data".to_owned(), refused()),
        (Program::Push, "deploy/online/release".to_owned(), refused()),
        (Program::Push, "deploy/online".to_owned(), refused()),
        (Program::Poll, "member-127.0.0.11/workspace".to_owned(), refused()),
        (Program::Poll, "member-127.0.0.11/workspace/temp".to_owned(), refused()),
        (Program::Poll, "member-127.0.0.11/workspace/bin".to_owned(), either()),
        (Program::Poll, service("plugin/20170101000000"), refused()),
        (Program::Add, "monitor/rsync_service_data/datamining_plugin/another".to_owned(), refused()),
        (Program::Add, "monitor/rsync_service_data/datamining_service/another".to_owned(), either()),
    ] {
        cases.push(at(program, place, "file", expect));
    }
    cases
}

fn at(program: Program, place: String, kind: &'static str, expect: Expect) -> Case {
    case(program, format!("{program:?}: a {kind} as {place}"), move |world| put(world, &place, kind), expect)
}

/// A gibibyte, no block of which is on the disk.
fn gibibyte(world: &World, place: &str) {
    let path = world.path(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(1 << 30).unwrap();
}

pub fn large() -> Vec<Case> {
    let mut cases: Vec<Case> = places()
        .into_iter()
        .map(|(program, place, expect)| {
            let what = format!("{program:?}: a gibibyte as {place}");
            case(program, what, move |world| gibibyte(world, &place), expect())
        })
        .collect();
    let upload = |path: &str| format!("monitor/rsync_service_data/datamining_plugin/{MODEL}/{path}");
    // More than any disk of a test machine has; none of it is copied.
    let tebibytes = upload("data/large");
    cases.push(case(
        Program::Dispatch,
        "a file of 15 TiB in an upload",
        move |world| {
            gibibyte(world, &tebibytes);
            let file = File::options().write(true).open(world.path(&tebibytes)).unwrap();
            // As much as the file system takes.
            assert!((0..5).any(|halved| file.set_len((15 << 40) >> halved).is_ok()));
        },
        Expect::Refused("bytes and the disk has"),
    ));
    cases.push(case(
        Program::Dispatch,
        "a hundred instances, each with a large service.conf",
        |world| {
            let conf = format!("#{}\nmoduleversion=1\nmodulepath=1\nmoduleconfig=1\n", "x".repeat(1 << 19));
            (2..102).for_each(|number| world.service_conf(&format!("config_{number}"), &conf));
        },
        Expect::Refused("such a file may have"),
    ));
    cases.push(case(
        Program::Poll,
        "a large manifest on the monitor",
        |world| {
            gibibyte(
                world,
                &format!(
                    "monitor/rsync_service_data/datamining_service/{MODEL}/.rollout/manifests/20170101000000"
                ),
            )
        },
        Expect::Refused("is no file of at most"),
    ));
    cases
}

#[test]
fn devices_fifos_sockets_and_directories_are_no_files() {
    check("special files", special());
}

#[test]
fn a_file_of_a_gibibyte_is_not_read() {
    check("large files", large());
}
