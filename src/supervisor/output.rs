//! The way of the program's output: from its pipes to the journal, and from there to the container's own output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

/// The words of a program that writes line upon line are gathered for so long: a line is not worth waking all who follow it.
const GATHER: Duration = Duration::from_millis(10);
/// What a pipe holds meanwhile, in bytes, before the program has to wait; as much as any user may ask for (`pipe(7)`).
const ROOM: i32 = 1024 * 1024;

/// The program's pipes on their way to the journal.
pub(super) struct Output(JoinHandle<()>);

impl Output {
    pub(super) fn read(program: Program, journal: &Arc<Journal>) -> Self {
        let Program { stdout, stderr, .. } = program;
        let pipes =
            vec![(OwnedFd::from(stdout).into(), Stream::Stdout), (OwnedFd::from(stderr).into(), Stream::Stderr)];
        let journal = Arc::clone(journal);
        Self(tokio::task::spawn_blocking(move || pump(pipes, &journal)))
    }

    /// Until the last byte has arrived, or nobody should hold the pipes any more.
    pub(super) async fn drain(self) {
        let _ = timeout(STUCK, self.0).await;
    }
}

/// Reads to the end of all pipes. What is there at the same time is kept in their order: a program's last words on standard
/// error come behind what it wrote before.
fn pump(mut pipes: Vec<(File, Stream)>, journal: &Journal) {
    let may_gather = pipes.iter().all(|(pipe, _)| fcntl(pipe, FcntlArg::F_SETPIPE_SZ(ROOM)).is_ok());
    let mut buffer = vec![0; LARGEST];
    let mut before: Option<Instant> = None;
    while !pipes.is_empty() {
        let mut ready = ready(&pipes).into_iter();
        let is_stream_of_words = before.is_some_and(|before| before.elapsed() < GATHER);
        let mut moved = 0;
        pipes.retain_mut(|(pipe, stream)| {
            if ready.next() == Some(false) {
                return true;
            }
            match pipe.read(&mut buffer) {
                // The end of a pipe is no word of the program's.
                Ok(0) => false,
                Ok(n) => {
                    journal.append(*stream, &buffer[..n]);
                    moved += n;
                    true
                }
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            }
        });
        if may_gather && is_stream_of_words && moved < LARGEST {
            std::thread::sleep(GATHER);
        }
        before = Some(Instant::now());
    }
}

/// Waits until one of the pipes has something, or its end; gives which.
fn ready(pipes: &[(File, Stream)]) -> Vec<bool> {
    let mut asked: Vec<PollFd> = pipes.iter().map(|(pipe, _)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
    // Where it cannot be asked, reading says why.
    match poll(&mut asked, PollTimeout::NONE) {
        Ok(_) => asked.iter().map(|one| one.any().unwrap_or(true)).collect(),
        Err(Errno::EINTR) => vec![false; pipes.len()],
        Err(_) => vec![true; pipes.len()],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_once_is_in_order_and_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::create(folder.path()).expect("a journal");
        let (stdout, mut out) = io::pipe().expect("a pipe");
        let (stderr, mut err) = io::pipe().expect("a pipe");
        let file = |pipe: io::PipeReader| File::from(OwnedFd::from(pipe));
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}\n")).collect();
        err.write_all(b"last words").expect("room");
        drop(err);
        out.write_all(b"before\n").expect("room");
        std::thread::scope(|scope| {
            let more =
                scope.spawn(|| lines.iter().try_for_each(|line| out.write_all(line.as_bytes())).map(|()| drop(out)));
            pump(vec![(file(stdout), Stream::Stdout), (file(stderr), Stream::Stderr)], &journal);
            more.join().expect("no panic").expect("read to the end");
        });
        let (mut offset, mut found) = (0, Vec::new());
        while let Found::Record(record, next) = journal.read(offset).expect("readable") {
            offset = next;
            found.push(record);
        }
        let text = |stream| {
            found.iter().filter(move |record| record.stream == stream).flat_map(|record| record.bytes.to_vec())
        };
        assert!(text(Stream::Stdout).eq(format!("before\n{}", lines.concat()).bytes()));
        assert!(text(Stream::Stderr).eq(b"last words".iter().copied()));
        assert!(found[0].stream == Stream::Stdout && found[1].stream == Stream::Stderr, "{:?}", &found[..2]);
    }
}
