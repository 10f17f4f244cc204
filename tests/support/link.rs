//! A TCP link between nauta and a server that can be cut, and that can go dead without anybody being told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How soon a fault reaches a connection on which nothing moves.
const TICK: Duration = Duration::from_millis(50);

/// The link; nothing new goes over it when this is dropped.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    /// Connections that were opened before so many were cut, or went dead.
    opened: AtomicU64,
    cut_below: AtomicU64,
    dead_below: AtomicU64,
}

impl Link {
    /// In front of `server` (`address:port`).
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.opened.fetch_add(1, Ordering::SeqCst);
                let (shared, server) = (Arc::clone(&shared), server.clone());
                thread::spawn(move || connect(&client, &server, number, &shared));
            }
        });
        Self { address, state }
    }

    /// All connections end at once.
    pub(crate) fn cut(&self) {
        self.state.cut_below.store(self.state.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Nothing moves any more on the connections of now, and nobody is told; new ones are well.
    pub(crate) fn go_dead(&self) {
        self.state.dead_below.store(self.state.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// How many connections there were.
    pub(crate) fn opened(&self) -> u64 {
        self.state.opened.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

/// A server that cannot be reached closes the connection, as a killed one does.
fn connect(client: &TcpStream, server: &str, number: u64, state: &Arc<State>) {
    let Ok(server) = TcpStream::connect(server) else { return };
    for stream in [client, &server] {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(TICK)).expect("a socket");
    }
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server, number, state));
        pass(&server, client, number, state);
    });
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, number: u64, state: &State) {
    let mut buffer = vec![0; 64 * 1024];
    let is_cut = || number < state.cut_below.load(Ordering::SeqCst);
    while !is_cut() {
        if number < state.dead_below.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) if to.write_all(&buffer[..n]).is_ok() => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            _ => break,
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}
