//! What is wrong with a service.conf: what operators check by hand when a model goes online for the first time (manual,
//! step 5), and what has cost an evening.
//!
//! Any bytes can be looked at. Keys that nobody here knows are the service's own and are no finding, unless they look like
//! a slip of the pen.

use std::collections::BTreeMap;

use crate::formats::Finding;
use crate::formats::service_conf::{is_space, lines};
use crate::names::{ModelName, Port, shown};

/// The version that a service.conf names before the first one is published.
pub const NO_VERSION: &str = "demo_version";

/// The port of a template that nobody has filled in.
pub const NO_PORT: &str = "maxport";

/// The name of a template that nobody has filled in.
pub const NO_NAME: &str = "svc_name";

/// What the scheme of a ZooKeeper cluster's address is.
pub const ZK_SCHEME: &str = "zk://";

/// The keys of each section.
const SECTIONS: [(&str, &[&str]); 3] = [
    (
        "common",
        &[
            "port",
            "worker_count",
            "max_conn",
            "max_packet_size",
            "task_expire_time",
            "daemonize",
            "log_level",
            "log_file_name",
            "is_statistics",
            "statistics_policy_type",
            "statistics_policy_value",
            "is_rpc_statistics",
            "is_alert",
            "alert_program",
            "alert_emails",
            "alert_phones",
            "is_monitor",
            "monitor_type",
        ],
    ),
    ("module", &["name", "modulepath", "moduleconfig", "type", "moduleversion"]),
    (
        "monitor",
        &[
            "zk_addr",
            "zk_group_id",
            "zk_service_id",
            "zk_type_id",
            "zk_con_timeout_ms",
            "zk_monitor_path",
            "ismain",
        ],
    ),
];

/// The keys without which a service does not come up or is not found, and what their values are.
const NEEDED: [(&str, &str); 9] = [
    ("port", "the port that the service listens on"),
    ("name", "the model's name"),
    ("modulepath", "the library as members see it"),
    ("moduleconfig", "the data directory as members see it"),
    ("moduleversion", "the version"),
    ("zk_addr", "the ZooKeeper cluster, zk://HOST:PORT,..."),
    ("zk_group_id", "the group of the service discovery"),
    ("zk_service_id", "the service id of the service discovery"),
    ("zk_type_id", "the type id of the service discovery, for example online"),
];

/// Whose service.conf it is.
#[derive(Debug)]
pub struct About<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// The versions that are published, sorted.
    pub versions: &'a [Vec<u8>],
}

/// A line `key = value`.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    line: usize,
    section: &'a [u8],
    key: &'a [u8],
    /// Up to white space.
    value: &'a [u8],
    /// What stands behind the value.
    rest: &'a [u8],
}

/// Everything that is wrong, by line.
pub fn lint(source: &[u8], about: &About) -> Vec<Finding> {
    let (document, mut findings) = Document::read(source);
    findings.extend(document.repeated());
    for entry in &document.entries {
        findings.extend(entry.name_finding().or_else(|| entry.remark_finding()));
    }
    for (key, meaning) in NEEDED {
        if section_of(key) == Some("monitor") && !document.is_in_discovery() {
            continue;
        }
        findings.extend(match document.get(key) {
            None => Some(document.missing(key, meaning)),
            Some(entry) if entry.bare_value().is_empty() => {
                Some(Finding::new(entry.line, format!("{key} has no value"), format!("write {meaning}")))
            }
            Some(entry) => document.value_finding(key, entry, about),
        });
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// The port and the service id that a service.conf claims, with the port's line; `None` where it names no port. Without
/// discovery there is no service id.
pub fn claims(source: &[u8]) -> Option<(usize, Port, Option<&[u8]>)> {
    let (document, _) = Document::read(source);
    let entry = document.get("port")?;
    let port = Port::parse(entry.bare_value()).ok()?;
    let id = document.get("zk_service_id").filter(|_| document.is_in_discovery());
    Some((entry.line, port, id.map(|id| id.bare_value()).filter(|id| !id.is_empty())))
}

struct Document<'a> {
    entries: Vec<Entry<'a>>,
    /// Where each section begins first.
    headers: BTreeMap<&'a [u8], usize>,
    last_line: usize,
}

impl<'a> Document<'a> {
    /// The lines, and what is wrong with those that are none.
    fn read(source: &'a [u8]) -> (Document<'a>, Vec<Finding>) {
        let mut document = Document { entries: Vec::new(), headers: BTreeMap::new(), last_line: 1 };
        let mut findings = Vec::new();
        let mut section: Option<&[u8]> = None;
        for (index, range) in lines(source).enumerate() {
            let (line, text) = (index + 1, source[range].trim_ascii());
            document.last_line = line;
            match text {
                [] | [b'#' | b';', ..] => {}
                [b'[', rest @ ..] => match rest.iter().position(|b| *b == b']') {
                    Some(end) => {
                        section = Some(&rest[..end]);
                        document.headers.entry(&rest[..end]).or_insert(line);
                        findings.extend(section_finding(line, &rest[..end]));
                    }
                    None => {
                        let what = format!("the section {} has no ]", shown(text));
                        findings.push(Finding::new(line, what, "write [NAME]"));
                    }
                },
                _ => match Entry::read(line, section.unwrap_or_default(), text) {
                    Some(entry) => document.entries.push(entry),
                    None => findings.push(Finding::new(
                        line,
                        format!("{} is neither KEY=VALUE nor a remark", shown(text)),
                        "write a # before it, or what is missing",
                    )),
                },
            }
        }
        (document, findings)
    }

    /// The first entry of a known key: that of its section, otherwise of another, but for the service's own.
    fn get(&self, key: &str) -> Option<&Entry<'a>> {
        let is_ours = |entry: &&Entry| entry.section.is_empty() || is_known(entry.section);
        let of_key = || self.entries.iter().filter(|entry| entry.key == key.as_bytes()).filter(is_ours);
        let section = section_of(key).unwrap_or_default();
        of_key().find(|entry| entry.section == section.as_bytes()).or_else(|| of_key().next())
    }

    /// Whether the service registers itself, for which it needs `[monitor]`.
    fn is_in_discovery(&self) -> bool {
        self.get("is_monitor").is_none_or(|entry| entry.bare_value() != b"0")
    }

    fn repeated(&self) -> Vec<Finding> {
        let mut first = BTreeMap::new();
        let mut findings = Vec::new();
        for entry in &self.entries {
            let line = *first.entry((entry.section, entry.key)).or_insert(entry.line);
            if line != entry.line {
                let what = format!("{} is set in line {line} already", shown(entry.key));
                findings.push(Finding::new(entry.line, what, "keep one of the two"));
            }
        }
        findings
    }

    fn missing(&self, key: &str, meaning: &str) -> Finding {
        let section = section_of(key).unwrap_or_default();
        let (line, what) = match self.headers.get(section.as_bytes()) {
            Some(line) => (*line, format!("[{section}] has no {key}")),
            None => (self.last_line, format!("there is no {key}, and no section [{section}]")),
        };
        Finding::new(line, what, format!("write {key}=... in [{section}]: {meaning}"))
    }

    fn value_finding(&self, key: &str, entry: &Entry, about: &About) -> Option<Finding> {
        let (value, model) = (entry.bare_value(), about.model.as_str());
        let is_placeholder = value == NO_NAME.as_bytes() && model != NO_NAME;
        let (what, instead) = match key {
            "port" if value == NO_PORT.as_bytes() => {
                (format!("port is still the template's {NO_PORT}"), "write the service's port".to_owned())
            }
            "port" if Port::parse(value).is_err() => {
                (format!("port is {}", shown(value)), "write a number from 1 to 65535".to_owned())
            }
            "name" if value != model.as_bytes() => {
                (format!("name is {}, not the model's", shown(value)), format!("write name={model}"))
            }
            "modulepath" | "moduleconfig" => return self.path_finding(key, entry, about),
            "moduleversion" => return version_finding(entry, about),
            "zk_addr" if !value.starts_with(ZK_SCHEME.as_bytes()) => {
                (format!("zk_addr is {}", shown(value)), "write zk://HOST:PORT,HOST:PORT,...".to_owned())
            }
            "zk_service_id" if is_placeholder => (
                format!("zk_service_id is still the template's {NO_NAME}"),
                "write the service id that was registered".to_owned(),
            ),
            _ => return None,
        };
        Some(Finding::new(entry.line, what, instead))
    }

    /// `modulepath` and `moduleconfig` lie in the model's directory, in that of the announced version.
    fn path_finding(&self, key: &str, entry: &Entry, about: &About) -> Option<Finding> {
        let (value, model) = (entry.bare_value(), about.model.as_str());
        let (what, tail) = match key {
            "modulepath" => ("library", "lib/LIBRARY.so"),
            _ => ("data directory", "data"),
        };
        let Some(version) = version_in(value, key, model) else {
            return Some(Finding::new(
                entry.line,
                format!("{key} is no {what} of {model}"),
                format!("write /.../plugin/{model}/VERSION/{tail}"),
            ));
        };
        let announced = self.get("moduleversion").map(|entry| entry.bare_value())?;
        (!announced.is_empty() && announced != version).then(|| {
            Finding::new(
                entry.line,
                format!("{key} names version {}, and moduleversion {}", shown(version), shown(announced)),
                "write the same version in both",
            )
        })
    }
}

/// The version in the path of a model's library or data; `None` where it is no such path.
fn version_in<'a>(path: &'a [u8], key: &str, model: &str) -> Option<&'a [u8]> {
    let mut parts = path.strip_prefix(b"/")?.rsplit(|b| *b == b'/');
    if key == "modulepath" {
        parts.next().filter(|library| library.len() > 3 && library.ends_with(b".so"))?;
    }
    let (kind, version) = (parts.next()?, parts.next()?);
    let expected = if key == "modulepath" { "lib" } else { "data" };
    (kind == expected.as_bytes() && !version.is_empty() && parts.next()? == model.as_bytes())
        .then_some(version)
}

fn version_finding(entry: &Entry, about: &About) -> Option<Finding> {
    let value = entry.bare_value();
    let is_new = about.versions.is_empty() && value == NO_VERSION.as_bytes();
    if is_new || about.versions.iter().any(|version| version == value) {
        return None;
    }
    let instead = match about.versions.last() {
        Some(latest) => format!("write a version that is there, for example {}", shown(latest)),
        None => format!("push the model, or write {NO_VERSION} until the first version is there"),
    };
    Some(Finding::new(entry.line, format!("version {} is not published in plugin/", shown(value)), instead))
}

impl<'a> Entry<'a> {
    /// Reads a line without the blanks around it; `None` where there is no `=`, or no key before it.
    fn read(line: usize, section: &'a [u8], text: &'a [u8]) -> Option<Entry<'a>> {
        let equals = text.iter().position(|b| *b == b'=').filter(|at| *at > 0)?;
        let (key, written) = (text[..equals].trim_ascii_end(), text[equals + 1..].trim_ascii_start());
        let end = match written.first() {
            Some(b'#') => 0,
            _ => written.iter().position(|b| is_space(*b)).unwrap_or(written.len()),
        };
        let (value, rest) = written.split_at(end);
        Some(Entry { line, section, key, value, rest: rest.trim_ascii_start() })
    }

    /// The value without a remark that is glued to it.
    fn bare_value(&self) -> &'a [u8] {
        self.value.split(|b| *b == b'#').next().unwrap_or_default()
    }

    /// A key that is in the wrong place, or that looks like a slip of the pen.
    fn name_finding(&self) -> Option<Finding> {
        let key = String::from_utf8_lossy(self.key);
        let home = section_of(&key);
        let is_known_section = is_known(self.section);
        if self.section.is_empty() {
            let instead = format!("move it below [{}]", home.unwrap_or("common"));
            return Some(Finding::new(self.line, format!("{} is in no section", shown(self.key)), instead));
        }
        match home {
            Some(home) if is_known_section && home.as_bytes() != self.section => {
                let what = format!("{key} is in section {}", shown(self.section));
                Some(Finding::new(self.line, what, format!("move it to [{home}]")))
            }
            None if is_known_section => {
                let known = SECTIONS.iter().flat_map(|(_, keys)| keys.iter().copied());
                let meant = nearest(&key, known)?;
                let what = format!("{} is not a key that is known", shown(self.key));
                Some(Finding::new(self.line, what, format!("write {meant}, if that is meant")))
            }
            _ => None,
        }
    }

    /// A remark that a reader takes for a part of the value.
    fn remark_finding(&self) -> Option<Finding> {
        let key = shown(self.key);
        if self.value.contains(&b'#') {
            let what = format!("a remark is glued to the value of {key}");
            return Some(Finding::new(self.line, what, "write a blank before the #"));
        }
        let is_needed = NEEDED.iter().any(|(needed, _)| needed.as_bytes() == self.key);
        let is_remark = matches!(self.rest, [] | [b'#' | b';', ..]);
        (is_needed && !is_remark).then(|| {
            let what = format!("{} follows the value of {key}", shown(self.rest));
            Finding::new(self.line, what, "write a # before it if it is a remark, or leave it out")
        })
    }
}

fn section_finding(line: usize, name: &[u8]) -> Option<Finding> {
    if is_known(name) {
        return None;
    }
    let meant = nearest(&String::from_utf8_lossy(name), SECTIONS.iter().map(|(name, _)| *name))?;
    let what = format!("{} is not a section that is known", shown(name));
    Some(Finding::new(line, what, format!("write [{meant}], if that is meant")))
}

fn is_known(section: &[u8]) -> bool {
    SECTIONS.iter().any(|(name, _)| name.as_bytes() == section)
}

fn section_of(key: &str) -> Option<&'static str> {
    SECTIONS.iter().find(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name)
}

/// The word that was probably meant: one letter in four may be wrong, at least one.
fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // The longest key has 23 letters; a hostile one may have a million.
    if word.len() > 40 {
        return None;
    }
    let distances = known.map(|known| (strsim::osa_distance(word, known), known));
    distances.min().filter(|(distance, known)| *distance <= (known.len() / 4).max(1)).map(|(_, known)| known)
}
