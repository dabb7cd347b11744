//! `service-discovery register|status`: replaces the two HTTP calls of the manual (contract section 3, "Service discovery").
//!
//! Reads an env.sh, or on the monitor the member list of a model and its service.conf; writes no file. Exit codes: 0
//! registered or shown, 1 failed or the members differ from what is registered, 2 wrong usage or bad input file.

use crate::error::Result;
use crate::formats::discovery_answer::Instance;
use crate::formats::shell::Context;
use crate::machine::{clock, environment, terminal};

mod apply;
mod cli;
mod decide;
mod observe;
mod settings;

use cli::{Asked, Cli, Patience, Show};
use decide::Report;
use settings::{Call, Plan};

const PROGRAM: &str = "service-discovery";

/// Runs `service-discovery` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let request = cli.request()?;
    let files = observe::files(&request.places)?;
    let now = clock::now();
    let context = Context { environment: &environment::variable, now: &now };
    let plan = settings::plan(&request, &files, &context)?;
    let show = match request.verb {
        Asked::Status { show, .. } => show,
        Asked::Register => Show::Table,
    };
    let instances = match &plan.call {
        Call::Register { url, form } => {
            apply::register(url, form, request.patience)?;
            terminal::say(format!("registered {}/{}", plan.group, plan.service));
            return Ok(());
        }
        Call::Ask { url, query } => apply::ask(url, query, request.patience)?,
        Call::AskZooKeeper { cluster, node } => apply::ask_zookeeper(cluster, node, request.patience)?,
    };
    report(&plan, instances, show, request.patience)
}

fn report(plan: &Plan, instances: Vec<Instance>, show: Show, patience: Patience) -> Result<()> {
    let expected = plan.members.as_ref();
    let members = expected.map(|members| observe::members(&members.addresses, patience.connect));
    let expected = members.as_deref().zip(expected.map(|members| members.port));
    let report = Report::new(&plan.group, &plan.service, instances, expected);
    for line in report.lines(show)? {
        terminal::say(line);
    }
    report.verdict()
}
