//! The `rsync` program as a typed call: arguments, exit codes by name, statistics, time limits, retries. No shell.
//!
//! There is no published crate that can push to an rsync daemon, so the program itself is run. Every operand is made of
//! validated names, stands behind `--`, and local names travel by `--files-from`, so that no file name can be taken for
//! an option or a host.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::machine::clock;
use crate::machine::files;
use crate::machine::processes::{self, GivenUp, Outcome, TimeLimits};
use crate::names::{Address, Port};
use crate::time::Seconds;

/// A daemon.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its host.
    pub host: Address,
    /// Its port.
    pub port: Port,
    /// `rsync_timeout`, for every transfer; 0 is no limit, as it is to rsync.
    pub timeout: Option<Seconds>,
}

/// A path on a daemon: `HOST::MODULE/PATH`.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The module.
    pub module: &'static str,
    /// The path below the module, made of validated names; a trailing slash means "into this directory".
    pub path: String,
}

/// What is transferred.
#[derive(Debug, Clone)]
pub enum Transfer {
    /// Whether a directory on the daemon is there: lists it, changes nothing. A module that can be written to but not
    /// listed does not tell; that is no failure.
    List(Remote),
    /// Sends names below a local directory into a remote one.
    Send {
        /// The local directory.
        from: PathBuf,
        /// Names in it.
        names: Vec<OsString>,
        /// Whether directories are descended into (`-r`).
        recursive: bool,
        /// Whether every file is likely to be another one than the one there, if there is one. Then all are sent, as what differs, and
        /// written again where nothing does; otherwise both sides read all of them first to find out which are.
        all_new: bool,
        /// Where to.
        to: Remote,
    },
    /// Deletes what a remote directory holds and a local one does not; sends nothing. Names of the local directory that begin
    /// with a dot count as missing, since they are not sent.
    DeleteExtraneous {
        /// The local directory.
        from: PathBuf,
        /// Whether directories are descended into (`-r`); otherwise they count as missing.
        recursive: bool,
        /// Where.
        to: Remote,
    },
    /// Sends one local file to a remote name.
    SendFile {
        /// The local file.
        from: PathBuf,
        /// Where to.
        to: Remote,
    },
    /// Fetches one remote file.
    FetchFile {
        /// Where from.
        from: Remote,
        /// The local file.
        to: PathBuf,
        /// The most bytes that are fetched: a larger file is left out, as a link is, without a failure.
        limit: u64,
    },
    /// Fetches files of a remote directory together. The daemon looks for each by its name, and opens each only when it has sent the
    /// one before, in the order in which rsync sorts them: those that lie in the directory itself, then those of the directories in it.
    FetchTogether {
        /// The remote directory, with a trailing slash.
        from: Remote,
        /// Validated names below it, at most one directory deep.
        names: Vec<String>,
        /// The local directory, which is made for this. A name that the daemon does not have is not
        /// there afterwards; one that it has, but that is larger than `limit`, no plain file, or
        /// unreadable for the daemon, is a symbolic link.
        to: PathBuf,
        /// The most bytes that are fetched of a file.
        limit: u64,
    },
    /// Makes a local directory hold exactly what a remote one holds. The files that are in it already count as fetched, also
    /// those of a try that was cut off.
    FetchDirectory {
        /// Where from, with a trailing slash.
        from: Remote,
        /// The local directory.
        to: PathBuf,
        /// Local directories that may hold something similar: of a file that is there, too, only the differences travel.
        similar: Vec<PathBuf>,
        /// The permissions that no file gets here.
        umask: u32,
        /// A path on the same file system. There the next try finds the file in which the connection was lost.
        partial: PathBuf,
    },
}

/// Time limits and patience.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Seconds to wait for the connection (`--contimeout`).
    pub connect_seconds: u32,
    /// How long no byte may move until the transfer is given up, unless the site says otherwise.
    pub idle: Seconds,
    /// After this the program is killed, whatever it does.
    pub total: Duration,
    /// How often a transient failure is tried again, after pauses of 1 s, 2 s, 4 s, ...
    pub retries: u32,
}

impl Limits {
    /// For a file of some kilobytes.
    pub const SMALL: Limits =
        Limits { connect_seconds: 5, idle: Seconds(20), total: Duration::from_secs(60), retries: 2 };
    /// For what may be lost: tried once, and given up before anybody waits for it.
    pub const BRIEF: Limits =
        Limits { connect_seconds: 2, idle: Seconds(3), total: Duration::from_secs(5), retries: 0 };
    /// For a model. One side is silent while the other reads a large file to compare it.
    pub const MODEL: Limits =
        Limits { connect_seconds: 5, idle: Seconds(300), total: Duration::from_secs(6 * 3600), retries: 2 };
}

/// What a transfer moved (`--stats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Regular files whose content was sent or received.
    pub files: u64,
    /// The size of all files that were considered, bytes.
    pub total_bytes: u64,
    /// Bytes written to the connection.
    pub sent_bytes: u64,
    /// Bytes read from the connection.
    pub received_bytes: u64,
}

/// How rsync ended, by the names of its manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub i32);

impl ExitCode {
    /// Timeout while sending or receiving data.
    const TIMEOUT: ExitCode = ExitCode(30);

    /// The manual's words for the code.
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "success",
            1 => "syntax or usage error",
            2 => "protocol incompatibility",
            3 => "errors selecting input or output files",
            4 => "requested action not supported",
            5 => "error starting the client-server protocol",
            6 => "daemon unable to append to its log file",
            10 => "error in socket I/O",
            11 => "error in file I/O",
            12 => "error in the protocol data stream",
            13 => "errors with program diagnostics",
            14 => "error in IPC code",
            20 => "interrupted",
            21 => "error returned by waitpid",
            22 => "error allocating memory",
            23 => "partial transfer due to error",
            24 => "partial transfer due to vanished source files",
            25 => "the limit of deletions stopped it",
            30 => "timeout while sending or receiving data",
            35 => "timeout waiting for the daemon's connection",
            _ => "unknown exit code",
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rsync exit {}, {}", self.0, self.name())
    }
}

/// Runs a transfer. Every exit code but 0 is a failure, 23 and 24 too (defect 26); a failure that may pass (the
/// connection, the daemon's `max connections`) is tried again as `limits` says. A daemon that is silent is not: the time has
/// been spent, and the next run tries again.
pub fn run(daemon: &Daemon, transfer: &Transfer, limits: Limits) -> Result<Statistics> {
    run_to_end(daemon, transfer, limits)?
        .map_err(|failed| failure(daemon, transfer, failed.code, &failed.stderr))
}

/// Like [`run`], but a file that the daemon does not have is `None`.
pub fn run_if_exists(daemon: &Daemon, transfer: &Transfer, limits: Limits) -> Result<Option<Statistics>> {
    match run_to_end(daemon, transfer, limits)? {
        Ok(statistics) => Ok(Some(statistics)),
        Err(failed)
            if failed.code.0 == 23 && contains(&failed.stderr, b"failed: No such file or directory") =>
        {
            Ok(None)
        }
        Err(failed) => Err(failure(daemon, transfer, failed.code, &failed.stderr)),
    }
}

/// Like [`run`], but whether all of it was transferred: a daemon may refuse single names (exit 23).
pub fn run_if_accepted(daemon: &Daemon, transfer: &Transfer, limits: Limits) -> Result<bool> {
    match run_to_end(daemon, transfer, limits)? {
        Ok(_) => Ok(true),
        Err(failed) if failed.code.0 == 23 => Ok(false),
        Err(failed) => Err(failure(daemon, transfer, failed.code, &failed.stderr)),
    }
}

/// A transfer that failed for good.
struct Failed {
    code: ExitCode,
    stderr: Vec<u8>,
}

fn run_to_end(
    daemon: &Daemon,
    transfer: &Transfer,
    limits: Limits,
) -> Result<std::result::Result<Statistics, Failed>> {
    let limits = Limits { idle: daemon.timeout.unwrap_or(limits.idle), ..limits };
    let (arguments, input) = command_line(daemon, transfer, limits);
    // rsync's own limit does not hold before the daemon's greeting, nor while rsync sends keep-alive messages to a daemon
    // that is stopped.
    let silence = u64::try_from(limits.idle.0).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let time_limits = TimeLimits { total: limits.total, silence };
    let together = match transfer {
        Transfer::FetchTogether { names, to, .. } => Some((names, to)),
        _ => None,
    };
    let mut pause = Duration::from_secs(1);
    let mut tried_again = 0;
    loop {
        together.map_or(Ok(()), |(names, to)| mark_as_not_fetched(names, to))?;
        let finished = match processes::run("rsync", &arguments, &input, time_limits)? {
            Outcome::Finished(finished) => finished,
            Outcome::GivenUp(GivenUp::Silent(limit)) => {
                let stderr = format!("no byte moved for {} s", limit.as_secs()).into_bytes();
                return Ok(Err(Failed { code: ExitCode::TIMEOUT, stderr }));
            }
            Outcome::GivenUp(too_late) => return Err(too_late.error("rsync")),
        };
        let code = ExitCode(finished.status.code().unwrap_or(20));
        let does_not_tell =
            matches!(transfer, Transfer::List(_)) && contains(&finished.stderr, b"module is write only");
        if code.0 == 0 || does_not_tell {
            return Ok(Ok(parse_statistics(&finished.stdout)));
        }
        let stderr = match together {
            Some((names, to)) => {
                let said = said_of(names, &finished.stderr);
                // Where it has none of them, the connection ends at once, and what is said of that
                // does not matter.
                let has_nothing = said.missing.len() == names.len();
                if code.0 == 23 && (has_nothing || said.rest.is_empty()) {
                    said.missing.into_iter().try_for_each(|name| files::remove_if_exists(&to.join(name)))?;
                    // rsync has removed their marks to make room for them.
                    said.unreadable.into_iter().try_for_each(|name| mark_one(&to.join(name)))?;
                    return Ok(Ok(parse_statistics(&finished.stdout)));
                }
                said.rest.into_bytes()
            }
            None => finished.stderr,
        };
        // Removed after it was found, and before it was opened.
        let has_vanished = together.is_some() && contains(&stderr, b"file has vanished");
        if tried_again == limits.retries || !(has_vanished || is_transient(code, &stderr)) {
            return Ok(Err(Failed { code, stderr }));
        }
        log::debug!("{code}; again in {pause:?}");
        clock::pause(pause);
        pause *= 2;
        tried_again += 1;
    }
}

/// Puts a symbolic link, which rsync does not fetch, where each file is to be. rsync replaces it by what it fetches, and leaves it
/// alone where it skips what the daemon has. All of it anew for each try.
fn mark_as_not_fetched(names: &[String], to: &Path) -> Result<()> {
    files::remove_tree(to)?;
    names.iter().try_for_each(|name| mark_one(&to.join(name)))
}

fn mark_one(mark: &Path) -> Result<()> {
    files::remove_if_exists(mark)?;
    let made = mark.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| symlink(".", mark)).map_err(|e| Error::io("create", mark, &e))
}

/// What the daemon said of files that are fetched together.
#[derive(Debug, Default)]
struct SaidOf<'a> {
    /// It does not have these.
    missing: Vec<&'a String>,
    /// It may not read these.
    unreadable: Vec<&'a String>,
    /// What else it said.
    rest: String,
}

fn said_of<'a>(names: &'a [String], stderr: &[u8]) -> SaidOf<'a> {
    let text = String::from_utf8_lossy(stderr);
    let mut said = SaidOf::default();
    for line in text.lines().filter(|line| !line.is_empty() && !is_closing(line)) {
        let is_missing = line.contains("link_stat ") && line.contains("failed: No such file or directory");
        let is_unreadable = line.contains("failed") && line.contains("Permission denied");
        match names.iter().find(|name| line.contains(&format!("/{name}\""))) {
            Some(name) if is_missing => said.missing.push(name),
            Some(name) if is_unreadable => said.unreadable.push(name),
            Some(_) | None => said.rest.extend([line, "\n"]),
        }
    }
    said
}

fn command_line(daemon: &Daemon, transfer: &Transfer, limits: Limits) -> (Vec<OsString>, Vec<u8>) {
    let url = |remote: &Remote| -> OsString {
        format!("{}::{}/{}", daemon.host.in_url(), remote.module, remote.path).into()
    };
    let mut arguments: Vec<OsString> = vec![
        format!("--port={}", daemon.port).into(),
        format!("--contimeout={}", limits.connect_seconds).into(),
        format!("--timeout={}", limits.idle.0).into(),
        // A client writes its arguments one by one, and the kernel holds the second back until the daemon's side acknowledges the
        // first, which it delays: 40 ms for each connection.
        "--sockopts=TCP_NODELAY".into(),
    ];
    let mut input = Vec::new();
    match transfer {
        Transfer::List(remote) => {
            arguments.extend(["--list-only".into(), "--".into(), url(remote)]);
        }
        Transfer::Send { from, names, recursive, all_new, to } => {
            // Never by size and time (defect 21).
            arguments.push(if *all_new { "--ignore-times" } else { "--checksum" }.into());
            // --files-from implies --dirs, so directories must not be among the names unless they are wanted.
            arguments.extend(["--stats", "--from0", "--files-from=-", "--no-relative"].map(OsString::from));
            if *recursive {
                arguments.push("-r".into());
            }
            arguments.extend(["--".into(), into_directory(from), url(to)]);
            for name in names {
                // A name that begins with # or ; would be taken for a remark.
                input.extend_from_slice(b"./");
                input.extend_from_slice(name.as_bytes());
                input.push(0);
            }
        }
        Transfer::DeleteExtraneous { from, recursive, to } => {
            let only_delete = ["--stats", "--delete", "--existing", "--ignore-existing", "--filter=hide /.*"];
            arguments.extend(only_delete.map(OsString::from));
            if *recursive {
                arguments.push("-r".into());
            } else {
                arguments.extend(["-d", "--filter=hide */"].map(OsString::from));
            }
            arguments.extend(["--".into(), into_directory(from), url(to)]);
        }
        Transfer::SendFile { from, to } => {
            // --ignore-times: two versions have one size, and rsync's quick check would take them for equal when they
            // are written within a second (defect 21).
            arguments.extend(["--stats", "--ignore-times", "--"].map(OsString::from));
            arguments.extend([local(from), url(to)]);
        }
        Transfer::FetchFile { from, to, limit } => {
            arguments.push(format!("--max-size={limit}").into());
            arguments.extend(["--stats", "--ignore-times", "--"].map(OsString::from));
            arguments.extend([url(from), local(to)]);
        }
        Transfer::FetchTogether { from, names, to, limit } => {
            // Each is looked for by its name: a list of the directory may lack a file that is just being replaced (btrfs). The names
            // stand behind a /./, where --relative begins.
            arguments.push(format!("--max-size={limit}").into());
            let options = ["--stats", "--ignore-times", "--relative", "--no-implied-dirs", "--"];
            arguments.extend(options.map(OsString::from));
            arguments.extend(names.iter().map(|name| {
                let path = format!("{}./{name}", from.path);
                url(&Remote { path, ..from.clone() })
            }));
            arguments.push(into_directory(to));
        }
        Transfer::FetchDirectory { from, to, similar, umask, partial } => {
            // --ignore-times: a similar file of the same size and second is not taken for the same one (defect 21).
            let options = ["--stats", "--ignore-times", "--ignore-existing", "-r", "--delete"];
            arguments.extend(options.map(OsString::from));
            arguments.push(option("--partial-dir=", partial));
            // A file that is made from a similar one would have its mode, if not told otherwise.
            arguments.extend(["-p".into(), format!("--chmod={}", as_if_made(*umask)).into()]);
            arguments.extend(similar.iter().map(|dir| option("--copy-dest=", dir)));
            arguments.push("--".into());
            arguments.extend([url(from), into_directory(to)]);
        }
    }
    (arguments, input)
}

/// How rsync makes the modes of a transfer what they are without `-p`: what the umask leaves, and no set-id bits.
fn as_if_made(umask: u32) -> String {
    let mut changes = "a-s,a-t".to_owned();
    for (who, shift) in [("u", 6), ("g", 3), ("o", 0)] {
        for (what, bit) in [("r", 4), ("w", 2), ("x", 1)] {
            if umask >> shift & bit != 0 {
                changes.push_str(&format!(",{who}-{what}"));
            }
        }
    }
    changes
}

/// A path as an option's value. rsync takes a relative one for one below the destination, so it has to begin at the root.
fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// A local path that cannot be taken for `HOST:PATH`.
fn local(path: &Path) -> OsString {
    if path.is_absolute() { path.into() } else { Path::new(".").join(path).into() }
}

fn into_directory(path: &Path) -> OsString {
    let mut operand = local(path);
    operand.push("/");
    operand
}

fn is_transient(code: ExitCode, stderr: &[u8]) -> bool {
    match code.0 {
        // A daemon that refuses says why; one that says nothing was cut off before it could.
        5 => contains(stderr, b"max connections") || !contains(stderr, b"@ERROR"),
        10 | 12 | 35 => true,
        _ => false,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn failure(daemon: &Daemon, transfer: &Transfer, code: ExitCode, stderr: &[u8]) -> Error {
    let (doing, remote) = match transfer {
        Transfer::List(remote) => ("look at", remote),
        Transfer::Send { to, .. } | Transfer::SendFile { to, .. } => ("send to", to),
        Transfer::DeleteExtraneous { to, .. } => ("delete in", to),
        Transfer::FetchFile { from, .. }
        | Transfer::FetchTogether { from, .. }
        | Transfer::FetchDirectory { from, .. } => ("fetch", from),
    };
    let said = first_complaint(stderr);
    let remedy = match transfer {
        // What is written to is this host's.
        Transfer::FetchFile { .. } | Transfer::FetchTogether { .. } | Transfer::FetchDirectory { .. }
            if said.contains("No space left") =>
        {
            "free some space on this host's disk"
        }
        _ => remedy(code, said.as_bytes()),
    };
    Error::failed(format!(
        "cannot {doing} {}::{}/{} (port {}): {said} ({code}); {remedy}",
        daemon.host.in_url(),
        remote.module,
        remote.path,
        daemon.port,
    ))
}

/// Whether a line of rsync's repeats the exit code, as the last one does.
fn is_closing(line: &str) -> bool {
    line.starts_with("rsync error:")
}

/// The first line in which rsync says what is wrong.
fn first_complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| !line.is_empty() && !is_closing(line)).unwrap_or("no reason given");
    let line = line.strip_prefix("rsync: ").or_else(|| line.strip_prefix("@ERROR: ")).unwrap_or(line);
    // "[sender] change_dir ... failed": who says it is of no use to an operator.
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest.to_owned(),
        None => line.to_owned(),
    }
}

fn remedy(code: ExitCode, said: &[u8]) -> &'static str {
    let says = |needle: &str| contains(said, needle.as_bytes());
    match code.0 {
        10 | 35 => "check that the daemon runs there, the address, and rsyncport",
        5 if says("max connections") => "the daemon is busy; run again, or raise its max connections",
        5 if says("access denied") => {
            "this host is under hosts deny, or not under hosts allow, in the daemon's configuration"
        }
        1 | 5 if says("read only") => "set read only = no in that module of the daemon's configuration",
        5 if says("Unknown module") => "add that module to the daemon's configuration",
        5 => "see the daemon's log",
        11 if says("No space left") => "free some space on the daemon's disk",
        3 | 11 | 23 if says("No such file") => {
            "check that the model is registered there (add_dispatch_docker)"
        }
        3 | 11 | 23 if says("Permission denied") => "correct the permissions on the daemon's side",
        12 => "the connection was lost; run again, and see the daemon's log",
        30 => "look at the daemon's host; if that is only slow, set rsync_timeout in env.sh",
        _ => "see EXIT VALUES in rsync's manual",
    }
}

/// Reads the figures of `--stats`; a figure that is not there is 0.
fn parse_statistics(stdout: &[u8]) -> Statistics {
    let text = String::from_utf8_lossy(stdout);
    let figure = |label: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
        let digits: String =
            line.chars().skip_while(|c| *c == ' ').take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        digits.replace(',', "").parse().unwrap_or(0)
    };
    Statistics {
        files: figure("Number of regular files transferred:"),
        total_bytes: figure("Total file size:"),
        sent_bytes: figure("Total bytes sent:"),
        received_bytes: figure("Total bytes received:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Daemon {
        Daemon { host: Address::parse(b"10.77.136.198").unwrap(), port: Port::RSYNC, timeout: None }
    }

    #[test]
    fn statistics_are_read_with_their_thousands_separators() {
        let stdout = b"\nNumber of files: 3 (reg: 2, dir: 1)\nNumber of regular files transferred: 2\n\
            Total file size: 1,048,580 bytes\nTotal bytes sent: 1,234\nTotal bytes received: 54\n";
        let expected = Statistics { files: 2, total_bytes: 1_048_580, sent_bytes: 1234, received_bytes: 54 };
        assert_eq!(parse_statistics(stdout), expected);
    }

    #[test]
    fn a_failure_is_one_line_with_the_address_the_reason_and_the_remedy() {
        let transfer = Transfer::List(Remote { module: "datamining_plugin", path: "m/".into() });
        let stderr = b"@ERROR: Unknown module 'datamining_plugin'\nrsync error: error starting (code 5)\n";
        assert_eq!(
            failure(&daemon(), &transfer, ExitCode(5), stderr).to_string(),
            "cannot look at 10.77.136.198::datamining_plugin/m/ (port 873): Unknown module 'datamining_plugin' \
             (rsync exit 5, error starting the client-server protocol); add that module to the daemon's configuration"
        );
    }

    #[test]
    fn names_travel_by_files_from_and_never_as_arguments() {
        let transfer = Transfer::Send {
            from: "online/data".into(),
            names: vec!["--delete".into(), "#a:b".into()],
            recursive: true,
            all_new: false,
            to: Remote { module: "datamining_plugin", path: "m/data/".into() },
        };
        let (arguments, input) = command_line(&daemon(), &transfer, Limits::SMALL);
        assert_eq!(input, b"./--delete\0./#a:b\0");
        assert_eq!(
            arguments[arguments.len() - 3..],
            ["--", "./online/data/", "10.77.136.198::datamining_plugin/m/data/"]
        );
    }

    #[test]
    fn what_is_sent_is_never_found_by_size_and_time() {
        for (all_new, compared) in [(false, "--checksum"), (true, "--ignore-times")] {
            let transfer = Transfer::Send {
                from: "online/data".into(),
                names: vec!["a".into()],
                recursive: true,
                all_new,
                to: Remote { module: "datamining_plugin", path: "m/data/".into() },
            };
            let (arguments, _) = command_line(&daemon(), &transfer, Limits::SMALL);
            let how: Vec<_> =
                arguments.iter().filter(|a| *a == "--checksum" || *a == "--ignore-times").collect();
            assert_eq!(how, [compared]);
        }
    }

    #[test]
    fn a_name_is_missing_or_unreadable_only_where_the_daemon_says_that_of_it() {
        let names = [".held".to_owned(), "config_1/service.conf".to_owned()];
        let line = |name: &str| {
            format!("rsync: [sender] link_stat \"/m/{name}\" (in x) failed: No such file or directory (2)\n")
        };
        let end = "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1871)\n";
        let found = |stderr: &str| {
            let said = said_of(&names, stderr.as_bytes());
            let listed = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>().join(" ");
            (listed(said.missing), listed(said.unreadable), said.rest)
        };
        let of = |missing: &str, unreadable: &str, rest: &str| {
            (missing.to_owned(), unreadable.to_owned(), rest.to_owned())
        };
        let both = [&line(".held"), "\n", &line("config_1/service.conf"), end].concat();
        assert_eq!(found(&both), of(".held config_1/service.conf", "", ""));
        assert_eq!(found(end), of("", "", ""));
        let denied =
            "rsync: [sender] send_files failed to open \"/m/.held\" (in x): Permission denied (13)\n";
        let one = [&line("config_1/service.conf"), denied, end].concat();
        assert_eq!(found(&one), of("config_1/service.conf", ".held", ""));
        let below = "rsync: [sender] change_dir \"/m\" (in x) failed: Permission denied (13)\n";
        assert_eq!(found(below), of("", "", below));
        let other = line("other/.held.old");
        assert_eq!(found(&other), of("", "", &other));
    }

    #[test]
    fn modes_are_what_the_umask_leaves() {
        assert_eq!(as_if_made(0), "a-s,a-t");
        assert_eq!(as_if_made(0o027), "a-s,a-t,g-w,o-r,o-w,o-x");
    }

    #[test]
    fn a_busy_daemon_is_transient_and_a_denied_address_is_not() {
        assert!(is_transient(ExitCode(5), b"@ERROR: max connections (1) reached -- try again later"));
        assert!(!is_transient(ExitCode(5), b"@ERROR: access denied to x from y (10.0.0.1)"));
        assert!(is_transient(ExitCode(5), b"rsync: didn't get server startup line"));
        assert!(!is_transient(ExitCode(23), b""));
    }
}
