//! `service-discovery`: see `model_rollout::tools::service_discovery`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(service_discovery);
