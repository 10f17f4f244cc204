//! Whether anybody has a file open for writing.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc;

/// Whether a process has this file open for writing now, or mapped. The kernel grants a lease on reading only where nobody has;
/// it is given back at once. Where it cannot tell (network file systems), nobody is believed to.
#[expect(unsafe_code, reason = "no safe wrapper knows F_SETLEASE")]
pub(super) fn has_writer(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: both commands take an integer and touch no memory of ours; the descriptor is open for as long as `file` is borrowed.
    let granted = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if granted == -1 {
        return Errno::last() == Errno::EAGAIN;
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_while_it_has_the_file_open() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let reader = File::open(file.path()).expect("opens");
        assert!(has_writer(&reader), "the one that made it");
        let path = file.into_temp_path();
        assert!(!has_writer(&reader));
        let other = File::open(&path).expect("opens");
        assert!(!has_writer(&reader), "readers do no harm");
        drop(other);
    }
}
