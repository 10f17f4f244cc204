//! What a thread of the walk does about one folder, and each name in it.

use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};

use super::disk::{OwnOutput, Version, list, now, read, rules_in, there};
use super::error::SnapshotError;
use super::own_rules::environment_mark;
use super::record::{Kind, Record, Row, Stamp, mark};
use super::rules::{By, Rules, Verdict};
use super::tree::{Head, Presence, join};
use super::walk::{Listed, New, Part, Place, Task, Walk};

/// How often a file is read before it counts as never standing still.
const ATTEMPTS: usize = 4;

/// Layers of images mean by such a name that another one is gone (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// Names in a folder that one thread looks at; those of a large folder are shared out.
const PART: usize = 256;

impl Place {
    fn unreadable(&self, name: &[u8], error: impl Into<io::Error>) -> SnapshotError {
        SnapshotError::unreadable(&join(&self.path, name), error)
    }
}

/// A thread's work on a task.
pub(super) struct Visit<'w> {
    pub(super) walk: &'w Walk<'w>,
    /// What is to be done besides.
    pub(super) found: &'w mut Vec<Task>,
}

impl Visit<'_> {
    /// What was found; nothing where the folder is gone, or was shared out.
    pub(super) fn take_up(&mut self, task: Task) -> Result<Option<Listed>, SnapshotError> {
        match task {
            Task::Folder { path, rules, known, is_passage } => self.folder(path, &rules, known, is_passage),
            Task::Part(part) => self.part(part).map(Some),
        }
    }

    /// `above`: the rules of the folder above.
    fn folder(
        &mut self,
        path: Vec<u8>,
        above: &Rules,
        known: Option<usize>,
        is_passage: bool,
    ) -> Result<Option<Listed>, SnapshotError> {
        let read_at = now();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened =
            openat(&self.walk.root, if path.is_empty() { b"." } else { path.as_slice() }, flags, Mode::empty());
        let Some(handle) = there(opened).map_err(|error| SnapshotError::unreadable(&path, error))? else {
            return Ok(None);
        };
        let stat = fstat(&handle).map_err(|error| SnapshotError::unreadable(&path, error))?;
        let stamp = Stamp::of(&stat);
        let left = is_passage.then(|| above.judge(&path, true)).filter(|left| left.verdict != Verdict::Take);
        let tree = self.walk.known;
        let mut place = Place { handle, path, rules: above.clone(), known };
        if let Some(at) = known.filter(|at| stamp.is_still(&tree.folders[*at].stamp)) {
            let folder = &tree.folders[at];
            let names = tree.records(folder).iter().map(|record| tree.name(folder, record));
            place.rules = rules_in(&self.walk.project, &place.path, names, above, left.clone())?;
            if place.rules.digest() == folder.rules && self.is_same(&place, at) {
                return Ok(Some(Listed::Same(at)));
            }
        }
        let mut names = list(&place.handle).map_err(|error| SnapshotError::unreadable(&place.path, error))?;
        let found = || names.iter().map(|(name, _)| name.as_slice());
        let is_environment =
            !place.path.is_empty() && environment_mark(found()).is_some() && !above.takes(&place.path, true);
        let presence = match &left {
            _ if is_environment => Presence::Environment,
            Some(_) => Presence::Passage,
            None => Presence::Taken,
        };
        place.rules = rules_in(&self.walk.project, &place.path, found(), above, left)?;
        let head = Head { stamp: stamp.read_at(read_at), rules: place.rules.digest(), presence };
        if is_environment {
            names.clear();
        }
        let place = Arc::new(place);
        if names.len() <= PART {
            return self.part(Part { place, head, names }).map(Some);
        }
        while !names.is_empty() {
            let names = names.split_off(names.len().saturating_sub(PART));
            self.found.push(Task::Part(Part { place: Arc::clone(&place), head, names }));
        }
        Ok(None)
    }

    fn part(&mut self, Part { place, head, names }: Part) -> Result<Listed, SnapshotError> {
        let known = place.known.map(|at| &self.walk.known.folders[at]);
        let mut rows = Vec::with_capacity(names.len());
        for (name, file_type) in names {
            let record = known.and_then(|folder| {
                let record = self.walk.known.record(folder, &name)?;
                Some((record, folder.rules == head.rules))
            });
            rows.extend(self.row(&place, name, file_type, record)?);
        }
        Ok(Listed::New(New { path: place.path.clone(), head, rows }))
    }

    /// Whether everything in a folder whose list is known is what it was; it stands in the index at this position.
    fn is_same(&mut self, place: &Place, at: usize) -> bool {
        let known = self.walk.known;
        let (folder, mut near, mut found) = (&known.folders[at], at, Vec::new());
        for record in known.records(folder) {
            let name = known.name(folder, record);
            let stat = || statat(&place.handle, name, AtFlags::SYMLINK_NOFOLLOW);
            let path = || join(&place.path, name);
            if record.marks() & mark::TRACKED != 0 && !place.rules.is_tracked(&path()) {
                return false;
            }
            let is_same = match record.kind() {
                Kind::File | Kind::Executable | Kind::Link => {
                    stat().is_ok_and(|stat| Stamp::of(&stat).is_still(&record.stamp) && !self.walk.own_output.is(&stat))
                }
                Kind::OwnOutput => stat().is_ok_and(|stat| self.walk.own_output.is(&stat)),
                Kind::GitFile => !place.rules.is_tracked(&path()),
                Kind::GitFolder => !place.rules.is_tracked(&path()) && !place.rules.has_tracked(&path()),
                kind if kind.is_entered() => {
                    let path = path();
                    let known = known.position_from(near, &path);
                    near = known.unwrap_or(near);
                    found.push(self.entered(place, path, known));
                    true
                }
                _ => true,
            };
            if !is_same {
                return false;
            }
        }
        self.found.append(&mut found);
        true
    }

    /// The task of a folder that was judged before.
    fn entered(&self, place: &Place, path: Vec<u8>, known: Option<usize>) -> Task {
        let presence = known.map(|at| self.walk.known.folders[at].presence());
        let is_passage = matches!(presence, Some(Presence::Passage | Presence::Hollow));
        Task::Folder { path, rules: place.rules.clone(), known, is_passage }
    }

    /// What is to be known of a name; nothing where it is gone. `known`: its record, and whether the rules are those it was
    /// judged by.
    fn row(
        &mut self,
        place: &Place,
        name: Vec<u8>,
        mut file_type: FileType,
        known: Option<(&Record, bool)>,
    ) -> Result<Option<Row>, SnapshotError> {
        if file_type == FileType::Unknown {
            let stat = there(statat(&place.handle, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW));
            let Some(stat) = stat.map_err(|error| place.unreadable(&name, error))? else { return Ok(None) };
            file_type = FileType::from_raw_mode(stat.st_mode);
        }
        let (path, is_folder) = (join(&place.path, &name), file_type == FileType::Directory);
        // What Git tracks may be something else by now.
        let is_settled = |record: &Record| {
            record.marks() & mark::TRACKED == 0 && !matches!(record.kind(), Kind::GitFile | Kind::GitFolder)
        };
        let judged = known
            .filter(|(record, same_rules)| *same_rules && record.kind().is_folder() == is_folder && is_settled(record));
        let entered = |visit: &Self| visit.entered(place, path.clone(), visit.walk.known.position(&path));
        let (task, marks) = match judged.map(|(record, _)| record.kind()) {
            Some(kind) if kind.is_entered() => (Some(entered(self)), 0),
            Some(kind) if kind.is_taken() || matches!(kind, Kind::Unsendable | Kind::OwnOutput) => (None, 0),
            Some(kind) => return Ok(Some(Row::bare(name, kind))),
            None => match judge(place, &path, is_folder) {
                Judged::Leave(kind) => return Ok(Some(Row::bare(name, kind))),
                Judged::Take { is_passage, is_tracked } => {
                    let (rules, known) = (place.rules.clone(), self.walk.known.position(&path));
                    let task = is_folder.then(|| Task::Folder { path: path.clone(), rules, known, is_passage });
                    (task, if is_tracked { mark::TRACKED } else { 0 })
                }
            },
        };
        if name.starts_with(WHITEOUT) {
            return Ok(Some(Row::bare(name, Kind::Unsendable)));
        }
        let row = match file_type {
            FileType::Directory => {
                self.found.extend(task);
                Some(Row::bare(name, Kind::Folder))
            }
            FileType::RegularFile => file(place, name, known.map(|(record, _)| record), &self.walk.own_output)?,
            FileType::Symlink => link(place, name)?,
            _ => Some(Row::bare(name, Kind::Unsendable)),
        };
        Ok(row.map(|row| Row { marks: row.marks | marks, ..row }))
    }
}

/// What is to be done about a name.
enum Judged {
    Take { is_passage: bool, is_tracked: bool },
    Leave(Kind),
}

/// What is to be done about a name that is judged for the first time, or anew.
fn judge(place: &Place, path: &[u8], is_folder: bool) -> Judged {
    let judgement = place.rules.judge(path, is_folder);
    let by_git = judgement.by == By::Git;
    match (&judgement.verdict, is_folder) {
        (Verdict::Take, _) => Judged::Take { is_passage: false, is_tracked: judgement.is_tracked },
        (_, true) if place.rules.enters(path, &judgement) => Judged::Take { is_passage: true, is_tracked: false },
        (Verdict::Withhold(_), true) => Judged::Leave(Kind::WithheldFolder),
        (Verdict::Withhold(_), false) => Judged::Leave(Kind::WithheldFile),
        (_, true) => Judged::Leave(if by_git { Kind::GitFolder } else { Kind::LeftFolder }),
        (_, false) => Judged::Leave(if by_git { Kind::GitFile } else { Kind::LeftFile }),
    }
}

/// A file: as it is known, or read.
fn file(
    place: &Place,
    name: Vec<u8>,
    known: Option<&Record>,
    own_output: &OwnOutput,
) -> Result<Option<Row>, SnapshotError> {
    let stat = there(statat(&place.handle, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW));
    let Some(stat) = stat.map_err(|error| place.unreadable(&name, error))? else { return Ok(None) };
    if own_output.is(&stat) {
        return Ok(Some(Row::bare(name, Kind::OwnOutput)));
    }
    let is_same = |record: &&Record| record.kind().is_file() && Stamp::of(&stat).is_still(&record.stamp);
    if let Some(record) = known.filter(is_same) {
        let marks = record.marks() & mark::POINTER;
        let (kind, stamp, digest) = (record.kind(), record.stamp, record.digest);
        return Ok(Some(Row { name, kind, marks, stamp, digest, target: Vec::new() }));
    }
    for _ in 0..ATTEMPTS {
        match read(&place.handle, &name) {
            Ok(Some(Version { kind, marks, stamp, digest })) => {
                return Ok(Some(Row { name, kind, marks, stamp, digest, target: Vec::new() }));
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(place.unreadable(&name, error)),
        }
    }
    Err(SnapshotError::changing(&join(&place.path, &name)))
}

fn link(place: &Place, name: Vec<u8>) -> Result<Option<Row>, SnapshotError> {
    let read_at = now();
    let read = statat(&place.handle, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
        .and_then(|stat| Ok((stat, readlinkat(&place.handle, name.as_slice(), Vec::new())?)));
    match there(read).map_err(|error| place.unreadable(&name, error))? {
        Some((stat, target)) => {
            let (stamp, target) = (Stamp::of(&stat).read_at(read_at), target.into_bytes());
            Ok(Some(Row { stamp, target, ..Row::bare(name, Kind::Link) }))
        }
        None => Ok(None),
    }
}
