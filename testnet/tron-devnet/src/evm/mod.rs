//! Contract execution: one call or creation on revm with TRON's energy rules.
//!
//! Reads a state, changes nothing: what the execution did comes back as [`Outcome`] and is written by the caller. Fees are
//! not handled here.

mod instructions;
mod penalty;
mod precompiles;
pub(crate) mod table;
pub(crate) mod tx;
pub(crate) mod vm;

#[cfg(test)]
mod tests;

use lucid_tron_bridge::proto::ContractResult;
use revm::context::result::{ExecutionResult, HaltReason, OutOfGasError};
use revm::context::{BlockEnv, TxEnv};
use revm::context_interface::JournalTr;
use revm::handler::Handler;
use revm::primitives::{Address, B256, Bytes, HashMap, Log, TxKind, U256};
use revm::state::EvmState;

use crate::chain::state::StateDb;
use tx::{InternalTransaction, TxContext};
use vm::{Ctx, TronHandler, TronVm};

/// The block that contracts see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockContext {
    pub(crate) number: u64,
    /// Milliseconds since the epoch.
    pub(crate) time: u64,
    pub(crate) producer: Address,
    pub(crate) chain_id: u64,
    /// Sun per energy.
    pub(crate) energy_price: u64,
}

/// What is executed.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) caller: Address,
    pub(crate) kind: Kind,
    /// Sun.
    pub(crate) value: u64,
    /// Call data, or creation code.
    pub(crate) data: Bytes,
    pub(crate) energy_limit: u64,
    /// Id of the transaction; names the contracts it creates.
    pub(crate) root_id: B256,
}

/// A call or a creation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Call(Address),
    /// Creates the contract at this address.
    Create(Address),
}

/// What an execution did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: ContractResult,
    /// All the energy, penalty included.
    pub(crate) energy: u64,
    /// The part of it that dynamic energy added.
    pub(crate) penalty: u64,
    /// Return data, deployed code, or the revert's reason.
    pub(crate) output: Bytes,
    pub(crate) logs: Vec<Log>,
    pub(crate) internal: Vec<InternalTransaction>,
    /// What java-tron says about a failure; empty after success.
    pub(crate) message: String,
    /// Changed accounts; empty unless successful.
    pub(crate) changes: EvmState,
}

/// Executes `request` on `db` as part of `block`.
pub(crate) fn execute(
    db: StateDb<'_>,
    block: BlockContext,
    factors: HashMap<Address, u64>,
    request: Request,
) -> Outcome {
    let mut ctx = Ctx::new(db, table::SPEC);
    ctx.cfg.gas_params = table::dynamic_costs();
    ctx.cfg.chain_id = block.chain_id;
    ctx.cfg.limit_contract_code_size = Some(usize::MAX);
    ctx.cfg.limit_contract_initcode_size = Some(usize::MAX);
    ctx.cfg.memory_limit = table::MEMORY_LIMIT;
    ctx.cfg.tx_gas_limit_cap = Some(u64::MAX);
    ctx.block = BlockEnv {
        number: U256::from(block.number),
        beneficiary: block.producer,
        timestamp: U256::from(block.time / 1000),
        gas_limit: 0,
        basefee: block.energy_price,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        ..BlockEnv::default()
    };
    let (kind, created) = match request.kind {
        Kind::Call(to) => (TxKind::Call(to), None),
        Kind::Create(at) => (TxKind::Create, Some(at)),
    };
    ctx.tx = TxEnv {
        caller: request.caller,
        kind,
        value: U256::from(request.value),
        data: request.data,
        gas_limit: request.energy_limit,
        gas_price: 0,
        ..TxEnv::default()
    };
    ctx.chain = TxContext::new(request.root_id, block.energy_price, created, factors);

    let mut vm = TronVm::new(ctx);
    let result = TronHandler::default().run(&mut vm);
    let mut ctx = vm.into_context();
    let changes = ctx.journaled_state.finalize();
    let TxContext { penalty, internal, last_op, .. } = ctx.chain;
    let outcome = Outcome {
        result: ContractResult::Unknown,
        energy: request.energy_limit,
        penalty,
        output: Bytes::new(),
        logs: Vec::new(),
        internal,
        message: String::new(),
        changes: EvmState::default(),
    };
    match result {
        Ok(ExecutionResult::Success { gas, logs, output, .. }) => Outcome {
            result: ContractResult::Success,
            energy: gas.total_gas_spent(),
            output: output.into_data(),
            logs,
            changes,
            ..outcome
        },
        Ok(ExecutionResult::Revert { gas, output, .. }) => Outcome {
            result: ContractResult::Revert,
            energy: gas.total_gas_spent(),
            output,
            message: "REVERT opcode executed".to_owned(),
            ..outcome
        },
        Ok(ExecutionResult::Halt { reason, .. }) => {
            let result = result_of(&reason);
            Outcome { result, message: message_of(result, last_op, request.energy_limit), ..outcome }
        }
        Err(error) => Outcome { message: error.to_string(), ..outcome },
    }
}

fn result_of(reason: &HaltReason) -> ContractResult {
    match reason {
        HaltReason::OutOfGas(OutOfGasError::MemoryLimit | OutOfGasError::InvalidOperand) => ContractResult::OutOfMemory,
        HaltReason::OutOfGas(_) => ContractResult::OutOfEnergy,
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode | HaltReason::NotActivated => {
            ContractResult::IllegalOperation
        }
        HaltReason::InvalidJump => ContractResult::BadJumpDestination,
        HaltReason::StackUnderflow => ContractResult::StackTooSmall,
        HaltReason::StackOverflow => ContractResult::StackTooLarge,
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => ContractResult::PrecompiledContract,
        HaltReason::CreateContractStartingWithEF => ContractResult::InvalidCode,
        HaltReason::OutOfFunds => ContractResult::TransferFailed,
        _ => ContractResult::Unknown,
    }
}

fn message_of(result: ContractResult, last_op: u8, energy_limit: u64) -> String {
    let op = revm::bytecode::opcode::OpCode::new(last_op).map_or("UNKNOWN", revm::bytecode::opcode::OpCode::as_str);
    match result {
        ContractResult::OutOfEnergy => {
            format!("Not enough energy for '{op}' operation executing: curInvokeEnergyLimit[{energy_limit}]")
        }
        ContractResult::IllegalOperation => format!("Invalid operation code: opCode[{last_op:02x}];"),
        ContractResult::BadJumpDestination => "Operation with pc isn't 'JUMPDEST'".to_owned(),
        ContractResult::OutOfMemory => format!("Out of Memory when '{op}' operation executing"),
        ContractResult::StackTooSmall => format!("Expected stack size is larger for '{op}'"),
        ContractResult::StackTooLarge => format!("Stack size of 1024 exceeded by '{op}'"),
        ContractResult::InvalidCode => "invalid code: must not begin with 0xef".to_owned(),
        ContractResult::PrecompiledContract => "precompiled contract call failed".to_owned(),
        ContractResult::TransferFailed => "transfer trx failed: balance is not sufficient".to_owned(),
        _ => format!("execution stopped at '{op}'"),
    }
}
