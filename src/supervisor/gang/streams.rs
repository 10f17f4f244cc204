//! Byte streams from rank 0 to any rank, authenticated and encrypted as the links are. The other rank makes the
//! connection when rank 0 asks for it over their link, so that nobody but rank 0 ever listens.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::channel::Channel;
use super::ranks::{Phase, Ranks};
use super::{GangConfig, Message, member};

/// How long a rank may take to make the connection that it was asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a rank that has not come yet is waited for while the gang gathers, and how often it is looked for: whoever asks
/// would only ask again, and be late by half of its pause.
const COMING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
/// Bytes on their way inside one process.
const BUFFER: usize = 64 * 1024;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::supervisor) enum Purpose {
    /// The workstation talks to the rank's control server.
    Control,
    /// What was started on rank 0 runs a command here.
    Exec,
}

/// A stream that rank 0 has opened to this rank.
pub(in crate::supervisor) struct Arrival {
    pub(in crate::supervisor) purpose: Purpose,
    pub(in crate::supervisor) stream: DuplexStream,
}

/// Opens streams on rank 0, and receives them on every rank.
pub(in crate::supervisor) struct Streams {
    own_rank: u32,
    arrivals_tx: mpsc::UnboundedSender<Arrival>,
    /// The ranks that can be asked, once this is rank 0 and has begun to gather them.
    ranks: RefCell<Weak<RefCell<Ranks>>>,
    /// Connections that ranks were asked for.
    dialled: RefCell<HashMap<u64, oneshot::Sender<Channel>>>,
    last: Cell<u64>,
}

impl Streams {
    /// The streams of a rank, and those that arrive at it.
    pub(in crate::supervisor) fn new(own_rank: u32) -> (Rc<Self>, mpsc::UnboundedReceiver<Arrival>) {
        let (arrivals_tx, arrivals) = mpsc::unbounded_channel();
        (Rc::new(Self::with(own_rank, arrivals_tx)), arrivals)
    }

    fn with(own_rank: u32, arrivals_tx: mpsc::UnboundedSender<Arrival>) -> Self {
        Self { own_rank, arrivals_tx, ranks: RefCell::default(), dialled: RefCell::default(), last: Cell::default() }
    }

    /// Opens a stream to a rank: on rank 0 to any that has come, on the others to themselves. The error is one sentence.
    pub(in crate::supervisor) async fn open(&self, rank: u32, purpose: Purpose) -> Result<DuplexStream, String> {
        if self.is_own(rank) {
            return Ok(self.deliver(purpose));
        }
        let channel = self.dialled_by(rank, purpose).await?;
        let (near, far) = tokio::io::duplex(BUFFER);
        spawn_local(channel.carry(far));
        Ok(near)
    }

    /// Whether a rank is the one that this supervisor is.
    pub(in crate::supervisor) const fn is_own(&self, rank: u32) -> bool {
        rank == self.own_rank
    }

    /// Asks a rank to connect, and waits until it has.
    async fn dialled_by(&self, rank: u32, purpose: Purpose) -> Result<Channel, String> {
        let dial = self.last.get() + 1;
        self.last.set(dial);
        let ranks = self.ranks.borrow().upgrade().ok_or("only rank 0 leads to other ranks, once it gathers them")?;
        let (channel_tx, channel) = oneshot::channel();
        self.dialled.borrow_mut().insert(dial, channel_tx);
        let answer = if tell_once_there(&ranks, rank, &Message::Dial { dial, purpose }).await {
            let answer = timeout(PATIENCE, channel).await;
            answer.ok().and_then(Result::ok).ok_or_else(|| format!("rank {rank} does not answer"))
        } else {
            Err(format!("rank {rank} has not come, or is gone"))
        };
        self.dialled.borrow_mut().remove(&dial);
        answer
    }

    /// The near end of a stream whose far end arrives here.
    fn deliver(&self, purpose: Purpose) -> DuplexStream {
        let (near, stream) = tokio::io::duplex(BUFFER);
        let _ = self.arrivals_tx.send(Arrival { purpose, stream });
        near
    }

    /// From now on these ranks can be asked.
    pub(super) fn lead_to(&self, ranks: &Rc<RefCell<Ranks>>) {
        self.ranks.replace(Rc::downgrade(ranks));
    }

    /// A rank has made the connection that it was asked for.
    pub(super) fn connected(&self, dial: u64, channel: Channel) {
        if let Some(channel_tx) = self.dialled.borrow_mut().remove(&dial) {
            let _ = channel_tx.send(channel);
        }
    }

    /// Makes the connection that rank 0 asks for, and carries it to whoever receives streams here.
    pub(super) fn dial(config: &GangConfig, dial: u64, purpose: Purpose) {
        let config = config.clone();
        spawn_local(async move {
            let Ok(mut channel) = member::connect(&config).await else { return };
            if channel.send(&Message::Dialled { dial }).await.is_ok() {
                channel.carry(config.streams.deliver(purpose)).await;
            }
        });
    }
}

/// Tells a rank something, and waits for it a moment where it may still come; gives whether it was there.
async fn tell_once_there(ranks: &RefCell<Ranks>, rank: u32, message: &Message) -> bool {
    let deadline = Instant::now() + COMING;
    loop {
        if ranks.borrow().tell(rank, message.clone()) {
            return true;
        }
        let is_gathering = *ranks.borrow().phase().borrow() == Phase::Gathering;
        if !is_gathering || Instant::now() > deadline {
            return false;
        }
        sleep(LOOK).await;
    }
}

impl Default for Streams {
    /// Streams that nobody receives.
    fn default() -> Self {
        Self::with(0, mpsc::unbounded_channel().0)
    }
}
