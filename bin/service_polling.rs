//! `service_polling`: see `model_rollout::tools::service_polling`.

fn main() -> std::process::ExitCode {
    model_rollout::tools::service_polling::main()
}
