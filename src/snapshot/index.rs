//! The tree of the last snapshot, kept between commands: a file whose stamp is the same is not read again.
//!
//! Only a cache: damaged, foreign or absent, it costs a walk that reads everything. Form: [`MAGIC`], the numbers of folders,
//! records and bytes of names, then these three as they are in memory, then the CRC-32 of all before. It tells of damage, at a tenth of
//! what a digest costs; against intent there is nothing to defend: the file is the user's own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::tree::{Folder, Record, Tree};
use crate::digest::Digest;

/// Changes with the form.
const MAGIC: &[u8; 8] = b"nautaix2";

/// Where the index of a project is kept, below nauta's state.
pub(super) fn path(state: &Path, root: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    state.join("snapshots").join(format!("{}.index", Digest::of(root.as_os_str().as_bytes()).short()))
}

/// Where the tree of the last run is kept.
pub(super) fn last_run(state: &Path, root: &Path) -> PathBuf {
    path(state, root).with_extension("run")
}

/// What was kept, and its file; nothing where it cannot be used.
pub(super) fn load(path: &Path) -> Option<(Tree, File)> {
    let mut file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let (body, sum) = bytes.split_last_chunk()?;
    let mut crc = Crc::new();
    crc.update(body);
    if crc.sum() != u32::from_le_bytes(*sum) {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (counts, rest) = <[U64; 3]>::ref_from_prefix(rest).ok()?;
    let [folders, records, names] = counts.map(|count| usize::try_from(count.get()).ok());
    let (folders, rest) = <[Folder]>::ref_from_prefix_with_elems(rest, folders?).ok()?;
    let (records, rest) = <[Record]>::ref_from_prefix_with_elems(rest, records?).ok()?;
    let tree = || Tree { folders: folders.to_vec(), records: records.to_vec(), names: rest.to_vec() };
    (rest.len() == names?).then(|| (tree(), file))
}

/// Keeps a tree for the next time, whole or not at all.
pub(super) fn save(path: &Path, tree: &Tree) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let counts = [tree.folders.len(), tree.records.len(), tree.names.len()].map(|count| U64::new(count as u64));
    let parts = [MAGIC.as_slice(), counts.as_bytes(), tree.folders.as_bytes(), tree.records.as_bytes(), &tree.names];
    let mut crc = Crc::new();
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    for part in parts {
        crc.update(part);
        new.write_all(part)?;
    }
    new.write_all(&crc.sum().to_le_bytes())?;
    Ok(new.persist(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tree::{Kind, Row, Stamp};

    #[test]
    fn a_tree_comes_back_and_a_damaged_one_does_not() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = path(temp.path(), Path::new("/project"));
        assert!(load(&path).is_none());
        let mut tree = Tree::default();
        tree.push(b"", Stamp::default(), [1; 32], &[Row::bare(b"a".to_vec(), Kind::Folder)]);
        tree.push(
            b"a",
            Stamp::default(),
            [2; 32],
            &[Row { target: b"t".to_vec(), ..Row::bare(b"l".to_vec(), Kind::Link) }],
        );
        save(&path, &tree).expect("written");
        let (back, _) = load(&path).expect("kept");
        assert_eq!(back.digest(), tree.digest());
        assert_eq!(back.target(&back.records[1]), b"t");
        let good = fs::read(&path).expect("readable");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("written");
            assert!(load(&path).is_none(), "{at}");
            fs::write(&path, &good[..at]).expect("written");
            assert!(load(&path).is_none(), "{at}");
        }
    }
}
