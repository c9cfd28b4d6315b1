//! Changing what is said about contracts and accounts after they were made.

use prost::Message;

use super::{ContractMessage, ContractType};

/// Sets how much of its energy a contract's callers pay.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UpdateSettingContract {
    /// The deployer; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// 0 to 100.
    #[prost(int64, tag = "3")]
    pub consume_user_resource_percent: i64,
}

impl ContractMessage for UpdateSettingContract {
    const TYPE: ContractType = ContractType::UpdateSetting;
    const NAME: &'static str = "UpdateSettingContract";
}

/// Sets the most energy that the deployer pays for one call.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UpdateEnergyLimitContract {
    /// The deployer; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
    /// Positive.
    #[prost(int64, tag = "3")]
    pub origin_energy_limit: i64,
}

impl ContractMessage for UpdateEnergyLimitContract {
    const TYPE: ContractType = ContractType::UpdateEnergyLimit;
    const NAME: &'static str = "UpdateEnergyLimitContract";
}

/// Removes a contract's interface from the network.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ClearAbiContract {
    /// The deployer; 21 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub owner_address: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub contract_address: Vec<u8>,
}

impl ContractMessage for ClearAbiContract {
    const TYPE: ContractType = ContractType::ClearAbi;
    const NAME: &'static str = "ClearABIContract";
}

/// Gives an account its name, once.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AccountUpdateContract {
    /// At most 200 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub account_name: Vec<u8>,
    /// 21 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub owner_address: Vec<u8>,
}

impl ContractMessage for AccountUpdateContract {
    const TYPE: ContractType = ContractType::AccountUpdate;
    const NAME: &'static str = "AccountUpdateContract";
}
