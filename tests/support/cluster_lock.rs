//! Who disturbs the cluster (kills its API server, halts its nodes) has it alone; all others share it.

use std::fs::File;
use std::path::PathBuf;

/// Held until this is dropped.
pub(crate) struct ClusterLock(#[expect(dead_code, reason = "the lock goes with it")] File);

impl ClusterLock {
    fn file() -> File {
        let default = || std::env::temp_dir().join("nauta-tests-cluster.lock");
        let path = std::env::var_os("NAUTA_TEST_CLUSTER_LOCK").map_or_else(default, PathBuf::from);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).open(path).expect("a lock can be made")
    }

    pub(crate) fn shared() -> Self {
        let file = Self::file();
        file.lock_shared().expect("locks work here");
        Self(file)
    }

    pub(crate) fn exclusive() -> Self {
        let file = Self::file();
        file.lock().expect("locks work here");
        Self(file)
    }
}
