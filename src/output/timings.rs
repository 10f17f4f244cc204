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
}

impl Timings {
    pub(super) fn begin() -> Self {
        let zero = Instant::now();
        Self { zero, open: Vec::new(), spans: Vec::new(), handed_over: None, running: None, ended: None }
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
            }
            Event::Rank { state: RankState::Running, .. } => self.running = Some(now),
            Event::Rank { state: RankState::Ended(_), .. } => self.ended = Some(now),
            Event::Finished { phase: Phase::Run, .. } => self.end(now),
            Event::Finished { phase, .. } => {
                let begun = self.begun(*phase);
                self.open.retain(|(open, _)| open != phase);
                self.spans.push((*phase, begun.unwrap_or(now), begun.map_or(Duration::ZERO, |begun| now - begun)));
                if matches!(phase, Phase::Submit | Phase::Start) {
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
        self.spans.retain(|(phase, ..)| *phase != Phase::Start);
        let moments = [
            // A program may be over before anybody sees it run.
            (Phase::Start, self.handed_over, self.running.or(self.ended)),
            (Phase::Run, self.running, self.ended),
            (Phase::Collect, self.ended, Some(now)),
        ];
        let spans = moments.into_iter().filter_map(|(phase, from, to)| Some((phase, from?, to?)));
        self.spans.extend(spans.map(|(phase, from, to)| (phase, from, to.saturating_duration_since(from))));
    }

    /// The steps so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let span = |(phase, from, took): &(Phase, Instant, Duration)| Span {
            phase: *phase,
            began: from.saturating_duration_since(self.zero).as_secs_f64(),
            took: took.as_secs_f64(),
        };
        self.spans.iter().map(span).collect()
    }
}

/// The steps as lines for people, and what nauta itself took: all until the engine had the run.
pub fn timings_text(spans: &[Span]) -> String {
    let line = |name: &str, began: f64, took: f64| format!("{name:>11} {took:>8.3} s  (from {began:.3} s on)\n");
    let mut text: String = spans.iter().map(|span| line(name(span.phase), span.began, span.took)).collect();
    let is_own = |span: &&Span| !matches!(span.phase, Phase::Start | Phase::Run | Phase::Collect);
    if let Some(last) = spans.iter().rfind(is_own) {
        text.push_str(&line("nauta", 0.0, last.began + last.took));
    }
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
            finished(Phase::Run),
        ];
        for event in &events {
            timings.see(event);
        }
        let spans = timings.spans();
        let phases: Vec<Phase> = spans.iter().map(|span| span.phase).collect();
        let expected = [Phase::Snapshot, Phase::Environment, Phase::Submit, Phase::Start, Phase::Run, Phase::Collect];
        assert_eq!(phases, expected);
        assert!(spans.is_sorted_by(|a, b| a.began <= b.began));
        assert!(timings_text(&spans).contains("nauta"));
    }
}
