//! The tree of the last snapshot, kept between commands: a file whose stamp is the same is not read again.
//!
//! Only a cache: damaged, foreign or absent, it costs a walk that reads everything. Form: [`MAGIC`], the numbers of folders,
//! records and bytes of names, folders and names as they are in memory, the CRC-32 of all that, then the records and theirs: who wants
//! to know what is different reads only the records of folders that are. A CRC tells of damage, at a fraction of what a digest costs;
//! against intent there is nothing to defend: the file is the user's own.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use libdeflater::Crc;
use zerocopy::little_endian::U64;
use zerocopy::{FromZeros, IntoBytes};

use super::record::Record;
use super::tree::{Folder, Tree};
use crate::bounded_file;
use crate::digest::Digest;

/// Changes with the form.
const MAGIC: &[u8; 8] = b"nautaix6";

/// What the names of indexes end with.
pub(super) const ENDING: &str = "index";

/// Where the index of a project is kept, below nauta's state.
pub(super) fn path(state: &Path, root: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    state.join("snapshots").join(format!("{}.{ENDING}", Digest::of(root.as_os_str().as_bytes()).short()))
}

/// Where the tree of the last run is kept.
pub(super) fn last_run(state: &Path, root: &Path) -> PathBuf {
    path(state, root).with_extension("run")
}

/// What was kept, and its file; nothing where it cannot be used.
pub(super) fn load(path: &Path) -> Option<(Tree, File)> {
    let (mut tree, records, mut file) = load_folders(path)?;
    tree.records = Record::new_vec_zeroed(records).ok()?;
    read(&mut file, &mut [tree.records.as_mut_slice().as_mut_bytes()])?;
    Some((tree, file))
}

/// What was kept, without the records of folders that `other` has with the same content.
pub(super) fn load_unlike(path: &Path, other: &Tree) -> Option<Tree> {
    let (tree, count, mut file) = load_folders(path)?;
    let begin = file.stream_position().ok()?;
    tree.with_unlike(other, |from, records| {
        let is_there = from.checked_add(records.len() as u64)? <= count as u64;
        let at = begin + from * size_of::<Record>() as u64;
        is_there.then(|| file.read_exact_at(records.as_mut_bytes(), at).ok()).flatten()
    })
}

/// A tree without its records, how many there are, and the file, which goes on with them.
fn load_folders(path: &Path) -> Option<(Tree, usize, File)> {
    let mut file = bounded_file::open(path).ok()?;
    let (mut magic, mut counts) = ([0; MAGIC.len()], [U64::ZERO; 3]);
    file.read_exact(&mut magic).ok()?;
    file.read_exact(counts.as_mut_bytes()).ok()?;
    // The numbers of a damaged file would ask for any memory.
    if magic != *MAGIC || length(counts)? != file.metadata().ok()?.len() {
        return None;
    }
    let [folders, records, names] = counts.map(|count| usize::try_from(count.get()).ok());
    let mut folders = Folder::new_vec_zeroed(folders?).ok()?;
    let mut names = vec![0; names?];
    file.rewind().ok()?;
    read(&mut file, &mut [&mut magic, counts.as_mut_bytes(), folders.as_mut_slice().as_mut_bytes(), &mut names])?;
    Some((Tree { folders, records: Vec::new(), names }, records?, file))
}

/// Reads so many bytes to where they belong, and their sum.
fn read(file: &mut File, parts: &mut [&mut [u8]]) -> Option<()> {
    let (mut crc, mut sum) = (Crc::new(), [0; size_of::<u32>()]);
    for part in parts {
        file.read_exact(part).ok()?;
        crc.update(part);
    }
    file.read_exact(&mut sum).ok()?;
    (crc.sum() == u32::from_le_bytes(sum)).then_some(())
}

/// Bytes of the file of so many folders, records and bytes of names.
fn length([folders, records, names]: [U64; 3]) -> Option<u64> {
    let folders = folders.get().checked_mul(size_of::<Folder>() as u64)?;
    let records = records.get().checked_mul(size_of::<Record>() as u64)?;
    let ends = (MAGIC.len() + size_of::<[U64; 3]>() + 2 * size_of::<u32>()) as u64;
    ends.checked_add(folders)?.checked_add(records)?.checked_add(names.get())
}

/// Keeps a tree for the next time, whole or not at all.
pub(super) fn save(path: &Path, tree: &Tree) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let counts = [tree.folders.len(), tree.records.len(), tree.names.len()].map(|count| U64::new(count as u64));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    let head = [MAGIC.as_slice(), counts.as_bytes(), tree.folders.as_bytes(), tree.names.as_slice()];
    write(&mut new, &head)?;
    write(&mut new, &[tree.records.as_bytes()])?;
    Ok(new.persist(path)?)
}

/// Writes bytes and their sum.
fn write(file: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part);
        file.write_all(part)?;
    }
    file.write_all(&crc.sum().to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::record::{Kind, Row};
    use crate::snapshot::tree::Head;

    #[test]
    fn a_tree_comes_back_and_a_damaged_one_does_not() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = path(temp.path(), Path::new("/project"));
        assert!(load(&path).is_none());
        let mut tree = Tree::default();
        let head = |rules| Head { rules, ..Head::default() };
        tree.push(b"", head([1; 32]), [Row::bare(b"a".to_vec(), Kind::Folder)].iter());
        tree.push(b"a", head([2; 32]), [Row { target: b"t".to_vec(), ..Row::bare(b"l".to_vec(), Kind::Link) }].iter());
        save(&path, &tree).expect("written");
        let (back, _) = load(&path).expect("kept");
        assert_eq!(back.digest(), tree.digest());
        assert_eq!(back.target(&back.folders[1], &back.records[1]), b"t");
        let part = load_unlike(&path, &Tree::default()).expect("kept");
        assert_eq!((part.records.len(), part.target(&part.folders[1], &part.records[1])), (2, &b"t"[..]));
        assert!(load_unlike(&path, &tree).expect("kept").records.is_empty(), "what is the same is not read");
        let good = fs::read(&path).expect("readable");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("written");
            assert!(load(&path).is_none(), "{at}");
            fs::write(&path, &good[..at]).expect("written");
            assert!(load(&path).is_none() && load_unlike(&path, &Tree::default()).is_none(), "{at}");
        }
    }
}
