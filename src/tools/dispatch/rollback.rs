//! `dispatch --rollback`, `--pin` and `--unpin`: what operators do when a version is not to be served any more.

use std::path::Path;

use crate::error::{Error, Result, one_line};
use crate::formats::manifest::{Manifest, More};
use crate::formats::mark::{Mark, Reason};
use crate::formats::service_conf;
use crate::layout::Monitor;
use crate::machine::files::{self, Kind, MANIFEST_LIMIT};
use crate::machine::locks::Lock;
use crate::machine::trees::{self, Survey};
use crate::machine::{clock, environment, terminal, versions};
use crate::names::{ModelName, SoName};
use crate::tools::dispatch::apply::{self, Next, Say};
use crate::tools::dispatch::cli::{Aim, Manner, Rollback, Target};
use crate::tools::dispatch::decide::rollback::{self, RollbackFacts};
use crate::tools::dispatch::decide::{Action, Configuration, Plan};
use crate::tools::dispatch::journal::Phase;
use crate::tools::dispatch::models::Models;
use crate::tools::dispatch::observe::Site;
use crate::tools::dispatch::{publish, success};
use crate::version::Version;

/// Announces an older version again. Whoever runs it waits for the answer, so it is said on standard output.
pub fn run(monitor: &Monitor, request: &Rollback, manner: Manner) -> Result<()> {
    let site = known(monitor, &request.model)?;
    let _lock = Lock::take(&site.service.lock(), manner.wait.or(super::OPERATOR_WAITS))?;
    let say: Say = &mut apply::aloud;
    if finished_an_earlier_one(&site, manner, say)? && request.aim == Aim::Back {
        // Once more would be one version too far.
        terminal::say(format!("{}: finished the rollback that an earlier run began", request.model));
        return Ok(());
    }
    announce_again(&site, request, say)
}

/// Goes back because a rollout took too long; the lock is held.
pub fn because(why: &str, site: &Site, say: Say) -> Result<()> {
    announce_again(site, &request_because(why, site)?, say)
}

/// What that would do.
pub fn plan_because(why: &str, site: &Site) -> Result<Plan> {
    planned(site, &request_because(why, site)?)
}

fn request_because(why: &str, site: &Site) -> Result<Rollback> {
    /// In characters: a reason may have 1000 bytes.
    const LONGEST: usize = 240;
    let why: String = one_line(why).chars().take(LONGEST).collect();
    let why = Reason::parse(why.as_bytes())?;
    Ok(Rollback { model: site.model.clone(), aim: Aim::Back, why, is_forced: false })
}

fn planned(site: &Site, request: &Rollback) -> Result<Plan> {
    let facts = site.rollback_facts()?;
    let candidates = rollback::candidates(&facts, request)?;
    let target = announced_target(&request.model, &facts.configurations)?;
    let to = first_whole(site, &target, candidates, request)?;
    let now = clock::now().instant;
    let mark = |version: &Version| Mark {
        version: version.clone(),
        by: environment::operator(),
        at: now,
        why: request.why.clone(),
    };
    rollback::plan(&facts, request, &target, &to, mark)
}

fn announce_again(site: &Site, request: &Rollback, say: Say) -> Result<()> {
    let plan = planned(site, request)?;
    // What a script published has no manifest by which the same content could be refused. Without it the rollback goes on.
    let sealed = bad_version_of(&plan).map_or(Ok(()), |bad| seal(bad, site));
    match apply::apply(&plan, site, &Survey::default(), say)? {
        Next::GoOn => sealed.map_err(|e| e.context("the same content could be pushed again")),
        Next::Yield => Err(Error::locked(format!(
            "{}: a script began an upgrade at this moment, so nothing was announced; try again in a minute",
            request.model
        ))),
    }
}

/// Lets go what is pushed.
pub fn unpin(monitor: &Monitor, model: &ModelName, manner: Manner) -> Result<()> {
    let site = known(monitor, model)?;
    let _lock = Lock::take(&site.service.lock(), manner.wait.or(super::OPERATOR_WAITS))?;
    let said = match files::facts(&site.service.pin())? {
        None => format!("{model} is not pinned"),
        Some(_) => {
            format!("{model} is not pinned any more; a push that was held is published by the next tick")
        }
    };
    apply::by_command(vec![Action::Unpin, Action::Say(said)], &site)
}

/// The places of a model. Fails when this monitor has no such model.
pub fn known<'a>(monitor: &'a Monitor, model: &'a ModelName) -> Result<Site<'a>> {
    Models::open(monitor)?;
    let site = Site::new(monitor, model);
    if !files::is_directory(&site.service.dir) {
        let dir = site.service.dir.display();
        return Err(Error::failed(format!(
            "{model} is no model of this monitor: {dir} is not there; check the name"
        )));
    }
    site.check_within()?;
    Ok(site)
}

/// Finishes a rollback whose run died, as the next tick would; returns whether there was one.
fn finished_an_earlier_one(site: &Site, manner: Manner, say: Say) -> Result<bool> {
    let journal = site.journal()?;
    success::settle_removal(journal.as_ref().map(|journal| journal.success), site)?;
    if journal.is_none_or(|journal| journal.phase != Phase::RollingBack) {
        return Ok(false);
    }
    let target = announced_target(site.model, &site.configurations()?)?;
    super::update_version(site, &target, manner, say)?;
    Ok(true)
}

impl Site<'_> {
    fn rollback_facts(&self) -> Result<RollbackFacts> {
        let status = self.status()?;
        let begun = status.as_ref().and_then(|status| status.version.as_ref());
        let written = begun.map(|version| trees::last_written(&self.service.version(version)));
        Ok(RollbackFacts {
            quiet_for: written.transpose()?.flatten().map(clock::age_of),
            status,
            success: self.success()?,
            journal: self.journal()?,
            configurations: self.configurations()?,
            has_admitted: files::facts(&self.service.admitted())?.is_some(),
            present: versions::in_directory(&self.service.versions())?,
            bad: self.bad_versions()?,
            pin: self.pin()?,
            now_s: clock::unix_now().0,
        })
    }

    /// Why a published version cannot be announced; `None` where it can.
    fn is_not_whole(&self, version: &Version, so_name: &SoName) -> Result<Option<String>> {
        let dir = self.service.version(version);
        let library = Path::new("lib").join(so_name);
        if files::facts(&dir.join(&library))?.is_none_or(|facts| facts.kind != Kind::File) {
            return Ok(Some(format!("it has no {}", library.display())));
        }
        let path = self.service.manifest(version);
        let Some(source) = files::read_without_following(&path, MANIFEST_LIMIT)? else { return Ok(None) };
        Ok(match Manifest::parse(&source) {
            Err(refusal) => Some(refusal.in_file(&path).to_string()),
            Ok(manifest) => {
                let found = trees::digest(&dir, &trees::survey(&dir)?)?;
                manifest
                    .first_mismatch(&found, More::Refused)
                    .map(|mismatch| format!("it is not what its manifest says: {}", mismatch.text()))
            }
        })
    }
}

/// The first of some versions that is what was published under its name; those that are not are named.
fn first_whole(
    site: &Site,
    target: &Target,
    candidates: Vec<Version>,
    request: &Rollback,
) -> Result<Version> {
    let mut problems = Vec::new();
    for version in candidates {
        match site.is_not_whole(&version, &target.so_name)? {
            None => {
                problems
                    .iter()
                    .for_each(|problem| terminal::say(format!("{}: left out {problem}", site.model)));
                return Ok(version);
            }
            Some(problem) => problems.push(format!("{version}: {problem}")),
        }
    }
    Err(Error::failed(format!(
        "{}: nothing was announced: {}; name another version, or push one that works",
        request.model,
        problems.join("; ")
    )))
}

/// PREFIXPATH and SONAME, as the publication before wrote them: members have followed that.
fn announced_target(model: &ModelName, configurations: &[Configuration]) -> Result<Target> {
    let Some(first) = configurations.first() else {
        return Err(Error::failed(format!(
            "{model}: there is no config_*/service.conf; run add_dispatch_docker"
        )));
    };
    match service_conf::announced(&first.bytes) {
        Some(announced) => Target::parse(model.as_str().as_bytes(), announced.prefix, announced.so_name),
        None => Err(Error::usage(format!(
            "{}: modulepath is not PREFIXPATH/<moduleversion>/lib/SONAME; correct it by hand first",
            first.path.display()
        ))),
    }
}

fn bad_version_of(plan: &Plan) -> Option<&Version> {
    plan.commit.iter().find_map(|action| match action {
        Action::MarkBad(mark) => Some(&mark.version),
        _ => None,
    })
}

fn seal(version: &Version, site: &Site) -> Result<()> {
    let is_there = files::is_directory(&site.service.version(version));
    if !is_there || files::facts(&site.service.manifest(version))?.is_some() {
        return Ok(());
    }
    publish::seal_in_place(version, None, site)
}
