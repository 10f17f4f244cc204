//! What is said of ranks: what they wait for, and that they have ended, behind their last words.

use std::time::Duration;

use super::Inner;
use crate::event::{End, Event, Phase, RankState, Reason};
use crate::output::logs::Line;
use crate::output::progress::{name, spinner};
use crate::output::shown::shown;

impl Inner {
    /// The lines that are to be shown before an event is: nothing that a program wrote stands behind the word that it has ended.
    pub(super) fn due_before(&mut self, event: &Event) -> Vec<Line> {
        let mut due = self.logs.waiting();
        match event {
            Event::Rank { rank, state: RankState::Ended(_) } => due.extend(self.logs.last_words(*rank)),
            Event::Finished { phase: Phase::Run, .. } => {
                let cleared = self.live.clear();
                self.written(cleared);
                due.extend(self.logs.rest());
            }
            _ => {}
        }
        due
    }

    pub(super) fn rank(&mut self, rank: u32, state: &RankState) {
        let is_news = self.starting.see(rank, state);
        match state {
            // The rank's own log says it in the line before.
            RankState::Ended(End { reason: Reason::PeerFailed { .. } | Reason::Cancelled { .. }, .. })
                if self.is_terminal => {}
            RankState::Ended(end) if !end.is_success() => self.narrate(&format!("[{rank}] {end}")),
            _ if self.is_terminal => self.draw_waits(),
            RankState::Pending { message } | RankState::Meeting { message } if is_news => {
                self.mention(&format!("[{rank}] {message}"));
            }
            _ => {}
        }
    }

    /// Draws what ranks wait for, in one row.
    pub(super) fn draw_waits(&mut self) {
        if self.quiet {
            return;
        }
        let Some(row) = self.starting.row() else {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            return;
        };
        let row = self.mask.apply(&shown(&row)).into_owned();
        let bar = self.bar.get_or_insert_with(|| {
            let bar = spinner();
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_prefix(name(Phase::Start));
        bar.set_message(row);
        bar.tick();
    }
}
