#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

//! Every rule of TRON's energy table, each by a small assembled contract with its exact energy. The figures are java-tron's
//! (`EnergyCost`, `OperationRegistry`); every PUSH costs 3.

use revm::bytecode::Bytecode;
use revm::primitives::hex;

use super::*;
use crate::chain::Account;
use crate::chain::state::{NEWEST, State};

const CALLER: Address = Address::with_last_byte(0xca);
const CONTRACT: Address = Address::with_last_byte(0xc0);
const HELPER: Address = Address::with_last_byte(0xc1);

/// A state with a rich caller, `code` at [`CONTRACT`] and `helper` at [`HELPER`].
fn state(code: &[u8], helper: &[u8]) -> State {
    let mut state = State::default();
    for (address, code) in [(CALLER, &[][..]), (CONTRACT, code), (HELPER, helper)] {
        let mut account = Account { balance: 1_000_000, ..Account::new(0) };
        if !code.is_empty() {
            account.code_hash = revm::primitives::keccak256(code);
            account.is_contract = true;
            state.add_code(account.code_hash, Bytecode::new_legacy(code.to_vec().into()));
        }
        state.set_account(address, Some(account));
    }
    state
}

fn run_on(state: &State, factors: &[(Address, u64)], kind: Kind, data: &[u8], energy_limit: u64) -> Outcome {
    let db = StateDb { state, layer: NEWEST, block_ids: &[] };
    let block =
        BlockContext { number: 1, time: 5_000, producer: Address::ZERO, chain_id: 0x2b66_53dc, energy_price: 100 };
    let request = Request {
        caller: CALLER,
        kind,
        value: 0,
        data: Bytes::copy_from_slice(data),
        energy_limit,
        root_id: B256::repeat_byte(7),
    };
    execute(db, block, factors.iter().copied().collect(), request)
}

fn run(code: &str) -> Outcome {
    let code = hex::decode(code.replace(' ', "")).unwrap();
    run_on(&state(&code, &[0x00]), &[], Kind::Call(CONTRACT), &[], 10_000_000)
}

/// The energy of `code` (hex; spaces are ignored), which must succeed.
fn energy(code: &str) -> u64 {
    let outcome = run(code);
    assert_eq!(outcome.result, ContractResult::Success, "{code}: {}", outcome.message);
    outcome.energy
}

#[test]
fn nothing_costs_nothing() {
    // No intrinsic cost, none for call data.
    let outcome = run_on(&state(&[0x00], &[]), &[], Kind::Call(CONTRACT), &[0xff; 500], 0);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::Success, 0));
}

#[test]
fn fixed_prices() {
    // (what, code, energy)
    let table = [
        ("PUSH0 is a base operation", "5f", 2),
        ("PUSH32", &format!("7f{}", "00".repeat(32)), 3),
        ("DUP1, SWAP1, POP", "6001 80 90 50", 3 + 3 + 3 + 2),
        ("ADD", "6001 6002 01", 9),
        ("MUL", "6001 6002 02", 11),
        ("DIV", "6001 6002 04", 11),
        ("ADDMOD", "6001 6002 6003 08", 17),
        ("EXP of zero", "5f 6002 0a", 2 + 3 + 10),
        ("EXP: 10 for each byte of the exponent", "61ffff 6002 0a", 3 + 3 + 10 + 20),
        ("SHL", "6001 6001 1b", 9),
        ("SHA3 of nothing", "5f 5f 20", 4 + 30),
        ("SHA3 of 33 bytes: 2 words, and 2 words of memory", "6021 5f 20", 5 + 30 + 12 + 6),
        ("ADDRESS", "30", 2),
        ("BALANCE", "30 31", 2 + 20),
        ("ORIGIN, CALLER, CALLVALUE, CALLDATASIZE, CODESIZE, GASPRICE", "32 33 34 36 38 3a", 12),
        ("CALLDATALOAD", "5f 35", 2 + 3),
        ("EXTCODESIZE", "30 3b", 2 + 20),
        ("EXTCODEHASH", "30 3f", 2 + 400),
        ("BLOCKHASH", "5f 40", 2 + 20),
        ("COINBASE, TIMESTAMP, NUMBER, DIFFICULTY, GASLIMIT, CHAINID, BASEFEE", "41 42 43 44 45 46 48", 14),
        ("SELFBALANCE", "47", 5),
        ("BLOBHASH, BLOBBASEFEE", "5f 49 4a", 2 + 3 + 2),
        ("JUMP, JUMPDEST", "6003 56 5b", 3 + 8 + 1),
        ("JUMPI", "6001 6005 57 5b", 3 + 3 + 10 + 1),
        ("PC, MSIZE, GAS", "58 59 5a", 6),
        ("TLOAD", "5f 5c", 2 + 100),
        ("TSTORE", "5f 5f 5d", 4 + 100),
        ("CALLTOKENVALUE, CALLTOKENID", "d2 d3", 4),
        ("TOKENBALANCE", "5f 5f d1", 4 + 20),
        ("ISCONTRACT", "30 d4", 2 + 20),
        ("LOG0 of nothing", "5f 5f a0", 4 + 375),
        ("LOG2: 375 and 375 for each topic, 8 for each byte, memory", "5f 5f 6020 5f a2", 6 + 3 + 375 * 3 + 256 + 3),
    ];
    for (what, code, wanted) in table {
        assert_eq!(energy(code), wanted, "{what}");
    }
}

#[test]
fn memory_words_cost_one_and_expansion() {
    assert_eq!(energy("5f 51"), 2 + 1 + 3, "MLOAD of the first word");
    assert_eq!(energy("5f 51 50 5f 51"), 2 + 1 + 3 + 2 + 2 + 1, "the second time only 1");
    assert_eq!(energy("6001 5f 52"), 3 + 2 + 1 + 3, "MSTORE");
    assert_eq!(energy("6001 5f 53"), 3 + 2 + 1 + 3, "MSTORE8");
    // Expansion is 3 a word and a quadratic part from 512: word number 1024 is the last.
    assert_eq!(energy("617fe0 51"), 3 + 1 + 3 * 1024 + 1024 * 1024 / 512);
    assert_eq!(energy("6020 5f 5f 5e"), 3 + 4 + 3 + 3 + 3, "MCOPY of a word");
}

#[test]
fn copies_have_no_base_price() {
    assert_eq!(energy("6020 5f 5f 37"), 3 + 4 + 3 + 3, "CALLDATACOPY of a word: the word and its memory");
    assert_eq!(energy("6021 5f 5f 39"), 3 + 4 + 6 + 6, "CODECOPY of two words");
    assert_eq!(energy("6020 5f 5f 30 3c"), 3 + 4 + 2 + 20 + 3 + 3, "EXTCODECOPY has one");
    assert_eq!(energy("5f 5f 5f 3e"), 6, "RETURNDATACOPY of nothing");
}

#[test]
fn storage_has_two_prices_and_no_refund() {
    assert_eq!(energy("5f 54"), 2 + 50, "SLOAD");
    assert_eq!(energy("5f 54 50 5f 54"), 2 + 50 + 2 + 2 + 50, "not cheaper when warm");
    assert_eq!(energy("6001 5f 55"), 5 + 20_000, "nothing to something");
    assert_eq!(energy("5f 5f 55"), 4 + 5_000, "nothing to nothing");
    assert_eq!(energy("6001 5f 55 6002 5f 55"), 5 + 20_000 + 5 + 5_000, "something to something");
    assert_eq!(energy("6001 5f 55 5f 5f 55"), 5 + 20_000 + 4 + 5_000, "something to nothing");
    assert_eq!(
        energy("6001 5f 55 5f 5f 55 6001 5f 55"),
        5 + 20_000 + 4 + 5_000 + 5 + 5_000,
        "a slot written in this transaction is not empty, even when it holds nothing"
    );
    let mut with_value = state(&hex::decode("5f5f55").unwrap(), &[]);
    with_value.set_slot(CONTRACT, U256::ZERO, U256::from(9));
    let outcome = run_on(&with_value, &[], Kind::Call(CONTRACT), &[], 100_000);
    assert_eq!(outcome.energy, 4 + 5_000, "clearing gives nothing back");
    // 2,300 left and less is enough for a store in reach: there is no reentrancy rule.
    let exact = run_on(&state(&hex::decode("60015f55").unwrap(), &[]), &[], Kind::Call(CONTRACT), &[], 20_005);
    assert_eq!(exact.result, ContractResult::Success);
}

#[test]
fn a_slot_written_in_a_call_that_reverted_counts_as_unwritten() {
    // The helper stores 1 in slot 0 and reverts; the contract delegates to it and then stores itself.
    let helper = hex::decode("60015f555f5ffd").unwrap();
    let code = hex::decode("5f5f5f5f60c15af45060015f55").unwrap();
    let outcome = run_on(&state(&code, &helper), &[], Kind::Call(CONTRACT), &[], 1_000_000);
    assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
    let inner = 5 + 20_000 + 4;
    assert_eq!(outcome.energy, 8 + 3 + 2 + 40 + inner + 2 + 5 + 20_000);
}

#[test]
fn calls() {
    let call = |op: &str, value: &str, to: &str| format!("5f 5f 5f 5f {value} {to} 5a {op}");
    assert_eq!(energy(&call("f1", "5f", "60c1")), 8 + 2 + 3 + 2 + 40, "CALL to code that stops");
    assert_eq!(energy("5f 5f 5f 5f 60c1 5a f4"), 8 + 3 + 2 + 40, "DELEGATECALL");
    assert_eq!(energy("5f 5f 5f 5f 60c1 5a fa"), 8 + 3 + 2 + 40, "STATICCALL");
    assert_eq!(energy(&call("f1", "5f", "60dd")), 8 + 2 + 3 + 2 + 40, "nobody there, and nothing sent");
    // The stipend of 2,300 comes back unused.
    assert_eq!(energy(&call("f1", "6001", "60c1")), 8 + 3 + 3 + 2 + 40 + 9_000 - 2_300, "value");
    assert_eq!(
        energy(&call("f1", "6001", "60dd")),
        8 + 3 + 3 + 2 + 40 + 9_000 + 25_000 - 2_300,
        "value makes an account"
    );
    // An account that exists and holds nothing is not made anew.
    let code = hex::decode(call("f1", "6001", "60dd").replace(' ', "")).unwrap();
    let mut with_empty = state(&code, &[]);
    with_empty.set_account(Address::with_last_byte(0xdd), Some(Account::new(0)));
    let outcome = run_on(&with_empty, &[], Kind::Call(CONTRACT), &[], 100_000);
    assert_eq!(outcome.energy, 8 + 3 + 3 + 2 + 40 + 9_000 - 2_300);
}

#[test]
fn self_destruction_pays_for_an_heir_that_does_not_exist() {
    assert_eq!(energy("60c1 ff"), 3);
    assert_eq!(energy("60dd ff"), 3 + 25_000);
}

#[test]
fn creation_pays_for_the_code_it_leaves() {
    // Init code that returns 10 zero bytes: PUSH1 10 PUSH0 RETURN.
    let init = hex::decode("600a5ff3").unwrap();
    let at = Address::with_last_byte(0xee);
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &init, 1_000_000);
    assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
    assert_eq!(outcome.energy, 3 + 2 + 3 + 10 * 200);
    assert_eq!(outcome.changes.get(&at).unwrap().info.code_hash, revm::primitives::keccak256([0; 10]));
    // CREATE: 32,000, then the same inside.
    let created = energy("63600a5ff3 5f 52 6004 601c 5f f0");
    assert_eq!(created, 3 + 2 + 1 + 3 + 3 + 3 + 2 + 32_000 + (3 + 2 + 3 + 10 * 200));
    // CREATE2 also hashes the init code: 6 a word.
    let created2 = energy("63600a5ff3 5f 52 5f 6004 601c 5f f5");
    assert_eq!(created2, created + 2 + 6);
    // The last 200 missing: out of energy.
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &init, 3 + 2 + 3 + 10 * 200 - 1);
    assert_eq!(outcome.result, ContractResult::OutOfEnergy);
    let outcome = run_on(&state(&[0], &[]), &[], Kind::Create(at), &hex::decode("60ef5f5360015ff3").unwrap(), 100_000);
    assert_eq!(outcome.result, ContractResult::InvalidCode, "code may not begin with 0xef");
}

#[test]
fn created_addresses_follow_trons_rules() {
    let outcome = run("63600a5ff3 5f 52 6004 601c 5f f0 5f 52 6020 5f f3");
    // The transaction's id and the count of inner transactions before it (none).
    let preimage = [[7; 32].as_slice(), &0u64.to_be_bytes()].concat();
    assert_eq!(
        Address::from_word(B256::from_slice(&outcome.output)),
        Address::from_word(revm::primitives::keccak256(preimage))
    );
    let outcome = run("63600a5ff3 5f 52 6005 6004 601c 5f f5 5f 52 6020 5f f3");
    let salt = U256::from(5).to_be_bytes::<32>();
    let code_hash = revm::primitives::keccak256(hex::decode("600a5ff3").unwrap());
    let preimage = [&[0x41], CONTRACT.as_slice(), &salt, code_hash.as_slice()].concat();
    assert_eq!(
        Address::from_word(B256::from_slice(&outcome.output)),
        Address::from_word(revm::primitives::keccak256(preimage))
    );
}

#[test]
fn an_address_can_be_paid_before_its_contract_is_made() {
    let code = hex::decode("63600a5ff35f5260056004601c5ff55f5260205ff3").unwrap();
    let at = |outcome: &Outcome| Address::from_word(B256::from_slice(&outcome.output));
    let address = at(&run_on(&state(&code, &[]), &[], Kind::Call(CONTRACT), &[], 1_000_000));
    for balance in [0, 77] {
        let mut paid = state(&code, &[]);
        paid.set_account(address, Some(Account { balance, ..Account::new(0) }));
        let outcome = run_on(&paid, &[], Kind::Call(CONTRACT), &[], 1_000_000);
        assert_eq!(at(&outcome), address);
        assert_eq!(outcome.changes.get(&address).unwrap().info.balance, U256::from(balance));
        // A contract in the way is one.
        let taken = revm::primitives::keccak256([0]);
        paid.set_account(address, Some(Account { code_hash: taken, is_contract: true, ..Account::new(0) }));
        assert_eq!(at(&run_on(&paid, &[], Kind::Call(CONTRACT), &[], 1_000_000)), Address::ZERO);
    }
}

#[test]
fn ends_that_take_everything_and_ends_that_do_not() {
    for (what, code, result) in [
        ("INVALID", "fe", ContractResult::IllegalOperation),
        ("an unknown instruction", "0c", ContractResult::IllegalOperation),
        ("CALLTOKEN: there are no TRC-10 tokens here", "d0", ContractResult::IllegalOperation),
        ("CLZ is newer than TRON", "5f 1e", ContractResult::IllegalOperation),
        ("a jump to nowhere", "5f 56", ContractResult::BadJumpDestination),
        ("an empty stack", "50", ContractResult::StackTooSmall),
        ("a full stack", &format!("5b 5f {} 5f 56", "5f".repeat(1024)), ContractResult::StackTooLarge),
        ("more than 3 MiB of memory", "62300001 51", ContractResult::OutOfMemory),
        ("an endless loop", "5b 5f 56", ContractResult::OutOfEnergy),
    ] {
        let outcome = run(code);
        assert_eq!((outcome.result, outcome.energy), (result, 10_000_000), "{what}: {}", outcome.message);
        assert!(outcome.changes.is_empty() && !outcome.message.is_empty(), "{what}");
    }
    let reverted = run("5f 5f fd");
    assert_eq!((reverted.result, reverted.energy), (ContractResult::Revert, 4));
}

#[test]
fn environment() {
    // Returns the word left on the stack.
    let word = |code: &str| U256::from_be_slice(&run(&format!("{code} 5f 52 6020 5f f3")).output);
    assert_eq!(word("46"), U256::from(0x2b66_53dcu64), "CHAINID");
    assert_eq!(word("42"), U256::from(5), "TIMESTAMP in seconds");
    assert_eq!(word("48"), U256::from(100), "BASEFEE is the energy price");
    assert_eq!(word("44"), U256::ZERO, "DIFFICULTY");
    assert_eq!(word("30 d4"), U256::from(1), "ISCONTRACT of a contract");
    assert_eq!(word("33 d4"), U256::ZERO, "and of a key's account");
    // RIPEMD-160 of nothing.
    let seen = run("6020 5f 5f 5f 5f 62020003 5a f1 50 6020 5f f3").output;
    assert_eq!(hex::encode(&seen[12..]), "9c1185a5c5e9fc54612808977ee8f548b2258d31");
    // Address 3 is not that on TRON.
    let seen = run("6020 5f 5f 5f 5f 6003 5a f1 50 6020 5f f3").output;
    let inner = <sha2::Sha256 as sha2::Digest>::digest([]);
    assert_eq!(seen.as_ref(), <sha2::Sha256 as sha2::Digest>::digest(&inner[..20]).as_slice());
}

#[test]
fn calls_nest_64_deep() {
    // Calls itself, and returns how many calls below it succeeded plus one.
    let code = hex::decode("60205f5f5f5f305af15060015f51015f5260205ff3").unwrap();
    let outcome = run_on(&state(&code, &[]), &[], Kind::Call(CONTRACT), &[], 1_000_000_000);
    assert_eq!(U256::from_be_slice(&outcome.output), U256::from(65), "64 below the first");
    assert_eq!(outcome.internal.len(), 64);
}

#[test]
fn inner_transactions_of_what_was_taken_back_are_rejected() {
    // The helper calls nobody and reverts; the contract calls it, then calls nobody itself.
    let helper = hex::decode("5f5f5f5f5f60dd5af15f5ffd").unwrap();
    let code = hex::decode("5f5f5f5f5f60c15af15f5f5f5f5f60de5af1").unwrap();
    let outcome = run_on(&state(&code, &helper), &[], Kind::Call(CONTRACT), &[], 1_000_000);
    let seen: Vec<(u8, bool)> = outcome.internal.iter().map(|i| (i.to[19], i.rejected)).collect();
    assert_eq!(seen, [(0xc1, true), (0xdd, true), (0xde, false)]);
}

#[test]
fn inner_transactions_are_named_by_their_place() {
    // A call with 3 sun and one byte of data, inside it another without, and then one that cannot be paid for.
    let helper = hex::decode("5f5f5f5f5f60dd5af1").unwrap();
    let code = hex::decode("60aa5f535f5f60015f600360c15af15f5f5f5f6401000000006060c15af1").unwrap();
    let outcome = run_on(&state(&code, &helper), &[], Kind::Call(CONTRACT), &[], 1_000_000);
    let hash = |parent: B256, to: Address, data: &[u8], value: u64, nonce: u64| {
        let wire = crate::address::to_wire(to);
        let preimage = [parent.as_slice(), &wire, data, &value.to_be_bytes(), &nonce.to_be_bytes()].concat();
        revm::primitives::keccak256(preimage)
    };
    let first = hash(B256::repeat_byte(7), HELPER, &[0xaa], 3, 1);
    let second = hash(first, Address::with_last_byte(0xdd), &[], 0, 2);
    let seen: Vec<B256> = outcome.internal.iter().map(|i| i.hash).collect();
    assert_eq!(seen, [first, second], "{outcome:?}");
}

#[test]
fn dynamic_energy_scales_each_instruction() {
    let with_factor = |code: &str, factor: u64| {
        let code = hex::decode(code.replace(' ', "")).unwrap();
        run_on(&state(&code, &[0x00]), &[(CONTRACT, factor)], Kind::Call(CONTRACT), &[], 10_000_000)
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
    // Delegated code works on its caller's storage, so its caller's factor counts.
    let code = hex::decode("5f5f5f5f60c15af4").unwrap();
    let delegated =
        run_on(&state(&code, &hex::decode("5f54").unwrap()), &[(CONTRACT, 20_000)], Kind::Call(CONTRACT), &[], 9_000);
    assert_eq!(delegated.energy, 2 * (8 + 3 + 2 + 40) + 2 * 52);
    // A call that hands on all it can hands on what the penalty left.
    let plain = with_factor("5f 5f 5f 5f 5f 60c1 5a f1", 10_000);
    assert_eq!((plain.energy, plain.penalty), (55, 0));
    // Not enough for the penalty: all is gone.
    let code = hex::decode("60015f55").unwrap();
    let short = run_on(&state(&code, &[]), &[(CONTRACT, 20_000)], Kind::Call(CONTRACT), &[], 40_009);
    assert_eq!((short.result, short.energy), (ContractResult::OutOfEnergy, 40_009));
    let enough = run_on(&state(&code, &[]), &[(CONTRACT, 20_000)], Kind::Call(CONTRACT), &[], 40_010);
    assert_eq!((enough.result, enough.energy), (ContractResult::Success, 40_010));
}

mod random_code {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Nothing that anybody can deploy panics, costs more than allowed, or ends differently the second time; and a
        /// factor never makes it cheaper.
        #[test]
        fn ends_within_its_limit(
            code in proptest::collection::vec(prop_oneof![any::<u8>(), 0x50..0x64u8, 0x80..0xa5u8, 0xf0..=0xffu8], 0..120),
            limit in 0..400_000u64,
            factor in 10_000..90_000u64,
        ) {
            let state = state(&code, &code);
            let factors = [(CONTRACT, factor)];
            let once = run_on(&state, &factors, Kind::Call(CONTRACT), &code, limit);
            prop_assert!(once.energy <= limit, "{} of {limit}", once.energy);
            prop_assert!(once.penalty <= once.energy);
            let again = run_on(&state, &factors, Kind::Call(CONTRACT), &code, limit);
            prop_assert_eq!((once.result, once.energy, once.output), (again.result, again.energy, again.output));
            let created = run_on(&state, &[], Kind::Create(Address::with_last_byte(0xee)), &code, limit);
            prop_assert!(created.energy <= limit);
            // TRX is neither made nor lost, except by a contract that destroys itself in its own favour.
            if created.result == ContractResult::Success && !code.contains(&0xff) {
                let total: U256 = created.changes.values().map(|a| a.info.balance).sum();
                let before: U256 = created.changes.keys().filter_map(|a| state.account(*a)).map(|a| U256::from(a.balance)).sum();
                prop_assert_eq!(total, before);
            }
        }
    }
}
