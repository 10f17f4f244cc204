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
use zerocopy::{FromZeros, IntoBytes};

use super::tree::{Folder, Record, Tree};
use crate::digest::Digest;

/// Changes with the form.
const MAGIC: &[u8; 8] = b"nautaix4";

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
    let (mut magic, mut counts, mut crc) = ([0; 8], [U64::ZERO; 3], Crc::new());
    read(&mut file, &mut magic, &mut crc)?;
    read(&mut file, counts.as_mut_bytes(), &mut crc)?;
    // The numbers of a damaged file would ask for any memory.
    if magic != *MAGIC || length(counts)? != file.metadata().ok()?.len() {
        return None;
    }
    let [folders, records, names] = counts.map(|count| usize::try_from(count.get()).ok());
    let mut tree = Tree {
        folders: Folder::new_vec_zeroed(folders?).ok()?,
        records: Record::new_vec_zeroed(records?).ok()?,
        names: vec![0; names?],
    };
    for table in
        [tree.folders.as_mut_slice().as_mut_bytes(), tree.records.as_mut_slice().as_mut_bytes(), &mut tree.names]
    {
        read(&mut file, table, &mut crc)?;
    }
    let mut sum = [0; 4];
    file.read_exact(&mut sum).ok()?;
    (crc.sum() == u32::from_le_bytes(sum)).then_some((tree, file))
}

/// Reads so many bytes to where they belong.
fn read(file: &mut File, bytes: &mut [u8], crc: &mut Crc) -> Option<()> {
    file.read_exact(bytes).ok()?;
    crc.update(bytes);
    Some(())
}

/// Bytes of the file of so many folders, records and bytes of names.
fn length([folders, records, names]: [U64; 3]) -> Option<u64> {
    let folders = folders.get().checked_mul(size_of::<Folder>() as u64)?;
    let records = records.get().checked_mul(size_of::<Record>() as u64)?;
    let ends = (MAGIC.len() + size_of::<[U64; 3]>() + size_of::<u32>()) as u64;
    ends.checked_add(folders)?.checked_add(records)?.checked_add(names.get())
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
        tree.push(b"", Stamp::default(), [1; 32], [Row::bare(b"a".to_vec(), Kind::Folder)].iter());
        tree.push(
            b"a",
            Stamp::default(),
            [2; 32],
            [Row { target: b"t".to_vec(), ..Row::bare(b"l".to_vec(), Kind::Link) }].iter(),
        );
        save(&path, &tree).expect("written");
        let (back, _) = load(&path).expect("kept");
        assert_eq!(back.digest(), tree.digest());
        assert_eq!(back.target(&back.folders[1], &back.records[1]), b"t");
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
