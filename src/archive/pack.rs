//! Compression on all processors: gzip, because every container engine in use accepts it, and its fastest level, because
//! registries and networks are faster than better ones.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use libdeflater::{CompressionLvl, Compressor};

use super::hashing::{Hashing, Written};

/// So many bytes become one member of the gzip stream (RFC 1952, section 2.2): a stream of members is read as if it were
/// one, and where they are cut depends on nothing but the bytes, so that the same bytes give the same stream on every machine.
const MEMBER: usize = 1024 * 1024;
/// The fastest that compresses.
const LEVEL: i32 = 1;
/// More threads than this would wait for whoever writes.
const MOST_THREADS: usize = 8;

/// A [`Write`] that compresses what goes through it.
pub struct Packer<W: Write> {
    out: Hashing<W>,
    block: Vec<u8>,
    /// Whether there has been a block.
    has_begun: bool,
    /// Compressed members, in their order; some are not ready yet.
    members: VecDeque<Receiver<Member>>,
}

/// A compressed block.
struct Member {
    packed: Vec<u8>,
    block: Vec<u8>,
}

/// A block to compress, and where its member is awaited.
type Task = (Vec<u8>, SyncSender<Member>);

/// The threads that compress and the blocks that they are given, for all packers one after the other and as long as the process lives:
/// what each packer had to itself was kept by the allocator, once for each thread that made one (40 MB for a tree of 100,000 files).
struct Pool {
    tasks: Sender<Task>,
    count: usize,
    /// Blocks to be filled again.
    spare: Mutex<Vec<Vec<u8>>>,
}

static POOL: LazyLock<Pool> = LazyLock::new(Pool::start);

impl Pool {
    fn start() -> Self {
        let (tasks, queue) = channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let work = |queue: Arc<Mutex<Receiver<Task>>>| {
            move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let mut compressor = compressor();
                let mut scratch = vec![0; compressor.gzip_compress_bound(MEMBER)];
                while let Ok((block, done)) = next() {
                    let packed = member(&mut compressor, &block, &mut scratch).to_vec();
                    // Nobody waits any more where writing failed.
                    let _ = done.send(Member { packed, block });
                }
            }
        };
        (0..count).for_each(|_| drop(std::thread::spawn(work(Arc::clone(&queue)))));
        Self { tasks, count, spare: Mutex::default() }
    }

    /// An empty block.
    fn block(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(|| Vec::with_capacity(MEMBER))
    }

    /// Takes a block back.
    fn keep(&self, mut block: Vec<u8>) {
        block.clear();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }

    fn submit(&self, block: Vec<u8>) -> io::Result<Receiver<Member>> {
        let (done, member) = sync_channel(1);
        self.tasks.send((block, done)).map_err(|_| io::Error::other("the compression stopped"))?;
        Ok(member)
    }
}

impl<W: Write> Packer<W> {
    /// Compressed bytes go to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Hashing::new(out), block: POOL.block(), has_begun: false, members: VecDeque::new() }
    }

    /// Ends the stream; gives what was written. Nothing at all is a stream too.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        if !self.block.is_empty() || !self.has_begun {
            self.submit()?;
        }
        while self.write_member()? {}
        POOL.keep(self.block);
        self.out.flush()?;
        Ok(self.out.finish())
    }

    fn submit(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, POOL.block());
        self.has_begun = true;
        self.members.push_back(POOL.submit(block)?);
        Ok(())
    }

    /// Waits for the next member and writes it; `false` where there is none.
    fn write_member(&mut self) -> io::Result<bool> {
        let Some(member) = self.members.pop_front() else { return Ok(false) };
        let Member { packed, block } = member.recv().map_err(|_| io::Error::other("the compression stopped"))?;
        POOL.keep(block);
        self.out.write_all(&packed)?;
        Ok(true)
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(MEMBER - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        if self.block.len() == MEMBER {
            self.submit()?;
            if self.members.len() > 2 * POOL.count {
                self.write_member()?;
            }
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The same stream for bytes that are in memory, without threads where there is one member only.
pub fn gzip_bytes(bytes: &[u8]) -> io::Result<Vec<u8>> {
    if bytes.len() > MEMBER {
        let mut packer = Packer::new(Vec::new());
        packer.write_all(bytes)?;
        return Ok(packer.finish()?.0);
    }
    let mut compressor = compressor();
    let mut scratch = vec![0; compressor.gzip_compress_bound(bytes.len())];
    Ok(member(&mut compressor, bytes, &mut scratch).to_vec())
}

/// Compresses a block; `scratch` has room for the worst.
fn member<'s>(compressor: &mut Compressor, block: &[u8], scratch: &'s mut [u8]) -> &'s [u8] {
    let size = compressor.gzip_compress(block, scratch).expect("there is room for the worst");
    &scratch[..size]
}

fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(LEVEL).expect("levels go from 0 to 12"))
}

/// Compresses all that `source` gives into `sink`; gives what was read and what was written.
pub fn gzip(mut source: impl Read, sink: impl Write) -> io::Result<(Written, Written)> {
    let mut packer = Hashing::new(Packer::new(sink));
    io::copy(&mut source, &mut packer)?;
    let (packer, read) = packer.finish();
    let (_, written) = packer.finish()?;
    Ok((read, written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn both_sides_are_named_and_the_same_each_time() {
        for size in [0, 1, MEMBER - 1, MEMBER, MEMBER + 1, 5 * MEMBER + 17, 40 * MEMBER] {
            let content: Vec<u8> = (0..size).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
            let mut compressed = Vec::new();
            let (plain, packed) = gzip(&content[..], &mut compressed).unwrap();
            assert_eq!(plain, Written { digest: Digest::of(&content), size: content.len() as u64 });
            assert_eq!(packed, Written { digest: Digest::of(&compressed), size: compressed.len() as u64 });
            assert_eq!(unpacked(&compressed), content);
            assert!(compressed.len() < content.len() / 10 + 100, "{size}");
            assert_eq!(gzip(&content[..], Vec::new()).unwrap().1, packed);
            assert_eq!(gzip_bytes(&content).unwrap(), compressed);
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = gzip(&vec![1; 30 * MEMBER][..], Full(10_000)).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
