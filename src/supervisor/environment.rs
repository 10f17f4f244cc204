//! The program's variables: what each framework reads to find its peers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::launch::Launcher;
use super::program::SHELL;
use crate::job::Nodes;
use crate::{env_vars, layout};

/// What the variables say about a rank.
pub(super) struct Place<'a> {
    pub(super) run: &'a str,
    pub(super) project: &'a str,
    pub(super) rank: u32,
    pub(super) nodes: Nodes,
    /// From 1.
    pub(super) attempt: u32,
    /// The name that rank 0 answers to.
    pub(super) coordinator: &'a str,
    /// The network interface that leads to rank 0, where there is one.
    pub(super) interface: Option<&'a str>,
    /// This rank's own address on it.
    pub(super) address: Option<std::net::IpAddr>,
    /// Whether a program that stalls is to say where it is.
    pub(super) watched: bool,
    /// The list of hosts.
    pub(super) hostfile: &'a Path,
    /// Where rank 0 starts programs on the others, and this is rank 0.
    pub(super) launcher: Option<&'a Launcher>,
    /// Whether `HOME` can be written.
    pub(super) home_is_writable: bool,
}

/// Variables that are the supervisor's business and not the program's.
const INTERNAL: [&str; 10] = [
    env_vars::MAILBOX,
    env_vars::MAILBOX_PLAIN_HTTP,
    env_vars::START_DEADLINE,
    env_vars::GRACE,
    env_vars::DRAIN,
    env_vars::STALL_TIMEOUT,
    env_vars::RESTART_ON,
    env_vars::REPLACED,
    env_vars::LAUNCH,
    env_vars::LEASE,
];

/// The program's variables: those of the container, and what `place` says. What the user has set stays, but for the
/// rank and the number of ranks, which are facts.
///
/// `RANK`…`MASTER_PORT` are PyTorch's ("Environment variable initialization"); `PET_*` are torchrun's own defaults for
/// its options of the same names.
pub(super) fn program_environment(
    container: &BTreeMap<OsString, OsString>,
    place: &Place<'_>,
) -> BTreeMap<OsString, OsString> {
    let mut environment = container.clone();
    for name in INTERNAL {
        environment.remove(&OsString::from(name));
    }
    let (rank, nodes, attempt) = (place.rank.to_string(), place.nodes.most.to_string(), place.attempt.to_string());
    let master_port = container
        .get(&OsString::from(env_vars::MASTER_PORT))
        .map_or_else(|| layout::MASTER_PORT.to_string(), |port| port.to_string_lossy().into_owned());
    let facts = [
        (env_vars::TORCH_RANK, rank.as_str()),
        (env_vars::WORLD_SIZE, &nodes),
        (env_vars::LOCAL_RANK, "0"),
        (env_vars::LOCAL_WORLD_SIZE, "1"),
        (env_vars::MASTER_ADDR, place.coordinator),
        (env_vars::RANK, &rank),
        (env_vars::NODES, &nodes),
        (env_vars::RUN, place.run),
        (env_vars::PROJECT, place.project),
        (env_vars::ATTEMPT, &attempt),
    ];
    for (name, value) in facts {
        environment.insert(name.into(), value.into());
    }
    let interface = place.interface.unwrap_or_default();
    let address = format!("{}:{master_port}", place.coordinator);
    let tf_config = if place.nodes.most > 1 { tf_config(place, &master_port) } else { String::new() };
    let range = place.nodes.to_string();
    let defaults = [
        (env_vars::MASTER_PORT, master_port.as_str()),
        (env_vars::PET_NNODES, &range),
        (env_vars::PET_NODE_RANK, &rank),
        (env_vars::PET_MASTER_ADDR, place.coordinator),
        (env_vars::PET_MASTER_PORT, &master_port),
        (env_vars::PET_NPROC_PER_NODE, "1"),
        (env_vars::TF_CONFIG, &tf_config),
        (env_vars::JAX_COORDINATOR_ADDRESS, &address),
        (env_vars::GLOO_SOCKET_IFNAME, interface),
        (env_vars::NCCL_SOCKET_IFNAME, interface),
        (env_vars::TP_SOCKET_IFNAME, interface),
        (env_vars::PYTHONFAULTHANDLER, if place.watched { "1" } else { "" }),
        (env_vars::PYTHONUNBUFFERED, "1"),
        (env_vars::USER, "nauta"),
        (env_vars::LOGNAME, "nauta"),
    ];
    let defaults = defaults.map(|(name, value)| (name, value.to_owned()));
    for (name, value) in defaults.into_iter().chain(for_elastic(place, &address)) {
        if !value.is_empty() {
            environment.entry(name.into()).or_insert_with(|| value.into());
        }
    }
    environment.insert(env_vars::HOSTFILE.into(), place.hostfile.into());
    if let Some(launcher) = place.launcher {
        for (name, value) in for_launchers(&environment, launcher, place) {
            environment.insert(name.into(), value);
        }
    }
    if !place.home_is_writable {
        environment.insert(env_vars::HOME.into(), layout::HOME.into());
    }
    environment
}

/// What torchrun needs to go on with fewer ranks, and with more again: its ranks meet at rank 0 as they come.
///
/// A rank's agent goes by its address, its process and nothing else ("`_NodeDesc`" in its dynamic rendezvous): by name, one
/// that takes a lost one's place would be taken for that, as containers count their processes from 1.
fn for_elastic(place: &Place<'_>, meeting_point: &str) -> Vec<(&'static str, String)> {
    if !place.nodes.is_elastic() {
        return Vec::new();
    }
    let mut variables = vec![
        (env_vars::PET_RDZV_BACKEND, "c10d".to_owned()),
        (env_vars::PET_RDZV_ENDPOINT, meeting_point.to_owned()),
        (env_vars::PET_RDZV_ID, format!("{}-{}", place.run, place.attempt)),
        (env_vars::PET_MAX_RESTARTS, "1000".to_owned()),
        (env_vars::TORCH_STORE_PER_ROUND, "1".to_owned()),
    ];
    variables.extend(place.address.map(|address| (env_vars::PET_LOCAL_ADDR, address.to_string())));
    variables
}

/// What programs need that start others: nauta's `ssh` before all others, and Open MPI's own settings, unless the user has made
/// them. Their names are those that `ompi_info --all` and `prte_info --all` list.
fn for_launchers(
    environment: &BTreeMap<OsString, OsString>,
    launcher: &Launcher,
    place: &Place<'_>,
) -> Vec<(&'static str, OsString)> {
    let agent = launcher.folder.join("ssh").into_os_string();
    let hostfile = place.hostfile.as_os_str().to_owned();
    let interface = OsString::from(place.interface.unwrap_or_default());
    let mut path = launcher.folder.clone().into_os_string();
    if let Some(own) = environment.get(OsStr::new(env_vars::PATH)) {
        path.push(":");
        path.push(own);
    }
    let defaults = [
        (env_vars::OMPI_HOSTFILE, hostfile.clone()),
        (env_vars::PRTE_HOSTFILE, hostfile),
        (env_vars::OMPI_AGENT, agent.clone()),
        (env_vars::PRTE_AGENT, agent),
        (env_vars::OMPI_NO_TREE, "1".into()),
        (env_vars::PRTE_NO_TREE, "1".into()),
        (env_vars::OMPI_OOB_INTERFACE, interface.clone()),
        (env_vars::OMPI_BTL_INTERFACE, interface.clone()),
        (env_vars::PRTE_INTERFACE, interface),
        (env_vars::SHELL, SHELL.into()),
    ];
    let unset = |name: &str| !environment.contains_key(OsStr::new(name));
    let facts = [(env_vars::PATH, path), (env_vars::LAUNCHER, launcher.socket.clone().into_os_string())];
    facts.into_iter().chain(defaults.into_iter().filter(|(name, value)| unset(name) && !value.is_empty())).collect()
}

/// TensorFlow's description of a cluster, all of whose ranks are workers (its guide to `TF_CONFIG`).
fn tf_config(place: &Place<'_>, port: &str) -> String {
    let workers: Vec<String> =
        (0..place.nodes.most).map(|rank| format!("{}:{port}", layout::peer(place.run, rank))).collect();
    let config = serde_json::json!({
        "cluster": { "worker": workers },
        "task": { "type": "worker", "index": place.rank },
    });
    config.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_win_over_the_user_and_the_user_over_defaults() {
        let container: BTreeMap<OsString, OsString> = [
            ("RANK", "9"),
            ("MASTER_PORT", "1234"),
            ("NCCL_SOCKET_IFNAME", "ib0"),
            ("NAUTA_MAILBOX", "x"),
            ("HOME", "/root"),
        ]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
        let place = Place {
            run: "r",
            project: "p",
            rank: 1,
            nodes: Nodes::all(4),
            attempt: 2,
            coordinator: "r-0.r",
            interface: Some("eth0"),
            address: None,
            watched: false,
            hostfile: Path::new("/nauta/state/hostfile"),
            launcher: None,
            home_is_writable: false,
        };
        let environment = program_environment(&container, &place);
        let get = |name: &str| environment.get(&OsString::from(name)).and_then(|v| v.to_str());
        assert_eq!(get("RANK"), Some("1"));
        assert_eq!(get("MASTER_PORT"), Some("1234"));
        assert_eq!(get("PET_MASTER_PORT"), Some("1234"));
        assert_eq!(get("NCCL_SOCKET_IFNAME"), Some("ib0"));
        assert_eq!(get("GLOO_SOCKET_IFNAME"), Some("eth0"));
        assert_eq!(get("JAX_COORDINATOR_ADDRESS"), Some("r-0.r:1234"));
        let workers = r#"{"worker":["r-0.r:1234","r-1.r:1234","r-2.r:1234","r-3.r:1234"]}"#;
        let task = r#"{"index":1,"type":"worker"}"#;
        assert_eq!(get("TF_CONFIG"), Some(format!(r#"{{"cluster":{workers},"task":{task}}}"#).as_str()));
        assert_eq!(get("NAUTA_MAILBOX"), None);
        assert_eq!(get("HOME"), Some(layout::HOME));
        assert_eq!((get("PET_NNODES"), get("PET_RDZV_BACKEND"), get("PYTHONFAULTHANDLER")), (Some("4"), None, None));
    }

    #[test]
    fn a_run_that_goes_on_with_fewer_tells_torchrun() {
        let place = Place {
            run: "r",
            project: "p",
            rank: 1,
            nodes: Nodes { least: 3, most: 4 },
            attempt: 2,
            coordinator: "r-0.r",
            interface: None,
            address: "10.0.0.7".parse().ok(),
            watched: true,
            hostfile: Path::new("/nauta/state/hostfile"),
            launcher: None,
            home_is_writable: true,
        };
        let environment = program_environment(&BTreeMap::new(), &place);
        let get = |name: &str| environment.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!((get("PET_NNODES"), get("PET_RDZV_ID")), (Some("3:4"), Some("r-2")));
        assert_eq!((get("PET_RDZV_ENDPOINT"), get("PET_LOCAL_ADDR")), (Some("r-0.r:29500"), Some("10.0.0.7")));
        assert_eq!((get("PET_RDZV_BACKEND"), get("PYTHONFAULTHANDLER")), (Some("c10d"), Some("1")));
    }

    #[test]
    fn programs_that_start_others_find_ours_and_the_hosts() {
        let container: BTreeMap<OsString, OsString> =
            [("PATH", "/usr/bin:/bin"), ("PRTE_MCA_prte_if_include", "ib0")].map(|(k, v)| (k.into(), v.into())).into();
        let launcher = Launcher { folder: "/nauta/state/launch".into(), socket: "/nauta/state/launch/socket".into() };
        let mut place = Place {
            run: "r",
            project: "p",
            rank: 0,
            nodes: Nodes::all(2),
            attempt: 1,
            coordinator: "r-0.r",
            interface: Some("eth0"),
            address: None,
            watched: false,
            hostfile: Path::new("/nauta/state/hostfile"),
            launcher: Some(&launcher),
            home_is_writable: true,
        };
        let environment = program_environment(&container, &place);
        let get = |name: &str| environment.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(get("PATH"), Some("/nauta/state/launch:/usr/bin:/bin"));
        assert_eq!(get("PRTE_MCA_plm_ssh_agent"), Some("/nauta/state/launch/ssh"));
        assert_eq!(get("OMPI_MCA_orte_default_hostfile"), Some("/nauta/state/hostfile"));
        assert_eq!((get("PRTE_MCA_prte_if_include"), get("OMPI_MCA_btl_tcp_if_include")), (Some("ib0"), Some("eth0")));
        place.launcher = None;
        let environment = program_environment(&container, &place);
        assert_eq!(environment.get(OsStr::new("PATH")), Some(&OsString::from("/usr/bin:/bin")));
        assert_eq!(environment.get(OsStr::new("NAUTA_HOSTFILE")), Some(&OsString::from("/nauta/state/hostfile")));
    }
}
