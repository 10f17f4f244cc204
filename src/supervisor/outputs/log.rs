//! The log on its way to the mailbox, while it grows and at its end.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Outputs;
use super::mailbox::Mailbox;
use crate::supervisor::journal::{Journal, say};
use crate::sync::JournalCopy;

/// How long the log may wait before it is sent, for each rank of the run, so that the mailbox has the same to do however
/// many there are; and the bounds of that.
const LOG_INTERVAL: Duration = Duration::from_millis(500);
const LOG_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(30);
/// Between two segments of a log that is sent while the program runs: 8 MiB/s, so that the program has the rest.
const BREATH: Duration = Duration::from_millis(250);
/// How long sending that has been told to stop may take to do so.
const HANDOVER: Duration = Duration::from_secs(1);

impl Outputs {
    /// Sends the log as it grows, in a run of so many ranks, until the last pass.
    pub(in crate::supervisor) async fn ship(&self, journal: Arc<Journal>, nodes: u32) {
        let Some(mailbox) = &self.0.mailbox else { return };
        let interval = (LOG_INTERVAL * nodes).clamp(*LOG_INTERVALS.start(), *LOG_INTERVALS.end());
        let mut grown = journal.end();
        let mut is_troubled = false;
        loop {
            if !is_troubled && grown.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(interval).await;
            grown.mark_unchanged();
            match self.ship_news(mailbox, &journal).await {
                Ok(true) => is_troubled = false,
                Ok(false) => return,
                Err(problem) => {
                    if !std::mem::replace(&mut is_troubled, true) {
                        say(&format!("the log will be sent later: {problem}"));
                    }
                }
            }
        }
    }

    /// Sends what is new in the log; `false` when the last pass has begun.
    async fn ship_news(&self, mailbox: &Mailbox, journal: &Arc<Journal>) -> Result<bool, String> {
        let mut more = true;
        while more {
            let mut shipping = self.0.shipping.lock().await;
            if shipping.is_closed {
                return Ok(false);
            }
            more = shipping.step(mailbox, journal).await?;
            let copies = shipping.copies(&self.0.instance, false);
            self.0.publish(|index| self.0.tell_of_log(index, copies)).await?;
            drop(shipping);
            tokio::time::sleep(BREATH).await;
        }
        Ok(true)
    }

    /// Sends the rest of the log, and gives what the mailbox then has of it; nothing of it is sent behind that.
    pub(super) async fn ship_rest(
        &self,
        mailbox: &Mailbox,
        journal: &Arc<Journal>,
    ) -> Result<Vec<JournalCopy>, String> {
        let mut shipping = self.0.shipping.lock().await;
        shipping.is_closed = true;
        while shipping.step(mailbox, journal).await? {}
        Ok(shipping.copies(&self.0.instance, true))
    }

    /// What the mailbox has of a log of which not everything could be sent; nothing where sending has not even stopped.
    pub(super) async fn shipped_part(&self) -> Option<Vec<JournalCopy>> {
        // Whoever waited for the lock sees first that nothing more is to be sent.
        let shipping = tokio::time::timeout(HANDOVER, self.0.shipping.lock()).await.ok()?;
        Some(shipping.copies(&self.0.instance, false))
    }
}
