//! Any bytes as what a stranger says at the gang's port, and as what ranks say to rank 0.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::channel::Channel;
use super::ranks::Ranks;
use super::{GangConfig, Message, Nodes, order_of, preflight};

/// A key that no bytes were made with.
const KEY: [u8; 32] = [0x5a; 32];
/// So many lines are messages, at most.
const MOST: usize = 64;

/// Nothing comes of what a stranger says, whether it calls or is called.
pub(crate) fn handshake(bytes: &[u8]) {
    let stranger = || tokio::io::join(bytes, tokio::io::sink());
    let answered = at_once(Channel::answering(stranger(), &KEY, || panic!("it has not proved the key")));
    assert!(answered.is_err());
    assert!(at_once(Channel::calling(stranger(), &KEY)).is_err());
}

/// What comes of something that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

/// A line is a message of one of two ranks: whatever they say, rank 0 keeps its senses.
pub(crate) fn messages(bytes: &[u8]) {
    let config = GangConfig { nodes: Nodes { least: 2, most: 3 }, replaced: true, ..GangConfig::default() };
    let (mut ranks, mut own) = Ranks::new(config);
    let mut links = BTreeMap::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').take(MOST).enumerate() {
        let Ok(message) = serde_json::from_slice::<Message>(line) else { continue };
        let text = serde_json::to_vec(&message).expect("text keys");
        assert_eq!(serde_json::from_slice::<Message>(&text).expect("our own"), message);
        let rank = if number % 2 == 0 { 1 } else { 2 };
        match message {
            Message::Hello(hello) => {
                if let Ok(link) = ranks.arrive(&hello, None) {
                    assert!((1..=2).contains(&hello.rank) && hello.run.is_empty(), "{hello:?}");
                    links.insert(hello.rank, link);
                }
            }
            Message::Ended(report) if links.contains_key(&rank) => ranks.report(rank, report),
            Message::Pong { quiet } => ranks.quiet(rank, Duration::from_millis(quiet)),
            Message::Inspected(found) if links.contains_key(&rank) => ranks.inspected(rank, *found),
            other => drop(order_of(other)),
        }
        ranks.watch_over(Duration::ZERO, Duration::from_secs(10));
    }
    let found = ranks.inspections(true).unwrap_or_default();
    assert!(found.len() <= 3 && preflight::report(&found, 3, 1).len() <= 5);
    let _ = (ranks.missing(), std::iter::from_fn(|| own.try_recv().ok()).count());
}
