#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lucid_tron_types::abi::{selector, word_of};
use serde_json::{Value, json};

use super::*;

const TX: TxId = TxId::from_bytes([0xab; 32]);

fn owner() -> PayoutAddress {
    PayoutAddress::from_hash20([7; 20])
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn receipt() -> Value {
    json!({
        "id": TX.to_string(), "fee": 13_844_850, "blockNumber": 88, "blockTimeStamp": 1_745_423_034_000_i64,
        "contractResult": ["0001"], "contract_address": owner().hex(),
        "receipt": { "energy_fee": 13_499_850, "energy_usage_total": 64_285, "net_fee": 345_000, "result": "SUCCESS" },
        "log": [{ "address": "07".repeat(20), "topics": ["11".repeat(32)], "data": "00" }, { "address": owner().hex() }],
    })
}

#[test]
fn a_receipt_is_read_and_absence_is_not_an_error() {
    let info = read::<InfoJson>(receipt()).info_of(&TX).unwrap().unwrap();
    assert_eq!((info.block, info.fee, info.energy), (88, Sun::new(13_844_850), 64_285));
    assert_eq!((info.result, info.is_success(), info.output.as_slice()), (ContractResult::Success, true, &[0, 1][..]));
    let log = Log { address: owner(), topics: vec![[0x11; 32]], data: vec![0] };
    assert_eq!(info.logs, [log, Log { address: owner(), topics: vec![], data: vec![] }]);
    assert_eq!(read::<InfoJson>(json!({})).info_of(&TX), Ok(None));
    assert!(read::<InfoJson>(receipt()).info_of(&TxId::from_bytes([0; 32])).is_err());
    let mut both = receipt();
    both["result"] = json!("FAILED");
    assert!(read::<InfoJson>(both).info_of(&TX).unwrap_err().contains("both"));
}

#[test]
fn a_failed_receipt_says_why() {
    let json = json!({
        "id": TX.to_string(), "fee": 100, "blockNumber": 88, "result": "FAILED",
        "resMessage": hex::encode("Not enough energy"),
        "receipt": { "result": "OUT_OF_ENERGY", "energy_usage_total": 5 },
    });
    let info = read::<InfoJson>(json).info_of(&TX).unwrap().unwrap();
    assert_eq!((info.result, info.is_success()), (ContractResult::OutOfEnergy, false));
    assert_eq!((info.message.as_str(), info.vault_revert()), ("Not enough energy", None));
    assert!(info.logs.is_empty());
    let data = [&selector("Stale(uint64)")[..], &word_of(9)].concat();
    let json = json!({ "id": TX.to_string(), "blockNumber": 88, "result": "FAILED",
        "contractResult": [hex::encode(data)], "receipt": { "result": "REVERT" } });
    let info = read::<InfoJson>(json).info_of(&TX).unwrap().unwrap();
    assert_eq!(info.vault_revert(), Some(VaultRevert::Stale { newest: 9 }));
    // A transaction without a contract call has no result.
    let json = json!({ "id": TX.to_string(), "blockNumber": 88, "receipt": { "net_usage": 268 } });
    let info = read::<InfoJson>(json).info_of(&TX).unwrap().unwrap();
    assert_eq!((info.result, info.is_success()), (ContractResult::Default, true));
    // One of a later protocol is a failure all the same.
    let json = json!({ "id": TX.to_string(), "blockNumber": 88, "result": "FAILED", "receipt": { "result": "NEW" } });
    assert_eq!(read::<InfoJson>(json).info_of(&TX).unwrap().unwrap().result, ContractResult::Unknown);
}

#[test]
fn a_blocks_receipts_are_a_list_and_odd_ones_hide_no_others() {
    let list = json!([
        { "id": "not an id", "blockNumber": 88 }, null, 7, { "id": TX.to_string(), "blockNumber": 88, "fee": -1 },
        receipt(), { "id": TX.to_string(), "blockNumber": 88, "log": [{ "address": "xyz" }] },
    ]);
    let infos = read::<InfosJson>(list).infos(88).unwrap().unwrap();
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].logs[0].address, owner());
    assert_eq!(read::<InfosJson>(json!({})).infos(88), Ok(None));
    assert_eq!(read::<InfosJson>(json!([])).infos(88), Ok(None));
    assert!(read::<InfosJson>(json!([receipt()])).infos(89).unwrap_err().contains("block 88 for block 89"));
}

#[test]
fn accounts_and_resources_are_read() {
    let json = json!({ "address": owner().hex(), "balance": 5_000_000, "assetV2": [{ "key": "1", "value": 1 }] });
    let account = read::<AccountJson>(json).account(&owner()).unwrap().unwrap();
    assert_eq!(account, Account { address: owner(), balance: Sun::new(5_000_000) });
    let bare = json!({ "address": owner().to_string() });
    assert_eq!(read::<AccountJson>(bare.clone()).account(&owner()).unwrap().unwrap().balance, Sun::ZERO);
    assert!(read::<AccountJson>(bare).account(&PayoutAddress::from_hash20([8; 20])).is_err());
    assert_eq!(read::<AccountJson>(json!({})).account(&owner()), Ok(None));
    let json = json!({ "freeNetUsed": 100, "freeNetLimit": 600, "NetLimit": 50, "EnergyLimit": 9, "EnergyUsed": 10 });
    let resources = Resources { energy: 0, free_bandwidth: 500, bandwidth: 50 };
    assert_eq!(read::<ResourcesJson>(json).resources(), resources);
    assert_eq!(read::<ResourcesJson>(json!({})).resources(), Resources::default());
}

#[test]
fn a_missing_or_negative_price_is_an_error() {
    let parameters = |fee: Value| {
        read::<ParametersJson>(json!({ "chainParameter": [
            { "key": "getEnergyFee", "value": fee }, { "key": "getTransactionFee", "value": 1_000 },
            { "key": "getCreateAccountFee", "value": 100_000 }, { "key": "getAllowMultiSign" },
            { "key": "getCreateNewAccountFeeInSystemContract", "value": 1_000_000 },
        ]}))
        .parameters()
    };
    let prices = parameters(json!(100)).unwrap();
    assert_eq!((prices.energy_price, prices.new_account_fee), (Sun::new(100), Sun::new(1_100_000)));
    assert!(parameters(json!(-1)).is_err());
    assert!(read::<ParametersJson>(json!({})).parameters().unwrap_err().contains("getEnergyFee"));
}

#[test]
fn the_code_is_hashed_here() {
    let json = json!({ "smart_contract": { "code_hash": "00" }, "runtimecode": "6080" });
    let hash = read::<ContractInfoJson>(json).code_hash().unwrap();
    assert_eq!(hash, Some(keccak256(&[0x60, 0x80])));
    assert_eq!(read::<ContractInfoJson>(json!({})).code_hash(), Ok(None));
}
