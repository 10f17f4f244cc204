//! What comes to a rank from outside: signals, wishes of the workstation, and the end of its lease.

use std::io::Read;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};

use super::control_server::Wish;
use super::reaper;
use crate::event::{End, Reason};

/// Everything that may come, in one place.
pub(super) struct Inbox {
    signals: mpsc::UnboundedReceiver<Signal>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    lease_lost: watch::Receiver<bool>,
    /// Whether the loss was told.
    lease_told: bool,
}

/// What has come.
pub(super) enum Incoming {
    Signal(Signal),
    Wish(Wish),
    /// The workstation's nauta is gone. Told once.
    LeaseLost,
}

/// The reason of a rank that stops with its lease.
pub(super) fn lease_is_lost() -> Reason {
    Reason::Stopped { message: "the workstation's nauta is gone".to_owned() }
}

impl Inbox {
    /// With a lease on standard input, or without one.
    pub(super) fn new(
        signals: mpsc::UnboundedReceiver<Signal>,
        wishes: mpsc::UnboundedReceiver<Wish>,
        lease: bool,
    ) -> Self {
        Self {
            signals,
            wishes,
            lease_lost: if lease { watch_stdin() } else { watch::channel(false).1 },
            lease_told: false,
        }
    }

    /// Whether the lease is lost.
    pub(super) fn has_lost_lease(&self) -> bool {
        *self.lease_lost.borrow()
    }

    /// The next of all that may come.
    pub(super) async fn next(&mut self) -> Incoming {
        tokio::select! {
            Some(signal) = self.signals.recv() => Incoming::Signal(signal),
            Some(wish) = self.wishes.recv() => Incoming::Wish(wish),
            () = lost(&mut self.lease_lost), if !self.lease_told => {
                self.lease_told = true;
                Incoming::LeaseLost
            }
        }
    }

    /// What comes of `waiting`, unless somebody wants the rank to stop first. No program runs meanwhile.
    pub(super) async fn unless_stopped<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(waiting);
        let stopped = |message: String| Err(End { code: 143, reason: Reason::Stopped { message } });
        loop {
            let incoming = tokio::select! {
                outcome = &mut waiting => return Ok(outcome),
                incoming = self.next() => incoming,
            };
            match incoming {
                Incoming::Wish(Wish::Stop(by) | Wish::Kill(by)) => {
                    return Err(End { code: 143, reason: Reason::Cancelled { by } });
                }
                Incoming::LeaseLost => return Err(End { code: 143, reason: lease_is_lost() }),
                Incoming::Signal(Signal::SIGCHLD) => drop(reaper::reap()),
                Incoming::Signal(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT)) => {
                    return stopped(format!("the engine sent {signal}"));
                }
                Incoming::Signal(_) => {}
            }
        }
    }

    /// Until the lease is lost; for ever where there is none.
    pub(super) async fn lease_lost(&mut self) {
        lost(&mut self.lease_lost).await;
    }

    /// Until the engine wants the container gone, or the lease is lost.
    pub(super) async fn asked_to_go(&mut self) {
        tokio::select! {
            () = lost(&mut self.lease_lost) => {}
            () = engine_asks(&mut self.signals) => {}
        }
    }
}

/// Until the lease is lost; for ever where there is none.
async fn lost(lease: &mut watch::Receiver<bool>) {
    if lease.wait_for(|lost| *lost).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn engine_asks(signals: &mut mpsc::UnboundedReceiver<Signal>) {
    while let Some(signal) = signals.recv().await {
        if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
            return;
        }
        reaper::reap();
    }
}

/// Whether standard input was closed: the workstation's nauta holds its other end.
fn watch_stdin() -> watch::Receiver<bool> {
    let (lost_tx, lost) = watch::channel(false);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
        lost_tx.send_replace(true);
    });
    lost
}
