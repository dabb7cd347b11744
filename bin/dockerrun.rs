//! `dockerrun`: see `model_rollout::tools::dockerrun`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::dockerrun::main()
}
