//! Hands the process's arguments to the library and its verdict to the operating system.

use std::process::ExitCode;

fn main() -> ExitCode {
    nauta::main(std::env::args_os().collect())
}
