#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::signature::recover;
use crate::testing::{self, START};

/// What survives a crash: a log whose writes are durable at once, and which can be made to fail.
#[derive(Clone, Debug, Default)]
struct MemoryLog {
    entries: Rc<RefCell<Vec<SignEntry>>>,
    is_failing: Rc<RefCell<bool>>,
}

#[derive(Debug, thiserror::Error)]
#[error("disk full")]
struct DiskFull;

impl SignLog for MemoryLog {
    type Error = DiskFull;

    fn find(&self, payout: &PayoutId, attempt: u32) -> Result<Option<SignEntry>, DiskFull> {
        let entries = self.entries.borrow();
        Ok(entries.iter().find(|e| e.payout == *payout && e.attempt == attempt).cloned())
    }

    fn since(&self, since: UnixMillis) -> Result<Vec<SignEntry>, DiskFull> {
        Ok(self.entries.borrow().iter().filter(|e| e.time >= since).cloned().collect())
    }

    fn record(&mut self, entry: &SignEntry) -> Result<(), DiskFull> {
        if *self.is_failing.borrow() {
            return Err(DiskFull);
        }
        self.entries.borrow_mut().push(entry.clone());
        Ok(())
    }
}

const NOW: UnixMillis = UnixMillis::new(START + 1_000);
const UNLIMITED: Caps = Caps {
    settlement: MicroUsdt::new(u64::MAX),
    day: MicroUsdt::new(u64::MAX),
    recipient: MicroUsdt::new(u64::MAX),
    fee_limit: Sun::new(u64::MAX),
    day_fees: Sun::new(u64::MAX),
};

fn attempt(payout: u8, number: u32) -> PayoutAttempt {
    testing::attempt(payout, number, testing::reference())
}

fn open(caps: Caps, log: &MemoryLog, now: UnixMillis) -> Signer<MemoryLog> {
    let key = TreasuryKey::from_secret(&[0x33; 32]).unwrap();
    let model = attempt(1, 1);
    let policy = SignerPolicy { treasury: model.treasury, token: model.token, permission_id: 2, caps };
    Signer::open(key, policy, log.clone(), now).unwrap()
}

fn refusal(result: Result<TreasurySignature, SignError<DiskFull>>) -> Refusal {
    match result {
        Err(SignError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_signature_is_over_the_bytes_derived_here() {
    let log = MemoryLog::default();
    let mut signer = open(UNLIMITED, &log, NOW);
    let signature = signer.sign(&attempt(1, 1), &[], NOW).unwrap();
    let tx_id = transfer(&attempt(1, 1)).unwrap().tx_id();
    assert_eq!(recover(&signature, &tx_id), Ok(signer.address()));
    assert_eq!(log.entries.borrow()[0].tx_id, tx_id);
}

#[test]
fn asking_again_gives_the_same_signature_and_no_second_entry() {
    let log = MemoryLog::default();
    let tight = Caps { day: MicroUsdt::new(1_500_000), ..UNLIMITED };
    let first = open(tight, &log, NOW).sign(&attempt(1, 1), &[], NOW).unwrap();
    // A restart in between.
    assert_eq!(open(tight, &log, NOW).sign(&attempt(1, 1), &[], NOW).unwrap(), first);
    assert_eq!(log.entries.borrow().len(), 1);
}

#[test]
fn invariant_never_a_second_transaction_for_an_attempt() {
    let log = MemoryLog::default();
    open(UNLIMITED, &log, NOW).sign(&attempt(1, 1), &[], NOW).unwrap();
    let known = transfer(&attempt(1, 1)).unwrap().tx_id();
    let mut other = attempt(1, 1);
    other.amount = MicroUsdt::new(1);
    let mut signer = open(UNLIMITED, &log, NOW);
    assert_eq!(refusal(signer.sign(&other, &[], NOW)), Refusal::AnotherTransaction(known));
    // Also when the entry is older than what is kept in memory.
    let later = NOW.after(MEMORY * 2);
    let mut signer = open(UNLIMITED, &log, later);
    assert!(signer.recent.is_empty());
    other.reference.time = later;
    other.expiration = later.after(Duration::from_secs(60));
    assert_eq!(refusal(signer.sign(&other, &[], later)), Refusal::AnotherTransaction(known));
}

#[test]
fn nothing_is_signed_that_is_not_durable() {
    let log = MemoryLog::default();
    let mut signer = open(UNLIMITED, &log, NOW);
    *log.is_failing.borrow_mut() = true;
    assert!(matches!(signer.sign(&attempt(1, 1), &[], NOW), Err(SignError::Log(DiskFull))));
    assert!(signer.recent.is_empty(), "the failed write is not remembered as done");
    *log.is_failing.borrow_mut() = false;
    signer.sign(&attempt(1, 1), &[], NOW).unwrap();
    assert_eq!(log.entries.borrow().len(), 1);
}

#[test]
fn only_the_own_treasurys_transfers_to_payout_addresses() {
    let log = MemoryLog::default();
    let mut signer = open(UNLIMITED, &log, NOW);
    let foreign = PayoutAddress::from_hash20([0x77; 20]);
    let base = attempt(1, 1);
    let mut refuse = |change: &dyn Fn(&mut PayoutAttempt)| {
        let mut changed = base.clone();
        change(&mut changed);
        refusal(signer.sign(&changed, &[], NOW))
    };
    assert_eq!(refuse(&|a| a.treasury = foreign), Refusal::NotMine("treasury"));
    assert_eq!(refuse(&|a| a.token = foreign), Refusal::NotMine("token"));
    assert_eq!(refuse(&|a| a.permission_id = 0), Refusal::NotMine("permission"));
    assert_eq!(refuse(&|a| a.to = a.treasury), Refusal::Recipient(base.treasury));
    assert_eq!(refuse(&|a| a.to = a.token), Refusal::Recipient(base.token));
    let zero = PayoutAddress::from_hash20([0; 20]);
    assert_eq!(refuse(&|a| a.to = zero), Refusal::Recipient(zero));
    assert_eq!(refuse(&|a| a.expiration = a.reference.time), Refusal::Lifetime(base.reference.time));
    let long = base.reference.time.after(MAX_LIFETIME + Duration::from_millis(1));
    assert_eq!(refuse(&|a| a.expiration = long), Refusal::Lifetime(long));
    assert!(log.entries.borrow().is_empty());
    let late = base.expiration;
    assert_eq!(refusal(signer.sign(&base, &[], late)), Refusal::Expired(late));
}

#[test]
fn a_later_attempt_needs_own_verdicts_on_all_earlier_ones() {
    let log = MemoryLog::default();
    let mut signer = open(UNLIMITED, &log, NOW);
    let tx_id = TxId::from_bytes([1; 32]);
    let failed = Verdict::Failed { tx_id, block: 1, fee: Sun::ZERO };
    let paid = Verdict::Paid { tx_id, block: 1, fee: Sun::ZERO };
    let third = attempt(1, 3);
    assert_eq!(refusal(signer.sign(&third, &[], NOW)), Refusal::EarlierAttempt(1));
    assert_eq!(refusal(signer.sign(&third, &[failed], NOW)), Refusal::EarlierAttempt(2));
    assert_eq!(refusal(signer.sign(&third, &[failed, paid], NOW)), Refusal::EarlierAttempt(2));
    assert_eq!(refusal(signer.sign(&third, &[paid, Verdict::Dead], NOW)), Refusal::EarlierAttempt(1));
    signer.sign(&third, &[failed, Verdict::Dead], NOW).unwrap();
}

#[test]
fn every_cap_holds_across_restarts_and_lapses_with_its_window() {
    let amount = MicroUsdt::new(2 * 1_500_000);
    let fees = Sun::new(2 * 15_000_000);
    for (name, caps) in [
        ("settlement", Caps { settlement: amount, ..UNLIMITED }),
        ("day", Caps { day: amount, ..UNLIMITED }),
        ("recipient", Caps { recipient: amount, ..UNLIMITED }),
        ("day fee", Caps { day_fees: fees, ..UNLIMITED }),
    ] {
        let log = MemoryLog::default();
        let mut one = attempt(1, 1);
        one.to = attempt(3, 1).to;
        let mut two = attempt(2, 1);
        two.to = one.to;
        open(caps, &log, NOW).sign(&one, &[], NOW).unwrap();
        open(caps, &log, NOW).sign(&two, &[], NOW).unwrap();
        let mut signer = open(caps, &log, NOW);
        let Refusal::Cap { cap, limit, total } = refusal(signer.sign(&attempt(3, 1), &[], NOW)) else {
            panic!("{name}")
        };
        assert_eq!((cap, total), (name, limit / 2 * 3));
        // The next day, in the next settlement, there is room again.
        let later = NOW.after(DAY + Duration::from_millis(1));
        let mut next = attempt(3, 1);
        next.settlement += 1;
        next.reference.time = later;
        next.expiration = later.after(Duration::from_secs(60));
        signer.sign(&next, &[], later).unwrap();
    }
    let log = MemoryLog::default();
    let caps = Caps { fee_limit: Sun::new(14_999_999), ..UNLIMITED };
    let refused = refusal(open(caps, &log, NOW).sign(&attempt(1, 1), &[], NOW));
    assert_eq!(refused, Refusal::Cap { cap: "fee limit", limit: 14_999_999, total: 15_000_000 });
}

#[test]
fn a_second_attempt_does_not_count_its_payout_twice() {
    let log = MemoryLog::default();
    let caps = Caps { day: MicroUsdt::new(1_500_000), settlement: MicroUsdt::new(1_500_000), ..UNLIMITED };
    let mut signer = open(caps, &log, NOW);
    signer.sign(&attempt(1, 1), &[], NOW).unwrap();
    signer.sign(&attempt(1, 2), &[Verdict::Dead], NOW).unwrap();
    let refused = refusal(signer.sign(&attempt(2, 1), &[], NOW));
    assert_eq!(refused, Refusal::Cap { cap: "settlement", limit: 1_500_000, total: 3_000_000 });
}

proptest! {
    /// Whatever is asked in whatever order, with restarts: one transaction an attempt, and the caps hold over what the
    /// log says was signed.
    #[test]
    fn invariant_caps_and_single_transactions(
        asks in prop::collection::vec((1_u8..6, 1_u32..3, 1_u64..2_000_000, any::<bool>()), 1..40),
    ) {
        let caps = Caps { day: MicroUsdt::new(4_000_000), recipient: MicroUsdt::new(2_500_000), ..UNLIMITED };
        let log = MemoryLog::default();
        let mut signer = open(caps, &log, NOW);
        for (payout, number, amount, restarts) in asks {
            if restarts {
                signer = open(caps, &log, NOW);
            }
            let mut ask = attempt(payout, number);
            ask.amount = MicroUsdt::new(amount);
            ask.to = PayoutAddress::from_hash20([1 + payout % 2; 20]);
            let _ = signer.sign(&ask, &[Verdict::Dead], NOW);
        }
        let entries = log.entries.borrow();
        let mut keys = std::collections::BTreeSet::new();
        prop_assert!(entries.iter().all(|e| keys.insert((e.payout, e.attempt))));
        // Only the last attempt of a payout can move money.
        let last = entries.iter().map(|e| ((e.payout), (e.attempt, e))).fold(
            BTreeMap::<PayoutId, (u32, &SignEntry)>::new(),
            |mut map, (payout, (number, entry))| {
                let slot = map.entry(payout).or_insert((number, entry));
                if number >= slot.0 {
                    *slot = (number, entry);
                }
                map
            },
        );
        let sum = |to: Option<PayoutAddress>| -> u64 {
            last.values().filter(|(_, e)| to.is_none_or(|to| e.to == to)).map(|(_, e)| e.amount.get()).sum()
        };
        prop_assert!(sum(None) <= 4_000_000);
        prop_assert!(sum(Some(PayoutAddress::from_hash20([1; 20]))) <= 2_500_000);
        prop_assert!(sum(Some(PayoutAddress::from_hash20([2; 20]))) <= 2_500_000);
    }
}
