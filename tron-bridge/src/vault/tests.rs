#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use lucid_tron_types::abi::{Word, selector, word_of};
use lucid_tron_types::keccak256;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::{SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, PayoutTree, TreeHash};
use lucid_types::vault::TreasurySigner;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::client::Log;
use crate::key::TronKey;
use crate::signature::recover;

/// Made by `contracts/vectors.py` from the specification alone.
const VECTORS: &str = include_str!("../../tests/data/payout_root.json");
const DESCRIPTION: &str = include_str!("../../contracts/PayoutVault.json");

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn account(n: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([n; 20])
}

fn usdt(n: u64) -> MicroUsdt {
    MicroUsdt::new(n)
}

fn signer_set(era: u32, threshold: u8, keys: &[PayoutAddress]) -> SignerSet {
    let member = |key: &PayoutAddress| TreasurySigner { node: NodeId::from_bytes([0; 32]), key_address: *key };
    SignerSet { era, threshold, members: keys.iter().map(member).collect() }
}

fn root() -> SettlementRoot {
    SettlementRoot {
        pool: PoolId::from_bytes([0; 32]),
        settlement: 7,
        vault: account(9),
        era: 1,
        root: PayoutRoot::from_bytes([0xaa; 32]),
        total: usdt(100),
        fees: usdt(5),
        promised: usdt(200),
        leader: Some(account(8)),
        until: 1_800_000_000,
    }
}

/// The canonical signatures of the description's entries of one kind.
fn described(kind: &str) -> BTreeSet<String> {
    fn kind_of(input: &Value) -> String {
        let name = input["type"].as_str().unwrap();
        match name.strip_prefix("tuple") {
            Some(suffix) => format!("({}){suffix}", kinds_of(&input["components"])),
            None => name.to_owned(),
        }
    }
    fn kinds_of(inputs: &Value) -> String {
        list(inputs).iter().map(kind_of).collect::<Vec<_>>().join(",")
    }
    let description = parse(DESCRIPTION);
    let entries = list(&description["abi"]).iter().filter(|entry| entry["type"] == kind);
    entries.map(|entry| format!("{}({})", entry["name"].as_str().unwrap(), kinds_of(&entry["inputs"]))).collect()
}

#[test]
fn digests_and_signatures_are_those_of_the_specification() {
    let vectors = parse(VECTORS);
    let keys: Vec<TronKey> =
        list(&vectors["keys"]).iter().map(|key| TronKey::from_secret(&bytes(key)).unwrap()).collect();
    let chain_id = u32::try_from(vectors["chain_id"].as_u64().unwrap()).unwrap();
    let domain = VaultDomain { chain_id, vault: PayoutAddress::from_hash20(bytes(&vectors["vault"])) };
    let mut purposes = BTreeSet::new();
    for entry in list(&vectors["digests"]) {
        let number = |name: &str| entry[name].as_u64().unwrap();
        let small = |name: &str| u32::try_from(number(name)).unwrap();
        type Sign<'a> = Box<dyn Fn(&TronKey) -> TreasurySignature + 'a>;
        let purpose = entry["purpose"].as_str().unwrap();
        let (digest, sign): (_, Sign<'_>) = match purpose {
            "root" => {
                let root = SettlementRoot {
                    settlement: number("settlement"),
                    era: small("era"),
                    root: PayoutRoot::from_bytes(bytes(&entry["root"])),
                    total: usdt(number("total")),
                    fees: usdt(number("fees")),
                    leader: Some(PayoutAddress::from_hash20(bytes(&entry["leader"]))),
                    until: number("until"),
                    ..root()
                };
                (root_digest(&domain, &root), Box::new(move |key| key.sign_root(&domain, &root).unwrap()))
            }
            "signers" => {
                let addresses: Vec<_> =
                    list(&entry["signers"]).iter().map(|s| PayoutAddress::from_hash20(bytes(s))).collect();
                let (era, nonce) = (small("era"), small("nonce"));
                let set = signer_set(era + 1, u8::try_from(number("threshold")).unwrap(), &addresses);
                let digest = signers_digest(&domain, era, nonce, &set);
                (digest, Box::new(move |key| key.sign_signers(&domain, era, nonce, &set).unwrap()))
            }
            "limits" => {
                let limits = VaultLimits { cap: usdt(number("cap")), push_fee: usdt(number("push_fee")) };
                let (era, nonce) = (small("era"), small("nonce"));
                let digest = limits_digest(&domain, era, nonce, &limits);
                (digest, Box::new(move |key| key.sign_limits(&domain, era, nonce, &limits).unwrap()))
            }
            other => panic!("{other}"),
        };
        assert_eq!(digest, bytes(&entry["digest"]), "{purpose}");
        let signatures: Vec<_> = keys.iter().map(sign).collect();
        let joined: Vec<_> = signatures.iter().map(|s| *s.as_bytes()).collect();
        assert_eq!(hex::encode(joined.as_flattened()), entry["signatures"], "{purpose}");
        for (key, signature) in keys.iter().zip(&signatures) {
            assert_eq!(recover(signature, &digest), Ok(key.address()));
        }
        purposes.insert(purpose);
    }
    assert_eq!(purposes.len(), 3);
}

#[test]
fn the_chain_id_is_the_end_of_the_genesis_block_id() {
    let mut id = [0; 32];
    id[28..].copy_from_slice(&[0xcd, 0x86, 0x90, 0xdc]);
    // The Nile test network's, as its documentation says.
    assert_eq!(VaultDomain::new(&SolidBlockId::from_bytes(id), account(1)).chain_id, 3_448_148_188);
}

#[test]
fn a_root_without_a_leader_names_the_zero_address() {
    let domain = VaultDomain { chain_id: 1, vault: account(9) };
    let nobody = SettlementRoot { leader: None, until: 0, ..root() };
    let zero = SettlementRoot { leader: Some(account(0)), ..nobody };
    assert_eq!(root_digest(&domain, &nobody), root_digest(&domain, &zero));
    assert_eq!(post_root(&nobody, &BTreeMap::new()), post_root(&zero, &BTreeMap::new()));
}

#[test]
fn the_code_is_that_of_the_description() {
    let description = parse(DESCRIPTION);
    assert_eq!(hex::encode(CREATION_CODE), description["bytecode"]);
    let deployed = hex::decode(description["deployedBytecode"].as_str().unwrap()).unwrap();
    assert_eq!(keccak256(&deployed), bytes(&description["codeHash"]));
    assert_eq!(hex::encode(code_hash()), description["codeHash"], "set CODE_HASH to {:#04x?}", keccak256(&deployed));
}

#[test]
fn creation_code_ends_with_the_constructors_arguments() {
    let signers = signer_set(1, 2, &[account(3), account(1), account(2)]);
    let limits = VaultLimits { cap: usdt(50), push_fee: usdt(6) };
    let creation = Creation {
        token: account(4),
        owner: account(5),
        signers: &signers,
        limits,
        period: 3_600,
        delay: 86_400,
        previous: None,
    };
    let code = creation_code(&creation);
    let (start, arguments) = code.split_at(CREATION_CODE.len());
    assert_eq!(start, CREATION_CODE);
    let address = |n| address::to_word(&account(n));
    let expected = [
        address(4),
        address(5),
        word_of(9 * 32),
        word_of(2),
        word_of(50),
        word_of(6),
        word_of(3_600),
        word_of(86_400),
        [0; 32],
        word_of(3),
        address(3),
        address(1),
        address(2),
    ];
    assert_eq!(arguments, expected.as_flattened());
    let code = creation_code(&Creation { previous: Some(account(6)), ..creation });
    assert_eq!(code[CREATION_CODE.len() + 8 * 32..][..32], address(6));
}

#[test]
fn every_call_is_of_a_function_of_the_vault() {
    let signers = signer_set(1, 1, &[account(1)]);
    let limits = VaultLimits { cap: usdt(1), push_fee: usdt(1) };
    let none = BTreeMap::new();
    let calls = [
        post_root(&root(), &none),
        pay_range(1, 0, &[], &[]),
        pay(1, &[]),
        snapshot(&[]),
        set_signers(&signers, &none),
        set_limits(&limits, &none),
        pause(),
        unpause(),
        close(),
        ask_withdrawal(&account(1), usdt(1)),
        cancel(),
        withdraw(),
    ];
    let functions: BTreeMap<_, _> = described("function").into_iter().map(|name| (selector(&name), name)).collect();
    let called: BTreeSet<_> =
        calls.iter().map(|data| functions.get(&data[..4]).unwrap_or_else(|| panic!("{}", hex::encode(data)))).collect();
    assert_eq!(called.len(), calls.len());
}

fn words(data: &[u8]) -> Vec<Word> {
    let (words, rest) = data[4..].as_chunks();
    assert!(rest.is_empty());
    words.to_vec()
}

#[test]
fn a_posted_root_has_its_signatures_by_ascending_signer() {
    let signatures = BTreeMap::from([
        (account(9), TreasurySignature::from_bytes([0x99; 65])),
        (account(1), TreasurySignature::from_bytes([0x11; 65])),
    ]);
    let data = words(&post_root(&root(), &signatures));
    let fixed =
        [word_of(7), [0xaa; 32], word_of(100), word_of(5), address::to_word(&account(8)), word_of(1_800_000_000)];
    assert_eq!(data[..6], fixed);
    assert_eq!(data[6..8], [word_of(7 * 32), word_of(130)]);
    assert_eq!(data[8..].as_flattened()[..130], [[0x11; 65], [0x99; 65]].concat());
    assert_eq!(data[8..].as_flattened()[130..], [0; 30]);
}

#[test]
fn payments_carry_items_and_proofs() {
    let accounts: Vec<_> = (1..=5)
        .map(|n| OwedAccount { id: AccountId::from_bytes([n; 32]), to: account(n), owed: usdt(n.into()) })
        .collect();
    let tree = PayoutTree::new(&accounts).unwrap();
    let proof = tree.range_proof(1, 2).unwrap();
    let item = |n: u8| [[n; 32], address::to_word(&account(n)), word_of(n.into())];
    let hashes = |proof: &[TreeHash]| proof.iter().map(|hash| *hash.as_bytes()).collect::<Vec<_>>();
    let expected = [
        vec![word_of(7), word_of(1), word_of(4 * 32), word_of(11 * 32), word_of(2)],
        item(2).to_vec(),
        item(3).to_vec(),
        vec![word_of(u64::try_from(proof.len()).unwrap())],
        hashes(&proof),
    ];
    assert_eq!(words(&pay_range(7, 1, &accounts[1..3], &proof)), expected.concat());
    let single = tree.range_proof(4, 1).unwrap();
    assert_eq!(single.len(), 3);
    let claim = words(&pay(7, &[(accounts[4], single.clone())]));
    let expected = [
        vec![word_of(7), word_of(3 * 32), word_of(7 * 32), word_of(1)],
        item(5).to_vec(),
        // One list, which begins after its own offset.
        vec![word_of(1), word_of(32), word_of(3)],
        hashes(&single),
    ];
    assert_eq!(claim, expected.concat());
}

#[test]
fn every_error_of_the_vault_is_known_and_explained() {
    assert_eq!(VaultRevert::signatures().into_iter().collect::<BTreeSet<_>>(), described("error"));
    let mut texts = BTreeSet::new();
    for signature in VaultRevert::signatures() {
        let n_arguments = if signature.contains("()") { 0 } else { signature.matches(',').count() + 1 };
        let mut data = selector(&signature).to_vec();
        data.extend([word_of(3), word_of(4)][..n_arguments].as_flattened());
        let revert = VaultRevert::decode(&data).unwrap_or_else(|| panic!("{signature}"));
        texts.insert(revert.to_string());
        assert_eq!(VaultRevert::decode(&[data.as_slice(), &[0]].concat()), None, "a byte more");
        if n_arguments > 0 {
            assert_eq!(VaultRevert::decode(&data[..data.len() - 1]), None, "a byte less");
        }
    }
    assert_eq!(texts.len(), described("error").len());
    let stale = |n| VaultRevert::decode(&[&selector("Stale(uint64)")[..], &word_of(n)].concat()).unwrap();
    assert!(stale(0).to_string().contains("no root is posted"));
    assert!(stale(5).to_string().contains("settlement 5"));
    let nothing = |n| VaultRevert::decode(&[&selector("NothingPaid(uint8)")[..], &word_of(n)].concat());
    assert_eq!(nothing(3), Some(VaultRevert::NothingPaid(Skip::OverCap)));
    assert_eq!(nothing(6), None);
    for data in [&[][..], &[0; 4], &selector("Error(string)"), &selector("NotOwner()")[..3]] {
        assert_eq!(VaultRevert::decode(data), None);
    }
}

fn log(signature: &str, indexed: &[Word], data: &[Word]) -> Log {
    let topics = [&[keccak256(signature.as_bytes())], indexed].concat();
    Log { address: account(9), topics, data: data.as_flattened().to_vec() }
}

#[test]
fn every_event_of_the_vault_is_known() {
    assert_eq!(VaultEvent::signatures().into_iter().collect::<BTreeSet<_>>(), described("event"));
    let description = parse(DESCRIPTION);
    for event in list(&description["abi"]).iter().filter(|entry| entry["type"] == "event") {
        // The decoder takes the indexed fields for the first ones.
        let indexed = list(&event["inputs"]).iter().map(|input| input["indexed"] == json!(true));
        assert!(indexed.is_sorted_by(|a, b| a >= b), "{event}");
    }
}

#[test]
fn events_are_read() {
    let (id, to) = ([7; 32], address::to_word(&account(4)));
    let posted = log(
        "RootPosted(uint64,bytes32,uint64,uint64,address,uint64)",
        &[word_of(12)],
        &[[0xaa; 32], word_of(100), word_of(5), to, word_of(99)],
    );
    assert_eq!(
        VaultEvent::decode(&posted),
        Some(VaultEvent::RootPosted {
            settlement: 12,
            root: PayoutRoot::from_bytes([0xaa; 32]),
            total: usdt(100),
            fees: usdt(5),
            leader: Some(account(4)),
            until: 99,
        })
    );
    let paid = log("Paid(bytes32,address,uint256,uint256)", &[id, to], &[word_of(3), word_of(10)]);
    let expected = VaultEvent::Paid { id: AccountId::from_bytes(id), to: account(4), amount: usdt(3), owed: usdt(10) };
    assert_eq!(VaultEvent::decode(&paid), Some(expected));
    let skipped = log("Skipped(bytes32,uint8)", &[id], &[word_of(4)]);
    let expected = VaultEvent::Skipped { id: AccountId::from_bytes(id), reason: Skip::NoFunds };
    assert_eq!(VaultEvent::decode(&skipped), Some(expected));
    let signers = |n: u64, list: &[Word]| {
        let data = [&[word_of(2), word_of(64), word_of(n)], list].concat();
        VaultEvent::decode(&log("SignersChanged(uint32,uint256,address[])", &[word_of(3)], &data))
    };
    let expected = VaultEvent::SignersChanged { era: 3, threshold: 2, signers: vec![account(4), account(4)] };
    assert_eq!(signers(2, &[to, to]), Some(expected));
    assert_eq!((signers(3, &[to, to]), signers(1, &[to, to]), signers(u64::MAX, &[to])), (None, None, None));
    assert_eq!(VaultEvent::decode(&log("Unpaused()", &[], &[])), Some(VaultEvent::Unpaused));
    let for_ever = log("SignerPaused(address,uint64)", &[to], &[word_of(u64::MAX)]);
    let expected = VaultEvent::SignerPaused { signer: account(4), until: u64::MAX };
    assert_eq!(VaultEvent::decode(&for_ever), Some(expected));
}

#[test]
fn what_is_no_event_of_a_vault_is_none() {
    let to = address::to_word(&account(4));
    for other in [
        log("Transfer(address,address,uint256)", &[to, to], &[word_of(1)]),
        log("Paid(bytes32,address,uint256,uint256)", &[[7; 32]], &[word_of(3), word_of(10)]),
        log("Paid(bytes32,address,uint256,uint256)", &[[7; 32], to], &[word_of(3), [0xff; 32]]),
        log("Paid(bytes32,address,uint256,uint256)", &[[7; 32], [0xff; 32]], &[word_of(3), word_of(3)]),
        log("Unpaused()", &[], &[word_of(1)]),
        Log { address: account(9), topics: vec![], data: vec![] },
    ] {
        assert_eq!(VaultEvent::decode(&other), None, "{other:?}");
    }
}

/// What the vault returns, by the interface's order of fields.
fn returned(paid: &[u64]) -> Vec<Word> {
    let address = |n| address::to_word(&account(n));
    let mut data = vec![word_of(32)];
    data.extend([7, 100, 5, 3, 2, 2].map(word_of));
    data.push([0xaa; 32]);
    data.extend([address(8), word_of(1_000)]);
    data.extend([50, 6].map(word_of));
    data.extend([0, 0, 0, 0b101, 0b100, 0b001].map(word_of));
    data.extend([[0; 32], word_of(0), word_of(0)]);
    data.extend([60, 4, 20, 3].map(word_of));
    data.push(word_of(77));
    data.extend([address(1), address(2), [0; 32]]);
    data.extend([100, 200].map(word_of));
    data.push(word_of(31 * 32));
    data.push(word_of(u64::try_from(paid.len()).unwrap()));
    data.extend(paid.iter().map(|n| word_of(*n)));
    data
}

fn id(n: u8) -> AccountId {
    AccountId::from_bytes([n; 32])
}

fn decode(data: &[Word], ids: &[AccountId]) -> Result<VaultSnapshot, SnapshotError> {
    VaultSnapshot::decode(data.as_flattened(), ids)
}

#[test]
fn a_snapshot_is_read_to_the_last_field() {
    let ids = [id(9), id(1)];
    let expected = VaultSnapshot {
        settlement: 7,
        total: usdt(100),
        fees: usdt(5),
        era: 3,
        nonce: 2,
        threshold: 2,
        root: Some(PayoutRoot::from_bytes([0xaa; 32])),
        leader: Some(account(8)),
        until: 1_000,
        limits: VaultLimits { cap: usdt(50), push_fee: usdt(6) },
        owner_pause_from: 0,
        signer_pause_until: 0,
        close_from: 0,
        pauses_used: 0b101,
        pausing: 0b100,
        lifting: 0b001,
        withdrawal: None,
        paid_out: usdt(60),
        fees_paid: usdt(4),
        spent: usdt(20),
        window: 3,
        funds: usdt(77),
        token: account(1),
        owner: account(2),
        previous: None,
        period: 100,
        delay: 200,
        paid: BTreeMap::from([(id(9), usdt(40)), (id(1), usdt(20))]),
    };
    assert_eq!(decode(&returned(&[40, 20]), &ids), Ok(expected));
    assert!(decode(&returned(&[]), &[]).unwrap().paid.is_empty());
    let mut asked = returned(&[1]);
    (asked[18], asked[19], asked[20]) = (address::to_word(&account(5)), word_of(30), word_of(900));
    asked[25] = [0xff; 32];
    let snapshot = decode(&asked, &[id(1)]).unwrap();
    assert_eq!(snapshot.withdrawal, Some(Withdrawal { to: account(5), amount: usdt(30), from: 900 }));
    assert_eq!(snapshot.funds, usdt(u64::MAX));
    let mut new = returned(&[1]);
    (new[7], new[8]) = ([0; 32], [0; 32]);
    let snapshot = decode(&new, &[id(1)]).unwrap();
    assert_eq!((snapshot.root, snapshot.leader), (None, None));
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let good = returned(&[40, 20]);
    let ids = [id(9), id(1)];
    for (data, ids) in [(&good[..], &ids[..1]), (&good, &[id(1); 3]), (&good[..34], &ids), (&[], &ids), (&[], &[])] {
        assert!(matches!(decode(data, ids), Err(SnapshotError::Length { .. })), "{} {}", data.len(), ids.len());
    }
    assert!(VaultSnapshot::decode(&good.as_flattened()[1..], &ids).is_err());
    // Words that hold anything: the root, and the balance of a token that says what it likes.
    let free = [7, 25];
    for at in (0..good.len()).filter(|at| !free.contains(at)) {
        let mut wrong = good.clone();
        wrong[at] = [0xff; 32];
        assert!(matches!(decode(&wrong, &ids), Err(SnapshotError::Field(_))), "word {at}");
    }
    for (at, n) in [(0, 64), (31, 32), (32, 1), (32, 3)] {
        let mut wrong = good.clone();
        wrong[at] = word_of(n);
        assert!(decode(&wrong, &ids).is_err(), "word {at}");
    }
}

#[test]
fn pauses_closing_and_what_is_left_are_as_the_vault_counts() {
    let snapshot = decode(&returned(&[]), &[]).unwrap();
    assert!(!snapshot.is_paused(0) && !snapshot.is_closed(u64::MAX));
    let paused = VaultSnapshot { signer_pause_until: 10, ..snapshot.clone() };
    assert_eq!((paused.is_paused(9), paused.is_paused(10)), (true, false));
    let paused = VaultSnapshot { owner_pause_from: 10, ..snapshot.clone() };
    assert_eq!((paused.is_paused(9), paused.is_paused(10)), (false, true));
    let closing = VaultSnapshot { close_from: 10, ..snapshot.clone() };
    assert_eq!((closing.is_closed(9), closing.is_closed(10)), (false, true));
    assert_eq!(snapshot.left_of_total(), usdt(100 - 60 - 4));
    let lowered = VaultSnapshot { total: usdt(63), ..snapshot.clone() };
    assert_eq!(lowered.left_of_total(), MicroUsdt::ZERO);
    // Window 3 of a period of 100 s.
    for (now, left) in [(299, 50), (300, 30), (399, 30), (400, 50)] {
        assert_eq!(snapshot.left_of_cap(now), usdt(left), "{now}");
    }
    assert_eq!(VaultSnapshot { spent: usdt(51), ..snapshot }.left_of_cap(300), MicroUsdt::ZERO);
}

/// What a vault says that has paid out so much, and what these accounts have had.
fn saying(paid_out: u64, paid: &[(u8, u64)]) -> VaultSnapshot {
    let paid = paid.iter().map(|(account, paid)| (id(*account), usdt(*paid))).collect();
    VaultSnapshot { paid_out: usdt(paid_out), paid, ..decode(&returned(&[]), &[]).unwrap() }
}

#[test]
fn a_part_makes_a_snapshot_newer_if_the_sums_say_that_nobody_else_was_paid() {
    let old = saying(60, &[(1, 20), (2, 40), (3, 0)]);
    for (newer, expected) in [
        // Nothing happened; somebody was paid; two were; one who had nothing was.
        (saying(60, &[]), Some([20, 40, 0])),
        (saying(65, &[(1, 25)]), Some([25, 40, 0])),
        (saying(72, &[(1, 25), (2, 47)]), Some([25, 47, 0])),
        (saying(69, &[(3, 9)]), Some([20, 40, 9])),
        (saying(65, &[(1, 25), (2, 40), (3, 0)]), Some([25, 40, 0])),
        // Somebody else was paid, too; somebody alone whom nobody asked for.
        (saying(66, &[(1, 25)]), None),
        (saying(61, &[]), None),
        // Less was paid out than accounts got, or less than before: another vault or a liar.
        (saying(64, &[(1, 25)]), None),
        (saying(59, &[]), None),
        (saying(60, &[(1, 15), (2, 45)]), None),
    ] {
        let told = newer.paid.clone();
        let advanced = old.advanced(newer);
        let found = advanced.map(|whole| [1, 2, 3].map(|account| whole.paid_of(&id(account)).unwrap().get()));
        assert_eq!(found, expected, "{told:?}");
    }
}

#[test]
fn an_advanced_snapshot_has_the_newer_ones_state_and_everybodys_payments() {
    let old = saying(60, &[(1, 20), (2, 40)]);
    let newer = VaultSnapshot { settlement: 8, funds: usdt(9), ..saying(61, &[(2, 41)]) };
    let whole = old.advanced(newer.clone()).unwrap();
    assert!(whole.is_same_state(&newer) && !whole.is_same_state(&old));
    assert_eq!(whole.paid, BTreeMap::from([(id(1), usdt(20)), (id(2), usdt(41))]));
    // A new account has had nothing, or what it had before is in both sums.
    let with_new = old.advanced(saying(60, &[(3, 7)])).unwrap();
    assert_eq!(with_new.paid, BTreeMap::from([(id(1), usdt(20)), (id(2), usdt(40)), (id(3), usdt(7))]));
    // If it was paid meanwhile, that is not in what is known.
    assert_eq!(old.advanced(saying(67, &[(3, 7)])), None);
    assert_eq!(old.advanced(saying(u64::MAX, &[(1, u64::MAX)])), None, "sums do not overflow");
    assert_eq!(whole.of(&[id(2), id(9)]).paid, BTreeMap::from([(id(2), usdt(41))]), "of those that are known");
}

proptest! {
    /// Whoever is paid and whoever is asked for: what comes out is the truth, or nothing.
    #[test]
    fn what_is_advanced_is_what_the_vault_would_have_said(
        before in prop::collection::vec(0..50_u64, 6), gets in prop::collection::vec(0..4_u64, 6),
        known in 0..64_u8, asked in 0..64_u8,
    ) {
        let is_in = |set: u8, account: u8| set & (1 << account) != 0;
        let state = |paid: &[u64], set: u8| {
            let of: Vec<_> = (0..6).zip(paid).filter(|(n, _)| is_in(set, *n)).map(|(n, paid)| (n, *paid)).collect();
            saying(paid.iter().sum(), &of)
        };
        let after: Vec<_> = before.iter().zip(&gets).map(|(had, gets)| had + gets).collect();
        let advanced = state(&before, known).advanced(state(&after, asked));
        let is_told = (0..6).zip(&gets).all(|(n, gets)| *gets == 0 || is_in(known & asked, n));
        prop_assert_eq!(advanced, is_told.then(|| state(&after, known | asked)));
    }
}
