//! nauta as `ssh`, `rsh` and `pdsh`: what programs call that start others.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::codec::Framed;
use tokio_util::io::ReaderStream;

use super::protocol::{Answer, Ask, codec, plain};
use super::{options, pdsh};
use crate::env_vars;
use crate::event::{End, Reason};

/// The names under which nauta is a front.
pub(super) const NAMES: [&str; 3] = ["ssh", "rsh", "pdsh"];
/// The exit code where the command could not be run: `ssh`'s own.
const FAILED: u8 = 255;
/// Bytes of input in a piece.
const PIECE: usize = 64 * 1024;

/// Runs as a front where the program's name is one of theirs; gives the exit code.
pub(in crate::supervisor) fn front(arguments: &[OsString]) -> Option<u8> {
    let name = Path::new(arguments.first()?).file_name()?.to_str().filter(|name| NAMES.contains(name))?;
    let words: Vec<String> = arguments[1..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let outcome = LocalSet::new().block_on(&runtime, async {
            if name == "pdsh" { on_many(pdsh::read(&words)?).await } else { on_one(options::read(&words)?).await }
        });
        // A thread may still wait for input that never comes.
        runtime.shutdown_background();
        outcome
    });
    Some(outcome.unwrap_or_else(|message| {
        let _ = writeln!(io::stderr(), "{name}: {message}");
        FAILED
    }))
}

async fn on_one(wanted: options::Wanted) -> Result<u8, String> {
    converse(&wanted.host, &wanted.command, wanted.input, &mut show).await
}

async fn on_many(wanted: pdsh::Wanted) -> Result<u8, String> {
    let wanted = &wanted;
    let sessions = stream::iter(wanted.hosts.iter().enumerate()).map(|(place, host)| async move {
        let command = wanted.command_for(host, place);
        let (mut lines, mut errors) = (Lines::of(host, wanted.named), Lines::of(host, wanted.named));
        let mut show_lines = |is_error: bool, bytes: &[u8]| {
            let lines = if is_error { &mut errors } else { &mut lines };
            show(is_error, &lines.whole(bytes));
        };
        let outcome = converse(host, &command, false, &mut show_lines).await;
        show(false, &lines.rest());
        show(true, &errors.rest());
        let code = outcome.unwrap_or_else(|message| {
            let _ = writeln!(io::stderr(), "pdsh@nauta: {host}: {message}");
            FAILED
        });
        if code != 0 {
            let _ = writeln!(io::stderr(), "pdsh@nauta: {host}: exited with code {code}");
        }
        code
    });
    let codes: Vec<u8> = sessions.buffer_unordered(wanted.at_once).collect().await;
    Ok(if wanted.code_of_all { codes.into_iter().max().unwrap_or_default() } else { 0 })
}

fn show(is_error: bool, bytes: &[u8]) {
    let _ = if is_error {
        io::stderr().write_all(bytes)
    } else {
        io::stdout().write_all(bytes).and_then(|()| io::stdout().flush())
    };
}

/// Runs a command on a host to its end; gives its exit code.
async fn converse(host: &str, command: &str, input: bool, show: &mut impl FnMut(bool, &[u8])) -> Result<u8, String> {
    let mut signals = Signals::listen().map_err(|error| error.to_string())?;
    let (mut asks, mut answers) = Framed::new(connect().await?, codec()).split();
    let (asks_tx, mut asked) = mpsc::channel::<(Ask, Bytes)>(4);
    // On its own: a command that does not read its input may still have something to say.
    spawn_local(async move {
        while let Some(ask) = asked.recv().await
            && asks.send(ask).await.is_ok()
        {}
    });
    let first = (Ask::Run { host: host.to_owned() }, Bytes::copy_from_slice(command.as_bytes()));
    let gone = |_| format!("{host}: the supervisor is gone");
    asks_tx.send(first).await.map_err(gone)?;
    spawn_local(pass_input(input, asks_tx.clone()));
    let mut signalled = false;
    loop {
        tokio::select! {
            answer = answers.next() => match answer {
                Some(Ok((Answer::Output, bytes))) => show(false, &bytes),
                Some(Ok((Answer::Error, bytes))) => show(true, &bytes),
                Some(Ok((Answer::Ended { end }, _))) => return code(&end),
                Some(Ok((Answer::Refused { message }, _))) => return Err(message),
                Some(Ok((Answer::Killed { .. }, _))) => {}
                None | Some(Err(_)) => return Err(format!("the connection to {host} broke")),
            },
            number = signals.next() => {
                // The second one does not wait for the command: hanging up ends it there.
                if std::mem::replace(&mut signalled, true) {
                    return Err(format!("ended by signal {number}"));
                }
                let asks_tx = asks_tx.clone();
                spawn_local(async move { asks_tx.send(plain(Ask::Signal { signal: number })).await });
            }
        }
    }
}

fn code(end: &End) -> Result<u8, String> {
    match &end.reason {
        Reason::NotStarted { message } if end.code == crate::event::NOT_RUN => Err(message.clone()),
        Reason::NotStarted { message } => {
            let _ = writeln!(io::stderr(), "{message}");
            Ok(end.code)
        }
        _ => Ok(end.code),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge that reads the environment")]
async fn connect() -> Result<UnixStream, String> {
    let path = std::env::var_os(env_vars::LAUNCHER).ok_or("this is nauta's, and only rank 0's program can use it")?;
    UnixStream::connect(path).await.map_err(|error| format!("the supervisor does not answer: {error}"))
}

/// Passes standard input on, to its end.
async fn pass_input(input: bool, asks_tx: mpsc::Sender<(Ask, Bytes)>) {
    if input {
        let mut stdin = ReaderStream::with_capacity(tokio::io::stdin(), PIECE);
        while let Some(Ok(piece)) = stdin.next().await {
            if asks_tx.send((Ask::Input, piece)).await.is_err() {
                return;
            }
        }
    }
    let _ = asks_tx.send(plain(Ask::InputEnd)).await;
}

/// Signals that are meant for the command.
struct Signals([(i32, Signal); 4]);

impl Signals {
    fn listen() -> io::Result<Self> {
        let one = |kind: SignalKind| Ok::<_, io::Error>((kind.as_raw_value(), signal(kind)?));
        Ok(Self([
            one(SignalKind::interrupt())?,
            one(SignalKind::terminate())?,
            one(SignalKind::hangup())?,
            one(SignalKind::quit())?,
        ]))
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        let arrivals = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures::future::select_all(arrivals).await.0
    }
}

/// Whole lines, each with its host before it.
struct Lines {
    prefix: String,
    held: Vec<u8>,
}

impl Lines {
    fn of(host: &str, named: bool) -> Self {
        Self { prefix: if named { format!("{host}: ") } else { String::new() }, held: Vec::new() }
    }

    /// What can be shown now.
    fn whole(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let end = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.held.drain(..end).collect();
        lines.split_inclusive(|byte| *byte == b'\n').flat_map(|line| [self.prefix.as_bytes(), line].concat()).collect()
    }

    /// A last line without an end, which it gets.
    fn rest(&mut self) -> Vec<u8> {
        if self.held.is_empty() { Vec::new() } else { self.whole(b"\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_many_hosts_do_not_mix() {
        let mut lines = Lines::of("r-1", true);
        assert_eq!(lines.whole(b"on"), b"");
        assert_eq!(lines.whole(b"e\ntwo\nthr"), b"r-1: one\nr-1: two\n");
        assert_eq!((lines.rest(), lines.rest()), (b"r-1: thr\n".to_vec(), Vec::new()));
        assert_eq!(Lines::of("r-1", false).whole(b"as it is\n"), b"as it is\n");
    }

    #[test]
    fn only_their_names_make_fronts() {
        for name in ["nauta", "/usr/bin/nauta", "sshd", ""] {
            assert_eq!(front(&[name.into(), "r-1".into(), "ls".into()]), None, "{name}");
        }
    }
}
