//! Who does a step: a legacy script under a shell, or a binary in a locale.

use std::path::{Path, PathBuf};

use super::parts;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// add_dispatch_docker.sh, `add_dispatch_docker`.
    Add,
    /// rsync.sh, `rsync-push`.
    Push,
    /// dispatch.sh, `dispatch`.
    Dispatch,
    /// dispatchserver.sh, `dispatch --all`.
    Registry,
    /// service_polling.sh, `service_polling`.
    Poll,
    /// dockerrun.sh, `dockerrun`.
    DockerRun,
}

impl Tool {
    /// The script's file name.
    pub fn script(self) -> &'static str {
        match self {
            Tool::Add => "add_dispatch_docker.sh",
            Tool::Push => "rsync.sh",
            Tool::Dispatch => "dispatch.sh",
            Tool::Registry => "dispatchserver.sh",
            Tool::Poll => "service_polling.sh",
            Tool::DockerRun => "dockerrun.sh",
        }
    }

    /// The binary under test.
    pub fn binary(self) -> PathBuf {
        under_test(match self {
            Tool::Add => env!("CARGO_BIN_EXE_add_dispatch_docker"),
            Tool::Push => env!("CARGO_BIN_EXE_rsync-push"),
            Tool::Dispatch | Tool::Registry => env!("CARGO_BIN_EXE_dispatch"),
            Tool::Poll => env!("CARGO_BIN_EXE_service_polling"),
            Tool::DockerRun => env!("CARGO_BIN_EXE_dockerrun"),
        })
    }
}

/// The binary that cargo built for this test run, or its namesake in the directory that `MODEL_ROLLOUT_BINARIES` names:
/// long experiments take the release binaries.
pub fn under_test(built: &str) -> PathBuf {
    match std::env::var_os("MODEL_ROLLOUT_BINARIES") {
        Some(dir) if !dir.is_empty() => Path::new(&dir).join(Path::new(built).file_name().expect("a name")),
        _ => PathBuf::from(built),
    }
}

/// Who does a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The script, by this shell, under `LC_ALL=C`: the reference.
    Script(&'static str),
    /// The binary, in this locale.
    Binary(&'static str),
}

impl Side {
    /// The reference.
    pub const SCRIPT: Side = Side::Script("dash");
    /// The binary as cron runs it.
    pub const BINARY: Side = Side::Binary("C");
    /// Everybody who must leave the same behind; the reference first. A locale that is not installed is one, too: the
    /// binary has to ignore it.
    pub const ALL: [Side; 5] = [
        Side::Script("dash"),
        Side::Script("bash"),
        Side::Binary("C"),
        Side::Binary("C.UTF-8"),
        Side::Binary("zh_CN.GBK"),
    ];

    /// Its locale.
    pub fn locale(self) -> &'static str {
        match self {
            Side::Script(_) => "C",
            Side::Binary(locale) => locale,
        }
    }

    /// The program and its first arguments.
    pub fn command_line(self, tool: Tool) -> Vec<PathBuf> {
        match self {
            // The registry is a script that belongs to the monitor, as cron runs it there.
            Side::Script(shell) if tool == Tool::Registry => vec![shell.into(), tool.script().into()],
            Side::Script(shell) => vec![PathBuf::from(shell), parts::legacy_scripts().join(tool.script())],
            Side::Binary(_) if tool == Tool::Registry => vec![tool.binary(), "--all".into()],
            // Nobody comes up behind the stand-in for docker.
            Side::Binary(_) if tool == Tool::DockerRun => vec![tool.binary(), "--timeout=0".into()],
            Side::Binary(_) => vec![tool.binary()],
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Side::Script(shell) => write!(f, "script ({shell})"),
            Side::Binary(locale) => write!(f, "binary (LC_ALL={locale})"),
        }
    }
}
