//! What a dry run shows of a publication: how much is copied, and who gets it when.

use std::path::Path;

use crate::names::{Address, ModelName};
use crate::rollout::batches::Batches;
use crate::rollout::policy::Policy;
use crate::rollout::verdict::Hindrance;
use crate::tools::dispatch::status::decide::held_by;
use crate::version::Version;

/// How many files, and how many bytes they have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    files: u64,
    bytes: u64,
}

impl Amount {
    /// That of files of these sizes, in bytes.
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
    pub fn words(&self) -> String {
        let linked = self.linked.as_ref().filter(|(_, linked)| *linked != Amount::default());
        let copied = self.all.without(linked.map_or(Amount::default(), |(_, linked)| *linked));
        let linked = linked
            .map_or_else(String::new, |(from, linked)| format!("; linked from {from}: {}", linked.words()));
        let (all, copied) = (self.all.words(), copied.words());
        format!("{all}{linked}; copied: {copied}; free: {} bytes", self.free_bytes)
    }
}

/// Who gets a version when: a line for each batch.
pub fn batches(free: &[Address], policy: &Policy, model: &ModelName) -> Vec<String> {
    let named = |members: &[Address]| members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let sizes = in_batches(&policy.batches, free.len());
    if let [_] = sizes[..] {
        return vec![format!("{model}: all at once: {}", named(free))];
    }
    let mut left = free;
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

/// What is said of a `success` that a run had taken out of the way when it died. What the tick
/// makes of it is not shown: the upload is not there yet as the tick finds it.
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
