//! revm's machinery with TRON's rules around it: energy by TRON's table, addresses of created contracts, what a call can
//! fail at, depth, internal transactions, precompiled contracts, saved code (java-tron's `VM.play` and `Program`).
//!
//! Nothing that Ethereum does around a transaction (nonces, purchase of gas, refunds, rewards) happens here.

use std::time::Instant;

use revm::context::{BlockEnv, CfgEnv, Context, Evm, FrameStack, Journal, TxEnv};
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Cfg, CreateScheme, JournalTr, LocalContextTr};
use revm::handler::evm::{ContextDbError, EvmTr};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, FrameInitOrResult, FrameResult, ItemOrResult, PrecompileProvider};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::{FrameInit, FrameInput};
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LoopControl, ReturnData};
use revm::interpreter::{
    CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, Gas, InstructionResult, InterpreterAction,
    InterpreterResult, SharedMemory,
};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, AddressSet, B256, Bytes, U256};

use super::energy::{self, exists};
use super::failure::Failure;
use super::instructions::{FREE, is_token_id, knows_contract, show_created, tron_instructions};
use super::precompiles::{self, Precompile, Ran};
use super::table::{CODE_BYTE, MAX_DEPTH, MEMORY_LIMIT};
use super::tx::{CALL, CREATE, FACTOR_ONE, TxContext, create_address, create2_address};
use crate::chain::state::StateDb;

/// The context that instructions see.
pub(super) type Ctx<'db> = Context<BlockEnv, TxEnv, CfgEnv, StateDb<'db>, Journal<StateDb<'db>>, TxContext>;

pub(super) type Interpreter = revm::interpreter::Interpreter<EthInterpreter>;

type Frame = EthFrame<EthInterpreter>;
type Inner<'db> = Evm<Ctx<'db>, (), EthInstructions<EthInterpreter, Ctx<'db>>, NoPrecompiles, Frame>;
type VmError<'db> = ContextDbError<Ctx<'db>>;

/// How a frame ends that fails; why is in [`TxContext::failure`]. Its energy is its caller's no more.
pub(super) const HALT: InstructionResult = InstructionResult::OpcodeNotFound;

/// The clock is looked at once in so many instructions.
const INSTRUCTIONS_PER_LOOK: u32 = 256;

/// See the module.
pub(super) struct TronVm<'db> {
    inner: Inner<'db>,
    /// For each call or creation under way inside another.
    afterwards: Vec<Afterwards>,
}

/// What is done in the calling frame when a call or creation is over.
enum Afterwards {
    Nothing,
    /// CREATE2 leaves the return data as it was.
    ReturnData(Bytes),
    /// A precompiled contract writes its whole answer, be the room left for it smaller.
    Answer(Bytes),
}

impl<'db> TronVm<'db> {
    pub(super) fn new(ctx: Ctx<'db>) -> Self {
        let inner = Evm {
            ctx,
            inspector: (),
            instruction: tron_instructions(),
            precompiles: NoPrecompiles::default(),
            frame_stack: FrameStack::new_prealloc(8),
        };
        Self { inner, afterwards: Vec::new() }
    }

    pub(super) fn into_context(self) -> Ctx<'db> {
        self.inner.ctx
    }

    /// Runs a call or creation and everything inside it.
    pub(super) fn run(&mut self, outermost: FrameInput) -> Result<FrameResult, VmError<'db>> {
        let memory = SharedMemory::new_with_buffer(self.inner.ctx.local.shared_memory_buffer().clone());
        let first = FrameInit { depth: 0, memory, frame_input: outermost };
        self.inner.ctx.chain.open_frame(self.inner.ctx.chain.root_id, U256::ZERO);
        if let Some(result) = self.enter(first)? {
            return Ok(result);
        }
        loop {
            let result = match self.run_frame()? {
                ItemOrResult::Result(result) => Some(result),
                ItemOrResult::Item(init) => self.enter_inner(init)?,
            };
            if let Some(result) = result
                && let Some(last) = self.give_back(result)?
            {
                return Ok(last);
            }
        }
    }

    /// Opens the frame, or answers the result if none is needed. The frame's mark is set already.
    fn enter(&mut self, init: FrameInit) -> Result<Option<FrameResult>, VmError<'db>> {
        match self.inner.frame_init(init)? {
            ItemOrResult::Item(_) => Ok(None),
            ItemOrResult::Result(result) => {
                self.inner.ctx.chain.close_frame(result.instruction_result().is_ok());
                Ok(Some(result))
            }
        }
    }

    fn enter_inner(&mut self, mut init: FrameInit) -> Result<Option<FrameResult>, VmError<'db>> {
        self.afterwards.push(Afterwards::Nothing);
        let entry = match &mut init.frame_input {
            FrameInput::Call(inputs) => self.admit_call(init.depth, inputs),
            FrameInput::Create(inputs) => self.admit_creation(init.depth, inputs),
            FrameInput::Empty => Err(Refused::Fatally(Failure::Unknown)),
        };
        match entry {
            Ok(Entry::Frame { hash, token }) => {
                self.inner.ctx.chain.open_frame(hash, token);
                self.enter(init)
            }
            Ok(Entry::Done(result)) => Ok(Some(*result)),
            Err(refused) => {
                if let Refused::Fatally(failure) = refused {
                    self.inner.ctx.chain.pending = Some(failure);
                }
                Ok(Some(given_back(&init.frame_input)))
            }
        }
    }

    /// Whether a call can be made, in java-tron's order. Lists the inner transaction.
    fn admit_call(&mut self, depth: usize, inputs: &mut CallInputs) -> Result<Entry, Refused> {
        let ctx = &mut self.inner.ctx;
        let token = ctx.chain.token.take();
        if depth > MAX_DEPTH {
            return Err(Refused::Quietly);
        }
        let (caller, value) = match inputs.scheme {
            // Delegated code runs as its caller, so that is who calls.
            CallScheme::DelegateCall => (inputs.target_address, U256::ZERO),
            _ => (inputs.caller, inputs.value.get()),
        };
        let precompile = precompiles::at(ctx.chain.callee.address);
        let Ok(sun) = i64::try_from(value).map(i64::unsigned_abs) else {
            let failure = if precompile.is_some() { Failure::OutOfLongRange } else { Failure::Endowment };
            return Err(Refused::Fatally(failure));
        };
        if let Some(token) = token {
            if !is_token_id(token) {
                return Err(Refused::Fatally(Failure::TokenId { is_transfer: true }));
            }
            if sun > 0 {
                return Err(Refused::Quietly);
            }
        }
        if balance(ctx, caller) < value {
            return Err(Refused::Quietly);
        }
        if let Some(precompile) = precompile {
            return self.call_precompile(precompile, inputs, sun);
        }
        if sun > 0 && inputs.scheme == CallScheme::Call && inputs.target_address == caller {
            return Err(Refused::Fatally(Failure::TransferToItself));
        }
        let data = inputs.input.bytes(ctx);
        let hash = ctx.chain.note_internal(caller, inputs.target_address, sun, &data, CALL);
        Ok(Entry::Frame { hash, token: token.unwrap_or_default() })
    }

    /// Such a call is no inner transaction and opens no frame.
    fn call_precompile(&mut self, precompile: Precompile, inputs: &CallInputs, sun: u64) -> Result<Entry, Refused> {
        let ctx = &mut self.inner.ctx;
        let data = inputs.input.bytes(ctx);
        let checkpoint = ctx.journaled_state.checkpoint();
        if sun > 0 && inputs.scheme == CallScheme::Call {
            if !exists(ctx, inputs.target_address) {
                ctx.journaled_state.checkpoint_revert(checkpoint);
                return Err(Refused::Fatally(Failure::TransferToPrecompile));
            }
            ctx.journaled_state.transfer_loaded(inputs.caller, inputs.target_address, U256::from(sun));
        }
        let ran = precompile.run(ctx, &data, inputs.gas_limit);
        let mut gas = Gas::new(inputs.gas_limit);
        let (result, returned, written) = match ran {
            Ok(Ran::Well { energy, output }) => {
                ctx.journaled_state.checkpoint_commit();
                let _ = gas.record_regular_cost(energy);
                (InstructionResult::Return, output.clone(), output)
            }
            Ok(Ran::Badly { output }) => {
                ctx.journaled_state.checkpoint_revert(checkpoint);
                (HALT, Bytes::new(), output)
            }
            Err(failure) => {
                ctx.journaled_state.checkpoint_revert(checkpoint);
                return Err(Refused::Fatally(failure));
            }
        };
        if let Some(afterwards) = self.afterwards.last_mut() {
            *afterwards = Afterwards::Answer(written);
        }
        let result = InterpreterResult::new(result, returned, gas);
        Ok(Entry::Done(Box::new(FrameResult::Call(CallOutcome::new(result, inputs.return_memory_offset.clone())))))
    }

    /// As [`Self::admit_call`]; fixes the address too.
    fn admit_creation(&mut self, depth: usize, inputs: &mut CreateInputs) -> Result<Entry, Refused> {
        let scheme = inputs.scheme();
        if let (CreateScheme::Create2 { .. }, Some(afterwards)) = (scheme, self.afterwards.last_mut()) {
            let data = self.inner.frame_stack.get().interpreter.return_data.buffer().clone();
            *afterwards = Afterwards::ReturnData(data);
        }
        let ctx = &mut self.inner.ctx;
        if depth > MAX_DEPTH {
            return Err(Refused::Quietly);
        }
        let Ok(sun) = i64::try_from(inputs.value()).map(i64::unsigned_abs) else {
            return Err(Refused::Fatally(Failure::OutOfLongRange));
        };
        if balance(ctx, inputs.caller()) < inputs.value() {
            return Err(Refused::Quietly);
        }
        let address = match scheme {
            CreateScheme::Create2 { salt } => create2_address(inputs.caller(), salt, inputs.init_code()),
            _ => create_address(ctx.chain.root_id, ctx.chain.nonce),
        };
        inputs.set_scheme(CreateScheme::Custom { address });
        make_room(ctx, address);
        let hash = ctx.chain.note_internal(inputs.caller(), address, sun, inputs.init_code(), CREATE);
        Ok(Entry::Frame { hash, token: U256::ZERO })
    }

    /// Runs the top frame until it ends or calls another.
    fn run_frame(&mut self) -> Result<FrameInitOrResult<Frame>, VmError<'db>> {
        let mut action = self.play();
        let frame = self.inner.frame_stack.get();
        let ctx = &mut self.inner.ctx;
        let created = match &frame.data {
            revm::handler::FrameData::Create(creation) => Some(creation.created_address),
            revm::handler::FrameData::Call(_) => None,
        };
        if created.is_some() {
            save_code(&mut action, frame.depth > 0, &mut ctx.chain);
        }
        let next = frame.process_next_action::<_, VmError<'db>>(ctx, action)?;
        if let ItemOrResult::Result(result) = &next {
            frame.set_finished(true);
            let is_ok = result.instruction_result().is_ok();
            ctx.chain.close_frame(is_ok);
            if let Some(address) = created.filter(|_| !is_ok) {
                give_room_back(ctx, address);
            }
        }
        Ok(next)
    }

    /// Runs instructions, each after its energy was taken.
    fn play(&mut self) -> InterpreterAction {
        let interpreter = &mut self.inner.frame_stack.get().interpreter;
        let ctx = &mut self.inner.ctx;
        let is_over = ctx.chain.failure.as_ref().is_some_and(Failure::ends_all_frames);
        if !is_over {
            ctx.chain.failure = ctx.chain.pending.take();
        }
        if ctx.chain.failure.is_some() {
            interpreter.halt(HALT);
            return interpreter.take_next_action();
        }
        let instructions = self.inner.instruction.instruction_table();
        let factor = ctx.chain.factors.get(&interpreter.input.target_address()).copied().unwrap_or(FACTOR_ONE);
        let mut until_look = 1;
        let end = loop {
            let op = interpreter.bytecode.opcode();
            if let Err(failure) = energy::charge(interpreter, ctx, op, factor) {
                ctx.chain.failure = Some(failure);
                break HALT;
            }
            until_look -= 1;
            if until_look == 0 {
                until_look = INSTRUCTIONS_PER_LOOK;
                if ctx.chain.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    ctx.chain.failure = Some(Failure::Time { op });
                    break HALT;
                }
            }
            if let Err(end) = interpreter.step(instructions, &FREE, ctx) {
                break end;
            }
        };
        if interpreter.bytecode.action().is_none() {
            if !end.is_ok_or_revert() {
                ctx.chain.failure.get_or_insert(Failure::Static);
            }
            interpreter.halt(if end.is_ok_or_revert() { end } else { HALT });
        }
        interpreter.take_next_action()
    }

    /// Hands a result to the calling frame, or out if there is none.
    fn give_back(&mut self, result: FrameResult) -> Result<Option<FrameResult>, VmError<'db>> {
        let is_creation = matches!(result, FrameResult::Create(_));
        let is_revert = result.instruction_result() == InstructionResult::Revert;
        if let Some(last) = self.inner.frame_return_result(result)? {
            return Ok(Some(last));
        }
        let interpreter = &mut self.inner.frame_stack.get().interpreter;
        let ctx = &mut self.inner.ctx;
        if is_creation {
            show_created(interpreter);
        }
        match self.afterwards.pop() {
            Some(Afterwards::ReturnData(data)) if !is_revert => interpreter.return_data.set_buffer(data),
            Some(Afterwards::Answer(answer)) => {
                if let Err(failure) = write_answer(interpreter, ctx, &answer) {
                    ctx.chain.pending = Some(failure);
                }
            }
            _ => {}
        }
        Ok(None)
    }
}

/// How a call or creation goes on.
enum Entry {
    /// In a frame of its own.
    Frame { hash: B256, token: U256 },
    /// It is over already.
    Done(Box<FrameResult>),
}

/// Why a call or creation is not made. Its energy goes back.
enum Refused {
    /// It answers 0.
    Quietly,
    /// The calling frame fails.
    Fatally(Failure),
}

/// The result of what was refused.
fn given_back(input: &FrameInput) -> FrameResult {
    let result = |limit| InterpreterResult::new(InstructionResult::CallTooDeep, Bytes::new(), Gas::new(limit));
    match input {
        FrameInput::Call(inputs) => {
            FrameResult::Call(CallOutcome::new(result(inputs.gas_limit), inputs.return_memory_offset.clone()))
        }
        FrameInput::Create(inputs) => FrameResult::Create(CreateOutcome::new(result(inputs.gas_limit()), None)),
        FrameInput::Empty => FrameResult::Call(CallOutcome::new(result(0), 0..0)),
    }
}

fn balance(ctx: &mut Ctx<'_>, address: Address) -> U256 {
    let Ok(account) = ctx.journaled_state.load_account(address);
    account.data.info.balance
}

/// An account that is no contract does not stand in a creation's way on TRON; revm sees one by its nonce.
fn make_room(ctx: &mut Ctx<'_>, address: Address) {
    if knows_contract(ctx, address) {
        return;
    }
    let Ok(mut account) = ctx.journaled_state.load_account_mut(address);
    if account.data.nonce() != 0 {
        account.data.set_nonce(0);
    }
}

/// The account is still there if no contract came of it.
fn give_room_back(ctx: &mut Ctx<'_>, address: Address) {
    if ctx.journaled_state.database.account(address).is_some() {
        let Ok(mut account) = ctx.journaled_state.load_account_mut(address);
        account.data.set_nonce(1);
    }
}

/// Takes the energy for the code that a creation leaves behind, and refuses code that begins with 0xef; inside another
/// contract even a revert's reason may not.
fn save_code(action: &mut InterpreterAction, is_inner: bool, tx: &mut TxContext) {
    let InterpreterAction::Return(end) = action else { return };
    if !end.result.is_ok_or_revert() {
        return;
    }
    let is_revert = end.result.is_revert();
    let need = CODE_BYTE.saturating_mul(u64::try_from(end.output.len()).unwrap_or(u64::MAX));
    let failure = if end.output.first() == Some(&0xef) && (is_inner || !is_revert) {
        Failure::InvalidCode
    } else if !is_revert && !end.gas.record_regular_cost(need) {
        Failure::EnergyForCode { need, left: end.gas.remaining() }
    } else {
        return;
    };
    tx.failure = Some(failure);
    end.result = HALT;
    end.output = Bytes::new();
}

/// Writes a precompiled contract's answer to where the call wanted it, free of charge. java-tron would take memory
/// without end for it; here the limit holds.
fn write_answer(interpreter: &mut Interpreter, ctx: &Ctx<'_>, answer: &[u8]) -> Result<(), Failure> {
    if answer.is_empty() {
        return Ok(());
    }
    let offset = usize::try_from(ctx.chain.callee.answer_offset & U256::from(u32::MAX)).unwrap_or(usize::MAX);
    let end = offset.saturating_add(answer.len());
    if u64::try_from(end).map_or(true, |end| end > MEMORY_LIMIT) {
        return Err(Failure::Memory { op: super::table::CALL });
    }
    interpreter.resize_memory(ctx.cfg.gas_params(), offset, answer.len()).map_err(|_| Failure::Unknown)?;
    interpreter.memory.set(offset, answer);
    Ok(())
}

/// revm is told of none: calls to them never get as far.
#[derive(Debug, Default)]
pub(super) struct NoPrecompiles(AddressSet);

impl PrecompileProvider<Ctx<'_>> for NoPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _spec: SpecId) -> bool {
        false
    }

    fn run(&mut self, _: &mut Ctx<'_>, _: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        Ok(None)
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.0
    }
}
