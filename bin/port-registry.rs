//! `port-registry`: see `model_rollout::tools::port_registry`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::port_registry::main()
}
