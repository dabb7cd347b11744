//! `.rollout/announcement`: what a monitor wants of the members of a model, in one file that is
//! replaced by one rename. Written by `dispatch`, read by `service_polling`; scripts know nothing
//! of it and follow service.conf.
//!
//! The first line is the body, one JSON object. What stands after it is for a signature and is not
//! read yet. A reader ignores keys that it does not know, but not those that `must` names: then it
//! must not act on the announcement at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::one_line;
use crate::formats::Refusal;
use crate::names::{Address, ModelName};
use crate::version::Version;

/// The form of the body; it grows only when a key changes its meaning.
pub const SCHEMA: u32 = 1;

/// The largest announcement that is read, in bytes: two service.conf, and a thousand addresses,
/// have some 50 KB.
pub const LIMIT: u64 = 4 << 20;

/// The keys of this schema that `must` may name.
const KNOWN: [&str; 11] = [
    "schema", "must", "follow", "model", "epoch", "sequence", "attempt", "target", "before", "admitted",
    "held",
];

/// The bytes of a file: text where they are UTF-8, otherwise a list of numbers (a service.conf may
/// have remarks in GBK).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Numbers(Vec<u8>),
}

impl From<Written> for Bytes {
    fn from(written: Written) -> Bytes {
        match written {
            Written::Text(text) => Bytes(text.into_bytes()),
            Written::Numbers(bytes) => Bytes(bytes),
        }
    }
}

impl From<Bytes> for Written {
    fn from(Bytes(bytes): Bytes) -> Written {
        match String::from_utf8(bytes) {
            Ok(text) => Written::Text(text),
            Err(error) => Written::Numbers(error.into_bytes()),
        }
    }
}

/// The service.conf of every instance, by the name of its directory: `config_1`, `config_2`, ...
pub type ServiceConfs = BTreeMap<String, Bytes>;

/// The instance whose service.conf members install (contract section 3).
pub const FIRST_INSTANCE: &str = "config_1";

/// A version that members may install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The version.
    pub version: Version,
    /// The digest of its manifest's bytes; `None` where a script published it and it has no
    /// manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// What members install as service.conf.
    pub service_conf: ServiceConfs,
}

impl Offer {
    /// The service.conf that members install.
    pub fn conf(&self) -> Option<&[u8]> {
        self.service_conf.get(FIRST_INSTANCE).map(|Bytes(bytes)| bytes.as_slice())
    }
}

/// Which announcement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Numbers {
    /// When the monitor's numbers began, in seconds since 1970.
    pub epoch: i64,
    /// The number of the announcement.
    pub sequence: u64,
}

/// Who may install the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Every member, also one that is not on the list yet.
    Everybody,
    /// These.
    Members(Vec<Address>),
}

impl Admission {
    /// Whether a member may install the target.
    pub fn admits(&self, member: &Address) -> bool {
        match self {
            Admission::Everybody => true,
            Admission::Members(members) => members.contains(member),
        }
    }
}

/// The body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Keys without which a reader must not act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must: Vec<String>,
    /// The model.
    pub model: ModelName,
    /// When the monitor's numbers began, in seconds since 1970; `dispatch --adopt` raises it.
    pub epoch: i64,
    /// Which announcement this is; it grows with every one.
    pub sequence: u64,
    /// A member that failed tries again when this grows.
    pub attempt: u32,
    /// What admitted members install; `None` before the first version.
    pub target: Option<Offer>,
    /// What a member installs that is not admitted and has nothing that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Offer>,
    /// Who may install the target.
    pub admitted: Admission,
    /// Members that keep what they serve, as the monitor's clock decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Address>,
}

/// What a monitor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Follow service.conf, as scripts do: `MODEL_ROLLOUT_LEGACY=1` of dispatch.sh's wrapper leaves
    /// this.
    FollowServiceConf,
    /// An announcement.
    Announcement(Box<Announcement>),
}

/// What is read first: whether the rest may be.
#[derive(Deserialize)]
struct Head {
    schema: u32,
    #[serde(default)]
    must: Vec<String>,
    #[serde(default)]
    follow: Option<String>,
}

impl Said {
    /// Reads the file of a model. Fails where it is damaged, of another model, or needs a newer
    /// reader.
    pub fn parse(source: &[u8], model: &ModelName) -> Result<Said, Refusal> {
        let refused = |what: String, instead: &str| Err(Refusal::at(source, 0, what, instead));
        let again = "the next tick writes it again";
        let Some((body, _)) = source.iter().position(|byte| *byte == b'\n').map(|end| source.split_at(end))
        else {
            return refused("this announcement is cut off".to_owned(), again);
        };
        let damaged = |error: serde_json::Error| one_line(&format!("this is not an announcement: {error}"));
        let head: Head = match serde_json::from_slice(body) {
            Ok(head) => head,
            Err(error) => return refused(damaged(error), again),
        };
        let unknown = head.must.iter().find(|key| !KNOWN.contains(&key.as_str()));
        if let Some(key) = unknown {
            return refused(
                one_line(&format!("this announcement must not be read without {key}")),
                "install a newer service_polling",
            );
        }
        if head.schema > SCHEMA {
            let schema = head.schema;
            return refused(
                format!("this announcement has schema {schema}"),
                "install a newer service_polling",
            );
        }
        if head.follow.is_some() {
            return Ok(Said::FollowServiceConf);
        }
        match serde_json::from_slice::<Announcement>(body) {
            Err(error) => refused(damaged(error), again),
            Ok(announcement) if announcement.model != *model => {
                refused(format!("this is the announcement of {}", announcement.model), again)
            }
            Ok(announcement) => Ok(Said::Announcement(Box::new(announcement))),
        }
    }
}

impl Announcement {
    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: nothing that could not be written.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelName {
        ModelName::parse(b"m").unwrap()
    }

    fn announcement() -> Announcement {
        let offer = |version: &str, conf: &[u8]| Offer {
            version: Version::parse(version.as_bytes()).unwrap(),
            manifest: Some(Digest([7; 32])),
            service_conf: [(FIRST_INSTANCE.to_owned(), Bytes(conf.to_vec()))].into(),
        };
        Announcement {
            schema: SCHEMA,
            must: Vec::new(),
            model: model(),
            epoch: 1_500_000_000,
            sequence: 3,
            attempt: 0,
            target: Some(offer("20180413192258", b"[module]\nname=m\n")),
            before: Some(offer("20180401120000", b"# \xbb\xc6\n")),
            admitted: Admission::Members(vec![Address::parse(b"10.0.0.1").unwrap()]),
            held: Vec::new(),
        }
    }

    #[test]
    fn an_announcement_is_read_back_as_written_also_before_a_signature() {
        let written = announcement();
        let mut bytes = written.render();
        assert_eq!(Said::parse(&bytes, &model()), Ok(Said::Announcement(Box::new(written.clone()))));
        bytes.extend_from_slice(b"signature of a later release\n");
        assert_eq!(Said::parse(&bytes, &model()), Ok(Said::Announcement(Box::new(written))));
    }

    #[test]
    fn unknown_keys_are_ignored_unless_the_reader_must_know_them() {
        let with = |key: &str| String::from_utf8(announcement().render()).unwrap().replacen('{', key, 1);
        assert!(Said::parse(with("{\"colour\":\"red\",").as_bytes(), &model()).is_ok());
        let refused = Said::parse(with("{\"must\":[\"colour\"],").as_bytes(), &model()).unwrap_err();
        assert!(refused.what.contains("without colour"), "{refused}");
        assert!(Said::parse(with("{\"must\":[\"admitted\"],").as_bytes(), &model()).is_ok());
        let follow = b"{\"schema\":1,\"follow\":\"service.conf\"}\n";
        assert_eq!(Said::parse(follow, &model()), Ok(Said::FollowServiceConf));
    }

    #[test]
    fn what_is_damaged_or_of_another_model_is_refused() {
        let good = announcement().render();
        for cut in 0..good.len() {
            assert!(Said::parse(&good[..cut], &model()).is_err(), "cut at {cut}");
        }
        let other = ModelName::parse(b"other").unwrap();
        assert!(Said::parse(&good, &other).unwrap_err().what.contains("announcement of m"));
        let newer = String::from_utf8(good).unwrap().replace("\"schema\":1", "\"schema\":2");
        assert!(Said::parse(newer.as_bytes(), &model()).unwrap_err().instead.contains("newer"));
    }
}
