//! revm's machinery with TRON's hooks: addresses of created contracts, depth limit, internal transactions, dynamic energy.
//!
//! [`TronVm`] is revm's `Evm` whose frames are watched; [`TronHandler`] runs one top-level call without anything Ethereum
//! does around it (nonces, gas purchase, intrinsic gas, refunds, rewards).

use std::convert::Infallible;

use revm::context::result::{EVMError, HaltReason};
use revm::context::{BlockEnv, CfgEnv, Context, Evm, FrameStack, Journal, TxEnv};
use revm::context_interface::journaled_state::account::JournaledAccountTr;
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
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, U256};

use super::penalty::charge_penalty;
use super::precompiles::TronPrecompiles;
use super::table::MAX_DEPTH;
use super::tx::{CALL, CREATE, FACTOR_ONE, SUICIDE, TxContext, create_address, create2_address};
use crate::chain::state::StateDb;

/// The context that instructions see.
pub(crate) type Ctx<'db> = Context<BlockEnv, TxEnv, CfgEnv, StateDb<'db>, Journal<StateDb<'db>>, TxContext>;

type Inner<'db> =
    Evm<Ctx<'db>, (), EthInstructions<EthInterpreter, Ctx<'db>>, TronPrecompiles, EthFrame<EthInterpreter>>;

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

    /// Fixes the address of a creation, lists the inner transaction, and answers the hash that names the frame. A call or
    /// creation that cannot be paid for is not listed.
    fn watch(&mut self, init: &mut FrameInit) -> B256 {
        let is_inner = init.depth > 0;
        let ctx = &mut self.inner.ctx;
        let root_id = ctx.chain.root_id;
        match &mut init.frame_input {
            FrameInput::Create(inputs) => {
                let tx = &mut ctx.chain;
                let address = match inputs.scheme() {
                    CreateScheme::Create2 { salt } => create2_address(inputs.caller(), salt, inputs.init_code()),
                    _ if !is_inner => tx.created.unwrap_or_default(),
                    _ => create_address(tx.root_id, tx.nonce),
                };
                inputs.set_scheme(CreateScheme::Custom { address });
                make_room(ctx, address);
                if is_inner && can_pay(ctx, inputs.caller(), inputs.value()) {
                    let (caller, value) = (inputs.caller(), inputs.value());
                    return ctx.chain.note_internal(caller, address, value, inputs.init_code(), CREATE);
                }
            }
            FrameInput::Call(inputs) if is_inner => {
                let value = match inputs.scheme {
                    CallScheme::DelegateCall => U256::ZERO,
                    _ => inputs.value.get(),
                };
                // Delegated code runs as its caller, so that is who is called.
                let (caller, to) = match inputs.scheme {
                    CallScheme::DelegateCall => (inputs.target_address, inputs.target_address),
                    _ => (inputs.caller, inputs.target_address),
                };
                if can_pay(ctx, caller, value) {
                    let data = inputs.input.bytes(ctx);
                    return ctx.chain.note_internal(caller, to, value, &data, CALL);
                }
            }
            _ => {}
        }
        root_id
    }

    /// Runs the top frame until it ends or calls another.
    fn run_frame(&mut self) -> InterpreterAction {
        let frame = self.inner.frame_stack.get();
        let interpreter = &mut frame.interpreter;
        let ctx = &mut self.inner.ctx;
        let instructions = self.inner.instruction.instruction_table();
        let costs = self.inner.instruction.gas_table();
        let factor = ctx.chain.factors.get(&interpreter.input.target_address()).copied().unwrap_or(FACTOR_ONE);
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

pub(super) type Interpreter = revm::interpreter::Interpreter<EthInterpreter>;

/// An account that is no contract does not stand in a creation's way on TRON; revm sees one by its nonce.
fn make_room(ctx: &mut Ctx<'_>, address: Address) {
    let Ok(mut account) = ctx.journaled_state.load_account_mut(address);
    if *account.data.code_hash() == KECCAK_EMPTY && account.data.nonce() == 1 {
        account.data.set_nonce(0);
    }
}

fn can_pay(ctx: &mut Ctx<'_>, payer: Address, value: U256) -> bool {
    let Ok(account) = ctx.journaled_state.load_account(payer);
    account.data.info.balance >= value
}

fn note_selfdestruct(interpreter: &Interpreter, ctx: &mut Ctx<'_>) {
    let Some(heir) = interpreter.stack.data().last() else { return };
    let owner = interpreter.input.target_address();
    let Ok(account) = ctx.journaled_state.load_account(owner);
    let balance = account.data.info.balance;
    ctx.chain.note_internal(owner, Address::from_word((*heir).into()), balance, &[], SUICIDE);
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
        let hash = self.watch(&mut init);
        self.inner.ctx.chain.open_frame(hash);
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
