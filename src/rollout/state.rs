//! What a model has gone through, as one document: `.rollout/state.json` of
//! `datamining_service/MODEL/`, replaced by one rename for each
//! [`Event`](crate::rollout::event::Event). docs/state.md draws the states and the events between
//! them.
//!
//! `status`, `service.conf`, `success` and the announcement are made from this document. While
//! `settled` is false they may lag behind it, and the next tick finishes them; once it is true, a
//! difference is somebody else's doing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::one_line;
use crate::formats::Refusal;
use crate::formats::announcement::{self, Admission, Announcement, Bytes, Offer};
use crate::names::{Address, ModelName};
use crate::rollout::history::Told;
use crate::rollout::policy::Policy;
use crate::version::Version;

/// The form of the document; it grows only when a field changes its meaning. Additions do not raise
/// it.
pub const SCHEMA: u32 = 1;

/// The largest state that is read, in bytes.
pub const LIMIT: u64 = 16 << 20;

/// What a version is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worth {
    /// It is whole in `plugin/`, and was not announced yet.
    Published,
    /// It was announced, and how that ends is not known yet.
    RollingOut,
    /// Its rollout ended with nobody failed, and at least half of the members, at least one, had
    /// reported it.
    Confirmed,
    /// Its rollout was stopped because members failed.
    Stopped,
    /// Its rollout ended before half of the members had reported it.
    TimedOut,
    /// An operator aborted its rollout.
    Aborted,
    /// An operator left it, by a pin or by hand.
    Left,
    /// A person marked it, or rolled back from it; or members failed and the site rolls back by
    /// itself.
    Bad,
    /// A person marked it.
    Good,
}

impl Worth {
    /// Whether a rollback may go to it without being told so.
    pub fn is_trusted(self) -> bool {
        matches!(self, Worth::Confirmed | Worth::Good)
    }

    /// Whether it may only be announced again by a command that names it.
    pub fn is_spent(self) -> bool {
        match self {
            Worth::Stopped | Worth::TimedOut | Worth::Aborted | Worth::Left | Worth::Bad => true,
            Worth::Published | Worth::RollingOut | Worth::Confirmed | Worth::Good => false,
        }
    }

    /// The word for people.
    pub fn words(self) -> &'static str {
        match self {
            Worth::Published => "published",
            Worth::RollingOut => "rolling out",
            Worth::Confirmed => "confirmed",
            Worth::Stopped => "stopped",
            Worth::TimedOut => "timed out",
            Worth::Aborted => "aborted",
            Worth::Left => "left",
            Worth::Bad => "bad",
            Worth::Good => "good",
        }
    }
}

/// Who did something, when and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// `USER@HOST`, or `dispatch` for a tick.
    pub by: String,
    /// When, in seconds since 1970.
    pub at_s: i64,
    /// Why, in one line; empty where nobody said it.
    #[serde(default)]
    pub reason: String,
}

impl fmt::Display for Mark {
    /// `by ann@monitor: it answers nothing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "by {}", self.by),
            reason => write!(f, "by {}: {reason}", self.by),
        }
    }
}

/// A version in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// Its place in the order of publication; names say nothing about that.
    pub sequence: u64,
    /// What it is worth.
    pub worth: Worth,
    /// How many members had reported it when its rollout ended.
    #[serde(default)]
    pub reported: usize,
    /// Of how many.
    #[serde(default)]
    pub members: usize,
    /// Who made it worth that.
    pub mark: Mark,
    /// The digest of its manifest's bytes; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
}

/// How the announced version came to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It was pushed.
    Push,
    /// A rollback, a person's or the site's own.
    Rollback,
    /// A pin.
    Pin,
    /// A person wrote it into service.conf.
    Hand,
    /// A script published it.
    Script,
    /// It was announced before there was a state.
    Import,
}

/// How the rollout of the announced version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Members are expected to report it.
    Running,
    /// An operator paused it: nobody else is admitted, and its time does not run.
    Paused,
    /// Every member that is free has it; those that are held follow in batches of their own.
    Trailing,
    /// It ended well.
    Done,
    /// Members failed: nobody else is admitted.
    Stopped,
    /// Its time was up: nobody else is admitted.
    TimedOut,
    /// An operator ended it: nobody else is admitted.
    Aborted,
}

impl Phase {
    /// Whether `status` marks it, and a push waits for its end.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Phase::Running | Phase::Paused)
    }

    /// Whether it ended before everybody was admitted.
    pub fn was_broken_off(self) -> bool {
        matches!(self, Phase::Stopped | Phase::TimedOut | Phase::Aborted)
    }

    /// The word for people.
    pub fn words(self) -> &'static str {
        match self {
            Phase::Running => "rolling out",
            Phase::Paused => "paused",
            Phase::Trailing => "done but for held members",
            Phase::Done => "done",
            Phase::Stopped => "stopped",
            Phase::TimedOut => "timed out",
            Phase::Aborted => "aborted",
        }
    }
}

/// Since when a rollout can neither go on nor end, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Since when, in seconds since 1970: its time does not run.
    pub since_s: i64,
    /// What is missing.
    pub reason: String,
}

/// The version that is announced, and how its rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// What is announced: the version, its manifest, every service.conf.
    pub offer: Offer,
    /// The number under which it was announced first: what a member reports of an earlier one says
    /// nothing about it.
    pub sequence: u64,
    /// The number of the announcement as it is now: each change of it has one of its own.
    pub latest: u64,
    /// Where members keep versions: PREFIXPATH of the registry.
    pub prefix: String,
    /// The library's file name: SONAME of the registry.
    pub so_name: String,
    /// How it came to be announced.
    pub origin: Origin,
    /// What a member installs that is not admitted and has nothing that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Offer>,
    /// Who may install it.
    pub admission: Admission,
    /// A member that failed tries again when this grows; it grows from one announcement to the
    /// next, too.
    #[serde(default)]
    pub attempt: u32,
    /// Whether an operator resumed it.
    #[serde(default)]
    pub is_resumed: bool,
    /// How its rollout stands.
    pub phase: Phase,
    /// Who made it so.
    pub mark: Mark,
    /// When the rollout began, or an operator resumed it after its end, in seconds since 1970.
    #[serde(default)]
    pub started_s: i64,
    /// Since when its time runs, in seconds since 1970: it moves on by a pause or a stall, and
    /// begins anew when late members are skipped.
    pub began_s: i64,
    /// When a member reported it last, or a batch was admitted, in seconds since 1970.
    pub progress_s: i64,
    /// Since when the last batch is confirmed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_confirmed_s: Option<i64>,
    /// Why it can neither go on nor end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// How many failed members are tolerated beyond `max_fail`, since an operator resumed it.
    #[serde(default)]
    pub tolerated: usize,
    /// Whether it was confirmed since it was announced this time.
    #[serde(default)]
    pub is_confirmed: bool,
    /// The members that have reported it, in the order in which they did.
    #[serde(default)]
    pub reported: Vec<Address>,
    /// The members that failed when its rollout was broken off.
    #[serde(default)]
    pub failed: Vec<Address>,
    /// Whether this monitor could see that members can fetch its announcements.
    #[serde(default)]
    pub sight: Sight,
}

/// Whether members can fetch the announcement, as this monitor's own daemon shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Nobody needs to know: everybody is admitted, and nobody held.
    #[default]
    NotNeeded,
    /// They can.
    Seen,
    /// The daemon could not be asked.
    Blind,
}

impl Announced {
    /// Whether it is not known that members can fetch the announcement.
    pub fn is_blind(&self) -> bool {
        self.sight == Sight::Blind
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.offer.version
    }
}

/// One upload of `success`. A second push with the same content is told from the first by the place
/// and time of the file; a copy of the tree by the upload's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// What `success` holds.
    pub content: Bytes,
    /// The version that it announces, if it holds one.
    pub announces: Option<Version>,
    /// Device, inode, modification time and size of the file.
    pub identity: String,
    /// When it arrived, in seconds since 1970.
    pub arrived_s: i64,
    /// What became of it.
    pub fate: Fate,
    /// Why it was refused, each reason once.
    #[serde(default)]
    pub refusals: Vec<String>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It waits, or is refused.
    Waits,
    /// It is published as this version; once that one's rollout has ended, `success` is removed.
    Became(Version),
}

/// A publication that was begun: `plugin/VERSION` may be half there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// The version that it becomes.
    pub version: Version,
    /// When it began, in seconds since 1970.
    pub began_s: i64,
}

/// The version that is kept whatever is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub version: Version,
    /// Who pinned it.
    pub mark: Mark,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The model.
    pub model: ModelName,
    /// When the numbers began, in seconds since 1970;
    /// [`Event::Adopted`](crate::rollout::event::Event::Adopted) raises it.
    pub epoch: i64,
    /// The last number given, to a version or to an announcement.
    pub sequence: u64,
    /// How many events there were.
    pub events: u64,
    /// Whether `status`, service.conf, `success` and the announcement are known to say what this
    /// says.
    pub settled: bool,
    /// Every version that this monitor has published, in the order of publication.
    pub ledger: Vec<Release>,
    /// What is announced; `None` before the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// The last push that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// A publication that was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishing: Option<Publishing>,
    /// The version that a script began to publish when it died: `plugin/VERSION` may be half there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half: Option<Version>,
    /// The version that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The version of the `status` that this toolkit wrote last, while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<Version>,
    /// The members that the announcement holds, as of the last tick.
    #[serde(default)]
    pub held: Vec<Address>,
    /// The last policy that could be read.
    #[serde(default)]
    pub policy: Policy,
    /// The last member list that could be read.
    #[serde(default)]
    pub members: Vec<Address>,
    /// Members that have seen a higher number than this monitor's: it was restored from a backup.
    #[serde(default)]
    pub ahead: Vec<Address>,
    /// What the history was not told yet.
    #[serde(default)]
    pub untold: Vec<Told>,
}

impl State {
    /// The state of a model of which nothing is known yet.
    pub fn new(model: ModelName, now_s: i64) -> State {
        State {
            schema: SCHEMA,
            model,
            epoch: now_s,
            sequence: 0,
            events: 0,
            settled: true,
            ledger: Vec::new(),
            announced: None,
            push: None,
            publishing: None,
            half: None,
            pin: None,
            marked: None,
            held: Vec::new(),
            policy: Policy::default(),
            members: Vec::new(),
            ahead: Vec::new(),
            untold: Vec::new(),
        }
    }

    /// Reads the document of a model. Fails where it is damaged, of another model, or of a later
    /// release that changed its meaning.
    pub fn parse(source: &[u8], model: &ModelName) -> Result<State, Refusal> {
        let refused = |what: String| {
            let instead = format!("put a copy of it back, or make it anew with dispatch --rebuild {model}");
            Refusal::at(source, 0, what, instead)
        };
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let damaged = |error: serde_json::Error| refused(one_line(&format!("this is not a state: {error}")));
        let Head { schema } = serde_json::from_slice(source).map_err(damaged)?;
        if schema > SCHEMA {
            return Err(Refusal {
                instead: "install the release that wrote it".to_owned(),
                ..refused(format!("this state has schema {schema}"))
            });
        }
        let state: State = serde_json::from_slice(source).map_err(damaged)?;
        match state.model == *model {
            true => Ok(state),
            false => Err(refused(format!("this is the state of {}", state.model))),
        }
    }

    /// The document's bytes: lines that a person can read.
    pub fn render(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// What the announcement says.
    pub fn announcement(&self) -> Announcement {
        let announced = self.announced.as_ref();
        Announcement {
            schema: announcement::SCHEMA,
            must: Vec::new(),
            model: self.model.clone(),
            epoch: self.epoch,
            sequence: announced.map_or(self.sequence, |announced| announced.latest),
            attempt: announced.map_or(0, |announced| announced.attempt),
            target: announced.map(|announced| announced.offer.clone()),
            before: announced.and_then(|announced| announced.before.clone()),
            admitted: announced.map_or(Admission::Everybody, |announced| announced.admission.clone()),
            held: self.held.clone(),
        }
    }

    /// A version in the ledger.
    pub fn release(&self, version: &Version) -> Option<&Release> {
        self.ledger.iter().find(|release| release.version == *version)
    }

    /// What a version is worth; `None` where this monitor has not published it.
    pub fn worth(&self, version: &Version) -> Option<Worth> {
        self.release(version).map(|release| release.worth)
    }

    /// Whether a rollout is in flight.
    pub fn is_in_flight(&self) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.phase.is_in_flight())
    }

    /// The version of `status`, where this monitor's ticks keep one.
    pub fn status(&self) -> Option<&Version> {
        let rollout = self.announced.as_ref().filter(|announced| announced.phase.is_in_flight());
        rollout.map(Announced::version).or(self.publishing.as_ref().map(|publishing| &publishing.version))
    }

    /// The confirmed and good versions before one, the latest first.
    pub fn trusted_before<'a>(&'a self, version: &'a Version) -> impl Iterator<Item = &'a Release> {
        let sequence = self.release(version).map_or(u64::MAX, |release| release.sequence);
        let is_before = move |release: &&Release| {
            release.sequence < sequence && release.version != *version && release.worth.is_trusted()
        };
        self.ledger.iter().rev().filter(is_before)
    }

    /// Whether the last push has come to its end: its `success` must go.
    pub fn push_is_over(&self) -> bool {
        let Some(Fate::Became(version)) = self.push.as_ref().map(|push| &push.fate) else { return false };
        let is_announced = self.announced.as_ref().is_some_and(|announced| announced.version() == version);
        match (is_announced, self.worth(version)) {
            (true, _) => !self.is_in_flight(),
            // It waits until the rollout in flight has ended.
            (false, Some(Worth::Published)) => false,
            (false, _) => true,
        }
    }

    /// The versions that were marked bad.
    pub fn bad(&self) -> impl Iterator<Item = &Release> {
        self.ledger.iter().filter(|release| release.worth == Worth::Bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::announcement::{FIRST_INSTANCE, Numbers};
    use crate::rollout::event::Event;
    use crate::rollout::fixtures::*;

    const ALL: [Worth; 9] = [
        Worth::Published,
        Worth::RollingOut,
        Worth::Confirmed,
        Worth::Stopped,
        Worth::TimedOut,
        Worth::Aborted,
        Worth::Left,
        Worth::Bad,
        Worth::Good,
    ];

    /// A state in which every field says something.
    fn full() -> State {
        let mut state = rolling(confirmed(&[1]), 2, only(&[1]));
        state.push = Some(Push { fate: Fate::Became(v(2)), refusals: vec!["no space".into()], ..push(2) });
        state.publishing = Some(Publishing { version: v(3), began_s: BEGIN });
        state.pin = Some(Pin { version: v(2), mark: ann(BEGIN).mark() });
        state.marked = Some(v(2));
        state.held = members(&[2]);
        state.policy = in_batches("1,25%,100%");
        state.members = members(&[1, 2]);
        state.ahead = members(&[2]);
        state.untold = vec![Told { id: "9.0".into(), event: "paused".into(), ..Told::default() }];
        let announced = state.announced.as_mut().unwrap();
        announced.batch_confirmed_s = Some(BEGIN + 5);
        announced.stall = Some(Stall { since_s: BEGIN, reason: "all 2 members are held".into() });
        announced.tolerated = 1;
        announced.is_resumed = true;
        announced.is_confirmed = true;
        announced.reported = members(&[1]);
        announced.failed = members(&[2]);
        announced.sight = Sight::Blind;
        // Remarks in GBK, as sites have them.
        let conf = [b"# \xbb\xc6\xc9\xab\n".as_slice(), &conf(&v(2))].concat();
        announced.offer.service_conf.insert(FIRST_INSTANCE.into(), Bytes(conf));
        state
    }

    fn refused(source: &[u8]) -> Refusal {
        State::parse(source, &model()).unwrap_err()
    }

    #[test]
    fn a_state_is_read_back_as_written_also_with_a_service_conf_in_gbk() {
        for state in [empty(), confirmed(&[1, 2]), full()] {
            assert_eq!(State::parse(&state.render(), &model()), Ok(state));
        }
    }

    #[test]
    fn a_state_that_is_cut_off_is_refused_with_the_command_that_makes_it_anew() {
        let whole = full().render();
        let text = whole.trim_ascii_end().len();
        for cut in 0..text {
            let refusal = refused(&whole[..cut]);
            assert!(refusal.instead.contains("dispatch --rebuild m"), "cut at {cut}: {refusal}");
        }
    }

    #[test]
    fn the_state_of_another_model_is_refused_with_its_name() {
        let other = State::new(ModelName::parse(b"other").unwrap(), BEGIN).render();
        assert_eq!(refused(&other).what, "this is the state of other");
    }

    #[test]
    fn a_state_of_a_later_schema_asks_for_the_release_that_wrote_it() {
        let later = br#"{"schema": 2, "model": "m", "meaning": "another"}"#;
        let refusal = refused(later);
        assert_eq!(refusal.what, "this state has schema 2");
        assert_eq!(refusal.instead, "install the release that wrote it");
    }

    #[test]
    fn fields_of_a_later_release_are_ignored() {
        let state = full();
        let text = String::from_utf8(state.render()).unwrap();
        let later = text.replace("\"sequence\"", "\"colour\": \"red\",\n\"sequence\"");
        assert_ne!(later, text);
        assert_eq!(State::parse(later.as_bytes(), &model()), Ok(state));
    }

    #[test]
    fn fields_that_an_earlier_release_did_not_write_have_their_defaults() {
        let first =
            br#"{"schema": 1, "model": "m", "epoch": 1000000, "sequence": 0, "events": 0, "settled": true,
            "ledger": []}"#;
        assert_eq!(State::parse(first, &model()), Ok(empty()));
        let mark = r#""mark": {"by": "dispatch", "at_s": 1000000}"#;
        let announced = format!(
            r#"{{"schema": 1, "model": "m", "epoch": 1000000, "sequence": 2, "events": 2, "settled": true,
            "ledger": [{{"version": "{0}", "sequence": 1, "worth": "rolling-out", {mark}}}],
            "announced": {{"offer": {{"version": "{0}", "service_conf": {{}}}}, "sequence": 2, "prefix": "/p",
            "so_name": "m.so", "origin": "push", "admission": "everybody", "phase": "running", {mark},
            "latest": 2, "began_s": 1000000, "progress_s": 1000000}},
            "push": {{"content": "x", "announces": null, "identity": "1-1-1-1", "arrived_s": 1, "fate": "waits"}}}}"#,
            v(1)
        );
        let state = State::parse(announced.as_bytes(), &model()).unwrap();
        let mut written = rolling(empty(), 1, Admission::Everybody);
        written.ledger[0].manifest = None;
        let expected = Announced {
            offer: Offer { version: v(1), manifest: None, service_conf: Default::default() },
            started_s: 0,
            ..of(&written).clone()
        };
        assert_eq!(state.announced, Some(expected));
        assert_eq!(state.ledger, written.ledger);
        assert_eq!(state.push.map(|push| push.refusals), Some(Vec::new()));
    }

    #[test]
    fn every_worth_is_trusted_or_spent_or_neither_as_docs_state_says() {
        let sorted = |is: fn(Worth) -> bool| ALL.into_iter().filter(|worth| is(*worth)).collect::<Vec<_>>();
        assert_eq!(sorted(Worth::is_trusted), [Worth::Confirmed, Worth::Good]);
        let spent = [Worth::Stopped, Worth::TimedOut, Worth::Aborted, Worth::Left, Worth::Bad];
        assert_eq!(sorted(Worth::is_spent), spent);
    }

    /// The keys of a document, at every depth.
    fn keys(value: &serde_json::Value) -> Vec<String> {
        match value {
            serde_json::Value::Object(map) => {
                let of_one =
                    |(key, value): (&String, &serde_json::Value)| [vec![key.clone()], keys(value)].concat();
                map.iter().flat_map(of_one).collect()
            }
            serde_json::Value::Array(values) => values.iter().flat_map(keys).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn docs_state_names_every_field_of_the_state_and_the_announcement() {
        let state = full();
        let written = serde_json::from_slice(&state.render()).unwrap();
        let announcement = serde_json::from_slice(&state.announcement().render()).unwrap();
        for docs in [include_str!("../../docs/state.md"), include_str!("../../docs/state.zh-CN.md")] {
            let is_named =
                |key: &str| docs.contains(&format!("`{key}`")) || docs.contains(&format!("{{\"{key}\": "));
            for key in keys(&written).into_iter().chain(keys(&announcement)) {
                assert!(is_named(&key) || key == FIRST_INSTANCE, "docs/state: no {key}");
            }
            for worth in ALL {
                let word = serde_json::to_value(worth).unwrap();
                assert!(docs.contains(&format!("\n| `{}` |", word.as_str().unwrap())), "no {worth:?}");
            }
        }
    }

    #[test]
    fn the_announcement_says_what_is_announced_who_is_admitted_and_who_is_held() {
        let mut state = rolling(confirmed(&[1]), 2, only(&[1]));
        state.held = members(&[2]);
        let announcement = state.announcement();
        assert_eq!(announcement.target, Some(offer(2)));
        assert_eq!(announcement.before, Some(offer(1)));
        assert_eq!(announcement.admitted, only(&[1]));
        assert_eq!(announcement.held, members(&[2]));
        let numbers = Numbers { epoch: announcement.epoch, sequence: announcement.sequence };
        assert_eq!(numbers, Numbers { epoch: BEGIN, sequence: of(&state).latest });
    }

    #[test]
    fn the_announcement_has_the_number_of_its_latest_change_and_not_of_a_version_that_waits() {
        let held = after(rolling(confirmed(&[1]), 2, only(&[1])), &[Event::Held(members(&[2]))]);
        let latest = of(&held).latest;
        assert!(latest > of(&held).sequence);
        let state = after(held, &[published(3)]);
        assert_eq!((state.announcement().sequence, state.sequence), (latest, latest + 1));
    }

    #[test]
    fn before_the_first_version_the_announcement_has_no_target() {
        assert_eq!(empty().announcement().target, None);
    }

    #[test]
    fn the_versions_before_one_are_the_trusted_ones_by_sequence_and_never_by_name() {
        // A clock set back: version 2 was published after 5.
        let state = ledger(&[
            (5, Worth::Confirmed),
            (9, Worth::Stopped),
            (2, Worth::Good),
            (7, Worth::Bad),
            (1, Worth::RollingOut),
            (8, Worth::Confirmed),
        ]);
        let before = |number: u8| -> Vec<Version> {
            state.trusted_before(&v(number)).map(|release| release.version.clone()).collect()
        };
        assert_eq!(before(1), [v(2), v(5)]);
        assert_eq!(before(2), [v(5)]);
        assert_eq!(before(5), [] as [Version; 0]);
        assert_eq!(before(66), [v(8), v(2), v(5)], "one that the ledger does not know is the latest");
    }

    #[test]
    fn status_names_the_version_in_flight_and_otherwise_the_one_that_is_being_published() {
        assert_eq!(confirmed(&[1]).status(), None);
        let mut state = rolling(empty(), 1, Admission::Everybody);
        assert_eq!(state.status(), Some(&v(1)));
        state.announced.as_mut().unwrap().phase = Phase::Paused;
        assert_eq!(state.status(), Some(&v(1)));
        state.announced.as_mut().unwrap().phase = Phase::Trailing;
        assert_eq!(state.status(), None);
        state.publishing = Some(Publishing { version: v(2), began_s: BEGIN });
        assert_eq!(state.status(), Some(&v(2)));
    }

    #[test]
    fn a_push_is_over_when_the_rollout_of_its_version_has_ended() {
        let became = |state: State, number: u8| State {
            push: Some(Push { fate: Fate::Became(v(number)), ..push(number) }),
            ..state
        };
        assert!(!empty().push_is_over(), "there is none");
        assert!(!State { push: Some(push(1)), ..empty() }.push_is_over(), "it waits");
        assert!(!became(rolling(empty(), 1, Admission::Everybody), 1).push_is_over(), "in flight");
        assert!(became(confirmed(&[1]), 1).push_is_over());
        let waits = after(rolling(empty(), 1, Admission::Everybody), &[published(2)]);
        assert!(!became(waits, 2).push_is_over(), "it is published, and waits for its announcement");
        assert!(became(confirmed(&[1, 2]), 1).push_is_over(), "another one is announced");
        assert!(became(confirmed(&[1]), 9).push_is_over(), "it was deleted");
    }

    #[test]
    fn the_bad_versions_are_those_that_were_marked() {
        let state = ledger(&[(1, Worth::Bad), (2, Worth::Stopped), (3, Worth::Bad)]);
        assert_eq!(state.bad().map(|release| &release.version).collect::<Vec<_>>(), [&v(1), &v(3)]);
        assert!(state.ledger.iter().all(|release| state.worth(&release.version) == Some(release.worth)));
        assert_eq!(state.after(&Event::Unpinned, &at(BEGIN)).worth(&v(9)), None);
    }
}
