//! `autoupdate-toggle --method crontab` and a real cron, in a mount namespace of its own: this machine's crontabs are not
//! seen by it, and stay as they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::parts::{are_there, is_root, skip};
use crate::harness::side::under_test;
use crate::harness::wait_until;
use crate::toggle::toggle;

/// Debian's and Red Hat's directories of crontabs, whichever is there, become ours; so do the system's crontabs and the pid
/// file, with which two crons keep out of each other's way.
const NAMESPACE: &str = r#"
for spool in /var/spool/cron/crontabs /var/spool/cron; do
    [ ! -d $spool ] || { mount --bind "$1/spool" $spool; break; }
done
[ ! -d /etc/cron.d ] || mount --bind "$1/cron.d" /etc/cron.d
[ ! -f /etc/crontab ] || mount --bind "$1/none" /etc/crontab
[ ! -f /etc/anacrontab ] || mount --bind "$1/none" /etc/anacrontab
mount -t tmpfs none /run
exec "$2" "$3"
"#;

/// A directory of crontabs with one of root's, and a poller that writes down that it ran.
struct Spool {
    dir: tempfile::TempDir,
}

/// A running cron; dropping it ends it.
struct Cron(Child);

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cron_is_there() -> bool {
    let program = if crate::harness::parts::find("crond").is_some() { "crond" } else { "cron" };
    if !are_there(&[program, "unshare", "mount"]) {
        return false;
    }
    if !is_root() {
        skip("only root can give cron a spool of its own");
        return false;
    }
    let made = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        skip("a mount namespace cannot be made here");
        return false;
    }
    true
}

impl Spool {
    /// The crontab: a line for the poller, and one for another job behind it.
    fn new(when: &str) -> Spool {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool { dir };
        fs::create_dir(spool.path("spool")).unwrap();
        fs::create_dir(spool.path("cron.d")).unwrap();
        fs::write(spool.path("none"), "").unwrap();
        let poller = spool.path("service_polling");
        fs::write(&poller, format!("#!/bin/sh\necho poll >> {}\n", spool.path("polls").display())).unwrap();
        fs::set_permissions(&poller, fs::Permissions::from_mode(0o755)).unwrap();
        let other = format!("{when} echo other >> {}", spool.path("others").display());
        fs::write(spool.crontab(), format!("MAILTO=\"\"\n{when} {}\n{other}\n", poller.display())).unwrap();
        fs::set_permissions(spool.crontab(), fs::Permissions::from_mode(0o600)).unwrap();
        spool
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn crontab(&self) -> PathBuf {
        self.path("spool/root")
    }

    fn toggle(&self, arguments: &str) {
        let ran = toggle(&self.crontab(), &format!("{arguments} --method crontab"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    }

    /// Starts cron, in the foreground.
    fn cron(&self) -> Cron {
        let (program, option) = match crate::harness::parts::find("crond") {
            Some(crond) => (crond, "-n"),
            None => (crate::harness::parts::find("cron").unwrap(), "-f"),
        };
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec", NAMESPACE, "sh"]);
        command.arg(self.dir.path()).arg(program).arg(option).stdin(Stdio::null());
        Cron(command.spawn().unwrap())
    }

    /// How often the poller and the other job ran.
    fn runs(&self) -> (usize, usize) {
        let lines = |name| fs::read_to_string(self.path(name)).unwrap_or_default().lines().count();
        (lines("polls"), lines("others"))
    }
}

/// What cron makes of the file as it is replaced: a cron that starts runs `@reboot` at once. The lock lies beside it, too.
#[test]
fn cron_takes_the_file_that_was_replaced() {
    if !cron_is_there() {
        return;
    }
    let spool = Spool::new("@reboot");
    let mut expected = (0, 0);
    for (action, polls) in
        [("status", 1), ("disable", 0), ("enable", 1), ("disable --for 2h", 0), ("enable", 1)]
    {
        spool.toggle(action);
        let _cron = spool.cron();
        expected = (expected.0 + polls, expected.1 + 1);
        wait_until("cron runs the jobs", || spool.runs().0 >= expected.0 && spool.runs().1 >= expected.1);
        if polls == 0 {
            // They are started one after the other; the poller's would have been the first.
            std::thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(spool.runs(), expected, "{action}");
    }
}

/// Where Debian and Red Hat keep the crontabs of users.
#[test]
fn the_crontab_of_a_user_is_found_by_itself() {
    if !cron_is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("crontabs")).unwrap();
    let status = |user: &str| {
        let binary = under_test(env!("CARGO_BIN_EXE_autoupdate-toggle"));
        let script =
            "mkdir -p /var/spool/cron && mount --bind \"$1\" /var/spool/cron && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(dir.path())
            .arg(binary);
        let output = command.args(["status", "--method", "crontab"]).args(user.split(' ')).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let job = "* * * * * /watch/service_polling.sh\n";
    fs::write(dir.path().join("crontabs/root"), job).unwrap();
    fs::write(dir.path().join("poller"), job).unwrap();
    let of_debian = "updates are enabled (/var/spool/cron/crontabs/root:1)\n";
    assert!(status("--user root").starts_with(of_debian), "{}", status("--user root"));
    let of_red_hat = "updates are enabled (/var/spool/cron/poller:1)\n";
    assert!(status("--user poller").starts_with(of_red_hat), "{}", status("--user poller"));
    assert_eq!(
        status("--user nobody"),
        "autoupdate-toggle: nobody has no crontab in /var/spool/cron/crontabs or /var/spool/cron; name it with --user or \
         --file\n"
    );
    fs::write(dir.path().join("root"), job).unwrap();
    assert!(
        status("--wait 1")
            .contains("root has a crontab in /var/spool/cron/crontabs and in /var/spool/cron; ")
    );
}

/// Takes some four minutes: a cron that was running before takes every change up by itself.
#[test]
#[ignore = "four minutes of real time: make cron"]
fn a_paused_job_does_not_run_until_it_is_resumed() {
    if !cron_is_there() {
        return;
    }
    let begun = Instant::now();
    let say = |what: &str| println!("{:>4} s: {what}", begun.elapsed().as_secs());
    let spool = Spool::new("* * * * *");
    let before = fs::read(spool.crontab()).unwrap();
    let mut cron = spool.cron();
    let others_reach = |count: usize| {
        let limit = Instant::now() + Duration::from_secs(150);
        while spool.runs().1 < count {
            assert!(Instant::now() < limit, "cron runs the other job every minute: {:?}", spool.runs());
            std::thread::sleep(Duration::from_millis(200));
        }
        // Both are started in the same second.
        std::thread::sleep(Duration::from_secs(2));
        say(&format!("polls {}, runs of the other job {}", spool.runs().0, spool.runs().1));
        spool.runs()
    };
    assert_eq!(others_reach(1), (1, 1));
    spool.toggle("disable");
    say("paused");
    assert_eq!(others_reach(3), (1, 3), "two minutes without a poll");
    spool.toggle("enable");
    say("resumed");
    assert_eq!(others_reach(4), (2, 4));
    assert_eq!(fs::read(spool.crontab()).unwrap(), before);
    assert!(cron.0.try_wait().unwrap().is_none(), "it is the cron that was started");
}
