//! A run with Docker on this workstation.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::request::{Request, random_key};
use crate::architecture::Architecture;
use crate::commands::budget::budget;
use crate::commands::end::report;
use crate::commands::interrupt::interrupted;
use crate::commands::local_follow::left_in_docker;
use crate::commands::record::{Record, folder};
use crate::context::Context;
use crate::delivery::{DeliveryError, LocalEnvironment, local_environment, password_in_build, supervisor, write_code};
use crate::diagnosis::Result;
use crate::docker::{Code, JanitorProgram, LocalPlan, LocalRun};
use crate::event::{Event, Events, Phase, RankState};
use crate::follow::{Collector, Engine, FollowError, Outcome, Ways, cancel, follow};
use crate::job::{ProgramSecret, RunSpec};
use crate::output::Output;

/// Runs, and removes everything but the outputs; with `detach`, only begins.
pub(super) async fn run_locally(request: Request, detach: bool, context: &Context, output: &Output) -> Result<u8> {
    let events = &output.events();
    events.send(Event::Started { phase: Phase::Check, detail: "Docker".to_owned() });
    let docker = context.docker().await?;
    events.send(Event::Finished { phase: Phase::Check, detail: String::new() });
    let (environment, snapshot) = (&request.environment, &request.snapshot);
    let architecture: Architecture = docker.architecture().parse().map_err(DeliveryError::from)?;
    let supervisor = supervisor(&context.program, architecture)?;
    let local = LocalEnvironment { docker: &docker, platform: architecture.platform() };
    if let Some(word) = password_in_build(&request.environment, snapshot) {
        events.warn(word);
    }
    let image = local_environment(context, &local, environment, &request.surroundings, events).await?;
    let (files, project) = (snapshot.clone(), request.spec.project.clone());
    let plan = LocalPlan {
        spec: request.spec.clone(),
        image,
        entrypoint: LocalPlan::SUPERVISE.map(str::to_owned).to_vec(),
        supervisor,
        code: Code::new(move |archive| write_code(archive, &files, &project)),
        run_key: random_key()?,
        secrets: request
            .secrets
            .iter()
            .filter_map(ProgramSecret::here)
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect(),
        shm_bytes: Some(request.spec.resources.memory.map_or(1 << 30, |memory| memory.bytes / 2)),
        lease: !detach,
        janitor: JanitorProgram { program: context.program.clone(), arguments: vec!["janitor".to_owned()] },
    };
    events.send(Event::Started { phase: Phase::Submit, detail: "making containers".to_owned() });
    let record = request.record("local", None);
    let file = record.begin(&request.project.root)?;
    // It is there, should nauta be killed; until it is on the disk, Docker can be at work.
    let syncing = spawn_blocking(move || file.sync_all());
    let run = docker.start_local(plan, events).await;
    if let Ok(Err(error)) = syncing.await {
        events.warn(format!("the record of this run may not outlast a power cut: {error}"));
    }
    let run = run.inspect_err(|_| record.discard(&request.project.root))?;
    events.send(Event::Finished { phase: Phase::Submit, detail: format!("started {} containers", request.spec.nodes) });
    if detach {
        return leave(run, &record, output).await;
    }
    attend(run, record, &request, context, output).await
}

/// Leaves a run to itself.
async fn leave(run: LocalRun, record: &Record, output: &Output) -> Result<u8> {
    run.detach().await?;
    left_in_docker(record, &output.events());
    let name = &record.spec.name;
    let document = json!({ "schema": 1, "run": name, "target": "local", "timings": output.timings() });
    output.result(&format!("{name}\n"), &document);
    Ok(0)
}

/// Follows a run to its end, and removes everything but the outputs.
async fn attend(run: LocalRun, record: Record, request: &Request, context: &Context, output: &Output) -> Result<u8> {
    let events = &output.events();
    let (states_tx, states) = mpsc::unbounded_channel();
    // Known at once; all later states are Docker's to tell.
    let up = |rank| (rank, RankState::Meeting { message: "its container runs".to_owned() });
    run.ranks().for_each(|rank| drop(states_tx.send(up(rank))));
    let engine = Arc::new(Engine::Local(Box::new(run)));
    let watching = tokio::spawn(tell_states(Arc::clone(&engine), states_tx));
    let folder = folder(&request.project.root, &request.spec.name);
    let collector = Some(Collector::open(&folder)?.with_budget(budget(&request.project.file, context.user_file())?));
    let strength = request.spec.strength();
    let following = follow(Arc::clone(&engine), strength, collector, None, states, events);
    let outcome = until_done_or_cancelled(following, &engine, &request.spec, events).await;
    watching.abort();
    let _ = watching.await;
    if let Some(Engine::Local(run)) = Arc::into_inner(engine) {
        events.send(Event::Started { phase: Phase::CleanUp, detail: "removing containers".to_owned() });
        run.remove().await?;
        events.send(Event::Finished { phase: Phase::CleanUp, detail: String::new() });
    }
    let outcome = outcome?;
    report(&outcome, record, &request.project, context, output)
}

/// Tells what Docker says of the containers, until it is stopped. Docker's stream breaks when it is started anew.
pub(in crate::commands) async fn tell_states(engine: Arc<Engine>, states_tx: mpsc::UnboundedSender<(u32, RankState)>) {
    const PAUSE: Duration = Duration::from_secs(1);
    let Engine::Local(run) = &*engine else { return };
    loop {
        if let Ok(states) = run.watch().await {
            tokio::pin!(states);
            loop {
                match states.next().await {
                    Some(Ok(state)) => drop(states_tx.send(state)),
                    Some(Err(_)) => break,
                    // All have ended.
                    None => return std::future::pending().await,
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// First Ctrl-C cancels the run gently, the second kills it.
async fn until_done_or_cancelled(
    following: impl Future<Output = Result<Outcome, FollowError>>,
    engine: &Arc<Engine>,
    spec: &RunSpec,
    events: &Events,
) -> Result<Outcome, FollowError> {
    tokio::pin!(following);
    tokio::select! {
        outcome = &mut following => return outcome,
        () = interrupted() => {}
    }
    events.note("cancelling the run (Ctrl-C again kills it)");
    let by_hand = |outcome: Outcome| Outcome { ended_by_hand: true, ..outcome };
    tokio::select! {
        outcome = &mut following => return outcome.map(by_hand),
        () = stop(engine, spec) => {}
        () = interrupted() => kill(engine).await,
    }
    loop {
        tokio::select! {
            outcome = &mut following => return outcome.map(by_hand),
            () = interrupted() => kill(engine).await,
        }
    }
}

/// What the supervisors do not hear, or not in time, the engine does.
async fn stop(engine: &Arc<Engine>, spec: &RunSpec) {
    cancel(&Ways::at_once(Arc::clone(engine)), spec.nodes, &spec.user).await;
    if let Engine::Local(run) = &**engine {
        let _ = run.stop(spec.deadlines.grace + Duration::from_secs(2)).await;
    }
}

async fn kill(engine: &Engine) {
    if let Engine::Local(run) = engine {
        let _ = run.kill().await;
    }
}
