//! What a member reports: which version came up (contract section 2), and how far this member is
//! with one; and what the site's own program hears of a service that is down.

use crate::error::Result;
use crate::formats::member_state::{MemberState, Word};
use crate::layout::{SERVICE_MODULE, STATE};
use crate::machine::rsync::{self, Limits, Remote, Transfer};
use crate::machine::{clock, files, terminal};
use crate::tools::service_polling::observe::Settings;
use crate::tools::service_polling::reports::Lost;
use crate::tools::service_polling::session::Session;
use crate::tools::service_polling::state::Reported;
use crate::version::Version;

/// Reports how far this member is with a version, unless that was reported before; returns whether
/// it was news. Nothing depends on it: a monitor that does not take it is worth a debug line, and
/// no more time than [`Limits::BRIEF`].
pub fn tell(word: Word, version: &Version, message: &str, poll: &mut Session) -> bool {
    let Some(state) = note(word, version, message, poll) else { return false };
    deliver(&state, poll);
    true
}

/// Notes as the last report how far this member is with a version; the report that is to be sent
/// now, if it is news.
///
/// It is noted first: a poll that dies over the sending, or finds no monitor, leaves a report that
/// the monitor has lost.
pub fn note(word: Word, version: &Version, message: &str, poll: &mut Session) -> Option<MemberState> {
    let state = member_state(word, version, message, poll);
    let last = poll.state.reported.as_ref().map(|reported| &reported.state);
    if !state.is_news_after(last) {
        return None;
    }
    poll.state.reported = Some(Reported::new(state.clone()));
    poll.try_to_save();
    Some(state)
}

/// Sends a report that was noted.
pub fn deliver(state: &MemberState, poll: &mut Session) {
    match send_state(state, poll) {
        Ok(true) => {}
        Ok(false) => refused(poll),
        Err(error) => {
            log::debug!("the monitor was not told \u{201c}{}\u{201d}: {error}", state.word.as_str());
        }
    }
}

/// Notes a report that says something else than the last one, and sends it.
pub fn refresh(state: MemberState, poll: &mut Session) {
    poll.state.reported = Some(Reported::new(state.clone()));
    poll.try_to_save();
    deliver(&state, poll);
}

/// A daemon that takes no dot file is not asked each minute.
fn refused(poll: &mut Session) {
    if let Some(reported) = &mut poll.state.reported {
        reported.is_refused = true;
    }
    poll.try_to_save();
}

/// Sends again what the monitor has lost. Nothing depends on that, either.
pub fn repeat(lost: Lost, poll: &mut Session) {
    let Some(reported) = &mut poll.state.reported else { return };
    match lost {
        Lost::TooOften => return,
        Lost::Nothing if reported.repeats == 0 => return,
        Lost::Nothing => reported.repeats = 0,
        Lost::State | Lost::Report => {
            reported.repeats = reported.repeats.saturating_add(1);
            reported.repeated_at_unix_s = clock::unix_now().0;
        }
    }
    let last = reported.state.clone();
    // Where it could not be counted, it would be repeated each minute.
    if let Err(error) = poll.save() {
        log::debug!("{error}");
        return;
    }
    let model = &poll.settings.model;
    let sent = match (lost, &poll.state.served) {
        (Lost::Nothing | Lost::TooOften, _) => return,
        // The report first: on the monitor a state is about what was reported before it.
        (Lost::Report, Some(served)) => {
            let sent = send_report(served, poll, Limits::BRIEF).and_then(|()| send_state(&last, poll));
            sent.inspect(|_| {
                terminal::report(format!(
                    "{model}: the monitor had no report of {served}; reported it again"
                ));
            })
        }
        (Lost::State, _) | (Lost::Report, None) => send_state(&last, poll).inspect(|_| {
            let (word, version) = (last.word.as_str(), &last.version);
            log::debug!("the monitor had lost that {version} is {word}; reported again");
        }),
    };
    match sent {
        Ok(true) => {}
        Ok(false) => refused(poll),
        Err(error) => log::debug!("what the monitor has lost was not reported again: {error}"),
    }
}

/// Lets the site's `on-failure` hear that the service is down, unless it heard the same before:
/// such a service is tried again every minute. What it heard is remembered apart from what the
/// monitor was told, which may be out of reach for hours.
pub fn tell_hook_once(version: &Version, message: &str, poll: &mut Session, run: impl FnOnce(&Session)) {
    let state = member_state(Word::NotRestarted, version, message, poll);
    if !state.is_news_after(poll.state.on_failure.as_ref()) {
        return;
    }
    run(poll);
    // Afterwards, so that a poll that dies over it lets it hear twice rather than never.
    poll.state.on_failure = Some(state);
    poll.try_to_save();
}

/// Leaves the version in `datamining_service/MODEL/version/ADDRESS` on the monitor, and beside it
/// that it is the current one. What was reported is saved with the step that follows.
pub fn report(version: &Version, poll: &mut Session) -> Result<()> {
    let Session { member, settings, .. } = *poll;
    let dir = member.incoming();
    let state = member_state(Word::Current, version, &poll.remark, poll);
    write_report(version, poll)?;
    write_state(&state, poll)?;
    let both = Transfer::Send {
        from: dir,
        names: vec![settings.address.as_str().into(), name(settings).into()],
        recursive: false,
        all_new: false,
        to: reports(settings),
    };
    let sent = rsync::run_if_accepted(&settings.daemon, &both, Limits::SMALL).and_then(|are_accepted| {
        // A daemon that refuses dot files still gets its report.
        if are_accepted { Ok(true) } else { send_report(version, poll, Limits::SMALL).map(|()| false) }
    });
    let are_accepted = sent
        .map_err(|e| e.context("the service runs, but the monitor was not told; the next poll tells it"))?;
    poll.state.reported = Some(Reported { is_refused: !are_accepted, ..Reported::new(state) });
    poll.state.served = Some(version.clone());
    Ok(())
}

fn member_state(word: Word, version: &Version, message: &str, poll: &Session) -> MemberState {
    let state = MemberState::new(word, version.clone(), clock::unix_now().0, message);
    state.of(poll.seen, poll.attempt)
}

/// Sends the state alone; whether the daemon took it.
pub fn send_state(state: &MemberState, poll: &Session) -> Result<bool> {
    write_state(state, poll)?;
    let from = poll.member.incoming().join(name(poll.settings));
    let send = Transfer::SendFile { from, to: reports(poll.settings) };
    rsync::run_if_accepted(&poll.settings.daemon, &send, Limits::BRIEF)
}

fn send_report(version: &Version, poll: &Session, limits: Limits) -> Result<()> {
    write_report(version, poll)?;
    let from = poll.member.incoming().join(&poll.settings.address);
    let send = Transfer::SendFile { from, to: reports(poll.settings) };
    rsync::run(&poll.settings.daemon, &send, limits).map(drop)
}

/// With the mode of any file: rsync gives it to the one on the monitor, where others than the
/// daemon read it.
fn write_state(state: &MemberState, poll: &Session) -> Result<()> {
    files::overwrite(&poll.member.incoming().join(name(poll.settings)), &state.render())
}

fn write_report(version: &Version, poll: &Session) -> Result<()> {
    let path = poll.member.incoming().join(&poll.settings.address);
    files::overwrite(&path, format!("{version}\n").as_bytes())
}

fn name(settings: &Settings) -> String {
    format!("{STATE}{}", settings.address)
}

fn reports(settings: &Settings) -> Remote {
    Remote { module: SERVICE_MODULE, path: format!("{}/version/", settings.model) }
}
