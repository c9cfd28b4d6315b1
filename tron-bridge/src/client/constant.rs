//! Calls that run without a transaction: what they return, what they would cost, why they revert.

use std::fmt;

use serde::Deserialize;

use super::reply::{Problem, bytes};
use super::transport::readable;
use crate::vault::VaultRevert;

/// A constant call's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstantResult {
    /// What the function returned.
    pub data: Vec<u8>,
    /// Energy it used.
    pub energy: u64,
}

/// What a call would use if it were sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Energy, the penalty included.
    pub energy: u64,
    /// The part of it that the network adds for contracts that are used a lot.
    pub penalty: u64,
    /// Why it would revert, if it would.
    pub revert: Option<Revert>,
}

/// Why a call reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// What the contract says.
    pub data: Vec<u8>,
    /// What the node says.
    pub message: String,
}

impl Revert {
    /// The error, if it is one of the vault's.
    pub fn of_vault(&self) -> Option<VaultRevert> {
        VaultRevert::decode(&self.data)
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of_vault() {
            Some(revert) => revert.fmt(f),
            None if self.data.is_empty() => f.write_str(&self.message),
            None => write!(f, "{} ({})", self.message, hex::encode(&self.data)),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ConstantJson {
    #[serde(default)]
    constant_result: Vec<String>,
    #[serde(default)]
    energy_used: u64,
    #[serde(default)]
    energy_penalty: u64,
    #[serde(default)]
    result: ConstantResultJson,
    transaction: Option<ConstantTransactionJson>,
}

#[derive(Default, Deserialize)]
struct ConstantResultJson {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ConstantTransactionJson {
    #[serde(default)]
    ret: Vec<ResultJson>,
}

#[derive(Deserialize)]
struct ResultJson {
    ret: Option<String>,
    #[serde(rename = "contractRet")]
    contract_ret: Option<String>,
}

/// How a constant call ended.
pub(super) struct Constant {
    /// What it returned, or the revert's data.
    pub(super) data: Vec<u8>,
    pub(super) energy: u64,
    pub(super) penalty: u64,
    /// The node's words.
    pub(super) reverted: Option<String>,
}

impl ConstantJson {
    /// `result.result` is true for a reverted call too: `transaction.ret` tells.
    pub(super) fn constant(self) -> Result<Constant, Problem> {
        let ret = self.transaction.and_then(|t| t.ret.into_iter().next());
        let is_failed =
            ret.is_some_and(|r| r.ret.is_some_and(|r| r == "FAILED") || r.contract_ret.is_some_and(|c| c != "SUCCESS"));
        let data = self.constant_result.first().map(|first| bytes("constant_result", first)).transpose()?;
        let data = if is_failed { data.unwrap_or_default() } else { data.ok_or("a constant call without a result")? };
        let reverted = is_failed.then(|| readable(&self.result.message));
        // java-tron counts the penalty into `energy_used`.
        Ok(Constant { data, energy: self.energy_used, penalty: self.energy_penalty, reverted })
    }
}

impl Constant {
    pub(super) fn returned(self) -> Result<ConstantResult, Revert> {
        match self.reverted {
            Some(message) => Err(Revert { data: self.data, message }),
            None => Ok(ConstantResult { data: self.data, energy: self.energy }),
        }
    }

    pub(super) fn estimate(self) -> Estimate {
        let Self { data, energy, penalty, reverted } = self;
        Estimate { energy, penalty, revert: reverted.map(|message| Revert { data, message }) }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use lucid_tron_types::abi::selector;
    use serde_json::{Value, json};

    use super::*;

    fn constant(value: Value) -> Result<Constant, Problem> {
        serde_json::from_value::<ConstantJson>(value).unwrap().constant()
    }

    #[test]
    fn a_revert_is_seen_although_the_result_is_true() {
        let word = "00".repeat(31) + "01";
        let good = json!({ "result": { "result": true }, "energy_used": 541, "energy_penalty": 41,
            "constant_result": [word], "transaction": { "ret": [{}], "visible": false } });
        let result = constant(good.clone()).unwrap().returned().unwrap();
        assert_eq!((result.data[31], result.energy), (1, 541));
        let estimate = constant(good).unwrap().estimate();
        assert_eq!(estimate, Estimate { energy: 541, penalty: 41, revert: None });
        let reverted = json!({ "result": { "result": true, "message": hex::encode("REVERT opcode executed") },
            "energy_used": 7, "constant_result": [hex::encode(selector("BadProof()"))],
            "transaction": { "ret": [{ "ret": "FAILED" }] } });
        let revert = constant(reverted.clone()).unwrap().returned().unwrap_err();
        assert_eq!(revert.message, "REVERT opcode executed");
        assert_eq!(revert.of_vault(), Some(VaultRevert::BadProof));
        assert_eq!(constant(reverted).unwrap().estimate(), Estimate { energy: 7, penalty: 0, revert: Some(revert) });
        let silent = json!({ "result": { "result": true }, "constant_result": [""],
            "transaction": { "ret": [{ "ret": "FAILED" }] } });
        assert_eq!(constant(silent).unwrap().returned().unwrap_err().data, [0; 0]);
        assert!(constant(json!({ "result": { "result": true } })).is_err());
    }
}
