//! How runs end, and what a watch tells meanwhile.

use futures::StreamExt as _;
use nauta::cluster::{Cluster, LogRange, Observation, Scope};
use nauta::event::{End, RankState, Reason};
use nauta::job::state::{FailureCause, RunState};

use super::support::{
    Guard, PATIENCE, address, container, image, namespace, script, spec, unique, until, user, variable,
};

/// Says who it is once it can resolve rank 0, and writes wherever a rank may write.
const WHO: &str = "
import os, socket, time
e = os.environ
while True:
    try:
        socket.getaddrinfo(e['NAUTA_COORDINATOR'], 7117)
        break
    except OSError:
        time.sleep(0.2)
for folder in ('/nauta/outputs', '/nauta/state', '/nauta/home', '/dev/shm', '/tmp'):
    open(folder + '/x', 'w').close()
key = open('/nauta/key/run-key').read()
print('rank', e['NAUTA_RANK'], 'of', e['NAUTA_NODES'], 'on', socket.gethostname(), 'in', os.getcwd(), 'as', os.getuid(), 'with', key)
";

#[tokio::test]
async fn ranks_find_each_other_by_name_and_know_who_they_are() {
    let mut spec = spec(&unique("names"), 3);
    spec.resources.memory = "64Mi".parse().ok();
    let mut objects = script(&spec, &namespace(), "true").await;
    container(&mut objects).image = Some(image("NAUTA_TEST_IMAGE_PYTHON").await);
    container(&mut objects).command = Some(["python3", "-uc", WHO].map(str::to_owned).to_vec());
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    for rank in 0..3 {
        let mut log = Vec::new();
        let mut stream = Box::pin(cluster.logs(&guard.run, rank, LogRange::default()).await.expect("a log"));
        while let Some(piece) = stream.next().await {
            log.extend_from_slice(&piece.expect("readable"));
        }
        let log = String::from_utf8_lossy(&log);
        let line = format!(
            "rank {rank} of 3 on {}-{rank} in /workspace/cluster-tests as 1000 with {}",
            guard.run,
            "ab".repeat(32)
        );
        assert!(log.contains(&line), "{log}");
    }
    assert_eq!(view.state, RunState::Succeeded, "{view:?}");
    assert!(
        view.ranks.iter().all(|rank| rank.state == RankState::Ended(End { code: 0, reason: Reason::Exited })),
        "{view:?}"
    );
    let summary = cluster.status(&guard.run).await.expect("answers").summary;
    assert!(summary.started.is_some() && summary.ended.is_some(), "{summary:?}");
}

#[tokio::test]
async fn an_exit_code_is_told_by_the_pod_and_by_the_job_alone() {
    let objects =
        script(&spec(&unique("code"), 2), &namespace(), "[ $NAUTA_RANK = 1 ] && exit 3; exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    assert_eq!(view.ranks[1].state, RankState::Ended(End { code: 3, reason: Reason::Exited }), "{view:?}");
    assert!(matches!(view.ranks[0].state, RankState::Ended(_)), "{view:?}");
    let runs = cluster.list(Scope::Project("cluster-tests")).await.expect("answers");
    let run = runs.iter().find(|run| run.name == guard.run).expect("listed");
    assert!(matches!(run.state, RunState::Failed { cause: FailureCause::Program, code: Some(3), .. }), "{run:?}");
    assert!(run.ended.is_some());
}

#[tokio::test]
async fn the_supervisors_last_words_count_more_than_the_exit_code() {
    let words = r#"{"nauta":1,"rank":0,"end":{"code":9,"reason":{"why":"peer-failed","rank":2}},"first_failed":2}"#;
    let run =
        script(&spec(&unique("words"), 1), &namespace(), &format!("echo '{words}' > /dev/termination-log; exit 1"))
            .await;
    let guard = Guard::new(&run);
    let cluster = user().await;
    cluster.submit(&run).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    assert_eq!(view.ranks[0].state, RankState::Ended(End { code: 9, reason: Reason::PeerFailed { rank: 2 } }));
    assert_eq!(view.first_failed, Some(2));
}

#[tokio::test]
async fn a_rank_that_the_kernel_kills_for_memory() {
    let mut objects = script(&spec(&unique("oom"), 1), &namespace(), "true").await;
    container(&mut objects).image = Some(image("NAUTA_TEST_IMAGE_PYTHON").await);
    let hog = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    container(&mut objects).command = Some(["python3", "-c", hog].map(str::to_owned).to_vec());
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state.is_final()).await;
    assert_eq!(view.ranks[0].state, RankState::Ended(End { code: 137, reason: Reason::OutOfMemory }), "{view:?}");
}

#[tokio::test]
async fn ranks_on_several_nodes() {
    let objects = script(&spec(&unique("spread"), 3), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    let view = until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    let mut nodes: Vec<_> = view.ranks.iter().filter_map(|rank| rank.node.clone()).collect();
    nodes.sort();
    nodes.dedup();
    assert!(nodes.len() > 1, "{view:?}");
    assert!(view.ranks.iter().all(|rank| rank.state == RankState::Running), "{view:?}");
}

#[tokio::test]
async fn a_run_that_never_was_is_gone() {
    let cluster = user().await;
    let view = until(&cluster, &unique("never"), |view| view.state.is_final()).await;
    assert_eq!(view.state, RunState::Deleted);
}

#[tokio::test]
async fn a_watch_says_that_nobody_answers_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let original = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG_USER")).expect("readable: run tests/run");
    let server = original.split_once("server: ").and_then(|(_, rest)| rest.lines().next()).expect("a server");
    let proxy = Proxy::start(server.trim().trim_start_matches("https://")).await;
    // The certificate is for the real address: only the connection goes elsewhere.
    let host = server.trim().trim_start_matches("https://").rsplit_once(':').expect("a port").0;
    let through = format!("https://127.0.0.1:{}\n    tls-server-name: {host}", proxy.port);
    std::fs::write(directory.path().join("config"), original.replace(server, &through)).expect("written");
    let path = directory.path().join("config").display().to_string();
    let cluster = Cluster::connect(&address(&path, &namespace())).await.expect("connects");

    let objects = script(&spec(&unique("contact"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    cluster.submit(&objects).await.expect("submitted");
    let mut observations = Box::pin(cluster.watch(&guard.run));
    let mut next =
        async || tokio::time::timeout(PATIENCE, observations.next()).await.expect("in time").expect("goes on");
    while !matches!(next().await, Observation::View(view) if view.state == RunState::Running) {}
    proxy.cut();
    let message = loop {
        if let Observation::OutOfContact { message, .. } = next().await {
            break message;
        }
    };
    assert!(message.contains("cannot reach the API server"), "{message}");
    user().await.cancel(&guard.run).await.expect("cancelled by somebody else meanwhile");
    proxy.mend();
    loop {
        if let Observation::View(view) = next().await
            && view.state.is_final()
        {
            assert_eq!(view.state, RunState::Deleted);
            break;
        }
    }
}

/// Passes connections on until it is cut: then it drops them all, and every new one.
struct Proxy {
    port: u16,
    up: tokio::sync::watch::Sender<bool>,
}

impl Proxy {
    async fn start(to: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let (up, state) = tokio::sync::watch::channel(true);
        let to = to.to_owned();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut state, to) = (state.clone(), to.clone());
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let mut far = tokio::net::TcpStream::connect(to).await.expect("the API server answers");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|up| !up) => {}
                    }
                });
            }
        });
        Self { port, up }
    }

    fn cut(&self) {
        self.up.send_replace(false);
    }

    fn mend(&self) {
        self.up.send_replace(true);
    }
}
