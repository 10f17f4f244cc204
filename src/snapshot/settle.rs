//! What folders are by what is in them: known when all of the tree is.

use super::record::Kind;
use super::tree::{Folder, Presence, Totals, Tree, join};

impl Tree {
    /// Sees that folders are recorded as what they are by what is in them: where nothing is taken in one that rules leave out, it is
    /// none; neither is an environment.
    pub(super) fn settle(&mut self) {
        let mut is_stale = vec![false; self.folders.len()];
        // What is in a folder stands behind it.
        for at in (0..self.folders.len()).rev() {
            let folder = self.folders[at];
            if folder.totals.has_entered() {
                for record in self.range(&folder) {
                    is_stale[at] |= self.was_entered(&folder, record);
                }
            }
            if is_stale[at] {
                self.sum_up_again(at);
            }
            let presence = match self.folders[at].presence() {
                Presence::Passage | Presence::Hollow if self.folders[at].totals.taken.get() == 0 => Presence::Hollow,
                Presence::Hollow => Presence::Passage,
                presence => presence,
            };
            self.folders[at].presence = presence as u8;
            let kind = match presence {
                Presence::Taken => continue,
                Presence::Passage => Kind::Folder,
                Presence::Hollow => Kind::Hollow,
                Presence::Environment => Kind::Environment,
            };
            let path = self.path(&folder).to_vec();
            let (above, name) = split(&path);
            let Some(parent) = self.position(above) else { continue };
            let records = self.range(&self.folders[parent]);
            let record =
                records.clone().find(|record| self.name(&self.folders[parent], &self.records[*record]) == name);
            if let Some(record) = record.filter(|record| self.records[*record].kind() != kind) {
                self.records[record].set_kind(kind);
                is_stale[parent] = true;
            }
        }
    }

    /// Makes the record of a folder that is taken again one of a folder; tells whether it was none.
    fn was_entered(&mut self, above: &Folder, record: usize) -> bool {
        let found = self.records[record];
        if !matches!(found.kind(), Kind::Hollow | Kind::Environment) {
            return false;
        }
        let path = join(self.path(above), self.name(above, &found));
        let is_taken = self.folder(&path).is_some_and(|folder| folder.presence() == Presence::Taken);
        if is_taken {
            self.records[record].set_kind(Kind::Folder);
        }
        is_taken
    }

    fn sum_up_again(&mut self, at: usize) {
        let folder = self.folders[at];
        let mut totals = Totals::default();
        for record in self.records(&folder) {
            totals.add(record.kind(), record.marks(), record.stamp.size.get(), self.name(&folder, record));
        }
        let digest = self.content(&folder);
        (self.folders[at].digest, self.folders[at].totals) = (digest, totals);
    }
}

/// The folder that a path is in, and its name there.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
