//! The one test binary: a file per subject. See harness/ for what they stand on.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs, reason = "a test's name says what it shows")]

mod asking;
mod bad_input;
mod batches;
mod corpus;
mod crash;
mod cron;
mod daemon;
mod daemon_effect;
mod defects;
mod demo;
mod discovery;
mod dockerrun;
mod dry_run;
mod golden;
mod harness;
mod harness_itself;
mod health;
mod history;
mod holds;
mod hooks;
mod hostile;
mod jobs;
mod laws_of_crontab;
mod laws_of_dispatchserver_sh;
mod laws_of_env_sh;
mod laws_of_port_table;
mod laws_of_rsyncd_conf;
mod laws_of_service_conf;
mod laws_of_version;
mod ledger;
mod locks;
mod manifests;
mod manual;
mod mixed_fleet;
mod network;
mod port_registry;
mod processes;
mod races;
mod retention;
mod rollback;
mod scripts;
mod service_conf_check;
mod shells;
mod spread;
mod status;
mod steering;
mod toggle;
mod toggle_fleet;
mod toggle_include;
mod toggle_until;
mod unchanged;
mod wait;
mod wrappers;
