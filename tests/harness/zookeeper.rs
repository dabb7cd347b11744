//! A real ZooKeeper on 127.0.0.1, on a port of its own, with a small heap. Tests that run at the same time share it.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use spawns_core::{Spawn, Task};
use zookeeper_client::{Acls, Client, CreateMode};

use super::port::quiet_port;

/// Where Debian has it; it is found by its path, since java needs no other.
pub const JAR: &str = "/usr/share/java/zookeeper.jar";

static SHARED: Mutex<Weak<ZooKeeper>> = Mutex::new(Weak::new());

/// A running server; dropping it stops it.
pub struct ZooKeeper {
    /// Its port.
    pub port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl ZooKeeper {
    /// The server that other tests have, or a new one.
    pub fn shared() -> Arc<ZooKeeper> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(ZooKeeper::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> ZooKeeper {
        // Another test may take the free port before the server does: then once more with another one.
        (0..5).find_map(|_| ZooKeeper::start_on(quiet_port())).expect("a ZooKeeper can be started")
    }

    fn start_on(port: u16) -> Option<ZooKeeper> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (config, data) = (dir.path().join("zoo.cfg"), dir.path().join("data"));
        let text = format!(
            "clientPort={port}\nclientPortAddress=127.0.0.1\ndataDir={}\ntickTime=2000\nadmin.enableServer=false\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("java")
            .args(["-Xmx48m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", JAR])
            .arg("-Dzookeeper.jmx.log4j.disable=true")
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("java starts");
        let mut server = ZooKeeper { port, child, _dir: dir };
        server.answers().then_some(server)
    }

    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.client().is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn client(&self) -> Result<Client, zookeeper_client::Error> {
        let _scope = spawns_core::enter(&Threads);
        let connector = Client::connector().with_session_timeout(Duration::from_secs(20)).with_fail_eagerly();
        async_io::block_on(connector.connect(&format!("127.0.0.1:{}", self.port)))
    }

    /// Creates nodes with what they hold, and those above them.
    pub fn create(&self, nodes: &[(&str, &str)]) {
        let client = self.client().expect("a session");
        for (path, content) in nodes {
            let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
            if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
                async_io::block_on(client.mkdir(above, &options)).expect("the nodes above");
            }
            async_io::block_on(client.create(path, content.as_bytes(), &options)).expect("the node");
        }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Threads;

impl Spawn for Threads {
    fn spawn(&self, task: Task) {
        std::thread::spawn(move || {
            let _scope = spawns_core::enter(&Threads);
            async_io::block_on(Box::into_pin(task.future));
        });
    }
}
