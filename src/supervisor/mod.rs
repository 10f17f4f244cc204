//! nauta inside a rank: PID 1, rendezvous, journal, control server, outputs.
//!
//! Owns: what happens in a container from its first instruction to its last. Does not own: the container (the engines
//! do). Start reading at [`main`], then `rank`.

mod admission;
mod attempt;
mod bridge;
mod company;
mod config;
mod control_server;
mod entrypoint;
mod environment;
pub(crate) mod fuzz;
mod gang;
mod importable;
mod inbox;
mod inspection;
mod journal;
mod launch;
mod memory;
mod output;
mod outputs;
mod program;
mod rank;
mod reaper;
mod stall;
mod trunk;

use std::ffi::OsString;

use config::Config;

use crate::event::NOT_RUN;

/// Where nauta is called as a program that starts others on the hosts of a list (`ssh`, `rsh`, `pdsh`): does what that is
/// to do, and gives the exit code.
#[must_use]
pub fn front(arguments: &[OsString]) -> Option<u8> {
    launch::front(arguments)
}

/// Runs a rank: `arguments` are what follows `supervise` on the command line. Returns the process's exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    // As PID 1, a signal that arrives before a handler is there is lost: nothing may come before this.
    reaper::block_signals();
    if arguments.first().is_some_and(|argument| argument == "--bridge") {
        reaper::unblock_signals();
        return bridge::main();
    }
    let command = arguments.into_iter().skip_while(|argument| argument == "--").collect();
    match Config::from_environment(command) {
        Ok(config) => rank::run(config),
        Err(message) => {
            journal::say(&message);
            NOT_RUN
        }
    }
}
