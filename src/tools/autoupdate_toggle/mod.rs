//! TODO
use std::process::ExitCode;

/// TODO
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
