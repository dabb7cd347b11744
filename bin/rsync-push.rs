//! `rsync-push`: see `model_rollout::tools::rsync_push`.
#![cfg_attr(target_env = "gnu", no_main)]

model_rollout::main!(rsync_push);
