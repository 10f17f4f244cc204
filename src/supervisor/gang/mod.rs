//! The gang: ranks that start together, stop together at the first failure, and begin again together.
//!
//! Owns: the rendezvous at rank 0, the links that stay open behind it, and the verdict on each attempt (`ranks`). Does not
//! own: the program. Start reading at [`Gang`].

mod channel;
mod coordinator;
pub(crate) mod fuzz;
mod known;
mod member;
mod preflight;
mod ranks;
mod streams;

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::event::End;
use crate::job::{Launch, Nodes, Restarts};
use crate::layout;

pub(super) use streams::{Arrival, Purpose, Streams};

use super::inspection::{Inspection, Neighbour};
use super::journal::Journal;

/// Between two signs of life on a link.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A link on which nothing was heard for so long is dead. With the grace time's usual second, all ranks are down within 15
/// seconds of a node that vanished without a word.
const SILENT: Duration = Duration::from_secs(9);
/// Who does not come back within this time after its link broke is lost: its container is gone, or it cannot be reached.
const BACK_WITHIN: Duration = Duration::from_secs(4);

/// What a rank has to know to find its gang.
#[derive(Clone, Default)]
pub(super) struct GangConfig {
    pub(super) run: String,
    pub(super) rank: u32,
    pub(super) nodes: Nodes,
    /// The name of rank 0.
    pub(super) coordinator: String,
    pub(super) key: [u8; 32],
    pub(super) deadline: Duration,
    /// Random per start of a supervisor: a replaced rank is not the same.
    pub(super) instance: String,
    pub(super) restarts: Restarts,
    /// Whether the engine makes another container for one that is lost.
    pub(super) replaced: bool,
    /// How long no rank may give a sign of life.
    pub(super) stall: Option<Duration>,
    /// Which ranks run the command.
    pub(super) launch: Launch,
    /// The cluster's name of this machine.
    pub(super) node: Option<String>,
    /// How many accelerators each rank was promised.
    pub(super) accelerators: u32,
    pub(super) outputs: PathBuf,
    /// Where the program's signs of life are, and where what concerns the gang is said.
    pub(super) journal: Option<Arc<Journal>>,
    /// How many attempts this supervisor has begun.
    pub(super) started: u32,
    /// Byte streams to and from other ranks.
    pub(super) streams: Rc<Streams>,
}

impl GangConfig {
    fn say(&self, text: &str) {
        if let Some(journal) = &self.journal {
            journal.say(text);
        }
    }

    /// How long this rank's program has given no sign of life.
    fn quiet(&self) -> Duration {
        self.journal.as_ref().map_or(Duration::ZERO, |journal| journal.quiet())
    }
}

/// Why a rank has not met its gang.
pub(super) enum NotMet {
    /// The others have done the work without it.
    Dismissed,
    /// One sentence: who is missing, or what is wrong.
    Failed(String),
}

/// What the gang tells a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Begin an attempt.
    Start(Start),
    /// Another rank failed first.
    Stop { first_failed: u32 },
    /// No rank has given a sign of life for so many seconds.
    Stalled { seconds: u64 },
    /// This rank is not needed any more: rank 0's program, which starts the others', has done its work, or the others have
    /// done theirs before this rank came.
    Dismissed,
    /// Rank 0 cannot be reached any more.
    Alone { message: String },
    /// This rank is none of the gang's (any more), or nothing can begin.
    Refused { reason: String },
    /// All programs are no more, and none begins again.
    Over,
}

/// The begin of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// From 1.
    pub(super) attempt: u32,
    /// What ended the former one.
    pub(super) after: Option<String>,
}

/// A gang that has met.
pub(super) struct Gang {
    /// What the gang tells this rank.
    orders: mpsc::UnboundedReceiver<Order>,
    /// Where the ends of this rank's programs are reported.
    reports_tx: mpsc::UnboundedSender<Report>,
    /// Whether nothing begins any more, as far as this rank knows.
    finished: watch::Receiver<bool>,
    parting: Parting,
    /// This rank's own address, by which it reaches rank 0.
    pub(super) address: Option<IpAddr>,
    /// The attempt that is to be made now.
    pub(super) start: Start,
    /// Whether rank 0 is gone.
    alone: bool,
}

/// How ranks leave: what one leaves with a failure ends the others, too, so that it waits until all have delivered what they left.
struct Parting {
    /// Whether this rank has delivered.
    delivered_tx: watch::Sender<bool>,
    /// Whether all have, or nobody can be asked.
    leave: watch::Receiver<bool>,
}

impl Parting {
    /// The rank's side, and the gang's.
    fn new() -> (Self, watch::Receiver<bool>, watch::Sender<bool>) {
        let (delivered_tx, delivered) = watch::channel(false);
        let (leave_tx, leave) = watch::channel(false);
        (Self { delivered_tx, leave }, delivered, leave_tx)
    }
}

/// What follows on an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next attempt is in [`Gang::start`].
    Again,
    /// Rank 0 is gone: meet anew.
    Alone,
    /// Nothing; and why, where the gang wanted to begin again and could not.
    Over(Option<String>),
}

/// The end of a rank's program in an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) attempt: u32,
    pub(super) end: End,
    /// Whether the container goes away, too.
    pub(super) leaving: bool,
}

/// How a rank presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    run: String,
    rank: u32,
    instance: String,
    /// How many attempts it has begun.
    started: u32,
    /// Whether its program runs.
    running: bool,
}

/// Messages over a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
enum Message {
    Hello(Hello),
    /// All are here: start.
    Release {
        attempt: u32,
        after: Option<String>,
    },
    /// This rank cannot be one of the gang.
    Refused {
        reason: String,
    },
    /// A rank's program is no more.
    Ended(Report),
    /// A rank failed first: stop.
    Stop {
        first_failed: u32,
    },
    /// No rank has given a sign of life for so many seconds.
    Stalled {
        seconds: u64,
    },
    /// This rank is not needed any more.
    Dismissed,
    /// Look around.
    Inspect {
        neighbour: Option<Neighbour>,
    },
    /// What was found.
    Inspected(Box<Inspection>),
    /// All programs are no more, and none begins again.
    Finished,
    /// This rank has delivered what it left, or has given that up.
    Delivered,
    /// All ranks have.
    Leave,
    /// Make a connection for a stream.
    Dial {
        dial: u64,
        purpose: Purpose,
    },
    /// First message of a connection that was asked for; the rest is the stream's.
    Dialled {
        dial: u64,
    },
    /// Rank 0 is still there.
    Ping,
    /// And so is a rank, whose program has given no sign of life for so many milliseconds.
    Pong {
        quiet: u64,
    },
}

/// What a message means for a rank; nothing where it is only a sign of life.
fn order_of(message: Message) -> Option<Order> {
    match message {
        Message::Release { attempt, after } => Some(Order::Start(Start { attempt, after })),
        Message::Stop { first_failed } => Some(Order::Stop { first_failed }),
        Message::Refused { reason } => Some(Order::Refused { reason }),
        Message::Stalled { seconds } => Some(Order::Stalled { seconds }),
        Message::Dismissed => Some(Order::Dismissed),
        Message::Finished => Some(Order::Over),
        Message::Hello(_)
        | Message::Ended(_)
        | Message::Inspect { .. }
        | Message::Inspected(_)
        | Message::Delivered
        | Message::Leave
        | Message::Dial { .. }
        | Message::Dialled { .. }
        | Message::Ping
        | Message::Pong { .. } => None,
    }
}

impl Gang {
    /// Meets the other ranks; `say` tells what is waited for.
    pub(super) async fn meet(config: GangConfig, say: impl Fn(&str) + 'static) -> Result<Self, NotMet> {
        if config.rank == 0 { coordinator::meet(config, say).await } else { member::meet(config, say).await }
    }

    /// Waits for the word that all are there.
    async fn begin(
        mut orders: mpsc::UnboundedReceiver<Order>,
        reports_tx: mpsc::UnboundedSender<Report>,
        finished: watch::Receiver<bool>,
        parting: Parting,
        address: Option<IpAddr>,
    ) -> Result<Self, NotMet> {
        loop {
            match orders.recv().await {
                Some(Order::Start(start)) => {
                    return Ok(Self { orders, reports_tx, finished, parting, address, start, alone: false });
                }
                Some(Order::Dismissed) => return Err(NotMet::Dismissed),
                Some(Order::Refused { reason } | Order::Alone { message: reason }) => {
                    return Err(NotMet::Failed(reason));
                }
                Some(Order::Over) | None => return Err(NotMet::Failed("the run is over".to_owned())),
                // Meant for a program that ran before this rank was started anew.
                Some(Order::Stop { .. } | Order::Stalled { .. }) => {}
            }
        }
    }

    /// Tells the gang how this rank's program ended.
    pub(super) fn report(&self, end: &End, leaving: bool) {
        let report = Report { attempt: self.start.attempt, end: end.clone(), leaving };
        let _ = self.reports_tx.send(report);
    }

    /// The next order; pends for ever when none can come any more.
    pub(super) async fn order(&mut self) -> Order {
        let Some(order) = self.orders.recv().await else { return std::future::pending().await };
        self.alone |= matches!(order, Order::Alone { .. });
        order
    }

    /// What follows, once this rank's end was reported.
    pub(super) async fn verdict(&mut self) -> Verdict {
        loop {
            if self.alone {
                return Verdict::Alone;
            }
            match self.order().await {
                Order::Start(start) => {
                    self.start = start;
                    return Verdict::Again;
                }
                Order::Over => return Verdict::Over(None),
                Order::Refused { reason } => return Verdict::Over(Some(reason)),
                Order::Stop { .. } | Order::Stalled { .. } | Order::Dismissed | Order::Alone { .. } => {}
            }
        }
    }

    /// The network interface that leads to rank 0.
    pub(super) fn interface(&self) -> Option<String> {
        self.address.and_then(interface_of)
    }

    /// Tells the gang that this rank has delivered what it left, or has given that up.
    pub(super) fn delivered(&self) {
        self.parting.delivered_tx.send_replace(true);
    }

    /// Until all ranks have delivered what they left, or nobody can be asked.
    pub(super) async fn all_delivered(&self) {
        let mut leave = self.parting.leave.clone();
        let _ = leave.wait_for(|leave| *leave).await;
    }

    /// Until nothing begins any more, or nobody can be asked.
    pub(super) async fn finished(&self) {
        let mut finished = self.finished.clone();
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

/// On all addresses, of both families where the kernel has both.
async fn listen() -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, layout::GANG_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", layout::GANG_PORT)).await,
    }
}

/// The name of the interface with an address, when it is no loopback.
fn interface_of(address: IpAddr) -> Option<String> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces
        .filter(|interface| !interface.flags.contains(nix::net::if_::InterfaceFlags::IFF_LOOPBACK))
        .find(|interface| {
            let own = interface.address.as_ref();
            match address {
                IpAddr::V4(v4) => own.and_then(|a| a.as_sockaddr_in()).is_some_and(|a| a.ip() == v4),
                IpAddr::V6(v6) => own.and_then(|a| a.as_sockaddr_in6()).is_some_and(|a| a.ip() == v6),
            }
        })
        .map(|interface| interface.interface_name)
}
