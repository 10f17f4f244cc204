//! What a run is, once every question has been answered.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cpu, Launch, Memory, Nodes, OutputRules, Restarts, Variables};
use crate::digest::Digest;
use crate::{env_vars, layout};

/// A run, ready for an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Unique, a DNS label of at most 52 characters, such as `mnist-7k3f`.
    pub name: String,
    /// The project it belongs to.
    pub project: String,
    /// Who started it (the workstation's user name, as a label value).
    pub user: String,
    /// How many ranks; at least 1.
    pub nodes: u32,
    /// With how few the run goes on when some are lost; absent: all are needed.
    #[serde(default)]
    pub min_nodes: Option<u32>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables the user set.
    pub env: BTreeMap<String, String>,
    /// What each rank gets.
    pub resources: Resources,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// What follows on a failure.
    #[serde(default)]
    pub restarts: Restarts,
    /// Which ranks run the command.
    #[serde(default)]
    pub launch: Launch,
    /// How many processes a program that starts others is to start on each rank; absent: one for each accelerator.
    #[serde(default)]
    pub slots: Option<u32>,
    /// Which variables the program finds.
    #[serde(default)]
    pub variables: Variables,
    /// What of the working directory comes back.
    #[serde(default)]
    pub outputs: OutputRules,
    /// How large a folder all ranks share; absent: there is none.
    #[serde(default)]
    pub shared: Option<Memory>,
    /// The project's files, by tree digest.
    pub snapshot: Digest,
}

/// What each rank gets; absent values are the engine's to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Main memory.
    pub memory: Option<Memory>,
    /// Accelerators (`nvidia.com/gpu` on Kubernetes unless the target names another resource).
    pub gpus: u32,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// From submission until every rank has met the others.
    pub start: Duration,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long nothing may move, at a rank's end, before outputs and logs that are not delivered are given up.
    pub drain: Duration,
    /// The whole run; nothing lives for ever.
    pub run: Duration,
    /// Without a sign of life of any rank; absent: for ever.
    #[serde(default)]
    pub stall: Option<Duration>,
    /// How long a finished run's objects are kept on the cluster.
    pub keep: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            start: Duration::from_mins(10),
            grace: Duration::from_secs(10),
            drain: Duration::from_mins(1),
            run: Duration::from_hours(7 * 24),
            stall: None,
            keep: Duration::from_hours(24),
        }
    }
}

/// Where a rank puts its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// `host[:port]/repository`, as a rank reaches it.
    pub from_ranks: String,
    /// Whether that host is reached without TLS.
    pub plain_http: bool,
}

impl RunSpec {
    /// How many processes a program that starts others is told to start on each rank.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.unwrap_or(self.resources.gpus).max(1)
    }

    /// How many ranks, and with how few it goes on.
    #[must_use]
    pub fn strength(&self) -> Nodes {
        Nodes::of(self.nodes, self.min_nodes)
    }

    /// Whether a rank that is lost is to be replaced.
    #[must_use]
    pub const fn replaces_lost(&self) -> bool {
        self.restarts.most > 0 || self.min_nodes.is_some()
    }

    /// The variables that tell a rank's supervisor what it is part of. The rank itself is the engine's to add.
    pub fn supervisor_env(&self, coordinator: &str, mailbox: Option<&Mailbox>) -> Vec<(String, String)> {
        let seconds = |duration: Duration| duration.as_millis().div_ceil(1000).to_string();
        let mut env: Vec<(String, String)> = self.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
        set(env_vars::RUN, self.name.clone());
        set(env_vars::PROJECT, self.project.clone());
        set(env_vars::NODES, self.nodes.to_string());
        set(env_vars::COORDINATOR, coordinator.to_owned());
        set(env_vars::OUTPUTS, layout::OUTPUTS.to_owned());
        set(env_vars::START_DEADLINE, seconds(self.deadlines.start));
        set(env_vars::GRACE, seconds(self.deadlines.grace));
        set(env_vars::DRAIN, seconds(self.deadlines.drain));
        if self.shared.is_some() {
            set(env_vars::SHARED, layout::SHARED.to_owned());
        }
        if self.outputs != OutputRules::default() {
            let rules = serde_json::to_string(&self.outputs).expect("rules are texts and numbers");
            set(env_vars::OUTPUT_RULES, rules);
        }
        if let Some(least) = self.min_nodes {
            set(env_vars::MIN_NODES, least.to_string());
        }
        if let Some(stall) = self.deadlines.stall {
            set(env_vars::STALL_TIMEOUT, seconds(stall));
        }
        if self.resources.gpus > 0 {
            set(env_vars::GPUS, self.resources.gpus.to_string());
        }
        if self.restarts.most > 0 {
            set(env_vars::RESTARTS, self.restarts.most.to_string());
            set(env_vars::RESTART_ON, self.restarts.on.to_string());
        }
        if self.slots() > 1 {
            set(env_vars::SLOTS, self.slots().to_string());
        }
        if self.launch == Launch::Rank0 {
            set(env_vars::LAUNCH, self.launch.as_str().to_owned());
        }
        if self.variables != Variables::Auto {
            set(env_vars::VARIABLES, self.variables.as_str().to_owned());
        }
        if let Some(mailbox) = mailbox {
            set(env_vars::MAILBOX, mailbox.from_ranks.clone());
            if mailbox.plain_http {
                set(env_vars::MAILBOX_PLAIN_HTTP, "1".to_owned());
            }
        }
        env
    }
}
