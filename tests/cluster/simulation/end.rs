//! The end of a run, told with faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use nauta::cluster::Observation;
use nauta::event::{CANCELLED, NOT_RUN};
use nauta::follow::Outcome;
use nauta::job::state::{Change, Fold, RunView};
use serde_json::Value;

use super::faults::{Badness, Faults};
use super::server::{ApiServer, Entry};
use super::{Recording, client};
use crate::support::random::Random;
use crate::support::{figure, number};

/// How programs end that are told to stop.
const STOPPED: u8 = 143;
/// No watch goes on for longer after the last change.
const PATIENCE: Duration = Duration::from_mins(4);

fn seed() -> u64 {
    let seed = number("NAUTA_TEST_SEED", u64::from(std::process::id()));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    seed
}

fn change(entry: &Entry) -> Option<Change> {
    let deleted = entry.what == "DELETED";
    let object = entry.object.clone();
    Some(match (entry.kind.as_str(), deleted) {
        ("Job", false) => Change::Job(Box::new(parsed(object))),
        ("Job", true) => Change::JobDeleted(Box::new(parsed(object))),
        ("Pod", false) => Change::Pod(Box::new(parsed(object))),
        ("Pod", true) => Change::PodDeleted(Box::new(parsed(object))),
        ("Event", false) => Change::Event(Box::new(parsed(object))),
        _ => return None,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object of its kind")
}

/// What there is of a kind after so many changes.
fn present(entries: &[Entry], kind: &str) -> Vec<Value> {
    let mut objects = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == kind) {
        let uid = entry.object["metadata"]["uid"].as_str().expect("a uid").to_owned();
        match entry.what.as_str() {
            "DELETED" => drop(objects.remove(&uid)),
            _ => drop(objects.insert(uid, entry.object.clone())),
        }
    }
    objects.into_values().collect()
}

/// A fresh look, as the cluster module takes it.
fn look(entries: &[Entry]) -> [Change; 2] {
    let job = present(entries, "Job").pop().map_or(Change::JobMissing, |job| Change::Job(Box::new(parsed(job))));
    let pods = present(entries, "Pod").into_iter().map(parsed).collect();
    [job, Change::PodsListed(pods)]
}

/// One telling of a recording: kinds out of step, changes lost, doubled, and late; looks and lists at any moment.
struct Telling<'a> {
    recording: &'a Recording,
    random: Random,
    fold: Fold,
    /// How far each kind's watch has come.
    told: BTreeMap<&'static str, usize>,
    /// How far the cluster has come: nobody can hear of more.
    now: usize,
    /// Whether anything was never told.
    is_lossy: bool,
}

impl Telling<'_> {
    fn step(&mut self) {
        let entries = &self.recording.entries;
        let kind = ["Job", "Pod", "Event"][self.random.below(3)];
        match self.random.below(20) {
            0 => look(&entries[..self.now]).into_iter().for_each(|change| self.fold.apply(change)),
            // A list of the watch's own: what is gone is not in it.
            1 if kind != "Event" => {
                for object in present(&entries[..self.now], kind) {
                    let what = "MODIFIED".to_owned();
                    let entry = Entry { version: 0, kind: kind.to_owned(), what, object };
                    self.fold.apply(change(&entry).expect("a change"));
                }
                self.is_lossy |= self.told[kind] < self.now;
                self.told.insert(kind, self.now);
            }
            2 if self.now > 0 => {
                // Something old, once more.
                let old = self.random.below(self.told[kind].max(1));
                if let Some(change) = entries[..old].iter().rev().find(|entry| entry.kind == kind).and_then(change) {
                    self.fold.apply(change);
                }
            }
            3..=8 => self.now = (self.now + 1).min(entries.len()),
            _ => {
                let from = self.told[kind];
                let Some(next) = entries[from..self.now].iter().position(|entry| entry.kind == kind) else { return };
                self.told.insert(kind, from + next + 1);
                if self.random.below(10) == 0 {
                    self.is_lossy = true;
                } else if let Some(change) = change(&entries[from + next]) {
                    self.fold.apply(change);
                }
            }
        }
    }

    fn view(&self) -> RunView {
        self.fold.view(Timestamp::now())
    }
}

/// What may be said of a run in the end. What is gone, and nobody saw, nobody knows.
fn is_true(recording: &Recording, code: Option<u8>, is_lossy: bool) -> bool {
    // Who sees that a Job is deleted before its end takes the run for a cancelled one; who has missed it, for one that was stopped.
    let is_deleted = recording.is_deleted() && recording.code != 0;
    let by_hand = is_deleted && (code == Some(CANCELLED) || is_lossy && code == Some(STOPPED));
    let is_forgotten = is_lossy && recording.forgets() && recording.code != 0 && code == Some(NOT_RUN);
    code == Some(recording.code) || by_hand || is_forgotten
}

#[test]
fn the_fold_ends_in_the_truth_whatever_it_hears() {
    let (cases, seed) = (number("NAUTA_TEST_FOLDS", 300), seed());
    let recordings = Recording::all();
    let mut by_name = BTreeMap::new();
    for case in 0..cases {
        let mut random = Random::new(seed.wrapping_add(case));
        let recording = &recordings[random.below(recordings.len())];
        let told = BTreeMap::from([("Job", 0), ("Pod", 0), ("Event", 0)]);
        let fold = Fold::new(&recording.run);
        let mut telling = Telling { recording, random, fold, told, now: 0, is_lossy: false };
        let at = format!("case {case} of seed {seed}: {}", recording.name);
        while telling.now < recording.entries.len() {
            telling.step();
            let code = Outcome::code_of(&telling.view());
            let is_known = telling.now > recording.evidence() || recording.is_deleted();
            assert!(code != Some(0) || recording.code == 0 && is_known, "{at}: success without evidence");
        }
        for change in look(&recording.entries) {
            telling.fold.apply(change);
        }
        let whole = (["Job", "Pod", "Event"]).into_iter().all(|kind| telling.told[kind] == recording.entries.len());
        let (view, is_lossy) = (telling.view(), telling.is_lossy || !whole);
        let code = Outcome::code_of(&view);
        assert!(is_true(recording, code, is_lossy), "{at}: {code:?} instead of {}: {view:#?}", recording.code);
        *by_name.entry(recording.name.clone()).or_insert(0) += 1;
    }
    figure(&format!("{cases} of {cases} tellings ended in the truth: {by_name:?}"));
}

/// Plays a recording to a server; counts how far it is.
async fn play(server: &ApiServer, recording: &Recording, random: &mut Random, played: &AtomicUsize) {
    for entry in &recording.entries {
        tokio::time::sleep(Duration::from_millis(random.next() % 40)).await;
        server.apply(entry.clone());
        played.fetch_add(1, Ordering::SeqCst);
        if random.below(20) == 0 {
            server.restart();
        }
    }
}

/// One case over TCP; gives what was wrong.
async fn over_tcp(seed: u64, recording: Arc<Recording>) -> Option<String> {
    let mut random = Random::new(seed);
    let server = ApiServer::start(Faults::drawn(random.next())).await;
    // The Job is there when somebody begins to watch it.
    let cluster = client(&server).await;
    let begin = recording.entries.iter().position(|entry| entry.kind == "Job").map_or(0, |at| at + 1);
    recording.entries[..begin].iter().for_each(|entry| server.apply(entry.clone()));
    let played = AtomicUsize::new(0);
    let mut last = None;
    let watching = async {
        let mut observations = Box::pin(cluster.watch(&recording.run));
        while let Some(observation) = observations.next().await {
            if let Observation::View(view) = observation {
                let code = Outcome::code_of(&view);
                if code == Some(0) && played.load(Ordering::SeqCst) <= recording.evidence() && !recording.is_deleted() {
                    return Some("success without evidence".to_owned());
                }
                last = Some(view);
            }
        }
        None
    };
    let both = async { tokio::join!(watching, play(&server, &recording, &mut random, &played)).0 };
    let at = format!("seed {seed}, {}", recording.name);
    match tokio::time::timeout(PATIENCE, both).await {
        Err(_) => return Some(format!("{at}: it never ends: {last:#?}")),
        Ok(Some(problem)) => return Some(format!("{at}: {problem}: {last:#?}")),
        Ok(None) => {}
    }
    let code = last.as_ref().and_then(Outcome::code_of);
    if !is_true(&recording, code, true) {
        return Some(format!("{at}: {code:?} instead of {}: {last:#?}", recording.code));
    }
    if recording.is_deleted() {
        return None;
    }
    // Whoever asks later is told the same.
    server.heal();
    let status = match cluster.status(&recording.run).await {
        Ok(status) => status,
        Err(error) => return Some(format!("{at}: {error}")),
    };
    let code = Outcome::code_of(&status.view);
    (!is_true(&recording, code, true)).then(|| format!("{at}: status says {code:?}: {status:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_a_bad_network_ends_in_the_truth() {
    let (cases, seed) = (number("NAUTA_TEST_WATCHES", 34), seed());
    let recordings = Recording::all();
    let case = |number: u64| {
        let recording = &recordings[usize::try_from(number).expect("small") % recordings.len()];
        over_tcp(seed.wrapping_add(number), Arc::clone(recording))
    };
    // Most of them wait most of the time.
    let outcomes: Vec<Option<String>> =
        futures::stream::iter((0..cases).map(case)).buffer_unordered(60).collect().await;
    let wrong: Vec<String> = outcomes.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of {cases}: {}", wrong.len(), wrong.join("\n"));
    figure(&format!("{cases} of {cases} watches over TCP with faults ended in the truth"));
}

/// A server whose lists are true, and whose watches stand and tell nothing: runs end all the same, and seconds after the last
/// change, since watches that are found deaf are begun anew.
#[tokio::test]
async fn a_silent_watch_costs_seconds_and_is_begun_anew() {
    let recordings = Recording::all();
    let recording = recordings.iter().find(|recording| recording.name == "success").expect("recorded");
    let server = ApiServer::start(Faults::new(1, Badness { lost: 100, half_open: 100, ..Badness::default() })).await;
    let cluster = client(&server).await;
    let (begin, rest) = recording.entries.split_at(recording.entries.len() / 2);
    server.apply(begin[0].clone());
    let watches =
        || server.requests().iter().filter(|line| line.contains("/pods") && line.contains("watch=true")).count();
    let playing = async {
        while watches() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begin[1..].iter().for_each(|entry| server.apply(entry.clone()));
        server.heal();
        while watches() == 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for entry in rest {
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.apply(entry.clone());
        }
        tokio::time::Instant::now()
    };
    let watching = async {
        let observations = cluster.watch(&recording.run).collect::<Vec<_>>().await;
        (observations, tokio::time::Instant::now())
    };
    let both = async { tokio::join!(watching, playing) };
    let ((observations, ended), told) =
        Box::pin(tokio::time::timeout(PATIENCE, both)).await.expect("a watch is begun anew");
    let Some(Observation::View(view)) = observations.last() else { panic!("{observations:?}") };
    assert_eq!(Outcome::code_of(view), Some(recording.code), "{view:?}");
    // Less than until the next look: the new watches have told it.
    let behind = ended.saturating_duration_since(told);
    assert!(behind < Duration::from_secs(3), "{behind:?}");
    figure(&format!("a silent watch was begun anew, and told the end after {behind:.1?}"));
}
