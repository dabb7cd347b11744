//! Arguments of `autoupdate-toggle` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Error, Result};
use crate::ip_range::IpRange;
use crate::layout::{POLLER_USER, RSYNCD_CONF, SERVICE_MODULE};
use crate::names::{Address, GroupName, ModelName, Port, shown};
use crate::reason::Reason;
use crate::tools::WaitOption;
use crate::tools::autoupdate_toggle::end::End;
use crate::tools::edit::{DryRunOption, Mode};

/// Turns automatic updates off for some members, and on again: on the monitor by the addresses that its rsync daemon
/// denies (--method rsyncd) or by a model's list of members that keep what they serve (--method hold), or on a member by its
/// poller's crontab line (--method crontab). `daemon` starts and stops the rsync daemon of a configuration; turning updates off
/// and on needs neither.
#[derive(Debug, Parser)]
#[command(name = "autoupdate-toggle", version)]
pub struct Cli {
    /// Turn updates off, turn them on again, or say how it is; or look after the rsync daemon
    #[arg(value_enum)]
    action: Typed,
    /// What to do with the daemon
    #[arg(value_enum, value_name = "DAEMON ACTION")]
    daemon_action: Option<DaemonVerb>,
    /// By the daemon's configuration, by a model's list of held members, or by a member's crontab
    #[arg(long, value_enum)]
    method: Option<Method>,
    /// rsyncd, hold, daemon: the daemon's configuration [default: /etc/rsyncd.conf]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// rsyncd: the module that members fetch from [default: datamining_service]
    #[arg(long, value_name = "NAME")]
    module: Option<OsString>,
    /// rsyncd, hold: the members' addresses; rsyncd: also ranges of them such as 10.85.136.0/24; `status` lists all without it
    #[arg(long, value_name = "A,B,...")]
    ip: Vec<OsString>,
    /// rsyncd, hold: instead of --ip the members that group_NAME of the model's member list names
    #[arg(long, value_name = "NAME", conflicts_with = "ip")]
    group: Option<OsString>,
    /// hold: the model; rsyncd: the model whose --group is meant
    #[arg(long, value_name = "MODEL")]
    model: Option<OsString>,
    /// hold, disable: why, in one line; everybody sees it
    #[arg(long, value_name = "TEXT")]
    reason: Option<OsString>,
    /// hold: leave the daemon's configuration alone, whose `hosts deny` holds members with a legacy poller
    #[arg(long)]
    no_deny: bool,
    /// rsyncd, hold, daemon: the daemon's port [default: that of the configuration, otherwise 873]
    #[arg(long, value_name = "PORT")]
    port: Option<OsString>,
    /// daemon: its pid file [default: that of the configuration, otherwise /tmp/rsyncd.pid]
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// crontab: the crontab with the poller's line; /etc/crontab and files of /etc/cron.d have a user in each line
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    file: Option<PathBuf>,
    /// crontab: whose crontab, below /var/spool/cron or /var/spool/cron/crontabs [default: root]
    #[arg(long, value_name = "NAME")]
    user: Option<OsString>,
    /// disable: until this time, such as 20:00 (the next one) or 2026-11-26T20:00, local time
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    until: Option<OsString>,
    /// disable: for so long, such as 30m, 2h or 1d
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<OsString>,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    dry_run: DryRunOption,
}

/// The first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Typed {
    /// Turn updates off
    Disable,
    /// Turn updates on again
    Enable,
    /// Say how it is; nothing is written
    Status,
    /// Look after the rsync daemon of a configuration
    Daemon,
}

/// What to do about updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Turn them off.
    Disable,
    /// Turn them on again.
    Enable,
    /// Say how it is.
    Status,
}

/// What to do with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DaemonVerb {
    /// Say whether it runs (exit 0) or not (exit 1)
    Status,
    /// Start it, unless it runs already
    Start,
    /// Stop it, once its process is known to be it
    Stop,
    /// Stop it, then start it
    Restart,
}

/// The manual's two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// `hosts deny` of the daemon's configuration, on the monitor: for every model
    Rsyncd,
    /// The list of one model's members that keep what they serve, on the monitor
    Hold,
    /// The poller's line, on a member
    Crontab,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Turn updates off, until a time if one is given, or on.
    Updates(Verb, Option<End>, Request, Mode),
    /// Look after the daemon.
    Daemon(DaemonVerb, DaemonRequest),
}

/// Which daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonRequest {
    /// Its configuration.
    pub config: PathBuf,
    /// Its pid file, if it is not the one of the configuration.
    pub pid_file: Option<PathBuf>,
    /// Its port, if it is not the one of the configuration.
    pub port: Option<Port>,
}

/// Where to turn updates off or on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// By the daemon's configuration.
    Rsyncd(Denials, Whom),
    /// By the list of a model's held members.
    Hold(HoldRequest),
    /// By a crontab.
    Crontab(Whose),
}

/// Where addresses are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denials {
    /// The configuration.
    pub config: PathBuf,
    /// The module.
    pub module: Vec<u8>,
    /// The daemon's port, if it is not the one of the configuration.
    pub port: Option<Port>,
}

/// Whom a request by the daemon's configuration is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// These; none is everybody, for [`Verb::Status`] only.
    Ranges(Vec<IpRange>),
    /// A group of a model's.
    Group(ModelName, GroupName),
}

/// What to do about held members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldRequest {
    /// Say who is held, of this model or of all.
    Status(Option<ModelName>),
    /// Hold members, or end that.
    Edit(HoldEdit),
}

/// A change of who is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldEdit {
    /// The model.
    pub model: ModelName,
    /// Whom.
    pub members: Members,
    /// Why; `None`: they are not to be held any more.
    pub reason: Option<Reason>,
    /// Where members with a legacy poller are denied, too; `None` for --no-deny.
    pub denials: Option<Denials>,
}

/// Members of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// These.
    Addresses(Vec<Address>),
    /// A group.
    Group(GroupName),
}

/// Which crontab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This file.
    File(PathBuf),
    /// That of this user, wherever this host keeps it.
    User(OsString),
}

impl Cli {
    /// Validates the arguments. Fails (exit 2) before any file is touched.
    pub fn request(self) -> Result<(Task, WaitOption)> {
        let (wait, mode) = (self.wait, self.dry_run.mode());
        if matches!(self.action, Typed::Status | Typed::Daemon) {
            refuse("--dry-run", "disable and enable", (mode == Mode::Show).then_some(()))?;
        }
        if self.action != Typed::Disable {
            refuse("--until", "disable", self.until.as_ref())?;
            refuse("--for", "disable", self.duration.as_ref())?;
        }
        let end = end(self.until.as_ref(), self.duration.as_ref())?;
        let verb = match self.action {
            Typed::Disable => Verb::Disable,
            Typed::Enable => Verb::Enable,
            Typed::Status => Verb::Status,
            Typed::Daemon => return self.daemon().map(|task| (task, wait)),
        };
        if self.daemon_action.is_some() {
            return Err(Error::usage(
                "one action is enough; start and stop belong to: autoupdate-toggle daemon",
            ));
        }
        refuse("--pid-file", "daemon", self.pid_file.as_ref())?;
        let request = match self.method {
            Some(Method::Rsyncd) => self.rsyncd(verb)?,
            Some(Method::Hold) => self.hold(verb)?,
            Some(Method::Crontab) => {
                self.refuse_hold()?;
                let whose = "--method rsyncd";
                refuse("--config", whose, self.config.as_ref())?;
                refuse("--module", whose, self.module.as_ref())?;
                refuse("--ip", whose, self.ip.first())?;
                refuse("--port", whose, self.port.as_ref())?;
                Request::Crontab(self.whose()?)
            }
            None => return Err(Error::usage("--method rsyncd, --method hold or --method crontab is needed")),
        };
        Ok((Task::Updates(verb, end, request, mode), wait))
    }

    fn whose(self) -> Result<Whose> {
        let user = self.user.unwrap_or_else(|| POLLER_USER.into());
        let is_name =
            !user.is_empty() && !user.as_bytes().contains(&b'/') && !user.as_bytes().starts_with(b".");
        match self.file {
            Some(file) => Ok(Whose::File(file)),
            None if is_name => Ok(Whose::User(user)),
            None => Err(Error::usage(format!("--user {}: that is no user's name", shown(user.as_bytes())))),
        }
    }

    fn rsyncd(self, verb: Verb) -> Result<Request> {
        refuse("--file", "--method crontab", self.file.as_ref())?;
        refuse("--user", "--method crontab", self.user.as_ref())?;
        refuse("--reason", "--method hold", self.reason.as_ref())?;
        refuse("--no-deny", "--method hold", self.no_deny.then_some(()))?;
        let (model, group) = (model(self.model.as_ref())?, group(self.group.as_ref())?);
        let whom = match (model, group) {
            (Some(model), Some(group)) => Whom::Group(model, group),
            (None, Some(_)) => return Err(Error::usage("--group is one of a model; name that with --model")),
            (Some(_), None) => return Err(Error::usage("--model goes with --group; leave it out")),
            (None, None) => Whom::Ranges(split(&self.ip, IpRange::parse)?),
        };
        let is_everybody = matches!(&whom, Whom::Ranges(ranges) if ranges.is_empty());
        if is_everybody && (verb != Verb::Status || !self.ip.is_empty()) {
            return Err(Error::usage("--ip names no address; write at least one"));
        }
        let module = self.module.map_or_else(|| SERVICE_MODULE.into(), OsString::into_vec);
        Ok(Request::Rsyncd(denials(self.config, module, self.port)?, whom))
    }

    fn hold(self, verb: Verb) -> Result<Request> {
        refuse("--file", "--method crontab", self.file.as_ref())?;
        refuse("--user", "--method crontab", self.user.as_ref())?;
        refuse("--module", "--method rsyncd", self.module.as_ref())?;
        let model = model(self.model.as_ref())?;
        if verb != Verb::Disable {
            refuse("--reason", "disable", self.reason.as_ref())?;
        }
        if verb == Verb::Status {
            let whose = "disable and enable";
            refuse("--ip", whose, self.ip.first())?;
            refuse("--group", whose, self.group.as_ref())?;
            refuse("--config", whose, self.config.as_ref())?;
            refuse("--port", whose, self.port.as_ref())?;
            refuse("--no-deny", whose, self.no_deny.then_some(()))?;
            return Ok(Request::Hold(HoldRequest::Status(model)));
        }
        let Some(model) = model else {
            return Err(Error::usage("a member is held for one model; name that with --model"));
        };
        let members = match group(self.group.as_ref())? {
            Some(group) => Members::Group(group),
            None => Members::Addresses(split(&self.ip, Address::parse)?),
        };
        if matches!(&members, Members::Addresses(addresses) if addresses.is_empty()) {
            return Err(Error::usage("whom is missing; name members with --ip A,B or --group NAME"));
        }
        let reason = self.reason.as_ref().map(|text| Reason::parse(text.as_bytes())).transpose()?;
        if verb == Verb::Disable && reason.as_ref().is_none_or(|reason| reason.as_str().is_empty()) {
            return Err(Error::usage("a hold needs a reason that others understand; write it with --reason"));
        }
        let denials = denials(self.config, SERVICE_MODULE.into(), self.port)?;
        let denials = (!self.no_deny).then_some(denials);
        Ok(Request::Hold(HoldRequest::Edit(HoldEdit { model, members, reason, denials })))
    }

    fn refuse_hold(&self) -> Result<()> {
        let whose = "--method hold";
        refuse("--group", whose, self.group.as_ref())?;
        refuse("--model", whose, self.model.as_ref())?;
        refuse("--reason", whose, self.reason.as_ref())?;
        refuse("--no-deny", whose, self.no_deny.then_some(()))
    }

    fn daemon(self) -> Result<Task> {
        let whose = "--method";
        refuse("--method", "disable, enable and status", self.method.as_ref())?;
        refuse("--module", whose, self.module.as_ref())?;
        refuse("--ip", whose, self.ip.first())?;
        refuse("--file", whose, self.file.as_ref())?;
        refuse("--user", whose, self.user.as_ref())?;
        self.refuse_hold()?;
        let Some(verb) = self.daemon_action else {
            return Err(Error::usage(
                "daemon needs an action; write status, start, stop or restart behind it",
            ));
        };
        let config = self.config.unwrap_or_else(|| RSYNCD_CONF.into());
        let request = DaemonRequest { config, pid_file: self.pid_file, port: port(self.port)? };
        Ok(Task::Daemon(verb, request))
    }
}

fn port(text: Option<OsString>) -> Result<Option<Port>> {
    text.map(|text| Port::parse(text.as_bytes())).transpose().map_err(|e| e.context("--port"))
}

fn end(until: Option<&OsString>, duration: Option<&OsString>) -> Result<Option<End>> {
    let until = until.map(|text| End::until(text.as_bytes())).transpose()?;
    let after = duration.map(|text| End::after(text.as_bytes())).transpose()?;
    Ok(until.or(after))
}

/// Refuses an option that was given and belongs elsewhere.
fn refuse<T>(option: &str, whose: &str, given: Option<T>) -> Result<()> {
    match given {
        Some(_) => Err(Error::usage(format!("{option} belongs to {whose}; leave it out"))),
        None => Ok(()),
    }
}

fn model(text: Option<&OsString>) -> Result<Option<ModelName>> {
    text.map(|text| ModelName::parse(text.as_bytes())).transpose()
}

fn group(text: Option<&OsString>) -> Result<Option<GroupName>> {
    text.map(|text| GroupName::parse(text.as_bytes())).transpose()
}

fn denials(config: Option<PathBuf>, module: Vec<u8>, asked: Option<OsString>) -> Result<Denials> {
    Ok(Denials { config: config.unwrap_or_else(|| RSYNCD_CONF.into()), module, port: port(asked)? })
}

/// The words of `--ip`, each once.
fn split<T: PartialEq>(texts: &[OsString], parse: impl Fn(&[u8]) -> Result<T>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for text in texts {
        let words = text.as_bytes().split(|b| *b == b',' || b.is_ascii_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let one = parse(word)?;
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Option<Task> {
        Cli::try_parse_from(line.split(' ')).ok()?.request().ok().map(|(task, _)| task)
    }

    #[test]
    fn the_manuals_files_and_module_are_the_defaults() {
        let ranges = vec![IpRange::parse(b"10.85.136.181").unwrap(), IpRange::parse(b"10.0.0.0/8").unwrap()];
        let rsyncd = |verb, ranges| {
            let (config, module) = ("/etc/rsyncd.conf".into(), b"datamining_service".to_vec());
            let denials = Denials { config, module, port: None };
            Some(Task::Updates(verb, None, Request::Rsyncd(denials, Whom::Ranges(ranges)), Mode::Write))
        };
        let typed = "t disable --method rsyncd --ip 10.85.136.181,10.0.0.0/8,10.85.136.181";
        assert_eq!(task(typed), rsyncd(Verb::Disable, ranges));
        assert_eq!(task("t status --method rsyncd"), rsyncd(Verb::Status, vec![]));
        let crontab = Request::Crontab(Whose::User("root".into()));
        let enable = |mode| Some(Task::Updates(Verb::Enable, None, crontab.clone(), mode));
        assert_eq!(task("t enable --method crontab"), enable(Mode::Write));
        assert_eq!(task("t enable --method crontab --dry-run"), enable(Mode::Show));
        let daemon = DaemonRequest { config: "/etc/rsyncd.conf".into(), pid_file: None, port: None };
        assert_eq!(task("t daemon restart"), Some(Task::Daemon(DaemonVerb::Restart, daemon)));
    }

    #[test]
    fn a_hold_is_about_members_of_one_model_and_has_a_reason() {
        let model = ModelName::parse(b"m").unwrap();
        let denials =
            Denials { config: "/etc/rsyncd.conf".into(), module: b"datamining_service".to_vec(), port: None };
        let edit = |members, reason: Option<&str>, denials| {
            let reason = reason.map(|text| Reason::parse(text.as_bytes()).unwrap());
            Request::Hold(HoldRequest::Edit(HoldEdit { model: model.clone(), members, reason, denials }))
        };
        let updates = |verb, request| Some(Task::Updates(verb, None, request, Mode::Write));
        let addresses = Members::Addresses(vec![Address::parse(b"10.0.0.1").unwrap()]);
        let group = Members::Group(GroupName::parse(b"canary").unwrap());
        assert_eq!(
            task("t disable --method hold --model m --ip 10.0.0.1,10.0.0.1 --reason disk"),
            updates(Verb::Disable, edit(addresses, Some("disk"), Some(denials.clone())))
        );
        assert_eq!(
            task("t enable --method hold --model m --group canary --no-deny"),
            updates(Verb::Enable, edit(group, None, None))
        );
        let status = |model| Request::Hold(HoldRequest::Status(model));
        assert_eq!(task("t status --method hold"), updates(Verb::Status, status(None)));
        assert_eq!(
            task("t status --method hold --model m"),
            updates(Verb::Status, status(Some(model.clone())))
        );
        let whom = Whom::Group(model.clone(), GroupName::parse(b"canary").unwrap());
        assert_eq!(
            task("t enable --method rsyncd --model m --group canary"),
            updates(Verb::Enable, Request::Rsyncd(denials, whom))
        );
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for wrong in [
            "t disable --method hold --ip 10.0.0.1 --reason x",
            "t disable --method hold --model m --reason x",
            "t disable --method hold --model m --ip , --reason x",
            "t disable --method hold --model m --ip 10.0.0.1",
            "t disable --method hold --model m --ip 10.0.0.1 --reason=",
            "t disable --method hold --model m --ip 10.0.0.0/24 --reason x",
            "t disable --method hold --model m --ip 10.0.0.1 --group g --reason x",
            "t disable --method hold --model m --ip 10.0.0.1 --reason x --module y",
            "t enable --method hold --model m --ip 10.0.0.1 --reason x",
            "t enable --method hold --model m --ip 10.0.0.1 --until 20:00",
            "t status --method hold --model m --ip 10.0.0.1",
            "t status --method hold --no-deny",
            "t disable --method rsyncd --group g",
            "t disable --method rsyncd --ip 10.0.0.1 --model m",
            "t disable --method rsyncd --ip 10.0.0.1 --reason x",
            "t disable --method crontab --reason x",
            "t daemon stop --model m",
            "t",
            "t disable",
            "t pause --method crontab",
            "t disable --method cron",
            "t disable --method rsyncd",
            "t disable --method rsyncd --ip ,",
            "t status --method rsyncd --ip ,",
            "t disable --method rsyncd --ip host",
            "t disable --method rsyncd --ip 10.0.0.1 --file x",
            "t disable --method rsyncd --ip 10.0.0.1 --pid-file x",
            "t disable --method rsyncd --ip 10.0.0.1 --port 0",
            "t disable --method crontab --ip 10.0.0.1",
            "t disable --method crontab --config x",
            "t disable --method crontab --module m",
            "t disable --method crontab --port 873",
            "t disable --method crontab --file x --user y",
            "t disable --method crontab --user ../x",
            "t disable --method crontab --until 20:00 --for 2h",
            "t disable --method crontab --until 25:00",
            "t disable --method crontab --for 2",
            "t enable --method crontab --for 2h",
            "t status --method crontab --until 20:00",
            "t daemon stop --for 2h",
            "t daemon stop --user x",
            "t status --method rsyncd --user x",
            "t status --method crontab --dry-run",
            "t daemon stop --dry-run",
            "t status stop --method crontab",
            "t daemon",
            "t daemon kill",
            "t daemon stop start",
            "t daemon stop --ip 10.0.0.1",
            "t daemon stop --method rsyncd",
            "t daemon stop --port x",
            "t disable --method crontab --wait -1",
        ] {
            assert_eq!(task(wrong), None, "{wrong}");
        }
    }
}
