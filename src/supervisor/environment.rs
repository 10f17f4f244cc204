//! The program's variables: what each framework reads to find its peers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::launch::Launcher;
use super::program::SHELL;
use crate::digest::Digest;
use crate::job::{Nodes, Variables};
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
    /// Which variables the program is to find.
    pub(super) variables: Variables,
    /// How many processes something may start on each rank.
    pub(super) slots: u32,
    /// How many accelerators this rank was promised, or has.
    pub(super) accelerators: u32,
}

/// Variables that are the supervisor's business and not the program's.
const INTERNAL: [&str; 13] = [
    env_vars::ENTRYPOINT,
    env_vars::OUTPUT_RULES,
    env_vars::MAILBOX,
    env_vars::MAILBOX_PLAIN_HTTP,
    env_vars::START_DEADLINE,
    env_vars::GRACE,
    env_vars::DRAIN,
    env_vars::STALL_TIMEOUT,
    env_vars::RESTART_ON,
    env_vars::REPLACED,
    env_vars::LAUNCH,
    env_vars::VARIABLES,
    env_vars::LEASE,
];

/// Variables that are to be set, some of which may have nothing to say.
type Values = Vec<(&'static str, String)>;

/// The program's variables: those of the container, and what `place` says. What the user has set stays, but for facts.
pub(super) fn program_environment(
    container: &BTreeMap<OsString, OsString>,
    place: &Place<'_>,
) -> BTreeMap<OsString, OsString> {
    let mut environment = container.clone();
    for name in INTERNAL {
        environment.remove(OsStr::new(name));
    }
    for (name, value) in facts(place) {
        environment.insert(name.into(), value.into());
    }
    let master_port = container
        .get(OsStr::new(env_vars::MASTER_PORT))
        .map_or_else(|| layout::MASTER_PORT.to_string(), |port| port.to_string_lossy().into_owned());
    for (name, value) in defaults(place, &master_port) {
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

/// What nobody else can know: [`Variables::is_fact`] knows all of them.
///
/// `RANK`…`MASTER_PORT` are PyTorch's ("Environment variable initialization"), `NODE_RANK` and `GROUP_RANK` what Lightning takes
/// for its place.
fn facts(place: &Place<'_>) -> Values {
    let (rank, nodes) = (place.rank.to_string(), place.nodes.most.to_string());
    let (variables, ranks) = (place.variables, place.nodes.most);
    let mut facts = vec![
        (env_vars::RANK, rank.clone()),
        (env_vars::NODES, nodes.clone()),
        (env_vars::RUN, place.run.to_owned()),
        (env_vars::PROJECT, place.project.to_owned()),
        (env_vars::ATTEMPT, place.attempt.to_string()),
    ];
    let mut set = |names: &[&'static str], value: &str| {
        facts.extend(names.iter().map(|name| (*name, value.to_owned())));
    };
    if variables.torch(ranks) {
        let ranked = [env_vars::TORCH_RANK, env_vars::NODE_RANK, env_vars::GROUP_RANK, env_vars::PET_NODE_RANK];
        set(&ranked, &rank);
        set(&[env_vars::WORLD_SIZE], &nodes);
        set(&[env_vars::MASTER_ADDR], place.coordinator);
    }
    if variables.local_rank(ranks, place.slots) {
        set(&[env_vars::LOCAL_RANK], "0");
        set(&[env_vars::LOCAL_WORLD_SIZE], "1");
    }
    if variables.jax(ranks) {
        set(&[env_vars::JAX_NUM_PROCESSES], &nodes);
        set(&[env_vars::JAX_PROCESS_ID], &rank);
    }
    if variables.usual(ranks) {
        set(&[env_vars::KERAS_NUM_PROCESSES], &nodes);
        set(&[env_vars::KERAS_PROCESS_ID], &rank);
    }
    if variables.slurm() {
        set(&[env_vars::SLURM_PROCID, env_vars::SLURM_NODEID], &rank);
        let counts = [env_vars::SLURM_NNODES, env_vars::SLURM_JOB_NUM_NODES, env_vars::SLURM_STEP_NUM_NODES];
        set(&counts, &nodes);
        set(&[env_vars::SLURM_NTASKS], &nodes);
        set(&[env_vars::SLURM_LOCALID], "0");
        set(&[env_vars::SLURM_JOB_ID], &number_of(place.run).to_string());
        let lists = [env_vars::SLURM_NODELIST, env_vars::SLURM_JOB_NODELIST, env_vars::SLURM_STEP_NODELIST];
        set(&lists, &peers(place).collect::<Vec<_>>().join(","));
    }
    if variables.mpi() {
        set(&[env_vars::OMPI_RANK, env_vars::PMI_RANK], &rank);
        set(&[env_vars::OMPI_SIZE, env_vars::PMI_SIZE], &nodes);
        set(&[env_vars::OMPI_LOCAL_RANK, env_vars::OMPI_NODE_RANK], "0");
        set(&[env_vars::OMPI_LOCAL_SIZE], "1");
    }
    facts
}

/// What is set unless the user has; the empty ones are not.
///
/// `PET_*` are torchrun's own defaults for its options of the same names.
fn defaults(place: &Place<'_>, master_port: &str) -> Values {
    let (variables, ranks) = (place.variables, place.nodes.most);
    let address = format!("{}:{master_port}", place.coordinator);
    let mut defaults = vec![
        (env_vars::PYTHONFAULTHANDLER, if place.watched { "1" } else { "" }.to_owned()),
        (env_vars::PYTHONUNBUFFERED, "1".to_owned()),
        (env_vars::USER, "nauta".to_owned()),
        (env_vars::LOGNAME, "nauta".to_owned()),
    ];
    if variables.torch(ranks) {
        let interface = place.interface.unwrap_or_default();
        defaults.extend([
            (env_vars::MASTER_PORT, master_port.to_owned()),
            (env_vars::PET_NNODES, place.nodes.to_string()),
            (env_vars::PET_MASTER_ADDR, place.coordinator.to_owned()),
            (env_vars::PET_MASTER_PORT, master_port.to_owned()),
            (env_vars::PET_NPROC_PER_NODE, place.slots.to_string()),
            (env_vars::GLOO_SOCKET_IFNAME, interface.to_owned()),
            (env_vars::NCCL_SOCKET_IFNAME, interface.to_owned()),
            (env_vars::TP_SOCKET_IFNAME, interface.to_owned()),
        ]);
        defaults.extend(for_elastic(place, &address));
    }
    if variables.jax(ranks) {
        defaults.push((env_vars::JAX_COORDINATOR_ADDRESS, address.clone()));
    }
    if variables.slurm() && place.accelerators > 1 {
        let all: Vec<String> = (0..place.accelerators).map(|device| device.to_string()).collect();
        defaults.push((env_vars::JAX_LOCAL_DEVICE_IDS, all.join(",")));
    }
    if variables.usual(ranks) {
        defaults.extend([
            (env_vars::TF_CONFIG, tf_config(place, master_port)),
            (env_vars::KERAS_JOB_ADDRESSES, address),
            (env_vars::ACCELERATE_USE_CPU, if place.accelerators == 0 { "true" } else { "" }.to_owned()),
        ]);
    }
    defaults
}

/// The names of all ranks.
fn peers<'a>(place: &Place<'a>) -> impl Iterator<Item = String> + use<'a> {
    let run = place.run;
    (0..place.nodes.most).map(move |rank| layout::peer(run, rank))
}

/// A number for a name, as Slurm's jobs have one: the same on all ranks.
fn number_of(run: &str) -> u32 {
    u32::from_str_radix(&Digest::of(run).hex()[..7], 16).unwrap_or(1)
}

/// What torchrun needs to go on with fewer ranks, and with more again: its ranks meet at rank 0 as they come.
///
/// A rank's agent goes by its address, its process and nothing else ("`_NodeDesc`" in its dynamic rendezvous): by name, one
/// that takes a lost one's place would be taken for that, as containers count their processes from 1.
fn for_elastic(place: &Place<'_>, meeting_point: &str) -> Values {
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
    let workers: Vec<String> = peers(place).map(|peer| format!("{peer}:{port}")).collect();
    let config = serde_json::json!({
        "cluster": { "worker": workers },
        "task": { "type": "worker", "index": place.rank },
    });
    config.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: u32, nodes: Nodes) -> Place<'static> {
        Place {
            run: "r",
            project: "p",
            rank,
            nodes,
            attempt: 2,
            coordinator: "r-0.r",
            interface: Some("eth0"),
            address: None,
            watched: false,
            hostfile: Path::new("/nauta/state/hostfile"),
            launcher: None,
            home_is_writable: true,
            variables: Variables::Auto,
            slots: 1,
            accelerators: 0,
        }
    }

    fn container(variables: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// What a program finds, without what every program does.
    fn found(container: &BTreeMap<OsString, OsString>, place: &Place<'_>) -> BTreeMap<String, String> {
        let text = |value: OsString| value.into_string().expect("text");
        let is_general = |name: &String| name.starts_with("PYTHON") || ["USER", "LOGNAME"].contains(&name.as_str());
        let environment = program_environment(container, place).into_iter();
        environment.map(|(name, value)| (text(name), text(value))).filter(|(name, _)| !is_general(name)).collect()
    }

    #[test]
    fn facts_win_over_the_user_and_the_user_over_defaults() {
        let container = container(&[
            ("RANK", "9"),
            ("MASTER_PORT", "1234"),
            ("NCCL_SOCKET_IFNAME", "ib0"),
            ("NAUTA_MAILBOX", "x"),
            ("HOME", "/root"),
        ]);
        let environment = found(&container, &Place { home_is_writable: false, ..place(1, Nodes::all(4)) });
        let get = |name: &str| environment.get(name).map(String::as_str);
        for name in ["RANK", "NODE_RANK", "GROUP_RANK", "PET_NODE_RANK", "JAX_PROCESS_ID", "NAUTA_RANK"] {
            assert_eq!(get(name), Some("1"), "{name}");
        }
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
        assert_eq!((get("LOCAL_RANK"), get("ACCELERATE_USE_CPU")), (Some("0"), Some("true")));
    }

    #[test]
    fn one_rank_and_no_variables_are_a_plain_start() {
        let names = |place: &Place<'_>| found(&container(&[]), place).into_keys().collect::<Vec<_>>();
        let plain = ["NAUTA_ATTEMPT", "NAUTA_HOSTFILE", "NAUTA_NODES", "NAUTA_PROJECT", "NAUTA_RANK", "NAUTA_RUN"];
        assert_eq!(names(&place(0, Nodes::all(1))), plain);
        assert_eq!(names(&Place { variables: Variables::None, ..place(1, Nodes::all(4)) }), plain);
        let user = container(&[("RANK", "-1"), ("WORLD_SIZE", "1")]);
        assert_eq!(found(&user, &place(0, Nodes::all(1)))["RANK"], "-1");
    }

    #[test]
    fn what_is_asked_for_is_there_with_one_rank_too() {
        let of = |variables, nodes| found(&container(&[]), &Place { variables, ..place(0, Nodes::all(nodes)) });
        let torch = of(Variables::Torch, 1);
        assert_eq!((torch["RANK"].as_str(), torch["WORLD_SIZE"].as_str()), ("0", "1"));
        assert!(!torch.contains_key("TF_CONFIG") && torch["PET_NNODES"] == "1", "{torch:?}");
        let slurm = of(Variables::Jax, 2);
        assert_eq!((slurm["SLURM_STEP_NODELIST"].as_str(), slurm["SLURM_NTASKS"].as_str()), ("r-0.r,r-1.r", "2"));
        assert!(slurm["SLURM_JOB_ID"].parse::<u32>().is_ok() && slurm["JAX_NUM_PROCESSES"] == "2", "{slurm:?}");
        assert_eq!(of(Variables::Mpi, 1)["OMPI_COMM_WORLD_SIZE"], "1");
    }

    #[test]
    fn the_place_on_a_machine_is_left_to_whoever_starts_a_process_for_each_accelerator() {
        let of = |variables| {
            let place = Place { variables, slots: 8, accelerators: 8, ..place(1, Nodes::all(2)) };
            found(&container(&[]), &place)
        };
        let several = of(Variables::Auto);
        assert!(!several.contains_key("LOCAL_RANK") && !several.contains_key("LOCAL_WORLD_SIZE"), "{several:?}");
        assert!(several["PET_NPROC_PER_NODE"] == "8" && !several.contains_key("ACCELERATE_USE_CPU"), "{several:?}");
        assert_eq!(of(Variables::Torch)["LOCAL_RANK"], "0");
        assert_eq!(of(Variables::Jax)["JAX_LOCAL_DEVICE_IDS"], "0,1,2,3,4,5,6,7");
    }

    #[test]
    fn every_fact_is_known_as_one() {
        for variables in ["auto", "none", "torch", "jax", "slurm", "mpi"].map(|word| word.parse().expect("a word")) {
            for (nodes, slots) in [(1, 1), (2, 1), (2, 8)] {
                for (name, _) in facts(&Place { variables, slots, ..place(0, Nodes::all(nodes)) }) {
                    assert!(variables.is_fact(name, nodes, slots), "{variables:?} {name}");
                }
            }
        }
    }

    #[test]
    fn a_run_that_goes_on_with_fewer_tells_torchrun() {
        let address = "10.0.0.7".parse().ok();
        let place = Place { address, watched: true, ..place(1, Nodes { least: 3, most: 4 }) };
        let environment = program_environment(&BTreeMap::new(), &place);
        let get = |name: &str| environment.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!((get("PET_NNODES"), get("PET_RDZV_ID")), (Some("3:4"), Some("r-2")));
        assert_eq!((get("PET_RDZV_ENDPOINT"), get("PET_LOCAL_ADDR")), (Some("r-0.r:29500"), Some("10.0.0.7")));
        assert_eq!((get("PET_RDZV_BACKEND"), get("PYTHONFAULTHANDLER")), (Some("c10d"), Some("1")));
    }

    #[test]
    fn programs_that_start_others_find_ours_and_the_hosts() {
        let container = container(&[("PATH", "/usr/bin:/bin"), ("PRTE_MCA_prte_if_include", "ib0")]);
        let launcher = Launcher { folder: "/nauta/state/launch".into(), socket: "/nauta/state/launch/socket".into() };
        let mut place = Place { launcher: Some(&launcher), ..place(0, Nodes::all(2)) };
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
