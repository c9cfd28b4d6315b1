//! What a running network tells whoever watches it, as events: each transaction that got into a block, each block that
//! took any, each transaction that was refused, and requests for calls that do not exist; in detail also every other
//! request and empty blocks.
//!
//! Nothing depends on these events, and without a subscriber they cost next to nothing.

use axum::http::StatusCode;
use lucid_tron_types::proto::{self, ContractType};
use revm::primitives::U256;
use tracing::{debug, info, warn};

use crate::address;
use crate::chain::{Refusal, StoredBlock, TransactionInfo, owner_of};

/// A failed call's data: `Error(string)`, what `require` and `revert` give.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`, what `assert`, an overflow and the like give.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

/// A new block and what it did. Empty ones are for the patient only.
pub(crate) fn block(block: &StoredBlock) {
    let (number, transactions) = (block.number(), block.transactions.len());
    if transactions == 0 {
        return debug!(number, transactions, "devnet.block");
    }
    block.transactions.iter().zip(&block.infos).for_each(|(sent, became)| transaction(sent, became));
    let failed = block.infos.iter().filter(|info| info.is_failed()).count();
    info!(number, transactions, failed, "devnet.block");
}

fn transaction(sent: &proto::Transaction, became: &TransactionInfo) {
    let raw = sent.raw().unwrap_or_default();
    let Some(contract) = raw.contract.first() else { return };
    let kind = ContractType::try_from(contract.r#type).map_or("?", ContractType::name);
    let from = owner_of(contract).map(address::to_base58).unwrap_or_default();
    let (id, fee) = (hex::encode(became.id), became.fee);
    if let Ok(transfer) = contract.unpack::<proto::TransferContract>() {
        let to = address::from_wire(&transfer.to_address).map(address::to_base58).unwrap_or_default();
        return info!(%id, r#type = %kind, %from, %to, amount = transfer.amount, fee, "devnet.transaction");
    }
    let Some(result) = became.receipt.result.filter(|_| became.contract_address.is_some()) else {
        return info!(%id, r#type = %kind, %from, fee, "devnet.transaction");
    };
    let (result, energy) = (result.name(), became.receipt.energy_usage_total);
    let contract = became.contract_address.map(address::to_base58).unwrap_or_default();
    if became.is_failed() {
        let reason = reason(&became.contract_result).unwrap_or_else(|| became.message.clone());
        return warn!(%id, r#type = %kind, %from, %contract, %result, reason, energy, fee, "devnet.transaction");
    }
    info!(%id, r#type = %kind, %from, %contract, %result, energy, fee, "devnet.transaction");
}

/// A transaction that was not taken.
pub(crate) fn refused(id: &[u8; 32], refusal: &Refusal) {
    warn!(id = %hex::encode(id), code = %refusal.code.name(), reason = refusal.message, "devnet.refused");
}

/// A waiting transaction that has become impossible, so that no block will have it.
pub(crate) fn dropped(id: &[u8; 32], refusal: &Refusal) {
    warn!(id = %hex::encode(id), code = %refusal.code.name(), reason = refusal.message, "devnet.dropped");
}

/// A request of the API. One that this network does not know, or that is not for this client, is why it fails in ways of its
/// own.
pub(crate) fn call(path: &str, status: StatusCode) {
    if status == StatusCode::NOT_FOUND {
        return warn!(path, "devnet.unknown_call");
    }
    if status == StatusCode::FORBIDDEN {
        return warn!(path, "devnet.refused_call");
    }
    debug!(path, status = status.as_u16(), "devnet.call");
}

/// What a contract said when it reverted, as its developer wrote it: a text, a panic's code, or a custom error's data.
fn reason(data: &[u8]) -> Option<String> {
    let (selector, arguments) = data.split_first_chunk::<4>()?;
    match *selector {
        ERROR => text(arguments),
        PANIC => Some(format!("panic {:#04x}", number(arguments, 0)?)),
        _ => Some(format!("error {}", hex::encode(data))),
    }
}

/// The string in the encoding of one string argument.
fn text(arguments: &[u8]) -> Option<String> {
    let at = number(arguments, 0)?;
    let from = at.checked_add(32)?;
    let bytes = arguments.get(from..from.checked_add(number(arguments, at)?)?)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The word at `at`, if it is a small number.
fn number(words: &[u8], at: usize) -> Option<usize> {
    usize::try_from(U256::try_from_be_slice(words.get(at..at.checked_add(32)?)?)?).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::{call_data, number_word};

    #[test]
    fn reasons_read_as_they_were_written() {
        let mut too_much = [0; 32];
        too_much[..8].copy_from_slice(b"too much");
        let error = call_data("Error(string)", &[number_word(32), number_word(8), too_much]);
        assert_eq!(reason(&error).unwrap(), "too much");
        assert_eq!(reason(&call_data("Panic(uint256)", &[number_word(0x11)])).unwrap(), "panic 0x11");
        assert_eq!(reason(&call_data("Paused()", &[])).unwrap(), "error 9e87fac8");
        assert_eq!(reason(&[]), None);
        assert_eq!(reason(&error[..error.len() - 32]), None, "cut short");
    }

    proptest! {
        #[test]
        fn no_data_is_too_odd(mut data in proptest::collection::vec(any::<u8>(), 0..200), chosen in 0..3) {
            if data.len() >= 4 && chosen > 0 {
                data[..4].copy_from_slice(if chosen == 1 { &ERROR } else { &PANIC });
            }
            let _ = reason(&data);
        }
    }
}
