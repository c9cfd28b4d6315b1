//! What one transaction carries through its frames: its inner transactions, the slots it wrote, the addresses it makes,
//! and how it fails.

use std::time::Instant;

use revm::primitives::{Address, B256, HashMap, HashSet, U256, keccak256};

use super::BlockContext;
use super::failure::Failure;
use super::queries::StakeRules;
use crate::address;

/// Notes of inner transactions.
pub(crate) const CALL: &str = "call";
pub(crate) const CREATE: &str = "create";
pub(crate) const SUICIDE: &str = "suicide";

/// Every note there is.
pub(crate) const NOTES: &[&str] = &[
    CALL,
    CREATE,
    SUICIDE,
    "withdrawReward",
    "withdrawExpireUnfreeze",
    "cancelAllUnfreezeV2",
    "unfreezeForBandwidth",
    "unfreezeForEnergy",
    "unfreezeForTronPower",
    "unfreezeForUnknownType",
    "unfreezeBalanceV2ForBandwidth",
    "unfreezeBalanceV2ForEnergy",
    "unfreezeBalanceV2ForTronPower",
    "unfreezeBalanceV2ForUnknownType",
    "delegateResourceOfBandwidth",
    "delegateResourceOfEnergy",
    "delegateResourceOfTronPower",
    "delegateResourceOfUnknownType",
    "unDelegateResourceOfBandwidth",
    "unDelegateResourceOfEnergy",
    "unDelegateResourceOfTronPower",
    "unDelegateResourceOfUnknownType",
];

/// One unit of [`TxContext::factors`]: the plain price.
pub(crate) const FACTOR_ONE: u64 = 10_000;

/// A call, creation, self-destruction or staking instruction inside a transaction, as `TransactionInfo` lists it.
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
    /// `call`, `create`, `suicide`, or what a staking instruction is called.
    pub note: &'static str,
    /// It, or something around it, was taken back.
    pub rejected: bool,
}

/// Where a call goes, as the stack had it: revm keeps less of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Callee {
    /// The whole word; bits above the address make it nobody's precompiled contract.
    pub(super) address: U256,
    /// Where in memory the answer goes, even if no room was left for it.
    pub(super) answer_offset: U256,
}

/// What one transaction carries through its frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxContext {
    pub(super) root_id: B256,
    /// Sun per energy.
    pub(super) energy_price: u64,
    /// Makes the blocks.
    pub(super) witness: Address,
    /// What its queries about stakes go by.
    pub(super) stakes: StakeRules,
    /// When execution is to end whatever it is doing.
    pub(super) deadline: Option<Instant>,
    /// Dynamic energy factors above [`FACTOR_ONE`], by the contract whose storage the code works on.
    pub(super) factors: HashMap<Address, u64>,
    /// Energy charged because of factors.
    pub(super) penalty: u64,
    pub(super) internal: Vec<InternalTransaction>,
    /// Why the last frame that failed did.
    pub(super) failure: Option<Failure>,
    /// What ends the calling frame as soon as it goes on.
    pub(super) pending: Option<Failure>,
    /// Of the call instruction that runs.
    pub(super) callee: Callee,
    /// The token that CALLTOKEN, if that is what runs, sends none of.
    pub(super) token: Option<U256>,
    /// Number of inner transactions so far; names what CREATE makes.
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
    /// What CALLTOKENID answers.
    token: U256,
}

impl TxContext {
    /// `factors` at or below [`FACTOR_ONE`] change nothing and are dropped.
    pub(super) fn new(
        root_id: B256,
        block: &BlockContext,
        factors: HashMap<Address, u64>,
        deadline: Option<Instant>,
    ) -> Self {
        let factors = factors.into_iter().filter(|(_, factor)| *factor > FACTOR_ONE).collect();
        let BlockContext { energy_price, producer: witness, stakes, .. } = *block;
        Self { root_id, energy_price, witness, stakes, deadline, factors, ..Self::default() }
    }

    /// Whether an SSTORE to the slot was made in this transaction and not taken back.
    pub(super) fn was_written(&self, contract: Address, slot: U256) -> bool {
        self.written.contains(&(contract, slot))
    }

    /// Notes an SSTORE.
    pub(super) fn note_write(&mut self, contract: Address, slot: U256) {
        if self.written.insert((contract, slot)) {
            self.write_order.push((contract, slot));
        }
    }

    /// The token named by the CALLTOKEN that opened the frame; 0 without.
    pub(super) fn token_id(&self) -> U256 {
        self.frames.last().map_or(U256::ZERO, |frame| frame.token)
    }

    pub(super) fn open_frame(&mut self, hash: B256, token: U256) {
        let (writes, internal) = (self.write_order.len(), self.internal.len());
        self.frames.push(FrameMark { writes, internal, hash, token });
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
        value: u64,
        data: &[u8],
        note: &'static str,
    ) -> B256 {
        self.nonce = self.nonce.saturating_add(1);
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

    /// As [`Self::note_internal`] for a staking instruction that finds nothing to do: the chain knows no stakes of
    /// contracts.
    pub(super) fn note_in_vain(&mut self, owner: Address, to: Address, value: u64, note: &'static str) {
        self.note_internal(owner, to, value, &[], note);
        if let Some(inner) = self.internal.last_mut() {
            inner.rejected = true;
        }
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

/// An address as the virtual machine shows some of them: with TRON's prefix before its 20 bytes.
pub(super) fn prefixed(address: Address) -> U256 {
    U256::from_be_slice(&address::to_wire(address))
}
