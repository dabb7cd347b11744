//! `--until` and `--for`: what is turned off until a time comes on again by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::parts::need;
use crate::harness::rsyncd::Rsyncd;
use crate::harness::{Sandbox, Side, Tool};
use crate::toggle::{JOB, file_with, toggle};

/// Writes the ends of a file anew, so that they are over.
fn let_time_pass(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let year = text.split("until ").nth(1).unwrap().split('-').next().unwrap().to_owned();
    fs::write(file, text.replace(&format!("until {year}"), "until 2001")).unwrap();
}

#[test]
fn a_tick_admits_whose_denial_is_over_and_the_running_daemon_follows() {
    need!("rsync");
    let sandbox = Sandbox::new();
    let world = sandbox.world();
    let rsyncd = Rsyncd::new();
    let before = fs::read(rsyncd.conf()).unwrap();
    let pid = rsyncd.start_by_hand();
    let tick = || {
        let mut command = world.command(Tool::Registry, Side::BINARY, &[]);
        let outcome = world.finish(command.env("RSYNCD_CONF", rsyncd.conf()));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        outcome.stdout
    };
    let rsync = |address: &str| {
        let mut command = Command::new("rsync");
        command.args([format!("--address={address}"), format!("rsync://127.0.0.1:{}/m/", rsyncd.port)]);
        command.output().unwrap().status.success()
    };

    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip 127.0.0.2 --for 2h");
    assert!(
        ran.stdout.contains(": denied until ") && ran.stdout.contains("seen at the daemon"),
        "{}",
        ran.stdout
    );
    let ran = rsyncd.toggle("disable --method rsyncd --module m --ip 127.0.0.3 --until 2098-01-01T00:00");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!([rsync("127.0.0.2"), rsync("127.0.0.3"), rsync("127.0.0.4")], [false, false, true]);
    let status = rsyncd.toggle("status --method rsyncd --module m").stdout;
    assert!(status.contains("denied: 127.0.0.3 until 2098-01-01 00:00 local time ("), "{status}");
    assert_eq!(tick(), "", "nothing is due");

    let both = fs::read_to_string(rsyncd.conf()).unwrap();
    let of_2 = both.lines().find(|line| line.contains("until") && line.contains("127.0.0.2")).unwrap();
    let over = of_2.replace(&of_2[27..32], "2001-");
    fs::write(rsyncd.conf(), both.replace(of_2, &over)).unwrap();
    let status = rsyncd.toggle("status --method rsyncd --module m").stdout;
    assert!(status.contains(", which is over: the next tick of dispatch admits it ("), "{status}");
    let said = tick();
    assert!(
        said.ends_with(": admitted again in module \u{201c}m\u{201d}, as it was to be: 127.0.0.2\n"),
        "{said}"
    );
    assert_eq!([rsync("127.0.0.2"), rsync("127.0.0.3")], [true, false]);
    assert_eq!(tick(), "");

    let_time_pass(&rsyncd.conf());
    // One that is edited is left for the next tick.
    let lock = fs::File::create(rsyncd.dir.path().join(".rsyncd.conf.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!((tick().as_str(), rsync("127.0.0.3")), ("", false));
    lock.unlock().unwrap();
    tick();
    assert!(rsync("127.0.0.3"));
    assert_eq!(fs::read(rsyncd.conf()).unwrap(), before);
    assert_eq!(rsyncd.pid(), pid);
}

/// The shell, as cron starts it for the line's command, is what has to let the poller through.
#[test]
fn a_paused_line_lets_the_poller_run_again_once_the_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let poller = dir.path().join("service_polling.sh");
    fs::write(&poller, "echo polled $1\n").unwrap();
    let job = format!("* * * * * sh {} \\%x; echo done\n", poller.display());
    let file = file_with(&dir, &job);
    let run = || {
        let line = fs::read_to_string(&file).unwrap();
        let command = line.trim_end().splitn(6, ' ').nth(5).unwrap().replace("\\%", "%");
        let output = Command::new("/bin/sh").arg("-c").arg(command).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(), "polled %x\ndone\n");
    let ran = toggle(&file, "disable --method crontab --for 1d");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains(": paused the poller (* * * * *) until "), "{}", ran.stdout);
    assert_eq!(run(), "");
    let status = toggle(&file, "status --method crontab").stdout;
    assert!(status.starts_with("updates are disabled until "), "{status}");

    let soon = chrono::Local::now() + chrono::TimeDelta::seconds(2);
    let until = soon.with_timezone(&chrono::FixedOffset::east_opt(8 * 3600).unwrap()).format("%FT%T");
    assert_eq!(toggle(&file, &format!("disable --method crontab --until {until}")).code, Some(0));
    crate::harness::wait_until("the pause is over", || !run().is_empty());
    assert_eq!(run(), "polled %x\ndone\n");
    let status = toggle(&file, "status --method crontab").stdout;
    assert!(status.starts_with("updates are enabled (") && status.contains(": its pause ended "), "{status}");
    assert_eq!(toggle(&file, "enable --method crontab").code, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), job);
}

#[test]
fn an_end_that_is_over_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    for (text, method) in
        [(format!("{JOB}\n"), "crontab"), ("[m]\n".to_owned(), "rsyncd --module m --ip 10.0.0.1")]
    {
        let file = file_with(&dir, &text);
        let ran = toggle(&file, &format!("disable --method {method} --until 2018-04-13T19:22"));
        let said =
            "autoupdate-toggle: --until 2018-04-13T19:22 is over already; name a time that is to come\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), said));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}
