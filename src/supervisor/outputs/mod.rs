//! The outputs of a rank: watched while they are written, listed, and pushed to the mailbox where there is one.
//!
//! Owns: what of the outputs folder, of the working directory and of the log is told to workstations and to the mailbox. Does not own: who asks
//! (`control_server`), the journal itself. Start reading at [`Outputs`]; `looks` sees what has changed (`workspace`: what the
//! program has made where it runs; `bounds`: how much of it comes), `sender` takes it, `catalogue` lists it, and `pages` is the list's form in the mailbox.

mod activity;
mod bounds;
mod catalogue;
mod files;
mod finish;
mod legacy;
mod log;
mod looks;
mod mailbox;
mod pages;
mod places;
mod segments;
mod sender;
mod shipping;
mod usual;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, watch};

use super::journal::{Journal, say};
pub(super) use activity::Activity;
use catalogue::{Catalogue, Part, Reader, Tail};
use files::{Found, Version, read_piece};
use looks::{Due, Look, Looks, Pass};
use mailbox::Mailbox;
pub(super) use mailbox::MailboxConfig;
use pages::Pages;
pub(super) use places::Places;
use shipping::Shipping;
use workspace::Workspace;

use crate::sync::{File, Index, JournalCopy, LeftOut, Page, Skipped};

/// How often the folder is looked at; less often where looking takes long, so that it costs the program little.
const INTERVAL: Duration = Duration::from_secs(2);
const SHARE: u32 = 20;
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
/// So many things that cannot be taken are named.
const NAMED: usize = 1000;
/// So many are named while the run goes on.
const SAID: usize = 10;
/// Where so many small blobs have come together, each of less than so many bytes, what is in them is packed anew.
const SCATTERED: (usize, u64) = (256, 256 * 1024);

/// The outputs of a rank.
#[derive(Clone)]
pub(super) struct Outputs(Arc<Inner>);

struct Inner {
    run: String,
    rank: u32,
    places: Places,
    /// The working directory as it was before the program was.
    workspace: OnceCell<Option<Arc<Workspace>>>,
    mailbox: Option<Mailbox>,
    activity: Activity,
    /// What was seen of each file.
    looks: Mutex<Looks>,
    /// What is listed of them.
    catalogue: Mutex<Catalogue>,
    /// What of the last look cannot be taken.
    skipped: Mutex<Vec<Skipped>>,
    /// What of the last look stays there by a rule.
    left_out: Mutex<Vec<LeftOut>>,
    /// What was said of things that cannot be taken.
    said: Mutex<BTreeSet<String>>,
    journal: Arc<Journal>,
    /// What is still to be sent at the end.
    unsent: Mutex<BTreeMap<Arc<str>, Due>>,
    /// How far the list goes that workstations may ask for.
    news: watch::Sender<News>,
    /// What the mailbox was told last.
    published: tokio::sync::Mutex<Published>,
    /// The log's way to the mailbox, and the name of this start of the supervisor in it.
    shipping: tokio::sync::Mutex<Shipping>,
    instance: String,
    /// Counts the looks at which something had changed.
    moves: watch::Sender<u64>,
    /// The journals of containers whose place this one has taken.
    former: Mutex<Vec<JournalCopy>>,
}

/// How far the list of outputs goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The number of its last change.
    pub(super) sequence: u64,
    /// Whether it is final.
    pub(super) complete: bool,
}

/// A part of the list for a workstation.
pub(super) struct Listed {
    /// A [`Page`] as JSON.
    pub(super) page: Bytes,
    pub(super) next: u64,
    pub(super) more: bool,
    pub(super) complete: bool,
    /// Whether the list begins anew with it.
    pub(super) anew: bool,
}

#[derive(Clone, Default)]
struct Published {
    index: Index,
    pages: Pages,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outputs {
    pub(super) fn new(
        run: &str,
        rank: u32,
        instance: &str,
        places: Places,
        mailbox: Option<&MailboxConfig>,
        journal: Arc<Journal>,
    ) -> Result<Self, String> {
        let activity = Activity::new();
        let mailbox = mailbox.map(|config| Mailbox::open(config, activity.clone()));
        let mailbox = mailbox.transpose().map_err(|error| error.to_string())?;
        let _ = fs::create_dir_all(&places.outputs);
        let index = Index { schema: 2, run: run.to_owned(), rank, ..Index::default() };
        Ok(Self(Arc::new(Inner {
            run: run.to_owned(),
            rank,
            places,
            workspace: OnceCell::new(),
            mailbox,
            activity,
            looks: Mutex::default(),
            catalogue: Mutex::default(),
            skipped: Mutex::default(),
            left_out: Mutex::default(),
            said: Mutex::default(),
            journal,
            unsent: Mutex::default(),
            news: watch::Sender::default(),
            published: tokio::sync::Mutex::new(Published { index, pages: Pages::default() }),
            shipping: tokio::sync::Mutex::default(),
            instance: instance.to_owned(),
            moves: watch::Sender::new(0),
            former: Mutex::default(),
        })))
    }

    /// Remembers the working directory as it is: what the program then makes or changes there comes back.
    pub(super) async fn remember(&self) {
        self.0.workspace().await;
    }

    /// Takes over what a former container of this rank has left in the mailbox; gives how many files, where there was one.
    /// What cannot be brought back stays listed.
    pub(super) async fn take_over(&self) -> Result<Option<usize>, String> {
        let Some(mailbox) = &self.0.mailbox else { return Ok(None) };
        let left = mailbox.left_by(&self.0.run, self.0.rank).await.map_err(|error| error.to_string())?;
        let Some(left) = left else { return Ok(None) };
        self.remember().await;
        let (restored, problem) = legacy::restore(mailbox, self.0.rank, &left.files, &self.0.places).await;
        let count = restored.len();
        for (file, version) in restored {
            lock(&self.0.looks).take(&file.path, version);
        }
        left.files.into_iter().for_each(|file| self.0.catalogue().list(file));
        for (blob, size) in &left.blobs {
            self.0.catalogue().know_blob(blob, *size);
        }
        let former: Vec<JournalCopy> = left.index.former.into_iter().chain(left.index.journal).collect();
        lock(&self.0.former).clone_from(&former);
        let mut published = self.0.published.lock().await;
        (published.index.former, published.index.sequence) = (former, left.index.sequence);
        problem.map_or(Ok(Some(count)), Err)
    }

    /// How far the list goes, as it grows.
    pub(super) fn news(&self) -> watch::Receiver<News> {
        self.0.news.subscribe()
    }

    /// Changes whenever files have.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// Whether anything moves on its way out.
    pub(super) fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// Looks at the folder again and again.
    pub(super) async fn watch(&self) {
        let mut interval = INTERVAL;
        loop {
            tokio::time::sleep(interval).await;
            match self.pass().await {
                Ok(looking) => interval = (looking * SHARE).clamp(INTERVAL, LONGEST_INTERVAL),
                Err(problem) => say(&format!("outputs will be sent later: {problem}")),
            }
        }
    }

    /// A piece of a file that is listed.
    pub(super) async fn fetch(&self, path: &str, offset: u64, len: u32) -> Result<Bytes, String> {
        let Some(version) = lock(&self.0.looks).taken(path) else {
            return Err(format!("`{path}` is none of the outputs"));
        };
        let path = self.0.places.path(version.origin, path);
        let read = tokio::task::spawn_blocking(move || read_piece(&path, &version, offset, len));
        let read = read.await.map_err(|error| error.to_string())?;
        self.0.activity.stirs();
        read.map_err(|error| error.to_string())
    }

    /// What is listed behind a number.
    pub(super) fn listed(&self, after: u64) -> Listed {
        let News { sequence, complete } = *self.0.news.borrow();
        let catalogue = self.0.catalogue();
        let anew = catalogue.is_outdated(after);
        let after = if anew { 0 } else { after };
        let part = catalogue.part(Reader::Follower, after, sequence, Tail::default());
        let more = part.next < sequence;
        // What could not be taken is told with the end of the list.
        let (skipped, left_out) = (lock(&self.0.skipped), lock(&self.0.left_out));
        let tail = Tail { skipped: &skipped, left_out: &left_out };
        let Part { json, next, .. } =
            if complete && !more { catalogue.part(Reader::Follower, after, sequence, tail) } else { part };
        self.0.activity.stirs();
        Listed { page: json.into(), next, more, complete: complete && !more, anew }
    }

    /// Takes what has stood still since the last look; gives how long the look took.
    async fn pass(&self) -> Result<Duration, String> {
        let begin = tokio::time::Instant::now();
        let mut look = self.0.look(Pass::Running).await?;
        let looking = begin.elapsed();
        look.due.extend(self.0.scattered());
        if look.due.is_empty() && look.gone.is_empty() {
            return Ok(looking);
        }
        let failed = sender::send(&self.0, self.0.mailbox.as_ref(), look.due).await;
        let published = self.0.publish(|_| ()).await;
        self.0.tell_followers(false);
        failed.reason.map_or(Ok(()), Err).and(published).map(|()| looking)
    }
}

impl Inner {
    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        lock(&self.catalogue)
    }

    /// The working directory; `None` where nothing of it comes back.
    async fn workspace(self: &Arc<Self>) -> Option<Arc<Workspace>> {
        let remember = || async {
            let inner = Arc::clone(self);
            let _ = inner.places.workspace.as_ref()?;
            let remembering = move || Arc::new(Workspace::remember(&inner.places, &inner.activity));
            tokio::task::spawn_blocking(remembering).await.ok()
        };
        self.workspace.get_or_init(remember).await.clone()
    }

    /// What the folders hold now; what is no more is no longer listed.
    async fn look(self: &Arc<Self>, pass: Pass) -> Result<Look, String> {
        let (inner, workspace) = (Arc::clone(self), self.workspace().await);
        let looking = tokio::task::spawn_blocking(move || {
            let mut found = Found::default();
            found.list(&inner.places, &inner.activity);
            if let Some(workspace) = workspace {
                workspace.look(&inner.places, pass, &inner.activity, &mut found);
            }
            if inner.places.shared.is_some() {
                Workspace::shared().look(&inner.places, pass, &inner.activity, &mut found);
            }
            let mut looks = lock(&inner.looks);
            bounds::keep(&mut found, &inner.places.patterns, |path| looks.knows(path));
            looks.look(found, pass)
        });
        let mut look = looking.await.map_err(|error| error.to_string())?;
        let mut catalogue = self.catalogue();
        look.gone.iter().for_each(|path| catalogue.remove(path));
        drop(catalogue);
        lock(&self.skipped).clear();
        *lock(&self.left_out) = std::mem::take(&mut look.left_out);
        self.say_special(&look.skipped);
        self.skip(std::mem::take(&mut look.skipped));
        if look.moved {
            self.moves.send_modify(|moves| *moves += 1);
        }
        Ok(look)
    }

    /// Files in blobs that are too many and too small: they are to be taken again, together.
    fn scattered(&self) -> Vec<Due> {
        let catalogue = self.catalogue();
        if self.mailbox.is_none() || catalogue.blob_count() <= SCATTERED.0 {
            return Vec::new();
        }
        let scattered = catalogue.scattered(SCATTERED.1);
        if scattered.len() <= SCATTERED.0 { Vec::new() } else { lock(&self.looks).again(scattered) }
    }

    /// Says at once, and once, what has no content that could come: whoever counts on it should know while the run goes on.
    fn say_special(&self, skipped: &[Skipped]) {
        let mut said = lock(&self.said);
        for one in skipped.iter().filter(|one| one.special) {
            if said.len() < SAID && said.insert(one.path.clone()) {
                self.journal.say(&one.to_string());
            }
        }
    }

    /// Notes what cannot be taken; of very much only how much it is.
    fn skip(&self, more: Vec<Skipped>) {
        let mut skipped = lock(&self.skipped);
        let room = NAMED.saturating_sub(skipped.len());
        let unnamed = more.len().saturating_sub(room);
        let mut unsent = lock(&self.unsent);
        for one in &more {
            unsent.remove(one.path.as_str());
        }
        skipped.extend(more.into_iter().take(room));
        if unnamed > 0 {
            let (path, reason) = ("…".to_owned(), format!("{unnamed} more could not be taken"));
            skipped.push(Skipped { path, reason, special: false });
        }
    }

    /// Lists files that were taken; `is_sent`: they are in the mailbox.
    fn list(&self, files: Vec<(Version, File)>, is_sent: bool) {
        let mut looks = lock(&self.looks);
        let mut catalogue = self.catalogue();
        let mut unsent = lock(&self.unsent);
        for (version, mut file) in files {
            looks.take(&file.path, version);
            if is_sent {
                unsent.remove(file.path.as_str());
            } else {
                file.chunks = Vec::new();
            }
            catalogue.list(file);
        }
    }

    /// Tells workstations that there is more to ask for.
    fn tell_followers(&self, complete: bool) {
        let sequence = self.catalogue().end();
        self.news.send_if_modified(|news| std::mem::replace(news, News { sequence, complete }) != *news);
    }

    /// Changes what the mailbox is told; its list of files is the present one.
    async fn publish(&self, change: impl FnOnce(&mut Index)) -> Result<(), String> {
        let Some(mailbox) = &self.mailbox else { return Ok(()) };
        let mut published = self.published.lock().await;
        let plan = published.pages.plan(&mut self.catalogue());
        let mut references = Vec::new();
        for (json, ..) in &plan.new {
            references.push(mailbox.push_page(json.clone()).await.map_err(|error| error.to_string())?);
        }
        published.pages = published.pages.after(&plan, references);
        let mut index = published.index.clone();
        change(&mut index);
        index.sequence += 1;
        index.pages = published.pages.references();
        let blobs = {
            let catalogue = self.catalogue();
            let rest = catalogue.part(Reader::Mailbox, published.pages.end(), catalogue.end(), Tail::default());
            let rest: Page = serde_json::from_slice(&rest.json).map_err(|error| error.to_string())?;
            (index.files, index.removed) = (rest.files, rest.removed);
            catalogue.blobs().map(|(digest, size)| (digest.clone(), size)).collect()
        };
        mailbox.publish(&index, blobs).await.map_err(|error| error.to_string())?;
        published.index = index;
        Ok(())
    }

    /// What an index says of the log: journals of former containers, then what is there of this one's.
    fn tell_of_log(&self, index: &mut Index, mut own: Vec<JournalCopy>) {
        index.journal = own.pop();
        index.former.clone_from(&lock(&self.former));
        index.former.append(&mut own);
    }
}
