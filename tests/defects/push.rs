//! Rows about what a push leaves on the monitor.

use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World};
use crate::processes::stand_in_for_rsync;

fn pushed(world: &World, side: Side, arguments: &[&str]) -> String {
    let outcome = world.run(Tool::Push, side, arguments);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    String::from_utf8(world.read("deploy/online/success")).unwrap().trim().to_owned()
}

/// A tick meets a second push between its library and its data, while the first one's `success` is still there.
pub fn published_while_a_push_is_under_way(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.registered();
    world.deploy();
    let first = pushed(&world, side, &["update"]);
    // Of another size, as rsync.sh takes a file of the same size and second for the same file (defect 21).
    world.write_with_mode(format!("deploy/online/release/{LIBRARY}"), "second library\n", 0o755);
    world.write("deploy/online/data/feature.conf", "second feature\n");
    let rsync = crate::harness::parts::find("rsync").unwrap();
    let dies = format!("case $* in */data/*) kill -9 $PPID; exit 1;; esac\nexec {} \"$@\"", rsync.display());
    let mut second = world.command(Tool::Push, side, &["update"]);
    second.env("PATH", stand_in_for_rsync(&world, &dies));
    assert_eq!(world.finish(&mut second).status, -1, "it was killed");
    assert_eq!(
        world.read(world.upload(&format!("lib/{LIBRARY}"))),
        b"second library\n",
        "half of it has arrived"
    );
    let ticked = world.run(Tool::Dispatch, side, &[MODEL, PREFIX, LIBRARY]);
    let file = |path: &str| {
        let text = std::fs::read_to_string(world.service(&format!("plugin/{first}/{path}"))).ok()?;
        Some(text.trim().to_owned())
    };
    let Some((library, data)) = file(&format!("lib/{LIBRARY}")).zip(file("data/feature.conf")) else {
        let third = pushed(&world, side, &["update"]);
        assert_eq!(world.run(Tool::Dispatch, side, &[MODEL, PREFIX, LIBRARY]).status, 0);
        let whole = world.service(&format!("plugin/{third}/lib/{LIBRARY}")).exists();
        let whole = if whole { "published" } else { "lost" };
        return Some(format!("nothing published, exit {}; the push that follows: {whole}", ticked.status));
    };
    Some(format!("published: {library} with {data}"))
}

/// Whether a version still has a file that is no longer pushed, without and with `--delete`, which the script ignores.
pub fn a_file_that_was_deleted_from_the_model(side: Side) -> Option<String> {
    let sandbox = Sandbox::new();
    let mut seen = Vec::new();
    for arguments in [&["update"][..], &["update", "--delete"]] {
        let world = sandbox.world();
        world.registered();
        world.deploy();
        world.write(world.upload("data/gone"), "of an earlier push");
        let version = pushed(&world, side, arguments);
        assert_eq!(world.run(Tool::Dispatch, side, &[MODEL, PREFIX, LIBRARY]).status, 0);
        let stays = world.service(&format!("plugin/{version}/data/gone")).exists();
        seen.push(format!("{}: {}", arguments.join(" "), if stays { "stays" } else { "goes" }));
    }
    Some(seen.join(", "))
}
