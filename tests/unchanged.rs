//! What did not change between two versions is neither moved nor written again, and a version is the same as if all of it were.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::version::Version;
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::outcome::{Kind, Node, Tree};
use crate::harness::parts::{are_there, need};
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};
use crate::harness::{Sandbox, Side, Tool, World};
use crate::network::line::{Fault, Line};
use crate::shells::cases;

const OLD: &str = "20180413192258";
const NEW: &str = "20180501000000";
/// One that has the version before, and one that has nothing.
const MEMBERS: [&str; 2] = ["127.0.0.11", "127.0.0.12"];

/// A version's files: content and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Bytes that neither compress nor repeat.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes.div_ceil(8)).flat_map(|_| next()).take(bytes).collect()
}

/// A version as `dispatch` publishes it, or with no manifest as the script does; service.conf names it.
fn publish(world: &World, version: &str, files: &Files, with_manifest: bool) {
    let dir = world.service(&format!("plugin/{version}"));
    world.write(dir.join("success"), format!("{version}\n"));
    for (path, (content, mode)) in files {
        world.write_with_mode(dir.join(path), content, *mode);
    }
    if with_manifest {
        let files = trees::digest(&dir, &trees::survey(&dir).unwrap()).unwrap();
        let version = Version::parse(version.as_bytes()).unwrap();
        let manifest = Manifest { version: version.clone(), files }.render();
        world.write(world.service(&format!(".rollout/manifests/{version}")), manifest);
    }
    world.service_conf("config_1", announced(SERVICE_CONF, version));
}

/// Runs a tool to its end; the trees, which may be large here, are not looked at.
fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
}

fn poll(world: &World, member: &str) {
    let mut command = world.command(Tool::Poll, Side::BINARY, &[]);
    command.env("WATCH_ROOT", world.path(format!("member-{member}/watch")));
    command.env("WORKSPACE_ROOT", world.path(format!("member-{member}/workspace")));
    run(command);
}

fn installed(member: &str, version: &str) -> String {
    format!("member-{member}/workspace/plugin/{MODEL}/{version}")
}

fn tree(dir: &Path) -> BTreeMap<String, Node> {
    Tree::read(dir, &model_rollout::machine::clock::now()).0
}

/// Files of few paths and few contents, of which many have the same size.
fn files() -> impl Strategy<Value = Files> {
    let path = select(vec!["data/a", "data/b", "data/sub/a", "data/sub/ü \\n", "data/.dot", "data/sub/x/y"]);
    let content = select(vec![&b""[..], b"1", b"2", b"3", b"11", b"12"]);
    let content = (content, select(vec![1_usize, 700, 3000])).prop_map(|(part, times)| part.repeat(times));
    let mode = select(vec![0o644, 0o644, 0o755, 0o600, 0o664]);
    prop::collection::btree_map(path.prop_map(str::to_owned), (content, mode), 0..7).prop_map(|mut files| {
        files.insert(format!("lib/{LIBRARY}"), (b"library".to_vec(), 0o755));
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..cases(12) })]

    #[test]
    fn a_pull_beside_an_earlier_version_is_a_pull_of_all(
        old in files(), new in files(), with_manifests in any::<[bool; 2]>(), half in any::<bool>(),
    ) {
        if !are_there(&["rsync"]) {
            return Ok(());
        }
        let sandbox = Sandbox::new();
        let world = sandbox.world();
        world.registered();
        MEMBERS.iter().for_each(|member| world.member(member));
        publish(&world, OLD, &old, with_manifests[0]);
        poll(&world, MEMBERS[0]);
        let before = tree(&world.path(installed(MEMBERS[0], OLD)));
        publish(&world, NEW, &new, with_manifests[1]);
        if half {
            // A script that died has left it.
            world.write(format!("{}/data/a", installed(MEMBERS[0], NEW)), "2");
        }
        MEMBERS.iter().for_each(|member| poll(&world, member));
        let [beside, alone] = MEMBERS.map(|member| tree(&world.path(installed(member, NEW))));
        prop_assert_eq!(&beside, &alone);
        let kinds = |tree: BTreeMap<String, Node>| -> BTreeMap<String, Kind> {
            tree.into_iter().map(|(path, node)| (path, node.kind)).collect()
        };
        prop_assert_eq!(kinds(beside), kinds(tree(&world.service(&format!("plugin/{NEW}")))));
        prop_assert_eq!(before, tree(&world.path(installed(MEMBERS[0], OLD))), "a version never changes");
        let left = model_rollout::machine::files::names_in(world.path(installed(MEMBERS[0], "")).as_path());
        prop_assert_eq!(left.unwrap(), [OLD, NEW]);
    }
}

/// Two releases of which a part differs; returns the bytes that went over the line in the second one, and those of its files.
fn pulled(old: &Files, new: &Files, with_manifest: bool) -> (u64, u64) {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let line = Line::to(sandbox.daemon().port, Fault::None, Duration::ZERO);
    world.registered();
    world.member(MEMBERS[0]);
    let env = format!("member-{}/watch/env.sh", MEMBERS[0]);
    world.write(&env, [world.read(&env), format!("rsyncport={}\n", line.port).into_bytes()].concat());
    publish(&world, OLD, old, with_manifest);
    poll(&world, MEMBERS[0]);
    let first = line.bytes();
    publish(&world, NEW, new, with_manifest);
    poll(&world, MEMBERS[0]);
    for (path, (content, _)) in new {
        assert_eq!(&world.read(format!("{}/{path}", installed(MEMBERS[0], NEW))), content, "{path}");
    }
    let size = new.values().map(|(content, _)| content.len() as u64).sum();
    assert!(first > size, "the first release moves all of it");
    (line.bytes() - first, size)
}

fn library() -> (String, (Vec<u8>, u32)) {
    (format!("lib/{LIBRARY}"), (noise(1, 1000), 0o755))
}

#[test]
fn a_pull_moves_only_what_changed_of_a_large_file() {
    need!("rsync");
    let mut content = noise(2, 8 << 20);
    let file =
        |content: &[u8]| Files::from([library(), ("data/large".to_owned(), (content.to_vec(), 0o644))]);
    let old = file(&content);
    let (places, part) = (8, content.len() / 100 / 8);
    for place in 0..places {
        let at = content.len() / places * place + 12_345;
        content[at..at + part].copy_from_slice(&noise(3 + place as u64, part));
    }
    for with_manifest in [true, false] {
        let (moved, size) = pulled(&old, &file(&content), with_manifest);
        println!("1 % of a file of {size} bytes: {moved} bytes, manifest: {with_manifest}");
        assert!(moved * 100 <= size * 3, "{moved} of {size}");
    }
}

#[test]
fn a_pull_moves_only_the_files_that_changed() {
    need!("rsync");
    let files = |release: u64| -> Files {
        let seed = |number: u64| if number % 100 == 7 { number + release * 1000 } else { number };
        let file = |number| (format!("data/{number}"), (noise(seed(number), 20_000), 0o644));
        (0..400).map(file).chain([library()]).collect()
    };
    let (moved, size) = pulled(&files(1), &files(2), true);
    println!("4 of 400 files, {size} bytes: {moved} bytes");
    assert!(moved * 100 <= size * 3, "{moved} of {size}");
}

/// By hand, or by the disk: neither its size nor its time tells.
#[test]
fn what_was_damaged_on_a_member_is_fetched_again() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.member(MEMBERS[0]);
    let files = Files::from([library(), ("data/a".to_owned(), (noise(4, 5000), 0o644))]);
    publish(&world, OLD, &files, true);
    poll(&world, MEMBERS[0]);
    let damaged = format!("{}/data/a", installed(MEMBERS[0], OLD));
    let modified = std::fs::metadata(world.path(&damaged)).unwrap().modified().unwrap();
    world.write(&damaged, noise(5, 5000));
    std::fs::File::options().write(true).open(world.path(&damaged)).unwrap().set_modified(modified).unwrap();
    publish(&world, NEW, &files, true);
    poll(&world, MEMBERS[0]);
    let inode = |version: &str, file: &str| {
        std::fs::metadata(world.path(installed(MEMBERS[0], version)).join(file)).unwrap().ino()
    };
    assert_eq!(world.read(format!("{}/data/a", installed(MEMBERS[0], NEW))), noise(4, 5000));
    assert_ne!(inode(OLD, "data/a"), inode(NEW, "data/a"));
    let library = format!("lib/{LIBRARY}");
    assert_eq!(inode(OLD, &library), inode(NEW, &library), "what is the same is the same file");
}

/// An upload as `rsync-push` leaves it.
fn upload(world: &World, version: &str, files: &Files) {
    let mut named = model_rollout::digest::Files::default();
    for (path, (content, mode)) in files {
        world.write_with_mode(world.upload(path), content, *mode);
    }
    for part in ["data", "lib"] {
        let dir = world.upload(part);
        for (path, facts) in trees::digest(&dir, &trees::survey(&dir).unwrap()).unwrap().iter() {
            named.insert(&[part.as_bytes(), b"/", path].concat(), *facts);
        }
    }
    let manifest = Manifest { version: Version::parse(version.as_bytes()).unwrap(), files: named };
    world.write(world.upload(".manifest"), manifest.render());
    world.write(world.upload("success"), format!("{version}\n"));
}

/// Publishes an upload and ends its upgrade.
fn dispatch(world: &World, version: &str) {
    run(world.command(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]));
    for file in [world.service("status"), world.upload("success")] {
        std::fs::remove_file(file).unwrap();
    }
    assert!(world.service(&format!("plugin/{version}/lib/{LIBRARY}")).is_file());
}

fn node(path: &Path) -> (u64, u32, Vec<u8>) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.ino(), metadata.mode() & 0o7777, std::fs::read(path).unwrap())
}

#[test]
fn a_publication_links_what_is_the_same_to_the_version_before_and_nothing_to_the_upload() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    let file = |name: &str, seed, mode| (format!("data/{name}"), (noise(seed, 3000), mode));
    let old =
        [file("same", 1, 0o644), file("changed", 2, 0o644), file("mode", 3, 0o644), file("rotten", 4, 0o644)];
    let new =
        [file("same", 1, 0o644), file("changed", 9, 0o644), file("mode", 3, 0o755), file("rotten", 4, 0o644)];
    upload(&world, OLD, &old.into_iter().chain([library()]).collect());
    dispatch(&world, OLD);
    let rotten = world.service(&format!("plugin/{OLD}/data/rotten"));
    let modified = std::fs::metadata(&rotten).unwrap().modified().unwrap();
    world.write(&rotten, noise(5, 3000));
    std::fs::File::options().write(true).open(&rotten).unwrap().set_modified(modified).unwrap();
    let files: Files = new.into_iter().chain([library()]).collect();
    upload(&world, NEW, &files);
    dispatch(&world, NEW);
    for (path, (content, mode)) in &files {
        let [old, new] = [OLD, NEW].map(|version| node(&world.service(&format!("plugin/{version}/{path}"))));
        let uploaded = node(&world.upload(path));
        assert_eq!((new.1, &new.2), (*mode, content), "{path}");
        let is_same = path == "data/same" || path.starts_with("lib/");
        assert_eq!(new.0 == old.0, is_same, "{path} is the file of the version before");
        assert!(
            uploaded.0 != new.0 && uploaded.0 != old.0,
            "{path} is not the upload's, to which a push writes"
        );
    }
}

/// Without manifests on both sides nobody knows what is the same.
#[test]
fn a_version_that_a_script_pushed_or_published_is_copied() {
    need!("rsync");
    let sandbox = Sandbox::new();
    for forgotten in [".rollout/manifests", ".manifest"] {
        let world = sandbox.world();
        world.registered();
        let files = Files::from([library()]);
        upload(&world, OLD, &files);
        dispatch(&world, OLD);
        upload(&world, NEW, &files);
        match forgotten {
            ".rollout/manifests" => std::fs::remove_dir_all(world.service(".rollout/manifests")).unwrap(),
            _ => std::fs::remove_file(world.upload(".manifest")).unwrap(),
        }
        dispatch(&world, NEW);
        let [old, new] =
            [OLD, NEW].map(|version| node(&world.service(&format!("plugin/{version}/lib/{LIBRARY}"))));
        assert_ne!(old.0, new.0, "without {forgotten}");
        assert_eq!(old.2, new.2);
    }
}

/// The script's rsync has no basis either but the upload of the push before.
#[test]
fn a_push_of_which_a_part_changed_moves_no_more_than_the_script() {
    need!("rsync", "dash");
    let sandbox = Sandbox::new();
    let moved = [Side::SCRIPT, Side::BINARY].map(|side| {
        let world = sandbox.world();
        let line = Line::to(sandbox.daemon().port, Fault::None, Duration::ZERO);
        world.registered();
        world.deploy();
        let env = world.deploy_env_sh() + &format!("rsyncport={}\n", line.port);
        world.write("deploy/env.sh", env);
        let mut content = noise(6, 4 << 20);
        world.write("deploy/online/data/large", &content);
        // Older than the push: the script's rsync takes a file of the same size and second for the same one, and would be spared
        // those that are pushed in the second in which they were written.
        for n in 0..300 {
            let file = format!("deploy/online/data/{n}");
            world.write(&file, noise(n, 10_000));
            world.age(&file, 3600);
        }
        run(world.command(Tool::Push, side, &["update"]));
        let first = line.bytes();
        model_rollout::machine::clock::pause_until_next_second();
        // The clock by which the kernel dates files is some milliseconds behind.
        model_rollout::machine::clock::pause(Duration::from_millis(50));
        content[1_000_000..1_040_000].copy_from_slice(&noise(7, 40_000));
        world.write("deploy/online/data/large", &content);
        world.write("deploy/online/data/17", noise(1017, 10_000));
        run(world.command(Tool::Push, side, &["update"]));
        assert!(world.read(world.upload("data/large")) == content, "{side}");
        assert!(world.read(world.upload("data/17")) == noise(1017, 10_000), "{side}");
        line.bytes() - first
    });
    println!("a second push of 7 MiB, 50 kB of them changed: script {} bytes, binary {}", moved[0], moved[1]);
    assert!(moved[1] <= moved[0], "{moved:?}");
}
