//! Publishing a version: copied, checked against its manifest, made durable, renamed, announced; beside `cp -r` and `sync`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use model_rollout::digest::Files;
use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::version::Version;

use crate::measure::{Subject, in_turns, run};
use crate::report::{Goal, Row};
use crate::{Bench, Result};

const MODEL: &str = "model_0";
const VERSION: &str = "20180413192258";
const CONFIGURATION: &str = "[module]\nmodulepath=/x\nmoduleconfig=/x\nmoduleversion=20170101000000\n";

/// The version that is published first where a part changes.
const BEFORE: &str = "20180101000000";

/// A large model of few files, and one of many; then one of which a part changed.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let smaller = if bench.quick { 16 } else { 1 };
    Ok(vec![
        row(bench, 3, (1 << 30) / 3 / smaller, None, "of 1 GiB in 3 files")?,
        row(bench, 20_000 / smaller, 4096, None, "of 20,000 files of 4 KiB")?,
        row(bench, 100, (1 << 30) / 100 / smaller, Some(100), "of 1 GiB in 100 files, one of them changed")?,
        row(bench, 20_000 / smaller, 4096, Some(100), "of 20,000 files of 4 KiB, 1 % of them changed")?,
    ])
}

/// `changed`: every so many-th file differs from the version before.
fn row(bench: &Bench, files: usize, size: usize, changed: Option<usize>, what: &str) -> Result<Row> {
    let root = bench.work.join("publish");
    let io = |e: std::io::Error| format!("{}: {e}", root.display());
    let upload = root.join("rsync_service_data/datamining_plugin").join(MODEL);
    let service = root.join("rsync_service_data/datamining_service").join(MODEL);
    let dispatch = || {
        let mut command = Command::new(bench.binaries.join("dispatch"));
        command.args([MODEL, "/prefix", &format!("{MODEL}.so")]).env("MONITOR_ROOT", &root);
        command
    };
    build(&upload, files, size).map_err(io)?;
    if let Some(every) = changed {
        seal(&upload, BEFORE).map_err(|e| e.to_string())?;
        reset(&service).map_err(io)?;
        run(&mut dispatch())?;
        for number in (0..files).step_by(every) {
            let path = place(&upload, number);
            let content = std::fs::read(&path).map_err(io)?.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
            // As rsync does it: a new file under the name.
            std::fs::remove_file(&path).and_then(|()| std::fs::write(&path, content)).map_err(io)?;
        }
    }
    seal(&upload, VERSION).map_err(|e| e.to_string())?;
    let copy = root.join("copy");
    let before_dispatch =
        || if changed.is_some() { take_back(&service) } else { reset(&service) }.map_err(io);
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
    let rounds = if bench.quick { 3 } else { 5 };
    let [ours, theirs] = <[_; 2]>::try_from(in_turns(rounds, &subjects)?).map_err(|_| "two subjects")?;
    std::fs::remove_dir_all(&root).map_err(io)?;
    let smaller = if bench.quick { ", a sixteenth of it" } else { "" };
    let bytes = (ours.written(), theirs.written());
    let row = Row::new(format!("publish a version {what}{smaller}"), ours, "cp -r; sync -f").theirs(theirs);
    let row = match changed {
        None => row.goals(&[Goal::Ratio(1.0), Goal::Memory(16.0)]),
        Some(_) => {
            row.bytes(bytes.0, bytes.1).goals(&[Goal::Ratio(0.1), Goal::Bytes(0.05), Goal::Memory(16.0)])
        }
    };
    Ok(row.if_missed(match (changed, files < 1000) {
        (None, true) => COPY_MISSED,
        (None, false) => MANY_MISSED,
        (Some(_), true) => LINK_MISSED,
        (Some(_), false) => MANY_LINKS_MISSED,
    }))
}

/// What a publication costs beside a copy.
const COPY_MISSED: &str = "every file is digested while it is copied, and the state, `status`, the manifest and the names are made durable one after the other: \
    some 50 ms here; `cp` does none of it";
/// The same for many files.
const MANY_MISSED: &str = "a copy costs as much processor time as `cp` does, the digests included; the rest is the disk's, and differs more from run to run than the two do";
/// What it costs where nearly nothing is copied.
const LINK_MISSED: &str = "the upload is read and digested, and so is the published file that gets a second name, so that neither a torn upload nor a rotten file is published: \
    that is to read twice what `cp` reads once and writes once, and no more is to be had but by trusting one of the two";
/// The same for many files.
const MANY_LINKS_MISSED: &str = "time: each file is opened twice and gets its name, so that neither a torn upload nor a rotten file is published. Bytes: with files of 4 KiB what is written \
    beside their content (names, link counts, a manifest of 2 MB) is what there is";

/// Where a file of a number is.
fn place(upload: &Path, number: usize) -> PathBuf {
    match number {
        0 => upload.join("lib").join(format!("{MODEL}.so")),
        _ => upload.join("data").join(format!("{}", number / 256)).join(format!("{number}")),
    }
}

/// As before the last version was published, the one before being there.
fn take_back(service: &Path) -> std::io::Result<()> {
    for path in [service.join("plugin").join(VERSION), service.join(".rollout/manifests").join(VERSION)] {
        let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
    }
    // Without a state nothing is in flight; the version before is known by its manifest.
    for name in ["status", ".rollout/state.json", ".rollout/announcement"] {
        let _ = std::fs::remove_file(service.join(name));
    }
    std::fs::write(service.join("config_1/service.conf"), CONFIGURATION)?;
    Command::new("sync").arg("-f").arg(service).status().map(drop)
}

fn build(upload: &Path, files: usize, size: usize) -> std::io::Result<()> {
    for dir in ["lib", "data"] {
        std::fs::create_dir_all(upload.join(dir))?;
    }
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for number in 0..files {
        let path = place(upload, number);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for _ in 0..size / 8 {
            file.write_all(&noise.next())?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(())
}

/// Bytes that neither compress nor repeat.
pub struct Noise(pub u64);

impl Noise {
    /// The next eight.
    pub fn next(&mut self) -> [u8; 8] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()
    }
}

/// The manifest and the announcement of `rsync-push`.
fn seal(upload: &Path, version: &str) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut files = Files::default();
    for part in ["data", "lib"] {
        let from = upload.join(part);
        for (path, facts) in trees::digest(&from, &trees::survey(&from)?)?.iter() {
            files.insert(&[part.as_bytes(), b"/", path].concat(), *facts);
        }
    }
    let named = Version::parse(version.as_bytes())?;
    std::fs::write(upload.join(".manifest"), Manifest { version: named, files }.render())?;
    std::fs::write(upload.join("success"), format!("{version}\n"))?;
    Ok(())
}

/// As before the version was published; what the kernel still has to write is written.
fn reset(service: &Path) -> std::io::Result<()> {
    if service.exists() {
        std::fs::remove_dir_all(service)?;
    }
    for dir in ["plugin", "config_1"] {
        std::fs::create_dir_all(service.join(dir))?;
    }
    std::fs::write(service.join("config_1/service.conf"), CONFIGURATION)?;
    Command::new("sync").arg("-f").arg(service).status().map(drop)
}
