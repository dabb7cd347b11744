//! A command under strace, and its trace as a list of calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::parts::skip;

/// The file-system calls: whatever reads, writes, names, looks at or makes durable.
const CALLS: &str = "openat,open,creat,openat2,read,pread64,readv,write,pwrite64,writev,close,\
    rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,\
    fsync,fdatasync,syncfs,sync,sync_file_range,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,\
    truncate,ftruncate,fallocate,copy_file_range,sendfile,flock,fcntl,\
    stat,fstat,lstat,newfstatat,statx,statfs,fstatfs,access,faccessat,faccessat2,readlink,readlinkat,\
    getdents64,utimensat,chdir,fchdir,getcwd";

/// The option that makes strace look at the file-system calls, those that this architecture has.
pub fn trace_option() -> String {
    let names: Vec<String> = CALLS.split(',').map(|name| format!("?{name}")).collect();
    format!("trace={}", names.join(","))
}

/// Whether processes can be traced here; otherwise says so as a skip of the running test.
pub fn is_permitted() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let permitted = traced.as_ref().is_ok_and(|output| output.status.success());
    if !permitted {
        skip(&format!("processes cannot be traced here: {traced:?}"));
    }
    permitted
}

/// The same command under strace, its trace in a file.
pub fn under_strace(command: &Command, options: &[&str], log: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-y", "-o"]).arg(log).args(options).arg("--").arg(command.get_program());
    traced.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced
}

/// One finished system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who called; 0 in the trace of a single process.
    pub pid: u32,
    /// The call's name.
    pub name: String,
    /// Its arguments as strace prints them.
    pub arguments: Vec<String>,
    /// Its result as strace prints it; `?` for one that did not return.
    pub result: String,
}

impl Call {
    /// Whether it did what it was asked to do.
    pub fn succeeded(&self) -> bool {
        !self.result.starts_with('-') && !self.result.starts_with('?')
    }

    /// Whether it does anything that another process could notice, rather than look or listen.
    pub fn does_something(&self) -> bool {
        let opens = self.name.starts_with("open");
        let looks = [
            "read",
            "pread64",
            "readv",
            "close",
            "fcntl",
            "getcwd",
            "chdir",
            "fchdir",
            "access",
            "faccessat",
        ];
        let looks_at = ["stat", "getdents", "readlink"].iter().any(|word| self.name.contains(word));
        let creates = self
            .arguments
            .iter()
            .any(|argument| argument.contains("O_CREAT") || argument.contains("O_TRUNC"));
        if opens { creates } else { !looks.contains(&self.name.as_str()) && !looks_at }
    }

    /// Whether an argument names a path below a directory, be it as text or as an open file. The working directory alone is
    /// none: strace shows it beside absolute paths, too.
    pub fn concerns(&self, root: &str) -> bool {
        let is_beside_the_point = |n: usize, argument: &str| {
            let path = self.arguments.get(n + 1).map_or("", String::as_str);
            argument.starts_with("AT_FDCWD") && (path.starts_with("\"/") || !path.starts_with('"'))
        };
        // What is read or written may name anything.
        let moves_bytes =
            ["read", "pread64", "readv", "write", "pwrite64", "writev"].contains(&self.name.as_str());
        let mut arguments = self.arguments.iter().take(if moves_bytes { 1 } else { usize::MAX }).enumerate();
        arguments.any(|(n, argument)| argument.contains(root) && !is_beside_the_point(n, argument))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({}) = {}", self.name, self.arguments.join(", "), self.result)
    }
}

/// Reads a trace. A call that others interrupted stands where it returned.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<u32, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (pid, text) = pid_of(line);
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun.to_owned());
        } else if let Some(rest) = text.strip_prefix("<... ") {
            let begun = unfinished.remove(&pid).unwrap_or_default();
            let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
            calls.extend(call(pid, &format!("{begun}{rest}")));
        } else {
            calls.extend(call(pid, text));
        }
    }
    calls
}

fn pid_of(line: &str) -> (u32, &str) {
    match line.split_once(' ') {
        Some((pid, rest)) if !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) => {
            (pid.parse().unwrap_or(0), rest.trim_start())
        }
        _ => (0, line),
    }
}

/// A line that is a call; signals and exits are none.
fn call(pid: u32, line: &str) -> Option<Call> {
    let (head, result) = line.rsplit_once(" = ")?;
    let (name, arguments) = head.trim_end().strip_suffix(')')?.split_once('(')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then(|| Call {
        pid,
        name: name.to_owned(),
        arguments: split(arguments),
        result: result.to_owned(),
    })
}

/// Splits arguments at the commas that stand outside of quotes and brackets.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in arguments.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if !part.trim().is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

/// A place in a run: a call by its name, and its number among the calls of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The call's name.
    pub name: String,
    /// Its number, from 1.
    pub number: usize,
    /// The call, as it was in the undisturbed run.
    pub call: Call,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} #{}: {}", self.name, self.number, self.call)
    }
}

/// The places in the trace of one process, from the first that `begins` on.
pub fn points(calls: &[Call], begins: impl Fn(&Call) -> bool) -> Vec<Point> {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut begun = false;
    let mut points = Vec::new();
    for call in calls {
        // What follows is a look at the processes that run, of which there are more or fewer each time; nothing is written.
        if begun && call.arguments.iter().any(|argument| argument.contains("/proc")) {
            break;
        }
        let number = counted.entry(&call.name).or_default();
        *number += 1;
        begun = begun || begins(call);
        if begun {
            points.push(Point { name: call.name.clone(), number: *number, call: call.clone() });
        }
    }
    points
}

#[test]
fn a_trace_is_read_as_calls_in_the_order_in_which_they_returned() {
    let trace = "7 openat(AT_FDCWD</w>, \"a, \\\"b\", O_RDWR|O_CREAT, 0600) = 3</w/a>\n\
        7 write(3</w/a>, \"x = (y\", 6 <unfinished ...>\n\
        8 fsync(4</w>) = -1 EIO (Input/output error) (INJECTED)\n\
        8 --- SIGCHLD {si_signo=SIGCHLD} ---\n\
        7 <... write resumed>)        = 6\n\
        7 statx(3</w/a>, \"\", 0, STATX_ALL, {stx_mask=1, stx_size=9, ...}) = 0\n\
        7 unlink(\"b\") = ?\n\
        7 +++ killed by SIGKILL +++\n";
    let calls = parse(trace);
    let names: Vec<_> = calls.iter().map(|call| (call.pid, call.name.as_str(), call.succeeded())).collect();
    let expected = [
        (7, "openat", true),
        (8, "fsync", false),
        (7, "write", true),
        (7, "statx", true),
        (7, "unlink", false),
    ];
    assert_eq!(names, expected);
    assert_eq!(calls[0].arguments, ["AT_FDCWD</w>", "\"a, \\\"b\"", "O_RDWR|O_CREAT", "0600"]);
    assert_eq!(calls[2].arguments, ["3</w/a>", "\"x = (y\"", "6"]);
    assert_eq!(calls[3].arguments.len(), 5);
}

#[test]
fn places_are_counted_as_strace_counts_and_begin_in_the_world() {
    let calls = parse(
        "openat(\"/lib/libc\") = 3\nread(3</lib/libc>) = 9\nwrite(1<pipe:[1]>, \"/w/a\", 4) = 4\nopenat(\"/w/a\") = 3</w/a>\nread(3</w/a>) = 0\n",
    );
    let points = points(&calls, |call| call.concerns("/w/"));
    let shown: Vec<_> = points.iter().map(|point| (point.name.as_str(), point.number)).collect();
    assert_eq!(shown, [("openat", 2), ("read", 2)]);
}
