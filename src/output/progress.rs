//! How far something is, in words.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::Phase;

/// `1 file`, `2 files`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Nothing is drawn for steps that take less than this.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// How far something is, how fast, and how long it will take: `37 %, 48.0 MB/s, 9 s left`.
pub(super) fn amount(done: u64, total: Option<u64>, moved: u64, took: Duration) -> String {
    let per_second = moved.saturating_mul(1000) / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut parts = Vec::new();
    if let Some(total) = total.filter(|total| *total > 0) {
        parts.push(format!("{} %", done * 100 / total));
    }
    // Steps of builds are counted too; only bytes have a rate.
    if moved > 1_000_000 && took > PATIENCE {
        parts.push(format!("{}/s", bytes(per_second)));
        if let Some(left) = total.and_then(|total| total.checked_sub(done)) {
            parts.push(format!("{} s left", left.div_ceil(per_second.max(1))));
        }
    }
    parts.join(", ")
}

pub(super) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

pub(super) const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Check => "check",
        Phase::Snapshot => "snapshot",
        Phase::Environment => "environment",
        Phase::Push => "push",
        Phase::Submit => "submit",
        Phase::Start => "start",
        Phase::Run => "run",
        Phase::Collect => "collect",
        Phase::CleanUp => "clean-up",
        Phase::Other => "other",
    }
}

/// An amount of bytes for people.
#[must_use]
pub fn bytes(amount: u64) -> String {
    indicatif::BinaryBytes(amount).to_string()
}
