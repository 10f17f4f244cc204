//! Docker's `config.json` and credential helpers, as the `docker` command uses them.

use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CredentialError, Login};
use crate::secret::Secret;

/// A helper that does not answer in this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer of a helper is longer, in bytes.
const LONGEST: u64 = 64 * 1024;
/// The key that Docker Hub's credentials are stored under.
const HUB: &str = "https://index.docker.io/v1/";
/// The user name that stands for an identity token.
pub(super) const TOKEN: &str = "<token>";

pub(super) struct DockerConfig {
    pub(super) path: PathBuf,
    pub(super) search_path: Option<String>,
}

/// A helper's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl DockerConfig {
    pub(super) fn find(&self, host: &str) -> Result<Option<Login>, CredentialError> {
        let config = self.read()?;
        let keys = if host == "docker.io" { vec![HUB, "docker.io"] } else { vec![host] };
        for key in &keys {
            let helper = config["credHelpers"][key].as_str().or_else(|| config["credsStore"].as_str());
            if let Some(helper) = helper
                && let Some(login) = self.ask_helper(helper, key)?
            {
                return Ok(Some(login));
            }
        }
        let entry = |key: &str| {
            [key.to_owned(), format!("https://{key}"), format!("http://{key}")]
                .into_iter()
                .find_map(|k| login_of(&config["auths"][k]))
        };
        Ok(keys.iter().find_map(|key| entry(key)))
    }

    pub(super) fn store(&self, host: &str, login: &Login) -> Result<PathBuf, CredentialError> {
        let mut config = self.read()?;
        config["auths"][host] = auth_entry(login);
        self.write(&config)
    }

    pub(super) fn erase(&self, host: &str) -> Result<bool, CredentialError> {
        let mut config = self.read()?;
        let removed = config["auths"].as_object_mut().and_then(|auths| auths.remove(host)).is_some();
        if removed {
            self.write(&config)?;
        }
        Ok(removed)
    }

    #[expect(clippy::needless_pass_by_value, reason = "fits `map_err` as it is")]
    fn error(&self, reason: impl ToString) -> CredentialError {
        CredentialError::DockerConfig { path: self.path.clone(), reason: reason.to_string() }
    }

    fn read(&self) -> Result<Value, CredentialError> {
        match std::fs::read(&self.path) {
            Ok(text) => {
                let config: Value = serde_json::from_slice(&text).map_err(|error| self.error(error))?;
                if config.is_object() { Ok(config) } else { Err(self.error("it is no JSON object")) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(json!({})),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Replaces the file at once; everything else in it stays.
    fn write(&self, config: &Value) -> Result<PathBuf, CredentialError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let new = folder.join(format!(".config.json.{}", std::process::id()));
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(serde_json::to_string_pretty(config)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(new, &self.path)
        };
        write().map_err(|error| self.error(error))?;
        Ok(self.path.clone())
    }

    fn ask_helper(&self, name: &str, key: &str) -> Result<Option<Login>, CredentialError> {
        let helper = format!("docker-credential-{name}");
        let failed = |reason: String| CredentialError::Helper { helper: helper.clone(), reason };
        // Never from a relative entry: the working directory is somebody else's project.
        let folders = self.search_path.iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
        let is_program =
            |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let program = folders.map(|folder| folder.join(&helper)).find(is_program);
        let program = program.ok_or_else(|| failed("it is not installed".to_owned()))?;
        let mut child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its question answers all the same, or not at all.
            let _ = stdin.write_all(key.as_bytes());
        }
        let (answer_tx, answer_rx) = mpsc::channel();
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout.map(|stdout| stdout.take(LONGEST).read_to_string(&mut text));
            let _ = answer_tx.send(read.is_some_and(|read| read.is_ok()).then_some(text));
        });
        let answer = answer_rx.recv_timeout(PATIENCE);
        if answer.is_err() {
            let _ = child.kill();
        }
        let status = child.wait();
        let text =
            answer.map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?.unwrap_or_default();
        if !status.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let answer: Answer =
            serde_json::from_str(&text).map_err(|_| failed("its answer is no credential".to_owned()))?;
        Ok(Some(Login { user: answer.username, secret: Secret::new(answer.secret) }))
    }
}

fn login_of(entry: &Value) -> Option<Login> {
    if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
        return Some(Login { user: TOKEN.to_owned(), secret: Secret::new(token) });
    }
    let decoded = BASE64_STANDARD.decode(entry["auth"].as_str()?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Login { user: user.to_owned(), secret: Secret::new(password.trim_end_matches('\0')) })
}

fn auth_entry(login: &Login) -> Value {
    if login.user == TOKEN {
        return json!({ "identitytoken": login.secret.expose() });
    }
    json!({ "auth": BASE64_STANDARD.encode(format!("{}:{}", login.user, login.secret.expose())) })
}

pub(super) fn render(host: &str, login: &Login) -> Secret {
    let mut entry = auth_entry(login);
    if login.user != TOKEN {
        entry["username"] = json!(login.user);
        entry["password"] = json!(login.secret.expose());
    }
    Secret::new(json!({ "auths": { host: entry } }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("config.json");
        std::fs::write(&path, text).expect("written");
        let search_path = temp.path().to_str().map(str::to_owned);
        (temp, DockerConfig { path, search_path })
    }

    fn login() -> Login {
        Login { user: "ada".to_owned(), secret: Secret::new("pa:ss") }
    }

    #[test]
    fn what_is_stored_is_found_and_the_rest_of_the_file_stays() {
        let (_temp, config) = config(r#"{"proxies":{"x":1}}"#);
        config.store("r.example.com", &login()).expect("stored");
        let found = config.find("r.example.com").expect("readable").expect("there");
        assert_eq!((found.user.as_str(), found.secret.expose()), ("ada", "pa:ss"));
        let text = std::fs::read_to_string(&config.path).expect("readable");
        assert!(text.contains("proxies") && !text.contains("pa:ss"));
        assert_eq!(config.path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        assert!(config.erase("r.example.com").expect("writable"));
        assert!(config.find("r.example.com").expect("readable").is_none());
    }

    #[test]
    fn a_helper_is_asked_and_a_broken_one_is_named() {
        let (temp, config) = config(r#"{"credHelpers":{"a":"good","b":"bad","c":"none"}}"#);
        let helper = |name: &str, text: &str| {
            let path = temp.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
        };
        helper("good", "#!/bin/sh\nread host; echo \"{\\\"Username\\\":\\\"$1-$host\\\",\\\"Secret\\\":\\\"s\\\"}\"\n");
        helper("bad", "#!/bin/sh\necho nonsense\n");
        assert_eq!(config.find("a").expect("answers").expect("there").user, "get-a");
        assert!(config.find("b").expect_err("broken").to_string().contains("docker-credential-bad"));
        assert!(config.find("c").expect_err("missing").to_string().contains("not installed"));
    }
}
