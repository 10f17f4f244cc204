//! What a rank has written so far, from wherever it can still be had.

use super::engine::Engine;
use super::kubelet::from_kubelet;
use super::log::Log;
use super::mailbox::Mailbox;
use super::position::Position;
use super::rank::Frames;
use super::ways::Ways;
use crate::control::{Reply, Request};
use crate::diagnosis::Result;
use crate::event::Events;

/// Shows all that a rank has written: what the mailbox has of it; the rest from its supervisor, else what the kubelet has
/// kept. `ways` is `None` when the engine no longer has the run. With `last`, no more of the mailbox is read than what has these last bytes.
pub async fn history(
    ways: Option<&Ways>,
    mailbox: Option<&Mailbox>,
    rank: u32,
    last: Option<u64>,
    events: &Events,
) -> Result<()> {
    let mut position = Position::new(rank, Log::shown(rank, events.clone()));
    if let Some(mailbox) = mailbox
        && let Some(index) = mailbox.index(rank).await?
    {
        if let Some(last) = last {
            position.pass_over_all_but(last, &index);
        }
        position.read_mailbox(mailbox, &index).await?;
        // A container that was replaced has said its last word too, and the rank goes on.
        if index.end.is_some() && position.has_ended {
            return Ok(());
        }
    }
    let Some(ways) = ways else {
        if !position.has_ended {
            position.gap("the pod is gone, and the rest of its log is in no mailbox");
        }
        return Ok(());
    };
    match (from_supervisor(ways, &mut position).await, ways.engine()) {
        (Ok(()), _) => {}
        (Err(_), _) if position.has_ended => {}
        (Err(_), Engine::Cluster { cluster, run }) => {
            if let Err(error) = from_kubelet(cluster, run, &mut position).await {
                // Whoever has seen a part of the log is told that it is one; whoever has seen nothing, that there is none.
                if position.instance.is_empty() {
                    return Err(error);
                }
                position.gap(format!("the end of the log is missing: {error}"));
            }
        }
        (Err(problem), Engine::Local(_)) => position.gap(problem),
    }
    Ok(())
}

async fn from_supervisor(ways: &Ways, position: &mut Position) -> Result<(), String> {
    let mut frames = Frames::open(ways, position.rank).await?;
    if position.instance != frames.instance {
        position.begin(&frames.instance);
    }
    frames.send(Request::Follow { offset: position.offset }).await?;
    loop {
        let (reply, body) = frames.next().await?;
        if let Some((Reply::Caught | Reply::Ended { .. }, _)) = position.hear(reply, body) {
            return Ok(());
        }
    }
}
