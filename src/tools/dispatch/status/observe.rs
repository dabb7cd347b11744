//! Reads what is known of a model's members: machine -> facts.

use crate::error::{Error, Result};
use crate::layout::Monitor;
use crate::machine::{clock, files};
use crate::names::ModelName;
use crate::rollout::reconcile::Seen;
use crate::rollout::state::{Fate, State, Worth};
use crate::tools::dispatch::status::decide::{ModelFacts, Pending};
use crate::tools::shared::fleet::Probe;
use crate::tools::shared::members::{Denials, Rollout, members};
use crate::tools::shared::places::Places;
use crate::version::Version;

/// The models of the monitor that have a member list, by name.
pub fn models_with_lists(monitor: &Monitor) -> Result<Vec<ModelName>> {
    let names = files::names_in(&monitor.services())?;
    let models = names.iter().filter_map(|name| ModelName::parse(name.as_encoded_bytes()).ok());
    Ok(models.filter(|model| !matches!(Places::new(monitor, model).list(), Ok(None))).collect())
}

/// All that is known of a model: its members are asked, all at once. Fails where it has no member list that can be read.
pub fn model(monitor: &Monitor, model: &ModelName, denials: &Denials) -> Result<ModelFacts> {
    let places = Places::new(monitor, model);
    if !files::is_directory(&places.service.dir) {
        let dir = places.service.dir.display();
        return Err(Error::failed(format!(
            "{model}: {dir} is not there; see dispatch --status for the models"
        )));
    }
    let (fleet, list) = match places.list()? {
        Some(fleet) if !fleet.members.is_empty() => (fleet, places.list_path()),
        Some(_) | None => {
            let list = monitor.member_list(model);
            return Err(Error::failed(format!(
                "{model}: members unknown: {} is missing or names none; write members=\"A,B,...\" and moduleport=... into it",
                list.display()
            )));
        }
    };
    let (seen, state) = (places.seen()?, places.state()?);
    let announced = seen.named();
    let own = state.as_ref().and_then(|state| state.announced.as_ref());
    // Of what somebody else has announced since the last tick nothing is known yet.
    let own = own.filter(|own| Some(own.version()) == announced.as_ref());
    let rollout = state.as_ref().zip(own).map(|(state, own)| Rollout::of(state, own));
    let members = members(&places.service, &fleet, rollout.as_ref(), denials)?;
    let now_s = clock::unix_now().0;
    let by_status = places.status()?.map(|(_, age)| now_s - age.0);
    let since_s = own.filter(|own| own.phase.is_in_flight()).map(|own| own.started_s);
    Ok(ModelFacts {
        model: model.clone(),
        list: list.display().to_string(),
        probe: match fleet.probe {
            Probe::Report => "report",
            Probe::Rpc(..) => "rpc",
            Probe::Command(..) => "command",
        },
        batches: fleet.policy.batches.targets(fleet.members.len()),
        in_flight_since_s: since_s.or(by_status),
        now_s,
        pending: pending(&seen, state.as_ref(), announced.as_ref()),
        pin: state.as_ref().and_then(|state| state.pin.clone()),
        bad: state.iter().flat_map(State::bad).cloned().collect(),
        ahead: state.as_ref().map(|state| state.ahead.clone()).unwrap_or_default(),
        rollout: own.cloned(),
        announced,
        members,
    })
}

/// A push that was published stays until its rollout ends, so `success` alone does not tell.
fn pending(seen: &Seen, state: Option<&State>, announced: Option<&Version>) -> Pending {
    if let Some(publishing) = state.and_then(|state| state.publishing.as_ref()) {
        return Pending::Version(publishing.version.clone());
    }
    let push = state.and_then(|state| state.push.as_ref());
    let became = |push: &crate::rollout::state::Push| match &push.fate {
        Fate::Became(version) => Some(version.clone()),
        Fate::Waits => None,
    };
    let Some(success) = &seen.success else { return Pending::Nothing };
    let known = push.filter(|push| push.content.0 == success.content).and_then(became);
    match (known, &success.announces) {
        (Some(version), _) if state.and_then(|state| state.worth(&version)) == Some(Worth::Published) => {
            Pending::Version(version)
        }
        (Some(_), _) => Pending::Nothing,
        (None, Some(version)) if announced == Some(version) => Pending::Nothing,
        (None, Some(version)) => Pending::Version(version.clone()),
        // A script gives it a version of its own when it begins.
        (None, None) if seen.status.is_some() && state.is_none_or(|state| !state.is_in_flight()) => {
            Pending::Nothing
        }
        (None, None) => Pending::Unnamed,
    }
}
