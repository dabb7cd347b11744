//! `dockerrun VERSION DOCKER_NAME PORT SERVICE_NAME`, the `docker run` of dockerrun.sh (contract section 3), and the look
//! afterwards, `dockerrun --check DOCKER_NAME` (manual, step 7).
//!
//! Runs `docker` as PATH finds it; reads `SERVICE_ROOT/env.sh` if it is there, and the table of ports if this host has one
//! (see `port-registry`). Before the start it sees that the port is free; after it, it waits until somebody accepts
//! connections on the port. Writes nothing itself: host directories that are missing are created by the engine, as root,
//! as they are for the script. The container's id goes to standard output, as the script's does.
//!
//! Exit codes: 0 started and answering (checked: image, container and service are there), 1 failed, 2 wrong usage or a
//! settings file that cannot be read.

use crate::error::{Result, one_line};
use crate::layout::ContainerHost;
use crate::machine::{environment, terminal};

mod apply;
mod cli;
mod command;
mod decide;
mod engine;
mod observe;

use cli::{Cli, Task};
use command::Settings;

const PROGRAM: &str = "dockerrun";

/// Runs `dockerrun` with the process's arguments, and returns its exit code.
pub fn main() -> u8 {
    super::start(PROGRAM, run)
}

fn run(cli: Cli) -> Result<()> {
    let (task, given) = cli.task()?;
    let host = ContainerHost { root: environment::from_root(&environment::service_root())? };
    let settings = Settings::new(&host, given, observe::given(&host)?)?;
    match task {
        Task::Print(start) => {
            terminal::say(command::shown(&settings.docker_run(&start)));
            Ok(())
        }
        Task::Start(start) => {
            decide::may_start(&start, &observe::before_start(&start)?)?;
            apply::start(&start, &settings)
        }
        Task::Check(image) => {
            let (lines, problem) = decide::check(&observe::running(&host, &settings, &image)?);
            lines.iter().for_each(|line| terminal::say(one_line(line)));
            problem.map_or(Ok(()), Err)
        }
    }
}
