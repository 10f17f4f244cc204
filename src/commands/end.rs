//! The end of a run: told in a line or two, and kept in its record.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::advice::advised;
use super::record::{Record, folder};
use crate::context::Context;
use crate::diagnosis::Result;
use crate::event::{Event, Events, Phase, STALLED};
use crate::follow::{Brought, Outcome};
use crate::job::state::State;
use crate::output::{Output, bytes, counted};
use crate::project::Project;

/// A run's folder as somebody in this directory would type it.
pub(super) fn place(root: &Path, run: &str, directory: &Path) -> PathBuf {
    let own = Path::new("runs").join(run);
    match directory.strip_prefix(root) {
        Ok(below) => below.components().map(|_| "..").collect::<PathBuf>().join(own),
        Err(_) => root.join(own),
    }
}

/// Says of a run that somebody leaves how to come back to it; `outputs`: what `nauta pull` does.
pub(super) fn come_back(run: &str, engine: &str, outputs: &str, events: &Events) {
    let ways = [("logs -f", "follow it"), ("pull", outputs), ("cancel", "end it")];
    let width = run.len() + ways[0].0.len() + 1;
    events.note(format!("{run} goes on {engine}"));
    for (verb, what) in ways {
        events.note(format!("  nauta {:width$}  {what}", format!("{verb} {run}")));
    }
}

/// `3 files, 41.00 MiB in runs/x`, or that there are none.
fn outputs(brought: Brought, place: &Path) -> String {
    if brought.files == 0 {
        return "no outputs".to_owned();
    }
    format!("{}, {} in {}", counted(brought.files, "file"), bytes(brought.size), place.display())
}

/// How a run ended, in the past tense; without its outputs.
pub(super) fn verdict(outcome: &Outcome, nodes: u32) -> String {
    let state = outcome.state(nodes);
    let code = outcome.code(nodes);
    let quote = outcome.cause().map_or_else(String::new, |(_, cause)| format!(": {}", cause.words));
    match (state, outcome.named_failure()) {
        (State::Failed, Some((rank, end))) => format!("failed: rank {rank} {end}{quote}"),
        (State::Failed, None) if code == STALLED => "stalled: the words of each rank say where it was".to_owned(),
        (State::Failed, None) => format!("failed with code {code}{quote}"),
        _ => state.words().to_owned(),
    }
}

/// Says how it went: what is missing, what there is, what happened, and what can be done about it.
pub(super) fn tell(outcome: &Outcome, nodes: u32, place: &Path, events: &Events) {
    for missing in &outcome.missing_outputs {
        events.warn(format!("outputs are not complete: {missing}"));
    }
    for rank in &outcome.excused {
        events.warn(format!("rank {rank} was lost, and the others have done the work"));
    }
    outcome.told_of_copies(nodes).into_iter().for_each(|told| events.note(told));
    let verdict = verdict(outcome, nodes);
    let outputs = outcome.brought.map(|brought| outputs(brought, place));
    let is_failure = outcome.state(nodes) == State::Failed;
    let detail = match &outputs {
        Some(outputs) if is_failure => {
            let detail = if outcome.missing_outputs.is_empty() {
                outputs.clone()
            } else {
                format!("outputs incomplete: {outputs}")
            };
            events.send(Event::Finished { phase: Phase::Collect, detail });
            verdict
        }
        Some(outputs) => format!("{verdict}: {outputs}"),
        None => verdict,
    };
    events.send(Event::Finished { phase: Phase::Run, detail });
    if let Some(advice) = outcome.cause().and_then(|(_, cause)| cause.advice.as_ref()) {
        events.note(format!("hint: {advice}"));
    }
}

/// Says how it went and keeps that; gives the run's exit code.
pub(super) fn report(
    outcome: &Outcome,
    mut record: Record,
    project: &Project,
    context: &Context,
    output: &Output,
) -> Result<u8> {
    let root = &project.root;
    let (run, nodes) = (record.spec.name.clone(), record.spec.nodes);
    let outcome = &advised(outcome, project);
    tell(outcome, nodes, &place(root, &run, &context.directory), &output.events());
    let (state, code) = (outcome.state(nodes), outcome.code(nodes));
    let cause =
        outcome.cause().map(|(rank, cause)| json!({ "rank": rank, "words": cause.words, "advice": cause.advice }));
    let brought = outcome.brought.unwrap_or_default();
    let document = json!({
        "schema": 1, "run": run, "target": record.target, "state": state, "code": code,
        "first_failed": outcome.named_failure().map(|(rank, _)| rank), "cause": cause,
        "ranks": outcome.ends, "lost": outcome.excused, "outputs": folder(root, &run),
        "received": { "files": brought.files, "size": brought.size },
        "missing_outputs": outcome.missing_outputs, "timings": output.timings(),
        "independent_copies": outcome.told_of_copies(nodes).is_some(),
    });
    output.result("", &document);
    record.end(outcome, &output.mask());
    record.save(root)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::{End, Reason};
    use crate::job::last_words::Cause;

    /// What is said in the end, line by line.
    fn said(outcome: &Outcome) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let events = Events::new(move |event| {
            let line = match event {
                Event::Finished { phase, detail } => format!("{phase:?} {detail}"),
                Event::Note { text } | Event::Warning { text } => text,
                _ => return,
            };
            sink.lock().expect("no panic").push(line);
        });
        tell(outcome, 2, Path::new("runs/x"), &events);
        let lines = lines.lock().expect("no panic");
        lines.clone()
    }

    #[test]
    fn the_end_is_told_in_a_line_or_two() {
        let end = |code, reason| End { code, reason };
        let exited = |code| end(code, Reason::Exited);
        let of = |ends: [End; 2], files| Outcome {
            ends: (0..).zip(ends).collect(),
            brought: Some(Brought { files, size: files << 20 }),
            ..Outcome::default()
        };
        assert_eq!(said(&of([exited(0), exited(0)], 3)), ["Run succeeded: 3 files, 3.00 MiB in runs/x"]);
        assert_eq!(said(&of([exited(0), exited(0)], 0)), ["Run succeeded: no outputs"]);
        let cancelled = || end(0, Reason::Cancelled { by: "ada".to_owned() });
        assert_eq!(said(&of([cancelled(), cancelled()], 1)), ["Run cancelled: 1 file, 1.00 MiB in runs/x"]);
        let mut missing = of([exited(0), exited(0)], 1);
        missing.missing_outputs.push("`x` is lost".to_owned());
        let words =
            ["outputs are not complete: `x` is lost", "Run succeeded, outputs incomplete: 1 file, 1.00 MiB in runs/x"];
        assert_eq!(said(&missing), words);
        let mut failed = of([end(143, Reason::PeerFailed { rank: 1 }), exited(1)], 1);
        let words = "ModuleNotFoundError: No module named 'x'".to_owned();
        let cause = Cause { words, advice: Some("add it".to_owned()), ..Cause::default() };
        failed.causes.insert(1, cause);
        let verdict = "Run failed: rank 1 exited with code 1: ModuleNotFoundError: No module named 'x'";
        assert_eq!(said(&failed), ["Collect 1 file, 1.00 MiB in runs/x", verdict, "hint: add it"]);
    }

    #[test]
    fn places_are_as_one_would_type_them() {
        let of = |directory: &str| place(Path::new("/p"), "x", Path::new(directory)).display().to_string();
        assert_eq!((of("/p"), of("/p/a/b"), of("/q")), ("runs/x".into(), "../../runs/x".into(), "/p/runs/x".into()));
    }
}
