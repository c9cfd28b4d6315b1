//! The tables against the protobuf messages that the chain uses, and any bytes as a message.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lucid_tron_types::proto::{self, ContractMessage};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::super::json::Style;
use super::super::schema;
use super::{Malformed, Message};

const PLAIN: Style = Style { visible: false, longs_as_texts: false };

/// A message with every field set is described in full: nothing is lost, and every field is printed.
fn is_described<M: ContractMessage>(message: &M, fields: usize) {
    let schema = schema::contract(M::NAME).unwrap();
    let wire = message.encode_to_vec();
    let read = Message::decode(schema, &wire).unwrap();
    assert_eq!(read.encode(), wire, "{}", M::NAME);
    assert_eq!(read.print(PLAIN).as_object().unwrap().len(), fields, "{}", M::NAME);
    assert_eq!(schema.fields.len(), fields, "{}", M::NAME);
    assert_eq!(schema::contract_number(M::NAME), Some(M::TYPE.into()));
}

#[test]
fn tables_describe_the_chains_messages() {
    let (a, b) = (vec![0x41, 1], vec![0x41, 2]);
    let key = proto::Key { address: a.clone(), weight: 3 };
    let permission = proto::Permission {
        r#type: 2,
        id: 4,
        permission_name: "p".to_owned(),
        threshold: 5,
        parent_id: -1,
        operations: vec![1; 32],
        keys: vec![key.clone(), key],
    };
    let param = proto::AbiParam { indexed: true, name: "n".to_owned(), r#type: "t".to_owned() };
    let entry = proto::AbiEntry {
        anonymous: true,
        constant: true,
        name: "e".to_owned(),
        inputs: vec![param.clone(), proto::AbiParam::default()],
        outputs: vec![param],
        r#type: 3,
        payable: true,
        state_mutability: 4,
    };
    let contract = proto::SmartContract {
        origin_address: a.clone(),
        contract_address: b.clone(),
        abi: Some(proto::Abi { entrys: vec![entry] }),
        bytecode: vec![9],
        call_value: -7,
        consume_user_resource_percent: 8,
        name: "c".to_owned(),
        origin_energy_limit: i64::MAX,
        code_hash: vec![10],
        trx_hash: vec![11],
        version: 1,
    };
    let wire = contract.encode_to_vec();
    assert_eq!(Message::decode(&schema::SMART_CONTRACT, &wire).unwrap().encode(), wire);

    is_described(&proto::TransferContract { owner_address: a.clone(), to_address: b.clone(), amount: i64::MIN }, 3);
    is_described(&proto::AccountCreateContract { owner_address: a.clone(), account_address: b.clone(), r#type: 2 }, 3);
    is_described(&proto::AccountUpdateContract { account_name: vec![1], owner_address: a.clone() }, 2);
    let create = proto::CreateSmartContract {
        owner_address: a.clone(),
        new_contract: Some(contract),
        call_token_value: 1,
        token_id: 2,
    };
    is_described(&create, 4);
    let trigger = proto::TriggerSmartContract {
        owner_address: a.clone(),
        contract_address: b.clone(),
        call_value: 1,
        data: vec![2],
        call_token_value: 3,
        token_id: 4,
    };
    is_described(&trigger, 6);
    let update = proto::AccountPermissionUpdateContract {
        owner_address: a.clone(),
        owner: Some(permission.clone()),
        witness: Some(permission.clone()),
        actives: vec![permission.clone(), permission],
    };
    is_described(&update, 4);
    let (owner_address, receiver_address, contract_address) = (a, b.clone(), b);
    is_described(
        &proto::FreezeBalanceV2Contract { owner_address: owner_address.clone(), frozen_balance: 1, resource: 1 },
        3,
    );
    is_described(
        &proto::UnfreezeBalanceV2Contract { owner_address: owner_address.clone(), unfreeze_balance: 1, resource: 1 },
        3,
    );
    is_described(&proto::WithdrawExpireUnfreezeContract { owner_address: owner_address.clone() }, 1);
    is_described(&proto::CancelAllUnfreezeV2Contract { owner_address: owner_address.clone() }, 1);
    let delegate = proto::DelegateResourceContract {
        owner_address: owner_address.clone(),
        resource: 1,
        balance: 2,
        receiver_address: receiver_address.clone(),
        lock: true,
        lock_period: 3,
    };
    is_described(&delegate, 6);
    let undelegate = proto::UnDelegateResourceContract {
        owner_address: owner_address.clone(),
        resource: 1,
        balance: 2,
        receiver_address,
    };
    is_described(&undelegate, 4);
    let setting = proto::UpdateSettingContract {
        owner_address: owner_address.clone(),
        contract_address: contract_address.clone(),
        consume_user_resource_percent: 1,
    };
    is_described(&setting, 3);
    let limit = proto::UpdateEnergyLimitContract {
        owner_address: owner_address.clone(),
        contract_address: contract_address.clone(),
        origin_energy_limit: 1,
    };
    is_described(&limit, 3);
    is_described(&proto::ClearAbiContract { owner_address, contract_address }, 2);
}

#[test]
fn a_transaction_is_described_to_its_last_field() {
    let raw = proto::TransactionRaw {
        ref_block_bytes: vec![1],
        ref_block_num: 2,
        ref_block_hash: vec![3],
        expiration: 4,
        data: vec![5],
        contract: vec![proto::Contract {
            r#type: 1,
            parameter: Some(proto::Any { type_url: "u".to_owned(), value: vec![6] }),
            provider: vec![7],
            contract_name: vec![8],
            permission_id: 9,
        }],
        scripts: vec![10],
        timestamp: 11,
        fee_limit: 12,
    };
    let result =
        proto::TransactionResult { fee: 1, ret: 1, contract_ret: 15, unfreeze_amount: 7, ..Default::default() };
    let transaction = proto::Transaction {
        raw_data: raw.encode_to_vec(),
        signature: vec![vec![1], Vec::new()],
        ret: vec![result, proto::TransactionResult::default()],
    };
    let wire = transaction.encode_to_vec();
    let read = Message::decode(&schema::TRANSACTION, &wire).unwrap();
    assert_eq!(read.encode(), wire);
    let printed = read.print(PLAIN);
    assert_eq!(printed["signature"], json!(["01", ""]));
    let result = json!({ "fee": 1, "ret": "FAILED", "contractRet": "INVALID_CODE", "unfreeze_amount": 7 });
    assert_eq!(printed["ret"], json!([result, {}]));
    assert_eq!(printed["raw_data"].as_object().unwrap().len(), 9);
    assert_eq!(printed["raw_data"]["contract"][0]["parameter"], json!({ "type_url": "u", "value": "06" }));
}

#[test]
fn values_without_a_name_get_one() {
    let message = proto::AccountCreateContract { r#type: 7, ..proto::AccountCreateContract::default() };
    let read = Message::decode(&schema::ACCOUNT_CREATE, &message.encode_to_vec()).unwrap();
    assert_eq!(read.print(PLAIN), json!({ "type": "UNKNOWN_ENUM_VALUE_AccountType_7" }));
}

#[test]
fn malformed_bytes_are_named() {
    let refused = |bytes: &[u8]| Message::decode(&schema::TRANSACTION, bytes).unwrap_err();
    assert_eq!(refused(&[0x0a, 0xff]), Malformed::Truncated);
    assert_eq!(refused(&[0x0a, 5, 1]), Malformed::Truncated);
    assert_eq!(refused(&[0x00]), Malformed::Tag);
    assert_eq!(refused(&[0x0e]), Malformed::WireType);
    assert_eq!(refused(&[0xff; 11]), Malformed::Varint);
    let name = Message::decode(&schema::ABI_PARAM, &[0x12, 1, 0xff]).unwrap_err();
    assert_eq!(name, Malformed::Utf8);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_not(wire in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(read) = Message::decode(&schema::TRANSACTION, &wire) {
            let again = read.encode();
            prop_assert_eq!(Message::decode(&schema::TRANSACTION, &again).unwrap().encode(), again);
            let style = Style { visible: true, longs_as_texts: true };
            prop_assert!(read.print(style).is_object());
        }
    }
}
