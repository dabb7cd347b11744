//! `dispatch`: see `model_rollout::tools::dispatch`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(dispatch);
