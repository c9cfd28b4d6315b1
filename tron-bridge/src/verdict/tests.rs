#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use lucid_types::amount::Sun;
use lucid_types::id::PayoutAddress;
use proptest::prelude::*;

use super::*;
use crate::testing::{self, START, chain};
use crate::transfer::{UnsignedTransfer, transfer};

const GRACE: Duration = Duration::from_secs(180);

/// An attempt that refers to block 4 of a chain of 100 blocks of one second; the transaction is in block `included`.
fn setting(included: Option<u64>, result: ContractResult) -> (PayoutAttempt, UnsignedTransfer, Vec<CheckedBlock>) {
    let reference = chain(5, |_| vec![])[4].solid();
    let attempt = testing::attempt(9, 1, reference);
    let transfer = transfer(&attempt).unwrap();
    let raw = transfer.raw_data().to_vec();
    let blocks = chain(100, |n| match included {
        Some(block) if block == n => vec![(vec![1], ContractResult::Success), (raw.clone(), result)],
        _ if n % 7 == 6 => vec![(n.to_be_bytes().to_vec(), ContractResult::Success)],
        _ => vec![],
    });
    assert_eq!(blocks[4].solid(), reference);
    (attempt, transfer, blocks)
}

fn transfer_log(attempt: &PayoutAttempt, amount: u64) -> Log {
    Log {
        address: attempt.token,
        topics: vec![trc20::transfer_topic(), address::to_word(&attempt.treasury), address::to_word(&attempt.to)],
        data: abi::word_of(amount).to_vec(),
    }
}

fn receipt(tx_id: TxId, block: u64, result: ContractResult, logs: Vec<Log>) -> TransactionInfo {
    let block_time = UnixMillis::new(START);
    TransactionInfo { id: tx_id, block, block_time, fee: Sun::new(345_000), result, energy: 1, logs }
}

#[test]
fn exactly_the_transfer_is_paid() {
    let (attempt, transfer, blocks) = setting(Some(9), ContractResult::Success);
    let tx_id = transfer.tx_id();
    let info = receipt(tx_id, 9, ContractResult::Success, vec![transfer_log(&attempt, attempt.amount.get())]);
    let paid = Verdict::Paid { tx_id, block: 9, fee: Sun::new(345_000) };
    assert_eq!(present(&attempt, tx_id, &info, &blocks[9]), Ok(paid));
}

#[test]
fn any_other_logs_are_unexpected_and_say_what_was_got() {
    let (attempt, transfer, blocks) = setting(Some(9), ContractResult::Success);
    let tx_id = transfer.tx_id();
    let amount = attempt.amount.get();
    let judge = |logs: Vec<Log>| match present(
        &attempt,
        tx_id,
        &receipt(tx_id, 9, ContractResult::Success, logs),
        &blocks[9],
    ) {
        Ok(Verdict::PaidUnexpected { received, .. }) => received.get(),
        other => panic!("{other:?}"),
    };
    let right = transfer_log(&attempt, amount);
    assert_eq!(judge(vec![]), 0);
    assert_eq!(judge(vec![transfer_log(&attempt, amount - 1)]), amount - 1);
    assert_eq!(judge(vec![right.clone(), right.clone()]), 2 * amount);
    // A fee: the rest goes to the recipient, the fee to somebody else.
    let mut fee = transfer_log(&attempt, 1_000);
    fee.topics[2] = [5; 32];
    assert_eq!(judge(vec![transfer_log(&attempt, amount - 1_000), fee]), amount - 1_000);
    for change in [
        (|l: &mut Log| l.address = PayoutAddress::from_hash20([1; 20])) as fn(&mut Log),
        |l| l.topics[0][0] ^= 1,
        |l| l.topics[1][31] ^= 1,
        |l| l.topics[2][31] ^= 1,
        |l| l.topics.push([0; 32]),
        |l| l.data.push(0),
    ] {
        let mut log = right.clone();
        change(&mut log);
        let info = receipt(tx_id, 9, ContractResult::Success, vec![log]);
        let verdict = present(&attempt, tx_id, &info, &blocks[9]);
        assert!(matches!(verdict, Ok(Verdict::PaidUnexpected { .. })), "{verdict:?}");
    }
}

#[test]
fn every_other_result_is_failed_even_with_the_log() {
    for result in
        [ContractResult::Revert, ContractResult::OutOfEnergy, ContractResult::OutOfTime, ContractResult::Default]
    {
        let (attempt, transfer, blocks) = setting(Some(9), result);
        let tx_id = transfer.tx_id();
        let info = receipt(tx_id, 9, result, vec![transfer_log(&attempt, attempt.amount.get())]);
        let failed = Verdict::Failed { tx_id, block: 9, fee: Sun::new(345_000) };
        assert_eq!(present(&attempt, tx_id, &info, &blocks[9]), Ok(failed));
    }
}

#[test]
fn a_receipt_that_the_block_does_not_bear_out_is_no_evidence() {
    let (attempt, transfer, blocks) = setting(Some(9), ContractResult::Revert);
    let tx_id = transfer.tx_id();
    let lie = receipt(tx_id, 9, ContractResult::Success, vec![transfer_log(&attempt, attempt.amount.get())]);
    assert!(matches!(present(&attempt, tx_id, &lie, &blocks[9]), Err(EvidenceError::Result { .. })));
    assert!(matches!(present(&attempt, tx_id, &lie, &blocks[10]), Err(EvidenceError::NotIncluded { block: 10, .. })));
}

#[test]
fn the_rows_for_an_absent_transaction() {
    let (attempt, ..) = setting(None, ContractResult::Success);
    let expiration = attempt.expiration;
    let at = |solid: u64, now: u64| absent(&attempt, UnixMillis::new(solid), UnixMillis::new(now), GRACE);
    let (e, late) = (expiration.get(), expiration.get() + 180_000);
    assert_eq!(at(e - 1, e - 1), Step::SendAgain);
    // The own clock does not end it: only solidified time does.
    assert_eq!(at(e - 1, late + 1), Step::SendAgain);
    assert_eq!(at(e, late), Step::WaitUntil(UnixMillis::new(late)));
    assert_eq!(at(e, late + 1), Step::SearchForDeath);
}

#[test]
fn death_is_proved_by_every_block_up_to_the_first_at_the_expiration() {
    let (attempt, transfer, blocks) = setting(None, ContractResult::Success);
    let mut search = DeathSearch::new(&attempt, transfer.tx_id());
    assert_eq!(search.next_number(), 5);
    // Block 4 is of START + 4 s, the expiration 60 s later: block 64 is the first at it.
    for block in &blocks[5..64] {
        assert_eq!(search.feed(block), Ok(false));
    }
    assert_eq!(search.feed(&blocks[64]), Ok(true));
    assert_eq!(search.feed(&blocks[64]), Ok(true), "it stays proved");
}

#[test]
fn a_skipped_foreign_or_repeated_block_breaks_the_proof() {
    let (attempt, transfer, blocks) = setting(None, ContractResult::Success);
    let fork = chain(100, |n| if n == 5 { vec![(vec![0xff], ContractResult::Success)] } else { vec![] });
    let mut search = DeathSearch::new(&attempt, transfer.tx_id());
    for wrong in [&blocks[6], &blocks[4], &fork[6]] {
        assert!(matches!(search.feed(wrong), Err(EvidenceError::Unlinked { .. })));
    }
    assert_eq!(search.feed(&blocks[5]), Ok(false));
    assert!(matches!(search.feed(&blocks[5]), Err(EvidenceError::Unlinked { number: 5, .. })));
    assert!(matches!(search.feed(&fork[6]), Err(EvidenceError::Unlinked { .. })));
    assert_eq!(search.feed(&blocks[6]), Ok(false), "a refused block does not move the search");
}

proptest! {
    /// Wherever the transaction is, up to the last block that may include it, the search does not call it dead.
    #[test]
    fn invariant_an_included_transaction_is_never_dead(included in 5_u64..=64) {
        let (attempt, transfer, blocks) = setting(Some(included), ContractResult::Success);
        let mut search = DeathSearch::new(&attempt, transfer.tx_id());
        let outcome = blocks.iter().skip(5).find_map(|block| match search.feed(block) {
            Ok(false) => None,
            other => Some(other),
        });
        let tx_id = transfer.tx_id();
        prop_assert_eq!(outcome, Some(Err(EvidenceError::FoundInSearch { tx_id, block: included })));
    }
}
