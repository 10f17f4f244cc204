//! A Docker socket before the real one. Everything passes but what the engine tells of its containers (`/events`): that is
//! lost, late, doubled, or cut, or nothing comes any more on a connection that stands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nauta::docker::DockerSettings;

use super::random::Random;

/// What happens to the events of the engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Telling {
    /// Each is told twice.
    Twice,
    /// Each is told so much later.
    Late(Duration),
    /// So many are told on each connection, then nothing more, and the connection stands.
    Silent(usize),
    /// So many are told on each connection, then it is cut.
    Cut(usize),
    /// The request itself is never answered.
    Never,
    /// Each is lost, doubled, or late as it comes, and each connection falls silent or is cut at some time.
    Drawn(u64),
}

/// The running proxy; no new connections go through it when this is dropped.
pub(crate) struct EngineProxy {
    folder: tempfile::TempDir,
    state: Arc<State>,
}

struct State {
    engine: PathBuf,
    telling: Telling,
    is_closed: AtomicBool,
    subscriptions: AtomicUsize,
    untold: AtomicUsize,
}

/// The socket of the engine that the tests use.
pub(crate) fn engine_socket() -> PathBuf {
    let text = |name: &str| std::env::var(name).ok();
    let settings = DockerSettings {
        host: text("DOCKER_HOST"),
        context: text("DOCKER_CONTEXT"),
        config: text("DOCKER_CONFIG").map(Into::into),
        home: text("HOME").map(Into::into),
        runtime_dir: text("XDG_RUNTIME_DIR").map(Into::into),
        ..DockerSettings::default()
    };
    let host = settings.resolve().expect("an address").to_string();
    let socket = host.split('`').nth(1).and_then(|address| address.strip_prefix("unix://"));
    PathBuf::from(socket.expect("the tests' engine has a unix socket: run tests/run"))
}

impl EngineProxy {
    /// Before the engine that the tests use.
    pub(crate) fn start(telling: Telling) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(folder.path().join("docker.sock")).expect("bound");
        let state = Arc::new(State {
            engine: engine_socket(),
            telling,
            is_closed: AtomicBool::new(false),
            subscriptions: AtomicUsize::new(0),
            untold: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // A connection that breaks is its two ends' trouble.
                thread::spawn(move || drop(serve(client, &state)));
            }
        });
        Self { folder, state }
    }

    /// What `DOCKER_HOST` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// How often somebody asked for events.
    pub(crate) fn subscriptions(&self) -> usize {
        self.state.subscriptions.load(Ordering::SeqCst)
    }

    /// How many events were never told.
    pub(crate) fn untold(&self) -> usize {
        self.state.untold.load(Ordering::SeqCst)
    }
}

impl Drop for EngineProxy {
    fn drop(&mut self) {
        self.state.is_closed.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.folder.path().join("docker.sock"));
    }
}

/// One connection; nauta makes one for each request.
fn serve(mut client: UnixStream, state: &State) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut engine = UnixStream::connect(&state.engine)?;
    engine.write_all(&head)?;
    let first_line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_engine);
        to_engine.shutdown(Shutdown::Write)
    });
    if first_line.contains("/events?") {
        let number = state.subscriptions.fetch_add(1, Ordering::SeqCst);
        tell(BufReader::new(engine), &mut client, state, number)?;
        return client.shutdown(Shutdown::Both);
    }
    std::io::copy(&mut engine, &mut client)?;
    client.shutdown(Shutdown::Write)
}

/// Passes the answer's head on, and of its events what the fault leaves.
fn tell(mut engine: impl BufRead, client: &mut impl Write, state: &State, number: usize) -> std::io::Result<()> {
    if let Telling::Never = state.telling {
        return std::io::copy(&mut engine, &mut std::io::sink()).map(drop);
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if engine.read_line(&mut line)? == 0 {
            return Ok(());
        }
        client.write_all(line.as_bytes())?;
    }
    let mut random = match state.telling {
        Telling::Drawn(seed) => Random::new(seed.wrapping_add(number as u64)),
        _ => Random::new(0),
    };
    let limit = match state.telling {
        Telling::Silent(events) | Telling::Cut(events) => events,
        Telling::Drawn(_) => random.below(6),
        _ => usize::MAX,
    };
    let is_cut = matches!(state.telling, Telling::Cut(_)) || random.below(2) == 0;
    let mut told = 0;
    let mut unread = Vec::new();
    while let Some(piece) = chunk(&mut engine)? {
        unread.extend_from_slice(&piece);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let event: Vec<u8> = unread.drain(..=end).collect();
            if told == limit {
                state.untold.fetch_add(1, Ordering::SeqCst);
                if is_cut && limit < usize::MAX {
                    return Ok(());
                }
                continue;
            }
            told += 1;
            let (times, later) = match state.telling {
                Telling::Twice => (2, Duration::ZERO),
                Telling::Late(later) => (1, later),
                Telling::Drawn(_) => (random.below(3), Duration::from_millis(random.next() % 1000)),
                _ => (1, Duration::ZERO),
            };
            thread::sleep(later); // the delay is the fault
            state.untold.fetch_add(usize::from(times == 0), Ordering::SeqCst);
            for _ in 0..times {
                client.write_all(format!("{:x}\r\n", event.len()).as_bytes())?;
                client.write_all(&[&event[..], b"\r\n"].concat())?;
            }
        }
    }
    client.write_all(b"0\r\n\r\n")
}

/// The next piece of a chunked body; nothing at its end.
fn chunk(from: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut size = String::new();
    from.read_line(&mut size)?;
    let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
    let mut piece = vec![0; size + 2];
    from.read_exact(&mut piece)?;
    piece.truncate(size);
    Ok((size > 0).then_some(piece))
}
