//! Carries the steps of a poll out, in order; the first failure ends it, and the state says where
//! the next one goes on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Error, Result, one_line};
use crate::formats::manifest::{Manifest, More};
use crate::formats::member_state::Word;
use crate::layout::{MANIFESTS, Member, SERVICE_MODULE};
use crate::machine::files::{self, MANIFEST_LIMIT};
use crate::machine::links::{self, Taken};
use crate::machine::processes::{self, CommandLine};
use crate::machine::rsync::{self, Limits, Remote, Transfer};
use crate::machine::{clock, service, terminal, trees, versions};
use crate::retention;
use crate::tools::hooks::{self, Hook, Told};
use crate::tools::service_polling::decide::{Action, Plan};
use crate::tools::service_polling::observe::{Health, Settings};
use crate::tools::service_polling::session::Session;
use crate::tools::service_polling::tell;
use crate::version::Version;

/// How often a `service_start` that stays in the foreground is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a service may go on to answer when `service_stop` has ended.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long `service_stop` and `service_start` may take, each.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// How long a service may take to come up until this member reports that it is updating.
const SLOW: Duration = Duration::from_secs(5);

/// A version of so many bytes takes a while to fetch and to load: the monitor is told at once that
/// this member is updating. For a small one that would be a connection more than the upgrade itself
/// needs.
const LARGE_BYTES: u64 = 16 << 20;

/// What a fetch leaves free on the file system, at most, and as a part of it: the service's logs
/// are there, too.
const RESERVE_BYTES: u64 = 64 << 20;
/// One in so many bytes of the file system.
const RESERVE_PART: u64 = 100;

/// Carries a plan out. When the service does not come up, the service.conf before is put back; the
/// poll fails all the same.
pub fn apply(plan: &Plan, poll: &mut Session) -> Result<()> {
    poll.attempt = plan.attempt;
    poll.brings_up = plan.brings_up().cloned();
    for (step, action) in plan.steps.iter().enumerate() {
        let Err(error) = act(action, poll) else { continue };
        poll.brings_up = None;
        let is_about_service = matches!(action, Action::Start | Action::AwaitService);
        let (word, error) = if is_about_service && !plan.roll_back.is_empty() {
            roll_back(plan, error, poll)
        } else {
            (plan.word_of_failure(step), error)
        };
        if let (Some(word), Some(version)) = (word, &plan.about) {
            let why = error.to_string();
            let has_hook = !matches!(hooks::program(&poll.member.hooks(), Hook::OnFailure), Ok(None));
            if word == Word::NotRestarted && has_hook {
                tell::tell_hook_once(version, &why, poll, |poll| {
                    complain_of(run_hook(Hook::OnFailure, version, &why, poll));
                });
            }
            tell::tell(word, version, &why, poll);
        }
        return Err(error);
    }
    Ok(())
}

/// Puts the service.conf before back; the poll's failure, and what the monitor is told of it.
fn roll_back(plan: &Plan, error: Error, poll: &mut Session) -> (Option<Word>, Error) {
    match plan.roll_back.iter().try_for_each(|action| act(action, poll)) {
        Ok(()) => {
            plan.tidy.iter().for_each(|action| complain_of(act(action, poll)));
            let error = Error::with_exit(error.exit, format!("{error}; the version before was put back"));
            (Some(Word::RolledBack), error)
        }
        Err(second) => {
            let error = second.context(format!("{error}; nor could the version before be put back"));
            (Some(Word::NotRestarted), error)
        }
    }
}

fn act(action: &Action, poll: &mut Session) -> Result<()> {
    log::debug!("{action:?}");
    let Session { member, settings, .. } = *poll;
    match action {
        Action::FetchVersion { version, similar, manifest } => fetch(version, similar, *manifest, poll),
        Action::PreRestart(version) => run_hook(Hook::PreRestart, version, "", poll),
        Action::PostRestart(version) => {
            // The service came up: when it is down again, that is another failure. It is saved
            // with the step that follows.
            poll.state.on_failure = None;
            complain_of(run_hook(Hook::PostRestart, version, "", poll));
            Ok(())
        }
        Action::OnFailure(version) => {
            let why = "the service did not come up, and the version before was put back";
            complain_of(run_hook(Hook::OnFailure, version, why, poll));
            poll.state.on_failure = None;
            Ok(())
        }
        Action::Save(change) => {
            poll.state.change(change);
            poll.save()
        }
        // legacy: service_polling.sh, `cat "$fetched" > "$installed"` writes through a link
        Action::Install(bytes) => files::replace_atomically(&files::followed(&member.service_conf()), bytes),
        Action::Stop => {
            // A service that was not running cannot be stopped: that is not this poll's failure.
            if let Err(error) = command("service_stop", &settings.stop, settings) {
                terminal::complain(super::PROGRAM, format!("{error}; starting the service all the same"));
            }
            await_silence(settings);
            Ok(())
        }
        Action::Start => start(poll).map_err(|e| e.context("the service was not started: service_start")),
        Action::AwaitService => await_service(poll),
        Action::Tell(word, version) => {
            tell::tell(*word, version, "", poll);
            Ok(())
        }
        Action::Report(version) => tell::report(version, poll),
        Action::DeleteVersions(versions) => {
            let dir = member.versions(&settings.model);
            let bytes = versions::discard(&dir, versions)?;
            versions::delete_discarded(&dir)?;
            terminal::report(one_line(&format!(
                "{}: {}",
                settings.model,
                retention::deleted(versions, bytes)
            )));
            Ok(())
        }
        Action::Say(line) => {
            terminal::report(format!("{}: {}", settings.model, one_line(line)));
            Ok(())
        }
    }
}

fn run_hook(hook: Hook, version: &Version, error: &str, poll: &Session) -> Result<()> {
    let Session { member, settings, .. } = *poll;
    let directory = member.versions(&settings.model).join(version);
    hooks::run(&member.hooks(), hook, &Told { model: &settings.model, version, directory, error })
}

/// Of what can stop nothing any more: a hook, tidying up.
fn complain_of(done: Result<()>) {
    if let Err(error) = done {
        terminal::complain(super::PROGRAM, error);
    }
}

/// Runs `service_start` until it ends; where it stays in the foreground, as the service itself,
/// until that answers.
fn start(poll: &mut Session) -> Result<()> {
    let settings = poll.settings;
    if settings.start.is_empty() {
        return Ok(());
    }
    let limit = settings.health.map_or(COMMAND_LIMIT, |health| health.limit.duration());
    let mut running = CommandLine::start(&settings.start, &settings.exported)?;
    let asked = clock::Stopwatch::start();
    while !running.has_ended()? {
        if settings.health.is_some_and(|health| service::answers(&settings.address, health.port)) {
            return Ok(());
        }
        if asked.elapsed() >= limit {
            // Where its port is not known, nobody can tell that it did not come up.
            if settings.health.is_some() {
                running.kill();
                let limit = limit.as_secs();
                return Err(Error::failed(format!(
                    "it was still running after {limit} s, and the service did not answer"
                )));
            }
            return Ok(());
        }
        if asked.elapsed() >= SLOW {
            tell_of_slow_start(poll);
        }
        clock::pause(PAUSE);
    }
    Ok(())
}

/// Tells the monitor, once, that this member is updating.
fn tell_of_slow_start(poll: &mut Session) {
    if let Some(version) = poll.brings_up.take() {
        tell::tell(Word::Updating, &version, "", poll);
    }
}

/// A service that accepts no connections did not come up (defect 16).
fn await_service(poll: &mut Session) -> Result<()> {
    let Some(Health { port, limit }) = poll.settings.health else { return Ok(()) };
    let address = &poll.settings.address;
    let soon = limit.duration().min(SLOW);
    if service::answers_within(address, port, soon) {
        return Ok(());
    }
    let later = limit.duration().saturating_sub(soon);
    if !later.is_zero() {
        tell_of_slow_start(poll);
        if service::answers_within(address, port, later) {
            return Ok(());
        }
    }
    Err(Error::failed(format!(
        "the service does not answer on {address}:{port} after {limit}; see its log, or set service_timeout in env.sh"
    )))
}

/// Waits until the stopped service accepts no connections any more: otherwise it would be taken for
/// the one that is started.
fn await_silence(settings: &Settings) {
    let Some(Health { port, .. }) = settings.health.filter(|_| !settings.stop.is_empty()) else { return };
    if !service::falls_silent_within(&settings.address, port, STOP_LIMIT) {
        let (address, limit) = (&settings.address, STOP_LIMIT.as_secs());
        terminal::complain(
            super::PROGRAM,
            format!(
                "{address}:{port} still answers {limit} s after service_stop; starting the service all the same, but whether \
                 it came up cannot be told from that"
            ),
        );
    }
}

fn command(name: &str, line: &OsStr, settings: &Settings) -> Result<()> {
    if line.is_empty() {
        return Ok(());
    }
    processes::run_command_line(line, &settings.exported, COMMAND_LIMIT).map_err(|e| e.context(name))
}

/// Fetches a version beside its place, and renames it there when it is complete (defects 11, 23,
/// 26). A directory of that name that holds something else is half a version which a script left:
/// it is exchanged as a whole, so that no file that a running service has mapped is written to.
fn fetch(version: &Version, similar: &[Version], manifest: Option<Digest>, poll: &mut Session) -> Result<()> {
    let Session { member, settings, .. } = *poll;
    let dir = files::followed(&member.versions(&settings.model));
    let (place, staging) = (dir.join(version), dir.join(format!("{STAGING}{version}")));
    files::create_directories(&dir)?;
    discard_unfinished(&dir)?;
    files::create_new_directory(&staging)?;
    let mode = files::mode(&staging)?;
    let arriving = Arriving {
        version,
        manifest,
        similar: similar.iter().map(|v| dir.join(v)).filter(|dir| files::is_directory(dir)).collect(),
        umask: !mode & 0o777,
        partial: dir.join(format!("{STAGING}partial")),
        staging: &staging,
    };
    // Half a version would fill the disk until the next poll; where it cannot be removed now, that
    // one does it.
    arrive(&arriving, poll).inspect_err(|_| drop(discard_unfinished(&dir)))?;
    files::remove_tree(&arriving.partial)?;
    // rsync gave it the one that it has on the monitor; the script's is a directory that was made
    // here.
    files::set_mode(&staging, mode)?;
    if files::facts(&place)?.is_none() {
        trees::make_durable(&staging)?;
        return files::rename(&staging, &place);
    }
    if trees::same_content(&staging, &place)? {
        return files::remove_tree(&staging);
    }
    trees::make_durable(&staging)?;
    versions::set_aside(&dir, version)?;
    files::rename(&staging, &place)?;
    versions::delete_discarded(&dir)
}

/// What the name of a version begins with while it is fetched, and of the part of a file that a cut
/// connection left.
const STAGING: &str = ".staging-";

/// A version on its way.
struct Arriving<'a> {
    version: &'a Version,
    /// The digest of its manifest, where the announcement names it.
    manifest: Option<Digest>,
    /// Directories of versions that may hold much of it.
    similar: Vec<PathBuf>,
    /// The permissions that no file gets here, as the staging directory shows.
    umask: u32,
    /// Where a file is kept in which the connection was lost.
    partial: PathBuf,
    /// Where the version is put together.
    staging: &'a Path,
}

/// Puts a version together in its staging directory, and checks it. What the manifest names and
/// this member has is not fetched again; of the other files only what differs from those of the
/// same name.
fn arrive(arriving: &Arriving, poll: &mut Session) -> Result<()> {
    let Session { member, settings, .. } = *poll;
    let Arriving { version, manifest, similar, umask, partial, staging } = arriving;
    let manifest = read_manifest(version, *manifest, member, settings)?;
    let take_over = || manifest.as_ref().map(|wanted| links::take_over(&wanted.files, similar, staging));
    let news =
        if is_long(manifest.as_ref(), poll) { tell::note(Word::Updating, version, "", poll) } else { None };
    // Before the next connection, since a daemon may allow one at a time.
    let sender = &*poll;
    let send = || {
        let sent = news.as_ref().map(|state| tell::send_state(state, sender));
        if let Some(Err(error)) = sent {
            log::debug!("the monitor was not told that this member is updating: {error}");
        }
    };
    let taken = processes::meanwhile(send, take_over).unwrap_or_default();
    if let Some(manifest) = &manifest {
        check_room(manifest, &taken, staging)?;
    }
    let fetched = Transfer::FetchDirectory {
        from: Remote { module: SERVICE_MODULE, path: format!("{}/plugin/{version}/", settings.model) },
        to: staging.to_path_buf(),
        similar: similar.clone(),
        umask: *umask,
        partial: partial.clone(),
    };
    if rsync::run_if_exists(&settings.daemon, &fetched, Limits::MODEL)?.is_none() {
        return Err(Error::failed(format!(
            "the monitor has no version {version} of {}, which its service.conf names: nothing was pushed and published \
             yet, or its moduleversion is mistyped",
            settings.model
        )));
    }
    match manifest {
        Some(manifest) => verify(&manifest, staging, &taken),
        None => Ok(()),
    }
}

/// Removes what polls have left that died: half a version, into which a part of their rsync may
/// still be writing, or what they exchanged. Other versions', too: they fill the disk.
fn discard_unfinished(dir: &Path) -> Result<()> {
    for name in files::names_in(dir)? {
        if name.as_encoded_bytes().starts_with(STAGING.as_bytes()) {
            files::remove_tree(&dir.join(name))?;
        }
    }
    versions::delete_discarded(dir)
}

/// Whether fetching a version may take long, and somebody is there to whom that is told: scripts
/// alone on the monitor read no states.
fn is_long(manifest: Option<&Manifest>, poll: &Session) -> bool {
    match manifest {
        Some(manifest) => total_bytes(manifest, &Taken::default()) >= LARGE_BYTES,
        None => poll.seen.is_some(),
    }
}

/// The bytes of the files of a version that were not taken over.
fn total_bytes(manifest: &Manifest, taken: &Taken) -> u64 {
    let missing = manifest.files.iter().filter(|(path, _)| taken.get(path).is_none());
    missing.fold(0, |sum: u64, (_, facts)| sum.saturating_add(facts.size))
}

/// A full disk takes the service down with it, so it is not filled to the last byte.
fn check_room(manifest: &Manifest, taken: &Taken, staging: &Path) -> Result<()> {
    let needed = total_bytes(manifest, taken);
    if needed == 0 {
        return Ok(());
    }
    let reserve = RESERVE_BYTES.min(files::size_of_file_system(staging)? / RESERVE_PART);
    let (needed, free) = (needed.saturating_add(reserve), files::free_bytes(staging)?);
    if needed <= free {
        return Ok(());
    }
    // In megabytes: a figure that changed each minute would be reported each minute.
    let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
    Err(Error::failed(format!(
        "no room for {}: it needs {}, {} of them to stay free, and the file system of {} has {}; free some space there",
        manifest.version,
        megabytes(needed),
        megabytes(reserve),
        staging.parent().unwrap_or(staging).display(),
        megabytes(free)
    )))
}

/// The monitor's manifest of a version. One that a script published has none; where the
/// announcement names one, it must be that.
fn read_manifest(
    version: &Version,
    digest: Option<Digest>,
    member: &Member,
    settings: &Settings,
) -> Result<Option<Manifest>> {
    let remote = format!("{}/{MANIFESTS}/{version}", settings.model);
    let path = member.incoming().join("manifest");
    let from = Remote { module: SERVICE_MODULE, path: remote.clone() };
    let fetch = Transfer::FetchFile { from, to: path.clone(), limit: MANIFEST_LIMIT };
    if rsync::run_if_exists(&settings.daemon, &fetch, Limits::SMALL)?.is_none() {
        return match digest {
            None => Ok(None),
            Some(_) => Err(Error::failed(format!(
                "the monitor has no {remote}, which its announcement names; nothing was installed, push again"
            ))),
        };
    }
    let Some(source) = files::read_if_exists(&path, MANIFEST_LIMIT)? else {
        return Err(Error::failed(format!(
            "the monitor's {remote} is no file of at most {MANIFEST_LIMIT} bytes; nothing was installed, push again"
        )));
    };
    if digest.is_some_and(|digest| digest != Digest(*blake3::hash(&source).as_bytes())) {
        return Err(Error::failed(format!(
            "the monitor's {remote} is not the one that its announcement names; nothing was installed, push again"
        )));
    }
    Manifest::parse(&source).map(Some).map_err(|refusal| refusal.in_file(Path::new(&remote)))
}

/// Checks a version against its manifest.
fn verify(manifest: &Manifest, fetched: &Path, taken: &Taken) -> Result<()> {
    let found = links::digest(fetched, &trees::survey(fetched)?, taken)?;
    match manifest.first_mismatch(&found, More::Refused) {
        None => Ok(()),
        Some(mismatch) => Err(Error::failed(format!(
            "the monitor's version {} is not what its manifest says: {}; nothing was installed, push again",
            manifest.version,
            mismatch.text()
        ))),
    }
}
