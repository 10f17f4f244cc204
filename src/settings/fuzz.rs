//! Any bytes as the files of a project and of a user.

use std::path::Path;

use super::parse::parse;
use super::{LockFile, SettingsError, parse_project_file, parse_user_file};

/// Whatever is wrong with a file, its place is in it.
pub(crate) fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("nauta.toml");
    let errors = [
        parse_project_file(&text, path).err(),
        parse_user_file(&text, path).err(),
        parse::<LockFile>(&text, path).err(),
    ];
    for error in errors.into_iter().flatten() {
        let SettingsError::Invalid { line, column, .. } = error else { continue };
        assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}");
        assert!((1..=text.len() + 1).contains(&column), "column {column}");
    }
}
