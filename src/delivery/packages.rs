//! What this workstation's pip, uv and conda know of where packages come from, for the builds that nauta writes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::context::Context;
use crate::event::Events;
use crate::image::PackageSettings;

/// Reads variables, `pip.conf`, `uv.toml`, `.condarc` and `.netrc`, from where each tool does; what counts for more comes later.
pub fn package_settings(context: &Context, events: &Events) -> PackageSettings {
    let mut settings = PackageSettings::default();
    let home = context.variable("HOME").map_or_else(|| PathBuf::from("/nonexistent"), PathBuf::from);
    let config = context.variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let named = |name: &str| context.variable(name).map(PathBuf::from);
    let read = |path: &Path| match read_text(path, HAND_WRITTEN) {
        Ok(text) => Some(text),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => None,
        Err(error) => {
            events.warn(format!("`{}` does not reach the build: {error}", path.display()));
            None
        }
    };
    let of_pip = match named("PIP_CONFIG_FILE") {
        Some(path) => vec!["/etc/pip.conf".into(), path],
        None => vec![
            "/etc/pip.conf".into(),
            home.join(".pip/pip.conf"),
            home.join("Library/Application Support/pip/pip.conf"),
            config.join("pip/pip.conf"),
        ],
    };
    let of_environment = named("VIRTUAL_ENV").map(|folder| folder.join("pip.conf"));
    of_pip.iter().chain(&of_environment).filter_map(|path| read(path)).for_each(|text| settings.add_pip(&text));
    let of_uv = named("UV_CONFIG_FILE")
        .map_or_else(|| vec!["/etc/uv/uv.toml".into(), config.join("uv/uv.toml")], |path| vec![path]);
    of_uv.iter().filter_map(|path| read(path)).for_each(|text| settings.add_uv(&text));
    context.variables().for_each(|(name, value)| settings.add_variable(name, value));
    let of_conda = named("CONDARC").into_iter().chain([home.join(".condarc"), config.join("conda/.condarc")]);
    if let Some(text) = of_conda.into_iter().find_map(|path| read(&path)) {
        settings.add_conda(&text);
    }
    if let Some(text) = read(&named("NETRC").unwrap_or_else(|| home.join(".netrc"))) {
        settings.add_netrc(&text);
    }
    settings
}
