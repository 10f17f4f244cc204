//! Where Python finds a project's own package: its scripts may be anywhere in it, as after an editable install.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::env_vars::PYTHONPATH;

/// Files that say that a project is a package.
const DECLARED: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// Adds the folder of a project's packages to the end of `PYTHONPATH`, where the project is one. Others may have folders whose
/// names are those of installed packages.
pub(super) fn add(environment: &mut BTreeMap<OsString, OsString>, project: &Path) {
    if !DECLARED.iter().any(|name| project.join(name).is_file()) {
        return;
    }
    let source = project.join("src");
    let folder = if has_packages(&source) { source } else { project.to_owned() };
    let own = environment.get(OsStr::new(PYTHONPATH)).cloned().unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::env::split_paths(&own).filter(|path| !path.as_os_str().is_empty()).collect();
    if !paths.contains(&folder) {
        paths.push(folder);
    }
    if let Ok(paths) = std::env::join_paths(paths) {
        environment.insert(PYTHONPATH.into(), paths);
    }
}

fn has_packages(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.join("__init__.py").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_the_project_are_found_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let project = folder.path();
        let path_after = |own: &str| {
            let mut environment = BTreeMap::from([(OsString::from(PYTHONPATH), OsString::from(own))]);
            add(&mut environment, project);
            environment[OsStr::new(PYTHONPATH)].to_str().expect("text").to_owned()
        };
        assert_eq!(path_after("/lib"), "/lib", "it is no package");
        std::fs::write(project.join("setup.py"), "").expect("written");
        let root = project.display().to_string();
        assert_eq!(path_after("/lib"), format!("/lib:{root}"));
        assert_eq!(path_after(""), root);
        assert_eq!(path_after(&root), root);
        std::fs::create_dir_all(project.join("src/mine")).expect("made");
        std::fs::write(project.join("src/mine/__init__.py"), "").expect("written");
        assert_eq!(path_after(""), format!("{root}/src"));
    }
}
