//! The run image: environment, supervisor and code, composed in the registry. Docker is asked only for environments that
//! the registry does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::DeliveryError;
use super::environment::Surroundings;
use super::known::Known;
use super::layer::{Made, make};
use super::parts::{Items, parts};
use super::secrets;
use super::stack::{Stack, Step};
use super::supervisor::supervisor;
use super::supervisor_layer::supervisor_layer;
use crate::architecture::Architecture;
use crate::context::Context;
use crate::diagnosis::Result;
use crate::digest::Digest;
use crate::event::{Event, Events, Phase};
use crate::image::Environment;
use crate::image::compose::{self, Composed, Image, Layer, compose};
use crate::layout::label;
use crate::registry::{Blob, Registry, RegistryError, Sent, Taken};
use crate::snapshot::Snapshot;

/// Layers on their way at the same time.
pub(super) const AT_ONCE: usize = 3;

/// Blobs of at most so many bytes are sent without a question, which would take as long.
const WORTH_A_QUESTION: u64 = 256 * 1024;

/// A run image in a registry.
#[derive(Clone, Debug)]
pub struct RunImage {
    /// Its manifest's digest.
    pub digest: Digest,
    /// Whether the code's layers should be made anew when nobody waits ([`rebase`]).
    pub is_heavy: bool,
}

/// How much there is to do until the registry has an image, as far as that can be told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It has it.
    None,
    /// It has all but what was edited since the last time.
    Edit,
    /// It may lack anything.
    Much,
}

/// Where to, and with what.
pub struct Delivery<'a> {
    /// The workstation.
    pub context: &'a Context,
    /// The registry.
    pub registry: &'a Registry,
    /// The project's repository in it.
    pub repository: &'a str,
    /// The project's name.
    pub project_name: &'a str,
    /// The nodes'.
    pub architecture: Architecture,
    /// Where to report.
    pub events: &'a Events,
}

/// Makes sure that the delivery's repository has the run image.
pub async fn run_image(
    delivery: &Delivery<'_>,
    environment: &Environment,
    snapshot: &Snapshot,
    surroundings: &Surroundings,
) -> Result<RunImage> {
    secrets::check_passwords(environment, snapshot)?;
    let state = delivery.context.state_folder();
    let mut known = Known::open(&state, &delivery.place());
    let mut stack = Stack::open(&state, &delivery.place(), snapshot.root(), delivery.project_name);
    for trust in [true, false] {
        let image = delivery.environment(environment, surroundings, &mut known, trust).await?;
        check_platform(&image, delivery.architecture)?;
        if let Some(digest) = delivery.put_together(&image, snapshot, &mut known, &mut stack, trust).await? {
            return Ok(RunImage { digest, is_heavy: stack.is_heavy() });
        }
        // The registry has lost something (a garbage collection, a new disk): nothing that is remembered counts.
        known.forget();
        stack.forget();
    }
    unreachable!("without trust, what is missing is an error")
}

/// Makes the code's layers anew, as one whole, and remembers them: the next delivery builds on them. Does nothing while
/// another process does this.
pub async fn rebase(delivery: &Delivery<'_>, snapshot: &Snapshot) -> Result<()> {
    let mut stack =
        Stack::open(&delivery.context.state_folder(), &delivery.place(), snapshot.root(), delivery.project_name);
    let Some(_only_one) = stack.lock() else { return Ok(()) };
    let code = delivery.make_code(snapshot, Arc::new(snapshot.clone())).await?;
    try_join_all(code.unsent.iter().map(|made| delivery.push(Phase::Push, &made.blob))).await?;
    stack.put(0, code.layers, snapshot.weight(), snapshot);
    Ok(())
}

fn check_platform(environment: &Image, architecture: Architecture) -> Result<(), DeliveryError> {
    let text = |key: &str| environment.config[key].as_str().unwrap_or("unknown").to_owned();
    let (found, expected) = (format!("{}/{}", text("os"), text("architecture")), architecture.platform());
    if found == expected { Ok(()) } else { Err(DeliveryError::Platform { found, expected }) }
}

/// Layers of code.
#[derive(Default)]
struct Code {
    /// All of them, the lowest first.
    layers: Vec<Layer>,
    /// Those that are still to be sent.
    unsent: Vec<Made>,
    /// Those that have been sent.
    taken: Vec<Taken>,
}

impl Delivery<'_> {
    /// How much there is to do, by what is remembered.
    pub fn work(&self, environment: &Environment, snapshot: &Snapshot) -> Work {
        let state = self.context.state_folder();
        let known = Known::open(&state, &self.place());
        let stack = Stack::open(&state, &self.place(), snapshot.root(), self.project_name);
        match known.environment(&self.environment_tag(environment)) {
            Some(_) if stack.leads_to(snapshot) => Work::None,
            Some(_) if stack.height() > 0 => Work::Edit,
            _ => Work::Much,
        }
    }

    /// Host and repository.
    fn place(&self) -> String {
        format!("{}/{}", self.registry.endpoint().host(), self.repository)
    }

    /// Sends what is missing of the run image. `None` when something is missing that was trusted to be there.
    async fn put_together(
        &self,
        environment: &Image,
        snapshot: &Snapshot,
        known: &mut Known,
        stack: &mut Stack,
        trust: bool,
    ) -> Result<Option<Digest>> {
        let before = self.registry.counters();
        self.events.send(Event::Started { phase: Phase::Push, detail: "the code".to_owned() });
        let supervisor =
            supervisor_layer(&supervisor(&self.context.program, self.architecture)?, &self.context.state_folder())?;
        let step = stack.step(snapshot);
        let (keep, code, weight) = match &step {
            Step::None => (stack.height(), Code::default(), 0),
            Step::Whole => (0, self.make_code(snapshot, Arc::new(snapshot.clone())).await?, snapshot.weight()),
            Step::Delta { keep, differences } => {
                (*keep, self.make_code(snapshot, Arc::clone(differences)).await?, differences.weight())
            }
        };
        let checks = self.checks_manifests(known).await?;
        if trust && !checks {
            let had = [&supervisor.layer].into_iter().filter(|layer| known.has_supervisor(&layer.digest));
            let had = had.chain(&environment.layers).chain(stack.layers(keep));
            if !self.lacks(had).await?.is_empty() {
                return Ok(None);
            }
        }
        let layers: Vec<&Layer> =
            [&supervisor.layer].into_iter().chain(stack.layers(keep)).chain(&code.layers).collect();
        let labels = [(label::MANAGED_BY, label::MANAGED_BY_NAUTA), (label::PROJECT, self.project_name)];
        let composed = compose(environment, self.project_name, &layers, &labels).map_err(DeliveryError::from)?;
        if trust && matches!(step, Step::None) && known.is_latest(&composed.digest) {
            if self.registry.pull_manifest(self.repository, composed.digest.as_str()).await?.is_none() {
                return Ok(None);
            }
        } else {
            let layer = &supervisor.layer;
            let blob = Blob::from_file(&supervisor.path, 0, layer.size, layer.digest.clone());
            let supervisor = (!known.has_supervisor(&layer.digest)).then_some(&blob);
            match self.finish(&composed, snapshot, supervisor, &code, checks).await {
                Err(RegistryError::BlobUnknown { .. }) if trust => return Ok(None),
                finished => finished?,
            }
        }
        if !matches!(step, Step::None) {
            stack.put(keep, code.layers, weight, snapshot);
        }
        known.delivered(&composed.digest, &supervisor.layer.digest);
        let after = self.registry.counters();
        let (sent, requests) = (after.bytes_sent - before.bytes_sent, after.requests - before.requests);
        let place = format!("{}@sha256:{}", self.place(), composed.digest.short());
        let detail = format!("sent {sent} bytes in {requests} requests to {place}");
        self.events.send(Event::Finished { phase: Phase::Push, detail });
        Ok(Some(composed.digest))
    }

    /// Makes layers of code, and sends them while the next ones are made. What is one layer is left to be sent together with
    /// the rest of the image.
    async fn make_code<I: Items + Send + Sync + 'static>(&self, snapshot: &Snapshot, items: Arc<I>) -> Result<Code> {
        let parts = parts(&*items);
        let is_one = parts.len() == 1;
        let progress = &self.progress(Phase::Push, items.weight());
        let made = stream::iter(parts).then(|part| {
            let (snapshot, items) = (snapshot.clone(), Arc::clone(&items));
            let project = self.project_name.to_owned();
            let work = tokio::task::spawn_blocking(move || make(&snapshot, &project, &*items, &part));
            async move { work.await.map_err(|error| temporary(std::io::Error::other(error)))? }
        });
        if is_one {
            let unsent: Vec<Made> = made.try_collect().await?;
            let layers = unsent.iter().map(|made| made.layer.clone()).collect();
            return Ok(Code { layers, unsent, taken: Vec::new() });
        }
        let sent = made.map_ok(|made| async move {
            // All of it, or the file would go before it is sent.
            let made = made;
            let each = progress.each();
            let sent = self.registry.push_blob(self.repository, &made.blob, |done| each.done(done)).await?;
            Ok((made.layer.clone(), Registry::taken([(&made.blob, sent)])))
        });
        let sent: Vec<(Layer, Vec<Taken>)> = sent.try_buffered(AT_ONCE).try_collect().await?;
        let (layers, taken): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        Ok(Code { layers, unsent: Vec::new(), taken: taken.concat() })
    }

    /// Whether the registry refuses manifests that name what it does not have; asked once a day.
    async fn checks_manifests(&self, known: &mut Known) -> Result<bool, RegistryError> {
        let now = Timestamp::now();
        if let Some(checks) = known.checks_manifests(now) {
            return Ok(checks);
        }
        let checks = self.registry.checks_manifests(self.repository).await?;
        known.add_checks_manifests(checks, now);
        Ok(checks)
    }

    /// Sends the rest, then the manifest, and makes sure that all of it is there. A registry that `checks` manifests has
    /// looked for the blobs itself; what was large is looked at nonetheless, since that costs little beside the sending.
    async fn finish(
        &self,
        composed: &Composed,
        snapshot: &Snapshot,
        supervisor: Option<&Blob>,
        code: &Code,
        checks: bool,
    ) -> Result<(), RegistryError> {
        let config = Blob::from_bytes(composed.config.clone());
        let blobs: Vec<&Blob> = code.unsent.iter().map(|made| &made.blob).chain([&config]).chain(supervisor).collect();
        let sent = try_join_all(blobs.iter().map(|blob| self.push(Phase::Push, blob))).await?;
        let mut taken = Registry::taken(blobs.into_iter().zip(sent));
        taken.extend(code.taken.iter().cloned());
        taken.retain(|(_, size)| !checks || *size > WORTH_A_QUESTION);
        // A tag, so that garbage collection keeps it; the run itself names the digest.
        let tag = format!("code-{}", snapshot.digest().short());
        let manifest = composed.manifest.clone();
        self.registry.push_image(self.repository, &tag, compose::MANIFEST, manifest, &taken).await.map(drop)
    }

    /// Makes sure of a blob.
    pub(super) async fn push(&self, phase: Phase, blob: &Blob) -> Result<Sent, RegistryError> {
        if blob.size() <= WORTH_A_QUESTION {
            self.registry.send_blob(self.repository, blob, |_| ()).await?;
            return Ok(Sent::Sent(blob.size()));
        }
        let progress = self.progress(phase, blob.size());
        let each = progress.each();
        self.registry.push_blob(self.repository, blob, |done| each.done(done)).await
    }

    /// Tells how many of about `total` bytes have been sent.
    fn progress(&self, phase: Phase, total: u64) -> Progress {
        let detail = format!("sending to {}", self.registry.endpoint().host());
        Progress { events: self.events.clone(), phase, detail, total, done: AtomicU64::new(0) }
    }
}

/// How far several transfers are together.
struct Progress {
    events: Events,
    phase: Phase,
    detail: String,
    total: u64,
    done: AtomicU64,
}

/// One of several transfers.
struct Each<'p> {
    progress: &'p Progress,
    done: AtomicU64,
}

impl Progress {
    /// A transfer among them.
    const fn each(&self) -> Each<'_> {
        Each { progress: self, done: AtomicU64::new(0) }
    }
}

impl Each<'_> {
    /// It has moved so many bytes; fewer than before when it begins again.
    fn done(&self, bytes: u64) {
        let before = self.done.swap(bytes, Ordering::Relaxed);
        let Progress { events, phase, detail, total, done } = self.progress;
        // Differences wrap around where a transfer begins again, and so does the sum.
        let change = bytes.wrapping_sub(before);
        let done = done.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        let total = Some(*total).filter(|total| done <= *total);
        events.send(Event::Progress { phase: *phase, done, total, detail: detail.clone() });
    }
}

pub(super) fn temporary(source: std::io::Error) -> DeliveryError {
    DeliveryError::File { path: std::env::temp_dir(), source }
}
