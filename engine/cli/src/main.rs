//! `smartengine`, a program that looks into stores.

fn main() -> std::process::ExitCode {
    smartengine_cli::run()
}
