//! Arguments of `dispatch` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Parser};

use crate::error::{Error, Result};
use crate::names::{Address, ModelName, shown};
use crate::reason::Reason;
use crate::retention::Keep;
use crate::rollout::command::{Aim, Steer};
use crate::rollout::state::Worth;
use crate::rollout::tick::{self, Target};
use crate::time::Seconds;
use crate::tools::WaitOption;
use crate::version::Version;

/// Publishes a complete upload as a version, announces it in service.conf, and ends an upgrade that every member
/// confirmed. Replaces dispatch.sh and dispatchserver.sh.
#[derive(Debug, Parser)]
#[command(name = "dispatch", version)]
#[command(group = ArgGroup::new("command").args([
    "all", "rollback", "pin", "unpin", "prune", "history", "status", "explain", "pause", "resume", "promote", "abort",
    "retry", "mark", "adopt", "rebuild",
]))]
pub struct Cli {
    /// The model's directory below datamining_plugin and datamining_service
    #[arg(value_name = "APPNAME")]
    model: Option<OsString>,
    /// Where the members keep the model's versions
    #[arg(conflicts_with = "command", value_name = "PREFIXPATH")]
    prefix: Option<OsString>,
    /// The library's file name
    #[arg(conflicts_with = "command", value_name = "SONAME")]
    so_name: Option<OsString>,
    /// Do every stanza of the registry in one process [default: MONITOR_ROOT/scripts/dispatch/bin/dispatchserver.sh]
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "model")]
    all: Option<Option<PathBuf>>,
    /// Announce the confirmed version before the announced one again, at once and to all, and mark
    /// the one that is left bad
    #[arg(long)]
    rollback: bool,
    /// With --rollback: go to this version
    #[arg(long, value_name = "VERSION")]
    to: Option<OsString>,
    /// Announce this version again, and keep it: what is pushed is held until --unpin
    #[arg(long, value_name = "VERSION")]
    pin: Option<OsString>,
    /// Let go what is pushed
    #[arg(long)]
    unpin: bool,
    /// Delete now what --keep N, or keep=N in the member list, allows: of APPNAME, otherwise of every model
    #[arg(long)]
    prune: bool,
    /// Say what the next tick would do, of APPNAME or with --all, or what --prune would delete, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for those who meet it later: one line
    #[arg(long, value_name = "TEXT")]
    why: Option<OsString>,
    /// Publish a version that is bad, or was stopped or aborted; go to or pin one that was never
    /// confirmed
    #[arg(long)]
    force: bool,
    /// Delete old versions when an upgrade has ended, but for N besides those that are announced, were before, or are reported
    #[arg(long, value_name = "N")]
    keep: Option<OsString>,
    /// Show what every member of APPNAME, or of each model, does about the announced version; exit 0 only when all converged
    #[arg(long)]
    status: bool,
    /// Show what happened to APPNAME, and who did it: a line for each event
    #[arg(long)]
    history: bool,
    /// With --status: as one line of JSON (docs/fleet.md); with --history: as it is written, a line of JSON for each event
    #[arg(long)]
    json: bool,
    /// With --status: again every two seconds until all converged
    #[arg(long)]
    watch: bool,
    /// With --status: write FILE for node_exporter's textfile collector, named *.prom, instead of showing anything (docs/fleet.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "watch"])]
    metrics: Option<PathBuf>,
    /// With --watch: give up after so long
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    timeout: Option<OsString>,
    /// Say why a member did or did not take the announced version
    #[arg(long, num_args = 2, value_names = ["MODEL", "MEMBER"], conflicts_with = "model")]
    explain: Option<Vec<OsString>>,
    /// Let nobody else take the version of APPNAME that is rolled out, until --resume
    #[arg(long)]
    pause: bool,
    /// Let a rollout of APPNAME go on that was paused, stopped or aborted
    #[arg(long)]
    resume: bool,
    /// Let the next batch of APPNAME in now
    #[arg(long)]
    promote: bool,
    /// End the upgrade of APPNAME that is in flight; whoever does not have it stays as it is
    #[arg(long)]
    abort: bool,
    /// Let the members of APPNAME on which the version failed try it again
    #[arg(long)]
    retry: bool,
    /// Say what a version is worth: good or bad
    #[arg(long, num_args = 3, value_names = ["MODEL", "VERSION", "good|bad"], conflicts_with = "model")]
    mark: Option<Vec<OsString>>,
    /// Let members follow APPNAME again after this monitor was restored from a backup
    #[arg(long)]
    adopt: bool,
    /// Make the lost or damaged state of APPNAME anew, from its versions, service.conf and reports
    #[arg(long)]
    rebuild: bool,
    /// Work on so many models at once, each model's log lines in one piece; a large one delays neither the others nor their next tick
    #[arg(long, value_name = "N", requires = "all", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    #[command(flatten)]
    wait: WaitOption,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// One model's tick.
    One(Target, Extent),
    /// That of every model of a registry; `None` is the monitor's own.
    All(Option<PathBuf>, Extent),
    /// An operator's hand in a model's rollout, and why.
    Steer(ModelName, Steer, String),
    /// What the members do about the announced version.
    Status(StatusRequest),
    /// What happened to a model.
    History(ModelName, Shape),
    /// Why one of them does so.
    Explain(ModelName, Address),
    /// An older version is announced again.
    Rollback(ModelName, tick::Request),
    /// What is pushed goes on.
    Unpin(ModelName, String),
    /// A person says what a version is worth.
    Mark(ModelName, Version, Worth, String),
    /// A restored monitor is meant so.
    Adopt(ModelName, String),
    /// A lost state is made anew.
    Rebuild(ModelName),
    /// Old versions of a model, or of all, are deleted.
    Prune(Option<ModelName>, Extent),
}

/// How far a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It says what it would do.
    Said,
    /// It does it.
    Done,
}

/// What `--status` is to show.
#[derive(Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// The model; `None`: every one that has a member list.
    pub model: Option<ModelName>,
    /// For whom.
    pub shape: Shape,
    /// How often.
    pub watch: Watch,
    /// The file to write instead of showing anything.
    pub metrics: Option<PathBuf>,
}

/// For whom a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How often a status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Once.
    Once,
    /// Until all converged, or so long.
    UntilConverged(Option<Seconds>),
}

/// How it is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// How long to wait for a lock.
    pub wait: WaitOption,
    /// How many old versions are kept; `None` leaves it to the member list.
    pub keep: Option<Keep>,
    /// Whether a version that was marked bad is published all the same.
    pub is_forced: bool,
    /// How many models are worked on at once.
    pub jobs: usize,
}

/// Makes a command's request.
type Make = fn(&Cli) -> Result<Request>;

impl Manner {
    /// What of it the rollout has to know.
    pub fn of_tick(self) -> tick::Manner {
        tick::Manner { is_forced: self.is_forced, keep: self.keep }
    }
}

impl Cli {
    /// What is to be done, and how. Each command has a function, which says what options it takes.
    pub fn request(self) -> Result<(Request, Manner)> {
        // clap sees to it that there are not two.
        let commands: [(bool, Make); 16] = [
            (self.all.is_some(), Cli::all),
            (self.rollback, Cli::rollback),
            (self.pin.is_some(), Cli::pin),
            (self.unpin, Cli::unpin),
            (self.prune, Cli::prune),
            (self.history, Cli::history),
            (self.status, Cli::status),
            (self.explain.is_some(), Cli::explain),
            (self.pause, |cli| cli.steer("--pause", Steer::Pause)),
            (self.resume, |cli| cli.steer("--resume", Steer::Resume)),
            (self.promote, |cli| cli.steer("--promote", Steer::Promote)),
            (self.abort, |cli| cli.steer("--abort", Steer::Abort)),
            (self.retry, |cli| cli.steer("--retry", Steer::Retry)),
            (self.mark.is_some(), Cli::mark),
            (self.adopt, Cli::adopt),
            (self.rebuild, Cli::rebuild),
        ];
        let asked_for = commands.into_iter().find(|(is_asked_for, _)| *is_asked_for);
        let make = asked_for.map_or(Cli::tick as Make, |(_, make)| make);
        Ok((make(&self)?, self.manner()?))
    }

    fn tick(&self) -> Result<Request> {
        self.takes("a tick", &["--dry-run", "--force", "--keep", "--wait"])?;
        match (&self.model, &self.prefix, &self.so_name) {
            (Some(model), Some(prefix), Some(so_name)) => {
                let target = Target::parse(model.as_bytes(), prefix.as_bytes(), so_name.as_bytes())?;
                Ok(Request::One(target, self.extent()))
            }
            _ => Err(Error::usage("APPNAME, PREFIXPATH and SONAME are needed; see dispatch --help")),
        }
    }

    fn all(&self) -> Result<Request> {
        self.takes("--all", &["--dry-run", "--keep", "--wait"])?;
        Ok(Request::All(self.all.clone().flatten(), self.extent()))
    }

    fn rollback(&self) -> Result<Request> {
        self.takes("--rollback", &["--to", "--why", "--force", "--wait"])?;
        let to = self.to.as_ref().map(|to| Version::of_directory(to.as_bytes())).transpose()?;
        self.announce_again(to.map_or(Aim::Back, Aim::BackTo))
    }

    fn pin(&self) -> Result<Request> {
        self.takes("--pin", &["--why", "--force", "--wait"])?;
        let version = self.pin.as_ref().map_or(b"".as_slice(), |version| version.as_bytes());
        self.announce_again(Aim::Pin(Version::of_directory(version)?))
    }

    fn announce_again(&self, aim: Aim) -> Result<Request> {
        let (model, reason) = (self.model()?, self.reason()?);
        Ok(Request::Rollback(model, tick::Request { aim, is_forced: self.force, reason }))
    }

    fn unpin(&self) -> Result<Request> {
        self.takes("--unpin", &["--why", "--wait"])?;
        Ok(Request::Unpin(self.model()?, self.reason()?))
    }

    fn mark(&self) -> Result<Request> {
        self.takes("--mark", &["--why", "--wait"])?;
        let Some([model, version, worth]) = self.mark.as_deref() else {
            return Err(Error::usage("MODEL, VERSION and good or bad are needed; see dispatch --help"));
        };
        let worth = match worth.as_bytes() {
            b"good" => Worth::Good,
            b"bad" => Worth::Bad,
            other => {
                let other = shown(other);
                return Err(Error::usage(format!("{other} is no mark; write good or bad")));
            }
        };
        let (model, version) =
            (ModelName::parse(model.as_bytes())?, Version::of_directory(version.as_bytes())?);
        Ok(Request::Mark(model, version, worth, self.reason()?))
    }

    fn adopt(&self) -> Result<Request> {
        self.takes("--adopt", &["--why", "--wait"])?;
        Ok(Request::Adopt(self.model()?, self.reason()?))
    }

    fn rebuild(&self) -> Result<Request> {
        self.takes("--rebuild", &["--wait"])?;
        self.model().map(Request::Rebuild)
    }

    fn prune(&self) -> Result<Request> {
        self.takes("--prune", &["--dry-run", "--keep", "--wait"])?;
        Ok(Request::Prune(self.model_if_any()?, self.extent()))
    }

    fn history(&self) -> Result<Request> {
        self.takes("--history", &["--json"])?;
        Ok(Request::History(self.model()?, self.shape()))
    }

    fn status(&self) -> Result<Request> {
        self.takes("--status", &["--json", "--watch", "--metrics"])?;
        let limit = self.timeout.as_ref().map(|limit| Seconds::parse(limit.as_bytes()));
        let limit = limit.transpose().map_err(|e| e.context("--timeout"))?;
        let watch = if self.watch { Watch::UntilConverged(limit) } else { Watch::Once };
        let metrics = self.metrics.as_deref().map(metrics).transpose()?;
        Ok(Request::Status(StatusRequest {
            model: self.model_if_any()?,
            shape: self.shape(),
            watch,
            metrics,
        }))
    }

    fn explain(&self) -> Result<Request> {
        self.takes("--explain", &[])?;
        match self.explain.as_deref() {
            Some([model, member]) => {
                let (model, member) =
                    (ModelName::parse(model.as_bytes())?, Address::parse(member.as_bytes())?);
                Ok(Request::Explain(model, member))
            }
            _ => Err(Error::usage("MODEL and MEMBER are needed; see dispatch --help")),
        }
    }

    fn steer(&self, command: &str, verb: Steer) -> Result<Request> {
        self.takes(command, &["--why", "--wait"])?;
        Ok(Request::Steer(self.model()?, verb, self.reason()?))
    }

    /// Fails (exit 2) at the first option that a command does not take: one without effect would be taken for done. That --jobs
    /// needs --all and --timeout needs --watch, clap knows.
    fn takes(&self, command: &str, taken: &[&str]) -> Result<()> {
        let given = [
            ("--to", self.to.is_some()),
            ("--dry-run", self.dry_run),
            ("--why", self.why.is_some()),
            ("--force", self.force),
            ("--keep", self.keep.is_some()),
            ("--json", self.json),
            ("--watch", self.watch),
            ("--metrics", self.metrics.is_some()),
            ("--wait", self.wait.wait.is_some()),
        ];
        let stray = given.into_iter().find(|(option, is_given)| *is_given && !taken.contains(option));
        let Some((stray, _)) = stray else { return Ok(()) };
        Err(Error::usage(format!("{command} does not take {stray}; see dispatch --help")))
    }

    fn manner(&self) -> Result<Manner> {
        let keep = self.keep.as_ref().map(|number| Keep::parse(number.as_bytes()));
        let keep = keep.transpose().map_err(|e| e.context("--keep"))?;
        Ok(Manner { wait: self.wait, keep, is_forced: self.force, jobs: usize::from(self.jobs) })
    }

    fn extent(&self) -> Extent {
        if self.dry_run { Extent::Said } else { Extent::Done }
    }

    fn shape(&self) -> Shape {
        if self.json { Shape::Json } else { Shape::Table }
    }

    fn reason(&self) -> Result<String> {
        let reason = Reason::parse(self.why.as_ref().map_or(b"", |why| why.as_bytes()))?;
        Ok(reason.as_str().to_owned())
    }

    fn model_if_any(&self) -> Result<Option<ModelName>> {
        self.model.as_ref().map(|model| ModelName::parse(model.as_bytes())).transpose()
    }

    fn model(&self) -> Result<ModelName> {
        self.model_if_any()?.ok_or_else(|| Error::usage("APPNAME is needed; see dispatch --help"))
    }
}

/// The collector passes over a file of another name, without a word.
fn metrics(file: &Path) -> Result<PathBuf> {
    if file.extension().is_some_and(|extension| extension == "prom") {
        return Ok(file.to_path_buf());
    }
    let file = shown(file.as_os_str().as_bytes());
    Err(Error::usage(format!("--metrics: the textfile collector reads only *.prom; name {file} so")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<(Request, Manner)> {
        Cli::try_parse_from(["dispatch"].iter().chain(arguments)).ok()?.request().ok()
    }

    fn request(arguments: &[&str]) -> Option<Request> {
        parsed(arguments).map(|(request, _)| request)
    }

    #[test]
    fn how_many_versions_are_kept_may_be_said_for_one_model_and_for_all() {
        for arguments in [&["m", "/w", "m.so", "--keep", "3"][..], &["--all", "--keep=3"]] {
            let keep = parsed(arguments).and_then(|(_, manner)| manner.keep);
            assert_eq!(keep, Keep::parse(b"3").ok(), "{arguments:?}");
        }
        assert_eq!(parsed(&["--all"]).and_then(|(_, manner)| manner.keep), None);
    }

    #[test]
    fn the_three_arguments_of_the_script_are_one_target() {
        let target = Target::parse(b"m", b"/w/plugin/m", b"m.so").unwrap();
        let tick = |extent| Some(Request::One(target.clone(), extent));
        assert_eq!(request(&["m", "/w/plugin/m", "m.so"]), tick(Extent::Done));
        assert_eq!(request(&["m", "/w/plugin/m", "m.so", "--dry-run"]), tick(Extent::Said));
        assert_eq!(request(&["--all"]), Some(Request::All(None, Extent::Done)));
        assert_eq!(request(&["--all", "r.sh"]), Some(Request::All(Some("r.sh".into()), Extent::Done)));
        assert_eq!(request(&["--all", "--dry-run"]), Some(Request::All(None, Extent::Said)));
    }

    #[test]
    fn a_history_is_of_one_model() {
        let of = |shape| Some(Request::History(ModelName::parse(b"m").unwrap(), shape));
        assert_eq!(request(&["--history", "m"]), of(Shape::Table));
        assert_eq!(request(&["m", "--history", "--json"]), of(Shape::Json));
        for wrong in [&["--history"][..], &["--history", "m", "/w"], &["--history", "--status", "m"]] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_hand_in_a_rollout_needs_the_model_alone() {
        let model = || ModelName::parse(b"m").unwrap();
        let paused = Request::Steer(model(), Steer::Pause, "a test".to_owned());
        assert_eq!(request(&["--pause", "m", "--why", "a test"]), Some(paused));
        assert_eq!(request(&["m", "--abort"]), Some(Request::Steer(model(), Steer::Abort, String::new())));
        for wrong in [
            &["--pause"][..],
            &["--pause", "--resume", "m"],
            &["--pause", "m", "/w"],
            &["--promote", "--all"],
            &["--resume", "../m"],
            &["m", "/w", "m.so", "--why", "x"],
        ] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_status_is_of_one_model_or_of_all_and_may_be_watched() {
        let status = |model: Option<&str>, shape, watch| {
            let model = model.map(|model| ModelName::parse(model.as_bytes()).unwrap());
            Some(Request::Status(StatusRequest { model, shape, watch, metrics: None }))
        };
        assert_eq!(request(&["--status"]), status(None, Shape::Table, Watch::Once));
        assert_eq!(request(&["--status", "m", "--json"]), status(Some("m"), Shape::Json, Watch::Once));
        let watched = |limit| status(Some("m"), Shape::Table, Watch::UntilConverged(limit));
        assert_eq!(request(&["--status", "m", "--watch"]), watched(None));
        assert_eq!(request(&["--status", "--watch", "--timeout", "9", "m"]), watched(Some(Seconds(9))));
        let metrics = Request::Status(StatusRequest {
            model: None,
            shape: Shape::Table,
            watch: Watch::Once,
            metrics: Some("x.prom".into()),
        });
        assert_eq!(request(&["--status", "--metrics", "x.prom"]), Some(metrics));
        let [model, member] = ["m", "10.0.0.1"];
        let explain = Request::Explain(
            ModelName::parse(model.as_bytes()).unwrap(),
            Address::parse(member.as_bytes()).unwrap(),
        );
        assert_eq!(request(&["--explain", model, member]), Some(explain));
    }

    #[test]
    fn a_rollback_names_the_model_alone() {
        let version = Version::parse(b"20180413192258").unwrap();
        for (arguments, aim, is_forced) in [
            (&["--rollback", "m", "--why", "w"][..], Aim::Back, false),
            (&["m", "--rollback", "--why=w"], Aim::Back, false),
            (&["--rollback", "m", "--to", "20180413192258", "--why=w"], Aim::BackTo(version.clone()), false),
            (&["--pin", "20180413192258", "m", "--force", "--why=w"], Aim::Pin(version.clone()), true),
        ] {
            let model = ModelName::parse(b"m").unwrap();
            let reason = "w".to_owned();
            let expected = Request::Rollback(model, tick::Request { aim, is_forced, reason });
            assert_eq!(request(arguments), Some(expected), "{arguments:?}");
        }
        assert_eq!(request(&["--prune"]), Some(Request::Prune(None, Extent::Done)));
        let prune = Request::Prune(ModelName::parse(b"m").ok(), Extent::Said);
        assert_eq!(request(&["--prune", "m", "--dry-run", "--keep=2"]), Some(prune));
        assert_eq!(
            request(&["--unpin", "m"]),
            Some(Request::Unpin(ModelName::parse(b"m").unwrap(), String::new()))
        );
        assert!(parsed(&["--force", "m", "/w", "m.so"]).is_some_and(|(_, manner)| manner.is_forced));
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        for wrong in [
            &["--status", "m", "/w", "m.so"][..],
            &["--status", "--all"],
            &["--status", "../m"],
            &["--status", "m", "--timeout", "9"],
            &["--status", "m", "--watch", "--timeout", "x"],
            &["m", "/w", "m.so", "--json"],
            &["m", "/w", "m.so", "--watch"],
            &["m", "/w", "m.so", "--metrics", "x.prom"],
            &["--metrics", "x.prom"],
            &["--status", "--metrics", "x.txt"],
            &["--status", "--metrics", ".prom"],
            &["--status", "--metrics", "x.prom", "--json"],
            &["--status", "--metrics", "x.prom", "--watch"],
            &["--explain", "m"],
            &["--explain", "m", "a/b"],
            &["--explain", "m", "h", "x"],
            &[],
            &["m"],
            &["m", "/w"],
            &["m", "/w", "m.so", "x"],
            &["../m", "/w", "m.so"],
            &["m", "/w w", "m.so"],
            &["m", "w", "m.so"],
            &["m", "/w", "lib/m.so"],
            &["m", "/w", "m.so", "--wait", "-1"],
            &["m", "/w", "m.so", "--keep", "0"],
            &["--all", "--keep=x"],
            &["--all", "--force"],
            &["--rollback"],
            &["--rollback", "../m"],
            &["--rollback", "m", "/w", "m.so"],
            &["--rollback", "m", "--to", "../x"],
            &["--rollback", "m", "--why", "a\nb"],
            &["--rollback", "m", "--unpin"],
            &["--to", "20180413192258", "m"],
            &["--pin", "m"],
            &["--rollback", "m", "--dry-run"],
            &["--status", "--dry-run"],
            &["m", "/w", "m.so", "--to", "20180413192258"],
            &["--rollback", "m", "--status"],
            &["--prune", "--pause", "m"],
            &["--unpin", "m", "--force"],
            &["--unpin", "m", "--keep", "3"],
            &["--rollback", "m", "--keep", "3"],
            &["--pin", "20180413192258", "m", "--keep", "3"],
            &["--history", "m", "--force"],
            &["m", "/w", "m.so", "--why", "w"],
        ] {
            assert_eq!(request(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_option_that_a_command_does_not_take_is_named() {
        let refused = |arguments: &[&str]| {
            let cli = Cli::try_parse_from(["dispatch"].iter().chain(arguments)).unwrap();
            cli.request().unwrap_err().to_string()
        };
        for (arguments, what) in [
            (&["--unpin", "m", "--dry-run"][..], "--unpin does not take --dry-run"),
            (&["--pause", "m", "--keep", "3"], "--pause does not take --keep"),
            (&["m", "/w", "m.so", "--to", "x"], "a tick does not take --to"),
            (&["--history", "m", "--why", "w"], "--history does not take --why"),
            (&["--history", "m", "--keep", "3"], "--history does not take --keep"),
            (&["--history", "m", "--wait", "3"], "--history does not take --wait"),
            (&["--rollback"], "APPNAME is needed"),
        ] {
            assert_eq!(refused(arguments), format!("{what}; see dispatch --help"));
        }
    }
}
