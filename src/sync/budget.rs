//! How much a run's outputs may take of the workstation: a program that has gone wrong must not fill its disk.

use std::fmt;

/// How much a run's outputs may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of all files together.
    pub size: u64,
    /// Files, and folders made for them.
    pub files: u64,
    /// Bytes that stay free on the disk; `None`: a twentieth of it, and at most 1 GiB.
    pub keep_free: Option<u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { size: 1 << 40, files: 1_000_000, keep_free: None }
    }
}

/// What a run's outputs take now, or one more file of them would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes.
    pub size: u64,
    /// Files and folders.
    pub files: u64,
}

/// A bound that is reached, and the setting that moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// `outputs.max_size`.
    Size,
    /// `outputs.max_files`.
    Files,
    /// `outputs.keep_free`.
    Disk,
}

impl Limit {
    /// The key that moves it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Size => "outputs.max_size",
            Self::Files => "outputs.max_files",
            Self::Disk => "outputs.keep_free",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> String {
        match self {
            Self::Size => "raise `max_size` under `[outputs]` in nauta.toml, then `nauta pull RUN`".to_owned(),
            Self::Files => "raise `max_files` under `[outputs]` in nauta.toml, then `nauta pull RUN`".to_owned(),
            Self::Disk => {
                "make room, or lower `keep_free` under `[outputs]` in your configuration, then `nauta pull RUN`"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("the run's outputs would be larger than `outputs.max_size` allows"),
            Self::Files => f.write_str("the run's outputs would have more files than `outputs.max_files` allows"),
            Self::Disk => f.write_str("the disk would have less room left than `outputs.keep_free` asks for"),
        }
    }
}

impl Budget {
    /// Whether there is room for `more` beside what is `taken`.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn allows(&self, taken: Taken, more: Taken) -> Result<(), Limit> {
        let fits = |taken: u64, more: u64, most| taken.checked_add(more).is_some_and(|sum| sum <= most);
        if !fits(taken.size, more.size, self.size) {
            return Err(Limit::Size);
        }
        if !fits(taken.files, more.files, self.files) {
            return Err(Limit::Files);
        }
        Ok(())
    }

    /// Whether a disk of `total` bytes with `free` ones keeps enough of them.
    ///
    /// # Errors
    /// When it does not.
    pub fn leaves_room(&self, total: u64, free: u64, more: u64) -> Result<(), Limit> {
        const MOST: u64 = 1 << 30;
        let keep = self.keep_free.unwrap_or_else(|| MOST.min(total / 20));
        if free.checked_sub(more).is_some_and(|left| left >= keep) { Ok(()) } else { Err(Limit::Disk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_checked_and_bounds_are_inclusive() {
        let budget = Budget { size: 100, files: 2, keep_free: Some(10) };
        let of = |size, files| Taken { size, files };
        assert_eq!(budget.allows(of(50, 1), of(50, 1)), Ok(()));
        assert_eq!(budget.allows(of(50, 1), of(51, 1)), Err(Limit::Size));
        assert_eq!(budget.allows(of(50, 1), of(u64::MAX, 1)), Err(Limit::Size));
        assert_eq!(budget.allows(of(50, 2), of(0, 1)), Err(Limit::Files));
        assert_eq!(budget.leaves_room(1000, 20, 10), Ok(()));
        assert_eq!(budget.leaves_room(1000, 20, 11), Err(Limit::Disk));
        assert_eq!(budget.leaves_room(1000, 20, 21), Err(Limit::Disk));
        // By itself a small disk keeps a twentieth, a large one 1 GiB.
        let default = Budget::default();
        assert_eq!(default.leaves_room(1000, 100, 50), Ok(()));
        assert_eq!(default.leaves_room(1000, 100, 51), Err(Limit::Disk));
        assert_eq!(default.leaves_room(1 << 42, 1 << 30, 0), Ok(()));
        assert_eq!(default.leaves_room(1 << 42, 1 << 30, 1), Err(Limit::Disk));
    }
}
