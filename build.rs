//! Links the unwinder, which Rust's standard library expects in a shared library (libgcc_s), into the binaries: to load that
//! library is a tenth of what a start costs. Where the compiler has no such archive, the shared library it is.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    // What links is `cc`, unless cargo is told otherwise. It prints a path if it has the file, and otherwise only the name.
    let linker = std::env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let answer = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output();
    let is_there =
        answer.is_ok_and(|answer| Path::new(&*String::from_utf8_lossy(&answer.stdout)).is_absolute());
    if is_there && std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        // As gcc -static-libgcc does. Both come before libgcc_s, of which nothing is then needed.
        println!("cargo::rustc-link-lib=gcc_eh");
        println!("cargo::rustc-link-lib=gcc");
    }
}
