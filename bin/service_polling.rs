//! `service_polling`: see `model_rollout::tools::service_polling`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(service_polling);
