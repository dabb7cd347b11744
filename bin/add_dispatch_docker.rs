//! `add_dispatch_docker`: see `model_rollout::tools::add_dispatch_docker`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(add_dispatch_docker);
