//! One list of outputs, from what is to come to what has come.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::OptionFuture;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

use super::collect::{CollectError, Collector, in_folder, lock, path_of};
use super::fetch::{Content, Pieces, Wanted};
use super::folder::{Look, OutputsFolder, Part};
use super::received::{Cause, Missing, Received};
use crate::digest::Digest;
use crate::event::{Event, Events};
use crate::sync::{self, File, Index, Limit, Taken};

/// So many small files are put in place at once: one wait for the disk is enough for them.
const BATCH: usize = 2000;
/// And so many bytes of them.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// Others have their turn after so many files were looked at.
const TURN: usize = 500;

/// A list of outputs on its way.
pub(super) struct Round<'a> {
    collector: &'a mut Collector,
    rank: u32,
    events: &'a Events,
    pub(super) received: Received,
    putting: Option<JoinHandle<Vec<Put>>>,
}

/// A file that is to be put in place, with its bytes.
struct Arrived {
    path: String,
    file: File,
    bytes: Bytes,
}

/// What came of putting a file in place: where it is.
struct Put {
    path: String,
    file: File,
    outcome: Result<String, Failed>,
}

/// Why a file did not come: something of its own, or what keeps all others away too.
enum Failed {
    Here(Cause),
    Full(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        use ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full(error),
            _ => Self::Here(Cause::Unwritten(error.to_string())),
        }
    }
}

impl<'a> Round<'a> {
    pub(super) fn new(collector: &'a mut Collector, rank: u32, events: &'a Events) -> Self {
        Self { collector, rank, events, received: Received::default(), putting: None }
    }

    /// The files that are to come: not here yet, with names and sizes that can be, and within what the run may take.
    pub(super) async fn choose<'b>(&mut self, index: &'b Index) -> Vec<Wanted<'b>> {
        let (mut wanted, mut more, mut recounted) = (Vec::new(), Taken::default(), false);
        let mut former = None;
        for (at, file) in index.files.iter().enumerate() {
            if at % TURN == TURN - 1 {
                yield_now().await;
            }
            let twice = former.replace(&file.path) == Some(&file.path);
            let checked = sync::acceptable(&file.path, self.rank).and_then(|()| file.check());
            if let Err(reason) = if twice { Err("it is listed twice") } else { checked } {
                self.miss(&file.path, Cause::Refused(reason));
                continue;
            }
            if self.collector.is_of_lower_rank(self.rank, file) {
                continue;
            }
            let path = path_of(self.rank, &file.path);
            match self.is_wanted(&path, file, &mut more, &mut recounted) {
                Ok(true) => wanted.push(Wanted { path, file }),
                Ok(false) => {}
                Err(cause) => self.miss(&file.path, cause),
            }
        }
        wanted
    }

    fn is_wanted(&mut self, path: &str, file: &File, more: &mut Taken, recounted: &mut bool) -> Result<bool, Cause> {
        if self.collector.brought.get(path) == Some(&file.digest) {
            return Ok(false);
        }
        let mut folder = lock(&self.collector.folder);
        match folder.look(path, file) {
            Ok(Look::Missing(_)) => {}
            Ok(Look::Here(_)) => {
                drop(folder);
                self.collector.brought.insert(path.to_owned(), file.digest.clone());
                return Ok(false);
            }
            Err(error) => return Err(Cause::Unwritten(error.to_string())),
        }
        let one = Taken { size: file.size.saturating_sub(folder.taken_at(path)), files: 1 };
        let sum = Taken { size: more.size.saturating_add(one.size), files: more.files + one.files };
        let mut allowed = self.collector.budget.allows(folder.taken(), sum);
        if allowed.is_err() && !std::mem::replace(recounted, true) {
            folder.recount();
            allowed = self.collector.budget.allows(folder.taken(), sum);
        }
        allowed.map_err(Cause::OverBudget)?;
        *more = sum;
        Ok(true)
    }

    /// Brings them: many small ones at once, then one large one after the other, and then the links to them.
    pub(super) async fn bring(&mut self, wanted: Vec<Wanted<'_>>, pieces: &mut Pieces<'_>) -> Result<(), CollectError> {
        let (links, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.file.link.is_some());
        let (small, large): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| Pieces::is_small(wanted.file));
        let brought = self.bring_small(small, pieces).await;
        let put = self.finish_putting().await;
        brought.and(put)?;
        for wanted in large {
            match self.bring_large(&wanted, pieces).await? {
                Ok(at) => self.arrived(wanted.path, wanted.file, at),
                Err(cause) => self.miss(&wanted.file.path, cause),
            }
        }
        for Wanted { path, file } in links {
            match self.put_link(&path, file).await? {
                Ok(at) => self.arrived(path, file, at),
                Err(cause) => self.miss(&file.path, cause),
            }
        }
        Ok(())
    }

    async fn put_link(&self, path: &str, file: &File) -> Result<Result<String, Cause>, CollectError> {
        let (wanted, described) = (path.to_owned(), file.clone());
        let put = in_folder(&self.collector.folder, move |folder| {
            let staged = folder.stage_link(&wanted, &described)?;
            folder.put(&[staged]).remove(0)
        });
        self.or_full(path, put.await)
    }

    /// The next ones are fetched while the last ones are put in place.
    async fn bring_small(&mut self, wanted: Vec<Wanted<'_>>, pieces: &mut Pieces<'_>) -> Result<(), CollectError> {
        let rank = self.rank;
        let mut contents = pieces.contents(rank, wanted);
        let (mut batch, mut bytes) = (Vec::new(), 0_u64);
        while let Some(content) = contents.next().await {
            let (Wanted { path, file }, content): Content<'_> = content?;
            match content {
                Ok(content) => {
                    bytes += content.len() as u64;
                    let file = File { chunks: Vec::new(), ..file.clone() };
                    batch.push(Arrived { path, file, bytes: content });
                }
                Err(cause) => self.miss(&file.path, cause),
            }
            if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                self.begin_putting(std::mem::take(&mut batch), std::mem::take(&mut bytes)).await?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.begin_putting(batch, bytes).await }
    }

    async fn begin_putting(&mut self, batch: Vec<Arrived>, bytes: u64) -> Result<(), CollectError> {
        self.finish_putting().await?;
        if let Err(limit) = self.leaves_room(bytes) {
            for arrived in batch {
                self.miss(&arrived.file.path, Cause::OverBudget(limit));
            }
            return Ok(());
        }
        let folder = Arc::clone(&self.collector.folder);
        self.putting = Some(spawn_blocking(move || put(&folder, batch)));
        Ok(())
    }

    async fn finish_putting(&mut self) -> Result<(), CollectError> {
        let Some(done) = OptionFuture::from(self.putting.take()).await else { return Ok(()) };
        let done = done.map_err(|error| self.collector.write_error("", io::Error::other(error)))?;
        let mut full = None;
        for Put { path, file, outcome } in done {
            match outcome {
                Ok(at) => self.arrived(path, &file, at),
                Err(Failed::Here(cause)) => self.miss(&file.path, cause),
                Err(Failed::Full(error)) => full = full.or(Some(self.collector.write_error(&path, error))),
            }
        }
        full.map_or(Ok(()), Err)
    }

    fn leaves_room(&self, bytes: u64) -> Result<(), Limit> {
        // A disk that cannot be asked is found full when it is.
        match lock(&self.collector.folder).disk() {
            Ok((total, free)) => self.collector.budget.leaves_room(total, free, bytes),
            Err(_) => Ok(()),
        }
    }

    /// One large file: where it is, or why it did not come.
    async fn bring_large(
        &self,
        wanted: &Wanted<'_>,
        pieces: &mut Pieces<'_>,
    ) -> Result<Result<String, Cause>, CollectError> {
        let Wanted { path, file } = wanted;
        match self.fetch(file, pieces).await? {
            Ok(part) => self.put_large(part, path, file).await,
            Err(cause) => Ok(Err(cause)),
        }
    }

    async fn put_large(&self, part: Part, path: &str, file: &File) -> Result<Result<String, Cause>, CollectError> {
        let (wanted, described) = (path.to_owned(), File { chunks: Vec::new(), ..file.clone() });
        let put = in_folder(&self.collector.folder, move |folder| {
            let staged = folder.stage_part(part, &wanted, &described)?;
            folder.put(&[staged]).remove(0)
        });
        self.or_full(path, put.await)
    }

    /// What went wrong here; where the disk is full, nothing else can come either.
    fn or_full<T>(&self, path: &str, outcome: io::Result<T>) -> Result<Result<T, Cause>, CollectError> {
        match outcome.map_err(Failed::from) {
            Ok(value) => Ok(Ok(value)),
            Err(Failed::Here(cause)) => Ok(Err(cause)),
            Err(Failed::Full(error)) => Err(self.collector.write_error(path, error)),
        }
    }

    /// A large file's content, verified. What arrived of it earlier is kept; when the whole then is not what was announced, it is
    /// fetched anew, once.
    async fn fetch(&self, file: &File, pieces: &mut Pieces<'_>) -> Result<Result<Part, Cause>, CollectError> {
        for resumes in [true, false] {
            let boundary = |len| if resumes { pieces.boundary(file, len) } else { 0 };
            let part = match self.or_full(&file.path, lock(&self.collector.folder).part(file, boundary))? {
                Ok(part) => part,
                Err(cause) => return Ok(Err(cause)),
            };
            if let Err(limit) = self.leaves_room(file.size.saturating_sub(part.hasher.len())) {
                return Ok(Err(Cause::OverBudget(limit)));
            }
            let part = match self.complete(part, file, pieces).await? {
                Ok(part) => part,
                Err(cause) => return Ok(Err(cause)),
            };
            if part.hasher.clone().finish() == file.digest {
                return Ok(Ok(part));
            }
            if let Err(cause) = self.or_full(&file.path, lock(&self.collector.folder).discard(part))? {
                return Ok(Err(cause));
            }
        }
        Ok(Err(Cause::Lost("its bytes are not those that were announced".to_owned())))
    }

    /// Fetches what is missing of a file; the next piece comes while the last one is written.
    async fn complete(
        &self,
        mut part: Part,
        file: &File,
        pieces: &mut Pieces<'_>,
    ) -> Result<Result<Part, Cause>, CollectError> {
        let mut stream = pieces.pieces(self.rank, file, part.hasher.len());
        let mut next = stream.next().await;
        while let Some(piece) = next {
            let bytes = match piece? {
                Ok(bytes) => bytes,
                Err(cause) => return Ok(Err(cause)),
            };
            let writing = spawn_blocking(move || part.write(&bytes).map(|()| part));
            let (written, following) = futures::join!(writing, stream.next());
            let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
            part = match self.or_full(&file.path, written)? {
                Ok(part) => part,
                Err(cause) => return Ok(Err(cause)),
            };
            next = following;
        }
        if part.hasher.len() < file.size {
            return Ok(Err(Cause::Lost("the mailbox does not have it".to_owned())));
        }
        Ok(Ok(part))
    }

    fn arrived(&mut self, path: String, file: &File, at: String) {
        self.received.files += 1;
        self.received.bytes = self.received.bytes.saturating_add(file.size);
        if at != path {
            let text = format!("`{path}` here is not as nauta left it, and stays; the rank's is `{at}`");
            self.collector.say(text, self.events);
            self.received.beside.push((path.clone(), at.clone()));
        }
        self.collector.brought.insert(path, file.digest.clone());
        self.events.send(Event::Output { rank: self.rank, path: at, size: file.size });
    }

    fn miss(&mut self, path: &str, cause: Cause) {
        let missing = Missing { rank: self.rank, path: path.to_owned(), cause };
        match &missing.cause {
            // It may come another way: who knows whether it did will say so.
            Cause::Lost(_) => {}
            Cause::OverBudget(limit) => {
                self.collector.say(format!("not all files are taken: {limit}; {}", limit.hint()), self.events);
            }
            Cause::Refused(_) | Cause::Unwritten(_) => self.collector.say(missing.to_string(), self.events),
        }
        self.received.missing.push(missing);
    }
}

/// Puts small files in place whose bytes are what was announced.
fn put(folder: &Mutex<OutputsFolder>, batch: Vec<Arrived>) -> Vec<Put> {
    let mut folder = lock(folder);
    let (mut staged, mut waiting, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for Arrived { path, file, bytes } in batch {
        if Digest::of(&bytes) != file.digest {
            let outcome = Err(Failed::Here(Cause::Lost("its bytes are not those that were announced".to_owned())));
            done.push(Put { path, file, outcome });
            continue;
        }
        match folder.stage(&bytes, &path, &file) {
            Ok(one) => {
                staged.push(one);
                waiting.push((path, file));
            }
            Err(error) => done.push(Put { path, file, outcome: Err(error.into()) }),
        }
    }
    let outcomes = folder.put(&staged).into_iter().map(|outcome| outcome.map_err(Failed::from));
    done.extend(waiting.into_iter().zip(outcomes).map(|((path, file), outcome)| Put { path, file, outcome }));
    done
}
