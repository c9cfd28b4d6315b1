//! Contract execution: one call or creation on revm with TRON's energy rules.
//!
//! Reads a state, changes nothing: what the execution did comes back as [`Outcome`] and is written by the caller. Fees are
//! not handled here.

mod energy;
mod entry;
mod failure;
mod instructions;
mod precompiles;
mod queries;
mod signatures;
mod table;
pub(crate) mod tx;
mod vm;

#[cfg(test)]
mod tests;

use std::time::Instant;

use lucid_tron_types::proto::ContractResult;
use revm::context::{BlockEnv, TxEnv};
use revm::context_interface::{CreateScheme, JournalTr};
use revm::interpreter::interpreter_action::FrameInput;
use revm::interpreter::{CallInput, CallInputs, CallScheme, CallValue, CreateInputs};
use revm::primitives::{Address, B256, Bytes, HashMap, Log, U256};
use revm::state::EvmState;

use crate::chain::state::StateDb;
use failure::Failure;
pub(crate) use queries::StakeRules;
use tx::{InternalTransaction, TxContext};
use vm::{Ctx, TronVm};

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
    /// What stakes are measured by.
    pub(crate) stakes: StakeRules,
}

/// What is executed.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) caller: Address,
    pub(crate) kind: Kind,
    /// Sun.
    pub(crate) value: u64,
    /// The TRC-10 token that it names, and sends none of; 0 for none.
    pub(crate) token_id: u64,
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
    execute_until(None, db, block, factors, request)
}

/// As [`execute`], and ends as `OUT_OF_TIME` when the deadline has passed. The outcome then depends on how fast this machine
/// is: good enough for a call that leaves nothing behind, never for a block.
pub(crate) fn execute_until(
    deadline: Option<Instant>,
    db: StateDb<'_>,
    block: BlockContext,
    factors: HashMap<Address, u64>,
    request: Request,
) -> Outcome {
    let mut ctx = context(db, block, request.caller);
    ctx.chain = TxContext::new(request.root_id, &block, factors, deadline);
    let limit = request.energy_limit;
    let token = U256::from(request.token_id);
    let input = frame_input(&mut ctx, request);

    let mut vm = TronVm::new(ctx);
    let end = vm.run(input, token);
    let mut ctx = vm.into_context();
    let logs = ctx.journaled_state.take_logs();
    let changes = ctx.journaled_state.finalize();
    let TxContext { penalty, internal, failure, .. } = ctx.chain;
    let failed = Outcome {
        result: ContractResult::Unknown,
        energy: limit,
        penalty,
        output: Bytes::new(),
        logs: Vec::new(),
        internal,
        message: String::new(),
        changes: EvmState::default(),
    };
    let end = match end {
        Ok(end) => end,
        Err(_) => return Outcome { message: Failure::Unknown.to_string(), ..failed },
    };
    let end = end.interpreter_result();
    let energy = limit.saturating_sub(end.gas.remaining());
    let output = end.output.clone();
    if end.is_ok() {
        return Outcome { result: ContractResult::Success, energy, output, logs, changes, ..failed };
    }
    if end.is_revert() {
        let message = "REVERT opcode executed".to_owned();
        return Outcome { result: ContractResult::Revert, energy, output, message, ..failed };
    }
    let failure = failure.unwrap_or(Failure::Unknown);
    let energy = if failure.takes_all_energy() { limit } else { energy };
    Outcome { result: failure.result(), energy, message: failure.to_string(), ..failed }
}

fn context(db: StateDb<'_>, block: BlockContext, caller: Address) -> Ctx<'_> {
    let mut ctx = Ctx::new(db, table::SPEC);
    ctx.cfg.gas_params = table::free_of_charge();
    ctx.cfg.chain_id = block.chain_id;
    ctx.cfg.limit_contract_code_size = Some(usize::MAX);
    ctx.cfg.limit_contract_initcode_size = Some(usize::MAX);
    ctx.block = BlockEnv {
        number: U256::from(block.number),
        timestamp: U256::from(block.time / 1000),
        gas_limit: 0,
        basefee: block.energy_price,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        ..BlockEnv::default()
    };
    ctx.tx = TxEnv { caller, ..TxEnv::default() };
    ctx
}

fn frame_input(ctx: &mut Ctx<'_>, request: Request) -> FrameInput {
    let Request { caller, kind, value, data, energy_limit, .. } = request;
    // A transfer takes for granted that both are loaded.
    let Ok(_) = ctx.journaled_state.load_account(caller);
    let value = U256::from(value);
    match kind {
        Kind::Call(to) => {
            let Ok(account) = ctx.journaled_state.load_account_with_code(to);
            let info = &account.data.info;
            FrameInput::Call(Box::new(CallInputs {
                input: CallInput::Bytes(data),
                gas_limit: energy_limit,
                target_address: to,
                bytecode_address: to,
                known_bytecode: (info.code_hash, info.code.clone().unwrap_or_default()),
                caller,
                value: CallValue::Transfer(value),
                scheme: CallScheme::Call,
                is_static: false,
                return_memory_offset: 0..0,
                reservoir: 0,
                charged_new_account_state_gas: false,
            }))
        }
        Kind::Create(at) => {
            let scheme = CreateScheme::Custom { address: at };
            FrameInput::Create(Box::new(CreateInputs::new(caller, scheme, value, data, energy_limit, 0)))
        }
    }
}
