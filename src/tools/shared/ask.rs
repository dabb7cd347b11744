//! Asks every member which version it has: machine -> answers.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::layout::Service;
use crate::machine::clock::Deadline;
use crate::machine::{files, probe, processes};
use crate::names::{Address, Port};
use crate::time::Seconds;
use crate::tools::control;
use crate::tools::shared::fleet::{Fleet, Limit, Probe};

/// The largest report that is read, in bytes: it holds one word.
pub const REPORT_LIMIT: u64 = 64 << 10;

/// How many services are asked at a time. Each takes a thread and one open file, and a name that is resolved a second one;
/// by default a process may have 1024 files open.
const SERVICES_AT_ONCE: usize = 400;
/// How many programs run at a time.
const PROGRAMS_AT_ONCE: usize = 64;

/// What a member answered; `None` where it did not. A failure is a debug line: a member that does not answer is nothing
/// special during an upgrade.
type Answer = Option<Vec<u8>>;

/// Asks all, in the way that their list says. Only then do they talk to this host at all, so ask only when it matters.
pub fn all(fleet: &Fleet, service: &Service) -> Result<Vec<(Address, Answer)>> {
    let members = fleet.members.clone();
    let answers = match &fleet.probe {
        Probe::Report => members.iter().map(|member| answered(report(service, member))).collect(),
        Probe::Rpc(port, limit) => rpc(&members, *port, *limit)?,
        Probe::Command(program, port, limit) => command(&members, program, *port, *limit),
    };
    Ok(members.into_iter().zip(answers).collect())
}

fn report(service: &Service, member: &Address) -> Result<Answer> {
    let path = service.report(member);
    files::check_within(&service.dir, &path)?;
    files::read_without_following(&path, REPORT_LIMIT)
}

fn rpc(members: &[Address], port: Port, limit: Limit) -> Result<Vec<Answer>> {
    let question = control::question()?;
    let ask = move |member: &Address, deadline: Deadline| {
        control::version_served(member, port, &question, deadline).map(Some)
    };
    Ok(asked(members, SERVICES_AT_ONCE, limit, ask))
}

fn command(members: &[Address], program: &Path, port: Port, limit: Limit) -> Vec<Answer> {
    let program = program.to_path_buf();
    let ask = move |member: &Address, deadline: Deadline| {
        let arguments = [OsString::from(member.as_str()), port.to_string().into()];
        let line = processes::first_line(&program, &arguments, deadline)?;
        Ok(Some(line.trim_ascii().to_vec()))
    };
    asked(members, PROGRAMS_AT_ONCE, limit, ask)
}

fn asked(
    members: &[Address],
    at_once: usize,
    Limit(Seconds(seconds)): Limit,
    ask: impl Fn(&Address, Deadline) -> Result<Answer> + Send + Sync + 'static,
) -> Vec<Answer> {
    let limit = Duration::from_secs(seconds.unsigned_abs());
    let answers = probe::ask_all(members.to_vec(), at_once, limit, ask);
    answers.into_iter().map(|answer| answer.and_then(answered)).collect()
}

fn answered(answer: Result<Answer>) -> Answer {
    answer.unwrap_or_else(|error| {
        log::debug!("{error}");
        None
    })
}
