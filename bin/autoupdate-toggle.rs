//! `autoupdate-toggle`: see `model_rollout::tools::autoupdate_toggle`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::autoupdate_toggle::main()
}
