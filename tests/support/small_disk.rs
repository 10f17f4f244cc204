//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

/// A file system of its own; it goes when this is dropped.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        let done = done.expect("mount is on every Linux");
        assert!(done.status.success(), "a small disk needs root: {}", String::from_utf8_lossy(&done.stderr));
        Self(folder)
    }

    /// Gives it another size, with what it holds.
    pub(crate) fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "a small disk can be made larger");
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
