//! What is to be called, from the options, an env.sh and a service.conf, in this order. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::discovery::{BaseUrl, ClusterId, NodePath};
use crate::error::{Error, Result};
use crate::formats::env_file::EnvFile;
use crate::formats::service_conf;
use crate::formats::shell::Context;
use crate::names::{Address, DiscoveryName, Port, shown};
use crate::tools::service_discovery::cli::{Asked, Compare, Options, Request, Whom};

/// What `curl -d` of the manual sends as it is; a server decodes either.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',');

/// A file that was read.
#[derive(Debug)]
pub struct File {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files that say what no option says.
#[derive(Debug, Default)]
pub struct Files {
    /// An env.sh.
    pub env: Option<File>,
    /// A service.conf.
    pub service_conf: Option<File>,
}

/// What is to be called, and what the answer is compared with.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The service's group.
    pub group: DiscoveryName,
    /// The service.
    pub service: DiscoveryName,
    /// The call.
    pub call: Call,
    /// Who has to be registered, where that is asked for.
    pub members: Option<Members>,
}

/// A call.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// `registe_service.json`
    Register {
        /// The URL.
        url: String,
        /// The form, encoded.
        form: String,
    },
    /// `get_service.json`
    Ask {
        /// The URL without the query.
        url: String,
        /// The query, encoded.
        query: String,
    },
    /// The ensemble.
    AskZooKeeper {
        /// Its servers.
        cluster: ClusterId,
        /// The node below which instances are.
        node: NodePath,
    },
}

/// Who has to be registered.
#[derive(Debug, PartialEq, Eq)]
pub struct Members {
    /// `members`
    pub addresses: Vec<Address>,
    /// `moduleport`
    pub port: Port,
}

/// How a value is called, wherever it may stand.
struct Key {
    option: &'static str,
    env: &'static str,
    service_conf: Option<&'static str>,
}

const URL: Key = Key { option: "--url", env: "discovery_url", service_conf: None };
const SOURCE: Key = Key { option: "--source", env: "discovery_source", service_conf: None };
const MAIL: Key = Key { option: "--mail", env: "discovery_mail", service_conf: None };
const CLUSTER: Key = Key { option: "--cluster-id", env: "cluster_id", service_conf: Some("zk_addr") };
const GROUP: Key = Key { option: "--group-id", env: "group_id", service_conf: Some("zk_group_id") };
const SERVICE: Key = Key { option: "--service-id", env: "service_id", service_conf: Some("zk_service_id") };
const TYPE: Key = Key { option: "--type", env: "discovery_type", service_conf: Some("zk_type_id") };
const ZK_PATH: Key = Key { option: "--zk-path", env: "zk_path", service_conf: Some("zk_monitor_path") };

/// Puts the call together. Fails (exit 2) on a value that is not one, with its place, and on one that nobody says.
pub fn plan(request: &Request, files: &Files, context: &Context) -> Result<Plan> {
    let env = files.env.as_ref().map(|file| EnvFile::parse(&file.path, &file.bytes, context)).transpose()?;
    let values = Values { env, service_conf: files.service_conf.as_ref() };
    let options = &request.options;
    let group = values.needed(&GROUP, options.group_id.as_ref(), DiscoveryName::parse)?;
    let service = values.needed(&SERVICE, options.service_id.as_ref(), DiscoveryName::parse)?;
    let (call, members) = match request.verb {
        Asked::Register => (values.register(options, &group, &service)?, None),
        Asked::Status { whom, compare, .. } => {
            let call = match whom {
                Whom::Service => values.ask(options, &group, &service)?,
                Whom::ZooKeeper => values.ask_zookeeper(options, &group, &service)?,
            };
            (call, if compare == Compare::Members { Some(values.members()?) } else { None })
        }
    };
    Ok(Plan { group, service, call, members })
}

struct Values<'a> {
    env: Option<EnvFile<'a>>,
    service_conf: Option<&'a File>,
}

impl Values<'_> {
    fn register(&self, options: &Options, group: &DiscoveryName, service: &DiscoveryName) -> Result<Call> {
        let base = self.needed(&URL, options.url.as_ref(), BaseUrl::parse)?;
        let form = fields(&[
            ("source", self.needed(&SOURCE, options.source.as_ref(), DiscoveryName::parse)?.as_str()),
            ("cluster_id", self.needed(&CLUSTER, options.cluster_id.as_ref(), ClusterId::parse)?.as_str()),
            ("group_id", group.as_str()),
            ("service_id", service.as_str()),
            ("mail", &self.needed(&MAIL, options.mail.as_ref(), mail)?),
        ]);
        let url = format!("{}/2/darwin/application/service_discovery/registe_service.json", base.as_str());
        Ok(Call::Register { url, form })
    }

    fn ask(&self, options: &Options, group: &DiscoveryName, service: &DiscoveryName) -> Result<Call> {
        let base = self.needed(&URL, options.url.as_ref(), BaseUrl::parse)?;
        let query = fields(&[
            ("source", self.needed(&SOURCE, options.source.as_ref(), DiscoveryName::parse)?.as_str()),
            ("cluster_id", self.needed(&CLUSTER, options.cluster_id.as_ref(), ClusterId::parse)?.as_str()),
            ("group_id", group.as_str()),
            ("service_id", service.as_str()),
            ("type", self.needed(&TYPE, options.kind.as_ref(), DiscoveryName::parse)?.as_str()),
        ]);
        // Without the /2 of the other call: so it is in the manual.
        let url = format!("{}/darwin/application/service_discovery/get_service.json", base.as_str());
        Ok(Call::Ask { url, query })
    }

    fn ask_zookeeper(
        &self,
        options: &Options,
        group: &DiscoveryName,
        service: &DiscoveryName,
    ) -> Result<Call> {
        let cluster = self.needed(&CLUSTER, options.cluster_id.as_ref(), ClusterId::parse)?;
        let path = match self.find(&ZK_PATH, options.zk_path.as_ref(), NodePath::parse)? {
            Some(path) => path,
            None => {
                let kind = self.find(&TYPE, options.kind.as_ref(), DiscoveryName::parse)?;
                let kind = kind.map(|kind| format!("/{kind}")).unwrap_or_default();
                NodePath::parse(format!("/{group}/{service}{kind}").as_bytes())?
            }
        };
        let node = cluster.node(&path);
        Ok(Call::AskZooKeeper { cluster, node })
    }

    fn members(&self) -> Result<Members> {
        let Some(env) = &self.env else {
            return Err(Error::usage(
                "the members are not known; name an env.sh with --env, or on the monitor the model with --model",
            ));
        };
        let addresses = env.list("members", Address::parse)?;
        if addresses.is_empty() {
            return Err(env.missing("members"));
        }
        Ok(Members { addresses, port: env.needed("moduleport", Port::parse)? })
    }

    fn needed<T>(
        &self,
        key: &Key,
        option: Option<&OsString>,
        parse: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<T> {
        self.find(key, option, parse)?.ok_or_else(|| {
            let Key { option, env, .. } = key;
            let in_service_conf = match key.service_conf {
                Some(name) => format!(", or name a service.conf with {name} in [monitor] by --service-conf"),
                None => String::new(),
            };
            Error::usage(format!(
                "{env} is not known; give {option}, or write {env}=... into env.sh{in_service_conf}"
            ))
        })
    }

    fn find<T>(
        &self,
        key: &Key,
        option: Option<&OsString>,
        parse: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        if let Some(value) = option {
            return parse(value.as_bytes()).map(Some).map_err(|e| e.context(key.option));
        }
        if let Some(env) = &self.env
            && let Some(value) = env.optional(key.env, &parse)?
        {
            return Ok(Some(value));
        }
        let (Some(file), Some(name)) = (self.service_conf, key.service_conf) else { return Ok(None) };
        let Some((value, line)) = service_conf::value_in(&file.bytes, "monitor", name) else {
            return Ok(None);
        };
        parse(value).map(Some).map_err(|e| e.context(format!("{}:{line}: {name}", file.path.display())))
    }
}

fn mail(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(name) if (1..=254).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(name.to_owned())
        }
        _ => Err(Error::usage(format!("{} is not the name of a mailbox", shown(bytes)))),
    }
}

/// `name=value&name=value`
fn fields(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, ENCODED));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::time::LocalTime;
    use crate::tools::service_discovery::cli::Cli;

    const ENV: &str = "discovery_url=http://h:8080/\ndiscovery_source=64\ndiscovery_mail=a+b@c\n\
        cluster_id=zk://10.0.0.1:2181,10.0.0.2:2181\ngroup_id=g\nservice_id=s\ndiscovery_type=t\n\
        members=10.0.0.3,host4\nmoduleport=17019\n";
    const CONF: &str =
        "[monitor]\nzk_addr = zk://10.0.0.9:2181/root\nzk_group_id = cg\nzk_service_id = cs\nzk_type_id=ct\n";

    fn planned(arguments: &str, env: &str, conf: &str) -> Result<Plan> {
        let arguments = ["service-discovery"].into_iter().chain(arguments.split_whitespace());
        let request = Cli::try_parse_from(arguments).unwrap().request()?;
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let context = Context { environment: &|_| None, now: &now };
        let file = |path: &str, text: &str| Some(File { path: path.into(), bytes: text.into() });
        let files = Files { env: file("env.sh", env), service_conf: file("service.conf", conf) };
        plan(&request, &files, &context)
    }

    fn refused(arguments: &str, env: &str, conf: &str) -> String {
        planned(arguments, env, conf).unwrap_err().to_string()
    }

    #[test]
    fn the_calls_are_those_of_the_manual() {
        let url = "http://h:8080/2/darwin/application/service_discovery/registe_service.json".to_owned();
        let form =
            "source=64&cluster_id=zk://10.0.0.1:2181,10.0.0.2:2181&group_id=g&service_id=s&mail=a%2Bb%40c";
        assert_eq!(planned("register", ENV, "").unwrap().call, Call::Register { url, form: form.to_owned() });
        let url = "http://h:8080/darwin/application/service_discovery/get_service.json".to_owned();
        let query = "source=64&cluster_id=zk://10.0.0.1:2181,10.0.0.2:2181&group_id=g&service_id=s&type=t";
        assert_eq!(planned("status", ENV, "").unwrap().call, Call::Ask { url, query: query.to_owned() });
    }

    #[test]
    fn an_option_wins_over_env_sh_and_env_sh_over_service_conf() {
        let service = |arguments, env| planned(arguments, env, CONF).unwrap().service.to_string();
        assert_eq!(service("status --zk --service-id o", ENV), "o");
        assert_eq!(service("status --zk", ENV), "s");
        assert_eq!(service("status --zk", "service_id=\n"), "cs");
    }

    #[test]
    fn the_node_is_below_the_clusters_path_group_service_and_type() {
        let node = |arguments: &str, env: &str, conf: &str| match planned(arguments, env, conf).unwrap().call
        {
            Call::AskZooKeeper { node, .. } => node.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(node("status --zk", "", CONF), "/root/cg/cs/ct");
        assert_eq!(node("status --zk", ENV, ""), "/g/s/t");
        assert_eq!(node("status --zk", &ENV.replace("discovery_type=t", ""), ""), "/g/s");
        assert_eq!(
            node("status --zk", "", &format!("{CONF}zk_monitor_path=/else/where\n")),
            "/root/else/where"
        );
        assert_eq!(node("status --zk --zk-path /x", ENV, ""), "/x");
    }

    #[test]
    fn members_are_known_where_they_are_compared() {
        let members = planned("status --expect-members", ENV, "").unwrap().members.unwrap();
        assert_eq!((members.addresses.len(), members.port.number()), (2, 17019));
        assert_eq!(planned("status", ENV, "").unwrap().members, None);
        let without = |line: &str| refused("status --expect-members", &ENV.replace(line, ""), "");
        assert!(without("members=10.0.0.3,host4").contains("env.sh: members is not set"));
        assert!(without("moduleport=17019").contains("env.sh: moduleport is not set"));
    }

    #[test]
    fn a_value_that_is_none_is_refused_with_its_place() {
        for (arguments, env, conf, said) in [
            (
                "status",
                "",
                "",
                "group_id is not known; give --group-id, or write group_id=... into env.sh, or name a",
            ),
            (
                "status",
                "group_id=g\nservice_id=s",
                "",
                "discovery_url is not known; give --url, or write discovery_url=...",
            ),
            (
                "status --group-id a/b",
                "",
                "",
                "--group-id: \u{201c}a/b\u{201d} is not a name in service discovery",
            ),
            ("status", "\ngroup_id='a b'", "", "env.sh:2: group_id: \u{201c}a b\u{201d} is not a name"),
            (
                "status --zk",
                "",
                &CONF.replace("2181", "99999"),
                "service.conf:2: zk_addr: \u{201c}99999\u{201d} is not a port",
            ),
            ("status --url https://h", ENV, "", "--url: \u{201c}https://h\u{201d} asks for https"),
        ] {
            let error = refused(arguments, env, conf);
            assert!(error.contains(said), "{arguments}: {error}");
        }
    }

    #[test]
    fn a_mailbox_has_a_name() {
        assert!(mail(b"changjun6").is_ok() && mail("\u{9ec4}".as_bytes()).is_err());
        assert!(mail(b"").is_err() && mail(b"a b").is_err() && mail(&[b'a'; 255]).is_err());
    }
}
