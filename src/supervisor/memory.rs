//! Whether the kernel killed something of this container for memory.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks at the counter.
const LOOK: Duration = Duration::from_secs(1);
/// How long before a death a kill may have been counted to be its cause: a large process takes its time to go.
const LATELY: Duration = Duration::from_secs(10);

/// The kernel's counter of kills, as it rises.
pub(super) struct Kills {
    /// `None` where the kernel does not say.
    counted: Option<u64>,
    rose: Option<Instant>,
}

impl Kills {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self { counted: kills(), rose: None }
    }

    /// How many more there are since the last look.
    pub(super) fn more(&mut self) -> u64 {
        let now = kills();
        let more = now.zip(self.counted).map_or(0, |(now, then)| now.saturating_sub(then));
        if more > 0 {
            self.rose = Some(Instant::now());
        }
        self.counted = now.or(self.counted);
        more
    }

    /// Until there are more: how many. Where a whole container is killed, nobody is left to look.
    pub(super) async fn rise(&mut self) -> u64 {
        loop {
            sleep(LOOK).await;
            match self.more() {
                0 => {}
                more => return more,
            }
        }
    }

    /// Whether one of them can be what just happened.
    pub(super) fn are_recent(&self) -> bool {
        self.rose.is_some_and(|rose| rose.elapsed() < LATELY)
    }
}

/// How many processes of this container the kernel has killed for memory so far; `None` where it does not say.
///
/// cgroup v2 counts in `memory.events`, v1 in `memory.oom_control` (kernel documentation, "Control Group v2", "Memory").
pub(super) fn kills() -> Option<u64> {
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
        .into_iter()
        .find_map(|path| count(&fs::read_to_string(path).ok()?))
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(count("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\n"), None);
    }
}
