//! Submissions to a server that loses answers, refuses, is slow, and to which the line breaks: one run is one Job, whatever is
//! said of it is so, and one deletion removes all.

use std::time::Duration;

use futures::StreamExt as _;
use nauta::cluster::{Cause, Cluster};
use nauta::job::objects::{ClusterRun, RunObjects};
use nauta::secret::Secret;
use serde_json::Value;

use super::client;
use super::faults::{Badness, Faults};
use super::server::ApiServer;
use crate::cluster::support::{at, spec};
use crate::support::random::Random;
use crate::support::{figure, number};

/// Uids of a kind's objects.
fn uids(server: &ApiServer, wanted: &str) -> Vec<Value> {
    let objects = server.objects().into_iter();
    objects.filter(|(kind, ..)| kind == wanted).map(|(.., object)| object["metadata"]["uid"].clone()).collect()
}

/// What nobody owns: it would outlive its run.
fn orphans(server: &ApiServer) -> Vec<String> {
    let others = server.objects().into_iter().filter(|(kind, ..)| kind != "Job");
    let ownerless = others.filter(|(.., object)| object["metadata"]["ownerReferences"][0]["uid"].is_null());
    ownerless.map(|(kind, name, _)| format!("{kind} {name}")).collect()
}

/// Whether a run is there with all that it owns.
fn is_whole(server: &ApiServer, objects: &RunObjects) -> bool {
    let (jobs, services) = (uids(server, "Job"), uids(server, "Service"));
    let owned_by = |uid: &Value| {
        let owned = server.objects().into_iter();
        owned.filter(|(.., object)| object["metadata"]["ownerReferences"][0]["uid"] == *uid).count()
    };
    let has = |jobs: &[Value], services: &[Value]| match (jobs, services) {
        ([job], [service]) => owned_by(job) == 2 && owned_by(service) == objects.credentials.len(),
        _ => false,
    };
    has(&jobs, &services)
}

/// One submission; gives how it went, or what was wrong.
async fn case(seed: u64) -> Result<&'static str, String> {
    let mut random = Random::new(seed);
    let mut some = |most: usize| if random.below(2) == 0 { random.below(most + 1) } else { 0 };
    let badness = Badness {
        refused: some(40),
        cut: some(40),
        swallowed: some(60),
        denied: some(40),
        stalled: some(4),
        late: some(50),
        ..Badness::default()
    };
    let mut faults = Faults::new(random.next(), badness);
    faults.only_writes = random.below(2) == 0;
    let server = ApiServer::start(faults).await;
    let cluster = client(&server).await;
    let image = format!("registry/a@sha256:{}", "0".repeat(64));
    let at = ClusterRun { pull_credentials: Some(Secret::new("{}")), ..at("sim", &image) };
    let objects = RunObjects::plan(&spec("a-run", 2), &at).expect("a valid run");
    if random.below(2) == 0 {
        server.hide_secrets();
    }
    let is_killed = random.below(3) == 0;
    let patience = if is_killed { Duration::from_millis(random.next() % 400) } else { Duration::from_mins(4) };
    let outcome = tokio::time::timeout(patience, cluster.submit(&objects)).await;
    // What was on its way arrives.
    tokio::time::sleep(Duration::from_millis(250)).await;
    server.heal();
    let found = server.objects();
    let problem = |what: &str| {
        let names: Vec<String> = found.iter().map(|(kind, name, _)| format!("{kind} {name}")).collect();
        Err(format!("seed {seed}: {what}; {outcome:?}; {names:?}; {:#?}", server.requests()))
    };
    let said = match &outcome {
        Ok(Ok(submitted)) if !is_whole(&server, &objects) || uids(&server, "Job") != [submitted.uid.as_str()] => {
            return problem("said to be there");
        }
        Ok(Ok(_)) => "submitted",
        Ok(Err(error)) if matches!(error.cause(), Cause::Uncertain { .. }) => "uncertain",
        Ok(Err(_)) if !found.is_empty() => return problem("said not to be there"),
        Ok(Err(_)) => "not submitted",
        Err(_) if !is_killed => return problem("no verdict"),
        Err(_) => "killed",
    };
    if !orphans(&server).is_empty() || uids(&server, "Job").len() > 1 {
        return problem("orphans");
    }
    if said != "submitted" {
        submit_again(&cluster, &server, &objects).await.or_else(|what| problem(&what))?;
    }
    if let Err(error) = cluster.cancel("a-run").await {
        return problem(&format!("cannot be cancelled: {error}"));
    }
    if server.objects().is_empty() { Ok(said) } else { problem("left after its deletion") }
}

/// The same again, with nothing in the way: it is there once.
async fn submit_again(cluster: &Cluster, server: &ApiServer, objects: &RunObjects) -> Result<&'static str, String> {
    match cluster.submit(objects).await {
        Ok(_) if is_whole(server, objects) => Ok("submitted"),
        Ok(_) => Err("the second submission is not whole".to_owned()),
        Err(error) => Err(format!("the second submission: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_is_one_job_whatever_happens_to_the_answers() {
    let cases = number("NAUTA_TEST_SUBMITS", 100);
    let seed = number("NAUTA_TEST_SEED", u64::from(std::process::id()));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let outcomes = futures::stream::iter((0..cases).map(|number| case(seed.wrapping_add(number))));
    let outcomes: Vec<_> = outcomes.buffer_unordered(100).collect().await;
    let mut counts = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(said) => *counts.entry(said).or_insert(0) += 1,
            Err(problem) => wrong.push(problem),
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    figure(&format!("{cases} of {cases} submissions: no second Job, no orphan, {counts:?}"));
}
