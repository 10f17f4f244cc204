//! Every environment variable that nauta reads or sets, one constant each: the reference page is made from this file.
//!
//! Owns: the names and their meaning. Does not own: reading them (`context` for the workstation, `supervisor` in a rank).

/// An environment variable: its name and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct EnvVar {
    /// The name.
    pub name: &'static str,
    /// What it means, with unit and default.
    pub meaning: &'static str,
}

macro_rules! env_vars {
    ($($(#[$group:meta])* $list:ident { $($constant:ident = $name:literal: $meaning:literal;)* })*) => {
        $(
            $(#[doc = $meaning] pub const $constant: &str = $name;)*
            $(#[$group])* pub const $list: &[EnvVar] = &[$(EnvVar { name: $name, meaning: $meaning }),*];
        )*
    };
}

env_vars! {
    /// Read on the workstation.
    WORKSTATION {
        CONFIG = "NAUTA_CONFIG": "The user's configuration file, in place of `$XDG_CONFIG_HOME/nauta/config.toml`.";
        STATE_DIR = "NAUTA_STATE_DIR": "Where nauta keeps its state, in place of `$XDG_STATE_HOME/nauta`.";
        TARGET = "NAUTA_TARGET": "The target to use, like `--target`.";
        LOG = "NAUTA_LOG": "What to trace on stderr, for example `nauta=debug`; like `-v`.";
        DOCKER_HOST = "DOCKER_HOST": "Docker's address, as the `docker` command reads it.";
        DOCKER_CONTEXT = "DOCKER_CONTEXT": "Docker's context, as the `docker` command reads it.";
        DOCKER_CONFIG = "DOCKER_CONFIG": "The folder of Docker's `config.json`, as the `docker` command reads it.";
        KUBECONFIG = "KUBECONFIG": "Kubernetes' configuration, as `kubectl` reads it.";
        NO_COLOR = "NO_COLOR": "When set and not empty: no colours.";
        CLICOLOR_FORCE = "CLICOLOR_FORCE": "When set and not `0`: colours even where no terminal is.";
    }
    /// Set by nauta for a rank's supervisor (in the manifest, or by the Docker engine).
    SUPERVISOR {
        RUN = "NAUTA_RUN": "The run's name.";
        PROJECT = "NAUTA_PROJECT": "The project's name.";
        NODES = "NAUTA_NODES": "How many ranks the run has.";
        RANK = "NAUTA_RANK": "This rank, 0 to NODES-1.";
        COORDINATOR = "NAUTA_COORDINATOR": "The name that rank 0 answers to.";
        OUTPUTS = "NAUTA_OUTPUTS": "The folder whose files come back to the workstation.";
        MAILBOX = "NAUTA_MAILBOX": "The mailbox as this container reaches it: `host[:port]/repository`. Unset: outputs go over the control stream.";
        MAILBOX_PLAIN_HTTP = "NAUTA_MAILBOX_PLAIN_HTTP": "`1` when the mailbox's registry is reached without TLS.";
        START_DEADLINE = "NAUTA_START_DEADLINE": "Seconds until every rank must have met the others.";
        GRACE = "NAUTA_GRACE": "Seconds between SIGTERM and SIGKILL.";
        DRAIN = "NAUTA_DRAIN": "Seconds that a rank waits at its end for outputs and logs to be delivered.";
        LEASE = "NAUTA_LEASE": "`stdin` when the rank must stop as soon as its standard input is closed (Docker: the workstation's nauta has died).";
    }
}
