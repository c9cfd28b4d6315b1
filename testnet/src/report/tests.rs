use serde_json::json;

use super::*;

fn address(byte: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([byte; 20])
}

/// A run of two epochs with two workers that were paid 7 and 5 micro-USDT.
pub(crate) fn good() -> Report {
    let (hash, root) = (|h: u8| BlockHash::from_bytes([h; 32]), |h: u8| StateRoot::from_bytes([h + 100; 32]));
    let epoch = |h: u8| EpochEntry {
        epoch: h.into(),
        height: u64::from(h) * 3,
        block_hash: hash(h),
        state_root: root(h),
        round: 0,
        signatures: 3,
        workers_scored: 2,
    };
    let node = |name: &str, role| NodeReport {
        name: name.into(),
        roles: vec![role],
        height: 6,
        block_hash: hash(2),
        state_root: root(2),
    };
    let payout = |worker: u8, amount| PayoutEntry {
        payout_id: PayoutId::from_bytes([worker; 32]),
        worker: format!("worker-{worker}"),
        address: address(worker),
        amount_micro_usdt: MicroUsdt::new(amount),
        tx_id: Some(TxId::from_bytes([worker; 32])),
        status: PayoutStatus::Paid,
        settlement: 1,
    };
    let balance = |worker, units| Balance { address: address(worker), micro_usdt: MicroUsdt::new(units) };
    Report {
        network_id: NetworkId::from_bytes([1; 32]),
        join: "lucid1x".into(),
        epochs: vec![epoch(1), epoch(2)],
        nodes: vec![node("validator-1", Role::Validator), node("worker-1", Role::Worker)],
        payouts: vec![payout(1, 7), payout(2, 5)],
        balances: vec![balance(1, 7), balance(2, 5)],
        tron: TronReport { url: "http://127.0.0.1:9".into(), usdt_contract: address(8), vault: address(9) },
    }
}

/// Two payments, and a push fee of 1 for each.
const VAULT: VaultFigures = VaultFigures {
    given: MicroUsdt::new(1_000),
    funds: MicroUsdt::new(986),
    paid_out: MicroUsdt::new(12),
    fees_paid: MicroUsdt::new(2),
};

/// The one problem that a change brings.
fn problem(change: impl FnOnce(&mut Report)) -> String {
    let mut report = good();
    change(&mut report);
    let problems = report.problems(&VAULT, Some(2));
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.concat()
}

#[test]
fn a_good_run_has_no_problem() {
    assert_eq!(good().problems(&VAULT, Some(2)), Vec::<String>::new());
    assert_eq!(good().problems(&VAULT, None), Vec::<String>::new());
}

#[test]
fn every_single_change_is_noticed() {
    let other = |r: &mut Report| r.nodes[1].block_hash = BlockHash::from_bytes([77; 32]);
    assert!(problem(other).starts_with("worker-1 has block 4d4d"));
    assert!(problem(|r| r.nodes[1].state_root = StateRoot::from_bytes([77; 32])).contains("state 4d4d"));
    assert!(problem(|r| r.nodes[1].height = 1).contains("at height 1"));
    assert!(problem(|r| r.epochs[1].state_root = StateRoot::from_bytes([7; 32])).contains("list another block"));
    assert!(problem(|r| r.epochs.truncate(0)).contains("[] instead of 1 to 2"));
    assert!(problem(|r| r.nodes.clear()).contains("no node"));
    assert!(problem(|r| r.payouts[0].tx_id = None).contains("without a transaction"));
    assert!(problem(|r| r.balances[0].micro_usdt = MicroUsdt::new(6)).contains("holds 6 micro-USDT"));
    assert!(problem(|r| r.balances.truncate(1)).contains("was not read"));
}

#[test]
fn an_unpaid_payout_is_named_and_its_money_is_not_counted() {
    let mut report = good();
    report.payouts[1].status = PayoutStatus::Posted;
    let problems = report.problems(&VAULT, Some(2));
    assert!(problems[0].contains("0.000005 USDT to worker-2 for settlement 1 is posted"), "{problems:?}");
    assert!(problems[1].contains("the ledger paid it 0"), "{problems:?}");
    assert!(problems[2].contains("the vault paid out 12"), "{problems:?}");
}

#[test]
fn money_that_left_the_vault_unseen_is_noticed() {
    let paid = VaultFigures { funds: MicroUsdt::new(985), paid_out: MicroUsdt::new(13), ..VAULT };
    let problems = good().problems(&paid, Some(2));
    assert_eq!(problems, ["the vault paid out 13 micro-USDT, what is paid in the ledger sums to 12"]);
    let taken = VaultFigures { funds: MicroUsdt::new(985), ..VAULT };
    let problems = good().problems(&taken, Some(2));
    assert_eq!(problems, ["the vault was given 1000 micro-USDT; it holds 985 and has paid out 12 and 2 in push fees"]);
    let absurd = VaultFigures { funds: MicroUsdt::new(u64::MAX), ..VAULT };
    assert_eq!(good().problems(&absurd, Some(2)).len(), 1);
}

#[test]
fn a_run_that_stops_early_lacks_epochs() {
    assert!(good().problems(&VAULT, Some(3)).concat().contains("[1, 2] instead of 1 to 3"));
}

#[test]
fn the_json_has_exactly_the_documented_keys() {
    let json = serde_json::to_value(good()).unwrap_or_default();
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .map(|object| object.keys().cloned().collect::<std::collections::BTreeSet<_>>())
            .unwrap_or_default()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(keys(&json), set(&["network_id", "join", "epochs", "nodes", "payouts", "balances", "tron"]));
    let epoch = set(&["epoch", "height", "block_hash", "state_root", "round", "signatures", "workers_scored"]);
    assert_eq!(keys(&json["epochs"][0]), epoch);
    assert_eq!(keys(&json["nodes"][0]), set(&["name", "roles", "height", "block_hash", "state_root"]));
    let payout = set(&["payout_id", "worker", "address", "amount_micro_usdt", "tx_id", "status", "settlement"]);
    assert_eq!(keys(&json["payouts"][0]), payout);
    assert_eq!(keys(&json["balances"][0]), set(&["address", "micro_usdt"]));
    assert_eq!(keys(&json["tron"]), set(&["url", "usdt_contract", "vault"]));
    assert_eq!(json["payouts"][0]["amount_micro_usdt"], json!(7));
    assert_eq!(json["epochs"][0]["block_hash"], json!("01".repeat(32)));
}
