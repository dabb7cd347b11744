//! Reads what is known of a model's members: machine -> facts.

use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::admitted::Admitted;
use crate::formats::held::Held;
use crate::formats::member_state::{self, MemberState};
use crate::formats::rsyncd_conf::RsyncdConf;
use crate::formats::rsyncd_conf::access::{Access, Verdict};
use crate::formats::rsyncd_conf::until::Ending;
use crate::formats::service_conf;
use crate::ip_range::IpRange;
use crate::layout::{Monitor, SERVICE_MODULE, Service};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, configurations, environment};
use crate::names::{Address, ModelName};
use crate::time::Seconds;
use crate::tools::dispatch::ask::{self, REPORT_LIMIT};
use crate::tools::dispatch::decide::MemberList;
use crate::tools::dispatch::decide::check::text_of;
use crate::tools::dispatch::decide::status::{ModelFacts, Pending};
use crate::tools::dispatch::decide::verdict::{Hindrance, Live, MemberFacts};
use crate::tools::dispatch::fleet::{Fleet, Probe};
use crate::tools::dispatch::journal::Phase;
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
    let announced = announced(&site.service)?;
    let members = members(&site.service, &fleet, announced.as_ref(), denials)?;
    Ok(ModelFacts {
        model: model.clone(),
        list: list.display().to_string(),
        probe: match fleet.probe {
            Probe::Report => "report",
            Probe::Rpc(..) => "rpc",
            Probe::Command(..) => "command",
        },
        batches: fleet.policy.batches.targets(fleet.members.len()),
        pending: pending(&site, announced.as_ref())?,
        in_flight_for: site.status()?.map(|status| status.age),
        announced,
        members,
    })
}

fn announced(service: &Service) -> Result<Option<Version>> {
    let read = configurations::of(service)?;
    let named = read.first().and_then(|(_, bytes)| service_conf::value(bytes, "moduleversion"));
    Ok(named.and_then(|named| Version::of_directory(named).ok()))
}

/// A push that was dispatched stays until its upgrade ends, so `success` alone does not tell.
fn pending(site: &Site, announced: Option<&Version>) -> Result<Pending> {
    let Some(success) = site.success()? else { return Ok(Pending::Nothing) };
    // Only its owner may be able to read it; what `success` names tells as much.
    let journal = site.journal().unwrap_or_else(|error| {
        log::debug!("{error}");
        None
    });
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

fn members(
    service: &Service,
    fleet: &Fleet,
    announced: Option<&Version>,
    denials: &Denials,
) -> Result<Vec<(Address, MemberFacts)>> {
    let (admitted, held, now) = (admitted(service)?, held(service)?, clock::now().instant);
    let live: Vec<Live> = match fleet.probe {
        Probe::Report => fleet.members.iter().map(|_| Live::NotAsked).collect(),
        Probe::Rpc(..) | Probe::Command(..) => {
            let answer = |answer: Option<Vec<u8>>| answer.map_or(Live::Silent, Live::Serves);
            ask::all(fleet, service)?.into_iter().map(|(_, answered)| answer(answered)).collect()
        }
    };
    let facts = |(member, live): (&Address, Live)| {
        let is_waiting = admitted
            .as_ref()
            .zip(announced)
            .is_some_and(|(admitted, version)| admitted.holds_back(version, member));
        let hold = held.hold_of(member, now).cloned().map(Hindrance::Hold);
        let report = aged(service, &service.report(member), REPORT_LIMIT);
        let told = aged(service, &service.state(member), member_state::LIMIT);
        let facts = MemberFacts {
            live,
            report: report.map(|(bytes, age)| (text_of(&bytes).to_vec(), age)),
            told: told.and_then(|(bytes, age)| Some((MemberState::parse(&bytes)?, age))),
            is_waiting,
            hindrance: hold.or_else(|| denials.of(member)),
        };
        (member.clone(), facts)
    };
    Ok(fleet.members.iter().zip(live).map(facts).collect())
}

fn admitted(service: &Service) -> Result<Option<Admitted>> {
    let path = service.admitted();
    let read = files::read_without_following(&path, CONFIGURATION_LIMIT)?;
    read.map(|bytes| Admitted::parse(&bytes)).transpose().map_err(|refusal| refusal.in_file(&path))
}

/// The members that are to keep what they serve.
pub fn held(service: &Service) -> Result<Held> {
    let path = service.held();
    let read = files::read_without_following(&path, CONFIGURATION_LIMIT)?;
    Held::parse(&read.unwrap_or_default()).map_err(|refusal| refusal.in_file(&path))
}

/// What a member left, and how long ago; one that cannot be read is as good as none.
fn aged(service: &Service, path: &Path, limit: u64) -> Option<(Vec<u8>, Seconds)> {
    let read = || -> Result<Option<(Vec<u8>, Seconds)>> {
        files::check_within(&service.dir, path)?;
        let Some(facts) = files::facts(path)? else { return Ok(None) };
        let bytes = files::read_without_following(path, limit)?;
        Ok(bytes.map(|bytes| (bytes, clock::age_of(facts.modified))))
    };
    read().unwrap_or_else(|error| {
        log::debug!("{error}");
        None
    })
}

/// Whom the monitor's daemon denies.
#[derive(Debug)]
pub struct Denials {
    /// The lists of the module that members fetch from; `None` where nobody is denied, as far as can be read.
    access: Option<Access>,
    endings: Vec<Ending>,
}

impl Denials {
    /// Reads rsyncd.conf. One that is not there, not this user's to read, or cannot be judged denies nobody that we know of.
    pub fn read() -> Denials {
        let file = environment::rsyncd_conf();
        let source = files::read_if_exists(&file, CONFIGURATION_LIMIT).unwrap_or_else(|error| {
            log::debug!("{error}");
            None
        });
        let conf = RsyncdConf::parse(&source.unwrap_or_default());
        let module = SERVICE_MODULE.as_bytes();
        let access = conf.access(module).map_err(|problem| log::debug!("{}", problem.in_file(&file, module)));
        Denials { access: access.ok(), endings: conf.endings(module).unwrap_or_default() }
    }

    /// Where a member is denied, if it is. A host name is not judged.
    fn of(&self, member: &Address) -> Option<Hindrance> {
        let range = IpRange::single(member.as_str().parse().ok()?);
        let line = match self.access.as_ref()?.verdict(&range) {
            Verdict::DeniedBy(pattern) => pattern.line,
            Verdict::NotAllowed(line) => line,
            Verdict::Admitted | Verdict::AdmittedBy(_) | Verdict::Partly(_) | Verdict::NotJudged(_) => {
                return None;
            }
        };
        let ending =
            self.endings.iter().find(|ending| ending.ranges.iter().any(|denied| denied.covers(&range)));
        Some(Hindrance::Denied {
            place: format!("{}:{line}", environment::rsyncd_conf().display()),
            until: ending.map(|ending| ending.until),
        })
    }
}
