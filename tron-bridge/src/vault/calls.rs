//! Call data of the vault's functions.

use std::collections::BTreeMap;

use lucid_tron_types::abi::{Argument, Word, call, call_with, word_of};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::payout_tree::{AccountId, OwedAccount, TreeHash};
use lucid_types::vault::SignerSet;

use super::{address_word, limits_argument, signers_argument};
use crate::address;

/// Posts a root. The signatures are by signer, so in the order that the vault wants; it wants exactly as many as its threshold.
pub fn post_root(root: &SettlementRoot, signatures: &BTreeMap<PayoutAddress, TreasurySignature>) -> Vec<u8> {
    let arguments = [
        Argument::word(word_of(root.settlement)),
        Argument::word(*root.root.as_bytes()),
        Argument::word(word_of(root.total.get())),
        Argument::word(word_of(root.fees.get())),
        Argument::Fixed(vec![address_word(root.leader.as_ref()), word_of(root.until)]),
        signatures_argument(signatures),
    ];
    call_with("postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)", &arguments)
}

/// Pays neighbouring leaves, the first of them at index `start`, with one proof (see
/// [`lucid_types::payout_tree::PayoutTree::range_proof`]).
pub fn pay_range(settlement: u64, start: u64, items: &[OwedAccount], proof: &[TreeHash]) -> Vec<u8> {
    let arguments = [
        Argument::word(word_of(settlement)),
        Argument::word(word_of(start)),
        items_argument(items),
        proof_argument(proof),
    ];
    call_with("payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])", &arguments)
}

/// Pays leaves that each come with a proof of their own.
pub fn pay(settlement: u64, items: &[(OwedAccount, Vec<TreeHash>)]) -> Vec<u8> {
    let (accounts, proofs): (Vec<_>, Vec<_>) =
        items.iter().map(|(account, proof)| (*account, proof_argument(proof))).unzip();
    let arguments = [Argument::word(word_of(settlement)), items_argument(&accounts), Argument::dynamic_array(&proofs)];
    call_with("pay(uint64,(bytes32,address,uint64)[],bytes32[][])", &arguments)
}

/// Reads everything that changes, and what each of these accounts has had; see [`super::VaultSnapshot`].
pub fn snapshot(ids: &[AccountId]) -> Vec<u8> {
    let words: Vec<_> = ids.iter().map(|id| [*id.as_bytes()]).collect();
    call_with("snapshot(bytes32[])", &[Argument::array(&words)])
}

/// Reads where a signer stands; see [`super::Seat`].
pub fn seat(signer: &PayoutAddress) -> Vec<u8> {
    call("seats(address)", &[address::to_word(signer)])
}

/// Changes the signers; the owner calls it.
pub fn set_signers(signers: &SignerSet, signatures: &BTreeMap<PayoutAddress, TreasurySignature>) -> Vec<u8> {
    let arguments =
        [signers_argument(signers), Argument::word(word_of(signers.threshold.into())), signatures_argument(signatures)];
    call_with("setSigners(address[],uint8,bytes)", &arguments)
}

/// Changes the limits; the owner calls it.
pub fn set_limits(limits: &VaultLimits, signatures: &BTreeMap<PayoutAddress, TreasurySignature>) -> Vec<u8> {
    call_with("setLimits((uint64,uint64),bytes)", &[limits_argument(limits), signatures_argument(signatures)])
}

/// Pauses payments: the owner after a notice, a signer at once and for 72 hours.
pub fn pause() -> Vec<u8> {
    call("pause()", &[])
}

/// Ends all pauses: by the owner, or when k signers have called it.
pub fn unpause() -> Vec<u8> {
    call("unpause()", &[])
}

/// Closes the vault for good, after a notice; the owner calls it.
pub fn close() -> Vec<u8> {
    call("close()", &[])
}

/// Announces a withdrawal; the owner calls it.
pub fn ask_withdrawal(to: &PayoutAddress, amount: MicroUsdt) -> Vec<u8> {
    call("askWithdrawal(address,uint64)", &[address::to_word(to), word_of(amount.get())])
}

/// Takes the announcement of a withdrawal back; the owner calls it.
pub fn cancel() -> Vec<u8> {
    call("cancel()", &[])
}

/// Carries the announced withdrawal out; the owner calls it.
pub fn withdraw() -> Vec<u8> {
    call("withdraw()", &[])
}

fn signatures_argument(signatures: &BTreeMap<PayoutAddress, TreasurySignature>) -> Argument {
    let bytes: Vec<_> = signatures.values().map(|signature| *signature.as_bytes()).collect();
    Argument::bytes(bytes.as_flattened())
}

fn items_argument(items: &[OwedAccount]) -> Argument {
    let words = |item: &OwedAccount| -> [Word; 3] {
        [*item.id.as_bytes(), address::to_word(&item.to), word_of(item.owed.get())]
    };
    Argument::array(&items.iter().map(words).collect::<Vec<_>>())
}

fn proof_argument(proof: &[TreeHash]) -> Argument {
    let words: Vec<_> = proof.iter().map(|hash| [*hash.as_bytes()]).collect();
    Argument::array(&words)
}
