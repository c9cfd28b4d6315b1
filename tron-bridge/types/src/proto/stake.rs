//! Staking ("Stake 2.0"): TRX locked up for bandwidth or energy, and lent to others.

use prost::{Enumeration, Message};

use super::{ContractMessage, ContractType};

named_enum! {
    /// `ResourceCode`: what TRX is staked for.
    Resource {
        /// Bytes of transactions.
        Bandwidth = 0 => "BANDWIDTH",
        /// Energy of contracts.
        Energy = 1 => "ENERGY",
        /// Votes alone; not open on the main network.
        TronPower = 2 => "TRON_POWER",
    }
}

/// Stakes TRX.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FreezeBalanceV2Contract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Sun.
    #[prost(int64, tag = "2")]
    pub frozen_balance: i64,
    /// A [`Resource`].
    #[prost(enumeration = "Resource", tag = "3")]
    pub resource: i32,
}

impl ContractMessage for FreezeBalanceV2Contract {
    const TYPE: ContractType = ContractType::FreezeBalanceV2;
    const NAME: &'static str = "FreezeBalanceV2Contract";
}

/// Begins to take staked TRX back.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UnfreezeBalanceV2Contract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// Sun.
    #[prost(int64, tag = "2")]
    pub unfreeze_balance: i64,
    /// A [`Resource`].
    #[prost(enumeration = "Resource", tag = "3")]
    pub resource: i32,
}

impl ContractMessage for UnfreezeBalanceV2Contract {
    const TYPE: ContractType = ContractType::UnfreezeBalanceV2;
    const NAME: &'static str = "UnfreezeBalanceV2Contract";
}

/// Takes back what has been unstaked for long enough.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WithdrawExpireUnfreezeContract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
}

impl ContractMessage for WithdrawExpireUnfreezeContract {
    const TYPE: ContractType = ContractType::WithdrawExpireUnfreeze;
    const NAME: &'static str = "WithdrawExpireUnfreezeContract";
}

/// Stakes again what is being unstaked.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CancelAllUnfreezeV2Contract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
}

impl ContractMessage for CancelAllUnfreezeV2Contract {
    const TYPE: ContractType = ContractType::CancelAllUnfreezeV2;
    const NAME: &'static str = "CancelAllUnfreezeV2Contract";
}

/// Lends what a stake yields to another account.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DelegateResourceContract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// A [`Resource`].
    #[prost(enumeration = "Resource", tag = "2")]
    pub resource: i32,
    /// Sun of the stake.
    #[prost(int64, tag = "3")]
    pub balance: i64,
    /// Who may use it; 21 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub receiver_address: Vec<u8>,
    /// It cannot be taken back for a while.
    #[prost(bool, tag = "5")]
    pub lock: bool,
    /// How long, in blocks of 3 seconds; 0 is three days.
    #[prost(int64, tag = "6")]
    pub lock_period: i64,
}

impl ContractMessage for DelegateResourceContract {
    const TYPE: ContractType = ContractType::DelegateResource;
    const NAME: &'static str = "DelegateResourceContract";
}

/// Takes a loan of resources back.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UnDelegateResourceContract {
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// A [`Resource`].
    #[prost(enumeration = "Resource", tag = "2")]
    pub resource: i32,
    /// Sun of the stake.
    #[prost(int64, tag = "3")]
    pub balance: i64,
    /// Who has it; 21 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub receiver_address: Vec<u8>,
}

impl ContractMessage for UnDelegateResourceContract {
    const TYPE: ContractType = ContractType::UnDelegateResource;
    const NAME: &'static str = "UnDelegateResourceContract";
}
