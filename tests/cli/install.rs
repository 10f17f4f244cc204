//! `install.sh` from a release archive, in the shells that may read it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{entries, tool};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder with a release, and a home with a space in its name.
struct Release {
    folder: tempfile::TempDir,
    home: PathBuf,
}

impl Release {
    /// Of this test's own binary: the release build is the same code with more optimisation.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("my home");
        std::fs::create_dir(&home).expect("created");
        let release = folder.path().join("release");
        let program = Path::new(ROOT).join(".ci/release");
        let _ = tool(program.to_str().expect("text"), &[text(&release), env!("CARGO_BIN_EXE_nauta")]);
        Self { folder, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("release").join(name)
    }

    fn archive(&self) -> PathBuf {
        let is_archive = |path: &PathBuf| path.to_string_lossy().ends_with(".tar.gz");
        entries(&self.folder.path().join("release")).into_iter().find(is_archive).expect("made")
    }

    fn installs(&self, shell: &[&str], arguments: &[&str]) -> Output {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(self.path("install.sh")).args(arguments);
        command.env("HOME", &self.home).env_remove("CARGO_TARGET_DIR").output().expect("starts")
    }

    fn prefix(&self) -> PathBuf {
        self.home.join(".local")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (here, below): (Vec<_>, Vec<_>) = entries(folder).into_iter().partition(|path| path.is_file());
    here.into_iter().chain(below.iter().flat_map(|folder| files(folder))).collect()
}

#[test]
fn a_release_is_installed_and_removed_by_every_shell() {
    let release = Release::new();
    let prefix = release.prefix();
    for shell in [&["dash"][..], &["busybox", "sh"], &["bash", "--posix"]] {
        let output = release.installs(shell, &["--prefix", text(&prefix)]);
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        assert!(said(&output).contains("installed nauta") && output.stdout.is_empty(), "{}", said(&output));
        let version = tool(text(&prefix.join("bin/nauta")), &["version"]);
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        for file in
            ["share/bash-completion/completions/nauta", "share/zsh/site-functions/_nauta", "share/man/man1/nauta-run.1"]
        {
            assert!(prefix.join(file).metadata().is_ok_and(|file| file.len() > 0), "{file}");
        }
        let profile = std::fs::read_to_string(release.home.join(".profile")).expect("written");
        assert_eq!(profile.matches("my home/.local/bin").count(), 1, "{profile}");
        let page =
            Command::new("man").arg("-M").arg(prefix.join("share/man")).args(["-P", "cat", "nauta-run"]).output();
        assert!(String::from_utf8_lossy(&page.expect("man starts").stdout).contains("nauta run"));
        let output = release.installs(shell, &["--prefix", text(&prefix), "--uninstall"]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(files(&prefix), Vec::<PathBuf>::new());
        assert_eq!(std::fs::read_to_string(release.home.join(".profile")).expect("kept"), "");
    }
}

#[test]
fn man_pages_have_no_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let _ = tool(env!("CARGO_BIN_EXE_nauta"), &["man", text(folder.path())]);
    let pages = entries(folder.path());
    assert!(pages.len() > 15, "{pages:?}");
    for page in pages {
        assert_eq!(tool("mandoc", &["-T", "lint", "-W", "error", text(&page)]), "");
    }
}

#[test]
fn a_damaged_release_changes_nothing() {
    let release = Release::new();
    let prefix = release.prefix();
    let arguments = ["--prefix", text(&prefix), "--no-modify-path"];
    assert!(release.installs(&["dash"], &arguments).status.success());
    assert!(!release.home.join(".profile").exists());
    let before = files(&prefix);
    let archive = release.archive();
    let mut bytes = std::fs::read(&archive).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&archive, bytes).expect("written");
    let output = release.installs(&["dash"], &arguments);
    assert!(!output.status.success() && said(&output).contains("damaged"), "{}", said(&output));
    std::fs::remove_file(format!("{}.sha256", text(&archive))).expect("removed");
    let output = release.installs(&["dash"], &arguments);
    assert!(!output.status.success() && said(&output).contains("cannot be checked"), "{}", said(&output));
    std::fs::remove_file(&archive).expect("removed");
    let output = release.installs(&["dash"], &arguments);
    assert!(!output.status.success() && said(&output).contains("no release archive"), "{}", said(&output));
    assert_eq!(files(&prefix), before);
    let version = tool(text(&prefix.join("bin/nauta")), &["version"]);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn other_architectures_come_along_for_their_nodes() {
    let release = Release::new();
    let prefix = release.prefix();
    let name = format!("nauta-{}-linux-riscv64.tar.gz", env!("CARGO_PKG_VERSION"));
    std::fs::copy(release.archive(), release.path(&name)).expect("copied");
    let install = || release.installs(&["dash"], &["--prefix", text(&prefix), "--version", env!("CARGO_PKG_VERSION")]);
    let output = install();
    assert!(!output.status.success() && said(&output).contains("cannot be checked"), "{}", said(&output));
    let checksum = Command::new("sha256sum").arg(&name).current_dir(release.path("")).output().expect("starts");
    std::fs::write(release.path(&format!("{name}.sha256")), checksum.stdout).expect("written");
    let output = install();
    assert!(output.status.success(), "{}", said(&output));
    let folder = prefix.join("libexec/nauta").join(env!("CARGO_PKG_VERSION"));
    let checked = Command::new("sha256sum").args(["-c", "nauta-linux-riscv64.sha256"]).current_dir(&folder).status();
    assert!(checked.expect("starts").success());
    let output = release.installs(&["dash"], &["--prefix", text(&prefix), "--uninstall"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(files(&prefix), Vec::<PathBuf>::new());
}

#[test]
fn an_installation_that_cannot_finish_leaves_what_was_there() {
    let release = Release::new();
    let prefix = release.prefix();
    std::fs::create_dir_all(prefix.join("bin")).expect("created");
    std::fs::write(prefix.join("bin/nauta"), "the former one").expect("written");
    // Man pages cannot be put where a file is, and that comes first.
    std::fs::write(prefix.join("share"), "").expect("written");
    let output = release.installs(&["dash"], &["--prefix", text(&prefix)]);
    assert!(!output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(prefix.join("bin/nauta")).expect("kept"), "the former one");
    assert!(!prefix.join("bin/.nauta.new").exists());
}

#[test]
fn unknown_options_are_refused() {
    let release = Release::new();
    let output = release.installs(&["dash"], &["--prefx", "/x"]);
    assert!(!output.status.success() && said(&output).contains("--prefx") && said(&output).contains("Usage:"));
}
