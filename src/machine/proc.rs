//! The processes of this host, as /proc describes them; the one that was looked at is the one that is signalled.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::machine::clock;
use crate::names::Port;
use crate::process::{Process, ProcessId};

/// Clock ticks in a second, as /proc counts them on every Linux this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// A process that runs. `None` when there is none of that number, or it has ended and only waits to be noticed.
pub fn process(pid: i32) -> Option<Process> {
    let before = stat(pid)?;
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // The facts are those of one process if the number was not given to another one in between.
    let after = stat(pid).filter(|after| after.started_ticks == before.started_ticks)?;
    let arguments = command_line.strip_suffix(b"\0").unwrap_or(&command_line);
    Some(Process {
        id: ProcessId { pid, started_ticks: after.started_ticks },
        parent: after.parent,
        program: after.program,
        arguments: match arguments {
            b"" => Vec::new(),
            words => words.split(|b| *b == 0).map(<[u8]>::to_vec).collect(),
        },
        since: clock::ago(age(after.started_ticks)),
    })
}

/// The processes of a program, by its name.
pub fn of_program(name: &[u8]) -> Vec<Process> {
    let is_it = |pid: &i32| stat(*pid).is_some_and(|stat| stat.program == name);
    pids().filter(is_it).filter_map(process).filter(|process| process.program == name).collect()
}

/// The process that accepts connections to an address of this host. `None` when there is none, or it may not be looked at.
pub fn listening_on(at: SocketAddr) -> Option<Process> {
    let mut inodes = listeners("self")?;
    inodes.retain(|l| l.address == at || (l.address.port() == at.port() && l.address.ip().is_unspecified()));
    // Who listens on exactly this address has it, whoever listens everywhere.
    if inodes.iter().any(|listener| listener.address == at) {
        inodes.retain(|listener| listener.address == at);
    }
    let has_one = |pid: &i32| {
        let sockets = sockets(*pid).unwrap_or_default();
        inodes.iter().any(|listener| sockets.contains(&listener.inode))
    };
    pids().find(has_one).and_then(process)
}

/// Where somebody accepts connections to a port of this host. Fails when the kernel's table cannot be read.
pub fn listeners_on(port: Port) -> Result<Vec<SocketAddr>> {
    let Some(all) = listeners("self") else {
        return Err(Error::failed("cannot read /proc/self/net/tcp; mount /proc"));
    };
    Ok(all.into_iter().map(|l| l.address).filter(|at| at.port() == port.number()).collect())
}

/// Where a process accepts TCP connections. `None` when that may not be looked at.
pub fn listening(pid: i32) -> Option<Vec<SocketAddr>> {
    let sockets = sockets(pid)?;
    let table = listeners(&pid.to_string())?;
    Some(table.into_iter().filter(|l| sockets.contains(&l.inode)).map(|l| l.address).collect())
}

/// Whether a file, as a process names it, is the one that we call `ours`: its working directory and its root count.
/// `None` when they may not be looked at.
pub fn names_the_same_file(pid: i32, theirs: &Path, ours: &Path) -> Option<bool> {
    let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let their_root = PathBuf::from(format!("/proc/{pid}/root"));
    let within_ours = inode(&their_root).ok()? == inode(Path::new("/")).ok()?;
    let absolute = match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(directory) => directory.join(theirs),
        Err(_) if theirs.is_absolute() => theirs.to_path_buf(),
        Err(_) => return None,
    };
    if within_ours {
        let followed = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        return Some(followed(&absolute) == followed(ours));
    }
    let below = absolute.strip_prefix("/").unwrap_or(&absolute);
    Some(inode(&their_root.join(below)).is_ok_and(|theirs| inode(ours).is_ok_and(|ours| theirs == ours)))
}

/// The number of the process that holds a record lock on a file, as an rsync daemon does on its pid file; not positive
/// when it cannot be named here. `None` when nobody does, or there is no such file.
pub fn lock_holder(path: &Path) -> Result<Option<i32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, &e)),
    };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))
        .map_err(|e| Error::io("ask for the lock of", path, &e.into()))?;
    Ok((lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid))
}

/// Whether somebody holds an flock on an open file, by /proc/locks. `false`, too, where that is not there, or does not show whoever
/// is on another host or in another container.
pub fn is_flocked(file: &File) -> bool {
    let Ok(table) = fs::read_to_string("/proc/locks") else {
        log::debug!("who holds a lock is not known: /proc/locks cannot be read");
        return false;
    };
    name_in_locks(file).is_some_and(|name| table.lines().any(|line| is_flock_on(line, &name)))
}

/// A line of /proc/locks: number, `->` where somebody waits for the lock, kind, two words, process, `MAJOR:MINOR:INODE`, two numbers.
fn is_flock_on(line: &str, name: &str) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    fields.next() == Some("FLOCK") && fields.nth(3) == Some(name)
}

/// What /proc/locks calls an open file. It may be another device and inode than the file says that it has: of btrfs each subvolume
/// says a device of its own, of an overlay the files below it.
fn name_in_locks(file: &File) -> Option<String> {
    let metadata = file.metadata().ok()?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap_or_default();
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let device = field("mnt_id:").and_then(device_of_mount);
    let (major, minor) = device.unwrap_or_else(|| (libc::major(metadata.dev()), libc::minor(metadata.dev())));
    // Linux says it here from 5.14 on.
    let inode = field("ino:").map_or_else(|| metadata.ino().to_string(), str::to_owned);
    Some(format!("{major:02x}:{minor:02x}:{inode}"))
}

/// The device of a mount: the third field of its line in /proc/self/mountinfo, whose first is its number.
fn device_of_mount(mount: &str) -> Option<(u32, u32)> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    // A directory's name may hold any bytes.
    let table = String::from_utf8_lossy(&table);
    let line = table.lines().find(|line| line.split(' ').next() == Some(mount))?;
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What a process and its descendants have read so far, in bytes, from files and the network. `None` when the kernel does not
/// tell: it counts only with `CONFIG_TASK_IO_ACCOUNTING`, and names children only with `CONFIG_PROC_CHILDREN`.
pub fn bytes_read(pid: i32) -> Option<u64> {
    let mut total = bytes_read_by(pid)?;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        // One that has ended meanwhile has read what nobody counts.
        total = total.wrapping_add(bytes_read(child).unwrap_or(0));
    }
    Some(total)
}

fn bytes_read_by(pid: i32) -> Option<u64> {
    let counters = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counters.lines().find_map(|line| line.strip_prefix("rchar: "))?.trim().parse().ok()
}

/// Whether a process still runs.
pub fn is_running(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|stat| stat.started_ticks == id.started_ticks)
}

/// Asks a process to end (SIGTERM). One that has ended already is not an error; its number's next owner is never
/// signalled: the process is held by a pidfd while it is looked at once more.
pub fn terminate(id: ProcessId) -> Result<()> {
    let failed = |e: Errno| {
        let remedy = if e == Errno::EPERM { "; run as root or as that process's user" } else { "" };
        Error::failed(format!("cannot signal pid {}: {}{remedy}", id.pid, e.desc().to_lowercase()))
    };
    let held = match hold(id.pid) {
        Ok(held) => Some(held),
        Err(Errno::ESRCH) => return Ok(()),
        // Before Linux 5.3 there is none, and some containers forbid it; then the number is all there is.
        Err(Errno::ENOSYS | Errno::EPERM) => None,
        Err(e) => return Err(failed(e)),
    };
    if !is_running(id) {
        return Ok(());
    }
    let sent = match held {
        Some(held) => signal(&held),
        None => kill(Pid::from_raw(id.pid), Signal::SIGTERM),
    };
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(failed(e)),
    }
}

#[allow(unsafe_code)]
fn hold(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes two integers; a descriptor that it returns is new and belongs to nobody else.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0u32))?;
        i32::try_from(fd).map(|fd| OwnedFd::from_raw_fd(fd)).map_err(|_| Errno::EBADF)
    }
}

#[allow(unsafe_code)]
fn signal(held: &OwnedFd) -> nix::Result<()> {
    let no_information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the call takes integers and a null pointer, which it allows.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            held.as_raw_fd(),
            Signal::SIGTERM as i32,
            no_information,
            0u32,
        )
    };
    Errno::result(sent).map(drop)
}

/// What is used of /proc/PID/stat.
struct Stat {
    program: Vec<u8>,
    parent: i32,
    started_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `None` for a process that has ended (states Z and X), too.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name may hold blanks and parentheses, the fields behind it hold neither.
    let open = line.iter().position(|b| *b == b'(')?;
    let close = line.iter().rposition(|b| *b == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(line.get(close + 1..)?).ok()?.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Stat {
        program: line.get(open + 1..close)?.to_vec(),
        parent: fields.get(1)?.parse().ok()?,
        started_ticks: fields.get(19)?.parse().ok()?,
    })
}

fn age(started_ticks: u64) -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: f64 = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    let started = Duration::from_millis(started_ticks * (1000 / TICKS_PER_SECOND));
    Duration::try_from_secs_f64(uptime).unwrap_or_default().saturating_sub(started)
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A socket that accepts connections.
struct Listener {
    address: SocketAddr,
    inode: u64,
}

/// The listeners that a process sees: those of its network namespace.
fn listeners(pid: &str) -> Option<Vec<Listener>> {
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let v4 = table("tcp").ok()?;
    // A kernel without IPv6 has no such table.
    let v6 = table("tcp6").unwrap_or_default();
    Some(v4.lines().chain(v6.lines()).filter_map(parse_listener).collect())
}

/// A line of /proc/net/tcp: number, local address, remote address, state (0A: listening), four fields, user, time, inode.
fn parse_listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    // Words of four bytes in the host's byte order.
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        bytes.extend(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes());
    }
    let ip = match *bytes.as_slice() {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address: SocketAddr::new(ip, port), inode: fields.get(9)?.parse().ok()? })
}

/// The inodes of a process's sockets; `None` when its open files may not be looked at.
fn sockets(pid: i32) -> Option<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let inode = |entry: fs::DirEntry| -> Option<u64> {
        let target = fs::read_link(entry.path()).ok()?;
        let target = target.as_os_str().as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
        std::str::from_utf8(target).ok()?.parse().ok()
    };
    Some(entries.flatten().filter_map(inode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let line = |state: &str| format!("17 (a) b) ({state}) {state} 5 {} 298428 9", ["0"; 17].join(" "));
        let stat = parse_stat(line("S").as_bytes()).unwrap();
        assert_eq!(
            (stat.program.as_slice(), stat.parent, stat.started_ticks),
            (&b"a) b) (S"[..], 5, 298_428)
        );
        assert!(parse_stat(line("Z").as_bytes()).is_none(), "it has ended");
        assert!(parse_stat(b"17 (sh").is_none());
    }

    #[test]
    fn the_table_of_sockets_is_read_in_the_hosts_byte_order() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let line = |address: String, state: &str| {
            format!(
                "   0: {address}:492B 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 928202 1"
            )
        };
        let read = |line: String| parse_listener(&line).map(|l| (l.address.to_string(), l.inode));
        let loopback = word([127, 0, 0, 1]);
        assert_eq!(read(line(loopback.clone(), "0A")), Some(("127.0.0.1:18731".to_owned(), 928_202)));
        assert_eq!(read(line(loopback, "01")), None, "a connection");
        let v6 = [[0; 4], [0; 4], [0; 4], [0, 0, 0, 1]].map(word).concat();
        assert_eq!(read(line(v6, "0A")), Some(("[::1]:18731".to_owned(), 928_202)));
    }

    #[test]
    fn a_lock_is_told_from_one_that_is_waited_for_and_from_one_of_another_kind() {
        let name = "00:1b:53926";
        assert!(is_flock_on("7: FLOCK  ADVISORY  WRITE 25625 00:1b:53926 0 EOF", name));
        for other in [
            "7: -> FLOCK  ADVISORY  WRITE 25625 00:1b:53926 0 EOF",
            "7: POSIX  ADVISORY  WRITE 25625 00:1b:53926 0 EOF",
            "7: FLOCK  ADVISORY  WRITE 25625 00:1c:53926 0 EOF",
            "7: FLOCK  ADVISORY  WRITE 25625 00:1b:5392 0 EOF",
            "",
        ] {
            assert!(!is_flock_on(other, name), "{other}");
        }
    }

    #[test]
    fn this_process_is_described_and_one_that_is_not_there_is_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = process(own).unwrap();
        assert!(is_running(process.id));
        assert!(process.shown().starts_with(&format!("pid {own} (\u{201c}")));
        assert_eq!(names_the_same_file(own, Path::new("/proc/../etc"), Path::new("/etc")), Some(true));
        let earlier = ProcessId { pid: own, started_ticks: process.id.started_ticks - 1 };
        assert!(!is_running(earlier));
        assert_eq!(terminate(earlier), Ok(()), "and this process goes on");
        assert_eq!(super::process(i32::MAX), None);
    }
}
