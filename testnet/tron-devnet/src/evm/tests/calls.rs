//! Calls, creations and self-destructions: who, where, and what is listed about them.

use super::*;

#[test]
fn created_addresses_follow_trons_rules() {
    // The transaction's id and the count of inner transactions before it (none); on the stack, with the prefix.
    let named = |nonce: u64| {
        let preimage = [ROOT.as_slice(), &nonce.to_be_bytes()].concat();
        Address::from_word(keccak256(preimage))
    };
    assert_eq!(word("63600a5ff3 5f 52 6004 601c 5f f0"), with_prefix(named(0)));
    // A call counts, one of a precompiled contract does not.
    assert_eq!(word("5f 5f 5f 5f 60c1 5a fa 63600a5ff3 5f 52 6004 601c 5f f0"), with_prefix(named(1)));
    assert_eq!(word("5f 5f 5f 5f 6004 5a fa 63600a5ff3 5f 52 6004 601c 5f f0"), with_prefix(named(0)));
    // So does a call that failed, with those inside it.
    let helper = "5f 5f 5f 5f 60dd 5a fa fe";
    assert_eq!(word_with("5f 5f 5f 5f 60c1 61ffff fa 63600a5ff3 5f 52 6004 601c 5f f0", helper), with_prefix(named(2)));
    let salt = U256::from(5).to_be_bytes::<32>();
    let code_hash = keccak256(bytes("600a5ff3"));
    let preimage = [&[0x41], CONTRACT.as_slice(), &salt, code_hash.as_slice()].concat();
    let created = Address::from_word(keccak256(preimage));
    assert_eq!(word("63600a5ff3 5f 52 6005 6004 601c 5f f5"), with_prefix(created));
}

#[test]
fn an_address_can_be_paid_before_its_contract_is_made() {
    let code = bytes("63600a5ff3 5f 52 6005 6004 601c 5f f5 5f 52 6020 5f f3");
    let at = |outcome: &Outcome| Address::from_word(B256::from_slice(&outcome.output));
    let address = at(&call_on(&state(&code, &[]), PLENTY));
    for balance in [0, 77] {
        let mut paid = state(&code, &[]);
        paid.set_account(address, Some(Account { balance, ..Account::new(0) }));
        let outcome = call_on(&paid, PLENTY);
        assert_eq!(at(&outcome), address);
        assert_eq!(outcome.changes.get(&address).unwrap().info.balance, U256::from(balance));
        // A contract in the way is one, even without code.
        add_contract(&mut paid, address, &[]);
        let outcome = call_on(&paid, PLENTY);
        assert_eq!(at(&outcome), Address::ZERO);
        assert!(outcome.internal[0].rejected && outcome.energy > PLENTY - PLENTY / 60);
    }
    // Twice in a transaction, also if the first has no code.
    for init in ["63600a5ff3", "6300000000"] {
        let again = format!("{init} 5f 52 6005 6004 601c 5f f5 6005 6004 601c 5f f5 5f 52 6020 5f f3");
        assert_eq!(at(&call_on(&state(&bytes(&again), &[]), PLENTY)), Address::ZERO);
    }
    // An attempt that fails leaves the account that was there.
    let mut paid = state(&bytes("63 fe000000 5f 52 6005 6004 601c 5f f5 50 60dd ff"), &[]);
    let salt = U256::from(5).to_be_bytes::<32>();
    let preimage = [&[0x41], CONTRACT.as_slice(), &salt, keccak256(bytes("fe000000")).as_slice()].concat();
    let address = Address::from_word(keccak256(preimage));
    paid.set_account(address, Some(Account::new(0)));
    assert!(!call_on(&paid, PLENTY).changes.get(&address).unwrap().info.is_empty());
}

#[test]
fn a_contract_is_one_from_the_beginning() {
    // Init code that returns, as its code, whether it is a contract: ADDRESS ISCONTRACT PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
    let at = Address::with_last_byte(0xee);
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &bytes("30 d4 5f 52 6020 5f f3"), PLENTY);
    assert_eq!(outcome.output[31], 1);
    // One without code is one as well.
    assert_eq!(word("5f 5f 5f f0 d4"), U256::from(1));
    assert_eq!(word("60dd d4"), U256::ZERO);
}

#[test]
fn return_data_outlasts_create2() {
    // Its answer goes to byte 64, where it is in nobody's way.
    let sha256 = "5f 6040 5f 5f 6002 5a fa 50";
    assert_eq!(word(&format!("{sha256} 3d")), U256::from(32));
    assert_eq!(word(&format!("{sha256} 5f 5f 5f f0 50 3d")), U256::ZERO, "not CREATE");
    assert_eq!(word(&format!("{sha256} 5f 5f 5f 5f f5 50 3d")), U256::from(32));
    // A revert's reason replaces it: init code PUSH1 2 PUSH0 REVERT.
    assert_eq!(word(&format!("63 60025ffd 5f 52 {sha256} 5f 6004 601c 5f f5 50 3d")), U256::from(2));
}

#[test]
fn calls_nest_64_deep() {
    // Calls itself, and returns how many calls below it succeeded plus one.
    let code = bytes("60205f5f5f5f305af15060015f51015f5260205ff3");
    let outcome = call_on(&state(&code, &[]), 1_000_000_000);
    assert_eq!(U256::from_be_slice(&outcome.output), U256::from(65), "64 below the first");
    assert_eq!(outcome.internal.len(), 64);
}

#[test]
fn inner_transactions_of_what_was_taken_back_are_rejected() {
    // The helper calls nobody and reverts; the contract calls it, then calls nobody itself.
    let outcome = run_with("5f5f5f5f5f60c15af15f5f5f5f5f60de5af1", "5f5f5f5f5f60dd5af15f5ffd");
    let seen: Vec<(u8, bool)> = outcome.internal.iter().map(|i| (i.to[19], i.rejected)).collect();
    assert_eq!(seen, [(0xc1, true), (0xdd, true), (0xde, false)]);
    let failed = run("5f5f5f5f5f60c15af1 fe");
    assert!(failed.internal[0].rejected);
}

fn hash(parent: B256, to: Option<Address>, data: &[u8], value: u64, nonce: u64) -> B256 {
    let wire = to.map(|to| crate::address::to_wire(to).to_vec()).unwrap_or_default();
    keccak256([parent.as_slice(), &wire, data, &value.to_be_bytes(), &nonce.to_be_bytes()].concat())
}

#[test]
fn inner_transactions_are_named_by_their_place() {
    // A call with 3 sun and one byte of data, inside it one without, then one that cannot be paid for, then a creation.
    let code = "60aa 5f 53 5f 5f 6001 5f 6003 60c1 5a f1 5f 5f 5f 5f 640100000000 60c1 5a f1 6001 5f 5f f0";
    let outcome = run_with(code, "5f 5f 5f 5f 5f 60dd 5a f1");
    assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
    let first = hash(ROOT, Some(HELPER), &[0xaa], 3, 1);
    let second = hash(first, Some(NOBODY), &[], 0, 2);
    let third = hash(ROOT, None, &[0xaa], 0, 3);
    let seen: Vec<B256> = outcome.internal.iter().map(|i| i.hash).collect();
    assert_eq!(seen, [first, second, third], "{outcome:?}");
}

#[test]
fn delegated_calls_are_listed_as_to_oneself() {
    for (code, value) in [("5f 5f 5f 5f 60c1 5a f4", 0), ("5f 5f 5f 5f 6003 60c1 5a f2", 3)] {
        let outcome = run(code);
        let inner = &outcome.internal[0];
        assert_eq!((inner.caller, inner.to, inner.value, inner.note), (CONTRACT, CONTRACT, value, "call"));
    }
}

#[test]
fn self_destruction_hands_over_and_destroys_only_the_new() {
    let outcome = run("60dd ff");
    let (gone, beneficiary) = (outcome.changes.get(&CONTRACT).unwrap(), outcome.changes.get(&NOBODY).unwrap());
    assert!(!gone.is_selfdestructed() && gone.info.balance.is_zero());
    assert_eq!(beneficiary.info.balance, U256::from(1_000_000));
    let inner = &outcome.internal[0];
    assert_eq!((inner.caller, inner.to, inner.value, inner.note), (CONTRACT, NOBODY, 1_000_000, "suicide"));
    assert_eq!(inner.hash, hash(ROOT, Some(NOBODY), &[], 1_000_000, 1));
    // In its own favour it keeps what it has, and the instruction is listed all the same.
    let outcome = run("30 ff");
    assert_eq!(outcome.changes.get(&CONTRACT).unwrap().info.balance, U256::from(1_000_000));
    assert_eq!((outcome.internal[0].to, outcome.internal[0].rejected), (CONTRACT, false));
    // One that the transaction made goes: init code CALLER SELFDESTRUCT, with 5 sun.
    let outcome = run("6133ff 5f 52 6002 601e 6005 f0");
    let made = outcome.internal[0].to;
    assert!(outcome.changes.get(&made).unwrap().is_selfdestructed());
    assert_eq!(outcome.changes.get(&CONTRACT).unwrap().info.balance, U256::from(1_000_000));
}

#[test]
fn a_call_can_name_a_token_and_send_none_of_it() {
    // The helper answers CALLTOKENID and CALLTOKENVALUE.
    let helper = "d3 5f 52 d2 6020 52 6040 5f f3";
    let code = "6040 5f 5f 5f 620f4241 5f 60c1 5a d0";
    assert_eq!(word_with(&format!("{code} 50 5f 51"), helper), U256::from(1_000_001));
    assert_eq!(word_with(code, helper), U256::from(1));
    // So can the transaction itself.
    let named = state(&bytes(helper), &[]);
    let db = StateDb { state: &named, layer: NEWEST, block_ids: &[] };
    let request = Request { token_id: 1_000_002, ..request(Kind::Call(CONTRACT), &[], PLENTY) };
    let outcome = execute(db, block(), HashMap::default(), request);
    assert_eq!(U256::from_be_slice(&outcome.output[..32]), U256::from(1_000_002));
    // Nobody has any to send.
    assert_eq!(word_with("6040 5f 5f 5f 620f4241 6001 60c1 5a d0", helper), U256::ZERO);
    assert!(run_with("6040 5f 5f 5f 620f4241 6001 60c1 5a d0", helper).internal.is_empty());
    assert_eq!(word("30 620f4241 d1"), U256::ZERO);
}

#[test]
fn staking_finds_no_stakes() {
    // (code, answer, what is listed: note, recipient, value, rejected)
    type Listed = Option<(&'static str, Address, u64, bool)>;
    let table: [(&str, u64, Listed); 11] = [
        ("60dd 6007 5f d5", 0, None),
        ("60dd 5f d7", 0, None),
        ("60dd 5f d6", 0, Some(("unfreezeForBandwidth", NOBODY, 0, true))),
        ("60dd 6001 d6", 0, Some(("unfreezeForEnergy", NOBODY, 0, true))),
        ("d9", 0, Some(("withdrawReward", CONTRACT, 0, false))),
        ("6007 6001 db", 0, Some(("unfreezeBalanceV2ForEnergy", CONTRACT, 7, true))),
        ("6007 6002 db", 0, Some(("unfreezeBalanceV2ForTronPower", CONTRACT, 7, true))),
        ("dc", 1, Some(("cancelAllUnfreezeV2", CONTRACT, 0, false))),
        ("dd", 0, Some(("withdrawExpireUnfreeze", CONTRACT, 0, false))),
        ("60dd 6007 5f de", 0, Some(("delegateResourceOfBandwidth", NOBODY, 7, true))),
        ("60dd 6007 6009 df", 0, Some(("unDelegateResourceOfUnknownType", NOBODY, 7, true))),
    ];
    for (code, answer, listed) in table {
        assert_eq!(word(code), U256::from(answer), "{code}");
        let outcome = run(code);
        let seen = outcome.internal.first().map(|i| (i.note, i.to, i.value, i.rejected));
        assert_eq!(seen, listed, "{code}");
        assert!(outcome.internal.iter().all(|i| i.caller == CONTRACT && tx::NOTES.contains(&i.note)), "{code}");
    }
}
