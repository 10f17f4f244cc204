//! An HTTP server between nauta and the real one that fails on request; alone, a scripted server.
//!
//! A script looks at each request's head and says what happens to it. One request per connection, so that a fault hits
//! exactly the request it is meant for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// In lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path.contains(path)
    }

    pub(crate) fn body_len(&self) -> u64 {
        self.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0)
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// It goes on to the real server.
    Pass,
    /// It is answered here; its body is read to the end first.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// So many bytes of its body go on, then both connections are reset.
    CutBody(u64),
    /// So many bytes of its body are read, then nothing moves any more.
    StallBody(u64),
    /// It goes on; of the answer (head included) so many bytes come back, then the connection closes.
    CutReply(u64),
    /// It goes on; of the answer (head included) so many bytes come back, then nothing moves any more.
    StallReply(u64),
    /// Its body goes on at so many bytes per tenth of a second.
    Slow(usize),
}

impl Action {
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string().into_bytes() }
    }

    pub(crate) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self::Answer { status, headers: vec![("Location", to.into())], body: Vec::new() }
    }
}

type Script = Arc<dyn Fn(&Head) -> Action + Send + Sync>;

/// The running server; it ends when this is dropped.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Head>>>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Between nauta and `upstream` (`127.0.0.1:port`).
    pub(crate) async fn before(upstream: &str, script: impl Fn(&Head) -> Action + Send + Sync + 'static) -> Self {
        Self::start(Some(upstream.to_owned()), Arc::new(script)).await
    }

    /// A server of its own.
    pub(crate) async fn alone(script: impl Fn(&Head) -> Action + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script)).await
    }

    async fn start(upstream: Option<String>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let (script, seen, upstream) = (Arc::clone(&script), Arc::clone(&seen), upstream.clone());
                    connections.spawn(async move { serve(client, upstream, script, seen).await });
                }
            }
        });
        Self { address, seen, task }
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Head> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }

    /// How many requests so far had this method and this in their path.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.seen().iter().filter(|head| head.is(method, path)).count()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Network errors here are what the test has asked for, so they only end the connection.
async fn serve(
    mut client: TcpStream,
    upstream: Option<String>,
    script: Script,
    seen: Arc<Mutex<Vec<Head>>>,
) -> Option<()> {
    let (head, raw, early) = read_head(&mut client).await?;
    let action = script(&head);
    seen.lock().expect("no test panics while it holds this").push(head.clone());
    let left = head.body_len().saturating_sub(early.len() as u64);
    if let Action::Answer { status, headers, body } = action {
        tokio::io::copy(&mut (&mut client).take(left), &mut tokio::io::sink()).await.ok()?;
        return answer(&mut client, &head, status, &headers, &body).await;
    }
    if let Action::StallBody(bytes) = action {
        let rest = bytes.saturating_sub(early.len() as u64);
        tokio::io::copy(&mut (&mut client).take(rest), &mut tokio::io::sink()).await.ok()?;
        return std::future::pending().await;
    }
    let mut server = TcpStream::connect(upstream?).await.ok()?;
    server.write_all(&raw).await.ok()?;
    send_body(&mut client, &mut server, &early, left, &action).await?;
    relay_reply(&mut client, &mut server, &action).await
}

async fn send_body(
    client: &mut TcpStream,
    server: &mut TcpStream,
    early: &[u8],
    left: u64,
    action: &Action,
) -> Option<()> {
    match action {
        Action::CutBody(bytes) => {
            let now = early.len().min(usize::try_from(*bytes).expect("small"));
            server.write_all(&early[..now]).await.ok()?;
            tokio::io::copy(&mut client.take(bytes - now as u64), server).await.ok()?;
            for stream in [client, server] {
                stream.set_zero_linger().ok()?; // closing resets
            }
            None
        }
        Action::Slow(bytes) => {
            server.write_all(early).await.ok()?;
            let mut left = left;
            while left > 0 {
                let now = left.min(*bytes as u64);
                left -= tokio::io::copy(&mut client.take(now), server).await.ok()?;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await; // the rate is the fault
            }
            Some(())
        }
        _ => {
            server.write_all(early).await.ok()?;
            tokio::io::copy(&mut client.take(left), server).await.ok().map(drop)
        }
    }
}

async fn relay_reply(client: &mut TcpStream, server: &mut TcpStream, action: &Action) -> Option<()> {
    match action {
        Action::CutReply(bytes) => {
            let mut reply = Vec::new();
            server.read_to_end(&mut reply).await.ok()?; // the server has done its work
            reply.truncate(usize::try_from(*bytes).expect("small"));
            client.write_all(&reply).await.ok()
        }
        Action::StallReply(bytes) => {
            tokio::io::copy(&mut server.take(*bytes), client).await.ok()?;
            std::future::pending().await
        }
        _ => tokio::io::copy(server, client).await.ok().map(drop),
    }
}

/// The head as a value, as bytes to send on (asking for no further request), and what of the body came with it.
async fn read_head(client: &mut TcpStream) -> Option<(Head, Vec<u8>, Vec<u8>)> {
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    };
    let early = buffer.split_off(end + 4);
    let text = String::from_utf8(buffer[..end].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let raw = format!("{text}\r\nConnection: close\r\n\r\n").into_bytes();
    Some((Head { method, path, headers }, raw, early))
}

async fn answer(
    client: &mut TcpStream,
    head: &Head,
    status: u16,
    headers: &[(&str, String)],
    body: &[u8],
) -> Option<()> {
    let mut lines = vec![format!("HTTP/1.1 {status} Scripted"), "Connection: close".to_owned()];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    let reply = lines.join("\r\n") + "\r\n\r\n";
    client.write_all(reply.as_bytes()).await.ok()?;
    if head.method != "HEAD" {
        client.write_all(body).await.ok()?;
    }
    client.shutdown().await.ok()
}
