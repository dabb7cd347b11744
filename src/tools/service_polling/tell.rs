//! What the monitor is told: which version came up (contract section 2), and how far this member is with one; and what the site's own
//! program was told of a service that is down.

use std::path::Path;

use crate::error::Result;
use crate::formats::member_state::{self, MemberState, Word};
use crate::layout::{Member, SERVICE_MODULE, STATE};
use crate::machine::rsync::{self, Limits, Remote, Transfer};
use crate::machine::{clock, files};
use crate::tools::service_polling::observe::Settings;
use crate::version::Version;

/// Tells how far this member is with a version, unless the monitor knows. Nothing depends on it: a monitor that does not take it
/// is worth a debug line, and no more time than [`Limits::BRIEF`].
pub fn tell(word: Word, version: &Version, message: &str, member: &Member, settings: &Settings) {
    if let Err(error) = try_to_tell(word, version, message, member, settings) {
        log::debug!("the monitor was not told \u{201c}{}\u{201d}: {error}", word.as_str());
    }
}

/// Lets the site's `on-failure` hear that the service is down, unless it heard the same before: such a service is tried again every minute.
/// What it heard is remembered apart from what the monitor was told, which may be out of reach for hours.
pub fn tell_hook_once(version: &Version, message: &str, member: &Member, run: impl FnOnce()) {
    let path = member.told_to_hook();
    let state = MemberState::new(Word::NotRestarted, version.clone(), clock::unix_now().0, message);
    if told(&path).is_ok_and(|told| !state.is_news_after(told.as_ref())) {
        return;
    }
    run();
    // Afterwards, so that a poll that dies over it lets it hear twice rather than never.
    if let Err(error) = files::overwrite(&path, &state.render()) {
        log::debug!("{error}");
    }
}

/// The service came up: when it is down once more, that is another failure.
pub fn let_hook_hear_again(member: &Member) {
    if let Err(error) = files::remove_if_exists(&member.told_to_hook()) {
        log::debug!("{error}");
    }
}

fn try_to_tell(
    word: Word,
    version: &Version,
    message: &str,
    member: &Member,
    settings: &Settings,
) -> Result<()> {
    let state = MemberState::new(word, version.clone(), clock::unix_now().0, message);
    if !state.is_news_after(told(&member.told())?.as_ref()) {
        return Ok(());
    }
    let from = member.incoming().join(name(settings));
    files::overwrite(&from, &state.render())?;
    rsync::run(&settings.daemon, &Transfer::SendFile { from, to: reports(settings) }, Limits::BRIEF)?;
    files::overwrite(&member.told(), &state.render())
}

/// What was told last, as a file remembers it.
fn told(path: &Path) -> Result<Option<MemberState>> {
    let told = files::read_if_exists(path, member_state::LIMIT)?;
    Ok(told.and_then(|bytes| MemberState::parse(&bytes)))
}

/// Leaves the version in `datamining_service/MODEL/version/ADDRESS` on the monitor, and beside it that it is the current one.
pub fn report(version: &Version, member: &Member, settings: &Settings) -> Result<()> {
    let dir = member.incoming();
    let state = MemberState::new(Word::Current, version.clone(), clock::unix_now().0, "");
    files::overwrite(&dir.join(&settings.address), format!("{version}\n").as_bytes())?;
    files::overwrite(&dir.join(name(settings)), &state.render())?;
    let both = Transfer::Send {
        from: dir.clone(),
        names: vec![settings.address.as_str().into(), name(settings).into()],
        recursive: false,
        all_new: false,
        to: reports(settings),
    };
    let report = Transfer::SendFile { from: dir.join(&settings.address), to: reports(settings) };
    let sent = rsync::run_if_accepted(&settings.daemon, &both, Limits::SMALL).and_then(|are_accepted| {
        // A daemon that refuses dot files still gets its report.
        if are_accepted {
            Ok(true)
        } else {
            rsync::run(&settings.daemon, &report, Limits::SMALL).map(|_| false)
        }
    });
    let are_accepted = sent
        .map_err(|e| e.context("the service runs, but the monitor was not told; the next poll tells it"))?;
    if are_accepted && let Err(error) = files::overwrite(&member.told(), &state.render()) {
        log::debug!("{error}");
    }
    Ok(())
}

fn name(settings: &Settings) -> String {
    format!("{STATE}{}", settings.address)
}

fn reports(settings: &Settings) -> Remote {
    Remote { module: SERVICE_MODULE, path: format!("{}/version/", settings.model) }
}
