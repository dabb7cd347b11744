//! `rsync-push`: see `model_rollout::tools::rsync_push`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::rsync_push::main()
}
