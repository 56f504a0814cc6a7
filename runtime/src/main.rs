//! The `niyanta` binary: everything is in [`runtime::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::run()
}
