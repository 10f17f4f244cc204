//! Every environment variable that nauta reads or sets, one constant each: the reference page is made from this file.
//!
//! Owns: the names and their meaning. Does not own: reading them (`context` for the workstation, `supervisor` in a rank).

/// What the names of nauta's own variables begin with.
pub const PREFIX: &str = "NAUTA_";

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
        COMPLETE = "NAUTA_COMPLETE": "Set by the completion scripts: the shell that asks what may come next.";
        DOCKER_HOST = "DOCKER_HOST": "Docker's address, as the `docker` command reads it.";
        DOCKER_CONTEXT = "DOCKER_CONTEXT": "Docker's context, as the `docker` command reads it.";
        DOCKER_CONFIG = "DOCKER_CONFIG": "The folder of Docker's `config.json`, as the `docker` command reads it.";
        DOCKER_TLS_VERIFY = "DOCKER_TLS_VERIFY": "Whether Docker's address is reached with TLS, as the `docker` command reads it.";
        DOCKER_CERT_PATH = "DOCKER_CERT_PATH": "The folder of certificates for Docker's address, as the `docker` command reads it.";
        GIT_CONFIG_GLOBAL = "GIT_CONFIG_GLOBAL": "The user's configuration of Git, which may name a list of what is ignored, as `git` reads it.";
        GIT_CONFIG_SYSTEM = "GIT_CONFIG_SYSTEM": "The machine's configuration of Git, as `git` reads it.";
        KUBECONFIG = "KUBECONFIG": "Kubernetes' configuration, as `kubectl` reads it.";
        NO_COLOR = "NO_COLOR": "When set and not empty: no colours.";
        CLICOLOR_FORCE = "CLICOLOR_FORCE": "When set and not `0`: colours even where no terminal is.";
        HTTP_PROXY = "HTTP_PROXY": "The proxy for registries without TLS; builds get it too, and no image keeps it. Also in lower case.";
        HTTPS_PROXY = "HTTPS_PROXY": "The same for registries with TLS and, where the kubeconfig names no proxy, for the API server.";
        NO_PROXY = "NO_PROXY": "Hosts and networks that are reached without those proxies, separated by commas; `*`: all. Also in lower case.";
    }
    /// Set by nauta for a rank's supervisor (in the manifest, or by the Docker engine).
    SUPERVISOR {
        RUN = "NAUTA_RUN": "The run's name.";
        PROJECT = "NAUTA_PROJECT": "The project's name.";
        NODES = "NAUTA_NODES": "How many ranks the run has.";
        MIN_NODES = "NAUTA_MIN_NODES": "With how few ranks the run goes on when some are lost; unset: all are needed. Also the program's to read.";
        RANK = "NAUTA_RANK": "This rank, 0 to NODES-1.";
        COORDINATOR = "NAUTA_COORDINATOR": "The name that rank 0 answers to.";
        OUTPUTS = "NAUTA_OUTPUTS": "The folder whose files come back to the workstation.";
        SHARED = "NAUTA_SHARED": "The folder that all ranks share (`--shared`); unset: there is none.";
        OUTPUT_RULES = "NAUTA_OUTPUT_RULES": "What of the working directory comes back, as JSON (`[outputs]` in nauta.toml); unset: what the program has made there.";
        MAILBOX = "NAUTA_MAILBOX": "The mailbox as this container reaches it: `host[:port]/repository`. Unset: outputs go over the control stream.";
        MAILBOX_PLAIN_HTTP = "NAUTA_MAILBOX_PLAIN_HTTP": "`1` when the mailbox's registry is reached without TLS.";
        START_DEADLINE = "NAUTA_START_DEADLINE": "Seconds until every rank must have met the others.";
        GRACE = "NAUTA_GRACE": "Seconds between SIGTERM and SIGKILL.";
        DRAIN = "NAUTA_DRAIN": "Seconds that a rank waits at its end for outputs and logs to be delivered.";
        STALL_TIMEOUT = "NAUTA_STALL_TIMEOUT": "Seconds without a sign of life of any rank after which the run has stalled; unset: none.";
        NODE = "NAUTA_NODE": "The cluster's name of the machine that this rank is on. Also the program's to read.";
        GPUS = "NAUTA_GPUS": "How many accelerators each rank was promised; unset: none. Also the program's to read.";
        RESTARTS = "NAUTA_RESTARTS": "How often the gang begins again after a failure. Also the program's to read; 0 when unset.";
        RESTART_ON = "NAUTA_RESTART_ON": "After which failures: `failure` (any), `signal`, `memory`, `lost`, `stall`, exit codes; separated by commas.";
        REPLACED = "NAUTA_REPLACED": "`1` when the engine makes another container for one that is lost.";
        LAUNCH = "NAUTA_LAUNCH": "`rank0` when rank 0 alone runs the command, and the others wait for what it starts there; unset: all run it.";
        SLOTS = "NAUTA_SLOTS": "How many processes a program that starts others is to start on each rank; 1 when unset. Also the program's to read.";
        VARIABLES = "NAUTA_VARIABLES": "Which variables the program finds, as `run.variables` says; unset: `auto`.";
        ENTRYPOINT = "NAUTA_ENTRYPOINT": "The image's own entry point, as JSON: one that hands on to a command is run before the program. Unset: it has none.";
        LEASE = "NAUTA_LEASE": "`stdin` when the rank must stop as soon as its standard input is closed (Docker: the workstation's nauta has died).";
    }
    /// Set by the supervisor for the program.
    PROGRAM {
        ATTEMPT = "NAUTA_ATTEMPT": "Which attempt of the run this is, from 1; more than 1 only with `--restarts`.";
        TORCH_RANK = "RANK": "This process's rank (PyTorch's \"Environment variable initialization\"); this and what follows down to `TP_SOCKET_IFNAME` only in runs of several ranks, or where `run.variables` asks for it. Nothing replaces it.";
        WORLD_SIZE = "WORLD_SIZE": "How many ranks. Nothing replaces it.";
        LOCAL_RANK = "LOCAL_RANK": "The rank on this machine: 0, as a rank has a machine of its own; not where a rank has several accelerators or `--slots`, whose processes somebody else starts. Nothing replaces it.";
        LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE": "How many ranks on this machine: 1; where `LOCAL_RANK` is. Nothing replaces it.";
        NODE_RANK = "NODE_RANK": "The rank as the number of its machine, for Lightning and Accelerate. Nothing replaces it.";
        GROUP_RANK = "GROUP_RANK": "The same. Nothing replaces it.";
        MASTER_ADDR = "MASTER_ADDR": "The name that rank 0 answers to. Nothing replaces it.";
        MASTER_PORT = "MASTER_PORT": "A port of rank 0 that nobody else uses; 29500 unless the user sets one.";
        PET_NNODES = "PET_NNODES": "torchrun's `--nnodes`: the number of ranks, or `LEAST:MOST`.";
        PET_NODE_RANK = "PET_NODE_RANK": "torchrun's `--node-rank`. Nothing replaces it.";
        PET_MASTER_ADDR = "PET_MASTER_ADDR": "torchrun's `--master-addr`.";
        PET_MASTER_PORT = "PET_MASTER_PORT": "torchrun's `--master-port`.";
        PET_RDZV_BACKEND = "PET_RDZV_BACKEND": "torchrun's `--rdzv-backend`: `c10d`; this and the next ones only for runs that go on with fewer ranks.";
        PET_RDZV_ENDPOINT = "PET_RDZV_ENDPOINT": "torchrun's `--rdzv-endpoint`: rank 0, at `MASTER_PORT`.";
        PET_RDZV_ID = "PET_RDZV_ID": "torchrun's `--rdzv-id`: the run and its attempt.";
        PET_MAX_RESTARTS = "PET_MAX_RESTARTS": "torchrun's `--max-restarts`: 1000, as it counts lost ranks too.";
        TORCH_STORE_PER_ROUND = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1: each meeting of torchrun's makes a store of its own; a shared one goes with the rank that held it.";
        PET_LOCAL_ADDR = "PET_LOCAL_ADDR": "torchrun's `--local-addr`: this rank's own address, by which it tells a rank from the lost one that it replaces.";
        PET_NPROC_PER_NODE = "PET_NPROC_PER_NODE": "torchrun's `--nproc-per-node`: 1, or one for each accelerator, or `--slots`.";
        TF_CONFIG = "TF_CONFIG": "TensorFlow's `MultiWorkerMirroredStrategy`: all ranks as workers, and this one; only with more than one rank.";
        JAX_COORDINATOR_ADDRESS = "JAX_COORDINATOR_ADDRESS": "Where `jax.distributed.initialize` finds rank 0.";
        JAX_NUM_PROCESSES = "JAX_NUM_PROCESSES": "How many ranks; for programs, as JAX itself does not read it. Nothing replaces it.";
        JAX_PROCESS_ID = "JAX_PROCESS_ID": "This process's rank; likewise. Nothing replaces it.";
        JAX_LOCAL_DEVICE_IDS = "JAX_LOCAL_DEVICE_IDS": "All of this rank's accelerators, where it has several and `run.variables` is `jax` or `slurm`: JAX would take the first alone.";
        KERAS_JOB_ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES": "Where `keras.distribution.initialize` finds rank 0.";
        KERAS_NUM_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES": "How many ranks. Nothing replaces it.";
        KERAS_PROCESS_ID = "KERAS_DISTRIBUTION_PROCESS_ID": "This process's rank. Nothing replaces it.";
        ACCELERATE_USE_CPU = "ACCELERATE_USE_CPU": "`true` where a rank has no accelerator: without it Accelerate and Hugging Face's Trainer train a copy on each rank.";
        GLOO_SOCKET_IFNAME = "GLOO_SOCKET_IFNAME": "The network interface that leads to rank 0, for Gloo.";
        NCCL_SOCKET_IFNAME = "NCCL_SOCKET_IFNAME": "The same for NCCL.";
        TP_SOCKET_IFNAME = "TP_SOCKET_IFNAME": "The same for TensorPipe.";
        HOSTFILE = "NAUTA_HOSTFILE": "A file with a line for each rank, `NAME slots=N`, as Open MPI and DeepSpeed read it.";
        LAUNCHER = "NAUTA_LAUNCHER": "Where nauta's `ssh`, `rsh` and `pdsh` find the supervisor; only where rank 0 starts the programs.";
        OMPI_HOSTFILE = "OMPI_MCA_orte_default_hostfile": "The hostfile for Open MPI 4; this and the next ones only where rank 0 starts the programs.";
        OMPI_AGENT = "OMPI_MCA_plm_rsh_agent": "How Open MPI 4 starts programs elsewhere: nauta's `ssh`.";
        OMPI_NO_TREE = "OMPI_MCA_plm_rsh_no_tree_spawn": "1: all of them from rank 0.";
        OMPI_OOB_INTERFACE = "OMPI_MCA_oob_tcp_if_include": "The network interface that leads to the other ranks, for Open MPI 4's daemons.";
        OMPI_BTL_INTERFACE = "OMPI_MCA_btl_tcp_if_include": "The same for the processes' own connections, in 4 and 5.";
        PRTE_HOSTFILE = "PRTE_MCA_prte_default_hostfile": "The hostfile for Open MPI 5.";
        PRTE_AGENT = "PRTE_MCA_plm_ssh_agent": "How Open MPI 5 starts programs elsewhere: nauta's `ssh`.";
        PRTE_NO_TREE = "PRTE_MCA_plm_ssh_no_tree_spawn": "1: all of them from rank 0.";
        PRTE_INTERFACE = "PRTE_MCA_prte_if_include": "The network interface that leads to the other ranks, for Open MPI 5's daemons.";
        PATH = "PATH": "The image's own; where rank 0 starts the programs, nauta's `ssh`, `rsh` and `pdsh` come first.";
        SHELL = "SHELL": "`/bin/sh`, which runs what is started from rank 0: the user id has no login shell.";
        PYTHONFAULTHANDLER = "PYTHONFAULTHANDLER": "1 with `--stall-timeout`: a Python that is stopped for a stall says where each of its threads was.";
        PYTHONPATH = "PYTHONPATH": "The image's or the user's own, and behind it the folder of the project's packages where it has a `pyproject.toml`, `setup.py` or `setup.cfg`.";
        PYTHONUNBUFFERED = "PYTHONUNBUFFERED": "1: Python keeps lines back when it writes to a pipe, and the last words before a crash would be lost.";
        USER = "USER": "`nauta`: some libraries ask for a name, and the user id has none.";
        LOGNAME = "LOGNAME": "The same.";
        HOME = "HOME": "A folder that can be written, where the image's own (or the one that `--env` names) cannot.";
    }
    /// Set by the supervisor where `run.variables` is `slurm` or `jax`: nothing replaces them.
    SLURM {
        SLURM_JOB_ID = "SLURM_JOB_ID": "A number that the run's name gives; the same on all ranks.";
        SLURM_PROCID = "SLURM_PROCID": "This process's rank.";
        SLURM_NTASKS = "SLURM_NTASKS": "How many ranks.";
        SLURM_LOCALID = "SLURM_LOCALID": "The rank on this machine: 0.";
        SLURM_NODEID = "SLURM_NODEID": "The rank as the number of its machine.";
        SLURM_NNODES = "SLURM_NNODES": "How many machines: one for each rank.";
        SLURM_NODELIST = "SLURM_NODELIST": "The names of all ranks, separated by commas.";
        SLURM_JOB_NUM_NODES = "SLURM_JOB_NUM_NODES": "The same as `SLURM_NNODES`.";
        SLURM_JOB_NODELIST = "SLURM_JOB_NODELIST": "The same as `SLURM_NODELIST`.";
        SLURM_STEP_NUM_NODES = "SLURM_STEP_NUM_NODES": "The same as `SLURM_NNODES`.";
        SLURM_STEP_NODELIST = "SLURM_STEP_NODELIST": "The same as `SLURM_NODELIST`.";
    }
    /// Set by the supervisor where `run.variables` is `mpi`: nothing replaces them.
    MPI {
        OMPI_RANK = "OMPI_COMM_WORLD_RANK": "This process's rank, as Open MPI says it.";
        OMPI_SIZE = "OMPI_COMM_WORLD_SIZE": "How many ranks.";
        OMPI_LOCAL_RANK = "OMPI_COMM_WORLD_LOCAL_RANK": "The rank on this machine: 0.";
        OMPI_LOCAL_SIZE = "OMPI_COMM_WORLD_LOCAL_SIZE": "How many ranks on this machine: 1.";
        OMPI_NODE_RANK = "OMPI_COMM_WORLD_NODE_RANK": "The same as the rank on this machine.";
        PMI_RANK = "PMI_RANK": "This process's rank, as MPICH and Intel MPI say it.";
        PMI_SIZE = "PMI_SIZE": "How many ranks.";
    }
}
