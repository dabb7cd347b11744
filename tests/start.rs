//! What a start is made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use model_rollout::machine::locks::{Lock, Wait};
use nix::sys::signal::Signal;

use crate::harness::side::under_test;
use crate::harness::{Sandbox, Side, Tool, parts, wait_until};

/// Each library that is loaded is a tenth of what a start costs (docs/benchmarks.md): build.rs.
#[test]
fn a_binary_loads_the_c_library_and_no_other() {
    let answer = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    if !answer.is_ok_and(|answer| Path::new(&*String::from_utf8_lossy(&answer.stdout)).is_absolute()) {
        parts::skip("cc has no libgcc_eh.a, so that a shared library is loaded in its place");
        return;
    }
    for binary in [
        env!("CARGO_BIN_EXE_add_dispatch_docker"),
        env!("CARGO_BIN_EXE_rsync-push"),
        env!("CARGO_BIN_EXE_dispatch"),
        env!("CARGO_BIN_EXE_service_polling"),
        env!("CARGO_BIN_EXE_autoupdate-toggle"),
        env!("CARGO_BIN_EXE_port-registry"),
        env!("CARGO_BIN_EXE_dockerrun"),
        env!("CARGO_BIN_EXE_service-discovery"),
    ] {
        // What ldd does: the loader says what it would load.
        let output = Command::new(under_test(binary)).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let names =
            said.lines().filter_map(|line| Path::new(line.split_whitespace().next()?).file_name()?.to_str());
        // The loader itself, and what the kernel has in every process, are no files that are opened.
        let others: BTreeSet<&str> =
            names.filter(|name| !name.starts_with("ld-linux") && !name.starts_with("linux-vdso")).collect();
        assert_eq!(others, BTreeSet::from(["libc.so.6"]), "{binary}");
    }
}

/// What Rust's standard library does before a `main`, and the binaries do themselves. Seen on one that waits for its lock.
#[test]
fn a_closed_standard_stream_is_no_other_file_and_a_reader_that_has_gone_no_signal() {
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    world.write("ports.md", "| port | service id |\n|---|---|\n");
    let held = Lock::take(&world.path(".ports.md.lock"), Wait::No).unwrap();
    for (closed, line) in [
        ([0, 1, 2].as_slice(), "exec \"$@\" <&- >&- 2>&-"),
        (&[1], "exec \"$@\" >&-"),
        (&[0, 2], "exec \"$@\" <&- 2>&-"),
    ] {
        let mut command = Command::new("sh");
        world.prepare(&mut command, Tool::Add, Side::BINARY);
        command.args(["-c", line, "sh"]).arg(under_test(env!("CARGO_BIN_EXE_port-registry")));
        command.args(["add", "17020", "other", "--wait", "60", "--file"]).arg(world.path("ports.md"));
        let mut waiting = command.spawn().unwrap();
        let proc = PathBuf::from(format!("/proc/{}", waiting.id()));
        let file = |fd: i32| std::fs::read_link(proc.join(format!("fd/{fd}"))).unwrap_or_default();
        wait_until("it waits for its lock", || (0..16).any(|fd| file(fd).ends_with(".ports.md.lock")));
        let files: Vec<PathBuf> = closed.iter().map(|fd| file(*fd)).collect();
        let status = std::fs::read_to_string(proc.join("status")).unwrap();
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        assert!(files.iter().all(|file| file == Path::new("/dev/null")), "{line}: {files:?}");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        let ignored = u64::from_str_radix(ignored, 16).unwrap();
        let is_ignored = |signal: Signal| ignored >> (signal as i32 - 1) & 1 == 1;
        assert!(is_ignored(Signal::SIGPIPE) && is_ignored(Signal::SIGXFSZ), "{line}: {ignored:x}");
    }
    drop(held);
}
