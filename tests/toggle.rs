//! `autoupdate-toggle` on real files and against a real rsync daemon; the manual's commands beside it are rows 12 to 14 of
//! tests/defects.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::side::under_test;

pub const JOB: &str =
    r#"* * * * * /bin/bash   /watch/service_polling.sh  >>/watch/log/polling-$(date +"\%Y\%m\%d").log 2>&1"#;

/// A run of the binary: exit code, standard output, standard error.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn toggle(file: &Path, arguments: &str) -> Ran {
    let option = if arguments.contains("crontab") { "--file" } else { "--config" };
    let output = Command::new(under_test(env!("CARGO_BIN_EXE_autoupdate-toggle")))
        .args(arguments.split(' '))
        .arg(option)
        .arg(file)
        .env("TZ", "CST-8")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the binary, which must succeed with one line, and returns that line. What was seen at the daemon may follow it.
fn toggled(file: &Path, arguments: &str) -> String {
    let ran = toggle(file, arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments}");
    let mut lines = ran.stdout.split_inclusive('\n');
    let first = lines.next().unwrap();
    assert!(lines.all(|line| line.starts_with("seen at the daemon (pid ")), "{}", ran.stdout);
    first.to_owned()
}

/// Runs the binary, which must fail with one line and leave the file as it is, and returns that line.
fn refused(file: &Path, arguments: &str, code: i32) -> String {
    let before = fs::read(file).unwrap();
    let ran = toggle(file, arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{arguments}: {}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert_eq!(fs::read(file).unwrap(), before, "{arguments}");
    ran.stderr
}

/// The job, another one that ends in its name, a remark with it, a blank line, a variable.
pub fn a_busy_crontab() -> String {
    let rest = "0 4 * * * /root/notservice_polling.sh.bak\n# service_polling.sh: ask before stopping it\n\nMAILTO=a\n";
    format!("{JOB}\n{rest}")
}

pub fn file_with(dir: &TempDir, content: &str) -> PathBuf {
    let path = dir.path().join("file");
    fs::write(&path, content).unwrap();
    path
}

/// Runs a line of the manual's; `$1` in it is the file.
pub fn shell(line: &str, file: &Path) {
    let status = Command::new("sh").args(["-c", line, "sh"]).arg(file).status().unwrap();
    assert!(status.success(), "{line}");
}

/// An rsync daemon on loopback. Its modules `m` and `n` export the same directory; dropping it ends it by its pid.
pub struct Daemon {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl Daemon {
    pub fn start() -> Daemon {
        crate::harness::daemon::tell_version();
        let dir = tempfile::tempdir().unwrap();
        // The daemon of root serves as nobody.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("rsyncd.conf"), "").unwrap();
        let port = crate::harness::port::quiet_port();
        let process = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--config={}", dir.path().join("rsyncd.conf").display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon { dir, port, process };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the daemon does not listen on port {port}");
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("rsyncd.conf")
    }

    /// Writes the configuration; `PATH` in it becomes the `path` of a module.
    pub fn configure(&self, text: &str) {
        let dir = self.dir.path().display();
        let text = text.replace("PATH", &format!("path = {dir}"));
        let global =
            format!("use chroot = no\nlog file = {dir}/log\nreverse lookup = no\nmax verbosity = 0\n");
        fs::write(self.conf(), global + &text).unwrap();
    }

    /// Whether the daemon admits a client that connects from an address.
    pub fn admits(&self, address: &str, module: &str) -> bool {
        self.answer(address, module).unwrap_or_else(|| panic!("there is no module {module}"))
    }

    /// The same; `None` where the daemon knows no such module.
    pub fn answer(&self, address: &str, module: &str) -> Option<bool> {
        let output = Command::new("rsync")
            .arg(format!("--address={address}"))
            .arg(format!("rsync://127.0.0.1:{}/{module}/", self.port))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Some(true),
            Some(5) if stderr.contains("access denied") => Some(false),
            Some(5) if stderr.contains("Unknown module") => None,
            other => panic!("rsync ended with {other:?}: {stderr}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_judgement_is_the_daemons() {
    let daemon = Daemon::start();
    for text in [
        "[m]\nPATH\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2\n",
        "[m]\nPATH\nHOSTS\tdenY=127.0.0.2",
        "[m]\r\nPATH\r\nhosts deny = 127.0.0.9,\\\r\n 127.0.0.2\r\n",
        "[m]\nPATH\nhosts deny = 127.0.0.9,\\  \n 127.0.0.2\n",
        "[m]\nPATH\nhosts deny = 127.0.\\\n0.2\n",
        "[m]\nPATH\nhosts deny = 127.0.\\\n 0.2\n",
        "[m]\nPATH\nhosts de\\\nny = 127.0.0.2\n",
        "[m]\nPATH\n# remark \\\nhosts deny = 127.0.0.2\n",
        "[m]\nPATH\njunk \\\nhosts deny = 127.0.0.2\n",
        "[m]\nPATH\ncomment = x\\\\\n\nhosts deny = 127.0.0.2\n",
        "[m]\nPATH\n\\hosts deny = 127.0.0.2\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2\nhosts deny = 127.0.0.9\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2\nhosts deny =\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2/31\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2/255.0.255.255\n",
        "[m]\nPATH\nhosts deny = 127.2 127.0.0.256 127.0.0.2. ::/0 127.0.0.0/33 127.0.0.0/\n",
        "[m]\nPATH\nhosts deny = 0177.0.0.02\n",
        "[m]\nPATH\nhosts deny = 1.2.3.4/0\n",
        "[m]\nPATH\nhosts deny = *\n",
        "[m]\nPATH\nhosts allow = 127.0.0.2\n",
        "[m]\nPATH\nhosts allow = 127.0.0.2\nhosts deny = 127.0.0.9\n",
        "[m]\nPATH\nhosts allow = 127.0.0.2\nhosts deny = *\n",
        "[m]\nPATH\nhosts allow = 127.0.0.2\nhosts deny = 127.0.0.2 127.0.0.3\n",
        "[m]\nPATH\nhosts allow = ,\n",
        "[m]\nPATH\nhosts allow = 127.0.0.2\nhosts deny = ,\n",
        "hosts deny = 127.0.0.2\n[m]\nPATH\n",
        "hosts deny = 127.0.0.2\n[m]\nPATH\nhosts deny =\n",
        "hosts deny = 127.0.0.2\n[m]\nPATH\nhosts deny = 127.0.0.3\n",
        "[m]\nPATH\n[GLO bal]\nhosts deny = 127.0.0.2\n",
        "hosts deny = 127.0.0.3\n[m]\nPATH\n[global]\nhosts deny = 127.0.0.2\n",
        "hosts deny =\n[m]\nPATH\n[global]\nhosts deny = 127.0.0.2\n",
        "[m]\nPATH\nhosts deny = 127.0.0.2\n[global]\nhosts allow = 127.0.0.2\n",
        "[m]\nPATH\n[n]\nhosts deny = 127.0.0.3\n[ M ] tail\nhosts deny = 127.0.0.2\n",
    ] {
        daemon.configure(text);
        for address in ["127.0.0.2", "127.0.0.3"] {
            let said = toggled(&daemon.conf(), &format!("status --method rsyncd --module m --ip {address}"));
            let expected = if daemon.admits(address, "m") { "enabled" } else { "disabled" };
            assert!(said.starts_with(&format!("{address}: {expected}")), "{text}\n{said}");
        }
    }
}

/// Contract section 5, 12; and no restart in between.
#[test]
fn a_member_is_denied_and_admitted_again_without_a_restart() {
    let daemon = Daemon::start();
    for text in [
        "[m]\nPATH\n\n# the uploads\n[n]\nPATH\n",
        "[m]\nPATH\n[n]\nPATH",
        "[n]\nPATH\n[m]\n\tPATH",
        "hosts deny = 127.0.0.9\n[m]\nPATH\n[n]\nPATH\n",
        "[m]\nPATH\nhosts deny = 127.0.0.8, 127.0.0.9\n[n]\nPATH\n",
        "[m]\nPATH\nhosts allow = 127.0.0.3\nhosts deny = 127.0.0.9\n[n]\nPATH\n",
    ] {
        daemon.configure(text);
        let before = fs::read(daemon.conf()).unwrap();
        let options = "--method rsyncd --module m --ip 127.0.0.2";
        let said = toggled(&daemon.conf(), &format!("disable {options}"));
        assert!(said.contains(": denied in module \u{201c}m\u{201d}: 127.0.0.2; "), "{said}");
        let admitted = |module| ["127.0.0.2", "127.0.0.3"].map(|address| daemon.admits(address, module));
        assert_eq!((admitted("m"), admitted("n")), ([false, true], [true, true]), "{text}");
        let once = fs::read(daemon.conf()).unwrap();
        let said = toggled(&daemon.conf(), &format!("disable {options}"));
        assert!(said.ends_with("; nothing was changed\n"), "{said}");
        assert_eq!(fs::read(daemon.conf()).unwrap(), once);
        toggled(&daemon.conf(), &format!("enable {options}"));
        assert_eq!(admitted("m"), [true, true], "{text}");
        assert_eq!(fs::read(daemon.conf()).unwrap(), before);
        let said = toggled(&daemon.conf(), &format!("enable {options}"));
        assert!(said.ends_with(": 127.0.0.2 is not denied; nothing was changed\n"), "{said}");
    }
}

#[test]
fn an_rsyncd_conf_that_cannot_be_edited_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (text, arguments, code, expected) in [
        ("[m]\n", "disable --method rsyncd --ip 10.0.0.1", 1, "there are: \u{201c}m\u{201d}"),
        ("[m]\n", "disable --method rsyncd --module m --ip 10.0.0.256", 2, "is not an IP address"),
        ("[m]\n", "disable --method rsyncd --module m", 2, "--ip names no address"),
        (
            "[m]\n&include x\n",
            "disable --method rsyncd --module m --ip 10.0.0.1",
            2,
            "file:2:1: &include: x does ",
        ),
        (
            "[m]\n&merge /none\n",
            "status --method rsyncd --module m",
            2,
            "file:2:1: &merge: cannot read /none: ",
        ),
        (
            "[m]\nhosts deny = 10.85.136.0/24\n",
            "enable --method rsyncd --module m --ip 10.85.136.181",
            1,
            "file:2: 10.85.136.181 is denied by 10.85.136.0/24",
        ),
    ] {
        let file = file_with(&dir, text);
        let said = refused(&file, arguments, code);
        assert!(said.contains(expected), "{said}");
    }
    let missing = dir.path().join("missing");
    let ran = toggle(&missing, "disable --method rsyncd --ip 10.0.0.1");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!dir.path().join(".missing.lock").exists());
}

#[test]
fn only_the_job_is_paused_and_resumed_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = a_busy_crontab();
    let file = file_with(&dir, &text);
    let said = toggled(&file, "disable --method crontab");
    assert_eq!(said, format!("{}:1: paused the poller (* * * * *); `enable` resumes it\n", file.display()));
    let paused = format!("#autoupdate-toggle paused# {text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), paused);
    assert!(toggled(&file, "disable --method crontab").ends_with("nothing was changed\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), paused);
    assert!(toggled(&file, "enable --method crontab").contains(": resumed the poller"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(toggled(&file, "enable --method crontab").ends_with("nothing was changed\n"));
}

#[test]
fn the_systems_crontabs_have_a_user_in_each_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc/cron.d")).unwrap();
    let text = "@hourly\troot /bin/backup\n*/5 * * * mon-fri  root  /watch/service_polling.sh \\%x\n";
    for name in ["etc/crontab", "etc/cron.d/poller"] {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        toggled(&file, "disable --method crontab --for 2h");
        let guarded = fs::read_to_string(&file).unwrap();
        assert!(guarded.contains("mon-fri  root  : autoupdate-toggle paused until "), "{guarded}");
        toggled(&file, "disable --method crontab");
        assert_eq!(fs::read_to_string(&file).unwrap(), text.replace("*/5", "#autoupdate-toggle paused# */5"));
        toggled(&file, "enable --method crontab");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn the_mode_of_an_edited_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with(&dir, &format!("{JOB}\r\n\r\nX=1"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    toggled(&file, "disable --method crontab");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    toggled(&file, "enable --method crontab");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{JOB}\r\n\r\nX=1"));
}

#[test]
fn a_crontab_without_exactly_one_job_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let remark = "# service_polling.sh\n";
    let two = format!("#autoupdate-toggle paused# {JOB}\n\n{JOB}\n");
    for (text, expected) in [
        (remark, "file: no job runs service_polling; name the right crontab with --file or --user"),
        (two.as_str(), "file: more than one job runs service_polling (lines 1, 3)"),
    ] {
        let file = file_with(&dir, text);
        for action in ["disable", "enable", "status"] {
            let said = refused(&file, &format!("{action} --method crontab"), 1);
            assert!(said.contains(expected), "{said}");
        }
    }
    let said = refused(&file_with(&dir, JOB), "disable --method crontab --ip 10.0.0.1", 2);
    assert!(said.contains("--ip belongs to --method rsyncd"), "{said}");
}

#[test]
fn status_writes_nothing_and_takes_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with(&dir, "* * * * * /watch/service_polling.sh\n");
    let ran = toggle(&file, "status --method crontab");
    assert_eq!(ran.code, Some(0));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let first = format!("updates are enabled ({}:1)", file.display());
    assert_eq!(lines[..2], [first.as_str(), "schedule: * * * * *"]);
    assert!(lines[2].starts_with("next runs: ") && lines[2].ends_with(" local time"), "{}", ran.stdout);

    let file = file_with(&dir, "[m]\nhosts deny = 10.0.0.1,h\n");
    let ran = toggle(&file, "status --method rsyncd --module m");
    let place = format!("{}:2", file.display());
    let expected = format!("denied: 10.0.0.1 ({place})\ndenied: h ({place}); a host name: not judged\n");
    assert_eq!((ran.code, ran.stdout), (Some(0), expected));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_second_run_waits_for_the_lock_and_gives_up_with_75() {
    let dir = tempfile::tempdir().unwrap();
    let file = file_with(&dir, &format!("{JOB}\n"));
    let lock = fs::File::create(dir.path().join(".file.lock")).unwrap();
    lock.lock().unwrap();
    let said = refused(&file, "disable --method crontab", 75);
    assert!(said.contains(".file.lock is held by another run; wait for it to end"), "{said}");
    lock.unlock().unwrap();
    toggled(&file, "disable --method crontab");
}
