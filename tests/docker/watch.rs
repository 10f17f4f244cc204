//! Watching a run whose engine loses, delays and doubles its events, or tells none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use nauta::docker::{Docker, DockerSettings};
use nauta::event::{End, Events, RankState, Reason};

use super::local::plan;
use super::{docker, unique};
use crate::support::engine_proxy::{EngineProxy, Telling};
use crate::support::{figure, number};

/// A lost event costs a look, and a subscription that is never answered its limit before that; the rest is a slow machine's.
const SECONDS: Duration = Duration::from_secs(20);

/// The ranks' ends as they are seen through a proxy, and when the last of them was.
async fn ends_through(proxy: &EngineProxy, run: &str) -> (BTreeMap<u32, End>, Instant) {
    let settings = DockerSettings { host: Some(proxy.host()), ..DockerSettings::default() };
    let docker = Docker::connect(&settings).await.unwrap();
    let run = docker.find_local(run).await.unwrap().expect("it is there");
    let states = run.watch().await.unwrap();
    let ends = states.try_fold(BTreeMap::new(), |mut ends, (rank, state)| async move {
        if let RankState::Ended(end) = state {
            assert_eq!(ends.insert(rank, end), None, "rank {rank} ended once");
        }
        Ok(ends)
    });
    let ends = tokio::time::timeout(Duration::from_mins(1), ends).await.expect("a watch ends").unwrap();
    (ends, Instant::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_event_costs_seconds_and_never_the_run() {
    let seed = number("NAUTA_TEST_SEED", u64::from(std::process::id()));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let name = unique("run");
    // Rank 3 goes when all watches have seen it run.
    let script = "case $NAUTA_RANK in 0) exit 0;; 1) sleep 2; exit 3;; 2) sleep 4; exit 5;; 3) cat;; esac";
    let run = docker().await.start_local(plan(&name, 4, script), &Events::none()).await.unwrap();
    let tellings = [
        Telling::Silent(0),
        Telling::Silent(1),
        Telling::Cut(0),
        Telling::Cut(1),
        Telling::Twice,
        Telling::Late(Duration::from_secs(2)),
        Telling::Never,
        Telling::Drawn(seed),
        Telling::Drawn(seed + 100),
        Telling::Drawn(seed + 200),
    ];
    let proxies = tellings.map(EngineProxy::start);
    let watches = futures::future::join_all(proxies.iter().map(|proxy| ends_through(proxy, &name)));
    let stop = async {
        let are_subscribed = || proxies.iter().all(|proxy| proxy.subscriptions() > 0);
        while !are_subscribed() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        run.stop(Duration::from_secs(6)).await.unwrap();
        Instant::now()
    };
    let (all_ends, stopped) = tokio::join!(watches, stop);
    let ended = |code, reason| End { code, reason };
    let expected = BTreeMap::from([
        (0, ended(0, Reason::Exited)),
        (1, ended(3, Reason::Exited)),
        (2, ended(5, Reason::Exited)),
        (3, ended(137, Reason::Signalled { signal: 9 })),
    ]);
    for ((telling, proxy), (ends, at)) in tellings.iter().zip(&proxies).zip(all_ends) {
        assert_eq!(ends, expected, "{telling:?}");
        let behind = at.saturating_duration_since(stopped);
        assert!(behind < SECONDS, "{telling:?}: {behind:?} behind the end");
        figure(&format!("{telling:?}: {behind:.1?} behind the end, {} events untold", proxy.untold()));
    }
    assert!(proxies.iter().map(EngineProxy::untold).sum::<usize>() > 0, "nothing was lost");
    run.remove().await.unwrap();
}
