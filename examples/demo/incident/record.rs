//! What the client saw, and what it must have seen.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::Result;

/// What every member served at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When, in seconds since the record began.
    pub seconds: f64,
    /// The release of each member, in the order of the list; none where its service did not answer.
    pub serving: Vec<Option<String>>,
}

impl Look {
    /// How many serve a release.
    pub fn serve(&self, release: &str) -> usize {
        self.serving.iter().flatten().filter(|served| *served == release).count()
    }

    /// How many do not answer.
    pub fn down(&self) -> usize {
        self.serving.iter().filter(|served| served.is_none()).count()
    }
}

/// Something that was done to the fleet, or came of it.
#[derive(Debug, Clone)]
pub struct Mark {
    /// When, in seconds since the record began.
    pub seconds: f64,
    /// What.
    pub what: String,
}

/// A run from its beginning to its end.
#[derive(Debug, Default)]
pub struct Record {
    /// Every look that was one moment.
    pub looks: Vec<Look>,
    /// How many looks took too long to be one.
    pub blurred: usize,
    /// What was done.
    pub marks: Vec<Mark>,
    /// Which release was pushed when.
    pub pushes: Vec<(f64, &'static str)>,
}

impl Record {
    /// The looks at which something changed, and the last.
    pub fn changes(&self) -> Vec<&Look> {
        let mut changes: Vec<&Look> = Vec::new();
        for look in &self.looks {
            if changes.last().is_none_or(|last| last.serving != look.serving) {
                changes.push(look);
            }
        }
        if let Some(last) = self.looks.last().filter(|last| changes.last() != Some(last)) {
            changes.push(last);
        }
        changes
    }

    /// How many were down at most, from a time on.
    pub fn most_down(&self) -> usize {
        self.looks.iter().map(Look::down).max().unwrap_or(0)
    }

    /// Fails when a member was down that no batch in turn accounts for. `targets` says how many members each batch ends
    /// with: whoever is down belongs to one batch, everybody before it serves what was pushed last, nobody after it does.
    pub fn check_batches(&self, targets: &[usize]) -> Result<()> {
        for look in &self.looks {
            let pushed = self.pushes.iter().rev().find(|(seconds, _)| *seconds <= look.seconds);
            let release = pushed.map_or("", |(_, release)| release);
            is_one_batch(look, targets, release)
                .map_err(|what| format!("at {:.1} s, {release} being rolled out: {what}", look.seconds))?;
        }
        Ok(())
    }
}

fn is_one_batch(look: &Look, targets: &[usize], release: &str) -> std::result::Result<(), String> {
    let batch_of = |member: usize| targets.iter().filter(|target| **target <= member).count();
    let members = || look.serving.iter().enumerate().map(|(member, served)| (batch_of(member), served));
    let down: BTreeSet<usize> =
        members().filter(|(_, served)| served.is_none()).map(|(batch, _)| batch).collect();
    let Some(batch) = down.first() else { return Ok(()) };
    let all = || {
        look.serving.iter().map(|served| served.as_deref().unwrap_or("down")).collect::<Vec<_>>().join(" ")
    };
    let serves_it = |served: &Option<String>| served.as_deref() == Some(release);
    if down.len() > 1 {
        return Err(format!("members of more than one batch are down together: {}", all()));
    }
    if members().any(|(other, served)| other < *batch && !serves_it(served)) {
        return Err(format!("a member is down before the batches before its own have come up: {}", all()));
    }
    if members().any(|(other, served)| other > *batch && serves_it(served)) {
        return Err(format!("a member has it before the batches before its own: {}", all()));
    }
    Ok(())
}

/// The lines of a run in the file of both: how many members serve which release, whenever that changed.
pub fn csv(fleet: &str, record: &Record, releases: &[&str]) -> String {
    let mut lines = String::new();
    for look in record.changes() {
        let _ = write!(lines, "{fleet},{:.1}", look.seconds);
        for release in releases {
            let _ = write!(lines, ",{}", look.serve(release));
        }
        let _ = writeln!(lines, ",{}", look.down());
    }
    lines
}
