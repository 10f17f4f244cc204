//! The rank's end of a conversation: runs the command and passes on what goes in and out.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::SplitStream;
use futures::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;

use super::protocol::{Answer, Ask, RankCodec, codec, plain};
use super::remotes::{Remotes, Running};
use crate::event::End;

/// How long a child that outlives the command may hold its output open.
const STUCK: Duration = Duration::from_secs(2);
/// Pieces on their way, in either direction.
const PIECES: usize = 16;
/// Bytes in a piece.
const PIECE: usize = 64 * 1024;

type Frames<S> = Framed<S, RankCodec>;
type Answers = mpsc::Sender<(Answer, Bytes)>;

/// Holds a conversation to its end.
pub(in crate::supervisor) async fn serve<S>(stream: S, remotes: Rc<Remotes>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut frames = Frames::new(stream, codec());
    match frames.next().await {
        Some(Ok((Ask::Run { .. }, command))) => run(frames, &String::from_utf8_lossy(&command), &remotes).await,
        Some(Ok((Ask::Inquest, _))) => {
            let casualty = remotes.casualty();
            let _ = frames.send(plain(Answer::Killed { casualty })).await;
        }
        _ => {}
    }
}

async fn run<S>(frames: Frames<S>, command: &str, remotes: &Remotes)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sink, asks) = frames.split();
    let (answers_tx, mut answers) = mpsc::channel::<(Answer, Bytes)>(PIECES);
    // On its own: who does not read what comes must still be able to hang up.
    let sending = spawn_local(async move {
        while let Some(answer) = answers.recv().await {
            if sink.send(answer).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    let end = match remotes.start(command).await {
        Ok(running) => attend(running, asks, &answers_tx, remotes).await,
        Err(end) => end,
    };
    let _ = answers_tx.send(plain(Answer::Ended { end })).await;
    drop(answers_tx);
    let _ = timeout(STUCK, sending).await;
}

/// Until the command is no more.
async fn attend<S>(running: Running, mut asks: SplitStream<Frames<S>>, answers_tx: &Answers, remotes: &Remotes) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Running { pid, stdin, program, mut ended } = running;
    let pumps = match (ChildStdout::from_std(program.stdout), ChildStderr::from_std(program.stderr)) {
        (Ok(stdout), Ok(stderr)) => [
            spawn_local(pump(stdout, Answer::Output, answers_tx.clone())),
            spawn_local(pump(stderr, Answer::Error, answers_tx.clone())),
        ],
        (Err(error), _) | (_, Err(error)) => return End::not_started(error.to_string()),
    };
    let mut input = ChildStdin::from_std(stdin).ok().map(feed);
    let (mut hung_up, mut kill_at) = (false, None);
    let end = loop {
        tokio::select! {
            end = &mut ended => break end.unwrap_or_else(|_| End::lost("its end was not seen")),
            ask = asks.next(), if !hung_up => match ask {
                Some(Ok((Ask::Input, bytes))) => if let Some(input) = &input {
                    let _ = input.send(bytes).await;
                },
                Some(Ok((Ask::InputEnd, _))) => input = None,
                Some(Ok((Ask::Signal { signal }, _))) => if let Ok(signal) = Signal::try_from(signal) {
                    remotes.signal_one(pid, signal);
                },
                Some(Ok(_)) => {}
                None | Some(Err(_)) => {
                    (hung_up, input) = (true, None);
                    remotes.signal_one(pid, Signal::SIGTERM);
                    kill_at = Some(Instant::now() + remotes.grace);
                }
            },
            () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                kill_at = None;
                remotes.signal_one(pid, Signal::SIGKILL);
            }
        }
    };
    for pump in pumps {
        let _ = timeout(STUCK, pump).await;
    }
    end
}

async fn pump(mut from: impl AsyncRead + Unpin, answer: Answer, answers_tx: Answers) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        // Where nobody reads any more the program must not be held up by its own words.
        let _ = answers_tx.send((answer.clone(), buffer.split().freeze())).await;
    }
}

/// The way to a program's standard input, which is closed when the sender is dropped.
fn feed(mut stdin: ChildStdin) -> mpsc::Sender<Bytes> {
    let (input_tx, mut input) = mpsc::channel::<Bytes>(PIECES);
    spawn_local(async move {
        while let Some(bytes) = input.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    input_tx
}
