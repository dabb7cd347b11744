//! `dispatch --all --jobs N`: a model that takes long delays neither the others nor their next tick.

use std::time::{Duration, Instant};

use crate::harness::outcome::shown;
use crate::harness::parts::need;
use crate::harness::world::{MODEL, SERVICE_CONF};
use crate::harness::{Sandbox, Side, Tool, World, wait_until};

const V: &str = "20180413192258";
const OTHER: &str = "other";
const LOG: &str = "monitor/scripts/dispatch/log/jobs.log";

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
    let data = "monitor/rsync_service_data";
    world.write_with_mode(format!("{data}/datamining_plugin/{OTHER}/lib/{OTHER}.so"), "library\n", 0o755);
    world.write(format!("{data}/datamining_plugin/{OTHER}/data/x"), "x");
    world.write(format!("{data}/datamining_plugin/{OTHER}/success"), V);
    world.directory(format!("{data}/datamining_service/{OTHER}/plugin"));
    world.write(format!("{data}/datamining_service/{OTHER}/config_1/service.conf"), SERVICE_CONF);
    let stanza = |model: &str| {
        format!(
            "mymodel=\"{model}\"\necho \"begin $mymodel\" >> ${{logFile}}\n\
             sh dispatch.sh $mymodel /data1/plugin/$mymodel $mymodel.so >> ${{logFile}}\n\
             echo \"end $mymodel\" >> ${{logFile}}\n"
        )
    };
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
