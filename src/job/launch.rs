//! Which ranks run the command: all of them, or rank 0 alone, whose program starts the others' itself.

use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which ranks run the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Launch {
    /// Every rank.
    #[default]
    All,
    /// Rank 0; the others are hosts for what its program starts there (MPI, DeepSpeed).
    Rank0,
}

/// Programs that start others on the hosts of a list, and are to run once.
const LAUNCHERS: [&str; 6] = ["mpirun", "mpiexec", "orterun", "prterun", "deepspeed", "horovodrun"];

/// Programs whose `run` starts another program in the environment that they keep.
const RUNNERS: [&str; 7] = ["uv", "poetry", "pdm", "pixi", "pipenv", "rye", "hatch"];

/// Where the program itself stands in a command.
fn behind_runners(words: &[&str]) -> usize {
    match words {
        [runner, "run", ..] if name(runner).is_some_and(|name| RUNNERS.contains(&name)) => 2,
        ["env", rest @ ..] => 1 + rest.iter().take_while(|word| word.contains('=')).count(),
        _ => 0,
    }
}

/// A program's name without its folder.
fn name(word: &str) -> Option<&str> {
    Path::new(word).file_name()?.to_str()
}

/// Where the options of `accelerate launch` begin in a command that is one.
#[must_use]
pub fn accelerate(words: &[&str]) -> Option<usize> {
    let at = behind_runners(words);
    let length = match words.get(at..)? {
        [program, "launch", ..] if name(program) == Some("accelerate") => 2,
        [program, ..] if name(program) == Some("accelerate-launch") => 1,
        [python, "-m", "accelerate.commands.launch", ..] if name(python)?.starts_with("python") => 3,
        [python, "-m", "accelerate.commands.accelerate_cli", "launch", ..] if name(python)?.starts_with("python") => 4,
        _ => return None,
    };
    Some(at + length)
}

/// No rank is meant by this word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` says nothing about who runs the command: `all` or `rank0`")]
pub struct UnknownLaunch(pub String);

impl Launch {
    /// What a command's first word asks for, or the one behind `uv run` and its like.
    #[must_use]
    pub fn of(command: &[String]) -> Self {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let program = words.get(behind_runners(&words)).and_then(|word| name(word));
        if program.is_some_and(|program| LAUNCHERS.contains(&program)) { Self::Rank0 } else { Self::All }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Rank0 => "rank0",
        }
    }

    /// Whether `rank` only waits for what rank 0 starts there.
    #[must_use]
    pub fn is_host(self, rank: u32) -> bool {
        self == Self::Rank0 && rank > 0
    }
}

impl FromStr for Launch {
    type Err = UnknownLaunch;

    fn from_str(text: &str) -> Result<Self, UnknownLaunch> {
        let known = [Self::All, Self::Rank0].into_iter().find(|launch| launch.as_str() == text);
        known.ok_or_else(|| UnknownLaunch(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_start_others_run_once() {
        let of = |command: &str| Launch::of(&command.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for once in
            ["mpirun -n 4 python train.py", "/usr/bin/mpiexec ./a.out", "deepspeed train.py", "uv run mpirun ./a.out"]
        {
            assert_eq!(of(once), Launch::Rank0, "{once}");
        }
        for everywhere in ["python train.py", "torchrun train.py", "python mpirun", "mpirun.py", "uv pip mpirun"] {
            assert_eq!(of(everywhere), Launch::All, "{everywhere}");
        }
        assert!(Launch::Rank0.is_host(1) && !Launch::Rank0.is_host(0) && !Launch::All.is_host(1));
        assert!("rank0".parse() == Ok(Launch::Rank0) && "rank1".parse::<Launch>().is_err());
    }
}
