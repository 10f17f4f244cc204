//! Where things are inside a rank's container, and on which ports: the same on Docker and on Kubernetes.
//!
//! Owns: paths, ports, ids, labels and naming rules that more than one layer has to agree on.

/// The supervisor: this very binary, put into the container.
pub const SUPERVISOR: &str = "/nauta/bin/nauta";
/// The folder that the project lies in, under its own name; programs may write here too (`../data`).
pub const WORKSPACE: &str = "/workspace";
/// What the program writes here comes back to the workstation (`$NAUTA_OUTPUTS`).
pub const OUTPUTS: &str = "/nauta/outputs";
/// What all ranks of a run share, where it was asked for (`$NAUTA_SHARED`).
pub const SHARED: &str = "/nauta/shared";
/// The supervisor's own files: journal, control state. Never part of the outputs.
pub const STATE: &str = "/nauta/state";
/// The list of hosts for programs that start others.
pub const HOSTFILE: &str = "/nauta/state/hostfile";
/// Where DeepSpeed looks for the list of hosts: a link to it.
pub const DEEPSPEED_HOSTFILE: &str = "/job/hostfile";
/// A writable home for user ids that have no passwd entry.
pub const HOME: &str = "/nauta/home";
/// The run's key: 64 hexadecimal digits, from a Secret (Kubernetes) or put in with the archive (Docker).
pub const RUN_KEY: &str = "/nauta/key/run-key";
/// The program's secrets, put in with the archive (Docker): a JSON object of variables. The supervisor takes it away.
pub const SECRETS: &str = "/nauta/secrets/variables";
/// The mailbox's credentials, when the pods need some: a Docker `config.json`.
pub const MAILBOX_CREDENTIALS: &str = "/nauta/mailbox/config.json";

/// Rank 0's supervisor listens here for the other ranks.
pub const GANG_PORT: u16 = 7117;
/// Every supervisor listens here, on loopback only, for the workstation (through port-forward or exec).
pub const CONTROL_PORT: u16 = 7118;
/// `MASTER_PORT` for the frameworks, unless the user sets one.
pub const MASTER_PORT: u16 = 29500;

/// User and group id that ranks run as, on both engines, so that a permission problem shows on the workstation first.
pub const USER_ID: u32 = 1000;

/// Label and annotation keys on everything nauta makes, in Docker and in Kubernetes.
pub mod label {
    /// `nauta`, on every object (the recommended Kubernetes label).
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`].
    pub const MANAGED_BY_NAUTA: &str = "nauta";
    /// The run's name.
    pub const RUN: &str = "nauta.dev/run";
    /// The project's name.
    pub const PROJECT: &str = "nauta.dev/project";
    /// Who started it (the workstation's user name).
    pub const USER: &str = "nauta.dev/user";
    /// Annotation: how many ranks, or `LEAST:MOST`.
    pub const NODES: &str = "nauta.dev/nodes";
    /// Annotation: the command, as one JSON array.
    pub const COMMAND: &str = "nauta.dev/command";
    /// Annotation: the snapshot's digest.
    pub const SNAPSHOT: &str = "nauta.dev/snapshot";
    /// Annotation: the mailbox's repository, as the workstation sees it; empty when there is none.
    pub const MAILBOX: &str = "nauta.dev/mailbox";
    /// Annotation of an environment image in a registry: the digest of all that it is made from.
    pub const ENVIRONMENT: &str = "nauta.dev/environment";
    /// Annotation: the version of nauta that made it.
    pub const VERSION: &str = "nauta.dev/version";
    /// Annotation: digest of the submitted Job; tells a repeated submission from another run of the same name.
    pub const SUBMISSION: &str = "nauta.dev/submission";
    /// Docker only: this container's rank.
    pub const RANK: &str = "nauta.dev/rank";
}

/// The project's files; the program's working directory. A project may have any name; a folder's is one part of a path, without
/// what shells would split it at.
#[must_use]
pub fn project_folder(project: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = project.chars().map(plain).collect();
    let name = name.trim_matches(['.', '-']);
    format!("{WORKSPACE}/{}", if name.is_empty() { "project" } else { name })
}

/// The host name of a rank: `<run>-<rank>` on both engines; `<run>-<rank>.<run>` resolves to it.
#[must_use]
pub fn hostname(run: &str, rank: u32) -> String {
    format!("{run}-{rank}")
}

/// The name every rank reaches another one by.
#[must_use]
pub fn peer(run: &str, rank: u32) -> String {
    format!("{}.{run}", hostname(run, rank))
}

/// The name every rank reaches rank 0 by.
#[must_use]
pub fn coordinator(run: &str) -> String {
    peer(run, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_project_has_a_folder_of_its_own_and_no_other() {
        for (project, folder) in [
            ("mnist", "/workspace/mnist"),
            ("MNIST f\u{fc}r alle", "/workspace/MNIST-f\u{fc}r-alle"),
            ("../../nauta", "/workspace/nauta"),
            ("a/b", "/workspace/a-b"),
            ("..", "/workspace/project"),
            ("x\n$(y)", "/workspace/x---y"),
        ] {
            assert_eq!(project_folder(project), folder);
        }
    }
}
