//! What a transaction does: the contract types that this network carries out, and their messages.

use lucid_tron_types::proto::{self, ContractMessage, ContractType};

use super::refusal::Refusal;

/// Why a contract cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A full node knows the type and this network does not carry it out.
    Absent(Refusal),
    /// A full node does not know the type, or the parameter is not its message: it finds no owner.
    Foreign,
}

/// The refusal of a type that only a full node knows: those that are closed on the main network, and TRC-10 tokens, votes and
/// witnesses, proposals, the end of old stakes, exchanges, account ids.
pub(crate) fn absent(contract_type: i32) -> Option<Refusal> {
    let refusal = match contract_type {
        11 => Refusal::invalid("freeze v2 is open, old freeze is closed"),
        51 => Refusal::invalid("Not support Shielded Transaction, need to be opened by the committee"),
        52 | 53 => Refusal::invalid("Not support Market Transaction, need to be opened by the committee"),
        2..=6 | 8 | 9 | 12..=19 | 41..=44 | 49 => {
            Refusal::invalid(format_args!("contract type {contract_type} does not exist on this network"))
        }
        _ => return None,
    };
    Some(refusal)
}

macro_rules! actions {
    ($($(#[$meta:meta])* $name:ident($message:ident),)*) => {
        /// See the module. Boxed, because some messages are large.
        #[derive(Clone, Debug)]
        pub(crate) enum Action {
            $($(#[$meta])* $name(Box<proto::$message>),)*
        }

        impl Action {
            /// Reads the parameter; also answers the owner's address as it is on the wire.
            pub(crate) fn unpack(contract: &proto::Contract) -> Result<(Self, Vec<u8>), Unreadable> {
                match ContractType::try_from(contract.r#type) {
                    $(Ok(<proto::$message as ContractMessage>::TYPE) => {
                        let message: proto::$message = contract.unpack().map_err(|_| Unreadable::Foreign)?;
                        let owner = message.owner_address.clone();
                        Ok((Self::$name(Box::new(message)), owner))
                    })*
                    Err(_) => Err(absent(contract.r#type).map_or(Unreadable::Foreign, Unreadable::Absent)),
                }
            }
        }
    };
}

actions! {
    /// Moves TRX.
    Transfer(TransferContract),
    /// Creates an account.
    CreateAccount(AccountCreateContract),
    /// Names an account.
    Rename(AccountUpdateContract),
    /// Deploys a contract.
    Create(CreateSmartContract),
    /// Calls a contract.
    Trigger(TriggerSmartContract),
    /// Sets the callers' share of a contract's energy.
    SetPercent(UpdateSettingContract),
    /// Sets the most energy that a contract's deployer pays.
    SetEnergyLimit(UpdateEnergyLimitContract),
    /// Removes a contract's interface.
    ClearAbi(ClearAbiContract),
    /// Replaces an account's permissions.
    UpdatePermissions(AccountPermissionUpdateContract),
    /// Stakes TRX.
    Freeze(FreezeBalanceV2Contract),
    /// Begins to unstake TRX.
    Unfreeze(UnfreezeBalanceV2Contract),
    /// Takes unstaked TRX back.
    Withdraw(WithdrawExpireUnfreezeContract),
    /// Stakes again what is being unstaked.
    CancelUnfreeze(CancelAllUnfreezeV2Contract),
    /// Lends the yield of a stake.
    Delegate(DelegateResourceContract),
    /// Takes delegated stakes back.
    Undelegate(UnDelegateResourceContract),
}
