//! How long each step took.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::progress::name;
use crate::event::{Event, Phase, RankState};

/// A step that is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Which.
    pub phase: Phase,
    /// When it began, in seconds since nauta did.
    pub began: f64,
    /// How long it took, in seconds.
    pub took: f64,
}

/// Watches steps go by.
pub(super) struct Timings {
    zero: Instant,
    open: Vec<(Phase, Instant)>,
    spans: Vec<(Phase, Instant, Duration)>,
    /// When the engine had the run, when the last rank's program began, and when the last one ended.
    handed_over: Option<Instant>,
    running: Option<Instant>,
    ended: Option<Instant>,
    /// When everything had been brought back, where something was to be removed then.
    collected: Option<Instant>,
}

/// What no step says of itself is a step of its own from this on, in seconds: every second is told.
const GAP: f64 = 0.01;

impl Timings {
    pub(super) fn begin() -> Self {
        let zero = Instant::now();
        let (open, spans) = (Vec::new(), Vec::new());
        Self { zero, open, spans, handed_over: None, running: None, ended: None, collected: None }
    }

    /// When a step that goes on began.
    pub(super) fn begun(&self, phase: Phase) -> Option<Instant> {
        self.open.iter().find(|(open, _)| *open == phase).map(|(_, begun)| *begun)
    }

    /// Notes what an event says of time; gives how long the step took that it ends.
    pub(super) fn see(&mut self, event: &Event) -> Option<Duration> {
        let now = Instant::now();
        match event {
            Event::Started { phase, .. } | Event::Progress { phase, .. } if self.begun(*phase).is_none() => {
                self.open.push((*phase, now));
                if *phase == Phase::CleanUp {
                    self.collected = Some(now);
                }
            }
            Event::Rank { state: RankState::Running, .. } => self.running = Some(now),
            Event::Rank { state: RankState::Ended(_), .. } => self.ended = Some(now),
            Event::Finished { phase: Phase::Run, .. } => self.end(now),
            // Measured from the last rank's end, and told just before the run's.
            Event::Finished { phase: Phase::Collect, .. } => {}
            Event::Finished { phase, .. } => {
                let begun = self.begun(*phase);
                self.open.retain(|(open, _)| open != phase);
                self.spans.push((*phase, begun.unwrap_or(now), begun.map_or(Duration::ZERO, |begun| now - begun)));
                if *phase == Phase::Submit {
                    self.handed_over = Some(now);
                }
                return begun.map(|begun| now - begun);
            }
            _ => {}
        }
        None
    }

    /// What nobody announces: waiting for all ranks, the program, and what came after it.
    fn end(&mut self, now: Instant) {
        let moments = [
            // A program may be over before anybody sees it run.
            (Phase::Start, self.handed_over, self.running.or(self.ended)),
            (Phase::Run, self.running, self.ended),
            (Phase::Collect, self.ended, self.collected.or(Some(now))),
        ];
        let spans = moments.into_iter().filter_map(|(phase, from, to)| Some((phase, from?, to?)));
        self.spans.extend(spans.map(|(phase, from, to)| (phase, from, to.saturating_duration_since(from))));
    }

    /// How long it has been, in seconds.
    pub(super) fn took(&self) -> f64 {
        self.zero.elapsed().as_secs_f64()
    }

    /// The steps so far as they began, and what is between them.
    pub(super) fn spans(&self) -> Vec<Span> {
        let span = |(phase, from, took): &(Phase, Instant, Duration)| Span {
            phase: *phase,
            began: from.saturating_duration_since(self.zero).as_secs_f64(),
            took: took.as_secs_f64(),
        };
        with_gaps(self.spans.iter().map(span).collect())
    }
}

fn with_gaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.began.total_cmp(&b.began));
    let (mut told, mut until) = (Vec::with_capacity(spans.len()), 0.0_f64);
    for span in spans {
        if span.began - until >= GAP {
            told.push(Span { phase: Phase::Other, began: until, took: span.began - until });
        }
        until = until.max(span.began + span.took);
        told.push(span);
    }
    told
}

/// The steps as lines for people, what nauta itself took (all until the engine had the run), and the `total` of seconds.
pub fn timings_text(spans: &[Span], total: f64) -> String {
    let line = |name: &str, began: f64, took: f64| format!("{name:>11} {took:>8.3} s  (from {began:.3} s on)\n");
    let mut text: String = spans.iter().map(|span| line(name(span.phase), span.began, span.took)).collect();
    let told = spans.iter().map(|span| span.began + span.took).fold(0.0, f64::max);
    if total - told >= GAP {
        text.push_str(&line(name(Phase::Other), told, total - told));
    }
    let is_own = |span: &&Span| {
        !matches!(span.phase, Phase::Start | Phase::Run | Phase::Collect | Phase::CleanUp | Phase::Other)
    };
    if let Some(last) = spans.iter().rfind(is_own) {
        text.push_str(&line("nauta", 0.0, last.began + last.took));
    }
    text.push_str(&line("total", 0.0, total));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{End, Reason};

    #[test]
    fn steps_are_measured_and_the_engine_s_part_is_not_nauta_s() {
        let mut timings = Timings::begin();
        let detail = String::new;
        let started = |phase| Event::Started { phase, detail: detail() };
        let finished = |phase| Event::Finished { phase, detail: detail() };
        let end = RankState::Ended(End { code: 0, reason: Reason::Exited });
        let events = [
            started(Phase::Snapshot),
            finished(Phase::Snapshot),
            finished(Phase::Environment),
            started(Phase::Submit),
            finished(Phase::Submit),
            Event::Rank { rank: 0, state: RankState::Running },
            Event::Rank { rank: 1, state: RankState::Running },
            Event::Rank { rank: 1, state: end },
            started(Phase::CleanUp),
            finished(Phase::CleanUp),
            finished(Phase::Run),
        ];
        for event in &events {
            timings.see(event);
        }
        let spans = timings.spans();
        let phases: Vec<Phase> = spans.iter().map(|span| span.phase).collect();
        let expected = [
            Phase::Snapshot,
            Phase::Environment,
            Phase::Submit,
            Phase::Start,
            Phase::Run,
            Phase::Collect,
            Phase::CleanUp,
        ];
        assert_eq!(phases, expected);
        assert!(spans.is_sorted_by(|a, b| a.began <= b.began));
        assert!(timings_text(&spans, 1.0).contains("nauta"));
    }

    #[test]
    fn every_second_is_told() {
        let span = |phase, began, took| Span { phase, began, took };
        // Steps may be done beside each other; the snapshot began when nothing had been told of half a second.
        let told = with_gaps(vec![
            span(Phase::Submit, 2.5, 0.5),
            span(Phase::Snapshot, 0.5, 1.0),
            span(Phase::Check, 0.5, 1.5),
            span(Phase::Run, 3.004, 1.0),
        ]);
        let expected = [
            span(Phase::Other, 0.0, 0.5),
            span(Phase::Snapshot, 0.5, 1.0),
            span(Phase::Check, 0.5, 1.5),
            span(Phase::Other, 2.0, 0.5),
            span(Phase::Submit, 2.5, 0.5),
            span(Phase::Run, 3.004, 1.0),
        ];
        assert_eq!(told, expected);
        let text = timings_text(&told, 5.004);
        assert!(text.contains("      other    1.000 s  (from 4.004 s on)\n"), "{text}");
        assert!(
            text.contains("      nauta    3.000 s") && text.ends_with("total    5.004 s  (from 0.000 s on)\n"),
            "{text}"
        );
    }
}
