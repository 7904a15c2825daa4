//! `kes-server`: the lean server binary. `kes server` runs the same library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kes_server::main_with(std::env::args_os().skip(1))
}
