//! The file of one deposit: a header, then one slot for each chunk.
//!
//! ```text
//! header, 4,096 bytes   "LUCIDCH1" | network 32 | worker 32 | validator 32 | term u64 | tag 32 | chunk bytes u32 | sum 8 | zeros
//! slot, 1,052,672 bytes  1 MiB of data | trailer, 4,096 bytes: place u32 | 64 sums of 8 bytes | sum 8 | zeros
//! ```
//!
//! Integers are little-endian. A sum is the first 8 bytes of BLAKE3: that of a 16 KiB block also covers its chunk's place and its own, so
//! that no block stands for another; the header's and the trailer's covers what stands before it.
//!
//! A chunk counts once it is synced. What a crash leaves of one that was being written is its last slot, whose every sum is looked at when
//! the file is opened. Of the others nothing is read by then, however many there are: what has become of them is found when they are read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lucid_types::id::{Hash, NetworkId, NodeId};
use lucid_types::storage::{CHUNK_BYTES, ChunkRange, DepositId};

/// Of a header and of a trailer.
pub(super) const PAGE: usize = 4_096;
/// The part of a chunk that has a sum of its own.
const BLOCK: usize = 16 << 10;
const BLOCKS: usize = CHUNK_BYTES / BLOCK;
const SUM: usize = 8;
const MAGIC: &[u8; 8] = b"LUCIDCH1";
/// Bytes of a header before its sum.
const HEADER: usize = 8 + 3 * 32 + 8 + 32 + 4;
/// Bytes of a trailer before its sum.
const TRAILER: usize = 4 + BLOCKS * SUM;
/// Where the tag stands in a header.
const TAG: usize = 8 + 3 * 32 + 8;

/// Bytes of a slot.
pub(super) const SLOT_BYTES: u64 = (CHUNK_BYTES + PAGE) as u64;
/// Bytes of a file with no chunk.
pub(super) const HEADER_BYTES: u64 = PAGE as u64;

/// Whose chunks a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The network.
    pub network: NetworkId,
    /// The worker's account.
    pub worker: NodeId,
}

/// What a file is written to. In tests, one that fails.
pub(super) trait Disk {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
}

impl Disk for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Why ranges are not read.
#[derive(Debug)]
pub(super) enum ReadFault {
    /// There are not so many chunks.
    Unknown,
    /// The chunk at this place is not what was written.
    Damaged { index: u32, source: Option<io::Error> },
}

/// An open file.
#[derive(Debug)]
pub(super) struct DepositFile<D> {
    disk: D,
    tag: Hash,
    count: u32,
}

impl<D: Disk> DepositFile<D> {
    /// Makes an empty file a deposit's.
    pub(super) fn create(disk: D, owner: &Owner, validator: &NodeId, deposit: &DepositId) -> io::Result<Self> {
        disk.set_len(0)?;
        disk.write_at(&header(owner, validator, deposit), 0)?;
        disk.sync()?;
        Ok(Self { disk, tag: deposit.tag, count: 0 })
    }

    /// Opens a file; `None` if it is not one of this validator, term and owner. What follows its last whole chunk is cut off.
    pub(super) fn open(disk: D, owner: &Owner, validator: &NodeId, term: u64) -> io::Result<Option<Self>> {
        let length = disk.len()?;
        let Some(mut file) = Self::look(disk, owner, validator, term)? else { return Ok(None) };
        // Only the last one can be torn: those before it were synced before it was begun.
        if let Some(last) = file.count.checked_sub(1)
            && !file.is_whole(last)
        {
            file.count = last;
        }
        if file.bytes() != length {
            file.cut(file.count)?;
        }
        Ok(Some(file))
    }

    /// The same as it is, and changes nothing: all slots that its length has are counted, whatever is in them.
    pub(super) fn look(disk: D, owner: &Owner, validator: &NodeId, term: u64) -> io::Result<Option<Self>> {
        let length = disk.len()?;
        if length < HEADER_BYTES {
            return Ok(None);
        }
        let mut page = [0; PAGE];
        disk.read_at(&mut page, 0)?;
        let tag = page[TAG..].first_chunk().map_or(Hash::from_bytes([0; 32]), |tag| Hash::from_bytes(*tag));
        if page != header(owner, validator, &DepositId { term, tag }) {
            return Ok(None);
        }
        let count = u32::try_from((length - HEADER_BYTES) / SLOT_BYTES).unwrap_or(u32::MAX);
        Ok(Some(Self { disk, tag, count }))
    }

    pub(super) const fn tag(&self) -> &Hash {
        &self.tag
    }

    /// How many chunks are there.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        slot_at(self.count)
    }

    /// Stores the next chunk of [`CHUNK_BYTES`]. It is durable when this returns; on an error it is not there.
    pub(super) fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut slot = Vec::with_capacity(CHUNK_BYTES + PAGE);
        slot.extend_from_slice(chunk);
        slot.extend_from_slice(&trailer(self.count, chunk));
        let written = self.disk.write_at(&slot, self.bytes()).and_then(|()| self.disk.sync());
        match written {
            Ok(()) => {
                self.count += 1;
                Ok(())
            }
            Err(error) => {
                // What was written takes room. If that cannot be helped, the next chunk is written over it.
                let _cut = self.disk.set_len(self.bytes());
                Err(error)
            }
        }
    }

    /// The bytes of all ranges, of `length` each, one after the other.
    pub(super) fn read(&self, ranges: &[ChunkRange], length: usize) -> Result<Vec<u8>, ReadFault> {
        let mut all = Vec::with_capacity(ranges.len().saturating_mul(length));
        for &ChunkRange { index, offset } in ranges {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = offset.saturating_add(length);
            if index >= self.count || end > CHUNK_BYTES {
                return Err(ReadFault::Unknown);
            }
            let damaged = |source| ReadFault::Damaged { index, source };
            let sums = self.trailer(index).map_err(|e| damaged(Some(e)))?.ok_or_else(|| damaged(None))?;
            // Whole blocks, of which the range has a part.
            let (first, last) = (offset / BLOCK, end.saturating_sub(1).max(offset) / BLOCK);
            let mut blocks = vec![0; (last + 1 - first) * BLOCK];
            let at = slot_at(index) + (first * BLOCK) as u64;
            self.disk.read_at(&mut blocks, at).map_err(|e| damaged(Some(e)))?;
            let mut places = (first..).zip(blocks.chunks(BLOCK));
            if places.any(|(place, block)| sums[place] != block_sum(index, place, block)) {
                return Err(damaged(None));
            }
            let start = offset - first * BLOCK;
            all.extend_from_slice(&blocks[start..start + length]);
        }
        Ok(all)
    }

    /// Leaves so many chunks, durably.
    pub(super) fn cut(&mut self, count: u32) -> io::Result<()> {
        self.count = self.count.min(count);
        self.disk.set_len(self.bytes())?;
        self.disk.sync()
    }

    /// The places, from the first on, of chunks that are not what was written.
    pub(super) fn damaged(&self) -> impl Iterator<Item = u32> {
        (0..self.count).filter(|index| !self.is_whole(*index))
    }

    /// The sums of a chunk's blocks, if its trailer is whole.
    fn trailer(&self, index: u32) -> io::Result<Option<[[u8; SUM]; BLOCKS]>> {
        let mut page = [0; PAGE];
        self.disk.read_at(&mut page, slot_at(index) + CHUNK_BYTES as u64)?;
        let is_whole = page[..4] == index.to_le_bytes() && is_sealed(&page, TRAILER);
        let mut sums = [[0; SUM]; BLOCKS];
        for (sum, bytes) in sums.iter_mut().zip(page[4..TRAILER].chunks(SUM)) {
            sum.copy_from_slice(bytes);
        }
        Ok(is_whole.then_some(sums))
    }

    fn is_whole(&self, index: u32) -> bool {
        self.read(&[ChunkRange { index, offset: 0 }], CHUNK_BYTES).is_ok()
    }

    #[cfg(test)]
    pub(super) fn into_disk(self) -> D {
        self.disk
    }
}

/// Where a slot begins.
fn slot_at(index: u32) -> u64 {
    HEADER_BYTES + u64::from(index) * SLOT_BYTES
}

fn sum(parts: &[&[u8]]) -> [u8; SUM] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
}

fn block_sum(index: u32, place: usize, block: &[u8]) -> [u8; SUM] {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    sum(&[&index.to_le_bytes(), &place.to_le_bytes(), block])
}

/// A page of these bytes, their sum, and zeros.
fn seal(bytes: &[u8]) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..bytes.len()].copy_from_slice(bytes);
    page[bytes.len()..bytes.len() + SUM].copy_from_slice(&sum(&[bytes]));
    page
}

/// Whether a page is the first `length` of its bytes, their sum, and zeros.
fn is_sealed(page: &[u8; PAGE], length: usize) -> bool {
    *page == seal(&page[..length])
}

fn header(owner: &Owner, validator: &NodeId, deposit: &DepositId) -> [u8; PAGE] {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(owner.network.as_bytes());
    bytes.extend_from_slice(owner.worker.as_bytes());
    bytes.extend_from_slice(validator.as_bytes());
    bytes.extend_from_slice(&deposit.term.to_le_bytes());
    bytes.extend_from_slice(deposit.tag.as_bytes());
    bytes.extend_from_slice(&u32::try_from(CHUNK_BYTES).unwrap_or(u32::MAX).to_le_bytes());
    seal(&bytes)
}

fn trailer(index: u32, chunk: &[u8]) -> [u8; PAGE] {
    let mut bytes = Vec::with_capacity(TRAILER);
    bytes.extend_from_slice(&index.to_le_bytes());
    for (place, block) in chunk.chunks(BLOCK).enumerate() {
        bytes.extend_from_slice(&block_sum(index, place, block));
    }
    seal(&bytes)
}
