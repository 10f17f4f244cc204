//! `nauta.lock`: which images a project is built on, exactly.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::parse::{SettingsError, parse};
use crate::bounded_file::{HAND_WRITTEN, read_text_inside};
use crate::digest::Digest;

/// The digests of the images that a project is built on. Written by nauta, kept in version control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The form of this file: 1.
    version: u32,
    /// Digests (of the manifest, or of the list of manifests) by the images' names.
    #[serde(default)]
    pub images: BTreeMap<String, Digest>,
}

const HEADER: &str = "# Which images this project is built on, exactly. Written by nauta; belongs into version control.\n\
    # `nauta lock --update` takes what the registries have now.\n";

impl LockFile {
    /// Its name, in the project's root.
    pub const NAME: &str = "nauta.lock";

    /// The project's; an empty one where it has none.
    pub fn read(root: &Path) -> Result<Self, SettingsError> {
        let path = root.join(Self::NAME);
        match read_text_inside(root, Self::NAME, HAND_WRITTEN) {
            Ok(text) => {
                let lock: Self = parse(&text, &path)?;
                if lock.version == 1 { Ok(lock) } else { Err(SettingsError::Version { path, version: lock.version }) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(SettingsError::Unreadable { path, source }),
        }
    }

    /// Replaces the project's, whole or not at all.
    pub fn write(&self, root: &Path) -> std::io::Result<()> {
        let lock = Self { version: 1, images: self.images.clone() };
        let text = toml::to_string(&lock).map_err(std::io::Error::other)?;
        // Readable as other files of the project are; the user's mask still counts.
        let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(root)?;
        std::io::Write::write_all(&mut new, format!("{HEADER}{text}").as_bytes())?;
        new.persist(root.join(Self::NAME))?;
        Ok(())
    }

    /// The name with its digest; none where it is not locked, or says a digest itself.
    pub fn pin(&self, name: &str) -> Option<String> {
        let digest = self.images.get(name).filter(|_| !name.contains('@'))?;
        Some(format!("{name}@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(LockFile::read(folder.path()).unwrap().pin("a"), None);
        let mut lock = LockFile { version: 1, ..LockFile::default() };
        lock.images.insert("python:3.12".to_owned(), Digest::of("x"));
        lock.write(folder.path()).unwrap();
        assert_eq!(LockFile::read(folder.path()).unwrap(), lock);
        assert_eq!(lock.pin("python:3.12").unwrap(), format!("python:3.12@{}", Digest::of("x")));
        assert_eq!(lock.pin("python"), None);
        for wrong in
            ["version = 2", "version = 1\nimages = { a = 'sha256:1' }", "version = 1\nmore = 1", "<<<<<<< HEAD"]
        {
            std::fs::write(folder.path().join(LockFile::NAME), wrong).unwrap();
            let error = LockFile::read(folder.path()).expect_err(wrong);
            assert!(error.to_string().contains("nauta.lock"), "{error}");
        }
    }
}
