//! `add_dispatch_docker`: see `model_rollout::tools::add_dispatch_docker`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::add_dispatch_docker::main()
}
