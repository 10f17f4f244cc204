//! Which variables a program finds that frameworks and launchers read, and which of them nobody else may set.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::env_vars;

/// Which variables a program finds beside `NAUTA_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variables {
    /// What frameworks read, in runs of several ranks; a run of one rank starts its program as it would be started by hand.
    #[default]
    Auto,
    /// None.
    None,
    /// What PyTorch and torchrun read, also with one rank.
    Torch,
    /// What JAX reads, and what `jax.distributed.initialize()` takes for a cluster.
    Jax,
    /// What programs read that Slurm starts.
    Slurm,
    /// What programs read that Open MPI or MPICH start.
    Mpi,
}

/// No variables go by this word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no variables: `auto`, `none`, `torch`, `jax`, `slurm` or `mpi`")]
pub struct UnknownVariables(pub String);

impl Variables {
    const ALL: [Self; 6] = [Self::Auto, Self::None, Self::Torch, Self::Jax, Self::Slurm, Self::Mpi];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Torch => "torch",
            Self::Jax => "jax",
            Self::Slurm => "slurm",
            Self::Mpi => "mpi",
        }
    }

    /// Whether the usual ones are set: with one rank a program that finds them would go and look for others.
    #[must_use]
    pub const fn usual(self, ranks: u32) -> bool {
        ranks > 1 && !matches!(self, Self::None)
    }

    /// Whether PyTorch's are.
    #[must_use]
    pub const fn torch(self, ranks: u32) -> bool {
        self.usual(ranks) || matches!(self, Self::Torch)
    }

    /// Whether PyTorch's place on this machine is: where a rank has several accelerators, something else starts a process
    /// for each, and Lightning waits for ever when it is told that this was done already.
    #[must_use]
    pub const fn local_rank(self, ranks: u32, slots: u32) -> bool {
        self.torch(ranks) && (slots < 2 || matches!(self, Self::Torch))
    }

    /// Whether JAX's are.
    #[must_use]
    pub const fn jax(self, ranks: u32) -> bool {
        self.usual(ranks) || matches!(self, Self::Jax)
    }

    /// Whether Slurm's are; JAX reads these and none of its own for all that it has to know.
    #[must_use]
    pub const fn slurm(self) -> bool {
        matches!(self, Self::Slurm | Self::Jax)
    }

    /// Whether MPI's are.
    #[must_use]
    pub const fn mpi(self) -> bool {
        matches!(self, Self::Mpi)
    }

    /// Whether nauta sets `name` in a run of so many ranks, and no other value can be right: it is this rank's place, or what all
    /// must agree on.
    #[must_use]
    pub fn is_fact(self, name: &str, ranks: u32, slots: u32) -> bool {
        let of = |names: &[&str]| names.contains(&name);
        name.starts_with(env_vars::PREFIX)
            || self.torch(ranks) && of(&TORCH)
            || self.local_rank(ranks, slots) && of(&[env_vars::LOCAL_RANK, env_vars::LOCAL_WORLD_SIZE])
            || self.jax(ranks) && of(&[env_vars::JAX_NUM_PROCESSES, env_vars::JAX_PROCESS_ID])
            || self.usual(ranks) && of(&[env_vars::KERAS_NUM_PROCESSES, env_vars::KERAS_PROCESS_ID])
            || self.slurm() && env_vars::SLURM.iter().any(|variable| variable.name == name)
            || self.mpi() && env_vars::MPI.iter().any(|variable| variable.name == name)
    }
}

/// PyTorch's that are facts.
const TORCH: [&str; 6] = [
    env_vars::TORCH_RANK,
    env_vars::WORLD_SIZE,
    env_vars::NODE_RANK,
    env_vars::GROUP_RANK,
    env_vars::MASTER_ADDR,
    env_vars::PET_NODE_RANK,
];

impl FromStr for Variables {
    type Err = UnknownVariables;

    fn from_str(text: &str) -> Result<Self, UnknownVariables> {
        let known = Self::ALL.into_iter().find(|variables| variables.as_str() == text);
        known.ok_or_else(|| UnknownVariables(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_what_nauta_sets_in_this_run_and_nobody_else_can_know() {
        for (variables, name, ranks, slots, is_fact) in [
            (Variables::Auto, "RANK", 2, 1, true),
            (Variables::Auto, "RANK", 1, 1, false),
            (Variables::Torch, "RANK", 1, 1, true),
            (Variables::None, "RANK", 2, 1, false),
            (Variables::None, "NAUTA_RANK", 1, 1, true),
            (Variables::Auto, "MASTER_PORT", 2, 1, false),
            (Variables::Auto, "NCCL_SOCKET_IFNAME", 2, 1, false),
            (Variables::Auto, "LOCAL_RANK", 2, 1, true),
            (Variables::Auto, "LOCAL_RANK", 2, 8, false),
            (Variables::Torch, "LOCAL_RANK", 2, 8, true),
            (Variables::Auto, "JAX_PROCESS_ID", 2, 1, true),
            (Variables::Auto, "SLURM_PROCID", 2, 1, false),
            (Variables::Slurm, "SLURM_PROCID", 1, 1, true),
            (Variables::Mpi, "OMPI_COMM_WORLD_RANK", 1, 1, true),
        ] {
            assert_eq!(variables.is_fact(name, ranks, slots), is_fact, "{variables:?} {name} {ranks} {slots}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for variables in Variables::ALL {
            assert_eq!(variables.as_str().parse(), Ok(variables));
        }
        assert!("torch,jax".parse::<Variables>().is_err_and(|error| error.to_string().contains("`slurm`")));
    }
}
