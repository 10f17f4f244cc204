//! The outputs of one rank on their way here: what it lists is brought as it is listed, from the mailbox where it is there, else
//! from the rank itself; and when the rank is no more, what it has left in the mailbox.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::collect::{CollectError, Collector};
use super::fetch::Pieces;
use super::listing::Listing;
use super::mailbox::Mailbox;
use super::rank::{Frames, Listed};
use super::received::{Cause, Missing, Received};
use super::run::Shared;
use crate::sync::{File, Index, LeftOut, Page, Skipped};

/// A rank whose stream breaks is asked again so often without anything having come.
const TRIES: u32 = 4;
/// Between two such tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of a rank's outputs without having asked for them.
#[derive(Clone, Default)]
pub(super) struct Told {
    /// The number of the last change of its list.
    pub(super) sequence: u64,
    /// What the rank has left in the mailbox, where it is no more.
    pub(super) left: Option<Arc<Index>>,
    /// That is all of it: the rank need not be asked, and goes.
    pub(super) is_all: bool,
}

/// What came of a rank's outputs.
#[derive(Default)]
pub(super) struct Gathered {
    /// Whether all that the rank or its mailbox can give is here.
    pub(super) is_all: bool,
    /// What is missing, a sentence each.
    pub(super) missing: Vec<String>,
}

/// Brings the outputs of a rank.
pub(super) struct Gathering {
    rank: u32,
    shared: Arc<Shared>,
    frames: Option<Frames>,
    told: watch::Receiver<Told>,
    /// Which start of the supervisor the list is from, and how far it is known.
    instance: String,
    after: u64,
    /// Listed files that could not be had yet.
    waiting: BTreeMap<String, File>,
    /// Those that do not come, whoever is asked.
    missing: BTreeMap<String, Missing>,
    /// Pieces that came over streams that are gone.
    came: u64,
    skipped: Vec<Skipped>,
    left_out: Vec<LeftOut>,
}

impl Gathered {
    fn without(error: &CollectError) -> Self {
        Self { is_all: false, missing: vec![error.to_string()] }
    }
}

impl Gathering {
    pub(super) fn new(rank: u32, shared: Arc<Shared>, told: watch::Receiver<Told>) -> Self {
        let (frames, instance, after) = (None, String::new(), 0);
        let (waiting, missing) = (BTreeMap::new(), BTreeMap::new());
        Self {
            rank,
            shared,
            frames,
            told,
            instance,
            after,
            waiting,
            missing,
            came: 0,
            skipped: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Brings what is listed until the sender of `told` is gone, and then what there is.
    pub(super) async fn gather(mut self) -> Gathered {
        if self.shared.collector.is_none() {
            return Gathered::default();
        }
        let (mut is_complete, mut told) = (false, self.told.clone());
        while told.changed().await.is_ok() {
            let news = told.borrow_and_update().clone();
            if news.left.is_some() || news.sequence == self.after {
                continue;
            }
            match self.bring().await {
                Ok(complete) => is_complete = complete,
                Err(error @ CollectError::Write { .. }) => return Gathered::without(&error),
                // While the program runs, files come and go: the next list says what holds.
                Err(error) => tracing::debug!(rank = self.rank, %error, "outputs will be tried again"),
            }
        }
        let left = told.borrow().left.clone();
        let outcome = match left {
            _ if is_complete => Ok(Vec::new()),
            Some(index) => self.take_left(&index).await,
            None => self.bring_rest().await,
        };
        let mut gathered = match outcome {
            Ok(missing) => Gathered { is_all: missing.is_empty(), missing },
            Err(error) => Gathered::without(&error),
        };
        let missing = Received { missing: self.missing.values().cloned().collect(), ..Received::default() };
        gathered.missing.extend(missing.sentences());
        gathered.missing.extend(self.tell_skipped());
        self.tell_left_out().await;
        gathered
    }

    /// What could not be taken and is missing; what has no content that could be was told of by the rank.
    fn tell_skipped(&mut self) -> Vec<String> {
        let skipped = std::mem::take(&mut self.skipped);
        let missing = skipped.iter().filter(|skipped| !skipped.special);
        missing.map(|skipped| format!("rank {}: {skipped}", self.rank)).collect()
    }

    /// Says what stays behind by a rule; of several ranks that have the same, once.
    async fn tell_left_out(&mut self) {
        let Some(collector) = &self.shared.collector else { return };
        let mut collector = collector.lock().await;
        for left_out in std::mem::take(&mut self.left_out) {
            collector.say_left_out(&left_out, &self.shared.events);
        }
    }

    /// The rank has ended, and all that it has left is listed: nothing but a broken way keeps it away.
    async fn bring_rest(&mut self) -> Result<Vec<String>, CollectError> {
        let mut tries = 0;
        loop {
            let before = self.progress();
            let error = match self.bring().await {
                Ok(true) => return Ok(Vec::new()),
                Ok(false) => CollectError::Source {
                    path: "the outputs".to_owned(),
                    rank: self.rank,
                    reason: "the rank left no final list of them".to_owned(),
                },
                Err(error) => error,
            };
            if matches!(error, CollectError::Write { .. }) {
                return Err(error);
            }
            tracing::debug!(rank = self.rank, %error, "asking for the outputs again");
            if let Some(index) = self.left_in_mailbox().await.filter(|index| index.end.is_some()) {
                return self.take_left(&index).await;
            }
            tries = if before == self.progress() { tries + 1 } else { 0 };
            if tries == TRIES {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How far it has come: of the list, and in pieces.
    fn progress(&self) -> (u64, u64) {
        (self.after, self.came + self.frames.as_ref().map_or(0, |frames| frames.came))
    }

    fn close(&mut self) {
        self.came += self.frames.take().map_or(0, |frames| frames.came);
    }

    async fn left_in_mailbox(&mut self) -> Option<Index> {
        self.shared.mailbox.as_ref()?.index(self.rank).await.ok().flatten()
    }

    /// Brings what is listed and not known yet; gives whether that was the end of the list.
    async fn bring(&mut self) -> Result<bool, CollectError> {
        loop {
            let Listed { page, next, more, complete, anew } = self.list().await?;
            if anew {
                self.waiting.clear();
            }
            self.bring_page(page, complete).await?;
            self.after = next;
            if complete || !more {
                return Ok(complete);
            }
        }
    }

    async fn bring_page(&mut self, page: Page, is_last: bool) -> Result<(), CollectError> {
        let Page { files, removed, skipped, left_out } = page;
        (self.skipped, self.left_out) = (skipped, left_out);
        for path in removed.iter().chain(files.iter().map(|file| &file.path)) {
            self.waiting.remove(path);
            self.missing.remove(path);
        }
        self.waiting.extend(files.into_iter().map(|file| (file.path.clone(), file)));
        let files: Vec<File> = self.waiting.values().cloned().collect();
        match self.receive(files).await {
            Ok(lost) if lost.is_empty() => self.waiting.clear(),
            Ok(lost) => {
                let lost: BTreeMap<_, _> = lost.into_iter().map(|lost| (lost.path.clone(), lost)).collect();
                self.waiting.retain(|path, _| lost.contains_key(path));
                if is_last {
                    return Received { missing: lost.into_values().collect(), ..Received::default() }.whole();
                }
            }
            Err(error) if is_last || matches!(error, CollectError::Write { .. }) => return Err(error),
            Err(error) => tracing::debug!(rank = self.rank, %error, "some outputs have to wait"),
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<Listed, CollectError> {
        let failed = |rank, reason| CollectError::Source { path: "the list of outputs".to_owned(), rank, reason };
        if self.frames.is_none() {
            self.open().await.map_err(|reason| failed(self.rank, reason))?;
        }
        let frames = self.frames.as_mut().expect("opened just now");
        if frames.instance != self.instance {
            self.instance.clone_from(&frames.instance);
            self.after = 0;
            self.waiting.clear();
        }
        let listed = frames.list(self.after).await;
        if listed.is_err() {
            self.close();
        }
        listed.map_err(|reason| failed(self.rank, reason))
    }

    async fn open(&mut self) -> Result<(), String> {
        tokio::select! {
            opened = Frames::open(&self.shared.ways, self.rank) => self.frames = Some(opened?),
            Ok(_) = self.told.wait_for(|told| told.is_all) => return Err("the mailbox has all of it".to_owned()),
        }
        Ok(())
    }

    /// Brings what a rank that is no more has left in the mailbox; gives what is missing.
    async fn take_left(&mut self, index: &Index) -> Result<Vec<String>, CollectError> {
        let mut missing: Vec<String> = missing_of(index).into_iter().collect();
        if let Some(mailbox) = self.shared.mailbox.clone() {
            let mut listing = Listing::new(&mailbox, index);
            while let Some(files) = listing.next().await? {
                match self.receive(files).await {
                    Ok(lost) => self.missing.extend(lost.into_iter().map(|lost| (lost.path.clone(), lost))),
                    Err(error @ CollectError::Write { .. }) => return Err(error),
                    Err(error) => missing.push(error.to_string()),
                }
            }
        }
        self.skipped.clone_from(&index.skipped);
        self.left_out.clone_from(&index.left_out);
        Ok(missing)
    }

    /// Brings files: those that are in the mailbox from there, the others from the rank, which has to wait for it and so comes
    /// first. Gives those that may still be had.
    async fn receive(&mut self, files: Vec<File>) -> Result<Vec<Missing>, CollectError> {
        let shared = Arc::clone(&self.shared);
        let Some(collector) = shared.collector.as_ref().filter(|_| !files.is_empty()) else { return Ok(Vec::new()) };
        // Other ranks' outputs may take long.
        let mut collector = match &mut self.frames {
            Some(frames) => frames.hold_until(collector.lock()).await,
            None => collector.lock().await,
        };
        let Some(Mailbox { registry, repository, .. }) = &shared.mailbox else {
            return self.receive_from_rank(&mut collector, files).await;
        };
        let (sent, own): (Vec<File>, Vec<File>) =
            files.into_iter().partition(|file| file.size == 0 || !file.chunks.is_empty());
        let from_rank = self.receive_from_rank(&mut collector, own).await;
        let index = Index { rank: self.rank, files: sent, ..Index::default() };
        let mut pieces = Pieces::Mailbox(registry, repository);
        let rest = match collector.receive(&index, &mut pieces, &shared.events).await {
            Ok(received) => self.note(received),
            Err(error @ CollectError::Write { .. }) => return Err(error),
            Err(error) => {
                tracing::debug!(rank = self.rank, %error, "not in the mailbox");
                index.files.iter().map(|file| Missing::lost(self.rank, &file.path, error.to_string())).collect()
            }
        };
        // What the mailbox cannot give now the rank may, as long as it lives.
        let paths: HashSet<&str> = rest.iter().map(|lost| lost.path.as_str()).collect();
        let rest = index.files.into_iter().filter(|file| paths.contains(file.path.as_str())).collect();
        let again = self.receive_from_rank(&mut collector, rest).await;
        let mut lost = from_rank?;
        lost.extend(again?);
        Ok(lost)
    }

    /// Notes what does not come, whoever is asked; gives the rest of what did not.
    fn note(&mut self, received: Received) -> Vec<Missing> {
        let is_lost = |missing: &Missing| matches!(missing.cause, Cause::Lost(_));
        let (lost, final_): (Vec<_>, Vec<_>) = received.missing.into_iter().partition(is_lost);
        self.missing.extend(final_.into_iter().map(|missing| (missing.path.clone(), missing)));
        lost
    }

    async fn receive_from_rank(
        &mut self,
        collector: &mut Collector,
        files: Vec<File>,
    ) -> Result<Vec<Missing>, CollectError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let events = self.shared.events.clone();
        let index = Index { rank: self.rank, files, ..Index::default() };
        // A stream from before may be dead: what it runs in goes with the program.
        if let Some(open) = &mut self.frames {
            match collector.receive(&index, &mut Pieces::Control(open), &events).await {
                Ok(received) => return Ok(self.note(received)),
                Err(error @ CollectError::Write { .. }) => return Err(error),
                Err(error) => tracing::debug!(rank = self.rank, %error, "asking over another stream"),
            }
        }
        self.close();
        let failed = |rank, reason| CollectError::Source { path: "the outputs".to_owned(), rank, reason };
        self.open().await.map_err(|reason| failed(self.rank, reason))?;
        let open = self.frames.as_mut().expect("opened just now");
        let received = collector.receive(&index, &mut Pieces::Control(open), &events).await?;
        Ok(self.note(received))
    }
}

/// What of a rank's outputs an index does not have, in one sentence.
#[must_use]
pub fn missing_of(index: &Index) -> Option<String> {
    let rank = index.rank;
    match (&index.unsent, &index.end, index.complete) {
        (_, _, true) => None,
        (Some(unsent), ..) => Some(format!("outputs of rank {rank}: {unsent}")),
        (None, Some(_), false) => Some(format!("outputs of rank {rank}: it was gone before all of them were sent")),
        (None, None, false) => Some(format!("outputs of rank {rank}: it left no final list of them")),
    }
}
