//! Drop-in replacements for the shell scripts that roll machine-learning models out to a fleet of serving hosts.
//!
//! How to find your way:
//!
//! - The words of the trade, each validated once: [`names`], [`ip_range`], [`version`], [`time`], [`identity`], [`digest`],
//!   [`diff`], [`process`], [`daemon_answer`], [`by_path`]; which versions are kept: [`retention`]; where every file lies: [`layout`]; what a person
//!   reads when something is wrong: [`error`].
//! - [`formats`]: the files of the system as documents. Bytes in, bytes out; no I/O.
//! - [`machine`]: the only door to the outside: files, locks, processes, clock, network, terminal, rsync.
//! - [`tools`]: one module per binary. Each observes the machine, decides (a pure function), and applies the decision.
//! - [`rollout`]: what a model goes through, as pure functions: no clock, no file, no tool.
//!
//! Imports run one way: `bin -> lib -> tools -> {rollout, formats, machine, words}`;
//! `rollout -> {formats, words}`. docs/architecture.md says why.

pub mod by_path;
pub mod daemon_answer;
pub mod diff;
pub mod digest;
pub mod discovery;
pub mod error;
pub mod formats;
pub mod identity;
pub mod ip_range;
pub mod layout;
pub mod machine;
pub mod names;
pub mod process;
pub mod reason;
pub mod retention;
pub mod rollout;
pub mod time;
pub mod tools;
pub mod version;
