#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conservation;
mod rules;
mod staking;

use super::params::MAX_EXPIRATION;
use super::validity::ring_number;
use super::*;
use crate::token;
use crate::wallet::{self, Validity};
use lucid_tron_types::proto::{ContractMessage, ContractResult};

const TRX: u64 = 1_000_000;
const COUNTER: &[u8] = include_bytes!("../../contracts/Counter.bin");

/// A chain with funded keys, and shorthands to act on it.
struct Bench {
    chain: Chain,
    keys: Vec<Wallet>,
    nonce: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(Params::default())
    }

    fn with(params: Params) -> Self {
        let genesis = Genesis { params, ..Genesis::seeded("test", 4, 10_000 * TRX, 1_700_000_000_000, 3) };
        Self { chain: Chain::new(genesis), keys: (0..4).map(|i| Wallet::derive("test", i)).collect(), nonce: 0 }
    }

    fn validity(&mut self) -> Validity {
        self.nonce += 1;
        let head = self.chain.head().block();
        let validity = Validity::after(head.id.0, head.time(), 60_000);
        Validity { timestamp: validity.timestamp + self.nonce, ..validity }
    }

    fn send<M: ContractMessage>(&mut self, from: usize, message: &M, fee_limit: u64) -> Result<B256, Refusal> {
        let validity = self.validity();
        let (bytes, id) = wallet::signed(&self.keys[from], message, fee_limit, validity);
        let accepted = self.chain.submit(&bytes)?;
        assert_eq!(accepted, B256::from(id));
        Ok(accepted)
    }

    fn mine(&mut self) {
        let time = self.chain.head().block().time() + 3_000;
        self.chain.produce_block(time);
    }

    fn run<M: ContractMessage>(&mut self, from: usize, message: &M) -> TransactionInfo {
        let id = self.send(from, message, 1_000 * TRX).unwrap();
        self.mine();
        self.chain.head().transaction_info(&id).unwrap().clone()
    }

    fn deploy(&mut self, code: Vec<u8>) -> Address {
        let message = wallet::create(self.keys[0].address(), "thing", code, None, 0);
        let info = self.run(0, &message);
        assert_eq!(info.receipt.result, Some(ContractResult::Success), "{}", info.message);
        info.contract_address.unwrap()
    }

    fn call(&mut self, from: usize, contract: Address, signature: &str, words: &[[u8; 32]]) -> TransactionInfo {
        let message = wallet::trigger(self.keys[from].address(), contract, token::call_data(signature, words), 0);
        self.run(from, &message)
    }

    fn read(&self, contract: Address, signature: &str, words: &[[u8; 32]]) -> U256 {
        let outcome = self.chain.head().call(Address::ZERO, contract, &token::call_data(signature, words), 0, None);
        assert_eq!(outcome.result, ContractResult::Success, "{}", outcome.message);
        U256::from_be_slice(&outcome.output)
    }
}

use revm::primitives::U256;

#[test]
fn transfer_moves_trx_and_uses_free_bandwidth() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let info = bench.run(0, &wallet::transfer(a, b, 5 * TRX));
    assert_eq!(info.fee, 0);
    assert!(info.receipt.net_usage > 200 && info.receipt.net_usage < 300, "{:?}", info.receipt);
    assert_eq!(bench.chain.head().balance(a), 9_995 * TRX);
    assert_eq!(bench.chain.head().balance(b), 10_005 * TRX);
    // Two more use up the 600 free bytes, the third burns.
    bench.run(0, &wallet::transfer(a, b, TRX));
    let info = bench.run(0, &wallet::transfer(a, b, TRX));
    assert_eq!(info.receipt.net_usage, 0);
    assert_eq!(info.fee, info.receipt.net_fee);
    assert!(info.fee > 200_000, "{}", info.fee);
}

#[test]
fn transfer_to_a_new_address_creates_it() {
    let mut bench = Bench::new();
    let a = bench.keys[0].address();
    let new = Wallet::derive("nobody", 0).address();
    assert!(bench.chain.head().account(new).is_none());
    let info = bench.run(0, &wallet::transfer(a, new, TRX));
    assert_eq!((info.fee, info.system_fee, info.receipt.net_fee), (1_100_000, 1_000_000, 100_000));
    assert_eq!(bench.chain.head().balance(new), TRX);
    assert_eq!(bench.chain.head().balance(a), 10_000 * TRX - TRX - 1_100_000);
}

#[test]
fn token_balances_come_out_of_the_contracts_storage() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1_000_000));
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let fresh = bench.call(0, usdt, "transfer(address,uint256)", &[token::address_word(b), token::number_word(700)]);
    assert_eq!(fresh.receipt.result, Some(ContractResult::Success));
    assert_eq!(fresh.contract_result, vec![0; 32], "the real one answers false too");
    assert_eq!(fresh.logs.len(), 1);
    assert_eq!(fresh.logs[0].topics().len(), 3);
    assert_eq!(fresh.logs[0].topics()[2].0, token::address_word(b));
    let holder = bench.call(0, usdt, "transfer(address,uint256)", &[token::address_word(b), token::number_word(1)]);
    // The figures of docs/src/devnet-reference.md.
    assert_eq!((fresh.receipt.energy_usage_total, holder.receipt.energy_usage_total), (28_200, 13_200));
    assert_eq!(fresh.receipt.energy_fee, fresh.receipt.energy_usage_total * 100);
    assert_eq!(bench.read(usdt, "balanceOf(address)", &[token::address_word(b)]), U256::from(701));
    assert_eq!(bench.read(usdt, "balanceOf(address)", &[token::address_word(a)]), U256::from(999_299));
    // The same numbers lie in the raw storage: balances are the first mapping.
    let slot = keccak_of_mapping(b, 0);
    assert_eq!(bench.chain.head().storage(usdt, slot), U256::from(701));
}

#[test]
fn the_token_ignores_bytes_after_its_arguments() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1_000_000));
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let plain = token::transfer(b, 5);
    let tagged = [plain.as_slice(), &[0xab; 32]].concat();
    let first = bench.run(0, &wallet::trigger(a, usdt, plain, 0));
    let second = bench.run(0, &wallet::trigger(a, usdt, tagged, 0));
    assert_eq!(second.receipt.result, Some(ContractResult::Success));
    assert_eq!(second.logs, first.logs);
    assert_eq!(bench.read(usdt, "balanceOf(address)", &[token::address_word(b)]), U256::from(10));
}

fn keccak_of_mapping(key: Address, position: u64) -> U256 {
    let preimage = [key.into_word().0, token::number_word(position)].concat();
    U256::from_be_bytes(revm::primitives::keccak256(preimage).0)
}

#[test]
fn dynamic_energy_multiplies_the_difference() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1_000_000));
    bench.chain.intervene(&Intervention::SetEnergyFactor { contract: usdt, factor: 43_880 });
    let b = bench.keys[1].address();
    let words = [token::address_word(b), token::number_word(1)];
    let fresh = bench.call(0, usdt, "transfer(address,uint256)", &words);
    let holder = bench.call(0, usdt, "transfer(address,uint256)", &words);
    assert_eq!(fresh.receipt.energy_usage_total - holder.receipt.energy_usage_total, 15_000 * 43_880 / 10_000);
    assert!(fresh.receipt.energy_penalty_total > 0);
}

#[test]
fn energy_costs_what_it_costs_when_the_block_is_made() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1_000_000));
    let words = [token::address_word(bench.keys[1].address()), token::number_word(1)];
    bench.call(0, usdt, "transfer(address,uint256)", &words);
    let cheap = bench.call(0, usdt, "transfer(address,uint256)", &words).receipt;
    let price = bench.chain.params().energy_price;
    bench.chain.set_energy_price(10 * price);
    let dear = bench.call(0, usdt, "transfer(address,uint256)", &words).receipt;
    assert_eq!((dear.energy_usage_total, dear.energy_fee), (cheap.energy_usage_total, 10 * cheap.energy_fee));
}

#[test]
fn unrelated_contract_is_deployed_and_called() {
    let mut bench = Bench::new();
    let counter = bench.deploy([COUNTER, &token::number_word(40)].concat());
    let info = bench.call(2, counter, "increment(uint256)", &[token::number_word(2)]);
    assert_eq!(U256::from_be_slice(&info.contract_result), U256::from(42));
    assert_eq!(info.logs.len(), 1);
    assert_eq!(bench.read(counter, "count()", &[]), U256::from(42));

    let deposit = wallet::trigger(bench.keys[2].address(), counter, token::call_data("deposit()", &[]), 7 * TRX);
    assert_eq!(bench.run(2, &deposit).receipt.result, Some(ContractResult::Success));
    assert_eq!(bench.chain.head().balance(counter), 7 * TRX);
    let new = Wallet::derive("nobody", 1).address();
    let words = [token::address_word(new), token::number_word(3 * TRX)];
    let info = bench.call(2, counter, "withdraw(address,uint256)", &words);
    assert_eq!(info.receipt.result, Some(ContractResult::Success), "{}", info.message);
    assert_eq!(bench.chain.head().balance(new), 3 * TRX);
    assert_eq!(info.internal.len(), 1);
    assert_eq!((info.internal[0].note, info.internal[0].value, info.internal[0].rejected), ("call", 3 * TRX, false));

    let info = bench.call(2, counter, "spawn(uint256)", &[token::number_word(9)]);
    let child = Address::from_word(B256::from_slice(&info.contract_result));
    assert_eq!(bench.read(child, "start()", &[]), U256::from(9));
    assert!(bench.chain.head().contract(child).is_some());

    let words = bench.chain.head().call(Address::ZERO, counter, &token::call_data("chain()", &[]), 0, None).output;
    assert_eq!(U256::from_be_slice(&words[..32]), U256::from(bench.chain.chain_id()));
}

#[test]
fn failures_cost_what_they_used_or_the_limit() {
    let mut bench = Bench::new();
    let counter = bench.deploy([COUNTER, &token::number_word(0)].concat());
    let before = bench.chain.head().balance(bench.keys[1].address());
    let reverted = bench.call(1, counter, "fail()", &[]);
    assert_eq!(reverted.receipt.result, Some(ContractResult::Revert));
    assert!(reverted.is_failed());
    assert_eq!(reverted.message, "REVERT opcode executed");
    assert_eq!(reverted.contract_result[..4], [0x08, 0xc3, 0x79, 0xa0], "Error(string)");
    assert!(reverted.receipt.energy_usage_total < 1_000);

    let burn = wallet::trigger(bench.keys[1].address(), counter, token::call_data("burn()", &[]), 0);
    let id = bench.send(1, &burn, 20 * TRX).unwrap();
    bench.mine();
    let burnt = bench.chain.head().transaction_info(&id).unwrap().clone();
    assert_eq!(burnt.receipt.result, Some(ContractResult::OutOfEnergy));
    assert_eq!(burnt.receipt.energy_fee, 20 * TRX, "all of the fee limit");
    let paid = reverted.fee + burnt.fee;
    assert_eq!(bench.chain.head().balance(bench.keys[1].address()), before - paid);
}

#[test]
fn solid_view_lags_and_shows_old_state() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let id = bench.send(0, &wallet::transfer(a, b, TRX), 0).unwrap();
    assert_eq!(bench.chain.head().balance(b), 10_001 * TRX, "a transaction is carried out when it is broadcast");
    assert_eq!(bench.chain.solid().balance(b), 10_000 * TRX);
    assert!(bench.chain.head().pending_transaction(&id).is_some());
    assert!(bench.chain.head().transaction_info(&id).is_none());
    bench.mine();
    for _ in 0..3 {
        assert_eq!(bench.chain.head().balance(b), 10_001 * TRX);
        assert_eq!(bench.chain.solid().balance(b), 10_000 * TRX);
        assert!(bench.chain.solid().transaction_info(&id).is_none());
        bench.mine();
    }
    assert_eq!(bench.chain.solid().number(), 1);
    assert_eq!(bench.chain.solid().balance(b), 10_001 * TRX);
    assert!(bench.chain.solid().transaction_info(&id).is_some());
}

fn code_of(result: Result<B256, Refusal>) -> Code {
    result.unwrap_err().code
}

#[test]
fn every_refusal() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let pay = wallet::transfer(a, b, TRX);
    let good = bench.validity();
    let head = bench.chain.head().block().time();

    let mut try_with = |validity: Validity, key: usize, message: &proto::TransferContract| {
        let (bytes, _) = wallet::signed(&bench.keys[key], message, 0, validity);
        bench.chain.submit(&bytes)
    };
    assert_eq!(code_of(try_with(Validity { reference: [7; 32], ..good }, 0, &pay)), Code::TaposError);
    assert_eq!(code_of(try_with(Validity { expiration: head, ..good }, 0, &pay)), Code::TransactionExpirationError);
    let too_late = head + MAX_EXPIRATION + 1;
    assert_eq!(code_of(try_with(Validity { expiration: too_late, ..good }, 0, &pay)), Code::TransactionExpirationError);
    assert_eq!(code_of(try_with(good, 1, &pay)), Code::SigError);
    assert_eq!(code_of(try_with(good, 0, &wallet::transfer(a, a, TRX))), Code::ContractValidateError);
    assert_eq!(code_of(try_with(good, 0, &wallet::transfer(a, b, 0))), Code::ContractValidateError);
    assert_eq!(code_of(try_with(good, 0, &wallet::transfer(a, b, 10_001 * TRX))), Code::ContractValidateError);
    let stranger = Wallet::derive("nobody", 0);
    let (bytes, _) = wallet::signed(&stranger, &wallet::transfer(stranger.address(), b, 1), 0, good);
    assert_eq!(code_of(bench.chain.submit(&bytes)), Code::ContractValidateError);
    assert_eq!(code_of(bench.chain.submit(&[0xff; 40])), Code::OtherError);

    let unsigned = wallet::build(&pay, 0, 0, good);
    assert_eq!(code_of(bench.chain.submit_transaction(unsigned.clone())), Code::SigError);
    let mut malformed = unsigned.clone();
    malformed.signature.push(vec![1; 65]);
    assert_eq!(code_of(bench.chain.submit_transaction(malformed)), Code::SigError);
    let mut huge = wallet::build(&wallet::trigger(a, b, vec![1; 600_000], 0), 0, 0, good);
    bench.keys[0].sign(&mut huge);
    assert_eq!(code_of(bench.chain.submit_transaction(huge)), Code::TooBigTransactionError);
    let none = proto::Transaction { raw_data: proto::TransactionRaw::default().encode_to_vec(), ..unsigned };
    assert_eq!(code_of(bench.chain.submit_transaction(none)), Code::ContractValidateError);
    let no_contract = wallet::trigger(a, b, vec![], 0);
    assert_eq!(code_of(bench.send(0, &no_contract, TRX)), Code::ContractValidateError);

    let (bytes, _) = wallet::signed(&bench.keys[0], &pay, 0, good);
    bench.chain.submit(&bytes).unwrap();
    assert_eq!(code_of(bench.chain.submit(&bytes)), Code::DupTransactionError);
    bench.mine();
    assert_eq!(code_of(bench.chain.submit(&bytes)), Code::DupTransactionError);
    assert_eq!(bench.chain.head().balance(b), 10_001 * TRX, "none of the refused left a trace");
}

#[test]
fn poor_accounts_cannot_pay_bandwidth() {
    let mut bench = Bench::new();
    let poor = Wallet::derive("poor", 0);
    let a = bench.keys[0].address();
    bench.run(0, &wallet::transfer(a, poor.address(), 10));
    bench.keys.push(poor.clone());
    // Creating an account costs 0.1 TRX of bandwidth that it does not have.
    let new = Wallet::derive("nobody", 0).address();
    assert_eq!(code_of(bench.send(4, &wallet::transfer(poor.address(), new, 1), 0)), Code::BandwithError);
    assert!(bench.send(4, &wallet::transfer(poor.address(), a, 1), 0).is_ok());
}

#[test]
fn a_full_pool_is_busy_until_the_next_block() {
    let mut bench = Bench::with(Params { max_pending: 2, ..Params::default() });
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.send(0, &wallet::transfer(a, b, 1), 0).unwrap();
    bench.send(0, &wallet::transfer(a, b, 2), 0).unwrap();
    assert_eq!(code_of(bench.send(0, &wallet::transfer(a, b, 3), 0)), Code::ServerBusy);
    bench.mine();
    bench.send(0, &wallet::transfer(a, b, 3), 0).unwrap();
}

#[test]
fn a_pool_full_of_bytes_is_busy_until_the_next_block() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    for amount in 1..4 {
        bench.send(0, &wallet::transfer(a, b, amount), 0).unwrap();
        let sizes: usize = bench.chain.pending.iter().map(|intake| intake.size).sum();
        assert_eq!(bench.chain.pending_bytes, sizes);
    }
    // As if the waiting ones were larger.
    bench.chain.pending_bytes = params::MAX_PENDING_BYTES;
    assert_eq!(code_of(bench.send(0, &wallet::transfer(a, b, 4), 0)), Code::ServerBusy);
    bench.mine();
    assert_eq!(bench.chain.pending_bytes, 0);
    bench.send(0, &wallet::transfer(a, b, 4), 0).unwrap();
    assert!(bench.chain.pending_bytes > 0);
    // Judging the queue again counts it once.
    let before = bench.chain.pending_bytes;
    bench.chain.intervene(&Intervention::SetBalances(vec![(b, 5)]));
    assert_eq!(bench.chain.pending_bytes, before);
}

#[test]
fn a_step_holds_its_code_in_the_order_of_hashes() {
    let mut bench = Bench::new();
    bench.chain.keep_changes();
    let from = bench.keys[0].address();
    for code in 0..8 {
        let message = wallet::create(from, "thing", vec![0x60, code, 0x5f, 0x53, 0x60, 1, 0x5f, 0xf3], None, 0);
        bench.send(0, &message, 100 * TRX).unwrap();
    }
    bench.mine();
    let changes = bench.chain.take_changes();
    let hashes: Vec<_> = change::codes(&changes).map(revm::primitives::keccak256).collect();
    assert_eq!(hashes.len(), 8);
    assert!(hashes.is_sorted());
}

#[test]
fn nothing_is_kept_for_steps_that_nobody_asks_for() {
    let mut bench = Bench::new();
    bench.deploy(vec![0x60, 7, 0x5f, 0x53, 0x60, 1, 0x5f, 0xf3]);
    assert!(bench.chain.state.new_codes.is_empty());
}

#[test]
fn permissions_that_cannot_be_paid_for_fail_in_execution() {
    let mut bench = Bench::new();
    let poor = Wallet::derive("poor", 0);
    let a = bench.keys[0].address();
    bench.run(0, &wallet::transfer(a, poor.address(), 99 * TRX));
    bench.keys.push(poor.clone());
    let update = proto::AccountPermissionUpdateContract {
        owner_address: crate::address::to_wire(poor.address()).to_vec(),
        owner: Some(intake::default_owner(poor.address())),
        witness: None,
        actives: vec![intake::default_active(poor.address())],
    };
    assert_eq!(code_of(bench.send(4, &update, 0)), Code::ContractExeError);
    let wrong = proto::AccountPermissionUpdateContract { actives: vec![], ..update };
    assert_eq!(code_of(bench.send(4, &wrong, 0)), Code::ContractValidateError);
}

#[test]
fn blocks_can_be_verified_by_anybody() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    for i in 1..=5 {
        bench.send(0, &wallet::transfer(a, b, i), 0).unwrap();
    }
    let parent = bench.chain.head().block().id;
    bench.mine();
    let block = bench.chain.head().block().clone();
    assert_eq!(block.transactions.len(), 5);
    let raw = block.header.raw_data.clone().unwrap();
    assert_eq!(raw.parent_hash, parent.to_vec());
    assert_eq!(raw.tx_trie_root, lucid_tron_types::block::transaction_root(&block.transactions).to_vec());
    assert_eq!(block.id.0, block_id(&raw));
    assert_eq!(block.id[..8], 1u64.to_be_bytes());
    let signer = recover(&sha256(&raw.encode_to_vec()), &block.header.witness_signature).unwrap();
    assert_eq!(crate::address::to_wire(signer).to_vec(), raw.witness_address);
}

#[test]
fn two_of_three_must_sign() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let keys: Vec<proto::Key> = bench.keys[1..4]
        .iter()
        .map(|k| proto::Key { address: crate::address::to_wire(k.address()).to_vec(), weight: 1 })
        .collect();
    let mut operations = vec![0; 32];
    operations[0] = 1 << 1;
    let active = proto::Permission { threshold: 2, keys, operations, ..intake::default_active(a) };
    let update = proto::AccountPermissionUpdateContract {
        owner_address: crate::address::to_wire(a).to_vec(),
        owner: Some(intake::default_owner(a)),
        witness: None,
        actives: vec![active],
    };
    let info = bench.run(0, &update);
    assert_eq!(info.system_fee, 100 * TRX);

    let pay = wallet::transfer(a, b, TRX);
    let validity = bench.validity();
    let signed_by = |bench: &Bench, who: &[usize], permission: i32| {
        let mut transaction = wallet::build(&pay, permission, 0, validity);
        who.iter().for_each(|i| bench.keys[*i].sign(&mut transaction));
        transaction
    };
    for (who, permission) in [(&[1][..], 2), (&[1, 1], 2), (&[0, 1], 2), (&[1, 2, 3, 0], 2), (&[1, 2], 0), (&[1, 2], 3)]
    {
        let transaction = signed_by(&bench, who, permission);
        assert_eq!(code_of(bench.chain.submit_transaction(transaction)), Code::SigError, "{who:?} {permission}");
    }
    let transaction = signed_by(&bench, &[3, 1], 2);
    let id = bench.chain.submit_transaction(transaction).unwrap();
    bench.mine();
    let info = bench.chain.head().transaction_info(&id).unwrap();
    assert_eq!(info.fee - info.receipt.net_fee, TRX, "more than one signature costs 1 TRX");

    // The bitmap allows transfers only.
    let call = wallet::trigger(a, b, vec![], 0);
    let validity = bench.validity();
    let mut transaction = wallet::build(&call, 2, 0, validity);
    bench.keys[1].sign(&mut transaction);
    bench.keys[2].sign(&mut transaction);
    let refusal = bench.chain.submit_transaction(transaction).unwrap_err();
    assert_eq!(refusal, Refusal::signature("Permission denied"));
}

#[test]
fn the_same_calls_give_the_same_chain() {
    let run = || {
        let mut bench = Bench::new();
        bench.deploy(token::creation_code(5));
        bench.chain.head().block().id
    };
    assert_eq!(run(), run());
}

#[test]
fn reference_numbers_wrap_every_65536_blocks() {
    assert_eq!(ring_number(5, 5), Some(5));
    assert_eq!(ring_number(5, 6), None);
    assert_eq!(ring_number(65_536, 0), Some(65_536));
    assert_eq!(ring_number(65_536, 1), Some(1));
    assert_eq!(ring_number(200_000, 0xffff), Some(196_607));
}

#[test]
fn a_note_costs_its_fee() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let validity = bench.validity();
    let plain = wallet::build(&wallet::transfer(a, b, 1), 0, 0, validity);
    let raw = proto::TransactionRaw { data: b"thanks".to_vec(), ..plain.raw().unwrap() };
    let mut noted = proto::Transaction { raw_data: raw.encode_to_vec(), ..plain };
    bench.keys[0].sign(&mut noted);
    let id = bench.chain.submit_transaction(noted).unwrap();
    bench.mine();
    assert_eq!(bench.chain.head().transaction_info(&id).unwrap().fee, TRX);
}

#[test]
fn a_high_s_is_the_same_signature() {
    use k256::ecdsa::Signature;
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let validity = bench.validity();
    let mut transaction = wallet::build(&wallet::transfer(a, b, 1), 0, 0, validity);
    bench.keys[0].sign(&mut transaction);
    let low = Signature::from_slice(&transaction.signature[0][..64]).unwrap();
    let high = Signature::from_scalars(low.r(), -low.s()).unwrap();
    let v = transaction.signature[0][64];
    transaction.signature[0] = [high.to_bytes().as_slice(), &[27 + (28 - v)]].concat();
    bench.chain.submit_transaction(transaction).unwrap();
}

/// A deployment, a call of what it made, and an onward payment, none of them in a block.
#[test]
fn what_waits_is_seen_by_what_comes_after_it() {
    let mut bench = Bench::new();
    let (a, fresh) = (bench.keys[0].address(), Wallet::derive("fresh", 0));
    let create = wallet::create(a, "thing", token::creation_code(1_000), None, 0);
    bench.send(0, &create, 1_000 * TRX).unwrap();
    let usdt = wallet::contract_address(&bench.chain.pending_ids().next().unwrap().0, a);
    assert!(bench.chain.head().contract(usdt).is_some() && bench.chain.head().code(usdt).is_some());
    let words = [token::address_word(fresh.address()), token::number_word(7)];
    let call = wallet::trigger(a, usdt, token::call_data("transfer(address,uint256)", &words), 0);
    bench.send(0, &call, 100 * TRX).unwrap();
    assert_eq!(bench.read(usdt, "balanceOf(address)", &words[..1]), U256::from(7));
    bench.send(0, &wallet::transfer(a, fresh.address(), 5 * TRX), 0).unwrap();
    bench.keys.push(fresh.clone());
    bench.send(4, &wallet::transfer(fresh.address(), bench.keys[1].address(), 2 * TRX), 0).unwrap();
    assert_eq!(bench.chain.head().balance(fresh.address()), 3 * TRX);
    assert!(bench.chain.solid().contract(usdt).is_none() && bench.chain.solid().account(fresh.address()).is_none());
    assert_eq!(bench.chain.head().number(), 0);
    // The block carries the same out once more.
    let balances =
        |bench: &Bench| bench.keys.iter().map(|k| bench.chain.head().balance(k.address())).collect::<Vec<_>>();
    let before = balances(&bench);
    bench.mine();
    assert_eq!(bench.chain.head().block().transactions.len(), 4);
    assert_eq!(balances(&bench), before);
    assert_eq!(bench.read(usdt, "balanceOf(address)", &words[..1]), U256::from(7));
    // What was carried out on a block that is gone is gone with it.
    bench.chain.drop_blocks(0);
    assert!(bench.chain.head().contract(usdt).is_none());
}

/// As on the main network, where block 18,214,173 has a transaction whose sender wrote `unfreeze_amount` into it.
#[test]
fn a_result_from_elsewhere_keeps_all_but_how_the_contract_ended() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let validity = bench.validity();
    let (bytes, id) = wallet::signed(&bench.keys[0], &wallet::transfer(a, b, 1), 0, validity);
    let sent = proto::Transaction::decode(bytes.as_slice()).unwrap();
    let full = proto::TransactionResult {
        fee: 1,
        ret: 1,
        contract_ret: ContractResult::Revert.into(),
        unfreeze_amount: 5_000_000,
        withdraw_expire_amount: 3,
        order_id: vec![7],
        order_details: vec![vec![8, 1]],
        cancel_unfreeze_v2_amount: vec![vec![16, 1]],
        ..proto::TransactionResult::default()
    };
    let too_big = proto::TransactionResult { order_id: vec![7; 60], ..full.clone() };
    let refusal =
        bench.chain.submit_transaction(proto::Transaction { ret: vec![too_big], ..sent.clone() }).unwrap_err();
    assert!(refusal.message.contains("Too big transaction result"), "{refusal}");
    let ret = vec![full.clone(), proto::TransactionResult::default()];
    let bytes = proto::Transaction { ret, ..sent.clone() }.encode_to_vec();
    assert_eq!(bench.chain.submit(&bytes).unwrap().0, id, "the id does not cover it");
    bench.mine();
    let block = bench.chain.head().block().clone();
    let kept = proto::TransactionResult { contract_ret: ContractResult::Success.into(), ..full };
    let leaf = proto::Transaction { ret: vec![kept], ..sent }.encode_to_vec();
    assert_eq!(block.transactions[0].encode_to_vec(), leaf);
    let root = block.header.raw_data.as_ref().unwrap().tx_trie_root.clone();
    assert_eq!(root, sha256(&leaf).to_vec());
    // It pays for as many bytes as without.
    let net_usage = block.infos[0].receipt.net_usage;
    let again = bench.send(0, &wallet::transfer(a, b, 1), 0).unwrap();
    bench.mine();
    assert_eq!(bench.chain.head().transaction_info(&again).unwrap().receipt.net_usage, net_usage);
}

#[test]
fn the_pending_pool_spends_a_balance_once() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.send(0, &wallet::transfer(a, b, 9_000 * TRX), 0).unwrap();
    let refusal = bench.send(0, &wallet::transfer(a, b, 9_000 * TRX), 0).unwrap_err();
    assert_eq!(refusal.code, Code::ContractValidateError);
    bench.mine();
    assert_eq!(bench.chain.head().balance(b), 19_000 * TRX);
}

#[test]
fn what_expires_while_it_waits_is_dropped() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let head = bench.chain.head().block().clone();
    let validity = Validity::after(head.id.0, head.time(), 3_000);
    let (bytes, id) = wallet::signed(&bench.keys[0], &wallet::transfer(a, b, 1), 0, validity);
    // Still valid in the next block however late it is: a block refuses what expired before its parent.
    bench.chain.submit(&bytes).unwrap();
    bench.mine();
    assert!(bench.chain.head().transaction_info(&id.into()).is_some());
    bench.chain.drop_blocks(0);
    bench.mine();
    assert_eq!(code_of(bench.chain.submit(&bytes)), Code::TransactionExpirationError);
}
