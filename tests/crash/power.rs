//! Power loss: in one trace of each run, every name that others read was durable before it was seen, and before the next
//! step relied on it. The rules are in [`durability`](super::durability).
//!
//! On the test host nobody reads online/success: a push writes it in place, as a shell's `>` does, and rsync reads it.

use crate::crash::cases;
use crate::crash::durability::violations;
use crate::crash::{need_tracing, strace, trial};
use crate::harness::figures;

/// Whether others read a path, or the next run does: all but dot files, what is fetched for a moment, logs, and the list
/// of calls that the stand-ins write.
fn is_published(root: &str, path: &str) -> bool {
    let Some(relative) = path.strip_prefix(root) else { return false };
    let own = ["/.rollout/state.json", "/.rollout/announcement"].iter().any(|name| relative.ends_with(name));
    let below_temp = relative.contains("/workspace/temp") || relative.contains("/.rollout/incoming/");
    let hidden = relative.contains("/.") && !own;
    let ignored =
        relative.ends_with(".log") || relative == "/journal" || relative == "/deploy/online/success";
    // What lies in a lock is for people.
    let lock = relative.contains("/scripts/dispatch/lock");
    !hidden && !ignored && !below_temp && !lock
}

#[test]
fn whatever_is_published_outlives_a_power_cut() {
    need_tracing!();
    let trace = format!("{},execve,clone,clone3,fork,vfork", strace::trace_option());
    let (mut problems, mut traced) = (Vec::new(), 0);
    for case in cases::all() {
        let (calls, root) = trial::traced_run(&case, &["-f", "-e", &trace]);
        let names = calls.iter().filter(|call| {
            ["rename", "link"].iter().any(|name| call.name.starts_with(name)) && call.concerns(&root)
        });
        let (calls_of_world, names) =
            (calls.iter().filter(|call| call.concerns(&root)).count(), names.count());
        assert!(names > 0 || case.rsyncs > 0, "{}: nothing was published", case.name);
        // The first call is the start of the program itself.
        let found = violations(&calls[1..], &root, &|path| is_published(&root, path));
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", case.name)));
        println!("power: {}: {calls_of_world} calls, {names} names", case.name);
        traced += 1;
    }
    figures::record("runs traced for a power cut", traced);
    figures::record("losses", problems.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
