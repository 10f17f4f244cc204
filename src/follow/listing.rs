//! All files that an index lists, page by page. The newest page comes first, so that of a file nothing is brought that something
//! newer has taken the place of.

use std::collections::HashSet;

use super::collect::CollectError;
use super::mailbox::Mailbox;
use crate::sync::{File, Index, MAX_PAGE, Page, PageRef};

/// What is read of a list.
pub struct Listing<'a> {
    mailbox: &'a Mailbox,
    rank: u32,
    /// What goes with the index itself, as long as it was not read.
    rest: Option<Page>,
    pages: std::slice::Iter<'a, PageRef>,
    /// Paths of which the newest word was read.
    known: HashSet<String>,
}

impl<'a> Listing<'a> {
    /// The list of `index`, which is in `mailbox`.
    #[must_use]
    pub fn new(mailbox: &'a Mailbox, index: &'a Index) -> Self {
        let rest = Page { files: index.files.clone(), removed: index.removed.clone(), ..Page::default() };
        Self { mailbox, rank: index.rank, rest: Some(rest), pages: index.pages.iter(), known: HashSet::new() }
    }

    /// The files of the next page; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<File>>, CollectError> {
        let page = match self.rest.take() {
            Some(rest) => rest,
            None => match self.pages.next_back() {
                Some(page) => self.read(page).await?,
                None => return Ok(None),
            },
        };
        let is_last = self.pages.len() == 0;
        let mut files = page.files;
        files.retain(|file| !self.known.contains(&file.path));
        if !is_last {
            self.known.extend(page.removed);
            self.known.extend(files.iter().map(|file| file.path.clone()));
        }
        Ok(Some(files))
    }

    async fn read(&self, page: &PageRef) -> Result<Page, CollectError> {
        let bytes = self.mailbox.registry.pull_blob(&self.mailbox.repository, &page.blob, MAX_PAGE).await?;
        serde_json::from_slice(&bytes).map_err(|error| CollectError::Source {
            path: "the list of outputs".to_owned(),
            rank: self.rank,
            reason: error.to_string(),
        })
    }
}
