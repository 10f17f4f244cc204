//! The way of the program's output: from its pipes to the journal, and from there to the container's own output.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::journal::{Found, Journal};
use super::program::Program;
use crate::event::Stream;
use crate::sync::journal::LARGEST;

/// How long nothing may move before the rest is given up: a child may hold the program's pipe open, an engine may not
/// read.
const STUCK: Duration = Duration::from_secs(2);

/// The program's pipes on their way to the journal.
pub(super) struct Output(Vec<JoinHandle<()>>);

impl Output {
    pub(super) fn read(program: Program, journal: &Arc<Journal>) -> Self {
        let Program { stdout, stderr, .. } = program;
        let pump = |mut pipe: Box<dyn Read + Send>, stream| {
            let journal = Arc::clone(journal);
            tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; LARGEST];
                loop {
                    match pipe.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(n) => journal.append(stream, &buffer[..n]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return,
                    }
                }
            })
        };
        Self(vec![pump(Box::new(stdout), Stream::Stdout), pump(Box::new(stderr), Stream::Stderr)])
    }

    /// Until the last byte has arrived, or nobody should hold the pipe any more.
    pub(super) async fn drain(self) {
        for pump in self.0 {
            let _ = timeout(STUCK, pump).await;
        }
    }
}

/// The journal on its way to the container's own output, so that `kubectl logs` and `docker logs` show it. On a thread
/// of its own: an engine that does not read must not stop the program.
pub(super) struct PassedOn {
    journal: Arc<Journal>,
    offset: watch::Receiver<u64>,
}

impl PassedOn {
    pub(super) fn start(journal: Arc<Journal>) -> Self {
        let (offset_tx, offset) = watch::channel(0);
        let source = Arc::clone(&journal);
        std::thread::spawn(move || pass_on(&source, &offset_tx));
        Self { journal, offset }
    }

    /// Until everything is passed on, or the engine reads no more.
    pub(super) async fn drain(mut self) {
        let end = *self.journal.end().borrow();
        while *self.offset.borrow_and_update() < end
            && matches!(timeout(STUCK, self.offset.changed()).await, Ok(Ok(())))
        {}
    }
}

fn pass_on(journal: &Journal, offset_tx: &watch::Sender<u64>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let mut grown = journal.end();
    let mut offset = 0;
    loop {
        match journal.read(offset) {
            Ok(Found::Record(record, next)) => {
                offset = next;
                write_through(record.stream, &record.bytes);
            }
            Ok(Found::Gap(_, next)) => offset = next,
            Ok(Found::End) => {
                if runtime.block_on(grown.changed()).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
        offset_tx.send_replace(offset);
    }
}

fn write_through(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
        Stream::Supervisor => io::stderr().write_all(&[b"nauta: ", bytes].concat()),
    };
}
