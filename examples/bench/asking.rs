//! Asking members by RPC, one in twenty of them dead: it accepts a connection and never answers.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use model_rollout::formats::service_control::{self, ServiceResult};
use model_rollout::machine::frames::{receive_frame, send_frame};

use crate::measure::{Subject, in_turns};
use crate::report::{Goal, Row};
use crate::{Bench, Result};

const MODEL: &str = "model_0";
const VERSION: &str = "20180413192258";
/// Who does not answer, by the last byte of the address.
const DEAD: u8 = 7;

/// A tick of an upgrade in flight. The script would ask one after the other, and wait two seconds for each of the dead.
pub fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let listener = TcpListener::bind("0.0.0.0:0").map_err(|e| format!("a port: {e}"))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = thread::Builder::new().stack_size(64 << 10).spawn(move || answer(stream));
        }
    });
    let sizes: &[(usize, f64)] = if bench.quick { &[(1000, 3.0)] } else { &[(1000, 3.0), (10_000, 6.0)] };
    sizes.iter().map(|&(members, seconds)| row(bench, port, members, seconds)).collect()
}

fn answer(mut stream: TcpStream) {
    let is_dead =
        stream.local_addr().is_ok_and(|at| matches!(at.ip(), IpAddr::V4(ip) if ip.octets()[3] % 20 == DEAD));
    while let Ok(message) = receive_frame(&mut stream) {
        if is_dead {
            continue;
        }
        let result = ServiceResult { value: VERSION.to_owned(), ..ServiceResult::default() };
        let reply =
            service_control::read_call(&message).and_then(|call| service_control::reply(&call, &result));
        if !reply.is_ok_and(|reply| send_frame(&mut stream, &reply).is_ok()) {
            return;
        }
    }
}

fn row(bench: &Bench, port: u16, members: usize, seconds: f64) -> Result<Row> {
    let root = bench.work.join("asking");
    let io = |e: std::io::Error| format!("{}: {e}", root.display());
    let data = root.join("rsync_service_data");
    let service = data.join("datamining_service").join(MODEL);
    for dir in [data.join("datamining_plugin").join(MODEL), service.join("config_1"), service.join("plugin")]
    {
        std::fs::create_dir_all(dir).map_err(io)?;
    }
    let conf = format!(
        "modulepath=/p/{VERSION}/lib/{MODEL}.so\nmoduleconfig=/p/{VERSION}/data\nmoduleversion={VERSION}\n"
    );
    std::fs::write(service.join("config_1/service.conf"), conf).map_err(io)?;
    std::fs::create_dir_all(root.join("scripts/dispatch/conf")).map_err(io)?;
    let addresses: Vec<String> = (0..members)
        .map(|n| {
            Ipv4Addr::from(0x7f01_0000 + u32::try_from(n / 200 * 256 + n % 200 + 1).unwrap_or(0)).to_string()
        })
        .collect();
    let list = format!("members={}\nmoduleport={port}\nprobe=rpc\nprobe_timeout=2\n", addresses.join(","));
    std::fs::write(root.join("scripts/dispatch/conf").join(format!("{MODEL}.env.sh")), list).map_err(io)?;
    let before = || std::fs::write(service.join("status"), format!("{VERSION}\n")).map_err(io);
    let command = || {
        let mut command = Command::new("sh");
        // The default limit of open files.
        command.args(["-c", "ulimit -n 1024; exec \"$@\"", "sh"]);
        command.arg(bench.binaries.join("dispatch")).args([MODEL, "/p", &format!("{MODEL}.so")]);
        command.env("MONITOR_ROOT", &root);
        command
    };
    let rounds = if bench.quick { 1 } else { 3 };
    let mut runs = in_turns(rounds, &[Subject { before: &before, command: &command }])?;
    std::fs::remove_dir_all(&root).map_err(io)?;
    let ours = runs.pop().ok_or("one subject")?;
    let what = format!("asking {members} members, 5 % of them dead, time limit 2 s, 1,024 open files");
    let beside = format!("one after the other: at least {} s", members / 20 * 2);
    Ok(Row::new(what, ours, beside)
        .goals(&[Goal::Seconds(seconds), Goal::Memory(64.0)])
        .if_missed("400 are asked at once, so that the open files suffice, and each of the dead holds its place for 2 s; more at once would need a larger limit"))
}
