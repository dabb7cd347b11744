//! One run over a model: what a tick does, and what an operator's command does, over whatever a
//! monitor is made of. The real one is files, a daemon and a clock (`tools/shared/site.rs`); a dry
//! run's changes nothing; the simulator's is in memory, and fails wherever it likes.
//!
//! Every change is made in this order: the new state is saved; then `status`, the announcement,
//! service.conf and `success` are made to say what it says; then the history is written; then the
//! state is saved as settled. Whatever dies in between, the next run goes on from the saved state.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::formats::announcement::{Admission, Announcement, Bytes, Numbers, Offer, ServiceConfs};
use crate::names::{Address, ModelName, SoName, shown};
use crate::retention::Keep;
use crate::rollout::advance::{self, Fleet, Outcome};
use crate::rollout::command::{self, Rollback, Steer};
use crate::rollout::event::{Actor, Announcing, Ending, Event};
use crate::rollout::history::Told;
use crate::rollout::policy::Policy;
use crate::rollout::reconcile::{self, Seen, Situation, Success};
use crate::rollout::retention::{self, Versions};
use crate::rollout::state::{Announced, Fate, Origin, Phase, Publishing, Sight, State, Worth};
use crate::version::Version;

/// Who is named where a tick does something by itself.
pub const DISPATCH: &str = "dispatch";

/// One model as a registry line or the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The model.
    pub model: ModelName,
    /// Where members keep its versions.
    pub prefix: String,
    /// The library's file name.
    pub so_name: SoName,
}

impl Target {
    /// Validates the three arguments of dispatch.sh.
    ///
    /// Fails (exit 2) on a name that is not one, and on a prefix path with white space or control
    /// characters: written into service.conf it could not be found again by the next edit.
    pub fn parse(model: &[u8], prefix: &[u8], so_name: &[u8]) -> Result<Target> {
        let model = ModelName::parse(model)?;
        let so_name = SoName::parse(so_name)?;
        match std::str::from_utf8(prefix) {
            Ok(path)
                if path.starts_with('/') && !path.chars().any(|c| c.is_whitespace() || c.is_control()) =>
            {
                Ok(Target { model, prefix: path.trim_end_matches('/').to_owned(), so_name })
            }
            _ => Err(Error::usage(format!(
                "{} is not a prefix path; write an absolute path without blanks",
                shown(prefix)
            ))),
        }
    }
}

/// The member list, when a version is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// It was read.
    Known {
        /// Every member, in its order.
        members: Vec<Address>,
        /// Those that are held.
        held: Vec<Address>,
        /// How a rollout is meant to go.
        policy: Policy,
    },
    /// There is none, or it names nobody.
    Absent {
        /// Those that are held all the same.
        held: Vec<Address>,
    },
    /// It, or who is held, cannot be read.
    Unknown(Error),
}

/// What became of a copy of the upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// It is whole, and lies beside its place.
    Whole,
    /// `success` was removed before it was copied, and nothing else was: a script's check takes
    /// every `success` for the one whose upgrade has ended.
    SuccessIsGone,
}

/// What a run works on.
pub trait Monitor {
    /// Now, in seconds since 1970.
    fn now_s(&self) -> i64;
    /// The version of a push that names none: local time.
    fn version_of_now(&self) -> Option<Version>;
    /// Who runs this: `USER@HOST`.
    fn by(&self) -> String;
    /// Who owns service.conf, which is who edited it last; `None` where that is not known.
    fn editor(&mut self) -> Option<String> {
        None
    }
    /// Takes the lock of the model's state. It is held for milliseconds: never while bytes are
    /// copied or members asked. Only old versions are deleted under it, which may take longer.
    fn lock(&mut self) -> Result<()>;
    /// Gives it back.
    fn unlock(&mut self);
    /// The saved state. Fails where it is damaged, or gone although there is an announcement.
    fn load(&mut self) -> Result<Option<State>>;
    /// Saves the state, by one rename.
    fn save(&mut self, state: &State) -> Result<()>;
    /// What is there.
    fn seen(&mut self) -> Result<Seen>;
    /// Writes the announcement, unless it says this already.
    fn write_announcement(&mut self, announcement: &Announcement) -> Result<()>;
    /// What a service.conf becomes when it announces a version.
    fn announcing(&self, name: &str, conf: &[u8], target: &Target, version: &Version) -> Result<Vec<u8>>;
    /// Replaces a service.conf, if it still is what the edit was made from.
    fn write_conf(&mut self, name: &str, before: &[u8], after: &[u8]) -> Result<()>;
    /// Creates `status`; returns whether nobody was quicker.
    fn create_status(&mut self, version: &Version) -> Result<bool>;
    /// Replaces `status`.
    fn write_status(&mut self, version: &Version) -> Result<()>;
    /// Removes `status`.
    fn remove_status(&mut self) -> Result<()>;
    /// Removes exactly this upload of `success`; a newer one stays.
    fn remove_success(&mut self, success: &Success) -> Result<()>;
    /// Puts back a `success` that a script's check has removed, unless another one is there;
    /// returns its identity.
    fn restore_success(&mut self, content: &[u8]) -> Result<Option<String>>;
    /// Tells the history what it was not told yet. A failure is complained of, and returned.
    fn tell(&mut self, lines: &[Told]) -> Result<()>;
    /// The member list.
    fn list(&mut self) -> List;
    /// What the members do about the announced version.
    fn fleet(&mut self, state: &State, announced: &Announced) -> Fleet;
    /// The announcement that each member's last report names.
    fn seen_by_members(&mut self) -> Result<Vec<(Address, Numbers)>>;
    /// Whether members can fetch the announcement, where that matters. Fails where they cannot.
    fn sight(&mut self) -> Result<Sight>;
    /// The versions in `plugin/`.
    fn present(&mut self) -> Result<Vec<Version>>;
    /// Reads a version in its place, and writes its manifest, if it has none.
    fn seal(&mut self, version: &Version) -> Result<Option<Digest>>;
    /// Whether a script that began an upgrade wrote nothing for so long that it is dead.
    fn script_is_dead(&mut self, begun: Option<&Version>) -> Result<bool>;
    /// Whether the upload still holds what was published as this version.
    fn upload_is(&mut self, version: &Version) -> Result<bool>;
    /// Whether nothing was written to the upload since this `success` arrived.
    fn upload_is_untouched(&mut self, identity: &str) -> Result<bool>;
    /// The bad version whose content the upload has; `None` where it has none's.
    fn bad_content(&mut self, state: &State, version: &Version) -> Result<Option<Version>>;
    /// Fails where the upload is not fit to be published as this version. `is_begun`: an earlier
    /// run began to.
    fn check_upload(
        &mut self,
        target: &Target,
        version: &Version,
        success: &Success,
        is_begun: bool,
    ) -> Result<()>;
    /// Copies the upload beside the version's place, checks it, and lets the site's own program
    /// look at it.
    fn copy(&mut self, version: &Version, success: &Success, is_begun: bool) -> Result<Copied>;
    /// Renames a whole copy to its place; the digest of its manifest.
    fn place(&mut self, version: &Version) -> Result<Option<Digest>>;
    /// Deletes a copy that never came to be a version.
    fn discard_copy(&mut self, version: &Version) -> Result<()>;
    /// Tells the site's own program that a rollout failed.
    fn on_failure(&mut self, version: &Version, why: &str);
    /// The versions that are whole in their place: the first of these, in their order. Fails where
    /// none is.
    fn first_whole(&mut self, target: &Target, versions: &[Version]) -> Result<Version>;
    /// What every report names.
    fn reported(&mut self) -> Result<Vec<Version>>;
    /// Deletes versions.
    fn delete(&mut self, versions: &[Version]) -> Result<()>;
    /// How many old versions the member list keeps.
    fn keep(&mut self) -> Option<Keep>;
    /// A line for the log.
    fn say(&mut self, line: &str) -> Result<()>;
}

/// How a tick is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether a version that may not be announced by itself is published all the same.
    pub is_forced: bool,
    /// How many old versions are kept; `None` leaves it to the member list.
    pub keep: Option<Keep>,
}

/// One model's tick. What fails in one part does not keep the others from being done; the first
/// failure is returned.
pub fn tick(monitor: &mut dyn Monitor, target: &Target, manner: Manner) -> Result<()> {
    let mut run = Run::begin(monitor, &target.model)?;
    let reconciled = run.reconcile(Some(target)).and_then(|others| {
        run.mend_announcement()?;
        Ok(others)
    });
    let (updated, advanced) = match reconciled {
        Ok(Others::AtWork) => (Ok(()), Ok(())),
        Ok(Others::Done) => (run.update(target, manner), run.advance(manner)),
        Err(error) => (Err(error), Ok(())),
    };
    run.monitor.unlock();
    updated.and(advanced)
}

/// An operator's hand in a rollout. Members are asked before the lock is taken; a tick may have
/// announced another version by then, of which the operator has said nothing.
pub fn steer(monitor: &mut dyn Monitor, model: &ModelName, verb: Steer, reason: &str) -> Result<()> {
    let asked = monitor.load()?;
    let spoken_of = asked.as_ref().and_then(|state| state.announced.as_ref());
    let fleet = match (&asked, spoken_of) {
        (Some(state), Some(announced)) => monitor.fleet(state, announced),
        (_, _) => Fleet::NoList,
    };
    let spoken_of = spoken_of.map(|announced| announced.version().clone());
    command(monitor, model, |run| {
        let announced = run.state.announced.as_ref().map(|announced| announced.version().clone());
        if let (Some(spoken_of), Some(announced)) = (&spoken_of, &announced)
            && spoken_of != announced
        {
            return Err(Error::failed(format!(
                "{model}: {announced} was announced in this moment, and not {spoken_of} any more; nothing was done: see \
                 dispatch --status {model}, and say it again if you mean {announced}"
            )));
        }
        let outcome = command::steer(&run.state, &fleet, verb).map_err(Error::failed)?;
        let actor = run.operator(reason);
        run.commit(&outcome.events, &actor)?;
        run.say(&outcome.lines)
    })
}

/// A rollback or a pin, as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it goes.
    pub aim: command::Aim,
    /// Whether it may be a version that is neither confirmed nor good.
    pub is_forced: bool,
    /// Why.
    pub reason: String,
}

/// Announces a version again, at once and to all.
pub fn roll_back(monitor: &mut dyn Monitor, model: &ModelName, request: &Request) -> Result<()> {
    let spoken_of = spoken_of(monitor)?;
    command(monitor, model, |run| {
        let actor = run.operator(&request.reason);
        run.announce_again(request, spoken_of.clone(), &actor, Vec::new())
    })
}

/// The version that is announced at this moment. A script, or a person, may have announced it, of
/// which the state knows nothing yet.
fn spoken_of(monitor: &mut dyn Monitor) -> Result<Option<Version>> {
    let named = monitor.seen()?.named();
    let Some(state) = monitor.load()? else { return Ok(named) };
    let is_known = |version: &Version| state.release(version).is_some();
    let named = match named {
        // Whatever service.conf says still, or was never published here.
        Some(version) if !state.settled || !is_known(&version) && !monitor.present()?.contains(&version) => {
            None
        }
        named => named,
    };
    Ok(named.or(state.announced.map(|announced| announced.offer.version)))
}

/// What is pushed goes on.
pub fn unpin(monitor: &mut dyn Monitor, model: &ModelName, reason: &str) -> Result<()> {
    command(monitor, model, |run| {
        let said = match &run.state.pin {
            None => return run.say(&[format!("{model} is not pinned")]),
            Some(_) => {
                format!(
                    "{model} is not pinned any more; a push that was blocked is published by the next tick"
                )
            }
        };
        let actor = run.operator(reason);
        run.commit(&[Event::Unpinned], &actor)?;
        run.say(&[said])
    })
}

/// A person says what a version is worth.
pub fn mark(
    monitor: &mut dyn Monitor,
    model: &ModelName,
    version: &Version,
    worth: Worth,
    reason: &str,
) -> Result<()> {
    command(monitor, model, |run| {
        let is_known = run.state.release(version).is_some();
        if !is_known && !run.monitor.present()?.contains(version) {
            return Err(Error::failed(format!("{model}: there is no version {version} in plugin/")));
        }
        let manifest = if is_known { None } else { run.monitor.seal(version)? };
        let actor = run.operator(reason);
        let mut events = Vec::new();
        if !is_known {
            events.push(Event::Published { version: version.clone(), manifest, is_push: false });
        }
        events.push(Event::Marked { version: version.clone(), worth });
        run.commit(&events, &actor)?;
        run.say(&[format!("{model}: {version} is {} {}", worth.words(), actor.mark())])
    })
}

/// A restored monitor is meant so: its numbers begin anew above all that members have seen.
pub fn adopt(monitor: &mut dyn Monitor, model: &ModelName, reason: &str) -> Result<()> {
    command(monitor, model, |run| {
        let seen = run.monitor.seen_by_members()?;
        let highest = seen.iter().map(|(_, numbers)| numbers.epoch).max().unwrap_or(0);
        let epoch = run.monitor.now_s().max(highest + 1).max(run.state.epoch + 1);
        let actor = run.operator(reason);
        run.commit(&[Event::Adopted { epoch }], &actor)?;
        let version = run
            .state
            .announced
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |announced| announced.version().to_string());
        run.say(&[format!("{model}: adopted; members follow {version} again")])
    })
}

/// Makes a state that is lost or damaged anew: from the versions that are there, from service.conf,
/// and from what members report. What the versions went through is lost; those that were marked bad
/// are not known to be any more.
pub fn rebuild(monitor: &mut dyn Monitor, model: &ModelName) -> Result<()> {
    monitor.lock()?;
    let rebuilt = rebuilt(monitor, model);
    monitor.unlock();
    rebuilt
}

fn rebuilt(monitor: &mut dyn Monitor, model: &ModelName) -> Result<()> {
    let highest = monitor.seen_by_members()?.into_iter().map(|(_, numbers)| numbers.epoch).max();
    let epoch = monitor.now_s().max(highest.unwrap_or(0) + 1);
    let mut run = Run { state: State::new(model.clone(), epoch), monitor, has_lost_lock: false };
    let mut versions = run.monitor.present()?;
    versions.sort();
    let mut events = Vec::new();
    for version in &versions {
        let manifest = run.monitor.seal(version)?;
        events.push(Event::Published { version: version.clone(), manifest, is_push: false });
    }
    let actor = run.operator("the state was made anew");
    run.commit(&events, &actor)?;
    let seen = run.monitor.seen()?;
    if let Some(named) = seen.named().filter(|named| versions.contains(named)) {
        run.by_script(named, &seen, None)?;
        run.admit_reporters()?;
    }
    let announced = run.state.announced.as_ref().map_or_else(
        || "nothing is announced".to_owned(),
        |announced| format!("{} is announced", announced.version()),
    );
    let count = versions.len();
    let plural = if count == 1 { "version" } else { "versions" };
    run.say(&[format!(
        "{model}: made anew from {count} {plural}; {announced}; which ones were confirmed or bad is lost: dispatch --mark \
         {model} VERSION good|bad says it"
    )])
}

/// Writes down who is held now; the announcement says so at once.
pub fn hold(monitor: &mut dyn Monitor, model: &ModelName) -> Result<()> {
    if monitor.load()?.is_none() {
        return Ok(());
    }
    // Also while a script publishes: that is not changed by it.
    let mut run = Run::begin(monitor, model)?;
    let done = run.refresh_held();
    run.monitor.unlock();
    done
}

/// Carries an operator's command out, under the lock of the state.
fn command(
    monitor: &mut dyn Monitor,
    model: &ModelName,
    act: impl FnOnce(&mut Run) -> Result<()>,
) -> Result<()> {
    let mut run = Run::begin(monitor, model)?;
    let done = match run.reconcile(None) {
        Ok(Others::AtWork) => {
            Err(Error::locked(format!("{model}: a script is publishing a version; try again in a minute")))
        }
        Ok(Others::Done) => act(&mut run),
        Err(error) => Err(error),
    };
    run.monitor.unlock();
    done
}

/// What others are doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Others {
    /// Nothing that is not done.
    Done,
    /// A script publishes.
    AtWork,
}

/// A run that holds the lock of the state.
struct Run<'a> {
    monitor: &'a mut dyn Monitor,
    state: State,
    /// Whether the lock was given back and could not be taken again: nothing is written from then
    /// on.
    has_lost_lock: bool,
}

impl<'a> Run<'a> {
    fn begin(monitor: &'a mut dyn Monitor, model: &ModelName) -> Result<Run<'a>> {
        monitor.lock()?;
        let loaded = Run::load(monitor, model);
        let state = match loaded {
            Ok(state) => state,
            Err(error) => {
                monitor.unlock();
                return Err(error);
            }
        };
        let mut run = Run { monitor, state, has_lost_lock: false };
        if let Err(error) = run.settle() {
            run.monitor.unlock();
            return Err(error);
        }
        Ok(run)
    }

    fn load(monitor: &mut dyn Monitor, model: &ModelName) -> Result<State> {
        Ok(match monitor.load()? {
            Some(state) => state,
            None => State::new(model.clone(), monitor.now_s()),
        })
    }

    fn tick_itself(&self, reason: &str) -> Actor {
        Actor { by: DISPATCH.to_owned(), now_s: self.monitor.now_s(), reason: reason.to_owned() }
    }

    /// A tick that does what was asked for, in the name of the user who runs it.
    fn runner(&self) -> Actor {
        self.operator("")
    }

    fn operator(&self, reason: &str) -> Actor {
        Actor { by: self.monitor.by(), now_s: self.monitor.now_s(), reason: reason.to_owned() }
    }

    fn say(&mut self, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|line| self.monitor.say(line))
    }

    /// Makes events happen.
    fn commit(&mut self, events: &[Event], actor: &Actor) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        self.check_lock()?;
        let mut state = self.state.clone();
        events.iter().for_each(|event| state.take(event, actor));
        self.monitor.save(&state)?;
        self.state = state;
        self.settle()
    }

    fn check_lock(&self) -> Result<()> {
        match self.has_lost_lock {
            false => Ok(()),
            true => Err(Error::locked(format!("{}: another run has its state by now", self.state.model))),
        }
    }

    /// Finishes what a commit began, this run's or that of one that died.
    fn settle(&mut self) -> Result<()> {
        if self.state.settled && self.state.untold.is_empty() {
            return Ok(());
        }
        if !self.state.settled {
            self.project()?;
        }
        let untold = std::mem::take(&mut self.state.untold);
        if self.monitor.tell(&untold).is_err() {
            // A history that cannot be written holds nothing up; it is written later.
            self.state.untold = untold;
        }
        self.state.settled = true;
        self.monitor.save(&self.state)
    }

    /// Makes `success`, `status`, the announcement and service.conf say what the state says. In
    /// this order: while `success` is there without `status`, a script would publish it again.
    fn project(&mut self) -> Result<()> {
        let seen = self.monitor.seen()?;
        let own = self.state.status().cloned();
        let begun = seen.status.as_ref().and_then(|status| status.version.as_ref());
        let is_foreign = seen.status.as_ref().is_some_and(|status| match &status.version {
            Some(version) => own.as_ref() != Some(version) && self.state.marked.as_ref() != Some(version),
            // Original scripts write none.
            None => self.state.marked.is_none() && !self.state.is_in_flight(),
        });
        if let (Some(push), Some(success)) = (&self.state.push, &seen.success)
            && self.state.push_is_over()
            && push.identity == success.identity
        {
            self.monitor.remove_success(success)?;
        }
        match (&own, &seen.status) {
            // A script has begun another upgrade: the next look at what others did ends this one.
            _ if is_foreign => {}
            (Some(version), None) => {
                if !self.monitor.create_status(version)? {
                    return Ok(());
                }
            }
            (Some(version), Some(_)) if begun != Some(version) => self.monitor.write_status(version)?,
            (None, Some(_)) => self.monitor.remove_status()?,
            // A run that died may have left something beside it.
            (Some(version), Some(_)) => {
                self.monitor.create_status(version)?;
            }
            (None, None) => {}
        }
        if !is_foreign {
            self.state.marked = own;
        }
        if self.state.announced.is_some() && !is_foreign {
            self.monitor.write_announcement(&self.state.announcement())?;
            self.project_confs(&seen.confs)?;
        }
        Ok(())
    }

    /// Writes an announcement that is gone or damaged again. Members that find none follow
    /// service.conf in the end.
    fn mend_announcement(&mut self) -> Result<()> {
        match self.state.announced {
            Some(_) => self.monitor.write_announcement(&self.state.announcement()),
            None => Ok(()),
        }
    }

    fn project_confs(&mut self, confs: &ServiceConfs) -> Result<()> {
        let Some(announced) = &self.state.announced else { return Ok(()) };
        let Ok(target) = self.target_of(announced) else { return Ok(()) };
        let version = announced.version().clone();
        let mut written = ServiceConfs::new();
        for (name, Bytes(before)) in confs {
            let after = match announced.offer.service_conf.get(name) {
                Some(Bytes(after)) if after == before => after.clone(),
                _ => self.monitor.announcing(name, before, &target, &version)?,
            };
            if after != *before {
                self.monitor.write_conf(name, before, &after)?;
            }
            written.insert(name.clone(), Bytes(after));
        }
        if let Some(announced) = &mut self.state.announced
            && announced.offer.service_conf != written
            && !written.is_empty()
        {
            // Somebody edited what stands beside the three values.
            announced.offer.service_conf = written;
            self.state.announce_anew();
            self.monitor.save(&self.state)?;
            self.monitor.write_announcement(&self.state.announcement())?;
        }
        Ok(())
    }

    fn target_of(&self, announced: &Announced) -> Result<Target> {
        let so_name = SoName::parse(announced.so_name.as_bytes())?;
        Ok(Target { model: self.state.model.clone(), prefix: announced.prefix.clone(), so_name })
    }

    /// Takes the mark of a publication away that is given up. Before that is saved: afterwards a
    /// `status` with a version that the ledger does not have is a script's.
    fn unmark(&mut self, version: &Version) -> Result<()> {
        let begun = self.monitor.seen()?.status.and_then(|status| status.version);
        if begun.as_ref() == Some(version) { self.monitor.remove_status() } else { Ok(()) }
    }

    /// Takes note of what others did.
    fn reconcile(&mut self, target: Option<&Target>) -> Result<Others> {
        // Each step leaves less to be explained; a script may be at work meanwhile.
        for _ in 0..4 {
            let seen = self.monitor.seen()?;
            match reconcile::situation(&self.state, &seen) {
                Situation::AsKnown => return Ok(Others::Done),
                Situation::Edited(confs) => {
                    let runner = self.runner();
                    let by = self.monitor.editor().unwrap_or_else(|| runner.by.clone());
                    let actor = Actor { by, ..runner };
                    self.commit(&[Event::Edited(confs)], &actor)?;
                }
                Situation::ByHand(version) => self.by_hand(version, &seen, target)?,
                Situation::ByScript(version) => {
                    if !self.by_script(version, &seen, target)? {
                        // Of a `status` that is there all the same, a script is at work, or died.
                        match &seen.status {
                            Some(status) if self.state.status().is_none() => {
                                if self.script_is_at_work(status.version.clone(), &seen)? {
                                    return Ok(Others::AtWork);
                                }
                            }
                            Some(_) | None => return Ok(Others::Done),
                        }
                    }
                }
                Situation::ScriptAtWork(begun) => {
                    if self.script_is_at_work(begun, &seen)? {
                        return Ok(Others::AtWork);
                    }
                }
                Situation::EndedByScript => {
                    let Some(announced) = self.state.announced.clone() else { return Ok(Others::Done) };
                    let fleet = self.monitor.fleet(&self.state, &announced);
                    let Some(ending) = reconcile::ended_by_script(&self.state, &fleet) else {
                        return Ok(Others::Done);
                    };
                    let actor = self.tick_itself("a script removed status");
                    self.commit(&[Event::Ended(ending)], &actor)?;
                }
                Situation::ScriptWasQuicker => {
                    let actor = self.tick_itself("");
                    self.commit(&[Event::GaveUp], &actor)?;
                }
            }
        }
        Ok(Others::AtWork)
    }

    /// Whether a script that has begun a publication is alive. The `status` of a dead one stays
    /// there for ever, and hides what others did: it is removed.
    fn script_is_at_work(&mut self, begun: Option<Version>, seen: &Seen) -> Result<bool> {
        if !self.monitor.script_is_dead(begun.as_ref())? {
            return Ok(true);
        }
        let announces = seen.success.as_ref().and_then(|success| success.announces.clone());
        let actor = self.tick_itself("");
        self.commit(&[Event::ScriptDied { version: begun.or(announces) }], &actor)?;
        self.monitor.remove_status()?;
        Ok(false)
    }

    fn by_hand(&mut self, version: Version, seen: &Seen, target: Option<&Target>) -> Result<()> {
        if !self.monitor.present()?.contains(&version) {
            return Err(self.not_there(&version));
        }
        let manifest = self.state.release(&version).and_then(|release| release.manifest);
        let announcing = Announcing {
            leaves: Some(Worth::Left),
            ..self.as_found(version, manifest, Origin::Hand, Phase::Done, seen, target)
        };
        let runner = self.runner();
        let by = self.monitor.editor().unwrap_or_else(|| runner.by.clone());
        let actor = Actor { by, reason: "service.conf was edited by hand".to_owned(), ..runner };
        self.commit(&[Event::Announced(Box::new(announcing))], &actor)
    }

    /// Who was admitted is lost with the state: only members that report the version are, unless
    /// they are enough to confirm it.
    fn admit_reporters(&mut self) -> Result<()> {
        let Some(announced) = self.state.announced.clone().filter(|announced| !announced.is_confirmed) else {
            return Ok(());
        };
        let reason = "the state was made anew, and who was admitted is lost";
        let fleet = self.monitor.fleet(&self.state, &announced);
        let Some(ending) =
            reconcile::ended_by_script(&self.state, &fleet).filter(|ending| !ending.confirms())
        else {
            return Ok(());
        };
        let admission = Admission::Members(ending.reported.clone());
        let ending = Ending { phase: Phase::TimedOut, admission, late: Vec::new(), ..ending };
        let actor = self.tick_itself(reason);
        self.commit(&[Event::Ended(ending)], &actor)
    }

    /// Returns whether there was such a version.
    fn by_script(&mut self, version: Version, seen: &Seen, target: Option<&Target>) -> Result<bool> {
        if !self.monitor.present()?.contains(&version) {
            return match &self.state.announced {
                // A template's, or whatever was there before the first push.
                None => Ok(false),
                Some(_) => Err(self.not_there(&version)),
            };
        }
        let is_first = self.state.announced.is_none() && self.state.ledger.is_empty();
        let phase = if seen.status.is_some() { Phase::Running } else { Phase::Done };
        let (origin, manifest) = if is_first && phase == Phase::Done {
            (Origin::Import, None)
        } else {
            // All of it is read: nobody has to wait for that.
            let before = self.state.events;
            self.monitor.unlock();
            let manifest = self.monitor.seal(&version);
            self.lock_again()?;
            if self.state.events != before || self.monitor.seen()?.confs != seen.confs {
                // Another run took note of it meanwhile, or there is something else to note now.
                return Ok(true);
            }
            (Origin::Script, manifest?)
        };
        let mut events = Vec::new();
        if let Some(success) = &seen.success
            && phase == Phase::Running
            && success.announces.as_ref().is_none_or(|announces| *announces == version)
            && self.monitor.upload_is(&version)?
        {
            // Its `success` is what the script published.
            if self.state.push.as_ref().is_none_or(|push| push.identity != success.identity) {
                events.push(Event::Pushed(success.push(Fate::Waits)));
            }
            events.push(Event::Published { version: version.clone(), manifest, is_push: true });
        }
        let announcing = self.as_found(version, manifest, origin, phase, seen, target);
        events.push(Event::Announced(Box::new(announcing)));
        let actor = self.runner();
        self.commit(&events, &actor)?;
        if phase == Phase::Done
            && let Some(announced) = self.state.announced.clone()
        {
            // Members that have it confirm it.
            let fleet = self.monitor.fleet(&self.state, &announced);
            if let Some(ending) = reconcile::ended_by_script(&self.state, &fleet)
                && ending.confirms()
            {
                let ending = Ending { phase: Phase::Done, late: Vec::new(), ..ending };
                self.commit(&[Event::Ended(ending)], &actor)?;
            }
        }
        Ok(true)
    }

    fn not_there(&self, version: &Version) -> Error {
        let model = &self.state.model;
        Error::failed(format!(
            "{model}: service.conf names {version}, which is not in plugin/; correct its moduleversion by hand, or push"
        ))
    }

    fn as_found(
        &self,
        version: Version,
        manifest: Option<Digest>,
        origin: Origin,
        phase: Phase,
        seen: &Seen,
        target: Option<&Target>,
    ) -> Announcing {
        let named = seen.confs.values().next().and_then(|conf| {
            let named = crate::formats::service_conf::announced(&conf.0)?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some((text(named.prefix), text(named.so_name)))
        });
        let of_target = || target.map(|target| (target.prefix.clone(), target.so_name.to_string()));
        let (prefix, so_name) = named.or_else(of_target).unwrap_or_default();
        let before = self.before(&version);
        let offer = Offer { version, manifest, service_conf: seen.confs.clone() };
        Announcing {
            offer,
            prefix,
            so_name,
            origin,
            before,
            admission: Admission::Everybody,
            phase,
            began_s: seen.status.as_ref().map(|status| status.written_s),
            leaves: None,
            is_pinned: false,
            sight: Sight::NotNeeded,
        }
    }

    /// The trusted version that was announced before one, where its service.conf is known.
    fn before(&self, version: &Version) -> Option<Offer> {
        let announced = self.state.announced.as_ref()?;
        let offers = [Some(&announced.offer), announced.before.as_ref()];
        let is_good = |offer: &&Offer| {
            offer.version != *version && self.state.worth(&offer.version).is_some_and(Worth::is_trusted)
        };
        offers.into_iter().flatten().find(is_good).cloned()
    }

    /// fUpdateVersion: publishes an announced upload as a version.
    fn update(&mut self, target: &Target, manner: Manner) -> Result<()> {
        let updated = self.try_to_update(target, manner);
        if let Err(error) = &updated
            && !self.has_lost_lock
            && self
                .state
                .push
                .as_ref()
                .is_some_and(|push| push.fate == Fate::Waits && !push.was_refused(&error.to_string()))
        {
            let actor = self.runner();
            self.commit(&[Event::Refused { reason: error.to_string() }], &actor)?;
        }
        updated
    }

    fn try_to_update(&mut self, target: &Target, manner: Manner) -> Result<()> {
        let actor = self.runner();
        let seen = self.monitor.seen()?;
        let Some(success) = seen.success.clone() else { return self.without_success(&actor) };
        self.identify(&success, &actor)?;
        let begun = self.state.publishing.clone();
        if self.state.is_in_flight() {
            return Ok(());
        }
        let fate = self.state.push.as_ref().map_or(Fate::Waits, |push| push.fate.clone());
        if let Fate::Became(version) = &fate
            && begun.is_none()
        {
            let waits = self.state.worth(version) == Some(Worth::Published);
            if waits && !self.is_blocked(version)? {
                return self.announce_push(version, target, &actor);
            }
            if !waits && self.state.push_is_over() {
                self.monitor.remove_success(&success)?;
            }
            return Ok(());
        }
        let announces = success.announces.clone();
        let named = begun.as_ref().map(|publishing| publishing.version.clone()).or(announces);
        let named = named.or_else(|| self.state.half.clone());
        let Some(version) = named.or_else(|| self.monitor.version_of_now()) else { return Ok(()) };
        if self.is_blocked(&version)? {
            return self.leave_half(&actor);
        }
        self.check_ahead()?;
        if let Err(refused) = self.check_worth(&version, target, manner) {
            if self.state.worth(&version).is_some_and(Worth::is_spent) {
                self.leave_half(&actor)?;
            }
            if begun.is_some() {
                // Somebody spoke against it since it was begun.
                self.monitor.discard_copy(&version)?;
                self.unmark(&version)?;
                self.commit(&[Event::GaveUp], &actor)?;
            }
            return Err(refused);
        }
        let is_begun = begun.is_some() || self.state.half.as_ref() == Some(&version);
        self.monitor.check_upload(target, &version, &success, is_begun)?;
        // Before anything is copied: a list that cannot be read, a service.conf without the three
        // keys.
        self.announcing(&version, None, target, &seen.confs)?;
        if begun.is_none() {
            let began_s = self.monitor.now_s();
            let publishing = Publishing { version: version.clone(), began_s };
            self.commit(&[Event::Began(publishing)], &actor)?;
            let status = self.monitor.seen()?.status;
            if status.and_then(|status| status.version).as_ref() != Some(&version) {
                // A script was quicker.
                return self.commit(&[Event::GaveUp], &actor);
            }
        } else if seen.status.is_none() && !self.monitor.create_status(&version)? {
            return self.commit(&[Event::GaveUp], &actor);
        }
        self.publish(&version, &success, target, is_begun)
    }

    /// What a script that died wrote into service.conf stands where its publication is not done
    /// again: it is seen for itself.
    fn leave_half(&mut self, actor: &Actor) -> Result<()> {
        match self.state.half {
            Some(_) => self.commit(&[Event::ScriptDied { version: None }], actor),
            None => Ok(()),
        }
    }

    /// Copies the upload, and announces it. Whatever an operator says meanwhile comes first.
    fn publish(
        &mut self,
        version: &Version,
        success: &Success,
        target: &Target,
        is_begun: bool,
    ) -> Result<()> {
        let actor = self.runner();
        self.monitor.unlock();
        let copied = self.monitor.copy(version, success, is_begun);
        self.lock_again()?;
        match copied {
            Ok(Copied::Whole) => {}
            Ok(Copied::SuccessIsGone) => return Ok(()),
            Err(error) => {
                // What cannot be discarded now is before the next copy; why nothing was copied is
                // what counts.
                let discarded = self.monitor.discard_copy(version);
                if self.monitor.seen()?.success.is_some() {
                    self.unmark(version)?;
                    self.commit(&[Event::GaveUp], &actor)?;
                }
                drop(discarded);
                return Err(error);
            }
        }
        let manifest = self.monitor.place(version)?;
        let published = Event::Published { version: version.clone(), manifest, is_push: true };
        let status = self.monitor.seen()?.status.and_then(|status| status.version);
        if status.is_some_and(|begun| begun != *version && self.state.release(&begun).is_none()) {
            // A script has begun the next push; this version stays as it is.
            return self.commit(&[published, Event::GaveUp], &actor);
        }
        if self.state.is_in_flight() || self.state.pin.is_some() {
            self.commit(&[published], &actor)?;
            return self.say(&[format!("{}: {version} is published, and waits", target.model)]);
        }
        let confs = self.monitor.seen()?.confs;
        let announcing = self.announcing(version, manifest, target, &confs)?;
        self.commit_announcement(vec![published], announcing, &actor)
    }

    /// After the lock was given back: another run may have changed the state.
    fn lock_again(&mut self) -> Result<()> {
        self.has_lost_lock = true;
        self.monitor.lock()?;
        self.has_lost_lock = false;
        self.state = Run::load(self.monitor, &self.state.model)?;
        self.settle()
    }

    fn announce_push(&mut self, version: &Version, target: &Target, actor: &Actor) -> Result<()> {
        let confs = self.monitor.seen()?.confs;
        let manifest = self.state.release(version).and_then(|release| release.manifest);
        let announcing = self.announcing(version, manifest, target, &confs)?;
        self.commit_announcement(Vec::new(), announcing, actor)
    }

    fn commit_announcement(
        &mut self,
        mut events: Vec<Event>,
        (announcing, read, line): (Announcing, Vec<Event>, Option<String>),
        actor: &Actor,
    ) -> Result<()> {
        let said = format!("update {} to {}", self.state.model, announcing.offer.version);
        events.extend(read);
        events.push(Event::Announced(Box::new(announcing)));
        self.commit(&events, actor)?;
        self.say(&[said])?;
        self.say(line.as_slice())
    }

    /// Everything that a version's announcement says.
    fn announcing(
        &mut self,
        version: &Version,
        manifest: Option<Digest>,
        target: &Target,
        confs: &ServiceConfs,
    ) -> Result<(Announcing, Vec<Event>, Option<String>)> {
        let model = &target.model;
        if confs.is_empty() {
            return Err(Error::failed(format!(
                "{model}: there is no config_*/service.conf to announce {version} in; run add_dispatch_docker, or put \
                 the file there"
            )));
        }
        let edited = self.edited(confs, target, version)?;
        let (admission, policy, members, held, line) = match self.monitor.list() {
            List::Known { members, held, policy } => {
                let free: Vec<Address> =
                    members.iter().filter(|member| !held.contains(member)).cloned().collect();
                let admission = advance::first_batch(&free, members.len(), &policy);
                let line = match &admission {
                    Admission::Everybody => None,
                    Admission::Members(first) => {
                        let who = advance::listed(&first.iter().collect::<Vec<_>>(), |m| m.to_string());
                        let (of, first) = (free.len(), first.len());
                        let who = if who.is_empty() { "nobody".to_owned() } else { who };
                        Some(format!(
                            "{model}: {first} of {of} members may take {version} now; admitted: {who}"
                        ))
                    }
                };
                (admission, policy, members, held, line)
            }
            List::Absent { .. } if self.state.policy.is_in_batches(self.state.members.len()) => {
                return Err(Error::failed(format!(
                    "{model}: its member list is gone, by which versions go out in batches, so nothing is published; \
                     put scripts/dispatch/conf/{model}.env.sh back"
                )));
            }
            List::Absent { held } => (Admission::Everybody, Policy::default(), Vec::new(), held, None),
            List::Unknown(error) => return Err(error),
        };
        let matters = admission != Admission::Everybody || !held.is_empty();
        let sight = if matters { self.monitor.sight()? } else { Sight::NotNeeded };
        let line = match sight {
            Sight::Blind => {
                let seen = format!(
                    "{model}: whether members can fetch {model}/.rollout/announcement could not be seen: this monitor's \
                     own daemon gives neither that nor service.conf; nobody else is admitted until a report names it"
                );
                Some(line.map_or_else(|| seen.clone(), |line| format!("{line}\n{seen}")))
            }
            Sight::Seen | Sight::NotNeeded => line,
        };
        let announcing = Announcing {
            offer: Offer { version: version.clone(), manifest, service_conf: edited },
            prefix: target.prefix.clone(),
            so_name: target.so_name.to_string(),
            origin: Origin::Push,
            before: self.before(version),
            admission,
            phase: Phase::Running,
            began_s: None,
            leaves: None,
            is_pinned: false,
            sight,
        };
        let mut read = vec![Event::ListRead { policy, members }];
        if held != self.state.held {
            read.push(Event::Held(held));
        }
        Ok((announcing, read, line))
    }

    /// Every service.conf as it announces a version.
    fn edited(&self, confs: &ServiceConfs, target: &Target, version: &Version) -> Result<ServiceConfs> {
        let edit = |(name, Bytes(bytes)): (&String, &Bytes)| {
            Ok((name.clone(), Bytes(self.monitor.announcing(name, bytes, target, version)?)))
        };
        confs.iter().map(edit).collect()
    }

    /// Finds out which push `success` is.
    fn identify(&mut self, success: &Success, actor: &Actor) -> Result<()> {
        let known = self.state.push.as_ref().map(|push| reconcile::is_known(push, success));
        let is_known = match known {
            Some(Some(is_known)) => is_known,
            None => false,
            Some(None) => {
                // The same words at another place: a copy of the tree, or the same version pushed
                // again.
                let fate = self.state.push.as_ref().map(|push| push.fate.clone());
                let is_same = match fate {
                    // Of one that is over, success is gone: whatever comes is another push.
                    Some(Fate::Became(version)) => {
                        !self.state.push_is_over() && self.monitor.upload_is(&version)?
                    }
                    Some(Fate::Waits) => self.state.publishing.is_some(),
                    None => false,
                };
                if is_same {
                    let seen = Event::Seen { identity: success.identity.clone() };
                    return self.commit(&[seen], actor);
                }
                false
            }
        };
        if is_known {
            return Ok(());
        }
        let mut events = vec![Event::Pushed(success.push(Fate::Waits))];
        if let Some(publishing) = self.state.publishing.clone() {
            // The push whose publication was begun is gone.
            if success.announces.as_ref() != Some(&publishing.version) {
                self.monitor.discard_copy(&publishing.version)?;
                self.unmark(&publishing.version)?;
                events.push(Event::GaveUp);
            }
        }
        self.commit(&events, actor)
    }

    /// `success` is gone. A script's check removes it, which takes every `success` for the one
    /// whose upgrade has ended: one that was not published yet is put back, and published by the
    /// next tick. A person who removes it meanwhile cannot be told from that; what was pushed must
    /// not be lost, so that person gets a line, and removes it again. Where the upload has changed
    /// since, a push is under way that will bring its own.
    fn without_success(&mut self, actor: &Actor) -> Result<()> {
        let Some(push) = self.state.push.clone() else { return Ok(()) };
        let Some(publishing) = self.state.publishing.clone() else {
            if push.fate == Fate::Waits {
                self.commit(&[Event::PushGone], actor)?;
            }
            return Ok(());
        };
        let version = publishing.version;
        self.monitor.discard_copy(&version)?;
        self.unmark(&version)?;
        if !self.monitor.upload_is_untouched(&push.identity)? {
            self.commit(&[Event::GaveUp, Event::PushGone], actor)?;
            return self.say(&[format!(
                "gave up publishing {version}: its success was removed, and the upload has changed"
            )]);
        }
        self.commit(&[Event::GaveUp], actor)?;
        if let Some(identity) = self.monitor.restore_success(&push.content.0)? {
            self.commit(&[Event::Seen { identity }, Event::Restored], actor)?;
        }
        self.say(&[format!("put success of {version} back: it was removed before the version was published")])
    }

    /// Whether a pin blocks a push; that is said.
    fn is_blocked(&mut self, version: &Version) -> Result<bool> {
        let Some(pin) = self.state.pin.clone().filter(|_| self.state.publishing.is_none()) else {
            return Ok(false);
        };
        let model = self.state.model.clone();
        self.say(&[format!(
            "{model}: {version} waits: {} was pinned {}; dispatch --unpin {model} lets it go on",
            pin.version, pin.mark
        )])?;
        Ok(true)
    }

    /// Notes who has seen later announcements than this monitor has made.
    fn note_ahead(&mut self) -> Result<()> {
        // What members compare with; the last number given may be a version's.
        let sequence = self.state.announcement().sequence;
        let own = Numbers { epoch: self.state.epoch, sequence };
        let seen = self.monitor.seen_by_members()?;
        let ahead: Vec<Address> =
            seen.into_iter().filter(|(_, numbers)| *numbers > own).map(|(member, _)| member).collect();
        if ahead != self.state.ahead {
            let actor = self.runner();
            self.commit(&[Event::Ahead(ahead)], &actor)?;
        }
        Ok(())
    }

    /// A monitor that was restored from a backup announces nothing: members would not follow.
    fn check_ahead(&mut self) -> Result<()> {
        self.note_ahead()?;
        match advance::restored(&self.state) {
            Some(reason) => Err(Error::failed(reason)),
            None => Ok(()),
        }
    }

    /// A version that is bad is not published again, under whatever name it is pushed; one that is
    /// spent not under its own.
    fn check_worth(&mut self, version: &Version, target: &Target, manner: Manner) -> Result<()> {
        if manner.is_forced {
            return Ok(());
        }
        let Target { model, prefix, so_name } = target;
        let advice = format!(
            "nothing is published: push another one, or publish it all the same with dispatch --force {model} {prefix} \
             {so_name}"
        );
        if let Some(release) = self.state.release(version).filter(|release| release.worth.is_spent()) {
            let what = match release.worth {
                Worth::Bad => "was marked bad".to_owned(),
                worth => format!("was {}", worth.words()),
            };
            return Err(Error::failed(format!("{model}: {version} {what} {}; {advice}", release.mark)));
        }
        let Some(bad) = self.monitor.bad_content(&self.state, version)? else { return Ok(()) };
        let mark = self.state.release(&bad).map_or_else(String::new, |release| release.mark.to_string());
        Err(Error::failed(format!(
            "{model}: {version} holds the same lib/ and data/ as {bad}, which was marked bad {mark}; {advice}"
        )))
    }

    /// Announces a version again, at once and to all, after these events.
    fn announce_again(
        &mut self,
        request: &Request,
        spoken_of: Option<Version>,
        actor: &Actor,
        mut events: Vec<Event>,
    ) -> Result<()> {
        let model = self.state.model.clone();
        self.refresh_held()?;
        let present = self.monitor.present()?;
        let rollback =
            Rollback { aim: request.aim.clone(), is_forced: request.is_forced, spoken_of, present: &present };
        let candidates = command::candidates(&self.state, &rollback).map_err(Error::failed)?;
        let is_pin = matches!(request.aim, command::Aim::Pin(_));
        let seen = self.monitor.seen()?;
        let Some(target) = self.announced_target(&seen)? else {
            return Err(Error::failed(format!(
                "{model}: there is no config_*/service.conf; run add_dispatch_docker"
            )));
        };
        self.monitor.unlock();
        let whole = self.monitor.first_whole(&target, &candidates);
        self.lock_again()?;
        let to = whole?;
        // Others may have spoken while the versions were read.
        let seen = self.monitor.seen()?;
        let announced = self.state.announced.as_ref();
        if announced.is_some_and(|announced| *announced.version() == to) && seen.all_name(&to) {
            let line = match is_pin {
                true => format!("{model}: pinned {to}, which is announced already"),
                false => format!("{model}: {to} is announced already"),
            };
            if is_pin {
                self.commit(&[Event::Pinned], actor)?;
            }
            return self.say(&[line]);
        }
        if !command::candidates(&self.state, &rollback).map_err(Error::failed)?.contains(&to) {
            return Err(Error::failed(format!(
                "{model}: somebody else has spoken about {to} meanwhile; try again"
            )));
        }
        let leaving = command::leaving(&self.state, &rollback, &to);
        events.extend(leaving.bad.map(|version| Event::Marked { version, worth: Worth::Bad }));
        if let Some(publishing) = self.state.publishing.clone()
            && seen.success.is_none()
        {
            self.monitor.discard_copy(&publishing.version)?;
            self.unmark(&publishing.version)?;
            events.push(Event::GaveUp);
        }
        let confs = self.edited(&seen.confs, &target, &to)?;
        // What a script published has no manifest by which the same content could be refused.
        let manifest = match self.state.release(&to).and_then(|release| release.manifest) {
            Some(manifest) => Some(manifest),
            None => self.monitor.seal(&to)?,
        };
        let announcing = Announcing {
            offer: Offer { version: to.clone(), manifest, service_conf: confs },
            prefix: target.prefix.clone(),
            so_name: target.so_name.to_string(),
            origin: if is_pin { Origin::Pin } else { Origin::Rollback },
            before: self.before(&to),
            admission: Admission::Everybody,
            phase: Phase::Running,
            began_s: None,
            leaves: leaving.announced,
            is_pinned: is_pin,
            sight: Sight::NotNeeded,
        };
        let left = self.state.announced.as_ref().map(|announced| announced.version().clone());
        events.push(Event::Announced(Box::new(announcing)));
        self.commit(&events, actor)?;
        let line = match (is_pin, left.filter(|left| self.state.worth(left) == Some(Worth::Bad))) {
            (true, _) => format!("{model}: pinned {to}; what is pushed waits until dispatch --unpin {model}"),
            (false, Some(bad)) => {
                format!("{model}: rolled back to {to}; {bad} is marked bad {}", actor.mark())
            }
            (false, None) => format!("{model}: announced {to} again"),
        };
        self.say(&[line])
    }

    /// PREFIXPATH and SONAME, as the announcement before has them: members have followed that.
    fn announced_target(&self, seen: &Seen) -> Result<Option<Target>> {
        if let Some(announced) = &self.state.announced
            && let Ok(target) = self.target_of(announced)
        {
            return Ok(Some(target));
        }
        let Some((name, conf)) = seen.confs.iter().next() else { return Ok(None) };
        match crate::formats::service_conf::announced(&conf.0) {
            Some(named) => Ok(Some(Target {
                model: self.state.model.clone(),
                prefix: String::from_utf8_lossy(named.prefix).into_owned(),
                so_name: SoName::parse(named.so_name)?,
            })),
            None => Err(Error::usage(format!(
                "{name}/service.conf: modulepath is not PREFIXPATH/<moduleversion>/lib/SONAME; correct it by hand first"
            ))),
        }
    }

    /// fCheckVersion: how the rollout in flight goes on.
    fn advance(&mut self, manner: Manner) -> Result<()> {
        self.check_lock()?;
        if self.state.announced.is_none() {
            return Ok(());
        }
        self.refresh_held()?;
        self.note_ahead()?;
        let Some(announced) = self.state.announced.clone() else { return Ok(()) };
        if !announced.phase.is_in_flight() && announced.phase != Phase::Trailing {
            return Ok(());
        }
        if announced.is_blind() && self.monitor.sight().is_ok_and(|sight| sight == Sight::Seen) {
            let actor = self.tick_itself("");
            self.commit(&[Event::Sighted(Sight::Seen)], &actor)?;
        }
        let before = self.state.events;
        self.monitor.unlock();
        let fleet = self.monitor.fleet(&self.state, &announced);
        let outcome = advance::advance(&self.state, &fleet, self.monitor.now_s());
        if let Some(why) = &outcome.on_failure {
            // Before it is ended: after a run that dies over it, it runs again rather than never.
            self.monitor.on_failure(announced.version(), why);
        }
        self.lock_again()?;
        if self.state.events != before {
            // An operator spoke meanwhile: the next tick goes by that.
            return Ok(());
        }
        self.note_list(&fleet)?;
        self.carry_out(outcome, manner)
    }

    fn carry_out(&mut self, outcome: Outcome, manner: Manner) -> Result<()> {
        if let Some(why) = &outcome.roll_back {
            let rolled_back = self.roll_back_itself(why, outcome.events.clone());
            return match rolled_back {
                Ok(()) => Err(Error::failed(format!("{}: rolled back: {why}", self.state.model))),
                Err(problem) => {
                    let actor = self.tick_itself(why);
                    self.commit(&outcome.events, &actor)?;
                    let failure = outcome.failure.map_or_else(String::new, |failure| failure.to_string());
                    Err(Error::failed(format!("{failure}; nor could it be rolled back: {problem}")))
                }
            };
        }
        let reason = outcome.on_failure.clone().unwrap_or_default();
        let actor = self.tick_itself(&reason);
        self.commit(&outcome.events, &actor)?;
        self.say(&outcome.lines)?;
        if outcome.is_complete {
            self.prune(manner.keep, false)?;
        }
        outcome.failure.map_or(Ok(()), Err)
    }

    fn roll_back_itself(&mut self, why: &str, ended: Vec<Event>) -> Result<()> {
        /// In characters: enough to say who.
        const LONGEST: usize = 240;
        let reason: String = why.chars().take(LONGEST).collect();
        let actor = self.tick_itself(&reason);
        let request = Request { aim: command::Aim::Back, is_forced: false, reason };
        self.announce_again(&request, None, &actor, ended)
    }

    fn note_list(&mut self, fleet: &Fleet) -> Result<()> {
        let Fleet::Known { members, policy } = fleet else { return Ok(()) };
        let members: Vec<Address> = members.iter().map(|member| member.address.clone()).collect();
        if members == self.state.members && *policy == self.state.policy {
            return Ok(());
        }
        let actor = self.tick_itself("");
        self.commit(&[Event::ListRead { policy: policy.clone(), members }], &actor)
    }

    /// Who is held, by this monitor's clock. Where that cannot be read, the last that could be read
    /// stands.
    fn refresh_held(&mut self) -> Result<()> {
        let held = match self.monitor.list() {
            List::Known { held, .. } | List::Absent { held } => held,
            List::Unknown(_) => return Ok(()),
        };
        if held == self.state.held {
            return Ok(());
        }
        let actor = self.tick_itself("");
        self.commit(&[Event::Held(held)], &actor)
    }

    /// Deletes old versions. Where that was asked for, it is said why none goes.
    fn prune(&mut self, keep: Option<Keep>, is_asked_for: bool) -> Result<()> {
        let Some(keep) = keep.or_else(|| self.monitor.keep()) else { return Ok(()) };
        let model = self.state.model.clone();
        let expendable = self.expendable(keep);
        match expendable.map_err(|error| error.context(format!("{model}: no old version was deleted")))? {
            retention::Verdict::Go(versions) if versions.is_empty() => {
                if is_asked_for {
                    self.say(&[format!("{model}: there is nothing to delete")])?;
                }
            }
            retention::Verdict::Go(versions) => {
                let actor = self.runner();
                self.commit(&[Event::Deleted(versions.clone())], &actor)?;
                // Under the lock: a rollback must not choose what is being deleted.
                self.monitor.delete(&versions)?;
            }
            retention::Verdict::NoneIsTrusted => {
                let present = self.monitor.present()?;
                if is_asked_for || present.len() > keep.count() {
                    let count = present.len();
                    self.say(&[format!(
                        "{model}: no old version is deleted, though {count} are there: none was ever confirmed, so any of \
                         them may be the only one that works; dispatch --mark {model} VERSION good says which is"
                    )])?;
                }
            }
        }
        Ok(())
    }

    fn expendable(&mut self, keep: Keep) -> Result<retention::Verdict> {
        let (present, reported) = (self.monitor.present()?, self.monitor.reported()?);
        let seen = self.monitor.seen()?;
        let named: Vec<Version> = seen
            .confs
            .values()
            .filter_map(|conf| {
                Version::of_directory(crate::formats::service_conf::value(&conf.0, "moduleversion")?).ok()
            })
            .collect();
        let of_success = seen.success.and_then(|success| success.announces);
        let of_status = seen.status.and_then(|status| status.version);
        let pushed: Vec<Version> = of_success.into_iter().chain(of_status).collect();
        let versions = Versions { present: &present, named: &named, reported: &reported, pushed: &pushed };
        Ok(retention::expendable(&self.state, &versions, keep))
    }
}

/// Deletes now what a tick deletes when a rollout has ended.
pub fn prune(monitor: &mut dyn Monitor, model: &ModelName, keep: Keep) -> Result<()> {
    command(monitor, model, |run| run.prune(Some(keep), true))
}

/// What that would delete, on a monitor that only shows what it would do.
pub fn would_prune(monitor: &mut dyn Monitor, model: &ModelName, keep: Keep) -> Result<retention::Verdict> {
    let mut verdict = retention::Verdict::NoneIsTrusted;
    command(monitor, model, |run| {
        verdict = run.expendable(keep)?;
        Ok(())
    })?;
    Ok(verdict)
}
