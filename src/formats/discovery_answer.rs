//! What service discovery answers (contract section 3): `{"total_count": N, "results": [{"msg": "IP:PORT ..."}]}`, and the
//! nodes that services leave in ZooKeeper.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::discovery::Node;
use crate::names::{Port, shown};

/// One registered instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// Where it serves.
    pub address: SocketAddr,
    /// What else its entry says; empty where it says nothing.
    pub remark: String,
}

impl Instance {
    /// Reads an entry: `IP:PORT`, perhaps a blank and some text. The error says what stands there instead.
    pub fn parse(entry: &str) -> Result<Instance, String> {
        let entry = entry.trim();
        let (word, remark) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
        match word.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(Instance { address, remark: remark.trim().to_owned() }),
            _ => Err(Self::complaint(word)),
        }
    }

    fn complaint(word: &str) -> String {
        match word.rsplit_once(':') {
            Some((_, port)) if Port::parse(port.as_bytes()).is_err() => {
                format!(
                    "{}: {} is not a port from 1 to 65535",
                    shown(word.as_bytes()),
                    shown(port.as_bytes())
                )
            }
            _ => format!("{} is not IP:PORT", shown(word.as_bytes())),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    total_count: u64,
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    msg: String,
}

/// Reads the answer of `get_service.json`. The instances are sorted; one that is listed twice is there once.
///
/// The error says what is wrong with the answer; one that lists fewer or more instances than it counts is wrong: members
/// would seem to be missing.
pub fn instances(body: &[u8]) -> Result<Vec<Instance>, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|e| format!("it is not the expected JSON ({e}): {}", shown(body)))?;
    if answer.total_count != answer.results.len() as u64 {
        return Err(format!("it counts {} instances and lists {}", answer.total_count, answer.results.len()));
    }
    sorted(answer.results.iter().map(|entry| Instance::parse(&entry.msg)))
}

/// Why the answer of `registe_service.json` is no success: it is not JSON, or it is an object with an `error`.
pub fn refusal(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Registered {
        Refused {
            #[serde(rename = "error")]
            _error: serde::de::IgnoredAny,
        },
        Other(serde::de::IgnoredAny),
    }
    match serde_json::from_slice(body) {
        Ok(Registered::Other(_)) => None,
        Ok(Registered::Refused { .. }) => Some(format!("it refuses: {}", shown(body))),
        Err(e) => Some(format!("it is not JSON ({e}): {}", shown(body))),
    }
}

/// Reads the nodes of a service: each is named `IP:PORT`, or holds an entry as [`Instance::parse`] reads it.
pub fn instances_of_nodes(nodes: &[Node]) -> Result<Vec<Instance>, String> {
    sorted(nodes.iter().map(|Node { name, content }| {
        let content = String::from_utf8_lossy(content);
        match Instance::parse(name) {
            // What a node holds is of any kind there; the name says it all.
            Ok(instance) => Ok(instance),
            Err(_) if !content.trim().is_empty() => {
                Instance::parse(&content).map_err(|why| format!("the node {}: {why}", shown(name.as_bytes())))
            }
            Err(why) => Err(format!("a node without content: {why}")),
        }
    }))
}

fn sorted(instances: impl Iterator<Item = Result<Instance, String>>) -> Result<Vec<Instance>, String> {
    let mut instances = instances.collect::<Result<Vec<_>, _>>()?;
    instances.sort();
    instances.dedup_by(|later, earlier| later.address == earlier.address);
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown_instances(body: &str) -> Vec<String> {
        let shown = |i: &Instance| format!("{} {}", i.address, i.remark);
        instances(body.as_bytes()).unwrap().iter().map(shown).collect()
    }

    #[test]
    fn an_answer_lists_instances_sorted_and_each_once() {
        let body = r#"{"total_count": 4, "more": [1], "results": [{"msg": "10.0.0.2:17019 up since Friday", "x": null},
            {"msg": "10.0.0.10:17019"}, {"msg": " 10.0.0.2:17019 again "}, {"msg": "[::1]:80\tv6"}]}"#;
        assert_eq!(shown_instances(body), ["10.0.0.2:17019 again", "10.0.0.10:17019 ", "[::1]:80 v6"]);
        assert!(shown_instances(r#"{"total_count":0,"results":[]}"#).is_empty());
    }

    #[test]
    fn an_answer_that_is_none_is_refused_with_the_reason() {
        let deep = "[".repeat(100_000);
        for (body, why) in [
            ("", "it is not the expected JSON"),
            ("<html>", "it is not the expected JSON"),
            ("[]", "it is not the expected JSON"),
            (&deep, "it is not the expected JSON"),
            (r#"{"error":"appkey"}"#, "\u{201c}{\"error\":\"appkey\"}\u{201d}"),
            (r#"{"total_count":1,"results":[{"msg":"10.0.0.1:1"}"#, "EOF"),
            (r#"{"total_count":1,"results":[{"msg":1}]}"#, "expected a string"),
            (r#"{"total_count":-1,"results":[]}"#, "it is not the expected JSON"),
            (r#"{"total_count":3,"results":[]}"#, "it counts 3 instances and lists 0"),
            (r#"{"total_count":1,"results":[{"msg":"10.0.0.1:70000"}]}"#, "70000\u{201d} is not a port"),
            (r#"{"total_count":1,"results":[{"msg":"10.0.0.1:0"}]}"#, "is not a port"),
            (r#"{"total_count":1,"results":[{"msg":"10.0.0.1"}]}"#, "is not IP:PORT"),
            (r#"{"total_count":1,"results":[{"msg":""}]}"#, "is not IP:PORT"),
            (r#"{"total_count":1,"results":[{"msg":"host:80"}]}"#, "is not IP:PORT"),
        ] {
            let said = instances(body.as_bytes()).unwrap_err();
            assert!(said.contains(why) && said.len() < 500, "{body:.60}: {said}");
        }
    }

    #[test]
    fn a_registration_is_any_json_but_an_error() {
        for good in ["{}", "[]", "true", r#"{"result":"ok"}"#] {
            assert_eq!(refusal(good.as_bytes()), None, "{good}");
        }
        assert!(
            refusal(br#"{"error":"no such source","error_code":10006}"#).unwrap().contains("no such source")
        );
        for bad in ["", "<html>", "{", "{}x"] {
            assert!(refusal(bad.as_bytes()).unwrap().starts_with("it is not JSON"), "{bad}");
        }
    }

    #[test]
    fn a_node_is_named_by_its_instance_or_holds_it() {
        let node = |name: &str, content: &str| Node { name: name.to_owned(), content: content.into() };
        let found = instances_of_nodes(&[
            node("10.0.0.2:17019", "{any thing}"),
            node("member-0000000001", "10.0.0.1:17019 here\n"),
        ]);
        let addresses: Vec<String> = found.unwrap().iter().map(|i| i.address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.1:17019", "10.0.0.2:17019"]);
        let said = |name, content| instances_of_nodes(&[node(name, content)]).unwrap_err();
        assert!(said("10.0.0.1:70000", "").contains("is not a port"));
        assert!(said("test", "").starts_with("a node without content: \u{201c}test\u{201d} is not IP:PORT"));
        assert!(
            said("test", "x").starts_with("the node \u{201c}test\u{201d}: \u{201c}x\u{201d} is not IP:PORT")
        );
    }

    proptest! {
        #[test]
        fn no_body_and_no_node_does_harm(body in any::<Vec<u8>>(), name in any::<String>()) {
            let _ = (instances(&body), refusal(&body), instances_of_nodes(&[Node { name, content: body }]));
        }

        #[test]
        fn what_is_listed_is_read(addresses in prop::collection::btree_set(any::<std::net::Ipv4Addr>(), 0..20), port: u16) {
            prop_assume!(port > 0);
            let entries: Vec<String> = addresses.iter().map(|ip| format!("{{\"msg\":\"{ip}:{port} x\"}}")).collect();
            let body = format!("{{\"total_count\":{},\"results\":[{}]}}", entries.len(), entries.join(","));
            let read: Vec<_> = instances(body.as_bytes()).unwrap().iter().map(|i| i.address.ip()).collect();
            let wanted: Vec<_> = addresses.into_iter().map(std::net::IpAddr::from).collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
