//! What goes over the wire: pulls and pushes of which a part changed, through a real rsync daemon.

use std::path::Path;
use std::process::Command;
use std::thread;

use model_rollout::formats::manifest::Manifest;
use model_rollout::machine::trees;
use model_rollout::version::Version;

use crate::daemon::{Daemon, Slow, over_loopback};
use crate::measure::{First, Runs, Subject, in_turns_from, run};
use crate::publish::Noise;
use crate::report::{Goal, Row};
use crate::{Bench, Result};

const MODEL: &str = "model_0";
const OLD: &str = "20180101000000";
const NEW: &str = "20180413192258";

/// A pull and a push, of one large file of which a part changed, and of many files of which some changed; and the pulls over a slow line.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let smaller = if bench.quick { 16 } else { 1 };
    let large =
        Shape { files: 1, size: (512 << 20) / smaller, what: "1 % of a 512 MiB file changed, in 64 places" };
    let many = Shape { files: 1000, size: 65_536 / smaller, what: "10 of 1,000 files of 64 KiB changed" };
    let mut rows = Vec::new();
    for shape in [&large, &many] {
        let pulled = row(bench, shape, pull, None)?.goals(&[Goal::Ratio(1.0), Goal::Bytes(0.03)]);
        rows.push(pulled.if_missed(match shape.files {
            1 => "time: both sides read the whole file to find the difference, it is checked by its digest and made durable, where the script's is only copied and left to the kernel; on loopback bytes cost nothing",
            _ => "time: four connections, or five for a large version, one of them while files are taken over, where the script makes three; of some 60 ms each for what is fetched, 20 ms are rsync's own sleep and 40 ms a daemon's without TCP_NODELAY (docs/scale.md). What is fetched is checked and made durable. Bytes: whatever else uses loopback is counted",
        }));
        rows.push(row(bench, shape, push, None)?.goals(&[Goal::Ratio(1.1), Goal::Bytes(1.0)]).if_missed(
            "time: every file is read for the manifest, and there are three connections more than the script's (whether the monitor answers, the manifest, env.sh). Bytes: these three connections",
        ));
    }
    // A network of its own is one of a thread.
    let slow = thread::scope(|scope| scope.spawn(|| slow_rows(bench, [&large, &many])).join());
    rows.extend(slow.map_err(|_| "the slow line: its thread ended".to_owned())??);
    Ok(rows)
}

fn slow_rows(bench: &Bench, shapes: [&Shape; 2]) -> Result<Vec<Row>> {
    let line = Slow::line();
    let goals = [Goal::Ratio(0.1), Goal::Bytes(0.03)];
    shapes
        .into_iter()
        .map(|shape| {
            let row = row(bench, shape, pull, Some(line))?.goals(&goals);
            Ok(row.if_missed("a poll's connections take the same third of a second, or more on a busy machine, whatever the model's size"))
        })
        .collect()
}

struct Shape {
    files: usize,
    size: usize,
    what: &'static str,
}

impl Shape {
    /// A release of it, without its library.
    fn write(&self, data: &Path, release: u64) -> std::io::Result<()> {
        std::fs::create_dir_all(data)?;
        for number in 0..self.files {
            let differs = release > 1 && self.files > 1 && number % (self.files / 10) == 0;
            let mut content = noise(1 + number as u64 + if differs { release << 32 } else { 0 }, self.size);
            if self.files == 1 && release > 1 {
                let part = self.size / 100 / 64;
                for place in 0..64 {
                    let at = self.size / 64 * place + 4321;
                    content[at..at + part].copy_from_slice(&noise(place as u64 + (release << 32), part));
                }
            }
            let path = data.join(format!("{number}"));
            let _ = std::fs::remove_file(&path);
            std::fs::write(path, content)?;
        }
        Ok(())
    }
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..size.div_ceil(8)).flat_map(|_| noise.next()).take(size).collect()
}

/// What is done by us and by the script, and how it is put back.
type Pair = fn(&Bench, &Path, u16, &Shape) -> std::io::Result<Sides>;

struct Sides {
    what: &'static str,
    beside: &'static str,
    before: Box<dyn Fn() -> std::io::Result<()>>,
    ours: Box<dyn Fn() -> Command>,
    script: Box<dyn Fn() -> Command>,
}

/// On loopback, or over a slow `line`, where a run takes so long that there are fewer.
fn row(bench: &Bench, shape: &Shape, pair: Pair, line: Option<Slow>) -> Result<Row> {
    let root = bench.work.join("wire");
    let io = |e: std::io::Error| format!("{}: {e}", root.display());
    std::fs::create_dir_all(root.join("monitor/rsync_service_data")).map_err(io)?;
    let daemon = Daemon::start(&root, line.map_or(&[][..], Slow::options))?;
    let sides = pair(bench, &root, daemon.port, shape).map_err(io)?;
    let before = || (sides.before)().map_err(io);
    let subjects =
        [&sides.ours, &sides.script].map(|command| Subject { before: &before, command: command.as_ref() });
    let (first, rounds) = match (line, bench.quick) {
        (None, false) => (First::IsForTheCaches, 3),
        (None, true) => (First::IsForTheCaches, 2),
        (Some(_), false) => (First::Counts, 2),
        (Some(_), true) => (First::Counts, 1),
    };
    let runs = in_turns_from(first, rounds, &subjects)?;
    let [ours, theirs] = <[Runs; 2]>::try_from(runs).map_err(|_| "two subjects")?;
    let mut moved = [0; 2];
    for (moved, command) in moved.iter_mut().zip([&sides.ours, &sides.script]) {
        before()?;
        let already = over_loopback()?;
        run(&mut command())?;
        *moved = over_loopback()? - already;
    }
    drop(daemon);
    std::fs::remove_dir_all(&root).map_err(io)?;
    let smaller = if bench.quick { ", a sixteenth of it" } else { "" };
    let how = line.map_or(String::new(), |line| format!(" {}", line.how()));
    let row = Row::new(format!("{}{how}: {}{smaller}", sides.what, shape.what), ours, sides.beside);
    Ok(row.theirs(theirs).bytes(moved[0], moved[1]))
}

fn pull(bench: &Bench, root: &Path, port: u16, shape: &Shape) -> std::io::Result<Sides> {
    let service = root.join("monitor/rsync_service_data/datamining_service").join(MODEL);
    let workspace = root.join("workspace");
    let named = |version: &str| {
        format!(
            "[module]\nmodulepath=/x/{version}/lib/{MODEL}.so\nmoduleconfig=/x/{version}/data\nmoduleversion={version}\n"
        )
    };
    for (version, release) in [(OLD, 1), (NEW, 2)] {
        let dir = service.join("plugin").join(version);
        std::fs::create_dir_all(dir.join("lib"))?;
        std::fs::write(dir.join("lib").join(format!("{MODEL}.so")), "library")?;
        shape.write(&dir.join("data"), release)?;
        std::fs::create_dir_all(service.join(".rollout/manifests"))?;
        std::fs::write(service.join(".rollout/manifests").join(version), manifest_of(&dir, version)?)?;
    }
    for dir in ["config_1", "version"] {
        std::fs::create_dir_all(service.join(dir))?;
    }
    std::fs::write(service.join("config_1/service.conf"), named(NEW))?;
    std::fs::create_dir_all(root.join("watch"))?;
    std::fs::write(
        root.join("watch/env.sh"),
        format!(
            "monitor=127.0.0.1\nrsyncport={port}\nmodulename={MODEL}\naddress=127.0.0.1\nservice_stop=true\nservice_start=true\n"
        ),
    )?;
    let versions = workspace.join("plugin").join(MODEL);
    copy(&service.join("plugin").join(OLD), &versions.join(OLD))?;
    let etc = workspace.join("bin/etc");
    let (before_workspace, installed) = (workspace.clone(), named(OLD));
    let before = move || {
        let _ = std::fs::remove_dir_all(versions.join(NEW));
        let _ = std::fs::remove_dir_all(&etc);
        std::fs::create_dir_all(&etc)?;
        std::fs::write(etc.join("service.conf"), &installed)?;
        sync(&before_workspace)
    };
    let root = root.to_path_buf();
    let command = move |mut command: Command| {
        command.env("WATCH_ROOT", root.join("watch")).env("WORKSPACE_ROOT", root.join("workspace"));
        command
    };
    let (binary, script) = (bench.binaries.join("service_polling"), bench.scripts.join("service_polling.sh"));
    let of_script = command.clone();
    Ok(Sides {
        what: "a pull",
        beside: "service_polling.sh",
        before: Box::new(before),
        ours: Box::new(move || command(Command::new(&binary))),
        script: Box::new(move || of_script(shell(&script, &[]))),
    })
}

fn manifest_of(dir: &Path, version: &str) -> std::io::Result<Vec<u8>> {
    let failed = |e: &dyn std::fmt::Display| std::io::Error::other(e.to_string());
    let files = trees::survey(dir).and_then(|survey| trees::digest(dir, &survey)).map_err(|e| failed(&e))?;
    let version = Version::parse(version.as_bytes()).map_err(|e| failed(&e))?;
    Ok(Manifest { version, files }.render())
}

fn push(bench: &Bench, root: &Path, port: u16, shape: &Shape) -> std::io::Result<Sides> {
    let upload = root.join("monitor/rsync_service_data/datamining_plugin").join(MODEL);
    let deploy = root.join("deploy");
    std::fs::create_dir_all(deploy.join("online/release"))?;
    std::fs::write(deploy.join("online/release").join(format!("{MODEL}.so")), "library")?;
    std::fs::write(
        deploy.join("env.sh"),
        format!("monitor=127.0.0.1\nmembers=127.0.0.1\nmodulename={MODEL}\nmoduleport=1\nrsyncport={port}\n"),
    )?;
    shape.write(&deploy.join("online/data"), 2)?;
    // What the push before left on the monitor, and of what it sent the manifest here.
    let earlier = root.join("earlier");
    shape.write(&earlier.join("data"), 1)?;
    std::fs::create_dir_all(earlier.join("lib"))?;
    std::fs::write(earlier.join("lib").join(format!("{MODEL}.so")), "library")?;
    std::fs::create_dir_all(root.join("monitor/rsync_service_data/datamining_plugin"))?;
    let manifest = manifest_of(&earlier, OLD)?;
    let before_deploy = deploy.clone();
    let before = move || {
        let _ = std::fs::remove_dir_all(&upload);
        copy(&earlier, &upload)?;
        // The backup of the push before is not what is measured.
        let _ = std::fs::remove_dir_all(before_deploy.join("backup"));
        let _ = std::fs::remove_file(before_deploy.join("online/success"));
        std::fs::write(before_deploy.join("online/.manifest"), &manifest)?;
        sync(&upload)
    };
    let (binary, script) = (bench.binaries.join("rsync-push"), bench.scripts.join("rsync.sh"));
    let of_script = deploy.clone();
    Ok(Sides {
        what: "a push",
        beside: "rsync.sh",
        before: Box::new(before),
        ours: Box::new(move || {
            let mut command = Command::new(&binary);
            command.arg("update").current_dir(&deploy);
            command
        }),
        script: Box::new(move || {
            let mut command = shell(&script, &["update"]);
            command.current_dir(&of_script);
            command
        }),
    })
}

fn shell(script: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("dash");
    command.arg(script).args(arguments);
    command
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Command::new("cp").arg("-r").args([from, to]).status().map(drop)
}

fn sync(path: &Path) -> std::io::Result<()> {
    Command::new("sync").arg("-f").arg(path).status().map(drop)
}
