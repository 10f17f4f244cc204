//! What real runs looked like to whoever watched them, told again with faults: the end that nauta sees must be the one that was.
//!
//! The recordings in `tests/cluster/fixtures` are made anew by `NAUTA_TEST_UPDATE=1 cargo test --test main cluster::simulation::record`.

mod end;
mod faults;
mod record;
mod server;
mod submits;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nauta::cluster::{Cluster, ClusterAddress};
use serde_json::{Value, json};

use self::server::{ApiServer, Entry};

/// A run as it was.
struct Recording {
    name: String,
    run: String,
    /// Its exit code, known from what was done to it.
    code: u8,
    entries: Vec<Entry>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/fixtures")
}

impl Recording {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("readable");
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let head = lines.next().expect("a first line");
        let entry = |mut line: Value| Entry {
            version: line["version"].as_u64().expect("a version"),
            kind: line["kind"].as_str().expect("a kind").to_owned(),
            what: line["what"].as_str().expect("a type").to_owned(),
            object: line["object"].take(),
        };
        Self {
            name: path.file_stem().and_then(|name| name.to_str()).expect("text").to_owned(),
            run: head["run"].as_str().expect("a name").to_owned(),
            code: head["code"].as_u64().and_then(|code| u8::try_from(code).ok()).expect("a code"),
            entries: lines.map(entry).collect(),
        }
    }

    fn write(&self) {
        let mut text = format!("{}\n", json!({ "run": self.run, "code": self.code }));
        for Entry { version, kind, what, object } in &self.entries {
            text.push_str(&json!({ "version": version, "kind": kind, "what": what, "object": object }).to_string());
            text.push('\n');
        }
        std::fs::create_dir_all(folder()).expect("created");
        std::fs::write(folder().join(format!("{}.jsonl", self.name)), text).expect("written");
    }

    /// All there are, by name.
    fn all() -> Vec<Arc<Self>> {
        let entries = std::fs::read_dir(folder()).expect("recordings").flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let all: Vec<Arc<Self>> = paths.iter().map(|path| Arc::new(Self::read(path))).collect();
        assert!(all.len() > 10, "the recordings are missing");
        all
    }

    /// Whether anything of it is gone in the end, and with it whatever nobody saw in time. Kubernetes deletes pods of a failed
    /// Job, also those that have ended meanwhile.
    fn forgets(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind != "Event" && entry.what == "DELETED")
    }

    /// Whether its Job is gone in the end.
    fn is_deleted(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == "Job" && entry.what == "DELETED")
    }

    /// From when on its Job says that all is well; never when it does not.
    fn evidence(&self) -> usize {
        let is_complete = |entry: &Entry| {
            let conditions = entry.object["status"]["conditions"].as_array();
            entry.kind == "Job"
                && conditions
                    .is_some_and(|all| all.iter().any(|one| one["type"] == "Complete" && one["status"] == "True"))
        };
        self.entries.iter().position(is_complete).unwrap_or(usize::MAX)
    }
}

/// nauta's own client of a simulated server.
async fn client(server: &ApiServer) -> Cluster {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config");
    std::fs::write(&path, server.kubeconfig()).expect("written");
    let address = ClusterAddress { kubeconfig: vec![path], ..ClusterAddress::default() };
    Cluster::connect(&address).await.expect("nothing is asked yet")
}
