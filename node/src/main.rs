//! The `lucid` binary. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lucid_node::cli::main()
}
