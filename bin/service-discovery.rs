//! `service-discovery`: see `model_rollout::tools::service_discovery`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::service_discovery::main()
}
