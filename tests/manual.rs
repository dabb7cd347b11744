//! docs/manual.md, in both languages: every command on the page is run, in its order, with the page's addresses and
//! directories replaced by those of a world on loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::asking::{Manner, answer};
use crate::discovery::{Server, ok};
use crate::dockerrun::described;
use crate::harness::parts::{is_root, need};
use crate::harness::port::Reserved;
use crate::harness::rsyncd::Rsyncd;
use crate::harness::world::MODEL;
use crate::harness::write_program;
use crate::harness::zookeeper::{JAR, ZooKeeper};

const ENGLISH: &str = include_str!("../docs/manual.md");
const CHINESE: &str = include_str!("../docs/manual.zh-CN.md");

/// The page's two members, here.
const MEMBERS: [&str; 2] = ["127.0.0.11", "127.0.0.12"];

const CRONTAB: &str = "# the poller\n* * * * * /usr/local/bin/service_polling\n0 3 * * * /bin/other\n";

/// The commands of a page: on which host, and what is typed there.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("```sh ").skip(1);
    fenced
        .map(|rest| rest.split("```").next().unwrap().split_once('\n').expect("a host, then commands"))
        .collect()
}

#[test]
fn both_languages_have_the_same_commands() {
    assert_eq!(blocks(ENGLISH), blocks(CHINESE));
    assert!(
        ENGLISH.split("```").skip(1).step_by(2).all(|block| block.starts_with("sh ")),
        "all of them are run"
    );
}

#[test]
fn every_binary_is_in_the_manual() {
    let makefile = include_str!("../Makefile");
    let binaries = makefile.lines().find_map(|line| line.strip_prefix("BINARIES = ")).unwrap();
    let commands: String = blocks(ENGLISH).into_iter().map(|(_, script)| script).collect();
    for binary in binaries.split_whitespace() {
        assert!(commands.contains(binary), "{binary}");
    }
}

/// The hosts of the page, all of them in one directory.
struct Hosts {
    rsyncd: Rsyncd,
    /// What stands on the page, and what it is here.
    here: Vec<(&'static str, String)>,
}

impl Hosts {
    fn new(service_port: u16, discovery: &Server, zookeeper: &ZooKeeper) -> Hosts {
        let rsyncd = Rsyncd::new();
        let root = rsyncd.dir.path().display().to_string();
        let port = rsyncd.port;
        let here = vec![
            ("moduleport=17019", format!("rsyncport={port}\nmoduleport={service_port}")),
            ("17019", service_port.to_string()),
            ("10.77.136.198", "127.0.0.1".to_owned()),
            ("/data1/monitor", format!("{root}/monitor")),
            ("/data0/deploy", format!("{root}/deploy")),
            ("/etc/rsyncd.conf", format!("{root}/rsyncd.conf")),
            ("http://discovery.example", format!("http://127.0.0.1:{}", discovery.port)),
            ("zk://10.39.11.60:2181", format!("zk://127.0.0.1:{}", zookeeper.port)),
            ("media_service", "the_manuals_group".to_owned()),
        ];
        let hosts = Hosts { rsyncd, here };
        hosts.furnish(service_port);
        hosts
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.rsyncd.dir.path().join(relative)
    }

    fn write(&self, relative: &str, content: &str, mode: u32) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_program(&path, content.as_bytes(), mode);
    }

    fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// What is there before the page's first command.
    fn furnish(&self, service_port: u16) {
        let dir = self.rsyncd.dir.path().display();
        let mut daemon = self.rsyncd_conf_head();
        for module in ["datamining_plugin", "datamining_service"] {
            let data = self.path("monitor/rsync_service_data").join(module);
            std::fs::create_dir_all(&data).unwrap();
            daemon.push_str(&format!("[{module}]\npath = {}\nread only = no\n", data.display()));
        }
        self.write("rsyncd.conf", &daemon, 0o644);
        self.write(
            "monitor/scripts/dispatch/bin/dispatchserver.sh",
            "#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n",
            0o644,
        );
        std::fs::create_dir_all(self.path("monitor/scripts/dispatch/log")).unwrap();
        self.write(
            "monitor/scripts/dispatch/conf/ports.md",
            "# Ports in use\n\n| port | service id | who |\n|---|---|---|\n| 10001 | other | x |\n",
            0o644,
        );
        // The container engine, a stand-in: `container` is the one that it was told to start.
        let docker = "#!/bin/sh\ncd \"${0%/*}/..\"\ncase $1 in\nrun) echo started | tee container ;;\n\
            ps) [ ! -e container ] || cat container ;;\ncontainer) cat described ;;\nimages) echo mblog_yellow:v1.0 ;;\nesac\n";
        self.write("stand-in/docker", docker, 0o755);
        self.write("described", &described(MODEL, service_port, "running", 0), 0o644);
        self.write("home/build/mblog_yellow.so", "library 1\n", 0o755);
        self.write("home/build/new/mblog_yellow.so", "library 2\n", 0o755);
        self.write("home/build/data/feature.conf", "feature\n", 0o644);
        for member in MEMBERS {
            let (start, stop) =
                (format!("rm -f {dir}/{member}/stopped"), format!("touch {dir}/{member}/stopped"));
            for (name, word, command) in [("start.sh", "started", start), ("stop.sh", "stopped", stop)] {
                let script = format!("#!/bin/sh\n{command}\necho {word} >> {dir}/{member}/journal\n");
                self.write(&format!("{member}/workspace/bin/{name}"), &script, 0o755);
            }
            std::fs::create_dir_all(self.path(member).join("watch/log")).unwrap();
            self.write(&format!("{member}/crontab"), CRONTAB, 0o600);
        }
    }

    fn rsyncd_conf_head(&self) -> String {
        let (dir, port) = (self.rsyncd.dir.path().display(), self.rsyncd.port);
        let owner = if is_root() { "uid = root\ngid = root\n" } else { "" };
        format!(
            "pid file = {dir}/rsyncd.pid\nport = {port}\naddress = 127.0.0.1\nlog file = {dir}/rsyncd.log\n\
             use chroot = no\nreverse lookup = no\n{owner}"
        )
    }

    /// Types a block: what is for a member, on each of them.
    fn type_in(&self, (host, script): (&str, &str)) -> String {
        match host {
            "member" => MEMBERS.map(|member| self.type_on(member, script)).concat(),
            _ => self.type_on("nobody", script),
        }
    }

    fn type_on(&self, member: &str, script: &str) -> String {
        let root = self.path(member).display().to_string();
        let of_member = [
            ("address=10.77.96.239", format!("address={member}")),
            ("/data1/work/datasys/framework/service/workspace", format!("{root}/workspace")),
            ("/watch/", format!("{root}/watch/")),
            ("/var/spool/cron/root", format!("{root}/crontab")),
            ("10.77.96.239", MEMBERS[0].to_owned()),
            ("10.77.96.240", MEMBERS[1].to_owned()),
        ];
        let here = self.here.iter().chain(&of_member);
        let script = here.fold(script.to_owned(), |script, (there, here)| script.replace(there, here));
        let binaries = Path::new(env!("CARGO_BIN_EXE_dispatch")).parent().unwrap();
        let stand_in = self.path("stand-in");
        let path =
            [binaries.display().to_string(), stand_in.display().to_string(), std::env::var("PATH").unwrap()]
                .join(":");
        let output = Command::new("dash")
            .args(["-e", "-c", &script])
            .current_dir(self.path("home"))
            .env("PATH", path)
            .env("HOME", self.path("home"))
            .env("MONITOR_ROOT", self.path("monitor"))
            .env("SERVICE_ROOT", self.path("service"))
            .env("WATCH_ROOT", self.path(member).join("watch"))
            .env("WORKSPACE_ROOT", self.path(member).join("workspace"))
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let shown = format!("{script}{stdout}{stderr}");
        assert!(output.status.success() && stderr.is_empty(), "{:?}\n{shown}", output.status);
        println!("{shown}");
        stdout.into_owned()
    }
}

/// A service whose port is open while it runs.
fn serve_while(address: (&str, u16), runs: impl Fn() -> bool) {
    let mut listener = None;
    loop {
        if !runs() {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        if let Some(listener) = &listener {
            listener.set_nonblocking(true).unwrap();
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).unwrap();
                std::thread::spawn(move || answer(stream, Manner::Serves("20180413192258")));
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn every_command_of_the_manual_does_what_the_page_says() {
    need!("rsync", "dash", "java", JAR);
    let reserved = Reserved::new();
    let port = reserved.port;
    let registered = format!(r#"{{"msg": "127.0.0.11:{port}"}}, {{"msg": "127.0.0.12:{port}"}}"#);
    // The first call registers.
    let listed = ok(&format!(r#"{{"total_count": 2, "results": [{registered}]}}"#));
    let discovery = Server::start(&[ok("{}"), listed]);
    let zookeeper = ZooKeeper::shared();
    let node = format!("/the_manuals_group/{MODEL}/online");
    zookeeper.create(&[(&format!("{node}/127.0.0.11:{port}"), "")]);
    let hosts = Hosts::new(port, &discovery, &zookeeper);
    drop(reserved);
    for member in MEMBERS {
        // The service begins when the page starts its container, and is stopped and started by its poller.
        let [container, stopped] = ["container", &format!("{member}/stopped")].map(|name| hosts.path(name));
        let address = (member, port);
        std::thread::spawn(move || serve_while(address, || container.exists() && !stopped.exists()));
    }

    let said: Vec<String> = blocks(ENGLISH).into_iter().map(|block| hosts.type_in(block)).collect();
    let said = said.concat();

    let announced = format!("monitor/rsync_service_data/datamining_service/{MODEL}/config_1/service.conf");
    for member in MEMBERS {
        let of_member = |name: &str| hosts.read(&format!("{member}/{name}"));
        let installed = of_member("workspace/bin/etc/service.conf");
        assert_eq!(installed, hosts.read(&announced), "the member has what the monitor announces");
        let version = installed.lines().find_map(|line| line.strip_prefix("moduleversion=")).unwrap();
        let library = of_member(&format!("workspace/plugin/{MODEL}/{version}/lib/{MODEL}.so"));
        assert_eq!(library, "library 2\n");
        assert_eq!(of_member("journal"), "stopped\nstarted\nstopped\nstarted\n");
        assert_eq!(of_member("crontab"), CRONTAB);
    }
    assert!(!hosts.read("rsyncd.conf").contains("127.0.0.12"), "every member is let in again");
    for words in [
        &format!("127.0.0.11:{port}  registered"),
        "pushed mblog_yellow 2",
        "): denied: 127.0.0.12",
        "docker run -d --net=host -v ",
        "(image v1.0): running; serves 20180413192258 (the service says so, on port ",
        "): admitted: 127.0.0.12",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(hosts.rsyncd.processes().is_empty(), "the daemon was stopped");
}
