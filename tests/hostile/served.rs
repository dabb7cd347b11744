//! What a daemon may serve to a poller that runs as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::{Case, Expect, Program, anything, case, check};
use crate::harness::World;
use crate::harness::parts::is_root;
use crate::harness::world::{LIBRARY, MODEL, SERVICE_CONF, announced};

const SERVED: &str = "20170101000000";

/// A path in the version that the daemon serves.
fn served(world: &World, path: &str) -> PathBuf {
    world.service(&format!("plugin/{SERVED}/{path}"))
}

fn installed(world: &World) -> PathBuf {
    world.path(format!("member-127.0.0.11/workspace/plugin/{MODEL}/{SERVED}"))
}

/// Whether the version is there with nothing but plain files and directories, none of them with set-id bits.
fn plain(world: &World) {
    assert_eq!(fs::read(installed(world).join("lib").join(LIBRARY)).unwrap(), b"library 1\n");
    let mut open = vec![installed(world)];
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().unwrap();
        assert!(metadata.is_file() || metadata.is_dir(), "{}", path.display());
        assert_eq!(metadata.permissions().mode() & 0o7000, 0, "{}", path.display());
        if metadata.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert_eq!(world.read("member-127.0.0.11/workspace/bin/etc/service.conf"), SERVICE_CONF.as_bytes());
}

pub fn cases() -> Vec<Case> {
    let poll = |what: &str, spoil: fn(&World), expect| case(Program::Poll, what, spoil, expect);
    let mut cases = vec![
        poll(
            "links that lead outside",
            |world| {
                world.link(served(world, "data/passwd"), "/etc/passwd");
                world.link(served(world, "data/up"), "../../../../../../outside");
                world.link(served(world, "lib/dir"), "/");
            },
            Expect::Done(plain),
        ),
        poll(
            "set-id bits",
            |world| {
                world.write_with_mode(served(world, "data/set-id"), "x", 0o6755);
                fs::set_permissions(served(world, "data"), fs::Permissions::from_mode(0o7777)).unwrap();
            },
            Expect::Done(plain),
        ),
        poll(
            "names that are no text",
            |world| {
                for name in ["data/a\nb", "data/-rf", "data/$(reboot)", "data/host::module"] {
                    world.write(served(world, name), "x");
                }
            },
            Expect::Done(plain),
        ),
        poll(
            "fifos",
            |world| {
                nix::unistd::mkfifo(&served(world, "data/fifo"), Mode::from_bits_truncate(0o644)).unwrap();
            },
            Expect::Done(plain),
        ),
        poll(
            "a version that is a file",
            |world| {
                fs::remove_dir_all(world.service(&format!("plugin/{SERVED}"))).unwrap();
                world.write(world.service(&format!("plugin/{SERVED}")), "x");
            },
            Expect::Refused(""),
        ),
        poll(
            "a version that is a link",
            |world| {
                fs::rename(world.service(&format!("plugin/{SERVED}")), world.service("plugin/real")).unwrap();
                world.link(world.service(&format!("plugin/{SERVED}")), "/etc");
            },
            Expect::Either,
        ),
        poll(
            "a service.conf that is a link",
            |world| {
                fs::remove_file(world.service("config_1/service.conf")).unwrap();
                world.link(world.service("config_1/service.conf"), "/etc/passwd");
            },
            Expect::Refused("has no file config_1/service.conf"),
        ),
        poll(
            "a service.conf that is a directory",
            |world| {
                fs::remove_file(world.service("config_1/service.conf")).unwrap();
                world.directory(world.service("config_1/service.conf"));
            },
            Expect::Refused(""),
        ),
        poll(
            "a service.conf of two megabytes",
            |world| world.service_conf("config_1", vec![b'#'; 2 << 20]),
            Expect::Refused("of at most 1048576 bytes"),
        ),
        poll(
            "a manifest that names other paths",
            |world| {
                world.write(
                    world.service(&format!(".rollout/manifests/{SERVED}")),
                    format!("model-rollout manifest 1 {SERVED}\n{} 644 1 ../x\nend 1\n", "a".repeat(64)),
                );
            },
            Expect::Refused("leaves the version's directory"),
        ),
        poll(
            "a manifest that is a link",
            |world| {
                world.link(world.service(&format!(".rollout/manifests/{SERVED}")), "/etc/passwd");
            },
            Expect::Refused("is no file of at most"),
        ),
        poll(
            "a manifest of another version",
            |world| {
                world.write(
                    world.service(&format!(".rollout/manifests/{SERVED}")),
                    "model-rollout manifest 1 20990101000000\nend 0\n",
                );
            },
            Expect::Refused(""),
        ),
        poll(
            "a directory where reports are",
            |world| world.directory(world.service("version/127.0.0.11/x")),
            Expect::Either,
        ),
        poll(
            "20000 files",
            |world| {
                (0..20_000)
                    .for_each(|number| fs::write(served(world, &format!("data/{number}")), "x").unwrap());
            },
            Expect::Done(anything),
        ),
    ];
    for version in ["..", "../../x", "/etc", "a/b", ".x", "-x", "x y", "\u{9ec4}", "a\u{1b}b", ""] {
        let conf = announced(SERVICE_CONF, version).replace("moduleversion= ", "moduleversion=");
        let says = if version == "x y" { "the monitor has no version x of" } else { "names no version" };
        let spoil = move |world: &World| world.service_conf("config_1", &conf);
        cases.push(case(Program::Poll, format!("the version {version:?}"), spoil, Expect::Refused(says)));
    }
    if is_root() {
        cases.push(poll(
            "devices",
            |world| {
                for (name, minor) in [("zero", 5), ("mem", 1)] {
                    let path = served(world, &format!("data/{name}"));
                    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor)).unwrap();
                }
            },
            Expect::Done(plain),
        ));
    }
    cases
}

#[test]
fn what_a_daemon_serves_is_plain_files_or_refused() {
    check("what a daemon serves", cases());
}
