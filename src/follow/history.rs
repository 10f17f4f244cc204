//! What a rank has written so far, from wherever it can still be had.

use std::ops::ControlFlow;

use super::engine::Engine;
use super::log::Log;
use super::mailbox::Mailbox;
use super::rank::Frames;
use crate::cluster::ClusterRun;
use crate::control::{Reply, Request};
use crate::diagnosis::Result;
use crate::event::{Events, Stream};
use crate::sync::journal::Record;

/// Shows all that a rank has written: from the mailbox once it has ended, else from its supervisor, else what the kubelet
/// has kept. `run` is `None` when the cluster no longer has it.
pub async fn history(run: Option<&ClusterRun>, mailbox: Option<&Mailbox>, rank: u32, events: &Events) -> Result<()> {
    let mut log = Log::create(None, rank, events.clone());
    if let Some(mailbox) = mailbox
        && let Some(journal) = mailbox.index(rank).await?.and_then(|index| index.journal)
    {
        let show = |record, _| {
            log.write(record);
            ControlFlow::Continue(())
        };
        return Ok(mailbox.journal(rank, &journal, 0, show).await?);
    }
    let Some(run) = run else {
        log.gap("the pod is gone, and its log is not in a mailbox");
        return Ok(());
    };
    let engine = Engine::Cluster(Box::new(run.clone()));
    match from_supervisor(&engine, rank, &mut log).await {
        Ok(()) => Ok(()),
        Err(_) => from_kubelet(run, rank, &mut log).await,
    }
}

async fn from_supervisor(engine: &Engine, rank: u32, log: &mut Log) -> Result<(), String> {
    let mut frames = Frames::open(engine, rank).await?;
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
pub(super) async fn from_kubelet(run: &ClusterRun, rank: u32, log: &mut Log) -> Result<()> {
    for line in run.kubelet_log(rank).await?.split_inclusive('\n') {
        let (time, text) = line.split_once(' ').unwrap_or(("", line));
        let time = time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let (stream, text) = match text.strip_prefix("nauta: ") {
            Some(own) => (Stream::Supervisor, own),
            None => (Stream::Stdout, text),
        };
        log.write(Record { stream, time, bytes: bytes::Bytes::copy_from_slice(text.as_bytes()) });
    }
    Ok(())
}
