//! What a dry run shows of what a tick decides.

use std::path::Path;

use crate::names::{Address, ModelName};
use crate::time::Seconds;
use crate::tools::dispatch::batches::Batches;
use crate::tools::dispatch::decide::check::was_dispatched;
use crate::tools::dispatch::decide::status::{duration, held_by};
use crate::tools::dispatch::decide::verdict::Hindrance;
use crate::tools::dispatch::decide::{Action, Replacement, Status, UpdateFacts, first_announced, is_about};
use crate::tools::dispatch::fleet::Fleet;
use crate::version::Version;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A line.
    Line(String),
    /// What becomes of a file, as a diff.
    Edit(Replacement),
}

/// How many files, and how many bytes they have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    files: u64,
    bytes: u64,
}

impl Amount {
    /// That of files of so many bytes each.
    pub fn of(sizes: impl Iterator<Item = u64>) -> Amount {
        // Sparse files may claim more than there is in the world.
        let add =
            |sum: Amount, bytes| Amount { files: sum.files + 1, bytes: sum.bytes.saturating_add(bytes) };
        sizes.fold(Amount::default(), add)
    }

    fn without(self, other: Amount) -> Amount {
        let Amount { files, bytes } = self;
        Amount { files: files.saturating_sub(other.files), bytes: bytes.saturating_sub(other.bytes) }
    }

    fn words(self) -> String {
        let files = if self.files == 1 { "file" } else { "files" };
        format!("{} {files}, {} bytes", self.files, self.bytes)
    }
}

/// What a publication takes from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copying {
    /// The whole upload.
    pub all: Amount,
    /// What of it the version before holds, too, and which that is, by the manifests of both.
    pub linked: Option<(Version, Amount)>,
    /// Bytes free where versions are kept.
    pub free_bytes: u64,
}

impl Copying {
    /// `3 files, 31 bytes; linked from 20180412000000: 2 files, 20 bytes; copied: 1 file, 11 bytes; free: 9000 bytes`
    fn words(&self) -> String {
        let linked = self.linked.as_ref().filter(|(_, linked)| *linked != Amount::default());
        let copied = self.all.without(linked.map_or(Amount::default(), |(_, linked)| *linked));
        let linked = linked
            .map_or_else(String::new, |(from, linked)| format!("; linked from {from}: {}", linked.words()));
        let (all, copied) = (self.all.words(), copied.words());
        format!("{all}{linked}; copied: {copied}; free: {} bytes", self.free_bytes)
    }
}

/// What is shown of actions. What the tick would say is shown in its own words.
pub fn shown(actions: &[Action], model: &ModelName, copying: Option<&Copying>) -> Vec<Shown> {
    let words = |action: &Action| {
        let what = match action {
            Action::ReplaceConfiguration(replacement) => return Some(Shown::Edit(replacement.clone())),
            Action::Say(line) => return Some(Shown::Line(format!("would say: {line}"))),
            Action::Stage(version, _) => {
                let copying = copying.map_or_else(String::new, |copying| format!(": {}", copying.words()));
                format!("publish {version}{copying}")
            }
            Action::Seal(version, _) => {
                format!("take {version} as it is in plugin/ already, and write its manifest")
            }
            Action::DiscardPublished(version) => {
                format!("delete what is in plugin/{version}, which is not whole, and copy it anew")
            }
            Action::ForgetBad(version) => format!("forget that {version} was marked bad"),
            Action::RemoveStatus(Some(version)) => format!("end the upgrade to {version}"),
            Action::RemoveStatus(None) => "end the upgrade in flight".to_owned(),
            _ => return None,
        };
        Some(Shown::Line(format!("{model}: would {what}")))
    };
    actions.iter().filter_map(words).collect()
}

/// Who gets a version when: a line for each batch.
pub fn batches(fleet: &Fleet, model: &ModelName) -> Vec<String> {
    let named = |members: &[Address]| members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let sizes = in_batches(&fleet.policy.batches, fleet.members.len());
    if let [_] = sizes[..] {
        return vec![format!("{model}: all at once: {}", named(&fleet.members))];
    }
    let mut left = &fleet.members[..];
    let line = |(index, size): (usize, &usize)| {
        let (batch, behind) = left.split_at((*size).min(left.len()));
        left = behind;
        format!("{model}: batch {} of {}: {}", index + 1, sizes.len(), named(batch))
    };
    sizes.iter().enumerate().map(line).collect()
}

/// How many come in with each batch.
fn in_batches(batches: &Batches, members: usize) -> Vec<usize> {
    let mut before = 0;
    let size = |target| target - std::mem::replace(&mut before, target);
    batches.targets(members).into_iter().map(size).collect()
}

/// The line of a member that no batch counts.
pub fn left_out(model: &ModelName, member: &Address, hindrance: &Hindrance) -> String {
    let held = if let Hindrance::Hold(_) = hindrance { "held " } else { "" };
    format!("{model}: left out: {member}: {held}{}", held_by(hindrance).words())
}

/// What is said of a push that arrived during an upgrade: it is not the one that was published.
pub fn waiting(facts: &UpdateFacts, model: &ModelName) -> Option<String> {
    let (status, success) = (facts.status.as_ref()?, facts.success.as_ref()?);
    let ours = facts.journal.as_ref().filter(|journal| is_about(journal, Some(status)));
    // A script at work has not announced yet what it copies.
    let is_being_published =
        ours.is_none() && success.announces.is_some() && success.announces == status.version;
    if is_being_published
        || was_dispatched(success, Some(status), ours, first_announced(&facts.configurations))
    {
        return None;
    }
    let pushed = success.announces.as_ref().map_or_else(|| "what was pushed".to_owned(), Version::to_string);
    Some(format!("{model}: {pushed} waits until {} has ended", in_flight(status)))
}

/// What is said of a `success` that a run had taken out of the way when it died. What the tick makes of it is not forecast: the
/// upload is not there yet as the tick finds it.
pub fn put_back(model: &ModelName, aside: &Path) -> String {
    let aside = aside.display();
    format!(
        "{model}: would make {aside} success again, over which a run died; look once more after that tick"
    )
}

/// What is said where a tick does nothing, and no upgrade is in flight.
pub fn nothing(model: &ModelName) -> String {
    format!("{model}: there is nothing to do")
}

/// What is said where a tick does nothing about an upgrade that has been in flight for so long.
pub fn goes_on(model: &ModelName, status: &Status, for_s: Seconds) -> String {
    format!("{model}: {} goes on, begun {} ago", in_flight(status), duration(for_s))
}

fn in_flight(status: &Status) -> String {
    match &status.version {
        Some(version) => format!("the upgrade to {version}"),
        None => "the upgrade in flight".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::env_file::EnvFile;
    use crate::formats::held::Hold;
    use crate::formats::shell::Context;
    use crate::identity::Identity;
    use crate::time::LocalTime;
    use crate::tools::dispatch::decide::Success;
    use crate::tools::dispatch::journal::{Journal, Phase};
    use crate::tools::member_list::Origin;

    const V: &str = "20180413192258";
    const OLD: &str = "20180412000000";

    fn model() -> ModelName {
        ModelName::parse(b"m").unwrap()
    }

    fn version(text: &str) -> Version {
        Version::parse(text.as_bytes()).unwrap()
    }

    fn now() -> LocalTime {
        LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() }
    }

    fn fleet(list: &str) -> Fleet {
        let now = now();
        let context = Context { environment: &|_| None, now: &now };
        let list = EnvFile::parse(Path::new("m.env.sh"), list.as_bytes(), &context).unwrap();
        Fleet::parse(&list, Origin::Monitor).unwrap()
    }

    #[test]
    fn each_member_is_named_in_its_batch() {
        let in_steps = fleet("members=a,b,c,d,e\nbatches=1,50%,100%\n");
        assert_eq!(
            batches(&in_steps, &model()),
            ["m: batch 1 of 3: a", "m: batch 2 of 3: b, c", "m: batch 3 of 3: d, e"]
        );
        assert_eq!(batches(&fleet("members=a,b\n"), &model()), ["m: all at once: a, b"]);
        assert_eq!(batches(&fleet("members=\n"), &model()), [""; 0]);
    }

    #[test]
    fn whoever_is_left_out_is_named_with_the_reason() {
        let member = Address::parse(b"10.0.0.9").unwrap();
        let hold =
            Hold { member: member.clone(), until: None, by: "ann@m1".to_owned(), reason: "disk".to_owned() };
        assert_eq!(
            left_out(&model(), &member, &Hindrance::Hold(hold)),
            "m: left out: 10.0.0.9: held by ann@m1: disk"
        );
        let denied = Hindrance::Denied { place: "/etc/rsyncd.conf:7".to_owned(), until: None };
        assert_eq!(
            left_out(&model(), &member, &denied),
            "m: left out: 10.0.0.9: denied by /etc/rsyncd.conf:7"
        );
    }

    #[test]
    fn what_is_linked_is_not_copied() {
        let stage = [Action::Stage(version(V), None), Action::Publish(version(V))];
        let line = |linked| {
            let all = Amount::of([5, 7, 11].into_iter());
            let copying = Copying { all, linked, free_bytes: 99 };
            shown(&stage, &model(), Some(&copying))
        };
        let publish =
            |how: &str| vec![Shown::Line(format!("m: would publish {V}: 3 files, 23 bytes; {how}"))];
        assert_eq!(line(None), publish("copied: 3 files, 23 bytes; free: 99 bytes"));
        assert_eq!(line(Some((version(OLD), Amount::default()))), line(None));
        let linked = Some((version(OLD), Amount::of([5, 7].into_iter())));
        let how = format!("linked from {OLD}: 2 files, 12 bytes; copied: 1 file, 11 bytes; free: 99 bytes");
        assert_eq!(line(linked), publish(&how));
    }

    #[test]
    fn edits_and_words_of_a_tick_are_shown_as_they_are_and_its_book_keeping_is_not() {
        let edit = Replacement { path: "c".into(), before: b"a".to_vec(), after: b"b".to_vec() };
        let actions = [
            Action::StillInFlight(version(V)),
            Action::ReplaceConfiguration(edit.clone()),
            Action::AdmitEverybody,
            Action::RemoveStatus(Some(version(V))),
            Action::RemoveJournal,
            Action::Say("update m".to_owned()),
        ];
        assert_eq!(
            shown(&actions, &model(), None),
            [
                Shown::Edit(edit),
                Shown::Line(format!("m: would end the upgrade to {V}")),
                Shown::Line("would say: update m".to_owned())
            ]
        );
    }

    fn success(inode: u64, announces: &str) -> Success {
        let identity = Identity { device: 1, inode, modified_ns: 0, size: 15 };
        let content = announces.as_bytes().to_vec();
        Success { identity, age: Seconds(30), announces: Version::announced_in(&content), content }
    }

    /// V is announced by this toolkit, and OLD, or what `success` says, is there.
    fn facts(success: Success) -> UpdateFacts {
        let journal = Journal {
            phase: Phase::Announced,
            version: version(V),
            success: self::success(7, V).identity,
            begun_s: None,
            before: Vec::new(),
            content: Vec::new(),
        };
        UpdateFacts {
            status: Some(Status { age: Seconds(180), version: Some(version(V)) }),
            success: Some(success),
            journal: Some(journal),
            ..UpdateFacts::at(now())
        }
    }

    #[test]
    fn a_push_waits_for_an_upgrade_that_is_not_its_own() {
        assert_eq!(waiting(&facts(success(7, V)), &model()), None);
        let line = |pushed: &str| Some(format!("m: {pushed} waits until the upgrade to {V} has ended"));
        assert_eq!(waiting(&facts(success(8, "20180501000000")), &model()), line("20180501000000"));
        assert_eq!(waiting(&facts(success(8, "")), &model()), line("what was pushed"));
        let by_script = |pushed: &str| UpdateFacts { journal: None, ..facts(success(8, pushed)) };
        assert_eq!(waiting(&by_script(V), &model()), None, "it copies that");
        assert_eq!(waiting(&by_script(OLD), &model()), line(OLD));
        let at_rest = UpdateFacts { status: None, ..facts(success(8, V)) };
        assert_eq!(waiting(&at_rest, &model()), None);
    }

    #[test]
    fn nothing_to_do_is_told_from_an_upgrade_that_goes_on() {
        assert_eq!(nothing(&model()), "m: there is nothing to do");
        let status = facts(success(7, V)).status.unwrap();
        let line = format!("m: the upgrade to {V} goes on, begun 3 min ago");
        assert_eq!(goes_on(&model(), &status, Seconds(180)), line);
    }
}
