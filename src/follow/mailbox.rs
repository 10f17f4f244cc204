//! The mailbox as the workstation reads it: what ranks left there outlives their pods.

use std::ops::ControlFlow;

use super::collect::CollectError;
use crate::digest::Digest;
use crate::image::compose::config_of;
use crate::registry::{Registry, RegistryError};
use crate::sync::journal::{Record, Records};
use crate::sync::{Chunk, Index, JournalCopy, index_tag};

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
        let damaged = |reason: String| CollectError::Source { path: "the list of outputs".to_owned(), rank, reason };
        let tag = index_tag(&self.run, rank);
        let Some(manifest) = self.registry.pull_manifest(&self.repository, &tag).await? else { return Ok(None) };
        let (config, _) = config_of(&manifest.bytes).map_err(|error| damaged(error.to_string()))?;
        let bytes = self.registry.pull_blob(&self.repository, &config).await?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// The records of a journal from `offset` on, each with the offset behind it, until `take` has enough.
    pub(super) async fn journal(
        &self,
        journal: &JournalCopy,
        offset: u64,
        mut take: impl FnMut(Record, u64) -> ControlFlow<()>,
    ) -> Result<(), CollectError> {
        let mut records = Records::default();
        let mut next = journal.start;
        for chunk in &journal.chunks {
            records.push(&self.chunk(chunk).await?);
            while let Some(record) = records.next_record().map_err(|error| self.damaged(error.to_string()))? {
                next += record.len();
                if next > offset && take(record, next).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn chunk(&self, chunk: &Chunk) -> Result<bytes::Bytes, CollectError> {
        let bytes = self.registry.pull_range(&self.repository, &chunk.blob, chunk.offset, chunk.size).await?;
        if Digest::of(&bytes) == chunk.digest {
            return Ok(bytes);
        }
        Err(self.damaged("its bytes are not those that were announced".to_owned()))
    }

    fn damaged(&self, reason: String) -> CollectError {
        let host = self.registry.host().to_owned();
        CollectError::Mailbox(RegistryError::Source { host, path: format!("the log of {}", self.run), reason })
    }
}
