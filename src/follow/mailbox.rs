//! The mailbox as the workstation reads it: what ranks left there outlives their pods.

use std::ops::ControlFlow;

use super::collect::CollectError;
use crate::digest::Digest;
use crate::image::compose::blobs_of;
use crate::registry::Registry;
use crate::sync::journal::{Record, Records};
use crate::sync::{Index, JournalCopy, MAX_BLOB, index_tag};

/// Where the ranks of a run leave their outputs and journals.
#[derive(Clone)]
pub struct Mailbox {
    /// The registry, as the workstation reaches it.
    pub registry: Registry,
    /// The repository in it.
    pub repository: String,
    /// The run's name.
    pub run: String,
}

impl Mailbox {
    /// What a rank has left so far; `None` when there is nothing.
    pub async fn index(&self, rank: u32) -> Result<Option<Index>, CollectError> {
        Ok(self.index_and_blobs(rank).await?.map(|(index, _)| index))
    }

    /// The same, and the blobs that are kept with it, with their sizes in bytes.
    pub async fn index_and_blobs(&self, rank: u32) -> Result<Option<(Index, Vec<(Digest, u64)>)>, CollectError> {
        let damaged = |reason| CollectError::Source { path: "the list of outputs".to_owned(), rank, reason };
        let tag = index_tag(&self.run, rank);
        let Some(manifest) = self.registry.pull_manifest(&self.repository, &tag).await? else { return Ok(None) };
        let (config, blobs) = blobs_of(&manifest.bytes).map_err(|error| damaged(error.to_string()))?;
        let bytes = self.registry.pull_blob(&self.repository, &config, MAX_BLOB).await?;
        let index = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        Ok(Some((index, blobs)))
    }

    /// The records of a journal from `offset` on, each with the offset behind it, until `take` has enough.
    pub(super) async fn journal(
        &self,
        rank: u32,
        journal: &JournalCopy,
        offset: u64,
        mut take: impl FnMut(Record, u64) -> ControlFlow<()>,
    ) -> Result<(), CollectError> {
        let damaged = |reason| CollectError::Source { path: "the log".to_owned(), rank, reason };
        journal.check().map_err(|reason| damaged(reason.to_owned()))?;
        let mut next = journal.start;
        for chunk in &journal.chunks {
            let end = next + chunk.size;
            if end <= offset {
                next = end;
                continue;
            }
            let bytes = self.registry.pull_blob_range(&self.repository, &chunk.blob, chunk.offset, chunk.size).await?;
            if Digest::of(&bytes) != chunk.digest {
                return Err(damaged("its bytes are not those that were announced".to_owned()));
            }
            let mut records = Records::from(bytes);
            while let Some(record) = records.next_record().map_err(|error| damaged(error.to_string()))? {
                next += record.len();
                if next > offset && take(record, next).is_break() {
                    return Ok(());
                }
            }
            if next != end {
                return Err(damaged("a record of it has no end".to_owned()));
            }
        }
        Ok(())
    }
}
