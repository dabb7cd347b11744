//! Reads what is known of a model's members: machine -> facts.

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::{clock, files};
use crate::names::ModelName;
use crate::tools::dispatch::decide::status::{ModelFacts, Pending};
use crate::tools::dispatch::decide::{MemberList, first_announced, in_flight_since_s};
use crate::tools::dispatch::fleet::Probe;
use crate::tools::dispatch::journal::{Journal, Phase};
use crate::tools::dispatch::members::{Denials, members};
use crate::tools::dispatch::observe::Site;
use crate::version::Version;

/// The models of the monitor that have a member list, by name.
pub fn models_with_lists(monitor: &Monitor) -> Result<Vec<ModelName>> {
    let names = files::names_in(&monitor.services())?;
    let models = names.iter().filter_map(|name| ModelName::parse(name.as_encoded_bytes()).ok());
    Ok(models.filter(|model| !matches!(Site::new(monitor, model).list(), MemberList::Absent)).collect())
}

/// All that is known of a model: its members are asked, all at once. Fails where it has no member list that can be read.
pub fn model(monitor: &Monitor, model: &ModelName, denials: &Denials) -> Result<ModelFacts> {
    let site = Site::new(monitor, model);
    if !files::is_directory(&site.service.dir) {
        let dir = site.service.dir.display();
        return Err(Error::failed(format!(
            "{model}: {dir} is not there; see dispatch --status for the models"
        )));
    }
    let (fleet, list) = match site.list() {
        MemberList::Known(fleet) if !fleet.members.is_empty() => (fleet, site.list_path()),
        MemberList::Known(_) | MemberList::Absent => {
            let list = monitor.member_list(model);
            return Err(Error::failed(format!(
                "{model}: members unknown: {} is missing or names none; write members=\"A,B,...\" and moduleport=... into it",
                list.display()
            )));
        }
        MemberList::Unreadable { error, .. } => return Err(error),
    };
    let configurations = site.configurations()?;
    let announced = first_announced(&configurations).and_then(|version| Version::of_directory(version).ok());
    let members = members(&site.service, &fleet, announced.as_ref(), denials)?;
    let journal = journal(&site);
    let note = site.rollout_note()?;
    let now_s = clock::unix_now().0;
    let since_s = |status| in_flight_since_s(&status, journal.as_ref(), note.as_ref(), now_s);
    Ok(ModelFacts {
        model: model.clone(),
        list: list.display().to_string(),
        probe: match fleet.probe {
            Probe::Report => "report",
            Probe::Rpc(..) => "rpc",
            Probe::Command(..) => "command",
        },
        batches: fleet.policy.batches.targets(fleet.members.len()),
        in_flight_since_s: site.status()?.map(since_s),
        now_s,
        pending: pending(&site, journal, announced.as_ref())?,
        note: note.filter(|note| announced.as_ref() == Some(&note.version)),
        pin: site.pin()?,
        bad: site.bad_versions()?,
        announced,
        members,
    })
}

/// The journal. Only its owner may be able to read it; what `success` names and when `status` was written tell almost as much.
fn journal(site: &Site) -> Option<Journal> {
    site.journal().unwrap_or_else(|error| {
        log::debug!("{error}");
        None
    })
}

/// A push that was dispatched stays until its upgrade ends, so `success` alone does not tell.
fn pending(site: &Site, journal: Option<Journal>, announced: Option<&Version>) -> Result<Pending> {
    let Some(success) = site.success()? else { return Ok(Pending::Nothing) };
    Ok(match (journal.filter(|journal| journal.success == success.identity), success.announces) {
        (Some(journal), _) if journal.phase == Phase::Announced => Pending::Nothing,
        (Some(journal), _) => Pending::Version(journal.version),
        (None, Some(version)) if announced == Some(&version) => Pending::Nothing,
        (None, Some(version)) => Pending::Version(version),
        // A script gives it a version of its own when it begins.
        (None, None) if site.status()?.is_some() => Pending::Nothing,
        (None, None) => Pending::Unnamed,
    })
}
