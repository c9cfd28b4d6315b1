//! revm's machinery with TRON's rules around it: energy by TRON's table before each instruction, failures in java-tron's
//! words, the energy for saved code, and what its calls leave in their caller (java-tron's `VM.play` and `Program`). How calls
//! and creations begin is in [`super::entry`].
//!
//! Nothing that Ethereum does around a transaction (nonces, purchase of gas, refunds, rewards) happens here.

use std::time::Instant;

use revm::context::{BlockEnv, CfgEnv, Context, Evm, FrameStack, Journal, TxEnv};
use revm::context_interface::{Cfg, LocalContextTr};
use revm::handler::evm::{ContextDbError, EvmTr};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, FrameData, FrameInitOrResult, FrameResult, ItemOrResult, PrecompileProvider};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::{FrameInit, FrameInput};
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LoopControl, ReturnData};
use revm::interpreter::{CallInputs, InstructionResult, InterpreterAction, InterpreterResult, SharedMemory};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{AddressSet, Bytes, U256};

use super::energy;
use super::entry::give_room_back;
use super::failure::Failure;
use super::instructions::{FREE, show_created, tron_instructions};
use super::table::{CODE_BYTE, MEMORY_LIMIT};
use super::tx::{FACTOR_ONE, TxContext};
use crate::chain::state::StateDb;

/// The context that instructions see.
pub(super) type Ctx<'db> = Context<BlockEnv, TxEnv, CfgEnv, StateDb<'db>, Journal<StateDb<'db>>, TxContext>;

pub(super) type Interpreter = revm::interpreter::Interpreter<EthInterpreter>;

pub(super) type Frame = EthFrame<EthInterpreter>;
pub(super) type Inner<'db> = Evm<Ctx<'db>, (), EthInstructions<EthInterpreter, Ctx<'db>>, NoPrecompiles, Frame>;
pub(super) type VmError<'db> = ContextDbError<Ctx<'db>>;

/// How a frame ends that fails; why is in [`TxContext::failure`]. Its energy is its caller's no more.
pub(super) const HALT: InstructionResult = InstructionResult::OpcodeNotFound;

/// The clock is looked at once in so many instructions.
const INSTRUCTIONS_PER_LOOK: u32 = 256;

/// See the module.
pub(super) struct TronVm<'db> {
    pub(super) inner: Inner<'db>,
    /// For each call or creation under way inside another.
    pub(super) afterwards: Vec<Afterwards>,
}

/// What is done in the calling frame when a call or creation is over.
pub(super) enum Afterwards {
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

    /// Runs a call or creation that names a token, and everything inside it.
    pub(super) fn run(&mut self, outermost: FrameInput, token: U256) -> Result<FrameResult, VmError<'db>> {
        let memory = SharedMemory::new_with_buffer(self.inner.ctx.local.shared_memory_buffer().clone());
        let first = FrameInit { depth: 0, memory, frame_input: outermost };
        self.inner.ctx.chain.open_frame(self.inner.ctx.chain.root_id, token);
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
    pub(super) fn enter(&mut self, init: FrameInit) -> Result<Option<FrameResult>, VmError<'db>> {
        match self.inner.frame_init(init)? {
            ItemOrResult::Item(_) => Ok(None),
            ItemOrResult::Result(result) => {
                self.inner.ctx.chain.close_frame(result.instruction_result().is_ok());
                Ok(Some(result))
            }
        }
    }

    /// Runs the top frame until it ends or calls another.
    fn run_frame(&mut self) -> Result<FrameInitOrResult<Frame>, VmError<'db>> {
        let mut action = self.play();
        let frame = self.inner.frame_stack.get();
        let ctx = &mut self.inner.ctx;
        let created = match &frame.data {
            FrameData::Create(creation) => Some(creation.created_address),
            FrameData::Call(_) => None,
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
