//! Rows about the commands of the manual's third part, which have no script.

use std::fs;

use crate::daemon::{Foreign, manual_stop};
use crate::harness::rsyncd::{Rsyncd, runs};
use crate::harness::{Side, wait_until};
use crate::toggle::{Daemon, JOB, a_busy_crontab, file_with, shell, toggle};

/// A member that was denied: by a line at the end of the file, where another module is the last one; and where a
/// `hosts allow` matches.
pub fn a_denied_member(side: Side) -> Option<String> {
    let daemon = Daemon::start();
    let mut seen = Vec::new();
    for (place, text) in [
        ("another module is last", "[datamining_service]\nPATH\n[datamining_plugin]\nPATH\n"),
        ("hosts allow", "[datamining_service]\nPATH\nhosts allow = 127.0.0.0/8\n"),
    ] {
        daemon.configure(text);
        let refused = match side {
            Side::Script(_) => {
                shell(r#"echo "hosts deny = 127.0.0.2" >> "$1""#, &daemon.conf());
                false
            }
            Side::Binary(_) => {
                let ran = toggle(&daemon.conf(), "disable --method rsyncd --ip 127.0.0.2");
                ran.code == Some(1) && ran.stderr.contains("rsyncd.conf:7: hosts allow has 127.0.0.0/8")
            }
        };
        let admitted = daemon.admits("127.0.0.2", "datamining_service");
        seen.push(match (refused, admitted) {
            (true, _) => format!("{place}: exit 1, names its line"),
            (false, true) => format!("{place}: still served"),
            (false, false) => format!("{place}: denied"),
        });
    }
    Some(seen.join("; "))
}

/// A job is taken out of a crontab whose other lines have to stay, and put back where there is a way.
pub fn a_paused_crontab(side: Side) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let text = a_busy_crontab();
    let file = file_with(&dir, &text);
    match side {
        Side::Script(_) => {
            shell(r#"sed -i '/service_polling.sh/d' "$1" && sed -i '/^$/d' "$1""#, &file);
        }
        Side::Binary(_) => assert_eq!(toggle(&file, "disable --method crontab").code, Some(0)),
    }
    let paused = fs::read_to_string(&file).unwrap();
    let runs_still = paused.lines().any(|line| line == JOB);
    let kept = text.lines().skip(1).filter(|line| paused.lines().any(|other| other == *line)).count();
    let (others, job) = (text.lines().count() - 1, if runs_still { "runs still" } else { "paused" });
    // There is no way back from the manual's commands.
    let back = matches!(side, Side::Binary(_))
        && toggle(&file, "enable --method crontab").code == Some(0)
        && fs::read_to_string(&file).unwrap() == text;
    let back = if back { "; enable puts back every byte" } else { "" };
    Some(format!("the job is {job}, {kept} of {others} other lines stay{back}"))
}

/// The pid file names a process that has nothing to do with rsync.
pub fn a_stale_pid_file(side: Side) -> Option<String> {
    let rsyncd = Rsyncd::new();
    let mut foreign = Foreign::start();
    rsyncd.write_pid_file(format!("{}\n", foreign.pid()));
    let said = match side {
        Side::Script(_) => {
            assert!(manual_stop(&rsyncd));
            wait_until("what kill -9 hits ends", || !runs(foreign.pid()));
            String::new()
        }
        Side::Binary(_) => rsyncd.toggle("daemon stop").stdout,
    };
    let fate = if foreign.survives() { "lives" } else { "is killed" };
    let named = said.contains("\u{201c}sleep 600\u{201d}), which is no rsync daemon");
    let said = if named { ", and is named as no rsync daemon" } else { "" };
    let removed = if rsyncd.pid_file().exists() { "" } else { "; the pid file goes" };
    Some(format!("another program {fate}{said}{removed}"))
}
