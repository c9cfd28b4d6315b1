//! The messages a contract of a transaction can carry (`core/contract/*.proto`), and what they are made of.

use prost::{Enumeration, Message};

use super::{ContractMessage, ContractType};

/// Moves TRX.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TransferContract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub to_address: Vec<u8>,
    /// Sun.
    #[prost(int64, tag = "3")]
    pub amount: i64,
}

impl ContractMessage for TransferContract {
    const TYPE: ContractType = ContractType::Transfer;
    const NAME: &'static str = "TransferContract";
}

/// Creates an account without a transfer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AccountCreateContract {
    /// Who pays; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// The new account; 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub account_address: Vec<u8>,
    /// 0 normal, 1 asset issue, 2 contract.
    #[prost(int32, tag = "3")]
    pub r#type: i32,
}

impl ContractMessage for AccountCreateContract {
    const TYPE: ContractType = ContractType::AccountCreate;
    const NAME: &'static str = "AccountCreateContract";
}

/// Calls a contract.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct TriggerSmartContract {
    /// The caller; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// Sun sent along.
    #[prost(int64, tag = "3")]
    pub call_value: i64,
    /// Call data of the contract ABI.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
    /// TRC-10 tokens sent along.
    #[prost(int64, tag = "5")]
    pub call_token_value: i64,
    /// Which TRC-10 token.
    #[prost(int64, tag = "6")]
    pub token_id: i64,
}

impl ContractMessage for TriggerSmartContract {
    const TYPE: ContractType = ContractType::TriggerSmart;
    const NAME: &'static str = "TriggerSmartContract";
}

/// Deploys a contract.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CreateSmartContract {
    /// The deployer; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// What is deployed.
    #[prost(message, optional, tag = "2")]
    pub new_contract: Option<SmartContract>,
    /// TRC-10 tokens sent along.
    #[prost(int64, tag = "3")]
    pub call_token_value: i64,
    /// Which TRC-10 token.
    #[prost(int64, tag = "4")]
    pub token_id: i64,
}

impl ContractMessage for CreateSmartContract {
    const TYPE: ContractType = ContractType::CreateSmart;
    const NAME: &'static str = "CreateSmartContract";
}

/// A contract's code and settings.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SmartContract {
    /// The deployer; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub origin_address: Vec<u8>,
    /// 21 bytes; set by the network.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// Its interface, as the deployer gave it.
    #[prost(message, optional, tag = "3")]
    pub abi: Option<Abi>,
    /// Creation code, constructor arguments appended.
    #[prost(bytes = "vec", tag = "4")]
    pub bytecode: Vec<u8>,
    /// Sun sent to the constructor.
    #[prost(int64, tag = "5")]
    pub call_value: i64,
    /// Percent of a call's energy that the caller pays.
    #[prost(int64, tag = "6")]
    pub consume_user_resource_percent: i64,
    /// For people.
    #[prost(string, tag = "7")]
    pub name: String,
    /// Most energy the deployer pays for one call.
    #[prost(int64, tag = "8")]
    pub origin_energy_limit: i64,
    /// Keccak-256 of the deployed code.
    #[prost(bytes = "vec", tag = "9")]
    pub code_hash: Vec<u8>,
    /// Id of the deploying transaction.
    #[prost(bytes = "vec", tag = "10")]
    pub trx_hash: Vec<u8>,
    /// Version of the contract's rules.
    #[prost(int32, tag = "11")]
    pub version: i32,
}

/// `SmartContract.ABI`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Abi {
    /// Functions, events, errors.
    #[prost(message, repeated, tag = "1")]
    pub entrys: Vec<AbiEntry>,
}

/// `SmartContract.ABI.Entry`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AbiEntry {
    /// For events.
    #[prost(bool, tag = "1")]
    pub anonymous: bool,
    /// Old form of view.
    #[prost(bool, tag = "2")]
    pub constant: bool,
    /// Name of the function, event or error.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Parameters.
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<AbiParam>,
    /// Results.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<AbiParam>,
    /// An [`AbiEntryType`].
    #[prost(enumeration = "AbiEntryType", tag = "6")]
    pub r#type: i32,
    /// Old form of payable.
    #[prost(bool, tag = "7")]
    pub payable: bool,
    /// A [`StateMutability`].
    #[prost(enumeration = "StateMutability", tag = "8")]
    pub state_mutability: i32,
}

/// `SmartContract.ABI.Entry.Param`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AbiParam {
    /// For events.
    #[prost(bool, tag = "1")]
    pub indexed: bool,
    /// Its name; may be empty.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its Solidity type.
    #[prost(string, tag = "3")]
    pub r#type: String,
}

named_enum! {
    /// `SmartContract.ABI.Entry.EntryType`.
    AbiEntryType {
        /// Not said.
        Unknown = 0 => "UnknownEntryType",
        /// Constructor.
        Constructor = 1 => "Constructor",
        /// Function.
        Function = 2 => "Function",
        /// Event.
        Event = 3 => "Event",
        /// Fallback function.
        Fallback = 4 => "Fallback",
        /// Receive function.
        Receive = 5 => "Receive",
        /// Error.
        Error = 6 => "Error",
    }
}

named_enum! {
    /// `SmartContract.ABI.Entry.StateMutabilityType`.
    StateMutability {
        /// Not said.
        Unknown = 0 => "UnknownMutabilityType",
        /// Reads nothing.
        Pure = 1 => "Pure",
        /// Writes nothing.
        View = 2 => "View",
        /// Takes no TRX.
        Nonpayable = 3 => "Nonpayable",
        /// Takes TRX.
        Payable = 4 => "Payable",
    }
}

/// Replaces an account's permissions.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AccountPermissionUpdateContract {
    /// The account; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// May do anything.
    #[prost(message, optional, tag = "2")]
    pub owner: Option<Permission>,
    /// Only for super representatives.
    #[prost(message, optional, tag = "3")]
    pub witness: Option<Permission>,
    /// Up to 8, with ids from 2.
    #[prost(message, repeated, tag = "4")]
    pub actives: Vec<Permission>,
}

impl ContractMessage for AccountPermissionUpdateContract {
    const TYPE: ContractType = ContractType::AccountPermissionUpdate;
    const NAME: &'static str = "AccountPermissionUpdateContract";
}

/// Who may act for an account.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Permission {
    /// A [`PermissionType`].
    #[prost(enumeration = "PermissionType", tag = "1")]
    pub r#type: i32,
    /// 0 owner, 1 witness, from 2 active.
    #[prost(int32, tag = "2")]
    pub id: i32,
    /// For people.
    #[prost(string, tag = "3")]
    pub permission_name: String,
    /// Sum of weights needed.
    #[prost(int64, tag = "4")]
    pub threshold: i64,
    /// Not used by the network.
    #[prost(int32, tag = "5")]
    pub parent_id: i32,
    /// 32 bytes; bit n (byte n / 8, least significant first) allows contract type n. Only for active permissions.
    #[prost(bytes = "vec", tag = "6")]
    pub operations: Vec<u8>,
    /// At most 5.
    #[prost(message, repeated, tag = "7")]
    pub keys: Vec<Key>,
}

/// A key and its weight.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Key {
    /// Address of the key; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub address: Vec<u8>,
    /// Positive.
    #[prost(int64, tag = "2")]
    pub weight: i64,
}

named_enum! {
    /// `Permission.PermissionType`.
    PermissionType {
        /// May do anything.
        Owner = 0 => "Owner",
        /// Signs blocks.
        Witness = 1 => "Witness",
        /// What its operations allow.
        Active = 2 => "Active",
    }
}
