//! One rank's control stream.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::codec::Framed;

use super::trunk::RankStream;
use super::ways::Ways;
use crate::control::{DEAD_AFTER, FrameCodec, HEARTBEAT, PROTOCOL, Reply, Request};
use crate::digest::Digest;
use crate::sync::Page;

/// An open control stream, greeted.
pub struct Frames {
    framed: Framed<RankStream, FrameCodec<Reply, Request>>,
    /// When the supervisor is told next that somebody is still here.
    heartbeat: Interval,
    /// Pieces that have not come yet, and how many have.
    asked: usize,
    pub(super) came: u64,
    /// Of this start of the supervisor.
    pub(super) instance: String,
}

/// A part of a rank's list of outputs, as [`Reply::Listed`] describes it.
pub(super) struct Listed {
    pub(super) page: Page,
    pub(super) next: u64,
    pub(super) more: bool,
    pub(super) complete: bool,
    pub(super) anew: bool,
}

impl Frames {
    /// Opens a stream to a rank and greets its supervisor, which has so long to greet back, whatever else it says.
    pub(super) async fn open(ways: &Ways, rank: u32) -> Result<Self, String> {
        let limit = Duration::from_secs(DEAD_AFTER);
        let stream = timeout(limit, ways.to(rank)).await.map_err(|_| "no answer".to_owned())??;
        timeout(limit, Self::greet(stream)).await.map_err(|_| "no greeting".to_owned())?
    }

    async fn greet(stream: RankStream) -> Result<Self, String> {
        let mut heartbeat = interval(Duration::from_secs(HEARTBEAT));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frames = Self {
            framed: Framed::new(stream, FrameCodec::default()),
            heartbeat,
            asked: 0,
            came: 0,
            instance: String::new(),
        };
        frames.send(Request::Hello { protocol: PROTOCOL }).await?;
        loop {
            match frames.next().await? {
                (Reply::Hello { protocol: PROTOCOL, instance, .. }, _) => {
                    frames.instance = instance;
                    return Ok(frames);
                }
                (Reply::Hello { version, .. }, _) => {
                    return Err(format!("it is nauta {version}, which speaks otherwise"));
                }
                _ => {}
            }
        }
    }

    pub(super) async fn send(&mut self, request: Request) -> Result<(), String> {
        match timeout(Duration::from_secs(DEAD_AFTER), self.framed.send((request, Bytes::new()))).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err("the stream takes nothing".to_owned()),
        }
    }

    /// The next reply; a stream that is silent for too long is dead. The supervisor hears from us meanwhile.
    pub(super) async fn next(&mut self) -> Result<(Reply, Bytes), String> {
        let dead = tokio::time::sleep(Duration::from_secs(DEAD_AFTER));
        tokio::pin!(dead);
        loop {
            tokio::select! {
                biased;
                frame = self.framed.next() => {
                    let frame = frame.ok_or("the stream ended")?.map_err(|error| error.to_string())?;
                    if let (Reply::Piece { .. } | Reply::NoPiece { .. }, _) = &frame {
                        // Also where nobody wants it any more.
                        self.asked = self.asked.saturating_sub(1);
                        self.came += 1;
                    }
                    return Ok(frame);
                }
                () = &mut dead => return Err("the stream is silent".to_owned()),
                _ = self.heartbeat.tick() => self.send(Request::Ping).await?,
            }
        }
    }

    /// The outcome of `work`; the supervisor hears meanwhile that somebody is here.
    pub(super) async fn hold_until<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let holding = async { while self.next().await.is_ok() {} };
        tokio::select! {
            done = &mut work => return done,
            () = holding => {}
        }
        work.await
    }

    /// What is listed of the outputs behind a number.
    pub(super) async fn list(&mut self, after: u64) -> Result<Listed, String> {
        self.send(Request::List { after }).await?;
        loop {
            if let (Reply::Listed { next, more, complete, anew }, page) = self.next().await? {
                let page = serde_json::from_slice(&page).map_err(|error| format!("its list of outputs: {error}"))?;
                return Ok(Listed { page, next, more, complete, anew });
            }
        }
    }

    /// Asks for a piece of an output file.
    pub(super) async fn ask_for_piece(&mut self, path: &str, offset: u64, len: u32) -> Result<(), String> {
        self.asked += 1;
        self.send(Request::Fetch { path: path.to_owned(), offset, len }).await
    }

    /// Waits for pieces that nobody wants any more: the rank answers in order.
    pub(super) async fn forget_pieces(&mut self) -> Result<(), String> {
        while self.asked > 0 {
            let _ = self.next_piece().await?;
        }
        Ok(())
    }

    /// The next piece that was asked for, verified; the inner error is about that piece alone.
    pub(super) async fn next_piece(&mut self) -> Result<Result<Bytes, String>, String> {
        loop {
            return Ok(match self.next().await? {
                (Reply::Piece { digest }, bytes) if Digest::of(&bytes) == digest => Ok(bytes),
                (Reply::Piece { .. }, _) => Err("its bytes were damaged on the way".to_owned()),
                (Reply::NoPiece { message }, _) => Err(message),
                _ => continue,
            });
        }
    }
}
