//! The protobuf messages of TRON that Lucid builds, signs or checks, written by hand for `prost`.
//!
//! Field numbers and types follow `core/Tron.proto` and `core/contract/*.proto` of the TRON protocol. Only the
//! messages and fields in use are here; `prost` skips fields it does not know.
//!
//! [`Transaction::raw_data`] is kept as the bytes that were signed instead of a parsed message (both have the same
//! encoding on the wire): the transaction id is the SHA-256 of exactly those bytes, so they are never re-encoded.
//!
//! What it does not do: compute ids and tree roots (see [`crate::block`]) or speak the JSON of the HTTP API.

#[macro_use]
mod named;
mod block;
mod contract;
mod settings;
mod stake;

use prost::{DecodeError, Enumeration, Message};

pub use block::{Block, BlockHeader, BlockHeaderRaw};
pub use contract::{
    Abi, AbiEntry, AbiEntryType, AbiParam, AccountCreateContract, AccountPermissionUpdateContract, CreateSmartContract,
    Key, Permission, PermissionType, SmartContract, StateMutability, TransferContract, TriggerSmartContract,
};
pub use settings::{AccountUpdateContract, ClearAbiContract, UpdateEnergyLimitContract, UpdateSettingContract};
pub use stake::{
    CancelAllUnfreezeV2Contract, DelegateResourceContract, FreezeBalanceV2Contract, Resource,
    UnDelegateResourceContract, UnfreezeBalanceV2Contract, WithdrawExpireUnfreezeContract,
};

/// Prefix of the type URL of every contract parameter.
pub const TYPE_URL_PREFIX: &str = "type.googleapis.com/protocol.";

/// `google.protobuf.Any`: a message with the name of its type.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// [`TYPE_URL_PREFIX`] followed by the message's name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// A transaction with its signatures, and, inside a block, its result.
#[derive(Clone, PartialEq, Message)]
pub struct Transaction {
    /// Encoded [`TransactionRaw`]: the bytes that are hashed and signed.
    #[prost(bytes = "vec", tag = "1")]
    pub raw_data: Vec<u8>,
    /// 65 bytes r || s || v each, over the transaction id.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub signature: Vec<Vec<u8>>,
    /// Set by the block producer, and part of the leaf that the block's transaction root covers.
    #[prost(message, repeated, tag = "5")]
    pub ret: Vec<TransactionResult>,
}

impl Transaction {
    /// Parses [`Self::raw_data`].
    pub fn raw(&self) -> Result<TransactionRaw, DecodeError> {
        TransactionRaw::decode(self.raw_data.as_slice())
    }
}

/// `Transaction.raw`: what a transaction says.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransactionRaw {
    /// Last two bytes of the reference block's number.
    #[prost(bytes = "vec", tag = "1")]
    pub ref_block_bytes: Vec<u8>,
    /// Not used by the network.
    #[prost(int64, tag = "3")]
    pub ref_block_num: i64,
    /// Bytes 8..16 of the reference block's id.
    #[prost(bytes = "vec", tag = "4")]
    pub ref_block_hash: Vec<u8>,
    /// Milliseconds since the epoch; a block whose parent's time is not before it refuses the transaction.
    #[prost(int64, tag = "8")]
    pub expiration: i64,
    /// A note.
    #[prost(bytes = "vec", tag = "10")]
    pub data: Vec<u8>,
    /// Exactly one.
    #[prost(message, repeated, tag = "11")]
    pub contract: Vec<Contract>,
    /// Not used by the network.
    #[prost(bytes = "vec", tag = "12")]
    pub scripts: Vec<u8>,
    /// Milliseconds since the epoch, chosen by the maker.
    #[prost(int64, tag = "14")]
    pub timestamp: i64,
    /// Most sun to burn for energy.
    #[prost(int64, tag = "18")]
    pub fee_limit: i64,
}

/// `Transaction.Contract`: one action and the permission it is taken under.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Contract {
    /// A [`ContractType`].
    #[prost(enumeration = "ContractType", tag = "1")]
    pub r#type: i32,
    /// The message that [`Self::type`] names.
    #[prost(message, optional, tag = "2")]
    pub parameter: Option<Any>,
    /// Not used by the network.
    #[prost(bytes = "vec", tag = "3")]
    pub provider: Vec<u8>,
    /// Not used by the network.
    #[prost(bytes = "vec", tag = "4")]
    pub contract_name: Vec<u8>,
    /// 0 owner, 1 witness, from 2 active.
    #[prost(int32, tag = "5")]
    pub permission_id: i32,
}

/// A message that can be the parameter of a [`Contract`].
pub trait ContractMessage: Message + Default {
    /// What [`Contract::type`] says for it.
    const TYPE: ContractType;
    /// Its name in the type URL, without [`TYPE_URL_PREFIX`].
    const NAME: &'static str;
}

/// Why [`Contract::unpack`] refused.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The contract's type or type URL is of another message.
    #[error("the contract is of type {type} with type URL {type_url:?}, not a {expected}")]
    OtherType {
        /// Name of the message asked for.
        expected: &'static str,
        /// Number of the contract's type.
        r#type: i32,
        /// Its type URL.
        type_url: String,
    },
    /// The contract has no parameter.
    #[error("the contract has no parameter")]
    NoParameter,
    /// The parameter's bytes are not the message.
    #[error("decode the contract's parameter")]
    Decode(#[source] DecodeError),
}

impl Contract {
    /// Wraps `message` as java-tron and tronweb do, so that equal input gives equal bytes.
    pub fn pack<M: ContractMessage>(message: &M, permission_id: i32) -> Self {
        Self {
            r#type: M::TYPE.into(),
            parameter: Some(Any { type_url: format!("{TYPE_URL_PREFIX}{}", M::NAME), value: message.encode_to_vec() }),
            provider: Vec::new(),
            contract_name: Vec::new(),
            permission_id,
        }
    }

    /// The parameter, if the contract is of type `M`.
    pub fn unpack<M: ContractMessage>(&self) -> Result<M, UnpackError> {
        let any = self.parameter.as_ref().ok_or(UnpackError::NoParameter)?;
        let is_expected = any.type_url.strip_prefix(TYPE_URL_PREFIX) == Some(M::NAME);
        if self.r#type != i32::from(M::TYPE) || !is_expected {
            return Err(UnpackError::OtherType {
                expected: M::NAME,
                r#type: self.r#type,
                type_url: any.type_url.clone(),
            });
        }
        M::decode(any.value.as_slice()).map_err(UnpackError::Decode)
    }
}

named_enum! {
    /// `Transaction.Contract.ContractType`: the types in use. Others decode as their number.
    ContractType {
        /// Creates an account.
        AccountCreate = 0 => "AccountCreateContract",
        /// Moves TRX.
        Transfer = 1 => "TransferContract",
        /// Names an account.
        AccountUpdate = 10 => "AccountUpdateContract",
        /// Deploys a contract.
        CreateSmart = 30 => "CreateSmartContract",
        /// Calls a contract.
        TriggerSmart = 31 => "TriggerSmartContract",
        /// Sets the share of energy that a contract's callers pay.
        UpdateSetting = 33 => "UpdateSettingContract",
        /// Sets the most energy that a contract's deployer pays.
        UpdateEnergyLimit = 45 => "UpdateEnergyLimitContract",
        /// Replaces an account's permissions.
        AccountPermissionUpdate = 46 => "AccountPermissionUpdateContract",
        /// Removes a contract's interface.
        ClearAbi = 48 => "ClearABIContract",
        /// Stakes TRX.
        FreezeBalanceV2 = 54 => "FreezeBalanceV2Contract",
        /// Begins to unstake TRX.
        UnfreezeBalanceV2 = 55 => "UnfreezeBalanceV2Contract",
        /// Takes unstaked TRX back.
        WithdrawExpireUnfreeze = 56 => "WithdrawExpireUnfreezeContract",
        /// Lends resources.
        DelegateResource = 57 => "DelegateResourceContract",
        /// Takes lent resources back.
        UnDelegateResource = 58 => "UnDelegateResourceContract",
        /// Stakes again what is being unstaked.
        CancelAllUnfreezeV2 = 59 => "CancelAllUnfreezeV2Contract",
    }
}

named_enum! {
    /// `Transaction.Result.contractResult`: how a contract call ended.
    ContractResult {
        /// No contract was run.
        Default = 0 => "DEFAULT",
        /// It ran to its end.
        Success = 1 => "SUCCESS",
        /// The contract took everything back.
        Revert = 2 => "REVERT",
        /// Jump to a place that is no jump destination.
        BadJumpDestination = 3 => "BAD_JUMP_DESTINATION",
        /// Memory limit.
        OutOfMemory = 4 => "OUT_OF_MEMORY",
        /// A precompiled contract failed.
        PrecompiledContract = 5 => "PRECOMPILED_CONTRACT",
        /// Stack underflow.
        StackTooSmall = 6 => "STACK_TOO_SMALL",
        /// Stack overflow.
        StackTooLarge = 7 => "STACK_TOO_LARGE",
        /// Unknown or forbidden instruction.
        IllegalOperation = 8 => "ILLEGAL_OPERATION",
        /// Stack overflow.
        StackOverflow = 9 => "STACK_OVERFLOW",
        /// The fee limit or the caller's means did not suffice.
        OutOfEnergy = 10 => "OUT_OF_ENERGY",
        /// The execution's time limit.
        OutOfTime = 11 => "OUT_OF_TIME",
        /// The virtual machine's own stack.
        JvmStackOverFlow = 12 => "JVM_STACK_OVER_FLOW",
        /// Anything else.
        Unknown = 13 => "UNKNOWN",
        /// A value transfer inside the call failed.
        TransferFailed = 14 => "TRANSFER_FAILED",
        /// Deployed code that is not allowed.
        InvalidCode = 15 => "INVALID_CODE",
    }
}

/// `Transaction.Result`, as it stands in blocks.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransactionResult {
    /// Sun.
    #[prost(int64, tag = "1")]
    pub fee: i64,
    /// 0 done, 1 failed (blocks before contracts existed).
    #[prost(int32, tag = "2")]
    pub ret: i32,
    /// A [`ContractResult`].
    #[prost(enumeration = "ContractResult", tag = "3")]
    pub contract_ret: i32,
    // What follows is in few transactions only, whose sender put it there: a node overwrites `contract_ret` alone. The root of
    // a block covers all of it.
    /// Id of a new TRC-10 token.
    #[prost(string, tag = "14")]
    pub asset_issue_id: String,
    /// Sun.
    #[prost(int64, tag = "15")]
    pub withdraw_amount: i64,
    /// Sun.
    #[prost(int64, tag = "16")]
    pub unfreeze_amount: i64,
    /// Of a token.
    #[prost(int64, tag = "18")]
    pub exchange_received_amount: i64,
    /// Of a token.
    #[prost(int64, tag = "19")]
    pub exchange_inject_another_amount: i64,
    /// Of a token.
    #[prost(int64, tag = "20")]
    pub exchange_withdraw_another_amount: i64,
    /// Id of an exchange.
    #[prost(int64, tag = "21")]
    pub exchange_id: i64,
    /// Sun.
    #[prost(int64, tag = "22")]
    pub shielded_transaction_fee: i64,
    /// Id of a market order.
    #[prost(bytes = "vec", tag = "25")]
    pub order_id: Vec<u8>,
    /// Encoded `MarketOrderDetail`s.
    #[prost(bytes = "vec", repeated, tag = "26")]
    pub order_details: Vec<Vec<u8>>,
    /// Sun.
    #[prost(int64, tag = "27")]
    pub withdraw_expire_amount: i64,
    /// Encoded entries, of a resource's name and sun.
    #[prost(bytes = "vec", repeated, tag = "28")]
    pub cancel_unfreeze_v2_amount: Vec<Vec<u8>>,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn unpack_refuses_another_type() {
        let transfer = TransferContract { owner_address: vec![0x41; 21], to_address: vec![0x41; 21], amount: 1 };
        let mut contract = Contract::pack(&transfer, 2);
        assert_eq!(contract.unpack::<TransferContract>().unwrap(), transfer);
        assert!(matches!(
            contract.unpack::<TriggerSmartContract>(),
            Err(UnpackError::OtherType { expected: "TriggerSmartContract", r#type: 1, .. })
        ));
        contract.r#type = ContractType::TriggerSmart.into();
        assert!(matches!(contract.unpack::<TransferContract>(), Err(UnpackError::OtherType { .. })));
        contract.parameter = None;
        assert!(matches!(contract.unpack::<TransferContract>(), Err(UnpackError::NoParameter)));
    }

    #[test]
    fn names_are_the_protocols() {
        assert_eq!(ContractResult::OutOfEnergy.name(), "OUT_OF_ENERGY");
        assert_eq!(ContractResult::from_name("SUCCESS"), Some(ContractResult::Success));
        assert_eq!(ContractResult::from_name("SUCESS"), None);
        assert_eq!(ContractType::try_from(31), Ok(ContractType::TriggerSmart));
        assert_eq!(ContractType::TriggerSmart.name(), format!("{}", TriggerSmartContract::NAME));
    }
}
