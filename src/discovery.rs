//! Words of service discovery (contract section 3): the ensemble that `cluster_id` names, a node in it, the address of the
//! HTTP service, and how a call ended that did not succeed.

use std::fmt;

use crate::error::{Error, Result};
use crate::names::{Address, Port, shown};

/// The longest path of a node and the longest address that are read, in bytes.
const LONGEST: usize = 1024;

/// `cluster_id`: the servers of a ZooKeeper ensemble, `zk://HOST:PORT,HOST:PORT,...`, with or without a path behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterId {
    text: String,
    servers: Vec<(Address, Port)>,
    root: Option<NodePath>,
}

impl ClusterId {
    /// Parses the text. Fails (exit 2) on anything else, naming the server that is not one.
    pub fn parse(bytes: &[u8]) -> Result<ClusterId> {
        let wrong =
            |why: &str| Error::usage(format!("{} {why}; write zk://HOST:2181,HOST:2181,...", shown(bytes)));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("is not text"))?;
        let rest = text.strip_prefix("zk://").ok_or_else(|| wrong("does not begin with zk://"))?;
        let (servers, root) = match rest.find('/') {
            Some(slash) => (&rest[..slash], Some(NodePath::parse(&rest.as_bytes()[slash..])?)),
            None => (rest, None),
        };
        let server = |server: &str| {
            let (host, port) =
                server.rsplit_once(':').ok_or_else(|| wrong("names a server without a port"))?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Ok((Address::parse(host.as_bytes())?, Port::parse(port.as_bytes())?))
        };
        let servers = servers.split(',').map(server).collect::<Result<Vec<_>>>()?;
        Ok(ClusterId { text: text.to_owned(), servers, root })
    }

    /// The text, as the HTTP service wants it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The servers as `HOST:PORT`.
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(|(host, port)| format!("{}:{port}", host.in_url())).collect()
    }

    /// A node below the path of this cluster.
    pub fn node(&self, path: &NodePath) -> NodePath {
        match &self.root {
            Some(root) => NodePath(format!("{root}{path}")),
            None => path.clone(),
        }
    }
}

/// The absolute path of a node in ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePath(String);

impl NodePath {
    /// Parses a path. Fails (exit 2) where ZooKeeper would refuse it.
    pub fn parse(bytes: &[u8]) -> Result<NodePath> {
        let is_name = |name: &str| {
            !matches!(name, "" | "." | "..") && !name.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        match std::str::from_utf8(bytes) {
            Ok(path)
                if path.len() <= LONGEST
                    && path.strip_prefix('/').is_some_and(|names| names.split('/').all(is_name)) =>
            {
                Ok(NodePath(path.to_owned()))
            }
            _ => Err(Error::usage(format!(
                "{} is not the path of a node; write /NAME/NAME without a / at the end",
                shown(bytes)
            ))),
        }
    }

    /// The path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node in ZooKeeper, below that of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// Where the HTTP service is: `http://HOST`, perhaps with a port and a path, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Parses an address. Fails (exit 2) on another scheme (https is not spoken), user names, queries and fragments.
    pub fn parse(bytes: &[u8]) -> Result<BaseUrl> {
        let wrong = |why: &str| Error::usage(format!("{} {why}; write http://HOST", shown(bytes)));
        if bytes.starts_with(b"https://") {
            return Err(wrong("asks for https, which is not spoken here"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("is not an address"))?;
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("does not begin with http://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._~-".contains(&b);
        if text.len() > LONGEST || !path.bytes().all(is_plain) {
            return Err(wrong("has a path that is not one"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // An IPv6 address without brackets has its port in doubt.
        if in_brackets.is_none() && host.contains(':') {
            return Err(wrong("has an IPv6 address without [ ]"));
        }
        Address::parse(in_brackets.unwrap_or(host).as_bytes())?;
        port.map(|port| Port::parse(port.as_bytes())).transpose()?;
        Ok(BaseUrl(text.to_owned()))
    }

    /// The address's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the HTTP service answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, for example 200.
    pub status: u16,
    /// Where it points to instead, if it does.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// The result of one try of a call.
pub type Tried<T> = std::result::Result<T, Fault>;

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happened, and what to do: `WHAT; DO`.
    pub what: String,
    /// Whether another try may succeed, and does no harm.
    pub again: Again,
}

/// Whether a call that did not succeed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing reached the other side, and it may be reached later.
    Always,
    /// The other side may have carried it out; it may answer later. Only what changes nothing is tried again.
    IfReading,
    /// It would end the same way.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_servers_with_ports_and_perhaps_a_path() {
        let manual = "zk://10.39.11.60:2181,10.39.11.61:2181";
        let cluster = ClusterId::parse(manual.as_bytes()).unwrap();
        assert_eq!(cluster.as_str(), manual);
        assert_eq!(cluster.servers(), ["10.39.11.60:2181", "10.39.11.61:2181"]);
        let node = NodePath::parse(b"/media_service/m").unwrap();
        assert_eq!(cluster.node(&node), node);
        let deeper = ClusterId::parse(b"zk://nzk1.example:1,[::1]:2/a/b").unwrap();
        assert_eq!(deeper.servers(), ["nzk1.example:1", "[::1]:2"]);
        assert_eq!(deeper.node(&node).as_str(), "/a/b/media_service/m");
    }

    #[test]
    fn a_cluster_that_is_none_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "does not begin with zk://"),
            ("10.0.0.1:2181", "does not begin with zk://"),
            ("zk://", "names a server without a port"),
            ("zk://10.0.0.1", "names a server without a port"),
            ("zk://10.0.0.1:2181,", "names a server without a port"),
            ("zk://10.0.0.1:99999", "\u{201c}99999\u{201d} is not a port"),
            ("zk://10.0.0.1:0", "\u{201c}0\u{201d} is not a port"),
            ("zk://10.0.0.300:2181", "is not an address"),
            ("zk://10.0.0.1:2181 ,10.0.0.2:2181", "is not a port"),
            ("zk://10.0.0.1:2181/", "is not the path of a node"),
            ("zk://10.0.0.1:2181/a//b", "is not the path of a node"),
        ] {
            let said = ClusterId::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_base_is_an_http_address() {
        for good in ["http://i2.api.example", "http://10.0.0.1:8080", "http://[::1]:80", "http://h/a/b"] {
            assert_eq!(BaseUrl::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        assert_eq!(BaseUrl::parse(b"http://h/").unwrap().as_str(), "http://h");
        for (bad, why) in [
            ("https://h", "asks for https"),
            ("h", "does not begin with http://"),
            ("http://", "does not begin with http://"),
            ("http://:80", "is not an address"),
            ("http://user@h", "is not an address"),
            ("http://h:0", "is not a port"),
            ("http://h:80:80", "without [ ]"),
            ("http://h/?a", "has a path that is not one"),
            ("http://h/a b", "has a path that is not one"),
        ] {
            let said = BaseUrl::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
