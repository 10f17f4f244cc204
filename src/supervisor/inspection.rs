//! What a rank finds around it as it begins: shared memory, disk, accelerators, its clock, and whether a neighbour answers.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::layout;

/// A neighbour that does not answer within this time is not reached.
const CONNECT: Duration = Duration::from_secs(3);

/// What a rank finds around it. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inspection {
    /// The cluster's name of the machine, where there is a cluster.
    pub(super) node: Option<String>,
    /// The size of `/dev/shm`.
    pub(super) shm: Option<u64>,
    /// What the outputs' disk has left.
    pub(super) disk: Option<u64>,
    pub(super) accelerators: u32,
    /// The wall clock: milliseconds since 1970 as it is made, and as it is told ahead of rank 0's clock.
    pub(super) clock: i64,
    /// The neighbour that was not reached, and why.
    pub(super) unreached: Option<(u32, String)>,
}

/// Another rank to be reached, at its address.
pub(super) type Neighbour = (u32, IpAddr);

/// Looks around.
pub(super) async fn inspect(node: Option<String>, outputs: &Path, neighbour: Option<Neighbour>) -> Inspection {
    let unreached = match neighbour {
        Some((rank, address)) => reach(address).await.err().map(|reason| (rank, reason)),
        None => None,
    };
    Inspection {
        node,
        shm: size(Path::new("/dev/shm")).map(|(size, _)| size),
        disk: size(outputs).map(|(_, left)| left),
        accelerators: accelerators_here(),
        clock: jiff::Timestamp::now().as_millisecond(),
        unreached,
    }
}

async fn reach(address: IpAddr) -> Result<(), String> {
    match timeout(CONNECT, TcpStream::connect((address, layout::GANG_PORT))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// The size of a file system, and what an ordinary user may still write.
fn size(path: &Path) -> Option<(u64, u64)> {
    let found = statvfs(path).ok()?;
    Some((found.blocks() * found.fragment_size(), found.blocks_available() * found.fragment_size()))
}

/// How many accelerators this rank has.
pub(super) fn accelerators_here() -> u32 {
    accelerators(Path::new("/dev"))
}

/// Devices that drivers show a container: NVIDIA's `nvidia0`, TPUs' `accel0`, Gaudi's `accel/accel0`, AMD's and Intel's
/// `dri/renderD128`. A machine with two kinds counts once.
fn accelerators(devices: &Path) -> u32 {
    let count = |folder: &str, prefix: &str| {
        let entries = std::fs::read_dir(devices.join(folder)).into_iter().flatten().flatten();
        let is_one = |name: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        u32::try_from(entries.filter(|entry| entry.file_name().to_str().is_some_and(is_one)).count()).unwrap_or(0)
    };
    let kinds = [count("", "nvidia"), count("", "accel"), count("accel", "accel"), count("dri", "renderD")];
    kinds.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_counted_by_their_numbers() {
        let devices = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(accelerators(devices.path()), 0);
        for name in ["nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"] {
            std::fs::write(devices.path().join(name), "").expect("written");
        }
        std::fs::create_dir(devices.path().join("dri")).expect("made");
        for name in ["card0", "renderD128"] {
            std::fs::write(devices.path().join("dri").join(name), "").expect("written");
        }
        assert_eq!(accelerators(devices.path()), 3);
    }

    #[test]
    fn file_systems_have_sizes() {
        let (size, left) = size(Path::new("/")).expect("there is one");
        assert!(size > 0 && left <= size);
    }
}
