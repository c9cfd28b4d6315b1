//! Rules that java-tron is particular about, with its words.

use super::*;
use proto::Transaction;

/// Sends `message` signed by `keys`, after `change` on the raw data.
fn send_changed<M: ContractMessage>(
    bench: &mut Bench,
    keys: &[usize],
    message: &M,
    change: impl FnOnce(&mut proto::TransactionRaw),
) -> Result<B256, Refusal> {
    let validity = bench.validity();
    let transaction = wallet::build(message, 0, 0, validity);
    let mut raw = transaction.raw().unwrap();
    change(&mut raw);
    let mut transaction = Transaction { raw_data: raw.encode_to_vec(), ..transaction };
    keys.iter().for_each(|key| bench.keys[*key].sign(&mut transaction));
    bench.chain.submit_transaction(transaction)
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::ContractValidateError, format!("Contract validate error : {message}"))
}

#[test]
fn results_in_blocks_say_how_the_contract_ended_and_no_fee() {
    let mut bench = Bench::new();
    let a = bench.keys[0].address();
    let id = bench.send(0, &wallet::transfer(a, Wallet::derive("nobody", 0).address(), 1), 0).unwrap();
    // The result is known while the transaction waits.
    let waiting = bench.chain.head().pending_transaction(&id).unwrap().clone();
    bench.mine();
    assert_eq!(bench.chain.head().transaction_info(&id).unwrap().system_fee, TRX);
    let block = bench.chain.head().block().clone();
    assert_eq!(hex::encode(block.transactions[0].ret[0].encode_to_vec()), "1801");
    assert_eq!(block.transactions[0], waiting);
    assert_eq!(block.header.raw_data.as_ref().unwrap().version, 32);
}

#[test]
fn what_expires_before_the_next_slot_is_too_late() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let head = i64::try_from(bench.chain.head().block().time()).unwrap();
    let pay = wallet::transfer(a, b, 1);
    // That comes before looking at signatures.
    let refusal = send_changed(&mut bench, &[], &pay, |raw| raw.expiration = head + 2_999).unwrap_err();
    assert_eq!(refusal, Refusal::expired());
    let refusal = send_changed(&mut bench, &[], &pay, |raw| raw.expiration = head + 3_000).unwrap_err();
    assert_eq!(refusal.message, "Validate signature error: miss sig or contract");
    send_changed(&mut bench, &[0], &pay, |raw| raw.expiration = head + 3_000).unwrap();
}

#[test]
fn a_contract_that_is_not_what_it_says_has_no_owner_who_could_sign() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let pay = wallet::transfer(a, b, 1);
    // A transfer that calls itself a creation, a type that nobody knows, an owner of 20 bytes.
    let no_owner = proto::TransferContract { owner_address: a.to_vec(), ..pay.clone() };
    let foreign = [
        send_changed(&mut bench, &[0], &pay, |raw| raw.contract[0].r#type = 0),
        send_changed(&mut bench, &[0], &pay, |raw| raw.contract[0].r#type = 47),
        send_changed(&mut bench, &[0], &no_owner, |_| {}),
    ];
    for result in foreign {
        let refusal = result.unwrap_err();
        assert_eq!(refusal.code, Code::SigError);
        let signer = crate::address::to_base58(a);
        let said = format!(" is signed by {signer} but it is not contained of permission.");
        assert!(refusal.message.ends_with(&said), "{refusal}");
    }
    // Votes exist elsewhere.
    let refusal = send_changed(&mut bench, &[0], &pay, |raw| raw.contract[0].r#type = 4).unwrap_err();
    assert_eq!(refusal.code, Code::ContractValidateError);
    let refusal = send_changed(&mut bench, &[0], &pay, |raw| raw.contract[0].r#type = 11).unwrap_err();
    assert_eq!(refusal, invalid("freeze v2 is open, old freeze is closed"));
}

#[test]
fn permissions_are_looked_at_before_signatures() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let mut said = |permission: i32, signature: &[u8]| {
        let validity = bench.validity();
        let mut transaction = wallet::build(&wallet::transfer(a, b, 1), permission, 0, validity);
        transaction.signature.push(signature.to_vec());
        bench.chain.submit_transaction(transaction).unwrap_err().message
    };
    assert_eq!(said(3, &[0; 10]), "Validate signature error: permission isn't exit");
    assert_eq!(said(0, &[0; 10]), "Validate signature error: Signature size is 10");
    let with_header = |v: u8| [&[1; 64][..], &[v]].concat();
    assert_eq!(said(0, &with_header(35)), "Validate signature error: Header byte out of range: 35");
    assert_eq!(said(0, &with_header(8)), "Validate signature error: Header byte out of range: 35");
    assert_eq!(said(0, &with_header(0xff)), "Validate signature error: Header byte out of range: 26");
    let zero = [0; 65];
    assert_eq!(said(0, &zero), "Validate signature error: Could not recover public key from signature");
}

#[test]
fn a_header_byte_has_four_ways_to_be_written() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    for offset in [0u8, 27, 4, 31] {
        let validity = bench.validity();
        let mut transaction = wallet::build(&wallet::transfer(a, b, 1), 0, 0, validity);
        bench.keys[0].sign(&mut transaction);
        transaction.signature[0][64] += offset;
        transaction.signature[0][64] -= 27;
        // What follows is not looked at.
        transaction.signature[0].push(9);
        bench.chain.submit_transaction(transaction).unwrap();
    }
}

#[test]
fn a_transaction_that_makes_an_account_is_small() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let new = Wallet::derive("nobody", 0).address();
    let memo = |raw: &mut proto::TransactionRaw| raw.data = vec![b'x'; 1_000];
    let refusal = send_changed(&mut bench, &[0], &wallet::transfer(a, new, 1), memo).unwrap_err();
    assert_eq!(refusal.code, Code::TooBigTransactionError);
    assert!(refusal.message.starts_with("Too big new account transaction, TxId "), "{refusal}");
    assert!(refusal.message.ends_with(" bytes, maxTxSize 1000"), "{refusal}");
    send_changed(&mut bench, &[0], &wallet::transfer(a, b, 1), memo).unwrap();
}

#[test]
fn transfers_are_refused_in_the_right_words() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1));
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let refused = |bench: &mut Bench, to: Vec<u8>, amount: i64| {
        let message = proto::TransferContract { to_address: to, amount, ..wallet::transfer(a, b, 1) };
        bench.send(0, &message, 0).unwrap_err()
    };
    let wire = |address: Address| crate::address::to_wire(address).to_vec();
    assert_eq!(refused(&mut bench, vec![1], 1), invalid("Invalid toAddress!"));
    assert_eq!(refused(&mut bench, wire(a), 0), invalid("Cannot transfer TRX to yourself."));
    assert_eq!(refused(&mut bench, wire(b), -1), invalid("Amount must be greater than 0."));
    assert_eq!(refused(&mut bench, wire(usdt), 1), invalid("Cannot transfer TRX to a smartContract."));
    let said = "Validate TransferContract error, balance is not sufficient.";
    assert_eq!(refused(&mut bench, wire(b), i64::MAX), invalid(said));
    // With the new account's fee it is more than a number holds.
    assert_eq!(refused(&mut bench, wire(Address::with_last_byte(7)), i64::MAX), invalid("long overflow"));
}

#[test]
fn accounts_are_created_in_the_right_order_of_checks() {
    let mut bench = Bench::new();
    let create = |account: Vec<u8>| proto::AccountCreateContract {
        owner_address: crate::address::to_wire(bench.keys[0].address()).to_vec(),
        account_address: account,
        r#type: 0,
    };
    let (bad, old) = (create(vec![2]), create(crate::address::to_wire(bench.keys[1].address()).to_vec()));
    assert_eq!(bench.send(0, &bad, 0).unwrap_err(), invalid("Invalid account address"));
    assert_eq!(bench.send(0, &old, 0).unwrap_err(), invalid("Account has existed"));
    let stranger = crate::address::to_wire(Address::with_last_byte(7)).to_vec();
    let foreign = proto::AccountCreateContract { owner_address: stranger.clone(), ..bad };
    let refusal = bench.chain.check_system(&proto::Contract::pack(&foreign, 0)).unwrap_err();
    assert_eq!(refusal, invalid(&format!("Account[{}] not exists", hex::encode(stranger))));
}

#[test]
fn calls_are_refused_in_the_right_words() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1));
    let a = bench.keys[0].address();
    let call = wallet::trigger(a, usdt, token::transfer(a, 1), 0);
    let cases = [
        (proto::TriggerSmartContract { call_value: -1, ..call.clone() }, "callValue must be >= 0"),
        (proto::TriggerSmartContract { call_token_value: -1, ..call.clone() }, "tokenValue must be >= 0"),
        (proto::TriggerSmartContract { token_id: 1_000_000, ..call.clone() }, "tokenId must be > 1000000"),
        (
            proto::TriggerSmartContract { call_token_value: 5, ..call.clone() },
            "invalid arguments with tokenValue = 5, tokenId = 0",
        ),
        (proto::TriggerSmartContract { call_token_value: 5, token_id: 1_000_001, ..call.clone() }, "No asset !"),
        (
            proto::TriggerSmartContract { call_value: 20_000_000_000, ..call.clone() },
            "Validate InternalTransfer error, balance is not sufficient.",
        ),
        (
            proto::TriggerSmartContract { contract_address: vec![], ..call.clone() },
            "No contract or not a smart contract",
        ),
    ];
    for (message, said) in cases {
        assert_eq!(bench.send(0, &message, TRX).unwrap_err(), invalid(said));
    }
    let limit = bench.chain.params().max_fee_limit;
    let said = format!("feeLimit must be >= 0 and <= {limit}");
    assert_eq!(bench.send(0, &call, limit + 1).unwrap_err(), invalid(&said));
    // A token that is named and not sent does not matter.
    bench.send(0, &proto::TriggerSmartContract { token_id: 1_000_001, ..call }, 100 * TRX).unwrap();
}

#[test]
fn a_contract_without_code_cannot_be_called() {
    let mut bench = Bench::new();
    let empty = bench.deploy(vec![0]);
    let call = wallet::trigger(bench.keys[0].address(), empty, vec![], 0);
    assert_eq!(bench.send(0, &call, TRX).unwrap_err(), Refusal::new(Code::OtherError, "Error: null"));
}

#[test]
fn deployments_are_refused_in_the_right_words() {
    let mut bench = Bench::new();
    let message = wallet::create(bench.keys[0].address(), "c", vec![0], None, 0);
    let with = |change: fn(&mut proto::SmartContract)| {
        let mut message = message.clone();
        message.new_contract.as_mut().map(change);
        message
    };
    let nothing = proto::CreateSmartContract { new_contract: None, ..message.clone() };
    let cases = [
        (nothing, "OwnerAddress is not equals OriginAddress"),
        (with(|c| c.name = "x".repeat(33)), "contractName's length cannot be greater than 32"),
        (with(|c| c.consume_user_resource_percent = 101), "percent must be >= 0 and <= 100"),
        (with(|c| c.call_value = -1), "callValue must be >= 0"),
        (with(|c| c.origin_energy_limit = 0), "The originEnergyLimit must be > 0"),
    ];
    for (message, said) in cases {
        assert_eq!(bench.send(0, &message, TRX).unwrap_err(), invalid(said));
    }
}

#[test]
fn permission_names_are_counted_as_java_counts() {
    let mut bench = Bench::new();
    let a = bench.keys[0].address();
    let update = |name: &str| proto::AccountPermissionUpdateContract {
        owner_address: crate::address::to_wire(a).to_vec(),
        owner: Some(intake::default_owner(a)),
        witness: None,
        actives: vec![proto::Permission { permission_name: name.to_owned(), ..intake::default_active(a) }],
    };
    let check = |bench: &mut Bench, name: &str| bench.chain.check_system(&proto::Contract::pack(&update(name), 0));
    assert_eq!(check(&mut bench, &"é".repeat(32)), Ok(()));
    assert_eq!(check(&mut bench, &"é".repeat(33)), Err(invalid("permission's name is too long")));
    // Outside the basic plane a character counts twice.
    assert_eq!(check(&mut bench, &"😀".repeat(17)), Err(invalid("permission's name is too long")));
}

#[test]
fn what_cannot_be_paid_in_execution_names_the_account_in_hex() {
    let mut bench = Bench::new();
    let poor = Wallet::derive("poor", 0);
    let a = bench.keys[0].address();
    bench.run(0, &wallet::transfer(a, poor.address(), 99 * TRX));
    let update = proto::AccountPermissionUpdateContract {
        owner_address: crate::address::to_wire(poor.address()).to_vec(),
        owner: Some(intake::default_owner(poor.address())),
        witness: None,
        actives: vec![intake::default_active(poor.address())],
    };
    let hex = crate::address::to_hex(poor.address());
    let said = format!("Contract execute error : {hex} insufficient balance, balance: 99000000, amount: 100000000");
    let refusal = bench.chain.check_system(&proto::Contract::pack(&update, 0)).unwrap_err();
    assert_eq!(refusal, Refusal::new(Code::ContractExeError, said));
}

#[test]
fn names_are_given_once() {
    let mut bench = Bench::new();
    let rename = |bench: &Bench, who: usize, name: &[u8]| proto::AccountUpdateContract {
        account_name: name.to_vec(),
        owner_address: crate::address::to_wire(bench.keys[who].address()).to_vec(),
    };
    let too_long = rename(&bench, 0, &[b'x'; 201]);
    assert_eq!(bench.send(0, &too_long, 0).unwrap_err(), invalid("Invalid accountName"));
    bench.run(0, &rename(&bench, 0, b"first"));
    assert_eq!(bench.chain.head().account(bench.keys[0].address()).unwrap().name, b"first");
    let again = rename(&bench, 0, b"second");
    assert_eq!(bench.send(0, &again, 0).unwrap_err(), invalid("This account name is already existed"));
    let taken = rename(&bench, 1, b"first");
    assert_eq!(bench.send(1, &taken, 0).unwrap_err(), invalid("This name is existed"));
    // A contract's name is not reserved.
    let at = bench.deploy(vec![0]);
    assert_eq!(bench.chain.head().account(at).unwrap().name, b"thing");
    bench.run(1, &rename(&bench, 1, b"thing"));
}

#[test]
fn only_the_deployer_changes_a_contracts_settings() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    let abi = proto::Abi { entrys: vec![proto::AbiEntry { name: "f".to_owned(), ..Default::default() }] };
    let at = bench.run(0, &wallet::create(a, "c", token::creation_code(1), Some(abi), 0)).contract_address.unwrap();
    let wire = |address: Address| crate::address::to_wire(address).to_vec();
    let percent = |owner: Address, percent: i64| proto::UpdateSettingContract {
        owner_address: wire(owner),
        contract_address: wire(at),
        consume_user_resource_percent: percent,
    };
    let clear = proto::ClearAbiContract { owner_address: wire(a), contract_address: wire(at) };
    let limit =
        proto::UpdateEnergyLimitContract { owner_address: wire(a), contract_address: wire(at), origin_energy_limit: 5 };
    let stranger = format!("Account[{}] is not the owner of the contract", crate::address::to_hex(b));
    assert_eq!(bench.send(1, &percent(b, 1), 0).unwrap_err(), invalid(&stranger));
    assert_eq!(bench.send(0, &percent(a, 101), 0).unwrap_err(), invalid("percent not in [0, 100]"));
    let nowhere = proto::UpdateSettingContract { contract_address: wire(b), ..percent(a, 1) };
    assert_eq!(bench.send(0, &nowhere, 0).unwrap_err(), invalid("Contract does not exist"));
    let zero = proto::UpdateEnergyLimitContract { origin_energy_limit: 0, ..limit.clone() };
    assert_eq!(bench.send(0, &zero, 0).unwrap_err(), invalid("origin energy limit must be > 0"));
    let nowhere = proto::ClearAbiContract { contract_address: wire(b), ..clear.clone() };
    assert_eq!(bench.send(0, &nowhere, 0).unwrap_err(), invalid("Contract not exists"));
    bench.send(0, &percent(a, 12), 0).unwrap();
    bench.send(0, &limit, 0).unwrap();
    bench.run(0, &clear);
    let contract = bench.chain.head().contract(at).unwrap();
    assert_eq!((contract.consume_user_resource_percent, contract.origin_energy_limit), (12, 5));
    assert_eq!(contract.abi, Some(proto::Abi::default()));
}

#[test]
fn a_block_never_gets_too_big_and_the_rest_waits() {
    let mut bench = Bench::new();
    let usdt = bench.deploy(token::creation_code(1));
    let a = bench.keys[0].address();
    // Five of these do not fit into 2,000,000 bytes, but four and a small one do.
    for _ in 0..5 {
        let call = wallet::trigger(a, usdt, vec![0xff; 450_000], 0);
        bench.send(0, &call, TRX).unwrap();
    }
    bench.send(0, &wallet::transfer(a, bench.keys[1].address(), 1), 0).unwrap();
    bench.mine();
    let block = bench.chain.head().block().clone();
    assert_eq!((block.transactions.len(), bench.chain.pending()), (5, 1));
    assert!(block.to_proto().encoded_len() <= 2_000_000);
    assert!(block.to_proto().encoded_len() > 1_800_000);
    bench.mine();
    assert_eq!((bench.chain.head().block().transactions.len(), bench.chain.pending()), (1, 0));
}

#[test]
fn after_a_pause_resources_are_counted_at_the_heads_time() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.run(0, &wallet::transfer(a, b, 1));
    bench.run(0, &wallet::transfer(a, b, 1));
    let used = bench.chain.head().free_bandwidth_used(a);
    assert!(used > 500);
    // The first block after a day is still judged by the one before the pause; the next by the new time.
    let late = bench.chain.head().block().time() + 24 * 60 * 60 * 1_000;
    let message = wallet::transfer(a, b, 1);
    let validity = Validity::after(bench.chain.head().block().id.0, late - 60_000, 90_000);
    let (bytes, id) = wallet::signed(&bench.keys[0], &message, 0, Validity { expiration: late - 1, ..validity });
    bench.chain.submit(&bytes).unwrap();
    bench.chain.produce_block(late);
    assert!(bench.chain.head().transaction_info(&id.into()).unwrap().receipt.net_fee > 0);
    assert_eq!(bench.chain.head().free_bandwidth_used(a), 0);
    assert_eq!(bench.run(0, &message).receipt.net_fee, 0);
}

#[test]
fn what_has_become_invalid_waits_no_longer() {
    let mut bench = Bench::new();
    let (a, b) = (bench.keys[0].address(), bench.keys[1].address());
    bench.mine();
    // It names a block that is dropped, and would otherwise still be possible.
    let id = bench.send(0, &wallet::transfer(a, b, 1), 0).unwrap();
    assert!(bench.chain.head().pending_transaction(&id).is_some());
    assert_eq!(bench.chain.take_dropped(), []);
    bench.chain.drop_blocks(0);
    assert!(bench.chain.head().pending_transaction(&id).is_none());
    assert_eq!(bench.chain.pending(), 0);
    // Whoever runs the chain can say what became of it.
    let dropped: Vec<_> = bench.chain.take_dropped().into_iter().map(|(id, refusal)| (id, refusal.code)).collect();
    assert_eq!(dropped, [(id, Code::TaposError)]);
    assert_eq!(bench.chain.take_dropped(), []);
}
