//! What is known of each member: machine -> facts, for a status and for a tick.

use std::path::Path;

use chrono::{DateTime, FixedOffset};

use crate::error::Result;
use crate::formats::announcement::{Admission, Numbers};
use crate::formats::held::Held;
use crate::formats::member_state::{self, MemberState};
use crate::formats::rsyncd_conf::access::{Access, Verdict};
use crate::formats::rsyncd_conf::until::Ending;
use crate::ip_range::IpRange;
use crate::layout::{SERVICE_MODULE, Service};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::machine::{clock, environment};
use crate::names::Address;
use crate::rollout::advance::Member;
use crate::rollout::state::{Announced, State};
pub use crate::rollout::verdict::Hindrance;
use crate::rollout::verdict::{Live, MemberFacts, has_failed, verdict};
use crate::time::Seconds;
use crate::tools::rsyncd_files;
use crate::tools::shared::ask::{self, REPORT_LIMIT};
use crate::tools::shared::fleet::{Fleet, Probe};
use crate::version::Version;

/// What the announced version's rollout asks of a member.
#[derive(Debug)]
pub struct Rollout<'a> {
    admission: &'a Admission,
    numbers: Numbers,
    attempt: u32,
    version: &'a Version,
}

impl<'a> Rollout<'a> {
    /// Of the version that is announced.
    pub fn of(state: &State, announced: &'a Announced) -> Rollout<'a> {
        Rollout {
            admission: &announced.admission,
            numbers: Numbers { epoch: state.epoch, sequence: announced.sequence },
            attempt: announced.attempt,
            version: announced.version(),
        }
    }

    /// Whether a state says something about this announcement: one of an earlier announcement of
    /// the same version, or of an attempt before an operator asked for another, does not. A member
    /// that follows service.conf knows neither.
    fn concerns(&self, state: &MemberState) -> bool {
        let is_of_this = |seen: Numbers| seen >= self.numbers && state.attempt >= self.attempt;
        state.version != *self.version || state.seen.is_none_or(is_of_this)
    }
}

/// Every member of a list, in its order; their services are asked, all at once, where the list says so.
pub fn members(
    service: &Service,
    fleet: &Fleet,
    rollout: Option<&Rollout>,
    denials: &Denials,
) -> Result<Vec<(Address, MemberFacts)>> {
    let hindrances = Hindrances::read(service, denials)?;
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
        let left = |path: &Path, limit| is_within.then(|| aged(path, limit)).flatten();
        let report = left(&service.report(member), REPORT_LIMIT);
        let told = left(&service.member_state(member), member_state::LIMIT);
        let told = told.and_then(|(bytes, age)| Some((MemberState::parse(&bytes)?, age)));
        let has_binary = told.is_some();
        let facts = MemberFacts {
            live,
            report: report.map(|(bytes, age)| (text_of(&bytes).to_vec(), age)),
            saw: told.as_ref().and_then(|(state, _)| state.seen),
            told: told.filter(|(state, _)| rollout.is_none_or(|rollout| rollout.concerns(state))),
            has_binary,
            is_waiting: rollout.is_some_and(|rollout| !rollout.admission.admits(member)),
            hindrance: hindrances.of(member),
        };
        (member.clone(), facts)
    };
    Ok(fleet.members.iter().zip(live).map(facts).collect())
}

/// The same, as a rollout is advanced by it.
pub fn as_advance(members: Vec<(Address, MemberFacts)>, announced: &Version) -> Vec<Member> {
    let member = |(address, facts): (Address, MemberFacts)| {
        let verdict = verdict(&facts, announced);
        Member {
            failure: if has_failed(verdict) {
                facts.failure(announced).unwrap_or_default()
            } else {
                String::new()
            },
            answer: facts.answer().map_or_else(|| "no answer".to_owned(), serves),
            saw: facts.saw,
            address,
            verdict,
        }
    };
    members.into_iter().map(member).collect()
}

fn serves(answer: &[u8]) -> String {
    /// A version has at most 79 characters; an answer may be anything.
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(text_of(answer));
    format!("serves {}", text.chars().take(SHOWN).collect::<String>())
}

/// An answer or a report without the ends of its line. legacy: dispatch.sh, fCheckVersion: as
/// `$(cat ...)` reads it
fn text_of(answer: &[u8]) -> &[u8] {
    let end = answer.iter().rposition(|b| *b != b'\n').map_or(0, |last| last + 1);
    &answer[..end]
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

    /// Every member with a hold that is in force, also one that is not on the list.
    pub fn holds(&self) -> Vec<Address> {
        let mut members: Vec<Address> = Vec::new();
        for hold in self.held.0.iter().filter(|hold| hold.is_in_force(self.now)) {
            if !members.contains(&hold.member) {
                members.push(hold.member.clone());
            }
        }
        members
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
