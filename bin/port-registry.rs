//! `port-registry`: see `model_rollout::tools::port_registry`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(port_registry);
