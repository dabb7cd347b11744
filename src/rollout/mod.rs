//! What a model goes through, as pure functions: no clock, no file, no tool. docs/state.md has the
//! picture.
//!
//! - [`state`]: the one document, and what a version is worth.
//! - [`event`]: what can happen, and what each event makes of the state and tells the history.
//! - [`reconcile`]: what others did to service.conf, `status` and `success`, as events.
//! - [`advance`]: how the rollout in flight goes on, as events.
//! - [`command`]: what operators want, as events or refusals.
//! - [`retention`]: which versions may be deleted.
//! - [`follow`]: what a member does about an announcement.
//! - [`policy`], [`batches`], [`verdict`]: how a rollout is meant to go, and what is known of a
//!   member.

pub mod advance;
pub mod batches;
pub mod command;
pub mod event;
#[cfg(test)]
pub mod fixtures;
pub mod follow;
pub mod history;
pub mod policy;
pub mod reconcile;
pub mod retention;
pub mod state;
pub mod tick;
pub mod verdict;
