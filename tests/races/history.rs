//! What was seen of one interleaving, and whether what must hold of it holds. The checks are proved to fail by histories
//! that are planted at the end of this file.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::plan::Demand;
use crate::harness::world::MODEL;

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `success` was uploaded.
    Complete,
    /// It died before that.
    Cut,
    /// It was killed at a moment that tells nothing.
    Unknown,
}

/// One push. Its number stands in every line of every file.
#[derive(Debug, Clone)]
pub struct Push {
    pub number: u32,
    /// What its success announces, if that is known.
    pub version: Option<String>,
    pub end: End,
}

/// What the monitor's service.conf was at some instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conf {
    /// All three values name this version, and every other byte is as it was.
    Whole(String),
    /// Every other byte is as it was.
    Half(String),
    /// Anything else.
    Broken(String),
}

/// What a version's directory held at some instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The monitor, or a member.
    pub place: String,
    /// The directory's name.
    pub version: String,
    /// The number in each file; `None` where one is missing, cut off or mixed.
    pub numbers: BTreeSet<Option<u32>>,
    /// What its `success` announces.
    pub success: Option<String>,
    /// Whether it was seen at the end, when nothing runs.
    pub at_the_end: bool,
}

/// A member at the end.
#[derive(Debug, Clone)]
pub struct MemberEnd {
    pub name: String,
    /// What its service.conf names.
    pub installed: Option<String>,
    /// What it has under that name.
    pub content: Option<Content>,
}

/// A program that ran.
#[derive(Debug, Clone)]
pub struct Ran {
    pub what: String,
    /// `None` after a signal.
    pub code: Option<i32>,
    pub was_killed: bool,
    pub is_binary: bool,
    pub stdout: String,
    pub stderr: String,
    /// When it was started, and when it was seen to have ended, in microseconds.
    pub at_us: RangeInclusive<u64>,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub pushes: Vec<Push>,
    /// Every service.conf that differed from the one before.
    pub announced: Vec<Conf>,
    pub contents: Vec<Content>,
    pub members: Vec<MemberEnd>,
    /// `status`, `success`, if they are left.
    pub in_flight: Vec<String>,
    pub locks_held: Vec<String>,
    pub leftovers: Vec<String>,
    pub runs: Vec<Ran>,
    /// What was wrong with the daemon's configuration at some instant.
    pub broken_daemon_conf: Vec<String>,
}

impl History {
    fn last_announced(&self) -> Option<&str> {
        match self.announced.last() {
            Some(Conf::Whole(version)) => Some(version),
            _ => None,
        }
    }

    /// The push that a version is; a version that no push is known for may be one that was killed.
    fn push_of(&self, version: &str) -> Option<&Push> {
        self.pushes.iter().find(|push| push.version.as_deref() == Some(version))
    }

    fn is_whole(&self, content: &Content) -> bool {
        content.success.as_deref() == Some(content.version.as_str()) && self.has_all_files(content)
    }

    /// Whether all but its `success` is there, and of one push.
    fn has_all_files(&self, content: &Content) -> bool {
        let [Some(number)] = content.numbers.iter().copied().collect::<Vec<_>>()[..] else { return false };
        self.push_of(&content.version).is_none_or(|push| push.number == number)
    }

    /// Two ticks of the script at once do this without any binary (defects 1, 4): the members have the version before while one
    /// copies the next, so the other takes that upgrade for ended, and removes the `success` that has not been copied yet.
    fn scripts_lost_success_of(&self, content: &Content) -> bool {
        let published = format!("update {MODEL} to {}", content.version);
        let has_published = |ran: &Ran| ran.stdout.lines().any(|line| line == published);
        let ended_another = |ran: &Ran| {
            let versions =
                ran.stdout.lines().filter_map(|line| line.split_once(&format!("{MODEL}: all members have ")));
            versions.map(|(_, version)| version).any(|version| version != content.version)
        };
        let scripts = || self.runs.iter().filter(|ran| !ran.is_binary);
        content.success.is_none()
            && self.has_all_files(content)
            && scripts()
                .filter(|ran| has_published(ran))
                .any(|a| scripts().any(|b| ended_another(b) && overlap(a, b)))
    }
}

/// What does not hold.
pub fn violations(history: &History, demands: &[Demand]) -> Vec<String> {
    let mut found: Vec<String> = demands.iter().flat_map(|demand| violated(history, *demand)).collect();
    found.extend(history.locks_held.iter().map(|lock| format!("the lock {lock} is still held")));
    found.extend(history.broken_daemon_conf.iter().cloned());
    found.extend(history.runs.iter().filter(|ran| ran.is_binary).filter_map(badly_ended));
    found
}

/// 0: done. 1: failed, and said why. 75: another run is at work. Anything else does not belong here.
fn badly_ended(ran: &Ran) -> Option<String> {
    let lines = ran.stderr.lines().count();
    let good = match ran.code {
        Some(0) => lines == 0,
        Some(1 | 75) => lines == 1,
        Some(_) => false,
        None => ran.was_killed,
    };
    (!good).then(|| format!("{} ended with {:?}: {:?}", ran.what, ran.code, ran.stderr))
}

fn violated(history: &History, demand: Demand) -> Vec<String> {
    match demand {
        Demand::Published => lost(history),
        Demand::Whole => torn(history, |_| true),
        Demand::WholeAtTheEnd => {
            torn(history, |content| content.at_the_end && !history.scripts_lost_success_of(content))
        }
        Demand::NeverBack => back(history),
        Demand::ConfWhole => conf(history, |conf| !matches!(conf, Conf::Whole(_))),
        Demand::ConfNeverBroken => conf(history, |conf| matches!(conf, Conf::Broken(_))),
        Demand::LastEverywhere => not_everywhere(history),
        Demand::MembersAgree => disagreeing(history),
        Demand::Ended => history.in_flight.iter().map(|file| format!("{file} is left")).collect(),
        Demand::Tidy => history.leftovers.iter().map(|path| format!("{path} is left")).collect(),
    }
}

fn lost(history: &History) -> Vec<String> {
    let is_published = |push: &Push| {
        history
            .contents
            .iter()
            .any(|content| content.place == "monitor" && push.version.as_ref() == Some(&content.version))
    };
    let last = history.pushes.len().saturating_sub(1);
    let complete = history.pushes.iter().enumerate().filter(|(_, push)| push.end == End::Complete);
    complete
        .filter(|(at, push)| *at == last && !is_published(push))
        .map(|(_, push)| format!("push {} ({:?}) was lost", push.number, push.version))
        .collect()
}

fn torn(history: &History, counts: impl Fn(&Content) -> bool) -> Vec<String> {
    let contents = history.contents.iter().filter(|content| counts(content));
    contents
        .filter(|content| !history.is_whole(content))
        .map(|content| format!("torn: {content:?}"))
        .collect()
}

fn back(history: &History) -> Vec<String> {
    let versions: Vec<&String> = history
        .announced
        .iter()
        .filter_map(|conf| match conf {
            Conf::Whole(version) => Some(version),
            _ => None,
        })
        .collect();
    let pairs = versions.windows(2).filter(|pair| pair[1] < pair[0]);
    pairs.map(|pair| format!("the announced version went back from {} to {}", pair[0], pair[1])).collect()
}

fn conf(history: &History, is_bad: fn(&Conf) -> bool) -> Vec<String> {
    history
        .announced
        .iter()
        .filter(|c| is_bad(c))
        .map(|c| format!("service.conf was seen as {c:?}"))
        .collect()
}

fn not_everywhere(history: &History) -> Vec<String> {
    let Some(last) = history.pushes.iter().rev().find(|push| push.end == End::Complete) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let is_announced = history.last_announced() == last.version.as_deref();
    if !is_announced && !scripts_named_it_by_the_time(history, last) && !scripts_left_it_half(history, last) {
        found.push(format!("the last push {last:?} is not announced, but {:?}", history.announced.last()));
    }
    for member in &history.members {
        let has_it = member
            .content
            .as_ref()
            .is_some_and(|c| history.is_whole(c) && c.numbers.contains(&Some(last.number)));
        if member.installed != last.version || !has_it {
            found.push(format!("{} has not the last push {last:?}: {member:?}", member.name));
        }
    }
    found
}

/// A script that finds a `success`, which another's check removes before it is read, publishes the push under local time.
fn scripts_named_it_by_the_time(history: &History, push: &Push) -> bool {
    let is_it = |content: &&Content| {
        content.at_the_end
            && history.last_announced() == Some(content.version.as_str())
            && content.numbers == BTreeSet::from([Some(push.number)])
    };
    let announced = history.contents.iter().find(is_it);
    announced.is_some_and(|content| {
        history.push_of(&content.version).is_none() && history.scripts_lost_success_of(content)
    })
}

/// Two ticks of the script that publish the same push at once edit its three values one by one, each what it has read before (defects 1, 2):
/// three ticks without any binary, again and again in memory, left service.conf so in 7 of 4,333 rounds.
fn scripts_left_it_half(history: &History, push: &Push) -> bool {
    let Some(version) = &push.version else { return false };
    let published = format!("update {MODEL} to {version}");
    let scripts = history.runs.iter().filter(|ran| !ran.is_binary);
    let published: Vec<&Ran> =
        scripts.filter(|ran| ran.stdout.lines().any(|line| line == published)).collect();
    let overlap = published.iter().enumerate().any(|(n, a)| published[n + 1..].iter().any(|b| overlap(a, b)));
    overlap && matches!(history.announced.last(), Some(Conf::Half(_)))
}

fn overlap(a: &Ran, b: &Ran) -> bool {
    a.at_us.start() <= b.at_us.end() && b.at_us.start() <= a.at_us.end()
}

fn disagreeing(history: &History) -> Vec<String> {
    let announced = match history.announced.last() {
        Some(Conf::Whole(version)) => version.as_str(),
        // Two script ticks at once can leave that behind for ever: each edits its three values one by one (defects 1, 2).
        Some(Conf::Half(_)) => return Vec::new(),
        other => return vec![format!("service.conf stays {other:?}")],
    };
    let on_the_monitor = history
        .contents
        .iter()
        .rev()
        .find(|c| c.place == "monitor" && c.version == announced && c.at_the_end)
        .map(|content| &content.numbers);
    let agrees = |member: &&MemberEnd| {
        member.installed.as_deref() == Some(announced)
            && member.content.as_ref().map(|content| &content.numbers) == on_the_monitor
    };
    history
        .members
        .iter()
        .filter(|member| !agrees(member))
        .map(|member| format!("{announced} is announced, and holds {on_the_monitor:?}, but: {member:?}"))
        .collect()
}

#[cfg(test)]
mod planted {
    use super::*;

    const V1: &str = "20160101000001";
    const V2: &str = "20160101000002";

    fn content(place: &str, version: &str, number: u32) -> Content {
        Content {
            place: place.to_owned(),
            version: version.to_owned(),
            numbers: BTreeSet::from([Some(number)]),
            success: Some(version.to_owned()),
            at_the_end: true,
        }
    }

    fn push(number: u32, version: &str) -> Push {
        Push { number, version: Some(version.to_owned()), end: End::Complete }
    }

    fn ran(code: Option<i32>, stderr: &str) -> Ran {
        Ran {
            what: "a tick".to_owned(),
            code,
            was_killed: false,
            is_binary: true,
            stdout: String::new(),
            stderr: stderr.to_owned(),
            at_us: 0..=9,
        }
    }

    /// Two pushes, both published, the second everywhere.
    fn good() -> History {
        let member = |name: &str| MemberEnd {
            name: name.to_owned(),
            installed: Some(V2.to_owned()),
            content: Some(content(name, V2, 2)),
        };
        History {
            pushes: vec![push(1, V1), push(2, V2)],
            announced: vec![Conf::Whole(V1.to_owned()), Conf::Whole(V2.to_owned())],
            contents: vec![content("monitor", V1, 1), content("monitor", V2, 2)],
            members: vec![member("member 0"), member("member 1")],
            runs: vec![ran(Some(0), ""), ran(Some(1), "dispatch: it changed\n"), ran(Some(75), "held\n")],
            ..History::default()
        }
    }

    fn found(demand: Demand, spoil: fn(&mut History)) -> usize {
        let mut history = good();
        spoil(&mut history);
        violations(&history, &[demand]).len()
    }

    #[test]
    fn a_good_history_is_good() {
        let demands = [
            Demand::Published,
            Demand::Whole,
            Demand::WholeAtTheEnd,
            Demand::NeverBack,
            Demand::ConfWhole,
            Demand::ConfNeverBroken,
            Demand::LastEverywhere,
            Demand::MembersAgree,
            Demand::Ended,
            Demand::Tidy,
        ];
        assert_eq!(violations(&good(), &demands), [""; 0]);
        // A push that was overtaken, or cut off, need not be published.
        let mut overtaken = good();
        overtaken.contents.remove(0);
        assert_eq!(violations(&overtaken, &demands), [""; 0]);
    }

    #[test]
    fn a_lost_push_is_seen() {
        assert_eq!(found(Demand::Published, |h| drop(h.contents.pop())), 1);
    }

    #[test]
    fn a_torn_version_is_seen() {
        let mixed: fn(&mut History) = |h| {
            h.contents[1].numbers.insert(Some(1));
        };
        let missing: fn(&mut History) = |h| h.contents[1].numbers = BTreeSet::from([None]);
        let another: fn(&mut History) = |h| h.contents[1].numbers = BTreeSet::from([Some(1)]);
        let misnamed: fn(&mut History) = |h| h.contents[1].success = Some(V1.to_owned());
        for spoil in [mixed, missing, another, misnamed] {
            assert_eq!(found(Demand::Whole, spoil), 1);
            assert_eq!(found(Demand::WholeAtTheEnd, spoil), 1);
        }
        let for_an_instant: fn(&mut History) = |h| {
            h.contents[1].at_the_end = false;
            h.contents[1].numbers = BTreeSet::from([None]);
        };
        assert_eq!(found(Demand::Whole, for_an_instant), 1);
        assert_eq!(found(Demand::WholeAtTheEnd, for_an_instant), 0);
    }

    /// One script published a version while the other took it for one that has ended.
    fn by_scripts(version: &str) -> History {
        let mut history = good();
        history.members.clear();
        history.announced.push(Conf::Whole(version.to_owned()));
        history.contents.push(Content { success: None, ..content("monitor", version, 2) });
        let script = |stdout: String, at_us| Ran { is_binary: false, stdout, at_us, ..ran(Some(0), "") };
        history.runs = vec![
            script(
                format!("update {MODEL} to {version}\n{MODEL}: 127.0.0.11 has not {version} yet\n"),
                0..=5,
            ),
            script(format!("{MODEL}: all members have {V1}\n"), 3..=9),
        ];
        history
    }

    #[test]
    fn only_two_scripts_at_once_may_leave_a_version_without_its_success() {
        let found = |spoil: fn(&mut History)| {
            let mut history = by_scripts(V2);
            spoil(&mut history);
            violations(&history, &[Demand::WholeAtTheEnd]).len()
        };
        assert_eq!(found(|_| ()), 0);
        let others: [fn(&mut History); 8] = [
            |h| h.runs[0].is_binary = true,
            |h| h.runs[1].is_binary = true,
            |h| h.runs[1].at_us = 6..=9,
            |h| h.runs[0].stdout = format!("update {MODEL} to {V1}\n"),
            |h| h.runs[1].stdout = format!("{MODEL}: all members have {V2}\n"),
            |h| h.contents[2].success = Some(V1.to_owned()),
            |h| h.contents[2].numbers = BTreeSet::from([Some(1)]),
            |h| h.contents[2].numbers = BTreeSet::from([Some(2), None]),
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_eq!(found(other), 1, "{index}");
        }
    }

    #[test]
    fn only_two_scripts_at_once_may_name_a_push_by_the_time() {
        const TIME: &str = "20261126233435";
        let found = |spoil: fn(&mut History)| {
            let mut history = by_scripts(TIME);
            spoil(&mut history);
            violations(&history, &[Demand::LastEverywhere]).len()
        };
        assert_eq!(found(|_| ()), 0);
        let others: [fn(&mut History); 4] = [
            |h| h.runs[1].at_us = 6..=9,
            |h| h.contents[2].success = Some(V2.to_owned()),
            |h| h.contents[2].numbers = BTreeSet::from([Some(1)]),
            |h| h.announced.push(Conf::Whole(V1.to_owned())),
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_eq!(found(other), 1, "{index}");
        }
    }

    #[test]
    fn only_two_scripts_that_publish_it_at_once_may_leave_a_push_half_announced() {
        let found = |spoil: fn(&mut History)| {
            let mut history = by_scripts(V2);
            for ran in &mut history.runs[..2] {
                ran.stdout = format!("update {MODEL} to {V2}\n");
            }
            history.announced.push(Conf::Half(String::new()));
            spoil(&mut history);
            violations(&history, &[Demand::LastEverywhere]).len()
        };
        assert_eq!(found(|_| ()), 0);
        let others: [fn(&mut History); 5] = [
            |h| h.runs[0].is_binary = true,
            |h| h.runs[1].at_us = 6..=9,
            |h| h.runs[1].stdout = format!("update {MODEL} to {V1}\n"),
            |h| h.announced.push(Conf::Whole(V1.to_owned())),
            |h| h.announced.push(Conf::Broken(String::new())),
        ];
        for (index, other) in others.into_iter().enumerate() {
            assert_eq!(found(other), 1, "{index}");
        }
    }

    #[test]
    fn a_version_that_goes_back_is_seen() {
        assert_eq!(found(Demand::NeverBack, |h| h.announced.push(Conf::Whole(V1.to_owned()))), 1);
    }

    #[test]
    fn a_service_conf_that_is_not_whole_is_seen() {
        assert_eq!(found(Demand::ConfWhole, |h| h.announced.insert(1, Conf::Half(String::new()))), 1);
        assert_eq!(found(Demand::ConfNeverBroken, |h| h.announced.insert(1, Conf::Broken(String::new()))), 1);
        assert_eq!(found(Demand::ConfNeverBroken, |h| h.announced.insert(1, Conf::Half(String::new()))), 0);
    }

    #[test]
    fn a_member_that_stays_behind_is_seen() {
        let behind: fn(&mut History) = |h| h.members[1].installed = Some(V1.to_owned());
        let without: fn(&mut History) = |h| h.members[1].content = None;
        let half: fn(&mut History) = |h| {
            h.members[1].content.as_mut().unwrap().numbers.insert(None);
        };
        for spoil in [behind, without, half] {
            assert_eq!(found(Demand::LastEverywhere, spoil), 1);
            assert_eq!(found(Demand::MembersAgree, spoil), 1);
        }
        assert_eq!(found(Demand::LastEverywhere, |h| drop(h.announced.pop())), 1);
        assert_eq!(found(Demand::MembersAgree, |h| h.announced.push(Conf::Broken(String::new()))), 1);
    }

    #[test]
    fn what_is_left_over_is_seen() {
        assert_eq!(found(Demand::Ended, |h| h.in_flight.push("status".to_owned())), 1);
        assert_eq!(found(Demand::Tidy, |h| h.leftovers.push(".staging-1".to_owned())), 1);
        assert_eq!(found(Demand::Tidy, |h| h.locks_held.push(".dispatch.lock".to_owned())), 1);
        assert_eq!(found(Demand::Tidy, |h| h.broken_daemon_conf.push("empty".to_owned())), 1);
    }

    #[test]
    fn a_run_that_ends_badly_is_seen() {
        for (code, stderr) in [
            (Some(0), "x\n"),
            (Some(1), ""),
            (Some(1), "x\ny\n"),
            (Some(2), "x\n"),
            (Some(101), ""),
            (None, ""),
        ] {
            let mut history = good();
            history.runs.push(ran(code, stderr));
            assert_eq!(violations(&history, &[]).len(), 1, "{code:?}");
        }
    }
}
