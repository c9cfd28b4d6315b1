//! Instructions that TRON has and Ethereum has not, and those that do something else there. None of them charges: that
//! has happened.
//!
//! TRC-10 tokens do not exist on this network: nobody holds any, so every transfer of one fails for want of balance, and
//! a call that names a token and sends none of it is made. Contracts cannot stake, so everything that would move or take
//! back a contract's stake finds none.

use revm::bytecode::opcode;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Host, JournalTr};
use revm::handler::instructions::EthInstructions;
use revm::interpreter::instructions::{GasTable, contract, control, host, instruction_table, system};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, ReturnData, RuntimeFlag};
use revm::interpreter::{Instruction, InstructionContext, InstructionExecResult, InstructionResult};
use revm::primitives::{Address, U256};

use super::energy::exists;
use super::failure::Failure;
use super::table::{self, SPEC};
use super::tx::{SUICIDE, prefixed};
use super::vm::{Ctx, HALT, Interpreter};
use crate::chain::execute::MIN_TOKEN_ID;

type Ictx<'a, 'db> = InstructionContext<'a, Ctx<'db>, EthInterpreter>;

/// What revm's instructions cost by themselves.
pub(super) const FREE: GasTable = [0; 256];

/// revm's instruction set with TRON's differences.
pub(super) fn tron_instructions<'db>() -> EthInstructions<EthInterpreter, Ctx<'db>> {
    let mut set = EthInstructions::new(instruction_table(), FREE, SPEC);
    let mut insert = |code, instruction| set.insert_instruction(code, instruction, 0);
    insert(opcode::SSTORE, Instruction::new(sstore));
    insert(opcode::SELFDESTRUCT, Instruction::new(suicide));
    insert(opcode::JUMP, Instruction::new(jump));
    insert(opcode::JUMPI, Instruction::new(jump_if));
    insert(opcode::RETURNDATACOPY, Instruction::new(return_data_copy));
    insert(opcode::COINBASE, Instruction::new(|ctx| push_with(ctx, |ctx| prefixed(ctx.chain.witness))));
    insert(opcode::GASPRICE, Instruction::new(|ctx| push_with(ctx, |ctx| U256::from(ctx.chain.energy_price))));
    insert(opcode::BLOBBASEFEE, Instruction::new(|ctx| push_with(ctx, |_| U256::ZERO)));
    insert(table::CALLTOKEN, Instruction::new(call_token));
    insert(table::TOKENBALANCE, Instruction::new(token_balance));
    insert(table::CALLTOKENVALUE, Instruction::new(|ctx| push_with(ctx, |_| U256::ZERO)));
    insert(table::CALLTOKENID, Instruction::new(|ctx| push_with(ctx, |ctx| ctx.chain.token_id())));
    insert(table::ISCONTRACT, Instruction::new(is_contract));
    insert(table::FREEZE, Instruction::new(freeze));
    insert(table::UNFREEZE, Instruction::new(unfreeze));
    insert(table::FREEZEEXPIRETIME, Instruction::new(freeze_expire_time));
    insert(table::WITHDRAWREWARD, Instruction::new(|ctx| of_own_stake(ctx, "withdrawReward", 0)));
    insert(table::WITHDRAWEXPIREUNFREEZE, Instruction::new(|ctx| of_own_stake(ctx, "withdrawExpireUnfreeze", 0)));
    insert(table::CANCELALLUNFREEZEV2, Instruction::new(|ctx| of_own_stake(ctx, "cancelAllUnfreezeV2", 1)));
    insert(table::UNFREEZEBALANCEV2, Instruction::new(unfreeze_v2));
    insert(table::DELEGATERESOURCE, Instruction::new(|ctx| delegation(ctx, DELEGATE)));
    insert(table::UNDELEGATERESOURCE, Instruction::new(|ctx| delegation(ctx, UNDELEGATE)));
    set
}

type Outcome = InstructionExecResult;

fn fail(ctx: &mut Ctx<'_>, failure: Failure) -> InstructionResult {
    ctx.chain.failure = Some(failure);
    HALT
}

fn pop<const N: usize>(ctx: &mut Ictx<'_, '_>) -> Result<[U256; N], InstructionResult> {
    ctx.interpreter.stack.popn::<N>().ok_or(InstructionResult::StackUnderflow)
}

fn push(ctx: &mut Ictx<'_, '_>, value: U256) -> Outcome {
    if ctx.interpreter.stack.push(value) { Ok(()) } else { Err(InstructionResult::StackOverflow) }
}

fn push_with(mut ctx: Ictx<'_, '_>, value: impl FnOnce(&Ctx<'_>) -> U256) -> Outcome {
    let value = value(ctx.host);
    push(&mut ctx, value)
}

fn again<'a, 'db>(ctx: &'a mut Ictx<'_, 'db>) -> Ictx<'a, 'db> {
    InstructionContext { interpreter: ctx.interpreter, host: ctx.host }
}

fn to_address(word: U256) -> Address {
    Address::from_word(word.into())
}

fn refuse_static(ctx: &mut Ictx<'_, '_>) -> Outcome {
    if ctx.interpreter.runtime_flag.is_static() { Err(fail(ctx.host, Failure::Static)) } else { Ok(()) }
}

fn sstore(mut ctx: Ictx<'_, '_>) -> Outcome {
    refuse_static(&mut ctx)?;
    let [slot, value] = pop(&mut ctx)?;
    let target = ctx.interpreter.input.target_address();
    ctx.host.chain.note_write(target, slot);
    ctx.host.sstore(target, slot, value).map(|_| ()).ok_or(InstructionResult::FatalExternalError)
}

/// Hands over the balance; the contract goes only if the transaction made it. The beneficiary comes to life even by an
/// inheritance of nothing.
fn suicide(mut ctx: Ictx<'_, '_>) -> Outcome {
    refuse_static(&mut ctx)?;
    let owner = ctx.interpreter.input.target_address();
    let beneficiary = to_address(ctx.interpreter.stack.peek(0)?);
    let Ok(account) = ctx.host.journaled_state.load_account(owner);
    let balance = account.data.info.balance.saturating_to();
    ctx.host.chain.note_internal(owner, beneficiary, balance, &[], SUICIDE);
    if !exists(ctx.host, beneficiary) {
        let Ok(mut account) = ctx.host.journaled_state.load_account_mut(beneficiary);
        account.data.touch();
        account.data.set_nonce(1);
    }
    host::selfdestruct(ctx)
}

fn jump(mut ctx: Ictx<'_, '_>) -> Outcome {
    let target = ctx.interpreter.stack.peek(0)?;
    control::jump(again(&mut ctx)).map_err(|_| fail(ctx.host, Failure::BadJump { target }))
}

fn jump_if(mut ctx: Ictx<'_, '_>) -> Outcome {
    let target = ctx.interpreter.stack.peek(0)?;
    control::jumpi(again(&mut ctx)).map_err(|_| fail(ctx.host, Failure::BadJump { target }))
}

fn return_data_copy(ctx: Ictx<'_, '_>) -> Outcome {
    let (offset, size) = (ctx.interpreter.stack.peek(1)?, ctx.interpreter.stack.peek(2)?);
    let available = ctx.interpreter.return_data.buffer().len();
    if offset.saturating_add(size) > U256::from(available) {
        return Err(fail(ctx.host, Failure::ReturnData { offset, size, available }));
    }
    system::returndatacopy(ctx)
}

/// CALL with the token's id after the value; see [`super::vm`] for what becomes of it.
fn call_token(mut ctx: Ictx<'_, '_>) -> Outcome {
    let [energy, to, value, token] = pop(&mut ctx)?;
    ctx.host.chain.token = Some(token);
    for word in [value, to, energy] {
        push(&mut ctx, word)?;
    }
    contract::call::<{ opcode::CALL }, _, _>(ctx)
}

/// Whether `token` can be a token's id.
pub(super) fn is_token_id(token: U256) -> bool {
    i64::try_from(token).is_ok_and(|id| id > MIN_TOKEN_ID)
}

fn token_balance(mut ctx: Ictx<'_, '_>) -> Outcome {
    let [token, _holder] = pop(&mut ctx)?;
    if is_token_id(token) {
        return push(&mut ctx, U256::ZERO);
    }
    // Of a number with a sign; one that is merely too small is another class of error.
    let fits = token < U256::from(i64::MAX) || token.wrapping_neg() <= U256::from(1u64 << 63);
    Err(fail(ctx.host, Failure::TokenId { is_transfer: !fits }))
}

fn is_contract(mut ctx: Ictx<'_, '_>) -> Outcome {
    let [word] = pop(&mut ctx)?;
    let answer = knows_contract(ctx.host, to_address(word));
    push(&mut ctx, U256::from(u8::from(answer)))
}

/// Whether there is a contract, be it without code or still under construction.
pub(super) fn knows_contract(ctx: &mut Ctx<'_>, address: Address) -> bool {
    let Ok(account) = ctx.journaled_state.load_account(address);
    account.data.is_created() || ctx.journaled_state.database.is_contract(address)
}

/// Nobody can stake that way any more.
fn freeze(mut ctx: Ictx<'_, '_>) -> Outcome {
    refuse_static(&mut ctx)?;
    let [_, _, _] = pop(&mut ctx)?;
    push(&mut ctx, U256::ZERO)
}

fn freeze_expire_time(mut ctx: Ictx<'_, '_>) -> Outcome {
    let [_, _] = pop(&mut ctx)?;
    push(&mut ctx, U256::ZERO)
}

/// Four notes, for bandwidth, energy, TRON power, and what is none of them.
type ByResource = [&'static str; 4];

const UNFREEZE: ByResource =
    ["unfreezeForBandwidth", "unfreezeForEnergy", "unfreezeForTronPower", "unfreezeForUnknownType"];
const UNFREEZE_V2: ByResource = [
    "unfreezeBalanceV2ForBandwidth",
    "unfreezeBalanceV2ForEnergy",
    "unfreezeBalanceV2ForTronPower",
    "unfreezeBalanceV2ForUnknownType",
];
const DELEGATE: ByResource = [
    "delegateResourceOfBandwidth",
    "delegateResourceOfEnergy",
    "delegateResourceOfTronPower",
    "delegateResourceOfUnknownType",
];
const UNDELEGATE: ByResource = [
    "unDelegateResourceOfBandwidth",
    "unDelegateResourceOfEnergy",
    "unDelegateResourceOfTronPower",
    "unDelegateResourceOfUnknownType",
];

/// java-tron looks at the low 32 bits.
fn note_for(notes: ByResource, resource: U256) -> &'static str {
    let low = usize::try_from(resource & U256::from(u32::MAX)).unwrap_or(usize::MAX);
    notes.get(low).copied().unwrap_or(notes[3])
}

/// The low 64 bits.
fn low(word: U256) -> u64 {
    word.as_limbs()[0]
}

fn unfreeze(mut ctx: Ictx<'_, '_>) -> Outcome {
    refuse_static(&mut ctx)?;
    let [resource, receiver] = pop(&mut ctx)?;
    let owner = ctx.interpreter.input.target_address();
    ctx.host.chain.note_in_vain(owner, to_address(receiver), 0, note_for(UNFREEZE, resource));
    push(&mut ctx, U256::ZERO)
}

fn unfreeze_v2(mut ctx: Ictx<'_, '_>) -> Outcome {
    refuse_static(&mut ctx)?;
    let [resource, amount] = pop(&mut ctx)?;
    let owner = ctx.interpreter.input.target_address();
    ctx.host.chain.note_in_vain(owner, owner, low(amount), note_for(UNFREEZE_V2, resource));
    push(&mut ctx, U256::ZERO)
}

fn delegation(mut ctx: Ictx<'_, '_>, notes: ByResource) -> Outcome {
    refuse_static(&mut ctx)?;
    let [resource, amount, receiver] = pop(&mut ctx)?;
    let owner = ctx.interpreter.input.target_address();
    ctx.host.chain.note_in_vain(owner, to_address(receiver), low(amount), note_for(notes, resource));
    push(&mut ctx, U256::ZERO)
}

/// What succeeds although there is nothing to withdraw or to cancel.
fn of_own_stake(mut ctx: Ictx<'_, '_>, note: &'static str, answer: u8) -> Outcome {
    refuse_static(&mut ctx)?;
    let owner = ctx.interpreter.input.target_address();
    ctx.host.chain.note_internal(owner, owner, 0, &[], note);
    push(&mut ctx, U256::from(answer))
}

/// Pushes what a creation answers over what revm did.
pub(super) fn show_created(interpreter: &mut Interpreter) {
    if let Some(word) = interpreter.stack.top()
        && !word.is_zero()
    {
        *word = prefixed(to_address(*word));
    }
}
