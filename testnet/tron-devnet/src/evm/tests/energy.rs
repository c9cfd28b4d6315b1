//! `EnergyCost` and `OperationRegistry`, rule by rule.

use std::collections::BTreeSet;

use super::*;
use crate::evm::table::RULES;

// The tiers of `EnergyCost`.
const ZERO: u64 = 0;
const BASE: u64 = 2;
const VERY_LOW: u64 = 3;
const LOW: u64 = 5;
const MID: u64 = 8;
const HIGH: u64 = 10;
const EXT: u64 = 20;
const SPECIAL: u64 = 1;

/// Instruction, what is on the stack before it, what comes after it, and what they cost without what comes before.
#[rustfmt::skip]
const PRICES: &[(u8, &str, &str, u64)] = &[
    (0x00, "", "", ZERO),
    (0x01, "6001 6002", "", VERY_LOW),
    (0x02, "6001 6002", "", LOW),
    (0x03, "6001 6002", "", VERY_LOW),
    (0x04, "6001 6002", "", LOW),
    (0x05, "6001 6002", "", LOW),
    (0x06, "6001 6002", "", LOW),
    (0x07, "6001 6002", "", LOW),
    (0x08, "6001 6002 6003", "", MID),
    (0x09, "6001 6002 6003", "", MID),
    (0x0a, "5f 6002", "", 10),
    (0x0a, "61ffff 6002", "", 10 + 2 * 10),
    (0x0a, "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff 6002", "", 10 + 32 * 10),
    (0x0b, "6001 6002", "", LOW),
    (0x10, "6001 6002", "", VERY_LOW),
    (0x11, "6001 6002", "", VERY_LOW),
    (0x12, "6001 6002", "", VERY_LOW),
    (0x13, "6001 6002", "", VERY_LOW),
    (0x14, "6001 6002", "", VERY_LOW),
    (0x15, "6001", "", VERY_LOW),
    (0x16, "6001 6002", "", VERY_LOW),
    (0x17, "6001 6002", "", VERY_LOW),
    (0x18, "6001 6002", "", VERY_LOW),
    (0x19, "6001", "", VERY_LOW),
    (0x1a, "6001 6002", "", VERY_LOW),
    (0x1b, "6001 6002", "", VERY_LOW),
    (0x1c, "6001 6002", "", VERY_LOW),
    (0x1d, "6001 6002", "", VERY_LOW),
    // SHA3: 30, 6 for each word, memory.
    (0x20, "5f 5f", "", 30),
    (0x20, "6021 5f", "", 30 + 2 * 6 + 2 * 3),
    (0x30, "", "", BASE),
    (0x31, "30", "", 20),
    (0x32, "", "", BASE),
    (0x33, "", "", BASE),
    (0x34, "", "", BASE),
    (0x35, "5f", "", VERY_LOW),
    (0x36, "", "", BASE),
    // Copies into memory have no price of their own: 3 for each word, and the memory.
    (0x37, "5f 5f 5f", "", 0),
    (0x37, "6020 5f 5f", "", 3 + 3),
    (0x38, "", "", BASE),
    (0x39, "6021 5f 5f", "", 2 * 3 + 2 * 3),
    (0x3a, "", "", BASE),
    (0x3b, "30", "", 20),
    // EXTCODECOPY has one.
    (0x3c, "6020 5f 5f 30", "", 20 + 3 + 3),
    (0x3d, "", "", BASE),
    (0x3e, "5f 5f 5f", "", 0),
    (0x3f, "30", "", 400),
    (0x40, "5f", "", EXT),
    (0x41, "", "", BASE),
    (0x42, "", "", BASE),
    (0x43, "", "", BASE),
    (0x44, "", "", BASE),
    (0x45, "", "", BASE),
    (0x46, "", "", BASE),
    (0x47, "", "", LOW),
    (0x48, "", "", BASE),
    (0x49, "5f", "", VERY_LOW),
    (0x4a, "", "", BASE),
    (0x50, "5f", "", BASE),
    // The higher CPU limit brought 1 for each of these; memory is apart.
    (0x51, "5f", "", SPECIAL + 3),
    (0x51, "5f 51 5f", "", SPECIAL),
    (0x52, "6001 5f", "", SPECIAL + 3),
    (0x53, "6001 5f", "", SPECIAL + 3),
    (0x53, "6001 6020", "", SPECIAL + 2 * 3),
    (0x54, "5f", "", 50),
    (0x54, "5f 54 5f", "", 50),
    (0x55, "6001 5f", "", 20_000),
    (0x55, "5f 5f", "", 5_000),
    (0x56, "6003", "5b", MID + SPECIAL),
    (0x57, "6001 6005", "5b", HIGH + SPECIAL),
    (0x57, "5f 5f", "", HIGH),
    (0x58, "", "", BASE),
    (0x59, "", "", BASE),
    (0x5a, "", "", BASE),
    (0x5b, "", "", SPECIAL),
    (0x5c, "5f", "", 100),
    (0x5d, "5f 5f", "", 100),
    // MCOPY: 3, 3 for each word, and memory up to the farther end.
    (0x5e, "6020 5f 5f", "", VERY_LOW + 3 + 3),
    (0x5e, "6020 6020 5f", "", VERY_LOW + 3 + 2 * 3),
    (0x5e, "6020 5f 6020", "", VERY_LOW + 3 + 2 * 3),
    (0x5e, "5f 61ffff 61ffff", "", VERY_LOW),
    (0x5f, "", "", BASE),
    // A call with a token and nothing sent.
    (0xd0, "5f 5f 5f 5f 620f4241 5f 60c1 5a", "", 40),
    (0xd1, "30 620f4241", "", 20),
    (0xd2, "", "", BASE),
    (0xd3, "", "", BASE),
    (0xd4, "30", "", 20),
    (0xd5, "30 5f 5f", "", 20_000),
    (0xd5, "60dd 5f 5f", "", 20_000 + 25_000),
    (0xd6, "30 5f", "", 20_000),
    (0xd7, "30 5f", "", 50),
    (0xd9, "", "", 20_000),
    (0xdb, "5f 5f", "", 10_000),
    (0xdc, "", "", 10_000),
    (0xdd, "", "", 10_000),
    (0xde, "30 5f 5f", "", 10_000),
    (0xdf, "30 5f 5f", "", 10_000),
    (0xf0, "5f 5f 5f", "", 32_000),
    // Init code of a zero byte, in one word of memory.
    (0xf0, "6001 5f 5f", "", 32_000 + 3),
    (0xf1, "5f 5f 5f 5f 5f 60c1 5a", "", 40),
    // The farther of input and output counts, once.
    (0xf1, "6040 5f 6020 5f 5f 60c1 5a", "", 40 + 2 * 3),
    (0xf2, "5f 5f 5f 5f 5f 60c1 5a", "", 40),
    (0xf3, "6020 5f", "", 3),
    (0xf4, "5f 5f 5f 5f 60c1 5a", "", 40),
    // CREATE2 hashes its init code: 6 for each word.
    (0xf5, "5f 6021 5f 5f", "", 32_000 + 2 * 3 + 2 * 6),
    (0xfa, "5f 5f 5f 5f 60c1 5a", "", 40),
    (0xfd, "6020 5f", "", 3),
    (0xff, "60c1", "", 5_000),
    (0xff, "60dd", "", 5_000 + 25_000),
    (0xff, "30", "", 5_000),
];

fn check(op: u8, before: &str, after: &str, wanted: u64) {
    let without = energy(before);
    assert_eq!(energy(&format!("{before} {op:02x} {after}")) - without, wanted, "{before} {op:02x}");
}

#[test]
fn every_instruction_has_its_price() {
    let mut seen = BTreeSet::new();
    for (op, before, after, wanted) in PRICES {
        check(*op, before, after, *wanted);
        seen.insert(*op);
    }
    let full = "5f".repeat(17);
    for n in 0..32 {
        check(0x60 + n, "", &"00".repeat(usize::from(n) + 1), VERY_LOW);
        seen.insert(0x60 + n);
    }
    for n in 0..16 {
        check(0x80 + n, &full, "", VERY_LOW);
        check(0x90 + n, &full, "", VERY_LOW);
        seen.extend([0x80 + n, 0x90 + n]);
    }
    for n in 0..=4u8 {
        // 375 and as much for each topic, 8 for each byte, memory.
        let topics = "5f".repeat(n.into());
        check(0xa0 + n, &format!("{topics} 6020 5f"), "", 375 + 375 * u64::from(n) + 8 * 32 + 3);
        seen.insert(0xa0 + n);
    }
    let existing: BTreeSet<u8> = (0..=255).filter(|op| RULES[usize::from(*op)].is_some()).collect();
    assert_eq!(seen, existing);
}

#[test]
fn nothing_else_exists() {
    for op in (0..=255u8).filter(|op| RULES[usize::from(*op)].is_none()) {
        let outcome = run(&format!("{} {op:02x}", "5f".repeat(8)));
        assert_eq!(outcome.result, ContractResult::IllegalOperation);
        assert_eq!(outcome.message, format!("Invalid operation code: opCode[{op:02x}];"));
    }
    // Newer than the rules in force, or what would make stakes and votes.
    for op in [0x1e, 0xd8, 0xda, 0xfe] {
        assert!(RULES[op].is_none(), "{op:x}");
    }
}

#[test]
fn nothing_costs_nothing() {
    // No intrinsic cost, none for call data.
    let outcome = run_on(&state(&[0x00], &[]), &[], Kind::Call(CONTRACT), &[0xff; 500], 0);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::Success, 0));
}

#[test]
fn long_memories_cost_more() {
    // 3 a word and, of `n` words, n * n / 512: word number 1,024 is the last here.
    assert_eq!(energy("617fe0 51"), VERY_LOW + SPECIAL + 3 * 1024 + 1024 * 1024 / 512);
    // 3 MiB are 98,304 words.
    let full = call_on(&state(&bytes("622fffe0 51"), &[]), 100_000_000);
    assert_eq!(full.energy, VERY_LOW + SPECIAL + 3 * 98_304 + 98_304 * 98_304 / 512);
    // Each frame has its own.
    let outcome = call_on(&state(&bytes("622fffe0 51 5f 5f 5f 5f 5f 60c1 5a f1"), &bytes("622fffe0 51")), 100_000_000);
    assert_eq!(outcome.energy, 2 * full.energy + 4 * 2 + 2 + 3 + 2 + 40);
}

#[test]
fn storage_has_two_prices_and_no_refund() {
    const SET: u64 = 20_000;
    const RESET: u64 = 5_000;
    assert_eq!(energy("6001 5f 55 6002 5f 55"), 5 + SET + 5 + RESET, "something to something");
    assert_eq!(energy("6001 5f 55 5f 5f 55"), 5 + SET + 4 + RESET, "something to nothing");
    assert_eq!(energy("5f 5f 55 6001 5f 55"), 4 + RESET + 5 + RESET, "nothing was written, so it is not nothing");
    assert_eq!(
        energy("6001 5f 55 5f 5f 55 6001 5f 55"),
        5 + SET + 4 + RESET + 5 + RESET,
        "a slot written in this transaction is not empty, even when it holds nothing"
    );
    let mut with_value = state(&bytes("5f 5f 55"), &[]);
    with_value.set_slot(CONTRACT, U256::ZERO, U256::from(9));
    assert_eq!(call_on(&with_value, 100_000).energy, 4 + RESET, "clearing gives nothing back");
    // There is no rule about how much must be left.
    let exact = call_on(&state(&bytes("6001 5f 55"), &[]), 5 + SET);
    assert_eq!(exact.result, ContractResult::Success);
}

#[test]
fn a_slot_written_in_a_call_that_reverted_counts_as_unwritten() {
    // The helper stores 1 in slot 0 and reverts; the contract delegates to it and then stores itself.
    let outcome = run_with("5f5f5f5f60c15af4 50 60015f55", "60015f555f5ffd");
    assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
    let inner = 5 + 20_000 + 4;
    assert_eq!(outcome.energy, 8 + 3 + 2 + 40 + inner + 2 + 5 + 20_000);
}

#[test]
fn sending_costs_and_brings_a_stipend() {
    let call = |op: &str, value: &str, to: &str| format!("5f 5f 5f 5f {value} {to} 5a {op}");
    let pushes = 4 * 2 + 3 + 3 + 2;
    assert_eq!(energy(&call("f1", "5f", "60dd")), pushes - 1 + 40, "nobody there, and nothing sent");
    // The stipend of 2,300 comes back unused.
    assert_eq!(energy(&call("f1", "6001", "60c1")), pushes + 40 + 9_000 - 2_300);
    assert_eq!(energy(&call("f1", "6001", "60dd")), pushes + 40 + 9_000 + 25_000 - 2_300, "an account comes to be");
    assert_eq!(energy(&call("f2", "6001", "60dd")), pushes + 40 + 9_000 - 2_300, "CALLCODE sends to itself");
    assert_eq!(
        energy("5f 5f 5f 5f 620f4241 6001 60dd 5a d0"),
        pushes + 3 + 40 + 9_000 + 25_000 - 2_300,
        "CALLTOKEN pays for what it then cannot do"
    );
    // An account that exists and holds nothing is not made anew.
    let mut with_empty = state(&bytes(&call("f1", "6001", "60dd")), &[]);
    with_empty.set_account(NOBODY, Some(Account::new(0)));
    assert_eq!(call_on(&with_empty, 100_000).energy, pushes + 40 + 9_000 - 2_300);
}

#[test]
fn an_heir_of_nothing_comes_to_be() {
    // The helper, poor, destroys itself for nobody; then the contract sends nobody something.
    let code = bytes("5f 5f 5f 5f 5f 60c1 5a f1 5f 5f 5f 5f 6001 60dd 5a f1");
    let mut poor = state(&code, &bytes("60dd ff"));
    poor.set_account(HELPER, Some(Account { balance: 0, ..poor.account(HELPER).unwrap().clone() }));
    let outcome = call_on(&poor, PLENTY);
    let first = 4 * 2 + 2 + 3 + 2 + 40 + (3 + 5_000 + 25_000);
    assert_eq!(outcome.energy, first + 4 * 2 + 3 + 3 + 2 + 40 + 9_000 - 2_300);
    let code = bytes("60dd ff");
    let mut poor = state(&code, &[]);
    poor.set_account(CONTRACT, Some(Account { balance: 0, ..poor.account(CONTRACT).unwrap().clone() }));
    let outcome = call_on(&poor, PLENTY);
    let beneficiary = outcome.changes.get(&NOBODY).unwrap();
    assert!(beneficiary.is_touched() && !beneficiary.info.is_empty());
}

#[test]
fn a_call_hands_on_all_but_a_64th() {
    // The helper returns the energy it begins with, less the 2 of GAS.
    let seen = word_with("6020 5f 5f 5f 5f 60c1 5a f1 50 5f 51", "5a 5f 52 6020 5f f3");
    let left = PLENTY - (3 + 4 * 2 + 3 + 2 + 40 + 3);
    assert_eq!(seen, U256::from(left - left / 64 - 2));
    // Less if less is asked for.
    assert_eq!(word_with("6020 5f 5f 5f 5f 60c1 610400 f1 50 5f 51", "5a 5f 52 6020 5f f3"), U256::from(1024 - 2));
    // And the stipend on top of it.
    assert_eq!(word_with("6020 5f 5f 5f 6001 60c1 5f f1 50 5f 51", "5a 5f 52 6020 5f f3"), U256::from(2_300 - 2));
}

#[test]
fn creation_pays_for_the_code_it_leaves() {
    // Init code that returns 10 zero bytes: PUSH1 10 PUSH0 RETURN.
    let init = bytes("600a5ff3");
    let inner = 3 + 2 + 3 + 10 * 200;
    let at = Address::with_last_byte(0xee);
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &init, PLENTY);
    assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
    assert_eq!(outcome.energy, inner);
    assert_eq!(outcome.changes.get(&at).unwrap().info.code_hash, keccak256([0; 10]));
    // CREATE: 32,000, then the same inside.
    let created = energy("63600a5ff3 5f 52 6004 601c 5f f0");
    assert_eq!(created, 3 + 2 + 1 + 3 + 3 + 3 + 2 + 32_000 + inner);
    // CREATE2 also hashes the init code: 6 a word.
    assert_eq!(energy("63600a5ff3 5f 52 5f 6004 601c 5f f5"), created + 2 + 6);
}

#[test]
fn dynamic_energy_scales_each_instruction() {
    let with_factor = |code: &str, factor: u64| {
        run_on(&state(&bytes(code), &[0x00]), &[(CONTRACT, factor)], Kind::Call(CONTRACT), &[], PLENTY)
    };
    // 3 * 1.5 is 4 each time: rounded down for every instruction.
    let outcome = with_factor("6001 6001 01", 15_000);
    assert_eq!((outcome.energy, outcome.penalty), (12, 3));
    let outcome = with_factor("6001 5f 55", 43_880);
    assert_eq!(outcome.energy, 13 + 8 + 87_760);
    assert_eq!(outcome.penalty, 10 + 6 + 67_760);
    // What an inner call uses is not scaled by the caller's factor.
    let outcome = with_factor("5f 5f 5f 5f 5f 60c1 5a f1", 20_000);
    assert_eq!(outcome.energy, 2 * (8 + 2 + 3 + 2 + 40));
    let outcome = with_factor("5f 5f 5f 5f 5f 60c1 5a f1", 10_000);
    assert_eq!((outcome.energy, outcome.penalty), (55, 0), "a factor of one is none");
    // GAS answers what the penalty left, its own included.
    let outcome = with_factor("5a 5f 52 6020 5f f3", 20_000);
    assert_eq!(U256::from_be_slice(&outcome.output), U256::from(PLENTY - 2 * 2));
    // Delegated code works on its caller's storage, so its caller's factor counts.
    let delegated = run_on(
        &state(&bytes("5f5f5f5f60c15af4"), &bytes("5f54")),
        &[(CONTRACT, 20_000)],
        Kind::Call(CONTRACT),
        &[],
        9_000,
    );
    assert_eq!(delegated.energy, 2 * (8 + 3 + 2 + 40) + 2 * 52);
    // The penalty of a call that failed counts as well.
    let failed = run_on(
        &state(&bytes("5f5f5f5f5f60c15af1"), &bytes("5f5f fd")),
        &[(HELPER, 20_000)],
        Kind::Call(CONTRACT),
        &[],
        9_000,
    );
    assert_eq!((failed.energy, failed.penalty), (55 + 8, 4));
    // Saved code is not scaled: 2 times (3 + 2 + 3), and 10 bytes.
    let at = Address::with_last_byte(0xee);
    let created = run_on(&state(&[0], &[]), &[(at, 20_000)], Kind::Create(at), &bytes("600a5ff3"), PLENTY);
    assert_eq!((created.energy, created.penalty), (2 * 8 + 2_000, 8));
    // Not enough for the penalty: all is gone.
    let store =
        |limit| run_on(&state(&bytes("60015f55"), &[]), &[(CONTRACT, 20_000)], Kind::Call(CONTRACT), &[], limit);
    assert_eq!((store(40_009).result, store(40_009).energy), (ContractResult::OutOfEnergy, 40_009));
    assert_eq!((store(40_010).result, store(40_010).energy), (ContractResult::Success, 40_010));
}
