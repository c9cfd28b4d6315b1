#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use prost::Message;
use serde_json::json;

use super::*;

const TX: TxId = TxId::from_bytes([0xab; 32]);

fn owner() -> PayoutAddress {
    PayoutAddress::from_hash20([7; 20])
}

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

/// The JSON that java-tron prints for a block: defaults left out, bytes in hex, enums by name.
fn block_json(header: &BlockHeaderRaw, transactions: &[Transaction]) -> serde_json::Value {
    let mut json = json!({
        "blockID": hex::encode(block::block_id(header)),
        "block_header": {
            "raw_data": {
                "number": header.number,
                "txTrieRoot": hex::encode(&header.tx_trie_root),
                "witness_address": hex::encode(&header.witness_address),
                "parentHash": hex::encode(&header.parent_hash),
                "version": header.version,
                "timestamp": header.timestamp,
            },
            "witness_signature": "00",
        },
    });
    if !transactions.is_empty() {
        json["transactions"] = transactions
            .iter()
            .map(|t| {
                json!({
                    "ret": [{ "contractRet": "SUCCESS" }],
                    "signature": t.signature.iter().map(hex::encode).collect::<Vec<_>>(),
                    "txID": hex::encode(block::transaction_id(&t.raw_data)),
                    "raw_data": { "contract": [], "ref_block_bytes": "0000" },
                    "raw_data_hex": hex::encode(&t.raw_data),
                })
            })
            .collect();
    }
    json
}

fn block_with(n: u8) -> (BlockHeaderRaw, Vec<Transaction>) {
    let ret = vec![TransactionResult { contract_ret: ContractResult::Success.into(), ..TransactionResult::default() }];
    let transactions: Vec<_> =
        (0..n).map(|i| Transaction { raw_data: vec![i; 9], signature: vec![vec![i; 65]], ret: ret.clone() }).collect();
    let header = BlockHeaderRaw {
        timestamp: 1_745_423_034_000,
        tx_trie_root: block::transaction_root(&transactions).to_vec(),
        parent_hash: vec![3; 32],
        number: 77,
        witness_address: owner().as_bytes().to_vec(),
        version: 31,
        ..BlockHeaderRaw::default()
    };
    (header, transactions)
}

#[test]
fn a_main_network_header_is_checked() {
    let json = json!({
        "blockID": "000000000335f6219b675cfb09a93b99a53729b80b188dcde464eb41625c3d0c",
        "block_header": { "raw_data": {
            "number": 53_868_065,
            "txTrieRoot": "0000000000000000000000000000000000000000000000000000000000000000",
            "witness_address": "41711cf6683d28621ae12030fd541b288c61d682cd",
            "parentHash": "000000000335f620ef6509d67751753763be896f7ac569fc1d1cfa059cecf619",
            "version": 31,
            "timestamp": 1_745_423_034_000_i64
        }, "witness_signature": "218a" }
    });
    let block = read::<BlockJson>(json).checked().unwrap().unwrap();
    assert_eq!(block.solid().number, 53_868_065);
    assert_eq!(block.solid().time, UnixMillis::new(1_745_423_034_000));
    assert_eq!(block.n_transactions(), 0);
}

/// What a node of java-tron 4.8.2 answered: the leaf of the transaction tree covers the signature and the result.
#[test]
fn a_java_tron_block_with_a_transaction_is_checked() {
    let raw_data_hex = "0a0200a42208b0ef6ad98a02403e40b8e1e8d38f345a57083b12530a38747970652e676f6f676c65617069732e636f6d\
        2f70726f746f636f6c2e43616e63656c416c6c556e667265657a655632436f6e747261637412170a1541dcf2957055e8fcde477a077ecfed\
        df5ab235754770a1899cbf8f34";
    let json = json!({
        "blockID": "00000000000000a568a725352ccd7fbad4e65f56ed11d420a505c21f2230145d",
        "block_header": { "raw_data": {
            "timestamp": 1_790_865_510_000_i64,
            "txTrieRoot": "c85f5050cb4a05c58222017f823191d5ae1ca07b7bd7f090f493a35c10f03491",
            "parentHash": "00000000000000a4b0ef6ad98a02403ebb86833716c2350b6338a6ee79df2dfc",
            "number": 165,
            "witness_address": "417e5f4552091a69125d5dfcb7b8c2659029395bdf",
            "version": 38
        } },
        "transactions": [{
            "raw_data": { "ref_block_bytes": "00a4" },
            "signature": ["755e1552868a1734c90c28dacb66e58f85eaa5fc2845593280e3b6ee1cf1b7af793cc378d8c3ad144542502270ab8520\
                95665abfffdea306200a9942a67e161401"],
            "ret": [{ "contractRet": "SUCCESS" }],
            "raw_data_hex": raw_data_hex,
            "txID": "db8667ffea27109131fd5c113abcadd535c896590814a50dbf9eda253a8d19da"
        }]
    });
    let block = read::<BlockJson>(json).checked().unwrap().unwrap();
    let id = "db8667ffea27109131fd5c113abcadd535c896590814a50dbf9eda253a8d19da".parse().unwrap();
    assert_eq!(block.result_of(&id), Some(Some(ContractResult::Success)));
}

#[test]
fn a_blocks_leaves_are_rebuilt_from_its_json() {
    let (header, transactions) = block_with(3);
    let block = read::<BlockJson>(block_json(&header, &transactions)).checked().unwrap().unwrap();
    let id = TxId::from_bytes(block::transaction_id(&transactions[2].raw_data));
    assert_eq!(block.result_of(&id), Some(Some(ContractResult::Success)));
    // The negative control: the same with one leaf's result left out.
    let mut json = block_json(&header, &transactions);
    json["transactions"][1]["ret"] = json!([{}]);
    let problem = read::<BlockJson>(json).checked().unwrap_err();
    assert!(problem.contains("do not hash to the root"), "{problem}");
    let mut json = block_json(&header, &transactions);
    json["blockID"] = json!("00".repeat(32));
    assert!(read::<BlockJson>(json).checked().unwrap_err().contains("hashes to"));
    assert_eq!(read::<BlockJson>(json!({})).checked(), Ok(None));
}

#[test]
fn a_receipt_is_read_and_absence_is_not_an_error() {
    let topic = hex::encode(crate::trc20::transfer_topic());
    let json = json!({
        "id": TX.to_string(), "fee": 13_844_850, "blockNumber": 88, "blockTimeStamp": 1_745_423_034_000_i64,
        "contractResult": ["00"], "contract_address": owner().hex(),
        "receipt": { "energy_fee": 13_499_850, "energy_usage_total": 64_285, "net_fee": 345_000, "result": "SUCCESS" },
        "log": [{ "address": "07".repeat(20), "topics": [topic], "data": "00" }],
    });
    let info = read::<InfoJson>(json.clone()).info(&TX).unwrap().unwrap();
    assert_eq!((info.block, info.fee, info.energy), (88, Sun::new(13_844_850), 64_285));
    assert_eq!(info.result, ContractResult::Success);
    assert_eq!(info.logs[0].address, owner());
    assert_eq!(info.logs[0].topics, [crate::trc20::transfer_topic()]);
    assert_eq!(read::<InfoJson>(json!({})).info(&TX), Ok(None));
    assert!(read::<InfoJson>(json.clone()).info(&TxId::from_bytes([0; 32])).is_err());
    let mut both = json;
    both["result"] = json!("FAILED");
    assert!(read::<InfoJson>(both).info(&TX).unwrap_err().contains("both"));
}

#[test]
fn a_failed_receipt_says_why() {
    let json = json!({
        "id": TX.to_string(), "fee": 100, "blockNumber": 88, "result": "FAILED", "resMessage": "52",
        "receipt": { "result": "OUT_OF_ENERGY", "energy_usage_total": 5 },
    });
    let info = read::<InfoJson>(json).info(&TX).unwrap().unwrap();
    assert_eq!(info.result, ContractResult::OutOfEnergy);
    assert!(info.logs.is_empty());
    // A transaction without a contract call has no result.
    let json = json!({ "id": TX.to_string(), "blockNumber": 88, "receipt": { "net_usage": 268 } });
    assert_eq!(read::<InfoJson>(json).info(&TX).unwrap().unwrap().result, ContractResult::Default);
}

#[test]
fn a_transaction_must_have_the_id_asked_for() {
    let raw = lucid_tron_types::proto::TransactionRaw { timestamp: 5, ..Default::default() }.encode_to_vec();
    let id = TxId::from_bytes(block::transaction_id(&raw));
    let json = json!({ "txID": id.to_string(), "raw_data_hex": hex::encode(&raw), "signature": ["00"] });
    assert_eq!(read::<TransactionJson>(json.clone()).with_id(&id).unwrap().unwrap().raw_data, raw);
    assert!(read::<TransactionJson>(json).with_id(&TX).is_err());
    assert_eq!(read::<TransactionJson>(json!({})).with_id(&TX), Ok(None));
}

#[test]
fn accounts_with_and_without_permissions() {
    let operations = format!("{}{}", "00000080", "00".repeat(28));
    let json = json!({
        "address": owner().hex(), "balance": 5_000_000,
        "owner_permission": { "permission_name": "owner", "threshold": 1,
            "keys": [{ "address": owner().hex(), "weight": 1 }] },
        "active_permission": [{ "type": "Active", "id": 2, "permission_name": "pay", "threshold": 2,
            "operations": operations, "keys": [
                { "address": owner().hex(), "weight": 1 }, { "address": owner().to_string(), "weight": 1 } ] }],
        "account_resource": {}, "assetV2": [{ "key": "1", "value": 1 }],
    });
    let account = read::<AccountJson>(json).account(&owner()).unwrap().unwrap();
    assert_eq!(account.balance, Sun::new(5_000_000));
    assert_eq!(account.permissions[0].operations, None);
    assert_eq!((account.permissions[1].id, account.permissions[1].threshold), (2, 2));
    assert_eq!(account.permissions[1].operations.unwrap()[3], 0x80);
    let bare = json!({ "address": owner().hex() });
    let account = read::<AccountJson>(bare.clone()).account(&owner()).unwrap().unwrap();
    assert_eq!(account.permissions[0].keys, [(owner(), 1)]);
    assert!(read::<AccountJson>(bare).account(&PayoutAddress::from_hash20([8; 20])).is_err());
    assert_eq!(read::<AccountJson>(json!({})).account(&owner()), Ok(None));
}

#[test]
fn a_missing_or_negative_price_is_an_error() {
    let parameters = |fee: serde_json::Value| {
        read::<ParametersJson>(json!({ "chainParameter": [
            { "key": "getEnergyFee", "value": fee }, { "key": "getTransactionFee", "value": 1_000 },
            { "key": "getMultiSignFee", "value": 1_000_000 }, { "key": "getAllowMultiSign" },
        ]}))
        .parameters()
    };
    assert_eq!(parameters(json!(100)).unwrap().energy_price, Sun::new(100));
    assert!(parameters(json!(-1)).is_err());
    assert!(read::<ParametersJson>(json!({})).parameters().unwrap_err().contains("getEnergyFee"));
}

#[test]
fn a_revert_is_seen_although_the_result_is_true() {
    let word = "00".repeat(31) + "01";
    let good = json!({ "result": { "result": true }, "energy_used": 541, "constant_result": [word],
        "transaction": { "ret": [{}], "visible": false } });
    let Constant::Returned(result) = read::<ConstantJson>(good).constant().unwrap() else { panic!("returned") };
    assert_eq!((result.data[31], result.energy), (1, 541));
    let reverted = json!({ "result": { "result": true, "message": hex::encode("REVERT opcode executed") },
        "constant_result": [""], "transaction": { "ret": [{ "ret": "FAILED" }] } });
    let Constant::Reverted(message) = read::<ConstantJson>(reverted).constant().unwrap() else { panic!("reverted") };
    assert_eq!(message, "REVERT opcode executed");
    assert!(read::<ConstantJson>(json!({ "result": { "result": true } })).constant().is_err());
}
