//! The ways in which a contract's execution fails, with the words java-tron has for them.
//!
//! The words are those of `Program.Exception` and its exception classes, the results those of `RuntimeImpl.setResultCode`.

use lucid_tron_types::proto::ContractResult;
use revm::primitives::{B256, U256};

use super::table::name;

/// Why a frame ended without success or revert. What the outermost frame says is the transaction's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error(
        "Not enough energy for '{}' operation executing: curInvokeEnergyLimit[{limit}], curOpEnergy[{cost}], usedEnergy[{used}]",
        name(*.op)
    )]
    Energy { op: u8, limit: u64, cost: u64, used: u64 },
    #[error(
        "Not enough energy for '{}' operation executing: curInvokeEnergyLimit[{limit}], curOpEnergy[{cost}], \
         penaltyEnergy[{penalty}], usedEnergy[{used}]",
        name(*.op)
    )]
    EnergyWithPenalty { op: u8, limit: u64, cost: u64, penalty: u64, used: u64 },
    #[error("Not enough energy for '{}' operation executing: opEnergy[{cost}], programEnergy[{left}]", name(*.op))]
    EnergyAhead { op: u8, cost: u64, left: u64 },
    #[error(
        "Not enough energy for 'save just created contract code' executing: needEnergy[{need}], leftEnergy[{left}];"
    )]
    EnergyForCode { need: u64, left: u64 },
    #[error("Out of Memory when '{}' operation executing", name(*.op))]
    Memory { op: u8 },
    #[error("Invalid operation code: opCode[{op:02x}];")]
    UnknownInstruction { op: u8 },
    #[error("Expected stack size {expected} but actual {actual};")]
    StackTooSmall { expected: usize, actual: usize },
    #[error("Expected: overflow {} elements stack limit", super::table::MAX_STACK)]
    StackTooLarge,
    #[error("Operation with pc isn't 'JUMPDEST': PC[{}];", program_counter(*.target))]
    BadJump { target: U256 },
    #[error(
        "Illegal RETURNDATACOPY arguments: offset ({}) + size ({}) > RETURNDATASIZE ({available})",
        word(*.offset),
        word(*.size)
    )]
    ReturnData { offset: U256, size: U256, available: usize },
    #[error("invalid code: must not begin with 0xef")]
    InvalidCode,
    #[error("Attempt to call a state modifying opcode inside STATICCALL")]
    Static,
    #[error("endowment out of long range")]
    Endowment,
    #[error("transfer trx failed: Cannot transfer TRX to yourself.")]
    TransferToItself,
    #[error("validateForSmartContract failure:not valid token id")]
    TokenId { is_transfer: bool },
    #[error("transfer failure")]
    TransferToPrecompile,
    #[error("BigInteger out of long range")]
    OutOfLongRange,
    #[error("CPU timeout for '{}' operation executing", name(*.op))]
    Time { op: u8 },
    #[error("CPU timeout for 0x0a executing")]
    RepeatedSigner,
    /// What the JVM says about an array's index.
    #[error("{0}")]
    Index(usize),
    #[error("Unknown Exception")]
    Unknown,
}

impl Failure {
    pub(super) fn result(&self) -> ContractResult {
        match self {
            Self::Energy { .. }
            | Self::EnergyWithPenalty { .. }
            | Self::EnergyAhead { .. }
            | Self::EnergyForCode { .. } => ContractResult::OutOfEnergy,
            Self::Memory { .. } => ContractResult::OutOfMemory,
            Self::UnknownInstruction { .. } => ContractResult::IllegalOperation,
            Self::StackTooSmall { .. } => ContractResult::StackTooSmall,
            Self::StackTooLarge => ContractResult::StackTooLarge,
            Self::BadJump { .. } => ContractResult::BadJumpDestination,
            Self::InvalidCode => ContractResult::InvalidCode,
            Self::Endowment | Self::TransferToItself | Self::TokenId { is_transfer: true } => {
                ContractResult::TransferFailed
            }
            Self::Time { .. } | Self::RepeatedSigner => ContractResult::OutOfTime,
            Self::ReturnData { .. }
            | Self::Static
            | Self::TokenId { is_transfer: false }
            | Self::TransferToPrecompile
            | Self::OutOfLongRange
            | Self::Index(_)
            | Self::Unknown => ContractResult::Unknown,
        }
    }

    /// A failed transfer leaves the energy that was not used; everything else takes all.
    pub(super) fn takes_all_energy(&self) -> bool {
        self.result() != ContractResult::TransferFailed
    }

    /// It ends the calling frames as well, all of them.
    pub(super) fn ends_all_frames(&self) -> bool {
        self.result() == ContractResult::OutOfTime
    }
}

/// A jump's target as java-tron prints it: 32 bits with a sign, -1 for more than that.
fn program_counter(target: U256) -> i32 {
    u32::try_from(target).map_or(-1, u32::cast_signed)
}

fn word(word: U256) -> String {
    hex::encode(B256::from(word))
}
