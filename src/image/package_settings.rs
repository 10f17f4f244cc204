//! What pip, uv and conda are told on a workstation about where packages come from, as far as it is for builds, too.
//!
//! Owns: which variables and keys that are, and how builds are told. Does not own: reading files and variables (`delivery`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::secret::Secret;

/// Variables that say where packages come from.
const VARIABLES: [&str; 32] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "PIP_NO_INDEX",
    "PIP_PRE",
    "PIP_ONLY_BINARY",
    "PIP_NO_BINARY",
    "PIP_PREFER_BINARY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_PRERELEASE",
    "UV_PYTHON_INSTALL_MIRROR",
    "PIPENV_PYPI_MIRROR",
    "PDM_PYPI_URL",
    "PDM_PYPI_USERNAME",
    "PDM_PYPI_PASSWORD",
    "CONDA_CHANNELS",
    "CONDA_DEFAULT_CHANNELS",
    "CONDA_CHANNEL_ALIAS",
    "CONDA_CHANNEL_PRIORITY",
    "POETRY_PYPI_MIRROR_URL",
];
/// Between these stands the name of an index.
const LOGINS: [(&str, &str); 4] = [
    ("UV_INDEX_", "_USERNAME"),
    ("UV_INDEX_", "_PASSWORD"),
    ("POETRY_HTTP_BASIC_", "_USERNAME"),
    ("POETRY_HTTP_BASIC_", "_PASSWORD"),
];
/// What of conda's configuration says where packages come from.
const CONDA_KEYS: [&str; 9] = [
    "channels",
    "default_channels",
    "channel_alias",
    "channel_priority",
    "custom_channels",
    "custom_multichannels",
    "migrated_channel_aliases",
    "override_channels_enabled",
    "add_anaconda_token",
];
/// Tools that are told on the command line of a build read no other options of pip's.
const PIP_SECTIONS: [&str; 2] = ["global", "install"];

/// What builds are told.
#[derive(Clone, Debug, Default)]
pub struct PackageSettings {
    /// Variables by name.
    variables: BTreeMap<String, Secret>,
    /// Logins by host.
    logins: Vec<Login>,
    /// The part of conda's configuration.
    condarc: Option<Secret>,
}

/// An entry of a `.netrc`.
#[derive(Clone, Debug)]
struct Login {
    machine: String,
    user: String,
    password: Secret,
}

impl PackageSettings {
    /// Takes a variable of the environment, if it is one of those.
    pub fn add_variable(&mut self, name: &str, value: &str) {
        let is_login = |(before, after): &(&str, &str)| {
            name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|index| !index.is_empty())
        };
        let is_for_builds = VARIABLES.contains(&name) || LOGINS.iter().any(is_login);
        // What lies on this machine is nowhere in a build.
        let value = if name.ends_with("_FIND_LINKS") { only_remote(value) } else { value.to_owned() };
        if is_for_builds && !value.is_empty() {
            self.variables.insert(name.to_owned(), Secret::new(value));
        }
    }

    /// Takes what is for builds from a `pip.conf`; it counts for more than what was taken before.
    pub fn add_pip(&mut self, text: &str) {
        for section in PIP_SECTIONS {
            for (key, value) in ini_section(text, section) {
                let name = format!("PIP_{}", key.to_ascii_uppercase().replace('-', "_"));
                self.add_variable(&name, &value);
            }
        }
    }

    /// The same from a `uv.toml`. What is not TOML is left to uv to complain about.
    pub fn add_uv(&mut self, text: &str) {
        let Ok(table) = text.parse::<toml::Table>() else { return };
        let pip = table.get("pip").and_then(toml::Value::as_table);
        for (key, name, between) in [
            ("index-url", "UV_INDEX_URL", ""),
            ("extra-index-url", "UV_EXTRA_INDEX_URL", " "),
            ("find-links", "UV_FIND_LINKS", ","),
            ("index-strategy", "UV_INDEX_STRATEGY", ""),
            ("allow-insecure-host", "UV_INSECURE_HOST", " "),
        ] {
            let value = pip.and_then(|pip| pip.get(key)).or_else(|| table.get(key));
            if let Some(value) = value.map(|value| joined(value, between)) {
                self.add_variable(name, &value);
            }
        }
        let indexes = table.get("index").and_then(toml::Value::as_array).into_iter().flatten();
        let (mut others, mut default) = (Vec::new(), None);
        for index in indexes {
            let text = |key: &str| index.get(key).and_then(toml::Value::as_str);
            let Some(url) = text("url") else { continue };
            let named = text("name").map_or_else(|| url.to_owned(), |name| format!("{name}={url}"));
            match index.get("default").and_then(toml::Value::as_bool) {
                Some(true) => default = Some(named),
                _ => others.push(named),
            }
        }
        self.add_variable("UV_INDEX", &others.join(" "));
        self.add_variable("UV_DEFAULT_INDEX", &default.unwrap_or_default());
    }

    /// The same from a `.condarc`.
    pub fn add_conda(&mut self, text: &str) {
        let mut kept = String::new();
        let mut keeps = false;
        for line in text.lines() {
            let is_inner = line.starts_with([' ', '\t', '-']) || line.trim().is_empty();
            if !is_inner {
                let key = line.split(':').next().unwrap_or_default().trim();
                keeps = CONDA_KEYS.contains(&key);
            }
            if keeps && !line.trim_start().starts_with('#') {
                kept.extend([line, "\n"]);
            }
        }
        self.condarc = Some(kept).filter(|kept| !kept.trim().is_empty()).map(Secret::new);
    }

    /// Takes the logins of a `.netrc`; those that say no machine are left.
    pub fn add_netrc(&mut self, text: &str) {
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if word != "machine" {
                continue;
            }
            let Some(machine) = words.next() else { break };
            let (mut user, mut password) = (String::new(), None);
            while let Some(key) = words.next_if(|word| ["login", "account", "password"].contains(word)) {
                match (key, words.next()) {
                    ("login", Some(value)) => value.clone_into(&mut user),
                    ("password", Some(value)) => password = Some(Secret::new(value)),
                    _ => {}
                }
            }
            if let Some(password) = password {
                self.logins.push(Login { machine: machine.to_owned(), user, password });
            }
        }
    }

    /// Variables as a shell reads them, and with them the user's own secrets whose names a variable can have.
    pub fn shell<'s>(&'s self, more: impl Iterator<Item = (&'s str, &'s Secret)>) -> Option<Secret> {
        let own = self.variables.iter().map(|(name, value)| (name.as_str(), value));
        let all: BTreeMap<&str, &Secret> = own.chain(more).collect();
        let mut text = String::new();
        for (name, value) in all {
            if let Ok(quoted) = shlex::try_quote(value.expose()) {
                let _ = writeln!(text, "export {name}={quoted}");
            }
        }
        Some(text).filter(|text| !text.is_empty()).map(Secret::new)
    }

    /// The `.netrc` for a build that has to do with these texts: logins for hosts that none of them names stay here.
    pub fn netrc(&self, texts: &[String]) -> Option<Secret> {
        let own = self.variables.values().chain(&self.condarc).map(Secret::expose);
        let all: Vec<&str> = texts.iter().map(String::as_str).chain(own).collect();
        let needed = self.logins.iter().filter(|login| all.iter().any(|text| text.contains(&login.machine)));
        let mut text = String::new();
        for Login { machine, user, password } in needed {
            let _ = writeln!(text, "machine {machine} login {user} password {}", password.expose());
        }
        Some(text).filter(|text| !text.is_empty()).map(Secret::new)
    }

    /// conda's configuration.
    pub const fn condarc(&self) -> Option<&Secret> {
        self.condarc.as_ref()
    }

    /// What nothing of what is printed may hold.
    pub fn passwords(&self) -> Vec<Secret> {
        let mut passwords: BTreeSet<&str> = self.logins.iter().map(|login| login.password.expose()).collect();
        let named = self.variables.iter().filter(|(name, _)| name.ends_with("_PASSWORD"));
        passwords.extend(named.map(|(_, value)| value.expose()));
        let texts = self.variables.values().chain(&self.condarc).map(Secret::expose);
        passwords.extend(texts.flat_map(in_urls));
        passwords.into_iter().filter(|password| !password.is_empty()).map(Secret::new).collect()
    }
}

/// Passwords of URLs, and conda's tokens (`/t/TOKEN/`).
fn in_urls(text: &str) -> Vec<&str> {
    let ends = |c: char| c.is_whitespace() || "\"'<>,".contains(c);
    let urls = text.split("://").skip(1).filter_map(|rest| rest.split(ends).next());
    let parts = urls.flat_map(|url| {
        let (authority, path) = url.split_once('/').unwrap_or((url, ""));
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let password = user.map(|user| user.split_once(':').map_or(user, |(_, password)| password));
        let token = path.strip_prefix("t/").and_then(|rest| rest.split('/').next());
        [password, token]
    });
    parts.flatten().collect()
}

/// The words of a list of places that are no paths of this machine.
fn only_remote(value: &str) -> String {
    let words =
        value.split([' ', ',', '\n']).filter(|word| word.starts_with("http://") || word.starts_with("https://"));
    words.collect::<Vec<_>>().join(if value.contains(',') { "," } else { " " })
}

fn joined(value: &toml::Value, between: &str) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(between),
        _ => String::new(),
    }
}

/// Keys and values of a section as Python's `configparser` reads them: `=` or `:`, values that go on in indented lines.
fn ini_section(text: &str, wanted: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let (mut is_inside, mut goes_on) = (false, false);
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let is_indented = line.starts_with([' ', '\t']);
        if let Some((_, value)) = found.last_mut().filter(|_| is_indented && goes_on) {
            value.push(' ');
            value.push_str(trimmed);
        } else if let Some(section) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = section.trim() == wanted;
            goes_on = false;
        } else if let Some((key, value)) = trimmed.split_once(['=', ':']).filter(|_| is_inside) {
            found.push((key.trim().to_ascii_lowercase().replace('_', "-"), value.trim().to_owned()));
            goes_on = true;
        }
    }
    found.into_iter().map(|(key, value)| (key, value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(settings: &PackageSettings) -> String {
        settings.shell(std::iter::empty()).map(|text| text.expose().to_owned()).unwrap_or_default()
    }

    #[test]
    fn of_pip_all_that_says_where_packages_come_from_is_taken() {
        let mut settings = PackageSettings::default();
        settings.add_pip(
            "# ours\n[global]\nindex-url = https://ada:hunter2@pypi.example/simple\nrequire-virtualenv = true\n\
             extra_index_url:\n    https://a.example/simple\n    https://b.example/simple\ncert = /home/ada/ca.pem\n\
             [install]\ntrusted-host = b.example\nfind-links = /home/ada/wheels https://w.example/\n[list]\nformat = columns\n",
        );
        assert_eq!(
            shell(&settings),
            "export PIP_EXTRA_INDEX_URL='https://a.example/simple https://b.example/simple'\n\
             export PIP_FIND_LINKS=https://w.example/\n\
             export PIP_INDEX_URL=https://ada:hunter2@pypi.example/simple\nexport PIP_TRUSTED_HOST=b.example\n"
        );
        assert_eq!(settings.passwords(), [Secret::new("hunter2")]);
        settings.add_variable("PIP_INDEX_URL", "https://other.example/simple");
        settings.add_variable("PIP_REQUIRE_VIRTUALENV", "1");
        assert!(shell(&settings).contains("other.example") && !shell(&settings).contains("VIRTUALENV"));
    }

    #[test]
    fn of_uv_indexes_and_their_logins_are_taken() {
        let mut settings = PackageSettings::default();
        settings.add_uv(
            "cache-dir = '/x'\nallow-insecure-host = ['h:1']\n[[index]]\nname = 'ours'\nurl = 'https://o.example/simple'\n\
             [[index]]\nurl = 'https://d.example/simple'\ndefault = true\n[pip]\nextra-index-url = ['https://e.example/']\n",
        );
        settings.add_variable("UV_INDEX_OURS_PASSWORD", "hunter2");
        settings.add_variable("UV_INDEX__PASSWORD", "x");
        settings.add_variable("UV_CACHE_DIR", "/x");
        let text = shell(&settings);
        for line in [
            "export UV_INDEX='ours=https://o.example/simple'",
            "export UV_DEFAULT_INDEX='https://d.example/simple'",
            "export UV_EXTRA_INDEX_URL='https://e.example/'",
            "export UV_INSECURE_HOST='h:1'",
            "export UV_INDEX_OURS_PASSWORD=hunter2",
        ] {
            assert!(text.replace('\'', "").lines().any(|found| found == line.replace('\'', "")), "{line}: {text}");
        }
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn of_conda_channels_are_taken_and_folders_are_not() {
        let mut settings = PackageSettings::default();
        settings.add_conda(
            "channels:\n  - https://c.example/t/tk-canary/ours\n- defaults\npkgs_dirs:\n  - /home/ada/pkgs\n\
             channel_alias: https://c.example\nssl_verify: /home/ada/ca.pem\n",
        );
        let kept = settings.condarc().expect("some").expose();
        assert_eq!(
            kept,
            "channels:\n  - https://c.example/t/tk-canary/ours\n- defaults\nchannel_alias: https://c.example\n"
        );
        assert_eq!(settings.passwords(), [Secret::new("tk-canary")]);
    }

    #[test]
    fn logins_go_to_builds_that_have_to_do_with_their_hosts() {
        let mut settings = PackageSettings::default();
        settings.add_netrc(
            "machine a.example login ada password one\nmachine\n  b.example\n  login bob\n  password two\ndefault login x password y\n",
        );
        assert!(settings.netrc(&["numpy".to_owned()]).is_none());
        let texts = ["--index-url https://b.example/simple\n".to_owned()];
        assert_eq!(settings.netrc(&texts).expect("one").expose(), "machine b.example login bob password two\n");
        settings.add_variable("PIP_INDEX_URL", "https://a.example/simple");
        assert_eq!(settings.netrc(&texts).expect("two").expose().lines().count(), 2);
    }
}
