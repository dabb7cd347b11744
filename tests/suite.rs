//! The one test binary.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]
