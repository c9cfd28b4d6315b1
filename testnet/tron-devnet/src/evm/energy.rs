//! What the next instruction costs, charged before it runs (java-tron's `VM.play` and `EnergyCost`).
//!
//! Dynamic energy: a contract in heavy use pays each instruction times a factor; what goes beyond the plain price is the
//! penalty. Neither the energy handed to an inner call nor that for saved code is multiplied.

use revm::context_interface::JournalTr;
use revm::interpreter::interpreter_types::{InputsTr, MemoryTr};
use revm::primitives::{Address, U256};

use super::failure::Failure;
use super::table::{
    CALL_VALUE, COPIED_WORD, EXPONENT_BYTE, HASHED_WORD, LOG_BYTE, LOG_TOPIC, MAX_STACK, MEMORY_LIMIT, MEMORY_SQUARE,
    MEMORY_WORD, More, NEW_ACCOUNT, RULES, SSTORE_RESET, SSTORE_SET, Value,
};
use super::tx::{Callee, FACTOR_ONE};
use super::vm::{Ctx, Interpreter};

/// Checks that instruction `op` exists, has its words on the stack and room for its results, and takes its energy.
pub(super) fn charge(interpreter: &mut Interpreter, ctx: &mut Ctx<'_>, op: u8, factor: u64) -> Result<(), Failure> {
    let Some(rule) = &RULES[usize::from(op)] else { return Err(Failure::UnknownInstruction { op }) };
    let height = interpreter.stack.len();
    let (takes, gives) = (usize::from(rule.takes), usize::from(rule.gives));
    let Some(below) = height.checked_sub(takes) else {
        return Err(Failure::StackTooSmall { expected: takes, actual: height });
    };
    if below + gives > MAX_STACK {
        return Err(Failure::StackTooLarge);
    }
    let cost = match rule.more {
        More::Nothing => rule.energy,
        more => rule.energy.saturating_add(depending(interpreter, ctx, op, more)?),
    };
    let penalty = if factor > FACTOR_ONE { penalty(cost, factor) } else { 0 };
    if !interpreter.gas.record_regular_cost(cost.saturating_add(penalty)) {
        return Err(missing(interpreter, op, rule.more, cost, penalty, factor));
    }
    ctx.chain.penalty = ctx.chain.penalty.saturating_add(penalty);
    Ok(())
}

fn penalty(cost: u64, factor: u64) -> u64 {
    let scaled = u128::from(cost) * u128::from(factor) / u128::from(FACTOR_ONE);
    u64::try_from(scaled).unwrap_or(u64::MAX).saturating_sub(cost)
}

#[cold]
fn missing(interpreter: &Interpreter, op: u8, more: More, cost: u64, penalty: u64, factor: u64) -> Failure {
    let (limit, left) = (interpreter.gas.limit(), interpreter.gas.remaining());
    let used = limit.saturating_sub(left);
    match more {
        More::Call { .. } => Failure::EnergyAhead { op, cost: cost.saturating_add(penalty), left },
        _ if factor > FACTOR_ONE => Failure::EnergyWithPenalty { op, limit, cost, penalty, used },
        _ => Failure::Energy { op, limit, cost, used },
    }
}

fn depending(interpreter: &Interpreter, ctx: &mut Ctx<'_>, op: u8, more: More) -> Result<u64, Failure> {
    let word = |position: usize| interpreter.stack.peek(position).unwrap_or_default();
    let memory = |offset: U256, size: U256| growth(interpreter, op, offset, size);
    Ok(match more {
        More::Nothing => 0,
        More::Exponent => EXPONENT_BYTE * u64::try_from(word(1).byte_len()).unwrap_or(u64::MAX),
        More::Bytes(size) => memory(word(0), U256::from(size))?,
        More::Memory { offset, size } => memory(word(offset), word(size))?,
        More::Hashed { offset, size } => memory(word(offset), word(size))? + HASHED_WORD * words(word(size)),
        More::Copied { offset, size } => memory(word(offset), word(size))? + COPIED_WORD * words(word(size)),
        More::Moved => memory(word(0).max(word(1)), word(2))? + COPIED_WORD * words(word(2)),
        More::Log { topics } => {
            let bytes = log_bytes(interpreter, op, word(1))?;
            bytes + LOG_TOPIC * topics + memory(word(0), word(1))?
        }
        More::Stored => {
            let target = interpreter.input.target_address();
            if holds_nothing(ctx, target, word(0)) && !word(1).is_zero() { SSTORE_SET } else { SSTORE_RESET }
        }
        More::NewAccount(position) => new_account(ctx, word(position)),
        More::Call { value, data } => {
            let answer = data + 2;
            let sending = match value {
                Value::No => 0,
                _ if word(2).is_zero() => 0,
                Value::Kept => CALL_VALUE,
                Value::Sent => CALL_VALUE + new_account(ctx, word(1)),
            };
            ctx.chain.callee = Callee { address: word(1), answer_offset: word(answer) };
            let farther = memory(word(data), word(data + 1))?.max(memory(word(answer), word(answer + 1))?);
            sending + farther
        }
    })
}

/// What memory costs to reach `size` bytes from `offset`; nothing if it is that large, or if no byte is meant.
fn growth(interpreter: &Interpreter, op: u8, offset: U256, size: U256) -> Result<u64, Failure> {
    if size.is_zero() {
        return Ok(0);
    }
    let end = offset.checked_add(size).and_then(|end| u64::try_from(end).ok()).filter(|end| *end <= MEMORY_LIMIT);
    let needed = end.ok_or(Failure::Memory { op })?.div_ceil(32);
    let present = u64::try_from(interpreter.memory.size() / 32).unwrap_or(u64::MAX);
    let cost = |words: u64| MEMORY_WORD * words + words * words / MEMORY_SQUARE;
    Ok(if needed > present { cost(needed) - cost(present) } else { 0 })
}

/// Words of `size` bytes, which are known to fit in memory.
fn words(size: U256) -> u64 {
    u64::try_from(size).unwrap_or(0).div_ceil(32)
}

/// Checked before the rest of LOG's energy, and before its memory.
fn log_bytes(interpreter: &Interpreter, op: u8, size: U256) -> Result<u64, Failure> {
    let cost = size.saturating_mul(U256::from(LOG_BYTE));
    let left = interpreter.gas.remaining();
    if cost <= U256::from(left) {
        return Ok(u64::try_from(cost).unwrap_or(left));
    }
    match i64::try_from(cost) {
        Ok(cost) => Err(Failure::EnergyAhead { op, cost: cost.unsigned_abs(), left }),
        Err(_) => Err(Failure::OutOfLongRange),
    }
}

/// A slot counts as empty only if it held nothing before the transaction and was not written in it.
fn holds_nothing(ctx: &mut Ctx<'_>, contract: Address, slot: U256) -> bool {
    if ctx.chain.was_written(contract, slot) {
        return false;
    }
    let Ok(value) = ctx.journaled_state.sload(contract, slot);
    value.data.is_zero()
}

fn new_account(ctx: &mut Ctx<'_>, word: U256) -> u64 {
    if exists(ctx, Address::from_word(word.into())) { 0 } else { NEW_ACCOUNT }
}

/// Whether there is an account, be it empty.
pub(super) fn exists(ctx: &mut Ctx<'_>, address: Address) -> bool {
    let Ok(account) = ctx.journaled_state.load_account(address);
    !account.data.info.is_empty()
}
