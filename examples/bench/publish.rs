//! Publishing a version: copied, checked against its manifest, made durable, renamed, announced; beside `cp -r` and `sync`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::version::Version;

use crate::measure::{Subject, in_turns};
use crate::report::Row;
use crate::{Bench, Result};

const MODEL: &str = "model_0";
const VERSION: &str = "20180413192258";
const CONFIGURATION: &str = "[module]\nmodulepath=/x\nmoduleconfig=/x\nmoduleversion=20170101000000\n";

/// A large model of few files, and one of many.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let smaller = if bench.quick { 16 } else { 1 };
    Ok(vec![
        row(bench, 3, (1 << 30) / 3 / smaller, "of 1 GiB in 3 files")?,
        row(bench, 20_000 / smaller, 4096, "of 20,000 files of 4 KiB")?,
    ])
}

fn row(bench: &Bench, files: usize, size: usize, what: &str) -> Result<Row> {
    let root = bench.work.join("publish");
    let io = |e: std::io::Error| format!("{}: {e}", root.display());
    let upload = root.join("rsync_service_data/datamining_plugin").join(MODEL);
    let service = root.join("rsync_service_data/datamining_service").join(MODEL);
    build(&upload, files, size).map_err(io)?;
    seal(&upload).map_err(|e| e.to_string())?;
    let copy = root.join("copy");
    let before_dispatch = || reset(&service).map_err(io);
    let dispatch = || {
        let mut command = Command::new(bench.binaries.join("dispatch"));
        command.args([MODEL, "/prefix", &format!("{MODEL}.so")]).env("MONITOR_ROOT", &root);
        command
    };
    let before_copy = || {
        if copy.exists() { std::fs::remove_dir_all(&copy).map_err(io) } else { Ok(()) }
    };
    let copied = || {
        let mut command = Command::new("dash");
        command.args(["-c", "cp -r \"$1\" \"$2\" && sync -f \"$2\"", "copy"]).args([&upload, &copy]);
        command
    };
    let subjects = [
        Subject { before: &before_dispatch, command: &dispatch },
        Subject { before: &before_copy, command: &copied },
    ];
    let rounds = if bench.quick { 3 } else { 7 };
    let [ours, theirs] = <[_; 2]>::try_from(in_turns(rounds, &subjects)?).map_err(|_| "two subjects")?;
    std::fs::remove_dir_all(&root).map_err(io)?;
    let smaller = if bench.quick { ", a sixteenth of it" } else { "" };
    Ok(Row {
        what: format!("publish a version {what}{smaller}"),
        beside: "cp -r; sync -f".to_owned(),
        ours,
        theirs,
        goal: Some(1.0),
        memory_goal: Some(16 << 20),
    })
}

fn build(upload: &Path, files: usize, size: usize) -> std::io::Result<()> {
    for dir in ["lib", "data"] {
        std::fs::create_dir_all(upload.join(dir))?;
    }
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for number in 0..files {
        let path = match number {
            0 => upload.join("lib").join(format!("{MODEL}.so")),
            _ => {
                let dir = upload.join("data").join(format!("{}", number / 256));
                std::fs::create_dir_all(&dir)?;
                dir.join(format!("{number}"))
            }
        };
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for _ in 0..size / 8 {
            file.write_all(&noise.next())?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(())
}

/// Bytes that neither compress nor repeat.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }
}

/// The manifest and the announcement of `rsync-push`.
fn seal(upload: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut files = BTreeMap::new();
    for part in ["lib", "data"] {
        let from = upload.join(part);
        let entries = trees::survey(&from)?;
        for (path, facts) in trees::digest(&from, &entries)? {
            files.insert([part.as_bytes(), b"/", path.as_slice()].concat(), facts);
        }
    }
    let version = Version::parse(VERSION.as_bytes())?;
    std::fs::write(upload.join(".manifest"), Manifest { version, files }.render())?;
    std::fs::write(upload.join("success"), format!("{VERSION}\n"))?;
    Ok(())
}

/// As before the version was published; what the kernel still has to write is written.
fn reset(service: &PathBuf) -> std::io::Result<()> {
    if service.exists() {
        std::fs::remove_dir_all(service)?;
    }
    for dir in ["plugin", "config_1"] {
        std::fs::create_dir_all(service.join(dir))?;
    }
    std::fs::write(service.join("config_1/service.conf"), CONFIGURATION)?;
    Command::new("sync").arg("-f").arg(service).status().map(drop)
}
