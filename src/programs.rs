//! Where programs are that others name: in the absolute folders of `PATH`, and never in the current one, where a project could
//! have put its own.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The first program of this name in `path`, the value of `PATH`; its elements that are empty or relative do not count.
pub fn locate(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let folders = std::env::split_paths(path.unwrap_or_default()).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|program| !name.is_empty() && is_executable(program))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_folders_are_looked_into() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("login2");
        std::fs::write(&program, "").expect("written");
        let absolute = folder.path().display();
        let find = |path: &str| locate("login2", Some(OsStr::new(path)));
        assert_eq!(find(&absolute.to_string()), None, "nobody may execute it");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        assert_eq!(find(&format!(".::bin:{absolute}")), Some(program));
        for nowhere in ["", ".", ":", "bin:..:.", "/nonexistent"] {
            assert_eq!(find(nowhere), None, "{nowhere}");
        }
        assert_eq!(locate("", Some(folder.path().as_os_str())), None);
    }
}
