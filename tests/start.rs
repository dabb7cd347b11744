//! What a start is made of.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::harness::parts;
use crate::harness::side::under_test;

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
