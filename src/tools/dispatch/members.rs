//! What is known of each member: machine -> facts, for a status and for a tick.

use std::path::Path;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::formats::admitted::Admitted;
use crate::formats::held::Held;
use crate::formats::member_state::{self, MemberState};
use crate::formats::rsyncd_conf::access::{Access, Verdict};
use crate::formats::rsyncd_conf::until::Ending;
use crate::ip_range::IpRange;
use crate::layout::{SERVICE_MODULE, Service};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, environment};
use crate::names::Address;
use crate::time::Seconds;
use crate::tools::dispatch::ask::{self, REPORT_LIMIT};
use crate::tools::dispatch::decide::check::text_of;
use crate::tools::dispatch::decide::verdict::{Hindrance, Live, MemberFacts};
use crate::tools::dispatch::fleet::{Fleet, Probe};
use crate::tools::rsyncd_files;
use crate::version::Version;

/// Every member of a list, in its order; their services are asked, all at once, where the list says so.
pub fn members(
    service: &Service,
    fleet: &Fleet,
    announced: Option<&Version>,
    denials: &Denials,
) -> Result<Vec<(Address, MemberFacts)>> {
    let (admitted, hindrances) = (admitted(service)?, Hindrances::read(service, denials)?);
    let live: Vec<Live> = match fleet.probe {
        Probe::Report => fleet.members.iter().map(|_| Live::NotAsked).collect(),
        Probe::Rpc(..) | Probe::Command(..) => {
            let answer = |answer: Option<Vec<u8>>| answer.map_or(Live::Silent, Live::Serves);
            ask::all(fleet, service)?.into_iter().map(|(_, answered)| answer(answered)).collect()
        }
    };
    // Once, and not for each of some thousand files: those themselves are read without following.
    let is_within =
        files::check_within(&service.dir, &service.reports()).map_err(|error| log::debug!("{error}")).is_ok();
    let facts = |(member, live): (&Address, Live)| {
        let is_waiting = admitted
            .as_ref()
            .zip(announced)
            .is_some_and(|(admitted, version)| admitted.holds_back(version, member));
        let left = |path: &Path, limit| is_within.then(|| aged(path, limit)).flatten();
        let report = left(&service.report(member), REPORT_LIMIT);
        let told = left(&service.state(member), member_state::LIMIT);
        let facts = MemberFacts {
            live,
            report: report.map(|(bytes, age)| (text_of(&bytes).to_vec(), age)),
            told: told.and_then(|(bytes, age)| Some((MemberState::parse(&bytes)?, age))),
            is_waiting,
            hindrance: hindrances.of(member),
        };
        (member.clone(), facts)
    };
    Ok(fleet.members.iter().zip(live).map(facts).collect())
}

/// Who was let in to which version.
pub fn admitted(service: &Service) -> Result<Option<Admitted>> {
    let path = service.admitted();
    let read = files::read_without_following(&path, CONFIGURATION_LIMIT)?;
    read.map(|bytes| Admitted::parse(&bytes)).transpose().map_err(|refusal| refusal.in_file(&path))
}

/// Why members of a model are to keep what they serve.
pub struct Hindrances<'a> {
    held: Held,
    denials: &'a Denials,
    now: DateTime<FixedOffset>,
}

impl<'a> Hindrances<'a> {
    /// Reads the model's holds.
    pub fn read(service: &Service, denials: &'a Denials) -> Result<Hindrances<'a>> {
        let path = service.held();
        let read = files::read_without_following(&path, CONFIGURATION_LIMIT)?;
        let held = Held::parse(&read.unwrap_or_default()).map_err(|refusal| refusal.in_file(&path))?;
        Ok(Hindrances { held, denials, now: clock::now().instant })
    }

    /// Why a member keeps what it serves; a hold comes before a denial.
    pub fn of(&self, member: &Address) -> Option<Hindrance> {
        let hold = self.held.hold_of(member, self.now).cloned().map(Hindrance::Hold);
        hold.or_else(|| self.denials.of(member))
    }
}

/// What a member left, and how long ago; one that cannot be read is as good as none.
fn aged(path: &Path, limit: u64) -> Option<(Vec<u8>, Seconds)> {
    let read = || -> Result<Option<(Vec<u8>, Seconds)>> {
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
#[derive(Debug, Default)]
pub struct Denials {
    /// The lists of the module that members fetch from; `None` where nobody is denied, as far as can be read.
    access: Option<Access>,
    endings: Vec<Ending>,
}

impl Denials {
    /// Reads rsyncd.conf. One that is not there, not this user's to read, or cannot be judged denies nobody that we know of.
    pub fn read() -> Denials {
        let conf = match rsyncd_files::read(&environment::rsyncd_conf()) {
            Ok(conf) => conf,
            Err(error) => {
                log::debug!("{error}");
                return Denials::default();
            }
        };
        let module = SERVICE_MODULE.as_bytes();
        let access = conf.access(module).map_err(|problem| log::debug!("{}", problem.of_module(module)));
        Denials { access: access.ok(), endings: conf.endings(module).unwrap_or_default() }
    }

    /// Where a member is denied, if it is. A host name is not judged.
    fn of(&self, member: &Address) -> Option<Hindrance> {
        let range = IpRange::single(member.as_str().parse().ok()?);
        let place = match self.access.as_ref()?.verdict(&range) {
            Verdict::DeniedBy(pattern) => &pattern.place,
            Verdict::NotAllowed(place) => place,
            Verdict::Admitted | Verdict::AdmittedBy(_) | Verdict::Partly(_) | Verdict::NotJudged(_) => {
                return None;
            }
        };
        let ending =
            self.endings.iter().find(|ending| ending.ranges.iter().any(|denied| denied.covers(&range)));
        Some(Hindrance::Denied { place: place.to_string(), until: ending.map(|ending| ending.until) })
    }
}
