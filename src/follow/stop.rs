//! Words with all supervisors of a run at once, apart from following it: that it is cancelled, and how its ranks are.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::rank::Frames;
use super::ways::Ways;
use crate::control::{PROTOCOL, Reply, Request};
use crate::event::RankState;

/// Whoever has not answered by then is not asked: the engine's own word does it too.
const LIMIT: Duration = Duration::from_secs(3);

/// Tells all ranks that the run is cancelled, and by whom: so it is in what each of them leaves, wherever that is read. All streams
/// are open before the first rank hears it, as the end of one is news to the others. Whoever calls ends the run by the
/// engine then, whatever came of this.
pub async fn cancel(ways: &Ways, nodes: u32, by: &str) {
    let opened = join_all((0..nodes).map(|rank| timeout(LIMIT, Frames::open(ways, rank)))).await;
    let tell = async |mut frames: Frames| {
        frames.send(Request::Stop { by: by.to_owned() }).await?;
        // What it answers shows that it has read the word before it.
        frames.send(Request::Hello { protocol: PROTOCOL }).await?;
        while !matches!(frames.next().await?, (Reply::Hello { .. }, _)) {}
        Ok::<_, String>(())
    };
    let reached = opened.into_iter().filter_map(|frames| frames.ok()?.ok());
    join_all(reached.map(|frames| timeout(LIMIT, tell(frames)))).await;
}

/// How the ranks are, as their supervisors say; without those that do not answer.
pub async fn states(ways: &Ways, nodes: u32) -> BTreeMap<u32, RankState> {
    let ask = async |rank| {
        let mut frames = Frames::open(ways, rank).await.ok()?;
        // Behind all that there is: its log is not wanted.
        frames.send(Request::Follow { offset: u64::MAX }).await.ok()?;
        loop {
            match frames.next().await.ok()?.0 {
                Reply::State(state) => return Some((rank, state)),
                Reply::Ended { end, .. } => return Some((rank, RankState::Ended(end))),
                _ => {}
            }
        }
    };
    let answers = join_all((0..nodes).map(|rank| timeout(LIMIT, ask(rank)))).await;
    answers.into_iter().filter_map(|answer| answer.ok()?).collect()
}
