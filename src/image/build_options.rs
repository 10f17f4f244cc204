//! What a Dockerfile of the user's own is built with, as far as it decides what the image is.

use std::collections::{BTreeMap, BTreeSet};

/// What a Dockerfile is built with. The values of secrets are no part of it: what they open is the same for everybody who
/// has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Values for its `ARG` instructions.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last one where absent.
    pub target: Option<String>,
    /// Ids of build secrets.
    pub secrets: BTreeSet<String>,
    /// Ids of SSH agents.
    pub agents: BTreeSet<String>,
}

impl BuildOptions {
    /// All of it as fields of the environment's key; nothing where nothing was said, as always before there were any.
    pub(super) fn fields(&self) -> impl Iterator<Item = String> {
        let args = self.args.iter().map(|(name, value)| format!("arg {name}={value}"));
        let target = self.target.iter().map(|stage| format!("target {stage}"));
        let secrets = self.secrets.iter().map(|id| format!("secret {id}"));
        let agents = self.agents.iter().map(|id| format!("ssh {id}"));
        args.chain(target).chain(secrets).chain(agents)
    }
}
