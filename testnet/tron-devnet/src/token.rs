//! The test USDT: our own Solidity (`contracts/TestUsdt.sol`) and the call data of its functions.

use lucid_tron_types::abi;
use lucid_tron_types::proto::{self, AbiEntryType, StateMutability};
use revm::primitives::{Address, U256};
use serde_json::Value;

/// Creation code without the constructor's argument.
const BYTECODE: &[u8] = include_bytes!("../contracts/TestUsdt.bin");
const JSON: &str = include_str!("../contracts/TestUsdt.json");

/// Name the contract is deployed under.
pub const NAME: &str = "TestUsdt";
/// Units (micro-USDT) the deployer holds at first.
pub const INITIAL_SUPPLY: u64 = 1_000_000_000_000_000;

/// Creation code of a token whose deployer holds `initial_supply` units.
pub fn creation_code(initial_supply: u64) -> Vec<u8> {
    [BYTECODE, &U256::from(initial_supply).to_be_bytes::<32>()].concat()
}

/// The token's interface.
pub fn abi() -> proto::Abi {
    let json: Value = serde_json::from_str(JSON).unwrap_or_default();
    parse_abi(json.get("abi").unwrap_or(&Value::Null))
}

/// Call data of `signature`, such as `transfer(address,uint256)`, with words as arguments.
pub fn call_data(signature: &str, words: &[[u8; 32]]) -> Vec<u8> {
    abi::call(signature, words)
}

/// An address as an argument.
pub fn address_word(address: Address) -> [u8; 32] {
    abi::address_word(&address.0.0)
}

/// A number as an argument.
pub fn number_word(number: u64) -> [u8; 32] {
    abi::word_of(number)
}

/// `transfer`: answers false even when it succeeds.
pub fn transfer(to: Address, units: u64) -> Vec<u8> {
    call_data("transfer(address,uint256)", &[address_word(to), number_word(units)])
}

/// `issue`: makes new units for the owner.
pub fn issue(units: u64) -> Vec<u8> {
    call_data("issue(uint256)", &[number_word(units)])
}

/// `balanceOf`.
pub fn balance_of(account: Address) -> Vec<u8> {
    call_data("balanceOf(address)", &[address_word(account)])
}

/// A JSON ABI as solc prints it, as the protocol's message. Entries it cannot understand are left out.
pub fn parse_abi(json: &Value) -> proto::Abi {
    let entrys = json.as_array().map(Vec::as_slice).unwrap_or_default();
    proto::Abi { entrys: entrys.iter().filter_map(parse_entry).collect() }
}

fn parse_entry(entry: &Value) -> Option<proto::AbiEntry> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let flag = |key: &str| entry.get(key).and_then(Value::as_bool).unwrap_or_default();
    let r#type = AbiEntryType::from_name(&capitalised(text("type")))?;
    let mutability =
        StateMutability::from_name(&capitalised(text("stateMutability"))).unwrap_or(StateMutability::Unknown);
    Some(proto::AbiEntry {
        anonymous: flag("anonymous"),
        constant: flag("constant"),
        name: text("name").to_owned(),
        inputs: parse_params(entry.get("inputs")),
        outputs: parse_params(entry.get("outputs")),
        r#type: r#type.into(),
        payable: flag("payable"),
        state_mutability: mutability.into(),
    })
}

fn parse_params(params: Option<&Value>) -> Vec<proto::AbiParam> {
    let params = params.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    params
        .iter()
        .map(|param| proto::AbiParam {
            indexed: param.get("indexed").and_then(Value::as_bool).unwrap_or_default(),
            name: param.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            r#type: param.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
        .collect()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_interface_is_read_in_full() {
        let abi = abi();
        let json: Value = serde_json::from_str(JSON).unwrap_or_default();
        assert_eq!(Some(abi.entrys.len()), json.get("abi").and_then(Value::as_array).map(Vec::len));
        let transfer = abi.entrys.iter().find(|e| e.name == "transfer");
        assert_eq!(transfer.map(|e| e.inputs.len()), Some(2));
        assert_eq!(json.get("bytecode").and_then(Value::as_str), Some(hex::encode(BYTECODE).as_str()));
    }

    #[test]
    fn selectors_are_the_standards() {
        assert_eq!(transfer(Address::ZERO, 1)[..4], [0xa9, 0x05, 0x9c, 0xbb]);
        assert_eq!(balance_of(Address::ZERO)[..4], [0x70, 0xa0, 0x82, 0x31]);
    }
}
