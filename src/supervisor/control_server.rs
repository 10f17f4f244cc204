//! Answers the workstation: logs by offset, states, outputs, and orders to stop. On loopback only: whoever may talk to
//! it came through the engine's own door.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;

use super::admission::Admission;
use super::company::Company;
use super::gang::Streams;
use super::journal::{Found, Journal};
use super::launch::Remotes;
use super::outputs::{Listed, News, Outputs};
use super::trunk;
use crate::control::{DEAD_AFTER, FrameCodec, FrameError, HEARTBEAT, PROTOCOL, Reply, Request};
use crate::event::{End, RankState, cause};
use crate::layout;
use crate::sync::journal::Record;

/// What a rank came to, once it is all over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) end: End,
    pub(super) first_failed: Option<u32>,
    pub(super) in_mailbox: bool,
    /// Whether another container takes this one's place.
    pub(super) replaced: bool,
    /// Whether its program is known to have had no connection to another rank's.
    pub(super) alone: bool,
}

/// What the workstation wants of the rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Stop gently.
    Stop(String),
    /// Stop at once.
    Kill(String),
}

/// What the server shows, and whom it tells.
pub(super) struct Board {
    pub(super) run: String,
    pub(super) rank: u32,
    pub(super) instance: String,
    pub(super) journal: Arc<Journal>,
    pub(super) outputs: Outputs,
    /// What rank 0's program has started here.
    pub(super) remotes: Rc<Remotes>,
    pub(super) state: watch::Sender<RankState>,
    pub(super) over: watch::Sender<Option<Over>>,
    pub(super) wishes_tx: mpsc::UnboundedSender<Wish>,
    /// How many streams of workstations there are now.
    pub(super) followers: watch::Sender<usize>,
    /// Whether a workstation has received everything.
    pub(super) released: watch::Sender<bool>,
    /// The way to other ranks' supervisors.
    pub(super) streams: Rc<Streams>,
    /// How many of a workstation's streams lead through this rank to others.
    pub(super) led: watch::Sender<usize>,
    /// What is known of this rank's connections to others.
    pub(super) company: Rc<Company>,
}

/// Without a word for this long, or without taking one, a workstation is gone.
const DEAD: Duration = Duration::from_secs(DEAD_AFTER);

/// A slower link than this, in bytes per second, is none.
const SLOWEST: u64 = 16 * 1024;

/// The outcome of sending so many bytes, unless nobody takes them.
async fn in_time(bytes: usize, sending: impl Future<Output = Outcome>) -> Outcome {
    let limit = DEAD + Duration::from_secs(bytes as u64 / SLOWEST);
    timeout(limit, sending).await.map_err(|_| FrameError::Io(std::io::ErrorKind::TimedOut.into()))?
}

type Frames = Framed<DuplexStream, FrameCodec<Request, Reply>>;

/// Serves trunks for ever.
pub(super) async fn serve(listener: TcpListener, board: Rc<Board>) {
    // Whoever comes here is in this container, and has one address: who asks for nothing makes room for who does.
    let admission = Admission::new(Admission::ANY);
    loop {
        match listener.accept().await {
            Ok((connection, from)) => {
                let _ = connection.set_nodelay(true);
                let (streams, led) = (Rc::clone(&board.streams), board.led.clone());
                admission.hear(from.ip(), |place| trunk::serve(connection, streams, led, place)).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Talks with a workstation whose stream has arrived here, by whichever way.
pub(super) async fn converse(stream: DuplexStream, board: Rc<Board>) {
    // A workstation that went away is none of the rank's troubles.
    let _ = Conversation::new(stream, board).hold().await;
}

/// Listens where only this container can reach it.
pub(super) async fn listen() -> std::io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", layout::CONTROL_PORT)).await
}

/// A workstation's following: what it was sent so far.
struct Following {
    offset: u64,
    caught: bool,
    ended_sent: bool,
}

struct Conversation {
    frames: Frames,
    board: Rc<Board>,
    following: Option<Following>,
}

type Outcome = Result<(), FrameError>;

impl Conversation {
    fn new(stream: DuplexStream, board: Rc<Board>) -> Self {
        Self { frames: Framed::new(stream, FrameCodec::with_bodies_up_to(0)), board, following: None }
    }

    async fn hold(mut self) -> Outcome {
        // From its first word on: who is still greeting wants to hear the end as well.
        self.board.followers.send_modify(|count| *count += 1);
        let outcome = self.converse().await;
        // Nobody waits for a workstation that is gone, however it went.
        self.board.followers.send_modify(|count| *count -= 1);
        outcome
    }

    async fn converse(&mut self) -> Outcome {
        let mut state = self.board.state.subscribe();
        let mut news = self.board.outputs.news();
        let mut journal = self.board.journal.end();
        let mut over = self.board.over.subscribe();
        let mut heartbeat = tokio::time::interval(Duration::from_secs(HEARTBEAT));
        let mut heard = Instant::now();
        state.mark_changed();
        news.mark_changed();
        loop {
            let following = self.following.is_some();
            tokio::select! {
                biased;
                request = self.frames.next() => match request {
                    Some(request) => {
                        heard = Instant::now();
                        self.answer(request?.0).await?;
                    }
                    None => return Ok(()),
                },
                () = sleep_until(heard + DEAD) => return Ok(()),
                Ok(()) = state.changed(), if following => {
                    let now = state.borrow_and_update().clone();
                    self.send(Reply::State(now)).await?;
                }
                Ok(()) = news.changed(), if following => {
                    let News { sequence, complete } = *news.borrow_and_update();
                    self.send(Reply::Outputs { sequence, complete }).await?;
                }
                Ok(()) = journal.changed(), if following => {}
                Ok(()) = over.changed(), if following => {}
                _ = heartbeat.tick() => self.send(Reply::Pong).await?,
            }
            // Pieces of the journal go out between requests, so that an order to stop never waits behind a long log.
            self.send_log(&over).await?;
            if self.following.as_ref().is_some_and(|f| f.offset < *journal.borrow()) {
                journal.mark_changed();
            }
        }
    }

    async fn send(&mut self, reply: Reply) -> Outcome {
        self.send_with(reply, Bytes::new()).await
    }

    async fn send_with(&mut self, reply: Reply, body: Bytes) -> Outcome {
        in_time(body.len(), self.frames.send((reply, body))).await
    }

    async fn answer(&mut self, request: Request) -> Outcome {
        match request {
            Request::Hello { .. } => {
                let reply = Reply::Hello {
                    protocol: PROTOCOL,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    run: self.board.run.clone(),
                    rank: self.board.rank,
                    instance: self.board.instance.clone(),
                };
                self.send(reply).await
            }
            Request::Follow { offset } => {
                self.following = Some(Following { offset, caught: false, ended_sent: false });
                Ok(())
            }
            Request::Fetch { path, offset, len } => {
                let reply = match self.board.outputs.fetch(&path, offset, len).await {
                    Ok(bytes) => (Reply::Piece { digest: crate::digest::Digest::of(&bytes) }, bytes),
                    Err(message) => (Reply::NoPiece { message }, Bytes::new()),
                };
                self.send_with(reply.0, reply.1).await
            }
            Request::List { after } => {
                let Listed { page, next, more, complete, anew } = self.board.outputs.listed(after);
                self.send_with(Reply::Listed { next, more, complete, anew }, page).await
            }
            Request::Stop { by } => self.wish(Wish::Stop(cause(by))),
            Request::Kill { by } => self.wish(Wish::Kill(cause(by))),
            Request::Release => {
                self.board.released.send_replace(true);
                Ok(())
            }
            Request::Ping => {
                // Whoever brings outputs over this stream has to wait for its turn; who follows only says that it is there.
                if self.following.is_none() {
                    self.board.outputs.activity().stirs();
                }
                self.send(Reply::Pong).await
            }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one of several answers")]
    fn wish(&self, wish: Wish) -> Outcome {
        let _ = self.board.wishes_tx.send(wish);
        Ok(())
    }

    /// Sends the next pieces of the journal and, behind the last one, the end.
    async fn send_log(&mut self, over: &watch::Receiver<Option<Over>>) -> Outcome {
        /// Records sent before requests are looked at again.
        const BURST: usize = 16;
        let Some(following) = &mut self.following else { return Ok(()) };
        for _ in 0..BURST {
            match self.board.journal.read(following.offset)? {
                Found::Record(Record { stream, time, bytes }, next) => {
                    following.offset = next;
                    in_time(bytes.len(), self.frames.feed((Reply::Log { stream, time, next }, bytes))).await?;
                    self.board.outputs.activity().stirs();
                }
                Found::Gap(bytes, next) => {
                    following.offset = next;
                    self.frames.feed((Reply::Gap { bytes, next }, Bytes::new())).await?;
                }
                Found::End => {
                    let over = over.borrow().clone();
                    if !std::mem::replace(&mut following.caught, true) {
                        self.frames.feed((Reply::Caught, Bytes::new())).await?;
                    }
                    if let (Some(over), false) = (over, following.ended_sent) {
                        following.ended_sent = true;
                        // Whoever hears of the end has heard of everything before it.
                        let News { sequence, complete } = *self.board.outputs.news().borrow();
                        self.frames.feed((Reply::Outputs { sequence, complete }, Bytes::new())).await?;
                        let Over { end, first_failed, in_mailbox, replaced, alone } = over;
                        let journal = following.offset;
                        let reply = Reply::Ended { end, first_failed, journal, in_mailbox, replaced, alone };
                        self.frames.feed((reply, Bytes::new())).await?;
                    }
                    break;
                }
            }
        }
        in_time(0, SinkExt::<(Reply, Bytes)>::flush(&mut self.frames)).await
    }
}
