//! An API server that is not one: objects of three kinds in memory, list and watch over real connections, and faults of every
//! kind, drawn from a seed. It knows as much of Kubernetes as `nauta` asks for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::faults::{Faults, Reaction, WatchFault};

type Body = BoxBody<Bytes, std::io::Error>;

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) kind: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) what: String,
    pub(super) object: Value,
}

/// All that the server knows.
#[derive(Default)]
pub(super) struct World {
    pub(super) objects: BTreeMap<(String, String), Value>,
    log: Vec<Entry>,
    /// What is older than this is forgotten.
    compacted: u64,
    version: u64,
    /// Restarts so far: watches from before are cut.
    starts: u64,
    /// Nobody may read Secrets.
    hides_secrets: bool,
}

impl World {
    pub(super) fn apply(&mut self, entry: Entry) {
        let key = (entry.kind.clone(), name_of(&entry.object));
        self.version = self.version.max(entry.version);
        match entry.what.as_str() {
            "DELETED" => drop(self.objects.remove(&key)),
            _ => drop(self.objects.insert(key, entry.object.clone())),
        }
        self.log.push(entry);
    }

    /// Makes an object that is sent, as the server would.
    fn create(&mut self, kind: &str, mut object: Value) -> Result<Value, (u16, &'static str)> {
        let key = (kind.to_owned(), name_of(&object));
        if self.objects.contains_key(&key) {
            return Err((409, "AlreadyExists"));
        }
        self.version += 1;
        let version = self.version;
        object["metadata"]["uid"] = json!(format!("uid-{version}"));
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.apply(Entry { version, kind: kind.to_owned(), what: "ADDED".to_owned(), object: object.clone() });
        Ok(object)
    }

    /// Deletes an object and all that it owns: the garbage collector is at once.
    fn delete(&mut self, kind: &str, name: &str, uid: Option<&str>) -> Result<Value, (u16, &'static str)> {
        let object = self.objects.get(&(kind.to_owned(), name.to_owned())).cloned().ok_or((404, "NotFound"))?;
        if uid.is_some_and(|uid| object["metadata"]["uid"] != uid) {
            return Err((409, "Conflict"));
        }
        let own = object["metadata"]["uid"].clone();
        self.version += 1;
        let (version, what) = (self.version, "DELETED".to_owned());
        self.apply(Entry { version, kind: kind.to_owned(), what, object: object.clone() });
        let is_owned = |other: &Value| {
            let owners = other["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            owners.iter().any(|owner| owner["uid"] == own)
        };
        let owned: Vec<_> = self.objects.iter().filter(|(_, other)| is_owned(other)).map(|(k, _)| k.clone()).collect();
        for (kind, name) in owned {
            let _ = self.delete(&kind, &name, None);
        }
        Ok(object)
    }

    fn restart(&mut self) {
        self.starts += 1;
        self.compacted = self.version;
    }
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// A running server; it ends when this is dropped.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    world: Mutex<World>,
    /// Rises with every change of the world.
    changed: watch::Sender<u64>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic")
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl ApiServer {
    pub(super) async fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            changed: watch::Sender::new(0),
            faults: Mutex::new(faults),
            requests: Mutex::default(),
        });
        let mut task = JoinSet::new();
        let of_task = Arc::clone(&shared);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
                    // A connection that breaks is what the test has asked for.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, shared, _task: task }
    }

    /// A kubeconfig's text that leads here.
    pub(super) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sim\nclusters:\n- name: sim\n  cluster:\n    server: http://{}\n\
             users:\n- name: sim\n  user: {{}}\ncontexts:\n- name: sim\n  context:\n    cluster: sim\n    user: sim\n    namespace: sim\n",
            self.address
        )
    }

    /// Lets something happen, and everybody who watches know.
    pub(super) fn apply(&self, entry: Entry) {
        self.shared.world().apply(entry);
        self.shared.tell();
    }

    /// As if it had been started anew with no memory of what was before.
    pub(super) fn restart(&self) {
        self.shared.world().restart();
        self.shared.tell();
    }

    /// Nobody may read Secrets.
    pub(super) fn hide_secrets(&self) {
        self.shared.world().hides_secrets = true;
    }

    /// No faults from now on.
    pub(super) fn heal(&self) {
        self.shared.faults.lock().expect("no panic").heal();
    }

    /// The objects there are: kind, name, and uids of owners.
    pub(super) fn objects(&self) -> Vec<(String, String, Value)> {
        let world = self.shared.world();
        world.objects.iter().map(|((kind, name), object)| (kind.clone(), name.clone(), object.clone())).collect()
    }

    /// What was asked so far: method and path.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no panic").clone()
    }
}

/// What a request is about.
struct Asked {
    kind: &'static str,
    name: Option<String>,
    query: BTreeMap<String, String>,
}

impl Asked {
    fn parse(request: &Request<Incoming>) -> Option<Self> {
        let parts: Vec<&str> = request.uri().path().split('/').collect();
        let at = parts.iter().position(|part| *part == "namespaces")?;
        let kind = match *parts.get(at + 2)? {
            "jobs" => "Job",
            "pods" => "Pod",
            "events" => "Event",
            "services" => "Service",
            "secrets" => "Secret",
            _ => return None,
        };
        let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
        let query = query.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        Some(Self { kind, name: parts.get(at + 3).map(ToString::to_string), query })
    }

    fn wants(&self, object: &Value) -> bool {
        let selected = |selector: Option<&String>, find: &dyn Fn(&str) -> Value| {
            let pairs = selector.map_or("", String::as_str).split(',').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().all(|(key, value)| find(key.trim()) == value)
        };
        let label = |key: &str| object["metadata"]["labels"][key].clone();
        let field = |key: &str| object.pointer(&format!("/{}", key.replace('.', "/"))).cloned().unwrap_or_default();
        selected(self.query.get("labelSelector"), &label) && selected(self.query.get("fieldSelector"), &field)
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let line = format!("{} {}", request.method(), request.uri());
    shared.requests.lock().expect("no panic").push(line);
    let Some(asked) = Asked::parse(&request) else { return Ok(failure(404, "NotFound")) };
    let is_watch = asked.query.get("watch").is_some_and(|watch| watch != "false");
    let method = request.method().clone();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let reaction = shared.faults.lock().expect("no panic").reaction(&method, is_watch);
    match reaction {
        Reaction::Refuse(code) => return Ok(failure(code, "")),
        Reaction::Cut => return Err(cut()),
        Reaction::Stall => return std::future::pending().await,
        Reaction::Late(by) => tokio::time::sleep(by).await,
        Reaction::Serve | Reaction::Swallow | Reaction::Deny(_) => {}
    }
    if is_watch {
        return Ok(watching(&shared, asked));
    }
    let served = serve(&shared, &method, &asked, &body);
    match reaction {
        // The work is done, and nobody hears of it.
        Reaction::Swallow => Err(cut()),
        Reaction::Deny(code) => Ok(failure(code, "")),
        _ => Ok(served),
    }
}

fn cut() -> std::io::Error {
    std::io::Error::other("cut")
}

fn serve(shared: &Shared, method: &Method, asked: &Asked, body: &[u8]) -> Response<Body> {
    let mut world = shared.world();
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let outcome = match (method, &asked.name) {
        (&Method::GET, _) if asked.kind == "Secret" && world.hides_secrets => Err((403, "Forbidden")),
        (&Method::POST, _) if asked.query.contains_key("dryRun") => Ok(sent),
        (&Method::POST, _) => world.create(asked.kind, sent),
        (&Method::DELETE, Some(name)) => world.delete(asked.kind, name, sent["preconditions"]["uid"].as_str()),
        (_, Some(name)) => world.objects.get(&(asked.kind.to_owned(), name.clone())).cloned().ok_or((404, "NotFound")),
        (_, None) => {
            let of_kind = world.objects.iter().filter(|((kind, _), object)| kind == asked.kind && asked.wants(object));
            let items: Vec<&Value> = of_kind.map(|(_, object)| object).collect();
            Ok(json!({
                "kind": format!("{}List", asked.kind), "apiVersion": api_version(asked.kind),
                "metadata": { "resourceVersion": world.version.to_string() }, "items": items,
            }))
        }
    };
    drop(world);
    shared.tell();
    match outcome {
        Ok(object) => whole(StatusCode::OK, &object),
        Err((code, reason)) => failure(code, reason),
    }
}

fn api_version(kind: &str) -> &'static str {
    if kind == "Job" { "batch/v1" } else { "v1" }
}

fn whole(code: StatusCode, value: &Value) -> Response<Body> {
    let body = http_body_util::Full::new(Bytes::from(value.to_string())).map_err(|never: Infallible| match never {});
    let response = Response::builder().status(code).header("Content-Type", "application/json");
    response.body(body.boxed()).expect("a valid response")
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": match code {
            403 => "it is forbidden: User \"ada\" cannot get resource \"secrets\" in API group \"\" in the namespace".to_owned(),
            _ => format!("simulated {code} {reason}"),
        },
        "metadata": {},
    })
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    whole(StatusCode::from_u16(code).expect("a code"), &status(code, reason))
}

/// A watch, with the faults that are drawn for it.
fn watching(shared: &Arc<Shared>, asked: Asked) -> Response<Body> {
    let (lines_tx, lines) = mpsc::channel::<Result<Bytes, std::io::Error>>(16);
    let shared = Arc::clone(shared);
    let fault = shared.faults.lock().expect("no panic").watch();
    tokio::spawn(async move {
        let _ = tell_changes(&shared, &asked, fault, &lines_tx).await;
    });
    let frames = tokio_stream(lines).map(|line| line.map(Frame::data));
    let response = Response::builder().header("Content-Type", "application/json");
    response.body(BodyExt::boxed(StreamBody::new(frames))).expect("a valid response")
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}

type Lines = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Sends what changes from the version on that was asked for; `None` when nobody listens any more or the fault says so.
async fn tell_changes(shared: &Shared, asked: &Asked, fault: WatchFault, lines: &Lines) -> Option<()> {
    let mut version: u64 = asked.query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut changed = shared.changed.subscribe();
    let started = shared.world().starts;
    let line = |what: &str, object: &Value| Ok(Bytes::from(format!("{}\n", json!({ "type": what, "object": object }))));
    let mut left = fault.cut_after.unwrap_or(usize::MAX);
    loop {
        let (entries, is_old, restarted) = {
            let world = shared.world();
            let new = world.log.iter().filter(|entry| entry.version > version && entry.kind == asked.kind);
            let new: Vec<Entry> = new.filter(|entry| asked.wants(&entry.object)).cloned().collect();
            (new, version < world.compacted, world.starts != started)
        };
        if restarted {
            let _ = lines.send(Err(cut())).await;
            return None;
        }
        if is_old || fault.is_gone {
            lines.send(line("ERROR", &status(410, "Expired"))).await.ok()?;
            return None;
        }
        for entry in entries {
            version = entry.version;
            let (lost, twice, late) = shared.faults.lock().expect("no panic").entry();
            tokio::time::sleep(late).await;
            if lost {
                continue;
            }
            for _ in 0..=u8::from(twice) {
                if left == 0 {
                    if fault.is_half_open {
                        // The connection stands, and nothing comes any more.
                        return std::future::pending().await;
                    }
                    let _ = lines.send(Err(cut())).await;
                    return None;
                }
                left -= 1;
                lines.send(line(&entry.what, &entry.object)).await.ok()?;
            }
        }
        if asked.query.contains_key("allowWatchBookmarks") && fault.has_bookmarks {
            let bookmark = json!({
                "kind": asked.kind, "apiVersion": api_version(asked.kind),
                "metadata": { "resourceVersion": version.to_string() },
            });
            lines.send(line("BOOKMARK", &bookmark)).await.ok()?;
        }
        tokio::select! {
            changed = changed.changed() => changed.ok()?,
            () = lines.closed() => return None,
            () = tokio::time::sleep(Duration::from_mins(5)) => return None,
        }
    }
}
