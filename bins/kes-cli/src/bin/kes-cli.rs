//! `kes-cli`: the same program as `kes`, for machines where that name is taken.

fn main() -> std::process::ExitCode {
    kes_cli::main(std::env::args_os())
}
