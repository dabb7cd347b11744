//! One module per binary. A tool never imports another tool. What several of them do in the same
//! way is here, in [`edit`], [`control`], [`history`], [`hooks`], [`lift`], [`member_list`] and
//! [`rsyncd_files`]; what they do to a model's files, in [`shared`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

use crate::error::{Error, Exit, Result, one_line};
use crate::formats::Finding;
use crate::machine::locks::Wait;
use crate::machine::{processes, terminal};

pub mod add_dispatch_docker;
pub mod autoupdate_toggle;
pub mod control;
pub mod dispatch;
pub mod dockerrun;
pub mod edit;
pub mod history;
pub mod hooks;
pub mod lift;
pub mod member_list;
pub mod port_registry;
pub mod rsync_push;
pub mod rsyncd_files;
pub mod service_discovery;
pub mod service_polling;
pub mod shared;

/// The `main` of a binary, by its tool's name.
///
/// Where the GNU C library starts the program, it is called by that, and what Rust's standard library does before a `main` is left out: it reads
/// the process's memory map and makes a stack for signals, so that a stack that overflows is named before the process dies of it, and
/// that is a tenth of a start (docs/benchmarks.md). What else it does there, `start` does, but for the name of the thread, and for a panic
/// that unwinds: there is none in a release, and a test build ends with SIGABRT. Elsewhere the arguments would not be known.
#[macro_export]
macro_rules! main {
    ($tool:ident) => {
        #[cfg(not(target_env = "gnu"))]
        fn main() -> std::process::ExitCode {
            $crate::tools::$tool::main().into()
        }

        // SAFETY: this is the program's only `main`, and C's `int main(void)` is a way to write it.
        #[cfg(target_env = "gnu")]
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> std::ffi::c_int {
            $crate::tools::$tool::main().into()
        }
    };
}

/// The outer shell of every binary: reads the arguments, runs the tool, prints its error as one line on standard error,
/// and returns the exit code (contract section 4).
fn start<Cli: Parser>(program: &str, run: impl FnOnce(Cli) -> Result<()>) -> u8 {
    terminal::open_closed_streams();
    processes::report_failed_writes();
    terminal::start_diagnostics();
    let failure = match parse::<Cli>(program, std::env::args_os()) {
        Parsed::Request(cli) => run(cli).err(),
        Parsed::Help(text) => {
            terminal::say(text.trim_end());
            None
        }
        Parsed::Wrong(error) => Some(error),
    };
    if let Some(error) = &failure {
        terminal::complain(program, error);
    }
    terminal::flush();
    failure.map_or(0, |error| error.exit.code())
}

/// A finding and the file that it is about.
type Found = (PathBuf, Finding);

/// Prints findings to standard output, a line each: they are the answer that was asked for.
/// Fails (exit 1) when there are any, with their number and what they are about.
fn report(found: &[Found], about: &str) -> Result<()> {
    for (path, finding) in found {
        terminal::say(one_line(&format!("{}:{finding}", path.display())));
    }
    match found.len() {
        0 => Ok(()),
        1 => Err(Error::failed(format!("1 finding {about}; correct it, and check again"))),
        count => Err(Error::failed(format!("{count} findings {about}; correct them, and check again"))),
    }
}

/// The failure of a check that could not look at everything: exit 2, since 1 means findings.
fn unreadable(mut error: Error) -> Error {
    error.exit = Exit::Usage;
    error
}

/// `--wait`, as every binary has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
struct WaitOption {
    /// Wait that long for another run to end, instead of ending with exit code 75
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
}

impl WaitOption {
    /// How long to wait for the lock: as was asked for, otherwise as the tool is used to.
    fn or(self, habit: Wait) -> Wait {
        match self.wait {
            Some(seconds) => Wait::AtMost(Duration::from_secs(u64::from(seconds))),
            None => habit,
        }
    }
}

enum Parsed<Cli> {
    Request(Cli),
    Help(String),
    Wrong(Error),
}

fn parse<Cli: Parser>(program: &str, arguments: impl Iterator<Item = OsString>) -> Parsed<Cli> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Parsed::Request(cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Parsed::Help(error.to_string())
        }
        Err(error) => {
            let text = error.to_string();
            // clap's first paragraph says what is wrong; the rest repeats the usage.
            let paragraph = text.split("\n\n").next().unwrap_or_default();
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            let what = words.join(" ");
            let what = what.strip_prefix("error: ").unwrap_or(&what);
            Parsed::Wrong(Error::usage(format!("{what}; see {program} --help")))
        }
    }
}
