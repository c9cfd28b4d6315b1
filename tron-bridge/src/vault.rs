//! The payout vault as seen from outside: call data, what signers sign, what the contract answers, emits and refuses, and the
//! code that deploys it.
//!
//! `docs/src/payout-vault.md` is the specification, `contracts/PayoutVault.sol` the contract. Nothing here reads the network.

mod calls;
mod digest;
mod event;
mod revert;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;

use lucid_tron_types::abi::{self, Argument, Word, word_of};
use lucid_types::id::{PayoutAddress, SolidBlockId};
use lucid_types::payout::VaultLimits;
use lucid_types::vault::SignerSet;

pub use calls::{
    ask_withdrawal, cancel, close, pause, pay, pay_range, post_root, seat, set_limits, set_signers, snapshot, unpause,
    withdraw,
};
pub use digest::{limits_digest, root_digest, signers_digest};
pub use event::VaultEvent;
pub use revert::{Skip, VaultRevert};
pub use snapshot::{SnapshotError, VaultSnapshot, Withdrawal};

use crate::address;

/// Creation code without the constructor's arguments.
const CREATION_CODE: &[u8] = include_bytes!("../contracts/PayoutVault.bin");

/// `codeHash` of `contracts/PayoutVault.json`; a test compares them.
const CODE_HASH: [u8; 32] = [
    0xd0, 0x54, 0x46, 0x08, 0x06, 0x7c, 0x6a, 0xc2, 0xbe, 0x5d, 0x29, 0xe3, 0x85, 0xbc, 0x25, 0xc3, 0xd9, 0x36, 0xde,
    0x99, 0xc3, 0x97, 0xd2, 0x09, 0x18, 0x8f, 0xed, 0xb7, 0x9c, 0xc1, 0xc2, 0xb9,
];

/// What a signature for a vault is bound to beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultDomain {
    /// What `CHAINID` answers on the network: the last four bytes of its block 0's id.
    pub chain_id: u32,
    /// The contract.
    pub vault: PayoutAddress,
}

impl VaultDomain {
    /// Of a vault on the network with this block 0.
    pub const fn new(genesis_block: &SolidBlockId, vault: PayoutAddress) -> Self {
        let [.., a, b, c, d] = *genesis_block.as_bytes();
        Self { chain_id: u32::from_be_bytes([a, b, c, d]), vault }
    }
}

/// A signer's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The last set of signers that it was in.
    pub era: u32,
    /// Its index in that set.
    pub index: u8,
}

impl Seat {
    /// What `seats` answers; 0 for an address that was never in a set.
    pub fn from_number(number: u64) -> Option<Self> {
        let [.., index] = number.to_be_bytes();
        let era = u32::try_from(number >> 8).ok().filter(|era| *era != 0)?;
        Some(Self { era, index })
    }
}

/// What a new vault's constructor fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation<'a> {
    /// The token that it pays in.
    pub token: PayoutAddress,
    /// Who can pause, close and withdraw, each after `delay`.
    pub owner: PayoutAddress,
    /// The first signers.
    pub signers: &'a SignerSet,
    /// The first limits.
    pub limits: VaultLimits,
    /// Seconds in which at most the cap leaves the vault.
    pub period: u32,
    /// Seconds of notice that the owner's acts need.
    pub delay: u32,
    /// The closed vault that it replaces.
    pub previous: Option<PayoutAddress>,
}

/// What a transaction that deploys the vault carries.
pub fn creation_code(creation: &Creation<'_>) -> Vec<u8> {
    let arguments = [
        address_argument(Some(&creation.token)),
        address_argument(Some(&creation.owner)),
        signers_argument(creation.signers),
        Argument::word(word_of(creation.signers.threshold.into())),
        limits_argument(&creation.limits),
        Argument::word(word_of(creation.period.into())),
        Argument::word(word_of(creation.delay.into())),
        address_argument(creation.previous.as_ref()),
    ];
    [CREATION_CODE.to_vec(), abi::encode(&arguments)].concat()
}

/// The Keccak-256 of the code that every vault has once it is deployed.
pub const fn code_hash() -> [u8; 32] {
    CODE_HASH
}

/// The zero address stands for none.
fn address_word(address: Option<&PayoutAddress>) -> Word {
    address.map_or([0; 32], address::to_word)
}

fn address_argument(address: Option<&PayoutAddress>) -> Argument {
    Argument::word(address_word(address))
}

fn signers_argument(signers: &SignerSet) -> Argument {
    let words: Vec<_> = signers.members.iter().map(|signer| [address::to_word(&signer.key_address)]).collect();
    Argument::array(&words)
}

fn limits_argument(limits: &VaultLimits) -> Argument {
    Argument::Fixed([limits.cap, limits.push_fee].map(|amount| word_of(amount.get())).to_vec())
}

/// The address in a word; the zero address is none. The outer `None` says that the word is no address.
fn optional_address(word: &Word) -> Option<Option<PayoutAddress>> {
    let address = address::from_word(word)?;
    Some((address.hash20() != [0; 20]).then_some(address))
}

#[cfg(test)]
mod tests;
