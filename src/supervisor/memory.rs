//! Whether the kernel killed something of this container for memory.

use std::fs;

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
