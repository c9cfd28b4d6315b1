//! Instructions that TRON has and Ethereum has not, and those whose rule differs.
//!
//! TRC-10 tokens do not exist on this network: `CALLTOKENVALUE`, `CALLTOKENID` and `TOKENBALANCE` (which code made by
//! TRON's own compiler uses to refuse tokens) answer 0, and `CALLTOKEN` is an unknown instruction. So are the
//! instructions for staking and voting.

use revm::bytecode::opcode;
use revm::context_interface::{ContextTr, Host, JournalTr};
use revm::handler::instructions::EthInstructions;
use revm::interpreter::instructions::{host, instruction_table};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, RuntimeFlag};
use revm::interpreter::{Instruction, InstructionContext, InstructionExecResult, InstructionResult};
use revm::primitives::{Address, KECCAK_EMPTY, U256};

use super::table::{NEW_ACCOUNT, SPEC, SSTORE_RESET, SSTORE_SET, static_costs};
use super::vm::Ctx;

const TOKENBALANCE: u8 = 0xd1;
const CALLTOKENVALUE: u8 = 0xd2;
const CALLTOKENID: u8 = 0xd3;
const ISCONTRACT: u8 = 0xd4;

type Ictx<'a, 'db> = InstructionContext<'a, Ctx<'db>, EthInterpreter>;

/// revm's instruction set with TRON's differences.
pub(crate) fn tron_instructions<'db>() -> EthInstructions<EthInterpreter, Ctx<'db>> {
    let mut set = EthInstructions::new(instruction_table(), static_costs(), SPEC);
    set.insert_instruction(opcode::SSTORE, Instruction::new(sstore), 0);
    set.insert_instruction(opcode::SELFDESTRUCT, Instruction::new(selfdestruct), 0);
    set.insert_instruction(opcode::BASEFEE, Instruction::new(energy_price), 2);
    set.insert_instruction(opcode::GASPRICE, Instruction::new(energy_price), 2);
    set.insert_instruction(TOKENBALANCE, Instruction::new(token_balance), 20);
    set.insert_instruction(CALLTOKENVALUE, Instruction::new(zero), 2);
    set.insert_instruction(CALLTOKENID, Instruction::new(zero), 2);
    set.insert_instruction(ISCONTRACT, Instruction::new(is_contract), 20);
    set
}

fn charge(ctx: &mut Ictx<'_, '_>, energy: u64) -> InstructionExecResult {
    if ctx.interpreter.gas.record_regular_cost(energy) { Ok(()) } else { Err(InstructionResult::OutOfGas) }
}

fn push(ctx: &mut Ictx<'_, '_>, value: U256) -> InstructionExecResult {
    if ctx.interpreter.stack.push(value) { Ok(()) } else { Err(InstructionResult::StackOverflow) }
}

fn to_address(word: U256) -> Address {
    Address::from_word(word.into())
}

/// A slot counts as empty only if it held nothing before the transaction and was not written in it.
fn sstore(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    if ctx.interpreter.runtime_flag.is_static() {
        return Err(InstructionResult::StateChangeDuringStaticCall);
    }
    let Ok([slot, value]) = ctx.interpreter.stack.popn::<2>().ok_or(()) else {
        return Err(InstructionResult::StackUnderflow);
    };
    let target = ctx.interpreter.input.target_address();
    let original =
        ctx.host.sstore(target, slot, value).ok_or(InstructionResult::FatalExternalError)?.data.original_value;
    let was_written = !ctx.host.chain.note_write(target, slot);
    let holds_nothing = original.is_zero() && !was_written;
    charge(&mut ctx, if holds_nothing && !value.is_zero() { SSTORE_SET } else { SSTORE_RESET })
}

/// Pays for the heir's account whenever it does not exist, with or without a balance to inherit.
fn selfdestruct(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    let Some(heir) = ctx.interpreter.stack.data().last().copied() else {
        return Err(InstructionResult::StackUnderflow);
    };
    if !exists(&mut ctx, to_address(heir))? {
        charge(&mut ctx, NEW_ACCOUNT)?;
    }
    host::selfdestruct(ctx)
}

fn exists(ctx: &mut Ictx<'_, '_>, address: Address) -> Result<bool, InstructionResult> {
    let account = ctx.host.load_account_info_skip_cold_load(address, false, false)?;
    Ok(!account.is_empty)
}

/// Sun per energy.
fn energy_price(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    let price = U256::from(ctx.host.chain.energy_price);
    push(&mut ctx, price)
}

fn zero(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    push(&mut ctx, U256::ZERO)
}

fn token_balance(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    if ctx.interpreter.stack.popn::<2>().is_none() {
        return Err(InstructionResult::StackUnderflow);
    }
    push(&mut ctx, U256::ZERO)
}

fn is_contract(mut ctx: Ictx<'_, '_>) -> InstructionExecResult {
    let Some([word]) = ctx.interpreter.stack.popn::<1>() else {
        return Err(InstructionResult::StackUnderflow);
    };
    let Ok(load) = ctx.host.journal_mut().load_account(to_address(word));
    let has_code = load.data.info.code_hash != KECCAK_EMPTY;
    push(&mut ctx, U256::from(u8::from(has_code)))
}
