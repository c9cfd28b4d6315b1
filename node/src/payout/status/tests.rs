//! Every status, and what takes precedence.

use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::State;
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::id::SolidBlockId;
use lucid_types::payout::SettlementRoot;
use lucid_types::time::Height;

use super::*;
use crate::payout::testing::{WORKERS, account, account_id, address, network, node, pool_id, root, snapshot, state};
use crate::payout::vaults::Succession;

const NOW: UnixMillis = UnixMillis::new(2_000_000_000);
const TX: TxId = TxId::from_bytes([5; 32]);

/// The first worker became due 40 of 100 in settlement 3, and the vault has paid 60.
struct Fixture {
    state: State,
    record: RequestRecord,
    vault: Option<SolidVault>,
}

fn request(spec: &ChainSpec, root: &SettlementRoot) -> RequestRecord {
    let id = account_id(spec);
    let request = PayoutRequest {
        id: lucid_types::id::PayoutId::derive(&id, root.settlement),
        account: id,
        kind: lucid_types::payout::AccountKind::Worker,
        node: node(WORKERS[0]),
        to: account(0).to,
        amount: MicroUsdt::new(40),
        owed: root.total,
    };
    let (pool, settlement) = (root.pool, root.settlement);
    RequestRecord { request, pool, settlement, height: Height::new(9), time: UnixMillis::new(900) }
}

fn fixture() -> Fixture {
    let network = network();
    let root = root(&network, 3, 100);
    let snapshot = snapshot(&network, &root, 60);
    Fixture {
        state: state(&network, root),
        record: request(&network, &root),
        vault: Some(SolidVault {
            address: address(202),
            succession: Succession::Sound,
            snapshot: Arc::new(snapshot),
            as_of: Reference { number: 5, id: SolidBlockId::from_bytes([5; 32]), time: NOW },
            time: NOW,
            root_of: Some(3),
            alerts: Vec::new(),
        }),
    }
}

impl Fixture {
    fn view(&self) -> PoolView<'_> {
        PoolView {
            accounts: self.state.pools().next().unwrap().1,
            vault: self.vault.as_ref(),
            threshold: MicroUsdt::new(30),
            now: NOW,
        }
    }

    fn standing(&self, pushed: Option<&Pushed>) -> Standing {
        of_request(&self.record, self.view(), None, Some(UnixMillis::new(950)), pushed)
    }

    fn status(&self) -> PayoutStatus {
        self.standing(None).status
    }

    fn change(&mut self, act: impl FnOnce(&mut VaultSnapshot)) {
        act(Arc::make_mut(&mut self.vault.as_mut().unwrap().snapshot));
    }
}

#[test]
fn names_in_json_and_text_are_the_same() {
    use PayoutStatus::*;
    let all = [
        Owed,
        Signed,
        Posted,
        Sent,
        Included,
        Paid,
        BelowThreshold,
        Held,
        PoolSuspended,
        VaultPaused,
        OverCap,
        Uncovered,
    ];
    for status in all {
        assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
    }
}

#[test]
fn a_request_goes_from_owed_to_paid() {
    let mut fixture = fixture();
    let pushed = |status, tx_id| Pushed { status, since: UnixMillis::new(940), tx_id };

    // The vault has an older root, or one that is not the ledger's.
    for root_of in [None, Some(2)] {
        fixture.vault.as_mut().unwrap().root_of = root_of;
        let owed = fixture.standing(None);
        assert_eq!((owed.status, owed.since), (PayoutStatus::Owed, Some(UnixMillis::new(900))));
        assert!(owed.waits_for.unwrap().contains("2 of 3 treasury signers"));
        let signed = fixture.standing(Some(&pushed(PayoutStatus::Signed, None)));
        assert_eq!((signed.status, signed.since), (PayoutStatus::Signed, Some(UnixMillis::new(940))));
    }

    // A root of a later settlement owes it, too.
    for root_of in [3, 4] {
        fixture.vault.as_mut().unwrap().root_of = Some(root_of);
        let posted = fixture.standing(Some(&pushed(PayoutStatus::Signed, None)));
        assert_eq!((posted.status, posted.since), (PayoutStatus::Posted, Some(UnixMillis::new(950))));
    }

    for status in [PayoutStatus::Sent, PayoutStatus::Included] {
        let standing = fixture.standing(Some(&pushed(status, Some(TX))));
        assert_eq!((standing.status, standing.tx_id, standing.block), (status, Some(TX), None));
        assert!(standing.waits_for.is_some());
    }

    fixture.change(|snapshot| snapshot.paid.values_mut().for_each(|paid| *paid = MicroUsdt::new(100)));
    let place = Place { tx_id: TX, fee: Sun::new(7), block: 44, time: UnixMillis::new(990), index: 0 };
    let late = pushed(PayoutStatus::Included, Some(TxId::from_bytes([6; 32])));
    let paid = of_request(&fixture.record, fixture.view(), Some(place), None, Some(&late));
    assert_eq!(
        (paid.status, paid.tx_id, paid.block, paid.fee),
        (PayoutStatus::Paid, Some(TX), Some(44), Some(Sun::new(7)))
    );
    assert_eq!((paid.waits_for, paid.since), (None, Some(UnixMillis::new(990))));
    let elsewhere = of_request(&fixture.record, fixture.view(), None, None, None);
    assert_eq!((elsewhere.status, elsewhere.tx_id), (PayoutStatus::Paid, None), "its payment was not read");
}

#[test]
fn what_stops_a_posted_request_is_named() {
    type Change = fn(&mut VaultSnapshot);
    let cases: [(PayoutStatus, &str, Change); 7] = [
        (PayoutStatus::VaultPaused, "pause", |snapshot| snapshot.owner_pause_from = 1),
        (PayoutStatus::VaultPaused, "pause", |snapshot| snapshot.signer_pause_until = u64::MAX),
        (PayoutStatus::VaultPaused, "closed", |snapshot| snapshot.close_from = 1),
        (PayoutStatus::OverCap, "0.000039 USDT is left", |snapshot| snapshot.limits.cap = MicroUsdt::new(39)),
        (PayoutStatus::Uncovered, "0.000040 USDT is due and the vault holds 0.000039 USDT", |snapshot| {
            snapshot.funds = MicroUsdt::new(39);
        }),
        (PayoutStatus::Uncovered, "books losses", |snapshot| snapshot.paid_out = MicroUsdt::new(90)),
        (PayoutStatus::Posted, "to push it", |snapshot| snapshot.funds = MicroUsdt::new(40)),
    ];
    for (status, words, change) in cases {
        let mut fixture = fixture();
        fixture.change(change);
        let standing = fixture.standing(None);
        assert_eq!(standing.status, status);
        assert!(standing.waits_for.as_ref().unwrap().contains(words), "{standing:?}");
    }
}

#[test]
fn without_providers_nothing_is_known_of_payments() {
    let mut fixture = fixture();
    fixture.vault = None;
    assert_eq!(fixture.status(), PayoutStatus::Owed);
    assert!(fixture.standing(None).waits_for.unwrap().contains("tron.providers"));
}

#[test]
fn earnings_without_a_request_say_why() {
    let network = network();
    let fixture = fixture();
    let standing = |account: &Account, suspended: bool| {
        let mut accounts = fixture.state.pool(&pool_id(&network)).unwrap().clone();
        accounts.suspended_from = suspended.then_some(accounts.settled + 1);
        let view = PoolView { accounts: &accounts, ..fixture.view() };
        of_earnings(account, view)
            .map(|(amount, standing)| (amount.get(), standing.status, standing.waits_for.unwrap()))
    };
    assert_eq!(standing(&account(100), false), None, "everything has a request");
    let grown = Account { owed: MicroUsdt::new(115), ..account(100) };
    let (amount, status, waits_for) = standing(&grown, false).unwrap();
    assert_eq!((amount, status), (15, PayoutStatus::BelowThreshold));
    assert!(waits_for.contains("0.000005 USDT more"), "{waits_for}");
    assert_eq!(next_request(MicroUsdt::new(100), MicroUsdt::ZERO), MicroUsdt::new(101), "without a threshold");
    // It has crossed a multiple already: the threshold was higher when it was settled last.
    let due = Account { owed: MicroUsdt::new(140), ..account(100) };
    assert_eq!(standing(&due, false).unwrap().2, "the pool's next payout root");
    assert_eq!(standing(&grown, true).unwrap().1, PayoutStatus::PoolSuspended);
    let held = Account { held: MicroUsdt::new(20), hold: Hold::Since(4), ..grown };
    let (amount, status, waits_for) = standing(&held, true).unwrap();
    assert_eq!((amount, status), (35, PayoutStatus::Held));
    assert!(waits_for.contains("settlement 11"), "{waits_for}");
    let resumed = Account { hold: Hold::Ends, ..held };
    assert_eq!(standing(&resumed, false).unwrap().2, "the next settlement");
}
