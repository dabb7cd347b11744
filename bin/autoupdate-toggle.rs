//! `autoupdate-toggle`: see `model_rollout::tools::autoupdate_toggle`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(autoupdate_toggle);
