//! Uploads: deep, wide, oddly named, growing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Case, Expect, Program, VERSION, case, check, is_published};
use crate::harness::World;

pub fn cases() -> Vec<Case> {
    let dispatch = |what: &str, spoil: fn(&World), expect| case(Program::Dispatch, what, spoil, expect);
    vec![
        dispatch("directories 1000 deep", |world| deep(world, "d", 1000), Expect::Done(is_published)),
        dispatch(
            "directories 3000 deep",
            |world| deep(world, "d", 3000),
            Expect::Refused("file name too long"),
        ),
        dispatch(
            "directories with names of 255 signs, 15 deep",
            |world| deep(world, &"n".repeat(255), 15),
            Expect::Done(is_published),
        ),
        dispatch("20000 files", |world| wide(world, 20_000), Expect::Done(is_published)),
        dispatch("names that are no text", odd_names, Expect::Done(odd_names_are_there)),
        dispatch("set-id bits", set_id, Expect::Done(no_set_id)),
        dispatch("set-id bits of a service.conf", set_id_of_service_conf, Expect::Done(no_set_id)),
        dispatch("hard links", hard_links, Expect::Done(hard_links_are_files)),
        dispatch("a directory that nobody may read", unreadable, Expect::Done(is_published)),
        dispatch(
            "a thousand config directories without a file",
            |world| {
                (2..1002).for_each(|n| world.directory(world.service(&format!("config_{n}"))));
            },
            Expect::Done(is_published),
        ),
        dispatch(
            "names like ours in the upload",
            |world| {
                for name in [
                    ".staging-20180413192258/x",
                    ".success.removing",
                    ".rollout/state.json",
                    "data/.manifest",
                ] {
                    world.write(world.upload(name), "x");
                }
            },
            Expect::Done(is_published),
        ),
        dispatch(
            "a success being removed that is a directory",
            |world| {
                world.write(world.upload(".success.removing/x"), "x");
            },
            Expect::Refused(""),
        ),
        dispatch(
            "a file being replaced that is a directory",
            |world| {
                world.write(world.service("config_1/.service.conf.new/x"), "x");
            },
            Expect::Either,
        ),
        case(
            Program::Push,
            "a push of directories 1000 deep",
            |world| {
                deep_in(world, PathBuf::from("deploy/online/data"), "d", 1000);
            },
            Expect::Either,
        ),
        case(
            Program::Push,
            "a push of names that are no text",
            |world| {
                for name in NAMES {
                    world
                        .write(world.path("deploy/online/data").join(std::ffi::OsStr::from_bytes(name)), "x");
                }
            },
            Expect::Done(pushed_odd_names),
        ),
        growing(),
    ]
}

fn deep(world: &World, name: &str, depth: usize) {
    deep_in(world, world.upload("data"), name, depth);
}

/// Nests directories beyond what one path can name.
fn deep_in(world: &World, top: PathBuf, name: &str, depth: usize) {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    let mut dir = fs::File::open(world.path(top)).map(std::os::fd::OwnedFd::from).unwrap();
    for _ in 0..depth {
        mkdirat(&dir, name, Mode::from_bits_truncate(0o755)).unwrap();
        dir = openat(&dir, name, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
}

fn wide(world: &World, count: usize) {
    world.directory(world.upload("data/wide"));
    let dir = world.upload("data/wide");
    (0..count).for_each(|number| fs::write(dir.join(number.to_string()), "x").unwrap());
}

const NAMES: [&[u8]; 8] = [
    b"a\nb",
    b"a\\nb",
    b"\xff\xfe",
    b"-rf",
    b"#remark",
    b"a b\t*?[x]$(reboot)`reboot`'\"",
    b"\x1b[31mred",
    b"host::module",
];

fn odd_names(world: &World) {
    for name in NAMES {
        world.write(world.upload("data").join(std::ffi::OsStr::from_bytes(name)), "x");
    }
}

fn odd_names_are_there(world: &World) {
    is_published(world);
    for name in NAMES {
        let data = world.service(&format!("plugin/{VERSION}/data"));
        assert_eq!(world.read(data.join(std::ffi::OsStr::from_bytes(name))), b"x");
    }
}

fn pushed_odd_names(world: &World) {
    for name in NAMES {
        assert_eq!(world.read(world.upload("data").join(std::ffi::OsStr::from_bytes(name))), b"x");
    }
}

fn set_id(world: &World) {
    world.write_with_mode(world.upload("data/set-id"), "x", 0o6755);
    fs::set_permissions(world.upload("data/fast_lr"), fs::Permissions::from_mode(0o7777)).unwrap();
}

fn set_id_of_service_conf(world: &World) {
    let conf = world.service("config_1/service.conf");
    fs::set_permissions(conf, fs::Permissions::from_mode(0o6755)).unwrap();
}

fn no_set_id(world: &World) {
    is_published(world);
    let version = world.service("plugin").join(VERSION);
    let conf = world.service("config_1/service.conf");
    for path in [version.join("data"), version.join("data/set-id"), version.join("data/fast_lr"), conf] {
        let mode = path.symlink_metadata().map_or(0, |metadata| metadata.permissions().mode());
        assert_eq!(mode & 0o7000, 0, "{}", path.display());
    }
}

fn hard_links(world: &World) {
    fs::hard_link(world.upload("data/feature.conf"), world.upload("data/second name")).unwrap();
}

fn hard_links_are_files(world: &World) {
    is_published(world);
    let file = world.service(&format!("plugin/{VERSION}/data/second name"));
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&file.symlink_metadata().unwrap()), 1);
}

fn unreadable(world: &World) {
    fs::set_permissions(world.upload("data/fast_lr"), fs::Permissions::from_mode(0o000)).unwrap();
}

/// Somebody appends to a file as fast as it can be read.
fn growing() -> Case {
    let line = "f=monitor/rsync_service_data/datamining_plugin/mblog_yellow/data/growing; \
        head -c 30000000 /dev/zero > $f; \
        { while :; do head -c 1000000 /dev/zero; done >> $f & } 2> /dev/null; \
        \"$@\"; status=$?; kill $!; rm $f; exit $status";
    // It is found to have grown while it was read, or to have changed afterwards.
    case(Program::Dispatch, "a file that grows while it is read", |_| {}, Expect::Refused("")).through(line)
}

#[test]
fn an_upload_is_published_whole_or_not_at_all() {
    check("uploads", cases());
}
