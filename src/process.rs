//! A process as the kernel describes it, and the name by which it cannot be mistaken for a later one.

use crate::names::shown;
use crate::time::LocalTime;

/// Which process: the kernel gives a number to another process later, but not at the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it was started, in clock ticks since the host was.
    pub started_ticks: u64,
}

/// Facts of one process, all of the same instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Which one.
    pub id: ProcessId,
    /// The number of the one that started it; 1 when that has ended.
    pub parent: i32,
    /// The program's name (`comm`), at most 15 bytes.
    pub program: Vec<u8>,
    /// Its command line; empty for a thread of the kernel.
    pub arguments: Vec<Vec<u8>>,
    /// When it was started.
    pub since: LocalTime,
}

impl Process {
    /// How messages call it: `pid 17 (“sleep 60”)`.
    pub fn shown(&self) -> String {
        let line = if self.arguments.is_empty() { self.program.clone() } else { self.arguments.join(&b' ') };
        format!("pid {} ({})", self.id.pid, shown(&line))
    }
}
