//! `service-discovery` against real servers on loopback: an HTTP server that answers as the manual's does, or badly, and a
//! real ZooKeeper.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::parts::need;
use crate::harness::port::quiet_port;
use crate::harness::side::under_test;
use crate::harness::zookeeper::{JAR, ZooKeeper};

const TWO: &str = r#"{"total_count": 2, "results": [{"msg": "127.0.0.12:17019 since Friday"}, {"msg": "127.0.0.11:17019"}]}"#;
const TWO_IN_A_TABLE: &str = "127.0.0.11:17019  registered\n127.0.0.12:17019  registered  since Friday\n";

/// What the server does with a connection on which a request has arrived.
#[derive(Clone)]
pub enum Manner {
    /// Sends these bytes and closes.
    Sends(String),
    /// Sends these bytes, and then the others for ever.
    Floods(String, &'static [u8]),
    /// Never says a word.
    Silent,
    /// A byte of its answer now and then.
    Dribbles,
}

pub fn ok(body: &str) -> Manner {
    status("200 OK", body)
}

fn status(status: &str, body: &str) -> Manner {
    let length = body.len();
    Manner::Sends(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
}

/// An HTTP server: the first connection gets the first manner, and so on; the last manner stays.
pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(manners: &[Manner]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (manners, seen) = (manners.to_vec(), Arc::clone(&requests));
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let manner = manners[count.min(manners.len() - 1)].clone();
                let (stream, seen) = (stream.unwrap(), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &manner, &seen));
            }
        });
        Server { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn env_sh(&self) -> String {
        format!(
            "discovery_url=http://127.0.0.1:{}\ndiscovery_source=2110367561\ndiscovery_mail=changjun6\n\
             cluster_id=zk://10.39.11.60:2181,10.39.11.61:2181\ngroup_id=media_service\nservice_id=mblog_yellow\n\
             discovery_type=test\nmembers=\"127.0.0.11,127.0.0.12\"\nmoduleport=17019\n",
            self.port
        )
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, seen: &Mutex<Vec<String>>) {
    seen.lock().unwrap().push(request(&stream));
    let _ = match manner {
        Manner::Sends(bytes) => stream.write_all(bytes.as_bytes()),
        Manner::Floods(head, flood) => {
            let _ = stream.write_all(head.as_bytes());
            let flood = flood.repeat(64 << 10);
            while stream.write_all(&flood).is_ok() {}
            Ok(())
        }
        Manner::Silent => {
            let _ = stream.read(&mut [0]);
            Ok(())
        }
        Manner::Dribbles => {
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".bytes().chain([b' '; 99]).try_for_each(|byte| {
                thread::sleep(Duration::from_millis(100));
                stream.write_all(&[byte])
            })
        }
    };
}

/// The request's first line, its content type if it has one, and its body.
fn request(stream: &TcpStream) -> String {
    let mut first = [0];
    // A client of ZooKeeper begins with a length in four bytes.
    if stream.peek(&mut first).is_err() || first == [0] {
        return String::new();
    }
    let mut reader = BufReader::new(stream);
    let (mut shown, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if shown.is_empty() || lower.starts_with("content-type:") {
            shown.push_str(&line.trim_end().to_lowercase());
            shown.push('\n');
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    shown + &String::from_utf8_lossy(&body)
}

/// One run in a directory with this env.sh, in little memory, with a proxy that is not to be asked.
fn run_in(dir: &Path, env_sh: &str, arguments: &str) -> Output {
    std::fs::write(dir.join("env.sh"), env_sh).unwrap();
    Command::new("sh")
        .args(["-c", "ulimit -v 1500000; exec \"$@\"", "sh"])
        .arg(under_test(env!("CARGO_BIN_EXE_service-discovery")))
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .env("http_proxy", "http://127.0.0.1:1")
        .env("MONITOR_ROOT", dir.join("monitor"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

/// Exit code, standard output, standard error.
fn run(env_sh: &str, arguments: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    outcome(&run_in(dir.path(), env_sh, arguments))
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The one line of a run that fails with this code, and that ends in bounded time.
fn complaint(code: i32, env_sh: &str, arguments: &str) -> String {
    let begun = Instant::now();
    let (status, stdout, stderr) = run(env_sh, arguments);
    assert!(begun.elapsed() < Duration::from_secs(60), "{arguments} took {:?}: {stderr}", begun.elapsed());
    assert_eq!((status, stdout.as_str()), (code, ""), "{stderr}");
    assert!(stderr.starts_with("service-discovery: ") && stderr.matches('\n').count() == 1, "{stderr}");
    assert!(stderr.contains("; ") && stderr.len() < 1000, "what is to be done? {stderr}");
    stderr
}

#[test]
fn a_registration_is_the_form_of_the_manual() {
    let server = Server::start(&[ok("{\"result\": true}")]);
    let (status, stdout, stderr) = run(&server.env_sh(), "register --source 646811797");
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (0, "registered media_service/mblog_yellow\n", "")
    );
    assert_eq!(
        server.requests(),
        ["post /2/darwin/application/service_discovery/registe_service.json http/1.1\n\
          content-type: application/x-www-form-urlencoded\n\
          source=646811797&cluster_id=zk://10.39.11.60:2181,10.39.11.61:2181&group_id=media_service\
          &service_id=mblog_yellow&mail=changjun6"]
    );
}

#[test]
fn what_is_registered_is_asked_as_in_the_manual_and_shown() {
    let server = Server::start(&[ok(TWO)]);
    assert_eq!(run(&server.env_sh(), "status"), (0, TWO_IN_A_TABLE.to_owned(), String::new()));
    assert_eq!(
        server.requests(),
        ["get /darwin/application/service_discovery/get_service.json?source=2110367561\
          &cluster_id=zk://10.39.11.60:2181,10.39.11.61:2181&group_id=media_service&service_id=mblog_yellow\
          &type=test http/1.1\n"]
    );
    let (status, stdout, _) = run(&server.env_sh(), "status --json --service-id other");
    assert_eq!(status, 0);
    assert_eq!(
        stdout,
        "{\"group_id\":\"media_service\",\"service_id\":\"other\",\"instances\":[{\"address\":\"127.0.0.11:17019\",\
         \"remark\":\"\"},{\"address\":\"127.0.0.12:17019\",\"remark\":\"since Friday\"}]}\n"
    );
    assert!(server.requests()[1].contains("&service_id=other&"));
}

#[test]
fn registered_instances_are_compared_with_the_members_of_env_sh() {
    let server = Server::start(&[ok(TWO)]);
    let (status, stdout, stderr) = run(&server.env_sh(), "status --expect-members");
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (0, TWO_IN_A_TABLE, ""));
    let others = server.env_sh().replace("127.0.0.12", "127.0.0.13");
    let (status, stdout, stderr) = run(&others, "status --expect-members");
    assert_eq!(status, 1);
    assert_eq!(
        stdout,
        "127.0.0.11:17019  registered\n127.0.0.12:17019  unexpected  since Friday\n127.0.0.13:17019  missing\n"
    );
    assert_eq!(
        stderr,
        "service-discovery: media_service/mblog_yellow: not registered are 1 of 2 members: 127.0.0.13:17019; registered, \
         but no members: 127.0.0.12:17019; start or stop their services, or correct the member list\n"
    );
    let (status, stdout, _) = run(&others, "status --expect-members --json");
    assert_eq!(status, 1);
    let end = ",\"missing\":[\"127.0.0.13:17019\"],\"unexpected\":[\"127.0.0.12:17019\"]}\n";
    assert!(stdout.ends_with(end), "{stdout}");
    let named = server.env_sh().replace("127.0.0.12", "localhost,127.0.0.12");
    assert!(
        run(&named, "status --expect-members")
            .2
            .contains("not registered are 1 of 3 members: localhost:17019;")
    );
}

#[test]
fn on_the_monitor_a_models_list_and_service_conf_say_what_to_ask() {
    let server = Server::start(&[ok(TWO)]);
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join("monitor").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let conf = "[common]\nport=17019\n[module]\nname=m\n[monitor]\n#zk的地址\nzk_addr = zk://10.0.0.1:2181\n\
        zk_group_id=dnn\nzk_service_id = dnn_feed\nzk_type_id=aliyun\n";
    write("rsync_service_data/datamining_service/m/config_1/service.conf", conf);
    write("rsync_service_data/datamining_plugin/m/.env.sh", "members=127.0.0.11\nmoduleport=17019\n");
    let options = format!("--model m --url http://127.0.0.1:{} --source 1", server.port);
    // The env.sh here is that of another model.
    let other = "group_id=other\nservice_id=other\n";
    let status = |more: &str| outcome(&run_in(dir.path(), other, &format!("status {options} {more}")));
    assert!(status("--expect-members").2.contains("registered, but no members: 127.0.0.12:17019;"));
    write("scripts/dispatch/conf/m.env.sh", "members='127.0.0.11 127.0.0.12'\nmoduleport=17019\n");
    assert_eq!(status("--expect-members"), (0, TWO_IN_A_TABLE.to_owned(), String::new()));
    let asked = server.requests().pop().unwrap();
    assert!(
        asked.contains("cluster_id=zk://10.0.0.1:2181&group_id=dnn&service_id=dnn_feed&type=aliyun "),
        "{asked}"
    );
    write("rsync_service_data/datamining_service/m/config_1/service.conf", &conf.replace("2181", "0"));
    let (code, _, stderr) = status("--model typo");
    assert_eq!(code, 2, "an option is given once: {stderr}");
    let (code, _, stderr) = outcome(&run_in(dir.path(), other, "status --model typo"));
    assert!(code == 1 && stderr.contains("typo.env.sh nor "), "{stderr}");
    let (code, _, stderr) = status("");
    assert_eq!(code, 2);
    assert!(stderr.contains("config_1/service.conf:7: zk_addr: \u{201c}0\u{201d} is not a port"), "{stderr}");
}

#[test]
fn a_bad_answer_is_one_line_that_says_what_to_do() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let deep = "[".repeat(1 << 19);
    for (manner, said) in [
        (status("500 Oops", "boom\nboom"), "it answers 500 \u{201c}boom\\nboom\u{201d}; try again later"),
        (
            status("403 No", "{\"error\":\"appkey\"}"),
            "it answers 403 \u{201c}{\"error\":\"appkey\"}\u{201d}; check --url",
        ),
        (
            Manner::Sends(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ),
            "it answers 302 and points to \u{201c}http://127.0.0.1:1/\u{201d}; correct --url",
        ),
        (ok("<html>login</html>"), "it is not the expected JSON"),
        (ok(""), "it is not the expected JSON"),
        (ok(&deep), "it is not the expected JSON"),
        (ok("{\"total_count\":9,\"results\":[]}"), "it counts 9 instances and lists 0"),
        (ok("{\"total_count\":1,\"results\":[{\"msg\":\"10.0.0.1:99999\"}]}"), "is not a port"),
        (ok(&" ".repeat((1 << 20) + 1)), "the answer has more than 1024 KiB"),
        (Manner::Floods(head.to_owned(), b" "), "the answer has more than 1024 KiB"),
        (
            Manner::Floods(chunked.to_owned(), b"10\r\n                \r\n"),
            "the answer has more than 1024 KiB",
        ),
        (Manner::Floods("HTTP/1.1 200 OK\r\n".to_owned(), b"a: b\r\n"), "that is no HTTP answer"),
        (Manner::Floods(String::new(), b"\x00"), "that is no HTTP answer"),
        (Manner::Sends(format!("{head}{{")), "the answer is cut off"),
        (Manner::Sends(format!("{chunked}5\r\n{{")), "the answer is cut off"),
        (Manner::Sends("220 ftp\r\n".to_owned()), "that is no HTTP answer"),
        (Manner::Sends(String::new()), "the answer is cut off"),
    ] {
        let server = Server::start(&[manner]);
        let line = complaint(1, &server.env_sh(), "status --retries 0 --expect-members");
        assert!(line.contains(said), "{said}: {line}");
        assert!(line.contains("/darwin/application/service_discovery/get_service.json: "), "{line}");
    }
}

#[test]
fn a_slow_answer_ends_with_the_time_limit() {
    for manner in [Manner::Silent, Manner::Dribbles] {
        let server = Server::start(&[manner]);
        let line = complaint(1, &server.env_sh(), "status --retries 1 --timeout 1");
        assert!(line.contains("no whole answer in time; check --url"), "{line}");
        assert!(line.contains("(tried 2 times)"), "{line}");
    }
}

#[test]
fn what_may_pass_is_asked_again_and_a_registration_only_when_nothing_was_sent() {
    let cut_off = Manner::Sends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned());
    let manners = [status("502 Bad Gateway", ""), cut_off, ok(TWO)];
    let server = Server::start(&manners);
    assert_eq!(run(&server.env_sh(), "status").0, 0);
    assert_eq!(server.requests().len(), 3);

    let server = Server::start(&[status("502 Bad Gateway", ""), ok("{}")]);
    let line = complaint(1, &server.env_sh(), "register");
    assert!(line.contains("it answers 502") && line.contains("it may be registered all the same"), "{line}");
    assert_eq!(server.requests().len(), 1);

    let server = Server::start(&[ok("{\"error\": \"no such source\", \"error_code\": 10006}")]);
    let line = complaint(1, &server.env_sh(), "register");
    assert!(line.contains("it refuses: ") && line.contains("no such source"), "{line}");

    let nobody = Server { port: quiet_port(), requests: Arc::default() };
    let line = complaint(1, &nobody.env_sh(), "register --retries 1");
    assert!(line.contains("registe_service.json: connection refused; check --url"), "{line}");
    assert!(line.ends_with("(tried 2 times)\n"), "{line}");
}

#[test]
fn a_value_that_is_none_is_refused_before_anything_is_sent() {
    let server = Server::start(&[ok(TWO)]);
    for (arguments, said) in [
        ("status --cluster-id zk:/10.0.0.1:2181", "does not begin with zk://"),
        ("status --cluster-id zk://10.0.0.1:2181,10.0.0.2", "names a server without a port"),
        ("status --zk --cluster-id zk://10.0.0.1:65536", "is not a port"),
        ("register --url https://127.0.0.1", "asks for https, which is not spoken here"),
        ("status --group-id ../x", "--group-id: "),
        ("status --zk --zk-path a/b", "is not the path of a node"),
        ("status --timeout 0", "--timeout: "),
        ("status --env elsewhere.sh", "cannot read elsewhere.sh"),
    ] {
        let code = if arguments.contains("elsewhere") { 1 } else { 2 };
        let line = complaint(code, &server.env_sh(), arguments);
        assert!(line.contains(said), "{said}: {line}");
    }
    assert_eq!(complaint(2, "", "status").matches("group_id is not known; give --group-id").count(), 1);
    assert!(complaint(2, "group_id=$(id)\n", "status").contains("env.sh:1:10: "));
    assert_eq!(server.requests(), Vec::<String>::new());
}

/// An env.sh that names an ensemble.
fn ensemble(cluster_id: &str, service: &str) -> String {
    format!(
        "cluster_id={cluster_id}\ngroup_id=media_service\nservice_id={service}\nmembers=127.0.0.11,127.0.0.12\nmoduleport=17019\n"
    )
}

#[test]
fn the_ensemble_itself_is_asked_for_nodes_that_are_named_by_their_instance_or_hold_it() {
    need!("java", JAR);
    let zookeeper = ZooKeeper::shared();
    zookeeper.create(&[
        ("/media_service/named/127.0.0.11:17019", ""),
        ("/media_service/named/127.0.0.12:17019", "{\"since\": 5}"),
        ("/media_service/holds/test/member-0000000007", "127.0.0.12:17019 since Friday"),
        ("/media_service/holds/test/member-0000000008", "127.0.0.11:17019"),
        ("/elsewhere/media_service/chroot/127.0.0.11:17019", ""),
        ("/elsewhere/nodes/127.0.0.99:1", ""),
    ]);
    let live = format!("zk://127.0.0.1:{}", zookeeper.port);
    let table = "127.0.0.11:17019  registered\n127.0.0.12:17019  registered\n";
    let named = ensemble(&live, "named");
    assert_eq!(run(&named, "status --zk --expect-members"), (0, table.to_owned(), String::new()));
    let holds = ensemble(&live, "holds");
    assert_eq!(run(&holds, "status --zk --type test"), (0, TWO_IN_A_TABLE.to_owned(), String::new()));
    let chroot = ensemble(&format!("{live}/elsewhere"), "chroot");
    let (code, stdout, stderr) = run(&chroot, "status --zk --expect-members");
    assert_eq!(
        (code, stdout.as_str()),
        (1, "127.0.0.11:17019  registered\n127.0.0.12:17019  missing\n"),
        "{stderr}"
    );
    assert_eq!(run(&chroot, "status --zk --zk-path /nodes").1, "127.0.0.99:1  registered\n");
    // The instances are one node deeper, and nobody has registered.
    assert!(
        complaint(1, &holds, "status --zk").contains("\u{201c}test\u{201d} is not IP:PORT; name the node")
    );
    let line = complaint(1, &ensemble(&live, "nobody"), "status --zk");
    assert!(
        line.contains("there is no node /media_service/nobody: nobody has registered; check group_id"),
        "{line}"
    );
}

#[test]
fn a_server_of_the_ensemble_that_is_down_or_silent_is_passed_over() {
    need!("java", JAR);
    let zookeeper = ZooKeeper::shared();
    zookeeper.create(&[("/media_service/passed/127.0.0.11:17019", "")]);
    let silent = Server::start(&[Manner::Silent]);
    let cluster =
        format!("zk://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", quiet_port(), silent.port, zookeeper.port);
    let (code, stdout, stderr) =
        run(&ensemble(&cluster, "passed"), "status --zk --connect-timeout 1 --timeout 20");
    assert_eq!((code, stdout.as_str()), (0, "127.0.0.11:17019  registered\n"), "{stderr}");
}

#[test]
fn an_ensemble_that_does_not_answer_is_one_line_in_bounded_time_and_memory() {
    let nobody = quiet_port();
    let http = status("400 Bad Request", "");
    let silent = Manner::Silent;
    let boasts = Manner::Sends("\x7f\x7f\x7f\x7f".to_owned());
    let negative = Manner::Floods(String::new(), b"\xff");
    let floods = Manner::Floods("\x7f\x7f\x7f\x7f".to_owned(), b"\x00");
    let of = |manner: Manner| Server::start(&[manner]).port;
    // The flood has to fill the memory, on a loaded machine too.
    for (port, said) in [
        (nobody, "no server answers as a ZooKeeper does; check cluster_id"),
        (of(http), "no server answers as a ZooKeeper does; check cluster_id"),
        (of(boasts), "check cluster_id"),
        (of(negative), "check cluster_id"),
        (of(silent), "check cluster_id"),
        (of(floods), "it sends more than is read; check cluster_id"),
    ] {
        let env_sh = ensemble(&format!("zk://127.0.0.1:{port}"), "s");
        let seconds = if said.contains("sends more") { 15 } else { 2 };
        let line = complaint(1, &env_sh, &format!("status --zk --timeout {seconds} --retries 0 --json"));
        assert!(line.contains(said), "{said}: {line}");
    }
}
