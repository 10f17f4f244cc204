//! The end of a rank's outputs: everything is taken as it is, and sent until all is there or nothing moves any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::looks::{Due, Pass};
use super::{Outputs, lock, sender};
use crate::event::End;
use crate::supervisor::journal::Journal;
use crate::sync::{Index, JournalCopy, Unsent};

/// Between two tries to send what the mailbox did not take.
const AGAIN: Duration = Duration::from_secs(1);
/// The last word to the mailbox is tried for so long, whatever became of the outputs.
const LAST_WORD: Duration = Duration::from_secs(10);
/// A folder that is looked at may stand still for so long at least.
const LOOK: Duration = Duration::from_secs(10);
/// So many names of files that were not sent are told.
const EXAMPLES: usize = 5;

/// What came of the last pass.
pub(in crate::supervisor) struct Finished {
    /// Whether everything is in the mailbox.
    pub(in crate::supervisor) in_mailbox: bool,
    /// What went wrong, in one sentence.
    pub(in crate::supervisor) problem: Option<String>,
    /// What of the outputs is lost, in one sentence.
    pub(in crate::supervisor) lost: Option<String>,
    /// What is lost unless a workstation takes it from here.
    pub(in crate::supervisor) left_here: Option<String>,
}

impl Outputs {
    /// Takes everything that is there now; the program is no more. Without an `end` another container goes on. It ends when
    /// nothing has moved for as long as `limit`.
    pub(in crate::supervisor) async fn finish(
        &self,
        end: Option<&End>,
        journal: &Arc<Journal>,
        limit: Duration,
    ) -> Finished {
        let activity = self.activity();
        activity.stirs();
        let (copies, unshipped) = match &self.0.mailbox {
            Some(mailbox) => match activity.unless_still(limit, self.ship_rest(mailbox, journal)).await {
                Some(Ok(copies)) => (Some(copies), None),
                Some(Err(problem)) => (self.shipped_part().await, Some(problem)),
                None => (self.shipped_part().await, Some(format!("the log: {}", stood_still(limit)))),
            },
            None => (None, None),
        };
        // The files are listed whatever became of the log: they can still be had over the control stream. A mailbox that did not take
        // the log is not waited for as long again.
        let (answers, patience) = if unshipped.is_some() { (false, LAST_WORD.min(limit)) } else { (true, limit) };
        activity.stirs();
        let sent = self.finish_files(end, patience, copies.as_deref(), answers).await;
        let lost = lock(&self.0.skipped).iter().find(|skipped| !skipped.special).map(ToString::to_string);
        let files = self.0.catalogue().files();
        let left_here = match (sent.as_ref().err(), &self.0.mailbox) {
            (Some(unsent), _) => Some(unsent.to_string()),
            (None, None) if files > 0 => Some(format!("{files} files were left behind: no workstation came for them")),
            _ => None,
        };
        let has_mailbox = self.0.mailbox.is_some();
        let problem = unshipped.or_else(|| sent.err().map(|unsent| unsent.to_string())).filter(|_| has_mailbox);
        Finished { in_mailbox: has_mailbox && problem.is_none(), problem, lost, left_here }
    }

    async fn finish_files(
        &self,
        end: Option<&End>,
        limit: Duration,
        log: Option<&[JournalCopy]>,
        mailbox_answers: bool,
    ) -> Result<(), Unsent> {
        // A disk answers, or hangs; it is nobody's link.
        let looking = limit.max(LOOK);
        let looked = self.activity().unless_still(looking, self.0.look(Pass::Last)).await;
        let looked = looked.unwrap_or_else(|| Err(stood_still(looking)));
        let (due, problem) = looked.map_or_else(|problem| (Vec::new(), Some(problem)), |look| (look.due, None));
        let say_end = |index: &mut Index, complete: bool, unsent: Option<Unsent>| {
            if let Some(log) = log {
                self.0.tell_of_log(index, log.to_vec());
            }
            (index.end, index.unsent) = (end.cloned(), unsent);
            index.complete = complete && end.is_some();
            index.skipped.clone_from(&lock(&self.0.skipped));
            index.left_out.clone_from(&lock(&self.0.left_out));
        };
        if !due.is_empty() && mailbox_answers {
            // Should this be the last word, it tells the end and the log, and not that all is there.
            let early = self.0.publish(|index| say_end(index, false, None));
            let _ = tokio::time::timeout(LAST_WORD.min(limit), early).await;
        }
        let mut sent = self.send_all(due, limit).await;
        if let Some(reason) = problem {
            sent = Err(Unsent { reason, ..Unsent::default() });
        }
        let unsent = sent.as_ref().err().cloned();
        let limit = if unsent.is_some() { LAST_WORD.min(limit) } else { limit };
        let last_word = self.0.publish(|index| say_end(index, unsent.is_none(), unsent));
        let told = self.activity().unless_still(limit, last_word).await;
        self.0.tell_followers(true);
        let told = told.unwrap_or_else(|| Err("the mailbox does not answer".to_owned()));
        sent.and(told.map_err(|reason| Unsent { reason, ..Unsent::default() }))
    }

    /// Sends files until all are sent, or nothing moves any more; what the mailbox does not take is listed for those who ask the
    /// rank itself.
    async fn send_all(&self, due: Vec<Due>, limit: Duration) -> Result<(), Unsent> {
        lock(&self.0.unsent).extend(due.iter().map(|due| (Arc::clone(&due.path), due.clone())));
        let reason = Mutex::new(None);
        self.activity().stirs();
        let sending = async {
            let mut rest = due;
            while !rest.is_empty() {
                let failed = sender::send(&self.0, self.0.mailbox.as_ref(), rest).await;
                self.0.skip(failed.unread);
                rest = failed.unsent;
                if let Some(problem) = failed.reason {
                    *lock(&reason) = Some(problem);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        if self.activity().unless_still(limit, sending).await.is_some() {
            return Ok(());
        }
        let rest = lock(&self.0.unsent).clone();
        let names = rest.keys().take(EXAMPLES).map(ToString::to_string).collect();
        let reason = lock(&reason).take().unwrap_or_else(|| stood_still(limit));
        let unsent = Unsent { files: rest.len() as u64, bytes: rest.values().map(|due| due.size).sum(), names, reason };
        let due = rest.into_values().collect();
        self.activity().stirs();
        let listed = self.activity().unless_still(limit, sender::send(&self.0, None, due)).await;
        self.0.skip(listed.map(|failed| failed.unread).unwrap_or_default());
        Err(unsent)
    }
}

fn stood_still(limit: Duration) -> String {
    format!("nothing moved for {} s", limit.as_secs())
}
