//! A large tree is copied by several threads, and calls of other threads than the first are not counted: so it is killed after ever
//! longer times.

use std::time::Duration;

use model_rollout::machine::trees::same_content;

use crate::harness::parts::need;
use crate::harness::world::{LIBRARY, MODEL, PREFIX};
use crate::harness::{Sandbox, Side, Tool, World};

const V: &str = "20180413192258";

/// More than a copy needs to be shared by threads.
const FILES: usize = 1000;

/// How many runs are killed.
const KILLED: u32 = 16;

fn pushed(world: &World) {
    world.registered();
    for number in 0..FILES {
        world.write(world.upload(&format!("data/{}/{number}", number % 7)), format!("{number}\n").repeat(99));
    }
    world.uploaded(&format!("{V}\n"));
}

fn is_published_whole(world: &World) -> bool {
    let (upload, version) = (world.upload(""), world.service(&format!("plugin/{V}")));
    version.exists() && same_content(&upload, &version).unwrap()
}

#[test]
fn a_copy_by_threads_that_is_killed_shows_nothing_half_done_and_the_next_run_finishes_it() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let mut killed_while_it_copied = 0;
    for moment in 0..KILLED {
        let world = sandbox.world();
        pushed(&world);
        let mut tick = world.command(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
        let mut run = tick.spawn().unwrap();
        let staging = world.service(&format!("plugin/.staging-{V}"));
        while !staging.exists() && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_micros(500) * moment);
        let _ = run.kill();
        run.wait().unwrap();
        let version = world.service(&format!("plugin/{V}"));
        assert!(!version.exists() || is_published_whole(&world), "moment {moment}: half a version is there");
        killed_while_it_copied += usize::from(staging.exists());
        let outcome = world.run(Tool::Dispatch, Side::BINARY, &[MODEL, PREFIX, LIBRARY]);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "moment {moment}");
        assert!(is_published_whole(&world), "moment {moment}");
        let conf = String::from_utf8(world.read(world.service("config_1/service.conf"))).unwrap();
        assert!(conf.contains(&format!("moduleversion={V}\n")), "moment {moment}: {conf}");
        assert!(!staging.exists(), "moment {moment}");
    }
    println!("killed while it copied: {killed_while_it_copied} of {KILLED}");
    assert!(killed_while_it_copied > 0, "the instrument met no copy");
}
