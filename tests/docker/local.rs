//! Runs on the engine: what containers get, and that nothing stays, however a run ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use nauta::archive::Attributes;
use nauta::control::{FrameCodec, PROTOCOL, Reply, Request};
use nauta::diagnosis::{Diagnosis, Kind};
use nauta::digest::Digest;
use nauta::docker::{Code, Docker, DockerError, JanitorProgram, LocalPlan, LocalRun};
use nauta::event::{End, Events, RankState, Reason, Stream};
use nauta::follow::{RankStream, Trunk};
use nauta::job::{Deadlines, Launch, OutputRules, Resources, Restarts, RunSpec, Variables};
use nauta::layout;
use nauta::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{busybox, docker, docker_command, unique};

const NAUTA: &str = env!("CARGO_BIN_EXE_nauta");
/// Tells a process of this test binary what to be.
const ROLE: &str = "NAUTA_TEST_DOCKER_ROLE";
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn spec(run: &str, nodes: u32, script: &str) -> RunSpec {
    RunSpec {
        name: run.to_owned(),
        project: "docker-tests".to_owned(),
        user: "tester".to_owned(),
        nodes,
        command: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("GREETING".to_owned(), "hello there".to_owned())]),
        resources: Resources { cpu: Some("0.5".parse().unwrap()), memory: Some("64Mi".parse().unwrap()), gpus: 0 },
        deadlines: Deadlines { grace: Duration::from_secs(1), ..Deadlines::default() },
        min_nodes: None,
        restarts: Restarts::default(),
        launch: Launch::default(),
        slots: None,
        variables: Variables::default(),
        outputs: OutputRules::default(),
        shared: None,
        snapshot: Digest::of("code"),
    }
}

pub(super) fn plan(run: &str, nodes: u32, script: &str) -> LocalPlan {
    LocalPlan {
        spec: spec(run, nodes, script),
        image: busybox(),
        entrypoint: vec!["sh".to_owned()],
        supervisor: PathBuf::from(NAUTA),
        code: Code::new(|archive| {
            let user = layout::USER_ID;
            let attributes = Attributes { mode: 0o640, uid: user, gid: user, mtime: 1_700_000_000 };
            archive.directory("workspace/docker-tests/package", Attributes { mode: 0o755, ..attributes })?;
            archive.bytes("workspace/docker-tests/package/train.py", b"print('hello')\n", attributes)
        }),
        run_key: Secret::new(KEY),
        secrets: BTreeMap::new(),
        shm_bytes: Some(128 * 1024 * 1024),
        lease: true,
        janitor: JanitorProgram { program: PathBuf::from(NAUTA), arguments: vec!["janitor".to_owned()] },
    }
}

/// Waits until all ranks have ended; gives how.
async fn ends(run: &LocalRun) -> BTreeMap<u32, End> {
    let states = run.watch().await.unwrap();
    let states: Vec<(u32, RankState)> =
        tokio::time::timeout(Duration::from_mins(2), states.try_collect()).await.expect("they end").unwrap();
    states
        .into_iter()
        .filter_map(|(rank, state)| if let RankState::Ended(end) = state { Some((rank, end)) } else { None })
        .collect()
}

/// What the engine has of a run.
fn remains(run: &str) -> String {
    let filter = format!("label={}={run}", layout::label::RUN);
    let containers = docker_command(&["ps", "-aq", "--filter", &filter]);
    let networks = docker_command(&["network", "ls", "-q", "--filter", &filter]);
    format!("{containers}{networks}")
}

async fn nothing_remains(run: &str) {
    let gone = async {
        while !remains(run).is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), gone).await.is_ok(), "{run}: {} remains", remains(run));
}

async fn output(run: &LocalRun, rank: u32, command: &[&str]) -> String {
    let mut stream = run.exec(rank, command).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.trim().to_owned()
}

#[tokio::test]
async fn ranks_get_what_they_need_and_no_more() {
    let docker = docker().await;
    let name = unique("run");
    // The commands of a container that ends with its standard input, as a supervisor with a lease does.
    let run = docker.start_local(plan(&name, 2, "cat; exit 7"), &Events::none()).await.unwrap();
    assert_eq!(run.ranks().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(output(&run, 1, &["hostname"]).await, format!("{name}-1"));
    assert_eq!(output(&run, 1, &["id", "-u"]).await, "1000");
    assert_eq!(output(&run, 1, &["pwd"]).await, "/workspace/docker-tests");
    assert_eq!(output(&run, 0, &["cat", "package/train.py"]).await, "print('hello')");
    assert_eq!(output(&run, 0, &["cat", layout::RUN_KEY]).await, KEY);
    for (path, expected) in [
        ("/workspace", "1000:1000:755"),
        ("/workspace/docker-tests/package/train.py", "1000:1000:640"),
        (layout::SUPERVISOR, "0:0:755"),
        (layout::RUN_KEY, "1000:1000:400"),
        (layout::OUTPUTS, "1000:1000:755"),
        (layout::STATE, "1000:1000:700"),
        (layout::HOME, "1000:1000:755"),
    ] {
        assert_eq!(output(&run, 0, &["stat", "-c", "%u:%g:%a", path]).await, expected, "{path}");
    }
    let size = std::fs::metadata(NAUTA).unwrap().len().to_string();
    assert_eq!(output(&run, 1, &["stat", "-c", "%s", layout::SUPERVISOR]).await, size);
    let env = output(&run, 1, &["env"]).await;
    for line in [
        "GREETING=hello there".to_owned(),
        format!("NAUTA_RUN={name}"),
        "NAUTA_RANK=1".to_owned(),
        "NAUTA_NODES=2".to_owned(),
        format!("NAUTA_COORDINATOR={name}-0.{name}"),
        "NAUTA_LEASE=stdin".to_owned(),
        format!("HOME={}", layout::HOME),
    ] {
        assert!(env.lines().any(|found| found == line), "no `{line}` in {env}");
    }
    assert!(!env.contains(KEY));
    for host in [layout::coordinator(&name), layout::hostname(&name, 0), layout::hostname(&name, 1)] {
        assert!(output(&run, 1, &["nslookup", &host]).await.contains("Address"), "{host}");
    }
    assert!(output(&run, 0, &["df", "/dev/shm"]).await.contains("131072"));
    let status = output(&run, 0, &["grep", "-E", "CapBnd|NoNewPrivs", "/proc/self/status"]).await;
    assert!(status.contains("0000000000000000") && status.contains("NoNewPrivs:\t1"), "{status}");
    let inspected = docker_command(&["inspect", &format!("nauta-{name}-0")]);
    assert!(inspected.contains("\"Memory\": 67108864") && inspected.contains("\"NanoCpus\": 500000000"), "{inspected}");
    assert!(inspected.contains("\"PidsLimit\": 32768"), "{inspected}");
    assert!(inspected.contains("\"Binds\": null") && inspected.contains("\"Mounts\": []"), "{inspected}");

    let listed = docker.list_local().await.unwrap();
    let summary = listed.iter().find(|summary| summary.run == name).expect("it is listed");
    assert_eq!((summary.nodes, summary.leased, summary.command[1].as_str()), (2, true, "cat; exit 7"));
    assert!(summary.ranks.values().all(|state| matches!(state, RankState::Meeting { .. })), "{summary:?}");
    assert!(docker.sweep().await.unwrap().is_empty(), "a run that goes on is no leftover");
    let second = docker.start_local(plan(&name, 1, "true"), &Events::none()).await;
    assert!(matches!(second, Err(DockerError::RunExists { .. })));

    run.remove().await.unwrap();
    assert_eq!(remains(&name), "");
}

#[tokio::test]
async fn a_control_stream_carries_bytes_both_ways() {
    let docker = docker().await;
    let name = unique("run");
    let run = docker.start_local(plan(&name, 1, "cat"), &Events::none()).await.unwrap();
    let mut stream = run.exec(0, &["cat"]).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut received = vec![0; sent.len()];
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    let ((), read) = tokio::join!(write, reader.read_exact(&mut received));
    read.unwrap();
    assert!(sent == received, "bytes were changed");
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert!(matches!(run.exec(7, &["cat"]).await, Err(DockerError::NotRunning { rank: 7, .. })));
    run.kill().await.unwrap();
    assert!(matches!(run.exec(0, &["cat"]).await, Err(DockerError::NotRunning { .. })));
    run.remove().await.unwrap();
    assert_eq!(remains(&name), "");
}

#[tokio::test]
async fn states_are_seen_as_they_change() {
    let docker = docker().await;
    let name = unique("run");
    let script = "case $NAUTA_RANK in 0) exit 0;; 1) exit 3;; 2) cat;; 3) head -c 200m /dev/zero | tail;; esac";
    let run = docker.start_local(plan(&name, 4, script), &Events::none()).await.unwrap();
    let mut states = Box::pin(run.watch().await.unwrap());
    let mut last = BTreeMap::new();
    while last.values().filter(|state| matches!(state, RankState::Ended(_))).count() < 3 {
        let (rank, state) = states.next().await.expect("rank 2 still runs").unwrap();
        last.insert(rank, state);
    }
    let ended = |code, reason| RankState::Ended(End { code, reason });
    assert_eq!(last[&0], ended(0, Reason::Exited));
    assert_eq!(last[&1], ended(3, Reason::Exited));
    assert!(matches!(last[&2], RankState::Meeting { .. }), "{last:?}");
    assert!(matches!(&last[&3], RankState::Ended(End { reason: Reason::OutOfMemory, .. })), "{last:?}");
    run.stop(Duration::from_secs(1)).await.unwrap();
    let (rank, state) = states.next().await.expect("rank 2 ends").unwrap();
    assert_eq!((rank, state), (2, ended(137, Reason::Signalled { signal: 9 })));
    assert!(states.next().await.is_none());
    drop(states);
    let found = docker.find_local(&name).await.unwrap().expect("it is still there");
    assert_eq!(ends(&found).await.len(), 4);
    run.remove().await.unwrap();
    assert_eq!(remains(&name), "");
    assert!(docker.find_local(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let docker = docker().await;
    let name = unique("run");
    let mut no_image = plan(&name, 2, "cat");
    no_image.image = "nauta-test/no-such-image:1".to_owned();
    let mut no_program = plan(&name, 2, "cat");
    no_program.entrypoint = vec!["/no/such/program".to_owned()];
    let mut bad_code = plan(&name, 2, "cat");
    bad_code.code = Code::new(|archive| {
        let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
        archive.file("workspace/x", "/nonexistent/x".as_ref(), attributes).map(drop)
    });
    let mut bad_janitor = plan(&name, 2, "cat");
    bad_janitor.janitor.program = "/no/such/janitor".into();
    let mut huge = plan(&name, 2, "cat");
    huge.spec.resources.cpu = Some("10000".parse().unwrap());
    for (plan, expected, kind) in [
        (no_image, "no-such-image", Kind::Input),
        (no_program, "/no/such/program", Kind::Unavailable),
        (bad_code, "/nonexistent/x", Kind::Input),
        (bad_janitor, "/no/such/janitor", Kind::Unavailable),
        (huge, "CPUs", Kind::Unavailable),
    ] {
        let Err(error) = docker.start_local(plan, &Events::none()).await else { panic!("no error: {expected}") };
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(remains(&name), "", "{error}");
    }
}

#[tokio::test]
async fn a_dropped_run_and_a_dropped_start_leave_nothing() {
    let docker = docker().await;
    let name = unique("run");
    let run = docker.start_local(plan(&name, 2, "cat"), &Events::none()).await.unwrap();
    drop(run);
    nothing_remains(&name).await;
    for pause in [50, 200, 400, 800] {
        let name = unique("run");
        let events = Events::none();
        let start = docker.start_local(plan(&name, 3, "cat"), &events);
        let started = tokio::time::timeout(Duration::from_millis(pause), start).await;
        drop(started);
        // The janitor looks more than once: what was on its way through the engine is removed as well.
        nothing_remains(&name).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(remains(&name), "");
    }
}

/// A process that starts a run and holds it.
struct Holder {
    child: Child,
    janitor: u32,
    /// Kept open: a process that cannot write to its stdout would end early.
    _stdout: BufReader<std::process::ChildStdout>,
}

fn holder(run: &str, role: &str) -> Holder {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "docker::local::as_another_process", "--nocapture"])
        .env(ROLE, format!("{role} {run}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let janitor =
        stdout.by_ref().lines().map(Result::unwrap).find_map(|line| line.strip_prefix("started ").map(str::to_owned));
    let janitor = janitor.expect("the run starts").parse().unwrap();
    Holder { child, janitor, _stdout: stdout }
}

/// Not a test by itself: what [`holder`] runs.
#[tokio::test]
async fn as_another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, name) = role.split_once(' ').unwrap();
    let say_started = |janitor: &serde_json::Value| {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "started {}", janitor["pid"]).and_then(|()| stdout.flush()).unwrap();
    };
    let docker = docker().await;
    let mut plan = plan(name, 2, if role == "quick" { "exit 5" } else { "cat; sleep 1000" });
    plan.lease = role == "leased";
    if role != "leased" {
        plan.spec.deadlines.keep = Duration::from_secs(if role == "quick" { 0 } else { 3600 });
        plan.spec.command = vec!["-c".to_owned(), if role == "quick" { "exit 5" } else { "sleep 1000" }.to_owned()];
    }
    let run = docker.start_local(plan, &Events::none()).await.unwrap();
    let labels = docker_command(&[
        "inspect",
        "-f",
        "{{index .Config.Labels \"nauta.dev/janitor\"}}",
        &format!("nauta-{name}-0"),
    ]);
    let janitor: serde_json::Value = serde_json::from_str(&labels).unwrap();
    if role == "leased" {
        say_started(&janitor);
        tokio::time::sleep(Duration::from_mins(10)).await;
        drop(run);
    } else {
        run.detach().await.unwrap();
        say_started(&janitor);
    }
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    // No SIGINT: it is ignored where the tests run in the background of a script.
    for how in [nix::sys::signal::SIGKILL, nix::sys::signal::SIGTERM] {
        let name = unique("run");
        let mut holder = holder(&name, "leased");
        assert_ne!(remains(&name), "");
        signal(holder.child.id(), how);
        holder.child.wait().unwrap();
        nothing_remains(&name).await;
    }
}

#[tokio::test]
async fn a_killed_janitor_is_made_up_for_by_the_next_sweep() {
    let docker = docker().await;
    let name = unique("run");
    let mut holder = holder(&name, "leased");
    signal(holder.janitor, nix::sys::signal::SIGKILL);
    assert!(!docker.sweep().await.unwrap().contains(&name), "its owner lives");
    signal(holder.child.id(), nix::sys::signal::SIGKILL);
    holder.child.wait().unwrap();
    // Another test's sweep may be the one that finds it.
    docker.sweep().await.unwrap();
    nothing_remains(&name).await;
}

#[tokio::test]
async fn a_detached_run_goes_on_and_is_removed_when_its_time_is_over() {
    let docker = docker().await;
    let name = unique("run");
    let mut holder = holder(&name, "detached");
    holder.child.wait().unwrap();
    let run = docker.find_local(&name).await.unwrap().expect("it goes on");
    assert!(!docker.sweep().await.unwrap().contains(&name));
    let listed = docker.list_local().await.unwrap();
    let summary = listed.iter().find(|summary| summary.run == name).expect("it is listed");
    assert!(!summary.leased && summary.ranks.values().all(|state| matches!(state, RankState::Meeting { .. })));
    assert!(!output(&run, 0, &["env"]).await.contains("NAUTA_LEASE"));
    run.kill().await.unwrap();
    assert_eq!(ends(&run).await.len(), 2);
    assert_ne!(remains(&name), "", "it is kept for its time");
    run.remove().await.unwrap();
    assert_eq!(remains(&name), "");
    signal(holder.janitor, nix::sys::signal::SIGKILL);

    let name = unique("run");
    let mut holder = self::holder(&name, "quick");
    holder.child.wait().unwrap();
    nothing_remains(&name).await;
}

#[tokio::test]
async fn nothing_is_run_twice_and_everything_runs_at_once() {
    let docker = docker().await;
    let names: Vec<String> = (0..3).map(|_| unique("run")).collect();
    let start = |name: &String| {
        let (docker, plan): (Docker, LocalPlan) = (docker.clone(), plan(name, 2, "cat"));
        async move { docker.start_local(plan, &Events::none()).await }
    };
    let runs = futures::future::try_join_all(names.iter().map(start)).await.unwrap();
    for run in runs {
        run.remove().await.unwrap();
    }
    for name in names {
        assert_eq!(remains(&name), "");
    }
}

type Control = tokio_util::codec::Framed<RankStream, FrameCodec<Reply, Request>>;

/// A stream to a rank, through another one or its own; the reason, where that one does not lead to it (yet).
async fn control(run: &LocalRun, through: u32, rank: u32) -> Result<Control, String> {
    let mut trunk = Trunk::open(run.open_control(through).await.unwrap()).await?;
    let mut control = Control::new(trunk.to(rank).await?, FrameCodec::default());
    control.send((Request::Hello { protocol: PROTOCOL }, Bytes::new())).await.map_err(|error| error.to_string())?;
    Ok(control)
}

/// Follows a supervisor to its end, over as many streams as it takes, since the end of a stream means nothing; gives
/// what its program wrote, how it ended, and the last stream.
async fn follow(run: &LocalRun, through: u32, rank: u32) -> (String, End, Control) {
    let mut log = Vec::new();
    let mut offset = 0;
    let to_the_end = async {
        loop {
            let Ok(mut control) = control(run, through, rank).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            control.send((Request::Follow { offset }, Bytes::new())).await.unwrap();
            while let Some(Ok(frame)) = control.next().await {
                match frame {
                    (Reply::Log { stream, next, .. }, bytes) => {
                        offset = next;
                        if stream == Stream::Stdout {
                            log.extend_from_slice(&bytes);
                        }
                    }
                    (Reply::Ended { end, .. }, _) => return (end, control),
                    _ => {}
                }
            }
        }
    };
    let (end, control) = tokio::time::timeout(Duration::from_mins(1), to_the_end).await.expect("it ends");
    (String::from_utf8(log).unwrap(), end, control)
}

fn supervised(name: &str, nodes: u32, script: &str) -> LocalPlan {
    let mut plan = plan(name, nodes, "");
    plan.entrypoint = LocalPlan::SUPERVISE.map(str::to_owned).to_vec();
    plan.spec.command = ["sh", "-c", script].map(str::to_owned).to_vec();
    plan
}

#[tokio::test]
async fn the_supervisors_run_in_it_and_are_followed_to_their_ends_through_rank_0_or_straight() {
    let docker = docker().await;
    let name = unique("run");
    let script = "echo rank $RANK of $WORLD_SIZE; echo result > $NAUTA_OUTPUTS/result.txt";
    let run = docker.start_local(supervised(&name, 3, script), &Events::none()).await.unwrap();
    let (first, second, third) = tokio::join!(follow(&run, 0, 0), follow(&run, 0, 1), follow(&run, 2, 2));
    let refused = control(&run, 2, 1).await.err().unwrap_or_default();
    assert!(refused.contains("only rank 0 leads to other ranks"), "{refused}");
    for (rank, (log, end, mut control)) in [first, second, third].into_iter().enumerate() {
        assert_eq!(log, format!("rank {rank} of 3\n"));
        assert_eq!(end, End { code: 0, reason: Reason::Exited });
        control.send((Request::Release, Bytes::new())).await.unwrap();
        // An answer shows that the word before it was read: who only hangs up may take it back.
        control.send((Request::Hello { protocol: PROTOCOL }, Bytes::new())).await.unwrap();
        while !matches!(control.next().await.unwrap().unwrap(), (Reply::Hello { .. }, _)) {}
    }
    assert!(ends(&run).await.values().all(End::is_success));
    run.remove().await.unwrap();
    assert_eq!(remains(&name), "");
}

#[tokio::test]
async fn the_supervisor_ends_with_its_lease() {
    let docker = docker().await;
    let name = unique("run");
    let run = docker.start_local(supervised(&name, 2, "sleep 1000"), &Events::none()).await.unwrap();
    let found = docker.find_local(&name).await.unwrap().expect("it runs");
    let states = found.watch().await.unwrap();
    drop(run);
    let states: Vec<_> = tokio::time::timeout(Duration::from_mins(1), states.collect()).await.expect("it ends");
    assert!(states.iter().any(|state| matches!(state, Ok((_, RankState::Ended(_))))), "{states:?}");
    nothing_remains(&name).await;
}
