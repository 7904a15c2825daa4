//! `kes`: everything is in the library.

fn main() -> std::process::ExitCode {
    kes_cli::main(std::env::args_os())
}
