//! The only door to the outside. Knows no tool and no format.
//!
//! Everything that can fail here returns an [`crate::error::Error`] that already names the path or the peer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

pub mod clock;
pub mod configurations;
pub mod directory;
pub mod environment;
pub mod files;
pub mod frames;
pub mod http;
pub mod links;
pub mod locks;
pub mod net;
pub mod probe;
pub mod proc;
pub mod processes;
pub mod rsync;
pub mod service;
pub mod terminal;
pub mod trees;
pub mod versions;
pub mod zookeeper;
