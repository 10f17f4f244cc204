//! The gang: ranks that start together, and stop together at the first failure.
//!
//! Owns: the rendezvous at rank 0 and the links that stay open behind it. Does not own: the program. Start reading at
//! [`Gang`].

mod channel;
mod coordinator;
mod member;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::event::End;

/// What a rank has to know to find its gang.
#[derive(Clone)]
pub(super) struct GangConfig {
    pub(super) run: String,
    pub(super) rank: u32,
    pub(super) nodes: u32,
    /// The name of rank 0.
    pub(super) coordinator: String,
    pub(super) key: [u8; 32],
    pub(super) deadline: Duration,
    /// Random per start of a supervisor: a replaced rank is not the same.
    pub(super) instance: String,
}

/// What the gang tells a rank that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Another rank failed first.
    Stop { first_failed: u32 },
    /// Rank 0 cannot be reached any more.
    Alone { message: String },
}

/// A gang that has met.
pub(super) struct Gang {
    /// What the gang tells this rank.
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// Where this rank's end is reported.
    end_tx: mpsc::UnboundedSender<End>,
    /// Whether all ranks have ended, as far as this rank knows.
    finished: watch::Receiver<bool>,
    /// The network interface that leads to rank 0.
    pub(super) interface: Option<String>,
}

/// Messages over a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
enum Message {
    /// A rank presents itself.
    Hello { run: String, rank: u32, instance: String },
    /// All are here: start.
    Release,
    /// This rank cannot be one of the gang.
    Refused { reason: String },
    /// A rank's program is no more.
    Ended { end: End },
    /// A rank failed first: stop.
    Stop { first_failed: u32 },
    /// All programs are no more.
    Finished,
    /// Still there.
    Ping,
}

impl Gang {
    /// Meets the other ranks; `say` tells what is waited for. The error is one sentence: who is missing, or what is wrong.
    pub(super) async fn meet(config: GangConfig, say: impl Fn(&str) + 'static) -> Result<Self, String> {
        if config.nodes == 1 {
            return Ok(Self::alone());
        }
        if config.rank == 0 { coordinator::meet(config, say).await } else { member::meet(config, say).await }
    }

    fn alone() -> Self {
        // Nobody listens: a gang of one needs nobody to be told.
        let (end_tx, _) = mpsc::unbounded_channel();
        let (_, orders) = mpsc::unbounded_channel();
        Self { orders, end_tx, finished: watch::channel(true).1, interface: None }
    }

    /// Tells the gang how this rank ended.
    pub(super) fn report(&self, end: &End) {
        let _ = self.end_tx.send(end.clone());
    }

    /// The next order; pends for ever when none can come any more.
    pub(super) async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// Until all ranks have ended, or nobody can be asked any more.
    pub(super) async fn finished(&self) {
        let mut finished = self.finished.clone();
        let _ = finished.wait_for(|finished| *finished).await;
    }
}

/// The name of the interface with an address, when it is no loopback.
fn interface_of(address: std::net::IpAddr) -> Option<String> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces
        .filter(|interface| !interface.flags.contains(nix::net::if_::InterfaceFlags::IFF_LOOPBACK))
        .find(|interface| {
            let own = interface.address.as_ref();
            match address {
                std::net::IpAddr::V4(v4) => own.and_then(|a| a.as_sockaddr_in()).is_some_and(|a| a.ip() == v4),
                std::net::IpAddr::V6(v6) => own.and_then(|a| a.as_sockaddr_in6()).is_some_and(|a| a.ip() == v6),
            }
        })
        .map(|interface| interface.interface_name)
}
