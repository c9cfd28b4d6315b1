//! revm's machinery with TRON's hooks: addresses of created contracts, depth limit, internal transactions, dynamic energy.
//!
//! [`TronVm`] is revm's `Evm` whose frames are watched; [`TronHandler`] runs one top-level call without anything Ethereum
//! does around it (nonces, gas purchase, intrinsic gas, refunds, rewards).

use std::convert::Infallible;

use revm::context::result::{EVMError, HaltReason};
use revm::context::{BlockEnv, CfgEnv, Context, Evm, FrameStack, Journal, TxEnv};
use revm::context_interface::{CreateScheme, JournalTr};
use revm::handler::evm::{ContextDbError, FrameInitResult, FrameTr};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EvmTr, FrameInitOrResult, FrameResult, Handler, ItemOrResult};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::{FrameInit, FrameInput};
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LoopControl};
use revm::interpreter::{
    CallOutcome, CallScheme, CreateOutcome, Gas, GasTracker, InitialAndFloorGas, InstructionResult, InterpreterAction,
    InterpreterResult,
};
use revm::primitives::{Address, B256, Bytes, HashMap, HashSet, U256, keccak256};

use super::precompiles::TronPrecompiles;
use super::table::MAX_DEPTH;
use crate::address;
use crate::chain::state::StateDb;

/// The context that instructions see.
pub(crate) type Ctx<'db> = Context<BlockEnv, TxEnv, CfgEnv, StateDb<'db>, Journal<StateDb<'db>>, TxContext>;

type Inner<'db> =
    Evm<Ctx<'db>, (), EthInstructions<EthInterpreter, Ctx<'db>>, TronPrecompiles, EthFrame<EthInterpreter>>;

/// One unit of [`TxContext::factors`]: the plain price.
pub(crate) const FACTOR_ONE: u64 = 10_000;

/// A call, creation or self-destruction inside a transaction, as `TransactionInfo` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTransaction {
    /// Keccak-256 over its parent, parties and place, as java-tron computes it.
    pub hash: B256,
    /// Who acts.
    pub caller: Address,
    /// Who is called, created, or inherits.
    pub to: Address,
    /// Sun.
    pub value: u64,
    /// `call`, `create` or `suicide`.
    pub note: &'static str,
    /// It, or something around it, was taken back.
    pub rejected: bool,
}

/// What one transaction carries through its frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxContext {
    root_id: B256,
    pub(crate) energy_price: u64,
    /// Address of the contract that a top-level creation makes.
    created: Option<Address>,
    /// Dynamic energy factors above [`FACTOR_ONE`], by contract.
    factors: HashMap<Address, u64>,
    /// Energy charged because of factors.
    pub(crate) penalty: u64,
    pub(crate) internal: Vec<InternalTransaction>,
    /// The last instruction started.
    pub(crate) last_op: u8,
    /// Number of inner calls, creations and self-destructions so far; names what CREATE makes.
    nonce: u64,
    written: HashSet<(Address, U256)>,
    write_order: Vec<(Address, U256)>,
    frames: Vec<FrameMark>,
}

#[derive(Clone, Copy, Debug)]
struct FrameMark {
    writes: usize,
    internal: usize,
}

impl TxContext {
    /// `factors` at or below [`FACTOR_ONE`] change nothing and are dropped.
    pub(crate) fn new(
        root_id: B256,
        energy_price: u64,
        created: Option<Address>,
        factors: HashMap<Address, u64>,
    ) -> Self {
        let factors = factors.into_iter().filter(|(_, factor)| *factor > FACTOR_ONE).collect();
        Self { root_id, energy_price, created, factors, ..Self::default() }
    }

    /// Notes an SSTORE; false if the slot was already written in this transaction.
    pub(crate) fn note_write(&mut self, contract: Address, slot: U256) -> bool {
        let is_first = self.written.insert((contract, slot));
        if is_first {
            self.write_order.push((contract, slot));
        }
        is_first
    }

    fn open_frame(&mut self) {
        self.frames.push(FrameMark { writes: self.write_order.len(), internal: self.internal.len() });
    }

    /// Writes of a frame that was taken back count as not made; its inner transactions stay listed, as rejected.
    fn close_frame(&mut self, is_ok: bool) {
        let Some(mark) = self.frames.pop() else { return };
        if is_ok {
            return;
        }
        for write in self.write_order.drain(mark.writes..) {
            self.written.remove(&write);
        }
        // The transaction that opened the frame is the one before the mark.
        let first = if self.frames.is_empty() { mark.internal } else { mark.internal.saturating_sub(1) };
        for inner in self.internal.iter_mut().skip(first) {
            inner.rejected = true;
        }
    }

    fn note_internal(&mut self, caller: Address, to: Address, value: U256, data: &[u8], note: &'static str) {
        self.nonce = self.nonce.saturating_add(1);
        let mut preimage = Vec::with_capacity(128);
        preimage.extend_from_slice(self.root_id.as_slice());
        preimage.extend_from_slice(&address::to_wire(to));
        preimage.extend_from_slice(data);
        preimage.extend_from_slice(&self.nonce.to_be_bytes());
        self.internal.push(InternalTransaction {
            hash: keccak256(&preimage),
            caller,
            to,
            value: value.saturating_to(),
            note,
            rejected: false,
        });
    }
}

/// Where CREATE puts a contract: named by the transaction and the count of inner transactions before it.
fn create_address(root_id: B256, nonce: u64) -> Address {
    let mut preimage = [0u8; 40];
    preimage[..32].copy_from_slice(root_id.as_slice());
    preimage[32..].copy_from_slice(&nonce.to_be_bytes());
    Address::from_word(keccak256(preimage))
}

/// Where CREATE2 puts a contract: Ethereum's rule with TRON's address prefix in place of `0xff`.
fn create2_address(creator: Address, salt: U256, init_code: &[u8]) -> Address {
    let mut preimage = [0u8; 85];
    preimage[..21].copy_from_slice(&address::to_wire(creator));
    preimage[21..53].copy_from_slice(&salt.to_be_bytes::<32>());
    preimage[53..].copy_from_slice(keccak256(init_code).as_slice());
    Address::from_word(keccak256(preimage))
}

/// See the module.
pub(crate) struct TronVm<'db> {
    inner: Inner<'db>,
}

impl<'db> TronVm<'db> {
    pub(crate) fn new(ctx: Ctx<'db>) -> Self {
        Self {
            inner: Evm {
                ctx,
                inspector: (),
                instruction: super::instructions::tron_instructions(),
                precompiles: TronPrecompiles::new(),
                frame_stack: FrameStack::new_prealloc(8),
            },
        }
    }

    pub(crate) fn into_context(self) -> Ctx<'db> {
        self.inner.ctx
    }

    /// Fixes the address of a creation and lists the inner transaction.
    fn watch(&mut self, init: &mut FrameInit) {
        let tx = &mut self.inner.ctx.chain;
        match &mut init.frame_input {
            FrameInput::Create(inputs) => {
                let address = match inputs.scheme() {
                    CreateScheme::Create2 { salt } => create2_address(inputs.caller(), salt, inputs.init_code()),
                    _ if init.depth == 0 => tx.created.unwrap_or_default(),
                    _ => create_address(tx.root_id, tx.nonce),
                };
                inputs.set_scheme(CreateScheme::Custom { address });
                if init.depth > 0 {
                    tx.note_internal(inputs.caller(), address, inputs.value(), inputs.init_code(), "create");
                }
            }
            FrameInput::Call(inputs) if init.depth > 0 => {
                let value = match inputs.scheme {
                    CallScheme::DelegateCall => U256::ZERO,
                    _ => inputs.value.get(),
                };
                let (caller, to) = (inputs.caller, inputs.bytecode_address);
                let data = inputs.input.bytes(&self.inner.ctx);
                self.inner.ctx.chain.note_internal(caller, to, value, &data, "call");
            }
            _ => {}
        }
    }

    /// Runs the top frame until it ends or calls another.
    fn run_frame(&mut self) -> InterpreterAction {
        let frame = self.inner.frame_stack.get();
        let interpreter = &mut frame.interpreter;
        let ctx = &mut self.inner.ctx;
        let instructions = self.inner.instruction.instruction_table();
        let costs = self.inner.instruction.gas_table();
        let code_of =
            interpreter.input.bytecode_address().copied().unwrap_or_else(|| interpreter.input.target_address());
        let factor = ctx.chain.factors.get(&code_of).copied().unwrap_or(FACTOR_ONE);
        let end = loop {
            let op = interpreter.bytecode.opcode();
            ctx.chain.last_op = op;
            if op == revm::bytecode::opcode::SELFDESTRUCT {
                note_selfdestruct(interpreter, ctx);
            }
            let before = interpreter.gas.remaining();
            let outcome = interpreter.step(instructions, costs, ctx);
            if factor > FACTOR_ONE
                && let Err(out_of_energy) = charge_penalty(interpreter, &mut ctx.chain, before, factor, outcome)
            {
                interpreter.bytecode.reset_action();
                break out_of_energy;
            }
            if let Err(end) = outcome {
                break end;
            }
        };
        if interpreter.bytecode.action().is_none() {
            interpreter.halt(end);
        }
        interpreter.take_next_action()
    }
}

type Interpreter = revm::interpreter::Interpreter<EthInterpreter>;

fn note_selfdestruct(interpreter: &Interpreter, ctx: &mut Ctx<'_>) {
    let Some(heir) = interpreter.stack.data().last() else { return };
    let owner = interpreter.input.target_address();
    let Ok(account) = ctx.journaled_state.load_account(owner);
    let balance = account.data.info.balance;
    ctx.chain.note_internal(owner, Address::from_word((*heir).into()), balance, &[], "suicide");
}

/// Dynamic energy: what an instruction cost, times the factor above one. Energy handed to an inner call is no cost; the
/// inner call gets what is left after the penalty.
fn charge_penalty(
    interpreter: &mut Interpreter,
    tx: &mut TxContext,
    before: u64,
    factor: u64,
    outcome: Result<(), InstructionResult>,
) -> Result<(), InstructionResult> {
    match outcome {
        Ok(()) | Err(InstructionResult::Suspend) => {}
        Err(end) if end.is_ok_or_revert() => {}
        Err(_) => return Ok(()),
    }
    let spent = before.saturating_sub(interpreter.gas.remaining());
    let mut inner = match interpreter.bytecode.action() {
        Some(InterpreterAction::NewFrame(FrameInput::Call(inputs))) => Some(Forwarded::Call(inputs)),
        Some(InterpreterAction::NewFrame(FrameInput::Create(inputs))) => Some(Forwarded::Create(inputs)),
        _ => None,
    };
    let (forwarded, stipend) = inner.as_ref().map_or((0, 0), Forwarded::amounts);
    let cost = spent.saturating_sub(forwarded);
    let scaled = u128::from(cost) * u128::from(factor) / u128::from(FACTOR_ONE);
    let penalty = u64::try_from(scaled).unwrap_or(u64::MAX).saturating_sub(cost);
    let missing = penalty.saturating_sub(interpreter.gas.remaining());
    if missing > 0 {
        // Only an inner call can still give something back: it was handed what the penalty now takes.
        let Some(inner) = inner.as_mut().filter(|_| forwarded >= missing) else {
            return Err(InstructionResult::OutOfGas);
        };
        let left = interpreter.gas.remaining().saturating_add(forwarded).saturating_sub(penalty);
        let handed = left.saturating_sub(left / 64);
        inner.set_limit(handed.saturating_add(stipend));
        interpreter.gas.set_remaining(left.saturating_sub(handed));
    } else if !interpreter.gas.record_regular_cost(penalty) {
        return Err(InstructionResult::OutOfGas);
    }
    tx.penalty = tx.penalty.saturating_add(penalty);
    Ok(())
}

enum Forwarded<'a> {
    Call(&'a mut revm::interpreter::CallInputs),
    Create(&'a mut revm::interpreter::CreateInputs),
}

impl Forwarded<'_> {
    /// Energy taken from the caller for the inner frame, and the stipend it gets on top.
    fn amounts(&self) -> (u64, u64) {
        match self {
            Self::Call(inputs) => {
                let stipend = if inputs.transfers_value() { 2_300 } else { 0 };
                (inputs.gas_limit.saturating_sub(stipend), stipend)
            }
            Self::Create(inputs) => (inputs.gas_limit(), 0),
        }
    }

    fn set_limit(&mut self, limit: u64) {
        match self {
            Self::Call(inputs) => inputs.gas_limit = limit,
            Self::Create(inputs) => inputs.set_gas_limit(limit),
        }
    }
}

/// A frame that is refused for its depth gives its energy back.
fn too_deep(init: &FrameInit) -> FrameResult {
    let result = |limit| InterpreterResult::new(InstructionResult::CallTooDeep, Bytes::new(), Gas::new(limit));
    match &init.frame_input {
        FrameInput::Call(inputs) => {
            FrameResult::Call(CallOutcome::new(result(inputs.gas_limit), inputs.return_memory_offset.clone()))
        }
        FrameInput::Create(inputs) => FrameResult::Create(CreateOutcome::new(result(inputs.gas_limit()), None)),
        FrameInput::Empty => FrameResult::Call(CallOutcome::new(result(0), 0..0)),
    }
}

impl<'db> EvmTr for TronVm<'db> {
    type Context = Ctx<'db>;
    type Instructions = EthInstructions<EthInterpreter, Ctx<'db>>;
    type Precompiles = TronPrecompiles;
    type Frame = EthFrame<EthInterpreter>;

    fn all(&self) -> (&Self::Context, &Self::Instructions, &Self::Precompiles, &FrameStack<Self::Frame>) {
        self.inner.all()
    }

    fn all_mut(
        &mut self,
    ) -> (&mut Self::Context, &mut Self::Instructions, &mut Self::Precompiles, &mut FrameStack<Self::Frame>) {
        self.inner.all_mut()
    }

    fn frame_init(
        &mut self,
        mut init: <Self::Frame as FrameTr>::FrameInit,
    ) -> Result<FrameInitResult<'_, Self::Frame>, ContextDbError<Self::Context>> {
        if init.depth > MAX_DEPTH {
            return Ok(ItemOrResult::Result(too_deep(&init)));
        }
        self.watch(&mut init);
        self.inner.ctx.chain.open_frame();
        match self.inner.frame_init(init)? {
            ItemOrResult::Item(_) => Ok(ItemOrResult::Item(self.inner.frame_stack.get())),
            ItemOrResult::Result(result) => {
                self.inner.ctx.chain.close_frame(result.instruction_result().is_ok());
                Ok(ItemOrResult::Result(result))
            }
        }
    }

    fn frame_run(&mut self) -> Result<FrameInitOrResult<Self::Frame>, ContextDbError<Self::Context>> {
        let action = self.run_frame();
        let frame = self.inner.frame_stack.get();
        let next = frame.process_next_action::<_, ContextDbError<Self::Context>>(&mut self.inner.ctx, action)?;
        if let ItemOrResult::Result(result) = &next {
            frame.set_finished(true);
            self.inner.ctx.chain.close_frame(result.instruction_result().is_ok());
        }
        Ok(next)
    }

    fn frame_return_result(
        &mut self,
        result: <Self::Frame as FrameTr>::FrameResult,
    ) -> Result<Option<<Self::Frame as FrameTr>::FrameResult>, ContextDbError<Self::Context>> {
        self.inner.frame_return_result(result)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TronHandler<'db>(std::marker::PhantomData<&'db ()>);

impl<'db> Handler for TronHandler<'db> {
    type Evm = TronVm<'db>;
    type Error = EVMError<Infallible>;
    type HaltReason = HaltReason;

    fn validate(&self, evm: &mut Self::Evm) -> Result<InitialAndFloorGas, Self::Error> {
        // A value transfer takes for granted that the caller is loaded.
        let ctx = evm.ctx();
        let caller = ctx.tx.caller;
        ctx.journaled_state.load_account(caller)?;
        Ok(InitialAndFloorGas::new(0, 0))
    }

    fn load_accounts(&self, _evm: &mut Self::Evm) -> Result<(), Self::Error> {
        Ok(())
    }

    fn apply_eip7702_auth_list(&self, _evm: &mut Self::Evm, _gas: &mut GasTracker) -> Result<Option<u64>, Self::Error> {
        Ok(Some(0))
    }

    fn eip7623_check_gas_floor(&self, _: &mut Self::Evm, _: &mut FrameResult, _: InitialAndFloorGas) {}

    fn refund(&self, _evm: &mut Self::Evm, result: &mut FrameResult, _refund: i64) -> Result<(), Self::Error> {
        result.gas_mut().set_refund(0);
        Ok(())
    }

    fn reimburse_caller(&self, _evm: &mut Self::Evm, _result: &mut FrameResult) -> Result<(), Self::Error> {
        Ok(())
    }

    fn reward_beneficiary(&self, _evm: &mut Self::Evm, _result: &mut FrameResult) -> Result<(), Self::Error> {
        Ok(())
    }
}
