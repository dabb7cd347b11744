//! A little model service, as a member of the demo's fleet runs it: opens the library that service.conf names, and
//! answers over the services' RPC interface which version it loaded.
//!
//! `model_service CONF --address ADDRESS --workspace DIR --pid-file FILE`. The pid file appears when the service
//! listens, and goes when it is stopped by SIGTERM.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use model_rollout::formats::service_conf;
use model_rollout::layout;

mod model;
mod server;

use model::Model;

/// Serves the model that a service.conf names.
#[derive(Debug, Parser)]
struct Cli {
    /// The service.conf
    conf: PathBuf,
    /// The address to listen on; the port is in service.conf
    #[arg(long)]
    address: IpAddr,
    /// This member's WORKSPACE_ROOT
    #[arg(long)]
    workspace: PathBuf,
    /// Where the process id is left once the service listens
    #[arg(long)]
    pid_file: PathBuf,
}

fn main() -> ExitCode {
    match serve(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("model_service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: &Cli) -> Result<(), String> {
    let conf = fs::read(&cli.conf).map_err(|e| format!("{}: {e}", cli.conf.display()))?;
    let value = |key: &str| {
        let value = service_conf::value(&conf, key).and_then(|value| std::str::from_utf8(value).ok());
        value.ok_or(format!("{}: no {key}", cli.conf.display()))
    };
    let (name, port) = (value("name")?, value("port")?);
    let port: u16 = port.parse().map_err(|_| format!("{}: port={port} is no port", cli.conf.display()))?;

    // Once, at the start: what is answered is what was loaded, whatever the file says later.
    let version = value("moduleversion")?.to_owned();
    let library = in_workspace(value("modulepath")?, &cli.workspace);
    let data = in_workspace(value("moduleconfig")?, &cli.workspace);
    let model = Model::load(&library, &data)?;

    let listener = TcpListener::bind((cli.address, port))
        .map_err(|e| format!("cannot listen on {}:{port}: {e}", cli.address))?;
    stop_on_signal(&cli.pid_file)?;
    fs::write(&cli.pid_file, format!("{}\n", std::process::id()))
        .map_err(|e| format!("{}: {e}", cli.pid_file.display()))?;
    println!("{name} {version} ({}) serves on {}:{port}", model.release(), cli.address);
    server::run(&listener, Arc::new(server::Served { version, model }))
}

/// A path of service.conf on this host.
///
/// In production the container's mount does this: every member sees its own directory as [`layout::WORKSPACE`]. Several
/// members of the demo live on one host without containers, so the service maps that prefix to its own workspace.
fn in_workspace(path: &str, workspace: &Path) -> PathBuf {
    match Path::new(path).strip_prefix(layout::WORKSPACE) {
        Ok(below) => workspace.join(below),
        Err(_) => PathBuf::from(path),
    }
}

fn stop_on_signal(pid_file: &Path) -> Result<(), String> {
    let pid_file = pid_file.to_path_buf();
    ctrlc::set_handler(move || {
        let _ = fs::remove_file(&pid_file);
        std::process::exit(0);
    })
    .map_err(|e| format!("cannot handle signals: {e}"))
}
