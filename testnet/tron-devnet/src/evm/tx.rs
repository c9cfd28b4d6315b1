//! What one transaction carries through its frames: its inner transactions, the slots it wrote, the addresses it makes.

use revm::primitives::{Address, B256, HashMap, HashSet, U256, keccak256};

use crate::address;

/// Notes of inner transactions.
pub(crate) const CALL: &str = "call";
pub(crate) const CREATE: &str = "create";
pub(crate) const SUICIDE: &str = "suicide";

/// One unit of [`TxContext::factors`]: the plain price.
pub(crate) const FACTOR_ONE: u64 = 10_000;

/// A call, creation or self-destruction inside a transaction, as `TransactionInfo` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTransaction {
    /// Keccak-256 of its parent's hash, recipient, data, value and number, as java-tron computes it.
    pub hash: B256,
    /// Who acts.
    pub caller: Address,
    /// Who is called, created, or inherits.
    pub to: Address,
    /// Sun.
    pub value: u64,
    /// `call`, `create` or `suicide`.
    pub note: &'static str,
    /// It, or something around it, was taken back.
    pub rejected: bool,
}

/// What one transaction carries through its frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxContext {
    pub(super) root_id: B256,
    pub(crate) energy_price: u64,
    /// Address of the contract that a top-level creation makes.
    pub(super) created: Option<Address>,
    /// Dynamic energy factors above [`FACTOR_ONE`], by the contract whose storage the code works on.
    pub(super) factors: HashMap<Address, u64>,
    /// Energy charged because of factors.
    pub(crate) penalty: u64,
    pub(crate) internal: Vec<InternalTransaction>,
    /// The last instruction started.
    pub(crate) last_op: u8,
    /// Number of inner calls, creations and self-destructions so far; names what CREATE makes.
    pub(super) nonce: u64,
    written: HashSet<(Address, U256)>,
    write_order: Vec<(Address, U256)>,
    frames: Vec<FrameMark>,
}

#[derive(Clone, Copy, Debug)]
struct FrameMark {
    writes: usize,
    internal: usize,
    /// Hash of the inner transaction that opened the frame; the transaction's id for the first.
    hash: B256,
}

impl TxContext {
    /// `factors` at or below [`FACTOR_ONE`] change nothing and are dropped.
    pub(crate) fn new(
        root_id: B256,
        energy_price: u64,
        created: Option<Address>,
        factors: HashMap<Address, u64>,
    ) -> Self {
        let factors = factors.into_iter().filter(|(_, factor)| *factor > FACTOR_ONE).collect();
        Self { root_id, energy_price, created, factors, ..Self::default() }
    }

    /// Notes an SSTORE; false if the slot was already written in this transaction.
    pub(crate) fn note_write(&mut self, contract: Address, slot: U256) -> bool {
        let is_first = self.written.insert((contract, slot));
        if is_first {
            self.write_order.push((contract, slot));
        }
        is_first
    }

    pub(super) fn open_frame(&mut self, hash: B256) {
        self.frames.push(FrameMark { writes: self.write_order.len(), internal: self.internal.len(), hash });
    }

    /// Writes of a frame that was taken back count as not made; its inner transactions stay listed, as rejected.
    pub(super) fn close_frame(&mut self, is_ok: bool) {
        let Some(mark) = self.frames.pop() else { return };
        if is_ok {
            return;
        }
        for write in self.write_order.drain(mark.writes..) {
            self.written.remove(&write);
        }
        // The transaction that opened the frame is the one before the mark.
        let first = if self.frames.is_empty() { mark.internal } else { mark.internal.saturating_sub(1) };
        for inner in self.internal.iter_mut().skip(first) {
            inner.rejected = true;
        }
    }

    /// Lists an inner transaction and answers its hash.
    pub(super) fn note_internal(
        &mut self,
        caller: Address,
        to: Address,
        value: U256,
        data: &[u8],
        note: &'static str,
    ) -> B256 {
        self.nonce = self.nonce.saturating_add(1);
        let value = value.saturating_to::<u64>();
        let mut preimage = self.frames.last().map_or(self.root_id, |frame| frame.hash).to_vec();
        if note != CREATE {
            preimage.extend_from_slice(&address::to_wire(to));
        }
        preimage.extend_from_slice(data);
        preimage.extend_from_slice(&value.to_be_bytes());
        preimage.extend_from_slice(&self.nonce.to_be_bytes());
        let hash = keccak256(&preimage);
        self.internal.push(InternalTransaction { hash, caller, to, value, note, rejected: false });
        hash
    }
}

/// Where CREATE puts a contract: named by the transaction and the count of inner transactions before it.
pub(super) fn create_address(root_id: B256, nonce: u64) -> Address {
    let mut preimage = [0u8; 40];
    preimage[..32].copy_from_slice(root_id.as_slice());
    preimage[32..].copy_from_slice(&nonce.to_be_bytes());
    Address::from_word(keccak256(preimage))
}

/// Where CREATE2 puts a contract: Ethereum's rule with TRON's address prefix in place of `0xff`.
pub(super) fn create2_address(creator: Address, salt: U256, init_code: &[u8]) -> Address {
    let mut preimage = [0u8; 85];
    preimage[..21].copy_from_slice(&address::to_wire(creator));
    preimage[21..53].copy_from_slice(&salt.to_be_bytes::<32>());
    preimage[53..].copy_from_slice(keccak256(init_code).as_slice());
    Address::from_word(keccak256(preimage))
}
