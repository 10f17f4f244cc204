//! Watching a run: Job, pods and events, folded into one view that is told whenever it changes.
//!
//! Watches are fast but may miss things, or hang; a fresh look every ten seconds cannot. A look that fails means that contact is
//! lost: all watches are thrown away and begun anew when somebody answers again, so that a half-open connection costs one
//! interval at most. So does one that is silent while looks are answered: where a look finds what no watch has told, all of
//! them are begun anew with the next.

use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{FutureExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event as Watched};
use kube::runtime::{WatchStreamExt as _, utils::Backoff};
use tokio::time::{Instant, Sleep};

use super::Cluster;
use super::error::ClusterError;
use crate::job::state::{Change, Fold, RunState, RunView};
use crate::layout::label;

/// Between two fresh looks while all is well; a fifth of it more or less, so that many watches do not come together.
const LOOK: Duration = Duration::from_secs(10);
/// Between two while something may be waiting for a time limit of ours (an image that will not come), or watches may be deaf.
const LOOK_AT_TROUBLE: Duration = Duration::from_secs(5);
/// Longest wait between two attempts to reach the server.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The run is like this now; also the first thing told, and told again when contact is back.
    View(RunView),
    /// The API server does not answer; attempts go on.
    OutOfContact {
        /// Why, and where.
        message: String,
        /// How long it has been.
        since: Timestamp,
    },
}

/// Waits of a tenth of a second and more, doubled up to [`MAX_WAIT`], each with a random part so that many clients do not
/// come back together.
struct Jittered {
    attempt: u32,
}

impl Iterator for Jittered {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let base = Duration::from_millis(100 << self.attempt.min(5)).min(MAX_WAIT);
        self.attempt += 1;
        Some(base / 2 + base.mul_f64(f64::from(random()) / f64::from(u32::MAX) / 2.0))
    }
}

impl Backoff for Jittered {
    fn reset(&mut self) {
        self.attempt = 0;
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the waits are merely the same for everybody.
    _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

type Changes = BoxStream<'static, Change>;

/// The state of one watch.
struct Watch<'a> {
    cluster: &'a Cluster,
    run: String,
    fold: Fold,
    changes: SelectAll<Changes>,
    next_look: Pin<Box<Sleep>>,
    backoff: Jittered,
    told: Option<RunView>,
    lost_since: Option<Timestamp>,
    /// The last look has found what no watch had told. They have time until the next: what they tell of pods that are gone,
    /// nobody else does.
    are_deaf: bool,
    finished: bool,
}

impl Cluster {
    /// Watches a run until its outcome is final (or its Job is gone); dropping the stream ends the watch. It never fails: while
    /// nobody answers it says so, and how long that may go on is the caller's to decide.
    pub fn watch(&self, run: &str) -> impl Stream<Item = Observation> + Send + '_ {
        let watch = Watch {
            cluster: self,
            run: run.to_owned(),
            fold: Fold::new(run),
            changes: SelectAll::new(),
            next_look: Box::pin(tokio::time::sleep(Duration::ZERO)),
            backoff: Jittered { attempt: 0 },
            told: None,
            lost_since: None,
            are_deaf: false,
            finished: false,
        };
        stream::unfold(watch, |mut watch| async move { watch.next().await.map(|observation| (observation, watch)) })
    }

    /// The pods of a run.
    pub(super) async fn pods(&self, run: &str) -> Result<Vec<Pod>, ClusterError> {
        let params = ListParams::default().labels(&selector(run));
        let list = self
            .ask("list the run's pods", |client| {
                let (api, params) = (Api::<Pod>::namespaced(client, self.namespace()), &params);
                async move { api.list(params).await }
            })
            .await?;
        Ok(list.items)
    }

    /// A fresh look at a run's Job and pods.
    pub(super) async fn look(&self, run: &str) -> Result<Vec<Change>, ClusterError> {
        let (job, pods) = tokio::try_join!(self.find_job(run), self.pods(run))?;
        let job = job.map_or(Change::JobMissing, |job| Change::Job(Box::new(job)));
        Ok(vec![job, Change::PodsListed(pods)])
    }

    /// The warnings about a run and its pods; empty when they may not be read.
    pub(super) async fn warnings(&self, run: &str) -> Vec<Change> {
        let params = ListParams::default().fields("type=Warning");
        let list = self
            .ask("list the events", |client| {
                let (api, params) = (Api::<Event>::namespaced(client, self.namespace()), &params);
                async move { api.list(params).await }
            })
            .await;
        let ours = |event: &Event| event.involved_object.name.as_deref().is_some_and(|name| name.starts_with(run));
        let events = list.map(|list| list.items).unwrap_or_default();
        events.into_iter().filter(ours).map(|event| Change::Event(Box::new(event))).collect()
    }

    async fn open_watches(&self, run: &str) -> Result<SelectAll<Changes>, ClusterError> {
        let named = watcher::Config::default().fields(&format!("metadata.name={run}"));
        let labelled = watcher::Config::default().labels(&selector(run));
        let warnings = watcher::Config::default().fields("type=Warning");
        let mut all = SelectAll::new();
        all.push(changes(self.api::<Job>().await?, named, job_change));
        all.push(changes(self.api::<Pod>().await?, labelled, pod_change));
        all.push(changes(self.api::<Event>().await?, warnings, event_change));
        Ok(all)
    }
}

/// What finds a run's pods.
pub(super) fn selector(run: &str) -> String {
    format!("{}={run}", label::RUN)
}

/// One watch, relisted when it grew too old, begun anew when it broke, and ended when it is not allowed (events may be).
fn changes<K>(api: Api<K>, config: watcher::Config, change: fn(Watched<K>) -> Option<Change>) -> Changes
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let events = watcher::watcher(api, config).backoff(Jittered { attempt: 0 });
    let allowed = events.take_while(|event| std::future::ready(!is_forbidden(event.as_ref().err())));
    allowed.filter_map(move |event| std::future::ready(event.ok().and_then(change))).boxed()
}

fn is_forbidden(error: Option<&watcher::Error>) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    matches!(error, Some(InitialListFailed(kube::Error::Api(s)) | WatchStartFailed(kube::Error::Api(s))) if s.code == 403)
}

fn job_change(event: Watched<Job>) -> Option<Change> {
    match event {
        Watched::Apply(job) | Watched::InitApply(job) => Some(Change::Job(Box::new(job))),
        Watched::Delete(job) => Some(Change::JobDeleted(Box::new(job))),
        Watched::Init | Watched::InitDone => None,
    }
}

fn pod_change(event: Watched<Pod>) -> Option<Change> {
    match event {
        Watched::Apply(pod) | Watched::InitApply(pod) => Some(Change::Pod(Box::new(pod))),
        Watched::Delete(pod) => Some(Change::PodDeleted(Box::new(pod))),
        Watched::Init | Watched::InitDone => None,
    }
}

fn event_change(event: Watched<Event>) -> Option<Change> {
    match event {
        Watched::Apply(event) | Watched::InitApply(event) => Some(Change::Event(Box::new(event))),
        Watched::Delete(_) | Watched::Init | Watched::InitDone => None,
    }
}

impl Watch<'_> {
    async fn next(&mut self) -> Option<Observation> {
        while !self.finished {
            tokio::select! {
                biased;
                Some(change) = self.changes.next() => {
                    self.fold.apply(change);
                    // A burst (the first listing) is one change of the view, not many.
                    while let Some(Some(change)) = self.changes.next().now_or_never() {
                        self.fold.apply(change);
                    }
                    if self.over() {
                        // No verdict from a watch alone: a fresh look has to agree.
                        self.next_look.as_mut().reset(Instant::now());
                    }
                }
                () = &mut self.next_look => {
                    if let Some(lost) = self.look().await {
                        return Some(lost);
                    }
                }
            }
            if let Some(view) = self.changed_view() {
                return Some(Observation::View(view));
            }
        }
        None
    }

    /// Whether, by all that was seen, nothing will change any more.
    fn over(&self) -> bool {
        let view = self.fold.view(Timestamp::now());
        // The pods of a deleted Job have their time to end: their last words count.
        let settled = view.state != RunState::Deleted || view.ranks.iter().all(|rank| rank.state.is_end());
        view.state.is_final() && settled
    }

    async fn look(&mut self) -> Option<Observation> {
        let fresh = self.cluster.look(&self.run).await;
        let begins = self.changes.is_empty() || std::mem::take(&mut self.are_deaf);
        let fresh = match fresh {
            Ok(changes) if begins => self.cluster.open_watches(&self.run).await.map(|watches| {
                self.changes = watches;
                changes
            }),
            other => other,
        };
        match fresh {
            Ok(changes) => {
                self.take(changes, begins);
                None
            }
            Err(error) => {
                self.changes.clear();
                let wait = self.backoff.next().unwrap_or(MAX_WAIT);
                self.next_look.as_mut().reset(Instant::now() + wait);
                let since = *self.lost_since.get_or_insert_with(Timestamp::now);
                Some(Observation::OutOfContact { message: error.to_string(), since })
            }
        }
    }

    /// Takes in what a look has found, and says when the next is due.
    fn take(&mut self, changes: Vec<Change>, watches_begin: bool) {
        let now = Timestamp::now();
        let before = self.fold.view(now);
        for change in changes {
            self.fold.apply(change);
        }
        let view = self.fold.view(now);
        self.are_deaf = !watches_begin && view != before;
        self.backoff.reset();
        if self.lost_since.take().is_some() {
            self.told = None;
        }
        self.finished = self.over();
        if self.finished {
            // The last words of pods that were deleted with their Job arrive by the watch only.
            while let Some(Some(change)) = self.changes.next().now_or_never() {
                self.fold.apply(change);
            }
        }
        let is_soon = self.are_deaf || !view.troubles.is_empty();
        let wait = if is_soon { LOOK_AT_TROUBLE } else { LOOK };
        let wait = wait.mul_f64(0.8 + 0.4 * f64::from(random()) / f64::from(u32::MAX));
        self.next_look.as_mut().reset(Instant::now() + wait);
    }

    /// The view, when it is another one than was told last and there is anything to tell.
    fn changed_view(&mut self) -> Option<RunView> {
        if self.changes.is_empty() && self.told.is_none() && !self.finished {
            return None;
        }
        let view = self.fold.view(Timestamp::now());
        (self.told.as_ref() != Some(&view)).then(|| {
            self.told = Some(view.clone());
            view
        })
    }
}
