//! Coming back to a run of Docker's that was left to itself (`nauta run --local --detach`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::budget::budget;
use super::end::{come_back, report};
use super::interrupt::interrupted;
use super::record::{Record, folder, live_local, make_runs};
use super::run::tell_states;
use crate::context::Context;
use crate::diagnosis::{Kind, Result};
use crate::docker::{LocalRun, RunSummary};
use crate::event::{Event, Events, Phase, RankState};
use crate::follow::{Collector, Engine, Outcome, Ways, follow, states};
use crate::job::state::State;
use crate::output::Output;

/// What is said when somebody leaves such a run.
pub(super) fn left_in_docker(record: &Record, events: &Events) {
    let keep = record.spec.deadlines.drain.as_secs();
    let keep = if keep.is_multiple_of(3600) { format!("{} h", keep / 3600) } else { format!("{keep} s") };
    let outputs = format!("get its outputs, which wait in its containers for {keep} after its end");
    come_back(&record.spec.name, "in Docker", &outputs, events);
}

/// The run in Docker, if nobody has seen its end and no nauta answers for it.
pub(super) async fn detached(record: &Record, context: &Context) -> Result<Option<LocalRun>> {
    let run = &record.spec.name;
    let live = live_local(std::slice::from_ref(record), context).await;
    if !live.iter().any(|found| found.run == *run && !found.leased) {
        return Ok(None);
    }
    Ok(context.docker().await?.find_local(run).await?)
}

/// What each rank of a run does. Docker sees containers; what the programs in them do, their supervisors know.
pub(super) async fn ranks_now(found: RunSummary, nodes: u32, context: &Context) -> BTreeMap<u32, RankState> {
    let mut ranks = found.ranks;
    if ranks.values().any(|state| !state.is_end())
        && let Ok(docker) = context.docker().await
        && let Ok(Some(run)) = docker.find_local(&found.run).await
    {
        ranks.extend(states(&Ways::at_once(Engine::Local(Box::new(run))), nodes).await);
    }
    ranks
}

/// Where a run stands whose ranks stand so, and its code once all have ended: containers stay for as long as outputs wait in them.
pub(super) fn where_all_stand(ranks: &BTreeMap<u32, RankState>, nodes: u32) -> (State, Option<u8>) {
    let ends = ranks.iter().filter_map(|(rank, state)| match state {
        RankState::Ended(end) => Some((*rank, end.clone())),
        _ => None,
    });
    let outcome = Outcome { ends: ends.collect(), ..Outcome::default() };
    if outcome.ends.len() == nodes as usize {
        (outcome.state(nodes), Some(outcome.code(nodes)))
    } else if ranks.values().all(|state| matches!(state, RankState::Pending { .. })) {
        (State::Pending, None)
    } else {
        (State::Running, None)
    }
}

/// Follows it to its end, brings its outputs, and removes what Docker has of it; Ctrl-C leaves it again. Gives the run's exit
/// code.
pub(super) async fn follow_detached(
    run: LocalRun,
    record: Record,
    context: &Context,
    events: &Events,
    output: &Output,
) -> Result<u8> {
    let project = context.project()?;
    make_runs(&project.root)?;
    let collector = Collector::open(&folder(&project.root, &record.spec.name))?;
    let collector = Some(collector.with_budget(budget(&project.file, context.user_file())?));
    let (states_tx, states) = mpsc::unbounded_channel();
    let engine = Arc::new(Engine::Local(Box::new(run)));
    let outcome = tokio::select! {
        outcome = follow(Arc::clone(&engine), record.spec.strength(), collector, None, states, events) => outcome?,
        () = tell_states(Arc::clone(&engine), states_tx) => return Ok(Kind::Interrupted.exit_code()),
        () = interrupted() => {
            left_in_docker(&record, events);
            return Ok(Kind::Interrupted.exit_code());
        }
    };
    if let Some(Engine::Local(run)) = Arc::into_inner(engine) {
        events.send(Event::Started { phase: Phase::CleanUp, detail: "removing containers".to_owned() });
        run.remove().await?;
        events.send(Event::Finished { phase: Phase::CleanUp, detail: String::new() });
    }
    report(&outcome, record, &project, context, output)
}
