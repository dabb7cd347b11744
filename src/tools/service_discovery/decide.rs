//! What an answer means, whether to ask again, and how the instances compare with the members. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::discovery::{Again, Answer, Fault, Node, Tried};
use crate::error::{Error, Result, one_line};
use crate::formats::discovery_answer::{self, Instance};
use crate::names::{Address, DiscoveryName, Port, shown};
use crate::tools::service_discovery::cli::Show;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It registers. Nobody has said that registering twice is the same as once.
    Writes,
}

/// Whether a call that failed is tried again.
pub fn tries_again(effect: Effect, again: Again) -> bool {
    match again {
        Again::Always => true,
        Again::IfReading => effect == Effect::Reads,
        Again::Never => false,
    }
}

/// The error of a call for which there is no further try.
pub fn given_up(peer: &str, effect: Effect, fault: &Fault, tries: u32) -> Error {
    let times = if tries > 1 { format!(" (tried {tries} times)") } else { String::new() };
    let doubt = match (effect, fault.again) {
        (Effect::Writes, Again::IfReading) => {
            "; it may be registered all the same: look with service-discovery status before trying again"
        }
        _ => "",
    };
    Error::failed(format!("{peer}: {}{times}{doubt}", fault.what))
}

/// Whether a service was registered.
pub fn registered(answer: &Answer) -> Tried<()> {
    check_status(answer)?;
    match discovery_answer::refusal(&answer.body) {
        None => Ok(()),
        Some(why) => Err(never(format!("it answers, but {why}; check the values and --url"))),
    }
}

/// The instances that the HTTP service lists.
pub fn listed(answer: &Answer) -> Tried<Vec<Instance>> {
    check_status(answer)?;
    discovery_answer::instances(&answer.body)
        .map_err(|why| never(format!("it answers, but {why}; check the values and --url")))
}

/// The instances that nodes of ZooKeeper are.
pub fn found(nodes: &[Node]) -> Tried<Vec<Instance>> {
    discovery_answer::instances_of_nodes(nodes).map_err(|why| {
        never(format!("{why}; name the node that holds the instances with --type or --zk-path"))
    })
}

fn check_status(answer: &Answer) -> Tried<()> {
    let (status, body) = (answer.status, shown(&answer.body));
    let (what, again) = match status {
        200..=299 => return Ok(()),
        300..=399 => {
            let elsewhere = shown(answer.location.as_deref().unwrap_or_default().as_bytes());
            (format!("it answers {status} and points to {elsewhere}; correct --url"), Again::Never)
        }
        500..=599 => {
            let what = format!("it answers {status} {body}; try again later, or ask who runs it");
            (what, Again::IfReading)
        }
        _ => {
            let what = format!("it answers {status} {body}; check --url, source, cluster, group and service");
            (what, Again::Never)
        }
    };
    Err(Fault { what, again })
}

fn never(what: String) -> Fault {
    Fault { what, again: Again::Never }
}

/// A member, and where its service has to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is called in the list.
    pub name: Address,
    /// Its address; `None` where its name has none.
    pub ip: Option<IpAddr>,
}

/// What is registered, compared with what has to be.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    group_id: &'a str,
    service_id: &'a str,
    instances: Vec<Row>,
    #[serde(flatten)]
    difference: Option<Difference>,
}

#[derive(Debug, Serialize)]
struct Row {
    address: SocketAddr,
    remark: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    missing: Vec<String>,
    unexpected: Vec<SocketAddr>,
    #[serde(skip)]
    members: usize,
}

impl<'a> Report<'a> {
    /// What is registered for a service, compared with its members and their port, where they are given.
    pub fn new(
        group: &'a DiscoveryName,
        service: &'a DiscoveryName,
        instances: Vec<Instance>,
        members: Option<(&[Member], Port)>,
    ) -> Report<'a> {
        let difference = members.map(|(members, port)| Difference::new(&instances, members, port));
        let row = |instance: Instance| Row { address: instance.address, remark: instance.remark };
        let instances = instances.into_iter().map(row).collect();
        Report { group_id: group.as_str(), service_id: service.as_str(), instances, difference }
    }

    /// The lines that are printed.
    pub fn lines(&self, show: Show) -> Result<Vec<String>> {
        match show {
            Show::Json => match serde_json::to_string(self) {
                Ok(line) => Ok(vec![line]),
                Err(e) => Err(Error::failed(format!("cannot write JSON: {e}; ask without --json"))),
            },
            Show::Table => Ok(self.table()),
        }
    }

    fn table(&self) -> Vec<String> {
        let unexpected = |address| match &self.difference {
            Some(difference) if difference.unexpected.contains(address) => "unexpected",
            _ => "registered",
        };
        let rows = self.instances.iter();
        let mut rows: Vec<_> = rows
            .map(|row| (row.address.to_string(), unexpected(&row.address), one_line(&row.remark)))
            .collect();
        let missing = self.difference.iter().flat_map(|difference| &difference.missing);
        rows.extend(missing.map(|member| (member.clone(), "missing", String::new())));
        if rows.is_empty() {
            return vec![format!("{}/{}: no instance is registered", self.group_id, self.service_id)];
        }
        let width = rows.iter().map(|(address, ..)| address.len()).max().unwrap_or(0);
        let line = |(address, state, remark)| format!("{address:width$}  {state:10}  {remark}");
        rows.into_iter().map(|row| line(row).trim_end().to_owned()).collect()
    }

    /// Fails when members are missing, or others are registered.
    pub fn verdict(&self) -> Result<()> {
        let Some(Difference { missing, unexpected, members }) = &self.difference else { return Ok(()) };
        let mut wrong = Vec::new();
        if !missing.is_empty() {
            let missing = (missing.len(), missing.join(", "));
            wrong.push(format!("not registered are {} of {members} members: {}", missing.0, missing.1));
        }
        if !unexpected.is_empty() {
            let others: Vec<String> = unexpected.iter().map(SocketAddr::to_string).collect();
            wrong.push(format!("registered, but no members: {}", others.join(", ")));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let (group, service, wrong) = (self.group_id, self.service_id, wrong.join("; "));
        Err(Error::failed(format!(
            "{group}/{service}: {wrong}; start or stop their services, or correct the member list"
        )))
    }
}

impl Difference {
    fn new(instances: &[Instance], members: &[Member], port: Port) -> Difference {
        let registered: BTreeSet<SocketAddr> = instances.iter().map(|instance| instance.address).collect();
        let mut expected = BTreeSet::new();
        let mut missing = Vec::new();
        for member in members {
            let address = member.ip.map(|ip| SocketAddr::new(ip, port.number()));
            expected.extend(address);
            let shown = format!("{}:{port}", member.name.in_url());
            if address.is_none_or(|address| !registered.contains(&address)) && !missing.contains(&shown) {
                missing.push(shown);
            }
        }
        let unexpected = registered.difference(&expected).copied().collect();
        Difference { missing, unexpected, members: members.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DiscoveryName {
        DiscoveryName::parse(text.as_bytes()).unwrap()
    }

    fn instances(entries: &[&str]) -> Vec<Instance> {
        entries.iter().map(|entry| Instance::parse(entry).unwrap()).collect()
    }

    fn members(names: &[&str]) -> Vec<Member> {
        let member =
            |name: &&str| Member { name: Address::parse(name.as_bytes()).unwrap(), ip: name.parse().ok() };
        names.iter().map(member).collect()
    }

    /// The table, the JSON and the verdict.
    fn compared(registered: &[&str], expected: Option<&[&str]>) -> (String, String, String) {
        let (group, service) = (name("g"), name("s"));
        let expected = expected.map(members);
        let port = Port::parse(b"17019").unwrap();
        let expected = expected.as_ref().map(|members| (&members[..], port));
        let report = Report::new(&group, &service, instances(registered), expected);
        let verdict = report.verdict().err().map(|e| e.to_string()).unwrap_or_default();
        let lines = |show| report.lines(show).unwrap().join("\n");
        (lines(Show::Table), lines(Show::Json), verdict)
    }

    #[test]
    fn what_is_registered_is_a_table_or_json() {
        let (table, json, verdict) = compared(&["10.0.0.10:17019", "10.0.0.1:1 up \u{1b}[2J"], None);
        assert_eq!(table, "10.0.0.10:17019  registered\n10.0.0.1:1       registered  up \\u{1b}[2J");
        assert_eq!(
            json,
            r#"{"group_id":"g","service_id":"s","instances":[{"address":"10.0.0.10:17019","remark":""},{"address":"10.0.0.1:1","remark":"up \u001b[2J"}]}"#
        );
        assert_eq!(verdict, "");
        assert_eq!(compared(&[], None).0, "g/s: no instance is registered");
    }

    #[test]
    fn members_that_are_missing_and_others_that_are_registered_are_named() {
        let (table, json, verdict) =
            compared(&["10.0.0.1:17019 x", "10.0.0.2:1"], Some(&["10.0.0.1", "10.0.0.2", "host", "::1"]));
        assert_eq!(
            table,
            "10.0.0.1:17019  registered  x\n10.0.0.2:1      unexpected\n10.0.0.2:17019  missing\n\
             host:17019      missing\n[::1]:17019     missing"
        );
        assert!(json.ends_with(
            r#""missing":["10.0.0.2:17019","host:17019","[::1]:17019"],"unexpected":["10.0.0.2:1"]}"#
        ));
        assert_eq!(
            verdict,
            "g/s: not registered are 3 of 4 members: 10.0.0.2:17019, host:17019, [::1]:17019; registered, but no \
             members: 10.0.0.2:1; start or stop their services, or correct the member list"
        );
        let (_, json, verdict) = compared(&["10.0.0.1:17019"], Some(&["10.0.0.1", "10.0.0.1"]));
        assert_eq!(verdict, "");
        assert!(json.ends_with(r#""missing":[],"unexpected":[]}"#));
    }

    #[test]
    fn only_what_changes_nothing_is_tried_again_when_it_may_have_been_carried_out() {
        for (effect, again, wanted) in [
            (Effect::Reads, Again::Always, true),
            (Effect::Reads, Again::IfReading, true),
            (Effect::Reads, Again::Never, false),
            (Effect::Writes, Again::Always, true),
            (Effect::Writes, Again::IfReading, false),
            (Effect::Writes, Again::Never, false),
        ] {
            assert_eq!(tries_again(effect, again), wanted, "{effect:?} {again:?}");
        }
        let fault = |again| Fault { what: "no answer; wait".to_owned(), again };
        let said = |effect, again, tries| given_up("http://h", effect, &fault(again), tries).to_string();
        assert_eq!(said(Effect::Reads, Again::IfReading, 3), "http://h: no answer; wait (tried 3 times)");
        assert!(
            said(Effect::Writes, Again::IfReading, 1).contains("wait; it may be registered all the same")
        );
        assert_eq!(said(Effect::Writes, Again::Never, 1), "http://h: no answer; wait");
    }

    #[test]
    fn a_status_that_is_no_success_says_what_to_do_and_whether_to_wait() {
        let answer = |status, body: &str| Answer {
            status,
            location: Some("http://new".to_owned()),
            body: body.into(),
        };
        let fault = |status| listed(&answer(status, "boom\n")).unwrap_err();
        assert_eq!(fault(500).again, Again::IfReading);
        assert!(fault(503).what.starts_with("it answers 503 \u{201c}boom\n\u{201d}; try again later"));
        assert_eq!(fault(403).again, Again::Never);
        assert!(fault(403).what.contains("check --url, source"));
        assert!(fault(301).what.contains("301 and points to \u{201c}http://new\u{201d}; correct --url"));
        assert!(fault(200).what.starts_with("it answers, but it is not the expected JSON"));
        assert!(registered(&answer(200, r#"{"error":"x"}"#)).unwrap_err().what.contains("it refuses"));
        assert_eq!(registered(&answer(200, "{}")), Ok(()));
        assert_eq!(registered(&answer(500, "{}")).unwrap_err().again, Again::IfReading);
    }
}
