//! Carries the steps of a poll out, in order; the first failure ends it, and the journal says where the next one goes on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result, one_line};
use crate::formats::manifest::{Manifest, More};
use crate::formats::member_state::Word;
use crate::layout::{MANIFESTS, Member, SERVICE_MODULE};
use crate::machine::files::{self, CONFIGURATION_LIMIT, MANIFEST_LIMIT};
use crate::machine::links::{self, Taken};
use crate::machine::processes::{self, CommandLine};
use crate::machine::rsync::{self, Limits, Remote, Transfer};
use crate::machine::{clock, service, terminal, trees, versions};
use crate::retention;
use crate::tools::hooks::{self, Hook, Told};
use crate::tools::service_polling::decide::{Action, KnownManifest, Plan};
use crate::tools::service_polling::observe::{Health, Settings};
use crate::tools::service_polling::tell;
use crate::version::Version;

/// How often a `service_start` that stays in the foreground is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a service may go on to answer when `service_stop` has ended.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long `service_stop` and `service_start` may take, each.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// Carries a plan out. When the service does not come up, the service.conf before is put back; the poll fails all the same.
pub fn apply(plan: &Plan, member: &Member, settings: &Settings) -> Result<()> {
    for (step, action) in plan.steps.iter().enumerate() {
        let Err(error) = act(action, member, settings) else { continue };
        let is_about_service = matches!(action, Action::Start | Action::AwaitService);
        let (word, error) = if is_about_service && !plan.roll_back.is_empty() {
            roll_back(plan, error, member, settings)
        } else {
            (plan.word_of_failure(step), error)
        };
        if let (Some(word), Some(version)) = (word, &plan.about) {
            let why = error.to_string();
            let has_hook = !matches!(hooks::program(&member.hooks(), Hook::OnFailure), Ok(None));
            if word == Word::NotRestarted && has_hook {
                tell::tell_hook_once(version, &why, member, || {
                    complain_of(run_hook(Hook::OnFailure, version, &why, member, settings));
                });
            }
            tell::tell(word, version, &why, member, settings);
        }
        return Err(error);
    }
    Ok(())
}

/// Puts the service.conf before back; the poll's failure, and what the monitor is told of it.
fn roll_back(plan: &Plan, error: Error, member: &Member, settings: &Settings) -> (Option<Word>, Error) {
    match plan.roll_back.iter().try_for_each(|action| act(action, member, settings)) {
        Ok(()) => {
            plan.tidy.iter().for_each(|action| complain_of(act(action, member, settings)));
            let error = Error::with_exit(error.exit, format!("{error}; the version before was put back"));
            (Some(Word::RolledBack), error)
        }
        Err(second) => {
            let error = second.context(format!("{error}; nor could the version before be put back"));
            (Some(Word::NotRestarted), error)
        }
    }
}

fn act(action: &Action, member: &Member, settings: &Settings) -> Result<()> {
    log::debug!("{action:?}");
    match action {
        Action::FetchVersion { version, similar, manifest } => {
            fetch(version, similar, manifest, member, settings)
        }
        Action::PreRestart(version) => run_hook(Hook::PreRestart, version, "", member, settings),
        Action::PostRestart(version) => {
            tell::let_hook_hear_again(member);
            complain_of(run_hook(Hook::PostRestart, version, "", member, settings));
            Ok(())
        }
        Action::OnFailure(version) => {
            let why = "the service did not come up, and the version before was put back";
            complain_of(run_hook(Hook::OnFailure, version, why, member, settings));
            tell::let_hook_hear_again(member);
            Ok(())
        }
        Action::Record(journal) => {
            if let Some(dir) = member.journal().parent() {
                files::create_directories(dir)?;
            }
            files::replace_atomically(&member.journal(), journal.render().as_bytes())
        }
        Action::KeepPrevious(bytes) => files::replace_atomically(&member.previous_service_conf(), bytes),
        Action::KeepFailed(bytes) => files::replace_atomically(&member.failed_service_conf(), bytes),
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
        Action::Start => start(settings).map_err(|e| e.context("the service was not started: service_start")),
        Action::AwaitService => await_service(settings),
        Action::Tell(word, version) => {
            tell::tell(*word, version, "", member, settings);
            Ok(())
        }
        Action::Report(version) => tell::report(version, member, settings),
        Action::Done => {
            forget_failed_that_works(member)?;
            files::remove_if_exists(&member.journal())
        }
        Action::RolledBack => files::remove_if_exists(&member.journal()),
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

fn run_hook(hook: Hook, version: &Version, error: &str, member: &Member, settings: &Settings) -> Result<()> {
    let directory = member.versions(&settings.model).join(version);
    hooks::run(&member.hooks(), hook, &Told { model: &settings.model, version, directory, error })
}

/// Of what can stop nothing any more: a hook, tidying up.
fn complain_of(done: Result<()>) {
    if let Err(error) = done {
        terminal::complain(super::PROGRAM, error);
    }
}

/// The service.conf that did not come up here is not tried again, also when others have worked since: it may be announced once
/// more. Only if it is the one that works now, it has not failed after all.
fn forget_failed_that_works(member: &Member) -> Result<()> {
    let [installed, failed] = [member.service_conf(), member.failed_service_conf()];
    let read = |path: &Path| files::read_if_exists(path, CONFIGURATION_LIMIT);
    if read(&installed)? == read(&failed)? { files::remove_if_exists(&failed) } else { Ok(()) }
}

/// Runs `service_start` until it ends; where it stays in the foreground, as the service itself, until that answers.
fn start(settings: &Settings) -> Result<()> {
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
        clock::pause(PAUSE);
    }
    Ok(())
}

/// A service that accepts no connections did not come up (defect 16).
fn await_service(settings: &Settings) -> Result<()> {
    let Some(Health { port, limit }) = settings.health else { return Ok(()) };
    if service::answers_within(&settings.address, port, limit.duration()) {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the service does not answer on {}:{port} after {limit}; see its log, or set service_timeout in env.sh",
        settings.address
    )))
}

/// Waits until the stopped service accepts no connections any more: otherwise it would be taken for the one that is started.
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

/// Fetches a version beside its place, and renames it there when it is complete (defects 11, 23, 26). A directory of that
/// name that holds something else is half a version which a script left: it is exchanged as a whole, so that no file that
/// a running service has mapped is written to.
fn fetch(
    version: &Version,
    similar: &[Version],
    manifest: &KnownManifest,
    member: &Member,
    settings: &Settings,
) -> Result<()> {
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
    // Half a version would fill the disk until the next poll; where it cannot be removed now, that one does it.
    arrive(&arriving, member, settings).inspect_err(|_| drop(discard_unfinished(&dir)))?;
    files::remove_tree(&arriving.partial)?;
    // rsync gave it the one that it has on the monitor; the script's is a directory that was made here.
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

/// What the name of a version begins with while it is fetched, and of the part of a file that a cut connection left.
const STAGING: &str = ".staging-";

/// A version on its way.
struct Arriving<'a> {
    version: &'a Version,
    manifest: &'a KnownManifest,
    /// Directories of versions that may hold much of it.
    similar: Vec<PathBuf>,
    /// The permissions that no file gets here, as the staging directory shows.
    umask: u32,
    /// Where a file is kept in which the connection was lost.
    partial: PathBuf,
    /// Where the version is put together.
    staging: &'a Path,
}

/// Puts a version together in its staging directory, and checks it. What the manifest names and this member has is not fetched
/// again; of the other files only what differs from those of the same name.
fn arrive(arriving: &Arriving, member: &Member, settings: &Settings) -> Result<()> {
    let Arriving { version, manifest, similar, umask, partial, staging } = arriving;
    let manifest = read_manifest(version, manifest, member, settings)?;
    let take_over = || manifest.as_ref().map(|wanted| links::take_over(&wanted.files, similar, staging));
    // Before the next connection, since a daemon may allow one at a time.
    let taken = processes::meanwhile(|| tell::tell(Word::Updating, version, "", member, settings), take_over);
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
        Some(manifest) => verify(&manifest, staging, &taken.unwrap_or_default()),
        None => Ok(()),
    }
}

/// Removes what polls have left that died: half a version, into which a part of their rsync may still be writing, or what
/// they exchanged. Other versions', too: they fill the disk.
fn discard_unfinished(dir: &Path) -> Result<()> {
    for name in files::names_in(dir)? {
        if name.as_encoded_bytes().starts_with(STAGING.as_bytes()) {
            files::remove_tree(&dir.join(name))?;
        }
    }
    versions::delete_discarded(dir)
}

/// The monitor's manifest of a version. One that a script published has none.
fn read_manifest(
    version: &Version,
    seen: &KnownManifest,
    member: &Member,
    settings: &Settings,
) -> Result<Option<Manifest>> {
    let remote = format!("{}/{MANIFESTS}/{version}", settings.model);
    let path = match seen {
        KnownManifest::Missing => return Ok(None),
        KnownManifest::Fetched(path) => path.clone(),
        KnownManifest::NotAskedFor => {
            let path = member.incoming().join("manifest");
            let from = Remote { module: SERVICE_MODULE, path: remote.clone() };
            let fetch = Transfer::FetchFile { from, to: path.clone(), limit: MANIFEST_LIMIT };
            if rsync::run_if_exists(&settings.daemon, &fetch, Limits::SMALL)?.is_none() {
                return Ok(None);
            }
            path
        }
    };
    let Some(source) = files::read_if_exists(&path, MANIFEST_LIMIT)? else {
        return Err(Error::failed(format!(
            "the monitor's {remote} is no file of at most {MANIFEST_LIMIT} bytes; nothing was installed, push again"
        )));
    };
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
