//! The signer's rules, one by one and under random sequences of requests, crashes and failing disks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;

use lucid_types::amount::MicroUsdt;
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::vault::TreasurySigner;
use proptest::prelude::*;

use super::*;
use crate::signature::recover;
use crate::vault::root_digest;

const VAULT: PayoutAddress = address(0xee);
const OLD_VAULT: PayoutAddress = address(0xed);
const POOL: PoolId = PoolId::from_bytes([2; 32]);

const fn address(n: u8) -> PayoutAddress {
    let mut bytes = [n; 21];
    bytes[0] = PayoutAddress::PREFIX;
    match PayoutAddress::from_bytes(bytes) {
        Some(address) => address,
        None => panic!("the prefix is right"),
    }
}

fn usdt(n: u64) -> MicroUsdt {
    MicroUsdt::new(n)
}

fn key(n: u8) -> TronKey {
    TronKey::from_secret(&[n; 32]).unwrap()
}

fn signers(era: u32) -> SignerSet {
    static ADDRESSES: LazyLock<Vec<PayoutAddress>> = LazyLock::new(|| (1..=3).map(|n| key(n).address()).collect());
    let members = (1..=3)
        .zip(ADDRESSES.iter())
        .map(|(n, address)| TreasurySigner { node: NodeId::from_bytes([n; 32]), key_address: *address })
        .collect();
    SignerSet { era, threshold: 2, members }
}

fn account() -> SignerAccount {
    SignerAccount { pool: POOL, domain: VaultDomain { chain_id: 7, vault: VAULT }, predecessors: vec![OLD_VAULT] }
}

fn root(settlement: u64, total: u64) -> SettlementRoot {
    SettlementRoot {
        pool: POOL,
        settlement,
        vault: VAULT,
        era: 1,
        root: PayoutRoot::from_bytes([u8::try_from(settlement % 250).unwrap() + 1; 32]),
        total: usdt(total),
        fees: usdt(total / 100),
        promised: usdt(total),
        leader: Some(address(9)),
        until: settlement * 100,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is full")]
struct DiskFull;

/// A disk. What stands on it survives the signer.
#[derive(Clone, Debug, Default)]
struct Disk(Rc<RefCell<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    bytes: Option<Vec<u8>>,
    /// A second copy's sequence.
    copy: u64,
    /// What the next writes do.
    faults: Vec<Fault>,
    /// Forgets everything: the negative control.
    forgets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Fails, and nothing is written.
    Lost,
    /// Fails, and yet it is written.
    Kept,
}

impl Disk {
    fn watermark(&self) -> Watermark {
        self.0.borrow().bytes.as_ref().map(|bytes| decode(bytes).unwrap()).unwrap_or_default()
    }
}

impl WatermarkStore for Disk {
    type Error = DiskFull;

    fn load(&mut self) -> Result<Stored, DiskFull> {
        let (watermark, newest) = (self.watermark(), self.0.borrow().copy);
        Ok(match watermark.sequence < newest {
            true => Stored::RolledBack { found: watermark.sequence, newest },
            false => Stored::Watermark(watermark),
        })
    }

    fn record(&mut self, watermark: &Watermark) -> Result<(), DiskFull> {
        let mut disk = self.0.borrow_mut();
        if disk.forgets {
            return Ok(());
        }
        let fault = disk.faults.pop();
        if fault != Some(Fault::Lost) {
            disk.bytes = Some(encode(watermark));
            disk.copy = watermark.sequence;
        }
        if fault.is_some() { Err(DiskFull) } else { Ok(()) }
    }
}

fn signer_on(disk: &Disk) -> Signer<Disk> {
    Signer::new(key(1), account(), disk.clone())
}

fn signer() -> Signer<Disk> {
    signer_on(&Disk::default())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, SignError<DiskFull>>) -> Refusal {
    match result {
        Err(SignError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_root_is_signed_for_its_vault_and_the_same_again() {
    let mut signer = signer();
    let first = signer.sign_root(&root(1, 100), &signers(1)).unwrap();
    assert_eq!(recover(&first, &root_digest(&account().domain, &root(1, 100))), Ok(signer.address()));
    assert_eq!(signer.sign_root(&root(1, 100), &signers(1)).unwrap(), first);
    assert_eq!(signer.store.watermark().sequence, 1, "nothing new was written");
    assert!(signer.sign_root(&root(2, 300), &signers(1)).is_ok());
    assert_eq!(signer.store.watermark().root, Some(root(2, 300)));
}

#[test]
fn the_watermark_is_durable_before_a_signature_exists() {
    let disk = Disk::default();
    disk.0.borrow_mut().faults = vec![Fault::Lost];
    let mut signer = signer_on(&disk);
    assert!(matches!(signer.sign_root(&root(1, 100), &signers(1)), Err(SignError::Store(DiskFull))));
    assert_eq!(disk.watermark(), Watermark::default());
    let other = SettlementRoot { root: PayoutRoot::from_bytes([9; 32]), ..root(1, 100) };
    assert!(signer.sign_root(&other, &signers(1)).is_ok(), "no signature of the first exists");

    disk.0.borrow_mut().faults = vec![Fault::Kept];
    assert!(signer.sign_root(&root(2, 200), &signers(1)).is_err());
    let other = SettlementRoot { root: PayoutRoot::from_bytes([8; 32]), ..root(2, 200) };
    assert!(matches!(refusal(signer.sign_root(&other, &signers(1))), Refusal::AnotherRoot { .. }), "it may exist");
    assert!(signer.sign_root(&root(2, 200), &signers(1)).is_ok());
}

#[test]
fn what_is_refused_and_what_each_refusal_says() {
    let base = root(5, 1_000);
    let own = VAULT.to_string();
    let cases: Vec<(SettlementRoot, SignerSet, &str)> = vec![
        (SettlementRoot { pool: PoolId::from_bytes([3; 32]), ..root(6, 1_000) }, signers(1), "ask that pool's signers"),
        (
            SettlementRoot { vault: address(1), ..root(6, 1_000) },
            signers(1),
            "predecessors in the signer's configuration",
        ),
        (SettlementRoot { vault: OLD_VAULT, ..root(6, 1_000) }, signers(1), &own),
        (SettlementRoot { era: 2, ..root(6, 1_000) }, signers(1), "as it was issued last"),
        (root(6, 1_000), signers(2), "as it was issued last"),
        (root(4, 1_000), signers(1), "ask for the newest root"),
        (SettlementRoot { root: PayoutRoot::from_bytes([0; 32]), ..root(6, 1_000) }, signers(1), "zero"),
        (SettlementRoot { root: PayoutRoot::from_bytes([9; 32]), ..base }, signers(1), "compare the ledgers"),
        (SettlementRoot { until: 1, ..base }, signers(1), "another leader or end of turn"),
        (SettlementRoot { leader: None, ..base }, signers(1), "another leader or end of turn"),
        (root(6, 999), signers(1), "total fell from 1000 to 999"),
        (SettlementRoot { total: usdt(999), ..base }, signers(1), "total fell"),
        (SettlementRoot { fees: usdt(9), ..base }, signers(1), "allowance for fees fell from 10 to 9"),
        (SettlementRoot { total: usdt(1_001), ..base }, signers(1), "grew by 1, of which the pool can explain 0"),
        (SettlementRoot { fees: usdt(1_001), ..root(6, 1_000) }, signers(1), "more than the total"),
    ];
    for (asked, set, words) in cases {
        let mut signer = signer();
        signer.sign_root(&base, &signers(1)).unwrap();
        let before = signer.store.watermark();
        let text = refusal(signer.sign_root(&asked, &set)).to_string();
        assert!(text.contains(words), "{words}: {text}");
        assert_eq!(signer.store.watermark(), before, "a refusal leaves no trace");
        assert!(signer.sign_root(&root(6, 1_000), &signers(1)).is_ok(), "{words}: the honest one is still signed");
    }
    let mut stranger = Signer::new(key(9), account(), Disk::default());
    let text = refusal(stranger.sign_root(&base, &signers(1))).to_string();
    assert!(text.contains("is not a signer of era 1"), "{text}");
}

#[test]
fn the_total_may_grow_by_what_the_pool_put_up() {
    let mut signer = signer();
    let sign = |signer: &mut Signer<Disk>, settlement, total, promised| {
        signer.sign_root(&SettlementRoot { promised: usdt(promised), ..root(settlement, total) }, &signers(1))
    };
    // The first signature: nothing was signed, so all of the promise counts. 20 are on hold.
    assert!(matches!(refusal(sign(&mut signer, 1, 121, 120)), Refusal::Cap { .. }));
    sign(&mut signer, 1, 100, 120).unwrap();
    // The hold ends: 100 of the new budget and the 20.
    assert!(matches!(refusal(sign(&mut signer, 2, 221, 220)), Refusal::Cap { .. }));
    sign(&mut signer, 2, 220, 220).unwrap();
    // A settlement that this signer did not sign still counts.
    sign(&mut signer, 4, 420, 420).unwrap();
    // A loss is booked: the same root again, with a higher total.
    sign(&mut signer, 4, 450, 450).unwrap();
    assert!(matches!(refusal(sign(&mut signer, 5, 450, 449)), Refusal::Smaller { .. }));
}

#[test]
fn sums_go_on_over_eras_and_vaults() {
    let disk = Disk::default();
    let old =
        SignerAccount { domain: VaultDomain { chain_id: 7, vault: OLD_VAULT }, predecessors: vec![], ..account() };
    let in_old = |root: SettlementRoot| SettlementRoot { vault: OLD_VAULT, ..root };
    let mut before = Signer::new(key(1), old, disk.clone());
    before.sign_root(&in_old(root(5, 500)), &signers(1)).unwrap();
    // A rotation: the same settlement is issued again, under the next era.
    let rotated = SettlementRoot { era: 2, ..in_old(root(5, 500)) };
    before.sign_root(&rotated, &signers(2)).unwrap();
    assert!(matches!(refusal(before.sign_root(&in_old(root(6, 600)), &signers(1))), Refusal::OldEra { .. }));
    // A new vault, whose eras start anew; so does a new network's count of settlements.
    let mut after = signer_on(&disk);
    assert!(matches!(refusal(after.sign_root(&root(1, 499), &signers(1))), Refusal::Smaller { .. }));
    after.sign_root(&root(1, 600), &signers(1)).unwrap();
    // The old vault is over for a store that has seen the new one.
    assert!(matches!(
        refusal(before.sign_root(&SettlementRoot { era: 3, ..rotated }, &signers(3))),
        Refusal::ForeignWatermark { .. }
    ));
}

#[test]
fn a_watermark_that_went_back_refuses_everything() {
    let disk = Disk::default();
    let mut signer = signer_on(&disk);
    signer.sign_root(&root(1, 100), &signers(1)).unwrap();
    let backup = disk.0.borrow().bytes.clone();
    signer.sign_root(&root(2, 200), &signers(1)).unwrap();
    for bytes in [backup.clone(), None] {
        disk.0.borrow_mut().bytes = bytes;
        for signer in [&mut signer, &mut signer_on(&disk)] {
            let refused = [
                refusal(signer.sign_root(&root(3, 300), &signers(1))),
                refusal(signer.sign_signers(&POOL, 0, &signers(1), &signers(2))),
                refusal(signer.sign_limits(&POOL, 0, &signers(1), &limits(1))),
            ];
            for refusal in refused {
                assert!(matches!(refusal, Refusal::RolledBack { newest: 2, .. }), "{refusal}");
                assert!(refusal.to_string().contains("replace this signer's key"), "{refusal}");
            }
        }
    }
    // Without a second copy the process that made the records notices it by itself.
    disk.0.borrow_mut().bytes = backup;
    disk.0.borrow_mut().copy = 0;
    assert!(matches!(
        refusal(signer.sign_root(&root(3, 300), &signers(1))),
        Refusal::RolledBack { found: 1, newest: 2 }
    ));
}

fn limits(cap: u64) -> VaultLimits {
    VaultLimits { cap: usdt(cap), push_fee: usdt(1) }
}

#[test]
fn a_change_is_signed_once_for_each_number() {
    let mut signer = signer();
    let domain = account().domain;
    let changed = signer.sign_limits(&POOL, 3, &signers(1), &limits(10)).unwrap();
    assert_eq!(recover(&changed, &limits_digest(&domain, 1, 3, &limits(10))), Ok(signer.address()));
    assert_eq!(signer.sign_limits(&POOL, 3, &signers(1), &limits(10)).unwrap(), changed);
    assert_eq!(refusal(signer.sign_limits(&POOL, 3, &signers(1), &limits(11))), Refusal::AnotherChange(3));
    assert_eq!(refusal(signer.sign_signers(&POOL, 3, &signers(1), &signers(2))), Refusal::AnotherChange(3));
    // An older change may still be under way.
    let rotated = signer.sign_signers(&POOL, 2, &signers(1), &signers(2)).unwrap();
    assert_eq!(recover(&rotated, &signers_digest(&domain, 1, 2, &signers(2))), Ok(signer.address()));
    assert!(signer.sign_limits(&POOL, 4, &signers(2), &limits(12)).is_ok());
    assert_eq!(refusal(signer.sign_signers(&POOL, 5, &signers(2), &signers(4))), Refusal::EraStep { by: 2, next: 4 });
    let weak = SignerSet { threshold: 1, ..signers(3) };
    assert!(matches!(refusal(signer.sign_signers(&POOL, 5, &signers(2), &weak)), Refusal::BadSet(_)));
    let other = PoolId::from_bytes([3; 32]);
    assert!(matches!(refusal(signer.sign_limits(&other, 5, &signers(2), &limits(1))), Refusal::Pool { .. }));
}

#[test]
fn changes_older_than_the_signer_remembers_are_refused() {
    let mut signer = signer();
    let sign = |signer: &mut Signer<Disk>, nonce| signer.sign_limits(&POOL, nonce, &signers(1), &limits(nonce.into()));
    for nonce in [1, 3, 5, 7, 9, 11, 13, 15] {
        sign(&mut signer, nonce).unwrap();
    }
    sign(&mut signer, 2).unwrap();
    assert_eq!(refusal(sign(&mut signer, 1)), Refusal::OldChange { asked: 1, signed: 2 });
    assert_eq!(refusal(signer.sign_limits(&POOL, 3, &signers(1), &limits(1))), Refusal::AnotherChange(3));
    // A new vault counts anew.
    let successor = VaultDomain { chain_id: 7, vault: address(5) };
    let account = SignerAccount { domain: successor, predecessors: vec![VAULT], ..account() };
    let mut next = Signer::new(key(1), account, signer.store.clone());
    next.sign_limits(&POOL, 0, &signers(1), &limits(1)).unwrap();
    assert!(matches!(refusal(sign(&mut signer, 16)), Refusal::ForeignWatermark { .. }));
}

#[test]
fn the_greatest_watermark_fits_its_record() {
    let change = SignedChange { vault: VAULT, nonce: u32::MAX, digest: Hash::from_bytes([1; 32]) };
    let changes = vec![change; Watermark::MAX_CHANGES];
    let watermark = Watermark { sequence: u64::MAX, root: Some(root(1, 1)), changes };
    let bytes = encode(&watermark);
    assert!(bytes.len() <= Watermark::MAX_BYTES);
    assert_eq!(decode::<Watermark>(&bytes).unwrap(), watermark);
}

/// What somebody asks of a signer.
#[derive(Clone, Debug)]
enum Ask {
    Root {
        settlement: u64,
        variant: u8,
        era: u32,
        total: u64,
        promised: u64,
    },
    Limits {
        nonce: u32,
        cap: u64,
    },
    Signers {
        nonce: u32,
        threshold: u8,
    },
    /// The process ends and starts again.
    Restart,
    /// The next write fails.
    Disk {
        is_kept: bool,
    },
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        8 => (1..6_u64, 0..2_u8, 1..3_u32, 0..60_u64, 0..60_u64)
            .prop_map(|(settlement, variant, era, total, promised)| Ask::Root { settlement, variant, era, total, promised }),
        2 => (0..12_u32, 0..2_u64).prop_map(|(nonce, cap)| Ask::Limits { nonce, cap }),
        2 => (0..12_u32, 2..4_u8).prop_map(|(nonce, threshold)| Ask::Signers { nonce, threshold }),
        1 => Just(Ask::Restart),
        1 => any::<bool>().prop_map(|is_kept| Ask::Disk { is_kept }),
    ]
}

/// Everything that was signed, in order.
#[derive(Default)]
struct Signed {
    roots: Vec<SettlementRoot>,
    changes: BTreeMap<u32, Vec<String>>,
}

fn run(asks: &[Ask], forgets: bool) -> Signed {
    let disk = Disk::default();
    disk.0.borrow_mut().forgets = forgets;
    let (mut signer, mut signed) = (signer_on(&disk), Signed::default());
    for ask in asks {
        match *ask {
            Ask::Root { settlement, variant, era, total, promised } => {
                let of_variant = PayoutRoot::from_bytes([u8::try_from(settlement).unwrap() * 2 + variant; 32]);
                let asked =
                    SettlementRoot { root: of_variant, era, promised: usdt(promised), ..root(settlement, total) };
                if signer.sign_root(&asked, &signers(era)).is_ok() {
                    signed.roots.push(asked);
                }
            }
            Ask::Limits { nonce, cap } => {
                if signer.sign_limits(&POOL, nonce, &signers(1), &limits(cap)).is_ok() {
                    signed.changes.entry(nonce).or_default().push(format!("cap {cap}"));
                }
            }
            Ask::Signers { nonce, threshold } => {
                let next = SignerSet { threshold, ..signers(2) };
                if signer.sign_signers(&POOL, nonce, &signers(1), &next).is_ok() {
                    signed.changes.entry(nonce).or_default().push(format!("threshold {threshold}"));
                }
            }
            Ask::Restart => signer = signer_on(&disk),
            Ask::Disk { is_kept } => {
                disk.0.borrow_mut().faults = vec![if is_kept { Fault::Kept } else { Fault::Lost }];
            }
        }
    }
    signed
}

/// The first promise that the signatures break.
fn broken(signed: &Signed) -> Option<String> {
    for (i, later) in signed.roots.iter().enumerate() {
        if later.total > later.promised {
            return Some(format!("more than was promised: {later:?}"));
        }
        for earlier in &signed.roots[..i] {
            let is_same_era = earlier.era == later.era;
            if is_same_era && earlier.settlement == later.settlement && earlier.root != later.root {
                return Some(format!("two roots for one settlement: {earlier:?} {later:?}"));
            }
            if is_same_era && later.settlement < earlier.settlement {
                return Some(format!("an older settlement: {earlier:?} {later:?}"));
            }
            if later.total < earlier.total || later.fees < earlier.fees || later.era < earlier.era {
                return Some(format!("something fell: {earlier:?} {later:?}"));
            }
        }
    }
    let two = signed.changes.iter().find(|(_, contents)| contents.iter().any(|content| *content != contents[0]));
    two.map(|(nonce, contents)| format!("two contents for change {nonce}: {contents:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn invariant_no_two_roots_for_one_settlement(asks in prop::collection::vec(ask(), 1..40)) {
        let signed = run(&asks, false);
        prop_assert_eq!(broken(&signed), None);
    }
}

/// The negative control: the same checks find a signer whose disk forgets.
#[test]
fn a_signer_without_a_watermark_signs_two_roots() {
    let root = |variant| Ask::Root { settlement: 1, variant, era: 1, total: 10, promised: 10 };
    let asks = [root(0), Ask::Restart, root(1)];
    assert_eq!(broken(&run(&asks, false)), None);
    let found = broken(&run(&asks, true)).unwrap();
    assert!(found.contains("two roots for one settlement"), "{found}");
}
