//! Reading a family to its end, also past what cannot be read.
//!
//! RocksDB's iterators stop at the first block that fails its checksum. What follows it can be reached by seeking, but where
//! it begins is not told. It is searched for: by steps from the last key that was read that double until a seek succeeds,
//! and then by halving between the last that failed and the first that did not.

use std::ops::ControlFlow;

use rocksdb::{ColumnFamily, DB, ReadOptions};

/// Bytes of a key that the search tells apart; more than keys have that are not for queries.
const WIDTH: usize = 96;
/// Places in one family at which reading is resumed; damage beyond is not told apart.
const MAX_GAPS: usize = 10_000;

/// A range of keys that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    /// No entry from here on could be read.
    pub(crate) from: Vec<u8>,
    /// From here on they could be again; `None` if not before the family's end.
    pub(crate) until: Option<Vec<u8>>,
    /// What RocksDB said.
    pub(crate) why: rocksdb::Error,
}

/// Gives every entry of the family that can be read to `each`, in key order, and returns the gaps between them.
pub(crate) fn scan<B>(
    db: &DB,
    family: &ColumnFamily,
    mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
) -> ControlFlow<B, Vec<Gap>> {
    let mut gaps = Vec::new();
    let mut from = Vec::new();
    loop {
        let mut entries = db.raw_iterator_cf_opt(family, options());
        entries.seek(&from);
        while let Some((key, value)) = entries.item() {
            each(key, value)?;
            key.clone_into(&mut from);
            // The least key after it.
            from.push(0);
            entries.next();
        }
        let Err(why) = entries.status() else { return ControlFlow::Continue(gaps) };
        let until = if gaps.len() < MAX_GAPS { next_entry(db, family, &from) } else { None };
        gaps.push(Gap { from, until: until.clone(), why });
        match until {
            Some(next) => from = next,
            None => return ControlFlow::Continue(gaps),
        }
    }
}

fn options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    options
}

/// The first entry after `from` that can be read, short of what the search passes over: next to nothing.
fn next_entry(db: &DB, family: &ColumnFamily, from: &[u8]) -> Option<Vec<u8>> {
    let seek = |at: &Number| {
        let mut entries = db.raw_iterator_cf_opt(family, options());
        entries.seek(at.key());
        entries.status().map(|()| entries.key().map(<[u8]>::to_vec))
    };
    let is_readable = |at: &Number| seek(at).is_ok();
    let (mut low, mut high) = (Number::of(from), None);
    for bit in 0..WIDTH * 8 {
        let at = Number::of(from).plus_power(bit)?;
        if is_readable(&at) {
            high = Some(at);
            break;
        }
        low = at;
    }
    let mut high = high?;
    while let Some(middle) = low.middle(&high) {
        if is_readable(&middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    // What the number cannot tell from `from` would be read twice, or for ever.
    seek(&high).ok().flatten().filter(|next| next.as_slice() > from)
}

/// The first bytes of a key as a number; its order is that of the keys.
struct Number([u8; WIDTH]);

impl Number {
    fn of(key: &[u8]) -> Self {
        let mut bytes = [0; WIDTH];
        for (byte, of_key) in bytes.iter_mut().zip(key) {
            *byte = *of_key;
        }
        Self(bytes)
    }

    /// The least key with these first bytes.
    fn key(&self) -> &[u8] {
        let n_bytes = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        &self.0[..n_bytes]
    }

    /// Plus two to the power of `bit`; `None` if it does not fit.
    fn plus_power(mut self, bit: usize) -> Option<Self> {
        let mut carry = 1_u16 << (bit % 8);
        for byte in self.0.iter_mut().rev().skip(bit / 8) {
            let [above, below] = u16::from(*byte).wrapping_add(carry).to_be_bytes();
            *byte = below;
            carry = u16::from(above);
        }
        (carry == 0).then_some(self)
    }

    /// Half way up to `high`; `None` if there is nothing between the two.
    fn middle(&self, high: &Self) -> Option<Self> {
        let mut sum = [0_u16; WIDTH];
        let mut carry = 0_u16;
        for ((sum, a), b) in sum.iter_mut().zip(&self.0).zip(&high.0).rev() {
            *sum = u16::from(*a).wrapping_add(u16::from(*b)).wrapping_add(carry);
            carry = *sum >> 8;
            *sum &= 0xff;
        }
        let mut half = [0; WIDTH];
        for (half, sum) in half.iter_mut().zip(sum) {
            let [_, byte] = (((carry << 8) | sum) >> 1).to_be_bytes();
            *half = byte;
            carry = sum & 1;
        }
        (half != self.0).then_some(Self(half))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn number(bytes: [u8; 2]) -> Number {
        let mut all = [0; WIDTH];
        all[WIDTH - 2..].copy_from_slice(&bytes);
        Number(all)
    }

    #[test]
    fn numbers_are_added_and_halved_with_their_carries() {
        assert_eq!(number([0, 0xff]).plus_power(0).unwrap().0, number([1, 0]).0);
        assert_eq!(number([0x0f, 1]).plus_power(12).unwrap().0, number([0x1f, 1]).0);
        assert!(Number([0xff; WIDTH]).plus_power(0).is_none());
        assert!(Number::of(&[0x80]).plus_power(WIDTH * 8 - 1).is_none());
        assert_eq!(number([0, 5]).middle(&number([1, 3])).unwrap().0, number([0, 0x84]).0);
        assert_eq!(Number::of(&[0xff]).middle(&Number([0xff; WIDTH])).unwrap().0[..2], [0xff, 0x7f]);
        assert!(number([0, 5]).middle(&number([0, 6])).is_none());
        assert!(number([0, 5]).middle(&number([0, 5])).is_none());
    }
}
