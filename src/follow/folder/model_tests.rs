//! All interleavings of what a user does, what changes at the rank, and nauta's own steps, with nauta dying at any of them: on a real
//! folder, with the code as it is.
//!
//! A round is something that the user does, then a list of outputs that arrives (the same as before, or a new version), with
//! something that happens before one of its steps: the user does something, and perhaps nauta dies soon after; or nauta dies, and
//! the user does something before it is started again, and perhaps it dies once more while it recovers. From each state that differs, all rounds are tried. Two rounds are
//! up to ten events; `NAUTA_TEST_MODEL=3` makes three.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::steps::Steps;
use super::tests::{in_memory, opened};
use super::{Look, OutputsFolder};
use crate::digest::Digest;
use crate::sync;

/// The rank's only file.
const NAME: &str = "f";

/// What a user can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Writes to the file in place, or makes it.
    Edit,
    /// Puts another file in its place, as editors do.
    Replace,
    Delete,
    /// Gives it another name.
    Rename,
    /// Opens it for writing, and writes later.
    Open,
    Write,
}

const DEEDS: [Deed; 6] = [Deed::Edit, Deed::Replace, Deed::Delete, Deed::Rename, Deed::Open, Deed::Write];

/// What happens before a step of nauta's.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The user does something; so many steps later nauta may die.
    Deed(Deed, Option<usize>),
    /// nauta dies; then the user may do something, and nauta may die once more, before this step of what it does next.
    Death(Option<Deed>, Option<usize>),
}

/// Who watches: what there must be somewhere.
#[derive(Default)]
struct World {
    root: PathBuf,
    /// Contents that the user wrote, or named, and has not removed.
    alive: BTreeSet<String>,
    /// All contents that there ever were.
    known: BTreeSet<String>,
    serial: u32,
    renamed: u32,
    /// The file that is open for writing, and its content.
    open: Option<(File, String)>,
    version: u32,
}

impl World {
    fn file(&self) -> PathBuf {
        self.root.join(NAME)
    }

    fn content(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    fn new_content(&mut self) -> String {
        self.serial += 1;
        let content = format!("user-{:06}", self.serial);
        self.known.insert(content.clone());
        self.alive.insert(content.clone());
        content
    }

    fn remote(&mut self) -> (String, sync::File) {
        let content = format!("rank-{:06}", self.version);
        self.known.insert(content.clone());
        let modified = 1_000_000_000 + i64::from(self.version);
        let (size, digest) = (content.len() as u64, Digest::of(&content));
        let file = sync::File {
            path: NAME.to_owned(),
            size,
            mode: 0o644,
            modified,
            digest,
            chunks: Vec::new(),
            link: None,
            origin: sync::Origin::Outputs,
        };
        (content, file)
    }

    /// Forgets the content of the file, which the user takes away; whoever has it open writes to nothing that stays.
    fn lose(&mut self) {
        let Ok(metadata) = self.file().metadata() else { return };
        if let Some(content) = self.content() {
            self.alive.remove(&content);
        }
        if self.open.as_ref().is_some_and(|(open, _)| open.metadata().is_ok_and(|it| it.ino() == metadata.ino())) {
            self.open = None;
        }
    }

    /// Does it; `false` where there is nothing to do it to.
    fn act(&mut self, deed: Deed) -> bool {
        let file = self.file();
        match deed {
            Deed::Edit => {
                if let Some(content) = self.content() {
                    self.alive.remove(&content);
                }
                let new = self.new_content();
                if let Some((open, content)) = &mut self.open
                    && file.metadata().is_ok_and(|it| open.metadata().is_ok_and(|open| open.ino() == it.ino()))
                {
                    content.clone_from(&new);
                }
                fs::write(file, new).expect("written");
            }
            Deed::Replace => {
                self.lose();
                fs::write(self.root.join("editor"), self.new_content()).expect("written");
                fs::rename(self.root.join("editor"), file).expect("renamed");
            }
            Deed::Delete if file.exists() => {
                self.lose();
                fs::remove_file(file).expect("removed");
            }
            Deed::Rename if file.exists() => {
                self.renamed += 1;
                self.alive.extend(self.content());
                fs::rename(file, self.root.join(format!("renamed-{}", self.renamed))).expect("renamed");
            }
            Deed::Open if file.exists() && self.open.is_none() => {
                let open = fs::OpenOptions::new().write(true).open(&file).expect("opened");
                self.open = self.content().map(|content| (open, content));
            }
            Deed::Write if self.open.is_some() => {
                let (mut open, content) = self.open.take().expect("just seen");
                self.alive.remove(&content);
                open.set_len(0).and_then(|()| open.write_all(self.new_content().as_bytes())).expect("written");
            }
            _ => return false,
        }
        true
    }

    /// All contents of files; with nauta's own folder, what it has in hand.
    fn contents(&self, with_own: bool) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        if with_own {
            folders.push(self.root.join(".nauta"));
        }
        for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).expect("readable")).flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_record = name.to_string_lossy().starts_with('l');
            if path.is_file() && !is_record {
                found.insert(path.clone(), fs::read_to_string(&path).expect("readable"));
            }
        }
        found
    }

    /// What holds at every moment.
    fn check(&self, with_own: bool) -> Result<(), String> {
        let contents = self.contents(with_own);
        let there: BTreeSet<&String> = contents.values().collect();
        if let Some(lost) = self.alive.iter().find(|content| !there.contains(content)) {
            return Err(format!("{lost} is lost: {contents:?}"));
        }
        match self.content().filter(|content| !self.known.contains(content)) {
            Some(content) => Err(format!("`{content}` is neither old nor new")),
            None => Ok(()),
        }
    }
}

/// A state between rounds, to begin again from.
#[derive(Clone)]
struct State {
    files: Vec<(PathBuf, String, SystemTime)>,
    /// The file that is open for writing.
    open: Option<(PathBuf, String)>,
    alive: BTreeSet<String>,
    known: BTreeSet<String>,
    serial: u32,
    version: u32,
    way: String,
}

impl State {
    fn start() -> Self {
        let (alive, known) = Default::default();
        Self { files: Vec::new(), open: None, alive, known, serial: 0, version: 1, way: String::new() }
    }

    fn restore(&self, root: &Path) -> World {
        fs::create_dir_all(root.join(".nauta")).expect("made");
        for (path, content, modified) in &self.files {
            let mut file = File::create(root.join(path)).expect("made");
            file.write_all(content.as_bytes()).and_then(|()| file.set_modified(*modified)).expect("written");
        }
        let open = self.open.as_ref().map(|(path, content)| {
            (fs::OpenOptions::new().write(true).open(root.join(path)).expect("there"), content.clone())
        });
        let (root, alive, known) = (root.to_owned(), self.alive.clone(), self.known.clone());
        World { root, alive, known, serial: self.serial, renamed: 0, open, version: self.version }
    }

    /// What is there now. What the user has renamed is out of nauta's way, and was seen to be there.
    fn of(world: &World, way: String) -> Self {
        let relative = |path: &Path| path.strip_prefix(&world.root).expect("below").to_owned();
        let is_open = |path: &Path| {
            let id = world.open.as_ref().and_then(|(open, _)| open.metadata().ok()).map(|open| open.ino());
            id.is_some() && id == path.metadata().ok().map(|found| found.ino())
        };
        let mut contents = world.contents(false);
        let open = contents.keys().find(|path| is_open(path)).map(|path| relative(path));
        let (mut alive, mut known) = (world.alive.clone(), world.known.clone());
        contents.retain(|path, content| {
            let is_renamed = relative(path).to_string_lossy().starts_with("renamed-");
            if is_renamed {
                alive.remove(content);
            }
            !is_renamed
        });
        let open = open.filter(|path| contents.contains_key(&world.root.join(path)));
        let open = open.map(|path| (path, world.open.as_ref().expect("open").1.clone()));
        let ledger = world.root.join(".nauta/ledger.jsonl");
        let mut lines: Vec<String> = fs::read_to_string(&ledger).expect("there").lines().map(str::to_owned).collect();
        lines.sort();
        contents.insert(ledger, lines.into_iter().map(|line| line + "\n").collect());
        let modified = |path: &Path| path.metadata().and_then(|it| it.modified()).expect("there");
        let files = contents.iter().map(|(path, content)| (relative(path), content.clone(), modified(path))).collect();
        known.retain(|content| contents.values().any(|there| there == content));
        Self { files, open, alive, known, serial: world.serial, version: world.version, way }
    }

    /// The same for states that differ only in which contents are there, and not in where which of them is.
    fn key(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (path, content, modified) in &self.files {
            // Of times only those that the rank gave matter.
            let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
            let age = if age < 1_500_000_000 { age.to_string() } else { "now".to_owned() };
            let _ = writeln!(text, "{}\n{content}\n{age}", path.display());
        }
        let _ = write!(text, "{:?}{:?}", self.open.as_ref().map(|(path, _)| path), self.alive);
        for (number, content) in self.known.iter().chain([&format!("rank-{:06}", self.version)]).enumerate() {
            let kind = &content[..4];
            text = text.replace(Digest::of(content).hex(), &format!("{kind}{number}"));
            text = text.replace(content, &format!("{kind}{number}"));
        }
        for version in 0..=self.version {
            let distance = self.version - version;
            text = text.replace(&(1_000_000_000 + u64::from(version)).to_string(), &format!("T-{distance}"));
        }
        text
    }
}

/// What a round is.
#[derive(Clone, Copy, Debug)]
struct Round {
    before: Option<Deed>,
    is_new: bool,
    event: Option<(usize, Event)>,
}

/// A list of outputs arrives.
fn receive(folder: &mut OutputsFolder, content: &str, file: &sync::File) -> io::Result<()> {
    if let Look::Missing(_) = folder.look(NAME, file)? {
        let staged = folder.stage(content.as_bytes(), NAME, file)?;
        folder.put(&[staged]).remove(0)?;
    }
    folder.settle()
}

fn unlock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The step before which nauta dies, if it does.
const fn death((at, event): (usize, Event)) -> Option<usize> {
    match event {
        Event::Death(..) => Some(at),
        Event::Deed(_, Some(later)) => Some(at + later),
        Event::Deed(_, None) => None,
    }
}

/// Steps at which something happens, once, and that check the world at each; then dead ones stay dead.
fn steps(
    world: &Arc<Mutex<World>>,
    event: Option<(usize, Event)>,
    seen: &Arc<Mutex<(usize, Option<String>)>>,
) -> Steps {
    let (world, seen) = (Arc::clone(world), Arc::clone(seen));
    let mut is_dead = false;
    let observer = move |step: &'static str| {
        let (mut seen, mut world) = (unlock(&seen), unlock(&world));
        if let Err(problem) = world.check(true) {
            seen.1.get_or_insert(format!("before `{step}`: {problem}"));
        }
        match event {
            Some((at, Event::Deed(deed, _))) if at == seen.0 => drop(world.act(deed)),
            _ => {}
        }
        is_dead |= event.and_then(death).is_some_and(|at| at == seen.0);
        seen.0 += 1;
        if is_dead { Err(io::Error::other("dead")) } else { Ok(()) }
    };
    Steps { observer: Some(Box::new(observer)) }
}

/// Makes a round from a state; gives the state after it, and whether its event happened.
fn play(state: &State, round: Round, root: &Path) -> Result<Option<(State, bool)>, String> {
    let mut world = state.restore(root);
    if round.before.is_some_and(|deed| !world.act(deed)) {
        return Ok(None);
    }
    world.version += u32::from(round.is_new);
    let (content, file) = world.remote();
    let is_nautas = |world: &World| world.content().is_none_or(|content| content.starts_with("rank-"));
    let is_undisturbed = round.event.is_none() && world.open.is_none() && is_nautas(&world);
    let world = Arc::new(Mutex::new(world));
    let seen = Arc::default();
    let observed = |event| opened(|| OutputsFolder::open_with(root, steps(&world, event, &seen)));
    let mut folder = observed(round.event).map_err(|error| error.to_string());
    if let Ok(open) = &mut folder {
        let received = receive(open, &content, &file);
        let died = round.event.and_then(death).is_some_and(|at| at < unlock(&seen).0);
        // An error is only what a death looks like, or somebody who was too quick.
        match received {
            Err(error) if !died && !error.to_string().contains("at the moment") => return Err(error.to_string()),
            _ => {}
        }
    }
    drop(folder);
    let happened = round.event.is_none_or(|(at, _)| at < unlock(&seen).0);
    if let Some((_, Event::Death(deed, again))) = round.event.filter(|_| happened) {
        if deed.is_some_and(|deed| !unlock(&world).act(deed)) {
            return Ok(None);
        }
        if let Some(again) = again {
            let at = unlock(&seen).0 + again;
            drop(observed(Some((at, Event::Death(None, None)))));
        }
    }
    // Whoever opens the folder next finds everything in order, and so does the next one.
    drop(observed(None).map_err(|error| format!("cannot open: {error}"))?);
    let mut folder = observed(None).map_err(|error| format!("cannot open: {error}"))?;
    if let Some(problem) = unlock(&seen).1.take() {
        return Err(problem);
    }
    unlock(&world).check(false)?;
    if is_undisturbed && unlock(&world).content().as_deref() != Some(&content) {
        return Err(format!("{NAME} is not the newest, and nobody has touched it"));
    }
    folder.ledger.rewrite().map_err(|error| error.to_string())?;
    drop(folder);
    let world = unlock(&world);
    Ok(Some((State::of(&world, format!("{}{round:?}\n", state.way)), happened)))
}

/// All that can happen before a step.
fn events() -> Vec<Event> {
    let after = std::iter::once(None).chain(DEEDS[..4].iter().copied().map(Some));
    let deaths = after.flat_map(|deed| [None, Some(0)].map(|again| Event::Death(deed, again)));
    let later = [None, Some(1), Some(2)];
    DEEDS.iter().flat_map(|deed| later.map(|later| Event::Deed(*deed, later))).chain(deaths).collect()
}

/// All rounds from a state; gives the states that come of them, and how many rounds there were.
fn explore(state: &State, root: &Path) -> (Vec<State>, usize) {
    let (mut states, mut played) = (Vec::new(), 0);
    let befores = std::iter::once(None).chain(DEEDS.iter().copied().map(Some));
    for (before, is_new) in befores.flat_map(|before| [(before, false), (before, true)]) {
        let mut play = |event| {
            let round = Round { before, is_new, event };
            let folder = root.join(played.to_string());
            played += 1;
            let done = play(state, round, &folder);
            let _ = fs::remove_dir_all(&folder);
            done.unwrap_or_else(|problem| panic!("{problem}, after\n{}{round:?}", state.way))
        };
        let Some((quiet, _)) = play(None) else { continue };
        states.push(quiet);
        for event in events() {
            for at in 0.. {
                match play(Some((at, event))) {
                    Some((state, true)) => states.push(state),
                    Some((_, false)) => break,
                    None => {}
                }
            }
        }
    }
    (states, played)
}

#[test]
fn nothing_is_lost_in_any_order_of_events() {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let rounds = std::env::var("NAUTA_TEST_MODEL").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let root = in_memory();
    let (mut seen, mut states, mut played) = (BTreeSet::new(), vec![State::start()], 0);
    for _ in 0..rounds {
        let mut next = Vec::new();
        for state in &states {
            let (after, rounds) = explore(state, root.path());
            played += rounds;
            next.extend(after.into_iter().filter(|state| seen.insert(state.key())));
        }
        states = next;
    }
    // Of what was left last, too, nauta knows what is its own.
    for (number, state) in states.iter().enumerate() {
        let quiet = Round { before: None, is_new: true, event: None };
        if let Err(problem) = play(state, quiet, &root.path().join(format!("last-{number}"))) {
            panic!("{problem}, after\n{}", state.way);
        }
    }
    assert!(played > 1000, "{played} rounds");
    let _ = writeln!(io::stderr(), "{played} rounds, {} states", seen.len());
}
