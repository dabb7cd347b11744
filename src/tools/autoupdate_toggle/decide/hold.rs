//! Who is held: `datamining_service/MODEL/.rollout/held`.

use crate::error::Result;
use crate::formats::held::{Held, Hold, edited};
use crate::names::{Address, ModelName};
use crate::tools::autoupdate_toggle::decide::Observed;
use crate::tools::edit::Action;

/// Adds holds, each in the place of what held that member so far. `note` is said behind it.
pub fn disable(observed: &Observed, holds: &[Hold], note: Option<String>) -> Result<Vec<Action>> {
    let members: Vec<Address> = holds.iter().map(|hold| hold.member.clone()).collect();
    let until = holds.first().and_then(|hold| hold.until);
    let end = until.map_or_else(String::new, |until| format!(" until {} local time", observed.shown(until)));
    let done = format!("held{end}: {}", names(&members));
    outcome(observed, &members, holds, done, note)
}

/// Takes the holds of members out. `note` is said behind it.
pub fn enable(observed: &Observed, members: &[Address], note: Option<String>) -> Result<Vec<Action>> {
    let held = parse(observed)?;
    let is_held = |member: &&Address| held.hold_of(member, observed.now.instant).is_some();
    let (ended, free): (Vec<Address>, Vec<Address>) = members.iter().cloned().partition(|m| is_held(&m));
    let ended = (!ended.is_empty()).then(|| format!("not held any more: {}", names(&ended)));
    let free = (!free.is_empty()).then(|| format!("not held: {}", names(&free)));
    let done: Vec<String> = ended.into_iter().chain(free).collect();
    outcome(observed, members, &[], done.join("; "), note)
}

/// A line for each hold of a model.
pub fn status(observed: &Observed, model: &ModelName) -> Result<Vec<String>> {
    let line = |hold: &Hold| {
        let Hold { member, until, by, reason } = hold;
        let end = match until {
            None => String::new(),
            Some(until) if hold.is_in_force(observed.now.instant) => {
                format!(" until {} local time", observed.shown(*until))
            }
            Some(until) => {
                let until = observed.shown(*until);
                format!(" until {until} local time, which is over, so that it is not held any more")
            }
        };
        format!("{model}: {member} held by {by}{end}: {reason}")
    };
    Ok(parse(observed)?.0.iter().map(line).collect())
}

/// The holds of the file.
pub fn parse(observed: &Observed) -> Result<Held> {
    Held::parse(&observed.source).map_err(|refusal| refusal.in_file(observed.file))
}

fn outcome(
    observed: &Observed,
    members: &[Address],
    added: &[Hold],
    done: String,
    note: Option<String>,
) -> Result<Vec<Action>> {
    let Observed { file, source, now } = observed;
    let bytes = edited(source, members, added, now.instant).map_err(|refusal| refusal.in_file(file))?;
    let is_changed = bytes != *source;
    let unchanged = (!is_changed).then(|| "nothing was changed".to_owned());
    let parts: Vec<String> = [Some(done), note, unchanged].into_iter().flatten().collect();
    let said = Action::Say(format!("{}: {}", file.display(), parts.join("; ")));
    let replace = is_changed.then_some(Action::Replace(bytes));
    Ok(replace.into_iter().chain([said]).collect())
}

/// What is said of members that may have a legacy poller.
pub fn of_legacy_pollers(members: &[Address], are_denied: bool) -> Option<String> {
    let done = match are_denied {
        true => "may have a legacy poller, which does not read this: denied by the rsync daemon, too",
        false => "may have a legacy poller, which does not read this and updates all the same",
    };
    (!members.is_empty()).then(|| format!("{} {done}", names(members)))
}

/// What is said of members that another model holds.
pub fn that_stay_denied(members: &[(Address, ModelName)]) -> Option<String> {
    let each: Vec<String> =
        members.iter().map(|(member, model)| format!("{model} still holds {member}")).collect();
    (!each.is_empty()).then(|| format!("{}: what the rsync daemon denies stays denied", each.join(", ")))
}

fn names(members: &[Address]) -> String {
    members.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}
