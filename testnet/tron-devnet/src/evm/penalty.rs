//! Dynamic energy: contracts in heavy use cost more, by a factor on every instruction (java-tron's `VM.play`).

use revm::interpreter::interpreter_action::FrameInput;
use revm::interpreter::interpreter_types::LoopControl;
use revm::interpreter::{CallInputs, CreateInputs, InstructionResult, InterpreterAction};

use super::tx::{FACTOR_ONE, TxContext};
use super::vm::Interpreter;

/// Charges what an instruction cost, times the factor above one. Energy handed to an inner call is no cost; the
/// inner call gets what is left after the penalty.
pub(super) fn charge_penalty(
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
    Call(&'a mut CallInputs),
    Create(&'a mut CreateInputs),
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
