//! What a rank has written so far, from wherever it can still be had.

use std::ops::ControlFlow;

use futures::StreamExt;

use super::engine::Engine;
use super::log::Log;
use super::mailbox::Mailbox;
use super::rank::Frames;
use super::ways::Ways;
use crate::cluster::{Cluster, LogRange};
use crate::control::{Reply, Request};
use crate::diagnosis::Result;
use crate::event::{Events, Stream};
use crate::sync::journal::Record;

/// Shows all that a rank has written: from the mailbox once it has ended, else from its supervisor, else what the kubelet
/// has kept. `ways` is `None` when the engine no longer has the run.
pub async fn history(ways: Option<&Ways>, mailbox: Option<&Mailbox>, rank: u32, events: &Events) -> Result<()> {
    let mut log = Log::create(None, rank, events.clone());
    if let Some(mailbox) = mailbox
        && let Some(index) = mailbox.index(rank).await?
    {
        for copy in index.former.iter().chain(&index.journal) {
            let show = |record, _| {
                log.write(record);
                ControlFlow::Continue(())
            };
            mailbox.journal(rank, copy, 0, show).await?;
        }
        if index.journal.is_some() {
            return Ok(());
        }
    }
    let Some(ways) = ways else {
        log.gap("the pod is gone, and its log is not in a mailbox");
        return Ok(());
    };
    match (from_supervisor(ways, rank, &mut log).await, ways.engine()) {
        (Err(_), Engine::Cluster { cluster, run }) => from_kubelet(cluster, run, rank, &mut log).await,
        (Err(problem), Engine::Local(_)) => {
            log.gap(problem);
            Ok(())
        }
        (Ok(()), _) => Ok(()),
    }
}

async fn from_supervisor(ways: &Ways, rank: u32, log: &mut Log) -> Result<(), String> {
    let mut frames = Frames::open(ways, rank).await?;
    frames.send(Request::Follow { offset: 0 }).await?;
    loop {
        match frames.next().await? {
            (Reply::Log { stream, time, .. }, bytes) => log.write(Record { stream, time, bytes }),
            (Reply::Gap { bytes, .. }, _) => log.gap(format!("{bytes} bytes are no longer in the journal")),
            (Reply::Caught | Reply::Ended { .. }, _) => return Ok(()),
            _ => {}
        }
    }
}

/// The kubelet keeps the last ten megabytes or so, streams mixed, each line with its time.
pub(super) async fn from_kubelet(cluster: &Cluster, run: &str, rank: u32, log: &mut Log) -> Result<()> {
    let range = LogRange { timestamps: true, ..LogRange::default() };
    let pieces = cluster.logs(run, rank, range).await?;
    tokio::pin!(pieces);
    let mut unread = Vec::new();
    while let Some(piece) = pieces.next().await {
        unread.extend_from_slice(&piece?);
        let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in unread.drain(..whole).as_slice().split_inclusive(|byte| *byte == b'\n') {
            log.write(timed(line));
        }
    }
    if !unread.is_empty() {
        log.write(timed(&unread));
    }
    Ok(())
}

/// A line of the kubelet's, which begins with its time.
fn timed(line: &[u8]) -> Record {
    let (time, text) = line.split_at(line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1));
    let time = std::str::from_utf8(time).ok().and_then(|time| time.trim_end().parse::<jiff::Timestamp>().ok());
    let (stream, text) = match text.strip_prefix(b"nauta: ") {
        Some(own) => (Stream::Supervisor, own),
        None => (Stream::Stdout, text),
    };
    let time = time.map_or(0, jiff::Timestamp::as_millisecond);
    Record { stream, time, bytes: bytes::Bytes::copy_from_slice(text) }
}
