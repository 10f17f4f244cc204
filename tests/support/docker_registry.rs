//! Real registries, one process per test: distribution 2.8 (Debian's `docker-registry`), or the program that
//! `NAUTA_TEST_REGISTRY_PROGRAM` names.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::certificates::Identity;

/// The user of [`DockerRegistryBuilder::password`].
pub(crate) const USER: &str = "ada";
/// Her password.
pub(crate) const PASSWORD: &str = "correct horse: battery";

/// A registry to be started.
#[must_use]
pub(crate) struct DockerRegistryBuilder {
    folder: tempfile::TempDir,
    storage: Option<PathBuf>,
    sections: String,
    http: String,
}

/// A running registry on a free port of loopback; it ends, and its storage goes, when this is dropped.
pub(crate) struct DockerRegistry {
    child: Child,
    folder: tempfile::TempDir,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
}

impl DockerRegistry {
    pub(crate) fn builder() -> DockerRegistryBuilder {
        let folder = tempfile::tempdir().expect("a temporary folder");
        DockerRegistryBuilder { folder, storage: None, sections: String::new(), http: String::new() }
    }

    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// The storage's folder (unless the builder was given another one).
    pub(crate) fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    /// Bytes of all blobs.
    pub(crate) fn size(&self) -> u64 {
        let blobs = self.storage().join("docker/registry/v2/blobs/sha256");
        let mut folders = vec![blobs];
        let mut size = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                    Ok(metadata) => size += metadata.len(),
                    Err(_) => {}
                }
            }
        }
        size
    }

    /// SIGKILL, as a node's end would do.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("ours to kill");
        self.child.wait().expect("ours to wait for");
    }

    /// Starts again on the same port, after [`DockerRegistry::kill`].
    pub(crate) fn start_again(&mut self) {
        let config = self.folder.path().join("config.yml");
        let text = std::fs::read_to_string(&config).expect("written before");
        std::fs::write(&config, text.replace("127.0.0.1:0", &self.address)).expect("writable");
        let (child, address) = serve(&config);
        assert_eq!(address, self.address);
        self.child = child;
    }

    /// `registry garbage-collect`, behind the running registry's back.
    pub(crate) fn collect_garbage(&self) {
        let config = self.folder.path().join("config.yml");
        let done = program().arg("garbage-collect").arg("--delete-untagged").arg(config).output();
        let done = done.expect("the registry's program: run tests/run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl DockerRegistryBuilder {
    /// Asks for [`USER`] and [`PASSWORD`].
    pub(crate) fn password(mut self) -> Self {
        let path = self.folder.path().join("htpasswd");
        let mut htpasswd = Command::new("htpasswd")
            .args(["-Bic", path.to_str().expect("UTF-8"), USER])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("htpasswd: run tests/run");
        htpasswd.stdin.take().expect("piped").write_all(PASSWORD.as_bytes()).expect("reads");
        assert!(htpasswd.wait().expect("ours").success());
        self.section(&format!("auth: {{htpasswd: {{realm: nauta-test, path: '{}'}}}}", path.display()));
        self
    }

    /// Asks for tokens of the token server at `realm` that are signed with a certificate of `authority` (PEM).
    pub(crate) fn tokens(mut self, realm: &str, authority: &str) -> Self {
        let path = self.folder.path().join("tokens.pem");
        std::fs::write(&path, authority).expect("writable");
        let bundle = path.display();
        self.section(&format!(
            "auth: {{token: {{realm: '{realm}', service: nauta-test, issuer: nauta-test, rootcertbundle: '{bundle}'}}}}"
        ));
        self
    }

    pub(crate) fn tls(mut self, identity: &Identity) -> Self {
        let (certificate, key) = (self.folder.path().join("tls.pem"), self.folder.path().join("tls.key"));
        std::fs::write(&certificate, &identity.certificate).expect("writable");
        std::fs::write(&key, identity.key.serialize_pem()).expect("writable");
        self.http = format!(", tls: {{certificate: '{}', key: '{}'}}", certificate.display(), key.display());
        self
    }

    fn section(&mut self, text: &str) {
        self.sections.push_str(text);
        self.sections.push('\n');
    }

    /// Keeps blobs there, such as on a small file system.
    pub(crate) fn storage(mut self, folder: &Path) -> Self {
        self.storage = Some(folder.to_owned());
        self
    }

    pub(crate) fn start(self) -> DockerRegistry {
        let storage = self.storage.unwrap_or_else(|| self.folder.path().join("storage"));
        let config = self.folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: '{}'}}\n  \
             delete: {{enabled: true}}\n{}http: {{addr: '127.0.0.1:0'{}}}\n",
            storage.display(),
            self.sections,
            self.http
        );
        std::fs::write(&config, text).expect("writable");
        let (child, address) = serve(&config);
        DockerRegistry { child, folder: self.folder, address }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    Command::new(std::env::var_os("NAUTA_TEST_REGISTRY_PROGRAM").unwrap_or_else(|| "docker-registry".into()))
}

/// Starts the process and waits until it says where it listens.
fn serve(config: &Path) -> (Child, String) {
    let mut child = program()
        .arg("serve")
        .arg(config)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the registry cannot be started: run tests/run");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address = rest.split([',', '"', ' ']).next().expect("an address").to_owned();
            // The pipe must not fill up, or the registry stops.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return (child, address);
        }
        said += &line;
        said.push('\n');
    }
    let _ = child.wait();
    panic!("the registry did not start:\n{said}");
}
