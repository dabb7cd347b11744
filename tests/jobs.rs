//! `dispatch --all --jobs N`: a model that takes long delays neither the others nor their next tick.

use std::time::{Duration, Instant};

use model_rollout::machine::trees::same_content;

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{MODEL, SERVICE_CONF};
use crate::harness::{Sandbox, Side, Tool, World, wait_until};

const V: &str = "20180413192258";
const OTHER: &str = "other";
const LOG: &str = "monitor/scripts/dispatch/log/jobs.log";

/// A model with an upload of so many files besides its library, below the other one's stanza.
fn uploaded(world: &World, model: &str, files: usize) {
    let data = "monitor/rsync_service_data";
    let upload = format!("{data}/datamining_plugin/{model}");
    world.write_with_mode(format!("{upload}/lib/{model}.so"), "library\n", 0o755);
    for number in 0..files {
        world.write(format!("{upload}/data/{}/{number}", number % 7), format!("{number}\n").repeat(99));
    }
    world.write(format!("{upload}/success"), V);
    world.directory(format!("{data}/datamining_service/{model}/plugin"));
    world.write(format!("{data}/datamining_service/{model}/config_1/service.conf"), SERVICE_CONF);
}

fn stanza(model: &str) -> String {
    format!(
        "mymodel=\"{model}\"\necho \"begin $mymodel\" >> ${{logFile}}\n\
         sh dispatch.sh $mymodel /data1/plugin/$mymodel $mymodel.so >> ${{logFile}}\n\
         echo \"end $mymodel\" >> ${{logFile}}\n"
    )
}

/// Two models with an upload each. Asking the member of the first one takes until `go` is there.
fn two_models(world: &World) {
    world.registered();
    world.uploaded(&format!("{V}\n"));
    let program = format!(
        "#!/bin/sh\n: > {root}/asked\nwhile [ ! -e {root}/go ]; do sleep 0.02; done\necho {V}\n",
        root = world.root.display()
    );
    world.write_with_mode("ask", program, 0o755);
    world.member_list("127.0.0.11");
    let settings = format!("probe=command probe_command={}/ask probe_timeout=60\n", world.root.display());
    world.member_list_says(&settings);
    uploaded(world, OTHER, 1);
    world.write(world.registry(), format!("logFile=../log/jobs.log\n{}{}", stanza(MODEL), stanza(OTHER)));
}

#[test]
fn a_model_that_takes_long_delays_neither_the_others_nor_the_next_tick() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    two_models(&world);
    let mut first = world.command(Tool::Registry, Side::BINARY, &["--jobs", "2"]).spawn().unwrap();
    wait_until("the member is asked", || world.path("asked").exists());
    let log = || String::from_utf8(std::fs::read(world.path(LOG)).unwrap_or_default()).unwrap();
    wait_until("the other model is published", || log().contains(&format!("end {OTHER}\n")));
    let others = format!("begin {OTHER}\nupdate {OTHER} to {V}\n{OTHER}: members unknown");
    assert!(log().starts_with(&others), "{}", log());
    let begun = Instant::now();
    let second = world.run(Tool::Registry, Side::BINARY, &["--jobs", "2"]);
    assert_eq!((second.status, second.stderr.as_str()), (0, ""), "{}", shown(&second));
    assert!(begun.elapsed() < Duration::from_secs(30), "it did not wait for the first");
    assert!(!log().contains(&format!("update {MODEL}")), "what the first says comes in one piece");
    world.write("go", "");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    let piece =
        format!("begin {MODEL}\nupdate {MODEL} to {V}\n{MODEL}: all 1 members have {V}\nend {MODEL}\n");
    assert!(log().ends_with(&piece), "{}", log());
}

/// As with the script: the log says what is being done.
#[test]
fn without_it_one_is_done_after_the_other_and_each_line_is_written_at_once() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    two_models(&world);
    let mut tick = world.command(Tool::Registry, Side::BINARY, &[]).spawn().unwrap();
    wait_until("the member is asked", || world.path("asked").exists());
    let log = String::from_utf8(world.read(LOG)).unwrap();
    assert_eq!(log, format!("begin {MODEL}\nupdate {MODEL} to {V}\n"));
    assert_eq!(world.run(Tool::Registry, Side::BINARY, &[]).status, 75);
    world.write("go", "");
    assert_eq!(tick.wait().unwrap().code(), Some(0));
    let log = String::from_utf8(world.read(LOG)).unwrap();
    assert!(log.contains(&format!("end {MODEL}\nbegin {OTHER}\nupdate {OTHER} to {V}\n")), "{log}");
    for wrong in ["0", "33", "x"] {
        assert_eq!(world.run(Tool::Registry, Side::BINARY, &["--jobs", wrong]).status, 2);
    }
}

/// Threads that work beside each other die together, wherever each of them is.
#[test]
fn jobs_that_are_killed_show_nothing_half_done_and_the_next_tick_finishes_them() {
    need!("rsync");
    const MODELS: [&str; 4] = ["a", "b", "c", "d"];
    const KILLED: u32 = 12;
    let sandbox = Sandbox::new();
    let mut copying = 0;
    for moment in 0..KILLED {
        let world = sandbox.world();
        world.registered();
        MODELS.iter().for_each(|model| uploaded(&world, model, 300));
        let stanzas: String = MODELS.iter().map(|model| stanza(model)).collect();
        world.write(world.registry(), format!("logFile=../log/jobs.log\n{stanzas}"));
        let data = world.path("monitor/rsync_service_data");
        let plugin = |model: &str| data.join(format!("datamining_service/{model}/plugin"));
        let staging = |model: &&str| plugin(model).join(format!(".staging-{V}")).exists();
        let is_whole = |model: &&str| {
            let upload = data.join(format!("datamining_plugin/{model}"));
            same_content(&upload, &plugin(model).join(V)).unwrap()
        };
        let tick = || world.command(Tool::Registry, Side::BINARY, &["--jobs", "4"]);
        let mut run = tick().spawn().unwrap();
        while !MODELS.iter().any(staging) && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_millis(2) * moment);
        let _ = run.kill();
        run.wait().unwrap();
        copying += usize::from(MODELS.iter().any(staging));
        for model in &MODELS {
            assert!(!plugin(model).join(V).exists() || is_whole(model), "moment {moment}: half of {model}");
        }
        let outcome = world.finish(&mut tick());
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "moment {moment}");
        assert!(MODELS.iter().all(|model| is_whole(model) && !staging(model)), "moment {moment}");
    }
    println!("killed while models were copied: {copying} of {KILLED}");
    assert!(copying > 0, "no copy was met");
}
