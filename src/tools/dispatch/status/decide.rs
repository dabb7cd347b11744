//! What `--status` and `--explain` say about a model, as a pure function of what was observed. The fields are those of the JSON
//! document (docs/fleet.md).

use chrono::SecondsFormat;
use serde::Serialize;

use crate::error::one_line;
use crate::machine::clock;
use crate::names::{Address, ModelName};
use crate::rollout::advance::listed;
use crate::rollout::state::{Announced, Mark, Origin, Phase, Pin, Release};
use crate::rollout::verdict::{Hindrance, Live, MemberFacts, Verdict, has_failed, verdict};
use crate::time::Seconds;
use crate::version::Version;

/// The verdicts that make a difference to whoever shows them.
pub const CURRENT: &str = Verdict::Current.words();
/// See [`Verdict::Held`].
pub const HELD: &str = Verdict::Held.words();
/// See [`Verdict::Unreachable`].
pub const UNREACHABLE: &str = Verdict::Unreachable.words();

/// All that is known of a model.
#[derive(Debug)]
pub struct ModelFacts {
    /// The model.
    pub model: ModelName,
    /// Where its member list is.
    pub list: String,
    /// How its members are asked: `report`, `rpc` or `command`.
    pub probe: &'static str,
    /// How many members have the version after each batch.
    pub batches: Vec<usize>,
    /// What service.conf announces.
    pub announced: Option<Version>,
    /// A push, or a publication, that is not announced yet.
    pub pending: Pending,
    /// Since when an upgrade is in flight, in Unix seconds.
    pub in_flight_since_s: Option<i64>,
    /// Now, in Unix seconds.
    pub now_s: i64,
    /// How the announced version's rollout stands; `None` where this toolkit did not announce it.
    pub rollout: Option<Announced>,
    /// The version that is kept whatever is pushed.
    pub pin: Option<Pin>,
    /// The versions that were marked bad, in the order of publication.
    pub bad: Vec<Release>,
    /// Members that have seen later announcements: this monitor was restored from a backup.
    pub ahead: Vec<Address>,
    /// Every member, in the order of the list.
    pub members: Vec<(Address, MemberFacts)>,
}

/// What was pushed and is not announced yet: the members are to have that, so what they have now is not the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// A version.
    Version(Version),
    /// A push whose version is not known before it is published.
    Unnamed,
}

/// A model's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// The model.
    pub model: String,
    /// What service.conf announces.
    pub announced_version: Option<String>,
    /// What was pushed and is not announced yet; empty where its version is not known.
    pub pending_version: Option<String>,
    /// For how long an upgrade has been in flight.
    pub in_flight_for_s: Option<i64>,
    /// Since when, in Unix seconds.
    pub in_flight_since_unix_s: Option<i64>,
    /// Who announced it: `push`, `rollback`, `pin`, `hand`, `script` or `import`.
    pub origin: Option<Origin>,
    /// What became of its rollout.
    pub rollout: Option<RolloutStatus>,
    /// The version that is kept whatever is pushed.
    pub pinned: Option<MarkStatus>,
    /// The versions that are not published again, by name.
    pub bad_versions: Vec<MarkStatus>,
    /// What is missing, where its rollout can neither go on nor end.
    pub waits_for: Option<String>,
    /// Members that have seen later announcements than this monitor has made.
    pub members_ahead: Vec<String>,
    /// How its members are asked.
    pub probe: Option<&'static str>,
    /// Where its member list is.
    pub member_list: Option<String>,
    /// How many members there are.
    pub members_total: usize,
    /// How many of them may take the announced version.
    pub members_let_in: usize,
    /// How many serve it, those that are held left out.
    pub members_current: usize,
    /// How many are held.
    pub members_held: usize,
    /// Whether every member that is not held serves what is announced, and nothing is pending.
    pub converged: bool,
    /// Why nothing can be said.
    pub problem: Option<String>,
    /// Each member, in the order of the list.
    pub members: Vec<MemberStatus>,
}

/// What became of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutStatus {
    /// `paused`, `resumed`, `trailing`, `stopped`, `timed-out` or `aborted`.
    pub standing: &'static str,
    /// By whom: `USER@HOST`, or `dispatch`.
    pub by: String,
    /// Since when, in Unix seconds.
    pub at_unix_s: i64,
    /// Why; may be empty.
    pub why: String,
}

/// The word of each standing.
pub const STANDINGS: [&str; 6] = ["paused", "resumed", "trailing", "stopped", "timed-out", "aborted"];

impl RolloutStatus {
    fn of(announced: &Announced) -> Option<RolloutStatus> {
        let [paused, resumed, trailing, stopped, timed_out, aborted] = STANDINGS;
        let standing = match announced.phase {
            Phase::Paused => paused,
            Phase::Running if announced.is_resumed => resumed,
            Phase::Trailing => trailing,
            Phase::Stopped => stopped,
            Phase::TimedOut => timed_out,
            Phase::Aborted => aborted,
            Phase::Running | Phase::Done => return None,
        };
        let Mark { by, at_s, reason } = announced.mark.clone();
        Some(RolloutStatus { standing, by, at_unix_s: at_s, why: reason })
    }
}

/// Who pinned a version, or marked it bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkStatus {
    /// The version.
    pub version: String,
    /// By whom: `USER@HOST`.
    pub by: String,
    /// When, in Unix seconds.
    pub at_unix_s: i64,
    /// Why; may be empty.
    pub why: String,
    /// The same for people, without the version.
    #[serde(skip)]
    pub words: String,
}

impl MarkStatus {
    fn of(version: &Version, mark: &Mark) -> MarkStatus {
        let Mark { by, at_s, reason } = mark;
        let at = clock::at_unix(*at_s).format("%Y-%m-%d %H:%M:%S");
        let why = if reason.is_empty() { ", who gave no reason".to_owned() } else { format!(": {reason}") };
        MarkStatus {
            version: version.to_string(),
            by: by.clone(),
            at_unix_s: *at_s,
            why: reason.clone(),
            words: format!("by {by} on {at}{why}"),
        }
    }
}

/// A member's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// The member.
    pub member: String,
    /// The verdict.
    pub verdict: &'static str,
    /// Whether it counts as failed.
    pub has_failed: bool,
    /// What it serves, as far as that is known.
    pub version: Option<String>,
    /// How that is known: `rpc`, `command`, or `report`, which is a record.
    pub version_from: Option<&'static str>,
    /// How old that is; 0 for an answer.
    pub version_age_s: Option<i64>,
    /// Why, for people.
    pub why: String,
    /// What its report names, whatever its service answers.
    pub reported: Option<Reported>,
    /// What its poller told last.
    pub told: Option<Told>,
    /// Why it keeps what it serves.
    pub held: Option<HeldBy>,
}

/// A member's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// The version.
    pub version: String,
    /// How long ago it arrived.
    pub age_s: i64,
}

/// What a poller told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// `updating`, `not-installed`, `not-restarted`, `rolled-back` or `current`.
    pub word: &'static str,
    /// With which version.
    pub version: String,
    /// How long ago it arrived.
    pub age_s: i64,
    /// When it was written, by the member's clock.
    pub at_unix_s: i64,
    /// Why; may be empty.
    pub message: String,
}

/// Why a member keeps what it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    /// `hold` or `hosts deny`.
    pub kind: &'static str,
    /// Who holds it.
    pub by: Option<String>,
    /// Until when, with its offset.
    pub until: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Where the daemon's denial stands, `file:line`.
    pub place: Option<String>,
}

/// The status of a model of which nothing can be said.
pub fn unknown(model: &ModelName, problem: &str) -> ModelStatus {
    ModelStatus {
        model: model.to_string(),
        announced_version: None,
        pending_version: None,
        in_flight_for_s: None,
        in_flight_since_unix_s: None,
        origin: None,
        rollout: None,
        pinned: None,
        bad_versions: Vec::new(),
        waits_for: None,
        members_ahead: Vec::new(),
        probe: None,
        member_list: None,
        members_total: 0,
        members_let_in: 0,
        members_current: 0,
        members_held: 0,
        converged: false,
        problem: Some(problem.to_owned()),
        members: Vec::new(),
    }
}

/// The status of a model.
pub fn status(facts: &ModelFacts) -> ModelStatus {
    let Some(announced) = &facts.announced else {
        let model = &facts.model;
        return unknown(model, "config_1/service.conf names no version; correct its moduleversion, or push");
    };
    let members: Vec<MemberStatus> =
        facts.members.iter().map(|(member, known)| member_status(member, known, announced, facts)).collect();
    let count = |verdict: Verdict| members.iter().filter(|m| m.verdict == verdict.words()).count();
    let (current, held) = (count(Verdict::Current), count(Verdict::Held));
    let waiting = facts.members.iter().filter(|(_, known)| known.is_waiting).count();
    ModelStatus {
        announced_version: Some(announced.to_string()),
        pending_version: match &facts.pending {
            Pending::Nothing => None,
            Pending::Version(version) => Some(version.to_string()),
            Pending::Unnamed => Some(String::new()),
        },
        in_flight_for_s: facts.in_flight_since_s.map(|since_s| facts.now_s.saturating_sub(since_s).max(0)),
        in_flight_since_unix_s: facts.in_flight_since_s,
        origin: facts.rollout.as_ref().map(|announced| announced.origin),
        rollout: facts.rollout.as_ref().and_then(RolloutStatus::of),
        pinned: facts.pin.as_ref().map(|pin| MarkStatus::of(&pin.version, &pin.mark)),
        bad_versions: facts.bad.iter().map(|bad| MarkStatus::of(&bad.version, &bad.mark)).collect(),
        waits_for: facts
            .rollout
            .as_ref()
            .and_then(|announced| announced.stall.as_ref())
            .map(|stall| stall.reason.clone()),
        members_ahead: facts.ahead.iter().map(ToString::to_string).collect(),
        probe: Some(facts.probe),
        member_list: Some(facts.list.clone()),
        members_total: members.len(),
        members_let_in: members.len() - waiting,
        members_current: current,
        members_held: held,
        converged: current > 0
            && current + held == members.len()
            && facts.pending == Pending::Nothing
            && facts.ahead.is_empty(),
        problem: None,
        members,
        ..unknown(&facts.model, "")
    }
}

impl ModelStatus {
    /// The line above the table, and the only one of an overview.
    pub fn headline(&self) -> String {
        let model = &self.model;
        if let Some(problem) = &self.problem {
            return format!("{model}: {problem}");
        }
        let announced = self.announced_version.as_deref().unwrap_or_default();
        let must = self.members_total - self.members_held;
        let mut line = format!("{model}: {announced}, {} of {must} members have it", self.members_current);
        if self.members_held > 0 {
            line.push_str(&format!(", {} held", self.members_held));
        }
        if let Some(age) = self.in_flight_for_s {
            line.push_str(&format!("; upgrade in flight for {}", duration(Seconds(age))));
        }
        if self.members_let_in < self.members_total {
            line.push_str(&format!("; {} of {} admitted so far", self.members_let_in, self.members_total));
        }
        if let Some(RolloutStatus { standing, by, why, .. }) = &self.rollout {
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            line.push_str(&format!("; {standing} by {by}{why}"));
        }
        if let Some(MarkStatus { version, words, .. }) = &self.pinned {
            line.push_str(&format!("; pinned to {version} {words}"));
        }
        match (self.pending_version.as_deref(), self.is_push_held()) {
            (None, _) => {}
            (Some(""), true) => line.push_str("; a push is held"),
            (Some(version), true) => line.push_str(&format!("; {version} was pushed and is held")),
            (Some(""), false) => line.push_str("; a push is not announced yet"),
            (Some(version), false) => {
                line.push_str(&format!("; {version} was pushed and is not announced yet"));
            }
        }
        match self.origin {
            Some(Origin::Script) => line.push_str("; announced by a script"),
            Some(Origin::Hand) => line.push_str("; announced by hand"),
            Some(Origin::Push | Origin::Rollback | Origin::Pin | Origin::Import) | None => {}
        }
        if let Some(reason) = &self.waits_for {
            line.push_str(&format!("; waits: {reason}"));
        }
        if !self.members_ahead.is_empty() {
            let who = self.members_ahead.join(", ");
            line.push_str(&format!(
                "; members have seen later announcements than this monitor has made ({who}): dispatch --adopt {model}"
            ));
        }
        match self.bad_versions.len() {
            0 => {}
            1 => line.push_str("; 1 bad version"),
            count => line.push_str(&format!("; {count} bad versions")),
        }
        line.push_str(if self.converged { ": converged" } else { ": not converged" });
        line
    }

    /// Whether what was pushed waits because a version is pinned. What is pending may be that version itself, whose pin was to be
    /// announced by a run that died.
    fn is_push_held(&self) -> bool {
        let pinned = self.pinned.as_ref().map(|pinned| pinned.version.as_str());
        pinned.is_some() && self.pending_version.is_some() && self.pending_version.as_deref() != pinned
    }

    /// A line for each bad version, to stand below the table.
    pub fn bad_lines(&self) -> impl Iterator<Item = String> {
        self.bad_versions
            .iter()
            .map(|MarkStatus { version, words, .. }| format!("bad: {version}, marked {words}"))
    }

    /// Who has not converged, for the one line of a failure; `None` where all have.
    pub fn not_converged(&self) -> Option<String> {
        if self.converged || self.problem.is_some() {
            return self.problem.as_ref().map(|_| self.headline());
        }
        let settled = [Verdict::Current.words(), Verdict::Held.words()];
        let late: Vec<&MemberStatus> =
            self.members.iter().filter(|member| !settled.contains(&member.verdict)).collect();
        let model = &self.model;
        if late.is_empty() {
            let why = match &self.pinned {
                _ if self.members_current == 0 => "every member is held, so nobody has it".to_owned(),
                _ if !self.members_ahead.is_empty() => {
                    format!(
                        "members have seen later announcements; dispatch --adopt {model} makes them follow this monitor"
                    )
                }
                Some(MarkStatus { version, .. }) if self.is_push_held() => {
                    format!(
                        "what was pushed is held, since {version} is pinned; dispatch --unpin {model} lets it go on"
                    )
                }
                _ => "what was pushed is not announced yet".to_owned(),
            };
            return Some(format!("{model}: not converged: {why}"));
        }
        let who = listed(&late, |member| format!("{} ({})", member.member, member.verdict));
        let must = self.members_total - self.members_held;
        Some(format!("{model}: not converged: {} of {must}: {who}", late.len()))
    }

    /// The same without what only grows older: two that are equal have nothing new to say.
    pub fn without_ages(&self) -> ModelStatus {
        let members = self.members.iter().map(|member| MemberStatus {
            version_age_s: None,
            why: String::new(),
            reported: None,
            told: member.told.clone().map(|told| Told { age_s: 0, ..told }),
            ..member.clone()
        });
        // Where it is known by an age alone, the begin is a second more or less at each look.
        ModelStatus {
            members: members.collect(),
            in_flight_for_s: None,
            in_flight_since_unix_s: None,
            ..self.clone()
        }
    }
}

fn member_status(
    member: &Address,
    known: &MemberFacts,
    announced: &Version,
    facts: &ModelFacts,
) -> MemberStatus {
    let verdict = verdict(known, announced);
    let (version, version_from, version_age_s) = match (&known.live, &known.report) {
        (Live::Serves(version), _) => (Some(text(version)), Some(facts.probe), Some(0)),
        (Live::NotAsked, Some((version, age))) => (Some(text(version)), Some("report"), Some(age.0)),
        (Live::Silent, _) | (Live::NotAsked, None) => (None, None, None),
    };
    MemberStatus {
        member: member.to_string(),
        verdict: verdict.words(),
        has_failed: has_failed(verdict),
        version,
        version_from,
        version_age_s,
        why: why(verdict, known, announced),
        reported: known
            .report
            .as_ref()
            .map(|(version, age)| Reported { version: text(version), age_s: age.0 }),
        told: known.told.as_ref().map(|(state, age)| Told {
            word: state.word.as_str(),
            version: state.version.to_string(),
            age_s: age.0,
            at_unix_s: state.at_unix_s,
            message: state.message().to_owned(),
        }),
        held: known.hindrance.as_ref().map(held_by),
    }
}

/// Who holds a member.
pub fn held_by(hindrance: &Hindrance) -> HeldBy {
    match hindrance {
        Hindrance::Hold(hold) => HeldBy {
            kind: "hold",
            by: Some(hold.by.clone()),
            until: hold.until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, false)),
            reason: Some(hold.reason.clone()),
            place: None,
        },
        Hindrance::Denied { place, until } => HeldBy {
            kind: "hosts deny",
            by: None,
            until: until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, false)),
            reason: None,
            place: Some(place.clone()),
        },
    }
}

impl HeldBy {
    /// Who holds it, until when and why, in a few words.
    pub fn words(&self) -> String {
        let until = self.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        match (&self.by, &self.reason, &self.place) {
            (Some(by), Some(reason), _) => format!("by {by}{until}: {reason}"),
            (_, _, place) => format!("denied by {}{until}", place.as_deref().unwrap_or_default()),
        }
    }
}

/// Why this is the verdict, for the table's last column.
fn why(verdict: Verdict, known: &MemberFacts, announced: &Version) -> String {
    let told = known.told.as_ref().filter(|(state, _)| state.version == *announced);
    let told_why = || {
        told.map_or(String::new(), |(state, age)| {
            format!("{} (told {} ago)", state.message(), duration(*age))
        })
    };
    let reported = known.report.as_ref().map(|(version, age)| (text(version), duration(*age)));
    match verdict {
        Verdict::Held => {
            known.hindrance.as_ref().map(|hindrance| held_by(hindrance).words()).unwrap_or_default()
        }
        Verdict::Current => match (&known.live, reported) {
            (Live::NotAsked, Some(_)) => "by its report".to_owned(),
            _ => String::new(),
        },
        Verdict::Updating => {
            let since = told.map_or(String::new(), |(_, age)| format!(" {} ago", duration(*age)));
            let silent = if known.live == Live::Silent { ", its service does not answer now" } else { "" };
            format!("its poll took it up{since}{silent}")
        }
        Verdict::NotPolled if known.report.is_none() && known.told.is_none() => {
            "nothing was ever heard of its poller".to_owned()
        }
        Verdict::NotPolled => "its poller has told nothing about it".to_owned(),
        Verdict::Waiting => "its batch is not admitted yet".to_owned(),
        Verdict::TakesEverything => "its poller is a script, which follows service.conf".to_owned(),
        Verdict::OldAgain => "its poller restarted it with the new one".to_owned(),
        Verdict::NotInstalled | Verdict::NotRestarted | Verdict::RolledBack => told_why(),
        Verdict::Unreachable => {
            let reported = reported.map(|(version, age)| format!("; reported {version} {age} ago"));
            let told =
                told.filter(|(state, _)| !state.message().is_empty()).map(|_| format!("; {}", told_why()));
            format!("no answer{}{}", reported.unwrap_or_default(), told.unwrap_or_default())
        }
    }
}

/// The one thing to do about a verdict.
fn advice(verdict: &str) -> &'static str {
    let is = |candidate: Verdict| candidate.words() == verdict;
    match verdict {
        _ if is(Verdict::Current) => "nothing to do",
        _ if is(Verdict::Updating) => {
            "look again in a minute; if it stays so, read the poller's log in /watch/log on the member"
        }
        _ if is(Verdict::NotPolled) => {
            "see whether its poller runs: its crontab, and its log in /watch/log on the member"
        }
        _ if is(Verdict::Waiting) => "wait until the members before it have the version",
        _ if is(Verdict::TakesEverything) => "put service_polling there, so that it waits for its batch",
        _ if is(Verdict::NotRestarted) => {
            "its service is probably down: read its log on the member; the next poll starts it again"
        }
        _ if is(Verdict::OldAgain) => {
            "restart its service by hand, and see whether service_start uses the installed service.conf"
        }
        _ if is(Verdict::NotInstalled) => {
            "remove what its poller complains about; it tries again every minute"
        }
        _ if is(Verdict::RolledBack) => "push a version that works; this one is not tried again there",
        _ if is(Verdict::Unreachable) => "see whether the host and its service run",
        _ => "autoupdate-toggle enable --method hold when it may update",
    }
}

/// Why a member did or did not take the announced version: a line for each fact, and last the one thing to do. `None` where it
/// is no member.
pub fn explain(facts: &ModelFacts, member: &Address) -> Option<(&'static str, Vec<String>)> {
    let (place, (_, known)) = facts.members.iter().enumerate().find(|(_, (address, _))| address == member)?;
    let status = status(facts);
    let announced = status.announced_version.clone()?;
    let about = status.members.get(place)?;
    let of = facts.members.len();
    let batch_of = facts.batches.iter().position(|target| place < *target).map_or(0, |batch| batch + 1);
    let batch = match (known.is_waiting, facts.batches.len()) {
        (true, batches) => {
            format!("waits for batch {batch_of} of {batches}; {} of {of} are admitted", status.members_let_in)
        }
        (false, 0 | 1) => "there is one batch of all".to_owned(),
        (false, batches) => format!("in batch {batch_of} of {batches}, and admitted"),
    };
    let pending = match &facts.pending {
        Pending::Nothing => String::new(),
        Pending::Version(version) => format!("; {version} was pushed and is not announced yet"),
        Pending::Unnamed => "; a push is not announced yet".to_owned(),
    };
    let reported = about.reported.as_ref();
    let reported =
        reported.map(|r| format!("{} by its report, {} old", r.version, duration(Seconds(r.age_s))));
    let serves = match (&known.live, &about.version) {
        (Live::Serves(_), Some(version)) => {
            format!("{version}, its service says now (probe={})", facts.probe)
        }
        (Live::Silent, _) => {
            let reported = reported.map(|text| format!("; {text}")).unwrap_or_default();
            format!("not known: its service does not answer (probe={}){reported}", facts.probe)
        }
        _ => reported.unwrap_or_else(|| "not known: it never reported (probe=report)".to_owned()),
    };
    let held = about.held.as_ref().map_or("no".to_owned(), HeldBy::words);
    let conclusion =
        if about.verdict == Verdict::Held.words() && about.held.as_ref().is_some_and(|h| h.place.is_some()) {
            "autoupdate-toggle enable --method rsyncd when it may update"
        } else {
            advice(about.verdict)
        };
    let lines = [
        ("member", format!("{member}, number {} of {of} in {}", place + 1, facts.list)),
        ("held", held),
        ("batch", batch),
        ("announced", format!("{announced}{pending}")),
        ("serves", serves),
        ("told", about.told.as_ref().map_or("nothing: a legacy poller, or none".to_owned(), told_line)),
        (about.verdict, conclusion.to_owned()),
    ];
    let lines = lines.into_iter().map(|(name, text)| one_line(&format!("{name}: {text}")));
    Some((about.verdict, lines.collect()))
}

fn told_line(told: &Told) -> String {
    let age = duration(Seconds(told.age_s));
    let message = if told.message.is_empty() { String::new() } else { format!(": {}", told.message) };
    format!("{} {}, {age} ago{message}", told.word, told.version)
}

/// A version as somebody wrote it: one line, and short.
fn text(version: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(version)).chars().take(64).collect()
}

/// A span of time as people say it.
pub fn duration(Seconds(seconds): Seconds) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::held::Hold;
    use crate::formats::member_state::{MemberState, Word};
    use crate::rollout::state::Worth;

    const V: &str = "20180413192258";
    const OLD: &str = "20180101000000";

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn address(number: usize) -> Address {
        Address::parse(format!("10.0.0.{number}").as_bytes()).unwrap()
    }

    /// Members whose services answer these; an empty one is silent.
    fn facts(live: &[&str]) -> ModelFacts {
        let member = |live: &&str| MemberFacts {
            live: if live.is_empty() { Live::Silent } else { Live::Serves((*live).into()) },
            report: Some((OLD.into(), Seconds(180))),
            told: None,
            saw: None,
            has_binary: true,
            is_waiting: false,
            hindrance: None,
        };
        ModelFacts {
            model: ModelName::parse(b"m").unwrap(),
            list: "/conf/m.env.sh".to_owned(),
            probe: "rpc",
            batches: vec![live.len()],
            announced: Some(version(V)),
            pending: Pending::Nothing,
            rollout: None,
            pin: None,
            bad: Vec::new(),
            ahead: Vec::new(),
            in_flight_since_s: Some(1000),
            now_s: 1185,
            members: live.iter().enumerate().map(|(n, live)| (address(n + 1), member(live))).collect(),
        }
    }

    fn hold(facts: &mut ModelFacts, place: usize) {
        let hold = Hold {
            member: facts.members[place].0.clone(),
            until: None,
            by: "ann@m1".to_owned(),
            reason: "disk".to_owned(),
        };
        facts.members[place].1.hindrance = Some(Hindrance::Hold(hold));
    }

    #[test]
    fn a_model_has_converged_when_everybody_serves_it_whom_nobody_holds_and_nothing_is_pending() {
        let mut all = facts(&[V, V, OLD]);
        assert!(!status(&all).converged);
        hold(&mut all, 2);
        let converged = status(&all);
        assert!(converged.converged);
        assert_eq!(converged.not_converged(), None);
        let line = format!("m: {V}, 2 of 2 members have it, 1 held; upgrade in flight for 3 min: converged");
        assert_eq!(converged.headline(), line);
        all.pending = Pending::Version(version("20190101000000"));
        let pushed = status(&all);
        let says = "m: not converged: what was pushed is not announced yet";
        assert_eq!((pushed.converged, pushed.not_converged().as_deref()), (false, Some(says)));
        assert!(pushed.headline().contains("20190101000000 was pushed and is not announced yet"));
        all.pending = Pending::Unnamed;
        assert_eq!(status(&all).pending_version.as_deref(), Some(""));
        all.announced = None;
        let broken = status(&all);
        assert!(!broken.converged && broken.not_converged().unwrap().contains("names no version"));
    }

    fn mark(reason: &str) -> Mark {
        Mark { by: "ann@m1".to_owned(), at_s: 1_523_619_605, reason: reason.to_owned() }
    }

    fn bad(of: &str, reason: &str) -> Release {
        Release {
            version: version(of),
            sequence: 1,
            worth: Worth::Bad,
            reported: 0,
            members: 0,
            mark: mark(reason),
            manifest: None,
        }
    }

    #[test]
    fn a_pin_and_what_it_holds_are_said_and_bad_versions_are_counted() {
        let mut pinned = facts(&[V]);
        pinned.in_flight_since_s = None;
        pinned.pin = Some(Pin { version: version(V), mark: mark("a trial") });
        pinned.bad = vec![bad("20190101000000", "wrong scores"), bad("20190201000000", "")];
        let said = status(&pinned);
        let at = clock::at_unix(1_523_619_605).format("%Y-%m-%d %H:%M:%S").to_string();
        let pin = format!("pinned to {V} by ann@m1 on {at}: a trial");
        let line = format!("m: {V}, 1 of 1 members have it; {pin}; 2 bad versions: converged");
        assert_eq!((said.headline(), said.not_converged()), (line, None));
        let lines: Vec<String> = said.bad_lines().collect();
        let marked = format!("marked by ann@m1 on {at}");
        let expected = [
            format!("bad: 20190101000000, {marked}: wrong scores"),
            format!("bad: 20190201000000, {marked}, who gave no reason"),
        ];
        assert_eq!(lines, expected);
        assert_eq!((said.bad_versions[0].at_unix_s, said.bad_versions[1].why.as_str()), (1_523_619_605, ""));

        pinned.bad.pop();
        for (pending, says) in [
            (
                Pending::Version(version("20190301000000")),
                "; 20190301000000 was pushed and is held; 1 bad version",
            ),
            (Pending::Unnamed, "; a push is held; 1 bad version"),
        ] {
            pinned.pending = pending;
            let held = status(&pinned);
            assert!(held.headline().ends_with(&format!("{pin}{says}: not converged")), "{}", held.headline());
            let why = format!(
                "m: not converged: what was pushed is held, since {V} is pinned; dispatch --unpin m lets it go on"
            );
            assert_eq!(held.not_converged(), Some(why));
        }
        pinned.pending = Pending::Version(version(V));
        assert!(status(&pinned).headline().contains(&format!("; {V} was pushed and is not announced yet")));
    }

    #[test]
    fn a_member_that_does_not_answer_has_no_version_but_a_report() {
        let silent = &status(&facts(&[V, ""])).members[1];
        assert_eq!(
            (silent.verdict, silent.version.as_deref(), silent.version_age_s),
            (UNREACHABLE, None, None)
        );
        assert_eq!(silent.why, format!("no answer; reported {OLD} 3 min ago"));
        let late = status(&facts(&[V, "", OLD])).not_converged().unwrap();
        assert_eq!(late, "m: not converged: 2 of 3: 10.0.0.2 (unreachable), 10.0.0.3 (not polled yet)");
    }

    #[test]
    fn two_looks_differ_by_what_happened_and_not_by_what_grew_older() {
        let first = facts(&[V, OLD]);
        let mut later = facts(&[V, OLD]);
        later.now_s += 999;
        later.members[1].1.report = Some((OLD.into(), Seconds(999)));
        assert_eq!(status(&first).without_ages(), status(&later).without_ages());
        let told = MemberState::new(Word::Updating, version(V), 0, "");
        later.members[1].1.told = Some((told, Seconds(1)));
        assert_ne!(status(&first).without_ages(), status(&later).without_ages());
    }

    #[test]
    fn who_waits_is_told_for_which_batch() {
        let mut waiting = facts(&[V, OLD, OLD, OLD]);
        waiting.batches = vec![1, 2, 4];
        (1..4).for_each(|n| waiting.members[n].1.is_waiting = true);
        let (verdict, lines) = explain(&waiting, &address(3)).unwrap();
        assert_eq!(verdict, Verdict::Waiting.words());
        assert!(
            lines.contains(&"batch: waits for batch 3 of 3; 1 of 4 are admitted".to_owned()),
            "{lines:?}"
        );
        assert_eq!(lines.last().unwrap(), "waiting: wait until the members before it have the version");
        assert_eq!(explain(&waiting, &address(9)), None);
        let (verdict, lines) = explain(&waiting, &address(1)).unwrap();
        assert_eq!((verdict, lines.last().unwrap().as_str()), (CURRENT, "current: nothing to do"));
    }

    #[test]
    fn a_span_is_said_in_the_unit_that_fits() {
        let said = [-5, 0, 119, 120, 7199, 7200, 172_800].map(|seconds| duration(Seconds(seconds)));
        assert_eq!(said, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
