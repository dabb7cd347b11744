//! `dispatch ... --dry-run`: a tick up to where it would change something. The facts are observed and the decisions made by what
//! a tick does it with; their actions are shown instead of carried out, and what follows from them is forecast. Takes no
//! lock, not even for an instant, writes no file, runs no hook. An upload that has a manifest is read, as a tick reads it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Exit, Result, one_line};
use crate::formats::Source;
use crate::formats::dispatchserver_sh::{Step, Steps};
use crate::formats::manifest::Manifest;
use crate::formats::shell::Context;
use crate::layout::{self, Monitor};
use crate::machine::files::{self, Kind};
use crate::machine::trees::{self, Entry, Survey};
use crate::machine::{clock, environment, locks, terminal};
use crate::time::Seconds;
use crate::tools::dispatch::all::{REGISTRY_LIMIT, see_above};
use crate::tools::dispatch::cli::{Manner, Target};
use crate::tools::dispatch::decide::dry_run::{self, Amount, Copying, Shown};
use crate::tools::dispatch::decide::{
    Action, MemberList, Plan, UpdateFacts, check, in_flight_since_s, update,
};
use crate::tools::dispatch::models::Models;
use crate::tools::dispatch::observe::Site;
use crate::tools::dispatch::{PROGRAM, not_rolled_back, rolled_back};
use crate::tools::dispatch::{publish, rollback, success};
use crate::tools::edit::Mode;
use crate::tools::hooks::{self, Hook};
use crate::tools::lift;
use crate::version::Version;

/// What a tick finds of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing to do.
    AtRest,
    /// Something, if only an upgrade that goes on.
    Work,
}

/// One model's tick. Fails as the tick would fail, with its words and its exit code.
pub fn one(monitor: &Monitor, target: &Target, manner: Manner) -> Result<()> {
    let models = Models::open(monitor)?;
    let lifted = lift::due_denials(Mode::Show);
    let found = tick(&models, target, manner);
    if matches!(found, Ok(Found::AtRest)) {
        terminal::say(dry_run::nothing(&target.model));
    }
    found.map(drop).and(lifted)
}

/// That of every stanza; of a model at rest nothing is said. Each failure is reported, the others go on, and the gravest is the
/// run's.
pub fn all(monitor: &Monitor, registry: Option<PathBuf>, manner: Manner) -> Result<()> {
    let models = Models::open(monitor)?;
    let lifted = lift::due_denials(Mode::Show);
    let path = registry.unwrap_or_else(|| monitor.registry());
    let source = files::read(&path, REGISTRY_LIMIT)?;
    locks::check_free(&layout::tick_lock_of(&path))?;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let (mut at_rest, mut work, mut problems) = (0, 0, Vec::new());
    for step in Steps::new(&Source::new(&source), &context) {
        match of_step(step, &path, &models, manner) {
            None => {}
            Some(Ok(Found::AtRest)) => at_rest += 1,
            Some(Ok(Found::Work)) => work += 1,
            Some(Err(error)) => {
                terminal::complain(PROGRAM, &error);
                problems.push(error.exit);
            }
        }
    }
    let failing = problems.len();
    terminal::say(format!("{work} with something to do, {failing} that would fail, {at_rest} at rest"));
    let failed = problems.into_iter().max().map(|exit| Error::with_exit(exit, see_above(failing)));
    failed.map_or(Ok(()), Err).and(lifted)
}

/// What a line of the registry comes to; `None` of one that dispatches nothing.
fn of_step(step: Step, registry: &Path, models: &Models, manner: Manner) -> Option<Result<Found>> {
    match step {
        Step::Log { .. } => None,
        // Those that follow from one that cannot be read are as many as the registry has.
        Step::Unreadable(refusal) if refusal.follows => None,
        Step::Unreadable(refusal) => Some(Err(refusal.in_file(registry))),
        Step::Dispatch { line, model, prefix, so_name, .. } => {
            let place = |error: Error| error.context(format!("{}:{line}", registry.display()));
            let target = Target::parse(&model, &prefix, &so_name).map_err(place);
            Some(target.and_then(|target| beside_others(tick(models, &target, manner), manner)))
        }
    }
}

/// With `--jobs` a tick leaves a model alone that the tick before is still at work on.
fn beside_others(found: Result<Found>, manner: Manner) -> Result<Found> {
    match found {
        Err(error) if error.exit == Exit::Locked && manner.jobs > 1 => {
            terminal::say(error);
            Ok(Found::Work)
        }
        found => found,
    }
}

fn tick(models: &Models, target: &Target, manner: Manner) -> Result<Found> {
    if models.is_at_rest(&target.model)? {
        return Ok(Found::AtRest);
    }
    let site = Site::new(models.monitor, &target.model);
    site.check_within()?;
    locks::check_free(&site.service.lock())?;
    if let Some(aside) = success::to_be_put_back(site.journal()?.map(|journal| journal.success), &site)? {
        terminal::say(one_line(&dry_run::put_back(&target.model, &aside)));
        return Ok(Found::Work);
    }
    let mut run = DryRun { site: &site, target, manner, done: Vec::new(), has_said: false };
    let updated = run.update_version();
    let checked = run.check_version();
    let deleted = run.deletions();
    updated.and(checked).and(deleted)?;
    if !run.has_said {
        let line = match site.status()? {
            None => dry_run::nothing(site.model),
            Some(status) => {
                let (journal, note) = (site.journal()?, site.rollout_note()?);
                let now_s = clock::unix_now().0;
                let since_s = in_flight_since_s(&status, journal.as_ref(), note.as_ref(), now_s);
                dry_run::goes_on(site.model, &status, Seconds(now_s - since_s))
            }
        };
        run.say(&line);
    }
    Ok(Found::Work)
}

/// A model's tick.
struct DryRun<'a> {
    site: &'a Site<'a>,
    target: &'a Target,
    manner: Manner,
    /// What would be done by now.
    done: Vec<Action>,
    has_said: bool,
}

impl DryRun<'_> {
    fn update_version(&mut self) -> Result<()> {
        let (facts, uploaded) = self.site.update_facts(self.target, self.manner.is_forced)?;
        let plan = update::update(&facts, self.target)?;
        if let Err(error) = self.check_content(&plan, &uploaded) {
            self.done.extend(plan.prepare.into_iter().chain(plan.undo));
            return Err(error);
        }
        if plan == Plan::default()
            && let Some(line) = dry_run::waiting(&facts, self.site.model)
        {
            self.say(&line);
        }
        let copying = plan.prepare.iter().find_map(|action| match action {
            Action::Stage(version, expected) => {
                Some(self.copying(version, expected.as_deref(), &facts, &uploaded))
            }
            _ => None,
        });
        self.show(&plan.prepare, copying.as_ref())?;
        let (said, others): (Vec<_>, Vec<_>) =
            plan.commit.iter().cloned().partition(|action| matches!(action, Action::Say(_)));
        self.show(&others, None)?;
        self.members(&plan)?;
        self.show(&said, None)?;
        self.done.extend(plan.prepare.into_iter().chain(plan.commit));
        Ok(())
    }

    /// What carrying the plan out would find: an upload, or a version in its place, that is not what was pushed.
    fn check_content(&self, plan: &Plan, uploaded: &Survey) -> Result<()> {
        for action in &plan.prepare {
            match action {
                Action::Stage(_, expected @ Some(_)) => {
                    let files = trees::digest(&self.site.upload.dir, uploaded)?;
                    publish::check_pushed(&files, expected.as_deref(), self.site)?;
                }
                Action::Seal(version, expected @ Some(_)) => {
                    let dir = self.site.service.version(version);
                    let files = trees::digest(&dir, &trees::survey(&dir)?)?;
                    publish::check_pushed(&files, expected.as_deref(), self.site)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn copying(
        &self,
        version: &Version,
        expected: Option<&Manifest>,
        facts: &UpdateFacts,
        uploaded: &Survey,
    ) -> Copying {
        let files = || uploaded.iter().filter(|(_, entry)| entry.kind == Kind::File);
        let size = |(_, entry): (&[u8], &Entry)| entry.identity.size;
        let earlier = expected.and_then(|manifest| publish::earlier(version, manifest, self.site));
        let linked = earlier.and_then(|earlier| {
            let from = Version::of_directory(earlier.dir.file_name().map_or(b"", OsStr::as_bytes)).ok()?;
            let same = files().filter(|(path, _)| earlier.files.get(path).is_some());
            Some((from, Amount::of(same.map(size))))
        });
        let free_bytes = facts.upload.as_ref().map_or(0, |upload| upload.free_bytes);
        Copying { all: Amount::of(files().map(size)), linked, free_bytes }
    }

    /// Who gets the version that would be announced, and when.
    fn members(&mut self, plan: &Plan) -> Result<()> {
        if !plan.commit.iter().any(|action| matches!(action, Action::StillInFlight(_))) {
            return Ok(());
        }
        let (list, held) = self.site.list_and_held()?;
        if let MemberList::Known(fleet) = list {
            dry_run::batches(&fleet, self.site.model).iter().for_each(|line| self.say(line));
        }
        for (member, hindrance) in &held {
            self.say(&one_line(&dry_run::left_out(self.site.model, member, hindrance)));
        }
        Ok(())
    }

    fn check_version(&mut self) -> Result<()> {
        let facts = self.site.check_facts_after(&self.done, self.manner.keep)?;
        let plan = check::check(&facts, self.target);
        let Some(why) = &plan.roll_back else { return self.show_checked(&plan) };
        match rollback::plan_because(why, self.site) {
            Ok(instead) => {
                // Unless it is forced, a rollback goes to none that is bad.
                let is_done = |action: &Action| !matches!(action, Action::ForgetBad(_));
                let commit: Vec<Action> = instead.commit.into_iter().filter(is_done).collect();
                self.show(&commit, None)?;
                self.show_hooks(&plan.commit)?;
                Err(rolled_back(why, self.site))
            }
            Err(problem) => self.show_checked(&plan).map_err(|error| not_rolled_back(&error, &problem)),
        }
    }

    fn show_checked(&mut self, plan: &Plan) -> Result<()> {
        self.show(&plan.commit, None)?;
        let failure = plan.commit.iter().find_map(|action| match action {
            Action::Fail(error) => Some(error.clone()),
            _ => None,
        });
        failure.map_or(Ok(()), Err)
    }

    fn deletions(&mut self) -> Result<()> {
        let versions = self.site.half_deleted()?;
        for version in &versions {
            self.say(&format!("{}: would finish the deletion of {version}", self.site.model));
        }
        Ok(())
    }

    fn show(&mut self, actions: &[Action], copying: Option<&Copying>) -> Result<()> {
        for shown in dry_run::shown(actions, self.site.model, copying) {
            match shown {
                Shown::Line(line) => self.say(&one_line(&line)),
                Shown::Edit(edit) => {
                    terminal::show_diff(&edit.path.display().to_string(), Some(&edit.before), &edit.after);
                    self.has_said = true;
                }
            }
        }
        self.show_hooks(actions)
    }

    fn show_hooks(&mut self, actions: &[Action]) -> Result<()> {
        for action in actions {
            let (hook, failing) = match action {
                Action::PrePublish(_) => (Hook::PrePublish, "; if it fails, nothing is published"),
                Action::OnFailure(..) => (Hook::OnFailure, ""),
                _ => continue,
            };
            if let Some(program) = hooks::program(&self.site.monitor.hooks(self.site.model), hook)? {
                self.say(&format!("{}: would run {}{failing}", self.site.model, program.display()));
            }
        }
        Ok(())
    }

    fn say(&mut self, line: &str) {
        terminal::say(line);
        self.has_said = true;
    }
}
