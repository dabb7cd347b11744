//! `dockerrun`: see `model_rollout::tools::dockerrun`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(dockerrun);
