//! Docker's `config.json`: which helpers keep what, and credentials in base64.

use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::error::CredentialsError;
use crate::bounded_file::{KEPT, read_text};
use crate::secret::{Credential, Secret};

/// Docker Hub's name in Docker's files, from the time of its first protocol.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The name under which Docker keeps a registry's credentials.
pub(super) fn server_key(host: &str) -> &str {
    if HUB_NAMES.contains(&host) { HUB_KEY } else { host }
}

/// `config.json`, read.
#[derive(Debug)]
pub(super) struct DockerConfig {
    path: PathBuf,
    content: Map<String, Value>,
}

impl DockerConfig {
    /// Reads `config.json` in `folder`; one that does not exist is empty.
    pub(super) fn read(folder: &Path) -> Result<Self, CredentialsError> {
        let path = folder.join("config.json");
        let failed = |source| CredentialsError::ConfigFile { doing: "read", path: path.clone(), source };
        let broken = |reason: &str| CredentialsError::ConfigForm { path: path.clone(), reason: reason.to_owned() };
        let text = match read_text(&path, KEPT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, content: Map::new() }),
            text => text.map_err(failed)?,
        };
        Self::parse(path.clone(), &text).map_err(|reason| broken(&reason))
    }

    /// Reads the text of one at `path`. The error names a place and never quotes what is there.
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { path, content: Map::new() });
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(content)) => Ok(Self { path, content }),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(error) => Err(format!("line {}, column {}: no JSON", error.line(), error.column())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helpers that may have the credentials for `host`: its own first, then the one for all.
    pub(super) fn helpers(&self, host: &str) -> Vec<String> {
        let own =
            self.content.get("credHelpers").and_then(|helpers| helpers.get(server_key(host)).or(helpers.get(host)));
        let all = self.content.get("credsStore");
        let names = [own, all].into_iter().flatten().filter_map(Value::as_str).filter(|name| !name.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.dedup();
        names
    }

    /// The credential for `host` in the file itself.
    pub(super) fn credential(&self, host: &str) -> Option<Credential> {
        self.entries(host).find_map(|(_, entry)| entry_credential(entry))
    }

    /// Sets the credential for `host`, keeping everything else.
    pub(super) fn set(&mut self, host: &str, credential: &Credential) {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[server_key(host)] = credential_entry(credential);
    }

    /// Removes the credentials for `host`; whether there were any.
    pub(super) fn remove(&mut self, host: &str) -> bool {
        let keys: Vec<String> = self.entries(host).map(|(key, _)| key.clone()).collect();
        if let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) {
            auths.retain(|key, _| !keys.contains(key));
        }
        !keys.is_empty()
    }

    /// Replaces the file by a new one that only its owner can read, at once and durably.
    pub(super) fn write(&self) -> Result<(), CredentialsError> {
        self.try_write().map_err(|source| CredentialsError::ConfigFile {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn try_write(&self) -> io::Result<()> {
        // Those who keep their configuration elsewhere and link to it shall keep the link.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let mut text = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        serde::Serialize::serialize(&self.content, &mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        std::fs::File::open(folder)?.sync_all()
    }

    fn entries<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let auths = self.content.get("auths").and_then(Value::as_object);
        auths.into_iter().flatten().filter(move |(key, _)| names_host(key, host))
    }
}

/// The credential for `host` in the text of a `config.json`, as pods get it: `auths` alone counts.
#[must_use]
pub fn credential_in_docker_config(text: &str, host: &str) -> Option<Credential> {
    let content = serde_json::from_str(text).ok()?;
    DockerConfig { path: PathBuf::new(), content }.credential(host)
}

/// A `config.json` with these credentials by host: the content of a pull secret (`.dockerconfigjson`).
#[must_use]
pub fn docker_config_json(credentials: &[(&str, &Credential)]) -> Secret {
    let mut config = DockerConfig { path: PathBuf::new(), content: Map::new() };
    for (host, credential) in credentials {
        config.set(host, credential);
    }
    Secret::new(Value::Object(config.content).to_string())
}

/// Whether a key of `auths` means `host`: keys may carry a scheme and a path.
fn names_host(key: &str, host: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.split('/').next().unwrap_or(bare);
    bare == host || (HUB_NAMES.contains(&bare) && HUB_NAMES.contains(&host))
}

fn entry_credential(entry: &Value) -> Option<Credential> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credential::IdentityToken(Secret::new(token)));
    }
    if let Some(token) = text("registrytoken") {
        return Some(Credential::RegistryToken(Secret::new(token)));
    }
    if let Some(auth) = text("auth") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        return Credential::from_pair(user, password.trim_end_matches('\0'));
    }
    Credential::from_pair(text("username")?, text("password")?)
}

fn credential_entry(credential: &Credential) -> Value {
    match credential {
        Credential::Password { user, password } => {
            json!({"auth": BASE64_STANDARD.encode(format!("{user}:{}", password.expose()))})
        }
        Credential::IdentityToken(token) => json!({"identitytoken": token.expose()}),
        Credential::RegistryToken(token) => json!({"registrytoken": token.expose()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        DockerConfig { path: PathBuf::new(), content: serde_json::from_str(text).expect("JSON") }
    }

    fn ada() -> Credential {
        Credential::from_pair("ada", "pass:word").expect("not empty")
    }

    #[test]
    fn all_forms_of_an_entry_are_read() {
        let auth = BASE64_STANDARD.encode("ada:pass:word");
        let padded = BASE64_STANDARD.encode("ada:pass:word\0\0");
        for entry in [
            json!({"auth": auth}),
            json!({"auth": padded}),
            json!({"username": "ada", "password": "pass:word"}),
            json!({"auth": auth, "email": "x"}),
        ] {
            assert_eq!(entry_credential(&entry), Some(ada()), "{entry}");
        }
        let token = json!({"auth": auth, "identitytoken": "t"});
        assert_eq!(entry_credential(&token), Some(Credential::IdentityToken(Secret::new("t"))));
        for entry in [json!({}), json!({"auth": ""}), json!({"auth": "!"}), json!({"auth": "YQ=="}), json!(1)] {
            assert_eq!(entry_credential(&entry), None, "{entry}");
        }
    }

    #[test]
    fn keys_mean_hosts() {
        for key in ["localhost:5000", "https://localhost:5000", "http://localhost:5000/v2/", "localhost:5000/v1/"] {
            assert!(names_host(key, "localhost:5000"), "{key}");
        }
        assert!(names_host(HUB_KEY, "docker.io") && names_host("docker.io", "registry-1.docker.io"));
        for key in ["localhost", "localhost:5001", "xlocalhost:5000", ""] {
            assert!(!names_host(key, "localhost:5000"), "{key}");
        }
    }

    #[test]
    fn a_hosts_own_helper_comes_before_the_common_one() {
        let both =
            config(r#"{"credsStore": "all", "credHelpers": {"a.com": "own", "https://index.docker.io/v1/": "hub"}}"#);
        assert_eq!(both.helpers("a.com"), ["own", "all"]);
        assert_eq!(both.helpers("b.com"), ["all"]);
        assert_eq!(both.helpers("docker.io"), ["hub", "all"]);
        assert!(config(r#"{"credsStore": "", "credHelpers": []}"#).helpers("a.com").is_empty());
    }

    #[test]
    fn a_pull_secret_reads_back() {
        let ada = ada();
        let secret = docker_config_json(&[("localhost:5000", &ada), ("docker.io", &ada)]);
        let expected = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YWRhOnBhc3M6d29yZA=="},"localhost:5000":{"auth":"YWRhOnBhc3M6d29yZA=="}}}"#;
        assert_eq!(secret.expose(), expected);
        assert_eq!(credential_in_docker_config(secret.expose(), "docker.io"), Some(ada));
        assert_eq!(credential_in_docker_config(secret.expose(), "other"), None);
        assert_eq!(credential_in_docker_config("[]", "other"), None);
    }

    #[test]
    fn writing_keeps_the_rest_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (real, linked) = (folder.path().join("real.json"), folder.path().join(".docker"));
        let before = json!({"psFormat": "x", "auths": {"old.com": {"auth": "YTpi"}}, "proxies": {"default": {"httpProxy": "p"}}});
        std::fs::write(&real, before.to_string()).expect("writable");
        std::fs::create_dir(&linked).expect("writable");
        std::os::unix::fs::symlink(&real, linked.join("config.json")).expect("writable");

        let mut config = DockerConfig::read(&linked).expect("reads");
        config.set("new.com", &ada());
        config.write().expect("writes");
        assert!(linked.join("config.json").is_symlink());
        assert_eq!(real.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
        let mut after = DockerConfig::read(&linked).expect("reads");
        assert_eq!(after.credential("new.com"), Some(ada()));
        assert!(after.remove("new.com") && !after.remove("new.com"));
        assert_eq!(Value::Object(after.content), before);
    }

    #[test]
    fn broken_files_are_named_without_their_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        for text in ["{\"auths\": canary", "[1]", "\"canary\""] {
            std::fs::write(&path, text).expect("writable");
            let error = DockerConfig::read(folder.path()).expect_err("is broken").to_string();
            assert!(error.contains(path.to_str().expect("UTF-8")) && !error.contains("canary"), "{error}");
        }
        std::fs::write(&path, "\n").expect("writable");
        assert!(DockerConfig::read(folder.path()).expect("an empty file is no configuration").content.is_empty());
        assert!(DockerConfig::read(Path::new("/nowhere")).expect("neither is none").content.is_empty());
    }
}
