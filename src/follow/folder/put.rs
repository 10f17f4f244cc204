//! Staged files get to their places: what nauta has not written, or somebody has changed, is never lost on the way.

use std::io::{self, ErrorKind};

use cap_std::fs::Dir;

use super::lease::has_writer;
use super::ledger::{Entry, Intent};
use super::place::{Look, Place, beside, digest_of_link, open_regular, split};
use super::renames::Spot;
use super::stage::OLD;
use super::{FEW, OutputsFolder, Staged};
use crate::digest::{Digest, Hasher};
use crate::sync::Taken;

/// What came of moving a file to its place.
enum Moved {
    There,
    /// The place is no longer as it was.
    Not,
    /// What came out is somebody's, and is where it was.
    Back,
}

/// How often a place is looked for while somebody else takes it each time.
const ATTEMPTS: u32 = 100;

impl OutputsFolder {
    /// Puts whole files in place, each with the path where it then is: the old one or the new one is there at every moment. What
    /// they hold is on the disk before their names are; the names are after [`OutputsFolder::settle`].
    pub(in crate::follow) fn put(&mut self, staged: &[Staged]) -> Vec<io::Result<String>> {
        let mut places: Vec<io::Result<Look>> = staged.iter().map(|staged| self.find_place(staged, &[])).collect();
        if let Err(error) = self.prepare(staged, &places) {
            places.fill_with(|| Err(io::Error::new(error.kind(), error.to_string())));
        }
        let mut done = Vec::with_capacity(staged.len());
        for (staged, place) in staged.iter().zip(places) {
            done.push(match place {
                Ok(place) => self.put_one(staged, place),
                // Nothing can have come out where it did not go in.
                Err(error) => self.drop_staged(staged).and(Err(error)),
            });
        }
        if let Err(error) = self.ledger.flush() {
            tracing::debug!(%error, "the ledger will know at the next start");
        }
        done
    }

    /// Where a staged file goes, its folder made; not to where somebody's file went back.
    fn find_place(&mut self, staged: &Staged, theirs: &[String]) -> io::Result<Look> {
        let look = self.look_past(&staged.wanted, &staged.file, theirs)?;
        if let Look::Missing(place) = &look
            && place.folder.is_none()
        {
            self.make_folder(&place.path)?;
        }
        Ok(look)
    }

    fn make_folder(&mut self, path: &str) -> io::Result<()> {
        let mut folder = split(path).0;
        self.steps.before("make a folder")?;
        self.dir.create_dir_all(folder)?;
        while !folder.is_empty() {
            if self.folders.insert(folder.to_owned()) {
                self.taken.files += 1;
            }
            folder = split(folder).0;
            self.touched.insert(folder.to_owned());
        }
        Ok(())
    }

    /// What is to be put in place reaches the disk, and the ledger's word of it. A file that may come out where another goes in
    /// is noted only after that: whatever else comes out is then known to be somebody's.
    fn prepare(&mut self, staged: &[Staged], places: &[io::Result<Look>]) -> io::Result<()> {
        let pairs = || staged.iter().zip(places);
        let replaces = |place: &io::Result<Look>| matches!(place, Ok(Look::Missing(Place { former: Some(_), .. })));
        for (staged, place) in pairs().filter(|(_, place)| !replaces(place)) {
            if let Ok(Look::Missing(place)) = place {
                self.intend(staged, place)?;
            }
        }
        self.steps.before("note what is new")?;
        self.ledger.flush()?;
        self.steps.before("sync")?;
        if staged.len() > FEW {
            rustix::fs::syncfs(&self.lock)?;
        } else {
            // A link is as safe as its name.
            for staged in staged.iter().filter(|staged| staged.file.link.is_none()) {
                self.own.open(staged.name())?.sync_all()?;
            }
            self.ledger.sync()?;
        }
        if pairs().any(|(_, place)| replaces(place)) {
            for (staged, place) in pairs().filter(|(_, place)| replaces(place)) {
                if let Ok(Look::Missing(place)) = place {
                    self.intend(staged, place)?;
                }
            }
            self.steps.before("note what is replaced")?;
            self.ledger.flush()?;
            self.ledger.sync()?;
        }
        Ok(())
    }

    fn intend(&mut self, staged: &Staged, place: &Place) -> io::Result<()> {
        self.ledger.intend(Intent {
            serial: staged.serial,
            path: place.path.clone(),
            entry: Entry::new(&staged.file, &staged.wanted, &place.path),
            former: place.former.as_ref().map(|former| former.digest.clone()),
        })
    }

    /// Puts one in place, or finds another place where somebody has taken that meanwhile.
    fn put_one(&mut self, staged: &Staged, mut look: Look) -> io::Result<String> {
        let mut theirs = Vec::new();
        for _ in 0..ATTEMPTS {
            let place = match look {
                Look::Missing(place) => place,
                Look::Here(path) => {
                    self.drop_staged(staged)?;
                    return Ok(path);
                }
            };
            match self.try_put(staged, &place)? {
                Moved::There => {
                    self.note_written(staged, &place.path)?;
                    return Ok(place.path);
                }
                Moved::Not => {}
                Moved::Back => theirs.push(place.path),
            }
            look = self.find_place(staged, &theirs)?;
            if let Look::Missing(place) = &look {
                self.intend(staged, place)?;
                self.steps.before("note another place")?;
                self.ledger.flush()?;
                self.ledger.sync()?;
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "others take its place each time"))
    }

    fn note_written(&mut self, staged: &Staged, path: &str) -> io::Result<()> {
        let former = self.ledger.written(staged.serial)?;
        let former = former.map_or(Taken::default(), |entry| Taken { size: entry.size, files: 1 });
        self.taken.size = self.taken.size.saturating_sub(former.size).saturating_add(staged.file.size);
        self.taken.files += 1 - former.files;
        self.touched.insert(split(path).0.to_owned());
        Ok(())
    }

    /// A staged file is not needed.
    fn drop_staged(&mut self, staged: &Staged) -> io::Result<()> {
        self.steps.before("drop")?;
        self.ledger.void(staged.serial)?;
        self.own.remove_file(staged.name())
    }

    /// Moves a staged file to its place.
    fn try_put(&mut self, staged: &Staged, place: &Place) -> io::Result<Moved> {
        let (folder, name) = split(&place.path);
        let folder = match &place.folder {
            Some(folder) => folder.try_clone(),
            None => self.dir.open_dir(folder),
        };
        let folder = match folder {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Moved::Not),
            folder => folder?,
        };
        let (name_staged, aside) = (staged.name(), staged.aside());
        self.steps.before("move")?;
        let moved = match &place.former {
            None => self.renames.move_to_new(Spot(&self.own, &name_staged), Spot(&folder, name)),
            Some(_) => self.renames.exchange(Spot(&self.own, &name_staged), Spot(&folder, name), &aside),
        };
        match (moved, &place.former) {
            (Ok(()), None) => Ok(Moved::There),
            (Ok(()), Some(former)) => self.check(staged, place, &folder, former),
            (Err(error), _) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                if let Some(former) = &place.former {
                    self.clear_aside(&aside, &former.digest, &place.path)?;
                }
                Ok(Moved::Not)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Looks at what came out where a staged file went in. What is not as nauta left it goes back.
    fn check(&mut self, staged: &Staged, place: &Place, folder: &Dir, former: &Entry) -> io::Result<Moved> {
        let (name, place_name) = (staged.name(), split(&place.path).1);
        self.steps.before("check")?;
        if self.is_as_left(&name, &former.digest) {
            self.steps.before("remove the former")?;
            self.own.remove_file(&name)?;
            return Ok(Moved::There);
        }
        self.steps.before("move back")?;
        match self.renames.exchange(Spot(&self.own, &name), Spot(folder, place_name), &staged.aside()) {
            Ok(()) if self.is_as_left(&name, &staged.file.digest) => Ok(Moved::Back),
            // Somebody was quick enough to change the new one: that stays too, and the rank's is fetched again.
            Ok(()) => {
                self.keep(&name, &place.path)?;
                self.ledger.void(staged.serial)?;
                Err(io::Error::other("it was changed at the moment at which it was put in place"))
            }
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                // The new one has been there, and somebody has taken it away.
                self.keep(&name, &place.path)?;
                self.clear_aside(&staged.aside(), &staged.file.digest, &place.path)?;
                Ok(Moved::There)
            }
            Err(error) => Err(error),
        }
    }

    /// What had to make way and cannot go back goes away if it is nauta's, and beside its place if not.
    pub(super) fn clear_aside(&mut self, aside: &str, ours: &Digest, path: &str) -> io::Result<()> {
        if self.own.symlink_metadata(aside).is_err() {
            return Ok(());
        }
        self.steps.before("clear")?;
        if self.is_as_left(aside, ours) { self.own.remove_file(aside) } else { self.keep(aside, path) }
    }

    /// Whether a file in nauta's own folder has this content, and nobody is changing it.
    pub(super) fn is_as_left(&self, name: &str, digest: &Digest) -> bool {
        if let Ok(Some(link)) = digest_of_link(&self.own, name) {
            return link == *digest;
        }
        let Ok(file) = open_regular(&self.own, name) else { return false };
        !has_writer(&file) && Hasher::read_to_end(file).is_ok_and(|(found, _)| found == *digest)
    }

    /// Takes away what nauta has put at a path, unless somebody has changed it, and folders that are empty then. What the run takes
    /// is to be counted anew afterwards.
    pub(in crate::follow) fn withdraw(&mut self, path: &str) -> io::Result<()> {
        let Some(digest) = self.ledger.get(path).map(|entry| entry.digest.clone()) else { return Ok(()) };
        let (mut folder, name) = split(path);
        let aside = format!("{OLD}{}", self.ledger.next_serial());
        let open = self.dir.open_dir(folder)?;
        match self.renames.move_to_new(Spot(&open, name), Spot(&self.own, &aside)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            moved => moved?,
        }
        if !self.is_as_left(&aside, &digest) {
            return self.keep(&aside, path);
        }
        self.own.remove_file(&aside)?;
        while !folder.is_empty() && self.dir.remove_dir(folder).is_ok() {
            self.touched.remove(folder);
            folder = split(folder).0;
        }
        Ok(())
    }

    /// Gives somebody's file back: to its place, or beside it.
    pub(super) fn keep(&mut self, name: &str, path: &str) -> io::Result<()> {
        let (folder, own_name) = split(path);
        for attempt in 0..ATTEMPTS {
            self.steps.before("keep")?;
            let open = if folder.is_empty() { self.dir.try_clone() } else { self.dir.open_dir(folder) };
            let open = match open {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_folder(path)?;
                    continue;
                }
                open => open?,
            };
            match self.renames.move_to_new(Spot(&self.own, name), Spot(&open, &beside(own_name, attempt))) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                moved => {
                    self.touched.insert(folder.to_owned());
                    return moved;
                }
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "too many other files have its name"))
    }
}
