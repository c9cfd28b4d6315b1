#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

//! TRON's rules by small assembled contracts. Every figure and every word comes from java-tron's source, not from a run.

mod calls;
mod energy;
mod failures;
mod precompiled;
mod random;

use std::sync::Arc;
use std::time::Duration;

use lucid_tron_types::proto;
use revm::bytecode::Bytecode;
use revm::primitives::{hex, keccak256};

use super::*;
use crate::chain::Account;
use crate::chain::state::{NEWEST, State};

const CALLER: Address = Address::with_last_byte(0xca);
const CONTRACT: Address = Address::with_last_byte(0xc0);
const HELPER: Address = Address::with_last_byte(0xc1);
const WITNESS: Address = Address::with_last_byte(0xf1);
/// Nobody's.
const NOBODY: Address = Address::with_last_byte(0xdd);
const ROOT: B256 = B256::repeat_byte(7);
const PLENTY: u64 = 10_000_000;

fn bytes(code: &str) -> Vec<u8> {
    hex::decode(code.replace(' ', "")).unwrap()
}

/// A state with a rich caller, `code` at [`CONTRACT`] and `helper` at [`HELPER`].
fn state(code: &[u8], helper: &[u8]) -> State {
    let mut state = State::default();
    state.set_account(CALLER, Some(Account { balance: 1_000_000, ..Account::new(0) }));
    for (address, code) in [(CONTRACT, code), (HELPER, helper)] {
        add_contract(&mut state, address, code);
    }
    state
}

fn add_contract(state: &mut State, address: Address, code: &[u8]) {
    let code_hash = keccak256(code);
    state.add_code(code_hash, Bytecode::new_legacy(code.to_vec().into()));
    let account = Account { balance: 1_000_000, code_hash, is_contract: true, ..Account::new(0) };
    state.set_account(address, Some(account));
    state.set_contract(address, Some(Arc::new(proto::SmartContract::default())));
}

fn block() -> BlockContext {
    BlockContext {
        number: 1,
        time: 5_000,
        producer: WITNESS,
        chain_id: 0x2b66_53dc,
        energy_price: 100,
        stakes: StakeRules {
            head_time: 2_000,
            slot: 14_400,
            net_limit: 1_000,
            energy_limit: 2_000,
            unfreeze_delay_days: 14,
        },
    }
}

fn request(kind: Kind, data: &[u8], energy_limit: u64) -> Request {
    let data = Bytes::copy_from_slice(data);
    Request { caller: CALLER, kind, value: 0, token_id: 0, data, energy_limit, root_id: ROOT }
}

fn run_on(state: &State, factors: &[(Address, u64)], kind: Kind, data: &[u8], energy_limit: u64) -> Outcome {
    let db = StateDb { state, layer: NEWEST, block_ids: &[] };
    execute(db, block(), factors.iter().copied().collect(), request(kind, data, energy_limit))
}

fn call_on(state: &State, energy_limit: u64) -> Outcome {
    run_on(state, &[], Kind::Call(CONTRACT), &[], energy_limit)
}

fn run(code: &str) -> Outcome {
    run_with(code, "00")
}

fn run_with(code: &str, helper: &str) -> Outcome {
    call_on(&state(&bytes(code), &bytes(helper)), PLENTY)
}

/// The energy of `code` (hex; spaces are ignored), which must not fail.
fn energy(code: &str) -> u64 {
    let outcome = run(code);
    let is_good = matches!(outcome.result, ContractResult::Success | ContractResult::Revert);
    assert!(is_good, "{code}: {:?} {}", outcome.result, outcome.message);
    outcome.energy
}

/// The word that `code` leaves on the stack.
fn word(code: &str) -> U256 {
    word_with(code, "00")
}

fn word_with(code: &str, helper: &str) -> U256 {
    let outcome = run_with(&format!("{code} 5f 52 6020 5f f3"), helper);
    assert_eq!(outcome.result, ContractResult::Success, "{code}: {}", outcome.message);
    U256::from_be_slice(&outcome.output)
}

/// `address` with TRON's prefix before it.
fn with_prefix(address: Address) -> U256 {
    U256::from_be_slice(&[&[0x41], address.as_slice()].concat())
}

#[test]
fn environment() {
    assert_eq!(word("46"), U256::from(0x2b66_53dcu64), "CHAINID");
    assert_eq!(word("42"), U256::from(5), "TIMESTAMP in seconds");
    assert_eq!(word("43"), U256::from(1), "NUMBER");
    assert_eq!(word("48"), U256::from(100), "BASEFEE is the energy price");
    assert_eq!(word("3a"), U256::from(100), "GASPRICE too");
    assert_eq!(word("44"), U256::ZERO, "DIFFICULTY");
    assert_eq!(word("45"), U256::ZERO, "GASLIMIT");
    assert_eq!(word("4a"), U256::ZERO, "BLOBBASEFEE");
    assert_eq!(word("5f 49"), U256::ZERO, "BLOBHASH");
    assert_eq!(word("41"), with_prefix(WITNESS), "COINBASE has TRON's prefix");
    assert_eq!(word("30"), U256::from(0xc0), "ADDRESS has not");
    assert_eq!(word("32"), U256::from(0xca), "nor has ORIGIN");
    assert_eq!(word("33"), U256::from(0xca), "nor has CALLER");
    assert_eq!(word("33 31"), U256::from(1_000_000), "BALANCE in sun");
    assert_eq!(
        word("73 ffffffffffffffffffffffffffffffffffffffff 74 41000000000000000000000000000000000000 00ca 16 31"),
        U256::from(1_000_000),
        "of an address with the prefix"
    );
    assert_eq!(word("30 d4"), U256::from(1), "ISCONTRACT of a contract");
    assert_eq!(word("33 d4"), U256::ZERO, "and of a key's account");
    assert_eq!(word("d2"), U256::ZERO, "CALLTOKENVALUE");
    assert_eq!(word("d3"), U256::ZERO, "CALLTOKENID");
    assert_eq!(word("5f 40"), U256::ZERO, "BLOCKHASH of what is not there");
}

#[test]
fn a_deadline_ends_everything() {
    // The helper loops; the contract would go on after it.
    let state = state(&bytes("5f5f5f5f5f60c15af1 6001 5f 55"), &bytes("5b5f56"));
    let db = StateDb { state: &state, layer: NEWEST, block_ids: &[] };
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    let run = |deadline| {
        let request = request(Kind::Call(CONTRACT), &[], 1_000_000);
        execute_until(deadline, db, block(), HashMap::default(), request)
    };
    let outcome = run(long_ago);
    assert_eq!((outcome.result, outcome.energy), (ContractResult::OutOfTime, 1_000_000));
    assert_eq!(outcome.message, "CPU timeout for 'PUSH0' operation executing");
    // Without one, running out of energy in the helper is no end.
    assert_eq!(run(None).result, ContractResult::OutOfEnergy);
    assert_eq!(run(None).internal.len(), 1);
}

#[test]
fn a_view_ends_its_calls_in_time() {
    let chain = crate::chain::Chain::new(crate::chain::Genesis::seeded("view", 1, 1_000_000, 0, 0));
    let caller = crate::wallet::Wallet::derive("view", 0).address();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let outcome = chain.head().until(long_ago).try_create(caller, &bytes("5b5f56"), 0, None);
    assert_eq!(outcome.result, ContractResult::OutOfTime);
    assert_eq!(chain.head().try_create(caller, &bytes("00"), 0, None).result, ContractResult::Success);
}
