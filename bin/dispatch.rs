//! `dispatch`: see `model_rollout::tools::dispatch`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::dispatch::main()
}
