//! What a transaction does: the contract types that this network carries out, and their messages.

use lucid_tron_bridge::proto::{self, ContractMessage, ContractType};

use super::refusal::Refusal;

/// Contract types that a full node carries out and this network does not: TRC-10 tokens, votes and witnesses, proposals, the
/// first kind of staking, exchanges, account ids, shielded transfers, markets.
const ELSEWHERE: [i32; 24] = [2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 41, 42, 43, 44, 49, 51, 52, 53];

/// Why a contract cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A type of [`ELSEWHERE`].
    Elsewhere(Refusal),
    /// A full node does not know the type, or the parameter is not its message: it finds no owner.
    Foreign,
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
                    Err(_) if ELSEWHERE.contains(&contract.r#type) => {
                        let what = format_args!("contract type {} does not exist on this network", contract.r#type);
                        Err(Unreadable::Elsewhere(Refusal::invalid(what)))
                    }
                    Err(_) => Err(Unreadable::Foreign),
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
    /// Takes lent stakes back.
    Undelegate(UnDelegateResourceContract),
}
