//! When somebody wants nauta itself to end.

use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// Until somebody wants nauta to end: Ctrl-C, SIGTERM, or the end of its terminal.
pub(super) async fn interrupted() {
    let other = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            // Without a handler the signal ends nauta as it always would.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        Ok(()) = ctrl_c() => {}
        () = other(SignalKind::terminate()) => {}
        () = other(SignalKind::hangup()) => {}
    }
}
