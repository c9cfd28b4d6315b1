//! What a call or creation inside a contract can be refused for, or fail at, before any of its code runs (java-tron's
//! `Program.callToAddress`, `callToPrecompiledAddress` and `createContractImpl`), and the list of inner transactions.

use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{CreateScheme, JournalTr};
use revm::handler::FrameResult;
use revm::interpreter::interpreter_action::{FrameInit, FrameInput};
use revm::interpreter::interpreter_types::ReturnData;
use revm::interpreter::{
    CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome, Gas, InstructionResult, InterpreterResult,
};
use revm::primitives::{Address, B256, Bytes, U256};

use super::energy::exists;
use super::failure::Failure;
use super::instructions::{is_token_id, knows_contract};
use super::precompiles::{self, Precompile, Ran};
use super::table::MAX_DEPTH;
use super::tx::{CALL, CREATE, create_address, create2_address};
use super::vm::{Afterwards, Ctx, HALT, TronVm, VmError};

impl<'db> TronVm<'db> {
    /// Opens the frame of a call or creation that a contract makes, or answers its result if it gets none.
    pub(super) fn enter_inner(&mut self, mut init: FrameInit) -> Result<Option<FrameResult>, VmError<'db>> {
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

    /// In java-tron's order; lists the inner transaction.
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
pub(super) fn give_room_back(ctx: &mut Ctx<'_>, address: Address) {
    if ctx.journaled_state.database.account(address).is_some() {
        let Ok(mut account) = ctx.journaled_state.load_account_mut(address);
        account.data.set_nonce(1);
    }
}
