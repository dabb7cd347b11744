//! The world of an interleaving, and how it is looked at: a monitor, members, pushes and members by hand.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use fs2::FileExt;
use model_rollout::version::Version;

use super::history::{Conf, Content};
use crate::harness::World;
use crate::harness::world::{MODEL, SERVICE_CONF, announced};

/// The files of every push, below the upload, in the order in which they are sent; then comes `success`.
const FILES: [&str; 3] = ["lib/mblog_yellow.so", "data/feature.conf", "data/fast_lr/predict.model"];
/// A push by hand takes two steps for each file and for `success`.
pub const PUSH_STEPS: usize = 2 * (FILES.len() + 1);

/// The version of a push by hand: older than every version of a push by program, which takes the time of day.
pub fn version_of(number: u32) -> String {
    format!("{}", 20_160_101_000_000_u64 + u64::from(number))
}

/// The name of a member.
pub fn member(index: usize) -> String {
    format!("127.0.0.1{}", index + 1)
}

fn content_of(number: u32) -> Vec<u8> {
    // Long enough to be copied in pieces by rsync's and the kernel's buffers.
    format!("push {number:04}\n").repeat(2000).into_bytes()
}

fn number_in(content: &[u8]) -> Option<u32> {
    let first: u32 = std::str::from_utf8(content.get(5..9)?).ok()?.parse().ok()?;
    (content == content_of(first)).then_some(first)
}

/// A model whose push 1 was published, and is served by every member.
pub fn set_up(world: &World, members: usize) {
    world.registered();
    let version = version_of(1);
    for file in FILES {
        for dir in [world.upload(file), world.service(&format!("plugin/{version}/{file}"))] {
            world.write_with_mode(dir, content_of(1), 0o755);
        }
        // rsync takes a file of the same size and second for the same file, and a world is built within a second.
        world.age(world.upload(file), 3600);
    }
    world.write(world.service(&format!("plugin/{version}/success")), format!("{version}\n"));
    world.service_conf("config_1", announced(SERVICE_CONF, &version));
    let names: Vec<String> = (0..members).map(member).collect();
    world.member_list(&names.join(","));
    for name in names {
        world.reported(&name, &version);
        world.member(&name);
        let workspace = format!("member-{name}/workspace");
        world.write(format!("{workspace}/bin/etc/service.conf"), announced(SERVICE_CONF, &version));
        for file in FILES {
            world.write(format!("{workspace}/plugin/{MODEL}/{version}/{file}"), content_of(1));
        }
        world.write(format!("{workspace}/plugin/{MODEL}/{version}/success"), format!("{version}\n"));
    }
    world.deploy();
}

/// Fills the deploy directory for a push by program.
pub fn fill_deploy(world: &World, number: u32) {
    for (file, from) in FILES.iter().zip(["release", "data", "data/fast_lr"]) {
        let name = Path::new(file).file_name().unwrap();
        world.write_with_mode(Path::new("deploy/online").join(from).join(name), content_of(number), 0o755);
    }
}

/// One step of a push by hand.
pub fn push_step(world: &World, number: u32, step: usize) {
    let (relative, content) = match FILES.get(step / 2) {
        Some(file) => (*file, content_of(number)),
        None => ("success", format!("{}\n", version_of(number)).into_bytes()),
    };
    let path = world.upload(relative);
    let temporary = path.with_file_name(format!(".{}.a1B2c3", path.file_name().unwrap().to_string_lossy()));
    if step.is_multiple_of(2) {
        fs::write(temporary, content).unwrap();
    } else {
        fs::rename(temporary, path).unwrap();
    }
}

/// Writes a member's report in rsync's manner.
pub fn report(world: &World, member: &str, version: &str) {
    let path = world.service(&format!("version/{member}"));
    let temporary = path.with_file_name(format!(".{member}.a1B2c3"));
    fs::write(&temporary, format!("{version}\n")).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// The version that a service.conf names.
pub fn named_in(conf: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(conf);
    text.lines().find_map(|line| line.strip_prefix("moduleversion=")).map(str::to_owned)
}

/// What the monitor's service.conf is now.
pub fn conf(world: &World) -> Conf {
    let bytes = fs::read(world.service("config_1/service.conf")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match named_in(&bytes) {
        Some(version) if text == announced(SERVICE_CONF, &version) => Conf::Whole(version),
        _ if without_values(&text) == without_values(SERVICE_CONF) => Conf::Half(text),
        _ => Conf::Broken(text),
    }
}

fn without_values(conf: &str) -> Vec<&str> {
    let keys = ["moduleversion=", "modulepath=", "moduleconfig="];
    conf.split('\n').map(|line| keys.into_iter().find(|key| line.starts_with(key)).unwrap_or(line)).collect()
}

/// The versions that can be seen in a directory.
pub fn versions_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// What a version's directory holds now.
pub fn content(place: &str, dir: &Path, version: &str) -> Content {
    let numbers = FILES.iter().map(|file| fs::read(dir.join(file)).ok().and_then(|bytes| number_in(&bytes)));
    let success = fs::read(dir.join("success")).ok().and_then(|bytes| Version::announced_in(&bytes));
    Content {
        place: place.to_owned(),
        version: version.to_owned(),
        numbers: numbers.collect(),
        success: success.map(|version| version.to_string()),
        at_the_end: false,
    }
}

/// Where a member keeps its versions.
pub fn member_versions(world: &World, member: &str) -> PathBuf {
    world.path(format!("member-{member}/workspace/plugin/{MODEL}"))
}

/// The locks that somebody holds although nothing runs.
pub fn locks_held(world: &World, members: usize) -> Vec<String> {
    let mut locks = vec![world.tick_lock(), world.state_lock(), world.path("deploy/.rsync-push.lock")];
    locks.extend((0..members).map(|m| world.member_state(&member(m)).with_file_name("lock")));
    let held =
        |path: &PathBuf| File::open(path).is_ok_and(|file| FileExt::try_lock_exclusive(&file).is_err());
    locks.iter().filter(|path| held(path)).map(|path| path.display().to_string()).collect()
}

/// Half-copied and discarded versions, and other files that a run should have put away.
pub fn leftovers(world: &World, members: usize) -> Vec<String> {
    let mut dirs = vec![world.service("plugin"), world.service(""), world.upload("")];
    dirs.extend((0..members).map(|m| member_versions(world, &member(m))));
    let expected = [".env.sh", ".manifest", ".rollout"];
    let entries = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    entries
        .filter(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            name.starts_with('.') && !name.ends_with(".new") && !expected.contains(&name.as_str())
        })
        .map(|e| e.path().display().to_string())
        .collect()
}

/// Files that mark an upgrade or a push.
pub fn in_flight(world: &World) -> Vec<String> {
    let files = [world.service("status"), world.upload("success")];
    files.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}
