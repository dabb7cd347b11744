//! Holds members of a model, and ends that: a member that may have a legacy poller, which knows
//! nothing of it, is denied, too.

use std::path::Path;

use chrono::{DateTime, FixedOffset, SecondsFormat};

use crate::error::{Error, Result};
use crate::formats::held::Hold;
use crate::ip_range::IpRange;
use crate::layout::{Monitor, Service};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::locks::{Lock, Wait};
use crate::machine::{clock, configurations, environment, terminal};
use crate::names::{Address, ModelName};
use crate::reason::Reason;
use crate::rollout::tick;
use crate::tools::autoupdate_toggle::cli::{Denials, HoldEdit, Members, Verb};
use crate::tools::autoupdate_toggle::decide::{Observed, Site, hold};
use crate::tools::autoupdate_toggle::rsyncd;
use crate::tools::edit::{self, Action, Mode};
use crate::tools::history::{self, Event, names};
use crate::tools::shared::places::Places;
use crate::tools::shared::site::{self, aloud};
use crate::tools::{member_list, rsyncd_files};

/// What stands before the reason why a member cannot be denied.
const UNDONE: &str = "nothing was done (--no-deny leaves the rsync daemon alone)";

/// Says who is held, of one model or of all. A list that cannot be read does not hide the others.
pub fn status(model: Option<&ModelName>) -> Result<()> {
    let monitor = monitor()?;
    let models = match model {
        Some(model) => vec![model.clone()],
        None => configurations::models(&monitor)?,
    };
    let mut lines = Vec::new();
    let mut failure = None;
    for model in models {
        match said_of(&monitor, &model) {
            Ok(said) => lines.extend(said),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if lines.is_empty() && failure.is_none() {
        let whose = model.map(|model| format!("{model}: ")).unwrap_or_default();
        lines.push(format!("{whose}nobody is held"));
    }
    lines.into_iter().for_each(terminal::say);
    failure.map_or(Ok(()), Err)
}

fn said_of(monitor: &Monitor, model: &ModelName) -> Result<Vec<String>> {
    hold::status(&observed(&service(monitor, model)?.held())?, model)
}

/// Holds members, or ends that. Where the daemon's configuration is to be edited, too, and cannot be, nothing is done.
pub fn edit(
    request: &HoldEdit,
    until: Option<DateTime<FixedOffset>>,
    wait: Option<Wait>,
    mode: Mode,
) -> Result<()> {
    let (monitor, model) = (monitor()?, &request.model);
    let service = service(&monitor, model)?;
    let members = match &request.members {
        Members::Addresses(addresses) => addresses.clone(),
        Members::Group(group) => member_list::group(&monitor, model, group)?,
    };
    member_list::check_are_members(&monitor, model, &members)?;
    let file = service.held();
    let _lock = wait.map(|wait| lock(&monitor, model, wait)).transpose()?;
    let observed = observed(&file)?;
    let (verb, actions, ranges) = match &request.reason {
        Some(reason) => {
            let silent = silent(&service, &members)?;
            let note = hold::of_legacy_pollers(&silent, request.denials.is_some());
            let holds = holds(&members, until, reason);
            let ranges = request.denials.as_ref().map_or(Ok(Vec::new()), |_| ranges_of(&silent))?;
            (Verb::Disable, hold::disable(&observed, &holds, note)?, ranges)
        }
        None => {
            let elsewhere = held_elsewhere(&monitor, model, &members)?;
            let note = hold::that_stay_denied(&elsewhere);
            let mut silent = silent(&service, &members)?;
            silent.retain(|member| elsewhere.iter().all(|(held, _)| held != member));
            let ranges = ranges_listed(request.denials.as_ref(), &silent)?;
            (Verb::Enable, hold::enable(&observed, &members, note)?, ranges)
        }
    };
    let denials = request.denials.as_ref().filter(|_| !ranges.is_empty());
    let _locks = denials
        .map(|denials| rsyncd::edit(denials, verb, &ranges, until, wait, mode))
        .transpose()
        .map_err(|e| e.context(UNDONE))?;
    if wait.is_some() {
        files::create_directories(&service.rollout())?;
    }
    edit::apply(&actions, &file, mode)?;
    if wait.is_none() {
        return Ok(());
    }
    if actions.iter().any(|action| matches!(action, Action::Replace(_))) {
        // The daemon reads it as another user.
        files::set_mode(&file, 0o644)?;
        remember(&monitor, request, &members, until, &observed);
        // At once: the next tick may be a minute away.
        let mut say = aloud;
        tick::hold(&mut site::Site::new(Places::new(&monitor, model), &mut say), model)?;
    }
    denials.map_or(Ok(()), |denials| rsyncd::tell_effect(denials, verb, &ranges))
}

/// The lock for an edit of a model's holds.
fn lock(monitor: &Monitor, model: &ModelName, wait: Wait) -> Result<Lock> {
    files::create_private_directory(&monitor.locks())?;
    Lock::take(&monitor.locks().join(format!("{model}.held")), wait)
}

/// Tells the model's history what was done. One that cannot be written holds nothing up.
fn remember(
    monitor: &Monitor,
    request: &HoldEdit,
    members: &[Address],
    until: Option<DateTime<FixedOffset>>,
    before: &Observed,
) {
    let event = match &request.reason {
        Some(reason) => Event {
            members: names(members),
            until: until.map(|end| end.to_rfc3339_opts(SecondsFormat::Secs, false)).unwrap_or_default(),
            why: reason.as_str().to_owned(),
            ..Event::new("held")
        },
        None => {
            let held = hold::parse(before).unwrap_or_default();
            let mut released = members.to_vec();
            released.retain(|member| held.hold_of(member, before.now.instant).is_some());
            if released.is_empty() {
                return;
            }
            Event { members: names(&released), ..Event::new("released") }
        }
    };
    if let Err(error) = history::tell(event, monitor, &request.model) {
        terminal::complain(super::PROGRAM, error);
    }
}

fn holds(members: &[Address], until: Option<DateTime<FixedOffset>>, reason: &Reason) -> Vec<Hold> {
    let (by, reason) = (environment::operator(), reason.as_str().to_owned());
    let hold =
        |member: &Address| Hold { member: member.clone(), until, by: by.clone(), reason: reason.clone() };
    members.iter().map(hold).collect()
}

/// The members that never left a sign of a new poller: theirs may be a legacy one.
fn silent(service: &Service, members: &[Address]) -> Result<Vec<Address>> {
    let mut silent = Vec::new();
    for member in members {
        if files::facts(&service.member_state(member))?.is_none() {
            silent.push(member.clone());
        }
    }
    Ok(silent)
}

/// Those that another model holds, with its name.
fn held_elsewhere(
    monitor: &Monitor,
    model: &ModelName,
    members: &[Address],
) -> Result<Vec<(Address, ModelName)>> {
    let mut elsewhere = Vec::new();
    for other in configurations::models(monitor)?.into_iter().filter(|other| other != model) {
        let file = service(monitor, &other)?.held();
        let observed = observed(&file)?;
        let held = hold::parse(&observed)?;
        let there = members.iter().filter(|member| held.hold_of(member, observed.now.instant).is_some());
        elsewhere.extend(there.map(|member| (member.clone(), other.clone())));
    }
    Ok(elsewhere)
}

/// The addresses of members that are to be denied. Fails (exit 2) at a host name.
fn ranges_of(members: &[Address]) -> Result<Vec<IpRange>> {
    let range = |member: &Address| IpRange::parse(member.as_str().as_bytes());
    members.iter().map(range).collect::<Result<_>>().map_err(|e| e.context(UNDONE))
}

/// The addresses of these members that stand in `hosts deny`.
fn ranges_listed(denials: Option<&Denials>, members: &[Address]) -> Result<Vec<IpRange>> {
    let ranges: Vec<IpRange> =
        members.iter().filter_map(|member| Some(IpRange::single(member.as_str().parse().ok()?))).collect();
    let Some(Denials { config, module, .. }) = denials.filter(|_| !ranges.is_empty()) else {
        return Ok(Vec::new());
    };
    let conf = &rsyncd_files::read(config).map_err(|e| e.context(UNDONE))?;
    Site { conf, now: &clock::now(), module, ranges: &ranges }.listed()
}

fn monitor() -> Result<Monitor> {
    Ok(Monitor { root: environment::monitor_root()? })
}

/// Where a model's files are. Fails where it is not registered, or a link leads out of the tree.
fn service(monitor: &Monitor, model: &ModelName) -> Result<Service> {
    let service = monitor.service(model);
    files::check_within(&monitor.services(), &service.dir)?;
    if !files::is_directory(&service.dir) {
        let dir = service.dir.display();
        return Err(Error::failed(format!("{model}: {dir} is not there; run add_dispatch_docker first")));
    }
    Ok(service)
}

fn observed(file: &Path) -> Result<Observed<'_>> {
    let source = files::read_without_following(file, CONFIGURATION_LIMIT)?.unwrap_or_default();
    Ok(Observed { file, source, now: clock::now() })
}
