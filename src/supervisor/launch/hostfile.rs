//! The list of hosts for programs that start others.

use std::io;
use std::path::{Path, PathBuf};

use crate::layout;

/// Its name in the supervisor's folder.
const NAME: &str = "hostfile";

/// The hosts of a run, and how many processes each is to have.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct Hostfile {
    pub(in crate::supervisor) run: String,
    pub(in crate::supervisor) nodes: u32,
    pub(in crate::supervisor) slots: u32,
}

impl Hostfile {
    /// One line for each rank, as Open MPI and DeepSpeed read it.
    fn text(&self) -> String {
        let line = |rank| format!("{} slots={}\n", layout::peer(&self.run, rank), self.slots);
        (0..self.nodes).map(line).collect()
    }

    /// Writes it into a folder; gives its path.
    pub(in crate::supervisor) fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join(NAME);
        std::fs::write(&path, self.text())?;
        Ok(path)
    }

    /// The rank that answers to a name: whole, or without the run's name behind the dot, as Open MPI shortens it.
    pub(super) fn rank(&self, host: &str) -> Option<u32> {
        if host == "localhost" {
            return Some(0);
        }
        let name = host.strip_suffix(&format!(".{}", self.run)).unwrap_or(host);
        let rank = name.strip_prefix(&self.run)?.strip_prefix('-')?;
        let canonical = rank.parse().ok().filter(|number: &u32| number.to_string() == rank);
        canonical.filter(|rank| *rank < self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_links_lead_to() {
        assert_eq!(Path::new(layout::STATE).join(NAME), Path::new(layout::HOSTFILE));
    }

    #[test]
    fn hosts_are_written_and_found_again() {
        let hosts = Hostfile { run: "mpi-7k3f".to_owned(), nodes: 12, slots: 2 };
        let text = hosts.text();
        assert!(text.starts_with("mpi-7k3f-0.mpi-7k3f slots=2\n") && text.lines().count() == 12, "{text}");
        for (i, line) in (0..).zip(text.lines()) {
            assert_eq!(hosts.rank(line.split(' ').next().expect("a name")), Some(i));
        }
        assert_eq!((hosts.rank("mpi-7k3f-11"), hosts.rank("localhost")), (Some(11), Some(0)));
        for stranger in ["mpi-7k3f-12", "mpi-7k3f-01", "mpi-7k3f", "mpi-7k3f-", "other-1.other", "mpi-7k3f-1.other"] {
            assert_eq!(hosts.rank(stranger), None, "{stranger}");
        }
    }
}
