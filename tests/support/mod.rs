//! A workstation for a test: own home, configuration, state and project; the real binary; the real engines.

pub(crate) mod certificates;
pub(crate) mod cluster_lock;
pub(crate) mod docker_registry;
pub(crate) mod engine_proxy;
pub(crate) mod fault_proxy;
pub(crate) mod link;
pub(crate) mod own_process;
pub(crate) mod random;
pub(crate) mod small_disk;
pub(crate) mod terminal;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How much of something a test does: `default`, unless a variable asks for the long form.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The address of the test cluster's API server.
pub(crate) fn api_server() -> String {
    server_in(&std::fs::read_to_string(environment("NAUTA_TEST_KUBECONFIG_USER")).expect("readable"))
}

fn server_in(kubeconfig: &str) -> String {
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
    line.expect("a server").to_owned()
}

/// A variable of the running test environment.
pub(crate) fn environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("${name} is not set: run `tests/run`, or `eval \"$(tests/env/exports)\"`"))
}

/// A workstation of a test's own.
pub(crate) struct Workstation {
    temp: tempfile::TempDir,
    /// The project's directory, empty at first.
    pub(crate) project: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command did.
#[must_use]
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workstation {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let project = temp.path().join("project");
        std::fs::create_dir(&project).expect("created");
        Self { temp, project, variables: Vec::new() }
    }

    /// Puts a file into the project.
    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.project.join(path);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
        std::fs::write(path, text).expect("written");
        self
    }

    /// Replaces the user's configuration.
    pub(crate) fn configure(&self, text: &str) -> &Self {
        let folder = self.temp.path().join("config/nauta");
        std::fs::create_dir_all(&folder).expect("created");
        std::fs::write(folder.join("config.toml"), text).expect("written");
        self
    }

    /// A target of the test cluster, with `more` lines.
    pub(crate) fn configure_cluster(&self, more: &str) -> &Self {
        let (kubeconfig, pods) =
            (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_REGISTRY_FROM_PODS"));
        let (registry, namespace) = (environment("NAUTA_TEST_REGISTRY"), environment("NAUTA_TEST_NAMESPACE"));
        self.configure(&format!(
            "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{registry}/tests'\n\
             registry_from_pods = '{pods}'\nplain_http = ['{pods}']\n{more}\n"
        ))
    }

    /// A target of the test cluster whose API server is reached at another address.
    pub(crate) fn configure_cluster_at(&self, address: std::net::SocketAddr) -> &Self {
        let original = std::fs::read_to_string(environment("NAUTA_TEST_KUBECONFIG_USER")).expect("readable");
        let server = server_in(&original);
        let path = self.temp.path().join("kubeconfig");
        std::fs::write(&path, original.replace(&server, &address.to_string())).expect("written");
        self.configure_cluster("");
        let config = self.temp.path().join("config/nauta/config.toml");
        let text = std::fs::read_to_string(&config).expect("written");
        let text = text.replace(&environment("NAUTA_TEST_KUBECONFIG_USER"), path.to_str().expect("text"));
        std::fs::write(config, text).expect("written");
        self
    }

    /// Sets a variable for all commands.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nauta"));
        let home = |name: &str| self.temp.path().join(name);
        command.args(arguments).env_clear().current_dir(&self.project).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("USER", "tester");
        command.env("HOME", home("home")).env("XDG_CONFIG_HOME", home("config"));
        // The compressed supervisor is the same for all tests: made once.
        command.env("XDG_STATE_HOME", std::env::temp_dir().join("nauta-tests-state"));
        if let Some(host) = std::env::var_os("DOCKER_HOST") {
            command.env("DOCKER_HOST", host);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs nauta to its end.
    pub(crate) fn nauta(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().expect("nauta starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Done { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Runs nauta and expects success.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> Done {
        let done = self.nauta(arguments);
        assert_eq!(done.code, 0, "nauta {arguments:?}\n{}\n{}", done.stdout, done.stderr);
        done
    }

    /// The folder of the only run there is.
    pub(crate) fn only_run(&self) -> PathBuf {
        let mut runs: Vec<PathBuf> = folders(&self.project.join("runs"));
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }
}

/// The entries of a folder; none where it does not exist.
pub(crate) fn entries(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The folders in a folder; none where it does not exist.
pub(crate) fn folders(path: &Path) -> Vec<PathBuf> {
    entries(path).into_iter().filter(|path| path.is_dir()).collect()
}

/// What Ctrl-C does to a child.
pub(crate) fn interrupt(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("small"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
}

/// Runs a program of the test environment and gives what it said.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    said(command)
}

pub(crate) fn said(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The administrator's view of the test cluster.
pub(crate) fn kubectl(arguments: &[&str]) -> String {
    while_the_api_server_is_away(|| kubectl_command(arguments).output().expect("kubectl can be run: run tests/run"))
}

/// What kubectl said. Some tests kill the API server, which is back in seconds: who asks beside them asks again.
fn while_the_api_server_is_away(ask: impl Fn() -> Output) -> String {
    const AWAY: [&str; 5] =
        ["was refused", "connection refused", "unexpected EOF", "connection reset", "TLS handshake timeout"];
    let began = std::time::Instant::now();
    loop {
        let output = ask();
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        let is_away = AWAY.iter().any(|words| error.contains(words));
        assert!(is_away && began.elapsed() < Duration::from_mins(1), "{output:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// The same, not run yet.
pub(crate) fn kubectl_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(&environment("NAUTA_TEST_BIN")).join("kubectl"));
    command.args(["--kubeconfig", &environment("NAUTA_TEST_KUBECONFIG"), "-n", &environment("NAUTA_TEST_NAMESPACE")]);
    command.args(arguments);
    command
}

/// Hands manifests to kubectl's standard input.
pub(crate) fn kubectl_on(manifests: &str, arguments: &[&str]) -> Output {
    let mut command = kubectl_command(arguments);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl can be run: run tests/run");
    child.stdin.take().expect("a pipe").write_all(manifests.as_bytes()).expect("kubectl reads");
    child.wait_with_output().expect("kubectl ends")
}

/// Makes objects in the test cluster.
pub(crate) fn apply(objects: &[serde_json::Value]) {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let _ = while_the_api_server_is_away(|| kubectl_on(&list.to_string(), &["apply"]));
}

/// Asserts that Docker has nothing of a run.
pub(crate) fn nothing_of(run: &str) {
    let filter = format!("label=nauta.dev/run={run}");
    for kind in [&["ps", "-aq"][..], &["network", "ls", "-q"], &["volume", "ls", "-q"]] {
        let left = tool("docker", &[kind, &["--filter", &filter]].concat());
        assert_eq!(left, "", "{kind:?} of {run}");
    }
}

/// What is read until `end` has come, or nothing more does.
pub(crate) fn read_until(from: &mut impl std::io::Read, end: &str) -> String {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end.as_bytes()) && from.read(&mut byte).is_ok_and(|n| n == 1) {
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Tells a figure or a seed: tests measure some things that only their readers can judge.
pub(crate) fn figure(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}
