//! The executable `lucid-testnet`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lucid_testnet::cli::main()
}
